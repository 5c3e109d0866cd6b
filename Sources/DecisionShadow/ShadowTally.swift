// What a candidate's decisions were like beside the live ones: counts, and for each kind of difference some samples. It is
// kept in a file of the tenant's, so that it outlives the daemon and that anybody who may read the store can look.
//
//   tenants/acme/shadow/3.json     of the third candidacy

package import AttributeStore
import DecisionLog
import PolicyLanguage
package import StrictJSON

/// One side of a difference.
package struct ShadowSide: Sendable, Hashable {
    /// `permit`, `deny`, `step_up`.
    package var outcome: String
    /// `forbidden`, `not_permitted`, …
    package var kind: String
    /// The rules that decided, by name, sorted.
    package var rules: [String]
    /// The code of an error.
    package var cause: String?

    var json: JSONValue {
        .object(
            [
                JSONMember("outcome", .string(outcome)), JSONMember("kind", .string(kind)),
                JSONMember("rules", .array(rules.map { .string($0) })),
            ] + (cause.map { [JSONMember("error", .string($0))] } ?? []))
    }

    init(outcome: String, kind: String, rules: [String], cause: String?) {
        self.outcome = outcome
        self.kind = kind
        self.rules = rules
        self.cause = cause
    }

    init?(_ json: JSONValue?) {
        guard let json, let outcome = json["outcome"]?.string, let kind = json["kind"]?.string else { return nil }
        self.init(
            outcome: outcome, kind: kind, rules: (json["rules"]?.array ?? []).compactMap(\.string),
            cause: json["error"]?.string)
    }
}

/// Questions that both versions answered in these ways.
package struct ShadowDifference: Sendable, Hashable {
    /// What differs first: `outcome`, `demand`, `error`, `obligations`.
    package var what: String
    /// The version that decided.
    package var version: UInt64
    package var live: ShadowSide
    package var candidate: ShadowSide
    package var count: UInt64
    /// Instants of the first and the last, ms since the epoch.
    package var first: Int64
    package var last: Int64
    /// A random choice of them: the decision as its log has it, with what is masked left out, and of each rule that could have
    /// spoken under either version what stood in its way.
    package var samples: [JSONValue]

    func isLike(_ other: ShadowDifference) -> Bool {
        what == other.what && version == other.version && live == other.live && candidate == other.candidate
    }
}

/// The tally of a candidacy.
package struct ShadowTally: Sendable, Hashable {
    /// The candidacy's number.
    package var number: UInt64
    /// The candidate.
    package var version: UInt64
    /// Since when, ms since the epoch.
    package var since: Int64
    /// Questions that both versions answered on the same snapshot as of the same instant.
    package var compared: UInt64 = 0
    /// Of these, the ones that were answered alike by other rules,
    package var byOtherRules: UInt64 = 0
    /// and the ones that were answered otherwise.
    package var different: UInt64 = 0
    /// Questions that were not compared, by cause (`ShadowGap`).
    package var gaps: [String: UInt64] = [:]
    /// Kinds of differences, those of most questions first when it was read from a file.
    package var differences: [ShadowDifference] = []
    /// Different ones beyond `maxKinds` kinds.
    package var otherDifferences: UInt64 = 0
    /// `ready`, or why the candidate does not decide.
    package var state = "ready"
    /// When it was written, ms since the epoch.
    package var written: Int64 = 0

    /// Kinds of differences that are told apart.
    package static let maxKinds = 64
    /// Samples of each kind.
    package static let maxSamples = 4

    init(_ candidacy: Candidacy) {
        number = candidacy.number
        version = candidacy.version
        since = candidacy.at
    }

    /// Questions that were not compared.
    package var notCompared: UInt64 { gaps.values.reduce(0, &+) }

    /// One more difference.
    /// - Parameter sample: called when a sample of it is wanted.
    mutating func note(_ difference: ShadowDifference, sample: () -> JSONValue?) {
        different += 1
        guard let index = differences.firstIndex(where: { $0.isLike(difference) }) else {
            guard differences.count < Self.maxKinds else {
                otherDifferences += 1
                return
            }
            differences.append(difference)
            if let sample = sample() { differences[differences.count - 1].samples.append(sample) }
            return
        }
        differences[index].count += 1
        differences[index].last = difference.last
        // Each of them is a sample with the same chance, however many there are.
        let place = UInt64.random(in: 0..<differences[index].count)
        if differences[index].samples.count < Self.maxSamples {
            if let sample = sample() { differences[index].samples.append(sample) }
        } else if place < UInt64(Self.maxSamples), let sample = sample() {
            differences[index].samples[Int(place)] = sample
        }
    }

    /// Adds what another process has counted for the same candidacy.
    mutating func add(_ other: ShadowTally) {
        compared += other.compared
        byOtherRules += other.byOtherRules
        different += other.different
        otherDifferences += other.otherDifferences
        for (gap, count) in other.gaps { gaps[gap, default: 0] += count }
        for theirs in other.differences {
            if let index = differences.firstIndex(where: { $0.isLike(theirs) }) {
                differences[index].count += theirs.count
                differences[index].first = min(differences[index].first, theirs.first)
                differences[index].last = max(differences[index].last, theirs.last)
                differences[index].samples = Array(
                    (differences[index].samples + theirs.samples).prefix(Self.maxSamples))
            } else if differences.count < Self.maxKinds {
                differences.append(theirs)
            } else {
                otherDifferences += theirs.count
            }
        }
    }
}

