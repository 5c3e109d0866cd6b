// What the keys of views start with: layout, type and a zero byte, as plain words, so that asking for a view counts no
// reference.
//
// INVARIANT of this unsafe file: a `ViewPrefix` points into the memory of the `ViewPrefixes` that made it, which is written
// in `init`, does not change and is freed with it; a prefix is used only while that lives.

/// What the keys of a type's views start with.
@safe
public struct ViewPrefix: @unchecked Sendable {
    /// The bytes; void with the `ViewPrefixes` that made it.
    public let bytes: UnsafeRawBufferPointer
    /// The number of the layout of views.
    public let layout: UInt32
    /// Place among the prefixes of a reader's use; -1 for one that stands alone.
    public let index: Int32
    /// What the hash of a key begins with.
    public let seed: UInt64

    /// Bytes of the prefix.
    @inlinable
    @inline(__always)
    public var count: Int { unsafe bytes.count }

    /// A copy of the bytes.
    var array: [UInt8] { unsafe Array(bytes) }

    /// The type's name.
    var type: String { String(decoding: array.dropFirst(4).dropLast(), as: UTF8.self) }
}

/// The prefixes of a layout of views.
@safe
public final class ViewPrefixes: @unchecked Sendable {
    private let memory: UnsafeMutableRawPointer
    @usableFromInline let prefixes: UnsafeMutablePointer<ViewPrefix>
    @usableFromInline let count: Int

    /// - Parameters:
    ///   - layout: the number of the layout of views.
    ///   - types: names of entity types, one prefix for each; a reader remembers by its place whether the type has views.
    ///   - others: names whose prefixes come behind those and stand alone.
    public init(layout: UInt32, types: [String], others: [String] = []) {
        let keys = (types + others).map { Key.number(layout) + Array($0.utf8) + [0] }
        let size = keys.reduce(0) { $0 + $1.count }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, size), alignment: 8)
        count = keys.count
        unsafe prefixes = .allocate(capacity: max(1, count))
        var offset = 0
        for (index, key) in keys.enumerated() {
            unsafe (memory + offset).copyMemory(from: key, byteCount: key.count)
            let bytes = unsafe UnsafeRawBufferPointer(start: memory + offset, count: key.count)
            unsafe (prefixes + index).initialize(
                to: ViewPrefix(
                    bytes: bytes, layout: layout, index: index < types.count ? Int32(truncatingIfNeeded: index) : -1,
                    seed: ViewCache.hash(0x9e37_79b9_7f4a_7c15, bytes)))
            offset += key.count
        }
        unsafe self.memory = memory
    }

    deinit {
        unsafe prefixes.deallocate()
        unsafe memory.deallocate()
    }

    /// The prefix at a place among types and others; it lives as long as this.
    @inlinable
    @inline(__always)
    public subscript(_ index: Int) -> ViewPrefix {
        precondition(index >= 0 && index < count, "a type that the layout does not have")
        return unsafe prefixes[index]
    }
}
