// From the numbers of groups or containers in a view to those that policies name, nesting already resolved.
//
// Views hold direct memberships only. Which of them lie below a group or container that a policy names changes with the
// policy or the nesting, never with a question, so both directions are laid out then: from a direct one to the named ones
// above it (for an index that switches on groups), and from a named one to the direct ones below it (for one test). A
// decision asks for what it needs, when it needs it.
//
// INVARIANT of this unsafe file: `MembershipTable` points into the one allocation of its `MembershipIndex`, which is
// written in `init` alone; every offset stored in it lies inside it. Whoever keeps a table keeps its index. The numbers of
// `MembershipList` are a record's: `count` of them lie behind `base`, as `RecordView` has checked.

import Memory

/// Direct memberships in a record: 32-bit numbers, ascending, unaligned.
@safe
struct MembershipList {
    let base: UnsafeRawPointer
    let count: Int

    @inline(__always)
    subscript(_ index: Int) -> UInt32 {
        unsafe UInt32(littleEndian: base.loadUnaligned(fromByteOffset: index &* 4, as: UInt32.self))
    }
}

/// The words of an index, without a reference count.
@safe
struct MembershipTable: @unchecked Sendable {
    /// Entries {number, value}; a value of 0 is empty, an odd one is the one named index above, shifted left, an even one
    /// twice the offset of a list [count, indices…].
    fileprivate(set) var entries: UnsafePointer<UInt32>
    fileprivate(set) var mask: UInt32 = 0
    /// Where the values of all numbers from the least to the greatest stand, without a gap and behind one word; 0 when they
    /// are hashed.
    fileprivate(set) var direct = 0
    fileprivate(set) var least: UInt32 = 0
    fileprivate(set) var span: UInt32 = 0
    /// Per named index: where its list of numbers begins; one more at the end.
    fileprivate(set) var starts = 0
    fileprivate(set) var namedCount = 0
    fileprivate(set) var isEmpty = true

    /// Nothing is named. Its one word is never read, and never freed.
    static let empty = unsafe MembershipTable(
        entries: UnsafePointer(UnsafeMutablePointer<UInt32>.allocate(capacity: 1)))

    @inline(__always)
    private func word(_ offset: Int) -> UInt32 { unsafe entries[offset] }

    /// What stands for a direct membership; 0 when no named one is above it.
    @inline(__always)
    private func value(_ number: UInt32) -> UInt32 {
        if direct != 0 {
            let place = number &- least
            return place < span ? word(direct &+ Int(place)) : 0
        }
        var slot = Self.slot(number, mask)
        while true {
            let value = word(Int(slot) &* 2 &+ 1)
            if value == 0 || word(Int(slot) &* 2) == number { return value }
            slot = (slot &+ 1) & mask
        }
    }

