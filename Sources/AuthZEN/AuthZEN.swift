// AuthZEN's Authorization API 1.0 on the listener of decisions: what it looks like over HTTP. What is decided, and why, is
// `stiled`'s.

import AttributeStore
import Credentials
import DecisionPath
import DecisionProtocol
package import GatewayCore
import HTTPTypes
import Hummingbird
import NIOCore
import StileClient
import StrictJSON

/// Settings of the API.
package struct AuthZENSettings: Sendable {
    /// Where callers reach the listener, without a slash at the end: `https://pdp.example.com`; nil says it by the
    /// request's own `Host`, and signs nothing.
    package var url: String?
    /// In a batch an entity that lacks `type`, `id` or `name` takes it from the default's. The specification replaces an
    /// entity whole; one case of the conformance suite wants this (openid/authzen#640).
    package var fillsDefaults = false

    package init() {}
}

/// The room of AuthZEN.
package enum AuthZEN {
    /// Its endpoints. Each API has two paths: the specification's, for the tenant of the credential, and one that says the
    /// tenant before it, as the tenant's metadata does.
    package static func room(_ services: GatewayServices, _ settings: AuthZENSettings) throws -> APIRoom {
        let asking = Asking(services: services, settings: settings)
        let searching = Searching(
            asking: asking, searchers: SearcherPool(services),
            pages: PageSeal(key: try services.desk.derivedKey(for: "authzen page tokens")))
        let signer = try MetadataSigner(services.desk.book.store)
        let apis: [(path: String, handler: Endpoint.Handler)] = [
            ("/access/v1/evaluation", { try await asking.evaluation($0, $1) }),
            ("/access/v1/evaluations", { try await asking.evaluations($0, $1) }),
            ("/access/v1/search/subject", { try await searching.search(.subject, $0, $1) }),
            ("/access/v1/search/resource", { try await searching.search(.resource, $0, $1) }),
            ("/access/v1/search/action", { try await searching.search(.action, $0, $1) }),
        ]
        let asked = apis.flatMap { api in
            ["", "/{tenant}"].map { prefix in
                Endpoint(.post, prefix + api.path, access: .roles([.pep]), errors: .text, handler: api.handler)
            }
        }
        return APIRoom(.decisions, asked + Metadata(settings, signer).endpoints + [Description.endpoint])
    }
}

extension ErrorStyle {
    /// "An error message string" (Authorization API 1.0, 10.1.3): the code for programs, then what and where.
    static let text = ErrorStyle { error in ("\(error.code): \(error.message)", "text/plain; charset=utf-8") }
}

/// Answers evaluations.
struct Asking: Sendable {
    let services: GatewayServices
    let settings: AuthZENSettings

    /// One question (section 6).
    func evaluation(_ request: Request, _ context: GatewayContext) async throws(GatewayError) -> Response {
        let reader = try await read(request)
        return try await one(reader, try tenant(of: context))
    }

    /// Many questions (section 7); without any item it is one.
    func evaluations(_ request: Request, _ context: GatewayContext) async throws(GatewayError) -> Response {
        let reader = try await read(request)
        let tenant = try tenant(of: context)
        guard let list = reader.document.member("evaluations", of: JSONDocument.root) else {
            return try await one(reader, tenant)
        }
        guard reader.document.kind(list) == .array else {
            throw GatewayError.invalid("evaluations", "an array is needed")
        }
        if reader.document.count(list) == 0 { return try await one(reader, tenant) }
        let evaluations = try requested { () throws(RequestError) in
            try Evaluations(reader, list, fillsDefaults: settings.fillsDefaults)
        }
        guard let batch = evaluations.batch else { return Self.answer(evaluations.answer([])) }
        let client = try services.decisions.client(tenant)
        do throws(StileError) {
            return Self.answer(evaluations.answer(try await client.decideAll(batch)))
        } catch {
            throw GatewayError(error)
        }
    }

    private func one(_ reader: QuestionReader, _ tenant: String) async throws(GatewayError) -> Response {
        let parts = reader.parts(of: JSONDocument.root)
        let (question, negotiation) = try requested { () throws(RequestError) in
            (try reader.question(parts), try Negotiation(reader.document, context: parts.context))
        }
        let client = try services.decisions.client(tenant)
        var writer = DecisionWriter()
        do throws(StileError) {
            writer.decision(try await client.decide(question), negotiation)
        } catch {
            throw GatewayError(error)
        }
        return Self.answer(writer.json.bytes)
    }

    /// The body, an object.
    func read(_ request: Request) async throws(GatewayError) -> QuestionReader {
        do throws(GatewayError) {
            try BodyReader.requireJSON(request.headers)
        } catch {
            // The specification knows 400 alone (10.1.3).
            throw GatewayError(.badRequest, error.code, error.message)
        }
        let body = try await BodyReader.bytes(request, limit: services.limits.maxBodyBytes)
        let document = try await parse(Array(body.readableBytesView))
        guard document.kind(JSONDocument.root) == .object else {
            throw GatewayError.invalid("", "the body must be an object")
        }
        return QuestionReader(document)
    }

    /// Bytes of a text that is read where its connection is served: a longer one would hold up the loop's other connections.
    private static let maxShortText = 64 << 10

    private func parse(_ text: [UInt8]) async throws(GatewayError) -> JSONDocument {
        let result: Result<JSONDocument, JSONError>
        if text.count <= Self.maxShortText {
            result = Result { () throws(JSONError) in try JSONDocument(text) }
        } else {
            do {
                result = try await services.tenancy.block { Result { () throws(JSONError) in try JSONDocument(text) } }
            } catch {
                throw GatewayError(any: error)
            }
        }
        do throws(JSONError) {
            return try result.get()
        } catch {
            throw GatewayError(.badRequest, "invalid_json", error.description)
        }
    }

    /// The tenant of the credential. Where the path names one it is the same: the endpoint was held to it.
    func tenant(of context: GatewayContext) throws(GatewayError) -> String {
        guard let tenant = try context.requireCaller().tenant else { throw GatewayError.notFound }
        return tenant
    }

    /// What a mistake in the request is to its sender.
    func requested<Value>(_ body: () throws(RequestError) -> Value) throws(GatewayError) -> Value {
        do throws(RequestError) {
            return try body()
        } catch {
            throw GatewayError.invalid(error.path, error.message)
        }
    }

    static func answer(_ json: [UInt8]) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: json)))
    }
}
