// Verdicts to answer frames: fixed keys in order, names and places copied from ready fragments.

import AttributeStore
import CBOR
import DecisionEngine
import DecisionProtocol
import Memory
import PolicyLanguage

/// What every answer tells beside the verdict.
struct AnswerFacts {
    /// What the frame is; nil for an item of a batch.
    var kind: FrameKind?
    /// The request's id; nil for an item of a batch and for what answers no request.
    var id: UInt64?
    /// Fields that the caller writes after the answer's.
    var trailing = 0
    /// The tenant's budget of questions is used up.
    var isOverBudget = false
    var now: Int64 = 0
    var snapshot: UInt64 = 0
    var version: UInt64 = 0
    var decision: (UInt64, UInt64) = (0, 0)

    init() {}

    /// Of the answer to a request.
    init(question id: UInt64) {
        kind = .question
        self.id = id
    }
}

/// What was written.
struct WrittenAnswer {
    var outcome: Outcome
    var kind: UInt64
    /// Where the fields begin that say more than id, version, snapshot and instant.
    var body: Int
    /// First instant at which time alone could change it; `Int64.max` when none.
    var validUntil = Int64.max
    /// The code of an error's cause; without a reference count, for it is carried along on the decision path.
    var cause: StaticString?
}

/// What all answers of an instant share, encoded: version, snapshot and instant, at most 30 bytes.
struct AnswerStamp {
    private var words: InlineArray<4, UInt64> = [0, 0, 0, 0]
    private var count = 0

    init() {}

    /// - Parameter writer: memory to write in.
    init(version: UInt64, snapshot: UInt64, now: Int64, _ writer: inout CBORWriter) {
        writer.removeAll()
        writer.unsigned(5)
        writer.unsigned(version)
        writer.unsigned(6)
        writer.unsigned(snapshot)
        writer.unsigned(7)
        writer.unsigned(UInt64(max(0, now)))
        count = writer.bytes.count
        writer.bytes.appendZeros(32 - count)
        for index in 0..<4 { words[index] = writer.bytes.load(at: index * 8, as: UInt64.self) }
    }

    @inline(__always)
    func put(_ cursor: inout ByteCursor) {
        cursor.put(words, first: count)
    }
}

/// Writes answers.
enum AnswerWriter {
    /// Leaves room for the length.
    static func begin(_ output: inout CBORWriter) -> Int {
        // Most answers fit: one look at the room instead of one for each byte.
        output.bytes.reserve(160)
        return output.bytes.appendZeros(ProtocolLimits.prefixBytes)
    }

    /// Fills the length in.
    static func end(_ output: inout CBORWriter, _ start: Int) {
        let count = UInt32(truncatingIfNeeded: output.bytes.count - start - ProtocolLimits.prefixBytes)
        output.bytes.store(count.bigEndian, at: start)
    }

    static func write(
        _ verdict: Verdict, _ rules: borrowing WordList, _ compiled: CompiledTenant, _ facts: AnswerFacts,
        _ duties: [Obligation], _ candidates: [Candidate], _ output: inout CBORWriter
    ) -> WrittenAnswer {
        let outcome = outcome(of: verdict)
        let hasEnd = verdict.kind != .error && verdict.validUntil != .max
        let isStepUp = verdict.kind == .stepUp
        var fields = 0
        if hasEnd { fields += 1 }
        if !rules.isEmpty { fields += 1 }
        if verdict.cause != .rules { fields += 1 }
        if isStepUp { fields += 1 }
        if isStepUp || !duties.isEmpty { fields += 1 }
        if !candidates.isEmpty { fields += 1 }
        let kind = UInt64(verdict.kind.rawValue)
        writeHead(outcome, kind, facts, fields, &output)
        let body = output.bytes.count
        if hasEnd {
            output.unsigned(8)
            output.unsigned(UInt64(max(0, verdict.validUntil)))
        }
        if !rules.isEmpty {
            output.unsigned(9)
            output.array(rules.count)
            for place in 0..<rules.count { unsafe output.bytes.append(compiled.ruleFragments[rules[place]]) }
        }
        if verdict.cause != .rules {
            output.unsigned(10)
            cause(verdict, compiled).cbor.write(to: &output)
        }
        if isStepUp {
            writeStepUp(verdict, compiled, duties, &output)
        } else if !duties.isEmpty {
            output.unsigned(12)
            output.array(duties.count)
            for duty in duties { duty.cbor.write(to: &output) }
        }
        if !candidates.isEmpty {
            output.unsigned(13)
            output.array(candidates.count)
            for candidate in candidates { candidate.cbor.write(to: &output) }
        }
        return WrittenAnswer(
            outcome: outcome, kind: kind, body: body, validUntil: hasEnd ? verdict.validUntil : .max,
            cause: verdict.kind == .error ? code(verdict) : nil)
    }

