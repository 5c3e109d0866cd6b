// What the compiler tells an author: where, what is wrong, what was expected, what to write instead.

/// A finding in policy text.
package struct Diagnostic: Sendable, Hashable, Error {
    /// How grave it is.
    package enum Severity: String, Sendable, Hashable {
        /// The text has no meaning; nothing is compiled.
        case error
        /// The text is legal, but probably not what was meant.
        case warning
    }

    package var code: DiagnosticCode
    package var message: String
    package var range: SourceRange
    /// What to write instead, in the imperative; nil when nothing can be said.
    package var help: String?
    /// Other places that it takes to see why, such as the first of two declarations.
    package var related: [Related] = []

    /// Another place that a finding speaks of.
    package struct Related: Sendable, Hashable {
        /// What stands there.
        package var message: String
        package var range: SourceRange

        package init(_ message: String, at range: SourceRange) {
            self.message = message
            self.range = range
        }

        /// `the first declaration`
        static func first(_ what: String, at range: SourceRange) -> Related { Related("the first \(what)", at: range) }
    }
    package var severity: Severity { code.severity }

    package init(
        _ code: DiagnosticCode, _ message: String, at range: SourceRange, help: String? = nil, related: [Related] = []
    ) {
        self.code = code
        self.message = message
        self.range = range
        self.help = help
        self.related = related
    }
}

/// Collects findings, so that one run tells them all.
struct DiagnosticSink {
    private(set) var diagnostics: [Diagnostic] = []
    private(set) var hasErrors = false
    /// Errors reported so far, those not told included: more of them after a step than before say that it failed.
    private(set) var mistakes = 0
    private var errorCount = 0
    private var warningCount = 0
    /// Letters that may still be compared in search of near names.
    private var adviceWork = LanguageLimits.maxAdviceWork
    /// So many errors were told that reading on helps nobody.
    var isFull: Bool { errorCount > LanguageLimits.maxDiagnostics }
    private var seen = Set<SourceRange>()
    /// Lines, with their files, where a text has no end: what the parser misses there, the text has swallowed.
    private var swallowed = Set<[Int32]>()
    /// Codes that say nothing now, because they would only follow from a mistake that was told.
    var withheld = Set<DiagnosticCode>()

    /// Adds a finding; of several errors on the very same place only the first is kept.
    mutating func report(
        _ code: DiagnosticCode, _ message: String, at range: SourceRange, help: String? = nil,
        related: [Diagnostic.Related] = []
    ) {
        let line = [range.file, range.line]
        if code == .unterminatedString { swallowed.insert(line) }
        let isSwallowed = (code == .expected || code == .unclosedBlock) && swallowed.contains(line)
        if code.severity == .error { mistakes += 1 }
        if isSwallowed || withheld.contains(code) {
            hasErrors = true
            return
        }
        let diagnostic = Diagnostic(
            code, Self.shortened(message), at: range, help: help.map(Self.shortened),
            related: related.filter { $0.range.file >= 0 })
        if diagnostic.severity == .warning {
            warningCount += 1
            if warningCount <= LanguageLimits.maxDiagnostics { diagnostics.append(diagnostic) }
            return
        }
        hasErrors = true
        if isFull || !seen.insert(range).inserted { return }
        errorCount += 1
        diagnostics.append(
            isFull
                ? Diagnostic(
                    .tooManyMistakes, "more than \(LanguageLimits.maxDiagnostics) mistakes; the rest is not told",
                    at: range, help: "mend those above first") : diagnostic)
    }

    /// A message can quote an enum of a thousand cases; nobody reads that.
    private static func shortened(_ text: String) -> String {
        text.utf8.count <= 2_000 ? text : "\(text.unicodeScalars.prefix(400))…"
    }

    /// The nearest name, as long as looking for such names has not cost too much.
    mutating func near(_ name: String, among known: some Sequence<String>) -> String? {
        NearestName.find(name, among: known, work: &adviceWork)
    }

    /// "did you mean", or the list of what is known when it is short.
    mutating func suggestion(_ name: String, _ known: some Sequence<String>) -> String? {
        if let near = near(name, among: known) { return "did you mean `\(near)`?" }
        let all = Array(known.prefix(13))
        return all.isEmpty || all.count > 12 ? nil : "known: \(all.sorted().joined(separator: ", "))"
    }
}

/// The nearest name, for "did you mean".
enum NearestName {
    /// The candidate with the smallest edit distance, when that is at most a third of the name's length (at least 1,
    /// but 0 for names so short that any other is near).
    static func find(_ name: String, among candidates: some Sequence<String>) -> String? {
        var work = Int.max
        return find(name, among: candidates, work: &work)
    }

    /// The same; looks no further when `work` is used up.
    static func find(_ name: String, among candidates: some Sequence<String>, work: inout Int) -> String? {
        let wanted = Array(name.lowercased().utf8)
        let bound = wanted.count < 3 ? 0 : max(1, wanted.count / 3)
        var best: (distance: Int, name: String)?
        for candidate in candidates {
            let other = Array(candidate.lowercased().utf8)
            work -= 50
            if work < 0 { return nil }
            if abs(other.count - wanted.count) > bound || other.count > 256 { continue }
            work -= wanted.count * other.count
            let distance = distance(wanted, other)
            // Of two equally near always the same is told, whatever the order of the candidates.
            if distance <= bound, best.map({ (distance, candidate) < $0 }) ?? true { best = (distance, candidate) }
        }
        return best?.name
    }

    /// Letters left out, put in, changed, or exchanged with their neighbour.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforePrevious: [Int] = []
        var previous = Array(0...right.count)
        for (row, byte) in left.enumerated() {
            var current = [row + 1]
            current.reserveCapacity(right.count + 1)
            for (column, other) in right.enumerated() {
                var least = min(
                    previous[column] + (byte == other ? 0 : 1), previous[column + 1] + 1, current[column] + 1)
                if row > 0, column > 0, byte == right[column - 1], left[row - 1] == other {
                    least = min(least, beforePrevious[column - 1] + 1)
                }
                current.append(least)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[right.count]
    }
}
