// A reactor: one thread, one epoll instance, its connections and its readers of the store. Nothing on the way from
// frame to answer is shared with another thread but the compiled policies, which do not change.
//
// A wake-up: wait, read the clock once, handle every complete frame of every ready connection over one snapshot a
// tenant, then one write a connection. At one question at a time that is three system calls: wait, read, write.

import CBOR
import CLinux
import DecisionLog
import DecisionPath
import DecisionProtocol
import Glibc
import Synchronization

/// What the reactors and the control thread share.
final class ServerState: Sendable {
    let configuration: ServerConfiguration
    let board: PolicyBoard
    let storeBell: StoreBell
    /// The listening socket.
    let listener: Int32
    let connections = Atomic<Int>(0)
    /// Open questions of all reactors.
    let subscriptions = Atomic<Int>(0)
    let isStopping = Atomic<Bool>(false)
    let runningReactors = Atomic<Int>(0)
    /// Nil where decisions are not logged.
    let log: DecisionLog?

    init(
        _ configuration: ServerConfiguration, board: PolicyBoard, log: DecisionLog?, storeBell: StoreBell,
        listener: Int32
    ) {
        self.configuration = configuration
        self.board = board
        self.log = log
        self.storeBell = storeBell
        self.listener = listener
    }
}

/// One thread's loop.
final class Reactor {
    private let state: ServerState
    private let epoll: Int32
    private let ear: StoreBell.Ear
    private let timer: Int32
    /// The instant that the timer is set to.
    private var timerAt = Int64.max
    private let subscriptions: Subscriptions
    /// Connections by descriptor: the kernel gives the lowest numbers, so the list stays short and needs no hashing.
    private var connections: [Connection?] = []
    private var deciders: [String: TenantDecider] = [:]
    private let producer: LogProducer?
    /// Deciders that hold a snapshot in this wake-up.
    private var held: [TenantDecider] = []
    private var events = [stile_event](repeating: stile_event(), count: 256)
    private var isAccepting = true
    /// Connections open here, and those of them that have not said hello.
    private var open = 0
    private var strangers = 0
    private var stopDeadline = Int64.max
    private var nextSweep: Int64 = 0
    private var lastWork: UInt64 = 0
    private static let listenerMark = UInt64.max
    private static let bellMark = UInt64.max - 1
    private static let timerMark = UInt64.max - 2

    /// - Parameter ear: how other threads wake this one.
    init(_ state: ServerState, _ ear: StoreBell.Ear) throws(ServerError) {
        self.state = state
        self.ear = ear
        subscriptions = Subscriptions(state, ear)
        do throws(LogError) {
            producer = try state.log?.attach()
        } catch {
            throw ServerError(.system, "\(error)")
        }
        epoll = stile_epoll_create()
        timer = stile_timer()
        guard epoll >= 0, timer >= 0,
            stile_epoll_add(epoll, state.listener, stile_readable | stile_exclusive, Self.listenerMark) == 0,
            stile_epoll_add(epoll, ear.bell, stile_readable, Self.bellMark) == 0,
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
            let count = isPressed ? poll(0) : wait()
            let now = stile_now_ms()
            for index in 0..<count { handle(events[index], now) }
            endWakeUp()
            isPressed = subscriptions.isPressed(now)
            if isPressed { work(now) }
            if subscriptions.nextDue != timerAt { setTimer() }
            if now >= nextSweep { sweep(now) }
            if state.isStopping.load(ordering: .relaxed), drain(now) { return }
        }
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

    /// Waits for work: a while by asking again and again, then asleep.
    private func wait() -> Int {
        let spin = state.configuration.spin
        if spin > 0 {
            let now = stile_monotonic_us()
            while stile_monotonic_us() &- lastWork < spin {
                let count = poll(0)
                if count > 0 {
                    lastWork = stile_monotonic_us()
                    return count
                }
                if stile_monotonic_us() &- now > spin { break }
            }
        }
        // A timeout costs a timer in the kernel at each wait, so there is one only while somebody owes a hello.
        let count = poll(state.isStopping.load(ordering: .relaxed) ? 20 : strangers > 0 ? 1_000 : -1)
        if spin > 0, count > 0 { lastWork = stile_monotonic_us() }
        return count
    }

    private func poll(_ timeout: Int32) -> Int {
        let count = unsafe events.withUnsafeMutableBufferPointer {
            unsafe stile_epoll_wait(epoll, $0.baseAddress, Int32($0.count), timeout)
        }
        return max(0, Int(count))
    }

    private func handle(_ event: stile_event, _ now: Int64) {
        if event.data == Self.listenerMark { return accept(now) }
        if event.data == Self.bellMark {
            var value: UInt64 = 0
            _ = unsafe read(ear.bell, &value, 8)
            return
        }
        if event.data == Self.timerMark { return setTimer() }
        let index = Int(truncatingIfNeeded: event.data)
        guard index < connections.count, let connection = connections[index] else { return }
        connection.now = now
        if event.events & stile_readable != 0, !connection.isClosing {
            switch connection.read() {
            case .some: serve(connection, now)
            case .nothing: break
            case .end: connection.isClosing = true
            }
        } else if event.events & stile_hung_up != 0 {
            drop(connection)
            return
        } else if event.events & stile_writable != 0, !connection.isClosing {
            // Room again: questions that waited in the buffer go on.
            if connection.flush(), connection.unsent == 0 {
                serve(connection, now)
            }
        }
        settle(connection)
    }