    /// Writes the whole frame of what nearly every answer is: a permit or a denial by rules that asks nothing of the
    /// enforcement point.
    /// - Parameter kind: the number of its `AnswerKind`; `permitted`, which is 0 as the outcome `permit` is, or one of the
    ///   denials. `QuickReaderTests` hold both numbers to the general road's.
    static func writeQuickly(
        kind: UInt64, validUntil: Int64, _ rules: borrowing WordList, _ fragments: RuleFragments, _ stamp: AnswerStamp,
        id: UInt64, decision: (UInt64, UInt64), _ output: inout CBORWriter
    ) {
        let outcome: UInt32 = kind == 0 ? 0 : 1
        let hasEnd = validUntil != .max
        var size = 0
        for place in 0..<rules.count { size &+= unsafe fragments[rules[place]].count }
        let start = output.bytes.count
        output.bytes.extend(most: quickBytes &+ size) { cursor in
            // The length, filled in below; the map's head; 0: question; 1:
            cursor.put(UInt32(0))
            let pairs: UInt32 = 8 &+ (hasEnd ? 1 : 0) &+ (rules.isEmpty ? 0 : 1)
            cursor.put(
                (0xa0 | pairs | UInt32(FrameKind.questionByte) << 16 | 0x01 << 24)
                    .littleEndian)
            cursor.put(head: 0, id)
            // 2: outcome, 3: kind, 4: a byte string of 16. Both numbers are below 24, so each is its own byte.
            cursor.put((0x02 | outcome << 8 | 0x03 << 16 | UInt32(truncatingIfNeeded: kind) << 24).littleEndian)
            cursor.put(UInt16(0x5004).littleEndian)
            cursor.put(decision.0.bigEndian)
            cursor.put(decision.1.bigEndian)
            stamp.put(&cursor)
            if hasEnd {
                cursor.put(UInt8(8))
                cursor.put(head: 0, UInt64(max(0, validUntil)))
            }
            if rules.isEmpty { return }
            cursor.put(UInt8(9))
            cursor.put(head: 4, UInt64(rules.count))
            for place in 0..<rules.count { unsafe cursor.put(fragments[rules[place]]) }
        }
        end(&output, start)
    }

    /// Bytes of the longest quick answer without its rules, and of one whole word more for the cursor's stores.
    private static let quickBytes = 128

    @inline(__always)
    private static func outcome(of verdict: Verdict) -> Outcome {
        switch verdict.kind {
        case .permitted: .permit
        case .stepUp: .stepUp
        default: .deny
        }
    }

    /// An answer to a question that no policy could be asked.
    static func write(
        _ problem: QuestionProblem, _ facts: AnswerFacts, failure: StoreError?, _ output: inout CBORWriter
    ) -> WrittenAnswer {
        writeHead(.deny, AnswerKind.error.rawValue, facts, 1, &output)
        let body = output.bytes.count
        output.unsigned(10)
        // What exactly the store said goes to the log, not to the asker.
        CauseReference(code: problem.code.description, attribute: nil, message: problem.message).cbor.write(to: &output)
        return WrittenAnswer(outcome: .deny, kind: AnswerKind.error.rawValue, body: body, cause: problem.code)
    }

    private static func writeHead(
        _ outcome: Outcome, _ kind: UInt64, _ facts: AnswerFacts, _ more: Int, _ output: inout CBORWriter
    ) {
        output.map(6 + (facts.kind == nil ? 0 : 1) + (facts.id == nil ? 0 : 1) + facts.trailing + more)
        if let kind = facts.kind {
            output.unsigned(0)
            output.unsigned(kind.rawValue)
        }
        if let id = facts.id {
            output.unsigned(1)
            output.unsigned(id)
        }
        // 2: outcome, 3: kind, 4: a byte string of 16. Both numbers are below 24, so each is its own byte.
        let outcomeByte = UInt32(truncatingIfNeeded: outcome.rawValue)
        let kindByte = UInt32(truncatingIfNeeded: kind)
        output.bytes.append(word: (0x02 | outcomeByte << 8 | 0x03 << 16 | kindByte << 24).littleEndian)
        output.bytes.append(word: UInt16(0x5004).littleEndian)
        output.bytes.append(word: facts.decision.0.bigEndian)
        output.bytes.append(word: facts.decision.1.bigEndian)
        output.unsigned(5)
        output.unsigned(facts.version)
        output.unsigned(6)
        output.unsigned(facts.snapshot)
        output.unsigned(7)
        output.unsigned(UInt64(max(0, facts.now)))
    }

