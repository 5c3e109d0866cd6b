// Decides: walks a program over the records of one question. Allocates nothing, takes no lock.
//
// This file reads the image through an unchecked pointer. INVARIANT: `Program`'s image is written by the compiler
// alone and keeps every offset inside it (Program.swift); the program outlives the decision. Of each record it is checked
// once, when the decision begins, how many slots lie in it (`Source.limit`); a slot below that is read without another
// check. What slots lead to (strings, sets, addresses) is read through `RecordView`, which checks each read.

import CLinux
import Glibc
import Memory
import PolicyLanguage

extension Program {
    /// Decides one question.
    /// - Parameters:
    ///   - inputs: the question and the records it reads.
    ///   - scratch: memory to reuse; its groups and containers must be set when the cell needs them, and its `rules` name
    ///     the rules that decided afterwards.
    package func decide(_ inputs: DecisionInputs, _ scratch: inout DecisionScratch) -> Verdict {
        var inputs = inputs
        return decide(lent: &inputs, &scratch)
    }

    /// As `decide`, with inputs that are lent in their place and not changed: they are too large to copy for each question.
    package func decide(lent inputs: inout DecisionInputs, _ scratch: inout DecisionScratch) -> Verdict {
        scratch.rules.removeAll()
        scratch.requires.removeAll()
        scratch.obligations.removeAll()
        var evaluation = Evaluation(self, &inputs, &scratch)
        return evaluation.run(&inputs, &scratch)
    }

    /// Decides whether the subject may take a role; off the hot path.
    /// - Parameters:
    ///   - role: an index of `CheckedPolicies.roles`.
    ///   - duration: for how long, ms; nil is for as long as can be.
    ///   - inputs: subject, session and device; action and resource are not read.
    package func takes(
        _ role: Int, for duration: Int64?, _ inputs: DecisionInputs, _ scratch: inout DecisionScratch
    ) -> RoleVerdict {
        var inputs = inputs
        var evaluation = Evaluation(self, &inputs, &scratch)
        return evaluation.takes(role, for: duration, &inputs, &scratch)
    }
}

/// A value at hand: its payload and the record it lies in.
@safe
private struct Loaded {
    var payload: UInt64
    var record: RecordView
    var isPresent: Bool

    static var absent: Loaded { Loaded(payload: 0, record: .empty, isPresent: false) }
}

/// What can be said of a record before its slots are read.
private enum RecordState {
    case empty, damaged, inactive, good
}

/// What becomes of a rule that matches.
private enum Search {
    case forbid, require, permit, obligation
}

/// One decision under way.
///
/// INVARIANT: program and scratch outlive it: both are parameters of the call that makes it; the sources' and memos'
/// memory stays where it is meanwhile.
@safe
private struct Evaluation {
    private unowned(unsafe) let owner: Program
    private let image: UnsafePointer<UInt32>
    private let sources: UnsafeMutablePointer<Source>
    private let memos: UnsafeMutablePointer<UInt64>
    private let operands: Int
    private let now: Int64
    private var boundary = Int64.max
    private let subjectType: Int
    private let action: Int
    private let resourceType: Int
    private let stamp: UInt32
    private var isDamaged = false
    private var isPermitted = false
    private var matchedAny = false

    @inline(__always)
    init(_ program: Program, _ inputs: inout DecisionInputs, _ scratch: inout DecisionScratch) {
        scratch.memos.start(program.memoCount)
        scratch.groups.start()
        scratch.containers.start()
        unsafe owner = program
        unsafe image = program.image.base
        unsafe sources = scratch.sources.base
        unsafe memos = scratch.memos.base
        stamp = scratch.memos.stamp
        now = inputs.now
        subjectType = inputs.subjectType
        action = inputs.action
        resourceType = inputs.resourceType
        operands = Int(unsafe image[ImageLayout.operandsOffset])
    }

    @inline(__always)
    private func word(_ offset: Int) -> UInt32 { unsafe image[offset] }

    @inline(__always)
    private func word(_ offset: UInt32) -> UInt32 { unsafe image[Int(offset)] }

    /// Two words.
    @inline(__always)
    private func pair(_ offset: Int) -> UInt64 {
        unsafe UnsafeRawPointer(image).loadUnaligned(fromByteOffset: offset &* 4, as: UInt64.self)
    }

    @inline(__always)
    private func source(_ index: Int) -> Source { unsafe sources[index] }

    /// For what is rarely needed.
    private var program: Program { unsafe owner }

    // MARK: The order of a decision

    @inline(__always)
    mutating func run(_ inputs: inout DecisionInputs, _ scratch: inout DecisionScratch) -> Verdict {
        guard let cell = cell() else { return Verdict(kind: .error, cause: .actionNotDefined) }
        if let early = preliminaries(&inputs) { return early }
        let list = Int(word(Int(word(ImageLayout.cellsOffset)) &+ cell))
        if list == Int(ImageLayout.undefinedCell) { return Verdict(kind: .error, cause: .actionNotDefined) }
        if list == 0 { return finish(Verdict(kind: .notPermitted)) }
        let counts = word(list &+ 2)
        var branch = list &+ ImageLayout.listWords
        prefetchNode(branch &+ (Int(counts & 0xff) &+ Int((counts >> 8) & 0xff)) &* 2)
        prefetchNode(branch)
        if let bad = checkReads(list) { return bad }

        var end = branch &+ Int(counts & 0xff) &* 2
        while branch < end {
            if search(pair(branch), .forbid, &scratch) {
                return finish(Verdict(kind: .forbidden), list, 1, &scratch)
            }
            branch &+= 2
        }
        end = branch &+ Int((counts >> 8) & 0xff) &* 2
        while branch < end {
            _ = search(pair(branch), .require, &scratch)
            branch &+= 2
        }
        end = branch &+ Int((counts >> 16) & 0xff) &* 2
        while branch < end {
            if search(pair(branch), .permit, &scratch) { break }
            branch &+= 2
        }
        return conclude(list, &scratch)
    }

    /// Asks for the first lines of the node that a branch of a list leads to.
    @inline(__always)
    private func prefetchNode(_ branch: Int) {
        // A list ends with a branch that is never followed, so there always is one here. Where it leads to a rule, the
        // address is none of the image; a prefetch may name any.
        let node = unsafe UnsafeRawPointer(image) + Int(word(branch) & ~ImageLayout.demanding) &* 4
        unsafe stile_prefetch(node)
        unsafe stile_prefetch(node + 64)
    }

    /// The answer when no forbid matches.
    @inline(__always)
    private mutating func conclude(_ list: Int, _ scratch: inout DecisionScratch) -> Verdict {
        if isPermitted {
            for position in 0..<scratch.requires.count { scratch.rules.append(scratch.requires[position]) }
            return finish(Verdict(kind: .permitted), list, 0, &scratch)
        }
        if matchedAny, let best = scratch.best {
            scratch.rules.append(best.rule)
            for position in 0..<scratch.requires.count { scratch.rules.append(scratch.requires[position]) }
            var verdict = Verdict(kind: .stepUp)
            verdict.demand = best.demand
            verdict.level = best.level
            return finish(verdict, list, 2, &scratch)
        }
        return finish(Verdict(kind: .notPermitted, cause: matchedAny ? .stepUpUnreachable : .rules), list, 1, &scratch)
    }

