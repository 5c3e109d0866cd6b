// Comparison held to the reference by random policies, changed copies of them and random questions.

import DecisionEngine
import Glibc
import PolicyLanguage
import TestSupport
import Testing

@testable import PolicyAnalysis

@Suite("comparison of random policies")
struct RandomComparisonTests {
    /// Pairs of policies; `STILE_PROVE_PAIRS` raises it for `make prove`.
    static var pairs: Int {
        guard let text = unsafe getenv("STILE_PROVE_PAIRS") else { return 150 }
        return Int(unsafe String(cString: text)) ?? 150
    }

    /// Steps for one pair: of what does not suffice for a cell, the test asks nothing. `STILE_PROVE_BUDGET` raises it.
    static let options: ComparisonOptions = {
        var options = ComparisonOptions()
        options.budget = 20_000_000
        if let text = unsafe getenv("STILE_PROVE_BUDGET"), let steps = unsafe Int(String(cString: text)) {
            options.budget = steps
        }
        return options
    }()

    @Test("what is called equal is equal, what is called different has a witness, and every difference is told")
    func randomPairs() throws {
        let seed = TestSeed.next()
        print("seed \(seed), \(Self.pairs) pairs")
        var equal = 0
        var different = 0
        var unproven = 0
        for round in 0..<Self.pairs {
            let one = seed &+ UInt64(round)
            var random = RandomPolicies(seed: one)
            let old = random.policies()
            let new = random.changed(old)
            var options = Self.options
            options.isByAnswer = round % 2 == 1
            options.isSelfContained = round % 3 == 1
            let comparison = try compare(old, new, options)
            if comparison.isProvenEqual { equal += 1 } else { different += 1 }
            unproven += comparison.unproven.count
            for (cell, reason) in comparison.unproven {
                print("seed \(one), \(cell.action) on \(cell.resource): \(reason)")
            }
            for region in comparison.regions where region.doubt == nil {
                #expect(region.isConfirmed, "seed \(one): \(region)")
            }
            // What a cell's budget did not suffice for may be in doubt; the cell is told as not proven then.
            let open = Set(comparison.unproven.map(\.cell))
            for region in comparison.regions where region.doubt != nil && !open.contains(region.cell) {
                Issue.record("seed \(one): doubt \(region.doubt ?? "") \(region.cell) \(region.conditions)")
            }
            if let missed = missed(comparison, old, new, &random) {
                Issue.record("seed \(one): \(missed)")
                return
            }
        }
        print("equal \(equal), different \(different), not proven \(unproven)")
    }

    /// A random question whose answer changes in a way that the comparison does not tell.
    private func missed(
        _ comparison: PolicyComparison, _ old: CheckedPolicies, _ new: CheckedPolicies, _ random: inout RandomPolicies
    ) -> String? {
        let one = Interpreter(old)
        let two = Interpreter(new)
        for _ in 0..<200 {
            let situation = random.situation(old.catalog)
            let (before, after) = (one.decide(situation), two.decide(situation))
            let was = Outcome(before.kind, before.demand, level: before.level, old.catalog.assurance)
            let isNow = Outcome(after.kind, after.demand, level: after.level, new.catalog.assurance)
            if was == isNow { continue }
            let cell = Cell(situation, old.catalog)
            let isTold = comparison.regions.contains { region in
                region.cell == cell && region.answers.contains { $0.old == was && $0.new == isNow }
            }
            let isOpen = comparison.unproven.contains { $0.cell == cell }
            if !isTold && !isOpen { return "not told: \(was) to \(isNow) in \(cell)\n\(situation)" }
        }
        return nil
    }
}
