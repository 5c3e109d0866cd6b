// Reads CBOR without allocating, and only the deterministic encoding (RFC 8949 4.2.1): one value has one spelling,
// so equal keys cannot hide behind two spellings and a map's order shows a repeated key.
//
// INVARIANT of this unsafe file: a reader's bytes stay in place and unchanged while the reader and the slices it
// gave are used; whoever makes one from memory of their own sees to that. Each read is checked against the end.

import Glibc

/// Why bytes are no CBOR that we take.
public struct CBORError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds.
    public enum Code: String, Sendable {
        case truncated
        case notDeterministic = "not_deterministic"
        case indefiniteLength = "indefinite_length"
        case unexpectedType = "unexpected_type"
        case keyOrder = "key_order"
        case notUTF8 = "not_utf8"
        case tooDeep = "too_deep"
        case unsupported
        case trailingBytes = "trailing_bytes"
    }

    /// The kind.
    public var code: Code
    /// Byte offset in what was read.
    public var offset: Int
    /// The kind and the place, in words.
    public var description: String { "CBOR: \(code.rawValue) at byte \(offset)" }

    /// An error at a byte offset.
    @inlinable
    public init(_ code: Code, at offset: Int) {
        self.code = code
        self.offset = offset
    }
}

/// Limits of the reader.
public enum CBORLimits {
    /// Arrays and maps inside one another.
    public static let maxDepth = 32
}

/// The type of the next item.
public enum CBORType: Sendable, Hashable {
    case unsigned, negative, bytes, text, array, map, tag, bool, null, float
}

/// A cursor over borrowed bytes.
@safe
public struct CBORReader {
    @usableFromInline let base: UnsafeRawPointer?
    /// One past the last byte.
    public let end: Int
    /// The next byte.
    @inlinable public var offset: Int { position }
    @usableFromInline var position: Int

