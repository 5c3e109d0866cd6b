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

/// How the attributes of one part of a question are read.
@safe
struct RecordPlan: @unchecked Sendable {
    /// Attribute names to slots.
    let names: NameTable
    private let slots: UnsafeBufferPointer<SlotPlan>

    fileprivate init(_ names: NameTable, _ slots: UnsafeBufferPointer<SlotPlan>) {
        self.names = names
        unsafe self.slots = slots
    }

    /// Number of attributes.
    var count: Int { unsafe slots.count }

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
        var plans: [RecordPlan] = []
        var start = 0
        for (index, owner) in owners.enumerated() {
            let part = unsafe UnsafeBufferPointer(rebasing: memory[start..<start + owner.count])
            plans.append(unsafe RecordPlan(names[index], part))
            start += owner.count
        }
        entities = Array(plans[..<catalog.entities.count])
        actions = Array(plans[catalog.entities.count..<owners.count - 1])
        context = plans[owners.count - 1]
        self.cases = cases
        self.names = names
        unsafe self.memory = memory
    }

    deinit { unsafe memory.deallocate() }
}
