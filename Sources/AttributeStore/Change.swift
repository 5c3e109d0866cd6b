// The entries of a tenant's change log. An entry says what is so, never "add to what was": folding it twice equals
// folding it once, which is what replay, repair and replication rest on.

package import CBOR
package import PolicyLanguage
package import StrictJSON

/// One change.
package enum Change: Sendable, Hashable {
    /// A subject's document: SCIM's User, or the properties of another subject type.
    case putSubject(type: String, id: String, isActive: Bool, document: JSONValue)
    /// A subject is gone, with its signals and memberships.
    case deleteSubject(type: String, id: String)
    /// A group with all its members.
    case putGroup(id: String, displayName: String, members: [Member])
    /// Members that come and go; the group exists.
    case patchMembers(group: String, add: [Member], remove: [Member])
    case deleteGroup(id: String)
    /// A session; `document` is the line's object.
    case putSession(id: String, document: JSONValue)
    case deleteSession(id: String)
    case putDevice(id: String, document: JSONValue)
    case deleteDevice(id: String)
    /// A resource of the application's registry, with what it lies in directly.
    case putResource(type: String, id: String, document: JSONValue, parents: [EntityName] = [])
    case deleteResource(type: String, id: String)
    /// A signal about an entity, with its instants in ms since the epoch.
    case signal(type: String, id: String, name: String, value: JSONValue, at: Int64, expires: Int64?)
    /// A version of all policy files.
    case putPolicies(
        version: UInt64, files: [PolicyFile], author: String, message: String, at: Int64, id: UniqueID = UniqueID())
    /// The version that decides.
    case activatePolicies(version: UInt64, author: String = "", message: String = "", at: Int64 = 0)
    /// The version that decides beside it, with no consequence; nil withdraws it.
    case setCandidate(version: UInt64?, author: String, at: Int64)
    /// A role that a subject takes for a time.
    case putGrant(RoleGrant)
    /// The end of one before its end.
    case revokeGrant(id: UniqueID, subject: EntityName, at: Int64, by: String, reason: String)

    /// A member of a group.
    package struct Member: Sendable, Hashable {
        package var id: String
        /// True for a nested group.
        package var isGroup: Bool

        package init(id: String, isGroup: Bool) {
            self.id = id
            self.isGroup = isGroup
        }
    }
}

/// A policy file as it is stored.
package struct PolicyFile: Sendable, Hashable {
    package var name: String
    package var text: String
    /// False for a file that is kept with its version and takes no part in deciding.
    package var isEnabled: Bool

    package init(name: String, text: String, isEnabled: Bool = true) {
        self.name = name
        self.text = text
        self.isEnabled = isEnabled
    }

    /// `[name, text]`, and `false` behind for a file that is not enabled: programs that know of no such files pass it over.
    var cbor: CBORValue { .array([.text(name), .text(text)] + (isEnabled ? [] : [.bool(false)])) }

    init?(_ value: CBORValue) {
        guard let parts = value.items, parts.count == 2 || parts.count == 3, let name = parts[0].text,
            let text = parts[1].text
        else { return nil }
        self.init(name: name, text: text, isEnabled: parts.count == 2)
    }
}

extension [PolicyFile] {
    /// What is checked, compiled and decided with.
    package var sources: [SourceFile] {
        filter(\.isEnabled).map { SourceFile(name: $0.name, text: $0.text) }
    }
}

// MARK: Encoding (keys are part of the store's format: never reused with another meaning; `Touch` reads them too)

