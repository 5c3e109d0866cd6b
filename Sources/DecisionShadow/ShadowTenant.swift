// One tenant's comparison: each question is decided by both versions on one snapshot as of the instant at which it was
// answered; what differs is counted by kind, with samples that hold what the log of decisions would.
//
// INVARIANT of this unsafe file: a record's readers are used within the call that was given it.

import AttributeStore
import CBOR
import DecisionEngine
import DecisionLog
import DecisionPath
import DecisionProtocol
import PolicyLanguage
import StrictJSON

/// A tenant with a candidate; used by the shadow's thread.
final class ShadowTenant {
    private let id: String
    private let idBytes: [UInt8]
    private let place: ShadowPlace
    private let desk: ShadowDesk
    private let live: TenantDecider
    private let candidate: TenantDecider
    private let candidacy: Candidacy
    private var encoder = DecisionEncoder(sampledRate: nil)
    private var plan: (version: UInt64, plan: MaskingPlan)?
    private var tally: ShadowTally
    private var isDirty = true
    /// Held by the one process that writes the tally; the others wait, and add theirs.
    private var lock: ShadowLock?
    private var failure: String?

    var number: UInt64 { candidacy.number }

    init(_ id: String, _ candidacy: Candidacy, _ desk: ShadowDesk) throws(StoreError) {
        self.id = id
        idBytes = Array(id.utf8)
        self.desk = desk
        self.candidacy = candidacy
        place = ShadowPlace(desk.board.store, tenant: id)
        live = try TenantDecider(id, board: desk.board, role: .repeated)
        candidate = try TenantDecider(id, board: desk.board, role: .candidate)
        tally = ShadowTally(candidacy)
    }

    func isNamed(_ bytes: UnsafeRawBufferPointer) -> Bool { unsafe bytes.elementsEqual(idBytes) }

    func follow(_ state: CandidateState) {
        if tally.state != state.message { isDirty = true }
        tally.state = state.message
    }

    /// Questions that are not compared.
    func skip(_ gap: ShadowGap, _ count: UInt64 = 1) {
        tally.gaps[gap.rawValue, default: 0] += count
        isDirty = true
    }

    // MARK: Comparing

    /// Errors that come of no policy.
    private static let refusals: Set<String> = ["budget_exceeded", "store_unreadable", "no_policy"]

    func compare(_ record: RingRecord) {
        guard let answered = recorded(record) else { return skip(.unreadable) }
        if record.lacksProperties { return skip(.tooLong) }
        if let code = answered.answer?.cause?.code, Self.refusals.contains(code) { return skip(.refused) }
        // Both on one snapshot; the answer that was given will do for the live version when it was given on that one.
        for _ in 0..<4 {
            candidate.begin(now: answered.time)
            defer { candidate.end() }
            // Withdrawn, or activated meanwhile.
            guard candidate.decidingVersion == candidacy.version else { return }
            guard let theirs = answer(candidate, record) else { return skip(.unreadable) }
            live.begin(now: answered.time)
            defer { live.end() }
            guard live.snapshotID == candidate.snapshotID else { continue }
            let isCurrent =
                answered.snapshot == candidate.snapshotID && answered.version == live.decidingVersion
            guard let ours = isCurrent ? answered.answer ?? answer(live, record) : answer(live, record) else {
                return skip(.unreadable)
            }
            return note(ours, theirs, record, live.decidingVersion ?? 0, answered.time)
        }
        skip(.moving)
    }

    private struct Recorded {
        var version: UInt64 = 0
        var snapshot: UInt64 = 0
        var time: Int64 = 0
        /// Nil where it was not handed over whole.
        var answer: Answer?
    }

    private func recorded(_ record: RingRecord) -> Recorded? {
        let reader = record.answer
        if record.answerPairs == nil, let value = unsafe try? CBORValue.decode(Array(reader.slice(0..<reader.end))),
            let answer = Answer(value)
        {
            return Recorded(
                version: answer.policyVersion, snapshot: answer.snapshot, time: Int64(clamping: answer.evaluatedAt),
                answer: answer)
        }
        var found = Recorded()
        do throws(CBORError) {
            var reader = reader
            let count = try reader.map()
            for _ in 0..<min(count, record.answerPairs ?? count) {
                switch try reader.unsigned() {
                case 5: found.version = try reader.unsigned()
                case 6: found.snapshot = try reader.unsigned()
                case 7: found.time = Int64(clamping: try reader.unsigned())
                default: try reader.skip()
                }
            }
        } catch {
            return nil
        }
        return found.time > 0 ? found : nil
    }

    /// Nil when the store, or what of it the version's catalog has no place for, was in the way.
    private func answer(_ decider: TenantDecider, _ record: RingRecord, explain: Bool = false) -> Answer? {
        guard !decider.hasFailed, let answer = decider.repeated(record.ranges, record.question, explain: explain),
            answer.cause?.code != "store_unreadable"
        else { return nil }
        return answer
    }

