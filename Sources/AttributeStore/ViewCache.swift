// Where the views of one snapshot lie, so that a second question about a subject costs one or two cache lines instead of
// a walk down the tree of the store. No change can be missed: a place is only used while the snapshot's id is the one it
// was found in, and as long as that has not moved nothing was committed, so no page of the map was written again.
//
// INVARIANT of this unsafe file: a place of generation g was returned by `mdb_get` for the snapshot of generation g and
// points into the store's map, which stays mapped while the environment is open; `startGeneration` is called whenever the
// snapshot's id moves, before any look-up. The bytes just before a place are those of its key (checked when it is
// stored), so comparing them with the key that is asked for is safe and decides equality: the length is in the entry.
// A place may also lie in `opened`, a mapping of `openedRoom` bytes that goes with the cache: there too the key stands before
// the view, and what was put there stays as it is until the next generation.

public import CLinux
public import DecisionEngine
import Glibc
import Synchronization

/// Places of views, for one thread and tenant.
@safe
public struct ViewCache: ~Copyable {
    /// Where a view lies.
    public struct Entry {
        /// Address in the low 48 bits, 16 bits of the key's hash above them.
        public var word: UInt64
        /// The generation in which the place was found.
        public var generation: UInt32
        /// Bytes of the view in the low 22 bits, bytes of the key above them.
        public var lengths: UInt32

        /// Of a view whose key of `key` bytes lies just before it.
        init(_ view: UnsafeRawBufferPointer, key: Int, hash: UInt64, generation: UInt32) {
            word = unsafe Self.word(view, hash)
            self.generation = generation
            lengths = UInt32(truncatingIfNeeded: view.count) | UInt32(truncatingIfNeeded: key) << 22
        }

        /// No view.
        init() {
            word = 0
            generation = 0
            lengths = 0
        }

        /// Bytes of the view.
        @inlinable
        @inline(__always)
        public var count: Int { Int(lengths & 0x3f_ffff) }

        static func word(_ view: UnsafeRawBufferPointer, _ hash: UInt64) -> UInt64 {
            UInt64(UInt(bitPattern: view.baseAddress)) | (hash >> 48) << 48
        }
    }

    /// Entries that share a cache line, among which a key may lie anywhere.
    @inlinable public static var ways: Int { 4 }
    private static let firstBuckets = 256
    private static let largePage = 2 << 20
    /// The bits of an entry's word that are the address.
    @inlinable public static var addressMask: UInt64 { 0xffff_ffff_ffff }

    /// Bytes that all caches of the process may take together. Beyond it they stop to grow.
    private static let room = SharedRoom(32 << 20)
    /// Bytes that the opened views of all caches of the process may take together, and of one.
    private static let sharedOpened = SharedRoom(openedRoom)
    private static let openedRoom = 32 << 20
    private static let firstRoom = 64 << 10

    /// Buckets of `ways` entries; nil before the first place is stored.
    public private(set) var entries: UnsafeMutablePointer<Entry>?
    /// Buckets; a power of two, or 0.
    public private(set) var buckets = 0
    /// 0 is no generation, so that zeroed memory is empty.
    public private(set) var generation: UInt32 = 1
    /// Places stored in this generation.
    private var stored = 0
    private var canGrow = true
    /// Views that were opened, for a tenant that seals: nil before the first. Their memory is in no dump of the process.
    private var opened: UnsafeMutableRawPointer?
    private var openedUsed = 0
    /// Bytes that may be used now, all taken from the budget.
    private var openedLimit = 0
    /// Bytes of views there whose entries were taken by others.
    private var wasted = 0
    /// Views lie in `opened` that no entry leads to any more: start a generation as soon as none is lent.
    private(set) var hasWaste = false

    init() {}

    deinit {
        if let opened = unsafe opened {
            unsafe munmap(opened, Self.openedRoom)
            Self.sharedOpened.give(openedLimit)
        }
        free()
        Self.room.give(Self.bytes(buckets))
    }

    /// Forgets every place: another snapshot is read from now on.
    mutating func startGeneration() {
        generation &+= 1
        stored = 0
        giveBack()
        if generation == 0, let entries = unsafe entries {
            unsafe entries.update(repeating: Entry(), count: buckets * Self.ways)
            generation = 1
        }
    }

    /// The entries among which a key with this hash may lie; nil before the first place is stored.
    @inlinable
    @inline(__always)
    public func bucket(_ hash: UInt64) -> UnsafeMutablePointer<Entry>? {
        unsafe entries.map { unsafe $0 + (Int(truncatingIfNeeded: hash) & (buckets &- 1)) &* Self.ways }
    }

    /// Asks for the lines of memory that `find` will read.
    @inlinable
    @inline(__always)
    public func prefetch(hash: UInt64) {
        guard let bucket = unsafe bucket(hash) else { return }
        unsafe stile_prefetch(bucket)
    }

