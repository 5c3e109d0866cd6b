// The memory of a compiled policy set: one aligned piece that all threads read.
//
// INVARIANT of this unsafe file: `base` is an allocation of `count` words, initialised in `init`, never changed after and
// freed with the image; whoever reads through `base` keeps the image alive meanwhile.

/// An immutable run of words.
@safe
final class Image: @unchecked Sendable {
    /// The first word, at the start of a cache line.
    let base: UnsafePointer<UInt32>
    let count: Int

    init(_ words: [UInt32]) {
        count = words.count
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, words.count) * 4, alignment: 64)
        let place = unsafe memory.bindMemory(to: UInt32.self, capacity: max(1, words.count))
        for (index, word) in words.enumerated() { unsafe place[index] = word }
        unsafe base = UnsafePointer(place)
    }

    deinit { unsafe base.deallocate() }

    /// A word; 0 beyond the end. For what describes an image, off the hot path.
    func word(_ offset: Int) -> UInt32 { offset >= 0 && offset < count ? unsafe base[offset] : 0 }
}
