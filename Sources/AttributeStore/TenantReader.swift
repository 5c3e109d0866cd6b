// What a decision reads of a tenant: one snapshot at a time, views lent from the map.

public import DecisionEngine
import Glibc
import Memory
package import PolicyLanguage

/// Reads one tenant; one per thread.
public struct TenantReader: ~Copyable {
    private let environment: LMDBEnvironment
    private(set) var databases: TenantDatabases
    private let path: String
    private var transaction: LMDBReadTransaction
    private let seal: TenantSeal
    /// Scratch for keys.
    private var key = GrowableBytes(capacity: 512)
    /// Places of views in the snapshot of `cachedSnapshot`.
    @usableFromInline var cache = ViewCache()
    private var cachedSnapshot: UInt64 = 0
    /// By the index of a prefix: whether the snapshot has views under it. 0 is not known, 1 none, 2 some.
    private var presence: [UInt8] = []
    /// The layout whose types `presence` speaks of.
    private var presenceLayout: UInt32 = 0
    /// Builds views that the store does not keep.
    private var workshop: ViewWorkshop?

    /// Opens a tenant for reading.
    package init(_ store: Store, tenant: String) throws(StoreError) {
        let environment = try store.openEnvironment(tenant, readOnly: true)
        let databases = try TenantDatabases.opened(environment)
        var transaction = try Self.begin(environment)
        transaction.reset()
        seal = TenantSeal(store, tenant: tenant)
        transaction.seal = seal
        self.environment = environment
        self.databases = databases
        self.transaction = transaction
        path = store.tenantPath(tenant)
    }

    private static func begin(_ environment: LMDBEnvironment) throws(StoreError) -> LMDBReadTransaction {
        do throws(LMDBError) {
            return try LMDBReadTransaction(environment)
        } catch {
            throw StoreError(error, path: environment.path, mapSize: environment.mapSize)
        }
    }

