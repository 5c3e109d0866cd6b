// Conditions to jumping code: each test knows where to go when it holds and when it does not, so `and`, `or` and
// `not` cost nothing at run time and nothing is ever copied.

package import PolicyLanguage

extension Compiler {
    /// Emits a condition, last part first so that every jump target is already known.
    /// - Returns: the entry: an offset of a test, `accept` or `reject`.
    mutating func emit(
        _ condition: Condition, _ scope: RuleScope, onTrue: UInt32, onFalse: UInt32
    ) throws(CompileError) -> UInt32 {
        switch condition {
        case .constant(let value):
            return value ? onTrue : onFalse
        case .not(let inner):
            return try emit(inner, scope, onTrue: onFalse, onFalse: onTrue)
        case .all(let parts):
            var next = onTrue
            for part in parts.reversed() { next = try emit(part, scope, onTrue: next, onFalse: onFalse) }
            return next
        case .any(let parts):
            var next = onFalse
            for part in parts.reversed() { next = try emit(part, scope, onTrue: onTrue, onFalse: next) }
            return next
        case .test(let test, _):
            return try emit(test, scope, onTrue: onTrue, onFalse: onFalse)
        }
    }

    private mutating func emit(
        _ test: Test, _ scope: RuleScope, onTrue: UInt32, onFalse: UInt32
    ) throws(CompileError) -> UInt32 {
        switch test {
        case .compare(let left, let comparison, let right):
            let kind = valueClass(of: left) ?? valueClass(of: right) ?? .word
            return emitTest(
                left == .now || right == .now ? .compareTime : .compare, kind, comparison.rawValue,
                try operand(left, scope), try operand(right, scope),
                onTrue: onTrue, onFalse: onFalse)
        case .oneOf(let left, let constants):
            let set = index(of: OperandEntry(kind: .constant, slot: slot(of: .set(constants))))
            return emitTest(
                .contains, valueClass(of: left) ?? .word, 0, set, try operand(left, scope), onTrue: onTrue,
                onFalse: onFalse)
        case .contains(let set, let element):
            return emitTest(
                .contains, valueClass(of: element) ?? .word, 0, try operand(set, scope), try operand(element, scope),
                onTrue: onTrue, onFalse: onFalse)
        case .intersects(let left, let right):
            return emitTest(
                .intersects, elementClass(of: left) ?? elementClass(of: right) ?? .word, 0, try operand(left, scope),
                try operand(right, scope), onTrue: onTrue, onFalse: onFalse)
        case .subset(let left, let right):
            return emitTest(
                .subset, elementClass(of: left) ?? elementClass(of: right) ?? .word, 0, try operand(left, scope),
                try operand(right, scope), onTrue: onTrue, onFalse: onFalse)
        case .like(let left, let pattern):
            let parts = pattern.parts.map { index(of: OperandEntry(kind: .constant, slot: slot(of: .string($0)))) }
            let offset = here
            words.append(UInt32(parts.count))
            words.append(contentsOf: parts)
            return emitTest(.like, .string, 0, try operand(left, scope), offset, onTrue: onTrue, onFalse: onFalse)
        case .inNetworks(let left, let networks):
            let offset = here
            words.append(UInt32(networks.count))
            for network in networks { appendNetwork(network) }
            return emitTest(
                .inNetworks, .address, 0, try operand(left, scope), offset, onTrue: onTrue, onFalse: onFalse)
        case .group(let group):
            return emitTest(.group, .word, 0, UInt32(group), 0, onTrue: onTrue, onFalse: onFalse)
        case .container(let container):
            return emitTest(.container, .word, 0, UInt32(container), 0, onTrue: onTrue, onFalse: onFalse)
        case .schedule(let schedule):
            return emitTest(.schedule, .word, 0, scheduleOffsets[schedule], 0, onTrue: onTrue, onFalse: onFalse)
        case .role(let role):
            return emitTest(.role, .word, 0, UInt32(role), 0, onTrue: onTrue, onFalse: onFalse)
        case .has(let reference):
            return emitTest(
                .has, .word, 0, try operand(.attribute(reference), scope), 0, onTrue: onTrue, onFalse: onFalse)
        }
    }

    mutating func emitTest(
        _ operation: Operation, _ valueClass: ValueClass, _ comparison: UInt8, _ left: UInt32, _ right: UInt32,
        onTrue: UInt32, onFalse: UInt32
    ) -> UInt32 {
        let offset = here
        words.append(operation.rawValue | valueClass.rawValue << 8 | UInt32(comparison) << 16)
        words.append(left)
        words.append(right)
        words.append(onTrue)
        words.append(onFalse)
        return offset
    }

