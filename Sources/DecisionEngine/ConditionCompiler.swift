// Conditions to jumping code: each test knows where to go when it holds and when it does not, so `and`, `or` and
// `not` cost nothing at run time and nothing is ever copied.

import PolicyLanguage

/// A condition whose operands are resolved, before it has a place in the code.
indirect enum PreparedCondition {
    case constant(Bool)
    case all([PreparedCondition])
    case any([PreparedCondition])
    case not(PreparedCondition)
    case test(PreparedTest)
}

/// A test without its jump targets, and what the index may know of it.
struct PreparedTest {
    var code: TestCode
    /// It holds for these values and no others.
    var keys: KeySet?
    /// Its negation holds for these values and no others.
    var negatedKeys: KeySet?
    /// It holds for the numbers of this range and no others.
    var bound: Bound?
    /// It asks whether this operand has a value.
    var presence: UInt32?
    /// Values outside which it cannot hold, though not for all of them; nil values when it never holds.
    var necessary: NecessaryKeys?
}

/// The words of a test that say what it asks.
struct TestCode: Hashable {
    var head: UInt32
    var left: UInt32
    var right: UInt32 = 0
    var high: UInt32 = 0
    var onTrue: UInt32 = 0
    var onFalse: UInt32 = 0

    init(
        _ operation: Operation, _ valueClass: ValueClass, _ comparison: Comparison?, _ left: UInt32,
        _ right: UInt32 = 0
    ) {
        head = operation.rawValue | valueClass.rawValue << 8 | (comparison?.orders ?? 0) << 16
        self.left = left
        self.right = right
    }

    /// A comparison with a constant word.
    init(_ left: UInt32, _ comparison: Comparison, word: UInt64) {
        self.init(.compareWord, .word, comparison, left, UInt32(truncatingIfNeeded: word))
        high = UInt32(truncatingIfNeeded: word >> 32)
    }

    var operation: Operation? { Operation(rawValue: head & 0xff) }

    /// About what it costs, to try the cheap parts of a condition first; of two words' comparisons that with one value, which
    /// seldom holds, before that with a range.
    var cost: Int {
        switch operation {
        case .compareWord: head >> 16 == Comparison.equal.orders ? 1 : 2
        case .actionIn, .resourceTypeIn, .has: 1
        case .compareWords, .compareText, .compareTexts: 3
        case .group, .container, .granted: 4
        case .compare, .contains, .compareTime: 5
        case .schedule, .inNetworks, .like: 8
        case .intersects, .subset: 10
        case .role, .none: 12
        }
    }
}

extension PreparedCondition {
    /// About what it costs; no more than 1,000.
    var cost: Int {
        switch self {
        case .constant: 0
        case .all(let parts), .any(let parts): parts.prefix(100).reduce(0) { min(1_000, $0 + $1.cost) }
        case .not(let inner): inner.cost
        case .test(let test): test.code.cost
        }
    }
}

extension Compiler {
    // MARK: Code

    /// Emits a condition, last part first so that every jump target is already known.
    /// - Returns: the entry: an offset of a test, `accept` or `reject`.
    mutating func emit(_ condition: PreparedCondition, onTrue: UInt32, onFalse: UInt32) -> UInt32 {
        switch condition {
        case .constant(let value): return value ? onTrue : onFalse
        case .not(let inner): return emit(inner, onTrue: onFalse, onFalse: onTrue)
        case .all(let parts):
            var next = onTrue
            for part in parts.reversed() { next = emit(part, onTrue: next, onFalse: onFalse) }
            return next
        case .any(let parts):
            var next = onFalse
            for part in parts.reversed() { next = emit(part, onTrue: onTrue, onFalse: next) }
            return next
        case .test(let test):
            var code = test.code
            code.onTrue = onTrue
            code.onFalse = onFalse
            if let known = tests[code] { return known }
            let offset = here
            words += [code.head, code.left, onTrue, onFalse, code.right, code.high]
            tests[code] = offset
            return offset
        }
    }

    // MARK: Preparing

