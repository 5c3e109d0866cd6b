// The published description of the API (OpenAPI 3.1.0). The specification names the shapes; here stands what this decision point
// takes and gives: names of 1 to 256 bytes, `session` and `device`, the context of its decisions.
//
// Requests may carry members that are not described (5.1): they are passed over. So no object here is closed.

import DecisionProtocol
import GatewayCore
import HTTPTypes
import Hummingbird
package import StrictJSON

/// Writes and serves the document.
package enum Description {
    static let path = "/access/v1/openapi.json"

    /// Serves it on the listener that it describes, to everybody who reaches that.
    static var endpoint: Endpoint {
        let text = document.compact
        return Endpoint(.get, path, access: .open, errors: .text) { _, _ in
            var headers: HTTPFields = [.contentType: "application/json"]
            headers[.cacheControl] = "max-age=3600"
            return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
        }
    }

    /// The document.
    package static var document: JSONValue {
        .object([
            "openapi": .string("3.1.0"), "info": info, "servers": .array([.object(["url": .string("/")])]),
            "security": .array([.object(["credential": .array([])])]),
            "paths": .object(asked + metadata),
            "components": .object([
                "securitySchemes": .object([
                    "credential": .object([
                        "type": .string("http"), "scheme": .string("bearer"),
                        "description": .string("A credential of role pep: `stile credential create --role pep`."),
                    ])
                ]),
                "parameters": .object(["Tenant": tenant]),
                "responses": .object(
                    errors.map { status, words in
                        JSONMember("Error\(status)", .object(["description": .string(words), "content": text]))
                    }),
                "schemas": .object(schemas),
            ]),
        ])
    }

    private static let info = JSONValue.object([
        "title": .string("Stile decisions"), "version": .string("1.0.0"),
        "description": .string(
            "AuthZEN Authorization API 1.0 as Stile answers it. A denial is an answer (200); an error of HTTP says that there "
                + "is none, and the application denies. The paths without a tenant are for that of the credential; "
                + "those with one must name the same. `X-Request-ID` is echoed."),
        "license": .object(["name": .string("Apache-2.0"), "identifier": .string("Apache-2.0")]),
    ])

    // MARK: Paths

    /// An API of the specification, at its two paths.
    private struct API {
        var path: String
        var id: String
        var summary: String
        var details: String
        var request: String
        var answer: String
    }

    private static let apis = [
        API(
            path: "/access/v1/evaluation", id: "evaluate", summary: "May this subject do this, now?",
            details: "Section 6 of the specification.", request: "EvaluationRequest", answer: "Decision"),
        API(
            path: "/access/v1/evaluations", id: "evaluateMany", summary: "Many questions at one instant.",
            details:
                "Section 7: answers in the order of the items, all on one snapshot of the store. Without items it is "
                + "one question, and its answer one decision. What is wrong with one item is that item's denial.",
            request: "EvaluationsRequest", answer: "DecisionOrDecisions"),
        API(
            path: "/access/v1/search/subject", id: "searchSubjects", summary: "Who may do this?",
            details: "Section 8.4: the subjects of a type who are permitted, page by page.", request: "SubjectSearch",
            answer: "Entities"),
        API(
            path: "/access/v1/search/resource", id: "searchResources", summary: "To which resources may this be done?",
            details: "Section 8.5: the registered resources of a type for which it is permitted, page by page.",
            request: "ResourceSearch", answer: "Entities"),
        API(
            path: "/access/v1/search/action", id: "searchActions", summary: "What may this subject do to this?",
            details: "Section 8.6: the actions of the catalog that are permitted, page by page.",
            request: "ActionSearch",
            answer: "Actions"),
    ]

    private static var asked: [JSONMember] {
        apis.flatMap { api in
            [
                JSONMember(api.path, .object(["post": operation(api, ofTenant: false)])),
                JSONMember("/{tenant}" + api.path, .object(["post": operation(api, ofTenant: true)])),
            ]
        }
    }

    private static func operation(_ api: API, ofTenant: Bool) -> JSONValue {
        var members = [
            JSONMember("operationId", .string(api.id + (ofTenant ? "OfTenant" : ""))),
            JSONMember("tags", .array([.string("Decisions")])), JSONMember("summary", .string(api.summary)),
            JSONMember("description", .string(api.details + "\n\nRoles: pep.")),
        ]
        if ofTenant {
            members.append(
                JSONMember("parameters", .array([.object(["$ref": .string("#/components/parameters/Tenant")])])))
        }
        let body = JSONValue.object(["required": .bool(true), "content": json(api.request)])
        members.append(JSONMember("requestBody", body))
        let success = JSONValue.object(["description": .string("The answer."), "content": json(api.answer)])
        members.append(JSONMember("responses", responses(success, errors.map(\.0))))
        return .object(members)
    }

    private static let tenant = JSONValue.object([
        "name": .string("tenant"), "in": .string("path"), "required": .bool(true),
        "description": .string("The tenant of the credential; any other is not here (404)."),
        "schema": reference("TenantID"),
    ])

    private static var metadata: [JSONMember] {
        func get(_ id: String, _ summary: String, _ schema: String, _ refusals: [Int], _ parameters: [JSONValue] = [])
            -> JSONValue
        {
            var members = [
                JSONMember("operationId", .string(id)), JSONMember("tags", .array([.string("Metadata")])),
                JSONMember("summary", .string(summary)), JSONMember("security", .array([])),
            ]
            if !parameters.isEmpty { members.append(JSONMember("parameters", .array(parameters))) }
            let success = JSONValue.object(["description": .string("What is asked for."), "content": json(schema)])
            members.append(JSONMember("responses", responses(success, refusals)))
            return .object(["get": .object(members)])
        }
        let path = "/.well-known/authzen-configuration"
        let named = JSONValue.object([
            "name": .string("tenant"), "in": .string("path"), "required": .bool(true),
            "description": .string("Any tenant's id: the answer does not tell which tenants there are."),
            "schema": reference("TenantID"),
        ])
        return [
            JSONMember(path, get("readMetadata", "Where to ask (section 9).", "Metadata", [400, 429, 431, 500])),
            JSONMember(
                path + "/{tenant}",
                get(
                    "readMetadataOfTenant", "Where to ask about a tenant.", "Metadata", [400, 404, 429, 431, 500],
                    [named])),
            JSONMember(
                "/.well-known/jwks.json",
                get("readKeys", "The key that signed metadata are verified with.", "KeySet", [429, 431, 500])),
        ]
    }

    // MARK: Answers

    private static let errors: [(Int, String)] = [
        (400, "The request does not fit its description; the text says where."),
        (401, "No credential, or none that is good."),
        (403, "The caller's role may not ask, or the header Stile-Tenant names another tenant."),
        (404, "Nothing is here that the caller may see."), (408, "The request took too long to arrive."),
        (413, "The body is above the limit."), (429, "Above a rate, or above the tenant's budget of questions."),
        (431, "The head is above the limits."), (500, "A failure of the gateway's; its log says more."),
        (503, "The decider cannot be asked now."),
    ]

    private static func responses(_ success: JSONValue, _ refusals: [Int]) -> JSONValue {
        .object(
            [JSONMember("200", success)]
                + refusals.map {
                    JSONMember(String($0), .object(["$ref": .string("#/components/responses/Error\($0)")]))
                })
    }

    private static let text = JSONValue.object([
        "text/plain": .object([
            "schema": .object([
                "type": .string("string"),
                "description": .string("A code for programs, a colon, and what is wrong, where, and how to mend it."),
            ])
        ])
    ])

    private static func json(_ schema: String) -> JSONValue {
        .object(["application/json": .object(["schema": reference(schema)])])
    }

    // MARK: Schemas

    private static func reference(_ name: String) -> JSONValue {
        .object(["$ref": .string("#/components/schemas/\(name)")])
    }

    private static func words(_ text: String) -> JSONMember { JSONMember("description", .string(text)) }

    private static func object(_ required: [String], _ properties: [JSONMember], _ more: JSONMember...) -> JSONValue {
        var members = [JSONMember("type", .string("object"))]
        if !required.isEmpty { members.append(JSONMember("required", .array(required.map { .string($0) }))) }
        members.append(JSONMember("properties", .object(properties)))
        return .object(members + more)
    }

    private static func list(_ items: JSONValue, _ more: JSONMember...) -> JSONValue {
        .object([JSONMember("type", .string("array")), JSONMember("items", items)] + more)
    }

    private static func some(_ type: String, _ more: JSONMember...) -> JSONValue {
        .object([JSONMember("type", .string(type))] + more)
    }

    private static func ref(_ member: String, _ schema: String) -> JSONMember { JSONMember(member, reference(schema)) }

    private static var schemas: [JSONMember] { questions + searches + answers + found }

    private static let maybeObject = JSONValue.object(["type": .array([.string("object"), .string("null")])])

    /// What a question says beside who, what and to what.
    private static let circumstances = [
        ref("context", "Context"), ref("session", "RecordID"), ref("device", "RecordID"),
    ]

    private static let questions: [JSONMember] = [
        JSONMember(
            "TenantID", some("string", JSONMember("pattern", .string("^[a-z0-9][a-z0-9-]{0,62}$")))),
        JSONMember(
            "Name",
            some(
                "string", JSONMember("minLength", .integer(1)),
                JSONMember("maxLength", .integer(ProtocolLimits.maxNameBytes)),
                words("1 to \(ProtocolLimits.maxNameBytes) bytes of UTF-8."))),
        JSONMember(
            "RecordID",
            .object([
                words("The id of a session or a device that the store has (this product's addition)."),
                JSONMember(
                    "anyOf",
                    .array([reference("Name"), object(["id"], [ref("id", "Name")]), some("null")])),
            ])),
        JSONMember(
            "Entity",
            object(
                ["type", "id"], [ref("type", "Name"), ref("id", "Name"), JSONMember("properties", maybeObject)],
                words("A subject or a resource. Properties count where the catalog lets the application say them."))),
        JSONMember(
            "EntityType",
            object(
                ["type"], [ref("type", "Name"), JSONMember("properties", maybeObject)],
                words("What is searched for: an id, if there is one, does not count."))),
        JSONMember(
            "Action", object(["name"], [ref("name", "Name"), JSONMember("properties", maybeObject)])),
        JSONMember(
            "Context",
            .object([
                JSONMember("type", .array([.string("object"), .string("null")])),
                JSONMember(
                    "properties",
                    .object([
                        Negotiation.member: list(
                            some("string"),
                            words(
                                "Types of obligations that the application carries out, of "
                                    + Negotiation.advertised.joined(separator: ", ")
                                    + "; a permit with another is denied to it."))
                    ])),
            ])),
        JSONMember(
            "EvaluationRequest",
            object(
                ["subject", "action", "resource"],
                [ref("subject", "Entity"), ref("action", "Action"), ref("resource", "Entity")] + circumstances)),
        JSONMember("EvaluationsRequest", many),
    ]

    private static let many = JSONValue.object([
        words("Members beside `evaluations` are the defaults of its items, each taken whole."),
        JSONMember(
            "anyOf",
            .array([
                object(
                    ["evaluations"],
                    [
                        JSONMember(
                            "evaluations",
                            list(
                                .object([
                                    words("An item that is no question is denied, and says why in `context.error`."),
                                    JSONMember("anyOf", .array([reference("EvaluationItem"), .bool(true)])),
                                ]),
                                JSONMember("minItems", .integer(1)),
                                JSONMember("maxItems", .integer(ProtocolLimits.maxBatch)))),
                        JSONMember(
                            "options",
                            object(
                                [],
                                [
                                    JSONMember(
                                        "evaluations_semantic",
                                        .object([
                                            "enum": .array([
                                                .string("execute_all"), .string("deny_on_first_deny"),
                                                .string("permit_on_first_permit"),
                                            ])
                                        ]))
                                ])),
                    ]),
                .object([
                    JSONMember(
                        "allOf",
                        .array([
                            reference("EvaluationRequest"),
                            object(
                                [], [JSONMember("evaluations", list(.bool(true), JSONMember("maxItems", .integer(0))))]),
                        ]))
                ]),
            ])),
    ])

    private static let searches: [JSONMember] = [
        JSONMember(
            "EvaluationItem",
            object(
                [], [ref("subject", "Entity"), ref("action", "Action"), ref("resource", "Entity")] + circumstances)),
        JSONMember(
            "PageRequest",
            .object([
                JSONMember("type", .array([.string("object"), .string("null")])),
                JSONMember(
                    "properties",
                    .object([
                        "token": .object([
                            "type": .array([.string("string"), .string("null")]),
                            "description": .string(
                                "`next_token` of the page before; the rest of the request stays the same."),
                        ]),
                        "limit": .object([
                            "type": .array([.string("integer"), .string("null")]), "minimum": .integer(0),
                            "description": .string(
                                "Results at most; \(Searching.maxLimit) are the most, 0 leaves it open."),
                        ]),
                    ])),
            ])),
        JSONMember(
            "SubjectSearch",
            object(
                ["subject", "action", "resource"],
                [
                    ref("subject", "EntityType"), ref("action", "Action"), ref("resource", "Entity"),
                    ref("context", "Context"),
                    ref("device", "RecordID"),
                    JSONMember(
                        "session", some("null", words("A session is one subject's: it cannot stand in this search."))),
                    ref("page", "PageRequest"),
                ])),
        JSONMember(
            "ResourceSearch",
            object(
                ["subject", "action", "resource"],
                [ref("subject", "Entity"), ref("action", "Action"), ref("resource", "EntityType")] + circumstances
                    + [ref("page", "PageRequest")])),
        JSONMember(
            "ActionSearch",
            object(
                ["subject", "resource"],
                [ref("subject", "Entity"), ref("resource", "Entity")] + circumstances + [ref("page", "PageRequest")])),
    ]

    private static let answers: [JSONMember] = [
        JSONMember(
            "Decision",
            object(
                ["decision", "context"], [JSONMember("decision", some("boolean")), ref("context", "DecisionContext")])),
        JSONMember(
            "Decisions",
            object(
                ["evaluations"],
                [
                    JSONMember(
                        "evaluations",
                        list(
                            object(
                                ["decision", "context"],
                                [
                                    JSONMember("decision", some("boolean")),
                                    JSONMember(
                                        "context",
                                        .object(["anyOf": .array([reference("DecisionContext"), reference("Mistake")])])
                                    ),
                                ])))
                ])),
        JSONMember(
            "DecisionOrDecisions", .object(["anyOf": .array([reference("Decisions"), reference("Decision")])])),
        JSONMember("DecisionContext", decisionContext),
        JSONMember(
            "Mistake",
            object(
                ["kind", "error"],
                [
                    JSONMember("kind", .object(["const": .string("error")])),
                    JSONMember("error", error),
                ], words("An item of a batch that is no question."))),
        JSONMember(
            "Obligation",
            object(
                ["id", "type", "properties"],
                [
                    JSONMember("id", some("string")), JSONMember("type", some("string")),
                    JSONMember("properties", some("object")),
                ], words("What the application must do along with a permit (obligations profile 1.0)."))),
    ]

    private static let error = object(
        ["status", "code", "message"],
        [
            JSONMember("status", some("integer")), JSONMember("code", some("string", words("Stable, for programs."))),
            JSONMember("attribute", some("string")), JSONMember("message", some("string")),
        ])

    private static let reasons = JSONValue.object([
        "type": .string("object"), "additionalProperties": some("string"),
        "description": .string("A text by the status of HTTP that it goes with."),
    ])

    private static let decisionContext = object(
        ["evaluation_id", "evaluated_at", "snapshot_id", "policy_version", "kind", "reason_admin"],
        [
            JSONMember(
                "evaluation_id",
                some(
                    "string", JSONMember("pattern", .string("^[0-9a-f]{32}$")),
                    words("Names it in the log of decisions."))),
            JSONMember("evaluated_at", some("string", JSONMember("format", .string("date-time")))),
            JSONMember("snapshot_id", some("string")), JSONMember("policy_version", some("integer")),
            JSONMember(
                "valid_until",
                some(
                    "string", JSONMember("format", .string("date-time")),
                    words("The first instant at which time alone changes it."))),
            JSONMember(
                "kind",
                .object([
                    "enum": .array(["permitted", "forbidden", "not_permitted", "step_up", "error"].map { .string($0) })
                ])),
            JSONMember("reason_admin", reasons), JSONMember("reason_user", reasons), JSONMember("error", error),
            JSONMember("acr_values", some("string")), JSONMember("amr_values", some("string")),
            JSONMember("max_age", some("integer")),
            JSONMember("www_authenticate", some("string", words("The challenge to pass on (RFC 9470)."))),
            JSONMember("obligations", list(reference("Obligation"))),
        ])

    private static func page(of result: JSONValue) -> JSONValue {
        object(
            ["page", "context", "results"],
            [
                JSONMember(
                    "page",
                    object(
                        ["next_token", "count"],
                        [
                            JSONMember("next_token", some("string", words("Empty on the last page."))),
                            JSONMember("count", some("integer")),
                        ])),
                JSONMember(
                    "context",
                    object(
                        ["evaluated_at", "snapshot_id", "policy_version"],
                        [
                            JSONMember("evaluated_at", some("string", JSONMember("format", .string("date-time")))),
                            JSONMember("snapshot_id", some("string")), JSONMember("policy_version", some("integer")),
                        ])),
                JSONMember("results", list(result)),
            ])
    }

    private static let obligations = JSONMember("obligations", list(reference("Obligation")))

    private static let found: [JSONMember] = [
        JSONMember(
            "Entities",
            page(
                of: object(
                    ["type", "id"], [JSONMember("type", some("string")), JSONMember("id", some("string")), obligations])
            )),
        JSONMember("Actions", page(of: object(["name"], [JSONMember("name", some("string")), obligations]))),
        JSONMember(
            "Metadata",
            object(
                ["policy_decision_point", "access_evaluation_endpoint", "supported_obligations"],
                Metadata.members("").map { member in
                    JSONMember(member.name, member.value.array == nil ? some("string") : list(some("string")))
                } + [JSONMember("jwks_uri", some("string")), JSONMember("signed_metadata", some("string"))])),
        JSONMember("KeySet", object(["keys"], [JSONMember("keys", list(some("object")))])),
    ]
}
