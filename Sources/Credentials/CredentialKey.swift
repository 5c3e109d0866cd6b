// The key of the keyed hash that credentials are stored under: who reads the store's data alone can neither use nor
// test a credential.
//
// INVARIANT of this unsafe file: buffers live for the system call they are handed to.

package import AttributeStore
import Cryptography
import Glibc

/// A key of 32 bytes in a file that its owner alone can read.
package struct CredentialKey: Sendable {
    let bytes: [UInt8]

    /// Where the key lies unless told otherwise.
    package static func defaultPath(_ store: Store) -> String { "\(store.path)/control/credential.key" }

    /// Reads the key.
    /// - Parameter makes: make the file when it is missing.
    /// - Throws: `permission_denied` for a file that others can read, `store_missing`, `store_damaged`.
    package init(path: String, makes: Bool) throws(StoreError) {
        if makes { try Self.make(path) }
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw StoreError(.storeMissing, "the key of credentials cannot be read at \(path): \(Self.reason)")
        }
        defer { close(descriptor) }
        var info = stat()
        guard unsafe fstat(descriptor, &info) == 0, info.st_mode & 0o077 == 0 else {
            throw StoreError(
                .permissionDenied, "\(path) can be read by others than its owner: `chmod 600 \(path)`, then rotate")
        }
        var bytes = [UInt8](repeating: 0, count: Cryptography.hashBytes + 1)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        guard count == Cryptography.hashBytes else {
            throw StoreError(
                .damaged,
                "\(path) holds no key of \(Cryptography.hashBytes) bytes: bring it back from a copy; without it every "
                    + "credential has to be made anew")
        }
        self.bytes = Array(bytes.prefix(count))
    }

    /// Makes the file whole or not at all, and leaves one that is there.
    private static func make(_ path: String) throws(StoreError) {
        if unsafe access(path, F_OK) == 0 { return }
        let temporary = "\(path).\(getpid())"
        defer { _ = unsafe unlink(temporary) }
        let key: [UInt8]
        do throws(CryptographyError) {
            key = try Cryptography.random(Cryptography.hashBytes)
        } catch {
            throw StoreError(.failed, error.description)
        }
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw StoreError(.permissionDenied, "the key of credentials cannot be made at \(path): \(reason)")
        }
        defer { close(descriptor) }
        guard unsafe key.withUnsafeBytes({ unsafe write(descriptor, $0.baseAddress, $0.count) }) == key.count,
            fsync(descriptor) == 0
        else { throw StoreError(.failed, "the key of credentials cannot be written at \(path): \(reason)") }
        // link(2) does not replace: of two processes that make the key, the first wins and both read its key.
        guard unsafe link(temporary, path) == 0 || errno == EEXIST else {
            throw StoreError(.failed, "the key of credentials cannot be put at \(path): \(reason)")
        }
    }

    private static var reason: String { unsafe String(cString: strerror(errno)) }
}
