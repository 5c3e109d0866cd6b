// A decision as the log holds it, for people and programs.

import CBOR
package import DecisionProtocol
import PolicyLanguage
package import StrictJSON

/// One decision of a log.
package struct LoggedDecision: Sendable, Hashable {
    /// Where it is written.
    package var lane = 0
    package var segment: UInt64 = 0
    package var sequence: UInt64 = 0
    package var answer: Answer
    /// What is kept of the question; nil when nothing is.
    package var question: Question?
    /// Attributes that were given and are not written, such as `resource.total`.
    package var masked: [String]
    /// Properties left out that the catalog does not declare for questions.
    package var undeclared: UInt64
    /// Why the question or its properties are missing: `masking_failed`, `too_long`.
    package var withheld: String?
    /// One of so many decisions is written; nil when all are.
    package var sampledRate: UInt64?
    /// `subscribe` for the first answer to a question that is held open, `push` for a later one; nil for the usual.
    package var occasion: String?

    /// Reads a record's payload; nil when it is none that this version knows.
    package init?(payload: [UInt8]) {
        guard let value = try? CBORValue.decode(payload),
            let answer = value[0].flatMap({ Answer($0, isLogged: true) })
        else { return nil }
        self.answer = answer
        question = value[1].map { Question(logged: $0) }
        masked = (value[2]?.items ?? []).compactMap(\.text)
        undeclared = value[3]?.uint ?? 0
        withheld = value[4]?.text
        sampledRate = value[5]?.uint
        occasion = value[6]?.uint.flatMap { FrameKind(rawValue: $0) }.map { "\($0)" }
    }

    /// The instant of the decision, ms since the epoch.
    package var time: Int64 { Int64(clamping: answer.evaluatedAt) }
}

extension Question {
    /// Reads the fields of a question (grammar/decision.cddl); what is missing is not given.
    init(logged value: CBORValue) {
        func entity(_ key: UInt64) -> Entity? {
            guard let part = value[key], let type = part[0]?.text else { return nil }
            return Entity(type: type, id: part[1]?.text ?? "", properties: part[2]?.pairs ?? [])
        }
        let action = value[3].flatMap { part in
            part[0]?.text.map { ActionName(name: $0, properties: part[2]?.pairs ?? []) }
        }
        self.init(subject: entity(2), action: action, resource: entity(4))
        context = value[5]?.pairs
        session = value[6]?.text
        device = value[7]?.text
    }
}

// MARK: JSON

extension LoggedDecision {
    /// The decision as one JSON object.
    package func json(tenant: String) -> JSONValue {
        var members: [JSONMember] = [
            JSONMember("time", .string(Instant.format(time))), JSONMember("tenant", .string(tenant)),
            JSONMember("decision_id", .string(answer.decisionIDText)),
            JSONMember("outcome", .string(answer.outcome.name)), JSONMember("kind", .string(answer.kind.name)),
        ]
        members += questionMembers
        let context = answer.json["context"]
        for name in [
            "rules", "error", "acr_values", "amr_values", "max_age", "assurance", "obligations", "valid_until_ms",
        ] {
            if let value = context?[name] { members.append(JSONMember(name, value)) }
        }
        members.append(JSONMember("policy_version", .integer(answer.policyVersion)))
        members.append(JSONMember("snapshot", .integer(answer.snapshot)))
        if !masked.isEmpty { members.append(JSONMember("masked", .array(masked.map { .string($0) }))) }
        if undeclared > 0 { members.append(JSONMember("undeclared", .integer(undeclared))) }
        if let occasion { members.append(JSONMember("occasion", .string(occasion))) }
        if let withheld { members.append(JSONMember("withheld", .string(withheld))) }
        if let sampledRate { members.append(JSONMember("sampled", .integer(sampledRate))) }
        members.append(
            JSONMember(
                "log",
                .object(["lane": .integer(lane), "segment": .integer(segment), "sequence": .integer(sequence)])))
        return .object(members)
    }

    private var questionMembers: [JSONMember] {
        guard let question else { return [] }
        var members: [JSONMember] = []
        if let subject = question.subject { members.append(JSONMember("subject", Self.json(subject))) }
        if let action = question.action {
            var parts = [JSONMember("name", .string(action.name))]
            if !action.properties.isEmpty {
                parts.append(JSONMember("properties", CBORValue.map(action.properties).json))
            }
            members.append(JSONMember("action", .object(parts)))
        }
        if let resource = question.resource { members.append(JSONMember("resource", Self.json(resource))) }
        if let context = question.context { members.append(JSONMember("context", CBORValue.map(context).json)) }
        if let session = question.session { members.append(JSONMember("session", .string(session))) }
        if let device = question.device { members.append(JSONMember("device", .string(device))) }
        return members
    }

    private static func json(_ entity: Entity) -> JSONValue {
        var members = [JSONMember("type", .string(entity.type)), JSONMember("id", .string(entity.id))]
        if !entity.properties.isEmpty {
            members.append(JSONMember("properties", CBORValue.map(entity.properties).json))
        }
        return .object(members)
    }

