// Which outcomes of atomic conditions no question can bring about: for these no test can be written, and a measure of
// coverage does not ask for them.

package import DecisionEngine
package import PolicyLanguage

/// An outcome of an atomic condition.
package struct ConditionOutcome: Sendable, Hashable {
    package var place: ConditionPlace
    package var truth: Bool

    package init(place: ConditionPlace, truth: Bool) {
        self.place = place
        self.truth = truth
    }
}

/// Finds outcomes that cannot be.
package struct ConditionReach {
    private let policies: CheckedPolicies
    private let budget: WorkBudget

    /// - Parameter steps: what it may take; what is not settled by then counts as possible.
    package init(_ policies: CheckedPolicies, steps: Int) {
        self.policies = policies
        budget = WorkBudget(steps)
    }

    /// Those of the outcomes that are proven impossible: no question that a rule applies to and that is no error looks
    /// at the condition (`Interpreter.decide`) and finds it so.
    package func impossible(_ outcomes: Set<ConditionOutcome>) -> Set<ConditionOutcome> {
        if budget.isUsedUp { return [] }
        var open = outcomes
        var settled = Set<ConditionOutcome>()
        for rule in policies.rules {
            if open.isEmpty { break }
            let walk = ConditionWalk(policies, rule)
            guard open.contains(where: { walk.places.contains($0.place) }) else { continue }
            for cell in cells(of: rule) {
                look(at: rule, walk, in: cell, &open)
                if budget.isUsedUp { return settled }
            }
            // A condition of a role can be found so by other rules.
            settled.formUnion(open.filter { walk.ownPlaces.contains($0.place) })
        }
        return open
    }

    /// What a rule applies to, of what the catalog defines.
    private func cells(of rule: CheckedRule) -> [(subject: Int, action: Int, resource: Int)] {
        let catalog = policies.catalog
        var cells: [(subject: Int, action: Int, resource: Int)] = []
        for subject in rule.subjectTypes {
            for action in rule.actions ?? Array(catalog.actions.indices) {
                for resource in catalog.actions[action].resourceTypes
                where rule.resourceTypes?.contains(resource) ?? true {
                    cells.append((subject, action, resource))
                }
            }
        }
        return cells
    }

    /// Takes out what a question of the cell can bring about.
    private func look(
        at rule: CheckedRule, _ walk: ConditionWalk, in cell: (subject: Int, action: Int, resource: Int),
        _ open: inout Set<ConditionOutcome>
    ) {
        budget.spend(10 + policies.roles.count)
        var one = policies
        one.rules = [rule]
        one.obligations = []
        let catalog = policies.catalog
        let space = RequestSpace(
            Cell(
                subject: catalog.entities[cell.subject].name, action: catalog.actions[cell.action].name,
                resource: catalog.entities[cell.resource].name),
            [restrict(one, subjectType: cell.subject, action: cell.action, resourceType: cell.resource)],
            budget)
        let error = space.outcomes(side: 0).outcomes[.error] ?? .no
        let steps = walk.steps(space).filter { step in
            open.contains { $0.place == step.place }
        }
        let reasoner = Reasoner(
            space, roots: steps.flatMap { [$0.reach, $0.truth] } + [error])
        reasoner.require(!error)
        for step in steps {
            for truth in [true, false] {
                let outcome = ConditionOutcome(place: step.place, truth: truth)
                guard open.contains(outcome) else { continue }
                if case .none = reasoner.question([step.reach, truth ? step.truth : !step.truth]) { continue }
                open.remove(outcome)
            }
        }
    }
}

/// A rule's condition and demand as the reference walks them.
private struct ConditionWalk {
    /// A condition: when it is looked at, and when it holds.
    struct Step {
        var place: ConditionPlace
        var reach: Signal
        var truth: Signal
    }

    private let policies: CheckedPolicies
    private let rule: CheckedRule
    /// What the rule looks at, its roles' conditions included.
    let places: Set<ConditionPlace>
    /// What no other rule looks at.
    let ownPlaces: Set<ConditionPlace>

    init(_ policies: CheckedPolicies, _ rule: CheckedRule) {
        self.policies = policies
        self.rule = rule
        var own = Set<ConditionPlace>()
        var places = Set<ConditionPlace>()
        var seenRoles = Set<Int>()
        func visit(_ condition: Condition, isOwn: Bool) {
            switch condition {
            case .constant: break
            case .all(let parts), .any(let parts): for part in parts { visit(part, isOwn: isOwn) }
            case .not(let inner): visit(inner, isOwn: isOwn)
            case .test(let test, let range):
                let place = ConditionPlace(range, test)
                places.insert(place)
                if isOwn { own.insert(place) }
                if case .role(let role) = test, seenRoles.insert(role).inserted {
                    visit(policies.roles[role].condition, isOwn: false)
                }
            }
        }
        visit(rule.condition, isOwn: true)
        own.formUnion(rule.demandBounds.map(\.place))
        ownPlaces = own
        self.places = places.union(own)
    }

    /// Every condition in the order in which it is looked at.
    func steps(_ space: RequestSpace) -> [Step] {
        var steps: [Step] = []
        add(rule.condition, .yes, space, &steps)
        guard let demand = rule.demand else { return steps }
        var reach = space.translate(rule.condition, side: 0)
        for (place, bound) in rule.demandBounds {
            let part =
                switch bound {
                case .level: Demand(levels: demand.levels)
                case .within: Demand(within: demand.within)
                case .methods: Demand(methods: demand.methods)
                }
            let truth = space.isMet(part, side: 0)
            steps.append(Step(place: place, reach: reach, truth: truth))
            reach = space.circuit.all([reach, truth])
        }
        return steps
    }

    private func add(_ condition: Condition, _ reach: Signal, _ space: RequestSpace, _ steps: inout [Step]) {
        switch condition {
        case .constant: break
        case .not(let inner): add(inner, reach, space, &steps)
        case .all(let parts):
            var reach = reach
            for part in parts {
                add(part, reach, space, &steps)
                reach = space.circuit.all([reach, space.translate(part, side: 0)])
            }
        case .any(let parts):
            var reach = reach
            for part in parts {
                add(part, reach, space, &steps)
                reach = space.circuit.all([reach, !space.translate(part, side: 0)])
            }
        case .test(let test, let range):
            if case .role(let role) = test { add(policies.roles[role].condition, reach, space, &steps) }
            steps.append(
                Step(
                    place: ConditionPlace(range, test), reach: reach, truth: space.translate(condition, side: 0)))
        }
    }
}
