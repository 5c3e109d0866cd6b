// What a program's index looks like, without its format: for tools that draw or describe it. Whoever changes the image
// keeps this walk; nothing of the hot path uses it.

package import PolicyLanguage

/// A node of the index.
package indirect enum OutlineNode: Sendable {
    /// Rules that are tested in full.
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

extension Program {
    /// The indexes that a question of a cell walks, in the order in which they are asked.
    /// - Returns: nil when the catalog does not define the action on the type for such a subject.
    package func outline(subjectType: Int, resourceType: Int, action: Int) -> [OutlineTable]? {
        guard let cell = cell(subjectType: subjectType, resourceType: resourceType, action: action) else { return nil }
        let list = image.word(Int(image.word(ImageLayout.cellsOffset)) + cell)
        if list == ImageLayout.undefinedCell { return nil }
        if list == 0 { return [] }
        let texts = texts()
        var tables: [OutlineTable] = []
        var branch = Int(list) + ImageLayout.listWords
        let counts = UInt64(image.word(Int(list) + 2)) | UInt64(image.word(Int(list) + 3)) << 24
        for (column, kind) in OutlineTable.Kind.allCases.enumerated() {
            for _ in 0..<(counts >> UInt64(column * 8)) & 0xff {
                tables.append(OutlineTable(kind: kind, root: outline(at: branch, texts)))
                branch += 2
            }
        }
        return tables
    }

    /// What a branch leads to.
    private func outline(at branch: Int, _ texts: [UInt32: String]) -> OutlineNode {
        let low = image.word(branch)
        if image.word(branch + 1) != 0 { return .rules([outlineRule(low & ~ImageLayout.demanding)]) }
        let node = Int(low)
        let head = image.word(node)
        switch NodeKind(rawValue: head & 0xff) {
        case .leaf: return rules(at: node + 2, Int(head >> 8))
        case .bitmaps: return rules(at: Int(image.word(node + 4)), Int(image.word(node + 2)))
        case .denseWords, .denseTexts, .hashedWords, .hashedTexts:
            let operand = image.word(node + 1)
            return choice(node, question(operand), texts) { value(of: $0, operand: operand, texts) }
        case .rankedGroups, .hashedGroups: return choice(node, .groups, texts) { .group(Int($0)) }
        case .rankedContainers, .hashedContainers: return choice(node, .containers, texts) { .container(Int($0)) }
        case .none: return .rules([])
        }
    }

    private func rules(at first: Int, _ count: Int) -> OutlineNode {
        .rules((0..<count).map { outlineRule(image.word(first + $0 * 2) & ~ImageLayout.demanding) })
    }

    private func outlineRule(_ index: UInt32) -> OutlineRule {
        let index = Int(index)
        return index < policies.rules.count ? .rule(index) : .obligation(index - policies.rules.count)
    }

    private func choice(
        _ node: Int, _ question: OutlineQuestion, _ texts: [UInt32: String], _ value: (UInt64) -> OutlineValue?
    ) -> OutlineNode {
        var branches: [(value: OutlineValue, node: OutlineNode)] = []
        for (key, branch) in entries(node) {
            if let value = value(key) { branches.append((value, outline(at: branch, texts))) }
        }
        let hasAlso = image.word(node + 6) | image.word(node + 7) != 0
        return .choice(question, branches: branches, also: hasAlso ? outline(at: node + 6, texts) : nil)
    }

    /// The keys of a node with the places of their branches.
    private func entries(_ node: Int) -> [(key: UInt64, branch: Int)] {
        let size = Int(image.word(node + 2))
        let least = pair(node + 4)
        let first = node + ImageLayout.nodeWords
        var entries: [(key: UInt64, branch: Int)] = []
        switch NodeKind(rawValue: image.word(node) & 0xff) {
        case .denseWords, .denseTexts:
            for place in 0..<size { entries.append((least &+ UInt64(place), first + place * 2)) }
        case .hashedWords, .hashedTexts, .hashedGroups, .hashedContainers:
            for slot in 0...size { entries.append((pair(first + slot * 4), first + slot * 4 + 2)) }
        case .rankedGroups, .rankedContainers:
            for row in 0..<(size + 63) / 64 {
                var branch = Int(image.word(first + row * 4 + 2))
                for bit in 0..<64 where pair(first + row * 4) >> UInt64(bit) & 1 == 1 {
                    entries.append((least &+ UInt64(row * 64 + bit), branch))
                    branch += 2
                }
            }
        case .leaf, .bitmaps, .none: break
        }
        return entries.filter { pair($0.branch) != 0 }
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
