// What a run has found, as it stands in benchmarks/results/latest.json.

import Foundation

/// One run.
struct Results: Codable {
    /// Processor, number of processors, memory, kernel, toolchain.
    var machine: String
    var commit: String
    /// RFC 3339
    var date: String
    /// What was left out, and why; empty for a whole run.
    var notes: [String]
    var figures: [Figure]
    var measurements: [Measurement]
    var peers: [Peer]?

    /// A figure with its goal.
    struct Figure: Codable {
        var name: String
        /// nil: not measured in this run.
        var value: Double?
        var unit: String
        /// At most this much.
        var limit: Double?

        var isMet: Bool? {
            guard let value, let limit else { return nil }
            return value <= limit
        }

        /// Absent values are written as null, so that every figure has the same members.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(name, forKey: .name)
            try container.encode(value.map { ($0 * 1_000).rounded() / 1_000 }, forKey: .value)
            try container.encode(unit, forKey: .unit)
            try container.encode(limit, forKey: .limit)
        }
    }

    /// One arm of one comparison: rounds of one server under one load.
    struct Measurement: Codable {
        /// What was varied: `depth`, `users`, …
        var series: String
        /// `floor` or `stile`, with what is special about it.
        var arm: String
        var users: Int
        var rules: Int
        var connections: Int
        var depth: Int
        /// `one processor` or `two processors`
        var placement: String
        /// Questions offered a second; nil for a closed loop.
        var rate: Double?
        var rounds: Int
        var answers: Int
        /// Share of the questions that were permitted.
        var permitted: Double
        /// Nanoseconds a question, median of the rounds: by the middle sample, by all of them, of the server's threads,
        /// of the client.
        var costNS: Double
        var meanNS: Double
        var serverNS: Double
        var clientNS: Double
        /// Nanoseconds of a sample (a round of the closed loop, a question of the open one), all rounds together.
        var medianNS: UInt64
        var p90NS: UInt64
        var p99NS: UInt64
        var p999NS: UInt64
        var p9999NS: UInt64
        var maxNS: UInt64
        /// Answers a second, median of the rounds.
        var perSecond: Double
    }

    /// Another engine on the same questions.
    struct Peer: Codable {
        var name: String
        /// `in process` or `Unix socket`
        var place: String
        var users: Int
        var rules: Int
        var medianUS: Double
        var p99US: Double
        /// Questions on which it and Stile agreed, of those compared.
        var agreed: Int
        var compared: Int
    }
}

extension Results {
    static func read(_ path: String) throws -> Results {
        try JSONDecoder().decode(Results.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }

    func write(_ path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try (encoder.encode(self) + Data("\n".utf8)).write(to: URL(fileURLWithPath: path))
    }

    /// The figure of this name, when it was measured.
    func value(_ name: String) -> Double? { figures.first { $0.name == name }?.value }
}

/// The middle of some numbers; of two middles the lower.
func middle(_ numbers: [Double]) -> Double {
    numbers.isEmpty ? .nan : numbers.sorted()[(numbers.count - 1) / 2]
}
