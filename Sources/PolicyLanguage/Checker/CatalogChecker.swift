// Catalog syntax to `Catalog`: types resolved, defaults and sources checked.

/// Checks one catalog.
struct CatalogChecker {
    private var sink: DiagnosticSink
    private var entityNames: [String: Int] = [:]

    /// What could not be taken.
    private var broken = BrokenWords()

    /// The catalog as far as it could be taken, and what of it could not.
    static func check(_ syntax: CatalogSyntax, _ sink: inout DiagnosticSink) -> (catalog: Catalog, broken: BrokenWords)
    {
        var checker = CatalogChecker(sink: sink)
        let catalog = checker.catalog(syntax)
        sink = checker.sink
        if syntax.isUncertain {
            let isWrong = sink.diagnostics.contains { $0.severity == .error && $0.range.file == syntax.range.file }
            if isWrong { checker.broken.hasLostNames = true }
        }
        return (catalog, checker.broken)
    }

    private init(sink: DiagnosticSink) { self.sink = sink }

    private static let builtIn = ["user", "session", "device"]
    /// What other languages call our types.
    private static let otherTypes: [String: String] = [
        "boolean": "bool", "integer": "int", "long": "int", "number": "decimal", "float": "decimal",
        "double": "decimal", "money": "decimal", "text": "string", "str": "string", "varchar": "string",
        "date": "datetime", "time": "datetime", "timestamp": "datetime", "instant": "datetime", "ip": "ipaddr",
        "address": "ipaddr", "inet": "ipaddr", "list": "set of …", "array": "set of …",
    ]
    static let reserved: Set<String> = [
        "resource", "action", "context", "subject", "group", "now", "any", "true", "false", "and", "or", "not", "in",
        "has", "role", "count", "bool", "int", "decimal", "string", "datetime", "duration", "ipaddr", "enum", "set",
    ]

    private mutating func catalog(_ syntax: CatalogSyntax) -> Catalog {
        broken.hasLostNames = syntax.hasLostNames
        let withheld = sink.withheld
        if broken.hasLostNames { sink.withheld.insert(.unknownEntity) }
        if broken.hasLostNames { sink.withheld.insert(.unknownLevel) }
        defer { sink.withheld = withheld }
        var entities: [EntityType] = Self.builtIn.map {
            EntityType(name: $0, attributes: [], isSubject: $0 == "user")
        }
        for (index, name) in Self.builtIn.enumerated() { entityNames[name] = index }
        var declared: [(index: Int, syntax: EntitySyntax)] = []
        var seen = Set<String>()
        for entity in syntax.entities where !sink.isFull {
            guard !Self.reserved.contains(entity.name.text) else {
                sink.report(
                    .reservedName, "`\(entity.name.text)` is a word of the language", at: entity.name.range,
                    help: "choose another name for the entity")
                broken.hasLostNames = true
                continue
            }
            guard seen.insert(entity.name.text).inserted else {
                sink.report(
                    .duplicateName, "entity `\(entity.name.text)` is declared twice", at: entity.name.range,
                    help: "join the two, or rename one",
                    related: Self.first(of: syntax.entities.lazy.map(\.name), like: entity.name))
                // One of the two may have been meant to have another name.
                broken.hasLostNames = true
                broken.incomplete.insert(.entity(entity.name.text))
                continue
            }
            if let index = entityNames[entity.name.text] {
                if entity.isSubject, !entities[index].isSubject {
                    sink.report(
                        .reservedName, "a \(entity.name.text) belongs to a question, it asks none",
                        at: entity.name.range,
                        help: "write `entity \(entity.name.text)`, or choose another name for the subject")
                    broken.hasLostNames = true
                }
                declared.append((index, entity))
            } else if entities.count == LanguageLimits.maxTypes {
                sink.report(
                    .tooLarge, "more than \(LanguageLimits.maxTypes) entity types", at: entity.name.range,
                    help: "split the application's catalog")
                broken.hasLostNames = true
                break
            } else {
                entityNames[entity.name.text] = entities.count
                declared.append((entities.count, entity))
                entities.append(EntityType(name: entity.name.text, attributes: [], isSubject: entity.isSubject))
            }
        }
        for (index, entity) in declared where !sink.isFull {
            entities[index].documentation = entity.documentation
            entities[index].range = entity.range
            let owner = BrokenWords.Owner.entity(entity.name.text)
            if entity.isBroken { broken.incomplete.insert(owner) }
            let mistakes = sink.mistakes
            entities[index].containers = containers(of: entity)
            if sink.mistakes > mistakes { broken.incomplete.insert(owner) }
            let isSubject = entities[index].isSubject
            entities[index].attributes = attributes(
                entity.attributes, Owner(entity: index, isSubject: isSubject), [owner])
        }
        addSignals(syntax, &entities)
        let (assurance, levels) = assurance(syntax)
        return Catalog(
            name: syntax.name.text, version: syntax.version, assurance: assurance,
            issuers: issuers(syntax, levels), entities: entities, actions: actions(syntax, entities),
            context: attributes(syntax.context, Owner(entity: nil, isSubject: false), [.context]))
    }

