// Ids that tell nothing: UUIDs of version 4 (RFC 9562, 5.4).

import CBOR

/// A UUID.
package struct UniqueID: Sendable, Hashable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// A new one.
    package init() {
        // The system's generator draws from getrandom(2).
        var generator = SystemRandomNumberGenerator()
        high = generator.next() & 0xffff_ffff_ffff_0fff | 0x4000
        low = generator.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
    }

    /// From 16 bytes.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// From a stored value; nil when it is none.
    init?(_ value: CBORValue?) {
        guard case .bytes(let bytes)? = value else { return nil }
        self.init(bytes: bytes)
    }

    /// What stands for the id of a version from before versions had one.
    init(version: UInt64) {
        high = 0x8000
        low = 0x8000_0000_0000_0000 | version
    }

    /// From the usual form, in either case: `9b2d8f5e-31f4-4c1a-8d2e-0a6f5b7c9d10`.
    package init?(_ text: String) {
        let characters = Array(text.utf8)
        guard characters.count == 36 else { return nil }
        var bytes: [UInt8] = []
        var half: UInt8?
        for (index, character) in characters.enumerated() {
            if [8, 13, 18, 23].contains(index) {
                guard character == UInt8(ascii: "-") else { return nil }
                continue
            }
            let digit: UInt8
            switch character {
            case 0x30...0x39: digit = character - 0x30
            case 0x61...0x66: digit = character - 0x61 + 10
            case 0x41...0x46: digit = character - 0x41 + 10
            default: return nil
            }
            if let first = half {
                bytes.append(first << 4 | digit)
                half = nil
            } else {
                half = digit
            }
        }
        self.init(bytes: bytes)
    }

    /// The 16 bytes.
    package var bytes: [UInt8] { Key.number(high) + Key.number(low) }

    package var description: String {
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }
}
