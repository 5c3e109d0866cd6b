// Conditions to formulas, by the letter of the reference interpreter: a test whose operand has no value is false, a
// live stored value wins over a given one, a default stands in for both.

import PolicyLanguage

/// What an operand can stand for.
private enum Term {
    case value(Value)
    case variable(Int)
    case sum(LinearSum, Int128)
}

/// An operand's value, and the formula under which it is that.
private struct Alternative {
    var guarded: Signal
    var term: Term
}

/// How an attribute is read on one side.
struct AttributeReading {
    /// Variables in the order in which they are looked at.
    var variables: [Int]
    var attribute: Attribute
    /// The attribute always has a value: absence and the default are one.
    var isAlwaysThere: Bool
}

extension RequestSpace {
    /// The formula of a condition of a side's policies.
    func translate(_ condition: Condition, side: Int) -> Signal {
        switch condition {
        case .constant(let truth): Signal(truth)
        case .all(let parts): circuit.all(parts.map { translate($0, side: side) })
        case .any(let parts): circuit.any(parts.map { translate($0, side: side) })
        case .not(let inner): !translate(inner, side: side)
        case .test(let test, _): translate(test, side: side)
        }
    }

    private func translate(_ test: Test, side: Int) -> Signal {
        let policies = sides[side].policies
        switch test {
        case .group(let group): return signal(.group(Text(policies.groups[group])))
        case .container(let index):
            let container = policies.containers[index]
            guard policies.catalog.containers(above: sides[side].resourceType).contains(container.type) else {
                return .no
            }
            let type = policies.catalog.entities[container.type].name
            return signal(.container(type: Text(type), id: Text(container.id)))
        case .schedule(let index):
            let schedule = policies.schedules[index]
            if schedule.windows.isEmpty { return .no }
            if schedule.windows == [0..<Schedule.week] { return .yes }
            _ = now
            return signal(.schedule(scheduleIndex(schedule)))
        case .role(let role): return self.role(role, side: side)
        case .granted(let role): return signal(.granted(Text(policies.roles[role].name)))
        case .has(let reference): return circuit.any(alternatives(.attribute(reference), side).map(\.guarded))
        case .compare(let left, let comparison, let right):
            let type = left.type(in: sides[side]) ?? right.type(in: sides[side])
            return combine((left, type), (right, type), side) { compare($0, comparison, $1, type, test) }
        case .oneOf(let operand, let constants):
            let type = operand.type(in: sides[side])
            let values = constants.compactMap { constant in type.flatMap { Value(constant, $0, policies.catalog) } }
            return combine(operand, side) { term in circuit.any(values.map { equal(term, .value($0)) }) }
        case .contains(let set, let element):
            let setType = set.type(in: sides[side]) ?? element.type(in: sides[side]).map { .set(of: $0) }
            let elementType = element.type(in: sides[side]) ?? setType?.element
            return combine((set, setType), (element, elementType), side) { contains($0, $1) }
        case .intersects(let left, let right):
            let type = left.type(in: sides[side]) ?? right.type(in: sides[side])
            return combine((left, type), (right, type), side) { intersects($0, $1) }
        case .subset(let left, let right):
            let type = left.type(in: sides[side]) ?? right.type(in: sides[side])
            return combine((left, type), (right, type), side) { subset($0, $1) }
        case .like(let operand, let pattern): return combine(operand, side) { like($0, pattern) }
        case .inNetworks(let operand, let networks):
            return combine(operand, side) { term in circuit.any(networks.map { within(term, $0) }) }
        }
    }

    private func combine(_ operand: Operand, _ side: Int, _ test: (Term) -> Signal) -> Signal {
        circuit.any(alternatives(operand, side).map { circuit.all([$0.guarded, test($0.term)]) })
    }

    private func combine(
        _ left: (operand: Operand, type: ValueType?), _ right: (operand: Operand, type: ValueType?), _ side: Int,
        _ test: (Term, Term) -> Signal
    ) -> Signal {
        var results: [Signal] = []
        let others = alternatives(right.operand, side, as: right.type)
        for one in alternatives(left.operand, side, as: left.type) {
            for two in others {
                let guarded = circuit.all([one.guarded, two.guarded])
                if guarded != .no { results.append(circuit.all([guarded, test(one.term, two.term)])) }
            }
        }
        return circuit.any(results)
    }

