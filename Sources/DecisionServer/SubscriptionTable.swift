// The open questions of one tenant on one thread: which of them an entity concerns, which are due when, and which are
// still to be decided again. Knows nothing of sockets and policies.
//
// What it costs a question, beside its frame: an entry, four links and their share of the buckets, about 140 bytes
// (`bytesPerQuestion`). Every step is of constant length but the heap's, which is logarithmic: the index grows by one
// bucket at a time (linear hashing), so that no insertion stands still for all others to be moved.

import AttributeStore
import DecisionPath

/// The index of open questions.
struct SubscriptionTable: ~Copyable {
    /// Beside the bytes of the frame.
    static let bytesPerQuestion = 256

    /// One open question.
    struct Entry {
        /// The frame that opened it.
        var frame: [UInt8] = []
        var sent = OpenAnswer()
        /// Whose it is: an index of the reactor's owners.
        var owner: UInt32 = 0
        /// What its owner calls it.
        var number: UInt32 = 0
        /// Where it is in the heap of instants; -1 when it is not.
        fileprivate var heapPosition: Int32 = -1
        fileprivate var isLive = false
        /// It is in the queue, or parked.
        fileprivate var isQueued = false
    }

    /// An entity of a question, in the list of its bucket.
    private struct Link {
        var key = EntityHash.none
        var next = none
        var previous = none
    }

    private static let none = UInt32.max
    private static let linksPerEntry = 4
    private static let deviceLink = 3

    private var entries: [Entry] = []
    private var links: [Link] = []
    private var free: [UInt32] = []
    private var queue = SlotQueue()
    /// Slots that a pass over all has still to come by, and where it is. A pass that is asked for while one is under way
    /// goes once around from there, so that the last are not forgotten however often it is asked for.
    private var passLeft = 0
    private var passPosition = 0
    /// A binary heap of slots by the instant at which they are due.
    private var heap: [UInt32] = []
    /// First links, by hash: 2^level buckets, of which the first `split` have been split into two.
    private var buckets = [UInt32](repeating: none, count: 16)
    private var level: UInt64 = 4
    private var split = 0
    private var linkCount = 0

    /// Open questions.
    private(set) var count = 0
    /// Bytes of their frames.
    private(set) var frameBytes = 0

    /// An empty table.
    init() {}

    /// Memory that the questions take, in bytes.
    var memory: Int { frameBytes + count * Self.bytesPerQuestion }

    /// The entry of a slot that `insert` gave.
    subscript(_ slot: UInt32) -> Entry { entries[Int(slot)] }

    // MARK: Coming and going

    /// Takes a question in.
    /// - Returns: its slot, until `remove`.
    mutating func insert(
        _ frame: [UInt8], _ sent: OpenAnswer, _ watched: WatchedEntities, owner: UInt32, number: UInt32
    ) -> UInt32 {
        let slot: UInt32
        if let known = free.popLast() {
            slot = known
        } else {
            slot = UInt32(entries.count)
            entries.append(Entry())
            // The round that a pass goes has become longer.
            if passLeft > 0 { passLeft += 1 }
            links.append(contentsOf: repeatElement(Link(), count: Self.linksPerEntry))
        }
        entries[Int(slot)] = Entry(frame: frame, sent: sent, owner: owner, number: number, isLive: true)
        count += 1
        frameBytes += frame.count
        let device = watched.device == EntityHash.none ? sent.device : watched.device
        for (index, key) in [watched.subject, watched.resource, watched.session, device].enumerated() {
            connect(Int(slot) * Self.linksPerEntry + index, key)
        }
        if sent.due != .max { push(slot) }
        return slot
    }

    /// Lets a question go.
    mutating func remove(_ slot: UInt32) {
        guard entries[Int(slot)].isLive else { return }
        for index in 0..<Self.linksPerEntry { disconnect(Int(slot) * Self.linksPerEntry + index) }
        if entries[Int(slot)].heapPosition >= 0 { pop(at: Int(entries[Int(slot)].heapPosition)) }
        count -= 1
        frameBytes -= entries[Int(slot)].frame.count
        let isQueued = entries[Int(slot)].isQueued
        entries[Int(slot)] = Entry()
        entries[Int(slot)].isQueued = isQueued
        // A slot that is still in the queue is given again once it has come out.
        if !isQueued { free.append(slot) }
    }

    /// Keeps what was answered now.
    mutating func keep(_ sent: OpenAnswer, _ slot: UInt32) {
        let before = entries[Int(slot)].sent
        entries[Int(slot)].sent = sent
        if before.due != sent.due {
            if entries[Int(slot)].heapPosition >= 0 { pop(at: Int(entries[Int(slot)].heapPosition)) }
            if sent.due != .max { push(slot) }
        } else if sent.due != .max, entries[Int(slot)].heapPosition < 0 {
            push(slot)
        }
        if before.device != sent.device {
            let link = Int(slot) * Self.linksPerEntry + Self.deviceLink
            // The device that the question names itself stays.
            if links[link].key == before.device {
                disconnect(link)
                connect(link, sent.device)
            }
        }
    }

    // MARK: What is to be decided again

    /// Queues the questions that an entity concerns.
    mutating func touch(_ key: UInt64) {
        var link = buckets[bucket(key)]
        while link != Self.none {
            if links[Int(link)].key == key { enqueue(link / UInt32(Self.linksPerEntry)) }
            link = links[Int(link)].next
        }
    }

    /// Has a pass go over all questions.
    mutating func touchAll() { passLeft = entries.count }

