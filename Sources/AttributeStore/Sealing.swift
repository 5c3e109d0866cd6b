// Values sealed at rest: what a tenant's databases hold of people and policies, under the tenant's data key, which lies
// in the registry wrapped by the tenant's own key. Keys of the databases (ids) stay readable: they are what is looked up.
//
// A sealed value: format byte 2, u32 number of the data key, nonce, bytes, tag (AES-256-GCM). It opens only at the database
// and key that it was sealed for, so that nobody can put one subject's view in another's place.
//
// Removing a tenant removes the wrapped keys: what copies of the data there are is unreadable from then on. The pages of
// LMDB that held plain values before a tenant was sealed keep them until they are written again; a copy made
// with `mdb_copy -c` has none of them.
//
// INVARIANT of this unsafe file: a buffer of `OpenedValues` belongs to the object until it goes away; what is lent of it
// stays unchanged until `OpenedValues.count - 1` more values were opened.

import Cryptography
import Glibc
import Memory
import PolicyLanguage

/// A data key as the registry keeps it.
package struct WrappedKey: Sendable, Hashable {
    /// Counts up with each new data key of the tenant; sealed values name it.
    package var number: UInt32
    /// The data key, wrapped under the tenant's own key (RFC 3394).
    package var wrapped: [UInt8]
    /// ms since the epoch.
    package var created: Int64
}

extension Store {
    /// Where the key that wraps a tenant's data keys lies.
    package func keyPath(_ tenant: String) -> String { "\(keys)/\(tenant).key" }

    private func ownKey(_ tenant: String) throws(StoreError) -> [UInt8] {
        try KeyFile.read(
            keyPath(tenant), what: "tenant \"\(tenant)\"", loss: "what the tenant's store holds cannot be read again")
    }

    /// The tenant's data keys, unwrapped.
    func dataKeys(_ tenant: String) throws(StoreError) -> [(number: UInt32, key: [UInt8])] {
        let wrapped = try self.tenant(tenant).sealing
        if wrapped.isEmpty { return [] }
        let own = try ownKey(tenant)
        var keys: [(number: UInt32, key: [UInt8])] = []
        for entry in wrapped {
            guard let key = Cryptography.unwrap(entry.wrapped, under: own) else {
                throw StoreError(
                    .keyWrong,
                    "\(keyPath(tenant)) is not the key that tenant \"\(tenant)\" was sealed under: bring that one back")
            }
            keys.append((entry.number, key))
        }
        return keys
    }

    /// A new data key, wrapped; the tenant's own key is made when there is none.
    func makeDataKey(_ tenant: String, number: UInt32, time: Int64) throws(StoreError) -> WrappedKey {
        try makeDirectory(keys, 0o700)
        try KeyFile.make(keyPath(tenant), what: "tenant \"\(tenant)\"")
        let own = try ownKey(tenant)
        do throws(CryptographyError) {
            let key = try Cryptography.random(SealingKey.keyBytes)
            return WrappedKey(number: number, wrapped: try Cryptography.wrap(key, under: own), created: time)
        } catch {
            throw StoreError(.failed, error.description)
        }
    }

    /// Wraps the tenant's data keys under another own key. Sealed values stay as they are.
    /// - Parameter former: the file of the own key until now; the new one lies at `keyPath`.
    package func rewrap(_ tenant: String, former: String) throws(StoreError) {
        let old = try KeyFile.read(former, what: "tenant \"\(tenant)\"", loss: "nothing can be wrapped anew")
        let new = try ownKey(tenant)
        var rewrapped: [WrappedKey] = []
        for var entry in try self.tenant(tenant).sealing {
            guard let key = Cryptography.unwrap(entry.wrapped, under: old) else {
                throw StoreError(.keyWrong, "\(former) is not the key that tenant \"\(tenant)\" was sealed under")
            }
            do throws(CryptographyError) {
                entry.wrapped = try Cryptography.wrap(key, under: new)
            } catch {
                throw StoreError(.failed, error.description)
            }
            rewrapped.append(entry)
        }
        try updateTenant(tenant) { $0.sealing = rewrapped }
    }

