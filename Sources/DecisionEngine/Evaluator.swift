// Decides: walks a program over the records of one question. Allocates nothing, takes no lock.
//
// This file reads the image through an unchecked pointer. INVARIANT: `Program`'s image is written by the compiler
// alone and keeps every offset inside it (Program.swift); the pointer is used only inside `withUnsafeBufferPointer`
// of the image's array, which the program keeps alive. Everything that comes from outside is read through
// `RecordView`, which checks each read.

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
        // Emptying an array costs calls even when it is empty, as the last two nearly always are.
        if !scratch.rules.isEmpty { scratch.rules.removeAll(keepingCapacity: true) }
        if !scratch.requires.isEmpty { scratch.requires.removeAll(keepingCapacity: true) }
        if !scratch.obligations.isEmpty { scratch.obligations.removeAll(keepingCapacity: true) }
        scratch.startStamp(roleCount)
        return unsafe withUnsafePointer(to: inputs) { inputs in
            var evaluation = unsafe Evaluation(self, inputs)
            return evaluation.run(&scratch)
        }
    }

    /// The offers whose condition holds for the subject at hand, by index of `CheckedPolicies.offers`, and whether the
    /// session meets what each demands.
    package func offers(_ inputs: DecisionInputs, _ scratch: inout DecisionScratch) -> [(offer: Int, isMet: Bool)] {
        scratch.startStamp(roleCount)
        return unsafe withUnsafePointer(to: inputs) { inputs in
            var evaluation = unsafe Evaluation(self, inputs)
            return evaluation.offers(&scratch)
        }
    }
}

extension DecisionScratch {
    /// What was remembered of roles is void from now on.
    @inline(__always)
    fileprivate mutating func startStamp(_ roleCount: Int) {
        stamp &+= 1
        if roleMemo.count < roleCount {
            roleMemo.append(contentsOf: repeatElement(0, count: roleCount - roleMemo.count))
        }
    }
}

/// A value at hand: its payload and the record it lies in.
@safe
private struct Loaded {
    var payload: UInt64
    var record: RecordView
    var isPresent: Bool
}

/// One decision under way.
///
/// INVARIANT: program and inputs outlive it: both are parameters of the call that makes it.
@safe
private struct Evaluation {
    private unowned(unsafe) let owner: Program
    private let image: UnsafePointer<UInt32>
    private let input: UnsafePointer<DecisionInputs>
    private let now: Int64
    private var boundary = Int64.max
    private var isDamaged = false

    private let operands: Int
    private let rules: Int

    init(_ program: Program, _ input: UnsafePointer<DecisionInputs>) {
        unsafe owner = program
        unsafe image = program.image.base
        unsafe self.input = input
        now = unsafe input.pointee.now
        operands = Int(unsafe image[ImageLayout.operandsOffset])
        rules = Int(unsafe image[ImageLayout.rulesOffset])
    }

    @inline(__always)
    private func word(_ offset: Int) -> UInt32 { unsafe image[offset] }

    /// For what is rarely needed.
    private var program: Program { unsafe owner }

    @inline(__always)
    private var inputs: DecisionInputs { unsafe input.pointee }

    // MARK: The order of a decision

    mutating func run(_ scratch: inout DecisionScratch) -> Verdict {
        guard let cell = cell() else { return Verdict(kind: .error, cause: .actionNotDefined) }
        if let early = preliminaries() { return early }
        let list = word(Int(word(ImageLayout.cellsOffset)) &+ cell)
        if list == ImageLayout.undefinedCell { return Verdict(kind: .error, cause: .actionNotDefined) }
        if list == 0 { return finish(Verdict(kind: .notPermitted)) }
        let count = Int(word(Int(list)))
        for position in 1...count {
            if let bad = checkReads(Int(word(Int(word(Int(list) &+ position))))) { return bad }
        }
        for position in 1...count {
            let root = word(Int(word(Int(list) &+ position)) &+ 1)
            if root != 0, let rule = firstForbid(root, &scratch) {
                scratch.rules.append(rule)
                return finish(Verdict(kind: .forbidden), list, count, &scratch)
            }
        }
        var joined = Demand.nothing
        for position in 1...count {
            let root = word(Int(word(Int(list) &+ position)) &+ 2)
            if root != 0 { collectRequires(root, &joined, &scratch) }
        }
        let verdict = permits(list, count, joined, &scratch)
        return finish(verdict, list, count, &scratch)
    }

