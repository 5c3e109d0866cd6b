// A ring of bytes between two threads: one puts records in, one takes them out. Neither holds a lock nor allocates;
// putting a record costs a comparison, the copy and one store.
//
// The memory can be a file of a file system in memory (tmpfs). Then what was put in outlives a process that was killed,
// and the next one takes it out.
//
//      0  magic, format, capacity: u64 each
//     64  u64 head: bytes ever put in            the producer's line
//     72  u64 lost: records refused
//     80  u64 the producer's copy of tail
//     88  u64 state of the producer's sampling
//     96  u64 head when the consumer was woken last
//    128  u64 tail: bytes ever taken out         the consumer's line
//    136  u64 nonzero when nobody takes anything out any more
//   4096  `capacity` bytes, a power of two: records of 8 bytes times n, each with its size in the first four
//
// INVARIANT of this unsafe file: `base` is a mapping of `ByteRing.dataOffset + capacity` bytes that lives as long as
// the `ByteRing`; a `RingProducer` and a `RingConsumer` are used only while it lives, each by one thread at a time.
// Bytes from tail to head belong to the consumer, all others to the producer: head is stored with release and loaded
// with acquire by the other side, and so is tail. What the consumer reads is checked against head and capacity, for a
// file may have been written by another program.

public import CLinux
import Glibc
public import Synchronization

/// Why there is no ring: an errno and what was being done.
public struct ByteRingError: Error, Sendable, CustomStringConvertible {
    /// The errno.
    public var code: Int32
    /// What was being done.
    public var operation: String
    /// Both, in words.
    public var description: String { "\(operation): \(unsafe String(cString: strerror(code)))" }
}

/// The memory of a ring; unmapped with the object.
@safe
public final class ByteRing: @unchecked Sendable {
    /// Bytes before the records.
    public static let dataOffset = 4096
    static let magic: UInt64 = 0x474e_4952_4c49_5453
    static let format: UInt64 = 1

    private let base: UnsafeMutableRawPointer
    /// Bytes for records; a power of two.
    public let capacity: Int
    /// The file under it, and its descriptor, whose lock says that the ring is in use.
    public let path: String?
    private let descriptor: Int32

    private init(_ base: UnsafeMutableRawPointer, _ capacity: Int, _ path: String?, _ descriptor: Int32) {
        unsafe self.base = base
        self.capacity = capacity
        self.path = path
        self.descriptor = descriptor
    }

    deinit {
        unsafe munmap(base, Self.dataOffset + capacity)
        if descriptor >= 0 { close(descriptor) }
    }

    /// A ring in memory of this process alone.
    /// - Parameter capacity: at least this many bytes.
    public convenience init(capacity: Int) throws(ByteRingError) {
        let capacity = Self.rounded(capacity)
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE
        try unsafe self.init(Self.map(capacity, flags, -1), capacity, nil, -1)
        format()
    }

    /// A ring in a new file, which must not exist. Its room is reserved: a store into it cannot fail later.
    public convenience init(capacity: Int, file path: String) throws(ByteRingError) {
        let capacity = Self.rounded(capacity)
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw ByteRingError(code: errno, operation: "making \(path)") }
        var code: Int32 = 0
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0 { code = errno }
        if code == 0 { code = posix_fallocate(descriptor, 0, off_t(Self.dataOffset + capacity)) }
        let base: UnsafeMutableRawPointer
        do throws(ByteRingError) {
            if code != 0 { throw ByteRingError(code: code, operation: "reserving room for \(path)") }
            unsafe base = try Self.map(capacity, MAP_SHARED | MAP_POPULATE, descriptor)
        } catch {
            _ = unsafe unlink(path)
            close(descriptor)
            throw error
        }
        unsafe self.init(base, capacity, path, descriptor)
        format()
    }

    /// The ring in a file that a process has left behind.
    /// - Returns: nil when a living process uses it or when it is no ring.
    public static func leftBehind(file path: String) throws(ByteRingError) -> ByteRing? {
        let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw ByteRingError(code: errno, operation: "opening \(path)") }
        var info = stat()
        var head: (UInt64, UInt64, UInt64) = (0, 0, 0)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, unsafe fstat(descriptor, &info) == 0,
            info.st_uid == geteuid(), unsafe pread(descriptor, &head, 24, 0) == 24,
            head.0 == magic, head.1 == format, head.2 >= 4096, head.2 <= 1 << 32,
            head.2 & (head.2 &- 1) == 0, info.st_size == off_t(dataOffset) + off_t(head.2)
        else {
            close(descriptor)
            return nil
        }
        do throws(ByteRingError) {
            let capacity = Int(head.2)
            let base = try unsafe map(capacity, MAP_SHARED, descriptor)
            return unsafe ByteRing(base, capacity, path, descriptor)
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Removes the file: nobody is to find what was in it.
    public func removeFile() {
        if let path { _ = unsafe unlink(path) }
    }

    private static func rounded(_ capacity: Int) -> Int {
        var rounded = 4096
        while rounded < min(capacity, 1 << 30) { rounded *= 2 }
        return rounded
    }

    private static func map(
        _ capacity: Int, _ flags: Int32, _ descriptor: Int32
    ) throws(ByteRingError) -> UnsafeMutableRawPointer {
        let base = unsafe mmap(nil, dataOffset + capacity, PROT_READ | PROT_WRITE, flags, descriptor, 0)
        guard let base = unsafe base, unsafe base != MAP_FAILED else {
            throw ByteRingError(code: errno, operation: "mapping a ring of \(capacity) bytes")
        }
        return unsafe base
    }

    private func format() {
        unsafe base.storeBytes(of: Self.format, toByteOffset: 8, as: UInt64.self)
        unsafe base.storeBytes(of: UInt64(capacity), toByteOffset: 16, as: UInt64.self)
        unsafe base.storeBytes(of: UInt64.random(in: 1...UInt64.max), toByteOffset: 88, as: UInt64.self)
        unsafe base.storeBytes(of: Self.magic, as: UInt64.self)
    }

    /// The side that puts in; for one thread.
    public var producer: RingProducer { unsafe RingProducer(base: base, capacity: capacity) }
    /// The side that takes out; for one thread.
    public var consumer: RingConsumer { unsafe RingConsumer(base: base, capacity: capacity) }
    /// Records that were refused or given up.
    public var lost: UInt64 { unsafe RingWord(base + 72).value }

    /// Says that nothing is taken out any more, so that no producer waits for room.
    public func closeForProducer() { unsafe RingWord(base + 136).release(1) }
}

