// The open questions of one reactor: taken in, followed through changes and time, pushed, let go. Decides in short
// slices between the wake-ups of the reactor, so that nobody's question waits for somebody's subscriptions.
//
// Nothing is missed: a question is first decided on a snapshot that its tenant's table has not read the log beyond, and
// the store's bell is read before each later snapshot is taken.

import AttributeStore
import CBOR
import CLinux
import DecisionPath
import DecisionProtocol
import Synchronization

/// A connection as the owner of open questions.
final class Subscriber {
    /// Its place among the reactor's owners.
    let owner: UInt32
    let questions: OpenQuestions
    /// Slots by number; `free` where a subscription has ended.
    fileprivate var slots: [UInt32] = []
    fileprivate var freeNumbers: [UInt32] = []
    /// Slots whose new answers found the connection full.
    fileprivate var parked: [UInt32] = []
    /// It has got something in this slice.
    fileprivate var isTouched = false

    static let free = UInt32.max

    fileprivate init(owner: UInt32, _ questions: OpenQuestions) {
        self.owner = owner
        self.questions = questions
    }

    /// Open questions.
    var count: Int { slots.count - freeNumbers.count }
}

/// The open questions of one tenant on one reactor, and how far they have followed its store.
final class OpenQuestions {
    let decider: TenantDecider
    let bellSlot: Int
    fileprivate(set) var table = SubscriptionTable()
    /// The bell, the looks, the publication and the snapshot that were seen last.
    fileprivate var seenBell: UInt32?
    fileprivate var seenLooks: UInt64 = 0
    fileprivate var seenPublication: UInt64 = 0
    fileprivate var seenSnapshot: UInt64 = 0
    /// Policies and groups that the answers were made by (`TenantDecider.epoch`).
    fileprivate var epoch: UInt64 = 0
    /// The last entry of the log that was read.
    fileprivate var sequence: UInt64 = 0
    /// Something may have changed.
    fileprivate var mustLook = true
    /// The log goes on beyond `sequence`.
    fileprivate var isBehind = false
    /// The store cannot be read: nothing is decided until something changes or a while has passed.
    fileprivate var isPaused = false
    /// Decisions made again.
    fileprivate var reconsiderations: UInt64 = 0

    fileprivate init(_ decider: TenantDecider) {
        self.decider = decider
        bellSlot = Doorbell.slot(of: decider.tenant)
    }

    fileprivate func hasWork(_ now: Int64) -> Bool {
        mustLook || !isPaused && (isBehind || table.hasWork || table.nextDue <= now)
    }
}

/// All open questions of a reactor.
final class Subscriptions {
    /// Microseconds of deciding between two looks at the sockets.
    private static let slice: UInt64 = 150
    /// Entries of the log that are read in one slice.
    private static let entriesPerSlice = 128
    /// Subscriptions of gone connections that are removed in one slice.
    private static let removalsPerSlice = 256
    /// Milliseconds after which an answer is looked at again whose end has come although it has not changed.
    private static let leastWait: Int64 = 1_000

    private let state: ServerState
    private let ear: StoreBell.Ear
    private var bell: Doorbell?
    private var bellLooks: UInt64 = .max
    private var tenants: [String: OpenQuestions] = [:]
    /// Those that have any.
    private var watched: [OpenQuestions] = []
    private var turn = 0
    /// Connections that own questions; nil while the questions of one that is gone are being removed.
    private var owners: [Connection?] = []
    private var freeOwners: [UInt32] = []
    private var gone: [Subscriber] = []

    init(_ state: ServerState, _ ear: StoreBell.Ear) {
        self.state = state
        self.ear = ear
    }

    // MARK: Coming and going

    /// Holds a question open and gives its first answer.
    /// - Returns: why it is not held open; nil when it is.
    func subscribe(
        _ head: FrameHead, _ frame: CBORReader, _ connection: Connection, _ decider: TenantDecider
    ) -> ProtocolError? {
        if let refusal = refusal(frame, connection) { return refusal }
        let subscriber = connection.subscriber ?? join(connection, decider)
        let questions = subscriber.questions
        if questions.table.count == 0, !awake(questions) {
            return ProtocolError(.unavailable, "the store cannot be read: try again")
        }
        if let refusal = refusal(decider, frame.end) { return refusal }
        state.subscriptions.wrappingAdd(1, ordering: .relaxed)
        let number = subscriber.freeNumbers.popLast() ?? UInt32(subscriber.slots.count)
        let sent = decider.open(head, frame, number: UInt64(number), &connection.output)
        let slot = questions.table.insert(
            unsafe Array(frame.slice(0..<frame.end)), Self.kept(sent, connection.now),
            decider.watched(head, frame), owner: subscriber.owner, number: number)
        if Int(number) == subscriber.slots.count {
            subscriber.slots.append(slot)
        } else {
            subscriber.slots[Int(number)] = slot
        }
        return nil
    }

