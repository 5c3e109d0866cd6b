// A question that was found, as a situation that both versions can decide and as text that an author can use.

package import DecisionEngine
package import PolicyLanguage

extension RequestSpace {
    /// The question as one side sees it.
    func situation(_ question: FoundQuestion, side: Int) -> Situation {
        let restriction = sides[side]
        let catalog = restriction.policies.catalog
        var situation = Situation()
        situation.subjectType = restriction.subjectType
        situation.action = restriction.action
        situation.resourceType = restriction.resourceType
        situation.subjectID = "\(cell.subject)-0"
        situation.resourceID = "\(cell.resource)-0"
        situation.now = 1_767_614_400_000
        func isTrue(_ atom: Atom) -> Bool {
            known(atom).map { question.truths[$0.node] ?? false } ?? false
        }
        for (index, variable) in variables.enumerated() {
            let value = question.values[index]
            switch (variable.key, value) {
            case (.subject, .reference(_, let id)): situation.subjectID = id.string
            case (.resource, .reference(_, let id)): situation.resourceID = id.string
            case (.now, .number(let number)): situation.now = number
            case (.attribute(let scope, let name, let source, let version), _):
                guard version == nil || version == side,
                    let attribute = restriction.declaration(
                        AttributeReference(scope: scope, name: name, type: .boolean))
                else { continue }
                if isTrue(.malformed(index)) {
                    if attribute.isFromRequest { situation.given[scope, default: [:]][name] = .malformed }
                    continue
                }
                guard !isTrue(.absent(index)), let value else { continue }
                let isStored = source == .stored || source == .value && attribute.isStored
                guard let constant = value.constant(attribute.type, catalog) else {
                    // What this version does not take for a value of the attribute.
                    if !isStored { situation.given[scope, default: [:]][name] = .malformed }
                    continue
                }
                if isStored {
                    situation.stored[scope, default: [:]][name] = StoredValue(constant)
                } else {
                    situation.given[scope, default: [:]][name] = .value(constant)
                }
            default: break
            }
        }
        for (index, name) in restriction.policies.groups.enumerated() where isTrue(.group(Text(name))) {
            situation.groups.insert(index)
        }
        for role in restriction.policies.roles.takeable {
            let name = restriction.policies.roles[role].name
            if isTrue(.granted(Text(name))) { situation.granted[name] = .max }
        }
        for (index, container) in restriction.policies.containers.enumerated() {
            let type = catalog.entities[container.type].name
            if isTrue(.container(type: Text(type), id: Text(container.id))) { situation.containers.insert(index) }
        }
        situation.isSubjectKnown = !isTrue(.unknownSubject)
        addSession(question, side: side, &situation)
        fillKnown(&situation, restriction)
        return situation
    }

    private func addSession(_ question: FoundQuestion, side: Int, _ situation: inout Situation) {
        let assurance = sides[side].policies.catalog.assurance
        var session = SessionFacts()
        for (atom, truth) in atoms.compactMap({ node, atom in question.truths[node].map { (atom, $0) } }) where truth {
            switch atom {
            case .assurance(let index):
                let level = assuranceClasses[index].levels[side]
                if level >= 0 { session.levels = assurance.implied[level] }
            case .method(let bit): session.methods |= 1 << UInt32(bit)
            default: break
            }
        }
        let age = variables.firstIndex { $0.key == .age }
        if let age, known(.absent(age)).map({ !(question.truths[$0.node] ?? false) }) ?? false,
            case .number(let milliseconds) = question.values[age]
        {
            session.authenticatedAt = situation.now - milliseconds
        }
        if session != SessionFacts() || situation.stored[.session] != nil { situation.session = session }
    }

    /// What was known from the start.
    private func fillKnown(_ situation: inout Situation, _ restriction: Restriction) {
        let facts = restriction.facts
        if let id = facts.subjectID { situation.subjectID = id }
        if let id = facts.resourceID { situation.resourceID = id }
        if let now = facts.now { situation.now = now }
        if let groups = facts.groups { situation.groups = groups }
        if let containers = facts.containers { situation.containers = containers }
        if let granted = facts.granted { situation.granted = granted }
        if let session = facts.session {
            var known = SessionFacts()
            known.levels = session.levels
            known.methods = session.methods
            known.authenticatedAt = session.age.map { situation.now - $0 }
            situation.session = known
        }
        for (scope, values) in facts.attributes {
            for (name, fact) in values {
                let attribute = restriction.declaration(AttributeReference(scope: scope, name: name, type: .boolean))
                switch fact {
                case .malformed: situation.given[scope, default: [:]][name] = .malformed
                case .open: break
                case .value(let value):
                    if attribute?.isStored == true {
                        situation.stored[scope, default: [:]][name] = StoredValue(value)
                    } else {
                        situation.given[scope, default: [:]][name] = .value(value)
                    }
                }
            }
        }
    }
}

/// Decides situations by the reference and by the compiled program; the two must agree.
package struct Decider {
    package let policies: CheckedPolicies
    private let interpreter: Interpreter
    private let program: Program

    /// - Throws: when the policies are above a limit of the compiler.
    package init(_ policies: CheckedPolicies) throws(CompileError) {
        self.policies = policies
        interpreter = Interpreter(policies)
        program = try compile(policies)
    }

    /// Of a program that there is already.
    package init(_ program: Program) {
        policies = program.policies
        interpreter = Interpreter(policies)
        self.program = program
    }

    /// The outcome; nil when the reference and the program disagree, which is a defect of the engine.
    package func outcome(_ situation: Situation) -> Outcome? {
        let reference = interpreter.decide(situation)
        var scratch = DecisionScratch()
        let compiled = program.decide(situation, &scratch).verdict
        let outcome = Outcome(
            reference.kind, reference.demand, level: reference.level, policies.catalog.assurance)
        let other = Outcome(compiled.kind, compiled.demand, level: compiled.level, policies.catalog.assurance)
        return outcome == other ? outcome : nil
    }
}

extension Outcome {
    /// - Parameter level: the level to reach, -1 for any.
    package init(_ kind: VerdictKind, _ demand: Demand, level: Int, _ assurance: Assurance) {
        switch kind {
        case .permitted: self = .permit
        case .forbidden, .notPermitted: self = .deny
        case .stepUp: self = .stepUp(DemandByName(demand, level: level, assurance))
        case .error: self = .error
        }
    }

    /// `permit`, `deny`, `step up to mfa within 15m`, `error`.
    package var text: String {
        switch self {
        case .permit: "permit"
        case .deny: "deny"
        case .stepUp(let demand): "step up to \(demand.text)"
        case .error: "error"
        }
    }
}
