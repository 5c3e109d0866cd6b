// What a tenant has taken of its limits: one object a tenant, shared by all threads, touched by a question only when a
// limit is set, and then once for many questions.

package import AttributeStore
import Synchronization

/// The account of a tenant.
package final class TenantBudget: Sendable {
    private let perSecond = Atomic<UInt64>(0)
    private let mostOpen = Atomic<UInt64>(.max)
    private let mostMemory = Atomic<UInt64>(.max)
    /// Until when, in nanoseconds since the epoch, the questions that were asked are paid for at the allowed rate.
    private let paidUntil = Atomic<Int64>(0)
    /// Questions held open, and bytes that they and the compiled policies take.
    private let open = Atomic<Int>(0)
    private let memory = Atomic<Int>(0)

    /// No limits.
    package init() {}

    /// Takes the limits that stand now.
    package func set(_ limits: TenantLimits) {
        perSecond.store(limits[.questionsPerSecond] ?? 0, ordering: .relaxed)
        mostOpen.store(limits[.openQuestions] ?? .max, ordering: .relaxed)
        mostMemory.store(limits[.memoryBytes] ?? .max, ordering: .relaxed)
    }

    // MARK: Questions

    /// Questions a second; 0 for no limit.
    package var questionsPerSecond: UInt64 { perSecond.load(ordering: .relaxed) }

    /// Takes places for questions. A second's worth may be taken at once.
    /// - Parameters:
    ///   - now: ms since the epoch.
    ///   - rate: `questionsPerSecond`, not 0.
    /// - Returns: how many were got, at most 64; 0 when the budget is used up.
    package func take(now: Int64, rate: UInt64) -> UInt64 {
        let count = min(64, max(1, rate / 1_000))
        let cost = Int64(clamping: count * 1_000_000_000 / rate)
        let now = now &* 1_000_000
        var paid = paidUntil.load(ordering: .relaxed)
        while true {
            let next = max(paid, now) &+ cost
            if next &- now > 1_000_000_000 { return 0 }
            let (exchanged, original) = paidUntil.weakCompareExchange(
                expected: paid, desired: next, ordering: .relaxed)
            if exchanged { return count }
            paid = original
        }
    }

    // MARK: Open questions

    /// Takes a place for a question that is held open.
    /// - Returns: the limit that stands in the way, and its value; nil when there was a place.
    package func open(bytes: Int) -> (limit: TenantLimit, value: UInt64)? {
        let most = mostOpen.load(ordering: .relaxed)
        let room = mostMemory.load(ordering: .relaxed)
        if UInt64(open.wrappingAdd(1, ordering: .relaxed).newValue) > most {
            open.wrappingSubtract(1, ordering: .relaxed)
            return (.openQuestions, most)
        }
        if UInt64(max(0, memory.wrappingAdd(bytes, ordering: .relaxed).newValue)) > room {
            close(bytes: bytes)
            return (.memoryBytes, room)
        }
        return nil
    }

    /// Gives the place of a question back.
    package func close(bytes: Int) {
        open.wrappingSubtract(1, ordering: .relaxed)
        memory.wrappingSubtract(bytes, ordering: .relaxed)
    }

    /// The compiled policies take another amount of memory than before.
    func exchange(policyBytes before: Int, for after: Int) { memory.wrappingAdd(after - before, ordering: .relaxed) }
}
