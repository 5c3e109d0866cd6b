// IPv4 and IPv6 addresses and networks as one 128-bit space (RFC 4291 2.5.5.2: IPv4 lives at ::ffff:0:0/96).

/// An address; IPv4 is held in its IPv4-mapped form, so that one comparison serves both.
package struct IPAddress: Sendable, Hashable, Comparable {
    /// The 128 bits, most significant first.
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// True for an IPv4 (mapped) address.
    package var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }

    /// Reads `192.0.2.7` (four decimal parts, no leading zeros) or the forms of RFC 4291 2.2 without a zone.
    /// - Returns: nil when the text is neither.
    package init?(_ text: some Collection<UInt8>) {
        if let four = Self.parseIPv4(text) {
            self.init(high: 0, low: 0xffff_0000_0000 | UInt64(four))
        } else if let six = Self.parseIPv6(text) {
            self = six
        } else {
            return nil
        }
    }

    package init?(_ text: String) { self.init(Array(text.utf8)) }

    private static func parseIPv4(_ text: some Collection<UInt8>) -> UInt32? {
        var value: UInt32 = 0
        var parts = 0
        for part in text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...3).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            if part.count > 1, part.first == UInt8(ascii: "0") { return nil }
            let number = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - 0x30) }
            if number > 255 { return nil }
            value = value << 8 | number
            parts += 1
            if parts > 4 { return nil }
        }
        return parts == 4 ? value : nil
    }

    private static func parseIPv6(_ text: some Collection<UInt8>) -> IPAddress? {
        guard text.count >= 2, text.count <= 45, text.contains(UInt8(ascii: ":")) else { return nil }
        let fields = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard fields.count >= 3, fields.count <= 9 else { return nil }
        var groups: [UInt16] = []
        var gap: Int? = nil
        for (index, field) in fields.enumerated() {
            if field.isEmpty {
                // "::" splits into empty fields: two at an edge, one inside.
                if index == 0 {
                    guard fields[1].isEmpty else { return nil }
                } else if index == fields.count - 1 {
                    guard fields[index - 1].isEmpty else { return nil }
                } else {
                    guard gap == nil else { return nil }
                    gap = groups.count
                }
                continue
            }
            if index == fields.count - 1, field.contains(UInt8(ascii: ".")) {
                guard let four = parseIPv4(field) else { return nil }
                groups.append(UInt16(truncatingIfNeeded: four >> 16))
                groups.append(UInt16(truncatingIfNeeded: four))
                continue
            }
            guard field.count <= 4 else { return nil }
            var value: UInt16 = 0
            for byte in field {
                guard let digit = hexDigit(byte) else { return nil }
                value = value << 4 | digit
            }
            groups.append(value)
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        func word(_ range: Range<Int>) -> UInt64 { groups[range].reduce(0) { $0 << 16 | UInt64($1) } }
        return IPAddress(high: word(0..<4), low: word(4..<8))
    }

    private static func hexDigit(_ byte: UInt8) -> UInt16? {
        switch byte {
        case 0x30...0x39: UInt16(byte - 0x30)
        case 0x41...0x46: UInt16(byte - 0x41 + 10)
        case 0x61...0x66: UInt16(byte - 0x61 + 10)
        default: nil
        }
    }
}

extension IPAddress: CustomStringConvertible {
    /// Dotted for IPv4; RFC 5952 (longest run of zeros shortened, lower case) for IPv6.
    package var description: String {
        if isIPv4 {
            return [UInt64(24), 16, 8, 0].map { String((low >> $0) & 0xff) }.joined(separator: ".")
        }
        let groups = (0..<8).map { (index: UInt64) -> UInt64 in
            let word = index < 4 ? high : low
            return (word >> (48 - 16 * (index & 3))) & 0xffff
        }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > best.count, end - start > 1 { best = start..<end }
            start = max(end, start + 1)
        }
        func text(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}

/// A network: an address and how many of its 128 bits count (an IPv4 prefix of n is 96 + n).
package struct IPNetwork: Sendable, Hashable {
    package var address: IPAddress
    /// 0 to 128.
    package var prefix: Int

    package init(address: IPAddress, prefix: Int) {
        self.prefix = prefix
        let mask = Self.mask(prefix)
        self.address = IPAddress(high: address.high & mask.high, low: address.low & mask.low)
    }

    /// The mask with the first `prefix` bits set.
    package static func mask(_ prefix: Int) -> IPAddress {
        switch prefix {
        case ...0: IPAddress(high: 0, low: 0)
        case 1..<64: IPAddress(high: ~UInt64(0) << UInt64(64 - prefix), low: 0)
        case 64: IPAddress(high: ~0, low: 0)
        case 65..<128: IPAddress(high: ~0, low: ~UInt64(0) << UInt64(128 - prefix))
        default: IPAddress(high: ~0, low: ~0)
        }
    }

    /// True when the address lies in the network.
    package func contains(_ other: IPAddress) -> Bool {
        let mask = Self.mask(prefix)
        return other.high & mask.high == address.high && other.low & mask.low == address.low
    }
}

extension IPNetwork: CustomStringConvertible {
    package var description: String {
        address.isIPv4 && prefix >= 96 ? "\(address)/\(prefix - 96)" : "\(address)/\(prefix)"
    }
}
