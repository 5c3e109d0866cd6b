// Looks after segments that are closed: compresses them, and removes the oldest when they are too old or too many.
// Works a little at a time on the log's thread, also in lanes that no process writes any more.

import AttributeStore
import CBOR

/// Compression and retention.
final class Housekeeper {
    /// Bytes that are compressed in one step.
    private static let stepBytes = 256 << 10
    /// Milliseconds between two rounds over all logs.
    private static let roundInterval: Int64 = 600_000

    private let log: DecisionLog
    private var job: CompressionJob?
    /// Segments to compress; a lane that is kept keeps its lock.
    private var queue: [(segment: SegmentFile, lane: Lane)] = []
    private var lanes: [LaneDirectory] = []
    private var nextRound: Int64 = 0

    init(_ log: DecisionLog) { self.log = log }

    /// True while there is something to compress.
    var hasJob: Bool { job != nil || !queue.isEmpty }

    /// A segment of a lane of this process was closed.
    func closed(_ segment: SegmentFile, _ lane: Lane) {
        if log.settings.compresses { queue.append((segment, lane)) }
        if !lanes.contains(lane.directory) { lanes.append(lane.directory) }
    }

    /// Looks after one lane, or begins a round.
    /// - Parameter own: the lane of this process in a directory.
    func work(_ now: Int64, own: (String) -> Lane?) {
        if lanes.isEmpty {
            guard now >= nextRound else { return }
            nextRound = now + Self.roundInterval
            lanes = allLanes()
            return
        }
        let directory = lanes.removeLast()
        do throws(LogError) {
            try look(directory, now, own(directory.path))
        } catch {
            if error.isLocked { return }
            log.tell(LogNotice(isError: true, text: "decision log, \(directory.path): \(error)"))
        }
    }

    private func allLanes() -> [LaneDirectory] {
        let root = log.place.directory ?? "\(log.place.store.path)/tenants"
        return LogFiles.list(root).flatMap { LaneDirectory.all(in: log.place.path(of: $0)) }
    }

    private func look(_ directory: LaneDirectory, _ now: Int64, _ own: Lane?) throws(LogError) {
        let segments = directory.segments()
        guard let newest = segments.last else { return }
        let head = LaneHead(directory)
        // The newest segment is the one being written, unless its end is written.
        let isNewestClosed =
            newest.isCompressed || head?.written.segment == newest.number && head?.written.isClosed == true
        let closed = isNewestClosed ? segments : Array(segments.dropLast())
        let old = expired(closed, segments, now)
        let plain = log.settings.compresses ? closed.filter { !$0.isCompressed && !old.contains($0) } : []
        let isOverdue = own == nil && !isNewestClosed && isOverdue(newest, head, now)
        if old.isEmpty, plain.isEmpty, !isOverdue { return }
        let lane: Lane
        if let own { lane = own } else { lane = try open(directory, now) }
        if isOverdue, let segment = try lane.close(now: now), log.settings.compresses { queue.append((segment, lane)) }
        try lane.retire(old, now: now)
        for segment in plain where !queue.contains(where: { $0.segment == segment }) { queue.append((segment, lane)) }
    }

    /// A lane that no process writes.
    private func open(_ directory: LaneDirectory, _ now: Int64) throws(LogError) -> Lane {
        let (lane, repair) = try Lane.open(directory, now: now)
        log.report(repair, directory)
        try lane.flush(now: now)
        return lane
    }

    /// The oldest segments that retention lets go.
    private func expired(_ closed: [SegmentFile], _ all: [SegmentFile], _ now: Int64) -> [SegmentFile] {
        var total = all.reduce(0) { $0 + (LogFiles.facts($1.path)?.count ?? 0) }
        var expired: [SegmentFile] = []
        for segment in closed {
            guard let facts = LogFiles.facts(segment.path), segment.path != job?.segment.path else { break }
            guard now - facts.modified > log.settings.keepAge || total > log.settings.keepBytes else { break }
            total -= facts.count
            expired.append(segment)
        }
        return expired
    }

    private func isOverdue(_ newest: SegmentFile, _ head: LaneHead?, _ now: Int64) -> Bool {
        guard let head, head.written.decisions > 0, let facts = LogFiles.facts(newest.path) else { return false }
        return now - facts.modified > log.settings.segmentAge
    }

    // MARK: Compression

    /// Compresses one step further.
    func step() {
        do throws(LogError) {
            if job == nil {
                guard let next = queue.first else { return }
                queue.removeFirst()
                guard LogFiles.facts(next.segment.path) != nil else { return }
                job = try CompressionJob(next.segment, next.lane)
            }
            if try job?.step(Self.stepBytes) ?? true { job = nil }
        } catch {
            log.tell(
                LogNotice(isError: true, text: "decision log: a closed segment stays uncompressed: \(error)"))
            job = nil
        }
    }
}

/// One segment on its way to being compressed.
final class CompressionJob {
    let segment: SegmentFile
    /// Kept for its lock.
    private let lane: Lane
    private let source: LogFile
    private let target: LogFile
    private var compressor: ZstandardCompressor
    private let count: Int
    private var read = 0
    private var written = 0
    private let temporary: String

    init(_ segment: SegmentFile, _ lane: Lane) throws(LogError) {
        self.segment = segment
        self.lane = lane
        temporary = "\(segment.path).zst.new"
        source = try LogFile(segment.path, .read)
        count = source.count
        target = try LogFile(temporary, .create)
        compressor = try ZstandardCompressor(count: count)
    }

    /// Compresses some bytes more.
    /// - Returns: true when the compressed segment has taken the plain one's place.
    func step(_ bytes: Int) throws(LogError) -> Bool {
        do throws(LogError) {
            let piece = try source.read(min(bytes, count - read), at: read)
            guard !piece.isEmpty || read == count else { throw LogError("\(segment.path) has become shorter") }
            read += piece.count
            let compressed = try compressor.compress(piece, isLast: read == count)
            try target.write(compressed, at: written)
            written += compressed.count
            guard read == count else { return false }
            // Retention goes by the time of the last record, which is the plain file's.
            target.setModified(source.modified)
            try target.sync()
            try LogFiles.move(temporary, to: "\(segment.path).zst")
            try LogFiles.syncDirectory(lane.directory.path)
            try LogFiles.remove(segment.path)
            return true
        } catch {
            try? LogFiles.remove(temporary)
            throw error
        }
    }
}
