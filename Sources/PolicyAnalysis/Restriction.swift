// Partial evaluation: policies under what is known of a question, and what remains open. Comparison, planning, search
// and explanation all start here.

package import DecisionEngine
package import PolicyLanguage

/// What is known of a question; nil and what is left out is open.
package struct KnownFacts: Sendable {
    /// An attribute in a scope that is known.
    package enum Fact: Sendable, Hashable {
        case value(Constant)
        /// Given, but of another type than the catalog declares.
        case malformed
        /// Open, though its scope is known.
        case open
    }

    /// The authentication that a session proves; a question without a session proves nothing.
    package struct Session: Sendable, Hashable {
        package var levels: UInt64 = 0
        package var methods: UInt32 = 0
        /// Milliseconds since the authentication.
        package var age: Int64?

        package init() {}

        func meets(_ demand: Demand) -> Bool {
            guard demand.levels & ~levels == 0, demand.methods & ~methods == 0 else { return false }
            return demand.within == .max || age.map { $0 <= demand.within } ?? false
        }
    }

    package var subjectID: String?
    package var resourceID: String?
    package var now: Int64?
    /// Indices of the policy groups that the subject is in.
    package var groups: Set<Int>?
    /// Indices of the containers that the resource lies in.
    package var containers: Set<Int>?
    /// Roles that the subject has taken, by name, with their ends; those that have ended are none.
    package var granted: [String: Int64]?
    package var session: Session?
    /// Scopes that are known: an attribute that is not named has no value.
    package var attributes: [AttributeScope: [String: Fact]] = [:]
    /// What the question says of an open resource's attributes that are stored too: it counts where nothing is stored.
    package var fallbacks: [String: GivenValue] = [:]

    package init() {}

    /// All that a situation says, but for the scopes that are to stay open. With the resource's scope, its id and
    /// containers stay open; with the subject's, its id, groups and taken roles; with the session's, its authentication.
    package init(_ situation: Situation, open: Set<AttributeScope> = []) {
        now = situation.now
        for scope in AttributeScope.allCases where !open.contains(scope) {
            var facts: [String: Fact] = [:]
            for (name, given) in situation.given[scope] ?? [:] {
                switch given {
                case .value(let value): facts[name] = .value(value)
                case .malformed: facts[name] = .malformed
                }
            }
            for (name, stored) in situation.stored[scope] ?? [:] where stored.validUntil > situation.now {
                facts[name] = .value(stored.value)
            }
            attributes[scope] = facts
        }
        if !open.contains(.subject) {
            subjectID = situation.subjectID
            groups = situation.groups
            granted = situation.granted.filter { $0.value > situation.now }
        }
        if !open.contains(.resource) {
            resourceID = situation.resourceID
            containers = situation.containers
        }
        if !open.contains(.session) {
            var session = Session()
            if let facts = situation.session {
                session.levels = facts.levels
                session.methods = facts.methods
                if let since = facts.authenticatedAt {
                    let (age, overflowed) = situation.now.subtractingReportingOverflow(since)
                    session.age = overflowed ? nil : age
                }
            }
            self.session = session
        }
    }
}

extension KnownFacts {
    /// Takes what a question says of a resource that is open, by what a decision would make of it: where something may be
    /// stored, that comes first; where only a question can say it, it is known.
    mutating func give(_ given: [String: GivenValue], of attributes: [Attribute]) {
        if given.isEmpty { return }
        var known: [String: Fact] = [:]
        for attribute in attributes {
            known[attribute.name] = .open
            guard attribute.isFromRequest, let value = given[attribute.name] else { continue }
            if attribute.isStored {
                fallbacks[attribute.name] = value
            } else if case .value(let value) = value {
                known[attribute.name] = .value(value)
            } else {
                known[attribute.name] = .malformed
            }
        }
        self.attributes[.resource] = known
    }

    /// An attribute of the resource as a question with these facts reads it: what it says takes the default's place, and
    /// without something stored a malformed value is as much an error as a missing one.
    func declared(_ attribute: Attribute, _ scope: AttributeScope) -> Attribute {
        guard scope == .resource, let fallback = fallbacks[attribute.name] else { return attribute }
        var attribute = attribute
        switch fallback {
        case .value(let value): attribute.defaultValue = value
        case .malformed:
            attribute.defaultValue = nil
            attribute.isOptional = false
        }
        return attribute
    }
}

