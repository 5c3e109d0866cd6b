// The compiled form of a tenant's policies: one contiguous, position-independent, immutable image of 32-bit
// words, and beside it the names that answers carry.
//
//   header   `ImageLayout` names its words
//   pool     a record (Record.swift) whose slots are the policies' constants
//   operands 8 words: kind | scope << 8 | flags << 16; slot; page + 1 of the constant or default (0: none, `noHeap`: a
//            plain word); its payload, low and high; table: per type {slot, flags, page + 1, payload low, high}, or 0, or
//            for a sum [count, operand | taken off << 31…]
//   code     tests, 5 words: operation | class << 8 | comparison << 16; A; B; next if true; next if false
//   times    schedules: [spans, windows, {start low, start high, offset in s}…, {from, to in minutes of the week}…]
//   tables   7 words per (subject type, resource type or any, action or any): reads, then the indexes of forbids,
//            requires, permits, and of the obligations on permit, on deny, on step-up
//   index    nodes that lead from a table to the few rules whose condition can hold (IndexBuilder.swift)
//   cells    per (subject type, resource type, action): offset of its list of tables
//
// INVARIANT: the compiler is the only writer; every offset in the image lies in the image, every jump of the code
// goes to an instruction that was emitted before (so the code has no cycle), every index child to a node.

package import Memory
package import PolicyLanguage

/// Offsets and marks of the image.
enum ImageLayout {
    static let version: UInt32 = 1
    static let headerWords = 16
    static let poolOffset = 1
    static let poolBytes = 2
    static let cellsOffset = 3
    static let rolesOffset = 4
    static let rulesOffset = 5
    static let operandsOffset = 6
    /// Slots of the session that every decision may look at.
    static let sessionEndsAt = 7
    static let sessionLevels = 8
    static let sessionMethods = 9
    static let sessionAuthenticatedAt = 10
    /// Per entity type: its place among the subject types + 1 (0: no subject), bit 31 when the store must know it.
    static let typesOffset = 11
    static let typeCount = 12
    static let actionCount = 13
    static let ruleCount = 14
    static let mustExist: UInt32 = 1 << 31

    /// Jump targets that end a condition.
    static let accept: UInt32 = 0xffff_ffff
    static let reject: UInt32 = 0xffff_fffe
    /// A cell of an action that the catalog does not define on the type.
    static let undefinedCell: UInt32 = 0xffff_ffff

    static let operandWords = 8
    static let tableRowWords = 5
    /// In place of a page: the payload is all there is.
    static let noHeap: UInt32 = 0xffff_ffff
    static let testWords = 5
    static let tableWords = 7
    static let ruleWords = 8
}

/// Kinds of operand in the image.
enum OperandKind: UInt32 {
    case constant, attribute, subjectID, resourceID, now, count, actionIndex, resourceTypeIndex, sum
}

/// Bits of an operand's flags.
enum OperandFlags {
    static let stored: UInt32 = 1
    static let inQuestion: UInt32 = 2
    static let required: UInt32 = 4
}

/// Operations of the image's tests.
enum Operation: UInt32 {
    case compare, contains, intersects, subset, like, inNetworks, group, role, has, actionIn, resourceTypeIn
    case container, schedule
    /// A comparison with `now` on one side.
    case compareTime
}

/// How payloads compare.
enum ValueClass: UInt32 {
    case word, string, address
}

/// Kinds of index node.
enum NodeKind: UInt32 {
    /// [kind, count, rules…]
    case leaf
    /// [kind | class << 8, operand, also, mask, entries of {key low, key high, pool slot, child}…]
    case valueSwitch
    /// [kind, 0, also, mask, entries of {group + 1, child}…]
    case groupSwitch
    /// [kind, 0, also, mask, entries of {container + 1, child}…]
    case containerSwitch
}

