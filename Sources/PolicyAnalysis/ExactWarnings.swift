// What is legal, but surely not meant, decided by the solver: rules that no question matches, permits that forbids always
// beat, conditions that are always true or always false, tests of questions that no rule can match. Told only where it is proven; the syntactic look of the checker
// (`PolicyWarnings`) finds the plain cases sooner and words them better, and what it has told is not told again.

import DecisionEngine
package import PolicyLanguage

/// What the solver found.
package struct ExactWarnings: Sendable {
    package var diagnostics: [Diagnostic] = []
    /// Rules, roles, offers, duties and questions of tests that the budget did not suffice for.
    package var unsettled = 0
    /// What it took.
    package var steps = 0

    /// A second or two in release, for a thousand rules.
    package static let defaultBudget = 100_000_000

    /// Looks for conditions that are constant, and permits that never decide.
    /// - Parameters:
    ///   - known: what the checker has told of the same policies.
    ///   - budget: steps for all together.
    ///   - interruption: ends it early.
    package init(
        _ policies: CheckedPolicies, known: [Diagnostic], budget: Int = Self.defaultBudget,
        interruption: Interruption? = nil
    ) {
        var search = WarningSearch(policies, known: known, budget: budget, interruption: interruption)
        search.run()
        diagnostics = search.found
        unsettled = search.unsettled
        steps = budget - search.left
    }

    /// All warnings of policies that check: those of the checker and these, in the order of the text.
    package static func all(
        of result: CheckResult, budget: Int = Self.defaultBudget, interruption: Interruption? = nil
    ) -> [Diagnostic] {
        guard let policies = result.policies else { return result.diagnostics }
        let exact = Self(policies, known: result.diagnostics, budget: budget, interruption: interruption)
        return ordered(result.diagnostics + exact.diagnostics)
    }

    /// Findings in the order of the text.
    package static func ordered(_ diagnostics: [Diagnostic]) -> [Diagnostic] {
        diagnostics.sorted {
            ($0.range.file, $0.range.start, $0.code.rawValue) < ($1.range.file, $1.range.start, $1.code.rawValue)
        }
    }
}

/// A condition with the cells it is asked in.
private struct Statement {
    /// `this permit`, as the subject of a sentence.
    var what: String
    var condition: Condition
    var cells: [WarningSearch.Place]
    var range: SourceRange
}

private struct WarningSearch {
    /// A cell by indices.
    struct Place: Hashable {
        var subject: Int
        var action: Int
        var resource: Int
    }

    /// Cells of one rule that are looked at; a rule of more stays unsettled.
    private static let maxPlaces = 2_000

    let policies: CheckedPolicies
    var found: [Diagnostic] = []
    var unsettled = 0
    private(set) var left: Int
    private let known: [Diagnostic]
    /// Roles of which something was told: what follows from it is not told where they are used.
    private var toldRoles = Set<Int>()
    private var rolesOfSubject: [Int: [Condition]] = [:]
    private let forbids: [Int]
    private let interpreter: Interpreter
    private let interruption: Interruption?

    init(_ policies: CheckedPolicies, known: [Diagnostic], budget: Int, interruption: Interruption?) {
        self.policies = policies
        self.known = known.filter { $0.severity == .warning }
        left = budget
        self.interruption = interruption
        forbids = policies.rules.indices.filter { policies.rules[$0].kind == .forbid }
        interpreter = Interpreter(policies)
    }

