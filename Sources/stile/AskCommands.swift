// Questions: `ask`, of a folder, a store or a running daemon.

import ArgumentParser
import AttributeStore
import CBOR
import DecisionEngine
import DecisionPath
import DecisionProtocol
import Memory
import PolicyLanguage
import StileClient
import StrictJSON

/// Whom to ask.
struct AskOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "A tenant's folder (unless --socket or --store is given), then the request as AuthZEN JSON.",
            discussion: "Without a request, JSON Lines are read from standard input and answered in the same order."))
    var arguments: [String] = []

    @Option(help: "The decision socket of a running stiled.")
    var socket: String?

    @Option(help: "A store's directory, which is read as the daemon would; the tenant's active version decides.")
    var store: String?

    @Option(help: "The tenant to ask about, with --socket and --store.")
    var tenant = "dev"

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if socket != nil && store != nil { throw ValidationError("--socket and --store do not go together") }
        if isFolder && arguments.isEmpty { throw ValidationError("name a tenant's folder, --socket or --store") }
        if arguments.count > (isFolder ? 2 : 1) {
            throw ValidationError("one request at most; more go to standard input")
        }
    }

    private var isFolder: Bool { socket == nil && store == nil }

    var request: String? { isFolder ? arguments.dropFirst().first : arguments.first }

    /// Decides in this process, on a folder or a store.
    func offlineDecider() throws(ExitCode) -> OfflineDecider {
        if let store { return try OfflineDecider(store: store, tenant: tenant) }
        return try OfflineDecider(folder: arguments[0])
    }
}

struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask", abstract: "Ask \"may this person do this, now?\" of a folder or a running daemon.",
        discussion: """
            stile ask policies/ledger '{"subject":{"type":"user","id":"ada"},
              "action":{"name":"read"},"resource":{"type":"payrun","id":"p1"},
              "session":"s-ada"}'

            Exit codes: of one request 0 permit; 1 deny; 2 step-up; 3 a question that is an error, which denies; of \
            JSON Lines 0 when all were answered; 65 the request cannot be read; 66 the folder, store or tenant is missing; 69 \
            the daemon cannot be asked.
            """)

    @OptionGroup var options: AskOptions

    func run() throws { try Asking(options).run() }
}

struct EncodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "encode", abstract: "Turn requests (JSON Lines) into the frames of the decision socket.",
        discussion: "The first frame is the hello for the tenant; then one question a line. For load generators.")

    @Flag(help: "Frames that hold each question open.")
    var subscribe = false

    @Option(help: "The tenant's id.")
    var tenant: String

    func run() throws {
        var bytes = Framing.prefixed(Hello(tenant: tenant).frame)
        var id: UInt64 = 0
        while let line = readLine() {
            id += 1
            let question = try Asking.question(line, line: Int(id))
            bytes += Framing.prefixed(subscribe ? question.subscribeFrame(id: id) : question.frame(id: id))
            if bytes.count > 1 << 20 {
                Terminal.write(bytes)
                bytes.removeAll(keepingCapacity: true)
            }
        }
        Terminal.write(bytes)
    }
}

/// One run of `ask`, or of `why` over a socket.
struct Asking {
    let options: AskOptions
    /// The daemon is to tell of the candidates.
    let explain: Bool

    init(_ options: AskOptions, explain: Bool = false) {
        self.options = options
        self.explain = explain
    }

    func run() throws {
        let source = try AnswerSource(options)
        defer { source.close() }
        if let request = options.request {
            var question = try Self.question(request, line: nil)
            question.explain = explain
            let answer = source.answer(question)
            tell(answer)
            throw Self.code(answer)
        }
        try Self.forEachLine { line, number in
            var question = try Self.question(line, line: number)
            question.explain = explain
            Terminal.write(source.answer(question).json.compact + "\n")
        }
    }

    static func code(_ answer: Answer) -> ExitCode {
        switch answer.kind {
        case .permitted: .success
        case .forbidden, .notPermitted: Exit.findings
        case .stepUp: Exit.stepUp
        case .error: Exit.questionError
        }
    }

    /// - Parameter line: its number among many.
    static func question(_ text: String, line: Int?) throws(ExitCode) -> Question {
        let json: JSONValue
        do throws(JSONError) {
            json = try JSONValue.parse(text)
        } catch {
            let place = line ?? error.line
            throw Terminal.failure("line \(place), column \(error.column): \(error.message)", Exit.data)
        }
        do throws(RequestError) {
            return try Question(json: json)
        } catch {
            throw Terminal.failure("\(line.map { "line \($0): " } ?? "")\(error)", Exit.data)
        }
    }

    /// The lines of standard input that hold something, with their numbers.
    static func forEachLine(_ body: (String, Int) throws -> Void) throws {
        var number = 0
        while let line = readLine() {
            number += 1
            if !line.allSatisfy(\.isWhitespace) { try body(line, number) }
        }
    }

    private func tell(_ answer: Answer) {
        if options.output.json { return Terminal.write(answer.json.compact + "\n") }
        Terminal.write(AnswerText.render(answer))
    }
}

/// Who answers: a daemon, or this process over a folder's policies and data.
private final class AnswerSource {
    private let connection: DecisionConnection?
    private let offline: OfflineDecider?

