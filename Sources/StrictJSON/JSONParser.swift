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
        var parser = JSONParser(Array(text))
        return try parser.document()
    }

    /// Parses one value and nothing after it.
    package static func parse(_ text: String) throws(JSONError) -> JSONValue { try parse(text.utf8) }
}

private struct JSONParser {
    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSONValue {
        guard bytes.count <= JSONLimits.maxBytes else {
            throw error("the document has \(bytes.count) bytes, above \(JSONLimits.maxBytes): send it in parts")
        }
        let value = try value()
        skipSpace()
        if position < bytes.count { throw error("something follows the value: remove it") }
        return value
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
        while position < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func value() throws(JSONError) -> JSONValue {
        skipSpace()
        guard let byte = current else { throw error("a value is missing here") }
        switch byte {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), 0x30...0x39: return .number(try number())
        default:
            for (word, value) in [("true", JSONValue.bool(true)), ("false", .bool(false)), ("null", .null)] {
                if bytes[position...].starts(with: word.utf8) {
                    position += word.utf8.count
                    return value
                }
            }
            throw error("no JSON value starts like this: use an object, array, string, number, true, false or null")
        }
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        position += 1
        if depth > JSONLimits.maxDepth { throw error("nested deeper than \(JSONLimits.maxDepth) levels") }
    }

    private mutating func array() throws(JSONError) -> JSONValue {
        try enter()
        defer { depth -= 1 }
        var values: [JSONValue] = []
        skipSpace()
        if take("]") { return .array(values) }
        while true {
            values.append(try value())
            skipSpace()
            if take("]") { return .array(values) }
            if !take(",") { throw error("`,` or `]` is missing in an array") }
        }
    }

    private mutating func object() throws(JSONError) -> JSONValue {
        try enter()
        defer { depth -= 1 }
        var members: [JSONMember] = []
        var names = Set<String>()
        skipSpace()
        if take("}") { return .object(members) }
        while true {
            skipSpace()
            let start = position
            guard current == UInt8(ascii: "\"") else { throw error("a member's name in quotes is missing") }
            let name = try string()
            guard names.insert(name).inserted else {
                throw error("the name \"\(name)\" stands twice in one object: keep one", at: start)
            }
            skipSpace()
            if !take(":") { throw error("`:` is missing after the name \"\(name)\"") }
            members.append(JSONMember(name, try value()))
            skipSpace()
            if take("}") { return .object(members) }
            if !take(",") { throw error("`,` or `}` is missing in an object") }
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard current == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func number() throws(JSONError) -> String {
        let start = position
        _ = take("-")
        if !take("0") { try digits("a number needs a digit here") }
        if take(".") { try digits("a digit is missing after the point") }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits("a digit is missing in the exponent")
        }
        if position - start > 400 { throw error("a number of more than 400 characters", at: start) }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func digits(_ message: String) throws(JSONError) {
        let start = position
        while let byte = current, (0x30...0x39).contains(byte) { position += 1 }
        if position == start { throw error(message) }
    }

    private mutating func string() throws(JSONError) -> String {
        let start = position
        position += 1
        var value: [UInt8] = []
        while let byte = current {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: value, as: UTF8.self) else {
                    throw error("this string is not UTF-8", at: start)
                }
                return text
            case UInt8(ascii: "\\"): try escape(&value)
            case 0..<0x20: throw error("a control character in a string: write it as \\u00XX", at: position - 1)
            default: value.append(byte)
            }
        }
        throw error("this string has no closing quote", at: start)
    }

    private mutating func escape(_ value: inout [UInt8]) throws(JSONError) {
        guard let byte = current else { throw error("an escape is cut short") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): value.append(byte)
        case UInt8(ascii: "b"): value.append(0x08)
        case UInt8(ascii: "f"): value.append(0x0c)
        case UInt8(ascii: "n"): value.append(0x0a)
        case UInt8(ascii: "r"): value.append(0x0d)
        case UInt8(ascii: "t"): value.append(0x09)
        case UInt8(ascii: "u"): value.append(contentsOf: Array(String(Character(try scalar())).utf8))
        default: throw error("no such escape", at: position - 2)
        }
    }

    private mutating func scalar() throws(JSONError) -> Unicode.Scalar {
        let start = position - 2
        let first = try unit()
        if let scalar = Unicode.Scalar(UInt32(first)) { return scalar }
        guard first < 0xdc00, take("\\"), take("u") else {
            throw error("half a surrogate pair: write both halves", at: start)
        }
        let second = try unit()
        guard (0xdc00...0xdfff).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (UInt32(first) - 0xd800) << 10 + (UInt32(second) - 0xdc00))
        else { throw error("half a surrogate pair: write both halves", at: start) }
        return scalar
    }

    private mutating func unit() throws(JSONError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw error("\\u needs four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }
}
