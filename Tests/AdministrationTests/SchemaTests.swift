// The shapes refuse what they do not describe, and say where.

import StrictJSON
import Testing

@testable import Administration

@Suite struct SchemaTests {
    private static let schema = Schema.object([
        .required("name", .text(1...5)), .optional("count", .integer(0...9)),
        .optional("tags", .array(.word(["a", "b"]), atMost: 2)), .optional("more", .map(.boolean)),
    ])

    @Test(arguments: [
        #"{"name":"x"}"#, #"{"name":"x","count":0,"tags":["a","b"],"more":{"y":true}}"#, #"{"name":"äöüßé"}"#,
    ]) func fits(text: String) throws { try Self.schema.check(JSONValue.parse(text)) }

    @Test(arguments: [
        ("[]", ""), ("{}", "name"), (#"{"name":""}"#, "name"), (#"{"name":"123456"}"#, "name"),
        (#"{"name":1}"#, "name"), (#"{"name":"x","count":10}"#, "count"), (#"{"name":"x","count":1.5}"#, "count"),
        (#"{"name":"x","count":1e2}"#, "count"), (#"{"name":"x","count":null}"#, "count"),
        (#"{"name":"x","count":99999999999999999999}"#, "count"), (#"{"name":"x","tags":["a","c"]}"#, "tags[1]"),
        (#"{"name":"x","tags":["a","a","a"]}"#, "tags"), (#"{"name":"x","more":{"y":1}}"#, "more.y"),
        (#"{"name":"x","other":1}"#, "other"),
    ]) func doesNotFit(text: String, path: String) throws {
        let value = try JSONValue.parse(text)
        let error = #expect(throws: SchemaMismatch.self) { try Self.schema.check(value) }
        #expect(error?.path == path)
    }

    @Test func nullIsForWhatMayBeNull() throws {
        let schema = Schema.object([.required("name", .nullable(.text(1...5)))])
        try schema.check(JSONValue.parse(#"{"name":null}"#))
        try schema.check(JSONValue.parse(#"{"name":"x"}"#))
        let error = #expect(throws: SchemaMismatch.self) { try schema.check(.object(["name": .integer(1)])) }
        #expect(error?.path == "name")
    }

    @Test func cursorsGoThereAndBack() {
        for key: [UInt8] in [[0], [255, 0, 17], Array("payrun\u{0}p1".utf8)] {
            #expect(Cursor.key(Cursor.text(key)) == key)
        }
        for text in ["", "0", "0g", "AA", "zz"] { #expect(Cursor.key(text) == nil) }
    }
}
