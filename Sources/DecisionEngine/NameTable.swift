// Names of a question (types, actions, attributes) to indices, without allocating.

import Glibc

/// An immutable map from UTF-8 names to small integers.
package struct NameTable: Sendable {
    private var hashes: [UInt64] = []
    private var values: [Int32] = []
    private var names: [[UInt8]] = []

    /// The index of each name is its place in `names`; a repeated name keeps its first place.
    package init(_ names: [String]) {
        var capacity = 4
        while capacity < names.count * 2 { capacity *= 2 }
        hashes = Array(repeating: 0, count: capacity)
        values = Array(repeating: -1, count: capacity)
        self.names = names.map { Array($0.utf8) }
        for (index, name) in names.enumerated() where self[name] == nil {
            let hash = ContentHash.hash(name)
            var slot = Int(truncatingIfNeeded: hash) & (capacity - 1)
            while values[slot] >= 0 { slot = (slot + 1) & (capacity - 1) }
            hashes[slot] = hash
            values[slot] = Int32(index)
        }
    }

    /// The index of a name, or nil.
    package subscript(_ name: String) -> Int? {
        var name = name
        return name.withUTF8 { unsafe self[UnsafeRawBufferPointer($0)] }
    }

    @inline(__always)
    private func isName(_ index: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        unsafe names[index].withUnsafeBytes { name in
            guard name.count == bytes.count else { return false }
            guard let left = name.baseAddress, let right = bytes.baseAddress else { return true }
            return unsafe memcmp(left, right, name.count) == 0
        }
    }

    /// The index of a name given as bytes, or nil.
    package subscript(_ bytes: UnsafeRawBufferPointer) -> Int? {
        let hash = unsafe ContentHash.hash(bytes)
        var slot = Int(truncatingIfNeeded: hash) & (values.count - 1)
        while values[slot] >= 0 {
            if hashes[slot] == hash {
                let index = Int(values[slot])
                if unsafe isName(index, bytes) { return index }
            }
            slot = (slot + 1) & (values.count - 1)
        }
        return nil
    }
}