/// A compiled policy set. Immutable, so all threads share one.
package final class Program: Sendable {
    /// The image.
    let image: Image
    /// The policies it was made from: names, reasons, places.
    package let policies: CheckedPolicies
    /// Scope and attribute name of each operand, for errors (`Verdict.attribute`).
    package let operandNames: [AttributeReference?]
    /// The memory of the tables below.
    private let names: NameArena
    /// Entity types by name.
    package let entityTypes: NameTable
    /// Actions by name.
    package let actions: NameTable
    /// Slots of session records.
    package let sessionSlots: SessionSlots
    /// Per (subject type, resource type, action) cell, in `cell(…)` order: the sources its rules read.
    let needs: [SourceNeeds]
    /// Place of each rule's name in alphabetical order, the last tie-break among demands.
    let nameRanks: [Int]
    let roleCount: Int
    /// Where the condition of each offer begins.
    let offerEntries: [UInt32]
    /// Per entity type: its place among the subject types, or -1.
    let subjectOrdinals: [Int]
    let actionCount: Int

    /// The catalog.
    package var catalog: Catalog { policies.catalog }
    /// Bytes of the compiled form.
    package var sizeInBytes: Int { image.count * 4 }

    init(
        words: [UInt32], policies: CheckedPolicies, operandNames: [AttributeReference?], needs: [SourceNeeds],
        offers: [UInt32]
    ) {
        image = Image(words)
        self.policies = policies
        self.operandNames = operandNames
        self.needs = needs
        let catalog = policies.catalog
        let names = NameArena([catalog.entities.map(\.name), catalog.actions.map(\.name)])
        self.names = names
        entityTypes = names[0]
        actions = names[1]
        sessionSlots = SessionSlots(catalog)
        var ranks = [Int](repeating: 0, count: policies.rules.count)
        let order = policies.rules.indices.sorted {
            (policies.rules[$0].name, $0) < (policies.rules[$1].name, $1)
        }
        offerEntries = offers
        for (rank, rule) in order.enumerated() { ranks[rule] = rank }
        nameRanks = ranks
        roleCount = policies.roles.count
        subjectOrdinals = Self.subjectOrdinals(catalog)
        actionCount = catalog.actions.count
    }

    static func subjectOrdinals(_ catalog: Catalog) -> [Int] {
        var next = 0
        return catalog.entities.map { entity in
            guard entity.isSubject else { return -1 }
            next += 1
            return next - 1
        }
    }

    /// Index of a cell; nil when an index is out of range.
    @inline(__always)
    package func cell(subjectType: Int, resourceType: Int, action: Int) -> Int? {
        let types = subjectOrdinals.count
        guard subjectType >= 0, subjectType < types, resourceType >= 0, resourceType < types, action >= 0,
            action < actionCount
        else { return nil }
        let ordinal = subjectOrdinals[subjectType]
        return ordinal < 0 ? nil : (ordinal * types + resourceType) * actionCount + action
    }

    /// Which records a question on this cell reads beside the subject's view.
    package func needs(cell: Int) -> SourceNeeds { needs[cell] }
}

/// Which stored records the rules of a cell read, beside the subject's view and the session's authentication.
package struct SourceNeeds: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The subject's groups.
    package static let groups = SourceNeeds(rawValue: 1)
    /// The device's record.
    package static let device = SourceNeeds(rawValue: 2)
    /// The resource's record in the registry.
    package static let resource = SourceNeeds(rawValue: 4)
    /// Attributes or authentication of the session.
    package static let session = SourceNeeds(rawValue: 8)
    /// The containers of the resource, which are in its record.
    package static let containers = SourceNeeds(rawValue: 16)

    /// Membership as one bit test; the protocol's own goes through generic equality.
    @inline(__always)
    package func contains(_ member: SourceNeeds) -> Bool { rawValue & member.rawValue == member.rawValue }
}

/// Why checked policies could not be compiled. Nothing of the program exists then.
package struct CompileError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds.
    package enum Code: String, Sendable {
        /// A number of the policy set is above its limit.
        case tooLarge = "policy_too_large"
        /// The checked policies contradict themselves; a defect of the checker, not of the text.
        case inconsistent = "policy_inconsistent"
    }

    package var code: Code
    /// What, where, and how to mend it.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(code.rawValue): \(message)" }
}

/// Limits of the compiler.
package enum CompileLimits {
    /// Words of the image: 256 MiB.
    package static let maxImageWords = 64 << 20
    /// Subject types x entity types x actions.
    package static let maxCells = 8 << 20
    /// Roles that include roles that include roles…
    package static let maxRoleDepth = 64
    /// Copies of one rule over its listed actions and types before it is kept once, under "any".
    static let maxCopiesOfRule = 64
    /// Values of one operand by which one rule is indexed.
    static let maxKeysOfRule = 32
    /// Levels of the index.
    static let maxIndexDepth = 16
    /// A node with so few rules is a leaf.
    static let leafSize = 4
}
