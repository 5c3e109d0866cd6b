// What a run of tests tells: the facts that all forms of the report share, the form for people and that for programs.

import DecisionEngine
package import PolicyLanguage
package import StrictJSON

/// A run of tests to be told of.
package struct TestReport: Sendable {
    package let policies: CheckedPolicies
    package let run: PolicyTestRun
    /// Per cent of rules and of conditions that is asked for; 0 asks for nothing.
    package let bar: Int
    /// When the run began, ms since the epoch.
    package let startedAt: Int64
    /// What JUnit and TAP call the whole.
    package let name: String

    package init(_ policies: CheckedPolicies, _ run: PolicyTestRun, bar: Int, startedAt: Int64, name: String) {
        self.policies = policies
        self.run = run
        self.bar = bar
        self.startedAt = startedAt
        self.name = name
    }

    /// The tests reach less than is asked for.
    package var isBelowBar: Bool { run.coverage.percent < bar }

    // MARK: Facts

    func file(_ range: SourceRange) -> String {
        policies.files.indices.contains(Int(range.file)) ? policies.files[Int(range.file)].name : ""
    }

    func place(_ range: SourceRange) -> String { "\(file(range)):\(range.line)" }

    func expected(_ result: PolicyTestResult) -> String { result.test.expected.text(policies.catalog.assurance) }

    /// The rules that decided, each with its place.
    func rules(_ result: PolicyTestResult) -> [(name: String, file: String, line: Int)] {
        result.rules.map { index in
            let rule = policies.rules[index]
            return (rule.name, file(rule.range), Int(rule.range.line))
        }
    }

    /// Coverage as the bar sees it: what is measured, per cent, how much of how much, and what is missing.
    var measures: [(name: String, percent: Int, text: String, missing: [String])] {
        let coverage = run.coverage
        let rules = coverage.uncoveredRules.map { index in
            "\(place(policies.rules[index].range)): rule \(policies.rules[index].name) never matches"
        }
        let conditions = coverage.missing.map { outcome in
            "\(place(outcome.atom.range)):\(outcome.atom.range.column): never \(outcome.truth): "
                + outcome.text(policies)
        }
        return [
            (
                "rules", coverage.rulePercent,
                "\(coverage.ruleCount - coverage.uncoveredRules.count) of \(coverage.ruleCount) rules", rules
            ),
            (
                "conditions", coverage.conditionPercent,
                "\(coverage.outcomeCount - coverage.missing.count) of \(coverage.outcomeCount) outcomes of conditions",
                conditions
            ),
        ]
    }

    // MARK: For people

    /// Each test, what no test reaches with its place in the text, and the sums.
    /// - Parameter usesColor: whether to use ANSI colours.
    package func human(usesColor: Bool) -> String {
        let text = findings(usesColor: usesColor)
        let paint: (String) -> String = { usesColor ? "\u{1b}[1;31m\($0)\u{1b}[0m" : $0 }
        let coverage = run.coverage
        let isAll = coverage.uncoveredRules.isEmpty && coverage.missing.isEmpty && coverage.impossible.isEmpty
        return text + (isAll ? "" : "\n") + sums(paint)
    }

    /// The same without the sums.
    package func findings(usesColor: Bool) -> String {
        func paint(_ text: String, _ style: String) -> String { usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text }
        var text = ""
        for result in run.results {
            text += result.passed ? paint("ok  ", "32") : paint("FAIL", "1;31")
            text += " \(result.test.name)\n"
            if result.passed { continue }
            text += "     \(place(result.test.range)): expected \(expected(result)), found \(result.found)\n"
            for rule in rules(result) { text += "     \(rule.name), \(rule.file):\(rule.line)\n" }
        }
        let renderer = DiagnosticRenderer(files: policies.files, usesColor: usesColor)
        for index in run.coverage.uncoveredRules {
            text += "\n" + paint("not reached", "1;33") + ": rule \(policies.rules[index].name) matches in no test\n"
            text += renderer.framed(policies.rules[index].range, color: "33")
        }
        for (outcome, isAlone) in byCondition(run.coverage.missing) {
            let never = isAlone ? "never \(outcome.truth)" : "never looked at"
            text += "\n" + paint(never, "1;33") + ": \(outcome.text(policies)), of \(outcome.owner(policies))\n"
            text += renderer.framed(outcome.atom.range, color: "33")
        }
        for (outcome, isAlone) in byCondition(run.coverage.impossible) {
            let always =
                isAlone ? "always \(!outcome.truth) where it is looked at" : "no question comes to look at this"
            text += "\n" + paint(always, "36") + ", so not counted: "
            text += "\(outcome.text(policies)), of \(outcome.owner(policies))\n"
            text += renderer.framed(outcome.atom.range, color: "36")
        }
        return text
    }

    /// Each condition once, with whether only one of its outcomes is among these.
    private func byCondition(_ outcomes: [PolicyCoverage.Outcome]) -> [(PolicyCoverage.Outcome, isAlone: Bool)] {
        var counts: [ConditionPlace: Int] = [:]
        for outcome in outcomes { counts[outcome.atom.place, default: 0] += 1 }
        var told = Set<ConditionPlace>()
        return outcomes.filter { told.insert($0.atom.place).inserted }.map { ($0, counts[$0.atom.place] == 1) }
    }

    private func sums(_ paint: (String) -> String) -> String {
        let failed = run.failed.count
        var text = "\(run.results.count - failed) passed, "
        text += failed == 0 ? "0 failed" : paint("\(failed) failed")
        let measures = measures.map { "\($0.text) covered (\($0.percent) %)" }
        text += "; " + measures.joined(separator: ", ") + "\n"
        if isBelowBar { text += paint("below the bar of \(bar) %") + "\n" }
        return text
    }

    // MARK: For programs

    /// JSON Lines: one value for each test, then one for the whole.
    package var json: String {
        var lines = run.results.map { json($0) }
        let coverage = run.coverage
        lines.append(
            .object([
                "passed": .integer(run.results.count - run.failed.count), "failed": .integer(run.failed.count),
                "rule_coverage": .integer(coverage.rulePercent),
                "condition_coverage": .integer(coverage.conditionPercent),
                "min_coverage": .integer(bar), "rules": .integer(coverage.ruleCount),
                "outcomes": .integer(coverage.outcomeCount),
                "uncovered": .array(coverage.uncoveredRules.map { .string(policies.rules[$0].name) }),
                "uncovered_rules": .array(
                    coverage.uncoveredRules.map { index in
                        .object(
                            [JSONMember("rule", .string(policies.rules[index].name))]
                                + json(policies.rules[index].range))
                    }),
                "uncovered_conditions": .array(coverage.missing.map { json($0) }),
                "constant_conditions": .array(coverage.impossible.map { json($0) }),
            ]))
        return lines.map { $0.compact + "\n" }.joined()
    }

    private func json(_ result: PolicyTestResult) -> JSONValue {
        .object([
            "test": .string(result.test.name), "place": .string(place(result.test.range)),
            "file": .string(file(result.test.range)), "line": .integer(result.test.range.line),
            "passed": .bool(result.passed), "expected": .string(expected(result)), "found": .string(result.found),
            "rules": .array(
                rules(result).map { rule in
                    .object(["rule": .string(rule.name), "file": .string(rule.file), "line": .integer(rule.line)])
                }),
            "seconds": .number(result.duration.secondsText),
        ])
    }

    /// An outcome with its place.
    package func json(_ outcome: PolicyCoverage.Outcome) -> JSONValue {
        .object(
            [
                JSONMember("condition", .string(outcome.text(policies))),
                JSONMember("of", .string(outcome.owner(policies))), JSONMember("never", .bool(outcome.truth)),
            ] + json(outcome.atom.range))
    }

    private func json(_ range: SourceRange) -> [JSONMember] {
        [
            JSONMember("file", .string(file(range))), JSONMember("line", .integer(range.line)),
            JSONMember("column", .integer(range.column)), JSONMember("start", .integer(range.start)),
            JSONMember("end", .integer(range.end)),
        ]
    }
}

extension Duration {
    /// Seconds with six digits.
    var secondsText: String {
        let micros = components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
        let fraction = String(micros % 1_000_000)
        return "\(micros / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
    }
}
