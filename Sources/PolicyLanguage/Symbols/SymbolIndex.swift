// Where each name of a tenant's files is declared and used: what editors ask, and what tells places of a catalog's words.
//
// Names are found by the text alone, so that files with mistakes have an index too: what could be read is in it.

/// A thing with a name.
package enum Symbol: Sendable, Hashable {
    case entity(String)
    case action(String)
    case attribute(AttributeHolder, String)
    case enumCase(AttributeHolder, attribute: String, String)
    case level(String)
    case issuer(String)
    /// A group by its display name; groups are declared by provisioning, not here.
    case group(String)
    /// Roles are known in all policies.
    case role(String)
    /// A let is known in its policy, which stands at this file and byte.
    case constant(String, file: Int32, policy: Int32)

    /// The name itself.
    package var name: String {
        switch self {
        case .entity(let name), .action(let name), .attribute(_, let name), .enumCase(_, _, let name), .level(let name),
            .issuer(let name), .group(let name), .role(let name), .constant(let name, _, _):
            name
        }
    }
}

/// What has attributes.
package enum AttributeHolder: Sendable, Hashable {
    case entity(String)
    case action(String)
    case context
}

/// A place where a symbol is named.
package struct Occurrence: Sendable, Hashable {
    package var symbol: Symbol
    package var range: SourceRange
    package var isDeclaration: Bool
}

/// A declaration, policy, rule or test, with what stands in it.
package struct OutlineItem: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        case catalog, entity, attribute, action, context, policy, role, constant, rule, offer, duty, test
    }

    package var kind: Kind
    package var name: String
    package var detail: String
    package var range: SourceRange
    /// The name's own place.
    package var selection: SourceRange
    package var children: [OutlineItem] = []
}

/// The names of a tenant's files.
package struct SymbolIndex: Sendable {
    /// In the order of the text. One place can name several symbols: an attribute that several types have.
    package private(set) var occurrences: [Occurrence] = []
    /// The catalog as far as it could be read; nil when there is none.
    package private(set) var catalog: Catalog?
    /// For each file, what it declares.
    package private(set) var outlines: [[OutlineItem]] = []
    /// Files with mistakes of syntax: names in them can be missing here.
    package private(set) var brokenFiles = Set<Int>()
    private var lets: [Policy] = []

    private struct Policy: Sendable {
        var range: SourceRange
        var names: [String: Symbol]
    }

    package init(_ files: [SourceFile]) {
        var sink = DiagnosticSink()
        guard let syntax = parseAll(files, &sink) else { return }
        for diagnostic in sink.diagnostics where diagnostic.severity == .error {
            brokenFiles.insert(Int(diagnostic.range.file))
        }
        if let first = syntax.lazy.flatMap(\.catalogs).first { catalog = CatalogChecker.check(first, &sink).catalog }
        var finder = SymbolFinder(catalog: catalog)
        for file in syntax { finder.collectNames(file) }
        for file in syntax { outlines.append(finder.file(file)) }
        occurrences = finder.occurrences.sorted { ($0.range.file, $0.range.start) < ($1.range.file, $1.range.start) }
        lets = finder.policies.map { Policy(range: $0.range, names: $0.lets) }
    }

    /// What is named at a byte of a file, or right before it.
    package func occurrences(at offset: Int, file: Int) -> [Occurrence] {
        let touching = occurrences.filter {
            Int($0.range.file) == file && Int($0.range.start) <= offset && offset <= Int($0.range.end)
        }
        // Between two names that touch, the one that starts here is meant.
        let starting = touching.filter { Int($0.range.start) == offset }
        return starting.isEmpty ? touching : starting
    }

    /// Every place of a symbol.
    package func places(of symbol: Symbol) -> [Occurrence] { occurrences.filter { $0.symbol == symbol } }

    /// Where a symbol is declared.
    package func declaration(of symbol: Symbol) -> SourceRange? {
        occurrences.first { $0.symbol == symbol && $0.isDeclaration }?.range
    }

    /// The lets that can be used at a byte of a file.
    package func constants(at offset: Int, file: Int) -> [Symbol] {
        let policy = lets.last { Int($0.range.file) == file && Int($0.range.start) <= offset }
        return (policy?.names ?? [:]).sorted { $0.key < $1.key }.map(\.value)
    }

    /// The roles of all policies.
    package var roles: [String] {
        Set(
            occurrences.compactMap { occurrence -> String? in
                guard occurrence.isDeclaration, case .role(let name) = occurrence.symbol else { return nil }
                return name
            }
        ).sorted()
    }
}

