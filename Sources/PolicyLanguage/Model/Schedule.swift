// Schedules: `now in "Mon-Fri 08:00-18:00 Europe/Berlin"`. Times are those of the zone's clock, so a window moves with
// daylight saving; an hour that the clock skips is in no window, one that it repeats is in it twice.

/// Windows of a week on the clock of a zone.
package struct Schedule: Sendable, Hashable {
    /// As it was written.
    package var text: String
    package var zone: TimeZoneRules
    /// Minutes since Monday 00:00, ascending, apart from one another, within 0...10,080.
    package var windows: [Range<Int32>]

    /// Minutes of a week.
    package static let week: Int32 = 7 * 24 * 60

    package init(text: String, zone: TimeZoneRules, windows: [Range<Int32>]) {
        self.text = text
        self.zone = zone
        self.windows = windows
    }

    /// Whether an instant (ms since the epoch) is in a window, and the first instant after it at which that could change.
    package func state(at instant: Int64) -> (isInside: Bool, until: Int64) {
        // Hundreds of millions of years from the ends of time nobody works by the clock, and nothing overflows.
        let instant = min(max(instant, .min / 2), .max / 2)
        let span = zone.span(at: instant)
        let offset = Int64(zone.offsets[span]) * 1000
        let end = span + 1 < zone.starts.count ? zone.starts[span + 1] : Int64.max
        let week = ScheduleTime.week
        let position = ScheduleTime.position(of: instant, east: offset)
        var isInside = false
        var edge = Int64.max
        for window in windows {
            let start = Int64(window.lowerBound) * 60_000
            let stop = Int64(window.upperBound) * 60_000
            if position >= start && position < stop { isInside = true }
            for bound in [start, stop, start + week] where bound > position && bound < edge { edge = bound }
        }
        if windows == [0..<Self.week] { edge = .max }
        return (isInside, edge == .max ? .max : min(end, instant &+ (edge - position)))
    }
}

/// The week as schedules see it.
package enum ScheduleTime {
    /// Milliseconds of a week.
    package static let week: Int64 = 7 * 86_400_000

    /// Milliseconds since Monday 00:00 on a clock that is `east` milliseconds ahead of UTC.
    package static func position(of instant: Int64, east: Int64) -> Int64 {
        // 1970-01-05 was a Monday. Instants far outside of any calendar wrap instead of trapping.
        let local = instant &+ east &- 4 * 86_400_000
        return ((local % week) + week) % week
    }
}

/// Why a text is no schedule.
package struct ScheduleError: Error, Sendable, Hashable {
    package var message: String
    package var help: String
    /// Bytes of the text that are wrong; nil is all of it.
    package var place: Range<Int>?
}

extension Schedule {
    /// Reads `Mon-Thu 08:00-18:00, Fri 08:00-14:00 Europe/Berlin`: days (all when none is named), times (the whole day
    /// when none is given; past midnight belongs to the day it starts on), the zone last.
    package init(parsing text: String) throws(ScheduleError) {
        var zones: [String: TimeZoneRules] = [:]
        try self.init(parsing: text, zones: &zones)
    }

    /// The same; `zones` keeps what was read for other schedules.
    init(parsing text: String, zones: inout [String: TimeZoneRules]) throws(ScheduleError) {
        let example = "write it as \"Mon-Fri 08:00-18:00 Europe/Berlin\""
        var words = text.utf8.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: ",") }
        func place(_ word: Substring.UTF8View) -> Range<Int> {
            let start = text.utf8.distance(from: text.startIndex, to: word.startIndex)
            return start..<start + word.count
        }
        guard let last = words.popLast() else {
            throw ScheduleError(message: "this schedule is empty", help: example)
        }
        let zoneName = String(Substring(last))
        var windows: [Range<Int32>] = []
        var days: [Int32] = []
        var hasTimes = false
        func close() {
            guard !hasTimes, !days.isEmpty else { return }
            windows += days.map { $0 * 1440..<($0 + 1) * 1440 }
        }
        for piece in words {
            let word = String(Substring(piece))
            if let more = Self.days(word) {
                if hasTimes { days = [] }
                hasTimes = false
                days += more.filter { !days.contains($0) }
            } else if let times = Self.times(word) {
                hasTimes = true
                for day in days.isEmpty ? Array(0..<7) : days { windows += Self.windows(day, times) }
            } else {
                throw ScheduleError(
                    message: "`\(word)` is neither days nor times", help: example, place: place(piece))
            }
        }
        close()
        if words.isEmpty { windows = [0..<Self.week] }
        if Self.days(zoneName) != nil || Self.times(zoneName) != nil {
            throw ScheduleError(message: "this schedule names no time zone", help: example)
        }
        guard let zone = zones[zoneName] ?? TimeZoneRules.load(zoneName) else {
            let near = NearestName.find(zoneName, among: TimeZoneRules.known)
            throw ScheduleError(
                message: "no time zone `\(zoneName)` in this system's database",
                help: near.map { "did you mean `\($0)`?" }
                    ?? "use a name of the IANA time zone database; is tzdata installed?", place: place(last))
        }
        zones[zoneName] = zone
        self.init(text: text, zone: zone, windows: Self.joined(windows))
    }

    private static let dayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

    private static func days(_ word: String) -> [Int32]? {
        let ends = word.lowercased().split(separator: "-", omittingEmptySubsequences: false).map {
            dayNames.firstIndex(of: String($0))
        }
        if ends.count == 1, let day = ends[0] { return [Int32(day)] }
        guard ends.count == 2, let first = ends[0], let last = ends[1] else { return nil }
        let length = (last - first + 7) % 7
        return (0...length).map { Int32((first + $0) % 7) }
    }

    /// Minutes of a day from and to.
    private static func times(_ word: String) -> (from: Int32, to: Int32)? {
        let ends = word.split(separator: "-", omittingEmptySubsequences: false).map { clock(String($0)) }
        guard ends.count == 2, let from = ends[0], let to = ends[1], from < 1440, from != to else { return nil }
        return (from, to)
    }

    private static func clock(_ word: String) -> Int32? {
        let parts = word.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == 2, parts[1].utf8.count == 2,
            word.utf8.allSatisfy({ $0 == UInt8(ascii: ":") || (0x30...0x39).contains($0) }),
            let hours = Int32(parts[0]),
            let minutes = Int32(parts[1]), minutes < 60, hours < 24 || hours == 24 && minutes == 0
        else { return nil }
        return hours * 60 + minutes
    }

    private static func windows(_ day: Int32, _ times: (from: Int32, to: Int32)) -> [Range<Int32>] {
        let start = day * 1440 + times.from
        let end = day * 1440 + times.to + (times.to < times.from ? 1440 : 0)
        return end <= week ? [start..<end] : [start..<week, 0..<end - week]
    }

    private static func joined(_ windows: [Range<Int32>]) -> [Range<Int32>] {
        var joined: [Range<Int32>] = []
        for window in windows.sorted(by: { ($0.lowerBound, $0.upperBound) < ($1.lowerBound, $1.upperBound) }) {
            if let last = joined.last, window.lowerBound <= last.upperBound {
                joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, window.upperBound)
            } else {
                joined.append(window)
            }
        }
        return joined
    }
}
