// The checked catalog: the words that an application's developer gives to the authors of policies.
//
// Indices are identities here: an entity type, an action, an attribute is known by its place in these
// arrays, and the engine's records lay attributes out in that order ("slots").

/// A catalog that has been checked.
package struct Catalog: Sendable, Hashable {
    package var name: String
    /// `2.1.0`.
    package var version: String
    package var assurance: Assurance
    /// How the `acr` values of each issuer map to assurance levels.
    package var issuers: [IssuerTable]
    /// Every entity type; `user`, `session` and `device` always exist (`Catalog.user` ...).
    package var entities: [EntityType]
    package var actions: [Action]
    /// Attributes of the request's context, all `from request`.
    package var context: [Attribute]

    package init(
        name: String, version: String, assurance: Assurance, issuers: [IssuerTable], entities: [EntityType],
        actions: [Action], context: [Attribute]
    ) {
        self.name = name
        self.version = version
        self.assurance = assurance
        self.issuers = issuers
        self.entities = entities
        self.actions = actions
        self.context = context
    }

    // INVARIANT: the checker puts the built-in types first, in this order, whether or not the text declares them.
    /// Index of the entity type `user`.
    package static let user = 0
    /// Index of the entity type `session`.
    package static let session = 1
    /// Index of the entity type `device`.
    package static let device = 2
    /// Indices of the types that can be asked about as a subject.
    package var subjectTypes: [Int] { entities.indices.filter { entities[$0].isSubject } }
    /// Index of the entity type with this name.
    package func entity(named name: String) -> Int? { entities.firstIndex { $0.name == name } }
    /// Every type of container that something of this type can lie in, directly or deeper.
    package func containers(above type: Int) -> Set<Int> {
        var seen = Set<Int>()
        var pending = entities[type].containers
        while let next = pending.popLast() {
            if seen.insert(next).inserted { pending += entities[next].containers }
        }
        return seen
    }
    /// Index of the action with this name.
    package func action(named name: String) -> Int? { actions.firstIndex { $0.name == name } }
}

/// A type of subject or resource.
package struct EntityType: Sendable, Hashable {
    package var name: String
    /// Declared attributes in order, then signals in order; the index is the slot.
    package var attributes: [Attribute]
    /// `user` and every type declared `subject entity`.
    package var isSubject: Bool
    /// Indices of the entity types it can lie in, ascending (`entity document in folder`).
    package var containers: [Int] = []
    package var documentation: String?
    package var range: SourceRange

    package init(
        name: String, attributes: [Attribute], isSubject: Bool, containers: [Int] = [], documentation: String? = nil,
        range: SourceRange = .none
    ) {
        self.name = name
        self.attributes = attributes
        self.isSubject = isSubject
        self.containers = containers
        self.documentation = documentation
        self.range = range
    }

    /// Index of the attribute with this name.
    package func slot(of name: String) -> Int? { attributes.firstIndex { $0.name == name } }
}

/// One attribute of an entity type, an action or the context.
package struct Attribute: Sendable, Hashable {
    package var name: String
    package var type: ValueType
    /// Declared with `?`: may be absent, and is only read behind `has` or `??`.
    package var isOptional: Bool
    /// The value while no source has given one, or after it expired.
    package var defaultValue: Constant?
    /// Where values come from, most trusted first. `request` can only be last.
    package var sources: [AttributeSource]
    /// For a signal: how long a value lives, in milliseconds, unless the signal itself says.
    package var lifetime: Int64?
    package var documentation: String?
    /// The declared purpose (`use authorization`), for masking.
    package var use: String?
    package var range: SourceRange

    package init(
        name: String, type: ValueType, isOptional: Bool = false, defaultValue: Constant? = nil,
        sources: [AttributeSource], lifetime: Int64? = nil, documentation: String? = nil, use: String? = nil,
        range: SourceRange = .none
    ) {
        self.name = name
        self.type = type
        self.isOptional = isOptional
        self.defaultValue = defaultValue
        self.sources = sources
        self.lifetime = lifetime
        self.documentation = documentation
        self.use = use
        self.range = range
    }

    /// True when a question must bring a value, because no default stands in and absence is not allowed.
    package var isRequired: Bool { !isOptional && defaultValue == nil }
    /// True when a request may fill it.
    package var isFromRequest: Bool { sources.contains(.request) }
    /// True when the store may fill it.
    package var isStored: Bool { sources.contains { $0 != .request } }
    /// True when a signal may fill it.
    package var isSignalled: Bool { sources.contains { $0.kind == .caep || $0.kind == .risc } }
}

