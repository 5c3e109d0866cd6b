// Time of single decisions. A decision takes a few hundred processor cycles, so it is timed with the processor's own
// clock, fenced on both sides, and the time that an empty measurement takes is taken off.

import CMeasure

/// The processor's clock in nanoseconds.
struct Clock {
    /// Nanoseconds of one tick.
    let scale: Double
    /// Ticks that measuring nothing takes.
    let emptyTicks: UInt64

    init() {
        // The middle of some: a machine that is halted meanwhile has one of its clocks run on.
        scale =
            (0..<5).map { _ in
                let startNanoseconds = measure_nanoseconds()
                let startTicks = measure_ticks()
                while measure_nanoseconds() - startNanoseconds < 10_000_000 {}
                let ticks = measure_ticks() - startTicks
                return Double(measure_nanoseconds() - startNanoseconds) / Double(max(1, ticks))
            }.sorted()[2]
        // The least of several, for on a disturbed machine one median of nothing can be longer than a decision.
        emptyTicks =
            (0..<9).map { _ in
                let empty = (0..<2_001).map { _ in
                    let before = measure_ticks()
                    return measure_ticks() - before
                }
                return empty.sorted()[empty.count / 2]
            }.min() ?? 0
    }

    /// Ticks of a measurement as nanoseconds of what was measured.
    func nanoseconds(_ ticks: UInt64) -> Double { Double(ticks - min(ticks, emptyTicks)) * scale }
}

/// Percentiles of some samples.
struct Distribution {
    let median: Double
    let p90: Double
    let p99: Double
    let mean: Double

    /// The processor's clock may move in steps of some nanoseconds, so each percentile is the mean of the hundredth of
    /// the samples around it.
    init(ticks: [UInt64], _ clock: Clock) {
        let sorted = ticks.sorted()
        func around(_ part: Double) -> Double {
            let place = Int(Double(sorted.count) * part)
            let reach = max(1, sorted.count / 200)
            let few = sorted[max(0, place - reach)..<min(sorted.count, place + reach)]
            return few.reduce(0.0) { $0 + clock.nanoseconds($1) } / Double(max(1, few.count))
        }
        median = around(0.5)
        p90 = around(0.9)
        p99 = around(0.99)
        mean = sorted.reduce(0.0) { $0 + clock.nanoseconds($1) } / Double(max(1, sorted.count))
    }
}

/// Seconds that some work takes, the best of several runs.
func seconds<Result>(runs: Int, _ work: () throws -> Result) rethrows -> (seconds: Double, result: Result) {
    var best = UInt64.max
    var last: Result
    var run = 0
    repeat {
        let start = measure_nanoseconds()
        last = try work()
        best = min(best, measure_nanoseconds() - start)
        run += 1
    } while run < runs
    return (Double(best) / 1e9, last)
}
