// The store of all tenants: a directory with one small environment for the registry and one for each tenant.

import CBOR
import Glibc

/// The store's directory.
package struct Store: Sendable {
    /// The directory that holds `control/` and `tenants/`.
    package let path: String
    /// Address space of each tenant's environment.
    package var mapSize: Int
    /// Open every environment for writing, whatever it is opened for first: a process has an environment open once, in
    /// one way, and this one will write.
    package var isWriting = false
    /// The directory of the tenants' own keys, `<tenant>.key`, that wrap the keys their data are sealed under.
    package var keys: String

    /// - Parameters:
    ///   - path: the store's directory.
    ///   - mapSize: bytes of address space of each tenant.
    ///   - keys: the directory of the tenants' own keys; the environment's STILE_KEYS, else `control/keys` of the store.
    package init(path: String, mapSize: Int = StoreLimits.defaultMapSize, keys: String? = nil) {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.path = path
        self.mapSize = mapSize
        let named = unsafe getenv("STILE_KEYS")
        self.keys = keys ?? (unsafe named.map { unsafe String(cString: $0) }) ?? "\(path)/control/keys"
    }

    private var controlPath: String { "\(path)/control" }
    /// Databases of the control environment.
    static let registry = "tenants"
    static let credentials = "credentials"

    /// The file of the bell that tells readers of changes.
    package var doorbellPath: String { "\(controlPath)/doorbell" }

    /// The directory of a tenant.
    package func tenantPath(_ tenant: String) -> String { "\(path)/tenants/\(tenant)" }

    /// True for `[a-z0-9]` and, after the first, `-`; at most 63 characters: a name that is a directory anywhere.
    package static func isTenantID(_ id: String) -> Bool {
        let bytes = Array(id.utf8)
        guard (1...63).contains(bytes.count), bytes[0] != UInt8(ascii: "-") else { return false }
        return bytes.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
    }

    // MARK: Registry

    /// Makes a tenant, and the store when it is not there yet.
    /// - Throws: `tenant_invalid`, `tenant_exists`, or what the file system says.
    /// - Parameter isSealed: what the tenant's store will hold is sealed from the first value on.
    package func createTenant(_ id: String, _ record: TenantRecord, isSealed: Bool = false) throws(StoreError) {
        guard Self.isTenantID(id) else {
            throw StoreError(
                .tenantInvalid, "\"\(id)\" is no tenant id: use a-z, 0-9 and -, at most 63 characters, not - first")
        }
        let control = try openControlForWriting()
        var record = record
        if isSealed { record.sealing = [try makeDataKey(id, number: 1, time: record.created)] }
        let entry = [Key.plain] + record.cbor.encoded
        try mapErrors(controlPath) { () throws(LMDBError) -> StoreError? in
            let database = try control.database(Self.registry)
            let transaction = try LMDBWriteTransaction(control)
            if try transaction.get(database, Array(id.utf8)) != nil {
                return StoreError(.tenantExists, "tenant \"\(id)\" exists already")
            }
            // What is in the way of it, a full disk say, leaves nothing of the tenant.
            let isNew = unsafe access(tenantPath(id), F_OK) != 0
            var isRegistered = false
            defer {
                if isNew, !isRegistered {
                    removeAll(tenantPath(id))
                    _ = unsafe rmdir(tenantPath(id))
                }
            }
            try transaction.put(database, Array(id.utf8), entry)
            do throws(StoreError) {
                try makeDirectory(tenantPath(id))
                try makeDatabases(id, isSealed: isSealed)
            } catch {
                return error
            }
            try transaction.commit()
            isRegistered = true
            return nil
        }
        Doorbell(self)?.ringRegistry()
    }

    /// Makes a tenant's databases, so that readers that may not write can open them.
    private func makeDatabases(_ id: String, isSealed: Bool) throws(StoreError) {
        let environment = try openEnvironment(id, readOnly: false)
        guard isSealed else { return }
        let databases = try TenantDatabases.opened(environment)
        try mapErrors(environment.path) { () throws(LMDBError) -> StoreError? in
            try Self.announce(1, databases, environment)
            return nil
        }
    }

    /// The control environment, made when it is not there.
    func openControlForWriting() throws(StoreError) -> LMDBEnvironment {
        try makeDirectory(path)
        try makeDirectory(controlPath)
        try makeDirectory("\(path)/tenants")
        return try openControl(readOnly: false)
    }

    /// All tenants, by id.
    package func tenants() throws(StoreError) -> [(id: String, record: TenantRecord)] {
        let control = try openControl(readOnly: true)
        var list: [(id: String, record: TenantRecord)] = []
        try mapErrors(controlPath) { () throws(LMDBError) -> StoreError? in
            let database = try control.database(Self.registry)
            let transaction = try LMDBReadTransaction(control)
            try transaction.scan(database) { key, value in
                if let record = TenantRecord(value) { list.append((String(decoding: key, as: UTF8.self), record)) }
                return true
            }
            return nil
        }
        return list
    }

    /// One tenant's record.
    /// - Throws: `tenant_unknown` with the ids there are.
    package func tenant(_ id: String) throws(StoreError) -> TenantRecord {
        let all = try tenants()
        if let found = all.first(where: { $0.id == id }) { return found.record }
        throw Self.unknown(id, known: all.map(\.id))
    }

    static func unknown(_ id: String, known: [String]) -> StoreError {
        let list = known.prefix(8).joined(separator: ", ")
        return StoreError(
            .tenantUnknown,
            "no tenant \"\(id)\""
                + (known.isEmpty ? ": create it with `stile tenant create \(id)`" : "; there are: \(list)"))
    }

    /// Changes a tenant's record, for example who may ask.
    package func updateTenant(_ id: String, _ change: (inout TenantRecord) -> Void) throws(StoreError) {
        // Opened for writing first: a process has an environment open once, in one way.
        let control = try openControl(readOnly: false)
        _ = try tenant(id)
        try mapErrors(controlPath) { () throws(LMDBError) -> StoreError? in
            let database = try control.database(Self.registry)
            let transaction = try LMDBWriteTransaction(control)
            guard var record = try transaction.get(database, Array(id.utf8)).flatMap({ TenantRecord($0) }) else {
                return Self.unknown(id, known: [])
            }
            change(&record)
            try transaction.put(database, Array(id.utf8), [Key.plain] + record.cbor.encoded)
            try transaction.commit()
            return nil
        }
        Doorbell(self)?.ringRegistry()
    }

    /// Removes a tenant: first from the registry, so that nobody opens it, then its directory.
    package func deleteTenant(_ id: String) throws(StoreError) {
        let control = try openControl(readOnly: false)
        _ = try tenant(id)
        try mapErrors(controlPath) { () throws(LMDBError) -> StoreError? in
            let database = try control.database(Self.registry)
            let credentials = try control.database(Self.credentials)
            let transaction = try LMDBWriteTransaction(control)
            try transaction.delete(database, Array(id.utf8))
            // Whoever makes a tenant of the same name later must not inherit the callers of this one.
            var callers: [[UInt8]] = []
            try transaction.scan(credentials) { key, value in
                let record = UniqueID(bytes: key).flatMap { CredentialRecord(id: $0, value) }
                if record?.tenant == id { callers.append(key) }
                return true
            }
            for caller in callers { try transaction.delete(credentials, caller) }
            try transaction.commit()
            return nil
        }
        Doorbell(self)?.ringRegistry()
        // A daemon that has not noticed yet may still put a decision into the tenant's log.
        var isGone = false
        for _ in 0..<20 where !isGone {
            removeAll(tenantPath(id))
            isGone = unsafe rmdir(tenantPath(id)) == 0 || errno == ENOENT
            if !isGone { usleep(20_000) }
        }
        guard isGone else {
            throw StoreError(
                .failed,
                "tenant \"\(id)\" is unregistered, but \(tenantPath(id)) could not be removed: remove it by hand")
        }
    }

    /// Removes what is in a directory: the environment's files and the decision log.
    private func removeAll(_ path: String) {
        guard let directory = unsafe opendir(path) else { return }
        defer { unsafe closedir(directory) }
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            let inner = "\(path)/\(name)"
            // A directory, and never what a link points to.
            if unsafe unlink(inner) != 0, errno == EISDIR {
                removeAll(inner)
                _ = unsafe rmdir(inner)
            }
        }
    }

    // MARK: Environments

    private func openControl(readOnly: Bool) throws(StoreError) -> LMDBEnvironment {
        // Who only reads asks for tenants alone, so that a store without credentials yet can be served.
        let names = readOnly && !isWriting ? [Self.registry] : [Self.registry, Self.credentials]
        do throws(LMDBError) {
            return try LMDBEnvironment.open(
                controlPath, names: names, mapSize: 16 << 20, readOnly: readOnly && !isWriting)
        } catch {
            throw StoreError(error, path: controlPath, mapSize: 16 << 20)
        }
    }

    /// - Parameter limit: bytes that the data may take, when that is less than the address space.
    func openEnvironment(
        _ tenant: String, readOnly: Bool, limit: UInt64? = nil
    ) throws(StoreError) -> LMDBEnvironment {
        let path = tenantPath(tenant)
        let mapSize = min(mapSize, limit.map { Int(clamping: $0) } ?? .max)
        do throws(LMDBError) {
            return try LMDBEnvironment.open(
                path, names: TenantDatabases.names, later: TenantDatabases.later, mapSize: mapSize,
                readOnly: readOnly && !isWriting)
        } catch {
            throw StoreError(error, path: path, mapSize: mapSize)
        }
    }

    func makeDirectory(_ path: String, _ mode: mode_t = 0o750) throws(StoreError) {
        if unsafe mkdir(path, mode) == 0 || errno == EEXIST { return }
        let code = errno
        if code == ENOENT {
            throw StoreError(.storeMissing, "the directory above \(path) does not exist: make it first")
        }
        throw StoreError(LMDBError(code, "making the directory"), path: path, mapSize: mapSize)
    }

    private func mapErrors(_ path: String, _ body: () throws(LMDBError) -> StoreError?) throws(StoreError) {
        let refusal: StoreError?
        do throws(LMDBError) {
            refusal = try body()
        } catch {
            throw StoreError(error, path: path, mapSize: mapSize)
        }
        if let refusal { throw refusal }
    }
}

