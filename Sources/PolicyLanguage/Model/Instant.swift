// Instants as RFC 3339 text and as milliseconds since 1970-01-01T00:00:00Z.

/// Reads and writes RFC 3339 5.6 date-times.
package enum Instant {
    /// Milliseconds since the epoch, or nil when the text is no date-time with an offset. Digits after the
    /// millisecond are dropped; a leap second counts as the second before it.
    package static func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 40 else { return nil }
        func number(_ start: Int, _ count: Int) -> Int64? {
            var value: Int64 = 0
            guard start + count <= bytes.count else { return nil }
            for byte in bytes[start..<start + count] {
                guard (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            return value
        }
        func isAt(_ index: Int, _ character: Unicode.Scalar) -> Bool { bytes[index] == UInt8(ascii: character) }
        guard let year = number(0, 4), isAt(4, "-"), let month = number(5, 2), isAt(7, "-"), let day = number(8, 2),
            isAt(10, "T") || isAt(10, "t") || isAt(10, " "), let hour = number(11, 2), isAt(13, ":"),
            let minute = number(14, 2), isAt(16, ":"), let second = number(17, 2),
            (1...12).contains(month), day >= 1, day <= daysIn(month: month, year: year), hour <= 23, minute <= 59,
            second <= 60
        else { return nil }
        var position = 19
        var milliseconds: Int64 = 0
        if position < bytes.count, isAt(position, ".") {
            position += 1
            var digits = 0
            while position < bytes.count, let digit = number(position, 1) {
                if digits < 3 { milliseconds = milliseconds * 10 + digit }
                digits += 1
                position += 1
            }
            if digits == 0 { return nil }
            for _ in min(digits, 3)..<3 { milliseconds *= 10 }
        }
        guard position < bytes.count else { return nil }
        var offset: Int64 = 0
        if isAt(position, "Z") || isAt(position, "z") {
            guard position + 1 == bytes.count else { return nil }
        } else {
            guard isAt(position, "+") || isAt(position, "-"), position + 6 == bytes.count,
                let hours = number(position + 1, 2), isAt(position + 3, ":"), let minutes = number(position + 4, 2),
                hours <= 23, minutes <= 59
            else { return nil }
            offset = (hours * 60 + minutes) * 60_000 * (isAt(position, "-") ? -1 : 1)
        }
        let days = daysFromCivil(year: year, month: month, day: day)
        let clock = (hour * 3600 + minute * 60 + min(second, 59)) * 1000 + milliseconds
        return days * 86_400_000 + clock - offset
    }

    /// RFC 3339 in UTC with milliseconds when there are any: `2026-01-05T09:00:00Z`.
    package static func format(_ milliseconds: Int64) -> String { String(decoding: utf8(milliseconds), as: UTF8.self) }

    /// The same as bytes.
    package static func utf8(_ milliseconds: Int64) -> [UInt8] {
        let (days, clock) = floorDivide(milliseconds, 86_400_000)
        let (year, month, day) = civilFromDays(days)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        func put(_ value: Int64, _ width: Int, _ mark: Unicode.Scalar) {
            var unit: Int64 = 1
            for _ in 1..<width { unit *= 10 }
            while unit > 0 {
                text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / unit % 10))
                unit /= 10
            }
            text.append(UInt8(ascii: mark))
        }
        // Years of another form than four digits are no instants of this language; they are written all the same.
        if (0...9_999).contains(year) {
            put(year, 4, "-")
        } else {
            text += Array("\(year)-".utf8)
        }
        put(month, 2, "-")
        put(day, 2, "T")
        put(clock / 3_600_000, 2, ":")
        put(clock / 60_000 % 60, 2, ":")
        if clock % 1000 == 0 {
            put(clock / 1000 % 60, 2, "Z")
        } else {
            put(clock / 1000 % 60, 2, ".")
            put(clock % 1000, 3, "Z")
        }
        return text
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let quotient = value / divisor
        let remainder = value % divisor
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    static func daysIn(month: Int64, year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since the epoch in the proleptic Gregorian calendar, counted in eras of 400 years from 1 March.
    static func daysFromCivil(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = floorDivide(shifted, 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civilFromDays(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let civilMonth = month < 10 ? month + 3 : month - 9
        return (era * 400 + yearOfEra + (civilMonth <= 2 ? 1 : 0), civilMonth, day)
    }
}
