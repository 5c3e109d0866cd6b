// `stile fmt`: one layout for one meaning. Line breaks, spaces and optional commas are ours; words, comments and empty
// lines between rules are the author's.
//
// Rules of the layout: a declaration, rule or step has lines of its own. A rule stands on one line when it has no label,
// at most one clause, and fits; else each clause has its line. Attributes stand in one line when they are at most two,
// without clauses. What does not fit is broken at `or`, then at `and`, then between the elements of lists.

/// Why a file could not be formatted: it does not follow the grammar. Nothing was changed.
package struct FormatError: Error, Sendable {
    /// The mistakes.
    package var diagnostics: [Diagnostic]
}

/// The canonical layout of a file. Formatting what was formatted changes nothing.
/// - Throws: `FormatError` for text that does not parse.
package func format(_ file: SourceFile) throws(FormatError) -> String {
    var sink = DiagnosticSink()
    let marked = Parser.marks(of: file, &sink)
    if sink.hasErrors { throw FormatError(diagnostics: sink.sorted) }
    let tokens = Lexer.tokens(of: file, index: 0, comments: true, &sink)
    var formatter = Formatter(text: Array(file.text.utf8), tokens: tokens, marks: marked)
    return formatter.run()
}

/// What the parser found a token to be, where that decides about the layout.
enum LayoutMark: UInt8 {
    case none
    /// Begins a catalog, a policy or a test.
    case block
    /// Begins a declaration, a rule or a step: a line of its own.
    case item
    /// Begins an attribute, a value or a line of a table.
    case entry
    case clause
    case label
    case or
    case and
    /// Begins one of several duties.
    case deed
    /// A minus that makes a number negative.
    case sign
    /// A comma or colon that can be left out.
    case optional
}

private struct Formatter {
    private static let columns = 120

    /// A token with the comments around it.
    private struct Piece {
        var text: String
        var kind: Token.Kind
        var mark: LayoutMark
        var comments: [Comment] = []
        var trailing: String?
        /// An empty line before it, and its comments not counted.
        var isBlankBefore: Bool

        func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
        func isName(_ name: String) -> Bool { kind == .name && text == name }
    }

    private struct Comment {
        var text: String
        var isBlankBefore: Bool
    }

    private var pieces: [Piece] = []
    private var position = 0
    private typealias Document = LayoutDocument

    init(text: [UInt8], tokens: [Token], marks: [Int32: LayoutMark]) {
        var comments: [Comment] = []
        for token in tokens {
            let isBlank = token.breaksBefore > 1
            let spelling = String(decoding: text[Int(token.range.start)..<Int(token.range.end)], as: UTF8.self)
            if token.kind == .comment {
                if token.breaksBefore == 0, comments.isEmpty, let last = pieces.indices.last,
                    pieces[last].trailing == nil
                {
                    pieces[last].trailing = spelling
                } else {
                    comments.append(Comment(text: spelling, isBlankBefore: isBlank))
                }
                continue
            }
            let mark = marks[token.range.start] ?? .none
            // What is left out leaves its comments to what follows.
            if mark == .optional { continue }
            pieces.append(
                Piece(text: spelling, kind: token.kind, mark: mark, comments: comments, isBlankBefore: isBlank))
            comments = []
        }
    }

    mutating func run() -> String {
        var documents: [Document] = []
        while current.kind != .end {
            let isFirst = documents.isEmpty
            documents += itemComments(isFirst: isFirst, isBlock: true)
            documents.append(.hardLine(isBlank: current.comments.isEmpty ? !isFirst : current.isBlankBefore))
            documents += header()
        }
        documents += itemComments(isFirst: documents.isEmpty, isBlock: true)
        var printer = LayoutPrinter(limit: Self.columns)
        printer.print(documents, isBroken: true)
        return printer.output.isEmpty ? "" : printer.output + "\n"
    }

    private var current: Piece { pieces[position] }

