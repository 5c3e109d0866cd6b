// The one way into a tenant's store: append to the log and fold, in one durable transaction.

import CBOR
import DecisionEngine
import PolicyLanguage

/// Writes one tenant. Several processes may each hold one; LMDB lets one write at a time.
package struct TenantWriter: ~Copyable {
    private let environment: LMDBEnvironment
    private let databases: TenantDatabases
    private let path: String
    private let store: Store
    private let tenant: String
    private let doorbell: Doorbell?
    private let seal: TenantSeal
    /// Catalogs of live layouts, kept while the generations stand.
    private var layouts: [LiveLayout] = []
    private var knownPolicy: UInt64?
    /// Views that the last batch wrote.
    package private(set) var viewsWritten = 0

    /// Opens a tenant for writing and clears the places of readers that died.
    /// - Throws: `tenant_unknown` and what the file system says.
    package init(_ store: Store, tenant: String) throws(StoreError) {
        let limits = try store.tenant(tenant).limits
        let environment = try store.openEnvironment(tenant, readOnly: false, limit: limits[.storeBytes])
        databases = try TenantDatabases.opened(environment)
        self.environment = environment
        path = store.tenantPath(tenant)
        self.store = store
        self.tenant = tenant
        doorbell = Doorbell(store)
        seal = TenantSeal(store, tenant: tenant)
        environment.clearStaleReaders()
    }

    /// Appends and folds a batch; durable when it returns.
    /// - Parameter time: written beside the entries, ms since the epoch; nothing is decided by it.
    /// - Returns: the log's last sequence number.
    /// - Throws: the first refusal, with `changeIndex`; nothing of the batch is kept.
    @discardableResult
    package mutating func append(_ changes: [Change], time: Int64) throws(StoreError) -> UInt64 {
        guard changes.count <= StoreLimits.maxBatch else {
            throw StoreError(.valueInvalid, "\(changes.count) changes in a batch, above \(StoreLimits.maxBatch)")
        }
        return try append(time: time) { _, _ in .success(changes) }
    }

    /// Appends what `changes` makes of the state that they are appended to.
    private mutating func append(
        time: Int64,
        _ changes: (borrowing LMDBWriteTransaction, Generations) throws(LMDBError) -> Result<[Change], StoreError>
    ) throws(StoreError) -> UInt64 {
        var refusal: StoreError?
        var sequence: UInt64 = 0
        do throws(LMDBError) {
            var transaction = try LMDBWriteTransaction(environment)
            transaction.seal = seal
            // Within the transaction: another process can have begun to seal, or to seal with another key.
            try seal.follow(try transaction.get(databases.meta, TenantSeal.metaKey))
            sequence = (try transaction.lastKey(databases.log)).map { Key.uint64($0) } ?? 0
            let generations = try refresh(transaction)
            var fold = Fold(databases, generations, layouts)
            var list: [Change] = []
            switch try changes(transaction, generations) {
            case .success(let made): list = made
            case .failure(let error): refusal = error
            }
            for (index, change) in list.enumerated() {
                sequence += 1
                do throws(FoldError) {
                    try fold.apply(change, transaction)
                } catch {
                    switch error {
                    case .failed(let failure): throw failure
                    case .refused(var error):
                        error.changeIndex = index
                        refusal = error
                    }
                }
                if refusal != nil { break }
                var entry = [CBORValue.number(time), change.cbor]
                // The members that a group has lost stand nowhere in the change: readers with open questions want them.
                if case .putGroup = change {
                    entry.append(.array(fold.rewrittenMembers.map { .text($0) }))
                } else {
                    entry.append(.null)
                }
                // So that it can be told which decisions have seen it.
                entry.append(.unsigned(transaction.id))
                try transaction.put(databases.log, Key.number(sequence), [Key.plain] + CBORValue.array(entry).encoded)
            }
            if refusal == nil {
                if fold.generations != generations {
                    try transaction.put(databases.meta, Generations.key, fold.generations.bytes)
                }
                try transaction.commit()
                doorbell?.ring(tenant: tenant)
                layouts = fold.layouts
                knownPolicy = fold.generations.policy
                viewsWritten = fold.viewsWritten
            }
        } catch {
            knownPolicy = nil
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
        if let refusal { throw refusal }
        return sequence
    }

    /// Stores the files as a new version and makes it the one that decides.
    /// - Returns: the version.
    /// - Throws: `policies_rejected` when they do not check or do not compile; nothing was stored.
    package mutating func push(
        _ files: [PolicyFile], author: String, message: String, time: Int64
    ) throws(StoreError) -> UInt64 {
        try store(files, author: author, message: message, activates: true, expecting: nil, time: time).version
    }

    /// Stores the files as a new version.
    /// - Parameters:
    ///   - activates: make it the one that decides, in the same transaction.
    ///   - expecting: the generation of policies that the author has seen.
    /// - Throws: `policies_rejected` when they do not check or do not compile, `conflict` when somebody else has
    ///   activated a version since; nothing was stored.
    package mutating func store(
        _ files: [PolicyFile], author: String, message: String, activates: Bool, expecting: UInt64?, time: Int64
    ) throws(StoreError) -> (version: UInt64, id: UniqueID) {
        // Activation keeps the views of this version and of the one before it. A daemon that could not compile the one
        // before would be left without the views of what it decides by.
        if let policies = try compilable(files), activates { try requireFit(policies.catalog, time: time) }
        let id = UniqueID()
        var version: UInt64 = 0
        let policies = databases.policies
        _ = try append(time: time) { (transaction, generations) throws(LMDBError) in
            if let refusal = Self.conflict(expecting, generations) { return .failure(refusal) }
            version = (try transaction.lastKey(policies)).map { Key.uint64($0) + 1 } ?? 1
            let put = Change.putPolicies(
                version: version, files: files, author: author, message: message, at: time, id: id)
            let activate = Change.activatePolicies(version: version, author: author, message: message, at: time)
            return .success(activates ? [put, activate] : [put])
        }
        return (version, id)
    }

    /// Refuses files that check and do not compile, or are too large for the tenant.
    /// - Returns: nil when they do not check: the fold refuses those, with all that is wrong.
    private func compilable(_ files: [PolicyFile]) throws(StoreError) -> CheckedPolicies? {
        guard let policies = checkPolicies(files.sources, warns: false).policies else { return nil }
        let program: Program
        do throws(CompileError) {
            program = try compile(policies)
        } catch {
            throw StoreError(.policiesRejected, "the policies do not compile: \(error.message); nothing was stored")
        }
        let size = files.reduce(0) { $0 + $1.text.utf8.count }
        if let problem = try store.tenant(tenant).limits.problem(
            files: size, rules: policies.rules.count, tree: program.sizeInBytes)
        {
            throw StoreError(.budgetExceeded, "\(problem); nothing was stored")
        }
        return policies
    }

    /// Lets a stored version decide beside the active one, with no consequence, in place of the candidate before.
    /// - Throws: `version_unknown`; `policies_rejected` when this program cannot compile it; `value_invalid` when it decides
    ///   already.
    package mutating func setCandidate(version: UInt64, author: String, time: Int64) throws(StoreError) {
        var reader = try TenantReader(store, tenant: tenant)
        try reader.renew()
        if let stored = try reader.policies(version: version), try compilable(stored.files) == nil {
            throw StoreError(.policiesRejected, "version \(version) does not check: it cannot be the candidate")
        }
        try append([.setCandidate(version: version, author: author, at: time)], time: time)
    }

    /// Withdraws the candidate.
    /// - Returns: the version that was it; nil when there was none.
    package mutating func withdrawCandidate(author: String, time: Int64) throws(StoreError) -> UInt64? {
        var reader = try TenantReader(store, tenant: tenant)
        try reader.renew()
        guard let known = try reader.candidate() else { return nil }
        try append([.setCandidate(version: nil, author: author, at: time)], time: time)
        return known.version
    }

    /// Refuses a catalog that stored values do not fit, with all of them told at once. The fold would refuse at the first;
    /// what another process stores meanwhile it still does.
    private func requireFit(_ catalog: Catalog, time: Int64) throws(StoreError) {
        var reader = try TenantReader(self.store, tenant: tenant)
        try reader.renew()
        let before = try reader.activeCatalog()
        if let before, LayoutSignature.fitting(before) == LayoutSignature.fitting(catalog) { return }
        let fit = try reader.fit(catalog, before: before, examples: StoreLimits.maxMisfitExamples, now: time)
        if fit.fits { return }
        var error = StoreError(
            .policiesRejected,
            "what is stored does not fit the new catalog; nothing was stored\n\(fit.description)")
        error.fit = fit
        throw error
    }

    /// Makes a stored version the one that decides.
    /// - Parameter expecting: the generation of policies that the author has seen.
    /// - Throws: `version_unknown`, `conflict`.
    package mutating func activate(
        version: UInt64, author: String, message: String, expecting: UInt64?, time: Int64
    ) throws(StoreError) {
        _ = try append(time: time) { (_, generations) throws(LMDBError) in
            if let refusal = Self.conflict(expecting, generations) { return .failure(refusal) }
            return .success([.activatePolicies(version: version, author: author, message: message, at: time)])
        }
    }

    /// Records a grant, provided that nothing it was decided by has changed since.
    /// - Throws: `conflict` when something has: decide again; `too_many_grants`.
    package mutating func grant(_ grant: RoleGrant, decidedBy basis: DecisionBasis) throws(StoreError) {
        let log = databases.log
        _ = try append(time: grant.since) { (transaction, generations) throws(LMDBError) in
            var isStale =
                generations.policy != basis.generations.policy
                || generations.hierarchy != basis.generations.hierarchy
            try transaction.scan(log, from: Key.number(basis.sequence &+ 1)) { _, entry in
                Touch.read(entry) { if basis.isAbout($0) { isStale = true } }
                return !isStale
            }
            if isStale {
                return .failure(StoreError(.conflict, "what the grant was decided by has changed meanwhile: ask again"))
            }
            return .success([.putGrant(grant)])
        }
    }

    /// Ends a grant before its end.
    /// - Returns: the grant as it stands then.
    /// - Throws: `grant_unknown`, `grant_ended`, `value_invalid` for the reason.
    package mutating func revokeGrant(
        _ id: UniqueID, by: String, reason: String, time: Int64
    ) throws(StoreError) -> RoleGrant {
        if reason.utf8.count > StoreLimits.maxReasonBytes {
            throw StoreError(.valueInvalid, "a reason has at most \(StoreLimits.maxReasonBytes) bytes")
        }
        var found: RoleGrant?
        let database = databases.grants
        _ = try append(time: time) { (transaction, _) throws(LMDBError) in
            guard let database, let entity = try transaction.get(database, GrantKey.index(id)),
                let grant = try transaction.get(database, GrantKey.record(Array(entity.dropFirst()), id))
                    .flatMap({ RoleGrant(stored: $0) })
            else {
                return .failure(
                    StoreError(.grantUnknown, "no grant \(id), or it is kept no longer: `stile grant list` shows them"))
            }
            let state = grant.state(at: time)
            guard state == .active else {
                return .failure(StoreError(.grantEnded, "the grant \(id) has ended already: it is \(state.rawValue)"))
            }
            found = grant
            return .success([
                .revokeGrant(id: id, subject: grant.subject, at: time, by: by, reason: reason)
            ])
        }
        guard var grant = found else { throw StoreError(.failed, "the grant \(id) was not found") }
        grant.ending = RoleGrant.Ending(kind: .revoked, at: time, by: by, reason: reason)
        return grant
    }

    private static func conflict(_ expected: UInt64?, _ generations: Generations) -> StoreError? {
        guard let expected, expected != generations.policy else { return nil }
        return StoreError(
            .conflict,
            "somebody else has activated version \(generations.activeVersion) meanwhile: look at it, then try again")
    }

    /// Reads the generations, and the live catalogs when another process has activated a version.
    private mutating func refresh(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) -> Generations {
        let generations =
            (try transaction.get(databases.meta, Generations.key)).flatMap { Generations($0) } ?? Generations()
        if generations.policy == knownPolicy { return generations }
        layouts = try LiveLayouts.read(databases, generations, transaction)
        knownPolicy = generations.policy
        return generations
    }
}

/// The catalogs of the layouts whose views are kept.
enum LiveLayouts {
    static func read(
        _ databases: TenantDatabases, _ generations: Generations, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [LiveLayout] {
        guard let stored = try transaction.get(databases.meta, Fold.liveKey) else { return [] }
        let numbers = ((try? CBORValue.decode(Array(stored.dropFirst())))?.items ?? []).compactMap {
            $0.uint.map { UInt32(truncatingIfNeeded: $0) }
        }
        var versions: [UInt32: [UInt64]] = [:]
        try transaction.scan(databases.policies) { key, value in
            if let policies = StoredPolicies(version: Key.uint64(key), value) {
                versions[policies.layout, default: []].append(policies.version)
            }
            return true
        }
        var layouts: [LiveLayout] = []
        for number in numbers {
            // The newest version of each layout tells how it is filled; the active one tells its own. One that this
            // program cannot read is passed over, as a daemon does, so that the views it falls back on are kept.
            var candidates = versions[number] ?? []
            if candidates.contains(generations.activeVersion) { candidates.append(generations.activeVersion) }
            for version in candidates.reversed() {
                let stored = try StoredPolicies.read(version, databases, transaction)
                guard let catalog = stored.flatMap({ checkCatalog($0.sources).catalog }) else { continue }
                layouts.append(LiveLayout(number: number, builder: ViewBuilder(catalog: catalog)))
                break
            }
        }
        return layouts
    }
}
