// Why there is no answer of the server.

/// Why a question has no answer. None of these is a permit: whoever catches one denies.
public enum StileError: Error, Sendable, Hashable {
    /// The client's configuration cannot be used; the text says what to change.
    case invalidConfiguration(String)
    /// The question is wrong and nothing was asked; the text says what to change.
    case invalidRequest(String)
    /// There is no connection to the server; the text says what was tried.
    case unreachable(String)
    /// No answer came in time. The question may have been decided all the same; asking again is harmless.
    case deadlineExceeded
    /// The server refused tenant, caller or frame. The codes are those of the protocol: `tenant_unknown`,
    /// `not_allowed`, `budget_exceeded`, `too_many_subscriptions`, …
    case refused(code: String, message: String)
    /// What came is no answer that this client understands; the text says what it was.
    case protocolViolation(String)
    /// The client was closed.
    case closed
    /// The task that asked was cancelled.
    case cancelled

    /// A stable word for logs and metrics. That of a refusal is the server's.
    public var code: String {
        switch self {
        case .invalidConfiguration: "invalid_configuration"
        case .invalidRequest: "invalid_question"
        case .unreachable: "unreachable"
        case .deadlineExceeded: "deadline"
        case .refused(let code, _): code
        case .protocolViolation: "protocol"
        case .closed: "closed"
        case .cancelled: "cancelled"
        }
    }
}

extension StileError: CustomStringConvertible {
    /// What went wrong and how to mend it.
    public var description: String {
        switch self {
        case .invalidConfiguration(let mistake): "the client cannot be made: \(mistake)"
        case .invalidRequest(let mistake): "the question cannot be asked: \(mistake)"
        case .unreachable(let reason):
            "the server cannot be reached: \(reason). Is stiled running, and may you open its socket?"
        case .deadlineExceeded: "no answer came in time: allow more, or look whether stiled is overloaded"
        case .refused(let code, let message): "the server refused (\(code)): \(message)"
        case .protocolViolation(let what): "\(what): is it stiled's socket, and is this client as new as the server?"
        case .closed: "the client is closed: make a new one"
        case .cancelled: "the task that asked was cancelled"
        }
    }
}
