// One operation of the administration's API: what is published of it, what is checked before its code runs, and the
// code.

import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import HummingbirdCore
import StrictJSON

/// One operation.
struct Operation: Sendable {
    typealias Handler = @Sendable (AdminRequest) async throws -> Response

    var id: String
    var tag: String
    var method: HTTPRequest.Method
    var path: String
    var roles: Set<Role>
    var summary: String
    var details: String
    var parameters: [Parameter]
    var body: Body?
    var answers: [Answer]
    var handler: Handler

    /// A parameter of the path, the query or a header.
    struct Parameter: Sendable {
        enum Place: String, Sendable {
            case path, query, header
        }

        var name: String
        var place: Place
        var schema: Schema
        var isRequired: Bool
        var words: String
        /// Of a path: a value that does not fit is a wrong request, and not just nobody's name.
        var isTold = false

        static func path(_ name: String, _ schema: Schema, _ words: String, isTold: Bool = false) -> Parameter {
            Parameter(
                name: name, place: .path, schema: schema, isRequired: true, words: words, isTold: isTold)
        }
        static func query(_ name: String, _ schema: Schema, _ words: String, isRequired: Bool = false) -> Parameter {
            Parameter(name: name, place: .query, schema: schema, isRequired: isRequired, words: words)
        }
        static func header(_ name: String, _ schema: Schema, _ words: String, isRequired: Bool) -> Parameter {
            Parameter(name: name, place: .header, schema: schema, isRequired: isRequired, words: words)
        }
    }

    /// What a request carries.
    struct Body: Sendable {
        /// The schema of a body of JSON; other types are described alone.
        var json: Schema
        var others: [(type: String, words: String)] = []
        var limit: Int?
    }

    /// What may be answered besides the errors of every operation.
    struct Answer: Sendable {
        var status: HTTPResponse.Status
        var words: String
        var schema: Schema?
        var headers: [(name: String, words: String)] = []
        var type = "application/json"

        static func ok(_ words: String, _ schema: Schema) -> Answer {
            Answer(status: .ok, words: words, schema: schema)
        }
        static let noContent = Answer(status: .noContent, words: "Done; nothing to say.")
    }

    init(
        _ id: String, _ tag: String, _ method: HTTPRequest.Method, _ path: String, roles: Set<Role>, _ summary: String,
        details: String = "", parameters: [Parameter] = [], body: Body? = nil, answers: [Answer],
        handler: @escaping Handler
    ) {
        self.id = id
        self.tag = tag
        self.method = method
        self.path = path
        self.roles = roles
        self.summary = summary
        self.details = details
        self.parameters = parameters
        self.body = body
        self.answers = answers
        self.handler = handler
    }

    /// The operation as the gateway runs it.
    func endpoint(_ services: GatewayServices) -> Endpoint {
        Endpoint(method, path, access: .roles(roles)) { request, context in
            try await handler(AdminRequest(self, request, context, services))
        }
    }
}

/// A request whose parameters and body fit the operation.
struct AdminRequest: Sendable {
    let services: GatewayServices
    let context: GatewayContext
    let caller: Caller
    /// The body; null where the operation takes none or another type than JSON.
    let json: JSONValue
    /// The raw request, for bodies of other types.
    let request: Request
    private let operation: Operation
    private let query: [String: String]

    init(
        _ operation: Operation, _ request: Request, _ context: GatewayContext, _ services: GatewayServices
    ) async throws(GatewayError) {
        self.operation = operation
        self.services = services
        self.context = context
        self.request = request
        caller = try context.requireCaller()
        query = try Self.query(request, operation)
        for parameter in operation.parameters {
            switch parameter.place {
            case .path:
                // A name that cannot be is nobody's.
                let text = try context.path(parameter.name)
                if parameter.isTold {
                    try Self.check(text, parameter)
                } else if (try? parameter.schema.check(.string(text))) == nil {
                    throw GatewayError.notFound
                }
            case .query:
                if let text = query[parameter.name] {
                    try Self.check(text, parameter)
                } else if parameter.isRequired {
                    throw GatewayError.invalid(parameter.name, "this parameter of the query is missing")
                }
            case .header: continue
            }
        }
        json = try await Self.body(request, operation, services.limits)
    }

    /// Numbers and truth values stand as text in a query.
    private static func check(_ text: String, _ parameter: Operation.Parameter) throws(GatewayError) {
        var value = JSONValue.string(text)
        switch parameter.schema {
        case .integer: if let number = Int(text) { value = .integer(number) }
        case .boolean: if text == "true" || text == "false" { value = .bool(text == "true") }
        default: break
        }
        do throws(SchemaMismatch) {
            try parameter.schema.check(value, at: parameter.name)
        } catch {
            throw GatewayError.invalid(error.path, error.message)
        }
    }

    private static func query(_ request: Request, _ operation: Operation) throws(GatewayError) -> [String: String] {
        guard let text = request.uri.query, !text.isEmpty else { return [:] }
        let known = operation.parameters.filter { $0.place == .query }.map(\.name)
        var values: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let words = parts.map { PercentCoding.decode(String($0.replacing("+", with: " "))) }
            guard let name = words[0], let value = words.count == 2 ? words[1] : "" else {
                throw GatewayError.invalid("query", "no UTF-8 in percent encoding")
            }
            guard known.contains(name) else {
                throw GatewayError.invalid(
                    "query",
                    "no parameter \"\(name.prefix(64))\"; there "
                        + (known.isEmpty ? "are none" : "are \(known.joined(separator: ", "))"))
            }
            guard values.updateValue(value, forKey: name) == nil else {
                throw GatewayError.invalid(name, "stands twice: keep one")
            }
        }
        return values
    }

    private static func body(
        _ request: Request, _ operation: Operation, _ limits: GatewayLimits
    ) async throws(GatewayError) -> JSONValue {
        guard let body = operation.body else {
            // A body that nobody asked for is a misunderstanding.
            if try await BodyReader.bytes(request, limit: 1 << 10).readableBytes > 0 {
                throw GatewayError.invalid("body", "this operation takes none")
            }
            return .null
        }
        let type = BodyReader.mediaType(request.headers)
        if body.others.contains(where: { $0.type == type }) { return .null }
        if type != "application/json", !body.others.isEmpty {
            let known = (["application/json"] + body.others.map(\.type)).joined(separator: ", ")
            throw GatewayError(.unsupportedMediaType, "unsupported_media_type", "send one of \(known)")
        }
        let json = try await BodyReader.json(request, limit: body.limit ?? limits.maxBodyBytes)
        do throws(SchemaMismatch) {
            try body.json.check(json)
        } catch {
            throw GatewayError.invalid(error.path, error.message)
        }
        return json
    }

    // MARK: What handlers ask for

    /// The tenant in the path.
    var tenant: String { get throws(GatewayError) { try context.path("tenant") } }

    /// A parameter of the path.
    func path(_ name: String) throws(GatewayError) -> String { try context.path(name) }

    /// A parameter of the query.
    func query(_ name: String) -> String? { query[name] }

    /// A whole number in the query.
    func integer(_ name: String, or other: Int) -> Int { query[name].flatMap { Int($0) } ?? other }
}
