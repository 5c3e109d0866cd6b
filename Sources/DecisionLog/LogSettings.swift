// What the decision log is told at its start: which decisions, where, how durable, for how long.

package import AttributeStore
package import DecisionPath

/// The settings of a decision log.
package struct LogSettings: Sendable {
    /// When what was written is made durable. A process that is killed loses nothing of it in any case: it is the
    /// kernel's by then.
    package enum Sync: Sendable, Hashable {
        /// After each batch that the log's thread writes.
        case batch
        /// At most so many milliseconds after it was written.
        case interval(Int64)
        /// When the kernel likes, and when a segment is closed.
        case none
    }

    package var mode = RecordingMode.every
    /// Where the logs of all tenants are; nil puts each into its tenant's directory of the store.
    package var directory: String?
    /// A directory in memory for the rings, so that they outlive a process that is killed; nil keeps them in the process.
    package var ringDirectory: String?
    /// Bytes of the ring of each reactor.
    package var ringBytes = 4 << 20
    package var sync = Sync.interval(1_000)
    /// A segment is closed when it has grown to so many bytes,
    package var segmentBytes = 64 << 20
    /// or when it has been open for so many milliseconds.
    package var segmentAge: Int64 = 24 * 3_600_000
    /// Closed segments are compressed.
    package var compresses = true
    /// Closed segments are removed when they are so many milliseconds old,
    package var keepAge: Int64 = 90 * 24 * 3_600_000
    /// or when a lane of the log is larger than so many bytes.
    package var keepBytes = 10 << 30
    /// Uses whose attributes are written; the values of all other declared uses are masked.
    package var keptUses: Set<String> = ["authorization"]

    package init() {}

    /// Limits of the settings, for messages.
    package static let ringBytesRange = DecisionRingLayout.minRingBytes...(1 << 30)
    package static let segmentBytesRange = (64 << 10)...(1 << 30)
}

extension LogSettings.Sync {
    /// Reads `batch`, `none` or a number of milliseconds such as `500ms` or `1s`.
    package init?(_ text: String) {
        switch text {
        case "batch": self = .batch
        case "none": self = .none
        default:
            guard let duration = LogDuration.parse(text), duration > 0 else { return nil }
            self = .interval(duration)
        }
    }

    /// What `init` reads.
    package var description: String {
        switch self {
        case .batch: "batch"
        case .interval(let duration): "\(duration)ms"
        case .none: "none"
        }
    }
}

extension RecordingMode {
    /// `every` or `sampled:N`.
    package init?(text: String) {
        if text == "every" {
            self = .every
        } else if text.hasPrefix("sampled:"), let rate = UInt64(text.dropFirst(8)), rate > 0 {
            self = .sampled(rate)
        } else {
            return nil
        }
    }

    /// What `init` reads.
    package var text: String {
        switch self {
        case .every: "every"
        case .sampled(let rate): "sampled:\(rate)"
        // A candidate's; no log is written so.
        case .offered: "offered"
        }
    }
}

/// Durations as people write them.
package enum LogDuration {
    /// Milliseconds of `500ms`, `10s`, `5m`, `2h`, `7d`; nil for anything else.
    package static func parse(_ text: String) -> Int64? {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
        for (unit, factor) in units where text.hasSuffix(unit) {
            guard let number = Int64(text.dropLast(unit.count)), number >= 0 else { continue }
            let (product, overflowed) = number.multipliedReportingOverflow(by: factor)
            return overflowed ? nil : product
        }
        return nil
    }
}

/// Where the logs of a store's tenants are.
package struct LogPlace: Sendable {
    package var store: Store
    /// The directory of all logs; nil for the tenants' own.
    package var directory: String?

    package init(_ store: Store, directory: String?) {
        self.store = store
        self.directory = directory
    }

    /// The directory of a tenant's log.
    package func path(of tenant: String) -> String {
        directory.map { "\($0)/\(tenant)" } ?? "\(store.tenantPath(tenant))/log"
    }
}
