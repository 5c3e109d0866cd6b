// What swift-metrics counts, as OpenMetrics 1.0 text.

package import CoreMetrics
import Synchronization

/// Keeps every counter, meter, recorder and timer of the process. Labels come from code, so that memory is bounded.
package final class OpenMetrics: MetricsFactory, Sendable {
    /// Upper bounds of the buckets of durations, in seconds.
    static let durations: [Double] = [
        0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
        0.5, 1, 2.5, 5, 10,
    ]
    /// Upper bounds of the buckets of other amounts.
    static let amounts: [Double] = (0...20).map { Double(1 << $0) }

    /// Metrics of one process at most; more are not kept.
    private static let maxSeries = 10_000

    private struct Series {
        var labels: [(String, String)]
        var cell: any Cell
    }

    private struct Family {
        var kind: String
        var series: [Series] = []
    }

    private struct State {
        var families: [String: Family] = [:]
        var count = 0
    }

    private let state = Mutex<State>(State())

    package init() {}

    // MARK: Factory

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        cell(label, "counter", dimensions) { NumberCell() }
    }

    package func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        cell(label, "counter", dimensions) { NumberCell() }
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        cell(label, "gauge", dimensions) { NumberCell() }
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        if aggregate { return cell(label, "histogram", dimensions) { HistogramCell(Self.amounts) } }
        return cell(label, "gauge", dimensions) { NumberCell() }
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        cell(label, "histogram", dimensions) { HistogramCell(Self.durations) }
    }

    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}

    private func cell<Made: Cell>(
        _ label: String, _ kind: String, _ dimensions: [(String, String)], _ make: () -> Made
    ) -> Made {
        state.withLock { state in
            var family = state.families[label] ?? Family(kind: kind)
            let known = family.series.first { $0.labels.elementsEqual(dimensions) { $0 == $1 } }
            if let cell = known?.cell as? Made { return cell }
            let made = make()
            guard known == nil, family.kind == kind, state.count < Self.maxSeries else { return made }
            family.series.append(Series(labels: dimensions, cell: made))
            state.families[label] = family
            state.count += 1
            return made
        }
    }

    // MARK: Text

    /// The media type of `text`.
    package static let mediaType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    /// All metrics as text, with others that are only known when asked.
    package func text(and others: [MetricFamily] = []) -> String {
        var text = ""
        let families = state.withLock { $0.families }
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text += "# TYPE \(name) \(family.kind)\n"
            for series in family.series { series.cell.write(name, family.kind, series.labels, &text) }
        }
        for family in others { family.write(&text) }
        return text + "# EOF\n"
    }

    static func labels(_ labels: [(String, String)]) -> String {
        if labels.isEmpty { return "" }
        return "{" + labels.map { "\($0.0)=\"\(escaped($0.1))\"" }.joined(separator: ",") + "}"
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}

/// A family of metrics that is read elsewhere when somebody asks.
package struct MetricFamily: Sendable {
    /// One line: what stands behind the family's name, the labels, the value.
    package struct Sample: Sendable {
        package var suffix = ""
        package var labels: [(String, String)]
        package var value: Double
    }

    package var name: String
    /// `counter`, `gauge` or `histogram`.
    package var kind: String
    package var samples: [Sample]

    package init(_ name: String, _ kind: String, _ samples: [Sample]) {
        self.name = name
        self.kind = kind
        self.samples = samples
    }

    func write(_ text: inout String) {
        text += "# TYPE \(name) \(kind)\n"
        for sample in samples {
            text += name + sample.suffix + (kind == "counter" ? "_total" : "") + OpenMetrics.labels(sample.labels)
            text += " \(OpenMetrics.number(sample.value))\n"
        }
    }
}

/// One series.
private protocol Cell: AnyObject, Sendable {
    func write(_ name: String, _ kind: String, _ labels: [(String, String)], _ text: inout String)
}

/// A counter or gauge.
private final class NumberCell: Cell, CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler {
    private let value = Mutex<Double>(0)

    func increment(by amount: Int64) { value.withLock { $0 += Double(amount) } }
    func increment(by amount: Double) { value.withLock { $0 += amount } }
    func decrement(by amount: Double) { value.withLock { $0 -= amount } }
    func set(_ value: Int64) { self.value.withLock { $0 = Double(value) } }
    func set(_ value: Double) { self.value.withLock { $0 = value } }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }
    func reset() { value.withLock { $0 = 0 } }

    func write(_ name: String, _ kind: String, _ labels: [(String, String)], _ text: inout String) {
        let suffix = kind == "counter" ? "_total" : ""
        text += "\(name)\(suffix)\(OpenMetrics.labels(labels)) \(OpenMetrics.number(value.withLock { $0 }))\n"
    }
}

/// Amounts in buckets.
private final class HistogramCell: Cell, RecorderHandler, TimerHandler {
    private struct Counts {
        var buckets: [UInt64]
        var sum = 0.0
        var count: UInt64 = 0
    }

    private let bounds: [Double]
    private let counts: Mutex<Counts>

    init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = Mutex(Counts(buckets: Array(repeating: 0, count: bounds.count)))
    }

    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Double) {
        let bucket = bounds.firstIndex { value <= $0 }
        counts.withLock { counts in
            if let bucket { counts.buckets[bucket] += 1 }
            counts.sum += value
            counts.count += 1
        }
    }

    func write(_ name: String, _ kind: String, _ labels: [(String, String)], _ text: inout String) {
        let counts = counts.withLock { $0 }
        var below: UInt64 = 0
        for (bound, count) in zip(bounds, counts.buckets) {
            below += count
            text += "\(name)_bucket\(OpenMetrics.labels(labels + [("le", String(bound))])) \(below)\n"
        }
        text += "\(name)_bucket\(OpenMetrics.labels(labels + [("le", "+Inf")])) \(counts.count)\n"
        text += "\(name)_sum\(OpenMetrics.labels(labels)) \(counts.sum)\n"
        text += "\(name)_count\(OpenMetrics.labels(labels)) \(counts.count)\n"
    }
}
