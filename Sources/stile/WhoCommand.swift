// `stile who`: who may do this.

import ArgumentParser
import AttributeStore
import DecisionPath
import DecisionProtocol
import PolicyLanguage
import StrictJSON

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
        var search = SubjectSearch(self, tenant.survey, session)
        try search.run()
    }
}

/// One run over the subjects.
private struct SubjectSearch {
    let command: WhoCommand
    let survey: TenantSurvey
    let session: AssumedSession
    var own: [EntityName: [String]] = [:]
    var counts: [Outcome: Int] = [:]
    var errors = 0
    /// What was wrong with the first of them.
    var firstError: String?
    var listed = 0
    /// Listed and not yet written.
    private var lines = ""
    var looked = 0
    var withoutSession = 0

    init(_ command: WhoCommand, _ survey: TenantSurvey, _ session: AssumedSession) {
        self.command = command
        self.survey = survey
        self.session = session
    }

    mutating func run() throws(ExitCode) {
        let types = try subjectTypes()
        let survey = survey
        if case .own = session {
            own = try withSurvey { () throws(SurveyError) in try survey.liveSessions() }
        }
        var total = 0
        if Terminal.showsProgress {
            for (type, _) in types {
                total += try withSurvey { () throws(SurveyError) in try survey.count(type: type) }
            }
        }
        for (type, after) in types {
            var after = after
            while true {
                let ids = try withSurvey { () throws(SurveyError) in
                    try survey.ids(type: type, after: after, limit: 1_000)
                }
                for id in ids {
                    try look(type, id)
                    if listed == command.limit { return finish(next: "\(survey.catalog.entities[type].name):\(id)") }
                }
                writeLines()
                if looked >= 2_000 { ProgressBar.show(looked, of: total) }
                guard ids.count == 1_000, let last = ids.last else { break }
                after = last
            }
        }
        finish(next: nil)
    }

    /// The types to go through, each with the id to start behind.
    private func subjectTypes() throws(ExitCode) -> [(type: Int, after: String?)] {
        let catalog = survey.catalog
        var types = catalog.subjectTypes
        if let name = command.type {
            guard let type = catalog.entity(named: name), types.contains(type) else {
                let known = types.map { catalog.entities[$0].name }.joined(separator: ", ")
                throw Terminal.failure("--type: \"\(name)\" is no type of subject; there are \(known)", Exit.data)
            }
            types = [type]
        }
        guard let after = command.after else { return types.map { ($0, nil) } }
        let parts = after.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2, let type = catalog.entity(named: parts[0]), let place = types.firstIndex(of: type)
        else {
            throw Terminal.failure("--after: write TYPE:ID, as the last line of the list did", Exit.data)
        }
        return types[place...].map { ($0, $0 == type ? parts[1] : nil) }
    }

    private mutating func look(_ type: Int, _ id: String) throws(ExitCode) {
        let survey = survey
        looked += 1
        survey.look(subject: id, type: type)
        let (answer, used) = try best(type, id)
        if answer.kind == .error {
            errors += 1
            if firstError == nil { firstError = answer.cause?.message }
        } else {
            counts[answer.outcome, default: 0] += 1
        }
        guard answer.outcome != .deny || command.all else { return }
        listed += 1
        let name = survey.catalog.entities[type].name
        lines += command.output.json ? json(name, id, answer, used).compact + "\n" : text(name, id, answer, used)
    }

    /// Writes what was listed, in the bar's place.
    private mutating func writeLines() {
        if lines.isEmpty { return }
        if Terminal.writesToTerminal { ProgressBar.clear() }
        Terminal.write(lines)
        lines = ""
    }

