// Policies after checking: every name resolved, every type agreed, nothing left that can fail while deciding.

/// All policies of a tenant, checked against one catalog.
package struct CheckedPolicies: Sendable {
    /// The files it was made from; `SourceRange.file` indexes this.
    package var files: [SourceFile]
    package var catalog: Catalog
    /// Every rule of every policy, in file order, then text order.
    package var rules: [CheckedRule]
    /// Named conditions; `Test.role` indexes this. A role only refers to roles of smaller index.
    package var roles: [CheckedRole]
    /// Display names of the groups that conditions mention, each once; `Test.group` indexes this.
    package var groups: [String]
    /// Containers that conditions mention, each once; `Test.container` indexes this.
    package var containers: [ContainerReference]
    /// Schedules that conditions mention, each once; `Test.schedule` indexes this.
    package var schedules: [Schedule]
    /// Roles that can be taken for a time.
    package var offers: [CheckedOffer]
    /// What is to be done along with an answer.
    package var obligations: [CheckedObligation]
    package var tests: [PolicyTest]

    package init(
        files: [SourceFile], catalog: Catalog, rules: [CheckedRule], roles: [CheckedRole], groups: [String],
        containers: [ContainerReference] = [], schedules: [Schedule] = [], offers: [CheckedOffer] = [],
        obligations: [CheckedObligation] = [], tests: [PolicyTest]
    ) {
        self.files = files
        self.catalog = catalog
        self.rules = rules
        self.roles = roles
        self.groups = groups
        self.containers = containers
        self.schedules = schedules
        self.offers = offers
        self.obligations = obligations
        self.tests = tests
    }
}

/// What a rule does when it matches.
package enum RuleKind: UInt8, Sendable, Hashable, CaseIterable {
    case permit, forbid, require
}

/// One rule.
package struct CheckedRule: Sendable, Hashable {
    package var kind: RuleKind
    /// `Payroll/approve-small` when labelled with `as`, else `Payroll#3`: policy name and place among its rules.
    package var name: String
    /// Subject types it applies to, ascending, never empty.
    package var subjectTypes: [Int]
    /// Actions it applies to; nil is `any`.
    package var actions: [Int]?
    /// Resource types it applies to; nil is `any`.
    package var resourceTypes: [Int]?
    /// `to` and `when` and not `unless`.
    package var condition: Condition
    /// For `permit ... requires` (may be nil) and `require` (never nil).
    package var demand: Demand?
    /// Where the bounds of the demand stand.
    package var demandPlaces: DemandPlaces
    /// The text after `because`.
    package var reason: String?
    /// From the keyword to the end of the rule.
    package var range: SourceRange

    package init(
        kind: RuleKind, name: String, subjectTypes: [Int], actions: [Int]?, resourceTypes: [Int]?,
        condition: Condition, demand: Demand? = nil, demandPlaces: DemandPlaces = DemandPlaces(),
        reason: String? = nil, range: SourceRange = .none
    ) {
        self.kind = kind
        self.name = name
        self.subjectTypes = subjectTypes
        self.actions = actions
        self.resourceTypes = resourceTypes
        self.condition = condition
        self.demand = demand
        self.demandPlaces = demandPlaces
        self.reason = reason
        self.range = range
    }
}

/// Where the bounds of a demand stand in the text; nil for a bound that is not set.
package struct DemandPlaces: Sendable, Hashable {
    package var level: SourceRange?
    package var within: SourceRange?
    package var methods: SourceRange?

    package init(level: SourceRange? = nil, within: SourceRange? = nil, methods: SourceRange? = nil) {
        self.level = level
        self.within = within
        self.methods = methods
    }
}

/// A named condition.
package struct CheckedRole: Sendable, Hashable {
    package var name: String
    /// Subject types the condition can be asked of, ascending.
    package var subjectTypes: [Int]
    package var condition: Condition
    package var range: SourceRange

    package init(name: String, subjectTypes: [Int], condition: Condition, range: SourceRange = .none) {
        self.name = name
        self.subjectTypes = subjectTypes
        self.condition = condition
        self.range = range
    }
}

extension [CheckedRole] {
    /// The roles, of which each that an offer names holds for those who have taken it too.
    package func takeable(by offers: [CheckedOffer]) -> [CheckedRole] {
        var roles = self
        var seen = Set<Int>()
        for offer in offers where seen.insert(offer.role).inserted && indices.contains(offer.role) {
            roles[offer.role].condition = .any([
                roles[offer.role].condition, .test(.granted(offer.role), offer.rolePlace),
            ])
        }
        return roles
    }

