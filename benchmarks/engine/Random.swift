// One seeded generator for all that is made up, so that a run is repeated by its seed.

/// SplitMix64.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    /// A number from 0 up to, not including, `count`.
    mutating func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self) }
    /// True in this many cases of a hundred.
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }

    /// Some of the numbers below `count`, each once, ascending.
    mutating func some(_ number: Int, below count: Int) -> [Int] {
        var chosen = Set<Int>()
        while chosen.count < min(number, count) { chosen.insert(below(count)) }
        return chosen.sorted()
    }
}
