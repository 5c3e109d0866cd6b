// The productions of a catalog.

extension Parser {
    private static let catalogWords: Set<String> = [
        "assurance", "issuer", "entity", "subject", "signal", "action", "context",
    ]

    mutating func catalog() throws(Skip) -> CatalogSyntax {
        let start = current.range
        advance()
        let name = try text("the catalog's name in quotes")
        var version = "1.0.0"
        if take(word: "version") {
            if current.kind != .version {
                let skip = skip("a version of three numbers", help: "write it as 2.1.0, without quotes")
                if !following.isSymbol("{") { throw skip }
            }
            version = current.text
            advance()
        }
        var catalog = CatalogSyntax(name: name, version: version, range: start)
        let opening = current.range
        let skippedBefore = skipped
        try open("before the catalog's declarations", for: Self.catalogWords)
        block(from: { $0.isLine(of: Self.catalogWords) }) { (parser) throws(Skip) in
            parser.mark(.item)
            try parser.declaration(&catalog)
        }
        close(opening, "the catalog")
        catalog.isBroken = skipped > skippedBefore
        catalog.range = start.union(lastRange)
        return catalog
    }

    private mutating func declaration(_ catalog: inout CatalogSyntax) throws(Skip) {
        switch current.kind == .name ? current.text : "" {
        case "assurance": try assurance(&catalog)
        case "issuer": try issuer(&catalog)
        case "entity", "subject": catalog.entities.append(try entity())
        case "signal": try signal(&catalog)
        case "action": catalog.actions.append(try action())
        case "context":
            advance()
            catalog.context += try attributes()
        default:
            let near = NearestName.find(current.text, among: Self.catalogWords)
            throw skip(
                "a declaration",
                help: near.map { "did you mean `\($0)`?" }
                    ?? "one of: assurance, issuer, entity, subject entity, signal, action, context",
                isHere: true)
        }
    }

    private mutating func assurance(_ catalog: inout CatalogSyntax) throws(Skip) {
        advance()
        repeat {
            var chain = [try name("an assurance level")]
            while take(symbol: "<") { chain.append(try name("an assurance level after `<`")) }
            catalog.assurance.append(chain)
        } while take(symbol: ",")
        if take(word: "unreachable") { catalog.unreachable += try names("an assurance level") }
    }

    private mutating func issuer(_ catalog: inout CatalogSyntax) throws(Skip) {
        advance()
        let issuer = try text("the issuer's URL in quotes")
        var table: [(acr: Name, level: Name)] = []
        let opening = current.range
        try open("before the issuer's acr values", for: ["acr"])
        while take(word: "acr", mark: .entry) {
            let acr = try text("an acr value in quotes")
            try need(symbol: "=", in: "between an acr value and the level it proves")
            table.append((acr, try name("an assurance level")))
        }
        if !isLine(of: Self.catalogWords), !current.isSymbol("}"), current.kind != .end {
            throw skip("`}` or another `acr` line")
        }
        close(opening, "this issuer's table")
        catalog.issuers.append((issuer, table))
    }

    private mutating func entity() throws(Skip) -> EntitySyntax {
        let start = current.range
        let isSubject = take(word: "subject")
        try need(word: "entity", in: "after `subject`")
        let name = try name("the name of an entity type")
        let containers = take(word: "in") ? try names("the name of an entity type it can lie in") : []
        var documentation: String?
        if take(word: "doc") { documentation = try text("a description in quotes").text }
        let attributes = hasAttributes ? try attributes() : []
        return EntitySyntax(
            name: name, isSubject: isSubject, containers: containers, attributes: attributes,
            documentation: documentation,
            range: start.union(lastRange))
    }

    private mutating func signal(_ catalog: inout CatalogSyntax) throws(Skip) {
        advance()
        let owner = try name("an entity type, as in `user.risk`")
        try need(symbol: ".", in: "between the entity type and the signal's name")
        let attribute = try attribute()
        try ends(attribute, isSignal: true)
        catalog.signals.append((owner, attribute))
    }

    /// An attribute ends with its line, or where the next begins.
    private mutating func ends(_ attribute: AttributeSyntax, isSignal: Bool = false) throws(Skip) {
        if isSignal, current.kind == .name, Self.catalogWords.contains(current.text) { return }
        let isEnd = current.isSymbol(",") || current.isSymbol("}") || current.kind == .end
        if isEnd || current.breaksBefore > 0 || (current.kind == .name && following.isSymbol(":")) { return }
        let isSource = ["scim", "caep", "risc", "token", "application", "request"].contains(current.text)
        throw skip(
            "the end of attribute `\(attribute.name.text)`",
            help: isSource && current.kind == .name ? "write `from \(current.text) …`" : nil)
    }

    private var hasAttributes: Bool { current.isSymbol("{") || (current.kind == .name && following.isSymbol(":")) }

    private mutating func action() throws(Skip) -> ActionSyntax {
        advance()
        let names = try names("the name of an action")
        try need(word: "on", in: "between actions and entity types")
        let types = try self.names("the name of an entity type")
        let documentation = take(word: "doc") ? try text("a description in quotes").text : nil
        let attributes = hasAttributes ? try attributes() : []
        return ActionSyntax(names: names, types: types, attributes: attributes, documentation: documentation)
    }

