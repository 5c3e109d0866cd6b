// The state of a client and what happens to it, without a call of the system: each event changes it under the client's
// lock and says what is to be done once the lock is let go.

import DecisionProtocol

/// A task that goes on.
enum Resumption {
    case reply(WaitingTask<Result<Reply, StileError>>, Result<Reply, StileError>)
    case update(WaitingTask<Result<SeenUpdate?, StileError>>, Result<SeenUpdate?, StileError>)

    func resume() {
        switch self {
        case .reply(let task, let result): task.resume(result)
        case .update(let task, let result): task.resume(result)
        }
    }
}

/// What is to be done after an event.
struct Effects {
    var resumptions: [Resumption] = []
    /// Channels whose sending was taken on.
    var sendings: [Channel] = []
    /// Connections that are gone.
    var dropped: [Channel] = []
    /// The client's thread has to look.
    var rings = false
}

/// Everything that a client knows.
struct ClientState {
    let configuration: StileClient.Configuration
    var isClosed = false
    var hasThread = false
    /// When the client's thread looks again by itself, or has looked last.
    var nextLook: UInt64 = 0

    var lanes: [Lane] = []
    private var nextSerial: UInt64 = 1
    /// What waits for a lane or for room.
    var queue = Line<Pending>()
    /// Questions on their way.
    var inFlight = 0
    /// No deadline of anybody is before this.
    var nextDeadline = UInt64.max
    /// The lanes there are have much to do, or are behind.
    var wantsLane = false

    /// Since when the server has not been there; 0 while it is.
    var downSince: UInt64 = 0
    var downError = StileError.unreachable("there was no attempt yet")
    var nextAttempt: UInt64 = 0
    var backoff: UInt64 = 0

    var watches = WatchState()
    var cache: DecisionCache
    var statistics = StileClient.Statistics()

    init(_ configuration: StileClient.Configuration) {
        self.configuration = configuration
        cache = DecisionCache(capacity: configuration.cachedDecisions)
    }

    mutating func newSerial() -> UInt64 {
        nextSerial += 1
        return nextSerial
    }

    // MARK: Asking

    /// Takes on a question, or answers it at once.
    mutating func submit(_ pending: Pending, _ now: UInt64, _ effects: inout Effects) {
        if isClosed { return finish(pending, .failure(.closed), &effects) }
        guard now < pending.deadline else { return finish(pending, .failure(.deadlineExceeded), &effects) }
        if isDown(now), now < nextAttempt, lanes.isEmpty {
            return finish(pending, .failure(downError), &effects)
        }
        nextDeadline = min(nextDeadline, pending.deadline)
        if pending.deadline < nextLook { effects.rings = true }
        if queue.isEmpty, hasRoom(for: pending), let lane = chooseLane() {
            put(pending, lane, now)
            let isDirect = lane.onWire < Limits.directSends || lane.overdue > 0
            if isDirect, lane.channel.beginSending() { effects.sendings.append(lane.channel) }
        } else {
            queue.append(pending)
            if lanes.isEmpty { effects.rings = true }
        }
        if wantsLane { effects.rings = true }
    }

    private func isDown(_ now: UInt64) -> Bool { downSince > 0 && now > downSince + configuration.patienceMicroseconds }

    private func hasRoom(for pending: Pending) -> Bool {
        inFlight == 0 || inFlight + pending.weight <= configuration.maximumInFlight
    }

    /// The lane to take: the first that has little to do, else the one with the least; nil when there is none, or one
    /// worth waiting for.
    private mutating func chooseLane() -> Lane? {
        var best: Lane?
        for lane in lanes where lane.isOpen {
            if lane.overdue == 0, lane.weight < Limits.laneWeight { return lane }
            if let other = best, (other.overdue > 0 ? 1 : 0, other.weight) <= (lane.overdue > 0 ? 1 : 0, lane.weight) {
                continue
            }
            best = lane
        }
        guard let best else { return nil }
        let mayOpen = lanes.count < configuration.connections || best.overdue > 0 && best.live == 0
        if mayOpen { wantsLane = true }
        return best.overdue > 0 && mayOpen && downSince == 0 ? nil : best
    }

    private mutating func put(_ pending: Pending, _ lane: Lane, _ now: UInt64) {
        // A lane that is silent by nature is not one that has stopped answering.
        if lane.line.isEmpty { lane.heard = now }
        pending.asking.write(id: lane.nextID, to: &lane.channel.output)
        lane.channel.unsent += 1
        lane.line.append((lane.nextID, pending))
        lane.nextID += 1
        lane.weight += pending.weight
        lane.live += 1
        inFlight += pending.weight
        pending.sendings += 1
        statistics.questions += pending.sendings == 1 ? UInt64(pending.weight) : 0
    }

    func finish(_ pending: Pending, _ result: Result<Reply, StileError>, _ effects: inout Effects) {
        guard !pending.isDone else { return }
        pending.isDone = true
        // Without one the task was cancelled before it began to wait; it sees the mark.
        guard let task = pending.task else { return }
        pending.task = nil
        effects.resumptions.append(.reply(task, result))
    }

