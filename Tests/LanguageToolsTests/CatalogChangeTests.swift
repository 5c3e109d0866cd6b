// Every kind of change between two catalogs, each with its code, class and place.

import LanguageTools
import PolicyLanguage
import Testing

/// A catalog before and after, and what changes.
struct CatalogPair: Sendable, CustomTestStringConvertible {
    var before: String
    var after: String
    var codes: [CatalogChange.Code]

    init(_ before: String, _ after: String, _ codes: CatalogChange.Code...) {
        self.before = before
        self.after = after
        self.codes = codes
    }

    var testDescription: String { "\(codes)" }

    /// Each a catalog's content; `action a on e` and version 1.0.0 to 2.0.0 go without saying.
    static let all = [
        CatalogPair("", "entity f", .entityAdded),
        CatalogPair("entity f", "", .entityRemoved),
        CatalogPair("entity f", "subject entity f", .becameSubject),
        CatalogPair("subject entity f", "entity f", .noLongerSubject),
        CatalogPair("entity f entity g", "entity f in g entity g", .containerAdded),
        CatalogPair("entity f in g entity g", "entity f entity g", .containerRemoved),
        CatalogPair("entity f", "entity f { x: int? }", .attributeAdded),
        CatalogPair("entity f", "entity f { x: int }", .requiredAttributeAdded),
        CatalogPair("entity f { x: int }", "entity f", .attributeRemoved),
        CatalogPair("entity f { x: int }", "entity f { x: string }", .typeChanged),
        CatalogPair("entity f { x: set of int }", "entity f { x: int }", .typeChanged),
        CatalogPair("entity f { x: 0...5 }", "entity f { x: 0...9 }", .rangeWidened),
        CatalogPair("entity f { x: 0...5 }", "entity f { x: int }", .rangeWidened),
        CatalogPair("entity f { x: set of int }", "entity f { x: set of 0...5 }", .rangeNarrowed),
        CatalogPair("entity f { x: enum(a, b) }", "entity f { x: enum(b, a, c) }", .caseAdded),
        CatalogPair("entity f { x: enum(a, b, c) }", "entity f { x: enum(a, b) }", .caseRemoved),
        CatalogPair("entity f { x: enum(a < b < c) }", "entity f { x: enum(a < c < b) }", .orderChanged),
        CatalogPair("entity f { x: enum(a < b) }", "entity f { x: enum(a, b) }", .orderChanged),
        CatalogPair("entity f { x: enum(a, b) }", "entity f { x: enum(b < a) }", .orderAdded),
        CatalogPair("entity f { x: int }", "entity f { x: int = 1 }", .defaultAdded),
        CatalogPair("entity f { x: int = 1 }", "entity f { x: int }", .defaultRemoved),
        CatalogPair("entity f { x: int = 1 }", "entity f { x: int = 2 }", .defaultChanged),
        // The same default, though the enum numbers it differently.
        CatalogPair("entity f { x: enum(a, b) = b }", "entity f { x: enum(z, a, b) = b }", .caseAdded),
        CatalogPair("entity f { x: int }", "entity f { x: int? }", .becameOptional),
        CatalogPair("entity f { x: int? }", "entity f { x: int }", .noLongerOptional),
        CatalogPair("entity f { x: int from request }", "entity f { x: int from application, request }", .sourceAdded),
        CatalogPair(
            "entity f { x: int from application, request }", "entity f { x: int from request }", .sourceRemoved),
        CatalogPair(
            "entity f { x: int from application }", "entity f { x: int from application, request }", .requestAdded),
        CatalogPair(
            "signal user.x: int = 0 from caep \"a\", risc \"b\"", "signal user.x: int = 0 from risc \"b\", caep \"a\"",
            .sourceOrderChanged),
        CatalogPair(
            "signal user.x: int = 0 from caep \"a\" expires 1h", "signal user.x: int = 0 from caep \"a\" expires 2h",
            .lifetimeChanged),
        CatalogPair("entity f { x: int use authorization }", "entity f { x: int }", .useChanged),
        CatalogPair("", "action b on e", .actionAdded),
        CatalogPair("action b on e", "", .actionRemoved),
        CatalogPair("entity f action b on e", "entity f action b on e, f", .actionTypeAdded),
        CatalogPair("entity f action b on e, f", "entity f action b on e", .actionTypeRemoved),
        CatalogPair("action b on e", "action b on e { x: int }", .requiredAttributeAdded),
        CatalogPair("context { x: int }", "context { x: bool }", .typeChanged),
        CatalogPair("assurance a", "assurance a < b", .levelAdded),
        CatalogPair("assurance a < b", "assurance a", .levelRemoved),
        CatalogPair("assurance a < b < c", "assurance a < c, b < c", .levelOrderChanged),
        CatalogPair("assurance a < b unreachable b", "assurance a < b", .levelReachable),
        CatalogPair("assurance a < b", "assurance a < b unreachable b", .levelUnreachable),
        CatalogPair("assurance a", "assurance a issuer \"i\" { acr \"x\" = a }", .issuerAdded),
        CatalogPair("assurance a issuer \"i\" { acr \"x\" = a }", "assurance a", .issuerRemoved),
        CatalogPair("assurance a issuer \"i\" {}", "assurance a issuer \"i\" { acr \"x\" = a }", .acrAdded),
        CatalogPair("assurance a issuer \"i\" { acr \"x\" = a }", "assurance a issuer \"i\" {}", .acrRemoved),
        CatalogPair(
            "assurance a, b issuer \"i\" { acr \"x\" = a }", "assurance a, b issuer \"i\" { acr \"x\" = b }",
            .acrChanged),
        // A reordered catalog is the same.
        CatalogPair(
            "entity f { x: int y: int } entity g assurance a < b", "assurance a < b entity g entity f { y: int x: int }"
        ),
    ]