    /// As `Program.cell`, on the image; nil when an index is out of range.
    @inline(__always)
    private func cell() -> Int? {
        let types = Int(word(ImageLayout.typeCount))
        let actions = Int(word(ImageLayout.actionCount))
        let subject = inputs.subjectType
        let resource = inputs.resourceType
        let action = inputs.action
        guard subject >= 0, subject < types, resource >= 0, resource < types, action >= 0, action < actions else {
            return nil
        }
        let ordinal = Int(word(Int(word(ImageLayout.typesOffset)) &+ subject) & ~ImageLayout.mustExist)
        return ordinal == 0 ? nil : ((ordinal &- 1) &* types &+ resource) &* actions &+ action
    }

    /// Slot of the session that the header names.
    @inline(__always)
    private func sessionSlot(_ name: Int) -> Int { Int(word(name)) }

    /// The duties that go with the answer.
    private mutating func finish(
        _ verdict: Verdict, _ list: UInt32, _ count: Int, _ scratch: inout DecisionScratch
    ) -> Verdict {
        let root: Int
        switch verdict.kind {
        case .permitted: root = 4
        case .forbidden, .notPermitted: root = 5
        case .stepUp: root = 6
        case .error: return finish(verdict)
        }
        for position in 1...count {
            let root = word(Int(word(Int(list) &+ position)) &+ root)
            if root != 0 { collectObligations(root, &scratch) }
        }
        return finish(verdict)
    }

    private mutating func collectObligations(_ root: UInt32, _ scratch: inout DecisionScratch) {
        let first = word(ImageLayout.ruleCount)
        walk(root, &scratch) { evaluation, rule, scratch in
            if evaluation.matches(rule, &scratch), !scratch.obligations.contains(rule &- first) {
                scratch.obligations.append(rule &- first)
            }
            return false
        }
        scratch.obligations.sort()
    }

    /// What no policy can change: ended subjects and sessions, unknown subjects, damaged records.
    private mutating func preliminaries() -> Verdict? {
        if inputs.subject.isEmpty {
            let type = word(Int(word(ImageLayout.typesOffset)) &+ inputs.subjectType)
            if type & ImageLayout.mustExist != 0 { return Verdict(kind: .error, cause: .unknownSubject) }
        } else if !inputs.subject.isWellFormed {
            return Verdict(kind: .error, cause: .recordDamaged)
        } else if inputs.subject.isInactive {
            return Verdict(kind: .forbidden, cause: .subjectInactive)
        }
        if !inputs.session.isEmpty {
            if !inputs.session.isWellFormed { return Verdict(kind: .error, cause: .recordDamaged) }
            if inputs.session.isInactive { return Verdict(kind: .forbidden, cause: .sessionEnded) }
            let ends = sessionSlot(ImageLayout.sessionEndsAt)
            if inputs.session.validUntil(ends) == RecordLayout.forever {
                let end = Int64(bitPattern: inputs.session.payload(ends))
                if end <= now { return Verdict(kind: .forbidden, cause: .sessionEnded) }
                boundary = min(boundary, end)
            }
        }
        if !inputs.device.isEmpty && !inputs.device.isWellFormed
            || !inputs.resource.isEmpty && !inputs.resource.isWellFormed
        {
            return Verdict(kind: .error, cause: .recordDamaged)
        }
        return nil
    }

    private func finish(_ verdict: Verdict) -> Verdict {
        if isDamaged { return Verdict(kind: .error, cause: .recordDamaged) }
        var verdict = verdict
        verdict.validUntil = boundary
        return verdict
    }

