// Grants as JSON: one form for the tool and the gateway.

package import AttributeStore
import DecisionProtocol
import PolicyLanguage
package import StrictJSON

extension RoleGrant {
    /// The grant as it stands at an instant, ms since the epoch.
    package func json(now: Int64) -> JSONValue {
        var members = [
            JSONMember("id", .string(id.description)),
            JSONMember("subject", .object(["type": .string(subject.type), "id": .string(subject.id)])),
            JSONMember("role", .string(role)), JSONMember("state", .string(state(at: now).rawValue)),
            JSONMember("since", .string(Instant.format(since))), JSONMember("until", .string(Instant.format(until))),
            JSONMember("reason", .string(reason)), JSONMember("recorded_by", .string(by)),
            JSONMember("policy_version", .integer(version)), JSONMember("offer", .string(offer)),
            JSONMember("place", .string(place)),
        ]
        if let ending {
            if let at = ending.at { members.append(JSONMember("ended", .string(Instant.format(at)))) }
            if !ending.by.isEmpty { members.append(JSONMember("ended_by", .string(ending.by))) }
            if !ending.reason.isEmpty { members.append(JSONMember("ended_because", .string(ending.reason))) }
        }
        return .object(members)
    }
}

extension RoleAnswer {
    /// `outcome` is `granted`, `step_up` or `denied`, with what belongs to it.
    package func json(now: Int64) -> JSONValue {
        switch self {
        case .granted(let grant):
            return .object(["outcome": .string("granted"), "grant": grant.json(now: now)])
        case .stepUp(let stepUp, let offer):
            return .object([
                "outcome": .string("step_up"), "step_up": .object(stepUp.members), "offer": .string(offer.name),
            ])
        case .denied(let denial):
            var members = [
                JSONMember("outcome", .string("denied")), JSONMember("code", .string(denial.code.rawValue)),
                JSONMember("message", .string(denial.message)),
            ]
            if let most = denial.atMost { members.append(JSONMember("at_most", .integer(most / 1_000))) }
            return .object(members)
        }
    }
}