    /// As `Program.cell`, on the image; nil when an index is out of range.
    @inline(__always)
    private func cell() -> Int? {
        let types = Int(word(ImageLayout.typeCount))
        let actions = Int(word(ImageLayout.actionCount))
        guard subjectType >= 0, subjectType < types, resourceType >= 0, resourceType < types, action >= 0,
            action < actions
        else { return nil }
        let ordinal = Int(word(Int(word(ImageLayout.typesOffset)) &+ subjectType) & ~ImageLayout.mustExist)
        return ordinal == 0 ? nil : ((ordinal &- 1) &* types &+ resourceType) &* actions &+ action
    }

    /// The duties that go with the answer: of permits (0), denials (1) or step-ups (2).
    @inline(__always)
    private mutating func finish(
        _ verdict: Verdict, _ list: Int, _ occasion: UInt32, _ scratch: inout DecisionScratch
    ) -> Verdict {
        let counts = word(list &+ 3)
        if counts != 0 { collectObligations(list, occasion, &scratch) }
        return finish(verdict)
    }

    private mutating func collectObligations(_ list: Int, _ occasion: UInt32, _ scratch: inout DecisionScratch) {
        var counts = UInt64(word(list &+ 2)) | UInt64(word(list &+ 3)) << 24
        var branch = list &+ ImageLayout.listWords
        for _ in 0..<occasion &+ 3 {
            branch &+= Int(counts & 0xff) &* 2
            counts >>= 8
        }
        for _ in 0..<counts & 0xff {
            _ = search(pair(branch), .obligation, &scratch)
            branch &+= 2
        }
        scratch.obligations.sort()
    }

    /// Notes where a record lies and how many of its slots lie in it.
    @inline(__always)
    private func place(_ index: Int, _ view: RecordView) -> RecordState {
        unsafe sources[index].count = view.count
        guard view.count >= RecordLayout.headerSize else {
            unsafe sources[index].limit = 0
            return view.count == 0 ? .empty : .damaged
        }
        let head = view.load64(0)
        let end = RecordLayout.headerSize &+ Int((head >> 16) & 0xffff) &* RecordLayout.slotSize
        unsafe sources[index].base = view.base.unsafelyUnwrapped
        unsafe sources[index].limit = min(end, view.count & ~15)
        if end > view.count || UInt8(truncatingIfNeeded: head) != RecordLayout.plain { return .damaged }
        return UInt8(truncatingIfNeeded: head >> 8) & RecordLayout.inactive != 0 ? .inactive : .good
    }

    /// Notes where an id lies.
    @inline(__always)
    private func placeIdentity(_ index: Int, _ view: RecordView) {
        unsafe sources[index].count = view.count
        if let base = unsafe view.base { unsafe sources[index].base = base }
    }

    /// What no policy can change: ended subjects and sessions, unknown subjects, damaged records.
    @inline(__always)
    private mutating func preliminaries(_ inputs: inout DecisionInputs) -> Verdict? {
        // The views of subject and resource come from anywhere in memory: all their lines are asked for at once.
        inputs.subject.prefetch()
        inputs.resource.prefetch()
        // What a question says need not be whole: its slots that lie in it count.
        _ = place(SourceIndex.subjectInQuestion, inputs.subjectInQuestion)
        _ = place(SourceIndex.resourceInQuestion, inputs.resourceInQuestion)
        _ = place(SourceIndex.actionInQuestion, inputs.actionInQuestion)
        _ = place(SourceIndex.context, inputs.context)
        placeIdentity(SourceIndex.subjectID, inputs.subjectID)
        placeIdentity(SourceIndex.resourceID, inputs.resourceID)
        let device = place(SourceIndex.device, inputs.device)
        let session = place(SourceIndex.session, inputs.session)
        let subject = place(SourceIndex.subject, inputs.subject)
        let resource = place(SourceIndex.resource, inputs.resource)
        switch subject {
        case .good: break
        case .empty:
            let type = word(Int(word(ImageLayout.typesOffset)) &+ subjectType)
            if type & ImageLayout.mustExist != 0 { return Verdict(kind: .error, cause: .unknownSubject) }
        case .damaged: return Verdict(kind: .error, cause: .recordDamaged)
        case .inactive: return Verdict(kind: .forbidden, cause: .subjectInactive)
        }
        if session != .empty {
            if session == .damaged { return Verdict(kind: .error, cause: .recordDamaged) }
            if session == .inactive { return Verdict(kind: .forbidden, cause: .sessionEnded) }
            if let end = sessionWord(ImageLayout.sessionEndsAt) {
                let end = Int64(bitPattern: end)
                if end <= now { return Verdict(kind: .forbidden, cause: .sessionEnded) }
                boundary = min(boundary, end)
            }
        }
        if device == .damaged || resource == .damaged { return Verdict(kind: .error, cause: .recordDamaged) }
        return nil
    }

    @inline(__always)
    private func finish(_ verdict: Verdict) -> Verdict {
        if isDamaged { return Verdict(kind: .error, cause: .recordDamaged) }
        var verdict = verdict
        verdict.validUntil = boundary
        return verdict
    }

    // MARK: What the question has to give

    @inline(__always)
    private mutating func checkReads(_ list: Int) -> Verdict? {
        let reads = Int(word(list))
        if reads != 0, let bad = check(reads) { return bad }
        let further = Int(word(list &+ 1))
        if further != 0 {
            for position in 0..<Int(word(further)) {
                if let bad = check(Int(word(further &+ 1 &+ position))) { return bad }
            }
        }
        return nil
    }

    @inline(__always)
    private mutating func check(_ reads: Int) -> Verdict? {
        var row = reads &+ 1
        let end = row &+ Int(word(reads)) &* ImageLayout.readWords
        while row < end {
            let operand = operands &+ Int(word(row)) &* ImageLayout.operandWords
            let head = word(operand)
            if head & 0xff == OperandKind.attribute.rawValue {
                let slot = Int(word(operand &+ 1))
                let places = word(operand &+ 6)
                // One that may be absent is an error only when it is given as something else.
                if isGiven(slot, places)
                    || (head >> 16) & OperandFlags.required == 0 && !isMalformed(slot, places)
                {
                    row &+= ImageLayout.readWords
                    continue
                }
            }
            if let bad = checkSlowly(row) { return bad }
            row &+= ImageLayout.readWords
        }
        return nil
    }

    /// Whether a live stored value or the question gives the attribute.
    @inline(__always)
    private mutating func isGiven(_ slot: Int, _ places: UInt32) -> Bool {
        let stored = source(Int(places & 0xff))
        if slot < stored.limit {
            let validUntil = stored.validUntil(slot)
            if validUntil > now {
                // When it ends, the question may lack the attribute: that is a change by time too.
                if validUntil < boundary { boundary = validUntil }
                return true
            }
        }
        let given = source(Int(places >> 8))
        return slot < given.limit && given.validUntil(slot) > now
    }

    /// Whether the question gives something else in place of the attribute.
    @inline(__always)
    private func isMalformed(_ slot: Int, _ places: UInt32) -> Bool {
        let given = source(Int(places >> 8))
        return slot < given.limit && given.validUntil(slot) == RecordLayout.malformed
    }

