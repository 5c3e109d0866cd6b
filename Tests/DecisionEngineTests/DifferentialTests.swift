// The compiled program and the reference interpreter must never be told apart.

import DecisionEngine
import Glibc
import PolicyLanguage
import TestSupport
import Testing

@Suite("program and reference agree")
struct DifferentialTests {
    /// Questions in all; `STILE_PROVE_TRIPLES` raises it for `make prove`.
    static var triples: Int {
        guard let text = unsafe getenv("STILE_PROVE_TRIPLES") else { return 20_000 }
        return Int(unsafe String(cString: text)) ?? 20_000
    }

    @Test("random policies and questions have one answer")
    func randomPolicies() throws {
        let seed = TestSeed.next()
        print("seed \(seed), \(Self.triples) questions")
        var kinds: [VerdictKind: Int] = [:]
        let perPolicy = 20
        for round in 0..<(Self.triples / perPolicy) {
            let found = try disagreement(seed: seed &+ UInt64(round), questions: perPolicy, kinds: &kinds)
            if let found {
                Issue.record("seed \(seed &+ UInt64(round)): \(found)")
                return
            }
        }
        print("answers: \(kinds)")
        for kind in VerdictKind.allCases { #expect(kinds[kind, default: 0] > 0, "no \(kind) among the answers") }
    }

    /// The first difference for one policy set, in words.
    private func disagreement(seed: UInt64, questions: Int, kinds: inout [VerdictKind: Int]) throws -> String? {
        var random = RandomPolicies(seed: seed)
        let policies = random.policies()
        let program = try compile(policies)
        let reference = Interpreter(policies)
        var scratch = DecisionScratch()
        for _ in 0..<questions {
            let situation = random.situation(policies.catalog)
            let expected = reference.decide(situation)
            kinds[expected.kind, default: 0] += 1
            if difference(policies, program, reference, situation, expected, &scratch) != nil {
                return shrunk(Counterexample(policies, situation))
            }
        }
        return nil
    }

    private func difference(
        _ policies: CheckedPolicies, _ program: Program, _ reference: Interpreter, _ situation: Situation,
        _ expected: ReferenceVerdict, _ scratch: inout DecisionScratch
    ) -> String? {
        let outcome = program.decide(situation, &scratch)
        return compare(expected, outcome, policies, program)
            ?? compareOffers(outcome, reference, situation, expected)
            ?? changesBefore(outcome.verdict, situation, reference, expected)
    }

    /// The smallest policies and question that still tell the two apart, in words.
    private func shrunk(_ found: Counterexample) -> String {
        func difference(_ one: Counterexample) -> String? {
            guard let program = try? compile(one.policies) else { return nil }
            let reference = Interpreter(one.policies)
            var scratch = DecisionScratch()
            return self.difference(
                one.policies, program, reference, one.situation, reference.decide(one.situation), &scratch)
        }
        let small = found.shrunk { difference($0) != nil }
        return "\(difference(small) ?? "")\n\(small.text)"
    }

    @Test("a difference is shrunk to the rule and the values that it hangs on")
    func shrinking() throws {
        // A rule that matches stands for a difference between the two.
        var random = RandomPolicies(seed: 7)
        var shrunk = 0
        for _ in 0..<40 {
            let policies = random.policies()
            let situation = random.situation(policies.catalog)
            func matches(_ one: Counterexample) -> Bool {
                Interpreter(one.policies).decide(one.situation).kind == .forbidden && one.situation.isSubjectKnown
            }
            guard matches(Counterexample(policies, situation)), !situation.isSubjectInactive,
                situation.session?.hasEnded != true, situation.session?.endsAt == nil
            else { continue }
            let small = Counterexample(policies, situation).shrunk(matches)
            shrunk += 1
            #expect(small.policies.rules.count == 1)
            #expect(small.policies.rules[0].condition == .constant(true))
            #expect(small.situation.groups.isEmpty && small.situation.session == nil)
        }
        #expect(shrunk > 3)
    }

    /// Offers are for subjects that no end or error keeps from asking.
    private func compareOffers(
        _ outcome: SituationOutcome, _ reference: Interpreter, _ situation: Situation, _ verdict: ReferenceVerdict
    ) -> String? {
        let cannotAsk: [VerdictCause] = [.subjectInactive, .sessionEnded, .unknownSubject]
        let expected = cannotAsk.contains(verdict.cause) ? [] : reference.offers(situation)
        let isSame = outcome.offers.elementsEqual(expected) { $0.offer == $1.offer && $0.isMet == $1.isMet }
        return isSame ? nil : "offers \(outcome.offers), expected \(expected)\nsituation \(situation)"
    }

    private func compare(
        _ expected: ReferenceVerdict, _ outcome: SituationOutcome, _ policies: CheckedPolicies, _ program: Program
    ) -> String? {
        let verdict = outcome.verdict
        guard expected.kind == verdict.kind else { return "expected \(expected), got \(verdict)" }
        if expected.obligations != outcome.obligations {
            return "obligations \(outcome.obligations), expected \(expected.obligations)"
        }
        switch verdict.kind {
        case .error:
            if expected.faults.isEmpty { return expected.cause == verdict.cause ? nil : "cause \(expected) \(verdict)" }
            guard verdict.attribute >= 0, let name = program.operandNames[verdict.attribute],
                expected.faults.contains(name)
            else { return "names attribute \(verdict.attribute), at fault are \(expected.faults)" }
        case .forbidden:
            if expected.cause != verdict.cause { return "cause \(expected.cause) \(verdict.cause)" }
            if verdict.cause == .rules, !Set(expected.matching[.forbid] ?? []).isSuperset(of: outcome.rules) {
                return "names forbids \(outcome.rules), matching \(expected.matching)"
            }
        case .permitted, .stepUp:
            guard let first = outcome.rules.first, expected.matching[.permit]?.contains(first) == true,
                Set(outcome.rules.dropFirst()) == Set(expected.matching[.require] ?? [])
            else { return "names rules \(outcome.rules), matching \(expected.matching)" }
            if expected.demand != verdict.demand || expected.level != verdict.level {
                return "demand \(expected) \(verdict)"
            }
        case .notPermitted:
            if expected.cause != verdict.cause { return "cause \(expected.cause) \(verdict.cause)" }
        }
        return nil
    }

    /// The promise of "valid until": nothing changes before it by time alone.
    private func changesBefore(
        _ verdict: Verdict, _ situation: Situation, _ reference: Interpreter, _ expected: ReferenceVerdict
    ) -> String? {
        guard verdict.kind != .error, verdict.validUntil > situation.now else {
            return verdict.kind == .error || verdict.validUntil > situation.now
                ? nil : "valid until \(verdict.validUntil) is not after now \(situation.now)"
        }
        let last = min(verdict.validUntil, situation.now + 10_000) - 1
        for instant in [situation.now + 1, (situation.now + last) / 2, last]
        where instant >= situation.now && instant <= last {
            var later = situation
            later.now = instant
            let answer = reference.decide(later)
            if answer.kind != expected.kind || answer.demand != expected.demand
                || answer.obligations != expected.obligations
            {
                return
                    "valid until \(verdict.validUntil), but at \(instant) the answer is \(answer) instead of \(expected)"
            }
        }
        return nil
    }
}