    mutating func run() {
        let tests = testsByPlace()
        let count =
            policies.rules.count + policies.roles.count + policies.offers.count + policies.obligations.count
            + tests.count
        var done = 0
        func share(_ search: WarningSearch) -> WorkBudget {
            // What others leave of their shares is there for those that need more.
            WorkBudget(
                max(1, min(search.left, 20 * search.left / max(1, count - done))), search.interruption)
        }
        func visit(_ statement: Statement, _ rule: CheckedRule? = nil) {
            let budget = share(self)
            done += 1
            if !look(at: statement, rule, budget) { unsettled += 1 }
            left -= budget.total - budget.left
        }
        for (index, role) in policies.roles.enumerated() {
            let before = found.count
            visit(
                Statement(
                    what: "role `\(role.name)`", condition: role.condition, cells: anyPlaces(role.subjectTypes),
                    range: role.range))
            let isTold = found.count > before || known.contains { role.range.holds($0.range) && $0.code != .unusedRole }
            if isTold { toldRoles.insert(index) }
        }
        for rule in policies.rules {
            visit(
                Statement(
                    what: "this \(rule.kind)", condition: rule.condition,
                    cells: places(rule.subjectTypes, rule.actions, rule.resourceTypes), range: rule.range), rule)
        }
        for offer in policies.offers {
            visit(
                Statement(
                    what: "this offer", condition: offer.condition, cells: anyPlaces(offer.subjectTypes),
                    range: offer.range))
        }
        for duty in policies.obligations {
            visit(
                Statement(
                    what: "this duty", condition: duty.condition,
                    cells: places(duty.subjectTypes, duty.actions, duty.resourceTypes), range: duty.range))
        }
        for (place, tests) in tests {
            let budget = share(self)
            done += 1
            switch canMatch(place, budget) {
            case .some(true): break
            case .some(false): for test in tests { warnCoversNothing(test) }
            case .none: unsettled += 1
            }
            left -= budget.total - budget.left
        }
    }

    // MARK: Tests that cover nothing

    /// The tests by the cell of their question, in the order of the text; without those of which it is known.
    private func testsByPlace() -> [(place: Place, tests: [PolicyTest])] {
        var found: [(place: Place, tests: [PolicyTest])] = []
        var indices: [Place: Int] = [:]
        let told = Set(known.filter { $0.code == .coversNothing }.map(\.range))
        for test in policies.tests where !told.contains(test.range) {
            let place = Place(subject: test.subjectType, action: test.action, resource: test.resourceType)
            if let index = indices[place] {
                found[index].tests.append(test)
            } else {
                indices[place] = found.count
                found.append((place, [test]))
            }
        }
        return found
    }

    /// Some permit or forbid matches some question of a cell; nil when that was not settled.
    private mutating func canMatch(_ place: Place, _ budget: WorkBudget) -> Bool? {
        for rule in policies.rules where rule.kind != .require && isAbout(rule, place) {
            if case .constant(let holds) = rule.condition {
                if holds { return true }
                continue
            }
            let space = space([rule.condition], place, budget)
            let asked = space.asked(rule.condition)
            switch Reasoner(space, roots: asked).question(asked) {
            case .found: return true
            case .none: continue
            case .undecided, .exhausted: return nil
            }
        }
        return false
    }

    private func isAbout(_ rule: CheckedRule, _ place: Place) -> Bool {
        rule.subjectTypes.contains(place.subject) && rule.actions?.contains(place.action) ?? true
            && rule.resourceTypes?.contains(place.resource) ?? true
    }

    private mutating func warnCoversNothing(_ test: PolicyTest) {
        let catalog = policies.catalog
        let action = catalog.actions[test.action].name
        let type = catalog.entities[test.resourceType].name
        let subject = catalog.entities[test.subjectType].name
        add(
            Diagnostic(
                .coversNothing,
                "no rule can match `\(action)` on `\(type)` by a `\(subject)`: the answer is deny, whatever the test gives",
                at: test.range, help: "mend the rules about it, or the question"))
    }

    // MARK: Cells

    /// The cells that something is about, as far as the catalog defines them.
    private func places(_ subjects: [Int], _ actions: [Int]?, _ types: [Int]?) -> [Place] {
        let types = types.map { Set($0) }
        var places: [Place] = []
        for subject in subjects {
            for action in actions ?? Array(policies.catalog.actions.indices) {
                for resource in policies.catalog.actions[action].resourceTypes
                where types?.contains(resource) ?? true {
                    places.append(Place(subject: subject, action: action, resource: resource))
                    if places.count > Self.maxPlaces { return places }
                }
            }
        }
        return places
    }

    /// One cell for each subject type, for what does not hang on action and resource.
    private func anyPlaces(_ subjects: [Int]) -> [Place] {
        guard let action = policies.catalog.actions.firstIndex(where: { !$0.resourceTypes.isEmpty }),
            let resource = policies.catalog.actions[action].resourceTypes.first
        else { return [] }
        return subjects.map { Place(subject: $0, action: action, resource: resource) }
    }

