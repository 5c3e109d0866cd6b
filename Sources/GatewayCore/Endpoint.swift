// One method of one path: who may use it, what it takes, and the code that answers.

import AttributeStore
package import Credentials
package import HTTPTypes
package import Hummingbird
import Logging

/// Which listeners serve an endpoint.
package enum Surface: String, Sendable, Hashable, CaseIterable {
    /// Applications that ask: AuthZEN.
    case decisions
    /// Identity providers: SCIM, Shared Signals.
    case provisioning
    /// Administrators and operators.
    case admin
    /// Monitoring; open to whoever reaches the listener.
    case metrics
}

/// Who may use an endpoint.
package enum Access: Sendable, Hashable {
    /// Everybody who reaches the listener.
    case open
    /// Callers of these roles.
    case roles(Set<Role>)
}

/// One method of one path.
package struct Endpoint: Sendable {
    package typealias Handler = @Sendable (Request, GatewayContext) async throws -> Response

    package let method: HTTPRequest.Method
    /// As `/admin/v1/tenants/{tenant}`. A parameter named `tenant` must be the caller's own tenant.
    package let path: String
    /// The path has that parameter.
    let namesTenant: Bool
    package var access: Access
    package var errors: ErrorStyle
    package var handler: Handler

    package init(
        _ method: HTTPRequest.Method, _ path: String, access: Access, errors: ErrorStyle = .problem,
        handler: @escaping Handler
    ) {
        self.method = method
        self.path = path
        namesTenant = path.contains("{tenant}")
        self.access = access
        self.errors = errors
        self.handler = handler
    }
}

/// What an API is to the gateway: endpoints, and the listeners they belong to.
package struct APIRoom: Sendable {
    package var surface: Surface
    package var endpoints: [Endpoint]

    package init(_ surface: Surface, _ endpoints: [Endpoint]) {
        self.surface = surface
        self.endpoints = endpoints
    }
}

// MARK: Answering

/// Runs endpoints: lets the caller in, holds the tenant together, writes errors, counts and logs.
package struct EndpointRunner: Sendable {
    private let gatekeeper: Gatekeeper
    private let log: RequestLog
    private let endpoints: [Endpoint]
    /// Those whose path has no parameter, by path.
    private let direct: [String: [Endpoint]]

    /// - Parameter endpoints: what the listener serves.
    package init(_ endpoints: [Endpoint], gatekeeper: Gatekeeper, log: RequestLog) {
        self.endpoints = endpoints
        self.gatekeeper = gatekeeper
        self.log = log
        direct = Dictionary(grouping: endpoints.filter { !$0.path.contains("{") }, by: \.path)
    }

    /// The answer of an endpoint whose path is written in the request as it is here: no parameters, nothing encoded; nil for the
    /// router to find out. The router and its calls were 6 % of an evaluation.
    package func respondDirectly(to request: Request, _ context: GatewayContext) async -> Response? {
        guard let endpoint = direct[request.uri.path]?.first(where: { $0.method == request.method }) else { return nil }
        return await respond(to: request, context, by: endpoint)
    }

    /// A router of these endpoints. Other methods of their paths are answered by 405 and what is allowed.
    package func router() -> Router<GatewayContext> {
        let router = Router(context: GatewayContext.self)
        var byPath: [String: [Endpoint]] = [:]
        for endpoint in endpoints { byPath[endpoint.path, default: []].append(endpoint) }
        for (path, endpoints) in byPath.sorted(by: { $0.key < $1.key }) {
            for endpoint in endpoints { add(endpoint, to: router) }
            var refused = Set(Self.methods).subtracting(endpoints.map(\.method))
            if let get = endpoints.first(where: { $0.method == .get }), refused.remove(.head) != nil {
                router.on(RouterPath(path), method: .head) { request, context in
                    await self.respond(to: request, context, by: get).createHeadResponse()
                }
            }
            let allowed = Self.methods.filter { !refused.contains($0) }.map(\.rawValue).joined(separator: ", ")
            for method in Self.methods where refused.contains(method) {
                add(Self.refusal(method, path, allowed, endpoints[0].errors), to: router)
            }
        }
        return router
    }

    private func add(_ endpoint: Endpoint, to router: Router<GatewayContext>) {
        router.on(RouterPath(endpoint.path), method: endpoint.method) { request, context in
            await self.respond(to: request, context, by: endpoint)
        }
    }

    private static func refusal(
        _ method: HTTPRequest.Method, _ path: String, _ allowed: String, _ errors: ErrorStyle
    ) -> Endpoint {
        Endpoint(method, path, access: .open, errors: errors) { _, _ in
            var error = GatewayError(.methodNotAllowed, "method_not_allowed", "\(path) takes \(allowed)")
            error.headers[.allow] = allowed
            throw error
        }
    }

    /// The methods of HTTP that a path can be asked with (RFC 9110 9, RFC 5789, and QUERY, which is on its way).
    package static let methods: [HTTPRequest.Method] =
        [.get, .head, .post, .put, .patch, .delete, .options, .trace] + [HTTPRequest.Method("QUERY")].compactMap(\.self)

    private func respond(to request: Request, _ context: GatewayContext, by endpoint: Endpoint) async -> Response {
        var context = context
        do {
            try gatekeeper.admit(request, context)
            if case .roles(let roles) = endpoint.access {
                context.caller = try gatekeeper.caller(request, context)
                try check(context, request, roles, endpoint)
            }
            let response = try await endpoint.handler(request, context)
            log.answered(request, context, endpoint.path, response.status, nil)
            return response
        } catch {
            let error = GatewayError(any: error)
            log.answered(request, context, endpoint.path, error.status, error)
            return error.response(endpoint.errors)
        }
    }

    /// A credential is of one tenant: what the path and the header say must be that one, and what another has is not
    /// there at all. Nothing is looked up for this, so that the answer takes the same time whatever there is.
    private func check(
        _ context: GatewayContext, _ request: Request, _ roles: Set<Role>, _ endpoint: Endpoint
    ) throws(GatewayError) {
        let caller = try context.requireCaller()
        let named = endpoint.namesTenant ? try context.path("tenant") : nil
        if let tenant = caller.tenant, let named, named != tenant { throw GatewayError.notFound }
        if let header = request.headers.value(.stileTenant), header != (caller.tenant ?? named ?? header) {
            throw GatewayError(
                .forbidden, "tenant_mismatch",
                "the header Stile-Tenant names another tenant than the credential and the path: leave it out")
        }
        guard roles.contains(caller.role) else {
            throw GatewayError.forbidden("a \(caller.role.rawValue) may not do this")
        }
    }
}

extension GatewayError {
    /// The error as an API writes it.
    package func response(_ style: ErrorStyle) -> Response {
        let (body, type) = style.render(self)
        var headers = headers
        headers[.contentType] = type
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: body)))
    }
}
