// The log's one thread: takes decisions out of every ring, masks them, appends them to their tenants' lanes, and looks
// after segments when there is nothing else to do.
//
// INVARIANT of this unsafe file: a record lent by a ring is used before that ring's `release`.
//
// It wakes on its own: every 10 ms while decisions come, every 100 ms when none have come for a while. A reactor
// rings only when its ring is more than half full, so that a decision costs it no call of the system.

import AttributeStore
import CBOR
import CLinux
import DecisionEngine
import DecisionPath
import Glibc
import Memory
import PolicyLanguage
import Synchronization

/// The writer; used by one thread.
final class LogWriter {
    /// Milliseconds between two looks at the rings while decisions come.
    static let pollMilliseconds: Int32 = 10
    private static let idleMilliseconds: Int32 = 100
    /// Bytes that are gathered before they are written.
    private static let batchBytes = 1 << 20
    /// Milliseconds after which an unused lane is let go.
    private static let idleLane: Int64 = 60_000
    /// Milliseconds between two attempts to write where it failed.
    private static let retry: Int64 = 1_000

    private let log: DecisionLog
    private let housekeeper: Housekeeper
    private var readers: [RingReader] = []
    private var tenants: [String: TenantLog] = [:]
    private var last: TenantLog?
    private var encoder: DecisionEncoder
    private var now: Int64 = 0
    private var pause = LogWriter.pollMilliseconds
    private var knownLost: UInt64 = 0
    private var trouble: String?
    private var nextHousekeeping: Int64 = 0

    init(_ log: DecisionLog) {
        self.log = log
        housekeeper = Housekeeper(log)
        if case .sampled(let rate) = log.settings.mode {
            encoder = DecisionEncoder(sampledRate: rate)
        } else {
            encoder = DecisionEncoder(sampledRate: nil)
        }
    }

    func run() {
        now = stile_now_ms()
        if let directory = log.settings.directory { try? LogFiles.makeDirectory(directory) }
        takeLeftRings()
        while true {
            now = stile_now_ms()
            let isStopping = log.worker.isStopping
            let hasDrained = drain()
            settle()
            if isStopping, !hasDrained { break }
            if now >= nextHousekeeping {
                nextHousekeeping = now + 1_000
                keepHouse()
            }
            rest(hasDrained)
        }
        for tenant in tenants.values { tenant.lane.map { sync($0, tenant) } }
    }

    // MARK: Rings to lanes

    /// Takes out what is in the rings.
    /// - Returns: whether there was anything.
    private func drain() -> Bool {
        let rings = log.allRings
        while readers.count < rings.count { readers.append(RingReader(rings[readers.count])) }
        var isAny = false
        // Not for ever: syncs are due meanwhile.
        for _ in 0..<8 {
            var isMore = false
            var gathered = 0
            for reader in readers {
                let before = gathered
                unsafe reader.consumer.forEach { bytes in
                    unsafe take(bytes, skipping: nil)
                    gathered += bytes.count
                    return gathered - before < Self.batchBytes
                }
                isMore = isMore || gathered - before >= Self.batchBytes
                if reader.consumer.takeDamaged() { lose(1, "ring_damaged", nil) }
            }
            isAny = isAny || gathered > 0
            flush()
            // Only now: what is in a file survives the process, and so does what is in the ring.
            for reader in readers { reader.consumer.release() }
            if !isMore { break }
        }
        return isAny
    }

    private func take(_ bytes: UnsafeRawBufferPointer, skipping known: Set<[UInt8]>?) {
        guard let record = unsafe RingRecord(bytes) else { return lose(1, "unreadable", nil) }
        let tenant = unsafe tenant(record.tenant)
        guard let facts = encoder.begin(record) else { return lose(1, "unreadable", tenant) }
        if let known, known.contains(unsafe Array(record.answer.slice(facts.decisionID))) { return }
        tenant.lastUsed = now
        guard let lane = lane(tenant) else { return lose(1, "not_writable", tenant) }
        let plan = tenant.plan(facts.policyVersion, log, now)
        unsafe lane.append(decision: encoder.encode(record, plan))
    }

    private func tenant(_ id: UnsafeRawBufferPointer) -> TenantLog {
        if let last, unsafe last.isNamed(id) { return last }
        let name = unsafe String(decoding: id, as: UTF8.self)
        let tenant = tenants[name] ?? TenantLog(name)
        tenants[name] = tenant
        last = tenant
        return tenant
    }

    private func lane(_ tenant: TenantLog) -> Lane? {
        if let lane = tenant.lane { return lane }
        guard now >= tenant.retryAt else { return nil }
        do throws(LogError) {
            let path = log.place.path(of: tenant.id)
            let (lane, repair) = try Lane.open(log: path, now: now)
            log.report(repair, lane.directory)
            if !tenant.wasOpened {
                lane.append(
                    .opened,
                    .record([
                        0: .number(now), 1: .text(log.software), 2: .text(log.settings.mode.text),
                        3: .text(log.settings.sync.description),
                    ]))
            }
            tenant.lane = lane
            tenant.wasOpened = true
            return lane
        } catch {
            fail(tenant, error)
            return nil
        }
    }

