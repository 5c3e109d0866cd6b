// Searches, plans and checks are one evaluator: a search finds what asking one by one permits, and nothing else; a plan's
// condition holds for just that.

import AttributeStore
import CBOR
import DecisionEngine
import DecisionPath
import DecisionProtocol
import Memory
import PolicyAnalysis
import PolicyLanguage
import StrictJSON
import TestSupport
import Testing

/// Draws policies for the catalog of `TemporaryTenant`.
private struct RandomRules {
    var random: SeededGenerator

    private mutating func leaf(_ readsContext: Bool) -> String {
        switch random.below(readsContext ? 20 : 19) {
        case 0, 1: "resource.total \(random.pick(["<", ">=", "=="])) \(random.below(120))"
        case 2: "resource.size \(random.pick(["<", ">"])) \(random.below(330))"
        case 3: "resource.flag"
        case 4: "resource.status == \(random.pick(["open", "closed"]))"
        case 5: "(has resource.owner and resource.owner == user)"
        case 6: "user.level >= \(random.below(6))"
        case 7: "user.department == \"d\(random.below(3))\""
        case 8: "resource in folder \"frozen\""
        case 9: "action.soft"
        case 10: "user in group \"Staff\""
        case 11: "(has resource.due and resource.due < now)"
        case 12: "\(random.chance(50) ? "has" : "not has") resource.weight"
        case 13: "resource.weight ?? \(random.below(9)) < \(random.below(9))"
        case 14: "resource.purpose ?? \"sale\" == \"\(random.pick(["audit", "sale"]))\""
        case 15: "resource.sealed"
        case 16: "resource.alarm == \(random.pick(["low", "high"]))"
        case 17: "\(random.pick(["", "not "]))resource.tags contains \"secret\""
        case 18: "user.mood ?? \"fair\" == \"\(random.pick(["fair", "foul"]))\""
        default: "(has context.ip and context.ip in 10.0.0.0/8)"
        }
    }

    private mutating func condition(depth: Int = 2) -> String {
        let one = depth == 0 || random.chance(30) ? leaf(true) : "(\(condition(depth: depth - 1)))"
        switch random.below(4) {
        case 0: return one
        case 1: return "not \(one)"
        case 2: return "\(one) and \(leaf(true))"
        default: return "\(one) or \(leaf(true))"
        }
    }