    /// Asks for the lines where the view of a key with this hash is likely to lie.
    @inlinable
    @inline(__always)
    public func prefetchView(hash: UInt64) {
        guard let bucket = unsafe bucket(hash) else { return }
        let tag = hash >> 48
        for way in 0..<Self.ways where unsafe bucket[way].word >> 48 == tag {
            let place = unsafe UInt(bucket[way].word & Self.addressMask)
            // The key is compared first, and nearly all of a usual view comes with it: addresses that need not be right.
            unsafe stile_prefetch(UnsafeRawPointer(bitPattern: place &- 32))
            unsafe stile_prefetch(UnsafeRawPointer(bitPattern: place &+ 32))
            unsafe stile_prefetch(UnsafeRawPointer(bitPattern: place &+ 96))
            unsafe stile_prefetch(UnsafeRawPointer(bitPattern: place &+ 160))
            return
        }
    }

    /// The view of the key that a prefix and an id make; nil when its place is not known.
    @inlinable
    @inline(__always)
    public func find(_ prefix: ViewPrefix, _ id: UnsafeRawBufferPointer, hash: UInt64) -> UnsafeRawBufferPointer? {
        guard let bucket = unsafe bucket(hash) else { return nil }
        let tag = hash >> 48
        let count = prefix.count &+ id.count
        for way in 0..<Self.ways {
            let entry = unsafe bucket[way]
            guard entry.generation == generation, entry.word >> 48 == tag, Int(entry.lengths >> 22) == count,
                let place = unsafe UnsafeRawPointer(bitPattern: UInt(entry.word & Self.addressMask)),
                unsafe Bytes.areEqual(place - id.count, id.baseAddress, id.count),
                unsafe Bytes.areEqual(place - count, prefix.bytes.baseAddress, prefix.count)
            else { continue }
            return unsafe UnsafeRawBufferPointer(start: place, count: entry.count)
        }
        return nil
    }