    private mutating func appendNetwork(_ network: IPNetwork) {
        let mask = IPNetwork.mask(network.prefix)
        for word in [network.address.high, network.address.low, mask.high, mask.low] {
            words.append(UInt32(truncatingIfNeeded: word))
            words.append(UInt32(truncatingIfNeeded: word >> 32))
        }
    }

    // MARK: Operands

    mutating func operand(_ operand: Operand, _ scope: RuleScope) throws(CompileError) -> UInt32 {
        switch operand {
        case .constant(let constant):
            return index(of: OperandEntry(kind: .constant, slot: slot(of: constant)))
        case .attribute(let reference):
            return try attribute(reference, scope, kind: .attribute, fallback: nil)
        case .attributeOr(let reference, let fallback):
            return try attribute(reference, scope, kind: .attribute, fallback: fallback)
        case .count(let reference):
            return try attribute(reference, scope, kind: .count, fallback: nil)
        case .subject: return index(of: OperandEntry(kind: .subjectID))
        case .resource: return index(of: OperandEntry(kind: .resourceID))
        case .now: return index(of: OperandEntry(kind: .now))
        case .sum(let terms):
            var list: [UInt32] = [UInt32(terms.count)]
            for term in terms {
                list.append(try self.operand(term.operand, scope) | (term.isNegative ? SumLayout.takenOff : 0))
            }
            let offset = typeTables[list] ?? here
            if offset == here {
                words.append(contentsOf: list)
                typeTables[list] = offset
            }
            return index(of: OperandEntry(kind: .sum, table: offset))
        }
    }

    /// The operand of an attribute. Where the entity types of the rule keep it in different slots or with
    /// different defaults, the operand carries a table by type.
    private mutating func attribute(
        _ reference: AttributeReference, _ scope: RuleScope, kind: OperandKind, fallback: Constant?
    ) throws(CompileError) -> UInt32 {
        let owners = owners(of: reference, scope)
        var places: [(owner: Int, entry: OperandEntry)] = []
        for owner in owners {
            guard let (slot, attribute) = lookUp(reference, owner: owner) else { continue }
            var flags: UInt32 = 0
            if attribute.isStored { flags |= OperandFlags.stored }
            if attribute.isFromRequest { flags |= OperandFlags.inQuestion }
            if attribute.isRequired { flags |= OperandFlags.required }
            let standIn = attribute.defaultValue ?? fallback
            let defaultSlot = standIn.map { self.slot(of: $0) + 1 } ?? 0
            places.append(
                (
                    owner,
                    OperandEntry(
                        kind: kind, scope: reference.scope, slot: UInt32(slot), flags: flags, defaultSlot: defaultSlot,
                        name: reference)
                ))
        }
        guard let first = places.first else {
            throw CompileError(.inconsistent, "no type has the attribute \"\(reference.name)\" that a rule reads")
        }
        if places.allSatisfy({ $0.entry == first.entry }) { return index(of: first.entry) }
        let count = reference.scope == .action ? catalog.actions.count : catalog.entities.count
        let width = ImageLayout.tableRowWords
        var table = [UInt32](repeating: 0, count: count * width)
        for place in places {
            table[place.owner * width] = place.entry.slot
            table[place.owner * width + 1] = place.entry.flags
            table[place.owner * width + 2] = place.entry.defaultSlot
        }
        let offset: UInt32
        if let known = typeTables[table] {
            offset = known
        } else {
            offset = here
            words.append(contentsOf: table)
            typeTables[table] = offset
            typeTableRows.append((offset, count))
        }
        let flags = places.reduce(UInt32(0)) { $0 | $1.entry.flags }
        return index(
            of: OperandEntry(kind: kind, scope: reference.scope, flags: flags, table: offset, name: reference))
    }

    private func owners(of reference: AttributeReference, _ scope: RuleScope) -> [Int] {
        switch reference.scope {
        case .subject: scope.subjectTypes
        case .session: [Catalog.session]
        case .device: [Catalog.device]
        case .resource: scope.resourceTypes ?? Array(catalog.entities.indices)
        case .action: scope.actions ?? Array(catalog.actions.indices)
        case .context: [0]
        }
    }

    private func lookUp(_ reference: AttributeReference, owner: Int) -> (slot: Int, attribute: Attribute)? {
        let attributes: [Attribute]
        switch reference.scope {
        case .subject, .session, .device, .resource: attributes = catalog.entities[owner].attributes
        case .action: attributes = catalog.actions[owner].attributes
        case .context: attributes = catalog.context
        }
        guard let slot = attributes.firstIndex(where: { $0.name == reference.name }) else { return nil }
        return (slot, attributes[slot])
    }

