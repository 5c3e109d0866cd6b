// How much an analysis may do, in counted steps: the same policies always get as far, on any machine.

/// Steps left to spend. A step is about one look at something: at a clause, a part of a formula, a term of a sum, a
/// state of a pattern.
package final class WorkBudget {
    /// What it began with.
    package let total: Int
    private(set) package var left: Int

    package init(_ steps: Int) {
        total = steps
        left = steps
    }

    /// True when nothing is left: what is not settled by now stays open.
    package var isUsedUp: Bool { left <= 0 }

    func spend(_ steps: Int) { left = max(left - steps, 0) }

    /// Why something stayed open.
    var reason: String { "not settled within the budget of \(total) steps" }
}