    private mutating func checkSlowly(_ row: Int) -> Verdict? {
        guard isMember(word(row &+ 1), action), isMember(word(row &+ 2), resourceType) else { return nil }
        return checkSlowly(operand: Int(word(row)))
    }

    private mutating func checkSlowly(operand: Int) -> Verdict? {
        let place = place(operand)
        if isGiven(place.slot, place.sources) { return nil }
        var verdict = Verdict(kind: .error)
        verdict.attribute = operand
        if isMalformed(place.slot, place.sources) {
            verdict.cause = .attributeMalformed
            return verdict
        }
        if place.flags & OperandFlags.required != 0 {
            verdict.cause = .attributeMissing
            return verdict
        }
        return nil
    }

    /// True when a set of the image holds an index; set 0 holds all.
    @inline(__always)
    private func isMember(_ set: UInt32, _ index: Int) -> Bool {
        set == 0 || word(Int(set) &+ index / 32) & (1 << UInt32(index % 32)) != 0
    }

    // MARK: Rules that match

    /// Tries a rule.
    /// - Returns: true when nothing more is to be tried.
    @inline(__always)
    private mutating func visit(
        _ rule: UInt32, _ entry: UInt32, _ search: Search, _ scratch: inout DecisionScratch
    ) -> Bool {
        holds(entry, &scratch) && take(rule, search, &scratch)
    }

    /// A rule that matches.
    /// - Returns: true when nothing more is to be tried.
    @inline(__always)
    private mutating func take(_ rule: UInt32, _ search: Search, _ scratch: inout DecisionScratch) -> Bool {
        switch search {
        case .forbid:
            scratch.rules.append(rule)
            return true
        case .require:
            if !scratch.requires.contains(rule) {
                let demand = demand(rule)
                scratch.joined = scratch.requires.isEmpty ? demand : scratch.joined.joined(with: demand)
                scratch.requires.append(rule)
            }
            return false
        case .permit:
            if rule & ImageLayout.demanding != 0 || !scratch.requires.isEmpty { return permit(rule, &scratch) }
            isPermitted = true
            scratch.rules.append(rule)
            return true
        case .obligation:
            let number = rule &- word(ImageLayout.ruleCount)
            if !scratch.obligations.contains(number) { scratch.obligations.append(number) }
            return false
        }
    }

    /// A permit that matches, when something is demanded.
    private mutating func permit(_ marked: UInt32, _ scratch: inout DecisionScratch) -> Bool {
        let rule = marked & ~ImageLayout.demanding
        if !matchedAny { scratch.best = nil }
        matchedAny = true
        let demand = scratch.requires.isEmpty ? demand(rule) : demand(rule).joined(with: scratch.joined)
        if isMet(demand) {
            isPermitted = true
            scratch.rules.append(rule)
            return true
        }
        if let level = reachableLevel(demand), isLess(rule, demand, level, than: scratch.best) {
            scratch.best = StepUp(rule: rule, demand: demand, level: level)
        }
        return false
    }

    mutating func takes(
        _ role: Int, for duration: Int64?, _ inputs: inout DecisionInputs, _ scratch: inout DecisionScratch
    ) -> RoleVerdict {
        if inputs.subject.isEmpty { return RoleVerdict(Verdict(kind: .error, cause: .unknownSubject)) }
        if let early = preliminaries(&inputs) { return RoleVerdict(early) }
        let policies = program.policies
        let offers = policies.offers.indices.filter {
            policies.offers[$0].role == role && policies.offers[$0].subjectTypes.contains(subjectType)
        }
        for operand in offers.flatMap({ program.offerReads[$0] }) {
            if let bad = checkSlowly(operand: Int(operand)) {
                return RoleVerdict(bad, attribute: program.operandNames[Int(operand)])
            }
        }
        var found = RoleVerdict(Verdict(kind: .notPermitted))
        var isEnough = false
        var best: StepUp?
        for offer in offers where holds(program.offerEntries[offer], &scratch) {
            let (atMost, name) = (policies.offers[offer].atMost, policies.offers[offer].name)
            found.atMost = max(found.atMost, atMost)
            if let duration, duration > atMost { continue }
            isEnough = true
            let demand = policies.offers[offer].demand ?? .nothing
            if isMet(demand) {
                let isBetter =
                    found.verdict.kind != .permitted || atMost > policies.offers[found.offer].atMost
                    || atMost == policies.offers[found.offer].atMost && name < policies.offers[found.offer].name
                if isBetter { found.offer = offer }
                found.verdict.kind = .permitted
            } else if found.verdict.kind != .permitted, let level = reachableLevel(demand) {
                let isLess =
                    best.map { known in
                        (level, -demand.within, name)
                            < (known.level, -known.demand.within, policies.offers[Int(known.rule)].name)
                    } ?? true
                if isLess { best = StepUp(rule: UInt32(offer), demand: demand, level: level) }
            }
        }
        if found.verdict.kind != .permitted, let best {
            found.verdict.kind = .stepUp
            found.offer = Int(best.rule)
            found.verdict.demand = best.demand
            found.verdict.level = best.level
        } else if found.verdict.kind != .permitted, isEnough {
            found.verdict.cause = .stepUpUnreachable
        }
        found.verdict = finish(found.verdict)
        return found
    }

    private func demand(_ rule: UInt32) -> Demand {
        let offset = Int(word(Int(word(ImageLayout.rulesOffset)) &+ Int(rule)))
        return Demand(
            levels: pair(offset), within: Int64(bitPattern: pair(offset &+ 2)), methods: word(offset &+ 4))
    }

    private mutating func isMet(_ demand: Demand) -> Bool {
        if demand == .nothing { return true }
        let levels = sessionWord(ImageLayout.sessionLevels) ?? 0
        let methods = UInt32(truncatingIfNeeded: sessionWord(ImageLayout.sessionMethods) ?? 0)
        if demand.levels & ~levels != 0 || demand.methods & ~methods != 0 { return false }
        if demand.within == .max { return true }
        guard let instant = sessionWord(ImageLayout.sessionAuthenticatedAt) else { return false }
        let since = Int64(bitPattern: instant)
        let (age, overflowed) = now.subtractingReportingOverflow(since)
        if overflowed || age > demand.within { return false }
        let (last, passed) = since.addingReportingOverflow(demand.within)
        if !passed, last < .max { boundary = min(boundary, last &+ 1) }
        return true
    }

    /// A slot of the session that the header names.
    @inline(__always)
    private func sessionWord(_ name: Int) -> UInt64? {
        let session = source(SourceIndex.session)
        let slot = RecordLayout.headerSize &+ Int(word(name)) &* RecordLayout.slotSize
        guard slot < session.limit, session.validUntil(slot) == RecordLayout.forever else { return nil }
        return session.payload(slot)
    }

    /// The least level that a provider can bring about and that proves the demand; -1 when none is asked for; nil
    /// when there is none.
    private func reachableLevel(_ demand: Demand) -> Int? {
        if demand.levels == 0 { return -1 }
        let assurance = program.policies.catalog.assurance
        for level in assurance.levels.indices where assurance.reachable & (1 << UInt64(level)) != 0 {
            if demand.levels & ~assurance.implied[level] == 0 { return level }
        }
        return nil
    }

