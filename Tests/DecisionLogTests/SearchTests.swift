// One decision of a log, found by its id.

import DecisionProtocol
import Testing

@testable import DecisionLog

@Suite("finding a decision by its id")
struct SearchTests {
    private let scratch = Scratch()

    private func id(_ number: UInt64) -> [UInt8] {
        [UInt8](repeating: 0, count: 8) + (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) }
    }

    @Test("each decision of each lane and segment is found, also of compressed ones")
    func all() throws {
        let (lane, _) = try Lane.open(log: scratch.path, now: 1)
        let (other, _) = try Lane.open(log: scratch.path, now: 1)
        try lane.write(1...20)
        let job = try CompressionJob(try #require(try lane.close(now: 5)), lane)
        while try !job.step(1 << 20) {}
        try lane.write(21...40)
        try other.write(41...50)
        for number in UInt64(1)...50 {
            let found = try #require(LogSearch(scratch.path, for: id(number)).found, "\(number)")
            #expect(found.answer.decisionID == id(number))
            #expect(found.segment == (number > 20 && number <= 40 ? 2 : 1) && found.lane == (number > 40 ? 1 : 0))
        }
        let search = LogSearch(scratch.path, for: id(51))
        #expect(search.found == nil && search.segments == 3)
        #expect(search.gaps.sampledRate == nil && search.gaps.lost == 0 && !search.gaps.isCutOff)
        #expect(!search.isInterrupted)
    }

    @Test("a search ends before the next segment when it is due")
    func due() throws {
        let (lane, _) = try Lane.open(log: scratch.path, now: 1)
        let (other, _) = try Lane.open(log: scratch.path, now: 1)
        try lane.write(1...20)
        try other.write(21...40)
        var asked = 0
        let search = LogSearch(
            scratch.path, for: id(51),
            isDue: {
                asked += 1
                return asked > 1
            })
        #expect(search.isInterrupted && search.segments == 1 && search.found == nil)
    }

    @Test("bytes that are an id elsewhere in a record, or in a damaged one, are passed over")
    func decoys() throws {
        let (lane, _) = try Lane.open(log: scratch.path, now: 1)
        // A subject named by the sixteen characters of an id's bytes, which are a text and no byte string.
        let name = String(repeating: "x", count: 16)
        let sought = Array(name.utf8)
        let decoy = payload(1, subject: "P" + name)
        unsafe decoy.withUnsafeBytes { unsafe lane.append(decision: $0) }
        try lane.flush(now: 1_000)
        #expect(LogSearch(scratch.path, for: sought).found == nil)
        try lane.write(2...3)
        #expect(LogSearch(scratch.path, for: id(3)).found?.sequence != nil)
    }
}
