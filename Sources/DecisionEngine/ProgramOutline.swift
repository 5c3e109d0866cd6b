// What a program's index looks like, without its format: for tools that draw or describe it. Whoever changes the image
// keeps this walk; nothing of the hot path uses it.

package import PolicyLanguage

/// A node of the index.
package indirect enum OutlineNode: Sendable {
    /// Rules that are tested in full, each followed by those that need not be tried as it holds whenever they do.
    case rules([OutlineRule])
    /// Goes on where the value at hand leads, and always to `also`.
    case choice(OutlineQuestion, branches: [(value: OutlineValue, node: OutlineNode)], also: OutlineNode?)
}

/// A rule or an obligation of the policies, by index.
package enum OutlineRule: Sendable, Hashable {
    case rule(Int)
    case obligation(Int)
}

/// What a node looks at.
package enum OutlineQuestion: Sendable, Hashable {
    case attribute(AttributeReference)
    /// The subject's groups, and those these lie in.
    case groups
    /// What the resource lies in.
    case containers
    case action, resourceType
}

/// Where a branch leads for.
package enum OutlineValue: Sendable, Hashable {
    case constant(Constant)
    /// Indices into `CheckedPolicies.groups` and `.containers`.
    case group(Int)
    case container(Int)
    /// Indices into the catalog.
    case action(Int)
    case resourceType(Int)
}

/// One index of a cell: the rules of a kind that are listed under its action and type, or under any.
package struct OutlineTable: Sendable {
    /// What the rules in it do; obligations by the answer they go with.
    package enum Kind: Sendable, Hashable, CaseIterable {
        case forbid, require, permit, onPermit, onDeny, onStepUp
    }

    package var kind: Kind
    package var root: OutlineNode
}

/// What the walk looks up.
private struct OutlineNames {
    /// The texts that nodes switch on, by id.
    var texts: [UInt32: String]
    /// Rules that are not tried, by the one that covers them.
    var covered: [Int: [Int]]
}

extension Program {
    /// The indexes that a question of a cell walks, in the order in which they are asked.
    /// - Returns: nil when the catalog does not define the action on the type for such a subject.
    package func outline(subjectType: Int, resourceType: Int, action: Int) -> [OutlineTable]? {
        guard let cell = cell(subjectType: subjectType, resourceType: resourceType, action: action) else { return nil }
        let list = image.word(Int(image.word(ImageLayout.cellsOffset)) + cell)
        if list == ImageLayout.undefinedCell { return nil }
        if list == 0 { return [] }
        let names = OutlineNames(texts: texts(), covered: covered(Int(list)))
        var tables: [OutlineTable] = []
        var branch = Int(list) + ImageLayout.listWords
        let counts = UInt64(image.word(Int(list) + 2)) | UInt64(image.word(Int(list) + 3)) << 24
        for (column, kind) in OutlineTable.Kind.allCases.enumerated() {
            for _ in 0..<(counts >> UInt64(column * 8)) & 0xff {
                tables.append(OutlineTable(kind: kind, root: outline(pair(branch), names)))
                branch += 2
            }
        }
        return tables
    }

    /// What a branch leads to.
    private func outline(_ branch: UInt64, _ names: OutlineNames) -> OutlineNode {
        let low = UInt32(truncatingIfNeeded: branch)
        if branch >> 32 != 0 { return .rules(outlineRules(low, names)) }
        let node = Int(low)
        let head = image.word(node)
        switch NodeKind(rawValue: head & 0xff) {
        case .leaf: return rules(at: node + 2, Int(head >> 8), names)
        case .bitmaps: return rules(at: Int(image.word(node + 4)), Int(image.word(node + 2)), names)
        case .denseWords, .denseTexts, .rankedWords, .rankedTexts, .hashedWords, .hashedTexts:
            let operand = image.word(node + 1)
            return choice(node, question(operand), names) { value(of: $0, operand: operand, names.texts) }
        case .rankedGroups, .hashedGroups: return choice(node, .groups, names) { .group(Int($0)) }
        case .rankedContainers, .hashedContainers: return choice(node, .containers, names) { .container(Int($0)) }
        case .sets: return sets(node, names)
        case .none: return .rules([])
        }
    }

    /// Sets as one choice after the other.
    private func sets(_ node: Int, _ names: OutlineNames) -> OutlineNode {
        let also = pair(node + 6)
        var last = also == 0 ? nil : outline(also, names)
        for number in (0..<Int(image.word(node + 1))).reversed() {
            let set = node + ImageLayout.nodeWords + number * ImageLayout.setWords
            let head = image.word(set)
            let question: OutlineQuestion
            let value: (UInt64) -> OutlineValue?
            switch SetKind(rawValue: UInt8(truncatingIfNeeded: head)) {
            case .groups:
                question = .groups
                value = { .group(Int($0)) }
            case .containers:
                question = .containers
                value = { .container(Int($0)) }
            case .words, .texts, .none:
                question = self.question(head >> 8)
                value = { self.value(of: $0, operand: head >> 8, names.texts) }
            }
            let branches = rules(ofSet: set).compactMap { key, rule in
                value(key).map { (value: $0, node: OutlineNode.rules(outlineRules(rule, names))) }
            }
            last = .choice(question, branches: branches, also: last)
        }
        return last ?? .rules([])
    }

