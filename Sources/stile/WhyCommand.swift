// `stile why`: a question's answer, explained.

import ArgumentParser
import DecisionEngine
import DecisionProtocol
import PolicyAnalysis
import PolicyLanguage
import StrictJSON

struct WhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Ask, and say why: what decided, what stood in the way of each rule, what would make it a permit.",
        discussion: """
            stile why policies/ledger '{"subject":{"type":"user","id":"ada"},
              "action":{"name":"read"},"resource":{"type":"payrun","id":"p1"},
              "session":"s-ada"}'
            stile why --store /var/lib/stile --tenant acme '{…}'

            For each rule whose types and action fit: whether it matches; if not, the conditions that came out otherwise, \
            where they stand, and the values that they read; if so, what of its demand the session does not prove. Then \
            the smallest sets of changes that would make the answer a permit: each was put into the question and decided \
            again. What the question is about never changes.

            Over --socket the daemon tells of the rules; values and changes need the policies, so a folder or --store.

            Exit codes: 0 permit; 1 deny; 2 step-up; 3 a question that is an error.
            """)

    @OptionGroup var options: AskOptions

    @Option(
        name: .customLong("max-changes"),
        help: "Things that change together in a suggestion, at most, beside a sign-in; 0 looks for none.")
    var maxChanges = 3

    func validate() throws {
        guard (0...5).contains(maxChanges) else { throw ValidationError("--max-changes is from 0 to 5") }
    }

    func run() throws {
        if options.socket != nil { return try Asking(options, explain: true).run() }
        let decider = try options.offlineDecider()
        defer { decider.close() }
        if let request = options.request {
            let (answer, why) = explain(try Asking.question(request, line: nil), decider)
            if options.output.json {
                print(WhyText.json(answer, why).compact)
            } else {
                Terminal.write(AnswerText.render(answer))
                if let why { Terminal.write(WhyText(why.policies, usesColor: Terminal.usesColor).write(why.why)) }
            }
            throw Asking.code(answer)
        }
        try Asking.forEachLine { line, number in
            let (answer, why) = explain(try Asking.question(line, line: number), decider)
            print(WhyText.json(answer, why).compact)
        }
    }

    private func explain(
        _ question: Question, _ decider: OfflineDecider
    ) -> (Answer, (policies: CheckedPolicies, why: Why)?) {
        let (answer, read) = decider.explained(question)
        guard let read else { return (answer, nil) }
        var limits = ChangeSearch.Limits()
        limits.together = maxChanges
        return (answer, (read.program.policies, Why(read.program, read.situation, limits: limits)))
    }
}

/// An explanation as a person reads it on 80 columns, and as JSON.
struct WhyText {
    private let policies: CheckedPolicies
    private let renderer: DiagnosticRenderer
    private let usesColor: Bool
    private static let columns = 80

    init(_ policies: CheckedPolicies, usesColor: Bool) {
        self.policies = policies
        self.usesColor = usesColor
        renderer = DiagnosticRenderer(files: policies.files, usesColor: usesColor, columns: Self.columns - 6)
    }

    private func paint(_ text: String, _ style: String) -> String {
        usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text
    }

    // MARK: For people

    /// What follows the answer itself.
    func write(_ why: Why) -> String {
        var text = ""
        for fault in why.faults { text += "\n" + wrapped("\(fault.name) \(fault.words)", indent: 2) }
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
        var text = wrapped("\(rule.kind) \(rule.name), \(place(rule.range)): \(mark)", indent: 2)
        if candidate.matches, let reason = rule.reason { text += wrapped("“\(reason)”", indent: 6) }
        for bound in candidate.unmet { text += wrapped("but it \(bound.words)", indent: 6) }
        for failed in candidate.failed {
            text += wrapped(failed.words, indent: 6)
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
                text += wrapped((index == 0 ? "- " : "and ") + change.words, indent: index == 0 ? 4 : 6)
            }
        }
        if let note = found.note { text += wrapped(note, indent: 4) }
        return text
    }

    /// Lines of at most 80 columns, broken between words.
    private func wrapped(_ text: String, indent: Int) -> String {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            let margin = lines.isEmpty ? indent : indent + 2
            if !line.isEmpty, margin + Self.width(line) + 1 + Self.width(String(word)) > Self.columns {
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

    private func place(_ range: SourceRange) -> String {
        policies.files.indices.contains(Int(range.file))
            ? "\(policies.files[Int(range.file)].name):\(range.line)" : "?"
    }

    // MARK: JSON

    /// The answer with all that is known of why.
    static func json(_ answer: Answer, _ why: (policies: CheckedPolicies, why: Why)?) -> JSONValue {
        var members = [JSONMember("answer", answer.json)]
        guard let (policies, why) = why else { return .object(members) }
        let text = WhyText(policies, usesColor: false)
        members += [
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
        return .object(members)
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
