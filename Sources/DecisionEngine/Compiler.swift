// Checked policies to a program (Program.swift has the layout).
//
// Every rule's condition is compiled once, to jumping code whose length is that of the text; rules are then
// listed under the (subject type, resource type, action) they name, and each list gets an index (IndexBuilder.swift).
// So the image grows with the source, whatever the source says: nothing is multiplied out but the lists a rule
// names itself, and those only up to `CompileLimits.maxCopiesOfRule`.

package import PolicyLanguage

/// Compiles checked policies. Costs are near-linear in the text.
/// - Throws: `CompileError` when a limit is passed.
package func compile(_ policies: CheckedPolicies) throws(CompileError) -> Program {
    var compiler = Compiler(policies)
    return try compiler.run()
}

/// The state of one compilation.
struct Compiler {
    let policies: CheckedPolicies
    let catalog: Catalog
    var words: [UInt32]
    /// Constants, in pool order, and where each is.
    var constants: [Constant] = []
    var constantSlots: [Constant: UInt32] = [:]
    /// Operands in image order. They are written after the pool is known, so the code holds indices.
    var operands: [OperandEntry] = []
    var operandIndices: [OperandEntry: UInt32] = [:]
    /// Per-type tables of operands, by content.
    var typeTables: [[UInt32]: UInt32] = [:]
    /// Those of them whose rows hold constants: offset and number of rows.
    var typeTableRows: [(offset: UInt32, rows: Int)] = []
    var operandNames: [AttributeReference?] = []
    /// Where each schedule is.
    var scheduleOffsets: [UInt32] = []

    init(_ policies: CheckedPolicies) {
        self.policies = policies
        catalog = policies.catalog
        words = Array(repeating: 0, count: ImageLayout.headerWords)
        words[0] = ImageLayout.version
    }

    mutating func run() throws(CompileError) -> Program {
        try checkRoleDepth()
        compileSchedules()
        let roleEntries = try compileRoles()
        let offers = try compileOffers()
        // Obligations are placed and indexed as rules are, after them.
        var rules: [CompiledRule] = []
        rules.reserveCapacity(policies.rules.count + policies.obligations.count)
        for (index, rule) in policies.rules.enumerated() {
            rules.append(try compileRule(index, PlacedRule(rule)))
        }
        for (index, obligation) in policies.obligations.enumerated() {
            rules.append(try compileRule(policies.rules.count + index, PlacedRule(obligation)))
        }

        let tables = placeRules(rules)
        let offsets = try emitTables(tables, rules)
        let (cells, needs) = try emitCells(tables, offsets, rules)

        words[ImageLayout.cellsOffset] = cells
        words[ImageLayout.rolesOffset] = here
        words.append(contentsOf: roleEntries)
        words[ImageLayout.rulesOffset] = here
        for rule in rules { emitRule(rule) }
        let payloads = emitPool()
        emitOperands(payloads)
        emitHeader()
        guard words.count <= CompileLimits.maxImageWords else {
            throw CompileError(
                .tooLarge,
                "the compiled policies take \(words.count * 4) bytes, above \(CompileLimits.maxImageWords * 4): "
                    + "use fewer or smaller lists of constants")
        }
        return Program(
            words: words, policies: policies, operandNames: operandNames, needs: needs, offers: offers)
    }

    var here: UInt32 { UInt32(truncatingIfNeeded: words.count) }

    // MARK: Roles and rules

    private func checkRoleDepth() throws(CompileError) {
        var depths = [Int](repeating: 1, count: policies.roles.count)
        for (index, role) in policies.roles.enumerated() {
            var depth = 1
            var inOrder = true
            role.condition.forEachTest { test in
                if case .role(let inner) = test {
                    if inner < 0 || inner >= index { inOrder = false } else { depth = max(depth, depths[inner] + 1) }
                }
            }
            guard inOrder else {
                throw CompileError(.inconsistent, "role \"\(role.name)\" refers to a role that is not before it")
            }
            guard depth <= CompileLimits.maxRoleDepth else {
                throw CompileError(
                    .tooLarge,
                    "role \"\(role.name)\" includes roles nested \(depth) deep, above \(CompileLimits.maxRoleDepth): "
                        + "let roles name their conditions directly")
            }
            depths[index] = depth
        }
    }

