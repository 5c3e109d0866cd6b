// A catalog as JSON: the words that policies are written in.

import PolicyLanguage
import StrictJSON

/// Shows catalogs.
enum CatalogView {
    private static let attribute = Schema.named(
        "Attribute",
        .object([
            .required("name", .text(1...5_000)), .required("type", .text(1...100_000)),
            .required("optional", .boolean), .required("sources", .array(.text(1...5_000), atMost: 100)),
            .optional("lifetime_ms", .integer(0...Int.max)), .optional("documentation", .text(Schema.TextRule())),
            .optional("use", .text(Schema.TextRule())),
        ]))

    static let schema = Schema.named(
        "Catalog",
        .object([
            .required("name", .text(0...5_000)), .required("version", .text(0...100)),
            .required("assurance", .array(.text(1...5_000), atMost: 64)),
            .required(
                "entities",
                .array(
                    .object([
                        .required("name", .text(1...5_000)), .required("subject", .boolean),
                        .required("containers", .array(.text(1...5_000), atMost: 1_000)),
                        .optional("documentation", .text(Schema.TextRule())),
                        .required("attributes", .array(attribute, atMost: 2_000)),
                    ]), atMost: 1_000)),
            .required(
                "actions",
                .array(
                    .object([
                        .required("name", .text(1...5_000)),
                        .required("resource_types", .array(.text(1...5_000), atMost: 1_000)),
                        .optional("documentation", .text(Schema.TextRule())),
                        .required("properties", .array(attribute, atMost: 2_000)),
                    ]), atMost: 10_000)),
            .required("context", .array(attribute, atMost: 2_000)),
        ]))

    static func json(_ catalog: Catalog) -> JSONValue {
        .object([
            "name": .string(catalog.name), "version": .string(catalog.version),
            "assurance": .array(catalog.assurance.levels.map { .string($0) }),
            "entities": .array(
                catalog.entities.map { entity in
                    var members = [
                        JSONMember("name", .string(entity.name)), JSONMember("subject", .bool(entity.isSubject)),
                        JSONMember(
                            "containers", .array(entity.containers.map { .string(catalog.entities[$0].name) })),
                    ]
                    if let words = entity.documentation { members.append(JSONMember("documentation", .string(words))) }
                    members.append(attributes("attributes", entity.attributes, catalog))
                    return .object(members)
                }),
            "actions": .array(
                catalog.actions.map { action in
                    var members = [
                        JSONMember("name", .string(action.name)),
                        JSONMember(
                            "resource_types", .array(action.resourceTypes.map { .string(catalog.entities[$0].name) })),
                    ]
                    if let words = action.documentation { members.append(JSONMember("documentation", .string(words))) }
                    members.append(attributes("properties", action.attributes, catalog))
                    return .object(members)
                }),
            "context": .array(catalog.context.map { json($0, catalog) }),
        ])
    }

    private static func attributes(_ name: String, _ list: [Attribute], _ catalog: Catalog) -> JSONMember {
        JSONMember(name, .array(list.map { json($0, catalog) }))
    }

    private static func json(_ attribute: Attribute, _ catalog: Catalog) -> JSONValue {
        var members = [
            JSONMember("name", .string(attribute.name)),
            JSONMember("type", .string(attribute.type.spelling { catalog.entities[$0].name })),
            JSONMember("optional", .bool(attribute.isOptional)),
            JSONMember("sources", .array(attribute.sources.map { .string($0.kind.rawValue) })),
        ]
        if let lifetime = attribute.lifetime { members.append(JSONMember("lifetime_ms", .integer(lifetime))) }
        if let words = attribute.documentation { members.append(JSONMember("documentation", .string(words))) }
        if let use = attribute.use { members.append(JSONMember("use", .string(use))) }
        return .object(members)
    }
}
