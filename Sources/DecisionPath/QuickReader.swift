// The quick road from a frame to a decision's inputs: one walk that reads, checks and fills in at once, for questions as
// nearly all are: small keys in order, ASCII, flat properties. Whatever is not of that shape is left to the general road
// (QuestionCursor, QuestionReader), which knows every form and every error; so this one only has to be right about what
// it accepts, and `QuickReaderTests` hold the two together.
//
// INVARIANT of this unsafe file: `base` has `end` bytes that stay in place and unchanged while the reader is used (it
// never outlives the frame's closure); every read is checked against `end`.

import CBOR
import DecisionEngine
import DecisionProtocol
import Glibc
import Memory
import PolicyLanguage

/// A cursor over a frame that gives nil for everything unusual.
@safe
struct QuickReader {
    private let base: UnsafePointer<UInt8>
    private let end: Int
    private(set) var position = 0

    /// Nil for no bytes.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return nil }
        unsafe base = start.assumingMemoryBound(to: UInt8.self)
        end = bytes.count
    }

    var isAtEnd: Bool { position == end }

    /// The next byte.
    @inline(__always)
    mutating func byte() -> UInt8? {
        guard position < end else { return nil }
        let value = unsafe base[position]
        position &+= 1
        return value
    }

    @inline(__always)
    func peek() -> UInt8 { position < end ? unsafe base[position] : 0xff }

    /// The number of pairs of a map of less than 24.
    @inline(__always)
    mutating func map() -> Int? {
        guard let head = byte(), head & 0xe0 == 0xa0, head < 0xb8 else { return nil }
        return Int(head & 31)
    }

    /// An unsigned integer in its shortest form.
    @inline(__always)
    mutating func unsigned() -> UInt64? {
        guard let head = byte() else { return nil }
        if head < 24 { return UInt64(head) }
        return wide(head)
    }

    private mutating func wide(_ head: UInt8) -> UInt64? {
        guard head <= 0x1b else { return nil }
        let width = 1 << Int(head - 24)
        guard end &- position >= width else { return nil }
        var value: UInt64 = 0
        for _ in 0..<width {
            value = value << 8 | UInt64(unsafe base[position])
            position &+= 1
        }
        return value < (width == 1 ? 24 : 1 << UInt64(4 * width)) ? nil : value
    }

    /// Where a text of ASCII with less than 256 bytes lies.
    @inline(__always)
    mutating func text() -> Range<Int>? {
        guard let head = byte(), head & 0xe0 == 0x60 else { return nil }
        var length = Int(head & 31)
        if length >= 24 {
            guard length == 24, let more = byte(), more >= 24 else { return nil }
            length = Int(more)
        }
        guard end &- position >= length, isASCII(length) else { return nil }
        position &+= length
        return position &- length..<position
    }

    @inline(__always)
    private func isASCII(_ length: Int) -> Bool {
        let place = unsafe UnsafeRawPointer(base + position)
        if length >= 8 {
            // Eight bytes at a time, the last of them overlapping instead of a loop for the tail.
            var seen = unsafe place.loadUnaligned(fromByteOffset: length &- 8, as: UInt64.self)
            var offset = 0
            while offset &+ 8 < length {
                seen |= unsafe place.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                offset &+= 8
            }
            return seen & 0x8080_8080_8080_8080 == 0
        }
        if length >= 4 {
            let first = unsafe place.loadUnaligned(as: UInt32.self)
            return unsafe (first | place.loadUnaligned(fromByteOffset: length &- 4, as: UInt32.self)) & 0x8080_8080 == 0
        }
        var seen: UInt8 = 0
        for offset in 0..<length { seen |= unsafe base[position &+ offset] }
        return seen & 0x80 == 0
    }

    /// The bytes of a range that this reader gave.
    @inline(__always)
    func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }

    /// True when the first of two texts that this reader gave comes before the other in a map (RFC 8949 4.2.1): the
    /// shorter first, then bytewise.
    @inline(__always)
    func isAscending(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        if left.count != right.count { return left.count < right.count }
        return unsafe memcmp(base + left.lowerBound, base + right.lowerBound, left.count) < 0
    }

    /// Passes over a number, a truth value or a text.
    @inline(__always)
    mutating func skipScalar() -> Bool {
        let head = peek()
        if head & 0xe0 == 0x60 { return text() != nil }
        if head & 0xdf < 0x18 || head == 0xf4 || head == 0xf5 {
            position &+= 1
            return true
        }
        return head < 0x1c && unsigned() != nil
    }
}

