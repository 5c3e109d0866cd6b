// The index of a list of rules: a tree that leads from the values in a question to the rules that can still match.
//
// A condition such as `user.department == "Finance" and …` can only hold where the department is Finance: the rule
// has the *key* Finance for that operand. A node switches on the operand that keys most rules into the smallest
// buckets; rules without a key for it go to the node's `also` child, which is visited as well. So no rule is ever
// copied into branches it does not name, and the tree is as large as the keys in the text. What a leaf holds is
// tested in full: the index only has to be right about what it leaves out.

import PolicyLanguage

/// A value by which an index switches.
enum IndexKey: Hashable {
    /// A word: Boolean, number, enum case, instant.
    case word(UInt64)
    /// A string, by pool slot.
    case string(UInt32)
    /// A named group or container, by its index.
    case named(UInt32)
}

/// What an index switches on: an operand, the subject's groups, or the resource's containers.
enum Discriminator: Hashable, Comparable {
    case operand(UInt32)
    case groups
    case containers
}

/// The values of each discriminator outside which a condition cannot hold.
typealias NecessaryKeys = [Discriminator: Set<IndexKey>]

extension Compiler {
    /// Builds the index of some rules.
    /// - Returns: the root node's offset, 0 for no rules.
    mutating func buildIndex(_ members: [Int], _ rules: [CompiledRule]) throws(CompileError) -> UInt32 {
        if members.isEmpty { return 0 }
        var keyed: [(rule: Int, keys: NecessaryKeys)] = []
        keyed.reserveCapacity(members.count)
        for member in members {
            var budget = 256
            var keys: NecessaryKeys = [:]
            if members.count > CompileLimits.leafSize {
                let rule = rules[member]
                keys = try necessaryKeys(rule.condition, rule.scope, &budget) ?? [:]
                if rule.isResidual { addScopeKeys(rule.scope, &keys) }
            }
            keyed.append((member, keys))
        }
        return emitNode(keyed, used: [], depth: 0)
    }

    private mutating func addScopeKeys(_ rule: RuleScope, _ keys: inout NecessaryKeys) {
        if let actions = rule.actions, actions.count <= CompileLimits.maxKeysOfRule {
            keys[.operand(index(of: OperandEntry(kind: .actionIndex)))] = Set(actions.map { .word(UInt64($0)) })
        }
        if let types = rule.resourceTypes, types.count <= CompileLimits.maxKeysOfRule {
            keys[.operand(index(of: OperandEntry(kind: .resourceTypeIndex)))] = Set(types.map { .word(UInt64($0)) })
        }
    }

    // MARK: Keys

    /// The keys of a condition; nil when it can never hold.
    private mutating func necessaryKeys(
        _ condition: Condition, _ scope: RuleScope, _ budget: inout Int
    ) throws(CompileError) -> NecessaryKeys? {
        budget -= 1
        if budget <= 0 { return [:] }
        switch condition {
        case .constant(let value): return value ? [:] : nil
        case .all(let parts):
            var keys: NecessaryKeys = [:]
            for part in parts {
                guard let more = try necessaryKeys(part, scope, &budget) else { return nil }
                keys.merge(more) { $0.count <= $1.count ? $0 : $1 }
            }
            return keys
        case .any(let parts):
            var keys: NecessaryKeys?
            for part in parts {
                guard let more = try necessaryKeys(part, scope, &budget) else { continue }
                guard let known = keys else {
                    keys = more
                    continue
                }
                var joined: NecessaryKeys = [:]
                for (discriminator, values) in known {
                    guard let others = more[discriminator] else { continue }
                    let union = values.union(others)
                    if union.count <= CompileLimits.maxKeysOfRule { joined[discriminator] = union }
                }
                keys = joined
            }
            return keys
        case .not(.test(.compare(let left, .equal, .constant(.boolean(let value))), _)):
            return try key(left, .boolean(!value), scope)
        case .not: return [:]
        case .test(.group(let group), _): return [.groups: [.named(UInt32(group))]]
        case .test(.container(let container), _): return [.containers: [.named(UInt32(container))]]
        case .test(.role(let role), _): return try necessaryKeys(policies.roles[role].condition, scope, &budget)
        case .test(.compare(let left, .equal, .constant(let value)), _): return try key(left, value, scope)
        case .test(.compare(.constant(let value), .equal, let right), _): return try key(right, value, scope)
        case .test(.oneOf(let left, let values), _) where values.count <= CompileLimits.maxKeysOfRule:
            var keys: NecessaryKeys = [:]
            for value in values {
                for (discriminator, more) in try key(left, value, scope) {
                    keys[discriminator, default: []].formUnion(more)
                }
            }
            return keys
        case .test: return [:]
        }
    }

    private mutating func key(
        _ operand: Operand, _ value: Constant, _ scope: RuleScope
    ) throws(CompileError) -> NecessaryKeys {
        switch operand {
        case .attribute, .attributeOr: break
        case .constant, .subject, .resource, .now, .count, .sum: return [:]
        }
        let key: IndexKey
        switch value {
        case .boolean(let value): key = .word(value ? 1 : 0)
        case .integer(let value), .decimal(let value), .datetime(let value), .duration(let value):
            key = .word(UInt64(bitPattern: value))
        case .enumeration(let ordinal): key = .word(UInt64(ordinal))
        case .string, .reference: key = .string(slot(of: value))
        case .address, .set: return [:]
        }
        return [.operand(try self.operand(operand, scope)): [key]]
    }

