// A solver for propositional formulas in clauses: conflict-driven clause learning with two watched literals,
// after Marques-Silva and Sakallah (GRASP) and Moskewicz et al. (Chaff); questions under assumptions, as in MiniSat.

/// A variable or its negation.
struct Literal: Hashable, Sendable {
    /// `variable << 1`, plus 1 when negated.
    let code: Int32

    init(code: Int32) { self.code = code }

    init(_ variable: Int, isNegated: Bool = false) { code = Int32(variable) << 1 | (isNegated ? 1 : 0) }

    var variable: Int { Int(code >> 1) }
    var isNegated: Bool { code & 1 == 1 }
    /// For tables by literal.
    var index: Int { Int(code) }

    static prefix func ! (literal: Literal) -> Literal { Literal(code: literal.code ^ 1) }
}

/// Decides clauses. Deterministic: the same calls give the same answers and models.
final class SATSolver {
    enum Outcome: Sendable, Hashable {
        /// `value(of:)` tells the model.
        case satisfiable
        /// `core` tells which assumptions contradict one another.
        case unsatisfiable
        /// The budget is used up.
        case exhausted
    }

    private struct Watch {
        var clause: Int32
        /// Another literal of the clause: when it holds, the clause need not be looked at.
        var blocker: Literal
    }

    private(set) var variableCount = 0
    /// Looks at clauses, and the like, that were not yet taken off the budget.
    private var steps = 0
    /// After `unsatisfiable`: assumptions that cannot hold together; empty when the clauses alone contradict.
    private(set) var core: [Literal] = []

    /// Clauses one after the other: size, learnt and its glue (-1 original, -2 removed), literals.
    private var arena: [Int32] = []
    private var learnts: [Int32] = []
    private var maxLearnts = 4_000
    private var watches: [[Watch]] = []
    /// Per variable: 0 open, 1 true, -1 false.
    private var assigned: [Int8] = []
    private var model: [Int8] = []
    private var levels: [Int32] = []
    private var reasons: [Int32] = []
    private var phases: [Bool] = []
    private var trail: [Literal] = []
    private var limits: [Int] = []
    private var propagated = 0
    private var isContradictory = false
    private var activity: [Double] = []
    private var increment = 1.0
    private var heap: [Int32] = []
    private var places: [Int32] = []
    private var seen: [Bool] = []

    private static let headerWords = 2

    func newVariable() -> Int {
        let variable = variableCount
        variableCount += 1
        watches.append([])
        watches.append([])
        assigned.append(0)
        model.append(0)
        levels.append(0)
        reasons.append(-1)
        phases.append(false)
        activity.append(0)
        seen.append(false)
        places.append(-1)
        insert(Int32(variable))
        return variable
    }

    /// Truth in the last model.
    func value(of literal: Literal) -> Bool { (model[literal.variable] > 0) != literal.isNegated }

    // MARK: Clauses

    /// Adds a clause: at least one of these holds.
    func add(_ clause: [Literal]) {
        backtrack(to: 0)
        if isContradictory { return }
        var literals: [Literal] = []
        for literal in clause.sorted(by: { $0.code < $1.code }) {
            if truth(literal) > 0 || literals.last == !literal { return }
            if truth(literal) < 0 || literals.last == literal { continue }
            literals.append(literal)
        }
        switch literals.count {
        case 0: isContradictory = true
        case 1:
            assign(literals[0], reason: -1)
            if propagate() >= 0 { isContradictory = true }
        default: _ = attach(literals, glue: -1)
        }
    }

    private func attach(_ literals: [Literal], glue: Int32) -> Int32 {
        let clause = Int32(arena.count)
        arena.append(Int32(literals.count))
        arena.append(glue)
        for literal in literals { arena.append(literal.code) }
        watches[literals[0].index].append(Watch(clause: clause, blocker: literals[1]))
        watches[literals[1].index].append(Watch(clause: clause, blocker: literals[0]))
        if glue >= 0 { learnts.append(clause) }
        return clause
    }

    // MARK: Search

    /// Looks for a model in which all assumptions hold.
    func solve(assuming assumptions: [Literal] = [], _ budget: WorkBudget) -> Outcome {
        core = []
        backtrack(to: 0)
        if isContradictory { return .unsatisfiable }
        var restart = 0
        while true {
            var allowed = 100 * Self.luby(restart)
            restart += 1
            let outcome = search(assumptions, &allowed, budget)
            if let outcome { return outcome }
            backtrack(to: 0)
        }
    }

