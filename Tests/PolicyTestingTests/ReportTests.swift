// Golden files: each form of the report on tests, word for word. STILE_RECORD=1 writes them anew; read the difference as
// its reader would.

import DecisionEngine
import Foundation
import PolicyLanguage
import StrictJSON
import Testing

@testable import PolicyTesting

@Suite("reports on tests")
struct ReportTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Reports")

    private func report(bar: Int) throws -> TestReport {
        let text = try String(contentsOf: Self.root.appending(path: "loans.stile"), encoding: .utf8)
        let policies = try #require(checkPolicies([SourceFile(name: "loans.stile", text: text)]).policies)
        var run = PolicyTestRunner(try compile(policies)).run(now: 1_767_614_400_000)
        for index in run.results.indices { run.results[index].duration = .microseconds(1_250) }
        return TestReport(policies, run, bar: bar, startedAt: 1_767_614_400_000, name: "policies/loans")
    }

    @Test("each form is the one that was read and found good", arguments: ["human", "json", "junit", "tap"])
    func golden(_ form: String) throws {
        let report = try report(bar: 90)
        let found =
            switch form {
            case "human": report.human(usesColor: false)
            case "json": report.json
            case "junit": report.junit
            default: report.tap
            }
        let file = Self.root.appending(path: "loans.\(form)")
        if ProcessInfo.processInfo.environment["STILE_RECORD"] == "1" {
            try found.write(to: file, atomically: true, encoding: .utf8)
            return
        }
        #expect(found == (try String(contentsOf: file, encoding: .utf8)))
    }

    @Test("every line of the JSON form is a value that can be read")
    func jsonIsJSON() throws {
        let lines = try report(bar: 0).json.split(separator: "\n")
        let values = try lines.map { try JSONValue.parse(String($0)) }
        #expect(values.count == 5)
        #expect(values[4]["failed"]?.integer == 2)
    }

    @Test("without a bar, JUnit and TAP tell of the tests alone")
    func noBar() throws {
        let report = try report(bar: 0)
        #expect(report.tap.contains("\n1..4\n"))
        #expect(!report.junit.contains("<testsuite name=\"coverage\""))
        #expect(!report.isBelowBar)
    }
}
