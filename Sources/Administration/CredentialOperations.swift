// The credentials of callers: a tenant's, and the operators'.

import AttributeStore
import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import StrictJSON

/// Operations on credentials, once for a tenant's and once for the operators'.
enum CredentialOperations {
    static let all = operations(ofTenant: true) + operations(ofTenant: false)

    private static let id = Operation.Parameter.path("credential", Shapes.uniqueID, "The credential's id.")
    private static let life = Schema.integer(1...731).described("Days until it expires; 90 unless told otherwise.")
    private static let overlap = Schema.integer(0...720).described(
        "Hours in which both are good; 24 unless told otherwise.")

    private static func operations(ofTenant: Bool) -> [Operation] {
        let base = ofTenant ? "/admin/v1/tenants/{tenant}/credentials" : "/admin/v1/operators/credentials"
        let name = ofTenant ? "" : "Operator"
        let path = ofTenant ? [TenantOperations.path] : []
        let readers: Set<Role> = ofTenant ? [.operator, .tenantAdmin, .auditor] : [.operator]
        let writers: Set<Role> = ofTenant ? [.operator, .tenantAdmin] : [.operator]
        return [
            Operation(
                "list\(name)Credentials", "Credentials", .get, base, roles: readers, "List the credentials.",
                parameters: path,
                answers: [
                    .ok(
                        "The credentials, oldest first; never the credential itself.",
                        .object([.required("credentials", .array(Shapes.credential, atMost: 1_000_000))]))
                ], handler: list),
            Operation(
                "create\(name)Credential", "Credentials", .post, base, roles: writers, "Create a credential.",
                details: "It is shown in this answer and never again.", parameters: path,
                body: .init(json: .object(fields(ofTenant))),
                answers: [
                    .init(
                        status: .created, words: "The credential, this once.", schema: Shapes.newCredential,
                        headers: [("Location", "Where its record is.")]),
                    TenantOperations.conflict("Too many are live."),
                ], handler: create),
            Operation(
                "get\(name)Credential", "Credentials", .get, base + "/{credential}", roles: readers,
                "Show a credential's record.", parameters: path + [id], answers: [.ok("The record.", Shapes.credential)]
            ) { request in .json(try await find(request).json(now: request.context.now)) },
            Operation(
                "revoke\(name)Credential", "Credentials", .delete, base + "/{credential}", roles: writers,
                "End a credential at once.", details: "Its record stays. One that has ended is left as it is.",
                parameters: path + [id], answers: [.ok("The record.", Shapes.credential)], handler: revoke),
            Operation(
                "rotate\(name)Credential", "Credentials", .post, base + "/{credential}/rotate", roles: writers,
                "Create a credential in place of another, which stays good for a while.", parameters: path + [id],
                body: .init(
                    json: .object([.optional("expires_in_days", life), .optional("overlap_hours", overlap)])),
                answers: [
                    .init(
                        status: .created, words: "The new credential, this once.", schema: Shapes.newCredential,
                        headers: [("Location", "Where its record is.")]),
                    TenantOperations.conflict("It was revoked or has expired."),
                ], handler: rotate),
        ]
    }

    private static func fields(_ ofTenant: Bool) -> [Schema.Field] {
        let label = Schema.Field.optional("label", .text(0...CredentialLimits.maxLabel))
        let days = Schema.Field.optional("expires_in_days", life)
        let roles = Role.allCases.filter { !$0.isOfAllTenants }.map(\.rawValue)
        return ofTenant ? [.required("role", .word(roles)), label, days] : [label, days]
    }

    // MARK: Handlers

    /// The tenant in the path; nil for the operators.
    private static func owner(_ request: AdminRequest) throws -> String? {
        guard let tenant = try? request.tenant else { return nil }
        _ = try TenantOperations.record(tenant, request)
        return tenant
    }

    /// The record in the path, when it belongs to the owner in the path.
    private static func find(_ request: AdminRequest) async throws -> CredentialRecord {
        let owner = try owner(request)
        guard let id = UniqueID(try request.path("credential")),
            let record = try request.services.desk.book.credential(id), record.tenant == owner
        else { throw GatewayError.notFound }
        return record
    }

    private static func list(_ request: AdminRequest) async throws -> Response {
        let owner = try owner(request)
        let desk = request.services.desk
        let records = try await request.services.tenancy.block {
            try told { () throws(CredentialError) in try desk.list(tenant: owner) }
        }
        return .json(.object(["credentials": .array(records.map { $0.json(now: request.context.now) })]))
    }

    private static func create(_ request: AdminRequest) async throws -> Response {
        let owner = try owner(request)
        let role = request.json["role"]?.string.flatMap { Role(rawValue: $0) } ?? .operator
        let (token, record) = try await request.services.tenancy.block {
            try told { () throws(CredentialError) in
                try request.services.desk.create(
                    role: role, tenant: owner, label: request.json["label"]?.string ?? "",
                    author: request.caller.name, life: days(request), now: request.context.now)
            }
        }
        return shown(token, record, request)
    }

    private static func rotate(_ request: AdminRequest) async throws -> Response {
        let record = try await find(request)
        let overlap = (request.json["overlap_hours"]?.integer ?? 24) * 3_600_000
        let made = try await request.services.tenancy.block {
            try told { () throws(CredentialError) in
                try request.services.desk.rotate(
                    record.id, author: request.caller.name, life: days(request), overlap: overlap,
                    now: request.context.now)
            }
        }
        return shown(made.token, made.record, request)
    }

    private static func revoke(_ request: AdminRequest) async throws -> Response {
        let record = try await find(request)
        let ended = try await request.services.tenancy.block {
            try told { () throws(CredentialError) in
                try request.services.desk.revoke(record.id, now: request.context.now)
            }
        }
        return .json(ended.json(now: request.context.now))
    }

    private static func days(_ request: AdminRequest) -> Int64 {
        (request.json["expires_in_days"]?.integer ?? 90) * 86_400_000
    }

    private static func shown(
        _ token: BearerToken, _ record: CredentialRecord, _ request: AdminRequest
    ) -> Response {
        let members = record.json(now: request.context.now).object ?? []
        let base = record.tenant.map { "/admin/v1/tenants/\($0)" } ?? "/admin/v1/operators"
        return .json(
            .object(members + [JSONMember("credential", .string(token.text))]), status: .created,
            headers: [.location: "\(base)/credentials/\(record.id)"])
    }

    private static func told<Value>(_ body: () throws(CredentialError) -> Value) throws(GatewayError) -> Value {
        do throws(CredentialError) {
            return try body()
        } catch {
            switch error {
            case .store(let error): throw GatewayError(error)
            case .invalid(let message): throw GatewayError(.conflict, "credential_conflict", message)
            case .unknownCredential: throw GatewayError.notFound
            case .cryptography:
                var failure = GatewayError(.internalServerError, "internal_error", "no credential can be made now")
                failure.hidden = error.description
                throw failure
            }
        }
    }
}