    /// Gives up a question. Its place stays in line until the answer has come.
    mutating func cancel(_ pending: Pending, _ effects: inout Effects) {
        guard !pending.isDone else { return }
        for lane in lanes {
            lane.line.forEach { if $0.pending === pending { lane.live -= 1 } }
        }
        finish(pending, .failure(.cancelled), &effects)
    }

    /// From now on everything is denied.
    mutating func close(_ effects: inout Effects) {
        guard !isClosed else { return }
        isClosed = true
        effects.rings = true
        for lane in lanes { lane.line.forEach { finish($0.pending, .failure(.closed), &effects) } }
        queue.forEach { finish($0, .failure(.closed), &effects) }
        queue = Line()
        lanes = []
        watches.end(.closed, &effects)
    }

    // MARK: Lanes

    /// A connection was made, and is to be greeted.
    mutating func open(_ channel: Channel, _ now: UInt64, _ effects: inout Effects) {
        if isClosed { return }
        let lane = Lane(channel, now: now)
        lanes.append(lane)
        lane.greet(tenant: configuration.tenant)
        if channel.beginSending() { effects.sendings.append(channel) }
    }

    /// No connection could be made, or it was refused.
    mutating func noteFailure(_ error: StileError, _ now: UInt64, _ effects: inout Effects) {
        let isThere = lanes.contains(where: \.isOpen)
        if downSince == 0, !isThere { downSince = now }
        downError = error
        backoff = backoff == 0 ? Limits.firstRetry : min(2 * backoff, Limits.lastRetry)
        nextAttempt = now + backoff
        wantsLane = false
        if isThere { return drain(now, &effects) }
        // A refusal is final; a server that is not there is tried again, until it has been away for long.
        var isFinal = isDown(now)
        switch error {
        case .refused, .protocolViolation: isFinal = true
        default: break
        }
        guard isFinal else { return }
        queue.forEach { finish($0, .failure(error), &effects) }
        queue = Line()
    }

    /// What came on a connection.
    mutating func take(
        _ frames: [Incoming], _ reading: Channel.Reading, _ channel: Channel, _ now: UInt64, _ effects: inout Effects
    ) {
        if isClosed { return }
        guard let lane = lanes.first(where: { $0.channel === channel }) else {
            return watches.take(frames, reading, channel, configuration, now, &effects)
        }
        if !frames.isEmpty { lane.heard = now }
        for frame in frames {
            if case .farewell(let code, let message) = frame {
                return lose(lane, .refused(code: code, message: message), now, &effects)
            }
            if case .goodbye = frame { return lose(lane, .unreachable("the server ends"), now, &effects) }
            if let error = take(frame, on: lane, now, &effects) { return lose(lane, error, now, &effects) }
        }
        switch reading {
        case .alive: break
        case .ended: return lose(lane, .unreachable("the server closed the connection"), now, &effects)
        case .nonsense(let what): return lose(lane, .protocolViolation(what), now, &effects)
        }
        drain(now, &effects)
    }

    /// One frame; an error when it answers nothing that was asked.
    private mutating func take(_ frame: Incoming, on lane: Lane, _ now: UInt64, _ effects: inout Effects) -> StileError?
    {
        if !lane.isOpen {
            guard case .welcome = frame else { return .protocolViolation("the server did not answer hello") }
            lane.isOpen = true
            wantsLane = false
            (downSince, backoff, nextAttempt) = (0, 0, 0)
            statistics.connections += 1
            return nil
        }
        guard let (id, result) = Self.reply(frame) else {
            return .protocolViolation("the server sent a frame that answers nothing")
        }
        // Answers come in the order of the questions.
        guard let (expected, pending) = lane.line.first, id == expected else {
            return .protocolViolation("the server answered a question that was not the next")
        }
        if case .success(let reply) = result, !Self.answers(reply, pending.asking) {
            return .protocolViolation("the server's answer does not fit the question")
        }
        _ = lane.line.popFirst()
        leave(pending, lane)
        finish(pending, result, &effects)
        return nil
    }

    private mutating func leave(_ pending: Pending, _ lane: Lane) {
        lane.weight -= pending.weight
        inFlight -= pending.weight
        if pending.isOverdue { lane.overdue -= 1 }
        if !pending.isDone { lane.live -= 1 }
    }

    private static func reply(_ frame: Incoming) -> (UInt64, Result<Reply, StileError>)? {
        switch frame {
        case .decision(let id, let decision): (id, .success(.decision(decision)))
        case .batch(let id, let decisions): (id, .success(.batch(decisions)))
        case .status(let id, let status): (id, .success(.status(status)))
        case .refused(let id, let code, let message): (id, .failure(.refused(code: code, message: message)))
        default: nil
        }
    }

