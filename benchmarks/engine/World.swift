// What a server holds while it decides: views of users and resources in one block of memory, found by id, and questions
// as the socket would leave them after reading a frame.
//
// INVARIANT of this unsafe file: a `Slice` is made by `keep` alone and lies in the block; the block is freed with the
// world, and no view outlives it.

import CMeasure
import DecisionEngine
import Glibc
import Memory
import PolicyLanguage

/// Bytes of a record in the block; empty for no record.
struct Slice {
    var offset = 0
    var count = 0
}

/// What a question says of its subject or resource.
struct Party {
    var properties: Slice
    var id: Slice
}

/// One question, ready to decide but for what has to be looked up: the subject and the resource by id.
struct Question {
    var subjectType = Catalog.user
    var action: Int
    var resourceType: Int
    var subject: Party
    var resource: Party
    var session = Slice()
    var device = Slice()
    var actionProperties: Slice
    var context: Slice
}

/// Records by id.
private struct IDTable {
    /// Hash (0 is empty), where the id lies and where the record lies.
    struct Entry {
        var hash: UInt64 = 0
        var id = Slice()
        var record = Slice()
    }

    private(set) var entries: [Entry] = Array(repeating: Entry(), count: 16)
    private var count = 0

    mutating func insert(_ entry: Entry) {
        count += 1
        if count * 2 > entries.count {
            let old = entries
            entries = Array(repeating: Entry(), count: old.count * 2)
            for entry in old where entry.hash != 0 { place(entry) }
        }
        place(entry)
    }

    private mutating func place(_ entry: Entry) {
        var slot = Int(truncatingIfNeeded: entry.hash >> 7) & (entries.count - 1)
        while entries[slot].hash != 0 { slot = (slot + 1) & (entries.count - 1) }
        entries[slot] = entry
    }
}

