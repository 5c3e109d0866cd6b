// Random sentences of the grammar, shallow enough to end and broad enough to take every way it has.

/// Numbers that look random and come again with the same seed (PCG's generator, XSH-RR).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 2 &+ 1_442_695_040_888_963_407 }

    mutating func next() -> UInt64 { UInt64(half()) << 32 | UInt64(half()) }

    private mutating func half() -> UInt32 {
        let old = state
        state = old &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let mixed = UInt32(truncatingIfNeeded: ((old >> 18) ^ old) >> 27)
        let turn = UInt32(old >> 59)
        return mixed >> turn | mixed << (32 &- turn & 31)
    }
}

/// Makes sentences.
struct SentenceGenerator {
    let grammar: Grammar
    var numbers: SeededNumbers
    /// How often each way was taken, so that seldom ones are taken more.
    private(set) var taken: [Branch: Int] = [:]
    /// Phrases inside one another before only short ways are taken.
    var maxDepth = 14
    /// What the choices on the way to a wanted one are to take, the first time that they are met.
    private var steering: [Int: Int] = [:]
    private let words: Set<String>
    /// The least depth of each production.
    private let heights: [String: Int]
    private static let names = [
        "user", "payrun", "total", "department", "draft", "mfa", "_x", "a1", "Camel", "device", "resource", "region",
    ]

    init(_ grammar: Grammar, seed: UInt64) {
        self.grammar = grammar
        numbers = SeededNumbers(seed: seed)
        words = grammar.words
        heights = Self.heights(grammar)
    }

    /// The tokens of a sentence.
    mutating func tokens(of name: String = "file") -> [String] { phrase(.reference(name), depth: 0) }

    /// The tokens of a sentence that takes a way of the grammar, if any sentence does.
    mutating func tokens(taking branch: Branch) -> [String] {
        steering = grammar.route(to: branch)
        defer { steering = [:] }
        return tokens()
    }

    /// A sentence, with anything that may stand between its tokens.
    mutating func sentence(of name: String = "file", comments: Bool = true) -> String {
        join(tokens(of: name), comments: comments)
    }

    /// Tokens with spaces, line breaks and comments between them.
    mutating func join(_ tokens: [String], comments: Bool = true) -> String {
        let alone: Set<String> = ["{", "}", "(", ")", "[", "]", ","]
        var text = ""
        for (index, token) in tokens.enumerated() {
            if index > 0 {
                let mayTouch = alone.contains(token) || alone.contains(tokens[index - 1])
                text += space(isNeeded: !mayTouch, comments: comments)
            }
            text += token
        }
        return text + space(isNeeded: false, comments: comments)
    }

    private mutating func space(isNeeded: Bool, comments: Bool) -> String {
        switch Int.random(in: 0..<20, using: &numbers) {
        case 0 where comments: " // \(Int.random(in: 0..<100_000, using: &numbers)) {x} \"y\n"
        case 1 where comments: "\n  //\(Int.random(in: 0..<100_000, using: &numbers))\n"
        case 2, 3: "\n"
        case 4: "\n\n\n"
        case 5: "\t"
        case 6: "  "
        case 7: "\r\n"
        case 8..<14 where !isNeeded: ""
        default: " "
        }
    }

    // MARK: Phrases

    private mutating func phrase(_ expression: GrammarExpression, depth: Int) -> [String] {
        switch expression {
        case .literal(let text): return [text]
        case .characters: return []
        case .reference(let name):
            if Grammar.isToken(name) { return [token(name)] }
            return constrained(name, depth: depth + 1)
        case .sequence(let parts): return parts.flatMap { phrase($0, depth: depth) }
        case .choice(let alternatives, let id):
            let way = choose(alternatives, id, depth: depth)
            return phrase(alternatives[way], depth: depth)
        case .repetition(let part, let least, let isOptional, let id):
            return repeated(part, least: least, isOptional: isOptional, id: id, depth: depth)
        }
    }