/// A place for one record: its bytes after the size, and where the ring ends with it.
@safe
public struct RingPlace {
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let end: UInt64

    @inlinable
    init(base: UnsafeMutableRawPointer, end: UInt64) {
        unsafe self.base = base
        self.end = end
    }

    /// Where the record starts; its first four bytes are the ring's own and hold its size. Unsafe: only as many bytes
    /// as were asked for.
    @unsafe
    @inlinable
    public var pointer: UnsafeMutableRawPointer { unsafe base }
}

/// Puts records into a ring. Plain words: copying it counts nothing.
@safe
public struct RingProducer: @unchecked Sendable {
    @usableFromInline let base: UnsafeMutableRawPointer
    /// Bytes of the ring.
    public let capacity: Int

    init(base: UnsafeMutableRawPointer, capacity: Int) {
        unsafe self.base = base
        self.capacity = capacity
    }

    /// Bytes of the longest record.
    @inlinable public var maxRecord: Int { capacity / 4 }

    /// True when more than half of the ring waits to be taken out and the consumer should not sleep on; then not again
    /// before another quarter was put in.
    @inlinable
    @inline(__always)
    public func shouldWakeConsumer() -> Bool {
        word(64).value &- knownTail > UInt64(capacity / 2) && isWorthWaking()
    }

    @usableFromInline
    func isWorthWaking() -> Bool {
        let head = word(64).value
        guard head &- refreshedTail() > UInt64(capacity / 2), head &- word(96).value >= UInt64(capacity / 4) else {
            return false
        }
        word(96).set(head)
        return true
    }

    @inlinable
    @inline(__always)
    func word(_ offset: Int) -> RingWord { unsafe RingWord(base + offset) }

    /// How far the consumer was when it was last looked at.
    @inlinable
    @inline(__always)
    var knownTail: UInt64 { unsafe base.load(fromByteOffset: 80, as: UInt64.self) }

    @usableFromInline
    func refreshedTail() -> UInt64 {
        let tail = word(128).acquired
        unsafe base.storeBytes(of: tail, toByteOffset: 80, as: UInt64.self)
        return tail
    }

    /// Asks for the memory of the next record: its lines were read by the consumer's processor last, and come while the
    /// record is still being made.
    @inlinable
    @inline(__always)
    public func prepare() {
        var line = unsafe base + 4096 + (Int(truncatingIfNeeded: word(64).value) & (capacity &- 1))
        // As many as a usual record takes; where the ring ends, what lies behind it may be any memory.
        for _ in 0..<6 {
            unsafe stile_prefetch_to_write(line)
            unsafe line += 64
        }
    }

