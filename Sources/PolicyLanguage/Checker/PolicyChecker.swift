// Policy syntax to checked rules, roles and tests: names found, types agreed.

/// Checks the policies of a tenant against its catalog.
struct PolicyChecker {
    let catalog: Catalog
    /// What of the catalog could not be taken.
    let broken: BrokenWords
    var sink: DiagnosticSink
    /// Index tables, so that no look-up walks the catalog.
    let entities: [String: Int]
    let actions: [String: Int]
    let allSubjectTypes: [Int]
    /// Types that any action exists on.
    let allResourceTypes: [Int]
    var roleSyntax: [String: RoleSource] = [:]
    var roleIndices: [String: Int] = [:]
    var roles: [CheckedRole] = []
    /// Roles that rules, duties or the conditions of offers name.
    var usedRoles = Set<String>()
    /// Roles that the conditions of roles name, each with those roles.
    var rolesNaming: [String: Set<String>] = [:]
    /// Roles that are offered.
    var offeredRoles: [String: SourceRange] = [:]
    var groups: [String] = []
    var groupIndices: [String: Int] = [:]
    var containers: [ContainerReference] = []
    var containerIndices: [ContainerReference: Int] = [:]
    var schedules: [Schedule] = []
    var scheduleIndices: [String: Int] = [:]
    /// What was looked up before, so that text of many like conditions takes time by its length alone.
    var known = Memo()
    var usedLets = Set<SourceRange>()
    private var resolving: [String] = []
    private var failedRoles = Set<String>()
    /// Lets whose text could not be read.
    var failedLets = Set<String>()
    /// Optional attributes of the rule at hand that were told to be read without asking: one `has` mends all reads.
    var toldOptionals = Set<AttributeReference>()

    /// Look-ups that many conditions share.
    struct Memo {
        var attributes: [AttributeKey: (AttributeReference, [Attribute])] = [:]
        var constants: [LetKey: Constant] = [:]
        var lists: [LetKey: [Constant]] = [:]
        var networks: [LetKey: [IPNetwork]] = [:]
        var isContained: [AttributeKey: Bool] = [:]
        var containersAbove: [Int: Set<Int>] = [:]
        var zones: [String: TimeZoneRules] = [:]
        /// Attributes of which it was told that no source fills them.
        var toldUnfilled = Set<AttributeReference>()
    }

    /// A name in the types a rule is about.
    struct AttributeKey: Hashable {
        var scope: AttributeScope
        var types: [Int]?
        var actions: [Int]?
        var name: String
    }

    /// A let read as a type.
    struct LetKey: Hashable {
        var place: SourceRange
        var type: ValueType
    }

    /// A role's text with the lets it can see.
    struct RoleSource {
        var name: Name
        var condition: ExpressionSyntax
        var range: SourceRange
        var lets: [String: LetSource]
    }

    struct LetSource {
        var name: Name
        var value: ValueSyntax
    }

    init(catalog: Catalog, broken: BrokenWords, sink: DiagnosticSink) {
        self.catalog = catalog
        self.broken = broken
        self.sink = sink
        entities = Dictionary(catalog.entities.enumerated().map { ($1.name, $0) }) { first, _ in first }
        actions = Dictionary(catalog.actions.enumerated().map { ($1.name, $0) }) { first, _ in first }
        allSubjectTypes = catalog.subjectTypes
        allResourceTypes = Set(catalog.actions.flatMap(\.resourceTypes)).sorted()
    }