    private mutating func space(_ conditions: [Condition], _ place: Place, _ budget: WorkBudget) -> RequestSpace {
        let catalog = policies.catalog
        let roles: [Condition]
        if let known = rolesOfSubject[place.subject] {
            roles = known
        } else {
            roles = Restriction.rolesOpen(policies, subjectType: place.subject)
            rolesOfSubject[place.subject] = roles
        }
        let restriction = Restriction.open(
            conditions, policies, subjectType: place.subject, action: place.action, resourceType: place.resource,
            roles: roles)
        let cell = Cell(
            subject: catalog.entities[place.subject].name, action: catalog.actions[place.action].name,
            resource: catalog.entities[place.resource].name)
        return RequestSpace(cell, [restriction], budget)
    }

    // MARK: One statement

    /// Looks at a condition; false when the budget did not suffice to settle it.
    private mutating func look(at statement: Statement, _ rule: CheckedRule?, _ budget: WorkBudget) -> Bool {
        if case .constant = statement.condition, rule?.kind != .permit || forbids.isEmpty { return true }
        let isTold = known.contains { warning in
            [.neverMatches, .hiddenByForbid].contains(warning.code) && statement.range.holds(warning.range)
        }
        if isTold || statement.cells.isEmpty { return true }
        if statement.cells.count > Self.maxPlaces { return false }
        var parts = ConditionParts(statement.condition, told: toldRoles)
        for place in statement.cells {
            if parts.isSettled { break }
            let space = space([statement.condition], place, budget)
            parts.look(space)
            if budget.isUsedUp { return false }
        }
        if parts.isNever {
            if !parts.followsFromRole { warnNever(statement, parts) }
            return true
        }
        if let rule, rule.kind == .permit, !forbids.isEmpty, !warnHidden(rule, statement, budget) { return false }
        for finding in parts.findings() {
            let isKnown = (known + found).contains { $0.range.meets(finding.range) && $0.code == finding.code }
            if !isKnown { add(finding) }
        }
        return true
    }

    private mutating func add(_ diagnostic: Diagnostic) {
        if found.count < LanguageLimits.maxDiagnostics { found.append(diagnostic) }
    }

    private mutating func warnNever(_ statement: Statement, _ parts: ConditionParts) {
        let verb = statement.what.hasPrefix("role") ? "hold" : "match"
        let (range, why) = parts.contradiction
        add(
            Diagnostic(
                .neverMatches, "\(statement.what) can never \(verb): \(why)", at: range ?? statement.range,
                help: "mend the condition, or remove it"))
    }

    // MARK: Permits that forbids always beat

    /// Looks for a question that the permit decides; false when it is not settled whether there is one. Of the forbids
    /// only those are looked at that beat some question found before.
    private mutating func warnHidden(_ permit: CheckedRule, _ statement: Statement, _ budget: WorkBudget) -> Bool {
        var beating: [Int] = []
        var used = Set<Int>()
        for place in statement.cells {
            let applying = forbids.filter { isAbout(policies.rules[$0], place) }
            search: while true {
                let here = beating.filter { applying.contains($0) }
                let conditions = here.map { policies.rules[$0].condition }
                let space = space([permit.condition] + conditions, place, budget)
                let asked = space.asked(permit.condition) + conditions.map { !space.translate($0, side: 0) }
                switch Reasoner(space, roots: asked).question(asked) {
                case .none(let core):
                    used.formUnion(
                        zip(here, conditions).filter { core.contains(!space.translate($0.1, side: 0)) }.map(\.0))
                    break search
                case .undecided, .exhausted: return false
                case .found(let question):
                    var situation = space.situation(question, side: 0)
                    fill(&situation, place, applying)
                    budget.spend(20 * applying.count)
                    let more = applying.filter {
                        !here.contains($0) && interpreter.holds(policies.rules[$0].condition, situation)
                    }
                    if more.isEmpty {
                        return true
                    }
                    beating += more.prefix(4)
                }
            }
        }
        // A permit that never matches has no forbid that beats it; that was looked for before.
        if !used.isEmpty { tellHidden(permit, used.sorted()) }
        return true
    }