    /// Takes the newest snapshot: everything acknowledged before is in it. Costs next to nothing while the one at hand is
    /// the newest.
    package mutating func renew() throws(StoreError) {
        do throws(LMDBError) {
            try transaction.renew()
            // Of a store from before, and when something was written, which as a rule is once.
            if databases.grants == nil, transaction.id != snapshot { try look() }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
        snapshot = transaction.id
        if snapshot != cachedSnapshot || cache.hasWaste {
            cache.startGeneration()
            for index in presence.indices { presence[index] = 0 }
            cachedSnapshot = snapshot
        }
    }

    /// Takes databases that the store has got meanwhile, with a snapshot on which they can be read.
    @inline(never)
    private mutating func look() throws(LMDBError) {
        guard try databases.look(in: environment) else { return }
        transaction.reset()
        try transaction.renew()
    }

    /// Lets the snapshot go; views lent by it are void.
    package mutating func reset() { transaction.reset() }

    /// The snapshot's id; grows with each commit.
    package private(set) var snapshot: UInt64 = 0

    /// Bytes that the data take.
    package var usedBytes: Int { environment.usedBytes }

    /// What says whether compiled policies and groups still stand.
    package func generations() throws(StoreError) -> Generations {
        guard let stored = try value(databases.meta, Generations.key) else { return Generations() }
        guard let generations = Generations(stored) else {
            throw StoreError(.damaged, "\(path): the generations are unreadable; restore the store from its log")
        }
        return generations
    }

    /// The record of an entity, lent until the snapshot ends, or of a tenant that seals until seven more were asked for;
    /// empty when there is none.
    /// - Parameters:
    ///   - prefix: layout and type.
    ///   - id: its id, at most `StoreLimits.maxIDBytes` bytes; a longer one is nobody's.
    package mutating func view(_ prefix: ViewPrefix, id: UnsafeRawBufferPointer) throws(StoreError) -> RecordView {
        guard try hasViews(prefix) else { return try unsafe built(prefix, id) }
        return try unsafe view(prefix, id: id, hash: hash(prefix, id))
    }

    /// The hash of an entity's key, which `prefetch` and `view` take.
    @inlinable
    @inline(__always)
    public func hash(_ prefix: ViewPrefix, _ id: UnsafeRawBufferPointer) -> UInt64 {
        unsafe ViewCache.hash(prefix.seed, id)
    }

    /// Asks for what `view` reads first, while there is something else to do.
    @inlinable
    @inline(__always)
    public func prefetch(hash: UInt64) { cache.prefetch(hash: hash) }

    /// Asks for what `view` reads next.
    @inlinable
    @inline(__always)
    public func prefetchView(hash: UInt64) { cache.prefetchView(hash: hash) }

    /// As `view` without a hash, which is to be that of the same prefix and id.
    @inlinable
    @inline(__always)
    public mutating func view(
        _ prefix: ViewPrefix, id: UnsafeRawBufferPointer, hash: UInt64
    ) throws(StoreError) -> RecordView {
        // Only views of the snapshot at hand are in the cache, and only of ids that are not too long.
        if let known = unsafe cache.find(prefix, id, hash: hash) {
            if unsafe known.first == RecordLayout.plain { return unsafe RecordView(known) }
            return try unsafe opened(known, prefix.count &+ id.count, hash)
        }
        return try unsafe search(prefix, id, hash)
    }

    @inline(never)
    @usableFromInline
    mutating func search(
        _ prefix: ViewPrefix, _ id: UnsafeRawBufferPointer, _ hash: UInt64
    ) throws(StoreError) -> RecordView {
        guard id.count <= StoreLimits.maxIDBytes, try hasViews(prefix) else { return try unsafe built(prefix, id) }
        key.removeAll()
        unsafe key.append(prefix.bytes)
        unsafe key.append(id)
        do throws(LMDBError) {
            if let value = try unsafe transaction.get(databases.views, key.borrowed) {
                unsafe cache.store(key.borrowed, hash: hash, value)
                return try unsafe record(value, key.borrowed, hash)
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
        return try unsafe built(prefix, id)
    }

    /// From now on views of a layout that the store may not keep are built when they are asked for: slower, and with
    /// `value_invalid` where what is stored does not fit.
    /// - Parameter catalog: what they are built by; nil asks for the kept ones alone.
    package mutating func build(_ catalog: Catalog?, layout: UInt32) {
        workshop = nil
        if let catalog { workshop = ViewWorkshop(catalog, layout: layout) }
    }

    private mutating func built(_ prefix: ViewPrefix, _ id: UnsafeRawBufferPointer) throws(StoreError) -> RecordView {
        guard let workshop, workshop.layout == prefix.layout, id.count <= StoreLimits.maxIDBytes,
            let bytes = try workshop.record(prefix.type, unsafe String(decoding: id, as: UTF8.self), self)
        else { return .empty }
        return unsafe workshop.lend(bytes)
    }

    /// The record in a sealed value whose place was known; its key, of `count` bytes, lies just before it.
    @inline(never)
    @usableFromInline
    mutating func opened(_ value: UnsafeRawBufferPointer, _ count: Int, _ hash: UInt64) throws(StoreError) -> RecordView
    {
        do throws(LMDBError) {
            return try unsafe record(value, ViewCache.key(of: value, count), hash)
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    /// The record in a value of `views`, opened where it is sealed.
    private mutating func record(
        _ value: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer, _ hash: UInt64
    ) throws(LMDBError) -> RecordView {
        guard unsafe value.first == Key.sealed else { return unsafe RecordView(value) }
        let plain = try unsafe seal.open(value, databases.views, key)
        unsafe cache.keep(plain, of: value, key, hash: hash)
        return unsafe RecordView(plain)
    }

    /// False when the snapshot has no view of the type at all: an application that registers no resources pays nothing
    /// for asking about them.
    @inline(__always)
    private mutating func hasViews(_ prefix: ViewPrefix) throws(StoreError) -> Bool {
        guard prefix.index >= 0 else { return true }
        let index = Int(prefix.index)
        if prefix.layout == presenceLayout, index < presence.count, presence[index] != 0 {
            return presence[index] == 2
        }
        return try findViews(prefix)
    }

    private mutating func findViews(_ prefix: ViewPrefix) throws(StoreError) -> Bool {
        var isThere = false
        do throws(LMDBError) {
            let start = prefix.array
            try unsafe transaction.walk(databases.views, from: start, opens: false) { key, _ in
                isThere = unsafe key.starts(with: start)
                return false
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
        if prefix.layout != presenceLayout {
            presenceLayout = prefix.layout
            presence.removeAll()
        }
        // The number of types is bounded by the catalog's limits.
        let index = Int(prefix.index)
        while presence.count <= index { presence.append(0) }
        presence[index] = isThere ? 2 : 1
        return isThere
    }

    func value(_ database: LMDBDatabase, _ key: [UInt8]) throws(StoreError) -> [UInt8]? {
        do throws(LMDBError) {
            return try transaction.get(database, key)
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    // MARK: What has changed

    /// The sequence number of the log's last entry; 0 when it is empty.
    package func lastSequence() throws(StoreError) -> UInt64 {
        do throws(LMDBError) {
            return (try transaction.lastKey(databases.log)).map { Key.uint64($0) } ?? 0
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    /// Tells which entities the entries after a sequence number were about.
    /// - Parameter limit: entries to read at most.
    /// - Returns: the sequence number of the last entry read; `sequence` when there was none.
    package func touched(
        after sequence: UInt64, limit: Int, _ body: (Touch) -> Void
    ) throws(StoreError) -> UInt64 {
        var last = sequence
        var left = limit
        do throws(LMDBError) {
            try unsafe transaction.walk(databases.log, from: Key.number(sequence &+ 1)) { key, value in
                if left == 0 { return false }
                left -= 1
                unsafe Touch.read(value, body)
                last = unsafe Key.uint64(key)
                return true
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
        return last
    }

    /// The log's entries in order, as they are stored and lent for the call, until `body` returns false.
    func walkLog(
        _ body: (_ sequence: UInt64, _ stored: UnsafeRawBufferPointer) -> Bool
    ) throws(StoreError) {
        do throws(LMDBError) {
            try unsafe transaction.walk(databases.log, from: Key.number(0 as UInt64)) { key, value in
                unsafe body(Key.uint64(key), value)
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    // MARK: Off the hot path

    /// A version of the policies.
    package func policies(version: UInt64) throws(StoreError) -> StoredPolicies? {
        try value(databases.policies, Key.number(version)).flatMap { StoredPolicies(version: version, $0) }
    }

    /// The version that decides beside the active one; nil when there is none.
    package func candidate() throws(StoreError) -> Candidacy? {
        try value(databases.meta, Candidacy.key).flatMap { Candidacy($0) }
    }

    /// The newest version's number; 0 when there is none.
    package func lastVersion() throws(StoreError) -> UInt64 {
        do throws(LMDBError) {
            return (try transaction.lastKey(databases.policies)).map { Key.uint64($0) } ?? 0
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    /// All versions, oldest first.
    package func allPolicies() throws(StoreError) -> [StoredPolicies] {
        var list: [StoredPolicies] = []
        try scan(databases.policies) { key, value in
            if let policies = StoredPolicies(version: Key.uint64(key), value) { list.append(policies) }
        }
        return list
    }

    /// Every group number that makes `user in group displayNames[index]` true: the groups of that name and all that
    /// are nested below them.
    package func groups(below displayNames: [String]) throws(StoreError) -> [(number: UInt32, index: Int)] {
        if displayNames.isEmpty { return [] }
        var wanted: [String: [Int]] = [:]
        for (index, name) in displayNames.enumerated() { wanted[name, default: []].append(index) }
        var numbers: [String: UInt32] = [:]
        var roots: [(id: String, indices: [Int])] = []
        try scan(databases.groups) { key, value in
            guard value.count >= 5 else { return }
            let id = String(decoding: key, as: UTF8.self)
            numbers[id] = Key.uint32(value[1..<5])
            if let indices = wanted[String(decoding: value[5...], as: UTF8.self)] { roots.append((id, indices)) }
        }
        var children: [UInt32: [String]] = [:]
        try scan(databases.memberships, prefix: [Key.group]) { key, _ in
            guard key.count > 6 else { return }
            let parent = Key.uint32(key[(key.count - 4)...])
            children[parent, default: []].append(String(decoding: key[1..<(key.count - 5)], as: UTF8.self))
        }
        var pairs: [(number: UInt32, index: Int)] = []
        for root in roots {
            var seen: Set<String> = [root.id]
            var pending = [root.id]
            while let id = pending.popLast() {
                guard let number = numbers[id] else { continue }
                for index in root.indices { pairs.append((number, index)) }
                for child in children[number] ?? [] where seen.insert(child).inserted { pending.append(child) }
            }
        }
        return pairs
    }

    /// Ids of the entities of a type that the store has views of, in order.
    /// - Parameter after: those behind this id alone.
    package func entityIDs(
        layout: UInt32, type: String, after: String? = nil, limit: Int
    ) throws(StoreError) -> [String] {
        let prefix = Key.number(layout) + Array(type.utf8) + [0]
        // An id and a zero byte is the first key behind it. LMDB takes keys up to 511 bytes.
        let from = after.map { Array((prefix + Array($0.utf8)).prefix(510)) + [0] } ?? prefix
        var ids: [String] = []
        try scan(databases.views, prefix: prefix, from: from) { key, _ in
            ids.append(String(decoding: key[prefix.count...], as: UTF8.self))
            return ids.count < limit
        }
        return ids
    }

    /// Entities of a type that the store has views of.
    package func entityCount(layout: UInt32, type: String) throws(StoreError) -> Int {
        var count = 0
        let prefix = Key.number(layout) + Array(type.utf8) + [0]
        do throws(LMDBError) {
            try unsafe transaction.walk(databases.views, from: prefix) { key, _ in
                guard unsafe key.starts(with: prefix) else { return false }
                count += 1
                return true
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
        return count
    }

    /// Every pair of every database that the log folds into, for `verify`.
    func folded(_ body: (_ database: String, _ key: [UInt8], _ value: [UInt8]) -> Void) throws(StoreError) {
        for (name, database) in databases.folded { try scan(database) { body(name, $0, $1) } }
    }

    /// The log from a sequence number on, oldest first, until `body` returns false.
    func log(_ body: (_ sequence: UInt64, _ time: Int64, _ change: Change?) -> Bool) throws(StoreError) {
        do throws(LMDBError) {
            try transaction.scan(databases.log) { key, value in
                let items = (try? CBORLog.decode(value)) ?? nil
                return body(Key.uint64(key), items?.time ?? 0, items?.change)
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    /// Pairs in order from a key on, until `body` returns false.
    func scan(
        _ database: LMDBDatabase, prefix: [UInt8], from: [UInt8],
        until body: (_ key: [UInt8], _ value: [UInt8]) -> Bool
    ) throws(StoreError) {
        do throws(LMDBError) {
            try transaction.scan(database, prefix: prefix, from: from, body)
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }

    func scan(
        _ database: LMDBDatabase, prefix: [UInt8] = [], _ body: (_ key: [UInt8], _ value: [UInt8]) -> Void
    ) throws(StoreError) {
        do throws(LMDBError) {
            try transaction.scan(database, prefix: prefix) { key, value in
                body(key, value)
                return true
            }
        } catch {
            throw StoreError(error, path: path, mapSize: environment.mapSize)
        }
    }
}
