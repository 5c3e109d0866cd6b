// The certificate of a listener, replaced while it serves.

import Glibc
package import NIOSSL
import Synchronization

/// Certificate, key and clients' authorities of a listener. New connections take what was loaded last.
package final class TLSIdentity: Sendable {
    private let files: TLSFiles
    private let current: Mutex<Loaded>

    private struct Loaded {
        var context: NIOSSLContext
        var stamp: [FileStamp]
    }

    /// What tells that a file was replaced.
    private struct FileStamp: Equatable {
        var device: UInt64
        var inode: UInt64
        var seconds: Int
        var nanoseconds: Int

        init(_ path: String) {
            var info = stat()
            _ = unsafe stat(path, &info)
            device = UInt64(info.st_dev)
            inode = UInt64(info.st_ino)
            seconds = info.st_mtim.tv_sec
            nanoseconds = info.st_mtim.tv_nsec
        }
    }

    /// Loads the files.
    /// - Throws: what NIOSSL says of them.
    package init(_ files: TLSFiles) throws {
        self.files = files
        current = Mutex(Loaded(context: try Self.load(files), stamp: Self.stamps(files)))
    }

    /// For a new connection.
    package var context: NIOSSLContext { current.withLock { $0.context } }

    /// Loads the files again when they were replaced.
    /// - Returns: whether there was something new. What cannot be loaded leaves the last good certificate serving.
    package func reload() throws -> Bool {
        let stamp = Self.stamps(files)
        if current.withLock({ $0.stamp == stamp }) { return false }
        let context = try Self.load(files)
        current.withLock { $0 = Loaded(context: context, stamp: stamp) }
        return true
    }

    private static func stamps(_ files: TLSFiles) -> [FileStamp] {
        [files.certificate, files.key, files.clientAuthorities].compactMap { $0 }.map { FileStamp($0) }
    }

    private static func load(_ files: TLSFiles) throws -> NIOSSLContext {
        let chain = try NIOSSLCertificate.fromPEMFile(files.certificate).map { NIOSSLCertificateSource.certificate($0) }
        let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = files.needsTLS13 ? .tlsv13 : .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        if let authorities = files.clientAuthorities {
            configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities))
            configuration.certificateVerification =
                files.isClientOptional ? .optionalVerification : .noHostnameVerification
        }
        return try NIOSSLContext(configuration: configuration)
    }
}
