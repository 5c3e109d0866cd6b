// Does the log still tell all? Folds it anew into a scratch store and compares every record and view.

import CBOR
import Glibc

/// What a verification found.
package struct VerifyReport: Sendable, Hashable {
    /// Entries of the log.
    package var entries = 0
    /// Records and views compared.
    package var records = 0
    /// Where store and log disagree, in words; empty when they agree.
    package var differences: [String] = []

    package init() {}
}

extension Store {
    /// Folds a tenant's log into a scratch store at `scratch` (an empty directory, emptied again afterwards) and
    /// compares. Reads one snapshot of the tenant.
    package func verify(tenant: String, scratch: String) throws(StoreError) -> VerifyReport {
        var report = VerifyReport()
        var reader = try TenantReader(self, tenant: tenant)
        try reader.renew()
        let copy = Store(path: scratch, mapSize: mapSize)
        try copy.createTenant("verify", TenantRecord(created: 0, allowedUsers: []))
        var batch: [Change] = []
        var failure: StoreError?
        do {
            var writer = try TenantWriter(copy, tenant: "verify")
            func flush(_ writer: inout TenantWriter, _ batch: inout [Change]) {
                if batch.isEmpty || failure != nil { return }
                do throws(StoreError) {
                    try writer.append(batch, time: 0)
                } catch {
                    failure = error
                }
                batch.removeAll(keepingCapacity: true)
            }
            try reader.log { sequence, _, change in
                report.entries += 1
                guard let change else {
                    report.differences.append("log entry \(sequence) is unreadable")
                    return true
                }
                batch.append(change)
                if batch.count >= 1000 { flush(&writer, &batch) }
                return failure == nil
            }
            flush(&writer, &batch)
        }
        if let failure {
            report.differences.append("the log does not fold: \(failure)")
        } else {
            try compare(&reader, copy, &report)
        }
        try copy.removeScratch("verify")
        return report
    }

    /// Removes a scratch store with its one tenant; the directory itself stays.
    package func removeScratch(_ tenant: String) throws(StoreError) {
        try deleteTenant(tenant)
        for name in ["data.mdb", "lock.mdb", "doorbell"] { _ = unsafe unlink("\(path)/control/\(name)") }
        _ = unsafe rmdir("\(path)/control")
        _ = unsafe rmdir("\(path)/tenants")
    }

    private func compare(
        _ reader: inout TenantReader, _ copy: Store, _ report: inout VerifyReport
    ) throws(StoreError) {
        var expected: [String: [[UInt8]: [UInt8]]] = [:]
        var other = try TenantReader(copy, tenant: "verify")
        try other.renew()
        try other.folded { database, key, value in expected[database, default: [:]][key] = value }
        var seen = 0
        var differences: [String] = []
        try reader.folded { database, key, value in
            // Which key values are sealed with is no change and stands in no log.
            if database == "meta", key == TenantSeal.metaKey { return }
            seen += 1
            if expected[database]?.removeValue(forKey: key) != value, differences.count < 20 {
                differences.append("\(database): \(Self.readable(key)) is not what the log says")
            }
        }
        for (database, rest) in expected.sorted(by: { $0.key < $1.key }) {
            for key in rest.keys.prefix(20) { differences.append("\(database): \(Self.readable(key)) is missing") }
        }
        report.records = seen
        report.differences += differences
    }

    private static func readable(_ key: [UInt8]) -> String {
        key.map { (0x20..<0x7f).contains($0) ? String(UnicodeScalar($0)) : "\\\($0)" }.joined()
    }
}

/// Entries of the log: [time, change], then what only some readers want (`TenantDatabases.log`).
enum CBORLog {
    static func decode(_ stored: [UInt8]) throws(CBORError) -> (time: Int64, change: Change)? {
        let value = try CBORValue.decode(Array(stored.dropFirst()))
        guard let items = value.items, items.count >= 2, let time = items[0].int, let change = Change(items[1]) else {
            return nil
        }
        return (time, change)
    }
}
