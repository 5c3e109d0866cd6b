// Conditions as an author would write them.

package import PolicyLanguage

/// Writes conditions in the policy language.
package struct ConditionText {
    private let policies: CheckedPolicies
    /// What the subject is called: its type, or `subject` where there are several.
    private let subject: String
    /// Conditions that stand for roles; nil leaves the roles' names.
    private let roles: [Condition]?

    /// - Parameter subjectType: the type whose attributes are written as `user.…`; nil for `subject.…`.
    package init(_ policies: CheckedPolicies, subjectType: Int?, inlining roles: [Condition]? = nil) {
        self.policies = policies
        subject = subjectType.map { policies.catalog.entities[$0].name } ?? "subject"
        self.roles = roles
    }

    private enum Binding: Int {
        case any, all, not
    }

    /// The condition's text on one line.
    package func write(_ condition: Condition) -> String { write(condition, .any) }

    private func write(_ condition: Condition, _ binding: Binding) -> String {
        switch condition {
        case .constant(let truth): return truth ? "true" : "false"
        case .all(let parts):
            let texts = conjuncts(parts)
            let text = texts.joined(separator: " and ")
            return binding == .not && texts.count > 1 ? "(\(text))" : text
        case .any(let parts):
            let text = parts.map { write($0, .all) }.joined(separator: " or ")
            return binding != .any && parts.count > 1 ? "(\(text))" : text
        case .not(.test(let test, _)): return write(test, isNegated: true, binding)
        case .not(let inner): return "not \(inner.isCompound ? "(\(write(inner, .any)))" : write(inner, .not))"
        case .test(let test, _): return write(test, isNegated: false, binding)
        }
    }

    /// The parts of a conjunction, each in words; those of `x in 1...5` as one.
    package func conjuncts(_ parts: [Condition]) -> [String] {
        var texts: [String] = []
        var index = 0
        while index < parts.count {
            if index + 1 < parts.count, let span = span(parts[index], parts[index + 1]) {
                texts.append(span)
                index += 2
            } else if case .all(let inner) = parts[index] {
                texts += conjuncts(inner)
                index += 1
            } else {
                texts.append(write(parts[index], .not))
                index += 1
            }
        }
        return texts
    }

    /// `x in 1...5`, which is two comparisons from one place.
    private func span(_ first: Condition, _ second: Condition) -> String? {
        guard case .test(.compare(let left, .greaterOrEqual, let low), let one) = first,
            case .test(.compare(let same, .lessOrEqual, let high), let two) = second, left == same, one == two,
            one.file >= 0, !left.isSum, !low.isSum, !high.isSum
        else { return nil }
        return "\(write(left)) in \(write(low, left.enumeration))...\(write(high, left.enumeration))"
    }

    private func write(_ test: Test, isNegated: Bool, _ binding: Binding) -> String {
        switch test {
        case .role(let role):
            if let roles {
                return write(isNegated ? .not(roles[role]) : roles[role], binding)
            }
            return (isNegated ? "not " : "") + "role \(policies.roles[role].name)"
        default: return write(test, isNegated: isNegated)
        }
    }

    /// One test, or its opposite.
    package func write(_ test: Test, isNegated: Bool) -> String {
        let not = isNegated ? "not " : ""
        switch test {
        case .compare(let left, let comparison, let right):
            // Without a value no comparison holds, nor its opposite.
            let canBeAbsent = isNegated && (canBeAbsent(left) || canBeAbsent(right))
            let before = canBeAbsent ? "not " : ""
            let comparison = isNegated && !canBeAbsent ? comparison.opposite : comparison
            if case .constant(.boolean(let truth)) = right, comparison == .equal || comparison == .notEqual {
                return before + (truth == (comparison == .equal) ? "" : "not ") + write(left)
            }
            return before + "\(write(left, right.enumeration)) \(comparison.symbol) \(write(right, left.enumeration))"
        case .oneOf(let operand, let constants):
            let list = constants.map { constant($0, operand.enumeration) }.joined(separator: ", ")
            return "\(write(operand)) \(not)in [\(list)]"
        case .contains(let set, let element):
            if case .constant = set { return "\(write(element)) \(not)in \(write(set, element.enumeration))" }
            return "\(not)\(write(set)) contains \(write(element, set.enumeration))"
        case .intersects(let left, let right):
            return "\(not)\(write(left, right.enumeration)) intersects \(write(right, left.enumeration))"
        case .subset(let left, let right):
            return "\(not)\(write(left, right.enumeration)) subset of \(write(right, left.enumeration))"
        case .like(let operand, let pattern):
            return "\(not)\(write(operand)) like \(quoted(pattern.parts.joined(separator: "*")))"
        case .inNetworks(let operand, let networks):
            let list = networks.map(\.description).joined(separator: ", ")
            return "\(write(operand)) \(not)in \(networks.count == 1 ? list : "[\(list)]")"
        case .group(let group): return "\(subject) \(not)in group \(quoted(policies.groups[group]))"
        case .container(let container):
            let reference = policies.containers[container]
            return "resource \(not)in \(policies.catalog.entities[reference.type].name) \(quoted(reference.id))"
        case .schedule(let schedule): return "now \(not)in \(quoted(policies.schedules[schedule].text))"
        case .role(let role): return "\(not)role \(policies.roles[role].name)"
        case .granted(let role): return "\(not)granted \(policies.roles[role].name)"
        case .has(let reference): return "\(not)has \(name(reference))"
        }
    }

    /// The operand's text.
    /// - Parameter enumeration: the cases that a constant is one of.
    func write(_ operand: Operand, _ enumeration: EnumerationType? = nil) -> String {
        switch operand {
        case .constant(let constant): return self.constant(constant, enumeration)
        case .attribute(let reference): return name(reference)
        case .attributeOr(let reference, let standIn):
            return "\(name(reference)) ?? \(constant(standIn, reference.type.enumeration))"
        case .subject: return subject
        case .resource: return "resource"
        case .now: return "now"
        case .count(let reference): return "count(\(name(reference)))"
        case .sum(let terms):
            var text = ""
            for (index, term) in terms.enumerated() {
                if index == 0 { text += term.isNegative ? "-" : "" } else { text += term.isNegative ? " - " : " + " }
                text += write(term.operand)
            }
            return text
        }
    }

    private func canBeAbsent(_ operand: Operand) -> Bool {
        switch operand {
        case .attribute(let reference), .count(let reference):
            let catalog = policies.catalog
            let lists: [[Attribute]] =
                switch reference.scope {
                case .subject: catalog.entities.filter(\.isSubject).map(\.attributes)
                case .resource: catalog.entities.map(\.attributes)
                case .session: [catalog.entities[Catalog.session].attributes]
                case .device: [catalog.entities[Catalog.device].attributes]
                case .action: catalog.actions.map(\.attributes)
                case .context: [catalog.context]
                }
            return lists.joined().contains { $0.name == reference.name && $0.isOptional }
        case .sum(let terms): return terms.contains { canBeAbsent($0.operand) }
        case .constant, .attributeOr, .subject, .resource, .now: return false
        }
    }

    package func name(_ reference: AttributeReference) -> String {
        "\(reference.scope == .subject ? subject : "\(reference.scope)").\(reference.name)"
    }

    private func constant(_ constant: Constant, _ enumeration: EnumerationType?) -> String {
        ConstantText.write(constant, enumeration)
    }

    private func quoted(_ text: String) -> String { ConstantText.quoted(text) }
}

