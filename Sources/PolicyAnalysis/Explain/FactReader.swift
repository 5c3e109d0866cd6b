// What a condition read and what it needed, in words.

import DecisionEngine
import PolicyLanguage

/// Tells of the facts of one situation.
struct FactReader {
    private let policies: CheckedPolicies
    private let situation: Situation
    private let interpreter: Interpreter
    private let words: ConditionText
    /// Attributes whose values are not known, as `resource.total`.
    private let masked: Set<String>

    init(_ policies: CheckedPolicies, _ situation: Situation, masked: Set<String> = []) {
        self.policies = policies
        self.situation = situation
        self.masked = masked
        interpreter = Interpreter(policies)
        words = ConditionText(policies, subjectType: situation.subjectType)
    }

    // MARK: Conditions

    /// A test that came out other than its rule needs it. What a permit lacks is needed; what keeps a forbid or a
    /// require from matching is nothing that anybody needs.
    func failed(_ fact: TestedFact, of kind: RuleKind) -> Why.FailedCondition {
        let file = Int(fact.range.file)
        let text = policies.files.indices.contains(file) ? policies.files[file].excerpt(fact.range) : ""
        return Why.FailedCondition(
            range: fact.range, text: text, holds: fact.holds, values: values(fact.test),
            words: sentence(fact.test, isNeeded: !fact.holds, kind == .permit ? ", needed" : "; it takes"))
    }

    /// Without what only follows from another: where `has x` fails, that what is said of x fails too.
    func withoutEchoes(_ facts: [TestedFact]) -> [TestedFact] {
        var absent = Set<AttributeReference>()
        return facts.filter { fact in
            if case .has(let reference) = fact.test {
                if !fact.holds { absent.insert(reference) }
                return true
            }
            var reads: [AttributeReference] = []
            fact.test.forEachReference { reads.append($0) }
            return absent.isDisjoint(with: reads)
        }
    }

    /// What a test read, each once.
    private func values(_ test: Test) -> [Why.ReadValue] {
        var references: [AttributeReference] = []
        test.forEachReference { if !references.contains($0) { references.append($0) } }
        var values = references.map { reference in
            Why.ReadValue(
                name: words.name(reference),
                value: interpreter.value(of: reference, situation).map { text($0, reference) },
                remark: remark(reference))
        }
        test.forEachOperand { operand in
            operand.forEachLeaf { leaf in if let value = builtIn(leaf), !values.contains(value) { values.append(value) }
            }
        }
        if case .schedule(let index) = test { values.append(clock(policies.schedules[index])) }
        return values
    }

    private func builtIn(_ operand: Operand) -> Why.ReadValue? {
        switch operand {
        case .subject:
            Why.ReadValue(name: words.write(operand), value: ConstantText.quoted(situation.subjectID), remark: nil)
        case .resource:
            Why.ReadValue(name: "resource", value: ConstantText.quoted(situation.resourceID), remark: nil)
        case .now: Why.ReadValue(name: "now", value: Instant.format(situation.now), remark: nil)
        default: nil
        }
    }

