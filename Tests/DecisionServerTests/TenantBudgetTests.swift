// A tenant's account: what is taken beyond the limits is refused, and time gives questions back.

import AttributeStore
import DecisionPath
import Testing

@Suite("tenant's budget")
struct TenantBudgetTests {
    private func budget(_ limit: TenantLimit, _ value: UInt64) -> TenantBudget {
        var limits = TenantLimits()
        limits[limit] = value
        let budget = TenantBudget()
        budget.set(limits)
        return budget
    }

    /// Questions that are got in one millisecond.
    private func all(_ budget: TenantBudget, _ now: Int64) -> UInt64 {
        var sum: UInt64 = 0
        while true {
            let got = budget.take(now: now, rate: budget.questionsPerSecond)
            if got == 0 { return sum }
            sum += got
        }
    }

    @Test("a second's worth at once, then the rate", arguments: [1, 7, 100, 999, 50_000, 3_000_000] as [UInt64])
    func rate(_ rate: UInt64) {
        let budget = budget(.questionsPerSecond, rate)
        let start: Int64 = 1_760_000_000_000
        let first = all(budget, start)
        #expect(first <= rate + rate / 1_000 && first + chunk(rate) >= rate)
        #expect(all(budget, start) == 0)
        // Ten seconds, looked at every 100 ms: ten seconds' worth, give or take what is taken at once.
        var sum: UInt64 = 0
        for step in 1...100 { sum += all(budget, start + Int64(step) * 100) }
        #expect(sum <= rate * 10 + rate / 100 + chunk(rate))
        #expect(sum + 2 * chunk(rate) + rate / 10 >= rate * 10)
        // After a long rest no more than a second's worth is there.
        #expect(all(budget, start + 1_000_000) <= rate + rate / 1_000)
    }

    private func chunk(_ rate: UInt64) -> UInt64 { min(64, max(1, rate / 1_000)) }

    @Test("no limit of questions is 0")
    func none() { #expect(TenantBudget().questionsPerSecond == 0) }

    @Test("open questions are counted up to the limit, and places come back")
    func open() {
        let budget = budget(.openQuestions, 2)
        #expect(budget.open(bytes: 10) == nil)
        #expect(budget.open(bytes: 10) == nil)
        #expect(budget.open(bytes: 10)?.limit == .openQuestions)
        budget.close(bytes: 10)
        #expect(budget.open(bytes: 10) == nil)
    }

    @Test("memory is counted up to the limit, and a refusal takes nothing")
    func memory() {
        let budget = budget(.memoryBytes, 1_000)
        #expect(budget.open(bytes: 600) == nil)
        #expect(budget.open(bytes: 600)?.limit == .memoryBytes)
        #expect(budget.open(bytes: 400) == nil)
        #expect(budget.open(bytes: 1)?.value == 1_000)
    }
}
