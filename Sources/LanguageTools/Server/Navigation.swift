// Definition, references, rename, layout and outline.

import PolicyLanguage
import StrictJSON

extension LanguageServer {
    // MARK: Places

    mutating func definition(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let found = try occurrences(target, parameters)
        let places = found.compactMap { target.known.index.declaration(of: $0.symbol) }
        return .array(unique(places).map { location($0, target.known, target.folder, target.path) })
    }

    mutating func references(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let isWithDeclaration = parameters.bool("context.includeDeclaration")
        let places = try occurrences(target, parameters).flatMap { target.known.index.places(of: $0.symbol) }
            .filter { isWithDeclaration || !$0.isDeclaration }.map(\.range)
        return .array(unique(places).map { location($0, target.known, target.folder, target.path) })
    }

    private func occurrences(_ target: Target, _ parameters: Parameters) throws(RPCError) -> [Occurrence] {
        let offset = target.known.offset(try parameters.position("position"), file: target.file)
        return target.known.index.occurrences(at: offset, file: target.file)
    }

    private func unique(_ places: [SourceRange]) -> [SourceRange] {
        var seen = Set<SourceRange>()
        return places.filter { seen.insert($0).inserted }.sorted { ($0.file, $0.start) < ($1.file, $1.start) }
    }

    // MARK: Rename

    mutating func prepareRename(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let found = try renamed(target, parameters)
        return .object([
            "range": Self.json(target.known.span(found.range)), "placeholder": .string(found.symbol.name),
        ])
    }

    /// The role or let at the place.
    private func renamed(_ target: Target, _ parameters: Parameters) throws(RPCError) -> Occurrence {
        let found = try occurrences(target, parameters).first { occurrence in
            switch occurrence.symbol {
            case .role, .constant: true
            default: false
            }
        }
        guard let found, target.known.index.declaration(of: found.symbol) != nil else {
            throw RPCError(
                .requestFailed,
                "roles and lets can be renamed; the catalog's words are the application's, and texts name groups")
        }
        return found
    }

    mutating func rename(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let symbol = try renamed(target, parameters).symbol
        let name = try parameters.string("newName")
        let places = unique(target.known.index.places(of: symbol).map(\.range))
        if name == symbol.name { return edit([:], target) }
        try Renaming(known: target.known, symbol: symbol, places: places).check(name)
        var edits: [Int: [JSONValue]] = [:]
        for place in places {
            edits[Int(place.file), default: []].append(
                .object(["range": Self.json(target.known.span(place)), "newText": .string(name)]))
        }
        return edit(edits, target)
    }

    private func edit(_ edits: [Int: [JSONValue]], _ target: Target) -> JSONValue {
        let files = edits.sorted { $0.key < $1.key }.map { file, edits in
            let name = target.known.files[file].name
            return (document: target.folder.open[name], uri: uri(target.path, name), edits: JSONValue.array(edits))
        }
        guard takesDocumentChanges else {
            return .object([
                JSONMember("changes", .object(files.map { JSONMember($0.document?.uri ?? $0.uri, $0.edits) }))
            ])
        }
        return .object([
            "documentChanges": .array(
                files.map { file in
                    .object([
                        "textDocument": .object([
                            "uri": .string(file.document?.uri ?? file.uri),
                            "version": file.document.map { .integer($0.version) } ?? .null,
                        ]), "edits": file.edits,
                    ])
                })
        ])
    }

    // MARK: Layout and outline

    mutating func formatting(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let file = target.known.files[target.file]
        let formatted: String
        do throws(FormatError) {
            formatted = try format(file)
        } catch {
            let first = error.diagnostics.first
            throw RPCError(
                .requestFailed,
                "line \(first?.range.line ?? 0): \(first?.message ?? "this does not parse"); nothing was changed")
        }
        if formatted == file.text { return .array([]) }
        let end = target.known.position(file.text.utf8.count, file: target.file)
        return .array([
            .object([
                "range": Self.json((TextPosition(line: 0, column: 0), end)), "newText": .string(formatted),
            ])
        ])
    }

