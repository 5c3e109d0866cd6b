// A time zone's offsets from UTC, read once when a policy is checked (RFC 9636: TZif; IEEE Std 1003.1: the TZ string in
// its footer). The checked policy carries them, so that a decision depends on nothing outside of it.

import Glibc

/// The offsets of one zone, from the beginning of time to the year 2200; after that the last one stays.
package struct TimeZoneRules: Sendable, Hashable {
    /// `Europe/Berlin`.
    package var name: String
    /// First instant of each span, ms since the epoch, ascending; the first is `Int64.min`.
    package var starts: [Int64]
    /// Seconds east of UTC in each span.
    package var offsets: [Int32]

    package init(name: String, starts: [Int64], offsets: [Int32]) {
        self.name = name
        self.starts = starts
        self.offsets = offsets
    }

    /// No offset at any time.
    package static let utc = TimeZoneRules(name: "UTC", starts: [.min], offsets: [0])

    /// The span that an instant lies in.
    package func span(at instant: Int64) -> Int {
        var low = 0
        var high = starts.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if starts[middle] <= instant { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// The rules of a zone of the system's database; nil when it has none of that name.
    package static func load(_ name: String) -> TimeZoneRules? {
        if name == "UTC" { return utc }
        let isName = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || [UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "/")].contains($0)
        }
        guard isName, !name.isEmpty, name.utf8.count <= 64, !name.hasPrefix("/") else { return nil }
        guard let bytes = read("\(directory)/\(name)") else { return nil }
        return TimeZoneRules(name: name, tzif: bytes)
    }

    /// Names that the system knows, for advice.
    package static var known: [String] {
        guard let bytes = read("\(directory)/tzdata.zi") ?? read("\(directory)/zone.tab") else { return [] }
        var names: Set<String> = ["UTC"]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let fields = line.split { $0 == " " || $0 == "\t" }
            if line.hasPrefix("Z "), fields.count > 1 {
                names.insert(String(fields[1]))
            } else if line.hasPrefix("L "), fields.count > 2 {
                names.insert(String(fields[2]))
            } else if !line.hasPrefix("#"), fields.count > 2, fields[2].contains("/") {
                names.insert(String(fields[2]))
            }
        }
        return names.sorted()
    }

    private static var directory: String {
        unsafe getenv("TZDIR").map { unsafe String(cString: $0) } ?? "/usr/share/zoneinfo"
    }

    /// A small file whole; nil when there is none.
    private static func read(_ path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < 1 << 20 {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            guard count >= 0 else { return nil }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
        return nil
    }
}

// MARK: TZif (RFC 9636, section 3)

extension TimeZoneRules {
    /// Reads a TZif file of version 2 or later; nil when it is none.
    init?(name: String, tzif bytes: [UInt8]) {
        var reader = TZifReader(bytes: bytes)
        guard let first = reader.header(), first.version >= 2, reader.skip(first.bytes(timeSize: 4)),
            let header = reader.header(), header.typeCount > 0
        else { return nil }
        var transitions: [Int64] = []
        for _ in 0..<header.timeCount { transitions.append(reader.number(8)) }
        var kinds: [Int] = []
        for _ in 0..<header.timeCount { kinds.append(Int(reader.number(1) & 0xff)) }
        var offsets: [Int32] = []
        for _ in 0..<header.typeCount {
            offsets.append(Int32(truncatingIfNeeded: reader.number(4)))
            _ = reader.number(2)
        }
        _ = reader.skip(header.charCount + header.leapCount * 12 + header.isStdCount + header.isUTCount)
        guard !reader.failed, kinds.allSatisfy({ $0 < offsets.count }) else { return nil }
        self.init(name: name, starts: [.min], offsets: [offsets[0]])
        for (seconds, kind) in zip(transitions, kinds) {
            let (instant, overflowed) = seconds.multipliedReportingOverflow(by: 1000)
            if !overflowed { append(instant, offsets[kind]) }
        }
        if let rule = reader.footer().flatMap({ DaylightRule($0) }) { extend(by: rule) }
    }

