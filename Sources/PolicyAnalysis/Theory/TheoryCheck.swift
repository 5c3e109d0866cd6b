// Whether the world can be as a model of the atoms says, and with which values: sums of numbers, texts by patterns,
// instants by schedules, sets by how many elements they have. What cannot be is told by premises, from which the
// search learns.

import PolicyLanguage

/// The theories' word on models of some atoms.
final class TheoryCheck {
    enum Outcome {
        case consistent([Int: Value])
        /// These signals hold in the model and cannot hold together.
        case contradiction([Signal])
        /// Not decided; the values are a guess.
        case undecided([Int: Value], String)
    }

    let space: RequestSpace
    let axioms: Axioms
    /// What the atoms compare each variable with.
    private(set) var bounds: [Int: [Int128]] = [:]
    private(set) var constants: [Int: [Value]] = [:]
    private(set) var patterns: [Int: [[Text]]] = [:]
    private(set) var sums: [(sum: LinearSum, bound: Int128)] = []
    private(set) var schedules: [Int] = []
    private(set) var counts: [Int] = []
    private(set) var subsets: [(one: Int, of: Int)] = []
    private(set) var intersections: [(one: Int, two: Int)] = []
    private(set) var closings: [(set: Int, values: [Value])] = []
    /// Texts found before, by which patterns they match and how many were needed.
    fileprivate var textsFound: [TextWish: [Text]] = [:]

    fileprivate struct TextWish: Hashable {
        var patterns: [TextPattern]
        var isMatched: [Bool]
        var count: Int
    }

    init(_ space: RequestSpace, _ axioms: Axioms, atoms: [Atom]) {
        self.space = space
        self.axioms = axioms
        for atom in atoms {
            switch atom {
            case .atMost(let variable, let bound): bounds[variable, default: []].append(bound)
            case .equals(let variable, let value): constants[variable, default: []].append(value)
            case .like(let variable, let parts): patterns[variable, default: []].append(parts)
            case .linear(let sum, let bound): sums.append((sum, bound))
            case .schedule(let index): schedules.append(index)
            case .subset(let one, of: let two): subsets.append((one, two))
            case .intersects(let one, let two): intersections.append((one, two))
            case .onlyOf(let set, let values): closings.append((set, values))
            default: break
            }
        }
        for variable in Axioms.numbers(atoms) {
            if case .count = space.variables[variable].key { counts.append(variable) }
        }
    }

    func run(_ truths: [Int: Bool]) -> Outcome {
        var run = TheoryRun(check: self, truths: truths)
        return run.run()
    }
}

/// One model at hand.
struct TheoryRun {
    let check: TheoryCheck
    var space: RequestSpace { check.space }
    var values: [Int: Value] = [:]
    /// Why the model is not decided.
    var problem: String?
    private let truths: [Int: Bool]

    init(check: TheoryCheck, truths: [Int: Bool]) {
        self.check = check
        self.truths = truths
    }

    mutating func run() -> TheoryCheck.Outcome {
        if let premises = chooseNumbers() { return .contradiction(premises) }
        if let premises = chooseTexts() { return .contradiction(premises) }
        chooseRest()
        chooseSets()
        return problem.map { .undecided(values, $0) } ?? .consistent(values)
    }

    // MARK: The model

    /// The atom as it is in the model; nil when the model does not speak of it.
    func literal(_ atom: Atom) -> Signal? {
        guard let signal = space.known(atom), let truth = truths[signal.node] else { return nil }
        return truth ? signal : !signal
    }

    func isTrue(_ atom: Atom) -> Bool { literal(atom).map { !$0.isNegated } ?? false }

    /// The formula as it is in the model.
    func literal(_ formula: Signal) -> Signal {
        var memo: [Int: Bool] = [:]
        return space.circuit.evaluate(formula, &memo) { truths[$0] ?? false } ? formula : !formula
    }

    /// True when the formula, made of atoms of the model, holds.
    func holds(_ formula: Signal) -> Bool { literal(formula) == formula }

    /// What a variable's atoms leave of its numbers, with the literals that say so.
    func bounds(of variable: Int) -> (low: Int128, high: Int128, lowBy: Signal?, highBy: Signal?) {
        let declared = space.variables[variable]
        var (low, high) = (declared.low, declared.high)
        var (lowBy, highBy): (Signal?, Signal?) = (nil, nil)
        for bound in check.bounds[variable] ?? [] {
            guard let literal = literal(.atMost(variable, bound)) else { continue }
            if literal.isNegated {
                if bound + 1 > low { (low, lowBy) = (bound + 1, literal) }
            } else if bound < high {
                (high, highBy) = (bound, literal)
            }
        }
        return (low, high, lowBy, highBy)
    }
}

