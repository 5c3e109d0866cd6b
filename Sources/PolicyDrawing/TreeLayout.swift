// Where the boxes of a sketch stand: a column for each level, each box beside the middle of what lies behind it.

/// How wide text is in a font of fixed width.
enum TextMeasure {
    static let fontSize = 13.0
    /// Of the widest of the usual fonts.
    static let columnWidth = 7.85
    static let lineHeight = 18.0

    /// Columns that a text takes; wide characters take two.
    static func columns(_ text: String) -> Int {
        text.reduce(0) { columns, character in
            guard let scalar = character.unicodeScalars.first else { return columns }
            let isWide =
                switch scalar.value {
                case 0x1100...0x115f, 0x2e80...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f,
                    0xff00...0xff60, 0xffe0...0xffe6, 0x1f300...0x1faff, 0x20000...0x3fffd:
                    true
                default: false
                }
            return columns + (isWide ? 2 : 1)
        }
    }

    static func width(_ text: String) -> Double { Double(columns(text)) * columnWidth }
}

/// A rectangle, in pixels.
package struct Frame: Sendable, Hashable {
    package var x = 0.0
    package var y = 0.0
    package var width = 0.0
    package var height = 0.0

    package func overlaps(_ other: Frame) -> Bool {
        x < other.x + other.width && other.x < x + width && y < other.y + other.height && other.y < y + height
    }
}

/// The frames of a sketch's boxes.
package struct TreeLayout: Sendable {
    package private(set) var frames: [Frame]
    /// Where the lines that lead to a box turn, by the box.
    package private(set) var trunks: [Double]
    package private(set) var width = 0.0
    package private(set) var height = 0.0

    static let margin = 24.0
    static let padding = 10.0
    /// Between a box and the one below it.
    static let gap = 12.0
    /// From a box to where its lines turn, and from an edge's text to its ends.
    static let turn = 16.0
    static let top = 96.0

    package init(_ sketch: TreeSketch) {
        let boxes = sketch.boxes
        frames = boxes.map { box in
            Frame(
                width: (box.lines.map(TextMeasure.width).max() ?? 0) + 2 * Self.padding,
                height: Double(box.lines.count) * TextMeasure.lineHeight + Self.padding)
        }
        trunks = boxes.map { _ in 0 }
        placeColumns(boxes)
        if !boxes.isEmpty { placeRows(boxes) }
        width = (frames.map { $0.x + $0.width }.max() ?? 0) + Self.margin
        height = (frames.map { $0.y + $0.height }.max() ?? 0) + Self.margin
    }

    private mutating func placeColumns(_ boxes: [SketchBox]) {
        let levels = (boxes.map(\.depth).max() ?? -1) + 1
        var widths = [Double](repeating: 0, count: levels)
        var edges = [Double](repeating: 0, count: levels)
        for (index, box) in boxes.enumerated() {
            widths[box.depth] = max(widths[box.depth], frames[index].width)
            edges[box.depth] = max(edges[box.depth], TextMeasure.width(box.edge ?? ""))
        }
        var x = Self.margin
        for level in 0..<levels {
            if level > 0 { x += 2 * Self.turn + (edges[level] > 0 ? edges[level] + Self.turn : 0) }
            for (index, box) in boxes.enumerated() where box.depth == level { frames[index].x = x }
            x += widths[level]
        }
        for box in boxes {
            for child in box.children {
                let edge = edges[box.depth + 1]
                trunks[child] = frames[child].x - Self.turn - (edge > 0 ? edge + Self.turn : 0)
            }
        }
    }

    private mutating func placeRows(_ boxes: [SketchBox]) {
        // Children stand behind their parents in the list, so heights are known from the end.
        var heights = frames.map(\.height)
        for index in boxes.indices.reversed() {
            let children = boxes[index].children
            let inner =
                children.reduce(0) { $0 + heights[$1] } + Double(max(0, children.count - 1)) * Self.gap
            heights[index] = max(heights[index], inner)
        }
        frames[0].y = Self.top
        var tops = [Double](repeating: Self.top, count: boxes.count)
        for index in boxes.indices {
            let children = boxes[index].children
            let inner =
                children.reduce(0) { $0 + heights[$1] } + Double(max(0, children.count - 1)) * Self.gap
            var y = tops[index] + (heights[index] - inner) / 2
            for child in children {
                tops[child] = y
                y += heights[child] + Self.gap
            }
            frames[index].y = tops[index] + (heights[index] - frames[index].height) / 2
        }
    }
}