    private mutating func checkReads(_ offset: Int) -> Verdict? {
        if offset == 0 { return nil }
        let count = Int(word(offset))
        for position in 0..<count {
            let entry = offset &+ 1 &+ position &* 3
            guard isMember(word(entry &+ 1), inputs.action), isMember(word(entry &+ 2), inputs.resourceType) else {
                continue
            }
            let operand = Int(word(entry))
            let place = place(operand)
            if place.flags & OperandFlags.stored != 0 {
                let validUntil = stored(place.scope).validUntil(place.slot)
                if validUntil > now {
                    // When it ends, the question may lack the attribute: that is a change by time too.
                    boundary = min(boundary, validUntil)
                    continue
                }
            }
            let validUntil = inQuestion(place.scope).validUntil(place.slot)
            var verdict = Verdict(kind: .error)
            verdict.attribute = operand
            if place.flags & OperandFlags.inQuestion != 0 && validUntil == RecordLayout.malformed {
                verdict.cause = .attributeMalformed
                return verdict
            }
            let isGiven = place.flags & OperandFlags.inQuestion != 0 && validUntil > now
            if !isGiven && place.flags & OperandFlags.required != 0 {
                verdict.cause = .attributeMissing
                return verdict
            }
        }
        return nil
    }

    /// True when a set of the image holds an index; set 0 holds all.
    @inline(__always)
    private func isMember(_ set: UInt32, _ index: Int) -> Bool {
        set == 0 || word(Int(set) &+ index / 32) & (1 << UInt32(index % 32)) != 0
    }

    // MARK: The three questions of the semantics

    private mutating func firstForbid(_ root: UInt32, _ scratch: inout DecisionScratch) -> UInt32? {
        var found: UInt32?
        walk(root, &scratch) { evaluation, rule, scratch in
            if evaluation.matches(rule, &scratch) {
                found = rule
                return true
            }
            return false
        }
        return found
    }

    private mutating func collectRequires(_ root: UInt32, _ joined: inout Demand, _ scratch: inout DecisionScratch) {
        walk(root, &scratch) { evaluation, rule, scratch in
            if evaluation.matches(rule, &scratch), !scratch.requires.contains(rule) {
                joined = joined.joined(with: evaluation.demand(rule))
                scratch.requires.append(rule)
            }
            return false
        }
    }

    private mutating func permits(
        _ list: UInt32, _ count: Int, _ joined: Demand, _ scratch: inout DecisionScratch
    ) -> Verdict {
        var isPermitted = false
        var best: (rule: UInt32, demand: Demand, level: Int)?
        var matchedAny = false
        for position in 1...count {
            let root = word(Int(word(Int(list) &+ position)) &+ 3)
            if root == 0 { continue }
            walk(root, &scratch) { evaluation, rule, scratch in
                guard evaluation.matches(rule, &scratch) else { return false }
                matchedAny = true
                let demand = evaluation.demand(rule).joined(with: joined)
                if evaluation.isMet(demand) {
                    scratch.rules.append(rule)
                    isPermitted = true
                    return true
                }
                if let level = evaluation.reachableLevel(demand), evaluation.isLess(rule, demand, level, than: best) {
                    best = (rule, demand, level)
                }
                return false
            }
            if isPermitted { break }
        }
        if isPermitted {
            scratch.rules.append(contentsOf: scratch.requires)
            return Verdict(kind: .permitted)
        }
        if let best {
            scratch.rules.append(best.rule)
            scratch.rules.append(contentsOf: scratch.requires)
            var verdict = Verdict(kind: .stepUp)
            verdict.demand = best.demand
            verdict.level = best.level
            return verdict
        }
        return Verdict(kind: .notPermitted, cause: matchedAny ? .stepUpUnreachable : .rules)
    }

    mutating func offers(_ scratch: inout DecisionScratch) -> [(offer: Int, isMet: Bool)] {
        if preliminaries() != nil { return [] }
        var found: [(offer: Int, isMet: Bool)] = []
        for (index, offer) in program.policies.offers.enumerated()
        where offer.subjectTypes.contains(inputs.subjectType) && holds(program.offerEntries[index], &scratch) {
            found.append((index, isMet(offer.demand ?? .nothing)))
        }
        return isDamaged ? [] : found
    }

