// Whether the gateway lives, whether it is ready, and what it has counted.

import AttributeStore
import CLinux
import Credentials
import GatewayCore
import Glibc
import HTTPTypes
import Hummingbird
import StrictJSON

/// Endpoints of every listener for whoever watches over the process.
struct HealthRoom: Sendable {
    let services: GatewayServices
    let metrics: OpenMetrics
    let decisionSocket: String

    /// The endpoints for a surface; metrics are open only on the listener made for them.
    func room(_ surface: Surface) -> APIRoom {
        var endpoints = [
            Endpoint(.get, "/health/live", access: .open) { _, _ in Response.json(.object(["status": .string("live")]))
            },
            Endpoint(.get, "/health/ready", access: .open) { _, _ in await ready() },
        ]
        if surface == .metrics || surface == .admin {
            let access: Access = surface == .metrics ? .open : .roles([.operator])
            endpoints.append(Endpoint(.get, "/metrics", access: access) { _, _ in await text() })
        }
        return APIRoom(surface, endpoints)
    }

    /// Ready is who can read the registry and reach the decision socket.
    private func ready() async -> Response {
        let socket = decisionSocket
        let book = services.desk.book
        do {
            try await services.tenancy.block {
                _ = try book.tenant("-")
                let descriptor = unsafe stile_connect_unix(socket)
                guard descriptor >= 0 else {
                    throw GatewayError(.serviceUnavailable, "decider_unavailable", "stiled does not answer")
                }
                close(descriptor)
            }
            return .json(.object(["status": .string("ready")]))
        } catch {
            let error = GatewayError(any: error)
            return .json(
                .object([
                    "status": .string("not_ready"), "code": .string(error.code), "detail": .string(error.message),
                ]), status: .serviceUnavailable)
        }
    }

    private func text() async -> Response {
        let others = (try? await TenantMetrics(services).families()) ?? []
        var headers = HTTPFields()
        headers[.contentType] = OpenMetrics.mediaType
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: metrics.text(and: others))))
    }
}