    /// Reads `bytes`, which outlive the reader.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer) {
        unsafe base = bytes.baseAddress
        end = bytes.count
        position = 0
    }

    /// True when everything was read.
    @inlinable
    public var isAtEnd: Bool { offset >= end }

    @inlinable
    @inline(__always)
    func byte(_ at: Int) -> UInt8 { unsafe base.unsafelyUnwrapped.load(fromByteOffset: at, as: UInt8.self) }

    /// The bytes of a range that this reader gave.
    @inlinable
    @inline(__always)
    public func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        guard let base = unsafe base, range.lowerBound >= 0, range.upperBound <= end else {
            return unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        }
        return unsafe UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }

    /// Goes to an offset that this reader gave.
    @inlinable
    public mutating func move(to offset: Int) throws(CBORError) {
        guard offset >= 0, offset <= end else { throw CBORError(.truncated, at: end) }
        position = offset
    }

    /// A reader of one part.
    @inlinable
    public func reader(of range: Range<Int>) -> CBORReader { unsafe CBORReader(slice(range)) }

    // MARK: Heads

    @inlinable
    @inline(__always)
    mutating func head() throws(CBORError) -> (major: UInt8, argument: UInt64) {
        guard offset < end else { throw CBORError(.truncated, at: offset) }
        let initial = byte(offset)
        let major = initial >> 5
        let additional = initial & 31
        if additional < 24 {
            position &+= 1
            return (major, UInt64(additional))
        }
        return try wideHead(major, additional)
    }

    @usableFromInline
    mutating func wideHead(_ major: UInt8, _ additional: UInt8) throws(CBORError) -> (UInt8, UInt64) {
        let start = offset
        guard additional < 28 else {
            throw CBORError(additional == 31 ? .indefiniteLength : .unsupported, at: start)
        }
        let width = 1 << Int(additional - 24)
        guard end - offset > width else { throw CBORError(.truncated, at: start) }
        var argument: UInt64 = 0
        for index in 1...width { argument = argument << 8 | UInt64(byte(offset + index)) }
        position += 1 + width
        // Floats (major 7) carry bits, not a number: their width says the precision.
        let least: UInt64 = width == 1 ? 24 : 1 << UInt64(4 * width)
        if major != 7, argument < least { throw CBORError(.notDeterministic, at: start) }
        if major == 7, width == 1 { throw CBORError(.unsupported, at: start) }
        return (major, argument)
    }

    /// The type of the next item.
    @inlinable
    @inline(__always)
    public func type() throws(CBORError) -> CBORType {
        guard offset < end else { throw CBORError(.truncated, at: offset) }
        let initial = byte(offset)
        switch initial >> 5 {
        case 0: return .unsigned
        case 1: return .negative
        case 2: return .bytes
        case 3: return .text
        case 4: return .array
        case 5: return .map
        case 6: return .tag
        default: return try simpleType(initial)
        }
    }

    @usableFromInline
    func simpleType(_ initial: UInt8) throws(CBORError) -> CBORType {
        switch initial & 31 {
        case 20, 21: return .bool
        case 22: return .null
        case 25, 26, 27: return .float
        default: throw CBORError(.unsupported, at: offset)
        }
    }

    /// True when the next item is of a major type (RFC 8949 3); false at the end.
    @inlinable
    @inline(__always)
    public func isNext(major: UInt8) -> Bool { offset < end && byte(offset) >> 5 == major }

    /// The next byte when it is an unsigned integer below 24 all by itself: the keys of this project's frames.
    @inlinable
    @inline(__always)
    public mutating func smallUnsigned() -> UInt8? {
        guard offset < end, byte(offset) < 24 else { return nil }
        let value = byte(offset)
        position &+= 1
        return value
    }

    /// The next item when it is true or false.
    @inlinable
    @inline(__always)
    public mutating func shortBool() -> Bool? {
        guard offset < end, byte(offset) & 0xfe == 0xf4 else { return nil }
        let value = byte(offset) == 0xf5
        position &+= 1
        return value
    }

    /// Where the next item lies when it is a text of ASCII with less than 24 bytes.
    @inlinable
    @inline(__always)
    public mutating func shortText() -> Range<Int>? {
        guard offset < end, byte(offset) & 0xe0 == 0x60 else { return nil }
        let length = Int(byte(offset) & 31)
        guard length < 24, end &- offset > length, let base = unsafe base,
            unsafe Self.isASCII(UnsafeRawBufferPointer(start: base + position + 1, count: length))
        else { return nil }
        position &+= 1 &+ length
        return position &- length..<position
    }

    /// Goes back before a text that `shortText` gave.
    @inlinable
    public mutating func unread(_ text: Range<Int>) { position = text.lowerBound &- 1 }

    @inlinable
    @inline(__always)
    mutating func head(of major: UInt8) throws(CBORError) -> UInt64 {
        let start = offset
        let head = try head()
        guard head.major == major else { throw CBORError(.unexpectedType, at: start) }
        return head.argument
    }

    // MARK: Items

    /// An unsigned integer.
    @inlinable
    @inline(__always)
    public mutating func unsigned() throws(CBORError) -> UInt64 { try head(of: 0) }

    /// An integer of 64 bits.
    public mutating func integer() throws(CBORError) -> Int64 {
        let start = offset
        let head = try head()
        guard head.major <= 1, head.argument <= UInt64(Int64.max) else { throw CBORError(.unexpectedType, at: start) }
        return head.major == 0 ? Int64(head.argument) : ~Int64(head.argument)
    }

    /// Where a text string lies; it is UTF-8.
    @inlinable
    @inline(__always)
    public mutating func text() throws(CBORError) -> Range<Int> {
        if let short = shortText() { return short }
        return try longText()
    }

    @usableFromInline
    mutating func longText() throws(CBORError) -> Range<Int> {
        let start = offset
        let range = try payload(of: 3)
        guard unsafe Self.isASCII(unsafe slice(range)) || Self.isUTF8(unsafe slice(range)) else {
            throw CBORError(.notUTF8, at: start)
        }
        return range
    }

    /// Where a text string lies that `skip` or `text` has walked over before: it is known to be UTF-8.
    @inlinable
    @inline(__always)
    public mutating func knownText() throws(CBORError) -> Range<Int> { try payload(of: 3) }

    /// Where a byte string lies.
    public mutating func byteString() throws(CBORError) -> Range<Int> { try payload(of: 2) }

    @inlinable
    @inline(__always)
    mutating func payload(of major: UInt8) throws(CBORError) -> Range<Int> {
        let start = offset
        let length = try head(of: major)
        guard length <= UInt64(end - offset) else { throw CBORError(.truncated, at: start) }
        let range = offset..<offset + Int(length)
        position = range.upperBound
        return range
    }

    /// The number of items of an array.
    @inlinable
    @inline(__always)
    public mutating func array() throws(CBORError) -> Int { try count(of: 4, least: 1) }
    /// The number of pairs of a map.
    @inlinable
    @inline(__always)
    public mutating func map() throws(CBORError) -> Int { try count(of: 5, least: 2) }

    @inlinable
    @inline(__always)
    mutating func count(of major: UInt8, least: UInt64) throws(CBORError) -> Int {
        let start = offset
        let count = try head(of: major)
        // Each item takes a byte at least: a larger count is a lie, found before anything is reserved for it.
        guard count <= UInt64(end - offset) / least else { throw CBORError(.truncated, at: start) }
        return Int(count)
    }

    /// The number of a tag.
    public mutating func tag() throws(CBORError) -> UInt64 { try head(of: 6) }

    /// true or false.
    public mutating func bool() throws(CBORError) -> Bool {
        guard try type() == .bool else { throw CBORError(.unexpectedType, at: offset) }
        defer { position += 1 }
        return byte(offset) == 0xf5
    }

    /// null.
    public mutating func null() throws(CBORError) {
        guard try type() == .null else { throw CBORError(.unexpectedType, at: offset) }
        position += 1
    }

    /// A decimal fraction after its tag 4: exponent and mantissa.
    public mutating func decimal() throws(CBORError) -> (mantissa: Int64, exponent: Int64) {
        let start = offset
        guard try tag() == 4, try array() == 2 else { throw CBORError(.unsupported, at: start) }
        let exponent = try integer()
        return (try integer(), exponent)
    }

    /// A floating-point number, as its value.
    public mutating func float() throws(CBORError) -> Double {
        let start = offset
        guard try type() == .float else { throw CBORError(.unexpectedType, at: start) }
        let width = byte(offset) & 31
        let bits = try head().argument
        switch width {
        case 26: return Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
        case 27: return Double(bitPattern: bits)
        default: return Double(Self.half(UInt16(truncatingIfNeeded: bits)))
        }
    }

    private static func half(_ bits: UInt16) -> Float {
        let exponent = Int(bits >> 10 & 31)
        let fraction = Float(bits & 1023)
        let sign: Float = bits >> 15 == 1 ? -1 : 1
        if exponent == 0 { return sign * fraction / 16_777_216 }
        if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
        return sign * (1 + fraction / 1024)
            * (exponent >= 15 ? Float(1 << (exponent - 15)) : 1 / Float(1 << (15 - exponent)))
    }

    // MARK: Maps

    /// The keys of one map in their order; each key must be after the one before (bytewise, RFC 8949 4.2.1).
    public struct KeyOrder {
        @usableFromInline var start = 0
        /// End of the key before; 0 for none.
        @usableFromInline var end = 0

        /// No key seen yet.
        @inlinable
        public init() {}

        /// Call with the range of each key's encoded bytes.
        @inlinable
        @inline(__always)
        public mutating func check(_ key: Range<Int>, in reader: CBORReader) throws(CBORError) {
            // The first byte has type and length, which decides nearly always.
            if end > start {
                let (before, now) = (reader.byte(start), reader.byte(key.lowerBound))
                if before > now || before == now && !reader.isAscending(start..<end, key) {
                    throw CBORError(.keyOrder, at: key.lowerBound)
                }
            }
            start = key.lowerBound
            end = key.upperBound
        }
    }

    @usableFromInline
    func isAscending(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        let one = unsafe slice(left)
        let two = unsafe slice(right)
        guard let first = one.baseAddress, let second = two.baseAddress else { return false }
        let order = unsafe memcmp(first, second, min(one.count, two.count))
        return order < 0 || order == 0 && one.count < two.count
    }

    // MARK: Skipping

    /// Skips one item of any kind, checking it as reading would.
    /// - Returns: where it lay.
    @discardableResult
    public mutating func skip() throws(CBORError) -> Range<Int> { try skip(depth: 0) }

    /// Takes the next item when its bytes are those of an earlier whole item, which need not be read again then.
    /// - Returns: whether they are; if not, nothing was taken.
    public mutating func takeRepeated(_ earlier: Range<Int>) -> Bool {
        // Items end themselves: what begins with a whole item's bytes is that item.
        guard let base = unsafe base, !earlier.isEmpty, earlier.upperBound <= position,
            end - position >= earlier.count,
            unsafe memcmp(base + earlier.lowerBound, base + position, earlier.count) == 0
        else { return false }
        position += earlier.count
        return true
    }

    /// Skips a number, a truth value, null or a text that takes one byte of head: most of what frames hold.
    @inline(__always)
    private mutating func skipShort() -> Bool {
        guard position < end else { return false }
        let initial = byte(position)
        if initial & 0xdf < 0x18 || initial >= 0xf4 && initial <= 0xf6 {
            position &+= 1
            return true
        }
        return shortText() != nil
    }

    private mutating func skip(depth: Int) throws(CBORError) -> Range<Int> {
        let start = offset
        if skipShort() { return start..<position }
        guard depth < CBORLimits.maxDepth else { throw CBORError(.tooDeep, at: start) }
        switch try type() {
        case .unsigned, .negative, .float: _ = try head()
        case .bytes: _ = try byteString()
        case .text: _ = try text()
        case .bool, .null: position += 1
        case .tag:
            _ = try tag()
            _ = try skip(depth: depth + 1)
        case .array:
            let count = try array()
            for _ in 0..<count { _ = try skip(depth: depth + 1) }
        case .map:
            let count = try map()
            var order = KeyOrder()
            for _ in 0..<count {
                let from = position
                if !skipShort() { _ = try skip(depth: depth + 1) }
                try order.check(from..<position, in: self)
                if !skipShort() { _ = try skip(depth: depth + 1) }
            }
        }
        return start..<offset
    }

    /// True for ASCII: the fast road, eight bytes at a time, the last of them overlapping instead of a loop for the tail.
    @inlinable
    @inline(__always)
    static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let count = bytes.count
        if count >= 8 {
            var seen = unsafe bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            var offset = 0
            while offset &+ 8 < count {
                seen |= unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                offset &+= 8
            }
            return seen & 0x8080_8080_8080_8080 == 0
        }
        if count >= 4 {
            let first = unsafe bytes.loadUnaligned(as: UInt32.self)
            return unsafe (first | bytes.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)) & 0x8080_8080 == 0
        }
        var seen: UInt8 = 0
        for index in 0..<count { seen |= unsafe bytes[index] }
        return seen & 0x80 == 0
    }

    /// True for well-formed UTF-8 (RFC 3629).
    @usableFromInline
    static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < bytes.count {
            let first = unsafe bytes[index]
            if first < 0x80 {
                index &+= 1
                continue
            }
            let length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
            guard (0xc2...0xf4).contains(first), index &+ length <= bytes.count else { return false }
            for step in 1..<length where unsafe bytes[index &+ step] & 0xc0 != 0x80 { return false }
            let second = unsafe bytes[index &+ 1]
            switch first {
            case 0xe0 where second < 0xa0, 0xed where second > 0x9f, 0xf0 where second < 0x90, 0xf4 where second > 0x8f:
                return false
            default: break
            }
            index &+= length
        }
        return true
    }
}
