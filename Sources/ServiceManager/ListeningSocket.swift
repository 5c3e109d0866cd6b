// Unix sockets that a daemon makes for itself, where no service manager hands them over.

import CLinux
import Glibc

/// Why a socket cannot be made.
package struct ListeningError: Error, Sendable, CustomStringConvertible {
    /// What, where and how to mend it.
    package var description: String

    package init(description: String) { self.description = description }
}

/// Makes listening sockets.
package enum ListeningSocket {
    /// A listening, non-blocking Unix socket at a path; one that a dead server left there is replaced.
    /// - Parameter mode: permission bits of the file.
    package static func open(_ path: String, mode: UInt32) throws(ListeningError) -> Int32 {
        var descriptor = unsafe stile_listen_unix(path, 1_024)
        if descriptor < 0, errno == EADDRINUSE {
            // A file is left of a server that died; one that lives answers.
            let probe = unsafe stile_connect_unix(path)
            if probe >= 0 {
                close(probe)
                throw ListeningError(
                    description: "another server answers on \(path): stop it, or choose another path")
            }
            _ = unsafe unlink(path)
            descriptor = unsafe stile_listen_unix(path, 1_024)
        }
        guard descriptor >= 0 else {
            throw ListeningError(
                description: "cannot listen on \(path): \(reason). Check that the folder exists and is yours")
        }
        guard unsafe chmod(path, mode_t(mode)) == 0 else {
            let reason = reason
            close(descriptor)
            throw ListeningError(description: "cannot set the permissions of \(path): \(reason)")
        }
        return descriptor
    }

    /// Removes the file of a socket that is closed.
    package static func remove(_ path: String) { _ = unsafe unlink(path) }

    private static var reason: String { unsafe String(cString: strerror(errno)) }
}
