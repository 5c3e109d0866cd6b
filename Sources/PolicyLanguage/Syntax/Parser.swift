// Tokens to a syntax tree (grammar/stile.ebnf). Each function is one production.
//
// A mistake is reported once and skipped to the next word that starts a declaration, rule or test, so that one
// slip does not become ten messages.

/// Parses one file.
struct Parser {
    var tokens: [Token]
    var position = 0
    var sink: DiagnosticSink
    private var nesting = 0

    /// A production that failed has reported why; its callers only skip.
    struct Skip: Error {}

    static func parse(_ source: SourceFile, index: Int, _ sink: inout DiagnosticSink) -> FileSyntax {
        let tokens = Lexer.tokens(of: source, index: index, &sink)
        var parser = Parser(tokens: tokens, sink: sink)
        let syntax = parser.file()
        sink = parser.sink
        return syntax
    }

    private init(tokens: [Token], sink: DiagnosticSink) {
        self.tokens = tokens
        self.sink = sink
    }

    // MARK: Reading tokens

    var current: Token { tokens[position] }
    var following: Token { tokens[min(position + 1, tokens.count - 1)] }
    var lastRange: SourceRange { position > 0 ? tokens[position - 1].range : current.range }

    mutating func advance() { if position < tokens.count - 1 { position += 1 } }

