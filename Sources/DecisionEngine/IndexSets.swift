// Sets: rules that differ in one value alone.
//
// A list such as `permit … to user in group "role_1" when resource.region == user.region`, the same for role_2, role_7, … is
// one question about the region and a set of groups. A node keeps the set as one bit a value, asks the shared condition once
// if the value at hand is in it, and only then looks for the rule. Where a few such sets hold most of a list, they stand
// before the switches and take the rules from them: a list of a hundred rules so takes some 500 bytes instead of 2,500, and
// its few lines stay in the processor's caches while a switch's leaves do not.

import PolicyLanguage

/// Rules that differ in one value of a discriminator.
private struct ValueSet {
    var discriminator: Discriminator
    /// The condition that they share, given a value.
    var rest: [Conjunct]
    var rules: [(key: UInt64, rule: Int)] = []
    var isText = false

    /// The key that the first bit stands for: for groups and containers where a row of 64 begins.
    var least: Int64 {
        let least = rules.map { Int64(bitPattern: $0.key) }.min() ?? 0
        return discriminator.isSingle ? least : least & ~63
    }
    /// Rows of 64 keys; nil when their bits would take more room than the rules.
    var rows: Int? {
        let most = rules.map { Int64(bitPattern: $0.key) }.max() ?? 0
        let (distance, overflowed) = most.subtractingReportingOverflow(least)
        return !overflowed && distance < Int64(rules.count) * 64 + 64 ? Int(distance) / 64 + 1 : nil
    }

    /// What sort of condition they share, whatever it is compared with.
    var shape: UInt64 {
        rest.reduce(0) { shape, conjunct in
            guard case .test(let test) = conjunct.condition else { return shape << 8 }
            return shape << 8 | UInt64(test.code.head & 0xff)
        }
    }

    var kind: SetKind {
        switch discriminator {
        case .operand: isText ? .texts : .words
        case .groups: .groups
        case .containers: .containers
        }
    }
}

/// What the rules of a set have in common.
private struct SetKey: Hashable {
    var discriminator: Discriminator
    /// `Compiler.identity` of the shared condition.
    var rest: UInt32
}

extension Compiler {
    /// Sets that hold most of the rules, and behind them the index of the others.
    /// - Returns: the branch to the first; nil when there are no such sets.
    mutating func emitSets(
        _ members: [IndexMember], _ facts: [Fact], used: Set<Discriminator>
    ) -> UInt64? {
        guard members.count >= CompileLimits.setSize, !canSwitch(members, used),
            let (sets, others) = chooseSets(members, facts, used)
        else { return nil }
        let entries = sets.map {
            emit(.all($0.rest.map(\.condition)), onTrue: ImageLayout.accept, onFalse: ImageLayout.reject)
        }
        let also = emitBranch(others, facts, used: used, isAfterSets: true)
        // Rules stand apart from the sets: only a match looks for them.
        let places = sets.map { emitRules($0) }
        // No set lies on two cache lines.
        while words.count % ImageLayout.setWords != 0 { words.append(0) }
        let node = here
        words += [NodeKind.sets.rawValue, UInt32(sets.count), 0, 0, 0, 0]
        appendBranch(also)
        for (number, set) in sets.enumerated() { emit(set, entries[number], places[number]) }
        return UInt64(node)
    }

    /// True when one look at an operand leads all of the rules apart: then there is nothing that sets could save.
    private func canSwitch(_ members: [IndexMember], _ used: Set<Discriminator>) -> Bool {
        rules[members[0].rule].keys.contains { keys in
            keys.discriminator.isSingle && !used.contains(keys.discriminator)
                && members.allSatisfy { member in
                    rules[member.rule].keys.contains {
                        $0.discriminator == keys.discriminator
                            && $0.keys.count * member.copies <= CompileLimits.maxCopiesOfRule
                    }
                }
        }
    }

    /// Writes the rules of a set in the order of their values, then where those of each row begin, then the rows if there
    /// are several.
    private mutating func emitRules(_ set: ValueSet) -> (starts: UInt32, rows: [UInt64], offset: UInt32) {
        let least = UInt64(bitPattern: set.least)
        let sorted = set.rules.map { (place: $0.key &- least, rule: $0.rule) }.sorted { $0.place < $1.place }
        var rows = [UInt64](repeating: 0, count: set.rows ?? 0)
        var start = here
        for (place, rule) in sorted {
            words.append(mark(rule))
            rows[Int(place / 64)] |= 1 << (place % 64)
        }
        let starts = here
        for row in rows {
            words.append(start)
            start += UInt32(row.nonzeroBitCount)
        }
        alignForBranches()
        let offset = here
        if rows.count > 1 { for row in rows { appendBranch(row) } }
        return (starts, rows, offset)
    }