    /// The first of several names with one text.
    private static func first(of names: some Sequence<Name>, like name: Name) -> [Diagnostic.Related] {
        names.first { $0.text == name.text }.map { [.first("declaration", at: $0.range)] } ?? []
    }

    /// The types that something of this type can lie in.
    private mutating func containers(of entity: EntitySyntax) -> [Int] {
        var types = Set<Int>()
        for name in entity.containers {
            guard let index = entityNames[name.text] else {
                unknownEntity(name)
                continue
            }
            if index <= Catalog.device {
                sink.report(
                    .badContainer, "nothing lies in a \(name.text)", at: name.range,
                    help: "name an entity type of your own, such as a folder or a project")
                continue
            }
            if !types.insert(index).inserted {
                sink.report(
                    .duplicateName, "`\(name.text)` is named twice", at: name.range, help: "remove one of them")
            }
        }
        return types.sorted()
    }

    /// What an attribute belongs to; decides its default source.
    private struct Owner {
        /// Nil for actions and the context.
        var entity: Int?
        var isSubject: Bool
    }

    /// - Parameter places: what has these attributes.
    private mutating func attributes(
        _ block: AttributesSyntax, _ owner: Owner, _ places: [BrokenWords.Owner]
    ) -> [Attribute] {
        var seen = Set<String>()
        var attributes: [Attribute] = []
        if block.hasLostNames { broken.incomplete.formUnion(places) }
        for syntax in block.list where !sink.isFull {
            if attributes.count == LanguageLimits.maxAttributes {
                sink.report(
                    .tooLarge, "more than \(LanguageLimits.maxAttributes) attributes", at: syntax.range,
                    help: "split the entity type")
                broken.incomplete.formUnion(places)
                break
            }
            let mistakes = sink.mistakes
            if !seen.insert(syntax.name.text).inserted {
                sink.report(
                    .duplicateName, "attribute `\(syntax.name.text)` is declared twice", at: syntax.name.range,
                    help: "remove one, or rename it",
                    related: Self.first(of: block.list.lazy.map(\.name), like: syntax.name))
                broken.incomplete.formUnion(places)
            } else if let attribute = attribute(syntax, owner) {
                attributes.append(attribute)
            } else {
                markBroken(syntax.name, places)
            }
            if syntax.isUncertain || sink.mistakes > mistakes { markBroken(syntax.name, places) }
        }
        return attributes
    }

    private mutating func markBroken(_ name: Name, _ places: [BrokenWords.Owner]) {
        for place in places { broken.attributes.insert(BrokenWords.Place(owner: place, name: name.text)) }
    }

