// From a question's frame to an answer's, for one tenant on one thread: the decision path.
//
// A wake-up begins with one snapshot and one instant. A question then costs: one walk over the frame, one look-up of
// the subject's view (session, device and resource only where the rules read them), the decision, the answer's bytes.

package import AttributeStore
package import CBOR
package import DecisionEngine
package import DecisionProtocol
import Memory
import PolicyLanguage

/// What a decider decides by.
package enum DecidingRole: Sendable, Hashable {
    /// The active version, for whoever asks.
    case live
    /// The active version, once more: nothing is counted, and no budget is used.
    case repeated
    /// The candidate.
    case candidate
}

/// Decides for one tenant on one thread.
package final class TenantDecider {
    package let tenant: String
    private let board: PolicyBoard
    private var reader: TenantReader
    /// The policies that decide. `lentPolicies` is the same object, held here.
    private var compiled: CompiledTenant? {
        didSet { lentPolicies = compiled.map { Lent($0) } }
    }
    private var lentPolicies: Lent<CompiledTenant>?
    private var publication: UInt64 = .max
    /// The store's generation that `compiled` belongs to.
    private var compiledGeneration: UInt64 = 0
    private var snapshot: UInt64 = 0
    private var generations = Generations()
    private var groups = MembershipIndex(pairs: [], namedCount: 0)
    private var containers = MembershipIndex(pairs: [], namedCount: 0)
    private var groupsHierarchy: UInt64 = .max
    private var groupsVersion: UInt64 = .max
    private var isHolding = false
    /// Why the store could not be read in this wake-up.
    private var failure: StoreError? {
        didSet { hasFailed = failure != nil }
    }
    /// The store could not be read in this wake-up.
    package private(set) var hasFailed = false

    private var scratch = DecisionScratch()
    private var subjectID = RecordBuilder()
    private var resourceID = RecordBuilder()
    private var subject = RecordBuilder()
    private var resource = RecordBuilder()
    private var action = RecordBuilder()
    private var context = RecordBuilder()
    private var batch = CBORWriter()
    private var now: Int64 = 0
    /// The hash of the subject's key that was announced last.
    private var announced: UInt64 = 0
    /// What all quick answers of this instant share.
    private var stamp = AnswerStamp()
    private var stampedAt = Int64.min
    private var stampWriter = CBORWriter()
    /// Why the question at hand cannot be put to the policies, when `look` says so.
    private var problem = QuestionProblem.noPolicy
    /// First half of this thread's decision ids; the second counts.
    private let idPrefix = UInt64.random(in: 0...UInt64.max)
    private var idCount: UInt64 = 0
    /// Answers given, and errors among them.
    package internal(set) var answers: UInt64 = 0
    package internal(set) var errors: UInt64 = 0
    /// What all threads' counts of this tenant are read from.
    let counters: DecisionCounters
    /// Microseconds of the monotonic clock at which this wake-up began, 0 for one that is not timed; what the last one that
    /// was timed took; and the answers given before this one.
    private var beganAt: UInt64 = 0
    private var took: UInt64 = 0
    private var answersBefore: UInt64 = 0
    /// The instant of the last wake-up that was timed.
    private var timedAt = Int64.min
    /// Where decisions are recorded; nil records none.
    package var recorder: DecisionRecorder? {
        didSet { lentRecorder = recorder.map { Lent($0) } }
    }
    /// The same object, held by `recorder`.
    private var lentRecorder: Lent<DecisionRecorder>?
    /// Where they are handed over while a candidate decides beside; nil never does.
    package var shadowRecorder: DecisionRecorder?
    /// The same while there is a candidate.
    private var shadow: DecisionRecorder? {
        didSet { lentShadow = shadow.map { Lent($0) } }
    }
    private var lentShadow: Lent<DecisionRecorder>?
    private let role: DecidingRole
    /// Moves when policies, groups or the readability of the store have: every open question is to be thought over.
    package private(set) var epoch: UInt64 = 0
    private var hadFailure = false
    /// While an open question is decided: the device that its session named, an `EntityHash`.
    var watchedDevice = EntityHash.none
    var isWatching = false
    /// True when the store has a generation of policies that the board has not dealt with.
    private var wantsRefresh = false
    /// The generation that was asked for.
    private var askedGeneration: UInt64 = 0
    /// The tenant's account; its rate, 0 without a limit; and the places that were taken from it and not used.
    package private(set) var budget: TenantBudget?
    private var rate: UInt64 = 0
    private var places: UInt64 = 0

    /// Opens the tenant's store for reading.
    package init(_ tenant: String, board: PolicyBoard, role: DecidingRole = .live) throws(StoreError) {
        self.tenant = tenant
        self.board = board
        self.role = role
        reader = try TenantReader(board.store, tenant: tenant)
        // What nobody has asked is not to be counted.
        counters = role == .live ? board.makeCounters(tenant) : DecisionCounters()
    }

    // MARK: Wake-ups

    /// Takes the newest snapshot for the questions of this wake-up. Nothing is done within one.
    /// - Returns: true when it began one, so that the caller owes an `end`, and a `release` after the next commit.
    @discardableResult
    package func begin(now: Int64) -> Bool {
        if isHolding { return false }
        self.now = now
        answersBefore = answers
        // One wake-up of a millisecond is timed, and stands for those after it: two more looks at the clock are a part of
        // what a question alone costs.
        if now != timedAt {
            timedAt = now
            beganAt = DecisionCounters.microseconds()
        }
        isHolding = true
        if hasFailed { failure = nil }
        // The policies first, the snapshot after: so the snapshot has the views that the policies read.
        let current = board.publication
        do throws(StoreError) {
            if current != publication {
                try renewAll(current)
            } else {
                try reader.renew()
                if reader.snapshot != snapshot { try catchUp(current, nil) }
            }
        } catch {
            failure = error
        }
        if hasFailed != hadFailure {
            hadFailure = hasFailed
            epoch &+= 1
        }
        return true
    }

    /// As each wake-up, after the board has published something.
    @inline(never)
    private func renewAll(_ current: UInt64) throws(StoreError) {
        let state = board.state(of: tenant)
        try reader.renew()
        try catchUp(current, state)
    }

    /// The version that decides in this wake-up; nil for none.
    package var decidingVersion: UInt64? { compiled?.version }

    /// The snapshot of this wake-up; grows with each commit.
    package var snapshotID: UInt64 { snapshot }

    /// The policies that decide in this wake-up; nil before the first version.
    package var policies: CompiledTenant? { compiled }

    /// Ids of the entities of a type that this wake-up's snapshot has, in order, after one.
    package func entityIDs(
        layout: UInt32, type: String, after: String?, limit: Int
    ) throws(StoreError) -> [String] {
        try reader.entityIDs(layout: layout, type: type, after: after, limit: limit)
    }

    /// The number of the log's last entry in this wake-up's snapshot.
    package func lastSequence() throws(StoreError) -> UInt64 { try reader.lastSequence() }

    /// Which entities the entries of the log after a number were about (`TenantReader.touched`).
    package func touched(
        after sequence: UInt64, limit: Int, _ body: (Touch) -> Void
    ) throws(StoreError) -> UInt64 { try reader.touched(after: sequence, limit: limit, body) }

    /// True once for each generation of policies that the store has and the board has not dealt with.
    @inline(__always)
    package func takeRefreshRequest() -> Bool {
        guard wantsRefresh, askedGeneration != generations.moves else { return false }
        askedGeneration = generations.moves
        return true
    }

    /// Lets the snapshot go, so that the store can use its pages again; to be called soon after a commit.
    package func release() { if !isHolding { reader.reset() } }

    /// Ends the wake-up. The snapshot is kept, for the next one costs more than to see that it still is the newest.
    package func end() {
        if !isHolding { return }
        isHolding = false
        let given = answers &- answersBefore
        if given == 0 { return }
        if beganAt != 0 {
            took = DecisionCounters.microseconds() &- beganAt
            beganAt = 0
        }
        counters.count(given, microseconds: took)
    }

    /// Brings policies and groups to the snapshot. The policies are the board's last publication; the groups must
    /// be those of the snapshot, for a nesting that was acknowledged is to be respected at once.
    @inline(never)
    private func catchUp(_ current: UInt64, _ state: TenantState?) throws(StoreError) {
        let id = reader.snapshot
        stampedAt = .min
        generations = try reader.generations()
        if current != publication {
            let candidate = state?.candidate?.compiled
            let chosen = role == .candidate ? candidate : state?.compiled
            if compiled !== chosen { epoch &+= 1 }
            compiled = chosen
            compiledGeneration = state?.generation ?? 0
            budget = role == .live ? state?.budget : nil
            shadow = candidate == nil ? nil : shadowRecorder
            let isBuilt = chosen?.layout == CompiledTenant.builtLayout
            reader.build(isBuilt ? chosen?.program.catalog : nil, layout: CompiledTenant.builtLayout)
            rate = budget?.questionsPerSecond ?? 0
            if rate == 0 { places = 0 }
        }
        wantsRefresh = compiledGeneration < generations.moves
        if let compiled, generations.hierarchy != groupsHierarchy || compiled.version != groupsVersion {
            let names = compiled.program.policies.groups
            groups = MembershipIndex(
                pairs: try reader.groups(below: names), namedCount: compiled.program.namedCount)
            let named = compiled.program.policies.containers
            let entities = compiled.program.catalog.entities
            containers = MembershipIndex(
                pairs: try reader.containers(below: named.map { EntityName(type: entities[$0.type].name, id: $0.id) }),
                namedCount: named.count)
            scratch.groups.adopt(groups)
            scratch.containers.adopt(containers)
            groupsHierarchy = generations.hierarchy
            groupsVersion = compiled.version
            epoch &+= 1
        }
        snapshot = id
        publication = current
    }

    /// How this tenant stands, as this thread sees it. The stored version is the one that the state speaks of: a newer
    /// one is told once it has been dealt with.
    package func status() -> StatusReport {
        let state = board.state(of: tenant)
        var report = StatusReport(
            tenant: tenant, activeVersion: compiled?.version ?? 0,
            storedVersion: state?.storedVersion ?? generations.activeVersion,
            state: failure?.description ?? state?.message ?? "not loaded", snapshot: snapshot, answers: answers,
            errors: errors)
        report.tally = board.tally(tenant)
        return report
    }

    // MARK: Questions

    /// Answers a question's frame; the answer, with its length before it, is appended to `output`.
    package func answer(_ head: FrameHead, _ frame: CBORReader, _ output: inout CBORWriter) {
        let start = AnswerWriter.begin(&output)
        answer(head.question, frame, AnswerFacts(question: head.id), &output)
        AnswerWriter.end(&output, start)
    }

    /// Answers a frame that holds a question of the usual shape; the answer, with its length before it, is appended to
    /// `output`.
    /// - Returns: false, with nothing done, for any other frame: read it with `FrameHead` then.
    package func answerQuickly(_ frame: CBORReader, _ output: inout CBORWriter) -> Bool {
        guard !hasFailed, let policies = lentPolicies else { return false }
        return policies.with { answerQuickly(frame, $0, &output) }
    }

    /// Asks for the memory that the next question will read first, so that it comes while this one is decided.
    @inline(__always)
    package func announce(_ frame: CBORReader) {
        lentPolicies?.with { policies in
            guard var reader = unsafe QuickReader(frame.slice(0..<frame.end)),
                let subject = unsafe reader.subject(policies.program.entityTypes)
            else { return }
            unsafe announced = self.reader.hash(policies.viewPrefixes[subject.index], subject.id)
            self.reader.prefetch(hash: announced)
        }
    }

    @inline(__always)
    private func answerQuickly(
        _ frame: CBORReader, _ compiled: CompiledTenant, _ output: inout CBORWriter
    ) -> Bool {
        var question = QuestionRanges()
        var inputs = DecisionInputs()
        var hash: UInt64 = 0
        lentRecorder?.with { $0.prepare() }
        lentShadow?.with { $0.prepare() }
        guard let id = scan(frame, compiled, &question, &inputs, &hash) else { return false }
        inputs.now = now
        let start = output.bytes.count
        if rate != 0, !takePlace() {
            refuse(.budgetExceeded(rate), id, &output)
        } else if !look(&question, frame, compiled, &inputs, hash) {
            refuse(problem, id, &output)
        } else {
            let verdict = compiled.program.decide(lent: &inputs, &scratch)
            if let kind = Self.quickKind(verdict), scratch.obligations.isEmpty {
                if stampedAt != now { makeStamp(compiled.version) }
                idCount &+= 1
                AnswerWriter.writeQuickly(
                    kind: kind, validUntil: verdict.validUntil, scratch.rules, compiled.ruleFragments, stamp, id: id,
                    decision: (idPrefix, idCount), &output)
                answers &+= 1
                counters.count(kind: kind)
            } else {
                answer(verdict, question, frame, &inputs, compiled, id, &output)
            }
        }
        let answer = unsafe UnsafeRawBufferPointer(
            rebasing: output.bytes.borrowed[(start &+ ProtocolLimits.prefixBytes)...])
        if let shadow = lentShadow, !shadow.with({ unsafe $0.recordWhole(frame, answer) }) {
            handOver(question, frame, isWhole: false, output, from: start &+ ProtocolLimits.prefixBytes)
        }
        guard let recorder = lentRecorder else { return true }
        if !recorder.with({ unsafe $0.recordWhole(frame, answer) }) {
            log(question, frame, isWhole: false, output, from: start &+ ProtocolLimits.prefixBytes)
        }
        return true
    }

    /// The number of the kind of an answer that rules gave and that asks nothing of the enforcement point; nil for others.
    /// By cases, for the equality and the numbers of another room's enumeration are calls.
    @inline(__always)
    private static func quickKind(_ verdict: Verdict) -> UInt64? {
        switch verdict.cause {
        case .rules: break
        default: return nil
        }
        switch verdict.kind {
        case .permitted: return 0
        case .forbidden: return 1
        case .notPermitted: return 2
        case .stepUp, .error: return nil
        }
    }

    @inline(never)
    private func makeStamp(_ version: UInt64) {
        stamp = AnswerStamp(version: version, snapshot: snapshot, now: now, &stampWriter)
        stampedAt = now
    }

    /// The quick road's answer with a step-up, an error or duties.
    @inline(never)
    private func answer(
        _ verdict: Verdict, _ question: borrowing QuestionRanges, _ frame: CBORReader, _ inputs: inout DecisionInputs,
        _ compiled: CompiledTenant, _ id: UInt64, _ output: inout CBORWriter
    ) {
        let start = AnswerWriter.begin(&output)
        identify(question, frame, &inputs)
        counted(write(verdict, question, inputs, compiled, dated(AnswerFacts(question: id)), &output))
        AnswerWriter.end(&output, start)
    }

    /// The quick road's answer when the question cannot be put to the policies.
    @inline(never)
    private func refuse(_ problem: QuestionProblem, _ id: UInt64, _ output: inout CBORWriter) {
        let start = AnswerWriter.begin(&output)
        counted(refuse(problem, dated(AnswerFacts(question: id)), &output))
        AnswerWriter.end(&output, start)
    }

    /// Reads a question of the usual shape and fills in what a decision needs of it but the ids.
    /// - Parameter hash: set to that of the subject's key, whose view is asked for while the rest is read.
    /// - Returns: the request's id; nil for anything unusual.
    @inline(__always)
    private func scan(
        _ frame: CBORReader, _ compiled: CompiledTenant, _ question: inout QuestionRanges,
        _ inputs: inout DecisionInputs, _ hash: inout UInt64
    ) -> UInt64? {
        guard var reader = unsafe QuickReader(frame.slice(0..<frame.end)), let pairs = reader.map(), pairs >= 5,
            reader.byte() == 0, reader.byte() == FrameKind.questionByte, reader.byte() == 1,
            let id = reader.unsigned(), reader.byte() == 2
        else { return nil }
        let program = compiled.program
        let plans = compiled.plans
        guard let subject = unsafe reader.entity(&question.subject, program.entityTypes, hasID: true) else {
            return nil
        }
        inputs.subjectType = unsafe subject.index
        unsafe hash = self.reader.hash(compiled.viewPrefixes[subject.index], subject.id)
        if hash == announced {
            self.reader.prefetchView(hash: hash)
        } else {
            self.reader.prefetch(hash: hash)
        }
        if unsafe subject.hasProperties {
            guard unsafe reader.properties(&question.subject.properties, &self.subject, plans.entities[subject.index])
            else { return nil }
            unsafe inputs.subjectInQuestion = self.subject.borrowedView
        }
        guard reader.byte() == 3,
            let action = unsafe reader.entity(&question.action, program.actions, hasID: false)
        else { return nil }
        inputs.action = unsafe action.index
        if unsafe action.hasProperties {
            guard unsafe reader.properties(&question.action.properties, &self.action, plans.actions[action.index])
            else { return nil }
            unsafe inputs.actionInQuestion = self.action.borrowedView
        }
        guard reader.byte() == 4,
            let resource = unsafe reader.entity(&question.resource, program.entityTypes, hasID: true)
        else { return nil }
        inputs.resourceType = unsafe resource.index
        if hash != announced { self.reader.prefetchView(hash: hash) }
        if unsafe resource.hasProperties {
            guard
                unsafe reader.properties(&question.resource.properties, &self.resource, plans.entities[resource.index])
            else { return nil }
            unsafe inputs.resourceInQuestion = self.resource.borrowedView
        }
        if pairs > 5 || !reader.isAtEnd {
            guard scanRest(&reader, pairs &- 5, compiled, &question, &inputs) else { return nil }
        }
        guard reader.isAtEnd, compiled.isSubject[inputs.subjectType] else { return nil }
        return id
    }

    /// Context, session and device.
    @inline(__always)
    private func scanRest(
        _ reader: inout QuickReader, _ pairs: Int, _ compiled: CompiledTenant, _ question: inout QuestionRanges,
        _ inputs: inout DecisionInputs
    ) -> Bool {
        var last: UInt8 = 4
        for _ in 0..<pairs {
            guard let key = reader.byte(), key > last else { return false }
            last = key
            switch key {
            case 5:
                guard reader.properties(&question.context, &self.context, compiled.plans.context) else { return false }
                question.hasContext = true
                unsafe inputs.context = self.context.borrowedView
            case 6:
                guard let session = unsafe reader.text() else { return false }
                question.session = unsafe reader.range(session)
            case 7:
                guard let device = unsafe reader.text() else { return false }
                question.device = unsafe reader.range(device)
            default: return false
            }
        }
        return true
    }

    /// Answers a batch's frame.
    /// - Throws: what is wrong with the frame.
    package func answerBatch(
        _ head: FrameHead, _ frame: CBORReader, _ output: inout CBORWriter
    ) throws(ProtocolError) {
        var items: [QuestionRanges] = []
        do throws(CBORError) {
            items = try Self.items(head, frame)
        } catch {
            throw ProtocolError(.malformedFrame, error.description)
        }
        guard items.count <= ProtocolLimits.maxBatch else {
            throw ProtocolError(
                .batchTooLarge, "\(items.count) questions in a batch, above \(ProtocolLimits.maxBatch): send several")
        }
        guard let semantic = BatchSemantic(rawValue: head.semantic) else {
            throw ProtocolError(.malformedFrame, "no evaluations semantic \(head.semantic): use 0, 1 or 2")
        }
        batch.removeAll()
        var count = 0
        for item in items {
            let outcome = answer(item, frame, AnswerFacts(), &batch).outcome
            count += 1
            if semantic == .denyOnFirstDeny && outcome != .permit { break }
            if semantic == .permitOnFirstPermit && outcome == .permit { break }
        }
        let start = AnswerWriter.begin(&output)
        output.map(3)
        output.unsigned(0)
        output.unsigned(FrameKind.batch.rawValue)
        output.unsigned(1)
        output.unsigned(head.id)
        output.unsigned(9)
        output.array(count)
        unsafe output.bytes.append(batch.bytes.borrowed)
        AnswerWriter.end(&output, start)
    }

    private static func items(_ head: FrameHead, _ frame: CBORReader) throws(CBORError) -> [QuestionRanges] {
        if head.items.isEmpty { return [] }
        // The items' ranges must be those of the frame, so the frame's own reader walks them.
        var reader = frame
        try reader.move(to: head.items.lowerBound)
        let count = try reader.array()
        var items: [QuestionRanges] = []
        items.reserveCapacity(count)
        for _ in 0..<count { items.append(try QuestionRanges(item: &reader).filled(from: head.question)) }
        return items
    }

    @discardableResult
    private func answer(
        _ question: QuestionRanges, _ frame: CBORReader, _ facts: AnswerFacts, _ output: inout CBORWriter
    ) -> WrittenAnswer {
        var facts = facts
        if rate != 0 { facts.isOverBudget = !takePlace() }
        let start = output.bytes.count
        let written = counted(decide(question, frame, facts, &output))
        record(question, frame, isWhole: facts.kind != nil, output, from: start)
        return written
    }

    /// Counts an answer that is given.
    @discardableResult
    @inline(__always)
    func counted(_ written: WrittenAnswer) -> WrittenAnswer {
        answers &+= 1
        counters.count(kind: written.kind)
        if written.kind == AnswerKind.error.rawValue {
            errors &+= 1
            counters.count(cause: (written.cause ?? "unknown").description)
        }
        return written
    }

    /// Records an answer that is given, before it is sent: what a client has been told is in the ring.
    /// - Parameters:
    ///   - isWhole: the frame holds this question and no other.
    ///   - start: where the answer's map begins in `output`.
    @inline(__always)
    func record(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, isWhole: Bool, _ output: borrowing CBORWriter,
        from start: Int
    ) {
        handOver(question, frame, isWhole: isWhole, output, from: start)
        log(question, frame, isWhole: isWhole, output, from: start)
    }

    private func log(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, isWhole: Bool, _ output: borrowing CBORWriter,
        from start: Int
    ) {
        guard let recorder else { return }
        unsafe recorder.record(
            question, frame, isWhole: isWhole, UnsafeRawBufferPointer(rebasing: output.bytes.borrowed[start...]))
    }

    /// To the candidate, where there is one.
    @inline(__always)
    private func handOver(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, isWhole: Bool, _ output: borrowing CBORWriter,
        from start: Int
    ) {
        guard let shadow else { return }
        unsafe shadow.record(
            question, frame, isWhole: isWhole, UnsafeRawBufferPointer(rebasing: output.bytes.borrowed[start...]))
    }

    /// What every answer of this wake-up tells, with an id of its own.
    private func dated(_ facts: AnswerFacts) -> AnswerFacts {
        var facts = facts
        facts.now = now
        facts.snapshot = snapshot
        facts.version = failure == nil ? compiled?.version ?? 0 : 0
        idCount &+= 1
        facts.decision = (idPrefix, idCount)
        return facts
    }

    /// Writes an answer that nobody may come to see: `answer` and `reconsider` count those that are given.
    func decide(
        _ question: QuestionRanges, _ frame: CBORReader, _ facts: AnswerFacts, _ output: inout CBORWriter
    ) -> WrittenAnswer {
        let facts = dated(facts)
        guard failure == nil else { return refuse(.storeUnreadable, facts, &output) }
        if facts.isOverBudget { return refuse(.budgetExceeded(rate), facts, &output) }
        guard let compiled else { return refuse(.noPolicy, facts, &output) }
        var inputs = DecisionInputs()
        if let problem = fill(question, frame, compiled, &inputs) { return refuse(problem, facts, &output) }
        return conclude(question, inputs, compiled, facts, &output)
    }

    /// All that the decision reads. The builders must not be touched before the answer is written.
    private func fill(
        _ question: QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant, _ inputs: inout DecisionInputs
    ) -> QuestionProblem? {
        var question = question
        if let problem = resolve(&question, frame, compiled, &inputs) { return problem }
        do throws(CBORError) {
            try fillRecords(question, frame, compiled, inputs)
        } catch {
            return .malformedProperties
        }
        identify(question, frame, &inputs)
        unsafe inputs.subjectInQuestion = subject.borrowedView
        unsafe inputs.resourceInQuestion = resource.borrowedView
        unsafe inputs.actionInQuestion = action.borrowedView
        unsafe inputs.context = context.borrowedView
        return nil
    }

    /// The policies that decide a question's frame in this wake-up, and all that they read of it: for explanations.
    /// - Returns: nil where the question cannot be put to policies; the answer says why.
    package func situation(_ head: FrameHead, _ frame: CBORReader) -> (program: Program, situation: Situation)? {
        var inputs = DecisionInputs()
        inputs.now = now
        guard failure == nil, let compiled, fill(head.question, frame, compiled, &inputs) == nil else { return nil }
        return (compiled.program, Situation(inputs, scratch, catalog: compiled.program.catalog))
    }

    /// A place in the tenant's budget of questions; false when it is used up.
    package func takePlace() -> Bool {
        if rate == 0 { return true }
        if places == 0 { places = budget?.take(now: now, rate: rate) ?? 0 }
        if places == 0 { return false }
        places -= 1
        return true
    }

    private func conclude(
        _ question: QuestionRanges, _ inputs: DecisionInputs, _ compiled: CompiledTenant, _ facts: AnswerFacts,
        _ output: inout CBORWriter
    ) -> WrittenAnswer {
        let verdict = compiled.program.decide(inputs, &scratch)
        return write(verdict, question, inputs, compiled, facts, &output)
    }

    /// Writes what was decided last. The inputs have the ids.
    private func write(
        _ verdict: Verdict, _ question: borrowing QuestionRanges, _ inputs: borrowing DecisionInputs,
        _ compiled: CompiledTenant, _ facts: AnswerFacts, _ output: inout CBORWriter
    ) -> WrittenAnswer {
        var candidates: [Candidate] = []
        if question.explain {
            let situation = Situation(inputs, scratch, catalog: compiled.program.catalog)
            candidates = Explanation.candidates(compiled, situation)
        }
        let duties =
            scratch.obligations.isEmpty
            ? []
            : DutyWriter(compiled.program.policies, Situation(inputs, scratch, catalog: compiled.program.catalog))
                .obligations(scratch.obligations.array)
        return AnswerWriter.write(verdict, scratch.rules, compiled, facts, duties, candidates, &output)
    }

    /// Fills in the ids.
    private func identify(_ question: borrowing QuestionRanges, _ frame: CBORReader, _ inputs: inout DecisionInputs) {
        identifySubject(question, frame, &inputs)
        identifyResource(question, frame, &inputs)
    }

    private func identifySubject(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, _ inputs: inout DecisionInputs
    ) {
        unsafe subjectID.setIdentity(frame.slice(question.subject.id))
        unsafe inputs.subjectID = subjectID.borrowedView
    }

    private func identifyResource(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, _ inputs: inout DecisionInputs
    ) {
        unsafe resourceID.setIdentity(frame.slice(question.resource.id))
        unsafe inputs.resourceID = resourceID.borrowedView
    }

    private func refuse(
        _ problem: QuestionProblem, _ facts: AnswerFacts, _ output: inout CBORWriter
    ) -> WrittenAnswer {
        AnswerWriter.write(problem, facts, failure: failure, &output)
    }

    // MARK: Finding what the question names

    private func resolve(
        _ question: inout QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant,
        _ inputs: inout DecisionInputs
    ) -> QuestionProblem? {
        guard question.subject.isGiven, !question.subject.type.isEmpty, !question.subject.id.isEmpty else {
            return .incomplete("subject with type and id")
        }
        guard question.action.isGiven, !question.action.type.isEmpty else { return .incomplete("action with name") }
        guard question.resource.isGiven, !question.resource.type.isEmpty, !question.resource.id.isEmpty else {
            return .incomplete("resource with type and id")
        }
        let program = compiled.program
        guard let subjectType = unsafe program.entityTypes[frame.slice(question.subject.type)],
            compiled.isSubject[subjectType]
        else { return .unknownSubjectType(text(question.subject.type, frame)) }
        guard let action = unsafe program.actions[frame.slice(question.action.type)] else {
            return .unknownAction(text(question.action.type, frame))
        }
        guard let resourceType = unsafe program.entityTypes[frame.slice(question.resource.type)] else {
            return .unknownResourceType(text(question.resource.type, frame))
        }
        inputs.subjectType = subjectType
        inputs.action = action
        inputs.resourceType = resourceType
        inputs.now = now
        let hash = unsafe reader.hash(compiled.viewPrefixes[subjectType], frame.slice(question.subject.id))
        return look(&question, frame, compiled, &inputs, hash) ? nil : problem
    }

    /// The stored records, and the ids: the subject's record always, the others where the cell's rules read them.
    /// - Parameter hash: that of the subject's key.
    /// - Returns: false when `problem` says why the question cannot be put to the policies.
    @inline(__always)
    private func look(
        _ question: inout QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant,
        _ inputs: inout DecisionInputs,
        _ hash: UInt64
    ) -> Bool {
        let program = compiled.program
        guard
            let cell = program.cell(
                subjectType: inputs.subjectType, resourceType: inputs.resourceType, action: inputs.action)
        else {
            problem = .unknownSubjectType(text(question.subject.type, frame))
            return false
        }
        let needs = program.needs(cell: cell)
        do throws(StoreError) {
            inputs.subject = try unsafe reader.view(
                compiled.viewPrefixes[inputs.subjectType], id: frame.slice(question.subject.id), hash: hash)
            if needs.contains(.groups) {
                scratch.groups.setInAdopted()
            } else {
                scratch.groups.clear()
            }
            if needs.contains(.subjectID) { identifySubject(question, frame, &inputs) }
            if needs.contains(.resourceID) { identifyResource(question, frame, &inputs) }
            if question.session.isEmpty, !needs.containsAny(of: .further) {
                scratch.containers.clear()
                return true
            }
            return try lookFurther(question, frame, compiled, &inputs, needs)
        } catch {
            failure = error
            hadFailure = true
            problem = .storeUnreadable
            return false
        }
    }

    /// Session, device and resource.
    private func lookFurther(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant,
        _ inputs: inout DecisionInputs,
        _ needs: SourceNeeds
    ) throws(StoreError) -> Bool {
        // A session that is named is always looked at: an ended one must end what it opened.
        if !question.session.isEmpty {
            inputs.session = try unsafe reader.view(compiled.sessionPrefix, id: frame.slice(question.session))
            if let wrong = checkSession(question, frame, compiled, inputs) {
                problem = wrong
                return false
            }
        }
        if needs.contains(.device) { inputs.device = try device(question, frame, compiled, inputs) }
        if needs.contains(.resource) {
            inputs.resource = try unsafe reader.view(
                compiled.viewPrefixes[inputs.resourceType], id: frame.slice(question.resource.id))
        }
        if needs.contains(.containers) {
            scratch.containers.setInAdopted()
        } else {
            scratch.containers.clear()
        }
        return true
    }

    private func checkSession(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant, _ inputs: DecisionInputs
    ) -> QuestionProblem? {
        if inputs.session.isEmpty { return .unknownSession(text(question.session, frame)) }
        let slot = compiled.program.sessionSlots.subject
        guard let owner = inputs.session.string(inputs.session.payload(slot)) else { return .sessionOfAnother }
        let type = unsafe frame.slice(question.subject.type)
        let id = unsafe frame.slice(question.subject.id)
        let bytes = unsafe owner.bytes
        guard bytes.count == type.count + 1 + id.count, unsafe bytes[type.count] == 0,
            unsafe bytes.starts(with: type), unsafe bytes[(type.count + 1)...].elementsEqual(id)
        else { return .sessionOfAnother }
        return nil
    }

    private func device(
        _ question: borrowing QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant, _ inputs: DecisionInputs
    ) throws(StoreError) -> RecordView {
        if !question.device.isEmpty {
            return try unsafe reader.view(compiled.devicePrefix, id: frame.slice(question.device))
        }
        let slot = compiled.program.sessionSlots.device
        guard !inputs.session.isEmpty, inputs.session.validUntil(slot) == RecordLayout.forever,
            let id = inputs.session.string(inputs.session.payload(slot))
        else { return .empty }
        if isWatching { watchedDevice = unsafe EntityHash.of("device", id.bytes) }
        return try unsafe reader.view(compiled.devicePrefix, id: id.bytes)
    }

    private func fillRecords(
        _ question: QuestionRanges, _ frame: CBORReader, _ compiled: CompiledTenant, _ inputs: DecisionInputs
    ) throws(CBORError) {
        let subjectPlan = compiled.plans.entities[inputs.subjectType]
        subject.reset(slots: subjectPlan.count)
        try fillRecord(&subject, from: question.subject.properties, in: frame, plan: subjectPlan)
        let resourcePlan = compiled.plans.entities[inputs.resourceType]
        resource.reset(slots: resourcePlan.count)
        try fillRecord(&resource, from: question.resource.properties, in: frame, plan: resourcePlan)
        let actionPlan = compiled.plans.actions[inputs.action]
        action.reset(slots: actionPlan.count)
        try fillRecord(&action, from: question.action.properties, in: frame, plan: actionPlan)
        context.reset(slots: compiled.plans.context.count)
        try fillRecord(&context, from: question.context, in: frame, plan: compiled.plans.context)
    }

    private func text(_ range: Range<Int>, _ frame: CBORReader) -> String {
        unsafe String(decoding: frame.slice(range).prefix(64), as: UTF8.self)
    }
}

