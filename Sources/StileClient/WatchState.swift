// Questions held open: they have a connection of their own, which subscribes what is watched, hands out what is pushed,
// asks for a sign of life now and then, and subscribes all again when it was lost. Everything here is under the client's
// lock.

import CBOR
import DecisionProtocol
import Memory

/// An update and the count of updates up to it.
struct SeenUpdate: Sendable {
    let update: Subscription.Update
    let generation: UInt64
}

/// A task that waits for the next update.
final class Waiter: @unchecked Sendable {
    var task: WaitingTask<Result<SeenUpdate?, StileError>>?
    var isCancelled = false
}

/// One question that is held open. Everything that varies is touched only under the client's lock.
final class Watch: @unchecked Sendable {
    enum Phase {
        case fresh, asked
        case open(UInt64)
        /// The server holds it not open, as long as this connection lasts.
        case refused
    }

    let question: EncodedQuestion?
    /// Of a kept decision: no refusal ends it.
    let isKept: Bool
    var phase = Phase.fresh
    private(set) var newest: SeenUpdate?
    /// The newest answer stands: its connection is there and shows signs of life.
    private(set) var isTrusted = false
    /// Since when there has been no connection; 0 while there is one.
    var lostSince: UInt64 = 0
    /// Why there will be no more updates.
    private(set) var end: StileError?
    /// Nobody wants it any more.
    var isOver = false
    var waiters: [Waiter] = []

    init(_ question: EncodedQuestion, isKept: Bool) {
        self.question = question
        self.isKept = isKept
    }

    /// One that the server is never asked about.
    init(failed error: StileError) {
        question = nil
        isKept = false
        end = error
        newest = SeenUpdate(update: .unknown(error), generation: 1)
    }

    /// True when the newest update says that the answer is not known.
    var isToldUnknown: Bool {
        if case .unknown = newest?.update { return true }
        return false
    }

    func tell(_ update: Subscription.Update, _ effects: inout Effects) {
        if case .decision = update {
            isTrusted = true
            lostSince = 0
        } else {
            isTrusted = false
        }
        let seen = SeenUpdate(update: update, generation: (newest?.generation ?? 0) + 1)
        newest = seen
        wake(.success(seen), &effects)
    }

    /// The connection is gone.
    func lose(_ now: UInt64) {
        phase = .fresh
        isTrusted = false
        if lostSince == 0 { lostSince = now }
    }

    func finish(_ error: StileError, _ effects: inout Effects) {
        guard end == nil else { return }
        tell(.unknown(error), &effects)
        end = error
        wake(.failure(error), &effects)
    }

    private func wake(_ result: Result<SeenUpdate?, StileError>, _ effects: inout Effects) {
        for waiter in waiters {
            guard let task = waiter.task else { continue }
            waiter.task = nil
            effects.resumptions.append(.update(task, result))
        }
        waiters.removeAll()
    }

    /// The newest update if it can be relied on at this instant.
    func current(_ now: Decision.Timestamp) -> Subscription.Update? {
        guard case .decision(let decision) = newest?.update, !decision.isCurrent(at: now) else { return newest?.update }
        // Its time has come and its successor has not.
        return .unknown(.deadlineExceeded)
    }

    /// The newest decision if its connection is there and its time has not come.
    func kept(_ now: Decision.Timestamp) -> Decision? {
        guard isTrusted, case .decision(let decision) = newest?.update, decision.isCurrent(at: now) else { return nil }
        return decision
    }
}

/// All questions that a client holds open.
struct WatchState {
    private enum Wired {
        case subscribe(Watch)
        case unsubscribe
        case status
    }

