// How much an analysis may do, in counted steps: the same policies always get as far, on any machine.

import Synchronization

/// Ends an analysis early, from another thread or by the clock: for what somebody waits for. What was found by then holds.
package final class Interruption: Sendable {
    private let isRaised = Atomic<Bool>(false)
    private let deadline: ContinuousClock.Instant?
    private let other: Interruption?

    /// - Parameters:
    ///   - time: how long the analysis may take from now on; nil for any time.
    ///   - other: when it is due, this one is too.
    package init(after time: Duration? = nil, orWith other: Interruption? = nil) {
        deadline = time.map { ContinuousClock.now + $0 }
        self.other = other
    }

    /// From now on the analysis ends as soon as it notices, which is within some milliseconds.
    package func raise() { isRaised.store(true, ordering: .relaxed) }

    package var isDue: Bool {
        isRaised.load(ordering: .relaxed) || deadline.map { ContinuousClock.now >= $0 } ?? false
            || other?.isDue ?? false
    }
}

/// Steps left to spend. A step is about one look at something: at a clause, a part of a formula, a term of a sum, a
/// state of a pattern.
package final class WorkBudget {
    /// What it began with.
    package let total: Int
    private(set) package var left: Int
    private let interruption: Interruption?
    /// An interruption is looked for when no more than this is left.
    private var nextLook: Int

    /// Steps between two looks for an interruption.
    private static let lookEvery = 50_000

    package init(_ steps: Int, _ interruption: Interruption? = nil) {
        total = steps
        left = interruption?.isDue ?? false ? 0 : steps
        self.interruption = interruption
        nextLook = interruption == nil ? .min : steps - Self.lookEvery
    }

    /// True when nothing is left: what is not settled by now stays open.
    package var isUsedUp: Bool { left <= 0 }

    func spend(_ steps: Int) {
        left = max(left - steps, 0)
        if left <= nextLook { look() }
    }

    private func look() {
        nextLook = left - Self.lookEvery
        if interruption?.isDue ?? false { left = 0 }
    }

    /// Why something stayed open.
    var reason: String { "not settled within the budget of \(total) steps" }
}
