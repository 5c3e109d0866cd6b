// Is a log as it was written? Checks every record's sum, the order of sequences, every seal of the chain, the links
// between segments, and the end against the head; names what is wrong and where.

import CBOR

/// Something wrong with a log, or worth knowing.
package struct LogFinding: Sendable, Hashable {
    /// The kinds; the raw value is stable.
    package enum Kind: String, Sendable, Hashable {
        case changedBytes = "changed_bytes"
        case missingRecords = "missing_records"
        case reorderedRecords = "reordered_records"
        case brokenSeal = "broken_seal"
        case missingSegment = "missing_segment"
        case wrongSegment = "wrong_segment"
        case brokenLink = "broken_link"
        case missingTail = "missing_tail"
        case missingHead = "missing_head"
        case unreadable = "unreadable"
        case unknownHash = "unknown_hash"
        /// What follows is no finding: it was noted by the writer, or it is being written.
        case tornTail = "torn_tail"
        case lostDecisions = "lost_decisions"
        case mended = "mended"

        /// True when the log is not as it was written.
        package var isTampering: Bool {
            switch self {
            case .tornTail, .lostDecisions, .mended: false
            default: true
            }
        }
    }

    package var kind: Kind
    /// `lane 0, segment 3, byte 4711`
    package var place: String
    package var text: String
}

/// What a verification saw.
package struct LogVerification: Sendable {
    package var lanes = 0
    package var segments = 0
    package var records = 0
    package var decisions = 0
    /// Decisions that the writer noted as lost.
    package var lost: UInt64 = 0
    /// The chain's hash at the end of each lane.
    package var heads: [(lane: Int, sequence: UInt64, hash: String)] = []
    package var findings: [LogFinding] = []

    package init() {}

    /// True when the log is as it was written.
    package var isIntact: Bool { !findings.contains { $0.kind.isTampering } }
}

/// Verifies a tenant's log.
package struct LogVerifier {
    private let path: String
    /// A hash noted elsewhere that must be in the chain.
    private let seen: String?
    private var report = LogVerification()
    private var hasSeen = false

    /// - Parameter seen: a chain's hash that was noted before, in hexadecimal; the log must still contain it.
    package init(_ path: String, seen: String? = nil) {
        self.path = path
        self.seen = seen?.lowercased()
    }

    /// Reads everything.
    /// - Parameter progress: told after each segment.
    package mutating func run(progress: (_ segment: String) -> Void = { _ in }) -> LogVerification {
        for directory in LaneDirectory.all(in: path) {
            // Lanes are taken in order: before each there was another.
            if directory.number > (report.heads.last?.lane ?? -1) + 1 {
                report.findings.append(
                    LogFinding(
                        kind: .missingSegment, place: "lane \(directory.number - 1)", text: "the whole lane is missing")
                )
            }
            report.lanes += 1
            // The head first: what it names must be there when the segments are read after it.
            let head = LaneHead(directory)
            var lane = LaneVerifier(directory, seen: seen)
            lane.run(head, progress)
            report.segments += lane.segments
            report.records += lane.records
            report.decisions += lane.decisions
            report.lost += lane.lost
            report.findings += lane.findings
            hasSeen = hasSeen || lane.hasSeen
            report.heads.append((directory.number, lane.sequence, LogChain.text(lane.hash)))
        }
        if let seen, !hasSeen {
            report.findings.append(
                LogFinding(
                    kind: .unknownHash, place: path,
                    text:
                        "the chain does not contain \(seen): what was written up to there has been removed or rewritten"
                ))
        }
        return report
    }
}

/// Verifies one lane.
private struct LaneVerifier {
    private let directory: LaneDirectory
    private let seen: String?
    private(set) var segments = 0
    private(set) var records = 0
    private(set) var decisions = 0
    private(set) var lost: UInt64 = 0
    private(set) var findings: [LogFinding] = []
    private(set) var hasSeen = false
    /// The chain so far, and the last sequence of it.
    private(set) var hash = LogFormat.noHash
    private(set) var sequence: UInt64 = 0
    private var lastSegment: UInt64 = 0
    /// Segments that the log says retention has removed: the last one's number, hash and sequence.
    private var retired: [(last: UInt64, hash: [UInt8], sequence: UInt64)] = []
    private var missingBefore: (first: SegmentHeader, place: String)?
    /// Chain and sequence at the last seal, and every sealed sequence that the head may name.
    private var isSealed = true
    private var headHashFound = false

