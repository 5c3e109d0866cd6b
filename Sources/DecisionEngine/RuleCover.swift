// Rules that need not be tried where another one is: of `forbid … when resource.level >= 3` and the same from 4 on, the first
// holds whenever the second does, and a denial names one forbid. So a tenant that grows does not try more rules where it
// only says the same again, for a wider or a narrower range.
//
// A forbid covers another one whose condition is no weaker: equal, or equal but for one bound. A permit covers another
// one of the same demand whose name comes later, so that the permit which a step-up names is the same as without. Requires
// and obligations all count, so none of them is left out. Covered rules are written behind the index of their list, for
// whatever describes it (`Program.outline`).

import PolicyLanguage

/// What a rule's condition is compared by. Equal keys stand for the same, but for a limit: what holds for a limit holds for
/// a greater one's values too.
struct CoverKey {
    var id: UInt32
    var limit: Int64
}

extension Compiler {
    /// A number for words, the same for equal ones.
    mutating func identity(_ words: [UInt32]) -> UInt32 {
        if let known = identities[words] { return known }
        let id = UInt32(identities.count)
        identities[words] = id
        return id
    }

    /// A number for a condition, the same for equal ones.
    mutating func identity(of condition: PreparedCondition) -> UInt32 {
        var words: [UInt32] = [0]
        condition.describe(&words)
        return identity(words)
    }

    /// The keys of a rule: its whole condition first, then the condition without one of its bounds.
    mutating func coverKeys(of rule: CompiledRule) -> [CoverKey] {
        if rule.kind != .forbid && rule.kind != .permit { return [] }
        let demand = [
            UInt32(rule.kind.rawValue), UInt32(truncatingIfNeeded: rule.demand.levels),
            UInt32(truncatingIfNeeded: rule.demand.levels >> 32), UInt32(truncatingIfNeeded: rule.demand.within),
            UInt32(truncatingIfNeeded: rule.demand.within >> 32), rule.demand.methods,
        ]
        let ids = Set(rule.conjuncts.map(\.id)).sorted()
        var keys = [CoverKey(id: identity([1] + demand + ids), limit: 0)]
        let bounded = rule.conjuncts.compactMap { conjunct in conjunct.bound.map { (conjunct.id, $0) } }
        if bounded.count > CompileLimits.maxLoosenedBounds { return keys }
        for (id, bound) in bounded {
            let isLeast = bound.most == .max
            let words = [isLeast ? 2 : 3, bound.operand] + demand + ids.filter { $0 != id }
            keys.append(CoverKey(id: identity(words), limit: isLeast ? bound.least : ~bound.most))
        }
        return keys
    }

    /// The rules of a list that have to be tried, and each other one with the one that covers it.
    /// - Parameter members: all of one kind.
    func withoutCovered(_ members: [Int]) -> (tried: [Int], covered: [(rule: Int, by: Int)]) {
        guard members.count > 1, let kind = members.first.map({ rules[$0].kind }), kind == .forbid || kind == .permit
        else { return (members, []) }
        var loosest: [UInt32: (limit: Int64, rule: Int)] = [:]
        func note(_ member: Int) {
            for key in rules[member].coverKeys {
                if let known = loosest[key.id], known.limit <= key.limit { continue }
                loosest[key.id] = (key.limit, member)
            }
        }
        var coverings: [Int: Int] = [:]
        // A permit is covered by earlier names alone, a forbid by any.
        if kind == .forbid { members.forEach(note) }
        for member in kind == .forbid ? members : members.sorted(by: { nameRanks[$0] < nameRanks[$1] }) {
            for key in rules[member].coverKeys {
                guard let known = loosest[key.id], known.rule != member, known.limit <= key.limit else { continue }
                coverings[member] = known.rule
                break
            }
            if kind == .permit { note(member) }
        }
        if coverings.isEmpty { return (members, []) }
        let covered = members.compactMap { member in
            coverings[member].map { by in
                var last = by
                while let next = coverings[last] { last = next }
                return (rule: member, by: last)
            }
        }
        return (members.filter { coverings[$0] == nil }, covered)
    }
}

extension PreparedCondition {
    /// Adds words that say what it is.
    fileprivate func describe(_ words: inout [UInt32]) {
        switch self {
        case .constant(let value): words.append(value ? 1 : 0)
        case .not(let inner):
            words.append(2)
            inner.describe(&words)
        case .all(let parts), .any(let parts):
            if case .all = self { words.append(3) } else { words.append(4) }
            words.append(UInt32(parts.count))
            for part in parts { part.describe(&words) }
        case .test(let test): words += [5, test.code.head, test.code.left, test.code.right, test.code.high]
        }
    }
}
