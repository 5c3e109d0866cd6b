// The index of a list of rules: a tree that leads from the values in a question to the rules that can still match.
//
// A condition such as `user.department == "Finance" and …` can only hold where the department is Finance: the rule
// has the *key* Finance for that operand. A node switches on the operand that leaves the fewest rules to try; rules without
// a key for it go to the node's `also` branch, which is visited as well. So no rule is copied into branches it does not
// name, and none into more than `CompileLimits.maxCopiesOfRule`: the tree is as large as the keys in the text. What a branch
// has settled is not asked again: a rule at its end is tried for the rest of its condition alone, and equal rests share
// their code. Many rules that only ranges tell apart are searched by bitmaps (Bitmaps.swift).

import PolicyLanguage

/// A value by which an index switches.
enum IndexKey: Hashable {
    /// A word: Boolean, number, enum case, instant.
    case word(UInt64)
    /// A text of the image, by id.
    case text(UInt32)
    /// A named group or container, by its index.
    case named(UInt32)

    /// The key as the image has it.
    var value: UInt64 {
        switch self {
        case .word(let word): word
        case .text(let id), .named(let id): UInt64(id)
        }
    }
}

/// What an index switches on: an operand, the subject's groups, or the resource's containers.
enum Discriminator: Hashable, Comparable {
    case operand(UInt32)
    case groups
    case containers

    /// True when a question has one value of it, not several.
    var isSingle: Bool {
        switch self {
        case .operand: true
        case .groups, .containers: false
        }
    }
}

/// Some values of a discriminator, each once.
struct KeySet {
    var discriminator: Discriminator
    var keys: [IndexKey]
}

/// The values of each discriminator outside which a condition cannot hold.
typealias NecessaryKeys = [Discriminator: [IndexKey]]

/// What the way through the index has settled: the discriminator has this value, or one of its values is this.
struct Fact {
    var discriminator: Discriminator
    var key: IndexKey
}

/// A part of a condition, all of which have to hold.
struct Conjunct {
    var condition: PreparedCondition
    var cost: Int
    /// It holds for these values and no others.
    var exact: KeySet?
    /// It holds wherever this operand has a value.
    var presence: UInt32?
    /// It holds for numbers from the least or up to the most, and no others: one of the two is an end of all numbers.
    var bound: Bound?
    /// Equal for equal conditions.
    var id: UInt32 = 0

    func isSettled(by facts: [Fact]) -> Bool {
        for fact in facts {
            if let exact, exact.discriminator == fact.discriminator, exact.keys.contains(fact.key) { return true }
            if let presence, fact.discriminator == .operand(presence) { return true }
        }
        return false
    }
}

/// A rule or obligation on its way into the image.
struct CompiledRule {
    var kind: PlacedRule.Kind
    var demand: Demand
    /// Kept under "any" because it names too many actions and types.
    var isResidual: Bool
    var condition: PreparedCondition
    /// Operands of the question it reads.
    var reads: [UInt32]
    var needs: SourceNeeds
    var scope: RuleScope
    /// The parts of its condition, cheap ones first.
    var conjuncts: [Conjunct] = []
    /// By discriminator, in order.
    var keys: [KeySet] = []
    /// By operand, in order.
    var bounds: [Bound] = []
    /// What tells whether another rule covers it.
    var coverKeys: [CoverKey] = []
    /// Where the code of its whole condition begins, once it was needed.
    var entry: UInt32?

    /// Works out what the index may know of the condition.
    mutating func analyse(_ compiler: inout Compiler) {
        var parts: [PreparedCondition] = []
        condition.flatten(into: &parts)
        if parts.count > CompileLimits.maxConjuncts { parts = [condition] }
        conjuncts = parts.map { part in
            var conjunct = Conjunct(condition: part, cost: part.cost, exact: exactKeys(part))
            if case .test(let test) = part {
                conjunct.presence = test.presence
                if let bound = test.bound, (bound.least == .min) != (bound.most == .max) { conjunct.bound = bound }
            }
            conjunct.id = compiler.identity(of: part)
            return conjunct
        }
        // Sorting keeps the text's order among equals.
        conjuncts = conjuncts.enumerated().sorted { ($0.element.cost, $0.offset) < ($1.element.cost, $1.offset) }
            .map(\.element)
        var budget = 256
        // A rule that can never match is kept: what describes the index shows it.
        guard let necessary = necessaryKeys(.all(parts), &budget) else { return }
        keys = necessary.map { KeySet(discriminator: $0, keys: $1) }.sorted { $0.discriminator < $1.discriminator }
        var ranges: [UInt32: Bound] = [:]
        for part in parts {
            guard case .test(let test) = part, let bound = test.bound else { continue }
            ranges[bound.operand] = ranges[bound.operand]?.intersection(bound) ?? bound
        }
        bounds = ranges.values.sorted { $0.operand < $1.operand }
    }
}