    /// Queues one question.
    mutating func enqueue(_ slot: UInt32) {
        guard entries[Int(slot)].isLive, !entries[Int(slot)].isQueued else { return }
        entries[Int(slot)].isQueued = true
        queue.append(slot)
    }

    /// Sets a question aside that `next` gave: it is queued again by `unpark` and by nothing else.
    mutating func park(_ slot: UInt32) { entries[Int(slot)].isQueued = true }

    /// Queues a question that was set aside; call it for one that was removed meanwhile too.
    mutating func unpark(_ slot: UInt32) {
        entries[Int(slot)].isQueued = false
        if entries[Int(slot)].isLive { enqueue(slot) } else { free.append(slot) }
    }

    /// Queues questions that are due, at most `limit`.
    mutating func expire(now: Int64, limit: Int) {
        for _ in 0..<limit {
            guard let slot = heap.first, entries[Int(slot)].sent.due <= now else { return }
            pop(at: 0)
            enqueue(slot)
        }
    }

    /// The first instant at which a question is due; `Int64.max` when none is.
    var nextDue: Int64 { heap.first.map { entries[Int($0)].sent.due } ?? .max }

    /// True while questions wait to be decided again.
    var hasWork: Bool { !queue.isEmpty || passLeft > 0 }

    /// The next question to be decided again; what was touched goes before what a pass comes by.
    mutating func next() -> UInt32? {
        while let slot = queue.popFirst() {
            entries[Int(slot)].isQueued = false
            if entries[Int(slot)].isLive { return slot }
            free.append(slot)
        }
        while passLeft > 0 {
            passLeft -= 1
            passPosition = passPosition + 1 < entries.count ? passPosition + 1 : 0
            if entries[passPosition].isLive, !entries[passPosition].isQueued { return UInt32(passPosition) }
        }
        return nil
    }

    // MARK: Buckets

    private func bucket(_ key: UInt64) -> Int {
        let place = Int(truncatingIfNeeded: (key >> 1) & ((1 << level) - 1))
        return place < split ? Int(truncatingIfNeeded: (key >> 1) & ((2 << level) - 1)) : place
    }

    private mutating func connect(_ link: Int, _ key: UInt64) {
        links[link] = Link()
        if key == EntityHash.none { return }
        links[link].key = key
        prepend(link, to: bucket(key))
        linkCount += 1
        if linkCount > buckets.count { grow() }
    }

    private mutating func prepend(_ link: Int, to bucket: Int) {
        let first = buckets[bucket]
        links[link].next = first
        links[link].previous = Self.none
        if first != Self.none { links[Int(first)].previous = UInt32(link) }
        buckets[bucket] = UInt32(link)
    }

    private mutating func disconnect(_ link: Int) {
        let key = links[link].key
        if key == EntityHash.none { return }
        let (next, previous) = (links[link].next, links[link].previous)
        if next != Self.none { links[Int(next)].previous = previous }
        if previous != Self.none {
            links[Int(previous)].next = next
        } else {
            buckets[bucket(key)] = next
        }
        links[link] = Link()
        linkCount -= 1
    }

    /// One more bucket: the next in turn is split into two.
    private mutating func grow() {
        var link = buckets[split]
        buckets[split] = Self.none
        buckets.append(Self.none)
        split += 1
        while link != Self.none {
            let next = links[Int(link)].next
            prepend(Int(link), to: bucket(links[Int(link)].key))
            link = next
        }
        if split == 1 << Int(level) {
            level += 1
            split = 0
        }
    }

    // MARK: Instants

    private func due(_ position: Int) -> Int64 { entries[Int(heap[position])].sent.due }

    private mutating func place(_ slot: UInt32, at position: Int) {
        heap[position] = slot
        entries[Int(slot)].heapPosition = Int32(position)
    }

    private mutating func push(_ slot: UInt32) {
        heap.append(slot)
        rise(heap.count - 1)
    }

    private mutating func pop(at position: Int) {
        entries[Int(heap[position])].heapPosition = -1
        let last = heap.removeLast()
        if position == heap.count { return }
        place(last, at: position)
        sink(position)
        rise(position)
    }

    private mutating func rise(_ start: Int) {
        var position = start
        let slot = heap[position]
        let due = entries[Int(slot)].sent.due
        while position > 0, self.due((position - 1) / 2) > due {
            place(heap[(position - 1) / 2], at: position)
            position = (position - 1) / 2
        }
        place(slot, at: position)
    }

    private mutating func sink(_ start: Int) {
        var position = start
        let slot = heap[position]
        let due = entries[Int(slot)].sent.due
        while true {
            var child = position * 2 + 1
            if child >= heap.count { break }
            if child + 1 < heap.count, self.due(child + 1) < self.due(child) { child += 1 }
            if self.due(child) >= due { break }
            place(heap[child], at: position)
            position = child
        }
        place(slot, at: position)
    }
}

/// Slots in the order in which they came: a ring that grows.
private struct SlotQueue {
    private var slots = [UInt32](repeating: 0, count: 16)
    private var first = 0
    private var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ slot: UInt32) {
        if count == slots.count {
            slots = Array(slots[first...] + slots[..<first]) + Array(repeating: 0, count: count)
            first = 0
        }
        slots[(first + count) & (slots.count - 1)] = slot
        count += 1
    }

    mutating func popFirst() -> UInt32? {
        if count == 0 { return nil }
        defer {
            first = (first + 1) & (slots.count - 1)
            count -= 1
        }
        return slots[first]
    }
}
