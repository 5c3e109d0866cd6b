// textDocument/completion: what the grammar allows at the place, filled with the catalog's words.

import PolicyLanguage
import StrictJSON

/// Something that can be put in.
private struct Candidate {
    /// CompletionItemKind of LSP 3.17.
    enum Kind: Int {
        case method = 2, property = 10, type = 7, value = 12, keyword = 14, role = 8, enumMember = 20, constant = 21
    }

    var label: String
    var kind: Kind
    var detail: String?
    var documentation: String?
}

extension LanguageServer {
    mutating func completion(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let position = try parameters.position("position")
        let offset = target.known.offset(position, file: target.file)
        let context = CompletionContext(target.known.files[target.file], at: offset)
        let finder = CandidateFinder(
            context: context, index: target.known.index,
            constants: target.known.index.constants(at: offset, file: target.file))
        let range = Self.json(
            (
                target.known.position(context.wordStart, file: target.file),
                target.known.position(offset, file: target.file)
            ))
        let found = finder.candidates()
        let items = found.prefix(Limits.maxCompletions).enumerated().map { place, candidate in
            var members = [
                JSONMember("label", .string(candidate.label)), JSONMember("kind", .integer(candidate.kind.rawValue)),
            ]
            if let detail = candidate.detail { members.append(JSONMember("detail", .string(detail))) }
            if let text = candidate.documentation {
                members.append(
                    JSONMember("documentation", .object(["kind": .string("markdown"), "value": .string(text)])))
            }
            // Names of the catalog before words of the language.
            let rank = String(place)
            members += [
                JSONMember("sortText", .string(String(repeating: "0", count: max(0, 5 - rank.count)) + rank)),
                JSONMember("textEdit", .object(["range": range, "newText": .string(candidate.label)])),
            ]
            return JSONValue.object(members)
        }
        return .object([
            "isIncomplete": .bool(found.count > Limits.maxCompletions), "items": .array(items),
        ])
    }
}

/// Fills a context with names.
private struct CandidateFinder {
    let context: CompletionContext
    let index: SymbolIndex
    let constants: [Symbol]

    private var item: [CompletionContext.ItemToken] { context.item }
    private var catalog: Catalog? { index.catalog }

    func candidates() -> [Candidate] {
        var found: [Candidate] = []
        for kind in NameKind.allCases where context.names.contains(kind) { found += names(kind) }
        var seen = Set(found.map(\.label))
        found = found.reduce(into: []) { list, candidate in
            if !list.contains(where: { $0.label == candidate.label }) { list.append(candidate) }
        }
        // Where an enum's case is wanted, the words that begin other values are in the way.
        let isCase = wantedType.flatMap { cases($0) } != nil
        let words = isCase ? context.words.subtracting(["true", "false", "count"]) : context.words
        for word in words.sorted() where seen.insert(word).inserted {
            found.append(Candidate(label: word, kind: .keyword))
        }
        return found
    }

    private func names(_ kind: NameKind) -> [Candidate] {
        guard let catalog else { return kind == .role ? roles : [] }
        switch kind {
        case .entity: return catalog.entities.map(Self.candidate)
        case .subjectType: return catalog.subjectTypes.map { Self.candidate(catalog.entities[$0]) }
        case .action:
            return catalog.actions.map { action in
                let types = action.resourceTypes.map { catalog.entities[$0].name }.joined(separator: ", ")
                return Candidate(
                    label: action.name, kind: .method, detail: "on \(types)", documentation: action.documentation)
            }
        case .role: return roles
        case .level:
            return catalog.assurance.levels.map { Candidate(label: $0, kind: .value, detail: "assurance level") }
        case .method:
            return AuthenticationMethods.names.map {
                Candidate(label: $0, kind: .value, detail: "authentication method")
            }
        case .type:
            return ["bool", "int", "decimal", "string", "datetime", "duration", "ipaddr"].map {
                Candidate(label: $0, kind: .type)
            } + catalog.entities.map(Self.candidate)
        case .attribute: return attributes(catalog)
        case .value: return values(catalog)
        case .field: return fields(catalog)
        case .given:
            return catalog.subjectTypes.map { Self.candidate(catalog.entities[$0]) }
                + ["session", "device", "context", "now"].map { Candidate(label: $0, kind: .keyword) }
        }
    }

