// Properties of a question, straight from the frame, into records.

import CBOR
import DecisionEngine
import Memory
import PolicyLanguage

/// Fills a record from an encoded map of properties that was walked over before. Unknown names and attributes that a
/// request may not fill are passed over; a value of the wrong type marks its slot.
func fillRecord(
    _ builder: inout RecordBuilder, from properties: Range<Int>, in frame: CBORReader, plan: RecordPlan
) throws(CBORError) {
    if properties.isEmpty { return }
    var reader = frame.reader(of: properties)
    let count = try reader.map()
    for _ in 0..<count {
        guard reader.isNext(major: 3) else {
            try reader.skip()
            try reader.skip()
            continue
        }
        let name = try reader.knownText()
        let start = reader.offset
        guard let slot = unsafe plan.names[reader.slice(name)], plan[slot].isFromRequest,
            try reader.type() != .null
        else {
            try reader.skip()
            continue
        }
        if let payload = shortPayload(&reader, plan[slot], &builder) ?? payload(&reader, plan[slot], &builder) {
            builder.set(slot, payload: payload)
        } else {
            builder.setMalformed(slot)
            try reader.move(to: start)
            try reader.skip()
        }
    }
}

/// The payload of the values that nearly all questions hold: small numbers, truth values, short texts of ASCII. Nil for
/// any other, with nothing read.
@inline(__always)
private func shortPayload(
    _ reader: inout CBORReader, _ plan: borrowing SlotPlan, _ builder: inout RecordBuilder
) -> UInt64? {
    if plan.isSet { return nil }
    switch plan.kind {
    case .integer:
        guard plan.low <= 0, plan.high >= 23, let value = reader.smallUnsigned() else { return nil }
        return UInt64(value)
    case .boolean: return reader.shortBool().map { $0 ? 1 : 0 }
    case .enumeration:
        guard let cases = plan.cases, let text = reader.shortText() else { return nil }
        guard let index = unsafe cases[reader.slice(text)] else {
            reader.unread(text)
            return nil
        }
        return UInt64(index)
    case .string, .reference:
        guard let text = reader.shortText() else { return nil }
        return unsafe builder.append(string: reader.slice(text))
    default: return nil
    }
}

/// A value's payload; nil when it is not of the plan's type.
private func payload(
    _ reader: inout CBORReader, _ plan: SlotPlan, _ builder: inout RecordBuilder
) -> UInt64? {
    do throws(CBORError) {
        if plan.isSet { return try setPayload(&reader, plan, &builder) }
        return try scalarPayload(&reader, plan, &builder)
    } catch {
        return nil
    }
}

private func setPayload(
    _ reader: inout CBORReader, _ plan: SlotPlan, _ builder: inout RecordBuilder
) throws(CBORError) -> UInt64? {
    guard try reader.type() == .array else { return nil }
    let count = try reader.array()
    var elements: [UInt64] = []
    elements.reserveCapacity(count)
    var seenTexts = Set<String>()
    for _ in 0..<count {
        let start = reader.offset
        guard let payload = try scalarPayload(&reader, plan, &builder) else { return nil }
        // A set holds a value once: `count( )` must not be swayed by repetition.
        if plan.kind == .string || plan.kind == .reference || plan.kind == .address {
            let text = unsafe String(decoding: reader.slice(start..<reader.offset), as: UTF8.self)
            if !seenTexts.insert(text).inserted { continue }
        } else if elements.contains(payload) {
            continue
        }
        elements.append(payload)
    }
    return builder.append(set: &elements, areStrings: plan.kind == .string || plan.kind == .reference)
}

private func scalarPayload(
    _ reader: inout CBORReader, _ plan: SlotPlan, _ builder: inout RecordBuilder
) throws(CBORError) -> UInt64? {
    let type = try reader.type()
    switch plan.kind {
    case .boolean:
        guard type == .bool else { return nil }
        return try reader.bool() ? 1 : 0
    case .integer:
        guard type == .unsigned || type == .negative else { return nil }
        let value = try reader.integer()
        return value >= plan.low && value <= plan.high ? UInt64(bitPattern: value) : nil
    case .duration:
        guard type == .unsigned || type == .negative else { return nil }
        let (value, overflowed) = try reader.integer().multipliedReportingOverflow(by: 1000)
        return overflowed ? nil : UInt64(bitPattern: value)
    case .decimal: return try decimalPayload(&reader, type)
    case .string, .reference:
        guard type == .text else { return nil }
        let range = try reader.knownText()
        let bytes = unsafe reader.slice(range)
        // NFC only touches what is not ASCII; ids are compared as they are.
        if plan.kind == .string, unsafe bytes.contains(where: { $0 >= 0x80 }) {
            return builder.append(string: UnicodeText.normalized(unsafe String(decoding: bytes, as: UTF8.self)))
        }
        return unsafe builder.append(string: bytes)
    case .enumeration:
        guard type == .text else { return nil }
        let range = try reader.knownText()
        return unsafe plan.cases?[reader.slice(range)].map { UInt64($0) }
    case .datetime:
        guard type == .text else { return nil }
        let text = unsafe String(decoding: reader.slice(try reader.knownText()), as: UTF8.self)
        return Instant.parse(text).map { UInt64(bitPattern: $0) }
    case .address:
        guard type == .text else { return nil }
        let bytes = unsafe reader.slice(try reader.knownText())
        return unsafe IPAddress(bytes).map { builder.append(address: $0) }
    }
}

private func decimalPayload(_ reader: inout CBORReader, _ type: CBORType) throws(CBORError) -> UInt64? {
    var mantissa: Int64
    var exponent: Int64 = 0
    switch type {
    case .unsigned, .negative: mantissa = try reader.integer()
    case .tag: (mantissa, exponent) = try reader.decimal()
    default: return nil
    }
    guard exponent >= -24, exponent <= 24 else { return mantissa == 0 ? 0 : nil }
    var power = exponent + 6
    while power > 0 {
        let (product, overflowed) = mantissa.multipliedReportingOverflow(by: 10)
        if overflowed { return nil }
        mantissa = product
        power -= 1
    }
    while power < 0 {
        if mantissa % 10 != 0 { return nil }
        mantissa /= 10
        power += 1
    }
    return UInt64(bitPattern: mantissa)
}