/// What the registry says of a tenant.
package struct TenantRecord: Sendable, Hashable {
    /// ms since the epoch.
    package var created: Int64
    /// User ids (of the operating system) that may ask about this tenant; empty allows the daemon's own and root.
    package var allowedUsers: [UInt32]
    /// Per cent of rules and of conditions that tests must reach before a version may decide.
    package var minCoverage: Int
    /// What it may take of the machine.
    package var limits: TenantLimits
    /// The keys that its data are sealed under, oldest first; empty when they are not. More than one while all is sealed
    /// anew.
    package var sealing: [WrappedKey] = []

    package init(
        created: Int64, allowedUsers: [UInt32], minCoverage: Int = 0, limits: TenantLimits = TenantLimits()
    ) {
        self.created = created
        self.allowedUsers = allowedUsers
        self.minCoverage = minCoverage
        self.limits = limits
    }

    var cbor: CBORValue {
        .record([
            0: .number(created), 1: .array(allowedUsers.map { .number($0) }),
            2: minCoverage == 0 ? nil : .number(minCoverage),
            3: limits == TenantLimits() ? nil : limits.cbor,
            4: sealing.isEmpty
                ? nil
                : .array(
                    sealing.map { .array([.number($0.number), .bytes($0.wrapped), .number($0.created)]) }),
        ])
    }

    init?(_ stored: [UInt8]) {
        guard stored.first == Key.plain, let value = try? CBORValue.decode(Array(stored.dropFirst())) else {
            return nil
        }
        created = value[0]?.int ?? 0
        minCoverage = Int(clamping: value[2]?.int ?? 0)
        allowedUsers = (value[1]?.items ?? []).compactMap { $0.uint.map { UInt32(truncatingIfNeeded: $0) } }
        limits = TenantLimits(value[3])
        sealing = (value[4]?.items ?? []).compactMap { entry in
            guard let parts = entry.items, parts.count == 3, let number = parts[0].uint,
                case .bytes(let wrapped) = parts[1]
            else { return nil }
            return WrappedKey(
                number: UInt32(truncatingIfNeeded: number), wrapped: wrapped, created: parts[2].int ?? 0)
        }
    }
}
