// RFC 8259 to the letter, with the restrictions of RFC 7493 (I-JSON) that guard meaning.

/// Why text is no JSON that we take.
package struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong and how to mend it.
    package var message: String
    /// Byte offset of the place.
    package var offset: Int
    /// Line, from 1.
    package var line: Int
    /// Column in bytes, from 1.
    package var column: Int

    package var description: String { "line \(line), column \(column): \(message)" }
}

/// Limits of the parser.
package enum JSONLimits {
    /// Arrays and objects inside one another.
    package static let maxDepth = 64
    /// Bytes of one document: a group of 100,000 members fits.
    package static let maxBytes = 64 << 20
}

extension JSONValue {
    /// Parses one value and nothing after it.
    /// - Throws: `JSONError` with the place.
    package static func parse(_ text: some Sequence<UInt8>) throws(JSONError) -> JSONValue {
        try JSONDocument(Array(text)).value()
    }

    /// Parses one value and nothing after it.
    package static func parse(_ text: String) throws(JSONError) -> JSONValue { try parse(text.utf8) }
}

struct JSONParser {
    private let bytes: [UInt8]
    private(set) var nodes: [JSONDocument.Node] = []
    private var position = 0
    private var depth = 0
    /// Members up to which names are compared one by one.
    private static let fewNames: UInt32 = 12

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) {
        guard bytes.count <= JSONLimits.maxBytes else {
            throw error("the document has \(bytes.count) bytes, above \(JSONLimits.maxBytes): send it in parts")
        }
        nodes.reserveCapacity(min(bytes.count / 8 + 1, 4_096))
        try value()
        skipSpace()
        if position < bytes.count { throw error("something follows the value: remove it") }
    }

    private func error(_ message: String, at offset: Int? = nil) -> JSONError {
        let offset = min(offset ?? position, bytes.count)
        var line = 1
        var start = 0
        for index in 0..<offset where bytes[index] == UInt8(ascii: "\n") {
            line += 1
            start = index + 1
        }
        return JSONError(message: message, offset: offset, line: line, column: offset - start + 1)
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            default: return
            }
        }
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    // MARK: Values

    private mutating func value() throws(JSONError) {
        skipSpace()
        guard let byte = current else { throw error("a value is missing here") }
        switch byte {
        case UInt8(ascii: "{"): try object()
        case UInt8(ascii: "["): try array()
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "-"), 0x30...0x39: try number()
        default:
            for (word, kind) in Self.words where bytes[position...].starts(with: word.utf8) {
                add(kind, from: position, to: position + word.utf8.count)
                position += word.utf8.count
                return
            }
            throw error("no JSON value starts like this: use an object, array, string, number, true, false or null")
        }
    }

    private static let words: [(String, JSONDocument.Kind)] = [("true", .true), ("false", .false), ("null", .null)]

    private mutating func add(_ kind: JSONDocument.Kind, from start: Int, to end: Int, isPlain: Bool = false) {
        nodes.append(
            JSONDocument.Node(
                start: UInt32(start), end: UInt32(end), next: UInt32(nodes.count + 1), kind: kind, isPlain: isPlain))
    }

    /// Opens an array or object; its number.
    private mutating func enter(_ kind: JSONDocument.Kind) throws(JSONError) -> Int {
        depth += 1
        let place = nodes.count
        add(kind, from: position, to: position)
        position += 1
        if depth > JSONLimits.maxDepth { throw error("nested deeper than \(JSONLimits.maxDepth) levels") }
        return place
    }

    private mutating func leave(_ place: Int, _ count: UInt32) {
        depth -= 1
        nodes[place].end = UInt32(position)
        nodes[place].next = UInt32(nodes.count)
        nodes[place].count = count
    }

    private mutating func array() throws(JSONError) {
        let place = try enter(.array)
        skipSpace()
        if take("]") { return leave(place, 0) }
        var count: UInt32 = 0
        while true {
            try value()
            count += 1
            skipSpace()
            if take("]") { return leave(place, count) }
            if !take(",") { throw error("`,` or `]` is missing in an array") }
        }
    }

    private mutating func object() throws(JSONError) {
        let place = try enter(.object)
        skipSpace()
        if take("}") { return leave(place, 0) }
        var count: UInt32 = 0
        var names = Set<String>()
        while true {
            skipSpace()
            let start = position
            guard current == UInt8(ascii: "\"") else { throw error("a member's name in quotes is missing") }
            let name = nodes.count
            try string()
            guard isNew(name, in: place, count, &names) else {
                throw error("the name \"\(text(name))\" stands twice in one object: keep one", at: start)
            }
            skipSpace()
            if !take(":") { throw error("`:` is missing after the name \"\(text(name))\"") }
            try value()
            count += 1
            skipSpace()
            if take("}") { return leave(place, count) }
            if !take(",") { throw error("`,` or `}` is missing in an object") }
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard current == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    // MARK: Names

    /// Whether none of the members before has this name. Few are compared one by one, many by a set.
    private func isNew(_ name: Int, in object: Int, _ count: UInt32, _ names: inout Set<String>) -> Bool {
        if count > Self.fewNames { return names.insert(text(name)).inserted }
        var other = object + 1
        for _ in 0..<count {
            if areEqual(name, other) { return false }
            if count == Self.fewNames { names.insert(text(other)) }
            other = Int(nodes[other + 1].next)
        }
        if count == Self.fewNames { names.insert(text(name)) }
        return true
    }

    private func areEqual(_ left: Int, _ right: Int) -> Bool {
        let (one, two) = (nodes[left], nodes[right])
        guard one.isPlain, two.isPlain else { return text(left) == text(right) }
        let length = Int(one.end - one.start)
        guard length == Int(two.end - two.start) else { return false }
        for index in 0..<length where bytes[Int(one.start) + index] != bytes[Int(two.start) + index] { return false }
        return true
    }

    private func text(_ string: Int) -> String {
        let slice = bytes[Int(nodes[string].start)..<Int(nodes[string].end)]
        return String(decoding: nodes[string].isPlain ? Array(slice) : Self.unescaped(slice), as: UTF8.self)
    }

    // MARK: Numbers

    private mutating func number() throws(JSONError) {
        let start = position
        _ = take("-")
        if !take("0") { try digits("a number needs a digit here") }
        if take(".") { try digits("a digit is missing after the point") }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits("a digit is missing in the exponent")
        }
        if position - start > 400 { throw error("a number of more than 400 characters", at: start) }
        add(.number, from: start, to: position)
    }

    private mutating func digits(_ message: String) throws(JSONError) {
        let start = position
        while let byte = current, (0x30...0x39).contains(byte) { position += 1 }
        if position == start { throw error(message) }
    }

    // MARK: Strings

    private mutating func string() throws(JSONError) {
        let start = position
        position += 1
        var isASCII = true
        var isEscaped = false
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                if !isASCII, String(validating: bytes[(start + 1)..<position], as: UTF8.self) == nil {
                    throw error("this string is not UTF-8", at: start)
                }
                add(.string, from: start + 1, to: position, isPlain: isASCII && !isEscaped)
                position += 1
                return
            case UInt8(ascii: "\\"):
                isEscaped = true
                position += 1
                try escape()
            case 0..<0x20: throw error("a control character in a string: write it as \\u00XX")
            default:
                if byte >= 0x80 { isASCII = false }
                position += 1
            }
        }
        throw error("this string has no closing quote", at: start)
    }

    /// Checks what follows a backslash.
    private mutating func escape() throws(JSONError) {
        guard let byte = current else { throw error("an escape is cut short") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return
        case UInt8(ascii: "u"): try scalar()
        default: throw error("no such escape", at: position - 2)
        }
    }

    private mutating func scalar() throws(JSONError) {
        let start = position - 2
        let first = try unit()
        guard (0xd800...0xdfff).contains(first) else { return }
        guard first < 0xdc00, take("\\"), take("u"), (0xdc00...0xdfff).contains(try unit()) else {
            throw error("half a surrogate pair: write both halves", at: start)
        }
    }

    private mutating func unit() throws(JSONError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Self.digit(byte) else {
                throw error("\\u needs four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x41...0x46: character - 0x41 + 10
        case 0x61...0x66: character - 0x61 + 10
        default: nil
        }
    }

    /// The value of a string that was checked.
    static func unescaped(_ slice: ArraySlice<UInt8>) -> [UInt8] {
        var value: [UInt8] = []
        value.reserveCapacity(slice.count)
        var rest = slice.makeIterator()
        func unit() -> UInt32 { (0..<4).reduce(0) { unit, _ in unit << 4 | UInt32(rest.next().flatMap(digit) ?? 0) } }
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "\\"), let escape = rest.next() else {
                value.append(byte)
                continue
            }
            switch escape {
            case UInt8(ascii: "b"): value.append(0x08)
            case UInt8(ascii: "f"): value.append(0x0c)
            case UInt8(ascii: "n"): value.append(0x0a)
            case UInt8(ascii: "r"): value.append(0x0d)
            case UInt8(ascii: "t"): value.append(0x09)
            case UInt8(ascii: "u"):
                var code = unit()
                if (0xd800..<0xdc00).contains(code) {
                    _ = rest.next()
                    _ = rest.next()
                    code = 0x10000 + (code - 0xd800) << 10 + (unit() &- 0xdc00)
                }
                if let scalar = Unicode.Scalar(code) { value.append(contentsOf: Array(String(scalar).utf8)) }
            default: value.append(escape)
            }
        }
        return value
    }
}
