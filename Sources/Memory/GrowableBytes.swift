// Bytes that grow and are used again: the memory under frames that are written and records that are filled.
//
// An array would check for other owners at every byte; this has one owner by its type, so a store costs one comparison.
//
// INVARIANT of this unsafe file: `base` is an allocation of `capacity` bytes that belongs to this value alone (it
// cannot be copied), of which the first `count` are initialised; every store and load is checked against `count`.

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

    /// Adds two words, this many times over: the empty slots of a record.
    @inlinable
    @inline(__always)
    public mutating func append(pair first: UInt64, _ second: UInt64, count more: Int) {
        reserve(more &* 16)
        var place = unsafe base + used
        for _ in 0..<more {
            unsafe place.storeBytes(of: first, as: UInt64.self)
            unsafe place.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
            unsafe place += 16
        }
        used &+= more &* 16
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
