// The change log and what it folds into.

import AttributeStore
import DecisionEngine
import Memory
import PolicyLanguage
import StrictJSON
import Testing

@Suite("fold", .serialized)
struct FoldTests {
    @Test("a user's document becomes a view in the catalog's order, with its groups ascending")
    func view() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append(
            [
                group("g2", "Later", ["ada"]), group("g1", "Staff", ["ada"]),
                try user("ada", #"{"department":"Finance","level":3,"emails":[{"value":"a@x"},{"value":"b@x"}]}"#),
            ], time: 1)
        let found = try temporary.view("user", "ada") { view in
            (
                view.isWellFormed, view.string(view.payload(0))?.text, view.payload(1), view.setCount(view.payload(2)),
                view.groupCount, [view.group(0), view.group(1)], view.validUntil(3)
            )
        }
        #expect(found.0)
        #expect(found.1 == "Finance")
        #expect(found.2 == 3)
        #expect(found.3 == 2)
        #expect(found.4 == 2)
        #expect(found.5 == [1, 2])
        #expect(found.6 == RecordLayout.absent)
    }

    @Test("deprovisioning marks the view, and a stray attribute does not stop it")
    func deprovisioned() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([try user("ada", #"{"level":9}"#, active: false)], time: 1)
        #expect(try temporary.view("user", "ada") { $0.isInactive })
    }

    @Test("a value that does not fit is refused by name, and nothing of its batch is kept")
    func refused() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let batch = [try user("good"), try user("bad", #"{"level":9}"#)]
        let error = refusal(&writer, batch)
        #expect(error?.code == .valueInvalid)
        #expect(error?.changeIndex == 1)
        #expect(error?.message.contains("\"level\" needs 0...5, found 9") == true)
        #expect(try temporary.view("user", "good") { $0.isEmpty })
        #expect(try temporary.differences() == [])
    }

    @Test("a signal ends when its lifetime does, and an older one does not take its place")
    func signals() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        func risk(_ value: String, at: Int64) -> Change {
            .signal(type: "user", id: "ada", name: "risk", value: .string(value), at: at, expires: nil)
        }
        try writer.append([try user("ada"), risk("HIGH", at: 1_000), risk("low", at: 500)], time: 1)
        let (value, end) = try temporary.view("user", "ada") { ($0.payload(3), $0.validUntil(3)) }
        #expect(value == 2)
        #expect(end == 1_000 + 3_600_000)
        #expect(refusal(&writer, [risk("huge", at: 2_000)])?.code == .valueInvalid)
    }

    @Test("an unknown acr proves nothing; a known one proves its level and those below")
    func sessions() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        func session(_ id: String, _ acr: String) throws -> Change {
            .putSession(
                id: id,
                document: try JSONValue.parse(
                    #"{"subject":{"type":"user","id":"ada"},"issuer":"https://idp","acr":"\#(acr)","amr":["pwd","new"],"auth_time":5}"#
                ))
        }
        try writer.append([try session("s1", "two"), try session("s2", "other")], time: 1)
        let slots = SessionSlots(
            try #require(checkCatalog([SourceFile(name: "c", text: TemporaryStore.catalog)]).catalog))
        #expect(try temporary.view("session", "s1") { $0.payload(slots.levels) } == 3)
        #expect(try temporary.view("session", "s2") { $0.payload(slots.levels) } == 0)
        #expect(try temporary.view("session", "s1") { $0.string($0.payload(slots.subject))?.text } == "user\u{0}ada")
    }

    @Test("a document brings values only from where it comes, as the checker says, and signals are another road")
    func sources() throws {
        let catalog = """
            catalog "sources" version 1.0.0 {
              entity user { a: int = 0 from scim "a"  b: int = 0 from token "b"  c: int = 0 from application }
              entity session { a: int = 0 from scim "a"  b: int = 0 from token "b"  c: int = 0 from application }
              entity doc { a: int = 0 from scim "a"  b: int = 0 from token "b"  c: int = 0 from application }
              signal doc.d: int = 0 from caep "d"
              action read on doc
            }
            policy "P" {
              permit read on doc when resource.a == 1 or resource.b == 1 or resource.c == 1 or resource.d == 1
              permit read on doc when session.a == 1 or session.b == 1 or session.c == 1
              permit read on doc when user.a == 1 or user.b == 1 or user.c == 1
            }
            """
        let found = checkPolicies([SourceFile(name: "all.stile", text: catalog)]).diagnostics
        let told = found.filter { $0.code == .neverFilled }.map(\.message)
        #expect(told.count == 3 && found.count == 3)
        let temporary = try TemporaryStore()
        var writer = try TenantWriter(temporary.store, tenant: "t")
        _ = try writer.push([PolicyFile(name: "all.stile", text: catalog)], author: "test", message: "", time: 1)
        let values = try JSONValue.parse(#"{"a":1,"b":1,"c":1,"d":1}"#)
        try writer.append(
            [
                .putSubject(type: "user", id: "x", isActive: true, document: values),
                .putSession(id: "x", document: .object(["properties": values])),
                .putResource(type: "doc", id: "x", document: values),
            ], time: 1)
        for (type, filled) in [("user", [0, 1, 2]), ("session", [1, 2]), ("doc", [2])] {
            for slot in 0..<3 {
                let isFilled = try temporary.view(type, "x") { $0.validUntil(slot) != RecordLayout.absent }
                #expect(isFilled == filled.contains(slot), "\(type).\("abc".dropFirst(slot).prefix(1))")
                let name = "\(type == "doc" ? "resource" : type).\("abc".dropFirst(slot).prefix(1))"
                #expect(told.contains { $0.contains("`\(name)`") } == !isFilled, "\(told)")
            }
        }
        #expect(try temporary.view("doc", "x") { $0.validUntil(3) == RecordLayout.absent })
        try writer.append(
            [.signal(type: "doc", id: "x", name: "d", value: .integer(1), at: 1, expires: nil)], time: 2)
        #expect(try temporary.view("doc", "x") { $0.payload(3) } == 1)
        // Nor is a signal another road to what a provider or the application says.
        for name in ["a", "b", "c"] {
            let error = refusal(
                &writer, [.signal(type: "doc", id: "x", name: name, value: .integer(2), at: 2, expires: nil)])
            #expect(error?.code == .unknownSignal)
            #expect(error?.message.contains("no signal \"doc.\(name)\"; there are doc.d") == true)
        }
        #expect(try temporary.differences() == [])
    }

    @Test("durations and instants at the ends of the numbers are refused, not computed with")
    func endsOfNumbers() throws {
        let least = JSONValue.number("-9223372036854775808")
        #expect(JSONConversion.constant(least, of: .duration) == nil)
        #expect(JSONConversion.constant(.number("-90"), of: .duration) == .duration(-90_000))
        let line = JSONValue.object([
            "signal": .object([
                "name": .string("user.risk"), "subject": .object(["type": .string("user"), "id": .string("ada")]),
                "value": .string("high"), "at": least,
            ])
        ])
        #expect(throws: ChangeLineError.self) { try ChangeLineReader(now: 0).change(line) }
    }

    @Test("nesting counts at once and rewrites no view; a circle is refused")
    func nesting() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([group("g1", "Staff", []), group("g2", "Team", ["ada"]), try user("ada")], time: 1)
        let before = try temporary.generations()
        #expect(try temporary.below("Staff").count == 1)
        try writer.append(
            [.patchMembers(group: "g1", add: [Change.Member(id: "g2", isGroup: true)], remove: [])], time: 1)
        let written = writer.viewsWritten
        #expect(written == 0)
        #expect(try temporary.below("Staff").count == 2)
        #expect(try temporary.generations().hierarchy > before.hierarchy)
        let circle = refusal(&writer, [group("g2", "Team", ["ada", "g1"])])
        #expect(circle?.code == .groupCycle)
        #expect(try temporary.differences() == [])
    }

    @Test("a member more in a large group writes one view")
    func largeGroup() throws {
        let temporary = try TemporaryStore(mapSize: 256 << 20)
        var writer = try temporary.writer()
        let names = (0..<20_000).map { "u\($0)" }
        try writer.append([group("g1", "Staff", names), try user("new")], time: 1)
        try writer.append(
            [.patchMembers(group: "g1", add: [Change.Member(id: "new", isGroup: false)], remove: [])], time: 1)
        let written = writer.viewsWritten
        #expect(written == 1)
        #expect(try temporary.view("user", "new") { $0.groupCount } == 1)
    }

    @Test("a full map refuses the batch whole and keeps what was there")
    func full() throws {
        let temporary = try TemporaryStore(mapSize: 1 << 20)
        var writer = try temporary.writer()
        try writer.append([try user("first")], time: 1)
        let batch = try (0..<5_000).map { try user("u\($0)") }
        let error = refusal(&writer, batch)
        #expect(error?.code == .storeFull)
        #expect(try temporary.view("user", "u0") { $0.isEmpty })
        #expect(try temporary.view("user", "first") { !$0.isEmpty })
        try writer.append([try user("second")], time: 1)
        #expect(try temporary.view("user", "second") { !$0.isEmpty })
    }

    @Test("a catalog that moves slots keeps the views of the version before")
    func layouts() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([try user("ada", #"{"department":"Finance","title":"CFO"}"#)], time: 1)
        let before = try temporary.generations()
        let changed = TemporaryStore.catalog.replacingFirst(
            "department: string", "title: string = \"\"  department: string")
        _ = try writer.push([PolicyFile(name: "all.stile", text: changed)], author: "", message: "", time: 2)
        let after = try temporary.generations()
        #expect(after.layout != before.layout)
        try writer.append([try user("ada", #"{"department":"Legal","title":"CFO"}"#)], time: 3)
        #expect(try temporary.view("user", "ada") { $0.string($0.payload(0))?.text } == "CFO")
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        var id = "ada"
        let prefixes = ViewPrefixes(layout: before.layout, types: ["user"])
        defer { withExtendedLifetime(prefixes) {} }
        let old = try id.withUTF8 { bytes -> String? in
            let view = try unsafe reader.view(prefixes[0], id: UnsafeRawBufferPointer(bytes))
            return view.string(view.payload(0))?.text
        }
        #expect(old == "Legal")
        reader.reset()
        #expect(try temporary.differences() == [])
    }

    @Test("policies with errors are not stored")
    func badPolicies() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let before = try temporary.generations()
        let files = [PolicyFile(name: "x", text: "policy")]
        let error = refusal(&writer, [.putPolicies(version: 2, files: files, author: "", message: "", at: 1)])
        #expect(error?.code == .policiesRejected)
        #expect(error?.diagnostics.isEmpty == false)
        #expect(try temporary.generations() == before)
    }

    @Test("a file that is not enabled is kept and does not count")
    func disabledFiles() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let files = [
            PolicyFile(name: "all.stile", text: TemporaryStore.catalog),
            PolicyFile(name: "more.stile", text: "no policy at all", isEnabled: false),
        ]
        let version = try writer.push(files, author: "", message: "", time: 2)
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        let stored = try #require(try reader.policies(version: version))
        #expect(stored.files == files)
        #expect(stored.sources.map(\.name) == ["all.stile"])
        let change = Change.putPolicies(version: 7, files: files, author: "a", message: "m", at: 3)
        guard case .putPolicies(_, let read, _, _, _, _)? = Change(change.cbor) else {
            Issue.record("the change cannot be read back")
            return
        }
        #expect(read == files)
    }

    @Test("folding changes twice equals folding them once; the log tells all")
    func idempotent() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = RandomChanges(seed)
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        for step in 0..<150 {
            let change = try random.change(step)
            if let error = refusal(&writer, [change]) {
                let isGrant = error.code == .grantUnknown || error.message.contains("grant")
                let isExpected = error.code == .groupCycle || error.code == .idInvalid || isGrant
                #expect(isExpected, "seed \(seed): \(error)")
                continue
            }
            func views() throws -> [[UInt64]] {
                try (0..<6).map { try temporary.view("user", "u\($0)") { Self.bytes($0) } }
            }
            let once = try views()
            try writer.append([change], time: 1)
            #expect(try views() == once, "seed \(seed), step \(step)")
        }
        #expect(try temporary.differences() == [], "seed \(seed)")
    }

    static func bytes(_ view: RecordView) -> [UInt64] {
        (0..<view.slotCount).flatMap { [view.payload($0), UInt64(bitPattern: view.validUntil($0))] }
            + (0..<view.groupCount).map { UInt64(view.group($0) ?? 0) } + [view.isInactive ? 1 : 0]
    }
}

extension String {
    /// The text with the first occurrence of `old` replaced.
    func replacingFirst(_ old: String, _ new: String) -> String {
        guard let range = firstRange(of: old) else { return self }
        return replacingCharacters(range, new)
    }

    private func firstRange(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }

    private func replacingCharacters(_ range: Range<Index>, _ text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}

@Suite("containers")
struct ContainerTests {
    private static func folder(_ id: String, in parents: [String]) -> Change {
        .putResource(
            type: "folder", id: id, document: .object([]),
            parents: parents.map { EntityName(type: "folder", id: $0) })
    }

    private static func doc(_ id: String, in parents: [String]) -> Change {
        .putResource(
            type: "doc", id: id, document: .object([]), parents: parents.map { EntityName(type: "folder", id: $0) })
    }

    /// Whether a document's view lies in a folder, by the index that a daemon builds.
    private static func lies(_ temporary: TemporaryStore, _ type: String, _ id: String, in folder: String) throws
        -> Bool
    {
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        let index = MembershipIndex(
            pairs: try reader.containers(below: [EntityName(type: "folder", id: folder)]), namedCount: 1)
        var scratch = DecisionScratch()
        scratch.containers.set(in: index)
        var found: Set<Int> = []
        try temporary.view(type, id) { found = scratch.containers.indices(of: $0) }
        return !found.isEmpty
    }

    @Test("a document lies in every folder above it, in whatever order they were told of")
    func nesting() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([Self.doc("d", in: ["leaf"])], time: 1)
        try writer.append([Self.folder("leaf", in: ["middle"])], time: 1)
        try writer.append([Self.folder("middle", in: ["root"]), Self.folder("root", in: [])], time: 1)
        for folder in ["leaf", "middle", "root"] { #expect(try Self.lies(temporary, "doc", "d", in: folder)) }
        #expect(try !Self.lies(temporary, "doc", "d", in: "other"))
        #expect(try Self.lies(temporary, "folder", "leaf", in: "root"))
        #expect(try !Self.lies(temporary, "folder", "root", in: "root"))
        #expect(try temporary.differences() == [])
    }

    @Test("moving a folder rewrites one view, and counts at once; moving a document bumps no hierarchy")
    func moving() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        var changes = [Self.folder("a", in: []), Self.folder("b", in: []), Self.folder("inner", in: ["a"])]
        changes += (0..<500).map { Self.doc("d\($0)", in: ["inner"]) }
        try writer.append(changes, time: 1)
        #expect(try Self.lies(temporary, "doc", "d7", in: "a"))
        let before = writer.viewsWritten
        let hierarchy = try temporary.generations().hierarchy
        try writer.append([Self.folder("inner", in: ["b"])], time: 1)
        #expect(writer.viewsWritten - before <= 1)
        #expect(try temporary.generations().hierarchy > hierarchy)
        #expect(try !Self.lies(temporary, "doc", "d7", in: "a"))
        #expect(try Self.lies(temporary, "doc", "d7", in: "b"))
        let moved = try temporary.generations().hierarchy
        try writer.append([Self.doc("d7", in: ["a"])], time: 1)
        #expect(try temporary.generations().hierarchy == moved)
        #expect(try Self.lies(temporary, "doc", "d7", in: "a"))
        #expect(try !Self.lies(temporary, "doc", "d8", in: "a"))
        #expect(try temporary.differences() == [])
    }

    @Test("a folder cannot lie in what lies in it, and nothing of the refused change stays")
    func circle() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([Self.folder("b", in: ["a"]), Self.folder("c", in: ["b"])], time: 1)
        #expect(refusal(&writer, [Self.folder("a", in: ["c"])])?.code == .groupCycle)
        #expect(refusal(&writer, [Self.folder("x", in: ["x"])])?.code == .groupCycle)
        #expect(try !Self.lies(temporary, "folder", "a", in: "c"))
        #expect(try temporary.differences() == [])
    }

    @Test("a deleted folder keeps what lies in it, but lies in nothing itself")
    func deletion() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append([Self.folder("b", in: ["a"]), Self.doc("d", in: ["b"])], time: 1)
        #expect(try Self.lies(temporary, "doc", "d", in: "a"))
        try writer.append([.deleteResource(type: "folder", id: "b")], time: 1)
        #expect(try !Self.lies(temporary, "doc", "d", in: "a"))
        #expect(try Self.lies(temporary, "doc", "d", in: "b"))
        #expect(try temporary.differences() == [])
    }
}
