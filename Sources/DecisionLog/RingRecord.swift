// A decision as a reactor has put it into its ring (DecisionPath/DecisionRecorder.swift), taken apart again.
//
// INVARIANT of this unsafe file: a record's readers point into the ring; they are used before the ring's `release`.
// Lengths are checked here, because a ring may have been left behind by another program.

package import CBOR
import DecisionPath
package import DecisionProtocol
import Glibc

/// A decision in a ring.
@safe
package struct RingRecord {
    private typealias Layout = DecisionRingLayout
    /// The tenant's id.
    package let tenant: UnsafeRawBufferPointer
    package let answer: CBORReader
    /// Pairs of the answer that are there; nil for all.
    package let answerPairs: Int?
    /// What the ranges are of.
    package let question: CBORReader
    package private(set) var ranges: QuestionRanges
    /// The properties were too long to be recorded, and names may be cut.
    package let lacksProperties: Bool

    /// Nil when the bytes are no decision.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Layout.headBytes else { return nil }
        func word(_ offset: Int) -> Int {
            Int(UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
        let mark = word(4)
        let tenantCount = mark >> 8 & 0xff
        let answerCount = word(8)
        let questionCount = word(12)
        guard tenantCount <= Layout.tenantBytes, Layout.headBytes + answerCount + questionCount <= bytes.count else {
            return nil
        }
        unsafe tenant = UnsafeRawBufferPointer(rebasing: bytes[Layout.tenantOffset..<Layout.tenantOffset + tenantCount])
        let answerEnd = Layout.headBytes + answerCount
        unsafe answer = CBORReader(UnsafeRawBufferPointer(rebasing: bytes[Layout.headBytes..<answerEnd]))
        answerPairs = mark >> 16 == 0 ? nil : mark >> 16
        let flags = UInt8(truncatingIfNeeded: mark)
        lacksProperties = flags & Layout.lacksProperties != 0
        unsafe question = CBORReader(UnsafeRawBufferPointer(rebasing: bytes[answerEnd..<answerEnd + questionCount]))
        ranges = QuestionRanges()
        if flags & Layout.isInParts != 0 {
            guard readParts() else { return nil }
        } else {
            var reader = question
            guard let head = try? FrameHead(&reader) else { return nil }
            ranges = head.question
        }
    }

    private mutating func readParts() -> Bool {
        let count = question.end
        let heads = Layout.parts * 4
        guard count >= heads else { return false }
        let bytes = unsafe question.slice(0..<count)
        var offset = heads
        var parts: [Range<Int>] = []
        for index in 0..<Layout.parts {
            let length = Int(
                UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
            guard length <= count - offset else { return false }
            parts.append(offset..<offset + length)
            offset += length
        }
        ranges.subject.isGiven = !parts[0].isEmpty || !parts[1].isEmpty
        (ranges.subject.type, ranges.subject.id, ranges.subject.properties) = (parts[0], parts[1], parts[2])
        ranges.action.isGiven = !parts[3].isEmpty
        (ranges.action.type, ranges.action.properties) = (parts[3], parts[4])
        ranges.resource.isGiven = !parts[5].isEmpty || !parts[6].isEmpty
        (ranges.resource.type, ranges.resource.id, ranges.resource.properties) = (parts[5], parts[6], parts[7])
        (ranges.context, ranges.session, ranges.device) = (parts[8], parts[9], parts[10])
        return true
    }
}
