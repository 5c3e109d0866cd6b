// What a server has answered about a tenant since its start, on all of its threads.

package import CBOR

/// Counts of answers.
package struct DecisionTally: Sendable, Hashable {
    /// Number of `times`.
    package static let buckets = 24

    /// Answers by their `AnswerKind`.
    package var kinds = [UInt64](repeating: 0, count: AnswerKind.allCases.count)
    /// Answers by the time of the wake-up that gave them, from its start to its end: bucket `i` holds those of less than
    /// 2^i microseconds that no bucket before it holds; the last one holds the rest. The first wake-up of a millisecond is
    /// timed; those after it in the same millisecond count as long as it took.
    package var times = [UInt64](repeating: 0, count: buckets)
    /// The sum of these times.
    package var microseconds: UInt64 = 0
    /// Answers of kind error by the code of their cause.
    package var causes: [String: UInt64] = [:]

    package init() {}

    /// The tally as it stands in a status.
    package var cbor: CBORValue {
        .record([
            0: .array(kinds.map { .unsigned($0) }), 1: .array(times.map { .unsigned($0) }), 2: .unsigned(microseconds),
            3: .map(causes.map { CBORPair(.text($0.key), .unsigned($0.value)) }),
        ])
    }

    /// Reads a tally; what is missing counts as nothing.
    package init(_ value: CBORValue) {
        func fill(_ list: inout [UInt64], _ items: [CBORValue]?) {
            for (index, item) in (items ?? []).prefix(list.count).enumerated() { list[index] = item.uint ?? 0 }
        }
        fill(&kinds, value[0]?.items)
        fill(&times, value[1]?.items)
        microseconds = value[2]?.uint ?? 0
        for pair in value[3]?.pairs ?? [] {
            if let cause = pair.key.text, let count = pair.value.uint { causes[cause] = count }
        }
    }
}
