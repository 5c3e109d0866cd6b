// The grammar is true: what it produces parses, what parses it produces, for random sentences, examples and mistakes.

import Foundation
import Testing

@testable import PolicyLanguage

@Suite("grammar")
struct GrammarTests {
    static let isProof = ProcessInfo.processInfo.environment["STILE_PROVE_SENTENCES"]
    static let sentences = isProof.flatMap { Int($0) } ?? 150
    static let seed =
        ProcessInfo.processInfo.environment["STILE_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...(1 << 40))

    /// The mistakes that the lexer and the parser find in a text.
    static func mistakes(in text: String) -> [Diagnostic] {
        var sink = DiagnosticSink()
        _ = Parser.parse(SourceFile(name: "sentence.stile", text: text), index: 0, &sink)
        return sink.sorted
    }

    static func tokens(of text: String) -> [Token] {
        var sink = DiagnosticSink()
        return Lexer.tokens(of: SourceFile(name: "sentence.stile", text: text), index: 0, &sink)
    }

    /// Ways that a grammar has, tokens included.
    private static func branches(_ grammar: Grammar, tokens: Bool) -> Set<Branch> {
        Set(
            grammar.productions.filter { tokens || !Grammar.isToken($0.key) }.filter {
                !["Space", "Comment"].contains($0.key)
            }
            .flatMap { $0.value.expression.branches })
    }

    /// What of the grammar a set of ways leaves out, for people.
    private static func missing(_ grammar: Grammar, _ ways: Set<Branch>, _ taken: Set<Branch>) -> String {
        grammar.names.compactMap { name in
            let left = (grammar.productions[name]?.expression.branches ?? []).filter {
                ways.contains($0) && !taken.contains($0)
            }
            return left.isEmpty
                ? nil
                : "\(name) (\(left.map { "way \($0.alternative) of choice \($0.choice)" }.joined(separator: ", ")))"
        }.joined(separator: "; ")
    }

    @Test("random sentences of the grammar parse, and take every way that it has")
    func sentencesParse() throws {
        let grammar = try Grammar.stile.get()
        var generator = SentenceGenerator(grammar, seed: Self.seed)
        let ways = Self.branches(grammar, tokens: true)
        var words = 0
        var number = 0
        // As many as wanted, and then one for each way that was not taken by chance.
        var left: [Branch] = []
        while number < Self.sentences || !left.isEmpty {
            number += 1
            let sentence =
                left.popLast().map { generator.join(generator.tokens(taking: $0)) } ?? generator.sentence()
            if number == Self.sentences {
                left = ways.filter { generator.taken[$0] == nil }.sorted(by: Branch.isBefore)
            }
            words += sentence.utf8.count
            let mistakes = Self.mistakes(in: sentence)
            let isGood = mistakes.isEmpty
            try #require(
                isGood, "seed \(Self.seed), sentence \(number): \(mistakes.first?.message ?? "")\n\(sentence)"
            )
        }
        let taken = ways.filter { generator.taken[$0] != nil }
        print(
            "grammar: \(number) sentences of \(words) bytes (seed \(Self.seed)) take \(taken.count) of \(ways.count) ways "
                + "in \(grammar.names.count) productions (\(taken.count * 100 / ways.count) %)")
        #expect(taken.count == ways.count, "never taken: \(Self.missing(grammar, ways, taken))")
    }

    /// Every file of policies in this repository that parses.
    static func examples() -> [(name: String, text: String)] {
        let root = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent().appending(
            path: "../.."
        ).standardized
        var found: [(name: String, text: String)] = Samples.files.map { ($0.name, $0.text) }
        for folder in ["policies", "Tests", "Sources", "benchmarks"] {
            let files = FileManager.default.enumerator(
                at: root.appending(path: folder), includingPropertiesForKeys: nil)
            while let file = files?.nextObject() as? URL {
                guard file.pathExtension == "stile", let text = try? String(contentsOf: file, encoding: .utf8) else {
                    continue
                }
                if mistakes(in: text).isEmpty { found.append((file.path, text)) }
            }
        }
        return found
    }