// MARK: Keys

/// The keys of a condition; nil when it can never hold.
func necessaryKeys(_ condition: PreparedCondition, _ budget: inout Int) -> NecessaryKeys? {
    budget -= 1
    if budget <= 0 { return [:] }
    switch condition {
    case .constant(let value): return value ? [:] : nil
    case .not(.test(let test)): return test.negatedKeys.map { [$0.discriminator: $0.keys] } ?? [:]
    case .not: return [:]
    case .test(let test): return test.keys.map { [$0.discriminator: $0.keys] } ?? test.necessary ?? [:]
    case .all(let parts):
        var keys: NecessaryKeys = [:]
        for part in parts {
            guard let more = necessaryKeys(part, &budget) else { return nil }
            for (discriminator, values) in more {
                guard let known = keys[discriminator] else {
                    keys[discriminator] = values
                    continue
                }
                if discriminator.isSingle {
                    let both = known.filter { values.contains($0) }
                    if both.isEmpty { return nil }
                    keys[discriminator] = both
                } else if values.count < known.count {
                    keys[discriminator] = values
                }
            }
        }
        return keys
    case .any(let parts):
        var keys: NecessaryKeys?
        for part in parts {
            guard let more = necessaryKeys(part, &budget) else { continue }
            guard let known = keys else {
                keys = more
                continue
            }
            var joined: NecessaryKeys = [:]
            for (discriminator, values) in known {
                guard let others = more[discriminator] else { continue }
                let union = values + others.filter { !values.contains($0) }
                if union.count <= CompileLimits.maxKeysOfRule { joined[discriminator] = union }
            }
            keys = joined
        }
        return keys
    }
}

/// The values for which a condition holds, when they are all it depends on.
func exactKeys(_ condition: PreparedCondition) -> KeySet? {
    switch condition {
    case .test(let test): return test.keys
    case .not(.test(let test)): return test.negatedKeys
    case .any(let parts) where parts.count <= CompileLimits.maxKeysOfRule:
        var union: KeySet?
        for part in parts {
            guard let keys = exactKeys(part) else { return nil }
            guard let known = union else {
                union = keys
                continue
            }
            guard known.discriminator == keys.discriminator else { return nil }
            union?.keys += keys.keys.filter { !known.keys.contains($0) }
        }
        return union
    case .constant, .not, .any, .all: return nil
    }
}

// MARK: Nodes

/// A rule on its way to a place in the index.
struct IndexMember {
    var rule: Int
    /// Places it stands in so far.
    var copies = 1
}

extension Compiler {
    /// Builds the index of some rules.
    /// - Returns: the branch to its root, 0 for no rules.
    mutating func buildIndex(_ members: [Int]) -> UInt64 {
        emitBranch(members.map { IndexMember(rule: $0) }, [], used: [])
    }

    /// - Parameter isAfterSets: the rules are those that sets have left.
    mutating func emitBranch(
        _ members: [IndexMember], _ facts: [Fact], used: Set<Discriminator>, isAfterSets: Bool = false
    ) -> UInt64 {
        if members.isEmpty { return 0 }
        if !isAfterSets, let sets = emitSets(members, facts, used: used) { return sets }
        if members.count > CompileLimits.leafSize / 2, used.count < CompileLimits.maxIndexDepth,
            let best = bestDiscriminator(members, used)
        {
            return emitSwitch(best, members, facts, used: used.union([best]))
        }
        var branches: [UInt64] = []
        for member in members { branches.append(branch(to: member.rule, facts)) }
        if branches.count >= CompileLimits.bitmapSize,
            let node = emitBitmaps(members.map { rules[$0.rule].bounds }, branches)
        {
            return node
        }
        return emitLeaf(branches)
    }

    /// The branch to a rule: what is left to ask of it, given the facts.
    private mutating func branch(to rule: Int, _ facts: [Fact]) -> UInt64 {
        let conjuncts = rules[rule].conjuncts
        let rest = facts.isEmpty ? conjuncts : conjuncts.filter { !$0.isSettled(by: facts) }
        let entry: UInt32
        if rest.count == conjuncts.count, let known = rules[rule].entry {
            entry = known
        } else {
            entry = emit(.all(rest.map(\.condition)), onTrue: ImageLayout.accept, onFalse: ImageLayout.reject)
            if rest.count == conjuncts.count { rules[rule].entry = entry }
        }
        return UInt64(mark(rule)) | UInt64(entry) << 32
    }

