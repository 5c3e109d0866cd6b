// What is known of a subject now: its signals, and what it may do.

import AttributeStore
import Credentials
import DecisionProtocol
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyLanguage
import StileClient
import StrictJSON

/// Operations on subjects.
enum SubjectOperations {
    static let all: [Operation] = [signals, permissions]

    static let name: [Operation.Parameter] = [
        .path("type", Shapes.typeName, "The subject's type, `user` for people."),
        .path("id", Shapes.entityID, "The subject's id."),
    ]

    static func name(_ request: AdminRequest) throws -> EntityName {
        EntityName(type: try request.path("type"), id: try request.path("id"))
    }

    private static let base = "/admin/v1/tenants/{tenant}/subjects/{type}/{id}"

    // MARK: Signals

    private static let signal = Schema.named(
        "Signal",
        .object([
            .required("name", .text(1...5_000)), .required("value", .any), .required("at", Shapes.instant),
            .optional("expires", Shapes.instant.described("Its own end, or the one that the catalog gives it.")),
            .required("live", .boolean.described("False once its end has passed: decisions take the default again.")),
        ]))

    private static let signals = Operation(
        "listSignals", "Subjects", .get, base + "/signals", roles: [.tenantAdmin, .auditor],
        "List the signals about a subject, as decisions see them.",
        details: "A device's are listed by its type `device` and id.", parameters: [TenantOperations.path] + name,
        answers: [
            .ok("The signals, by name.", .object([.required("signals", .array(signal, atMost: 100_000))]))
        ]
    ) { request in
        let name = try name(request)
        let now = request.context.now
        let items = try await request.services.tenancy.read(try request.tenant) { reader in
            let files = try reader.policies(version: try reader.generations().activeVersion)?.sources ?? []
            let catalog = checkCatalog(files).catalog
            let type = catalog.flatMap { catalog in
                catalog.entity(named: name.type).map { catalog.entities[$0] }
            }
            return try reader.signals(about: name).map { json($0, type, now: now) }
        }
        return .json(.object(["signals": .array(items)]))
    }

    private static func json(_ signal: StoredSignal, _ type: EntityType?, now: Int64) -> JSONValue {
        var end = signal.expires
        if end == nil, let slot = type?.slot(of: signal.name), let lifetime = type?.attributes[slot].lifetime {
            let (sum, overflowed) = signal.at.addingReportingOverflow(lifetime)
            end = overflowed ? nil : sum
        }
        var members = [
            JSONMember("name", .string(signal.name)), JSONMember("value", signal.value),
            JSONMember("at", .string(Instant.format(signal.at))),
        ]
        if let end { members.append(JSONMember("expires", .string(Instant.format(end)))) }
        members.append(JSONMember("live", .bool(end ?? .max > now)))
        return .object(members)
    }

    // MARK: Permissions

    private static let permission = Schema.named(
        "Permission",
        .object([
            .required("resource", Shapes.entity),
            .required(
                "actions",
                .array(
                    .object([
                        .required("name", .text(1...5_000)),
                        .required("outcome", .word(["permit", "deny", "step_up"])),
                        .required("rules", .array(.text(0...5_000), atMost: 10_000)),
                        .optional("error", .text(Schema.TextRule())), .optional("valid_until", Shapes.instant),
                    ]), atMost: 10_000)),
        ]))