    /// The operands of the question that a condition reads and that can be missing or of the wrong type.
    mutating func readsOfQuestion(_ condition: Condition, _ scope: RuleScope) throws(CompileError) -> [UInt32] {
        var references: [AttributeReference] = []
        var seenRoles = Set<Int>()
        collectReads(condition, &references, &seenRoles)
        var reads: [UInt32] = []
        for reference in references {
            let index = try attribute(reference, scope, kind: .attribute, fallback: nil)
            if operands[Int(index)].flags & (OperandFlags.inQuestion | OperandFlags.required) != 0 {
                reads.append(index)
            }
        }
        return reads
    }

    private func collectReads(
        _ condition: Condition, _ references: inout [AttributeReference], _ seenRoles: inout Set<Int>
    ) {
        var found: [AttributeReference] = []
        var roles: [Int] = []
        condition.forEachTest { test in
            test.forEachOperand { operand in operand.forEachReference { found.append($0) } }
            if case .has(let reference) = test { found.append(reference) }
            if case .role(let role) = test { roles.append(role) }
        }
        for reference in found where !references.contains(reference) { references.append(reference) }
        for role in roles where seenRoles.insert(role).inserted {
            collectReads(policies.roles[role].condition, &references, &seenRoles)
        }
    }

    /// Which stored records a rule reads beside the subject's view.
    func needs(of rule: PlacedRule) -> SourceNeeds {
        var needs = SourceNeeds()
        if let demand = rule.demand, demand != .nothing { needs.insert(.session) }
        var references: [AttributeReference] = []
        var roles = Set<Int>()
        collectReads(rule.condition, &references, &roles)
        for reference in references {
            switch reference.scope {
            case .session: needs.insert(.session)
            case .device: needs.insert(.device)
            case .resource:
                let types = rule.resourceTypes ?? Array(catalog.entities.indices)
                let isStored = types.contains { lookUp(reference, owner: $0)?.attribute.isStored ?? false }
                if isStored { needs.insert(.resource) }
            case .subject, .action, .context: break
            }
        }
        for condition in [rule.condition] + roles.map({ policies.roles[$0].condition }) {
            condition.forEachTest { test in
                switch test {
                case .group: needs.insert(.groups)
                case .container: needs.formUnion([.resource, .containers])
                default: break
                }
            }
        }
        return needs
    }

    // MARK: Classes

    func valueClass(of operand: Operand) -> ValueClass? {
        switch operand {
        case .constant(let constant): valueClass(of: constant)
        case .attribute(let reference), .attributeOr(let reference, _): valueClass(of: reference.type)
        case .subject, .resource: .string
        case .now, .count, .sum: .word
        }
    }

    private func elementClass(of operand: Operand) -> ValueClass? {
        switch operand {
        case .constant(.set(let values)): return values.first.flatMap { valueClass(of: $0) }
        case .attribute(let reference), .attributeOr(let reference, _):
            if case .set(let element) = reference.type { return valueClass(of: element) }
            return nil
        default: return nil
        }
    }

    private func valueClass(of constant: Constant) -> ValueClass? {
        switch constant {
        case .string, .reference: .string
        case .address: .address
        case .set: nil
        default: .word
        }
    }

    private func valueClass(of type: ValueType) -> ValueClass? {
        switch type {
        case .string, .reference: .string
        case .address: .address
        case .set: nil
        default: .word
        }
    }
}

extension Test {
    /// Calls `body` with each operand.
    package func forEachOperand(_ body: (Operand) -> Void) {
        switch self {
        case .compare(let left, _, let right), .intersects(let left, let right), .subset(let left, of: let right),
            .contains(set: let left, let right):
            body(left)
            body(right)
        case .oneOf(let operand, _), .like(let operand, _), .inNetworks(let operand, _): body(operand)
        case .group, .container, .schedule, .role, .has: break
        }
    }
}

extension Operand {
    /// Calls `body` with each attribute it reads.
    package func forEachReference(_ body: (AttributeReference) -> Void) {
        switch self {
        case .attribute(let reference), .attributeOr(let reference, _), .count(let reference): body(reference)
        case .sum(let terms): for term in terms { term.operand.forEachReference(body) }
        case .constant, .subject, .resource, .now: break
        }
    }
}

/// Terms of a sum in the image.
enum SumLayout {
    /// Mark of a term that is taken off.
    static let takenOff: UInt32 = 1 << 31
}
