// Planning: when the resource is not known yet, the condition that remains on it. A list view asks once and filters in
// its database (`SQLCondition`), instead of asking for each row.

package import DecisionEngine
package import PolicyLanguage

/// What remains of the policies for resources that are not known: three outcomes, kept apart.
package struct PolicyPlan: Sendable {
    package let restriction: Restriction
    /// Holds for exactly those resources that are permitted, of those that have all of `required` and fit the catalog.
    package let permit: Condition
    /// Holds for exactly those of them that get a step-up.
    package let stepUp: Condition
    /// The same by what is demanded, each with a condition that says which of those that are not permitted; empty when
    /// there are too many demands to list them.
    package let stepUps: [(demand: DemandByName, condition: Condition)]
    /// How many resources `permit` and `stepUp` hold for, of those that are no error.
    package let permitExtent: Extent
    package let stepUpExtent: Extent
    /// Attributes of the resource without which a question about it is an error.
    package let required: [AttributeReference]
    /// Attributes that are missing or malformed already: every question is an error, and nothing is permitted.
    package var faults: [AttributeReference] { restriction.knownFaults }
    /// What the question says of attributes of the resource, which counts for those resources that have no such value; in
    /// the order of names.
    package var fallbacks: [(name: String, value: Constant, type: ValueType)] {
        let attributes = restriction.policies.catalog.entities[restriction.resourceType].attributes
        return attributes.sorted { $0.name < $1.name }.compactMap { attribute in
            guard case .value(let value)? = restriction.facts.fallbacks[attribute.name] else { return nil }
            return (attribute.name, value, attribute.type)
        }
    }
    /// First instant (ms since the epoch) at which time alone could change the plan; `Int64.max` when none.
    package let validUntil: Int64

    /// Plans for a subject that does an action to resources of a type.
    /// - Parameters:
    ///   - policies: the policies.
    ///   - situation: everything but the resource, of which only what the question says counts, as it does when it is put
    ///     with each resource: behind what is stored of that one.
    ///   - open: what else is not known, beside the resource.
    package init(
        _ policies: CheckedPolicies, _ situation: Situation, open: Set<AttributeScope> = [], isTimeOpen: Bool = false
    ) {
        var facts = KnownFacts(situation, open: open.union([.resource]))
        if isTimeOpen { facts.now = nil }
        facts.give(situation.given[.resource] ?? [:], of: policies.catalog.entities[situation.resourceType].attributes)
        self.init(
            restrict(
                policies, subjectType: situation.subjectType, action: situation.action,
                resourceType: situation.resourceType, knowing: facts),
            blocked: Self.isBlocked(policies.catalog, situation),
            validUntil: isTimeOpen ? .max : Self.end(of: policies, situation))
    }

    private init(_ restriction: Restriction, blocked: Bool, validUntil: Int64) {
        self.restriction = restriction
        self.validUntil = validUntil
        required = restriction.openFaults.filter { reference in
            restriction.declaration(reference)?.isRequired ?? false
        }
        if blocked || !restriction.isDefined || !restriction.knownFaults.isEmpty {
            (permit, stepUp, stepUps) = (.constant(false), .constant(false), [])
            (permitExtent, stepUpExtent) = (.never, .never)
            return
        }
        let outcomes = PlannedOutcomes(restriction)
        let (permit, stepUp) = (outcomes.permit, outcomes.stepUp)
        let reducer = FormulaReducer(restriction, [permit, stepUp] + outcomes.stepUps.map(\.condition))
        self.permit = reducer.reduced(permit)
        self.stepUp = reducer.reduced(stepUp)
        permitExtent = reducer.extent(of: permit)
        stepUpExtent = reducer.extent(of: stepUp)
        stepUps = outcomes.stepUps.compactMap { demand, condition in
            let reduced = reducer.reduced(condition, elsewhereThan: permit)
            return reduced == .constant(false) ? nil : (demand, reduced)
        }
    }

    /// Answers that do not hang on the rules: the subject has been deprovisioned or is not known, its session has ended.
    private static func isBlocked(_ catalog: Catalog, _ situation: Situation) -> Bool {
        if situation.isSubjectKnown {
            if situation.isSubjectInactive { return true }
        } else if situation.subjectType == Catalog.user
            || catalog.entities[situation.subjectType].attributes.contains(where: \.isStored)
        {
            return true
        }
        guard let session = situation.session else { return false }
        return session.hasEnded || (session.endsAt ?? .max) <= situation.now
    }

    /// Values that end, schedules that turn, authentications that grow old.
    private static func end(of policies: CheckedPolicies, _ situation: Situation) -> Int64 {
        let now = situation.now
        var end = Int64.max
        for values in situation.stored.values {
            for stored in values.values where stored.validUntil > now { end = min(end, stored.validUntil) }
        }
        for schedule in policies.schedules { end = min(end, schedule.state(at: now).until) }
        if let session = situation.session {
            if let endsAt = session.endsAt, endsAt > now { end = min(end, endsAt) }
            if let since = session.authenticatedAt {
                for rule in policies.rules {
                    guard let within = rule.demand?.within, within < .max else { continue }
                    let (limit, overflowed) = since.addingReportingOverflow(within)
                    if !overflowed, limit >= now { end = min(end, limit + 1) }
                }
            }
        }
        return end
    }
}