// MARK: Numbers

extension TheoryRun {
    /// Chooses numbers, instants, counts; the premises of a contradiction.
    private mutating func chooseNumbers() -> [Signal]? {
        var premises: [Signal] = []
        var inequalities: [Inequality] = []
        func add(_ sum: LinearSum, _ bound: Int128, _ because: [Signal]) {
            inequalities.append(
                Inequality(sum: sum, bound: bound, premises: Set(premises.count..<premises.count + because.count)))
            premises += because
        }
        var involved = Set(check.counts)
        for (sum, bound) in check.sums {
            guard let literal = literal(.linear(sum, atMost: bound)) else { continue }
            for term in sum.terms { involved.insert(term.variable) }
            if literal.isNegated { add(sum.negated, -bound - 1, [literal]) } else { add(sum, bound, [literal]) }
        }
        let schedules = check.schedules.compactMap { index -> (schedule: Schedule, isInside: Bool, by: Signal)? in
            guard let literal = literal(.schedule(index)) else { return nil }
            return (space.schedules[index], !literal.isNegated, literal)
        }
        let now = schedules.isEmpty ? nil : space.now
        if let now { involved.insert(now) }
        for variable in involved.sorted() {
            var one = LinearSum()
            one.add(variable, 1)
            let (low, high, lowBy, highBy) = bounds(of: variable)
            add(one, high, highBy.map { [$0] } ?? [])
            add(one.negated, -low, lowBy.map { [$0] } ?? [])
            if case .count(of: let set) = space.variables[variable].key {
                let known = knownCount(of: set)
                add(one.negated, -known.least, known.because)
                if let most = known.most { add(one, most.count, most.because) }
            }
        }
        let start = premises.count
        premises += schedules.map(\.by)
        let outcome = LinearSystem(inequalities).solve(last: now, space.budget) { variable, low, high in
            guard variable == now else { return .value(nice(variable, low, high)) }
            let found = instant(low, high, schedules.map { ($0.schedule, $0.isInside) })
            return found.map { .value(Int128($0)) } ?? .none(because: Set(start..<premises.count))
        }
        switch outcome {
        case .contradiction(let because): return because.sorted().map { premises[$0] }
        case .unknown: problem = "sums of several attributes"
        case .solved(let numbers):
            for (variable, number) in numbers {
                guard let small = Int64(exactly: number) else { continue }
                values[variable] = .number(small)
            }
        }
        return nil
    }

    private func instant(_ low: Int128, _ high: Int128, _ wanted: [(schedule: Schedule, isInside: Bool)]) -> Int64? {
        let first = Int64(clamping: max(low, RequestSpace.instants.lowerBound))
        let last = Int64(clamping: min(high, RequestSpace.instants.upperBound))
        if first > last { return nil }
        let start = min(max(Self.plainInstant, first), last)
        return ScheduleSearch.instant(from: start, to: last, wanted)
            ?? ScheduleSearch.instant(from: first, to: last, wanted)
    }

    /// Monday, 2026-01-05T12:00:00Z: what a question's instant is when nothing asks for another.
    private static let plainInstant: Int64 = 1_767_614_400_000

    /// A number between bounds that reads well.
    private func nice(_ variable: Int, _ low: Int128, _ high: Int128) -> Int128 {
        let declared = space.variables[variable]
        let steps: [Int128]
        var plain: Int128 = 0
        switch declared.sort {
        case .decimal: steps = [1_000_000, 10_000, 1]
        case .duration: steps = [3_600_000, 60_000, 1_000, 1]
        case .instant:
            steps = [86_400_000, 3_600_000, 60_000, 1_000, 1]
            plain = Int128(Self.plainInstant)
        default: steps = [1]
        }
        if case .now = declared.key, low <= plain, plain <= high { return plain }
        if low > declared.low {
            for step in steps {
                let up = -RequestSpace.floorDivide(-low, step) * step
                if up <= high { return up }
            }
        } else if high < declared.high {
            for step in steps {
                let down = RequestSpace.floorDivide(high, step) * step
                if down >= low { return down }
            }
        }
        return min(max(plain, low), high)
    }

