// Questions asked within the process: for tools, explanations and tests, by the very code that answers frames.
//
// INVARIANT of this unsafe file: a frame's reader lives no longer than the bytes that are lent for it.

package import AttributeStore
package import CBOR
package import DecisionEngine
package import DecisionProtocol
import Memory

extension TenantDecider {
    /// A decider for the version that decides in a store, without a daemon.
    package convenience init(_ tenant: String, of store: Store) throws(StoreError) {
        let board = PolicyBoard(store: store)
        _ = try board.load(tenant)
        try self.init(tenant, board: board)
    }

    /// Answers a question as of an instant.
    package func answer(_ question: Question, now: Int64) -> Answer { ask(question, now: now) { _, _ in } }

    /// The answer, and the policies with all that they read; these are nil where the question could not be put to them.
    package func explained(
        _ question: Question, now: Int64
    ) -> (answer: Answer, read: (program: Program, situation: Situation)?) {
        var read: (program: Program, situation: Situation)?
        let answer = ask(question, now: now) { head, frame in read = situation(head, frame) }
        return (answer, read)
    }

    private func ask(_ question: Question, now: Int64, _ beside: (FrameHead, CBORReader) -> Void) -> Answer {
        begin(now: now)
        defer { end() }
        var output = CBORWriter()
        let bytes = question.frame(id: 1)
        unsafe bytes.withUnsafeBytes { buffer in
            let frame = unsafe CBORReader(buffer)
            var reader = frame
            if let head = try? FrameHead(&reader) {
                answer(head, frame, &output)
                beside(head, frame)
            }
        }
        guard case .answer(_, let answer) = ServerFrame(Array(output.bytes.array.dropFirst(ProtocolLimits.prefixBytes)))
        else {
            return .failClosed(code: "malformed_question", message: "the question could not be encoded")
        }
        return answer
    }
}

extension TenantDecider {
    /// Answers a question that was recorded, as of an instant, on the newest snapshot; nothing is counted.
    /// - Parameters:
    ///   - question: where its parts lie in `frame`.
    ///   - explain: tell of each rule that could have spoken.
    /// - Returns: the answer; nil when it could not be written.
    package func repeated(
        _ question: QuestionRanges, _ frame: CBORReader, explain: Bool = false
    ) -> Answer? {
        var question = question
        question.explain = explain
        var output = CBORWriter()
        _ = decide(question, frame, AnswerFacts(), &output)
        return (try? CBORValue.decode(output.bytes.array)).flatMap { Answer($0) }
    }
}
