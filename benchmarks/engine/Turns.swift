// Tenants of several sizes measured in turns: what else runs on the machine then slows all of them alike, and the cost of
// one by another's in the same turn tells of the tenants, not of the machine.

import DecisionEngine

/// A tenant of one size, ready to be asked.
final class Stage {
    let name: String
    let tenant: Tenant
    let world: World
    /// Picks the questions of the next turn.
    var random = Random(seed: benchSeed)
    /// How many of the questions have each answer.
    private(set) var kinds: [VerdictKind: Int] = [:]

    init(_ name: String, _ tenant: Tenant, _ world: World) {
        self.name = name
        self.tenant = tenant
        self.world = world
        for number in world.questions.indices { kinds[world.decide(number).kind, default: 0] += 1 }
    }
}

/// What a tenant took in all its turns.
struct Turns {
    static let count = 20
    /// Questions of a turn.
    static let questions = 10_000
    /// Questions before them that are not timed: what the turn before left in the caches is no cost of this tenant.
    private static let warming = 1_000

    /// Of each turn, in nanoseconds.
    private(set) var medians: [Double] = []
    /// Over all turns.
    let all: Distribution
    /// Of all timed decisions together.
    private(set) var allocations: UInt64 = 0

    private init(_ turns: [(ticks: [UInt64], allocations: UInt64)], _ clock: Clock) {
        medians = turns.map { Distribution(ticks: $0.ticks, clock).median }
        all = Distribution(ticks: turns.flatMap(\.ticks), clock)
        allocations = turns.reduce(0) { $0 + $1.allocations }
    }

    /// Asks each of them in each turn, up and down in turns.
    ///
    /// - Parameter order: numbers of questions for as many positions.
    static func measure(
        _ stages: [Stage], _ part: World.Part, _ clock: Clock, order: (Stage, Range<Int>) -> [Int]
    ) -> [Turns] {
        var found = stages.map { _ in [(ticks: [UInt64], allocations: UInt64)]() }
        for turn in 0..<count {
            let indices = turn.isMultiple(of: 2) ? Array(stages.indices) : stages.indices.reversed()
            for index in indices {
                let stage = stages[index]
                _ = stage.world.measure(order(stage, 0..<warming), part)
                found[index].append(stage.world.measure(order(stage, 0..<questions), part))
            }
        }
        return found.map { Turns($0, clock) }
    }

    /// The median over the turns of what this tenant took by what another took in the same turn.
    func growth(over other: Turns) -> Double {
        let ratios = zip(medians, other.medians).map { $0 / max($1, 1e-9) }.sorted()
        return (ratios[(ratios.count - 1) / 2] + ratios[ratios.count / 2]) / 2
    }
}
