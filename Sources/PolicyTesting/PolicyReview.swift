// Whether files may become a version: do they check, do they compile, do their tests pass, and how much do these reach.

import DecisionEngine
package import PolicyLanguage

/// What a review found.
package struct PolicyReview: Sendable {
    /// Findings of the checker, and what keeps the policies from compiling.
    package var diagnostics: [Diagnostic]
    /// The policies that check, compile and can be tested; nil when they do not.
    package var policies: CheckedPolicies?
    /// Results of the tests that stand in the files, in the order of the text.
    package var tests: [PolicyTestResult] = []
    /// How much the tests reach.
    package var coverage = PolicyCoverage()
    /// Bytes of the compiled program.
    package var sizeInBytes = 0

    /// Rules looked at for all tests together: what running the tests of a file from outside can cost.
    package static let maxTestWork = 20_000_000

    /// Steps of analysis that finding out what no test could show may take.
    package static let maxReach = 20_000_000

    /// True when the policies check and compile.
    package var isValid: Bool { policies != nil }
    package var ruleCount: Int { policies?.rules.count ?? 0 }
    /// Tests that failed.
    package var failedTests: [PolicyTestResult] { tests.filter { !$0.passed } }
    /// Names of the rules that no test reaches.
    package var uncovered: [String] { coverage.uncoveredRules.compactMap { policies?.rules[$0].name } }

    /// Reviews files.
    /// - Parameter now: the instant for tests that give none, ms since the epoch.
    package init(_ files: [SourceFile], now: Int64) {
        let result = checkPolicies(files)
        diagnostics = result.diagnostics
        guard let checked = result.policies else { return }
        let program: Program
        do throws(CompileError) {
            program = try compile(checked)
        } catch {
            diagnostics.append(Diagnostic(.tooLarge, error.message, at: .none))
            return
        }
        sizeInBytes = program.sizeInBytes
        guard checked.tests.count * max(1, checked.rules.count) <= Self.maxTestWork else {
            diagnostics.append(
                Diagnostic(
                    .tooLarge,
                    "\(checked.tests.count) tests of \(checked.rules.count) rules are more work than "
                        + "\(Self.maxTestWork): leave some tests to `stile test`",
                    at: .none))
            return
        }
        policies = checked
        // Without tests nothing is covered, and there is nothing to find out about the rest.
        let run = PolicyTestRunner(program).run(now: now, steps: checked.tests.isEmpty ? 0 : Self.maxReach)
        tests = run.results
        coverage = run.coverage
    }

    /// Why the files may not decide for a tenant: tests that fail, or that reach too little; nil when they may.
    /// - Parameter bar: per cent of rules and of conditions that tests must reach.
    package func refusal(bar: Int) -> PolicyRefusal? {
        let failed = failedTests
        if !failed.isEmpty {
            return PolicyRefusal(
                code: "tests_failed", message: "\(failed.count) of \(tests.count) tests failed")
        }
        if coverage.percent < bar {
            return PolicyRefusal(
                code: "coverage_too_low",
                message: "tests reach \(coverage.rulePercent) % of the rules and \(coverage.conditionPercent) % of the "
                    + "outcomes of conditions, and this tenant asks for \(bar) % of each")
        }
        return nil
    }
}

/// Why policies that check may not decide.
package struct PolicyRefusal: Sendable, Hashable {
    /// `tests_failed` or `coverage_too_low`.
    package var code: String
    package var message: String
}