extension Change {
    /// The change as CBOR; key 0 is the kind.
    package var cbor: CBORValue {
        func json(_ value: JSONValue) -> CBORValue { .text(value.compact) }
        func list(_ members: [Member]) -> CBORValue {
            .array(members.map { .array([.text($0.id), .bool($0.isGroup)]) })
        }
        return switch self {
        case .putSubject(let type, let id, let isActive, let document):
            .record([0: .unsigned(1), 1: .text(type), 2: .text(id), 3: .bool(isActive), 4: json(document)])
        case .deleteSubject(let type, let id): .record([0: .unsigned(2), 1: .text(type), 2: .text(id)])
        case .putGroup(let id, let name, let members):
            .record([0: .unsigned(3), 2: .text(id), 5: .text(name), 6: list(members)])
        case .patchMembers(let group, let add, let remove):
            .record([0: .unsigned(4), 2: .text(group), 6: list(add), 7: list(remove)])
        case .deleteGroup(let id): .record([0: .unsigned(5), 2: .text(id)])
        case .putSession(let id, let document): .record([0: .unsigned(6), 2: .text(id), 4: json(document)])
        case .deleteSession(let id): .record([0: .unsigned(7), 2: .text(id)])
        case .putDevice(let id, let document): .record([0: .unsigned(8), 2: .text(id), 4: json(document)])
        case .deleteDevice(let id): .record([0: .unsigned(9), 2: .text(id)])
        case .putResource(let type, let id, let document, let parents):
            .record([
                0: .unsigned(10), 1: .text(type), 2: .text(id), 4: json(document),
                14: parents.isEmpty ? nil : ParentList.value(parents),
            ])
        case .deleteResource(let type, let id): .record([0: .unsigned(11), 1: .text(type), 2: .text(id)])
        case .signal(let type, let id, let name, let value, let at, let expires):
            .record([
                0: .unsigned(12), 1: .text(type), 2: .text(id), 5: .text(name), 4: json(value), 8: .number(at),
                9: expires.map { .number($0) },
            ])
        case .putPolicies(let version, let files, let author, let message, let at, let id):
            .record([
                0: .unsigned(13), 10: .unsigned(version),
                11: .array(files.map(\.cbor)), 12: .text(author), 13: .text(message), 8: .number(at),
                16: .bytes(id.bytes),
            ])
        case .activatePolicies(let version, let author, let message, let at):
            .record([
                0: .unsigned(14), 10: .unsigned(version), 12: author.isEmpty ? nil : .text(author),
                13: message.isEmpty ? nil : .text(message), 8: at == 0 ? nil : .number(at),
            ])
        case .setCandidate(let version, let author, let at):
            .record([0: .unsigned(15), 10: version.map { .unsigned($0) }, 12: .text(author), 8: .number(at)])
        case .putGrant(let grant): grant.cbor(kind: 16)
        case .revokeGrant(let id, let subject, let at, let by, let reason):
            .record([
                0: .unsigned(17), 1: .text(subject.type), 2: .text(subject.id), 8: .number(at), 12: .text(by),
                13: .text(reason), 16: .bytes(id.bytes),
            ])
        }
    }

    /// Reads a change back; nil when it is none.
    package init?(_ value: CBORValue) {
        func document() -> JSONValue? { value[4]?.text.flatMap { try? JSONValue.parse($0) } }
        func members(_ key: UInt64) -> [Member] {
            (value[key]?.items ?? []).compactMap { item in
                guard let parts = item.items, parts.count == 2, let id = parts[0].text else { return nil }
                return Member(id: id, isGroup: parts[1] == .bool(true))
            }
        }
        let type = value[1]?.text
        let id = value[2]?.text
        switch (value[0]?.uint, type, id) {
        case (1, let type?, let id?):
            guard let document = document() else { return nil }
            self = .putSubject(type: type, id: id, isActive: value[3] == .bool(true), document: document)
        case (2, let type?, let id?): self = .deleteSubject(type: type, id: id)
        case (3, _, let id?): self = .putGroup(id: id, displayName: value[5]?.text ?? id, members: members(6))
        case (4, _, let id?): self = .patchMembers(group: id, add: members(6), remove: members(7))
        case (5, _, let id?): self = .deleteGroup(id: id)
        case (6, _, let id?):
            guard let document = document() else { return nil }
            self = .putSession(id: id, document: document)
        case (7, _, let id?): self = .deleteSession(id: id)
        case (8, _, let id?):
            guard let document = document() else { return nil }
            self = .putDevice(id: id, document: document)
        case (9, _, let id?): self = .deleteDevice(id: id)
        case (10, let type?, let id?):
            guard let document = document() else { return nil }
            self = .putResource(
                type: type, id: id, document: document, parents: value[14].map { ParentList.read($0) } ?? [])
        case (11, let type?, let id?): self = .deleteResource(type: type, id: id)
        case (12, let type?, let id?):
            guard let name = value[5]?.text, let signal = document(), let at = value[8]?.int else { return nil }
            self = .signal(type: type, id: id, name: name, value: signal, at: at, expires: value[9]?.int)
        case (13, _, _):
            guard let version = value[10]?.uint, let files = value[11]?.items else { return nil }
            self = .putPolicies(
                version: version,
                files: files.compactMap { PolicyFile($0) }, author: value[12]?.text ?? "",
                message: value[13]?.text ?? "", at: value[8]?.int ?? 0,
                id: UniqueID(value[16]) ?? UniqueID(version: version))
        case (14, _, _):
            guard let version = value[10]?.uint else { return nil }
            self = .activatePolicies(
                version: version, author: value[12]?.text ?? "", message: value[13]?.text ?? "",
                at: value[8]?.int ?? 0)
        case (15, _, _):
            self = .setCandidate(version: value[10]?.uint, author: value[12]?.text ?? "", at: value[8]?.int ?? 0)
        case (16, _, _):
            guard let grant = RoleGrant(value) else { return nil }
            self = .putGrant(grant)
        case (17, let type?, let id?):
            guard let grant = UniqueID(value[16]) else { return nil }
            self = .revokeGrant(
                id: grant, subject: EntityName(type: type, id: id), at: value[8]?.int ?? 0, by: value[12]?.text ?? "",
                reason: value[13]?.text ?? "")
        default: return nil
        }
    }
}