    /// Resolves what a condition reads.
    mutating func prepare(_ condition: Condition, _ scope: RuleScope) throws(CompileError) -> PreparedCondition {
        switch condition {
        case .constant(let value): return .constant(value)
        case .not(let inner): return .not(try prepare(inner, scope))
        case .all(let parts): return .all(try prepare(parts, scope))
        case .any(let parts): return .any(try prepare(parts, scope))
        case .test(.role(let role), _): return try prepareRole(role, scope)
        case .test(let test, _): return .test(try prepare(test, scope))
        }
    }

    private mutating func prepare(
        _ parts: [Condition], _ scope: RuleScope
    ) throws(CompileError) -> [PreparedCondition] {
        var prepared: [PreparedCondition] = []
        prepared.reserveCapacity(parts.count)
        for part in parts { prepared.append(try prepare(part, scope)) }
        return prepared
    }

    /// A role is asked once in a decision and remembered, except for one of few tests: those stand in its place, where the
    /// index can settle them.
    private mutating func prepareRole(_ role: Int, _ scope: RuleScope) throws(CompileError) -> PreparedCondition {
        let key = RoleKey(role: role, scope: scope.id)
        if let known = preparedRoles[key] { return known }
        var test = PreparedTest(code: TestCode(.role, .word, nil, UInt32(role)))
        var prepared: PreparedCondition
        if roleSizes[role] <= CompileLimits.maxConjuncts {
            let inner = try prepare(policies.roles[role].condition, scope)
            var parts: [PreparedCondition] = []
            inner.flatten(into: &parts)
            // A group or having taken it: the index finds both in one step.
            if parts.count <= 4, parts.allSatisfy({ $0.isSimple || $0.isTaken && exactKeys($0) != nil }) {
                prepared = inner
            } else {
                var budget = 256
                if let keys = necessaryKeys(inner, &budget) {
                    test.necessary = keys
                    prepared = .test(test)
                } else {
                    prepared = .constant(false)
                }
            }
        } else {
            prepared = .test(test)
        }
        preparedRoles[key] = prepared
        return prepared
    }

    private mutating func prepare(_ test: Test, _ scope: RuleScope) throws(CompileError) -> PreparedTest {
        switch test {
        case .compare(let left, let comparison, let right): return try prepare(left, comparison, right, scope)
        case .oneOf(let left, let constants):
            let set = index(of: OperandEntry(kind: .constant, slot: slot(of: .set(constants))))
            let operand = try operand(left, scope)
            var test = PreparedTest(
                code: TestCode(.contains, valueClass(of: left) ?? .word, nil, set, operand))
            if constants.count <= CompileLimits.maxKeysOfRule {
                var keys: [IndexKey] = []
                for constant in constants {
                    guard let key = key(left, constant) else { return test }
                    if !keys.contains(key) { keys.append(key) }
                }
                test.keys = keySet(operand, keys)
            }
            return test
        case .contains(let set, let element):
            return PreparedTest(
                code: TestCode(
                    .contains, valueClass(of: element) ?? .word, nil, try operand(set, scope),
                    try operand(element, scope)))
        case .intersects(let left, let right): return try prepare(.intersects, left, right, scope)
        case .subset(let left, let right): return try prepare(.subset, left, right, scope)
        case .like(let left, let pattern):
            let parts = pattern.parts.map { index(of: OperandEntry(kind: .constant, slot: slot(of: .string($0)))) }
            let offset = place([UInt32(parts.count)] + parts)
            return PreparedTest(code: TestCode(.like, .string, nil, try operand(left, scope), offset))
        case .inNetworks(let left, let networks):
            let offset = place([UInt32(networks.count)] + networks.flatMap(networkWords))
            return PreparedTest(code: TestCode(.inNetworks, .address, nil, try operand(left, scope), offset))
        case .group(let group):
            return PreparedTest(
                code: TestCode(.group, .word, nil, UInt32(group)),
                keys: KeySet(discriminator: .groups, keys: [.named(UInt32(group))]))
        case .container(let container):
            return PreparedTest(
                code: TestCode(.container, .word, nil, UInt32(container)),
                keys: KeySet(discriminator: .containers, keys: [.named(UInt32(container))]))
        case .schedule(let schedule):
            return PreparedTest(code: TestCode(.schedule, .word, nil, scheduleOffsets[schedule]))
        case .role(let role): return PreparedTest(code: TestCode(.role, .word, nil, UInt32(role)))
        case .granted(let role):
            guard let place = takeable.firstIndex(of: role) else {
                throw CompileError(.inconsistent, "role \(role) is asked for as taken, and nothing offers it")
            }
            let named = UInt32(policies.groups.count + place)
            return PreparedTest(
                code: TestCode(.granted, .word, nil, named, textID(policies.roles[role].name)),
                keys: KeySet(discriminator: .groups, keys: [.named(named)]))
        case .has(let reference):
            let operand = try operand(.attribute(reference), scope)
            return PreparedTest(code: TestCode(.has, .word, nil, operand), presence: operand)
        }
    }