    func changes(versions: (String, String) = ("1.0.0", "2.0.0")) throws -> [CatalogChange] {
        func made(_ content: String, _ version: String) throws -> (Catalog, SymbolIndex) {
            // A declaration starts a line.
            let words = ["entity ", "subject entity ", "signal ", "action ", "context ", "assurance ", "issuer "]
            var text = " " + content
            for word in words {
                text = text.split(separator: " \(word)", omittingEmptySubsequences: false).joined(
                    separator: "\n\(word)")
            }
            text = text.split(separator: "subject\nentity", omittingEmptySubsequences: false).joined(
                separator: "subject entity")
            let file = SourceFile(
                name: "catalog.stile",
                text: "catalog \"c\" version \(version) {\n\(text)\nentity e\naction a on e\n}\n")
            let result = checkCatalog([file])
            let catalog = try #require(result.catalog, "\(file.text)\(result.diagnostics.map(\.message))")
            return (catalog, SymbolIndex([file]))
        }
        let (old, oldIndex) = try made(before, versions.0)
        let (new, newIndex) = try made(after, versions.1)
        return CatalogChange.changes(from: old, oldIndex, to: new, newIndex)
    }
}

@Suite("changes of a catalog")
struct CatalogChangeTests {
    @Test("a change has its code and its place", arguments: CatalogPair.all)
    func codes(_ pair: CatalogPair) throws {
        let changes = try pair.changes()
        #expect(changes.map(\.code) == pair.codes)
        for change in changes {
            #expect(change.range.line > 0, "\(change.code) has no place")
            #expect(!change.message.isEmpty && !change.code.advice.isEmpty && !change.subject.isEmpty)
        }
    }

    @Test("every code is shown, and none stands for two things")
    func everyCode() {
        let shown = Set(CatalogPair.all.flatMap(\.codes))
        let missing = CatalogChange.Code.allCases.filter { !shown.contains($0) }
        #expect(missing == [.catalogRenamed, .versionNotRaised])
        #expect(Set(CatalogChange.Code.allCases.map(\.rawValue)).count == CatalogChange.Code.allCases.count)
        #expect(CatalogChange.Code.attributeRemoved.title == "attribute removed")
    }

    @Test("a version that does not say what the changes do is told")
    func versions() throws {
        let breaking = CatalogPair("entity f", "", .entityRemoved)
        let compatible = CatalogPair("", "entity f", .entityAdded)
        #expect(try breaking.changes(versions: ("1.0.0", "1.1.0")).map(\.code).last == .versionNotRaised)
        #expect(try breaking.changes(versions: ("1.9.0", "2.0.0")).map(\.code) == [.entityRemoved])
        #expect(try compatible.changes(versions: ("1.9.0", "1.10.0")).map(\.code) == [.entityAdded])
        #expect(try compatible.changes(versions: ("1.0.0", "1.0.0")).map(\.code).last == .versionNotRaised)
        #expect(try CatalogPair("", "").changes(versions: ("1.0.0", "1.0.0")).isEmpty)
    }
}