    private func isLess(
        _ rule: UInt32, _ demand: Demand, _ level: Int, than best: StepUp?
    ) -> Bool {
        guard let best else { return true }
        if level != best.level { return level < best.level }
        if demand.within != best.demand.within { return demand.within > best.demand.within }
        return program.nameRanks[Int(rule)] < program.nameRanks[Int(best.rule)]
    }

    // MARK: The index

    /// Tries the rules that can match, until one ends the search. A rule may be tried more than once.
    private mutating func search(_ root: UInt64, _ kind: Search, _ scratch: inout DecisionScratch) -> Bool {
        var branch = root
        while true {
            let low = UInt32(truncatingIfNeeded: branch)
            let entry = UInt32(truncatingIfNeeded: branch >> 32)
            if entry != 0 { return visit(low, entry, kind, &scratch) }
            let node = Int(low)
            if node == 0 { return false }
            let head = word(node)
            let child: UInt64
            switch nodeKind(head) {
            case .denseWords: child = loadWord(Int(word(node &+ 1))).map { dense(node, $0) } ?? 0
            case .denseTexts: child = dense(node, UInt64(textID(Int(word(node &+ 1)))))
            case .rankedWords: child = loadWord(Int(word(node &+ 1))).map { ranked(node, $0) } ?? 0
            case .rankedTexts: child = ranked(node, UInt64(textID(Int(word(node &+ 1)))))
            case .hashedWords: child = loadWord(Int(word(node &+ 1))).map { hashed(node, $0) } ?? 0
            case .hashedTexts: child = hashed(node, UInt64(textID(Int(word(node &+ 1)))))
            case .leaf:
                var place = node &+ 2
                let end = place &+ Int(head >> 8) &* 2
                while place < end {
                    if visit(word(place), word(place &+ 1), kind, &scratch) { return true }
                    place &+= 2
                }
                return false
            case .rankedGroups, .hashedGroups:
                if searchGroups(node, kind, &scratch) { return true }
                child = 0
            case .rankedContainers, .hashedContainers:
                if searchContainers(node, kind, &scratch) { return true }
                child = 0
            case .bitmaps: return searchBitmaps(node, kind, &scratch)
            case .sets:
                if searchSets(node, kind, &scratch) { return true }
                child = 0
            }
            let also = pair(node &+ 6)
            if also == 0 {
                branch = child
            } else {
                // A single rule is tried at once; only where two nodes follow does the search divide.
                if child >> 32 != 0 {
                    if visit(UInt32(truncatingIfNeeded: child), UInt32(truncatingIfNeeded: child >> 32), kind, &scratch)
                    {
                        return true
                    }
                } else if child != 0, search(child, kind, &scratch) {
                    return true
                }
                branch = also
            }
        }
    }

    // The compiler writes no other kinds than there are cases, in the order of the cases.

    @inline(__always)
    private func nodeKind(_ head: UInt32) -> NodeKind { unsafe unsafeBitCast(UInt8(head & 0xff), to: NodeKind.self) }

    @inline(__always)
    private func operandKind(_ head: UInt32) -> OperandKind {
        unsafe unsafeBitCast(UInt8(head & 0xff), to: OperandKind.self)
    }

    @inline(__always)
    private func operation(_ head: UInt32) -> Operation {
        unsafe unsafeBitCast(UInt8(head & 0xff), to: Operation.self)
    }

    @inline(__always)
    private func dense(_ node: Int, _ value: UInt64) -> UInt64 {
        let place = value &- pair(node &+ 4)
        return place < UInt64(word(node &+ 2))
            ? pair(node &+ ImageLayout.nodeWords &+ Int(truncatingIfNeeded: place) &* 2) : 0
    }

    @inline(__always)
    private func ranked(_ node: Int, _ value: UInt64) -> UInt64 {
        let place = value &- pair(node &+ 4)
        if place >= UInt64(word(node &+ 2)) { return 0 }
        let row = node &+ ImageLayout.nodeWords &+ Int(truncatingIfNeeded: place >> 6) &* 4
        let bits = pair(row)
        let bit = UInt64(1) &<< place
        if bits & bit == 0 { return 0 }
        return pair(Int(word(row &+ 2)) &+ (bits & (bit &- 1)).nonzeroBitCount &* 2)
    }

    @inline(__always)
    private func hashed(_ node: Int, _ value: UInt64) -> UInt64 {
        let mask = word(node &+ 2)
        var slot = IndexHash.slot(value, mask)
        while true {
            let entry = node &+ ImageLayout.nodeWords &+ Int(slot) &* 4
            let branch = pair(entry &+ 2)
            if branch == 0 || pair(entry) == value { return branch }
            slot = (slot &+ 1) & mask
        }
    }

    /// Tries the sets of a node (IndexSets.swift), one after the other.
    private mutating func searchSets(_ node: Int, _ kind: Search, _ scratch: inout DecisionScratch) -> Bool {
        var set = node &+ ImageLayout.nodeWords
        let end = set &+ Int(word(node &+ 1)) &* ImageLayout.setWords
        while set < end {
            let head = word(set)
            let rows = word(set &+ 2)
            // What the question and a row of the set have in common.
            var row = 0
            var bits: UInt64 = 0
            var shared: UInt64 = 0
            switch setKind(head) {
            case .groups:
                findGroups(&scratch)
                bits = pair(set &+ 6)
                shared = rows == 1 ? bits & scratch.groups.row(Int(word(set &+ 4) >> 6)) : overlap(set, scratch.groups)
            case .containers:
                findContainers(&scratch)
                bits = pair(set &+ 6)
                shared =
                    rows == 1
                    ? bits & scratch.containers.row(Int(word(set &+ 4) >> 6)) : overlap(set, scratch.containers)
            case .texts, .words:
                let operand = Int(head >> 8)
                let value = setKind(head) == .texts ? UInt64(textID(operand)) : loadWord(operand)
                guard let value else { break }
                let place = value &- pair(set &+ 4)
                if place >> 6 >= UInt64(rows) { break }
                row = Int(truncatingIfNeeded: place >> 6)
                bits = pair(rows == 1 ? set &+ 6 : Int(word(set &+ 6)) &+ row &* 2)
                shared = bits & (1 &<< (place & 63))
            }
            // What all of the set ask is asked once, and only then looked for who asked.
            if shared != 0, holdsSoon(word(set &+ 1), &scratch) {
                let isOfOneRow = rows == 1 || setKind(head) == .texts || setKind(head) == .words
                if isOfOneRow
                    ? takeRow(set, row, bits, shared, kind, &scratch) : takeRows(set, kind, &scratch)
                {
                    return true
                }
            }
            set &+= ImageLayout.setWords
        }
        return false
    }

    @inline(__always)
    private func setKind(_ head: UInt32) -> SetKind { unsafe unsafeBitCast(UInt8(head & 0xff), to: SetKind.self) }

    /// As `holds`, without a call for what most sets ask: one comparison.
    @inline(__always)
    private mutating func holdsSoon(_ entry: UInt32, _ scratch: inout DecisionScratch) -> Bool {
        if entry >= ImageLayout.reject { return entry == ImageLayout.accept }
        let offset = Int(entry)
        let head = word(offset)
        let isTrue: Bool
        switch operation(head) {
        case .compareWords:
            let first = loadWord(Int(word(offset &+ 1)))
            let second = loadWord(Int(word(offset &+ 4)))
            guard let first, let second else {
                isTrue = false
                break
            }
            isTrue = compareNumbers(Int64(bitPattern: first), Int64(bitPattern: second), head >> 16)
        case .compareTexts: isTrue = compareTexts(offset)
        default: return holds(entry, &scratch)
        }
        let next = word(isTrue ? offset &+ 2 : offset &+ 3)
        return next >= ImageLayout.reject ? next == ImageLayout.accept : holds(next, &scratch)
    }

