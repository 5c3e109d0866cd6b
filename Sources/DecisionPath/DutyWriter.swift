// The duties of an answer: obligations of the policies in the types of the AuthZEN obligations profile 1.0 (draft 1),
// their texts filled in. Only answers that carry duties come here, so it may allocate.

import CBOR
import DecisionEngine
import DecisionProtocol
import PolicyLanguage

/// Fills in the obligations of one answer.
struct DutyWriter {
    /// Bytes of a filled-in text at most; what is longer is cut, and an ellipsis says so.
    static let maxTextBytes = 4_096

    private let policies: CheckedPolicies
    private let interpreter: Interpreter
    private let situation: Situation

    init(_ policies: CheckedPolicies, _ situation: Situation) {
        self.policies = policies
        self.situation = situation
        interpreter = Interpreter(policies)
    }

    /// The duties of these obligations, by index, each with an id of its own.
    func obligations(_ indices: [UInt32]) -> [Obligation] {
        indices.flatMap { index in
            let obligation = policies.obligations[Int(index)]
            return obligation.duties.enumerated().map { number, duty in
                let id = obligation.duties.count == 1 ? obligation.name : "\(obligation.name).\(number + 1)"
                return self.obligation(duty, id: id)
            }
        }
    }

    private func obligation(_ duty: Duty, id: String) -> Obligation {
        switch duty {
        case .notify(let to, let body, let topic):
            var properties = [CBORPair(.text("to"), .text(text(to))), CBORPair(.text("body"), .text(text(body)))]
            if let topic { properties.append(CBORPair(.text("topic"), .text(topic))) }
            return Obligation(id: id, type: "notification", properties: properties)
        case .terminateSessions:
            let subject = CBORValue.map([
                CBORPair(.text("type"), .text(policies.catalog.entities[situation.subjectType].name)),
                CBORPair(.text("id"), .text(situation.subjectID)),
            ])
            return Obligation(
                id: id, type: "session_termination", properties: [CBORPair(.text("subject"), subject)])
        case .custom(let fields):
            return Obligation(
                id: id, type: "custom", properties: fields.map { CBORPair(.text($0.name), value($0.value)) })
        }
    }

    private func value(_ value: Duty.Value) -> CBORValue {
        switch value {
        case .text(let template): .text(text(template))
        case .integer(let number): .number(number)
        case .decimal(let millionths): .decimal(mantissa: millionths, exponent: -6)
        case .boolean(let truth): .bool(truth)
        case .list(let values): .array(values.map { self.value($0) })
        }
    }

    private func text(_ template: MessageTemplate) -> String {
        var text = ""
        for part in template.parts {
            switch part {
            case .text(let literal): text += literal
            case .attribute(let reference):
                text +=
                    interpreter.value(of: reference, situation).map { self.text($0, of: reference.type) } ?? "(none)"
            case .subject: text += situation.subjectID
            case .resource: text += situation.resourceID
            case .action: text += policies.catalog.actions[situation.action].name
            case .now: text += Instant.format(situation.now)
            }
        }
        if text.utf8.count <= Self.maxTextBytes { return text }
        while text.utf8.count > Self.maxTextBytes - 3 { text.removeLast() }
        return text + "…"
    }

    private func text(_ value: Constant, of type: ValueType) -> String {
        switch (value, type) {
        case (.boolean(let value), _): value ? "true" : "false"
        case (.integer(let value), _): String(value)
        case (.decimal(let value), _): Decimal6.format(value)
        case (.string(let text), _), (.reference(_, let text), _): text
        case (.enumeration(let ordinal), .enumeration(let type)):
            type.cases.indices.contains(ordinal) ? type.cases[ordinal] : "(none)"
        case (.enumeration, _): "(none)"
        case (.datetime(let instant), _): Instant.format(instant)
        case (.duration(let length), _): Duration.milliseconds(length).description
        case (.address(let address), _): address.description
        case (.set(let values), .set(let element)):
            values.map { text($0, of: element) }.sorted().joined(separator: ", ")
        case (.set, _): "(none)"
        }
    }
}