    private func refusal(_ frame: CBORReader, _ connection: Connection) -> ProtocolError? {
        if frame.end > ProtocolLimits.maxSubscriptionBytes {
            return ProtocolError(
                .subscriptionTooLarge,
                "a question of \(frame.end) bytes is not held open, at most \(ProtocolLimits.maxSubscriptionBytes) are: "
                    + "send fewer properties, or ask it when needed")
        }
        if connection.subscriber?.count ?? 0 >= ProtocolLimits.maxSubscriptions {
            return ProtocolError(
                .tooManySubscriptions,
                "\(ProtocolLimits.maxSubscriptions) questions are open on this connection: end some, or open another")
        }
        let limit = state.configuration.maxSubscriptions
        if state.subscriptions.load(ordering: .relaxed) >= limit {
            return ProtocolError(
                .tooManySubscriptions, "\(limit) questions are open on this server: raise --max-subscriptions")
        }
        return nil
    }

    /// Takes a place in the tenant's budget, which `release` gives back.
    private func refusal(_ decider: TenantDecider, _ bytes: Int) -> ProtocolError? {
        guard decider.takePlace() else {
            return ProtocolError(
                .budgetExceeded,
                "more questions a second about this tenant than it may ask: ask less, or raise "
                    + "\(TenantLimit.questionsPerSecond.name)")
        }
        switch decider.budget?.open(bytes: bytes + SubscriptionTable.bytesPerQuestion) {
        case nil: return nil
        case (.openQuestions, let most)?:
            return ProtocolError(
                .tooManySubscriptions,
                "\(most) questions of this tenant are open: end some, or raise \(TenantLimit.openQuestions.name)")
        case (let limit, let most)?:
            return ProtocolError(
                .budgetExceeded,
                "policies and open questions of this tenant take \(most) bytes: end some, or raise \(limit.name)")
        }
    }

    /// Removes a question and gives its places back.
    private func release(_ slot: UInt32, _ questions: OpenQuestions) {
        let bytes = questions.table[slot].frame.count + SubscriptionTable.bytesPerQuestion
        questions.table.remove(slot)
        questions.decider.budget?.close(bytes: bytes)
        state.subscriptions.wrappingSubtract(1, ordering: .relaxed)
    }

    /// A place among the owners.
    private func join(_ connection: Connection, _ decider: TenantDecider) -> Subscriber {
        let questions = tenants[decider.tenant] ?? OpenQuestions(decider)
        tenants[decider.tenant] = questions
        let owner = freeOwners.popLast() ?? UInt32(owners.count)
        if Int(owner) == owners.count { owners.append(nil) }
        owners[Int(owner)] = connection
        let subscriber = Subscriber(owner: owner, questions)
        connection.subscriber = subscriber
        return subscriber
    }

    /// Begins to follow a tenant from the snapshot on that its decider holds.
    /// - Returns: false when the store cannot be read.
    private func awake(_ questions: OpenQuestions) -> Bool {
        guard !questions.decider.hasFailed, let sequence = try? questions.decider.lastSequence() else { return false }
        questions.sequence = sequence
        questions.epoch = questions.decider.epoch
        questions.seenSnapshot = questions.decider.snapshotID
        questions.isBehind = false
        questions.isPaused = false
        // The bell is heard from now on; what came after the snapshot and before is seen by the look that follows.
        questions.mustLook = true
        ear.isListening.store(true, ordering: .sequentiallyConsistent)
        if !watched.contains(where: { $0 === questions }) { watched.append(questions) }
        return true
    }

    /// Ends a subscription; one that is none is none already.
    func unsubscribe(_ number: UInt64, _ connection: Connection) {
        guard let subscriber = connection.subscriber, number < UInt64(subscriber.slots.count) else { return }
        let slot = subscriber.slots[Int(number)]
        if slot == Subscriber.free { return }
        release(slot, subscriber.questions)
        subscriber.slots[Int(number)] = Subscriber.free
        subscriber.freeNumbers.append(UInt32(number))
        sleepIfDone()
    }

