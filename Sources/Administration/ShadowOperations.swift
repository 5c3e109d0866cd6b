// A candidate version beside the live one: which it is, and where its answers differ.

import AttributeStore
import Credentials
import DecisionShadow
import GatewayCore
import HTTPTypes
import Hummingbird
import StrictJSON

/// Operations on a tenant's candidate.
enum ShadowOperations {
    static let all: [Operation] = [status, start, stop, differences]

    private static let path = PolicyOperations.base + "/shadow"

    // MARK: Shapes

    private static let candidate = Schema.object([
        .required("version", .integer(1...Int.max)), .required("since", Shapes.instant),
        .required("author", .text(0...500)),
        .required("candidacy", .integer(1...Int.max).described("Each candidacy of a tenant has another number.")),
    ])

    private static let figures: [Schema.Field] = [
        .required("candidacy", .integer(1...Int.max)), .required("version", .integer(1...Int.max)),
        .required("since", Shapes.instant),
        .required("state", .text(Schema.TextRule()).described("ready, or why the candidate does not decide.")),
        .required("compared", .integer(0...Int.max)), .required("same", .integer(0...Int.max)),
        .required("by_other_rules", .integer(0...Int.max).described("Of the same ones: by other rules.")),
        .required("different", .integer(0...Int.max)),
        .required(
            "not_compared", .map(.integer(0...Int.max)).described("Questions that were not compared, by cause.")),
        .required(
            "other_differences",
            .integer(0...Int.max).described("Different ones beyond \(ShadowTally.maxKinds) kinds.")),
        .required("written", Shapes.instant),
    ]

    private static let side = Schema.named(
        "SideOfDifference",
        .object([
            .required("outcome", .word(["permit", "deny", "step_up"])), .required("kind", .text(1...100)),
            .required("rules", .array(.text(Schema.TextRule()), atMost: 100_000)), .optional("error", .text(1...100)),
        ]))

    private static let difference = Schema.named(
        "ShadowDifference",
        .object([
            .required("what", .text(1...100).described("What differs first: outcome, demand, error, obligations.")),
            .required("live_version", .integer(0...Int.max)), .required("live", side), .required("candidate", side),
            .required("count", .integer(0...Int.max)), .required("first", Shapes.instant),
            .required("last", Shapes.instant),
            .required(
                "samples",
                .array(.map(.any), atMost: ShadowTally.maxSamples).described(
                    "A random choice: the decision as its log has it, masked as there, and each version's rules.")),
        ]))

    private static func shape(_ name: String, _ figures: [Schema.Field]) -> Schema {
        .named(
            name,
            .object([
                .required("tenant", Shapes.tenantID),
                .required("candidate", .nullable(candidate).described("null when there is none.")),
                .required(
                    "figures",
                    .nullable(.object(figures)).described(
                        "Of the candidate, or of the last one; null while stiled has written none.")),
            ]))
    }

    private static let statusShape = shape("ShadowStatus", figures)
    private static let differencesShape = shape(
        "ShadowDifferences", figures + [.required("differences", .array(difference, atMost: ShadowTally.maxKinds))])

    // MARK: Operations

    private static let status = Operation(
        "getShadow", "Policies", .get, path, roles: [.tenantAdmin, .auditor],
        "Say which version is the candidate, and how many of its answers were the same.",
        parameters: [TenantOperations.path], answers: [.ok("How the candidate stands.", statusShape)]
    ) { request in
        try await answer(request, withDifferences: false)
    }

    private static let differences = Operation(
        "listShadowDifferences", "Policies", .get, path + "/differences", roles: [.tenantAdmin, .auditor],
        "Show what the candidate answers otherwise: each kind of difference with its count and samples.",
        details: "A sample's `decision_id` can be asked about: `decisions/{decision}`.",
        parameters: [TenantOperations.path], answers: [.ok("How the candidate stands, and differs.", differencesShape)]
    ) { request in
        try await answer(request, withDifferences: true)
    }

    private static let start = Operation(
        "startShadow", "Policies", .put, path, roles: [.tenantAdmin],
        "Let a stored version decide beside the live one, with no consequence.",
        details:
            "It takes the place of the candidate before, and its counts begin at nothing; for the version that is the "
            + "candidate already they go on. Activating it ends the comparison.",
        parameters: [TenantOperations.path],
        body: .init(json: .object([.required("version", Shapes.uniqueID.described("The version's id."))])),
        answers: [
            .ok("It is the candidate.", statusShape), TenantOperations.conflict("The version decides already."),
            PolicyOperations.refused,
        ]
    ) { request in
        let tenant = try request.tenant
        let id = request.json["version"]?.string.flatMap { UniqueID($0) }
        let found = try await request.services.tenancy.read(tenant) { reader in
            try id.flatMap { try reader.policies(id: $0)?.version }
        }
        guard let version = found else { throw GatewayError.notFound }
        try await request.services.tenancy.write(tenant) { writer in
            do throws(StoreError) {
                try writer.setCandidate(version: version, author: request.caller.name, time: request.context.now)
            } catch {
                guard error.code == .valueInvalid else { throw GatewayError(error) }
                throw GatewayError(.conflict, "decides_already", error.message)
            }
        }
        return try await answer(request, withDifferences: false)
    }

    private static let stop = Operation(
        "stopShadow", "Policies", .delete, path, roles: [.tenantAdmin],
        "Withdraw the candidate; what was counted is shown until the next one.", parameters: [TenantOperations.path],
        answers: [.noContent]
    ) { request in
        let withdrawn = try await request.services.tenancy.write(try request.tenant) { writer in
            try writer.withdrawCandidate(author: request.caller.name, time: request.context.now)
        }
        guard withdrawn != nil else {
            throw GatewayError(.notFound, "no_candidate", "there is no candidate: nothing was withdrawn")
        }
        return Response(status: .noContent)
    }

    private static func answer(_ request: AdminRequest, withDifferences: Bool) async throws -> Response {
        let tenant = try request.tenant
        let store = request.services.desk.book.store
        let report = try await request.services.tenancy.read(tenant) { reader in
            try ShadowReport(store, tenant: tenant, &reader)
        }
        return .json(report.json(withDifferences: withDifferences))
    }
}
