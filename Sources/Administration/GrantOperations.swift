// Roles that the policies offer: taken for a time, listed, and ended early.

import AttributeStore
import Credentials
import DecisionPath
import GatewayCore
import HTTPTypes
import Hummingbird
import StrictJSON

/// Operations on grants.
enum GrantOperations {
    static let all: [Operation] = [take, list, get, revoke]

    private static let base = "/admin/v1/tenants/{tenant}/grants"
    private static let id = Operation.Parameter.path("grant", Shapes.uniqueID, "The grant's id.")
    private static let reason = Schema.text(1...StoreLimits.maxReasonBytes)

    private static let grant = Schema.named(
        "Grant",
        .object([
            .required("id", Shapes.uniqueID), .required("subject", Shapes.entity),
            .required("role", .text(1...5_000)), .required("state", .word(RoleGrant.State.allCases.map(\.rawValue))),
            .required("since", Shapes.instant),
            .required("until", Shapes.instant.described("The first instant at which the role is gone.")),
            .required("reason", .text(Schema.TextRule())),
            .required("recorded_by", .text(Schema.TextRule()).described("The caller, or an operator's name.")),
            .required("policy_version", .integer(0...Int.max)),
            .required("offer", .text(Schema.TextRule()).described("The offer's name in the policies.")),
            .required("place", .text(Schema.TextRule()).described("Where it stands: file and line.")),
            .optional("ended", Shapes.instant.described("When it was revoked.")),
            .optional("ended_by", .text(Schema.TextRule())), .optional("ended_because", .text(Schema.TextRule())),
        ]))

    private static let stepUp = Schema.named(
        "GrantStepUp",
        .object([
            .optional("acr_values", .text(Schema.TextRule())), .optional("amr_values", .text(Schema.TextRule())),
            .optional("max_age", .integer(0...Int.max).described("Seconds since the authentication at most.")),
            .optional("assurance", .text(Schema.TextRule())),
        ]))

    private static let answer = Schema.named(
        "GrantAnswer",
        .object([
            .required("outcome", .word(["granted", "step_up", "denied"])),
            .optional("grant", grant.described("Of `granted`.")),
            .optional("step_up", stepUp.described("Of `step_up`: what the session has to prove.")),
            .optional("offer", .text(Schema.TextRule()).described("Of `step_up`: whose demand it is.")),
            .optional("code", .word(RoleDenial.Code.allCases.map(\.rawValue)).described("Of `denied`.")),
            .optional("message", .text(Schema.TextRule())),
            .optional("at_most", .integer(0...Int.max).described("Seconds that the offers for the subject allow.")),
        ]))

    private static let take = Operation(
        "takeRole", "Grants", .post, base, roles: [.pep, .tenantAdmin],
        "Take a role for a subject, if the policies offer it to that subject now.",
        details:
            "The offers of the version that decides are evaluated as questions are: for an active subject, with what the "
            + "session proves. Once `granted` is answered, every later decision respects it. A denial is an answer too.",
        parameters: [TenantOperations.path],
        body: .init(
            json: .object([
                .required("subject", Shapes.entity), .required("role", .text(1...StoreLimits.maxIDBytes)),
                .required("reason", reason.described("What it is taken for; kept with the grant.")),
                .optional(
                    "duration",
                    .integer(1...31_622_400).described("Seconds. Without it, as long as an offer allows.")),
                .optional("session", Shapes.entityID.described("For what the offer requires.")),
            ])),
        answers: [
            .ok("What has become of it.", answer),
            TenantOperations.conflict(
                "The subject has as many running grants as it may, or what is read changes all the time."),
        ]
    ) { request in
        let tenant = try request.tenant
        guard let subject = request.json["subject"], let type = subject["type"]?.string,
            let id = subject["id"]?.string, let role = request.json["role"]?.string,
            let reason = request.json["reason"]?.string
        else { throw GatewayError.invalid("subject", "is missing") }
        let wanted = RoleRequest(
            subject: EntityName(type: type, id: id), role: role,
            duration: request.json["duration"]?.integer.map { Int64($0) * 1_000 }, reason: reason,
            session: request.json["session"]?.string, by: request.caller.name)
        let now = request.context.now
        let store = request.services.desk.book.store
        _ = try TenantOperations.record(tenant, request)
        let policies = request.services.policies
        // Compiled, where they have to be, before others who write the tenant are kept waiting.
        let board = try await request.services.tenancy.block {
            let board = try policies.board(of: tenant)
            try board.refresh(tenant)
            return board
        }
        let found = try await request.services.tenancy.write(tenant) { writer in
            try RoleDesk(store, tenant: tenant, board: board).take(
                wanted, clock: { GatewayContext.currentTime }, &writer)
        }
        return .json(found.json(now: now))
    }

