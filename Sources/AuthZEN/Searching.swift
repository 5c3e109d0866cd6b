// Searches (Authorization API 1.0, section 8) over HTTP: who may, what may be reached, what may be done, page by page.

import CBOR
import Cryptography
import DecisionPath
import DecisionProtocol
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyLanguage
import StrictJSON

/// Answers searches.
struct Searching: Sendable {
    let asking: Asking
    let searchers: SearcherPool
    let pages: PageSeal

    /// Results of a page when the request does not say, and at most.
    static let maxLimit = 1_000

    func search(
        _ target: EntityQuery.Target, _ request: Request, _ context: GatewayContext
    ) async throws -> Response {
        let reader = try await asking.read(request)
        let tenant = try asking.tenant(of: context)
        let (question, negotiation) = try asking.requested { () throws(RequestError) in
            try Self.question(reader, target)
        }
        var query = EntityQuery(target, question, limit: Self.maxLimit)
        let wanted = try asking.requested { () throws(RequestError) in try PageRequest(reader.document) }
        let hash = try Cryptography.sha256(Array("\(target.rawValue)\n".utf8) + question.frame(id: 0))
        if let limit = wanted.limit { query.limit = limit }
        if let token = wanted.token {
            guard let position = pages.open(token, tenant: tenant), position.request == hash,
                wanted.limit.map({ $0 == Int(position.limit) }) ?? true
            else {
                throw GatewayError(
                    .badRequest, "invalid_token",
                    "page.token: it is not of this request; send the same request again, with the token and nothing else new"
                )
            }
            guard position.expires > context.now else {
                throw GatewayError(
                    .badRequest, "invalid_token", "page.token: it has ended after an hour; begin the search anew")
            }
            query.after = position.after
            query.limit = Int(position.limit)
        }
        let page = try await searchers.page(tenant, query, now: context.now)
        var next = ""
        if let after = page.next {
            let position = PageSeal.Position(
                request: hash, limit: UInt32(query.limit), after: after, expires: context.now + PageSeal.life)
            next = try pages.token(position, tenant: tenant)
        }
        return Asking.answer(Self.answer(page, query, next, negotiation, now: context.now))
    }

    /// The question of a request, with what it may not say of the open entity left out.
    private static func question(
        _ reader: QuestionReader, _ target: EntityQuery.Target
    ) throws(RequestError) -> (Question, Negotiation) {
        let negotiation = try Negotiation(
            reader.document, context: reader.document.member("context", of: JSONDocument.root))
        var question = try Question(
            search: reader.document.value(), openEntity: target == .action ? nil : target.rawValue)
        question.context?.removeAll { $0.key == .text(Negotiation.member) }
        let names = [
            ("subject.type", question.subject?.type), ("subject.id", question.subject?.id),
            ("action.name", question.action?.name), ("resource.type", question.resource?.type),
            ("resource.id", question.resource?.id), ("session", question.session), ("device", question.device),
        ]
        for case (let path, let name?) in names where !(1...ProtocolLimits.maxNameBytes).contains(name.utf8.count) {
            throw RequestError(
                path: path, message: "it has \(name.utf8.count) bytes: 1 to \(ProtocolLimits.maxNameBytes) are allowed")
        }
        if target == .subject, question.session != nil {
            throw RequestError(path: "session", message: "a session is one subject's: leave it out of a subject search")
        }
        return (question, negotiation)
    }

    // MARK: Answers

    private static func answer(
        _ page: EntityPage, _ query: EntityQuery, _ next: String, _ negotiation: Negotiation, now: Int64
    ) -> [UInt8] {
        // Whoever does not know an obligation has to leave the result out (obligations profile, 3).
        let results = page.results.filter { $0.obligations.allSatisfy { negotiation.allows($0.type) } }
        var json = JSONWriter(capacity: 256 + 64 * results.count)
        json.raw("{\"page\":{\"next_token\":")
        json.string(next)
        json.raw(",\"count\":")
        json.number(UInt64(results.count))
        json.raw("},\"context\":{\"evaluated_at\":\"")
        json.raw(Instant.format(now))
        json.raw("\",\"snapshot_id\":\"")
        json.number(page.snapshot)
        json.raw("\",\"policy_version\":")
        json.number(page.policyVersion)
        json.raw("},\"results\":[")
        let type = query.target == .subject ? query.question.subject?.type : query.question.resource?.type
        for (index, result) in results.enumerated() {
            if index > 0 { json.raw(",") }
            write(result, query.target == .action ? nil : type, to: &json)
        }
        json.raw("]}")
        return json.bytes
    }

    private static func write(_ result: EntityPage.Result, _ type: String?, to json: inout JSONWriter) {
        if let type {
            json.raw("{\"type\":")
            json.string(type)
            json.raw(",\"id\":")
        } else {
            json.raw("{\"name\":")
        }
        json.string(result.id)
        if !result.obligations.isEmpty {
            json.raw(",\"obligations\":")
            json.value(.array(result.obligations.map(\.json)))
        }
        json.raw("}")
    }
}

/// What a request says of pages.
private struct PageRequest {
    var token: String?
    /// Results of a page; nil when it is left to us. 0 says nothing that the specification defines, so it is left to us too.
    var limit: Int?

    init(_ document: JSONDocument) throws(RequestError) {
        guard let page = document.member("page", of: JSONDocument.root), document.kind(page) != .null else { return }
        guard document.kind(page) == .object else { throw RequestError(path: "page", message: "an object is needed") }
        if let value = document.member("token", of: page), document.kind(value) != .null {
            guard document.kind(value) == .string else {
                throw RequestError(path: "page.token", message: "a string is needed")
            }
            let text = document.text(value)
            token = text.isEmpty ? nil : text
        }
        if let value = document.member("limit", of: page), document.kind(value) != .null {
            guard document.kind(value) == .number, let number = Int(document.digits(value)), number >= 0 else {
                throw RequestError(path: "page.limit", message: "a whole number from 0 on is needed")
            }
            if number > 0 { limit = min(number, Searching.maxLimit) }
        }
    }
}
