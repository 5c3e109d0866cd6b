// The reference: walks the checked rules one by one, as the language's page reads, and shares nothing with the
// compiler or the evaluator but the model. Random policies must never tell the two apart.

package import PolicyLanguage

/// What the reference says of a question.
package struct ReferenceVerdict: Sendable, Hashable {
    package var kind: VerdictKind
    package var cause: VerdictCause = .rules
    package var demand: Demand = .nothing
    package var level = -1
    /// Every rule that matches, by kind; what an answer names must be among these.
    package var matching: [RuleKind: [Int]] = [:]
    /// For errors of attributes: every attribute at fault.
    package var faults: [AttributeReference] = []
    /// The obligations that go with the answer, by index, ascending.
    package var obligations: [Int] = []
}

/// A test of a condition with the truth it had.
package struct TestedFact: Sendable, Hashable {
    package var test: Test
    package var range: SourceRange
    package var holds: Bool
}

/// Decides by the letter.
package struct Interpreter: Sendable {
    package let policies: CheckedPolicies
    private var catalog: Catalog { policies.catalog }

    package init(_ policies: CheckedPolicies) { self.policies = policies }

    /// Decides one question.
    /// - Parameter record: takes down the conditions and demands that were looked at, and how each came out.
    package func decide(_ situation: Situation, recording record: ConditionRecord? = nil) -> ReferenceVerdict {
        guard catalog.actions.indices.contains(situation.action),
            catalog.entities.indices.contains(situation.subjectType),
            catalog.entities[situation.subjectType].isSubject,
            catalog.entities.indices.contains(situation.resourceType)
        else { return ReferenceVerdict(kind: .error, cause: .actionNotDefined) }
        if !situation.isSubjectKnown {
            let subject = catalog.entities[situation.subjectType]
            if situation.subjectType == Catalog.user || subject.attributes.contains(where: \.isStored) {
                return ReferenceVerdict(kind: .error, cause: .unknownSubject)
            }
        } else if situation.isSubjectInactive {
            return ReferenceVerdict(kind: .forbidden, cause: .subjectInactive)
        }
        if let session = situation.session, session.hasEnded || (session.endsAt ?? .max) <= situation.now {
            return ReferenceVerdict(kind: .forbidden, cause: .sessionEnded)
        }
        guard catalog.actions[situation.action].resourceTypes.contains(situation.resourceType) else {
            return ReferenceVerdict(kind: .error, cause: .actionNotDefined)
        }
        let candidates = policies.rules.indices.filter { applies(policies.rules[$0], situation) }
        let obligations = policies.obligations.indices.filter { applies(policies.obligations[$0], situation) }
        let faults = faults(
            candidates.map { policies.rules[$0].condition } + obligations.map { policies.obligations[$0].condition },
            situation)
        if let first = faults.first {
            var verdict = ReferenceVerdict(kind: .error, cause: first.cause)
            verdict.faults = faults.map(\.reference)
            return verdict
        }
        var verdict = weigh(candidates, situation, record)
        let occasion: CheckedObligation.Occasion =
            verdict.kind == .permitted ? .permit : verdict.kind == .stepUp ? .stepUp : .deny
        verdict.obligations = obligations.filter {
            policies.obligations[$0].occasion == occasion && holds(policies.obligations[$0].condition, situation)
        }
        return verdict
    }

    /// Decides whether the subject may take a role.
    /// - Parameter duration: for how long, ms; nil is for as long as can be.
    package func takes(_ role: Int, for duration: Int64?, _ situation: Situation) -> RoleVerdict {
        guard situation.isSubjectKnown else { return RoleVerdict(Verdict(kind: .error, cause: .unknownSubject)) }
        if situation.isSubjectInactive {
            return RoleVerdict(Verdict(kind: .forbidden, cause: .subjectInactive))
        }
        if let session = situation.session, session.hasEnded || (session.endsAt ?? .max) <= situation.now {
            return RoleVerdict(Verdict(kind: .forbidden, cause: .sessionEnded))
        }
        let offers = policies.offers.indices.filter {
            policies.offers[$0].role == role && policies.offers[$0].subjectTypes.contains(situation.subjectType)
        }
        if let fault = faults(offers.map { policies.offers[$0].condition }, situation).first {
            return RoleVerdict(Verdict(kind: .error, cause: fault.cause), attribute: fault.reference)
        }
        let matching = offers.filter { holds(policies.offers[$0].condition, situation) }
        var verdict = RoleVerdict(Verdict(kind: .notPermitted))
        verdict.atMost = matching.map { policies.offers[$0].atMost }.max() ?? 0
        let enough = matching.filter { policies.offers[$0].atMost >= duration ?? 0 }
        let met = enough.filter { isMet(policies.offers[$0].demand ?? .nothing, situation) }
        let best = met.min {
            (-policies.offers[$0].atMost, policies.offers[$0].name)
                < (-policies.offers[$1].atMost, policies.offers[$1].name)
        }
        if let best {
            verdict.verdict.kind = .permitted
            verdict.offer = best
            return verdict
        }
        let steps = enough.compactMap { offer in
            level(for: policies.offers[offer].demand ?? .nothing).map { (offer: offer, level: $0) }
        }
        let least = steps.min {
            let (one, two) = (policies.offers[$0.offer], policies.offers[$1.offer])
            return ($0.level, -(one.demand ?? .nothing).within, one.name)
                < ($1.level, -(two.demand ?? .nothing).within, two.name)
        }
        if let least {
            verdict.verdict.kind = .stepUp
            verdict.offer = least.offer
            verdict.verdict.demand = policies.offers[least.offer].demand ?? .nothing
            verdict.verdict.level = least.level
        } else if !enough.isEmpty {
            verdict.verdict.cause = .stepUpUnreachable
        }
        return verdict
    }

    /// True when the obligation names the question's subject type, action and resource type.
    package func applies(_ obligation: CheckedObligation, _ situation: Situation) -> Bool {
        obligation.subjectTypes.contains(situation.subjectType)
            && (obligation.actions?.contains(situation.action) ?? true)
            && (obligation.resourceTypes?.contains(situation.resourceType) ?? true)
    }

    /// True when the rule names the question's subject type, action and resource type.
    package func applies(_ rule: CheckedRule, _ situation: Situation) -> Bool {
        rule.subjectTypes.contains(situation.subjectType)
            && (rule.actions?.contains(situation.action) ?? true)
            && (rule.resourceTypes?.contains(situation.resourceType) ?? true)
    }

    private func weigh(
        _ candidates: [Int], _ situation: Situation, _ record: ConditionRecord?
    ) -> ReferenceVerdict {
        var matching: [RuleKind: [Int]] = [:]
        for index in candidates where holds(policies.rules[index].condition, situation, record) {
            matching[policies.rules[index].kind, default: []].append(index)
        }
        var verdict = ReferenceVerdict(kind: .notPermitted)
        verdict.matching = matching
        if matching[.forbid] != nil {
            verdict.kind = .forbidden
            return verdict
        }
        if let record, let permits = matching[.permit] {
            for index in permits + (matching[.require] ?? []) { take(down: policies.rules[index], situation, record) }
        }
        let joined = (matching[.require] ?? []).reduce(Demand.nothing) {
            $0.joined(with: policies.rules[$1].demand ?? .nothing)
        }
        var offers: [(demand: Demand, level: Int, name: String)] = []
        for index in matching[.permit] ?? [] {
            let demand = (policies.rules[index].demand ?? .nothing).joined(with: joined)
            if isMet(demand, situation) {
                verdict.kind = .permitted
                return verdict
            }
            if let level = level(for: demand) { offers.append((demand, level, policies.rules[index].name)) }
        }
        offers.sort { ($0.level, -$0.demand.within, $0.name) < ($1.level, -$1.demand.within, $1.name) }
        if let best = offers.first {
            verdict.kind = .stepUp
            verdict.demand = best.demand
            verdict.level = best.level
        } else if matching[.permit] != nil {
            verdict.cause = .stepUpUnreachable
        }
        return verdict
    }

    /// Whether the session proves what a demand asks for.
    package func isMet(_ demand: Demand, _ situation: Situation) -> Bool {
        isMet(demand.levels, situation) && isMet(demand.methods, situation) && isMet(within: demand.within, situation)
    }

    private func isMet(_ levels: UInt64, _ situation: Situation) -> Bool {
        levels & ~(situation.session?.levels ?? 0) == 0
    }

    private func isMet(_ methods: UInt32, _ situation: Situation) -> Bool {
        methods & ~(situation.session?.methods ?? 0) == 0
    }

    private func isMet(within: Int64, _ situation: Situation) -> Bool {
        if within == .max { return true }
        guard let since = situation.session?.authenticatedAt else { return false }
        let (age, overflowed) = situation.now.subtractingReportingOverflow(since)
        return !overflowed && age <= within
    }

    /// Takes down how the bounds of a matching rule's demand came out, up to the first that is not met.
    private func take(down rule: CheckedRule, _ situation: Situation, _ record: ConditionRecord) {
        guard let demand = rule.demand else { return }
        for (place, bound) in rule.demandBounds {
            let holds =
                switch bound {
                case .level: isMet(demand.levels, situation)
                case .within: isMet(within: demand.within, situation)
                case .methods: isMet(demand.methods, situation)
                }
            record.note(place, holds)
            if !holds { return }
        }
    }

    private func level(for demand: Demand) -> Int? {
        if demand.levels == 0 { return -1 }
        return catalog.assurance.levels.indices.first {
            catalog.assurance.reachable >> UInt64($0) & 1 == 1
                && catalog.assurance.implied[$0] & demand.levels == demand.levels
        }
    }

    // MARK: Attributes

    private func faults(
        _ conditions: [Condition], _ situation: Situation
    ) -> [(reference: AttributeReference, cause: VerdictCause)] {
        var found: [(reference: AttributeReference, cause: VerdictCause)] = []
        var seen = Set<AttributeReference>()
        for condition in conditions {
            for reference in reads(condition) where seen.insert(reference).inserted {
                guard let attribute = declaration(reference, situation) else { continue }
                if attribute.isStored, live(reference, situation) != nil { continue }
                let given = attribute.isFromRequest ? situation.given[reference.scope]?[reference.name] : nil
                switch given {
                case .malformed: found.append((reference, .attributeMalformed))
                case .value: break
                case nil: if attribute.isRequired { found.append((reference, .attributeMissing)) }
                }
            }
        }
        return found
    }

    private func reads(_ condition: Condition) -> [AttributeReference] {
        var references: [AttributeReference] = []
        condition.forEachTest { test in
            test.forEachOperand { operand in operand.forEachReference { references.append($0) } }
            if case .has(let reference) = test { references.append(reference) }
            if case .role(let role) = test { references += reads(policies.roles[role].condition) }
        }
        return references
    }

    private func declaration(_ reference: AttributeReference, _ situation: Situation) -> Attribute? {
        let attributes: [Attribute]
        switch reference.scope {
        case .subject: attributes = catalog.entities[situation.subjectType].attributes
        case .session: attributes = catalog.entities[Catalog.session].attributes
        case .device: attributes = catalog.entities[Catalog.device].attributes
        case .resource: attributes = catalog.entities[situation.resourceType].attributes
        case .action: attributes = catalog.actions[situation.action].attributes
        case .context: attributes = catalog.context
        }
        return attributes.first { $0.name == reference.name }
    }

    private func live(_ reference: AttributeReference, _ situation: Situation) -> Constant? {
        guard let stored = situation.stored[reference.scope]?[reference.name], stored.validUntil > situation.now else {
            return nil
        }
        return stored.value
    }

    /// The value a rule sees: live, else given, else the default; nil for an absent optional.
    package func value(of reference: AttributeReference, _ situation: Situation) -> Constant? {
        guard let attribute = declaration(reference, situation) else { return nil }
        if attribute.isStored, let value = live(reference, situation) { return value }
        if attribute.isFromRequest, case .value(let value) = situation.given[reference.scope]?[reference.name] {
            return value
        }
        return attribute.defaultValue
    }

    // MARK: Conditions

    /// The truth of a condition.
    /// - Parameter record: takes down the tests that were looked at: from left to right, `and` up to the first that
    ///   fails, `or` up to the first that holds.
    package func holds(_ condition: Condition, _ situation: Situation, _ record: ConditionRecord? = nil) -> Bool {
        switch condition {
        case .constant(let value): return value
        case .all(let parts): return parts.allSatisfy { holds($0, situation, record) }
        case .any(let parts): return parts.contains { holds($0, situation, record) }
        case .not(let inner): return !holds(inner, situation, record)
        case .test(let test, let range):
            let truth = holds(test, situation, record)
            // Roles are taken beside the text of the rules: no test has to reach it.
            if case .granted = test { return truth }
            record?.note(ConditionPlace(range, test), truth)
            return truth
        }
    }

    private func holds(_ test: Test, _ situation: Situation, _ record: ConditionRecord?) -> Bool {
        switch test {
        case .compare(let left, let comparison, let right):
            guard let left = value(left, situation), let right = value(right, situation) else { return false }
            return compare(left, comparison, right)
        case .oneOf(let operand, let constants):
            guard let value = value(operand, situation) else { return false }
            return constants.contains(value)
        case .contains(let set, let element):
            guard case .set(let values) = value(set, situation), let element = value(element, situation) else {
                return false
            }
            return values.contains(element)
        case .intersects(let left, let right):
            guard case .set(let first) = value(left, situation), case .set(let second) = value(right, situation) else {
                return false
            }
            return first.contains { second.contains($0) }
        case .subset(let left, let right):
            guard case .set(let first) = value(left, situation), case .set(let second) = value(right, situation) else {
                return false
            }
            return first.allSatisfy { second.contains($0) }
        case .like(let operand, let pattern):
            guard case .string(let text) = value(operand, situation) else { return false }
            return matches(Array(text.utf8)[...], pattern.parts.map { Array($0.utf8) }, isFirst: true)
        case .inNetworks(let operand, let networks):
            guard case .address(let address) = value(operand, situation) else { return false }
            return networks.contains { $0.contains(address) }
        case .group(let group): return situation.groups.contains(group)
        case .container(let container): return situation.containers.contains(container)
        case .schedule(let schedule): return policies.schedules[schedule].state(at: situation.now).isInside
        case .role(let role): return holds(policies.roles[role].condition, situation, record)
        case .granted(let role):
            return situation.granted[policies.roles[role].name].map { $0 > situation.now } ?? false
        case .has(let reference): return value(of: reference, situation) != nil
        }
    }

    /// What an operand stands for; nil for an absent optional.
    package func value(_ operand: Operand, _ situation: Situation) -> Constant? {
        switch operand {
        case .constant(let value): return value
        case .attribute(let reference): return value(of: reference, situation)
        case .attributeOr(let reference, let fallback):
            // Only where the type at hand has no default: a default makes the attribute one that is always there.
            guard declaration(reference, situation) != nil else { return nil }
            return value(of: reference, situation) ?? fallback
        case .subject: return .reference(entity: situation.subjectType, id: situation.subjectID)
        case .resource: return .reference(entity: situation.resourceType, id: situation.resourceID)
        case .now: return .datetime(situation.now)
        case .count(let reference):
            guard case .set(let values) = value(of: reference, situation) else { return nil }
            return .integer(Int64(Set(values).count))
        case .sum(let terms):
            var total: Int64 = 0
            for term in terms {
                switch value(term.operand, situation) {
                case .datetime(let value), .duration(let value):
                    total = SumTerm.add(value, to: total, negated: term.isNegative)
                default: return nil
                }
            }
            // Whether an instant or a duration, the other side of a comparison says; both are milliseconds.
            return .datetime(total)
        }
    }

    private func compare(_ left: Constant, _ comparison: Comparison, _ right: Constant) -> Bool {
        if comparison == .equal { return isSame(left, right) }
        if comparison == .notEqual { return !isSame(left, right) }
        let order: (less: Bool, equal: Bool)
        switch (left, right) {
        case (.integer(let left), .integer(let right)), (.decimal(let left), .decimal(let right)),
            (.datetime(let left), .datetime(let right)), (.duration(let left), .duration(let right)),
            (.datetime(let left), .duration(let right)), (.duration(let left), .datetime(let right)):
            order = (left < right, left == right)
        case (.enumeration(let left), .enumeration(let right)): order = (left < right, left == right)
        case (.address(let left), .address(let right)): order = (left < right, left == right)
        case (.string(let left), .string(let right)):
            order = (left.utf8.lexicographicallyPrecedes(right.utf8), left.utf8.elementsEqual(right.utf8))
        default: return false
        }
        switch comparison {
        case .less: return order.less
        case .lessOrEqual: return order.less || order.equal
        case .greater: return !order.less && !order.equal
        case .greaterOrEqual: return !order.less
        case .equal, .notEqual: return false
        }
    }

    /// Equality by Unicode scalars; Swift's own would also unite canonically equivalent texts.
    private func isSame(_ left: Constant, _ right: Constant) -> Bool {
        switch (left, right) {
        case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
        case (.reference(let one, let left), .reference(let two, let right)):
            one == two && left.utf8.elementsEqual(right.utf8)
        // A sum is an instant or a duration, as the checker has seen to; both are milliseconds.
        case (.datetime(let left), .duration(let right)), (.duration(let left), .datetime(let right)): left == right
        default: left == right
        }
    }

    /// `like` by trying every place for each part: obviously right, and slow.
    private func matches(_ text: ArraySlice<UInt8>, _ parts: [[UInt8]], isFirst: Bool) -> Bool {
        guard let part = parts.first else { return text.isEmpty }
        let rest = Array(parts.dropFirst())
        if isFirst {
            guard text.starts(with: part) else { return false }
            let after = text.dropFirst(part.count)
            return rest.isEmpty ? after.isEmpty : matches(after, rest, isFirst: false)
        }
        for start in text.startIndex...text.endIndex {
            let tail = text[start...]
            guard tail.starts(with: part) else { continue }
            let after = tail.dropFirst(part.count)
            if rest.isEmpty ? after.isEmpty : matches(after, rest, isFirst: false) { return true }
        }
        return false
    }

    // MARK: Explanations

    /// The tests of a condition that make it false (or true): for `and` the failing parts, for `or` all of them.
    package func decisiveTests(_ condition: Condition, _ situation: Situation, wanted: Bool) -> [TestedFact] {
        switch condition {
        case .constant: return []
        case .not(let inner): return decisiveTests(inner, situation, wanted: !wanted)
        case .all(let parts), .any(let parts):
            return parts.filter { holds($0, situation) != wanted }
                .flatMap { decisiveTests($0, situation, wanted: wanted) }
        case .test(.role(let role), let range):
            let inner = decisiveTests(policies.roles[role].condition, situation, wanted: wanted)
            return inner.isEmpty
                ? [TestedFact(test: .role(role), range: range, holds: !wanted)] : inner
        case .test(let test, let range):
            let truth = holds(test, situation, nil)
            return truth == wanted ? [] : [TestedFact(test: test, range: range, holds: truth)]
        }
    }
}
