// Bytes that grow and are used again: the memory under frames that are written and records that are filled.
//
// An array would check for other owners at every byte; this has one owner by its type, so a store costs one comparison.
//
// INVARIANT of this unsafe file: `base` is an allocation of `capacity` bytes that belongs to this value alone (it
// cannot be copied), of which the first `count` are initialised; every store and load is checked against `count`. A
// `ByteCursor` lives within the call of `extend` that makes it, in which the memory does not move; its stores are checked
// against what was reserved.

/// An owned, growing run of bytes.
@safe
public struct GrowableBytes: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    /// Bytes in use.
    @inlinable public var count: Int { used }
    @usableFromInline var used = 0

    /// Memory for `capacity` bytes before it has to grow.
    public init(capacity: Int) {
        self.capacity = max(16, capacity)
        unsafe base = .allocate(byteCount: self.capacity, alignment: 16)
    }

    deinit { unsafe base.deallocate() }

    /// Forgets the bytes, keeps the memory.
    @inlinable
    @inline(__always)
    public mutating func removeAll() { used = 0 }

    /// Forgets the bytes from `count` on.
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= used, "a length beyond the bytes in use")
        used = count
    }

    /// Forgets the first `count` bytes; those behind them move to the front.
    public mutating func removeFirst(_ count: Int) {
        precondition(count >= 0 && count <= used, "a length beyond the bytes in use")
        unsafe base.copyMemory(from: base + count, byteCount: used - count)
        used -= count
    }

    /// Gives memory back that is more than `most` bytes, when none are in use.
    @inlinable
    @inline(__always)
    public mutating func release(above most: Int) {
        if capacity > most, used == 0 { shrink() }
    }

    @usableFromInline
    mutating func shrink() {
        unsafe base.deallocate()
        capacity = 256
        unsafe base = .allocate(byteCount: capacity, alignment: 16)
    }

    /// Makes sure that `more` bytes can be added without growing.
    @inlinable
    @inline(__always)
    public mutating func reserve(_ more: Int) {
        if capacity &- count < more { grow(more) }
    }

    @usableFromInline
    mutating func grow(_ more: Int) {
        let larger = max(capacity * 2, count + more)
        let place = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
        unsafe place.copyMemory(from: base, byteCount: count)
        unsafe base.deallocate()
        unsafe base = place
        capacity = larger
    }

    /// Adds a byte.
    @inlinable
    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        unsafe base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        used &+= 1
    }

    /// Adds a word as it lies in memory.
    @inlinable
    @inline(__always)
    public mutating func append<Word: BitwiseCopyable & FixedWidthInteger>(word: Word) {
        let size = MemoryLayout<Word>.size
        reserve(size)
        unsafe base.storeBytes(of: word, toByteOffset: count, as: Word.self)
        used &+= size
    }

    /// Adds bytes that lie elsewhere.
    @inlinable
    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let from = bytes.baseAddress else { return }
        reserve(bytes.count)
        unsafe (base + count).copyMemory(from: from, byteCount: bytes.count)
        used &+= bytes.count
    }

    /// Adds an array's bytes.
    @inlinable
    public mutating func append(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe append($0) }
    }

    /// Adds this many zero bytes.
    /// - Returns: where they start.
    @discardableResult
    @inlinable
    @inline(__always)
    public mutating func appendZeros(_ more: Int) -> Int {
        reserve(more)
        let start = count
        unsafe (base + start).initializeMemory(as: UInt8.self, repeating: 0, count: more)
        used &+= more
        return start
    }

    /// Begins anew with two words, and two other words behind them this many times over: the head and the empty slots of a
    /// record.
    @inlinable
    @inline(__always)
    public mutating func restart(with head: (UInt64, UInt64), pair: (UInt64, UInt64), count more: Int) {
        used = 0
        let size = 16 &+ more &* 16
        reserve(size)
        unsafe base.storeBytes(of: head.0, as: UInt64.self)
        unsafe base.storeBytes(of: head.1, toByteOffset: 8, as: UInt64.self)
        var offset = 16
        while offset < size {
            unsafe base.storeBytes(of: pair.0, toByteOffset: offset, as: UInt64.self)
            unsafe base.storeBytes(of: pair.1, toByteOffset: offset &+ 8, as: UInt64.self)
            offset &+= 16
        }
        used = size
    }

    /// Lends the memory behind the bytes in use, at least `least` bytes; as many as `body` says are in use afterwards.
    /// - Returns: what `body` says.
    @inlinable
    @inline(__always)
    public mutating func fill(least: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int) -> Int {
        reserve(least)
        let room = capacity &- used
        let count = unsafe body(UnsafeMutableRawBufferPointer(start: base + used, count: room))
        precondition(count <= room, "more bytes in use than there are")
        if count > 0 { used &+= count }
        return count
    }

    /// Lets `body` put at most `most` bytes behind those in use: one look at the room instead of one for each.
    @inlinable
    @inline(__always)
    public mutating func extend(most: Int, _ body: (inout ByteCursor) -> Void) {
        reserve(most)
        var cursor = unsafe ByteCursor(place: base + used, end: base + used + most)
        body(&cursor)
        used = unsafe cursor.place - base
    }

    /// Overwrites a word; `offset` and the bytes after it must be in use.
    @inlinable
    @inline(__always)
    public mutating func store<Word: BitwiseCopyable & FixedWidthInteger>(_ word: Word, at offset: Int) {
        precondition(offset >= 0 && offset &+ MemoryLayout<Word>.size <= count, "a store outside of the bytes in use")
        unsafe base.storeBytes(of: word, toByteOffset: offset, as: Word.self)
    }

    /// Reads a word; `offset` and the bytes after it must be in use.
    @inlinable
    @inline(__always)
    public func load<Word: BitwiseCopyable & FixedWidthInteger>(at offset: Int, as type: Word.Type) -> Word {
        precondition(offset >= 0 && offset &+ MemoryLayout<Word>.size <= count, "a load outside of the bytes in use")
        return unsafe base.loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// A copy.
    public var array: [UInt8] { unsafe Array(borrowed) }

    /// The bytes in place. Unsafe: void after the next change of this value.
    @unsafe
    @inlinable
    @inline(__always)
    public var borrowed: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: base, count: count) }
}

