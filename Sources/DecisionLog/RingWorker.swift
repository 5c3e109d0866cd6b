// What the threads that empty reactors' rings have in common: a bell that ends their rest, how they are told to end, and
// the two ends of a ring.

import CLinux
package import DecisionPath
import Glibc
package import Memory
import Synchronization

/// The outside of a thread that empties rings; shared by all threads.
package final class RingWorker: Sendable {
    /// An event descriptor, written when the thread must not sleep on.
    private let bell: Int32
    private let stops = Atomic<Bool>(false)
    private let isFinished = Atomic<Bool>(false)

    package init() throws(LogError) {
        bell = stile_eventfd()
        guard bell >= 0 else { throw LogError("an event descriptor", code: errno) }
    }

    /// The thread is to do what is left and end.
    package var isStopping: Bool { stops.load(ordering: .acquiring) }

    /// Ends the thread's rest.
    package func ring() {
        var one: UInt64 = 1
        _ = unsafe write(bell, &one, 8)
    }

    /// Rests until the bell rings. For the thread.
    /// - Parameter milliseconds: not longer than this; -1 without end.
    package func rest(_ milliseconds: Int32) {
        var ready = pollfd(fd: bell, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&ready, 1, milliseconds) > 0 else { return }
        var count: UInt64 = 0
        _ = unsafe read(bell, &count, 8)
    }

    /// Has the thread end, and waits for it; call when the reactors have ended.
    /// - Returns: false when that took longer than `timeout` milliseconds.
    package func stop(timeout: Int64) -> Bool {
        stops.store(true, ordering: .releasing)
        ring()
        let deadline = stile_now_ms() + timeout
        while !isFinished.load(ordering: .acquiring) {
            if stile_now_ms() > deadline { return false }
            usleep(1_000)
        }
        return true
    }

    /// Says that the thread has ended. For the thread.
    package func finish() { isFinished.store(true, ordering: .releasing) }

    /// A reactor's end of a ring.
    package func producer(of ring: ByteRing, mode: RecordingMode) -> DecisionProducer {
        DecisionProducer(ring: ring.producer, bell: bell, mode: mode)
    }
}

/// A reactor's end of a ring of decisions.
package struct DecisionProducer: Sendable {
    fileprivate let ring: RingProducer
    fileprivate let bell: Int32
    fileprivate let mode: RecordingMode

    /// Records the decisions about a tenant. For the one thread that the producer was made for.
    package func recorder(for tenant: String) -> DecisionRecorder {
        DecisionRecorder(ring, bell: bell, mode: mode, tenant: tenant)
    }
}

/// A ring and the worker's end of it.
package final class RingReader {
    package let ring: ByteRing
    package var consumer: RingConsumer

    package init(_ ring: ByteRing) {
        self.ring = ring
        consumer = ring.consumer
    }
}
