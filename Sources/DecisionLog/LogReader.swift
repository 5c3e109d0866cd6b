// Reads a log from its beginning, or from where it had ended before: all lanes in one stream, by time.

import CBOR
import DecisionPath

/// Something a log says.
package enum LogEntry: Sendable, Hashable {
    case decision(LoggedDecision)
    case event(LogEvent)
}

/// What the writer noted beside decisions.
package struct LogEvent: Sendable, Hashable {
    package var kind: RecordKind
    /// ms since the epoch
    package var time: Int64
    /// In words.
    package var text: String
    /// Decisions lost, where the event is about that.
    package var count: UInt64
    /// Where a process began to write one of so many decisions.
    package var sampledRate: UInt64?

    init?(_ kind: RecordKind, _ payload: [UInt8]) {
        guard kind != .seal, kind != .decision, let value = try? CBORValue.decode(payload) else { return nil }
        self.kind = kind
        count = 0
        switch kind {
        case .loss:
            time = value[2]?.int ?? 0
            count = value[0]?.uint ?? 0
            text = "\(count) decisions were lost (\(value[1]?.text ?? "unknown"))"
        case .retired:
            time = value[4]?.int ?? 0
            text = "segments \(value[0]?.uint ?? 0) to \(value[1]?.uint ?? 0) were removed, as retention says"
        case .recovered:
            time = value[1]?.int ?? 0
            text = "the tail was mended after a crash: \(value[0]?.uint ?? 0) bytes of a torn record cut off"
            if let first = value[2]?.uint, let last = value[3]?.uint, last >= first {
                count = last - first + 1
                text += "; records \(first) to \(last) were lost"
            }
        case .opened:
            time = value[0]?.int ?? 0
            if case .sampled(let rate)? = RecordingMode(text: value[2]?.text ?? "") { sampledRate = rate }
            text =
                "\(value[1]?.text ?? "stiled") logs \(value[2]?.text ?? "every"), durable \(value[3]?.text ?? "unknown")"
        case .closed:
            time = value[0]?.int ?? 0
            text = "the segment ends with \(value[1]?.uint ?? 0) decisions"
        case .decision, .seal: return nil
        }
    }
}

/// A log being read.
package final class LogReader {
    private let path: String
    private let since: Int64?
    private var cursors: [LaneCursor] = []
    /// The next entry of each lane.
    private var heads: [LogEntry?] = []

    /// - Parameters:
    ///   - path: the directory of a tenant's log.
    ///   - since: segments that were finished before this instant (ms since the epoch) are not looked at.
    package init(_ path: String, since: Int64? = nil) {
        self.path = path
        self.since = since
    }

    /// Places where bytes are no records; `stile log verify` says which.
    package var damaged: Int { cursors.reduce(0) { $0 + $1.damaged } }

    /// The next entry, or nil when there is none now; more may come.
    package func next() throws(LogError) -> LogEntry? {
        takeNewLanes()
        var best: Int?
        for index in cursors.indices {
            if heads[index] == nil { heads[index] = try cursors[index].next() }
            guard let head = heads[index] else { continue }
            if let known = best, let other = heads[known], Self.time(other) <= Self.time(head) { continue }
            best = index
        }
        guard let best else { return nil }
        defer { heads[best] = nil }
        return heads[best]
    }

    private func takeNewLanes() {
        // Looked for only where all is read: a lane that appears is a process that begins.
        guard heads.allSatisfy({ $0 == nil }) else { return }
        for lane in LaneDirectory.all(in: path) where !cursors.contains(where: { $0.lane == lane }) {
            cursors.append(LaneCursor(lane, since: since))
            heads.append(nil)
        }
    }

    private static func time(_ entry: LogEntry) -> Int64 {
        switch entry {
        case .decision(let decision): decision.time
        case .event(let event): event.time
        }
    }
}

/// A place in a lane.
struct LaneCursor {
    let lane: LaneDirectory
    private(set) var damaged = 0
    private var segment: SegmentFile?
    /// How far the segment was read, and the sequence that comes next.
    private var offset = 0
    private var expected: UInt64 = 0
    private var scanner: SegmentScanner?
    /// Where the scanner's bytes begin in the segment.
    private var base = 0
    private let since: Int64?

    init(_ lane: LaneDirectory, since: Int64?) {
        self.lane = lane
        self.since = since
    }

    mutating func next() throws(LogError) -> LogEntry? {
        while true {
            if scanner == nil {
                guard try segment == nil ? advance() : refill() else { return nil }
            }
            guard let item = scanner?.next() else { return nil }
            switch item {
            case .record(let record):
                offset = base + record.range.upperBound
                expected = record.sequence + 1
                if let entry = entry(record) { return entry }
            case .damage(let range):
                if range.upperBound < scanner?.bytes.count ?? 0 || isFollowed {
                    damaged += 1
                    offset = base + range.upperBound
                } else {
                    // The end of what is being written, or of what a crash has left.
                    scanner = nil
                    return nil
                }
            case .end:
                scanner = nil
                // What was written before the next segment began is read first.
                let isFollowed = isFollowed
                if try refill() { continue }
                guard isFollowed, try advance() else { return nil }
            }
        }
    }

    /// True when a later segment has begun.
    private var isFollowed: Bool { lane.segments().last.map { $0.number > segment?.number ?? 0 } ?? false }

    private func entry(_ record: LogRecord) -> LogEntry? {
        guard let scanner, let segment, let kind = RecordKind(rawValue: record.kind) else { return nil }
        let payload = Array(scanner.bytes[record.payload])
        guard kind == .decision else { return LogEvent(kind, payload).map { .event($0) } }
        guard var decision = LoggedDecision(payload: payload) else { return nil }
        decision.lane = lane.number
        decision.segment = segment.number
        decision.sequence = record.sequence
        return .decision(decision)
    }

    /// Goes to the next segment that is of interest.
    private mutating func advance() throws(LogError) -> Bool {
        let segments = lane.segments()
        for next in segments where next.number > segment?.number ?? 0 {
            if let since, next != segments.last, let facts = LogFiles.facts(next.path), facts.modified < since {
                segment = next
                continue
            }
            let bytes = try next.bytes()
            guard let header = SegmentHeader(bytes) else {
                if next == segments.last { return false }
                damaged += 1
                segment = next
                continue
            }
            segment = next
            base = 0
            offset = LogFormat.headerBytes
            expected = header.firstSequence
            scanner = SegmentScanner(bytes, from: offset, sequence: expected)
            return true
        }
        return false
    }

    /// Reads what was added to the segment since.
    private mutating func refill() throws(LogError) -> Bool {
        guard let segment else { return false }
        var bytes: [UInt8] = []
        if !segment.isCompressed, let file = try? LogFile(segment.path, .read) {
            bytes = try file.read(max(0, file.count - offset), at: offset)
        } else if !segment.isCompressed {
            let whole = try segment.bytes()
            bytes = Array(whole[min(offset, whole.count)...])
        }
        guard !bytes.isEmpty else { return false }
        base = offset
        scanner = SegmentScanner(bytes, from: 0, sequence: expected)
        return true
    }
}
