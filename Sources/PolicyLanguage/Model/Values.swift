// The values of the policy language and their types (language.md, "Semantics" 5).

/// The type of an attribute or expression. Comparing different types is an error at check time.
package indirect enum ValueType: Sendable, Hashable {
    case boolean
    /// 64-bit signed; `range` holds the bounds the catalog declared (`0...5`).
    case integer(range: ClosedRange<Int64>?)
    /// Exact, fixed point: six digits after the point (`Decimal6`).
    case decimal
    /// Text, compared by Unicode scalar after NFC.
    case string
    /// One of the named cases; `ordered` when written with `<`.
    case enumeration(EnumerationType)
    /// Milliseconds since 1970-01-01T00:00:00Z.
    case datetime
    /// Milliseconds.
    case duration
    /// An IPv4 or IPv6 address.
    case address
    /// The id of an entity of the type at this index of `Catalog.entities`.
    case reference(entity: Int)
    /// A set of scalars; never of sets.
    case set(of: ValueType)
}

/// The cases of an enum, in declaration order; a value is the case's index.
package struct EnumerationType: Sendable, Hashable {
    package var cases: [String]
    /// True when declared `low < medium < high`, so that `<` and `>=` are allowed.
    package var ordered: Bool

    package init(cases: [String], ordered: Bool) {
        self.cases = cases
        self.ordered = ordered
    }
}

/// A value known at check time: a literal, a default, an element of a `let` list.
package indirect enum Constant: Sendable, Hashable {
    case boolean(Bool)
    case integer(Int64)
    /// Millionths.
    case decimal(Int64)
    /// Already in NFC.
    case string(String)
    /// Index into `EnumerationType.cases`.
    case enumeration(Int)
    /// Milliseconds since the epoch.
    case datetime(Int64)
    /// Milliseconds.
    case duration(Int64)
    case address(IPAddress)
    /// The id of an entity.
    case reference(entity: Int, id: String)
    case set([Constant])
}

/// An exact fixed-point number: an `Int64` of millionths, -9,223,372,036,854.775808 to 9,223,372,036,854.775807.
package enum Decimal6 {
    /// Millionths in one.
    package static let scale: Int64 = 1_000_000

    /// Reads `-12.5`, `250000`, `0.000001`; also JSON's exponent form (`2.5e5`).
    /// - Returns: the millionths, or nil when the text is no number, has more than six significant digits after
    ///   the point, or is out of range. Never rounds.
    package static func parse(_ text: some Sequence<UInt8>) -> Int64? {
        var magnitude: UInt64 = 0
        var negative = false
        var digits = 0
        var fraction = 0
        var seenPoint = false
        var exponent = 0
        var iterator = text.makeIterator()
        var next = iterator.next()
        if next == UInt8(ascii: "-") {
            negative = true
            next = iterator.next()
        }
        while let byte = next {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                let (product, overflowed) = magnitude.multipliedReportingOverflow(by: 10)
                let (sum, carried) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
                if overflowed || carried { return nil }
                magnitude = sum
                digits += 1
                if seenPoint { fraction += 1 }
            case UInt8(ascii: "."):
                if seenPoint || digits == 0 { return nil }
                seenPoint = true
            case UInt8(ascii: "e"), UInt8(ascii: "E"):
                if digits == 0 { return nil }
                guard let power = parseExponent(&iterator) else { return nil }
                exponent = power
                return scaled(magnitude, by: exponent - fraction + 6, negative: negative)
            default:
                return nil
            }
            next = iterator.next()
        }
        if digits == 0 || (seenPoint && fraction == 0) { return nil }
        return scaled(magnitude, by: exponent - fraction + 6, negative: negative)
    }

    private static func parseExponent(_ iterator: inout some IteratorProtocol<UInt8>) -> Int? {
        var power = 0
        var sign = 1
        var count = 0
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "+") where count == 0: count = 0
            case UInt8(ascii: "-") where count == 0 && sign == 1: sign = -1
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                power = power * 10 + Int(byte - UInt8(ascii: "0"))
                count += 1
                if power > 100 { return nil }
            default: return nil
            }
        }
        return count == 0 ? nil : sign * power
    }

    private static func scaled(_ magnitude: UInt64, by power: Int, negative: Bool) -> Int64? {
        var value = magnitude
        var power = power
        if value == 0 { return 0 }
        while power > 0 {
            let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
            if overflowed { return nil }
            value = product
            power -= 1
        }
        while power < 0 {
            if value % 10 != 0 { return nil }
            value /= 10
            power += 1
        }
        if negative {
            return value <= UInt64(Int64.max) + 1 ? Int64(truncatingIfNeeded: 0 &- value) : nil
        }
        return value <= UInt64(Int64.max) ? Int64(value) : nil
    }

    /// The shortest exact text: `250000`, `-0.5`.
    package static func format(_ millionths: Int64) -> String {
        let magnitude = millionths.magnitude
        let whole = magnitude / UInt64(scale)
        var rest = magnitude % UInt64(scale)
        var text = (millionths < 0 ? "-" : "") + String(whole)
        if rest != 0 {
            var width = 6
            while rest % 10 == 0 {
                rest /= 10
                width -= 1
            }
            let digits = String(rest)
            text += "." + String(repeating: "0", count: width - digits.utf8.count) + digits
        }
        return text
    }
}
