// Formulas say what the reference interpreter says.

import DecisionEngine
import PolicyLanguage
import TestSupport
import Testing

@testable import PolicyAnalysis

@Suite("formulas and reference agree")
struct TranslationTests {
    @Test("of random policies, exactly one outcome holds for a random question, and it is the reference's")
    func randomPolicies() {
        let seed = TestSeed.next()
        print("seed \(seed)")
        for round in 0..<400 {
            if let difference = difference(seed: seed &+ UInt64(round)) {
                Issue.record("seed \(seed &+ UInt64(round)): \(difference)")
                return
            }
        }
    }

    private func difference(seed: UInt64) -> String? {
        var random = RandomPolicies(seed: seed)
        let policies = random.policies()
        let interpreter = Interpreter(policies)
        var spaces: [Cell: (space: RequestSpace, outcomes: SideOutcomes)] = [:]
        for _ in 0..<20 {
            var situation = random.situation(policies.catalog)
            situation.isSubjectKnown = true
            situation.isSubjectInactive = false
            situation.session?.endsAt = nil
            situation.session?.hasEnded = false
            guard policies.catalog.actions[situation.action].resourceTypes.contains(situation.resourceType) else {
                continue
            }
            let cell = Cell(situation, policies.catalog)
            if spaces[cell] == nil {
                let space = RequestSpace(
                    cell,
                    [
                        restrict(
                            policies, subjectType: situation.subjectType, action: situation.action,
                            resourceType: situation.resourceType)
                    ])
                spaces[cell] = (space, space.outcomes(side: 0))
            }
            guard let (space, outcomes) = spaces[cell] else { continue }
            let verdict = interpreter.decide(situation)
            let expected = Outcome(
                verdict.kind, verdict.demand, level: verdict.level, policies.catalog.assurance)
            let all = Array(outcomes.outcomes)
            let truths = SituationTruths(space, situation, side: 0).truths(all.map(\.value))
            let holding = zip(all, truths).filter { $1 }.map { $0.0.key }
            for (index, signal) in outcomes.matches where expected != .error {
                let rule = policies.rules[index]
                let truth = SituationTruths(space, situation, side: 0).truths([signal])[0]
                if truth != interpreter.holds(rule.condition, situation) { return "rule \(rule) is \(truth)" }
            }
            if holding != [expected] { return "expected \(expected), formulas \(holding)\n\(situation)" }
        }
        return nil
    }
}

extension Cell {
    init(_ situation: Situation, _ catalog: Catalog) {
        self.init(
            subject: catalog.entities[situation.subjectType].name, action: catalog.actions[situation.action].name,
            resource: catalog.entities[situation.resourceType].name)
    }
}
