// Searchers that are kept for the next search: each holds a tenant's store open and shares its compiled policies.
//
// INVARIANT of this unsafe file: a kept searcher is used by the one thread that has taken it from the list.

import AttributeStore
import Credentials
import DecisionPath
import GatewayCore
import StileClient
import Synchronization

/// Lends searchers.
final class SearcherPool: Sendable {
    private let services: GatewayServices
    private let board: PolicyBoard
    private let idle = Mutex<[String: Place]>([:])
    /// Searchers of one tenant that are kept.
    private static let maxIdle = 4
    /// Tenants whose policies are kept compiled.
    private static let maxTenants = 64

    private final class Kept: @unchecked Sendable {
        let searcher: EntitySearcher

        init(_ searcher: EntitySearcher) { self.searcher = searcher }
    }

    /// A tenant as it was when it was opened: one that is made anew under the same name is another.
    private struct Place {
        var created: Int64
        var used: Int64
        var searchers: [Kept] = []
    }

    init(_ services: GatewayServices) {
        self.services = services
        board = PolicyBoard(store: services.desk.book.store)
    }

    /// One page of a search, on a thread for work that blocks.
    func page(_ tenant: String, _ query: EntityQuery, now: Int64) async throws -> EntityPage {
        try await services.tenancy.block { try self.pageNow(tenant, query, now: now) }
    }

    private func pageNow(_ tenant: String, _ query: EntityQuery, now: Int64) throws -> EntityPage {
        guard let record = try services.desk.book.tenant(tenant) else {
            forget(tenant)
            throw GatewayError.notFound
        }
        let known = take(tenant, record.created, now)
        let kept = try known ?? Kept(EntitySearcher(tenant, board: board))
        do throws(SearchError) {
            let page = try kept.searcher.page(query, now: now)
            idle.withLock { places in
                guard let place = places[tenant], place.created == record.created,
                    place.searchers.count < Self.maxIdle
                else { return }
                places[tenant]?.searchers.append(kept)
            }
            return page
        } catch {
            switch error {
            case .store(let error): throw error
            case .budgetExceeded(let message):
                throw GatewayError(StileError.refused(code: "budget_exceeded", message: message))
            }
        }
    }

    private func take(_ tenant: String, _ created: Int64, _ now: Int64) -> Kept? {
        let (kept, outdated) = idle.withLock { places -> (Kept?, [String]) in
            if places[tenant]?.created == created {
                places[tenant]?.used = now
                return (places[tenant]?.searchers.popLast(), [])
            }
            var outdated = places[tenant] == nil ? [] : [tenant]
            if places.count >= Self.maxTenants, let oldest = places.min(by: { $0.value.used < $1.value.used }) {
                places[oldest.key] = nil
                outdated.append(oldest.key)
            }
            places[tenant] = Place(created: created, used: now)
            return (nil, outdated)
        }
        for tenant in outdated { board.forget(tenant) }
        return kept
    }

    private func forget(_ tenant: String) {
        idle.withLock { _ = $0.removeValue(forKey: tenant) }
        board.forget(tenant)
    }
}
