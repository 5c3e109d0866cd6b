// Writes CBOR in its deterministic encoding (RFC 8949 4.2.1): shortest heads, definite lengths. Keys must be given
// in order; the frames of this project use small integers, so the order is that of the code.

/// Appends items to a buffer whose memory is kept from frame to frame.
package struct CBORWriter: ~Copyable {
    /// What has been written.
    package var bytes: [UInt8] = []

    package init() {}

    /// Forgets what was written, keeps the memory.
    package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    /// A head of major type 0 to 7 with its argument in the fewest bytes.
    @inline(__always)
    package mutating func head(_ major: UInt8, _ argument: UInt64) {
        let type = major << 5
        if argument < 24 {
            bytes.append(type | UInt8(truncatingIfNeeded: argument))
        } else if argument <= 0xff {
            bytes.append(type | 24)
            bytes.append(UInt8(truncatingIfNeeded: argument))
        } else {
            wideHead(type, argument)
        }
    }

    private mutating func wideHead(_ type: UInt8, _ argument: UInt64) {
        let width = argument <= 0xffff ? 2 : argument <= 0xffff_ffff ? 4 : 8
        bytes.append(type | (width == 2 ? 25 : width == 4 ? 26 : 27))
        for index in (0..<width).reversed() { bytes.append(UInt8(truncatingIfNeeded: argument >> UInt64(8 * index))) }
    }

    /// An unsigned integer.
    @inline(__always)
    package mutating func unsigned(_ value: UInt64) { head(0, value) }

    /// A signed integer.
    package mutating func integer(_ value: Int64) {
        if value >= 0 { head(0, UInt64(value)) } else { head(1, ~UInt64(bitPattern: value)) }
    }

    /// A text string; `text` must be UTF-8.
    package mutating func text(_ text: UnsafeRawBufferPointer) {
        head(3, UInt64(text.count))
        unsafe bytes.append(contentsOf: text)
    }

    /// A text string.
    package mutating func text(_ text: String) {
        var text = text
        head(3, UInt64(text.utf8.count))
        text.withUTF8 { unsafe bytes.append(contentsOf: $0) }
    }

    /// A byte string.
    package mutating func byteString(_ value: some Collection<UInt8>) {
        head(2, UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    /// The head of an array of `count` items.
    package mutating func array(_ count: Int) { head(4, UInt64(count)) }
    /// The head of a map of `count` pairs.
    package mutating func map(_ count: Int) { head(5, UInt64(count)) }
    /// true or false.
    package mutating func bool(_ value: Bool) { bytes.append(value ? 0xf5 : 0xf4) }
    /// null.
    package mutating func null() { bytes.append(0xf6) }
    /// A ready piece of CBOR.
    package mutating func raw(_ fragment: [UInt8]) { bytes.append(contentsOf: fragment) }

    /// A decimal fraction (RFC 8949 3.4.4): mantissa times ten to the exponent.
    package mutating func decimal(mantissa: Int64, exponent: Int64) {
        head(6, 4)
        array(2)
        integer(exponent)
        integer(mantissa)
    }
}
