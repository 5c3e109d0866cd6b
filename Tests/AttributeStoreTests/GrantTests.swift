// Roles taken for a time: what is recorded, what views hold of it, and how it ends.

import AttributeStore
import DecisionEngine
import Foundation
import PolicyLanguage
import StrictJSON
import Testing

@Suite("grants", .serialized)
struct GrantTests {
    private func grant(
        _ id: String = "ada", _ role: String = "operator", since: Int64 = 1_000, until: Int64 = 5_000
    ) -> RoleGrant {
        RoleGrant(
            subject: EntityName(type: "user", id: id), role: role, since: since, until: until, reason: "OPS-17",
            by: "test", version: 1, offer: "P offer operator", place: "all.stile:9")
    }

    private func roles(_ temporary: TemporaryStore, _ id: String = "ada") throws -> [GrantedRole] {
        try temporary.view("user", id) { $0.grantedRoles }
    }

    private func revoke(_ grant: RoleGrant) -> Change {
        .revokeGrant(id: grant.id, subject: grant.subject, at: 2_000, by: "test", reason: "done")
    }

    @Test("a view holds the roles that were taken with their ends, each once, beside its attributes and groups")
    func view() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append(
            [
                try user("ada", #"{"department":"Finance"}"#), group("g1", "Staff", ["ada"]), .putGrant(grant()),
                .putGrant(grant(until: 9_000)), .putGrant(grant("ada", "auditor", until: 7_000)),
            ], time: 1)
        let expected = [GrantedRole(name: "auditor", until: 7_000), GrantedRole(name: "operator", until: 9_000)]
        #expect(try roles(temporary) == expected)
        let (department, group) = try temporary.view("user", "ada") { ($0.string($0.payload(0))?.text, $0.group(0)) }
        #expect(department == "Finance" && group == 1)
        // What writes the view anew keeps them.
        try writer.append([try user("ada", #"{"level":2}"#)], time: 2)
        #expect(try roles(temporary) == expected)
        #expect(try temporary.differences() == [])
    }

    @Test("a grant ends by revocation alone, and the other one of its role goes on")
    func revocation() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let (long, short) = (grant(until: 9_000), grant())
        try writer.append([try user("ada"), .putGrant(long), .putGrant(short), revoke(long)], time: 1)
        #expect(try roles(temporary) == [GrantedRole(name: "operator", until: 5_000)])
        #expect(refusal(&writer, [revoke(grant())])?.code == .grantUnknown)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        let found = try #require(try reader.grant(long.id))
        #expect(found.state(at: 1_500) == .revoked && found.ending?.by == "test" && found.ending?.reason == "done")
        #expect(try reader.grant(short.id)?.state(at: 4_999) == .active)
        #expect(try reader.grant(short.id)?.state(at: 5_000) == .ended)
        let revoked = try writer.revokeGrant(short.id, by: "bob", reason: "", time: 3_000)
        #expect(revoked.ending?.at == 3_000)
        var again: StoreError.Code?
        do throws(StoreError) {
            _ = try writer.revokeGrant(short.id, by: "bob", reason: "", time: 3_000)
        } catch {
            again = error.code
        }
        #expect(again == .grantEnded)
        #expect(try roles(temporary).isEmpty)
        #expect(try temporary.differences() == [])
    }

    @Test("a deactivated subject loses what it has taken for good, a deleted one all trace of it")
    func deactivation() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let taken = grant(until: .max)
        try writer.append([try user("ada"), .putGrant(taken), try user("ada", active: false)], time: 1)
        #expect(refusal(&writer, [.putGrant(grant())])?.code == .valueInvalid)
        try writer.append([try user("ada")], time: 2)
        #expect(try roles(temporary).isEmpty)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        #expect(try reader.grant(taken.id)?.state(at: 3) == .deactivated)
        try writer.append([.deleteSubject(type: "user", id: "ada")], time: 3)
        try reader.renew()
        #expect(try reader.grant(taken.id) == nil)
        #expect(try reader.grants(of: nil, now: 3, limit: 10).items.isEmpty)
        #expect(refusal(&writer, [.putGrant(grant())])?.code == .valueInvalid)
        #expect(try temporary.differences() == [])
    }

    @Test("what cannot be is refused: without an end, a reason, room")
    func refusals() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([try user("ada")], time: 1)
        var silent = grant()
        silent.reason = " "
        var long = grant()
        long.reason = String(repeating: "a", count: StoreLimits.maxReasonBytes + 1)
        for bad in [grant(until: 1_000), silent, long, grant("ada", "")] {
            #expect(refusal(&writer, [.putGrant(bad)])?.code == .valueInvalid)
        }
        for _ in 0..<StoreLimits.maxGrantsOfSubject { try writer.append([.putGrant(grant())], time: 1) }
        #expect(refusal(&writer, [.putGrant(grant())])?.code == .tooManyGrants)
        // One that begins when they have ended is no longer beside them.
        try writer.append([.putGrant(grant(since: 5_000, until: 6_000))], time: 1)
        #expect(try roles(temporary) == [GrantedRole(name: "operator", until: 6_000)])
    }

