// Lines from documents: groups that stay on one line where they fit, after Wadler, A prettier printer (1998), with
// comments that always end their line.

/// A text whose line breaks are still open.
struct LayoutDocument: Sendable {
    indirect enum Form: Sendable {
        case text(String)
        /// Own-line comment.
        case comment(String)
        /// A comment behind what stands before it on its line.
        case trailing(String)
        /// Text that is only there on one line.
        case flatText(String)
        /// A space; never a line break.
        case space
        /// A space, or a line break in a group that is broken.
        case line
        /// Nothing, or a line break in a group that is broken.
        case softLine
        /// A space, or a line break where what follows up to the next of these does not fit; `hanging` columns further in.
        case fillLine(hanging: Int)
        /// A line break, with an empty line before it when asked for.
        case hardLine(isBlank: Bool)
        case nest([LayoutDocument])
        case group([LayoutDocument])
    }

    var form: Form
    /// Columns on one line; nil when it cannot be on one.
    var width: Int?

    init(_ form: Form) {
        self.form = form
        switch form {
        case .text(let text), .flatText(let text): width = text.unicodeScalars.count
        case .space, .line, .fillLine: width = 1
        case .softLine: width = 0
        case .comment, .trailing, .hardLine: width = nil
        case .nest(let parts), .group(let parts): width = Self.width(parts[...])
        }
    }

    static func width(_ parts: ArraySlice<LayoutDocument>) -> Int? {
        var sum = 0
        for part in parts {
            guard let width = part.width else { return nil }
            sum += width
        }
        return sum
    }

    static func text(_ text: String) -> LayoutDocument { LayoutDocument(.text(text)) }
    static func nest(_ parts: [LayoutDocument]) -> LayoutDocument { LayoutDocument(.nest(parts)) }
    static func group(_ parts: [LayoutDocument]) -> LayoutDocument { LayoutDocument(.group(parts)) }
    static let space = LayoutDocument(.space)
    static let line = LayoutDocument(.line)
    static let softLine = LayoutDocument(.softLine)
    static func fillLine(hanging: Int) -> LayoutDocument { LayoutDocument(.fillLine(hanging: hanging)) }
    static func hardLine(isBlank: Bool = false) -> LayoutDocument { LayoutDocument(.hardLine(isBlank: isBlank)) }
}

/// Writes documents.
struct LayoutPrinter {
    private let limit: Int
    private(set) var output = ""
    private var column = 0
    private var indentation = 0
    private var pendingLine = false
    private var pendingBlank = false
    private var pendingSpace = false
    private var hanging = 0

    init(limit: Int) { self.limit = limit }

    mutating func print(_ parts: [LayoutDocument], isBroken: Bool) {
        for (index, part) in parts.enumerated() {
            switch part.form {
            case .text(let text): write(text)
            case .flatText(let text): if !isBroken { write(text) }
            case .comment(let text):
                if !output.isEmpty { pendingLine = true }
                write(text)
                pendingLine = true
            case .trailing(let text):
                // Nothing is pending: it stands right behind its token.
                output += "  " + text
                pendingLine = true
            case .space: pendingSpace = true
            case .line: if isBroken { pendingLine = true } else { pendingSpace = true }
            case .softLine: if isBroken { pendingLine = true }
            case .fillLine(let hanging):
                let rest = parts[(index + 1)...]
                let next = rest.prefix { if case .fillLine = $0.form { false } else { true } }
                let width = LayoutDocument.width(next) ?? 0
                if column + 1 + width > limit {
                    pendingLine = true
                    self.hanging = hanging
                } else {
                    pendingSpace = true
                }
            case .hardLine(let isBlank):
                pendingLine = true
                if isBlank { pendingBlank = true }
            case .nest(let inner):
                indentation += 2
                print(inner, isBroken: isBroken)
                indentation -= 2
            case .group(let inner):
                let start = pendingLine ? indentation : column + (pendingSpace ? 1 : 0)
                print(inner, isBroken: part.width.map { start + $0 > limit } ?? true)
            }
        }
    }

    private mutating func write(_ text: String) {
        if pendingLine, !output.isEmpty {
            output += pendingBlank ? "\n\n" : "\n"
            column = indentation + hanging
            output += String(repeating: " ", count: column)
        } else if pendingSpace, !output.isEmpty {
            output += " "
            column += 1
        }
        pendingLine = false
        pendingBlank = false
        pendingSpace = false
        hanging = 0
        output += text
        column += text.unicodeScalars.count
    }
}
