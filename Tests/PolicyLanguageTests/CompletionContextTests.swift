// Completion sees what the grammar allows: every word of an example is offered where it stands.

import Foundation
import Testing

@testable import PolicyLanguage

@Suite("completion")
struct CompletionContextTests {
    /// Words that name something where they stand, and are offered as such.
    private static let names: Set<String> = ["action", "assurance", "now", "session", "context", "subject"]

    @Test("every word of the language is offered where an example has it", arguments: Samples.files)
    func words(_ file: SourceFile) throws {
        let words = try Grammar.stile.get().words
        var sink = DiagnosticSink()
        var looked = 0
        let tokens = Lexer.tokens(of: file, index: 0, &sink)
        for (index, token) in tokens.enumerated() where token.kind == .name && words.contains(token.text) {
            // Names that are spelled like a word: an attribute's behind a point or before a colon.
            if index > 0, tokens[index - 1].isSymbol(".") || tokens[index + 1].isSymbol(":") { continue }
            let context = CompletionContext(file, at: Int(token.range.start))
            if Self.names.contains(token.text), !context.names.isEmpty { continue }
            #expect(
                context.words.contains(token.text),
                "\(file.name):\(token.range.line): `\(token.text)` is not in \(context.words.sorted())")
            looked += 1
        }
        #expect(looked > 30)
    }

    @Test("a word that is half written does not matter, and a number is not completed")
    func halfWritten() {
        let text = "policy \"P\" {\n  permit read on doc wh"
        let context = CompletionContext(SourceFile(name: "x", text: text), at: text.utf8.count)
        #expect(context.words.isSuperset(of: ["when", "to", "requires"]))
        #expect(context.wordStart == text.utf8.count - 2)
        #expect(context.item.map(\.text) == ["permit", "read", "on", "doc"])
        let number = "policy \"P\" { permit read on doc when user.level > 15"
        #expect(CompletionContext(SourceFile(name: "x", text: number), at: number.utf8.count).words.isEmpty)
    }

    @Test("any place of any text has a context", arguments: Samples.files)
    func everywhere(_ file: SourceFile) {
        for offset in stride(from: 0, through: file.text.utf8.count, by: 37) {
            let context = CompletionContext(file, at: offset)
            #expect(context.wordStart <= offset)
        }
        #expect(CompletionContext(SourceFile(name: "x", text: ""), at: 99).words == ["catalog", "policy", "test"])
        #expect(CompletionContext(SourceFile(name: "x", text: "é"), at: 1).names.isEmpty)
    }
}

@Suite("symbols")
struct SymbolIndexTests {
    private let index = SymbolIndex(Samples.files)

    private func lines(_ symbol: Symbol) -> [String] {
        index.places(of: symbol).map { "\(Samples.files[Int($0.range.file)].name):\($0.range.line)" }
    }

    @Test("names lead to their declarations and uses")
    func places() throws {
        #expect(index.brokenFiles.isEmpty)
        #expect(lines(.role("approver")) == ["payroll.stile:4", "payroll.stile:6", "payroll.stile:9"])
        #expect(lines(.attribute(.entity("user"), "department")).count == 4)
        let cases = index.places(of: .enumCase(.entity("user"), attribute: "risk", "medium"))
        #expect(cases.count == 2)
        #expect(cases.filter(\.isDeclaration).count == 1)
        // An attribute of a rule about any type is each type's.
        #expect(lines(.attribute(.action("delete"), "soft")).count == 2)
        let constant = try #require(index.constants(at: 900, file: 1).first)
        #expect(constant.name == "corporate")
        #expect(lines(constant).count == 2)
        #expect(index.declaration(of: .level("mfa"))?.line == 2)
        #expect(lines(.group("Payroll Approvers")).count == 2)
    }

    @Test("a text with mistakes has an index of what could be read")
    func mistakes() {
        let broken = SourceFile(
            name: "b.stile", text: "policy \"B\" {\n  role r is user.x ==\n  role s is role r\n permit")
        let index = SymbolIndex([Samples.catalog, broken])
        #expect(index.brokenFiles == [1])
        #expect(index.places(of: .role("r")).count == 1)
        #expect(index.roles == ["s"])
        #expect(SymbolIndex([]).outlines.isEmpty)
    }
}
