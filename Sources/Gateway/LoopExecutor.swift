// Runs a connection's code on the event loop of its connection.
//
// INVARIANT of this unsafe file: each job that is taken is run once, by the loop it was given to, which runs until the
// process ends; the executor lives as long, for its listener holds it.

import NIOCore

/// An executor that is one event loop. What runs on it must not wait for anything but by `await`: the loop's other connections
/// wait with it. In return a request's way from its bytes to its answer changes threads only where it asks somebody else.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }

    /// Executors of the loops of a group, by loop.
    static func each(of group: any EventLoopGroup) -> [ObjectIdentifier: LoopExecutor] {
        var made: [ObjectIdentifier: LoopExecutor] = [:]
        for loop in group.makeIterator() { made[ObjectIdentifier(loop)] = LoopExecutor(loop) }
        return made
    }
}