/// Why a question was not compared.
enum ShadowGap: String {
    /// It came faster than it could be compared.
    case queueFull = "queue_full"
    /// Its properties were too long to be handed over.
    case tooLong = "too_long"
    /// No policy was asked: the tenant's budget, a store that cannot be read.
    case refused
    /// What is stored does not fit the candidate's catalog, or cannot be read.
    case unreadable
    /// The store changed under it again and again.
    case moving
    /// The daemon ended before.
    case stopped
}

// MARK: JSON

extension ShadowTally {
    /// All of it.
    package var json: JSONValue {
        .object([
            "candidacy": .integer(number), "version": .integer(version), "since": .string(Instant.format(since)),
            "state": .string(state), "compared": .integer(compared), "same": .integer(compared - different),
            "by_other_rules": .integer(byOtherRules), "different": .integer(different),
            "not_compared": .object(gaps.sorted { $0.key < $1.key }.map { JSONMember($0.key, .integer($0.value)) }),
            "other_differences": .integer(otherDifferences), "written": .string(Instant.format(written)),
            "differences": .array(differences.sorted { $0.count > $1.count }.map(\.json)),
        ])
    }

    init?(_ json: JSONValue) {
        func count(_ name: String) -> UInt64? { json[name]?.integer.flatMap { UInt64(exactly: $0) } }
        func instant(_ name: String) -> Int64? { json[name]?.string.flatMap { Instant.parse($0) } }
        guard let number = count("candidacy"), let version = count("version"), let since = instant("since"),
            let compared = count("compared"), let different = count("different"), different <= compared
        else { return nil }
        self.number = number
        self.version = version
        self.since = since
        self.compared = compared
        self.different = different
        byOtherRules = count("by_other_rules") ?? 0
        otherDifferences = count("other_differences") ?? 0
        state = json["state"]?.string ?? "ready"
        written = instant("written") ?? 0
        for member in json["not_compared"]?.object ?? [] {
            gaps[member.name] = member.value.integer.flatMap { UInt64(exactly: $0) } ?? 0
        }
        differences = (json["differences"]?.array ?? []).compactMap { ShadowDifference($0) }
    }
}

extension ShadowDifference {
    package var json: JSONValue {
        .object([
            "what": .string(what), "live_version": .integer(version), "live": live.json, "candidate": candidate.json,
            "count": .integer(count), "first": .string(Instant.format(first)), "last": .string(Instant.format(last)),
            "samples": .array(samples),
        ])
    }

    init?(_ json: JSONValue) {
        guard let what = json["what"]?.string, let live = ShadowSide(json["live"]),
            let candidate = ShadowSide(json["candidate"]),
            let count = json["count"]?.integer.flatMap({ UInt64(exactly: $0) })
        else { return nil }
        self.init(
            what: what, version: json["live_version"]?.integer.flatMap { UInt64(exactly: $0) } ?? 0, live: live,
            candidate: candidate, count: count, first: json["first"]?.string.flatMap { Instant.parse($0) } ?? 0,
            last: json["last"]?.string.flatMap { Instant.parse($0) } ?? 0, samples: json["samples"]?.array ?? [])
    }
}

// MARK: Files

/// Where a tenant's tallies are.
package struct ShadowPlace: Sendable {
    let path: String

    package init(_ store: Store, tenant: String) { path = "\(store.tenantPath(tenant))/shadow" }

    private func file(_ number: UInt64) -> String { "\(path)/\(number).json" }
    var lockPath: String { "\(path)/lock" }

    /// The tally of a candidacy; nil before the daemon has written one.
    package func tally(_ number: UInt64) -> ShadowTally? {
        guard let file = try? LogFile(file(number), .read), let bytes = try? file.read(file.count, at: 0),
            let json = try? JSONValue.parse(bytes), let tally = ShadowTally(json), tally.number == number
        else { return nil }
        return tally
    }

    /// The tally of the last candidacy that there is one of.
    package var last: ShadowTally? { numbers.last.flatMap { tally($0) } }

    private var numbers: [UInt64] {
        LogFiles.list(path).compactMap { $0.hasSuffix(".json") ? UInt64($0.dropLast(5)) : nil }.sorted()
    }

    /// Writes a tally in place of what was there, and removes those of candidacies before the one before.
    func write(_ tally: ShadowTally) throws(LogError) {
        let new = "\(path)/new"
        do {
            let file = try LogFile(new, .create)
            try file.write(Array(tally.json.compact.utf8), at: 0)
        }
        try LogFiles.move(new, to: file(tally.number))
        for old in numbers.filter({ $0 < tally.number }).dropLast() { try LogFiles.remove(file(old)) }
    }
}
