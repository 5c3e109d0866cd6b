// What a decision says, before names and text are put to it.

package import PolicyLanguage

/// The kinds of answer (language.md, "Semantics" 7).
package enum VerdictKind: UInt8, Sendable, Hashable, CaseIterable {
    /// A permit's demand is met.
    case permitted
    /// A forbid matches, or the subject or its session has ended.
    case forbidden
    /// No permit matches, or none whose demand could ever be met.
    case notPermitted
    /// A stronger or fresher authentication would permit.
    case stepUp
    /// No decision could be made; answered by deny.
    case error
}

/// Why no decision could be made, or which built-in rule decided.
package enum VerdictCause: UInt8, Sendable, Hashable, CaseIterable {
    /// Rules of the policy decided.
    case rules
    /// The subject is deprovisioned (SCIM `active: false`).
    case subjectInactive
    /// The session has ended.
    case sessionEnded
    /// The store knows no such subject.
    case unknownSubject
    /// The catalog does not define the action on this type of resource.
    case actionNotDefined
    /// A required attribute of the question is missing.
    case attributeMissing
    /// An attribute of the question has a value of another type than the catalog declares.
    case attributeMalformed
    /// A record of the store is damaged or of another format.
    case recordDamaged
    /// A demand stands that no level of the catalog can meet.
    case stepUpUnreachable
}

/// The outcome of one decision. The rules that made it are in `DecisionScratch.rules`.
package struct Verdict: Sendable, Hashable {
    package var kind: VerdictKind
    package var cause: VerdictCause = .rules
    /// For `stepUp`: what the session must prove.
    package var demand = Demand(levels: 0, within: .max, methods: 0)
    /// For `stepUp`: the least level that proves it, an index into `Assurance.levels`; -1 when any level will do.
    package var level: Int = -1
    /// For `attributeMissing` and `attributeMalformed`: an index into `Program.operandNames`.
    package var attribute: Int = -1
    /// First instant (ms since the epoch) at which time alone could change the answer; `Int64.max` when none.
    package var validUntil: Int64 = .max

    package init(kind: VerdictKind, cause: VerdictCause = .rules) {
        self.kind = kind
        self.cause = cause
    }
}

/// Whether a subject may take a role that policies offer.
package struct RoleVerdict: Sendable, Hashable {
    /// `permitted`: it may, now. `stepUp`: it might after proving more. `notPermitted`: no offer of the role is for it, or
    /// none for so long; `forbidden` and `error` as for questions.
    package var verdict: Verdict
    /// The offer that is taken, or whose demand is to be met, by index of `CheckedPolicies.offers`; -1 for none.
    package var offer = -1
    /// The longest time of the offers that are for the subject, ms; 0 where none is.
    package var atMost: Int64 = 0
    /// The attribute at fault, for an error.
    package var attribute: AttributeReference?

    init(_ verdict: Verdict, attribute: AttributeReference? = nil) {
        self.verdict = verdict
        self.attribute = attribute
    }
}

/// All that one decision reads, borrowed for its duration (see `RecordView`'s invariant).
@safe
package struct DecisionInputs {
    /// Index of the subject's entity type.
    package var subjectType = 0
    /// Index of the action.
    package var action = 0
    /// Index of the resource's entity type.
    package var resourceType = 0
    /// The subject's view; empty when the store has none.
    package var subject = RecordView.empty
    /// The subject's id (`RecordBuilder.setIdentity`).
    package var subjectID = RecordView.empty
    /// What the question says of the subject.
    package var subjectInQuestion = RecordView.empty
    /// The session's record; empty when the question names none.
    package var session = RecordView.empty
    /// The device's record; empty when none is known.
    package var device = RecordView.empty
    /// The resource's record; empty when it is not registered.
    package var resource = RecordView.empty
    /// The resource's id (`RecordBuilder.setIdentity`).
    package var resourceID = RecordView.empty
    /// What the question says of the resource.
    package var resourceInQuestion = RecordView.empty
    /// The action's properties.
    package var actionInQuestion = RecordView.empty
    /// The context.
    package var context = RecordView.empty
    /// The instant of the decision, ms since the epoch.
    package var now: Int64 = 0

    package init() {}
}