    private func demand(_ rule: UInt32) -> Demand {
        let offset = rules &+ Int(rule) &* ImageLayout.ruleWords
        return Demand(
            levels: UInt64(word(offset &+ 2)) | UInt64(word(offset &+ 3)) << 32,
            within: Int64(bitPattern: UInt64(word(offset &+ 4)) | UInt64(word(offset &+ 5)) << 32),
            methods: word(offset &+ 6))
    }

    private mutating func isMet(_ demand: Demand) -> Bool {
        if demand == .nothing { return true }
        let session = inputs.session
        let levels = sessionWord(session, sessionSlot(ImageLayout.sessionLevels))
        let methods = UInt32(truncatingIfNeeded: sessionWord(session, sessionSlot(ImageLayout.sessionMethods)))
        if demand.levels & ~levels != 0 || demand.methods & ~methods != 0 { return false }
        if demand.within == .max { return true }
        let authenticatedAt = sessionSlot(ImageLayout.sessionAuthenticatedAt)
        guard session.validUntil(authenticatedAt) == RecordLayout.forever else { return false }
        let since = Int64(bitPattern: session.payload(authenticatedAt))
        let (age, overflowed) = now.subtractingReportingOverflow(since)
        if overflowed || age > demand.within { return false }
        let (last, passed) = since.addingReportingOverflow(demand.within)
        if !passed, last < .max { boundary = min(boundary, last &+ 1) }
        return true
    }

    @inline(__always)
    private func sessionWord(_ session: RecordView, _ slot: Int) -> UInt64 {
        session.validUntil(slot) == RecordLayout.forever ? session.payload(slot) : 0
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
        _ rule: UInt32, _ demand: Demand, _ level: Int, than best: (rule: UInt32, demand: Demand, level: Int)?
    ) -> Bool {
        guard let best else { return true }
        if level != best.level { return level < best.level }
        if demand.within != best.demand.within { return demand.within > best.demand.within }
        return program.nameRanks[Int(rule)] < program.nameRanks[Int(best.rule)]
    }

    // MARK: The index

    /// Visits the rules that can match, until `visit` returns true. A rule may be visited more than once.
    @inline(__always)
    private mutating func walk(
        _ root: UInt32, _ scratch: inout DecisionScratch,
        _ visit: (inout Evaluation, UInt32, inout DecisionScratch) -> Bool
    ) {
        scratch.pending.removeAll()
        var next = root
        while true {
            let node = Int(next)
            let head = word(node)
            switch NodeKind(rawValue: head & 0xff) {
            case .leaf:
                let count = Int(word(node &+ 1))
                for position in 0..<count where visit(&self, word(node &+ 2 &+ position), &scratch) { return }
            case .valueSwitch:
                let child = switchChild(node, isString: head >> 8 == ValueClass.string.rawValue)
                if child != 0 { scratch.pending.append(child) }
                if word(node &+ 2) != 0 { scratch.pending.append(word(node &+ 2)) }
            case .groupSwitch:
                pushNamedChildren(node, &scratch.pending, scratch.groups)
                if word(node &+ 2) != 0 { scratch.pending.append(word(node &+ 2)) }
            case .containerSwitch:
                pushNamedChildren(node, &scratch.pending, scratch.containers)
                if word(node &+ 2) != 0 { scratch.pending.append(word(node &+ 2)) }
            case .none:
                isDamaged = true
                return
            }
            guard let following = scratch.pending.popLast() else { return }
            next = following
        }
    }

    @inline(__always)
    private mutating func switchChild(_ node: Int, isString: Bool) -> UInt32 {
        let loaded = load(Int(word(node &+ 1)))
        guard loaded.isPresent else { return 0 }
        let mask = word(node &+ 3)
        if isString {
            guard let text = loaded.record.string(loaded.payload) else {
                isDamaged = true
                return 0
            }
            var position = IndexHash.slot(text.hash, mask)
            while true {
                let entry = node &+ 4 &+ Int(position) &* 4
                let child = word(entry &+ 3)
                if child == 0 { return 0 }
                let key = UInt64(word(entry)) | UInt64(word(entry &+ 1)) << 32
                if key == text.hash, let constant = constantString(word(entry &+ 2)), constant.equals(text) {
                    return child
                }
                position = (position &+ 1) & mask
            }
        }
        var position = IndexHash.slot(loaded.payload, mask)
        while true {
            let entry = node &+ 4 &+ Int(position) &* 4
            let child = word(entry &+ 3)
            if child == 0 { return 0 }
            if UInt64(word(entry)) | UInt64(word(entry &+ 1)) << 32 == loaded.payload { return child }
            position = (position &+ 1) & mask
        }
    }

