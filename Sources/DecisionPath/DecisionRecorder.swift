// Hands decisions to the decision log: the question as it came and the answer as it went are copied into a ring, which
// the log's own thread empties. On the way from frame to answer that is all the log costs.
//
// A record of the ring; the first four bytes are the ring's:
//
//      4  u8   flags        bit 0: the question is in parts; bit 1: its properties were too long and are left out
//      5  u8   bytes of the tenant's id
//      6  u16  pairs of the answer that are given; 0 for all
//      8  u32  bytes of the answer
//     12  u32  bytes of the question
//     16  the tenant's id
//     80  the answer, a map as in its frame
//      …  the question: its whole frame; or eleven u32 lengths and the parts
//
// INVARIANT of this unsafe file: a recorder is used by the thread of its ring only, while the ring lives (`RingProducer`);
// every store lies within the bytes that `reserve` gave, because it gave as many as are summed up before.

import CBOR
import DecisionProtocol
import Glibc
package import Memory

/// Numbers of the ring's records.
package enum DecisionRingLayout {
    package static let isInParts: UInt8 = 1
    package static let lacksProperties: UInt8 = 2
    package static let headBytes = 80
    package static let tenantOffset = 16
    package static let tenantBytes = 64
    /// Parts of a question: subject's type, id, properties; action's name, properties; resource's type, id, properties;
    /// context; session; device.
    package static let parts = 11
    /// The longest question that is recorded whole.
    package static let maxQuestionBytes = 16 << 10
    /// The longest answer that is recorded whole.
    package static let maxAnswerBytes = 16 << 10
    /// The longest name that is recorded of a question which is too long.
    package static let maxNameBytes = 256
    /// The smallest ring, so that every record fits.
    package static let minRingBytes = 256 << 10
}

/// Which decisions are recorded.
package enum RecordingMode: Sendable, Hashable {
    /// All; an answer waits for a place in the ring.
    case every
    /// One of so many, drawn at random; one that finds no place is lost and counted.
    case sampled(UInt64)
    /// All that find a place. Where one finds none, the next ones are not tried: to see how far the other side is costs more
    /// than all else, for its processor wrote that last.
    case offered
}

