// The productions of a catalog.

extension Parser {
    private static let catalogWords: Set<String> = [
        "assurance", "issuer", "entity", "subject", "signal", "action", "context",
    ]

    mutating func catalog() throws(Skip) -> CatalogSyntax {
        let start = current.range
        hasGuessed = false
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
        try open("before the catalog's declarations", for: Self.catalogWords)
        block(from: { $0.isLine(of: Self.catalogWords) }, words: Self.catalogWords) { (parser) throws(Skip) in
            parser.mark(.item)
            // What begins amid a line may be the rest of the declaration before.
            let isFirst = parser.tokens[max(0, parser.position - 1)].isSymbol("{")
            if parser.current.breaksBefore == 0, !isFirst { catalog.isUncertain = true }
            let hasLostNames = catalog.hasLostNames
            catalog.hasLostNames = true
            try parser.declaration(&catalog)
            catalog.hasLostNames = hasLostNames || parser.hasUnclosedAttributes
        }
        if !close(opening, "the catalog") { catalog.hasLostNames = true }
        if hasGuessed { catalog.isUncertain = true }
        catalog.range = start.union(lastRange)
        return catalog
    }

    private mutating func declaration(_ catalog: inout CatalogSyntax) throws(Skip) {
        switch current.kind == .name ? current.text : "" {
        case "assurance": try assurance(&catalog)
        case "issuer": try issuer(&catalog)
        case "entity", "subject": try entity(&catalog)
        case "signal": try signal(&catalog)
        case "action": try action(&catalog)
        case "context":
            advance()
            let known = catalog.context
            let more = try attributes()
            catalog.context = AttributesSyntax(
                list: known.list + more.list, hasLostNames: known.hasLostNames || more.hasLostNames)
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
            while take(symbol: "<") { chain.append(try name("an assurance level after `<`", .level)) }
            catalog.assurance.append(chain)
        } while take(symbol: ",")
        if take(word: "unreachable") { catalog.unreachable += try names("an assurance level", .level) }
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
            table.append((acr, try name("an assurance level", .level)))
        }
        if !isLine(of: Self.catalogWords), !current.isSymbol("}"), current.kind != .end {
            throw skip("`}` or another `acr` line")
        }
        close(opening, "this issuer's table")
        catalog.issuers.append((issuer, table))
    }

    /// Names that were read are kept when what follows them cannot be read: they are declared all the same.
    private mutating func entity(_ catalog: inout CatalogSyntax) throws(Skip) {
        let start = current.range
        let isSubject = take(word: "subject")
        try need(word: "entity", in: "after `subject`")
        let name = try name("the name of an entity type")
        let index = catalog.entities.count
        catalog.entities.append(EntitySyntax(name: name, isSubject: isSubject, range: start.union(lastRange)))
        if take(word: "in") {
            catalog.entities[index].containers = try names("the name of an entity type it can lie in", .entity)
        }
        if take(word: "doc") { catalog.entities[index].documentation = try text("a description in quotes").text }
        if hasAttributes { catalog.entities[index].attributes = try attributes() }
        catalog.entities[index].range = start.union(lastRange)
        catalog.entities[index].isBroken = false
    }

    private mutating func signal(_ catalog: inout CatalogSyntax) throws(Skip) {
        advance()
        let owner = try name("an entity type, as in `user.risk`", .entity)
        try need(symbol: ".", in: "between the entity type and the signal's name")
        let name = try name("an attribute's name")
        let index = catalog.signals.count
        catalog.signals.append((owner, .broken(name)))
        let attribute = try attribute(name)
        try ends(attribute, isSignal: true)
        catalog.signals[index].attribute = attribute
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

    private mutating func action(_ catalog: inout CatalogSyntax) throws(Skip) {
        advance()
        let names = try names("the name of an action")
        let index = catalog.actions.count
        catalog.actions.append(ActionSyntax(names: names))
        try need(word: "on", in: "between actions and entity types")
        catalog.actions[index].types = try self.names("the name of an entity type", .entity)
        if take(word: "doc") { catalog.actions[index].documentation = try text("a description in quotes").text }
        if hasAttributes { catalog.actions[index].attributes = try attributes() }
        catalog.actions[index].isBroken = false
    }

    private mutating func attributes() throws(Skip) -> AttributesSyntax {
        let opening = current.range
        try open("before attributes", for: following.isSymbol(":") ? [current.text] : [])
        var attributes = AttributesSyntax()
        var isAfterMistake = false
        block(
            from: { $0.current.kind == .name && $0.following.isSymbol(":") },
            until: { $0.isLine(of: Self.catalogWords) && !$0.following.isSymbol(":") }
        ) { (parser) throws(Skip) in
            parser.mark(.entry)
            let hasLostNames = attributes.hasLostNames
            attributes.hasLostNames = true
            // What cannot be read amid a line may be the rest of the attribute before, or the beginning of the next.
            let isAmidLine = parser.current.breaksBefore == 0
            let isBeforeCertain = attributes.list.last?.isUncertain == false
            let isUncertain = isAmidLine && isAfterMistake
            isAfterMistake = true
            let index = attributes.list.count
            if isAmidLine, index > 0 { attributes.list[index - 1].isUncertain = true }
            let name = try parser.name("an attribute's name")
            attributes.list.append(.broken(name))
            var attribute = try parser.attribute(name)
            try parser.ends(attribute)
            attribute.isUncertain = isUncertain
            attributes.list[index] = attribute
            if isBeforeCertain { attributes.list[index - 1].isUncertain = false }
            isAfterMistake = false
            attributes.hasLostNames = hasLostNames
            parser.takeOptional(",")
        }
        if !close(opening, "this block of attributes") {
            hasUnclosedAttributes = true
            if let last = attributes.list.indices.last { attributes.list[last].isUncertain = true }
        }
        return attributes
    }

    /// What follows an attribute's name.
    private mutating func attribute(_ name: Name) throws(Skip) -> AttributeSyntax {
        try need(
            symbol: ":", in: "between an attribute's name and its type", help: "write it as `\(name.text): string`")
        let type = try type()
        var attribute = AttributeSyntax(
            name: name, type: type, isOptional: take(symbol: "?"), sources: [], range: name.range)
        if take(symbol: "=") { attribute.defaultValue = try value() }
        while current.kind == .name, !following.isSymbol(":"), try clause(&attribute) {}
        if wanted != nil {
            let isThere = [
                "from": !attribute.sources.isEmpty, "expires": attribute.lifetime != nil,
                "doc": attribute.documentation != nil, "use": attribute.use != nil,
            ]
            want(words: isThere.keys.filter { isThere[$0] == false })
        }
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
            want(words: ["authorization"])
            attribute.use = try name("the purpose of the data").text
        } else {
            return false
        }
        return true
    }

    private mutating func source() throws(Skip) -> (source: AttributeSource, range: SourceRange) {
        want(words: AttributeSource.Kind.allCases.map(\.rawValue))
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
        want(.type, words: ["set", "enum"])
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

extension AttributeSyntax {
    /// An attribute of which only the name could be read.
    fileprivate static func broken(_ name: Name) -> AttributeSyntax {
        AttributeSyntax(name: name, type: .broken, isOptional: false, sources: [], range: name.range)
    }
}
