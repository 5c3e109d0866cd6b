// A demand for a stronger or fresher sign-in, in the three forms that applications know: the obligation of the AuthZEN
// obligations profile, the `acr_values` and `amr_values` of Authorization API 1.0 (5.5.1), the challenge of RFC 9470.

package import StileClient
import StrictJSON

/// One demand; every form says the same, for all are made from it.
package struct StepUpDemand: Sendable, Hashable {
    /// Any one of these proves the level, weakest first; the level's own name where no issuer's is known.
    package let acrValues: [String]
    /// Authentication methods (RFC 8176) that must have been used.
    package let methods: [String]
    /// Seconds since the sign-in at most.
    package let maxAge: UInt64?

    package init(_ stepUp: Decision.StepUp) {
        // A value with a space in it cannot stand in a list that spaces part.
        let known = stepUp.acrValues.isEmpty ? [stepUp.level].compactMap { $0 } : stepUp.acrValues
        acrValues = known.filter { !$0.isEmpty && !$0.utf8.contains { $0 <= 0x20 || $0 == 0x7f } }
        methods = stepUp.methods
        maxAge = stepUp.within.map { UInt64(clamping: $0.components.seconds) }
    }

    /// The value of `WWW-Authenticate` with which a resource server passes the demand on (RFC 9470 3).
    package var challenge: String {
        var parts = [
            "Bearer error=\"insufficient_user_authentication\"",
            "error_description=\"A different authentication level is required\"",
        ]
        if !acrValues.isEmpty { parts.append("acr_values=\"\(Self.quoted(acrValues.joined(separator: " ")))\"") }
        if let maxAge { parts.append("max_age=\"\(maxAge)\"") }
        return parts.joined(separator: ", ")
    }

    /// RFC 9110 5.6.4: what a quoted string escapes. What no header can carry is left out.
    private static func quoted(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars where (0x20..<0x7f).contains(scalar.value) {
            if scalar == "\"" || scalar == "\\" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result
    }

    /// Appends the members of a decision's context, each with a comma before it; of the obligation, `writeObligation` does.
    func writeMembers(to json: inout JSONWriter) {
        if !acrValues.isEmpty {
            json.raw(",\"acr_values\":")
            json.string(acrValues.joined(separator: " "))
        }
        if !methods.isEmpty {
            json.raw(",\"amr_values\":")
            json.string(methods.joined(separator: " "))
        }
        if let maxAge {
            json.raw(",\"max_age\":")
            json.number(maxAge)
        }
        json.raw(",\"www_authenticate\":")
        json.string(challenge)
    }

    /// The profile wants one acr value: where no level is asked for, there is no such obligation to write.
    var hasObligation: Bool { !acrValues.isEmpty }

    /// Appends the obligation of the profile, with all that would do and the age beside what it knows.
    func writeObligation(to json: inout JSONWriter) {
        json.raw("{\"id\":\"step-up\",\"type\":\"step-up\",\"properties\":{\"acr_value\":")
        json.string(acrValues.first ?? "")
        json.raw(",\"acr_values\":")
        json.strings(acrValues)
        if !methods.isEmpty {
            json.raw(",\"amr_values\":")
            json.strings(methods)
        }
        if let maxAge {
            json.raw(",\"max_age\":")
            json.number(maxAge)
        }
        json.raw("}}")
    }
}

extension JSONWriter {
    /// An array of strings.
    mutating func strings(_ texts: [String]) {
        raw("[")
        for (index, text) in texts.enumerated() {
            if index > 0 { raw(",") }
            string(text)
        }
        raw("]")
    }
}
