// The format of the log's files. All numbers are little-endian.
//
// A log has lanes, one for each process that writes at the same time: `lane-0/`, `lane-1/`. A lane is a chain of
// segments, `0000000001.log`, `0000000002.log.zst`, and a `head`.
//
// A segment is a header and records:
//
//    0  "STILELOG"                        0  u32 bytes of the payload
//    8  u32 format, 1                     4  u32 CRC-32C of bytes 0 to 4 and 8 to the end
//   12  u32 CRC-32C of the others         8  u64 sequence << 8 | kind
//   16  u64 number of the segment        16  the payload
//   24  u64 sequence of its first record
//   32  i64 made, ms since the epoch
//   40  u64 number of the lane
//   48  the chain's hash before it, 32 bytes
//   80  SHA-256 of bytes 48 to 80, 0 to 12 and 16 to 48
//
// Sequences grow by one from record to record over all segments of a lane. A *seal* follows each run of records that
// was written together. Its payload is the number of records since the seal before and the chain's new hash:
// SHA-256 of the hash before it and of those records. The header's hash stands before the first record.

import CBOR
import Memory

/// Numbers of the format.
enum LogFormat {
    static let magic: [UInt8] = Array("STILELOG".utf8)
    static let version: UInt32 = 1
    static let headerBytes = 128
    static let recordHeadBytes = 16
    static let sealPayloadBytes = 40
    /// The longest payload.
    static let maxPayloadBytes = 1 << 20
    /// The longest segment that is read.
    static let maxSegmentBytes = (1 << 30) + (16 << 20)
    /// The hash before the first segment.
    static let noHash = [UInt8](repeating: 0, count: Digests.hashBytes)
}

/// What a record is.
package enum RecordKind: UInt8, Sendable, CaseIterable {
    /// CBOR: see `DecisionEncoder`.
    case decision = 1
    /// u64 records since the last seal, the chain's hash.
    case seal = 2
    /// Decisions that were not written: `{0: count, 1: cause, 2: ms}`.
    case loss = 3
    /// Segments that retention removes: `{0: first, 1: last, 2: the last one's hash, 3: its last sequence, 4: ms}`.
    case retired = 4
    /// The tail was mended after a crash: `{0: bytes cut, 1: ms, 2: first sequence lost, 3: last sequence lost}`.
    case recovered = 5
    /// A process begins to write: `{0: ms, 1: software, 2: mode, 3: sync}`.
    case opened = 6
    /// The segment ends: `{0: ms, 1: decisions in it}`.
    case closed = 7
}

/// A segment's header.
struct SegmentHeader: Sendable, Hashable {
    var number: UInt64
    var firstSequence: UInt64
    /// ms since the epoch
    var created: Int64
    var lane: Int
    /// The chain's hash before this segment.
    var previous: [UInt8]
    /// The chain's hash with this header.
    private(set) var hash: [UInt8] = []

    init(number: UInt64, firstSequence: UInt64, created: Int64, lane: Int, previous: [UInt8]) {
        self.number = number
        self.firstSequence = firstSequence
        self.created = created
        self.lane = lane
        self.previous = previous
        hash = Self.chained(previous, body)
    }

