// Pictures of trees: a small one to the letter, large ones by what must hold of any.

import DecisionEngine
import Foundation
import PolicyLanguage
import TestSupport
import Testing

@testable import PolicyDrawing

@Suite("pictures of decision trees")
struct DrawingTests {
    @Test("a small tree is drawn to the letter; STILE_RECORD=1 writes it anew")
    func golden() throws {
        let program = try compile(policies(Self.small))
        var picture = TreePicture(TreeSketch(program))
        let svg = picture.svg()
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Pictures/small.svg")
        if ProcessInfo.processInfo.environment["STILE_RECORD"] == "1" {
            try svg.write(to: file, atomically: true, encoding: .utf8)
            return
        }
        let expected = try? String(contentsOf: file, encoding: .utf8)
        #expect(svg == expected, "look at the picture, then record it with STILE_RECORD=1")
    }

    @Test("ten thousand rules are folded into a few hundred boxes that do not overlap, and no rule is lost")
    func large() throws {
        let program = try compile(policies(Self.large(rules: 10_000)))
        for depth in [nil, 0, 1, 3] {
            for limit in [40, 240, 600] {
                var options = SketchOptions()
                options.depth = depth
                options.maxBoxes = limit
                let sketch = TreeSketch(program, options)
                #expect(sketch.boxes.count <= limit)
                #expect(sketch.boxes.allSatisfy { $0.depth <= (depth ?? .max - 1) + 1 })
                check(sketch)
                // Every rule is one of one action and stands under one value, or under none.
                let drawn = sketch.boxes.count { [.permit, .forbid, .require].contains($0.style) }
                #expect(drawn + sketch.hiddenRules == 10_000)
            }
        }
    }

    @Test("random policies are drawn without overlaps and as well-formed text")
    func random() throws {
        let seed = TestSeed.next()
        print("seed \(seed)")
        for round in 0..<60 {
            var random = RandomPolicies(seed: seed &+ UInt64(round))
            let sketch = TreeSketch(try compile(random.policies()))
            check(sketch)
            var picture = TreePicture(sketch)
            checkTags(picture.svg())
        }
    }

    @Test("text of policies cannot leave its place in the picture")
    func escaping() throws {
        let nasty = "</text><script>alert(1)</script>&\\\"'"
        let text = """
            catalog "a<b & c" version 1.0.0 {
              entity user { team: string = "" }
              entity doc
              action read on doc
            }
            policy "P <&>" { permit read on doc as "x" when user.team == "\(nasty)" }
            """
        let checked = try #require(checkPolicies([SourceFile(name: "javascript:a\"b c.stile", text: text)]).policies)
        var picture = TreePicture(TreeSketch(try compile(checked)))
        let svg = picture.svg()
        #expect(!svg.contains("<script"))
        #expect(svg.contains("&lt;script&gt;"))
        #expect(svg.contains("href=\"./javascript:a%22b%20c.stile#L6\""))
        checkTags(svg)
        #expect(TreePicture.escaped("a\u{1}b\u{7f}\u{fffe}") == "a\u{fffd}b\u{fffd}\u{fffd}")
    }

    // MARK: What must hold

    private func check(_ sketch: TreeSketch) {
        let frames = TreeLayout(sketch).frames
        for (index, frame) in frames.enumerated() {
            for other in frames[(index + 1)...] where frame.overlaps(other) {
                Issue.record("\(sketch.boxes[index].lines) and another overlap: \(frame) \(other)")
                return
            }
            for line in sketch.boxes[index].lines {
                #expect(TextMeasure.width(line) <= frame.width)
                #expect(!line.contains("\n"))
            }
        }
        // Every box but the root is behind exactly one other.
        var parents = [Int](repeating: 0, count: frames.count)
        for box in sketch.boxes { for child in box.children { parents[child] += 1 } }
        #expect(parents.dropFirst().allSatisfy { $0 == 1 } && parents.first == 0)
    }

    /// Every tag that is opened is closed, in order; nothing but the five entities and numbers stands behind `&`.
    private func checkTags(_ svg: String) {
        var open: [Substring] = []
        var rest = svg[...]
        while let start = rest.firstIndex(of: "<") {
            let inside = rest[rest.index(after: start)...]
            guard let end = inside.firstIndex(of: ">") else { break }
            let tag = inside[..<end]
            rest = inside[inside.index(after: end)...]
            if tag.hasPrefix("?") || tag.hasSuffix("/") { continue }
            if tag.hasPrefix("/") {
                #expect(open.popLast() == tag.dropFirst())
            } else {
                open.append(tag.prefix { !$0.isWhitespace })
            }
        }
        #expect(open.isEmpty)
        for part in svg.split(separator: "&").dropFirst() {
            #expect(
                ["amp;", "lt;", "gt;", "quot;", "#10;", "#9;"].contains { part.hasPrefix($0) }, "&\(part.prefix(8))")
        }
    }

    // MARK: Policies

    private func policies(_ text: String) throws -> CheckedPolicies {
        let result = checkPolicies([SourceFile(name: "policy.stile", text: text)])
        return try #require(result.policies, "\(result.diagnostics)")
    }

    private static let small = """
        catalog "desk" version 1.2.0 {
          assurance password < mfa
          entity user { team: string = "", employment: enum(employee, contractor) = contractor }
          entity ticket { region: enum(eu, us) = eu, urgent: bool = false }
          action read, close on ticket
        }
        policy "Tickets" {
          permit read on ticket as "eu" when resource.region == eu and user.team == "north"
          permit read on ticket as "us" when resource.region == us
          permit read on ticket as "urgent" when resource.urgent
          permit read on ticket as "leads" to user in group "Leads" requires mfa within 8h
          permit read on ticket as "north" when user.team == "north" and resource.region == us
          permit read on ticket as "south" when user.team == "south"
          forbid read, close on ticket as "outsiders" when user.employment == contractor and user.team == ""
          require mfa for read on ticket as "urgent-mfa" when resource.urgent
        }

        """

    static func large(rules: Int) -> String {
        var text = """
            catalog "large" version 1.0.0 {
              entity user { department: string = "", level: 0...9 = 0 }
              entity doc { kind: string = "", size: int = 0 }
              action a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 on doc
            }
            policy "L" {

            """
        for index in 0..<rules {
            let kind = index % 7 == 0 ? "forbid" : "permit"
            let action = "a\(index % 10)"
            switch index % 3 {
            case 0:
                text += "\(kind) \(action) on doc when user.department == \"d\(index)\" and resource.size > \(index)\n"
            case 1:
                text +=
                    "\(kind) \(action) on doc when resource.kind == \"k\(index % 400)\" and user.level == \(index % 10)\n"
            default: text += "\(kind) \(action) on doc when resource.size > \(index) and user.level < 3\n"
            }
        }
        return text + "}\n"
    }
}
