// Answers of the server.

import CLinux

/// What the server decided, and why.
public struct Decision: Sendable, Hashable {
    /// What the caller may do.
    public enum Outcome: Sendable, Hashable {
        /// Allowed, if all ``Decision/obligations`` are met.
        case permit
        case deny
        /// Denied now, permitted after an authentication that meets the demand.
        case stepUp(StepUp)
    }

    /// What decided.
    public enum Kind: String, Sendable, Hashable {
        case permitted
        /// A rule forbids it.
        case forbidden
        /// No rule permits it.
        case notPermitted = "not_permitted"
        case stepUp = "step_up"
        /// The question lacks something or contradicts the catalog: ``Decision/cause`` says what.
        case error
    }

    /// 16 bytes, unique; the decision log has them too.
    public struct ID: Sendable, Hashable {
        package let high: UInt64
        package let low: UInt64
    }

    /// An instant, as the server's clock has it.
    public struct Timestamp: Sendable, Hashable, Comparable {
        /// Since 1970, in UTC.
        public let milliseconds: UInt64

        /// An instant by its milliseconds since 1970.
        public init(milliseconds: UInt64) { self.milliseconds = milliseconds }

        /// This instant by the machine's clock.
        public static var now: Timestamp { Timestamp(milliseconds: UInt64(clamping: stile_now_ms())) }

        /// Whether one is before the other.
        public static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }
    }

    /// A rule that took part.
    public struct Reason: Sendable, Hashable {
        /// The policy's and the rule's name: `Payroll/approve`.
        public let rule: String
        /// The policy file.
        public let file: String
        /// The line on which the rule begins.
        public let line: Int
        /// The author's words, if any.
        public let because: String?

        /// A reason, for tests.
        public init(rule: String, file: String, line: Int, because: String? = nil) {
            self.rule = rule
            self.file = file
            self.line = line
            self.because = because
        }
    }

    /// A cause that no rule is: an error in the question, a subject or session that has ended.
    public struct Cause: Sendable, Hashable {
        /// Stable: `attribute_missing`, `unknown_subject`, `subject_inactive`, …
        public let code: String
        /// The attribute at fault, as `resource.total`.
        public let attribute: String?
        /// What and how to mend it.
        public let message: String

        /// A cause, for tests.
        public init(code: String, attribute: String? = nil, message: String) {
            self.code = code
            self.attribute = attribute
            self.message = message
        }
    }

    /// The authentication that would make it a permit.
    public struct StepUp: Sendable, Hashable {
        /// The least assurance level that will do; nil for any.
        public let level: String?
        /// The authentication's greatest age; nil for any.
        public let within: Duration?
        /// Authentication methods (RFC 8176) that must have been used.
        public let methods: [String]
        /// The `acr` values that prove the level, of all issuers.
        public let acrValues: [String]

        /// A demand, for tests.
        public init(
            level: String? = nil, within: Duration? = nil, methods: [String] = [], acrValues: [String] = []
        ) {
            self.level = level
            self.within = within
            self.methods = methods
            self.acrValues = acrValues
        }
    }

    /// Something that must be done along with a permit (AuthZEN obligations profile 1.0 draft 1).
    public struct Obligation: Sendable, Hashable {
        /// As the policy names it.
        public let id: String
        /// What kind of duty it is: `step-up`, `notify`, …
        public let type: String
        /// Its details, by its type.
        public let properties: [String: PropertyValue]

        /// An obligation, for tests.
        public init(id: String, type: String, properties: [String: PropertyValue] = [:]) {
            self.id = id
            self.type = type
            self.properties = properties
        }
    }

    /// What most answers have little or nothing of, out of the way so that a decision is cheap to hand on.
    final class Details: Sendable {
        let reasons: [Reason]
        let cause: Cause?
        let stepUp: StepUp?
        let obligations: [Obligation]

        init(reasons: [Reason], cause: Cause?, stepUp: StepUp?, obligations: [Obligation]) {
            self.reasons = reasons
            self.cause = cause
            self.stepUp = stepUp
            self.obligations = obligations
        }
    }

    /// Names the decision in the log of decisions.
    public let id: ID
    /// What decided.
    public let kind: Kind
    /// The version of the policies that decided.
    public let policyVersion: UInt64
    /// The snapshot of the store it was decided on.
    public let snapshot: UInt64
    /// When it was decided.
    public let evaluatedAt: Timestamp
    /// The first instant at which time alone could change it; nil when time alone changes nothing.
    public let validUntil: Timestamp?
    let details: Details?

    init(
        id: ID, kind: Kind, policyVersion: UInt64, snapshot: UInt64, evaluatedAt: Timestamp, validUntil: Timestamp?,
        details: Details?
    ) {
        self.id = id
        self.kind = kind
        self.policyVersion = policyVersion
        self.snapshot = snapshot
        self.evaluatedAt = evaluatedAt
        self.validUntil = validUntil
        self.details = details
    }

    /// A decision for tests of what is done with one. The client makes its own from the server's answers alone.
    public init(
        _ kind: Kind, obligations: [Obligation] = [], stepUp: StepUp? = nil, reasons: [Reason] = [],
        cause: Cause? = nil, validUntil: Timestamp? = nil
    ) {
        self.init(
            id: ID(high: 0, low: 0), kind: kind, policyVersion: 0, snapshot: 0, evaluatedAt: .now,
            validUntil: validUntil,
            details: Details(reasons: reasons, cause: cause, stepUp: stepUp, obligations: obligations))
    }

    /// What the caller may do.
    public var outcome: Outcome {
        switch kind {
        case .permitted: .permit
        case .stepUp: .stepUp(details?.stepUp ?? StepUp())
        case .forbidden, .notPermitted, .error: .deny
        }
    }

    /// The server permits and asks for nothing in return. Whoever does not know an obligation must deny (obligations
    /// profile, 3), therefore this is false when there is one.
    public var permits: Bool { kind == .permitted && details.map(\.obligations.isEmpty) ?? true }

    /// The server permits, if the caller meets all ``obligations``.
    public var permitsWithObligations: Bool { kind == .permitted }

    /// What must be done along with it.
    public var obligations: [Obligation] { details?.obligations ?? [] }

    /// The rules that made it; empty where ``cause`` did, or where no rule permits.
    public var reasons: [Reason] { details?.reasons ?? [] }

    /// What decided instead of a rule; nil when rules did.
    public var cause: Cause? { details?.cause }

    /// Whether time alone cannot have changed it yet.
    public func isCurrent(at instant: Timestamp = .now) -> Bool { validUntil.map { instant < $0 } ?? true }
}