    private mutating func attribute(_ syntax: AttributeSyntax, _ owner: Owner) -> Attribute? {
        guard let type = type(syntax.type) else { return nil }
        var sources = syntax.sources.map(\.source)
        if sources.isEmpty { sources = defaultSources(syntax, owner) }
        for (index, entry) in syntax.sources.enumerated()
        where entry.source == .request && index != syntax.sources.count - 1 {
            sink.report(
                .sourceOrder, "`request` must be the last source", at: entry.range,
                help: "a question never overrides a live value: put `request` last")
        }
        if owner.entity == nil, let entry = syntax.sources.first(where: { $0.source != .request }) {
            sink.report(
                .sourceNotAllowed, "an action or the context has values only from the request", at: entry.range,
                help: "drop this `from`")
            return nil
        }
        var value: Constant?
        if let syntax = syntax.defaultValue {
            value = constant(syntax, type)
            if value == nil {
                sink.report(
                    .badDefault, "this default is no \(type.spelling(entityName))", at: syntax.range,
                    help: defaultHelp(type, syntax))
                return nil
            }
        }
        let isLive = sources.contains { $0 != .request && $0 != .application }
        if isLive, value == nil, !syntax.isOptional {
            sink.report(
                .needsDefault, "`\(syntax.name.text)` comes from outside and can be missing", at: syntax.name.range,
                help: "give a default (`= …`) or make it optional (`\(type.spelling(entityName))?`)")
        }
        return Attribute(
            name: syntax.name.text, type: type, isOptional: syntax.isOptional, defaultValue: value, sources: sources,
            lifetime: syntax.lifetime, documentation: syntax.documentation, use: syntax.use, range: syntax.range)
    }

    private func defaultSources(_ syntax: AttributeSyntax, _ owner: Owner) -> [AttributeSource] {
        guard let entity = owner.entity else { return [.request] }
        if owner.isSubject { return [.scim(path: syntax.name.text)] }
        if entity == Catalog.session || entity == Catalog.device { return [.token(claim: syntax.name.text)] }
        return [.application, .request]
    }

    private mutating func addSignals(_ syntax: CatalogSyntax, _ entities: inout [EntityType]) {
        for (owner, attribute) in syntax.signals where !sink.isFull {
            guard let index = entityNames[owner.text] else {
                unknownEntity(owner)
                // It may be meant to be one of any.
                for name in entityNames.keys { markBroken(attribute.name, [.entity(name)]) }
                continue
            }
            let mistakes = sink.mistakes
            defer { if sink.mistakes > mistakes { markBroken(attribute.name, [.entity(owner.text)]) } }
            if case .broken = attribute.type {
                markBroken(attribute.name, [.entity(owner.text)])
                continue
            }
            if attribute.sources.isEmpty {
                sink.report(
                    .needsSource, "signal `\(attribute.name.text)` names no source", at: attribute.name.range,
                    help: "write `from caep \"risk-level-change\"`")
                continue
            }
            if let slot = entities[index].slot(of: attribute.name.text) {
                sink.report(
                    .duplicateName, "`\(owner.text).\(attribute.name.text)` is declared twice",
                    at: attribute.name.range, help: "remove one, or rename it",
                    related: [.first("declaration", at: entities[index].attributes[slot].range)])
                broken.incomplete.insert(.entity(owner.text))
                continue
            }
            if entities[index].attributes.count == LanguageLimits.maxAttributes {
                sink.report(
                    .tooLarge, "more than \(LanguageLimits.maxAttributes) attributes and signals", at: attribute.range,
                    help: "split the entity type")
                continue
            }
            if let checked = self.attribute(attribute, Owner(entity: index, isSubject: entities[index].isSubject)) {
                entities[index].attributes.append(checked)
            }
        }
    }

    // MARK: Assurance and issuers

