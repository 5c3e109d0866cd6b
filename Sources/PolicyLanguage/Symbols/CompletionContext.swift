// What can stand at a place of a file, for completion: the parser reads up to there and notes what it looks for.

/// What a name can mean where one is missing.
package enum NameKind: Sendable, Hashable, CaseIterable {
    case entity, subjectType, action, role, level, method, type
    /// An attribute behind `user.` and the like.
    case attribute
    /// A value in a condition, a list or a default.
    case value
    /// The name of a value in a test or a custom duty.
    case field
    /// What a test gives.
    case given
}

/// What can stand at a place.
package struct CompletionContext: Sendable {
    /// Words of the language that the grammar allows there.
    package fileprivate(set) var words: Set<String> = []
    /// What names can be there.
    package fileprivate(set) var names: Set<NameKind> = []
    /// The rule, declaration or step up to the place, without the word that is being written.
    package private(set) var item: [ItemToken] = []
    /// Where the word that is being written starts, in bytes.
    package private(set) var wordStart: Int

    /// A token before the place.
    package struct ItemToken: Sendable, Hashable {
        package enum Kind: Sendable, Hashable { case name, text, symbol, other }

        package var kind: Kind
        package var text: String

        package func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
        package func isName(_ name: String) -> Bool { kind == .name && text == name }
    }

    /// - Parameter offset: in bytes of the file's text.
    package init(_ file: SourceFile, at offset: Int) {
        let bytes = Array(file.text.utf8)
        var start = max(0, min(offset, bytes.count))
        while start > 0, Self.isNamePart(bytes[start - 1]) { start -= 1 }
        wordStart = start
        if start < bytes.count, start < offset, (0x30...0x39).contains(bytes[start]) { return }
        let text = String(decoding: bytes[..<start], as: UTF8.self)
        var sink = DiagnosticSink()
        let tokens = Lexer.tokens(of: SourceFile(name: file.name, text: text), index: 0, comments: true, &sink)
        // Nothing is completed in a comment or in a text.
        let line = text.utf8.lastIndex(of: 0x0a).map { text.utf8.distance(from: text.startIndex, to: $0) } ?? -1
        if let last = tokens.dropLast().last, last.kind == .comment, Int(last.range.start) > line { return }
        if sink.diagnostics.contains(where: { $0.code == .unterminatedString && Int($0.range.start) > line }) { return }
        let (wanted, itemStart) = Parser.wanted(after: tokens.filter { $0.kind != .comment })
        words = wanted.words
        names = wanted.names
        item = tokens.filter { $0.kind != .comment }.dropFirst(itemStart).dropLast().map { token in
            let kind: ItemToken.Kind =
                switch token.kind {
                case .name: .name
                case .text: .text
                case .symbol: .symbol
                default: .other
                }
            return ItemToken(kind: kind, text: token.text)
        }
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
        default: false
        }
    }
}

/// What a parser looked for where its tokens end.
struct Wanted {
    var words = Set<String>()
    var names = Set<NameKind>()
    /// The production at the end has failed: what its callers look for is not there.
    var isOver = false
    /// The token that begins the item at hand.
    var itemStart = 0
}