    /// Takes the rules of a row that the question has in common with a set.
    @inline(__always)
    private mutating func takeRow(
        _ set: Int, _ row: Int, _ bits: UInt64, _ shared: UInt64, _ kind: Search, _ scratch: inout DecisionScratch
    ) -> Bool {
        let rules = Int(word(Int(word(set &+ 3)) &+ row))
        var left = shared
        while left != 0 {
            let next = left & (left &- 1)
            let before = bits & ((left ^ next) &- 1)
            if take(word(rules &+ before.nonzeroBitCount), kind, &scratch) { return true }
            left = next
        }
        return false
    }

    /// Not 0 when one of those that hold is in a set of several rows.
    @inline(__always)
    private func overlap(_ set: Int, _ named: borrowing NamedMemberships) -> UInt64 {
        let rows = Int(word(set &+ 2))
        if rows > 8 { return overlapOfMany(set, named) }
        let first = Int(word(set &+ 4) >> 6)
        let offset = Int(word(set &+ 6))
        var shared: UInt64 = 0
        // Without a branch that could go either way.
        for row in 0..<rows { shared |= pair(offset &+ row &* 2) & named.row(first &+ row) }
        return shared
    }

    private func overlapOfMany(_ set: Int, _ named: borrowing NamedMemberships) -> UInt64 {
        for position in 0..<named.list.count where self.bits(set, named.list[position]).shared != 0 { return 1 }
        return 0
    }

    /// The row of a set of several in which one of the named would be, and its bit if it is there.
    @inline(__always)
    private func bits(_ set: Int, _ named: UInt32) -> (row: Int, bits: UInt64, shared: UInt64) {
        let place = named &- word(set &+ 4)
        let row = Int(place >> 6)
        if row >= Int(word(set &+ 2)) { return (0, 0, 0) }
        let bits = pair(Int(word(set &+ 6)) &+ row &* 2)
        return (row, bits, bits & (1 &<< UInt64(place & 63)))
    }

    /// Takes the rules of those that hold and are in a set of several rows.
    private mutating func takeRows(_ set: Int, _ kind: Search, _ scratch: inout DecisionScratch) -> Bool {
        let isOfGroups = setKind(word(set)) == .groups
        for position in 0..<(isOfGroups ? scratch.groups.list.count : scratch.containers.list.count) {
            let found = bits(set, isOfGroups ? scratch.groups.list[position] : scratch.containers.list[position])
            if found.shared != 0, takeRow(set, found.row, found.bits, found.shared, kind, &scratch) { return true }
        }
        return false
    }

    @inline(__always)
    private mutating func findGroups(_ scratch: inout DecisionScratch) {
        if scratch.groups.isKnown { return }
        scratch.groups.find(source(SourceIndex.subject).view.memberships)
        if hasGrants { noteGrants(&scratch) }
    }

    @inline(__always)
    private func findContainers(_ scratch: inout DecisionScratch) {
        if !scratch.containers.isKnown { scratch.containers.find(source(SourceIndex.resource).view.memberships) }
    }

    private mutating func searchGroups(_ node: Int, _ kind: Search, _ scratch: inout DecisionScratch) -> Bool {
        findGroups(&scratch)
        for position in 0..<scratch.groups.list.count {
            let child = child(of: node, scratch.groups.list[position])
            if child != 0, search(child, kind, &scratch) { return true }
        }
        return false
    }

    private mutating func searchContainers(_ node: Int, _ kind: Search, _ scratch: inout DecisionScratch) -> Bool {
        findContainers(&scratch)
        for position in 0..<scratch.containers.list.count {
            let child = child(of: node, scratch.containers.list[position])
            if child != 0, search(child, kind, &scratch) { return true }
        }
        return false
    }

    @inline(__always)
    private func child(of node: Int, _ named: UInt32) -> UInt64 {
        switch nodeKind(word(node)) {
        case .rankedGroups, .rankedContainers: ranked(node, UInt64(named))
        default: hashed(node, UInt64(named))
        }
    }

    /// Rules that the row of each of four operands has in common.
    private mutating func searchBitmaps(_ node: Int, _ kind: Search, _ scratch: inout DecisionScratch) -> Bool {
        let words = Int(word(node &+ 1))
        let list = Int(word(node &+ 4))
        let first = row(node &+ 8, words)
        let second = row(node &+ 12, words)
        let third = row(node &+ 16, words)
        let fourth = row(node &+ 20, words)
        for index in 0..<words {
            let place = index &* 2
            var bits = pair(first &+ place) & pair(second &+ place) & pair(third &+ place) & pair(fourth &+ place)
            while bits != 0 {
                let branch = list &+ (index &* 64 &+ bits.trailingZeroBitCount) &* 2
                if visit(word(branch), word(branch &+ 1), kind, &scratch) { return true }
                bits &= bits &- 1
            }
        }
        return false
    }

    /// Where the row for the value of a dimension's operand begins.
    private mutating func row(_ dimension: Int, _ words: Int) -> Int {
        let count = Int(word(dimension &+ 1))
        let cuts = Int(word(dimension &+ 2))
        let rows = Int(word(dimension &+ 3))
        guard let payload = loadWord(Int(word(dimension))) else { return rows &+ (count &+ 1) &* words &* 2 }
        let value = Int64(bitPattern: payload)
        var low = 0
        var length = count
        while length > 0 {
            let half = length >> 1
            let isBehind = Int64(bitPattern: pair(cuts &+ (low &+ half) &* 2)) <= value
            low = isBehind ? low &+ half &+ 1 : low
            length = isBehind ? length &- half &- 1 : half
        }
        return rows &+ low &* words &* 2
    }

    // MARK: Conditions

    private mutating func holds(_ entry: UInt32, _ scratch: inout DecisionScratch) -> Bool {
        var next = entry
        while next < ImageLayout.reject {
            let offset = Int(next)
            next = test(offset, &scratch) ? word(offset &+ 2) : word(offset &+ 3)
        }
        return next == ImageLayout.accept
    }

    @inline(__always)
    private mutating func test(_ offset: Int, _ scratch: inout DecisionScratch) -> Bool {
        let head = word(offset)
        let left = Int(word(offset &+ 1))
        switch operation(head) {
        case .compareWord:
            guard let value = loadWord(left) else { return false }
            return compareNumbers(Int64(bitPattern: value), Int64(bitPattern: pair(offset &+ 4)), head >> 16)
        case .compareWords:
            guard let first = loadWord(left), let second = loadWord(Int(word(offset &+ 4))) else { return false }
            return compareNumbers(Int64(bitPattern: first), Int64(bitPattern: second), head >> 16)
        case .compareText:
            let id = textID(left)
            if head >> 16 == Comparison.equal.orders { return id == word(offset &+ 4) }
            return id != word(offset &+ 4) && id != TextID.absent
        case .group:
            if scratch.groups.isKnown { return scratch.groups.contains(UInt32(left)) }
            return scratch.groups.table.holds(left, source(SourceIndex.subject).view.memberships)
        case .container:
            if scratch.containers.isKnown { return scratch.containers.contains(UInt32(left)) }
            return scratch.containers.table.holds(left, source(SourceIndex.resource).view.memberships)
        case .compareTexts: return compareTexts(offset)
        case .role: return role(left, &scratch)
        default: return testSlowly(offset)
        }
    }