    /// Seals what a tenant's store holds under a new data key, in transactions of `chunk` values; a tenant that is sealed
    /// already changes its data key. Questions and changes go on meanwhile. Ended half-way it can be begun again.
    /// - Parameter progress: is told how many values are done.
    /// - Returns: how many values were sealed.
    package func seal(
        tenant: String, time: Int64, chunk: Int = 2_000, progress: (Int) -> Void
    ) throws(StoreError) -> Int {
        var made = try makeDataKey(tenant, number: 1, time: time)
        // Numbered within the registry's transaction: two that seal at once have each a key of its own.
        try updateTenant(tenant) {
            made.number = ($0.sealing.last?.number ?? 0) + 1
            $0.sealing.append(made)
        }
        let number = made.number
        let environment = try openEnvironment(tenant, readOnly: false)
        let databases = try TenantDatabases.opened(environment)
        let seal = TenantSeal(self, tenant: tenant)
        var done = 0
        do throws(LMDBError) {
            try Self.announce(number, databases, environment)
            for (_, database) in databases.folded + [("log", databases.log)] where database.domain != 0 {
                var next: [UInt8]? = []
                while let from = next {
                    next = try Self.sealChunk(database, from, chunk, environment, seal, databases, &done)
                    progress(done)
                }
            }
        } catch {
            throw StoreError(error, path: environment.path, mapSize: environment.mapSize)
        }
        // Nothing is sealed with the keys before this one any more. A later one belongs to somebody who seals meanwhile.
        try updateTenant(tenant) { $0.sealing.removeAll { $0.number < number } }
        return done
    }

    /// From the next transaction on every writer seals with this data key.
    static func announce(
        _ number: UInt32, _ databases: TenantDatabases, _ environment: LMDBEnvironment
    ) throws(LMDBError) {
        let transaction = try LMDBWriteTransaction(environment)
        try transaction.put(databases.meta, TenantSeal.metaKey, [Key.plain] + Key.number(number))
        try transaction.commit()
    }

    /// Writes values anew from a key on; the key to go on from, nil at the end.
    private static func sealChunk(
        _ database: LMDBDatabase, _ from: [UInt8], _ chunk: Int, _ environment: LMDBEnvironment, _ seal: TenantSeal,
        _ databases: TenantDatabases, _ done: inout Int
    ) throws(LMDBError) -> [UInt8]? {
        var transaction = try LMDBWriteTransaction(environment)
        transaction.seal = seal
        // Another process may be sealing too; then its newer key is the one to take.
        try seal.follow(try transaction.get(databases.meta, TenantSeal.metaKey))
        var pairs: [(key: [UInt8], value: [UInt8])] = []
        var next: [UInt8]?
        try transaction.scan(database, from: from) { key, value in
            if pairs.count == chunk {
                next = key
                return false
            }
            pairs.append((key, value))
            return true
        }
        for pair in pairs { try transaction.put(database, pair.key, pair.value) }
        try transaction.commit()
        done += pairs.count
        return next
    }
}

/// Seals and opens the values of one tenant, on one thread. Its keys are read when the first sealed value is met.
final class TenantSeal {
    /// In `meta`: the number of the data key that writers seal with.
    static let metaKey = Array("sealing".utf8)
    /// Bytes before nonce, sealed bytes and tag.
    private static let headBytes = 5
    /// How long a failure to read the keys is believed, in seconds.
    private static let patience = 1

    private let store: Store
    private let tenant: String
    private var keys: [(number: UInt32, key: SealingKey)] = []
    /// What writers seal with; 0 leaves values plain.
    private var current: UInt32 = 0
    private var opened = OpenedValues()
    /// What the value at hand is sealed for: its database's domain and its key.
    private var place = GrowableBytes(capacity: 512)
    /// Why the keys could not be read, and when.
    private var failure: (error: LMDBError, at: Int)?

    init(_ store: Store, tenant: String) {
        self.store = store
        self.tenant = tenant
    }

    /// Takes over what `meta` says of the key to seal with, within a transaction that writes.
    func follow(_ stored: [UInt8]?) throws(LMDBError) {
        let number = stored.map { Key.uint32($0.dropFirst()) } ?? 0
        if number != 0 { _ = try key(number) }
        current = number
    }