/// A source of an attribute's values (language.md, "Semantics" 9).
package enum AttributeSource: Sendable, Hashable {
    /// A SCIM attribute path (RFC 7644 3.10), for example `userType` or a schema URN and a name.
    case scim(path: String)
    /// A CAEP event, by the last part of its type (`risk-level-change`).
    case caep(event: String)
    /// A RISC event.
    case risc(event: String)
    /// A claim of a verified session's token.
    case token(claim: String)
    /// The application's resource registry.
    case application
    /// The question itself.
    case request

    /// The word it is written with.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case scim, caep, risc, token, application, request
    }

    /// Its word, without what is named behind it.
    package var kind: Kind {
        switch self {
        case .scim: .scim
        case .caep: .caep
        case .risc: .risc
        case .token: .token
        case .application: .application
        case .request: .request
        }
    }
}

/// The assurance levels: a partial order, usually a ladder.
package struct Assurance: Sendable, Hashable {
    /// Level names, weaker before stronger (a topological order). At most 64.
    package var levels: [String]
    /// For each level, the bit set of the levels it implies, itself included.
    package var implied: [UInt64]
    /// Bit set of the levels that the tenant's identity providers can bring about; all, unless the catalog says
    /// `unreachable`.
    package var reachable: UInt64

    package init(levels: [String], implied: [UInt64], reachable: UInt64) {
        self.levels = levels
        self.implied = implied
        self.reachable = reachable
    }

    /// No levels at all.
    package static let none = Assurance(levels: [], implied: [], reachable: 0)
    /// Index of a level by name.
    package func level(named name: String) -> Int? { levels.firstIndex(of: name) }
}

/// What the `acr` values of one issuer prove. A value that is not listed proves nothing.
package struct IssuerTable: Sendable, Hashable {
    package var issuer: String
    /// `acr` to index into `Assurance.levels`.
    package var levels: [String: Int]

    package init(issuer: String, levels: [String: Int]) {
        self.issuer = issuer
        self.levels = levels
    }
}

/// Something that can be asked for.
package struct Action: Sendable, Hashable {
    package var name: String
    /// Indices of the entity types it applies to, ascending.
    package var resourceTypes: [Int]
    /// Properties of the action, all `from request`.
    package var attributes: [Attribute]
    package var documentation: String?
    package var range: SourceRange

    package init(
        name: String, resourceTypes: [Int], attributes: [Attribute], documentation: String? = nil,
        range: SourceRange = .none
    ) {
        self.name = name
        self.resourceTypes = resourceTypes
        self.attributes = attributes
        self.documentation = documentation
        self.range = range
    }
}

/// Authentication method references that a demand can name: RFC 8176, and `pop` of EAP ACR Values 1.0.
package enum AuthenticationMethods {
    /// Names in the order of their bits.
    package static let names = [
        "face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba", "retina", "sc",
        "sms", "swk", "tel", "user", "vbm", "wia",
    ]
    /// The bit of a method, or nil when the name is not registered.
    package static func bit(_ name: String) -> UInt32? { names.firstIndex(of: name).map { 1 << UInt32($0) } }
    /// The names in a bit set.
    package static func list(_ bits: UInt32) -> [String] {
        names.indices.filter { bits & (1 << UInt32($0)) != 0 }.map { names[$0] }
    }
}
