// Tenants and the credentials of their callers.

import AttributeStore
import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyLanguage
import StrictJSON

/// Operations on tenants.
enum TenantOperations {
    private static let tenant = Schema.named(
        "Tenant",
        .object([
            .required("id", Shapes.tenantID), .required("created", Shapes.instant),
            .required("allowed_users", users), .required("min_coverage", minCoverage),
        ]))
    private static let users = Schema.array(.integer(0...Int(UInt32.max)), atMost: 1_000).described(
        "User ids of the system that may ask on the decision socket.")
    private static let minCoverage = Schema.integer(0...100).described(
        "Per cent of rules and of conditions that tests must reach before a version is activated.")

    static let path = Operation.Parameter.path("tenant", Shapes.tenantID, "The tenant's id.")

    static let all: [Operation] = [list, create, get, update, delete]

    private static let list = Operation(
        "listTenants", "Tenants", .get, "/admin/v1/tenants", roles: [.operator], "List the tenants.",
        answers: [.ok("The tenants.", .object([.required("tenants", .array(tenant, atMost: 1_000_000))]))]
    ) { request in
        let tenants = try await request.services.tenancy.block {
            try request.services.desk.book.store.tenants()
        }
        return .json(.object(["tenants": .array(tenants.map { json($0.id, $0.record) })]))
    }

    private static let create = Operation(
        "createTenant", "Tenants", .post, "/admin/v1/tenants", roles: [.operator], "Create a tenant.",
        body: .init(
            json: .object([
                .required("id", Shapes.tenantID), .optional("allowed_users", users),
                .optional("min_coverage", minCoverage),
            ])),
        answers: [
            .init(
                status: .created, words: "The tenant.", schema: tenant, headers: [("Location", "Where the tenant is.")]),
            conflict("A tenant of this id exists."),
        ]
    ) { request in
        let id = request.json["id"]?.string ?? ""
        let record = TenantRecord(
            created: request.context.now, allowedUsers: users(request.json) ?? [],
            minCoverage: Int(request.json["min_coverage"]?.integer ?? 0))
        try await request.services.tenancy.block {
            try request.services.desk.book.store.createTenant(id, record)
        }
        return .json(json(id, record), status: .created, headers: [.location: "/admin/v1/tenants/\(id)"])
    }

    private static let get = Operation(
        "getTenant", "Tenants", .get, "/admin/v1/tenants/{tenant}", roles: [.operator, .tenantAdmin, .auditor],
        "Show a tenant.", parameters: [path], answers: [.ok("The tenant.", tenant)]
    ) { request in
        let id = try request.tenant
        return .json(json(id, try record(id, request)))
    }

    private static let update = Operation(
        "updateTenant", "Tenants", .patch, "/admin/v1/tenants/{tenant}", roles: [.operator], "Change a tenant.",
        details: "Members that are left out stay as they are.", parameters: [path],
        body: .init(json: .object([.optional("allowed_users", users), .optional("min_coverage", minCoverage)])),
        answers: [.ok("The tenant.", tenant)]
    ) { request in
        let id = try request.tenant
        _ = try record(id, request)
        try await request.services.tenancy.block {
            try request.services.desk.book.store.updateTenant(id) { record in
                if let users = users(request.json) { record.allowedUsers = users }
                if let coverage = request.json["min_coverage"]?.integer { record.minCoverage = Int(coverage) }
            }
        }
        return .json(json(id, try record(id, request)))
    }

    private static let delete = Operation(
        "deleteTenant", "Tenants", .delete, "/admin/v1/tenants/{tenant}", roles: [.operator],
        "Delete a tenant with all its data and credentials, for ever.",
        parameters: [
            path,
            .query(
                "confirm", Shapes.tenantID, "The tenant's id again: nothing brings the data back.", isRequired: true),
        ], answers: [.noContent]
    ) { request in
        let id = try request.tenant
        _ = try record(id, request)
        guard request.query("confirm") == id else {
            throw GatewayError.invalid("confirm", "is not the tenant's id")
        }
        request.services.tenancy.forget(id)
        try await request.services.tenancy.block { try request.services.desk.book.store.deleteTenant(id) }
        return .noContent
    }

    static func conflict(_ words: String) -> Operation.Answer {
        .init(status: .conflict, words: words, schema: OpenAPIDocument.problem, type: "application/problem+json")
    }

    static func record(_ id: String, _ request: AdminRequest) throws -> TenantRecord {
        guard let record = try request.services.desk.book.tenant(id) else { throw GatewayError.notFound }
        return record
    }

    private static func users(_ json: JSONValue) -> [UInt32]? {
        json["allowed_users"]?.array?.compactMap { $0.integer.map { UInt32(truncatingIfNeeded: $0) } }
    }

    private static func json(_ id: String, _ record: TenantRecord) -> JSONValue {
        .object([
            "id": .string(id), "created": .string(Instant.format(record.created)),
            "allowed_users": .array(record.allowedUsers.map { .integer($0) }),
            "min_coverage": .integer(record.minCoverage),
        ])
    }
}