    // MARK: Nodes

    private mutating func emitNode(
        _ rules: [(rule: Int, keys: NecessaryKeys)], used: Set<Discriminator>, depth: Int
    ) -> UInt32 {
        if rules.isEmpty { return 0 }
        guard rules.count > CompileLimits.leafSize, depth < CompileLimits.maxIndexDepth,
            let best = bestDiscriminator(rules, used)
        else { return emitLeaf(rules.map(\.rule)) }

        var buckets: [IndexKey: [(rule: Int, keys: NecessaryKeys)]] = [:]
        var others: [(rule: Int, keys: NecessaryKeys)] = []
        for rule in rules {
            guard let keys = rule.keys[best] else {
                others.append(rule)
                continue
            }
            for key in keys { buckets[key, default: []].append(rule) }
        }
        let used = used.union([best])
        var children: [(key: IndexKey, child: UInt32)] = []
        for (key, members) in buckets.sorted(by: {
            ($0.value[0].rule, order($0.key)) < ($1.value[0].rule, order($1.key))
        }) {
            children.append((key, emitNode(members, used: used, depth: depth + 1)))
        }
        let also = emitNode(others, used: used, depth: depth + 1)
        return emitSwitch(best, also: also, children)
    }

    private func order(_ key: IndexKey) -> UInt64 {
        switch key {
        case .word(let word): word
        case .string(let slot), .named(let slot): UInt64(slot)
        }
    }

    /// The discriminator that leaves the fewest rules to look at in the worst bucket.
    private func bestDiscriminator(
        _ rules: [(rule: Int, keys: NecessaryKeys)], _ used: Set<Discriminator>
    ) -> Discriminator? {
        var keyed: [Discriminator: (rules: Int, buckets: [IndexKey: Int])] = [:]
        for rule in rules {
            for (discriminator, keys) in rule.keys where !used.contains(discriminator) {
                var entry = keyed.removeValue(forKey: discriminator) ?? (0, [:])
                entry.rules += 1
                for key in keys { entry.buckets[key, default: 0] += 1 }
                keyed[discriminator] = entry
            }
        }
        var best: (score: Double, discriminator: Discriminator)?
        for (discriminator, entry) in keyed.sorted(by: { $0.key < $1.key }) {
            // Rules still to look at: those without a key, and a bucket (the mean, weighted by its size).
            let squares = entry.buckets.values.reduce(0.0) { $0 + Double($1) * Double($1) }
            let total = entry.buckets.values.reduce(0, +)
            let expected = Double(rules.count - entry.rules) + squares / Double(max(total, 1))
            if expected < (best?.score ?? Double(rules.count) * 0.75) { best = (expected, discriminator) }
        }
        return best?.discriminator
    }

    private mutating func emitLeaf(_ rules: [Int]) -> UInt32 {
        let offset = here
        words.append(NodeKind.leaf.rawValue)
        words.append(UInt32(rules.count))
        for rule in rules { words.append(UInt32(rule)) }
        return offset
    }

    private mutating func emitSwitch(
        _ discriminator: Discriminator, also: UInt32, _ children: [(key: IndexKey, child: UInt32)]
    ) -> UInt32 {
        var capacity = 2
        while capacity < children.count * 2 { capacity *= 2 }
        let mask = UInt32(capacity - 1)
        let entryWords = discriminator == .groups || discriminator == .containers ? 2 : 4
        var entries = [UInt32](repeating: 0, count: capacity * entryWords)
        var isString = false
        for (key, child) in children {
            let hash: UInt64
            var entry: [UInt32]
            switch key {
            case .word(let word):
                hash = word
                entry = [UInt32(truncatingIfNeeded: word), UInt32(truncatingIfNeeded: word >> 32), 0, child]
            case .string(let slot):
                isString = true
                hash = textHash(constants[Int(slot)])
                entry = [UInt32(truncatingIfNeeded: hash), UInt32(truncatingIfNeeded: hash >> 32), slot, child]
            case .named(let index):
                hash = UInt64(index)
                entry = [index + 1, child]
            }
            var position = IndexHash.slot(hash, mask)
            while entries[Int(position) * entryWords + entryWords - 1] != 0 { position = (position + 1) & mask }
            entries.replaceSubrange(Int(position) * entryWords..<Int(position + 1) * entryWords, with: entry)
        }
        let offset = here
        switch discriminator {
        case .groups: words += [NodeKind.groupSwitch.rawValue, 0, also, mask]
        case .containers: words += [NodeKind.containerSwitch.rawValue, 0, also, mask]
        case .operand(let operand):
            let valueClass = isString ? ValueClass.string : .word
            words += [NodeKind.valueSwitch.rawValue | valueClass.rawValue << 8, operand, also, mask]
        }
        words.append(contentsOf: entries)
        return offset
    }

    private func textHash(_ constant: Constant) -> UInt64 {
        switch constant {
        case .string(let text), .reference(_, let text): ContentHash.hash(text)
        default: 0
        }
    }
}

/// Where a key starts in a node's open addressing.
enum IndexHash {
    @inline(__always)
    static func slot(_ hash: UInt64, _ mask: UInt32) -> UInt32 {
        UInt32(truncatingIfNeeded: (hash &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
    }
}