/// A place in reserved memory that each store moves on. Beyond the end of what was reserved nothing is stored: that is a
/// defect of the caller, and stops the process.
@safe
public struct ByteCursor {
    @usableFromInline var place: UnsafeMutableRawPointer
    @usableFromInline let end: UnsafeMutableRawPointer

    @inlinable
    @inline(__always)
    init(place: UnsafeMutableRawPointer, end: UnsafeMutableRawPointer) {
        unsafe self.place = place
        unsafe self.end = end
    }

    /// Puts a word as it lies in memory.
    @inlinable
    @inline(__always)
    public mutating func put<Word: BitwiseCopyable & FixedWidthInteger>(_ word: Word) {
        unsafe precondition(end - place >= MemoryLayout<Word>.size, "a store beyond the bytes reserved")
        unsafe place.storeBytes(of: word, as: Word.self)
        unsafe place += MemoryLayout<Word>.size
    }

    /// Puts the first `count` bytes of four words; there must be room for all of them.
    @inlinable
    @inline(__always)
    public mutating func put(_ words: InlineArray<4, UInt64>, first count: Int) {
        unsafe precondition(end - place >= 32 && count <= 32 && count >= 0, "a store beyond the bytes reserved")
        for index in 0..<4 { unsafe place.storeBytes(of: words[index], toByteOffset: index &* 8, as: UInt64.self) }
        unsafe place += count
    }

    /// Puts bytes that lie elsewhere.
    @inlinable
    @inline(__always)
    public mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let from = bytes.baseAddress else { return }
        unsafe precondition(end - place >= bytes.count, "a store beyond the bytes reserved")
        unsafe place.copyMemory(from: from, byteCount: bytes.count)
        unsafe place += bytes.count
    }
}