    /// A value as it is to be written.
    func sealed(_ value: [UInt8], _ database: LMDBDatabase, _ key: [UInt8]) throws(LMDBError) -> [UInt8] {
        if current == 0 || database.domain == 0 { return value }
        let sealing = try self.key(current)
        var result = [Key.sealed] + Key.number(current)
        result.append(contentsOf: repeatElement(0, count: value.count + SealingKey.overhead))
        unsafe key.withUnsafeBytes { unsafe setPlace(database, $0) }
        var isDone = true
        unsafe result.withUnsafeMutableBytes { result in
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: result[Self.headBytes...])
            unsafe value.withUnsafeBytes { value in
                do throws(CryptographyError) {
                    try unsafe sealing.seal(value, for: place.borrowed, into: target)
                } catch {
                    isDone = false
                }
            }
        }
        if !isDone { throw LMDBError(LMDBError.unsealable, "libcrypto could not seal a value") }
        return result
    }

    /// A value as it was before it was sealed; plain ones are themselves.
    func plain(_ value: [UInt8], _ database: LMDBDatabase, _ key: [UInt8]) throws(LMDBError) -> [UInt8] {
        if database.domain == 0 || value.first != Key.sealed { return value }
        let result: Result<[UInt8], LMDBError> = unsafe value.withUnsafeBytes { value in
            unsafe key.withUnsafeBytes { key in
                do throws(LMDBError) {
                    return .success(unsafe Array(try open(value, database, key)))
                } catch {
                    return .failure(error)
                }
            }
        }
        return try result.get()
    }

    /// The bytes of a sealed value, lent until `OpenedValues.count - 1` more were opened.
    func open(
        _ value: UnsafeRawBufferPointer, _ database: LMDBDatabase, _ key: UnsafeRawBufferPointer
    ) throws(LMDBError) -> UnsafeRawBufferPointer {
        guard value.count >= Self.headBytes + SealingKey.overhead else {
            throw LMDBError(LMDBError.unsealable, "a sealed value of \(value.count) bytes is cut off")
        }
        let number = unsafe UInt32(bigEndian: value.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
        let opening = try self.key(number)
        let target = unsafe opened.next(value.count - Self.headBytes - SealingKey.overhead)
        unsafe setPlace(database, key)
        let isGenuine = unsafe opening.open(
            UnsafeRawBufferPointer(rebasing: value[Self.headBytes...]), for: place.borrowed, into: target)
        guard isGenuine else {
            throw LMDBError(LMDBError.unsealable, "a sealed value has been changed or belongs elsewhere")
        }
        return UnsafeRawBufferPointer(target)
    }

    /// Puts together what a value is sealed for: in one piece, for libcrypto spends more on two.
    @inline(__always)
    private func setPlace(_ database: LMDBDatabase, _ key: UnsafeRawBufferPointer) {
        place.removeAll()
        place.append(database.domain)
        unsafe place.append(key)
    }

    @inline(__always)
    private func key(_ number: UInt32) throws(LMDBError) -> SealingKey {
        if let last = keys.last, last.number == number { return last.key }
        return try other(number)
    }

    private func other(_ number: UInt32) throws(LMDBError) -> SealingKey {
        if let known = keys.first(where: { $0.number == number }) { return known.key }
        var clock = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &clock)
        if let failure, clock.tv_sec - failure.at < Self.patience { throw failure.error }
        do throws(StoreError) {
            var read: [(number: UInt32, key: SealingKey)] = []
            for entry in try store.dataKeys(tenant) {
                do throws(CryptographyError) {
                    read.append((entry.number, try SealingKey(entry.key)))
                } catch {
                    throw StoreError(.failed, error.description)
                }
            }
            keys = read
            failure = nil
        } catch {
            let error = LMDBError(LMDBError.unsealable, error.message)
            failure = (error, clock.tv_sec)
            throw error
        }
        if let known = keys.first(where: { $0.number == number }) { return known.key }
        throw LMDBError(LMDBError.unsealable, "the registry has no data key \(number) of this tenant")
    }
}

/// Memory for values that were opened, used in turn.
@safe
private struct OpenedValues: ~Copyable {
    /// A decision looks at four records at most; a walk of the log at one.
    static let count = 8
    private let places: UnsafeMutablePointer<UnsafeMutableRawBufferPointer>
    private var turn = 0

    init() {
        unsafe places = .allocate(capacity: Self.count)
        unsafe places.initialize(repeating: UnsafeMutableRawBufferPointer(start: nil, count: 0), count: Self.count)
    }

    deinit {
        for index in 0..<Self.count { unsafe places[index].deallocate() }
        unsafe places.deallocate()
    }

    /// The next buffer, of this many bytes; it grows when it is too small.
    mutating func next(_ count: Int) -> UnsafeMutableRawBufferPointer {
        turn = (turn &+ 1) % Self.count
        if unsafe places[turn].count < count {
            unsafe places[turn].deallocate()
            unsafe places[turn] = .allocate(byteCount: max(512, count + count / 2), alignment: 16)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: places[turn][..<count])
    }
}
