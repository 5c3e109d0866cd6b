// How something grows: the exponent of n that fits best, and a plot of it.

import Glibc

/// A measured series.
struct Series {
    let name: String
    var points: [(n: Int, value: Double)]

    /// The slope of a straight line through the points on logarithmic axes: 1 is linear, 2 quadratic. Only points from
    /// `least` on count, because what every compilation costs hides the growth of small ones.
    func exponent(from least: Int) -> Double {
        let logs = points.filter { $0.n >= least && $0.value > 0 }.map { (log(Double($0.n)), log($0.value)) }
        guard logs.count >= 2 else { return 0 }
        let meanX = logs.reduce(0) { $0 + $1.0 } / Double(logs.count)
        let meanY = logs.reduce(0) { $0 + $1.1 } / Double(logs.count)
        let above = logs.reduce(0) { $0 + ($1.0 - meanX) * ($1.1 - meanY) }
        let below = logs.reduce(0) { $0 + ($1.0 - meanX) * ($1.0 - meanX) }
        return below > 0 ? above / below : 0
    }
}

/// A plot of some series on logarithmic axes, beside a line that grows as n log n.
struct Plot {
    let title: String
    let unit: String
    let series: [Series]
    private static let colours = ["#0b6e4f", "#c84630", "#3a5a9b", "#8a5a00", "#6b3fa0"]
    private static let width = 440.0
    private static let height = 340.0
    private static let left = 64.0
    private static let bottom = 44.0
    private static let top = 34.0

    /// The plot as an SVG group, moved to the right by so many widths.
    func group(at column: Int) -> String {
        let values = series.flatMap(\.points).map(\.value).filter { $0 > 0 }
        let counts = series.flatMap(\.points).map { Double($0.n) }
        guard let least = values.min(), let most = values.max(), let first = counts.min(), let last = counts.max()
        else {
            return ""
        }
        let low = floor(log10(least))
        let high = max(low + 1, ceil(log10(most)))
        func x(_ n: Double) -> Double {
            Self.left + (log10(n) - log10(first)) / max(1e-9, log10(last) - log10(first))
                * (Self.width - Self.left - 28)
        }
        func y(_ value: Double) -> Double {
            let part = (log10(value) - low) / (high - low)
            return Self.height - Self.bottom - part * (Self.height - Self.bottom - Self.top)
        }
        var svg = "<g transform=\"translate(\(text(Double(column) * Self.width)) 0)\">\n"
        svg += label(Self.left, 20, title, size: 14, weight: "600")
        var power = low
        while power <= high {
            let place = y(pow(10, power))
            svg += line(Self.left, place, Self.width - 28, place, "#ddd")
            svg += label(Self.left - 6, place + 4, axis(pow(10, power)), anchor: "end")
            power += 1
        }
        for n in Set(series.flatMap(\.points).map(\.n)).sorted() {
            svg += line(x(Double(n)), Self.top, x(Double(n)), Self.height - Self.bottom, "#eee")
            svg += label(x(Double(n)), Self.height - Self.bottom + 16, "\(n)", anchor: "middle")
        }
        svg += label((Self.left + Self.width) / 2, Self.height - 8, "n", anchor: "middle")
        svg += reference(x, y, first, last, low, high)
        for (index, series) in series.enumerated() {
            let colour = Self.colours[index % Self.colours.count]
            let path = series.points.filter { $0.value > 0 }.map { "\(text(x(Double($0.n)))),\(text(y($0.value)))" }
            svg +=
                "<polyline fill=\"none\" stroke=\"\(colour)\" stroke-width=\"2\" points=\"\(path.joined(separator: " "))\"/>\n"
            for point in path {
                let ends = point.split(separator: ",")
                svg += "<circle cx=\"\(ends[0])\" cy=\"\(ends[1])\" r=\"3\" fill=\"\(colour)\"/>\n"
            }
            svg += label(Self.left + 10, Self.top + 16 + Double(index) * 15, series.name, fill: colour, size: 12)
        }
        return svg + "</g>\n"
    }

    /// n log n through the middle of the first points.
    private func reference(
        _ x: (Double) -> Double, _ y: (Double) -> Double, _ first: Double, _ last: Double, _ low: Double, _ high: Double
    ) -> String {
        let starts = series.compactMap { $0.points.first?.value }.filter { $0 > 0 }.sorted()
        guard !starts.isEmpty else { return "" }
        let scale = starts[starts.count / 2] / (first * log(first))
        var points: [String] = []
        var n = first
        while n <= last * 1.001 {
            let value = scale * n * log(n)
            if value <= pow(10, high), value >= pow(10, low) { points.append("\(text(x(n))),\(text(y(value)))") }
            n *= 1.25
        }
        return
            "<polyline fill=\"none\" stroke=\"#999\" stroke-dasharray=\"4 4\" points=\"\(points.joined(separator: " "))\"/>\n"
            + label(Self.width - 18, Self.height - Self.bottom - 8, "dashed: n log n", anchor: "end", fill: "#777")
    }

    private func axis(_ value: Double) -> String {
        switch unit {
        case "s":
            value >= 1
                ? "\(Int(value)) s"
                : value >= 1e-3 ? "\(Int((value * 1e3).rounded())) ms" : "\(Int((value * 1e6).rounded())) µs"
        case "B": value >= 1e6 ? "\(Int(value / 1e6)) MB" : value >= 1e3 ? "\(Int(value / 1e3)) kB" : "\(Int(value)) B"
        default: value >= 1e6 ? "\(Int(value / 1e6)) ms" : value >= 1e3 ? "\(Int(value / 1e3)) µs" : "\(Int(value)) ns"
        }
    }

    private func text(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
    }

    private func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ colour: String) -> String {
        "<line x1=\"\(text(x1))\" y1=\"\(text(y1))\" x2=\"\(text(x2))\" y2=\"\(text(y2))\" stroke=\"\(colour)\"/>\n"
    }

    private func label(
        _ x: Double, _ y: Double, _ content: String, anchor: String = "start", fill: String = "#333", size: Int = 11,
        weight: String = "400"
    ) -> String {
        "<text x=\"\(text(x))\" y=\"\(text(y))\" text-anchor=\"\(anchor)\" fill=\"\(fill)\" font-size=\"\(size)\""
            + " font-weight=\"\(weight)\">\(content)</text>\n"
    }

    /// Plots beside one another as one SVG file.
    static func file(_ plots: [Plot]) -> String {
        let total = Int(width) * plots.count
        return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(total) \(Int(height))\" width=\"\(total)\""
            + " height=\"\(Int(height))\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
            + plots.enumerated().map { $1.group(at: $0) }.joined() + "</svg>\n"
    }
}