    /// Seals and writes what was gathered.
    private func flush() {
        noteRingLosses()
        for tenant in tenants.values {
            // What was lost is told as soon as there is room again, though no decision comes.
            if tenant.lost > 0, tenant.lane == nil { _ = self.lane(tenant) }
            guard let lane = tenant.lane, lane.pendingBytes > 0 || tenant.lost > 0 else { continue }
            if tenant.lost > 0 {
                lane.append(
                    .loss, .record([0: .unsigned(tenant.lost), 1: .text(tenant.lostCause), 2: .number(now)]))
            }
            let decisions = lane.pendingDecisions
            do throws(LogError) {
                try lane.flush(now: now)
                tenant.unsynced += decisions
                tenant.dirtySince = tenant.dirtySince ?? now
                if tenant.failure != nil { recover(tenant) }
                tenant.lost = 0
            } catch {
                lose(decisions, "not_writable", tenant)
                fail(tenant, error)
                // Opened anew at the next attempt: who knows what is still true of the file.
                tenant.lane = nil
            }
        }
    }

    /// Losses of the reactors, written into every log that is being written: a ring is no tenant's.
    private func noteRingLosses() {
        let lost = readers.reduce(0) { $0 + $1.ring.lost }
        guard lost > knownLost else { return }
        for tenant in tenants.values {
            guard let lane = tenant.lane, lane.pendingBytes > 0 else { continue }
            lane.append(.loss, .record([0: .unsigned(lost - knownLost), 1: .text("ring_full"), 2: .number(now)]))
        }
        knownLost = lost
    }

    private func lose(_ count: UInt64, _ cause: String, _ tenant: TenantLog?) {
        if count == 0 { return }
        log.count(lost: count)
        tenant?.lost += count
        tenant?.lostCause = cause
    }

    private func fail(_ tenant: TenantLog, _ error: LogError) {
        tenant.retryAt = now + Self.retry
        let text = "\(error)"
        if tenant.failure == text { return }
        tenant.failure = text
        log.tell(
            LogNotice(
                isError: true,
                text: "tenant \(tenant.id): decisions are answered but not logged: \(text). They are counted as lost; "
                    + "free room, or give \(log.place.path(of: tenant.id)) to the daemon's user"))
    }

    private func recover(_ tenant: TenantLog) {
        tenant.failure = nil
        log.tell(
            LogNotice(isError: false, text: "tenant \(tenant.id): decisions are logged again; \(tenant.lost) were lost")
        )
    }

    // MARK: Lanes

    /// What is due after writing: syncs, ends of segments, lanes that are let go.
    private func settle() {
        let isRotation = log.wantsRotation.exchange(false, ordering: .acquiring)
        for name in log.takeGone() {
            tenants[name]?.lane = nil
            tenants[name] = nil
            last = nil
        }
        for tenant in tenants.values {
            guard let lane = tenant.lane else { continue }
            if isSyncDue(tenant) { sync(lane, tenant) }
            let isOld = lane.isOpen && lane.mark.decisions > 0 && now - lane.created >= log.settings.segmentAge
            if lane.isOpen,
                isOld || lane.mark.offset >= log.settings.segmentBytes || isRotation && lane.mark.decisions > 0
            {
                close(lane, tenant)
            }
            if now - tenant.lastUsed > Self.idleLane {
                sync(lane, tenant)
                tenant.lane = nil
                tenant.forgetPlans()
            }
        }
        tellTrouble()
    }

    private func isSyncDue(_ tenant: TenantLog) -> Bool {
        guard let since = tenant.dirtySince else { return false }
        switch log.settings.sync {
        case .batch: return true
        case .interval(let interval): return now - since >= interval
        case .none: return false
        }
    }

    private func sync(_ lane: Lane, _ tenant: TenantLog) {
        do throws(LogError) {
            try lane.sync()
        } catch {
            // The kernel may have dropped what it could not write, and says so once.
            lose(tenant.unsynced, "not_durable", tenant)
            lane.abandon()
            fail(tenant, error)
        }
        tenant.unsynced = 0
        tenant.dirtySince = nil
    }

    private func close(_ lane: Lane, _ tenant: TenantLog) {
        do throws(LogError) {
            guard let segment = try lane.close(now: now) else { return }
            tenant.unsynced = 0
            tenant.dirtySince = nil
            log.tell(
                LogNotice(
                    isError: false,
                    text:
                        "tenant \(tenant.id): decision log segment \(segment.number) of lane \(lane.directory.number) "
                        + "closed; the chain is at \(LogChain.text(lane.mark.hash))"))
            housekeeper.closed(segment, lane)
        } catch {
            fail(tenant, error)
            tenant.lane = nil
        }
    }