    private mutating func constrained(_ name: String, depth: Int) -> [String] {
        guard let production = grammar.productions[name] else { return [] }
        let tokens = phrase(production.expression, depth: depth)
        guard production.constraint == "ascending" else { return tokens }
        // `-` and a number, `...`, `-` and a number.
        let sides = tokens.split(separator: "...").map { Int64($0.joined().filter { $0 != "_" }) ?? 0 }
        return sides[0] <= sides[1]
            ? tokens : Array(tokens.split(separator: "...").reversed().joined(separator: ["..."]))
    }

    private mutating func repeated(
        _ part: GrammarExpression, least: Int, isOptional: Bool, id: Int, depth: Int
    ) -> [String] {
        let most =
            isOptional ? 1 : depth > maxDepth ? least : least + Int.random(in: 0...(depth < 4 ? 6 : 3), using: &numbers)
        var count = least
        if let way = steering.removeValue(forKey: id) {
            count = way == 0 ? 0 : max(1, most)
        } else if most > least, least > 0 || enters(id, part, depth: depth) {
            count = max(1, most)
        }
        if least == 0, count == 0 { taken[Branch(choice: id, alternative: 0), default: 0] += 1 }
        if count > 0 { taken[Branch(choice: id, alternative: 1), default: 0] += 1 }
        // Of alternatives that stand once, each is taken at most once, in any order.
        if case .reference(let name) = part, grammar.productions[name]?.constraint == "once",
            case .choice(let alternatives, let choice)? = grammar.productions[name]?.expression
        {
            var order = alternatives.indices.shuffled(using: &numbers)
            if count > 0, let way = steering.removeValue(forKey: choice) {
                order.swapAt(0, order.firstIndex(of: way) ?? 0)
            }
            return order.prefix(count).flatMap { way in
                taken[Branch(choice: choice, alternative: way), default: 0] += 1
                return phrase(alternatives[way], depth: depth + 1)
            }
        }
        return (0..<count).flatMap { _ in phrase(part, depth: depth) }
    }

    private mutating func enters(_ id: Int, _ part: GrammarExpression, depth: Int) -> Bool {
        if depth > maxDepth { return false }
        let into = taken[Branch(choice: id, alternative: 1), default: 0]
        let past = taken[Branch(choice: id, alternative: 0), default: 0]
        if into == 0 || past == 0 { return into <= past }
        return Bool.random(using: &numbers)
    }

    private mutating func choose(_ alternatives: [GrammarExpression], _ id: Int, depth: Int) -> Int {
        var ways = Array(alternatives.indices)
        if let way = steering.removeValue(forKey: id) {
            ways = [way]
        } else if depth > maxDepth {
            let heights = alternatives.map { Self.height($0, self.heights) }
            ways = ways.filter { heights[$0] == heights.min() }
        } else if Bool.random(using: &numbers) {
            let counts = ways.map { taken[Branch(choice: id, alternative: $0), default: 0] }
            ways = ways.filter { counts[$0] == counts.min() }
        }
        let way = ways.randomElement(using: &numbers) ?? 0
        taken[Branch(choice: id, alternative: way), default: 0] += 1
        return way
    }

    // MARK: Tokens

    private mutating func token(_ name: String) -> String {
        if name == "Name", steering.isEmpty, Int.random(in: 0..<4, using: &numbers) > 0 {
            return Self.names.randomElement(using: &numbers) ?? "x"
        }
        while true {
            let text = characters(.reference(name), depth: 0)
            if !words.contains(text) { return text }
        }
    }

    private mutating func characters(_ expression: GrammarExpression, depth: Int) -> String {
        switch expression {
        case .literal(let text): return text
        case .reference(let name):
            return grammar.productions[name].map { characters($0.expression, depth: depth + 1) } ?? ""
        case .sequence(let parts):
            var text = ""
            for part in parts { text += characters(part, depth: depth) }
            return text
        case .choice(let alternatives, let id):
            return characters(alternatives[choose(alternatives, id, depth: depth)], depth: depth)
        case .repetition(let part, let least, let isOptional, let id):
            let isEntered = steering.removeValue(forKey: id).map { $0 == 1 } ?? enters(id, part, depth: 0)
            let count = isEntered ? isOptional ? 1 : Int.random(in: 1...5, using: &numbers) : least
            taken[Branch(choice: id, alternative: min(count, 1)), default: 0] += 1
            var text = ""
            for _ in 0..<count { text += characters(part, depth: depth) }
            return text
        case .characters(let ranges, let isNegated):
            return String(isNegated ? outside(ranges) : inside(ranges))
        }
    }

