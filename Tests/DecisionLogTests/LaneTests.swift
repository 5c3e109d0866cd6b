// Segments: what is written comes back, whatever moment a crash picks; ends, compression, retention.

import AttributeStore
import CBOR
import Glibc
import Testing

@testable import DecisionLog

@Suite("lanes of the log")
struct LaneTests {
    private let scratch = Scratch()

    private func open() throws -> (lane: Lane, repair: LaneRepair) { try Lane.open(log: scratch.path, now: 1) }

    @Test("CRC-32C gives the check value of RFC 3720")
    func crc() {
        let text = Array("123456789".utf8)
        let sum = unsafe text.withUnsafeBytes { bytes in
            unsafe Digests.crc32c(
                UnsafeRawBufferPointer(rebasing: bytes[..<4]), UnsafeRawBufferPointer(rebasing: bytes[4...]))
        }
        #expect(sum == 0xe306_9283)
    }

    @Test("SHA-256 gives the value of FIPS 180-4 for abc")
    func sha() {
        let hash = unsafe Array("abc".utf8).withUnsafeBytes { unsafe Digests.sha256($0) }
        #expect(LogChain.text(hash ?? []) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test("what was written is read after the lane was closed and opened again")
    func roundTrip() throws {
        do {
            let (lane, repair) = try open()
            #expect(repair == LaneRepair())
            try lane.write(1...5)
            try lane.write(6...6)
        }
        let (lane, repair) = try open()
        #expect(repair == LaneRepair())
        try lane.write(7...9)
        #expect(try numbers(scratch.path) == Array(1...9))
        #expect(wrong(scratch.path).isEmpty)
    }

    @Test("a second process takes a lane of its own, and both are read as one log")
    func lanes() throws {
        let (first, _) = try open()
        let (second, _) = try open()
        #expect(first.directory.number == 0 && second.directory.number == 1)
        try first.write(1...2, now: 10)
        try second.write(3...4, now: 20)
        try first.write(5...6, now: 30)
        #expect(try numbers(scratch.path) == [1, 2, 3, 4, 5, 6])
        #expect(wrong(scratch.path).isEmpty)
    }

    @Test("a crash at any byte of the last run costs at most that run, and the tail is mended")
    func tornTail() throws {
        let lanePath = "\(scratch.path)/lane-0"
        do {
            let (lane, _) = try open()
            try lane.write(1...3)
        }
        let before = try Scratch.read("\(lanePath)/0000000001.log").count
        let headBefore = try Scratch.read("\(lanePath)/head")
        do {
            let (lane, _) = try open()
            try lane.write(4...6)
        }
        let whole = try Scratch.read("\(lanePath)/0000000001.log")
        for count in before...whole.count {
            // The process died within its write: the head is of the run before.
            try Scratch.write(Array(whole[..<count]), to: "\(lanePath)/0000000001.log")
            try Scratch.write(headBefore, to: "\(lanePath)/head")
            #expect(wrong(scratch.path).isEmpty, "cut to \(count) before the mending")
            let readBefore = try numbers(scratch.path)
            do {
                let (lane, repair) = try open()
                #expect(repair.evidence == nil && repair.lost == nil)
                #expect(repair.cutBytes <= count - before)
                try lane.write(7...7)
            }
            let read = try numbers(scratch.path)
            #expect(read == readBefore + [7], "cut to \(count)")
            #expect(read.starts(with: [1, 2, 3]))
            var verifier = LogVerifier(scratch.path)
            let report = verifier.run()
            #expect(
                report.isIntact && !report.findings.contains { $0.kind == .tornTail },
                "cut to \(count): \(report.findings)")
        }
    }

    @Test("what the machine lost of a tail that was not durable is told with its records")
    func lostTail() throws {
        let segment = "\(scratch.path)/lane-0/0000000001.log"
        do {
            let (lane, _) = try open()
            try lane.write(1...3)
            try lane.sync()
            try lane.write(4...6)
        }
        let whole = try Scratch.read(segment)
        try Scratch.write(Array(whole[..<(whole.count - 300)]), to: segment)
        #expect(wrong(scratch.path).map(\.kind) == [.missingTail])
        let (lane, repair) = try open()
        #expect(repair.evidence == nil)
        let lost = try #require(repair.lost)
        #expect(lost.upperBound == 8)
        try lane.write(7...7)
        var verifier = LogVerifier(scratch.path)
        let report = verifier.run()
        #expect(report.isIntact)
        #expect(report.lost == lost.upperBound - lost.lowerBound + 1)
    }