    /// A rule as branches and sets name it.
    func mark(_ rule: Int) -> UInt32 {
        let isDemanding = rules[rule].kind == .permit && rules[rule].demand != .nothing
        return UInt32(rule) | (isDemanding ? ImageLayout.demanding : 0)
    }

    private mutating func emitLeaf(_ branches: [UInt64]) -> UInt64 {
        if branches.count < 2 { return branches.first ?? 0 }
        alignForBranches()
        let offset = here
        words += [NodeKind.leaf.rawValue | UInt32(branches.count) << 8, 0]
        for branch in branches { appendBranch(branch) }
        return UInt64(offset)
    }

    private mutating func emitSwitch(
        _ discriminator: Discriminator, _ members: [IndexMember], _ facts: [Fact], used: Set<Discriminator>
    ) -> UInt64 {
        var buckets: [IndexKey: [IndexMember]] = [:]
        var others: [IndexMember] = []
        for member in members {
            guard let keys = keys(of: member, for: discriminator) else {
                others.append(member)
                continue
            }
            for key in keys {
                buckets[key, default: []].append(IndexMember(rule: member.rule, copies: member.copies * keys.count))
            }
        }
        var branches: [(key: UInt64, branch: UInt64)] = []
        var isText = false
        for (key, members) in buckets.sorted(by: {
            ($0.value[0].rule, $0.key.value) < ($1.value[0].rule, $1.key.value)
        }) {
            if case .text = key { isText = true }
            let fact = Fact(discriminator: discriminator, key: key)
            let branch = emitBranch(members, facts + [fact], used: used)
            if branch != 0 { branches.append((key.value, branch)) }
        }
        let also = emitBranch(others, facts, used: used)
        if branches.isEmpty { return also }
        return emitSwitch(discriminator, isText: isText, also: also, branches)
    }

    private func keys(of member: IndexMember, for discriminator: Discriminator) -> [IndexKey]? {
        for set in rules[member.rule].keys where set.discriminator == discriminator {
            return set.keys.count * member.copies <= CompileLimits.maxCopiesOfRule ? set.keys : nil
        }
        return nil
    }

    /// The discriminator that leaves the fewest rules to try, when that is worth a look at a node. Among those that
    /// divide all the rules that the best one does, and whose buckets need another look anyway, the one of fewest values
    /// comes first: where its value leads nowhere, the large tables behind it are not touched.
    private func bestDiscriminator(_ members: [IndexMember], _ used: Set<Discriminator>) -> Discriminator? {
        var counts: [Discriminator: KeyCounts] = [:]
        for member in members {
            for set in rules[member.rule].keys where !used.contains(set.discriminator) {
                if set.keys.count * member.copies > CompileLimits.maxCopiesOfRule { continue }
                counts[set.discriminator, default: KeyCounts()].add(set.keys)
            }
        }
        let total = Double(members.count)
        var found: [(discriminator: Discriminator, others: Double, bucket: Double, values: Int)] = []
        for (discriminator, count) in counts {
            let bucket = count.expected(domain: domain(discriminator), visits: discriminator.isSingle ? 1 : 3)
            let others = total - Double(count.rules)
            if total - others - bucket >= 1.25 {
                found.append((discriminator, others, bucket, count.buckets.count))
            }
        }
        found.sort { ($0.others + $0.bucket, $0.discriminator) < ($1.others + $1.bucket, $1.discriminator) }
        guard let best = found.first else { return nil }
        if best.bucket <= 2 { return best.discriminator }
        let coarser = found.filter { $0.discriminator.isSingle && $0.others <= best.others && $0.values < best.values }
        return coarser.min { ($0.values, $0.discriminator) < ($1.values, $1.discriminator) }?.discriminator
            ?? best.discriminator
    }

    /// How many values a discriminator can have; 0 when not known.
    private func domain(_ discriminator: Discriminator) -> Int {
        guard case .operand(let operand) = discriminator, let name = operandNames[Int(operand)] else { return 0 }
        switch name.type {
        case .boolean: return 2
        case .enumeration(let type): return type.cases.count
        default: return 0
        }
    }

