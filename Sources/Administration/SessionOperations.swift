// Sessions: who is signed in, by what, and until when; and their end.

import AttributeStore
import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyLanguage
import StrictJSON

/// Operations on sessions.
enum SessionOperations {
    static let all: [Operation] = [list, get, revoke, revokeAll]

    private static let base = "/admin/v1/tenants/{tenant}/sessions"
    private static let id = Operation.Parameter.path("session", Shapes.entityID, "The session's id.")

    private static let session = Schema.named(
        "Session",
        .object([
            .required("id", Shapes.entityID), .optional("subject", Shapes.entity),
            .optional("issuer", .text(Schema.TextRule())), .optional("acr", .text(Schema.TextRule())),
            .optional("assurance", .text(Schema.TextRule())),
            .optional("amr", .array(.any, atMost: 10_000)), .optional("device", .text(Schema.TextRule())),
            .optional("auth_time", Shapes.instant), .optional("expires", Shapes.instant),
            .required("ended", .boolean.described("Its end has passed.")), .optional("properties", .map(.any)),
        ]))

    private static let list = Operation(
        "listSessions", "Sessions", .get, base, roles: [.tenantAdmin, .auditor], "List the sessions.",
        details: "A page of a subject's sessions can be short, or empty, and still have a next one.",
        parameters: [
            TenantOperations.path,
            .query("subject_type", Shapes.typeName, "With subject_id: the sessions of this subject alone."),
            .query("subject_id", Shapes.entityID, "With subject_type: the sessions of this subject alone."),
        ] + Paging.parameters,
        answers: [.ok("A page of sessions.", Shapes.page("SessionPage", "sessions", session))]
    ) { request in
        let subject = try subject(request)
        let after = Paging.after(request)
        let limit = Paging.limit(request)
        let page = try await request.services.tenancy.read(try request.tenant) {
            try $0.sessions(of: subject, after: after, limit: limit)
        }
        var members = [JSONMember("sessions", .array(page.items.map { json($0, now: request.context.now) }))]
        if let next = page.next { members.append(JSONMember("next", .string(Cursor.text(next)))) }
        return .json(.object(members))
    }

    static func subject(_ request: AdminRequest) throws -> EntityName? {
        switch (request.query("subject_type"), request.query("subject_id")) {
        case (let type?, let id?): EntityName(type: type, id: id)
        case (nil, nil): nil
        default: throw GatewayError.invalid("query", "subject_type and subject_id go together")
        }
    }

    private static let get = Operation(
        "getSession", "Sessions", .get, base + "/{session}", roles: [.tenantAdmin, .auditor], "Show a session.",
        parameters: [TenantOperations.path, id], answers: [.ok("The session.", session)]
    ) { request in
        let id = try request.path("session")
        let found = try await request.services.tenancy.read(try request.tenant) { try $0.session(id) }
        guard let found else { throw GatewayError.notFound }
        return .json(json(found, now: request.context.now))
    }

    private static let revoke = Operation(
        "revokeSession", "Sessions", .delete, base + "/{session}", roles: [.tenantAdmin], "End a session at once.",
        details: "Every question that names it is denied from now on.", parameters: [TenantOperations.path, id],
        answers: [.noContent]
    ) { request in
        let id = try request.path("session")
        let tenant = try request.tenant
        guard try await request.services.tenancy.read(tenant, { try $0.session(id) }) != nil else {
            throw GatewayError.notFound
        }
        try await request.services.tenancy.write(tenant) { writer in
            _ = try writer.append([.deleteSession(id: id)], time: request.context.now)
        }
        return .noContent
    }

    private static let revokeAll = Operation(
        "revokeSessionsOfSubject", "Sessions", .post, "/admin/v1/tenants/{tenant}/subjects/{type}/{id}/revoke-sessions",
        roles: [.tenantAdmin], "End every session of a subject at once.",
        parameters: [TenantOperations.path] + SubjectOperations.name,
        answers: [.ok("How many were ended.", .object([.required("revoked", .integer(0...Int.max))]))]
    ) { request in
        let subject = try SubjectOperations.name(request)
        let tenant = try request.tenant
        var revoked = 0
        var after: [UInt8]?
        repeat {
            let start = after
            let page = try await request.services.tenancy.read(tenant) {
                try $0.sessions(of: subject, after: start, limit: 1_000)
            }
            let ids = page.items.map(\.id)
            if !ids.isEmpty {
                try await request.services.tenancy.write(tenant) { writer in
                    _ = try writer.append(ids.map { .deleteSession(id: $0) }, time: request.context.now)
                }
            }
            revoked += ids.count
            after = page.next
        } while after != nil
        return .json(.object(["revoked": .integer(revoked)]))
    }

    private static func json(_ session: StoredSession, now: Int64) -> JSONValue {
        let document = session.document
        var members = [JSONMember("id", .string(session.id))]
        if let subject = session.subject {
            members.append(
                JSONMember("subject", .object(["type": .string(subject.type), "id": .string(subject.id)])))
        }
        for name in ["issuer", "acr", "assurance", "device"] {
            if let text = document[name]?.string { members.append(JSONMember(name, .string(text))) }
        }
        if let methods = document["amr"], methods.array != nil { members.append(JSONMember("amr", methods)) }
        for name in ["auth_time", "expires"] {
            if let time = document[name]?.integer { members.append(JSONMember(name, .string(Instant.format(time)))) }
        }
        members.append(JSONMember("ended", .bool((document["expires"]?.integer ?? .max) <= now)))
        if let properties = document["properties"], properties.object != nil {
            members.append(JSONMember("properties", properties))
        }
        return .object(members)
    }
}
