// Who may do this, what may this user do: put to every subject, or to every action and type of resource.

import AttributeStore
import Credentials
import DecisionEngine
import DecisionPath
import DecisionProtocol
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyAnalysis
import PolicyLanguage
import StrictJSON
import Surveys

/// Surveys of a tenant.
enum SurveyOperations {
    static let all: [Operation] = [who, what]

    private static let base = "/admin/v1/tenants/{tenant}"

    // MARK: Limits

    /// Subjects asked about for one page; a page can be short, or empty, and still have a next one.
    private static let maxSubjects = 50_000
    /// Registered resources asked about for one permission.
    private static let maxResources = 10_000
    /// Sessions looked through for the live ones.
    private static let maxSessions = 200_000
    /// A page ends after so long; what it has by then is answered.
    private static let patience = Duration.seconds(5)

    // MARK: Shapes

    private static let assumptions: [Schema.Field] = [
        .optional(
            "sign_in",
            .word(["own", "none", "best"]).described(
                "own (unless told otherwise): with the live sessions that the store has; none: not signed in; best: with "
                    + "every level that can be reached and every method, just now.")),
        .optional("session", Shapes.entityID.described("A session of the store instead, by its id.")),
        .optional(
            "authentication",
            .object([
                .optional("assurance", .text(1...256)), .optional("age_seconds", .integer(0...10_000_000_000)),
                .optional("amr", .array(.text(1...100), atMost: 64)),
            ]).described("An authentication instead that is made up.")),
        .optional("device", Shapes.entityID.described("A device of the store; the session's unless told otherwise.")),
        .optional("device_properties", .map(.any).described("A device instead that is made up: attributes by name.")),
        .optional("context", .map(.any)),
        .optional("limit", .integer(1...1_000).described("Entries of a page at most; 100 unless told otherwise.")),
        .optional("after", Shapes.cursor.described("`next` of the page before.")),
    ]

    private static let cause = Schema.object([
        .required("code", .text(1...100)), .optional("attribute", .text(Schema.TextRule())),
        .required("message", .text(Schema.TextRule())),
    ])

    private static let rule = Schema.named(
        "DecidingRule",
        .object([
            .required("name", .text(Schema.TextRule())), .required("file", .text(Schema.TextRule())),
            .required("line", .integer(0...Int(Int32.max))), .optional("because", .text(Schema.TextRule())),
        ]))

    private static let found = Schema.named(
        "FoundSubject",
        .object([
            .required("subject", Shapes.entity), .required("outcome", .word(["permit", "deny", "step_up"])),
            .required("kind", .text(1...100)), .optional("step_up", .map(.any)), .optional("cause", cause),
            .required("rules", .array(rule, atMost: 100_000)),
            .optional("session", Shapes.entityID.described("The session of the store that the answer hangs on.")),
            .optional("valid_until", Shapes.instant),
        ]))

    private static let outcome = Schema.object([
        .required("extent", .word(["always", "sometimes", "never"])),
        .required("when", .text(Schema.TextRule()).described("The condition as text.")),
        .required("condition", .any.described("The condition as a tree.")),
    ])

    private static let permission = Schema.named(
        "EffectivePermission",
        .object([
            .required("action", .text(1...5_000)), .required("resource", .text(1...5_000)),
            .required("permit", outcome), .required("step_up", outcome),
            .required(
                "demands",
                .array(
                    .object([.required("step_up", .map(.any)), .required("when", .text(Schema.TextRule()))]),
                    atMost: 10_000
                ).described("What a step-up would demand, and when.")),
            .required(
                "missing",
                .array(.text(Schema.TextRule()), atMost: 10_000).described(
                    "Attributes without which every question is an error.")),
            .optional(
                "registered",
                .object([
                    .required("permitted", ids), .required("permitted_count", .integer(0...Int.max)),
                    .required("step_up", ids), .required("step_up_count", .integer(0...Int.max)),
                    .required("looked_at", .integer(0...Int.max)),
                    .required("cut_short", .boolean.described("There are more than were looked at.")),
                ]).described("Of the registered resources; absent when none of the type is.")),
            .optional("valid_until", Shapes.instant),
        ]))
    private static let ids = Schema.array(Shapes.entityID, atMost: 1_000)

    private static let tooMuch = Operation.Answer(
        status: .unprocessableContent,
        words: "It would take more than it may (`too_much_work`), or does not fit the catalog (`question_invalid`).",
        schema: OpenAPIDocument.problem, type: "application/problem+json")

    // MARK: Who

