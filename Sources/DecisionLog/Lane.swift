// The writing end of one lane: records in, sealed runs out, segments that begin and end.
//
// What is appended waits in memory until `flush`, which seals it and writes it in one piece. A flush that fails leaves
// the lane as it was before the first of those records.
//
// INVARIANT of this unsafe file: `pending` begins with room for the chain's hash whenever it is not empty; what is lent
// from it is used before it changes.

import CBOR
import Glibc
import Memory

/// How the last segment was found when a lane was opened.
package struct LaneRepair: Sendable, Hashable {
    /// Bytes of a torn record that were cut off.
    package var cutBytes = 0
    /// Sequences of records that the head knows and the file has not.
    package var lost: ClosedRange<UInt64>?
    /// What was left as it is, because no crash explains it.
    package var evidence: String?
}

/// One lane, locked for this process.
final class Lane {
    let directory: LaneDirectory
    private let lock: LogFile
    private let headFile: LogFile
    private var file: LogFile?
    /// How far the lane is written.
    private(set) var mark: LaneMark
    private var durable: LaneMark
    /// The current segment began, ms since the epoch; void when none is open.
    private(set) var created: Int64 = 0

    private var pending = GrowableBytes(capacity: 64 << 10)
    private var pendingRecords: UInt64 = 0
    /// Decisions that wait for `flush`.
    private(set) var pendingDecisions: UInt64 = 0
    private var pendingSequence: UInt64
    /// Records that were found in the file without a seal; they stand first in `pending` and are not written again.
    private var unsealed: [UInt8] = []
    private var unsealedDecisions: UInt64 = 0
    private var scratch = CBORWriter()
    /// How far the kernel was asked to write out.
    private var begun = 0
    /// Bytes after which the kernel is asked to begin writing out: a sync that has all of a second's bytes before it
    /// keeps the log's thread from the rings for longer than they last.
    private static let earlyWriteBytes = 512 << 10

    private init(
        _ directory: LaneDirectory, lock: consuming LogFile, head: consuming LogFile, mark: LaneMark, durable: LaneMark
    ) {
        self.directory = directory
        self.lock = lock
        headFile = head
        self.mark = mark
        self.durable = durable
        pendingSequence = mark.sequence
    }

    /// True while a segment is open.
    var isOpen: Bool { file != nil }
    /// True when something written is not durable yet.
    var isDirty: Bool { mark != durable }
    /// Bytes that wait for `flush`.
    var pendingBytes: Int { pending.count }

    // MARK: Opening

    /// Takes the first lane of a log that no other process has, and mends its tail.
    static func open(log: String, now: Int64) throws(LogError) -> (lane: Lane, repair: LaneRepair) {
        try LogFiles.makeDirectory(log)
        for number in 0..<maxLanes {
            do throws(LogError) {
                return try open(LaneDirectory(log: log, number: number), now: now)
            } catch {
                if !error.isLocked { throw error }
            }
        }
        throw LogError("\(log): \(maxLanes) processes write this log already")
    }

    /// Processes that write a tenant's log at the same time.
    static let maxLanes = 64

    /// Takes a lane.
    /// - Throws: `isLocked` when another process has it.
    static func open(_ directory: LaneDirectory, now: Int64) throws(LogError) -> (lane: Lane, repair: LaneRepair) {
        try LogFiles.makeDirectory(directory.path)
        let lock = try LogFile(directory.lockPath, .update)
        try lock.lock()
        let head = LaneHead(directory)
        let tail = try LaneTail(directory, head)
        let headFile = try LogFile(directory.headPath, .update)
        let lane = Lane(
            directory, lock: lock, head: headFile, mark: tail.mark, durable: head?.durable ?? LaneMark())
        if let open = tail.open {
            let file = try LogFile(open.path, .write)
            if tail.repair.cutBytes > 0 { try file.truncate(to: tail.end) }
            lane.file = consume file
            lane.created = tail.created
            lane.unsealed = tail.unsealed
            lane.takeUnsealed()
        }
        if tail.repair.cutBytes > 0 || tail.repair.lost != nil {
            lane.append(
                .recovered,
                .record([
                    0: .number(tail.repair.cutBytes), 1: .number(now),
                    2: tail.repair.lost.map { .unsigned($0.lowerBound) },
                    3: tail.repair.lost.map { .unsigned($0.upperBound) },
                ]))
        }
        return (lane, tail.repair)
    }

