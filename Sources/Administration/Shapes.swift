// The shapes of the API's values that several operations share.

import AttributeStore
import Credentials
import PolicyLanguage
import StrictJSON

/// Named shapes.
enum Shapes {
    static let tenantID = Schema.text(
        Schema.TextRule(
            atLeast: 1, atMost: 63, pattern: ("^[a-z0-9][a-z0-9-]{0,62}$", { Store.isTenantID($0) })))

    static let uniqueID = Schema.text(
        Schema.TextRule(
            pattern: (
                "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
                { text in UniqueID(text)?.description == text }
            ), format: "uuid"))

    /// RFC 3339, in UTC.
    static let instant = Schema.text(Schema.TextRule(format: "date-time"))

    /// An id of the tenant's own: of a user, a session, a resource. In the path it stands percent-encoded.
    static let entityID = Schema.text(
        Schema.TextRule(
            atLeast: 1, atMost: StoreLimits.maxIDBytes,
            pattern: ("^[^\\u0000]+$", { StoreLimits.problem(withID: $0) == nil })))

    /// The name of an entity type.
    static let typeName = Schema.text(
        Schema.TextRule(
            atLeast: 1, atMost: 64,
            pattern: (
                "^[A-Za-z_][A-Za-z0-9_]*$",
                { text in
                    let bytes = Array(text.utf8)
                    return !bytes.isEmpty && !(0x30...0x39).contains(bytes[0])
                        && bytes.allSatisfy {
                            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                                || $0 == 0x5f
                        }
                }
            )))

    static let cursor = Schema.text(
        Schema.TextRule(
            atLeast: 1, atMost: 2_048,
            pattern: ("^([0-9a-f]{2})+$", { Cursor.key($0) != nil })))

    static let role = Schema.word(Role.allCases.map(\.rawValue))

    static let entity = Schema.named(
        "Entity", .object([.required("type", typeName), .required("id", entityID)]))

    static let credential = Schema.named("Credential", .object(credentialFields))

    /// A credential in the one answer that shows it.
    static let newCredential = Schema.named(
        "NewCredential",
        .object(
            credentialFields + [
                .required("credential", .text(20...128).described("The credential itself. It is not shown again."))
            ]))

    private static let credentialFields: [Schema.Field] = [
        .required("id", uniqueID), .required("role", role), .optional("tenant", tenantID),
        .required("state", .word(["active", "expired", "revoked"])), .required("label", .text(0...200)),
        .required("author", .text(0...500)), .required("created", instant), .required("expires", instant),
        .optional("revoked", instant), .optional("replaces", uniqueID),
    ]

    static let diagnostic = Schema.named(
        "Diagnostic",
        .object([
            .required("code", .text(1...16)), .required("severity", .word(["error", "warning"])),
            .required("title", .text(Schema.TextRule())), .required("message", .text(Schema.TextRule())),
            .optional("file", .text(Schema.TextRule())), .optional("range", sourceRange),
            .optional(
                "excerpt",
                .object([.required("line", .text(Schema.TextRule())), .required("carets", .text(Schema.TextRule()))])),
            .optional("help", .text(Schema.TextRule())),
            .optional(
                "related",
                .array(
                    .object([
                        .required("message", .text(Schema.TextRule())), .optional("file", .text(Schema.TextRule())),
                        .optional("range", sourceRange),
                    ]), atMost: 1_000)),
        ]))

    /// Findings told of in one answer.
    static let maxDiagnostics = 1_000

    private static let sourceRange = Schema.named(
        "SourceRange",
        .object([.required("start", sourcePosition), .required("end", sourcePosition)])
    ).described(
        "Lines and columns count from 1, columns Unicode scalars; `end` is behind the last; `byte` counts from 0.")

    private static let sourcePosition = Schema.object([
        .required("line", .integer(1...Int(Int32.max))), .required("column", .integer(1...Int(Int32.max))),
        .required("byte", .integer(0...Int(Int32.max))),
    ])

    static let testResult = Schema.named(
        "TestResult",
        .object([
            .required("name", .text(Schema.TextRule())), .required("passed", .boolean),
            .required("found", .text(Schema.TextRule())), .optional("file", .text(Schema.TextRule())),
            .optional("line", .integer(0...Int(Int32.max))),
        ]))

    /// Outcomes of conditions told of in one answer.
    static let maxUncovered = 1_000

    static let uncoveredCondition = Schema.named(
        "UncoveredCondition",
        .object([
            .required("condition", .text(Schema.TextRule()).described("Its text.")),
            .required("of", .text(Schema.TextRule()).described("The rule or role it belongs to.")),
            .required("never", .boolean.described("The outcome that no test has shown.")),
            .optional("file", .text(Schema.TextRule())), .optional("line", .integer(0...Int(Int32.max))),
            .optional("column", .integer(0...Int(Int32.max))),
        ]))

    /// A list that goes on behind `next`.
    static func page(_ name: String, _ items: String, _ item: Schema) -> Schema {
        .named(
            name,
            .object([
                .required(items, .array(item, atMost: 1_000)),
                .optional("next", cursor.described("Give it as `after` for the next page; absent on the last.")),
            ]))
    }
}

/// Where a page ends: a key of the store in hexadecimal digits, of no meaning to callers.
enum Cursor {
    static func text(_ key: [UInt8]) -> String {
        key.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    static func key(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard !digits.isEmpty, digits.count % 2 == 0, digits.count <= 2_048 else { return nil }
        var key: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digit(digits[index]), let low = digit(digits[index + 1]) else { return nil }
            key.append(high << 4 | low)
        }
        return key
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x61...0x66: character - 0x61 + 10
        default: nil
        }
    }
}

/// Parameters of lists.
enum Paging {
    static let parameters: [Operation.Parameter] = [
        .query("after", Shapes.cursor, "`next` of the page before."),
        .query("limit", .integer(1...1_000), "Entries of a page at most; 100 unless told otherwise."),
    ]

    static func limit(_ request: AdminRequest) -> Int { request.integer("limit", or: 100) }
    static func after(_ request: AdminRequest) -> [UInt8]? { request.query("after").flatMap { Cursor.key($0) } }
}
