// The table of README.md, made from the results.

import Foundation

/// Markdown between two marks.
enum Table {
    static let begin = "<!-- figures: made by `make bench-table` from benchmarks/results/latest.json -->"
    static let end = "<!-- end of figures -->"

    private static let meanings: [(name: String, meaning: String)] = [
        ("socket_depth1_median_over_floor", "one question at a time, median, over the floor's"),
        ("socket_depth1_p99_over_floor", "one question at a time, 99th percentile, over the floor's"),
        ("socket_depth64_cost_over_floor", "64 at once, cost of a question over the floor's of a message"),
        ("socket_depth64_1m_users_cost_over_floor", "the same with a million users"),
        ("rules_100_to_10000_growth", "cost with 10,000 rules over 100 rules, 64 at once"),
        ("users_10k_to_1m_growth", "median with a million users over 10,000, one at a time"),
        ("sealed_over_plain_depth1", "sealed over plain, one at a time"),
        ("log_on_over_off_depth64", "decision log on over off, 64 at once"),
        ("private_memory_mb", "private memory: a million users, 10,000 rules, 256 connections"),
        ("start_to_first_answer_s", "start to first answer: a million users, 10,000 rules"),
        ("socket_depth1_median_us", "one question at a time, median"),
        ("floor_depth1_median_us", "the floor's"),
        ("socket_depth64_questions_per_second", "questions a second, 64 at once, client on the same processor"),
    ]

    /// The table.
    static func markdown(_ results: Results) -> String {
        var text = "| figure | measured | at most |\n| --- | --- | --- |\n"
        for (name, meaning) in meanings {
            guard let figure = results.figures.first(where: { $0.name == name }) else { continue }
            let value = figure.value.map { number($0, figure.unit) } ?? "not measured"
            text += "| \(meaning) | \(value) | \(figure.limit.map { number($0, figure.unit) } ?? "") |\n"
        }
        for peer in results.peers ?? [] {
            text +=
                "| \(peer.name), \(peer.place), median of \(peer.users) users and \(peer.rules) rules | "
                + "\(number(peer.medianUS, "us")) | |\n"
        }
        text += "\n\(results.machine); commit \(results.commit), \(results.date.prefix(10))."
        return text
    }

    private static func number(_ value: Double, _ unit: String) -> String {
        switch unit {
        case "ratio": String(format: "%.2f", value)
        case "us": String(format: "%.1f us", value)
        case "s": String(format: "%.2f s", value)
        case "MiB": String(format: "%.1f MiB", value)
        case "1/s": String(format: "%.0f k/s", value / 1_000)
        default: String(format: "%.0f \(unit)", value)
        }
    }

    /// Puts the table into a file with the marks.
    static func insert(_ results: Results, into path: String) throws {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        guard let start = text.range(of: begin), let stop = text.range(of: end) else {
            throw BenchError("\(path) has no marks for the table: \(begin) and \(end)")
        }
        let whole = text[..<start.upperBound] + "\n" + markdown(results) + "\n" + text[stop.lowerBound...]
        try String(whole).write(toFile: path, atomically: true, encoding: .utf8)
    }
}