/// The policies of a cell under some facts.
package struct Restriction: Sendable {
    /// A rule that applies to the cell, with what remains of its condition.
    package struct Rule: Sendable {
        /// Index into `CheckedPolicies.rules`.
        package var index: Int
        package var kind: RuleKind
        package var condition: Condition
        package var demand: Demand
    }

    package let policies: CheckedPolicies
    package let subjectType: Int
    package let action: Int
    package let resourceType: Int
    package let facts: KnownFacts
    /// False when the catalog does not define the action on this type: every answer is an error.
    package let isDefined: Bool
    /// Every rule that applies, in text order, those that can no longer match included (their condition is false).
    package let rules: [Rule]
    /// Every obligation that applies, by index into `CheckedPolicies.obligations`, with what remains of its condition.
    package let obligations: [(index: Int, condition: Condition)]
    /// What remains of the roles' conditions.
    package let roles: [Condition]
    /// Attributes that are known to make the question an error.
    package let knownFaults: [AttributeReference]
    /// Open attributes that rules read, and that can make the question an error.
    package let openFaults: [AttributeReference]

    /// How an attribute is declared for this cell, with what the question says of it (`KnownFacts.fallbacks`).
    package func declaration(_ reference: AttributeReference) -> Attribute? {
        Self.declaration(reference, policies.catalog, subjectType, action, resourceType)
            .map { facts.declared($0, reference.scope) }
    }

    static func declaration(
        _ reference: AttributeReference, _ catalog: Catalog, _ subjectType: Int, _ action: Int, _ resourceType: Int
    ) -> Attribute? {
        let attributes: [Attribute]
        switch reference.scope {
        case .subject: attributes = catalog.entities[subjectType].attributes
        case .session: attributes = catalog.entities[Catalog.session].attributes
        case .device: attributes = catalog.entities[Catalog.device].attributes
        case .resource: attributes = catalog.entities[resourceType].attributes
        case .action: attributes = catalog.actions[action].attributes
        case .context: attributes = catalog.context
        }
        return attributes.first { $0.name == reference.name }
    }
}

/// What remains of the policies when some facts are known.
/// - Parameters: indices of the catalog's entity types and actions.
package func restrict(
    _ policies: CheckedPolicies, subjectType: Int, action: Int, resourceType: Int,
    knowing facts: KnownFacts = KnownFacts()
) -> Restriction {
    var restrictor = Restrictor(policies, subjectType, action, resourceType, facts)
    return restrictor.run()
}

extension Restriction {
    /// A cell of which nothing is known, seen by some conditions alone: it has no rules, and what can make a question an
    /// error is what these conditions read.
    /// - Parameter roles: what remains of the roles for the subject type, as `rolesOpen` gives it.
    static func open(
        _ conditions: [Condition], _ policies: CheckedPolicies, subjectType: Int, action: Int, resourceType: Int,
        roles: [Condition]
    ) -> Restriction {
        var restrictor = Restrictor(policies, subjectType, action, resourceType, KnownFacts())
        restrictor.roles = roles
        return restrictor.open(conditions)
    }

    /// What the roles' conditions are for a subject of a type of whom nothing is known.
    static func rolesOpen(_ policies: CheckedPolicies, subjectType: Int) -> [Condition] {
        var restrictor = Restrictor(policies, subjectType, 0, 0, KnownFacts())
        restrictor.restrictRoles()
        return restrictor.roles
    }
}

private struct Restrictor {
    let policies: CheckedPolicies
    let subjectType: Int
    let action: Int
    let resourceType: Int
    let facts: KnownFacts
    let interpreter: Interpreter
    /// What remains of each role, in order; a role only refers to roles before it.
    var roles: [Condition] = []

    init(
        _ policies: CheckedPolicies, _ subjectType: Int, _ action: Int, _ resourceType: Int, _ facts: KnownFacts
    ) {
        self.policies = policies
        self.subjectType = subjectType
        self.action = action
        self.resourceType = resourceType
        self.facts = facts
        interpreter = Interpreter(policies)
    }

    mutating func restrictRoles() {
        for role in policies.roles {
            roles.append(role.subjectTypes.contains(subjectType) ? remaining(role.condition) : .constant(false))
        }
    }

    func open(_ conditions: [Condition]) -> Restriction {
        let (known, open) = faults(conditions)
        return Restriction(
            policies: policies, subjectType: subjectType, action: action, resourceType: resourceType, facts: facts,
            isDefined: policies.catalog.actions[action].resourceTypes.contains(resourceType), rules: [],
            obligations: [], roles: roles, knownFaults: known, openFaults: open)
    }

