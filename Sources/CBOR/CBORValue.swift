// CBOR as a tree, for what is not on the hot path: clients, the change log, tests.

import Memory

/// A value of the subset that this project uses.
package indirect enum CBORValue: Sendable, Hashable {
    case unsigned(UInt64)
    /// Negative integers; `integer(5)` is written as `unsigned(5)`.
    case integer(Int64)
    case bytes([UInt8])
    case text(String)
    case array([CBORValue])
    /// Pairs; written in the deterministic order of their keys.
    case map([CBORPair])
    case bool(Bool)
    case null
    /// mantissa x 10^exponent
    case decimal(mantissa: Int64, exponent: Int64)
}

/// A key and its value.
package struct CBORPair: Sendable, Hashable {
    package var key: CBORValue
    package var value: CBORValue

    package init(_ key: CBORValue, _ value: CBORValue) {
        self.key = key
        self.value = value
    }
}

extension CBORValue {
    /// The deterministic encoding.
    package var encoded: [UInt8] {
        var writer = CBORWriter()
        write(to: &writer)
        return writer.bytes.array
    }

    /// Appends the deterministic encoding.
    package func write(to writer: inout CBORWriter) {
        switch self {
        case .unsigned(let value): writer.unsigned(value)
        case .integer(let value): writer.integer(value)
        case .bytes(let value): writer.byteString(value)
        case .text(let value): writer.text(value)
        case .bool(let value): writer.bool(value)
        case .null: writer.null()
        case .decimal(let mantissa, let exponent): writer.decimal(mantissa: mantissa, exponent: exponent)
        case .array(let values):
            writer.array(values.count)
            for value in values { value.write(to: &writer) }
        case .map(let pairs):
            writer.map(pairs.count)
            let sorted = pairs.map { ($0.key.encoded, $0.value) }.sorted { $0.0.lexicographicallyPrecedes($1.0) }
            for (key, value) in sorted {
                writer.raw(key)
                value.write(to: &writer)
            }
        }
    }

    /// Decodes exactly one value.
    package static func decode(_ bytes: [UInt8]) throws(CBORError) -> CBORValue {
        let result: Result<CBORValue, CBORError> = unsafe bytes.withUnsafeBytes { buffer in
            var reader = unsafe CBORReader(buffer)
            do throws(CBORError) {
                let value = try CBORValue(&reader)
                return reader.isAtEnd ? .success(value) : .failure(CBORError(.trailingBytes, at: reader.offset))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Reads one value.
    package init(_ reader: inout CBORReader) throws(CBORError) { self = try Self.read(&reader, depth: 0) }

    private static func read(_ reader: inout CBORReader, depth: Int) throws(CBORError) -> CBORValue {
        guard depth < CBORLimits.maxDepth else { throw CBORError(.tooDeep, at: reader.offset) }
        switch try reader.type() {
        case .unsigned: return .unsigned(try reader.unsigned())
        case .negative: return .integer(try reader.integer())
        case .bytes: return .bytes(unsafe Array(reader.slice(try reader.byteString())))
        case .text: return .text(unsafe String(decoding: reader.slice(try reader.text()), as: UTF8.self))
        case .bool: return .bool(try reader.bool())
        case .null:
            try reader.null()
            return .null
        case .tag:
            let decimal = try reader.decimal()
            return .decimal(mantissa: decimal.mantissa, exponent: decimal.exponent)
        case .float: throw CBORError(.unsupported, at: reader.offset)
        case .array:
            var values: [CBORValue] = []
            for _ in 0..<(try reader.array()) { values.append(try read(&reader, depth: depth + 1)) }
            return .array(values)
        case .map:
            var pairs: [CBORPair] = []
            var order = CBORReader.KeyOrder()
            for _ in 0..<(try reader.map()) {
                let start = reader.offset
                let key = try read(&reader, depth: depth + 1)
                try order.check(start..<reader.offset, in: reader)
                pairs.append(CBORPair(key, try read(&reader, depth: depth + 1)))
            }
            return .map(pairs)
        }
    }
}

extension CBORValue {
    /// The value under a small integer key.
    package subscript(_ key: UInt64) -> CBORValue? {
        guard case .map(let pairs) = self else { return nil }
        return pairs.first { $0.key == .unsigned(key) }?.value
    }

    /// The value under a text key.
    package subscript(_ key: String) -> CBORValue? {
        guard case .map(let pairs) = self else { return nil }
        return pairs.first { $0.key == .text(key) }?.value
    }

    /// The text of a text string.
    package var text: String? {
        if case .text(let text) = self { return text }
        return nil
    }

    /// An integer of 64 bits.
    package var int: Int64? {
        switch self {
        case .unsigned(let value): Int64(exactly: value)
        case .integer(let value): value
        default: nil
        }
    }

    /// An unsigned integer.
    package var uint: UInt64? {
        if case .unsigned(let value) = self { return value }
        return nil
    }

    /// The items of an array.
    package var items: [CBORValue]? {
        if case .array(let values) = self { return values }
        return nil
    }

    /// The pairs of a map.
    package var pairs: [CBORPair]? {
        if case .map(let pairs) = self { return pairs }
        return nil
    }

    /// A map with small integer keys; nil values are left out.
    package static func record(_ fields: KeyValuePairs<UInt64, CBORValue?>) -> CBORValue {
        .map(fields.compactMap { key, value in value.map { CBORPair(.unsigned(key), $0) } })
    }

    /// An integer of either sign.
    package static func number(_ value: some BinaryInteger) -> CBORValue {
        value >= 0 ? .unsigned(UInt64(value)) : .integer(Int64(value))
    }
}
