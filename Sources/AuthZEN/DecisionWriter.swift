// Decisions as AuthZEN's JSON (Authorization API 1.0, 5.5), written straight to bytes.

package import DecisionProtocol
import PolicyLanguage
package import StileClient
package import StrictJSON

/// Writes decisions with their context.
package struct DecisionWriter: Sendable {
    package var json: JSONWriter
    /// The last instant and its text: the decisions of a batch have one.
    private var instant: (milliseconds: UInt64, text: [UInt8])?
    /// What the last decision of a batch had to say of its reasons: most others say the same, so they are written once.
    private var known: (kind: Decision.Kind, reasons: [Decision.Reason], text: [UInt8])?
    private let isBatch: Bool

    /// - Parameter count: decisions that are expected.
    package init(count: Int = 1) {
        json = JSONWriter(capacity: 128 + 384 * count)
        isBatch = count > 1
    }

    /// Appends a decision; whether it is a permit to this application.
    @discardableResult
    package mutating func decision(_ decision: Decision, _ negotiation: Negotiation) -> Bool {
        let unsupported =
            decision.kind == .permitted ? decision.obligations.first { !negotiation.allows($0.type) } : nil
        let isPermitted = decision.kind == .permitted && unsupported == nil
        json.raw(isPermitted ? "{\"decision\":true,\"context\":{" : "{\"decision\":false,\"context\":{")
        facts(decision, unsupported == nil ? decision.kind.rawValue : "not_permitted")
        if let unsupported {
            // Whoever does not know an obligation has to deny (profile, 3): so the answer is a denial that says why.
            reasons(
                "403",
                admin: "permitted, but with the obligation \(unsupported.id) of type \(unsupported.type), "
                    + "which this enforcement point does not support", user: Self.denied)
        } else {
            why(decision)
            duties(decision, negotiation)
        }
        json.raw("}}")
        return isPermitted
    }

    /// Appends the denial of an item that is no question.
    package mutating func refused(_ error: RequestError) {
        json.raw("{\"decision\":false,\"context\":{\"kind\":\"error\",\"error\":{\"status\":400,")
        json.raw("\"code\":\"invalid_request\",\"message\":")
        json.string(error.description)
        json.raw("}}}")
    }

    // MARK: Parts of the context

    private mutating func facts(_ decision: Decision, _ kind: String) {
        json.raw("\"evaluation_id\":\"")
        json.hexadecimal(decision.id.high)
        json.hexadecimal(decision.id.low)
        json.raw("\",\"evaluated_at\":\"")
        json.raw(text(decision.evaluatedAt.milliseconds))
        json.raw("\",\"snapshot_id\":\"")
        json.number(decision.snapshot)
        json.raw("\",\"policy_version\":")
        json.number(decision.policyVersion)
        if let end = decision.validUntil {
            json.raw(",\"valid_until\":\"")
            json.raw(Self.format(end.milliseconds))
            json.raw("\"")
        }
        json.raw(",\"kind\":\"")
        json.raw(kind)
        json.raw("\"")
    }

    private mutating func text(_ milliseconds: UInt64) -> [UInt8] {
        if let instant, instant.milliseconds == milliseconds { return instant.text }
        let text = Self.format(milliseconds)
        instant = (milliseconds, text)
        return text
    }

    private static func format(_ milliseconds: UInt64) -> [UInt8] { Instant.utf8(Int64(clamping: milliseconds)) }

    private static let denied = "You do not have permission to do this."
    private static let stepUp = "Please sign in again to confirm that it is you."

    private mutating func why(_ decision: Decision) {
        let (reasons, cause) = (decision.reasons, decision.cause)
        if let known, cause == nil, known.kind == decision.kind, known.reasons == reasons {
            return json.raw(known.text)
        }
        let start = json.bytes.count
        write(reasons, cause, decision.kind)
        if let cause, decision.kind == .error { error(cause) }
        if isBatch, cause == nil { known = (decision.kind, reasons, Array(json.bytes[start...])) }
    }

    private mutating func write(_ reasons: [Decision.Reason], _ cause: Decision.Cause?, _ kind: Decision.Kind) {
        let status: String
        switch kind {
        case .permitted: status = "200"
        case .stepUp: status = "401"
        case .forbidden, .notPermitted: status = "403"
        case .error: status = String(Self.status(cause))
        }
        begin("reason_admin", status)
        for (index, reason) in reasons.enumerated() {
            if index > 0 { json.raw("; ") }
            json.escaped(reason.rule)
            json.raw(" (")
            json.escaped(reason.file)
            json.raw(":")
            json.number(UInt64(clamping: reason.line))
            json.raw(")")
        }
        if let cause {
            if !reasons.isEmpty { json.raw("; ") }
            json.escaped(cause.code)
            json.raw(": ")
            json.escaped(cause.message)
        } else if reasons.isEmpty {
            json.raw("no rule permits it")
        }
        json.raw("\"}")
        let words = reasons.compactMap(\.because)
        if words.isEmpty, kind == .permitted { return }
        begin("reason_user", status)
        if words.isEmpty { json.escaped(kind == .stepUp ? Self.stepUp : Self.denied) }
        for (index, because) in words.enumerated() {
            if index > 0 { json.raw(" ") }
            json.escaped(because)
        }
        json.raw("\"}")
    }

    /// An object of one text, by a status: what comes is the text's inside.
    private mutating func begin(_ member: String, _ status: String) {
        json.raw(",\"")
        json.raw(member)
        json.raw("\":{\"")
        json.raw(status)
        json.raw("\":\"")
    }

    private mutating func reasons(_ status: String, admin: String, user: String) {
        for (member, text) in [("reason_admin", admin), ("reason_user", user)] {
            begin(member, status)
            json.escaped(text)
            json.raw("\"}")
        }
    }

    private mutating func error(_ cause: Decision.Cause) {
        json.raw(",\"error\":{\"status\":")
        json.number(Self.status(cause))
        json.raw(",\"code\":")
        json.string(cause.code)
        if let attribute = cause.attribute {
            json.raw(",\"attribute\":")
            json.string(attribute)
        }
        json.raw(",\"message\":")
        json.string(cause.message)
        json.raw("}")
    }

    /// What a cause would be as a status of HTTP: the question's fault, something that is not there, or ours.
    private static func status(_ cause: Decision.Cause?) -> UInt64 {
        switch cause?.code {
        case "budget_exceeded": 429
        case "record_damaged", "no_policy", "store_unreadable", nil: 500
        case let code? where code.hasPrefix("unknown_"): 404
        default: 400
        }
    }

    private mutating func duties(_ decision: Decision, _ negotiation: Negotiation) {
        var demand: StepUpDemand?
        if case .stepUp(let stepUp) = decision.outcome { demand = StepUpDemand(stepUp) }
        demand?.writeMembers(to: &json)
        // The step-up obligation is written from the demand, as the other forms are.
        var others = decision.obligations.filter { negotiation.allows($0.type) }
        var hasStepUp = false
        if let demand {
            others.removeAll { $0.type == "step-up" }
            hasStepUp = demand.hasObligation && negotiation.allows("step-up")
        }
        guard hasStepUp || !others.isEmpty else { return }
        json.raw(",\"obligations\":[")
        if let demand, hasStepUp { demand.writeObligation(to: &json) }
        for (index, obligation) in others.enumerated() {
            if index > 0 || hasStepUp { json.raw(",") }
            self.obligation(obligation)
        }
        json.raw("]")
    }

    private mutating func obligation(_ obligation: Decision.Obligation) {
        json.raw("{\"id\":")
        json.string(obligation.id)
        json.raw(",\"type\":")
        json.string(obligation.type)
        json.raw(",\"properties\":")
        object(obligation.properties)
        json.raw("}")
    }

    private mutating func object(_ values: [String: PropertyValue]) {
        json.raw("{")
        for (index, member) in values.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { json.raw(",") }
            json.string(member.key)
            json.raw(":")
            value(member.value)
        }
        json.raw("}")
    }

    private mutating func value(_ value: PropertyValue) {
        switch value {
        case .null: json.raw("null")
        case .bool(let truth): json.bool(truth)
        case .integer(let number): json.raw(String(number))
        case .decimal(let mantissa, let exponent): json.raw("\(mantissa)e\(exponent)")
        case .text(let text): json.string(text)
        case .list(let values):
            json.raw("[")
            for (index, item) in values.enumerated() {
                if index > 0 { json.raw(",") }
                self.value(item)
            }
            json.raw("]")
        case .object(let values): object(values)
        }
    }
}
