// AuthZEN's JSON (Authorization API 1.0, sections 6 and 7) to questions, and answers to JSON.

package import CBOR
package import StrictJSON

/// Why a JSON request is no question.
package struct RequestError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The member at fault: `subject.id`.
    package var path: String
    /// What is needed.
    package var message: String

    package init(path: String, message: String) {
        self.path = path
        self.message = message
    }

    package var description: String { "\(path): \(message)" }
}

extension Question {
    /// Reads an evaluation request. `session` and `device` are this product's additions: ids of records in the store.
    package init(json: JSONValue) throws(RequestError) {
        guard json.object != nil else { throw RequestError(path: "request", message: "an object is needed") }
        self.init(
            subject: try Entity(json["subject"], "subject"), action: try ActionName(json["action"]),
            resource: try Entity(json["resource"], "resource"))
        if let value = json["context"], value != .null {
            guard value.object != nil else { throw RequestError(path: "context", message: "an object is needed") }
            context = try Self.pairs(value, "context")
        }
        session = try Self.text(json["session"], "session")
        device = try Self.text(json["device"], "device")
    }

    /// Reads a search request (section 8), in which one entity has no id, or the action is open. What the request says of the
    /// open id or action does not count.
    /// - Parameters:
    ///   - openEntity: the entity whose id is open, `subject` or `resource`; nil when the action is open.
    package init(search json: JSONValue, openEntity: String?) throws(RequestError) {
        func entity(_ name: String) throws(RequestError) -> Entity {
            guard name == openEntity, case .object(let members)? = json[name] else {
                return try Entity(json[name], name)
            }
            let rest = members.filter { $0.name != "id" }
            return try Entity(.object(rest + [JSONMember("id", .string("-"))]), name)
        }
        self.init(
            subject: try entity("subject"), action: openEntity == nil ? nil : try ActionName(json["action"]),
            resource: try entity("resource"))
        if let value = json["context"], value != .null {
            guard value.object != nil else { throw RequestError(path: "context", message: "an object is needed") }
            context = try Self.pairs(value, "context")
        }
        session = try Self.text(json["session"], "session")
        device = try Self.text(json["device"], "device")
    }

    private static func text(_ value: JSONValue?, _ path: String) throws(RequestError) -> String? {
        guard let value, value != .null else { return nil }
        guard let text = value.string ?? value["id"]?.string else {
            throw RequestError(path: path, message: "an id (a string) is needed")
        }
        return text
    }

    static func pairs(_ value: JSONValue, _ path: String) throws(RequestError) -> [CBORPair] {
        var pairs: [CBORPair] = []
        for member in value.object ?? [] where member.value != .null {
            pairs.append(CBORPair(.text(member.name), try cbor(member.value, "\(path).\(member.name)")))
        }
        return pairs
    }

    /// A property's value; numbers keep their exact value.
    static func cbor(_ value: JSONValue, _ path: String) throws(RequestError) -> CBORValue {
        switch value {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .string(let text): return .text(text)
        case .number(let text):
            if let integer = Int64(text) { return .number(integer) }
            guard let number = ExactNumber(text) else {
                throw RequestError(path: path, message: "the number \(text) is outside what is counted with")
            }
            return .decimal(mantissa: number.mantissa, exponent: number.exponent)
        case .array(let values):
            var items: [CBORValue] = []
            for value in values { items.append(try cbor(value, path)) }
            return .array(items)
        case .object: return .map(try pairs(value, path))
        }
    }
}

extension Entity {
    init(_ value: JSONValue?, _ path: String) throws(RequestError) {
        guard let value, value.object != nil else {
            throw RequestError(path: path, message: "an object with type and id is needed")
        }
        guard let type = value["type"]?.string else {
            throw RequestError(path: "\(path).type", message: "a string is needed")
        }
        guard let id = value["id"]?.string else {
            throw RequestError(path: "\(path).id", message: "a string is needed")
        }
        self.init(type: type, id: id, properties: try Self.properties(value, path))
    }

    static func properties(_ value: JSONValue, _ path: String) throws(RequestError) -> [CBORPair] {
        guard let properties = value["properties"], properties != .null else { return [] }
        guard properties.object != nil else {
            throw RequestError(path: "\(path).properties", message: "an object is needed")
        }
        return try Question.pairs(properties, "\(path).properties")
    }
}

extension ActionName {
    init(_ value: JSONValue?) throws(RequestError) {
        guard let value, value.object != nil else {
            throw RequestError(path: "action", message: "an object with a name is needed")
        }
        guard let name = value["name"]?.string else {
            throw RequestError(path: "action.name", message: "a string is needed")
        }
        self.init(name: name, properties: try Entity.properties(value, "action"))
    }
}

