// Tokens of pages: where a search goes on, sealed, so that nobody reads ids out of one or makes one up. A token belongs to its
// tenant and to its request, ends after an hour, and outlives a restart, because the key comes from that of credentials.

package import Cryptography

/// Seals and opens tokens.
package struct PageSeal: Sendable {
    /// Where a search goes on.
    package struct Position: Sendable, Hashable {
        /// SHA-256 of the request, without its page.
        package var request: [UInt8]
        /// Results of a page.
        package var limit: UInt32
        /// Entities up to this id were asked about.
        package var after: String
        /// ms since the epoch.
        package var expires: Int64

        package init(request: [UInt8], limit: UInt32, after: String, expires: Int64) {
            self.request = request
            self.limit = limit
            self.after = after
            self.expires = expires
        }
    }

    /// How long a token is good, in ms.
    package static let life: Int64 = 3_600_000
    /// Characters of a token at most.
    package static let maxLength = 1_024

    private static let version: UInt8 = 1
    private static let headBytes = 1 + 8 + 4 + Cryptography.hashBytes
    private let key: [UInt8]

    /// - Parameter key: 32 bytes.
    package init(key: [UInt8]) { self.key = key }

    /// The token of a position.
    package func token(_ position: Position, tenant: String) throws(CryptographyError) -> String {
        var plain = [Self.version]
        for shift in stride(from: 56, through: 0, by: -8) {
            plain.append(UInt8(truncatingIfNeeded: position.expires >> Int64(shift)))
        }
        for shift in stride(from: 24, through: 0, by: -8) {
            plain.append(UInt8(truncatingIfNeeded: position.limit >> UInt32(shift)))
        }
        plain += position.request
        plain += Array(position.after.utf8)
        return Base64URL.encode(try Cryptography.seal(plain, key: key, for: Array(tenant.utf8)))
    }

    /// The position of a token; nil when it is none of ours or another tenant's.
    package func open(_ token: String, tenant: String) -> Position? {
        guard token.utf8.count <= Self.maxLength, let sealed = Base64URL.decode(token),
            let plain = Cryptography.open(sealed, key: key, for: Array(tenant.utf8)),
            plain.count >= Self.headBytes, plain[0] == Self.version,
            let after = String(validating: plain[Self.headBytes...], as: UTF8.self)
        else { return nil }
        return Position(
            request: Array(plain[13..<Self.headBytes]), limit: plain[9..<13].reduce(0) { $0 << 8 | UInt32($1) },
            after: after, expires: plain[1..<9].reduce(0) { $0 << 8 | Int64($1) })
    }
}

/// Base64 for URLs without padding (RFC 4648 5).
package enum Base64URL {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count * 4 + 2) / 3)
        var index = 0
        while index < bytes.count {
            let rest = min(3, bytes.count - index)
            var group: UInt32 = 0
            for offset in 0..<3 { group = group << 8 | (offset < rest ? UInt32(bytes[index + offset]) : 0) }
            for digit in 0...rest { text.append(alphabet[Int(group >> UInt32(18 - 6 * digit) & 63)]) }
            index += 3
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil for other characters, a length that cannot be, and bits that no byte has.
    package static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var group: UInt32 = 0
        var bits: UInt32 = 0
        for character in text.utf8 {
            guard let digit = value(character) else { return nil }
            group = group << 6 | digit
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: group >> bits))
                group &= (1 << bits) - 1
            }
        }
        return bits < 6 && group == 0 ? bytes : nil
    }

    private static func value(_ character: UInt8) -> UInt32? {
        switch character {
        case 0x41...0x5a: UInt32(character) - 0x41
        case 0x61...0x7a: UInt32(character) - 0x61 + 26
        case 0x30...0x39: UInt32(character) - 0x30 + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
