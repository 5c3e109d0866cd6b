// How somebody is signed in and with which device, where a survey asks on their behalf.

import AttributeStore
package import DecisionEngine
package import DecisionPath
package import PolicyLanguage
package import StrictJSON

/// How subjects are signed in.
package enum AssumedSession: Sendable {
    /// With a live session of the store where a subject has one.
    case own
    /// Not at all.
    case none
    /// With a session of the store, by its id.
    case recorded(String)
    /// With this authentication, whatever the store holds.
    case assumed(SessionFacts)

    /// What an authentication proves that was made up.
    /// - Parameters:
    ///   - level: the name of an assurance level; nil for none.
    ///   - age: milliseconds since the authentication; nil for just now where a level is given.
    ///   - methods: names of `amr`.
    package static func assumed(
        level: String?, age: Int64?, methods: [String], _ catalog: Catalog, now: Int64
    ) throws(SurveyError) -> AssumedSession {
        var facts = SessionFacts()
        if let level {
            guard let index = catalog.assurance.level(named: level) else {
                throw .question(
                    "session: no assurance level \"\(level)\"; there are "
                        + catalog.assurance.levels.joined(separator: ", "))
            }
            facts.levels = catalog.assurance.implied[index]
            facts.authenticatedAt = now
        }
        if let age {
            let (instant, overflows) = now.subtractingReportingOverflow(age)
            guard !overflows, age >= 0 else { throw .question("session: no such age") }
            facts.authenticatedAt = instant
        }
        for name in methods {
            guard let bit = AuthenticationMethods.bit(name) else {
                throw .question(
                    "session: no authentication method \"\(name)\"; there are "
                        + AuthenticationMethods.names.joined(separator: ", "))
            }
            facts.methods |= bit
        }
        return .assumed(facts)
    }

    /// Every level that can be reached and every method, just now.
    package static func best(_ catalog: Catalog, now: Int64) -> AssumedSession {
        var facts = SessionFacts()
        for level in catalog.assurance.levels.indices where catalog.assurance.reachable >> UInt64(level) & 1 == 1 {
            facts.levels |= catalog.assurance.implied[level]
        }
        facts.methods = AuthenticationMethods.names.compactMap { AuthenticationMethods.bit($0) }.reduce(0, |)
        facts.authenticatedAt = now
        return .assumed(facts)
    }
}

extension TenantSurvey {
    /// Asks with such a device from now on.
    /// - Parameter properties: an object: attributes by name.
    package func assume(deviceProperties properties: JSONValue) throws(SurveyError) {
        let attributes = catalog.entities[Catalog.device].attributes
        var values: [String: Constant] = [:]
        for member in properties.object ?? [] {
            guard let attribute = attributes.first(where: { $0.name == member.name }) else {
                throw .question(
                    "device: devices have no \(member.name); they have \(attributes.map(\.name).joined(separator: ", "))"
                )
            }
            guard let value = JSONConversion.constant(member.value, of: attribute.type) else {
                let type = attribute.type.spelling { catalog.entities[$0].name }
                throw .question("device: \(member.name) needs \(type)")
            }
            values[member.name] = value
        }
        assume(device: values)
    }

    /// Refuses to ask about somebody whom the store does not know: every answer would be an error.
    package func requireKnown(_ situation: Situation) throws(SurveyError) {
        let entity = catalog.entities[situation.subjectType]
        if situation.isSubjectKnown { return }
        if situation.subjectType == Catalog.user || entity.attributes.contains(where: \.isStored) {
            throw .unknownSubject("the store has no \(entity.name) \"\(situation.subjectID)\": provision it")
        }
    }
}
