// Whether `stiled` decides with a version.

import DecisionProtocol
import GatewayCore
import StileClient

/// How a version stands with `stiled`.
enum ActivationState: Sendable, Hashable {
    /// No version is active.
    case none
    /// Stored, and not meant to be active.
    case stored
    /// It decides.
    case active(UInt64)
    /// It does not decide yet, and why.
    case pending(deciding: UInt64?, reason: String)

    var isPending: Bool {
        if case .pending = self { return true }
        return false
    }

    var word: String {
        switch self {
        case .none: "none"
        case .stored: "stored"
        case .active: "active"
        case .pending: "pending"
        }
    }

    var deciding: UInt64? {
        switch self {
        case .active(let version): version
        case .pending(let version, _): version
        case .none, .stored: nil
        }
    }

    var reason: String? {
        if case .pending(_, let reason) = self { return reason }
        return nil
    }
}

/// Asks `stiled` how it stands.
struct ActivationWatch {
    private let services: GatewayServices
    private let tenant: String
    /// How long an answer waits for `stiled`.
    private static let patience: Duration = .seconds(5)

    init(_ services: GatewayServices, _ tenant: String) {
        self.services = services
        self.tenant = tenant
    }

    /// How a version stands now.
    func look(_ version: UInt64) async -> ActivationState {
        let status: StatusReport
        do {
            status = try await services.decisions.ask(tenant) { (connection) throws(ClientError) in
                try connection.status()
            }
        } catch {
            return .pending(deciding: nil, reason: "stiled cannot be asked; it takes the version once it runs")
        }
        if status.activeVersion == version { return .active(version) }
        let reason =
            status.storedVersion == version && status.state != "ready" ? status.state : "stiled has not taken it up yet"
        return .pending(deciding: status.activeVersion, reason: reason)
    }

    /// As `look`, after waiting a while for `stiled` to take the version up.
    func settled(_ version: UInt64) async throws -> ActivationState {
        let start = ContinuousClock.now
        while true {
            let status = try? await services.decisions.ask(tenant) { (connection) throws(ClientError) in
                try connection.status()
            }
            guard let status else { return await look(version) }
            if status.activeVersion == version { return .active(version) }
            let isRefused =
                status.storedVersion == version && status.state != "ready" && !status.state.hasPrefix("no policies")
            if isRefused || ContinuousClock.now - start > Self.patience { return await look(version) }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}