    private mutating func prepare(
        _ operation: Operation, _ left: Operand, _ right: Operand, _ scope: RuleScope
    ) throws(CompileError) -> PreparedTest {
        PreparedTest(
            code: TestCode(
                operation, elementClass(of: left) ?? elementClass(of: right) ?? .word, nil, try operand(left, scope),
                try operand(right, scope)))
    }

    private mutating func prepare(
        _ left: Operand, _ comparison: Comparison, _ right: Operand, _ scope: RuleScope
    ) throws(CompileError) -> PreparedTest {
        if case .constant = left, !right.isConstant { return try prepare(right, comparison.mirrored, left, scope) }
        let kind = valueClass(of: left) ?? valueClass(of: right) ?? .word
        let first = try operand(left, scope)
        if left == .now || right == .now {
            return PreparedTest(
                code: TestCode(.compareTime, kind, comparison, first, try operand(right, scope)))
        }
        guard case .constant(let constant) = right, left.isAttribute else {
            let second = try operand(right, scope)
            if kind == .string, comparison == .equal || comparison == .notEqual {
                var code = TestCode(.compareTexts, kind, comparison, min(first, second), max(first, second))
                code.high = memo(of: [code.left, code.right])
                return PreparedTest(code: code)
            }
            return PreparedTest(
                code: TestCode(kind == .word ? .compareWords : .compare, kind, comparison, first, second))
        }
        if let test = prepare(left, first, comparison, constant, kind) { return test }
        return PreparedTest(code: TestCode(.compare, kind, comparison, first, try operand(right, scope)))
    }

    /// A comparison of an attribute with a constant; nil when it needs both as they are.
    private mutating func prepare(
        _ left: Operand, _ operand: UInt32, _ comparison: Comparison, _ constant: Constant, _ kind: ValueClass
    ) -> PreparedTest? {
        if kind == .word, let word = constant.word {
            var test = PreparedTest(code: TestCode(operand, comparison, word: word))
            let value = Int64(bitPattern: word)
            switch comparison {
            case .equal:
                if let key = key(left, constant) { test.keys = keySet(operand, [key]) }
                if case .boolean(let value) = constant {
                    test.negatedKeys = keySet(operand, [.word(value ? 0 : 1)])
                }
                test.bound = Bound(operand: operand, least: value, most: value)
            case .notEqual: break
            case .less: test.bound = Bound(operand: operand, least: .min, most: value == .min ? .min : value - 1)
            case .lessOrEqual: test.bound = Bound(operand: operand, least: .min, most: value)
            case .greater: test.bound = Bound(operand: operand, least: value == .max ? .max : value + 1, most: .max)
            case .greaterOrEqual: test.bound = Bound(operand: operand, least: value, most: .max)
            }
            return test
        }
        guard kind == .string, comparison == .equal || comparison == .notEqual,
            case .text(let id)? = key(left, constant)
        else { return nil }
        remember(operand)
        var test = PreparedTest(code: TestCode(.compareText, .string, comparison, operand, id))
        if comparison == .equal { test.keys = keySet(operand, [.text(id)]) }
        return test
    }

    private mutating func memo(of operands: [UInt32]) -> UInt32 {
        if let known = pairMemos[operands] { return known }
        let memo = nextMemo()
        pairMemos[operands] = memo
        return memo
    }

    private mutating func keySet(_ operand: UInt32, _ keys: [IndexKey]) -> KeySet {
        if case .text? = keys.first { remember(operand) }
        return KeySet(discriminator: .operand(operand), keys: keys)
    }

    /// The key by which an index finds a constant; nil when it cannot.
    private mutating func key(_ operand: Operand, _ value: Constant) -> IndexKey? {
        guard operand.isAttribute else { return nil }
        if let word = value.word { return .word(word) }
        if let text = value.text { return .text(textID(text)) }
        return nil
    }

