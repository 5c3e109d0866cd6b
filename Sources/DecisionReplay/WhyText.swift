// An explanation for people and for programs.

import AnalysisReports
import DecisionEngine
package import DecisionProtocol
package import PolicyAnalysis
package import PolicyLanguage
package import StrictJSON

/// An explanation as a person reads it on 80 columns, and as JSON.
package struct WhyText {
    private let policies: CheckedPolicies
    private let renderer: DiagnosticRenderer
    private let usesColor: Bool

    package init(_ policies: CheckedPolicies, usesColor: Bool) {
        self.policies = policies
        self.usesColor = usesColor
        renderer = DiagnosticRenderer(files: policies.files, usesColor: usesColor, columns: TextWrapping.columns - 6)
    }

    private func paint(_ text: String, _ style: String) -> String {
        usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text
    }

    // MARK: For people

    /// What follows the answer itself.
    package func write(_ why: Why) -> String {
        var text = ""
        for fault in why.faults { text += "\n" + TextWrapping.wrapped("\(fault.name) \(fault.words)", indent: 2) }
        // What decided first, then in the order of the text.
        let order = why.candidates.sorted {
            (why.rules.contains($0.rule) ? 0 : 1, $0.rule) < (why.rules.contains($1.rule) ? 0 : 1, $1.rule)
        }
        for candidate in order { text += "\n" + write(candidate, isError: why.verdict.kind == .error) }
        return text + changes(why)
    }

    private func write(_ candidate: Why.Candidate, isError: Bool) -> String {
        let rule = policies.rules[candidate.rule]
        let mark =
            candidate.matches
            ? paint("matches", rule.kind == .forbid ? "31" : "32") : isError ? "would not match" : "does not match"
        var text = TextWrapping.wrapped("\(rule.kind) \(rule.name), \(place(rule.range)): \(mark)", indent: 2)
        if candidate.matches, let reason = rule.reason { text += TextWrapping.wrapped("“\(reason)”", indent: 6) }
        for bound in candidate.unmet { text += TextWrapping.wrapped("but it \(bound.words)", indent: 6) }
        for failed in candidate.failed {
            text += TextWrapping.wrapped(failed.words, indent: 6)
            let excerpt = renderer.framed(failed.range, color: "33")
            text += excerpt.split(separator: "\n").map { "      \($0)\n" }.joined()
        }
        return text
    }

    private func changes(_ why: Why) -> String {
        let found = why.changes
        if found.suggestions.isEmpty && found.note == nil { return "" }
        var text = "\n" + paint("  What would make it a permit", "1") + "\n"
        for suggestion in found.suggestions {
            for (index, change) in suggestion.changes.enumerated() {
                text += TextWrapping.wrapped((index == 0 ? "- " : "and ") + change.words, indent: index == 0 ? 4 : 6)
            }
        }
        if let note = found.note { text += TextWrapping.wrapped(note, indent: 4) }
        return text
    }

    private func place(_ range: SourceRange) -> String {
        policies.files.indices.contains(Int(range.file))
            ? "\(policies.files[Int(range.file)].name):\(range.line)" : "?"
    }

    // MARK: JSON

    /// The answer with all that is known of why.
    package static func json(_ answer: Answer, _ why: (policies: CheckedPolicies, why: Why)?) -> JSONValue {
        .object([JSONMember("answer", answer.json)] + (why.map { members($0.policies, $0.why) } ?? []))
    }

    /// All that is known of why.
    static func members(_ policies: CheckedPolicies, _ why: Why) -> [JSONMember] {
        let text = WhyText(policies, usesColor: false)
        return [
            JSONMember("outcome", why.outcome.json),
            JSONMember("rules", .array(why.rules.map { .object(text.rule($0)) })),
            JSONMember("candidates", .array(why.candidates.map { text.json($0) })),
            JSONMember(
                "faults",
                .array(why.faults.map { .object(["attribute": .string($0.name), "text": .string($0.words)]) })),
            JSONMember("changes", .array(why.changes.suggestions.map { text.json($0) })),
            JSONMember(
                "search",
                .object([
                    "places": .integer(why.changes.places), "sets": .integer(why.changes.looked),
                    "note": why.changes.note.map { .string($0) } ?? .null,
                ])),
        ]
    }

    private func rule(_ index: Int) -> [JSONMember] {
        let rule = policies.rules[index]
        return [JSONMember("rule", .string(rule.name)), JSONMember("kind", .string("\(rule.kind)"))] + json(rule.range)
    }

    private func json(_ range: SourceRange) -> [JSONMember] {
        guard policies.files.indices.contains(Int(range.file)) else { return [] }
        return [
            JSONMember("file", .string(policies.files[Int(range.file)].name)),
            JSONMember("line", .integer(range.line)), JSONMember("column", .integer(range.column)),
            JSONMember("start", .integer(range.start)), JSONMember("end", .integer(range.end)),
        ]
    }

    private func json(_ candidate: Why.Candidate) -> JSONValue {
        let failed = candidate.failed.map { failed in
            JSONValue.object(
                [
                    JSONMember("condition", .string(failed.text)), JSONMember("holds", .bool(failed.holds)),
                    JSONMember("text", .string(failed.words)),
                    JSONMember("values", .array(failed.values.map { json($0) })),
                ] + json(failed.range))
        }
        let unmet = candidate.unmet.map { bound in
            JSONValue.object(
                [JSONMember("bound", .string("\(bound.bound)")), JSONMember("text", .string(bound.words))]
                    + (bound.range.map { json($0) } ?? []))
        }
        return .object(
            rule(candidate.rule) + [
                JSONMember("matches", .bool(candidate.matches)), JSONMember("failed", .array(failed)),
                JSONMember("unmet", .array(unmet)),
            ])
    }

    private func json(_ value: Why.ReadValue) -> JSONValue {
        .object([
            "name": .string(value.name), "value": value.value.map { .string($0) } ?? .null,
            "remark": value.remark.map { .string($0) } ?? .null,
        ])
    }

    private func json(_ suggestion: ChangeSearch.Suggestion) -> JSONValue {
        let changes = suggestion.changes.map { change in
            JSONValue.object([
                "name": .string(change.name), "from": change.from.map { .string($0) } ?? .null,
                "to": change.to.map { .string($0) } ?? .null, "text": .string(change.words),
            ])
        }
        return .object([
            "changes": .array(changes),
            "test": .string(TestText(policies).write(suggestion.situation, name: "after the change", expect: .permit)),
        ])
    }
}

/// Text for a terminal.
enum TextWrapping {
    static let columns = 80

    /// Lines of at most 80 columns, broken between words.
    static func wrapped(_ text: String, indent: Int) -> String {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            let margin = lines.isEmpty ? indent : indent + 2
            if !line.isEmpty, margin + width(line) + 1 + width(String(word)) > columns {
                lines.append(line)
                line = String(word)
            } else {
                line += (line.isEmpty ? "" : " ") + word
            }
        }
        lines.append(line)
        return lines.enumerated().map { margin + ($0 == 0 ? "" : "  ") + $1 + "\n" }.joined()
    }

    /// Columns of a text, without the codes of colours.
    private static func width(_ text: String) -> Int {
        var count = 0
        var isCode = false
        for scalar in text.unicodeScalars {
            if scalar == "\u{1b}" { isCode = true }
            if !isCode { count += 1 }
            if scalar == "m" { isCode = false }
        }
        return count
    }
}