    /// Indices of the roles that can be taken, ascending.
    package var takeable: [Int] { indices.filter { self[$0].condition.asksWhetherTaken($0) } }
}

extension Condition {
    fileprivate func asksWhetherTaken(_ role: Int) -> Bool {
        switch self {
        case .constant: false
        case .all(let parts), .any(let parts): parts.contains { $0.asksWhetherTaken(role) }
        case .not(let inner): inner.asksWhetherTaken(role)
        case .test(let test, _): test == .granted(role)
        }
    }
}

/// A vector of lower bounds on the session's authentication (language.md, "Semantics" 2).
package struct Demand: Sendable, Hashable {
    /// Bit set of required assurance levels, closed downwards (a union of `Assurance.implied`).
    package var levels: UInt64
    /// Milliseconds since the last authentication at most; `Int64.max` when any age will do.
    package var within: Int64
    /// Bit set of required authentication methods (`AuthenticationMethods`).
    package var methods: UInt32

    package init(levels: UInt64 = 0, within: Int64 = .max, methods: UInt32 = 0) {
        self.levels = levels
        self.within = within
        self.methods = methods
    }

    /// Asks for nothing.
    package static let nothing = Demand()

    /// The stricter of each bound.
    package func joined(with other: Demand) -> Demand {
        Demand(levels: levels | other.levels, within: min(within, other.within), methods: methods | other.methods)
    }
}

/// A boolean expression over tests.
package indirect enum Condition: Sendable, Hashable {
    case constant(Bool)
    case all([Condition])
    case any([Condition])
    case not(Condition)
    case test(Test, SourceRange)
}

extension Condition {
    /// Calls `body` with each test and where it stands, in text order.
    package func forEachTest(_ body: (Test, SourceRange) -> Void) {
        switch self {
        case .constant: break
        case .all(let parts), .any(let parts): for part in parts { part.forEachTest(body) }
        case .not(let inner): inner.forEachTest(body)
        case .test(let test, let range): body(test, range)
        }
    }

    /// Calls `body` with each test, in text order.
    package func forEachTest(_ body: (Test) -> Void) { forEachTest { test, _ in body(test) } }
}

/// One atomic question. Operands have agreeing types.
package enum Test: Sendable, Hashable {
    /// Scalars of one type; order only for ordered types. References only `==` and `!=`.
    case compare(Operand, Comparison, Operand)
    /// A scalar is one of the constants: `x in ["a", "b"]`, `x in 1...5` is two comparisons instead.
    case oneOf(Operand, [Constant])
    /// A set-valued operand holds the scalar: `tags contains "x"`, `"x" in tags`, `user in resource.editors`.
    case contains(set: Operand, Operand)
    /// Two set-valued operands share an element.
    case intersects(Operand, Operand)
    /// Every element of the first is in the second.
    case subset(Operand, of: Operand)
    /// Text matches a pattern whose `*` stands for any run of characters.
    case like(Operand, Pattern)
    /// An address lies in one of the networks.
    case inNetworks(Operand, [IPNetwork])
    /// The subject is in the group with this index of `CheckedPolicies.groups`, directly or through nesting.
    case group(Int)
    /// The resource lies in the container with this index of `CheckedPolicies.containers`, directly or deeper.
    case container(Int)
    /// `now` is in the schedule with this index of `CheckedPolicies.schedules`.
    case schedule(Int)
    /// The role with this index holds for the subject.
    case role(Int)
    /// The subject has taken the role with this index, and its time has not ended. Stands in the conditions of roles that are
    /// offered, and nowhere else (`[CheckedRole].takeable(by:)`).
    case granted(Int)
    /// An optional attribute has a value.
    case has(AttributeReference)
}

extension Test {
    /// Calls `body` with each operand.
    package func forEachOperand(_ body: (Operand) -> Void) {
        switch self {
        case .compare(let left, _, let right), .intersects(let left, let right), .subset(let left, of: let right),
            .contains(set: let left, let right):
            body(left)
            body(right)
        case .oneOf(let operand, _), .like(let operand, _), .inNetworks(let operand, _): body(operand)
        case .group, .container, .schedule, .role, .granted, .has: break
        }
    }
}

/// Comparison operators.
package enum Comparison: UInt8, Sendable, Hashable, CaseIterable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual

    /// `x < y` when operands are exchanged.
    package var mirrored: Comparison {
        switch self {
        case .equal, .notEqual: self
        case .less: .greater
        case .lessOrEqual: .greaterOrEqual
        case .greater: .less
        case .greaterOrEqual: .lessOrEqual
        }
    }
}

