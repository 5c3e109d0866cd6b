// Which policies are assigned to which permissions: what grants, demands and forbids an action on a type, as the checked
// policies say; and policy files taken out of deciding or put back, as a version like any other.

import AttributeStore
import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyAnalysis
import PolicyLanguage
import PolicyTesting
import StrictJSON

/// Operations on assignments.
enum AssignmentOperations {
    static let all: [Operation] = [list, change]

    private static let base = "/admin/v1/tenants/{tenant}/assignments"

    // MARK: Shapes

    private static let name = Schema.text(Schema.TextRule())
    private static let names = Schema.array(name, atMost: LanguageLimits.maxRules)

    private static let rule = Schema.named(
        "AssignedRule",
        .object([
            .required("name", name), .required("kind", .word(["permit", "forbid", "require", "duty"])),
            .required("policy", name), .required("file", name), .required("line", .integer(0...Int(Int32.max))),
            .required("subjects", .array(name, atMost: 1_000).described("Types of subjects that it is about.")),
            .required("when", name.described("Its condition; `true` where it always holds.")),
            .optional("demand", name.described("The sign-in that it demands.")), .optional("because", name),
        ]))

    private static let permission = Schema.named(
        "AssignedPermission",
        .object([
            .required("action", name), .required("resource", name),
            .required("permit", names.described("Names of the rules that grant it.")),
            .required("require", names.described("Those that demand a sign-in of whoever is granted it.")),
            .required("forbid", names.described("Those that forbid it, whatever grants it.")),
            .required("duties", names.described("Those that say what is to be done along with an answer.")),
        ]))

    private static let file = Schema.named(
        "AssignedFile",
        .object([
            .required("name", name), .required("enabled", .boolean),
            .required("policies", .array(name, atMost: 100_000).described("Names of the policies in it.")),
        ]))

    private static let page = Schema.named(
        "AssignmentPage",
        .object([
            .required("version", PolicyOperations.version), .required("files", .array(file, atMost: 1_000)),
            .required("permissions", .array(permission, atMost: 1_000)),
            .required(
                "rules", .array(rule, atMost: LanguageLimits.maxRules).described("The rules that this page names.")),
            .optional("next", Shapes.cursor),
        ]))

    // MARK: List

    private static let list = Operation(
        "listAssignments", "Policies", .get, base, roles: [.tenantAdmin, .auditor],
        "List for each permission (an action on a type of resource) what grants, demands and forbids it.",
        parameters: [
            TenantOperations.path,
            .query("version", Shapes.uniqueID, "A version's id; the active version unless told otherwise."),
            .query("policy", .text(1...5_000), "What this policy says alone."),
            .query("action", .text(1...256), "This action alone."),
            .query("resource_type", Shapes.typeName, "This type of resource alone."),
        ] + Paging.parameters,
        answers: [
            .init(status: .ok, words: "A page of permissions.", schema: page, headers: PolicyOperations.etag),
            PolicyOperations.refused,
        ]
    ) { request in
        let id = request.query("version").flatMap { UniqueID($0) }
        let (found, active, generation) = try await request.services.tenancy.read(try request.tenant) { reader in
            let generations = try reader.generations()
            guard let id else {
                guard let found = try reader.policies(version: generations.activeVersion) else {
                    throw GatewayError(.notFound, "no_policies", "no version is active: upload one")
                }
                return (found, generations.activeVersion, generations.policy)
            }
            guard let found = try reader.policies(id: id) else { throw GatewayError.notFound }
            return (found, generations.activeVersion, generations.policy)
        }
        let filter = AssignmentList.Filter(
            policy: request.query("policy"), action: request.query("action"), type: request.query("resource_type"))
        let after = try after(request)
        let limit = Paging.limit(request)
        let members = try await request.services.tenancy.block {
            try AssignmentList(found).page(filter, after: after, limit: limit)
        }
        return .json(
            .object([JSONMember("version", PolicyOperations.json(found, active: active, withText: false))] + members),
            headers: [.eTag: PolicyOperations.tag(generation)])
    }

    /// Where the page before ended: the number of a permission.
    private static func after(_ request: AdminRequest) throws(GatewayError) -> Int {
        guard let key = Paging.after(request) else { return 0 }
        guard key.count == 4 else { throw GatewayError.invalid("after", "no cursor of this list") }
        return key.reduce(0) { $0 << 8 | Int($1) }
    }

