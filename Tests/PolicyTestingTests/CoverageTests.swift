// What counts as covered.

import DecisionEngine
import PolicyLanguage
import Testing

@testable import PolicyTesting

@Suite("coverage of conditions")
struct CoverageTests {
    private static let catalog = """
        catalog "c" version 1.0.0 {
          assurance password < mfa
          entity user { level: 0...5 = 0, team: string?, active: bool = false }
          entity doc { kind: enum(draft, final) = draft, size: 0...100 = 1 }
          entity note { size: 0...100 = 1 }
          action read on doc, note
          action write on doc
        }

        """

    private func coverage(_ text: String) throws -> (PolicyCoverage, CheckedPolicies) {
        let result = checkPolicies([SourceFile(name: "p.stile", text: Self.catalog + text)])
        let policies = try #require(result.policies, "\(result.diagnostics)")
        return (PolicyTestRunner(try compile(policies)).run(now: 0).coverage, policies)
    }

    /// `never true: …` for each outcome that is missing.
    private func missing(_ text: String) throws -> [String] {
        let (coverage, policies) = try coverage(text)
        return coverage.missing.map { "never \($0.truth): \($0.text(policies))" }
    }

    /// `never true: …` for each outcome that cannot be.
    private func impossible(_ text: String) throws -> [String] {
        let (coverage, policies) = try coverage(text)
        return coverage.impossible.map { "never \($0.truth): \($0.text(policies))" }
    }

    @Test("both outcomes of a condition are asked for")
    func bothOutcomes() throws {
        let rule = "policy \"P\" { permit read on doc when user.level > 2 }\n"
        let yes = "test \"a\" { given user { level 3 } ask read on doc expect permit }\n"
        let no = "test \"b\" { ask read on doc expect deny }\n"
        #expect(try missing(rule) == ["never true: user.level > 2", "never false: user.level > 2"])
        #expect(try missing(rule + yes) == ["never false: user.level > 2"])
        #expect(try missing(rule + no) == ["never true: user.level > 2"])
        #expect(try missing(rule + yes + no) == [])
        let (coverage, _) = try coverage(rule + yes)
        #expect(coverage.rulePercent == 100)
        #expect(coverage.conditionPercent == 50)
    }

    @Test("a condition behind `and` is looked at when those before it hold, behind `or` when none does")
    func order() throws {
        let rule = "policy \"P\" { permit read on doc when user.level > 2 and user.active or resource.size > 5 }\n"
        let test = "test \"a\" { given user { active true } ask read on doc { size 9 } expect permit }\n"
        #expect(
            try missing(rule + test) == [
                "never true: user.level > 2", "never true: user.active", "never false: user.active",
                "never false: resource.size > 5",
            ])
    }

    @Test("a question that a rule does not apply to says nothing of its conditions")
    func otherAction() throws {
        let rules = "policy \"P\" { permit read on doc when user.active permit write on doc when user.level > 1 }\n"
        let test = "test \"a\" { given user { active true level 2 } ask write on doc expect permit }\n"
        #expect(try missing(rules + test).contains("never true: user.active"))
    }

    @Test("each end of a range counts")
    func range() throws {
        let rule = "policy \"P\" { permit read on doc when user.level in 2...3 }\n"
        let test = "test \"a\" { given user { level 5 } ask read on doc expect deny }\n"
        #expect(
            try missing(rule + test) == [
                "never false: user.level in 2...3 (its lower end)", "never true: user.level in 2...3 (its upper end)",
            ])
    }

    @Test("a role's conditions count once, whichever rule names it")
    func roles() throws {
        let rules = """
            policy "P" {
              role senior is user.level > 3
              permit read on doc to role senior
              permit write on doc to role senior
            }
            test "a" { given user { level 4 } ask read on doc expect permit }
            test "b" { ask write on doc expect deny }

            """
        #expect(try missing(rules) == ["never false: senior", "never true: senior"])
    }

    @Test("each bound of a demand counts, and is looked at when the rule matches and nothing forbids")
    func demands() throws {
        let rules = """
            policy "P" {
              permit write on doc requires mfa within 1h
              forbid write on doc when user.level == 0
            }
            test "a" { given session { assurance mfa age 5m } ask write on doc expect deny }
            test "b" { given user { level 1 } given session { assurance mfa age 5m } ask write on doc expect permit }

            """
        #expect(try missing(rules) == ["never false: mfa", "never false: within 1h"])
    }

    @Test("a question that is an error covers nothing")
    func errors() throws {
        let text = """
            catalog "c" version 1.0.0 { entity doc { owner: string } action read on doc }
            policy "P" { permit read on doc when resource.owner == "x" }
            test "a" { ask read on doc expect error }
            """
        let policies = try #require(checkPolicies([SourceFile(name: "p.stile", text: text)]).policies)
        let run = PolicyTestRunner(try compile(policies)).run(now: 0)
        #expect(run.failed.isEmpty)
        #expect(run.coverage.conditionPercent == 0)
        #expect(run.coverage.rulePercent == 0)
    }

    @Test("what no question can bring about is named and not counted")
    func constant() throws {
        let always = "policy \"P\" { permit read on doc when user.level < 2 and user.level < 4 }\n"
        let tests = """
            test "a" { ask read on doc expect permit }
            test "b" { given user { level 3 } ask read on doc expect deny }

            """
        #expect(try impossible(always + tests) == ["never false: user.level < 4"])
        #expect(try missing(always + tests) == [])
        let (coverage, _) = try coverage(always + tests)
        #expect(coverage.conditionPercent == 100)
        #expect(coverage.outcomeCount == 3)
    }

    @Test("a condition that can be either on one of a rule's types is not constant")
    func types() throws {
        let rule = "policy \"P\" { permit read on doc, note when resource.size > 5 and resource.size > 3 }\n"
        let test = "test \"a\" { ask read on note { size 6 } expect permit }\n"
        #expect(try missing(rule + test) == ["never false: resource.size > 5"])
        #expect(try impossible(rule + test) == ["never false: resource.size > 3"])
    }

    @Test("a bar is held against rules and conditions, and tests that fail refuse before it")
    func bar() {
        let rule = "policy \"P\" { permit read on doc when user.level > 2 }\n"
        let good = "test \"a\" { given user { level 3 } ask read on doc expect permit }\n"
        let bad = "test \"b\" { ask read on doc expect permit }\n"
        func review(_ text: String) -> PolicyReview {
            PolicyReview([SourceFile(name: "p.stile", text: Self.catalog + text)], now: 0)
        }
        #expect(review(rule + good).refusal(bar: 50) == nil)
        #expect(review(rule + good).refusal(bar: 51)?.code == "coverage_too_low")
        #expect(review(rule + good + bad).refusal(bar: 0)?.code == "tests_failed")
    }
}
