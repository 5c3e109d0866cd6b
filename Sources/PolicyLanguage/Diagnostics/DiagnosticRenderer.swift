// Diagnostics as a person reads them in a terminal: the line, a caret range, what to write instead.

/// Renders findings over their source.
package struct DiagnosticRenderer: Sendable {
    package var files: [SourceFile]
    /// Whether to use ANSI colours; NO_COLOR and terminals are the caller's matter.
    package var usesColor: Bool

    package init(files: [SourceFile], usesColor: Bool) {
        self.files = files
        self.usesColor = usesColor
    }

    /// All findings, separated by blank lines.
    package func render(_ diagnostics: [Diagnostic]) -> String {
        diagnostics.map(render).joined(separator: "\n")
    }

    /// One finding, with a final newline.
    package func render(_ diagnostic: Diagnostic) -> String {
        let color = diagnostic.severity == .error ? "31" : "33"
        var text = paint("\(diagnostic.severity.rawValue)[\(diagnostic.code.rawValue)]", "1;\(color)")
        text += paint(": \(diagnostic.message)", "1") + "\n"
        let range = diagnostic.range
        if files.indices.contains(Int(range.file)) {
            text += excerpt(range, color: color)
        }
        if let help = diagnostic.help { text += "  " + paint("= help:", "1;36") + " \(help)\n" }
        return text
    }

    private func excerpt(_ range: SourceRange, color: String) -> String {
        let file = files[Int(range.file)]
        let bytes = Array(file.text.utf8)
        let start = min(Int(range.start), bytes.count)
        var lineStart = start
        while lineStart > 0, bytes[lineStart - 1] != UInt8(ascii: "\n") { lineStart -= 1 }
        var lineEnd = start
        while lineEnd < bytes.count, bytes[lineEnd] != UInt8(ascii: "\n") { lineEnd += 1 }
        let line = visible(bytes[lineStart..<lineEnd])
        let before = visible(bytes[lineStart..<start]).count
        let marked = max(1, visible(bytes[start..<max(start, min(Int(range.end), lineEnd))]).count)
        let number = String(range.line)
        let gutter = String(repeating: " ", count: number.count)
        var text = gutter + paint("--> ", "1;34") + "\(file.name):\(range.line):\(range.column)\n"
        text += gutter + paint(" |", "1;34") + "\n"
        text += paint("\(number) |", "1;34") + " \(line)\n"
        text += gutter + paint(" |", "1;34") + " " + String(repeating: " ", count: before)
        text += paint(String(repeating: "^", count: marked), "1;\(color)") + "\n"
        return text
    }

    /// Text as it takes columns: a tab as four spaces, control characters as `?`.
    private func visible(_ bytes: ArraySlice<UInt8>) -> String {
        var text = ""
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            if scalar == "\t" {
                text += "    "
            } else if scalar.value < 0x20 || scalar.value == 0x7f {
                text += "?"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    private func paint(_ text: String, _ style: String) -> String {
        usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text
    }
}