    private var channel: Channel?
    private var isOpen = false
    private var helloDeadline: UInt64 = 0
    /// Requests on their way.
    private var line = Line<(id: UInt64, wired: Wired)>()
    private var nextID: UInt64 = 1
    private var watches: [ObjectIdentifier: Watch] = [:]
    /// By the server's number.
    private var numbers: [UInt64: Watch] = [:]
    /// To be subscribed, and numbers to be unsubscribed.
    private var fresh: [Watch] = []
    private var ended: [UInt64] = []
    private var nextAttempt: UInt64 = 0
    private var backoff: UInt64 = 0
    /// When a sign of life is asked for, and by when something must have come; max when none was asked for.
    private var nextBeat: UInt64 = 0
    private var beatDeadline = UInt64.max
    /// Why there is no connection; nil before the first attempt has failed.
    private var failure: StileError?
    /// When those without a connection are to be told.
    private var nextDenial = UInt64.max

    // MARK: Watches

    mutating func begin(_ watch: Watch, _ now: UInt64, _ effects: inout Effects) {
        watch.lostSince = now
        watches[ObjectIdentifier(watch)] = watch
        fresh.append(watch)
        if failure != nil { nextDenial = 0 }
        effects.rings = true
    }

    mutating func end(_ watch: Watch, _ effects: inout Effects) {
        guard watches.removeValue(forKey: ObjectIdentifier(watch)) != nil else { return }
        watch.isOver = true
        if case .open(let number) = watch.phase {
            numbers[number] = nil
            ended.append(number)
        }
        effects.rings = true
    }

    /// Ends all.
    mutating func end(_ error: StileError, _ effects: inout Effects) {
        for watch in watches.values {
            watch.lose(0)
            watch.finish(error, &effects)
        }
        watches = [:]
        numbers = [:]
        fresh = []
        line = Line()
        channel = nil
    }

    // MARK: The connection

    mutating func open(_ channel: Channel, tenant: String, _ now: UInt64, _ effects: inout Effects) {
        self.channel = channel
        isOpen = false
        helloDeadline = now + Limits.hello
        channel.output.raw(Framing.prefixed(Hello(tenant: tenant, takesGoodbye: true).frame))
        if channel.beginSending() { effects.sendings.append(channel) }
    }

    mutating func noteFailure(_ error: StileError, _ now: UInt64) {
        failure = error
        backoff = backoff == 0 ? Limits.firstRetry : min(2 * backoff, Limits.lastRetry)
        nextAttempt = now + backoff
        nextDenial = 0
    }

    /// The connection is gone: no answer is to be trusted.
    private mutating func part(_ error: StileError, _ now: UInt64, _ effects: inout Effects) {
        guard let channel else { return }
        effects.dropped.append(channel)
        self.channel = nil
        line = Line()
        numbers = [:]
        ended = []
        fresh = watches.values.filter { $0.end == nil }
        for watch in fresh { watch.lose(now) }
        beatDeadline = .max
        if isOpen {
            isOpen = false
            (failure, nextAttempt, nextDenial) = (error, now, 0)
        } else {
            noteFailure(error, now)
        }
    }

    /// What came.
    mutating func take(
        _ frames: [Incoming], _ reading: Channel.Reading, _ channel: Channel,
        _ configuration: StileClient.Configuration, _ now: UInt64, _ effects: inout Effects
    ) {
        guard channel === self.channel else { return }
        // Whatever comes is a sign of life: the one that was asked for may stand behind many answers.
        if !frames.isEmpty, beatDeadline != .max { beatDeadline = now + configuration.heartbeatMicroseconds }
        for frame in frames {
            if let error = take(frame, configuration, now, &effects) { return part(error, now, &effects) }
        }
        switch reading {
        case .alive: break
        case .ended: part(.unreachable("the server closed the connection"), now, &effects)
        case .nonsense(let what): part(.protocolViolation(what), now, &effects)
        }
    }

