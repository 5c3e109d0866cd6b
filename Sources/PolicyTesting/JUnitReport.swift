// The report as JUnit XML, in the form that continuous integration reads (the schema of Maven Surefire's reports, and
// `file` and `line` beside it, which GitLab and others show): a suite for each file of tests, a case for each test.

import PolicyLanguage

extension TestReport {
    /// The report as an XML document.
    package var junit: String {
        let files = testFiles
        let total = run.results.reduce(Duration.zero) { $0 + $1.duration }
        let coverageFailures = measures.filter { $0.percent < bar }.count
        let cases = run.results.count + (bar > 0 ? measures.count : 0)
        var xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        xml += "<testsuites"
        xml += attributes([
            ("name", name), ("tests", "\(cases)"), ("failures", "\(run.failed.count + coverageFailures)"),
            ("errors", "0"), ("skipped", "0"), ("time", total.secondsText),
        ])
        xml += ">\n"
        for file in files { xml += suite(file) }
        if bar > 0 { xml += coverageSuite }
        return xml + "</testsuites>\n"
    }

    /// Names of the files that hold tests, in the order of the text.
    private var testFiles: [String] {
        var files: [String] = []
        for result in run.results where files.last != file(result.test.range) { files.append(file(result.test.range)) }
        return files
    }

    private func suite(_ name: String) -> String {
        let results = run.results.filter { file($0.test.range) == name }
        let time = results.reduce(Duration.zero) { $0 + $1.duration }
        var xml = "  <testsuite"
        xml += attributes([
            ("name", name), ("tests", "\(results.count)"), ("failures", "\(results.filter { !$0.passed }.count)"),
            ("errors", "0"), ("skipped", "0"), ("time", time.secondsText),
            ("timestamp", Instant.format(startedAt)),
        ])
        xml += ">\n    <properties>\n"
        for measure in measures {
            xml += "      <property"
            xml += attributes([("name", "coverage.\(measure.name)"), ("value", "\(measure.percent)")])
            xml += "/>\n"
        }
        xml += "    </properties>\n"
        for result in results { xml += testCase(result) }
        return xml + "  </testsuite>\n"
    }

    private func testCase(_ result: PolicyTestResult) -> String {
        let file = file(result.test.range)
        var xml = "    <testcase"
        xml += attributes([
            ("name", result.test.name), ("classname", file), ("file", file), ("line", "\(result.test.range.line)"),
            ("time", result.duration.secondsText),
        ])
        if result.passed { return xml + "/>\n" }
        var text = "\(place(result.test.range))\nexpected: \(expected(result))\nfound:    \(result.found)\n"
        for rule in rules(result) { text += "rule:     \(rule.name), \(rule.file):\(rule.line)\n" }
        xml += ">\n      <failure"
        xml += attributes([
            ("message", "expected \(expected(result)), found \(result.found)"), ("type", "expectation"),
        ])
        return xml + ">\(Self.escaped(text))</failure>\n    </testcase>\n"
    }

    /// The bar as a suite of its own, so that whoever reads the cases alone sees that it was missed.
    private var coverageSuite: String {
        let failures = measures.filter { $0.percent < bar }.count
        var xml = "  <testsuite"
        xml += attributes([
            ("name", "coverage"), ("tests", "\(measures.count)"), ("failures", "\(failures)"), ("errors", "0"),
            ("skipped", "0"), ("time", Duration.zero.secondsText), ("timestamp", Instant.format(startedAt)),
        ])
        xml += ">\n"
        for measure in measures {
            xml += "    <testcase"
            xml += attributes([
                ("name", "tests reach \(bar) % of the \(measure.name)"), ("classname", "coverage"),
                ("time", Duration.zero.secondsText),
            ])
            if measure.percent >= bar {
                xml += "/>\n"
                continue
            }
            xml += ">\n      <failure"
            xml += attributes([("message", "\(measure.text) (\(measure.percent) %)"), ("type", "coverage")])
            xml += ">\(Self.escaped(measure.missing.joined(separator: "\n") + "\n"))</failure>\n    </testcase>\n"
        }
        return xml + "  </testsuite>\n"
    }

    private func attributes(_ pairs: [(String, String)]) -> String {
        pairs.map { " \($0)=\"\(Self.escaped($1, isAttribute: true))\"" }.joined()
    }

    /// Text for XML 1.0: its five entities; what the standard has no place for is shown as U+FFFD.
    private static func escaped(_ text: String, isAttribute: Bool = false) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&apos;"
            case "\n" where !isAttribute: escaped.unicodeScalars.append(scalar)
            // An attribute's white space would be read as spaces.
            case "\t", "\n", "\r": escaped += "&#\(scalar.value);"
            case _ where scalar.value < 0x20 || scalar.value == 0xfffe || scalar.value == 0xffff:
                escaped += "\u{fffd}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