    @Test("every example, policy test and mistake that parses is a sentence of the grammar")
    func examplesAreSentences() throws {
        let grammar = try Grammar.stile.get()
        let recogniser = Recogniser(grammar, takesWordsAsNames: true)
        var taken = Set<Branch>()
        let examples = Self.examples()
        #expect(examples.count > 100)
        for (name, text) in examples {
            let branches = recogniser.derivation(of: Self.tokens(of: text))
            #expect(branches != nil, "\(name) parses, but the grammar does not produce it")
            taken.formUnion(branches ?? [])
        }
        let ways = Self.branches(grammar, tokens: false)
        let used = ways.intersection(taken)
        print(
            "grammar: \(examples.count) files take \(used.count) of \(ways.count) ways of its phrases "
                + "(\(used.count * 100 / ways.count) %)")
        // A way that no example takes is one that nobody learns from.
        #expect(used.count == ways.count, "no example takes: \(Self.missing(grammar, ways, used))")
    }

    @Test("what the parser expected otherwise is no sentence of the grammar", arguments: Mistake.all)
    func mistakesAreNone(_ mistake: Mistake) throws {
        let recogniser = Recogniser(try Grammar.stile.get(), takesWordsAsNames: false)
        for file in try mistake.files() {
            let codes = Self.mistakes(in: file.text).map(\.code)
            if codes.contains(.expected) || codes.contains(.unclosedBlock) {
                let isSentence = recogniser.derivation(of: Self.tokens(of: file.text)) != nil
                #expect(!isSentence)
            }
        }
    }

    /// Mistakes that the parser finds in sentences of the grammar: constraints, limits, and values that tokens cannot have.
    private static let beyond: Set<DiagnosticCode> = [
        .repeatedClause, .repeatedStep, .badRange, .nestedTooDeep, .tooLarge, .badNumber, .badDuration,
    ]

    @Test("parser and grammar agree on sentences with a token changed, missing or too many")
    func changedSentences() throws {
        let grammar = try Grammar.stile.get()
        let strict = Recogniser(grammar, takesWordsAsNames: false)
        let lax = Recogniser(grammar, takesWordsAsNames: true)
        var generator = SentenceGenerator(grammar, seed: Self.seed &+ 1)
        generator.maxDepth = 8
        let literals = grammar.literals.sorted()
        var agreed = (sentences: 0, others: 0)
        var number = 0
        // As many as wanted, and more as long as chance has given too few of one kind.
        while number < Self.sentences * 4 || (agreed.sentences <= 20 && number < Self.sentences * 40) {
            number += 1
            var tokens = generator.tokens()
            if tokens.isEmpty || tokens.count > 400 { continue }
            let place = Int.random(in: 0..<tokens.count, using: &generator.numbers)
            let other = literals.randomElement(using: &generator.numbers) ?? "{"
            switch Int.random(in: 0..<5, using: &generator.numbers) {
            case 0: tokens.remove(at: place)
            case 1: tokens.insert(other, at: place)
            case 2: tokens[place] = other
            case 3: tokens.insert(tokens[place], at: place)
            default: tokens.swapAt(place, Int.random(in: 0..<tokens.count, using: &generator.numbers))
            }
            // On one line, so that what the parser does to recover after line breaks plays no part.
            let text = tokens.joined(separator: " ")
            let codes = Set(Self.mistakes(in: text).map(\.code))
            if !codes.isDisjoint(with: Self.beyond) { continue }
            let parsed = Self.tokens(of: text)
            let where_ = "seed \(Self.seed), sentence \(number): \(text)"
            if codes.isEmpty {
                agreed.sentences += 1
                let isSentence = lax.derivation(of: parsed) != nil
                try #require(isSentence, "parses, but is no sentence: \(where_)")
            } else {
                agreed.others += 1
                let isSentence = strict.derivation(of: parsed) != nil
                try #require(!isSentence, "a sentence, but refused (\(codes)): \(where_)")
            }
        }
        print("grammar: parser and recogniser agree on \(agreed.sentences) sentences and \(agreed.others) others")
        #expect(agreed.others > 100 && agreed.sentences > 20)
    }
}