/// Walks syntax trees.
private struct SymbolFinder {
    let catalog: Catalog?
    var occurrences: [Occurrence] = []
    var policies: [(range: SourceRange, lets: [String: Symbol])] = []
    private var seenLevels = Set<String>()

    /// What a condition can see.
    private struct Scope {
        /// Nil is any.
        var actions: [String]?
        var types: [String]?
        var lets: [String: Symbol] = [:]
    }

    /// Attributes that a path can mean.
    private typealias Meant = [(holder: AttributeHolder, attribute: Attribute)]

    init(catalog: Catalog?) { self.catalog = catalog }

    private mutating func note(_ symbol: Symbol, _ name: Name, declares: Bool = false) {
        occurrences.append(Occurrence(symbol: symbol, range: name.range, isDeclaration: declares))
    }

    private func isEntity(_ name: String) -> Bool { catalog?.entity(named: name) != nil }

    private func isSubject(_ name: String) -> Bool {
        guard let catalog, let index = catalog.entity(named: name) else { return false }
        return catalog.entities[index].isSubject
    }

    // MARK: Files

    mutating func collectNames(_ file: FileSyntax) {
        for policy in file.policies {
            var lets: [String: Symbol] = [:]
            for (name, _) in policy.lets {
                lets[name.text] = .constant(name.text, file: policy.name.range.file, policy: policy.name.range.start)
            }
            policies.append((policy.range, lets))
        }
    }

    mutating func file(_ file: FileSyntax) -> [OutlineItem] {
        var items: [OutlineItem] = []
        for catalog in file.catalogs { items.append(self.catalog(catalog)) }
        for policy in file.policies { items.append(self.policy(policy)) }
        for test in file.tests { items.append(self.test(test)) }
        return items.sorted { $0.range.start < $1.range.start }
    }

    // MARK: Catalog

    private mutating func catalog(_ syntax: CatalogSyntax) -> OutlineItem {
        var item = OutlineItem(
            kind: .catalog, name: syntax.name.text, detail: "catalog \(syntax.version)", range: syntax.range,
            selection: syntax.name.range)
        for chain in syntax.assurance {
            for level in chain { note(.level(level.text), level, declares: seenLevels.insert(level.text).inserted) }
        }
        for level in syntax.unreachable { note(.level(level.text), level) }
        for (issuer, table) in syntax.issuers {
            note(.issuer(issuer.text), issuer, declares: true)
            for (_, level) in table { note(.level(level.text), level) }
        }
        for entity in syntax.entities {
            note(.entity(entity.name.text), entity.name, declares: true)
            for container in entity.containers { note(.entity(container.text), container) }
            let children = attributes(entity.attributes.list, [.entity(entity.name.text)])
            item.children.append(
                OutlineItem(
                    kind: .entity, name: entity.name.text, detail: entity.isSubject ? "subject entity" : "entity",
                    range: entity.range, selection: entity.name.range, children: children))
        }
        for (owner, attribute) in syntax.signals {
            note(.entity(owner.text), owner)
            item.children += attributes([attribute], [.entity(owner.text)]).map {
                var signal = $0
                signal.name = "\(owner.text).\($0.name)"
                signal.range = owner.range.union($0.range)
                return signal
            }
        }
        for action in syntax.actions {
            for name in action.names { note(.action(name.text), name, declares: true) }
            for type in action.types { note(.entity(type.text), type) }
            let children = attributes(action.attributes.list, action.names.map { .action($0.text) })
            guard let first = action.names.first, let last = action.types.last ?? action.names.last else { continue }
            item.children.append(
                OutlineItem(
                    kind: .action, name: action.names.map(\.text).joined(separator: ", "),
                    detail: "on \(action.types.map(\.text).joined(separator: ", "))",
                    range: children.reduce(first.range.union(last.range)) { $0.union($1.range) },
                    selection: first.range, children: children))
        }
        item.children += attributes(syntax.context.list, [.context])
        item.children.sort { $0.range.start < $1.range.start }
        return item
    }

