// What keeps a processor busy for seconds, kept apart: a few threads of their own, which yield to everything else on the
// machine, so that neither connections nor stores nor decisions wait for them.

import CLinux
import HTTPTypes
import NIOPosix
import Synchronization

/// Runs analyses, a few at once, fewer of one tenant.
package final class AnalysisWork: Sendable {
    private let pool: NIOThreadPool
    private let limit: Int
    private let limitOfTenant: Int
    private let state = Mutex(State())

    private struct State {
        var isStopping = false
        var lastID = 0
        /// How each that is under way or waiting is ended early.
        var ends: [Int: @Sendable () -> Void] = [:]
        var ofTenant: [String: Int] = [:]
    }

    /// How far analyses stand back behind other work (nice(2)).
    private static let niceness: Int32 = 10

    package init(_ limits: GatewayLimits) {
        pool = NIOThreadPool(numberOfThreads: limits.maxAnalyses)
        limit = limits.maxAnalyses + limits.maxWaitingAnalyses
        limitOfTenant = limits.maxAnalysesOfTenant
        pool.start()
    }

    /// Runs an analysis on a thread of its own.
    /// - Parameters:
    ///   - tenant: whose it is.
    ///   - end: makes the work return early with what it has; called when the gateway stops, or nobody waits any more.
    /// - Throws: `too_many_analyses` (429, 503) when as many are under way as may be, and what the work throws.
    package func run<Value: Sendable>(
        of tenant: String, endingBy end: @escaping @Sendable () -> Void,
        _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        let id = try register(tenant, end)
        defer { forget(id, tenant) }
        return try await withTaskCancellationHandler {
            try await pool.runIfActive {
                // A thread that the system does not let stand back works all the same.
                _ = stile_stand_back(Self.niceness)
                return try work()
            }
        } onCancel: {
            end()
        }
    }

    private func register(_ tenant: String, _ end: @escaping @Sendable () -> Void) throws(GatewayError) -> Int {
        let result: Result<Int, GatewayError> = state.withLock { state in
            let own = state.ofTenant[tenant, default: 0]
            if own >= limitOfTenant {
                return .failure(
                    Self.refusal(.tooManyRequests, "\(own) analyses of this tenant are under way or wait"))
            }
            if state.ends.count >= limit || state.isStopping {
                return .failure(
                    Self.refusal(.serviceUnavailable, "\(state.ends.count) analyses are under way or wait"))
            }
            state.lastID += 1
            state.ends[state.lastID] = end
            state.ofTenant[tenant] = own + 1
            return .success(state.lastID)
        }
        return try result.get()
    }

    private static func refusal(_ status: HTTPResponse.Status, _ message: String) -> GatewayError {
        var error = GatewayError(status, "too_many_analyses", "\(message): try again in some seconds")
        error.headers[.retryAfter] = "5"
        return error
    }

    private func forget(_ id: Int, _ tenant: String) {
        state.withLock { state in
            state.ends[id] = nil
            let left = state.ofTenant[tenant, default: 1] - 1
            state.ofTenant[tenant] = left > 0 ? left : nil
        }
    }

    /// Ends what is under way, and the threads.
    package func stop() async {
        let ends = state.withLock { state in
            state.isStopping = true
            return Array(state.ends.values)
        }
        for end in ends { end() }
        try? await pool.shutdownGracefully()
    }
}
