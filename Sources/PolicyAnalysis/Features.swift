// What a region is described by: the roles, demands and tests of the policies in their authors' words; and, where those
// do not suffice, the atoms beneath them.

import DecisionEngine
package import PolicyLanguage

/// A formula with words for it and for its opposite.
struct Feature {
    var signal: Signal
    var whenTrue: String
    var whenFalse: String
    /// The one side that has it; nil for what both have.
    var onlySide: Int?

    func text(_ truth: Bool) -> String { truth ? whenTrue : whenFalse }
}

extension RequestSpace {
    /// The features of what all sides say, those that read best first.
    func features() -> [Feature] {
        var features: [Feature] = []
        var places: [Signal: Int] = [:]
        func add(_ signal: Signal, _ whenTrue: String, _ whenFalse: String, side: Int? = nil) {
            if signal.isConstant { return }
            if let place = places[signal] {
                if features[place].onlySide != side { features[place].onlySide = nil }
                return
            }
            places[signal] = features.count
            places[!signal] = features.count
            features.append(Feature(signal: signal, whenTrue: whenTrue, whenFalse: whenFalse, onlySide: side))
        }
        for (name, signal) in roleFeatures { add(signal, "role \(name)", "not role \(name)") }
        for side in sides.indices {
            for rule in sides[side].rules where rule.demand != .nothing {
                let demand = DemandByName(rule.demand, level: -1, sides[side].policies.catalog.assurance)
                let text = demand.asked(sides[side].policies.catalog.assurance)
                add(
                    isMet(rule.demand, side: side), "signed in with \(text)", "not signed in with \(text)", side: side)
            }
        }
        for side in sides.indices {
            let text = ConditionText(sides[side].policies, subjectType: sides[side].subjectType)
            forEachTest(side) { test in
                if case .role = test { return }
                add(
                    translate(.test(test, .none), side: side), text.write(test, isNegated: false),
                    text.write(test, isNegated: true), side: side)
            }
        }
        for (node, atom) in atoms.sorted(by: { $0.key < $1.key }) {
            if case .opaque = atom { continue }
            let (whenTrue, whenFalse) = text(atom)
            if places[Signal(code: Int32(node) << 1)] != nil { continue }
            add(Signal(code: Int32(node) << 1), whenTrue, whenFalse)
        }
        return features
    }

    private func forEachTest(_ side: Int, _ body: (Test) -> Void) {
        var roles = Set<Int>()
        func walk(_ condition: Condition) {
            condition.forEachTest { test in
                body(test)
                if case .role(let role) = test, roles.insert(role).inserted { walk(sides[side].roles[role]) }
            }
        }
        for rule in sides[side].rules { walk(rule.condition) }
        for obligation in sides[side].obligations { walk(obligation.condition) }
    }

    // MARK: Atoms in words