    /// A connection is gone: nothing is pushed to it from now on, its questions are removed little by little.
    func forget(_ connection: Connection) {
        guard let subscriber = connection.subscriber else { return }
        owners[Int(subscriber.owner)] = nil
        connection.subscriber = nil
        gone.append(subscriber)
    }

    /// Takes a connection's questions out, for another reactor; their places in the budgets stay taken.
    /// - Returns: the whole connection.
    func pack(_ connection: Connection) -> ConnectionParcel {
        var parcel = connection.pack()
        guard let subscriber = connection.subscriber else { return parcel }
        let questions = subscriber.questions
        for (number, slot) in subscriber.slots.enumerated() where slot != Subscriber.free {
            let entry = questions.table[slot]
            parcel.questions.append(
                OpenQuestionParcel(number: UInt32(number), frame: entry.frame, sent: entry.sent))
            questions.table.remove(slot)
        }
        for slot in subscriber.parked { questions.table.unpark(slot) }
        connection.subscriber = nil
        owners[Int(subscriber.owner)] = nil
        freeOwners.append(subscriber.owner)
        sleepIfDone()
        return parcel
    }

    /// Takes in the questions of a connection that was another reactor's. All are decided again: what has changed on the
    /// way is pushed.
    /// - Parameter decider: holds a snapshot.
    func adopt(_ parcels: [OpenQuestionParcel], _ connection: Connection, _ decider: TenantDecider) {
        if parcels.isEmpty { return }
        let subscriber = join(connection, decider)
        let questions = subscriber.questions
        if questions.table.count == 0, !awake(questions) { follow(fromNothing: questions) }
        for parcel in parcels {
            while subscriber.slots.count <= Int(parcel.number) {
                subscriber.freeNumbers.append(UInt32(subscriber.slots.count))
                subscriber.slots.append(Subscriber.free)
            }
            let watched = decider.watched(parcel.frame)
            let slot = questions.table.insert(
                parcel.frame, parcel.sent, watched, owner: subscriber.owner, number: parcel.number)
            subscriber.slots[Int(parcel.number)] = slot
            questions.table.enqueue(slot)
        }
        let slots = subscriber.slots
        subscriber.freeNumbers.removeAll { slots[Int($0)] != Subscriber.free }
    }

    /// Begins to follow a tenant whose store cannot be read now: all is looked at when it can.
    private func follow(fromNothing questions: OpenQuestions) {
        questions.sequence = 0
        questions.epoch = questions.decider.epoch
        questions.mustLook = true
        ear.isListening.store(true, ordering: .sequentiallyConsistent)
        if !watched.contains(where: { $0 === questions }) { watched.append(questions) }
    }

    private func removeSome() {
        var left = Self.removalsPerSlice
        while left > 0, let subscriber = gone.last {
            while left > 0, let slot = subscriber.slots.popLast() {
                if slot == Subscriber.free { continue }
                release(slot, subscriber.questions)
                left -= 1
            }
            while left > 0, let slot = subscriber.parked.popLast() {
                subscriber.questions.table.unpark(slot)
                left -= 1
            }
            if !subscriber.slots.isEmpty || !subscriber.parked.isEmpty { return }
            freeOwners.append(subscriber.owner)
            gone.removeLast()
            sleepIfDone()
        }
    }

    private func sleepIfDone() {
        watched.removeAll { $0.table.count == 0 }
        if watched.isEmpty { ear.isListening.store(false, ordering: .sequentiallyConsistent) }
    }

    /// A connection that was full has room again.
    func resume(_ connection: Connection) {
        guard let subscriber = connection.subscriber, !subscriber.parked.isEmpty else { return }
        for slot in subscriber.parked { subscriber.questions.table.unpark(slot) }
        subscriber.parked.removeAll()
    }

    /// How a tenant stands here, with its open questions.
    func status(_ decider: TenantDecider) -> StatusReport {
        var report = decider.status()
        if let questions = tenants[decider.tenant] {
            report.openQuestions = UInt64(questions.table.count)
            report.reconsiderations = questions.reconsiderations
        }
        return report
    }

    // MARK: Following

    /// The first instant at which time alone may change an answer, ms since the epoch; `Int64.max` for never.
    var nextDue: Int64 {
        var due = Int64.max
        for questions in watched where !questions.isPaused { due = min(due, questions.table.nextDue) }
        return due
    }