    private mutating func compileRoles() throws(CompileError) -> [UInt32] {
        var entries: [UInt32] = []
        for role in policies.roles {
            let scope = RuleScope(subjectTypes: role.subjectTypes, actions: nil, resourceTypes: nil)
            entries.append(
                try emit(role.condition, scope, onTrue: ImageLayout.accept, onFalse: ImageLayout.reject))
        }
        return entries
    }

    private mutating func compileOffers() throws(CompileError) -> [UInt32] {
        var entries: [UInt32] = []
        for offer in policies.offers {
            let scope = RuleScope(subjectTypes: offer.subjectTypes, actions: nil, resourceTypes: nil)
            entries.append(
                try emit(offer.condition, scope, onTrue: ImageLayout.accept, onFalse: ImageLayout.reject))
        }
        return entries
    }

    /// Writes each schedule's zone and windows, so that deciding needs nothing beside the image.
    private mutating func compileSchedules() {
        for schedule in policies.schedules {
            scheduleOffsets.append(here)
            words.append(UInt32(schedule.zone.starts.count))
            words.append(UInt32(schedule.windows.count))
            for (start, offset) in zip(schedule.zone.starts, schedule.zone.offsets) {
                let start = UInt64(bitPattern: start)
                words.append(UInt32(truncatingIfNeeded: start))
                words.append(UInt32(truncatingIfNeeded: start >> 32))
                words.append(UInt32(bitPattern: offset))
            }
            for window in schedule.windows {
                words.append(UInt32(bitPattern: window.lowerBound))
                words.append(UInt32(bitPattern: window.upperBound))
            }
        }
    }

    private mutating func compileRule(_ index: Int, _ rule: PlacedRule) throws(CompileError) -> CompiledRule {
        let scope = RuleScope(
            subjectTypes: rule.subjectTypes, actions: rule.actions, resourceTypes: rule.resourceTypes)
        var entry = try emit(rule.condition, scope, onTrue: ImageLayout.accept, onFalse: ImageLayout.reject)
        let spread = rule.actions.map(\.count, default: 1) * rule.resourceTypes.map(\.count, default: 1)
        let isResidual = spread > CompileLimits.maxCopiesOfRule
        if isResidual {
            // Too many lists to stand in: it stands once under "any", its own lists first in its condition.
            if let actions = rule.actions { entry = emitMembership(.actionIn, actions, catalog.actions.count, entry) }
            if let types = rule.resourceTypes {
                entry = emitMembership(.resourceTypeIn, types, catalog.entities.count, entry)
            }
        }
        return CompiledRule(
            index: index, kind: rule.kind, entry: entry, demand: rule.demand ?? .nothing, isResidual: isResidual,
            condition: rule.condition, reads: try readsOfQuestion(rule.condition, scope), needs: needs(of: rule),
            scope: scope)
    }

    private mutating func emitMembership(
        _ operation: Operation, _ members: [Int], _ count: Int, _ onTrue: UInt32
    ) -> UInt32 {
        let set = here
        var bits = [UInt32](repeating: 0, count: (count + 31) / 32)
        for member in members where member < count { bits[member / 32] |= 1 << UInt32(member % 32) }
        words.append(contentsOf: bits)
        return emitTest(operation, .word, 0, set, 0, onTrue: onTrue, onFalse: ImageLayout.reject)
    }

    private mutating func emitRule(_ rule: CompiledRule) {
        words.append(rule.entry)
        words.append(UInt32(rule.kind.rawValue))
        words.append(UInt32(truncatingIfNeeded: rule.demand.levels))
        words.append(UInt32(truncatingIfNeeded: rule.demand.levels >> 32))
        let within = UInt64(bitPattern: rule.demand.within)
        words.append(UInt32(truncatingIfNeeded: within))
        words.append(UInt32(truncatingIfNeeded: within >> 32))
        words.append(rule.demand.methods)
        words.append(0)
    }

    // MARK: Tables

    /// Lists the rules under each combination of subject type, resource type and action that they name.
    private func placeRules(_ rules: [CompiledRule]) -> [TableKey: [Int]] {
        var tables: [TableKey: [Int]] = [:]
        for (index, rule) in rules.enumerated() {
            let any = [TableKey.any]
            let actions = rule.isResidual ? any : rule.scope.actions ?? any
            let types = rule.isResidual ? any : rule.scope.resourceTypes ?? any
            for subject in rule.scope.subjectTypes {
                for type in types {
                    for action in actions {
                        tables[TableKey(subject: subject, type: type, action: action), default: []].append(index)
                    }
                }
            }
        }
        return tables
    }

