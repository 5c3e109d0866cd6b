// How long a reactor polls before it sleeps. To wake a processor that has gone to sleep can cost more than a question
// does; but who polls keeps a processor that others may need.
//
// Whether it pays is learnt: a reactor whose wake-ups follow each other closely tries it. It goes on while what it
// waits for mostly comes meanwhile, and leaves it for a while, longer each time, when it does not. A client on the same
// processor never comes meanwhile, because the polling keeps it from running: so it costs it a few polls now and then.

/// How a reactor waits.
package enum SpinMode: Sendable, Hashable {
    /// Sleeps at once.
    case off
    /// Polls for so many microseconds first.
    case fixed(UInt64)
    /// Learns from what comes.
    case automatic

    /// Reads `auto`, `off` or a number of microseconds.
    package init?(text: String) {
        switch text {
        case "auto": self = .automatic
        case "off", "0": self = .off
        default:
            guard let microseconds = UInt64(text), microseconds <= 1_000_000 else { return nil }
            self = .fixed(microseconds)
        }
    }
}

/// What a reactor has learnt of its waits.
struct Spinner {
    /// Microseconds of mean rest between wake-ups up to which polling is tried.
    static let mostGap: UInt64 = 60
    /// Microseconds of one polling, at least and at most.
    static let budgets: ClosedRange<UInt64> = 10...120
    /// Wake-ups a measurement from which on it is tried.
    static let leastWakeUps: UInt64 = 200
    /// Pollings in a row that may find nothing.
    static let mostMisses = 8
    /// Times in a measurement that the kernel may take the processor away for somebody else.
    static let mostPreemptions: UInt64 = 4
    /// Milliseconds until it is tried again, at first and at most.
    static let rests: ClosedRange<Int64> = 100...10_000

    private let mode: SpinMode
    /// Microseconds to poll before sleeping; 0 sleeps at once.
    private(set) var budget: UInt64 = 0
    private var misses = 0
    private var hits: UInt64 = 0
    private var attempts: UInt64 = 0
    private var rest = Spinner.rests.lowerBound
    private var mustRest = false
    private var restsUntil: Int64 = 0
    /// Microseconds polled in vain or not since `learn`.
    private(set) var spent: UInt64 = 0

    init(_ mode: SpinMode) {
        self.mode = mode
        if case .fixed(let microseconds) = mode { budget = microseconds }
    }

    /// It learns, so that it wants to be told of every measurement.
    var learns: Bool { mode == .automatic }

    /// Something came after so many microseconds of polling.
    mutating func hit(_ microseconds: UInt64) {
        spent += microseconds
        hits += 1
        attempts += 1
        misses = 0
    }

    /// Nothing came.
    mutating func miss(_ microseconds: UInt64) {
        spent += microseconds
        attempts += 1
        misses += 1
        if misses >= Self.mostMisses, learns { stop() }
    }

    private mutating func stop() {
        budget = 0
        mustRest = true
    }

    /// What a reactor did since the last measurement.
    struct Measurement {
        /// Microseconds that have gone by, and those in which the thread had a processor, pollings among them.
        var elapsed: UInt64
        var busy: UInt64
        var wakeUps: UInt64
        /// Times that the processor was taken away from it.
        var preemptions: UInt64
        /// There is a processor for it beside those that others need.
        var hasRoom: Bool
        /// ms since the epoch.
        var now: Int64
    }

    /// Learns from a measurement.
    mutating func learn(_ measurement: Measurement) {
        defer { (spent, hits, attempts) = (0, 0, 0) }
        guard learns else { return }
        if mustRest {
            mustRest = false
            misses = 0
            restsUntil = measurement.now + rest
            rest = min(rest * 2, Self.rests.upperBound)
            return
        }
        let worked = measurement.busy - min(spent, measurement.busy)
        let gap = (measurement.elapsed - min(worked, measurement.elapsed)) / max(1, measurement.wakeUps)
        let isDense = measurement.wakeUps >= Self.leastWakeUps && gap <= Self.mostGap
        if budget == 0 {
            guard isDense, measurement.hasRoom, measurement.now >= restsUntil else { return }
            budget = Self.budget(gap)
        } else if !isDense {
            // The load is another one: no reason to wait long before the next try.
            budget = 0
        } else if !measurement.hasRoom || measurement.preemptions > Self.mostPreemptions || hits * 2 < attempts {
            stop()
        } else {
            budget = Self.budget(gap)
            rest = max(Self.rests.lowerBound, rest * 3 / 4)
        }
    }

    private static func budget(_ gap: UInt64) -> UInt64 { min(max(gap * 3, budgets.lowerBound), budgets.upperBound) }
}
