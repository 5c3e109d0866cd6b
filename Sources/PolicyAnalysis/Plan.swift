// Planning: when the resource is not known yet, the condition that remains on it. A list view asks once and filters in
// its database (`SQLCondition`), instead of asking for each row.

package import DecisionEngine
package import PolicyLanguage

/// What remains of the policies for resources that are not known.
package struct PolicyPlan: Sendable {
    package let restriction: Restriction
    /// Holds for exactly those resources that are permitted, of those that have all of `required`.
    package let permit: Condition
    /// Holds for those that would be permitted if the session proved all that is ever demanded.
    package let permitAfterStepUp: Condition
    /// Attributes of the resource without which a question about it is an error.
    package let required: [AttributeReference]
    /// Attributes that are missing or malformed already: every question is an error, and nothing is permitted.
    package var faults: [AttributeReference] { restriction.knownFaults }
    /// First instant (ms since the epoch) at which time alone could change the plan; `Int64.max` when none.
    package let validUntil: Int64

    /// Plans for a subject that does an action to resources of a type.
    /// - Parameters:
    ///   - situation: everything but the resource, which is open.
    ///   - policies: the policies.
    package init(_ policies: CheckedPolicies, _ situation: Situation) {
        self.init(
            restrict(
                policies, subjectType: situation.subjectType, action: situation.action,
                resourceType: situation.resourceType, knowing: KnownFacts(situation, open: [.resource])),
            blocked: Self.isBlocked(policies.catalog, situation), validUntil: Self.end(of: policies, situation))
    }

    private init(_ restriction: Restriction, blocked: Bool, validUntil: Int64) {
        self.restriction = restriction
        self.validUntil = validUntil
        required = restriction.openFaults.filter { reference in
            restriction.declaration(reference)?.isRequired ?? false
        }
        let isError = blocked || !restriction.isDefined || !restriction.knownFaults.isEmpty
        permit = isError ? .constant(false) : Self.permit(restriction) { restriction.facts.meets($0) }
        permitAfterStepUp =
            isError
            ? .constant(false)
            : Self.permit(restriction) { restriction.policies.catalog.assurance.leastLevel(for: $0) != nil }
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

    private static func permit(_ restriction: Restriction, isMet: (Demand) -> Bool) -> Condition {
        func conditions(_ kind: RuleKind, _ isWanted: (Restriction.Rule) -> Bool) -> [Condition] {
            restriction.rules.filter { $0.kind == kind && isWanted($0) }.map(\.condition)
        }
        let permits = Condition.disjunction(conditions(.permit) { isMet($0.demand) })
        let forbids = conditions(.forbid) { _ in true }
        let requires = conditions(.require) { !isMet($0.demand) }
        return Condition.conjunction(
            [permits] + (forbids + requires).map { Condition.negation($0) })
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

    /// The roles' conditions put in their places.
    package func inlined(_ condition: Condition) -> Condition { condition.inlining(restriction.roles) }
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
