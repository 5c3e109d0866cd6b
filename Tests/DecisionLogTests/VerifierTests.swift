// Tampering is found and named: a changed byte, a record or segment that is gone, moved or put in.

import CBOR
import Glibc
import Testing

@testable import DecisionLog

@Suite("verifying the log")
struct VerifierTests {
    private let scratch = Scratch()
    private var lane: String { "\(scratch.path)/lane-0" }
    private func segment(_ number: Int) -> String { "\(lane)/000000000\(number).log" }

    /// Three segments of two runs of three decisions; the last one open.
    private func fill() throws {
        let (lane, _) = try Lane.open(log: scratch.path, now: 1)
        for round in 0..<3 {
            let first = UInt64(round * 6 + 1)
            try lane.write(first...first + 2)
            try lane.write(first + 3...first + 5)
            if round < 2 { try lane.close(now: 5) }
        }
        try lane.sync()
        #expect(wrong(scratch.path).isEmpty)
    }

    /// The records of a segment.
    private func records(_ bytes: [UInt8]) throws -> [LogRecord] {
        let header = try #require(SegmentHeader(bytes))
        var scanner = SegmentScanner(bytes, from: LogFormat.headerBytes, sequence: header.firstSequence)
        var found: [LogRecord] = []
        while case .record(let record) = scanner.next() { found.append(record) }
        return found
    }

    /// Sums a record anew, as somebody would who knows the format.
    private func summed(_ record: [UInt8]) -> [UInt8] {
        var record = record
        let sum = unsafe record.withUnsafeBytes { bytes in
            unsafe Digests.crc32c(
                UnsafeRawBufferPointer(rebasing: bytes[..<4]), UnsafeRawBufferPointer(rebasing: bytes[8...]))
        }
        for index in 0..<4 { record[4 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
        return record
    }

    @Test("any changed byte of any segment is found")
    func changedByte() throws {
        try fill()
        for number in 1...3 {
            let bytes = try Scratch.read(segment(number))
            for offset in stride(from: number, to: bytes.count, by: 4) {
                var changed = bytes
                changed[offset] ^= UInt8(1 << (offset % 8))
                try Scratch.write(changed, to: segment(number))
                let findings = wrong(scratch.path)
                #expect(
                    findings.contains {
                        $0.place.contains("segment \(number)") || $0.text.contains("segment \(number)")
                    },
                    "segment \(number), byte \(offset): \(findings)")
            }
            try Scratch.write(bytes, to: segment(number))
        }
        #expect(wrong(scratch.path).isEmpty)
    }

    @Test("a record that is changed with its sum set right is found by its seal, which is named")
    func forged() throws {
        try fill()
        var bytes = try Scratch.read(segment(2))
        let record = try #require(records(bytes).first)
        var forged = Array(bytes[record.range])
        forged[forged.count - 1] ^= 1
        bytes.replaceSubrange(record.range, with: summed(forged))
        try Scratch.write(bytes, to: segment(2))
        let findings = wrong(scratch.path)
        #expect(findings.map(\.kind) == [.brokenSeal])
        #expect(findings.first?.text.contains("records 11 to 13") == true)
        #expect(findings.first?.place == "lane 0, segment 2, record 14")
    }

    @Test("a removed record is named, and so is a removed run with its seal")
    func removedRecords() throws {
        try fill()
        let bytes = try Scratch.read(segment(2))
        let list = try records(bytes)
        var without = bytes
        without.removeSubrange(list[1].range)
        try Scratch.write(without, to: segment(2))
        #expect(wrong(scratch.path).contains { $0.kind == .missingRecords && $0.text == "record 12 is missing" })
        without = bytes
        without.removeSubrange(list[0].range.lowerBound..<list[3].range.upperBound)
        try Scratch.write(without, to: segment(2))
        #expect(
            wrong(scratch.path).contains { $0.kind == .missingRecords && $0.text == "records 11 to 14 are missing" })
    }

