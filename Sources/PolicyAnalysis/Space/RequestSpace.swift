// All questions that can be asked of a cell (a subject type, an action, a resource type), for one version of the
// policies or for two: the variables, and conditions translated into formulas over them.

import PolicyLanguage

/// A cell by names.
package struct Cell: Sendable, Hashable {
    package var subject: String
    package var action: String
    package var resource: String

    package init(subject: String, action: String, resource: String) {
        self.subject = subject
        self.action = action
        self.resource = resource
    }
}

/// The questions of one cell.
final class RequestSpace {
    let cell: Cell
    let sides: [Restriction]
    /// What all that is asked of the space may cost together.
    let budget: WorkBudget
    let circuit: Circuit
    private(set) var variables: [Variable] = []
    private var variableIndices: [Variable.Key: Int] = [:]
    private var atomSignals: [Atom: Signal] = [:]
    private(set) var atoms: [Int: Atom] = [:]
    private(set) var schedules: [Schedule] = []
    /// Classes of assurance that a session can have: per side the level, -1 for none.
    let assuranceClasses: [AssuranceClass]
    /// Attributes that two versions hold in incompatible ways.
    private(set) var incompatible: Set<String> = []
    private var roleSignals: [[Int: Signal]]

    /// A class of assurance, with the level it is on each side, -1 for none.
    struct AssuranceClass: Hashable, Sendable {
        var levels: [Int]
        var name: String
    }

    /// Earliest and latest instant of a decision: 1970 to 9999.
    static let instants: ClosedRange<Int128> = 0...253_402_300_799_999
    /// Attributes can hold what RFC 3339 can write, with any offset.
    static let attributeInstants: ClosedRange<Int128> = -62_167_305_599_999...253_402_387_199_999
    /// 36 million years; the store takes no longer ones.
    static let durations: ClosedRange<Int128> = -(1 << 60)...(1 << 60)

    init(_ cell: Cell, _ sides: [Restriction], _ budget: WorkBudget = WorkBudget(.max)) {
        self.cell = cell
        self.budget = budget
        circuit = Circuit(budget)
        self.sides = sides
        roleSignals = sides.map { _ in [:] }
        assuranceClasses = Self.assuranceClasses(sides.map(\.policies.catalog))
    }

    // MARK: Atoms

    func signal(_ atom: Atom) -> Signal {
        if let signal = atomSignals[atom] { return signal }
        let signal = circuit.input()
        atomSignals[atom] = signal
        atoms[signal.node] = atom
        return signal
    }

    /// The signal of an atom that some formula has, if any.
    func known(_ atom: Atom) -> Signal? { atomSignals[atom] }

    func variable(_ variable: Variable) -> Int {
        if let index = variableIndices[variable.key] { return index }
        variables.append(variable)
        variableIndices[variable.key] = variables.count - 1
        return variables.count - 1
    }

    var now: Int {
        variable(
            Variable(
                key: .now, name: "now", sort: .instant, low: Self.instants.lowerBound, high: Self.instants.upperBound))
    }

    var age: Int {
        variable(
            Variable(
                key: .age, name: "session age", sort: .duration, low: Self.durations.lowerBound,
                high: Self.durations.upperBound))
    }

    var subject: Int {
        variable(Variable(key: .subject, name: cell.subject, sort: .reference(Text(cell.subject))))
    }

    var resource: Int {
        variable(Variable(key: .resource, name: "resource", sort: .reference(Text(cell.resource))))
    }

    func scheduleIndex(_ schedule: Schedule) -> Int {
        let index = schedules.firstIndex { $0.windows == schedule.windows && $0.zone == schedule.zone }
        if let index { return index }
        schedules.append(schedule)
        return schedules.count - 1
    }

    // MARK: Assurance

