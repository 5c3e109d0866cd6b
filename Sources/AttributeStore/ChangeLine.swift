// JSON Lines to changes: what `stile load` reads. SCIM's resources as they are; everything else in an object whose
// one member says what it is.

import PolicyLanguage
package import StrictJSON

/// Why a line is no change.
package struct ChangeLineError: Error, Sendable, CustomStringConvertible {
    /// Where in the line: `session.subject.id`.
    package var path: String
    /// What is wrong and how to mend it.
    package var message: String

    package var description: String { path.isEmpty ? message : "\(path): \(message)" }
}

/// Reads lines.
package struct ChangeLineReader: Sendable {
    /// The instant that "now" means in a line, ms since the epoch.
    package var now: Int64

    package init(now: Int64) { self.now = now }

    private static let userSchema = "urn:ietf:params:scim:schemas:core:2.0:User"
    private static let groupSchema = "urn:ietf:params:scim:schemas:core:2.0:Group"

    /// One line as a change.
    package func change(_ line: JSONValue) throws(ChangeLineError) -> Change {
        guard let members = line.object else {
            throw ChangeLineError(path: "", message: "a line is a JSON object; this is \(line.kind)")
        }
        if let schemas = line["schemas"]?.array {
            if schemas.contains(.string(Self.userSchema)) { return try user(line) }
            if schemas.contains(.string(Self.groupSchema)) { return try group(line) }
            throw ChangeLineError(path: "schemas", message: "neither SCIM's User nor its Group")
        }
        guard members.count == 1, let member = members.first else {
            throw ChangeLineError(path: "", message: Self.advice)
        }
        return try wrapped(member.name, member.value)
    }

    private static let advice =
        "a line is a SCIM User or Group (with \"schemas\"), or an object with one member: subject, resource, session, "
        + "device, signal, members or delete"

    // MARK: SCIM

    private func user(_ line: JSONValue) throws(ChangeLineError) -> Change {
        guard let id = line["id"]?.string ?? line["userName"]?.string else {
            throw ChangeLineError(path: "id", message: "a User needs \"id\" or \"userName\"")
        }
        return .putSubject(
            type: "user", id: try checked(id, "id"), isActive: try isActive(line), document: withoutSchemas(line))
    }

    /// SCIM's `active` (RFC 7643 4.1.1); some providers write it as text.
    private func isActive(_ line: JSONValue) throws(ChangeLineError) -> Bool {
        switch line["active"] {
        case nil, .bool(true): return true
        case .bool(false): return false
        case .string(let text) where text.lowercased() == "true": return true
        case .string(let text) where text.lowercased() == "false": return false
        default: throw ChangeLineError(path: "active", message: "true or false is needed")
        }
    }

    private func withoutSchemas(_ line: JSONValue) -> JSONValue {
        .object((line.object ?? []).filter { $0.name != "schemas" && $0.name != "meta" })
    }

    private func group(_ line: JSONValue) throws(ChangeLineError) -> Change {
        guard let id = line["id"]?.string ?? line["displayName"]?.string else {
            throw ChangeLineError(path: "id", message: "a Group needs \"id\" or \"displayName\"")
        }
        let members = try self.members(line["members"], "members")
        return .putGroup(
            id: try checked(id, "id"), displayName: UnicodeText.normalized(line["displayName"]?.string ?? id),
            members: members)
    }

    private func members(_ value: JSONValue?, _ path: String) throws(ChangeLineError) -> [Change.Member] {
        guard let value, value != .null else { return [] }
        guard let list = value.array else { throw ChangeLineError(path: path, message: "an array is needed") }
        var members: [Change.Member] = []
        members.reserveCapacity(list.count)
        for (index, item) in list.enumerated() {
            let place = "\(path)[\(index)]"
            if let id = item.string {
                members.append(Change.Member(id: try checked(id, place), isGroup: false))
                continue
            }
            guard let id = item["value"]?.string else {
                throw ChangeLineError(path: "\(place).value", message: "the member's id is needed")
            }
            members.append(
                Change.Member(id: try checked(id, place), isGroup: item["type"]?.string?.lowercased() == "group"))
        }
        return members
    }

    // MARK: Wrapped lines

    private func wrapped(_ name: String, _ value: JSONValue) throws(ChangeLineError) -> Change {
        switch name {
        case "subject":
            let (type, id) = try entity(value, name)
            let active = value["active"] != .bool(false)
            return .putSubject(type: type, id: id, isActive: active, document: try properties(value, name))
        case "resource":
            let (type, id) = try entity(value, name)
            return .putResource(
                type: type, id: id, document: try properties(value, name),
                parents: try parents(value["parents"], "resource.parents"))
        case "device": return .putDevice(id: try id(value, name), document: try properties(value, name))
        case "session": return try session(value)
        case "signal": return try signal(value)
        case "members":
            guard let group = value["group"]?.string else {
                throw ChangeLineError(path: "members.group", message: "the group's id is needed")
            }
            return .patchMembers(
                group: group, add: try members(value["add"], "members.add"),
                remove: try members(value["remove"], "members.remove"))
        case "delete": return try deletion(value)
        default: throw ChangeLineError(path: name, message: Self.advice)
        }
    }

    private func session(_ value: JSONValue) throws(ChangeLineError) -> Change {
        let id = try id(value, "session")
        guard let subject = value["subject"] else {
            throw ChangeLineError(path: "session.subject", message: "the subject ({\"type\",\"id\"}) is needed")
        }
        let (type, subjectID) = try entity(subject, "session.subject")
        var members = [
            JSONMember("subject", .object(["type": .string(type), "id": .string(subjectID)]))
        ]
        for name in ["auth_time", "expires"] {
            guard let time = value[name], time != .null else { continue }
            members.append(JSONMember(name, .integer(try instant(time, "session.\(name)"))))
        }
        for name in ["assurance", "acr", "issuer", "amr", "device", "properties"] {
            if let member = value[name], member != .null { members.append(JSONMember(name, member)) }
        }
        return .putSession(id: id, document: .object(members))
    }

    private func signal(_ value: JSONValue) throws(ChangeLineError) -> Change {
        guard let name = value["name"]?.string else {
            throw ChangeLineError(
                path: "signal.name", message: "the signal's name is needed, for example \"user.risk\"")
        }
        let parts = name.split(separator: ".", maxSplits: 1)
        guard parts.count == 2 else {
            throw ChangeLineError(path: "signal.name", message: "a signal is named as in the catalog: \"user.risk\"")
        }
        guard let subject = value["subject"] else {
            throw ChangeLineError(
                path: "signal.subject", message: "the entity it is about ({\"type\",\"id\"}) is needed")
        }
        let (type, id) = try entity(subject, "signal.subject", defaultType: String(parts[0]))
        guard type == String(parts[0]) else {
            throw ChangeLineError(path: "signal.subject.type", message: "\(name) is about a \(parts[0]), not a \(type)")
        }
        guard let signal = value["value"] else {
            throw ChangeLineError(path: "signal.value", message: "the value is needed; null takes the signal back")
        }
        let at = try value["at"].map { (time) throws(ChangeLineError) in try instant(time, "signal.at") } ?? now
        var expires: Int64?
        if let time = value["expires"], time != .null { expires = try instant(time, "signal.expires") }
        return .signal(type: type, id: id, name: String(parts[1]), value: signal, at: at, expires: expires)
    }

    private func deletion(_ value: JSONValue) throws(ChangeLineError) -> Change {
        let (type, id) = try entity(value, "delete")
        switch type {
        case "group": return .deleteGroup(id: id)
        case "session": return .deleteSession(id: id)
        case "device": return .deleteDevice(id: id)
        default:
            // Whether the type is a subject or a resource, only the catalog knows; the fold removes both.
            return value["kind"] == .string("resource")
                ? .deleteResource(type: type, id: id) : .deleteSubject(type: type, id: id)
        }
    }

    /// What a resource lies in: `[{"type":"folder","id":"reports"}]`.
    private func parents(_ value: JSONValue?, _ path: String) throws(ChangeLineError) -> [EntityName] {
        guard let value, value != .null else { return [] }
        guard let list = value.array, list.count <= StoreLimits.maxParents else {
            throw ChangeLineError(
                path: path, message: "an array of at most \(StoreLimits.maxParents) entities is needed")
        }
        var parents: [EntityName] = []
        for (index, item) in list.enumerated() {
            let (type, id) = try entity(item, "\(path)[\(index)]")
            let name = EntityName(type: type, id: id)
            if !parents.contains(name) { parents.append(name) }
        }
        return parents
    }

    // MARK: Pieces

    private func entity(
        _ value: JSONValue, _ path: String, defaultType: String? = nil
    ) throws(ChangeLineError) -> (type: String, id: String) {
        guard let type = value["type"]?.string ?? defaultType else {
            throw ChangeLineError(path: "\(path).type", message: "the entity type is needed")
        }
        return (try checked(type, "\(path).type"), try id(value, path))
    }

    private func id(_ value: JSONValue, _ path: String) throws(ChangeLineError) -> String {
        guard let id = value["id"]?.string else {
            throw ChangeLineError(path: "\(path).id", message: "an id (a string) is needed")
        }
        return try checked(id, "\(path).id")
    }

    private func checked(_ id: String, _ path: String) throws(ChangeLineError) -> String {
        guard let problem = StoreLimits.problem(withID: id) else { return id }
        throw ChangeLineError(path: path, message: problem)
    }

    private func properties(_ value: JSONValue, _ path: String) throws(ChangeLineError) -> JSONValue {
        guard let properties = value["properties"] else { return .object([]) }
        guard properties.object != nil else {
            throw ChangeLineError(path: "\(path).properties", message: "an object is needed")
        }
        return properties
    }

    /// RFC 3339, `now`, `now-5m`, `now+8h`.
    private func instant(_ value: JSONValue, _ path: String) throws(ChangeLineError) -> Int64 {
        if let seconds = value.integer, seconds.magnitude < 1 << 40 { return seconds * 1000 }
        if let text = value.string {
            if let instant = Instant.parse(text) { return instant }
            if text == "now" { return now }
            if text.hasPrefix("now"), let offset = Self.offset(text.dropFirst(3)) { return now + offset }
        }
        throw ChangeLineError(
            path: path, message: "an instant is needed: 2026-01-05T09:00:00Z, seconds since 1970, now or now-5m")
    }

    private static func offset(_ text: Substring) -> Int64? {
        guard let sign = text.first, sign == "+" || sign == "-", let unit = text.last,
            let size = ["s": Int64(1000), "m": 60_000, "h": 3_600_000, "d": 86_400_000][unit],
            let count = Int64(text.dropFirst().dropLast()), count >= 0, count < 1_000_000_000
        else { return nil }
        return count * size * (sign == "-" ? -1 : 1)
    }
}