    private mutating func inside(_ ranges: [ClosedRange<UInt32>]) -> Character {
        let range = ranges.randomElement(using: &numbers) ?? 0x41...0x41
        return Character(Unicode.Scalar(UInt32.random(in: range, using: &numbers)) ?? "x")
    }

    private mutating func outside(_ ranges: [ClosedRange<UInt32>]) -> Character {
        while true {
            // Mostly ASCII; letters, combining marks, signs and emoji of all kinds.
            let range: ClosedRange<UInt32> = Int.random(in: 0..<10, using: &numbers) > 0 ? 0x20...0x7e : 0xa0...0x1_f6ff
            let value = UInt32.random(in: range, using: &numbers)
            guard !ranges.contains(where: { $0.contains(value) }), let scalar = Unicode.Scalar(value) else { continue }
            return Character(scalar)
        }
    }

    // MARK: Heights

    private static func heights(_ grammar: Grammar) -> [String: Int] {
        var heights: [String: Int] = [:]
        for name in grammar.names where Grammar.isToken(name) { heights[name] = 0 }
        var changed = true
        while changed {
            changed = false
            for (name, production) in grammar.productions where !Grammar.isToken(name) {
                let height = height(production.expression, heights)
                if height < 1_000, heights[name] != height + 1 {
                    heights[name] = height + 1
                    changed = true
                }
            }
        }
        return heights
    }

    private static func height(_ expression: GrammarExpression, _ known: [String: Int]) -> Int {
        switch expression {
        case .literal, .characters: 0
        case .reference(let name): known[name] ?? 1_000
        case .sequence(let parts): parts.map { height($0, known) }.max() ?? 0
        case .choice(let parts, _): parts.map { height($0, known) }.min() ?? 0
        case .repetition(let part, let least, _, _): least == 0 ? 0 : height(part, known)
        }
    }
}

// MARK: Routes

extension Grammar {
    /// What choices have to take, from `file` on, for a sentence to take a branch.
    fileprivate func route(to branch: Branch) -> [Int: Int] {
        guard
            let home = names.first(where: { productions[$0]?.expression.branches.contains(branch) ?? false }),
            let inside = productions[home]?.expression.steps(to: .branch(branch))
        else { return [:] }
        var route = inside
        route[branch.choice] = branch.alternative
        // Backwards from the production to `file`, by the shortest way.
        var before: [String: (name: String, steps: [Int: Int])] = [:]
        var pending = ["file"]
        var seen: Set<String> = ["file"]
        var next = 0
        while next < pending.count, !seen.contains(home) || next == 0 {
            let name = pending[next]
            next += 1
            for reference in productions[name]?.expression.references ?? [] where seen.insert(reference).inserted {
                before[reference] = (name, productions[name]?.expression.steps(to: .reference(reference)) ?? [:])
                pending.append(reference)
            }
        }
        var name = home
        while let step = before[name] {
            route.merge(step.steps) { inner, _ in inner }
            name = step.name
        }
        return route
    }
}

extension GrammarExpression {
    fileprivate enum Goal {
        case branch(Branch)
        case reference(String)
    }

    /// What the choices around the first place of the goal have to take; nil when it is not in here.
    fileprivate func steps(to goal: Goal) -> [Int: Int]? {
        switch self {
        case .literal, .characters: return nil
        case .reference(let name):
            if case .reference(name) = goal { return [:] }
            return nil
        case .sequence(let parts): return parts.lazy.compactMap { $0.steps(to: goal) }.first
        case .choice(let parts, let id):
            if case .branch(let branch) = goal, branch.choice == id { return [:] }
            for (way, part) in parts.enumerated() {
                if let steps = part.steps(to: goal) { return steps.merging([id: way]) { inner, _ in inner } }
            }
            return nil
        case .repetition(let part, _, _, let id):
            if case .branch(let branch) = goal, branch.choice == id { return [:] }
            return part.steps(to: goal).map { $0.merging([id: 1]) { inner, _ in inner } }
        }
    }
}
