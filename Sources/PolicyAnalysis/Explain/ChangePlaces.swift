// What of a question can change, and values for it that are near to the present ones.

import DecisionEngine
import PolicyLanguage

extension ChangeSearch {
    // MARK: Places

    /// What the rules read and what could be otherwise, those that change more easily first.
    func places() -> [Place] {
        var places: [Place] = []
        var seenRoles = Set<Int>()
        func add(_ place: Place) { if !places.contains(place) { places.append(place) } }
        func walk(_ condition: Condition) {
            condition.forEachTest { test in
                test.forEachReference { add(.attribute($0.scope, $0.name)) }
                test.forEachOperand { operand in
                    operand.forEachLeaf { if case .now = $0 { add(.now) } }
                }
                switch test {
                case .group(let group): add(.group(group))
                case .granted(let role): if canTake(role) { add(.granted(role)) }
                case .container(let container): add(.container(container))
                case .schedule: add(.now)
                case .role(let role):
                    if seenRoles.insert(role).inserted { walk(policies.roles[role].condition) }
                default: break
                }
            }
        }
        for rule in policies.rules { walk(rule.condition) }
        // A duty's attribute can be the one that is missing.
        for obligation in policies.obligations { walk(obligation.condition) }
        return places.enumerated().sorted { (cost($0.element), $0.offset) < (cost($1.element), $1.offset) }.map(
            \.element)
    }

    /// True when the subject has the role for a time, which can end, or could take it, if need be after signing in.
    private func canTake(_ role: Int) -> Bool {
        if (base.granted[policies.roles[role].name] ?? .min) > base.now { return true }
        let kind = interpreter.takes(role, for: nil, base).verdict.kind
        return kind == .permitted || kind == .stepUp
    }

    /// How hard it is to bring about, roughly.
    private func cost(_ place: Place) -> Int {
        switch place {
        case .signIn: return 0
        case .activation: return 1
        case .now: return 4
        case .granted: return 2
        case .group: return 3
        case .container: return 6
        case .attribute(let scope, let name):
            let isSignal = declaration(scope, name)?.sources.contains { $0.kind == .caep || $0.kind == .risc } ?? false
            switch scope {
            case .context, .action: return 1
            case .device: return 2
            case .session: return 3
            case .subject: return isSignal ? 2 : 4
            case .resource: return 5
            }
        }
    }

    private func declaration(_ scope: AttributeScope, _ name: String) -> Attribute? {
        Restriction.declaration(
            AttributeReference(scope: scope, name: name, type: .boolean), policies.catalog, base.subjectType,
            base.action,
            base.resourceType)
    }

    // MARK: Values

    func copy(_ place: Place, from witness: Situation, to situation: inout Situation) {
        switch place {
        case .attribute(let scope, let name):
            var value = witness.stored[scope]?[name]?.value
            if value == nil, case .value(let given) = witness.given[scope]?[name] { value = given }
            set(scope, name, value, &situation)
        case .group(let group): situation.groups.formSymmetricDifference([group])
        case .container(let container): situation.containers.formSymmetricDifference([container])
        case .granted(let role):
            let name = policies.roles[role].name
            let isTaken = (situation.granted[name] ?? .min) > situation.now
            situation.granted[name] = isTaken ? nil : RecordLayout.forever
        case .now: situation.now = witness.now
        case .signIn, .activation: break
        }
    }

    /// Sets an attribute where it comes from; nil is its default, or no value.
    private func set(_ scope: AttributeScope, _ name: String, _ value: Constant?, _ situation: inout Situation) {
        guard let attribute = declaration(scope, name) else { return }
        situation.stored[scope]?[name] = nil
        situation.given[scope]?[name] = nil
        guard let value = value ?? attribute.defaultValue else { return }
        if attribute.isStored {
            situation.stored[scope, default: [:]][name] = StoredValue(value)
        } else {
            situation.given[scope, default: [:]][name] = .value(value)
        }
    }

