// `stile fmt`: one layout for the same text. Spacing and indentation are ours; line breaks and comments are the
// author's, blank lines are joined to one.

/// Why a file could not be formatted: it does not follow the grammar. Nothing was changed.
package struct FormatError: Error, Sendable {
    /// The mistakes.
    package var diagnostics: [Diagnostic]
}

/// The canonical layout of a file. Formatting what was formatted changes nothing.
/// - Throws: `FormatError` for text that does not parse.
package func format(_ file: SourceFile) throws(FormatError) -> String {
    var sink = DiagnosticSink()
    _ = Parser.parse(file, index: 0, &sink)
    if sink.hasErrors { throw FormatError(diagnostics: sink.sorted) }
    var formatter = Formatter(file)
    return formatter.run()
}

private struct Formatter {
    private let bytes: [UInt8]
    private let tokens: [Token]
    private var output = ""
    private var depth = 0
    /// Depth of parentheses and brackets.
    private var inner = 0

    init(_ file: SourceFile) {
        bytes = Array(file.text.utf8)
        var sink = DiagnosticSink()
        tokens = Lexer.tokens(of: file, index: 0, comments: true, &sink)
    }

    mutating func run() -> String {
        var previous: Token?
        for (index, token) in tokens.enumerated() where token.kind != .end {
            if token.isSymbol("}") { depth = max(0, depth - 1) }
            if token.isSymbol(")") || token.isSymbol("]") { inner = max(0, inner - 1) }
            if let previous {
                separate(previous, token, next: index + 1 < tokens.count ? tokens[index + 1] : nil)
            }
            output += String(decoding: bytes[Int(token.range.start)..<Int(token.range.end)], as: UTF8.self)
            if token.isSymbol("{") { depth += 1 }
            if token.isSymbol("(") || token.isSymbol("[") { inner += 1 }
            previous = token
        }
        return output.isEmpty ? "" : output + "\n"
    }

    private static let clauses: Set<String> = [
        "to", "when", "unless", "requires", "because", "as", "for", "and", "or", "from", "doc", "use", "expires",
        "within", "using", "with", "unreachable", "then",
    ]

    private mutating func separate(_ previous: Token, _ token: Token, next: Token?) {
        if token.breaksBefore > 0 {
            let isBlank = token.breaksBefore > 1 && !previous.isSymbol("{") && !token.isSymbol("}")
            output += isBlank ? "\n\n" : "\n"
            // A word such as `use` can also name an attribute: then a colon follows.
            let isClause = token.kind == .name && Self.clauses.contains(token.text) && next?.isSymbol(":") != true
            let level = depth + (isClause && inner == 0 && depth > 0 ? 1 : 0) + inner
            output += String(repeating: "  ", count: level)
        } else if token.kind == .comment {
            output += "  "
        } else if needsSpace(previous, token) {
            output += " "
        }
    }

    private func needsSpace(_ previous: Token, _ token: Token) -> Bool {
        if [",", ":", ")", "]", ".", "?", "..."].contains(where: token.isSymbol) { return false }
        if ["(", "[", ".", "...", "-"].contains(where: previous.isSymbol) { return false }
        if token.isSymbol("(") { return !(previous.isName("enum") || previous.isName("count")) }
        return true
    }
}
