// The compiled program and the reference interpreter must never be told apart.

import DecisionEngine
import Glibc
import PolicyLanguage
import Synchronization
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
        let roles = Self.roleKinds.withLock { $0 }
        print("roles: \(roles)")
        for kind in VerdictKind.allCases {
            #expect(kinds[kind, default: 0] > 0, "no \(kind) among the answers")
            #expect(roles[kind, default: 0] > 0, "no \(kind) among the answers about roles")
        }
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
        // Once more with the groups and the roles that are found in the subject's record.
        let index = MembershipIndex(
            pairs: policies.groups.indices.map { (number: UInt32($0 + 1), index: $0) }, namedCount: program.namedCount)
        let direct = situation.groups.sorted().map { UInt32($0 + 1) }
        let isStored = situation.isSubjectKnown
        let found = isStored ? program.decide(situation, &scratch, groups: (direct, index)) : outcome
        return compare(expected, found, policies, program).map { "in the record: \($0)" }
            ?? changesBefore(found.verdict, situation, reference, expected).map { "in the record: \($0)" }
            ?? compare(expected, outcome, policies, program)
            ?? compareOffers(policies, program, reference, situation, &scratch)
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

    /// Whether the subject may take each role, and for how long.
    private func compareOffers(
        _ policies: CheckedPolicies, _ program: Program, _ reference: Interpreter, _ situation: Situation,
        _ scratch: inout DecisionScratch
    ) -> String? {
        for role in policies.roles.indices {
            for duration in [nil, 1, 3_600_000, 3_600_001] as [Int64?] {
                let expected = reference.takes(role, for: duration, situation)
                var found = program.takes(role, for: duration, situation, &scratch)
                Self.roleKinds.withLock { $0[found.verdict.kind, default: 0] += 1 }
                if let problem = changesBefore(found, role, duration, situation, reference) { return problem }
                found.verdict.validUntil = .max
                found.verdict.attribute = -1
                // Of several attributes at fault each may name another.
                if found.attribute != nil, expected.attribute != nil { found.attribute = expected.attribute }
                if found.verdict.kind == .error, expected.verdict.kind == .error,
                    found.attribute == expected.attribute, found.attribute != nil
                {
                    found.verdict.cause = expected.verdict.cause
                }
                if found != expected { return "role \(role) for \(duration ?? 0): \(found), expected \(expected)" }
            }
        }
        return nil
    }

    /// Until the end that is said nothing changes by time alone.
    private func changesBefore(
        _ found: RoleVerdict, _ role: Int, _ duration: Int64?, _ situation: Situation, _ reference: Interpreter
    ) -> String? {
        if found.verdict.kind == .error { return nil }
        let last = min(found.verdict.validUntil, situation.now + 10_000) - 1
        for instant in [situation.now + 1, last] where instant >= situation.now && instant <= last {
            var later = situation
            later.now = instant
            let answer = reference.takes(role, for: duration, later)
            if answer.verdict.kind != found.verdict.kind || answer.offer != found.offer {
                return "role \(role) until \(found.verdict.validUntil): \(found), at \(instant) \(answer)"
            }
        }
        return nil
    }

    private static let roleKinds = Mutex<[VerdictKind: Int]>([:])

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