    // MARK: Operands

    private func alternatives(_ operand: Operand, _ side: Int, as type: ValueType? = nil) -> [Alternative] {
        let catalog = sides[side].policies.catalog
        switch operand {
        case .constant(let constant):
            guard let type = type ?? constant.naturalType, let value = Value(constant, type, catalog) else { return [] }
            return [Alternative(guarded: .yes, term: .value(value))]
        case .subject: return [Alternative(guarded: .yes, term: .variable(subject))]
        case .resource: return [Alternative(guarded: .yes, term: .variable(resource))]
        case .now: return [Alternative(guarded: .yes, term: .variable(now))]
        case .attribute(let reference): return alternatives(reference, standIn: nil, side)
        case .attributeOr(let reference, let standIn): return alternatives(reference, standIn: standIn, side)
        case .count(let reference):
            return alternatives(reference, standIn: nil, side).map { alternative in
                switch alternative.term {
                case .value(.set(let values)):
                    return Alternative(guarded: alternative.guarded, term: .value(.number(Int64(values.count))))
                case .variable(let set):
                    return Alternative(guarded: alternative.guarded, term: .variable(count(of: set)))
                default: return alternative
                }
            }
        case .sum(let terms): return sums(terms, side)
        }
    }

    private func sums(_ terms: [SumTerm], _ side: Int) -> [Alternative] {
        var partial: [(guarded: Signal, sum: LinearSum, constant: Int128)] = [(.yes, LinearSum(), 0)]
        for term in terms {
            let sign: Int128 = term.isNegative ? -1 : 1
            var next: [(guarded: Signal, sum: LinearSum, constant: Int128)] = []
            for alternative in alternatives(term.operand, side) {
                for so in partial {
                    var sum = so.sum
                    var constant = so.constant
                    switch alternative.term {
                    case .value(.number(let value)): constant += sign * Int128(value)
                    case .variable(let variable): sum.add(variable, sign)
                    default: continue
                    }
                    next.append((circuit.all([so.guarded, alternative.guarded]), sum, constant))
                }
            }
            partial = next.filter { $0.guarded != .no }
        }
        return partial.map { Alternative(guarded: $0.guarded, term: .sum($0.sum, $0.constant)) }
    }

    private func alternatives(
        _ reference: AttributeReference, standIn: Constant?, _ side: Int
    ) -> [Alternative] {
        guard let reading = reading(reference, side: side) else { return [] }
        if reading.isAlwaysThere { return [Alternative(guarded: .yes, term: .variable(reading.variables[0]))] }
        var alternatives: [Alternative] = []
        var absent = Signal.yes
        for variable in reading.variables {
            let isAbsent = signal(.absent(variable))
            alternatives.append(Alternative(guarded: circuit.all([absent, !isAbsent]), term: .variable(variable)))
            absent = circuit.all([absent, isAbsent])
        }
        if let constant = reading.attribute.defaultValue ?? standIn,
            let value = Value(constant, reading.attribute.type, sides[side].policies.catalog)
        {
            alternatives.append(Alternative(guarded: absent, term: .value(value)))
        }
        return alternatives
    }

    // MARK: Attributes

    /// The variables of an attribute; nil where the side's catalog has no such attribute.
    func reading(_ reference: AttributeReference, side: Int) -> AttributeReading? {
        guard let attribute = sides[side].declaration(reference) else { return nil }
        let declared = sides.compactMap { side in
            side.declaration(reference).map { (attribute: $0, catalog: side.policies.catalog) }
        }
        let sort = Sort(attribute.type, sides[side].policies.catalog)
        guard declared.allSatisfy({ Sort($0.attribute.type, $0.catalog) == sort }) else {
            noteIncompatible(name(of: reference))
            let source = variable(of: reference, .value, [attribute], version: side)
            return AttributeReading(variables: [source], attribute: attribute, isAlwaysThere: false)
        }
        let attributes = declared.map(\.attribute)
        let isOneSource = attributes.allSatisfy {
            $0.isStored == attribute.isStored && $0.isFromRequest == attribute.isFromRequest
                && $0.type.bounds == attribute.type.bounds
        }
        if isOneSource {
            let source = variable(of: reference, .value, attributes, version: nil)
            let defaults = declared.map { one in
                one.attribute.defaultValue.flatMap { Value($0, one.attribute.type, one.catalog) }
            }
            let isAlwaysThere = defaults.allSatisfy { $0 != nil && $0 == defaults[0] }
            return AttributeReading(variables: [source], attribute: attribute, isAlwaysThere: isAlwaysThere)
        }
        var variables: [Int] = []
        if attribute.isStored { variables.append(variable(of: reference, .stored, attributes, version: nil)) }
        if attribute.isFromRequest { variables.append(variable(of: reference, .given, attributes, version: nil)) }
        return AttributeReading(variables: variables, attribute: attribute, isAlwaysThere: false)
    }

