// Kept decisions: which questions are worth holding open, found by their bytes. A question asked once is remembered; the
// second asking holds it open; the one that was not asked for long makes room. A decision is given without asking only
// while its question is held open over a connection that lives, and only until its time has come.

/// The questions that a client has met. Under the client's lock.
struct DecisionCache {
    private final class Entry: @unchecked Sendable {
        let question: EncodedQuestion
        /// Nil: asked once.
        var watch: Watch?
        /// Asked for since the hand was here last.
        var isUsed = false

        init(_ question: EncodedQuestion) { self.question = question }
    }

    let capacity: Int
    private var entries: [EncodedQuestion: Entry] = [:]
    /// Those with a watch, at most `capacity`, in a ring whose hand takes the first that was not used for a round.
    private var ring: [Entry] = []
    private var hand = 0
    /// Those asked once, in order; at most twice as many.
    private var met = Line<Entry>()

    init(capacity: Int) { self.capacity = capacity }

    /// The decision on a question if it is known now; else notes that it was asked for.
    mutating func find(
        _ question: EncodedQuestion, _ now: UInt64, _ watches: inout WatchState, _ effects: inout Effects
    ) -> Decision? {
        guard let entry = entries[question] else {
            remember(question)
            return nil
        }
        guard let watch = entry.watch else {
            // What is too long to be held open is asked each time.
            guard question.bytes.count <= Self.largest else { return nil }
            let watch = Watch(question, isKept: true)
            entry.watch = watch
            watches.begin(watch, now, &effects)
            place(entry, &watches, &effects)
            return nil
        }
        entry.isUsed = true
        return watch.kept(.now)
    }

    private static let largest = Subscription.largestQuestion

    private mutating func remember(_ question: EncodedQuestion) {
        let entry = Entry(question)
        entries[question] = entry
        met.append(entry)
        while met.count > 2 * capacity, let oldest = met.popFirst() {
            if oldest.watch == nil { entries[oldest.question] = nil }
        }
    }

    private mutating func place(_ entry: Entry, _ watches: inout WatchState, _ effects: inout Effects) {
        guard ring.count >= capacity else { return ring.append(entry) }
        while ring[hand].isUsed {
            ring[hand].isUsed = false
            hand = (hand + 1) % ring.count
        }
        let old = ring[hand]
        entries[old.question] = nil
        if let watch = old.watch { watches.end(watch, &effects) }
        ring[hand] = entry
        hand = (hand + 1) % ring.count
    }
}
