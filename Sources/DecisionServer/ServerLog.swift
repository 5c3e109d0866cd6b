// Lines for people on standard error; under systemd with the level in front, which the journal understands
// (sd-daemon(3)). A whole line goes out in one write, so that threads do not mix theirs.

import Glibc

/// The log of the process.
package enum ServerLog {
    /// Levels, as syslog numbers them.
    package enum Level: Int, Sendable {
        case error = 3
        case warning = 4
        case notice = 5
        case debug = 7
    }

    private static let isJournal = unsafe getenv("JOURNAL_STREAM") != nil

    /// Writes a line.
    package static func write(_ level: Level, _ message: String) {
        let text = message.split(separator: "\n", omittingEmptySubsequences: true).joined(separator: "\n  ")
        let line = isJournal ? "<\(level.rawValue)>\(text)\n" : "stiled: \(text)\n"
        var bytes = line
        bytes.withUTF8 { _ = unsafe Glibc.write(2, $0.baseAddress, $0.count) }
    }
}
