// A question held open, as a program sees it.

import DecisionProtocol

/// A question that is held open at the server: a sequence of its decisions, the newest of which can be read at any time.
///
/// ```swift
/// for try await update in client.subscribe(to: request) {
///     guard update.permits else { break }    // end the transfer, lock the screen
/// }
/// ```
///
/// Updates that are overtaken before they are taken are left out, the newest never is. While there is no connection the
/// answer is not known and said to be so, after ``StileClient/Configuration/grace``; the client connects again by itself
/// and the next decision follows. The sequence ends with an error when the client is closed, when the request is wrong,
/// or when the server refuses to hold it open; it ends without one when the task that waits is cancelled. The question is
/// held open until the last reference to the subscription and its iterators is gone.
public final class Subscription: AsyncSequence, Sendable {
    /// What is known of a question.
    public enum Update: Sendable, Hashable {
        /// The server's decision.
        case decision(Decision)
        /// Nothing, and why: there is no connection, or the decision's time has come and its successor has not.
        case unknown(StileError)

        /// True if and only if it is a permit without obligations.
        public var permits: Bool { decision?.permits ?? false }

        /// The decision, when there is one.
        public var decision: Decision? {
            if case .decision(let decision) = self { return decision }
            return nil
        }
    }

    /// What the sequence gives.
    public typealias Element = Update
    /// Why it ends.
    public typealias Failure = StileError

    /// A subscription keeps its client.
    private let client: StileClient
    private let watch: Watch
    /// Bytes of a question's fields that the server holds open, with room for the frame around them.
    static let largestQuestion = ProtocolLimits.maxSubscriptionBytes - EncodedQuestion.envelope

    init(_ client: StileClient, _ request: AuthorizationRequest) {
        self.client = client
        watch = Self.watch(request)
        if watch.end == nil { client.engine.begin(watch) }
    }

    deinit { client.engine.end(watch) }

    private static func watch(_ request: AuthorizationRequest) -> Watch {
        do throws(StileError) {
            let question = try EncodedQuestion(request)
            guard question.bytes.count <= largestQuestion else {
                throw .invalidRequest(
                    "it takes \(question.bytes.count) bytes, an open question has \(largestQuestion): leave out properties"
                )
            }
            return Watch(question, isKept: false)
        } catch {
            return Watch(failed: error)
        }
    }

    /// What is known at this instant, without asking anybody; nil before the first answer.
    public var latest: Update? { client.engine.newest(watch) }

    /// True if and only if the newest decision permits, without obligations, and stands at this instant: its time has not
    /// come, and the connection is there or was within the grace.
    public var permits: Bool { latest?.permits ?? false }

    /// An iterator of its own: each sees the newest update first, and the newer ones.
    public func makeAsyncIterator() -> Iterator { Iterator(subscription: self) }

    /// The updates from the newest on.
    public struct Iterator: AsyncIteratorProtocol {
        /// What it gives.
        public typealias Element = Update
        /// Why it ends.
        public typealias Failure = StileError

        let subscription: Subscription
        private var generation: UInt64 = 0
        private var isOver = false

        init(subscription: Subscription) { self.subscription = subscription }

        /// The next update. Nil when the task is cancelled, and after the error that ended the sequence.
        public mutating func next() async throws(StileError) -> Update? {
            try await next(isolation: nil)
        }

        /// The next update, without leaving the actor that asks for it.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(StileError) -> Update? {
            if isOver { return nil }
            switch await subscription.client.engine.next(subscription.watch, after: generation) {
            case .success(let seen?):
                generation = seen.generation
                return seen.update
            case .success(nil):
                isOver = true
                return nil
            case .failure(let error):
                isOver = true
                throw error
            }
        }
    }
}