    private mutating func append(_ instant: Int64, _ offset: Int32) {
        guard let last = starts.last, offset != offsets.last else { return }
        if instant <= last {
            offsets[offsets.count - 1] = offset
        } else {
            starts.append(instant)
            offsets.append(offset)
        }
    }

    /// Adds the changes that the footer's rule makes after the last one listed, up to 2200.
    private mutating func extend(by rule: DaylightRule) {
        let lastListed = starts.last ?? .min
        guard let daylight = rule.daylight else {
            if offsets.last != rule.standard { append(max(lastListed, 0) + 1, rule.standard) }
            return
        }
        var changes: [(instant: Int64, offset: Int32)] = []
        for year in Int64(1970)...2200 {
            // A change's clock reads the time of before the change.
            changes.append(((daylight.start.seconds(in: year) - Int64(rule.standard)) * 1000, daylight.offset))
            changes.append(((daylight.end.seconds(in: year) - Int64(daylight.offset)) * 1000, rule.standard))
        }
        for change in changes.sorted(by: { $0.instant < $1.instant }) where change.instant > lastListed {
            append(change.instant, change.offset)
        }
    }
}

private struct TZifReader {
    struct Header {
        var version: Int
        var isUTCount, isStdCount, leapCount, timeCount, typeCount, charCount: Int

        func bytes(timeSize: Int) -> Int {
            timeCount * (timeSize + 1) + typeCount * 6 + charCount + leapCount * (timeSize + 4) + isStdCount
                + isUTCount
        }
    }

    let bytes: [UInt8]
    var position = 0
    var failed = false

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func number(_ size: Int) -> Int64 {
        guard bytes.count - position >= size else {
            failed = true
            return 0
        }
        var value: UInt64 = size < 8 && size > 1 && bytes[position] & 0x80 != 0 ? .max : 0
        for _ in 0..<size {
            value = value << 8 | UInt64(bytes[position])
            position += 1
        }
        return Int64(bitPattern: value)
    }

    mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, bytes.count - position >= count else {
            failed = true
            return false
        }
        position += count
        return true
    }

    mutating func header() -> Header? {
        guard bytes.count - position >= 44, bytes[position..<position + 4].elementsEqual("TZif".utf8) else {
            return nil
        }
        let version = Int(bytes[position + 4]) - 0x30
        position += 20
        var counts: [Int] = []
        for _ in 0..<6 { counts.append(Int(number(4) & 0xffff_ffff)) }
        guard counts.allSatisfy({ $0 <= bytes.count }) else { return nil }
        return Header(
            version: version, isUTCount: counts[0], isStdCount: counts[1], leapCount: counts[2], timeCount: counts[3],
            typeCount: counts[4], charCount: counts[5])
    }

    mutating func footer() -> String? {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\n") else { return nil }
        let rest = bytes[(position + 1)...].prefix { $0 != UInt8(ascii: "\n") }
        return rest.isEmpty ? nil : String(decoding: rest, as: UTF8.self)
    }
}

/// A TZ string: `CET-1CEST,M3.5.0,M10.5.0/3`.
private struct DaylightRule {
    /// A day of the year and a time on it.
    struct Day {
        enum Form {
            /// 1 to 365, 29 February never counted.
            case julian(Int64)
            /// 0 to 365.
            case zeroBased(Int64)
            /// Month, week (5 is the last), day of the week (0 is Sunday).
            case weekday(Int64, Int64, Int64)
        }
        var form: Form
        /// Seconds after midnight; may be negative or above a day.
        var time: Int64

        /// Seconds since the epoch on the local clock.
        func seconds(in year: Int64) -> Int64 {
            let newYear = Instant.daysFromCivil(year: year, month: 1, day: 1)
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            let day: Int64
            switch form {
            case .julian(let number): day = newYear + number - 1 + (isLeap && number >= 60 ? 1 : 0)
            case .zeroBased(let number): day = newYear + number
            case .weekday(let month, let week, let weekday):
                let first = Instant.daysFromCivil(year: year, month: month, day: 1)
                // 1970-01-01 was a Thursday.
                let firstWeekday = ((first + 4) % 7 + 7) % 7
                var candidate = first + (weekday - firstWeekday + 7) % 7 + (week - 1) * 7
                if candidate >= first + Instant.daysIn(month: month, year: year) { candidate -= 7 }
                day = candidate
            }
            return day * 86_400 + time
        }
    }

