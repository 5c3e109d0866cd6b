// Memory that decisions of one thread reuse: where records lie, what was found out once in a decision, lists of rules.
//
// INVARIANT of this unsafe file: `SourceTable` and `MemoTable` own their allocation alone (they cannot be copied); indices
// of sources are below `SourceTable.count`, those of memos below the count that `MemoTable.start` was last given. The bits of
// `NamedMemberships` are `rows` words and one more, in an allocation of its own; a row is compared with `rows` before each use.

package import Memory
import PolicyLanguage

/// Where one record of a decision lies.
@safe
struct Source {
    /// The record; a readable place of no length for none.
    var base: UnsafeRawPointer
    /// End of the slots that lie in the record, from its start; 0 for no record.
    var limit: Int
    /// Bytes of the record.
    var count: Int
    /// A power of two for the table's stride; never read.
    private var padding = 0

    @inline(__always)
    init(base: UnsafeRawPointer, limit: Int, count: Int) {
        unsafe self.base = base
        self.limit = limit
        self.count = count
    }

    /// "Valid until" of the slot at an offset below `limit`.
    @inline(__always)
    func validUntil(_ slot: Int) -> Int64 {
        unsafe Int64(littleEndian: base.loadUnaligned(fromByteOffset: slot &+ 8, as: Int64.self))
    }

    /// Payload of the slot at an offset below `limit`.
    @inline(__always)
    func payload(_ slot: Int) -> UInt64 {
        unsafe UInt64(littleEndian: base.loadUnaligned(fromByteOffset: slot, as: UInt64.self))
    }

    /// Taken roles that the header tells of; to be asked where `limit` is not 0.
    @inline(__always)
    var grantCount: UInt32 {
        unsafe UInt32(littleEndian: base.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
    }

    /// The record to read strings and sets from.
    @inline(__always)
    var view: RecordView { unsafe RecordView(UnsafeRawBufferPointer(start: base, count: count)) }
}

/// Places of records in a `SourceTable`; operands name them by number.
enum SourceIndex {
    static let subject = 0
    static let session = 1
    static let device = 2
    static let resource = 3
    static let subjectInQuestion = 4
    static let resourceInQuestion = 5
    static let actionInQuestion = 6
    static let context = 7
    static let subjectID = 8
    static let resourceID = 9
    /// Always without a slot: where an attribute has no such source.
    static let none = 10
    static let count = 11
}

/// The records of the decision at hand.
@safe
struct SourceTable: ~Copyable {
    let base: UnsafeMutablePointer<Source>

    init() {
        unsafe base = .allocate(capacity: SourceIndex.count)
        // An address that is never read from, as no slot lies below a limit of 0.
        let nowhere = unsafe UnsafeRawPointer(base)
        unsafe base.initialize(repeating: Source(base: nowhere, limit: 0, count: 0), count: SourceIndex.count)
    }

    deinit { unsafe base.deallocate() }
}

/// What one decision has found out of an operand or a role, valid by its stamp: stamp << 32 | finding.
@safe
struct MemoTable: ~Copyable {
    private(set) var base: UnsafeMutablePointer<UInt64>
    private var capacity = 64
    private(set) var stamp: UInt32 = 0

    init() {
        unsafe base = .allocate(capacity: capacity)
        unsafe base.initialize(repeating: 0, count: capacity)
    }

    deinit { unsafe base.deallocate() }

    /// Makes all findings void and room for so many.
    @inline(__always)
    mutating func start(_ count: Int) {
        stamp &+= 1
        if count > capacity || stamp == 0 { renew(count) }
    }

