// The text of a credential: `stile_pep_`, the credential's id, its secret and a checksum, in base 62.
//
// The prefix lets scanners of leaked secrets find it, the checksum lets them be sure without asking; one regular
// expression covers all: stile_(pep|provisioner|transmitter|admin|operator|auditor)_[0-9A-Za-z]{71}

package import AttributeStore
package import Cryptography

/// A credential as its owner holds it. It is never stored, logged or described.
package struct BearerToken: Sendable {
    package let role: Role
    package let id: UniqueID
    /// The whole text.
    package let text: String

    private static let idDigits = 22
    private static let secretDigits = 43
    private static let checkDigits = 6
    private static let secretBytes = 32
    private static let digits = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    /// Bytes of the longest text that can be one.
    package static let maxBytes = 128

    /// A new one.
    package init(role: Role, id: UniqueID) throws(CryptographyError) {
        let body =
            "stile_\(role.mark)_" + Self.base62(id.bytes, digits: Self.idDigits)
            + Self.base62(try Cryptography.random(Self.secretBytes), digits: Self.secretDigits)
        self.role = role
        self.id = id
        text = body + Self.checksum(body)
    }

    /// Reads one; nil when the text is none, for example with a letter mistyped. Says nothing of its validity.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.maxBytes else { return nil }
        let parts = text.split(separator: "_", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "stile", let role = Role.allCases.first(where: { $0.mark == parts[1] }),
            parts[2].utf8.count == Self.idDigits + Self.secretDigits + Self.checkDigits,
            text.hasSuffix(Self.checksum(String(text.dropLast(Self.checkDigits)))),
            let bytes = Self.bytes(parts[2].utf8.prefix(Self.idDigits)), let id = UniqueID(bytes: bytes)
        else { return nil }
        self.role = role
        self.id = id
        self.text = text
    }

    /// CRC-32 (ISO 3309) of the text before it.
    private static func checksum(_ text: String) -> String {
        var sum: UInt32 = 0xffff_ffff
        for byte in text.utf8 {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xedb8_8320 : sum >> 1 }
        }
        sum = ~sum
        return base62([24, 16, 8, 0].map { UInt8(truncatingIfNeeded: sum >> UInt32($0)) }, digits: checkDigits)
    }

    /// The bytes, as one big number, in so many digits.
    private static func base62(_ bytes: [UInt8], digits count: Int) -> String {
        var number = bytes
        var text: [UInt8] = []
        for _ in 0..<count {
            var remainder = 0
            for index in number.indices {
                let value = remainder << 8 | Int(number[index])
                number[index] = UInt8(value / 62)
                remainder = value % 62
            }
            text.append(digits[remainder])
        }
        return String(decoding: text.reversed(), as: UTF8.self)
    }

    /// The 16 bytes that so many digits say.
    private static func bytes(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var number = [UInt8](repeating: 0, count: 16)
        for character in text {
            guard let digit = digits.firstIndex(of: character) else { return nil }
            var carry = digit
            for index in number.indices.reversed() {
                let value = Int(number[index]) * 62 + carry
                number[index] = UInt8(truncatingIfNeeded: value)
                carry = value >> 8
            }
            if carry != 0 { return nil }
        }
        return number
    }
}
