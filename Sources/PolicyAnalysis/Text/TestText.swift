// A situation as a `test` block, which an author can keep.

package import DecisionEngine
package import PolicyLanguage

/// Writes situations as tests.
package struct TestText {
    private let policies: CheckedPolicies
    private var catalog: Catalog { policies.catalog }

    package init(_ policies: CheckedPolicies) { self.policies = policies }

    /// The block. What a test cannot say (a value of a wrong type, a subject that the store does not know) is said in
    /// comments.
    package func write(_ situation: Situation, name: String, expect outcome: Outcome?) -> String {
        var lines: [String] = ["test \(ConstantText.quoted(name)) {"]
        let subject = catalog.entities[situation.subjectType]
        var fields = ["id \(ConstantText.quoted(situation.subjectID))"]
        fields += values(.subject, situation, subject.attributes)
        if !situation.groups.isEmpty {
            let names = situation.groups.sorted().map { ConstantText.quoted(policies.groups[$0]) }
            fields.append("groups [\(names.joined(separator: ", "))]")
        }
        let taken = policies.roles.takeable.map { policies.roles[$0].name }
            .filter { (situation.granted[$0] ?? .min) > situation.now }
        if !taken.isEmpty { fields.append("granted [\(taken.joined(separator: ", "))]") }
        lines.append("  given \(subject.name) { \(fields.joined(separator: " ")) }")
        if let session = situation.session {
            lines.append("  given session \(block(sessionFields(session, situation)))")
        }
        for (word, scope, attributes) in [
            ("device", AttributeScope.device, catalog.entities[Catalog.device].attributes),
            ("context", .context, catalog.context),
        ] {
            let fields = values(scope, situation, attributes)
            if !fields.isEmpty { lines.append("  given \(word) \(block(fields))") }
        }
        lines.append("  given now \(Instant.format(situation.now))")
        lines.append(question(situation))
        lines += remarks(situation)
        if let outcome { lines.append("  expect \(expectation(outcome))") }
        return lines.joined(separator: "\n") + "\n}"
    }

    private func question(_ situation: Situation) -> String {
        let action = catalog.actions[situation.action]
        let resource = catalog.entities[situation.resourceType]
        var text = "  ask \(action.name) on \(resource.name) \(ConstantText.quoted(situation.resourceID))"
        let containers = situation.containers.sorted().map { index in
            let container = policies.containers[index]
            return "\(catalog.entities[container.type].name) \(ConstantText.quoted(container.id))"
        }
        if !containers.isEmpty { text += " in \(containers.joined(separator: ", "))" }
        let fields = values(.resource, situation, resource.attributes)
        if !fields.isEmpty { text += " \(block(fields))" }
        let properties = values(.action, situation, action.attributes)
        if !properties.isEmpty { text += " with action \(block(properties))" }
        return text
    }

    private func block(_ fields: [String]) -> String { fields.isEmpty ? "{ }" : "{ \(fields.joined(separator: " ")) }" }

    private func sessionFields(_ session: SessionFacts, _ situation: Situation) -> [String] {
        var fields: [String] = []
        let level = catalog.assurance.implied.firstIndex(of: session.levels)
        if session.levels != 0, let level { fields.append("assurance \(catalog.assurance.levels[level])") }
        if let since = session.authenticatedAt { fields.append("age \(DurationText.format(situation.now - since))") }
        if session.methods != 0 {
            fields.append("methods [\(AuthenticationMethods.list(session.methods).joined(separator: ", "))]")
        }
        return fields + values(.session, situation, catalog.entities[Catalog.session].attributes)
    }

    private func values(_ scope: AttributeScope, _ situation: Situation, _ attributes: [Attribute]) -> [String] {
        attributes.compactMap { attribute in
            var value = situation.stored[scope]?[attribute.name]?.value
            if value == nil, case .value(let given) = situation.given[scope]?[attribute.name] { value = given }
            return value.map { "\(attribute.name) \(ConstantText.write($0, attribute.type.enumeration))" }
        }
    }

    private func remarks(_ situation: Situation) -> [String] {
        var remarks: [String] = []
        if !situation.isSubjectKnown { remarks.append("  // The store does not know the subject.") }
        for (scope, values) in situation.given.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            for (name, value) in values.sorted(by: { $0.key < $1.key }) where value == .malformed {
                remarks.append("  // \(scope).\(name) is given, but is not of its type.")
            }
        }
        return remarks
    }

    private func expectation(_ outcome: Outcome) -> String {
        switch outcome {
        case .permit: "permit"
        case .deny: "deny"
        case .error: "error"
        case .stepUp(let demand):
            demand.level == nil && demand.within == .max && demand.methods == 0 ? "step_up" : "step_up \(demand.text)"
        }
    }
}

/// Duties in a form that can be compared and read.
enum DutyText {
    static func write(_ duty: Duty) -> String {
        switch duty {
        case .notify(let to, let body, let topic):
            "notify \(write(to)) \(write(body))" + (topic.map { " topic \(ConstantText.quoted($0))" } ?? "")
        case .terminateSessions: "terminate sessions"
        case .custom(let fields): "custom { \(fields.map { "\($0.name) \(write($0.value))" }.joined(separator: " ")) }"
        }
    }

    private static func write(_ template: MessageTemplate) -> String {
        ConstantText.quoted(
            template.parts.map { part in
                switch part {
                case .text(let text): text
                case .attribute(let reference): "{\(reference.scope).\(reference.name)}"
                case .subject: "{subject}"
                case .resource: "{resource}"
                case .action: "{action}"
                case .now: "{now}"
                }
            }.joined())
    }

    private static func write(_ value: Duty.Value) -> String {
        switch value {
        case .text(let template): write(template)
        case .integer(let number): String(number)
        case .decimal(let number): Decimal6.format(number)
        case .boolean(let truth): truth ? "true" : "false"
        case .list(let values): "[\(values.map { write($0) }.joined(separator: ", "))]"
        }
    }
}
