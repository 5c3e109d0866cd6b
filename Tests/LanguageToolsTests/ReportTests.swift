// `stile check` for programs: golden files of both forms, and the structure that SARIF 2.1.0 asks for.
//
// After a change of the forms, STILE_RECORD=1 writes the golden files anew: read the difference as a consumer would.

import Foundation
import LanguageTools
import PolicyLanguage
import StrictJSON
import Testing

/// A tenant with one finding of each sort: advice, related places, a range of several lines, letters beyond ASCII, a tab.
enum ReportSample {
    static let files = [
        SourceFile(
            name: "catalog.stile",
            text: """
                catalog "ledger" version 1.0.0 {
                  entity user { name: string = "" }
                  entity payrun { total: decimal }
                  action read on payrun
                }

                """),
        SourceFile(
            name: "päy roll.stile",
            text: """
                policy "P" {
                  role r is user.nam == "😀" and user.name == "x"
                \trole r is user.name == "é" and 1
                  permit read on payrun as "a" to user when "😀" == user.nam
                  permit
                    read on payrun
                    as "a" to user
                    when user.name == 1
                }

                """),
    ]

    static func report(_ files: [SourceFile] = files) -> DiagnosticReport {
        DiagnosticReport(
            files: files,
            locations: files.map { ArtifactLocation(path: "policies/\($0.name)", directory: "/home/ada") },
            diagnostics: checkPolicies(files).diagnostics, version: "1.2.3", exitCode: 1)
    }
}