    mutating func documentSymbols(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        guard target.known.index.outlines.indices.contains(target.file) else { return .array([]) }
        let items = target.known.index.outlines[target.file]
        if takesNestedSymbols { return .array(items.map { nested($0, target.known) }) }
        var flat: [JSONValue] = []
        func add(_ items: [OutlineItem], _ container: String?) {
            for item in items {
                var members = [
                    JSONMember("name", .string(Self.label(item))), JSONMember("kind", .integer(Self.kind(item.kind))),
                    JSONMember("location", location(item.range, target.known, target.folder, target.path)),
                ]
                if let container { members.append(JSONMember("containerName", .string(container))) }
                flat.append(.object(members))
                add(item.children, item.name)
            }
        }
        add(items, nil)
        return .array(flat)
    }

    private func nested(_ item: OutlineItem, _ known: FolderKnowledge) -> JSONValue {
        .object([
            "name": .string(Self.label(item)), "detail": .string(item.detail),
            "kind": .integer(Self.kind(item.kind)),
            // The name's place lies within.
            "range": Self.json(known.span(item.range.union(item.selection))),
            "selectionRange": Self.json(known.span(item.selection)),
            "children": .array(item.children.map { nested($0, known) }),
        ])
    }

    /// A symbol's name must not be empty.
    private static func label(_ item: OutlineItem) -> String { item.name.isEmpty ? item.detail : item.name }

    /// SymbolKind of LSP 3.17.
    private static func kind(_ kind: OutlineItem.Kind) -> Int {
        switch kind {
        case .catalog: 2
        case .entity: 5
        case .attribute: 7
        case .action: 6
        case .context: 19
        case .policy: 3
        case .role: 11
        case .constant: 14
        case .rule: 12
        case .offer, .duty: 24
        case .test: 19
        }
    }
}

/// Is a new name safe? It is when the whole folder, with the name changed everywhere, means what it meant.
private struct Renaming {
    let known: FolderKnowledge
    let symbol: Symbol
    let places: [SourceRange]

    func check(_ name: String) throws(RPCError) {
        let isName =
            name.unicodeScalars.allSatisfy {
                $0 == "_" || $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0))
            }
            && name.unicodeScalars.first.map { !("0"..."9").contains($0) } ?? false
        guard isName, name.utf8.count <= LanguageLimits.maxStringBytes else {
            throw RPCError(.requestFailed, "a name has letters, digits and `_`, and does not start with a digit")
        }
        let broken = known.index.brokenFiles.sorted().filter { known.files.indices.contains($0) }
        guard broken.isEmpty else {
            throw RPCError(
                .requestFailed,
                "\(broken.map { known.files[$0].name }.joined(separator: ", ")) cannot be read in full, so that uses could be missed: mend it first"
            )
        }
        let after = changed(to: name)
        let index = SymbolIndex(after)
        let renamed: Symbol =
            switch symbol {
            case .constant(_, let file, let policy):
                .constant(name, file: file, policy: self.moved(policy, file: file, to: name))
            default: .role(name)
            }
        let moved = Set(
            places.map { Place(file: $0.file, start: self.moved($0.start, file: $0.file, to: name)) })
        let found = Set(index.places(of: renamed).map { Place(file: $0.range.file, start: $0.range.start) })
        let isSame =
            found == moved && index.occurrences.count == known.index.occurrences.count
            && codes(known.files) == codes(after)
        guard isSame else {
            throw RPCError(.requestFailed, "`\(name)` already means something in these policies: choose another name")
        }
    }

    private struct Place: Hashable {
        var file: Int32
        var start: Int32
    }

    private func codes(_ files: [SourceFile]) -> [DiagnosticCode] { checkPolicies(files).diagnostics.map(\.code) }

    private func changed(to name: String) -> [SourceFile] {
        known.files.enumerated().map { index, file in
            var bytes = Array(file.text.utf8)
            for place in places.reversed() where Int(place.file) == index {
                bytes.replaceSubrange(Int(place.start)..<Int(place.end), with: Array(name.utf8))
            }
            return SourceFile(name: file.name, text: String(decoding: bytes, as: UTF8.self))
        }
    }

    /// Where a byte lies once the name is changed before it.
    private func moved(_ offset: Int32, file: Int32, to name: String) -> Int32 {
        let before = places.filter { $0.file == file && $0.start < offset }
        return before.reduce(offset) { $0 + Int32(name.utf8.count) - ($1.end - $1.start) }
    }
}