    /// The comments before an item, each on its line.
    private func itemComments(isFirst: Bool, isBlock: Bool = false) -> [Document] {
        current.comments.enumerated().flatMap { index, comment in
            let isBlank = index == 0 ? !isFirst && (isBlock || comment.isBlankBefore) : comment.isBlankBefore
            return [Document.hardLine(isBlank: isBlank), Document(.comment(comment.text))]
        }
    }

    /// The current token; `hasComments` false where its comments are told before it.
    private mutating func take(hasComments: Bool = true) -> [Document] {
        let piece = current
        if position < pieces.count - 1 { position += 1 }
        var documents: [Document] = hasComments ? piece.comments.map { Document(.comment($0.text)) } : []
        documents.append(.text(piece.text))
        if let trailing = piece.trailing { documents.append(Document(.trailing(trailing))) }
        return documents
    }

    // MARK: Blocks and items

    /// A catalog, policy or test up to its closing brace.
    private mutating func header() -> [Document] {
        var documents = take(hasComments: false)
        while current.kind != .end, current.mark != .block {
            documents += joint(pieces[position - 1])
            if current.isSymbol("{") {
                documents += braces()
                break
            }
            documents += take()
        }
        return documents
    }

    /// What stands in braces, and the braces.
    private mutating func braces() -> [Document] {
        let isCustom = position > 0 && pieces[position - 1].isName("custom") && pieces[position - 1].mark == .deed
        let opening = take()
        var entries: [[Document]] = []
        var isBroken = current.mark == .item
        var count = 0
        var isTable = false
        while !current.isSymbol("}"), current.kind != .end {
            let comments = itemComments(isFirst: entries.isEmpty)
            let isBlank = current.isBlankBefore && !(entries.isEmpty && comments.isEmpty)
            let isItem = current.mark == .item
            if !isItem, current.isName("acr") { isTable = true }
            let start = position
            let content = isItem ? item() : entry(isCustom: isCustom)
            if !isItem, !isCustom, pieces[min(start + 1, pieces.count - 1)].isSymbol(":") {
                count += 1
                if pieces[start..<position].contains(where: { $0.mark == .clause }) { count += 1 }
            }
            if comments.isEmpty {
                entries.append([.hardLine(isBlank: isBlank)] + content)
            } else {
                entries.append(comments + [.hardLine(isBlank: isBlank)] + content)
                isBroken = true
            }
        }
        let last = itemComments(isFirst: entries.isEmpty)
        let closing = take(hasComments: false)
        if entries.isEmpty, last.isEmpty { return opening + closing }
        if isTable, entries.count > 1 { isBroken = true }
        // Two attributes, or one with clauses, stand in a line.
        if count > 2 { isBroken = true }
        if isBroken {
            return opening + [.nest(entries.flatMap { $0 } + last)] + [.hardLine()] + closing
        }
        let isList = count > 0 || isCustom
        var flat: [Document] = []
        for (index, entry) in entries.enumerated() {
            if index > 0, isList { flat.append(Self.comma) }
            flat.append(.line)
            flat += entry.dropFirst()
        }
        return [.group(opening + [.nest(flat + last), .line] + closing)]
    }

    private static let comma = Document(.flatText(","))

    /// A declaration, a rule or a step.
    private mutating func item() -> [Document] {
        let isRule = ["permit", "forbid", "require", "offer", "on"].contains(current.text)
        var head = take(hasComments: false)
        head += expression(after: pieces[position - 1])
        var clauses: [[Document]] = []
        var hasLabel = false
        while current.mark == .clause || current.mark == .label {
            let isLabel = current.mark == .label
            var clause = take()
            clause += expression(after: pieces[position - 1])
            if isLabel {
                // Right behind what the rule is about.
                hasLabel = true
                if clauses.isEmpty {
                    head += [.space] + clause
                } else {
                    clauses[clauses.count - 1] += [.space] + clause
                }
            } else {
                clauses.append(clause)
                while current.mark == .deed {
                    clauses[clauses.count - 1] += [
                        .nest([.hardLine()] + take() + expression(after: pieces[position - 1]))
                    ]
                }
            }
        }
        if clauses.isEmpty { return head }
        let lines = clauses.flatMap { [Document.line] + $0 }
        if isRule, hasLabel || clauses.count > 1 {
            return head + [.nest(clauses.flatMap { [Document.hardLine()] + $0 })]
        }
        return [.group(head + [.nest(lines)])]
    }

