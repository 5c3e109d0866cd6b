// How the attributes of a question are read: from names to slots and types, in plain words.
//
// INVARIANT of this unsafe file: a `RecordPlan` points into the `QuestionPlans` that made it, whose memory does not
// change and is freed with it; a plan is used only while its compiled version is held.

import Memory
import PolicyLanguage

/// How one attribute of a question is read; plain words, so that reading it touches no reference count.
struct SlotPlan: Sendable {
    enum Kind: UInt8, Sendable {
        case boolean, integer, decimal, string, enumeration, datetime, duration, address, reference
    }

    var kind = Kind.boolean
    /// The attribute is a set of `kind`.
    var isSet = false
    var isFromRequest: Bool
    var low = Int64.min
    var high = Int64.max
    /// Cases of an enumeration.
    var cases: NameTable?

    /// - Parameter enumeration: takes the cases where the attribute is an enumeration.
    fileprivate init(_ attribute: Attribute, _ enumeration: ([String]) -> Void) {
        isFromRequest = attribute.isFromRequest
        set(attribute.type, enumeration)
    }

    private mutating func set(_ type: ValueType, _ enumeration: ([String]) -> Void) {
        switch type {
        case .boolean: kind = .boolean
        case .integer(let range):
            kind = .integer
            if let range {
                low = range.lowerBound
                high = range.upperBound
            }
        case .decimal: kind = .decimal
        case .string: kind = .string
        case .enumeration(let type):
            kind = .enumeration
            enumeration(type.cases)
        case .datetime: kind = .datetime
        case .duration: kind = .duration
        case .address: kind = .address
        case .reference: kind = .reference
        case .set(let element):
            isSet = true
            set(element, enumeration)
        }
    }
}

/// An attribute's name as it stands in a map of properties: head and bytes, to be compared with sixteen bytes at once.
struct EncodedName: Sendable {
    /// The encoded name, and ones for its bytes; of a name that cannot be compared so, what nothing equals.
    private var words: (UInt64, UInt64) = (.max, .max)
    private var masks: (UInt64, UInt64) = (.max, .max)
    /// Bytes of the encoded name.
    private(set) var count: Int32 = 0
    let slot: Int32

    /// - Parameter name: nil for one that a question may not fill.
    fileprivate init(_ name: String?, slot: Int) {
        self.slot = Int32(truncatingIfNeeded: slot)
        guard let bytes = name.map({ Array($0.utf8) }), bytes.count <= 15 else { return }
        count = Int32(bytes.count + 1)
        var encoded = [0x60 | UInt8(bytes.count)] + bytes
        var mask = [UInt8](repeating: 0xff, count: encoded.count)
        encoded += repeatElement(0, count: 16 - encoded.count)
        mask += repeatElement(0, count: 16 - mask.count)
        words = (Self.word(encoded[..<8]), Self.word(encoded[8...]))
        masks = (Self.word(mask[..<8]), Self.word(mask[8...]))
    }

    private static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        UInt64(littleEndian: bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// True when the sixteen bytes begin with the encoded name.
    @inline(__always)
    func begins(_ first: UInt64, _ second: UInt64) -> Bool {
        (first ^ words.0) & masks.0 | (second ^ words.1) & masks.1 == 0
    }
}

/// How the attributes of one part of a question are read.
@safe
struct RecordPlan: @unchecked Sendable {
    /// Attribute names to slots.
    let names: NameTable
    private let slots: UnsafeBufferPointer<SlotPlan>
    /// The names in the order of a map (RFC 8949 4.2.1), and the place in it of each slot.
    private let order: UnsafePointer<EncodedName>
    private let ranks: UnsafePointer<Int32>

    fileprivate init(
        _ names: NameTable, _ slots: UnsafeBufferPointer<SlotPlan>, _ order: UnsafePointer<EncodedName>,
        _ ranks: UnsafePointer<Int32>
    ) {
        self.names = names
        unsafe self.slots = slots
        unsafe self.order = order
        unsafe self.ranks = ranks
    }

    /// Number of attributes.
    var count: Int { unsafe slots.count }

    /// The name at a rank below `count`.
    @inline(__always)
    func name(rank: Int) -> EncodedName { unsafe order[rank] }

    /// The rank of a slot.
    @inline(__always)
    func rank(_ slot: Int) -> Int { unsafe Int(ranks[slot]) }

    /// True when a question may fill the slot.
    @inline(__always)
    func isFromRequest(_ slot: Int) -> Bool { unsafe slots[slot].isFromRequest }

    /// How the attribute of a slot that `names` gave is read.
    @inline(__always)
    subscript(_ slot: Int) -> SlotPlan { unsafe slots[slot] }
}

/// The plans of a catalog.
@safe
final class QuestionPlans: @unchecked Sendable {
    /// By entity type.
    let entities: [RecordPlan]
    /// By action.
    let actions: [RecordPlan]
    let context: RecordPlan
    private let memory: UnsafeMutableBufferPointer<SlotPlan>
    private let order: UnsafeMutablePointer<EncodedName>
    private let ranks: UnsafeMutablePointer<Int32>
    private let names: NameArena
    private let cases: NameArena

    init(_ catalog: Catalog) {
        let owners = catalog.entities.map(\.attributes) + catalog.actions.map(\.attributes) + [catalog.context]
        var lists: [[String]] = []
        var slots: [SlotPlan] = []
        var enumerations: [Int: Int] = [:]
        for attribute in owners.joined() {
            slots.append(
                SlotPlan(attribute) { cases in
                    enumerations[slots.count] = lists.count
                    lists.append(cases)
                })
        }
        let cases = NameArena(lists)
        for (slot, list) in enumerations { slots[slot].cases = cases[list] }
        let memory = UnsafeMutableBufferPointer<SlotPlan>.allocate(capacity: max(1, slots.count))
        _ = unsafe memory.initialize(from: slots)
        let names = NameArena(owners.map { $0.map(\.name) })
        unsafe order = .allocate(capacity: max(1, slots.count))
        unsafe ranks = .allocate(capacity: max(1, slots.count))
        var plans: [RecordPlan] = []
        var start = 0
        for (index, owner) in owners.enumerated() {
            let part = unsafe UnsafeBufferPointer(rebasing: memory[start..<start + owner.count])
            let sorted = owner.indices.sorted { Self.isAscending(owner[$0].name, owner[$1].name) }
            for (rank, slot) in sorted.enumerated() {
                let attribute = owner[slot]
                let name = EncodedName(attribute.isFromRequest ? attribute.name : nil, slot: slot)
                unsafe (order + start + rank).initialize(to: name)
                unsafe (ranks + start + slot).initialize(to: Int32(truncatingIfNeeded: rank))
            }
            plans.append(unsafe RecordPlan(names[index], part, order + start, ranks + start))
            start += owner.count
        }
        entities = Array(plans[..<catalog.entities.count])
        actions = Array(plans[catalog.entities.count..<owners.count - 1])
        context = plans[owners.count - 1]
        self.cases = cases
        self.names = names
        unsafe self.memory = memory
    }

    deinit {
        unsafe memory.deallocate()
        unsafe order.deallocate()
        unsafe ranks.deallocate()
    }

    /// The order of names in a map: the shorter first, then bytewise.
    private static func isAscending(_ left: String, _ right: String) -> Bool {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        return left.count == right.count ? left.lexicographicallyPrecedes(right) : left.count < right.count
    }
}
