// Whether tokens are a sentence of the grammar, by Earley's method (An Efficient Context-Free Parsing Algorithm, 1970),
// which takes any grammar as it is written. Slow and obvious: it is what the parser is held to.

@testable import PolicyLanguage

/// Recognises sentences of a grammar.
struct Recogniser {
    private enum Symbol: Hashable {
        case word(String)
        case token(String)
        case phrase(Int)
    }

    private struct Rule {
        var head: Int
        var body: [Symbol]
        /// The way of the grammar that this rule stands for.
        var branch: Branch?
    }

    /// A rule read up to a place in its body, begun at a token.
    private struct Item: Hashable {
        var rule: Int32
        var dot: Int32
        var origin: Int32

        var advanced: Item { Item(rule: rule, dot: dot + 1, origin: origin) }
    }

    private var rules: [Rule] = []
    private var rulesOf: [[Int]] = []
    private var phrases: [String: Int] = [:]
    private var isNullable: [Bool] = []
    private let words: Set<String>
    /// Whether a word that phrases spell out is taken as a name too.
    private let takesWordsAsNames: Bool

    init(_ grammar: Grammar, takesWordsAsNames: Bool) {
        words = grammar.words
        self.takesWordsAsNames = takesWordsAsNames
        for name in grammar.names where !Grammar.isToken(name) {
            phrases[name] = rulesOf.count
            rulesOf.append([])
        }
        for name in grammar.names {
            guard let head = phrases[name], let production = grammar.productions[name] else { continue }
            add(head, production.expression, branch: nil)
        }
        isNullable = Array(repeating: false, count: rulesOf.count)
        var changed = true
        while changed {
            changed = false
            for rule in rules where !isNullable[rule.head] && rule.body.allSatisfy(isNothing) {
                isNullable[rule.head] = true
                changed = true
            }
        }
    }

    private func isNothing(_ symbol: Symbol) -> Bool {
        if case .phrase(let phrase) = symbol { return isNullable[phrase] }
        return false
    }

    // MARK: Rules

    private mutating func add(_ head: Int, _ expression: GrammarExpression, branch: Branch?) {
        switch expression {
        case .choice(let alternatives, let id) where branch == nil:
            for (index, alternative) in alternatives.enumerated() {
                add(head, alternative, branch: Branch(choice: id, alternative: index))
            }
        case .sequence(let parts): addRule(head, parts.map { symbol($0) }, branch)
        default: addRule(head, [symbol(expression)], branch)
        }
    }

    private mutating func addRule(_ head: Int, _ body: [Symbol], _ branch: Branch?) {
        rulesOf[head].append(rules.count)
        rules.append(Rule(head: head, body: body, branch: branch))
    }

    private mutating func newPhrase() -> Int {
        rulesOf.append([])
        return rulesOf.count - 1
    }

    private mutating func symbol(_ expression: GrammarExpression) -> Symbol {
        switch expression {
        case .literal(let text): return .word(text)
        case .reference(let name): return phrases[name].map { .phrase($0) } ?? .token(name)
        case .characters: return .token("no phrase has characters")
        case .sequence, .choice:
            let head = newPhrase()
            add(head, expression, branch: nil)
            return .phrase(head)
        case .repetition(let part, let least, let isOptional, let id):
            let inner = symbol(part)
            let head = newPhrase()
            addRule(head, least == 0 ? [] : [inner], least == 0 ? Branch(choice: id, alternative: 0) : nil)
            addRule(
                head, isOptional ? [inner] : [.phrase(head), inner], Branch(choice: id, alternative: 1))
            return .phrase(head)
        }
    }

    // MARK: Recognising

    /// The ways that one reading of the tokens takes; nil when they are no sentence. The last token is the end.
    func derivation(of tokens: [Token], as name: String = "file") -> Set<Branch>? {
        guard let start = phrases[name] else { return nil }
        let count = tokens.count - 1
        var sets: [[Item]] = Array(repeating: [], count: count + 1)
        var seen: [Set<Item>] = Array(repeating: [], count: count + 1)
        // Items that wait for a phrase, by phrase and place.
        var waiting: [[Int: [Item]]] = Array(repeating: [:], count: count + 1)
        func add(_ item: Item, _ place: Int) {
            if seen[place].insert(item).inserted { sets[place].append(item) }
        }
        for rule in rulesOf[start] { add(Item(rule: Int32(rule), dot: 0, origin: 0), 0) }
        for place in 0...count {
            var next = 0
            while next < sets[place].count {
                let item = sets[place][next]
                next += 1
                let rule = rules[Int(item.rule)]
                guard Int(item.dot) < rule.body.count else {
                    for waiter in waiting[Int(item.origin)][rule.head] ?? [] { add(waiter.advanced, place) }
                    continue
                }
                let symbol = rule.body[Int(item.dot)]
                guard case .phrase(let phrase) = symbol else {
                    if place < count, matches(symbol, tokens[place]) { add(item.advanced, place + 1) }
                    continue
                }
                waiting[place][phrase, default: []].append(item)
                for rule in rulesOf[phrase] { add(Item(rule: Int32(rule), dot: 0, origin: Int32(place)), place) }
                // A phrase of nothing may have been read before this item came to wait for it.
                if isNullable[phrase] { add(item.advanced, place) }
            }
            if place < count, sets[place + 1].isEmpty { return nil }
        }
        return walk(start, count, seen)
    }

    private func matches(_ symbol: Symbol, _ token: Token) -> Bool {
        switch (symbol, token.kind) {
        case (.word(let text), .name), (.word(let text), .symbol): token.text == text
        case (.token("Name"), .name): takesWordsAsNames || !words.contains(token.text)
        case (.token("Text"), .text), (.token("Integer"), .integer), (.token("Decimal"), .decimal),
            (.token("Duration"), .duration), (.token("Version"), .version), (.token("Instant"), .instant),
            (.token("Address"), .address), (.token("Network"), .network):
            true
        default: false
        }
    }

    /// Follows one reading back from its end and collects the ways it takes.
    private func walk(_ start: Int, _ count: Int, _ sets: [Set<Item>]) -> Set<Branch>? {
        var branches = Set<Branch>()
        var visited = Set<[Int]>()
        var pending = [[start, 0, count]]
        while let span = pending.popLast() {
            guard visited.insert(span).inserted else { continue }
            let (phrase, from, to) = (span[0], span[1], span[2])
            let complete = rulesOf[phrase].first { rule in
                sets[to].contains(
                    Item(rule: Int32(rule), dot: Int32(rules[rule].body.count), origin: Int32(from)))
            }
            guard let complete else { return nil }
            let rule = rules[complete]
            if let branch = rule.branch { branches.insert(branch) }
            var end = to
            for dot in rule.body.indices.reversed() {
                guard case .phrase(let inner) = rule.body[dot] else {
                    end -= 1
                    continue
                }
                let split = (from...end).reversed().first { place in
                    sets[place].contains(Item(rule: Int32(complete), dot: Int32(dot), origin: Int32(from)))
                        && rulesOf[inner].contains { candidate in
                            sets[end].contains(
                                Item(
                                    rule: Int32(candidate), dot: Int32(rules[candidate].body.count),
                                    origin: Int32(place)))
                        }
                }
                guard let split else { return nil }
                pending.append([inner, split, end])
                end = split
            }
        }
        return branches
    }
}
