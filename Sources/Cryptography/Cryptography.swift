// The few functions of libcrypto that Stile needs, behind values: one code for every process that hashes.
//
// INVARIANT of this unsafe file: every pointer handed to libcrypto is that of an array or a borrowed buffer whose length
// goes with it, and lives for the call alone.

import COpenSSL

/// A failed call of libcrypto: the machine is out of memory or of randomness. Nothing was computed.
package struct CryptographyError: Error, Sendable, CustomStringConvertible {
    /// What was being done.
    package var operation: String

    package var description: String { "\(operation): libcrypto failed; see that the machine has memory to spare" }
}

/// Hashes and randomness.
package enum Cryptography {
    /// Bytes of SHA-256 and of HMAC-SHA-256.
    package static let hashBytes = 32

    /// SHA-256 (FIPS 180-4).
    package static func sha256(_ message: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let hash = unsafe message.withUnsafeBytes { unsafe digest($0) }
        guard let hash else { throw CryptographyError(operation: "hashing") }
        return hash
    }

    /// SHA-256 (FIPS 180-4) of bytes that lie elsewhere, without a copy of them.
    package static func sha256(_ message: UnsafeRawBufferPointer) throws(CryptographyError) -> [UInt8] {
        guard let hash = unsafe digest(message) else { throw CryptographyError(operation: "hashing") }
        return hash
    }

    private static func digest(_ message: UnsafeRawBufferPointer) -> [UInt8]? {
        var hash = [UInt8](repeating: 0, count: hashBytes)
        let isDone = unsafe hash.withUnsafeMutableBytes { hash in
            unsafe EVP_Digest(
                message.baseAddress, message.count, hash.baseAddress?.assumingMemoryBound(to: UInt8.self), nil,
                EVP_sha256(), nil)
        }
        return isDone == 1 ? hash : nil
    }

    /// HMAC-SHA-256 (RFC 2104).
    package static func hmac(_ message: [UInt8], key: [UInt8]) throws(CryptographyError) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: hashBytes)
        let isDone = unsafe key.withUnsafeBytes { key in
            unsafe message.withUnsafeBytes { message in
                unsafe hash.withUnsafeMutableBytes { hash in
                    unsafe HMAC(
                        EVP_sha256(), key.baseAddress, Int32(key.count),
                        message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count,
                        hash.baseAddress?.assumingMemoryBound(to: UInt8.self), nil) != nil
                }
            }
        }
        guard isDone else { throw CryptographyError(operation: "hashing with a key") }
        return hash
    }

    /// Bytes that nobody can guess.
    package static func random(_ count: Int) throws(CryptographyError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let isDone = unsafe bytes.withUnsafeMutableBytes {
            unsafe RAND_bytes($0.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32($0.count))
        }
        guard isDone == 1 else { throw CryptographyError(operation: "drawing random bytes") }
        return bytes
    }

    /// Compares in a time that depends on the lengths alone.
    package static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return unsafe left.withUnsafeBytes { left in
            unsafe right.withUnsafeBytes { right in
                unsafe CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0
            }
        }
    }
}