    /// True when there is something to do. Reads the store's bell, so the snapshot that is looked at must be taken after.
    func isPressed(_ now: Int64) -> Bool {
        if watched.isEmpty { return !gone.isEmpty }
        let looks = state.storeBell.looks.load(ordering: .acquiring)
        if looks != bellLooks {
            bellLooks = looks
            bell = state.storeBell.current
        }
        let publication = state.board.publication
        var isPressed = !gone.isEmpty
        for questions in watched {
            let count = bell?.count(at: questions.bellSlot)
            if count != questions.seenBell || looks != questions.seenLooks
                || publication != questions.seenPublication
                || questions.decider.snapshotID != questions.seenSnapshot && !questions.isBehind
            {
                questions.seenBell = count
                questions.seenLooks = looks
                questions.seenPublication = publication
                questions.mustLook = true
            }
            if questions.hasWork(now) { isPressed = true }
        }
        return isPressed
    }

    /// Does a slice of what there is to do.
    /// - Parameters:
    ///   - hold: takes a decider's newest snapshot for this wake-up.
    ///   - settle: sends what a connection has got.
    func work(_ now: Int64, hold: (TenantDecider) -> Void, settle: (Connection) -> Void) {
        removeSome()
        let end = stile_monotonic_us() + Self.slice
        var touched: [Connection] = []
        for _ in 0..<watched.count {
            // Each tenant in its turn goes first.
            turn = turn + 1 < watched.count ? turn + 1 : 0
            let questions = watched[turn]
            guard questions.hasWork(now) else { continue }
            hold(questions.decider)
            follow(questions)
            questions.table.expire(now: now, limit: 64)
            decide(questions, now, end, &touched)
            if stile_monotonic_us() >= end { break }
        }
        for connection in touched {
            connection.subscriber?.isTouched = false
            settle(connection)
        }
    }

    /// Brings the table to the snapshot: what was touched is queued.
    private func follow(_ questions: OpenQuestions) {
        let decider = questions.decider
        questions.mustLook = false
        questions.isPaused = false
        if questions.epoch != decider.epoch {
            questions.epoch = decider.epoch
            questions.table.touchAll()
        }
        if questions.seenSnapshot == decider.snapshotID, !questions.isBehind { return }
        do throws(StoreError) {
            let last = try decider.lastSequence()
            if last < questions.sequence || last - questions.sequence > UInt64(max(4_096, questions.table.count)) {
                // More has changed than there are questions, or the store was put back from a copy.
                questions.sequence = last
                questions.table.touchAll()
            } else {
                questions.sequence = try decider.touched(after: questions.sequence, limit: Self.entriesPerSlice) {
                    switch $0 {
                    case .entity(let entity): questions.table.touch(entity)
                    case .everything: questions.table.touchAll()
                    }
                }
            }
            questions.isBehind = questions.sequence < last
            if !questions.isBehind { questions.seenSnapshot = decider.snapshotID }
        } catch {
            questions.isPaused = true
        }
    }

    private func decide(_ questions: OpenQuestions, _ now: Int64, _ end: UInt64, _ touched: inout [Connection]) {
        var count = 0
        while !questions.isPaused, let slot = questions.table.next() {
            let entry = questions.table[slot]
            guard let connection = owners[Int(entry.owner)], let subscriber = connection.subscriber else { continue }
            if connection.unsent >= state.configuration.maxUnsentBytes || connection.isClosing {
                questions.table.park(slot)
                subscriber.parked.append(slot)
                continue
            }
            let (kept, isNew) = questions.decider.reconsider(
                entry.frame, number: UInt64(entry.number), sent: entry.sent, &connection.output)
            questions.reconsiderations &+= 1
            questions.table.keep(Self.kept(kept, now), slot)
            if isNew, !subscriber.isTouched {
                subscriber.isTouched = true
                touched.append(connection)
            }
            if questions.decider.hasFailed { questions.isPaused = true }
            count += 1
            if count & 7 == 0, stile_monotonic_us() >= end { return }
        }
    }

    /// An end that has passed without a change is looked at again after a while, not at once and for ever.
    private static func kept(_ answer: OpenAnswer, _ now: Int64) -> OpenAnswer {
        var kept = answer
        if kept.due <= now { kept.due = now + leastWait }
        return kept
    }
}
