// What a server is told at its start, and why it could not start.

package import AttributeStore
package import DecisionLog

/// The settings of `stiled`.
package struct ServerConfiguration: Sendable {
    package var store: Store
    /// Path of the decision socket; ignored when systemd hands one over.
    package var socketPath: String
    /// Permission bits of the socket's file.
    package var socketMode: UInt32 = 0o660
    /// Take the listening socket from a server that answers at `socketPath`, which then ends.
    package var takesOver = false
    /// Reactor threads.
    package var reactors = 1
    /// Connections of all reactors together.
    package var maxConnections = 1_024
    /// Open questions of all reactors together.
    package var maxSubscriptions = 1_000_000
    /// Unsent answer bytes of a connection at which its questions wait.
    package var maxUnsentBytes = 4 << 20
    /// Milliseconds in which a client must say hello.
    package var helloTimeout: Int64 = 5_000
    /// Milliseconds that a stopping server gives its clients to take their answers.
    package var drainTimeout: Int64 = 5_000
    /// Whether reactors poll before they sleep.
    package var spin = SpinMode.automatic
    /// Processor for the first reactor; -1 for any.
    package var pin = -1

    /// Nice value of the reactors. Below zero a question in the socket takes the processor from the client that wrote
    /// it; at zero the client sleeps first, and the kernel wakes it once for nothing (ARCHITECTURE.md, "Priority").
    package var nice: Int32 = -5

    /// The decision log; nil keeps none.
    package var log: LogSettings? = LogSettings()

    package init(store: Store, socketPath: String) {
        self.store = store
        self.socketPath = socketPath
    }
}

/// Why the server did not start.
package struct ServerError: Error, Sendable, CustomStringConvertible {
    /// The kinds.
    package enum Code: Sendable {
        /// The socket could not be made.
        case socket
        /// The store could not be opened.
        case store
        /// The system refused something else.
        case system
    }

    package var code: Code
    /// What, where and how to mend it.
    package var description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
