// Whether whole numbers exist that satisfy some linear inequalities: elimination of one variable after the other
// (Fourier and Motzkin), with what each derived inequality came from. Exact for whole numbers as long as one of the two
// factors met in each step is 1, which holds for all differences; else it may end undecided.

/// A sum that is at most a bound, and the numbered premises it follows from.
struct Inequality: Hashable {
    var sum: LinearSum
    var bound: Int128
    var premises: Set<Int>
}

/// The search.
struct LinearSystem {
    enum Outcome {
        /// A value for every variable that was asked about.
        case solved([Int: Int128])
        /// Premises that contradict one another.
        case contradiction(Set<Int>)
        /// Not decided.
        case unknown
    }

    /// More derived inequalities than are looked at.
    private static let maxInequalities = 20_000

    private let inequalities: [Inequality]

    init(_ inequalities: [Inequality]) { self.inequalities = inequalities }

    /// Solves the system.
    /// - Parameters:
    ///   - last: a variable to eliminate last, whose possible values are then an interval known exactly.
    ///   - choose: picks a value between two bounds, or says which premises, together with those of the bounds, allow none.
    func solve(
        last: Int?, _ budget: WorkBudget, choose: (_ variable: Int, _ low: Int128, _ high: Int128) -> ChosenValue
    ) -> Outcome {
        var current: [LinearSum: Inequality] = [:]
        var isExact = true
        for inequality in inequalities {
            if let contradiction = Self.add(inequality, to: &current) { return .contradiction(contradiction) }
        }
        var eliminated: [(variable: Int, bounds: [Inequality])] = []
        while let variable = Self.next(current, last) {
            let bounds = current.values.filter { $0.sum.factor(of: variable) != 0 }
            for inequality in bounds { current[inequality.sum] = nil }
            eliminated.append((variable, bounds))
            let above = bounds.filter { $0.sum.factor(of: variable) > 0 }
            let below = bounds.filter { $0.sum.factor(of: variable) < 0 }
            budget.spend(current.count)
            for one in above {
                budget.spend(10 * below.count)
                if budget.isUsedUp { return .unknown }
                for two in below {
                    let (derived, exact) = Self.combine(one, two, without: variable)
                    isExact = isExact && exact
                    if let contradiction = Self.add(derived, to: &current) { return .contradiction(contradiction) }
                    if current.count > Self.maxInequalities { return .unknown }
                }
            }
        }
        return Self.values(eliminated.reversed(), isExact: isExact, choose)
    }

    /// What `choose` answers.
    enum ChosenValue {
        case value(Int128)
        case none(because: Set<Int>)
    }

    private static func values(
        _ eliminated: [(variable: Int, bounds: [Inequality])], isExact: Bool,
        _ choose: (_ variable: Int, _ low: Int128, _ high: Int128) -> ChosenValue
    ) -> Outcome {
        var values: [Int: Int128] = [:]
        for (position, (variable, bounds)) in eliminated.enumerated() {
            var low = Int128.min
            var high = Int128.max
            var lowPremises = Set<Int>()
            var highPremises = Set<Int>()
            for inequality in bounds {
                let factor = inequality.sum.factor(of: variable)
                var rest = inequality.bound
                for term in inequality.sum.terms where term.variable != variable {
                    rest -= term.factor * (values[term.variable] ?? 0)
                }
                if factor > 0 {
                    let limit = RequestSpace.floorDivide(rest, factor)
                    if limit < high { (high, highPremises) = (limit, inequality.premises) }
                } else {
                    let limit = -RequestSpace.floorDivide(rest, -factor)
                    if limit > low { (low, lowPremises) = (limit, inequality.premises) }
                }
            }
            guard low <= high else { return .unknown }
            switch choose(variable, low, high) {
            case .value(let value): values[variable] = value
            case .none(let premises):
                // Only the bounds of the variable that was eliminated last hang on nothing that was chosen before.
                guard position == 0, isExact else { return .unknown }
                return .contradiction(premises.union(lowPremises).union(highPremises))
            }
        }
        return .solved(values)
    }

    /// The variable whose elimination derives fewest inequalities.
    private static func next(_ current: [LinearSum: Inequality], _ last: Int?) -> Int? {
        var above: [Int: Int] = [:]
        var below: [Int: Int] = [:]
        for sum in current.keys {
            for term in sum.terms {
                if term.factor > 0 {
                    above[term.variable, default: 0] += 1
                } else {
                    below[term.variable, default: 0] += 1
                }
            }
        }
        let variables = Set(above.keys).union(below.keys)
        let others = variables.filter { $0 != last }
        return (others.isEmpty ? variables : others).min {
            (above[$0, default: 0] * below[$0, default: 0], $0) < (above[$1, default: 0] * below[$1, default: 0], $1)
        }
    }

    private static func combine(
        _ above: Inequality, _ below: Inequality, without variable: Int
    ) -> (inequality: Inequality, isExact: Bool) {
        let one = above.sum.factor(of: variable)
        let two = -below.sum.factor(of: variable)
        var sum = LinearSum()
        for term in above.sum.terms where term.variable != variable { sum.add(term.variable, term.factor * two) }
        for term in below.sum.terms where term.variable != variable { sum.add(term.variable, term.factor * one) }
        return (
            Inequality(
                sum: sum, bound: above.bound * two + below.bound * one, premises: above.premises.union(below.premises)),
            one == 1 || two == 1
        )
    }

    /// Keeps the tightest bound of each sum; the premises of a contradiction.
    private static func add(_ inequality: Inequality, to current: inout [LinearSum: Inequality]) -> Set<Int>? {
        var inequality = inequality
        if let first = inequality.sum.terms.first {
            var divisor = first.factor.magnitude
            for term in inequality.sum.terms.dropFirst() { divisor = greatestDivisor(divisor, term.factor.magnitude) }
            if divisor > 1 {
                for index in inequality.sum.terms.indices { inequality.sum.terms[index].factor /= Int128(divisor) }
                inequality.bound = RequestSpace.floorDivide(inequality.bound, Int128(divisor))
            }
        } else {
            return inequality.bound < 0 ? inequality.premises : nil
        }
        if let known = current[inequality.sum], known.bound <= inequality.bound { return nil }
        current[inequality.sum] = inequality
        return nil
    }

    private static func greatestDivisor(_ left: UInt128, _ right: UInt128) -> UInt128 {
        right == 0 ? left : greatestDivisor(right, left % right)
    }
}

extension LinearSum {
    func factor(of variable: Int) -> Int128 { terms.first { $0.variable == variable }?.factor ?? 0 }
}