    private mutating func testSlowly(_ offset: Int) -> Bool {
        let head = word(offset)
        let left = Int(word(offset &+ 1))
        let right = Int(word(offset &+ 4))
        let valueClass = (head >> 8) & 0xff
        switch operation(head) {
        case .compare: return compare(left, right, valueClass, head >> 16)
        case .compareTime: return compareTime(left, right, head >> 16)
        case .contains: return contains(left, right, valueClass)
        case .intersects: return overlap(left, right, valueClass, all: false)
        case .subset: return overlap(left, right, valueClass, all: true)
        case .like: return like(left, right)
        case .inNetworks: return inNetworks(left, right)
        case .schedule: return isInSchedule(left)
        case .has: return load(left).isPresent
        case .actionIn: return isMember(UInt32(left), action)
        case .resourceTypeIn: return isMember(UInt32(left), resourceType)
        case .granted: return isGranted(UInt32(right))
        case .compareWord, .compareWords, .compareText, .compareTexts, .group, .container, .role: return damaged()
        }
    }

    /// Whether the subject has taken the role whose name has this id, for longer than until now.
    @inline(never)
    private mutating func isGranted(_ name: UInt32) -> Bool {
        var isGranted = false
        for position in 0..<grantCount where nameOfGrant(position) == name { isGranted = true }
        return isGranted
    }

    /// True when the subject has taken a role, if only one whose time has ended.
    @inline(__always)
    private var hasGrants: Bool {
        let subject = source(SourceIndex.subject)
        return subject.limit != 0 && subject.grantCount != 0
    }

    /// How many roles the subject has taken, those whose time has ended included.
    private var grantCount: Int {
        let subject = source(SourceIndex.subject)
        return subject.limit == 0 ? 0 : min(Int(subject.grantCount), subject.limit >> 4)
    }

    /// The id of the name of a role that the subject has taken, and not only until now; its end is an end of the answer.
    @inline(never)
    private mutating func nameOfGrant(_ position: Int) -> UInt32 {
        let subject = source(SourceIndex.subject)
        let slot = subject.limit &- (position &+ 1) &* RecordLayout.slotSize
        if slot < RecordLayout.headerSize { return TextID.absent }
        let until = subject.validUntil(slot)
        if until <= now { return TextID.absent }
        guard let text = subject.view.string(subject.payload(slot)) else {
            isDamaged = true
            return TextID.absent
        }
        let name = id(of: text)
        if name != TextID.other { boundary = min(boundary, until) }
        return name
    }

    /// Notes the roles that the subject has taken beside its groups, where an index looks for both.
    @inline(never)
    private mutating func noteGrants(_ scratch: inout DecisionScratch) {
        let names = Int(word(ImageLayout.takeableOffset))
        let first = word(names)
        let count = word(names &+ 1)
        for position in 0..<grantCount {
            let name = nameOfGrant(position)
            if name >= TextID.absent { continue }
            for index in 0..<count where word(names &+ 2 &+ Int(index)) == name { scratch.groups.note(first &+ index) }
        }
    }

    private mutating func role(_ index: Int, _ scratch: inout DecisionScratch) -> Bool {
        let memo = unsafe memos[index]
        if UInt32(truncatingIfNeeded: memo >> 32) == stamp { return memo & 1 == 1 }
        let value = holds(word(Int(word(ImageLayout.rolesOffset)) &+ index), &scratch)
        unsafe memos[index] = UInt64(stamp) << 32 | (value ? 1 : 0)
        return value
    }

    /// Whether two values of the question are the same text: asked by many rules, compared once.
    @inline(__always)
    private mutating func compareTexts(_ offset: Int) -> Bool {
        let place = Int(word(offset &+ 5))
        let memo = unsafe memos[place]
        let same: UInt64
        if UInt32(truncatingIfNeeded: memo >> 32) == stamp {
            same = memo
        } else {
            same = findSame(Int(word(offset &+ 1)), Int(word(offset &+ 4)))
            unsafe memos[place] = UInt64(stamp) << 32 | same
        }
        // 0 for different, 1 for the same, 2 where one is absent: neither equal nor unequal.
        let wanted: UInt64 = word(offset) >> 16 == Comparison.equal.orders ? 1 : 0
        return same & 3 == wanted
    }

    private mutating func findSame(_ left: Int, _ right: Int) -> UInt64 {
        let first = loadText(left)
        let second = loadText(right)
        guard first.isPresent, second.isPresent else { return 2 }
        guard let one = first.record.string(first.payload), let two = second.record.string(second.payload) else {
            isDamaged = true
            return 2
        }
        return one.equals(two) ? 1 : 0
    }

    /// The id of an operand's text among those that the policies compare with.
    @inline(__always)
    private mutating func textID(_ operand: Int) -> UInt32 {
        let place = Int(word(operands &+ operand &* ImageLayout.operandWords &+ 7))
        let memo = unsafe memos[place]
        if UInt32(truncatingIfNeeded: memo >> 32) == stamp { return UInt32(truncatingIfNeeded: memo) }
        let id = findText(operand)
        unsafe memos[place] = UInt64(stamp) << 32 | UInt64(id)
        return id
    }

    private mutating func findText(_ operand: Int) -> UInt32 {
        let loaded = loadText(operand)
        if !loaded.isPresent { return TextID.absent }
        guard let text = loaded.record.string(loaded.payload) else {
            isDamaged = true
            return TextID.absent
        }
        return id(of: text)
    }

    /// The id of a text among those that the policies compare with.
    @inline(__always)
    private func id(of text: RecordString) -> UInt32 {
        let table = Int(word(ImageLayout.textsOffset))
        let mask = word(ImageLayout.textsMask)
        var slot = IndexHash.slot(text.hash, mask)
        while true {
            let entry = pair(table &+ Int(slot) &* 2)
            let place = Int(entry >> 32)
            if place == 0 { return TextID.other }
            if UInt32(truncatingIfNeeded: entry) == UInt32(truncatingIfNeeded: text.hash),
                pair(place &+ 2) == text.hash,
                unsafe Int(word(place &+ 1)) == text.bytes.count,
                unsafe Bytes.areEqual(
                    UnsafeRawPointer(image + place + ImageLayout.textWords), text.bytes.baseAddress, text.bytes.count)
            {
                return word(place)
            }
            slot = (slot &+ 1) & mask
        }
    }

    private mutating func compareTime(_ left: Int, _ right: Int, _ comparison: UInt32) -> Bool {
        guard let first = loadWord(left), let second = loadWord(right) else { return false }
        if isNow(left) { noteTime(Int64(bitPattern: second)) }
        if isNow(right) { noteTime(Int64(bitPattern: first)) }
        return compareNumbers(Int64(bitPattern: first), Int64(bitPattern: second), comparison)
    }

