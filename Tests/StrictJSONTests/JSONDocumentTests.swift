// Documents by the places of their values, and JSON written in pieces.

import StrictJSON
import Testing

@Suite("JSON by places")
struct JSONDocumentTests {
    @Test("members, elements and texts are found where they stand")
    func places() throws {
        let document = try JSONDocument(Array(#"{"a":[1,{"b":"x\u00e9"},null],"\u0061b":"plain","c":-1.50}"#.utf8))
        let list = try #require(document.member("a", of: JSONDocument.root))
        #expect(document.kind(list) == .array && document.count(list) == 3)
        let second = document.after(list + 1)
        let inner = try #require(document.member("b", of: second))
        #expect(document.text(inner) == "xé" && !document.isPlain(inner) && document.length(inner) == 3)
        #expect(document.kind(document.after(second)) == .null)
        let plain = try #require(document.member("ab", of: JSONDocument.root))
        #expect(document.isPlain(plain) && document.equals(plain, "plain") && !document.equals(plain, "plaid"))
        let number = try #require(document.member("c", of: JSONDocument.root))
        #expect(document.digits(number) == "-1.50")
        #expect(document.member("d", of: JSONDocument.root) == nil && document.member("a", of: list) == nil)
    }

    @Test("a name stands once, however many there are and however it is written", arguments: [1, 5, 12, 13, 14, 40])
    func names(_ count: Int) throws {
        let members = (0..<count).map { "\"n\($0)\":[]" }
        _ = try JSONDocument(Array("{\(members.joined(separator: ","))}".utf8))
        for twice in ["\"n0\":1", "\"n\(count - 1)\":{}", "\"\\u006e0\":1"] {
            let text = "{\((members + [twice]).joined(separator: ","))}"
            #expect(throws: JSONError.self) { try JSONDocument(Array(text.utf8)) }
        }
        let accents = (members + ["\"e\u{301}\":1", "\"\u{e9}\":1"]).joined(separator: ",")
        #expect(throws: JSONError.self) { try JSONDocument(Array("{\(accents)}".utf8)) }
    }

    @Test("what is written in pieces is read as it was")
    func writing() throws {
        for text in ["", "plain", "\"\\\n\r\t\u{0}\u{1f}\u{7f}", "é\u{1f600}"] {
            var writer = JSONWriter()
            writer.raw("[")
            writer.string(text)
            writer.raw(",")
            writer.number(UInt64.max)
            writer.raw(",")
            writer.number(0)
            writer.raw(",")
            writer.bool(true)
            writer.raw("]")
            let values = try JSONValue.parse(writer.bytes).array
            #expect(values == [.string(text), .number("18446744073709551615"), .integer(0), .bool(true)])
        }
    }
}