    var standard: Int32
    var daylight: (offset: Int32, start: Day, end: Day)?

    init?(_ text: String) {
        var bytes = Array(text.utf8)[...]
        guard Self.skipName(&bytes), let west = Self.time(&bytes, maxHours: 24) else { return nil }
        standard = Int32(-west)
        if bytes.isEmpty { return }
        guard Self.skipName(&bytes) else { return nil }
        var offset = standard + 3600
        if let first = bytes.first, first != UInt8(ascii: ",") {
            guard let west = Self.time(&bytes, maxHours: 24) else { return nil }
            offset = Int32(-west)
        }
        guard let start = Self.day(&bytes), let end = Self.day(&bytes), bytes.isEmpty else { return nil }
        daylight = (offset, start, end)
    }

    private static func skipName(_ bytes: inout ArraySlice<UInt8>) -> Bool {
        if bytes.first == UInt8(ascii: "<") {
            guard let end = bytes.firstIndex(of: UInt8(ascii: ">")) else { return false }
            bytes = bytes[(end + 1)...]
            return true
        }
        let name = bytes.prefix { (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) }
        bytes = bytes.dropFirst(name.count)
        return name.count >= 3
    }

    private static func number(_ bytes: inout ArraySlice<UInt8>) -> Int64? {
        let digits = bytes.prefix { (0x30...0x39).contains($0) }
        guard !digits.isEmpty, digits.count <= 3 else { return nil }
        bytes = bytes.dropFirst(digits.count)
        return digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
    }

    /// Seconds of `[+-]hh[:mm[:ss]]`.
    private static func time(_ bytes: inout ArraySlice<UInt8>, maxHours: Int64) -> Int64? {
        var sign: Int64 = 1
        if let first = bytes.first, first == UInt8(ascii: "+") || first == UInt8(ascii: "-") {
            sign = first == UInt8(ascii: "-") ? -1 : 1
            bytes = bytes.dropFirst()
        }
        guard let hours = number(&bytes), hours <= maxHours else { return nil }
        var seconds = hours * 3600
        for unit in [Int64(60), 1] where bytes.first == UInt8(ascii: ":") {
            bytes = bytes.dropFirst()
            guard let part = number(&bytes), part < 60 else { return nil }
            seconds += part * unit
        }
        return sign * seconds
    }

    private static func day(_ bytes: inout ArraySlice<UInt8>) -> Day? {
        guard bytes.first == UInt8(ascii: ",") else { return nil }
        bytes = bytes.dropFirst()
        let form: Day.Form
        switch bytes.first {
        case UInt8(ascii: "J"):
            bytes = bytes.dropFirst()
            guard let number = number(&bytes), (1...365).contains(number) else { return nil }
            form = .julian(number)
        case UInt8(ascii: "M"):
            bytes = bytes.dropFirst()
            var parts: [Int64] = []
            for index in 0..<3 {
                if index > 0 {
                    guard bytes.first == UInt8(ascii: ".") else { return nil }
                    bytes = bytes.dropFirst()
                }
                guard let part = number(&bytes) else { return nil }
                parts.append(part)
            }
            guard (1...12).contains(parts[0]), (1...5).contains(parts[1]), parts[2] <= 6 else { return nil }
            form = .weekday(parts[0], parts[1], parts[2])
        default:
            guard let number = number(&bytes), number <= 365 else { return nil }
            form = .zeroBased(number)
        }
        var time: Int64 = 7200
        if bytes.first == UInt8(ascii: "/") {
            bytes = bytes.dropFirst()
            guard let given = Self.time(&bytes, maxHours: 167) else { return nil }
            time = given
        }
        return Day(form: form, time: time)
    }
}