    private mutating func attributes(_ list: [AttributeSyntax], _ holders: [AttributeHolder]) -> [OutlineItem] {
        list.map { attribute in
            for holder in holders {
                note(.attribute(holder, attribute.name.text), attribute.name, declares: true)
                type(attribute.type, holder, attribute.name.text)
                if case .path(let path) = attribute.defaultValue?.form, path.count == 1, isEnumeration(attribute.type) {
                    note(.enumCase(holder, attribute: attribute.name.text, path[0].text), path[0])
                }
            }
            return OutlineItem(
                kind: .attribute, name: attribute.name.text, detail: spelling(attribute.type), range: attribute.range,
                selection: attribute.name.range)
        }
    }

    private func isEnumeration(_ type: TypeSyntax) -> Bool {
        if case .enumeration = type { return true }
        return false
    }

    private mutating func type(_ syntax: TypeSyntax, _ holder: AttributeHolder, _ attribute: String) {
        switch syntax {
        case .named(let name): if isEntity(name.text) { note(.entity(name.text), name) }
        case .enumeration(let cases, _):
            for name in cases { note(.enumCase(holder, attribute: attribute, name.text), name, declares: true) }
        case .range, .broken: break
        case .set(let element, _): type(element, holder, attribute)
        }
    }

    private func spelling(_ type: TypeSyntax) -> String {
        switch type {
        case .named(let name): name.text
        case .enumeration(let cases, let ordered):
            "enum(\(cases.prefix(8).map(\.text).joined(separator: ordered ? " < " : ", "))\(cases.count > 8 ? ", …" : ""))"
        case .range(let low, let high, _): "\(low)...\(high)"
        case .set(let element, _): "set of \(spelling(element))"
        case .broken: ""
        }
    }

    // MARK: Policies

    private mutating func policy(_ syntax: PolicySyntax) -> OutlineItem {
        var item = OutlineItem(
            kind: .policy, name: syntax.name.text, detail: "policy", range: syntax.range, selection: syntax.name.range)
        var scope = Scope()
        for (name, _) in syntax.lets {
            scope.lets[name.text] = .constant(name.text, file: syntax.name.range.file, policy: syntax.name.range.start)
        }
        for (name, value) in syntax.lets {
            if let symbol = scope.lets[name.text] { note(symbol, name, declares: true) }
            self.value(value, scope)
            item.children.append(
                OutlineItem(
                    kind: .constant, name: name.text, detail: "let", range: name.range.union(value.range),
                    selection: name.range))
        }
        for (name, condition, range) in syntax.roles {
            note(.role(name.text), name, declares: true)
            expression(condition, scope)
            item.children.append(
                OutlineItem(kind: .role, name: name.text, detail: "role", range: range, selection: name.range))
        }
        for rule in syntax.rules { item.children.append(self.rule(rule, scope, "\(rule.kind)", .rule)) }
        for offer in syntax.offers {
            note(.role(offer.role.text), offer.role)
            item.children.append(rule(offer.rule, scope, "offer role \(offer.role.text)", .offer))
        }
        for duty in syntax.obligations {
            item.children.append(rule(duty.rule, scope, "on \(duty.occasion)", .duty))
            for case .custom(let fields) in duty.duties {
                for field in fields { value(field.value, self.scope(duty.rule, scope)) }
            }
        }
        item.children.sort { $0.range.start < $1.range.start }
        return item
    }