    /// Nil asks for a restart.
    private func search(_ assumptions: [Literal], _ allowed: inout Int, _ budget: WorkBudget) -> Outcome? {
        while true {
            let conflict = propagate()
            budget.spend(1 + steps)
            steps = 0
            if conflict >= 0 {
                if limits.isEmpty {
                    isContradictory = true
                    return .unsatisfiable
                }
                learn(conflict)
                allowed -= 1
                continue
            }
            if budget.isUsedUp {
                backtrack(to: 0)
                return .exhausted
            }
            if allowed <= 0 { return nil }
            if learnts.count - trail.count > maxLearnts { forget() }
            var next: Literal?
            while limits.count < assumptions.count {
                let assumption = assumptions[limits.count]
                if truth(assumption) > 0 {
                    limits.append(trail.count)
                } else if truth(assumption) < 0 {
                    explain(assumption)
                    backtrack(to: 0)
                    return .unsatisfiable
                } else {
                    next = assumption
                    break
                }
            }
            guard let decision = next ?? pick() else {
                model = assigned
                backtrack(to: 0)
                return .satisfiable
            }
            limits.append(trail.count)
            assign(decision, reason: -1)
        }
    }

    private func truth(_ literal: Literal) -> Int8 {
        let value = assigned[literal.variable]
        return literal.isNegated ? -value : value
    }

    private func assign(_ literal: Literal, reason: Int32) {
        let variable = literal.variable
        assigned[variable] = literal.isNegated ? -1 : 1
        levels[variable] = Int32(limits.count)
        reasons[variable] = reason
        trail.append(literal)
    }

    private func backtrack(to level: Int) {
        if limits.count <= level { return }
        let start = limits[level]
        for index in stride(from: trail.count - 1, through: start, by: -1) {
            let variable = trail[index].variable
            phases[variable] = assigned[variable] > 0
            assigned[variable] = 0
            if places[variable] < 0 { insert(Int32(variable)) }
        }
        trail.removeLast(trail.count - start)
        limits.removeLast(limits.count - level)
        propagated = start
    }

    /// Draws conclusions; a clause that none of its literals can satisfy, or -1.
    private func propagate() -> Int32 {
        while propagated < trail.count {
            let falsified = !trail[propagated]
            propagated += 1
            var list: [Watch] = []
            swap(&list, &watches[falsified.index])
            var kept = 0
            var index = 0
            var conflict: Int32 = -1
            while index < list.count {
                let watch = list[index]
                index += 1
                if truth(watch.blocker) > 0 {
                    list[kept] = watch
                    kept += 1
                    continue
                }
                let clause = Int(watch.clause)
                if arena[clause + 1] == -2 { continue }
                let first = clause + Self.headerWords
                if arena[first] == falsified.code { arena.swapAt(first, first + 1) }
                let other = Literal(code: arena[first])
                if other != watch.blocker, truth(other) > 0 {
                    list[kept] = Watch(clause: watch.clause, blocker: other)
                    kept += 1
                    continue
                }
                if let place = replacement(clause) {
                    arena.swapAt(first + 1, place)
                    watches[Int(arena[first + 1])].append(Watch(clause: watch.clause, blocker: other))
                    continue
                }
                list[kept] = Watch(clause: watch.clause, blocker: other)
                kept += 1
                if truth(other) < 0 {
                    conflict = watch.clause
                    break
                }
                assign(other, reason: watch.clause)
            }
            while index < list.count {
                list[kept] = list[index]
                kept += 1
                index += 1
            }
            steps += list.count
            list.removeLast(list.count - kept)
            swap(&list, &watches[falsified.index])
            if conflict >= 0 { return conflict }
        }
        return -1
    }

    /// A literal beyond the two watched ones that is not false.
    private func replacement(_ clause: Int) -> Int? {
        let end = clause + Self.headerWords + Int(arena[clause])
        var place = clause + Self.headerWords + 2
        while place < end {
            if truth(Literal(code: arena[place])) >= 0 { return place }
            place += 1
        }
        return nil
    }

    // MARK: Learning

    /// Learns from a conflict, goes back and asserts what was learnt.
    private func learn(_ conflict: Int32) {
        var learnt: [Literal] = [Literal(code: 0)]
        var open = 0
        var clause = Int(conflict)
        var index = trail.count - 1
        var marked: [Int] = []
        var asserting: Literal?
        repeat {
            let start = clause + Self.headerWords
            steps += Int(arena[clause])
            for place in start..<start + Int(arena[clause]) {
                let literal = Literal(code: arena[place])
                let variable = literal.variable
                if literal == asserting || seen[variable] || levels[variable] == 0 { continue }
                seen[variable] = true
                marked.append(variable)
                bump(variable)
                if Int(levels[variable]) == limits.count { open += 1 } else { learnt.append(literal) }
            }
            while !seen[trail[index].variable] { index -= 1 }
            let literal = trail[index]
            asserting = literal
            clause = Int(reasons[literal.variable])
            index -= 1
            open -= 1
        } while open > 0
        if let asserting { learnt[0] = !asserting }
        learnt = [learnt[0]] + learnt.dropFirst().filter { !isImplied($0) }
        for variable in marked { seen[variable] = false }
        increment *= 1.0 / 0.95
        if increment > 1e100 { rescale() }
        assertLearnt(learnt)
    }

