// What a subject may do: for each action on each type of resource, what remains of the policies as a condition, and which
// registered resources it holds for.

import AnalysisReports
import AttributeStore
package import DecisionEngine
package import DecisionPath
package import DecisionProtocol
package import PolicyAnalysis
import PolicyLanguage
package import StrictJSON

/// What one subject may do, on one snapshot and for one instant.
package struct PermissionInventory {
    /// An action on a type of resource.
    package struct Permission: Sendable, Hashable {
        package let action: String
        package let type: String
    }

    /// What may be done, and on which registered resources.
    package struct Entry: Sendable {
        package let permission: Permission
        package let plan: PolicyPlan
        /// Nil when no resource of the type is registered.
        package let resources: Resources?
    }

    /// Registered resources by outcome.
    package struct Resources: Sendable, Hashable {
        /// Ids, as many as were asked for.
        package var permitted: [String] = []
        package var stepUp: [String] = []
        package var permittedCount = 0
        package var stepUpCount = 0
        package var looked = 0
        /// There are more than were looked at.
        package var isCutShort = false
    }

    /// What is asked about, and with which assumptions.
    package struct Options {
        package var session = AssumedSession.own
        /// This action alone.
        package var action: String?
        /// This type of resource alone.
        package var type: String?
        /// The context, as the members of an object; nil leaves it open.
        package var context: JSONValue?
        /// The time is left open, so that schedules stand in the conditions.
        package var isTimeOpen = false
        /// Registered resources to name for each permission and outcome.
        package var maxNamed = 20
        /// Registered resources that a question is asked about, for each permission.
        package var maxResources = 10_000
        /// Sessions of the store that are looked through for the subject's.
        package var maxSessions = Int.max

        package init() {}
    }

    /// The permissions there are to ask about, by type in the catalog's order.
    package let permissions: [Permission]
    /// The subject with what is known of it.
    package let situation: Situation
    /// The session of the store that counts; nil when none does.
    package let session: String?
    private let survey: TenantSurvey
    private let options: Options

    /// Signs the subject in.
    /// - Parameter question: the subject, with the properties that a question would give; the rest does not count.
    /// - Throws: `question` for names that the catalog does not have, `unknownSubject`, `tooMuchWork`.
    package init(_ survey: TenantSurvey, of question: Question, _ options: Options) throws(SurveyError) {
        self.survey = survey
        self.options = options
        permissions = try Self.permissions(survey, options)
        guard let entity = question.subject else { throw .question("the subject is missing") }
        let subject = EntityName(type: entity.type, id: entity.id)
        try survey.ask(Question(subject: entity, action: nil, resource: nil))
        if case .assumed(let facts) = options.session { survey.assume(session: facts) }
        session = try Self.signIn(survey, subject, options)
        situation = try survey.situation()
        try survey.requireKnown(situation)
    }

    private static func permissions(
        _ survey: TenantSurvey, _ options: Options
    ) throws(SurveyError) -> [Permission] {
        let catalog = survey.catalog
        for (name, known, what) in [
            (options.action, catalog.actions.map(\.name), "action"),
            (options.type, catalog.entities.map(\.name), "type"),
        ] {
            if let name, !known.contains(name) {
                throw .question(
                    "\(what): the catalog has no \"\(name)\"; it has \(known.joined(separator: ", "))")
            }
        }
        return catalog.entities.indices.flatMap { type in
            let name = catalog.entities[type].name
            guard options.type ?? name == name else { return [Permission]() }
            return catalog.actions.filter { $0.resourceTypes.contains(type) && options.action ?? $0.name == $0.name }
                .map { Permission(action: $0.name, type: name) }
        }
    }

    /// Takes the session that is meant: of the subject's own, the one that proves most.
    /// - Returns: its id, when it is one of the store.
    private static func signIn(
        _ survey: TenantSurvey, _ subject: EntityName, _ options: Options
    ) throws(SurveyError) -> String? {
        switch options.session {
        case .none, .assumed: return nil
        case .recorded(let id):
            try survey.look(session: id)
            return id
        case .own: break
        }
        let live = try survey.liveSessions(of: subject, lookingAt: options.maxSessions)
        var best: (rank: (Int, Int64), id: String)?
        for id in live[subject] ?? [] {
            try survey.look(session: id)
            guard let facts = try survey.situation().session, !facts.hasEnded else { continue }
            let rank = (facts.levels.nonzeroBitCount, facts.authenticatedAt ?? .min)
            if best.map({ $0.rank < rank }) ?? true { best = (rank, id) }
        }
        try survey.look(session: best?.id)
        return best?.id
    }

    /// What remains of the policies for one permission.
    package func entry(_ permission: Permission) throws(SurveyError) -> Entry {
        var members = [
            JSONMember("subject", .object(["type": .string("user"), "id": .string("*")])),
            JSONMember("action", .object(["name": .string(permission.action)])),
            JSONMember("resource", .object(["type": .string(permission.type), "id": .string("*")])),
        ]
        if let context = options.context { members.append(JSONMember("context", context)) }
        var question: Question
        do throws(RequestError) {
            question = try Question(json: .object(members))
        } catch {
            throw .question(error.description)
        }
        // The subject stays.
        question.subject = nil
        try survey.ask(question)
        var open: Set<AttributeScope> = [.action]
        if options.context == nil { open.insert(.context) }
        let plan = PolicyPlan(
            survey.program.policies, try survey.situation(), open: open, isTimeOpen: options.isTimeOpen)
        return Entry(permission: permission, plan: plan, resources: try resources(permission.type))
    }

    /// Asks about each registered resource; nil when there is none.
    private func resources(_ name: String) throws(SurveyError) -> Resources? {
        guard let type = survey.catalog.entity(named: name) else { return nil }
        var found = Resources()
        var after: String?
        while true {
            let ids = try survey.ids(type: type, after: after, limit: 1_000)
            for id in ids {
                survey.look(resource: id)
                found.looked += 1
                switch try survey.decide().outcome {
                case .permit:
                    found.permittedCount += 1
                    if found.permitted.count < options.maxNamed { found.permitted.append(id) }
                case .stepUp:
                    found.stepUpCount += 1
                    if found.stepUp.count < options.maxNamed { found.stepUp.append(id) }
                case .deny: break
                }
            }
            guard ids.count == 1_000 else { break }
            if found.looked >= options.maxResources {
                found.isCutShort = true
                break
            }
            after = ids.last
        }
        return found.looked == 0 ? nil : found
    }
}

