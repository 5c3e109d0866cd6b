// Connections to the decision socket, kept for the next question.
//
// INVARIANT of this unsafe file: a kept connection is used by the one thread that has taken it from the list.

import HTTPTypes
package import StileClient
import Synchronization

/// Asks `stiled`.
package final class DecisionClients: Sendable {
    private let path: String
    private let work: BlockingWork
    private let idle = Mutex<[String: [Kept]]>([:])
    private let clients = Mutex(SharedClients())
    private static let maxIdle = 16
    /// Seconds to wait for an answer.
    private static let timeout = 5

    private final class Kept: @unchecked Sendable {
        let connection: DecisionConnection
        init(_ connection: DecisionConnection) { self.connection = connection }
    }

    /// Clients that many requests share, by tenant.
    private struct SharedClients {
        var clients: [String: (client: StileClient, used: UInt64)] = [:]
        /// Counts uses, so that the one that was not used for longest is known.
        var clock: UInt64 = 0
    }

    /// Tenants with a client of their own at once: each has a thread and at least one connection.
    private static let maxClients = 256

    /// - Parameter path: the decision socket.
    package init(path: String, work: BlockingWork) {
        self.path = path
        self.work = work
    }

    /// Lets the body use a connection for a tenant. A kept one that `stiled` has closed meanwhile is replaced once, so
    /// the body may run twice.
    /// - Throws: `decider_unavailable` (503) when `stiled` cannot be asked.
    package func ask<Value: Sendable>(
        _ tenant: String, _ body: @escaping @Sendable (DecisionConnection) throws(ClientError) -> Value
    ) async throws -> Value {
        try await work.run {
            do throws(ClientError) {
                return try self.askNow(tenant, body)
            } catch {
                var failure = GatewayError(
                    .serviceUnavailable, "decider_unavailable", "stiled cannot be asked now: try again")
                failure.hidden = error.description
                throw failure
            }
        }
    }

    /// As `ask`, on this thread, which waits.
    package func askNow<Value>(
        _ tenant: String, _ body: (DecisionConnection) throws(ClientError) -> Value
    ) throws(ClientError) -> Value {
        if let kept = idle.withLock({ $0[tenant]?.popLast() }) {
            do throws(ClientError) {
                let value = try body(kept.connection)
                keep(kept, tenant)
                return value
            } catch {
                // It was closed while it lay here: the others of its time were too.
                idle.withLock { $0[tenant] = nil }
            }
        }
        let kept = Kept(try DecisionConnection(socket: path, tenant: tenant, timeout: Self.timeout))
        let value = try body(kept.connection)
        keep(kept, tenant)
        return value
    }

    /// The client that all of a tenant's requests share: their questions travel pipelined.
    package func client(_ tenant: String) throws(GatewayError) -> StileClient {
        let result: Result<StileClient, StileError> = clients.withLock { shared in
            shared.clock += 1
            if let known = shared.clients[tenant]?.client {
                shared.clients[tenant]?.used = shared.clock
                return .success(known)
            }
            var configuration = StileClient.Configuration(tenant: tenant, socketPath: path)
            configuration.deadline = .seconds(Self.timeout)
            do throws(StileError) {
                let made = try StileClient(configuration)
                if shared.clients.count >= Self.maxClients,
                    let oldest = shared.clients.min(by: { $0.value.used < $1.value.used })
                {
                    // Requests that use it still hold it; it closes with the last of them.
                    shared.clients[oldest.key] = nil
                }
                shared.clients[tenant] = (made, shared.clock)
                return .success(made)
            } catch {
                return .failure(error)
            }
        }
        do throws(StileError) {
            return try result.get()
        } catch {
            throw GatewayError(error)
        }
    }

    private func keep(_ connection: Kept, _ tenant: String) {
        idle.withLock { if $0[tenant, default: []].count < Self.maxIdle { $0[tenant, default: []].append(connection) } }
    }
}

extension GatewayError {
    /// Why `stiled` gave no decision.
    package init(_ error: StileError) {
        switch error {
        case .invalidRequest(let message): self.init(.badRequest, "invalid_request", message)
        case .refused(code: "budget_exceeded", let message):
            self.init(.tooManyRequests, "budget_exceeded", message)
            headers[.retryAfter] = "1"
        case .refused(code: "tenant_unknown", _): self = .notFound
        default:
            self.init(.serviceUnavailable, "decider_unavailable", "stiled cannot be asked now: try again")
            hidden = error.description
        }
    }
}
