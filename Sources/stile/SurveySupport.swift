// What `who`, `what` and `plan` share: the tenant they look into, and with which session, device and context they ask.

import ArgumentParser
import AttributeStore
import DecisionEngine
import DecisionLog
import DecisionPath
import DecisionProtocol
import PolicyLanguage
import StrictJSON
import Surveys

/// A tenant, and what is assumed of whoever asks.
struct SurveyOptions: ParsableArguments {
    @Option(help: "The store's directory, in place of a folder.")
    var store: String?

    @Option(help: "The tenant's id, with --store.")
    var tenant: String?

    @Option(
        help: ArgumentHelp(
            "How the subject is signed in: own, none, best, a session's id, or JSON.",
            discussion: """
                own: with a live session of the store where the subject has one, else without (the default). best: with \
                every assurance level that can be reached and every method, just now. JSON: \
                {"assurance":"mfa","age":"10m","amr":["otp"]}.
                """, valueName: "session"))
    var session = "own"

    @Option(
        help: ArgumentHelp(
            "The device: its id in the store, or its attributes as JSON; by default the session's.", valueName: "device"
        ))
    var device: String?

    @Option(help: "The context of the question, as JSON.")
    var context: String?

    @Option(help: "The instant to ask about, such as 2026-11-24T10:00:00Z; by default now.")
    var at: String?

    func validate() throws {
        if (store == nil) != (tenant == nil) { throw ValidationError("--store and --tenant go together") }
        if let at, Instant.parse(at) == nil {
            throw ValidationError("--at \(at): write an instant such as 2026-11-24T10:00:00Z")
        }
    }

    /// Takes the folder off the arguments, unless a store is named.
    func split(_ arguments: [String]) -> (folder: String?, rest: [String]) {
        store == nil ? (arguments.first, Array(arguments.dropFirst())) : (nil, arguments)
    }
}

/// A tenant at one instant; a folder's is filled into a store that is thrown away.
final class OpenTenant {
    let survey: TenantSurvey
    private let directory: String?

    init(_ options: SurveyOptions, folder: String?) throws(ExitCode) {
        let now = options.at.flatMap { Instant.parse($0) } ?? Terminal.nowMilliseconds
        if let store = options.store, let tenant = options.tenant {
            directory = nil
            survey = try withSurvey { () throws(SurveyError) in
                try TenantSurvey(Store(path: store), tenant: tenant, now: now)
            }
            return
        }
        let made = try Files.temporaryDirectory()
        do throws(ExitCode) {
            let store = Store(path: made, mapSize: 1 << 30)
            try Sandbox.fill(store, tenant: "dev", folder: folder ?? ".")
            // What the data say of "now" lies before this.
            let now = options.at == nil ? Terminal.nowMilliseconds : now
            survey = try withSurvey { () throws(SurveyError) in try TenantSurvey(store, tenant: "dev", now: now) }
        } catch {
            Files.removeAll(made)
            throw error
        }
        directory = made
    }

    deinit { if let directory { Files.removeAll(directory) } }
}

/// Turns what a survey cannot do into messages and exit codes.
func withSurvey<Result>(_ body: () throws(SurveyError) -> Result) throws(ExitCode) -> Result {
    do throws(SurveyError) {
        return try body()
    } catch {
        switch error {
        case .store(let error): throw report(error)
        case .noPolicies(let message): throw Terminal.failure("no policies decide: \(message)", Exit.noInput)
        case .question(let message), .tooMuchWork(let message): throw Terminal.failure(message, Exit.data)
        case .unknownSubject(let message): throw Terminal.failure(message, Exit.noInput)
        }
    }
}

extension AssumedSession {
    /// As `--session` says it.
    init(_ text: String, _ catalog: Catalog, now: Int64) throws(ExitCode) {
        switch text {
        case "own": self = .own
        case "none": self = .none
        case "best": self = .best(catalog, now: now)
        case _ where text.hasPrefix("{"):
            self = try Self.assumed(try JSONText.parse(text, "--session"), catalog, now)
        default: self = .recorded(text)
        }
    }

