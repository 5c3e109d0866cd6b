// A task that waits, and how it goes on.
//
// INVARIANT of this unsafe file: a waiting task is let go on once. Whoever keeps one keeps it in a variable under the
// client's lock and takes it out of there, under the lock, before letting it go on; closing the client takes out all.

/// A task that waits for a value. It must be resumed exactly once.
@safe
struct WaitingTask<Value: Sendable>: Sendable {
    private let continuation: UnsafeContinuation<Value, Never>

    /// Lets the current task wait until the one that is given to the body is resumed.
    nonisolated(nonsending) static func wait(_ body: (WaitingTask<Value>) -> Void) async -> Value {
        await unsafe withUnsafeContinuation { continuation in body(unsafe WaitingTask(continuation: continuation)) }
    }

    private init(continuation: UnsafeContinuation<Value, Never>) { unsafe self.continuation = continuation }

    func resume(_ value: Value) { unsafe continuation.resume(returning: value) }
}
