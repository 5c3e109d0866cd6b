// A reactor: one thread, one epoll instance, its connections and its readers of the store. Nothing on the way from
// frame to answer is shared with another thread but the compiled policies, which do not change.
//
// A wake-up: wait, read the clock once, handle the complete frames of every ready connection over one snapshot a
// tenant, then one write a connection. At one question at a time that is three system calls: wait, read, write.
//
// A connection is answered so many questions in one turn; what it has asked beyond that stands in line until all others
// have had theirs.

import CBOR
import CLinux
import DecisionLog
import DecisionPath
import DecisionProtocol
import DecisionShadow
import Glibc
import Memory
import Synchronization

/// What the reactors and the control thread share.
final class ServerState: Sendable {
    let configuration: ServerConfiguration
    let board: PolicyBoard
    let storeBell: StoreBell
    let listener: ListeningPlace
    /// The reactors.
    let desks: [ReactorDesk]
    /// Processors that the process may use.
    let processors = Int(stile_processors())
    /// The process id of the server that has taken over the listening socket; 0 while none has.
    let successor = Atomic<Int32>(0)
    let connections = Atomic<Int>(0)
    /// Open questions of all reactors.
    let subscriptions = Atomic<Int>(0)
    let isStopping = Atomic<Bool>(false)
    let runningReactors = Atomic<Int>(0)
    /// Nil where decisions are not logged.
    let log: DecisionLog?
    /// Where candidates decide beside.
    let shadow: ShadowDesk

    init(
        _ configuration: ServerConfiguration, board: PolicyBoard, log: DecisionLog?, shadow: ShadowDesk,
        storeBell: StoreBell, listener: ListeningPlace, desks: [ReactorDesk]
    ) {
        self.configuration = configuration
        self.board = board
        self.log = log
        self.shadow = shadow
        self.storeBell = storeBell
        self.listener = listener
        self.desks = desks
    }
}

/// One thread's loop.
final class Reactor {
    private let state: ServerState
    private let epoll: Int32
    private let desk: ReactorDesk
    private let timer: Int32
    /// The instant that the timer is set to.
    private var timerAt = Int64.max
    private let subscriptions: Subscriptions
    /// Connections by descriptor: the kernel gives the lowest numbers, so the list stays short and needs no hashing.
    private var connections: [Connection?] = []
    private var deciders: [String: TenantDecider] = [:]
    private let producer: DecisionProducer?
    private let shadow: DecisionProducer
    /// Deciders that have begun this wake-up are the first `heldCount`. `deciders` holds them, and loses none.
    private var held: [Lent<TenantDecider>] = []
    private var heldCount = 0
    /// Snapshots outlive their wake-up until the store's bell rings.
    private var keepsSnapshots = false
    private var isRung = false
    private let events = EventList()
    private var isAccepting = true
    /// Connections whose turn was over before their questions were, and memory for the next such list.
    private var line: [Connection] = []
    private var spareLine: [Connection] = []
    /// Questions that each connection is answered in this wake-up, and those that are left of the current one's.
    private var turn = 0
    private var turnLeft = 0
    /// Turns given in this wake-up, and questions answered in them.
    private var turnCount = 0
    private var turnQuestions = 0
    /// Questions of a wake-up are shared among the connections that are ready; each gets these at least and at most.
    private static let questionsPerWakeUp = 512
    private static let leastTurn = 4
    private static let mostTurn = 256
    /// Connections that are accepted in one wake-up.
    private static let acceptsPerWakeUp = 64
    /// Connections open here, and those of them that have not said hello.
    private var open = 0
    private var strangers = 0
    private var stopDeadline = Int64.max
    private var nextSweep: Int64 = 0
    private var nextMeasurement: Int64 = 0
    private var measuredAt: UInt64 = 0
    private var usage = stile_usage()
    private var wakeUps: UInt64 = 0
    private var balance = LoadBalance()
    private var spinner: Spinner
    /// What is usually asked of epoll for a connection. By edges: while it tells as long as something is so, each wait begins
    /// with a look at what the last one told, which costs as much as a tenth of a question's system calls.
    private let usualInterest = stile_readable | stile_peer_closed | stile_urgent | stile_edge
    private static let listenerMark = UInt64.max
    private static let bellMark = UInt64.max - 1
    private static let timerMark = UInt64.max - 2

