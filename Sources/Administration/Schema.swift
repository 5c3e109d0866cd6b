// One description of each value for both sides: the document that is published (JSON Schema, draft 2020-12, as OpenAPI
// 3.1 takes it) and the check of what comes in. So they cannot say different things.

import StrictJSON

/// The shape of a JSON value.
indirect enum Schema: Sendable {
    /// A string.
    case text(TextRule)
    /// A whole number in a range.
    case integer(ClosedRange<Int>)
    case boolean
    /// Elements of one shape, at most so many.
    case array(Schema, atMost: Int)
    /// Members with names of our choosing, and no others.
    case object([Field])
    /// Members with names of somebody else's choosing.
    case map(Schema)
    /// Any value.
    case any
    /// The shape, or null.
    case nullable(Schema)
    /// A shape that the document describes once, under a name.
    case named(String, Schema)
    /// The shape, with words for readers.
    case described(Schema, String)

    /// A member of an object.
    struct Field: Sendable {
        var name: String
        var schema: Schema
        var isRequired: Bool

        static func required(_ name: String, _ schema: Schema) -> Field {
            Field(name: name, schema: schema, isRequired: true)
        }
        static func optional(_ name: String, _ schema: Schema) -> Field {
            Field(name: name, schema: schema, isRequired: false)
        }
    }

    /// What a string must be.
    struct TextRule: Sendable {
        var atLeast = 0
        var atMost: Int?
        /// The values there are.
        var values: [String]?
        /// A regular expression for the document, and the same check in code.
        var pattern: (expression: String, matches: @Sendable (String) -> Bool)?
        var format: String?
    }

    /// A string of at most so many characters.
    static func text(_ range: ClosedRange<Int>) -> Schema {
        .text(TextRule(atLeast: range.lowerBound, atMost: range.upperBound))
    }
    /// One of these strings.
    static func word(_ values: [String]) -> Schema { .text(TextRule(values: values)) }

    func described(_ words: String) -> Schema { .described(self, words) }
}

// MARK: Checking

/// A value that does not fit.
struct SchemaMismatch: Error {
    /// Where: `files[0].name`.
    var path: String
    var message: String
}

extension Schema {
    /// Throws when the value does not have this shape.
    func check(_ value: JSONValue, at path: String = "") throws(SchemaMismatch) {
        switch self {
        case .text(let rule):
            guard let text = value.string else { throw wrong(path, "a string", value) }
            try rule.check(text, at: path)
        case .integer(let range):
            guard let number = value.integer, range.contains(Int(number)) else {
                throw SchemaMismatch(
                    path: path, message: "a whole number from \(range.lowerBound) to \(range.upperBound) is needed")
            }
        case .boolean: if value.bool == nil { throw wrong(path, "true or false", value) }
        case .array(let element, let limit):
            guard let items = value.array else { throw wrong(path, "an array", value) }
            guard items.count <= limit else {
                throw SchemaMismatch(path: path, message: "\(items.count) elements, above \(limit)")
            }
            for (index, item) in items.enumerated() { try element.check(item, at: "\(path)[\(index)]") }
        case .object(let fields): try Self.check(value, fields, path)
        case .map(let element):
            guard let members = value.object else { throw wrong(path, "an object", value) }
            for member in members { try element.check(member.value, at: Self.join(path, member.name)) }
        case .any: return
        case .nullable(let schema): if value != .null { try schema.check(value, at: path) }
        case .named(_, let schema), .described(let schema, _): try schema.check(value, at: path)
        }
    }

    private static func check(
        _ value: JSONValue, _ fields: [Field], _ path: String
    ) throws(SchemaMismatch) {
        guard let members = value.object else {
            throw SchemaMismatch(path: path, message: "an object is needed, this is \(value.kind)")
        }
        for member in members {
            guard let field = fields.first(where: { $0.name == member.name }) else {
                throw SchemaMismatch(
                    path: join(path, String(member.name.prefix(64))),
                    message: "no such member; there are \(fields.map(\.name).joined(separator: ", "))")
            }
            try field.schema.check(member.value, at: join(path, member.name))
        }
        if let missing = fields.first(where: { field in
            field.isRequired && !members.contains { $0.name == field.name }
        }) {
            throw SchemaMismatch(path: join(path, missing.name), message: "is missing")
        }
    }

    private func wrong(_ path: String, _ needed: String, _ value: JSONValue) -> SchemaMismatch {
        SchemaMismatch(path: path, message: "\(needed) is needed, this is \(value.kind)")
    }

    private static func join(_ path: String, _ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }
}

extension Schema.TextRule {
    func check(_ text: String, at path: String) throws(SchemaMismatch) {
        if let values, !values.contains(text) {
            throw SchemaMismatch(path: path, message: "one of \(values.joined(separator: ", ")) is needed")
        }
        let count = text.unicodeScalars.count
        guard count >= atLeast, count <= atMost ?? .max else {
            throw SchemaMismatch(
                path: path,
                message: "\(count) characters; there must be \(atLeast) to \(atMost.map(String.init) ?? "any")")
        }
        if let pattern, !pattern.matches(text) {
            throw SchemaMismatch(path: path, message: "must match \(pattern.expression)")
        }
    }
}

// MARK: The document

extension Schema {
    /// The schema for the document; named ones are referred to.
    var json: JSONValue {
        switch self {
        case .text(let rule): rule.json
        case .integer(let range):
            .object([
                "type": .string("integer"), "minimum": .integer(range.lowerBound),
                "maximum": .integer(range.upperBound),
            ])
        case .boolean: .object(["type": .string("boolean")])
        case .array(let element, let limit):
            .object(["type": .string("array"), "items": element.json, "maxItems": .integer(limit)])
        case .object(let fields):
            .object([
                "type": .string("object"),
                "properties": .object(fields.map { JSONMember($0.name, $0.schema.json) }),
                "required": .array(fields.filter(\.isRequired).map { .string($0.name) }),
                "additionalProperties": .bool(false),
            ])
        case .map(let element): .object(["type": .string("object"), "additionalProperties": element.json])
        case .any: .object([])
        case .nullable(let schema):
            .object(["anyOf": .array([schema.json, .object(["type": .string("null")])])])
        case .named(let name, _): .object(["$ref": .string("#/components/schemas/\(name)")])
        case .described(let schema, let words):
            .object([JSONMember("description", .string(words))] + (schema.json.object ?? []))
        }
    }

    /// Every named schema in this one, itself included.
    func collect(_ found: inout [String: JSONValue]) {
        switch self {
        case .named(let name, let schema):
            if found[name] == nil {
                found[name] = schema.json
                schema.collect(&found)
            }
        case .described(let schema, _), .map(let schema), .array(let schema, _), .nullable(let schema):
            schema.collect(&found)
        case .object(let fields): for field in fields { field.schema.collect(&found) }
        case .text, .integer, .boolean, .any: return
        }
    }
}

extension Schema.TextRule {
    fileprivate var json: JSONValue {
        var members = [JSONMember("type", .string("string"))]
        if let values { members.append(JSONMember("enum", .array(values.map { .string($0) }))) }
        if atLeast > 0 { members.append(JSONMember("minLength", .integer(atLeast))) }
        if let atMost { members.append(JSONMember("maxLength", .integer(atMost))) }
        if let pattern { members.append(JSONMember("pattern", .string(pattern.expression))) }
        if let format { members.append(JSONMember("format", .string(format))) }
        return .object(members)
    }
}
