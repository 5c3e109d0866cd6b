// Why the store said no.

import Glibc
package import PolicyLanguage

/// A refused or failed operation of the store. Nothing of the operation was kept.
public struct StoreError: Error, Sendable, CustomStringConvertible {
    /// The kinds; the raw value is stable and appears in JSON output.
    package enum Code: String, Sendable, Hashable {
        case storeMissing = "store_missing"
        case permissionDenied = "permission_denied"
        case diskFull = "disk_full"
        case storeFull = "store_full"
        case tenantUnknown = "tenant_unknown"
        case tenantExists = "tenant_exists"
        case tenantInvalid = "tenant_invalid"
        case valueInvalid = "value_invalid"
        case idInvalid = "id_invalid"
        case groupCycle = "group_cycle"
        case unknownEntityType = "unknown_entity_type"
        case unknownSignal = "unknown_signal"
        case policiesRejected = "policies_rejected"
        case versionUnknown = "version_unknown"
        /// A limit of the tenant (`TenantLimits`).
        case budgetExceeded = "budget_exceeded"
        /// Somebody else has changed what this change was made for.
        case conflict = "conflict"
        /// No grant of this id, or it is kept no longer.
        case grantUnknown = "grant_unknown"
        /// The grant has ended already.
        case grantEnded = "grant_ended"
        /// The subject has as many grants as may run (`StoreLimits.maxGrantsOfSubject`).
        case tooManyGrants = "too_many_grants"
        /// The key at hand is not the one that the tenant was sealed under.
        case keyWrong = "key_wrong"
        /// Sealed values cannot be read or written.
        case sealed = "store_sealed"
        case damaged = "store_damaged"
        case failed = "store_failed"
    }

    package var code: Code
    /// What, where and how to mend it.
    package var message: String
    /// Index of the change at fault in the batch that was given.
    package var changeIndex: Int?
    /// Findings, for rejected policies.
    package var diagnostics: [Diagnostic] = []
    /// What of the stored values does not fit, for policies whose catalog they do not fit.
    package var fit: CatalogFit?

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The store's view of a failed call of LMDB.
    init(_ error: LMDBError, path: String, mapSize: Int) {
        switch error.code {
        case LMDBError.mapFull:
            self.init(
                .storeFull,
                "\(path) is full: its map size of \(mapSize >> 20) MiB is used up; nothing of this batch was kept. "
                    + "Open the store with a larger --map-size, or raise the tenant's limit of store-bytes")
        case ENOSPC, EDQUOT,
            EIO where Self.hasNoRoom(path):
            self.init(
                .diskFull,
                "no room left on the disk of \(path); nothing of this batch was kept. Free room and try again")
        case LMDBError.unsealable:
            self.init(.sealed, "\(path) is sealed: \(error)")
        case EIO, EFBIG:
            self.init(
                .failed,
                "\(path): \(error); nothing of this batch was kept. "
                    + "Look for a limit of file sizes (ulimit -f) or a failing disk (dmesg)")
        case 13, 1, 30:
            self.init(
                .permissionDenied,
                "\(path) may not be opened for this: \(error). Run as the store's owner, or give its group the right")
        case 2: self.init(.storeMissing, "\(path) does not exist: create it with `stile tenant create`")
        default: self.init(.failed, "\(path): \(error)")
        }
    }

    /// LMDB tells a write that the disk took only in part as EIO; it is the lack of room when next to none is left.
    private static func hasNoRoom(_ path: String) -> Bool {
        var info = statvfs()
        return unsafe statvfs(path, &info) == 0 && UInt64(info.f_bavail) * UInt64(info.f_frsize) < 1 << 20
    }

    /// Code and message.
    public var description: String { "\(code.rawValue): \(message)" }
}