    /// - Parameter desk: one of the state's.
    init(_ state: ServerState, _ desk: ReactorDesk) throws(ServerError) {
        self.state = state
        self.desk = desk
        spinner = Spinner(state.configuration.spin)
        subscriptions = Subscriptions(state, desk.ear)
        do throws(LogError) {
            producer = try state.log?.attach()
            shadow = try state.shadow.attach()
        } catch {
            throw ServerError(.system, "\(error)")
        }
        epoll = stile_epoll_create()
        timer = stile_timer()
        guard epoll >= 0, timer >= 0,
            stile_epoll_add(epoll, state.listener.descriptor, stile_readable | stile_exclusive, Self.listenerMark) == 0,
            stile_epoll_add(epoll, desk.ear.bell, stile_readable, Self.bellMark) == 0,
            stile_epoll_add(epoll, timer, stile_readable, Self.timerMark) == 0
        else { throw ServerError(.system, "epoll: \(unsafe String(cString: strerror(errno)))") }
    }

    deinit {
        close(epoll)
        close(timer)
    }

    /// Runs until the server stops and the last client has its answers.
    func run() {
        var isPressed = false
        while true {
            let count = isPressed || !line.isEmpty ? poll(0) : wait()
            let now = stile_now_ms()
            shareTurns(count + line.count)
            if !line.isEmpty { serveLine(now) }
            for index in 0..<count { handle(events[index], now) }
            endWakeUp()
            isPressed = subscriptions.isPressed(now)
            if isPressed { work(now) }
            if subscriptions.nextDue != timerAt { setTimer() }
            wakeUps &+= 1
            if now >= nextMeasurement { measure(now) }
            if state.isStopping.load(ordering: .relaxed), drain(now), desk.close() { return }
        }
    }

    /// One connection alone has all that it has sent answered; the more are ready, the less each has answered at once, so
    /// that one that asks much holds the others up by little more than one that asks once.
    private func shareTurns(_ ready: Int) {
        if ready <= 2 {
            turn = Self.mostTurn
        } else {
            // Where all ask much, a turn is twice what was usual last time: short turns would only cost more writes.
            let usual = turnCount > 0 ? turnQuestions / turnCount : 0
            turn = min(max(Self.leastTurn, Self.questionsPerWakeUp / ready, usual * 2), Self.mostTurn)
        }
        turnCount = 0
        turnQuestions = 0
    }

    /// The next turn of those whose last one was over before their questions were.
    private func serveLine(_ now: Int64) {
        swap(&line, &spareLine)
        for connection in spareLine {
            connection.isInLine = false
            // It may have been closed meanwhile.
            guard connections[Int(connection.descriptor)] === connection else { continue }
            connection.now = now
            if connection.hasFrame || connection.isClosing {
                serve(connection, now)
            } else {
                receive(connection, now)
            }
            settle(connection)
        }
        spareLine.removeAll(keepingCapacity: true)
    }

    private func putInLine(_ connection: Connection) {
        if connection.isInLine { return }
        connection.isInLine = true
        line.append(connection)
    }

    /// A slice of the open questions' work, on snapshots of its own.
    private func work(_ now: Int64) {
        subscriptions.work(now, hold: { hold($0, now) }, settle: { settle($0) })
        endWakeUp()
    }

    private func setTimer() {
        timerAt = subscriptions.nextDue
        _ = stile_timer_set(timer, timerAt == .max ? 0 : max(1, timerAt))
    }

    /// Waits for work: a while by asking again and again where that pays, then asleep.
    private func wait() -> Int {
        if spinner.budget > 0 {
            let count = spin()
            if count > 0 { return count }
        }
        // A timeout costs a timer in the kernel at each wait, so there is one only while somebody owes a hello.
        return poll(state.isStopping.load(ordering: .relaxed) ? 20 : strangers > 0 ? 1_000 : -1)
    }

    private func spin() -> Int {
        let start = stile_monotonic_us()
        while true {
            let count = poll(0)
            let spent = stile_monotonic_us() &- start
            if count > 0 {
                spinner.hit(spent)
                return count
            }
            if spent >= spinner.budget {
                spinner.miss(spent)
                return 0
            }
        }
    }

    @inline(__always)
    private func poll(_ timeout: Int32) -> Int { events.wait(epoll, timeout: timeout) }

