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
        var tables: [OutlineTable] = []
        for (column, kind) in OutlineTable.Kind.allCases.enumerated() {
            for position in 1...max(1, Int(image.word(Int(list)))) {
                let root = image.word(Int(image.word(Int(list) + position)) + 1 + column)
                if root != 0 { tables.append(OutlineTable(kind: kind, root: outline(root))) }
            }
        }
        return tables
    }

    private func outline(_ offset: UInt32) -> OutlineNode {
        let node = Int(offset)
        let head = image.word(node)
        let second = image.word(node + 1)
        switch NodeKind(rawValue: head & 0xff) {
        case .leaf: return .rules((0..<Int(second)).map { outlineRule(image.word(node + 2 + $0)) })
        case .valueSwitch:
            return choice(
                node, question(second), entryWords: 4
            ) { value(at: $0, operand: second, isString: head >> 8 == ValueClass.string.rawValue) }
        case .groupSwitch: return choice(node, .groups, entryWords: 2) { .group(Int(image.word($0)) - 1) }
        case .containerSwitch: return choice(node, .containers, entryWords: 2) { .container(Int(image.word($0)) - 1) }
        case .none: return .rules([])
        }
    }

    private func outlineRule(_ index: UInt32) -> OutlineRule {
        let index = Int(index)
        return index < policies.rules.count ? .rule(index) : .obligation(index - policies.rules.count)
    }

    private func choice(
        _ node: Int, _ question: OutlineQuestion, entryWords: Int, _ value: (Int) -> OutlineValue?
    ) -> OutlineNode {
        var branches: [(value: OutlineValue, node: OutlineNode)] = []
        for position in 0...Int(image.word(node + 3)) {
            let entry = node + 4 + position * entryWords
            let child = image.word(entry + entryWords - 1)
            if child != 0, let value = value(entry) { branches.append((value, outline(child))) }
        }
        let also = image.word(node + 2)
        return .choice(question, branches: branches, also: also == 0 ? nil : outline(also))
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

    private func value(at entry: Int, operand: UInt32, isString: Bool) -> OutlineValue? {
        let word = UInt64(image.word(entry)) | UInt64(image.word(entry + 1)) << 32
        switch question(operand) {
        case .action: return .action(Int(truncatingIfNeeded: word))
        case .resourceType: return .resourceType(Int(truncatingIfNeeded: word))
        case .attribute(let reference):
            if !isString { return Constant(word, of: reference.type, in: .empty).map { .constant($0) } }
            let slot = Int(image.word(entry + 2))
            let page = Int(image.word(ImageLayout.poolOffset)) + (slot >> ConstantPool.pageShift) * 2
            return image.withRecord(at: Int(image.word(page)), bytes: Int(image.word(page + 1))) { record in
                Constant(record.payload(slot & (ConstantPool.pageSize - 1)), of: reference.type, in: record)
            }.map { .constant($0) }
        case .groups, .containers: return nil
        }
    }
}