    private mutating func emitTables(
        _ tables: [TableKey: [Int]], _ rules: [CompiledRule]
    ) throws(CompileError) -> [TableKey: UInt32] {
        var offsets: [TableKey: UInt32] = [:]
        for key in tables.keys.sorted() {
            let members = tables[key] ?? []
            let reads = emitReads(members.map { rules[$0] })
            var roots: [UInt32] = []
            for kind in [PlacedRule.Kind.forbid, .require, .permit, .onPermit, .onDeny, .onStepUp] {
                let ofKind = members.filter { rules[$0].kind == kind }
                roots.append(try buildIndex(ofKind, rules))
            }
            offsets[key] = here
            words.append(reads)
            words.append(contentsOf: roots)
        }
        return offsets
    }

    /// Writes the attributes of the question that these rules read: [count, (operand, set of actions or 0, set of
    /// types or 0)…]. The sets are those of rules that stand under "any" only for want of room.
    private mutating func emitReads(_ rules: [CompiledRule]) -> UInt32 {
        var seen = Set<UInt32>()
        var residual: [(operand: UInt32, rule: CompiledRule)] = []
        var plain: [UInt32] = []
        for rule in rules {
            for operand in rule.reads {
                if rule.isResidual {
                    residual.append((operand, rule))
                } else if seen.insert(operand).inserted {
                    plain.append(operand)
                }
            }
        }
        var entries: [UInt32] = plain.sorted().flatMap { [$0, 0, 0] }
        for (operand, rule) in residual where !seen.contains(operand) {
            entries += [
                operand, emitSet(rule.scope.actions, catalog.actions.count),
                emitSet(rule.scope.resourceTypes, catalog.entities.count),
            ]
        }
        if entries.isEmpty { return 0 }
        let offset = here
        words.append(UInt32(entries.count / 3))
        words.append(contentsOf: entries)
        return offset
    }

    private mutating func emitSet(_ members: [Int]?, _ count: Int) -> UInt32 {
        guard let members else { return 0 }
        let offset = here
        var bits = [UInt32](repeating: 0, count: (count + 31) / 32)
        for member in members where member < count { bits[member / 32] |= 1 << UInt32(member % 32) }
        words.append(contentsOf: bits)
        return offset
    }

    private mutating func emitCells(
        _ tables: [TableKey: [Int]], _ offsets: [TableKey: UInt32], _ rules: [CompiledRule]
    ) throws(CompileError) -> (offset: UInt32, needs: [SourceNeeds]) {
        let types = catalog.entities.count
        let actions = catalog.actions.count
        let subjects = catalog.subjectTypes
        guard subjects.count * types * actions <= CompileLimits.maxCells else {
            throw CompileError(
                .tooLarge,
                "\(subjects.count) subject types x \(types) entity types x \(actions) actions are more than "
                    + "\(CompileLimits.maxCells) combinations: split the catalog")
        }
        var needsOfTable: [TableKey: SourceNeeds] = [:]
        for (key, members) in tables {
            needsOfTable[key] = members.reduce(into: SourceNeeds()) { $0.formUnion(rules[$1].needs) }
        }
        var lists: [[UInt32]: UInt32] = [:]
        var cells: [UInt32] = []
        var needs: [SourceNeeds] = []
        cells.reserveCapacity(subjects.count * types * actions)
        needs.reserveCapacity(cells.capacity)
        let applies = catalog.actions.map { Set($0.resourceTypes) }
        for subject in subjects {
            for type in 0..<types {
                for action in 0..<actions {
                    guard applies[action].contains(type) else {
                        cells.append(ImageLayout.undefinedCell)
                        needs.append([])
                        continue
                    }
                    let keys = TableKey.covering(subject: subject, type: type, action: action)
                    let list = keys.compactMap { offsets[$0] }
                    needs.append(keys.reduce(into: SourceNeeds()) { $0.formUnion(needsOfTable[$1] ?? []) })
                    if list.isEmpty {
                        cells.append(0)
                    } else if let known = lists[list] {
                        cells.append(known)
                    } else {
                        let offset = here
                        words.append(UInt32(list.count))
                        words.append(contentsOf: list)
                        lists[list] = offset
                        cells.append(offset)
                    }
                }
            }
        }
        let offset = here
        words.append(contentsOf: cells)
        return (offset, needs)
    }

    // MARK: Operands and constants

