// Compiled policies for what is asked now and then and not by the reactors: surveys of which each page is a request.

package import AttributeStore
import Synchronization

/// The compiled policies of the tenants that were asked about last. A version is compiled once for all pages of a survey, and
/// a tenant that is made anew under an old name is another.
package final class KeptPolicies: Sendable {
    private let board: PolicyBoard
    private let shelf = Mutex(Shelf())
    private let maxTenants: Int

    private struct Shelf {
        /// By tenant: when it was made, and when it was asked about, counted in questions.
        var places: [String: (created: Int64, used: UInt64)] = [:]
        var clock: UInt64 = 0
    }

    /// - Parameter maxTenants: how many are kept; the one that was not asked about for longest is forgotten first.
    package init(store: Store, maxTenants: Int = 16) {
        board = PolicyBoard(store: store)
        self.maxTenants = maxTenants
    }

    /// The board on which a tenant's policies are kept; whoever asks it refreshes the tenant.
    package func board(of tenant: String) throws(StoreError) -> PolicyBoard {
        let record: TenantRecord
        do throws(StoreError) {
            record = try board.store.tenant(tenant)
        } catch {
            forget([tenant])
            throw error
        }
        let outdated = shelf.withLock { shelf -> [String] in
            shelf.clock += 1
            var outdated: [String] = []
            if let known = shelf.places[tenant] {
                if known.created != record.created { outdated.append(tenant) }
            } else if shelf.places.count >= maxTenants,
                let oldest = shelf.places.min(by: { $0.value.used < $1.value.used })?.key
            {
                outdated.append(oldest)
                shelf.places[oldest] = nil
            }
            shelf.places[tenant] = (record.created, shelf.clock)
            return outdated
        }
        for name in outdated { board.forget(name) }
        return board
    }

    /// Tenants that are kept.
    package var tenants: [String] { board.tenants }

    private func forget(_ tenants: [String]) {
        shelf.withLock { shelf in for name in tenants { shelf.places[name] = nil } }
        for name in tenants { board.forget(name) }
    }
}
