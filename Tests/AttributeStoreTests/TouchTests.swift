// What the log tells readers with open questions: no view may change without its entity being told of.

import AttributeStore
import DecisionEngine
import StrictJSON
import Testing

@Suite("touched entities")
struct TouchTests {
    @Test("a signal tells of its entity alone")
    func signal() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([try user("ada"), try user("bob")], time: 1)
        let before = try temporary.lastSequence()
        try writer.append(
            [.signal(type: "user", id: "ada", name: "risk", value: .string("high"), at: 5, expires: nil)], time: 2)
        #expect(try temporary.touched(after: before) == [.entity(hash("user", "ada"))])
    }

    @Test("a group that is put again tells of who came and who went, not of who stayed")
    func group() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([AttributeStoreTests.group("g1", "Staff", ["ada", "bob", "cho"])], time: 1)
        let before = try temporary.lastSequence()
        try writer.append([AttributeStoreTests.group("g1", "Staff", ["bob", "cho", "dan"])], time: 2)
        #expect(
            try temporary.touched(after: before) == [.entity(hash("user", "ada")), .entity(hash("user", "dan"))])
    }

    @Test("sessions, devices, resources and other subjects are told of by type and id")
    func kinds() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let before = try temporary.lastSequence()
        let session = #"{"subject":{"type":"user","id":"ada"},"issuer":"https://idp","acr":"two","auth_time":5}"#
        try writer.append(
            [
                .putSession(id: "s", document: try JSONValue.parse(session)),
                .putDevice(id: "d", document: .object([])),
                .putResource(type: "doc", id: "r", document: .object([])),
                AttributeStoreTests.group("g1", "Staff", []),
                .patchMembers(group: "g1", add: [Change.Member(id: "robot\u{1}r2", isGroup: false)], remove: []),
                .deleteSession(id: "s"),
            ], time: 2)
        #expect(
            try temporary.touched(after: before) == [
                .entity(hash("session", "s")), .entity(hash("device", "d")), .entity(hash("doc", "r")),
                .entity(hash("robot", "r2")), .entity(hash("session", "s")),
            ])
    }

    @Test("a walk of limited length goes on where it ended")
    func limit() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let before = try temporary.lastSequence()
        try writer.append(try (0..<10).map { try user("u\($0)") }, time: 1)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        var found: [Touch] = []
        var position = before
        for expected in [4, 8, 10, 10] as [UInt64] {
            position = try reader.touched(after: position, limit: 4) { found.append($0) }
            #expect(position == before + expected)
        }
        #expect(found == (0..<10).map { .entity(hash("user", "u\($0)")) })
    }

    @Test("no view changes without its entity being told of, unless policies or nesting have moved")
    func complete() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = RandomChanges(seed)
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let users = (0..<6).map { ("user", "u\($0)") }
        let entities = users + (0..<3).map { ("doc", "d\($0)") } + (0..<2).map { ("device", "v\($0)") }
        func views() throws -> [[UInt64]] {
            try entities.map { entity in try temporary.view(entity.0, entity.1) { FoldTests.bytes($0) } }
        }
        for step in 0..<400 {
            let before = try views()
            let sequence = try temporary.lastSequence()
            let generations = try temporary.generations()
            if refusal(&writer, [try random.change(step)]) != nil { continue }
            if try temporary.generations() != generations { continue }
            let touched = Set(try temporary.touched(after: sequence))
            for (index, view) in try views().enumerated() where view != before[index] {
                let (type, id) = entities[index]
                #expect(touched.contains(.entity(hash(type, id))), "seed \(seed), step \(step): \(type) \(id)")
            }
        }
    }

    private func hash(_ type: String, _ id: String) -> UInt64 {
        var type = type
        var id = id
        return type.withUTF8 { type in
            id.withUTF8 { id in
                unsafe EntityHash.of(UnsafeRawBufferPointer(type), UnsafeRawBufferPointer(id))
            }
        }
    }
}
