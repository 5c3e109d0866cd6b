// The files of a log: lanes, their segments, their heads.

/// A segment's file.
package struct SegmentFile: Sendable, Hashable {
    package var number: UInt64
    package var path: String
    package var isCompressed: Bool

    /// `0000000001.log`, with `.zst` when it is compressed.
    static func name(_ number: UInt64) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 10 - digits.count)) + digits + ".log"
    }

    init(_ directory: String, number: UInt64, isCompressed: Bool) {
        self.number = number
        self.isCompressed = isCompressed
        path = "\(directory)/\(Self.name(number))" + (isCompressed ? ".zst" : "")
    }

    init?(_ directory: String, name: String) {
        let isCompressed = name.hasSuffix(".log.zst")
        guard isCompressed || name.hasSuffix(".log"),
            let number = UInt64(name.prefix { $0 != "." }), number > 0,
            name == Self.name(number) + (isCompressed ? ".zst" : "")
        else { return nil }
        self.init(directory, number: number, isCompressed: isCompressed)
    }

    /// The segment's bytes, decompressed. A segment that was compressed meanwhile is found under its new name.
    func bytes() throws(LogError) -> [UInt8] {
        do throws(LogError) {
            return try Self.read(path, isCompressed)
        } catch {
            guard error.isMissing, !isCompressed else { throw error }
            return try Self.read("\(path).zst", true)
        }
    }

    private static func read(_ path: String, _ isCompressed: Bool) throws(LogError) -> [UInt8] {
        let file = try LogFile(path, .read)
        let count = file.count
        guard count <= LogFormat.maxSegmentBytes else {
            throw LogError("\(path) has \(count) bytes, above \(LogFormat.maxSegmentBytes): it is no segment")
        }
        let bytes = try file.read(count, at: 0)
        return isCompressed ? try Zstandard.decompressed(bytes, limit: LogFormat.maxSegmentBytes) : bytes
    }
}

/// A lane's directory.
package struct LaneDirectory: Sendable, Hashable {
    package var number: Int
    package var path: String

    init(log: String, number: Int) {
        self.number = number
        path = "\(log)/lane-\(number)"
    }

    /// The lanes of a log, in order; none when it has not begun.
    package static func all(in log: String) -> [LaneDirectory] {
        LogFiles.list(log).compactMap { name in
            guard name.hasPrefix("lane-"), let number = Int(name.dropFirst(5)), number >= 0,
                name == "lane-\(number)"
            else { return nil }
            return LaneDirectory(log: log, number: number)
        }.sorted { $0.number < $1.number }
    }

    /// The segments in order. Of a segment that is there plain and compressed, the plain one: it is being compressed.
    package func segments() -> [SegmentFile] {
        var found: [UInt64: SegmentFile] = [:]
        for name in LogFiles.list(path) {
            guard let file = SegmentFile(path, name: name) else { continue }
            if let known = found[file.number], !known.isCompressed { continue }
            found[file.number] = file
        }
        return found.values.sorted { $0.number < $1.number }
    }

    var headPath: String { "\(path)/head" }
    var lockPath: String { "\(path)/lock" }
}

/// Where a lane stands: how far it was sealed.
struct LaneMark: Sendable, Hashable {
    var segment: UInt64 = 0
    /// Bytes of the segment up to the end of its last seal.
    var offset = 0
    /// Sequence of that seal.
    var sequence: UInt64 = 0
    /// Decisions in the segment.
    var decisions: UInt64 = 0
    /// The segment's end has been written.
    var isClosed = false
    /// The chain's hash.
    var hash = LogFormat.noHash

    static let bytes = 96
    private static let magic: UInt32 = 0x4441_4548

    init() {}

    init?(_ bytes: ArraySlice<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count == Self.bytes, bytes.load32(0) == Self.magic, bytes.load32(4) == Self.sum(bytes) else {
            return nil
        }
        segment = bytes.load64(8)
        offset = Int(truncatingIfNeeded: bytes.load64(16))
        sequence = bytes.load64(24)
        decisions = bytes.load64(32)
        isClosed = bytes.load64(40) != 0
        hash = Array(bytes[48..<80])
    }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.store(Self.magic)
        bytes.store(UInt32(0))
        bytes.store(segment)
        bytes.store(UInt64(offset))
        bytes.store(sequence)
        bytes.store(decisions)
        bytes.store(UInt64(isClosed ? 1 : 0))
        bytes += hash
        bytes += repeatElement(0, count: Self.bytes - bytes.count)
        let sum = Self.sum(bytes)
        for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
        return bytes
    }

    private static func sum(_ bytes: [UInt8]) -> UInt32 {
        unsafe bytes.withUnsafeBytes { buffer in
            unsafe Digests.crc32c(
                UnsafeRawBufferPointer(rebasing: buffer[..<4]), UnsafeRawBufferPointer(rebasing: buffer[8...]))
        }
    }
}

/// A lane's head: how far it was written, and how far that was durable. What is missing behind the first was taken
/// away; what is missing only behind the second may have been lost with the machine.
struct LaneHead: Sendable, Hashable {
    var written = LaneMark()
    var durable = LaneMark()

    init() {}

    /// Reads a lane's head; nil when there is none that can be read.
    init?(_ lane: LaneDirectory) {
        guard let file = try? LogFile(lane.headPath, .read),
            let bytes = try? file.read(2 * LaneMark.bytes, at: 0), bytes.count == 2 * LaneMark.bytes,
            let written = LaneMark(bytes[..<LaneMark.bytes]), let durable = LaneMark(bytes[LaneMark.bytes...])
        else { return nil }
        self.written = written
        self.durable = durable
    }

    var encoded: [UInt8] { written.encoded + durable.encoded }
}
