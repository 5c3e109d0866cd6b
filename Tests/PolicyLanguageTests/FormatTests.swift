// `stile fmt`: one layout, the same meaning, every comment, and nothing left to do the second time.

import Foundation
import Testing

@testable import PolicyLanguage

@Suite("formatting")
struct FormatTests {
    private static func formatted(_ text: String) throws -> String {
        try format(SourceFile(name: "sentence.stile", text: text))
    }

    /// What the parser makes of a text, without places and without what it only concludes from them.
    private static func meaning(of text: String) -> String {
        var sink = DiagnosticSink()
        let syntax = Parser.parse(SourceFile(name: "sentence.stile", text: text), index: 0, &sink)
        var description = ""
        describe(syntax, &description)
        return description
    }

    private static func describe(_ value: Any, _ text: inout String) {
        if value is SourceRange { return }
        let mirror = Mirror(reflecting: value)
        if mirror.children.isEmpty {
            text += "\(value) "
            return
        }
        if mirror.displayStyle == .enum { text += "\(mirror.children.first?.label ?? "") " }
        text += "("
        for child in mirror.children where child.label != "isUncertain" {
            describe(child.value, &text)
            text += ", "
        }
        text += ") "
    }

    private static func comments(in text: String) -> [String] {
        var sink = DiagnosticSink()
        return Lexer.tokens(of: SourceFile(name: "", text: text), index: 0, comments: true, &sink)
            .filter { $0.kind == .comment }.map(\.text)
    }

    /// Checks what holds for every text that parses.
    private static func check(_ text: String, _ what: String) throws {
        let once = try formatted(text)
        let twice = try formatted(once)
        try #require(
            once == twice,
            "\(what): the second time changes it\n--- text\n\(text)\n--- once\n\(once)\n--- twice\n\(twice)")
        let isSame = meaning(of: text) == meaning(of: once)
        try #require(isSame, "\(what): the meaning changed\n--- text\n\(text)\n--- once\n\(once)")
        try #require(comments(in: text) == comments(in: once), "\(what): comments\n\(text)\n---\n\(once)")
        let isClean =
            !once.contains(" \n") && !once.contains("\n\n\n") && !once.contains("\t")
            && (once.isEmpty || once.hasSuffix("\n"))
        // Texts and comments of the author keep what they hold.
        if !text.contains("\t"), !text.contains("\"") { try #require(isClean, "\(what): untidy\n\(once)") }
    }

    @Test("every generated sentence keeps its meaning and its comments, and is done the first time")
    func sentences() throws {
        var generator = SentenceGenerator(try Grammar.stile.get(), seed: GrammarTests.seed)
        for number in 0..<GrammarTests.sentences {
            let sentence = generator.sentence()
            try Self.check(sentence, "seed \(GrammarTests.seed), sentence \(number)")
        }
    }

    @Test("the layout does not depend on the author's spaces and line breaks")
    func canonical() throws {
        var generator = SentenceGenerator(try Grammar.stile.get(), seed: GrammarTests.seed &+ 2)
        for number in 0..<GrammarTests.sentences {
            let tokens = generator.tokens()
            let one = try Self.formatted(tokens.joined(separator: " "))
            let other = try Self.formatted(generator.join(tokens, comments: false))
            // Empty lines between items are the author's.
            let lines = [one, other].map { $0.split(separator: "\n") }
            try #require(lines[0] == lines[1], "seed \(GrammarTests.seed), sentence \(number):\n\(one)\n---\n\(other)")
        }
    }

    @Test("every example keeps its meaning and its comments")
    func examples() throws {
        for (name, text) in GrammarTests.examples() { try Self.check(text, name) }
    }

    @Test("what does not parse is refused with its mistakes, and not changed")
    func refused() {
        #expect(throws: FormatError.self) { try Self.formatted("policy \"p\" { permit }") }
    }

    /// Layouts that people read and found good.
    @Test("layouts", arguments: ["rules", "catalog", "tests", "comments"])
    func golden(_ name: String) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Layouts")
        let text = try String(contentsOf: folder.appending(path: "\(name).stile"), encoding: .utf8)
        let expected = folder.appending(path: "\(name).expected")
        let found = try Self.formatted(text)
        if Mistake.isRecording {
            try found.write(to: expected, atomically: true, encoding: .utf8)
            return
        }
        #expect(
            found == (try? String(contentsOf: expected, encoding: .utf8)), "STILE_RECORD=1 renews the expected files")
    }
}