    // MARK: Change

    private static let change = Operation(
        "changeAssignments", "Policies", .patch, base, roles: [.tenantAdmin],
        "Take policy files out of deciding, or put them back.",
        details:
            "Makes a new version of the active one, whose tests run first, and activates it. A file that is not enabled stays "
            + "with the versions that follow from here, until an upload leaves it out. The catalog cannot be taken out.",
        parameters: [TenantOperations.path, PolicyOperations.ifMatch],
        body: .init(
            json: .named(
                "AssignmentChange",
                .object([
                    .required(
                        "files",
                        .array(
                            .object([.required("name", .text(1...500)), .required("enabled", .boolean)]),
                            atMost: LanguageLimits.maxFiles)),
                    .optional("message", .text(0...PolicyUpload.maxMessage)),
                ]))),
        answers: [
            .init(
                status: .ok, words: "The new version decides.", schema: PolicyOperations.activationShape,
                headers: PolicyOperations.etag),
            .init(
                status: .accepted, words: "The new version is to decide, and does not yet.",
                schema: PolicyOperations.activationShape, headers: PolicyOperations.etag),
            PolicyOperations.refused, PolicyOperations.changed, PolicyOperations.needed,
        ]
    ) { request in
        let tenant = try request.tenant
        _ = try await PolicyOperations.expectation(request)
        let (active, generation) = try await request.services.tenancy.read(tenant) { reader in
            let generations = try reader.generations()
            return (try reader.policies(version: generations.activeVersion), generations.policy)
        }
        guard let active else { throw GatewayError(.notFound, "no_policies", "no version is active: upload one") }
        let files = try changed(active.files, request.json["files"]?.array ?? [])
        let bar = try TenantOperations.record(tenant, request).minCoverage
        let review = try await request.services.tenancy.block { PolicyReview(files.sources, now: request.context.now) }
        try ReviewOperations.require(review, files.sources, bar: bar, activates: true)
        // Whatever If-Match says: what was read is what the change is made of.
        let made = try await request.services.tenancy.write(tenant) { writer in
            try PolicyOperations.stored { () throws(StoreError) in
                try writer.store(
                    files, author: request.caller.name,
                    message: request.json["message"]?.string ?? "", activates: true, expecting: generation,
                    time: request.context.now)
            }
        }
        let state = try await ActivationWatch(request.services, tenant).settled(made.version)
        return try await PolicyOperations.answer(
            state, version: made.version, request, status: state.isPending ? .accepted : .ok)
    }

    private static func changed(_ files: [PolicyFile], _ wanted: [JSONValue]) throws(GatewayError) -> [PolicyFile] {
        var files = files
        for (index, item) in wanted.enumerated() {
            let name = item["name"]?.string ?? ""
            guard let place = files.firstIndex(where: { $0.name == name }) else {
                throw GatewayError.invalid(
                    "files[\(index)].name",
                    "the active version has no such file; it has \(files.map(\.name).joined(separator: ", "))")
            }
            files[place].isEnabled = item["enabled"]?.bool ?? true
        }
        return files
    }
}

/// What a version assigns to each permission.
private struct AssignmentList {
    /// What is asked for.
    struct Filter: Sendable {
        var policy: String?
        var action: String?
        var type: String?
    }

    private let stored: StoredPolicies
    private let policies: CheckedPolicies
    /// For each file that is enabled, the policies in it.
    private let outlines: [[OutlineItem]]

    /// Names of rules in one page: what follows is on the next.
    private static let maxNames = 20_000

    init(_ stored: StoredPolicies) throws(GatewayError) {
        self.stored = stored
        let sources = stored.sources
        let result = checkPolicies(sources, warns: false)
        guard let policies = result.policies else {
            throw ReviewOperations.rejection(
                result.diagnostics, sources, "this version does not check with this release")
        }
        self.policies = policies
        outlines = SymbolIndex(sources).outlines
    }

    // MARK: Rules

    /// A rule or a duty.
    private struct Entry {
        var kind: String
        var name: String
        var subjectTypes: [Int]
        var actions: [Int]?
        var resourceTypes: [Int]?
        var condition: Condition
        var demand: String?
        var reason: String?
        var range: SourceRange

        func isAbout(_ action: Int, _ type: Int) -> Bool {
            actions?.contains(action) ?? true && resourceTypes?.contains(type) ?? true
        }
    }

