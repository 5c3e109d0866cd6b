// A search finds what asking one by one permits, and nothing else.

import AttributeStore
import CBOR
import DecisionPath
import DecisionProtocol
import Memory
import StrictJSON
import TestSupport
import Testing

@Suite("search")
struct EntitySearcherTests {
    /// The answer to one question as the daemon gives it, with the snapshot it was decided on.
    private func ask(_ question: Question, _ tenant: TemporaryTenant, now: Int64) throws -> Answer {
        tenant.decider.begin(now: now)
        defer { tenant.decider.end() }
        let bytes = question.frame(id: 1)
        var output = CBORWriter()
        unsafe bytes.withUnsafeBytes { buffer in
            let frame = unsafe CBORReader(buffer)
            if tenant.decider.answerQuickly(frame, &output) { return }
            var reader = frame
            if let head = try? FrameHead(&reader) { tenant.decider.answer(head, frame, &output) }
        }
        guard case .answer(_, let answer)? = ServerFrame(Array(output.bytes.array.dropFirst(4))) else {
            throw StoreError(.failed, "no answer")
        }
        return answer
    }

    /// Fills the store; who the sessions are of.
    private func fill(_ tenant: TemporaryTenant, _ random: inout some RandomNumberGenerator) throws -> [String] {
        func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
        var changes: [Change] = (0..<40).map { number in
            .putSubject(
                type: "user", id: "n\(number)", isActive: below(8) > 0,
                document: .object(["department": .string("d\(below(3))"), "level": .integer(below(6))]))
        }
        for number in 0..<60 {
            var document: [JSONMember] = []
            if below(16) > 0 { document.append(JSONMember("total", .integer(below(120)))) }
            if below(2) > 0 { document.append(JSONMember("status", .string(below(3) > 0 ? "open" : "closed"))) }
            if below(2) > 0 { document.append(JSONMember("owner", .string("n\(below(40))"))) }
            if below(3) > 0 { document.append(JSONMember("flag", .bool(below(2) > 0))) }
            if below(3) > 0 { document.append(JSONMember("size", .integer(below(330)))) }
            changes.append(
                .putResource(
                    type: "doc", id: "r\(number)", document: .object(document),
                    parents: below(5) > 0 ? [] : [EntityName(type: "folder", id: "frozen")]))
        }
        let owners = (0..<20).map { _ in "n\(below(40))" }
        for (number, owner) in owners.enumerated() {
            let subject = JSONValue.object(["type": .string("user"), "id": .string(owner)])
            changes.append(
                .putSession(
                    id: "s\(number)",
                    document: .object([
                        "subject": subject, "assurance": .string(below(3) > 0 ? "mfa" : "password"),
                        "auth_time": .integer(below(4) > 0 ? 1_699_999_000_000 : 1_699_990_000_000),
                    ])))
        }
        changes.append(
            .putGroup(
                id: "g", displayName: "Staff",
                members: (0..<40).filter { _ in below(8) > 0 }.map { Change.Member(id: "n\($0)", isGroup: false) }))
        var writer = try TenantWriter(tenant.store, tenant: "t")
        try writer.append(changes, time: 2)
        return owners
    }

    private func properties(_ random: inout some RandomNumberGenerator) -> [CBORPair] {
        func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
        var pairs: [CBORPair] = []
        if below(3) == 0 { pairs.append(CBORPair(.text("flag"), .bool(below(2) > 0))) }
        if below(4) == 0 { pairs.append(CBORPair(.text("size"), .number(Int64(below(600))))) }
        if below(2) == 0 { pairs.append(CBORPair(.text("total"), .number(Int64(below(200))))) }
        return pairs
    }

    private func question(_ owners: [String], _ random: inout some RandomNumberGenerator) -> Question {
        func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
        var question = Question(
            subject: Entity(
                type: ["user", "user", "user", "user", "user", "service", "service", "moon"][below(8)],
                id: "n\(below(41))"),
            action: ActionName(name: ["read", "read", "change", "change", "change", "fly"][below(6)]),
            resource: Entity(
                type: ["doc", "doc", "doc", "doc", "doc", "doc", "folder", "moon"][below(8)], id: "r\(below(61))"))
        question.resource?.properties = properties(&random)
        if question.subject?.type == "service" {
            question.subject?.properties = [CBORPair(.text("tier"), .number(Int64(below(6))))]
        }
        if below(4) == 0 {
            question.action?.properties = [CBORPair(.text("soft"), .bool(below(2) > 0))]
        }
        if below(3) == 0 {
            question.context = [CBORPair(.text("ip"), .text(below(2) > 0 ? "10.1.2.3" : "192.0.2.1"))]
        }
        if below(3) > 0 {
            let number = below(21)
            question.session = "s\(number)"
            if number < 20, below(8) > 0 { question.subject = Entity(type: "user", id: owners[number]) }
        }
        return question
    }