    /// Catalog and policies.
    mutating func text() -> String {
        let end = TemporaryTenant.text.firstRange(of: "policy \"P\"")?.lowerBound
        // Besides what both may say: what only the question, only the application, a signal first may say.
        let catalog = TemporaryTenant.text.prefix(upTo: end ?? TemporaryTenant.text.endIndex)
            .replacing(
                "flag: bool = false",
                with: """
                    flag: bool = false
                        weight: int?
                        purpose: string? from request
                        sealed: bool = false from application
                    """
            ).replacing("level: 0...5 = 0 }", with: "level: 0...5 = 0 mood: string? from scim \"mood\", request }")
            .replacing(
                "action read, change",
                with:
                    "signal doc.alarm: enum(low, high) = low from caep \"alarm\", request expires 1h\n  action read, change"
            )
        var rules = (0..<(1 + random.below(5))).map { _ in
            "permit \(random.pick(["read", "change", "any"])) on doc to user when \(condition())"
                + (random.chance(40) ? " requires mfa within \(random.pick(["1h", "5h"]))" : "")
        }
        rules += (0..<random.below(3)).map { _ in
            "forbid \(random.pick(["read", "change", "any"])) on doc to user when \(condition())"
        }
        if random.chance(50) {
            rules.append(
                "on permit any on doc to user as \"told\" when \(condition()) then notify \"owner\" \"{user}\"")
        }
        return catalog + "policy \"P\" {\n" + rules.joined(separator: "\n") + "\n}\n"
    }
}

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
    /// - Parameter hasMore: the catalog is that of `RandomRules`.
    private func fill(
        _ tenant: TemporaryTenant, _ random: inout some RandomNumberGenerator, hasMore: Bool = false
    ) throws -> [String] {
        func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
        var changes: [Change] = (0..<40).map { number in
            .putSubject(
                type: "user", id: "n\(number)", isActive: below(8) > 0,
                document: .object(
                    [
                        JSONMember("department", .string("d\(below(3))")), JSONMember("level", .integer(below(6))),
                    ] + (hasMore && below(3) == 0 ? [JSONMember("mood", .string("foul"))] : [])))
        }
        for number in 0..<60 {
            var document: [JSONMember] = []
            if below(16) > 0 { document.append(JSONMember("total", .integer(below(120)))) }
            if below(2) > 0 { document.append(JSONMember("status", .string(below(3) > 0 ? "open" : "closed"))) }
            if below(2) > 0 { document.append(JSONMember("owner", .string("n\(below(40))"))) }
            if below(3) > 0 { document.append(JSONMember("flag", .bool(below(2) > 0))) }
            if below(3) > 0 { document.append(JSONMember("size", .integer(below(330)))) }
            if hasMore, below(2) > 0 { document.append(JSONMember("weight", .integer(below(9)))) }
            if hasMore, below(2) > 0 { document.append(JSONMember("sealed", .bool(below(2) > 0))) }
            if below(4) == 0 { document.append(JSONMember("due", .string("20\(20 + below(9))-01-01T00:00:00Z"))) }
            if below(3) == 0 {
                document.append(JSONMember("tags", .array([.string(below(2) > 0 ? "secret" : "draft")])))
            }
            changes.append(
                .putResource(
                    type: "doc", id: "r\(number)", document: .object(document),
                    parents: below(5) > 0 ? [] : [EntityName(type: "folder", id: "frozen")]))
        }
        for number in 0..<60 where hasMore && below(2) > 0 {
            // Half of them have ended when the questions come.
            changes.append(
                .signal(
                    type: "doc", id: "r\(number)", name: "alarm", value: .string(below(2) > 0 ? "high" : "low"),
                    at: 1_699_999_000_000, expires: below(2) > 0 ? 1_699_999_999_000 : nil))
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

    /// What a question may say of a document, here and there of the wrong type.
    private func properties(_ random: inout some RandomNumberGenerator) -> [CBORPair] {
        func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
        var pairs: [CBORPair] = []
        func say(_ name: String, _ value: CBORValue, _ share: Int) {
            guard below(100) < share else { return }
            pairs.append(CBORPair(.text(name), below(25) > 0 ? value : .array([])))
        }
        say("flag", .bool(below(2) > 0), 33)
        say("size", .number(Int64(below(600))), 25)
        say("total", .number(Int64(below(200))), 50)
        say("status", .text(["open", "closed", "lost"][below(3)]), 20)
        say("owner", .text("n\(below(40))"), 20)
        say("due", .text(below(2) > 0 ? "2020-01-01T00:00:00Z" : "2040-01-01T00:00:00Z"), 15)
        say("tags", .array(below(2) > 0 ? [.text("secret")] : []), 15)
        say("weight", .number(Int64(below(9))), 25)
        say("purpose", .text(below(2) > 0 ? "audit" : "sale"), 33)
        say("sealed", .bool(below(2) > 0), 15)
        say("alarm", .text(below(2) > 0 ? "high" : "low"), 20)
        say("colour", .text("red"), 10)
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
        if question.subject?.type == "user", below(4) == 0 {
            // The directory says the level.
            question.subject?.properties = [
                CBORPair(.text("mood"), below(12) > 0 ? .text(below(2) > 0 ? "fair" : "foul") : .bool(true)),
                CBORPair(.text("level"), .number(5)),
            ]
        }
        if below(4) == 0 {
            question.action?.properties = [
                CBORPair(.text("soft"), below(12) > 0 ? .bool(below(2) > 0) : .text("yes"))
            ]
        }
        if below(3) == 0 {
            question.context = [
                CBORPair(.text("ip"), .text(["10.1.2.3", "10.1.2.3", "192.0.2.1", "192.0.2.1", "home"][below(5)]))
            ]
        }
        if below(3) > 0 {
            let number = below(21)
            question.session = "s\(number)"
            if number < 20, below(8) > 0 {
                let said = question.subject?.type == "user" ? question.subject?.properties ?? [] : []
                question.subject = Entity(type: "user", id: owners[number], properties: said)
            }
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

    /// Ids of the docs for which a plan's condition holds, with the snapshot that they were looked up on; nil for a question
    /// that cannot be put without its resource.
    private func planned(
        _ whole: Question, _ ids: [String], _ tenant: TemporaryTenant, now: Int64
    ) throws -> (permitted: [String], stepUp: [String], snapshot: UInt64)? {
        let survey = try TenantSurvey(tenant.store, tenant: "t", now: now)
        do {
            try survey.ask(whole)
        } catch {
            // A session of another, a type that is none: an error for each resource, and no plan.
            guard case .question = error else { throw error }
            return nil
        }
        let situation = try survey.situation()
        let policies = survey.program.policies
        let plan = PolicyPlan(policies, situation)
        let interpreter = Interpreter(policies)
        var (permitted, stepUp) = ([String](), [String]())
        for id in ids where plan.faults.isEmpty {
            survey.look(resource: id)
            let one = try survey.situation()
            // As a row that must have a value: what a question says well does not have to be there.
            let stored = one.stored[.resource] ?? [:]
            guard plan.required.allSatisfy({ (stored[$0.name]?.validUntil ?? 0) > now }) else { continue }
            if interpreter.holds(plan.permit, one) { permitted.append(id) }
            if interpreter.holds(plan.stepUp, one) { stepUp.append(id) }
        }
        return (permitted, stepUp, try survey.decide().snapshot)
    }

    @Test("search, plan and check agree for random policies on the same snapshot", .timeLimit(.minutes(5)))
    func searchAndPlanAndCheckAreTheSameEvaluator() throws {
        let seed = TestSeed.next()
        var random = SeededGenerator(seed: seed)
        let now: Int64 = 1_700_000_000_000
        let docs = ((0..<60).map { "r\($0)" } + ["d1"]).sorted()
        var counts = (permitted: 0, stepUp: 0, neither: 0, plans: 0, said: 0)
        for _ in 0..<12 {
            var rules = RandomRules(random: SeededGenerator(seed: random.next()))
            let text = rules.text()
            let tenant = try TemporaryTenant(text: text)
            let owners = try fill(tenant, &random, hasMore: true)
            let searcher = try EntitySearcher("t", board: tenant.board)
            for _ in 0..<20 {
                var whole = question(owners, &random)
                whole.resource?.type = "doc"
                if random.chance(30) { whole.resource?.properties = [] }
                counts.said += whole.resource?.properties.isEmpty == false ? 1 : 0
                var (permitted, stepUp, snapshots) = ([String](), [String](), Set<UInt64>())
                for id in docs {
                    whole.resource?.id = id
                    let answer = try ask(whole, tenant, now: now)
                    snapshots.insert(answer.snapshot)
                    if answer.outcome == .permit { permitted.append(id) }
                    if answer.outcome == .stepUp { stepUp.append(id) }
                }
                counts.permitted += permitted.count
                counts.stepUp += stepUp.count
                counts.neither += docs.count - permitted.count - stepUp.count
                let note: Comment = "seed \(seed), \(whole), \(text)"
                let page = try searcher.page(EntityQuery(.resource, whole, limit: 1_000), now: now)
                #expect(page.results.map(\.id) == permitted, note)
                whole.resource?.id = "*"
                if let plan = try planned(whole, docs, tenant, now: now) {
                    counts.plans += 1
                    #expect(plan.permitted == permitted, note)
                    #expect(plan.stepUp == stepUp, note)
                    snapshots.insert(plan.snapshot)
                }
                #expect(snapshots == [page.snapshot], note)
            }
        }
        #expect(
            counts.permitted > 300 && counts.stepUp > 20 && counts.neither > 1_000 && counts.plans > 60
                && counts.said > 60,
            "seed \(seed): \(counts)")
    }

    @Test(
        "what a question says of the resource never beats what is stored of one",
        arguments: [
            ("total", CBORValue.number(5), ["small", "silent"]), ("total", .text("much"), ["small"]),
            ("total", .number(500), ["small"]), ("colour", .number(5), ["small"]),
        ])
    func saidAndStored(_ name: String, _ value: CBORValue, _ expected: [String]) throws {
        let head = try #require(TemporaryTenant.text.split(separator: "policy \"P\"").first)
        let tenant = try TemporaryTenant(
            text: head + "policy \"P\" { permit read on doc to user when resource.total < 100 }")
        var writer = try TenantWriter(tenant.store, tenant: "t")
        try writer.append(
            [("big", 500), ("small", 7), ("silent", nil)].map { id, total in
                .putResource(
                    type: "doc", id: id,
                    document: .object(total.map { [JSONMember("total", .integer($0))] } ?? []))
            }, time: 2)
        let docs = ["big", "d1", "silent", "small"]
        var whole = Question(
            subject: Entity(type: "user", id: "u1"), action: ActionName(name: "read"),
            resource: Entity(type: "doc", id: "*", properties: [CBORPair(.text(name), value)]))
        // `d1` is registered too, and says nothing of its total.
        let permitted = expected.contains("silent") ? ["d1"] + expected : expected
        let plan = try #require(try planned(whole, docs, tenant, now: 3))
        #expect(plan.permitted == permitted.sorted())
        let searcher = try EntitySearcher("t", board: tenant.board)
        #expect(
            try searcher.page(EntityQuery(.resource, whole, limit: 9), now: 3).results.map(\.id) == permitted.sorted())
        for id in docs {
            whole.resource?.id = id
            #expect((try ask(whole, tenant, now: 3).outcome == .permit) == permitted.contains(id), "\(id)")
        }
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