    /// An attribute, a value with its name, or a line of a table.
    private mutating func entry(isCustom: Bool) -> [Document] {
        var documents = take(hasComments: false)
        if isCustom { documents.insert(.text(":"), at: 1) }
        documents += expression(after: pieces[position - 1])
        var clauses: [Document] = []
        while current.mark == .clause {
            clauses.append(.line)
            clauses += take()
            clauses += expression(after: pieces[position - 1])
        }
        return clauses.isEmpty ? documents : [.group(documents + [.nest(clauses)])]
    }

    // MARK: Conditions and values

    /// Alternatives of conjunctions, or anything else up to the next clause or item.
    private mutating func expression(after previous: Piece, isInner: Bool = false) -> [Document] {
        var alternatives = [conjunction(after: previous, isInner)]
        while current.mark == .or {
            let word = current
            let before = take()
            var next = conjunction(after: word, isInner)
            next[0] = before + next[0]
            alternatives.append(next)
        }
        if alternatives.count == 1 { return Self.joined(alternatives[0], isInner) }
        // Within alternatives the parts of a conjunction are indented once more.
        return Self.joined(alternatives.map { Self.joined($0, false) }, isInner)
    }

    /// The parts that `and` joins.
    private mutating func conjunction(after previous: Piece, _ isInner: Bool) -> [[Document]] {
        var parts = [run(after: previous, isInner)]
        while current.mark == .and {
            let word = current
            let before = take()
            parts.append(before + run(after: word, isInner))
        }
        return parts
    }

    /// Parts that are each on a line when they do not fit into one; in brackets all begin in one column.
    private static func joined(_ parts: [[Document]], _ isInner: Bool) -> [Document] {
        if parts.count == 1 { return parts[0] }
        let rest = parts.dropFirst().flatMap { [Document.line] + $0 }
        return [.group(parts[0] + (isInner ? rest : [.nest(rest)]))]
    }

    /// Tokens up to a mark that begins something else, or a bracket that ends this.
    private mutating func run(after previous: Piece, _ isInner: Bool) -> [Document] {
        var documents: [Document] = []
        var previous = previous
        while current.kind != .end {
            switch current.mark {
            case .block, .item, .entry, .clause, .label, .or, .and: return documents
            case .deed where !previous.isName("then"): return documents
            case .none, .deed, .sign, .optional: break
            }
            if ["}", ")", "]"].contains(where: current.isSymbol) { return documents }
            documents += joint(previous, isInner: isInner)
            previous = current
            if current.isSymbol("{") {
                documents += braces()
            } else if current.isSymbol("(") || current.isSymbol("[") {
                documents += brackets()
            } else {
                documents += take()
            }
            previous = pieces[position - 1]
        }
        return documents
    }

    /// A condition in parentheses, the cases of an enum, the elements of a list.
    private mutating func brackets() -> [Document] {
        let opening = take()
        var inner: [Document] = [.softLine]
        inner += expression(after: pieces[position - 1], isInner: true)
        // Own-line comments before the bracket that ends it stand inside.
        inner += current.comments.map { Document(.comment($0.text)) }
        let closing = take(hasComments: false)
        return [.group(opening + [.nest(inner), .softLine] + closing)]
    }

    /// What stands between two tokens.
    private func joint(_ previous: Piece, isInner: Bool = false) -> [Document] {
        let token = current
        if [",", ":", ")", "]", ".", "?", "..."].contains(where: token.isSymbol) { return [] }
        if ["(", "[", ".", "..."].contains(where: previous.isSymbol) || previous.mark == .sign { return [] }
        if token.isSymbol("("), previous.isName("enum") || previous.isName("count") { return [] }
        return [previous.isSymbol(",") ? .fillLine(hanging: isInner ? 0 : 2) : .space]
    }
}