    /// Words that stand once for all who need the same.
    mutating func place(_ content: [UInt32]) -> UInt32 {
        if let known = placed[content] { return known }
        let offset = here
        words.append(contentsOf: content)
        placed[content] = offset
        return offset
    }

    private func networkWords(_ network: IPNetwork) -> [UInt32] {
        let mask = IPNetwork.mask(network.prefix)
        return [network.address.high, network.address.low, mask.high, mask.low].flatMap {
            [UInt32(truncatingIfNeeded: $0), UInt32(truncatingIfNeeded: $0 >> 32)]
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
            return index(of: OperandEntry(kind: .sum, table: place(list)))
        }
    }

    /// The operand of an attribute. Where the entity types of the rule keep it in different slots or with
    /// different defaults, the operand carries a table by type.
    private mutating func attribute(
        _ reference: AttributeReference, _ scope: RuleScope, kind: OperandKind, fallback: Constant?
    ) throws(CompileError) -> UInt32 {
        let key = AttributeKey(
            scope: reference.scope, name: reference.name, ruleScope: scope.id, kind: kind, fallback: fallback)
        if let known = attributes[key] { return known }
        let index = try resolve(reference, scope, kind: kind, fallback: fallback)
        attributes[key] = index
        return index
    }

    private mutating func resolve(
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
        for row in 0..<count { table[row * width + 5] = OperandEntry.noSources }
        for place in places {
            table[place.owner * width] = place.entry.slotOffset
            table[place.owner * width + 1] = place.entry.flags
            table[place.owner * width + 2] = place.entry.defaultSlot
            table[place.owner * width + 5] = place.entry.sources
        }
        let offset = typeTables[table] ?? here
        if offset == here {
            words.append(contentsOf: table)
            typeTables[table] = offset
            typeTableRows.append((offset, count))
        }
        let flags = places.reduce(UInt32(0)) { $0 | $1.entry.flags }
        return index(
            of: OperandEntry(
                kind: kind == .count ? .countByType : .attributeByType, scope: reference.scope, flags: flags,
                table: offset, name: reference))
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
                case .group, .granted: needs.insert(.groups)
                case .container: needs.formUnion([.resource, .containers])
                default: break
                }
                test.forEachOperand { operand in
                    switch operand {
                    case .subject: needs.insert(.subjectID)
                    case .resource: needs.insert(.resourceID)
                    default: break
                    }
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

extension PreparedCondition {
    /// True for a test or a constant.
    var isSimple: Bool {
        switch self {
        case .constant, .test: true
        case .not(let inner): inner.isSimple
        case .all, .any: false
        }
    }

    /// True for a role's condition that having taken it stands for too.
    var isTaken: Bool {
        guard case .any(let parts) = self, case .test(let test) = parts.last else { return false }
        return test.code.operation == .granted
    }

    /// Adds the parts that all have to hold.
    func flatten(into parts: inout [PreparedCondition]) {
        if case .all(let inner) = self {
            for part in inner { part.flatten(into: &parts) }
        } else {
            parts.append(self)
        }
    }
}

extension Operand {
    /// True for an attribute's value, with or without a fallback.
    fileprivate var isAttribute: Bool {
        switch self {
        case .attribute, .attributeOr: true
        case .constant, .subject, .resource, .now, .count, .sum: false
        }
    }

    fileprivate var isConstant: Bool {
        if case .constant = self { return true }
        return false
    }
}

extension Constant {
    /// The payload of a value that is a word.
    var word: UInt64? {
        switch self {
        case .boolean(let value): value ? 1 : 0
        case .integer(let value), .decimal(let value), .datetime(let value), .duration(let value):
            UInt64(bitPattern: value)
        case .enumeration(let ordinal): UInt64(ordinal)
        case .string, .reference, .address, .set: nil
        }
    }

    /// The text of a string or a reference.
    var text: String? {
        switch self {
        case .string(let text), .reference(_, let text): text
        default: nil
        }
    }
}

/// Terms of a sum in the image.
enum SumLayout {
    /// Mark of a term that is taken off.
    static let takenOff: UInt32 = 1 << 31
}
