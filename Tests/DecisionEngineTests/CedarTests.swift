// Writes random policies and questions in Cedar's form with Stile's answers, for Tests/Cedar/differential.py to ask Cedar.

import DecisionEngine
import Glibc
import PolicyLanguage
import TestSupport
import Testing

@Suite("Cedar")
struct CedarTests {
    private static func setting(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// The file to write; without it there is nobody to ask.
    static let path = setting("STILE_CEDAR_CASES")

    @Test("what both languages can say is written in Cedar's form", .enabled(if: path != nil))
    func writeCases() throws {
        let path = try #require(Self.path)
        let wanted = Self.setting("STILE_CEDAR_TRIPLES").flatMap { Int($0) } ?? 2_000
        let seed = Self.setting("STILE_CEDAR_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)
        print("seed \(seed), \(wanted) questions")
        guard let file = unsafe fopen(path, "w") else {
            Issue.record("cannot write \(path)")
            return
        }
        var written = 0
        var round: UInt64 = 0
        while written < wanted {
            let (line, count) = try policySet(seed: seed &+ round, atMost: wanted - written)
            written += count
            round += 1
            _ = unsafe fputs(line + "\n", file)
        }
        let isClosed = unsafe fclose(file) == 0
        #expect(isClosed)
    }

    /// A policy set with questions that Stile decides; those it cannot decide have no answer to compare.
    private func policySet(seed: UInt64, atMost limit: Int) throws -> (line: String, questions: Int) {
        var random = RandomPolicies(seed: seed)
        var policies = random.policies()
        var whole = CedarTranslation(policies: policies)
        let translated = policies.rules.compactMap { rule in whole.policy(rule).map { (rule, $0) } }
        policies.rules = translated.map { $0.0 }
        policies.obligations = []
        policies.offers = []
        let program = try compile(policies)
        let translation = CedarTranslation(policies: policies)
        var scratch = DecisionScratch()
        var questions: [String] = []
        for _ in 0..<30 where questions.count < min(20, limit) {
            let situation = random.situation(policies.catalog)
            let verdict = program.decide(situation, &scratch).verdict
            if verdict.kind == .error { continue }
            questions.append(translation.question(situation, isPermitted: verdict.kind == .permitted))
        }
        let text = (translated.map { $0.1 } + [CedarTranslation.ended]).joined(separator: "\n")
        let quoted = CedarTranslation.quoted(text).replacing("\n", with: "\\n")
        return (
            "{\"seed\":\(seed),\"policies\":\(quoted),\"questions\":[\(questions.joined(separator: ","))]}",
            questions.count
        )
    }
}
