// Writes CBOR in its deterministic encoding (RFC 8949 4.2.1): shortest heads, definite lengths. Keys must be given
// in order; the frames of this project use small integers, so the order is that of the code.

public import Memory

/// Appends items to a buffer whose memory is kept from frame to frame.
public struct CBORWriter: ~Copyable {
    /// What has been written.
    public var bytes = GrowableBytes(capacity: 256)

    /// An empty writer.
    public init() {}

    /// Forgets what was written, keeps the memory.
    public mutating func removeAll() { bytes.removeAll() }

    /// A head of major type 0 to 7 with its argument in the fewest bytes.
    @inlinable
    @inline(__always)
    public mutating func head(_ major: UInt8, _ argument: UInt64) {
        if argument < 24 {
            bytes.append(major << 5 | UInt8(truncatingIfNeeded: argument))
        } else {
            wideHead(major, argument)
        }
    }

    @usableFromInline
    mutating func wideHead(_ major: UInt8, _ argument: UInt64) {
        bytes.extend(most: 9) { $0.put(head: major, argument) }
    }

    /// An unsigned integer.
    @inlinable
    @inline(__always)
    public mutating func unsigned(_ value: UInt64) { head(0, value) }

    /// A signed integer.
    public mutating func integer(_ value: Int64) {
        if value >= 0 { head(0, UInt64(value)) } else { head(1, ~UInt64(bitPattern: value)) }
    }

    /// A text string; `text` must be UTF-8.
    public mutating func text(_ text: UnsafeRawBufferPointer) {
        head(3, UInt64(text.count))
        unsafe bytes.append(text)
    }

    /// A text string; the bytes must be UTF-8.
    public mutating func text(_ text: ArraySlice<UInt8>) {
        head(3, UInt64(text.count))
        unsafe text.withUnsafeBytes { unsafe bytes.append($0) }
    }

    /// A text string.
    public mutating func text(_ text: String) {
        var text = text
        head(3, UInt64(text.utf8.count))
        text.withUTF8 { unsafe bytes.append(UnsafeRawBufferPointer($0)) }
    }

    /// A byte string.
    public mutating func byteString(_ value: [UInt8]) {
        head(2, UInt64(value.count))
        bytes.append(value)
    }

    /// The head of an array of `count` items.
    @inlinable
    @inline(__always)
    public mutating func array(_ count: Int) { head(4, UInt64(count)) }
    /// The head of a map of `count` pairs.
    @inlinable
    @inline(__always)
    public mutating func map(_ count: Int) { head(5, UInt64(count)) }
    /// true or false.
    public mutating func bool(_ value: Bool) { bytes.append(value ? 0xf5 : 0xf4) }
    /// null.
    public mutating func null() { bytes.append(0xf6) }
    /// A ready piece of CBOR.
    public mutating func raw(_ fragment: [UInt8]) { bytes.append(fragment) }

    /// A decimal fraction (RFC 8949 3.4.4): mantissa times ten to the exponent.
    public mutating func decimal(mantissa: Int64, exponent: Int64) {
        head(6, 4)
        array(2)
        integer(exponent)
        integer(mantissa)
    }
}

extension ByteCursor {
    /// Puts a head of major type 0 to 7 with its argument in the fewest bytes: nine at most.
    @inlinable
    @inline(__always)
    public mutating func put(head major: UInt8, _ argument: UInt64) {
        let type = major << 5
        if argument < 24 {
            put(type | UInt8(truncatingIfNeeded: argument))
        } else if argument <= 0xff {
            put(type | 24)
            put(UInt8(truncatingIfNeeded: argument))
        } else if argument <= 0xffff {
            put(type | 25)
            put(UInt16(truncatingIfNeeded: argument).bigEndian)
        } else if argument <= 0xffff_ffff {
            put(type | 26)
            put(UInt32(truncatingIfNeeded: argument).bigEndian)
        } else {
            put(type | 27)
            put(argument.bigEndian)
        }
    }
}
