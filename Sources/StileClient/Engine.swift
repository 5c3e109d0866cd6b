// The client's thread and the lock around its state. A task that asks puts its question on a lane and sends it itself when
// little is on its way; else the thread sends what has gathered with the next answers. The thread alone reads, connects
// and keeps the time; no thread of Swift's pool ever waits for a socket.
//
// INVARIANT of this unsafe file. The thread holds a reference to the engine of its own, taken when it starts and given back
// when it ends.

import CLinux
import Glibc
import Synchronization

/// What is behind a client.
final class Engine: Sendable {
    let configuration: StileClient.Configuration
    private let state: Mutex<ClientState>
    private let epoll: Int32
    private let bell: Int32
    private static let bellMark: UInt64 = 0

    init(_ configuration: StileClient.Configuration) throws(StileError) {
        self.configuration = configuration
        state = Mutex(ClientState(configuration))
        epoll = stile_epoll_create()
        bell = stile_eventfd()
        guard epoll >= 0, bell >= 0, stile_epoll_add(epoll, bell, stile_readable, Self.bellMark) == 0 else {
            throw .invalidConfiguration("the system gives no more descriptors: close some, or raise the limit")
        }
    }

    deinit {
        if epoll >= 0 { Glibc.close(epoll) }
        if bell >= 0 { Glibc.close(bell) }
    }

    // MARK: Asking

    nonisolated(nonsending) func ask(_ asking: Asking, within time: Duration?) async throws(StileError) -> Reply {
        let microseconds = (time ?? configuration.deadline).inMicroseconds
        let (deadline, isEndless) = stile_monotonic_us().addingReportingOverflow(microseconds)
        let pending = Pending(asking, deadline: isEndless ? .max : deadline)
        let result = await withTaskCancellationHandler {
            await WaitingTask.wait { task in submit(pending, task) }
        } onCancel: {
            change { state, effects in state.cancel(pending, &effects) }
        }
        return try result.get()
    }

    private func submit(_ pending: Pending, _ task: WaitingTask<Result<Reply, StileError>>) {
        change { state, effects in
            if pending.isDone {
                effects.resumptions.append(.reply(task, .failure(.cancelled)))
            } else {
                pending.task = task
                state.submit(pending, stile_monotonic_us(), &effects)
            }
        }
    }

    /// A decision that is kept near, if any.
    func kept(_ question: EncodedQuestion) -> Decision? {
        guard configuration.cachedDecisions > 0 else { return nil }
        return change { state, effects in
            guard !state.isClosed,
                let decision = state.cache.find(question, stile_monotonic_us(), &state.watches, &effects)
            else { return nil }
            state.statistics.cacheHits += 1
            return decision
        }
    }

    var statistics: StileClient.Statistics { state.withLock { $0.statistics } }

    func close() { change { state, effects in state.close(&effects) } }

    // MARK: Questions held open

    func begin(_ watch: Watch) {
        change { state, effects in
            if state.isClosed { return watch.finish(.closed, &effects) }
            state.watches.begin(watch, stile_monotonic_us(), &effects)
        }
    }

    func end(_ watch: Watch) { change { state, effects in state.watches.end(watch, &effects) } }

    func newest(_ watch: Watch) -> Subscription.Update? { state.withLock { _ in watch.current(.now) } }

    /// The next update after those up to a generation; nil when the task was cancelled.
    nonisolated(nonsending) func next(
        _ watch: Watch, after generation: UInt64
    ) async -> Result<SeenUpdate?, StileError> {
        let waiter = Waiter()
        return await withTaskCancellationHandler {
            await WaitingTask.wait { task in wait(watch, waiter, generation, task) }
        } onCancel: {
            change { _, effects in
                waiter.isCancelled = true
                watch.waiters.removeAll { $0 === waiter }
                guard let task = waiter.task else { return }
                waiter.task = nil
                effects.resumptions.append(.update(task, .success(nil)))
            }
        }
    }

    private func wait(
        _ watch: Watch, _ waiter: Waiter, _ generation: UInt64, _ task: WaitingTask<Result<SeenUpdate?, StileError>>
    ) {
        change { _, effects in
            if waiter.isCancelled {
                effects.resumptions.append(.update(task, .success(nil)))
            } else if let end = watch.end {
                effects.resumptions.append(.update(task, .failure(end)))
            } else if let newest = watch.newest, newest.generation > generation {
                effects.resumptions.append(.update(task, .success(newest)))
            } else {
                waiter.task = task
                watch.waiters.append(waiter)
            }
        }
    }

    // MARK: Changes

    /// Changes the state and does what follows from it. The thread is started by the first change that needs it.
    private func change<Value>(_ body: (inout ClientState, inout Effects) -> Value) -> Value where Value: Sendable {
        let (value, effects, starts) = state.withLock { state in
            var effects = Effects()
            let value = body(&state, &effects)
            let starts = effects.rings && !state.hasThread && !state.isClosed
            if starts { state.hasThread = true }
            return (value, effects, starts)
        }
        carryOut(effects)
        if starts { start() } else if effects.rings { ring() }
        return value
    }

    private func carryOut(_ effects: Effects) {
        for channel in effects.sendings { transmit(channel) }
        for resumption in effects.resumptions { resumption.resume() }
    }

