// Who may do this: every provisioned subject is asked about, on one snapshot and for one instant.

package import AttributeStore
package import DecisionPath
package import DecisionProtocol
import PolicyLanguage
package import StrictJSON

/// A search over the subjects, for the action and the resource that the survey was asked about.
package struct SubjectSearch {
    /// Somebody who was found, with the best answer there is.
    package struct Found {
        package let subject: EntityName
        package let answer: Answer
        /// The session of the store for it, when it hangs on one.
        package let session: String?
    }

    /// Which subjects, and how they are signed in.
    package struct Options {
        package var session = AssumedSession.own
        /// Those who are denied are told too.
        package var tellsDenied = false
        /// Subjects of this type alone.
        package var type: String?
        /// The search goes on behind this subject.
        package var after: EntityName?
        /// Sessions of the store that are looked through for those that belong to the subjects.
        package var maxSessions = Int.max

        package init() {}
    }

    /// How often each outcome was the best; errors are counted apart.
    package private(set) var counts: [Outcome: Int] = [:]
    package private(set) var errors = 0
    /// What was wrong with the first of them.
    package private(set) var firstError: String?
    package private(set) var looked = 0
    /// Subjects without a live session, where sessions count.
    package private(set) var withoutSession = 0
    /// The subject to go on behind; nil when there is nobody left.
    package private(set) var next: EntityName?

    private let survey: TenantSurvey
    private let options: Options
    private let types: [(type: Int, after: String?)]
    private var own: [EntityName: [String]] = [:]
    /// The type it is at, and the last id of it.
    private var place = 0
    private var position: String?

    private static let piece = 1_000

    /// - Throws: `question` for a type that has no subjects, `tooMuchWork` when there are too many sessions.
    package init(_ survey: TenantSurvey, _ options: Options) throws(SurveyError) {
        self.survey = survey
        self.options = options
        types = try Self.types(survey, options)
        if case .own = options.session { own = try survey.liveSessions(lookingAt: options.maxSessions) }
    }

    /// The types to go through, each with the id to start behind.
    private static func types(
        _ survey: TenantSurvey, _ options: Options
    ) throws(SurveyError) -> [(type: Int, after: String?)] {
        let catalog = survey.catalog
        var types = catalog.subjectTypes
        if let name = options.type {
            guard let type = catalog.entity(named: name), types.contains(type) else {
                let known = types.map { catalog.entities[$0].name }.joined(separator: ", ")
                throw .question("type: \"\(name)\" is no type of subject; there are \(known)")
            }
            types = [type]
        }
        guard let after = options.after else { return types.map { ($0, nil) } }
        guard let type = catalog.entity(named: after.type), let place = types.firstIndex(of: type) else {
            throw .question("after: \"\(after.type)\" is no type of subject that is asked about")
        }
        return types[place...].map { ($0, $0 == type ? after.id : nil) }
    }

    /// How many subjects there are to ask about, those before `after` included.
    package func total() throws(SurveyError) -> Int {
        var total = 0
        for (type, _) in types { total += try survey.count(type: type) }
        return total
    }

    /// Asks about the next thousand subjects at most, so that the caller can stop between.
    /// - Parameters:
    ///   - limit: stops when so many were told of.
    ///   - tell: called with each who may, at once or after a step-up.
    /// - Returns: false when there is nobody left; until then `next` says where to go on.
    package mutating func step(
        atMost limit: Int = .max, _ tell: (Found) -> Void
    ) throws(SurveyError) -> Bool {
        guard place < types.count else { return false }
        let (type, start) = types[place]
        let name = survey.catalog.entities[type].name
        let ids = try survey.ids(type: type, after: position ?? start, limit: Self.piece)
        var told = 0
        for id in ids {
            let subject = EntityName(type: name, id: id)
            position = id
            next = subject
            if try look(subject, type, tell) { told += 1 }
            if told == limit { return true }
        }
        if ids.count == Self.piece { return true }
        place += 1
        position = nil
        if place == types.count { next = nil }
        return place < types.count
    }

    /// - Returns: true when it was told of.
    private mutating func look(
        _ subject: EntityName, _ type: Int, _ tell: (Found) -> Void
    ) throws(SurveyError) -> Bool {
        looked += 1
        survey.look(subject: subject.id, type: type)
        let (answer, session) = try best(subject)
        if answer.kind == .error {
            errors += 1
            if firstError == nil { firstError = answer.cause?.message }
        } else {
            counts[answer.outcome, default: 0] += 1
        }
        guard answer.outcome != .deny || options.tellsDenied else { return false }
        tell(Found(subject: subject, answer: answer, session: session))
        return true
    }

    /// The best answer that the subject can get, and the session for it.
    private mutating func best(_ subject: EntityName) throws(SurveyError) -> (answer: Answer, session: String?) {
        switch options.session {
        case .assumed: return (try survey.decide(), nil)
        case .recorded(let session):
            try survey.look(session: session)
            return (try survey.decide(), session)
        case .none, .own: break
        }
        try survey.look(session: nil)
        var best: (answer: Answer, session: String?) = (try survey.decide(), nil)
        let sessions = own[subject] ?? []
        if sessions.isEmpty { withoutSession += 1 }
        for session in sessions where best.answer.outcome != .permit {
            try survey.look(session: session)
            let answer = try survey.decide()
            // Of two denials, the one of somebody who is signed in says more.
            let isBetter = Self.rank(answer) < Self.rank(best.answer)
            if isBetter || best.session == nil && Self.rank(answer) == Self.rank(best.answer) {
                best = (answer, session)
            }
        }
        return best
    }

    private static func rank(_ answer: Answer) -> Int {
        switch answer.kind {
        case .permitted: 0
        case .stepUp: 1
        case .notPermitted, .forbidden: 2
        case .error: 3
        }
    }
}

// MARK: JSON

extension SubjectSearch.Found {
    /// Who, the answer, and the session for it.
    package var json: JSONValue {
        var members = [
            JSONMember("subject", .object(["type": .string(subject.type), "id": .string(subject.id)])),
            JSONMember("outcome", .string(answer.outcome.name)), JSONMember("kind", .string(answer.kind.name)),
        ]
        if let stepUp = answer.stepUp { members.append(JSONMember("step_up", .object(stepUp.members))) }
        if let cause = answer.cause { members.append(JSONMember("cause", cause.json)) }
        members.append(JSONMember("rules", .array(answer.rules.map(\.json))))
        if let session { members.append(JSONMember("session", .string(session))) }
        if let until = answer.validUntil {
            members.append(JSONMember("valid_until", .string(Instant.format(Int64(clamping: until)))))
        }
        return .object(members)
    }
}

extension SubjectSearch {
    /// How many there were of everything so far.
    package var summary: [JSONMember] {
        [
            JSONMember("looked_at", .integer(looked)), JSONMember("permitted", .integer(counts[.permit] ?? 0)),
            JSONMember("step_up", .integer(counts[.stepUp] ?? 0)), JSONMember("denied", .integer(counts[.deny] ?? 0)),
            JSONMember("errors", .integer(errors)), JSONMember("without_session", .integer(withoutSession)),
        ]
    }
}
