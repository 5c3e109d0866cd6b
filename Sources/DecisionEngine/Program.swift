// The compiled form of a tenant's policies: one contiguous, position-independent, immutable image of 32-bit
// words, and beside it the names that answers carry.
//
//   header   `ImageLayout` names its words
//   pool     records (Record.swift) whose slots are the policies' constants, in pages
//   texts    a table {low half of the hash, offset} with open addressing, and per text that a rule compares with
//            {id, bytes, hash low, high, UTF-8…}: a value is looked up once in a decision, then ids are compared
//   operands 8 words: kind | scope << 8 | flags << 16; offset of the slot in its record; page + 1 of the constant or default
//            (0: none, `noHeap`: a plain word); its payload, low and high; table: per type {offset of the slot, flags,
//            page + 1, payload low, high, sources}, or for a sum [count, operand | taken off << 31…], or 0; sources: stored |
//            in the question << 8 (`SourceIndex`); memo of its text
//   code     tests, 6 words: operation | class << 8 | orders << 16 (`Comparison.orders`); A; next if true; next if false; B, or a constant's
//            low and high half. Equal tests with equal targets stand once.
//   times    schedules: [spans, windows, {start low, start high, offset in s}…, {from, to in minutes of the week}…]
//   nodes    the index that leads to the few rules whose condition can hold (IndexBuilder.swift). What leads to a node or a
//            rule is a *branch* of two words: 0, 0 for nothing; a node's offset and 0; or a rule and where the rest of its
//            condition begins, which is what the way there has not settled yet
//   demands  per rule: offset of {levels low, high, within low, high, methods}
//   lists    per combination of rules that questions look at: [reads, further lists of reads, forbids | requires << 8 |
//            permits << 16, on permit | on deny << 8 | on step-up << 16, branches…, 0, 0]; before it two words: offset of
//            [count, {covered rule, covering rule}…] or 0, for rules that need not be tried (RuleCover.swift); 0
//   cells    per (subject type, resource type, action): offset of its list
//
// INVARIANT: the compiler is the only writer; every offset in the image lies in the image, every jump of the code
// goes to an instruction that was emitted before (so the code has no cycle), every branch to a node emitted before.

package import Memory
package import PolicyLanguage

/// Offsets and marks of the image.
enum ImageLayout {
    static let version: UInt32 = 3
    static let headerWords = 32
    static let poolOffset = 1
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
    static let textsOffset = 15
    static let textsMask = 16
    /// Findings that a decision may keep: roles, then texts.
    static let memoCount = 17
    /// [place of the first among the groups' numbers, count, ids of the names…] of the roles that can be taken
    static let takeableOffset = 18
    static let mustExist: UInt32 = 1 << 31

    /// Jump targets that end a condition; the code lies below both.
    static let accept: UInt32 = 0xffff_ffff
    static let reject: UInt32 = 0xffff_fffe
    /// A cell of an action that the catalog does not define on the type.
    static let undefinedCell: UInt32 = 0xffff_ffff
    /// Mark of a rule in a branch that demands something.
    static let demanding: UInt32 = 1 << 31

    static let operandWords = 8
    static let tableRowWords = 6
    /// In place of a page: the payload is all there is.
    static let noHeap: UInt32 = 0xffff_ffff
    static let testWords = 6
    static let listWords = 4
    static let readWords = 4
    /// Words of a node before its entries.
    static let nodeWords = 8
    /// Words of a set in a node.
    static let setWords = 8
    /// Words of a text before its UTF-8.
    static let textWords = 4
}

/// Kinds of operand in the image. The evaluator takes the cases' order for their numbers, here and below.
enum OperandKind: UInt32 {
    case constant, attribute, subjectID, resourceID, now, count, actionIndex, resourceTypeIndex, sum
    /// An attribute whose place depends on the type or action at hand.
    case attributeByType
    case countByType
}

/// Bits of an operand's flags.
enum OperandFlags {
    static let stored: UInt32 = 1
    static let inQuestion: UInt32 = 2
    static let required: UInt32 = 4
}

/// Operations of the image's tests.
enum Operation: UInt32 {
    /// Two words; a word and a constant; a text and the id of a constant.
    case compareWords, compareWord, compareText
    /// Two texts for equality; the last word says where the finding is remembered.
    case compareTexts
    case group
    case compare, contains, intersects, subset, like, inNetworks, role, has, actionIn, resourceTypeIn
    case container, schedule
    /// A comparison with `now` on one side.
    case compareTime
    /// A role that the subject has taken: A is its number behind those of the groups, B the id of its name.
    case granted
}

/// How payloads compare.
enum ValueClass: UInt32 {
    case word, string, address
}

extension Comparison {
    /// The orders in which it holds: bit 0 for less, 1 for equal, 2 for greater.
    var orders: UInt32 {
        switch self {
        case .equal: 2
        case .notEqual: 5
        case .less: 1
        case .lessOrEqual: 3
        case .greater: 4
        case .greaterOrEqual: 6
        }
    }
}

