// Any bytes as a tenant's files, and what checks is compiled and asked: the program and the reference agree.

import DecisionEngine
import PolicyLanguage

/// One input: traps where it breaks something.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = unsafe text(start, count)
    guard let policies = checkPolicies(files(text)).policies else { return 0 }
    let program: Program
    do throws(CompileError) {
        program = try compile(policies)
    } catch {
        precondition(error.code == .tooLarge, "what checks compiles, or is too large: \(error)")
        return 0
    }
    let reference = Interpreter(policies)
    var questions = Questions(policies, seed: text)
    var scratch = DecisionScratch()
    for _ in 0..<12 {
        guard let situation = questions.next() else { return 0 }
        let expected = reference.decide(situation)
        let outcome = program.decide(situation, &scratch)
        let verdict = outcome.verdict
        let hasDemand = expected.kind == .permitted || expected.kind == .stepUp
        let isSame =
            expected.kind == verdict.kind && expected.obligations == outcome.obligations
            && (!hasDemand || (expected.demand == verdict.demand && expected.level == verdict.level))
        precondition(isSame, "expected \(expected), got \(outcome)\n\(situation)")
    }
    return 0
}
