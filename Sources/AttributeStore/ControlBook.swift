// The control environment as a process that serves callers holds it: open for writing, with snapshots that many
// threads take turns with.
//
// INVARIANT of this unsafe file: a `Snapshot` is used by the one thread that has taken it from the pool; LMDB lets a
// read transaction move between threads (MDB_NOTLS) as long as one at a time uses it.

import CBOR
import Synchronization

/// A caller's credential as it is stored: never the credential itself, but its keyed hash.
package struct CredentialRecord: Sendable, Hashable {
    package var id: UniqueID
    /// The role's name.
    package var role: String
    /// The tenant it is for; nil for the operators of all.
    package var tenant: String?
    /// HMAC-SHA-256 of the credential.
    package var hash: [UInt8]
    /// What it is for, in the words of whoever made it.
    package var label: String
    /// Who made it.
    package var author: String
    /// ms since the epoch.
    package var created: Int64
    /// ms since the epoch: from here on it is refused.
    package var expires: Int64
    /// ms since the epoch; nil while it was not revoked.
    package var revoked: Int64?
    /// The one that it replaces.
    package var replaces: UniqueID?

    package init(
        id: UniqueID, role: String, tenant: String?, hash: [UInt8], label: String, author: String, created: Int64,
        expires: Int64, replaces: UniqueID?
    ) {
        self.id = id
        self.role = role
        self.tenant = tenant
        self.hash = hash
        self.label = label
        self.author = author
        self.created = created
        self.expires = expires
        self.replaces = replaces
    }

    var stored: [UInt8] {
        [Key.plain]
            + CBORValue.record([
                0: .text(role), 1: tenant.map { .text($0) }, 2: .bytes(hash), 3: .text(label), 4: .text(author),
                5: .number(created), 6: .number(expires), 7: revoked.map { .number($0) },
                8: replaces.map { .bytes($0.bytes) },
            ]).encoded
    }

    init?(id: UniqueID, _ stored: [UInt8]) {
        guard stored.first == Key.plain, let value = try? CBORValue.decode(Array(stored.dropFirst())),
            let role = value[0]?.text, case .bytes(let hash)? = value[2], let created = value[5]?.int,
            let expires = value[6]?.int
        else { return nil }
        self.init(
            id: id, role: role, tenant: value[1]?.text, hash: hash, label: value[3]?.text ?? "",
            author: value[4]?.text ?? "", created: created, expires: expires, replaces: nil)
        revoked = value[7]?.int
        if case .bytes(let bytes)? = value[8] { replaces = UniqueID(bytes: bytes) }
    }
}

/// The registry of tenants and the credentials of callers.
package final class ControlBook: Sendable {
    package let store: Store
    private let environment: LMDBEnvironment
    private let tenants: LMDBDatabase
    private let credentials: LMDBDatabase
    private let idle = Mutex<[Snapshot]>([])

    private final class Snapshot: @unchecked Sendable {
        var transaction: LMDBReadTransaction

        init(_ environment: LMDBEnvironment) throws(LMDBError) { transaction = try LMDBReadTransaction(environment) }
    }

    /// Opens the control environment, making the store when it is not there.
    package init(_ store: Store) throws(StoreError) {
        self.store = store
        environment = try store.openControlForWriting()
        do throws(LMDBError) {
            tenants = try environment.database(Store.registry)
            credentials = try environment.database(Store.credentials)
        } catch {
            throw StoreError(error, path: environment.path, mapSize: environment.mapSize)
        }
    }

    // MARK: Tenants

    /// A tenant's record; nil when there is no such tenant.
    package func tenant(_ id: String) throws(StoreError) -> TenantRecord? {
        try read(tenants, Array(id.utf8)).flatMap { TenantRecord($0) }
    }

    // MARK: Credentials

    /// A credential by its id.
    package func credential(_ id: UniqueID) throws(StoreError) -> CredentialRecord? {
        try read(credentials, id.bytes).flatMap { CredentialRecord(id: id, $0) }
    }

    /// All credentials, oldest first.
    package func allCredentials() throws(StoreError) -> [CredentialRecord] {
        var list: [CredentialRecord] = []
        try withSnapshot { (transaction) throws(LMDBError) in
            try transaction.scan(credentials) { key, value in
                if let id = UniqueID(bytes: key), let record = CredentialRecord(id: id, value) { list.append(record) }
                return true
            }
        }
        return list.sorted { ($0.created, $0.id.description) < ($1.created, $1.id.description) }
    }

    /// Writes credentials, all or none; durable when it returns.
    package func put(_ records: [CredentialRecord]) throws(StoreError) {
        do throws(LMDBError) {
            let transaction = try LMDBWriteTransaction(environment)
            for record in records { try transaction.put(credentials, record.id.bytes, record.stored) }
            try transaction.commit()
        } catch {
            throw StoreError(error, path: environment.path, mapSize: environment.mapSize)
        }
    }

    // MARK: Snapshots

    /// Moves with each commit of any process.
    package var generation: UInt64 { environment.lastCommit }

    private func read(_ database: LMDBDatabase, _ key: [UInt8]) throws(StoreError) -> [UInt8]? {
        var value: [UInt8]?
        try withSnapshot { (transaction) throws(LMDBError) in value = try transaction.get(database, key) }
        return value
    }

    private func withSnapshot(_ body: (borrowing LMDBReadTransaction) throws(LMDBError) -> Void) throws(StoreError) {
        do throws(LMDBError) {
            let snapshot: Snapshot
            if let kept = idle.withLock({ $0.popLast() }) {
                snapshot = kept
            } else {
                snapshot = try Snapshot(environment)
            }
            try snapshot.transaction.renew()
            try body(snapshot.transaction)
            snapshot.transaction.reset()
            idle.withLock { $0.append(snapshot) }
        } catch {
            throw StoreError(error, path: environment.path, mapSize: environment.mapSize)
        }
    }
}
