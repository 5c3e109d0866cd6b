// Comparisons: some servers under some loads, in rounds, so that what the machine does meanwhile hits all alike.

import Foundation
import Histogram

/// One thing to be measured again and again.
struct Arm {
    var server: Server
    var load: Load
}

/// What the rounds of an arm have given.
struct ArmResult {
    var arm: Arm
    var reports: [LoadReport] = []
    var histogram = Histogram<UInt64>(highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: .three)

    /// One number of each round.
    func each(_ path: KeyPath<LoadReport, Double>) -> [Double] { reports.map { $0[keyPath: path] } }

    /// The median over the rounds.
    func median(_ path: KeyPath<LoadReport, Double>) -> Double { middle(each(path)) }

    /// How many times as much as another arm: the median of the rounds' own ratios.
    func over(_ other: ArmResult, _ path: KeyPath<LoadReport, Double>) -> Double {
        middle(zip(each(path), other.each(path)).map { $0 / $1 })
    }

    /// How many times as much as another arm at a percentile of all samples of all rounds: a slice has too few slow ones for
    /// a percentile of its own.
    func tail(over other: ArmResult, _ percentile: Double) -> Double {
        Double(histogram.valueAtPercentile(percentile)) / Double(max(1, other.histogram.valueAtPercentile(percentile)))
    }

    /// As it stands in the results.
    func measurement(_ series: String) -> Results.Measurement {
        func at(_ percentile: Double) -> UInt64 { histogram.valueAtPercentile(percentile) }
        return Results.Measurement(
            series: series, arm: arm.server.arm, users: arm.server.users, rules: arm.server.rules,
            connections: arm.load.connections, depth: arm.load.depth,
            placement: arm.load.acrossProcessors ? "two processors" : "one processor", rate: arm.load.rate,
            rounds: reports.count, answers: reports.map(\.answers).reduce(0, +), permitted: median(\.permitted),
            costNS: round1(median(\.cost_ns)), meanNS: round1(median(\.mean_ns)), serverNS: round1(median(\.server_ns)),
            clientNS: round1(median(\.client_ns)), medianNS: at(50), p90NS: at(90), p99NS: at(99), p999NS: at(99.9),
            p9999NS: at(99.99), maxNS: at(100), perSecond: median(\.per_second).rounded())
    }

    private func round1(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}

/// Runs comparisons and keeps what they give.
final class Bench {
    let laboratory: Laboratory
    let rounds: Int
    private(set) var measurements: [Results.Measurement] = []
    private var seed = 1

    init(_ laboratory: Laboratory, rounds: Int) {
        self.laboratory = laboratory
        self.rounds = rounds
    }

    /// Measures the arms in turn, in as many rounds as told.
    func compare(_ series: String, _ arms: [Arm], rounds: Int? = nil) throws -> [ArmResult] {
        var results = arms.map { ArmResult(arm: $0) }
        for round in 0..<(rounds ?? self.rounds) {
            seed += 1
            // Another one begins each round, so that none is always the one after.
            for step in results.indices {
                let index = (step + round) % results.count
                let arm = results[index].arm
                let report = try laboratory.measure(arm.server, arm.load, seed: seed, into: &results[index].histogram)
                results[index].reports.append(report)
            }
        }
        measurements += results.map { $0.measurement(series) }
        for result in results { tell(result) }
        return results
    }

    private func tell(_ result: ArmResult) {
        let load = result.arm.load
        let what =
            load.rate.map { "\(Int($0 / 1_000)) k offered a second" }
            ?? "\(load.connections) x depth \(load.depth)" + (load.acrossProcessors ? ", two processors" : "")
        let line = [
            result.arm.server.arm.padding(toLength: 26, withPad: " ", startingAt: 0),
            what.padding(toLength: 34, withPad: " ", startingAt: 0),
            "median \(microseconds(Double(result.histogram.valueAtPercentile(50))))",
            "p99 \(microseconds(Double(result.histogram.valueAtPercentile(99))))",
            load.rate == nil ? "a question \(Int(result.median(\.cost_ns))) ns" : "",
        ]
        print("  " + line.joined(separator: "  "))
        fflush(nil)
    }
}

/// Nanoseconds as microseconds, in seven columns.
func microseconds(_ nanoseconds: Double) -> String { String(format: "%7.1f us", nanoseconds / 1_000) }
