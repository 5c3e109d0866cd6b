// Names of a question (types, actions, attributes) to indices, without allocating and without counting references.
//
// One allocation holds many tables, so that a question's few look-ups stay on few cache lines. A table is open
// addressing over entries of four words: the name's first and last eight bytes (overlapping, zero filled when the
// name is shorter), its length with its index, and where the whole name lies. Length, first and last word decide
// equality up to 16 bytes; longer names are compared whole.
//
// INVARIANT of this unsafe file: `base` is an allocation of `wordCount` words, initialised in `init`, never changed
// after and freed with the arena; every offset in it was made by `init`. A `NameTable` points into the arena that
// made it and is used only while that arena lives.

import Glibc

/// An immutable set of name tables in one piece of memory; shared by all threads.
@safe
public final class NameArena: @unchecked Sendable {
    private let base: UnsafeMutablePointer<UInt64>
    private let starts: [Int]

    /// One table for each list; the index of a name is its place in the list; a repeated name keeps its first place.
    public init(_ lists: [[String]]) {
        var words: [UInt64] = []
        var starts: [Int] = []
        for list in lists {
            starts.append(words.count)
            Self.append(list, to: &words)
        }
        self.starts = starts
        unsafe base = .allocate(capacity: max(1, words.count))
        for (index, word) in words.enumerated() { unsafe base[index] = word }
    }

    deinit { unsafe base.deallocate() }

    /// The table of a list; lives as long as the arena.
    public subscript(_ list: Int) -> NameTable { unsafe NameTable(UnsafePointer(base + starts[list])) }

    /// [mask, entries of 4, names of all entries one after the other]
    private static func append(_ list: [String], to words: inout [UInt64]) {
        var capacity = 4
        while capacity < list.count * 2 { capacity *= 2 }
        let start = words.count
        words.append(UInt64(capacity - 1))
        words.append(contentsOf: repeatElement(0, count: capacity * NameTable.entryWords))
        var seen = Set<[UInt8]>()
        for (index, name) in list.enumerated() {
            let bytes = Array(name.utf8)
            guard seen.insert(bytes).inserted else { continue }
            let (first, last) = unsafe bytes.withUnsafeBytes { unsafe NameTable.ends(of: $0) }
            var slot = NameTable.slot(first, last, bytes.count) & (capacity - 1)
            func entry() -> Int { start + 1 + slot * NameTable.entryWords }
            while words[entry() + 2] != 0 { slot = (slot + 1) & (capacity - 1) }
            words[entry()] = first
            words[entry() + 1] = last
            words[entry() + 2] = UInt64(bytes.count) << 32 | UInt64(index + 1)
            words[entry() + 3] = UInt64(words.count - start)
            for position in stride(from: 0, to: bytes.count, by: 8) {
                var word: UInt64 = 0
                for (shift, byte) in bytes[position..<min(position + 8, bytes.count)].enumerated() {
                    word |= UInt64(byte) << UInt64(8 * shift)
                }
                words.append(word.littleEndian)
            }
        }
    }
}

/// A table of a `NameArena`. Plain words: copying it counts nothing.
@safe
public struct NameTable: @unchecked Sendable {
    @inlinable static var entryWords: Int { 4 }
    @usableFromInline let base: UnsafePointer<UInt64>

    init(_ base: UnsafePointer<UInt64>) { unsafe self.base = base }

    /// The index of a name, or nil.
    public subscript(_ name: String) -> Int? {
        var name = name
        return name.withUTF8 { unsafe self[UnsafeRawBufferPointer($0)] }
    }

    /// The index of a name given as bytes, or nil.
    @inlinable
    @inline(__always)
    public subscript(_ bytes: UnsafeRawBufferPointer) -> Int? {
        let (first, last) = unsafe Self.ends(of: bytes)
        let mask = Int(unsafe base[0])
        var slot = Self.slot(first, last, bytes.count) & mask
        while true {
            let entry = 1 &+ slot &* Self.entryWords
            let word = unsafe base[entry &+ 2]
            if word == 0 { return nil }
            if unsafe base[entry] == first, unsafe base[entry &+ 1] == last, Int(word >> 32) == bytes.count,
                unsafe bytes.count <= 16 || isWhole(entry, bytes)
            {
                return Int(word & 0xffff_ffff) &- 1
            }
            slot = (slot &+ 1) & mask
        }
    }

    @usableFromInline
    func isWhole(_ entry: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let from = bytes.baseAddress else { return false }
        return unsafe memcmp(base + Int(base[entry &+ 3]), from, bytes.count) == 0
    }

    @inlinable
    @inline(__always)
    static func slot(_ first: UInt64, _ last: UInt64, _ count: Int) -> Int {
        let product = (first ^ (last &<< 1) ^ UInt64(truncatingIfNeeded: count)) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: product >> 40)
    }

    /// The first and the last eight bytes as words.
    @inlinable
    @inline(__always)
    static func ends(of bytes: UnsafeRawBufferPointer) -> (first: UInt64, last: UInt64) {
        let count = bytes.count
        if count >= 8 {
            return unsafe (
                bytes.loadUnaligned(as: UInt64.self),
                bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            )
        }
        if count >= 4 {
            return unsafe (
                UInt64(bytes.loadUnaligned(as: UInt32.self)),
                UInt64(bytes.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
            )
        }
        if count == 0 { return (0, 0) }
        return unsafe (
            UInt64(bytes[0]) | UInt64(bytes[count / 2]) << 8, UInt64(bytes[count &- 1])
        )
    }
}