    private mutating func assurance(_ syntax: CatalogSyntax) -> (Assurance, [String: Int]) {
        var order: [String] = []
        var weaker: [String: Set<String>] = [:]
        for chain in syntax.assurance {
            for (index, level) in chain.enumerated() {
                if weaker[level.text] == nil {
                    weaker[level.text] = []
                    order.append(level.text)
                }
                if index > 0 { weaker[level.text]?.insert(chain[index - 1].text) }
            }
        }
        guard order.count <= LanguageLimits.maxLevels else {
            sink.report(
                .tooLarge, "\(order.count) assurance levels, above \(LanguageLimits.maxLevels)",
                at: syntax.assurance.joined().first { $0.text == order[LanguageLimits.maxLevels] }?.range ?? .none,
                help: "declare only what policies ask for; many acr values can prove one level")
            broken.hasLostLevels = true
            return (.none, [:])
        }
        // Weaker levels first; what cannot be placed stands in a circle.
        var sorted: [String] = []
        var placed = Set<String>()
        while sorted.count < order.count {
            guard let next = order.first(where: { !placed.contains($0) && (weaker[$0] ?? []).isSubset(of: placed) })
            else {
                sink.report(
                    .assuranceCircle, "assurance levels stand in a circle",
                    at: order.lazy.filter { !placed.contains($0) }.compactMap { name in
                        syntax.assurance.joined().last { $0.text == name }?.range
                    }.max { $0.start < $1.start } ?? .none,
                    help: "a level cannot be both below and above another")
                broken.hasLostLevels = true
                return (.none, [:])
            }
            sorted.append(next)
            placed.insert(next)
        }
        var indices: [String: Int] = [:]
        var implied: [UInt64] = []
        for (index, level) in sorted.enumerated() {
            indices[level] = index
            implied.append((weaker[level] ?? []).reduce(1 << UInt64(index)) { $0 | implied[indices[$1] ?? index] })
        }
        var reachable: UInt64 = sorted.isEmpty ? 0 : ~0 >> UInt64(64 - sorted.count)
        for level in syntax.unreachable {
            guard let index = indices[level.text] else {
                unknownLevel(level, indices.keys)
                continue
            }
            reachable &= ~(1 << UInt64(index))
        }
        return (Assurance(levels: sorted, implied: implied, reachable: reachable), indices)
    }

    private mutating func issuers(_ syntax: CatalogSyntax, _ levels: [String: Int]) -> [IssuerTable] {
        var seen = Set<String>()
        return syntax.issuers.map { issuer, table in
            if !seen.insert(issuer.text).inserted {
                sink.report(
                    .duplicateName, "issuer \"\(issuer.text)\" is declared twice", at: issuer.range,
                    help: "join the two tables",
                    related: Self.first(of: syntax.issuers.lazy.map(\.issuer), like: issuer))
            }
            var mapped: [String: Int] = [:]
            for (acr, level) in table {
                if mapped[acr.text] != nil {
                    sink.report(
                        .duplicateName, "acr \"\(acr.text)\" stands twice", at: acr.range,
                        help: "keep the level that the issuer means by it",
                        related: Self.first(of: table.lazy.map(\.acr), like: acr))
                } else if let index = levels[level.text] {
                    mapped[acr.text] = index
                } else {
                    unknownLevel(level, levels.keys)
                }
            }
            return IssuerTable(issuer: issuer.text, levels: mapped)
        }
    }

    private mutating func unknownEntity(_ name: Name) {
        // One mistake in the name of a type is told once, however often the type is used.
        guard broken.missing.insert(name.text).inserted else { return }
        // A word of the language begins the next declaration, which has been read as this one's end.
        if Self.reserved.contains(name.text) { broken.hasLostNames = true }
        sink.report(
            .unknownEntity, "no entity type `\(name.text)`", at: name.range,
            help: sink.suggestion(name.text, entityNames.keys))
    }

    private mutating func unknownLevel(_ level: Name, _ known: some Sequence<String>) {
        guard broken.missing.insert(level.text).inserted else { return }
        sink.report(
            .unknownLevel, "no assurance level `\(level.text)`", at: level.range,
            help: sink.suggestion(level.text, known))
    }

