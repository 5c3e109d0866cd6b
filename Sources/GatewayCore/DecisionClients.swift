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
    private static let maxIdle = 16
    /// Seconds to wait for an answer.
    private static let timeout = 5

    private final class Kept: @unchecked Sendable {
        let connection: DecisionConnection
        init(_ connection: DecisionConnection) { self.connection = connection }
    }

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

    private func keep(_ connection: Kept, _ tenant: String) {
        idle.withLock { if $0[tenant, default: []].count < Self.maxIdle { $0[tenant, default: []].append(connection) } }
    }
}
