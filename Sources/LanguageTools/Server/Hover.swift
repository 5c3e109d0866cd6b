// textDocument/hover: what the catalog says of a name.

package import PolicyLanguage
import StrictJSON

extension LanguageServer {
    mutating func hover(_ parameters: Parameters) throws(RPCError) -> JSONValue {
        let target = try target(parameters)
        let offset = target.known.offset(try parameters.position("position"), file: target.file)
        let found = target.known.index.occurrences(at: offset, file: target.file)
        let texts = found.compactMap { SymbolText(known: target.known).text($0.symbol) }
        guard let first = found.first, !texts.isEmpty else { return .null }
        return .object([
            "contents": .object([
                "kind": .string("markdown"), "value": .string(texts.prefix(5).joined(separator: "\n\n---\n\n")),
            ]),
            "range": Self.json(target.known.span(first.range)),
        ])
    }
}

/// Markdown about symbols.
private struct SymbolText {
    let known: FolderKnowledge

    func text(_ symbol: Symbol) -> String? {
        switch symbol {
        case .attribute(let holder, let name): return attribute(holder, name)
        case .enumCase(let holder, let attribute, let name):
            return self.attribute(holder, attribute).map { "`\(name)` is a case of\n\n\($0)" }
        case .entity(let name): return entity(name)
        case .action(let name): return action(name)
        case .level(let name): return level(name)
        case .issuer(let name): return code("issuer \"\(name)\"")
        case .group(let name): return code("group \"\(name)\"") + "\n\nA group of the provisioned directory."
        case .role, .constant: return declaration(symbol)
        }
    }

    private func code(_ text: String) -> String { "```stile\n\(text)\n```" }

    private func attribute(_ holder: AttributeHolder, _ name: String) -> String? {
        guard let catalog = known.index.catalog,
            let attribute = catalog.attributes(of: holder).first(where: { $0.name == name })
        else { return nil }
        let owner =
            switch holder {
            case .entity(let name), .action(let name): name
            case .context: "context"
            }
        var text = code("\(owner).\(name): \(attribute.declaration(catalog))")
        if let documentation = attribute.documentation { text += "\n\n\(documentation)" }
        text += "\n\n* from \(attribute.sources.map(\.spelling).joined(separator: ", "))"
        if let value = attribute.defaultValue {
            text += "\n* \(value.spelling(attribute.type)) while nothing has filled it"
        } else if attribute.isOptional {
            text += "\n* can be absent: ask with `has`, or give a stand-in with `??`"
        } else {
            text += "\n* required: a question that lacks it is an error"
        }
        if let lifetime = attribute.lifetime { text += "\n* expires after \(Constant.durationText(lifetime))" }
        if let use = attribute.use { text += "\n* use \(use)" }
        return text
    }

    private func entity(_ name: String) -> String? {
        guard let catalog = known.index.catalog, let index = catalog.entity(named: name) else { return nil }
        let type = catalog.entities[index]
        let containers = type.containers.map { catalog.entities[$0].name }.joined(separator: ", ")
        var text = code(
            "\(type.isSubject ? "subject " : "")entity \(name)" + (containers.isEmpty ? "" : " in \(containers)"))
        if let documentation = type.documentation { text += "\n\n\(documentation)" }
        let actions = catalog.actions.filter { $0.resourceTypes.contains(index) }.map { "`\($0.name)`" }
        if !actions.isEmpty { text += "\n\n* actions: \(actions.joined(separator: ", "))" }
        let attributes = type.attributes.prefix(40).map { "`\($0.name)`" }
        if !attributes.isEmpty { text += "\n* attributes: \(attributes.joined(separator: ", "))" }
        return text
    }

    private func action(_ name: String) -> String? {
        guard let catalog = known.index.catalog, let index = catalog.action(named: name) else { return nil }
        let action = catalog.actions[index]
        let types = action.resourceTypes.map { catalog.entities[$0].name }.joined(separator: ", ")
        var text = code("action \(name) on \(types)")
        if let documentation = action.documentation { text += "\n\n\(documentation)" }
        for attribute in action.attributes { text += "\n* `\(attribute.name)`: \(attribute.declaration(catalog))" }
        return text
    }

    private func level(_ name: String) -> String? {
        guard let assurance = known.index.catalog?.assurance, let index = assurance.level(named: name) else {
            return nil
        }
        let below = assurance.levels.indices.filter { $0 != index && assurance.implied[index] & (1 << UInt64($0)) != 0 }
        var text = code("assurance \(name)")
        if !below.isEmpty {
            text += "\n\nProves also: \(below.map { "`\(assurance.levels[$0])`" }.joined(separator: ", "))."
        }
        if assurance.reachable & (1 << UInt64(index)) == 0 { text += "\n\nCannot be reached by signing in again." }
        return text
    }

    /// A role or a let as it is written.
    private func declaration(_ symbol: Symbol) -> String? {
        guard let place = known.index.declaration(of: symbol) else { return nil }
        func find(_ items: [OutlineItem]) -> OutlineItem? {
            for item in items {
                if item.selection == place { return item }
                if let inner = find(item.children) { return inner }
            }
            return nil
        }
        guard let item = known.index.outlines.lazy.compactMap({ find($0) }).first else { return nil }
        let lines = known.text(item.range).split(separator: "\n", omittingEmptySubsequences: false)
        let word = item.kind == .constant ? "let " : ""
        return code(word + lines.prefix(12).joined(separator: "\n") + (lines.count > 12 ? "\n…" : ""))
    }
}

extension Attribute {
    /// Type and default as an author writes them.
    func declaration(_ catalog: Catalog) -> String {
        type.spelling { catalog.entities[$0].name } + (isOptional ? "?" : "")
            + (defaultValue.map { " = \($0.spelling(type))" } ?? "")
    }
}

extension Constant {
    /// As an author writes it.
    package func spelling(_ type: ValueType) -> String {
        switch (self, type) {
        case (.boolean(let value), _): return value ? "true" : "false"
        case (.integer(let value), _): return String(value)
        case (.decimal(let value), _): return Decimal6.format(value)
        case (.string(let text), _), (.reference(_, let text), _): return TextLiteral.quoted(text)
        case (.enumeration(let index), .enumeration(let cases)): return cases.cases[index]
        case (.enumeration(let index), _): return String(index)
        case (.datetime(let value), _): return Instant.format(value)
        case (.duration(let value), _): return Self.durationText(value)
        case (.address(let value), _): return "\(value)"
        case (.set(let values), .set(let element)):
            return "[\(values.map { $0.spelling(element) }.joined(separator: ", "))]"
        case (.set(let values), _): return "[\(values.count) values]"
        }
    }

    /// `7d`, `1h30m`: milliseconds in the largest units that leave nothing over.
    static func durationText(_ milliseconds: Int64) -> String {
        if milliseconds == 0 { return "0s" }
        var rest = milliseconds.magnitude
        var text = milliseconds < 0 ? "-" : ""
        for (size, unit): (UInt64, String) in [
            (604_800_000, "w"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"),
        ] where rest >= size {
            // Weeks only where nothing is left: 30d is 30d.
            if unit == "w", rest % size != 0 { continue }
            text += "\(rest / size)\(unit)"
            rest %= size
        }
        return text
    }
}
