// Limits and numbers of the decision socket (grammar/decision.cddl).

/// Limits of one connection; the server tells them in its welcome.
public enum ProtocolLimits {
    /// The version spoken.
    package static let version: UInt64 = 1
    /// Bytes of the length before each frame, big-endian.
    @inlinable public static var prefixBytes: Int { 4 }
    /// Bytes of one frame from a client.
    @inlinable public static var maxFrameBytes: Int { 1 << 20 }
    /// Bytes of one frame from the server: a batch's answers.
    package static let maxAnswerBytes = 8 << 20
    /// Questions in one batch.
    package static let maxBatch = 1_000
    /// Bytes of a type's, action's or entity's name or id.
    package static let maxNameBytes = 256
    /// Open subscriptions of one connection.
    package static let maxSubscriptions = 100_000
    /// Bytes of a frame that subscribes: the server keeps it.
    package static let maxSubscriptionBytes = 16 << 10
}

/// What a frame is; key 0 of every frame.
public enum FrameKind: UInt64, Sendable {
    /// hello and welcome
    case hello = 0
    case question = 1
    case batch = 2
    case status = 3
    /// A question held open, and its first answer.
    case subscribe = 4
    case unsubscribe = 5
    /// Only from the server: a new answer to an open question.
    case push = 6
    /// One server asks another for its listening socket.
    case takeOver = 7
    /// Only from the server, and its last: the server ends.
    case goodbye = 8
    /// Only from the server. Without a request's id the connection is closed after it.
    case error = 15

    /// The byte that a question's frame has for its kind, known to the compiler where frames are read and written.
    @inlinable public static var questionByte: UInt8 { 1 }

    /// Clients send such frames.
    package var isClients: Bool {
        switch self {
        case .hello, .question, .batch, .status, .subscribe, .unsubscribe, .takeOver: true
        case .push, .goodbye, .error: false
        }
    }
}

/// Why a frame was refused. The connection is closed after it, unless `frame(id:)` names the request that alone was
/// not carried out.
package struct ProtocolError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds; the raw value stands on the wire.
    package enum Code: String, Sendable, Hashable, CaseIterable {
        case frameTooLarge = "frame_too_large"
        case malformedFrame = "malformed_frame"
        case unknownFrame = "unknown_frame"
        case helloExpected = "hello_expected"
        case versionUnsupported = "version_unsupported"
        case tenantUnknown = "tenant_unknown"
        case notAllowed = "not_allowed"
        case batchTooLarge = "batch_too_large"
        case tooManyConnections = "too_many_connections"
        case helloTimeout = "hello_timeout"
        case unavailable = "unavailable"
        /// A limit of open subscriptions: of the connection, the tenant or the server.
        case tooManySubscriptions = "too_many_subscriptions"
        /// A question too long to be held open.
        case subscriptionTooLarge = "subscription_too_large"
        /// The tenant's budget of memory is used up.
        case budgetExceeded = "budget_exceeded"
    }

    package var code: Code
    /// What, where and how to mend it.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(code.rawValue): \(message)" }
}