    /// Reads a header; nil when it is cut short, changed, or of another format.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= LogFormat.headerBytes, bytes.starts(with: LogFormat.magic),
            bytes.load32(8) == LogFormat.version, bytes.load32(12) == Self.sum(bytes)
        else { return nil }
        self.init(
            number: bytes.load64(16), firstSequence: bytes.load64(24), created: Int64(bitPattern: bytes.load64(32)),
            lane: Int(truncatingIfNeeded: bytes.load64(40)), previous: Array(bytes[48..<80]))
        guard hash == Array(bytes[80..<112]) else { return nil }
    }

    /// What the hash is of, beside the hash before.
    private var body: [UInt8] {
        var bytes = LogFormat.magic
        bytes.store(LogFormat.version)
        bytes.store(number)
        bytes.store(firstSequence)
        bytes.store(UInt64(bitPattern: created))
        bytes.store(UInt64(lane))
        return bytes
    }

    /// The header as it stands in the file.
    var bytes: [UInt8] {
        var bytes = body
        bytes.insert(contentsOf: [0, 0, 0, 0], at: 12)
        bytes += previous + hash
        bytes += repeatElement(0, count: LogFormat.headerBytes - bytes.count)
        let sum = Self.sum(bytes)
        for index in 0..<4 { bytes[12 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
        return bytes
    }

    private static func sum(_ bytes: [UInt8]) -> UInt32 {
        unsafe bytes.withUnsafeBytes { buffer in
            unsafe Digests.crc32c(
                UnsafeRawBufferPointer(rebasing: buffer[..<12]),
                UnsafeRawBufferPointer(rebasing: buffer[16..<LogFormat.headerBytes]))
        }
    }

    private static func chained(_ previous: [UInt8], _ body: [UInt8]) -> [UInt8] {
        // Without memory for a hash there is none, and what hangs on it is refused.
        unsafe (previous + body).withUnsafeBytes { unsafe Digests.sha256($0) } ?? []
    }
}

/// A record in a segment's bytes.
struct LogRecord: Sendable, Hashable {
    /// A kind that this version does not know is kept and passed over.
    var kind: UInt8
    var sequence: UInt64
    /// Where it lies, head and payload.
    var range: Range<Int>

    var payload: Range<Int> { range.lowerBound + LogFormat.recordHeadBytes..<range.upperBound }
}

/// Walks over the records of a segment.
struct SegmentScanner {
    let bytes: [UInt8]
    /// Where the next record should be.
    private(set) var offset: Int
    /// The sequence that the next record should have.
    private var expected: UInt64

    /// What was found next.
    enum Item {
        case record(LogRecord)
        /// Bytes that are no record, up to the next one or to the end.
        case damage(Range<Int>)
        case end
    }

    /// - Parameters:
    ///   - offset: a place where a record starts.
    ///   - sequence: what the record there should have.
    init(_ bytes: [UInt8], from offset: Int, sequence: UInt64) {
        self.bytes = bytes
        self.offset = offset
        expected = sequence
    }

    mutating func next() -> Item {
        if offset >= bytes.count { return .end }
        if let record = record(at: offset) {
            offset = record.range.upperBound
            expected = record.sequence &+ 1
            return .record(record)
        }
        let start = offset
        offset += 1
        while offset < bytes.count {
            // Only what could follow is tried: a changed length must not make chance bytes a record.
            if let record = record(at: offset), record.sequence >= expected, record.sequence - expected < 1 << 24 {
                return .damage(start..<offset)
            }
            offset += 1
        }
        return .damage(start..<bytes.count)
    }

    /// The record at an offset when its bytes are whole and unchanged.
    private func record(at offset: Int) -> LogRecord? {
        let head = offset + LogFormat.recordHeadBytes
        guard head <= bytes.count else { return nil }
        let length = Int(bytes.load32(offset))
        guard length <= LogFormat.maxPayloadBytes, head + length <= bytes.count else { return nil }
        let mark = bytes.load64(offset + 8)
        guard mark & 0xff != 0 else { return nil }
        let sum = unsafe bytes.withUnsafeBytes { buffer in
            unsafe Digests.crc32c(
                UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + 4]),
                UnsafeRawBufferPointer(rebasing: buffer[offset + 8..<head + length]))
        }
        guard sum == bytes.load32(offset + 4) else { return nil }
        return LogRecord(
            kind: UInt8(truncatingIfNeeded: mark), sequence: mark >> 8, range: offset..<head + length)
    }
}

/// A seal's payload.
struct LogSeal {
    var records: UInt64
    var hash: [UInt8]

    init?(_ payload: ArraySlice<UInt8>) {
        guard payload.count == LogFormat.sealPayloadBytes else { return nil }
        let payload = Array(payload)
        records = payload.load64(0)
        hash = Array(payload[8...])
    }

    /// The chain's hash over some records, for bytes that start with the hash before them.
    static func hash(_ previous: [UInt8], _ records: ArraySlice<UInt8>) -> [UInt8]? {
        unsafe (previous + records).withUnsafeBytes { unsafe Digests.sha256($0) }
    }
}

extension [UInt8] {
    /// A little-endian word; the caller has checked that it lies inside.
    func load32(_ offset: Int) -> UInt32 {
        UInt32(self[offset]) | UInt32(self[offset + 1]) << 8 | UInt32(self[offset + 2]) << 16
            | UInt32(self[offset + 3]) << 24
    }

    /// A little-endian word; the caller has checked that it lies inside.
    func load64(_ offset: Int) -> UInt64 { UInt64(load32(offset)) | UInt64(load32(offset + 4)) << 32 }

    /// Appends a little-endian word.
    mutating func store(_ word: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: 0, to: word.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
}
