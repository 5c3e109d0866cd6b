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
    /// Braces open at `current`.
    private var depth = 0
    /// A role or a let had no name that could be read.
    var hasLostNames = false
    /// A block of attributes has no end, so that it may have swallowed declarations.
    var hasUnclosedAttributes = false
    /// Words of the catalog at hand may have been meant for something else: a brace was guessed, or words without quotes
    /// became a text.
    var hasGuessed = false
    /// Productions that failed so far.
    private(set) var skipped = 0
    /// What tokens are for the layout, by their first byte; nil when nobody asks.
    private var marks: [Int32: LayoutMark]?
    /// What was looked for where the tokens end; nil when nobody asks.
    private(set) var wanted: Wanted?

    /// A production that failed has reported why; its callers only skip.
    struct Skip: Error {}

    static func parse(_ source: SourceFile, index: Int, _ sink: inout DiagnosticSink) -> FileSyntax {
        let tokens = Lexer.tokens(of: source, index: index, &sink)
        var parser = Parser(tokens: tokens, sink: sink)
        let syntax = parser.file()
        sink = parser.sink
        return syntax
    }

    /// What the layout has to know of a file's tokens, by their first byte.
    static func marks(of source: SourceFile, _ sink: inout DiagnosticSink) -> [Int32: LayoutMark] {
        let tokens = Lexer.tokens(of: source, index: 0, &sink)
        var parser = Parser(tokens: tokens, sink: sink)
        parser.marks = [:]
        _ = parser.file()
        sink = parser.sink
        return parser.marks ?? [:]
    }

    /// What can follow these tokens, and which of them begins the item that they end in.
    static func wanted(after tokens: [Token]) -> (wanted: Wanted, itemStart: Int) {
        var parser = Parser(tokens: tokens, sink: DiagnosticSink())
        parser.wanted = Wanted()
        _ = parser.file()
        let wanted = parser.wanted ?? Wanted()
        return (wanted, wanted.itemStart)
    }

    private init(tokens: [Token], sink: DiagnosticSink) {
        self.tokens = tokens
        self.sink = sink
    }

    // MARK: Reading tokens

    var current: Token { tokens[position] }
    var following: Token { tokens[min(position + 1, tokens.count - 1)] }
    var lastRange: SourceRange { position > 0 ? tokens[position - 1].range : current.range }

    mutating func advance() {
        guard position < tokens.count - 1 else { return }
        if current.isSymbol("{") { depth += 1 }
        if current.isSymbol("}") { depth -= 1 }
        position += 1
    }

    /// Notes what the current token is for the layout.
    mutating func mark(_ mark: LayoutMark) {
        let place = current.range.start
        marks?[place] = mark
        if wanted != nil, mark == .item || mark == .block { wanted?.itemStart = position }
    }

    /// Notes what could stand here, when the tokens end here and somebody wants to know.
    mutating func want(_ names: NameKind?, words: some Sequence<String> = EmptyCollection<String>()) {
        guard let known = wanted, !known.isOver, current.kind == .end else { return }
        wanted?.words.formUnion(words)
        if let names { wanted?.names.insert(names) }
    }

    /// Notes words that could stand here.
    mutating func want(words: some Sequence<String>) { want(nil, words: words) }

    /// Notes the only word that can stand where the tokens end.
    mutating func wanting(_ word: String) -> Skip {
        want(words: CollectionOfOne(word))
        return skip("`\(word)`")
    }

    mutating func take(symbol: String) -> Bool {
        guard current.isSymbol(symbol) else { return false }
        advance()
        return true
    }

    /// Passes over a sign that can be left out.
    mutating func takeOptional(_ symbol: String) {
        if current.isSymbol(symbol) {
            mark(.optional)
            advance()
        }
    }

    mutating func take(word: String, mark: LayoutMark = .none) -> Bool {
        if wanted != nil { want(words: CollectionOfOne(word)) }
        guard current.isName(word) else { return false }
        if mark != .none { self.mark(mark) }
        advance()
        return true
    }

    /// What is missing at the end of a line is missing there: a mark on the next line would mislead. When the next
    /// line itself is the mistake, `isHere` puts the mark on it.
    func fail(_ expected: String, help: String? = nil, isHere: Bool = false) -> Diagnostic {
        var range = current.range
        var found = found
        if position > 0, current.kind == .end || (current.breaksBefore > 0 && !isHere) {
            let last = tokens[position - 1].range
            range = SourceRange(
                file: last.file, start: last.end, end: last.end, line: last.line,
                column: last.column + Int32(lastLength))
            if current.kind != .end { found += " on a new line" }
        }
        return Diagnostic(.expected, "expected \(expected), found \(found)", at: range, help: help)
    }

    /// The current token as a message names it.
    private var found: String {
        switch current.kind {
        case .end: return "the end of the file"
        case .text:
            let short = current.text.unicodeScalars.count > 40 ? "\(current.text.prefix(40))…" : current.text
            return "the text \"\(short)\""
        default: return "`\(current.text)`"
        }
    }

    /// The columns of the token before.
    private var lastLength: Int {
        let last = tokens[position - 1]
        return Int(last.range.end - last.range.start) - last.text.utf8.filter { $0 & 0xc0 == 0x80 }.count
    }

    mutating func skip(_ expected: String, help: String? = nil, isHere: Bool = false) -> Skip {
        let diagnostic = fail(expected, help: help, isHere: isHere)
        sink.report(diagnostic.code, diagnostic.message, at: diagnostic.range, help: diagnostic.help)
        return Skip()
    }

    mutating func need(symbol: String, in what: String, help: String? = nil) throws(Skip) {
        if !take(symbol: symbol) { throw skip("`\(symbol)` \(what)", help: help) }
    }

    /// The brace that opens a block; a block without it is read all the same when its content follows.
    mutating func open(_ what: String, for words: Set<String>) throws(Skip) {
        if take(symbol: "{") { return }
        let skip = skip("`{` \(what)")
        guard current.kind == .name, words.contains(current.text) else { throw skip }
        hasGuessed = true
        depth += 1
    }

    /// The brace that ends a block. When a block that cannot stand inside begins instead, the brace is missing:
    /// the block ends here all the same, and the answer is false.
    @discardableResult
    mutating func close(_ opening: SourceRange, _ what: String) -> Bool {
        if take(symbol: "}") { return true }
        if current.kind == .end { wanted?.isOver = true }
        let place = current.kind == .end ? "before the file ends" : "before line \(current.range.line)"
        sink.report(
            .unclosedBlock, "\(what) is not closed", at: opening, help: "its `}` is missing, \(place) at the latest")
        depth -= 1
        return false
    }

    /// True where the file's next catalog, policy or test begins, whatever braces are open.
    var isAtNextBlock: Bool {
        guard current.kind == .name, current.breaksBefore > 0, following.kind == .text, position + 2 < tokens.count
        else { return false }
        switch current.text {
        case "policy", "test": return tokens[position + 2].isSymbol("{")
        case "catalog": return tokens[position + 2].isSymbol("{") || tokens[position + 2].isName("version")
        default: return false
        }
    }

    mutating func need(word: String, in what: String, help: String? = nil, mark: LayoutMark = .none) throws(Skip) {
        if mark != .none { self.mark(mark) }
        if !take(word: word) { throw skip("`\(word)` \(what)", help: help) }
    }

    mutating func name(_ what: String, _ kind: NameKind? = nil) throws(Skip) -> Name {
        if wanted != nil { want(kind) }
        guard current.kind == .name else { throw skip(what) }
        defer { advance() }
        return Name(text: current.text, range: current.range)
    }

    mutating func text(_ what: String) throws(Skip) -> Name {
        if current.kind == .text {
            defer { advance() }
            return Name(text: current.text, range: current.range)
        }
        guard current.kind == .name, current.breaksBefore == 0 else {
            throw skip(what, help: "put it in double quotes")
        }
        // Words without quotes, up to the next word of the language: surely they were meant to be the text.
        let start = position
        var words: [String] = []
        repeat {
            words.append(current.text)
            advance()
        } while current.kind == .name && current.breaksBefore == 0 && !Self.joiningWords.contains(current.text)
        let end = position
        position = start
        hasGuessed = true
        let text = words.joined(separator: " ")
        let skip = skip(what, help: "write \"\(text)\"")
        let range = current.range.union(tokens[end - 1].range)
        position = end
        let isEnd = current.breaksBefore > 0 || current.isSymbol("{") || current.isSymbol("}")
        guard isEnd || current.kind == .end || current.kind == .name else { throw skip }
        return Name(text: text, range: range)
    }

    private static let joiningWords: Set<String> = [
        "and", "or", "when", "unless", "requires", "because", "as", "to", "version", "from", "use", "expires",
    ]

    mutating func duration(_ what: String) throws(Skip) -> Int64 {
        guard case .duration(let value) = current.kind else {
            var help = "write it as 15m, 8h or 7d"
            if case .integer(let count) = current.kind {
                help = "say the unit, as in \(count)m, \(count)h or \(count)d"
            }
            throw skip("a duration (\(what))", help: help)
        }
        advance()
        return value
    }

    mutating func names(_ what: String, _ kind: NameKind? = nil) throws(Skip) -> [Name] {
        var list = [try name(what, kind)]
        while take(symbol: ",") { list.append(try name(what, kind)) }
        return list
    }

    /// Reads the content of a block, one production after another. A production that failed is skipped to the next
    /// place at the block's own depth where another can start, or to the brace that ends the block.
    mutating func block(
        from isStart: (Parser) -> Bool, until isForeign: (Parser) -> Bool = { _ in false },
        words: Set<String> = [], names: NameKind? = nil,
        _ production: (inout Parser) throws(Skip) -> Void
    ) {
        let level = depth
        while !current.isSymbol("}"), current.kind != .end, !isAtNextBlock, !isForeign(self), !sink.isFull {
            let start = position
            do throws(Skip) {
                try production(&self)
            } catch {
                skipped += 1
                if current.kind == .end { wanted?.isOver = true }
                if position == start { advance() }
                while current.kind != .end, !isAtNextBlock, !isForeign(self) {
                    if depth <= level, current.isSymbol("}") || isStart(self) { break }
                    advance()
                }
            }
        }
        // Items begin on lines of their own.
        if wanted != nil, current.breaksBefore > 0 || tokens[max(0, position - 1)].isSymbol("{") || names != nil {
            want(names, words: words)
        }
    }

    /// True at the beginning of a line with one of these words.
    func isLine(of words: Set<String>) -> Bool {
        current.kind == .name && current.breaksBefore > 0 && words.contains(current.text)
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
        while current.kind != .end, !sink.isFull {
            depth = 0
            let start = position
            mark(.block)
            do throws(Skip) {
                if current.isName("catalog") {
                    let hasBrokenCatalog = syntax.hasBrokenCatalog
                    syntax.hasBrokenCatalog = true
                    syntax.catalogs.append(try catalog())
                    syntax.hasBrokenCatalog = hasBrokenCatalog
                } else if current.isName("policy") {
                    syntax.policies.append(try policy())
                } else if current.isName("test") {
                    syntax.tests.append(try test())
                } else {
                    throw misplaced(&syntax)
                }
            } catch {
                if current.kind == .end { wanted?.isOver = true }
                if position == start { advance() }
                while current.kind != .end, !isAtNextBlock { advance() }
            }
        }
        want(words: ["catalog", "policy", "test"])
        syntax.hasLostNames = hasLostNames
        return syntax
    }

    private mutating func misplaced(_ syntax: inout FileSyntax) -> Skip {
        // What stands behind a catalog that was closed too early is skipped, and declared things.
        if !syntax.catalogs.isEmpty, syntax.policies.isEmpty, syntax.tests.isEmpty { syntax.hasBrokenCatalog = true }
        if current.isSymbol("}") {
            sink.report(
                .strayBrace, "this `}` closes nothing", at: current.range,
                help: "remove it, or look for a `}` too many above")
            return Skip()
        }
        if Self.policyWords.contains(current.text), current.kind == .name {
            sink.report(
                .outsidePolicy, "`\(current.text)` stands outside of any policy", at: current.range,
                help: "put it into `policy \"name\" { … }`; perhaps a `}` above closes the policy too early")
            return Skip()
        }
        // Whatever this is, it may have been meant to be the catalog.
        syntax.hasBrokenCatalog = true
        let near = NearestName.find(current.text, among: ["catalog", "policy", "test"])
        return skip("`catalog`, `policy` or `test`", help: near.map { "did you mean `\($0)`?" }, isHere: true)
    }

    // MARK: Values

    mutating func value() throws(Skip) -> ValueSyntax {
        let start = current.range
        let first = try sum()
        if current.kind == .symbol, ["*", "/", "%"].contains(current.text) {
            sink.report(
                .foreignOperator, "conditions do not calculate with `\(current.text)`", at: current.range,
                help: "let the application send the result as an attribute of its own")
            throw Skip()
        }
        if current.isSymbol("...") {
            advance()
            let last = try sum()
            return ValueSyntax(form: .span(first, last), range: start.union(last.range))
        }
        return first
    }

    /// `now - 30d`, `resource.due + 2h`
    private mutating func sum() throws(Skip) -> ValueSyntax {
        var sum = try term()
        var length = 1
        while current.isSymbol("+") || current.isSymbol("-") {
            length += 1
            guard length <= LanguageLimits.maxNesting else {
                throw skip("at most \(LanguageLimits.maxNesting) terms", help: "add the durations up")
            }
            let subtract = current.isSymbol("-")
            advance()
            let term = try term()
            sum = ValueSyntax(form: .sum(sum, term, subtract: subtract), range: sum.range.union(term.range))
        }
        return sum
    }

    private mutating func term() throws(Skip) -> ValueSyntax {
        let start = current.range
        let first = try simpleValue()
        if case .path(let path) = first.form, take(symbol: "??") {
            let stand = try simpleValue()
            return ValueSyntax(form: .fallback(path, stand), range: start.union(stand.range))
        }
        return first
    }

    private mutating func simpleValue() throws(Skip) -> ValueSyntax {
        let token = current
        if wanted != nil { want(.value, words: ["true", "false", "count"]) }
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
        default:
            throw skip(
                "a value", help: "write a text, a number, an attribute such as user.department, or a list in [ ]")
        }
    }

    private mutating func literal(_ form: ValueSyntax.Form) -> ValueSyntax {
        let range = current.range
        advance()
        return ValueSyntax(form: form, range: range)
    }

    private mutating func negative() throws(Skip) -> ValueSyntax {
        let start = current.range
        mark(.sign)
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
            if values.count > LanguageLimits.maxListElements {
                sink.report(
                    .tooLarge, "a list of more than \(LanguageLimits.maxListElements) values", at: start,
                    help: "let the catalog have an attribute that says it, and compare that")
                throw Skip()
            }
            if current.isSymbol(","), following.isSymbol("]") { mark(.optional) }
            if !take(symbol: ",") { break }
        }
        if !take(symbol: "]") { throw skip("`,` or `]` after a value of the list") }
        return ValueSyntax(form: .list(values), range: start.union(lastRange))
    }

    private mutating func namedValue() throws(Skip) -> ValueSyntax {
        let start = current.range
        if isAtRule { throw skip("a value") }
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
        var path = [try name("a name", .value)]
        while take(symbol: ".") { path.append(try name("an attribute's name after `.`", .attribute)) }
        return path
    }
}
