// How many answers of each kind were given about a tenant, and in what time. Counted by the thread that gives them,
// read by any: one counter is written by one thread, so counting is a load and a store of its own cache lines.
//
// INVARIANT of this unsafe file: `words` holds `count` atomics from `init` to `deinit`; indices come from the constants
// below and are checked against them.

import DecisionProtocol
import Glibc
import Synchronization

/// One thread's counts for one tenant.
@safe
package final class DecisionCounters: @unchecked Sendable {
    // Of the object, not of the type: a constant of a type that another room's count goes into is looked at for being there
    // each time.
    private let kinds: Int
    private let firstBucket: Int
    private let sum: Int
    private let count: Int
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    /// Causes of errors by their code; errors are rare.
    private let causes = Mutex<[String: UInt64]>([:])

    init() {
        kinds = AnswerKind.allCases.count
        firstBucket = kinds
        sum = firstBucket + DecisionTally.buckets
        count = sum + 1
        unsafe words = .allocate(capacity: count)
        for index in 0..<count { unsafe (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe words.deinitialize(count: count)
        unsafe words.deallocate()
    }

    @inline(__always)
    private func add(_ amount: UInt64, at index: Int) {
        let value = unsafe words[index].load(ordering: .relaxed)
        unsafe words[index].store(value &+ amount, ordering: .relaxed)
    }

    /// One more answer.
    @inline(__always)
    func count(kind: UInt64) {
        if kind < UInt64(kinds) { add(1, at: Int(kind)) }
    }

    /// One more error of this cause.
    func count(cause: String) { causes.withLock { $0[cause, default: 0] += 1 } }

    /// Answers that were given together in a time.
    @inline(__always)
    func count(_ answers: UInt64, microseconds: UInt64) {
        let bucket = min(UInt64.bitWidth - microseconds.leadingZeroBitCount, DecisionTally.buckets - 1)
        add(answers, at: firstBucket + bucket)
        add(answers &* microseconds, at: sum)
    }

    /// Adds what was counted so far.
    func add(to tally: inout DecisionTally) {
        for index in 0..<kinds { tally.kinds[index] &+= unsafe words[index].load(ordering: .relaxed) }
        for index in 0..<DecisionTally.buckets {
            tally.times[index] &+= unsafe words[firstBucket + index].load(ordering: .relaxed)
        }
        tally.microseconds &+= unsafe words[sum].load(ordering: .relaxed)
        for (cause, count) in causes.withLock({ $0 }) { tally.causes[cause, default: 0] += count }
    }

    /// The monotonic clock.
    @inline(__always)
    static func microseconds() -> UInt64 {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000 &+ UInt64(time.tv_nsec / 1_000)
    }
}