    private func note(_ ours: Answer, _ theirs: Answer, _ record: RingRecord, _ version: UInt64, _ time: Int64) {
        isDirty = true
        tally.compared += 1
        guard let what = Self.difference(ours, theirs) else {
            if Set(ours.rules.map(\.name)) != Set(theirs.rules.map(\.name)) { tally.byOtherRules += 1 }
            return
        }
        let difference = ShadowDifference(
            what: what, version: version, live: Self.side(ours), candidate: Self.side(theirs), count: 1, first: time,
            last: time, samples: [])
        tally.note(difference) { sample(record) }
    }

    /// What differs first; nil where the one who asked would see none.
    private static func difference(_ ours: Answer, _ theirs: Answer) -> String? {
        if ours.outcome != theirs.outcome || ours.kind != theirs.kind { return "outcome" }
        if ours.stepUp != theirs.stepUp { return "demand" }
        if ours.cause?.code != theirs.cause?.code || ours.cause?.attribute != theirs.cause?.attribute { return "error" }
        return Set(ours.obligations) == Set(theirs.obligations) ? nil : "obligations"
    }

    private static func side(_ answer: Answer) -> ShadowSide {
        ShadowSide(
            outcome: answer.outcome.name, kind: answer.kind.name, rules: Set(answer.rules.map(\.name)).sorted(),
            cause: answer.cause?.code)
    }

    // MARK: Samples

    /// The decision as the log would hold it, and of each version the rules that could have spoken.
    private func sample(_ record: RingRecord) -> JSONValue? {
        guard let facts = encoder.begin(record) else { return nil }
        let payload = unsafe Array(encoder.encode(record, masking(facts.policyVersion)))
        guard let logged = LoggedDecision(payload: payload) else { return nil }
        return .object([
            "decision": logged.json(tenant: id), "live": side(live, record), "candidate": side(candidate, record),
        ])
    }

    /// By the catalog of the version that was asked; nil where it is not at hand: then nothing of the question is told.
    private func masking(_ version: UInt64) -> MaskingPlan? {
        if let plan, plan.version == version { return plan.plan }
        guard let compiled = desk.board.state(of: id)?.compiled, compiled.version == version else { return nil }
        let made = MaskingPlan(compiled.program.catalog, keptUses: desk.keptUses)
        plan = (version, made)
        return made
    }

    /// An answer without what could carry values: rules, demand, codes, and the text of conditions that stood in the way.
    private func side(_ decider: TenantDecider, _ record: RingRecord) -> JSONValue {
        guard let answer = answer(decider, record, explain: true) else { return .null }
        func members(_ rule: RuleReference) -> [JSONMember] {
            [
                JSONMember("name", .string(rule.name)), JSONMember("file", .string(rule.file)),
                JSONMember("line", .integer(rule.line)),
            ] + (rule.reason.map { [JSONMember("reason", .string($0))] } ?? [])
        }
        let candidates = answer.candidates.map { candidate in
            JSONValue.object(
                [JSONMember("kind", .string(candidate.kind))] + members(candidate.rule) + [
                    JSONMember("matches", .bool(candidate.matches)),
                    JSONMember(
                        "failed",
                        .array(
                            candidate.failed.map {
                                .object([
                                    "file": .string($0.file), "line": .integer($0.line), "text": .string($0.text),
                                ])
                            })),
                ])
        }
        var parts = [
            JSONMember("version", .integer(answer.policyVersion)), JSONMember("outcome", .string(answer.outcome.name)),
            JSONMember("kind", .string(answer.kind.name)),
            JSONMember("rules", .array(answer.rules.map { .object(members($0)) })),
        ]
        if let cause = answer.cause {
            parts.append(
                JSONMember(
                    "error",
                    .object([
                        "code": .string(cause.code), "attribute": cause.attribute.map { .string($0) } ?? .null,
                    ])))
        }
        for name in ["acr_values", "amr_values", "max_age", "assurance"] {
            if let value = answer.json["context"]?[name] { parts.append(JSONMember(name, value)) }
        }
        parts.append(JSONMember("candidates", .array(candidates)))
        return .object(parts)
    }

    // MARK: The file

    /// Writes the tally when there is something new.
    /// - Parameter isLast: the lock is let go afterwards.
    func write(_ now: Int64, isLast: Bool) {
        defer { if isLast { lock = nil } }
        guard isDirty else { return }
        do throws(LogError) {
            if lock == nil {
                lock = try ShadowLock(place)
                // What was counted before the daemon was started anew, or by the one that it takes over from.
                if let before = place.tally(number) { tally.add(before) }
            }
            tally.written = now
            try place.write(tally)
            isDirty = false
            failure = nil
        } catch {
            // Another process has it; it ends soon.
            if error.isLocked { return }
            let text = "\(error)"
            if text != failure {
                desk.tell(
                    LogNotice(
                        isError: true, text: "tenant \(id): what its candidate has decided is not written: \(text)"))
            }
            failure = text
        }
    }
}

/// The right to write a tenant's tally.
private final class ShadowLock {
    private let file: LogFile

    init(_ place: ShadowPlace) throws(LogError) {
        try LogFiles.makeDirectory(place.path)
        file = try LogFile(place.lockPath, .update)
        try file.lock()
    }
}
