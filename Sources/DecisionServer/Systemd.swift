// systemd's side: sockets handed over, readiness, status, watchdog (sd_listen_fds(3), sd_notify(3)). Does nothing
// where systemd is not.

import CSystemd
import Glibc

/// Talks to the service manager.
enum Systemd {
    /// The socket handed over under a name, or the only one.
    static func socket(named name: String) -> Int32? {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = unsafe sd_listen_fds_with_names(1, &names)
        guard count > 0 else { return nil }
        let first = Int32(SD_LISTEN_FDS_START)
        defer {
            for index in 0..<Int(count) { unsafe free(names?[index]) }
            unsafe free(names)
        }
        for index in 0..<Int(count) {
            if let text = unsafe names?[index], unsafe String(cString: text) == name { return first + Int32(index) }
        }
        return count == 1 ? first : nil
    }

    /// Sends state lines, such as `READY=1`.
    static func notify(_ lines: String...) {
        _ = unsafe sd_notify(0, lines.joined(separator: "\n"))
    }

    /// Microseconds between two signs of life that the manager wants, or nil.
    static var watchdogInterval: UInt64? {
        var interval: UInt64 = 0
        return unsafe sd_watchdog_enabled(0, &interval) > 0 ? interval : nil
    }
}