    @Test("damage before what was durable is no crash: it is left, told, and the log goes on behind it")
    func evidence() throws {
        let segment = "\(scratch.path)/lane-0/0000000001.log"
        do {
            let (lane, _) = try open()
            try lane.write(1...3)
            try lane.write(4...6)
            try lane.sync()
        }
        var bytes = try Scratch.read(segment)
        bytes[bytes.count - 400] ^= 1
        try Scratch.write(Array(bytes[..<(bytes.count - 10)]), to: segment)
        let damaged = try Scratch.read(segment)
        do {
            let (lane, repair) = try open()
            #expect(repair.evidence != nil)
            try lane.write(7...8)
        }
        #expect(try Scratch.read(segment) == damaged)
        #expect(try numbers(scratch.path).suffix(2) == [7, 8])
        #expect(wrong(scratch.path).contains { $0.kind == .changedBytes && $0.place.contains("segment 1") })
    }

    @Test("segments end, the next one continues the chain, and compressed ones read the same")
    func segments() throws {
        let (lane, _) = try open()
        var closed: [SegmentFile] = []
        for round in 0..<4 {
            try lane.write(UInt64(round * 10 + 1)...UInt64(round * 10 + 10))
            closed.append(try #require(try lane.close(now: 5)))
        }
        try lane.write(41...41)
        let plain = try numbers(scratch.path)
        #expect(plain == Array(1...41))
        for segment in closed.dropLast() {
            let job = try CompressionJob(segment, lane)
            while try !job.step(100) {}
        }
        let names = LogFiles.list("\(scratch.path)/lane-0")
        #expect(
            names.filter { $0.hasSuffix(".log.zst") }.count == 3 && names.filter { $0.hasSuffix(".log") }.count == 2)
        #expect(try numbers(scratch.path) == plain)
        #expect(wrong(scratch.path).isEmpty)
    }

    @Test("a lane whose last segment is compressed goes on behind it")
    func afterCompression() throws {
        do {
            let (lane, _) = try open()
            try lane.write(1...2)
            let segment = try #require(try lane.close(now: 5))
            let job = try CompressionJob(segment, lane)
            while try !job.step(1 << 20) {}
        }
        for head in [true, false] {
            if !head { try LogFiles.remove("\(scratch.path)/lane-0/head") }
            let (lane, repair) = try open()
            #expect(repair == LaneRepair())
            try lane.write(3...3)
            #expect(wrong(scratch.path).isEmpty)
        }
    }

    @Test("retention removes the oldest segments and says so; the rest verifies")
    func retention() throws {
        let (lane, _) = try open()
        for round in 0..<5 {
            try lane.write(UInt64(round * 2 + 1)...UInt64(round * 2 + 2))
            try lane.close(now: 5)
        }
        let segments = lane.directory.segments()
        try lane.retire(Array(segments[..<3]), now: 9)
        #expect(try numbers(scratch.path) == [7, 8, 9, 10])
        #expect(wrong(scratch.path).isEmpty)
        // Again, with what is left.
        try lane.write(11...11)
        try lane.retire([segments[3]], now: 10)
        #expect(wrong(scratch.path).isEmpty)
    }

    @Test("a write that fails leaves the lane as it was, and a later one succeeds")
    func failingWrite() throws {
        // A limit of file sizes is of the whole process: it is tested from outside. Here a missing directory stands for it.
        let (lane, _) = try open()
        try LogFiles.move("\(scratch.path)/lane-0", to: "\(scratch.path)/away")
        #expect(throws: LogError.self) { try lane.write(1...2) }
        try LogFiles.move("\(scratch.path)/away", to: "\(scratch.path)/lane-0")
        try lane.write(3...4)
        #expect(try numbers(scratch.path) == [3, 4])
        #expect(wrong(scratch.path).isEmpty)
    }
}
