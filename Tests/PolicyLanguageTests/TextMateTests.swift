// The editors' grammar (grammar/stile.tmLanguage.json) knows every word and sign of the language, and cuts text where the
// lexer does.

import Foundation
import Testing

@testable import PolicyLanguage

/// A reader of TextMate grammars, as far as ours goes: patterns that match within a line, and a begin with its end.
struct TextMateGrammar {
    private struct Rule {
        var scope: String
        var match: NSRegularExpression
        /// For a begin: its end, and what is looked for inside.
        var end: NSRegularExpression?
        var inner: [NSRegularExpression] = []
    }

    private var rules: [Rule] = []

    struct Problem: Error, CustomStringConvertible { var description: String }

    static let stile: Result<TextMateGrammar, any Error> = Result {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../grammar/stile.tmLanguage.json")
        return try TextMateGrammar(try Data(contentsOf: file))
    }

    private init(_ data: Data) throws {
        guard let root = try JSONSerialization.jsonObject(with: data) as? [String: Any],
            let repository = root["repository"] as? [String: [String: Any]],
            let patterns = root["patterns"] as? [[String: Any]], root["scopeName"] as? String == "source.stile"
        else { throw Problem(description: "no grammar of source.stile") }
        func add(_ pattern: [String: Any]) throws {
            if let name = pattern["include"] as? String {
                guard let found = repository[String(name.dropFirst())] else {
                    throw Problem(description: "nothing is called \(name)")
                }
                return try add(found)
            }
            if let match = (pattern["match"] ?? pattern["begin"]) as? String, let scope = pattern["name"] as? String {
                let inner = (pattern["patterns"] as? [[String: Any]] ?? []).compactMap { $0["match"] as? String }
                rules.append(
                    Rule(
                        scope: scope, match: try NSRegularExpression(pattern: match),
                        end: try (pattern["end"] as? String).map { try NSRegularExpression(pattern: $0) },
                        inner: try inner.map { try NSRegularExpression(pattern: $0) }))
                return
            }
            guard let parts = pattern["patterns"] as? [[String: Any]] else {
                throw Problem(description: "a pattern that matches nothing: \(pattern)")
            }
            for part in parts { try add(part) }
        }
        for pattern in patterns { try add(pattern) }
    }

    /// The scope of each UTF-16 unit of a line, and where each piece starts.
    func scopes(of line: String) -> (scopes: [String], starts: Set<Int>) {
        let length = line.utf16.count
        var scopes = [String](repeating: "", count: length)
        var starts = Set<Int>()
        var next = [NSRange?](repeating: NSRange(location: -1, length: 0), count: rules.count)
        var place = 0
        while place < length {
            var best: (rule: Int, range: NSRange)?
            for index in rules.indices {
                if let known = next[index], known.location < place {
                    next[index] = Self.find(rules[index].match, in: line, from: place, length)
                }
                if let found = next[index], found.location < best?.range.location ?? .max { best = (index, found) }
            }
            guard let (rule, range) = best, range.length > 0 else { break }
            var end = range.location + range.length
            if let closing = rules[rule].end { end = Self.end(closing, rules[rule].inner, in: line, from: end, length) }
            for unit in range.location..<end { scopes[unit] = rules[rule].scope }
            starts.insert(range.location)
            place = end
        }
        return (scopes, starts)
    }

    private static func end(
        _ closing: NSRegularExpression, _ inner: [NSRegularExpression], in line: String, from start: Int, _ length: Int
    ) -> Int {
        var place = start
        while true {
            guard let end = find(closing, in: line, from: place, length) else { return length }
            let inside = inner.compactMap { find($0, in: line, from: place, length) }.min { $0.location < $1.location }
            guard let inside, inside.location < end.location else { return end.location + end.length }
            place = inside.location + inside.length
        }
    }

    private static func find(
        _ expression: NSRegularExpression, in line: String, from place: Int, _ length: Int
    ) -> NSRange? {
        expression.firstMatch(
            in: line, options: [.withTransparentBounds, .withoutAnchoringBounds],
            range: NSRange(location: place, length: length - place))?.range
    }
}

@Suite("the editors' grammar")
struct TextMateTests {
    /// The scope that a token has to have, by what the lexer says it is.
    private static func scope(_ token: Token, words: Set<String>) -> String {
        switch token.kind {
        case .comment: "comment.line"
        case .text: "string.quoted"
        case .integer: "constant.numeric.integer"
        case .decimal: "constant.numeric.decimal"
        case .duration: "constant.numeric.duration"
        case .instant: "constant.other.instant"
        case .address: "constant.other.address"
        case .network: "constant.other.network"
        case .version: "constant.other.version"
        case .symbol:
            ["{", "}", "(", ")", "[", "]", ",", ":", "."].contains(token.text) ? "punctuation" : "keyword.operator"
        case .name: words.contains(token.text) ? "a word's" : "variable or support"
        case .end: ""
        }
    }