    mutating func take(symbol: String) -> Bool {
        guard current.isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func take(word: String) -> Bool {
        guard current.isName(word) else { return false }
        advance()
        return true
    }

    func fail(_ expected: String, help: String? = nil) -> Diagnostic {
        let found = current.kind == .end ? "the end of the file" : "`\(current.text)`"
        return Diagnostic(.expected, "expected \(expected), found \(found)", at: current.range, help: help)
    }

    mutating func skip(_ expected: String, help: String? = nil) -> Skip {
        let diagnostic = fail(expected, help: help)
        sink.report(diagnostic.code, diagnostic.message, at: diagnostic.range, help: diagnostic.help)
        return Skip()
    }

    mutating func need(symbol: String, in what: String) throws(Skip) {
        if !take(symbol: symbol) { throw skip("`\(symbol)` \(what)") }
    }

    mutating func need(word: String, in what: String) throws(Skip) {
        if !take(word: word) { throw skip("`\(word)` \(what)") }
    }

    mutating func name(_ what: String) throws(Skip) -> Name {
        guard current.kind == .name else { throw skip(what) }
        defer { advance() }
        return Name(text: current.text, range: current.range)
    }

    mutating func text(_ what: String) throws(Skip) -> Name {
        guard current.kind == .text else { throw skip(what, help: "put it in double quotes") }
        defer { advance() }
        return Name(text: current.text, range: current.range)
    }

    mutating func duration(_ what: String) throws(Skip) -> Int64 {
        guard case .duration(let value) = current.kind else { throw skip(what, help: "write it as 15m, 8h or 7d") }
        advance()
        return value
    }

    mutating func names(_ what: String) throws(Skip) -> [Name] {
        var list = [try name(what)]
        while take(symbol: ",") { list.append(try name(what)) }
        return list
    }

    /// Skips to the next of these words at this depth of braces, or past the brace that ends the block.
    mutating func recover(to words: Set<String>) {
        var depth = 0
        while current.kind != .end {
            if current.isSymbol("{") { depth += 1 }
            if current.isSymbol("}") {
                if depth == 0 { return }
                depth -= 1
            }
            if depth == 0, current.kind == .name, words.contains(current.text), current.breaksBefore > 0 { return }
            advance()
        }
    }

    /// Runs a nested production; too deep is a mistake, never a crash.
    mutating func nested<Result>(_ body: (inout Parser) throws(Skip) -> Result) throws(Skip) -> Result {
        nesting += 1
        defer { nesting -= 1 }
        guard nesting <= LanguageLimits.maxNesting else {
            sink.report(
                .nestedTooDeep, "nested deeper than \(LanguageLimits.maxNesting) levels", at: current.range,
                help: "give an inner part a name with `role`")
            // What is left of the expression cannot be read any more.
            while current.kind != .end, !current.isSymbol("}") { advance() }
            throw Skip()
        }
        return try body(&self)
    }

    // MARK: File

    private mutating func file() -> FileSyntax {
        var syntax = FileSyntax()
        while current.kind != .end {
            do throws(Skip) {
                if current.isName("catalog") {
                    syntax.catalogs.append(try catalog())
                } else if current.isName("policy") {
                    syntax.policies.append(try policy())
                } else if current.isName("test") {
                    syntax.tests.append(try test())
                } else {
                    throw skip("`catalog`, `policy` or `test`")
                }
            } catch {
                advance()
                recover(to: ["catalog", "policy", "test"])
                if current.isSymbol("}") { advance() }
            }
        }
        return syntax
    }

    // MARK: Values

    mutating func value() throws(Skip) -> ValueSyntax {
        let start = current.range
        let first = try simpleValue()
        if current.isSymbol("...") {
            advance()
            let last = try simpleValue()
            return ValueSyntax(form: .span(first, last), range: start.union(last.range))
        }
        if case .path(let path) = first.form, take(symbol: "??") {
            let stand = try simpleValue()
            return ValueSyntax(form: .fallback(path, stand), range: start.union(stand.range))
        }
        return first
    }

    private mutating func simpleValue() throws(Skip) -> ValueSyntax {
        let token = current
        switch token.kind {
        case .text: return literal(.text(token.text))
        case .integer(let value): return literal(.integer(value))
        case .decimal(let value): return literal(.decimal(value))
        case .duration(let value): return literal(.duration(value))
        case .instant(let value): return literal(.instant(value))
        case .address(let value): return literal(.address(value))
        case .network(let value): return literal(.network(value))
        case .name: return try namedValue()
        case .symbol where token.text == "-": return try negative()
        case .symbol where token.text == "[":
            return try nested { (parser) throws(Skip) in try parser.list() }
        default: throw skip("a value", help: "a literal, an attribute such as user.department, or a list in [ ]")
        }
    }

    private mutating func literal(_ form: ValueSyntax.Form) -> ValueSyntax {
        let range = current.range
        advance()
        return ValueSyntax(form: form, range: range)
    }

    private mutating func negative() throws(Skip) -> ValueSyntax {
        let start = current.range
        advance()
        let token = current
        switch token.kind {
        case .integer(let value):
            advance()
            return ValueSyntax(form: .integer(-value), range: start.union(token.range))
        case .decimal(let value):
            advance()
            return ValueSyntax(form: .decimal(-value), range: start.union(token.range))
        default: throw skip("a number after `-`")
        }
    }

    private mutating func list() throws(Skip) -> ValueSyntax {
        let start = current.range
        advance()
        var values: [ValueSyntax] = []
        while !current.isSymbol("]") {
            values.append(try value())
            if !take(symbol: ",") { break }
        }
        try need(symbol: "]", in: "at the end of the list")
        return ValueSyntax(form: .list(values), range: start.union(lastRange))
    }

    private mutating func namedValue() throws(Skip) -> ValueSyntax {
        let start = current.range
        if current.text == "true" || current.text == "false" { return literal(.boolean(current.text == "true")) }
        if current.text == "count", following.isSymbol("(") {
            advance()
            advance()
            let path = try path()
            try need(symbol: ")", in: "after count")
            return ValueSyntax(form: .count(path), range: start.union(lastRange))
        }
        let path = try path()
        return ValueSyntax(form: .path(path), range: start.union(lastRange))
    }

    mutating func path() throws(Skip) -> [Name] {
        var path = [try name("a name")]
        while take(symbol: ".") { path.append(try name("an attribute's name after `.`")) }
        return path
    }
}
