// A counterexample made small: what can be left out without the difference going away is left out.

package import DecisionEngine
package import PolicyLanguage

/// Policies and a question about them.
package struct Counterexample {
    package var policies: CheckedPolicies
    package var situation: Situation

    package init(_ policies: CheckedPolicies, _ situation: Situation) {
        self.policies = policies
        self.situation = situation
    }

    /// The smallest that is found by leaving out one thing after the other.
    /// - Parameter isOne: still shows what is to be shown.
    package func shrunk(_ isOne: (Counterexample) -> Bool) -> Counterexample {
        var best = self
        var steps = 0
        search: while steps < 10_000 {
            for smaller in best.smaller() {
                steps += 1
                if isOne(smaller) {
                    best = smaller
                    continue search
                }
            }
            break
        }
        return best
    }

    /// The same with one thing left out or made simpler, the largest steps first.
    private func smaller() -> [Counterexample] {
        var all: [Counterexample] = []
        func add(_ change: (inout Counterexample) -> Void) {
            var other = self
            change(&other)
            all.append(other)
        }
        let half = policies.rules.count / 2
        if half > 1 {
            add { $0.policies.rules.removeFirst(half) }
            add { $0.policies.rules.removeLast(half) }
        }
        for index in policies.rules.indices { add { $0.policies.rules.remove(at: index) } }
        for index in policies.offers.indices { add { $0.policies.offers.remove(at: index) } }
        for index in policies.obligations.indices { add { $0.policies.obligations.remove(at: index) } }
        for (index, rule) in policies.rules.enumerated() {
            for condition in rule.condition.simpler { add { $0.policies.rules[index].condition = condition } }
            if rule.kind == .permit, rule.demand != nil { add { $0.policies.rules[index].demand = nil } }
            if rule.subjectTypes != [situation.subjectType], rule.subjectTypes.contains(situation.subjectType) {
                add { $0.policies.rules[index].subjectTypes = [situation.subjectType] }
            }
        }
        for (index, role) in policies.roles.enumerated() {
            for condition in role.condition.simpler { add { $0.policies.roles[index].condition = condition } }
        }
        for (index, duty) in policies.obligations.enumerated() {
            for condition in duty.condition.simpler { add { $0.policies.obligations[index].condition = condition } }
        }
        for (scope, values) in situation.stored {
            for name in values.keys { add { $0.situation.stored[scope]?[name] = nil } }
        }
        for (scope, values) in situation.given {
            for name in values.keys { add { $0.situation.given[scope]?[name] = nil } }
        }
        for group in situation.groups { add { $0.situation.groups.remove(group) } }
        for container in situation.containers { add { $0.situation.containers.remove(container) } }
        for role in situation.granted.keys { add { $0.situation.granted[role] = nil } }
        if situation.session != nil { add { $0.situation.session = nil } }
        return all
    }

    /// What is left, to read: the question, the rules, and the roles and duties as far as they say something.
    package var text: String {
        let roles = policies.roles.filter { $0.condition != .constant(false) && $0.condition != .constant(true) }
        var given = situation
        given.stored = given.stored.filter { !$0.value.isEmpty }
        given.given = given.given.filter { !$0.value.isEmpty }
        return
            (["situation \(given)"] + policies.rules.map { "rule \($0)" } + roles.map { "role \($0)" }
            + policies.obligations.map { "duty \($0)" } + policies.offers.map { "offer \($0)" }).joined(separator: "\n")
    }
}

extension Condition {
    /// Conditions with a part less, and constants.
    fileprivate var simpler: [Condition] {
        switch self {
        case .constant: return []
        case .test: return [.constant(true), .constant(false)]
        case .not(let inner): return [.constant(true), .constant(false), inner] + inner.simpler.map { .not($0) }
        case .all(let parts): return Self.simpler(parts) { .all($0) }
        case .any(let parts): return Self.simpler(parts) { .any($0) }
        }
    }

    private static func simpler(_ parts: [Condition], _ joined: ([Condition]) -> Condition) -> [Condition] {
        var found = parts + [.constant(true), .constant(false)]
        for index in parts.indices where parts.count > 1 {
            var fewer = parts
            fewer.remove(at: index)
            found.append(joined(fewer))
        }
        for (index, part) in parts.enumerated() {
            for other in part.simpler {
                var changed = parts
                changed[index] = other
                found.append(joined(changed))
            }
        }
        return found
    }
}
