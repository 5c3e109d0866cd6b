// `stile who`: who may do this.

import ArgumentParser
import AttributeStore
import DecisionPath
import DecisionProtocol
import PolicyLanguage
import StrictJSON
import Surveys

struct WhoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "who", abstract: "List who may do an action to a resource, at once or after a step-up.",
        discussion: """
            stile who policies/ledger approve '{"type":"payrun","id":"p1",
              "properties":{"total":90000,"status":"draft","created_by":"bob"}}'
            stile who --store /var/lib/stile --tenant acme read folder:litigation

            Every provisioned subject is asked about, on one snapshot and for one instant, by the code that answers \
            questions. Unless --session says otherwise, each is asked about with every live session that the store has of \
            it, and without one, and the best answer counts: permit, then step-up. Somebody who is not signed in and \
            would have to be is listed as "step up", with what is demanded; --session best lists as permitted whoever can \
            get there by signing in. A rule that reads the device sees the session's, unless --device names one.

            Each line: the outcome, who, what is demanded, the rules that decided, the session.

            Exit codes: 0 done; 65 the question does not fit the catalog; 66 and 70 as everywhere.
            """)

    @Argument(
        help: ArgumentHelp(
            "A tenant's folder (unless --store is given), the action, the resource.",
            discussion: "The action: its name, or JSON with name and properties. The resource: TYPE:ID, or JSON."))
    var arguments: [String]

    @OptionGroup var options: SurveyOptions

    @Flag(help: "List those who are denied too, with the reason.")
    var all = false

    @Option(help: "Subjects of this type alone.")
    var type: String?

    @Option(help: "Stop after listing this many; the last line says where to go on.")
    var limit: Int?

    @Option(help: "Go on behind this subject: TYPE:ID.")
    var after: String?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if arguments.count != (options.store == nil ? 3 : 2) {
            throw ValidationError(
                options.store == nil ? "name a folder, an action and a resource" : "name an action and a resource")
        }
        if let limit, limit < 1 { throw ValidationError("--limit is at least 1") }
    }

    func run() throws {
        let (folder, rest) = options.split(arguments)
        let question = try QuestionParts.question(
            action: QuestionParts.action(rest[0]), resource: QuestionParts.entity(rest[1], "the resource"),
            context: options.context)
        let tenant = try OpenTenant(options, folder: folder)
        try withSurvey { () throws(SurveyError) in try tenant.survey.ask(question) }
        let session = try tenant.assume(options)
        var list = SubjectList(self, tenant.survey, session)
        try list.run()
    }
}

/// The list as it is written.
private struct SubjectList {
    let command: WhoCommand
    let survey: TenantSurvey
    let session: AssumedSession
    /// Listed and not yet written.
    private var lines = ""

    init(_ command: WhoCommand, _ survey: TenantSurvey, _ session: AssumedSession) {
        self.command = command
        self.survey = survey
        self.session = session
    }

    mutating func run() throws(ExitCode) {
        var options = SubjectSearch.Options()
        options.session = session
        options.tellsDenied = command.all
        options.type = command.type
        options.after = try after()
        let survey = survey
        let made = options
        var search = try withSurvey { () throws(SurveyError) in try SubjectSearch(survey, made) }
        let total =
            Terminal.showsProgress
            ? try withSurvey { () throws(SurveyError) in try search.total() } : 0
        var listed = 0
        var hasMore = true
        while hasMore, listed != command.limit {
            // A piece at a time, so that what is found is seen at once.
            let limit = command.limit.map { $0 - listed } ?? .max
            var found: [SubjectSearch.Found] = []
            hasMore = try withSurvey { () throws(SurveyError) in
                try search.step(atMost: limit) { found.append($0) }
            }
            for entry in found { lines += command.output.json ? entry.json.compact + "\n" : text(entry) }
            listed += found.count
            writeLines()
            if search.looked >= 2_000 { ProgressBar.show(search.looked, of: total) }
        }
        finish(search, next: listed == command.limit ? search.next : nil)
    }

    private func after() throws(ExitCode) -> EntityName? {
        guard let after = command.after else { return nil }
        let parts = after.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2 else {
            throw Terminal.failure("--after: write TYPE:ID, as the last line of the list did", Exit.data)
        }
        return EntityName(type: parts[0], id: parts[1])
    }

    /// Writes what was listed, in the bar's place.
    private mutating func writeLines() {
        if lines.isEmpty { return }
        if Terminal.writesToTerminal { ProgressBar.clear() }
        Terminal.write(lines)
        lines = ""
    }

    private func text(_ found: SubjectSearch.Found) -> String {
        let answer = found.answer
        var parts: [String] = []
        switch answer.outcome {
        case .permit: parts.append(Terminal.paint("PERMIT ", "1;32"))
        case .stepUp: parts.append(Terminal.paint("STEP UP", "1;33"))
        case .deny: parts.append(Terminal.paint("DENY   ", "1;31"))
        }
        let name = "\(found.subject.type) \(found.subject.id)"
        parts.append(name + String(repeating: " ", count: max(0, 24 - name.count)))
        if let stepUp = answer.stepUp { parts.append(AnswerText.demand(stepUp)) }
        if let cause = answer.cause { parts.append("\(cause.message) (\(cause.code))") }
        if answer.kind == .notPermitted, answer.cause == nil { parts.append("no permit matches") }
        if !answer.rules.isEmpty { parts.append("by " + answer.rules.map(\.words).joined(separator: "; ")) }
        if let session = found.session { parts.append("with session \(session)") }
        return parts.joined(separator: "  ") + "\n"
    }

    private func finish(_ search: SubjectSearch, next: EntityName?) {
        ProgressBar.clear()
        let next = next.map { "\($0.type):\($0.id)" }
        if command.output.json {
            var members = search.summary
            if let next { members.append(JSONMember("next", .string(next))) }
            return Terminal.write(JSONValue.object(["summary": .object(members)]).compact + "\n")
        }
        let counts = search.counts
        var text =
            "\(counts[.permit] ?? 0) permitted, \(counts[.stepUp] ?? 0) after a step-up, \(counts[.deny] ?? 0) denied"
        if search.errors > 0 {
            text +=
                ", \(search.errors) errors (\(search.firstError.map { "the first: \($0); " } ?? "")--all shows them)"
        }
        text += " of \(search.looked) asked about, \(session.words)"
        if search.withoutSession > 0, case .own = session {
            text += "; \(search.withoutSession) have no live session (--session best, --device)"
        }
        Terminal.write(Terminal.paint(text, "2") + "\n")
        if let next { Terminal.write("more: --after \(next)\n") }
    }
}

/// A bar on standard error while something takes long.
enum ProgressBar {
    static func show(_ done: Int, of total: Int) {
        guard total > 0 else { return Terminal.progress("\(done)") }
        let width = 30
        let filled = min(width, done * width / total)
        Terminal.progress(
            "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
                + "] \(done) of \(total)")
    }

    static func clear() { Terminal.progress("") }
}
