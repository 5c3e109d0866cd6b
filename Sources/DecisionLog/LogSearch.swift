// Finds one decision by its id. Ids are random, so nothing leads to the segment: all are looked through, newest first, for
// the id's bytes, and records are only taken apart where those were found.
//
// INVARIANT of this unsafe file: the pointers given to `stile_find` are those of an array that is borrowed for the call.

import CLinux
import DecisionProtocol

/// What a search through a log found.
package struct LogSearch: Sendable {
    /// The decision; nil when the log does not hold it.
    package private(set) var found: LoggedDecision?
    /// Segments and bytes (decompressed) that were looked through.
    package private(set) var segments = 0
    package private(set) var bytes = 0
    /// Segments that could not be read, in words.
    package private(set) var unreadable: [String] = []
    /// Where the decision was not found: what speaks for its having been made all the same.
    package private(set) var gaps = Gaps()
    /// It was ended before it had looked through all.
    package private(set) var isInterrupted = false

    /// What a log does not hold.
    package struct Gaps: Sendable, Hashable {
        /// It was told to hold one of so many decisions at some time; nil when never.
        package var sampledRate: UInt64?
        /// Decisions that it counts as lost.
        package var lost: UInt64 = 0
        /// Retention has removed segments.
        package var isCutOff = false
        /// The instant of its first entry, ms since the epoch.
        package var begin: Int64?
    }

    /// Looks for a decision.
    /// - Parameters:
    ///   - path: the directory of a tenant's log.
    ///   - id: the decision's id, 16 bytes.
    ///   - isDue: asked before each segment whether to end.
    ///   - progress: told before each segment, how many of how many were looked through.
    package init(
        _ path: String, for id: [UInt8], isDue: () -> Bool = { false },
        progress: (_ done: Int, _ all: Int) -> Void = { _, _ in }
    ) {
        let lanes = LaneDirectory.all(in: path).map { (lane: $0, segments: $0.segments()) }
        let all = lanes.flatMap { entry in entry.segments.map { (lane: entry.lane, segment: $0) } }
            .sorted { ($0.segment.number, $0.lane.number) > ($1.segment.number, $1.lane.number) }
        // As CBOR has it: a byte string of 16 bytes.
        let needle = [0x50] + id
        for (index, place) in all.enumerated() {
            progress(index, all.count)
            isInterrupted = isDue()
            if isInterrupted { return }
            guard let bytes = read(place.segment) else { continue }
            segments += 1
            self.bytes += bytes.count
            if let decision = Self.find(needle, id, in: bytes, place.lane, place.segment) {
                found = decision
                return
            }
        }
        for (index, place) in all.enumerated() {
            progress(index, all.count)
            isInterrupted = isDue()
            if isInterrupted { return }
            if let bytes = read(place.segment) { look(bytes) }
        }
    }

    private mutating func read(_ segment: SegmentFile) -> [UInt8]? {
        do throws(LogError) {
            return try segment.bytes()
        } catch {
            if !unreadable.contains("\(error)") { unreadable.append("\(error)") }
            return nil
        }
    }

    /// The decision with an id in a segment.
    private static func find(
        _ needle: [UInt8], _ id: [UInt8], in bytes: [UInt8], _ lane: LaneDirectory, _ segment: SegmentFile
    ) -> LoggedDecision? {
        guard var place = offset(of: needle, in: bytes, from: 0), let header = SegmentHeader(bytes) else { return nil }
        var scanner = SegmentScanner(bytes, from: LogFormat.headerBytes, sequence: header.firstSequence)
        while true {
            switch scanner.next() {
            case .end: return nil
            case .damage: break
            case .record(let record):
                if record.range.upperBound <= place { continue }
                if record.kind == RecordKind.decision.rawValue,
                    var decision = LoggedDecision(payload: Array(bytes[record.payload])),
                    decision.answer.decisionID == id
                {
                    decision.lane = lane.number
                    decision.segment = segment.number
                    decision.sequence = record.sequence
                    return decision
                }
            }
            // The bytes were those of something else, or damaged.
            while place < scanner.offset {
                guard let next = offset(of: needle, in: bytes, from: scanner.offset) else { return nil }
                place = next
            }
        }
    }

    private static func offset(of needle: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard start <= bytes.count else { return nil }
        return unsafe bytes.withUnsafeBytes { buffer in
            unsafe needle.withUnsafeBytes { sought in
                let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[start...])
                let place = unsafe stile_find(rest.baseAddress, rest.count, sought.baseAddress, sought.count)
                return place < 0 ? nil : start + Int(place)
            }
        }
    }

    /// Takes down what a segment says beside decisions.
    private mutating func look(_ bytes: [UInt8]) {
        guard let header = SegmentHeader(bytes) else { return }
        gaps.begin = min(gaps.begin ?? .max, header.created)
        var scanner = SegmentScanner(bytes, from: LogFormat.headerBytes, sequence: header.firstSequence)
        while true {
            switch scanner.next() {
            case .end: return
            case .damage: continue
            case .record(let record):
                guard let kind = RecordKind(rawValue: record.kind), kind != .seal, kind != .decision,
                    let event = LogEvent(kind, Array(bytes[record.payload]))
                else { continue }
                if kind == .retired { gaps.isCutOff = true }
                gaps.lost += event.count
                if let rate = event.sampledRate { gaps.sampledRate = max(gaps.sampledRate ?? 0, rate) }
            }
        }
    }
}
