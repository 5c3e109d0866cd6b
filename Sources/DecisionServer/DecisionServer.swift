// The daemon: listening socket, reactors, and the control thread that compiles policies, hears signals and tells
// systemd how things stand.

import AttributeStore
import CLinux
import DecisionLog
import DecisionPath
import DecisionShadow
import Glibc
import ServiceManager
import Synchronization

/// Serves decisions until it is told to stop.
package final class DecisionServer {
    /// The version of this software.
    package static let version = "0.1.0"

    private let configuration: ServerConfiguration
    private let board: PolicyBoard
    private var watches: [String: TenantWatch] = [:]
    private var status = ""
    private var toldPublication: UInt64?
    /// The publication that reactors with open questions were woken for.
    private var toldReactors: UInt64 = 0
    /// Counts of the store's bell when this thread looked last.
    private var seenRegistry: UInt32?
    private var seenLooks: UInt64 = 0
    private var log: DecisionLog?

    package init(_ configuration: ServerConfiguration) {
        self.configuration = configuration
        board = PolicyBoard(store: configuration.store)
    }

    /// Runs on the calling thread until SIGTERM or SIGINT, then drains.
    package func run() throws(ServerError) {
        let signals = stile_signalfd()
        let controlBell = stile_eventfd()
        let control = stile_epoll_create()
        guard signals >= 0, controlBell >= 0, control >= 0, stile_epoll_add(control, signals, stile_readable, 0) == 0,
            stile_epoll_add(control, controlBell, stile_readable, 1) == 0
        else { throw ServerError(.system, "starting: \(Self.reason)") }
        let storeBell = StoreBell(configuration.store, control: controlBell)
        try loadTenants(storeBell)
        try startLog()
        let shadow = try startShadow()
        let (listener, predecessor) = try listen()
        // A read stops behind one, and nothing would tell of what follows.
        _ = stile_refuse_descriptors(listener.descriptor)
        let state = ServerState(
            configuration, board: board, log: log, shadow: shadow, storeBell: storeBell, listener: listener,
            desks: try makeDesks())
        try startReactors(state)
        let isHeard = Thread.start("bell") { storeBell.run() }
        guard isHeard else { throw ServerError(.system, "a thread could not be started") }
        let place = listener.path ?? "the socket handed over"
        ServerLog.write(
            .notice, "listening on \(place), \(configuration.reactors) reactors, store \(configuration.store.path)")
        if let predecessor {
            predecessor.dismiss()
            ServerLog.write(.notice, "took over from \(predecessor.software)")
        }
        Systemd.notify("READY=1")
        tellStatus(force: true)
        watch(state, control, signals, controlBell)
        stop(state)
    }

    private static var reason: String { unsafe String(cString: strerror(errno)) }

    // MARK: Start

    private func loadTenants(_ bell: StoreBell) throws(ServerError) {
        seenRegistry = bell.current?.registryCount
        do {
            for (id, _) in try configuration.store.tenants() { refresh(id) }
        } catch {
            throw ServerError(.store, "\(error)")
        }
    }

    private func refresh(_ tenant: String) {
        let before = board.state(of: tenant)
        do {
            let state = try board.refresh(tenant)
            if watches[tenant] == nil { watches[tenant] = try TenantWatch(tenant, configuration.store) }
            if before?.compiled?.version != state.compiled?.version || before?.message != state.message {
                let level: ServerLog.Level = state.message == "ready" ? .notice : .warning
                let version = state.compiled.map { "version \($0.version)" } ?? "no version"
                ServerLog.write(level, "tenant \(tenant): \(version) decides; \(state.message)")
            }
            tellCandidate(tenant, before?.candidate, state.candidate)
        } catch {
            ServerLog.write(.error, "tenant \(tenant): \(error)")
        }
    }

    private func tellCandidate(_ tenant: String, _ before: CandidateState?, _ now: CandidateState?) {
        guard before?.candidacy != now?.candidacy || before?.message != now?.message else { return }
        guard let now else { return ServerLog.write(.notice, "tenant \(tenant): no candidate any longer") }
        let version = now.candidacy.version
        if now.compiled != nil {
            ServerLog.write(.notice, "tenant \(tenant): version \(version) decides beside it, with no consequence")
        } else {
            ServerLog.write(.warning, "tenant \(tenant): its candidate does not decide: \(now.message)")
        }
    }

    /// The listening socket: systemd's, else that of the server which answers at the path, else our own.
    private func listen() throws(ServerError) -> (place: ListeningPlace, predecessor: Predecessor?) {
        if let descriptor = Systemd.socket(named: "stiled") {
            _ = stile_set_nonblocking(descriptor)
            return (ListeningPlace(descriptor: descriptor, path: nil), nil)
        }
        let path = configuration.socketPath
        if configuration.takesOver, let predecessor = try Predecessor(at: path) {
            return (
                ListeningPlace(descriptor: predecessor.listener, path: predecessor.ownsPath ? path : nil), predecessor
            )
        }
        let descriptor: Int32
        do throws(ListeningError) {
            descriptor = try ListeningSocket.open(path, mode: configuration.socketMode)
        } catch {
            throw ServerError(.socket, error.description)
        }
        return (ListeningPlace(descriptor: descriptor, path: path), nil)
    }

    /// The decision log and its thread.
    private func startLog() throws(ServerError) {
        guard let settings = configuration.log else { return }
        do throws(LogError) {
            let log = try DecisionLog(settings, board: board, software: "stiled \(Self.version)") { notice in
                ServerLog.write(notice.isError ? .error : .notice, notice.text)
            }
            let isWriting = Thread.start("decision log") { log.run() }
            guard isWriting else { throw LogError("a thread could not be started") }
            self.log = log
        } catch {
            throw ServerError(.system, "the decision log: \(error)")
        }
    }

    /// Where candidates decide beside, and its thread.
    private func startShadow() throws(ServerError) -> ShadowDesk {
        let shadow: ShadowDesk
        do throws(LogError) {
            shadow = try ShadowDesk(
                configuration.store, keptUses: configuration.log?.keptUses ?? LogSettings().keptUses
            ) { notice in
                ServerLog.write(notice.isError ? .error : .notice, notice.text)
            }
            let isRunning = Thread.start("shadow") { shadow.run() }
            guard isRunning else { throw LogError("a thread could not be started") }
        } catch {
            throw ServerError(.system, "candidates: \(error)")
        }
        shadow.follow(board)
        return shadow
    }

    private func makeDesks() throws(ServerError) -> [ReactorDesk] {
        var desks: [ReactorDesk] = []
        for _ in 0..<configuration.reactors {
            let bell = stile_eventfd()
            guard bell >= 0 else { throw ServerError(.system, "an event descriptor: \(Self.reason)") }
            desks.append(ReactorDesk(bell: bell))
        }
        return desks
    }

    private func startReactors(_ state: ServerState) throws(ServerError) {
        for (index, desk) in state.desks.enumerated() {
            state.storeBell.add(desk.ear)
            let nice = configuration.nice
            let pin = configuration.pin >= 0 ? configuration.pin + index : -1
            state.runningReactors.wrappingAdd(1, ordering: .relaxed)
            let started = Thread.start("reactor \(index)") {
                if pin >= 0, stile_pin(Int32(pin)) != 0 {
                    ServerLog.write(.warning, "processor \(pin) cannot be pinned")
                }
                if stile_set_nice(nice) != 0, index == 0 {
                    ServerLog.write(
                        .notice,
                        "the system refuses nice \(nice): answers to clients on the same processor take a quarter longer; "
                            + "start stiled with Nice=\(nice) in its unit, or with the capability sys_nice")
                }
                do throws(ServerError) {
                    try Reactor(state, desk).run()
                } catch {
                    ServerLog.write(.error, "\(error)")
                }
                state.runningReactors.wrappingSubtract(1, ordering: .releasing)
            }
            guard started else { throw ServerError(.system, "a thread could not be started") }
        }
    }

    // MARK: Control

    private func watch(_ state: ServerState, _ control: Int32, _ signals: Int32, _ bell: Int32) {
        let storeBell = state.storeBell
        let watchdog = Systemd.watchdogInterval
        var nextSign: UInt64 = 0
        var event = stile_event()
        while true {
            let now = stile_monotonic_us()
            let timeout = watchdog == nil ? -1 : nextSign > now ? Int32(clamping: (nextSign - now) / 1_000 + 1) : 0
            _ = unsafe stile_epoll_wait(control, &event, 1, timeout)
            var rings: UInt64 = 0
            let isRung = unsafe read(bell, &rings, 8) == 8
            if state.successor.load(ordering: .acquiring) != 0 { return }
            switch stile_next_signal(signals) {
            case SIGTERM, SIGINT: return
            case SIGHUP: reload()
            default: if isRung { follow(storeBell) }
            }
            if board.publication != toldReactors {
                toldReactors = board.publication
                storeBell.wakeListeners()
                state.shadow.follow(board)
            }
            if let watchdog, stile_monotonic_us() >= nextSign {
                Systemd.notify("WATCHDOG=1")
                nextSign = stile_monotonic_us() + watchdog / 3
            }
        }
    }

    private func reload() {
        Systemd.notify("RELOADING=1", "MONOTONIC_USEC=\(stile_monotonic_us())")
        ServerLog.write(.notice, "reloading")
        look()
        log?.rotate()
        Systemd.notify("READY=1")
        tellStatus(force: true)
    }

    /// Looks at what the store's bell, a reactor that met a new generation, or the time speaks of.
    private func follow(_ bell: StoreBell) {
        let looks = bell.looks.load(ordering: .acquiring)
        // Counts are read before the look, so that what comes after it makes them other ones.
        guard let doorbell = bell.current, looks == seenLooks, doorbell.registryCount == seenRegistry else {
            seenLooks = looks
            seenRegistry = bell.current?.registryCount
            return look()
        }
        for (id, watch) in watches where watch.isRung(doorbell) {
            if watch.hasMoved(board.state(of: id)?.generation ?? 0) { refresh(id) }
        }
        tellStatus(force: false)
    }

    /// Loads what is new in the registry and in each tenant's policies, and forgets tenants that are gone.
    private func look() {
        guard let tenants = try? configuration.store.tenants() else { return }
        let known = Set(board.tenants)
        for (id, record) in tenants {
            let state = board.state(of: id)
            let isNew = state?.allowedUsers != record.allowedUsers || state?.limits != record.limits
            if isNew || watches[id]?.hasMoved(board.state(of: id)?.generation ?? 0) ?? true { refresh(id) }
        }
        for gone in known.subtracting(tenants.map(\.id)) {
            ServerLog.write(.notice, "tenant \(gone) is gone")
            board.forget(gone)
            log?.forget(gone)
            watches[gone] = nil
        }
        tellStatus(force: false)
    }

    /// What was said last is said again only when it must be: the list of all tenants is not gone through at each ring.
    private func tellStatus(force: Bool) {
        if !force && toldPublication == board.publication { return }
        toldPublication = board.publication
        let states = board.tenants.compactMap { board.state(of: $0) }
        let ailing = states.filter { $0.message != "ready" }.count
        let text = "\(states.count) tenants" + (ailing == 0 ? "" : ", \(ailing) not ready: see the log")
        if force || text != status { Systemd.notify("STATUS=\(text)") }
        status = text
    }

    private func stop(_ state: ServerState) {
        let successor = state.successor.load(ordering: .acquiring)
        if successor == 0 {
            Systemd.notify("STOPPING=1", "STATUS=draining")
            ServerLog.write(.notice, "draining")
        } else {
            Systemd.notify("MAINPID=\(successor)")
            ServerLog.write(.notice, "draining; process \(successor) has taken over")
        }
        state.isStopping.store(true, ordering: .releasing)
        for desk in state.desks { StoreBell.wake(desk.ear.bell) }
        let deadline = stile_now_ms() + configuration.drainTimeout + 1_000
        while state.runningReactors.load(ordering: .acquiring) > 0, stile_now_ms() < deadline { usleep(2_000) }
        if let log, !log.stop(timeout: 10_000) {
            ServerLog.write(.error, "the decision log is not written to its end: its disk takes no more")
        }
        if !state.shadow.stop(timeout: 2_000) {
            ServerLog.write(.notice, "what candidates have decided in the last moment is not written down")
        }
        // A successor has the file with the socket.
        if successor == 0, let path = state.listener.path { _ = unsafe unlink(path) }
        ServerLog.write(.notice, "stopped")
    }
}