    /// The instant on the clock of a schedule's zone.
    private func clock(_ schedule: Schedule) -> Why.ReadValue {
        let offset = Int64(schedule.zone.offsets[schedule.zone.span(at: situation.now)]) * 1000
        let minutes = ScheduleTime.position(of: situation.now, east: offset) / 60_000
        let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][Int(minutes / 1440) % 7]
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return Why.ReadValue(
            name: "now", value: Instant.format(situation.now),
            remark: "\(day) \(two(minutes / 60 % 24)):\(two(minutes % 60)) in \(schedule.zone.name)")
    }

    private func remark(_ reference: AttributeReference) -> String? {
        guard
            let attribute = Restriction.declaration(
                reference, policies.catalog, situation.subjectType, situation.action, situation.resourceType)
        else { return nil }
        let hasDefault = attribute.defaultValue != nil
        if attribute.isStored, let stored = situation.stored[reference.scope]?[reference.name] {
            if stored.validUntil > situation.now { return nil }
            return "expired at \(Instant.format(stored.validUntil))" + (hasDefault ? ", so its default" : "")
        }
        switch situation.given[reference.scope]?[reference.name] {
        case .value: return attribute.isStored ? "as the question says" : nil
        case .malformed: return "of another type in the question"
        case nil where isMasked(reference): return "masked in the log" + (hasDefault ? ", so its default here" : "")
        case nil: break
        }
        switch reference.scope {
        case .session where situation.session == nil: return hasDefault ? "its default; no session" : "no session"
        case .device where situation.stored[.device] == nil:
            return hasDefault ? "its default; no device is known" : "no device is known"
        default: return hasDefault ? "its default" : nil
        }
    }

    private func isMasked(_ reference: AttributeReference) -> Bool {
        masked.contains("\(reference.scope).\(reference.name)")
    }

    // MARK: Sentences

    private func sentence(_ test: Test, isNeeded: Bool, _ needs: String) -> String {
        let subject = words.write(Operand.subject)
        let not = isNeeded ? "not " : ""
        switch test {
        case .compare(let left, let comparison, let right):
            if case .constant(.boolean(let truth)) = right, comparison == .equal || comparison == .notEqual {
                let wanted = truth == ((comparison == .equal) == isNeeded)
                return "\(state(left))\(needs) \(wanted)"
            }
            if case .constant = left {
                return sentence(.compare(right, comparison.mirrored, left), isNeeded: isNeeded, needs)
            }
            let need = Self.need(isNeeded ? comparison : comparison.opposite, target(right, left.enumeration))
            return "\(state(left))\(needs) \(need)"
        case .oneOf(let operand, let constants):
            let list = constants.map { ConstantText.write($0, operand.enumeration) }.joined(separator: ", ")
            return "\(state(operand))\(needs) \(isNeeded ? constants.count == 1 ? "" : "one of " : "none of ")\(list)"
        case .contains(.constant(.set(let constants)), let element):
            return sentence(.oneOf(element, constants), isNeeded: isNeeded, needs)
        case .contains(let set, let element):
            return
                "\(state(set))\(needs) \(isNeeded ? "one with" : "one without") \(target(element, set.enumeration))"
        case .intersects(let left, let right):
            return "\(state(left))\(needs) \(isNeeded ? "one" : "none") of \(target(right, left.enumeration))"
        case .subset(let left, let right):
            return
                "\(state(left))\(needs) \(isNeeded ? "nothing" : "something") beside \(target(right, left.enumeration))"
        case .like(let operand, let pattern):
            let text = ConstantText.quoted(pattern.parts.joined(separator: "*"))
            return "\(state(operand))\(needs) \(isNeeded ? "" : "nothing ")like \(text)"
        case .inNetworks(let operand, let networks):
            let list = networks.map(\.description).joined(separator: ", ")
            return "\(state(operand))\(needs) \(isNeeded ? "an address in" : "none of") \(list)"
        case .group(let group):
            return "\(subject) is \(not)in group \(ConstantText.quoted(policies.groups[group]))"
        case .container(let index):
            let container = policies.containers[index]
            let type = policies.catalog.entities[container.type].name
            return "resource is \(not)in \(type) \(ConstantText.quoted(container.id))"
        case .schedule(let index):
            let schedule = policies.schedules[index]
            let clock = clock(schedule)
            return "now is \(clock.value ?? "") (\(clock.remark ?? ""))\(needs) \(isNeeded ? "" : "not ")in "
                + ConstantText.quoted(schedule.text)
        case .role(let role): return "role \(policies.roles[role].name) does \(isNeeded ? "not hold" : "hold")"
        case .granted(let role):
            return
                "role \(policies.roles[role].name) is \(isNeeded ? "not " : "")granted to the \(words.write(Operand.subject))"
        case .has(let reference):
            if isNeeded { return "\(words.name(reference)) \(lack(reference))" }
            return "\(state(.attribute(reference)))\(needs) none"
        }
    }

    /// `user.department is "Sales"`.
    private func state(_ operand: Operand) -> String {
        let name = words.write(operand)
        guard let value = interpreter.value(operand, situation) else {
            if case .attribute(let reference) = operand { return "\(name) \(lack(reference))" }
            return "\(name) has no value"
        }
        var remarks: [String] = []
        switch operand {
        case .attribute(let reference), .count(let reference):
            if let remark = remark(reference) { remarks.append(remark) }
        case .attributeOr(let reference, _):
            if interpreter.value(of: reference, situation) == nil { remarks.append("no value, so what stands in") }
        case .sum(let terms):
            for term in terms where term.operand.isVariable { remarks.append(state(term.operand)) }
        default: break
        }
        let text = operand.isSum ? sum(operand, value) : self.text(value, operand)
        return "\(name) is \(text)" + (remarks.isEmpty ? "" : " (\(remarks.joined(separator: "; ")))")
    }

    private func lack(_ reference: AttributeReference) -> String {
        isMasked(reference) ? "has no value here (masked in the log)" : "has no value"
    }

    /// What the other side of a comparison is; of an attribute its value and name.
    private func target(_ operand: Operand, _ enumeration: EnumerationType?) -> String {
        switch operand {
        case .constant(let constant): return ConstantText.write(constant, enumeration)
        default:
            guard let value = interpreter.value(operand, situation) else {
                return "the value of \(words.write(operand)), which has none"
            }
            let text = operand.isSum ? sum(operand, value) : self.text(value, operand)
            return "\(text) (\(words.write(operand)))"
        }
    }

    private static func need(_ comparison: Comparison, _ target: String) -> String {
        switch comparison {
        case .equal: target
        case .notEqual: "anything but \(target)"
        case .less: "below \(target)"
        case .lessOrEqual: "at most \(target)"
        case .greater: "above \(target)"
        case .greaterOrEqual: "at least \(target)"
        }
    }

    private func text(_ value: Constant, _ reference: AttributeReference) -> String {
        ConstantText.write(value, reference.type.enumeration)
    }

    private func text(_ value: Constant, _ operand: Operand) -> String {
        ConstantText.write(value, operand.enumeration)
    }

    /// A sum is a time span when as many instants are taken off as are added.
    private func sum(_ operand: Operand, _ value: Constant) -> String {
        guard case .sum(let terms) = operand, case .datetime(let number) = value else { return text(value, operand) }
        var instants = 0
        for term in terms {
            if case .datetime = interpreter.value(term.operand, situation) { instants += term.isNegative ? -1 : 1 }
        }
        return instants == 0 ? DurationText.format(number) : Instant.format(number)
    }

    // MARK: Demands

    /// The bounds of a rule's demand that the session does not meet.
    func unmet(_ rule: CheckedRule) -> [Why.UnmetBound] {
        guard let demand = rule.demand else { return [] }
        let assurance = policies.catalog.assurance
        func words(_ part: Demand) -> String { DemandByName(part, level: -1, assurance).asked(assurance) }
        func isOpen(_ part: Demand) -> Bool { part != .nothing && !interpreter.isMet(part, situation) }
        var unmet: [Why.UnmetBound] = []
        let level = Demand(levels: demand.levels)
        if isOpen(level) {
            var text = "needs \(words(level)); \(sessionLevel)"
            if assurance.leastLevel(for: level) == nil { text += ", and no sign-in can reach it" }
            unmet.append(Why.UnmetBound(bound: .level, words: text, range: rule.demandPlaces.level))
        }
        let within = Demand(within: demand.within)
        if isOpen(within) {
            let text = "needs a sign-in \(words(within)); \(sessionAge)"
            unmet.append(Why.UnmetBound(bound: .within, words: text, range: rule.demandPlaces.within))
        }
        let methods = Demand(methods: demand.methods & ~(situation.session?.methods ?? 0))
        if isOpen(methods) {
            let has = AuthenticationMethods.list(situation.session?.methods ?? 0).joined(separator: ", ")
            let text = "needs a sign-in \(words(methods)); the session has \(has.isEmpty ? "no methods" : has)"
            unmet.append(Why.UnmetBound(bound: .methods, words: text, range: rule.demandPlaces.methods))
        }
        return unmet
    }

    private var sessionLevel: String {
        guard let session = situation.session else { return "the question names no session" }
        let assurance = policies.catalog.assurance
        guard let level = assurance.implied.firstIndex(of: session.levels) else { return "the session proves no level" }
        return "the session has \(assurance.levels[level])"
    }

    private var sessionAge: String {
        guard let session = situation.session else { return "the question names no session" }
        guard let since = session.authenticatedAt else { return "the session does not say when it began" }
        return "the last was \(DurationText.rough(situation.now - since)) ago"
    }

    // MARK: Errors

    /// Attributes that keep the question from being decided.
    var faults: [(name: String, words: String)] {
        let verdict = interpreter.decide(situation)
        return verdict.faults.map { reference in
            let attribute = Restriction.declaration(
                reference, policies.catalog, situation.subjectType, situation.action, situation.resourceType)
            let type = attribute?.type.spelling { policies.catalog.entities[$0].name } ?? ""
            if case .malformed = situation.given[reference.scope]?[reference.name] {
                return (words.name(reference), "is given, but is no \(type)")
            }
            let sources = (attribute?.sources ?? []).map { source in
                switch source {
                case .request: "the question gives it"
                case .application: "the application registers it"
                default: "it is provisioned"
                }
            }
            if isMasked(reference) {
                return (
                    words.name(reference),
                    "was given and is masked in the log (\(type)): nothing can be said without it"
                )
            }
            let mend = Array(Set(sources)).sorted().joined(separator: ", or ")
            return (words.name(reference), "has no value (\(type)): no decision until \(mend)")
        }
    }
}

extension DurationText {
    /// The two greatest units: `3h20m`; what is below a second as it is.
    static func rough(_ milliseconds: Int64) -> String {
        let size = milliseconds.magnitude
        let unit: Int64 =
            size >= 86_400_000 ? 3_600_000 : size >= 3_600_000 ? 60_000 : size >= 1_000 ? 1_000 : 1
        return format(milliseconds / unit * unit)
    }
}

extension Operand {
    var isVariable: Bool {
        switch self {
        case .attribute, .attributeOr, .now, .count: true
        default: false
        }
    }

    /// Calls `body` with what it is made of.
    func forEachLeaf(_ body: (Operand) -> Void) {
        if case .sum(let terms) = self {
            for term in terms { term.operand.forEachLeaf(body) }
        } else {
            body(self)
        }
    }
}
