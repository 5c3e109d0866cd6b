// Keys of 32 bytes in files that their owner alone can read.
//
// INVARIANT of this unsafe file: buffers live for the system call they are handed to.

import Cryptography
import Glibc

/// A file with a key.
package enum KeyFile {
    /// Bytes of a key.
    package static let keyBytes = 32

    /// Reads a key.
    /// - Parameters:
    ///   - what: what it is the key of, for messages.
    ///   - loss: what follows when it is lost, for messages.
    /// - Throws: `permission_denied` for a file that others can read, `store_missing`, `store_damaged`.
    package static func read(_ path: String, what: String, loss: String) throws(StoreError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw StoreError(.storeMissing, "the key of \(what) cannot be read at \(path): \(reason)")
        }
        defer { close(descriptor) }
        var info = stat()
        guard unsafe fstat(descriptor, &info) == 0, info.st_mode & 0o077 == 0 else {
            throw StoreError(
                .permissionDenied, "\(path) can be read by others than its owner: `chmod 600 \(path)`, then rotate")
        }
        var bytes = [UInt8](repeating: 0, count: keyBytes + 1)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard count == keyBytes else {
            throw StoreError(
                .damaged, "\(path) holds no key of \(keyBytes) bytes: bring it back from a copy; without it \(loss)")
        }
        return Array(bytes.prefix(count))
    }

    /// Makes the file whole or not at all, and leaves one that is there.
    package static func make(_ path: String, what: String) throws(StoreError) {
        if unsafe access(path, F_OK) == 0 { return }
        let temporary = "\(path).\(getpid())"
        defer { _ = unsafe unlink(temporary) }
        let key: [UInt8]
        do throws(CryptographyError) {
            key = try Cryptography.random(keyBytes)
        } catch {
            throw StoreError(.failed, error.description)
        }
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw StoreError(.permissionDenied, "the key of \(what) cannot be made at \(path): \(reason)")
        }
        defer { close(descriptor) }
        guard unsafe key.withUnsafeBytes({ unsafe write(descriptor, $0.baseAddress, $0.count) }) == key.count,
            fsync(descriptor) == 0
        else { throw StoreError(.failed, "the key of \(what) cannot be written at \(path): \(reason)") }
        // link(2) does not replace: of two processes that make the key, the first wins and both read its key.
        guard unsafe link(temporary, path) == 0 || errno == EEXIST else {
            throw StoreError(.failed, "the key of \(what) cannot be put at \(path): \(reason)")
        }
    }

    private static var reason: String { unsafe String(cString: strerror(errno)) }
}
