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
    /// Texts that rules compare with, by id.
    var texts: [[UInt8]] = []
    var textIDs: [[UInt8]: UInt32] = [:]
    /// Operands in image order. They are written after the pool is known, so the code holds indices.
    var operands: [OperandEntry] = []
    var operandIndices: [OperandEntry: UInt32] = [:]
    /// Operands whose text is looked up once in a decision: where it is remembered.
    var memos: [UInt32: UInt32] = [:]
    /// Pairs of operands that are compared as texts once in a decision: where the finding is remembered.
    var pairMemos: [[UInt32]: UInt32] = [:]
    var memoCount = 0
    /// Operands of attributes, by what asks for them.
    var attributes: [AttributeKey: UInt32] = [:]
    /// Per-type tables of operands, by content.
    var typeTables: [[UInt32]: UInt32] = [:]
    /// Those of them whose rows hold constants: offset and number of rows.
    var typeTableRows: [(offset: UInt32, rows: Int)] = []
    /// Other words that stand once, by content.
    var placed: [[UInt32]: UInt32] = [:]
    var operandNames: [AttributeReference?] = []
    /// Where each schedule is.
    var scheduleOffsets: [UInt32] = []
    /// Tests by content.
    var tests: [TestCode: UInt32] = [:]
    var scopeIDs: [RuleScope.Content: Int] = [:]
    var preparedRoles: [RoleKey: PreparedCondition] = [:]
    /// Parts of each role's condition, those of the roles it includes counted with it.
    var roleSizes: [Int] = []
    /// Rules, and obligations after them.
    var rules: [CompiledRule] = []
    /// Numbers of conditions and lists of them, by content.
    var identities: [[UInt32]: UInt32] = [:]
    /// Place of each rule's name in alphabetical order, the last tie-break among demands.
    let nameRanks: [Int]
    /// Roles that can be taken, by index.
    let takeable: [Int]

    init(_ policies: CheckedPolicies) {
        self.policies = policies
        catalog = policies.catalog
        takeable = policies.roles.takeable
        words = Array(repeating: 0, count: ImageLayout.headerWords)
        words[0] = ImageLayout.version
        var ranks = [Int](repeating: 0, count: policies.rules.count)
        let order = policies.rules.indices.sorted {
            (policies.rules[$0].name, $0) < (policies.rules[$1].name, $1)
        }
        for (rank, rule) in order.enumerated() { ranks[rule] = rank }
        nameRanks = ranks
    }

    mutating func run() throws(CompileError) -> Program {
        try checkRoleDepth()
        compileSchedules()
        measureRoles()
        let roleEntries = try compileRoles()
        let offers = try compileOffers()
        emitTakeable()
        // Obligations are placed and indexed as rules are, after them.
        rules.reserveCapacity(policies.rules.count + policies.obligations.count)
        for rule in policies.rules { rules.append(try compileRule(PlacedRule(rule))) }
        for obligation in policies.obligations { rules.append(try compileRule(PlacedRule(obligation))) }

        let tables = placeRules()
        let placedTables = emitTables(tables)
        let (cells, needs) = try emitCells(tables, placedTables)

        words[ImageLayout.cellsOffset] = cells
        words[ImageLayout.rolesOffset] = here
        words.append(contentsOf: roleEntries)
        let demands = rules.map { place($0.demand) }
        words[ImageLayout.rulesOffset] = here
        words.append(contentsOf: demands)
        emitTexts()
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
            words: words, policies: policies, operandNames: operandNames, needs: needs, offers: offers,
            nameRanks: nameRanks)
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

    private mutating func measureRoles() {
        for role in policies.roles {
            var size = 0
            role.condition.forEachTest { test in
                size += 1
                if case .role(let inner) = test { size += roleSizes[inner] }
            }
            // A chain of roles that each include the one before twice doubles at each step.
            roleSizes.append(min(size, 1 << 20))
        }
    }

    private mutating func compileRoles() throws(CompileError) -> [UInt32] {
        var entries: [UInt32] = []
        for role in policies.roles { entries.append(try entry(role.condition, subjectTypes: role.subjectTypes)) }
        return entries
    }

    private mutating func compileOffers() throws(CompileError) -> [(entry: UInt32, reads: [UInt32])] {
        var offers: [(entry: UInt32, reads: [UInt32])] = []
        for offer in policies.offers {
            let scope = scope(
                RuleScope.Content(subjectTypes: offer.subjectTypes, actions: nil, resourceTypes: nil))
            offers.append(
                (
                    try entry(offer.condition, subjectTypes: offer.subjectTypes),
                    try readsOfQuestion(offer.condition, scope)
                ))
        }
        return offers
    }

    /// The names of the roles that can be taken.
    private mutating func emitTakeable() {
        let names = takeable.map { textID(policies.roles[$0].name) }
        words[ImageLayout.takeableOffset] = here
        words += [UInt32(policies.groups.count), UInt32(names.count)] + names
    }

    /// Where the code of a condition on the subject alone begins.
    private mutating func entry(_ condition: Condition, subjectTypes: [Int]) throws(CompileError) -> UInt32 {
        let scope = scope(RuleScope.Content(subjectTypes: subjectTypes, actions: nil, resourceTypes: nil))
        return emit(
            try prepare(condition, scope), onTrue: ImageLayout.accept, onFalse: ImageLayout.reject)
    }

    private mutating func scope(_ content: RuleScope.Content) -> RuleScope {
        if let id = scopeIDs[content] { return RuleScope(id: id, content: content) }
        let id = scopeIDs.count
        scopeIDs[content] = id
        return RuleScope(id: id, content: content)
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

    private mutating func compileRule(_ rule: PlacedRule) throws(CompileError) -> CompiledRule {
        let scope = scope(
            RuleScope.Content(
                subjectTypes: rule.subjectTypes, actions: rule.actions, resourceTypes: rule.resourceTypes))
        var condition = try prepare(rule.condition, scope)
        let spread = rule.actions.map(\.count, default: 1) * rule.resourceTypes.map(\.count, default: 1)
        let isResidual = spread > CompileLimits.maxCopiesOfRule
        if isResidual {
            // Too many lists to stand in: it stands once under "any", its own lists first in its condition.
            var parts: [PreparedCondition] = []
            if let types = rule.resourceTypes {
                parts.append(membership(.resourceTypeIn, .resourceTypeIndex, types, catalog.entities.count))
            }
            if let actions = rule.actions {
                parts.append(membership(.actionIn, .actionIndex, actions, catalog.actions.count))
            }
            condition = .all(parts + [condition])
        }
        var compiled = CompiledRule(
            kind: rule.kind, demand: rule.demand ?? .nothing, isResidual: isResidual, condition: condition,
            reads: try readsOfQuestion(rule.condition, scope), needs: needs(of: rule), scope: scope)
        compiled.analyse(&self)
        compiled.coverKeys = coverKeys(of: compiled)
        return compiled
    }

    private mutating func membership(
        _ operation: Operation, _ kind: OperandKind, _ members: [Int], _ count: Int
    ) -> PreparedCondition {
        let set = emitSet(members, count)
        var test = PreparedTest(code: TestCode(operation, .word, nil, set))
        if members.count <= CompileLimits.maxKeysOfRule {
            test.keys = KeySet(
                discriminator: .operand(index(of: OperandEntry(kind: kind))),
                keys: Array(Set(members)).sorted().map { .word(UInt64($0)) })
        }
        return .test(test)
    }

    private mutating func place(_ demand: Demand) -> UInt32 {
        let within = UInt64(bitPattern: demand.within)
        return place([
            UInt32(truncatingIfNeeded: demand.levels), UInt32(truncatingIfNeeded: demand.levels >> 32),
            UInt32(truncatingIfNeeded: within), UInt32(truncatingIfNeeded: within >> 32), demand.methods,
        ])
    }

    // MARK: Tables

    /// Lists the rules under each combination of subject type, resource type and action that they name.
    private func placeRules() -> [TableKey: [Int]] {
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

    private mutating func emitTables(_ tables: [TableKey: [Int]]) -> [TableKey: PlacedTable] {
        var placed: [TableKey: PlacedTable] = [:]
        for key in tables.keys.sorted() {
            let members = tables[key] ?? []
            let (reads, residual) = reads(members)
            var table = PlacedTable(reads: reads, residualReads: residual)
            for kind in PlacedRule.Kind.inOrder {
                let (tried, covered) = withoutCovered(members.filter { rules[$0].kind == kind })
                table.roots.append(buildIndex(tried))
                table.covered += covered.flatMap { [UInt32($0.rule), UInt32($0.by)] }
            }
            placed[key] = table
        }
        return placed
    }

    /// The attributes of the question that these rules read; the rows of those of rules that stand under "any" only for
    /// want of room say for which actions and types.
    private mutating func reads(_ members: [Int]) -> (plain: [UInt32], residual: [ReadRow]) {
        var seen = Set<UInt32>()
        var plain: [UInt32] = []
        for member in members where !rules[member].isResidual {
            for operand in rules[member].reads where seen.insert(operand).inserted { plain.append(operand) }
        }
        var residual: [ReadRow] = []
        var known = Set<ReadRow>()
        for member in members where rules[member].isResidual {
            let scope = rules[member].scope
            for operand in rules[member].reads where !seen.contains(operand) {
                let row = ReadRow(
                    operand: operand, actions: scope.actions.map { emitSet($0, catalog.actions.count) } ?? 0,
                    types: scope.resourceTypes.map { emitSet($0, catalog.entities.count) } ?? 0)
                if known.insert(row).inserted { residual.append(row) }
            }
        }
        return (plain.sorted(), residual)
    }

    mutating func emitSet(_ members: [Int], _ count: Int) -> UInt32 {
        var bits = [UInt32](repeating: 0, count: (count + 31) / 32)
        for member in members where member < count { bits[member / 32] |= 1 << UInt32(member % 32) }
        return place(bits)
    }

    private mutating func emitCells(
        _ tables: [TableKey: [Int]], _ placedTables: [TableKey: PlacedTable]
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
        var lists: [[TableKey]: UInt32] = [:]
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
                    let list = keys.filter { placedTables[$0] != nil }
                    needs.append(keys.reduce(into: SourceNeeds()) { $0.formUnion(needsOfTable[$1] ?? []) })
                    if list.isEmpty {
                        cells.append(0)
                    } else if let known = lists[list] {
                        cells.append(known)
                    } else {
                        let offset = emitList(list.compactMap { placedTables[$0] })
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

    /// Writes what a question looks at: the reads and the branches of up to four tables.
    private mutating func emitList(_ tables: [PlacedTable]) -> UInt32 {
        // Reads of few attributes are put together, each once; longer ones stand once for all lists that share them.
        var merged: [UInt32] = []
        var further: [UInt32] = []
        for table in tables where table.reads.count <= 8 {
            merged += table.reads.filter { !merged.contains($0) }
        }
        for table in tables {
            if table.reads.count > 8 { further.append(emitReads(table.reads)) }
            if !table.residualReads.isEmpty {
                further.append(place([UInt32(table.residualReads.count)] + table.residualReads.flatMap(\.words)))
            }
        }
        let reads = merged.isEmpty ? 0 : emitReads(merged)
        let lists = further.isEmpty ? 0 : place([UInt32(further.count)] + further)
        let branches = PlacedRule.Kind.inOrder.indices.map { kind in
            tables.map { $0.roots[kind] }.filter { $0 != 0 }
        }
        let counts = branches.map { UInt32($0.count) }
        let covered = tables.flatMap(\.covered)
        let covers = covered.isEmpty ? 0 : place([UInt32(covered.count / 2)] + covered)
        alignForBranches()
        words += [covers, 0]
        let offset = here
        words += [
            reads, lists, counts[0] | counts[1] << 8 | counts[2] << 16, counts[3] | counts[4] << 8 | counts[5] << 16,
        ]
        for branch in branches.joined() { appendBranch(branch) }
        appendBranch(0)
        return offset
    }

    private mutating func emitReads(_ operands: [UInt32]) -> UInt32 {
        place([UInt32(operands.count)] + operands.flatMap { ReadRow(operand: $0, actions: 0, types: 0).words })
    }

    /// Nodes and branches begin at even words.
    mutating func alignForBranches() {
        if words.count % 2 != 0 { words.append(0) }
    }

    mutating func appendBranch(_ branch: UInt64) {
        words.append(UInt32(truncatingIfNeeded: branch))
        words.append(UInt32(truncatingIfNeeded: branch >> 32))
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

    /// The id of a text that rules compare with.
    mutating func textID(_ text: String) -> UInt32 {
        let bytes = Array(text.utf8)
        if let id = textIDs[bytes] { return id }
        let id = UInt32(texts.count)
        texts.append(bytes)
        textIDs[bytes] = id
        return id
    }

    /// The text of this operand is looked up once in a decision.
    mutating func remember(_ operand: UInt32) {
        if memos[operand] == nil { memos[operand] = nextMemo() }
    }

    /// A place for a finding of a decision; those of roles come first.
    mutating func nextMemo() -> UInt32 {
        memoCount += 1
        return UInt32(policies.roles.count + memoCount - 1)
    }

    /// Writes the texts and the table that finds them.
    private mutating func emitTexts() {
        var capacity = 4
        while capacity < texts.count * 2 { capacity *= 2 }
        var entries = [UInt32](repeating: 0, count: capacity * 2)
        for (id, bytes) in texts.enumerated() {
            let hash = ContentHash.hash(bytes)
            alignForBranches()
            var slot = Int(IndexHash.slot(hash, UInt32(capacity - 1)))
            while entries[slot * 2 + 1] != 0 { slot = (slot + 1) & (capacity - 1) }
            entries[slot * 2] = UInt32(truncatingIfNeeded: hash)
            entries[slot * 2 + 1] = here
            words += [
                UInt32(id), UInt32(bytes.count), UInt32(truncatingIfNeeded: hash),
                UInt32(truncatingIfNeeded: hash >> 32),
            ]
            appendBytes(bytes)
        }
        alignForBranches()
        words[ImageLayout.textsOffset] = here
        words[ImageLayout.textsMask] = UInt32(capacity - 1)
        words.append(contentsOf: entries)
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
        words[ImageLayout.memoCount] = UInt32(policies.roles.count + memoCount)
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
        for (index, operand) in operands.enumerated() {
            words.append(contentsOf: operand.words(payloads, memo: memos[UInt32(index)] ?? 0))
        }
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
struct RuleScope {
    struct Content: Hashable {
        var subjectTypes: [Int]
        var actions: [Int]?
        var resourceTypes: [Int]?
    }

    /// Equal for equal contents.
    var id: Int
    var content: Content
    var subjectTypes: [Int] { content.subjectTypes }
    var actions: [Int]? { content.actions }
    var resourceTypes: [Int]? { content.resourceTypes }
}

/// What an operand of an attribute depends on.
struct AttributeKey: Hashable {
    var scope: AttributeScope
    var name: String
    var ruleScope: Int
    var kind: OperandKind
    var fallback: Constant?
}

/// What a prepared role depends on.
struct RoleKey: Hashable {
    var role: Int
    var scope: Int
}

/// The rules of one table in the image.
struct PlacedTable {
    var reads: [UInt32]
    var residualReads: [ReadRow]
    /// A branch for each kind of rule, `PlacedRule.Kind.inOrder`.
    var roots: [UInt64] = []
    /// Rules that need not be tried, each with the one that covers it.
    var covered: [UInt32] = []
}

/// An attribute that a question has to give, for some actions and types (offsets of sets, 0 for all).
struct ReadRow: Hashable {
    var operand: UInt32
    var actions: UInt32
    var types: UInt32
    var words: [UInt32] { [operand, actions, types, 0] }
}

/// What is placed under subject types, actions and resource types: a rule, or an obligation on an outcome.
struct PlacedRule {
    enum Kind: UInt8 {
        case permit, forbid, require, onPermit, onDeny, onStepUp

        /// As their branches stand in the image.
        static let inOrder: [Kind] = [.forbid, .require, .permit, .onPermit, .onDeny, .onStepUp]
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
    /// Offset of a table by type or of a sum's terms, or 0.
    var table: UInt32 = 0
    /// The attribute, for errors; two actions may keep different attributes in one slot.
    var name: AttributeReference?

    /// Where the slot begins in its record.
    var slotOffset: UInt32 { UInt32(RecordLayout.headerSize) + slot * UInt32(RecordLayout.slotSize) }

    /// No record at all.
    static let noSources = UInt32(SourceIndex.none | SourceIndex.none << 8)

    /// The records it is read from.
    var sources: UInt32 {
        var stored = SourceIndex.none
        var inQuestion = SourceIndex.none
        if flags & OperandFlags.stored != 0 {
            switch scope {
            case .subject: stored = SourceIndex.subject
            case .session: stored = SourceIndex.session
            case .device: stored = SourceIndex.device
            case .resource: stored = SourceIndex.resource
            case .action, .context: break
            }
        }
        if flags & OperandFlags.inQuestion != 0 {
            switch scope {
            case .subject: inQuestion = SourceIndex.subjectInQuestion
            case .resource: inQuestion = SourceIndex.resourceInQuestion
            case .action: inQuestion = SourceIndex.actionInQuestion
            case .context: inQuestion = SourceIndex.context
            case .session, .device: break
            }
        }
        return UInt32(stored | inQuestion << 8)
    }

    func words(_ places: [ConstantPlace], memo: UInt32) -> [UInt32] {
        let constant = ConstantPlace(slot: kind == .constant ? slot + 1 : defaultSlot, places)
        return [
            kind.rawValue | UInt32(scope.rawValue) << 8 | flags << 16, slotOffset, constant.page,
            UInt32(truncatingIfNeeded: constant.payload), UInt32(truncatingIfNeeded: constant.payload >> 32), table,
            sources, memo,
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