    /// Puts the records that are in the file without a seal before all others.
    private func takeUnsealed() {
        if unsealed.isEmpty { return }
        pending.appendZeros(Digests.hashBytes)
        pending.append(unsealed)
        unsealedDecisions = 0
        var scanner = SegmentScanner(unsealed, from: 0, sequence: mark.sequence + 1)
        while case .record(let record) = scanner.next() {
            pendingRecords += 1
            pendingSequence = record.sequence
            if record.kind == RecordKind.decision.rawValue { unsealedDecisions += 1 }
        }
    }

    // MARK: Appending

    /// Appends a record to the next run.
    func append(_ kind: RecordKind, _ value: CBORValue) {
        scratch.removeAll()
        value.write(to: &scratch)
        unsafe append(kind, scratch.bytes.borrowed)
    }

    /// Appends a decision to the next run.
    func append(decision payload: UnsafeRawBufferPointer) {
        unsafe append(.decision, payload)
        pendingDecisions += 1
    }

    private func append(_ kind: RecordKind, _ payload: UnsafeRawBufferPointer) {
        if pending.count == 0 { pending.appendZeros(Digests.hashBytes) }
        pendingSequence += 1
        pendingRecords += 1
        let start = pending.count
        pending.append(word: UInt32(payload.count).littleEndian)
        pending.append(word: UInt32(0))
        pending.append(word: (pendingSequence << 8 | UInt64(kind.rawValue)).littleEndian)
        unsafe pending.append(payload)
        let bytes = unsafe pending.borrowed
        let sum = unsafe Digests.crc32c(
            UnsafeRawBufferPointer(rebasing: bytes[start..<start + 4]),
            UnsafeRawBufferPointer(rebasing: bytes[(start + 8)...]))
        pending.store(sum.littleEndian, at: start + 4)
    }

    /// Seals what was appended and writes it. On failure none of it is in the lane.
    /// - Throws: what the file system says; `pendingDecisions` was what is lost.
    func flush(now: Int64) throws(LogError) {
        if pendingRecords == 0 { return }
        do throws(LogError) {
            try writePending(now)
        } catch {
            // What part of it is in the file is written over by the next run.
            if file != nil { try? file?.truncate(to: mark.offset + unsealed.count) }
            drop()
            throw error
        }
    }