    /// The key of a view that `find` gave, which lies just before it.
    /// - Parameter count: bytes of the key that was asked for.
    static func key(of view: UnsafeRawBufferPointer, _ count: Int) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: view.baseAddress.map { unsafe $0 - count }, count: count)
    }

    /// Remembers where `mdb_get` found a key's view.
    mutating func store(_ key: UnsafeRawBufferPointer, hash: UInt64, _ value: UnsafeRawBufferPointer) {
        guard let wanted = key.baseAddress, let place = value.baseAddress, value.count < 1 << 22, key.count < 1 << 10,
            UInt64(UInt(bitPattern: place)) <= Self.addressMask,
            // A large value lies on pages of its own, with something else before it: it is looked up each time.
            unsafe memcmp(place - key.count, wanted, key.count) == 0
        else { return }
        if stored >= buckets * Self.ways * 3 / 4 { grow() }
        guard let bucket = unsafe bucket(hash) else { return }
        // An empty way, else one that the key itself chooses.
        var way = Int(truncatingIfNeeded: hash >> 32) & (Self.ways - 1)
        for candidate in 0..<Self.ways where unsafe bucket[candidate].generation != generation { way = candidate }
        if unsafe bucket[way].generation == generation, unsafe isOpened(bucket[way]) {
            wasted += unsafe bucket[way].count
        }
        unsafe bucket[way] = Entry(value, key: key.count, hash: hash, generation: generation)
        stored &+= 1
    }

    /// More room, empty: the places come back as they are asked for, each by a walk down the tree. Four times as much where it
    /// can be had, for then few are found again.
    private mutating func grow() {
        guard canGrow else { return }
        canGrow = grow(to: max(Self.firstBuckets, buckets * 4)) || grow(to: max(Self.firstBuckets, buckets * 2))
    }

    /// - Returns: false, with nothing changed, when there is not so much room.
    private mutating func grow(to more: Int) -> Bool {
        let bytes = Self.bytes(more)
        let had = Self.bytes(buckets)
        guard Self.room.take(bytes - had) else { return false }
        guard let memory = unsafe Self.zeroed(bytes) else {
            Self.room.give(bytes - had)
            return false
        }
        free()
        unsafe entries = memory.bindMemory(to: Entry.self, capacity: more * Self.ways)
        buckets = more
        stored = 0
        hasWaste = openedUsed > 0
        return true
    }

    private static func bytes(_ buckets: Int) -> Int { buckets * ways * MemoryLayout<Entry>.stride }

    /// Memory for entries, all zero. Much of it is mapped, so that it is filled with zeros where it is used and when: to do all
    /// of it at once would hold a question up for milliseconds.
    private static func zeroed(_ bytes: Int) -> UnsafeMutableRawPointer? {
        guard bytes >= largePage else {
            var memory: UnsafeMutableRawPointer?
            guard unsafe posix_memalign(&memory, 64, bytes) == 0, let memory = unsafe memory else { return nil }
            unsafe memset(memory, 0, bytes)
            return unsafe memory
        }
        let memory = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
        // A look-up goes anywhere in it: on small pages nearly each one would walk the page tables too.
        _ = unsafe madvise(memory, bytes, MADV_HUGEPAGE)
        return unsafe memory
    }

    private func free() {
        guard let entries = unsafe entries else { return }
        let bytes = Self.bytes(buckets)
        if bytes >= Self.largePage { unsafe munmap(entries, bytes) } else { unsafe Glibc.free(entries) }
    }

    /// Keeps a view that was opened, so that it is opened once a snapshot; the entry of the sealed one leads to it from now on.
    /// - Parameter sealed: its value in the map, whose place is stored.
    mutating func keep(
        _ plain: UnsafeRawBufferPointer, of sealed: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer, hash: UInt64
    ) {
        guard let bucket = unsafe bucket(hash), let from = plain.baseAddress, let keyFrom = key.baseAddress else {
            return
        }
        let word = unsafe Entry.word(sealed, hash)
        for way in 0..<Self.ways {
            guard unsafe bucket[way].word == word && bucket[way].generation == generation else { continue }
            let offset = (openedUsed &+ key.count &+ 15) & ~15
            guard offset &+ plain.count <= openedLimit || takeRoom(offset &+ plain.count), let opened = unsafe opened
            else {
                // As soon as nothing is lent the rest begins anew.
                if wasted &* 2 > openedUsed { hasWaste = true }
                return
            }
            let target = unsafe opened + offset
            unsafe (target - key.count).copyMemory(from: keyFrom, byteCount: key.count)
            unsafe target.copyMemory(from: from, byteCount: plain.count)
            openedUsed = offset &+ plain.count
            let kept = unsafe UnsafeRawBufferPointer(start: target, count: plain.count)
            unsafe bucket[way] = Entry(kept, key: key.count, hash: hash, generation: generation)
            return
        }
    }

    /// Forgets the opened views, and gives the others their room when little of it was used.
    private mutating func giveBack() {
        if openedUsed < openedLimit / 4, openedLimit > Self.firstRoom, let opened = unsafe opened {
            _ = unsafe madvise(opened, Self.openedRoom, MADV_DONTNEED)
            Self.sharedOpened.give(openedLimit)
            openedLimit = 0
        }
        openedUsed = 0
        wasted = 0
        hasWaste = false
    }

    private func isOpened(_ entry: Entry) -> Bool {
        guard let opened = unsafe opened else { return false }
        return UInt(entry.word & Self.addressMask) &- UInt(bitPattern: opened) < UInt(Self.openedRoom)
    }

    /// More room for opened views, while the process has some; maps the memory at first.
    private mutating func takeRoom(_ end: Int) -> Bool {
        guard end <= Self.openedRoom else { return false }
        if unsafe opened == nil {
            let memory = unsafe mmap(
                nil, Self.openedRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return false }
            _ = unsafe madvise(memory, Self.openedRoom, MADV_DONTDUMP)
            _ = unsafe madvise(memory, Self.openedRoom, MADV_HUGEPAGE)
            unsafe opened = memory
        }
        while openedLimit < end {
            // Twice what there was, so that a tenant that is asked little about takes little from the others.
            let step = min(max(Self.firstRoom, openedLimit), Self.largePage, Self.openedRoom - openedLimit)
            guard Self.sharedOpened.take(step) else { return false }
            openedLimit += step
        }
        return true
    }

    /// A hash of a key, from its prefix's and the id; only its spread matters, a place is checked against the key itself.
    @inlinable
    @inline(__always)
    public static func hash(_ seed: UInt64, _ id: UnsafeRawBufferPointer) -> UInt64 {
        let count = id.count
        var hash = seed ^ UInt64(truncatingIfNeeded: count)
        var offset = 0
        while offset &+ 8 <= count {
            hash = unsafe mix(hash ^ id.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset &+= 8
        }
        return unsafe mix(hash ^ ContentHash.tail(id))
    }

    /// Spreads the bits of a word.
    @inlinable
    @inline(__always)
    public static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xa076_1d64_78bd_642f)
        return product.high ^ product.low
    }
}

/// Bytes that all threads share.
private struct SharedRoom: ~Copyable, Sendable {
    private let most: Int
    private let taken = Atomic<Int>(0)

    init(_ most: Int) { self.most = most }

    /// False, with nothing taken, when there are not so many left.
    func take(_ bytes: Int) -> Bool {
        if taken.wrappingAdd(bytes, ordering: .relaxed).newValue <= most { return true }
        give(bytes)
        return false
    }

    func give(_ bytes: Int) { taken.wrappingSubtract(bytes, ordering: .relaxed) }
}
