// How much of the policies the tests reach. A rule is covered when it matched in a test. An atomic condition (a
// comparison, a membership, `has`, a schedule, a role's name, a bound of a demand; under `and`, `or` and `not`) has two
// outcomes, and each is covered when a test looked at the condition and found it so. Conditions are looked at from left
// to right, `and` up to the first that fails, `or` up to the first that holds; those of a demand when its rule matches
// and no forbid does. Outcomes that no question can bring about are named, and not asked for.

package import DecisionEngine
import PolicyAnalysis
package import PolicyLanguage

/// Coverage of rules and conditions.
package struct PolicyCoverage: Sendable {
    /// An outcome of an atomic condition.
    package struct Outcome: Sendable {
        package var atom: ConditionAtom
        package var truth: Bool
    }

    /// Rules, by index, that matched in no test.
    package let uncoveredRules: [Int]
    package let ruleCount: Int
    /// Outcomes that no test has shown, in the order of the text.
    package let missing: [Outcome]
    /// Outcomes that no question can bring about: the condition is constant where it stands.
    package let impossible: [Outcome]
    /// Outcomes that tests can show.
    package let outcomeCount: Int

    /// Per cent of the rules, rounded down, so that 100 is all; all of none are 100.
    package var rulePercent: Int { Self.percent(ruleCount - uncoveredRules.count, of: ruleCount) }
    /// Per cent of the outcomes of conditions, rounded down.
    package var conditionPercent: Int { Self.percent(outcomeCount - missing.count, of: outcomeCount) }
    /// The lower of the two: what a bar is held against.
    package var percent: Int { min(rulePercent, conditionPercent) }

    init(_ policies: CheckedPolicies, matched: Set<Int>, _ record: ConditionRecord, steps: Int) {
        ruleCount = policies.rules.count
        uncoveredRules = policies.rules.indices.filter { !matched.contains($0) }
        var unseen: [Outcome] = []
        var count = 0
        for atom in policies.conditionAtoms {
            count += 2
            for truth in [true, false] where !record.hasSeen(atom.place, truth) {
                unseen.append(Outcome(atom: atom, truth: truth))
            }
        }
        let reach = ConditionReach(policies, steps: steps)
        let impossible = reach.impossible(
            Set(unseen.map { ConditionOutcome(place: $0.atom.place, truth: $0.truth) }))
        func isImpossible(_ outcome: Outcome) -> Bool {
            impossible.contains(ConditionOutcome(place: outcome.atom.place, truth: outcome.truth))
        }
        missing = unseen.filter { !isImpossible($0) }
        self.impossible = unseen.filter(isImpossible)
        outcomeCount = count - self.impossible.count
    }

    /// None of nothing.
    init() {
        uncoveredRules = []
        ruleCount = 0
        missing = []
        impossible = []
        outcomeCount = 0
    }

    private static func percent(_ count: Int, of all: Int) -> Int { all == 0 ? 100 : count * 100 / all }
}

extension PolicyCoverage.Outcome {
    /// Which rule or role it belongs to.
    package func owner(_ policies: CheckedPolicies) -> String {
        switch atom.owner {
        case .rule(let index): policies.rules[index].name
        case .role(let index): "role \(policies.roles[index].name)"
        }
    }

    /// The condition's text; of a range, which end of it is meant.
    package func text(_ policies: CheckedPolicies) -> String {
        let file = Int(atom.range.file)
        guard policies.files.indices.contains(file) else { return "" }
        let text = policies.files[file].excerpt(atom.range)
        guard case .test(.compare(_, let comparison, _)) = atom.form, atom.isPartOfRange(policies) else { return text }
        return "\(text) (its \(comparison == .greaterOrEqual ? "lower" : "upper") end)"
    }
}

extension ConditionAtom {
    /// One of the two comparisons that `x in 1...5` is.
    fileprivate func isPartOfRange(_ policies: CheckedPolicies) -> Bool {
        let condition =
            switch owner {
            case .rule(let index): policies.rules[index].condition
            case .role(let index): policies.roles[index].condition
            }
        var count = 0
        func walk(_ condition: Condition) {
            switch condition {
            case .constant: break
            case .all(let parts), .any(let parts): for part in parts { walk(part) }
            case .not(let inner): walk(inner)
            case .test(_, let range): if range == self.range { count += 1 }
            }
        }
        walk(condition)
        return count == 2
    }
}