    private func handle(_ event: stile_event, _ now: Int64) {
        if event.data == Self.listenerMark { return accept(now) }
        if event.data == Self.bellMark {
            var value: UInt64 = 0
            _ = unsafe read(desk.ear.bell, &value, 8)
            isRung = true
            for parcel in desk.collect() { adopt(parcel, now) }
            return
        }
        if event.data == Self.timerMark { return setTimer() }
        let index = Int(truncatingIfNeeded: event.data)
        guard index < connections.count, let connection = connections[index] else { return }
        connection.now = now
        if event.events & stile_readable != 0, !connection.isClosing {
            connection.mayHaveMore = true
            if event.events & (stile_peer_closed | stile_hung_up | stile_urgent) != 0 {
                if event.events & stile_urgent != 0 { connection.isSplit = true }
                if event.events & (stile_peer_closed | stile_hung_up) != 0 { connection.isEnding = true }
            }
            // What is in the buffer comes first.
            if connection.isInLine { return }
            receive(connection, now)
        } else if event.events & stile_hung_up != 0 {
            drop(connection)
            return
        } else if event.events & stile_writable != 0, !connection.isClosing, !connection.isInLine {
            // Room again: questions that waited in the buffer go on.
            if connection.flush(), connection.unsent == 0 {
                serve(connection, now)
            }
        }
        settle(connection)
    }

    /// Reads once, and answers what that gave.
    @inline(__always)
    private func receive(_ connection: Connection, _ now: Int64) {
        switch connection.read() {
        case .some: serve(connection, now)
        case .nothing: break
        case .end:
            if state.isStopping.load(ordering: .relaxed), connection.takesGoodbye { connection.send(Goodbye.frame) }
            connection.isClosing = true
        }
    }

    // MARK: Connections

    private func accept(_ now: Int64) {
        for _ in 0..<Self.acceptsPerWakeUp where isAccepting {
            let descriptor = stile_accept(state.listener.descriptor)
            if descriptor < 0 { return }
            var user: UInt32 = .max
            var process: Int32 = 0
            let isKnown = unsafe stile_peer_user(descriptor, &user, &process) == 0
            let count = state.connections.wrappingAdd(1, ordering: .relaxed).newValue
            if isKnown, count <= state.configuration.maxConnections, state.desks.count > 1,
                let best = state.desks.best(at: now), best !== desk,
                best.post(ConnectionParcel(descriptor: descriptor, user: user, openedAt: now))
            {
                continue
            }
            let connection = Connection(descriptor, user: user, now: now)
            desk.open.wrappingAdd(1, ordering: .relaxed)
            admit(connection)
            if count > state.configuration.maxConnections {
                refuse(
                    connection,
                    ProtocolError(
                        .tooManyConnections,
                        "\(state.configuration.maxConnections) connections are open: reuse one, or raise --max-connections"
                    ))
                settle(connection)
            } else if !isKnown {
                refuse(connection, ProtocolError(.notAllowed, "the kernel does not say who is asking"))
                settle(connection)
            }
        }
    }

    /// Takes a connection in that has not said hello, as far as this reactor knows.
    private func admit(_ connection: Connection) {
        let descriptor = connection.descriptor
        while connections.count <= Int(descriptor) { connections.append(nil) }
        connections[Int(descriptor)] = connection
        open += 1
        strangers += 1
        connection.interest = usualInterest
        _ = stile_epoll_add(epoll, descriptor, usualInterest, UInt64(descriptor))
    }

    /// Takes a connection out; it may live on elsewhere.
    private func discharge(_ connection: Connection) {
        connections[Int(connection.descriptor)] = nil
        open -= 1
        desk.open.wrappingSubtract(1, ordering: .relaxed)
        if connection.decider == nil { strangers -= 1 }
        _ = stile_epoll_remove(epoll, connection.descriptor)
    }

    private func drop(_ connection: Connection) {
        guard connections[Int(connection.descriptor)] != nil else { return }
        subscriptions.forget(connection)
        discharge(connection)
        state.connections.wrappingSubtract(1, ordering: .relaxed)
    }

    // MARK: Load

