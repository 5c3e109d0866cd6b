// Instants that lie in some schedules and not in others.

import PolicyLanguage

enum ScheduleSearch {
    /// An instant between two others (both included), in and out of schedules as wanted; nil when there is none.
    /// Exact: between two changes of any zone's offset, what all schedules say repeats every week.
    static func instant(from low: Int64, to high: Int64, _ wanted: [(schedule: Schedule, isInside: Bool)]) -> Int64? {
        var instant = low
        var stretch = low
        var weekEnd = saturating(low, ScheduleTime.week)
        var change = nextChange(after: low, wanted)
        while instant <= high {
            let states = wanted.map { $0.schedule.state(at: instant) }
            if zip(states, wanted).allSatisfy({ $0.isInside == $1.isInside }) { return instant }
            let next = states.map(\.until).min() ?? .max
            if next == .max || next > high { return nil }
            instant = next
            if instant >= change {
                stretch = instant
                weekEnd = saturating(stretch, ScheduleTime.week)
                change = nextChange(after: instant, wanted)
            } else if instant >= weekEnd {
                // A whole week of this stretch has been seen; the rest of it says the same.
                if change == .max { return nil }
                instant = change
                stretch = instant
                weekEnd = saturating(stretch, ScheduleTime.week)
                change = nextChange(after: instant, wanted)
            }
        }
        return nil
    }

    private static func saturating(_ instant: Int64, _ length: Int64) -> Int64 {
        let (sum, overflowed) = instant.addingReportingOverflow(length)
        return overflowed ? .max : sum
    }

    /// The first instant after this one at which some zone's offset changes.
    private static func nextChange(after instant: Int64, _ wanted: [(schedule: Schedule, isInside: Bool)]) -> Int64 {
        wanted.map { one -> Int64 in
            let zone = one.schedule.zone
            let span = zone.span(at: instant)
            return span + 1 < zone.starts.count ? zone.starts[span + 1] : .max
        }.min() ?? .max
    }
}
