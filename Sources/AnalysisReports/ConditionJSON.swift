// Conditions as trees of JSON, for programs that translate them into a query language of their own.

import PolicyAnalysis
package import PolicyLanguage
package import StrictJSON

/// Writes conditions as JSON: `{"all":[…]}`, `{"any":[…]}`, `{"not":…}`, `true`, `false`, or a test with its operands.
package struct ConditionJSON {
    private let policies: CheckedPolicies

    package init(_ policies: CheckedPolicies) { self.policies = policies }

    package func write(_ condition: Condition) -> JSONValue {
        switch condition {
        case .constant(let truth): .bool(truth)
        case .all(let parts): .object(["all": .array(parts.map(write))])
        case .any(let parts): .object(["any": .array(parts.map(write))])
        case .not(let inner): .object(["not": write(inner)])
        case .test(let test, _): write(test)
        }
    }

    /// A value of an attribute of this type, written as in a condition.
    package func write(_ constant: Constant, type: ValueType) -> JSONValue {
        value(constant, type.enumeration)
    }

    private func write(_ test: Test) -> JSONValue {
        switch test {
        case .compare(let left, let comparison, let right):
            let enumeration = enumeration(left) ?? enumeration(right)
            return .object([
                "test": .string("compare"), "operator": .string(comparison.symbol), "left": write(left, enumeration),
                "right": write(right, enumeration),
            ])
        case .oneOf(let operand, let constants):
            return .object([
                "test": .string("in"), "value": write(operand),
                "list": .array(constants.map { value($0, enumeration(operand)) }),
            ])
        case .contains(let set, let element):
            let enumeration = enumeration(set) ?? enumeration(element)
            return .object([
                "test": .string("contains"), "set": write(set, enumeration), "element": write(element, enumeration),
            ])
        case .intersects(let left, let right): return pair("intersects", left, right)
        case .subset(let left, let right): return pair("subset", left, right)
        case .like(let operand, let pattern):
            return .object([
                "test": .string("like"), "value": write(operand),
                "pattern": .string(pattern.parts.joined(separator: "*")),
            ])
        case .inNetworks(let operand, let networks):
            return .object([
                "test": .string("in_networks"), "value": write(operand),
                "networks": .array(networks.map { .string($0.description) }),
            ])
        case .group(let group):
            return .object(["test": .string("in_group"), "group": .string(policies.groups[group])])
        case .container(let index):
            let container = policies.containers[index]
            return .object([
                "test": .string("in_container"),
                "type": .string(policies.catalog.entities[container.type].name), "id": .string(container.id),
            ])
        case .schedule(let schedule):
            return .object(["test": .string("in_schedule"), "schedule": .string(policies.schedules[schedule].text)])
        case .role(let role): return .object(["test": .string("role"), "role": .string(policies.roles[role].name)])
        case .granted(let role):
            return .object(["test": .string("granted"), "role": .string(policies.roles[role].name)])
        case .has(let reference): return .object(["test": .string("has"), "attribute": .string(name(reference))])
        }
    }

    private func pair(_ test: String, _ left: Operand, _ right: Operand) -> JSONValue {
        let enumeration = enumeration(left) ?? enumeration(right)
        return .object([
            "test": .string(test), "left": write(left, enumeration), "right": write(right, enumeration),
        ])
    }

    private func write(_ operand: Operand, _ enumeration: EnumerationType? = nil) -> JSONValue {
        switch operand {
        case .constant(let constant): return .object(["value": value(constant, enumeration)])
        case .attribute(let reference):
            return .object(["attribute": .string(name(reference)), "type": .string(type(reference.type))])
        case .attributeOr(let reference, let standIn):
            return .object([
                "attribute": .string(name(reference)), "type": .string(type(reference.type)),
                "or": value(standIn, reference.type.enumeration),
            ])
        case .subject: return .object(["id_of": .string("subject")])
        case .resource: return .object(["id_of": .string("resource")])
        case .now: return .object(["now": .bool(true)])
        case .count(let reference): return .object(["count": .string(name(reference))])
        case .sum(let terms):
            return .object([
                "sum": .array(
                    terms.map { .object(["sign": .string($0.isNegative ? "-" : "+"), "term": write($0.operand)]) })
            ])
        }
    }

    private func name(_ reference: AttributeReference) -> String { "\(reference.scope).\(reference.name)" }

    private func type(_ type: ValueType) -> String { type.spelling { policies.catalog.entities[$0].name } }

    private func enumeration(_ operand: Operand) -> EnumerationType? {
        switch operand {
        case .attribute(let reference), .attributeOr(let reference, _): reference.type.enumeration
        default: nil
        }
    }

    /// A constant: numbers as numbers, durations as milliseconds, the rest as in policies.
    private func value(_ constant: Constant, _ enumeration: EnumerationType?) -> JSONValue {
        switch constant {
        case .boolean(let truth): return .bool(truth)
        case .integer(let value), .duration(let value): return .integer(value)
        case .decimal(let value): return .number(Decimal6.format(value))
        case .string(let text), .reference(_, let text): return .string(text)
        case .enumeration, .datetime, .address: return .string(ConstantText.write(constant, enumeration))
        case .set(let values): return .array(values.map { value($0, enumeration) })
        }
    }
}
