// Lines and columns of a text. The compiler counts bytes; people count Unicode scalars, editors UTF-16 or UTF-8 units.

/// A line and a column in it, both from 0.
package struct TextPosition: Sendable, Hashable, Comparable {
    package var line: Int
    package var column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package static func < (left: TextPosition, right: TextPosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// What a column counts.
package enum ColumnUnit: String, Sendable, Hashable {
    case utf8 = "utf-8"
    case utf16 = "utf-16"
    /// Unicode scalars.
    case utf32 = "utf-32"
}

/// A text by lines. Any byte offset has a position and any position an offset: what lies outside counts as the nearest
/// place inside, and the middle of a character as its start.
package struct LineMap: Sendable {
    package let bytes: [UInt8]
    private let starts: [Int]
    private let unit: ColumnUnit

    /// - Parameters:
    ///   - unit: what columns count.
    ///   - endsAtReturns: a carriage return alone ends a line too, as editors have it (LSP 3.17, "Text Documents").
    package init(_ text: String, unit: ColumnUnit, endsAtReturns: Bool = false) {
        bytes = Array(text.utf8)
        self.unit = unit
        var starts = [0]
        for (index, byte) in bytes.enumerated() {
            let isReturn = byte == 0x0d && endsAtReturns && (index + 1 == bytes.count || bytes[index + 1] != 0x0a)
            if byte == 0x0a || isReturn { starts.append(index + 1) }
        }
        self.starts = starts
    }

    /// How many lines there are; at least one.
    package var lineCount: Int { starts.count }

    /// The position of a byte.
    package func position(of offset: Int) -> TextPosition {
        let offset = max(0, min(offset, bytes.count))
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= offset { low = middle } else { high = middle }
        }
        var column = 0
        var place = starts[low]
        while place < offset {
            let length = Self.length(bytes[place])
            if place + length > offset { break }
            column += units(bytes[place], length)
            place += length
        }
        return TextPosition(line: low, column: column)
    }

    /// The byte at a position; columns beyond the line's end count as its end.
    package func offset(of position: TextPosition) -> Int {
        guard position.line >= 0 else { return 0 }
        guard position.line < starts.count else { return bytes.count }
        var place = starts[position.line]
        let end = contentEnd(ofLine: position.line)
        var column = 0
        while place < end {
            let length = Self.length(bytes[place])
            column += units(bytes[place], length)
            if column > position.column { break }
            place += length
        }
        return min(place, end)
    }

    /// Where a line's text ends, before what ends the line.
    private func contentEnd(ofLine line: Int) -> Int {
        var end = line + 1 < starts.count ? starts[line + 1] - 1 : bytes.count
        let isEnded = line + 1 < starts.count
        if isEnded, bytes[end] == 0x0a, end > starts[line], bytes[end - 1] == 0x0d { end -= 1 }
        return end
    }

    /// Bytes of the character that starts with this one; the text is UTF-8.
    private static func length(_ byte: UInt8) -> Int { byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4 }

    private func units(_ byte: UInt8, _ length: Int) -> Int {
        switch unit {
        case .utf8: length
        case .utf16: length == 4 ? 2 : 1
        case .utf32: 1
        }
    }
}