    init(_ options: AskOptions) throws(ExitCode) {
        if let socket = options.socket {
            offline = nil
            do throws(ClientError) {
                connection = try DecisionConnection(socket: socket, tenant: options.tenant)
            } catch {
                throw Terminal.failure(error.description, Exit.unavailable)
            }
        } else {
            connection = nil
            offline = try options.offlineDecider()
        }
    }

    func answer(_ question: Question) -> Answer {
        connection?.decide(question) ?? offline?.answer(question)
            ?? .failClosed(code: "unavailable", message: "nobody to ask")
    }

    func close() { offline?.close() }
}

/// Answers as a person reads them.
enum AnswerText {
    static func render(_ answer: Answer) -> String {
        var text: String
        switch answer.outcome {
        case .permit: text = Terminal.paint("PERMIT", "1;32")
        case .deny: text = Terminal.paint("DENY", "1;31")
        case .stepUp: text = Terminal.paint("STEP UP", "1;33")
        }
        if let stepUp = answer.stepUp { text += "  " + demand(stepUp) }
        text += "\n"
        if answer.kind == .notPermitted { text += "  no permit matches\n" }
        if let cause = answer.cause { text += "  \(cause.message) (\(cause.code))\n" }
        for rule in answer.rules {
            text += "  by \(rule.name), \(rule.file):\(rule.line)" + (rule.reason.map { "  “\($0)”" } ?? "") + "\n"
        }
        if let until = answer.validUntil { text += "  holds until \(Instant.format(Int64(clamping: until)))\n" }
        for candidate in answer.candidates { text += render(candidate) }
        text += Terminal.paint(
            "  policy version \(answer.policyVersion), snapshot \(answer.snapshot), id \(answer.decisionIDText)", "2")
        return text + "\n"
    }

    static func demand(_ stepUp: StepUp) -> String {
        var parts: [String] = []
        if let level = stepUp.level { parts.append("to \(level)") }
        if let within = stepUp.within { parts.append("within \(within / 1000) s") }
        if !stepUp.methods.isEmpty { parts.append("using \(stepUp.methods.joined(separator: ", "))") }
        return parts.joined(separator: " ")
    }

    private static func render(_ candidate: Candidate) -> String {
        let rule = candidate.rule
        let mark = candidate.matches ? Terminal.paint("matches", "32") : "does not match"
        var text = "  \(candidate.kind) \(rule.name), \(rule.file):\(rule.line): \(mark)\n"
        for failed in candidate.failed { text += "      not so: \(failed.text)  (\(failed.file):\(failed.line))\n" }
        return text
    }
}

/// Decides in this process: on a throw-away store filled from a folder, or on a store as it is.
final class OfflineDecider {
    /// The throw-away store.
    private let directory: String?
    private let decider: TenantDecider

    init(folder: String) throws(ExitCode) {
        let directory = try Files.temporaryDirectory()
        self.directory = directory
        do throws(ExitCode) {
            let store = Store(path: directory, mapSize: 1 << 30)
            try Sandbox.fill(store, tenant: "dev", folder: folder)
            decider = try Self.decider(store, "dev")
        } catch {
            Files.removeAll(directory)
            throw error
        }
    }

    init(store: String, tenant: String) throws(ExitCode) {
        directory = nil
        decider = try Self.decider(Store(path: store), tenant)
    }

    private static func decider(_ store: Store, _ tenant: String) throws(ExitCode) -> TenantDecider {
        try withStore { () throws(StoreError) -> TenantDecider in try TenantDecider(tenant, of: store) }
    }

    func answer(_ question: Question) -> Answer { decider.answer(question, now: Terminal.nowMilliseconds) }

    /// The answer, and the policies with all that they read; these are nil where the question could not be put to them.
    func explained(_ question: Question) -> (answer: Answer, read: (program: Program, situation: Situation)?) {
        decider.explained(question, now: Terminal.nowMilliseconds)
    }

    func close() { if let directory { Files.removeAll(directory) } }
}

/// A tenant filled from a folder of policies and data.
enum Sandbox {
    static func fill(_ store: Store, tenant: String, folder: String) throws(ExitCode) {
        let files = try Files.policies([folder])
        try withStore { () throws(StoreError) in
            try store.createTenant(tenant, TenantRecord(created: Terminal.nowMilliseconds, allowedUsers: []))
        }
        var writer = try withStore { () throws(StoreError) -> TenantWriter in try TenantWriter(store, tenant: tenant) }
        try push(files, &writer, message: "from \(folder)")
        let data = "\(folder)/data"
        for name in Files.list(data) where name.hasSuffix(".jsonl") {
            var loader = Loader(batch: 1_000, isEach: false, isQuiet: true)
            try loader.load("\(data)/\(name)", &writer)
        }
    }

    /// - Parameter onRefusal: what is told besides when the store refuses.
    @discardableResult
    static func push(
        _ files: [SourceFile], _ writer: inout TenantWriter, message: String,
        onRefusal: (StoreError) -> Void = { _ in }
    ) throws(ExitCode) -> UInt64 {
        do throws(StoreError) {
            return try writer.push(
                files.map { PolicyFile(name: $0.name, text: $0.text) }, author: Operator.name, message: message,
                time: Terminal.nowMilliseconds)
        } catch {
            onRefusal(error)
            throw report(error, files: files)
        }
    }
}
