// Logged decisions, decided again: as they were, whatever has changed since; and what is said where that cannot be.

import AttributeStore
import DecisionEngine
import DecisionPath
import DecisionProtocol
import Glibc
import PolicyAnalysis
import PolicyLanguage
import StrictJSON
import Testing

@testable import DecisionLog
@testable import DecisionReplay

/// A store with a tenant "t" that decides and logs on this thread.
final class LoggingStore {
    let path: String
    let store: Store
    private let board: PolicyBoard

    static let policies = """
        catalog "replay" version 1.0.0 {
          assurance password < mfa
          entity user { department: string = ""  level: 0...5 = 0 }
          signal user.risk: enum(low < medium < high) = low from caep "risk" expires 1h
          signal device.compliant: bool = false from caep "compliance" expires 1h
          entity folder in folder
          entity doc in folder {
            status: enum(open, closed) = open
            salary: decimal = 0 from request use payroll
            total: decimal = 0 from request
          }
          action read, write, pay on doc
        }
        policy "P" {
          permit read on doc as "staff" to user in group "Staff"
          permit read on doc as "shelf" when resource in folder "f0" and resource.total <= 100
          permit write on doc as "device" when device.compliant requires mfa
          permit pay on doc as "small" when resource.salary <= 100
          forbid any on doc as "risky" when user.risk == high
          forbid any on doc as "closed" when resource.status == closed
          forbid read on doc as "low" when user.level == 0
        }
        """

    init() throws {
        var template = Array("/tmp/stile-test-\(String(repeating: "X", count: 6))".utf8CString)
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "/nonexistent" }
            return unsafe String(cString: made)
        }
        var store = Store(path: "\(path)/store", mapSize: 64 << 20)
        // It decides and writes in one process.
        store.isWriting = true
        self.store = store
        _ = unsafe mkdir("\(path)/scratch", 0o700)
        try store.createTenant("t", TenantRecord(created: 1, allowedUsers: []))
        var writer = try TenantWriter(store, tenant: "t")
        _ = try writer.push(
            [PolicyFile(name: "p.stile", text: Self.policies)], author: "test", message: "", time: 1)
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

    func push(_ text: String, at time: Int64) throws {
        var writer = try TenantWriter(store, tenant: "t")
        _ = try writer.push([PolicyFile(name: "p.stile", text: text)], author: "test", message: "", time: time)
        try board.refresh("t")
    }

    func append(_ changes: [Change], at time: Int64) throws {
        var writer = try TenantWriter(store, tenant: "t")
        try writer.append(changes, time: time)
    }

    /// Decides and logs; what `body` does between questions happens there.
    func log(_ mode: RecordingMode = .every, _ body: ((_ json: String, _ now: Int64) throws -> Answer) throws -> Void)
        throws
    {
        var settings = LogSettings()
        settings.mode = mode
        let log = try DecisionLog(settings, board: board, software: "test") { _ in }
        let recorder = try log.attach().recorder(for: "t")
        let decider = try TenantDecider("t", board: board)
        decider.recorder = recorder
        try body { json, now in decider.answer(try Question(json: try JSONValue.parse(json)), now: now) }
        _ = log.stop(timeout: 0)
        log.run()
    }

    func replay(_ id: [UInt8]) throws(ReplayError) -> DecisionReplay {
        try DecisionReplay(of: id, tenant: "t", in: store, scratch: "\(path)/scratch")
    }

    func decisions() throws -> [LoggedDecision] {
        let reader = LogReader(LogPlace(store, directory: nil).path(of: "t"))
        var found: [LoggedDecision] = []
        while let entry = try reader.next() { if case .decision(let decision) = entry { found.append(decision) } }
        return found
    }
}

private func user(_ id: String, _ json: String) throws -> Change {
    .putSubject(type: "user", id: id, isActive: true, document: try JSONValue.parse(json))
}

/// A text without the ends of its lines.
private func words(_ text: String) -> String { text.split(whereSeparator: \.isWhitespace).joined(separator: " ") }