    /// Every so often while there is something to do: what this thread had to do, whether to poll before sleeping, whether
    /// to give connections away.
    private func measure(_ now: Int64) {
        if now >= nextSweep { sweep(now) }
        let isAlone = state.desks.count == 1
        nextMeasurement = isAlone && !spinner.learns ? nextSweep : now + ReactorDesk.period
        let at = stile_monotonic_us()
        let new = stile_thread_usage()
        let elapsed = at &- measuredAt
        let busy = new.busy_us &- usage.busy_us
        let preemptions = new.preemptions &- usage.preemptions
        if measuredAt > 0, elapsed > 0 {
            let worked = busy &- min(busy, spinner.spent)
            let load = Int(truncatingIfNeeded: min(1_000, worked &* 1_000 / elapsed))
            desk.publish(load: load, now: now)
            if !isAlone { rebalance(load, now) }
            if spinner.learns { learn(elapsed, busy, preemptions, now) }
        }
        measuredAt = at
        usage = new
        wakeUps = 0
    }

    private func learn(_ elapsed: UInt64, _ busy: UInt64, _ preemptions: UInt64, _ now: Int64) {
        // Each that polls needs a processor, and so does each of the clients that it waits for: one at least.
        let others = state.desks.count { $0 !== desk && $0.isSpinning(at: now) }
        spinner.learn(
            Spinner.Measurement(
                elapsed: elapsed, busy: busy, wakeUps: wakeUps, preemptions: preemptions,
                hasRoom: others + 2 <= state.processors, now: now))
        desk.publish(isSpinning: spinner.budget > 0, now: now)
    }

    private func rebalance(_ load: Int, _ now: Int64) {
        guard let other = state.desks.idlest(but: desk, at: now), !state.isStopping.load(ordering: .relaxed) else {
            return
        }
        switch balance.step(own: load, other: other.load(at: now)) {
        case .nothing: break
        case .count: for case let connection? in connections { connection.askedBefore = connection.asked }
        case .give(let share): give(to: other, share, now)
        }
    }

    /// Gives some of the busy connections to another reactor.
    private func give(to other: ReactorDesk, _ share: Int, _ now: Int64) {
        let candidates = connections.compactMap { $0 }
        let chosen = LoadBalance.choose(candidates.map { $0.asked &- $0.askedBefore }, share: share)
        for connection in chosen.map({ candidates[$0] }) where mayMove(connection, now) {
            let parcel = subscriptions.pack(connection)
            discharge(connection)
            if other.post(parcel) { continue }
            // The other one ends, and so will this one.
            desk.open.wrappingAdd(1, ordering: .relaxed)
            adopt(parcel, now)
        }
        endWakeUp()
    }

    private func mayMove(_ connection: Connection, _ now: Int64) -> Bool {
        connection.decider != nil && !connection.isClosing && now >= connection.staysUntil
            && connection.unsent <= LoadBalance.mostUnsent
            && connection.subscriber?.count ?? 0 <= LoadBalance.mostQuestions
    }

    /// Takes in what another reactor has accepted or given away.
    private func adopt(_ parcel: ConnectionParcel, _ now: Int64) {
        let connection = Connection(parcel, now: now)
        admit(connection)
        if let tenant = parcel.tenant {
            do throws(ProtocolError) {
                let decider = try self.decider(for: tenant)
                connection.decider = decider
                strangers -= 1
                hold(decider, now)
                subscriptions.adopt(parcel.questions, connection, decider)
            } catch {
                refuse(connection, error)
            }
        }
        if !isAccepting { connection.stopReceiving() }
        if connection.hasInput, !connection.isClosing { putInLine(connection) }
        settle(connection)
    }

    /// Sends why, then closes.
    private func refuse(_ connection: Connection, _ error: ProtocolError) {
        connection.send(error.frame)
        connection.isClosing = true
    }

    /// Closes clients that never said hello.
    private func sweep(_ now: Int64) {
        nextSweep = now + 1_000
        if strangers == 0 { return }
        for case let connection? in connections
        where connection.decider == nil && now - connection.openedAt > state.configuration.helloTimeout {
            if !connection.isClosing {
                refuse(
                    connection, ProtocolError(.helloTimeout, "no hello within \(state.configuration.helloTimeout) ms"))
            }
            settle(connection)
        }
    }