    mutating func check(_ syntax: [FileSyntax], files: [SourceFile]) -> CheckedPolicies {
        var allLets: [[String: LetSource]] = []
        let policies = syntax.flatMap(\.policies)
        for policy in policies {
            let lets = lets(policy)
            allLets.append(lets)
            for name in policy.broken {
                failedRoles.insert(name.text)
                failedLets.insert(name.text)
            }
            for (name, condition, range) in policy.roles {
                if let first = roleSyntax[name.text] {
                    sink.report(
                        .duplicateName, "role `\(name.text)` is declared twice", at: name.range,
                        help: "join the conditions with `or`, or rename one: roles are known in all policies",
                        related: [.first("declaration", at: first.name.range)])
                    continue
                }
                roleSyntax[name.text] = RoleSource(name: name, condition: condition, range: range, lets: lets)
            }
        }
        let ruleCount = policies.reduce(0) { $0 + $1.rules.count }
        if ruleCount > LanguageLimits.maxRules {
            sink.report(.tooLarge, "\(ruleCount) rules, above \(LanguageLimits.maxRules)", at: .none)
        }
        for name in roleSyntax.values.map(\.name).sorted(by: {
            ($0.range.file, $0.range.start) < ($1.range.file, $1.range.start)
        }) {
            if sink.isFull { break }
            _ = role(named: name)
        }
        var rules: [CheckedRule] = []
        var names: [String: SourceRange] = [:]
        for (policy, lets) in zip(policies, allLets) {
            for (number, rule) in policy.rules.enumerated() where !sink.isFull {
                guard let checked = self.rule(rule, policy: policy.name.text, number: number + 1, lets: lets) else {
                    continue
                }
                isNew(checked.name, "rules", rule, &names)
                rules.append(checked)
            }
        }
        var offers: [CheckedOffer] = []
        var obligations: [CheckedObligation] = []
        for (policy, lets) in zip(policies, allLets) {
            for syntax in policy.offers where !sink.isFull {
                guard let checked = offer(syntax, policy: policy.name.text, lets: lets) else { continue }
                isNew(checked.name, "offers", syntax.rule, &names)
                offers.append(checked)
            }
            for (number, syntax) in policy.obligations.enumerated() where !sink.isFull {
                guard let checked = obligation(syntax, policy: policy.name.text, number: number + 1, lets: lets) else {
                    continue
                }
                isNew(checked.name, "duties", syntax.rule, &names)
                obligations.append(checked)
            }
        }
        if offers.count + obligations.count > LanguageLimits.maxRules {
            sink.report(
                .tooLarge, "\(offers.count + obligations.count) offers and duties, above \(LanguageLimits.maxRules)",
                at: .none)
        }
        var tests: [PolicyTest] = []
        for test in syntax.lazy.flatMap(\.tests) where !sink.isFull {
            if let checked = self.test(test) { tests.append(checked) }
        }
        // What could not be read may have used them.
        if !sink.hasErrors { warnUnused(allLets) }
        return CheckedPolicies(
            files: files, catalog: catalog, rules: rules, roles: roles.takeable(by: offers), groups: groups,
            containers: containers,
            schedules: schedules, offers: offers, obligations: obligations, tests: tests)
    }

    /// Reports a name that stands for something before.
    private mutating func isNew(
        _ name: String, _ what: String, _ rule: RuleSyntax, _ names: inout [String: SourceRange]
    ) {
        let place = rule.label?.range ?? rule.range
        guard let first = names.updateValue(place, forKey: name) else { return }
        names[name] = first
        sink.report(
            .duplicateName, "two \(what) are called \"\(name)\"", at: place,
            help: rule.label == nil
                ? "give it a label: `as \"…\"`" : "give policies and labels names of their own",
            related: [.first("of that name", at: first)])
    }

    private mutating func lets(_ policy: PolicySyntax) -> [String: LetSource] {
        var lets: [String: LetSource] = [:]
        for (name, value) in policy.lets {
            if entities[name.text] != nil || CatalogChecker.reserved.contains(name.text) {
                sink.report(
                    .reservedName, "`\(name.text)` has a meaning of its own in conditions", at: name.range,
                    help: "choose another name for the let")
                failedLets.insert(name.text)
                continue
            }
            if let first = lets[name.text] {
                sink.report(
                    .duplicateName, "let `\(name.text)` is declared twice", at: name.range,
                    help: "remove one, or rename it", related: [.first("declaration", at: first.name.range)])
                continue
            }
            lets[name.text] = LetSource(name: name, value: value)
        }
        for (name, _) in policy.lets { resolve(name.text, &lets) }
        return lets
    }

    /// Replaces a let that names another by what that one stands for in the end.
    private mutating func resolve(_ name: String, _ lets: inout [String: LetSource]) {
        var chain: [String] = []
        var seen = Set<String>()
        var next = name
        while let source = lets[next], case .path(let path) = source.value.form, path.count == 1,
            let other = lets[path[0].text]
        {
            chain.append(next)
            guard seen.insert(next).inserted else {
                sink.report(
                    .letCircle, "`\(next)` stands for itself in the end", at: source.name.range,
                    help: "let one of them be a value")
                for name in chain {
                    lets[name] = nil
                    failedLets.insert(name)
                }
                return
            }
            usedLets.insert(other.name.range)
            next = path[0].text
        }
        guard let value = lets[next]?.value else { return }
        for name in chain { lets[name]?.value = value }
    }

    private mutating func warnUnused(_ lets: [[String: LetSource]]) {
        for source in roleSyntax.values where !isReached(source.name.text) { warnUnused(source.name) }
        for source in lets.flatMap(\.values) where !usedLets.contains(source.name.range) {
            sink.report(.unusedLet, "let `\(source.name.text)` is never used", at: source.name.range, help: "remove it")
        }
    }