    private mutating func actions(_ syntax: CatalogSyntax, _ entities: [EntityType]) -> [Action] {
        var actions: [Action] = []
        var indices: [String: Int] = [:]
        var typesOf: [Set<Int>] = []
        for declaration in syntax.actions where !sink.isFull {
            let places = declaration.names.map { BrokenWords.Owner.action($0.text) }
            if declaration.isBroken { broken.incomplete.formUnion(places) }
            let mistakes = sink.mistakes
            defer { if sink.mistakes > mistakes { broken.incomplete.formUnion(places) } }
            var types = Set<Int>()
            for type in declaration.types {
                guard let index = entityNames[type.text] else {
                    unknownEntity(type)
                    continue
                }
                types.insert(index)
            }
            let properties = attributes(declaration.attributes, Owner(entity: nil, isSubject: false), places)
            for name in declaration.names {
                if let index = indices[name.text] {
                    guard actions[index].attributes.map(\.name) == properties.map(\.name),
                        actions[index].attributes.map(\.type) == properties.map(\.type)
                    else {
                        sink.report(
                            .actionProperties, "action `\(name.text)` is declared before with other properties",
                            at: name.range, help: "an action has the same properties on every type")
                        broken.hasLostNames = true
                        continue
                    }
                    typesOf[index].formUnion(types)
                    actions[index].documentation = actions[index].documentation ?? declaration.documentation
                } else if actions.count == LanguageLimits.maxActions {
                    sink.report(
                        .tooLarge, "more than \(LanguageLimits.maxActions) actions", at: name.range,
                        help: "let actions share a name: they are told apart by the type of resource")
                    broken.hasLostNames = true
                    break
                } else {
                    indices[name.text] = actions.count
                    typesOf.append(types)
                    actions.append(
                        Action(
                            name: name.text, resourceTypes: [], attributes: properties,
                            documentation: declaration.documentation, range: name.range))
                }
            }
        }
        for index in actions.indices { actions[index].resourceTypes = typesOf[index].sorted() }
        return actions
    }

    // MARK: Types and constants

    private func entityName(_ index: Int) -> String {
        entityNames.first { $0.value == index }?.key ?? "entity"
    }

    private mutating func type(_ syntax: TypeSyntax) -> ValueType? {
        switch syntax {
        case .broken: return nil
        case .named(let name):
            let simple: [String: ValueType] = [
                "bool": .boolean, "int": .integer(range: nil), "decimal": .decimal, "string": .string,
                "datetime": .datetime, "duration": .duration, "ipaddr": .address,
            ]
            if let type = simple[name.text] { return type }
            if let entity = entityNames[name.text] { return .reference(entity: entity) }
            let near =
                Self.otherTypes[name.text.lowercased()]
                ?? sink.near(name.text, among: Array(simple.keys) + Array(entityNames.keys))
            if near == nil, broken.hasLostNames || broken.missing.contains(name.text) { return nil }
            broken.missing.insert(name.text)
            sink.report(
                .unknownType, "no type `\(name.text)`", at: name.range,
                help: near.map { "did you mean `\($0)`?" }
                    ?? "one of: bool, int, decimal, string, datetime, duration, ipaddr, enum(…), 0...5, set of …, an entity"
            )
            return nil
        case .enumeration(let cases, let ordered):
            var seen = Set<String>()
            for name in cases {
                if ["true", "false"].contains(name.text) {
                    sink.report(
                        .reservedName, "`\(name.text)` is a truth value, not a case", at: name.range,
                        help: "choose another name for the case, or the type bool")
                } else if !seen.insert(name.text).inserted {
                    sink.report(
                        .duplicateName, "case `\(name.text)` stands twice", at: name.range, help: "remove one of them",
                        related: Self.first(of: cases, like: name))
                }
            }
            if cases.count > LanguageLimits.maxCases {
                sink.report(
                    .tooLarge, "an enum of more than \(LanguageLimits.maxCases) cases",
                    at: cases[LanguageLimits.maxCases].range, help: "let it be a string")
                return nil
            }
            return .enumeration(EnumerationType(cases: cases.map(\.text), ordered: ordered))
        case .range(let low, let high, _): return .integer(range: low...high)
        case .set(let element, let range):
            guard let element = type(element) else { return nil }
            if case .set = element {
                sink.report(
                    .nestedSet, "a set cannot hold sets", at: range,
                    help: "write `set of \(element.spelling(entityName).dropFirst("set of ".count))`")
                return nil
            }
            return .set(of: element)
        }
    }

    private func constant(_ value: ValueSyntax, _ type: ValueType) -> Constant? { value.constant(of: type) }

    private func defaultHelp(_ type: ValueType, _ value: ValueSyntax) -> String? {
        if case .integer(.some(let range)) = type {
            return "write a whole number from \(range.lowerBound) to \(range.upperBound)"
        }
        return value.advice(for: type, entityName)
    }
}

