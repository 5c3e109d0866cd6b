// Random policies, data and questions for property tests. Everything is drawn from one seeded generator,
// so a failure is repeated by its seed.

package import DecisionEngine
import Glibc
package import PolicyLanguage

/// The seed of a property test: random, or what `STILE_SEED` says, to repeat a failure.
package enum TestSeed {
    package static func next() -> UInt64 {
        if let text = unsafe getenv("STILE_SEED"), let seed = unsafe UInt64(String(cString: text)) { return seed }
        return UInt64.random(in: 0...UInt64.max)
    }
}

/// SplitMix64: small, seedable, the same everywhere.
package struct SeededGenerator: RandomNumberGenerator {
    package var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    package mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
    package mutating func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self) }
    package mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }
}

/// Draws catalogs, policies and situations.
package struct RandomPolicies {
    package var random: SeededGenerator
    package let now: Int64 = 1_700_000_000_000
    package let groupCount = 5
    package let containerCount = 3
    /// Windows that open and close within the seconds that situations lie in, on clocks east and west of UTC.
    package static let schedules: [Schedule] = {
        // 1,700,000,000 s is Tuesday 22:13:20 UTC; the windows' edges are minutes, so they lie between the seconds asked.
        let base = ScheduleTime.position(of: 1_700_000_000_000, east: 0) / 60_000
        let minute = Int32(base)
        let moving = TimeZoneRules(
            name: "Moving", starts: [.min, 1_700_000_000_000, 1_700_000_001_000], offsets: [0, 3600, -60])
        return [
            Schedule(text: "now", zone: .utc, windows: [minute..<minute + 1]),
            Schedule(text: "moving", zone: moving, windows: [0..<10, minute..<minute + 30, minute + 60..<minute + 61]),
            Schedule(text: "always", zone: moving, windows: [0..<Schedule.week]),
            Schedule(text: "never", zone: .utc, windows: []),
        ]
    }()
    package static let texts = ["", "a", "b", "ab", "abc", "Finance", "é", "x*y"]

    package init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    // MARK: Catalog

    package mutating func catalog() -> Catalog {
        let types = scalarTypes()
        var entities = [
            EntityType(
                name: "user", attributes: attributes(types, stored: true, given: random.chance(50)), isSubject: true),
            EntityType(name: "session", attributes: attributes(types, stored: true, given: false), isSubject: false),
            EntityType(name: "device", attributes: attributes(types, stored: true, given: false), isSubject: false),
            EntityType(
                name: "service", attributes: attributes(types, stored: random.chance(50), given: true), isSubject: true),
        ]
        for name in ["record", "invoice", "folder"] {
            entities.append(
                EntityType(
                    name: name, attributes: attributes(types, stored: random.chance(50), given: true, required: true),
                    isSubject: false, containers: [6]))
        }
        let actions = (0..<3).map { index in
            Action(
                name: "act\(index)", resourceTypes: random.chance(80) ? [4, 5, 6] : [4, 0],
                attributes: attributes(types, stored: false, given: true, required: true))
        }
        let implied: [UInt64] = random.chance(50) ? [1, 3, 7] : [1, 3, 5]
        return Catalog(
            name: "random", version: "1.0.0",
            assurance: Assurance(
                levels: ["one", "two", "three"], implied: implied, reachable: random.chance(80) ? 7 : 3),
            issuers: [], entities: entities, actions: actions,
            context: attributes(types, stored: false, given: true, required: true))
    }

    /// Attribute names and types; the same name has the same type wherever it stands.
    private mutating func scalarTypes() -> [(name: String, type: ValueType)] {
        [
            ("flag", .boolean), ("count", .integer(range: nil)), ("total", .decimal), ("name", .string),
            ("status", .enumeration(EnumerationType(cases: ["low", "medium", "high"], ordered: true))),
            ("since", .datetime), ("ip", .address), ("owner", .reference(entity: 0)), ("tags", .set(of: .string)),
            ("numbers", .set(of: .integer(range: nil))),
        ]
    }

    private mutating func attributes(
        _ types: [(name: String, type: ValueType)], stored: Bool, given: Bool, required: Bool = false
    ) -> [Attribute] {
        types.shuffled(using: &random).map { name, type in
            let kind = random.below(required ? 3 : 2)
            var sources: [AttributeSource] = stored ? [.application] : []
            if given { sources.append(.request) }
            return Attribute(
                name: name, type: type, isOptional: kind == 1 || kind == 0 && random.chance(10),
                defaultValue: kind == 0 ? value(type) : nil, sources: sources)
        }
    }

    package mutating func value(_ type: ValueType) -> Constant {
        switch type {
        case .boolean: .boolean(random.chance(50))
        case .integer: .integer(Int64(random.below(5)) - 1)
        case .decimal: .decimal(Int64(random.below(4)) * 500_000)
        case .string: .string(random.pick(Self.texts))
        case .enumeration(let type): .enumeration(random.below(type.cases.count))
        case .datetime: .datetime(now + Int64(random.below(5) - 2) * 1000)
        case .duration: .duration(Int64(random.below(4)) * 1000)
        case .address: .address(IPAddress(high: 0, low: 0xffff_0a00_0000 + UInt64(random.below(4)) << 22))
        case .reference(let entity): .reference(entity: entity, id: random.pick(["u1", "u2", "a"]))
        case .set(let element): .set((0..<random.below(4)).map { _ in value(element) })
        }
    }

    // MARK: Policies

    package mutating func policies() -> CheckedPolicies {
        let catalog = catalog()
        var roles: [CheckedRole] = []
        for index in 0..<random.below(4) {
            let subjects = random.chance(70) ? [0] : [0, 3]
            roles.append(
                CheckedRole(
                    name: "role\(index)", subjectTypes: subjects,
                    condition: condition(
                        catalog, Scope(subjects: subjects, actions: nil, types: nil, isRole: true), roles, depth: 2)))
        }
        let many = random.chance(20)
        let rules = (0..<(1 + random.below(many ? 40 : 10))).map { rule(catalog, roles, $0) }
        let offers = offers(catalog, roles)
        return CheckedPolicies(
            files: [SourceFile(name: "random.stile", text: "")], catalog: catalog, rules: rules,
            roles: roles.takeable(by: offers),
            groups: (0..<groupCount).map { "group\($0)" },
            containers: (0..<containerCount).map { ContainerReference(type: 6, id: "folder\($0)") },
            schedules: Self.schedules, offers: offers, obligations: obligations(catalog, roles),
            tests: [])
    }

    private mutating func offers(_ catalog: Catalog, _ roles: [CheckedRole]) -> [CheckedOffer] {
        if roles.isEmpty || random.chance(40) { return [] }
        return (0..<random.below(3)).map { index in
            let role = random.below(roles.count)
            let subjects = roles[role].subjectTypes
            return CheckedOffer(
                name: "offer\(index)", role: role, atMost: random.pick([3_600_000, 3_600_000, 7_200_000]),
                subjectTypes: subjects,
                condition: condition(
                    catalog, Scope(subjects: subjects, actions: nil, types: nil, isRole: true), roles, depth: 2),
                demand: random.chance(50) ? demand(catalog) : nil, reason: nil, range: .none)
        }
    }

    private mutating func obligations(_ catalog: Catalog, _ roles: [CheckedRole]) -> [CheckedObligation] {
        if random.chance(60) { return [] }
        return (0..<random.below(8)).map { index in
            let subjects = random.pick([[0], [3], [0, 3]])
            let actions = random.chance(20) ? nil : random.pick([[0], [1], [0, 1]])
            let types = random.chance(20) ? nil : random.pick([[4], [4, 5], [4, 5, 6]])
            return CheckedObligation(
                name: "duty\(index)", occasion: random.pick(CheckedObligation.Occasion.allCases),
                subjectTypes: subjects, actions: actions, resourceTypes: types,
                condition: condition(
                    catalog, Scope(subjects: subjects, actions: actions, types: types), roles, depth: 2),
                duties: [.terminateSessions], range: .none)
        }
    }

    private mutating func demand(_ catalog: Catalog) -> Demand {
        Demand(
            levels: random.chance(70) ? catalog.assurance.implied[random.below(3)] : 0,
            within: random.chance(50) ? Int64(1 + random.below(3)) * 1000 : .max,
            methods: random.chance(20) ? 1 << UInt32(random.below(3)) : 0)
    }

    package struct Scope {
        var subjects: [Int]
        var actions: [Int]?
        var types: [Int]?
        var isRole = false
    }

    private mutating func rule(_ catalog: Catalog, _ roles: [CheckedRole], _ index: Int) -> CheckedRule {
        let kind: RuleKind = random.pick([.permit, .permit, .permit, .forbid, .require])
        let subjects = random.pick([[0], [0], [3], [0, 3]])
        let actions = random.chance(20) ? nil : random.pick([[0], [1], [0, 1], [0, 1, 2]])
        let types = random.chance(20) ? nil : random.pick([[4], [5], [4, 5], [4, 5, 6], [0]])
        let scope = Scope(subjects: subjects, actions: actions, types: types)
        var demand: Demand?
        if kind == .require || (kind == .permit && random.chance(40)) {
            demand = self.demand(catalog)
        }
        return CheckedRule(
            kind: kind, name: "Random#\(index)", subjectTypes: subjects, actions: actions, resourceTypes: types,
            condition: condition(catalog, scope, roles, depth: 3), demand: demand)
    }

    private mutating func condition(
        _ catalog: Catalog, _ scope: Scope, _ roles: [CheckedRole], depth: Int
    ) -> Condition {
        if depth == 0 || random.chance(35) { return leaf(catalog, scope, roles) }
        let parts = (0..<(1 + random.below(3))).map { _ in condition(catalog, scope, roles, depth: depth - 1) }
        switch random.below(5) {
        case 0, 1: return .all(parts)
        case 2, 3: return .any(parts)
        default: return .not(parts[0])
        }
    }

    private mutating func leaf(_ catalog: Catalog, _ scope: Scope, _ roles: [CheckedRole]) -> Condition {
        switch random.below(14) {
        case 0: return .constant(random.chance(70))
        case 12: return .test(.schedule(random.below(Self.schedules.count)), .none)
        case 13: return scope.isRole ? .constant(false) : .test(.container(random.below(containerCount)), .none)
        case 1, 2: return .test(.group(random.below(groupCount)), .none)
        case 3:
            let usable = roles.indices.filter { Set(roles[$0].subjectTypes).isSuperset(of: scope.subjects) }
            return usable.isEmpty ? .constant(true) : .test(.role(random.pick(usable)), .none)
        default: return attributeTest(catalog, scope)
        }
    }

    private mutating func attributeTest(_ catalog: Catalog, _ scope: Scope) -> Condition {
        let scopes: [AttributeScope] =
            scope.isRole ? [.subject, .device, .session] : [.subject, .device, .session, .resource, .action, .context]
        let names = scalarTypes()
        let place = random.pick(scopes)
        let (name, type) = random.pick(names)
        let reference = AttributeReference(scope: place, name: name, type: type)
        let declared = declarations(catalog, scope, reference)
        let isOptional = declared.contains { $0.isOptional }
        // Where one type has a default and another none, `??` means two things at once; where none is optional, nothing.
        let isMixed = isOptional && declared.contains { $0.defaultValue != nil }
        if random.chance(isMixed ? 60 : isOptional ? 40 : 5) {
            let operand = Operand.attributeOr(reference, value(type))
            return .test(test(operand, type), .none)
        }
        // Whose it is: only where the subject is of the type that the reference is to.
        let asksForSubject = scope.subjects == [0] && type == .reference(entity: 0) && random.chance(40)
        let core = Condition.test(
            asksForSubject
                ? .compare(.attribute(reference), random.chance(70) ? .equal : .notEqual, .subject)
                : test(.attribute(reference), type), .none)
        return isOptional ? .all([.test(.has(reference), .none), core]) : core
    }

    private func declarations(_ catalog: Catalog, _ scope: Scope, _ reference: AttributeReference) -> [Attribute] {
        let lists: [[Attribute]]
        switch reference.scope {
        case .subject: lists = scope.subjects.map { catalog.entities[$0].attributes }
        case .session: lists = [catalog.entities[1].attributes]
        case .device: lists = [catalog.entities[2].attributes]
        case .resource: lists = (scope.types ?? Array(catalog.entities.indices)).map { catalog.entities[$0].attributes }
        case .action: lists = (scope.actions ?? Array(catalog.actions.indices)).map { catalog.actions[$0].attributes }
        case .context: lists = [catalog.context]
        }
        return lists.flatMap { $0.filter { $0.name == reference.name } }
    }

    private mutating func test(_ operand: Operand, _ type: ValueType) -> Test {
        switch type {
        case .boolean, .enumeration:
            return random.chance(70)
                ? .compare(operand, random.chance(80) ? .equal : .notEqual, .constant(value(type)))
                : .oneOf(operand, [value(type), value(type)])
        case .integer, .decimal:
            return random.chance(80)
                ? .compare(operand, random.pick(Comparison.allCases), .constant(value(type)))
                : .oneOf(operand, (0..<3).map { _ in value(type) })
        case .datetime:
            switch random.below(3) {
            case 0: return .compare(operand, random.pick(Comparison.allCases), .now)
            case 1:
                // As the checker brings sums: `now` alone on the left.
                let terms = [
                    SumTerm(operand, isNegative: false),
                    SumTerm(.constant(.duration(Int64(random.below(5) - 2) * 1000)), isNegative: random.chance(50)),
                ]
                return .compare(.now, random.pick(Comparison.allCases), .sum(terms))
            default: return .compare(operand, random.pick(Comparison.allCases), .constant(value(type)))
            }
        case .string:
            switch random.below(4) {
            case 0:
                return .like(
                    operand,
                    Pattern(parts: random.pick([["a", ""], ["", "c"], ["", "b", ""], ["a", "b", "c"], ["ab"]])))
            case 1: return .oneOf(operand, (0..<3).map { _ in value(type) })
            default: return .compare(operand, random.chance(80) ? .equal : .notEqual, .constant(value(type)))
            }
        case .address:
            return .inNetworks(
                operand,
                [IPNetwork(address: IPAddress(high: 0, low: 0xffff_0a00_0000), prefix: 96 + 8 + random.below(4))])
        case .reference: return .compare(operand, random.chance(70) ? .equal : .notEqual, .constant(value(type)))
        case .set(let element):
            switch random.below(4) {
            case 0: return .contains(set: operand, .constant(value(element)))
            case 1: return .intersects(operand, .constant(.set([value(element), value(element)])))
            case 2:
                if case .attribute(let reference) = operand {
                    return .compare(.count(reference), random.pick(Comparison.allCases), .constant(.integer(1)))
                }
                return .subset(operand, of: .constant(.set([value(element)])))
            default: return .subset(operand, of: .constant(.set([value(element), value(element)])))
            }
        case .duration: return .compare(operand, .equal, .constant(value(type)))
        }
    }

    // MARK: Situations

    package mutating func situation(_ catalog: Catalog) -> Situation {
        var situation = Situation()
        situation.subjectType = random.chance(75) ? 0 : 3
        situation.subjectID = random.pick(["u1", "u2"])
        situation.isSubjectKnown = random.chance(97)
        situation.isSubjectInactive = situation.isSubjectKnown && random.chance(2)
        situation.action = random.below(3)
        situation.resourceType = random.pick([4, 4, 5, 5, 6, 0])
        situation.resourceID = random.pick(["r1", "u1"])
        situation.now = now + Int64(random.below(5) - 2) * 1000
        if situation.isSubjectKnown {
            situation.stored[.subject] = stored(catalog.entities[situation.subjectType].attributes)
        }
        if random.chance(80) { situation.stored[.device] = stored(catalog.entities[2].attributes) }
        if random.chance(50) {
            situation.stored[.resource] = stored(catalog.entities[situation.resourceType].attributes)
        }
        situation.given[.subject] = given(catalog.entities[situation.subjectType].attributes)
        situation.given[.resource] = given(catalog.entities[situation.resourceType].attributes)
        situation.given[.action] = given(catalog.actions[situation.action].attributes)
        situation.given[.context] = given(catalog.context)
        for group in 0..<groupCount where random.chance(30) { situation.groups.insert(group) }
        if situation.isSubjectKnown, random.chance(50) {
            for role in 0..<4 where random.chance(40) {
                situation.granted["role\(role)"] = random.chance(30) ? .max : now + Int64(random.below(7) - 3) * 1000
            }
        }
        if !catalog.containers(above: situation.resourceType).isEmpty {
            for container in 0..<containerCount where random.chance(30) { situation.containers.insert(container) }
        }
        if random.chance(80) {
            var session = SessionFacts()
            session.levels = random.pick([0] + catalog.assurance.implied)
            session.methods = UInt32(random.below(8))
            if random.chance(80) { session.authenticatedAt = situation.now - Int64(random.below(4)) * 1000 }
            if random.chance(30) { session.endsAt = situation.now + Int64(random.below(4)) * 1000 }
            session.hasEnded = random.chance(2)
            situation.session = session
            situation.stored[.session] = stored(catalog.entities[1].attributes)
        }
        return situation
    }

    private mutating func stored(_ attributes: [Attribute]) -> [String: StoredValue] {
        var values: [String: StoredValue] = [:]
        for attribute in attributes where attribute.isStored && random.chance(60) {
            let validUntil = random.chance(70) ? RecordLayout.forever : now + Int64(random.below(7) - 3) * 1000
            values[attribute.name] = StoredValue(value(attribute.type), validUntil: validUntil)
        }
        return values
    }

    private mutating func given(_ attributes: [Attribute]) -> [String: GivenValue] {
        var values: [String: GivenValue] = [:]
        for attribute in attributes where attribute.isFromRequest && random.chance(93) {
            values[attribute.name] = random.chance(2) ? .malformed : .value(value(attribute.type))
        }
        return values
    }
}

