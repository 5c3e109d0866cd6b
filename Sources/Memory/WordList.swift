// A list of words that is filled and emptied with every question: no check for other owners, no call to empty it.
//
// INVARIANT of this unsafe file: `base` is an allocation of `capacity` words that belongs to this value alone (it cannot
// be copied), of which the first `count` are initialised; every read is checked against `count`.

/// An owned, growing list of 32-bit words.
@safe
public struct WordList: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<UInt32>
    @usableFromInline var capacity: Int
    @usableFromInline var used = 0

    /// Room for `capacity` words before it has to grow.
    public init(capacity: Int) {
        self.capacity = max(8, capacity)
        unsafe base = .allocate(capacity: self.capacity)
    }

    deinit { unsafe base.deallocate() }

    /// Words in the list.
    @inlinable public var count: Int { used }
    /// True for no words.
    @inlinable public var isEmpty: Bool { used == 0 }

    /// Forgets the words, keeps the memory.
    @inlinable
    @inline(__always)
    public mutating func removeAll() { used = 0 }

    /// Adds a word.
    @inlinable
    @inline(__always)
    public mutating func append(_ word: UInt32) {
        if used == capacity { grow() }
        unsafe base[used] = word
        used &+= 1
    }

    /// Takes the last word off; nil when there is none.
    @inlinable
    @inline(__always)
    public mutating func popLast() -> UInt32? {
        if used == 0 { return nil }
        used &-= 1
        return unsafe base[used]
    }

    /// The word at an index below `count`.
    @inlinable
    @inline(__always)
    public subscript(_ index: Int) -> UInt32 {
        precondition(index >= 0 && index < used, "a word outside of the list")
        return unsafe base[index]
    }

    /// True when the word is in the list.
    @inlinable
    public func contains(_ word: UInt32) -> Bool {
        for index in 0..<used where unsafe base[index] == word { return true }
        return false
    }

    /// Puts the words in ascending order.
    public mutating func sort() {
        var words = unsafe UnsafeMutableBufferPointer(start: base, count: used)
        unsafe words.sort()
    }

    /// A copy.
    public var array: [UInt32] { unsafe Array(UnsafeBufferPointer(start: base, count: used)) }

    @usableFromInline
    mutating func grow() {
        let larger = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity * 2)
        unsafe larger.update(from: base, count: used)
        unsafe base.deallocate()
        unsafe base = larger
        capacity *= 2
    }
}
