// Versions of a tenant's policies: checked, tested, stored, activated, rolled back.

import AttributeStore
import Credentials
import DecisionEngine
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyLanguage
import PolicyTesting
import StrictJSON

/// Operations on policies.
enum PolicyOperations {
    static let all: [Operation] = [
        list, upload, get, activation, activations, activate, rollback, catalog,
    ]

    static let base = "/admin/v1/tenants/{tenant}"
    static let versionID = Operation.Parameter.path("version", Shapes.uniqueID, "The version's id.")
    static let ifMatch = Operation.Parameter.header(
        "If-Match", .text(Schema.TextRule(atLeast: 1, atMost: 200)),
        "The ETag of the activation that the author has seen, or `*` to activate whatever is active now.",
        isRequired: true)

    private static let versionFields: [Schema.Field] = [
        .required("id", Shapes.uniqueID), .required("version", .integer(1...Int.max)),
        .required("active", .boolean), .required("created", Shapes.instant), .required("author", .text(0...500)),
        .required("message", .text(0...5_000)),
    ]

    static let version = Schema.named(
        "PolicyVersion", .object(versionFields + [.required("files", .array(.text(0...500), atMost: 1_000))]))

    private static let versionWithText = Schema.named(
        "PolicyVersionWithText",
        .object(
            versionFields + [
                .required(
                    "files",
                    .array(
                        .object([
                            .required("name", .text(0...500)), .required("text", .text(Schema.TextRule())),
                            .optional("enabled", .boolean.described("false: it does not decide.")),
                        ]), atMost: 1_000))
            ]))

    static let activationShape = Schema.named(
        "Activation",
        .object([
            .optional("version", version.described("The version that this speaks of.")),
            .required(
                "state",
                .word(["none", "stored", "active", "pending"]).described(
                    "active: stiled decides with it. pending: not yet, and `reason` says why. stored: it was not to be "
                        + "activated.")),
            .optional("deciding_version", .integer(0...Int.max)), .optional("reason", .text(Schema.TextRule())),
        ]))

    // MARK: Versions