    private func scope(_ rule: RuleSyntax, _ outer: Scope) -> Scope {
        Scope(actions: rule.actions?.map(\.text), types: rule.types?.map(\.text), lets: outer.lets)
    }

    private mutating func rule(
        _ rule: RuleSyntax, _ outer: Scope, _ word: String, _ kind: OutlineItem.Kind
    ) -> OutlineItem {
        for action in rule.actions ?? [] { note(.action(action.text), action) }
        for type in rule.types ?? [] { note(.entity(type.text), type) }
        if let type = rule.subjectType { note(.entity(type.text), type) }
        let scope = scope(rule, outer)
        for part in [rule.to, rule.when, rule.unless].compactMap({ $0 }) { expression(part, scope) }
        if let level = rule.demand?.level { note(.level(level.text), level) }
        let actions = rule.actions?.map(\.text).joined(separator: ", ") ?? "any"
        let types = rule.types?.map(\.text).joined(separator: ", ") ?? "any"
        let what = kind == .offer ? word : "\(word) \(actions) on \(types)"
        return OutlineItem(
            kind: kind, name: rule.label?.text ?? what, detail: rule.label == nil ? "" : what, range: rule.range,
            selection: rule.label?.range ?? rule.range)
    }

    private mutating func expression(_ syntax: ExpressionSyntax, _ scope: Scope) {
        switch syntax {
        case .any(let parts), .all(let parts): for part in parts { expression(part, scope) }
        case .not(let inner, _): expression(inner, scope)
        case .compare(let left, _, let right, _), .isIn(let left, let right, _, _), .contains(let left, let right, _),
            .intersects(let left, let right, _), .subset(let left, let right, _):
            let meant = self.meant(left, scope)
            value(left, scope, expecting: self.meant(right, scope))
            value(right, scope, expecting: meant)
        case .inGroup(let left, let group, _, _):
            value(left, scope)
            note(.group(group.text), group)
        case .inContainer(let left, let type, _, _, _):
            value(left, scope)
            note(.entity(type.text), type)
        case .like(let left, _, _), .has(let left, _), .bare(let left): value(left, scope)
        case .role(let name): note(.role(name.text), name)
        }
    }

    private mutating func value(_ syntax: ValueSyntax, _ scope: Scope, expecting: Meant = []) {
        switch syntax.form {
        case .path(let path): self.path(path, scope, expecting)
        case .count(let path): self.path(path, scope, [])
        case .fallback(let path, let stand):
            self.path(path, scope, expecting)
            value(stand, scope, expecting: meant(path, scope))
        case .list(let values): for element in values { value(element, scope, expecting: expecting) }
        case .span(let low, let high), .sum(let low, let high, _):
            value(low, scope, expecting: expecting)
            value(high, scope, expecting: expecting)
        case .text, .integer, .decimal, .boolean, .duration, .instant, .address, .network: break
        }
    }

    private mutating func path(_ path: [Name], _ scope: Scope, _ expecting: Meant) {
        guard let first = path.first else { return }
        if path.count == 1 {
            if let symbol = scope.lets[first.text] {
                note(symbol, first)
            } else if isSubject(first.text) {
                note(.entity(first.text), first)
            } else {
                enumCase(first, expecting)
            }
            return
        }
        if isEntity(first.text) { note(.entity(first.text), first) }
        for (holder, attribute) in meant(path, scope) { note(.attribute(holder, attribute.name), path[1]) }
    }

    private mutating func enumCase(_ name: Name, _ expecting: Meant) {
        for (holder, attribute) in expecting where attribute.type.cases?.contains(name.text) ?? false {
            note(.enumCase(holder, attribute: attribute.name, name.text), name)
        }
    }