    private func tellTrouble() {
        let failing = tenants.values.filter { $0.failure != nil }
        var text: String?
        if let one = failing.min(by: { $0.id < $1.id }) {
            text = "not written for \(failing.count) tenants: \(one.failure ?? "")"
        }
        if text != trouble { log.setTrouble(text) }
        trouble = text
    }

    private func keepHouse() {
        housekeeper.work(now) { path in tenants.values.first { $0.lane?.directory.path == path }?.lane }
    }

    // MARK: Rest

    /// Compresses for a while, or sleeps until the bell or the next look.
    private func rest(_ hasDrained: Bool) {
        pause = hasDrained ? Self.pollMilliseconds : min(pause * 2, Self.idleMilliseconds)
        if housekeeper.hasJob {
            let end = stile_monotonic_us() + UInt64(Self.pollMilliseconds) * 1_000
            while housekeeper.hasJob, stile_monotonic_us() < end, !isPressed { housekeeper.step() }
            if !housekeeper.hasJob || isPressed { return }
            pause = 0
        }
        if isPressed { return }
        log.worker.rest(pause)
        pause = max(pause, Self.pollMilliseconds)
    }

    /// True when a ring should not wait for a compressor.
    private var isPressed: Bool { readers.contains { $0.consumer.waiting > $0.ring.capacity / 4 } }

    // MARK: Rings that a killed process has left

    /// Writes what killed processes had put into their rings and not into files.
    private func takeLeftRings() {
        guard let directory = log.settings.ringDirectory else { return }
        var taken = 0
        for path in RingFiles.all(in: directory, of: log.place) {
            guard let found = try? ByteRing.leftBehind(file: path) else { continue }
            let reader = RingReader(found)
            var known: [String: Set<[UInt8]>] = [:]
            unsafe reader.consumer.forEach { bytes in
                guard let record = unsafe RingRecord(bytes) else { return true }
                let id = unsafe String(decoding: record.tenant, as: UTF8.self)
                let written = known[id] ?? LogTail.decisionIDs(log.place.path(of: id))
                known[id] = written
                unsafe take(bytes, skipping: written)
                taken += 1
                return true
            }
            flush()
            reader.consumer.release()
            found.removeFile()
        }
        if taken > 0 {
            log.tell(
                LogNotice(
                    isError: false,
                    text:
                        "a killed process left \(taken) decisions in its rings; those not written yet are in the log now"
                ))
        }
    }
}

/// A tenant's log as the writer keeps it.
final class TenantLog {
    let id: String
    private let bytes: [UInt8]
    var lane: Lane?
    var wasOpened = false
    var lastUsed: Int64 = 0
    /// Why it cannot be written; nil while it can.
    var failure: String?
    var retryAt: Int64 = 0
    /// Decisions lost and not recorded as lost yet.
    var lost: UInt64 = 0
    var lostCause = ""
    /// Decisions written since the last sync, and since when there are any.
    var unsynced: UInt64 = 0
    var dirtySince: Int64?
    private var plans: [UInt64: MaskingPlan] = [:]
    private var lastPlan: (version: UInt64, plan: MaskingPlan)?
    private var nextAttempt: Int64 = 0

    init(_ id: String) {
        self.id = id
        bytes = Array(id.utf8)
    }

    func isNamed(_ name: UnsafeRawBufferPointer) -> Bool { unsafe bytes.elementsEqual(name) }

    func forgetPlans() {
        plans = [:]
        lastPlan = nil
    }

    /// What may be written of questions that a version answered; nil when that cannot be known now.
    func plan(_ version: UInt64, _ log: DecisionLog, _ now: Int64) -> MaskingPlan? {
        if let lastPlan, lastPlan.version == version { return lastPlan.plan }
        if let plan = plans[version] {
            lastPlan = (version, plan)
            return plan
        }
        if now < nextAttempt { return nil }
        guard let plan = load(version, log) else {
            nextAttempt = now + 1_000
            return nil
        }
        if plans.count >= 8 { plans.removeAll() }
        plans[version] = plan
        lastPlan = (version, plan)
        return plan
    }

    private func load(_ version: UInt64, _ log: DecisionLog) -> MaskingPlan? {
        if version == 0 { return MaskingPlan() }
        if let compiled = log.board.state(of: id)?.compiled, compiled.version == version {
            return MaskingPlan(compiled.program.catalog, keptUses: log.settings.keptUses)
        }
        guard var reader = try? TenantReader(log.board.store, tenant: id), (try? reader.renew()) != nil,
            let stored = try? reader.policies(version: version)
        else { return nil }
        let catalog = checkCatalog(stored.sources).catalog
        return catalog.map { MaskingPlan($0, keptUses: log.settings.keptUses) }
    }
}
