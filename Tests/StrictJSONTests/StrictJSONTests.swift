// Strict JSON: what is taken, what is refused, and that nothing traps.

import StrictJSON
import Testing

@Suite("strict JSON")
struct StrictJSONTests {
    @Test("numbers keep their digits and members their order")
    func exact() throws {
        let text = #"{"b":1.10,"a":[-0,1e5,"é\u00e9\ud83d\ude00\n"],"c":{"d":null,"e":true}}"#
        let value = try JSONValue.parse(text)
        #expect(value["b"] == .number("1.10"))
        #expect(value.object?.map(\.name) == ["b", "a", "c"])
        #expect(value["a"]?.array?.last?.string == "éé😀\n")
        #expect(try JSONValue.parse(value.compact) == value)
        #expect(try JSONValue.parse(value.pretty) == value)
    }

    @Test(
        "text that is not strict JSON is refused with its place",
        arguments: [
            #"{"a":1,"a":2}"#, #"{"a":1,"\u0061":2}"#, "[1,]", "01", "1.", ".5", "+1", "\"\u{1}\"", #""\ud800""#,
            "[1] 2", "",
            "nul", "{", #"{"a"}"#, "\"", #""\x""#,
        ])
    func refused(text: String) {
        #expect(throws: JSONError.self) { try JSONValue.parse(text) }
    }

    @Test("a repeated name is named with line and column")
    func place() {
        let error = #expect(throws: JSONError.self) { try JSONValue.parse("{\"a\":1,\n \"a\":2}") }
        #expect(error?.line == 2)
        #expect(error?.column == 2)
        #expect(error?.message.contains("\"a\" stands twice") == true)
    }

    @Test("nesting beyond the limit is refused, not followed")
    func depth() {
        #expect(throws: JSONError.self) { try JSONValue.parse(String(repeating: "[", count: 100_000)) }
        let atLimit = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        #expect(throws: Never.self) { try JSONValue.parse(atLimit) }
    }
}
