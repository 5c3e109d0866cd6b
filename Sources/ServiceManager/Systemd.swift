// systemd's side: sockets handed over, readiness, status, watchdog (sd_listen_fds(3), sd_notify(3)). Does nothing
// where systemd is not.

import CSystemd
import Glibc

/// Talks to the service manager.
package enum Systemd {
    /// The socket handed over under a name (`FileDescriptorName=`), or the only one.
    package static func socket(named name: String) -> Int32? {
        let sockets = handedOver()
        return sockets.first { $0.name == name }?.descriptor ?? (sockets.count == 1 ? sockets[0].descriptor : nil)
    }

    /// All sockets handed over, with their names.
    package static func handedOver() -> [(name: String, descriptor: Int32)] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        // The variables stay set, so that asking twice gives the same answer.
        let count = unsafe sd_listen_fds_with_names(0, &names)
        guard count > 0 else { return [] }
        defer {
            for index in 0..<Int(count) { unsafe free(names?[index]) }
            unsafe free(names)
        }
        return (0..<Int(count)).map { index in
            let name = unsafe (names?[index]).map { unsafe String(cString: $0) } ?? ""
            return (name, Int32(SD_LISTEN_FDS_START) + Int32(index))
        }
    }

    /// Sends state lines, such as `READY=1`.
    package static func notify(_ lines: String...) {
        _ = unsafe sd_notify(0, lines.joined(separator: "\n"))
    }

    /// Microseconds between two signs of life that the manager wants, or nil.
    package static var watchdogInterval: UInt64? {
        var interval: UInt64 = 0
        return unsafe sd_watchdog_enabled(0, &interval) > 0 ? interval : nil
    }
}