    /// The best answer that the subject can get, and the session for it.
    private mutating func best(_ type: Int, _ id: String) throws(ExitCode) -> (answer: Answer, session: String?) {
        let survey = survey
        switch session {
        case .assumed: return (try decide(), nil)
        case .recorded(let session):
            try withSurvey { () throws(SurveyError) in try survey.look(session: session) }
            return (try decide(), session)
        case .none, .own: break
        }
        try withSurvey { () throws(SurveyError) in try survey.look(session: nil) }
        var best: (answer: Answer, session: String?) = (try decide(), nil)
        let sessions = own[EntityName(type: survey.catalog.entities[type].name, id: id)] ?? []
        if sessions.isEmpty { withoutSession += 1 }
        for session in sessions where best.answer.outcome != .permit {
            try withSurvey { () throws(SurveyError) in try survey.look(session: session) }
            let answer = try decide()
            // Of two denials, the one of somebody who is signed in says more.
            let isBetter = Self.rank(answer) < Self.rank(best.answer)
            if isBetter || best.session == nil && Self.rank(answer) == Self.rank(best.answer) {
                best = (answer, session)
            }
        }
        return best
    }

    private func decide() throws(ExitCode) -> Answer {
        let survey = survey
        return try withSurvey { () throws(SurveyError) in try survey.decide() }
    }

    private static func rank(_ answer: Answer) -> Int {
        switch answer.kind {
        case .permitted: 0
        case .stepUp: 1
        case .notPermitted, .forbidden: 2
        case .error: 3
        }
    }

    // MARK: Words

    private func text(_ type: String, _ id: String, _ answer: Answer, _ session: String?) -> String {
        var parts: [String] = []
        switch answer.outcome {
        case .permit: parts.append(Terminal.paint("PERMIT ", "1;32"))
        case .stepUp: parts.append(Terminal.paint("STEP UP", "1;33"))
        case .deny: parts.append(Terminal.paint("DENY   ", "1;31"))
        }
        let name = "\(type) \(id)"
        parts.append(name + String(repeating: " ", count: max(0, 24 - name.count)))
        if let stepUp = answer.stepUp { parts.append(AnswerText.demand(stepUp)) }
        if let cause = answer.cause { parts.append("\(cause.message) (\(cause.code))") }
        if answer.kind == .notPermitted, answer.cause == nil { parts.append("no permit matches") }
        if !answer.rules.isEmpty { parts.append("by " + answer.rules.map(\.words).joined(separator: "; ")) }
        if let session { parts.append("with session \(session)") }
        return parts.joined(separator: "  ") + "\n"
    }

    private func json(_ type: String, _ id: String, _ answer: Answer, _ session: String?) -> JSONValue {
        var members = [
            JSONMember("subject", .object(["type": .string(type), "id": .string(id)])),
            JSONMember("outcome", .string(answer.outcome.name)), JSONMember("kind", .string(answer.kind.name)),
        ]
        if let stepUp = answer.stepUp { members.append(JSONMember("step_up", .object(stepUp.members))) }
        if let cause = answer.cause {
            members.append(JSONMember("cause", cause.json))
        }
        members.append(JSONMember("rules", .array(answer.rules.map(\.json))))
        if let session { members.append(JSONMember("session", .string(session))) }
        if let until = answer.validUntil {
            members.append(JSONMember("valid_until", .string(Instant.format(Int64(clamping: until)))))
        }
        return .object(members)
    }

    private mutating func finish(next: String?) {
        writeLines()
        ProgressBar.clear()
        let permitted = counts[.permit] ?? 0
        let stepUps = counts[.stepUp] ?? 0
        let denied = counts[.deny] ?? 0
        if command.output.json {
            var members = [
                JSONMember("looked_at", .integer(looked)), JSONMember("permitted", .integer(permitted)),
                JSONMember("step_up", .integer(stepUps)), JSONMember("denied", .integer(denied)),
                JSONMember("errors", .integer(errors)), JSONMember("without_session", .integer(withoutSession)),
            ]
            if let next { members.append(JSONMember("next", .string(next))) }
            return Terminal.write(JSONValue.object(["summary": .object(members)]).compact + "\n")
        }
        var text = "\(permitted) permitted, \(stepUps) after a step-up, \(denied) denied"
        if errors > 0 {
            text += ", \(errors) errors (\(firstError.map { "the first: \($0); " } ?? "")--all shows them)"
        }
        text += " of \(looked) asked about, \(session.words)"
        if withoutSession > 0, case .own = session {
            text += "; \(withoutSession) have no live session (--session best, --device)"
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