    private var entries: [Entry] {
        let rules = policies.rules.map { rule in
            Entry(
                kind: "\(rule.kind)", name: rule.name, subjectTypes: rule.subjectTypes, actions: rule.actions,
                resourceTypes: rule.resourceTypes, condition: rule.condition,
                demand: rule.demand.map { policies.catalog.assurance.text($0) }, reason: rule.reason, range: rule.range)
        }
        let duties = policies.obligations.map { duty in
            Entry(
                kind: "duty", name: duty.name, subjectTypes: duty.subjectTypes, actions: duty.actions,
                resourceTypes: duty.resourceTypes, condition: duty.condition, range: duty.range)
        }
        return rules + duties
    }

    private func policy(of range: SourceRange) -> String {
        guard outlines.indices.contains(Int(range.file)) else { return "" }
        return outlines[Int(range.file)].first {
            $0.kind == .policy && $0.range.start <= range.start && range.end <= $0.range.end
        }?.name ?? ""
    }

    // MARK: A page

    func page(_ filter: Filter, after: Int, limit: Int) throws(GatewayError) -> [JSONMember] {
        let catalog = policies.catalog
        let entries = entries.filter { filter.policy == nil || policy(of: $0.range) == filter.policy }
        var permissions: [JSONValue] = []
        var named = Set<Int>()
        var count = 0
        var number = 0
        var next: Int?
        search: for (type, entity) in catalog.entities.enumerated() where filter.type ?? entity.name == entity.name {
            for (action, known) in catalog.actions.enumerated()
            where known.resourceTypes.contains(type) && filter.action ?? known.name == known.name {
                number += 1
                if number <= after { continue }
                let here = entries.indices.filter { entries[$0].isAbout(action, type) }
                if here.isEmpty, filter.policy != nil { continue }
                if permissions.count == limit || count + here.count > Self.maxNames && !permissions.isEmpty {
                    next = number - 1
                    break search
                }
                count += here.count
                named.formUnion(here)
                permissions.append(json(known.name, entity.name, here.map { entries[$0] }))
            }
        }
        var members = [
            JSONMember("files", .array(files)), JSONMember("permissions", .array(permissions)),
            JSONMember("rules", .array(named.sorted().map { json(entries[$0]) })),
        ]
        if let next {
            let key = (0..<4).map { UInt8(truncatingIfNeeded: next >> (24 - 8 * $0)) }
            members.append(JSONMember("next", .string(Cursor.text(key))))
        }
        return members
    }

    private var files: [JSONValue] {
        let outlines = SymbolIndex(stored.files.map { SourceFile(name: $0.name, text: $0.text) }).outlines
        return stored.files.enumerated().map { index, file in
            let names =
                outlines.indices.contains(index) ? outlines[index].filter { $0.kind == .policy }.map(\.name) : []
            return .object([
                "name": .string(file.name), "enabled": .bool(file.isEnabled),
                "policies": .array(names.map { .string($0) }),
            ])
        }
    }

    private func json(_ action: String, _ type: String, _ entries: [Entry]) -> JSONValue {
        func names(_ kind: String) -> JSONValue {
            .array(entries.filter { $0.kind == kind }.map { .string($0.name) })
        }
        return .object([
            "action": .string(action), "resource": .string(type), "permit": names("permit"),
            "require": names("require"), "forbid": names("forbid"), "duties": names("duty"),
        ])
    }

    private func json(_ entry: Entry) -> JSONValue {
        let text = ConditionText(policies, subjectType: entry.subjectTypes.count == 1 ? entry.subjectTypes[0] : nil)
        let file = Int(entry.range.file)
        var members = [
            JSONMember("name", .string(entry.name)), JSONMember("kind", .string(entry.kind)),
            JSONMember("policy", .string(policy(of: entry.range))),
            JSONMember("file", .string(policies.files.indices.contains(file) ? policies.files[file].name : "")),
            JSONMember("line", .integer(max(0, entry.range.line))),
            JSONMember(
                "subjects", .array(entry.subjectTypes.map { .string(policies.catalog.entities[$0].name) })),
            JSONMember("when", .string(text.write(entry.condition))),
        ]
        if let demand = entry.demand { members.append(JSONMember("demand", .string(demand))) }
        if let reason = entry.reason { members.append(JSONMember("because", .string(reason))) }
        return .object(members)
    }
}