    /// True when the other literals of the learnt clause imply this one, seen one step back.
    private func isImplied(_ literal: Literal) -> Bool {
        let clause = Int(reasons[literal.variable])
        if clause < 0 { return false }
        let start = clause + Self.headerWords
        for place in start..<start + Int(arena[clause]) {
            let other = Literal(code: arena[place])
            if other.variable != literal.variable, !seen[other.variable], levels[other.variable] > 0 { return false }
        }
        return true
    }

    private func assertLearnt(_ learnt: [Literal]) {
        if learnt.count == 1 {
            backtrack(to: 0)
            if truth(learnt[0]) == 0 { assign(learnt[0], reason: -1) }
            return
        }
        var literals = learnt
        var best = 1
        for index in 2..<max(2, literals.count)
        where levels[literals[index].variable] > levels[literals[best].variable] { best = index }
        literals.swapAt(1, best)
        let glue = Set(literals.map { levels[$0.variable] }).count
        backtrack(to: Int(levels[literals[1].variable]))
        let clause = attach(literals, glue: Int32(glue))
        assign(literals[0], reason: clause)
    }

    /// Which assumptions make this one false.
    private func explain(_ assumption: Literal) {
        core = [assumption]
        seen[assumption.variable] = true
        for index in stride(from: trail.count - 1, through: 0, by: -1) {
            let literal = trail[index]
            let variable = literal.variable
            guard seen[variable] else { continue }
            seen[variable] = false
            if levels[variable] == 0 { continue }
            let clause = Int(reasons[variable])
            if clause < 0 {
                // Nothing but assumptions has been decided so far.
                core.append(literal)
                continue
            }
            let start = clause + Self.headerWords
            for place in start..<start + Int(arena[clause]) {
                let other = Literal(code: arena[place]).variable
                if other != variable, levels[other] > 0 { seen[other] = true }
            }
        }
        seen[assumption.variable] = false
    }

    /// Removes the less useful half of what was learnt.
    private func forget() {
        backtrack(to: 0)
        steps += 10 * learnts.count
        let ranked = learnts.sorted { (arena[Int($0) + 1], $0) < (arena[Int($1) + 1], $1) }
        var kept: [Int32] = []
        for (rank, clause) in ranked.enumerated() {
            if rank < ranked.count / 2 || arena[Int(clause) + 1] <= 2 || isReason(clause) {
                kept.append(clause)
            } else {
                arena[Int(clause) + 1] = -2
            }
        }
        learnts = kept.sorted()
        maxLearnts += maxLearnts / 10
    }

    private func isReason(_ clause: Int32) -> Bool {
        let first = Literal(code: arena[Int(clause) + Self.headerWords])
        return truth(first) > 0 && reasons[first.variable] == clause
    }

    // MARK: Order of decisions

    private func pick() -> Literal? {
        while let variable = removeBest() {
            if assigned[variable] == 0 { return Literal(variable, isNegated: !phases[variable]) }
        }
        return nil
    }

    private func bump(_ variable: Int) {
        activity[variable] += increment
        if places[variable] >= 0 { rise(Int(places[variable])) }
    }

    private func rescale() {
        for variable in activity.indices { activity[variable] *= 1e-100 }
        increment *= 1e-100
    }

    private func isBefore(_ left: Int32, _ right: Int32) -> Bool {
        let (one, two) = (activity[Int(left)], activity[Int(right)])
        return one > two || one == two && left < right
    }

    private func insert(_ variable: Int32) {
        places[Int(variable)] = Int32(heap.count)
        heap.append(variable)
        rise(heap.count - 1)
    }

    private func rise(_ start: Int) {
        var index = start
        let variable = heap[index]
        while index > 0 {
            let parent = (index - 1) / 2
            if !isBefore(variable, heap[parent]) { break }
            heap[index] = heap[parent]
            places[Int(heap[index])] = Int32(index)
            index = parent
        }
        heap[index] = variable
        places[Int(variable)] = Int32(index)
    }

    private func removeBest() -> Int? {
        guard let best = heap.first, let last = heap.popLast() else { return nil }
        places[Int(best)] = -1
        if heap.isEmpty || best == last { return Int(best) }
        var index = 0
        while true {
            var child = 2 * index + 1
            if child >= heap.count { break }
            if child + 1 < heap.count, isBefore(heap[child + 1], heap[child]) { child += 1 }
            if !isBefore(heap[child], last) { break }
            heap[index] = heap[child]
            places[Int(heap[index])] = Int32(index)
            index = child
        }
        heap[index] = last
        places[Int(last)] = Int32(index)
        return Int(best)
    }

    /// 1 1 2 1 1 2 4 …
    private static func luby(_ position: Int) -> Int {
        var size = 1
        var exponent = 0
        while size < position + 1 {
            size = 2 * size + 1
            exponent += 1
        }
        var rest = position
        while size - 1 != rest {
            size = (size - 1) / 2
            exponent -= 1
            rest %= size
        }
        return 1 << exponent
    }
}
