// Log lines on standard error: the message, then name=value pairs that a program can read back. Under systemd with the
// level in front, which the journal understands (sd-daemon(3)). A whole line goes out in one write.
//
// Unsafe file: the buffer of a line lives for the write alone.

import CLinux
import Glibc
package import Logging
import Synchronization

/// The handler of all loggers of the process.
package struct JournalLog: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level
    private static let isJournal = unsafe getenv("JOURNAL_STREAM") != nil
    private static let gate = Mutex<Gate>(Gate())

    /// Lines a second; what is above is counted and told of, so that a flood of refusals cannot fill a disk.
    private static let maxLines = 500

    private struct Gate {
        var second: UInt64 = 0
        var lines = 0
        var dropped = 0
    }

    package init(level: Logger.Level) { logLevel = level }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let dropped = Self.gate.withLock { gate -> Int? in
            let second = stile_monotonic_us() / 1_000_000
            if second != gate.second {
                defer { gate = Gate(second: second, lines: 1) }
                return gate.dropped
            }
            gate.lines += 1
            if gate.lines <= Self.maxLines || event.level >= .error { return 0 }
            gate.dropped += 1
            return nil
        }
        guard let dropped else { return }
        if dropped > 0 { Self.write(.warning, "\(dropped) log lines were left out, above \(Self.maxLines) a second") }
        var text = "\(event.message)"
        let pairs = event.metadata.map { metadata.merging($0) { $1 } } ?? metadata
        for (name, value) in pairs.sorted(by: { $0.key < $1.key }) { text += " \(name)=\(Self.quoted("\(value)"))" }
        if let error = event.error { text += " error=\(Self.quoted("\(error)"))" }
        Self.write(event.level, text)
    }

    /// A value that holds more than letters, digits and common marks stands in quotes, on one line.
    private static func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || "-_./:{}@+".utf8.contains(byte)
        }
        return isPlain && !text.isEmpty ? text : text.debugDescription
    }

    private static func write(_ level: Logger.Level, _ text: String) {
        let line = text.split(separator: "\n", omittingEmptySubsequences: true).joined(separator: " | ")
        var bytes = isJournal ? "<\(number(level))>\(line)\n" : "stile-gateway: \(line)\n"
        bytes.withUTF8 { _ = unsafe Glibc.write(2, $0.baseAddress, $0.count) }
    }

    /// As syslog numbers them.
    private static func number(_ level: Logger.Level) -> Int {
        switch level {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
    }
}