    private func writePending(_ now: Int64) throws(LogError) {
        if file == nil { try begin(now) }
        var next = mark
        for (index, byte) in mark.hash.enumerated() { pending.store(byte, at: index) }
        guard let hash = unsafe Digests.sha256(pending.borrowed) else { throw LogError("no memory for hashing") }
        appendSeal(hash)
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: pending.borrowed[(Digests.hashBytes + unsealed.count)...])
        try unsafe file?.write(bytes, at: mark.offset + unsealed.count)
        next.offset += pending.count - Digests.hashBytes
        next.sequence = pendingSequence
        next.hash = hash
        next.decisions += pendingDecisions + unsealedDecisions
        mark = next
        unsealed = []
        unsealedDecisions = 0
        drop()
        try writeHead()
        begun = min(begun, mark.offset)
        if mark.offset - begun >= Self.earlyWriteBytes {
            file?.beginWriting(mark.offset - begun, at: begun)
            begun = mark.offset
        }
    }

    private func appendSeal(_ hash: [UInt8]) {
        var payload: [UInt8] = []
        payload.store(pendingRecords)
        payload += hash
        unsafe payload.withUnsafeBytes { unsafe append(.seal, $0) }
    }

    /// Forgets what was appended.
    private func drop() {
        pending.removeAll()
        pendingRecords = 0
        pendingDecisions = 0
        pendingSequence = mark.sequence
        takeUnsealed()
    }

    private func writeHead() throws(LogError) {
        var head = LaneHead()
        head.written = mark
        head.durable = durable
        try headFile.write(head.encoded, at: 0)
    }

    // MARK: Segments

    private func begin(_ now: Int64) throws(LogError) {
        let header = SegmentHeader(
            number: mark.segment + 1, firstSequence: mark.sequence + 1, created: now, lane: directory.number,
            previous: mark.hash)
        guard !header.hash.isEmpty else { throw LogError("no memory for hashing") }
        let path = SegmentFile(directory.path, number: header.number, isCompressed: false).path
        do throws(LogError) {
            let file = try LogFile(path, .create)
            try file.write(header.bytes, at: 0)
            try LogFiles.syncDirectory(directory.path)
            self.file = consume file
        } catch {
            try? LogFiles.remove(path)
            throw error
        }
        mark.segment = header.number
        mark.offset = LogFormat.headerBytes
        mark.hash = header.hash
        mark.decisions = 0
        mark.isClosed = false
        created = now
    }

    /// Ends the current segment; the next record begins another.
    /// - Returns: the segment that is closed; nil when none was open.
    @discardableResult
    func close(now: Int64) throws(LogError) -> SegmentFile? {
        try flush(now: now)
        guard file != nil else { return nil }
        append(.closed, .record([0: .number(now), 1: .unsigned(mark.decisions)]))
        try flush(now: now)
        mark.isClosed = true
        try sync()
        file = nil
        return SegmentFile(directory.path, number: mark.segment, isCompressed: false)
    }

    /// Leaves the current segment as it is, because its file fails; the next record begins another.
    func abandon() { file = nil }

    /// Makes what was written durable.
    func sync() throws(LogError) {
        guard isDirty else { return }
        if file != nil { try file?.sync() }
        durable = mark
        try writeHead()
    }

    // MARK: Retention

    /// Removes the oldest segments, and records that before it does.
    /// - Parameter last: the last one to remove; closed, before the current one.
    func retire(_ segments: [SegmentFile], now: Int64) throws(LogError) {
        guard let first = segments.first, let last = segments.last else { return }
        let (hash, sequence) = try LaneTail.end(of: last)
        append(
            .retired,
            .record([
                0: .unsigned(first.number), 1: .unsigned(last.number), 2: .bytes(hash), 3: .unsigned(sequence),
                4: .number(now),
            ]))
        try flush(now: now)
        try sync()
        for segment in segments { try LogFiles.remove(segment.path) }
    }
}

/// The end of a lane as its files show it.
struct LaneTail {
    var mark = LaneMark()
    /// The segment to go on with; nil when the next record begins one.
    var open: SegmentFile?
    var created: Int64 = 0
    /// Where the file's good bytes end.
    var end = 0
    /// Good records after the last seal.
    var unsealed: [UInt8] = []
    var repair = LaneRepair()
    private var sawClosed = false

    init(_ directory: LaneDirectory, _ head: LaneHead?) throws(LogError) {
        var segments = directory.segments()
        while let last = segments.last {
            if let head, head.written.segment == last.number, isAsMarked(last, head.written) {
                mark = head.written
                if !mark.isClosed { open = last }
                end = mark.offset
                return
            }
            let bytes = try last.bytes()
            guard let header = SegmentHeader(bytes) else {
                // Never begun, or changed. Only what nothing was ever written to is removed.
                if let head, head.durable.segment >= last.number {
                    repair.evidence = "the header of segment \(last.number) is damaged"
                    mark = head.written
                    return
                }
                try LogFiles.remove(last.path)
                segments.removeLast()
                continue
            }
            scan(bytes, header, last, head.flatMap { $0.written.segment == last.number ? $0 : nil })
            return
        }
        // Everything is gone, or nothing has begun.
        if let head, head.written.segment > 0 {
            mark = head.written
            repair.evidence = "every segment up to \(mark.segment) is missing"
        }
    }