    private static func assuranceClasses(_ catalogs: [Catalog]) -> [AssuranceClass] {
        var classes: [AssuranceClass] = [AssuranceClass(levels: catalogs.map { _ in -1 }, name: "none")]
        func add(_ levels: [Int], _ name: String) {
            if !classes.contains(where: { $0.levels == levels }) {
                classes.append(AssuranceClass(levels: levels, name: name))
            }
        }
        // A session that names its level can only name one that both versions know.
        for name in catalogs[0].assurance.levels {
            let levels = catalogs.map { $0.assurance.level(named: name) ?? -1 }
            if !levels.contains(-1) { add(levels, name) }
        }
        for catalog in catalogs {
            for table in catalog.issuers {
                for acr in table.levels.keys.sorted() {
                    let levels = catalogs.map { other in
                        other.issuers.first { $0.issuer == table.issuer }?.levels[acr] ?? -1
                    }
                    add(levels, "acr \"\(acr)\" of \(table.issuer)")
                }
            }
        }
        return classes
    }

    /// The session meets the lower bounds of a demand.
    func isMet(_ demand: Demand, side: Int) -> Signal {
        let restriction = sides[side]
        if let session = restriction.facts.session { return Signal(session.meets(demand)) }
        var parts: [Signal] = []
        if demand.levels != 0 {
            let assurance = restriction.policies.catalog.assurance
            parts.append(
                circuit.any(
                    assuranceClasses.indices.filter { index in
                        let level = assuranceClasses[index].levels[side]
                        return level >= 0 && demand.levels & ~assurance.implied[level] == 0
                    }.map { signal(.assurance($0)) }))
        }
        for bit in 0..<32 where demand.methods >> UInt32(bit) & 1 == 1 { parts.append(signal(.method(bit))) }
        if demand.within != .max {
            parts.append(!signal(.absent(age)))
            parts.append(atMost(age, Int128(demand.within)))
        }
        return circuit.all(parts)
    }

    // MARK: Numbers

    func atMost(_ variable: Int, _ bound: Int128) -> Signal {
        if bound < variables[variable].low { return .no }
        if bound >= variables[variable].high { return .yes }
        return signal(.atMost(variable, bound))
    }

    func equals(_ variable: Int, number: Int128) -> Signal {
        let below: Signal = number == .min ? .no : atMost(variable, number - 1)
        return circuit.all([atMost(variable, number), !below])
    }

    /// The sum is at most a bound.
    func atMost(_ sum: LinearSum, _ bound: Int128) -> Signal {
        guard let first = sum.terms.first else { return Signal(bound >= 0) }
        var divisor = first.factor.magnitude
        for term in sum.terms.dropFirst() { divisor = Self.greatestDivisor(divisor, term.factor.magnitude) }
        var sum = sum
        for index in sum.terms.indices { sum.terms[index].factor /= Int128(divisor) }
        let bound = Self.floorDivide(bound, Int128(divisor))
        if first.factor > 0 {
            return sum.terms.count == 1 ? atMost(first.variable, bound) : signal(.linear(sum, atMost: bound))
        }
        // -x <= b is not (x <= -b - 1).
        for index in sum.terms.indices { sum.terms[index].factor.negate() }
        return sum.terms.count == 1
            ? !atMost(first.variable, -bound - 1) : !signal(.linear(sum, atMost: -bound - 1))
    }

    private static func greatestDivisor(_ left: UInt128, _ right: UInt128) -> UInt128 {
        right == 0 ? left : greatestDivisor(right, left % right)
    }

    static func floorDivide(_ value: Int128, _ divisor: Int128) -> Int128 {
        let quotient = value / divisor
        return value % divisor != 0 && (value < 0) != (divisor < 0) ? quotient - 1 : quotient
    }

    // MARK: Roles

    func role(_ index: Int, side: Int) -> Signal {
        if let known = roleSignals[side][index] { return known }
        let signal = translate(sides[side].roles[index], side: side)
        roleSignals[side][index] = signal
        return signal
    }

    /// Roles that formulas speak of, by name, where both sides that use one mean the same by it.
    var roleFeatures: [(name: String, signal: Signal)] {
        var features: [(name: String, signal: Signal)] = []
        for (index, signal) in (roleSignals.first ?? [:]).sorted(by: { $0.key < $1.key }) {
            let name = sides[0].policies.roles[index].name
            let others = sides.indices.dropFirst().allSatisfy { side in
                roleSignals[side].contains { sides[side].policies.roles[$0.key].name == name && $0.value == signal }
            }
            if others, !signal.isConstant { features.append((name, signal)) }
        }
        return features
    }

    /// Remembers that an attribute is held in incompatible ways.
    func noteIncompatible(_ name: String) { incompatible.insert(name) }
}