    private func ring() {
        var one: UInt64 = 1
        // A bell that is full rings already.
        _ = unsafe write(bell, &one, 8)
    }

    /// Sends what a channel's taken-on sending has, and what comes meanwhile.
    private func transmit(_ channel: Channel) {
        while true {
            channel.push()
            let sending = state.withLock { _ in channel.continueSending() }
            switch sending {
            case .more: continue
            case .done: return
            case .blocked:
                // The thread looks for room, whichever connection it is of.
                return watchRoom(channel, true)
            }
        }
    }

    private func watchRoom(_ channel: Channel, _ isBlocked: Bool) {
        let events = isBlocked ? stile_readable | stile_writable : stile_readable
        _ = stile_epoll_change(epoll, channel.descriptor, events, channel.serial)
    }

    // MARK: The thread

    private func start() {
        let reference = unsafe Unmanaged.passRetained(self)
        let code = unsafe stile_quiet_thread(
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Engine>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            }, unsafe reference.toOpaque())
        guard code != 0 else { return }
        unsafe reference.release()
        state.withLock { $0.hasThread = false }
        close()
    }

    private func run() {
        var events = [stile_event](repeating: stile_event(), count: 16)
        var channels: [UInt64: Channel] = [:]
        var frames: [Incoming] = []
        while true {
            let plan = look(&channels)
            if plan.isClosed { break }
            let count = unsafe stile_epoll_wait(epoll, &events, Int32(events.count), Self.wait(until: plan.nextLook))
            for index in 0..<max(0, Int(count)) {
                let event = events[index]
                if event.data == Self.bellMark {
                    var rings: UInt64 = 0
                    _ = unsafe read(bell, &rings, 8)
                } else if let channel = channels[event.data] {
                    serve(channel, event.events, &channels, &frames)
                }
            }
        }
        for channel in channels.values { drop(channel) }
    }

    /// Milliseconds until an instant, rounded up; -1 without one.
    private static func wait(until instant: UInt64) -> Int32 {
        guard instant != .max else { return -1 }
        let now = stile_monotonic_us()
        return now >= instant ? 0 : Int32(clamping: (instant - now + 999) / 1_000)
    }

    private func serve(
        _ channel: Channel, _ events: UInt32, _ channels: inout [UInt64: Channel], _ frames: inout [Incoming]
    ) {
        if events & stile_writable != 0, state.withLock({ _ in channel.resumeSending() }) {
            watchRoom(channel, false)
            transmit(channel)
        }
        guard events & ~stile_writable != 0 else { return }
        frames.removeAll(keepingCapacity: true)
        let reading = channel.read(&frames)
        let effects = state.withLock { state in
            var effects = Effects()
            state.take(frames, reading, channel, stile_monotonic_us(), &effects)
            return effects
        }
        drop(effects, &channels)
        carryOut(effects)
    }

    private func drop(_ effects: Effects, _ channels: inout [UInt64: Channel]) {
        for channel in effects.dropped {
            channels[channel.serial] = nil
            drop(channel)
        }
    }

    private func drop(_ channel: Channel) {
        _ = stile_epoll_remove(epoll, channel.descriptor)
        _ = shutdown(channel.descriptor, Int32(SHUT_RDWR))
    }

    /// Sees to what time has brought and to connections that are wanted; says until when to sleep.
    private func look(_ channels: inout [UInt64: Channel]) -> ClientState.Plan {
        while true {
            let (plan, effects) = state.withLock { state in
                var effects = Effects()
                let plan = state.plan(stile_monotonic_us(), &effects)
                return (plan, effects)
            }
            drop(effects, &channels)
            carryOut(effects)
            if plan.connects { connect(forWatches: false, &channels) }
            if plan.connectsWatches { connect(forWatches: true, &channels) }
            if !plan.connects, !plan.connectsWatches, effects.dropped.isEmpty { return plan }
        }
    }

    private func connect(forWatches: Bool, _ channels: inout [UInt64: Channel]) {
        let attempt: Result<Channel, StileError> = Result { () throws(StileError) in
            let channel = try Channel(path: configuration.socketPath)
            channel.serial = state.withLock { $0.newSerial() }
            guard stile_epoll_add(epoll, channel.descriptor, stile_readable, channel.serial) == 0 else {
                throw .unreachable("the system watches no more descriptors")
            }
            return channel
        }
        if case .success(let channel) = attempt { channels[channel.serial] = channel }
        let effects = state.withLock { state in
            var effects = Effects()
            let now = stile_monotonic_us()
            switch (attempt, forWatches) {
            case (.success(let channel), false): state.open(channel, now, &effects)
            case (.success(let channel), true):
                state.watches.open(channel, tenant: configuration.tenant, now, &effects)
            case (.failure(let error), false): state.noteFailure(error, now, &effects)
            case (.failure(let error), true): state.watches.noteFailure(error, now)
            }
            return effects
        }
        carryOut(effects)
    }
}

extension Duration {
    /// Whole microseconds, 0 for what is not positive.
    var inMicroseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, overflows) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000)
        let (sum, overflowsToo) = product.addingReportingOverflow(UInt64(attoseconds) / 1_000_000_000_000)
        return overflows || overflowsToo ? .max : sum
    }
}
