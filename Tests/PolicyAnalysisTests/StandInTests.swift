// `x ?? y` where some of the types in question declare a default for `x`: the default there, `y` elsewhere; in the
// reference, the program, formulas, plans and their SQL.

import DecisionEngine
import PolicyLanguage
import Testing

@testable import PolicyAnalysis

@Suite("stand-ins beside defaults")
struct StandInTests {
    private static let text = """
        catalog "files" version 1.0.0 {
          entity user { }
          entity report { level: int = 3 }
          entity letter { level: int? }
          entity memo { level: int? = 5 }
          action read on report, letter, memo
        }
        policy "P" {
          permit read on report, letter, memo to user when resource.level ?? 7 in [3, 5]
        }
        """

    private func policies() throws -> CheckedPolicies {
        let result = checkPolicies([SourceFile(name: "files.stile", text: Self.text)])
        return try #require(result.policies, "\(result.diagnostics)")
    }

    /// A question about a resource of a type without a level, or with this one.
    private func situation(_ type: String, level: Int64?, _ policies: CheckedPolicies) throws -> Situation {
        var situation = Situation()
        situation.subjectID = "ann"
        situation.resourceID = "r"
        situation.resourceType = try #require(policies.catalog.entity(named: type))
        if let level { situation.given[.resource] = ["level": .value(.integer(level))] }
        return situation
    }

    @Test(
        "the default wins over the stand-in, a value over both",
        arguments: [
            ("report", nil, true), ("report", 7, false), ("report", 5, true), ("letter", nil, false),
            ("letter", 3, true),
            ("memo", nil, true), ("memo", 7, false),
        ] as [(String, Int64?, Bool)])
    func decided(_ type: String, _ level: Int64?, _ isPermitted: Bool) throws {
        let policies = try policies()
        let situation = try situation(type, level: level, policies)
        #expect((Interpreter(policies).decide(situation).kind == .permitted) == isPermitted)
        var scratch = DecisionScratch()
        #expect((try compile(policies).decide(situation, &scratch).verdict.kind == .permitted) == isPermitted)
        let cell = Cell(situation, policies.catalog)
        let space = RequestSpace(
            cell,
            [
                restrict(
                    policies, subjectType: situation.subjectType, action: situation.action,
                    resourceType: situation.resourceType)
            ])
        let permit = try #require(space.outcomes(side: 0).outcomes[.permit])
        #expect(SituationTruths(space, situation, side: 0).truths([permit]) == [isPermitted])
        let known = restrict(
            policies, subjectType: situation.subjectType, action: situation.action,
            resourceType: situation.resourceType, knowing: KnownFacts(situation))
        #expect(known.rules.map(\.condition) == [.constant(isPermitted)])
    }

    @Test("SQL stands the default in, too", arguments: [("report", 3), ("letter", 7), ("memo", 5)])
    func sql(_ type: String, _ standIn: Int) throws {
        let policies = try policies()
        let plan = PolicyPlan(policies, try situation(type, level: nil, policies))
        let sql = try plan.sql(plan.permit, SQLOptions(dialect: .sqlite)).text
        #expect(sql.contains("COALESCE(\"level\", \(standIn))"), "\(sql)")
    }

    @Test(
        "what the question says of the resource stands in before default and stand-in, and before nothing that a row says",
        arguments: ["report", "letter", "memo"])
    func said(_ type: String) throws {
        let policies = try policies()
        var plan = PolicyPlan(policies, try situation(type, level: 4, policies))
        #expect(try plan.sql(plan.permit, SQLOptions(dialect: .sqlite)).text.contains("COALESCE(\"level\", 4)"))
        #expect(plan.permitExtent == .sometimes)
        #expect(plan.fallbacks.map(\.name) == ["level"])
        #expect(plan.required.isEmpty)
        var malformed = try situation(type, level: nil, policies)
        malformed.given[.resource] = ["level": .malformed]
        plan = PolicyPlan(policies, malformed)
        // A row without a level is an error now.
        #expect(plan.required.map(\.name) == ["level"])
        #expect(try plan.sql(plan.permit, SQLOptions(dialect: .sqlite)).text.hasPrefix("\"level\" IS NOT NULL"))
    }

    @Test(
        "what only a question can say is known, and what it says of the resource is not said of a subject of its type")
    func saidOfAnother() throws {
        let text = """
            catalog "people" version 1.0.0 {
              entity user { level: int = 1 from scim "level", request  reason: string? from request }
              action see on user
            }
            policy "P" {
              permit see on user when user.level == 1 and resource.level == 9 and resource.reason ?? "" == "help"
            }
            """
        let policies = try #require(checkPolicies([SourceFile(name: "people.stile", text: text)]).policies)
        var situation = Situation()
        situation.given[.resource] = ["level": .value(.integer(9)), "reason": .value(.string("help"))]
        let sql = { (plan: PolicyPlan) in try plan.sql(plan.permit, SQLOptions(dialect: .sqlite)).text }
        #expect(try sql(PolicyPlan(policies, situation)) == "COALESCE(\"level\", 9) = 9")
        situation.given[.resource]?["reason"] = .value(.string("no"))
        #expect(PolicyPlan(policies, situation).permitExtent == .never)
        situation.given[.resource]?["reason"] = .malformed
        #expect(PolicyPlan(policies, situation).faults.map(\.name) == ["reason"])
    }

    @Test("another stand-in changes only the answers of types without a default")
    func compared() throws {
        let old = try policies()
        let changed = Self.text.replacing("?? 7", with: "?? 5")
        let new = try #require(checkPolicies([SourceFile(name: "files.stile", text: changed)]).policies)
        let comparison = try compare(old, new)
        #expect(comparison.unproven.isEmpty)
        #expect(comparison.regions.map(\.cell.resource) == ["letter"])
    }

    @Test("a comparison that is ended proves nothing, and says so of every cell")
    func ended() throws {
        let policies = try policies()
        var options = ComparisonOptions()
        let interruption = Interruption()
        interruption.raise()
        options.interruption = Interruption(orWith: interruption)
        let comparison = try compare(policies, policies, options)
        #expect(comparison.regions.isEmpty)
        #expect(!comparison.isProvenEqual)
        #expect(comparison.unproven.map(\.cell.resource) == ["report", "letter", "memo"])
        #expect(comparison.unproven.allSatisfy { $0.reason == "not settled in the time given" })
    }
}
