// Questions: `ask` and `why`, against a folder or a running daemon.

import ArgumentParser
import AttributeStore
import CBOR
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
            "A tenant's folder (unless --socket is given), then the request as AuthZEN JSON.",
            discussion: "Without a request, JSON Lines are read from standard input and answered in the same order."))
    var arguments: [String] = []

    @Option(help: "The decision socket of a running stiled.")
    var socket: String?

    @Option(help: "The tenant to ask about, with --socket.")
    var tenant = "dev"

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if socket == nil && arguments.isEmpty { throw ValidationError("name a tenant's folder, or --socket") }
        if arguments.count > (socket == nil ? 2 : 1) {
            throw ValidationError("one request at most; more go to standard input")
        }
    }

    var request: String? { socket == nil ? arguments.dropFirst().first : arguments.first }
}

struct AskCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask", abstract: "Ask \"may this person do this, now?\" of a folder or a running daemon.",
        discussion: """
            stile ask policies/ledger '{"subject":{"type":"user","id":"ada"},"action":{"name":"read"},
                                        "resource":{"type":"payrun","id":"p1"},"session":"s1"}'
            """)

    @OptionGroup var options: AskOptions

    func run() throws { try Asking(options, explain: false).run() }
}

struct WhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "Ask, and say of each rule whether it matched and which condition failed.")

    @OptionGroup var options: AskOptions

    func run() throws { try Asking(options, explain: true).run() }
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
            do {
                let question = try Question(json: try JSONValue.parse(line))
                bytes += Framing.prefixed(subscribe ? question.subscribeFrame(id: id) : question.frame(id: id))
            } catch {
                throw Terminal.failure("line \(id): \(error)", Exit.data)
            }
            if bytes.count > 1 << 20 {
                Terminal.write(bytes)
                bytes.removeAll(keepingCapacity: true)
            }
        }
        Terminal.write(bytes)
    }
}

/// One run of `ask` or `why`.
private struct Asking {
    let options: AskOptions
    let explain: Bool

    init(_ options: AskOptions, explain: Bool) {
        self.options = options
        self.explain = explain
    }

    func run() throws {
        let source = try AnswerSource(options)
        defer { source.close() }
        if let request = options.request {
            let answer = try source.answer(question(request, line: nil))
            tell(answer)
            throw Self.code(answer)
        }
        try stream(source)
    }

    private static func code(_ answer: Answer) -> ExitCode {
        switch answer.kind {
        case .permitted: .success
        case .forbidden, .notPermitted: Exit.findings
        case .stepUp: Exit.stepUp
        case .error: Exit.questionError
        }
    }

    private func question(_ text: String, line: Int?) throws(ExitCode) -> Question {
        let place = line.map { "line \($0): " } ?? ""
        do {
            var question = try Question(json: try JSONValue.parse(text))
            question.explain = explain
            return question
        } catch {
            throw Terminal.failure("\(place)\(error)", Exit.data)
        }
    }

    private func stream(_ source: AnswerSource) throws {
        var number = 0
        while let line = readLine() {
            number += 1
            if line.allSatisfy(\.isWhitespace) { continue }
            let answer = try source.answer(question(line, line: number))
            Terminal.write(answer.json.compact + "\n")
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
            offline = try OfflineDecider(folder: options.arguments[0])
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

    private static func demand(_ stepUp: StepUp) -> String {
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

/// Decides in this process on a throw-away store filled from a folder.
final class OfflineDecider {
    private let directory: String
    private let decider: TenantDecider

    init(folder: String) throws(ExitCode) {
        directory = try Files.temporaryDirectory()
        do throws(ExitCode) {
            let store = Store(path: directory, mapSize: 1 << 30)
            try Sandbox.fill(store, tenant: "dev", folder: folder)
            let board = PolicyBoard(store: store)
            decider = try withStore { () throws(StoreError) -> TenantDecider in
                _ = try board.load("dev")
                return try TenantDecider("dev", board: board)
            }
        } catch {
            Files.removeAll(directory)
            throw error
        }
    }

    func answer(_ question: Question) -> Answer {
        decider.begin(now: Terminal.nowMilliseconds)
        defer { decider.end() }
        var output = CBORWriter()
        let bytes = question.frame(id: 1)
        unsafe bytes.withUnsafeBytes { buffer in
            let frame = unsafe CBORReader(buffer)
            var reader = frame
            if let head = try? FrameHead(&reader) { decider.answer(head, frame, &output) }
        }
        guard case .answer(_, let answer) = ServerFrame(Array(output.bytes.array.dropFirst(ProtocolLimits.prefixBytes)))
        else {
            return .failClosed(code: "malformed_question", message: "the question could not be encoded")
        }
        return answer
    }

    func close() { Files.removeAll(directory) }
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

    @discardableResult
    static func push(_ files: [SourceFile], _ writer: inout TenantWriter, message: String) throws(ExitCode) -> UInt64 {
        do throws(StoreError) {
            return try writer.push(
                files.map { PolicyFile(name: $0.name, text: $0.text) }, author: Operator.name, message: message,
                time: Terminal.nowMilliseconds)
        } catch {
            throw report(error, files: files)
        }
    }
}
