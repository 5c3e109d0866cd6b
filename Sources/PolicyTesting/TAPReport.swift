// The report as TAP, the Test Anything Protocol, version 14 (https://testanything.org/tap-version-14-specification.html).

import PolicyLanguage
import StrictJSON

extension TestReport {
    /// The report as lines of TAP; what failed has a block of YAML.
    package var tap: String {
        let bars = bar > 0 ? measures : []
        var text = "TAP version 14\n1..\(run.results.count + bars.count)\n"
        for (index, result) in run.results.enumerated() {
            text += point(index + 1, result.passed, result.test.name)
            if result.passed { continue }
            text += yaml([
                ("message", Self.quoted("expected \(expected(result)), found \(result.found)")),
                ("severity", "fail"), ("expected", Self.quoted(expected(result))), ("found", Self.quoted(result.found)),
                ("at", "\n    file: \(Self.quoted(file(result.test.range)))\n    line: \(result.test.range.line)"),
                ("rules", Self.list(rules(result).map { "\($0.name), \($0.file):\($0.line)" })),
                ("duration_ms", Self.milliseconds(result.duration)),
            ])
        }
        for (index, measure) in bars.enumerated() {
            let passed = measure.percent >= bar
            text += point(run.results.count + index + 1, passed, "tests reach \(bar) % of the \(measure.name)")
            if passed { continue }
            text += yaml([
                ("message", Self.quoted("\(measure.text) (\(measure.percent) %)")), ("severity", "fail"),
                ("missing", Self.list(measure.missing)),
            ])
        }
        for measure in measures { text += "# \(measure.text) covered (\(measure.percent) %)\n" }
        return text
    }

    private func point(_ number: Int, _ passed: Bool, _ description: String) -> String {
        // `#` would begin a directive, and a line ends the point.
        var escaped = ""
        for scalar in description.unicodeScalars {
            switch scalar {
            case "\\", "#": escaped += "\\\(scalar)"
            case _ where scalar.properties.generalCategory == .control: escaped += " "
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return "\(passed ? "ok" : "not ok") \(number) - \(escaped)\n"
    }

    private func yaml(_ pairs: [(String, String)]) -> String {
        "  ---\n" + pairs.map { "  \($0):\($1.hasPrefix("\n") ? "" : " ")\($1)\n" }.joined() + "  ...\n"
    }

    private static func list(_ items: [String]) -> String {
        items.isEmpty ? "[]" : items.map { "\n    - \(quoted($0))" }.joined()
    }

    /// A JSON string is one of YAML 1.2 as well.
    private static func quoted(_ text: String) -> String { JSONValue.string(text).compact }

    private static func milliseconds(_ duration: Duration) -> String {
        let micros = duration.components.seconds * 1_000_000 + duration.components.attoseconds / 1_000_000_000_000
        let fraction = String(micros % 1_000)
        return "\(micros / 1_000).\(String(repeating: "0", count: 3 - fraction.count))\(fraction)"
    }
}
