// Where a piece of policy text stands: files, byte ranges, and the line and column a person reads.

/// One file handed to the compiler: a name for messages and its UTF-8 text.
package struct SourceFile: Sendable, Hashable {
    /// The name shown in diagnostics and reasons, relative to the tenant's folder (`payroll.stile`).
    package var name: String
    /// The text.
    package var text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }

    /// The bytes of a range of this file.
    package func excerpt(_ range: SourceRange) -> String {
        let bytes = text.utf8
        let start = min(max(0, Int(range.start)), bytes.count)
        let end = max(start, min(Int(range.end), bytes.count))
        return String(decoding: bytes.dropFirst(start).prefix(end - start), as: UTF8.self)
    }
}

/// A half-open range of UTF-8 bytes in one file of a source set, with the position a person reads.
package struct SourceRange: Sendable, Hashable {
    /// Index of the file in the set given to the compiler.
    package var file: Int32
    /// First byte.
    package var start: Int32
    /// One past the last byte.
    package var end: Int32
    /// Line of `start`, from 1.
    package var line: Int32
    /// Column of `start` in Unicode scalars, from 1.
    package var column: Int32

    package init(file: Int32, start: Int32, end: Int32, line: Int32, column: Int32) {
        self.file = file
        self.start = start
        self.end = end
        self.line = line
        self.column = column
    }

    /// The range of things that no text made, such as the built-in entity types.
    package static let none = SourceRange(file: -1, start: 0, end: 0, line: 0, column: 0)

    /// A part of the text between the quotes of this range, in UTF-8 bytes of the text's value; the whole range where
    /// escapes or normalisation make the two differ in length.
    func part(_ part: Range<Int>, of value: String) -> SourceRange {
        guard Int(end - start) == value.utf8.count + 2, part.upperBound <= value.utf8.count else { return self }
        let before = value.utf8.prefix(part.lowerBound).reduce(1) { $0 + ($1 & 0xc0 == 0x80 ? 0 : 1) }
        return SourceRange(
            file: file, start: start + 1 + Int32(part.lowerBound), end: start + 1 + Int32(part.upperBound), line: line,
            column: column + Int32(before))
    }

    /// The smallest range of the same file that covers both.
    package func union(_ other: SourceRange) -> SourceRange {
        if file < 0 { return other }
        if other.file < 0 { return self }
        let first = start <= other.start ? self : other
        return SourceRange(
            file: file, start: first.start, end: max(end, other.end), line: first.line, column: first.column)
    }
}
