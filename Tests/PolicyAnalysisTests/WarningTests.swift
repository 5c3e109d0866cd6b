// What the solver warns of: golden files of cases that the checker's syntactic look misses, and random policies, where
// nothing may be warned of that the reference has an example against.

import DecisionEngine
import Foundation
import PolicyLanguage
import TestSupport
import Testing

@testable import PolicyAnalysis

@Suite("exact warnings")
struct WarningTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    private static let names: [String] = {
        let path = folder.appending(path: "Warnings").path
        return ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).filter { $0.hasSuffix(".stile") }
            .map { String($0.dropLast(".stile".count)) }.sorted()
    }()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: folder.appending(path: path), encoding: .utf8)
    }

    @Test("a warning that the checker alone does not give is the one that was read and found good", arguments: names)
    func golden(_ name: String) throws {
        let files = [
            SourceFile(
                name: "catalog.stile", text: try Self.text("../PolicyLanguageTests/Mistakes/catalog.stile")),
            SourceFile(name: "\(name).stile", text: try Self.text("Warnings/\(name).stile")),
        ]
        let result = checkPolicies(files)
        #expect(result.diagnostics.isEmpty)
        let diagnostics = ExactWarnings.all(of: result)
        #expect(diagnostics.count == 1)
        let found = DiagnosticRenderer(files: files, usesColor: false).render(diagnostics)
        let expected = Self.folder.appending(path: "Warnings/\(name).expected")
        if ProcessInfo.processInfo.environment["STILE_RECORD"] == "1" {
            try found.write(to: expected, atomically: true, encoding: .utf8)
            return
        }
        #expect(
            found == (try? String(contentsOf: expected, encoding: .utf8)), "STILE_RECORD=1 renews the expected files")
    }

    @Test("there are golden files for each kind of warning")
    func count() {
        for kind in ["never", "hidden", "always", "duty"] {
            #expect(Self.names.contains { $0.hasPrefix(kind) })
        }
    }

    @Test("what the checker has told is not told again, and the examples are clean")
    func clean() throws {
        for folder in ["ledger", "github", "gdrive", "rbac", "abac", "step-up", "just-in-time", "contractors"] {
            let root = Self.folder.appending(path: "../../policies/\(folder)")
            let files = try FileManager.default.contentsOfDirectory(atPath: root.path).filter {
                $0.hasSuffix(".stile")
            }.sorted().map {
                SourceFile(name: $0, text: try String(contentsOf: root.appending(path: $0), encoding: .utf8))
            }
            let result = checkPolicies(files)
            let policies = try #require(result.policies)
            let exact = ExactWarnings(policies, known: result.diagnostics)
            #expect(exact.diagnostics.isEmpty, "\(folder): \(exact.diagnostics)")
            #expect(exact.unsettled == 0)
        }
        let text =
            try Self.text("../PolicyLanguageTests/Mistakes/catalog.stile") + """
                policy "P" { permit read on payrun when user.clearance > 4 and user.clearance < 2 }
                """
        let result = checkPolicies([SourceFile(name: "p.stile", text: text)])
        #expect(ExactWarnings.all(of: result).map(\.code) == [.neverMatches])
    }

    /// A finding about random policies, which have no text: the place of each rule is its number.
    private static func numbered(_ policies: CheckedPolicies) -> CheckedPolicies {
        var numbered = policies
        func place(_ number: Int) -> SourceRange {
            SourceRange(
                file: 0, start: Int32(number) * 1_000, end: Int32(number) * 1_000 + 999, line: Int32(number), column: 1)
        }
        var number = 0
        for index in numbered.roles.indices {
            number += 1
            numbered.roles[index].range = place(number)
            numbered.roles[index].condition = placed(numbered.roles[index].condition, place(number))
        }
        number = 1_000
        for index in numbered.rules.indices {
            numbered.rules[index].range = place(number + index)
            numbered.rules[index].condition = placed(numbered.rules[index].condition, place(number + index))
        }
        // A test for each question that can be asked.
        for subject in numbered.catalog.subjectTypes {
            for (action, known) in numbered.catalog.actions.enumerated() {
                for resource in known.resourceTypes {
                    numbered.tests.append(
                        PolicyTest(
                            name: "", subjectType: subject, subject: [:], subjectID: "", groups: [], session: nil,
                            device: nil, action: action, actionProperties: [:], resourceType: resource, resourceID: "",
                            resource: [:], context: [:], now: 0, expected: .deny,
                            range: place(5_000 + numbered.tests.count)))
                }
            }
        }
        return numbered
    }

    private static func placed(_ condition: Condition, _ range: SourceRange) -> Condition {
        switch condition {
        case .constant: condition
        case .not(let inner): .not(placed(inner, range))
        case .all(let parts): .all(parts.map { placed($0, range) })
        case .any(let parts): .any(parts.map { placed($0, range) })
        case .test(let test, _): .test(test, range)
        }
    }

    @Test("of random policies, nothing is warned of that an example speaks against; and what never happens is found")
    func random() throws {
        let seed = TestSeed.next()
        print("seed \(seed)")
        var told: [DiagnosticCode: Int] = [:]
        for round in 0..<60 {
            var random = RandomPolicies(seed: seed &+ UInt64(round))
            let policies = Self.numbered(random.policies())
            let warnings = ExactWarnings(policies, known: [], budget: 20_000_000).diagnostics
            let interpreter = Interpreter(policies)
            for warning in warnings { told[warning.code, default: 0] += 1 }
            func isTold(_ rule: Int, _ code: DiagnosticCode) -> Bool {
                warnings.contains { $0.code == code && $0.range == policies.rules[rule].range }
            }
            for _ in 0..<200 {
                let situation = random.situation(policies.catalog)
                let verdict = interpreter.decide(situation)
                if verdict.kind == .error { continue }
                if verdict.matching.contains(where: { $0.key != .require && !$0.value.isEmpty }) {
                    let test = policies.tests.first {
                        $0.subjectType == situation.subjectType && $0.action == situation.action
                            && $0.resourceType == situation.resourceType
                    }
                    let isEmpty = warnings.contains { $0.code == .coversNothing && $0.range == test?.range }
                    #expect(!isEmpty, "seed \(seed &+ UInt64(round)): a rule matches what is said to match none")
                }
                for rule in verdict.matching.values.joined() {
                    #expect(!isTold(rule, .neverMatches), "seed \(seed &+ UInt64(round)): rule \(rule) matches")
                }
                guard verdict.kind != .forbidden, verdict.cause == .rules else { continue }
                for rule in verdict.matching[.permit] ?? [] {
                    #expect(!isTold(rule, .hiddenByForbid), "seed \(seed &+ UInt64(round)): permit \(rule) decides")
                }
            }
        }
        print("warnings: \(told)")
        for code in [DiagnosticCode.neverMatches, .hiddenByForbid, .coversNothing] {
            #expect(told[code, default: 0] > 0)
        }
    }

    @Test("a thousand rules are looked at within the budget")
    func thousand() throws {
        let rules = (0..<1_000).map { number in
            number % 10 == 0
                ? "forbid any on payrun to user when user.department == \"D\(number)\" unless device.compliant"
                : """
                permit read, approve on payrun to user in group "G\(number % 50)"
                  when user.department == "D\(number)" and resource.total <= \(number * 10) and user.clearance > \(number % 5)
                """
        }
        let text =
            try Self.text("../PolicyLanguageTests/Mistakes/catalog.stile")
            + "\npolicy \"P\" {\n\(rules.joined(separator: "\n"))\n}\n"
        let result = checkPolicies([SourceFile(name: "p.stile", text: text)])
        let policies = try #require(result.policies)
        let exact = ExactWarnings(policies, known: result.diagnostics)
        #expect(exact.diagnostics.isEmpty)
        #expect(exact.unsettled == 0)
        print("exact warnings of 1,000 rules: \(exact.steps) steps")
        #expect(exact.steps < ExactWarnings.defaultBudget / 2)
    }
}