    mutating func slot(of constant: Constant) -> UInt32 {
        if let slot = constantSlots[constant] { return slot }
        let slot = UInt32(constants.count)
        constants.append(constant)
        constantSlots[constant] = slot
        return slot
    }

    mutating func index(of entry: OperandEntry) -> UInt32 {
        if let index = operandIndices[entry] { return index }
        let index = UInt32(operands.count)
        operands.append(entry)
        operandNames.append(entry.name)
        operandIndices[entry] = index
        return index
    }

    /// What a decision needs of the catalog.
    private mutating func emitHeader() {
        let slots = SessionSlots(catalog)
        words[ImageLayout.sessionEndsAt] = UInt32(slots.endsAt)
        words[ImageLayout.sessionLevels] = UInt32(slots.levels)
        words[ImageLayout.sessionMethods] = UInt32(slots.methods)
        words[ImageLayout.sessionAuthenticatedAt] = UInt32(slots.authenticatedAt)
        words[ImageLayout.typeCount] = UInt32(catalog.entities.count)
        words[ImageLayout.actionCount] = UInt32(catalog.actions.count)
        words[ImageLayout.ruleCount] = UInt32(policies.rules.count)
        words[ImageLayout.typesOffset] = here
        var ordinal: UInt32 = 0
        for (index, entity) in catalog.entities.enumerated() {
            guard entity.isSubject else {
                words.append(0)
                continue
            }
            ordinal += 1
            let mustExist = index == Catalog.user || entity.attributes.contains(where: \.isStored)
            words.append(ordinal | (mustExist ? ImageLayout.mustExist : 0))
        }
    }

    /// Writes the operands, and fills in the constants of the tables by type, now that the pool is known.
    private mutating func emitOperands(_ payloads: [ConstantPlace]) {
        for (offset, rows) in typeTableRows {
            for row in 0..<rows {
                let place = Int(offset) + row * ImageLayout.tableRowWords
                let constant = ConstantPlace(slot: words[place + 2], payloads)
                words[place + 2] = constant.page
                words[place + 3] = UInt32(truncatingIfNeeded: constant.payload)
                words[place + 4] = UInt32(truncatingIfNeeded: constant.payload >> 32)
            }
        }
        // At the start of a cache line, so that no operand lies on two.
        while words.count % 16 != 0 { words.append(0) }
        words[ImageLayout.operandsOffset] = here
        for operand in operands { words.append(contentsOf: operand.words(payloads)) }
    }

    /// Writes the constants.
    /// - Returns: where each is, by pool slot.
    private mutating func emitPool() -> [ConstantPlace] {
        var places: [ConstantPlace] = []
        places.reserveCapacity(constants.count)
        // The pool's slots are 16 bits in a record's header, so a policy with more constants keeps them in pages.
        var pages: [UInt32] = []
        var start = 0
        repeat {
            let page = constants[start..<min(start + ConstantPool.pageSize, constants.count)]
            var builder = RecordBuilder()
            builder.reset(slots: page.count)
            for (slot, constant) in page.enumerated() {
                let payload = builder.payload(of: constant)
                builder.set(slot, payload: payload)
                places.append(
                    ConstantPlace(
                        page: constant.needsHeap ? UInt32(pages.count / 2 + 1) : ImageLayout.noHeap, payload: payload))
            }
            pages.append(here)
            pages.append(UInt32(builder.bytes.count))
            appendBytes(builder.bytes)
            start += ConstantPool.pageSize
        } while start < constants.count
        words[ImageLayout.poolOffset] = here
        words[ImageLayout.poolBytes] = UInt32(pages.count / 2)
        words.append(contentsOf: pages)
        return places
    }

    private mutating func appendBytes(_ bytes: [UInt8]) {
        var offset = 0
        while offset < bytes.count {
            var word: UInt32 = 0
            for index in 0..<4 where offset + index < bytes.count {
                word |= UInt32(bytes[offset + index]) << UInt32(8 * index)
            }
            words.append(word)
            offset += 4
        }
    }
}

/// Constants are kept in pages of one record each.
enum ConstantPool {
    static let pageShift = 12
    static let pageSize = 1 << pageShift
}

/// The types and actions a condition is compiled for.
struct RuleScope: Hashable {
    var subjectTypes: [Int]
    var actions: [Int]?
    var resourceTypes: [Int]?
}

/// What is placed under subject types, actions and resource types: a rule, or an obligation on an outcome.
struct PlacedRule {
    enum Kind: UInt8 {
        case permit, forbid, require, onPermit, onDeny, onStepUp
    }