// MARK: Changed copies

extension RandomPolicies {
    /// The same policies with one thing changed: a rule left out, doubled, of another kind, or with a changed condition.
    package mutating func changed(_ policies: CheckedPolicies) -> CheckedPolicies {
        var changed = policies
        if random.chance(15) || policies.rules.isEmpty { return changed }
        let index = random.below(policies.rules.count)
        var rule = policies.rules[index]
        switch random.below(6) {
        case 0: changed.rules.remove(at: index)
        case 1:
            rule.name += " again"
            changed.rules.append(rule)
        case 2:
            rule.kind = rule.kind == .permit ? .forbid : .permit
            changed.rules[index] = rule
        case 3:
            rule.demand = rule.kind == .forbid ? nil : demand(policies.catalog)
            changed.rules[index] = rule
        default:
            rule.condition = altered(rule.condition)
            changed.rules[index] = rule
        }
        return changed
    }

    private mutating func altered(_ condition: Condition) -> Condition {
        switch condition {
        case .all(var parts) where !parts.isEmpty:
            let index = random.below(parts.count)
            if random.chance(30) { return .any(parts) }
            parts[index] = altered(parts[index])
            return .all(parts)
        case .any(var parts) where !parts.isEmpty:
            let index = random.below(parts.count)
            if random.chance(30) { return .all(parts) }
            parts[index] = altered(parts[index])
            return .any(parts)
        case .not(let inner): return random.chance(30) ? inner : .not(altered(inner))
        case .test(.compare(let left, let comparison, let right), let range) where left.isOrdered:
            let others = Comparison.allCases.filter { $0 != comparison }
            return .test(.compare(left, random.pick(others), right), range)
        case .constant(let truth): return .constant(!truth)
        default: return .not(condition)
        }
    }
}

extension Operand {
    /// True where `<` has a meaning.
    fileprivate var isOrdered: Bool {
        switch self {
        case .now, .count, .sum: true
        case .attribute(let reference), .attributeOr(let reference, _):
            switch reference.type {
            case .integer, .decimal, .datetime, .duration: true
            default: false
            }
        case .constant, .subject, .resource: false
        }
    }
}
