// A logged decision, decided again by the version that made it, on what the store held then, and explained.
//
// The log says what was asked and what came of it; the change log says how everybody stood at that moment. The
// entities that the question names are folded anew into a scratch store, with the version of the policies, and the
// daemon's own code decides there, as of the decision's instant. So an explanation speaks of values of then, also
// where they have changed since; and whether it explains what happened can be seen, for both outcomes are there.

package import AttributeStore
package import DecisionEngine
package import DecisionLog
import DecisionPath
package import DecisionProtocol
package import PolicyAnalysis
package import PolicyLanguage

/// Why a logged decision cannot be explained.
package struct ReplayError: Error, Sendable, CustomStringConvertible {
    /// The kinds; the raw value is stable and appears in JSON output.
    package enum Code: String, Sendable, Hashable {
        case tenantUnknown = "tenant_unknown"
        /// The tenant has no log of decisions.
        case logMissing = "log_missing"
        /// The log does not hold the decision.
        case decisionUnknown = "decision_unknown"
        /// The log does not hold the decision, and was not told to hold all.
        case logSampled = "log_sampled"
        /// No version of the policies made it.
        case noVersion = "no_version"
        /// The version that made it is no longer kept.
        case versionGone = "version_gone"
        /// The log holds the outcome without the question.
        case questionWithheld = "question_withheld"
        /// The version or what was stored cannot be had again.
        case notRestorable = "not_restorable"
        /// The log was not looked through in the time given.
        case tooMuchWork = "too_much_work"
        /// The store cannot be read.
        case store
    }

    package var code: Code
    package var message: String
    package var description: String { "\(code.rawValue): \(message)" }

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// Why an explanation may not explain what was decided.
package struct ReplayDivergence: Sendable, Hashable {
    package enum Code: String, Sendable, Hashable {
        /// Values that the question gave are not in the log.
        case masked
        /// The question's properties are not in the log: it was too long.
        case propertiesMissing = "properties_missing"
        /// The policies were never asked.
        case refusedBefore = "refused_before"
        /// Changes were written at about that moment; whether the decision had seen them is told by the clock alone.
        case uncertainOrder = "uncertain_order"
        /// The change log has entries that cannot be read.
        case unreadableChanges = "unreadable_changes"
        /// Nothing that is known explains it.
        case unexplained
    }

    package var code: Code
    package var message: String
}

/// A logged decision, decided again.
package struct DecisionReplay: Sendable {
    package let logged: LoggedDecision
    /// The same question's answer, by the same version, on what the store held then.
    package let answer: Answer
    /// The policies and all that they read; nil where the question could not be put to them.
    package let read: (program: Program, situation: Situation)?
    /// What the change log says of those whom the question names.
    package let past: EntityPast
    /// The version that decides now; 0 for none.
    package let activeVersion: UInt64
    /// Empty where the answer is the logged one and nothing was left out.
    package let divergences: [ReplayDivergence]

    /// How far a replay has come.
    package enum Progress: Sendable {
        case searching(segment: Int, of: Int)
        case reading(entry: UInt64, of: UInt64)
    }

    /// The answer is the logged one: outcome, kind, rules, demand and cause.
    package var agrees: Bool { Self.agree(logged.answer, answer) }

    /// Attributes that the question gave and the log does not hold, as `resource.total`.
    package var masked: Set<String> { Set(logged.masked) }

    /// The explanation; nil where the question could not be put to the policies.
    package func why(_ limits: ChangeSearch.Limits = ChangeSearch.Limits()) -> (policies: CheckedPolicies, why: Why)? {
        read.map {
            ($0.program.policies, Why($0.program, $0.situation, limits: limits, masked: masked))
        }
    }

    /// Finds a decision in a tenant's log and decides it again.
    /// - Parameters:
    ///   - id: the decision's id, 16 bytes.
    ///   - logDirectory: where the daemon was told to log; nil for the store's own place.
    ///   - scratch: an empty directory, best one in memory that nobody else can enter: what was stored of the entities
    ///     that the question names lies there while this runs.
    ///   - interruption: ends the search through the log.
    package init(
        of id: [UInt8], tenant: String, in store: Store, logDirectory: String? = nil, scratch: String,
        interruption: Interruption? = nil, progress: (Progress) -> Void = { _ in }
    ) throws(ReplayError) {
        let logged = try Self.find(id, tenant, store, logDirectory, interruption, progress)
        try self.init(logged, tenant: tenant, in: store, scratch: scratch, progress: progress)
    }

    /// Decides a logged decision again.
    package init(
        _ logged: LoggedDecision, tenant: String, in store: Store, scratch: String,
        progress: (Progress) -> Void = { _ in }
    ) throws(ReplayError) {
        guard let question = logged.question else {
            throw ReplayError(
                .questionWithheld,
                "the log holds the outcome of this decision and not its question (\(logged.withheld ?? "unreadable"))")
        }
        guard logged.answer.policyVersion > 0 else {
            let cause = logged.answer.cause.map { "\($0.message) (\($0.code))" } ?? logged.answer.kind.name
            throw ReplayError(.noVersion, "no version of the policies made this decision: \(cause)")
        }
        let stored: StoredPolicies
        do throws(StoreError) {
            var reader = try TenantReader(store, tenant: tenant)
            try reader.renew()
            activeVersion = try reader.generations().activeVersion
            guard let found = try reader.policies(version: logged.answer.policyVersion) else {
                throw StoreError(.versionUnknown, "")
            }
            stored = found
            past = try Self.past(question, logged, &reader, progress)
        } catch {
            guard error.code == .versionUnknown else { throw ReplayError(.store, error.description) }
            throw ReplayError(
                .versionGone,
                "version \(logged.answer.policyVersion) of the policies made this decision, and the store no longer has it"
            )
        }
        let restored = try Self.decide(question, logged, stored, past, scratch)
        self.logged = logged
        answer = restored.answer
        read = restored.read
        divergences = Self.divergences(logged, restored.answer, past)
    }

    // MARK: Finding

    private static func find(
        _ id: [UInt8], _ tenant: String, _ store: Store, _ directory: String?, _ interruption: Interruption?,
        _ progress: (Progress) -> Void
    ) throws(ReplayError) -> LoggedDecision {
        do throws(StoreError) {
            _ = try store.tenant(tenant)
        } catch {
            throw error.code == .tenantUnknown
                ? ReplayError(.tenantUnknown, error.message) : ReplayError(.store, error.description)
        }
        let path = LogPlace(store, directory: directory).path(of: tenant)
        guard !LaneDirectory.all(in: path).isEmpty else {
            throw ReplayError(
                .logMissing,
                "no decision log at \(path): no decision was logged yet, or stiled was told another --log-dir")
        }
        let search = LogSearch(path, for: id, isDue: { interruption?.isDue ?? false }) {
            progress(.searching(segment: $0, of: $1))
        }
        if let found = search.found { return found }
        if search.isInterrupted {
            throw ReplayError(
                .tooMuchWork,
                "the log was not looked through in the time given: after \(search.segments) segments it was not found")
        }
        if let rate = search.gaps.sampledRate {
            throw ReplayError(
                .logSampled,
                "the log does not hold this decision: it was told to hold one of \(rate) at times (--log sampled:\(rate))"
            )
        }
        var hints: [String] = []
        if let begin = search.gaps.begin { hints.append("it begins at \(Instant.format(begin))") }
        if search.gaps.isCutOff { hints.append("retention has removed segments") }
        if search.gaps.lost > 0 { hints.append("\(search.gaps.lost) decisions were lost") }
        hints += search.unreadable
        throw ReplayError(
            .decisionUnknown,
            "the log of \(tenant) does not hold this decision"
                + (hints.isEmpty ? "" : "; " + hints.joined(separator: "; ")))
    }

    // MARK: How it was

    private static func past(
        _ question: Question, _ logged: LoggedDecision, _ reader: inout TenantReader, _ progress: (Progress) -> Void
    ) throws(StoreError) -> EntityPast {
        func name(_ entity: Entity?) -> EntityName? { entity.map { EntityName(type: $0.type, id: $0.id) } }
        var wanted = PastWanted()
        wanted.subject = name(question.subject)
        wanted.resource = name(question.resource)
        wanted.session = question.session
        wanted.device = question.device
        let moment = PastMoment(time: logged.time, snapshot: logged.answer.snapshot)
        let past = try reader.past(of: wanted, at: moment) { progress(.reading(entry: $0, of: $1)) }
        guard question.device == nil, let device = past.deviceOfSession else { return past }
        // Which device counts is known only once the session is.
        wanted.device = device
        return try reader.past(of: wanted, at: moment) { progress(.reading(entry: $0, of: $1)) }
    }

    /// Folds the past into a scratch store and asks there.
    private static func decide(
        _ question: Question, _ logged: LoggedDecision, _ stored: StoredPolicies, _ past: EntityPast, _ scratch: String
    ) throws(ReplayError) -> (answer: Answer, read: (program: Program, situation: Situation)?) {
        let tenant = "replay"
        let copy = Store(path: scratch, mapSize: 1 << 30)
        do throws(StoreError) {
            try copy.createTenant(tenant, TenantRecord(created: 0, allowedUsers: []))
            defer { try? copy.removeScratch(tenant) }
            do {
                var writer = try TenantWriter(copy, tenant: tenant)
                // The policies come last: only how all stood in the end must fit their catalog.
                let changes =
                    past.changes + [
                        .putPolicies(
                            version: stored.version, files: stored.files, author: "", message: "", at: 0, id: stored.id),
                        .activatePolicies(version: stored.version),
                    ]
                for start in stride(from: 0, to: changes.count, by: StoreLimits.maxBatch) {
                    try writer.append(
                        Array(changes[start..<min(start + StoreLimits.maxBatch, changes.count)]), time: 0)
                }
            }
            let decider = try TenantDecider(tenant, of: copy)
            return decider.explained(question, now: logged.time)
        } catch {
            throw ReplayError(
                .notRestorable, "version \(stored.version), or what it read, cannot be had again: \(error.description)")
        }
    }

    // MARK: Comparing

    private static func agree(_ logged: Answer, _ answer: Answer) -> Bool {
        logged.outcome == answer.outcome && logged.kind == answer.kind && logged.stepUp == answer.stepUp
            && logged.cause?.code == answer.cause?.code
            && Set(logged.rules.map(\.name)) == Set(answer.rules.map(\.name))
    }

    private static func divergences(
        _ logged: LoggedDecision, _ answer: Answer, _ past: EntityPast
    ) -> [ReplayDivergence] {
        var list: [ReplayDivergence] = []
        func add(_ code: ReplayDivergence.Code, _ message: String) {
            list.append(ReplayDivergence(code: code, message: message))
        }
        if !logged.masked.isEmpty {
            add(
                .masked,
                "the question gave \(logged.masked.joined(separator: ", ")); the catalog's `use` keeps these values out of the "
                    + "log, so they are not known here")
        }
        if logged.withheld != nil {
            add(.propertiesMissing, "the question was too long for the log: its properties are not known here")
        }
        let agrees = agree(logged.answer, answer)
        if agrees { return list }
        if let cause = logged.answer.cause, Self.refusals.contains(cause.code) {
            add(
                .refusedBefore,
                "the policies were not asked: \(cause.message) (\(cause.code)); what follows is what they would have said"
            )
        }
        if past.uncertain > 0 {
            add(
                .uncertainOrder,
                "\(past.uncertain) changes of those named were written within two seconds of the decision; whether it had "
                    + "seen them is told by the clock alone")
        }
        if past.unreadable > 0 {
            add(.unreadableChanges, "\(past.unreadable) entries of the change log cannot be read by this program")
        }
        if list.isEmpty {
            add(
                .unexplained,
                "nothing that is known explains the difference: the store may be a restored copy, or another release of "
                    + "stiled decided")
        }
        return list
    }

    /// Errors that say nothing of the policies.
    private static let refusals: Set<String> = ["budget_exceeded", "store_unreadable", "no_policy"]
}