    private static let permissions = Operation(
        "listPermissions", "Subjects", .get, base + "/permissions", roles: [.tenantAdmin, .auditor],
        "Say for registered resources what a subject may do with each, now.",
        details:
            "Each answer is stiled's own. Give the subject's session for what depends on it. Actions whose questions "
            + "need properties that only a request brings are told as errors.",
        parameters: [TenantOperations.path] + name + [
            .query("session", Shapes.entityID, "The session whose authentication counts."),
            .query("resource_type", Shapes.typeName, "Resources of this type alone."),
            .query("permitted", .boolean, "true leaves out what is denied."),
            .query("after", Shapes.cursor, "`next` of the page before."),
            .query("limit", .integer(1...100), "Resources of a page at most; 25 unless told otherwise."),
        ], answers: [.ok("A page of permissions.", Shapes.page("PermissionPage", "permissions", permission))]
    ) { request in
        let tenant = try request.tenant
        let type = request.query("resource_type")
        let after = Paging.after(request)
        let limit = request.integer("limit", or: 25)
        let (page, catalog) = try await request.services.tenancy.read(tenant) { reader in
            let files = try reader.policies(version: try reader.generations().activeVersion)?.sources ?? []
            let catalog = checkCatalog(files).catalog
            return (try reader.resources(type: type, after: after, limit: limit), catalog)
        }
        guard let catalog else { throw GatewayError(.notFound, "no_policies", "no version is active: upload one") }
        var questions = PermissionQuestions(
            subject: try name(request), session: request.query("session"), catalog: catalog)
        for resource in page.items { questions.add(resource.name) }
        let answers = try await questions.answers(request.services, tenant)
        var members = [
            JSONMember(
                "permissions",
                .array(questions.json(answers, permittedAlone: request.query("permitted") == "true")))
        ]
        if let next = page.next { members.append(JSONMember("next", .string(Cursor.text(next)))) }
        return .json(.object(members))
    }
}

/// The questions behind a page of permissions, asked in batches of one snapshot each.
private struct PermissionQuestions {
    private let catalog: Catalog
    private let defaults: Question
    private var items: [(resource: EntityName, action: String)] = []
    private var resources: [EntityName] = []

    /// Questions of one page.
    private static let maxQuestions = 100_000

    init(subject: EntityName, session: String?, catalog: Catalog) {
        self.catalog = catalog
        var question = Question(
            subject: Entity(type: subject.type, id: subject.id), action: nil, resource: nil)
        question.session = session
        defaults = question
    }

    mutating func add(_ resource: EntityName) {
        resources.append(resource)
        guard let type = catalog.entity(named: resource.type) else { return }
        for action in catalog.actions where action.resourceTypes.contains(type) && items.count < Self.maxQuestions {
            items.append((resource, action.name))
        }
    }

    func answers(_ services: GatewayServices, _ tenant: String) async throws -> [Answer] {
        var answers: [Answer] = []
        for start in stride(from: 0, to: items.count, by: ProtocolLimits.maxBatch) {
            let part = items[start..<min(start + ProtocolLimits.maxBatch, items.count)]
            let batch = Batch(
                defaults: defaults,
                items: part.map {
                    Question(
                        subject: nil, action: ActionName(name: $0.action),
                        resource: Entity(type: $0.resource.type, id: $0.resource.id))
                })
            answers += try await services.decisions.ask(tenant) { (connection) throws(ClientError) in
                try connection.ask(batch)
            }
        }
        return answers
    }

    func json(_ answers: [Answer], permittedAlone: Bool) -> [JSONValue] {
        var byResource: [EntityName: [JSONValue]] = [:]
        for (item, answer) in zip(items, answers) where !permittedAlone || answer.outcome != .deny {
            byResource[item.resource, default: []].append(json(item.action, answer))
        }
        return resources.compactMap { resource in
            let actions = byResource[resource] ?? []
            if permittedAlone, actions.isEmpty { return nil }
            return .object([
                "resource": .object(["type": .string(resource.type), "id": .string(resource.id)]),
                "actions": .array(actions),
            ])
        }
    }

    private func json(_ action: String, _ answer: Answer) -> JSONValue {
        var members = [
            JSONMember("name", .string(action)), JSONMember("outcome", .string(answer.outcome.name)),
            JSONMember("rules", .array(answer.rules.map { .string($0.name) })),
        ]
        if let cause = answer.cause { members.append(JSONMember("error", .string(cause.message))) }
        if let until = answer.validUntil {
            members.append(JSONMember("valid_until", .string(Instant.format(Int64(clamping: until)))))
        }
        return .object(members)
    }
}
