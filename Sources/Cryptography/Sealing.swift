// AES-256-GCM with one key (NIST SP 800-38D) and the wrapping of keys by keys (RFC 3394).
//
// INVARIANT of this unsafe file: contexts of libcrypto are made in `init`, freed in `deinit` and used by one thread at a
// time (the class is not Sendable); every pointer handed to libcrypto lies in a buffer whose length was checked before.

import COpenSSL
import Glibc

/// Seals and opens values with one key. The contexts keep the key's schedule, so that a small value costs no set-up.
@safe
package final class SealingKey {
    /// Bytes of a key.
    package static let keyBytes = 32
    /// Bytes that a sealed value is longer than the plain one: the nonce before it, the tag behind it.
    package static let overhead = nonceBytes + tagBytes
    private static let nonceBytes = 12
    private static let tagBytes = 16

    private let sealing: OpaquePointer
    private let opening: OpaquePointer
    /// The tag of the value that is opened and the end of the list; libcrypto takes it with the nonce.
    private let parameters: UnsafeMutablePointer<OSSL_PARAM>
    private let tagName: UnsafeMutablePointer<CChar>

    /// - Parameter key: `keyBytes` bytes.
    package init(_ key: [UInt8]) throws(CryptographyError) {
        guard key.count == Self.keyBytes, let name = unsafe strdup(OSSL_CIPHER_PARAM_AEAD_TAG) else {
            throw CryptographyError(operation: "making a key ready")
        }
        guard let sealing = unsafe EVP_CIPHER_CTX_new() else {
            unsafe free(name)
            throw CryptographyError(operation: "making a key ready")
        }
        guard let opening = unsafe EVP_CIPHER_CTX_new() else {
            unsafe EVP_CIPHER_CTX_free(sealing)
            unsafe free(name)
            throw CryptographyError(operation: "making a key ready")
        }
        unsafe self.sealing = sealing
        unsafe self.opening = opening
        unsafe tagName = name
        unsafe parameters = .allocate(capacity: 2)
        unsafe parameters.initialize(to: OSSL_PARAM_construct_octet_string(name, nil, Self.tagBytes))
        unsafe (parameters + 1).initialize(to: OSSL_PARAM_construct_end())
        guard unsafe EVP_EncryptInit_ex(sealing, EVP_aes_256_gcm(), nil, key, nil) == 1,
            unsafe EVP_DecryptInit_ex(opening, EVP_aes_256_gcm(), nil, key, nil) == 1
        else { throw CryptographyError(operation: "making a key ready") }
    }

    deinit {
        unsafe EVP_CIPHER_CTX_free(sealing)
        unsafe EVP_CIPHER_CTX_free(opening)
        unsafe parameters.deallocate()
        unsafe free(tagName)
    }

    /// Seals a value under a fresh nonce.
    ///
    /// Nonces are random: by NIST SP 800-38D 8.3 a key may seal 2^32 values.
    /// - Parameters:
    ///   - plain: the value.
    ///   - place: what the value belongs to; it opens for this alone.
    ///   - target: takes the nonce, the sealed bytes and the tag; `plain.count + overhead` bytes.
    package func seal(
        _ plain: UnsafeRawBufferPointer, for place: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) throws(CryptographyError) {
        let failure = CryptographyError(operation: "sealing a value")
        guard target.count == plain.count + Self.overhead, let base = target.baseAddress else { throw failure }
        let nonce = unsafe base.assumingMemoryBound(to: UInt8.self)
        let body = unsafe nonce + Self.nonceBytes
        let tag = unsafe body + plain.count
        var count: Int32 = 0
        guard unsafe RAND_bytes(nonce, Int32(Self.nonceBytes)) == 1,
            unsafe EVP_EncryptInit_ex(sealing, nil, nil, nil, nonce) == 1,
            unsafe bind(sealing, place, EVP_EncryptUpdate),
            unsafe EVP_EncryptUpdate(
                sealing, body, &count, plain.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(plain.count)) == 1,
            Int(count) == plain.count,
            unsafe EVP_EncryptFinal_ex(sealing, tag, &count) == 1,
            unsafe EVP_CIPHER_CTX_ctrl(sealing, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), tag) == 1
        else { throw failure }
    }

    /// Opens a value.
    /// - Parameters:
    ///   - sealed: nonce, sealed bytes and tag.
    ///   - place: what it was sealed for.
    ///   - target: takes the value; `sealed.count - overhead` bytes. Not to be read when false comes back.
    /// - Returns: false when the value was not sealed with this key for this place, or has been changed.
    package func open(
        _ sealed: UnsafeRawBufferPointer, for place: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard sealed.count >= Self.overhead, target.count == sealed.count - Self.overhead,
            let base = sealed.baseAddress
        else { return false }
        let nonce = unsafe base.assumingMemoryBound(to: UInt8.self)
        let body = unsafe nonce + Self.nonceBytes
        let tag = unsafe UnsafeMutablePointer(mutating: body + target.count)
        // An empty value has nowhere to go, and libcrypto takes a null pointer for data that are only vouched for.
        var spare: UInt8 = 0
        return unsafe withUnsafeMutablePointer(to: &spare) { spare in
            let place_ = unsafe target.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? spare
            var count: Int32 = 0
            unsafe parameters.pointee.data = UnsafeMutableRawPointer(tag)
            return unsafe EVP_DecryptInit_ex2(opening, nil, nil, nonce, parameters) == 1
                && bind(opening, place, EVP_DecryptUpdate)
                && EVP_DecryptUpdate(opening, place_, &count, body, Int32(target.count)) == 1
                && Int(count) == target.count
                && EVP_DecryptFinal_ex(opening, place_ + target.count, &count) == 1
        }
    }

    /// Feeds what a value belongs to.
    @inline(__always)
    private func bind(
        _ context: OpaquePointer, _ place: UnsafeRawBufferPointer,
        _ update: (
            OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<Int32>?, UnsafePointer<UInt8>?, Int32
        ) -> Int32
    ) -> Bool {
        var count: Int32 = 0
        let bytes = unsafe place.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return unsafe place.isEmpty || update(context, nil, &count, bytes, Int32(place.count)) == 1
    }
}

