// What would have to change for a permit: the smallest sets of attributes, memberships and the sign-in, found by
// opening them one, two or three at a time and asking the solver for a question that is permitted. Each set that is told
// of has been decided again, by the reference and by the compiled program.

package import DecisionEngine
package import PolicyLanguage

/// Finds small changes that turn an answer into a permit. What a question is about (types, ids, action) never changes.
package struct ChangeSearch {
    /// How far to look.
    package struct Limits: Sendable {
        /// Things that change together, at most, beside signing in or being activated.
        package var together = 3
        /// Suggestions, at most.
        package var suggestions = 5
        /// Sets of things looked at, at most.
        package var sets = 3_000
        /// Steps of analysis for all sets together.
        package var steps = 50_000_000

        package init() {}
    }

    /// Something that can be another.
    package enum Place: Sendable, Hashable {
        case attribute(AttributeScope, String)
        /// Index of `CheckedPolicies.groups`.
        case group(Int)
        /// Index of `CheckedPolicies.containers`.
        case container(Int)
        /// Index of `CheckedPolicies.roles`: a role that is offered.
        case granted(Int)
        case now
        /// A sign-in that proves more, or a newer one.
        case signIn
        /// The subject is active again (SCIM `active`).
        case activation
    }

    /// One change of a set.
    package struct Change: Sendable, Hashable {
        package var place: Place
        /// `user.department`, `sign-in`, `group "Auditors"`.
        package var name: String
        /// The value now, as it is written in policies; nil where there is none.
        package var from: String?
        /// The value that does; nil where having none does.
        package var to: String?
        /// All of it: `user.department: "Sales" → "Finance"`.
        package var words: String
    }

    /// A set of changes that makes the answer a permit.
    package struct Suggestion: Sendable {
        package var changes: [Change]
        /// The question after the changes, which was decided again.
        package var situation: Situation
    }

    /// What was found.
    package struct Result: Sendable {
        package var suggestions: [Suggestion] = []
        /// Things that could change.
        package var places = 0
        /// Sets of them that were looked at.
        package var looked = 0
        /// Why there is no suggestion, or why there may be more.
        package var note: String?
    }

    let program: Program
    let limits: Limits
    private let decider: Decider
    /// The question, with what keeps it from the rules mended.
    var base: Situation
    private var mended: [Change] = []
    /// The rules and duties that apply, and no others.
    let policies: CheckedPolicies
    let interpreter: Interpreter
    let words: ConditionText
    private let budget: WorkBudget
    private var result = Result()
    /// What has been found, by what changes.
    private var found: [Set<Place>] = []
    /// Some set could not be settled: nothing is proven of what was not found.
    private var isUnsettled = false

    package init(_ program: Program, _ situation: Situation, _ limits: Limits = Limits()) {
        self.program = program
        self.limits = limits
        decider = Decider(program)
        base = situation
        interpreter = Interpreter(program.policies)
        words = ConditionText(program.policies, subjectType: situation.subjectType)
        budget = WorkBudget(limits.steps)
        var narrowed = program.policies
        let all = interpreter
        narrowed.rules = narrowed.rules.filter { all.applies($0, situation) }
        narrowed.obligations = narrowed.obligations.filter { all.applies($0, situation) }
        policies = narrowed
    }

    /// Searches.
    package mutating func run() -> Result {
        var scratch = DecisionScratch()
        let verdict = program.decide(base, &scratch).verdict
        if verdict.kind == .permitted || limits.together == 0 { return result }
        switch verdict.cause {
        case .unknownSubject: return none("the store does not know this subject: no change but provisioning it helps")
        case .actionNotDefined: return none("the catalog does not define this action here")
        case .recordDamaged: return none("a record of the store is damaged")
        case .subjectInactive, .sessionEnded, .rules, .attributeMissing, .attributeMalformed, .stepUpUnreachable:
            mend()
        }
        look(at: [])
        let places = places()
        result.places = places.count
        for size in 1...limits.together where size <= places.count {
            if result.suggestions.count >= limits.suggestions || !lookAtSets(of: size, places) { break }
            // To whoever has a small set, those that are larger by more than one are no help.
            if let least = found.map(\.count).min(), least < size { break }
        }
        finish(places)
        return result
    }

    private mutating func none(_ note: String) -> Result {
        result.note = note
        return result
    }

    /// Takes away what denies before any rule: a subject that is inactive, a session that has ended.
    private mutating func mend() {
        if base.isSubjectInactive {
            base.isSubjectInactive = false
            mended.append(
                Change(
                    place: .activation, name: "active", from: "false", to: "true",
                    words: "\(words.write(Operand.subject)) is active again (SCIM active: false → true)"))
        }
        if let session = base.session, session.hasEnded || (session.endsAt ?? .max) <= base.now {
            base.session?.hasEnded = false
            base.session?.endsAt = nil
            base.session?.authenticatedAt = base.now
            mended.append(
                Change(
                    place: .signIn, name: "sign-in", from: "ended", to: nil,
                    words: "a new sign-in: the session has ended"))
        }
    }

    /// Says what was not found, and whether that is proven.
    private mutating func finish(_ places: [Place]) {
        if !result.suggestions.isEmpty {
            if result.looked >= limits.sets || budget.isUsedUp {
                result.note = "there may be more: the search ended at its bound"
            }
            return
        }
        if result.looked >= limits.sets || budget.isUsedUp {
            result.note = "none found within the bound of \(limits.sets) sets of changes"
            return
        }
        let canBe = canBePermitted(places)
        if isUnsettled {
            result.note = "none found; not every set of changes could be settled"
        } else if canBe {
            result.note = "no \(limits.together) changes together would permit it; it takes more"
        } else {
            result.note = "no change of what the rules read, and no sign-in, would permit it"
        }
    }

    // MARK: Sets

    /// False when the bound is reached.
    private mutating func lookAtSets(of size: Int, _ places: [Place]) -> Bool {
        var indices = Array(0..<size)
        while true {
            guard result.looked < limits.sets, !budget.isUsedUp else { return false }
            let set = indices.map { places[$0] }
            // What is more than enough is no smallest set.
            if !found.contains(where: { $0.isSubset(of: set) }) { look(at: set) }
            if result.suggestions.count >= limits.suggestions { return true }
            guard let place = indices.indices.last(where: { indices[$0] < places.count - size + $0 }) else {
                return true
            }
            indices[place] += 1
            for next in indices.indices.dropFirst(place + 1) { indices[next] = indices[next - 1] + 1 }
        }
    }

    /// Looks for values of these with which the question is permitted, now or after signing in.
    private mutating func look(at set: [Place]) {
        result.looked += 1
        let space = space(opening: set)
        let answers = space.outcomes(side: 0)
        if answers.hasTooManyDemands { isUnsettled = true }
        let outcomes = answers.outcomes
        let permit = outcomes[.permit] ?? .no
        if let question = question(permit, space), take(question, set, space, signsIn: false) { return }
        if found.contains(where: { $0.isSubset(of: set + [.signIn]) }) { return }
        let steps = outcomes.filter {
            if case .stepUp = $0.key { return true }
            return false
        }
        if let question = question(space.circuit.any(steps.map(\.value)), space) {
            _ = take(question, set, space, signsIn: true)
        }
    }

    /// The question's space with some things open.
    private func space(opening set: [Place]) -> RequestSpace {
        var facts = KnownFacts(base)
        for place in set {
            switch place {
            case .attribute(let scope, let name): facts.attributes[scope, default: [:]][name] = .open
            case .group(let group): facts.groups = facts.groups?.symmetricDifference([group])
            case .container(let container): facts.containers = facts.containers?.symmetricDifference([container])
            case .granted(let role):
                let name = policies.roles[role].name
                let isTaken = facts.granted?[name] != nil
                facts.granted?[name] = isTaken ? nil : .max
            case .now: facts.now = nil
            case .signIn: facts.session = nil
            case .activation: break
            }
        }
        return space(knowing: facts, budget)
    }

    private func space(knowing facts: KnownFacts, _ budget: WorkBudget) -> RequestSpace {
        let catalog = policies.catalog
        return RequestSpace(
            Cell(
                subject: catalog.entities[base.subjectType].name, action: catalog.actions[base.action].name,
                resource: catalog.entities[base.resourceType].name),
            [
                restrict(
                    policies, subjectType: base.subjectType, action: base.action, resourceType: base.resourceType,
                    knowing: facts)
            ], budget)
    }

    private mutating func question(_ signal: Signal, _ space: RequestSpace) -> FoundQuestion? {
        if signal == .no { return nil }
        switch Reasoner(space, roots: [signal]).question([signal]) {
        case .found(let question): return question
        case .none: return nil
        case .undecided(let question, _):
            isUnsettled = true
            return question
        case .exhausted:
            isUnsettled = true
            return nil
        }
    }

    /// Whether anything at all would do, with a sign-in or without: everything that can change is open.
    private mutating func canBePermitted(_ places: [Place]) -> Bool {
        var facts = KnownFacts(base)
        for place in places {
            if case .attribute(let scope, let name) = place { facts.attributes[scope, default: [:]][name] = .open }
        }
        facts.groups = nil
        facts.granted = nil
        facts.containers = nil
        facts.now = nil
        let space = space(knowing: facts, WorkBudget(limits.steps))
        let outcomes = space.outcomes(side: 0).outcomes.filter { $0.key != .deny && $0.key != .error }
        let goal = space.circuit.any(outcomes.map(\.value))
        if goal == .no { return false }
        switch Reasoner(space, roots: [goal]).question([goal]) {
        case .none: return false
        case .found: return true
        case .undecided, .exhausted:
            isUnsettled = true
            return true
        }
    }

    // MARK: Suggestions

    /// Puts what the solver found into the question and decides it again.
    private mutating func take(
        _ question: FoundQuestion, _ set: [Place], _ space: RequestSpace, signsIn: Bool
    ) -> Bool {
        let witness = space.situation(question, side: 0)
        var changed = base
        for place in set { copy(place, from: witness, to: &changed) }
        func suits(_ situation: Situation) -> Bool {
            switch decider.outcome(situation) {
            case .permit: true
            case .stepUp: signsIn
            default: false
            }
        }
        guard suits(changed) else {
            // What ends or begins with the time can differ from what the solver saw.
            isUnsettled = true
            return false
        }
        for place in set { bringNear(place, &changed, suits) }
        var changes = mended + set.map { change($0, changed) }
        var places = Set(set)
        if signsIn, case .stepUp(let demand) = decider.outcome(changed) {
            signIn(demand, &changed)
            guard decider.outcome(changed) == .permit else { return false }
            changes.removeAll { $0.place == .signIn }
            changes.append(signInChange(demand))
            places.insert(.signIn)
        }
        if found.contains(where: { $0.isSubset(of: places) }) { return true }
        found.append(places)
        result.suggestions.append(Suggestion(changes: changes, situation: changed))
        return true
    }

    /// The weakest session that meets a demand, and has all that the present one has.
    private func signIn(_ demand: DemandByName, _ situation: inout Situation) {
        let assurance = policies.catalog.assurance
        var session = situation.session ?? SessionFacts()
        if let level = demand.level.flatMap({ assurance.level(named: $0) }),
            session.levels & assurance.implied[level] != assurance.implied[level]
        {
            session.levels = assurance.implied[level]
        }
        session.methods |= demand.methods
        session.authenticatedAt = situation.now
        situation.session = session
    }

    private func signInChange(_ demand: DemandByName) -> Change {
        let assurance = policies.catalog.assurance
        var from: String?
        if let session = base.session {
            from = assurance.implied.firstIndex(of: session.levels).map { assurance.levels[$0] } ?? "no level"
            if let since = session.authenticatedAt { from? += ", \(DurationText.rough(base.now - since)) ago" }
            if mended.contains(where: { $0.place == .signIn }) { from = "ended" }
        }
        return Change(
            place: .signIn, name: "sign-in", from: from, to: demand.text,
            words: "sign in with \(demand.text)" + (from.map { " (now \($0))" } ?? " (now no session)"))
    }
}
