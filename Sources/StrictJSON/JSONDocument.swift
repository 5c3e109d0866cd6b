// A document as the places of its values: one pass checks the whole text, and nothing is copied out of it until somebody
// asks. What reads requests by the thousand looks names up here; `JSONValue` is made from it too, so there is one grammar.

/// A checked document. Values are numbered in the order of the text; the document's own value is `root`.
package struct JSONDocument: Sendable {
    /// What kind a value is.
    package enum Kind: UInt8, Sendable {
        case null, `false`, `true`, number, string, array, object
    }

    struct Node: Sendable {
        /// The value's bytes in the text; of a string without its quotes.
        var start: UInt32
        var end: UInt32
        /// The value behind this one and all that is in it.
        var next: UInt32
        /// Elements, or members.
        var count: UInt32 = 0
        var kind: Kind
        /// A string whose bytes are its value: ASCII without escapes.
        var isPlain = false
    }

    /// The text.
    package let bytes: [UInt8]
    var nodes: [Node]

    /// The document's value.
    package static let root = 0

    /// Checks a text.
    /// - Throws: `JSONError` with the place.
    package init(_ text: [UInt8]) throws(JSONError) {
        var parser = JSONParser(text)
        try parser.document()
        bytes = text
        nodes = parser.nodes
    }

    /// The kind of a value.
    package func kind(_ value: Int) -> Kind { nodes[value].kind }

    /// Elements of an array, members of an object.
    package func count(_ value: Int) -> Int { Int(nodes[value].count) }

    /// The value behind this one and all that is in it. The elements of an array follow its own number; the members of an
    /// object too, each as its name, then its value.
    package func after(_ value: Int) -> Int { Int(nodes[value].next) }

    /// The bytes of a value in the text; of a string without its quotes, escapes as they stand.
    package func range(_ value: Int) -> Range<Int> { Int(nodes[value].start)..<Int(nodes[value].end) }

    /// The bytes of a string are its value: ASCII without escapes.
    package func isPlain(_ value: Int) -> Bool { nodes[value].isPlain }

    /// Bytes of a string's value, in UTF-8.
    package func length(_ string: Int) -> Int {
        nodes[string].isPlain ? range(string).count : text(string).utf8.count
    }

    /// The value of a string.
    package func text(_ string: Int) -> String {
        let node = nodes[string]
        let slice = bytes[Int(node.start)..<Int(node.end)]
        if node.isPlain { return String(decoding: slice, as: UTF8.self) }
        return String(decoding: JSONParser.unescaped(slice), as: UTF8.self)
    }

    /// The digits of a number.
    package func digits(_ number: Int) -> String { String(decoding: bytes[range(number)], as: UTF8.self) }

    /// Whether a string is this one, which is ASCII.
    package func equals(_ string: Int, _ word: String) -> Bool {
        let node = nodes[string]
        guard node.isPlain else { return text(string) == word }
        guard Int(node.end - node.start) == word.utf8.count else { return false }
        var place = Int(node.start)
        for byte in word.utf8 {
            if bytes[place] != byte { return false }
            place += 1
        }
        return true
    }

    /// The member of an object with this name, which is ASCII; nil for other values than objects.
    package func member(_ name: String, of object: Int) -> Int? {
        guard nodes[object].kind == .object else { return nil }
        var place = object + 1
        for _ in 0..<nodes[object].count {
            if equals(place, name) { return place + 1 }
            place = Int(nodes[place + 1].next)
        }
        return nil
    }

    /// The value, with all that is in it.
    package func value(_ place: Int = root) -> JSONValue {
        var next = place
        return take(&next)
    }

    private func take(_ place: inout Int) -> JSONValue {
        let node = nodes[place]
        let own = place
        place += 1
        switch node.kind {
        case .null: return .null
        case .false: return .bool(false)
        case .true: return .bool(true)
        case .number: return .number(digits(own))
        case .string: return .string(text(own))
        case .array:
            var values: [JSONValue] = []
            values.reserveCapacity(Int(node.count))
            for _ in 0..<node.count { values.append(take(&place)) }
            return .array(values)
        case .object:
            var members: [JSONMember] = []
            members.reserveCapacity(Int(node.count))
            for _ in 0..<node.count {
                let name = text(place)
                place += 1
                members.append(JSONMember(name, take(&place)))
            }
            return .object(members)
        }
    }
}
