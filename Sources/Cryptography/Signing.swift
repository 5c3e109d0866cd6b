// ECDSA on P-256 with SHA-256 (FIPS 186-5), as JOSE has it: ES256 (RFC 7518 3.4).
//
// INVARIANT of this unsafe file: the key of libcrypto is made in `init`, freed in `deinit` and never changed, so that threads
// may sign with it at once, each in a context of its own; every pointer handed to libcrypto is that of an array whose
// length goes with it, and lives for the call alone.

import COpenSSL

/// A private key that signs.
@safe
package final class SigningKey: @unchecked Sendable {
    /// Bytes of a coordinate and of each half of a signature.
    package static let fieldBytes = 32

    private let key: OpaquePointer
    /// The public point's coordinates.
    package let x: [UInt8]
    package let y: [UInt8]

    /// The key that follows from a secret, always the same.
    /// - Parameter secret: 32 bytes that nobody can guess.
    package init(secret: [UInt8]) throws(CryptographyError) {
        // A number of 256 bits is no private key once in 2^32 times; then the next one is.
        for attempt in 0..<8 as Range<UInt8> {
            let scalar = try Cryptography.hmac(Array("stile/ES256/".utf8) + [attempt], key: secret)
            guard let key = unsafe Self.privateKey(scalar) else { continue }
            let point = unsafe Self.publicPoint(key)
            // 4 says that both coordinates follow (SEC 1, 2.3.3).
            guard point.count == 1 + 2 * Self.fieldBytes, point[0] == 4 else {
                unsafe EVP_PKEY_free(key)
                continue
            }
            unsafe self.key = key
            x = Array(point[1...Self.fieldBytes])
            y = Array(point[(1 + Self.fieldBytes)...])
            return
        }
        throw CryptographyError(operation: "making a signing key")
    }

    deinit { unsafe EVP_PKEY_free(key) }

    /// RFC 5915: version 1, the number, the curve (1.2.840.10045.3.1.7); libcrypto works out the public point.
    private static func privateKey(_ scalar: [UInt8]) -> OpaquePointer? {
        let curve: [UInt8] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
        let body = [0x02, 0x01, 0x01, 0x04, UInt8(fieldBytes)] + scalar + curve
        let encoded = [0x30, UInt8(body.count)] + body
        return unsafe encoded.withUnsafeBufferPointer { bytes in
            var place = bytes.baseAddress
            return unsafe d2i_AutoPrivateKey(nil, &place, encoded.count)
        }
    }

    private static func publicPoint(_ key: OpaquePointer) -> [UInt8] {
        let count = unsafe i2d_PublicKey(key, nil)
        guard count > 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: Int(count))
        let written = unsafe bytes.withUnsafeMutableBufferPointer { bytes in
            var place = bytes.baseAddress
            return unsafe i2d_PublicKey(key, &place)
        }
        return written == count ? bytes : []
    }

    /// The signature of a message: both numbers, 64 bytes.
    package func sign(_ message: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let failure = CryptographyError(operation: "signing")
        guard let context = unsafe EVP_MD_CTX_new() else { throw failure }
        defer { unsafe EVP_MD_CTX_free(context) }
        var encoded = [UInt8](repeating: 0, count: 128)
        var count = encoded.count
        guard unsafe EVP_DigestSignInit(context, nil, EVP_sha256(), nil, key) == 1,
            unsafe EVP_DigestSign(context, &encoded, &count, message, message.count) == 1,
            let signature = Self.numbers(Array(encoded.prefix(count)))
        else { throw failure }
        return signature
    }

    /// The two numbers of a signature in DER, each in 32 bytes.
    private static func numbers(_ encoded: [UInt8]) -> [UInt8]? {
        guard encoded.count > 2, encoded[0] == 0x30, Int(encoded[1]) == encoded.count - 2 else { return nil }
        var result: [UInt8] = []
        var rest = encoded[2...]
        for _ in 0..<2 {
            guard rest.count > 2, rest.removeFirst() == 0x02 else { return nil }
            let count = Int(rest.removeFirst())
            guard count <= rest.count else { return nil }
            let digits = rest.prefix(count).drop { $0 == 0 }
            rest = rest.dropFirst(count)
            guard digits.count <= fieldBytes else { return nil }
            result += [UInt8](repeating: 0, count: fieldBytes - digits.count) + digits
        }
        return rest.isEmpty ? result : nil
    }
}