    private mutating func renew(_ count: Int) {
        unsafe base.deallocate()
        capacity = max(count, capacity)
        unsafe base = .allocate(capacity: capacity)
        unsafe base.initialize(repeating: 0, count: capacity)
        stamp = 1
    }
}

/// Which named groups or containers hold for one question: a ready list, or what an index finds for the direct memberships
/// in the decision's own record.
@safe
package struct NamedMemberships: ~Copyable {
    /// The index that `table` belongs to.
    private var index: MembershipIndex?
    /// True when the direct memberships of the decision's own record are to be asked of the table.
    private var isLazy = false
    /// True when `list` and `bits` hold what is to be known.
    private(set) var isKnown = true
    private(set) var table = MembershipTable.empty
    /// Those that hold, each once, and the same as a bit set of `rows` words of 64, and one word that is not read. When they
    /// are not known, these are of an earlier decision.
    private(set) var list = WordList(capacity: 16)
    private var bits: UnsafeMutablePointer<UInt64>
    private(set) var rows = 0
    /// Of a ready list: where the numbers of roles begin.
    private var plainCount = 0

    init() {
        unsafe bits = .allocate(capacity: 1)
        unsafe bits.initialize(to: 0)
    }

    deinit { unsafe bits.deallocate() }

    /// From now on they are those that the direct memberships in the decision's record lead to: the subject's groups, or
    /// the resource's containers. Nothing is worked out before a rule asks.
    @inline(__always)
    package mutating func set(in index: MembershipIndex) {
        if self.index !== index { adopt(index) }
        isLazy = true
    }

    /// As `set(in:)` with the index that was adopted last: without a look at it, so that no reference is counted.
    @inline(__always)
    package mutating func setInAdopted() { isLazy = true }

    /// Takes an index for `setInAdopted`; none hold before that.
    package mutating func adopt(_ index: MembershipIndex) {
        clear()
        self.index = index
        table = index.table
        reserve(index.namedCount)
    }

    /// Sets them directly; indices beyond `count` are ignored.
    /// - Parameter taken: roles that the subject has taken, by their place in `Program.takeable`; their numbers stand behind.
    package mutating func set(_ indices: some Sequence<Int>, count: Int, taken: [Int] = []) {
        clear()
        plainCount = count
        reserve(count + (taken.max() ?? -1) + 1)
        for index in indices where index >= 0 && index < count { note(UInt32(index)) }
        for place in taken { note(UInt32(count + place)) }
    }

    /// None hold.
    @inline(__always)
    package mutating func clear() {
        isLazy = false
        isKnown = true
        forget()
    }

    /// A decision begins: nothing is known of its record yet.
    @inline(__always)
    mutating func start() { isKnown = !isLazy }

    /// Few rows are emptied all alike, which a processor foresees; of many those that were written.
    @inline(__always)
    private mutating func forget() {
        if rows <= 16 {
            for row in 0..<rows { unsafe bits[row] = 0 }
        } else {
            for position in 0..<list.count { unsafe bits[Int(list[position] >> 6)] = 0 }
        }
        list.removeAll()
    }

    private mutating func reserve(_ count: Int) {
        let words = (count + 63) / 64
        if words <= rows { return }
        unsafe bits.deallocate()
        rows = words
        unsafe bits = .allocate(capacity: words + 1)
        unsafe bits.initialize(repeating: 0, count: words + 1)
    }

    @inline(__always)
    mutating func note(_ named: UInt32) {
        let row = Int(named >> 6)
        if row >= rows { return }
        let bit = UInt64(1) &<< UInt64(named & 63)
        let known = unsafe bits[row]
        if known & bit == 0 { list.append(named) }
        unsafe bits[row] = known | bit
    }

    /// Works out, once in a decision, what the direct memberships lead to.
    mutating func find(_ members: MembershipList) {
        isKnown = true
        forget()
        for position in 0..<members.count { table.forEachNamed(above: members[position]) { note($0) } }
    }

    /// Whether one holds, when they are known.
    borrowing func contains(_ named: UInt32) -> Bool {
        let row = Int(named >> 6)
        return self.row(row) & (1 &<< UInt64(named & 63)) != 0
    }

    /// 64 bits of the set from a named one on that is a multiple of 64, when they are known.
    @inline(__always)
    borrowing func row(_ index: Int) -> UInt64 { index < rows ? unsafe bits[index] : 0 }

    /// Those that hold for a record, as indices of `CheckedPolicies`.
    package borrowing func indices(of record: RecordView) -> Set<Int> {
        if !isLazy { return Set(list.array.map { Int($0) }.filter { $0 < plainCount }) }
        var found = Set<Int>()
        let members = record.memberships
        for position in 0..<members.count {
            table.forEachNamed(above: members[position]) { found.insert(Int($0)) }
        }
        return found
    }
}

/// A permit that would hold with a stronger or fresher authentication.
struct StepUp {
    var rule: UInt32
    var demand: Demand
    var level: Int
}

/// Memory that decisions of one thread reuse.
package struct DecisionScratch: ~Copyable {
    /// Groups the subject is in, as indices of `CheckedPolicies.groups`.
    package var groups = NamedMemberships()
    /// Containers the resource lies in, as indices of `CheckedPolicies.containers`.
    package var containers = NamedMemberships()
    /// Where the records lie.
    var sources = SourceTable()
    /// Findings of the decision.
    var memos = MemoTable()
    /// The rules that decided, by index: one forbid; or the permit and the requires that joined it.
    package internal(set) var rules = WordList(capacity: 16)
    /// The obligations that go with the answer, by index of `CheckedPolicies.obligations`, ascending.
    package internal(set) var obligations = WordList(capacity: 16)
    /// The requires that matched, and what they ask for, joined.
    var requires = WordList(capacity: 16)
    var joined = Demand.nothing
    /// The permit that asks for least, when the session meets none.
    var best: StepUp?

    package init() {}
}
