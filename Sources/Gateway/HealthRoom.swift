// Whether the gateway lives, whether it is ready, and what it has counted.

import AttributeStore
import CLinux
import Credentials
import DecisionProtocol
import GatewayCore
import Glibc
import HTTPTypes
import Hummingbird
import StileClient
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

/// What the stores and `stiled` say of each tenant when somebody asks.
struct TenantMetrics {
    private let services: GatewayServices

    /// Tenants that are told of.
    private static let maxTenants = 1_000

    init(_ services: GatewayServices) { self.services = services }

    private struct Reading: Sendable {
        var tenant: String
        var bytes = 0
        var activeVersion: UInt64 = 0
        var decidingVersion: UInt64?
        var lag: UInt64?
        var answers: UInt64?
        var errors: UInt64?
    }

    func families() async throws -> [MetricFamily] {
        let services = services
        let readings = try await services.tenancy.block {
            try services.desk.book.store.tenants().prefix(Self.maxTenants).map { read($0.id, services) }
        }
        func family(
            _ name: String, _ kind: String = "gauge", _ value: (Reading) -> Double?
        ) -> MetricFamily {
            MetricFamily(
                name, kind,
                readings.compactMap { reading in value(reading).map { ([("tenant", reading.tenant)], $0) } })
        }
        return [
            family("stile_store_bytes") { Double($0.bytes) },
            family("stile_policy_version_active") { Double($0.activeVersion) },
            family("stile_policy_version_deciding") { $0.decidingVersion.map { Double($0) } },
            family("stile_store_commits_behind") { $0.lag.map { Double($0) } },
            family("stile_decisions_answered", "counter") { $0.answers.map { Double($0) } },
            family("stile_decision_errors", "counter") { $0.errors.map { Double($0) } },
            family("stile_decider_up") { $0.decidingVersion == nil ? 0 : 1 },
        ]
    }

    private func read(_ tenant: String, _ services: GatewayServices) -> Reading {
        var reading = Reading(tenant: tenant)
        var snapshot: UInt64 = 0
        try? services.tenancy.readNow(tenant) { reader in
            reading.bytes = reader.usedBytes
            reading.activeVersion = try reader.generations().activeVersion
            snapshot = reader.snapshot
        }
        if let status = try? services.decisions.askNow(
            tenant, { (connection) throws(ClientError) in try connection.status() })
        {
            reading.decidingVersion = status.activeVersion
            reading.lag = snapshot > status.snapshot ? snapshot - status.snapshot : 0
            reading.answers = status.answers
            reading.errors = status.errors
        }
        return reading
    }
}
