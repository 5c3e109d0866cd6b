// The application's registry of resources: their attributes and what they lie in.

import AttributeStore
import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import StrictJSON

/// Operations on resources.
enum ResourceOperations {
    static let all: [Operation] = [list, listType, get, put, delete]

    private static let base = "/admin/v1/tenants/{tenant}/resources"
    private static let type = Operation.Parameter.path("type", Shapes.typeName, "The entity type.")
    private static let id = Operation.Parameter.path("id", Shapes.entityID, "The resource's id.")

    private static let properties = Schema.map(.any).described("Attributes of the catalog, by name.")
    private static let parents = Schema.array(Shapes.entity, atMost: StoreLimits.maxParents).described(
        "What it lies in directly.")

    private static let resource = Schema.named(
        "Resource",
        .object([
            .required("type", Shapes.typeName), .required("id", Shapes.entityID),
            .required("properties", properties), .required("parents", parents),
        ]))

    private static let list = Operation(
        "listResources", "Resources", .get, base, roles: [.tenantAdmin, .auditor], "List the resources of all types.",
        parameters: [TenantOperations.path] + Paging.parameters,
        answers: [.ok("A page of resources.", Shapes.page("ResourcePage", "resources", resource))]
    ) { request in try await page(request, type: nil) }

    private static let listType = Operation(
        "listResourcesOfType", "Resources", .get, base + "/{type}", roles: [.tenantAdmin, .auditor],
        "List the resources of a type.", parameters: [TenantOperations.path, type] + Paging.parameters,
        answers: [.ok("A page of resources.", Shapes.page("ResourcePage", "resources", resource))]
    ) { request in try await page(request, type: try request.path("type")) }

    private static func page(_ request: AdminRequest, type: String?) async throws -> Response {
        let after = Paging.after(request)
        let limit = Paging.limit(request)
        let page = try await request.services.tenancy.read(try request.tenant) {
            try $0.resources(type: type, after: after, limit: limit)
        }
        var members = [JSONMember("resources", .array(page.items.map(json)))]
        if let next = page.next { members.append(JSONMember("next", .string(Cursor.text(next)))) }
        return .json(.object(members))
    }

    private static let get = Operation(
        "getResource", "Resources", .get, base + "/{type}/{id}", roles: [.tenantAdmin, .auditor], "Show a resource.",
        parameters: [TenantOperations.path, type, id], answers: [.ok("The resource.", resource)]
    ) { request in
        let name = try name(request)
        let found = try await request.services.tenancy.read(try request.tenant) { try $0.resource(name) }
        guard let found else { throw GatewayError.notFound }
        return .json(json(found))
    }

    private static let put = Operation(
        "putResource", "Resources", .put, base + "/{type}/{id}", roles: [.tenantAdmin], "Register a resource.",
        details: "Replaces what was registered before. Every decision from now on respects it.",
        parameters: [TenantOperations.path, type, id],
        body: .init(json: .object([.optional("properties", properties), .optional("parents", parents)])),
        answers: [
            .ok("The resource.", resource),
            .init(
                status: .created, words: "The resource, which is new.", schema: resource,
                headers: [("Location", "Where it is.")]),
            TenantOperations.conflict("It would lie in itself."),
        ]
    ) { request in
        let name = try name(request)
        let tenant = try request.tenant
        let properties = request.json["properties"] ?? .object([])
        let parents = (request.json["parents"]?.array ?? []).map {
            EntityName(type: $0["type"]?.string ?? "", id: $0["id"]?.string ?? "")
        }
        let before = try await request.services.tenancy.read(tenant) { try $0.resource(name) }
        try await request.services.tenancy.write(tenant) { writer in
            _ = try writer.append(
                [.putResource(type: name.type, id: name.id, document: properties, parents: parents)],
                time: request.context.now)
        }
        let stored = try await request.services.tenancy.read(tenant) { try $0.resource(name) }
        let now = stored.map(json) ?? .object([])
        if before != nil { return .json(now) }
        return .json(now, status: .created, headers: [.location: request.request.uri.path])
    }

    private static let delete = Operation(
        "deleteResource", "Resources", .delete, base + "/{type}/{id}", roles: [.tenantAdmin], "Take a resource out.",
        parameters: [TenantOperations.path, type, id], answers: [.noContent]
    ) { request in
        let name = try name(request)
        let tenant = try request.tenant
        guard try await request.services.tenancy.read(tenant, { try $0.resource(name) }) != nil else {
            throw GatewayError.notFound
        }
        try await request.services.tenancy.write(tenant) { writer in
            _ = try writer.append([.deleteResource(type: name.type, id: name.id)], time: request.context.now)
        }
        return .noContent
    }

    private static func name(_ request: AdminRequest) throws -> EntityName {
        EntityName(type: try request.path("type"), id: try request.path("id"))
    }

    private static func json(_ resource: StoredResource) -> JSONValue {
        .object([
            "type": .string(resource.name.type), "id": .string(resource.name.id), "properties": resource.properties,
            "parents": .array(
                resource.parents.map { .object(["type": .string($0.type), "id": .string($0.id)]) }),
        ])
    }
}