/// Sees whether a tenant's policies have moved.
private final class TenantWatch {
    private var reader: TenantReader
    private let slot: Int
    private var seen: UInt32?

    init(_ tenant: String, _ store: Store) throws(StoreError) {
        reader = try TenantReader(store, tenant: tenant)
        slot = Doorbell.slot(of: tenant)
    }

    /// True when the bell has rung for the tenant, or one that shares its place, since it was asked last.
    func isRung(_ bell: Doorbell) -> Bool {
        let count = bell.count(at: slot)
        defer { seen = count }
        return count != seen
    }

    func hasMoved(_ generation: UInt64) -> Bool {
        defer { reader.reset() }
        guard (try? reader.renew()) != nil, let generations = try? reader.generations() else { return true }
        return generations.moves != generation
    }
}

/// Threads from closures.
private enum Thread {
    private final class Body {
        let name: String
        let run: @Sendable () -> Void
        init(_ name: String, _ run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// The box is retained for the thread and released by it: one `passRetained`, one `takeRetainedValue`.
    /// - Parameter name: what `top -H` shows, at most 15 bytes.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        let box = unsafe Unmanaged.passRetained(Body(name, body))
        let code = unsafe stile_thread(
            { argument in
                guard let argument = unsafe argument else { return nil }
                let body = unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                unsafe stile_name_thread(body.name)
                body.run()
                return nil
            }, box.toOpaque())
        if code != 0 { unsafe box.release() }
        return code == 0
    }
}
