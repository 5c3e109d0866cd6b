// `stile why`: a question's answer, explained.

import AnalysisReports
import ArgumentParser
import AttributeStore
import DecisionEngine
import DecisionLog
import DecisionProtocol
import DecisionReplay
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
            stile why --store /var/lib/stile --tenant acme 66bad989f90f0c6e0000000000000001

            For each rule whose types and action fit: whether it matches; if not, the conditions that came out otherwise, \
            where they stand, and the values that they read; if so, what of its demand the session does not prove. Then \
            the smallest sets of changes that would make the answer a permit: each was put into the question and decided \
            again. What the question is about never changes.

            In place of a question, the id of a decision: it is taken from the log and decided again by the version of the \
            policies that made it, as of its instant, on what the store held then (its log of changes says so). What the \
            question gave and the catalog's `use` keeps out of the log is masked: said so wherever it was read. Where the \
            answer is not the logged one, that is said too, with what is known of the cause.

            Over --socket the daemon tells of the rules; values and changes need the policies, so a folder or --store.

            Exit codes: 0 permit; 1 deny; 2 step-up; 3 a question that is an error; of a decision those of its outcome as it \
            was logged, 6 when it was decided otherwise now, 66 when it or the version that made it is not there.
            """)

    @OptionGroup var options: AskOptions

    @Option(
        name: .customLong("max-changes"),
        help: "Things that change together in a suggestion, at most, beside a sign-in; 0 looks for none.")
    var maxChanges = 3

    @Option(
        name: .customLong("log-dir"), help: "For a decision's id: the directory that stiled was given with --log-dir.")
    var logDirectory: String?

    /// The decision that is asked about, by its id.
    private var decision: [UInt8]? {
        options.request.flatMap { $0.utf8.count == 32 ? Hexadecimal.bytes($0) : nil }
    }

    func validate() throws {
        if decision != nil, options.store == nil {
            throw ValidationError("a decision's id needs --store and --tenant: there its log and its policies are")
        }
        guard (0...5).contains(maxChanges) else { throw ValidationError("--max-changes is from 0 to 5") }
    }

    func run() throws {
        if let decision, let store = options.store { return try explain(decision, Store(path: store)) }
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

    // MARK: Decisions of the log

    private func explain(_ id: [UInt8], _ store: Store) throws {
        let replay: DecisionReplay
        do throws(ReplayError) {
            replay = try ScratchDirectory.with { scratch throws(ReplayError) in
                try DecisionReplay(
                    of: id, tenant: options.tenant, in: store, logDirectory: logDirectory, scratch: scratch,
                    progress: tell)
            }
        } catch {
            throw refusal(error)
        }
        if Terminal.showsProgress { Terminal.write("\r\u{1b}[K", to: 2) }
        var limits = ChangeSearch.Limits()
        limits.together = maxChanges
        let report = ReplayReport(replay, tenant: options.tenant, limits: limits)
        if options.output.json {
            print(report.json.compact)
        } else {
            Terminal.write(AnswerText.render(replay.logged.answer))
            Terminal.write(report.text(usesColor: Terminal.usesColor))
        }
        throw replay.agrees ? Asking.code(replay.logged.answer) : Exit.differs
    }

    private func tell(_ progress: DecisionReplay.Progress) {
        switch progress {
        case .searching(let segment, let all): Terminal.progress("looking through segment \(segment + 1) of \(all)")
        case .reading(let entry, let all): Terminal.progress("reading change \(entry) of \(all)")
        }
    }

    private func refusal(_ error: ReplayError) -> ExitCode {
        if Terminal.showsProgress { Terminal.write("\r\u{1b}[K", to: 2) }
        if options.output.json {
            print(
                JSONValue.object([
                    "error": .object(["code": .string(error.code.rawValue), "message": .string(error.message)])
                ]).compact)
        }
        switch error.code {
        case .store, .notRestorable, .tooMuchWork: return Terminal.failure("\(error)", Exit.store)
        case .tenantUnknown, .logMissing, .decisionUnknown, .logSampled, .noVersion, .versionGone, .questionWithheld:
            return Terminal.failure("\(error)", Exit.noInput)
        }
    }
}