extension Cryptography {
    /// Seals bytes with a key that seals few values, for a place that they are opened for alone.
    package static func seal(_ plain: [UInt8], key: [UInt8], for place: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let key = try SealingKey(key)
        var sealed = [UInt8](repeating: 0, count: plain.count + SealingKey.overhead)
        let result: Result<Void, CryptographyError> = unsafe sealed.withUnsafeMutableBytes { target in
            unsafe plain.withUnsafeBytes { plain in
                unsafe place.withUnsafeBytes { place in
                    do throws(CryptographyError) {
                        return .success(try unsafe key.seal(plain, for: place, into: target))
                    } catch {
                        return .failure(error)
                    }
                }
            }
        }
        try result.get()
        return sealed
    }

    /// Opens what `seal` gave; nil when it was sealed with another key or for another place, or has been changed.
    package static func open(_ sealed: [UInt8], key: [UInt8], for place: [UInt8]) -> [UInt8]? {
        guard sealed.count >= SealingKey.overhead, let key = try? SealingKey(key) else { return nil }
        var plain = [UInt8](repeating: 0, count: sealed.count - SealingKey.overhead)
        let isOpen = unsafe plain.withUnsafeMutableBytes { target in
            unsafe sealed.withUnsafeBytes { sealed in
                unsafe place.withUnsafeBytes { place in
                    unsafe key.open(sealed, for: place, into: target)
                }
            }
        }
        return isOpen ? plain : nil
    }

    /// Bytes that a wrapped key is longer than the key.
    package static let wrapOverhead = 8

    /// Wraps a key under another (RFC 3394, AES Key Wrap with a key of 256 bits).
    /// - Parameters:
    ///   - key: a multiple of 8 bytes, at least 16.
    ///   - wrapping: 32 bytes.
    package static func wrap(_ key: [UInt8], under wrapping: [UInt8]) throws(CryptographyError) -> [UInt8] {
        guard key.count >= 16, key.count % 8 == 0,
            let wrapped = transform(key, wrapping, key.count + wrapOverhead, isWrapping: true)
        else { throw CryptographyError(operation: "wrapping a key") }
        return wrapped
    }

    /// Unwraps what `wrap` gave; nil when it was wrapped under another key or has been changed.
    package static func unwrap(_ wrapped: [UInt8], under wrapping: [UInt8]) -> [UInt8]? {
        guard wrapped.count >= 24, wrapped.count % 8 == 0 else { return nil }
        return transform(wrapped, wrapping, wrapped.count - wrapOverhead, isWrapping: false)
    }

    private static func transform(
        _ input: [UInt8], _ wrapping: [UInt8], _ length: Int, isWrapping: Bool
    ) -> [UInt8]? {
        guard wrapping.count == SealingKey.keyBytes, let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        unsafe EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW)
        // libcrypto may write a block more than it keeps.
        var output = [UInt8](repeating: 0, count: length + 16)
        var count: Int32 = 0
        guard
            unsafe EVP_CipherInit_ex(context, EVP_aes_256_wrap(), nil, wrapping, nil, isWrapping ? 1 : 0) == 1,
            unsafe EVP_CipherUpdate(context, &output, &count, input, Int32(input.count)) == 1, Int(count) == length
        else { return nil }
        return Array(output.prefix(length))
    }
}