    /// Whether two numbers stand in one of these orders (`Comparison.orders`): without a branch that could go either way.
    @inline(__always)
    private func compareNumbers(_ first: Int64, _ second: Int64, _ orders: UInt32) -> Bool {
        let order = UInt32(first >= second ? 1 : 0) &+ UInt32(first > second ? 1 : 0)
        return (orders &>> order) & 1 != 0
    }

    private mutating func compare(_ left: Int, _ right: Int, _ valueClass: UInt32, _ comparison: UInt32) -> Bool {
        let first = loadText(left)
        let second = loadText(right)
        guard first.isPresent, second.isPresent else { return false }
        let order: Int
        if valueClass == ValueClass.string.rawValue {
            guard let one = first.record.string(first.payload), let two = second.record.string(second.payload) else {
                isDamaged = true
                return false
            }
            if comparison == Comparison.equal.orders { return one.equals(two) }
            if comparison == Comparison.notEqual.orders { return !one.equals(two) }
            order = one.compareBytes(two)
        } else {
            guard let one = first.record.address(first.payload), let two = second.record.address(second.payload) else {
                isDamaged = true
                return false
            }
            order = one < two ? -1 : (one == two ? 0 : 1)
        }
        return compareNumbers(Int64(order), 0, comparison)
    }

    @inline(__always)
    private func isNow(_ operand: Int) -> Bool {
        word(operands &+ operand &* ImageLayout.operandWords) & 0xff == OperandKind.now.rawValue
    }

    /// A comparison of `now` with an instant was made: it can change when the instant comes, and just after.
    private mutating func noteTime(_ instant: Int64) {
        if instant > now {
            boundary = min(boundary, instant)
        } else if instant == now {
            boundary = min(boundary, now &+ 1)
        }
    }

    private mutating func contains(_ set: Int, _ element: Int, _ valueClass: UInt32) -> Bool {
        let group = load(set)
        let item = load(element)
        guard group.isPresent, item.isPresent else { return false }
        return holds(group, item.payload, item.record, valueClass)
    }

    /// True when the set holds the value. Words are found by halving, strings by hash first.
    private mutating func holds(_ set: Loaded, _ payload: UInt64, _ record: RecordView, _ valueClass: UInt32) -> Bool {
        let count = set.record.setCount(set.payload)
        if valueClass == ValueClass.word.rawValue {
            var low = 0
            var high = count
            while low < high {
                let middle = (low &+ high) >> 1
                guard let element = set.record.setElement(set.payload, middle) else { return damaged() }
                if element == payload { return true }
                if element < payload { low = middle &+ 1 } else { high = middle }
            }
            return false
        }
        if valueClass == ValueClass.string.rawValue {
            guard let text = record.string(payload) else { return damaged() }
            var low = 0
            var high = count
            while low < high {
                let middle = (low &+ high) >> 1
                guard let element = set.record.setElement(set.payload, middle),
                    let other = set.record.string(element)
                else { return damaged() }
                if other.hash < text.hash { low = middle &+ 1 } else { high = middle }
            }
            while low < count {
                guard let element = set.record.setElement(set.payload, low), let other = set.record.string(element)
                else { return damaged() }
                if other.hash != text.hash { return false }
                if other.equals(text) { return true }
                low &+= 1
            }
            return false
        }
        guard let address = record.address(payload) else { return damaged() }
        for position in 0..<count {
            guard let element = set.record.setElement(set.payload, position), let other = set.record.address(element)
            else { return damaged() }
            if other == address { return true }
        }
        return false
    }

    private mutating func damaged() -> Bool {
        isDamaged = true
        return false
    }

    private mutating func overlap(_ left: Int, _ right: Int, _ valueClass: UInt32, all: Bool) -> Bool {
        let first = load(left)
        let second = load(right)
        guard first.isPresent, second.isPresent else { return false }
        for position in 0..<first.record.setCount(first.payload) {
            guard let element = first.record.setElement(first.payload, position) else { return damaged() }
            let isShared = holds(second, element, first.record, valueClass)
            if all && !isShared { return false }
            if !all && isShared { return true }
        }
        return all
    }

    private mutating func like(_ operand: Int, _ pattern: Int) -> Bool {
        let loaded = load(operand)
        guard loaded.isPresent else { return false }
        guard let text = loaded.record.string(loaded.payload) else { return damaged() }
        let count = Int(word(pattern))
        return unsafe Glob.matches(text.bytes, parts: count) { position in
            let part = load(Int(word(pattern &+ 1 &+ position)))
            return part.record.string(part.payload)
        }
    }

    private mutating func inNetworks(_ operand: Int, _ networks: Int) -> Bool {
        let loaded = load(operand)
        guard loaded.isPresent else { return false }
        guard let address = loaded.record.address(loaded.payload) else { return damaged() }
        let count = Int(word(networks))
        for position in 0..<count {
            let offset = networks &+ 1 &+ position &* 8
            if address.high & pair(offset &+ 4) == pair(offset), address.low & pair(offset &+ 6) == pair(offset &+ 2) {
                return true
            }
        }
        return false
    }

    /// Whether `now` is in a schedule's window; notes when that changes. The same as `Schedule.state(at:)`, on the image.
    private mutating func isInSchedule(_ offset: Int) -> Bool {
        let spans = offset &+ 2
        var low = 0
        var high = Int(word(offset)) &- 1
        while low < high {
            let middle = (low &+ high &+ 1) >> 1
            if Int64(bitPattern: pair(spans &+ middle &* 3)) <= now { low = middle } else { high = middle &- 1 }
        }
        let count = Int(word(offset))
        var end = Int64.max
        if low &+ 1 < count { end = Int64(bitPattern: pair(spans &+ (low &+ 1) &* 3)) }
        let east = Int64(Int32(bitPattern: word(spans &+ low &* 3 &+ 2))) &* 1000
        let week = ScheduleTime.week
        let position = ScheduleTime.position(of: now, east: east)
        var isInside = false
        var edge = Int64.max
        let windows = spans &+ count &* 3
        let windowCount = Int(word(offset &+ 1))
        for index in 0..<windowCount {
            let start = Int64(word(windows &+ index &* 2)) &* 60_000
            let stop = Int64(word(windows &+ index &* 2 &+ 1)) &* 60_000
            if position >= start && position < stop { isInside = true }
            // A window that fills the week has no edge.
            if start == 0 && stop == week { continue }
            if start > position { edge = min(edge, start) }
            if stop > position { edge = min(edge, stop) }
            edge = min(edge, start &+ week)
        }
        // Where the clock stands matters only to a window with an edge.
        if edge != .max { boundary = min(boundary, min(end, now &+ (edge &- position))) }
        return isInside
    }

    // MARK: Values

    /// Where an attribute lies for the types at hand: the operand itself, or its row for the type.
    private func place(_ operand: Int) -> (slot: Int, flags: UInt32, constant: Int, sources: UInt32) {
        let offset = operands &+ operand &* ImageLayout.operandWords
        let head = word(offset)
        let kind = head & 0xff
        if kind != OperandKind.attributeByType.rawValue && kind != OperandKind.countByType.rawValue {
            return (Int(word(offset &+ 1)), head >> 16, offset &+ 2, word(offset &+ 6))
        }
        let owner: Int
        switch AttributeScope(rawValue: UInt8(truncatingIfNeeded: head >> 8)) {
        case .subject: owner = subjectType
        case .action: owner = action
        default: owner = resourceType
        }
        let row = Int(word(offset &+ 5)) &+ owner &* ImageLayout.tableRowWords
        return (Int(word(row)), word(row &+ 1), row &+ 2, word(row &+ 5))
    }