// MARK: JSON

extension PermissionInventory.Entry {
    /// The conditions as text and as trees, what a step-up would demand, what makes every question an error, and the
    /// registered resources.
    package var json: JSONValue {
        let words = ConditionText(plan.restriction.policies, subjectType: plan.restriction.subjectType)
        let writer = ConditionJSON(plan.restriction.policies)
        func outcome(_ condition: Condition, _ extent: Extent) -> JSONValue {
            .object([
                "extent": .string("\(extent)"), "when": .string(words.write(condition)),
                "condition": writer.write(condition),
            ])
        }
        var members = [
            JSONMember("action", .string(permission.action)), JSONMember("resource", .string(permission.type)),
            JSONMember("permit", outcome(plan.permit, plan.permitExtent)),
            JSONMember("step_up", outcome(plan.stepUp, plan.stepUpExtent)),
            JSONMember(
                "demands",
                .array(
                    plan.stepUps.map { demand, condition in
                        .object([
                            "step_up": PolicyAnalysis.Outcome.stepUp(demand).json,
                            "when": .string(words.write(condition)),
                        ])
                    })),
            JSONMember("missing", .array(plan.faults.map { .string("\($0.scope).\($0.name)") })),
        ]
        if let resources { members.append(JSONMember("registered", resources.json)) }
        if plan.validUntil != .max {
            members.append(JSONMember("valid_until", .string(Instant.format(plan.validUntil))))
        }
        return .object(members)
    }
}

extension PermissionInventory.Resources {
    fileprivate var json: JSONValue {
        .object([
            "permitted": .array(permitted.map { .string($0) }), "permitted_count": .integer(permittedCount),
            "step_up": .array(stepUp.map { .string($0) }), "step_up_count": .integer(stepUpCount),
            "looked_at": .integer(looked), "cut_short": .bool(isCutShort),
        ])
    }
}
