// The two sums of the log: CRC-32C for each record, SHA-256 for the chain.
//
// INVARIANT of this unsafe file: pointers are those of the borrowed buffers, with their lengths, for the call alone.

import CLinux
import Cryptography

/// Sums over bytes.
enum Digests {
    /// Bytes of a link of the chain.
    static let hashBytes = Cryptography.hashBytes

    /// CRC-32C (RFC 3720, B.4) of two pieces, one after the other.
    static func crc32c(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> UInt32 {
        let crc = unsafe stile_crc32c(0, first.baseAddress, first.count)
        return unsafe stile_crc32c(crc, second.baseAddress, second.count)
    }

    /// SHA-256 (FIPS 180-4).
    /// - Returns: nil when libcrypto fails for lack of memory.
    static func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        try? unsafe Cryptography.sha256(bytes)
    }
}