    /// One write for all answers of a connection; then what epoll is to tell of it.
    private func settle(_ connection: Connection) {
        let isThere = connection.flush()
        // The kernel has taken what held questions up: no event would tell of those that are left in the buffer.
        if connection.isHeldUp, !connection.isClosing, connection.unsent < state.configuration.maxUnsentBytes {
            putInLine(connection)
        }
        guard isThere, !(connection.isClosing && connection.unsent == 0) else { return drop(connection) }
        if connection.unsent == 0 { subscriptions.resume(connection) }
        var interest: UInt32 = 0
        if connection.unsent > 0 { interest |= stile_writable }
        if connection.unsent < state.configuration.maxUnsentBytes, !connection.isClosing {
            interest |= stile_readable
            if connection.mayHaveMore { putInLine(connection) }
        }
        if interest == stile_readable { interest = usualInterest }
        if interest != connection.interest {
            connection.interest = interest
            _ = stile_epoll_change(epoll, connection.descriptor, interest, UInt64(connection.descriptor))
        }
    }

    /// Something was committed, or may have been: its predecessor's pages are not to be held up by a thread that sleeps.
    private func releaseSnapshots() {
        isRung = false
        if !keepsSnapshots { return }
        keepsSnapshots = false
        desk.ear.isHolding.store(false, ordering: .sequentiallyConsistent)
        for decider in deciders.values { decider.release() }
    }

    private func endWakeUp() {
        for place in 0..<heldCount { held[place].with { $0.end() } }
        heldCount = 0
        if isRung { releaseSnapshots() }
    }

    /// True when nothing is left to do.
    private func drain(_ now: Int64) -> Bool {
        if isAccepting {
            isAccepting = false
            _ = stile_epoll_remove(epoll, state.listener.descriptor)
            stopDeadline = now + state.configuration.drainTimeout
            // What the kernel has taken from clients is read to its end and answered; then they are closed (`handle`).
            for case let connection? in connections { connection.stopReceiving() }
        }
        return open == 0 || now >= stopDeadline
    }

    // MARK: Frames

    private func serve(_ connection: Connection, _ now: Int64) {
        if connection.debt > 0 {
            connection.debt -= turn
            if connection.debt > 0 { return putInLine(connection) }
        }
        defer {
            connection.asked &+= turn &- turnLeft
            connection.debt = max(0, -turnLeft)
            turnCount &+= 1
            turnQuestions &+= min(turn, turn &- turnLeft)
        }
        connection.isHeldUp = false
        turnLeft = turn
        do throws(ProtocolError) {
            while let frame = try connection.nextFrame() {
                if turnLeft <= 0 {
                    putInLine(connection)
                    break
                }
                turnLeft -= 1
                connection.take(frame)
                if let next = connection.upcoming { connection.lentDecider?.with { $0.announce(next) } }
                try handle(frame, connection, now)
                connection.isHeldUp = connection.unsent >= state.configuration.maxUnsentBytes
                if connection.isHeldUp { break }
            }
        } catch {
            refuse(connection, error)
        }
        connection.forgetTaken()
    }

    private func handle(_ frame: CBORReader, _ connection: Connection, _ now: Int64) throws(ProtocolError) {
        if let decider = connection.lentDecider {
            let isAnswered = decider.with { decider in
                hold(decider, now)
                if decider.takeRefreshRequest() { state.storeBell.askForLook() }
                return decider.answerQuickly(frame, &connection.output)
            }
            if isAnswered { return }
        }
        let head: FrameHead
        do throws(CBORError) {
            var reader = frame
            head = try FrameHead(&reader)
        } catch {
            throw ProtocolError(.malformedFrame, "\(error): send deterministic CBOR as grammar/decision.cddl says")
        }
        guard let kind = FrameKind(rawValue: head.kind), kind.isClients else {
            throw ProtocolError(.unknownFrame, "no frame of kind \(head.kind)")
        }
        if kind == .hello { return try hello(head, frame, connection) }
        if kind == .takeOver { return try handOver(head, connection) }
        guard let decider = connection.decider else {
            throw ProtocolError(.helloExpected, "the first frame must be a hello that names the tenant")
        }
        switch kind {
        case .question: decider.answer(head, frame, &connection.output)
        case .batch:
            let before = decider.answers
            try decider.answerBatch(head, frame, &connection.output)
            turnLeft -= Int(truncatingIfNeeded: decider.answers &- before)
        case .status:
            var status = subscriptions.status(decider)
            status.log = state.log?.state ?? "off"
            status.lost = state.log?.lost ?? 0
            connection.send(status.frame(id: head.id))
        case .subscribe:
            if let refusal = subscriptions.subscribe(head, frame, connection, decider) {
                connection.send(refusal.frame(id: head.id))
            }
        case .unsubscribe:
            subscriptions.unsubscribe(head.subscription, connection)
            connection.send(Unsubscribed.frame(id: head.id, subscription: head.subscription))
        case .push, .takeOver, .hello, .goodbye, .error: break
        }
    }