private func code(_ body: () throws(ReplayError) -> DecisionReplay) -> ReplayError.Code? {
    do throws(ReplayError) {
        _ = try body()
        return nil
    } catch {
        return error.code
    }
}

@Suite("logged decisions decided again", .serialized)
struct ReplayTests {
    private static let read =
        #"{"subject":{"type":"user","id":"ada"},"action":{"name":"read"},"resource":{"type":"doc","id":"d"}}"#

    @Test("a decision is explained by its version and the values of its instant, whatever has changed since")
    func unchanged() throws {
        let t = try LoggingStore()
        try t.append(
            [
                try user("ada", #"{"level":3}"#),
                .putGroup(id: "inner", displayName: "Inner", members: [Change.Member(id: "ada", isGroup: false)]),
                .putGroup(
                    id: "staff", displayName: "Staff",
                    members: [Change.Member(id: "inner", isGroup: true), Change.Member(id: "bob", isGroup: false)]),
            ], at: 1_000)
        var answer: Answer?
        try t.log { ask in answer = try ask(Self.read, 5_000) }
        let id = try #require(answer?.decisionID)
        #expect(answer?.outcome == .permit)
        // All that it read is another now: level, nesting, the policies and even where values lie.
        try t.append(
            [try user("ada", #"{"level":0}"#), .deleteGroup(id: "inner"), .deleteSubject(type: "user", id: "ada")],
            at: 5_001)
        try t.push(
            LoggingStore.policies.replacing(
                "department: string = \"\"", with: "shoe: 0...99 = 1  department: string = \"\""
            )
            .replacing("permit read on doc as \"staff\" to user in group \"Staff\"", with: ""), at: 6_000)
        let replay = try t.replay(id)
        #expect(replay.agrees && replay.divergences.isEmpty)
        #expect(replay.answer.rules.map(\.name) == ["P/staff"] && replay.answer.policyVersion == 1)
        #expect(replay.activeVersion == 2)
        #expect(replay.past.later[.subject]?.count == 2 && replay.past.later[.groups]?.count == 1)
        #expect(replay.past.later[.policies]?.first == 6_000 && replay.past.later[.resource] == nil)
        let why = try #require(replay.why())
        #expect(why.why.outcome == .permit && why.why.situation.stored[.subject]?["level"]?.value == .integer(3))
        let text = words(ReplayReport(replay, tenant: "t").text(usesColor: false))
        #expect(text.contains("the same answer") && text.contains("Changed since: the subject (2×"))
        #expect(LogFiles.list("\(t.path)/scratch").isEmpty, "nothing is left of the scratch store")
    }

    @Test("what was committed after the decision's snapshot is not read, though the clock stood still")
    func snapshots() throws {
        let t = try LoggingStore()
        try t.append([try user("ada", #"{"level":3}"#)], at: 5_000)
        try t.append(
            [.putGroup(id: "s", displayName: "Staff", members: [Change.Member(id: "ada", isGroup: false)])], at: 5_000)
        var answers: [Answer] = []
        try t.log { ask in
            answers.append(try ask(Self.read, 5_000))
            try t.append([.deleteGroup(id: "s")], at: 5_000)
            answers.append(try ask(Self.read, 5_000))
            // A clock that was set back.
            try t.append(
                [.putGroup(id: "s", displayName: "Staff", members: [Change.Member(id: "ada", isGroup: false)])],
                at: 4_000)
            answers.append(try ask(Self.read, 5_000))
        }
        #expect(answers.map(\.outcome) == [.permit, .deny, .permit])
        for answer in answers { #expect(try t.replay(answer.decisionID).agrees) }
    }

    @Test("a masked value that decided is named as the reason for another answer, and where it was read")
    func masked() throws {
        let t = try LoggingStore()
        try t.append([try user("ada", #"{"level":3}"#)], at: 1_000)
        var answer: Answer?
        try t.log { ask in
            answer = try ask(
                #"{"subject":{"type":"user","id":"ada"},"action":{"name":"pay"},"#
                    + #""resource":{"type":"doc","id":"d","properties":{"salary":9000}}}"#, 5_000)
        }
        #expect(answer?.outcome == .deny)
        let id = try #require(answer?.decisionID)
        let replay = try t.replay(id)
        #expect(replay.answer.outcome == .permit && !replay.agrees)
        #expect(replay.divergences.map(\.code) == [.masked] && replay.masked == ["resource.salary"])
        let text = words(ReplayReport(replay, tenant: "t").text(usesColor: false))
        #expect(text.contains("which is not what was logged") && text.contains("resource.salary"))
        let json = ReplayReport(replay, tenant: "t").json
        #expect(json["agrees"] == .bool(false) && json["divergences"]?.array?.first?["code"]?.string == "masked")
    }

    @Test("a masked value is marked where a condition read it")
    func maskedCondition() throws {
        let t = try LoggingStore()
        try t.push(
            LoggingStore.policies.replacing("resource.salary <= 100", with: "resource.salary >= 100"), at: 2)
        try t.append([try user("ada", #"{"level":3}"#)], at: 1_000)
        var answer: Answer?
        try t.log { ask in
            answer = try ask(
                #"{"subject":{"type":"user","id":"ada"},"action":{"name":"pay"},"#
                    + #""resource":{"type":"doc","id":"d","properties":{"salary":9000}}}"#, 5_000)
        }
        let id = try #require(answer?.decisionID)
        let replay = try t.replay(id)
        let why = try #require(replay.why()).why
        let values = why.candidates.flatMap(\.failed).flatMap(\.values).filter { $0.name == "resource.salary" }
        #expect(values.map(\.remark) == ["masked in the log, so its default here"])
    }

    @Test("each thing that is missing has its own error")
    func errors() throws {
        let t = try LoggingStore()
        let id = [UInt8](repeating: 7, count: 16)
        #expect(code { () throws(ReplayError) in try t.replay(id) } == .logMissing)
        try t.log { ask in
            for _ in 0..<3 { _ = try ask(Self.read, 5_000) }
        }
        #expect(code { () throws(ReplayError) in try t.replay(id) } == .decisionUnknown)
        let due = Interruption()
        due.raise()
        #expect(
            code { () throws(ReplayError) in
                try DecisionReplay(
                    of: id, tenant: "t", in: t.store, scratch: "\(t.path)/scratch", interruption: due)
            } == .tooMuchWork)
        var logged = try #require(try t.decisions().first)
        func again(_ logged: LoggedDecision) -> ReplayError.Code? {
            code { () throws(ReplayError) in
                try DecisionReplay(logged, tenant: "t", in: t.store, scratch: "\(t.path)/scratch")
            }
        }
        #expect(again(logged) == nil)
        logged.answer.policyVersion = 99
        #expect(again(logged) == .versionGone)
        logged.answer.policyVersion = 0
        #expect(again(logged) == .noVersion)
        logged.question = nil
        #expect(again(logged) == .questionWithheld)
        try t.log(.sampled(1_000_000)) { ask in for _ in 0..<3 { _ = try ask(Self.read, 6_000) } }
        // A log that never was told so says "unknown"; nothing may have been drawn, then nothing was opened.
        let search = LogSearch(LogPlace(t.store, directory: nil).path(of: "t"), for: id)
        #expect(
            code { () throws(ReplayError) in try t.replay(id) }
                == (search.gaps.sampledRate == nil ? .decisionUnknown : .logSampled))
    }

    @Test("a log that was told to hold a sample says so where a decision is missing")
    func sampled() throws {
        let t = try LoggingStore()
        try t.log(.sampled(2)) { ask in for _ in 0..<64 { _ = try ask(Self.read, 6_000) } }
        #expect(try t.decisions().count < 64)
        #expect(code { () throws(ReplayError) in try t.replay([UInt8](repeating: 7, count: 16)) } == .logSampled)
    }

    @Test("random histories: logged decisions are decided again as they were")
    func random() throws {
        let seed =
            unsafe getenv("STILE_SEED").flatMap { unsafe UInt64(String(cString: $0)) } ?? .random(in: 0...UInt64.max)
        print("STILE_SEED=\(seed)")
        var history = RandomHistory(seed)
        let t = try LoggingStore()
        var answers: [Answer] = []
        try t.log { ask in
            for step in 0..<600 {
                let now = 1_000_000 + Int64(step) * 20
                if step % 2 == 0 {
                    // What the store refuses (a circle of groups) leaves nothing.
                    _ = try? t.append([history.change(now)], at: now)
                } else {
                    answers.append(try ask(history.question(), now))
                }
            }
        }
        #expect(Set(answers.map(\.outcome)).count == 3, "the histories are to lead to every outcome")
        for (index, answer) in answers.enumerated() where index % 3 == 0 {
            let replay = try t.replay(answer.decisionID)
            #expect(replay.agrees, "\(replay.logged) was decided again as \(replay.answer)")
            // What was changed within the trust of clocks is told apart by snapshots alone.
            #expect(replay.divergences.isEmpty)
        }
    }
}

/// Changes and questions about few entities, the same for the same seed.
struct RandomHistory {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    private mutating func next(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
    }

    mutating func change(_ now: Int64) -> Change {
        let id = "u\(next(3))"
        func object(_ pairs: [String: JSONValue]) -> JSONValue {
            .object(pairs.sorted { $0.key < $1.key }.map { JSONMember($0.key, $0.value) })
        }
        switch next(12) {
        case 0, 1:
            return .putSubject(
                type: "user", id: id, isActive: next(5) > 0, document: object(["level": .integer(next(4))]))
        case 2: return next(3) == 0 ? .deleteSubject(type: "user", id: id) : .deleteGroup(id: "g\(next(3))")
        case 3:
            return .putGroup(
                id: "g\(next(3))", displayName: next(2) == 0 ? "Staff" : "Team",
                members: [Change.Member(id: id, isGroup: false)])
        case 4, 5:
            return .patchMembers(
                group: "g\(next(3))", add: [Change.Member(id: "g\(next(3))", isGroup: true)],
                remove: [Change.Member(id: id, isGroup: false)])
        case 6:
            return .signal(
                type: "user", id: id, name: "risk", value: .string(next(3) == 0 ? "high" : "low"), at: now,
                expires: next(2) == 0 ? now + 50 : nil)
        case 7:
            return .signal(
                type: "device", id: "v\(next(2))", name: "compliant", value: .bool(next(4) > 0), at: now, expires: nil)
        case 8:
            return .putSession(
                id: "s\(next(3))",
                document: object([
                    "subject": object(["type": .string("user"), "id": .string(id)]),
                    "assurance": .string(next(2) == 0 ? "mfa" : "password"), "auth_time": .integer(now),
                    "device": .string("v\(next(2))"),
                ]))
        case 9:
            return next(3) == 0 ? .deleteSession(id: "s\(next(3))") : .deleteResource(type: "doc", id: "d\(next(2))")
        case 10:
            return .putResource(
                type: "folder", id: "f\(1 + next(2))", document: .object([]),
                parents: next(2) == 0 ? [] : [EntityName(type: "folder", id: "f\(next(2))")])
        default:
            return .putResource(
                type: "doc", id: "d\(next(2))", document: object(["status": .string(next(5) == 0 ? "closed" : "open")]),
                parents: [EntityName(type: "folder", id: "f\(next(3))")])
        }
    }

    mutating func question() -> String {
        let action = ["read", "write", "pay"][Int(next(3))]
        let session = next(3) == 0 ? "" : #","session":"s\#(next(3))""#
        return #"{"subject":{"type":"user","id":"u\#(next(3))"},"action":{"name":"\#(action)"},"#
            + #""resource":{"type":"doc","id":"d\#(next(2))","properties":{"total":\#(next(200))}}\#(session)}"#
    }
}
