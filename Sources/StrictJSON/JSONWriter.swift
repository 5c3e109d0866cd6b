// JSON as bytes, piece by piece, for answers that are written by the thousand.

/// Appends pieces of JSON. What is written between them, commas and braces, is the caller's.
package struct JSONWriter: Sendable {
    /// What has been written.
    package private(set) var bytes: [UInt8] = []

    /// - Parameter capacity: bytes that are expected.
    package init(capacity: Int = 512) { bytes.reserveCapacity(capacity) }

    /// Text that is JSON already.
    package mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Bytes that are JSON already.
    package mutating func raw(_ piece: [UInt8]) { bytes.append(contentsOf: piece) }

    /// A string with its quotes.
    package mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        escaped(text)
        bytes.append(UInt8(ascii: "\""))
    }

    /// The inside of a string, for one that is put together from pieces.
    package mutating func escaped(_ text: String) {
        // No way out of the loop, so that it looks at many bytes at once.
        var isPlain = true
        let span = text.utf8.span
        for index in 0..<span.count {
            let byte = span[index]
            isPlain = isPlain && (byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\"))
        }
        if isPlain {
            bytes.append(contentsOf: text.utf8)
            return
        }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x0a: raw("\\n")
            case 0x0d: raw("\\r")
            case 0x09: raw("\\t")
            case 0..<0x20:
                raw("\\u00")
                hexadecimal(byte)
            default: bytes.append(byte)
            }
        }
    }

    /// Two digits of a string's inside.
    package mutating func hexadecimal(_ byte: UInt8) {
        bytes.append(Self.digit(byte >> 4))
        bytes.append(Self.digit(byte & 15))
    }

    /// Sixteen digits of a string's inside.
    package mutating func hexadecimal(_ value: UInt64) { bytes.append(contentsOf: Sixteen(value: value)) }

    private struct Sixteen: RandomAccessCollection {
        let value: UInt64
        var startIndex: Int { 0 }
        var endIndex: Int { 16 }
        subscript(index: Int) -> UInt8 { digit(UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index)) & 15) }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x61 + value - 10 }

    /// A whole number.
    package mutating func number(_ value: UInt64) {
        if value < 10 { return bytes.append(0x30 + UInt8(value)) }
        let start = bytes.count
        var rest = value
        while rest > 0 {
            bytes.append(0x30 + UInt8(rest % 10))
            rest /= 10
        }
        bytes[start...].reverse()
    }

    /// true or false.
    package mutating func bool(_ value: Bool) { raw(value ? "true" : "false") }

    /// Any value.
    package mutating func value(_ value: JSONValue) { raw(value.compact) }
}