    private func value(_ scope: AttributeScope, _ name: String, _ situation: Situation) -> Constant? {
        guard let attribute = declaration(scope, name) else { return nil }
        return interpreter.value(of: AttributeReference(scope: scope, name: name, type: attribute.type), situation)
    }

    /// Replaces a value that suits by one that suits too and is nearer to the present one.
    func bringNear(_ place: Place, _ situation: inout Situation, _ suits: (Situation) -> Bool) {
        switch place {
        case .now: bringNowNear(&situation, suits)
        case .attribute(let scope, let name):
            guard let old = value(scope, name, base), let new = value(scope, name, situation) else { return }
            for value in nearer(old, new, declaration(scope, name)?.type) {
                var changed = situation
                set(scope, name, value, &changed)
                if suits(changed) {
                    situation = changed
                    return
                }
            }
            if let (from, to) = Self.numbers(old, new) {
                let found = Self.nearest(from, to, units: new.units) { number in
                    var changed = situation
                    set(scope, name, new.with(number), &changed)
                    return suits(changed)
                }
                set(scope, name, new.with(found), &situation)
            }
        default: break
        }
    }

    /// Values to try before the one that was found, nearest first.
    private func nearer(_ old: Constant, _ new: Constant, _ type: ValueType?) -> [Constant] {
        switch (old, new) {
        case (.enumeration(let from), .enumeration(let to)):
            let count = type?.enumeration?.cases.count ?? 0
            return (0..<count).filter { $0 != from && abs($0 - from) < abs(to - from) }
                .sorted { (abs($0 - from), $0) < (abs($1 - from), $1) }.map { .enumeration($0) }
        case (.set(let from), .set(let to)):
            let added = to.filter { !from.contains($0) }
            let removed = from.filter { !to.contains($0) }
            return added.map { .set(from + [$0]) } + removed.map { gone in .set(from.filter { $0 != gone }) }
                + [.set(from + added)]
        default: return []
        }
    }

    private static func numbers(_ old: Constant, _ new: Constant) -> (Int64, Int64)? {
        switch (old, new) {
        case (.integer(let from), .integer(let to)), (.decimal(let from), .decimal(let to)),
            (.datetime(let from), .datetime(let to)), (.duration(let from), .duration(let to)):
            (from, to)
        default: nil
        }
    }

    /// A number that suits, on the way from one that does not to one that does: the first, or the next that is a whole
    /// number of a unit.
    private static func nearest(_ from: Int64, _ to: Int64, units: [Int64], _ suits: (Int64) -> Bool) -> Int64 {
        var bad = from
        var good = to
        while true {
            let (gap, overflowed) = good.subtractingReportingOverflow(bad)
            if !overflowed, gap.magnitude <= 1 { break }
            let middle = bad / 2 + good / 2 + (bad % 2 + good % 2) / 2
            if middle == bad || middle == good { break }
            if suits(middle) { good = middle } else { bad = middle }
        }
        for unit in units {
            let down = good >= 0 ? good / unit * unit : (good - unit + 1) / unit * unit
            let (up, overflowed) = down.addingReportingOverflow(unit)
            let round = good == down || overflowed ? good : good > from ? up : down
            if suits(round) { return round }
        }
        return good
    }

    /// The first instant from now on at which it suits: where schedules turn and values end; else the one found.
    private func bringNowNear(_ situation: inout Situation, _ suits: (Situation) -> Bool) {
        var instant = base.now
        let horizon = base.now &+ 40 * 86_400_000
        for _ in 0..<2_000 {
            var next = Int64.max
            for schedule in policies.schedules { next = min(next, schedule.state(at: instant).until) }
            for values in situation.stored.values {
                for stored in values.values where stored.validUntil > instant { next = min(next, stored.validUntil) }
            }
            guard next > instant, next < horizon else { break }
            instant = next
            var changed = situation
            changed.now = instant
            if suits(changed) {
                situation = changed
                return
            }
        }
        guard situation.now > base.now else { return }
        situation.now = Self.nearest(base.now, situation.now, units: [1_000]) { number in
            var changed = situation
            changed.now = number
            return suits(changed)
        }
    }

