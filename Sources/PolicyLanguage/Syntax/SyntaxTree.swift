// What the parser makes of a file: names unresolved, types unknown, places kept.

/// A name and where it stands.
struct Name: Hashable {
    var text: String
    var range: SourceRange
}

/// One file.
struct FileSyntax {
    var catalogs: [CatalogSyntax] = []
    var policies: [PolicySyntax] = []
    var tests: [TestSyntax] = []
    /// A catalog stands here, but could not be read.
    var hasBrokenCatalog = false
    /// A role or a let stands here whose name could not be read.
    var hasLostNames = false
}

// MARK: Catalog

struct CatalogSyntax {
    var name: Name
    var version: String
    var assurance: [[Name]] = []
    var unreachable: [Name] = []
    var issuers: [(issuer: Name, table: [(acr: Name, level: Name)])] = []
    var entities: [EntitySyntax] = []
    var signals: [(owner: Name, attribute: AttributeSyntax)] = []
    var actions: [ActionSyntax] = []
    var context = AttributesSyntax()
    /// A declaration could not be read, so that any name may be missing: what was skipped may have held more than one.
    var hasLostNames = false
    /// Where a declaration begins or ends had to be guessed, or is easily mistaken: after a mistake anywhere, words may
    /// stand in another declaration than they were meant for.
    var isUncertain = false
    var range: SourceRange
}

struct EntitySyntax {
    var name: Name
    var isSubject: Bool
    var containers: [Name] = []
    var attributes = AttributesSyntax()
    var documentation: String?
    /// Something of the declaration besides its attributes could not be read.
    var isBroken = true
    var range: SourceRange
}

struct ActionSyntax {
    var names: [Name]
    var types: [Name] = []
    var attributes = AttributesSyntax()
    var documentation: String?
    /// Something of the declaration besides its attributes could not be read.
    var isBroken = true
}

/// A block of attributes.
struct AttributesSyntax {
    var list: [AttributeSyntax] = []
    /// An attribute could not be read, so that others may be missing, too.
    var hasLostNames = false
}

struct AttributeSyntax {
    var name: Name
    var type: TypeSyntax
    var isOptional: Bool
    var defaultValue: ValueSyntax?
    var sources: [(source: AttributeSource, range: SourceRange)]
    var lifetime: Int64?
    var documentation: String?
    var use: String?
    /// Something beside it could not be read, and may have been meant to belong to it.
    var isUncertain = false
    var range: SourceRange
}

indirect enum TypeSyntax {
    /// This, or what follows it, could not be read.
    case broken
    case named(Name)
    case enumeration([Name], ordered: Bool)
    case range(Int64, Int64, SourceRange)
    case set(TypeSyntax, SourceRange)
}

// MARK: Policies

struct PolicySyntax {
    var name: Name
    /// From the word `policy` to the closing brace.
    var range: SourceRange
    var lets: [(name: Name, value: ValueSyntax)] = []
    var roles: [(name: Name, condition: ExpressionSyntax, range: SourceRange)] = []
    var rules: [RuleSyntax] = []
    /// Roles and lets whose text could not be read: using them is no second mistake.
    var broken: [Name] = []
    var offers: [OfferSyntax] = []
    var obligations: [ObligationSyntax] = []
}

struct OfferSyntax {
    var role: Name
    var atMost: Int64
    /// Clauses; its actions and types are not used.
    var rule: RuleSyntax
}

struct ObligationSyntax {
    var occasion: CheckedObligation.Occasion
    /// Scope and clauses.
    var rule: RuleSyntax
    var duties: [DutySyntax]
}

enum DutySyntax {
    case notify(to: Name, body: Name, topic: Name?)
    case terminateSessions
    case custom([FieldSyntax])
}

struct RuleSyntax {
    var kind: RuleKind
    var label: Name?
    /// nil is `any`.
    var actions: [Name]?
    /// nil is `any`.
    var types: [Name]?
    var subjectType: Name?
    var to: ExpressionSyntax?
    var when: ExpressionSyntax?
    var unless: ExpressionSyntax?
    var demand: DemandSyntax?
    var reason: String?
    var range: SourceRange
}

struct DemandSyntax {
    var level: Name?
    var within: Int64?
    var methods: [Name]
    var range: SourceRange
    /// Of `within …` and of `using …`.
    var withinRange: SourceRange?
    var methodsRange: SourceRange?

    var places: DemandPlaces { DemandPlaces(level: level?.range, within: withinRange, methods: methodsRange) }
}

indirect enum ExpressionSyntax {
    case any([ExpressionSyntax])
    case all([ExpressionSyntax])
    case not(ExpressionSyntax, SourceRange)
    case compare(ValueSyntax, Comparison, ValueSyntax, SourceRange)
    case isIn(ValueSyntax, ValueSyntax, negated: Bool, SourceRange)
    case inGroup(ValueSyntax, Name, negated: Bool, SourceRange)
    case inContainer(ValueSyntax, type: Name, id: Name, negated: Bool, SourceRange)
    case contains(ValueSyntax, ValueSyntax, SourceRange)
    case intersects(ValueSyntax, ValueSyntax, SourceRange)
    case subset(ValueSyntax, ValueSyntax, SourceRange)
    case like(ValueSyntax, Name, SourceRange)
    case has(ValueSyntax, SourceRange)
    case role(Name)
    case bare(ValueSyntax)

    var range: SourceRange {
        switch self {
        case .any(let parts), .all(let parts):
            parts.dropFirst().reduce(parts.first?.range ?? .none) { $0.union($1.range) }
        case .not(_, let range), .compare(_, _, _, let range), .isIn(_, _, _, let range), .inGroup(_, _, _, let range),
            .inContainer(_, _, _, _, let range), .contains(_, _, let range), .intersects(_, _, let range),
            .subset(_, _, let range), .like(_, _, let range),
            .has(_, let range):
            range
        case .role(let name): name.range
        case .bare(let value): value.range
        }
    }
}

struct ValueSyntax {
    indirect enum Form {
        case text(String)
        case integer(Int64)
        case decimal(Int64)
        case boolean(Bool)
        case duration(Int64)
        case instant(Int64)
        case address(IPAddress)
        case network(IPNetwork)
        case list([ValueSyntax])
        /// `1...5`
        case span(ValueSyntax, ValueSyntax)
        /// `user.department`, `corporate`, `draft`, `now`, `resource`.
        case path([Name])
        /// `user.level ?? 0`
        case fallback([Name], ValueSyntax)
        case count([Name])
        /// `now - 30d`, `resource.due + 2h`
        case sum(ValueSyntax, ValueSyntax, subtract: Bool)
    }

    var form: Form
    var range: SourceRange
}

// MARK: Tests

struct TestSyntax {
    var name: Name
    var given: [(what: Name, fields: [FieldSyntax])] = []
    var now: Int64?
    var question: QuestionSyntax?
    var expectation: (word: Name, demand: DemandSyntax?)?
    /// A step could not be read.
    var isBroken = false
    var range: SourceRange
}

struct FieldSyntax {
    var name: Name
    var value: ValueSyntax
}

struct QuestionSyntax {
    var action: Name
    var type: Name
    var id: String?
    var containers: [(type: Name, id: Name)]
    var fields: [FieldSyntax]
    var actionFields: [FieldSyntax]
    var range: SourceRange
}