    /// One frame; an error when the connection is to be ended.
    private mutating func take(
        _ frame: Incoming, _ configuration: StileClient.Configuration, _ now: UInt64, _ effects: inout Effects
    ) -> StileError? {
        switch frame {
        case .farewell(let code, let message): return .refused(code: code, message: message)
        case .goodbye: return .unreachable("the server ends")
        case .welcome where !isOpen:
            isOpen = true
            (failure, backoff, nextBeat, nextDenial) = (nil, 0, now, .max)
            return nil
        case _ where !isOpen: return .protocolViolation("the server did not answer hello")
        // One that was ended meanwhile is nobody's.
        case .pushed(let number, let decision):
            numbers[number]?.tell(.decision(decision), &effects)
            return nil
        default: break
        }
        guard let (id, wired) = line.popFirst() else {
            return .protocolViolation("the server sent a frame that answers nothing")
        }
        switch (frame, wired) {
        case (.subscribed(id, let number, let decision), .subscribe(let watch)):
            guard !watch.isOver else {
                ended.append(number)
                return nil
            }
            watch.phase = .open(number)
            numbers[number] = watch
            watch.tell(.decision(decision), &effects)
        case (.refused(id, let code, let message), .subscribe(let watch)):
            watch.phase = .refused
            if !watch.isKept { watch.finish(.refused(code: code, message: message), &effects) }
        case (.unsubscribed(id), .unsubscribe), (.refused(id, _, _), .unsubscribe): break
        case (.status(id, _), .status), (.refused(id, _, _), .status):
            nextBeat = now + configuration.heartbeatMicroseconds
            beatDeadline = .max
        default: return .protocolViolation("the server answered a question that was not the next")
        }
        return nil
    }

    // MARK: Time

    mutating func plan(
        _ now: UInt64, _ configuration: StileClient.Configuration, _ plan: inout ClientState.Plan,
        _ effects: inout Effects
    ) {
        if channel != nil { keepUp(now, configuration, &effects) }
        if now >= nextDenial { deny(now, configuration, &effects) }
        plan.nextLook = min(plan.nextLook, nextDenial)
        if channel == nil {
            guard !watches.isEmpty else { return }
            if now >= nextAttempt {
                plan.connectsWatches = true
            } else {
                plan.nextLook = min(plan.nextLook, nextAttempt)
            }
        } else if isOpen {
            plan.nextLook = min(plan.nextLook, beatDeadline == .max ? nextBeat : beatDeadline)
        } else {
            plan.nextLook = min(plan.nextLook, helloDeadline)
        }
    }

    /// Puts on the wire what is to be asked; ends a connection that shows no sign of life or that nobody needs.
    private mutating func keepUp(
        _ now: UInt64, _ configuration: StileClient.Configuration, _ effects: inout Effects
    ) {
        guard isOpen else {
            if now >= helloDeadline { part(.unreachable("the server does not answer hello"), now, &effects) }
            return
        }
        if watches.isEmpty {
            part(.closed, now, &effects)
            failure = nil
            return
        }
        if now >= beatDeadline { return part(.unreachable("the server shows no sign of life"), now, &effects) }
        guard let channel else { return }
        for watch in fresh where !watch.isOver {
            guard let question = watch.question else { continue }
            wire(.subscribe(watch))
            Asking.writeSubscribe(question, id: nextID - 1, to: &channel.output)
            watch.phase = .asked
        }
        fresh.removeAll()
        for number in ended {
            wire(.unsubscribe)
            Asking.writeUnsubscribe(number, id: nextID - 1, to: &channel.output)
        }
        ended.removeAll()
        if now >= nextBeat, beatDeadline == .max {
            wire(.status)
            Asking.status.write(id: nextID - 1, to: &channel.output)
            beatDeadline = now + configuration.heartbeatMicroseconds
        }
        if channel.beginSending() { effects.sendings.append(channel) }
    }

    private mutating func wire(_ wired: Wired) {
        line.append((nextID, wired))
        nextID += 1
    }

    /// Tells those whose connection has been away for longer than the grace that their answer is not known.
    private mutating func deny(_ now: UInt64, _ configuration: StileClient.Configuration, _ effects: inout Effects) {
        nextDenial = .max
        guard let failure else { return }
        for watch in watches.values where watch.lostSince > 0 && watch.end == nil && !watch.isToldUnknown {
            let end = watch.lostSince + configuration.graceMicroseconds
            if end <= now { watch.tell(.unknown(failure), &effects) } else { nextDenial = min(nextDenial, end) }
        }
    }
}