    /// How many elements a set has at least and, where it cannot have others, at most, as the model has it.
    private func knownCount(
        of set: Int
    ) -> (least: Int128, because: [Signal], most: (count: Int128, because: [Signal])?) {
        guard let cluster = check.axioms.setClusters.first(where: { $0.sets.contains(set) }) else {
            return (0, [], nil)
        }
        var members: [Signal] = []
        var absences: [Signal] = []
        for value in cluster.constants {
            let literal = literal(space.contains(set, value))
            if literal == .yes || literal == .no { continue }
            if holds(space.contains(set, value)) { members.append(literal) } else { absences.append(literal) }
        }
        var because = members
        var count = Int128(members.count)
        var counted: [Int] = []
        for scalar in cluster.scalars {
            let holdsIt = literal(space.contains(set, variable: scalar))
            guard holds(space.contains(set, variable: scalar)) else {
                absences.append(holdsIt)
                continue
            }
            let others = cluster.constants.map { space.equals(scalar, $0) } + counted.map { space.same(scalar, $0) }
            if others.contains(where: { holds($0) }) { continue }
            because += [holdsIt] + others.map { !$0 }
            counted.append(scalar)
            count += 1
        }
        for fresh in 0..<cluster.freshCount {
            guard let literal = literal(.containsFresh(set, fresh)) else { continue }
            if literal.isNegated {
                absences.append(literal)
            } else {
                because.append(literal)
                count += 1
            }
        }
        guard let closing = closing(of: set) else { return (count, because, nil) }
        // Scalars that are equal to a constant are counted with it.
        let equalities = cluster.scalars.flatMap { scalar in
            cluster.constants.map { literal(space.equals(scalar, $0)) }
                + cluster.scalars.filter { $0 != scalar }.map {
                    literal(space.same(scalar, $0))
                }
        }
        return (count, because, (count, because + absences + equalities.filter { !$0.isConstant } + closing))
    }

    /// Why a set has no elements but those that the model names; nil when it can have others.
    private func closing(of set: Int) -> [Signal]? {
        if space.variables[set].universe != nil { return [] }
        let (above, because) = supersets(of: set)
        for (closed, values) in check.closings where above.contains(closed) {
            if let literal = literal(.onlyOf(closed, values)), !literal.isNegated { return because + [literal] }
        }
        for (one, two) in check.intersections where above.contains(one) && above.contains(two) {
            if let literal = literal(.intersects(one, two)), literal.isNegated { return because + [literal] }
        }
        return nil
    }

    /// The sets that hold all elements of a set, itself among them.
    func supersets(of set: Int) -> (sets: [Int], because: [Signal]) {
        var sets = [set]
        var because: [Signal] = []
        var index = 0
        while index < sets.count {
            for (one, two) in check.subsets where one == sets[index] && !sets.contains(two) {
                guard let literal = literal(.subset(one, of: two)), !literal.isNegated else { continue }
                sets.append(two)
                because.append(literal)
            }
            index += 1
        }
        return (sets, because)
    }
}

// MARK: Texts, references, addresses

extension TheoryRun {
    /// Chooses texts, references and addresses; the premises of a contradiction.
    private mutating func chooseTexts() -> [Signal]? {
        let clustered = Set(check.axioms.equalityClusters.joined())
        let single = space.variables.indices.filter { !clustered.contains($0) }.map { [$0] }
        for cluster in check.axioms.equalityClusters + single {
            let premises: [Signal]?
            switch space.variables[cluster[0]].sort {
            case .text: premises = chooseTexts(cluster)
            case .reference: premises = chooseReferences(cluster)
            case .address: premises = chooseAddresses(cluster)
            default: premises = nil
            }
            if let premises { return premises }
        }
        return nil
    }

    /// The variables of a cluster by which are the same, and the literals that keep them apart.
    private func groups(_ cluster: [Int]) -> (groups: [[Int]], apart: [Signal]) {
        var groups = Groups()
        var apart: [Signal] = []
        for (index, one) in cluster.enumerated() {
            groups.add(one)
            for two in cluster[..<index] {
                guard let literal = literal(.same(min(one, two), max(one, two))) else { continue }
                if literal.isNegated { apart.append(literal) } else { groups.join(one, two) }
            }
        }
        return (groups.lists, apart)
    }

