// The 64-bit hash that strings carry in records, so that equality and switches compare one word first.
//
// It is no defence: equality is always confirmed on the bytes, so a collision costs time, never a wrong answer.

/// Hashes bytes; the same on every machine and in every version, because records keep the result.
public enum ContentHash {
    @inlinable
    @inline(__always)
    static func mix(_ state: UInt64, _ word: UInt64) -> UInt64 {
        let product = (state ^ word) &* 0x9e37_79b9_7f4a_7c15
        return product ^ (product >> 29)
    }

    /// Hash of the bytes in `count` and order.
    @inlinable
    public static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var state: UInt64 = 0x2545_f491_4f6c_dd1d ^ UInt64(truncatingIfNeeded: bytes.count)
        var offset = 0
        while offset &+ 8 <= bytes.count {
            // Bounds: the loop condition keeps all eight bytes inside.
            let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            state = mix(state, UInt64(littleEndian: word))
            offset &+= 8
        }
        let tail = unsafe Self.tail(bytes)
        return mix(mix(state, tail), 0xd6e8_feb8_6659_fd93)
    }

    /// The bytes behind the last whole word, as the low bytes of one: read by words that overlap, for ids are short and
    /// a loop over bytes would be the larger part of their hash.
    @inlinable
    @inline(__always)
    public static func tail(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let count = bytes.count
        let rest = count & 7
        if rest == 0 { return 0 }
        // Bounds: each offset is at least 0 and leaves the width of its load before `count`.
        if count >= 8 {
            let word = unsafe bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            return UInt64(littleEndian: word) &>> UInt64(64 &- 8 &* rest)
        }
        if rest >= 4 {
            let low = unsafe bytes.loadUnaligned(as: UInt32.self)
            let high = unsafe bytes.loadUnaligned(fromByteOffset: rest &- 4, as: UInt32.self)
            return UInt64(UInt32(littleEndian: low)) | UInt64(UInt32(littleEndian: high)) &<< UInt64(8 &* (rest &- 4))
        }
        let middle = rest / 2
        return unsafe UInt64(bytes[0]) | UInt64(bytes[middle]) &<< UInt64(8 &* middle)
            | UInt64(bytes[rest &- 1]) &<< UInt64(8 &* (rest &- 1))
    }

    /// Hash of bytes in an array.
    static func hash(_ bytes: [UInt8]) -> UInt64 { unsafe bytes.withUnsafeBytes { unsafe hash($0) } }

    /// Hash of a string's UTF-8.
    package static func hash(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { unsafe hash(UnsafeRawBufferPointer($0)) }
    }
}