    private static func assumed(_ json: JSONValue, _ catalog: Catalog, _ now: Int64) throws(ExitCode) -> AssumedSession
    {
        var level: String?
        var age: Int64?
        var methods: [String] = []
        for member in json.object ?? [] {
            switch (member.name, member.value) {
            case ("assurance", .string(let name)): level = name
            case ("age", .string(let text)):
                guard let milliseconds = LogDuration.parse(text) else {
                    throw Terminal.failure("--session: an age is written like 10m or 2h, not \"\(text)\"", Exit.data)
                }
                age = milliseconds
            case ("amr", .array(let names)): methods = names.map { $0.string ?? $0.compact }
            default:
                throw Terminal.failure(
                    "--session: \(member.name) is not understood: give assurance, age and amr", Exit.data)
            }
        }
        return try withSurvey { () throws(SurveyError) in
            try assumed(level: level, age: age, methods: methods, catalog, now: now)
        }
    }

    /// What the reader is told that the answers rest on.
    var words: String {
        switch self {
        case .own: "each with its live sessions and without"
        case .none: "not signed in"
        case .recorded(let id): "signed in with session \(id)"
        case .assumed: "signed in as --session says"
        }
    }
}

/// The parts of a question, from the command line.
enum QuestionParts {
    /// `approve`, or an action as JSON.
    static func action(_ text: String) throws(ExitCode) -> JSONValue {
        text.hasPrefix("{") ? try JSONText.parse(text, "the action") : .object(["name": .string(text)])
    }

    /// `payrun:p1`, `payrun`, or an entity as JSON. Where no id is given, it is `*`.
    static func entity(_ text: String, _ what: String, needsID: Bool = false) throws(ExitCode) -> JSONValue {
        guard text.hasPrefix("{") else {
            let parts = text.split(separator: ":", maxSplits: 1)
            guard let type = parts.first, parts.count == 2 || !needsID else {
                throw Terminal.failure("\(what): write TYPE:ID, or JSON with type and id", Exit.data)
            }
            return .object(["type": .string(String(type)), "id": .string(parts.count > 1 ? String(parts[1]) : "*")])
        }
        let json = try JSONText.parse(text, what)
        if json["id"] != nil { return json }
        if needsID { throw Terminal.failure("\(what): the id is missing", Exit.data) }
        return .object((json.object ?? []) + [JSONMember("id", .string("*"))])
    }

    /// A question of these parts.
    static func question(
        subject: JSONValue? = nil, action: JSONValue? = nil, resource: JSONValue? = nil, context: String? = nil
    ) throws(ExitCode) -> Question {
        let any = JSONValue.object(["type": .string("user"), "id": .string("*"), "name": .string("*")])
        var members = [
            JSONMember("subject", subject ?? any), JSONMember("action", action ?? any),
            JSONMember("resource", resource ?? any),
        ]
        if let context { members.append(JSONMember("context", try JSONText.parse(context, "--context"))) }
        do throws(RequestError) {
            var question = try Question(json: .object(members))
            if subject == nil { question.subject = nil }
            if action == nil { question.action = nil }
            if resource == nil { question.resource = nil }
            return question
        } catch {
            throw Terminal.failure(error.description, Exit.data)
        }
    }
}

/// JSON of the command line.
enum JSONText {
    static func parse(_ text: String, _ what: String) throws(ExitCode) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue.parse(text)
        } catch {
            throw Terminal.failure("\(what) is no JSON: \(error)", Exit.data)
        }
    }
}

extension OpenTenant {
    /// Ends when the store does not know the subject: every answer would be an error.
    func requireKnown(_ situation: Situation) throws(ExitCode) {
        try withSurvey { () throws(SurveyError) in try survey.requireKnown(situation) }
    }

    /// Sets how subjects are signed in, and the device.
    func assume(_ options: SurveyOptions) throws(ExitCode) -> AssumedSession {
        let session = try AssumedSession(options.session, survey.catalog, now: survey.now)
        try assumeDevice(options)
        if case .assumed(let facts) = session { survey.assume(session: facts) }
        return session
    }

    /// Sets the device.
    func assumeDevice(_ options: SurveyOptions) throws(ExitCode) {
        guard let device = options.device else { return }
        let properties = device.hasPrefix("{") ? try JSONText.parse(device, "--device") : nil
        try withSurvey { () throws(SurveyError) in
            if let properties {
                try survey.assume(deviceProperties: properties)
            } else {
                try survey.look(device: device)
            }
        }
    }
}

extension RuleReference {
    /// `Payroll/approve, payroll.stile:9`
    var words: String { "\(name), \(file):\(line)" }
}
