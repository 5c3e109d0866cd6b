// A mistake in a catalog is told once, where it is: policies that use its words earn no message for it, and their own
// mistakes are told all the same.

import Foundation
import Testing

@testable import PolicyLanguage

@Suite("mistakes in catalogs")
struct CascadeTests {
    /// The files of every example tenant, its catalog first.
    private static func tenants() throws -> [[SourceFile]] {
        let root = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent().appending(
            path: "../../policies"
        ).standardized
        return try FileManager.default.contentsOfDirectory(atPath: root.path).sorted().compactMap { name in
            let folder = root.appending(path: name)
            guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else { return nil }
            let files = try names.filter { $0.hasSuffix(".stile") }.sorted {
                ($0 == "catalog.stile" ? 0 : 1, $0) < ($1 == "catalog.stile" ? 0 : 1, $1)
            }.map {
                SourceFile(
                    name: "\(name)/\($0)", text: try String(contentsOf: folder.appending(path: $0), encoding: .utf8))
            }
            return files.first?.name.hasSuffix("catalog.stile") == true ? files : nil
        }
    }

    /// The text with one token changed, missing or too many.
    private static func changed(
        _ text: String, _ numbers: inout SeededNumbers, _ literals: [String]
    ) -> (text: String, change: String) {
        let tokens = GrammarTests.tokens(of: text).filter { $0.kind != .end }
        let index = Int.random(in: 0..<tokens.count, using: &numbers)
        let (start, end) = (Int(tokens[index].range.start), Int(tokens[index].range.end))
        let bytes = Array(text.utf8)
        let token = Array(bytes[start..<end])
        let other = Array((literals.randomElement(using: &numbers) ?? "{").utf8)
        let (instead, what): ([UInt8], String) =
            switch Int.random(in: 0..<6, using: &numbers) {
            case 0: ([], "without")
            case 1: (token + Array(" ".utf8) + token, "twice")
            case 2: (token + Array("x".utf8), "with an x behind")
            case 3: (other, "\(String(decoding: other, as: UTF8.self)) instead of")
            case 4: (other + Array(" ".utf8) + token, "\(String(decoding: other, as: UTF8.self)) before")
            default:
                (
                    Array(GrammarTests.tokens(of: text)[Int.random(in: 0..<tokens.count, using: &numbers)].text.utf8),
                    "another token instead of"
                )
            }
        return (
            String(decoding: bytes[..<start] + instead + bytes[end...], as: UTF8.self),
            "\(what) `\(tokens[index].text)` in line \(tokens[index].range.line)"
        )
    }

    @Test("no mistake of one token in a catalog makes a message about a policy")
    func oneToken() throws {
        let tenants = try Self.tenants()
        #expect(tenants.count > 10)
        for files in tenants { #expect(!checkPolicies(files).diagnostics.contains { $0.severity == .error }) }
        let literals = try Grammar.stile.get().literals.sorted()
        var numbers = SeededNumbers(seed: GrammarTests.seed &+ 3)
        var broken = 0
        var messages = 0
        for round in 0..<GrammarTests.sentences * 8 {
            let files = tenants[round % tenants.count]
            let (text, change) = Self.changed(files[0].text, &numbers, literals)
            let catalog = SourceFile(name: files[0].name, text: text)
            if checkCatalog([catalog]).catalog != nil { continue }
            let errors = checkPolicies([catalog] + files.dropFirst()).diagnostics.filter { $0.severity == .error }
            broken += 1
            messages += errors.count
            let cascade = errors.first { $0.range.file > 0 }
            #expect(
                cascade == nil,
                "seed \(GrammarTests.seed), \(catalog.name) \(change): \(cascade.map { "\($0.code.rawValue) \($0.message)" } ?? "") after \(errors.map(\.message))"
            )
        }
        print("catalogs: \(broken) with a mistake, \(messages) messages (seed \(GrammarTests.seed))")
        #expect(broken > 100)
        // Most mistakes of one token are one message.
        #expect(Double(messages) < 1.3 * Double(broken))
    }

    /// Changes of one token that once made messages about policies, one of each kind.
    static let knownChanges: [(tenant: String, line: Int, token: String, instead: String)] = [
        ("contractors", 18, "{", ":"), ("contractors", 5, "{", "context {"), ("contractors", 12, "{", "context"),
        ("contractors", 15, ",", ") ,"), ("contractors", 18, "context", "doc context"),
        ("authzen-certification", 3, "{", "}"), ("authzen-certification", 6, "action", "doc"),
        ("authzen-search", 3, "{", "}"), ("authzen-search", 8, "}", "?"), ("authzen-gateway", 2, "{", "assurance"),
        ("authzen-gateway", 5, ",", ") ,"), ("data-residency", 13, "}", "?"), ("helpdesk", 10, "service", "device"),
        ("just-in-time", 5, "team", "elevation-granted"), ("hierarchy", 3, "in", "doc"),
    ]

    @Test("changes that once made messages about policies make none", arguments: CascadeTests.knownChanges.indices)
    func found(_ index: Int) throws {
        let (tenant, line, token, instead) = Self.knownChanges[index]
        let files = try #require(try Self.tenants().first { $0[0].name == "\(tenant)/catalog.stile" })
        let places = GrammarTests.tokens(of: files[0].text).filter { $0.range.line == line && $0.text == token }
        #expect(!places.isEmpty)
        let bytes = Array(files[0].text.utf8)
        for place in places.map(\.range) {
            let changed = bytes[..<Int(place.start)] + Array(instead.utf8) + bytes[Int(place.end)...]
            let catalog = SourceFile(name: files[0].name, text: String(decoding: changed, as: UTF8.self))
            let errors = checkPolicies([catalog] + files.dropFirst()).diagnostics.filter { $0.severity == .error }
            #expect(!errors.isEmpty)
            #expect(errors.allSatisfy { $0.range.file == 0 }, "\(errors.map(\.message))")
        }
    }

    @Test("with a mistake in the catalog, the mistakes of policies that do not hang on it are told")
    func others() {
        let catalog = """
            catalog "files" version 1.0.0 {
              entity user { level: int = 0  team: strng = "" }
              entity folder { name: string = ""  secret: bool frm request }
              entity file in folder { size: int  kind: enum(a, b) = c  name: string = "" }
              action read on file, folder
            }
            """
        let policy = """
            policy "P" {
              permit read on file
                when resource in folder "F" and resource.kind == d and user.team == 7 and resource.size > 3
              permit read on folder when resource.secret == 3
              permit reed on file
              permit read on file when resource.sise > 3 or user.level == "x"
            }
            """
        let diagnostics = checkPolicies([
            SourceFile(name: "catalog.stile", text: catalog), SourceFile(name: "policy.stile", text: policy),
        ]).diagnostics
        #expect(diagnostics.filter { $0.range.file == 0 }.map(\.code) == [.unknownType, .expected, .badDefault])
        #expect(
            diagnostics.filter { $0.range.file == 1 }.map(\.code) == [.unknownAction, .unknownAttribute, .typeMismatch])
    }
}