extension Decision: CustomStringConvertible {
    /// A sentence for people.
    public var description: String {
        if let cause { return "\(cause.message) (\(cause.code))" }
        let sentence =
            switch kind {
            case .permitted: "permitted"
            case .forbidden: "a rule forbids it"
            case .notPermitted: "no rule permits it"
            case .stepUp: "a step-up is needed"
            case .error: "the question is an error"
            }
        guard let reason = reasons.first else { return sentence }
        return "\(sentence): \(reason.because ?? reason.rule), \(reason.file):\(reason.line)"
    }
}

extension Decision.Details: Hashable {
    static func == (left: Decision.Details, right: Decision.Details) -> Bool {
        left.reasons == right.reasons && left.cause == right.cause && left.stepUp == right.stepUp
            && left.obligations == right.obligations
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(reasons)
        hasher.combine(cause)
    }
}

extension Decision.ID: CustomStringConvertible {
    /// 32 hexadecimal digits, as the tools show it.
    public var description: String {
        [high, low].map { half in
            let digits = String(half, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// The 16 bytes.
    public var bytes: [UInt8] {
        [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * $0)) } }
    }
}

/// How the server and the tenant stand.
public struct ServerStatus: Sendable, Hashable {
    /// The version of the policies that decides.
    public let activeVersion: UInt64
    /// The version that the store wants to decide.
    public let storedVersion: UInt64
    /// The newest snapshot of the store.
    public let snapshot: UInt64
    /// Given since the start by the thread that answers this.
    public let answers: UInt64
    /// Of kind error among them.
    public let errors: UInt64
    /// `ready`, or why the stored version does not decide.
    public let state: String
}