    // MARK: Step-up

    private static func writeStepUp(
        _ verdict: Verdict, _ compiled: CompiledTenant, _ duties: [Obligation], _ output: inout CBORWriter
    ) {
        let stepUp = stepUp(verdict, compiled.program.catalog)
        output.unsigned(11)
        stepUp.cbor.write(to: &output)
        output.unsigned(12)
        output.array(1 + duties.count)
        var properties: [CBORPair] = []
        // The profile wants one acr value; where no issuer's is known, the level's own name says it.
        if let acr = stepUp.acrValues.first ?? stepUp.level {
            properties.append(CBORPair(.text("acr_value"), .text(acr)))
        }
        if !stepUp.methods.isEmpty {
            properties.append(CBORPair(.text("amr_values"), .array(stepUp.methods.map { .text($0) })))
        }
        if let within = stepUp.within { properties.append(CBORPair(.text("max_age"), .unsigned(within / 1000))) }
        Obligation(id: "step-up", type: "step-up", properties: properties).cbor.write(to: &output)
        for duty in duties { duty.cbor.write(to: &output) }
    }

    static func stepUp(_ verdict: Verdict, _ catalog: Catalog) -> StepUp {
        let level = verdict.level
        var acrValues: [String] = []
        if level >= 0 {
            for issuer in catalog.issuers {
                // Every acr that proves the level or more, weakest first.
                let proving = issuer.levels.filter { catalog.assurance.implied[$0.value] >> UInt64(level) & 1 == 1 }
                for (acr, _) in proving.sorted(by: { ($0.value, $0.key) < ($1.value, $1.key) })
                where !acrValues.contains(acr) {
                    acrValues.append(acr)
                }
            }
        }
        return StepUp(
            level: level >= 0 ? catalog.assurance.levels[level] : nil,
            within: verdict.demand.within == .max ? nil : UInt64(max(0, verdict.demand.within)),
            methods: AuthenticationMethods.list(verdict.demand.methods), acrValues: acrValues)
    }

    // MARK: Causes

    private static func code(_ verdict: Verdict) -> StaticString {
        switch verdict.cause {
        case .rules: "rules"
        case .subjectInactive: "subject_inactive"
        case .sessionEnded: "session_ended"
        case .unknownSubject: "unknown_subject"
        case .actionNotDefined: "action_not_defined"
        case .recordDamaged: "record_damaged"
        case .stepUpUnreachable: "step_up_unreachable"
        case .attributeMissing: "attribute_missing"
        case .attributeMalformed: "attribute_malformed"
        }
    }

    static func cause(_ verdict: Verdict, _ compiled: CompiledTenant) -> CauseReference {
        let code = code(verdict).description
        switch verdict.cause {
        case .rules: return CauseReference(code: code, attribute: nil, message: "rules decided")
        case .subjectInactive:
            return CauseReference(code: code, attribute: nil, message: "the subject is deactivated")
        case .sessionEnded:
            return CauseReference(code: code, attribute: nil, message: "the session has ended")
        case .unknownSubject:
            return CauseReference(
                code: code, attribute: nil, message: "the store has no such subject: provision it")
        case .actionNotDefined:
            return CauseReference(
                code: code, attribute: nil,
                message: "the catalog does not define this action on this type of resource")
        case .recordDamaged:
            return CauseReference(
                code: code, attribute: nil, message: "a stored record cannot be read: run `stile verify`")
        case .stepUpUnreachable:
            return CauseReference(
                code: code, attribute: nil,
                message: "no reachable assurance level proves what the rules demand")
        case .attributeMissing, .attributeMalformed: return attributeCause(verdict, compiled)
        }
    }

    private static func attributeCause(_ verdict: Verdict, _ compiled: CompiledTenant) -> CauseReference {
        let names = compiled.program.operandNames
        let reference = names.indices.contains(verdict.attribute) ? names[verdict.attribute] : nil
        let attribute = reference.map { "\($0.scope).\($0.name)" }
        let type = reference.map { $0.type.spelling { compiled.typeNames[$0] } } ?? "value"
        let isMissing = verdict.cause == .attributeMissing
        return CauseReference(
            code: code(verdict).description, attribute: attribute,
            message: "\(attribute ?? "an attribute") \(isMissing ? "is missing" : "has the wrong type"): send a \(type)"
        )
    }
}