    private static func candidate(_ entity: EntityType) -> Candidate {
        Candidate(
            label: entity.name, kind: .type, detail: entity.isSubject ? "subject entity" : "entity",
            documentation: entity.documentation)
    }

    private var roles: [Candidate] { index.roles.map { Candidate(label: $0, kind: .role, detail: "role") } }

    private func candidate(_ attribute: Attribute, _ catalog: Catalog) -> Candidate {
        Candidate(
            label: attribute.name, kind: .property, detail: attribute.declaration(catalog),
            documentation: attribute.documentation)
    }

    // MARK: Attributes

    /// The actions and types that a rule names, as far as it is written.
    private var scope: (actions: [String]?, types: [String]?) {
        var rest = item[...]
        switch rest.first?.text {
        case "permit", "forbid": rest = rest.dropFirst()
        case "require": rest = rest.drop { !$0.isName("for") }.dropFirst()
        case "on": rest = rest.dropFirst(2)
        default: return (nil, nil)
        }
        func names() -> [String]? {
            var list: [String] = []
            while let token = rest.first, token.kind == .name {
                list.append(token.text)
                rest = rest.dropFirst()
                guard rest.first?.isSymbol(",") ?? false else { break }
                rest = rest.dropFirst()
            }
            return list.isEmpty || list == ["any"] ? nil : list
        }
        let actions = names()
        guard rest.first?.isName("on") ?? false else { return (actions, nil) }
        rest = rest.dropFirst()
        return (actions, names())
    }

    /// `user.` and what can follow.
    private func attributes(_ catalog: Catalog) -> [Candidate] {
        guard item.count >= 2, item[item.count - 1].isSymbol(".") else { return [] }
        return attributes(of: item[item.count - 2].text, catalog).map { candidate($0, catalog) }
    }

    private func attributes(of word: String, _ catalog: Catalog) -> [Attribute] {
        if item.first?.isName("role") ?? false, ["resource", "action"].contains(word) { return [] }
        let scope = scope
        return catalog.holders(of: word, actions: scope.actions, types: scope.types).flatMap {
            catalog.attributes(of: $0)
        }
    }

    // MARK: Values

    private func values(_ catalog: Catalog) -> [Candidate] {
        if let holder = givenHolder { return values(given: holder, catalog) }
        let lets = constants.map { Candidate(label: $0.name, kind: .constant, detail: "let") }
        if item.first?.isName("let") ?? false { return lets }
        // A default in a catalog is a constant.
        let isRule = ["permit", "forbid", "require", "offer", "on", "role"].contains(item.first?.text)
        if let type = wantedType, let cases = cases(type) {
            return cases + lets + (isRule && openList == nil ? holders(of: type, catalog) : [])
        }
        guard isRule else { return [] }
        let subjects = catalog.subjectTypes.map { Self.candidate(catalog.entities[$0]) }
        return subjects + holderWords.map { Candidate(label: $0, kind: .keyword) }
            + [Candidate(label: "now", kind: .keyword)] + lets
    }

    /// The words besides subject types that attributes stand behind; in a role, only those that every question has.
    private var holderWords: [String] {
        let isRole = item.first?.isName("role") ?? false
        return (isRole ? [] : ["resource", "action"]) + ["session", "device", "context", "subject"]
    }

    /// What has another attribute of a type, to compare with.
    private func holders(of type: ValueType, _ catalog: Catalog) -> [Candidate] {
        let compared = comparedPath
        let words = catalog.subjectTypes.map { catalog.entities[$0].name } + holderWords
        return words.filter { word in
            attributes(of: word, catalog).contains { $0.type == type && compared != [word, $0.name] }
        }.map { word in
            catalog.entity(named: word).map { Self.candidate(catalog.entities[$0]) }
                ?? Candidate(label: word, kind: .keyword)
        }
    }

    /// What can be the value of a test.
    private func values(given holder: AttributeHolder, _ catalog: Catalog) -> [Candidate] {
        switch (holder, givenField) {
        case (.entity("session"), "assurance"): return names(.level)
        case (.entity("session"), "methods"): return names(.method)
        case (.entity, "granted") where wantedType == nil: return roles
        default: break
        }
        guard let type = wantedType else { return [] }
        // The subject of the test, by its type.
        if case .reference = type {
            return catalog.subjectTypes.map { Self.candidate(catalog.entities[$0]) }
                + [Candidate(label: "subject", kind: .keyword)]
        }
        return cases(type) ?? []
    }