    private static let list = Operation(
        "listPolicyVersions", "Policies", .get, base + "/policies", roles: [.tenantAdmin, .auditor],
        "List the versions, newest first.", parameters: [TenantOperations.path] + Paging.parameters,
        answers: [.ok("A page of versions.", Shapes.page("PolicyVersionPage", "versions", version))]
    ) { request in
        let limit = Paging.limit(request)
        let before = Paging.after(request).map { $0.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } } ?? .max
        let (versions, active) = try await request.services.tenancy.read(try request.tenant) { reader in
            (try reader.versions(before: before, limit: limit + 1), try reader.generations().activeVersion)
        }
        var members = [
            JSONMember("versions", .array(versions.prefix(limit).map { json($0, active: active, withText: false) }))
        ]
        if versions.count > limit, limit > 0 {
            members.append(JSONMember("next", .string(Cursor.text(bytes(versions[limit - 1].version)))))
        }
        return .json(.object(members))
    }

    private static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) }
    }

    private static let get = Operation(
        "getPolicyVersion", "Policies", .get, base + "/policies/{version}", roles: [.tenantAdmin, .auditor],
        "Show a version with its files.", parameters: [TenantOperations.path, versionID],
        answers: [.ok("The version.", versionWithText)]
    ) { request in
        let (found, active) = try await find(request)
        return .json(json(found, active: active, withText: true))
    }

    /// The version in the path.
    static func find(_ request: AdminRequest) async throws -> (StoredPolicies, active: UInt64) {
        let id = try request.path("version")
        return try await request.services.tenancy.read(try request.tenant) { reader in
            guard let found = try UniqueID(id).flatMap({ try reader.policies(id: $0) }) else {
                throw GatewayError.notFound
            }
            return (found, try reader.generations().activeVersion)
        }
    }

    static func json(_ version: StoredPolicies, active: UInt64, withText: Bool) -> JSONValue {
        .object([
            "id": .string(version.id.description), "version": .integer(version.version),
            "active": .bool(version.version == active), "created": .string(Instant.format(version.at)),
            "author": .string(version.author), "message": .string(version.message),
            "files": .array(
                version.files.map { file in
                    guard withText else { return .string(file.name) }
                    var members = [JSONMember("name", .string(file.name)), JSONMember("text", .string(file.text))]
                    if !file.isEnabled { members.append(JSONMember("enabled", .bool(false))) }
                    return .object(members)
                }),
        ])
    }

    // MARK: Upload and activation

    static let refused = Operation.Answer(
        status: .unprocessableContent, words: "The policies have errors, tests fail, or they reach too little.",
        schema: OpenAPIDocument.problem, type: "application/problem+json")
    static let changed = Operation.Answer(
        status: .preconditionFailed, words: "Another version was activated meanwhile.",
        schema: OpenAPIDocument.problem, type: "application/problem+json")
    static let needed = Operation.Answer(
        status: .init(code: 428, reasonPhrase: "Precondition Required"), words: "If-Match is missing.",
        schema: OpenAPIDocument.problem, type: "application/problem+json")
    static let etag = [(name: "ETag", words: "Changes with each activation.")]

    private static let upload = Operation(
        "uploadPolicies", "Policies", .post, base + "/policies", roles: [.tenantAdmin],
        "Store a version and activate it.",
        details:
            "The tests in the files run first. The answer comes when stiled decides with the version, or says why it "
            + "does not yet. With `activate=false` the version is only stored, and If-Match is not needed.",
        parameters: [
            TenantOperations.path, .query("activate", .boolean, "false stores the version alone."),
            PolicyUpload.message,
            .header(
                "If-Match", .text(Schema.TextRule(atLeast: 1, atMost: 200)),
                "The ETag of the activation that the author has seen, or `*`.", isRequired: false),
        ], body: PolicyUpload.body,
        answers: [
            .init(
                status: .created, words: "Stored, and active where it was to be.", schema: activationShape,
                headers: etag + [(name: "Location", words: "Where the version is.")]),
            .init(
                status: .accepted, words: "Stored, and not deciding yet.", schema: activationShape,
                headers: etag + [(name: "Location", words: "Where the version is.")]),
            refused, changed, needed,
        ]
    ) { request in
        let tenant = try request.tenant
        let activates = request.query("activate") != "false"
        let expected = activates ? try await expectation(request) : nil
        let upload = try await PolicyUpload(request)
        let bar = try TenantOperations.record(tenant, request).minCoverage
        let review = try await request.services.tenancy.block { PolicyReview(upload.sources, now: request.context.now) }
        try ReviewOperations.require(review, upload.sources, bar: bar, activates: activates)
        let made = try await request.services.tenancy.write(tenant) { writer in
            try stored { () throws(StoreError) in
                try writer.store(
                    upload.files, author: request.caller.name, message: upload.message, activates: activates,
                    expecting: expected, time: request.context.now)
            }
        }
        let state = activates ? try await ActivationWatch(request.services, tenant).settled(made.version) : .stored
        return try await answer(
            state, version: made.version, request,
            status: state.isPending ? .accepted : .created,
            location: "/admin/v1/tenants/\(tenant)/policies/\(made.id)")
    }

    private static let activate = Operation(
        "activatePolicyVersion", "Policies", .post, base + "/policies/{version}/activate", roles: [.tenantAdmin],
        "Let a stored version decide.", details: "Its tests run first, as they did when it was uploaded.",
        parameters: [TenantOperations.path, versionID, ifMatch],
        body: .init(json: .object([.optional("message", .text(0...PolicyUpload.maxMessage))])),
        answers: [
            .init(status: .ok, words: "It decides.", schema: activationShape, headers: etag),
            .init(
                status: .accepted, words: "It is to decide, and does not yet.", schema: activationShape, headers: etag),
            refused, changed, needed,
        ]
    ) { request in
        let expected = try await expectation(request)
        let (found, _) = try await find(request)
        return try await activate(found, expected, request, "")
    }

    private static let rollback = Operation(
        "rollBackPolicies", "Policies", .post, base + "/policies/rollback", roles: [.tenantAdmin],
        "Let the version decide that was active before this one.", parameters: [TenantOperations.path, ifMatch],
        body: .init(json: .object([.optional("message", .text(0...PolicyUpload.maxMessage))])),
        answers: [
            .init(status: .ok, words: "It decides.", schema: activationShape, headers: etag),
            .init(
                status: .accepted, words: "It is to decide, and does not yet.", schema: activationShape, headers: etag),
            TenantOperations.conflict("No other version was active before."), changed, needed,
            refused,
        ]
    ) { request in
        let expected = try await expectation(request)
        let found = try await request.services.tenancy.read(try request.tenant) { reader -> StoredPolicies? in
            let active = try reader.generations().activeVersion
            let before = try reader.activations(limit: 1_000).first { $0.version != active }
            return try before.flatMap { try reader.policies(version: $0.version) }
        }
        guard let found else {
            throw GatewayError(.conflict, "nothing_before", "no other version was active before: upload one")
        }
        return try await activate(found, expected, request, "rolled back")
    }

    /// A version that was good enough once may no longer be: the bar can have been raised.
    private static func activate(
        _ found: StoredPolicies, _ expected: UInt64?, _ request: AdminRequest, _ reason: String
    ) async throws -> Response {
        let tenant = try request.tenant
        let sources = found.sources
        let bar = try TenantOperations.record(tenant, request).minCoverage
        let review = try await request.services.tenancy.block { PolicyReview(sources, now: request.context.now) }
        try ReviewOperations.require(review, sources, bar: bar, activates: true)
        try await request.services.tenancy.write(tenant) { writer in
            try stored { () throws(StoreError) in
                try writer.activate(
                    version: found.version, author: request.caller.name,
                    message: request.json["message"]?.string ?? reason, expecting: expected, time: request.context.now)
            }
        }
        let state = try await ActivationWatch(request.services, tenant).settled(found.version)
        return try await answer(state, version: found.version, request, status: state.isPending ? .accepted : .ok)
    }

    /// The generation that If-Match names; nil for `*`.
    static func expectation(_ request: AdminRequest) async throws -> UInt64? {
        guard let header = request.request.headers[.ifMatch] else {
            throw GatewayError(
                .init(code: 428, reasonPhrase: "Precondition Required"), "precondition_required",
                "send If-Match with the ETag of the activation that you have seen, or * to activate whatever is active now"
            )
        }
        if header == "*" { return nil }
        let generation = try await request.services.tenancy.read(try request.tenant) {
            try $0.generations().policy
        }
        guard header == tag(generation) else { throw changedMeanwhile("the ETag is not that of what is active now") }
        return generation
    }

    private static func changedMeanwhile(_ message: String) -> GatewayError {
        GatewayError(.preconditionFailed, "precondition_failed", message + ": look at it, then try again")
    }

    static func stored<Value>(_ body: () throws(StoreError) -> Value) throws(GatewayError) -> Value {
        do throws(StoreError) {
            return try body()
        } catch {
            if error.code == .conflict { throw changedMeanwhile("another version was activated meanwhile") }
            throw GatewayError(error)
        }
    }

    static func tag(_ generation: UInt64) -> String { "\"activation-\(String(generation, radix: 16))\"" }

    // MARK: What is active

    private static let activation = Operation(
        "getActivation", "Policies", .get, base + "/activation", roles: [.tenantAdmin, .auditor],
        "Show what is active, and whether stiled decides with it.", parameters: [TenantOperations.path],
        answers: [.init(status: .ok, words: "What is active.", schema: activationShape, headers: etag)]
    ) { request in
        let tenant = try request.tenant
        let active = try await request.services.tenancy.read(tenant) { try $0.generations().activeVersion }
        let state = active == 0 ? .none : await ActivationWatch(request.services, tenant).look(active)
        return try await answer(state, version: active, request, status: .ok)
    }

    private static let activations = Operation(
        "listActivations", "Policies", .get, base + "/activations", roles: [.tenantAdmin, .auditor],
        "List what was active, newest first.",
        parameters: [
            TenantOperations.path, .query("limit", .integer(1...1_000), "At most so many; 100 unless told otherwise."),
        ],
        answers: [
            .ok(
                "The activations.",
                .object([
                    .required(
                        "activations",
                        .array(
                            .named(
                                "PastActivation",
                                .object([
                                    .required("version", .integer(1...Int.max)), .optional("id", Shapes.uniqueID),
                                    .required("at", Shapes.instant), .required("author", .text(0...500)),
                                    .required("message", .text(0...5_000)),
                                ])), atMost: 1_000))
                ]))
        ]
    ) { request in
        let limit = Paging.limit(request)
        let items = try await request.services.tenancy.read(try request.tenant) { reader in
            try reader.activations(limit: limit).map { activation in
                var members = [JSONMember("version", .integer(activation.version))]
                if let version = try reader.policies(version: activation.version) {
                    members.append(JSONMember("id", .string(version.id.description)))
                }
                members += [
                    JSONMember("at", .string(Instant.format(activation.at))),
                    JSONMember("author", .string(activation.author)),
                    JSONMember("message", .string(activation.message)),
                ]
                return JSONValue.object(members)
            }
        }
        return .json(.object(["activations": .array(items)]))
    }

    static func answer(
        _ state: ActivationState, version: UInt64, _ request: AdminRequest, status: HTTPResponse.Status,
        location: String? = nil
    ) async throws -> Response {
        let (generation, active, found) = try await request.services.tenancy.read(try request.tenant) { reader in
            let generations = try reader.generations()
            return (generations.policy, generations.activeVersion, try reader.policies(version: version))
        }
        var members: [JSONMember] = []
        if let found { members.append(JSONMember("version", json(found, active: active, withText: false))) }
        members.append(JSONMember("state", .string(state.word)))
        if let deciding = state.deciding { members.append(JSONMember("deciding_version", .integer(deciding))) }
        if let reason = state.reason { members.append(JSONMember("reason", .string(reason))) }
        var headers: HTTPFields = [.eTag: tag(generation)]
        if let location { headers[.location] = location }
        return .json(.object(members), status: status, headers: headers)
    }

    // MARK: Catalog

    private static let catalog = Operation(
        "getCatalog", "Policies", .get, base + "/catalog", roles: [.tenantAdmin, .auditor],
        "Show the words of the active version's catalog.", parameters: [TenantOperations.path],
        answers: [.ok("The catalog.", CatalogView.schema)]
    ) { request in
        let files = try await request.services.tenancy.read(try request.tenant) { reader in
            try reader.policies(version: try reader.generations().activeVersion)?.sources
        }
        guard let files else { throw GatewayError(.notFound, "no_policies", "no version is active: upload one") }
        let catalog = try await request.services.tenancy.block {
            checkCatalog(files).catalog
        }
        guard let catalog else {
            throw GatewayError(.notFound, "no_catalog", "this program cannot read the active version's catalog")
        }
        return .json(CatalogView.json(catalog))
    }
}