    // MARK: Words

    /// A change from the question as it was asked.
    func change(_ place: Place, _ changed: Situation) -> Change {
        let subject = words.write(Operand.subject)
        switch place {
        case .group(let group):
            let name = "group \(ConstantText.quoted(policies.groups[group]))"
            let joins = changed.groups.contains(group)
            return Change(
                place: place, name: name, from: joins ? "no member" : "member", to: joins ? "member" : "no member",
                words: "\(subject) \(joins ? "joins" : "leaves") \(name)")
        case .granted(let role):
            let name = "role \(policies.roles[role].name)"
            let takes = changed.granted[policies.roles[role].name] != nil
            return Change(
                place: place, name: name, from: takes ? "not granted" : "granted",
                to: takes ? "granted" : "not granted",
                words: takes ? "\(subject) takes \(name), which is offered" : "\(subject) gives up \(name)")
        case .container(let index):
            let container = policies.containers[index]
            let name = "\(policies.catalog.entities[container.type].name) \(ConstantText.quoted(container.id))"
            let enters = changed.containers.contains(index)
            return Change(
                place: place, name: name, from: enters ? "outside" : "inside", to: enters ? "inside" : "outside",
                words: "the resource is \(enters ? "moved into" : "taken out of") \(name)")
        case .now:
            let from = Instant.format(base.now)
            let to = Instant.format(changed.now)
            return Change(
                place: place, name: "now", from: from, to: to,
                words: changed.now > base.now ? "wait until \(to) (now \(from))" : "ask as of \(to) (now \(from))")
        case .attribute(let scope, let name):
            let type = declaration(scope, name)?.type
            let label = words.name(AttributeReference(scope: scope, name: name, type: type ?? .boolean))
            let from = value(scope, name, base).map { ConstantText.write($0, type?.enumeration) }
            let new = value(scope, name, changed)
            let to = new.map { ConstantText.write($0, type?.enumeration) }
            let isAnyOther = new.map { isFree($0, type) } ?? false
            let target = isAnyOther ? "another, such as \(to ?? "")" : to ?? "no value"
            return Change(
                place: place, name: label, from: from, to: to, words: "\(label): \(from ?? "no value") → \(target)")
        case .signIn, .activation:
            return Change(place: place, name: "\(place)", from: nil, to: nil, words: "\(place)")
        }
    }

    /// True for a text or an id that no policy names: it stands for any other.
    private func isFree(_ value: Constant, _ type: ValueType?) -> Bool {
        switch value {
        case .string(let text): if text.isEmpty { return false }
        case .reference(_, let id): if id == base.subjectID || id == base.resourceID { return false }
        default: return false
        }
        var isNamed = false
        func walk(_ condition: Condition) {
            condition.forEachTest { test in
                if case .oneOf(_, let constants) = test, constants.contains(value) { isNamed = true }
                if case .like = test { isNamed = true }
                test.forEachOperand { operand in
                    switch operand {
                    case .constant(value): isNamed = true
                    case .constant(.set(let values)): if values.contains(value) { isNamed = true }
                    case .attribute(let reference):
                        switch interpreter.value(of: reference, base) {
                        case value: isNamed = true
                        case .set(let values): if values.contains(value) { isNamed = true }
                        default: break
                        }
                    default: break
                    }
                }
            }
        }
        for rule in policies.rules { walk(rule.condition) }
        for role in policies.roles { walk(role.condition) }
        return !isNamed
    }
}

extension Constant {
    /// What numbers of this kind are told in: cents, seconds.
    fileprivate var units: [Int64] {
        switch self {
        case .decimal: [10_000]
        case .datetime, .duration: [1_000]
        default: []
        }
    }

    /// The same kind of number with another value.
    fileprivate func with(_ number: Int64) -> Constant {
        switch self {
        case .integer: .integer(number)
        case .decimal: .decimal(number)
        case .datetime: .datetime(number)
        case .duration: .duration(number)
        default: self
        }
    }
}