/// A JSON number as mantissa and power of ten.
package struct ExactNumber {
    package var mantissa: Int64
    package var exponent: Int64

    /// Nil for a number outside what is counted with.
    package init?(_ text: String) {
        var digits = ""
        var exponent: Int64 = 0
        var rest = Substring(text)
        if let mark = rest.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            let power = rest[rest.index(after: mark)...]
            guard let value = Int64(power.hasPrefix("+") ? power.dropFirst() : power), value.magnitude < 1000 else {
                return nil
            }
            exponent = value
            rest = rest[..<mark]
        }
        if let point = rest.firstIndex(of: ".") {
            let fraction = rest[rest.index(after: point)...]
            exponent -= Int64(fraction.utf8.count)
            digits = String(rest[..<point]) + fraction
        } else {
            digits = String(rest)
        }
        while exponent < 0, digits.hasSuffix("0"), digits.utf8.count > 1 {
            digits.removeLast()
            exponent += 1
        }
        guard let mantissa = Int64(digits) else { return nil }
        self.mantissa = mantissa
        self.exponent = exponent
    }
}

extension Answer {
    /// The answer as AuthZEN's decision with its context (1.0, section 5.5; obligations profile).
    package var json: JSONValue {
        var context: [JSONMember] = [
            JSONMember("outcome", .string(outcome.name)), JSONMember("kind", .string(kind.name)),
        ]
        if !decisionID.isEmpty { context.append(JSONMember("evaluation_id", .string(decisionIDText))) }
        if evaluatedAt > 0 { context.append(JSONMember("evaluated_at_ms", .integer(evaluatedAt))) }
        if let validUntil { context.append(JSONMember("valid_until_ms", .integer(validUntil))) }
        if policyVersion > 0 { context.append(JSONMember("policy_version", .integer(policyVersion))) }
        if snapshot > 0 { context.append(JSONMember("snapshot", .integer(snapshot))) }
        if !rules.isEmpty { context.append(JSONMember("rules", .array(rules.map(\.json)))) }
        if let cause { context.append(JSONMember("error", cause.json)) }
        if let stepUp { context += stepUp.members }
        if !obligations.isEmpty { context.append(JSONMember("obligations", .array(obligations.map(\.json)))) }
        if !candidates.isEmpty { context.append(JSONMember("candidates", .array(candidates.map(\.json)))) }
        return .object([
            JSONMember("decision", .bool(outcome == .permit)), JSONMember("context", .object(context)),
        ])
    }

    /// The decision id in hexadecimal.
    package var decisionIDText: String {
        decisionID.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

extension RuleReference {
    /// The rule as it stands in AuthZEN's context.
    package var json: JSONValue {
        var members = [
            JSONMember("name", .string(name)), JSONMember("file", .string(file)), JSONMember("line", .integer(line)),
        ]
        if let reason { members.append(JSONMember("because", .string(reason))) }
        return .object(members)
    }
}

extension CauseReference {
    /// The cause as it stands in AuthZEN's context.
    package var json: JSONValue {
        var members = [JSONMember("code", .string(code))]
        if let attribute { members.append(JSONMember("attribute", .string(attribute))) }
        members.append(JSONMember("message", .string(message)))
        return .object(members)
    }
}

extension StepUp {
    /// The members of AuthZEN's step-up context, with the age beside them.
    package var members: [JSONMember] {
        var members: [JSONMember] = []
        let acr = acrValues.isEmpty ? [level].compactMap { $0 } : acrValues
        if !acr.isEmpty { members.append(JSONMember("acr_values", .string(acr.joined(separator: " ")))) }
        if !methods.isEmpty { members.append(JSONMember("amr_values", .string(methods.joined(separator: " ")))) }
        if let within { members.append(JSONMember("max_age", .integer(within / 1000))) }
        if let level { members.append(JSONMember("assurance", .string(level))) }
        return members
    }
}

extension Obligation {
    /// The obligation as it stands in AuthZEN's context.
    package var json: JSONValue {
        .object([
            JSONMember("id", .string(id)), JSONMember("type", .string(type)),
            JSONMember("properties", CBORValue.map(properties).json),
        ])
    }
}

extension Candidate {
    var json: JSONValue {
        .object([
            JSONMember("rule", rule.json), JSONMember("kind", .string(kind)), JSONMember("matches", .bool(matches)),
            JSONMember(
                "failed",
                .array(
                    failed.map {
                        .object(["file": .string($0.file), "line": .integer($0.line), "condition": .string($0.text)])
                    })),
        ])
    }
}

extension CBORValue {
    /// The value as JSON; byte strings in hexadecimal.
    package var json: JSONValue {
        switch self {
        case .unsigned(let value): .integer(value)
        case .integer(let value): .integer(value)
        case .bytes(let bytes): .string(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())
        case .text(let text): .string(text)
        case .array(let values): .array(values.map(\.json))
        case .map(let pairs): .object(pairs.map { JSONMember($0.key.text ?? $0.key.json.compact, $0.value.json) })
        case .bool(let value): .bool(value)
        case .null: .null
        case .decimal(let mantissa, let exponent): .number("\(mantissa)e\(exponent)")
        }
    }
}