    private mutating func emitSwitch(
        _ discriminator: Discriminator, isText: Bool, also: UInt64, _ branches: [(key: UInt64, branch: UInt64)]
    ) -> UInt64 {
        let least = branches.map { Int64(bitPattern: $0.key) }.min() ?? 0
        let most = branches.map { Int64(bitPattern: $0.key) }.max() ?? 0
        let (distance, overflowed) = most.subtractingReportingOverflow(least)
        // A table is no larger than the hashed entries would be.
        let isDense = !overflowed && distance < Int64(branches.count) * (discriminator.isSingle ? 4 : 64) + 4
        // Where a third of a table would be empty, bits that say which keys have a branch take less room.
        let isSparse =
            isDense && (!discriminator.isSingle || distance >= Int64(branches.count) * 3 / 2 && distance >= 8)
        let kind: NodeKind
        var operand: UInt32 = 0
        switch discriminator {
        case .groups: kind = isDense ? .rankedGroups : .hashedGroups
        case .containers: kind = isDense ? .rankedContainers : .hashedContainers
        case .operand(let index):
            operand = index
            switch (isDense, isSparse) {
            case (false, _): kind = isText ? .hashedTexts : .hashedWords
            case (true, false): kind = isText ? .denseTexts : .denseWords
            case (true, true): kind = isText ? .rankedTexts : .rankedWords
            }
        }
        alignForBranches()
        let offset = here
        words += [
            kind.rawValue, operand, 0, 0, UInt32(truncatingIfNeeded: least),
            UInt32(truncatingIfNeeded: least >> 32),
        ]
        appendBranch(also)
        let size: UInt32
        if !isDense {
            size = emitHashed(branches)
        } else {
            size = UInt32(distance) + 1
            if isSparse { emitRanked(branches, least, size) } else { emitDense(branches, least, size) }
        }
        words[Int(offset) + 2] = size
        return UInt64(offset)
    }

    private mutating func emitDense(_ branches: [(key: UInt64, branch: UInt64)], _ least: Int64, _ size: UInt32) {
        var entries = [UInt64](repeating: 0, count: Int(size))
        for (key, branch) in branches { entries[Int(key &- UInt64(bitPattern: least))] = branch }
        for entry in entries { appendBranch(entry) }
    }

    private mutating func emitRanked(_ branches: [(key: UInt64, branch: UInt64)], _ least: Int64, _ size: UInt32) {
        let rows = (Int(size) + 63) / 64
        var bits = [UInt64](repeating: 0, count: rows)
        let sorted = branches.map { (place: Int($0.key &- UInt64(bitPattern: least)), branch: $0.branch) }
            .sorted { $0.place < $1.place }
        for (place, _) in sorted { bits[place / 64] |= 1 << UInt64(place % 64) }
        var next = here + UInt32(rows) * 4
        for row in bits {
            appendBranch(row)
            words += [next, 0]
            next += UInt32(row.nonzeroBitCount) * 2
        }
        for (_, branch) in sorted { appendBranch(branch) }
    }

    private mutating func emitHashed(_ branches: [(key: UInt64, branch: UInt64)]) -> UInt32 {
        let (entries, mask) = hashed(branches)
        words.append(contentsOf: entries)
        return mask
    }

    private func hashed(_ branches: [(key: UInt64, branch: UInt64)]) -> (entries: [UInt32], mask: UInt32) {
        var capacity = 2
        while capacity < branches.count * 2 { capacity *= 2 }
        let mask = UInt32(capacity - 1)
        var entries = [UInt32](repeating: 0, count: capacity * 4)
        for (key, branch) in branches {
            var slot = Int(IndexHash.slot(key, mask))
            while entries[slot * 4 + 2] | entries[slot * 4 + 3] != 0 { slot = (slot + 1) & Int(mask) }
            entries[slot * 4] = UInt32(truncatingIfNeeded: key)
            entries[slot * 4 + 1] = UInt32(truncatingIfNeeded: key >> 32)
            entries[slot * 4 + 2] = UInt32(truncatingIfNeeded: branch)
            entries[slot * 4 + 3] = UInt32(truncatingIfNeeded: branch >> 32)
        }
        return (entries, mask)
    }
}

/// How the keys of a discriminator are spread over the rules of a list.
private struct KeyCounts {
    /// Rules with a key.
    var rules = 0
    var buckets: [IndexKey: Int] = [:]

    mutating func add(_ keys: [IndexKey]) {
        rules += 1
        for key in keys { buckets[key, default: 0] += 1 }
    }

    /// Rules to try in the bucket that a value leads to, when each value of the domain is as likely as any other.
    func expected(domain: Int, visits: Double) -> Double {
        let values = Double(max(domain, buckets.count + (domain > 0 ? 0 : 1)))
        return Double(buckets.values.reduce(0, +)) * min(1, visits / values)
    }
}

/// Where a key starts in open addressing.
enum IndexHash {
    @inline(__always)
    static func slot(_ hash: UInt64, _ mask: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: (hash &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
    }
}