    @Test("records that were exchanged are named")
    func reordered() throws {
        try fill()
        let bytes = try Scratch.read(segment(1))
        let list = try records(bytes)
        let exchanged =
            Array(bytes[..<list[0].range.lowerBound]) + Array(bytes[list[1].range]) + Array(bytes[list[0].range])
            + Array(bytes[list[1].range.upperBound...])
        try Scratch.write(exchanged, to: segment(1))
        #expect(
            wrong(scratch.path).contains { $0.kind == .reorderedRecords && $0.text == "record 1 stands after record 2" }
        )
    }

    @Test("a removed segment is named: the first, one between, the last")
    func removedSegment() throws {
        try fill()
        for number in 1...3 {
            let bytes = try Scratch.read(segment(number))
            try LogFiles.remove(segment(number))
            let findings = wrong(scratch.path)
            #expect(
                findings.contains { $0.kind == .missingSegment && $0.text == "segment \(number) is missing" },
                "\(findings)")
            try Scratch.write(bytes, to: segment(number))
        }
        #expect(wrong(scratch.path).isEmpty)
        for number in 1...3 { try LogFiles.remove(segment(number)) }
        #expect(wrong(scratch.path).contains { $0.text == "segments 1 to 3 are missing" })
    }

    @Test("segments that were exchanged are named")
    func exchangedSegments() throws {
        try fill()
        try LogFiles.move(segment(1), to: "\(lane)/x")
        try LogFiles.move(segment(2), to: segment(1))
        try LogFiles.move("\(lane)/x", to: segment(2))
        let findings = wrong(scratch.path).filter { $0.kind == .wrongSegment }
        #expect(findings.count == 2 && findings.allSatisfy { $0.text.contains("exchanged or renamed") })
    }

    @Test("a tail that was cut off behind a whole run is found by the head")
    func cutTail() throws {
        try fill()
        let bytes = try Scratch.read(segment(3))
        let list = try records(bytes)
        try Scratch.write(Array(bytes[..<list[3].range.upperBound]), to: segment(3))
        let findings = wrong(scratch.path)
        #expect(findings.map(\.kind) == [.missingTail])
        #expect(findings.first?.text.contains("were removed") == true)
        // Whoever removes the head too is found by its absence.
        try LogFiles.remove("\(lane)/head")
        #expect(wrong(scratch.path).map(\.kind) == [.missingHead])
    }

    @Test("a log rewritten from the start is found by a hash noted before")
    func rewritten() throws {
        try fill()
        var verifier = LogVerifier(scratch.path)
        let noted = try #require(verifier.run().heads.first).hash
        #expect(wrong(scratch.path, seen: noted).isEmpty)
        do {
            let (lane, _) = try Lane.open(log: scratch.path, now: 1)
            try lane.write(19...20)
        }
        #expect(wrong(scratch.path, seen: noted).isEmpty)
        Scratch.remove(lane)
        let (lane, _) = try Lane.open(log: scratch.path, now: 1)
        try lane.write(1...3)
        #expect(wrong(scratch.path).isEmpty)
        #expect(wrong(scratch.path, seen: noted).map(\.kind) == [.unknownHash])
    }

    @Test("a compressed segment that was damaged is named")
    func compressed() throws {
        try fill()
        do {
            let (lane, _) = try Lane.open(log: scratch.path, now: 1)
            let job = try CompressionJob(SegmentFile(lane.directory.path, number: 1, isCompressed: false), lane)
            while try !job.step(1 << 20) {}
        }
        let path = "\(segment(1)).zst"
        let bytes = try Scratch.read(path)
        for offset in stride(from: 0, to: bytes.count, by: 7) {
            var changed = bytes
            changed[offset] ^= 0x40
            try Scratch.write(changed, to: path)
            #expect(wrong(scratch.path).contains { $0.place.contains("segment 1") }, "byte \(offset)")
        }
        try Scratch.write(Array(bytes.dropLast(3)), to: path)
        #expect(wrong(scratch.path).contains { $0.kind == .unreadable })
    }

    @Test("bytes of any kind are read without a trap")
    func hostile() throws {
        try fill()
        let bytes = try Scratch.read(segment(3))
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var changed = bytes
            for _ in 0..<Int.random(in: 1...30, using: &generator) {
                changed[Int.random(in: 0..<changed.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            try Scratch.write(
                Array(changed.prefix(Int.random(in: 0...changed.count, using: &generator))), to: segment(3))
            _ = wrong(scratch.path)
            _ = try numbers(scratch.path)
        }
    }
}