    var kind: Kind
    var subjectTypes: [Int]
    var actions: [Int]?
    var resourceTypes: [Int]?
    var condition: Condition
    var demand: Demand?

    init(_ rule: CheckedRule) {
        kind =
            switch rule.kind {
            case .permit: .permit
            case .forbid: .forbid
            case .require: .require
            }
        subjectTypes = rule.subjectTypes
        actions = rule.actions
        resourceTypes = rule.resourceTypes
        condition = rule.condition
        demand = rule.demand
    }

    init(_ obligation: CheckedObligation) {
        kind =
            switch obligation.occasion {
            case .permit: .onPermit
            case .deny: .onDeny
            case .stepUp: .onStepUp
            }
        subjectTypes = obligation.subjectTypes
        actions = obligation.actions
        resourceTypes = obligation.resourceTypes
        condition = obligation.condition
    }
}

/// A rule or obligation on its way into the image.
struct CompiledRule {
    /// Index of the rule; obligations follow the rules.
    var index: Int
    var kind: PlacedRule.Kind
    var entry: UInt32
    var demand: Demand
    /// Kept under "any" because it names too many actions and types.
    var isResidual: Bool
    var condition: Condition
    /// Operands of the question it reads.
    var reads: [UInt32]
    var needs: SourceNeeds
    var scope: RuleScope
}

/// What a list of rules is for; -1 is any.
struct TableKey: Hashable, Comparable {
    static let any = -1
    var subject: Int
    var type: Int
    var action: Int

    static func < (left: TableKey, right: TableKey) -> Bool {
        (left.subject, left.type, left.action) < (right.subject, right.type, right.action)
    }

    /// The lists that a question looks at.
    static func covering(subject: Int, type: Int, action: Int) -> [TableKey] {
        [
            TableKey(subject: subject, type: type, action: action),
            TableKey(subject: subject, type: type, action: any),
            TableKey(subject: subject, type: any, action: action),
            TableKey(subject: subject, type: any, action: any),
        ]
    }
}

/// An operand as the image holds it.
struct OperandEntry: Hashable {
    var kind: OperandKind
    var scope: AttributeScope = .subject
    var slot: UInt32 = 0
    var flags: UInt32 = 0
    /// Pool slot of the default + 1, or 0.
    var defaultSlot: UInt32 = 0
    /// Offset of a table of {slot, flags, default} per type, or 0.
    var table: UInt32 = 0
    /// The attribute, for errors; two actions may keep different attributes in one slot.
    var name: AttributeReference?

    func words(_ places: [ConstantPlace]) -> [UInt32] {
        let constant = ConstantPlace(slot: kind == .constant ? slot + 1 : defaultSlot, places)
        return [
            kind.rawValue | UInt32(scope.rawValue) << 8 | flags << 16, slot, constant.page,
            UInt32(truncatingIfNeeded: constant.payload), UInt32(truncatingIfNeeded: constant.payload >> 32), table, 0,
            0,
        ]
    }
}

/// Where a constant is.
struct ConstantPlace {
    /// Page + 1; 0 for no constant, `ImageLayout.noHeap` for a plain word.
    var page: UInt32
    var payload: UInt64

    init(page: UInt32, payload: UInt64) {
        self.page = page
        self.payload = payload
    }

    /// - Parameter slot: pool slot + 1; 0 for none.
    init(slot: UInt32, _ places: [ConstantPlace]) {
        self = slot == 0 ? ConstantPlace(page: 0, payload: 0) : places[Int(slot) - 1]
    }
}

extension Constant {
    /// True when its payload leads to bytes elsewhere in its record.
    var needsHeap: Bool {
        switch self {
        case .string, .reference, .address, .set: true
        case .boolean, .integer, .decimal, .enumeration, .datetime, .duration: false
        }
    }
}

extension Optional {
    /// The transformed value, or a default for nil.
    func map<Result>(_ transform: (Wrapped) -> Result, default fallback: Result) -> Result {
        switch self {
        case .some(let value): transform(value)
        case .none: fallback
        }
    }
}

extension Condition {
    /// Calls `body` with each test, in text order.
    package func forEachTest(_ body: (Test) -> Void) {
        switch self {
        case .constant: break
        case .all(let parts), .any(let parts): for part in parts { part.forEachTest(body) }
        case .not(let inner): inner.forEachTest(body)
        case .test(let test, _): body(test)
        }
    }
}