/// Records the decisions about one tenant on one thread.
@safe
package final class DecisionRecorder: @unchecked Sendable {
    private typealias Layout = DecisionRingLayout
    private let ring: RingProducer
    /// Written when the log's thread must not sleep on.
    private let bell: Int32
    private let waits: Bool
    /// A random number above it leaves the decision out.
    private let threshold: UInt64
    /// Decisions that are not tried after one that found no place, and how many of them are left.
    private let pause: Int
    private var paused = 0
    private let tenant: InlineArray<8, UInt64>
    private let tenantCount: UInt8

    /// - Parameters:
    ///   - ring: at least `DecisionRingLayout.minRingBytes` large.
    ///   - bell: an event descriptor that wakes the consumer.
    ///   - tenant: a tenant's id, at most 64 bytes.
    package init(_ ring: RingProducer, bell: Int32, mode: RecordingMode, tenant: String) {
        self.ring = ring
        self.bell = bell
        switch mode {
        case .every:
            waits = true
            threshold = .max
            pause = 0
        case .offered:
            waits = false
            threshold = .max
            pause = 64
        case .sampled(let rate):
            waits = false
            threshold = rate <= 1 ? .max : .max / rate
            pause = 0
        }
        var words = InlineArray<8, UInt64>(repeating: 0)
        let bytes = tenant.utf8.prefix(Layout.tenantBytes)
        for (index, byte) in bytes.enumerated() { words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8) }
        self.tenant = words
        tenantCount = UInt8(bytes.count)
    }

    /// Asks for the memory of the next record.
    @inline(__always)
    func prepare() { ring.prepare() }

    /// Records a decision.
    /// - Parameters:
    ///   - isWhole: `frame` holds this question and nothing else.
    ///   - answer: the answer's map.
    func record(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, isWhole: Bool, _ answer: UnsafeRawBufferPointer
    ) {
        if isWhole, !question.explain, unsafe recordWhole(frame, answer) { return }
        if threshold != .max, ring.nextRandom() > threshold { return }
        unsafe recordParts(question, frame, answer)
        if ring.shouldWakeConsumer() { wake() }
    }

    /// Records a decision whose frame holds its question and nothing else.
    /// - Returns: false, with nothing done, when question or answer is too long to be recorded whole.
    @inline(__always)
    func recordWhole(_ frame: CBORReader, _ answer: UnsafeRawBufferPointer) -> Bool {
        let whole = unsafe frame.slice(0..<frame.end)
        guard whole.count <= Layout.maxQuestionBytes, answer.count <= Layout.maxAnswerBytes else { return false }
        if paused > 0 {
            paused &-= 1
            ring.countLost()
            return true
        }
        if threshold != .max, ring.nextRandom() > threshold { return true }
        let count = Layout.headBytes &+ answer.count &+ whole.count
        guard let place = ring.reserve(count) ?? awaited(count) else { return true }
        unsafe writeHead(place.pointer, flags: 0, pairs: 0, answer.count, whole.count)
        unsafe copy(answer, to: place.pointer + Layout.headBytes)
        unsafe copy(whole, to: place.pointer + Layout.headBytes + answer.count)
        ring.publish(place)
        if ring.shouldWakeConsumer() { wake() }
        return true
    }

    @inline(__always)
    private func writeHead(
        _ place: UnsafeMutableRawPointer, flags: UInt8, pairs: Int, _ answer: Int, _ question: Int
    ) {
        let word = UInt32(flags) | UInt32(tenantCount) << 8 | UInt32(truncatingIfNeeded: pairs) << 16
        unsafe place.storeBytes(of: word.littleEndian, toByteOffset: 4, as: UInt32.self)
        unsafe place.storeBytes(of: UInt32(truncatingIfNeeded: answer).littleEndian, toByteOffset: 8, as: UInt32.self)
        unsafe place.storeBytes(
            of: UInt32(truncatingIfNeeded: question).littleEndian, toByteOffset: 12, as: UInt32.self)
        for index in 0..<(Int(tenantCount) &+ 7) / 8 {
            unsafe place.storeBytes(
                of: tenant[index].littleEndian, toByteOffset: Layout.tenantOffset &+ index &* 8, as: UInt64.self)
        }
    }

    @inline(__always)
    private func copy(_ bytes: UnsafeRawBufferPointer, to place: UnsafeMutableRawPointer) {
        if let from = bytes.baseAddress { unsafe place.copyMemory(from: from, byteCount: bytes.count) }
    }

    // MARK: What is rare

    /// An item of a batch, a question that wants its candidates explained, or one that is too long: part by part.
    @inline(never)
    private func recordParts(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, _ answer: UnsafeRawBufferPointer
    ) {
        var parts: InlineArray<11, Range<Int>> = [
            question.subject.type, question.subject.id, question.subject.properties, question.action.type,
            question.action.properties, question.resource.type, question.resource.id, question.resource.properties,
            question.context, question.session, question.device,
        ]
        var flags = Layout.isInParts
        if Self.count(parts) > Layout.maxQuestionBytes {
            flags |= Layout.lacksProperties
            for index in [2, 4, 7, 8] { parts[index] = 0..<0 }
            for index in 0..<Layout.parts { parts[index] = parts[index].prefix(Layout.maxNameBytes) }
        }
        let questionCount = Layout.parts * 4 + Self.count(parts)
        let (pairs, answerCount) = unsafe Self.kept(answer)
        let count = Layout.headBytes + answerCount + questionCount
        guard let place = ring.reserve(count) ?? awaited(count) else { return }
        unsafe writeHead(place.pointer, flags: flags, pairs: pairs, answerCount, questionCount)
        unsafe copy(UnsafeRawBufferPointer(rebasing: answer[..<answerCount]), to: place.pointer + Layout.headBytes)
        let lengths = unsafe place.pointer + Layout.headBytes + answerCount
        var offset = Layout.parts * 4
        for index in 0..<Layout.parts {
            let bytes = unsafe frame.slice(parts[index])
            unsafe lengths.storeBytes(of: UInt32(bytes.count).littleEndian, toByteOffset: index * 4, as: UInt32.self)
            unsafe copy(bytes, to: lengths + offset)
            offset += bytes.count
        }
        ring.publish(place)
    }

    private static func count(_ parts: InlineArray<11, Range<Int>>) -> Int {
        var sum = 0
        for index in parts.indices { sum += parts[index].count }
        return sum
    }

    /// How much of an answer is recorded: not the candidates, and not more than there is room for.
    /// - Returns: the pairs, 0 for all, and the bytes up to their end.
    private static func kept(_ answer: UnsafeRawBufferPointer) -> (pairs: Int, bytes: Int) {
        var reader = unsafe CBORReader(answer)
        var pairs = 0
        var end = 0
        do throws(CBORError) {
            let count = try reader.map()
            end = reader.offset
            for _ in 0..<count {
                let key = try reader.unsigned()
                try reader.skip()
                if key == 13 || reader.offset > DecisionRingLayout.maxAnswerBytes { return (pairs, end) }
                pairs += 1
                end = reader.offset
            }
        } catch {
            return (pairs, end)
        }
        return (0, answer.count)
    }

    /// Room for a record when the ring is full: awaited where every decision is recorded, else given up and counted.
    @inline(never)
    private func awaited(_ count: Int) -> RingPlace? {
        guard waits, count <= ring.maxRecord else {
            ring.countLost()
            paused = pause
            return nil
        }
        while !ring.isClosed {
            wake()
            usleep(100)
            if let place = ring.reserve(count) { return place }
        }
        ring.countLost()
        return nil
    }

    private func wake() {
        var one: UInt64 = 1
        _ = unsafe write(bell, &one, 8)
    }
}
