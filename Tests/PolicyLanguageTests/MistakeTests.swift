// Golden files: what an author reads after each mistake, word for word.
//
// `Mistakes/policies` has policies against the good `Mistakes/catalog.stile`, `Mistakes/catalogs` has catalogs, each
// with one mistake; `Mistakes/several` has files with many. Beside each stands what is said about it. After a change
// of the messages, STILE_RECORD=1 writes the expected files anew: read the difference as the author would.

import Foundation
import PolicyLanguage
import Testing

/// A text with a mistake, and what is to be said about it.
struct Mistake: Sendable, CustomTestStringConvertible {
    var folder: String
    var name: String

    var testDescription: String { "\(folder)/\(name)" }

    static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Mistakes")
    static let all = ["policies", "catalogs", "several"].flatMap { folder in
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path)) ?? []
        return names.filter { $0.hasSuffix(".stile") }.sorted().map {
            Mistake(folder: folder, name: String($0.dropLast(".stile".count)))
        }
    }

    static let isRecording = ProcessInfo.processInfo.environment["STILE_RECORD"] == "1"

    var expected: URL { Self.root.appending(path: "\(folder)/\(name).expected") }

    func files() throws -> [SourceFile] {
        let url = Self.root.appending(path: "\(folder)/\(name).stile")
        let file = SourceFile(name: "\(name).stile", text: try String(contentsOf: url, encoding: .utf8))
        if folder == "catalogs" || file.text.hasPrefix("catalog ") { return [file] }
        let catalog = try String(contentsOf: Self.root.appending(path: "catalog.stile"), encoding: .utf8)
        return [SourceFile(name: "catalog.stile", text: catalog), file]
    }

    func diagnostics() throws -> [Diagnostic] { checkPolicies(try files()).diagnostics }
}

@Suite("mistakes")
struct MistakeTests {
    @Test("the message for a mistake is the one that was read and found good", arguments: Mistake.all)
    func golden(_ mistake: Mistake) throws {
        let found = DiagnosticRenderer(files: try mistake.files(), usesColor: false).render(try mistake.diagnostics())
        if Mistake.isRecording {
            try found.write(to: mistake.expected, atomically: true, encoding: .utf8)
            return
        }
        let expected = try? String(contentsOf: mistake.expected, encoding: .utf8)
        #expect(found == expected, "STILE_RECORD=1 renews the expected files")
    }

    @Test("one mistake gives one message, with a mark and with advice", arguments: Mistake.all)
    func oneEach(_ mistake: Mistake) throws {
        let diagnostics = try mistake.diagnostics()
        #expect(!diagnostics.isEmpty)
        if mistake.folder != "several" { #expect(diagnostics.count == 1) }
        for diagnostic in diagnostics {
            #expect(diagnostic.range.file >= 0 || diagnostic.code == .catalogCount)
            #expect(diagnostic.help?.isEmpty == false || diagnostic.code == .expected)
        }
    }

    @Test("there are many mistakes, and a file for what is expected of each, and no other file")
    func count() throws {
        #expect(Mistake.all.count >= 60)
        if Mistake.isRecording { return }
        for folder in ["policies", "catalogs", "several"] {
            let path = Mistake.root.appending(path: folder).path
            let expected = try FileManager.default.contentsOfDirectory(atPath: path).filter {
                $0.hasSuffix(".expected")
            }
            let names = Mistake.all.filter { $0.folder == folder }.map { "\($0.name).expected" }
            #expect(Set(expected) == Set(names))
        }
    }

    /// Codes that no golden file shows, with the reason.
    static let unshown: [DiagnosticCode: String] = [
        .tooManyMistakes: "two hundred messages are no reading; `tooMany` below looks at it"
    ]

    @Test("after very many mistakes the rest is not told, and that is said")
    func tooMany() throws {
        let rules = (0..<300).map { "  permit reed on payrun as \"\($0)\"\n" }.joined()
        let catalog = try String(contentsOf: Mistake.root.appending(path: "catalog.stile"), encoding: .utf8)
        let result = checkPolicies([
            SourceFile(name: "catalog.stile", text: catalog),
            SourceFile(name: "many.stile", text: "policy \"P\" {\n\(rules)}\n"),
        ])
        #expect(result.diagnostics.count == LanguageLimits.maxDiagnostics + 1)
        #expect(result.diagnostics.last?.code == .tooManyMistakes)
    }

    @Test("every code is shown by a golden file, or it is said why not")
    func everyCode() throws {
        let shown = Set(try Mistake.all.flatMap { try $0.diagnostics().map(\.code) })
        for code in DiagnosticCode.allCases {
            #expect(shown.contains(code) != (Self.unshown[code] != nil), "\(code.rawValue) \(code)")
        }
    }

    @Test("the good catalog has no finding")
    func catalog() throws {
        let text = try String(contentsOf: Mistake.root.appending(path: "catalog.stile"), encoding: .utf8)
        #expect(checkPolicies([SourceFile(name: "catalog.stile", text: text)]).diagnostics.isEmpty)
    }

    @Test("every code is explained, in words of its own", arguments: DiagnosticCode.allCases)
    func explained(_ code: DiagnosticCode) {
        #expect(code.title != code.rawValue)
        #expect(!code.explanation.isEmpty)
        #expect(code.explanation.hasSuffix(".") || code.explanation.hasSuffix("`"))
        let same = DiagnosticCode.allCases.filter { $0.title == code.title || $0.explanation == code.explanation }
        #expect(same == [code])
    }
}
