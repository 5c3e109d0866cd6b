// An answer and its frame.

package import CBOR

/// What the caller may do.
package enum Outcome: UInt64, Sendable, Hashable, CaseIterable {
    case permit = 0
    case deny = 1
    case stepUp = 2

    /// The word in JSON and text.
    package var name: String {
        switch self {
        case .permit: "permit"
        case .deny: "deny"
        case .stepUp: "step_up"
        }
    }
}

/// Why: language.md, "Semantics" 7. The raw values are those of the engine's verdicts.
package enum AnswerKind: UInt64, Sendable, Hashable, CaseIterable {
    case permitted = 0
    case forbidden = 1
    case notPermitted = 2
    case stepUp = 3
    case error = 4

    /// The word in JSON and text.
    package var name: String {
        switch self {
        case .permitted: "permitted"
        case .forbidden: "forbidden"
        case .notPermitted: "not_permitted"
        case .stepUp: "step_up"
        case .error: "error"
        }
    }
}

/// A rule that took part.
package struct RuleReference: Sendable, Hashable {
    package var name: String
    package var file: String
    package var line: UInt64
    /// The author's `because`.
    package var reason: String?

    package init(name: String, file: String, line: UInt64, reason: String?) {
        self.name = name
        self.file = file
        self.line = line
        self.reason = reason
    }

    /// The reference as it stands in an answer.
    package var cbor: CBORValue {
        .record([0: .text(name), 1: .text(file), 2: .unsigned(line), 3: reason.map { .text($0) }])
    }

    init?(_ value: CBORValue) {
        guard let name = value[0]?.text, let file = value[1]?.text, let line = value[2]?.uint else { return nil }
        self.init(name: name, file: file, line: line, reason: value[3]?.text)
    }
}

/// A cause that no rule of the policy is: an error, an ended subject or session.
package struct CauseReference: Sendable, Hashable {
    /// Stable: `attribute_missing`, `unknown_subject`, `subject_inactive`, …
    package var code: String
    /// The attribute at fault, as `resource.total`.
    package var attribute: String?
    /// What and how to mend it.
    package var message: String

    package init(code: String, attribute: String?, message: String) {
        self.code = code
        self.attribute = attribute
        self.message = message
    }

    /// The cause as it stands in an answer.
    package var cbor: CBORValue {
        .record([0: .text(code), 1: attribute.map { .text($0) }, 2: .text(message)])
    }
}

/// What a step-up asks for.
package struct StepUp: Sendable, Hashable {
    /// The least assurance level that will do; nil when any level will.
    package var level: String?
    /// ms since the authentication at most; nil for any age.
    package var within: UInt64?
    /// Authentication methods (RFC 8176) that must have been used.
    package var methods: [String]
    /// The `acr` values that prove the level, of all issuers.
    package var acrValues: [String]

    package init(level: String?, within: UInt64?, methods: [String], acrValues: [String]) {
        self.level = level
        self.within = within
        self.methods = methods
        self.acrValues = acrValues
    }

    /// The demand as it stands in an answer.
    package var cbor: CBORValue {
        .record([
            0: level.map { .text($0) }, 1: within.map { .unsigned($0) },
            2: methods.isEmpty ? nil : .array(methods.map { .text($0) }),
            3: acrValues.isEmpty ? nil : .array(acrValues.map { .text($0) }),
        ])
    }

    init(_ value: CBORValue) {
        func texts(_ key: UInt64) -> [String] { (value[key]?.items ?? []).compactMap(\.text) }
        self.init(level: value[0]?.text, within: value[1]?.uint, methods: texts(2), acrValues: texts(3))
    }
}

/// An obligation (AuthZEN obligations profile 1.0 draft 1).
package struct Obligation: Sendable, Hashable {
    package var id: String
    package var type: String
    package var properties: [CBORPair]

    package init(id: String, type: String, properties: [CBORPair]) {
        self.id = id
        self.type = type
        self.properties = properties
    }

    /// The obligation as it stands in an answer.
    package var cbor: CBORValue { .record([0: .text(id), 1: .text(type), 2: .map(properties)]) }
}