    private mutating func isAsMarked(_ file: SegmentFile, _ mark: LaneMark) -> Bool {
        if file.isCompressed { return mark.isClosed }
        guard let facts = LogFiles.facts(file.path), facts.count == mark.offset,
            let opened = try? LogFile(file.path, .read),
            let bytes = try? opened.read(LogFormat.headerBytes, at: 0), let header = SegmentHeader(bytes),
            header.number == file.number
        else { return false }
        created = header.created
        return true
    }

    /// Finds the last seal, what follows it, and where good bytes end.
    private mutating func scan(_ bytes: [UInt8], _ header: SegmentHeader, _ file: SegmentFile, _ head: LaneHead?) {
        created = header.created
        mark.segment = file.number
        mark.hash = header.hash
        mark.offset = LogFormat.headerBytes
        mark.sequence = header.firstSequence - 1
        end = mark.offset
        var last = mark.sequence
        var damage: Int?
        var scanner = SegmentScanner(bytes, from: mark.offset, sequence: header.firstSequence)
        scanning: while true {
            switch scanner.next() {
            case .end: break scanning
            case .damage(let range):
                if range.upperBound < bytes.count {
                    // Good records behind bad bytes: no crash does that.
                    repair.evidence = "segment \(file.number) is damaged at byte \(range.lowerBound)"
                }
                damage = damage ?? range.lowerBound
            case .record(let record):
                last = record.sequence
                if damage == nil { end = record.range.upperBound }
                note(record, bytes, damage == nil)
            }
        }
        if let damage, let head, damage < head.durable.offset {
            repair.evidence = repair.evidence ?? "segment \(file.number) is damaged at byte \(damage)"
        } else if damage == nil, let head, end < head.durable.offset {
            repair.evidence = "segment \(file.number) ends at byte \(end), though \(head.durable.offset) were durable"
        }
        if repair.evidence != nil {
            // Left as it is for `verify`. The chain goes on behind what the head knows.
            if let head, head.written.sequence >= last { mark = head.written }
            mark.sequence = max(mark.sequence, last)
            return
        }
        if mark.isClosed || file.isCompressed { return }
        open = file
        repair.cutBytes = bytes.count - end
        unsealed = Array(bytes[mark.offset..<end])
        if let head, head.written.sequence > last { repair.lost = last + 1...head.written.sequence }
    }

    private mutating func note(_ record: LogRecord, _ bytes: [UInt8], _ isWhole: Bool) {
        switch RecordKind(rawValue: record.kind) {
        case .decision:
            if isWhole { mark.decisions += 1 }
        case .closed: sawClosed = true
        case .seal:
            guard isWhole, let seal = LogSeal(bytes[record.payload]) else { return }
            mark.hash = seal.hash
            mark.offset = record.range.upperBound
            mark.sequence = record.sequence
            mark.isClosed = sawClosed
        default: break
        }
    }

    /// The chain's hash and the last sequence at the end of a closed segment.
    static func end(of file: SegmentFile) throws(LogError) -> (hash: [UInt8], sequence: UInt64) {
        let bytes = try file.bytes()
        guard let header = SegmentHeader(bytes) else { return (LogFormat.noHash, 0) }
        var hash = header.hash
        var sequence = header.firstSequence - 1
        var scanner = SegmentScanner(bytes, from: LogFormat.headerBytes, sequence: header.firstSequence)
        while true {
            switch scanner.next() {
            case .end: return (hash, sequence)
            case .damage: continue
            case .record(let record):
                sequence = record.sequence
                if record.kind == RecordKind.seal.rawValue, let seal = LogSeal(bytes[record.payload]) {
                    hash = seal.hash
                }
            }
        }
    }
}