    /// Sets the value of groups that have a constant's; the other groups, and the literals that deny constants.
    private mutating func takeConstants(_ groups: [[Int]]) -> (open: [[Int]], denials: [Signal], constants: [Value]) {
        var open: [[Int]] = []
        var denials: [Signal] = []
        var constants: [Value] = []
        for group in groups {
            var value: Value?
            var denied: [Signal] = []
            for variable in group {
                for constant in check.constants[variable] ?? [] {
                    if !constants.contains(constant) { constants.append(constant) }
                    guard let literal = literal(.equals(variable, constant)) else { continue }
                    if literal.isNegated { denied.append(literal) } else { value = constant }
                }
            }
            if let value {
                for variable in group { values[variable] = value }
            } else {
                open.append(group)
                denials += denied
            }
        }
        return (open, denials, constants)
    }

    private mutating func chooseTexts(_ cluster: [Int]) -> [Signal]? {
        let (groups, apart) = groups(cluster)
        let (open, denials, constants) = takeConstants(groups)
        var byPatterns: [[[Text]: Bool]: [[Int]]] = [:]
        for group in open {
            var matched: [[Text]: Bool] = [:]
            for parts in check.patterns[group[0]] ?? [] {
                if let literal = literal(.like(group[0], parts)) { matched[parts] = !literal.isNegated }
            }
            byPatterns[matched, default: []].append(group)
        }
        for (matched, alike) in byPatterns.sorted(by: { $0.value[0][0] < $1.value[0][0] }) {
            let parts = check.patterns[alike[0][0]] ?? []
            let constraints = parts.compactMap { part in
                matched[part].map { (pattern: TextPattern(part), isMatched: $0) }
            }
            guard let texts = texts(constraints, alike.count, besides: constants) else {
                if problem != nil { continue }
                let likes = alike.joined().flatMap { variable in
                    parts.compactMap { literal(.like(variable, $0)) }
                }
                return likes + denials + apart
            }
            for (group, text) in zip(alike, texts) { for variable in group { values[variable] = .text(text) } }
        }
        return nil
    }

    /// Different texts that match as wanted; nil when there are too few.
    private mutating func texts(
        _ constraints: [(pattern: TextPattern, isMatched: Bool)], _ count: Int, besides constants: [Value]
    ) -> [Text]? {
        func isFree(_ text: Text) -> Bool { !constants.contains(.text(text)) }
        if constraints.isEmpty { return Self.plainTexts(count, isFree) }
        do throws(TextSearch.Failure) {
            let all = try found(constraints, count + constants.count + 8)
            // The store and the socket bring texts into NFC.
            let normal = all.filter { UnicodeText.normalized($0.string).utf8.elementsEqual($0.string.utf8) }
            let free = normal.filter(isFree)
            if free.count >= count { return Array(free.prefix(count)) }
            if normal.count < all.count {
                problem = "texts of combining characters"
                return nil
            }
        } catch {
            problem = "too many or too long patterns"
        }
        return nil
    }

    private func found(
        _ constraints: [(pattern: TextPattern, isMatched: Bool)], _ count: Int
    ) throws(TextSearch.Failure) -> [Text] {
        let wish = TheoryCheck.TextWish(
            patterns: constraints.map(\.pattern), isMatched: constraints.map(\.isMatched), count: count)
        if let known = check.textsFound[wish] { return known }
        let texts = try TextSearch(constraints, space.budget).texts(count)
        check.textsFound[wish] = texts
        return texts
    }

    private static func plainTexts(_ count: Int, _ isFree: (Text) -> Bool) -> [Text] {
        var texts: [Text] = []
        var number = 1
        while texts.count < count {
            let text = Text(number == 1 ? "other" : "other-\(number)")
            if isFree(text) { texts.append(text) }
            number += 1
        }
        return texts
    }

    private mutating func chooseReferences(_ cluster: [Int]) -> [Signal]? {
        let (groups, _) = groups(cluster)
        let (open, _, constants) = takeConstants(groups)
        guard case .reference(let type) = space.variables[cluster[0]].sort else { return nil }
        var number = 0
        for group in open {
            var value: Value
            repeat {
                number += 1
                value = .reference(type: type, id: Text("\(type)-\(number)"))
            } while constants.contains(value)
            for variable in group { values[variable] = value }
        }
        return nil
    }

    private mutating func chooseAddresses(_ cluster: [Int]) -> [Signal]? {
        let (groups, apart) = groups(cluster)
        // 192.0.2.1, an address of documentation (RFC 5737).
        let plain = IPAddress(high: 0, low: 0xffff_c000_0201).ordinal
        var taken: [Int128] = []
        for group in groups {
            let (low, high, _, _) = bounds(of: group[0])
            var candidate = min(max(plain, low), high)
            if candidate == low, low < high, low > Int128.min { candidate += 1 }
            if taken.contains(candidate) { candidate = low }
            while taken.contains(candidate), candidate < high { candidate += 1 }
            if taken.contains(candidate) {
                return apart
                    + groups.joined().flatMap { variable in
                        let bounds = bounds(of: variable)
                        return [bounds.lowBy, bounds.highBy].compactMap { $0 }
                    }
            }
            taken.append(candidate)
            for variable in group { values[variable] = .address(IPAddress(ordinal: candidate)) }
        }
        return nil
    }
}

