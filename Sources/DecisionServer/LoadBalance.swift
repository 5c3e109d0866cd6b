// Which connections a reactor gives to another that has less to do. Pure arithmetic: the reactor measures and moves.

/// Watches how much more one reactor has to do than the idlest other one.
struct LoadBalance {
    /// Thousandths of its time that a reactor must have had to do before it gives anything away.
    static let leastLoad = 300
    /// Thousandths between the two from which on their loads are uneven.
    static let leastGap = 250
    /// Measurements in a row that must be uneven: a burst is over before its connections would have moved.
    static let patience = 5
    /// Open questions that a connection may have to be moved: each is decided again at its new place.
    static let mostQuestions = 4_096
    /// Unsent bytes that are moved at most.
    static let mostUnsent = 1 << 20
    /// Milliseconds for which a connection that has moved stays.
    static let rest: Int64 = 1_000

    private var uneven = 0

    /// What to do after a measurement.
    enum Step: Hashable {
        case nothing
        /// Begin to count what each connection asks.
        case count
        /// Give connections away that have asked so many thousandths of all that was asked.
        case give(Int)
    }

    /// Takes a measurement of the own load and the idlest other's.
    mutating func step(own: Int, other: Int) -> Step {
        guard own >= Self.leastLoad, own - other >= Self.leastGap else {
            uneven = 0
            return .nothing
        }
        uneven += 1
        if uneven == 1 { return .count }
        guard uneven >= Self.patience else { return .nothing }
        uneven = 0
        return .give((own - other) * 500 / own)
    }

    /// Chooses connections whose questions together are at most a share of all: the busiest that fit go first, so that
    /// few move.
    /// - Parameters:
    ///   - asked: what each connection has asked.
    ///   - share: in thousandths.
    /// - Returns: indices of `asked`.
    static func choose(_ asked: [Int], share: Int) -> [Int] {
        let total = asked.reduce(0, +)
        var left = total * share / 1_000
        // Shares that are even but for chance must fit: two of two are half each, give or take a little.
        let slack = total / 50
        var chosen: [Int] = []
        for index in asked.indices.sorted(by: { asked[$0] > asked[$1] })
        where asked[index] > 0 && asked[index] <= left + slack {
            chosen.append(index)
            left -= asked[index]
        }
        return chosen.count == asked.filter { $0 > 0 }.count ? Array(chosen.dropLast()) : chosen
    }
}
