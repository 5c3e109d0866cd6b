// The published description of the API (OpenAPI 3.1.0), made from the operations themselves.

import Credentials
import GatewayCore
import HTTPTypes
import StrictJSON

/// Writes the document.
struct OpenAPIDocument {
    let operations: [Operation]

    /// The shape of every error (RFC 9457).
    static let problem = Schema.named(
        "Problem",
        .object([
            .required("type", .text(Schema.TextRule(format: "uri-reference"))), .required("title", .text(0...200)),
            .required("status", .integer(400...599)),
            .required("code", .text(1...100).described("Stable, for programs.")),
            .required("detail", .text(Schema.TextRule()).described("What is wrong, where, and how to mend it.")),
            .optional("diagnostics", .array(Shapes.diagnostic, atMost: Shapes.maxDiagnostics)),
            .optional("tests", .array(Shapes.testResult, atMost: 100_000)),
            .optional("uncovered", .array(.text(0...5_000), atMost: 100_000)),
            .optional("rule_coverage", .integer(0...100)),
            .optional("condition_coverage", .integer(0...100)),
            .optional("uncovered_conditions", .array(Shapes.uncoveredCondition, atMost: Shapes.maxUncovered)),
        ]))

    /// Errors that any operation can answer.
    private static let errors: [(HTTPResponse.Status, String)] = [
        (.badRequest, "The request does not fit its description."),
        (.unauthorized, "No credential, or none that is good."),
        (.forbidden, "The caller's role may not do this, or the tenant that is named is not the caller's."),
        (.notFound, "Nothing is here that the caller may see."),
        (.requestTimeout, "The request took too long to arrive."),
        (.contentTooLarge, "The body is above the limit."),
        (.unsupportedMediaType, "The body is of another type."),
        (.tooManyRequests, "Above the rate of the caller or its address."),
        (.requestHeaderFieldsTooLarge, "The head is above the limits."),
        (.internalServerError, "A failure of the gateway's; its log says more."),
        (.serviceUnavailable, "The store or the decider cannot be used now."),
        (.init(code: 507, reasonPhrase: "Insufficient Storage"), "The store is full."),
    ]

    var json: JSONValue {
        var schemas: [String: JSONValue] = [:]
        Self.problem.collect(&schemas)
        for operation in operations {
            for parameter in operation.parameters { parameter.schema.collect(&schemas) }
            operation.body?.json.collect(&schemas)
            for answer in operation.answers { answer.schema?.collect(&schemas) }
        }
        return .object([
            "openapi": .string("3.1.0"), "info": Self.info, "servers": .array([.object(["url": .string("/")])]),
            "security": .array([.object(["credential": .array([])])]), "paths": paths,
            "components": .object([
                "securitySchemes": .object([
                    "credential": .object([
                        "type": .string("http"), "scheme": .string("bearer"),
                        "description": .string("A credential of `stile credential create` or of this API."),
                    ])
                ]),
                "responses": .object(
                    Self.errors.map { status, words in
                        JSONMember("Error\(status.code)", Self.answer(status, words).json)
                    }),
                "schemas": .object(schemas.sorted { $0.key < $1.key }.map { JSONMember($0.key, $0.value) }),
            ]),
        ])
    }

    /// An error as an answer.
    static func answer(_ status: HTTPResponse.Status, _ words: String) -> Operation.Answer {
        Operation.Answer(status: status, words: words, schema: problem, type: "application/problem+json")
    }

    private static let info = JSONValue.object([
        "title": .string("Stile administration"), "version": .string("1.0.0"),
        "description": .string(
            "Tenants, callers, policies, resources, sessions and signals of Stile. Every request carries a credential; "
                + "a tenant's credential sees that tenant alone, and everything else is not there (404)."),
        "license": .object(["name": .string("Apache-2.0"), "identifier": .string("Apache-2.0")]),
    ])

    private var paths: JSONValue {
        var order: [String] = []
        var byPath: [String: [JSONMember]] = [:]
        for operation in operations {
            if byPath[operation.path] == nil { order.append(operation.path) }
            byPath[operation.path, default: []].append(
                JSONMember(operation.method.rawValue.lowercased(), operation.json(errors: Self.errors)))
        }
        return .object(order.map { JSONMember($0, .object(byPath[$0] ?? [])) })
    }
}

extension Operation {
    fileprivate func json(errors: [(HTTPResponse.Status, String)]) -> JSONValue {
        let allowed = roles.map(\.rawValue).sorted().joined(separator: ", ")
        var members = [
            JSONMember("operationId", .string(id)), JSONMember("tags", .array([.string(tag)])),
            JSONMember("summary", .string(summary)),
            JSONMember("description", .string((details.isEmpty ? "" : details + "\n\n") + "Roles: \(allowed).")),
        ]
        if !parameters.isEmpty { members.append(JSONMember("parameters", .array(parameters.map(\.json)))) }
        if let body { members.append(JSONMember("requestBody", body.document)) }
        members.append(JSONMember("responses", responses(errors)))
        return .object(members)
    }

    private func responses(_ errors: [(HTTPResponse.Status, String)]) -> JSONValue {
        var members: [JSONMember] = answers.map { JSONMember(String($0.status.code), $0.json) }
        for (status, _) in errors where !answers.contains(where: { $0.status.code == status.code }) {
            if status == .unsupportedMediaType, body == nil { continue }
            let reference = JSONValue.object(["$ref": .string("#/components/responses/Error\(status.code)")])
            members.append(JSONMember(String(status.code), reference))
        }
        return .object(members)
    }
}

extension Operation.Parameter {
    fileprivate var json: JSONValue {
        .object([
            "name": .string(name), "in": .string(place.rawValue), "required": .bool(isRequired),
            "description": .string(words), "schema": schema.json,
        ])
    }
}

extension Operation.Body {
    fileprivate var document: JSONValue {
        var types = [JSONMember("application/json", .object(["schema": json.json]))]
        for (type, words) in others {
            let binary = type == "application/x-tar"
            types.append(
                JSONMember(
                    type,
                    .object([
                        "schema": .object(
                            [JSONMember("description", .string(words))]
                                + (binary ? [] : [JSONMember("type", .string("string"))]))
                    ])))
        }
        return .object(["required": .bool(true), "content": .object(types)])
    }
}

extension Operation.Answer {
    fileprivate var json: JSONValue {
        var members = [JSONMember("description", .string(words))]
        if !headers.isEmpty {
            members.append(
                JSONMember(
                    "headers",
                    .object(
                        headers.map {
                            JSONMember(
                                $0.name,
                                .object([
                                    "description": .string($0.words), "required": .bool(true),
                                    "schema": .object(["type": .string("string")]),
                                ]))
                        })))
        }
        if let schema {
            members.append(JSONMember("content", .object([JSONMember(type, .object(["schema": schema.json]))])))
        }
        return .object(members)
    }
}