    private static let who = Operation(
        "listSubjectsWho", "Questions", .post, base + "/who", roles: [.tenantAdmin, .auditor],
        "List who may do an action to a resource, at once or after a step-up.",
        details:
            "Every provisioned subject is asked about by the code that answers questions, on one snapshot a page. A page "
            + "can be short, or empty, and still have a next one.",
        parameters: [TenantOperations.path],
        body: .init(
            json: .named(
                "WhoQuestion",
                .object(
                    [
                        .required("action", ExplainOperations.action), .required("resource", ExplainOperations.entity),
                        .optional("subject_type", Shapes.typeName.described("Subjects of this type alone.")),
                        .optional("all", .boolean.described("true lists those who are denied too.")),
                    ] + assumptions))),
        answers: [
            .ok(
                "A page of subjects.",
                .named(
                    "FoundSubjectPage",
                    .object([
                        .required("subjects", .array(found, atMost: 1_000)),
                        .required("looked_at", .integer(0...Int.max)), .required("permitted", .integer(0...Int.max)),
                        .required("step_up", .integer(0...Int.max)), .required("denied", .integer(0...Int.max)),
                        .required("errors", .integer(0...Int.max)), .required("without_session", .integer(0...Int.max)),
                        .optional("next", Shapes.cursor),
                    ]))), tooMuch,
        ]
    ) { request in
        let parts = ["action", "resource", "context"].compactMap { name in
            request.json[name].map { JSONMember(name, $0) }
        }
        var whole = try ExplainOperations.question(
            .object(parts + [JSONMember("subject", .object(["type": .string("user"), "id": .string("*")]))]))
        whole.subject = nil
        let question = whole
        let limit = Int(request.json["limit"]?.integer ?? 100)
        let after = try after(request)
        return try await survey(request) { survey, session, end in
            try survey.ask(question)
            try assume(request, survey, session)
            var options = SubjectSearch.Options()
            options.session = session
            options.tellsDenied = request.json["all"]?.bool ?? false
            options.type = request.json["subject_type"]?.string
            options.after = after.map { EntityName(type: $0, id: $1) }
            options.maxSessions = maxSessions
            var search = try SubjectSearch(survey, options)
            var found: [JSONValue] = []
            while try search.step(atMost: limit - found.count, { found.append($0.json) }),
                found.count < limit, search.looked < maxSubjects, !end.isDue
            {}
            var members = [JSONMember("subjects", .array(found))] + search.summary
            if let next = search.next { members.append(JSONMember("next", cursor(next.type, next.id))) }
            return .object(members)
        }
    }

    // MARK: What

    private static let what = Operation(
        "listEffectivePermissions", "Questions", .post, base + "/what", roles: [.tenantAdmin, .auditor],
        "Say what a subject may do: always, never, or under which condition.",
        details:
            "For each action on each type of resource, everything is looked up that is known of the subject, and what "
            + "remains of the policies is a condition on the resource, on the action's properties and, unless it is given, "
            + "on the context. Of the registered resources those that are permitted are named.",
        parameters: [TenantOperations.path],
        body: .init(
            json: .named(
                "WhatQuestion",
                .object(
                    [
                        .required("subject", ExplainOperations.entity),
                        .optional("action", .text(1...256).described("This action alone.")),
                        .optional("resource_type", Shapes.typeName.described("Resources of this type alone.")),
                        .optional("any_time", .boolean.described("true leaves schedules in the conditions.")),
                        .optional(
                            "named",
                            .integer(0...1_000).described(
                                "Registered resources to name for each outcome; 20 unless told otherwise.")),
                    ] + assumptions))),
        answers: [
            .ok(
                "A page of permissions.",
                .named(
                    "EffectivePermissionPage",
                    .object([
                        .required("subject", Shapes.entity),
                        .required("active", .boolean.described("False once it was deactivated.")),
                        .optional("session", Shapes.entityID.described("The session that counts.")),
                        .required("permissions", .array(permission, atMost: 1_000)),
                        .optional("next", Shapes.cursor),
                    ]))), tooMuch,
        ]
    ) { request in
        let any = JSONValue.object(["type": .string("user"), "id": .string("*"), "name": .string("*")])
        var members = [JSONMember("subject", request.json["subject"] ?? any)]
        members += [JSONMember("action", any), JSONMember("resource", any)]
        let question = try ExplainOperations.question(.object(members))
        let limit = Int(request.json["limit"]?.integer ?? 100)
        let after = try after(request)
        return try await survey(request) { survey, session, end in
            try assume(request, survey, session)
            var options = PermissionInventory.Options()
            options.session = session
            options.action = request.json["action"]?.string
            options.type = request.json["resource_type"]?.string
            options.context = request.json["context"]
            options.isTimeOpen = request.json["any_time"]?.bool ?? false
            options.maxNamed = Int(request.json["named"]?.integer ?? 20)
            options.maxResources = maxResources
            options.maxSessions = maxSessions
            let inventory = try PermissionInventory(survey, of: question, options)
            var left = inventory.permissions[...]
            if let (type, action) = after {
                guard let place = left.firstIndex(where: { $0.type == type && $0.action == action }) else {
                    throw SurveyError.question("after: the catalog has changed: begin anew")
                }
                left = left[(place + 1)...]
            }
            var found: [JSONValue] = []
            var last: PermissionInventory.Permission?
            while found.count < limit, found.isEmpty || !end.isDue, let permission = left.popFirst() {
                found.append(try inventory.entry(permission).json)
                last = permission
            }
            let situation = inventory.situation
            var members = [
                JSONMember(
                    "subject",
                    .object([
                        "type": .string(survey.catalog.entities[situation.subjectType].name),
                        "id": .string(situation.subjectID),
                    ])),
                JSONMember("active", .bool(!situation.isSubjectInactive)),
            ]
            if let session = inventory.session { members.append(JSONMember("session", .string(session))) }
            members.append(JSONMember("permissions", .array(found)))
            if !left.isEmpty, let last { members.append(JSONMember("next", cursor(last.type, last.action))) }
            return .object(members)
        }
    }

