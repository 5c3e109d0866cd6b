// The quick road from a frame to a decision's inputs: one walk that reads, checks and fills in at once, for questions as
// nearly all are: small keys in order, ASCII, flat properties. Whatever is not of that shape is left to the general road
// (QuestionCursor, QuestionReader), which knows every form and every error; so this one only has to be right about what
// it accepts, and `QuickReaderTests` hold the two together.
//
// INVARIANT of this unsafe file: the bytes from `base` to `end` stay in place and unchanged while the reader is used (it
// never outlives the frame's closure); `place` never leaves them, and every read is checked against `end`. What it gives
// lies in them.

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
    private var place: UnsafePointer<UInt8>
    private let end: UnsafePointer<UInt8>

    /// Nil for no bytes.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return nil }
        unsafe base = start.assumingMemoryBound(to: UInt8.self)
        unsafe place = base
        unsafe end = base + bytes.count
    }

    var isAtEnd: Bool { unsafe place == end }

    private var rest: Int { unsafe end - place }

    private var position: Int { unsafe place - base }

    /// The next byte.
    @inline(__always)
    mutating func byte() -> UInt8? {
        guard unsafe place != end else { return nil }
        let value = unsafe place.pointee
        unsafe place += 1
        return value
    }

    @inline(__always)
    private func peek() -> UInt8 { unsafe place != end ? place.pointee : 0xff }

    /// The number of pairs of a map of less than 24.
    @inline(__always)
    mutating func map() -> Int? {
        guard let head = byte(), head &- 0xa0 < 24 else { return nil }
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
        let bytes = unsafe UnsafeRawPointer(place)
        switch head {
        case 0x18:
            guard rest >= 1 else { return nil }
            unsafe place += 1
            let value = unsafe UInt64(bytes.load(as: UInt8.self))
            return value < 24 ? nil : value
        case 0x19:
            guard rest >= 2 else { return nil }
            unsafe place += 2
            let value = unsafe UInt64(UInt16(bigEndian: bytes.loadUnaligned(as: UInt16.self)))
            return value <= 0xff ? nil : value
        case 0x1a:
            guard rest >= 4 else { return nil }
            unsafe place += 4
            let value = unsafe UInt64(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
            return value <= 0xffff ? nil : value
        case 0x1b:
            guard rest >= 8 else { return nil }
            unsafe place += 8
            let value = unsafe UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
            return value <= 0xffff_ffff ? nil : value
        default: return nil
        }
    }

    /// The bytes of a text of less than 256, whatever they are.
    @inline(__always)
    private mutating func bytes() -> UnsafeRawBufferPointer? {
        guard let head = byte() else { return nil }
        var length = Int(head &- 0x60)
        if length >= 24 {
            guard head == 0x78, let more = byte(), more >= 24 else { return nil }
            length = Int(more)
        }
        guard rest >= length else { return nil }
        let start = unsafe place
        unsafe place += length
        return unsafe UnsafeRawBufferPointer(start: start, count: length)
    }

    /// A text of ASCII with less than 256 bytes.
    @inline(__always)
    mutating func text() -> UnsafeRawBufferPointer? {
        guard let bytes = unsafe bytes(), unsafe Self.isASCII(bytes) else { return nil }
        return unsafe bytes
    }

    /// Where bytes lie that this reader gave.
    @inline(__always)
    func range(_ bytes: UnsafeRawBufferPointer) -> Range<Int> {
        let start = unsafe (bytes.baseAddress.unsafelyUnwrapped - UnsafeRawPointer(base))
        return unsafe Range(uncheckedBounds: (start, start &+ bytes.count))
    }

    @inline(__always)
    private static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let count = bytes.count
        if count >= 8 {
            // Eight bytes at a time, the last of them overlapping instead of a loop for the tail.
            var seen = unsafe bytes.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            var offset = 0
            while offset &+ 8 < count {
                seen |= unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                offset &+= 8
            }
            return seen & 0x8080_8080_8080_8080 == 0
        }
        return unsafe ContentHash.tail(bytes) & 0x8080_8080_8080_8080 == 0
    }

    /// True when the first of two texts comes before the other in a map (RFC 8949 4.2.1): the shorter first, then bytewise.
    @inline(__always)
    private static func isAscending(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        if left.count != right.count { return left.count < right.count }
        guard let first = left.baseAddress, let second = right.baseAddress else { return false }
        return unsafe memcmp(first, second, left.count) < 0
    }

    /// Passes over a number, a truth value or a text.
    @inline(__always)
    private mutating func skipScalar() -> Bool {
        let head = peek()
        if head & 0xe0 == 0x60 { return unsafe text() != nil }
        if head & 0xdf < 0x18 || head == 0xf4 || head == 0xf5 {
            unsafe place += 1
            return true
        }
        return head < 0x1c && unsigned() != nil
    }
}