    @inline(__always)
    private func hold(_ decider: TenantDecider, _ now: Int64) {
        if !keepsSnapshots {
            // Before the snapshot is taken, so that every commit after it rings here.
            keepsSnapshots = true
            desk.ear.isHolding.store(true, ordering: .sequentiallyConsistent)
        }
        if !decider.begin(now: now) { return }
        if heldCount == held.count {
            held.append(Lent(decider))
        } else {
            held[heldCount] = Lent(decider)
        }
        heldCount += 1
    }

    private func hello(_ head: FrameHead, _ frame: CBORReader, _ connection: Connection) throws(ProtocolError) {
        guard connection.decider == nil else {
            throw ProtocolError(.unknownFrame, "a second hello: open another connection for another tenant")
        }
        guard head.version == ProtocolLimits.version else {
            throw ProtocolError(
                .versionUnsupported, "version \(head.version) is not spoken here: use \(ProtocolLimits.version)")
        }
        let tenant = unsafe String(decoding: frame.slice(head.tenant), as: UTF8.self)
        let decider = try self.decider(for: tenant)
        guard let state = state.board.state(of: tenant), isAllowed(connection.user, state) else {
            throw ProtocolError(
                .notAllowed,
                "user \(connection.user) may not ask about tenant \"\(tenant)\": allow it with `stile tenant allow`")
        }
        connection.decider = decider
        connection.takesGoodbye = head.takesGoodbye
        strangers -= 1
        connection.send(
            Welcome(
                tenant: tenant, policyVersion: state.compiled?.version ?? 0,
                software: "stiled \(DecisionServer.version)"
            )
            .frame)
    }

    /// Gives another server the listening socket; and once that one accepts, has this one end.
    private func handOver(_ head: FrameHead, _ connection: Connection) throws(ProtocolError) {
        guard connection.user == 0 || connection.user == geteuid() else {
            throw ProtocolError(
                .notAllowed,
                "user \(connection.user) may not take over from user \(geteuid()): run the new server as this one's user"
            )
        }
        let frame = HandOver(software: "stiled \(DecisionServer.version)", ownsPath: state.listener.path != nil)
            .frame(id: head.id)
        if connection.isHeir {
            connection.send(frame)
            guard head.isReady else { return }
            var user: UInt32 = 0
            var process: Int32 = 0
            _ = unsafe stile_peer_user(connection.descriptor, &user, &process)
            state.successor.store(max(1, process), ordering: .releasing)
            state.storeBell.askForLook()
        } else {
            let bytes = Framing.prefixed(frame)
            // It is the first that is sent here, so that there is room for it.
            guard connection.unsent == 0, !state.isStopping.load(ordering: .relaxed),
                unsafe stile_send_descriptor(connection.descriptor, bytes, bytes.count, state.listener.descriptor)
                    == bytes.count
            else { throw ProtocolError(.unavailable, "the listening socket cannot be handed over now: try again") }
            connection.isHeir = true
        }
    }

    /// The tenant's allow list; root and the daemon's own user always may.
    private func isAllowed(_ user: UInt32, _ state: TenantState) -> Bool {
        user == 0 || user == geteuid() || state.allowedUsers.contains(user)
    }

    private func decider(for tenant: String) throws(ProtocolError) -> TenantDecider {
        do {
            _ = try state.board.load(tenant)
            if let decider = deciders[tenant] { return decider }
            let decider = try TenantDecider(tenant, board: state.board)
            decider.recorder = producer?.recorder(for: tenant)
            decider.shadowRecorder = shadow.recorder(for: tenant)
            deciders[tenant] = decider
            return decider
        } catch {
            ServerLog.write(.warning, "hello for tenant \"\(tenant.prefix(64))\": \(error)")
            throw ProtocolError(.tenantUnknown, "no tenant \"\(tenant.prefix(64))\" is served here")
        }
    }
}