    private mutating func attributes() throws(Skip) -> [AttributeSyntax] {
        let opening = current.range
        try open("before attributes", for: following.isSymbol(":") ? [current.text] : [])
        var list: [AttributeSyntax] = []
        block(
            from: { $0.current.kind == .name && $0.following.isSymbol(":") },
            until: { $0.isLine(of: Self.catalogWords) && !$0.following.isSymbol(":") }
        ) { (parser) throws(Skip) in
            parser.mark(.entry)
            let attribute = try parser.attribute()
            try parser.ends(attribute)
            list.append(attribute)
            parser.takeOptional(",")
        }
        close(opening, "this block of attributes")
        return list
    }

    private mutating func attribute() throws(Skip) -> AttributeSyntax {
        let name = try name("an attribute's name")
        try need(
            symbol: ":", in: "between an attribute's name and its type", help: "write it as `\(name.text): string`")
        let type = try type()
        var attribute = AttributeSyntax(
            name: name, type: type, isOptional: take(symbol: "?"), sources: [], range: name.range)
        if take(symbol: "=") { attribute.defaultValue = try value() }
        while current.kind == .name, !following.isSymbol(":"), try clause(&attribute) {}
        attribute.range = name.range.union(lastRange)
        return attribute
    }

    /// A comma behind sources can also stand before the next attribute.
    private var isBeforeAttribute: Bool {
        following.kind == .name && tokens[min(position + 2, tokens.count - 1)].isSymbol(":") || following.isSymbol("}")
    }

    private mutating func clause(_ attribute: inout AttributeSyntax) throws(Skip) -> Bool {
        let isThere =
            switch current.text {
            case "from": !attribute.sources.isEmpty
            case "expires": attribute.lifetime != nil
            case "doc": attribute.documentation != nil
            case "use": attribute.use != nil
            default: false
            }
        if isThere {
            sink.report(
                .repeatedClause, "a second `\(current.text)` for one attribute", at: current.range,
                help: current.text == "from" ? "list the sources: `from scim \"…\", request`" : "keep one of them")
        }
        if ["from", "expires", "doc", "use"].contains(current.text) { mark(.clause) }
        if take(word: "from") {
            attribute.sources.append(try source())
            while current.isSymbol(","), !isBeforeAttribute {
                advance()
                attribute.sources.append(try source())
            }
        } else if take(word: "expires") {
            attribute.lifetime = try duration("how long a value lives")
        } else if take(word: "doc") {
            attribute.documentation = try text("a description in quotes").text
        } else if take(word: "use") {
            attribute.use = try name("the purpose of the data").text
        } else {
            return false
        }
        return true
    }

    private mutating func source() throws(Skip) -> (source: AttributeSource, range: SourceRange) {
        let word = try name("a source")
        func argument(_ parser: inout Parser, _ what: String) throws(Skip) -> String { try parser.text(what).text }
        let source: AttributeSource
        switch word.text {
        case "scim": source = .scim(path: try argument(&self, "a SCIM attribute path in quotes"))
        case "caep": source = .caep(event: try argument(&self, "a CAEP event in quotes"))
        case "risc": source = .risc(event: try argument(&self, "a RISC event in quotes"))
        case "token": source = .token(claim: try argument(&self, "a claim in quotes"))
        case "application": source = .application
        case "request": source = .request
        default:
            let near = NearestName.find(word.text, among: ["scim", "caep", "risc", "token", "application", "request"])
            sink.report(
                .badSource, "`\(word.text)` is no source", at: word.range,
                help: near.map { "did you mean `\($0)`?" }
                    ?? "one of: scim \"path\", caep \"event\", risc \"event\", token \"claim\", application, request")
            throw Skip()
        }
        return (source, word.range.union(lastRange))
    }

    private mutating func type() throws(Skip) -> TypeSyntax {
        let start = current.range
        if case .integer = current.kind { return try integerRange() }
        if current.isSymbol("-") { return try integerRange() }
        if take(word: "set") {
            try need(
                word: "of", in: "after `set`", help: "write `set of \(current.kind == .name ? current.text : "…")`")
            let element = try nested { (parser) throws(Skip) in try parser.type() }
            return .set(element, start.union(lastRange))
        }
        if current.isName("enum"), following.isSymbol("(") {
            advance()
            advance()
            var cases = [try name("a case of the enum")]
            let ordered = current.isSymbol("<")
            while take(symbol: ordered ? "<" : ",") { cases.append(try name("a case of the enum")) }
            try need(
                symbol: ")", in: ordered ? "or `<` and another case" : "or `,` and another case",
                help: ordered ? "an enum with an order has `<` between all its cases" : nil)
            return .enumeration(cases, ordered: ordered)
        }
        if current.kind == .symbol, current.text == "[" {
            throw skip("a type", help: "write `set of string` for a set")
        }
        return .named(try name("a type"))
    }

    private mutating func integerRange() throws(Skip) -> TypeSyntax {
        let start = current.range
        let value = try value()
        guard case .span(let low, let high) = value.form, case .integer(let first) = low.form,
            case .integer(let last) = high.form, first <= last
        else {
            sink.report(
                .badRange, "this is no range of integers", at: value.range,
                help: "write the smaller number first, as in 0...5")
            throw Skip()
        }
        return .range(first, last, start.union(lastRange))
    }
}