extension ValueType {
    /// The type as an author writes it.
    package func spelling(_ entityName: (Int) -> String) -> String {
        switch self {
        case .boolean: "bool"
        case .integer(let range): range.map { "\($0.lowerBound)...\($0.upperBound)" } ?? "int"
        case .decimal: "decimal"
        case .string: "string"
        case .enumeration(let type): "enum(\(type.cases.joined(separator: type.ordered ? " < " : ", ")))"
        case .datetime: "datetime"
        case .duration: "duration"
        case .address: "ipaddr"
        case .reference(let entity): entityName(entity)
        case .set(let element): "set of \(element.spelling(entityName))"
        }
    }
}

extension ValueSyntax {
    /// What to write where a constant of a type is needed and this stands.
    func advice(for type: ValueType, _ entityName: (Int) -> String) -> String {
        switch (type, form) {
        case (.string, .integer(let value)): return "write it as text: \"\(value)\""
        case (.string, .path(let path)) where path.count == 1: return "write it as text: \"\(path[0].text)\""
        case (.string, _): return "write a text in double quotes"
        case (.enumeration(let cases), .text(let text)):
            if let near = NearestName.find(text, among: cases.cases) { return "write `\(near)`, without quotes" }
            return "write one of: \(cases.cases.joined(separator: ", ")), without quotes"
        case (.enumeration(let cases), .path(let path)) where path.count == 1:
            return NearestName.find(path[0].text, among: cases.cases).map { "did you mean `\($0)`?" }
                ?? "write one of: \(cases.cases.joined(separator: ", "))"
        case (.enumeration(let cases), _): return "write one of: \(cases.cases.joined(separator: ", "))"
        case (.integer, .text(let text)), (.decimal, .text(let text)):
            return Int64(text) == nil ? "write a number" : "write \(text), without quotes"
        case (.integer, _): return "write a whole number"
        case (.decimal, _): return "write a number with at most six digits after the point"
        case (.duration, .integer(let value)): return "say the unit, as in \(value)m, \(value)h or \(value)d"
        case (.duration, _): return "write a duration such as 15m or 7d"
        case (.datetime, .duration): return "for how long ago it was, write `now - … > 30d`"
        case (.datetime, _): return "write an instant such as 2026-01-05T09:00:00Z"
        case (.address, .text(let text)) where IPAddress(text) != nil: return "write \(text), without quotes"
        case (.address, _): return "write an address such as 192.0.2.7"
        case (.boolean, _): return "write true or false"
        case (.reference(let entity), _): return "write the id of a \(entityName(entity)) in double quotes"
        case (.set(let element), .list(let values)):
            return values.first { $0.constant(of: element) == nil }?.advice(for: element, entityName)
                ?? "write a list in [ ]"
        case (.set, _): return "write a list in [ ]"
        }
    }

    /// A literal as a constant of the type; nil when it is none.
    func constant(of type: ValueType) -> Constant? {
        switch (form, type) {
        case (.boolean(let value), .boolean): return .boolean(value)
        case (.integer(let value), .integer(let range)):
            return range.map({ $0.contains(value) }) ?? true ? .integer(value) : nil
        case (.integer(let value), .decimal):
            let (scaled, overflowed) = value.multipliedReportingOverflow(by: Decimal6.scale)
            return overflowed ? nil : .decimal(scaled)
        case (.decimal(let value), .decimal): return .decimal(value)
        case (.text(let value), .string): return .string(value)
        case (.text(let value), .reference(let entity)): return .reference(entity: entity, id: value)
        case (.path(let path), .enumeration(let type)):
            return path.count == 1 ? type.cases.firstIndex(of: path[0].text).map { .enumeration($0) } : nil
        case (.instant(let value), .datetime): return .datetime(value)
        case (.duration(let value), .duration): return .duration(value)
        case (.address(let value), .address): return .address(value)
        case (.list(let values), .set(let element)):
            var constants: [Constant] = []
            var seen = Set<Constant>()
            for value in values {
                guard let constant = value.constant(of: element) else { return nil }
                if seen.insert(constant).inserted { constants.append(constant) }
            }
            return .set(constants)
        default: return nil
        }
    }
}