    /// The value that a question gives has not the type that this side's catalog declares.
    func isMalformed(_ reading: AttributeReading) -> Signal {
        guard reading.attribute.isFromRequest, let index = reading.variables.last else { return .no }
        let isOther = signal(.malformed(index))
        let variable = variables[index]
        guard case .attribute(_, _, .given, _) = variable.key else { return isOther }
        return circuit.any([isOther, circuit.all([!signal(.absent(index)), !fits(index, reading.attribute.type)])])
    }

    /// The variable's value is one that this side's catalog allows.
    private func fits(_ index: Int, _ type: ValueType) -> Signal {
        let variable = variables[index]
        switch variable.sort {
        case .integer:
            guard let range = type.integerRange else { return .yes }
            return circuit.all([
                atMost(index, Int128(range.upperBound)), !atMost(index, Int128(range.lowerBound) - 1),
            ])
        case .enumeration:
            let known = type.caseNames
            return circuit.all(
                variable.cases.filter { !known.contains($0) }.map { !signal(.equals(index, .enumCase($0))) })
        case .set:
            guard let element = type.element else { return .yes }
            if let universe = variable.universe {
                let fitting = universe.filter { value in
                    switch value {
                    case .enumCase(let name): element.caseNames.contains(name)
                    case .number(let number): element.integerRange?.contains(number) ?? true
                    default: true
                    }
                }
                return circuit.all(universe.filter { !fitting.contains($0) }.map { !contains(index, $0) })
            }
            return element.integerRange == nil ? .yes : signal(.opaque("\(variable.name) with other bounds"))
        case .boolean, .decimal, .instant, .duration, .text, .address, .reference: return .yes
        }
    }

    func name(of reference: AttributeReference) -> String {
        "\(reference.scope == .subject ? cell.subject : "\(reference.scope)").\(reference.name)"
    }

    private func variable(
        of reference: AttributeReference, _ source: Variable.Source, _ attributes: [Attribute], version: Int?
    ) -> Int {
        let key = Variable.Key.attribute(reference.scope, reference.name, source, version: version)
        let place = ["", "stored ", "given "][source == .value ? 0 : source == .stored ? 1 : 2]
        let catalog = sides[version ?? 0].policies.catalog
        var made = Variable(
            key: key, name: place + name(of: reference), sort: Sort(attributes[0].type, catalog))
        // The store only holds what fits every version; a question can say anything.
        let fitsAll = source == .stored
        bound(&made, attributes.map(\.type), fitsAll: fitsAll)
        if case .set = made.sort {
            made.universe = universe(attributes.map(\.type), fitsAll: fitsAll)
        }
        return self.variable(made)
    }

    private func bound(_ variable: inout Variable, _ types: [ValueType], fitsAll: Bool) {
        switch variable.sort {
        case .instant:
            variable.low = Self.attributeInstants.lowerBound
            variable.high = Self.attributeInstants.upperBound
        case .duration:
            variable.low = Self.durations.lowerBound
            variable.high = Self.durations.upperBound
        case .integer, .decimal:
            let ranges = types.map { $0.integerRange ?? Int64.min...Int64.max }
            let lows = ranges.map { Int128($0.lowerBound) }
            let highs = ranges.map { Int128($0.upperBound) }
            variable.low = (fitsAll ? lows.max() : lows.min()) ?? Int128(Int64.min)
            variable.high = (fitsAll ? highs.min() : highs.max()) ?? Int128(Int64.max)
        case .enumeration:
            let lists = types.map { $0.caseNames }
            for name in lists.joined() where !variable.cases.contains(name) {
                if !fitsAll || lists.allSatisfy({ $0.contains(name) }) { variable.cases.append(name) }
            }
            variable.isOrdered = types.allSatisfy(\.isOrderedEnumeration)
        case .address:
            variable.low = Int128.min
            variable.high = Int128.max
        case .boolean, .text, .reference, .set: break
        }
    }

