// The shadow's one thread: takes decisions out of every ring and hands each to its tenant's comparison.
//
// INVARIANT of this unsafe file: a record lent by a ring is used before that ring's `release`.

import AttributeStore
import CLinux
import DecisionLog
import DecisionPath
import Glibc
import Memory
import Synchronization

/// The worker; used by one thread.
final class ShadowWorker {
    private static let pollMilliseconds: Int32 = 20
    /// Milliseconds between two writings of the tallies.
    private static let writing: Int64 = 500
    /// Bytes of a ring that are looked at before its room is given back.
    private static let batchBytes = 64 << 10

    private let desk: ShadowDesk
    private var readers: [RingReader] = []
    private var tenants: [String: ShadowTenant] = [:]
    private var last: ShadowTenant?
    private var publication: UInt64?
    private var nextWriting: Int64 = 0
    /// Decisions that found no place and are told in no tally yet.
    private var knownLost: UInt64 = 0

    init(_ desk: ShadowDesk) { self.desk = desk }

    /// Compares what is there.
    func turn() {
        follow()
        while drain(compares: true) {}
    }

    func run() {
        while true {
            follow()
            let isStopping = desk.worker.isStopping
            let isAny = drain(compares: !isStopping)
            let now = stile_now_ms()
            if isStopping || now >= nextWriting {
                nextWriting = now + Self.writing
                for tenant in tenants.values { tenant.write(now, isLast: isStopping) }
            }
            if isStopping { return }
            if !isAny { rest() }
        }
    }

    private func rest() {
        // Without a candidate nobody hands anything over.
        desk.worker.rest(tenants.isEmpty ? -1 : Self.pollMilliseconds)
    }

    /// Begins and ends comparisons as candidates come and go.
    private func follow() {
        let current = desk.board.publication
        guard current != publication else { return }
        publication = current
        last = nil
        for tenant in desk.board.tenants {
            guard let candidate = desk.board.state(of: tenant)?.candidate else {
                end(tenant)
                continue
            }
            if let known = tenants[tenant], known.number != candidate.candidacy.number { end(tenant) }
            do throws(StoreError) {
                if tenants[tenant] == nil { tenants[tenant] = try ShadowTenant(tenant, candidate.candidacy, desk) }
                tenants[tenant]?.follow(candidate)
            } catch {
                desk.tell(LogNotice(isError: true, text: "tenant \(tenant): its candidate cannot decide: \(error)"))
            }
        }
        for gone in Set(tenants.keys).subtracting(desk.board.tenants) { tenants[gone] = nil }
    }

    private func end(_ tenant: String) {
        tenants[tenant]?.write(stile_now_ms(), isLast: true)
        tenants[tenant] = nil
    }

    /// Takes out what is in the rings.
    /// - Returns: whether there was anything.
    private func drain(compares: Bool) -> Bool {
        let rings = desk.allRings
        while readers.count < rings.count { readers.append(RingReader(rings[readers.count])) }
        var isAny = false
        for reader in readers {
            var looked = 0
            unsafe reader.consumer.forEach { bytes in
                isAny = true
                looked += bytes.count
                if let record = unsafe RingRecord(bytes), let tenant = unsafe tenant(record.tenant) {
                    if compares { tenant.compare(record) } else { tenant.skip(.stopped) }
                }
                return !compares || looked < Self.batchBytes
            }
            _ = reader.consumer.takeDamaged()
            reader.consumer.release()
        }
        noteLosses()
        return isAny
    }

    /// A ring is no tenant's: with several candidates its losses are told with each of them.
    private func noteLosses() {
        let lost = readers.reduce(0) { $0 &+ $1.ring.lost }
        guard lost > knownLost else { return }
        for tenant in tenants.values { tenant.skip(.queueFull, lost - knownLost) }
        knownLost = lost
    }

    private func tenant(_ id: UnsafeRawBufferPointer) -> ShadowTenant? {
        if let last, unsafe last.isNamed(id) { return last }
        last = tenants[unsafe String(decoding: id, as: UTF8.self)]
        return last
    }
}