    /// Some rule's outcome can hang on a role: a rule names it, or a role that is reached.
    private func isReached(_ role: String) -> Bool {
        // Roles do not include one another in circles, and no deeper than a limit.
        usedRoles.contains(role) || (rolesNaming[role] ?? []).contains { isReached($0) }
    }

    private mutating func warnUnused(_ role: Name) {
        if let offer = offeredRoles[role.text] {
            sink.report(
                .unusedRole, "role `\(role.text)` is offered, and no rule names it: having it changes nothing",
                at: role.range, help: "use it with `to role \(role.text)`, or remove it and the offer",
                related: [Diagnostic.Related("the offer", at: offer)])
            return
        }
        let naming = (rolesNaming[role.text] ?? []).sorted().map { "`\($0)`" }
        let why =
            naming.isEmpty
            ? ""
            : ": only \(naming.joined(separator: " and ")) \(naming.count == 1 ? "names" : "name") it, which no rule names either"
        sink.report(
            .unusedRole, "role `\(role.text)` is never used\(why)", at: role.range,
            help: "use it with `to role \(role.text)`, or remove it")
    }

    // MARK: Rules

    private mutating func rule(
        _ syntax: RuleSyntax, policy: String, number: Int, lets: [String: LetSource]
    ) -> CheckedRule? {
        guard let scope = ruleScope(syntax, lets: lets), let (condition, demand) = conditions(syntax, scope) else {
            return nil
        }
        let name = syntax.label.map { "\(policy)/\($0.text)" } ?? "\(policy)#\(number)"
        return CheckedRule(
            kind: syntax.kind, name: name, subjectTypes: scope.subjectTypes,
            actions: scope.actions.map { Array(Set($0)).sorted() },
            resourceTypes: scope.resourceTypes.map { Array(Set($0)).sorted() }, condition: condition, demand: demand,
            demandPlaces: syntax.demand?.places ?? DemandPlaces(), reason: syntax.reason, range: syntax.range)
    }

    /// What a rule is about; nil when something was reported.
    /// - Parameter names: what texts of duties name besides the conditions.
    mutating func ruleScope(
        _ syntax: RuleSyntax, lets: [String: LetSource], alsoNaming names: [Name] = []
    ) -> ExpressionScope? {
        let types = syntax.types.map { names in names.map { entity($0) } }
        let typeSet = types.map { Set($0.compactMap { $0 }) }
        let actionIndices = syntax.actions.map { names in names.map { action($0, types: typeSet) } }
        guard types?.contains(nil) != true, actionIndices?.contains(nil) != true else { return nil }
        let parts = [syntax.to, syntax.when, syntax.unless].compactMap { $0 }
        guard let subjects = subjectTypes(syntax.subjectType, parts, alsoNaming: names, at: syntax.range) else {
            return nil
        }
        return ExpressionScope(
            subjectTypes: subjects, actions: actionIndices.map(Self.unique), resourceTypes: types.map(Self.unique),
            lets: lets, isRole: false)
    }

    /// Each index once, in the order of the text.
    private static func unique(_ indices: [Int?]) -> [Int] {
        var seen = Set<Int>()
        return indices.compactMap { $0 }.filter { seen.insert($0).inserted }
    }

    /// `to` and `when` and not `unless`, and what is required; nil when something was reported.
    mutating func conditions(_ syntax: RuleSyntax, _ scope: ExpressionScope) -> (Condition, Demand?)? {
        var scope = scope
        toldOptionals = []
        var conditions: [Condition] = []
        var isGood = true
        for part in [syntax.to, syntax.when].compactMap({ $0 }) {
            guard let checked = expression(part, scope) else {
                isGood = false
                continue
            }
            scope.present.formUnion(checked.presentWhenTrue)
            conditions.append(checked.condition)
        }
        if let unless = syntax.unless {
            if let checked = expression(unless, scope) {
                conditions.append(.not(checked.condition))
            } else {
                isGood = false
            }
        }
        let demand = syntax.demand.map { self.demand($0) }
        if case .some(.none) = demand { isGood = false }
        guard isGood else { return nil }
        let condition: Condition =
            conditions.isEmpty ? .constant(true) : conditions.count == 1 ? conditions[0] : .all(conditions)
        return (condition, demand ?? nil)
    }