/// A condition that kept a rule from matching.
package struct FailedCondition: Sendable, Hashable {
    package var file: String
    package var line: UInt64
    /// The text of the condition.
    package var text: String

    package init(file: String, line: UInt64, text: String) {
        self.file = file
        self.line = line
        self.text = text
    }
}

/// A rule that was looked at, for an explanation.
package struct Candidate: Sendable, Hashable {
    package var rule: RuleReference
    /// permit, forbid or require
    package var kind: String
    package var matches: Bool
    /// Why it does not match.
    package var failed: [FailedCondition]

    package init(rule: RuleReference, kind: String, matches: Bool, failed: [FailedCondition]) {
        self.rule = rule
        self.kind = kind
        self.matches = matches
        self.failed = failed
    }

    /// The candidate as it stands in an answer.
    package var cbor: CBORValue {
        .record([
            0: rule.cbor, 1: .text(kind), 2: .bool(matches),
            3: .array(failed.map { .record([0: .text($0.file), 1: .unsigned($0.line), 2: .text($0.text)]) }),
        ])
    }

    init?(_ value: CBORValue) {
        guard let rule = value[0].flatMap({ RuleReference($0) }), let kind = value[1]?.text else { return nil }
        let failed = (value[3]?.items ?? []).compactMap { item -> FailedCondition? in
            guard let file = item[0]?.text, let line = item[1]?.uint, let text = item[2]?.text else { return nil }
            return FailedCondition(file: file, line: line, text: text)
        }
        self.init(rule: rule, kind: kind, matches: value[2] == .bool(true), failed: failed)
    }
}

/// One answer.
package struct Answer: Sendable, Hashable {
    package var outcome: Outcome
    package var kind: AnswerKind
    /// 16 bytes, unique.
    package var decisionID: [UInt8] = []
    package var policyVersion: UInt64 = 0
    /// The snapshot of the store it was decided on.
    package var snapshot: UInt64 = 0
    /// ms since the epoch.
    package var evaluatedAt: UInt64 = 0
    /// First ms at which time alone could change it; nil when none.
    package var validUntil: UInt64?
    package var rules: [RuleReference] = []
    package var cause: CauseReference?
    package var stepUp: StepUp?
    package var obligations: [Obligation] = []
    package var candidates: [Candidate] = []

    /// An answer made where no server could be asked: deny, with the reason.
    package static func failClosed(code: String, message: String) -> Answer {
        var answer = Answer(outcome: .deny, kind: .error)
        answer.cause = CauseReference(code: code, attribute: nil, message: message)
        return answer
    }

    package init(outcome: Outcome, kind: AnswerKind) {
        self.outcome = outcome
        self.kind = kind
    }

    /// Reads an answer; nil when the value is none. An answer that is not wholly understood is no permit.
    /// - Parameter isLogged: of obligations the log has only id and type.
    package init?(_ value: CBORValue, isLogged: Bool = false) {
        guard let outcome = value[2]?.uint.flatMap({ Outcome(rawValue: $0) }),
            let kind = value[3]?.uint.flatMap({ AnswerKind(rawValue: $0) }),
            (outcome == .permit) == (kind == .permitted)
        else { return nil }
        self.init(outcome: outcome, kind: kind)
        if case .bytes(let id) = value[4] { decisionID = id }
        policyVersion = value[5]?.uint ?? 0
        snapshot = value[6]?.uint ?? 0
        evaluatedAt = value[7]?.uint ?? 0
        validUntil = value[8]?.uint
        rules = (value[9]?.items ?? []).compactMap { RuleReference($0) }
        if let value = value[10], let code = value[0]?.text {
            cause = CauseReference(code: code, attribute: value[1]?.text, message: value[2]?.text ?? "")
        }
        stepUp = value[11].map { StepUp($0) }
        if let duties = value[12] {
            // All obligations are mandatory (obligations profile, 3): one that cannot be read must not be lost.
            guard let items = duties.items else { return nil }
            for item in items {
                guard let id = item[0]?.text, let type = item[1]?.text,
                    let properties = item[2]?.pairs ?? (isLogged ? [] : nil)
                else { return nil }
                obligations.append(Obligation(id: id, type: type, properties: properties))
            }
        }
        candidates = (value[13]?.items ?? []).compactMap { Candidate($0) }
    }
}