    /// The decision as an event of the Open Cybersecurity Schema Framework 1.4: API Activity (6003), whose actor carries
    /// the authorization that was decided. OCSF has no class of its own for a decision about access; Authorize Session
    /// (3003) is about privileges given to a session.
    package func ocsf(tenant: String, software: String) -> JSONValue {
        let isPermit = answer.outcome == .permit
        var actor: [JSONMember] = []
        if let subject = question?.subject {
            actor.append(JSONMember("user", .object(["uid": .string(subject.id), "type": .string(subject.type)])))
        }
        if let session = question?.session { actor.append(JSONMember("session", .object(["uid": .string(session)]))) }
        let decision = JSONMember("decision", .string(answer.outcome.name))
        var authorizations = answer.rules.map { rule in
            var policy = [
                JSONMember("name", .string(rule.name)), JSONMember("version", .string("\(answer.policyVersion)")),
                JSONMember("uid", .string("\(rule.file):\(rule.line)")),
            ]
            if let reason = rule.reason { policy.append(JSONMember("desc", .string(reason))) }
            return JSONValue.object([decision, JSONMember("policy", .object(policy))])
        }
        if authorizations.isEmpty { authorizations = [.object([decision])] }
        actor.append(JSONMember("authorizations", .array(authorizations)))
        let operation = question?.action?.name ?? "unknown"
        var members: [JSONMember] = [
            JSONMember("class_uid", .integer(6003)), JSONMember("class_name", .string("API Activity")),
            JSONMember("category_uid", .integer(6)), JSONMember("category_name", .string("Application Activity")),
            JSONMember("activity_id", .integer(99)), JSONMember("activity_name", .string(operation)),
            JSONMember("type_uid", .integer(600_399)), JSONMember("type_name", .string("API Activity: Other")),
            JSONMember("severity_id", .integer(1)), JSONMember("time", .integer(time)),
            JSONMember("status_id", .integer(isPermit ? 1 : 2)),
            JSONMember("status", .string(isPermit ? "Success" : "Failure")),
            JSONMember("status_code", .string(answer.cause?.code ?? answer.kind.name)),
            JSONMember(
                "metadata",
                .object([
                    "version": .string("1.4.0"), "uid": .string(answer.decisionIDText), "tenant_uid": .string(tenant),
                    "sequence": .integer(sequence),
                    "product": .object([
                        "name": .string("Stile"), "vendor_name": .string("Stile"), "version": .string(software),
                    ]),
                ])),
            JSONMember("actor", .object(actor)), JSONMember("api", .object(["operation": .string(operation)])),
        ]
        if let resource = question?.resource {
            members.append(
                JSONMember(
                    "resources", .array([.object(["uid": .string(resource.id), "type": .string(resource.type)])])))
        }
        let address = question?.context?.first { $0.key == .text("ip") }?.value.text
        // Required by the class; unknown where the question does not say it.
        members.append(
            JSONMember("src_endpoint", .object(address.map { [JSONMember("ip", .string($0))] } ?? [])))
        if let device = question?.device {
            members.append(JSONMember("device", .object(["uid": .string(device), "type_id": .integer(0)])))
        }
        return .object(members)
    }
}

// MARK: Filter

/// Which decisions are wanted.
package struct LogFilter: Sendable {
    /// `type:id` or an id of any type.
    package var subject: String?
    /// `type:id`, `type:` for all of a type, or an id of any type.
    package var resource: String?
    package var action: String?
    /// Outcome or kind: permit, deny, step_up, error, forbidden, …
    package var outcomes: Set<String> = []
    /// A rule's whole name, or the part behind its policy's.
    package var rule: String?
    package var session: String?
    /// Instants, ms since the epoch: from the first on, before the second.
    package var since: Int64?
    package var until: Int64?
    package var decisionID: [UInt8]?

    package init() {}

    /// True when a decision is wanted.
    package func matches(_ decision: LoggedDecision) -> Bool {
        if let since, decision.time < since { return false }
        if let until, decision.time >= until { return false }
        if let decisionID, decision.answer.decisionID != decisionID { return false }
        if !outcomes.isEmpty, !outcomes.contains(decision.answer.outcome.name),
            !outcomes.contains(decision.answer.kind.name)
        {
            return false
        }
        if let rule,
            !decision.answer.rules.contains(where: { $0.name == rule || $0.name.hasSuffix("/\(rule)") })
        {
            return false
        }
        let question = decision.question
        if let subject, !Self.isNamed(question?.subject, subject) { return false }
        if let resource, !Self.isNamed(question?.resource, resource) { return false }
        if let action, question?.action?.name != action { return false }
        if let session, question?.session != session { return false }
        return true
    }

    private static func isNamed(_ entity: Entity?, _ name: String) -> Bool {
        guard let entity else { return false }
        if entity.id == name || "\(entity.type):\(entity.id)" == name { return true }
        return name == "\(entity.type):"
    }
}
