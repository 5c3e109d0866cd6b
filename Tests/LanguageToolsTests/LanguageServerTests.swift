// The server's parts that a script from outside cannot look at one by one: framing byte by byte, edits against a second
// implementation, what a rename refuses.

import Foundation
import LanguageTools
import PolicyLanguage
import StrictJSON
import Testing

@Suite("language server")
struct LanguageServerTests {
    private static let seed =
        ProcessInfo.processInfo.environment["STILE_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...(1 << 40))

    @Test("messages are found however the bytes arrive")
    func framing() {
        let stream = Array(
            ("Content-Length: 2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{}"
                + "content-length:0\r\n\r\n" + "Bad\r\n\r\n" + "Content-Length: 3\r\n\r\n[1]").utf8)
        for step in [1, 2, 7, stream.count] {
            var framer = MessageFramer()
            var frames: [MessageFramer.Frame] = []
            for start in stride(from: 0, to: stream.count, by: step) {
                framer.append(stream[start..<min(stream.count, start + step)])
                while let frame = framer.next() { frames.append(frame) }
            }
            #expect(frames == [.body(Array("{}".utf8)), .body([]), .badHeader("Bad"), .body(Array("[1]".utf8))])
        }
    }

    @Test("a body above the limit is passed over, a header without end ends the stream")
    func limits() {
        var framer = MessageFramer()
        let size = MessageFramer.Limits.maxBody + 1
        framer.append(Array("Content-Length: \(size)\r\n\r\n".utf8))
        #expect(framer.next() == .oversized(size))
        let chunk = [UInt8](repeating: 0x78, count: 1 << 20)
        var left = size
        while left > 0 {
            framer.append(chunk.prefix(left))
            left -= min(left, chunk.count)
            #expect(framer.next() == nil)
        }
        framer.append(Array("Content-Length: 2\r\n\r\n{}".utf8))
        #expect(framer.next() == .body(Array("{}".utf8)))
        framer.append([UInt8](repeating: 0x78, count: MessageFramer.Limits.maxHeader + 1))
        #expect(framer.next() == .lost)
        #expect(framer.next() == nil)
    }

    @Test("random edits make the text that UTF-16 arithmetic makes")
    func edits() throws {
        var random = Splitmix(state: Self.seed)
        let pieces = ["a", "é", "😀", "\n", "\r\n", "\r", " ", "policy \"P\" {}", ""]
        var text = ""
        var session = EditorSession([SourceFile(name: "a.stile", text: text)])
        for round in 0..<300 {
            // Lines by LSP's rule, as arrays of UTF-16 units without what ends them.
            var lines: [[UInt16]] = [[]]
            var starts = [0]
            let units = Array(text.utf16)
            var place = 0
            while place < units.count {
                if units[place] == 13, place + 1 < units.count, units[place + 1] == 10 { place += 1 }
                if units[place] == 10 || units[place] == 13 {
                    lines.append([])
                    starts.append(place + 1)
                } else {
                    lines[lines.count - 1].append(units[place])
                }
                place += 1
            }
            func pick() -> (line: Int, column: Int, offset: Int) {
                let line = Int.random(in: 0..<lines.count, using: &random)
                var column = Int.random(in: 0...lines[line].count, using: &random)
                // Not between the halves of a pair.
                if column < lines[line].count, UTF16.isTrailSurrogate(lines[line][column]) { column -= 1 }
                return (line, column, starts[line] + column)
            }
            let (one, two) = (pick(), pick())
            let (start, end) = one.offset <= two.offset ? (one, two) : (two, one)
            let piece = pieces.randomElement(using: &random) ?? ""
            let expected = Array(units[..<start.offset]) + Array(piece.utf16) + Array(units[end.offset...])
            text = String(decoding: expected, as: UTF16.self)
            func json(_ place: (line: Int, column: Int, offset: Int)) -> JSONValue {
                .object(["line": .integer(place.line), "character": .integer(place.column)])
            }
            session.notify(
                "textDocument/didChange",
                .object([
                    "textDocument": .object(["uri": .string("file:///t/a.stile"), "version": .integer(round)]),
                    "contentChanges": .array([
                        .object(["range": .object(["start": json(start), "end": json(end)]), "text": .string(piece)])
                    ]),
                ]))
            #expect(session.server.text(of: "file:///t/a.stile") == text, "seed \(Self.seed), round \(round)")
        }
    }

    @Test(
        "a new name that would catch other text is refused",
        arguments: [
            ("low", false), ("user", false), ("other", false), ("net", false), ("fine", true),
        ])
    func rename(_ name: String, _ isGood: Bool) {
        let policy = """
            policy "P" {
              let net = ["Finance"]
              let other = ["Sales"]
              permit read on payrun to user when user.department in net and user.risk == low
              permit read on payrun to user when user.department in other
            }
            """
        var session = EditorSession([Samples.catalog, SourceFile(name: "p.stile", text: policy)])
        let answer = session.say(
            "textDocument/rename", EditorSession.place("p.stile", 1, 7, [JSONMember("newName", .string(name))]))
        if name == "net" {
            #expect(answer["result"]?["changes"]?.object?.isEmpty == true)
        } else {
            #expect((answer["result"] != nil) == isGood, "\(answer.compact)")
        }
    }

    private enum Samples {
        static let catalog = SourceFile(
            name: "catalog.stile",
            text: """
                catalog "c" {
                  entity user { department: string = ""  risk: enum(low, high) = low }
                  entity payrun
                  action read on payrun
                }
                """)
    }

    @Test("defaults and lifetimes are shown as they are written")
    func spelling() {
        #expect(Constant.string("a\"\\\n\t").spelling(.string) == "\"a\\\"\\\\\\n\\t\"")
        #expect(Constant.duration(5_400_000).spelling(.duration) == "1h30m")
        #expect(Constant.duration(0).spelling(.duration) == "0s")
        #expect(Constant.duration(30 * 86_400_000).spelling(.duration) == "30d")
        #expect(Constant.set([.integer(1), .integer(2)]).spelling(.set(of: .integer(range: nil))) == "[1, 2]")
    }
}

/// A generator with a seed.
private struct Splitmix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