    /// All values that an element of a set can have, when they are few.
    private func universe(_ types: [ValueType], fitsAll: Bool) -> [Value]? {
        let elements = types.compactMap { type -> ValueType? in
            if case .set(let element) = type { return element }
            return nil
        }
        switch elements.first {
        case .boolean: return [.boolean(false), .boolean(true)]
        case .enumeration:
            var names: [Text] = []
            let lists = elements.map(\.caseNames)
            for name in lists.joined() where !names.contains(name) {
                if !fitsAll || lists.allSatisfy({ $0.contains(name) }) { names.append(name) }
            }
            return names.map { .enumCase($0) }
        case .integer:
            let ranges = elements.map { $0.integerRange ?? Int64.min...Int64.max }
            let low = fitsAll ? ranges.map(\.lowerBound).max() : ranges.map(\.lowerBound).min()
            let high = fitsAll ? ranges.map(\.upperBound).min() : ranges.map(\.upperBound).max()
            guard let low, let high, low <= high, Int128(high) - Int128(low) < 64 else { return nil }
            return (low...high).map { .number($0) }
        default: return nil
        }
    }

    private func count(of set: Int) -> Int {
        let variable = variables[set]
        let most = variable.universe.map { Int128($0.count) } ?? Int128(1) << 40
        return self.variable(
            Variable(key: .count(of: set), name: "count(\(variable.name))", sort: .integer, low: 0, high: most))
    }

    // MARK: Comparisons

    private func compare(
        _ left: Term, _ comparison: Comparison, _ right: Term, _ type: ValueType?, _ test: Test
    ) -> Signal {
        if let one = number(left), let two = number(right) { return compare(one, comparison, two, test) }
        switch comparison {
        case .equal: return equal(left, right)
        case .notEqual: return !equal(left, right)
        default: break
        }
        if let names = type?.caseNames, !names.isEmpty, let one = cases(left, names), let two = cases(right, names) {
            var possible: [Signal] = []
            for (rank, here) in one {
                for (other, there) in two where comparison.holds(rank, other) {
                    possible.append(circuit.all([here, there]))
                }
            }
            return circuit.any(possible)
        }
        return signal(.opaque("\(test)"))
    }

    private func compare(
        _ left: (LinearSum, Int128), _ comparison: Comparison, _ right: (LinearSum, Int128), _ test: Test
    ) -> Signal {
        var sum = left.0
        for term in right.0.terms { sum.add(term.variable, -term.factor) }
        guard staysInTime(left), staysInTime(right) else { return signal(.opaque("\(test)")) }
        let bound = right.1 - left.1
        switch comparison {
        case .lessOrEqual: return atMost(sum, bound)
        case .less: return atMost(sum, bound - 1)
        case .greater: return !atMost(sum, bound)
        case .greaterOrEqual: return !atMost(sum, bound - 1)
        case .equal: return circuit.all([atMost(sum, bound), !atMost(sum, bound - 1)])
        case .notEqual: return !circuit.all([atMost(sum, bound), !atMost(sum, bound - 1)])
        }
    }

    /// True when no sum of possible values passes the ends of time, where the engine's sums stop.
    private func staysInTime(_ side: (LinearSum, Int128)) -> Bool {
        if side.0.terms.count < 2 && side.1 == 0 { return true }
        var most = Int128(side.1.magnitude)
        for term in side.0.terms {
            let variable = variables[term.variable]
            most += Int128(term.factor.magnitude) * max(abs(variable.low), abs(variable.high))
        }
        return most < Int128(Int64.max)
    }

    private func number(_ term: Term) -> (LinearSum, Int128)? {
        switch term {
        case .value(.number(let value)): return (LinearSum(), Int128(value))
        case .variable(let index) where variables[index].sort.isNumber:
            var sum = LinearSum()
            sum.add(index, 1)
            return (sum, 0)
        case .sum(let sum, let constant): return (sum, constant)
        default: return nil
        }
    }

