// From a question to the file: what is written, what is masked, what is lost and counted.

import AttributeStore
import CBOR
import DecisionPath
import DecisionProtocol
import Glibc
import Memory
import Synchronization
import Testing

@testable import DecisionLog

@Suite("from decision to log", .serialized)
struct PipelineTests {
    private static let small =
        #"{"subject":{"type":"user","id":"ada","properties":{"shoe":44}},"action":{"name":"read"},"#
        + #""resource":{"type":"doc","id":"d1","properties":{"total":12.5,"salary":9000,"note":"n","owner":"mallory","x":[1]}},"#
        + #""context":{"ip":"10.0.0.1","phone":"+49"},"session":null}"#

    @Test("a decision is written with its identities, outcome, rule and version, and without what the catalog masks")
    func masking() throws {
        let store = try DecidingStore()
        let log = try store.start()
        store.run(log)
        let decider = try store.decider(log)
        DecidingStore.ask(decider, try question(Self.small))
        #expect(log.stop(timeout: 5_000))
        let decision = try #require(try store.decisions().first)
        #expect(decision.answer.outcome == .permit && decision.answer.policyVersion == 1)
        #expect(decision.answer.rules.map(\.name) == ["P/small"])
        #expect(decision.time == 5_000 && decision.answer.snapshot > 0)
        let kept = try #require(decision.question)
        #expect(kept.subject == Entity(type: "user", id: "ada"))
        #expect(kept.action == ActionName(name: "read"))
        #expect(
            kept.resource
                == Entity(
                    type: "doc", id: "d1",
                    properties: [
                        CBORPair(.text("note"), .text("n")),
                        CBORPair(.text("total"), .decimal(mantissa: 125, exponent: -1)),
                    ]))
        #expect(kept.context == [CBORPair(.text("ip"), .text("10.0.0.1"))])
        #expect(decision.masked == ["resource.salary", "context.phone"])
        // shoe, x; owner is the application's to say.
        #expect(decision.undeclared == 3)
        let file = try Scratch.read("\(store.log)/lane-0/0000000001.log")
        for secret in ["9000", "+49", "mallory", "shoe"] {
            #expect(!String(decoding: file, as: UTF8.self).contains(secret), "\(secret) is in the file")
        }
        #expect(log.lost == 0 && wrong(store.log).isEmpty)
    }

    @Test("a map under a declared name is masked: it could carry anything")
    func nested() throws {
        let store = try DecidingStore()
        let log = try store.start()
        store.run(log)
        let decider = try store.decider(log)
        let text = Self.small.replacing(#""note":"n""#, with: #""note":{"secret":"s3cret"}"#)
        DecidingStore.ask(decider, try question(text))
        #expect(log.stop(timeout: 5_000))
        #expect(try store.decisions().first?.masked == ["resource.note", "resource.salary", "context.phone"])
        let file = try Scratch.read("\(store.log)/lane-0/0000000001.log")
        #expect(!String(decoding: file, as: UTF8.self).contains("s3cret"))
    }

    @Test("other uses are written where the operator says so")
    func keptUses() throws {
        let store = try DecidingStore()
        let log = try store.start { $0.keptUses = ["authorization", "payroll"] }
        store.run(log)
        let decider = try store.decider(log)
        DecidingStore.ask(decider, try question(Self.small))
        #expect(log.stop(timeout: 5_000))
        #expect(try store.decisions().first?.masked == ["context.phone"])
    }

    @Test("where it cannot be known what is masked, nothing of the question is written, and the answer is the same")
    func redaction() throws {
        let store = try DecidingStore()
        // A log whose board and store know nothing of the version that decides.
        let other = try DecidingStore()
        var writer = try TenantWriter(store.store, tenant: "t")
        _ = try writer.push(
            [PolicyFile(name: "all.stile", text: DecidingStore.policies)], author: "test", message: "", time: 2)
        _ = try store.board.refresh("t")
        let log = try other.start()
        other.run(log)
        let decider = try store.decider(log)
        DecidingStore.ask(decider, try question(Self.small))
        DecidingStore.ask(decider, try question(Self.small.replacing("ada", with: "nobody")))
        #expect(log.stop(timeout: 5_000))
        let decisions = try other.decisions()
        #expect(decisions.map(\.withheld) == ["masking_failed", "masking_failed"])
        #expect(decisions.allSatisfy { $0.question == nil && $0.answer.policyVersion == 2 })
        #expect(decisions.map(\.answer.outcome) == [.permit, .deny])
        #expect(decisions.last?.answer.cause?.code == "unknown_subject")
        let file = String(decoding: try Scratch.read("\(other.log)/lane-0/0000000001.log"), as: UTF8.self)
        #expect(!file.contains("ada") && !file.contains("nobody") && !file.contains("d1"))
        #expect(log.lost == 0)
    }

    @Test("each item of a batch is a decision of its own")
    func batch() throws {
        let store = try DecidingStore()
        let log = try store.start()
        store.run(log)
        let decider = try store.decider(log)
        var defaults = try question(Self.small)
        defaults.resource = nil
        var items: [Question] = []
        for number in 0..<50 {
            var item = Question(
                subject: nil, action: nil,
                resource: Entity(
                    type: "doc", id: "d\(number)", properties: [CBORPair(.text("total"), .number(number * 4))]))
            if number % 10 == 3 { item.action = ActionName(name: "write") }
            items.append(item)
        }
        let bytes = Batch(defaults: defaults, items: items).frame(id: 9)
        var output = CBORWriter()
        decider.begin(now: 7_000)
        try unsafe bytes.withUnsafeBytes { buffer in
            let frame = unsafe CBORReader(buffer)
            var reader = frame
            try decider.answerBatch(try FrameHead(&reader), frame, &output)
        }
        decider.end()
        #expect(log.stop(timeout: 5_000))
        let decisions = try store.decisions()
        #expect(decisions.compactMap(\.question?.resource?.id) == (0..<50).map { "d\($0)" })
        #expect(decisions.allSatisfy { $0.question?.subject?.id == "ada" })
        #expect(
            decisions.filter { $0.answer.kind == .forbidden }.map(\.question?.action?.name)
                == Array(repeating: "write", count: 5))
        #expect(decisions[30].answer.kind == .notPermitted && decisions[20].answer.kind == .permitted)
        guard case .batch(_, let answers)? = ServerFrame(Array(output.bytes.array.dropFirst(4))) else {
            Issue.record("no batch answer")
            return
        }
        #expect(answers.map(\.decisionID) == decisions.map(\.answer.decisionID))
    }

    @Test("a question that is explained or too long is written all the same")
    func unusual() throws {
        let store = try DecidingStore()
        let log = try store.start()
        store.run(log)
        let decider = try store.decider(log)
        var explained = try question(Self.small)
        explained.explain = true
        DecidingStore.ask(decider, explained)
        var long = try question(Self.small)
        long.context = [
            CBORPair(.text("ip"), .text("10.0.0.1")),
            CBORPair(.text("x"), .text(String(repeating: "y", count: 40_000))),
        ]
        DecidingStore.ask(decider, long)
        long.subject?.id = String(repeating: "ä", count: 20_000)
        DecidingStore.ask(decider, long)
        #expect(log.stop(timeout: 5_000))
        let decisions = try store.decisions()
        #expect(decisions.map(\.withheld) == [nil, "too_long", "too_long"])
        #expect(decisions[0].answer.candidates.isEmpty && decisions[0].question?.resource?.properties.count == 2)
        #expect(decisions[1].question?.subject?.id == "ada" && decisions[1].question?.context == nil)
        #expect(decisions[2].question?.subject?.id.hasPrefix(String(repeating: "ä", count: 128)) == true)
        #expect(wrong(store.log).isEmpty)
    }

    @Test("a question that is no question is written as the error it was answered with")
    func malformed() throws {
        let store = try DecidingStore()
        let log = try store.start()
        store.run(log)
        let decider = try store.decider(log)
        DecidingStore.ask(decider, Question(subject: nil, action: nil, resource: nil))
        DecidingStore.ask(decider, try question(Self.small.replacing("doc", with: "folder")))
        #expect(log.stop(timeout: 5_000))
        let decisions = try store.decisions()
        #expect(decisions.map { $0.answer.cause?.code } == ["question_incomplete", "unknown_resource_type"])
        #expect(decisions[0].question?.subject == nil && decisions[1].question?.resource?.type == "folder")
        #expect(decisions[1].undeclared == 6)
    }

    @Test("with every, an answer waits for a place in the full ring, and none is lost")
    func waiting() throws {
        let store = try DecidingStore()
        let log = try store.start()
        let decider = try store.decider(log)
        let asked = try question(Self.small)
        let count = 3_000
        // Nobody empties the ring yet; it holds about 800.
        Threads.start {
            usleep(300_000)
            log.run()
        }
        for _ in 0..<count { DecidingStore.ask(decider, asked) }
        #expect(log.stop(timeout: 5_000))
        #expect(try store.decisions().count == count)
        #expect(log.lost == 0)
    }

    @Test("with sampled, a decision that finds no place is lost, counted and noted in the log")
    func losing() throws {
        let store = try DecidingStore()
        let log = try store.start { $0.mode = .sampled(1) }
        let decider = try store.decider(log)
        let asked = try question(Self.small)
        let count = 3_000
        for _ in 0..<count { DecidingStore.ask(decider, asked) }
        let lost = log.lost
        #expect(lost > 0)
        store.run(log)
        #expect(log.stop(timeout: 5_000))
        #expect(try store.decisions().count + Int(lost) == count)
        var verifier = LogVerifier(store.log)
        let report = verifier.run()
        #expect(report.isIntact && report.lost == lost)
    }

    @Test("of sampled decisions about one in so many is written, with the rate")
    func sampling() throws {
        let store = try DecidingStore()
        let log = try store.start { $0.mode = .sampled(10) }
        store.run(log)
        let decider = try store.decider(log)
        let asked = try question(Self.small)
        for _ in 0..<5_000 { DecidingStore.ask(decider, asked) }
        #expect(log.stop(timeout: 5_000))
        let decisions = try store.decisions()
        #expect(decisions.count + Int(log.lost) > 350 && decisions.count < 650)
        #expect(decisions.allSatisfy { $0.sampledRate == 10 })
    }

    @Test("a log that cannot be written loses and counts, says so once, and goes on when it can be")
    func failing() throws {
        let store = try DecidingStore()
        let directory = "\(store.scratch.path)/logs"
        let log = try store.start { $0.directory = directory }
        // A file where the tenant's directory should be.
        try LogFiles.makeDirectory(directory)
        try Scratch.write([], to: "\(directory)/t")
        store.run(log)
        let decider = try store.decider(log)
        let asked = try question(Self.small)
        for _ in 0..<5 { DecidingStore.ask(decider, asked) }
        usleep(400_000)
        #expect(log.lost == 5)
        #expect(log.state.contains("not written for 1 tenants"))
        try LogFiles.remove("\(directory)/t")
        usleep(800_000)
        for _ in 0..<3 { DecidingStore.ask(decider, asked) }
        #expect(log.stop(timeout: 5_000))
        #expect(log.lost == 5 && log.state == "every")
        #expect(store.notices.withLock { $0.filter { $0.contains("not logged") }.count } == 1)
        var verifier = LogVerifier("\(directory)/t")
        let report = verifier.run()
        #expect(report.decisions == 3 && report.lost == 5 && report.isIntact)
    }

    @Test("segments end by size and age, are compressed, and retention keeps the log small")
    func rotation() throws {
        let store = try DecidingStore()
        let log = try store.start {
            $0.segmentBytes = 64 << 10
            $0.keepBytes = 150_000
        }
        store.run(log)
        let decider = try store.decider(log)
        let asked = try question(Self.small)
        for round in 0..<20 {
            for _ in 0..<150 { DecidingStore.ask(decider, asked, now: Int64(5_000 + round)) }
            usleep(40_000)
        }
        usleep(1_500_000)
        #expect(log.stop(timeout: 5_000))
        let names = LogFiles.list("\(store.log)/lane-0")
        #expect(names.contains { $0.hasSuffix(".log.zst") })
        #expect(!names.contains { $0.hasSuffix(".new") })
        let bytes = names.reduce(0) { $0 + (LogFiles.facts("\(store.log)/lane-0/\($1)")?.count ?? 0) }
        #expect(bytes < 300_000)
        #expect(wrong(store.log).isEmpty)
        #expect(try store.decisions().count > 100)
    }

    @Test("what a killed process has left in its rings is written once")
    func leftRings() throws {
        let store = try DecidingStore()
        let rings = "/dev/shm/stile-rings-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try LogFiles.makeDirectory(rings)
        defer { Scratch.remove(rings) }
        let kept = "\(rings)/kept"
        do {
            let log = try store.start { $0.ringDirectory = rings }
            let decider = try store.decider(log)
            let asked = try question(Self.small)
            for _ in 0..<100 { DecidingStore.ask(decider, asked) }
            // The process is "killed": its ring stays, and the lock on it goes with the last owner.
            let path = try #require(RingFiles.all(in: rings, of: log.place).first)
            try Scratch.write(try Scratch.read(path), to: kept)
            store.run(log)
            #expect(log.stop(timeout: 5_000))
            #expect(try store.decisions().count == 100)
            #expect(RingFiles.all(in: rings, of: log.place).isEmpty)
            decider.recorder = nil
        }
        // First as if it had died after writing to the file and before giving the room back, then as if before both.
        for isWritten in [true, false] {
            let log = try store.start { $0.ringDirectory = rings }
            try Scratch.write(try Scratch.read(kept), to: "\(rings)/\(RingFiles.prefix(of: log.place))1-1.ring")
            if !isWritten { Scratch.remove(store.log) }
            store.run(log)
            #expect(log.stop(timeout: 5_000))
            let ids = try store.decisions().map(\.answer.decisionID)
            #expect(ids.count == 100 && Set(ids).count == 100)
            #expect(RingFiles.all(in: rings, of: log.place).isEmpty)
        }
    }

    @Test("filters find decisions by subject, resource, action, outcome, rule and time")
    func filters() throws {
        let decision = try #require(LoggedDecision(payload: payload(5, outcome: .deny, time: 2_000)))
        func matches(_ change: (inout LogFilter) -> Void) -> Bool {
            var filter = LogFilter()
            change(&filter)
            return filter.matches(decision)
        }
        #expect(matches { _ in })
        for subject in ["ada", "user:ada"] { #expect(matches { $0.subject = subject }) }
        for subject in ["bob", "service:ada", "user"] { #expect(!matches { $0.subject = subject }) }
        for resource in ["d5", "doc:d5", "doc:"] { #expect(matches { $0.resource = resource }) }
        #expect(
            !matches { $0.resource = "doc:d6" } && !matches { $0.action = "write" } && matches { $0.action = "read" })
        #expect(
            matches { $0.outcomes = ["deny"] } && matches { $0.outcomes = ["forbidden"] }
                && !matches { $0.outcomes = ["permit"] })
        #expect(matches { $0.rule = "rule" } && matches { $0.rule = "P/rule" } && !matches { $0.rule = "ule" })
        #expect(matches { $0.since = 2_000 } && !matches { $0.since = 2_001 })
        #expect(!matches { $0.until = 2_000 } && matches { $0.until = 2_001 })
        #expect(!matches { $0.session = "s" })
        #expect(matches { $0.decisionID = decision.answer.decisionID } && !matches { $0.decisionID = [1] })
    }
}
