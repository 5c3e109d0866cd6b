// What a client has to know before it asks (Authorization API 1.0, section 9).

import AttributeStore
import GatewayCore
import HTTPTypes
import Hummingbird
import HummingbirdCore
import StrictJSON

/// Publishes the metadata of every tenant.
///
/// The document says nothing that depends on the tenant, and is given for every name: so nobody learns from it which tenants
/// there are.
struct Metadata: Sendable {
    private let settings: AuthZENSettings
    private let signer: MetadataSigner

    init(_ settings: AuthZENSettings, _ signer: MetadataSigner) {
        self.settings = settings
        self.signer = signer
    }

    private static let path = "/.well-known/authzen-configuration"
    private static let keyPath = "/.well-known/jwks.json"
    /// Seconds that a client may keep it.
    private static let maxAge = 3_600

    var endpoints: [Endpoint] {
        [
            Endpoint(.get, Self.path, access: .open, errors: .text) { request, context in
                try answer(request, context, tenant: nil)
            },
            Endpoint(.get, Self.path + "/{tenant}", access: .open, errors: .text) { request, context in
                try answer(request, context, tenant: try context.path("tenant"))
            },
            Endpoint(.get, Self.keyPath, access: .open, errors: .text) { _, _ in
                var headers = HTTPFields()
                headers[.cacheControl] = "max-age=\(Self.maxAge)"
                return .json(signer.keySet, headers: headers)
            },
        ]
    }

    private func answer(
        _ request: Request, _ context: GatewayContext, tenant: String?
    ) throws -> Response {
        if let tenant, !Store.isTenantID(tenant) { throw GatewayError.notFound }
        let base = (try base(request, context)) + (tenant.map { "/" + $0 } ?? "")
        var headers = HTTPFields()
        headers[.cacheControl] = "max-age=\(Self.maxAge)"
        if settings.url == nil { headers[.vary] = "Host" }
        var members = Self.members(base)
        // What only the caller says of our address is not signed: a signature would make it ours.
        if let url = settings.url {
            members.append(JSONMember("jwks_uri", .string(url + Self.keyPath)))
            let signed = try signer.sign(members, issuer: base, now: context.now)
            members.append(JSONMember("signed_metadata", .string(signed)))
        }
        return .json(.object(members), headers: headers)
    }

    /// Where the caller reaches us.
    private func base(_ request: Request, _ context: GatewayContext) throws(GatewayError) -> String {
        if let url = settings.url { return url }
        guard let host = request.head.authority, !host.isEmpty, host.utf8.allSatisfy(Self.isOfHost) else {
            throw GatewayError.invalid("Host", "a host is needed, or `authzen.url` in the configuration")
        }
        return (context.connection.isSecure || context.connection.isForwarded ? "https://" : "http://") + host
    }

    /// RFC 3986 3.2.2, with a port.
    private static func isOfHost(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: "-._~:[]%".utf8.contains(byte)
        }
    }

    /// The members of the document for an address.
    static func members(_ base: String) -> [JSONMember] {
        let endpoints = [
            ("access_evaluation_endpoint", "evaluation"), ("access_evaluations_endpoint", "evaluations"),
            ("search_subject_endpoint", "search/subject"), ("search_resource_endpoint", "search/resource"),
            ("search_action_endpoint", "search/action"),
        ]
        return [JSONMember("policy_decision_point", .string(base))]
            + endpoints.map { JSONMember($0.0, .string("\(base)/access/v1/\($0.1)")) }
            + [JSONMember("supported_obligations", .array(Negotiation.advertised.map { .string($0) }))]
    }
}
