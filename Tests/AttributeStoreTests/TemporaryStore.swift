// A store in a directory of its own, removed afterwards, with a small catalog.

import AttributeStore
import DecisionEngine
import Glibc
import PolicyLanguage
import StrictJSON

/// A throw-away store with one tenant, "t".
final class TemporaryStore {
    let path: String
    let store: Store

    static let catalog = """
        catalog "store" version 1.0.0 {
          assurance password < mfa
          issuer "https://idp" { acr "two" = mfa }
          entity user { department: string = ""  level: 0...5 = 0  emails: set of string = [] from scim "emails" }
          signal user.risk: enum(low < medium < high) = low from caep "risk" expires 1h
          signal device.compliant: bool = false from caep "compliance" expires 1h
          entity folder in folder
          entity doc in folder { status: enum(open, closed) = open }
          action read on doc
        }
        policy "P" { permit read on doc to user in group "Staff" }
        """

    init(mapSize: Int = 64 << 20) throws {
        var template = Array("/tmp/stile-test-\(String(repeating: "X", count: 6))".utf8CString)
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "" }
            return unsafe String(cString: made)
        }
        store = Store(path: "\(path)/store", mapSize: mapSize)
        try store.createTenant("t", TenantRecord(created: 1, allowedUsers: [7]))
    }

    deinit {
        try? store.deleteTenant("t")
        for name in ["data.mdb", "lock.mdb", "doorbell"] { _ = unsafe unlink("\(path)/store/control/\(name)") }
        for name in ["store/control", "store/tenants", "store", ""] { _ = unsafe rmdir("\(path)/\(name)") }
    }

    /// As a restore from a copy would.
    func removeDoorbell() { _ = unsafe unlink(store.doorbellPath) }

    /// A writer with the catalog active.
    func writer() throws -> TenantWriter {
        var writer = try TenantWriter(store, tenant: "t")
        _ = try writer.push([PolicyFile(name: "all.stile", text: Self.catalog)], author: "test", message: "", time: 1)
        return writer
    }

    /// What `body` makes of an entity's view.
    func view<Result>(_ type: String, _ id: String, _ body: (RecordView) -> Result) throws -> Result {
        var reader = try TenantReader(store, tenant: "t")
        try reader.renew()
        let layout = try reader.generations().layout
        var id = id
        let prefixes = ViewPrefixes(layout: layout, types: [type])
        defer { withExtendedLifetime(prefixes) {} }
        return try id.withUTF8 { bytes in
            body(try unsafe reader.view(prefixes[0], id: UnsafeRawBufferPointer(bytes)))
        }
    }

    /// Numbers of the groups that make `user in group name` true.
    func below(_ name: String) throws -> Set<UInt32> {
        var reader = try TenantReader(store, tenant: "t")
        try reader.renew()
        return Set(try reader.groups(below: [name]).map(\.number))
    }

    func generations() throws -> Generations {
        var reader = try TenantReader(store, tenant: "t")
        try reader.renew()
        return try reader.generations()
    }

    func lastSequence() throws -> UInt64 {
        var reader = try TenantReader(store, tenant: "t")
        try reader.renew()
        return try reader.lastSequence()
    }

    /// What the entries after a sequence number touched.
    func touched(after sequence: UInt64) throws -> [Touch] {
        var reader = try TenantReader(store, tenant: "t")
        try reader.renew()
        var found: [Touch] = []
        _ = try reader.touched(after: sequence, limit: .max) { found.append($0) }
        return found
    }

    /// Folds the log anew and compares.
    func differences() throws -> [String] {
        let scratch = "\(path)/scratch"
        _ = unsafe mkdir(scratch, 0o700)
        defer { _ = unsafe rmdir(scratch) }
        return try store.verify(tenant: "t", scratch: scratch).differences
    }
}

/// A user's change.
func user(_ id: String, _ json: String = "{}", active: Bool = true) throws -> Change {
    .putSubject(type: "user", id: id, isActive: active, document: try JSONValue.parse(json))
}

/// A group's change; ids that start with "g" are groups.
func group(_ id: String, _ name: String, _ members: [String]) -> Change {
    .putGroup(id: id, displayName: name, members: members.map { Change.Member(id: $0, isGroup: $0.hasPrefix("g")) })
}

/// Why the store refuses the changes; nil when it took them.
func refusal(_ writer: inout TenantWriter, _ changes: [Change]) -> StoreError? {
    do throws(StoreError) {
        try writer.append(changes, time: 1)
        return nil
    } catch {
        return error
    }
}

/// Random changes of a few entities, the same for the same seed.
struct RandomChanges {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    private mutating func next(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
    }

    /// Ids that are the same for the same seed.
    private mutating func uniqueID(_ number: UInt64) -> UniqueID {
        UniqueID("00000000-0000-4000-8000-00000000000\(number)") ?? UniqueID()
    }

    /// A role that is taken, or given up: refused where the subject is not there or has not taken it.
    private mutating func role(_ id: String, _ step: Int) -> Change {
        let subject = EntityName(type: "user", id: id)
        let grant = uniqueID(next(8))
        if next(3) == 0 { return .revokeGrant(id: grant, subject: subject, at: Int64(step), by: "t", reason: "") }
        return .putGrant(
            RoleGrant(
                id: grant, subject: subject, role: next(2) == 0 ? "operator" : "auditor", since: Int64(step),
                until: Int64(step) + 20 + Int64(next(50)), reason: "r", by: "t", version: 1, offer: "o", place: "p"))
    }

    /// - Parameter step: the instant of a signal.
    mutating func change(_ step: Int) throws -> Change {
        let id = "u\(next(6))"
        let target = "g\(next(4))"
        switch next(12) {
        case 10, 11: return role(id, step)
        case 0, 1: return try user(id, #"{"level":\#(next(6))}"#, active: next(4) > 0)
        case 2: return .deleteSubject(type: "user", id: id)
        case 3: return group(target, next(2) == 0 ? "Staff" : "Team", ["u\(next(6))", "u\(next(6))"])
        case 4: return .patchMembers(group: target, add: [Change.Member(id: id, isGroup: false)], remove: [])
        case 5:
            return .patchMembers(
                group: target, add: [Change.Member(id: "g\(next(4))", isGroup: true)],
                remove: [Change.Member(id: id, isGroup: false)])
        case 6: return .deleteGroup(id: target)
        case 7:
            return .signal(
                type: "user", id: id, name: "risk", value: .string("medium"), at: Int64(step), expires: nil)
        case 8:
            return .signal(
                type: "device", id: "v\(next(2))", name: "compliant", value: .bool(next(2) == 0), at: Int64(step),
                expires: nil)
        default:
            if next(4) == 0 { return .deleteResource(type: "doc", id: "d\(next(3))") }
            return .putResource(
                type: "doc", id: "d\(next(3))",
                document: try JSONValue.parse(next(2) == 0 ? #"{"status":"closed"}"# : "{}"))
        }
    }
}