/// A tenant in memory, with questions to ask it.
@safe
final class World {
    let program: Program
    let groups: MembershipIndex
    let containers: MembershipIndex
    private(set) var questions: [Question] = []
    let now: Int64 = 1_790_000_000_000
    private let block: UnsafeMutableRawBufferPointer
    private let base: UnsafeMutableRawPointer
    private var used = 0
    private var subjects = IDTable()
    private var resources = IDTable()
    private var scratch = DecisionScratch()
    private var builder = RecordBuilder()
    /// The question at hand.
    private var inputs = DecisionInputs()
    private let hot = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 64)
    private var hotUsed = 0
    /// Copies of the tables and the questions that no reference count guards; made by `seal`.
    private var subjectTable: UnsafeMutablePointer<IDTable.Entry>
    private var subjectMask = 0
    private var resourceTable: UnsafeMutablePointer<IDTable.Entry>
    private var resourceMask = 0
    private var asked: UnsafeMutablePointer<Question>
    private var isSealed = false

    /// - Parameters:
    ///   - groups: numbers of groups with the policy group that a membership in them makes true.
    ///   - capacity: bytes of all records together, at most.
    init(
        _ program: Program, groups: [(number: UInt32, index: Int)], containers: [(number: UInt32, index: Int)] = [],
        capacity: Int
    ) {
        self.program = program
        self.groups = MembershipIndex(pairs: groups, namedCount: program.namedCount)
        self.containers = MembershipIndex(pairs: containers, namedCount: program.policies.containers.count)
        unsafe block = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
        unsafe base = block.baseAddress.unsafelyUnwrapped
        unsafe subjectTable = .allocate(capacity: 1)
        unsafe resourceTable = .allocate(capacity: 1)
        unsafe asked = .allocate(capacity: 1)
    }

    deinit {
        unsafe block.deallocate()
        unsafe hot.deallocate()
        unsafe subjectTable.deallocate()
        unsafe resourceTable.deallocate()
        unsafe asked.deallocate()
    }

    /// Ends the filling: nothing is added afterwards.
    private func seal() {
        if isSealed { return }
        isSealed = true
        func copy<Element>(_ list: [Element]) -> UnsafeMutablePointer<Element> {
            let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(1, list.count))
            unsafe memory.initialize(from: list, count: list.count)
            return unsafe memory
        }
        unsafe subjectTable.deallocate()
        unsafe resourceTable.deallocate()
        unsafe asked.deallocate()
        unsafe subjectTable = copy(subjects.entries)
        subjectMask = subjects.entries.count - 1
        unsafe resourceTable = copy(resources.entries)
        resourceMask = resources.entries.count - 1
        unsafe asked = copy(questions)
    }

    // MARK: Filling

    /// Bytes of records.
    var recordBytes: Int { used }

    /// A record of these values, in the order of the entity's attributes; nil leaves a slot empty.
    func record(_ values: [Constant?], groups: [UInt32] = []) -> Slice {
        builder.reset(slots: values.count)
        for (slot, value) in values.enumerated() {
            if let value { builder.set(slot, value) }
        }
        if !groups.isEmpty { builder.setGroups(groups.sorted()) }
        return keep(builder.bytes)
    }

    /// Properties with an id.
    func party(_ values: [Constant?], id: String) -> Party {
        let properties = record(values)
        builder.setIdentity(id)
        return Party(properties: properties, id: keep(builder.bytes))
    }

    /// A session that proves a level since an instant.
    func session(level: Int?, since: Int64) -> Slice {
        let slots = program.sessionSlots
        builder.reset(slots: slots.count)
        builder.set(slots.levels, payload: level.map { program.catalog.assurance.implied[$0] } ?? 0)
        builder.set(slots.authenticatedAt, .datetime(since))
        return keep(builder.bytes)
    }

    func addSubject(_ id: String, _ record: Slice) {
        subjects.insert(.init(hash: max(1, ContentHash.hash(id)), id: keep(Array(id.utf8)), record: record))
    }

    func addResource(_ id: String, _ record: Slice) {
        resources.insert(.init(hash: max(1, ContentHash.hash(id)), id: keep(Array(id.utf8)), record: record))
    }

    func ask(_ question: Question) { questions.append(question) }

    private func keep(_ bytes: [UInt8]) -> Slice {
        let start = (used + 15) & ~15
        precondition(unsafe start + bytes.count <= block.count, "the world's block is full: give it a larger capacity")
        unsafe block[start..<start + bytes.count].copyBytes(from: bytes)
        used = start + bytes.count
        return Slice(offset: start, count: bytes.count)
    }

    // MARK: Deciding

    @inline(__always)
    private func bytes(_ slice: Slice) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base + slice.offset, count: slice.count)
    }

    @inline(__always)
    private func view(_ slice: Slice) -> RecordView { slice.count == 0 ? .empty : unsafe RecordView(bytes(slice)) }

    /// Puts a question where a server that has just read its frame has it: in memory that is hot.
    @inline(never)
    private func read(_ number: Int) {
        let question = unsafe asked[number]
        inputs.subjectType = question.subjectType
        inputs.action = question.action
        inputs.resourceType = question.resourceType
        inputs.now = now
        hotUsed = 0
        inputs.subjectID = hotCopy(question.subject.id)
        inputs.subjectInQuestion = hotCopy(question.subject.properties)
        inputs.resourceID = hotCopy(question.resource.id)
        inputs.resourceInQuestion = hotCopy(question.resource.properties)
        inputs.actionInQuestion = hotCopy(question.actionProperties)
        inputs.context = hotCopy(question.context)
        inputs.session = hotCopy(question.session)
        inputs.device = hotCopy(question.device)
        inputs.subject = .empty
        inputs.resource = .empty
    }

    private func hotCopy(_ slice: Slice) -> RecordView {
        if slice.count == 0 { return .empty }
        let start = unsafe hot.baseAddress.unsafelyUnwrapped + hotUsed
        unsafe start.copyMemory(from: base + slice.offset, byteCount: slice.count)
        hotUsed = (hotUsed + slice.count + 15) & ~15
        return unsafe RecordView(UnsafeRawBufferPointer(start: start, count: slice.count))
    }

    /// Looks subject and resource up by id.
    @inline(__always)
    private func lookUp() {
        inputs.subject = unsafe stored(inputs.subjectID, subjectTable, subjectMask)
        inputs.resource = unsafe stored(inputs.resourceID, resourceTable, resourceMask)
    }

    /// The stored record under an id.
    @inline(__always)
    private func stored(
        _ identity: RecordView, _ table: UnsafePointer<IDTable.Entry>, _ mask: Int
    ) -> RecordView {
        guard let id = identity.identity else { return .empty }
        let hash = max(1, id.hash)
        var slot = Int(truncatingIfNeeded: hash >> 7) & mask
        while unsafe table[slot].hash != 0 {
            if unsafe table[slot].hash == hash, unsafe table[slot].id.count == id.bytes.count,
                unsafe memcmp(base + table[slot].id.offset, id.bytes.baseAddress.unsafelyUnwrapped, id.bytes.count) == 0
            {
                return unsafe view(table[slot].record)
            }
            slot = (slot &+ 1) & mask
        }
        return .empty
    }

    /// Works out which groups of the policies the subject is in, and decides.
    @inline(__always)
    private func conclude() -> Verdict {
        scratch.groups.set(in: groups)
        scratch.containers.set(in: containers)
        return program.decide(lent: &inputs, &scratch)
    }

    /// One question, from its number to its answer.
    func decide(_ number: Int) -> Verdict {
        seal()
        read(number)
        lookUp()
        return conclude()
    }

    /// Names of the rules that made the last decision.
    var decidingRules: [String] { scratch.rules.array.map { program.policies.rules[Int($0)].name } }

    /// How many of the first questions the reference interpreter answers otherwise: none, or no time of them counts.
    func differences(of count: Int) -> Int {
        let reference = Interpreter(program.policies)
        return questions.indices.prefix(count).filter { number in
            let verdict = decide(number)
            let expected = reference.decide(Situation(inputs, scratch, catalog: program.catalog))
            return verdict.kind != expected.kind || verdict.demand != expected.demand
        }.count
    }

    /// What is timed.
    enum Part {
        /// From the views to the answer: groups and policies. The views' bytes have not been touched before.
        case decision
        /// The same, with finding the views by id before.
        case lookUpAndDecision
    }

    /// Ticks of each decision in this order, and the allocations of all.
    func measure(_ order: [Int], _ part: Part) -> (ticks: [UInt64], allocations: UInt64) {
        seal()
        var ticks = [UInt64](repeating: 0, count: order.count)
        var kinds = 0
        let allocations = measure_allocations()
        for (position, number) in order.enumerated() {
            read(number)
            var verdict: Verdict
            if part == .decision { lookUp() }
            let before = measure_ticks()
            if part == .lookUpAndDecision { lookUp() }
            verdict = conclude()
            ticks[position] = measure_ticks() &- before
            kinds &+= Int(verdict.kind.rawValue)
        }
        let counted = measure_allocations() - allocations
        precondition(kinds >= 0)
        return (ticks, counted)
    }
}