    // MARK: Connections

    private func accept(_ now: Int64) {
        while isAccepting {
            let descriptor = stile_accept(state.listener)
            if descriptor < 0 { return }
            var user: UInt32 = .max
            var process: Int32 = 0
            let isKnown = unsafe stile_peer_user(descriptor, &user, &process) == 0
            let connection = Connection(descriptor, user: user, now: now)
            let count = state.connections.wrappingAdd(1, ordering: .relaxed).newValue
            while connections.count <= Int(descriptor) { connections.append(nil) }
            connections[Int(descriptor)] = connection
            open += 1
            strangers += 1
            connection.interest = stile_readable
            _ = stile_epoll_add(epoll, descriptor, stile_readable, UInt64(descriptor))
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

    private func drop(_ connection: Connection) {
        guard connections[Int(connection.descriptor)] != nil else { return }
        connections[Int(connection.descriptor)] = nil
        subscriptions.forget(connection)
        open -= 1
        if connection.decider == nil { strangers -= 1 }
        _ = stile_epoll_remove(epoll, connection.descriptor)
        state.connections.wrappingSubtract(1, ordering: .relaxed)
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
        var isThere = connection.flush()
        // The kernel has taken what held questions up: no event would tell of those that are left in the buffer.
        while isThere, connection.isHeldUp, !connection.isClosing,
            connection.unsent < state.configuration.maxUnsentBytes
        {
            serve(connection, connection.now)
            isThere = connection.flush()
        }
        guard isThere, !(connection.isClosing && connection.unsent == 0) else { return drop(connection) }
        if connection.unsent == 0 { subscriptions.resume(connection) }
        var interest: UInt32 = 0
        if connection.unsent > 0 { interest |= stile_writable }
        if connection.unsent < state.configuration.maxUnsentBytes, !connection.isClosing { interest |= stile_readable }
        if interest != connection.interest {
            connection.interest = interest
            _ = stile_epoll_change(epoll, connection.descriptor, interest, UInt64(connection.descriptor))
        }
    }

    /// Snapshots are let go.
    private func endWakeUp() {
        if held.isEmpty { return }
        for decider in held { decider.end() }
        held.removeAll(keepingCapacity: true)
    }

    /// True when nothing is left to do.
    private func drain(_ now: Int64) -> Bool {
        if isAccepting {
            isAccepting = false
            _ = stile_epoll_remove(epoll, state.listener)
            stopDeadline = now + state.configuration.drainTimeout
            // What clients have sent before is answered; then they are closed.
            for case let connection? in connections {
                if connection.read() == .some { serve(connection, now) }
                connection.isClosing = true
                settle(connection)
            }
            endWakeUp()
        }
        return open == 0 || now >= stopDeadline
    }

    // MARK: Frames

    private func serve(_ connection: Connection, _ now: Int64) {
        connection.isHeldUp = false
        do throws(ProtocolError) {
            var failure: ProtocolError?
            try connection.forEachFrame { frame in
                do throws(ProtocolError) {
                    try handle(frame, connection, now)
                } catch {
                    failure = error
                    return false
                }
                connection.isHeldUp = connection.unsent >= state.configuration.maxUnsentBytes
                return !connection.isHeldUp
            }
            if let failure { throw failure }
        } catch {
            refuse(connection, error)
        }
    }

    private func handle(_ frame: CBORReader, _ connection: Connection, _ now: Int64) throws(ProtocolError) {
        if let decider = connection.decider {
            hold(decider, now)
            if decider.takeRefreshRequest() { state.storeBell.askForLook() }
            if decider.answerQuickly(frame, &connection.output) { return }
        }
        let head: FrameHead
        do throws(CBORError) {
            var reader = frame
            head = try FrameHead(&reader)
        } catch {
            throw ProtocolError(.malformedFrame, "\(error): send deterministic CBOR as grammar/decision.cddl says")
        }
        guard let kind = FrameKind(rawValue: head.kind), kind.rawValue <= FrameKind.unsubscribe.rawValue else {
            throw ProtocolError(.unknownFrame, "no frame of kind \(head.kind)")
        }
        if kind == .hello { return try hello(head, frame, connection) }
        guard let decider = connection.decider else {
            throw ProtocolError(.helloExpected, "the first frame must be a hello that names the tenant")
        }
        switch kind {
        case .question: decider.answer(head, frame, &connection.output)
        case .batch: try decider.answerBatch(head, frame, &connection.output)
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
        case .push, .takeOver, .hello, .error: break
        }
    }

    @inline(__always)
    private func hold(_ decider: TenantDecider, _ now: Int64) {
        if decider.begin(now: now) { held.append(decider) }
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
        strangers -= 1
        connection.send(
            Welcome(
                tenant: tenant, policyVersion: state.compiled?.version ?? 0,
                software: "stiled \(DecisionServer.version)"
            )
            .frame)
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
            deciders[tenant] = decider
            return decider
        } catch {
            ServerLog.write(.warning, "hello for tenant \"\(tenant.prefix(64))\": \(error)")
            throw ProtocolError(.tenantUnknown, "no tenant \"\(tenant.prefix(64))\" is served here")
        }
    }
}
