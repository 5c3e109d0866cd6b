// The grammar as data: a reader of EBNF in the notation of the XML recommendation (section 6).

import Foundation
import Testing

/// What stands to the right of `::=`.
indirect enum GrammarExpression: Sendable {
    case literal(String)
    case reference(String)
    /// One character of these ranges, or of none of them.
    case characters([ClosedRange<UInt32>], isNegated: Bool)
    case sequence([GrammarExpression])
    /// `id` tells choices apart in figures of coverage.
    case choice([GrammarExpression], id: Int)
    /// From `least` to any number of times, at most once when `isOptional`.
    case repetition(GrammarExpression, least: Int, isOptional: Bool, id: Int)
}

/// All productions of a file.
struct Grammar: Sendable {
    struct Production: Sendable {
        var expression: GrammarExpression
        /// `[wfc: …]` behind it.
        var constraint: String?
    }

    struct Problem: Error, CustomStringConvertible {
        var description: String
    }

    private(set) var productions: [String: Production] = [:]
    /// Names in the order of the file.
    private(set) var names: [String] = []
    private var nextID = 0

    /// The grammar of this repository.
    static let stile: Result<Grammar, any Error> = Result {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../grammar/stile.ebnf")
        return try Grammar(try String(contentsOf: file, encoding: .utf8))
    }

    init(_ text: String) throws {
        var reader = Reader(characters: Array(text.unicodeScalars))
        while try reader.isMore() {
            let name = try reader.name()
            try reader.need("::=")
            let expression = try reader.choice(&self)
            if productions[name] != nil { throw Problem(description: "\(name) stands twice") }
            productions[name] = Production(expression: expression, constraint: try reader.constraint())
            names.append(name)
        }
        for (name, production) in productions {
            for reference in production.expression.references where productions[reference] == nil {
                throw Problem(description: "\(name) refers to \(reference), which nothing produces")
            }
        }
    }

    /// True for tokens, inside of which nothing may stand.
    static func isToken(_ name: String) -> Bool { name.first?.isUppercase ?? false }

    /// Every word and sign that a phrase spells out.
    var literals: Set<String> {
        Set(productions.filter { !Self.isToken($0.key) }.flatMap { $0.value.expression.literals })
    }

    /// The words among them.
    var words: Set<String> { literals.filter { $0.first?.isLetter ?? false } }

    fileprivate mutating func newID() -> Int {
        nextID += 1
        return nextID
    }
}

extension GrammarExpression {
    /// What this is made of.
    var parts: [GrammarExpression] {
        switch self {
        case .literal, .reference, .characters: []
        case .sequence(let parts), .choice(let parts, _): parts
        case .repetition(let part, _, _, _): [part]
        }
    }

    var references: [String] {
        if case .reference(let name) = self { return [name] }
        return parts.flatMap(\.references)
    }

    var literals: [String] {
        if case .literal(let text) = self { return [text] }
        return parts.flatMap(\.literals)
    }

    /// Every way to go that this expression has, itself included: (choice, alternative).
    var branches: [Branch] {
        switch self {
        case .choice(let parts, let id):
            parts.indices.map { Branch(choice: id, alternative: $0) } + parts.flatMap(\.branches)
        case .repetition(let part, let least, _, let id):
            (least == 0 ? [0, 1] : [1]).map { Branch(choice: id, alternative: $0) } + part.branches
        default: parts.flatMap(\.branches)
        }
    }
}

/// One way to go at a choice; at a repetition 0 is past it and 1 into it.
struct Branch: Hashable, Sendable {
    var choice: Int
    var alternative: Int

    static func isBefore(_ left: Branch, _ right: Branch) -> Bool {
        (left.choice, left.alternative) < (right.choice, right.alternative)
    }
}

private struct Reader {
    let characters: [Unicode.Scalar]
    var position = 0

    private func problem(_ what: String) -> Grammar.Problem {
        let line = characters[..<position].filter { $0 == "\n" }.count + 1
        return Grammar.Problem(description: "line \(line) of the grammar: \(what)")
    }

    private var current: Unicode.Scalar? { position < characters.count ? characters[position] : nil }

    private func starts(_ text: String) -> Bool { characters[position...].starts(with: Array(text.unicodeScalars)) }