    @inline(__always)
    private func pushNamedChildren(_ node: Int, _ pending: inout WordList, _ named: borrowing NamedMemberships) {
        let mask = word(node &+ 3)
        for position in 0..<named.list.count {
            let index = named.list[position]
            var place = IndexHash.slot(UInt64(index), mask)
            while true {
                let entry = node &+ 4 &+ Int(place) &* 2
                let child = word(entry &+ 1)
                if child == 0 { break }
                if word(entry) == index &+ 1 {
                    pending.append(child)
                    break
                }
                place = (place &+ 1) & mask
            }
        }
    }

    // MARK: Conditions

    @inline(__always)
    private mutating func matches(_ rule: UInt32, _ scratch: inout DecisionScratch) -> Bool {
        holds(word(rules &+ Int(rule) &* ImageLayout.ruleWords), &scratch)
    }

    private mutating func holds(_ entry: UInt32, _ scratch: inout DecisionScratch) -> Bool {
        var next = entry
        while true {
            if next == ImageLayout.accept { return true }
            if next == ImageLayout.reject { return false }
            let offset = Int(next)
            next = test(offset, &scratch) ? word(offset &+ 3) : word(offset &+ 4)
        }
    }

    @inline(__always)
    private mutating func test(_ offset: Int, _ scratch: inout DecisionScratch) -> Bool {
        let head = word(offset)
        let left = Int(word(offset &+ 1))
        let right = Int(word(offset &+ 2))
        let valueClass = (head >> 8) & 0xff
        switch Operation(rawValue: head & 0xff) {
        case .compare:
            return valueClass == ValueClass.word.rawValue
                ? compareWords(left, right, head >> 16) : compare(left, right, valueClass, head >> 16)
        case .compareTime: return compareTime(left, right, head >> 16)
        case .contains: return contains(left, right, valueClass)
        case .intersects: return overlap(left, right, valueClass, all: false)
        case .subset: return overlap(left, right, valueClass, all: true)
        case .like: return like(left, right)
        case .inNetworks: return inNetworks(left, right)
        case .group: return scratch.groups.contains(left)
        case .container: return scratch.containers.contains(left)
        case .schedule: return isInSchedule(left)
        case .role: return role(left, &scratch)
        case .has: return load(left).isPresent
        case .actionIn: return isMember(UInt32(right), inputs.action)
        case .resourceTypeIn: return isMember(UInt32(right), inputs.resourceType)
        case .none:
            isDamaged = true
            return false
        }
    }

    private mutating func role(_ index: Int, _ scratch: inout DecisionScratch) -> Bool {
        let memo = scratch.roleMemo[index]
        if memo >> 1 == scratch.stamp { return memo & 1 == 1 }
        let value = holds(word(Int(word(ImageLayout.rolesOffset)) &+ index), &scratch)
        scratch.roleMemo[index] = scratch.stamp << 1 | (value ? 1 : 0)
        return value
    }

    @inline(__always)
    private mutating func compareWords(_ left: Int, _ right: Int, _ comparison: UInt32) -> Bool {
        guard let first = loadWord(left), let second = loadWord(right) else { return false }
        return compareNumbers(Int64(bitPattern: first), Int64(bitPattern: second), comparison)
    }

    private mutating func compareTime(_ left: Int, _ right: Int, _ comparison: UInt32) -> Bool {
        guard let first = loadWord(left), let second = loadWord(right) else { return false }
        if isNow(left) { noteTime(Int64(bitPattern: second)) }
        if isNow(right) { noteTime(Int64(bitPattern: first)) }
        return compareNumbers(Int64(bitPattern: first), Int64(bitPattern: second), comparison)
    }

