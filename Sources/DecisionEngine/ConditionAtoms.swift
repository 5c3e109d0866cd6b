// The atomic conditions of policies, and which outcomes of each were seen: what coverage of conditions is counted in.

package import PolicyLanguage

/// One atomic condition of the text. Its place tells it apart from all others; a range `x in 1...5` is two.
package struct ConditionPlace: Sendable, Hashable {
    package var file: Int32
    package var start: Int32
    package var end: Int32
    /// Tells apart what stands in one place: the two comparisons of a range.
    private var part: UInt8

    /// A test of a condition.
    package init(_ range: SourceRange, _ test: Test) {
        self.init(range)
        if case .compare(_, let comparison, _) = test { part = comparison.rawValue + 1 }
    }

    /// A bound of a demand.
    package init(_ range: SourceRange) {
        file = range.file
        start = range.start
        end = range.end
        part = 0
    }
}

/// A bound of a demand that is met or not.
package enum DemandBound: Sendable, Hashable {
    case level, within, methods
}

extension CheckedRule {
    /// The bounds of the rule's demand in the order in which they are looked at.
    package var demandBounds: [(place: ConditionPlace, bound: DemandBound)] {
        let bounds: [(SourceRange?, DemandBound)] = [
            (demandPlaces.level, .level), (demandPlaces.within, .within), (demandPlaces.methods, .methods),
        ]
        return bounds.compactMap { range, bound in range.map { (ConditionPlace($0), bound) } }
    }
}

/// Which outcomes of which atomic conditions were seen. One thread's, for as long as it decides.
package final class ConditionRecord {
    /// Bit 0: seen false; bit 1: seen true.
    private var seen: [ConditionPlace: UInt8] = [:]

    package init() {}

    func note(_ place: ConditionPlace, _ truth: Bool) { seen[place, default: 0] |= truth ? 2 : 1 }

    /// True when the condition was looked at and came out like this.
    package func hasSeen(_ place: ConditionPlace, _ truth: Bool) -> Bool {
        (seen[place] ?? 0) & (truth ? 2 : 1) != 0
    }
}

/// An atomic condition with where it belongs.
package struct ConditionAtom: Sendable {
    /// What it is.
    package enum Form: Sendable, Hashable {
        case test(Test)
        case demand(DemandBound)
    }

    /// Whose condition it is.
    package enum Owner: Sendable, Hashable {
        /// Index into `CheckedPolicies.rules`.
        case rule(Int)
        /// Index into `CheckedPolicies.roles`.
        case role(Int)
    }

    package var place: ConditionPlace
    package var range: SourceRange
    package var form: Form
    package var owner: Owner
}

extension CheckedPolicies {
    /// Every atomic condition that decides: of the rules, of the roles they name, and the bounds of their demands. Each
    /// once, in the order of the text. Offers and duties do not decide, and tests say nothing of them.
    package var conditionAtoms: [ConditionAtom] {
        var atoms: [ConditionAtom] = []
        var pending: [Int] = []
        var seen = Set<Int>()
        func walk(_ condition: Condition, _ owner: ConditionAtom.Owner) {
            switch condition {
            case .constant: break
            case .all(let parts), .any(let parts): for part in parts { walk(part, owner) }
            case .not(let inner): walk(inner, owner)
            case .test(.granted, _): break
            case .test(let test, let range):
                atoms.append(
                    ConditionAtom(
                        place: ConditionPlace(range, test), range: range, form: .test(test), owner: owner))
                if case .role(let role) = test, seen.insert(role).inserted { pending.append(role) }
            }
        }
        for (index, rule) in rules.enumerated() {
            walk(rule.condition, .rule(index))
            let ranges = [rule.demandPlaces.level, rule.demandPlaces.within, rule.demandPlaces.methods]
            for ((place, bound), range) in zip(rule.demandBounds, ranges.compactMap { $0 }) {
                atoms.append(ConditionAtom(place: place, range: range, form: .demand(bound), owner: .rule(index)))
            }
        }
        while let role = pending.popLast() { walk(roles[role].condition, .role(role)) }
        return atoms.sorted {
            ($0.range.file, $0.range.start, $0.range.end) < ($1.range.file, $1.range.start, $1.range.end)
        }
    }
}
