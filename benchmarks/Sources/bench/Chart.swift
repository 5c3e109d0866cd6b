// A chart with lines over logarithmic axes, as SVG that reads on light and dark pages.

import Foundation

/// One chart.
struct Chart {
    /// A line.
    struct Line {
        var name: String
        var points: [(x: Double, y: Double)]
    }

    var title: String
    /// Told below the title: the machine.
    var subtitle: String
    var xLabel: String
    var yLabel: String
    var lines: [Line]
    var yIsLogarithmic = true

    private static let width = 720.0
    private static let height = 420.0
    private static let left = 70.0
    private static let right = 170.0
    private static let top = 62.0
    private static let bottom = 52.0
    private static let colours = ["#7a869a", "#0b6bcb", "#c2410c", "#15803d", "#7c3aed"]

    /// The SVG.
    var svg: String {
        let points = lines.flatMap(\.points)
        guard let xLow = points.map(\.x).min(), let xHigh = points.map(\.x).max(), let yMax = points.map(\.y).max(),
            let yMin = points.map(\.y).min()
        else { return "" }
        let yLow = yIsLogarithmic ? pow(10, floor(log10(yMin))) : 0
        let yHigh = yIsLogarithmic ? Self.ceiling(yMax) : yMax * 1.1
        func x(_ value: Double) -> Double {
            Self.left + (Self.width - Self.left - Self.right) * (log(value / xLow) / max(log(xHigh / xLow), 1e-9))
        }
        func y(_ value: Double) -> Double {
            let share = yIsLogarithmic ? log(value / yLow) / log(yHigh / yLow) : (value - yLow) / (yHigh - yLow)
            return Self.height - Self.bottom - (Self.height - Self.top - Self.bottom) * share
        }
        var body = frame()
        for tick in yTicks(yLow, yHigh) { body += horizontal(y(tick), Self.short(tick)) }
        for tick in Set(points.map(\.x)).sorted() { body += vertical(x(tick), Self.short(tick)) }
        var labels: [(y: Double, text: String, colour: String)] = []
        for (index, line) in lines.enumerated() where !line.points.isEmpty {
            let colour = Self.colours[index % Self.colours.count]
            let path = line.points.map { "\(Self.place(x($0.x))),\(Self.place(y($0.y)))" }.joined(separator: " ")
            body += "<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"2\"/>\n"
            for point in line.points {
                body +=
                    "<circle cx=\"\(Self.place(x(point.x)))\" cy=\"\(Self.place(y(point.y)))\" r=\"3\" fill=\"\(colour)\">"
                    + "<title>\(line.name): \(Self.short(point.y)) at \(Self.short(point.x))</title></circle>\n"
            }
            if let last = line.points.last { labels.append((y(last.y), line.name, colour)) }
        }
        return Self.head + body + Self.spread(labels) + "</svg>\n"
    }

    private static var head: String {
        """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(width)) \(Int(height))" font-family="sans-serif" \
        font-size="12">
        <style>text { fill: #24292f } .grid { stroke: #8886; stroke-width: 0.5 }
        @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }</style>

        """
    }

    private func frame() -> String {
        let middle = Self.left + (Self.width - Self.left - Self.right) / 2
        let half = Self.top + (Self.height - Self.top - Self.bottom) / 2
        return """
            <text x="16" y="24" font-size="15" font-weight="bold">\(Self.escaped(title))</text>
            <text x="16" y="42" font-size="10" opacity="0.75">\(Self.escaped(subtitle))</text>
            <text x="\(Self.place(middle))" y="\(Int(Self.height - 12))" text-anchor="middle">\(Self.escaped(xLabel))</text>
            <text transform="translate(18 \(Self.place(half))) rotate(-90)" text-anchor="middle">\(Self.escaped(yLabel))</text>

            """
    }

    private func yTicks(_ low: Double, _ high: Double) -> [Double] {
        if !yIsLogarithmic { return (0...5).map { low + (high - low) * Double($0) / 5 } }
        var ticks: [Double] = []
        var decade = low
        while decade <= high {
            for step in [1.0, 2, 5] where decade * step <= high * 1.0001 { ticks.append(decade * step) }
            decade *= 10
        }
        return ticks
    }

    private func horizontal(_ y: Double, _ text: String) -> String {
        """
        <line class="grid" x1="\(Self.place(Self.left))" x2="\(Self.place(Self.width - Self.right))" y1="\(Self.place(y))" y2="\(Self.place(y))"/>
        <text x="\(Self.place(Self.left - 6))" y="\(Self.place(y + 4))" text-anchor="end">\(text)</text>

        """
    }

    private func vertical(_ x: Double, _ text: String) -> String {
        """
        <line class="grid" x1="\(Self.place(x))" x2="\(Self.place(x))" y1="\(Self.place(Self.top))" y2="\(Self.place(Self.height - Self.bottom))"/>
        <text x="\(Self.place(x))" y="\(Self.place(Self.height - Self.bottom + 16))" text-anchor="middle">\(text)</text>

        """
    }

