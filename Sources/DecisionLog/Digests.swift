// The two sums of the log: CRC-32C for each record, SHA-256 for the chain.
//
// INVARIANT of this unsafe file: pointers are those of the borrowed buffers, with their lengths, for the call alone.

import CLinux
import COpenSSL

/// Sums over bytes.
enum Digests {
    /// Bytes of a link of the chain.
    static let hashBytes = 32

    /// CRC-32C (RFC 3720, B.4) of two pieces, one after the other.
    static func crc32c(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> UInt32 {
        let crc = unsafe stile_crc32c(0, first.baseAddress, first.count)
        return unsafe stile_crc32c(crc, second.baseAddress, second.count)
    }

    /// SHA-256 (FIPS 180-4).
    /// - Returns: nil when libcrypto fails for lack of memory.
    static func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var hash = [UInt8](repeating: 0, count: hashBytes)
        let isDone = unsafe hash.withUnsafeMutableBytes { hash in
            unsafe EVP_Digest(
                bytes.baseAddress, bytes.count, hash.baseAddress?.assumingMemoryBound(to: UInt8.self), nil,
                EVP_sha256(),
                nil)
        }
        return isDone == 1 ? hash : nil
    }
}