extension QuickReader {
    /// Reads a question as far as its subject's type and id; nil for anything unusual. Nothing hangs on what it gives.
    @inline(__always)
    mutating func subject(_ names: NameTable) -> (index: Int, id: UnsafeRawBufferPointer)? {
        guard map() != nil, byte() == 0, byte() == FrameKind.questionByte, byte() == 1, unsigned() != nil, byte() == 2,
            map() != nil, byte() == 0, let type = unsafe bytes(), let index = unsafe names[type], byte() == 1,
            let id = unsafe bytes()
        else { return nil }
        return unsafe (index, id)
    }

    /// Reads type and id of an entity, or the name of an action (`hasID` false).
    /// - Returns: the index that `names` has, the id, and whether properties come next; nil for anything unusual.
    @inline(__always)
    mutating func entity(
        _ ranges: inout EntityRanges, _ names: NameTable, hasID: Bool
    ) -> (index: Int, id: UnsafeRawBufferPointer, hasProperties: Bool)? {
        // A name of the catalog is UTF-8, so one that equals it need not be looked at for that.
        guard let pairs = map(), byte() == 0, let type = unsafe bytes(), let index = unsafe names[type] else {
            return nil
        }
        ranges.isGiven = true
        ranges.type = unsafe range(type)
        var rest = pairs &- 1
        var name = unsafe type
        if hasID {
            guard byte() == 1, let id = unsafe text(), unsafe !id.isEmpty else { return nil }
            ranges.id = unsafe range(id)
            unsafe name = id
            rest &-= 1
        }
        if rest == 0 { return unsafe (index, name, false) }
        return rest == 1 && byte() == 2 ? unsafe (index, name, true) : nil
    }

    /// Reads a map of properties into a record; false for anything unusual.
    @inline(__always)
    mutating func properties(
        _ range: inout Range<Int>, _ builder: inout RecordBuilder, _ plan: borrowing RecordPlan
    ) -> Bool {
        let start = position
        guard let pairs = map() else { return false }
        builder.reset(slots: plan.count)
        var previous = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var rank = 0
        for pair in 0..<pairs {
            let slot: Int
            if let known = unsafe name(&rank, plan, &previous) {
                slot = known
            } else {
                guard let name = unsafe bytes(), unsafe pair == 0 || Self.isAscending(previous, name) else {
                    return false
                }
                unsafe previous = name
                guard let known = unsafe plan.names[name], plan.isFromRequest(known) else {
                    guard unsafe Self.isASCII(name), skipScalar() else { return false }
                    // What comes after a name without a rank is compared with it.
                    rank = plan.count
                    continue
                }
                slot = known
                rank = plan.rank(known) &+ 1
            }
            guard let payload = payload(plan[slot], &builder) else { return false }
            builder.set(slot, payload: payload)
        }
        range = unsafe Range(uncheckedBounds: (start, position))
        return true
    }

    /// Passes over the next name when it is that of `rank`, or of one of the two behind it: names come in their order, so it
    /// nearly always is, and one that is need not be compared with the one before it.
    /// - Returns: its slot.
    @inline(__always)
    private mutating func name(
        _ rank: inout Int, _ plan: borrowing RecordPlan, _ previous: inout UnsafeRawBufferPointer
    ) -> Int? {
        let room = rest
        guard room >= 8 else { return nil }
        let bytes = unsafe UnsafeRawPointer(place)
        let first = unsafe bytes.loadUnaligned(as: UInt64.self)
        // Near the end of a frame a name of less than eight bytes can still be known: no name has a byte of zero.
        let second: UInt64 = unsafe room >= 16 ? bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self) : 0
        let end = min(rank &+ 3, plan.count)
        while rank < end {
            let name = plan.name(rank: rank)
            rank &+= 1
            if name.begins(first, second) {
                let count = Int(name.count)
                unsafe previous = UnsafeRawBufferPointer(start: bytes + 1, count: count &- 1)
                unsafe place += count
                return Int(name.slot)
            }
        }
        return nil
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
            guard let cases = plan.cases, let text = unsafe bytes(), let index = unsafe cases[text] else { return nil }
            return UInt64(index)
        case .string, .reference:
            guard let text = unsafe text() else { return nil }
            return unsafe builder.append(string: text)
        case .decimal: return decimal()
        case .address:
            guard let text = unsafe text() else { return nil }
            return unsafe IPAddress(text).map { builder.append(address: $0) }
        case .datetime, .duration: return nil
        }
    }

    /// Millionths of a whole number or of a decimal fraction with one to six digits after the point.
    private mutating func decimal() -> UInt64? {
        var factor: UInt64 = 1_000_000
        if peek() == 0xc4 {
            // Tag 4, an array of two, the exponent -1 to -6.
            unsafe place += 1
            guard byte() == 0x82, let exponent = byte(), exponent >= 0x20, exponent <= 0x25 else { return nil }
            for _ in 0x20...exponent { factor /= 10 }
        }
        guard let value = unsigned() else { return nil }
        let (product, overflowed) = value.multipliedReportingOverflow(by: factor)
        return overflowed || product > UInt64(Int64.max) ? nil : product
    }
}
