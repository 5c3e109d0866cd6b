// LMDB with Swift's manners: handles that close themselves, errors that say what failed, values lent and not copied.
//
// INVARIANTS of this unsafe file:
// * An environment is opened once in a process (LMDB's own rule); `LMDBEnvironment.open` keeps a list and shares.
// * A value lent by a transaction points into the map; it is used only until the transaction is reset, ended or,
//   for a writing one, written to again. `RecordView` and the closures below hand on that duty.
// * Handles of databases are opened when the environment is, before any other transaction, and never closed.

import CLMDB
import CLinux
import Glibc
import Synchronization

/// A failed call of LMDB.
package struct LMDBError: Error, Sendable, Hashable, CustomStringConvertible {
    /// LMDB's return code, or an errno.
    package var code: Int32
    /// What was being done.
    package var operation: String

    package init(_ code: Int32, _ operation: String) {
        self.code = code
        self.operation = operation
    }

    /// The map is full: http://www.lmdb.tech/doc/group__errors.html, MDB_MAP_FULL.
    package static let mapFull: Int32 = MDB_MAP_FULL
    /// A sealed value cannot be opened, or one that is to be sealed cannot be; no code of LMDB's, whose own lie between
    /// -30,800 and -30,700.
    package static let unsealable: Int32 = -40_000
    /// No such key: MDB_NOTFOUND.
    package static let notFound: Int32 = MDB_NOTFOUND

    package var description: String {
        code == Self.unsealable ? operation : "\(operation): \(unsafe String(cString: mdb_strerror(code)))"
    }
}

private func check(_ code: Int32, _ operation: @autoclosure () -> String) throws(LMDBError) {
    if code != 0 { throw LMDBError(code, operation()) }
}

/// A handle of a named database.
package struct LMDBDatabase: Sendable, Hashable {
    let handle: MDB_dbi
    /// What values are sealed for, beside their key, where the tenant seals; 0 where they stay plain.
    private(set) var domain: UInt8 = 0

    /// The same database, whose values are sealed for a domain: a number of its own that never changes.
    func sealed(_ domain: UInt8) -> LMDBDatabase {
        var database = self
        database.domain = domain
        return database
    }
}