    private static let list = Operation(
        "listGrants", "Grants", .get, base, roles: [.tenantAdmin, .auditor],
        "List the grants, those that have ended too.",
        details:
            "A page can be short, or empty, and still have a next one. Of each subject at least the last "
            + "\(StoreLimits.maxGrantsKept) that have ended are kept.",
        parameters: [
            TenantOperations.path,
            .query("subject_type", Shapes.typeName, "With subject_id: the grants of this subject alone."),
            .query("subject_id", Shapes.entityID, "With subject_type: the grants of this subject alone."),
            .query("role", .text(1...StoreLimits.maxIDBytes), "Those of this role alone."),
            .query("state", .word(RoleGrant.State.allCases.map(\.rawValue)), "Those that stand so now alone."),
        ] + Paging.parameters,
        answers: [.ok("A page of grants.", Shapes.page("GrantPage", "grants", grant))]
    ) { request in
        let subject = try SessionOperations.subject(request)
        let (role, after, limit) = (request.query("role"), Paging.after(request), Paging.limit(request))
        let now = request.context.now
        let state = request.query("state").flatMap { RoleGrant.State(rawValue: $0) }
        let page = try await request.services.tenancy.read(try request.tenant) {
            try $0.grants(of: subject, role: role, state: state, now: now, after: after, limit: limit)
        }
        var members = [JSONMember("grants", .array(page.items.map { $0.json(now: now) }))]
        if let next = page.next { members.append(JSONMember("next", .string(Cursor.text(next)))) }
        return .json(.object(members))
    }

    private static let get = Operation(
        "getGrant", "Grants", .get, base + "/{grant}", roles: [.tenantAdmin, .auditor], "Show a grant.",
        parameters: [TenantOperations.path, id], answers: [.ok("The grant.", grant)]
    ) { request in
        guard let id = UniqueID(try request.path("grant")) else { throw GatewayError.notFound }
        let found = try await request.services.tenancy.read(try request.tenant) { try $0.grant(id) }
        guard let found else { throw GatewayError.notFound }
        return .json(found.json(now: request.context.now))
    }

    private static let revoke = Operation(
        "revokeGrant", "Grants", .post, base + "/{grant}/revoke", roles: [.pep, .tenantAdmin], "End a grant at once.",
        details: "Every later decision respects it.", parameters: [TenantOperations.path, id],
        body: .init(json: .object([.optional("reason", reason.described("Why; kept with the grant."))])),
        answers: [.ok("The grant as it stands then.", grant), TenantOperations.conflict("It had ended already.")]
    ) { request in
        guard let id = UniqueID(try request.path("grant")) else { throw GatewayError.notFound }
        let reason = request.json["reason"]?.string ?? ""
        let (by, now) = (request.caller.name, request.context.now)
        let grant = try await request.services.tenancy.write(try request.tenant) { writer in
            do throws(StoreError) {
                return try writer.revokeGrant(id, by: by, reason: reason, time: now)
            } catch {
                throw error.code == .grantUnknown ? GatewayError.notFound : GatewayError(error)
            }
        }
        return .json(grant.json(now: now))
    }
}
