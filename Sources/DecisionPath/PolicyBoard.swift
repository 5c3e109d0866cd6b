// Which compiled version of which tenant decides. Written by the control thread, read by all.

package import AttributeStore
import DecisionEngine
package import DecisionProtocol
import Synchronization

/// How a tenant's policies stand.
package struct TenantState: Sendable {
    /// What decides; nil before the first version.
    package var compiled: CompiledTenant?
    /// The version that the store wants to decide.
    package var storedVersion: UInt64 = 0
    /// Generation of the store's policies that this state has dealt with.
    package var generation: UInt64 = 0
    /// `ready`, or why the stored version does not decide.
    package var message = "no policies"
    /// Who may ask.
    package var allowedUsers: [UInt32] = []
    /// What it may take of the machine.
    package var limits = TenantLimits()
    /// What it has taken.
    package let budget = TenantBudget()
    /// What decides beside it, with no consequence; nil without one.
    package var candidate: CandidateState?
}

/// How a tenant's candidate stands.
package struct CandidateState: Sendable {
    package var candidacy: Candidacy
    /// Nil when it does not compile.
    package var compiled: CompiledTenant?
    /// `ready`, or why it does not decide.
    package var message: String
}

/// All tenants being served. A change of a tenant's policies is compiled here, off every hot path, and published in
/// one step; a version that does not compile leaves the last good one deciding and says so.
package final class PolicyBoard: Sendable {
    package let store: Store
    private let states = Mutex<[String: TenantState]>([:])
    /// Moves whenever a state was published; threads compare it once a wake-up.
    private let published = Atomic<UInt64>(0)
    /// What each thread counts, by tenant.
    private let counters = Mutex<[String: [DecisionCounters]]>([:])
    /// One tenant is loaded at a time.
    private let loading = Mutex<Void>(())

    package init(store: Store) { self.store = store }

    /// Moves with each publication.
    package var publication: UInt64 { published.load(ordering: .acquiring) }

    /// The tenants at hand.
    package var tenants: [String] { states.withLock { Array($0.keys).sorted() } }

    /// The state of a tenant; nil before it was loaded.
    package func state(of tenant: String) -> TenantState? { states.withLock { $0[tenant] } }

    /// Loads a tenant when it is not at hand: registry, active version, compilation.
    package func load(_ tenant: String) throws(StoreError) -> TenantState {
        if let state = state(of: tenant) { return state }
        return try refresh(tenant)
    }

    /// Brings a tenant to what the store says, and publishes it when that is new.
    @discardableResult
    package func refresh(_ tenant: String) throws(StoreError) -> TenantState {
        let result: Result<TenantState, StoreError> = loading.withLock { _ in
            do throws(StoreError) {
                return .success(try load(tenant, known: state(of: tenant)))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func load(_ tenant: String, known: TenantState?) throws(StoreError) -> TenantState {
        let record = try store.tenant(tenant)
        var reader = try TenantReader(store, tenant: tenant)
        try reader.renew()
        let generations = try reader.generations()
        if let known, known.generation == generations.moves, known.allowedUsers == record.allowedUsers,
            known.limits == record.limits
        {
            return known
        }
        var state = known ?? TenantState()
        state.allowedUsers = record.allowedUsers
        state.limits = record.limits
        state.budget.set(record.limits)
        let before = state.compiled?.program.sizeInBytes ?? 0
        state.storedVersion = generations.activeVersion
        state.generation = generations.moves
        if generations.activeVersion > 0, state.compiled?.version != generations.activeVersion {
            try activate(generations.activeVersion, &state, &reader)
        } else if state.compiled != nil {
            state.message = "ready"
        }
        state.budget.exchange(policyBytes: before, for: state.compiled?.program.sizeInBytes ?? 0)
        state.candidate = try candidate(state, &reader)
        let finished = state
        states.withLock { $0[tenant] = finished }
        published.wrappingAdd(1, ordering: .releasing)
        return state
    }

    /// Compiles the wanted version; when it fails and nothing decides yet, the newest older one that compiles.
    private func activate(
        _ version: UInt64, _ state: inout TenantState, _ reader: inout TenantReader
    ) throws(StoreError) {
        var candidate = version
        var firstFailure: String?
        while candidate > 0 {
            if let stored = try reader.policies(version: candidate) {
                do throws(ActivationError) {
                    let compiled = try CompiledTenant(stored)
                    try compiled.check(state.limits, files: stored.files)
                    state.compiled = compiled
                    break
                } catch {
                    firstFailure = firstFailure ?? error.description
                }
            } else {
                firstFailure = firstFailure ?? "version \(candidate) is missing in the store"
            }
            if state.compiled != nil { break }
            candidate -= 1
        }
        if let firstFailure {
            let fallback =
                state.compiled.map { "version \($0.version) still decides" } ?? "nothing decides: every answer is deny"
            state.message = "\(fallback); \(firstFailure)"
        } else {
            state.message = "ready"
        }
    }

    private func candidate(
        _ state: TenantState, _ reader: inout TenantReader
    ) throws(StoreError) -> CandidateState? {
        guard let candidacy = try reader.candidate() else { return nil }
        guard let stored = try reader.policies(version: candidacy.version) else {
            return CandidateState(
                candidacy: candidacy, compiled: nil, message: "version \(candidacy.version) is missing in the store")
        }
        // Views are kept for what decides alone; for another layout they are built when they are asked for.
        let layout = stored.layout == state.compiled?.layout ? stored.layout : CompiledTenant.builtLayout
        if let known = state.candidate, known.candidacy == candidacy, known.compiled?.layout == layout { return known }
        do throws(ActivationError) {
            let compiled = try CompiledTenant(stored, layout: layout)
            return CandidateState(candidacy: candidacy, compiled: compiled, message: "ready")
        } catch {
            return CandidateState(candidacy: candidacy, compiled: nil, message: error.description)
        }
    }

    /// Counters for a thread's answers about a tenant.
    func makeCounters(_ tenant: String) -> DecisionCounters {
        let made = DecisionCounters()
        counters.withLock { $0[tenant, default: []].append(made) }
        return made
    }

    /// What all threads have counted for a tenant.
    package func tally(_ tenant: String) -> DecisionTally {
        var tally = DecisionTally()
        for counters in counters.withLock({ $0[tenant] ?? [] }) { counters.add(to: &tally) }
        return tally
    }

    /// Publishes how a tenant stands as another board has it.
    package func adopt(_ tenant: String, _ state: TenantState) {
        states.withLock { $0[tenant] = state }
        published.wrappingAdd(1, ordering: .releasing)
    }

    /// Forgets tenants that the registry no longer has, so that their next question is refused.
    package func forget(_ tenant: String) {
        states.withLock { _ = $0.removeValue(forKey: tenant) }
        counters.withLock { _ = $0.removeValue(forKey: tenant) }
        published.wrappingAdd(1, ordering: .releasing)
    }
}