/// Writes constants in the policy language.
package enum ConstantText {
    /// - Parameter enumeration: the cases that an enumeration's index means.
    package static func write(_ constant: Constant, _ enumeration: EnumerationType?) -> String {
        switch constant {
        case .boolean(let truth): return truth ? "true" : "false"
        case .integer(let value): return String(value)
        case .decimal(let value): return Decimal6.format(value)
        case .string(let text), .reference(_, let text): return quoted(text)
        case .enumeration(let index):
            guard let enumeration, enumeration.cases.indices.contains(index) else { return "case \(index)" }
            return enumeration.cases[index]
        case .datetime(let value): return Instant.format(value)
        case .duration(let value): return DurationText.format(value)
        case .address(let address): return address.description
        case .set(let values): return "[\(values.map { write($0, enumeration) }.joined(separator: ", "))]"
        }
    }

    /// A text literal.
    package static func quoted(_ text: String) -> String { TextLiteral.quoted(text) }
}

/// Durations as they are written in policies.
package enum DurationText {
    /// `15m`, `1h30m`, `250ms`; negative ones with a minus.
    package static func format(_ milliseconds: Int64) -> String {
        if milliseconds == 0 { return "0s" }
        var rest = milliseconds.magnitude
        var text = ""
        for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", UInt64(1))] {
            if rest >= length {
                text += "\(rest / length)\(unit)"
                rest %= length
            }
        }
        return (milliseconds < 0 ? "-" : "") + text
    }
}

extension Comparison {
    package var symbol: String {
        switch self {
        case .equal: "=="
        case .notEqual: "!="
        case .less: "<"
        case .lessOrEqual: "<="
        case .greater: ">"
        case .greaterOrEqual: ">="
        }
    }

    /// Holds exactly when this does not, where both sides have values.
    var opposite: Comparison {
        switch self {
        case .equal: .notEqual
        case .notEqual: .equal
        case .less: .greaterOrEqual
        case .lessOrEqual: .greater
        case .greater: .lessOrEqual
        case .greaterOrEqual: .less
        }
    }
}

extension Condition {
    fileprivate var isCompound: Bool {
        switch self {
        case .all(let parts), .any(let parts): parts.count > 1
        default: false
        }
    }
}

extension Operand {
    var isSum: Bool {
        if case .sum = self { return true }
        return false
    }

    /// The cases of its values, where it is an enumeration or a set of one.
    var enumeration: EnumerationType? {
        switch self {
        case .attribute(let reference), .attributeOr(let reference, _): reference.type.enumeration
        default: nil
        }
    }
}

extension ValueType {
    /// The cases of an enumeration, or of a set of one.
    package var enumeration: EnumerationType? {
        switch self {
        case .enumeration(let type): type
        case .set(let element): element.enumeration
        default: nil
        }
    }
}