    private mutating func emit(
        _ set: ValueSet, _ entry: UInt32, _ place: (starts: UInt32, rows: [UInt64], offset: UInt32)
    ) {
        var operand: UInt32 = 0
        if case .operand(let index) = set.discriminator { operand = index }
        words += [UInt32(set.kind.rawValue) | operand << 8, entry, UInt32(place.rows.count), place.starts]
        appendBranch(UInt64(bitPattern: set.least))
        appendBranch(place.rows.count == 1 ? place.rows[0] : UInt64(place.offset))
    }

    /// The largest sets, when they hold at least half of the rules.
    private mutating func chooseSets(
        _ members: [IndexMember], _ facts: [Fact], _ used: Set<Discriminator>
    ) -> (sets: [ValueSet], others: [IndexMember])? {
        var candidates: [SetKey: [Int]] = [:]
        for (position, member) in members.enumerated() {
            for set in rules[member.rule].keys where !used.contains(set.discriminator) {
                guard set.keys.count * member.copies <= CompileLimits.maxCopiesOfRule,
                    let rest = rest(of: member.rule, set, facts)
                else { continue }
                let id = identity([4] + rest.map(\.id))
                candidates[SetKey(discriminator: set.discriminator, rest: id), default: []].append(position)
            }
        }
        var isTaken = [Bool](repeating: false, count: members.count)
        var sets: [ValueSet] = []
        let ordered = candidates.filter { $0.value.count >= CompileLimits.setSize }
            .sorted {
                ($1.value.count, $0.key.discriminator, $0.value[0]) < (
                    $0.value.count, $1.key.discriminator, $1.value[0]
                )
            }
        for (key, positions) in ordered where sets.count < CompileLimits.maxSets {
            let open = positions.filter { !isTaken[$0] }
            guard open.count >= CompileLimits.setSize, let (set, held) = valueSet(key, open.map { members[$0] }, facts)
            else { continue }
            for number in held { isTaken[open[number]] = true }
            sets.append(set)
        }
        let others = members.indices.filter { !isTaken[$0] }.map { members[$0] }
        if others.count * 2 > members.count { return nil }
        // A switch on the one operand takes as many looks.
        if sets.count == 1, sets[0].discriminator.isSingle { return nil }
        // Lists of the same shapes have their sets in the same order, which a processor learns to foresee.
        let order = sets.enumerated().sorted {
            ($0.element.discriminator, $0.element.shape, $0.offset) < (
                $1.element.discriminator, $1.element.shape, $1.offset
            )
        }
        return (order.map(\.element), others)
    }

    /// A set of those of some rules that have values of their own.
    /// - Returns: also which of the rules it holds; nil when they are too few or their values too far apart.
    private func valueSet(_ key: SetKey, _ members: [IndexMember], _ facts: [Fact]) -> (ValueSet, held: [Int])? {
        var set = ValueSet(discriminator: key.discriminator, rest: [])
        var seen = Set<UInt64>()
        var held: [Int] = []
        for (number, member) in members.enumerated() {
            guard let keys = rules[member.rule].keys.first(where: { $0.discriminator == key.discriminator }),
                !keys.keys.contains(where: { seen.contains($0.value) })
            else { continue }
            if held.isEmpty { set.rest = rest(of: member.rule, keys, facts) ?? [] }
            if case .text? = keys.keys.first { set.isText = true }
            held.append(number)
            for key in keys.keys where seen.insert(key.value).inserted { set.rules.append((key.value, member.rule)) }
        }
        return held.count >= CompileLimits.setSize && set.rows != nil ? (set, held) : nil
    }

    /// What is left to ask of a rule, given the facts and any of its values; nil when that hangs on which value it is.
    private func rest(of rule: Int, _ set: KeySet, _ facts: [Fact]) -> [Conjunct]? {
        var common: [Conjunct]?
        for key in set.keys {
            let facts = facts + [Fact(discriminator: set.discriminator, key: key)]
            let rest = rules[rule].conjuncts.filter { !$0.isSettled(by: facts) }
            if let common, common.map(\.id) != rest.map(\.id) { return nil }
            common = rest
        }
        return common
    }
}