    /// Names beside the ends of the lines, kept apart from one another.
    private static func spread(_ labels: [(y: Double, text: String, colour: String)]) -> String {
        var text = ""
        var last = -Double.infinity
        for label in labels.sorted(by: { $0.y < $1.y }) {
            let y = max(label.y + 4, last + 14)
            last = y
            text +=
                "<text x=\"\(place(width - right + 10))\" y=\"\(place(y))\" style=\"fill: \(label.colour)\">"
                + "\(escaped(label.text))</text>\n"
        }
        return text
    }

    /// The next of 1, 2, 5 and their decades.
    private static func ceiling(_ value: Double) -> Double {
        let decade = pow(10, floor(log10(value)))
        for step in [1.0, 2, 5, 10] where decade * step >= value { return decade * step }
        return decade * 10
    }

    private static func short(_ value: Double) -> String {
        if value >= 1e6 { return String(format: "%g M", (value / 1e4).rounded() / 100) }
        if value >= 1e3 { return String(format: "%g k", (value / 10).rounded() / 100) }
        return String(format: "%g", (value * 100).rounded() / 100)
    }

    private static func place(_ value: Double) -> String { String(format: "%.1f", value) }

    private static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
    }
}

/// The charts of a run.
enum Charts {
    /// Writes them into a folder.
    static func write(_ results: Results, to folder: String) throws {
        for (name, chart) in all(results) where !chart.svg.isEmpty {
            try chart.svg.write(toFile: "\(folder)/\(name).svg", atomically: true, encoding: .utf8)
        }
    }

    private static func all(_ results: Results) -> [(String, Chart)] {
        let subtitle = "\(results.machine); \(results.date.prefix(10)), \(results.commit)"
        let list = results.measurements
        func lines(
            _ series: String, by x: (Results.Measurement) -> Double, _ y: (Results.Measurement) -> Double,
            where isWanted: (Results.Measurement) -> Bool
        ) -> [(x: Double, y: Double)] {
            list.filter { $0.series == series && isWanted($0) }.map { (x($0), y($0)) }.sorted { $0.x < $1.x }
        }
        func isFloor(_ one: Results.Measurement) -> Bool { one.arm == "floor" }
        let floor = list.first { $0.series == "rules" && isFloor($0) && $0.depth == 64 }?.costNS
        let cost: (Results.Measurement) -> Double = { $0.costNS }
        var charts: [(String, Chart)] = []
        charts.append(
            (
                "depth",
                Chart(
                    title: "Cost of a question by the number sent at once", subtitle: subtitle,
                    xLabel: "questions in one write", yLabel: "ns a question, client and server on one processor",
                    lines: [
                        Chart.Line(
                            name: "floor", points: lines("depth", by: { Double($0.depth) }, cost, where: isFloor)),
                        Chart.Line(
                            name: "Stile", points: lines("depth", by: { Double($0.depth) }, cost) { $0.arm == "stile" }),
                    ])
            ))
        for (name, series, label) in [("users", "users", "users"), ("rules", "rules", "rules")] {
            let x: (Results.Measurement) -> Double = { Double(series == "users" ? $0.users : $0.rules) }
            let stile = lines(series, by: x, cost) { !isFloor($0) && $0.depth == 64 }
            let single = lines(series, by: x, { Double($0.medianNS) }) { !isFloor($0) && $0.depth == 1 }
            let flat = floor.map { value in stile.map { ($0.x, value) } } ?? []
            charts.append(
                (
                    name,
                    Chart(
                        title: "What a question costs as \(label) grow", subtitle: subtitle, xLabel: label,
                        yLabel: "ns a question",
                        lines: [
                            Chart.Line(name: "floor, 64 at once", points: flat),
                            Chart.Line(name: "Stile, 64 at once", points: stile),
                            Chart.Line(name: "Stile, one, median", points: single),
                        ])
                ))
        }
        var offered: [Chart.Line] = []
        for (name, path) in [("median", \Results.Measurement.medianNS), ("p99", \.p99NS), ("p99.9", \.p999NS)] {
            for arm in ["floor", "stile"] {
                offered.append(
                    Chart.Line(
                        name: "\(arm == "stile" ? "Stile" : "floor"), \(name)",
                        points: lines("offered load", by: { $0.rate ?? 1 }, { Double($0[keyPath: path]) / 1_000 }) {
                            $0.arm == arm
                        }))
            }
        }
        charts.append(
            (
                "offered-load",
                Chart(
                    title: "Time to the answer by offered load", subtitle: subtitle,
                    xLabel: "questions offered a second, over 16 connections",
                    yLabel: "us from when a question was due", lines: offered)
            ))
        return charts
    }
}