/// What the server says after hello.
package struct Welcome: Sendable, Hashable {
    package var tenant: String
    package var policyVersion: UInt64
    package var software: String

    package init(tenant: String, policyVersion: UInt64, software: String) {
        self.tenant = tenant
        self.policyVersion = policyVersion
        self.software = software
    }

    /// The frame, without its length.
    package var frame: [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.hello.rawValue), 5: .unsigned(policyVersion), 11: .unsigned(ProtocolLimits.version),
            12: .text(tenant), 14: .text(software),
            15: .record([
                0: .number(ProtocolLimits.maxFrameBytes), 1: .number(ProtocolLimits.maxBatch),
                2: .number(ProtocolLimits.maxNameBytes), 3: .number(CBORLimits.maxDepth),
                4: .number(ProtocolLimits.maxSubscriptions), 5: .number(ProtocolLimits.maxSubscriptionBytes),
            ]),
        ]).encoded
    }
}

/// How a tenant is served.
package struct StatusReport: Sendable, Hashable {
    package var tenant: String
    /// The version that decides.
    package var activeVersion: UInt64
    /// The version that the store wants to decide.
    package var storedVersion: UInt64
    /// `ready`, or why the stored version does not decide.
    package var state: String
    package var snapshot: UInt64
    /// Answers given on this thread since the start.
    package var answers: UInt64
    /// Answers of kind error among them.
    package var errors: UInt64
    /// Questions of the tenant that are held open on this thread.
    package var openQuestions: UInt64 = 0
    /// Decisions that were made again for them, whether or not their answers changed.
    package var reconsiderations: UInt64 = 0
    /// What was answered about the tenant on all threads; nil from a server that does not count.
    package var tally: DecisionTally?
    /// What the decision log records: `every`, `sampled:100`, `off`; with what is wrong, when something is.
    package var log = "off"
    /// Decisions of this process that should have been logged and are lost, whatever the cause.
    package var lost: UInt64 = 0

    package init(
        tenant: String, activeVersion: UInt64, storedVersion: UInt64, state: String, snapshot: UInt64, answers: UInt64,
        errors: UInt64
    ) {
        self.tenant = tenant
        self.activeVersion = activeVersion
        self.storedVersion = storedVersion
        self.state = state
        self.snapshot = snapshot
        self.answers = answers
        self.errors = errors
    }

    /// The frame, without its length.
    package func frame(id: UInt64) -> [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.status.rawValue), 1: .unsigned(id), 5: .unsigned(activeVersion),
            6: .unsigned(snapshot), 12: .text(tenant), 16: .unsigned(storedVersion), 17: .text(state),
            18: .unsigned(answers), 19: .unsigned(errors), 24: .unsigned(openQuestions),
            25: .unsigned(reconsiderations), 26: .text(log), 27: .unsigned(lost), 28: tally?.cbor,
        ]).encoded
    }

    init(_ value: CBORValue) {
        self.init(
            tenant: value[12]?.text ?? "", activeVersion: value[5]?.uint ?? 0, storedVersion: value[16]?.uint ?? 0,
            state: value[17]?.text ?? "", snapshot: value[6]?.uint ?? 0, answers: value[18]?.uint ?? 0,
            errors: value[19]?.uint ?? 0)
        openQuestions = value[24]?.uint ?? 0
        reconsiderations = value[25]?.uint ?? 0
        log = value[26]?.text ?? "off"
        lost = value[27]?.uint ?? 0
        tally = value[28].map { DecisionTally($0) }
    }
}

/// What the server says when a subscription has ended.
package enum Unsubscribed {
    /// The frame, without its length.
    package static func frame(id: UInt64, subscription: UInt64) -> [UInt8] {
        Unsubscribe.frame(id: id, subscription: subscription)
    }
}

