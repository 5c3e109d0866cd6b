// A tenant that seals: nothing to read in its file, nothing to move about, nothing lost when keys change.

import AttributeStore
import DecisionEngine
import Foundation
import Glibc
import StrictJSON
import Testing

@Suite struct SealingTests {
    private func sealed() throws -> TemporaryStore {
        let temporary = try TemporaryStore()
        try temporary.store.deleteTenant("t")
        try temporary.store.createTenant("t", TenantRecord(created: 1, allowedUsers: []), isSealed: true)
        return temporary
    }

    private func file(_ temporary: TemporaryStore) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(temporary.store.tenantPath("t"))/data.mdb"))
    }

    /// Format bytes of the values of a database, as they lie.
    private func formats(_ temporary: TemporaryStore, _ name: String) throws -> [UInt8?] {
        let environment = try LMDBEnvironment.open(
            temporary.store.tenantPath("t"), names: [name], mapSize: temporary.store.mapSize, readOnly: false)
        let database = try environment.database(name)
        let transaction = try LMDBReadTransaction(environment)
        var found: [UInt8?] = []
        try transaction.scan(database) { _, value in
            found.append(value.first)
            return true
        }
        return found
    }

    @Test func aSealedStoreShowsNothingInItsFile() throws {
        let temporary = try sealed()
        var writer = try temporary.writer()
        try writer.append(
            [
                try user("u1", #"{"department":"Zebra keeping","level":3}"#), group("g1", "Zebra friends", ["u1"]),
                .signal(type: "user", id: "u1", name: "risk", value: .string("medium"), at: 5, expires: nil),
            ], time: 1)
        let session = try JSONValue.parse(#"{"issuer":"https://providers.example"}"#)
        try writer.append([.putSession(id: "s1", document: session)], time: 1)
        let data = try file(temporary)
        for secret in ["Zebra", "permit read", "providers.example"] {
            #expect(data.range(of: Data(secret.utf8)) == nil)
        }
        #expect(try temporary.view("user", "u1") { $0.isEmpty } == false)
        #expect(try temporary.below("Zebra friends").count == 1)
        #expect(try temporary.touched(after: 0).count > 2)
        #expect(try temporary.differences() == [])
    }

    @Test func aPlainStoreIsSealedWhileItIsReadAndWritten() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        for step in 0..<30 { try writer.append([try user("u\(step)", #"{"level":2}"#)], time: 1) }
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        #expect(try formats(temporary, "views").allSatisfy { $0 == 1 })
        var told = 0
        let count = try temporary.store.seal(tenant: "t", time: 2, chunk: 7) { told = $0 }
        #expect(count == told && count > 60)
        for name in ["log", "subjects", "views", "policies"] {
            #expect(try formats(temporary, name).allSatisfy { $0 == 2 }, "\(name)")
        }
        // Who was open before goes on, and seals from now on.
        try writer.append([try user("later", #"{"level":4}"#)], time: 1)
        #expect(try formats(temporary, "views").allSatisfy { $0 == 2 })
        try reader.renew()
        #expect(try reader.lastSequence() == temporary.lastSequence())
        #expect(try temporary.view("user", "u7") { $0.isEmpty } == false)
        #expect(try temporary.differences() == [])
        // And once more, with another data key.
        _ = try temporary.store.seal(tenant: "t", time: 3) { _ in }
        #expect(try temporary.store.tenant("t").sealing.map(\.number) == [2])
        try writer.append([try user("last", #"{"level":4}"#)], time: 1)
        #expect(try temporary.differences() == [])
    }

    @Test func twoThatSealAtOnceLoseNothing() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        for step in 0..<30 { try writer.append([try user("u\(step)", #"{"level":2}"#)], time: 1) }
        var isInner = true
        _ = try temporary.store.seal(tenant: "t", time: 2, chunk: 7) { _ in
            if isInner { _ = try? temporary.store.seal(tenant: "t", time: 3) { _ in } }
            isInner = false
        }
        #expect(try temporary.store.tenant("t").sealing.map(\.number) == [2])
        try writer.append([try user("last", #"{"level":4}"#)], time: 1)
        #expect(try temporary.view("user", "u7") { $0.isEmpty } == false)
        #expect(try temporary.differences() == [])
    }

    @Test(arguments: [3, 4]) func randomChangesFoldAlikeSealedAndPlain(_ seed: UInt64) throws {
        let temporary = try sealed()
        var writer = try temporary.writer()
        var random = RandomChanges(seed)
        for step in 0..<200 {
            _ = refusal(&writer, [try random.change(step)])
            if step == 100 { _ = try temporary.store.seal(tenant: "t", time: 1) { _ in } }
        }
        #expect(try temporary.differences() == [], "seed \(seed)")
    }

    @Test func aViewIsKeptOpenedForASnapshotAndNoLonger() throws {
        let temporary = try sealed()
        var writer = try temporary.writer()
        // More than the first places, so that they grow while opened views are kept.
        let count = 2_500
        try writer.append(try (0..<count).map { try user("u\($0)", #"{"level":\#($0 % 6)}"#) }, time: 1)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        let prefixes = ViewPrefixes(layout: try reader.generations().layout, types: ["user"])
        defer { withExtendedLifetime(prefixes) {} }
        func level(_ user: Int) throws -> UInt64 {
            var id = "u\(user)"
            return try id.withUTF8 { bytes in
                try unsafe reader.view(prefixes[0], id: UnsafeRawBufferPointer(bytes)).payload(1)
            }
        }
        for _ in 0..<4 {
            try reader.renew()
            for user in 0..<count { #expect(try level(user) == UInt64(user % 6)) }
        }
        for round in 1...3 {
            try writer.append([try user("u7", #"{"level":\#(round)}"#)], time: 1)
            // The snapshot at hand stays what it was.
            #expect(try level(7) == UInt64(round == 1 ? 1 : round - 1))
            try reader.renew()
            for _ in 0..<2 {
                #expect(try level(7) == UInt64(round))
                #expect(try level(8) == 2)
            }
        }
    }

    @Test func aValuePutInAnothersPlaceIsRefused() throws {
        let temporary = try sealed()
        var writer = try temporary.writer()
        try writer.append([try user("poor", #"{"level":0}"#), try user("rich", #"{"level":5}"#)], time: 1)
        let environment = try LMDBEnvironment.open(
            temporary.store.tenantPath("t"), names: ["views"], mapSize: temporary.store.mapSize, readOnly: false)
        let views = try environment.database("views")
        let transaction = try LMDBWriteTransaction(environment)
        var pairs: [String: ([UInt8], [UInt8])] = [:]
        try transaction.scan(views) { key, value in
            pairs[String(decoding: key.suffix(4), as: UTF8.self)] = (key, value)
            return true
        }
        let poor = try #require(pairs["poor"])
        let rich = try #require(pairs["rich"])
        try transaction.put(views, poor.0, rich.1)
        try transaction.commit()
        #expect(try temporary.view("user", "rich") { $0.isEmpty } == false)
        let error = #expect(throws: StoreError.self) { try temporary.view("user", "poor") { $0.isEmpty } }
        #expect(error?.code == .sealed && error?.message.contains("belongs elsewhere") == true)
    }

    @Test func withoutTheKeyNothingIsReadAndTheErrorSaysWhichFileIsMissing() throws {
        let temporary = try sealed()
        _ = try temporary.writer()
        let path = temporary.store.keyPath("t")
        #expect(unsafe rename(path, "\(path).away") == 0)
        let missing = #expect(throws: StoreError.self) {
            var writer = try TenantWriter(temporary.store, tenant: "t")
            try writer.append([try user("u1")], time: 1)
        }
        #expect(missing?.code == .sealed && missing?.message.contains(path) == true)
        try KeyFile.make(path, what: "a test")
        let other = #expect(throws: StoreError.self) {
            var writer = try TenantWriter(temporary.store, tenant: "t")
            try writer.append([try user("u1")], time: 1)
        }
        #expect(other?.message.contains("not the key that tenant") == true)
        // The tenant's own key can change: the data keys are wrapped anew.
        #expect(throws: StoreError.self) { try temporary.store.rewrap("t", former: path) }
        try temporary.store.rewrap("t", former: "\(path).away")
        var writer = try TenantWriter(temporary.store, tenant: "t")
        try writer.append([try user("u1")], time: 1)
        #expect(try temporary.differences() == [])
        for name in [path, "\(path).away"] { _ = unsafe unlink(name) }
    }
}