    private mutating func tellHidden(_ permit: CheckedRule, _ forbids: [Int]) {
        let names = forbids.map { index in
            let rule = policies.rules[index]
            let file = Int(rule.range.file)
            let name = policies.files.indices.contains(file) ? policies.files[file].name : ""
            return "\"\(rule.name)\" at \(name):\(rule.range.line)"
        }
        let who =
            names.count == 1
            ? "the forbid \(names[0]) always beats it"
            : "the forbids \(names.dropLast().joined(separator: ", ")) and \(names[names.count - 1]) together always beat it"
        add(
            Diagnostic(
                .hiddenByForbid, "this permit never decides: \(who)", at: permit.range,
                help: "narrow the forbid with `unless` or `when`, or remove the permit"))
    }

    /// Gives plain values to what the forbids need and the question does not have, so that it is no error.
    private func fill(_ situation: inout Situation, _ place: Place, _ forbids: [Int]) {
        let catalog = policies.catalog
        func visit(_ reference: AttributeReference) {
            guard
                let attribute = Restriction.declaration(
                    reference, catalog, place.subject, place.action, place.resource), attribute.isRequired,
                situation.given[reference.scope]?[reference.name] == nil,
                situation.stored[reference.scope]?[reference.name] == nil
            else { return }
            let value = Constant.plain(attribute.type)
            if attribute.isFromRequest {
                situation.given[reference.scope, default: [:]][reference.name] = .value(value)
            } else {
                situation.stored[reference.scope, default: [:]][reference.name] = StoredValue(value)
            }
        }
        func walk(_ condition: Condition) {
            condition.forEachTest { test in
                test.forEachReference(visit)
                if case .role(let role) = test { walk(policies.roles[role].condition) }
            }
        }
        for forbid in forbids { walk(policies.rules[forbid].condition) }
    }
}

extension RequestSpace {
    /// A question for which a condition holds, and that is no error for what it reads.
    fileprivate func asked(_ condition: Condition) -> [Signal] { noFaults + [translate(condition, side: 0)] }

    /// The question is no error.
    fileprivate var noFaults: [Signal] {
        sides[0].openFaults.compactMap { reading($0, side: 0) }.map { !fault($0) }
    }
}

// MARK: Parts of a condition

/// The parts of a condition, with the truths that questions were found for.
private struct ConditionParts {
    private struct Part {
        var condition: Condition
        var range: SourceRange?
        var children: [Int] = []
        var wasTrue = false
        var wasFalse = false

        /// Written as `true` or `false`, which the checker tells.
        var isConstant: Bool {
            if case .constant = condition { return true }
            return false
        }
    }

    private var parts: [Part] = []
    /// A question could not be decided, so that nothing is known of some part.
    private var isOpen = false
    /// Parts of the whole that cannot hold together, in some cell.
    private var core = Set<Int>()

    /// Roles of which something was told.
    private let told: Set<Int>

    init(_ condition: Condition, told: Set<Int>) {
        self.told = told
        _ = add(condition)
    }

    /// Adds a part and what it is made of; its index.
    private mutating func add(_ condition: Condition) -> Int {
        let index = parts.count
        parts.append(Part(condition: condition))
        var children: [Int] = []
        switch condition {
        case .constant: break
        case .test(_, let range): parts[index].range = range
        case .not(let inner): children = [add(inner)]
        case .all(let list), .any(let list): for part in list { children.append(add(part)) }
        }
        parts[index].children = children
        for child in children {
            guard let range = parts[child].range else { continue }
            parts[index].range = parts[index].range?.union(range) ?? range
        }
        return index
    }

    /// True when nothing is left to find out.
    var isSettled: Bool { isOpen || parts.allSatisfy { $0.wasTrue && $0.wasFalse || $0.isConstant } }

    /// True when no question makes the whole true.
    var isNever: Bool {
        if case .constant = parts[0].condition { return false }
        return !isOpen && !parts[0].wasTrue
    }

    /// It is a role that never holds, of which that was told.
    var followsFromRole: Bool { core.count == 1 && core.allSatisfy { isTold($0) } }

    private func isTold(_ index: Int) -> Bool {
        if case .test(.role(let role), _) = parts[index].condition { return told.contains(role) }
        return false
    }

    // MARK: Looking

