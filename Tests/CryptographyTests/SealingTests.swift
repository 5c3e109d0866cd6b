// AES-256-GCM and AES Key Wrap against published vectors, and what is refused.

import Cryptography
import Testing

@Suite struct SealingTests {
    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16)
        }
    }

    private func open(_ key: SealingKey, _ sealed: [UInt8], _ first: [UInt8], _ second: [UInt8]) -> [UInt8]? {
        var plain = [UInt8](repeating: 0, count: max(0, sealed.count - SealingKey.overhead))
        let isGenuine = unsafe sealed.withUnsafeBytes { sealed in
            unsafe (first + second).withUnsafeBytes { place in
                unsafe plain.withUnsafeMutableBytes { plain in
                    unsafe key.open(sealed, for: place, into: plain)
                }
            }
        }
        return isGenuine ? plain : nil
    }

    private func seal(_ key: SealingKey, _ plain: [UInt8], _ first: [UInt8], _ second: [UInt8]) -> [UInt8] {
        var sealed = [UInt8](repeating: 0, count: plain.count + SealingKey.overhead)
        unsafe plain.withUnsafeBytes { plain in
            unsafe (first + second).withUnsafeBytes { place in
                unsafe sealed.withUnsafeMutableBytes { sealed in
                    try? unsafe key.seal(plain, for: place, into: sealed)
                }
            }
        }
        return sealed
    }

    /// Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", the submission to NIST.
    @Test func opensThePublishedVector() throws {
        let key = try SealingKey(bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))
        let plain = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0d"
                + "e657ba637b39")
        let sealed = bytes(
            "cafebabefacedbaddecaf888"
                + "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e63"
                + "93ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b")
        let about = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")
        #expect(open(key, sealed, Array(about.prefix(1)), Array(about.dropFirst())) == plain)
        #expect(open(key, sealed, [], about) == plain)
        #expect(open(key, sealed, about, [0]) == nil)
    }

    @Test func whatWasSealedOpensForItsPlaceAlone() throws {
        let key = try SealingKey([UInt8](repeating: 7, count: 32))
        for length in [0, 1, 15, 16, 17, 300, 70_000] {
            let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
            let sealed = seal(key, plain, [1], Array("place".utf8))
            #expect(open(key, sealed, [1], Array("place".utf8)) == plain)
            #expect(open(key, sealed, [2], Array("place".utf8)) == nil)
            #expect(open(key, sealed, [1], Array("elsewhere".utf8)) == nil)
            for place in [0, 12, sealed.count - 1] {
                var changed = sealed
                changed[place] ^= 1
                #expect(open(key, changed, [1], Array("place".utf8)) == nil)
            }
            #expect(open(key, Array(sealed.dropLast()), [1], Array("place".utf8)) == nil)
            #expect(seal(key, plain, [1], []) != seal(key, plain, [1], []))
        }
        #expect(open(try SealingKey([UInt8](repeating: 8, count: 32)), seal(key, [1], [], []), [], []) == nil)
    }

    /// RFC 3394 4.6.
    @Test func wrapsAsThePublishedVector() throws {
        let own = bytes("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
        let key = bytes("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
        let wrapped = bytes("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21")
        #expect(try Cryptography.wrap(key, under: own) == wrapped)
        #expect(Cryptography.unwrap(wrapped, under: own) == key)
        #expect(Cryptography.unwrap(wrapped, under: key) == nil)
        #expect(Cryptography.unwrap(Array(wrapped.dropLast(8)), under: own) == nil)
        #expect(Cryptography.unwrap([], under: own) == nil)
        #expect(throws: CryptographyError.self) { try Cryptography.wrap([1, 2, 3], under: own) }
    }
}
