// Diagnostics as a person reads them in a terminal: the line, a caret range, what to write instead.

/// Renders findings over their source.
package struct DiagnosticRenderer: Sendable {
    package var files: [SourceFile]
    /// Whether to use ANSI colours; NO_COLOR and terminals are the caller's matter.
    package var usesColor: Bool

    /// Columns that an excerpt takes at most; nil shows a hundred to each side of the mark.
    package var columns: Int?

    package init(files: [SourceFile], usesColor: Bool, columns: Int? = nil) {
        self.files = files
        self.usesColor = usesColor
        self.columns = columns
    }

    /// All findings, separated by blank lines.
    package func render(_ diagnostics: [Diagnostic]) -> String {
        diagnostics.map(render).joined(separator: "\n")
    }

    /// One finding, with a final newline.
    package func render(_ diagnostic: Diagnostic) -> String {
        let color = diagnostic.severity == .error ? "31" : "33"
        var text = paint("\(diagnostic.severity.rawValue)[\(diagnostic.code.rawValue)]", "1;\(color)")
        text += paint(": \(Self.visible(diagnostic.message))", "1") + "\n"
        text += framed(diagnostic.range, color: color)
        if let help = diagnostic.help { text += "  " + paint("= help:", "1;36") + " \(Self.visible(help))\n" }
        let told = diagnostic.message + (diagnostic.help ?? "")
        for other in diagnostic.related where files.indices.contains(Int(other.range.file)) {
            let place = "\(files[Int(other.range.file)].name):\(other.range.line)"
            // What the message says of a place is not said again.
            if told.contains(place) { continue }
            text +=
                "  " + paint("= note:", "1;36") + " \(Self.visible(other.message)) at \(place):\(other.range.column)\n"
        }
        return text
    }

    /// The line of a finding as it is shown, and the marks below it.
    package struct Excerpt: Sendable, Hashable {
        package var line: String
        /// Spaces up to the place, then a `^` for each column of it that stands on the line, at least one.
        package var carets: String
    }

    /// What is shown of a place; nil when it is in none of the files.
    package func excerpt(_ range: SourceRange) -> Excerpt? {
        guard files.indices.contains(Int(range.file)) else { return nil }
        let (line, before, marked) = parts(range)
        return Excerpt(
            line: line, carets: String(repeating: " ", count: before) + String(repeating: "^", count: marked))
    }

    private func parts(_ range: SourceRange) -> (line: String, before: Int, marked: Int) {
        let file = files[Int(range.file)]
        let bytes = Array(file.text.utf8)
        let start = min(Int(range.start), bytes.count)
        var lineStart = start
        while lineStart > 0, bytes[lineStart - 1] != UInt8(ascii: "\n") { lineStart -= 1 }
        var lineEnd = start
        while lineEnd < bytes.count, bytes[lineEnd] != UInt8(ascii: "\n") { lineEnd += 1 }
        let markEnd = max(start, min(Int(range.end), lineEnd))
        // A long line is shown around its mark, and no more of it is looked at.
        let (before, mark, after) = fitted(
            Self.shortened(bytes[lineStart..<start], keepsStart: false),
            Self.shortened(bytes[start..<markEnd], keepsStart: true, keepsEnd: true),
            Self.shortened(bytes[markEnd..<lineEnd], keepsStart: true, keepsEnd: false),
            columns: columns.map { $0 - String(range.line).count - 3 } ?? .max)
        return (before + mark + after, before.unicodeScalars.count, max(1, mark.unicodeScalars.count))
    }

    /// The place, its line and a mark under it, which ends with the line.
    /// - Parameter color: of the mark, as ANSI's number.
    package func framed(_ range: SourceRange, color: String) -> String {
        guard files.indices.contains(Int(range.file)) else { return "" }
        let file = files[Int(range.file)]
        let (line, before, marked) = parts(range)
        let number = String(range.line)
        let gutter = String(repeating: " ", count: number.count)
        var text = gutter + paint("--> ", "1;34") + "\(file.name):\(range.line):\(range.column)\n"
        text += gutter + paint(" |", "1;34") + "\n"
        text += paint("\(number) |", "1;34") + (line.isEmpty ? "\n" : " \(line)\n")
        text += gutter + paint(" |", "1;34") + " " + String(repeating: " ", count: before)
        text += paint(String(repeating: "^", count: marked), "1;\(color)") + "\n"
        return text
    }

    /// A line around its mark, in so many columns; `…` stands for what is left out.
    private func fitted(
        _ before: String, _ mark: String, _ after: String, columns: Int
    ) -> (before: String, mark: String, after: String) {
        let room = max(columns, 20)
        var (before, mark, after) = (before, mark, after)
        if before.unicodeScalars.count + mark.unicodeScalars.count + after.unicodeScalars.count <= room {
            return (before, mark, after)
        }
        // Indentation tells nothing in a line that does not fit.
        before = String(before.drop { $0 == " " })
        if mark.unicodeScalars.count > room - 2 { mark = String(mark.unicodeScalars.prefix(room - 3)) + "…" }
        let side = max(0, room - mark.unicodeScalars.count)
        let left = min(before.unicodeScalars.count, max(side / 2, side - after.unicodeScalars.count))
        if before.unicodeScalars.count > left {
            before = left < 2 ? "" : "…" + String(before.unicodeScalars.suffix(left - 1))
        }
        let right = side - before.unicodeScalars.count
        if after.unicodeScalars.count > right {
            after = right < 2 ? "" : String(after.unicodeScalars.prefix(right - 1)) + "…"
        }
        return (before, mark, after)
    }

    /// Columns shown to each side of a mark.
    private static let context = 100

    /// The text of bytes as it is shown, with `…` for what is far from the mark.
    private static func shortened(_ bytes: ArraySlice<UInt8>, keepsStart: Bool, keepsEnd: Bool = true) -> String {
        // A character has at most four bytes, so that enough characters stay.
        let head = visible(String(decoding: keepsStart ? bytes.prefix(4 * context + 4) : [], as: UTF8.self))
        let tail = visible(String(decoding: keepsEnd ? bytes.suffix(4 * context + 4) : [], as: UTF8.self))
        let limit = keepsStart && keepsEnd ? 2 * context : context
        if bytes.count <= 4 * context + 4 {
            let whole = keepsStart ? head : tail
            if whole.unicodeScalars.count <= limit { return whole }
        }
        return String(head.unicodeScalars.prefix(context)) + "…" + String(tail.unicodeScalars.suffix(context))
    }

    /// Text as it takes columns: a tab as four spaces. What would move the cursor or turn the direction of text is
    /// shown as `?`, so that a policy cannot show another text than it has.
    private static func visible(_ source: String) -> String {
        var text = ""
        for scalar in source.unicodeScalars {
            switch scalar.properties.generalCategory {
            case _ where scalar == "\t": text += "    "
            case .control, .format, .lineSeparator, .paragraphSeparator: text += "?"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    private func paint(_ text: String, _ style: String) -> String {
        usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text
    }
}