    init(_ directory: LaneDirectory, seen: String?) {
        self.directory = directory
        self.seen = seen
    }

    mutating func run(_ head: LaneHead?, _ progress: (String) -> Void) {
        let files = directory.segments()
        for file in files {
            progress("\(directory.path)/\(SegmentFile.name(file.number))")
            read(file, isLast: file == files.last, head)
        }
        checkBeginning()
        checkEnd(head, isEmpty: files.isEmpty)
    }

    private mutating func find(_ kind: LogFinding.Kind, _ place: String, _ text: String) {
        findings.append(LogFinding(kind: kind, place: "lane \(directory.number)\(place)", text: text))
    }

    // MARK: Segments

    private mutating func read(_ file: SegmentFile, isLast: Bool, _ head: LaneHead?) {
        segments += 1
        let place = ", segment \(file.number)"
        let bytes: [UInt8]
        do throws(LogError) {
            bytes = try file.bytes()
        } catch {
            // Removed by retention between listing and reading: the log says so further on.
            if error.isMissing { return }
            if lastSegment > 0, file.number > lastSegment + 1 { missing(lastSegment + 1, file.number - 1) }
            lastSegment = file.number
            isSealed = false
            return find(.unreadable, place, "\(error)")
        }
        guard let header = SegmentHeader(bytes) else {
            if isLast, bytes.count <= LogFormat.headerBytes, head?.written.segment ?? 0 < file.number {
                return find(.tornTail, place, "has no whole header yet: a crash, or it is being begun")
            }
            lastSegment = file.number
            isSealed = false
            return find(.changedBytes, place, "its header was changed or cut off")
        }
        link(header, file, place)
        walk(bytes, header, place, isLast: isLast, head)
        lastSegment = file.number
    }

    private mutating func missing(_ first: UInt64, _ last: UInt64) {
        find(
            .missingSegment, "",
            first == last ? "segment \(first) is missing" : "segments \(first) to \(last) are missing")
    }

    /// Compares a header with what came before it.
    private mutating func link(_ header: SegmentHeader, _ file: SegmentFile, _ place: String) {
        if header.number != file.number || header.lane != directory.number {
            find(
                .wrongSegment, place,
                "holds segment \(header.number) of lane \(header.lane): files were exchanged or renamed")
        } else if segments == 1 {
            if file.number > 1 { missingBefore = (header, place) }
        } else if file.number > lastSegment + 1 {
            missing(lastSegment + 1, file.number - 1)
        } else if isSealed, header.firstSequence != sequence + 1 {
            find(
                .missingRecords, place,
                "begins with record \(header.firstSequence), though the one before ends with \(sequence)")
        } else if isSealed, header.previous != hash {
            find(.brokenLink, place, "does not follow the segment before it: one of them was exchanged or rewritten")
        }
        hash = header.hash
        sequence = header.firstSequence - 1
        isSealed = true
        note(hash)
    }

    private mutating func note(_ hash: [UInt8]) {
        if let seen, LogChain.text(hash) == seen { hasSeen = true }
    }

    // MARK: Records

    private mutating func walk(
        _ bytes: [UInt8], _ header: SegmentHeader, _ place: String, isLast: Bool, _ head: LaneHead?
    ) {
        var scanner = SegmentScanner(bytes, from: LogFormat.headerBytes, sequence: header.firstSequence)
        var run = LogFormat.headerBytes
        var runRecords: UInt64 = 0
        var isRunWhole = true
        var runStart = header.firstSequence
        walking: while true {
            switch scanner.next() {
            case .end: break walking
            case .damage(let range):
                if isTail(range, bytes, isLast, head, header) {
                    find(
                        .tornTail, "\(place), byte \(range.lowerBound)",
                        "\(range.count) bytes after record \(sequence) are no whole record: a crash, or it is being written"
                    )
                    break walking
                }
                isRunWhole = false
                find(
                    .changedBytes, "\(place), bytes \(range.lowerBound) to \(range.upperBound - 1)",
                    "are not what was written as record \(sequence + 1)")
            case .record(let record):
                check(record, bytes, place, isRunWhole)
                guard record.kind == RecordKind.seal.rawValue else {
                    runRecords += 1
                    continue
                }
                seal(record, bytes, run..<record.range.lowerBound, runRecords, isRunWhole, runStart, place)
                run = record.range.upperBound
                runRecords = 0
                isRunWhole = true
                runStart = record.sequence + 1
            }
        }
        guard runRecords > 0 || !isRunWhole else { return }
        if !isLast {
            find(.brokenSeal, place, "records \(runStart) to \(sequence) at its end have no seal: it was cut off")
            isSealed = false
        }
    }