    @inline(__always)
    private func compareNumbers(_ first: Int64, _ second: Int64, _ comparison: UInt32) -> Bool {
        switch Comparison(rawValue: UInt8(truncatingIfNeeded: comparison)) {
        case .equal: return first == second
        case .notEqual: return first != second
        case .less: return first < second
        case .lessOrEqual: return first <= second
        case .greater: return first > second
        case .greaterOrEqual: return first >= second
        case .none: return false
        }
    }

    private mutating func compare(_ left: Int, _ right: Int, _ valueClass: UInt32, _ comparison: UInt32) -> Bool {
        let first = load(left)
        let second = load(right)
        guard first.isPresent, second.isPresent else { return false }
        let order: Int
        if valueClass == ValueClass.string.rawValue {
            guard let one = first.record.string(first.payload), let two = second.record.string(second.payload) else {
                isDamaged = true
                return false
            }
            if comparison == UInt32(Comparison.equal.rawValue) { return one.equals(two) }
            if comparison == UInt32(Comparison.notEqual.rawValue) { return !one.equals(two) }
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
            if address.high & long(offset &+ 4) == long(offset), address.low & long(offset &+ 6) == long(offset &+ 2) {
                return true
            }
        }
        return false
    }

    @inline(__always)
    private func long(_ offset: Int) -> UInt64 { UInt64(word(offset)) | UInt64(word(offset &+ 1)) << 32 }

