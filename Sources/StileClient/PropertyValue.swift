// Values of properties, as they stand in questions and obligations.

/// The value of a property. Literals of integers, texts, booleans, arrays, dictionaries and `nil` can be written as
/// they are; binary fractions cannot, because they do not say what was meant: 12.50 is `.decimal(1250, -2)`.
public enum PropertyValue: Sendable, Hashable {
    /// Nothing.
    case null
    /// true or false.
    case bool(Bool)
    /// A whole number.
    case integer(Int64)
    /// mantissa × 10^exponent, exactly.
    case decimal(_ mantissa: Int64, _ exponent: Int32)
    /// A text, a name, an instant, an address: what it is, the catalog says.
    case text(String)
    /// Values in an order.
    case list([PropertyValue])
    /// Values by name.
    case object([String: PropertyValue])
}

extension PropertyValue: ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
    /// A text.
    public init(stringLiteral value: String) { self = .text(value) }
}

extension PropertyValue: ExpressibleByIntegerLiteral {
    /// An integer.
    public init(integerLiteral value: Int64) { self = .integer(value) }
}

extension PropertyValue: ExpressibleByBooleanLiteral {
    /// A truth value.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
}

extension PropertyValue: ExpressibleByNilLiteral {
    /// Null.
    public init(nilLiteral: ()) { self = .null }
}

extension PropertyValue: ExpressibleByArrayLiteral {
    /// A list.
    public init(arrayLiteral elements: PropertyValue...) { self = .list(elements) }
}

extension PropertyValue: ExpressibleByDictionaryLiteral {
    /// A name that is given twice has the later value.
    public init(dictionaryLiteral elements: (String, PropertyValue)...) {
        self = .object(Dictionary(elements) { _, later in later })
    }
}
