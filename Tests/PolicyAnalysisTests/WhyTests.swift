// Explanations: what stood in the way, in words, and what would have to change.

import DecisionEngine
import PolicyLanguage
import TestSupport
import Testing

@testable import PolicyAnalysis

@Suite("explanations")
struct WhyTests {
    private static let catalog = """
        catalog "c" version 1.0.0 {
          assurance password < mfa < key unreachable key
          entity user {
            department: string = ""
            level: 0...9 = 0
            teams: set of string = []
            hired: datetime?
            home: string?
          }
          signal user.risk: enum(low < medium < high) = low from caep "risk-level-change" expires 7d
          signal device.managed: bool = false from caep "device-compliance-change" expires 1d
          entity doc { owner: user, amount: decimal, tags: set of string = [], kind: enum(draft, final) = draft }
          action read, sign on doc
          context { ip: ipaddr? }
        }

        """
    private static let now: Int64 = 1_767_614_400_000

    private func program(_ rules: String) throws -> Program {
        let result = checkPolicies([SourceFile(name: "p.stile", text: Self.catalog + "policy \"P\" {\n\(rules)\n}\n")])
        return try compile(try #require(result.policies, "\(result.diagnostics.map(\.message))"))
    }

    /// A question by ada about a doc of bob's, at noon on Monday, 5 January 2026 UTC.
    private func situation(_ catalog: Catalog, _ action: String = "read") throws -> Situation {
        var situation = Situation()
        situation.subjectType = Catalog.user
        situation.subjectID = "ada"
        situation.action = try #require(catalog.action(named: action))
        situation.resourceType = try #require(catalog.entity(named: "doc"))
        situation.resourceID = "d1"
        situation.now = Self.now
        situation.given[.resource] = [
            "owner": .value(.reference(entity: Catalog.user, id: "bob")), "amount": .value(.decimal(500_000_000)),
        ]
        return situation
    }

    /// The words of the one condition that failed in the one rule.
    private func words(_ rule: String, _ change: (inout Situation) -> Void = { _ in }) throws -> String {
        let program = try program(rule)
        var situation = try situation(program.catalog)
        change(&situation)
        let why = Why(program, situation)
        return why.candidates.flatMap(\.failed).map(\.words).joined(separator: " | ")
    }

    /// What is suggested, each set on a line.
    private func changes(
        _ rules: String, _ action: String = "read", _ change: (inout Situation) -> Void = { _ in }
    ) throws -> [String] {
        let program = try program(rules)
        var situation = try situation(program.catalog, action)
        change(&situation)
        let why = Why(program, situation)
        for suggestion in why.changes.suggestions {
            #expect(try Decider(program.policies).outcome(suggestion.situation) == .permit)
        }
        return why.changes.suggestions.map { $0.changes.map(\.words).joined(separator: ", ") }
            + (why.changes.note.map { ["(\($0))"] } ?? [])
    }

    @Test("a failed condition says what is so and what was needed")
    func failedConditions() throws {
        #expect(
            try words("permit read on doc when user.department == \"Finance\"") { situation in
                situation.stored[.subject] = ["department": StoredValue(.string("Sales"))]
            } == "user.department is \"Sales\", needed \"Finance\"")
        #expect(
            try words("permit read on doc when user.level >= 3")
                == "user.level is 0 (its default), needed at least 3")
        #expect(
            try words("permit read on doc when resource.owner == user")
                == "resource.owner is \"bob\" (as the question says), needed \"ada\" (user)")
        #expect(
            try words("permit read on doc when user in group \"Auditors\"") == "user is not in group \"Auditors\"")
        #expect(
            try words("permit read on doc when user.department in [\"A\", \"B\"]")
                == "user.department is \"\" (its default), needed one of \"A\", \"B\"")
        #expect(
            try words("permit read on doc when has context.ip and context.ip in 10.0.0.0/8")
                == "context.ip has no value")
        #expect(
            try words("permit read on doc when device.managed")
                == "device.managed is false (its default; no device is known), needed true")
        #expect(
            try words("permit read on doc when user.teams contains \"red\"")
                == "user.teams is [] (its default), needed one with \"red\"")
        #expect(
            try words("permit read on doc when now in \"Sat-Sun 10:00-12:00 Europe/Berlin\"")
                == "now is 2026-01-05T12:00:00Z (Mon 13:00 in Europe/Berlin), needed in "
                + "\"Sat-Sun 10:00-12:00 Europe/Berlin\"")
        #expect(
            try words("forbid read on doc unless device.managed") { situation in
                situation.stored[.device] = ["managed": StoredValue(.boolean(true))]
            } == "device.managed is true; it takes false")
        #expect(
            try words("permit read on doc unless resource.amount > 100")
                == "resource.amount is 500 (as the question says), needed at most 100")
    }

    @Test("an instant that was reckoned with is told of with what it comes to")
    func spans() throws {
        let text = try words("permit read on doc when has user.hired and now - user.hired >= 90d") { situation in
            situation.stored[.subject] = ["hired": StoredValue(.datetime(Self.now - 27 * 86_400_000))]
        }
        #expect(text == "now is 2026-01-05T12:00:00Z, needed at least 2026-03-09T12:00:00Z (user.hired + 90d)")
    }

    @Test("a value that has expired is told of as such")
    func expired() throws {
        let text = try words("permit read on doc when user.risk == high") { situation in
            situation.stored[.subject] = ["risk": StoredValue(.enumeration(2), validUntil: Self.now - 1_000)]
        }
        #expect(text == "user.risk is low (expired at 2026-01-05T11:59:59Z, so its default), needed high")
    }

    @Test("a condition of a role is found where it stands")
    func roles() throws {
        let program = try program("role boss is user.level > 5\npermit read on doc to role boss")
        let why = Why(program, try situation(program.catalog))
        let failed = try #require(why.candidates.first?.failed.first)
        #expect(failed.text == "user.level > 5")
        #expect(failed.range.line == program.policies.roles[0].range.line)
    }

    @Test("of a matching permit the bounds are told that the session does not meet")
    func demands() throws {
        let program = try program("permit sign on doc requires mfa within 15m using otp")
        var situation = try situation(program.catalog, "sign")
        #expect(
            Why(program, situation).candidates[0].unmet.map(\.words) == [
                "needs mfa; the question names no session",
                "needs a sign-in within 15m; the question names no session",
                "needs a sign-in using otp; the session has no methods",
            ])
        var session = SessionFacts()
        session.levels = program.catalog.assurance.implied[0]
        session.authenticatedAt = Self.now - 3 * 3_600_000
        session.methods = AuthenticationMethods.bit("otp") ?? 0
        situation.session = session
        #expect(
            Why(program, situation).candidates[0].unmet.map(\.words) == [
                "needs mfa; the session has password", "needs a sign-in within 15m; the last was 3h ago",
            ])
    }

    @Test("the smallest change of one attribute, nearest to what is so")
    func nearest() throws {
        #expect(try changes("permit read on doc when resource.amount <= 250") == ["resource.amount: 500 → 250"])
        #expect(try changes("permit read on doc when resource.amount < 250") == ["resource.amount: 500 → 249.99"])
        #expect(try changes("permit read on doc when user.level >= 3") == ["user.level: 0 → 3"])
        #expect(
            try changes("permit read on doc when user.risk == high or user.risk == medium")
                == ["user.risk: low → medium"])
        #expect(
            try changes("permit read on doc when user.teams contains \"red\"") { situation in
                situation.stored[.subject] = ["teams": StoredValue(.set([.string("blue")]))]
            } == ["user.teams: [\"blue\"] → [\"blue\", \"red\"]"])
        #expect(try changes("permit read on doc to user in group \"Auditors\"") == ["user joins group \"Auditors\""])
        #expect(
            try changes("permit read on doc when resource.owner == user") == ["resource.owner: \"bob\" → \"ada\""])
    }

    private func changes(_ rules: String, _ change: (inout Situation) -> Void) throws -> [String] {
        try changes(rules, "read", change)
    }

    @Test("each smallest set is told of, and no larger one that holds it")
    func sets() throws {
        #expect(
            try changes(
                "permit read on doc when user.level > 3 and user.department == \"A\"\npermit read on doc when user.home ?? \"\" == \"x\""
            ) == ["user.home: no value → \"x\"", "user.level: 0 → 4, user.department: \"\" → \"A\""])
        #expect(
            try changes(
                "permit read on doc to user in group \"A\" or user in group \"B\"\npermit read on doc when user.risk == high"
            )
                == ["user.risk: low → high", "user joins group \"A\"", "user joins group \"B\""])
        #expect(
            try changes("permit read on doc when user.level > 3 and user.department == \"A\"")
                == ["user.level: 0 → 4, user.department: \"\" → \"A\""])
    }

    @Test("a forbid is lifted by what its condition reads")
    func forbids() throws {
        let rules = "permit read on doc\nforbid read on doc when user.risk >= medium or resource.kind == final"
        #expect(
            try changes(rules) { situation in
                situation.stored[.subject] = ["risk": StoredValue(.enumeration(2))]
            } == ["user.risk: high → low"])
    }

    @Test("a sign-in is suggested where it helps, and never where its level cannot be reached")
    func signIn() throws {
        #expect(
            try changes("permit sign on doc requires mfa within 15m", "sign")
                == ["sign in with mfa within 15m (now no session)"])
        #expect(
            try changes("permit sign on doc requires key", "sign")
                == ["(no change of what the rules read, and no sign-in, would permit it)"])
        #expect(
            try changes("permit sign on doc when user.level > 3 requires mfa", "sign")
                == ["user.level: 0 → 4, sign in with mfa (now no session)"])
    }

    @Test("the time to wait for is the first that permits")
    func waiting() throws {
        #expect(
            try changes("permit read on doc when now in \"Sat-Sun 10:00-12:00 Europe/Berlin\"")
                == ["wait until 2026-01-10T09:00:00Z (now 2026-01-05T12:00:00Z)"])
    }

    @Test("a missing attribute is asked for")
    func missing() throws {
        let program = try program("permit read on doc when resource.amount <= 250")
        var situation = try situation(program.catalog)
        situation.given[.resource]?["amount"] = nil
        let why = Why(program, situation)
        #expect(why.verdict.kind == .error)
        #expect(why.faults.map(\.name) == ["resource.amount"])
        let change = try #require(why.changes.suggestions.first?.changes.first)
        #expect(change.name == "resource.amount")
        #expect(change.from == nil)
    }

    @Test("an inactive subject is told to be activated, with what it takes besides")
    func inactive() throws {
        #expect(
            try changes("permit read on doc") { $0.isSubjectInactive = true }
                == ["user is active again (SCIM active: false → true)"])
        #expect(
            try changes("permit read on doc when user.level > 3") { $0.isSubjectInactive = true }
                == ["user is active again (SCIM active: false → true), user.level: 0 → 4"])
    }

    @Test("what cannot be is said, and told apart from what was not found")
    func nothing() throws {
        #expect(
            try changes("permit read on doc when user.level > 3\nforbid any on doc")
                == ["(no change of what the rules read, and no sign-in, would permit it)"])
        let four = "user.level > 3 and user.department == \"A\" and user.teams contains \"b\" and device.managed"
        #expect(
            try changes("permit read on doc when \(four)") == ["(no 3 changes together would permit it; it takes more)"]
        )
        #expect(
            try changes("permit read on doc") { $0.isSubjectKnown = false }
                == ["(the store does not know this subject: no change but provisioning it helps)"])
    }

    @Test("a permit needs no change")
    func permitted() throws {
        #expect(try changes("permit read on doc") == [])
    }

    @Test("of random policies, each suggestion is decided as a permit, and changes nothing of what is asked about")
    func randomPolicies() throws {
        let seed = TestSeed.next()
        print("seed \(seed)")
        var limits = ChangeSearch.Limits()
        limits.together = 2
        limits.sets = 60
        var found = 0
        for round in 0..<60 {
            var random = RandomPolicies(seed: seed &+ UInt64(round))
            let policies = random.policies()
            let program = try compile(policies)
            let decider = Decider(program)
            for _ in 0..<5 {
                let situation = random.situation(policies.catalog)
                let why = Why(program, situation, limits: limits)
                #expect(why.outcome == decider.outcome(situation), "seed \(seed &+ UInt64(round))")
                for suggestion in why.changes.suggestions {
                    found += 1
                    #expect(decider.outcome(suggestion.situation) == .permit, "seed \(seed &+ UInt64(round))")
                    // Signing in and being activated come on top.
                    #expect(suggestion.changes.filter { $0.place != .signIn && $0.place != .activation }.count <= 2)
                    let after = suggestion.situation
                    #expect(after.subjectType == situation.subjectType && after.subjectID == situation.subjectID)
                    #expect(after.action == situation.action)
                    #expect(after.resourceType == situation.resourceType && after.resourceID == situation.resourceID)
                }
            }
        }
        #expect(found > 0)
    }
}
