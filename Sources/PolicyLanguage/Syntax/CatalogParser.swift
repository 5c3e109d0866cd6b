// The productions of a catalog.

extension Parser {
    private static let catalogWords: Set<String> = [
        "assurance", "issuer", "entity", "subject", "signal", "action", "context", "catalog", "policy", "test",
    ]

    mutating func catalog() throws(Skip) -> CatalogSyntax {
        let start = current.range
        advance()
        let name = try text("the catalog's name in quotes")
        var version = "1.0.0"
        if take(word: "version") {
            guard current.kind == .version else { throw skip("a version of three numbers", help: "write it as 2.1.0") }
            version = current.text
            advance()
        }
        var catalog = CatalogSyntax(name: name, version: version, range: start)
        try need(symbol: "{", in: "before the catalog's declarations")
        while !current.isSymbol("}"), current.kind != .end {
            do throws(Skip) {
                try declaration(&catalog)
            } catch {
                if !current.isSymbol("}") { advance() }
                recover(to: Self.catalogWords)
            }
        }
        try need(symbol: "}", in: "at the end of the catalog")
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
            throw skip(
                "a declaration", help: "one of: assurance, issuer, entity, subject entity, signal, action, context")
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
        try need(symbol: "{", in: "before the issuer's acr values")
        while take(word: "acr") {
            let acr = try text("an acr value in quotes")
            try need(symbol: "=", in: "between an acr value and the level it proves")
            table.append((acr, try name("an assurance level")))
        }
        try need(symbol: "}", in: "or another `acr` line")
        catalog.issuers.append((issuer, table))
    }

    private mutating func entity() throws(Skip) -> EntitySyntax {
        let start = current.range
        let isSubject = take(word: "subject")
        try need(word: "entity", in: "after `subject`")
        let name = try name("the name of an entity type")
        var documentation: String?
        if take(word: "doc") { documentation = try text("a description in quotes").text }
        let attributes = current.isSymbol("{") ? try attributes() : []
        return EntitySyntax(
            name: name, isSubject: isSubject, attributes: attributes, documentation: documentation,
            range: start.union(lastRange))
    }

    private mutating func signal(_ catalog: inout CatalogSyntax) throws(Skip) {
        advance()
        let owner = try name("an entity type, as in `user.risk`")
        try need(symbol: ".", in: "between the entity type and the signal's name")
        catalog.signals.append((owner, try attribute()))
    }

    private mutating func action() throws(Skip) -> ActionSyntax {
        advance()
        let names = try names("the name of an action")
        try need(word: "on", in: "between actions and entity types")
        let types = try self.names("the name of an entity type")
        let attributes = current.isSymbol("{") ? try attributes() : []
        return ActionSyntax(names: names, types: types, attributes: attributes)
    }

    private mutating func attributes() throws(Skip) -> [AttributeSyntax] {
        try need(symbol: "{", in: "before attributes")
        var list: [AttributeSyntax] = []
        while !current.isSymbol("}"), current.kind != .end {
            list.append(try attribute())
            _ = take(symbol: ",")
        }
        try need(symbol: "}", in: "at the end of the attributes")
        return list
    }

    private mutating func attribute() throws(Skip) -> AttributeSyntax {
        let name = try name("an attribute's name")
        try need(symbol: ":", in: "between an attribute's name and its type")
        let type = try type()
        var attribute = AttributeSyntax(
            name: name, type: type, isOptional: take(symbol: "?"), sources: [], range: name.range)
        if take(symbol: "=") { attribute.defaultValue = try value() }
        while current.kind == .name, !following.isSymbol(":"), try clause(&attribute) {}
        attribute.range = name.range.union(lastRange)
        return attribute
    }

    private mutating func clause(_ attribute: inout AttributeSyntax) throws(Skip) -> Bool {
        if take(word: "from") {
            repeat { attribute.sources.append(try source()) } while take(symbol: ",")
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
            sink.report(
                .badSource, "`\(word.text)` is no source", at: word.range,
                help: "one of: scim \"path\", caep \"event\", risc \"event\", token \"claim\", application, request")
            throw Skip()
        }
        return (source, word.range.union(lastRange))
    }

    private mutating func type() throws(Skip) -> TypeSyntax {
        let start = current.range
        if case .integer = current.kind { return try integerRange() }
        if current.isSymbol("-") { return try integerRange() }
        if take(word: "set") {
            try need(word: "of", in: "after `set`")
            let element = try nested { (parser) throws(Skip) in try parser.type() }
            return .set(element, start.union(lastRange))
        }
        if current.isName("enum"), following.isSymbol("(") {
            advance()
            advance()
            var cases = [try name("a case of the enum")]
            let ordered = current.isSymbol("<")
            while take(symbol: ordered ? "<" : ",") { cases.append(try name("a case of the enum")) }
            try need(symbol: ")", in: ordered ? "or `<` and another case" : "or `,` and another case")
            return .enumeration(cases, ordered: ordered)
        }
        return .named(try name("a type"))
    }

    private mutating func integerRange() throws(Skip) -> TypeSyntax {
        let start = current.range
        let value = try value()
        guard case .span(let low, let high) = value.form, case .integer(let first) = low.form,
            case .integer(let last) = high.form, first <= last
        else {
            sink.report(.unknownType, "this is no range of integers", at: value.range, help: "write it as 0...5")
            throw Skip()
        }
        return .range(first, last, start.union(lastRange))
    }
}
