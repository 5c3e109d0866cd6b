// A candidate beside the live version: what differs is counted exactly, sampled within the masks, and outlives a restart.

import AttributeStore
import DecisionLog
import DecisionPath
import DecisionProtocol
import Glibc
import StrictJSON
import Testing

@testable import DecisionShadow

/// A store with a tenant "t", and what a reactor of the daemon has.
final class ShadowedStore {
    let path: String
    let store: Store
    let board: PolicyBoard

    static let policies = """
        catalog "shadow" version 1.0.0 {
          assurance password < mfa
          entity user { level: 0...5 = 0 }
          entity doc { total: decimal = 0  salary: decimal = 0 use payroll  status: enum(open, closed) = open from application }
          action read, write on doc
        }
        policy "P" {
          permit read on doc as "all"
          permit write on doc as "high" when user.level >= 3
        }
        """
    /// Denies more: reading what is dear, and what is closed.
    static let stricter = policies.replacing(
        "permit read on doc as \"all\"",
        with: """
            permit read on doc as "all"
              forbid read on doc as "dear" when resource.total > 100
              forbid any on doc as "closed" when resource.status == closed
            """)

    init() throws {
        var template = Array("/tmp/stile-test-\(String(repeating: "X", count: 6))".utf8CString)
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "/nonexistent" }
            return unsafe String(cString: made)
        }
        store = Store(path: "\(path)/store", mapSize: 64 << 20)
        try store.createTenant("t", TenantRecord(created: 1, allowedUsers: []))
        var writer = try TenantWriter(store, tenant: "t")
        _ = try writer.push([Self.file(Self.policies)], author: "test", message: "", time: 1)
        try writer.append(
            [
                .putSubject(type: "user", id: "ada", isActive: true, document: try JSONValue.parse(#"{"level":3}"#)),
                .putResource(type: "doc", id: "shut", document: try JSONValue.parse(#"{"status":"closed"}"#)),
            ], time: 1)
        board = PolicyBoard(store: store)
        _ = try board.load("t")
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        for name in LogFiles.list(path) {
            let inner = "\(path)/\(name)"
            if unsafe unlink(inner) != 0 { remove(inner) }
        }
        _ = unsafe rmdir(path)
    }

    static func file(_ text: String) -> PolicyFile { PolicyFile(name: "p.stile", text: text) }

    /// Stores a version and makes it the candidate.
    @discardableResult
    func candidate(_ text: String) throws -> UInt64 {
        var writer = try TenantWriter(store, tenant: "t")
        let version = try writer.store(
            [Self.file(text)], author: "test", message: "", activates: false, expecting: nil, time: 2
        ).version
        try writer.setCandidate(version: version, author: "test", time: 3)
        try board.refresh("t")
        return version
    }

    func withdraw() throws {
        var writer = try TenantWriter(store, tenant: "t")
        #expect(try writer.withdrawCandidate(author: "test", time: 9) != nil)
        try board.refresh("t")
    }

    func append(_ changes: [Change]) throws {
        var writer = try TenantWriter(store, tenant: "t")
        try writer.append(changes, time: 5)
    }

    /// One life of a daemon: what `body` asks is handed over, then compared here, and written.
    func live(
        ringBytes: Int = 4 << 20, _ body: (_ ask: (_ json: String) throws -> Answer) throws -> Void
    ) throws {
        let desk = try ShadowDesk(store, keptUses: ["authorization"], ringBytes: ringBytes) { notice in
            Issue.record("\(notice.text)")
        }
        let decider = try TenantDecider("t", board: board)
        decider.shadowRecorder = try desk.attach().recorder(for: "t")
        try body { json in decider.answer(try Question(json: try JSONValue.parse(json)), now: 5_000) }
        desk.follow(board)
        let worker = ShadowWorker(desk)
        worker.turn()
        _ = desk.stop(timeout: 0)
        worker.run()
    }

    /// What was written of the candidate.
    func tally() throws -> ShadowTally? {
        var reader = try TenantReader(store, tenant: "t")
        try reader.renew()
        let place = ShadowPlace(store, tenant: "t")
        return try reader.candidate().map { place.tally($0.number) } ?? place.last
    }
}

private func question(_ action: String, _ doc: String, _ properties: String = "") -> String {
    #"{"subject":{"type":"user","id":"ada"},"action":{"name":"\#(action)"},"#
        + #""resource":{"type":"doc","id":"\#(doc)","properties":{\#(properties)}}}"#
}

@Suite("a candidate beside the live version", .serialized)
struct ShadowTests {
    @Test("every question is compared, and what a stricter candidate denies is counted exactly")
    func exact() throws {
        let t = try ShadowedStore()
        try t.candidate(ShadowedStore.stricter)
        var live: [Answer] = []
        try t.live { ask in
            for total in 1...200 { live.append(try ask(question("read", "d", #""total":\#(total)"#))) }
            for _ in 0..<7 { live.append(try ask(question("write", "shut"))) }
            live.append(try ask(question("fly", "d")))
        }
        // Nobody notices.
        #expect(live.count { $0.outcome == .permit } == 207)
        let tally = try #require(try t.tally())
        #expect(tally.compared == 208 && tally.different == 107 && tally.notCompared == 0 && tally.byOtherRules == 0)
        let dear = try #require(tally.differences.first { $0.candidate.rules == ["P/dear"] })
        #expect(dear.count == 100 && dear.what == "outcome" && dear.live.outcome == "permit")
        #expect(dear.live.rules == ["P/all"] && dear.candidate.outcome == "deny" && dear.version == 1)
        #expect(tally.differences.first { $0.candidate.rules == ["P/closed"] }?.count == 7)
        #expect(dear.samples.count == ShadowTally.maxSamples)
        for sample in dear.samples {
            let decision = sample["decision"]
            let id = decision?["decision_id"]?.string
            #expect(live.contains { $0.decisionIDText == id })
            #expect(decision?["outcome"]?.string == "permit" && decision?["policy_version"]?.integer == 1)
            // Explained: the candidate's forbid matched.
            let speakers = sample["candidate"]?["candidates"]?.array ?? []
            #expect(speakers.contains { $0["name"]?.string == "P/dear" && $0["matches"] == .bool(true) })
        }
    }

    @Test("samples hold what the log would: what the catalog masks is in no file")
    func masking() throws {
        let t = try ShadowedStore()
        try t.candidate(ShadowedStore.stricter)
        try t.live { ask in _ = try ask(question("read", "d", #""total":500,"salary":98765,"shoe":43210"#)) }
        let sample = try #require(try t.tally()?.differences.first?.samples.first)
        #expect(sample["decision"]?["masked"] == .array([.string("resource.salary")]))
        #expect(sample["decision"]?["resource"]?["properties"]?["total"]?.integer == 500)
        let directory = "\(t.store.tenantPath("t"))/shadow"
        for name in LogFiles.list(directory) {
            let file = try LogFile("\(directory)/\(name)", .read)
            let text = String(decoding: try file.read(file.count, at: 0), as: UTF8.self)
            #expect(!text.contains("98765") && !text.contains("43210"), "\(name) holds what is masked")
        }
    }

    @Test("a restart goes on counting; a withdrawn candidate costs and counts nothing, its figures stay")
    func restart() throws {
        let t = try ShadowedStore()
        try t.candidate(ShadowedStore.stricter)
        try t.live { ask in for _ in 0..<3 { _ = try ask(question("read", "d", #""total":500"#)) } }
        try t.live { ask in for _ in 0..<4 { _ = try ask(question("read", "d", #""total":500"#)) } }
        #expect(try t.tally()?.compared == 7)
        let difference = try #require(try t.tally()?.differences.first)
        #expect(difference.count == 7 && difference.samples.count == ShadowTally.maxSamples)
        try t.withdraw()
        try t.live { ask in _ = try ask(question("read", "d", #""total":500"#)) }
        #expect(try t.tally()?.compared == 7)
        // The next candidacy begins at nothing, though it is the same version.
        try t.candidate(ShadowedStore.policies.replacing("as \"all\"", with: "as \"everything\""))
        try t.live { ask in _ = try ask(question("read", "d", #""total":500"#)) }
        let tally = try #require(try t.tally())
        #expect(tally.compared == 1 && tally.different == 0 && tally.byOtherRules == 1)
    }

    @Test("questions beyond the ring are counted as not compared, and the answers do not wait")
    func fullRing() throws {
        let t = try ShadowedStore()
        try t.candidate(ShadowedStore.stricter)
        var asked: UInt64 = 0
        try t.live(ringBytes: 0) { ask in
            for _ in 0..<5_000 {
                _ = try ask(question("read", "d", #""total":500"#))
                asked += 1
            }
        }
        let tally = try #require(try t.tally())
        #expect(tally.gaps["queue_full"] ?? 0 > 0)
        #expect(tally.compared > 0 && tally.compared + tally.notCompared == asked)
        #expect(tally.different == tally.compared)
    }

    @Test("a candidate whose catalog lays records out otherwise decides on views built for it")
    func otherLayout() throws {
        let t = try ShadowedStore()
        try t.candidate(
            ShadowedStore.stricter.replacing("level: 0...5 = 0", with: "shoe: 0...99 = 40  level: 0...5 = 0")
                .replacing("user.level >= 3", with: "user.level >= 3 and user.shoe == 40"))
        try t.live { ask in
            for _ in 0..<5 { _ = try ask(question("write", "d")) }
            for _ in 0..<5 { _ = try ask(question("read", "shut")) }
        }
        let tally = try #require(try t.tally())
        #expect(tally.compared == 10 && tally.different == 5 && tally.notCompared == 0)
        #expect(tally.differences.first?.candidate.rules == ["P/closed"])
    }

    @Test("what is stored and does not fit the candidate's catalog is not compared, and writes go on")
    func misfit() throws {
        let t = try ShadowedStore()
        try t.candidate(
            ShadowedStore.policies.replacing("level: 0...5 = 0", with: "level: bool = false")
                .replacing("user.level >= 3", with: "user.level"))
        try t.append([
            .putSubject(type: "user", id: "ada", isActive: true, document: try JSONValue.parse(#"{"level":4}"#))
        ])
        try t.live { ask in for _ in 0..<5 { _ = try ask(question("read", "d")) } }
        let tally = try #require(try t.tally())
        #expect(tally.compared == 0 && tally.gaps == ["unreadable": 5])
    }

    @Test("the active version, an unknown one and one that does not check are refused; activation ends a candidacy")
    func refusals() throws {
        let t = try ShadowedStore()
        var writer = try TenantWriter(t.store, tenant: "t")
        func code(_ version: UInt64) -> StoreError.Code? {
            do throws(StoreError) {
                try writer.setCandidate(version: version, author: "test", time: 1)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(code(1) == .valueInvalid && code(7) == .versionUnknown)
        #expect(throws: StoreError.self) { try t.candidate("policy \"P\" { permit read on nothing }") }
        #expect(try writer.withdrawCandidate(author: "test", time: 1) == nil)
        let version = try t.candidate(ShadowedStore.stricter)
        let generation = try {
            var reader = try TenantReader(t.store, tenant: "t")
            try reader.renew()
            return try reader.generations().policy
        }()
        #expect(generation == 1, "an author's compare-and-set does not notice a candidate")
        try writer.activate(version: version, author: "test", message: "", expecting: generation, time: 4)
        var reader = try TenantReader(t.store, tenant: "t")
        try reader.renew()
        #expect(try reader.candidate() == nil)
        #expect(try t.board.refresh("t").candidate == nil)
    }

    @Test("a tally is read back as it was written")
    func roundTrip() throws {
        let t = try ShadowedStore()
        try t.candidate(ShadowedStore.stricter)
        try t.live { ask in
            _ = try ask(question("read", "d", #""total":500"#))
            _ = try ask(question("fly", "d"))
        }
        let tally = try #require(try t.tally())
        #expect(ShadowTally(tally.json) == tally)
    }
}