    private static func fits(_ scope: String, _ wanted: String) -> Bool {
        let ofWords = ["keyword.", "storage.", "constant.language.", "support."]
        return switch wanted {
        case "a word's": ofWords.contains { scope.hasPrefix($0) }
        case "variable or support": scope.hasPrefix("variable.") || scope.hasPrefix("support.type.")
        default: scope.hasPrefix(wanted)
        }
    }

    /// Tokens that the grammar colours in another way than the lexer has them.
    static func mistakes(in text: String, _ grammar: TextMateGrammar, words: Set<String>) -> [String] {
        let bytes = Array(text.utf8)
        var lines: [(start: Int, scopes: [String], starts: Set<Int>)] = []
        var start = 0
        for line in text.utf8.split(separator: 0x0a, omittingEmptySubsequences: false) {
            let found = grammar.scopes(of: String(Substring(line)))
            lines.append((start, found.scopes, found.starts))
            start += line.count + 1
        }
        var mistakes: [String] = []
        var sink = DiagnosticSink()
        let tokens = Lexer.tokens(of: SourceFile(name: "x.stile", text: text), index: 0, comments: true, &sink)
        for (index, token) in tokens.enumerated() where token.kind != .end {
            let line = lines[Int(token.range.line) - 1]
            func unit(_ byte: Int32) -> Int {
                String(decoding: bytes[line.start..<Int(byte)], as: UTF8.self).utf16.count
            }
            let (first, last) = (unit(token.range.start), unit(token.range.end))
            // A name right behind a point or before a colon is a property's, whatever word it is.
            let isProperty =
                token.kind == .name
                && (line.scopes[first].hasPrefix("variable.other.property")
                    && (index > 0 && tokens[index - 1].isSymbol(".") || tokens[index + 1].isSymbol(":")))
            let wanted = scope(token, words: isProperty ? [] : words)
            let cut =
                line.starts.contains(first) && !(first + 1..<max(last, first + 1)).contains { line.starts.contains($0) }
            if !cut || !line.scopes[first..<last].allSatisfy({ fits($0, wanted) }) {
                mistakes.append("line \(token.range.line): `\(token.text)` is \(line.scopes[first]), not \(wanted)")
            }
        }
        return mistakes
    }

    @Test("every word and sign that the grammar spells out has a scope")
    func everyTerminal() throws {
        let grammar = try TextMateGrammar.stile.get()
        let language = try Grammar.stile.get()
        for literal in language.literals {
            let isWord = language.words.contains(literal)
            let signs: Set = ["{", "}", "(", ")", "[", "]", ",", ":", "."]
            let wanted = isWord ? "a word's" : signs.contains(literal) ? "punctuation" : "keyword.operator"
            let (scopes, starts) = grammar.scopes(of: literal)
            #expect(scopes.allSatisfy { Self.fits($0, wanted) }, "\(literal): \(Set(scopes))")
            #expect(starts == [0], "\(literal) is cut into \(starts.count)")
        }
        #expect(language.words.count > 70)
    }

    @Test("every token of every example is coloured as the lexer has it")
    func examples() throws {
        let grammar = try TextMateGrammar.stile.get()
        let words = try Grammar.stile.get().words
        let examples = GrammarTests.examples().filter { !$0.name.contains("benchmarks") }
        #expect(examples.count > 30)
        for example in examples {
            let mistakes = Self.mistakes(in: example.text, grammar, words: words)
            #expect(mistakes.isEmpty, "\(example.name): \(mistakes.prefix(3))")
        }
    }

    @Test("every token of random sentences is coloured as the lexer has it")
    func sentences() throws {
        let grammar = try TextMateGrammar.stile.get()
        let language = try Grammar.stile.get()
        let seed = GrammarTests.seed
        var generator = SentenceGenerator(language, seed: seed)
        for _ in 0..<60 {
            let sentence = generator.sentence()
            let mistakes = Self.mistakes(in: sentence, grammar, words: language.words)
            #expect(mistakes.isEmpty, "seed \(seed): \(mistakes.prefix(3))\n\(sentence)")
            if !mistakes.isEmpty { return }
        }
    }
}
