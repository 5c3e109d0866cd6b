// What a request's text becomes on the decision socket.

import AuthZEN
import CBOR
import DecisionProtocol
import StileClient
import StrictJSON
import TestSupport
import Testing

/// Draws requests.
private struct RandomRequests {
    var random: SeededGenerator

    mutating func value(_ depth: Int = 0) -> JSONValue {
        switch random.below(depth > 3 ? 6 : 8) {
        case 0: .null
        case 1: .bool(random.chance(50))
        case 2: .integer(random.pick([0, 23, 24, -1, 255, 70_000, 1 << 40, Int.min, Int.max]))
        case 3: .number(random.pick(["1.50", "-0.25", "1e3", "12E-2", "100.0", "0.1e1"]))
        case 4, 5: .string(text())
        case 6: .array((0..<random.below(4)).map { _ in value(depth + 1) })
        default: object(depth + 1)
        }
    }

    mutating func text() -> String {
        random.pick(["", "a", "Finance", "\u{e9}", "\"\\/\n\t\u{1}", "\u{1f600}", String(repeating: "x", count: 300)])
    }

    mutating func object(_ depth: Int) -> JSONValue {
        let names = ["a", "b", "aa", "z", "\u{e9}", "quote\"d", "supported", "long name of many letters"]
        return .object(
            names.shuffled(using: &random).prefix(random.below(6)).map { JSONMember($0, value(depth)) })
    }

    mutating func entity() -> JSONValue {
        var members = [
            JSONMember("type", .string(random.pick(["user", "t\u{e9}"]))), JSONMember("id", .string("i\n1")),
        ]
        if random.chance(60) { members.append(JSONMember("properties", random.chance(80) ? object(0) : .null)) }
        if random.chance(20) { members.append(JSONMember("unknown", value())) }
        return .object(members.shuffled(using: &random))
    }

    mutating func request() -> JSONValue {
        var action = [JSONMember("name", .string("read"))]
        if random.chance(50) { action.append(JSONMember("properties", object(0))) }
        var members = [
            JSONMember("subject", entity()), JSONMember("action", .object(action)), JSONMember("resource", entity()),
        ]
        if random.chance(50) { members.append(JSONMember("context", object(0))) }
        if random.chance(30) { members.append(JSONMember("session", .string("s"))) }
        if random.chance(30) { members.append(JSONMember("device", .object(["id": .string("d")]))) }
        if random.chance(30) { members.append(JSONMember("future", value())) }
        return .object(members.shuffled(using: &random))
    }
}

@Suite("AuthZEN: questions")
struct QuestionReaderTests {
    @Test("the short way from text to frame gives the protocol's own bytes")
    func encoding() throws {
        let seed = TestSeed.next()
        var requests = RandomRequests(random: SeededGenerator(seed: seed))
        for _ in 0..<3_000 {
            let json = requests.request()
            let reader = QuestionReader(try JSONDocument(Array(json.compact.utf8)))
            let encoded = try reader.question(reader.parts(of: JSONDocument.root))
            let question = try Question(json: json)
            let fields = CBORValue.map(question.fields).encoded
            #expect(
                encoded.count == question.fields.count && encoded.bytes == Array(fields.dropFirst()), "seed \(seed)")
        }
    }

    @Test("what is no question is named by its place")
    func mistakes() throws {
        func mistake(_ text: String) throws -> String? {
            let reader = QuestionReader(try JSONDocument(Array(text.utf8)))
            do throws(RequestError) {
                _ = try reader.question(reader.parts(of: JSONDocument.root))
                return nil
            } catch {
                return error.description
            }
        }
        let rest = #""action":{"name":"a"},"resource":{"type":"t","id":"i"}"#
        #expect(try mistake("{\(rest)}") == "subject: it is missing")
        #expect(try mistake(#"{"subject":{"type":"t","id":""},"# + rest + "}")?.contains("0 bytes") == true)
        #expect(
            try mistake(#"{"subject":{"type":"t","id":"i","properties":1},"# + rest + "}")?.contains("object") == true)
        #expect(
            try mistake(
                #"{"subject":{"type":"t","id":"i"},"context":{"n":\#(String(repeating: "9", count: 60))},"# + rest + "}"
            )?.hasPrefix("context")
                == true)
    }

    @Test("tokens of pages are good for their tenant, whole and unchanged")
    func tokens() throws {
        let seal = PageSeal(key: [UInt8](repeating: 7, count: 32))
        let position = PageSeal.Position(
            request: [UInt8](repeating: 1, count: 32), limit: 50, after: "u\u{e9}", expires: 1_700_000_000_000)
        let token = try seal.token(position, tenant: "acme")
        #expect(seal.open(token, tenant: "acme") == position)
        #expect(seal.open(token, tenant: "other") == nil)
        #expect(PageSeal(key: [UInt8](repeating: 8, count: 32)).open(token, tenant: "acme") == nil)
        #expect(try seal.token(position, tenant: "acme") != token, "a nonce is never used twice")
        for index in token.indices {
            var changed = token
            changed.replaceSubrange(index...index, with: token[index] == "A" ? "B" : "A")
            #expect(seal.open(changed, tenant: "acme") == nil)
        }
        for text in ["", "A", "AAAA", "!", String(repeating: "A", count: 2_000)] {
            #expect(seal.open(text, tenant: "acme") == nil)
        }
    }

    @Test("base64url comes back as it went, and nothing else is taken")
    func base64() {
        for count in 0..<50 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
        #expect(Base64URL.encode(Array("foob".utf8)) == "Zm9vYg")
        for text in ["A", "Zm9vYh", "Zm9v=", "Zm+v", "AAAAA"] { #expect(Base64URL.decode(text) == nil) }
    }
}
