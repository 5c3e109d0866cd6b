// Conditions in fewer words: negations moved to the tests, repetitions left out, and whatever a solver proves to be
// without effect. What a condition says of any question never changes.

import DecisionEngine
package import PolicyLanguage

/// How many questions a condition holds for.
package enum Extent: Sendable, Hashable {
    /// For all that are no error.
    case always
    case never
    case sometimes
}

extension Condition {
    /// The same condition with negations only before tests, without repeated, absorbed or contradicting parts.
    package func simplified() -> Condition {
        var simple = normal(isNegated: false)
        for _ in 0..<8 {
            let next = simple.absorbed()
            if next == simple { break }
            simple = next
        }
        return simple
    }

    private func normal(isNegated: Bool) -> Condition {
        switch self {
        case .constant(let truth): return .constant(truth != isNegated)
        case .not(let inner): return inner.normal(isNegated: !isNegated)
        case .all(let parts), .any(let parts):
            var isAll = isNegated
            if case .all = self { isAll = !isNegated }
            let normal = parts.map { $0.normal(isNegated: isNegated) }
            return isAll ? Condition.conjunction(normal) : Condition.disjunction(normal)
        case .test: return isNegated ? .not(self) : self
        }
    }

    /// The condition without places in the text, so that equal ones compare as equal.
    private var bare: Condition {
        switch self {
        case .constant: self
        case .all(let parts): .all(parts.map(\.bare))
        case .any(let parts): .any(parts.map(\.bare))
        case .not(let inner): .not(inner.bare)
        case .test(let test, _): .test(test, .none)
        }
    }

    /// One round over a normal form.
    private func absorbed() -> Condition {
        switch self {
        case .constant, .not, .test: return self
        case .all(let parts): return Condition.joined(parts.map { $0.absorbed() }, isAll: true)
        case .any(let parts): return Condition.joined(parts.map { $0.absorbed() }, isAll: false)
        }
    }

    private static func joined(_ parts: [Condition], isAll: Bool) -> Condition {
        let whole = isAll ? conjunction(parts) : disjunction(parts)
        guard let flat = isAll ? whole.conjuncts : whole.disjuncts else { return whole }
        var kept: [Condition] = []
        var seen = Set<Condition>()
        for part in flat where seen.insert(part.bare).inserted { kept.append(part) }
        // `a and not a`, `a or not a`.
        if kept.contains(where: { seen.contains(negation($0.bare)) }) { return .constant(!isAll) }
        var parts: [Condition] = []
        for part in kept {
            guard let inner = isAll ? part.disjuncts : part.conjuncts else {
                parts.append(part)
                continue
            }
            // `a and (a or b)` is `a`; `a and (not a or b)` is `a and b`; and the same with the words exchanged.
            if inner.contains(where: { seen.contains($0.bare) }) { continue }
            let left = inner.filter { !seen.contains(negation($0.bare)) }
            parts.append(left.count == inner.count ? part : isAll ? disjunction(left) : conjunction(left))
        }
        parts = withoutSupersets(parts, isAll: isAll)
        return isAll ? conjunction(parts) : disjunction(parts)
    }

    /// `(a or b) and (a or b or c)` is `a or b`.
    private static func withoutSupersets(_ parts: [Condition], isAll: Bool) -> [Condition] {
        guard parts.count <= 64 else { return parts }
        let sets = parts.map { Set((isAll ? $0.disjuncts : $0.conjuncts)?.map(\.bare) ?? [$0.bare]) }
        return parts.indices.filter { index in
            !parts.indices.contains { other in
                other != index && sets[other].isSubset(of: sets[index])
                    && (sets[other].count < sets[index].count || other < index)
            }
        }.map { parts[$0] }
    }

    private var conjuncts: [Condition]? {
        if case .all(let parts) = self { return parts }
        return nil
    }

    private var disjuncts: [Condition]? {
        if case .any(let parts) = self { return parts }
        return nil
    }

    /// Tests in the condition.
    var testCount: Int {
        var count = 0
        forEachTest { _ in count += 1 }
        return count
    }

    /// Every condition that lacks one part of this one, larger parts first.
    fileprivate func withOnePartLess() -> [Condition] {
        switch self {
        case .constant, .not, .test: return []
        case .all(let parts), .any(let parts):
            var isAll = false
            if case .all = self { isAll = true }
            func join(_ parts: [Condition]) -> Condition {
                isAll ? Condition.conjunction(parts) : Condition.disjunction(parts)
            }
            var less: [Condition] = []
            for index in parts.indices.sorted(by: { parts[$0].testCount > parts[$1].testCount }) {
                less.append(join(Array(parts[..<index]) + Array(parts[(index + 1)...])))
            }
            for index in parts.indices {
                for inner in parts[index].withOnePartLess() {
                    less.append(join(Array(parts[..<index]) + [inner] + Array(parts[(index + 1)...])))
                }
            }
            return less
        }
    }
}

/// Shortens conditions of a restriction with the solver's help.
struct FormulaReducer {
    private let space: RequestSpace
    private let reasoner: Reasoner
    /// Holds for every question that is no error.
    private let isNoError: Signal
    /// Formulas with more tests are not taken to the solver.
    private static let maxTests = 40
    private static let maxTrials = 400

    /// - Parameters:
    ///   - conditions: all that will be asked about.
    ///   - budget: steps; about a second.
    init(_ restriction: Restriction, _ conditions: [Condition], budget: Int = 50_000_000) {
        let catalog = restriction.policies.catalog
        space = RequestSpace(
            Cell(
                subject: catalog.entities[restriction.subjectType].name,
                action: catalog.actions[restriction.action].name,
                resource: catalog.entities[restriction.resourceType].name), [restriction], WorkBudget(budget))
        let error = space.outcomes(side: 0).outcomes[.error] ?? .no
        isNoError = !error
        let space = space
        reasoner = Reasoner(
            space, roots: conditions.map { space.translate($0, side: 0) } + [error])
    }

    /// How often a condition holds; `sometimes` too where that could not be settled.
    func extent(of condition: Condition) -> Extent {
        let signal = space.translate(condition, side: 0)
        if isImpossible([isNoError, signal]) { return .never }
        return isImpossible([isNoError, !signal]) ? .always : .sometimes
    }

    private func isImpossible(_ signals: [Signal]) -> Bool {
        if case .none = reasoner.question(signals) { return true }
        return false
    }

    /// A condition that says the same of every question that is no error, and to which `context` does not apply.
    /// - Parameter context: where this holds, anything may be said.
    func reduced(_ condition: Condition, elsewhereThan context: Condition = .constant(false)) -> Condition {
        var current = condition.simplified()
        guard current.testCount <= Self.maxTests else { return current }
        let given = space.circuit.all([isNoError, !space.translate(context, side: 0)])
        let wanted = space.translate(condition, side: 0)
        func says(_ other: Condition) -> Bool {
            isImpossible([given, !space.circuit.same(wanted, space.translate(other, side: 0))])
        }
        for truth in [false, true] where says(.constant(truth)) { return .constant(truth) }
        var trials = 0
        search: while true {
            for shorter in current.withOnePartLess() {
                trials += 1
                if trials > Self.maxTrials { return current }
                if says(shorter) {
                    current = shorter.simplified()
                    continue search
                }
            }
            return current
        }
    }
}