    mutating func run() -> Restriction {
        restrictRoles()
        var rules: [Restriction.Rule] = []
        for (index, rule) in policies.rules.enumerated()
        where applies(rule.subjectTypes, rule.actions, rule.resourceTypes) {
            rules.append(
                Restriction.Rule(
                    index: index, kind: rule.kind, condition: remaining(rule.condition),
                    demand: rule.demand ?? .nothing))
        }
        let obligations = policies.obligations.enumerated().filter {
            applies($0.element.subjectTypes, $0.element.actions, $0.element.resourceTypes)
        }.map { (index: $0.offset, condition: remaining($0.element.condition)) }
        let (known, open) = faults(
            rules.map { policies.rules[$0.index].condition }
                + obligations.map { policies.obligations[$0.index].condition })
        return Restriction(
            policies: policies, subjectType: subjectType, action: action, resourceType: resourceType, facts: facts,
            isDefined: policies.catalog.actions[action].resourceTypes.contains(resourceType), rules: rules,
            obligations: obligations, roles: roles, knownFaults: known, openFaults: open)
    }

    private func applies(_ subjectTypes: [Int], _ actions: [Int]?, _ resourceTypes: [Int]?) -> Bool {
        subjectTypes.contains(subjectType) && (actions?.contains(action) ?? true)
            && (resourceTypes?.contains(resourceType) ?? true)
    }

    // MARK: Faults

    private func faults(_ conditions: [Condition]) -> (known: [AttributeReference], open: [AttributeReference]) {
        var known: [AttributeReference] = []
        var open: [AttributeReference] = []
        var seen = Set<AttributeReference>()
        var seenRoles = Set<Int>()
        func visit(_ reference: AttributeReference) {
            guard seen.insert(reference).inserted,
                let attribute = declaration(reference)
            else { return }
            switch fact(reference) {
            case .value: break
            case .malformed: if attribute.isFromRequest { known.append(reference) }
            case nil: if attribute.isRequired { known.append(reference) }
            case .open: if attribute.isFromRequest || attribute.isRequired { open.append(reference) }
            }
        }
        func walk(_ condition: Condition) {
            condition.forEachTest { test in
                test.forEachReference(visit)
                if case .role(let role) = test, seenRoles.insert(role).inserted { walk(policies.roles[role].condition) }
            }
        }
        for condition in conditions { walk(condition) }
        return (known, open)
    }

    private func declaration(_ reference: AttributeReference) -> Attribute? {
        Restriction.declaration(reference, policies.catalog, subjectType, action, resourceType)
            .map { facts.declared($0, reference.scope) }
    }

    /// Nil when the attribute is known to have no value.
    private func fact(_ reference: AttributeReference) -> KnownFacts.Fact? {
        guard let scope = facts.attributes[reference.scope] else { return .open }
        return scope[reference.name]
    }

    // MARK: Conditions

    private func remaining(_ condition: Condition) -> Condition {
        switch condition {
        case .constant: return condition
        case .not(let inner): return Condition.negation(remaining(inner))
        case .all(let parts): return Condition.conjunction(parts.map { remaining($0) })
        case .any(let parts): return Condition.disjunction(parts.map { remaining($0) })
        case .test(let test, let range): return remaining(test, range)
        }
    }

    private func remaining(_ test: Test, _ range: SourceRange) -> Condition {
        switch test {
        case .group(let group):
            return facts.groups.map { .constant($0.contains(group)) } ?? .test(test, range)
        case .container(let container):
            return facts.containers.map { .constant($0.contains(container)) } ?? .test(test, range)
        case .schedule(let schedule):
            return facts.now.map { .constant(policies.schedules[schedule].state(at: $0).isInside) }
                ?? .test(test, range)
        case .granted(let role):
            return facts.granted.map { .constant($0[policies.roles[role].name] != nil) } ?? .test(test, range)
        case .role(let role):
            if case .constant = roles[role] { return roles[role] }
            return .test(test, range)
        case .has(let reference):
            guard let attribute = declaration(reference) else { return .constant(false) }
            switch fact(reference) {
            case .value: return .constant(true)
            case .malformed, nil: return .constant(attribute.defaultValue != nil)
            case .open: return attribute.defaultValue != nil ? .constant(true) : .test(test, range)
            }
        default: break
        }
        var isMissing = false
        var isOpen = false
        let known = test.mapOperands { operand in
            guard let value = self.known(operand) else {
                isMissing = true
                return operand
            }
            if !value.isKnown { isOpen = true }
            return value
        }
        if isMissing { return .constant(false) }
        if isOpen { return .test(known, range) }
        // All operands are constants, so the situation is not looked at.
        return .constant(interpreter.holds(.test(known, range), Situation()))
    }