/// Why a question cannot be put to the policies. Answered by deny.
enum QuestionProblem {
    case incomplete(String)
    case unknownSubjectType(String)
    case unknownResourceType(String)
    case unknownAction(String)
    case unknownSession(String)
    case sessionOfAnother
    case malformedProperties
    case noPolicy
    case storeUnreadable
    case budgetExceeded(UInt64)

    var code: StaticString {
        switch self {
        case .incomplete: "question_incomplete"
        case .unknownSubjectType: "unknown_subject_type"
        case .unknownResourceType: "unknown_resource_type"
        case .unknownAction: "unknown_action"
        case .unknownSession: "unknown_session"
        case .sessionOfAnother: "session_of_another"
        case .malformedProperties: "malformed_properties"
        case .noPolicy: "no_policy"
        case .storeUnreadable: "store_unreadable"
        case .budgetExceeded: "budget_exceeded"
        }
    }

    var message: String {
        switch self {
        case .incomplete(let what): "the question needs a \(what)"
        case .unknownSubjectType(let name): "the catalog has no subject type \"\(name)\""
        case .unknownResourceType(let name): "the catalog has no entity type \"\(name)\""
        case .unknownAction(let name): "the catalog has no action \"\(name)\""
        case .unknownSession(let id): "the store has no session \"\(id)\": record it, or leave the session out"
        case .sessionOfAnother: "the session belongs to another subject"
        case .malformedProperties: "the properties are no map that can be read"
        case .noPolicy: "no version of the policies decides yet: push one"
        case .storeUnreadable: "the store cannot be read"
        case .budgetExceeded(let rate):
            "more than \(rate) questions a second about this tenant: ask less, or raise questions-per-second"
        }
    }
}