    private mutating func entity(_ name: Name) -> Int? {
        if let index = entities[name.text] { return index }
        if broken.missing.contains(name.text) { return nil }
        sink.report(
            .unknownEntity, "no entity type `\(name.text)` in catalog \"\(catalog.name)\"", at: name.range,
            help: sink.suggestion(name.text, entities.keys))
        return nil
    }

    private mutating func action(_ name: Name, types: Set<Int>?) -> Int? {
        guard let index = actions[name.text] else {
            sink.report(
                .unknownAction, "no action `\(name.text)` in catalog \"\(catalog.name)\"", at: name.range,
                help: sink.suggestion(name.text, actions.keys))
            return nil
        }
        if broken.incomplete.contains(.action(name.text)) { return index }
        if let types, !types.isEmpty, !catalog.actions[index].resourceTypes.contains(where: types.contains) {
            let known = catalog.actions[index].resourceTypes.map { catalog.entities[$0].name }
            sink.report(
                .actionNotOnType,
                "action `\(name.text)` does not exist on \(types.sorted().map { "`\(catalog.entities[$0].name)`" }.joined(separator: ", "))",
                at: name.range, help: "the catalog has it on: \(known.joined(separator: ", "))")
            return nil
        }
        return index
    }

    mutating func demand(_ syntax: DemandSyntax) -> Demand? {
        var demand = Demand()
        var isGood = true
        if let level = syntax.level {
            if let index = catalog.assurance.level(named: level.text) {
                demand.levels = catalog.assurance.implied[index]
            } else if broken.missing.contains(level.text) {
                isGood = false
            } else {
                isGood = false
                sink.report(
                    .unknownLevel, "no assurance level `\(level.text)`", at: level.range,
                    help: sink.suggestion(level.text, catalog.assurance.levels)
                        ?? "declare levels in the catalog: `assurance password < mfa`")
            }
        }
        if let within = syntax.within { demand.within = within }
        for method in syntax.methods {
            if let bit = AuthenticationMethods.bit(method.text) {
                demand.methods |= bit
            } else {
                isGood = false
                sink.report(
                    .unknownMethod, "no authentication method `\(method.text)`", at: method.range,
                    help: sink.suggestion(method.text, AuthenticationMethods.names)
                        ?? "write one of RFC 8176, such as pwd, otp, hwk, swk, face or fpt")
            }
        }
        return isGood ? demand : nil
    }

    // MARK: Subjects

    /// The subject types a rule or role is about: those it names, or all.
    mutating func subjectTypes(
        _ explicit: Name?, _ parts: [ExpressionSyntax], alsoNaming names: [Name] = [], at range: SourceRange
    ) -> [Int]? {
        var mentioned: [(index: Int, range: SourceRange)] = []
        for name in names {
            if let index = entities[name.text], catalog.entities[index].isSubject {
                mentioned.append((index, name.range))
            }
        }
        var fromRoles: Set<Int>?
        var allRolesKnown = true
        for part in parts {
            part.forEachName { name in
                if let index = entities[name.text], catalog.entities[index].isSubject {
                    mentioned.append((index, name.range))
                }
            }
            var used: [Name] = []
            part.forEachRole { used.append($0) }
            for name in used {
                guard let role = role(named: name, isUse: true) else {
                    allRolesKnown = false
                    continue
                }
                let types = roles[role].subjectTypes
                if types.count < allSubjectTypes.count {
                    fromRoles = fromRoles?.intersection(types) ?? Set(types)
                }
            }
        }
        guard allRolesKnown else { return nil }
        if let explicit {
            guard let index = entities[explicit.text], catalog.entities[index].isSubject else {
                if broken.missing.contains(explicit.text) { return nil }
                let known = allSubjectTypes.map { catalog.entities[$0].name }
                sink.report(
                    .unknownEntity, "`\(explicit.text)` is no subject type", at: explicit.range,
                    help: roleSyntax[explicit.text] == nil
                        ? sink.suggestion(explicit.text, known) : "write `role \(explicit.text)`")
                return nil
            }
            mentioned.append((index, explicit.range))
        }
        let types = Set(mentioned.map(\.index))
        if types.count > 1 {
            let names = types.sorted().map { "`\(catalog.entities[$0].name)`" }.joined(separator: " and ")
            sink.report(
                .mixedSubjects, "this speaks of \(names) at once", at: mentioned.last?.range ?? range,
                help: "write a rule for each, or use `subject.` for what they share")
            return nil
        }
        // The same array for all rules that are about any subject.
        guard let fromRoles else { return types.isEmpty ? allSubjectTypes : types.sorted() }
        let wanted = types.isEmpty ? fromRoles : fromRoles.intersection(types)
        if wanted.isEmpty {
            sink.report(
                .mixedSubjects, "the roles used here are about other kinds of subject", at: range,
                help: "use roles of one subject type")
            return nil
        }
        return wanted.sorted()
    }

