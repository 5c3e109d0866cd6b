// A credential's record as the tool and the API show it.

package import AttributeStore
import PolicyLanguage
package import StrictJSON

/// How a credential stands.
package enum CredentialState: String, Sendable {
    case active
    case expired
    case revoked
}

extension CredentialRecord {
    /// How it stands at an instant, ms since the epoch.
    package func state(now: Int64) -> CredentialState {
        if revoked != nil { return .revoked }
        return expires <= now ? .expired : .active
    }

    /// All but the hash.
    package func json(now: Int64) -> JSONValue {
        var members = [
            JSONMember("id", .string(id.description)), JSONMember("role", .string(role)),
            JSONMember("state", .string(state(now: now).rawValue)), JSONMember("label", .string(label)),
            JSONMember("author", .string(author)), JSONMember("created", .string(Instant.format(created))),
            JSONMember("expires", .string(Instant.format(expires))),
        ]
        if let tenant { members.insert(JSONMember("tenant", .string(tenant)), at: 2) }
        if let revoked { members.append(JSONMember("revoked", .string(Instant.format(revoked)))) }
        if let replaces { members.append(JSONMember("replaces", .string(replaces.description))) }
        return .object(members)
    }
}