    @Test("of what has ended the oldest go, and folding twice is folding once")
    func kept() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([try user("ada")], time: 1)
        let first = grant(since: 1, until: 2)
        try writer.append([.putGrant(first), .putGrant(first)], time: 1)
        let grants = (1...Int64(StoreLimits.maxGrantsKept)).map { grant(since: $0 * 10, until: $0 * 10 + 5) }
        try writer.append(grants.map { .putGrant($0) }, time: 1)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        #expect(try reader.grant(first.id) == nil)
        let all = try reader.grants(of: first.subject, now: 1, limit: 1_000).items
        #expect(all.count == StoreLimits.maxGrantsKept)
        #expect(try temporary.differences() == [])
    }

    @Test("lists are filtered by subject, role and state, and go on page by page")
    func lists() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let all = [grant(), grant("ada", "auditor", until: 2_000), grant("bob"), grant("bob", until: 2_000)]
        try writer.append([try user("ada"), try user("bob")] + all.map { .putGrant($0) }, time: 1)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        func ids(_ page: Page<RoleGrant>) -> Set<UniqueID> { Set(page.items.map(\.id)) }
        let bob = EntityName(type: "user", id: "bob")
        #expect(ids(try reader.grants(of: nil, now: 3_000, limit: 10)) == Set(all.map(\.id)))
        #expect(ids(try reader.grants(of: bob, now: 3_000, limit: 10)) == [all[2].id, all[3].id])
        #expect(ids(try reader.grants(of: nil, role: "auditor", now: 3_000, limit: 10)) == [all[1].id])
        #expect(ids(try reader.grants(of: nil, state: .active, now: 3_000, limit: 10)) == [all[0].id, all[2].id])
        #expect(ids(try reader.grants(of: bob, state: .ended, now: 3_000, limit: 10)) == [all[3].id])
        var found: [UniqueID] = []
        var after: [UInt8]?
        repeat {
            let page = try reader.grants(of: nil, now: 3_000, after: after, limit: 1)
            found += page.items.map(\.id)
            after = page.next
        } while after != nil
        #expect(found.count == 4 && Set(found) == Set(all.map(\.id)))
    }

    @Test("a grant is not recorded when what it was decided by has changed since")
    func basis() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([try user("ada"), try user("bob")], time: 1)
        func basis() throws -> DecisionBasis {
            DecisionBasis(
                sequence: try temporary.lastSequence(), generations: try temporary.generations(),
                entities: [EntityName(type: "user", id: "ada"), EntityName(type: "session", id: "s")])
        }
        func code(_ basis: DecisionBasis, _ writer: inout TenantWriter) -> StoreError.Code? {
            do throws(StoreError) {
                try writer.grant(grant(), decidedBy: basis)
                return nil
            } catch {
                return error.code
            }
        }
        var seen = try basis()
        try writer.append([try user("bob", #"{"level":1}"#)], time: 2)
        #expect(code(seen, &writer) == nil, "somebody else has changed")
        let changes: [[Change]] = [
            [try user("ada", #"{"level":1}"#)], [group("g1", "Staff", ["ada"])],
            [.putSession(id: "s", document: try JSONValue.parse(#"{"subject":{"type":"user","id":"ada"}}"#))],
            [.deleteSession(id: "s")],
            [.signal(type: "user", id: "ada", name: "risk", value: .string("high"), at: 5, expires: nil)],
        ]
        for change in changes {
            seen = try basis()
            try writer.append(change, time: 3)
            #expect(code(seen, &writer) == .conflict, "\(change)")
        }
        seen = try basis()
        _ = try writer.push(
            [PolicyFile(name: "all.stile", text: TemporaryStore.catalog)], author: "test", message: "", time: 4)
        #expect(code(seen, &writer) == .conflict)
    }

    @Test("a store from before there were grants is read as one without any")
    func older() throws {
        let temporary = try TemporaryStore()
        try temporary.store.deleteTenant("t")
        let path = temporary.store.tenantPath("t")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let names = [
            "log", "subjects", "groups", "groupNumbers", "members", "memberships", "sessions", "devices", "resources",
            "signals", "views", "policies", "meta", "parents", "containers", "containerNumbers", "nesting",
        ]
        // A process has an environment open once: the writer below finds this one.
        let environment = try LMDBEnvironment.open(path, names: names, mapSize: 64 << 20, readOnly: false)
        try temporary.store.createTenant("t", TenantRecord(created: 1, allowedUsers: []))
        var writer = try temporary.writer()
        try writer.append([try user("ada"), try user("ada", active: false), try user("ada")], time: 1)
        #expect(!environment.has("grants"))
        #expect(try roles(temporary).isEmpty)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        #expect(try reader.grants(of: nil, now: 1, limit: 10).items.isEmpty)
        #expect(try reader.grant(UniqueID()) == nil)
        #expect(refusal(&writer, [.putGrant(grant())])?.code == .failed, "nothing is acknowledged that is not kept")
        #expect(try temporary.differences() == [])
    }

    @Test("what a sealed tenant's file holds shows neither role nor reason")
    func sealed() throws {
        let temporary = try TemporaryStore()
        try temporary.store.deleteTenant("t")
        try temporary.store.createTenant("t", TenantRecord(created: 1, allowedUsers: []), isSealed: true)
        var writer = try temporary.writer()
        var secret = grant("ada", "zebrakeeper")
        secret.reason = "Zebra loose"
        try writer.append([try user("ada"), .putGrant(secret)], time: 1)
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(temporary.store.tenantPath("t"))/data.mdb"))
        for word in ["zebrakeeper", "Zebra loose"] { #expect(data.range(of: Data(word.utf8)) == nil) }
        #expect(try roles(temporary) == [GrantedRole(name: "zebrakeeper", until: 5_000)])
        #expect(try temporary.differences() == [])
    }
}