    /// Whether `now` is in a schedule's window; notes when that changes. The same as `Schedule.state(at:)`, on the image.
    private mutating func isInSchedule(_ offset: Int) -> Bool {
        let spans = offset &+ 2
        var low = 0
        var high = Int(word(offset)) &- 1
        while low < high {
            let middle = (low &+ high &+ 1) >> 1
            if Int64(bitPattern: long(spans &+ middle &* 3)) <= now { low = middle } else { high = middle &- 1 }
        }
        let count = Int(word(offset))
        var end = Int64.max
        if low &+ 1 < count { end = Int64(bitPattern: long(spans &+ (low &+ 1) &* 3)) }
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
    @inline(__always)
    private func place(_ operand: Int) -> (scope: UInt32, slot: Int, flags: UInt32, constant: Int) {
        let offset = operands &+ operand &* ImageLayout.operandWords
        let head = word(offset)
        let scope = (head >> 8) & 0xff
        let table = word(offset &+ 5)
        if table == 0 { return (scope, Int(word(offset &+ 1)), head >> 16, offset &+ 2) }
        let owner: Int
        switch AttributeScope(rawValue: UInt8(truncatingIfNeeded: scope)) {
        case .subject: owner = inputs.subjectType
        case .action: owner = inputs.action
        default: owner = inputs.resourceType
        }
        let row = Int(table) &+ owner &* ImageLayout.tableRowWords
        return (scope, Int(word(row)), word(row &+ 1), row &+ 2)
    }

    @inline(__always)
    private func stored(_ scope: UInt32) -> RecordView {
        switch AttributeScope(rawValue: UInt8(truncatingIfNeeded: scope)) {
        case .subject: inputs.subject
        case .resource: inputs.resource
        case .session: inputs.session
        case .device: inputs.device
        default: .empty
        }
    }

    @inline(__always)
    private func inQuestion(_ scope: UInt32) -> RecordView {
        switch AttributeScope(rawValue: UInt8(truncatingIfNeeded: scope)) {
        case .resource: inputs.resourceInQuestion
        case .subject: inputs.subjectInQuestion
        case .action: inputs.actionInQuestion
        case .context: inputs.context
        default: .empty
        }
    }

    /// The payload of a value that is a word; nil for an absent one.
    @inline(__always)
    private mutating func loadWord(_ operand: Int) -> UInt64? {
        let offset = operands &+ operand &* ImageLayout.operandWords
        let kind = word(offset) & 0xff
        if kind == OperandKind.constant.rawValue { return long(offset &+ 3) }
        if kind == OperandKind.attribute.rawValue {
            let place = place(operand)
            if place.flags & OperandFlags.stored != 0 {
                let record = stored(place.scope)
                let validUntil = record.validUntil(place.slot)
                if validUntil > now {
                    if validUntil < boundary { boundary = validUntil }
                    return record.payload(place.slot)
                }
            }
            if place.flags & OperandFlags.inQuestion != 0 {
                let record = inQuestion(place.scope)
                if record.validUntil(place.slot) > now { return record.payload(place.slot) }
            }
            return word(place.constant) == 0 ? nil : long(place.constant &+ 1)
        }
        let loaded = load(operand)
        return loaded.isPresent ? loaded.payload : nil
    }

    private mutating func load(_ operand: Int) -> Loaded {
        let offset = operands &+ operand &* ImageLayout.operandWords
        switch OperandKind(rawValue: word(offset) & 0xff) {
        case .attribute: return attribute(operand)
        case .constant: return constant(offset &+ 2)
        case .subjectID: return identity(inputs.subjectID)
        case .resourceID: return identity(inputs.resourceID)
        case .now: return Loaded(payload: UInt64(bitPattern: now), record: .empty, isPresent: true)
        case .count:
            var loaded = attribute(operand)
            loaded.payload = UInt64(loaded.record.setCount(loaded.payload))
            return loaded
        case .actionIndex: return Loaded(payload: UInt64(inputs.action), record: .empty, isPresent: true)
        case .resourceTypeIndex: return Loaded(payload: UInt64(inputs.resourceType), record: .empty, isPresent: true)
        case .sum: return sum(Int(word(offset &+ 5)))
        case .none:
            isDamaged = true
            return Loaded(payload: 0, record: .empty, isPresent: false)
        }
    }

    /// Instants and durations added up; beyond the ends of time a sum stays at the end.
    private mutating func sum(_ terms: Int) -> Loaded {
        var total: Int64 = 0
        for position in 0..<Int(word(terms)) {
            let term = word(terms &+ 1 &+ position)
            let loaded = load(Int(term & ~SumLayout.takenOff))
            if !loaded.isPresent { return Loaded(payload: 0, record: .empty, isPresent: false) }
            total = SumTerm.add(Int64(bitPattern: loaded.payload), to: total, negated: term & SumLayout.takenOff != 0)
        }
        return Loaded(payload: UInt64(bitPattern: total), record: .empty, isPresent: true)
    }

    /// A live stored value, else the question's, else the default.
    @inline(__always)
    private mutating func attribute(_ operand: Int) -> Loaded {
        let place = place(operand)
        if place.flags & OperandFlags.stored != 0 {
            let record = stored(place.scope)
            let validUntil = record.validUntil(place.slot)
            if validUntil > now {
                if validUntil < boundary { boundary = validUntil }
                return Loaded(payload: record.payload(place.slot), record: record, isPresent: true)
            }
        }
        if place.flags & OperandFlags.inQuestion != 0 {
            let record = inQuestion(place.scope)
            if record.validUntil(place.slot) > now {
                return Loaded(payload: record.payload(place.slot), record: record, isPresent: true)
            }
        }
        return constant(place.constant)
    }

    /// The id of subject or resource.
    @inline(__always)
    private func identity(_ record: RecordView) -> Loaded {
        Loaded(payload: record.identityPayload, record: record, isPresent: !record.isEmpty)
    }

    /// The constant whose page and payload stand at an offset; absent when there is none.
    @inline(__always)
    private func constant(_ offset: Int) -> Loaded {
        let page = word(offset)
        if page == 0 { return Loaded(payload: 0, record: .empty, isPresent: false) }
        let record = page == ImageLayout.noHeap ? .empty : pool(Int(page) &- 1)
        return Loaded(payload: long(offset &+ 1), record: record, isPresent: true)
    }

    /// A page of constants.
    @inline(__always)
    private func pool(_ page: Int) -> RecordView {
        let entry = Int(word(ImageLayout.poolOffset)) &+ page &* 2
        let start = Int(word(entry))
        return unsafe RecordView(UnsafeRawBufferPointer(start: image + start, count: Int(word(entry &+ 1))))
    }

    /// A string of the pool, by its slot: a key of the index.
    @inline(__always)
    private func constantString(_ slot: UInt32) -> RecordString? {
        let record = pool(Int(slot >> UInt32(ConstantPool.pageShift)))
        return record.string(record.payload(Int(slot) & (ConstantPool.pageSize - 1)))
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
