// Questions that are held open: the first answer, and the new one when it differs from the one sent before.

import AttributeStore
package import CBOR
package import DecisionProtocol
import Memory

/// The entities that an open question names, as `EntityHash`es: what happens to others cannot change its answer.
package struct WatchedEntities: Sendable, Hashable {
    package var subject = EntityHash.none
    package var resource = EntityHash.none
    package var session = EntityHash.none
    /// The question's device; the session's is a matter of the moment (`OpenAnswer.device`).
    package var device = EntityHash.none

    package init(
        subject: UInt64 = EntityHash.none, resource: UInt64 = EntityHash.none, session: UInt64 = EntityHash.none,
        device: UInt64 = EntityHash.none
    ) {
        self.subject = subject
        self.resource = resource
        self.session = session
        self.device = device
    }
}

/// What is kept of an answer that was given to an open question.
package struct OpenAnswer: Sendable, Hashable {
    /// A keyed hash of all that the next answer is compared by. Two answers that differ have the same one by a chance of
    /// 2^-64.
    package var digest: UInt64 = 0
    /// First instant (ms since the epoch) at which time alone could change it; `Int64.max` when none.
    package var due = Int64.max
    /// The device that the session named, an `EntityHash`.
    package var device = EntityHash.none

    package init() {}
}

extension TenantDecider {
    /// The entities that a question names.
    package func watched(_ head: FrameHead, _ frame: CBORReader) -> WatchedEntities {
        let question = head.question
        var watched = WatchedEntities()
        unsafe watched.subject = EntityHash.of(frame.slice(question.subject.type), frame.slice(question.subject.id))
        unsafe watched.resource = EntityHash.of(frame.slice(question.resource.type), frame.slice(question.resource.id))
        if !question.session.isEmpty {
            watched.session = unsafe EntityHash.of("session", frame.slice(question.session))
        }
        if !question.device.isEmpty { watched.device = unsafe EntityHash.of("device", frame.slice(question.device)) }
        return watched
    }

    /// The entities that a frame's question names, which was read when it was opened.
    package func watched(_ bytes: [UInt8]) -> WatchedEntities {
        unsafe bytes.withUnsafeBytes { bytes in
            let frame = unsafe CBORReader(bytes)
            var reader = frame
            guard let head = try? FrameHead(&reader) else { return WatchedEntities() }
            return watched(head, frame)
        }
    }

    /// Gives the first answer to a question that is held open; its frame is appended to `output`.
    /// - Parameter number: the subscription's.
    package func open(
        _ head: FrameHead, _ frame: CBORReader, number: UInt64, _ output: inout CBORWriter
    ) -> OpenAnswer {
        var facts = AnswerFacts()
        facts.kind = .subscribe
        facts.id = head.id
        let start = AnswerWriter.begin(&output)
        let answer = decideOpen(head, frame, facts, &output)
        counted(answer.written)
        finish(start, number, &output)
        record(head.question, frame, isWhole: true, output, from: start + ProtocolLimits.prefixBytes)
        return answer.kept
    }

    /// Decides an open question again. Its frame is appended to `output` when the answer is another than the one sent.
    /// - Parameters:
    ///   - question: the frame that opened it.
    ///   - sent: what was kept of the answer sent before.
    /// - Returns: what to keep now, and whether an answer was given.
    package func reconsider(
        _ question: [UInt8], number: UInt64, sent: OpenAnswer, _ output: inout CBORWriter
    ) -> (kept: OpenAnswer, isNew: Bool) {
        unsafe question.withUnsafeBytes { bytes in
            let frame = unsafe CBORReader(bytes)
            var reader = frame
            // It was read when the question was opened, and has not changed.
            guard let head = try? FrameHead(&reader) else { return (sent, false) }
            var facts = AnswerFacts()
            facts.kind = .push
            let start = AnswerWriter.begin(&output)
            let answer = decideOpen(head, frame, facts, &output)
            if answer.kept.digest == sent.digest {
                output.bytes.truncate(to: start)
                return (answer.kept, false)
            }
            counted(answer.written)
            finish(start, number, &output)
            record(head.question, frame, isWhole: true, output, from: start + ProtocolLimits.prefixBytes)
            return (answer.kept, true)
        }
    }

    private func decideOpen(
        _ head: FrameHead, _ frame: CBORReader, _ facts: AnswerFacts, _ output: inout CBORWriter
    ) -> (kept: OpenAnswer, written: WrittenAnswer) {
        var question = head.question
        question.explain = false
        var facts = facts
        facts.trailing = 1
        watchedDevice = EntityHash.none
        isWatching = true
        let written = decide(question, frame, facts, &output)
        isWatching = false
        var hasher = Hasher()
        hasher.combine(written.outcome.rawValue)
        hasher.combine(written.kind)
        unsafe hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: output.bytes.borrowed[written.body...]))
        var kept = OpenAnswer()
        kept.digest = UInt64(bitPattern: Int64(hasher.finalize()))
        kept.due = written.validUntil
        kept.device = watchedDevice
        return (kept, written)
    }

    private func finish(_ start: Int, _ number: UInt64, _ output: inout CBORWriter) {
        output.unsigned(22)
        output.unsigned(number)
        AnswerWriter.end(&output, start)
    }
}