    // MARK: Both

    /// Runs a survey with the snapshot of now, on a thread for such work.
    private static func survey(
        _ request: AdminRequest,
        _ body: @escaping @Sendable (TenantSurvey, AssumedSession, Interruption) throws -> JSONValue
    ) async throws -> Response {
        let tenant = try request.tenant
        let json = request.json
        let given = ["sign_in", "session", "authentication"].filter { json[$0] != nil }
        guard given.count < 2 else {
            throw GatewayError.invalid(given[1], "goes not together with \(given[0])")
        }
        if json["device"] != nil, json["device_properties"] != nil {
            throw GatewayError.invalid("device", "goes not together with device_properties")
        }
        _ = try TenantOperations.record(tenant, request)
        let store = request.services.desk.book.store
        let policies = request.services.policies
        let now = request.context.now
        let end = Interruption()
        return try await request.services.analyses.run(of: tenant, endingBy: { end.raise() }) {
            do {
                let survey = try TenantSurvey(store, tenant: tenant, now: now, board: policies.board(of: tenant))
                let session = try session(json, survey)
                return .json(try body(survey, session, Interruption(after: patience, orWith: end)))
            } catch let error as SurveyError {
                throw refusal(error)
            }
        }
    }

    private static func session(_ json: JSONValue, _ survey: TenantSurvey) throws(SurveyError) -> AssumedSession {
        if let id = json["session"]?.string { return .recorded(id) }
        if let made = json["authentication"] {
            return try .assumed(
                level: made["assurance"]?.string, age: made["age_seconds"]?.integer.map { $0 * 1_000 },
                methods: (made["amr"]?.array ?? []).compactMap(\.string), survey.catalog, now: survey.now)
        }
        switch json["sign_in"]?.string {
        case "none": return .none
        case "best": return .best(survey.catalog, now: survey.now)
        default: return .own
        }
    }

    private static func assume(
        _ request: AdminRequest, _ survey: TenantSurvey, _ session: AssumedSession
    ) throws(SurveyError) {
        if let properties = request.json["device_properties"] {
            try survey.assume(deviceProperties: properties)
        } else if let id = request.json["device"]?.string {
            try survey.look(device: id)
        }
        if case .assumed(let facts) = session { survey.assume(session: facts) }
    }

    private static func refusal(_ error: SurveyError) -> GatewayError {
        switch error {
        case .store(let error): GatewayError(error)
        case .noPolicies: GatewayError(.notFound, "no_policies", "no version decides: upload one")
        case .unknownSubject(let message): GatewayError(.notFound, "subject_unknown", message)
        case .question(let message): ReviewOperations.refusal("question_invalid", message)
        case .tooMuchWork(let message): ReviewOperations.refusal("too_much_work", message)
        }
    }

    /// Two names as a cursor.
    private static func cursor(_ first: String, _ second: String) -> JSONValue {
        .string(Cursor.text(Array(first.utf8) + [0] + Array(second.utf8)))
    }

    private static func after(_ request: AdminRequest) throws(GatewayError) -> (String, String)? {
        guard let text = request.json["after"]?.string else { return nil }
        let parts = (Cursor.key(text) ?? []).split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
            .map { String(validating: $0, as: UTF8.self) }
        guard parts.count == 2, let first = parts[0], let second = parts[1] else {
            throw GatewayError.invalid("after", "no cursor of this list: give `next` of the page before")
        }
        return (first, second)
    }
}