    private func meant(_ value: ValueSyntax, _ scope: Scope) -> Meant {
        switch value.form {
        case .path(let path), .fallback(let path, _): meant(path, scope)
        default: []
        }
    }

    private func meant(_ path: [Name], _ scope: Scope) -> Meant {
        guard path.count >= 2, let catalog else { return [] }
        return catalog.holders(of: path[0].text, actions: scope.actions, types: scope.types).compactMap { holder in
            catalog.attributes(of: holder).first { $0.name == path[1].text }.map { (holder, $0) }
        }
    }

    // MARK: Tests

    private mutating func test(_ syntax: TestSyntax) -> OutlineItem {
        let item = OutlineItem(
            kind: .test, name: syntax.name.text, detail: "test", range: syntax.range, selection: syntax.name.range)
        for (what, fields) in syntax.given {
            if isEntity(what.text) { note(.entity(what.text), what) }
            self.fields(fields, what.text == "context" ? .context : .entity(what.text))
        }
        if let level = syntax.expectation?.demand?.level { note(.level(level.text), level) }
        guard let question = syntax.question else { return item }
        note(.action(question.action.text), question.action)
        note(.entity(question.type.text), question.type)
        for container in question.containers { note(.entity(container.type.text), container.type) }
        fields(question.fields, .entity(question.type.text))
        fields(question.actionFields, .action(question.action.text))
        return item
    }

    private mutating func fields(_ fields: [FieldSyntax], _ holder: AttributeHolder) {
        for field in fields {
            if let attribute = catalog?.attributes(of: holder).first(where: { $0.name == field.name.text }) {
                note(.attribute(holder, attribute.name), field.name)
                value(field.value, Scope(), expecting: [(holder, attribute)])
                continue
            }
            switch (field.name.text, field.value.form) {
            case ("assurance", .path(let path)) where path.count == 1: note(.level(path[0].text), path[0])
            case ("groups", .list(let groups)):
                for group in groups {
                    if case .text(let name) = group.form { note(.group(name), Name(text: name, range: group.range)) }
                }
            case ("granted", .list(let roles)):
                for role in roles {
                    if case .path(let path) = role.form, path.count == 1 { note(.role(path[0].text), path[0]) }
                }
            default: break
            }
        }
    }
}

extension ValueType {
    /// The cases of an enum, or of the enums in a set.
    package var cases: [String]? {
        switch self {
        case .enumeration(let type): type.cases
        case .set(let element): element.cases
        default: nil
        }
    }
}

extension Catalog {
    /// The attributes of a type, an action or the context; none when there is no such thing.
    package func attributes(of holder: AttributeHolder) -> [Attribute] {
        switch holder {
        case .entity(let name): entity(named: name).map { entities[$0].attributes } ?? []
        case .action(let name): action(named: name).map { actions[$0].attributes } ?? []
        case .context: context
        }
    }

    /// What the first word of an attribute's path can stand for.
    /// - Parameters:
    ///   - word: `user`, `subject`, `resource`, `action`, `session`, `device` or `context`.
    ///   - actions: those of the rule; nil for any.
    ///   - types: those of the rule; nil for any.
    package func holders(of word: String, actions names: [String]?, types: [String]?) -> [AttributeHolder] {
        switch word {
        case "context": return [.context]
        case "subject": return subjectTypes.map { .entity(entities[$0].name) }
        case "resource":
            if let types { return types.map { .entity($0) } }
            let indices = names?.compactMap { action(named: $0) } ?? Array(actions.indices)
            return Set(indices.flatMap { actions[$0].resourceTypes }).sorted().map { .entity(entities[$0].name) }
        case "action":
            if let names { return names.map { .action($0) } }
            let wanted = types.map { Set($0.compactMap { entity(named: $0) }) }
            return actions.filter { action in
                wanted.map { !$0.isDisjoint(with: action.resourceTypes) } ?? true
            }.map { .action($0.name) }
        default: return entity(named: word) == nil ? [] : [.entity(word)]
        }
    }
}
