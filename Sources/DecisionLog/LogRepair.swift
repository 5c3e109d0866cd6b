// Mends the tails of a log without writing anything else to it.

/// The repair of a log that nobody writes.
package enum LogRepair {
    /// Mends each lane.
    /// - Returns: by lane what was mended; nil for one that a process is writing.
    package static func run(_ log: String, now: Int64) throws(LogError) -> [(lane: Int, repair: LaneRepair?)] {
        var results: [(lane: Int, repair: LaneRepair?)] = []
        for directory in LaneDirectory.all(in: log) {
            do throws(LogError) {
                let (lane, repair) = try Lane.open(directory, now: now)
                try lane.flush(now: now)
                try lane.sync()
                results.append((directory.number, repair))
            } catch {
                guard error.isLocked else { throw error }
                results.append((directory.number, nil))
            }
        }
        return results
    }
}