// MARK: The rest

extension TheoryRun {
    /// Booleans, enumerations, and numbers that hang on nothing else.
    private mutating func chooseRest() {
        for (index, variable) in space.variables.enumerated() where values[index] == nil {
            switch variable.sort {
            case .boolean: values[index] = .boolean(isTrue(.isTrue(index)))
            case .enumeration:
                let name = variable.cases.first { isTrue(.equals(index, .enumCase($0))) } ?? variable.cases.first
                values[index] = name.map { .enumCase($0) }
            case .integer, .decimal, .instant, .duration:
                let (low, high, _, _) = bounds(of: index)
                values[index] = .number(Int64(clamping: nice(index, low, high)))
            case .text, .reference, .address, .set: break
            }
        }
    }

    /// Elements that a set is given at most, to have as many as it must.
    private static let maxElements = 10_000

    private mutating func chooseSets() {
        var taken: [Value] = Array(values.values)
        for cluster in check.axioms.setClusters {
            guard case .set(let element) = space.variables[cluster.sets[0]].sort else { continue }
            taken += cluster.constants
            var fresh: [Value] = []
            for _ in 0..<cluster.freshCount { fresh.append(freshValue(element, &taken)) }
            var held: [Int: [Value]] = [:]
            for set in cluster.sets {
                var elements = cluster.constants.filter { holds(space.contains(set, $0)) }
                for scalar in cluster.scalars where holds(space.contains(set, variable: scalar)) {
                    if let value = values[scalar], !elements.contains(value) { elements.append(value) }
                }
                for (index, value) in fresh.enumerated() where isTrue(.containsFresh(set, index)) {
                    elements.append(value)
                }
                held[set] = elements
            }
            fill(cluster, element, &held, &taken)
            for set in cluster.sets { values[set] = .set(held[set] ?? []) }
        }
        for (index, variable) in space.variables.enumerated() where values[index] == nil {
            if case .set = variable.sort { values[index] = .set([]) }
        }
    }

    /// Gives sets as many elements as they are to have.
    private mutating func fill(
        _ cluster: Axioms.SetCluster, _ element: Sort, _ held: inout [Int: [Value]], _ taken: inout [Value]
    ) {
        let wanted = check.counts.compactMap { variable -> (set: Int, count: Int)? in
            guard case .count(of: let set) = space.variables[variable].key, cluster.sets.contains(set),
                case .number(let number) = values[variable]
            else { return nil }
            return (set, Int(number))
        }
        for (set, count) in wanted {
            let missing = count - (held[set] ?? []).count
            guard missing > 0 else { continue }
            guard missing <= Self.maxElements else {
                problem = "sets of more than \(Self.maxElements) elements"
                return
            }
            for _ in 0..<missing {
                let value = freshValue(element, &taken)
                for above in supersets(of: set).sets { held[above, default: []].append(value) }
            }
        }
        if wanted.contains(where: { (held[$0.set] ?? []).count != $0.count }) {
            problem = "counts of sets that are compared with one another"
        }
    }

    /// A value that nothing else has.
    private func freshValue(_ sort: Sort, _ taken: inout [Value]) -> Value {
        var number = 1
        while true {
            let value: Value
            switch sort {
            case .text: value = .text(Text("extra-\(number)"))
            case .reference(let type): value = .reference(type: type, id: Text("\(type)-x\(number)"))
            case .address: value = .address(IPAddress(high: 0, low: 0xffff_c633_6400 + UInt64(number)))
            case .decimal: value = .number(Int64(number) * 1_000_000)
            case .instant: value = .number(Self.plainInstant + Int64(number) * 60_000)
            case .duration: value = .number(Int64(number) * 60_000)
            default: value = .number(Int64(number))
            }
            if !taken.contains(value) {
                taken.append(value)
                return value
            }
            number += 1
        }
    }
}

extension LinearSum {
    /// The sum with all signs changed.
    var negated: LinearSum {
        LinearSum(terms: terms.map { Term(variable: $0.variable, factor: -$0.factor) })
    }
}