    /// Room for a record.
    /// - Parameter count: its bytes with the four of its size, from 8 to `maxRecord`.
    /// - Returns: nil when the consumer has to take something out first, or when the count is out of bounds.
    @inlinable
    @inline(__always)
    public func reserve(_ count: Int) -> RingPlace? {
        guard count >= 8, count <= maxRecord else { return nil }
        let size = (count &+ 7) & ~7
        let head = word(64).value
        let offset = Int(truncatingIfNeeded: head) & (capacity &- 1)
        let rest = capacity &- offset
        let needed = size <= rest ? size : rest &+ size
        if capacity &- Int(truncatingIfNeeded: head &- knownTail) < needed,
            capacity &- Int(truncatingIfNeeded: head &- refreshedTail()) < needed
        {
            return nil
        }
        var place = unsafe base + 4096 + offset
        if size > rest {
            // The record does not fit before the end: a mark sends the reader to the start.
            unsafe place.storeBytes(of: UInt32.max, as: UInt32.self)
            unsafe place = base + 4096
        }
        unsafe place.storeBytes(of: UInt32(truncatingIfNeeded: size), as: UInt32.self)
        return unsafe RingPlace(base: place, end: head &+ UInt64(truncatingIfNeeded: needed))
    }

    /// Hands a filled record over.
    @inlinable
    @inline(__always)
    public func publish(_ place: RingPlace) { word(64).release(place.end) }

    /// Counts a record that was given up.
    public func countLost() { word(72).set(word(72).value &+ 1) }

    /// True when nothing is taken out any more.
    public var isClosed: Bool { word(136).acquired != 0 }

    /// A number for sampling; another each time.
    @inlinable
    public func nextRandom() -> UInt64 {
        var state = unsafe base.load(fromByteOffset: 88, as: UInt64.self)
        state ^= state &<< 13
        state ^= state &>> 7
        state ^= state &<< 17
        unsafe base.storeBytes(of: state, toByteOffset: 88, as: UInt64.self)
        return state
    }
}

/// Takes records out of a ring.
@safe
public struct RingConsumer: ~Copyable, @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    private let capacity: Int
    /// The next byte to look at; what lies between tail and here is looked at but still in the ring.
    private var position: UInt64
    /// The ring's bytes were none of ours, and what was in it is passed over.
    private var isDamaged = false

    init(base: UnsafeMutableRawPointer, capacity: Int) {
        unsafe self.base = base
        self.capacity = capacity
        position = unsafe RingWord(base + 128).value
    }

    /// Bytes that were put in and not looked at.
    public var waiting: Int {
        Int(truncatingIfNeeded: unsafe RingWord(base + 64).acquired &- position)
    }

    /// Looks at records in their order until `body` returns false or there are no more. They stay in the ring until
    /// `release`, so that a crash before then loses none.
    public mutating func forEach(_ body: (UnsafeRawBufferPointer) -> Bool) {
        let head = unsafe RingWord(base + 64).acquired
        guard head &- position <= UInt64(capacity), (head | position) & 7 == 0 else { return giveUp(head) }
        while position != head {
            let offset = Int(truncatingIfNeeded: position) & (capacity - 1)
            let place = unsafe UnsafeRawPointer(base + ByteRing.dataOffset + offset)
            let size = unsafe place.load(as: UInt32.self)
            let rest = capacity - offset
            if size == .max, UInt64(rest) <= head &- position {
                position &+= UInt64(rest)
                continue
            }
            guard size >= 8, size & 7 == 0, Int(size) <= rest, UInt64(size) <= head &- position else {
                return giveUp(head)
            }
            position &+= UInt64(size)
            if unsafe !body(UnsafeRawBufferPointer(start: place, count: Int(size))) { return }
        }
    }

    private mutating func giveUp(_ head: UInt64) {
        isDamaged = true
        position = head
    }

    /// True once after bytes had to be passed over that are no records.
    public mutating func takeDamaged() -> Bool {
        defer { isDamaged = false }
        return isDamaged
    }

    /// Gives the room of everything that was looked at back to the producer.
    public func release() { unsafe RingWord(base + 128).release(position) }
}

/// A word of the ring that both sides look at: an atomic's address is that of its value.
@safe
@usableFromInline
struct RingWord {
    @usableFromInline let pointer: UnsafeMutablePointer<Atomic<UInt64>>

    @inlinable
    @inline(__always)
    init(_ address: UnsafeMutableRawPointer) {
        unsafe pointer = address.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// The value, by whichever side alone writes it, or where being late does no harm.
    @inlinable
    @inline(__always)
    var value: UInt64 { unsafe pointer.pointee.load(ordering: .relaxed) }

    /// The value, and all that was stored before it.
    @inlinable
    @inline(__always)
    var acquired: UInt64 { unsafe pointer.pointee.load(ordering: .acquiring) }

    /// Stores a value that nothing else hangs on.
    @inlinable
    @inline(__always)
    func set(_ value: UInt64) { unsafe pointer.pointee.store(value, ordering: .relaxed) }

    /// Stores a value that shows all that was stored before.
    @inlinable
    @inline(__always)
    func release(_ value: UInt64) { unsafe pointer.pointee.store(value, ordering: .releasing) }
}
