// What the stores and `stiled` say of each tenant when somebody asks: the metrics of the other process.

import AttributeStore
import Credentials
import DecisionProtocol
import GatewayCore
import StileClient

/// Reads the tenants.
struct TenantMetrics {
    private let services: GatewayServices

    /// Tenants that are told of.
    private static let maxTenants = 1_000

    init(_ services: GatewayServices) { self.services = services }

    private struct Reading: Sendable {
        var tenant: String
        var bytes = 0
        var activeVersion: UInt64 = 0
        var snapshot: UInt64 = 0
        /// What `stiled` says; nil when it cannot be asked.
        var status: StatusReport?

        var labels: [(String, String)] { [("tenant", tenant)] }
    }

    /// The families of all tenants.
    func families() async throws -> [MetricFamily] {
        let services = services
        let readings = try await services.tenancy.block {
            try services.desk.book.store.tenants().prefix(Self.maxTenants).map { Self.read($0.id, services) }
        }
        return stores(readings) + decisions(readings)
    }

    private static func read(_ tenant: String, _ services: GatewayServices) -> Reading {
        var reading = Reading(tenant: tenant)
        reading.status = try? services.decisions.askNow(tenant) { (connection) throws(ClientError) in
            try connection.status()
        }
        try? services.tenancy.readNow(tenant) { reader in
            reading.bytes = reader.usedBytes
            reading.activeVersion = try reader.generations().activeVersion
            reading.snapshot = reader.snapshot
        }
        return reading
    }

    private func stores(_ readings: [Reading]) -> [MetricFamily] {
        func gauge(_ name: String, _ value: (Reading) -> UInt64?) -> MetricFamily {
            MetricFamily(
                name, "gauge",
                readings.compactMap { reading in
                    value(reading).map { MetricFamily.Sample(labels: reading.labels, value: Double($0)) }
                })
        }
        return [
            gauge("stile_store_bytes") { UInt64($0.bytes) },
            gauge("stile_store_commits") { $0.snapshot },
            gauge("stile_policy_version_active") { $0.activeVersion },
            gauge("stile_policy_version_deciding") { $0.status?.activeVersion },
            // Commits since the newest snapshot that the thread that answers has decided on: an idle thread lags and
            // takes the newest with its next question.
            gauge("stile_decider_commits_behind") { reading in
                reading.status.map { reading.snapshot > $0.snapshot ? reading.snapshot - $0.snapshot : 0 }
            },
            gauge("stile_decider_ready") { $0.status?.state == "ready" ? 1 : 0 },
            gauge("stile_decider_up") { $0.status == nil ? 0 : 1 },
        ]
    }

    private func decisions(_ readings: [Reading]) -> [MetricFamily] {
        var kinds = MetricFamily("stile_decisions", "counter", [])
        var errors = MetricFamily("stile_decision_errors", "counter", [])
        var times = MetricFamily("stile_decision_seconds", "histogram", [])
        for reading in readings {
            guard let tally = reading.status?.tally else { continue }
            for kind in AnswerKind.allCases {
                kinds.samples.append(
                    .init(
                        labels: reading.labels + [("kind", kind.name)], value: Double(tally.kinds[Int(kind.rawValue)])))
            }
            for (cause, count) in tally.causes.sorted(by: { $0.key < $1.key }) {
                errors.samples.append(.init(labels: reading.labels + [("cause", cause)], value: Double(count)))
            }
            append(tally, reading.labels, to: &times)
        }
        return [kinds, errors, times]
    }

    private func append(_ tally: DecisionTally, _ labels: [(String, String)], to family: inout MetricFamily) {
        var below: UInt64 = 0
        for (index, count) in tally.times.enumerated() {
            below += count
            let isLast = index == tally.times.count - 1
            // Below 2^i whole microseconds is at most 2^i - 1 of them, and less than 2^i.
            let bound = isLast ? "+Inf" : String(Double(UInt64(1) << UInt64(index)) / 1_000_000)
            family.samples.append(.init(suffix: "_bucket", labels: labels + [("le", bound)], value: Double(below)))
        }
        family.samples.append(
            .init(suffix: "_sum", labels: labels, value: Double(tally.microseconds) / 1_000_000))
        family.samples.append(.init(suffix: "_count", labels: labels, value: Double(below)))
    }
}