    /// Finds questions of one cell in which parts are what they were not so far.
    mutating func look(_ space: RequestSpace) {
        let signals = parts.map { space.translate($0.condition, side: 0) }
        let noFaults = space.noFaults
        let reasoner = Reasoner(space, roots: signals + noFaults)
        if !parts[0].wasTrue { findCore(reasoner, signals, noFaults) }
        for index in parts.indices where !parts[index].isConstant {
            for truth in [true, false] {
                if isOpen || (truth ? parts[index].wasTrue : parts[index].wasFalse) { continue }
                let wanted = truth ? signals[index] : !signals[index]
                if wanted == .no { continue }
                note(reasoner.question(noFaults + [wanted]), reasoner, signals)
            }
        }
    }

    private mutating func note(_ answer: Reasoner.Answer, _ reasoner: Reasoner, _ signals: [Signal]) {
        switch answer {
        case .none: break
        case .undecided, .exhausted: isOpen = true
        case .found(let question):
            for (index, truth) in reasoner.truths(signals, in: question).enumerated() {
                if truth { parts[index].wasTrue = true } else { parts[index].wasFalse = true }
            }
        }
    }

    /// Which of the parts that must all hold cannot hold together.
    private mutating func findCore(_ reasoner: Reasoner, _ signals: [Signal], _ noFaults: [Signal]) {
        var needed = conjuncts(of: 0)
        let answer = reasoner.question(noFaults + needed.map { signals[$0] })
        guard case .none = answer else { return note(answer, reasoner, signals) }
        for index in needed where needed.count > 1 {
            let fewer = needed.filter { $0 != index }
            if case .none = reasoner.question(noFaults + fewer.map { signals[$0] }) { needed = fewer }
        }
        core.formUnion(needed)
    }

    private func conjuncts(of index: Int) -> [Int] {
        if case .all = parts[index].condition { return parts[index].children.flatMap { conjuncts(of: $0) } }
        return [index]
    }

    // MARK: Telling

    /// Where and why the whole can never hold.
    var contradiction: (range: SourceRange?, why: String) {
        let places = core.sorted().compactMap { parts[$0].range }
        guard places.count > 1, let last = places.last else {
            return (places.first, "this is always false")
        }
        let lines = Set(places.dropLast().map(\.line)).sorted()
        let others =
            lines == [last.line]
            ? "what stands before it"
            : "what stands in line\(lines.count > 1 ? "s" : "") \(lines.map { "\($0)" }.joined(separator: ", "))"
        return (last, "this and \(others) exclude one another")
    }

    /// Parts that are always true or always false, the smallest that are; none when something is open.
    func findings() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if !isOpen { visit(0, &found) }
        return found
    }

    private func visit(_ index: Int, _ found: inout [Diagnostic]) {
        let part = parts[index]
        guard !part.isConstant, !part.wasTrue || !part.wasFalse else {
            for child in part.children { visit(child, &found) }
            return
        }
        let guilty = part.children.filter { !parts[$0].wasTrue || !parts[$0].wasFalse }
        if isTold(index) { return }
        guard guilty.isEmpty, let range = part.range else {
            for child in guilty { visit(child, &found) }
            return
        }
        let (message, help): (String, String) =
            switch (part.condition, part.wasTrue) {
            case (.any, true):
                ("one of these alternatives always holds", "remove the condition, or mend an alternative")
            case (.all, false): ("these conditions exclude one another", "perhaps `or` was meant")
            case (_, true): ("this is always true", "remove it, or mend the value")
            default: ("this is always false", "remove it, or mend the value")
            }
        found.append(Diagnostic(.constantCondition, message, at: range, help: help))
    }
}

extension SourceRange {
    /// The other lies inside.
    fileprivate func holds(_ other: SourceRange) -> Bool {
        file == other.file && start <= other.start && other.end <= end
    }

    fileprivate func meets(_ other: SourceRange) -> Bool {
        file == other.file && start < other.end && other.start < end
    }
}

extension Constant {
    /// Some value of a type.
    fileprivate static func plain(_ type: ValueType) -> Constant {
        switch type {
        case .boolean: .boolean(false)
        case .integer(let range): .integer(range.map { min(max(0, $0.lowerBound), $0.upperBound) } ?? 0)
        case .decimal: .decimal(0)
        case .string: .string("other")
        case .enumeration: .enumeration(0)
        case .datetime: .datetime(1_767_614_400_000)
        case .duration: .duration(0)
        case .address: .address(IPAddress(high: 0, low: 0xffff_c000_0201))
        case .reference(let entity): .reference(entity: entity, id: "other")
        case .set: .set([])
        }
    }
}