    private func text(_ atom: Atom) -> (whenTrue: String, whenFalse: String) {
        switch atom {
        case .absent(let variable):
            let name = variables[variable].name
            if variables[variable].key == .age { return ("without a time of sign-in", "with a time of sign-in") }
            return ("without \(name)", "has \(name)")
        case .malformed(let variable):
            return ("\(variables[variable].name) has a wrong type", "\(variables[variable].name) has its type")
        case .isTrue(let variable): return (variables[variable].name, "not \(variables[variable].name)")
        case .atMost(let variable, let bound):
            let name = variables[variable].name
            return ("\(name) <= \(number(variable, bound))", "\(name) > \(number(variable, bound))")
        case .linear(let sum, let bound): return ("\(self.sum(sum)) <= \(bound)", "\(self.sum(sum)) > \(bound)")
        case .equals(let variable, let value):
            let name = variables[variable].name
            return ("\(name) == \(self.value(value))", "\(name) != \(self.value(value))")
        case .like(let variable, let parts):
            let pattern = ConstantText.quoted(parts.map(\.string).joined(separator: "*"))
            return ("\(variables[variable].name) like \(pattern)", "not \(variables[variable].name) like \(pattern)")
        case .same(let one, let two):
            return (
                "\(variables[one].name) == \(variables[two].name)", "\(variables[one].name) != \(variables[two].name)"
            )
        case .contains(let set, let value):
            let text = "\(variables[set].name) contains \(self.value(value))"
            return (text, "not \(text)")
        case .containsVariable(let set, let element):
            let text = "\(variables[set].name) contains \(variables[element].name)"
            return (text, "not \(text)")
        case .containsFresh(let set, _):
            let text = "\(variables[set].name) contains something else"
            return (text, "not \(text)")
        case .intersects(let one, let two):
            let text = "\(variables[one].name) intersects \(variables[two].name)"
            return (text, "not \(text)")
        case .subset(let one, of: let two):
            let text = "\(variables[one].name) subset of \(variables[two].name)"
            return (text, "not \(text)")
        case .onlyOf(let set, let values):
            let text = "\(variables[set].name) subset of [\(values.map { value($0) }.joined(separator: ", "))]"
            return (text, "not \(text)")
        case .group(let name):
            let group = ConstantText.quoted(name.string)
            return ("\(cell.subject) in group \(group)", "\(cell.subject) not in group \(group)")
        case .granted(let role): return ("granted \(role.string)", "not granted \(role.string)")
        case .container(let type, let id):
            let place = "in \(type) \(ConstantText.quoted(id.string))"
            return ("resource \(place)", "resource not \(place)")
        case .schedule(let index):
            let text = ConstantText.quoted(schedules[index].text)
            return ("now in \(text)", "now not in \(text)")
        case .assurance(let index):
            let name = assuranceClasses[index].name
            return ("session assurance \(name)", "session assurance other than \(name)")
        case .method(let bit):
            let name = AuthenticationMethods.list(1 << UInt32(bit)).joined()
            return ("session used \(name)", "session did not use \(name)")
        case .unknownSubject:
            return ("the store does not know the \(cell.subject)", "the store knows the \(cell.subject)")
        case .opaque(let text): return (text, "not \(text)")
        }
    }

    private func number(_ variable: Int, _ value: Int128) -> String {
        switch variables[variable].sort {
        case .address: return IPAddress(ordinal: value).description
        case .decimal: return Int64(exactly: value).map(Decimal6.format) ?? "\(value)"
        case .instant: return Int64(exactly: value).map(Instant.format) ?? "\(value)"
        case .duration: return Int64(exactly: value).map(DurationText.format) ?? "\(value)"
        default: return "\(value)"
        }
    }

    private func sum(_ sum: LinearSum) -> String {
        var text = ""
        for (index, term) in sum.terms.enumerated() {
            let sign = term.factor < 0 ? (index == 0 ? "-" : " - ") : (index == 0 ? "" : " + ")
            let factor = term.factor.magnitude == 1 ? "" : "\(term.factor.magnitude) "
            text += sign + factor + variables[term.variable].name
        }
        return text
    }

    private func value(_ value: Value) -> String {
        switch value {
        case .boolean(let truth): truth ? "true" : "false"
        case .number(let number): "\(number)"
        case .text(let text): ConstantText.quoted(text.string)
        case .enumCase(let name): name.string
        case .address(let address): address.description
        case .reference(_, let id): ConstantText.quoted(id.string)
        case .set(let values): "[\(values.map { self.value($0) }.joined(separator: ", "))]"
        }
    }
}

extension DemandByName {
    /// The demand in words, by the levels that are asked for instead of the one that proves them.
    package func asked(_ assurance: Assurance) -> String {
        var demand = self
        // Of the levels asked for, those that no other of them implies.
        let indices = levels.compactMap { assurance.level(named: $0) }
        let top = indices.filter { one in
            !indices.contains { $0 != one && assurance.implied[$0] >> UInt64(one) & 1 == 1 }
        }
        demand.level = top.isEmpty ? nil : top.map { assurance.levels[$0] }.joined(separator: " and ")
        return demand.text
    }
}

extension Assurance {
    /// What a rule demands, in words: `mfa within 15m`.
    package func text(_ demand: Demand) -> String { DemandByName(demand, level: -1, self).asked(self) }
}