/// Where a test takes a value from.
package indirect enum Operand: Sendable, Hashable {
    case constant(Constant)
    /// An attribute that always has a value here: required, with a default, or known present by `has`.
    case attribute(AttributeReference)
    /// `x ?? fallback`: the fallback only where the type at hand declares the attribute optional; one with a default is
    /// always there.
    case attributeOr(AttributeReference, Constant)
    /// The id of the subject itself, as a reference.
    case subject
    /// The id of the resource itself, as a reference.
    case resource
    /// The instant of the decision.
    case now
    /// How many elements a set-valued attribute has, an integer.
    case count(AttributeReference)
    /// Instants and durations added up, in milliseconds. Beyond the ends of time a sum stays at the end.
    case sum([SumTerm])
}

extension Operand {
    /// Calls `body` with each attribute it reads.
    package func forEachReference(_ body: (AttributeReference) -> Void) {
        switch self {
        case .attribute(let reference), .attributeOr(let reference, _), .count(let reference): body(reference)
        case .sum(let terms): for term in terms { term.operand.forEachReference(body) }
        case .constant, .subject, .resource, .now: break
        }
    }
}

/// A term of a sum of instants and durations.
package struct SumTerm: Sendable, Hashable {
    package var operand: Operand
    /// Taken off instead of added.
    package var isNegative: Bool

    package init(_ operand: Operand, isNegative: Bool) {
        self.operand = operand
        self.isNegative = isNegative
    }

    /// One step of a sum: it stays at the ends of time instead of passing them.
    @inline(__always)
    package static func add(_ value: Int64, to sum: Int64, negated: Bool) -> Int64 {
        let (result, overflowed) =
            negated ? sum.subtractingReportingOverflow(value) : sum.addingReportingOverflow(value)
        return overflowed ? (sum < 0 ? .min : .max) : result
    }
}

/// An attribute by scope and name. The slot depends on the entity type at hand, so the engine resolves it.
package struct AttributeReference: Sendable, Hashable {
    package var scope: AttributeScope
    package var name: String
    /// The attribute's type; the same for every entity type the rule applies to.
    package var type: ValueType

    package init(scope: AttributeScope, name: String, type: ValueType) {
        self.scope = scope
        self.name = name
        self.type = type
    }
}

/// A container that a policy names: `resource in folder "Reports"`.
package struct ContainerReference: Sendable, Hashable {
    /// Entity type of the container.
    package var type: Int
    package var id: String

    package init(type: Int, id: String) {
        self.type = type
        self.id = id
    }
}

/// Which of the things in a question an attribute belongs to.
package enum AttributeScope: UInt8, Sendable, Hashable, CaseIterable {
    case subject, session, device, resource, action, context
}

/// A `like` pattern, split at its stars: `a*b` is ["a", "b"], `*x` is ["", "x"].
package struct Pattern: Sendable, Hashable {
    package var parts: [String]

    package init(parts: [String]) { self.parts = parts }
}

/// A `test` block: a situation, a question and the expected answer.
package struct PolicyTest: Sendable, Hashable {
    package var name: String
    package var subjectType: Int
    /// Values given to the subject, by slot.
    package var subject: [Int: Constant]
    /// Id of the subject; `test-subject` unless the test names one.
    package var subjectID: String
    /// Display names of groups the subject is in (already transitive).
    package var groups: [String]
    /// Roles that the subject has taken for a time, by index.
    package var granted: [Int] = []
    /// Nil when the test gives no session.
    package var session: TestSession?
    /// Values given to the device, by slot; nil when the test gives none.
    package var device: [Int: Constant]?
    package var action: Int
    package var actionProperties: [Int: Constant]
    package var resourceType: Int
    package var resourceID: String
    package var resource: [Int: Constant]
    /// Containers the resource lies in (already transitive).
    package var containers: [ContainerReference] = []
    package var context: [Int: Constant]
    /// The instant to decide at, in milliseconds since the epoch; nil is the time of the run.
    package var now: Int64?
    package var expected: Expectation
    package var range: SourceRange

    package init(
        name: String, subjectType: Int, subject: [Int: Constant], subjectID: String, groups: [String],
        session: TestSession?, device: [Int: Constant]?, action: Int, actionProperties: [Int: Constant],
        resourceType: Int, resourceID: String, resource: [Int: Constant], context: [Int: Constant], now: Int64?,
        expected: Expectation, range: SourceRange
    ) {
        self.name = name
        self.subjectType = subjectType
        self.subject = subject
        self.subjectID = subjectID
        self.groups = groups
        self.session = session
        self.device = device
        self.action = action
        self.actionProperties = actionProperties
        self.resourceType = resourceType
        self.resourceID = resourceID
        self.resource = resource
        self.context = context
        self.now = now
        self.expected = expected
        self.range = range
    }
}