/// An open environment; shared by all threads of the process.
@safe
package final class LMDBEnvironment: @unchecked Sendable {
    fileprivate let handle: OpaquePointer
    /// The directory.
    package let path: String
    /// Bytes of address space; what the data can grow to.
    package let mapSize: Int
    private let databases: [String: LMDBDatabase]
    /// Those of `later` that were found meanwhile.
    private let found = Mutex<[String: LMDBDatabase]>([:])
    /// Nil where LMDB has to be asked.
    private let commits: CommitNumber?

    private struct Shared {
        weak var environment: LMDBEnvironment?
    }
    private static let open = Mutex<[String: Shared]>([:])

    /// Opens the directory, or gives the environment that this process has open there.
    /// - Parameters:
    ///   - names: the databases; made when missing, unless `readOnly`.
    ///   - mapSize: bytes of address space.
    /// - Throws: `LMDBError`, with errno codes for what the file system says.
    package static func open(
        _ path: String, names: [String], later: Set<String> = [], mapSize: Int, readOnly: Bool
    ) throws(LMDBError) -> LMDBEnvironment {
        let result: Result<LMDBEnvironment, LMDBError> = open.withLock { list in
            // A path can lead to another file meanwhile: a tenant that was deleted and made anew.
            if let known = list[path]?.environment, known.isAt(path) { return .success(known) }
            do throws(LMDBError) {
                let environment = try LMDBEnvironment(
                    path, names: names, later: later, mapSize: mapSize, readOnly: readOnly)
                list[path] = Shared(environment: environment)
                return .success(environment)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private init(
        _ path: String, names: [String], later: Set<String>, mapSize: Int, readOnly: Bool
    ) throws(LMDBError) {
        var pointer: OpaquePointer?
        try check(unsafe mdb_env_create(&pointer), "creating an environment")
        guard let pointer = unsafe pointer else { throw LMDBError(ENOMEM, "creating an environment") }
        do throws(LMDBError) {
            try check(unsafe mdb_env_set_mapsize(pointer, mapSize), "setting the map size")
            try check(unsafe mdb_env_set_maxdbs(pointer, 32), "setting the number of databases")
            try check(unsafe mdb_env_set_maxreaders(pointer, Self.readers), "setting the number of readers")
            if !readOnly { try Self.reserveLockFile(path) }
            let flags = UInt32(MDB_NOTLS) | (readOnly ? UInt32(MDB_RDONLY) : 0)
            try check(unsafe mdb_env_open(pointer, path, flags, 0o640), "opening \(path)")
            var dead: Int32 = 0
            _ = unsafe mdb_reader_check(pointer, &dead)
            unsafe databases = try Self.openDatabases(pointer, names, later, readOnly: readOnly)
        } catch {
            unsafe mdb_env_close(pointer)
            throw error
        }
        unsafe handle = pointer
        unsafe commits = CommitNumber(pointer)
        self.path = path
        self.mapSize = mapSize
    }

    deinit { unsafe mdb_env_close(handle) }

    /// Places for readers of all processes, and bytes of the lock file that hold them: 64 each, and a head.
    private static let readers: UInt32 = 1022
    private static let lockBytes = Int64(readers + 2) * 64

    /// LMDB maps its lock file and stores into it: a page that the disk has no room for would end the process. Done before
    /// the file is opened by LMDB, because closing a descriptor of it gives the process's locks on it up.
    private static func reserveLockFile(_ path: String) throws(LMDBError) {
        let file = "\(path)/lock.mdb"
        let descriptor = unsafe Glibc.open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        // LMDB itself says what is wrong with it.
        if descriptor < 0 { return }
        defer { close(descriptor) }
        // A file system that cannot keep room is left to luck.
        if stile_reserve(descriptor, lockBytes) != 0, [ENOSPC, EDQUOT, EFBIG].contains(errno) {
            throw LMDBError(errno, "keeping room for \(file)")
        }
    }

    private static func openDatabases(
        _ environment: OpaquePointer, _ names: [String], _ later: Set<String>, readOnly: Bool
    ) throws(LMDBError) -> [String: LMDBDatabase] {
        var transaction: OpaquePointer?
        try check(
            unsafe mdb_txn_begin(environment, nil, readOnly ? UInt32(MDB_RDONLY) : 0, &transaction),
            "beginning a transaction")
        var databases: [String: LMDBDatabase] = [:]
        for name in names {
            var handle: MDB_dbi = 0
            let code = unsafe mdb_dbi_open(transaction, name, readOnly ? 0 : UInt32(MDB_CREATE), &handle)
            if code == MDB_NOTFOUND, readOnly, later.contains(name) { continue }
            if code != 0 {
                unsafe mdb_txn_abort(transaction)
                throw LMDBError(code, "opening database \(name)")
            }
            databases[name] = LMDBDatabase(handle: handle)
        }
        try check(unsafe mdb_txn_commit(transaction), "committing the databases")
        return databases
    }

    /// True while the path still leads to the file that is open.
    private func isAt(_ path: String) -> Bool {
        var descriptor: Int32 = -1
        var open = stat()
        var named = stat()
        guard unsafe mdb_env_get_fd(handle, &descriptor) == 0, unsafe fstat(descriptor, &open) == 0,
            unsafe stat("\(path)/data.mdb", &named) == 0
        else { return false }
        return open.st_ino == named.st_ino && open.st_dev == named.st_dev
    }

    /// Number of the last commit of any process.
    package var lastCommit: UInt64 { commits?.value ?? toldCommit }

    /// The same, as LMDB tells it.
    package var toldCommit: UInt64 {
        var info = unsafe MDB_envinfo()
        return unsafe mdb_env_info(handle, &info) == 0 ? UInt64(info.me_last_txnid) : 0
    }

    /// The number is read from the file.
    package var readsCommitsItself: Bool { commits != nil }

    /// False for one of `later` that the store did not have when it was looked for last.
    package func has(_ name: String) -> Bool { known(name) != nil }

    private func known(_ name: String) -> LMDBDatabase? { databases[name] ?? found.withLock { $0[name] } }

    /// Looks once more for a database that the store did not have when it was opened. Transactions that have begun before know
    /// nothing of it.
    /// - Returns: nil while there is none.
    package func look(for name: String) throws(LMDBError) -> LMDBDatabase? {
        if let database = databases[name] { return database }
        // Of a process, one transaction at a time may open databases.
        let result: Result<LMDBDatabase?, LMDBError> = found.withLock { found in
            if let database = found[name] { return .success(database) }
            do throws(LMDBError) {
                found[name] = try unsafe Self.openDatabases(handle, [name], [name], readOnly: true)[name]
                return .success(found[name])
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The database with this name.
    package func database(_ name: String) throws(LMDBError) -> LMDBDatabase {
        guard let database = known(name) else { throw LMDBError(LMDBError.notFound, "finding database \(name)") }
        return database
    }

    /// Frees the places of readers whose process has died.
    /// - Returns: how many there were.
    @discardableResult
    package func clearStaleReaders() -> Int {
        var dead: Int32 = 0
        _ = unsafe mdb_reader_check(handle, &dead)
        return Int(dead)
    }

    /// Bytes that the data take in the file.
    package var usedBytes: Int {
        var info = unsafe MDB_envinfo()
        var stat = MDB_stat()
        guard unsafe mdb_env_info(handle, &info) == 0, unsafe mdb_env_stat(handle, &stat) == 0 else { return 0 }
        return (unsafe info.me_last_pgno + 1) * Int(stat.ms_psize)
    }
}

/// A transaction that reads one snapshot. Begun once, then renewed and reset for each wake-up.
@safe
package struct LMDBReadTransaction: ~Copyable {
    private let environment: LMDBEnvironment
    fileprivate let handle: OpaquePointer
    private var isLive = true
    /// Opens what is sealed; nil reads values as they lie.
    var seal: TenantSeal?

    package init(_ environment: LMDBEnvironment) throws(LMDBError) {
        var pointer: OpaquePointer?
        var code = unsafe mdb_txn_begin(environment.handle, nil, UInt32(MDB_RDONLY), &pointer)
        if code == MDB_READERS_FULL, environment.clearStaleReaders() > 0 {
            code = unsafe mdb_txn_begin(environment.handle, nil, UInt32(MDB_RDONLY), &pointer)
        }
        guard code == 0, let pointer = unsafe pointer else { throw LMDBError(code, "beginning to read") }
        self.environment = environment
        unsafe handle = pointer
    }

    deinit { unsafe mdb_txn_abort(handle) }

    /// The snapshot's id: it grows with each commit.
    package var id: UInt64 { UInt64(unsafe mdb_txn_id(handle)) }

    /// Takes the newest snapshot. Everything lent before is void, unless that is the one that was held: then nothing was
    /// committed since. A commit is acknowledged after it wrote its number, so none that was can be overlooked.
    package mutating func renew() throws(LMDBError) {
        if isLive, environment.lastCommit == id { return }
        if isLive { unsafe mdb_txn_reset(handle) }
        isLive = false
        let code = unsafe mdb_txn_renew(handle)
        if code != 0 { throw LMDBError(code, "renewing a snapshot") }
        isLive = true
    }

    /// Lets go of the snapshot, so that its pages can be used again. Everything lent is void.
    package mutating func reset() {
        if isLive { unsafe mdb_txn_reset(handle) }
        isLive = false
    }

    /// The value of a key as it lies in the map, lent until the snapshot ends; nil when there is none or no snapshot is
    /// held.
    package func get(_ database: LMDBDatabase, _ key: UnsafeRawBufferPointer) throws(LMDBError)
        -> UnsafeRawBufferPointer?
    {
        guard isLive else { throw LMDBError(EINVAL, "reading without a snapshot") }
        return try unsafe read(handle, database, key)
    }

    /// The value of a key, lent to the closure.
    package func get(_ database: LMDBDatabase, _ key: [UInt8]) throws(LMDBError) -> [UInt8]? {
        guard isLive else { throw LMDBError(EINVAL, "reading without a snapshot") }
        return try unsafe copy(of: key, in: database, handle, seal)
    }

    /// All pairs whose key starts with the prefix, in order, until `body` returns false.
    /// - Parameter from: start at this key instead of the prefix's first.
    package func scan(
        _ database: LMDBDatabase, prefix: [UInt8] = [], from: [UInt8]? = nil,
        _ body: (_ key: [UInt8], _ value: [UInt8]) -> Bool
    ) throws(LMDBError) {
        guard isLive else { throw LMDBError(EINVAL, "reading without a snapshot") }
        try unsafe scanPairs(handle, database, prefix, from: from ?? prefix, seal, body)
    }

    /// Pairs from a key on, lent to the closure one after the other, in order, until `body` returns false.
    /// - Parameter opens: false leaves sealed values as they are.
    package func walk(
        _ database: LMDBDatabase, from start: [UInt8], opens: Bool = true,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool
    ) throws(LMDBError) {
        guard isLive else { throw LMDBError(EINVAL, "reading without a snapshot") }
        var cursor: OpaquePointer?
        try check(unsafe mdb_cursor_open(handle, database.handle, &cursor), "opening a cursor")
        defer { unsafe mdb_cursor_close(cursor) }
        var key = unsafe MDB_val()
        var value = unsafe MDB_val()
        var code = unsafe start.withUnsafeBytes { bytes in
            unsafe key = MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
            return unsafe mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        }
        while code == 0 {
            let keyBytes = unsafe UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size)
            var bytes = unsafe UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
            if opens, let seal, database.domain != 0, unsafe bytes.first == Key.sealed {
                unsafe bytes = try seal.open(bytes, database, keyBytes)
            }
            if unsafe !body(keyBytes, bytes) { return }
            code = unsafe mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
        }
        if code != MDB_NOTFOUND { throw LMDBError(code, "walking") }
    }

    /// The last key of a database.
    package func lastKey(_ database: LMDBDatabase) throws(LMDBError) -> [UInt8]? {
        guard isLive else { throw LMDBError(EINVAL, "reading without a snapshot") }
        return try unsafe keyAtEnd(handle, database)
    }
}

/// A transaction that writes; all or nothing. Ends by `commit`, or undone when it goes away.
@safe
package struct LMDBWriteTransaction: ~Copyable {
    private let environment: LMDBEnvironment
    private let handle: OpaquePointer
    private var isDone = false
    /// Seals and opens; nil leaves values as they are.
    var seal: TenantSeal?

    /// Waits for other writers.
    package init(_ environment: LMDBEnvironment) throws(LMDBError) {
        var pointer: OpaquePointer?
        let code = unsafe mdb_txn_begin(environment.handle, nil, 0, &pointer)
        guard code == 0, let pointer = unsafe pointer else { throw LMDBError(code, "beginning to write") }
        self.environment = environment
        unsafe handle = pointer
    }

    deinit { if !isDone { unsafe mdb_txn_abort(handle) } }

    /// The id that snapshots have from this commit on.
    package var id: UInt64 { UInt64(unsafe mdb_txn_id(handle)) }

    /// Makes all of it durable.
    package consuming func commit() throws(LMDBError) {
        isDone = true
        try check(unsafe mdb_txn_commit(handle), "committing")
    }

    /// A copy of a key's value.
    package func get(_ database: LMDBDatabase, _ key: [UInt8]) throws(LMDBError) -> [UInt8]? {
        try unsafe copy(of: key, in: database, handle, seal)
    }

    /// Puts a pair.
    package func put(_ database: LMDBDatabase, _ key: [UInt8], _ plain: [UInt8]) throws(LMDBError) {
        let value = try seal?.sealed(plain, database, key) ?? plain
        let code = unsafe key.withUnsafeBytes { keyBytes in
            unsafe value.withUnsafeBytes { valueBytes in
                var key = unsafe MDB_val(
                    mv_size: keyBytes.count, mv_data: UnsafeMutableRawPointer(mutating: keyBytes.baseAddress))
                var value = unsafe MDB_val(
                    mv_size: valueBytes.count, mv_data: UnsafeMutableRawPointer(mutating: valueBytes.baseAddress))
                return unsafe mdb_put(handle, database.handle, &key, &value, 0)
            }
        }
        try check(code, "writing \(value.count) bytes")
    }

    /// Removes a key.
    /// - Returns: whether there was one.
    @discardableResult
    package func delete(_ database: LMDBDatabase, _ key: [UInt8]) throws(LMDBError) -> Bool {
        let code = unsafe key.withUnsafeBytes { keyBytes in
            var key = unsafe MDB_val(
                mv_size: keyBytes.count, mv_data: UnsafeMutableRawPointer(mutating: keyBytes.baseAddress))
            return unsafe mdb_del(handle, database.handle, &key, nil)
        }
        if code == MDB_NOTFOUND { return false }
        try check(code, "deleting")
        return true
    }

    /// All pairs whose key starts with the prefix, in order, until `body` returns false. `body` must not write.
    package func scan(
        _ database: LMDBDatabase, prefix: [UInt8] = [], from: [UInt8]? = nil,
        _ body: (_ key: [UInt8], _ value: [UInt8]) -> Bool
    ) throws(LMDBError) {
        try unsafe scanPairs(handle, database, prefix, from: from ?? prefix, seal, body)
    }

    /// The last key of a database.
    package func lastKey(_ database: LMDBDatabase) throws(LMDBError) -> [UInt8]? {
        try unsafe keyAtEnd(handle, database)
    }

    /// Removes every pair of a database whose key starts with the prefix.
    package func deleteAll(_ database: LMDBDatabase, prefix: [UInt8]) throws(LMDBError) {
        var keys: [[UInt8]] = []
        try scan(database, prefix: prefix) { key, _ in
            keys.append(key)
            return true
        }
        for key in keys { try delete(database, key) }
    }
}

private func read(
    _ transaction: OpaquePointer, _ database: LMDBDatabase, _ key: UnsafeRawBufferPointer
) throws(LMDBError) -> UnsafeRawBufferPointer? {
    var key = unsafe MDB_val(mv_size: key.count, mv_data: UnsafeMutableRawPointer(mutating: key.baseAddress))
    var value = unsafe MDB_val()
    let code = unsafe mdb_get(transaction, database.handle, &key, &value)
    if code == MDB_NOTFOUND { return nil }
    if code != 0 { throw LMDBError(code, "reading") }
    return unsafe UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)
}

private func keyAtEnd(_ transaction: OpaquePointer, _ database: LMDBDatabase) throws(LMDBError) -> [UInt8]? {
    var cursor: OpaquePointer?
    try check(unsafe mdb_cursor_open(transaction, database.handle, &cursor), "opening a cursor")
    defer { unsafe mdb_cursor_close(cursor) }
    var key = unsafe MDB_val()
    var value = unsafe MDB_val()
    let code = unsafe mdb_cursor_get(cursor, &key, &value, MDB_LAST)
    if code == MDB_NOTFOUND { return nil }
    try check(code, "reading the last key")
    return unsafe Array(UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size))
}

private func copy(
    of key: [UInt8], in database: LMDBDatabase, _ transaction: OpaquePointer, _ seal: TenantSeal?
) throws(LMDBError) -> [UInt8]? {
    let result: Result<[UInt8]?, LMDBError> = unsafe key.withUnsafeBytes { bytes in
        do throws(LMDBError) {
            guard let value = try unsafe read(transaction, database, bytes) else { return .success(nil) }
            return .success(unsafe Array(value))
        } catch {
            return .failure(error)
        }
    }
    guard let value = try result.get(), let seal else { return try result.get() }
    return try seal.plain(value, database, key)
}

private func scanPairs(
    _ transaction: OpaquePointer, _ database: LMDBDatabase, _ prefix: [UInt8], from: [UInt8], _ seal: TenantSeal?,
    _ body: (_ key: [UInt8], _ value: [UInt8]) -> Bool
) throws(LMDBError) {
    var cursor: OpaquePointer?
    try check(unsafe mdb_cursor_open(transaction, database.handle, &cursor), "opening a cursor")
    defer { unsafe mdb_cursor_close(cursor) }
    var key = unsafe MDB_val()
    var value = unsafe MDB_val()
    var code: Int32
    if from.isEmpty {
        code = unsafe mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
    } else {
        code = unsafe from.withUnsafeBytes { bytes in
            unsafe key = MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
            return unsafe mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
        }
    }
    while code == 0 {
        let keyBytes = unsafe Array(UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size))
        guard keyBytes.starts(with: prefix) else { return }
        let valueBytes = unsafe Array(UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
        if try !body(keyBytes, seal?.plain(valueBytes, database, keyBytes) ?? valueBytes) { return }
        code = unsafe mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
    }
    if code != MDB_NOTFOUND { throw LMDBError(code, "scanning") }
}