@Suite("reports")
struct ReportTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Reports")
    private static let isRecording = ProcessInfo.processInfo.environment["STILE_RECORD"] == "1"

    private func golden(_ name: String, _ value: JSONValue) throws {
        let file = Self.folder.appending(path: name)
        if Self.isRecording {
            try value.pretty.write(to: file, atomically: true, encoding: .utf8)
            return
        }
        #expect(value.pretty == (try String(contentsOf: file, encoding: .utf8)))
    }

    @Test("the JSON document is the one that was read and found good")
    func json() throws {
        try golden("check.json", ReportSample.report().json(summary: [JSONMember("rules", .integer(0))]))
    }

    @Test("the SARIF log is the one that was read and found good")
    func sarif() throws {
        // Rules that nothing here breaks are left out, so that a new code does not change the golden file.
        try golden("check.sarif", Self.onlyUsedRules(ReportSample.report().sarif))
    }

    private static func onlyUsedRules(_ value: JSONValue) -> JSONValue {
        let used = Set(ReportSample.report().diagnostics.map(\.code.rawValue))
        switch value {
        case .array(let values): return .array(values.map(onlyUsedRules))
        case .object(let members):
            return .object(
                members.filter { $0.name != "ruleIndex" }.map { member in
                    guard member.name == "rules" else { return JSONMember(member.name, onlyUsedRules(member.value)) }
                    let rules = (member.value.array ?? []).filter { used.contains($0["id"]?.string ?? "") }
                    return JSONMember("rules", .array(rules))
                })
        default: return value
        }
    }

    @Test("a range covers the text it speaks of, whatever letters stand before it")
    func ranges() throws {
        let report = ReportSample.report()
        let diagnostics = try #require(report.json()["diagnostics"]?.array)
        var seen = 0
        for diagnostic in diagnostics {
            guard let range = diagnostic["range"], let name = diagnostic["file"]?.string else { continue }
            let text = try #require(report.files.first { $0.name == name }).text
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { Array($0.unicodeScalars) }
            func offset(_ place: JSONValue?) throws -> Int {
                let line = Int(try #require(place?["line"]?.integer)) - 1
                let column = Int(try #require(place?["column"]?.integer)) - 1
                let before = lines[..<line].reduce(0) { $0 + String.UnicodeScalarView($1).utf8Count + 1 }
                return before + String.UnicodeScalarView(lines[line][..<column]).utf8Count
            }
            #expect(try offset(range["start"]) == (range["start"]?["byte"]?.integer).map(Int.init))
            #expect(try offset(range["end"]) == (range["end"]?["byte"]?.integer).map(Int.init))
            seen += 1
        }
        #expect(seen >= 4)
    }

    @Test("the log has the structure of SARIF 2.1.0", arguments: [0, 1, 2])
    func structure(_ sample: Int) throws {
        let samples = [
            ReportSample.files, [],
            [SourceFile(name: "only.stile", text: "policy \"P\" { permit }")],
        ]
        let log = ReportSample.report(samples[sample]).sarif
        #expect(SARIFStructure.problems(log) == [])
        // Indices lead where they say.
        let run = try #require(log["runs"]?.array?.first)
        let rules = try #require(run["tool"]?["driver"]?["rules"]?.array)
        #expect(Set(rules.compactMap { $0["id"]?.string }).count == DiagnosticCode.allCases.count)
        let artifacts = try #require(run["artifacts"]?.array)
        let results = try #require(run["results"]?.array)
        #expect(!results.isEmpty)
        for result in results {
            let index = Int(try #require(result["ruleIndex"]?.integer))
            #expect(rules[index]["id"] == result["ruleId"])
            #expect(rules[index]["help"]?["text"]?.string?.isEmpty == false)
            for location in (result["locations"]?.array ?? []) + (result["relatedLocations"]?.array ?? []) {
                let place = try #require(location["physicalLocation"]?["artifactLocation"])
                let artifact = artifacts[Int(try #require(place["index"]?.integer))]
                #expect(artifact["location"]?["uri"] == place["uri"])
                #expect(place["uri"]?.string?.hasPrefix("/") == false)
            }
        }
    }

    @Test(
        "files below the directory get relative references, others file URIs",
        arguments: [
            ("a/b.stile", "a/b.stile", true), ("./a//b.stile", "a/b.stile", true),
            ("x/../a/ü%.stile", "a/%C3%BC%25.stile", true), ("/home/ada/a.stile", "a.stile", true),
            ("../bob/a.stile", "file:///home/bob/a.stile", false), ("/home/adam/a b", "file:///home/adam/a%20b", false),
            ("../../../../etc/x", "file:///etc/x", false),
        ])
    func locations(_ path: String, _ uri: String, _ isRelative: Bool) {
        let location = ArtifactLocation(path: path, directory: "/home/ada")
        #expect(location.uri == uri)
        #expect(location.isRelative == isRelative)
    }

    @Test(
        "a file URI gives back its path, another URI none",
        arguments: [
            ("file:///a/b%20c.stile", "/a/b c.stile"), ("FILE://localhost/%C3%BC", "/ü"), ("file:///a?q#f", "/a"),
            ("file://host/a", nil), ("http://x/a", nil), ("file:///%", nil), ("file:///%FF", nil), ("file:a", nil),
            ("untitled:Untitled-1", nil),
        ] as [(String, String?)])
    func fileURIs(_ uri: String, _ path: String?) {
        #expect(FileURI.path(uri) == path)
    }

    @Test("positions and offsets agree in every unit, and places outside are the nearest inside")
    func lineMap() {
        let text = "a😀é\r\n\n\tx\rlast"
        let units: [(ColumnUnit, [Int])] = [(.utf8, [1, 4, 2]), (.utf16, [1, 2, 1]), (.utf32, [1, 1, 1])]
        for (unit, widths) in units {
            let map = LineMap(text, unit: unit, endsAtReturns: true)
            #expect(map.lineCount == 4)
            var column = 0
            var byte = 0
            for (width, length) in zip(widths, [1, 4, 2]) {
                #expect(map.position(of: byte) == TextPosition(line: 0, column: column))
                #expect(map.offset(of: TextPosition(line: 0, column: column)) == byte)
                column += width
                byte += length
            }
            #expect(map.offset(of: TextPosition(line: 0, column: 99)) == 7)
            #expect(map.offset(of: TextPosition(line: 1, column: 5)) == 9)
            #expect(map.offset(of: TextPosition(line: 3, column: 0)) == 13)
            #expect(map.offset(of: TextPosition(line: 9, column: 0)) == map.bytes.count)
            #expect(map.offset(of: TextPosition(line: -1, column: -1)) == 0)
            #expect(map.position(of: 999) == TextPosition(line: 3, column: 4))
        }
        // Half of a pair of UTF-16 units, and the middle of a character's bytes, are its start.
        #expect(LineMap(text, unit: .utf16).offset(of: TextPosition(line: 0, column: 2)) == 1)
        #expect(LineMap(text, unit: .utf16).position(of: 3) == TextPosition(line: 0, column: 1))
        // The compiler ends lines at line feeds alone.
        #expect(LineMap(text, unit: .utf32).lineCount == 3)
    }
}

extension String.UnicodeScalarView {
    fileprivate init(_ scalars: some Sequence<Unicode.Scalar>) {
        self.init()
        append(contentsOf: scalars)
    }
    fileprivate var utf8Count: Int { String(self).utf8.count }
}