/// Ids of texts in a decision.
enum TextID {
    /// The value is none of the policies' texts.
    static let other: UInt32 = 0xffff_ffff
    /// There is no value.
    static let absent: UInt32 = 0xffff_fffe
}

/// Kinds of index node. All begin with [kind | …, operand, entries or mask, 0, least key low, high, also: a branch].
enum NodeKind: UInt32 {
    /// [kind | branches << 8, 0, branches…]
    case leaf
    /// A branch for each key from the least on.
    case denseWords, denseTexts
    /// For each 64 keys from the least on {which have a branch: two words, offset of the first, 0}; branches behind.
    case rankedWords, rankedTexts, rankedGroups, rankedContainers
    /// Entries {key low, key high, branch} with open addressing.
    case hashedWords, hashedTexts, hashedGroups, hashedContainers
    /// [kind, words of a row, rules, 0, branches of the rules, 0, 0, 0, per dimension {operand, bounds, offset of the
    /// bounds, offset of the rows}…]: see `Bitmaps`.
    case bitmaps
    /// [kind, sets, 0, 0, 0, 0, also: a branch, sets…], each of 8 words: see `SetKind`
    case sets
}

/// Kinds of sets (IndexSets.swift): values of which each leads to a rule of its own, all under the same condition. [kind |
/// operand << 8, entry of the condition, rows, offset of {offset of the rules of a row}…, least key low, high, bits of the
/// only row: two words; or offset of {bits of a row}…, 0]. A row is 64 keys; the least is a multiple of 64 for the named.
enum SetKind: UInt8 {
    case words, texts, groups, containers
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
    /// Findings that a decision may keep.
    let memoCount: Int
    /// Where the condition of each offer begins.
    let offerEntries: [UInt32]
    /// The operands that each offer reads and that can be missing.
    let offerReads: [[UInt32]]
    /// Groups that the policies name, and behind them the roles that can be taken (`takeable`): the index looks for both in
    /// one way. What `MembershipIndex` and `NamedMemberships` make room for.
    package let namedCount: Int
    /// The roles behind the groups, by index of `CheckedPolicies.roles`.
    package let takeable: [Int]
    /// Per entity type: its place among the subject types, or -1.
    let subjectOrdinals: [Int]
    let actionCount: Int

    /// The catalog.
    package var catalog: Catalog { policies.catalog }
    /// Bytes of the compiled form.
    package var sizeInBytes: Int { image.count * 4 }

    init(
        words: [UInt32], policies: CheckedPolicies, operandNames: [AttributeReference?], needs: [SourceNeeds],
        offers: [(entry: UInt32, reads: [UInt32])], nameRanks: [Int]
    ) {
        memoCount = Int(words[ImageLayout.memoCount])
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
        offerEntries = offers.map(\.entry)
        offerReads = offers.map(\.reads)
        takeable = policies.roles.takeable
        namedCount = policies.groups.count + takeable.count
        self.nameRanks = nameRanks
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
public struct SourceNeeds: OptionSet, Sendable, Hashable {
    /// One bit for each member.
    public let rawValue: UInt8

    /// A set of the members whose bits are given.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The subject's groups.
    @inlinable
    public static var groups: SourceNeeds { SourceNeeds(rawValue: 1) }
    /// The device's record.
    @inlinable
    public static var device: SourceNeeds { SourceNeeds(rawValue: 2) }
    /// The resource's record in the registry.
    @inlinable
    public static var resource: SourceNeeds { SourceNeeds(rawValue: 4) }
    /// Attributes or authentication of the session.
    @inlinable
    public static var session: SourceNeeds { SourceNeeds(rawValue: 8) }
    /// The containers of the resource, which are in its record.
    @inlinable
    public static var containers: SourceNeeds { SourceNeeds(rawValue: 16) }
    /// The id of the subject, as a value.
    @inlinable
    public static var subjectID: SourceNeeds { SourceNeeds(rawValue: 32) }
    /// The id of the resource, as a value.
    @inlinable
    public static var resourceID: SourceNeeds { SourceNeeds(rawValue: 64) }

    /// What is looked up beside the subject's view: device, resource, containers.
    @inlinable
    public static var further: SourceNeeds { SourceNeeds(rawValue: 2 | 4 | 16) }

    /// Membership as one bit test; the protocol's own goes through generic equality.
    @inlinable
    @inline(__always)
    public func contains(_ member: SourceNeeds) -> Bool { rawValue & member.rawValue == member.rawValue }

    /// True when one of the members is needed.
    @inlinable
    @inline(__always)
    public func containsAny(of members: SourceNeeds) -> Bool { rawValue & members.rawValue != 0 }
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
    /// A list of so few rules is not searched but tried.
    static let leafSize = 4
    /// So many rules without a key, but with ranges, are searched by bitmaps.
    static let bitmapSize = 16
    /// Rules of a set, at least.
    static let setSize = 3
    /// Sets before the switches of a list, at most.
    static let maxSets = 6
    /// A rule of more bounds is not compared without one of them.
    static let maxLoosenedBounds = 2
    /// A condition of more parts is not taken apart for the index.
    static let maxConjuncts = 64
}
