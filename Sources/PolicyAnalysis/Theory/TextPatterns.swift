// Which texts there are that match some patterns and not others. A pattern's automaton has a state for each place in
// the pattern; walking all automata at once over the letters that occur in them, and one that occurs in none, meets
// every combination there is.

import PolicyLanguage

/// A `like` pattern.
struct TextPattern: Hashable, Sendable {
    /// Letters; nil is a star.
    private let places: [Unicode.Scalar?]

    init(_ parts: [Text]) {
        var places: [Unicode.Scalar?] = []
        for (index, part) in parts.enumerated() {
            if index > 0 { places.append(nil) }
            places += part.string.unicodeScalars.map { Optional($0) }
        }
        self.places = places
    }

    /// The same pattern without stars beside one another.
    static func normalized(_ parts: [Text]) -> [Text] {
        guard parts.count > 2, let first = parts.first, let last = parts.last else { return parts }
        return [first] + parts.dropFirst().dropLast().filter { !$0.bytes.isEmpty } + [last]
    }

    var letters: [Unicode.Scalar] { places.compactMap { $0 } }

    /// A set of places in the pattern, as bits.
    typealias State = [UInt64]

    var start: State {
        var state = State(repeating: 0, count: places.count / 64 + 1)
        insert(0, &state)
        return state
    }

    private func insert(_ place: Int, _ state: inout State) {
        state[place >> 6] |= 1 << UInt64(place & 63)
        // A star may stand for nothing.
        if place < places.count, places[place] == nil { insert(place + 1, &state) }
    }

    func next(_ state: State, _ letter: Unicode.Scalar) -> State {
        var next = State(repeating: 0, count: state.count)
        for place in 0..<places.count where state[place >> 6] >> UInt64(place & 63) & 1 == 1 {
            if let wanted = places[place] {
                if wanted == letter { insert(place + 1, &next) }
            } else {
                insert(place, &next)
            }
        }
        return next
    }

    func isEnd(_ state: State) -> Bool { state[places.count >> 6] >> UInt64(places.count & 63) & 1 == 1 }

    func matches(_ text: Text) -> Bool {
        isEnd(text.string.unicodeScalars.reduce(start) { next($0, $1) })
    }
}

/// Texts by which patterns they match.
struct TextSearch {
    enum Failure: Error {
        /// More states than are looked at.
        case tooLarge
    }

    private static let maxStates = 50_000

    private var patterns: [TextPattern]
    private var wanted: [Bool]
    private var letters: [Unicode.Scalar] = []
    private var states: [[TextPattern.State]] = []
    private var edges: [[Int]] = []
    private var isGoal: [Bool] = []
    /// Letters to the next text that is wanted; nil where there is none.
    private var distances: [Int?] = []

    /// - Parameter constraints: patterns, and whether a text is to match them.
    init(_ constraints: [(pattern: TextPattern, isMatched: Bool)], _ budget: WorkBudget) throws(Failure) {
        patterns = constraints.map(\.pattern)
        wanted = constraints.map(\.isMatched)
        let used = Set(patterns.flatMap(\.letters))
        letters = [Self.letter(besides: used)] + used.sorted { $0.value < $1.value }
        try explore(budget)
    }

    /// A letter that occurs in no pattern. Such letters are all alike; a plain one reads best.
    private static func letter(besides used: Set<Unicode.Scalar>) -> Unicode.Scalar {
        if let plain = "xyzabcdefghijklmnopqrstuvw0123456789".unicodeScalars.first(where: { !used.contains($0) }) {
            return plain
        }
        return (0x4e00...0xd7ff).lazy.compactMap { Unicode.Scalar($0 as UInt32) }.first { !used.contains($0) }
            ?? "\u{fffd}"
    }

    private mutating func explore(_ budget: WorkBudget) throws(Failure) {
        var known: [[TextPattern.State]: Int] = [:]
        let start = patterns.map(\.start)
        known[start] = 0
        states = [start]
        var index = 0
        while index < states.count {
            let state = states[index]
            isGoal.append(zip(zip(patterns, state), wanted).allSatisfy { $0.0.0.isEnd($0.0.1) == $0.1 })
            var targets: [Int] = []
            for letter in letters {
                let next = zip(patterns, state).map { $0.0.next($0.1, letter) }
                if let place = known[next] {
                    targets.append(place)
                } else {
                    known[next] = states.count
                    targets.append(states.count)
                    states.append(next)
                }
            }
            edges.append(targets)
            index += 1
            budget.spend(20 * letters.count * patterns.count)
            if states.count > Self.maxStates || budget.isUsedUp { throw .tooLarge }
        }
        var backwards: [[Int]] = Array(repeating: [], count: states.count)
        for (from, targets) in edges.enumerated() { for to in targets { backwards[to].append(from) } }
        distances = isGoal.map { $0 ? 0 : nil }
        var pending = isGoal.indices.filter { isGoal[$0] }
        var next = 0
        while next < pending.count {
            let state = pending[next]
            next += 1
            for before in backwards[state] where distances[before] == nil {
                distances[before] = distances[state].map { $0 + 1 }
                pending.append(before)
            }
        }
    }

    /// Up to `count` different texts, short ones first. Fewer only when there are no more.
    func texts(_ count: Int) -> [Text] {
        var found: [Text] = []
        var level: [(state: Int, text: String)] = distances[0] == nil ? [] : [(0, "")]
        while !level.isEmpty {
            for (state, text) in level where isGoal[state] {
                found.append(Text(text))
                if found.count >= count { return found }
            }
            var next: [(distance: Int, state: Int, text: String)] = []
            for (state, text) in level {
                for (letter, target) in zip(letters, edges[state]) {
                    if let distance = distances[target] { next.append((distance, target, text + String(letter))) }
                }
            }
            // Each of these leads to a text of its own, so no more of them are needed than texts; the nearest ones, so
            // that the search arrives.
            next.sort { ($0.distance, $0.text) < ($1.distance, $1.text) }
            level = next.prefix(count).map { ($0.state, $0.text) }
        }
        return found
    }
}
