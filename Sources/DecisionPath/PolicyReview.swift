// Whether files may become a version: do they check, do they compile, do their tests pass, and how much do these reach.

import DecisionEngine
package import PolicyLanguage

/// What a review found.
package struct PolicyReview: Sendable {
    /// Findings of the checker, and what keeps the policies from compiling.
    package var diagnostics: [Diagnostic]
    /// True when the policies check and compile.
    package var isValid: Bool
    /// Results of the tests that stand in the files, in the order of the text.
    package var tests: [PolicyTestResult] = []
    /// Names of the rules that no test reaches.
    package var uncovered: [String] = []
    package var ruleCount = 0
    /// Per cent of the rules that matched in some test; all of none are 100.
    package var coverage = 100
    /// Bytes of the compiled program.
    package var sizeInBytes = 0

    /// Rules looked at for all tests together: what running the tests of a file from outside can cost.
    package static let maxTestWork = 20_000_000

    /// Tests that failed.
    package var failedTests: [PolicyTestResult] { tests.filter { !$0.passed } }

    /// Reviews files.
    /// - Parameter now: the instant for tests that give none, ms since the epoch.
    package init(_ files: [SourceFile], now: Int64) {
        let result = checkPolicies(files)
        diagnostics = result.diagnostics
        isValid = false
        guard let policies = result.policies else { return }
        let program: Program
        do throws(CompileError) {
            program = try compile(policies)
        } catch {
            diagnostics.append(Diagnostic(.tooLarge, error.message, at: .none))
            return
        }
        ruleCount = policies.rules.count
        sizeInBytes = program.sizeInBytes
        guard policies.tests.count * max(1, ruleCount) <= Self.maxTestWork else {
            diagnostics.append(
                Diagnostic(
                    .tooLarge,
                    "\(policies.tests.count) tests of \(ruleCount) rules are more work than \(Self.maxTestWork): "
                        + "leave some tests to `stile test`",
                    at: .none))
            return
        }
        isValid = true
        let (results, covered) = PolicyTestRunner(program).run(now: now)
        tests = results
        uncovered = policies.rules.indices.filter { !covered.contains($0) }.map { policies.rules[$0].name }
        if ruleCount > 0 { coverage = covered.count * 100 / ruleCount }
    }
}