    /// The cases an enumeration can be, by their rank.
    private func cases(_ term: Term, _ names: [Text]) -> [(rank: Int, signal: Signal)]? {
        switch term {
        case .variable(let index) where variables[index].sort == .enumeration:
            return names.enumerated().map { ($0.offset, equals(index, .enumCase($0.element))) }
        case .value(.enumCase(let name)): return names.firstIndex(of: name).map { [($0, .yes)] }
        default: return nil
        }
    }

    private func equal(_ left: Term, _ right: Term) -> Signal {
        switch (left, right) {
        case (.value(let one), .value(let two)): Signal(one == two)
        case (.variable(let index), .value(let value)), (.value(let value), .variable(let index)):
            equals(index, value)
        case (.variable(let one), .variable(let two)): same(one, two)
        default: signal(.opaque("a sum where a value was expected"))
        }
    }

    /// A variable has a value.
    func equals(_ index: Int, _ value: Value) -> Signal {
        let variable = variables[index]
        switch (variable.sort, value) {
        case (.boolean, .boolean(let truth)): return truth ? signal(.isTrue(index)) : !signal(.isTrue(index))
        case (.address, .address(let address)): return equals(index, number: address.ordinal)
        case (_, .number(let number)) where variable.sort.isNumber: return equals(index, number: Int128(number))
        case (.enumeration, .enumCase(let name)):
            return variable.cases.contains(name) ? signal(.equals(index, value)) : .no
        case (.text, .text): return signal(.equals(index, value))
        case (.reference(let type), .reference(let other, _)):
            return type == other ? signal(.equals(index, value)) : .no
        default: return .no
        }
    }

    /// Two variables have one value.
    func same(_ left: Int, _ right: Int) -> Signal {
        if left == right { return .yes }
        let sort = variables[left].sort
        guard sort == variables[right].sort else { return .no }
        switch sort {
        case .boolean: return circuit.same(signal(.isTrue(left)), signal(.isTrue(right)))
        case .enumeration:
            return circuit.any(
                variables[left].cases.map { name in
                    circuit.all([equals(left, .enumCase(name)), equals(right, .enumCase(name))])
                })
        case .integer, .decimal, .instant, .duration:
            var sum = LinearSum()
            sum.add(left, 1)
            sum.add(right, -1)
            return circuit.all([atMost(sum, 0), !atMost(sum, -1)])
        case .text, .address, .reference: return signal(.same(min(left, right), max(left, right)))
        case .set: return signal(.opaque("two sets compared"))
        }
    }

    // MARK: Sets

    private func contains(_ set: Term, _ element: Term) -> Signal {
        switch (set, element) {
        case (.value(.set(let values)), _): return circuit.any(values.map { equal(.value($0), element) })
        case (.variable(let set), .value(let value)): return contains(set, value)
        case (.variable(let set), .variable(let element)): return contains(set, variable: element)
        default: return signal(.opaque("a sum where a value was expected"))
        }
    }

    func contains(_ set: Int, _ value: Value) -> Signal {
        if let universe = variables[set].universe, !universe.contains(value) { return .no }
        return signal(.contains(set, value))
    }

    func contains(_ set: Int, variable element: Int) -> Signal {
        if let universe = variables[set].universe {
            return circuit.any(universe.map { circuit.all([equals(element, $0), contains(set, $0)]) })
        }
        return signal(.containsVariable(set, element))
    }

    private func intersects(_ left: Term, _ right: Term) -> Signal {
        switch (left, right) {
        case (.value(.set(let one)), .value(.set(let two))): return Signal(one.contains { two.contains($0) })
        case (.variable(let set), .value(.set(let values))), (.value(.set(let values)), .variable(let set)):
            return circuit.any(values.map { contains(set, $0) })
        case (.variable(let one), .variable(let two)):
            if let universe = variables[one].universe ?? variables[two].universe {
                return circuit.any(universe.map { circuit.all([contains(one, $0), contains(two, $0)]) })
            }
            return signal(.intersects(min(one, two), max(one, two)))
        default: return signal(.opaque("a sum where a set was expected"))
        }
    }