extension QuickReader {
    /// Reads type and id of an entity, or the name of an action (`hasID` false).
    /// - Returns: the index that `names` has, and whether properties come next; nil for anything unusual.
    @inline(__always)
    mutating func entity(
        _ ranges: inout EntityRanges, _ names: NameTable, hasID: Bool
    ) -> (index: Int, hasProperties: Bool)? {
        guard let pairs = map(), byte() == 0, let type = text(), let index = unsafe names[slice(type)] else {
            return nil
        }
        ranges.isGiven = true
        ranges.type = type
        var rest = pairs &- 1
        if hasID {
            guard byte() == 1, let id = text(), !id.isEmpty else { return nil }
            ranges.id = id
            rest &-= 1
        }
        if rest == 0 { return (index, false) }
        return rest == 1 && byte() == 2 ? (index, true) : nil
    }

    /// Reads a map of properties into a record; false for anything unusual.
    @inline(__always)
    mutating func properties(
        _ range: inout Range<Int>, _ builder: inout RecordBuilder, _ plan: borrowing RecordPlan
    ) -> Bool {
        let start = position
        guard let pairs = map() else { return false }
        builder.reset(slots: plan.count)
        var previous = 0..<0
        for pair in 0..<pairs {
            guard let name = text(), pair == 0 || isAscending(previous, name) else { return false }
            previous = name
            if let slot = unsafe plan.names[slice(name)], plan.isFromRequest(slot) {
                guard let payload = payload(plan[slot], &builder) else { return false }
                builder.set(slot, payload: payload)
            } else if !skipScalar() {
                return false
            }
        }
        range = start..<position
        return true
    }

    /// The payload of a value; nil for anything unusual, a wrong type included.
    @inline(__always)
    private mutating func payload(_ plan: borrowing SlotPlan, _ builder: inout RecordBuilder) -> UInt64? {
        if plan.isSet { return nil }
        switch plan.kind {
        case .integer:
            guard let value = unsigned(), value <= UInt64(Int64.max), Int64(value) >= plan.low,
                Int64(value) <= plan.high
            else { return nil }
            return value
        case .boolean:
            guard let head = byte(), head & 0xfe == 0xf4 else { return nil }
            return UInt64(head & 1)
        case .enumeration:
            guard let cases = plan.cases, let text = text(), let index = unsafe cases[slice(text)] else { return nil }
            return UInt64(index)
        case .string, .reference:
            guard let text = text() else { return nil }
            return unsafe builder.append(string: slice(text))
        case .decimal: return decimal()
        case .address:
            guard let text = text() else { return nil }
            return unsafe IPAddress(slice(text)).map { builder.append(address: $0) }
        case .datetime, .duration: return nil
        }
    }

    /// Millionths of a whole number or of a decimal fraction with one to six digits after the point.
    private mutating func decimal() -> UInt64? {
        var factor: UInt64 = 1_000_000
        if peek() == 0xc4 {
            // Tag 4, an array of two, the exponent -1 to -6.
            position &+= 1
            guard byte() == 0x82, let exponent = byte(), exponent >= 0x20, exponent <= 0x25 else { return nil }
            for _ in 0x20...exponent { factor /= 10 }
        }
        guard let value = unsigned() else { return nil }
        let (product, overflowed) = value.multipliedReportingOverflow(by: factor)
        return overflowed || product > UInt64(Int64.max) ? nil : product
    }
}
