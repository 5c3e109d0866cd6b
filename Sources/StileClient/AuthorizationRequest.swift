// A question in AuthZEN's information model (Authorization API 1.0, section 5).

/// May this subject do this to this resource, in this context?
///
/// Types, names and ids have 1 to 256 bytes of UTF-8. What is wrong with a request is told when it is asked, by
/// ``StileError/invalidRequest(_:)``.
public struct AuthorizationRequest: Sendable, Hashable {
    /// A subject or a resource (AuthZEN 5.1, 5.2).
    public struct Entity: Sendable, Hashable {
        /// As in the catalog: `user`, `payrun`.
        public var type: String
        /// As the store knows it; of a resource that it does not know, as the application does.
        public var id: String
        /// What the caller knows of it and the store does not.
        public var properties: [String: PropertyValue]

        /// An entity with what the caller knows of it.
        public init(type: String, id: String, properties: [String: PropertyValue] = [:]) {
            self.type = type
            self.id = id
            self.properties = properties
        }
    }

    /// What is to be done (AuthZEN 5.3). A literal stands for an action without properties.
    public struct Action: Sendable, Hashable, ExpressibleByStringLiteral {
        /// As in the catalog: `approve`.
        public var name: String
        /// Arguments of the action, as the catalog declares them.
        public var properties: [String: PropertyValue]

        /// An action with its arguments.
        public init(name: String, properties: [String: PropertyValue] = [:]) {
            self.name = name
            self.properties = properties
        }

        /// An action without arguments.
        public init(stringLiteral value: String) { self.init(name: value) }
    }

    /// Who wants to do it.
    public var subject: Entity
    /// What is to be done.
    public var action: Action
    /// What it is to be done to.
    public var resource: Entity
    /// The circumstances (AuthZEN 5.4).
    public var context: [String: PropertyValue]
    /// The id of the session whose authentication counts; without one there is no assurance.
    public var session: String?
    /// The id of the device; nil for the session's.
    public var device: String?

    /// A question.
    public init(
        subject: Entity, action: Action, resource: Entity, context: [String: PropertyValue] = [:],
        session: String? = nil, device: String? = nil
    ) {
        self.subject = subject
        self.action = action
        self.resource = resource
        self.context = context
        self.session = session
        self.device = device
    }
}

/// When a batch stops (AuthZEN 7.1.2.1).
public enum EvaluationsSemantic: Sendable, Hashable {
    /// All questions are decided.
    case executeAll
    /// It stops after the first that is not permitted.
    case denyOnFirstDeny
    /// It stops after the first that is permitted.
    case permitOnFirstPermit
}