    private func subset(_ left: Term, _ right: Term) -> Signal {
        switch (left, right) {
        case (.value(.set(let one)), .value(.set(let two))): return Signal(one.allSatisfy { two.contains($0) })
        case (.value(.set(let values)), .variable(let set)): return circuit.all(values.map { contains(set, $0) })
        case (.variable(let set), .value(.set(let values))):
            if let universe = variables[set].universe {
                return circuit.all(universe.filter { !values.contains($0) }.map { !contains(set, $0) })
            }
            return signal(.onlyOf(set, values))
        case (.variable(let one), .variable(let two)):
            if one == two { return .yes }
            if let universe = variables[one].universe {
                return circuit.all(universe.map { circuit.implies(contains(one, $0), contains(two, $0)) })
            }
            return signal(.subset(one, of: two))
        default: return signal(.opaque("a sum where a set was expected"))
        }
    }

    // MARK: Texts and networks

    private func like(_ term: Term, _ pattern: Pattern) -> Signal {
        let parts = TextPattern.normalized(pattern.parts.map { Text($0) })
        switch term {
        case .value(.text(let text)): return Signal(TextPattern(parts).matches(text))
        case .variable(let index) where parts.count == 1: return equals(index, .text(parts[0]))
        case .variable(let index):
            return parts.allSatisfy(\.bytes.isEmpty) ? .yes : signal(.like(index, parts))
        default: return .no
        }
    }

    private func within(_ term: Term, _ network: IPNetwork) -> Signal {
        switch term {
        case .value(.address(let address)): return Signal(network.contains(address))
        case .variable(let index):
            let low = network.address.ordinal
            let mask = IPNetwork.mask(network.prefix)
            let last = IPAddress(
                high: network.address.high | ~mask.high, low: network.address.low | ~mask.low
            ).ordinal
            let below: Signal = low == Int128.min ? .no : atMost(index, low - 1)
            return circuit.all([atMost(index, last), !below])
        default: return .no
        }
    }
}

extension Comparison {
    func holds(_ left: Int, _ right: Int) -> Bool {
        switch self {
        case .equal: left == right
        case .notEqual: left != right
        case .less: left < right
        case .lessOrEqual: left <= right
        case .greater: left > right
        case .greaterOrEqual: left >= right
        }
    }
}

extension Operand {
    /// The type of its values; nil for constants, which take that of what they are compared with.
    func type(in restriction: Restriction) -> ValueType? {
        switch self {
        case .constant: nil
        case .attribute(let reference), .attributeOr(let reference, _):
            restriction.declaration(reference)?.type ?? reference.type
        case .subject: .reference(entity: restriction.subjectType)
        case .resource: .reference(entity: restriction.resourceType)
        case .now, .sum: .datetime
        case .count: .integer(range: nil)
        }
    }
}

extension ValueType {
    /// What bounds the values beside their sort: the range of integers, the cases of enumerations.
    var bounds: [String] {
        switch self {
        case .integer(let range): range.map { ["\($0.lowerBound)", "\($0.upperBound)"] } ?? []
        case .enumeration(let type): ["\(type.ordered)"] + type.cases
        case .set(let element): element.bounds
        default: []
        }
    }

    var element: ValueType? {
        if case .set(let element) = self { return element }
        return nil
    }

    var integerRange: ClosedRange<Int64>? {
        if case .integer(let range) = self { return range }
        return nil
    }

    /// Names of an enumeration's cases; empty for other types.
    var caseNames: [Text] {
        if case .enumeration(let type) = self { return type.cases.map { Text($0) } }
        return []
    }

    var isOrderedEnumeration: Bool {
        if case .enumeration(let type) = self { return type.ordered }
        return false
    }
}

extension Constant {
    /// The type that a constant has by itself; nil where its text alone does not tell.
    var naturalType: ValueType? {
        switch self {
        case .boolean: .boolean
        case .integer: .integer(range: nil)
        case .decimal: .decimal
        case .string: .string
        case .enumeration: nil
        case .datetime: .datetime
        case .duration: .duration
        case .address: .address
        case .reference(let entity, _): .reference(entity: entity)
        case .set(let values): values.first.map { $0.naturalType.map { .set(of: $0) } } ?? .set(of: .string)
        }
    }
}