    private func cases(_ type: ValueType) -> [Candidate]? {
        guard let catalog else { return nil }
        if let cases = type.cases {
            return cases.map {
                Candidate(label: $0, kind: .enumMember, detail: type.spelling { catalog.entities[$0].name })
            }
        }
        return type == .boolean ? ["true", "false"].map { Candidate(label: $0, kind: .keyword) } : nil
    }

    /// The type of value that is wanted at the place, when the text before says it.
    private var wantedType: ValueType? {
        guard let catalog, context.names.contains(.value), !item.isEmpty else { return nil }
        if let holder = givenHolder {
            return givenField.flatMap { name in catalog.attributes(of: holder).first { $0.name == name }?.type }
        }
        if let cases = declaredCases { return .enumeration(EnumerationType(cases: cases, ordered: false)) }
        guard let path = comparedPath else { return nil }
        return attributes(of: path[0], catalog).first { $0.name == path[1] }?.type
    }

    /// The attribute that the value at the place is compared with or stands in for, as two names.
    private var comparedPath: [String]? {
        var rest = item[..<(openList ?? item.count)]
        // Back over the first value of a range.
        if rest.last?.isSymbol("...") ?? false { rest = rest.dropLast(2) }
        guard let relation = rest.last else { return nil }
        let comparisons: Set = ["==", "!=", "<", "<=", ">", ">=", "??"]
        switch relation.kind {
        case .symbol where comparisons.contains(relation.text): rest = rest.dropLast()
        case .name where ["in", "contains", "intersects"].contains(relation.text):
            rest = rest.dropLast()
            if rest.last?.isName("not") ?? false { rest = rest.dropLast() }
        case .name where relation.text == "of": rest = rest.dropLast(2)
        default: return nil
        }
        if rest.dropLast().last?.isSymbol("??") ?? false { rest = rest.dropLast(2) }
        let path = Array(rest.suffix(3))
        guard path.count == 3, path[0].kind == .name, path[1].isSymbol("."), path[2].kind == .name else { return nil }
        return [path[0].text, path[2].text]
    }

    /// Where a list was begun that has no end yet.
    private var openList: Int? {
        guard let opening = item.lastIndex(where: { $0.isSymbol("[") }),
            !item[opening...].contains(where: { $0.isSymbol("]") })
        else { return nil }
        return opening
    }

    /// The cases of the enum whose default is being written.
    private var declaredCases: [String]? {
        guard item.last?.isSymbol("=") ?? false, item.dropLast().last?.isSymbol(")") ?? false,
            let opening = item.lastIndex(where: { $0.isSymbol("(") }), opening > 0, item[opening - 1].isName("enum")
        else { return nil }
        return item[opening...].filter { $0.kind == .name }.map(\.text)
    }

    // MARK: Tests

    /// What the values of a test's step belong to; nil outside of their braces.
    private var givenHolder: AttributeHolder? {
        guard let brace = item.firstIndex(where: { $0.isSymbol("{") }), let first = item.first else { return nil }
        if first.isName("given"), brace == 2 { return item[1].isName("context") ? .context : .entity(item[1].text) }
        guard first.isName("ask"), let on = item.firstIndex(where: { $0.isName("on") }), on + 1 < item.count else {
            return nil
        }
        return item.contains { $0.isName("with") } ? .action(item[1].text) : .entity(item[on + 1].text)
    }

    /// The name of a test's value that is being written.
    private var givenField: String? {
        var rest = item[..<(openList ?? item.count)]
        if rest.last?.isSymbol(":") ?? false { rest = rest.dropLast() }
        return rest.last.flatMap { $0.kind == .name ? $0.text : nil }
    }

    private func fields(_ catalog: Catalog) -> [Candidate] {
        guard let holder = givenHolder else { return [] }
        var found = catalog.attributes(of: holder).map { candidate($0, catalog) }
        guard item.first?.isName("given") ?? false else { return found }
        func add(_ names: [String], _ detail: String) {
            found += names.map { Candidate(label: $0, kind: .property, detail: detail) }
        }
        switch holder {
        case .entity("session"): add(["assurance", "age", "methods"], "of the sign-in")
        case .entity(let name):
            if let type = catalog.entity(named: name), catalog.entities[type].isSubject {
                add(["id", "groups", "granted"], "of the subject")
            }
        case .action, .context: break
        }
        return found
    }
}
