// Why a question is answered as it is.

import AttributeStore
import Credentials
import DecisionProtocol
import DecisionReplay
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyAnalysis
import StileClient
import StrictJSON

/// Operations that explain.
enum ExplainOperations {
    static let all: [Operation] = [explain, explainDecision]

    static let entity = Schema.object([
        .required("type", .text(1...256)), .required("id", .text(1...256)), .optional("properties", .map(.any)),
    ])

    static let action = Schema.object([.required("name", .text(1...256)), .optional("properties", .map(.any))])

    private static let question = Schema.named(
        "Question",
        .object([
            .required("subject", entity), .required("action", action),
            .required("resource", entity), .optional("context", .map(.any)),
            .optional("session", .text(1...256)), .optional("device", .text(1...256)),
        ]))

    private static let answer = Schema.named(
        "Explanation",
        .object([
            .required("decision", .boolean),
            .required(
                "context",
                .map(.any).described(
                    "Outcome, rules with file and line, and for each candidate rule whether it matches and which "
                        + "conditions stood in the way.")),
        ]))

    private static let explain = Operation(
        "explainQuestion", "Questions", .post, "/admin/v1/tenants/{tenant}/explain", roles: [.tenantAdmin, .auditor],
        "Ask a question (AuthZEN's information model) and be told why.", parameters: [TenantOperations.path],
        body: .init(json: question), answers: [.ok("The answer of stiled.", answer)]
    ) { request in
        let tenant = try request.tenant
        var question = try question(request.json)
        question.explain = true
        let asked = question
        let answer = try await request.services.decisions.ask(tenant) { (connection) throws(ClientError) in
            let answers = try connection.ask([asked])
            guard let answer = answers.first else { throw ClientError(description: "no answer") }
            return answer
        }
        return .json(answer.json)
    }

    // MARK: Decisions of the log

    private static let replay = Schema.named(
        "ReplayedDecision",
        .object([
            .required("logged", .map(.any).described("The decision as its log has it.")),
            .required("agrees", .boolean.described("Decided again, the answer is the logged one.")),
            .required(
                "divergences",
                .array(
                    .object([.required("code", .text(1...100)), .required("message", .text(Schema.TextRule()))]),
                    atMost: 100
                ).described("Why the explanation may not explain what was decided.")),
            .required(
                "values",
                .object([
                    .required("given", .word(["decision_log"])), .required("stored", .word(["change_log"])),
                    .required("as_of", Shapes.instant), .required("last_change", .integer(0...Int.max)),
                    .required("masked", .array(.text(Schema.TextRule()), atMost: 100_000)),
                    .required(
                        "changed_since",
                        .array(
                            .object([
                                .required("part", .text(1...100)), .required("changes", .integer(0...Int.max)),
                                .required("first", Shapes.instant), .required("last", Shapes.instant),
                            ]), atMost: 100)),
                ]).described("Where the values come from, and which have changed.")),
            .required("active_version", .integer(0...Int.max)), .required("answer", answer),
            .optional("outcome", .any), .optional("rules", .array(.map(.any), atMost: 100_000)),
            .optional("candidates", .array(.map(.any), atMost: 100_000)),
            .optional("faults", .array(.map(.any), atMost: 100_000)),
            .optional(
                "changes",
                .array(.map(.any), atMost: 100).described("The smallest sets of changes that would make it a permit.")),
            .optional("search", .map(.any)),
        ]))

    /// Seconds that the search through the log may take.
    private static let patience = 10

    private static let explainDecision = Operation(
        "explainDecision", "Questions", .get, "/admin/v1/tenants/{tenant}/decisions/{decision}",
        roles: [.tenantAdmin, .auditor], "Say why a logged decision came out as it did.",
        details:
            "It is taken from the log and decided again by the version that made it, as of its instant, on what the store "
            + "held then: as `stile why ID --json` tells.",
        parameters: [
            TenantOperations.path,
            .path(
                "decision",
                .text(
                    Schema.TextRule(
                        pattern: ("^[0-9a-f]{32}$", { $0.utf8.count == 32 && Cursor.key($0) != nil }))),
                "The decision's id.", isTold: true),
            .query(
                "max_changes", .integer(0...5),
                "Things that change together in a suggestion, at most; 3 unless told otherwise, 0 looks for none."),
            .query(
                "seconds", .integer(1...30),
                "How long the log may be searched; \(patience) unless told otherwise."),
        ],
        answers: [
            .ok("Why.", replay), TenantOperations.conflict("The log, or the store, does not hold what it takes."),
            OpenAPIDocument.answer(.gone, "The version that made the decision is no longer kept."),
            OpenAPIDocument.answer(.unprocessableContent, "The log was not looked through in the time given."),
        ]
    ) { request in
        let tenant = try request.tenant
        let id = Cursor.key(try request.path("decision")) ?? []
        let store = request.services.desk.book.store
        let directory = request.services.logDirectory
        let seconds = request.integer("seconds", or: patience)
        var limits = ChangeSearch.Limits()
        limits.together = request.integer("max_changes", or: limits.together)
        let given = limits
        let end = Interruption()
        return try await request.services.analyses.run(of: tenant, endingBy: { end.raise() }) {
            do throws(ReplayError) {
                let replay = try ScratchDirectory.with { scratch throws(ReplayError) in
                    try DecisionReplay(
                        of: id, tenant: tenant, in: store, logDirectory: directory, scratch: scratch,
                        interruption: Interruption(after: .seconds(seconds), orWith: end))
                }
                return .json(ReplayReport(replay, tenant: tenant, limits: given).json)
            } catch {
                throw refusal(error, places: [directory, store.path].compactMap(\.self))
            }
        }
    }

    /// A replay's refusal as an answer.
    /// - Parameter places: directories that no answer names: where files lie is for the operator alone.
    static func refusal(_ error: ReplayError, places: [String]) -> GatewayError {
        let message = places.reduce(error.message) { $0.replacing($1, with: "…") }
        func refused(_ status: HTTPResponse.Status, _ message: String) -> GatewayError {
            var refusal = GatewayError(status, error.code.rawValue, message)
            if message != error.message { refusal.hidden = error.message }
            return refusal
        }
        switch error.code {
        case .tenantUnknown: return .notFound
        case .logMissing:
            return refused(
                .notFound,
                "no decision was logged yet, or the gateway's log_directory is not the directory that stiled logs to")
        case .decisionUnknown, .logSampled: return refused(.notFound, message)
        case .noVersion, .questionWithheld: return refused(.conflict, message)
        case .versionGone: return refused(.gone, message)
        case .tooMuchWork: return refused(.unprocessableContent, message)
        case .notRestorable:
            return refused(
                .conflict, "the version that made it, or what it read, cannot be had again; the operator's log says why"
            )
        case .store:
            var failure = GatewayError(
                .internalServerError, "store_unavailable", "the store cannot be used; the operator's log says why")
            failure.hidden = error.message
            return failure
        }
    }

    // MARK: Questions

    /// A question from its JSON.
    static func question(_ json: JSONValue) throws(GatewayError) -> Question {
        do throws(RequestError) {
            return try Question(json: json)
        } catch {
            throw GatewayError.invalid(error.path, error.message)
        }
    }
}