    /// True for what a crash leaves: bytes at the very end that the head does not vouch for.
    private func isTail(
        _ range: Range<Int>, _ bytes: [UInt8], _ isLast: Bool, _ head: LaneHead?, _ header: SegmentHeader
    ) -> Bool {
        guard isLast, range.upperBound == bytes.count else { return false }
        guard let head, head.durable.segment >= header.number else { return true }
        return head.durable.segment == header.number && range.lowerBound >= head.durable.offset
    }

    private mutating func check(_ record: LogRecord, _ bytes: [UInt8], _ place: String, _ isRunWhole: Bool) {
        let byte = "\(place), byte \(record.range.lowerBound)"
        if record.sequence <= sequence {
            find(.reorderedRecords, byte, "record \(record.sequence) stands after record \(sequence)")
        } else if record.sequence > sequence + 1, isRunWhole {
            // Where bytes were changed, that has been told.
            let last = record.sequence - 1
            find(
                .missingRecords, byte,
                last == sequence + 1 ? "record \(last) is missing" : "records \(sequence + 1) to \(last) are missing")
        }
        sequence = record.sequence
        records += 1
        let payload = { Array(bytes[record.payload]) }
        switch RecordKind(rawValue: record.kind) {
        case .decision: decisions += 1
        case .retired:
            guard let value = try? CBORValue.decode(payload()), let last = value[1]?.uint,
                case .bytes(let hash)? = value[2]
            else { return }
            retired.append((last, hash, value[3]?.uint ?? 0))
        case .loss, .recovered:
            guard let kind = RecordKind(rawValue: record.kind), let event = LogEvent(kind, payload()) else { return }
            lost += event.count
            find(kind == .loss ? .lostDecisions : .mended, "\(place), record \(record.sequence)", event.text)
        default: break
        }
    }

    private mutating func seal(
        _ record: LogRecord, _ bytes: [UInt8], _ run: Range<Int>, _ count: UInt64, _ isRunWhole: Bool,
        _ first: UInt64, _ place: String
    ) {
        guard let seal = LogSeal(bytes[record.payload]) else {
            return find(.brokenSeal, "\(place), record \(record.sequence)", "is no seal that can be read")
        }
        // Told already where the bytes themselves do not add up. The chain goes on with what the seal says.
        if isRunWhole, LogSeal.hash(hash, bytes[run]) != seal.hash || seal.records != count {
            find(
                .brokenSeal, "\(place), record \(record.sequence)",
                "the seal does not fit records \(first) to \(record.sequence - 1): they were changed, removed or added to"
            )
        }
        hash = seal.hash
        note(hash)
    }

    // MARK: Both ends

    private mutating func checkBeginning() {
        guard let (first, place) = missingBefore else { return }
        guard let known = retired.first(where: { $0.last == first.number - 1 }) else {
            return missing(1, first.number - 1)
        }
        if known.hash != first.previous || known.sequence != first.firstSequence - 1 {
            find(.brokenLink, place, "does not follow the segments that retention has removed")
        }
    }

    private mutating func checkEnd(_ head: LaneHead?, isEmpty: Bool) {
        guard let head else {
            if !isEmpty {
                find(
                    .missingHead, "",
                    "has no head that can be read: whether something is missing at the end cannot be seen")
            }
            return
        }
        let mark = head.written
        if mark.segment == 0 { return }
        if isEmpty { return missing(1, mark.segment) }
        if mark.segment > lastSegment { missing(lastSegment + 1, mark.segment) }
        guard mark.sequence > sequence else { return }
        let isDurable = head.durable.sequence > sequence
        find(
            .missingTail, "",
            "ends with record \(sequence), though \(mark.sequence) were written: records \(sequence + 1) to \(mark.sequence) "
                + (isDurable
                    ? "were removed" : "were removed, or lost with a crash of the machine before they were durable"))
    }
}
