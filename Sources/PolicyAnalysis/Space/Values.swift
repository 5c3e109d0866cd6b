// Values and their sorts as analysis sees them: by name instead of by index, so that the values of two versions of a
// catalog can be compared.

package import PolicyLanguage

/// Text that is equal only byte by byte; Swift's own equality would also unite canonically equivalent texts.
package struct Text: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let bytes: [UInt8]

    package init(_ text: String) { bytes = Array(text.utf8) }

    package var string: String { String(decoding: bytes, as: UTF8.self) }
    package var description: String { string }

    package static func < (left: Text, right: Text) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

/// A value.
package indirect enum Value: Sendable, Hashable {
    case boolean(Bool)
    /// An integer, a decimal in millionths, an instant or a duration in milliseconds.
    case number(Int64)
    case text(Text)
    case enumCase(Text)
    case address(IPAddress)
    /// The id of an entity of the type with this name.
    case reference(type: Text, id: Text)
    case set([Value])
}

/// What kinds of value there are. Enumerations are one sort each by their cases, references by the type's name.
package indirect enum Sort: Sendable, Hashable {
    case boolean
    case integer, decimal, instant, duration
    case text
    case enumeration
    case address
    case reference(Text)
    case set(of: Sort)

    init(_ type: ValueType, _ catalog: Catalog) {
        switch type {
        case .boolean: self = .boolean
        case .integer: self = .integer
        case .decimal: self = .decimal
        case .string: self = .text
        case .enumeration: self = .enumeration
        case .datetime: self = .instant
        case .duration: self = .duration
        case .address: self = .address
        case .reference(let entity): self = .reference(Text(catalog.entities[entity].name))
        case .set(let element): self = .set(of: Sort(element, catalog))
        }
    }

    var isNumber: Bool {
        switch self {
        case .integer, .decimal, .instant, .duration: true
        default: false
        }
    }
}

extension Value {
    /// A constant of a policy by name.
    /// - Parameter type: what the catalog calls its type; tells the names of an enumeration's cases.
    init?(_ constant: Constant, _ type: ValueType, _ catalog: Catalog) {
        switch (constant, type) {
        case (.boolean(let truth), _): self = .boolean(truth)
        case (.integer(let value), _), (.decimal(let value), _), (.datetime(let value), _), (.duration(let value), _):
            self = .number(value)
        case (.string(let text), _): self = .text(Text(text))
        case (.enumeration(let index), .enumeration(let enumeration)):
            guard enumeration.cases.indices.contains(index) else { return nil }
            self = .enumCase(Text(enumeration.cases[index]))
        case (.address(let address), _): self = .address(address)
        case (.reference(let entity, let id), _):
            guard catalog.entities.indices.contains(entity) else { return nil }
            self = .reference(type: Text(catalog.entities[entity].name), id: Text(id))
        case (.set(let constants), .set(let element)):
            var values: [Value] = []
            for constant in constants {
                guard let value = Value(constant, element, catalog) else { return nil }
                if !values.contains(value) { values.append(value) }
            }
            self = .set(values)
        default: return nil
        }
    }

    /// The same value in a catalog's indices; nil when the catalog does not know it.
    func constant(_ type: ValueType, _ catalog: Catalog) -> Constant? {
        switch (self, type) {
        case (.boolean(let truth), .boolean): return .boolean(truth)
        case (.number(let value), .integer(let range)): return range?.contains(value) ?? true ? .integer(value) : nil
        case (.number(let value), .decimal): return .decimal(value)
        case (.number(let value), .datetime): return .datetime(value)
        case (.number(let value), .duration): return .duration(value)
        case (.text(let text), .string): return .string(text.string)
        case (.enumCase(let name), .enumeration(let enumeration)):
            return enumeration.cases.firstIndex { Text($0) == name }.map { .enumeration($0) }
        case (.address(let address), .address): return .address(address)
        case (.reference(let name, let id), .reference(let entity)):
            return Text(catalog.entities[entity].name) == name ? .reference(entity: entity, id: id.string) : nil
        case (.set(let values), .set(let element)):
            var constants: [Constant] = []
            for value in values {
                guard let constant = value.constant(element, catalog) else { return nil }
                constants.append(constant)
            }
            return .set(constants)
        default: return nil
        }
    }
}

extension IPAddress {
    /// The address as a number of 128 bits, moved down so that it fits a signed one in the same order.
    var ordinal: Int128 {
        Int128(truncatingIfNeeded: UInt128(high) << 64 | UInt128(low)) ^ Int128.min
    }

    init(ordinal: Int128) {
        let bits = UInt128(truncatingIfNeeded: ordinal ^ Int128.min)
        self.init(high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
    }
}