/// The session of a test.
package struct TestSession: Sendable, Hashable {
    /// Index of the assurance level reached; nil is none.
    package var level: Int?
    /// Milliseconds since the authentication.
    package var age: Int64
    package var methods: UInt32
    /// Values of the session's declared attributes, by slot.
    package var attributes: [Int: Constant]

    package init(level: Int?, age: Int64, methods: UInt32, attributes: [Int: Constant]) {
        self.level = level
        self.age = age
        self.methods = methods
        self.attributes = attributes
    }
}

/// What a test expects.
package enum Expectation: Sendable, Hashable {
    case permit
    /// Any denial that is not a step-up.
    case deny
    /// A step-up; the demand is compared when the test states one (`expect step_up mfa within 15m`).
    case stepUp(Demand?)
    /// An error, answered by deny (`expect error`).
    case error
}

/// A role that a subject may take for a time (`offer role approver for at most 4h …`).
package struct CheckedOffer: Sendable, Hashable {
    /// `Payroll/standby` when labelled with `as`, else `Payroll offer approver`.
    package var name: String
    /// Index of the role.
    package var role: Int
    /// Longest time it is granted for, ms.
    package var atMost: Int64
    package var subjectTypes: [Int]
    /// Who may take it; reads nothing of action and resource.
    package var condition: Condition
    package var demand: Demand?
    package var reason: String?
    package var range: SourceRange
    /// Where it names the role.
    package var rolePlace: SourceRange

    package init(
        name: String, role: Int, atMost: Int64, subjectTypes: [Int], condition: Condition, demand: Demand?,
        reason: String?, range: SourceRange, rolePlace: SourceRange = .none
    ) {
        self.rolePlace = rolePlace
        self.name = name
        self.role = role
        self.atMost = atMost
        self.subjectTypes = subjectTypes
        self.condition = condition
        self.demand = demand
        self.reason = reason
        self.range = range
    }
}

/// Duties that go with an answer (`on permit approve on payrun then notify …`).
package struct CheckedObligation: Sendable, Hashable {
    /// Answers it goes with. Errors carry none.
    package enum Occasion: UInt8, Sendable, Hashable, CaseIterable {
        case permit, deny, stepUp
    }

    /// `Payroll/audit` when labelled with `as`, else `Payroll on#2`.
    package var name: String
    package var occasion: Occasion
    package var subjectTypes: [Int]
    /// nil is `any`.
    package var actions: [Int]?
    /// nil is `any`.
    package var resourceTypes: [Int]?
    package var condition: Condition
    package var duties: [Duty]
    package var range: SourceRange

    package init(
        name: String, occasion: Occasion, subjectTypes: [Int], actions: [Int]?, resourceTypes: [Int]?,
        condition: Condition, duties: [Duty], range: SourceRange
    ) {
        self.name = name
        self.occasion = occasion
        self.subjectTypes = subjectTypes
        self.actions = actions
        self.resourceTypes = resourceTypes
        self.condition = condition
        self.duties = duties
        self.range = range
    }
}

/// One duty, in the types of the AuthZEN obligations profile 1.0 (draft 1).
package enum Duty: Sendable, Hashable {
    /// `notification`: to, body, topic.
    case notify(to: MessageTemplate, body: MessageTemplate, topic: String?)
    /// `session_termination` of the subject.
    case terminateSessions
    /// `custom`, with properties of the author's own.
    case custom([CustomField])

    /// A property of a custom duty.
    package struct CustomField: Sendable, Hashable {
        package var name: String
        package var value: Value

        package init(name: String, value: Value) {
            self.name = name
            self.value = value
        }
    }

    /// A value of a property.
    package indirect enum Value: Sendable, Hashable {
        case text(MessageTemplate)
        case integer(Int64)
        /// In millionths.
        case decimal(Int64)
        case boolean(Bool)
        case list([Value])
    }
}

/// Text with places to fill in: `Payrun approved by {user.name}`.
package struct MessageTemplate: Sendable, Hashable {
    /// A piece of a text.
    package enum Part: Sendable, Hashable {
        case text(String)
        /// `{user.department}`; an absent value is written as `(none)`.
        case attribute(AttributeReference)
        /// `{user}`: the id.
        case subject
        /// `{resource}`: the id.
        case resource
        /// `{action}`: its name.
        case action
        /// `{now}`: the instant of the decision.
        case now
    }

    package var parts: [Part]

    package init(parts: [Part]) { self.parts = parts }
}
