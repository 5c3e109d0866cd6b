// From the numbers of groups or containers in a view to those that policies name, nesting already resolved.
//
// Views hold direct memberships only. Which of them lie below a group or container that a policy names changes with the
// policy or the nesting, never with a question, so the table is built then and only probed while deciding.

/// An immutable table: number of a direct group (or container) to the named ones above it, itself included.
package struct MembershipIndex: Sendable {
    /// Open addressing, a power of two: number + 1 (0 is empty), start and end in `named`.
    private var keys: [UInt64] = []
    private var ranges: [Range<UInt32>] = []
    private var named: [UInt32] = []
    /// How many groups the policies name.
    package let namedCount: Int

    /// - Parameters:
    ///   - pairs: each group number that makes the named one with this index true; any order, repeats allowed.
    ///   - namedCount: `CheckedPolicies.groups.count`; pairs with another index are ignored.
    package init(pairs: [(number: UInt32, index: Int)], namedCount: Int) {
        self.namedCount = namedCount
        let sorted =
            pairs.filter { $0.index >= 0 && $0.index < namedCount }
            .sorted { ($0.number, $0.index) < ($1.number, $1.index) }
        if sorted.isEmpty { return }
        var capacity = 16
        while capacity < sorted.count * 2 { capacity *= 2 }
        keys = Array(repeating: 0, count: capacity)
        ranges = Array(repeating: 0..<0, count: capacity)
        var position = 0
        while position < sorted.count {
            let number = sorted[position].number
            let start = UInt32(named.count)
            while position < sorted.count, sorted[position].number == number {
                let index = UInt32(sorted[position].index)
                if named.count == Int(start) || named.last != index { named.append(index) }
                position += 1
            }
            var slot = Self.slot(number, capacity)
            while keys[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
            keys[slot] = UInt64(number) + 1
            ranges[slot] = start..<UInt32(named.count)
        }
    }

    /// True when no group of the store makes any named one true.
    package var isEmpty: Bool { keys.isEmpty }

    @inline(__always)
    private static func slot(_ number: UInt32, _ capacity: Int) -> Int {
        Int(truncatingIfNeeded: (UInt64(number) &* 0x9e37_79b9_7f4a_7c15) >> 32) & (capacity - 1)
    }

    /// Calls `body` with each named one that a direct membership in `number` makes true.
    @inlinable
    @inline(__always)
    package func forEachNamed(below number: UInt32, _ body: (UInt32) -> Void) {
        if keys.isEmpty { return }
        var slot = Self.slot(number, keys.count)
        while keys[slot] != 0 {
            if keys[slot] == UInt64(number) + 1 {
                for index in ranges[slot] { body(named[Int(index)]) }
                return
            }
            slot = (slot + 1) & (keys.count - 1)
        }
    }
}