    @inline(__always)
    static func slot(_ number: UInt32, _ mask: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: (UInt64(number) &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
    }

    /// Calls `body` with each named one that a direct membership in `number` makes true.
    @inline(__always)
    func forEachNamed(above number: UInt32, _ body: (UInt32) -> Void) {
        if isEmpty { return }
        let value = value(number)
        if value == 0 { return }
        if value & 1 == 1 { return body(value >> 1) }
        let list = Int(value >> 1)
        let count = Int(word(list))
        for position in 0..<count { body(word(list &+ 1 &+ position)) }
    }

    /// True when one of the direct memberships lies below the named one.
    func holds(_ named: Int, _ members: MembershipList) -> Bool {
        if named >= namedCount || members.count == 0 { return false }
        let start = Int(word(starts &+ named))
        let end = Int(word(starts &+ named &+ 1))
        let below = end &- start
        if below <= 8 && members.count <= 64 {
            // No branch inside, so that the compiler compares four or more at a time.
            for position in start..<end {
                let number = word(position)
                var found: UInt32 = 0
                for index in 0..<members.count { found |= members[index] == number ? 1 : 0 }
                if found != 0 { return true }
            }
            return false
        }
        if below <= members.count {
            for position in start..<end where Self.contains(members, word(position)) { return true }
            return false
        }
        for index in 0..<members.count {
            let value = value(members[index])
            if value & 1 == 1 {
                if value >> 1 == UInt32(named) { return true }
            } else if value != 0 && isListed(UInt32(named), Int(value >> 1)) {
                return true
            }
        }
        return false
    }

    private static func contains(_ members: MembershipList, _ number: UInt32) -> Bool {
        var low = 0
        var high = members.count
        while low < high {
            let middle = (low &+ high) >> 1
            if members[middle] < number { low = middle &+ 1 } else { high = middle }
        }
        return low < members.count && members[low] == number
    }

    private func isListed(_ named: UInt32, _ list: Int) -> Bool {
        var low = list &+ 1
        let end = low &+ Int(word(list))
        var high = end
        while low < high {
            let middle = (low &+ high) >> 1
            if word(middle) < named { low = middle &+ 1 } else { high = middle }
        }
        return low < end && word(low) == named
    }
}

/// An immutable index between direct groups (or containers) and the named ones above them, a named one itself included.
@safe
package final class MembershipIndex: @unchecked Sendable {
    let table: MembershipTable
    /// How many groups the policies name.
    package var namedCount: Int { table.namedCount }

    /// - Parameters:
    ///   - pairs: each group number that makes the named one with this index true; any order, repeats allowed.
    ///   - namedCount: `CheckedPolicies.groups.count`; pairs with another index are ignored.
    package init(pairs: [(number: UInt32, index: Int)], namedCount: Int) {
        let sorted =
            pairs.filter { $0.index >= 0 && $0.index < namedCount }
            .sorted { ($0.number, $0.index) < ($1.number, $1.index) }
        var named: [(number: UInt32, indices: [UInt32])] = []
        var below = [[UInt32]](repeating: [], count: namedCount)
        for (number, index) in sorted {
            if named.last?.number != number { named.append((number, [])) }
            let index = UInt32(index)
            if named[named.count - 1].indices.last == index { continue }
            named[named.count - 1].indices.append(index)
            below[Int(index)].append(number)
        }
        var capacity = 8
        while capacity < named.count * 2 { capacity *= 2 }
        let least = named.first?.number ?? 0
        let span = Int((named.last?.number ?? 0) - least) + 1
        // Numbers that lie close together need no hashing, and then take no more room than with it.
        let isDirect = span <= capacity * 2
        var words = [UInt32](repeating: 0, count: isDirect ? span + 1 : capacity * 2)
        for (number, indices) in named {
            var value = indices[0] << 1 | 1
            if indices.count > 1 {
                value = UInt32(words.count) << 1
                words.append(UInt32(indices.count))
                words.append(contentsOf: indices)
            }
            if isDirect {
                words[1 + Int(number - least)] = value
                continue
            }
            var slot = Int(MembershipTable.slot(number, UInt32(capacity - 1)))
            while words[slot * 2 + 1] != 0 { slot = (slot + 1) & (capacity - 1) }
            words[slot * 2] = number
            words[slot * 2 + 1] = value
        }
        let starts = words.count
        var next = UInt32(starts + namedCount + 1)
        for list in below {
            words.append(next)
            next += UInt32(list.count)
        }
        words.append(next)
        for list in below { words.append(contentsOf: list) }

        let memory = UnsafeMutableRawPointer.allocate(byteCount: words.count * 4, alignment: 64)
        let place = unsafe memory.bindMemory(to: UInt32.self, capacity: words.count)
        for (index, word) in words.enumerated() { unsafe place[index] = word }
        table = unsafe MembershipTable(
            entries: UnsafePointer(place), mask: UInt32(capacity - 1), direct: isDirect ? 1 : 0, least: least,
            span: isDirect ? UInt32(span) : 0, starts: starts, namedCount: namedCount, isEmpty: sorted.isEmpty)
    }

    deinit { unsafe table.entries.deallocate() }

    /// True when no group of the store makes any named one true.
    package var isEmpty: Bool { table.isEmpty }
}
