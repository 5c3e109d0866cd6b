// A situation at hand as a point of a space: what each atom is in it.

import DecisionEngine
import PolicyLanguage

/// The truths of one situation, as one side sees it.
struct SituationTruths {
    private let space: RequestSpace
    private let situation: Situation
    private let side: Int
    private var restriction: Restriction { space.sides[side] }

    private enum State {
        case absent
        case malformed
        case value(Value)
    }

    init(_ space: RequestSpace, _ situation: Situation, side: Int) {
        self.space = space
        self.situation = situation
        self.side = side
    }

    /// The truth of each formula.
    func truths(_ signals: [Signal]) -> [Bool] {
        var memo: [Int: Bool] = [:]
        return signals.map { signal in
            space.circuit.evaluate(signal, &memo) { node in space.atoms[node].map { holds($0) } ?? false }
        }
    }

    // MARK: Values

    private func state(_ index: Int) -> State {
        let variable = space.variables[index]
        switch variable.key {
        case .subject: return .value(.reference(type: Text(space.cell.subject), id: Text(situation.subjectID)))
        case .resource: return .value(.reference(type: Text(space.cell.resource), id: Text(situation.resourceID)))
        case .now: return .value(.number(situation.now))
        case .age:
            guard let since = situation.session?.authenticatedAt else { return .absent }
            let (age, overflowed) = situation.now.subtractingReportingOverflow(since)
            return overflowed ? .absent : .value(.number(age))
        case .count(of: let set):
            guard case .set(let values) = value(set) else { return .absent }
            return .value(.number(Int64(Set(values).count)))
        case .attribute(let scope, let name, let source, _): return state(scope, name, source)
        }
    }

    private func state(_ scope: AttributeScope, _ name: String, _ source: Variable.Source) -> State {
        let reference = AttributeReference(scope: scope, name: name, type: .boolean)
        guard let attribute = restriction.declaration(reference) else { return .absent }
        let catalog = restriction.policies.catalog
        if attribute.isStored, source != .given, let stored = situation.stored[scope]?[name],
            stored.validUntil > situation.now, let value = Value(stored.value, attribute.type, catalog)
        {
            return .value(value)
        }
        if attribute.isFromRequest, source != .stored {
            switch situation.given[scope]?[name] {
            case .malformed: return .malformed
            case .value(let given): if let value = Value(given, attribute.type, catalog) { return .value(value) }
            case nil: break
            }
        }
        return .absent
    }

    /// The variable's value; an attribute that is always there has its default.
    private func value(_ index: Int) -> Value? {
        switch state(index) {
        case .value(let value): return value
        case .absent, .malformed:
            guard case .attribute(let scope, let name, .value, _) = space.variables[index].key,
                let attribute = restriction.declaration(AttributeReference(scope: scope, name: name, type: .boolean)),
                let constant = attribute.defaultValue
            else { return nil }
            return Value(constant, attribute.type, restriction.policies.catalog)
        }
    }

    private func number(_ index: Int) -> Int128? {
        switch value(index) {
        case .number(let number): Int128(number)
        case .address(let address): address.ordinal
        default: nil
        }
    }

    private func elements(_ index: Int) -> [Value] {
        if case .set(let values) = value(index) { return values }
        return []
    }

    // MARK: Atoms

    private func holds(_ atom: Atom) -> Bool {
        switch atom {
        case .absent(let index):
            if case .absent = state(index) { return true }
            return false
        case .malformed(let index):
            if case .malformed = state(index) { return true }
            return false
        case .isTrue(let index): return value(index) == .boolean(true)
        case .atMost(let index, let bound): return number(index).map { $0 <= bound } ?? false
        case .linear(let sum, let bound):
            var total: Int128 = 0
            for term in sum.terms {
                guard let number = number(term.variable) else { return false }
                total += term.factor * number
            }
            return total <= bound
        case .equals(let index, let constant): return value(index) == constant
        case .like(let index, let parts):
            if case .text(let text) = value(index) { return TextPattern(parts).matches(text) }
            return false
        case .same(let one, let two): return value(one).map { $0 == value(two) } ?? false
        case .contains(let set, let constant): return elements(set).contains(constant)
        case .containsVariable(let set, let element):
            return value(element).map { elements(set).contains($0) } ?? false
        case .intersects(let one, let two): return !Set(elements(one)).isDisjoint(with: elements(two))
        case .subset(let one, of: let two): return Set(elements(one)).isSubset(of: elements(two))
        case .onlyOf(let set, let values): return Set(elements(set)).isSubset(of: values)
        case .group(let name):
            return situation.groups.contains { Text(restriction.policies.groups[$0]) == name }
        case .granted(let role): return situation.granted.contains { Text($0.key) == role && $0.value > situation.now }
        case .container(let type, let id):
            return situation.containers.contains { index in
                let container = restriction.policies.containers[index]
                return Text(container.id) == id
                    && Text(restriction.policies.catalog.entities[container.type].name) == type
            }
        case .schedule(let index): return space.schedules[index].state(at: situation.now).isInside
        case .assurance(let index):
            let assurance = restriction.policies.catalog.assurance
            let levels = situation.session?.levels ?? 0
            return space.assuranceClasses[index].levels[side] == (assurance.implied.firstIndex(of: levels) ?? -1)
        case .method(let bit): return (situation.session?.methods ?? 0) >> UInt32(bit) & 1 == 1
        case .unknownSubject: return !situation.isSubjectKnown
        case .containsFresh, .opaque: return false
        }
    }
}