/// Limits of the store.
package enum StoreLimits {
    /// Bytes of an id: LMDB's keys are short.
    package static let maxIDBytes = 256
    /// Changes of one transaction.
    package static let maxBatch = 10_000
    /// Nesting of groups.
    package static let maxGroupDepth = 64
    /// Containers that one resource lies in directly.
    package static let maxParents = 256
    /// Direct groups of one subject.
    package static let maxGroupsOfSubject = 100_000
    /// Grants of one subject that run at once.
    package static let maxGrantsOfSubject = 64
    /// Grants of one subject that are kept after they have ended; the oldest go first.
    package static let maxGrantsKept = 64
    /// Bytes of the reason for a grant, or for its end.
    package static let maxReasonBytes = 1_000
    /// Examples told of each kind of stored value that a new catalog does not fit.
    package static let maxMisfitExamples = 5
    /// Address space of one tenant unless told otherwise: 8 GiB, which costs nothing until it is used.
    package static let defaultMapSize = 8 << 30

    /// What is wrong with an id, or nil.
    package static func problem(withID id: String) -> String? {
        if id.isEmpty { return "an id cannot be empty" }
        if id.utf8.count > maxIDBytes { return "an id of \(id.utf8.count) bytes, above \(maxIDBytes)" }
        if id.utf8.contains(0) { return "an id cannot hold the character U+0000" }
        return nil
    }
}