    private mutating func skip() throws {
        while let current {
            if current.properties.isWhitespace {
                position += 1
            } else if starts("/*") {
                while position < characters.count, !starts("*/") { position += 1 }
                if position == characters.count { throw problem("a comment without end") }
                position += 2
            } else {
                return
            }
        }
    }

    mutating func isMore() throws -> Bool {
        try skip()
        return position < characters.count
    }

    mutating func need(_ text: String) throws {
        try skip()
        if !starts(text) { throw problem("expected \(text)") }
        position += text.unicodeScalars.count
    }

    mutating func name() throws -> String {
        try skip()
        let start = position
        while let current, current.properties.isAlphabetic || ("0"..."9").contains(current) { position += 1 }
        if start == position { throw problem("expected a name") }
        var name = String.UnicodeScalarView()
        name.append(contentsOf: characters[start..<position])
        return String(name)
    }

    /// `[wfc: once]`
    mutating func constraint() throws -> String? {
        try skip()
        guard starts("[wfc:") else { return nil }
        position += 5
        let constraint = try name()
        try need("]")
        return constraint
    }

    mutating func choice(_ grammar: inout Grammar) throws -> GrammarExpression {
        var alternatives = [try sequence(&grammar)]
        try skip()
        while current == "|" {
            position += 1
            alternatives.append(try sequence(&grammar))
            try skip()
        }
        return alternatives.count == 1 ? alternatives[0] : .choice(alternatives, id: grammar.newID())
    }

    private mutating func sequence(_ grammar: inout Grammar) throws -> GrammarExpression {
        var parts: [GrammarExpression] = []
        while true {
            try skip()
            guard let current, current != "|", current != ")", !starts("[wfc:") else { break }
            // A name before `::=` begins the next production.
            if current.properties.isAlphabetic {
                let start = position
                let name = try name()
                try skip()
                if starts("::=") {
                    position = start
                    break
                }
                parts.append(suffix(.reference(name), &grammar))
            } else {
                let part = try primary(&grammar)
                parts.append(suffix(part, &grammar))
            }
        }
        return parts.count == 1 ? parts[0] : .sequence(parts)
    }

    private mutating func suffix(_ part: GrammarExpression, _ grammar: inout Grammar) -> GrammarExpression {
        guard let sign = current, ["?", "*", "+"].contains(sign) else { return part }
        position += 1
        return .repetition(part, least: sign == "+" ? 1 : 0, isOptional: sign == "?", id: grammar.newID())
    }

    private mutating func primary(_ grammar: inout Grammar) throws -> GrammarExpression {
        switch current {
        case "(":
            position += 1
            let inner = try choice(&grammar)
            try need(")")
            return inner
        case "\"", "'":
            let quote = current
            position += 1
            let start = position
            while let current, current != quote { position += 1 }
            if position == characters.count { throw problem("a text without end") }
            var text = String.UnicodeScalarView()
            text.append(contentsOf: characters[start..<position])
            position += 1
            return .literal(String(text))
        case "[": return try characterClass()
        default: throw problem("expected a part of a production")
        }
    }

    private mutating func characterClass() throws -> GrammarExpression {
        position += 1
        var isNegated = false
        if current == "^" {
            isNegated = true
            position += 1
        }
        var ranges: [ClosedRange<UInt32>] = []
        while current != nil, current != "]" {
            let first = try classCharacter()
            if self.current == "-", position + 1 < characters.count, characters[position + 1] != "]" {
                position += 1
                let last = try classCharacter()
                guard first <= last else { throw problem("a range of characters the wrong way round") }
                ranges.append(first...last)
            } else {
                ranges.append(first...first)
            }
        }
        try need("]")
        return .characters(ranges, isNegated: isNegated)
    }

    /// A character, or `#xA` for one by its number.
    private mutating func classCharacter() throws -> UInt32 {
        if starts("#x") {
            position += 2
            let start = position
            while let current, current.properties.isASCIIHexDigit { position += 1 }
            let digits = String(String.UnicodeScalarView(characters[start..<position]))
            guard let value = UInt32(digits, radix: 16) else { throw problem("#x without a number") }
            return value
        }
        guard let current else { throw problem("characters without end") }
        position += 1
        return current.value
    }
}
