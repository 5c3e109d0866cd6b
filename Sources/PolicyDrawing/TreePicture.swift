// A sketch as SVG 1.1: one file without scripts or fonts of its own, light or dark as the reader's system is.

/// Writes drawings.
package struct TreePicture {
    private let sketch: TreeSketch
    private let layout: TreeLayout
    private var text = ""

    package init(_ sketch: TreeSketch) {
        self.sketch = sketch
        layout = TreeLayout(sketch)
    }

    /// The document.
    package mutating func svg() -> String {
        let width = max(layout.width, 760)
        text = """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \
            width="\(number(width))" height="\(number(layout.height))" \
            viewBox="0 0 \(number(width)) \(number(layout.height))" role="img" aria-labelledby="title summary">
            <title id="title">\(Self.escaped(sketch.title))</title>
            <desc id="summary">\(Self.escaped(sketch.summary))</desc>
            <style>\(Self.style)</style>
            <rect class="page" width="100%" height="100%"/>

            """
        head()
        for index in sketch.boxes.indices { edges(from: index) }
        for index in sketch.boxes.indices { box(index) }
        text += "</svg>\n"
        return text
    }

    // MARK: Parts

    private mutating func head() {
        write(sketch.title, x: TreeLayout.margin, y: 32, "heading")
        let hint = "A question follows the values it has, and \u{201c}in any case\u{201d} always."
        write(hint, x: TreeLayout.margin, y: 52, "hint")
        var x = TreeLayout.margin
        for (style, words) in [
            (SketchBox.Style.choice, "looks at a value"), (.forbid, "forbid"), (.require, "demand"),
            (.permit, "permit"), (.folded, "folded"),
        ] {
            text +=
                "<rect class=\"\(style.rawValue)\" x=\"\(number(x))\" y=\"64\" width=\"14\" height=\"14\" rx=\"3\"/>\n"
            write(words, x: x + 20, y: 75.5, "hint")
            x += 20 + TextMeasure.width(words) + 24
        }
    }

    private mutating func edges(from index: Int) {
        let box = sketch.boxes[index]
        let frame = layout.frames[index]
        let start = (x: frame.x + frame.width, y: frame.y + frame.height / 2)
        for child in box.children {
            let target = layout.frames[child]
            let y = target.y + target.height / 2
            let trunk = layout.trunks[child]
            text +=
                "<path class=\"edge\" d=\"M\(number(start.x)) \(number(start.y))H\(number(trunk))V\(number(y))H\(number(target.x))\"/>\n"
            if let edge = sketch.boxes[child].edge { write(edge, x: trunk + TreeLayout.turn / 2, y: y - 5, "value") }
        }
    }

    private mutating func box(_ index: Int) {
        let box = sketch.boxes[index]
        let frame = layout.frames[index]
        if let link = box.link {
            let address = Self.escaped(Self.address(link))
            text += "<a href=\"\(address)\" xlink:href=\"\(address)\">"
        }
        text += "<g><title>\(Self.escaped(box.tooltip))</title>"
        text +=
            "<rect class=\"box \(box.style.rawValue)\" x=\"\(number(frame.x))\" y=\"\(number(frame.y))\" width=\"\(number(frame.width))\" height=\"\(number(frame.height))\" rx=\"5\"/>"
        for (line, words) in box.lines.enumerated() {
            write(
                words, x: frame.x + TreeLayout.padding,
                y: frame.y + TreeLayout.padding / 2 + TextMeasure.lineHeight * (Double(line) + 0.74),
                line == 0 ? "first" : "more")
        }
        text += "</g>"
        if box.link != nil { text += "</a>" }
        text += "\n"
    }

    private mutating func write(_ words: String, x: Double, y: Double, _ style: String) {
        text += "<text class=\"\(style)\" x=\"\(number(x))\" y=\"\(number(y))\">\(Self.escaped(words))</text>"
        if style != "first", style != "more" { text += "\n" }
    }

    /// One digit after the point.
    private func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }

    /// Text as XML can hold it.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "\n": escaped += "&#10;"
            case "\t": escaped += "&#9;"
            default:
                let value = scalar.value
                let isAllowed = value >= 0x20 && value != 0x7f && value != 0xfffe && value != 0xffff
                escaped.unicodeScalars.append(isAllowed ? scalar : "\u{fffd}")
            }
        }
        return escaped
    }

    /// A relative address of a file: what is no plain character of a path is written in per cent.
    private static func address(_ link: String) -> String {
        var address = ""
        for byte in link.utf8 {
            let scalar = Unicode.Scalar(byte)
            let isPlain =
                byte < 0x80
                && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                    || "-._~/:#?=&@%+,".unicodeScalars.contains(scalar))
            if isPlain {
                address.unicodeScalars.append(scalar)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                address += "%" + (digits.utf8.count == 1 ? "0" : "") + digits
            }
        }
        return address
    }

    private static let style = """

        text { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328; \
        white-space: pre }
        .heading { font-size: 16px; font-weight: 600 }
        .hint, .more { fill: #59636e }
        .value { fill: #0550ae }
        .first { font-weight: 600 }
        .page { fill: #ffffff }
        .edge { fill: none; stroke: #9aa4af; stroke-width: 1.2 }
        .box, .choice, .cell, .root, .nothing { fill: #f6f8fa; stroke: #818b98; stroke-width: 1.2 }
        .cell, .root { fill: #ddf4ff; stroke: #0969da }
        .permit { fill: #dafbe1; stroke: #1a7f37 }
        .forbid { fill: #ffebe9; stroke: #cf222e }
        .require { fill: #fff8c5; stroke: #9a6700 }
        .duty { fill: #fbefff; stroke: #8250df }
        .folded { fill: #ffffff; stroke: #818b98; stroke-width: 1.2; stroke-dasharray: 5 4 }
        a:hover .box, a:focus .box { stroke-width: 2.4 }
        @media (prefers-color-scheme: dark) {
          text { fill: #f0f6fc }
          .hint, .more { fill: #9198a1 }
          .value { fill: #79c0ff }
          .page { fill: #0d1117 }
          .edge { stroke: #656c76 }
          .box, .choice, .nothing { fill: #151b23; stroke: #656c76 }
          .cell, .root { fill: #121d2f; stroke: #4493f8 }
          .permit { fill: #12261e; stroke: #3fb950 }
          .forbid { fill: #25171c; stroke: #f85149 }
          .require { fill: #272115; stroke: #d29922 }
          .duty { fill: #1f1a33; stroke: #ab7df8 }
          .folded { fill: #0d1117; stroke: #9198a1 }
        }

        """
}
