// Policies and questions as Cedar's text and JSON, for the part of the language that both have. What Cedar cannot say (the
// number of elements of a set, schedules, the resource's own id) has no translation, and its rule is left out of both.
//
//   subject      principal, of type S_<entity>; groups are its parents
//   resource     resource, of type R_<entity>; containers are its parents
//   everything else, and how the subject signed in, in the context

import DecisionEngine
import PolicyLanguage

/// Translates the rules of one policy set.
struct CedarTranslation {
    let policies: CheckedPolicies
    private var catalog: Catalog { policies.catalog }
    /// The rule at hand.
    private var rule: CheckedRule?

    init(policies: CheckedPolicies) { self.policies = policies }

    // MARK: Rules

    /// The rule as one policy of Cedar; nil when Cedar cannot say it.
    mutating func policy(_ rule: CheckedRule) -> String? {
        self.rule = rule
        guard let condition = condition(rule.condition) else { return nil }
        let subjects = rule.subjectTypes.map { "principal is S_\(catalog.entities[$0].name)" }
        var parts = ["(\(subjects.joined(separator: " || ")))"]
        if let types = rule.resourceTypes {
            parts.append("(\(types.map { "resource is R_\(catalog.entities[$0].name)" }.joined(separator: " || ")))")
        }
        parts.append(condition)
        let demand = rule.demand.map(demand) ?? "true"
        switch rule.kind {
        case .permit: parts.append(demand)
        case .forbid: break
        // Whatever would be permitted needs this as well: it is forbidden without.
        case .require: parts.append("!(\(demand))")
        }
        var head = "action"
        if let actions = rule.actions {
            head = "action in [\(actions.map { "Action::\"\(catalog.actions[$0].name)\"" }.joined(separator: ", "))]"
        }
        let effect = rule.kind == .permit ? "permit" : "forbid"
        return "\(effect)(principal, \(head), resource) when { \(parts.joined(separator: " && ")) };"
    }

    /// Subjects and sessions that have ended are denied by Stile whatever the policies say.
    static let ended = "forbid(principal, action, resource) when { context.ended };"

    private func demand(_ demand: Demand) -> String {
        var parts: [String] = []
        let levels = (0..<64).filter { demand.levels >> UInt64($0) & 1 == 1 }
        if !levels.isEmpty { parts.append("context.levels.containsAll([\(list(levels))])") }
        let methods = (0..<32).filter { demand.methods >> UInt32($0) & 1 == 1 }
        if !methods.isEmpty { parts.append("context.methods.containsAll([\(list(methods))])") }
        if demand.within != .max { parts.append("(context has age && context.age <= \(demand.within))") }
        return parts.isEmpty ? "true" : parts.joined(separator: " && ")
    }

    private func list(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ", ") }

    // MARK: Conditions

    private func condition(_ condition: Condition) -> String? {
        switch condition {
        case .constant(let value): return "\(value)"
        case .all(let parts): return join(parts, "&&", empty: "true")
        case .any(let parts): return join(parts, "||", empty: "false")
        case .not(let inner): return self.condition(inner).map { "!(\($0))" }
        case .test(let test, _): return self.test(test)
        }
    }

    private func join(_ parts: [Condition], _ word: String, empty: String) -> String? {
        var texts: [String] = []
        for part in parts {
            guard let text = condition(part) else { return nil }
            texts.append("(\(text))")
        }
        return texts.isEmpty ? empty : "(\(texts.joined(separator: " \(word) ")))"
    }

    private func test(_ test: Test) -> String? {
        switch test {
        case .compare(let left, let comparison, let right): return compare(left, comparison, right)
        case .oneOf(let value, let constants):
            guard let value = operand(value) else { return nil }
            let texts = constants.compactMap { literal($0, like: test) }
            return texts.count == constants.count ? "[\(texts.joined(separator: ", "))].contains(\(value))" : nil
        case .contains(let set, let element): return call(set, "contains", element)
        case .intersects(let left, let right): return call(left, "containsAny", right)
        case .subset(let left, let right): return call(right, "containsAll", left)
        case .like(let value, let pattern):
            guard let value = operand(value) else { return nil }
            let parts = pattern.parts.map { Self.quoted($0).dropFirst().dropLast().replacing("*", with: "\\*") }
            return "\(value) like \"\(parts.joined(separator: "*"))\""
        case .inNetworks(let value, let networks):
            guard let value = operand(value) else { return nil }
            let texts = networks.compactMap { network in
                Self.address(network.address).map { "\(value).isInRange(ip(\"\($0)/\(network.prefix - 96)\"))" }
            }
            return texts.count == networks.count ? "(\(texts.joined(separator: " || ")))" : nil
        case .group(let group): return "principal in Group::\(Self.quoted(policies.groups[group]))"
        case .container(let container):
            return "resource in C_\(catalog.entities[policies.containers[container].type].name)::"
                + Self.quoted(policies.containers[container].id)
        case .role(let role): return condition(policies.roles[role].condition).map { "(\($0))" }
        case .has(let reference): return "\(owner(reference.scope)) has \(reference.name)"
        case .schedule, .granted: return nil
        }
    }

    private func call(_ set: Operand, _ method: String, _ argument: Operand) -> String? {
        guard let set = operand(set), let argument = operand(argument) else { return nil }
        return "\(set).\(method)(\(argument))"
    }

    private func compare(_ left: Operand, _ comparison: Comparison, _ right: Operand) -> String? {
        guard let first = operand(left), let second = operand(right) else { return nil }
        let words: [Comparison: String] = [
            .equal: "==", .notEqual: "!=", .less: "<", .lessOrEqual: "<=", .greater: ">", .greaterOrEqual: ">=",
        ]
        let isOrder = comparison != .equal && comparison != .notEqual
        switch type(left) ?? type(right) {
        case .decimal where isOrder:
            let methods: [Comparison: String] = [
                .less: "lessThan", .lessOrEqual: "lessThanOrEqual", .greater: "greaterThan",
                .greaterOrEqual: "greaterThanOrEqual",
            ]
            return "\(first).\(methods[comparison] ?? "")(\(second))"
        case .enumeration where isOrder, .string where isOrder, .address where isOrder: return nil
        default: return "\(first) \(words[comparison] ?? "") \(second)"
        }
    }

    // MARK: Values

    private func owner(_ scope: AttributeScope) -> String {
        switch scope {
        case .subject: "principal"
        case .resource: "resource"
        case .session, .device, .action, .context: "context.\(scope)"
        }
    }

    private func type(_ operand: Operand) -> ValueType? {
        switch operand {
        case .attribute(let reference), .attributeOr(let reference, _): reference.type
        case .now, .sum: .datetime
        case .constant, .subject, .resource, .count: nil
        }
    }

    private func operand(_ operand: Operand) -> String? {
        switch operand {
        case .constant(let value): return Self.literal(value, nil, catalog)
        case .attribute(let reference): return "\(owner(reference.scope)).\(reference.name)"
        case .attributeOr(let reference, let stand):
            // Where a type of the rule has a default, Cedar's `has` is true and tells nothing of it.
            guard declarations(of: reference).allSatisfy(\.isOptional) else { return nil }
            guard let stand = Self.literal(stand, reference.type, catalog) else { return nil }
            let owner = owner(reference.scope)
            return "(if \(owner) has \(reference.name) then \(owner).\(reference.name) else \(stand))"
        case .subject: return "principal"
        case .now: return "context.now"
        case .sum(let terms): return sum(terms)
        case .resource, .count: return nil
        }
    }

    /// What the types and actions of the rule at hand declare under a name.
    private func declarations(of reference: AttributeReference) -> [Attribute] {
        let lists: [[Attribute]]
        switch reference.scope {
        case .subject: lists = (rule?.subjectTypes ?? []).map { catalog.entities[$0].attributes }
        case .session: lists = [catalog.entities[Catalog.session].attributes]
        case .device: lists = [catalog.entities[Catalog.device].attributes]
        case .resource:
            lists = (rule?.resourceTypes ?? Array(catalog.entities.indices)).map { catalog.entities[$0].attributes }
        case .action: lists = (rule?.actions ?? Array(catalog.actions.indices)).map { catalog.actions[$0].attributes }
        case .context: lists = [catalog.context]
        }
        return lists.flatMap { $0.filter { $0.name == reference.name } }
    }

    /// An instant moved by durations.
    private func sum(_ terms: [SumTerm]) -> String? {
        var instant: String?
        var offset: Int64 = 0
        for term in terms {
            if case .constant(.duration(let value)) = term.operand {
                offset += term.isNegative ? -value : value
            } else if !term.isNegative, instant == nil {
                instant = operand(term.operand)
            } else {
                return nil
            }
        }
        return instant.map { "\($0).offset(duration(\"\(offset)ms\"))" }
    }

    /// A constant of a test's list, which has the type of what it is compared with.
    private func literal(_ value: Constant, like test: Test) -> String? {
        guard case .oneOf(let operand, _) = test else { return nil }
        return Self.literal(value, type(operand), catalog)
    }

    private static func literal(_ value: Constant, _ type: ValueType?, _ catalog: Catalog) -> String? {
        switch value {
        case .boolean(let truth): return "\(truth)"
        case .integer(let number): return "\(number)"
        case .decimal(let millionths): return decimal(millionths).map { "decimal(\"\($0)\")" }
        case .string(let text): return quoted(text)
        case .enumeration(let ordinal): return "\(ordinal)"
        case .datetime(let instant): return "datetime(\"\(Self.instant(instant))\")"
        case .duration(let length): return "duration(\"\(length)ms\")"
        case .address(let address): return self.address(address).map { "ip(\"\($0)\")" }
        case .reference(let entity, let id): return "S_\(catalog.entities[entity].name)::\(quoted(id))"
        case .set(let values):
            let texts = values.compactMap { literal($0, nil, catalog) }
            return texts.count == values.count ? "[\(texts.joined(separator: ", "))]" : nil
        }
    }

    /// Text in quotes, for Cedar and for JSON.
    static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    /// Cedar's decimals have four digits after the point.
    private static func decimal(_ millionths: Int64) -> String? {
        guard millionths >= 0, millionths % 100 == 0 else { return nil }
        let digits = String(millionths % 1_000_000 / 100)
        return "\(millionths / 1_000_000)." + String(repeating: "0", count: 4 - digits.count) + digits
    }

    private static func instant(_ milliseconds: Int64) -> String {
        let text = Instant.format(milliseconds)
        return text.contains(".") ? text : text.replacing("Z", with: ".000Z")
    }

    private static func address(_ address: IPAddress) -> String? {
        guard address.isIPv4 else { return nil }
        return stride(from: 24, through: 0, by: -8).map { "\(address.low >> UInt64($0) & 255)" }.joined(separator: ".")
    }

    // MARK: Questions

    /// One question with its entities and its answer, as JSON.
    func question(_ situation: Situation, isPermitted: Bool) -> String {
        let interpreter = Interpreter(policies)
        func record(_ scope: AttributeScope, _ attributes: [Attribute]) -> String {
            let members = attributes.compactMap { attribute -> String? in
                let reference = AttributeReference(scope: scope, name: attribute.name, type: attribute.type)
                return interpreter.value(of: reference, situation).map { "\"\(attribute.name)\":\(json($0))" }
            }
            return "{\(members.joined(separator: ","))}"
        }
        func name(_ type: String, _ id: String) -> String { "{\"type\":\"\(type)\",\"id\":\(Self.quoted(id))}" }
        let subjectType = catalog.entities[situation.subjectType]
        let resourceType = catalog.entities[situation.resourceType]
        let principal = name("S_\(subjectType.name)", situation.subjectID)
        let resource = name("R_\(resourceType.name)", situation.resourceID)
        let groups = situation.groups.sorted().map { name("Group", policies.groups[$0]) }
        let containers = situation.containers.sorted().map {
            name("C_\(catalog.entities[policies.containers[$0].type].name)", policies.containers[$0].id)
        }
        func entity(_ uid: String, _ attributes: String, _ parents: [String]) -> String {
            "{\"uid\":\(uid),\"attrs\":\(attributes),\"parents\":[\(parents.joined(separator: ","))]}"
        }
        let entities = [
            entity(principal, record(.subject, subjectType.attributes), groups),
            entity(resource, record(.resource, resourceType.attributes), containers),
        ]
        let session = situation.session ?? SessionFacts()
        var context = [
            "\"now\":\(json(.datetime(situation.now)))",
            "\"session\":\(record(.session, catalog.entities[Catalog.session].attributes))",
            "\"device\":\(record(.device, catalog.entities[Catalog.device].attributes))",
            "\"action\":\(record(.action, catalog.actions[situation.action].attributes))",
            "\"context\":\(record(.context, catalog.context))",
            "\"levels\":[\(list((0..<64).filter { session.levels >> UInt64($0) & 1 == 1 }))]",
            "\"methods\":[\(list((0..<32).filter { session.methods >> UInt32($0) & 1 == 1 }))]",
            "\"ended\":\(situation.isSubjectInactive || session.hasEnded || (session.endsAt ?? .max) <= situation.now)",
        ]
        if let since = session.authenticatedAt { context.append("\"age\":\(situation.now - since)") }
        return "{\"principal\":\(principal),\"action\":\(name("Action", catalog.actions[situation.action].name)),"
            + "\"resource\":\(resource),\"context\":{\(context.joined(separator: ","))},"
            + "\"entities\":[\(entities.joined(separator: ","))],\"permit\":\(isPermitted)}"
    }

    private func json(_ value: Constant) -> String {
        func call(_ function: String, _ argument: String) -> String {
            "{\"__extn\":{\"fn\":\"\(function)\",\"arg\":\"\(argument)\"}}"
        }
        switch value {
        case .boolean(let truth): return "\(truth)"
        case .integer(let number): return "\(number)"
        case .decimal(let millionths): return call("decimal", Self.decimal(millionths) ?? "0.0")
        case .string(let text): return Self.quoted(text)
        case .enumeration(let ordinal): return "\(ordinal)"
        case .datetime(let instant): return call("datetime", Self.instant(instant))
        case .duration(let length): return call("duration", "\(length)ms")
        case .address(let address): return call("ip", Self.address(address) ?? "0.0.0.0")
        case .reference(let entity, let id):
            return "{\"__entity\":{\"type\":\"S_\(catalog.entities[entity].name)\",\"id\":\(Self.quoted(id))}}"
        case .set(let values): return "[\(values.map(json).joined(separator: ","))]"
        }
    }
}