    /// The operand with what is known put in; nil when it is known to have no value.
    private func known(_ operand: Operand) -> Operand? {
        switch operand {
        case .constant: return operand
        case .attribute(let reference): return known(reference, standIn: nil)
        case .attributeOr(let reference, let standIn): return known(reference, standIn: standIn)
        case .subject:
            return facts.subjectID.map { .constant(.reference(entity: subjectType, id: $0)) } ?? operand
        case .resource:
            return facts.resourceID.map { .constant(.reference(entity: resourceType, id: $0)) } ?? operand
        case .now: return facts.now.map { .constant(.datetime($0)) } ?? operand
        case .count(let reference):
            guard let value = known(reference, standIn: nil) else { return nil }
            guard case .constant(let constant) = value else { return operand }
            guard case .set(let values) = constant else { return nil }
            return .constant(.integer(Int64(Set(values).count)))
        case .sum(let terms):
            var known: [SumTerm] = []
            for term in terms {
                guard let value = self.known(term.operand) else { return nil }
                known.append(SumTerm(value, isNegative: term.isNegative))
            }
            return .sum(known)
        }
    }

    private func known(_ reference: AttributeReference, standIn: Constant?) -> Operand? {
        guard let attribute = declaration(reference) else { return nil }
        switch fact(reference) {
        case .open: return standIn.map { .attributeOr(reference, $0) } ?? .attribute(reference)
        case .value(let value): return .constant(value)
        case .malformed, nil: return (attribute.defaultValue ?? standIn).map { .constant($0) }
        }
    }
}

// MARK: Parts of conditions

extension Condition {
    /// The opposite, without `not not`.
    static func negation(_ condition: Condition) -> Condition {
        switch condition {
        case .constant(let truth): .constant(!truth)
        case .not(let inner): inner
        default: .not(condition)
        }
    }

    /// All of these, without what is always true and without conjunctions inside.
    static func conjunction(_ parts: [Condition]) -> Condition {
        var kept: [Condition] = []
        for part in parts {
            switch part {
            case .constant(true): continue
            case .constant(false): return part
            case .all(let inner): kept += inner
            default: kept.append(part)
            }
        }
        return kept.isEmpty ? .constant(true) : kept.count == 1 ? kept[0] : .all(kept)
    }

    /// One of these, without what is always false and without alternatives inside.
    static func disjunction(_ parts: [Condition]) -> Condition {
        var kept: [Condition] = []
        for part in parts {
            switch part {
            case .constant(false): continue
            case .constant(true): return part
            case .any(let inner): kept += inner
            default: kept.append(part)
            }
        }
        return kept.isEmpty ? .constant(false) : kept.count == 1 ? kept[0] : .any(kept)
    }
}

extension Operand {
    /// True for constants, and sums of them.
    fileprivate var isKnown: Bool {
        switch self {
        case .constant: true
        case .sum(let terms): terms.allSatisfy(\.operand.isKnown)
        default: false
        }
    }
}

extension Test {
    /// Calls `body` with every attribute that is read, `has` included.
    func forEachReference(_ body: (AttributeReference) -> Void) {
        if case .has(let reference) = self { body(reference) }
        forEachOperand { operand in operand.forEachReference(body) }
    }

    /// The same test of other operands.
    func mapOperands(_ change: (Operand) -> Operand) -> Test {
        switch self {
        case .compare(let left, let comparison, let right): .compare(change(left), comparison, change(right))
        case .oneOf(let operand, let constants): .oneOf(change(operand), constants)
        case .contains(let set, let element): .contains(set: change(set), change(element))
        case .intersects(let left, let right): .intersects(change(left), change(right))
        case .subset(let left, let right): .subset(change(left), of: change(right))
        case .like(let operand, let pattern): .like(change(operand), pattern)
        case .inNetworks(let operand, let networks): .inNetworks(change(operand), networks)
        case .group, .container, .schedule, .role, .granted, .has: self
        }
    }
}
