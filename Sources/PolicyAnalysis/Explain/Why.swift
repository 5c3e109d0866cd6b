// Why a question got its answer: the rules that decided, of every other rule that could have the conditions that stood
// in the way with the values they read, and what would have to change for a permit.

package import DecisionEngine
package import PolicyLanguage

/// A decision, explained.
package struct Why: Sendable {
    /// A value that a condition read.
    package struct ReadValue: Sendable, Hashable {
        /// `user.department`.
        package var name: String
        /// As it is written in policies; nil where there is none.
        package var value: String?
        /// Where it comes from, where that is worth telling: `its default`, `as the question says`.
        package var remark: String?
    }

    /// A condition that came out other than its rule needs it.
    package struct FailedCondition: Sendable {
        package var range: SourceRange
        /// The text of the condition.
        package var text: String
        /// How it came out; the rule needs the opposite.
        package var holds: Bool
        /// What it read.
        package var values: [ReadValue]
        /// What is so and what was needed: `user.department is "Sales", needed "Finance"`.
        package var words: String
    }

    /// A bound of a demand that the session does not meet.
    package struct UnmetBound: Sendable {
        package var bound: DemandBound
        /// `needs a sign-in within 15m; the last was 3h ago`.
        package var words: String
        package var range: SourceRange?
    }

    /// A rule whose types and action fit the question.
    package struct Candidate: Sendable {
        /// Index into `CheckedPolicies.rules`.
        package var rule: Int
        package var matches: Bool
        /// Of a rule that does not match: what stood in the way.
        package var failed: [FailedCondition]
        /// Of a rule that matches: what it demands and the session does not prove.
        package var unmet: [UnmetBound]
    }

    package var situation: Situation
    package var verdict: Verdict
    package var outcome: Outcome
    /// The rules that decided, by index.
    package var rules: [Int]
    package var candidates: [Candidate]
    /// For errors: the attributes without which, or with values of which, no decision can be made.
    package var faults: [(name: String, words: String)]
    /// What would make it a permit.
    package var changes: ChangeSearch.Result

    /// Explains the answer to a question.
    /// - Parameters:
    ///   - program: the policies, compiled.
    ///   - situation: the question with all it reads.
    ///   - masked: attributes that the question gave and of which the values are not known, as `resource.total`.
    package init(
        _ program: Program, _ situation: Situation, limits: ChangeSearch.Limits = ChangeSearch.Limits(),
        masked: Set<String> = []
    ) {
        let policies = program.policies
        var scratch = DecisionScratch()
        let decided = program.decide(situation, &scratch)
        self.situation = situation
        verdict = decided.verdict
        rules = decided.rules
        outcome = Outcome(verdict.kind, verdict.demand, level: verdict.level, policies.catalog.assurance)
        let reader = FactReader(policies, situation, masked: masked)
        candidates =
            verdict.cause == .unknownSubject || verdict.cause == .actionNotDefined
            ? [] : Self.candidates(policies, situation, reader)
        faults = reader.faults
        var search = ChangeSearch(program, situation, limits)
        changes = search.run()
    }

    private static func candidates(
        _ policies: CheckedPolicies, _ situation: Situation, _ reader: FactReader
    ) -> [Candidate] {
        let interpreter = Interpreter(policies)
        return policies.rules.enumerated().compactMap { index, rule in
            guard interpreter.applies(rule, situation) else { return nil }
            if interpreter.holds(rule.condition, situation) {
                return Candidate(rule: index, matches: true, failed: [], unmet: reader.unmet(rule))
            }
            let failed = reader.withoutEchoes(interpreter.decisiveTests(rule.condition, situation, wanted: true))
                .map { reader.failed($0, of: rule.kind) }
            return Candidate(rule: index, matches: false, failed: failed, unmet: [])
        }
    }
}