/// What goes along with the listening socket.
package struct HandOver: Sendable, Hashable {
    package var software: String
    /// The socket's file is the server's to remove; false when a service manager holds it.
    package var ownsPath: Bool

    package init(software: String, ownsPath: Bool) {
        self.software = software
        self.ownsPath = ownsPath
    }

    /// The frame, without its length.
    package func frame(id: UInt64) -> [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.takeOver.rawValue), 1: .unsigned(id), 14: .text(software), 23: .bool(ownsPath),
        ]).encoded
    }
}

/// The server's last frame before it ends in good order. All that it was asked on the connection is answered; what has no
/// answer was not asked, and goes to the server that is there next.
package enum Goodbye {
    /// The frame, without its length.
    package static let frame = CBORValue.record([0: .unsigned(FrameKind.goodbye.rawValue)]).encoded
}

/// A frame from the server.
package enum ServerFrame: Sendable {
    case welcome(Welcome)
    case answer(id: UInt64, Answer)
    case batch(id: UInt64, [Answer])
    case status(id: UInt64, StatusReport)
    /// A question is held open; its first answer.
    case subscribed(id: UInt64, subscription: UInt64, Answer)
    case unsubscribed(id: UInt64, subscription: UInt64)
    /// A new answer to a question that is held open. Belongs to no request.
    case pushed(subscription: UInt64, Answer)
    /// The listening socket comes with this frame, as ancillary data.
    case handOver(id: UInt64, software: String, ownsPath: Bool)
    /// The server ends.
    case goodbye
    /// A request was not carried out; the connection goes on.
    case refused(id: UInt64, ProtocolError)
    /// The connection is closed.
    case error(ProtocolError)

    /// Decodes a frame; nil when it is none that this version knows.
    package init?(_ bytes: [UInt8]) {
        guard let value = try? CBORValue.decode(bytes), let number = value[0]?.uint,
            let kind = FrameKind(rawValue: number)
        else { return nil }
        let id = value[1]?.uint ?? 0
        switch kind {
        case .hello:
            self = .welcome(
                Welcome(
                    tenant: value[12]?.text ?? "", policyVersion: value[5]?.uint ?? 0, software: value[14]?.text ?? ""))
        case .question:
            guard let answer = Answer(value) else { return nil }
            self = .answer(id: id, answer)
        case .batch:
            guard let items = value[9]?.items else { return nil }
            let answers = items.compactMap { Answer($0) }
            guard answers.count == items.count else { return nil }
            self = .batch(id: id, answers)
        case .status:
            self = .status(id: id, StatusReport(value))
        case .subscribe:
            guard let answer = Answer(value), let subscription = value[22]?.uint else { return nil }
            self = .subscribed(id: id, subscription: subscription, answer)
        case .unsubscribe:
            guard let subscription = value[22]?.uint else { return nil }
            self = .unsubscribed(id: id, subscription: subscription)
        case .push:
            guard let answer = Answer(value), let subscription = value[22]?.uint else { return nil }
            self = .pushed(subscription: subscription, answer)
        case .takeOver:
            self = .handOver(id: id, software: value[14]?.text ?? "", ownsPath: value[23] == .bool(true))
        case .goodbye: self = .goodbye
        case .error:
            let code = value[20]?.text.flatMap { ProtocolError.Code(rawValue: $0) } ?? .malformedFrame
            let error = ProtocolError(code, value[21]?.text ?? "")
            self = value[1]?.uint.map { .refused(id: $0, error) } ?? .error(error)
        }
    }
}

extension ProtocolError {
    /// The frame after which the connection is closed, without its length.
    package var frame: [UInt8] { record(id: nil) }

    /// The frame that refuses one request and lets the connection go on, without its length.
    package func frame(id: UInt64) -> [UInt8] { record(id: id) }

    private func record(id: UInt64?) -> [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.error.rawValue), 1: id.map { .unsigned($0) }, 20: .text(code.rawValue),
            21: .text(message),
        ]).encoded
    }
}