    @Test("results are what one by one is permitted on the same snapshot, whatever the page", .timeLimit(.minutes(2)))
    func searchIsTheSameEvaluator() throws {
        let seed = TestSeed.next()
        var random = SeededGenerator(seed: seed)
        let tenant = try TemporaryTenant()
        let owners = try fill(tenant, &random)
        let searcher = try EntitySearcher("t", board: tenant.board)
        let now: Int64 = 1_700_000_000_000
        var (permitted, denied, withDuties) = (0, 0, 0)
        let users = (0..<40).map { "n\($0)" } + (0..<6).map { "u\($0)" }
        let docs = (0..<60).map { "r\($0)" } + ["d1"]
        for round in 0..<300 {
            let target = EntityQuery.Target.allCases[round % 3]
            var whole = question(owners, &random)
            if target == .subject { whole.session = nil }
            let ids: [String]
            switch target {
            case .subject: ids = whole.subject?.type == "user" ? users.sorted() : []
            case .resource: ids = whole.resource?.type == "doc" ? docs.sorted() : []
            case .action: ids = whole.resource?.type == "doc" ? ["read", "change"] : []
            }
            var expected: [EntityPage.Result] = []
            var snapshots: Set<UInt64> = []
            for id in ids {
                var one = whole
                switch target {
                case .subject: one.subject?.id = id
                case .resource: one.resource?.id = id
                case .action: one.action = ActionName(name: id)
                }
                let answer = try ask(one, tenant, now: now)
                snapshots.insert(answer.snapshot)
                guard answer.outcome == .permit else {
                    denied += 1
                    continue
                }
                permitted += 1
                if !answer.obligations.isEmpty { withDuties += 1 }
                expected.append(EntityPage.Result(id: id, obligations: answer.obligations))
            }
            if target == .action { whole.action = nil }
            var query = EntityQuery(target, whole, limit: [1, 2, 7, 1_000].randomElement(using: &random) ?? 1)
            query.candidateLimit = [1, 5, 10_000].randomElement(using: &random) ?? 1
            var found: [EntityPage.Result] = []
            repeat {
                let page = try searcher.page(query, now: now)
                #expect(page.results.count <= query.limit)
                #expect(snapshots.isSubset(of: [page.snapshot]))
                found += page.results
                query.after = page.next
            } while query.after != nil
            #expect(found == expected, "seed \(seed), \(target), \(whole)")
        }
        #expect(
            permitted > 200 && denied > 500 && withDuties > 5, "seed \(seed): \(permitted), \(denied), \(withDuties)")
    }

    @Test("a search sees what was acknowledged before it, policies too")
    func newest() throws {
        let tenant = try TemporaryTenant()
        let searcher = try EntitySearcher("t", board: tenant.board)
        var writer = try TenantWriter(tenant.store, tenant: "t")
        let all = Question(
            subject: Entity(type: "user", id: "-"), action: ActionName(name: "read"),
            resource: Entity(type: "doc", id: "d1", properties: [CBORPair(.text("total"), .number(7))]))
        let query = EntityQuery(.subject, all, limit: 100)
        #expect(try searcher.page(query, now: 3).results.map(\.id) == ["u0", "u1", "u2"])
        try writer.append(
            [.putGroup(id: "g", displayName: "Staff", members: [Change.Member(id: "u3", isGroup: false)])], time: 2)
        #expect(try searcher.page(query, now: 3).results.map(\.id) == ["u3"])
        let closed = TemporaryTenant.text.replacing("resource.total < 100.5", with: "resource.total < 5")
        _ = try writer.push([PolicyFile(name: "all.stile", text: closed)], author: "t", message: "", time: 3)
        #expect(try searcher.page(query, now: 3).results.isEmpty)
    }
}