    /// The payload of a value that is a word; nil for an absent one.
    @inline(__always)
    private mutating func loadWord(_ operand: Int) -> UInt64? {
        let offset = operands &+ operand &* ImageLayout.operandWords
        guard word(offset) & 0xff == OperandKind.attribute.rawValue else {
            let loaded = load(operand)
            return loaded.isPresent ? loaded.payload : nil
        }
        let slot = Int(word(offset &+ 1))
        let places = word(offset &+ 6)
        let stored = source(Int(places & 0xff))
        if slot < stored.limit {
            let validUntil = stored.validUntil(slot)
            if validUntil > now {
                if validUntil < boundary { boundary = validUntil }
                return stored.payload(slot)
            }
        }
        let given = source(Int(places >> 8))
        if slot < given.limit, given.validUntil(slot) > now { return given.payload(slot) }
        return word(offset &+ 2) == 0 ? nil : pair(offset &+ 3)
    }

    /// As `load`, without a call where the operand is an attribute in one place.
    @inline(__always)
    private mutating func loadText(_ operand: Int) -> Loaded {
        let offset = operands &+ operand &* ImageLayout.operandWords
        guard word(offset) & 0xff == OperandKind.attribute.rawValue else { return load(operand) }
        let slot = Int(word(offset &+ 1))
        let places = word(offset &+ 6)
        let stored = source(Int(places & 0xff))
        if slot < stored.limit {
            let validUntil = stored.validUntil(slot)
            if validUntil > now {
                if validUntil < boundary { boundary = validUntil }
                return Loaded(payload: stored.payload(slot), record: stored.view, isPresent: true)
            }
        }
        let given = source(Int(places >> 8))
        if slot < given.limit, given.validUntil(slot) > now {
            return Loaded(payload: given.payload(slot), record: given.view, isPresent: true)
        }
        return constant(offset &+ 2)
    }

    private mutating func load(_ operand: Int) -> Loaded {
        let offset = operands &+ operand &* ImageLayout.operandWords
        switch operandKind(word(offset)) {
        case .attribute, .attributeByType: return attribute(operand)
        case .constant: return constant(offset &+ 2)
        case .subjectID: return identity(SourceIndex.subjectID)
        case .resourceID: return identity(SourceIndex.resourceID)
        case .now: return Loaded(payload: UInt64(bitPattern: now), record: .empty, isPresent: true)
        case .count, .countByType:
            var loaded = attribute(operand)
            loaded.payload = UInt64(loaded.record.setCount(loaded.payload))
            return loaded
        case .actionIndex: return Loaded(payload: UInt64(action), record: .empty, isPresent: true)
        case .resourceTypeIndex: return Loaded(payload: UInt64(resourceType), record: .empty, isPresent: true)
        case .sum: return sum(Int(word(offset &+ 5)))
        }
    }

    /// Instants and durations added up; beyond the ends of time a sum stays at the end.
    private mutating func sum(_ terms: Int) -> Loaded {
        var total: Int64 = 0
        for position in 0..<Int(word(terms)) {
            let term = word(terms &+ 1 &+ position)
            let loaded = load(Int(term & ~SumLayout.takenOff))
            if !loaded.isPresent { return .absent }
            total = SumTerm.add(Int64(bitPattern: loaded.payload), to: total, negated: term & SumLayout.takenOff != 0)
        }
        return Loaded(payload: UInt64(bitPattern: total), record: .empty, isPresent: true)
    }

    /// A live stored value, else the question's, else the default.
    @inline(__always)
    private mutating func attribute(_ operand: Int) -> Loaded {
        let place = place(operand)
        let stored = source(Int(place.sources & 0xff))
        if place.slot < stored.limit {
            let validUntil = stored.validUntil(place.slot)
            if validUntil > now {
                if validUntil < boundary { boundary = validUntil }
                return Loaded(payload: stored.payload(place.slot), record: stored.view, isPresent: true)
            }
        }
        let given = source(Int(place.sources >> 8))
        if place.slot < given.limit, given.validUntil(place.slot) > now {
            return Loaded(payload: given.payload(place.slot), record: given.view, isPresent: true)
        }
        return constant(place.constant)
    }

    /// The id of subject or resource.
    @inline(__always)
    private func identity(_ index: Int) -> Loaded {
        let record = source(index).view
        return Loaded(payload: record.identityPayload, record: record, isPresent: !record.isEmpty)
    }

    /// The constant whose page and payload stand at an offset; absent when there is none.
    @inline(__always)
    private func constant(_ offset: Int) -> Loaded {
        let page = word(offset)
        if page == 0 { return .absent }
        let record = page == ImageLayout.noHeap ? .empty : pool(Int(page) &- 1)
        return Loaded(payload: pair(offset &+ 1), record: record, isPresent: true)
    }

    /// A page of constants.
    @inline(__always)
    private func pool(_ page: Int) -> RecordView {
        let entry = Int(word(ImageLayout.poolOffset)) &+ page &* 2
        let start = Int(word(entry))
        return unsafe RecordView(UnsafeRawBufferPointer(start: image + start, count: Int(word(entry &+ 1))))
    }
}

/// Matching of `like` patterns: each part once, leftmost first, so the time is linear in text times parts.
package enum Glob {
    /// - Parameters:
    ///   - parts: the number of parts between stars; 1 means no star at all.
    ///   - part: lends the part at an index; nil makes the match fail.
    package static func matches(
        _ text: UnsafeRawBufferPointer, parts: Int, part: (Int) -> RecordString?
    ) -> Bool {
        guard parts > 0, let first = part(0) else { return false }
        if parts == 1 { return unsafe equal(text, 0, text.count, first.bytes) }
        guard let last = part(parts - 1) else { return false }
        let textCount = text.count
        let firstCount = unsafe first.bytes.count
        let lastCount = unsafe last.bytes.count
        guard firstCount + lastCount <= textCount, unsafe equal(text, 0, firstCount, first.bytes),
            unsafe equal(text, textCount - lastCount, lastCount, last.bytes)
        else { return false }
        var position = firstCount
        let end = textCount - lastCount
        if parts == 2 { return true }
        for index in 1..<(parts - 1) {
            guard let middle = part(index) else { return false }
            let count = unsafe middle.bytes.count
            var isFound = count == 0
            while !isFound, position + count <= end {
                if unsafe equal(text, position, count, middle.bytes) {
                    isFound = true
                    position += count
                } else {
                    position += 1
                }
            }
            if !isFound { return false }
        }
        return true
    }

    private static func equal(
        _ text: UnsafeRawBufferPointer, _ offset: Int, _ count: Int, _ part: UnsafeRawBufferPointer
    ) -> Bool {
        guard count == part.count, offset >= 0, offset + count <= text.count else { return false }
        if count == 0 { return true }
        guard let left = text.baseAddress, let right = part.baseAddress else { return false }
        return unsafe memcmp(left + offset, right, count) == 0
    }
}
