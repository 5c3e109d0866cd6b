// Taking a role that the policies offer: the offers are evaluated on one snapshot, and the grant is recorded only if nothing
// that they read has changed when it is written. Off the hot path: decisions read the subject's view alone.

package import AttributeStore
import DecisionEngine
package import DecisionProtocol
import PolicyLanguage

/// Who asks for a role.
package struct RoleRequest: Sendable {
    package var subject: EntityName
    package var role: String
    /// For how long, ms; nil for as long as an offer allows.
    package var duration: Int64?
    /// What the role is taken for.
    package var reason: String
    /// The session whose authentication counts.
    package var session: String?
    /// Who has it recorded.
    package var by: String

    package init(
        subject: EntityName, role: String, duration: Int64?, reason: String, session: String?, by: String
    ) {
        self.subject = subject
        self.role = role
        self.duration = duration
        self.reason = reason
        self.session = session
        self.by = by
    }
}

/// What becomes of it.
package enum RoleAnswer: Sendable {
    case granted(RoleGrant)
    /// After proving more it might be; by the demand of this offer.
    case stepUp(StepUp, offer: RuleReference)
    case denied(RoleDenial)
}

/// Why a role is not granted.
package struct RoleDenial: Sendable {
    /// Stable, for programs.
    package enum Code: String, Sendable, CaseIterable {
        /// The policies have no role of this name.
        case unknownRole = "unknown_role"
        /// No offer of the role is for the subject, now.
        case notOffered = "not_offered"
        /// Offers are, for a shorter time.
        case durationTooLong = "duration_too_long"
        /// No level of the catalog meets what is demanded.
        case stepUpUnreachable = "step_up_unreachable"
        case subjectInactive = "subject_inactive"
        case sessionEnded = "session_ended"
        /// The request cannot be put to the policies; a denial that is an error.
        case error
    }

    package var code: Code
    package var message: String
    /// The longest time of the offers that are for the subject, ms.
    package var atMost: Int64?

    /// True when it is no decision.
    package var isError: Bool { code == .error || code == .unknownRole }
}

/// Grants roles of one tenant.
package struct RoleDesk {
    private let store: Store
    private let tenant: String
    private let board: PolicyBoard
    /// Times that a request is decided anew because something changed meanwhile.
    private static let attempts = 20

    /// - Parameter board: where the policies are kept compiled.
    package init(_ store: Store, tenant: String, board: PolicyBoard) {
        self.store = store
        self.tenant = tenant
        self.board = board
    }

    /// Decides a request, and records the grant.
    /// - Parameter clock: ms since the epoch; looked at for each attempt, for what counts ends while others write.
    /// - Throws: `value_invalid` for a reason or duration that cannot be, `too_many_grants`, `conflict` when what is read
    ///   changes all the time, `version_unknown` when no policies decide.
    package func take(
        _ request: RoleRequest, clock: () -> Int64, _ writer: inout TenantWriter
    ) throws(StoreError) -> RoleAnswer {
        if let problem = RoleGrant.problem(withReason: request.reason) { throw StoreError(.valueInvalid, problem) }
        if let duration = request.duration, duration < 1_000 {
            throw StoreError(.valueInvalid, "a role is taken for a second at least")
        }
        var refusal = StoreError(.conflict, "the policies change all the time: ask again")
        for _ in 0..<Self.attempts {
            guard let (answer, basis) = try decide(request, now: clock()) else { continue }
            guard case .granted(let grant) = answer else { return answer }
            do throws(StoreError) {
                try writer.grant(grant, decidedBy: basis)
                return answer
            } catch {
                guard error.code == .conflict else { throw error }
                refusal = error
            }
        }
        throw refusal
    }

    /// The answer, with the grant that is to be recorded; nil when the policies were replaced meanwhile.
    private func decide(
        _ request: RoleRequest, now: Int64
    ) throws(StoreError) -> (RoleAnswer, DecisionBasis)? {
        do throws(SurveyError) {
            let survey = try TenantSurvey(store, tenant: tenant, now: now, board: board)
            var question = Question(
                subject: Entity(type: request.subject.type, id: request.subject.id), action: nil, resource: nil)
            question.session = request.session
            try survey.ask(question)
            let policies = survey.program.policies
            guard let role = policies.roles.firstIndex(where: { $0.name == request.role }) else {
                let known = policies.roles.takeable.map { policies.roles[$0].name }
                let denial = RoleDenial(
                    code: .unknownRole,
                    message: "the policies have no role \"\(request.role.prefix(64))\"; "
                        + (known.isEmpty ? "none is offered" : "offered are \(known.joined(separator: ", "))"))
                return try survey.basis().map { (.denied(denial), $0) }
            }
            let verdict = try survey.takes(role, for: request.duration)
            guard let basis = try survey.basis() else { return nil }
            return (answer(verdict, request, survey.compiled, now), basis)
        } catch {
            switch error {
            case .store(let error): throw error
            case .noPolicies(let message): throw StoreError(.versionUnknown, message)
            case .question(let message), .unknownSubject(let message), .tooMuchWork(let message):
                throw StoreError(.valueInvalid, message)
            }
        }
    }

    private func answer(
        _ found: RoleVerdict, _ request: RoleRequest, _ compiled: CompiledTenant, _ now: Int64
    ) -> RoleAnswer {
        let policies = compiled.program.policies
        switch found.verdict.kind {
        case .permitted:
            let offer = policies.offers[found.offer]
            let reference = CompiledTenant.reference(offer, policies.files)
            let (end, overflowed) = now.addingReportingOverflow(min(request.duration ?? offer.atMost, offer.atMost))
            return .granted(
                RoleGrant(
                    subject: request.subject, role: request.role, since: now, until: overflowed ? .max : end,
                    reason: request.reason, by: request.by, version: compiled.version, offer: offer.name,
                    place: "\(reference.file):\(reference.line)"))
        case .stepUp:
            return .stepUp(
                AnswerWriter.stepUp(found.verdict, compiled.program.catalog),
                offer: CompiledTenant.reference(policies.offers[found.offer], policies.files))
        case .forbidden, .error, .notPermitted:
            return .denied(denial(found, request, compiled))
        }
    }

    private func denial(_ found: RoleVerdict, _ request: RoleRequest, _ compiled: CompiledTenant) -> RoleDenial {
        let cause = AnswerWriter.cause(found.verdict, compiled)
        switch (found.verdict.kind, found.verdict.cause) {
        case (_, .subjectInactive): return RoleDenial(code: .subjectInactive, message: cause.message)
        case (_, .sessionEnded): return RoleDenial(code: .sessionEnded, message: cause.message)
        case (.error, _): return RoleDenial(code: .error, message: "\(cause.message) (\(cause.code))")
        case (_, .stepUpUnreachable):
            return RoleDenial(
                code: .stepUpUnreachable, message: "no reachable assurance level proves what the offer demands",
                atMost: found.atMost)
        default: break
        }
        if found.atMost == 0 {
            return RoleDenial(
                code: .notOffered, message: "no offer of the role \(request.role) is for the subject, now")
        }
        return RoleDenial(
            code: .durationTooLong,
            message: "the role \(request.role) is offered for at most \(found.atMost / 1_000) s",
            atMost: found.atMost)
    }
}