    private static func answers(_ reply: Reply, _ asking: Asking) -> Bool {
        switch (reply, asking) {
        case (.decision, .question), (.status, .status): true
        case (.batch(let decisions), .batch(let batch)):
            batch.semantic == .executeAll
                ? decisions.count == batch.count : !decisions.isEmpty && decisions.count <= batch.count
        default: false
        }
    }

    /// A lane is gone. What the server refused is refused; what it answered with nonsense is not asked again; when it just
    /// closed, all others in line are asked again elsewhere: asking twice is as good as asking once.
    mutating func lose(_ lane: Lane, _ error: StileError, _ now: UInt64, _ effects: inout Effects) {
        lanes.removeAll { $0 === lane }
        effects.dropped.append(lane.channel)
        var (again, isFirst) = ([Pending](), true)
        while let (_, pending) = lane.line.popFirst() {
            leave(pending, lane)
            guard !pending.isDone else { continue }
            switch error {
            case .refused where isFirst, .protocolViolation: finish(pending, .failure(error), &effects)
            case _ where pending.sendings > Limits.resends:
                finish(pending, .failure(.unreachable("\(pending.sendings) connections ended")), &effects)
            default:
                again.append(pending)
                statistics.repeated += UInt64(pending.weight)
            }
            isFirst = false
        }
        queue.prepend(again)
        // One that was never open is a server that is not there.
        if !lane.isOpen {
            noteFailure(error, now, &effects)
        } else if !lanes.contains(where: \.isOpen) {
            (downSince, backoff, nextAttempt) = (0, 0, 0)
        }
        drain(now, &effects)
    }

    /// Hands what waits to the lanes, as far as there is room.
    mutating func drain(_ now: UInt64, _ effects: inout Effects) {
        while let pending = queue.first {
            if pending.isDone {
                _ = queue.popFirst()
                continue
            }
            guard hasRoom(for: pending), let lane = chooseLane() else { break }
            _ = queue.popFirst()
            put(pending, lane, now)
        }
        for lane in lanes where lane.isOpen && lane.channel.beginSending() { effects.sendings.append(lane.channel) }
    }

    // MARK: Time

    /// Gives up what is overdue. A lane that has been silent for long meanwhile is given up too.
    private mutating func expire(_ now: UInt64, _ effects: inout Effects) {
        var next = UInt64.max
        var waiting: [Pending] = []
        queue.forEach { pending in
            // A server that is away is the cause, not an answer that is slow.
            if pending.deadline <= now {
                finish(pending, .failure(downSince > 0 ? downError : .deadlineExceeded), &effects)
            }
            guard !pending.isDone else { return }
            next = min(next, pending.deadline)
            waiting.append(pending)
        }
        queue = Line(waiting)
        var silent: [Lane] = []
        for lane in lanes {
            lane.line.forEach { place in
                let pending = place.pending
                guard !pending.isDone else { return }
                guard pending.deadline <= now else { return next = min(next, pending.deadline) }
                finish(pending, .failure(.deadlineExceeded), &effects)
                pending.isOverdue = true
                lane.overdue += 1
                lane.live -= 1
            }
            if lane.overdue > 0, now > lane.heard + Limits.silence { silent.append(lane) }
        }
        nextDeadline = next
        for lane in silent { lose(lane, .unreachable("the server is silent"), now, &effects) }
    }

    /// What the client's thread does before it sleeps.
    struct Plan {
        var isClosed = false
        var connects = false
        var connectsWatches = false
        /// Microseconds of the monotonic clock.
        var nextLook = UInt64.max
    }

    /// Sees to what time has brought.
    mutating func plan(_ now: UInt64, _ effects: inout Effects) -> Plan {
        var plan = Plan(isClosed: isClosed)
        if isClosed { return plan }
        if now >= nextDeadline { expire(now, &effects) }
        for lane in lanes where !lane.isOpen && now >= lane.helloDeadline {
            lose(lane, .unreachable("the server does not answer hello"), now, &effects)
        }
        // A lane that is behind and that nobody waits for makes room for a new one.
        if wantsLane, lanes.count >= configuration.connections,
            let lane = lanes.first(where: { $0.isOpen && $0.overdue > 0 && $0.live == 0 })
        {
            lose(lane, .unreachable("the server is slow"), now, &effects)
        }
        let isOpening = lanes.contains { !$0.isOpen }
        let isWanted = wantsLane || !queue.isEmpty && !lanes.contains(where: \.isOpen)
        if isWanted, !isOpening, lanes.count < configuration.connections {
            if now >= nextAttempt { plan.connects = true } else { plan.nextLook = nextAttempt }
        }
        if lanes.count >= configuration.connections { wantsLane = false }
        plan.nextLook = min(plan.nextLook, nextDeadline)
        for lane in lanes where !lane.isOpen { plan.nextLook = min(plan.nextLook, lane.helloDeadline) }
        watches.plan(now, configuration, &plan, &effects)
        nextLook = plan.nextLook
        return plan
    }
}