    /// The keys of a set with their rules.
    private func rules(ofSet set: Int) -> [(key: UInt64, rule: UInt32)] {
        let rows = Int(image.word(set + 2))
        let bits = rows == 1 ? set + 6 : Int(image.word(set + 6))
        var found: [(key: UInt64, rule: UInt32)] = []
        for row in 0..<rows {
            var rule = Int(image.word(Int(image.word(set + 3)) + row))
            for bit in 0..<64 where pair(bits + row * 2) >> UInt64(bit) & 1 == 1 {
                found.append((pair(set + 4) &+ UInt64(row * 64 + bit), image.word(rule)))
                rule += 1
            }
        }
        return found
    }

    private func rules(at first: Int, _ count: Int, _ names: OutlineNames) -> OutlineNode {
        .rules((0..<count).flatMap { outlineRules(image.word(first + $0 * 2), names) })
    }

    /// A rule that is tried, and those that it covers.
    private func outlineRules(_ marked: UInt32, _ names: OutlineNames) -> [OutlineRule] {
        let index = Int(marked & ~ImageLayout.demanding)
        if index >= policies.rules.count { return [.obligation(index - policies.rules.count)] }
        return [.rule(index)] + (names.covered[index] ?? []).map { .rule($0) }
    }

    private func choice(
        _ node: Int, _ question: OutlineQuestion, _ names: OutlineNames, _ value: (UInt64) -> OutlineValue?
    ) -> OutlineNode {
        var branches: [(value: OutlineValue, node: OutlineNode)] = []
        for (key, branch) in entries(node) {
            if let value = value(key) { branches.append((value, outline(branch, names))) }
        }
        let also = pair(node + 6)
        return .choice(question, branches: branches, also: also == 0 ? nil : outline(also, names))
    }

    /// The keys of a node with their branches.
    private func entries(_ node: Int) -> [(key: UInt64, branch: UInt64)] {
        let size = Int(image.word(node + 2))
        let least = pair(node + 4)
        let first = node + ImageLayout.nodeWords
        var entries: [(key: UInt64, branch: UInt64)] = []
        switch NodeKind(rawValue: image.word(node) & 0xff) {
        case .denseWords, .denseTexts:
            for place in 0..<size { entries.append((least &+ UInt64(place), pair(first + place * 2))) }
        case .hashedWords, .hashedTexts, .hashedGroups, .hashedContainers:
            for slot in 0...size { entries.append((pair(first + slot * 4), pair(first + slot * 4 + 2))) }
        case .rankedWords, .rankedTexts, .rankedGroups, .rankedContainers:
            for row in 0..<(size + 63) / 64 {
                var branch = Int(image.word(first + row * 4 + 2))
                for bit in 0..<64 where pair(first + row * 4) >> UInt64(bit) & 1 == 1 {
                    entries.append((least &+ UInt64(row * 64 + bit), pair(branch)))
                    branch += 2
                }
            }
        case .leaf, .bitmaps, .sets, .none: break
        }
        return entries.filter { $0.branch != 0 }
    }

    /// The rules that need not be tried in a list, by the one that covers them.
    private func covered(_ list: Int) -> [Int: [Int]] {
        let pairs = Int(image.word(list - 2))
        if pairs == 0 { return [:] }
        var covered: [Int: [Int]] = [:]
        for number in 0..<Int(image.word(pairs)) {
            let rule = Int(image.word(pairs + 1 + number * 2))
            covered[Int(image.word(pairs + 2 + number * 2)), default: []].append(rule)
        }
        return covered
    }

    private func pair(_ offset: Int) -> UInt64 { UInt64(image.word(offset)) | UInt64(image.word(offset + 1)) << 32 }

    /// The texts that nodes switch on, by id.
    private func texts() -> [UInt32: String] {
        let table = Int(image.word(ImageLayout.textsOffset))
        var texts: [UInt32: String] = [:]
        for slot in 0...Int(image.word(ImageLayout.textsMask)) {
            let place = Int(image.word(table + slot * 2 + 1))
            if place == 0 { continue }
            let bytes = (0..<Int(image.word(place + 1))).map { index in
                UInt8(
                    truncatingIfNeeded: image.word(place + ImageLayout.textWords + index / 4) >> UInt32(index % 4 * 8))
            }
            texts[image.word(place)] = String(decoding: bytes, as: UTF8.self)
        }
        return texts
    }

    private func operandKind(_ operand: UInt32) -> OperandKind? {
        let place = Int(image.word(ImageLayout.operandsOffset)) + Int(operand) * ImageLayout.operandWords
        return OperandKind(rawValue: image.word(place) & 0xff)
    }

    private func question(_ operand: UInt32) -> OutlineQuestion {
        switch operandKind(operand) {
        case .actionIndex: return .action
        case .resourceTypeIndex: return .resourceType
        default: break
        }
        let name = operandNames.indices.contains(Int(operand)) ? operandNames[Int(operand)] : nil
        return .attribute(name ?? AttributeReference(scope: .context, name: "", type: .boolean))
    }

    private func value(of key: UInt64, operand: UInt32, _ texts: [UInt32: String]) -> OutlineValue? {
        switch question(operand) {
        case .action: return .action(Int(truncatingIfNeeded: key))
        case .resourceType: return .resourceType(Int(truncatingIfNeeded: key))
        case .attribute(let reference):
            let text = texts[UInt32(truncatingIfNeeded: key)]
            switch reference.type {
            case .string: return text.map { .constant(.string($0)) }
            case .reference(let entity): return text.map { .constant(.reference(entity: entity, id: $0)) }
            default: return Constant(key, of: reference.type, in: .empty).map { .constant($0) }
            }
        case .groups, .containers: return nil
        }
    }
}