    // MARK: Roles

    /// The index of a role, checking it first when need be; nil, with a report, when there is none.
    mutating func role(named name: Name, isUse: Bool = false) -> Int? {
        if isUse, let inside = resolving.last {
            rolesNaming[name.text, default: []].insert(inside)
        } else if isUse {
            usedRoles.insert(name.text)
        }
        if let index = roleIndices[name.text] { return index }
        if failedRoles.contains(name.text) { return nil }
        guard let source = roleSyntax[name.text] else {
            sink.report(
                .unknownRole, "no role `\(name.text)`", at: name.range,
                help: sink.suggestion(name.text, roleSyntax.keys) ?? "declare it: `role \(name.text) is …`")
            return nil
        }
        if resolving.contains(name.text) {
            let members = resolving.drop { $0 != name.text }
            let circle = (members + [name.text]).joined(separator: " → ")
            sink.report(
                .roleCycle, "roles include one another: \(circle)", at: name.range, help: "break the circle",
                related: members.compactMap { member in
                    roleSyntax[member].map { Diagnostic.Related("role `\(member)`", at: $0.name.range) }
                })
            return nil
        }
        if resolving.count >= LanguageLimits.maxNesting {
            sink.report(
                .nestedTooDeep, "roles included more than \(LanguageLimits.maxNesting) deep", at: name.range,
                help: "let roles name their conditions directly")
            return nil
        }
        resolving.append(name.text)
        defer { resolving.removeLast() }
        guard let subjects = subjectTypes(nil, [source.condition], at: source.range) else {
            failedRoles.insert(name.text)
            return nil
        }
        let scope = ExpressionScope(
            subjectTypes: subjects, actions: [], resourceTypes: [], lets: source.lets, isRole: true)
        toldOptionals = []
        guard let checked = expression(source.condition, scope) else {
            failedRoles.insert(name.text)
            return nil
        }
        let index = roles.count
        roles.append(
            CheckedRole(name: name.text, subjectTypes: subjects, condition: checked.condition, range: source.range))
        roleIndices[name.text] = index
        return index
    }

    mutating func group(_ name: String) -> Int {
        if let index = groupIndices[name] { return index }
        groupIndices[name] = groups.count
        groups.append(name)
        return groups.count - 1
    }
}

/// What a condition can see.
struct ExpressionScope {
    var subjectTypes: [Int]
    var actions: [Int]?
    var resourceTypes: [Int]?
    var lets: [String: PolicyChecker.LetSource]
    /// Roles are about the subject alone, with its device, session and the context.
    var isRole: Bool
    /// Optional attributes known to be there.
    var present = Set<AttributeReference>()
}

extension ExpressionSyntax {
    /// Calls `body` with the first name of every path.
    func forEachName(_ body: (Name) -> Void) {
        switch self {
        case .any(let parts), .all(let parts): for part in parts { part.forEachName(body) }
        case .not(let inner, _): inner.forEachName(body)
        case .compare(let left, _, let right, _), .isIn(let left, let right, _, _), .contains(let left, let right, _),
            .intersects(let left, let right, _), .subset(let left, let right, _):
            left.forEachName(body)
            right.forEachName(body)
        case .inGroup(let value, _, _, _), .inContainer(let value, _, _, _, _), .like(let value, _, _),
            .has(let value, _), .bare(let value):
            value.forEachName(body)
        case .role: break
        }
    }

    /// Calls `body` with every role used.
    func forEachRole(_ body: (Name) -> Void) {
        switch self {
        case .any(let parts), .all(let parts): for part in parts { part.forEachRole(body) }
        case .not(let inner, _): inner.forEachRole(body)
        case .role(let name): body(name)
        case .compare, .isIn, .inGroup, .inContainer, .contains, .intersects, .subset, .like, .has, .bare: break
        }
    }
}

extension ValueSyntax {
    /// Calls `body` with the first name of every path.
    func forEachName(_ body: (Name) -> Void) {
        switch form {
        case .path(let path), .count(let path), .fallback(let path, _): if let first = path.first { body(first) }
        case .list(let values): for value in values { value.forEachName(body) }
        case .span(let low, let high), .sum(let low, let high, _):
            low.forEachName(body)
            high.forEachName(body)
        case .text, .integer, .decimal, .boolean, .duration, .instant, .address, .network: break
        }
    }
}