/// The outcomes of a restriction whose session is known, as conditions on what is open.
private struct PlannedOutcomes {
    let permit: Condition
    let stepUp: Condition
    /// By demand, the least first; each among those that are not permitted.
    let stepUps: [(demand: DemandByName, condition: Condition)]
    /// Joined demands that are told apart, at most.
    private static let maxJoins = 64

    init(_ restriction: Restriction) {
        let assurance = restriction.policies.catalog.assurance
        func rules(_ kind: RuleKind) -> [(demand: Demand, condition: Condition, name: String)] {
            restriction.rules.filter { $0.kind == kind }.map {
                ($0.demand, $0.condition.inlining(restriction.roles), restriction.policies.rules[$0.index].name)
            }.filter { $0.1 != .constant(false) }
        }
        let (permits, forbids, requires) = (rules(.permit), rules(.forbid), rules(.require))
        let isOpen = Condition.conjunction(forbids.map { Condition.negation($0.condition) })
        /// Permitted to a session that meets certain demands.
        func permitted(_ isMet: (Demand) -> Bool) -> Condition {
            Condition.conjunction([
                Condition.disjunction(permits.filter { isMet($0.demand) }.map(\.condition)), isOpen,
                Condition.conjunction(requires.filter { !isMet($0.demand) }.map { Condition.negation($0.condition) }),
            ])
        }
        permit = permitted { restriction.facts.meets($0) }
        // A step-up is what some level that can be reached would permit: it has to prove all that is demanded together.
        let reachable = assurance.levels.indices.filter { assurance.reachable >> UInt64($0) & 1 == 1 }
            .map { assurance.implied[$0] }
        let largest = reachable.filter { one in !reachable.contains { $0 != one && one & ~$0 == 0 } }
        let afterStepUp = Condition.disjunction(
            (largest.isEmpty ? [0] : largest).map { levels in permitted { $0.levels & ~levels == 0 } })
        stepUp = Condition.conjunction([afterStepUp, Condition.negation(permit)])
        stepUps = Self.byDemand(permits, requires, isOpen, assurance)
    }

    private static func byDemand(
        _ permits: [(demand: Demand, condition: Condition, name: String)],
        _ requires: [(demand: Demand, condition: Condition, name: String)], _ isOpen: Condition, _ assurance: Assurance
    ) -> [(demand: DemandByName, condition: Condition)] {
        // Each set of requires that can match together, with the questions for which exactly those do.
        var joins: [(demand: Demand, condition: Condition)] = [(.nothing, isOpen)]
        for require in requires {
            joins = joins.flatMap { join in
                [
                    (join.demand, Condition.conjunction([join.condition, Condition.negation(require.condition)])),
                    (
                        join.demand.joined(with: require.demand),
                        Condition.conjunction([join.condition, require.condition])
                    ),
                ]
            }.filter { $0.1 != .constant(false) }
            if joins.count > maxJoins { return [] }
        }
        var found: [(demand: DemandByName, condition: Condition)] = []
        for join in joins {
            let candidates = permits.compactMap { permit in
                let demand = permit.demand.joined(with: join.demand)
                return assurance.leastLevel(for: demand).map { (level: $0, demand: demand, permit: permit) }
            }.sorted { ($0.level, -$0.demand.within, $0.permit.name) < ($1.level, -$1.demand.within, $1.permit.name) }
            var before: [Condition] = []
            for candidate in candidates {
                let name = DemandByName(candidate.demand, level: candidate.level, assurance)
                let condition = Condition.conjunction(
                    [join.condition, candidate.permit.condition] + before.map { Condition.negation($0) })
                before.append(candidate.permit.condition)
                if let place = found.firstIndex(where: { $0.demand == name }) {
                    found[place].condition = Condition.disjunction([found[place].condition, condition])
                } else {
                    found.append((name, condition))
                }
            }
        }
        return found
    }
}

extension KnownFacts {
    /// A demand under what is known of the session; one that is not known meets nothing but no demand.
    func meets(_ demand: Demand) -> Bool { (session ?? Session()).meets(demand) }
}

extension Condition {
    /// The condition with roles replaced by their conditions.
    func inlining(_ roles: [Condition]) -> Condition {
        switch self {
        case .constant: self
        case .all(let parts): Condition.conjunction(parts.map { $0.inlining(roles) })
        case .any(let parts): Condition.disjunction(parts.map { $0.inlining(roles) })
        case .not(let inner): Condition.negation(inner.inlining(roles))
        case .test(.role(let role), _): roles[role].inlining(roles)
        case .test: self
        }
    }
}
