// Whether a question exists that makes a formula true, and if so, one such question: propositional search over the
// atoms, and for each model of it the theories' word on whether the world can be so.

/// A question found: what is true in it, and its values.
struct FoundQuestion {
    /// Truth of the circuit's inputs.
    fileprivate(set) var truths: [Int: Bool]
    var values: [Int: Value]
}

/// Decides formulas over one space.
final class Reasoner {
    enum Answer {
        case found(FoundQuestion)
        /// No question makes the assumptions true together; those named suffice for that.
        case none([Signal])
        /// There may be one: the theories could not decide a case, for this reason.
        case undecided(FoundQuestion, String)
        /// The budget is used up.
        case exhausted
    }

    let space: RequestSpace
    private var circuit: Circuit { space.circuit }
    private let solver = SATSolver()
    /// SAT variable of each node of the circuit.
    private var variables: [Int: Int] = [:]
    private let check: TheoryCheck
    /// The atoms that the theories look at.
    private let relevant: [Int]
    /// Cases that the theories cannot decide, by what is true in them.
    private(set) var undecided: Set<String> = []
    private var budget: WorkBudget { space.budget }

    /// - Parameter roots: all formulas that will be asked about, or parts of them.
    init(_ space: RequestSpace, roots: [Signal]) {
        self.space = space
        let axioms = Axioms(space, roots: roots)
        relevant = space.circuit.support(roots + axioms.formulas).filter { space.atoms[$0] != nil }
        check = TheoryCheck(space, axioms, atoms: relevant.compactMap { space.atoms[$0] })
        for formula in axioms.formulas { require(formula) }
        // Every atom is decided in every model, so that what a question says of formulas fits its values.
        for root in roots { _ = literal(root) }
    }

    // MARK: Clauses

    /// From now on, the formula holds.
    func require(_ formula: Signal) {
        if formula == .yes { return }
        if let parts = circuit.parts(of: formula.node) {
            if formula.isNegated {
                solver.add(parts.map { !literal($0) })
            } else {
                for part in parts { require(part) }
            }
            return
        }
        solver.add(formula == .no ? [] : [literal(formula)])
    }

    private func literal(_ signal: Signal) -> Literal {
        Literal(variable(of: signal.node), isNegated: signal.isNegated)
    }

    private func variable(of node: Int) -> Int {
        if let known = variables[node] { return known }
        var pending = [node]
        while let next = pending.last {
            if variables[next] != nil {
                pending.removeLast()
                continue
            }
            guard let parts = circuit.parts(of: next) else {
                let made = solver.newVariable()
                variables[next] = made
                if next == 0 { solver.add([Literal(made)]) }
                continue
            }
            let open = parts.map(\.node).filter { variables[$0] == nil }
            if open.isEmpty { define(next, parts) } else { pending += open }
        }
        return variables[node] ?? 0
    }

    /// The variable holds exactly when all parts do.
    private func define(_ node: Int, _ parts: [Signal]) {
        let made = Literal(solver.newVariable())
        variables[node] = made.variable
        var all = [made]
        for part in parts {
            let one = literal(part)
            solver.add([!made, one])
            all.append(!one)
        }
        solver.add(all)
    }

    // MARK: Questions

    /// A question in which all of these hold.
    func question(_ assumptions: [Signal]) -> Answer {
        if assumptions.contains(.no) { return .none([.no]) }
        let wanted = assumptions.filter { $0 != .yes }
        let literals = wanted.map { literal($0) }
        while true {
            switch solver.solve(assuming: literals, budget) {
            case .exhausted: return .exhausted
            case .unsatisfiable:
                let core = Set(solver.core)
                return .none(zip(wanted, literals).filter { core.contains($1) }.map { $0.0 })
            case .satisfiable: break
            }
            budget.spend(10 * relevant.count)
            let truths = model()
            let outcome = check.run(truths)
            if budget.isUsedUp { return .exhausted }
            switch outcome {
            case .consistent(let values): return .found(FoundQuestion(truths: truths, values: values))
            case .contradiction(let premises): solver.add(premises.map { !literal($0) })
            case .undecided(let values, let reason):
                undecided.insert(reason)
                return .undecided(FoundQuestion(truths: truths, values: values), reason)
            }
        }
    }

    private func model() -> [Int: Bool] {
        var truths: [Int: Bool] = [:]
        for node in relevant {
            truths[node] = variables[node].map { solver.value(of: Literal($0)) } ?? false
        }
        return truths
    }

    /// The truth of formulas in a question.
    func truths(_ signals: [Signal], in question: FoundQuestion) -> [Bool] {
        budget.spend(circuit.count)
        var memo: [Int: Bool] = [:]
        return signals.map { circuit.evaluate($0, &memo) { question.truths[$0] ?? false } }
    }
}
