// Why: for each rule that could apply, whether it matches, and if not, the conditions that stood in the way.

import DecisionEngine
import DecisionProtocol
import PolicyLanguage

/// Explains a decision with the reference interpreter, over the very records it was made on.
enum Explanation {
    /// Rules that name this question, at most this many.
    static let maxCandidates = 64
    private static let maxFailed = 16

    static func candidates(_ compiled: CompiledTenant, _ situation: Situation) -> [Candidate] {
        let policies = compiled.program.policies
        let interpreter = Interpreter(policies)
        var candidates: [Candidate] = []
        for rule in policies.rules where interpreter.applies(rule, situation) {
            let failed = interpreter.decisiveTests(rule.condition, situation, wanted: true)
            let matches = interpreter.holds(rule.condition, situation)
            candidates.append(
                Candidate(
                    rule: CompiledTenant.reference(rule, policies.files), kind: "\(rule.kind)", matches: matches,
                    failed: matches ? [] : failed.prefix(maxFailed).map { condition($0, policies.files) }))
            if candidates.count == maxCandidates { break }
        }
        return candidates
    }

    private static func condition(_ fact: TestedFact, _ files: [SourceFile]) -> FailedCondition {
        guard files.indices.contains(Int(fact.range.file)) else { return FailedCondition(file: "", line: 0, text: "") }
        let file = files[Int(fact.range.file)]
        let bytes = Array(file.text.utf8)
        let start = min(Int(fact.range.start), bytes.count)
        let end = max(start, min(Int(fact.range.end), bytes.count))
        let text = String(decoding: bytes[start..<end], as: UTF8.self)
        return FailedCondition(
            file: file.name, line: UInt64(max(0, fact.range.line)), text: fact.holds ? "not \(text)" : text)
    }
}
