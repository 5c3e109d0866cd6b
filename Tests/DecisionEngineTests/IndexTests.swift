// The index of rules: many rules of few shapes, so that switches, ranges and memberships are built and walked, which the
// small random policies of `DifferentialTests` seldom bring about. The reference interpreter is the judge here too.

import DecisionEngine
import Memory
import PolicyLanguage
import TestSupport
import Testing

@Suite("the index leaves out no rule that matches")
struct IndexTests {
    private static let departments = 12
    private static let groups = 30
    private static let numbers = 90

    private static let name = AttributeReference(scope: .subject, name: "department", type: .string)
    private static let level = AttributeReference(scope: .resource, name: "level", type: .integer(range: nil))
    private static let total = AttributeReference(scope: .resource, name: "total", type: .integer(range: nil))
    private static let flag = AttributeReference(scope: .resource, name: "flag", type: .boolean)
    private static let home = AttributeReference(scope: .resource, name: "home", type: .string)
    private static let kindType = ValueType.enumeration(EnumerationType(cases: ["a", "b", "c"], ordered: true))
    private static let kind = AttributeReference(scope: .subject, name: "kind", type: kindType)

    private static func attribute(_ reference: AttributeReference, optional: Bool = false) -> Attribute {
        Attribute(
            name: reference.name, type: reference.type, isOptional: optional,
            sources: [reference.scope == .subject ? .application : .request])
    }

    /// More actions and types than rules are copied to.
    private static let catalog = Catalog(
        name: "index", version: "1.0.0",
        assurance: Assurance(levels: ["one"], implied: [1], reachable: 1), issuers: [],
        entities: [
            EntityType(name: "user", attributes: [attribute(name, optional: true), attribute(kind)], isSubject: true),
            EntityType(name: "session", attributes: [], isSubject: false),
            EntityType(name: "device", attributes: [], isSubject: false),
        ]
            + (0..<9).map { number in
                EntityType(
                    name: "type\(number)",
                    attributes: [
                        attribute(level), attribute(total, optional: true), attribute(flag), attribute(home),
                    ], isSubject: false)
            },
        actions: (0..<9).map { Action(name: "act\($0)", resourceTypes: Array(3..<12), attributes: []) }, context: [])

    // MARK: Rules

    private static func policies(_ random: inout SeededGenerator, rules: Int) -> CheckedPolicies {
        // Few sorts of tests in one policy set, so that some are made of ranges alone and some of memberships alone.
        let sorts = (0..<(1 + random.below(4))).map { _ in random.below(9) }
        let checked = (0..<rules).map { number in
            let isWide = random.chance(10)
            return CheckedRule(
                kind: random.pick([.permit, .permit, .permit, .forbid, .require]), name: "Index#\(number)",
                subjectTypes: [0], actions: isWide ? Array(random.below(3)..<9) : random.chance(30) ? nil : [0, 1],
                resourceTypes: isWide ? Array(3..<11) : random.chance(30) ? nil : [3, 4],
                condition: .all((0..<(1 + random.below(4))).map { _ in test(random.pick(sorts), &random) }),
                demand: Demand(levels: random.chance(50) ? 1 : 0))
        }
        let role = CheckedRole(
            name: "role", subjectTypes: [0],
            condition: .any([
                .test(.group(1), .none), .all([.test(.group(2), .none), text(name, &random)]),
            ]))
        return CheckedPolicies(
            files: [SourceFile(name: "index.stile", text: "")], catalog: catalog, rules: checked, roles: [role],
            groups: (0..<groups).map { "group\($0)" }, tests: [])
    }

    private static func text(_ reference: AttributeReference, _ random: inout SeededGenerator) -> Condition {
        let value = { (random: inout SeededGenerator) in Constant.string("dept\(random.below(departments))") }
        let test: PolicyLanguage.Test =
            random.chance(70)
            ? .compare(.attribute(reference), random.chance(85) ? .equal : .notEqual, .constant(value(&random)))
            : .oneOf(.attribute(reference), (0..<3).map { _ in value(&random) })
        return reference == name ? .all([.test(.has(reference), .none), .test(test, .none)]) : .test(test, .none)
    }

    private static func range(_ reference: AttributeReference, _ random: inout SeededGenerator) -> [Condition] {
        let least = Int64(random.below(100))
        return [
            .test(.compare(.attribute(reference), .greaterOrEqual, .constant(.integer(least))), .none),
            .test(
                .compare(.constant(.integer(least + Int64(random.below(40)) - 2)), .greater, .attribute(reference)),
                .none),
        ]
    }

    private static func test(_ sort: Int, _ random: inout SeededGenerator) -> Condition {
        switch sort {
        case 0: return text(name, &random)
        case 1: return text(home, &random)
        case 2: return .all(range(level, &random))
        case 3: return .all([.test(.has(total), .none)] + range(total, &random))
        case 4:
            let isTrue = Condition.test(.compare(.attribute(flag), .equal, .constant(.boolean(true))), .none)
            return random.chance(50) ? isTrue : .not(isTrue)
        case 5: return .test(.group(random.below(groups)), .none)
        case 6: return .any((0..<2).map { _ in .test(.group(random.below(groups)), .none) })
        case 7: return .test(.compare(.attribute(kind), .equal, .constant(.enumeration(random.below(3)))), .none)
        default:
            return random.chance(30)
                ? .test(.role(0), .none)
                : .all([
                    .test(.has(name), .none),
                    .test(
                        .compare(.attribute(home), random.chance(70) ? .equal : .notEqual, .attribute(name)), .none),
                ])
        }
    }

    // MARK: Questions

    /// One question, the direct memberships of its subject, and which named groups each makes true.
    private static func situation(
        _ random: inout SeededGenerator, _ pairs: [(number: UInt32, index: Int)]
    ) -> (situation: Situation, direct: [UInt32]) {
        var situation = Situation()
        situation.subjectID = "u"
        situation.resourceID = "r"
        situation.action = random.below(9)
        situation.resourceType = 3 + random.below(9)
        situation.now = 1_000
        var subject: [String: StoredValue] = ["kind": StoredValue(.enumeration(random.below(3)))]
        if random.chance(90) { subject["department"] = StoredValue(.string("dept\(random.below(departments + 2))")) }
        situation.stored[.subject] = subject
        var given: [String: GivenValue] = [
            "level": .value(.integer(Int64(random.below(140)) - 5)), "flag": .value(.boolean(random.chance(50))),
            "home": .value(.string("dept\(random.below(departments + 2))")),
        ]
        if random.chance(80) { given["total"] = .value(.integer(Int64(random.below(140)) - 5)) }
        situation.given[.resource] = given
        if random.chance(50) { situation.session = SessionFacts() }
        let count = random.chance(80) ? random.below(6) : 40 + random.below(40)
        let direct = Set((0..<count).map { _ in UInt32(random.below(numbers)) }).sorted()
        situation.groups = Set(pairs.filter { direct.contains($0.number) }.map(\.index))
        return (situation, direct)
    }

    @Test("program and reference agree on many rules of few shapes", arguments: 0..<4)
    func agreement(run: Int) throws {
        let seed = TestSeed.next() &+ UInt64(run) &* 0x9e37_79b9
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var scratch = DecisionScratch()
        for _ in 0..<12 {
            let policies = Self.policies(&random, rules: random.pick([3, 20, 60, 150]))
            let program = try compile(policies)
            let reference = Interpreter(policies)
            let pairs = (0..<random.pick([30, 400])).map { _ in
                (number: UInt32(random.below(Self.numbers)), index: random.below(Self.groups))
            }
            let index = MembershipIndex(pairs: pairs, namedCount: Self.groups)
            for _ in 0..<40 {
                let (situation, direct) = Self.situation(&random, pairs)
                let expected = reference.decide(situation)
                // Once with the groups said, once with those that the index finds for the record.
                for direct in [nil, direct] {
                    let outcome = program.decide(situation, &scratch, groups: direct.map { ($0, index) })
                    #expect(outcome.verdict.kind == expected.kind, "seed \(seed): \(situation)")
                    #expect(outcome.verdict.cause == expected.cause, "seed \(seed): \(situation)")
                    let permits = Set(outcome.rules).intersection(expected.matching[.permit] ?? [])
                    let requires = Set(expected.matching[.require] ?? [])
                    let forbids = Set(expected.matching[.forbid] ?? [])
                    switch expected.kind {
                    case .permitted, .stepUp:
                        #expect(permits.count == 1 && requires.union(permits) == Set(outcome.rules), "seed \(seed)")
                    case .forbidden: #expect(forbids.isSuperset(of: outcome.rules), "seed \(seed)")
                    case .notPermitted, .error: #expect(outcome.rules.isEmpty, "seed \(seed)")
                    }
                }
            }
        }
    }

    @Test("a rule of more actions and types than it is copied to matches those alone")
    func wideRules() throws {
        let policies = CheckedPolicies(
            files: [SourceFile(name: "index.stile", text: "")], catalog: Self.catalog,
            rules: [
                CheckedRule(
                    kind: .permit, name: "Wide#1", subjectTypes: [0], actions: Array(0..<8),
                    resourceTypes: Array(3..<12), condition: .constant(true))
            ], roles: [], groups: [], tests: [])
        let program = try compile(policies)
        var scratch = DecisionScratch()
        var situation = Situation()
        situation.resourceType = 5
        situation.action = 7
        #expect(program.decide(situation, &scratch).verdict.kind == .permitted)
        situation.action = 8
        #expect(program.decide(situation, &scratch).verdict.kind == .notPermitted)
    }

    @Test("a rule of many lists is copied into few places of the index")
    func listsInLists() throws {
        let rules = (0..<200).map { number in
            CheckedRule(
                kind: .permit, name: "Lists#\(number)", subjectTypes: [0], actions: [0], resourceTypes: [3],
                condition: .all(
                    [Self.name, Self.home].map { reference in
                        .test(
                            .oneOf(
                                .attribute(reference), (0..<32).map { .string("dept\((number + $0 * 7) % 200)") }),
                            .none)
                    } + [
                        .test(
                            .oneOf(
                                .attribute(Self.level), (0..<32).map { .integer(Int64((number + $0 * 3) % 200)) }),
                            .none)
                    ]))
        }
        let program = try compile(
            CheckedPolicies(
                files: [SourceFile(name: "index.stile", text: "")], catalog: Self.catalog, rules: rules, roles: [],
                groups: [], tests: []))
        // A rule's three lists of 32 words take some 1,000 bytes; 32 x 32 x 32 places would take 700,000.
        #expect(program.sizeInBytes < rules.count * 8_000)
    }

    private static func compiled(_ rules: [CheckedRule], groups: [String] = []) throws -> Program {
        try compile(
            CheckedPolicies(
                files: [SourceFile(name: "index.stile", text: "")], catalog: catalog, rules: rules, roles: [],
                groups: groups, tests: []))
    }

    private static func rule(
        _ kind: RuleKind, _ name: String, _ condition: Condition, demand: Demand = .nothing
    ) -> CheckedRule {
        CheckedRule(
            kind: kind, name: name, subjectTypes: [0], actions: [0], resourceTypes: [3], condition: condition,
            demand: demand)
    }

    private static func bounded(_ comparison: Comparison, _ bound: Int64) -> Condition {
        .test(.compare(.attribute(level), comparison, .constant(.integer(bound))), .none)
    }

    /// The first question's rules, for a resource of a level.
    private static func decide(
        _ program: Program, level: Int64, _ fill: (inout Situation) -> Void = { _ in }
    ) -> SituationOutcome {
        var scratch = DecisionScratch()
        var situation = Situation()
        situation.resourceType = 3
        situation.given[.resource] = ["level": .value(.integer(level)), "flag": .value(.boolean(true))]
        fill(&situation)
        return program.decide(situation, &scratch)
    }

    @Test("rules that differ in one value share a node, which names the one that matches")
    func sets() throws {
        let rules = (0..<200).map { number in
            Self.rule(
                .permit, "Set#\(number)", .all([.test(.group(number), .none), Self.bounded(.greaterOrEqual, 5)]))
        }
        let program = try Self.compiled(rules, groups: (0..<200).map { "group\($0)" })
        for number in [0, 1, 63, 64, 130, 199] {
            let outcome = Self.decide(program, level: 5) { $0.groups = [number] }
            #expect(outcome.verdict.kind == .permitted && outcome.rules == [number])
            #expect(Self.decide(program, level: 4) { $0.groups = [number] }.verdict.kind == .notPermitted)
        }
        #expect(Self.decide(program, level: 5).verdict.kind == .notPermitted)
        // A few bits and one word a rule, where a switch takes two words a rule at least.
        let more = try Self.compiled(
            rules
                + rules.map { rule in
                    var copy = rule
                    copy.condition = .all([rule.condition, Self.bounded(.lessOrEqual, 9)])
                    return copy
                }, groups: (0..<200).map { "group\($0)" })
        #expect(more.sizeInBytes < program.sizeInBytes + 200 * 10)
    }

    @Test("sets of words, texts and groups in one list each lead to their own rule", arguments: [20, 70, 700])
    func setsOfSeveralSorts(count: Int) throws {
        let text = { (number: Int) in
            Condition.test(.compare(.attribute(Self.name), .equal, .constant(.string("dept\(number)"))), .none)
        }
        let total = { (number: Int) in
            Condition.test(
                .compare(.attribute(Self.total), .equal, .constant(.integer(Int64(number) * 2))), .none)
        }
        let flag = Condition.test(.compare(.attribute(Self.flag), .equal, .constant(.boolean(true))), .none)
        let rules = (0..<count).flatMap { number in
            [
                Self.rule(.permit, "Text#\(number)", .all([text(number), Self.bounded(.greaterOrEqual, 5)])),
                Self.rule(.permit, "Word#\(number)", .all([total(number), Self.bounded(.less, 5)])),
                Self.rule(.permit, "Group#\(number)", .all([.test(.group(number), .none), flag])),
            ]
        }
        let program = try Self.compiled(rules, groups: (0..<count).map { "group\($0)" })
        for number in [0, 1, count / 2, count - 1] {
            func decide(level: Int64, _ fill: (inout Situation) -> Void) -> SituationOutcome {
                Self.decide(program, level: level) { situation in
                    situation.given[.resource]?["flag"] = .value(.boolean(false))
                    fill(&situation)
                }
            }
            let named: (inout Situation) -> Void = { situation in
                situation.stored[.subject] = ["department": StoredValue(.string("dept\(number)"))]
            }
            let counted: (inout Situation) -> Void = { situation in
                situation.given[.resource]?["total"] = .value(.integer(Int64(number) * 2))
            }
            #expect(decide(level: 5, named).rules == [number * 3])
            #expect(decide(level: 4, named).verdict.kind == .notPermitted)
            #expect(decide(level: 4, counted).rules == [number * 3 + 1])
            #expect(decide(level: 5, counted).verdict.kind == .notPermitted)
            #expect(decide(level: 5) { $0.groups = [number] }.verdict.kind == .notPermitted)
            #expect(Self.decide(program, level: 5) { $0.groups = [number] }.rules == [number * 3 + 2])
            #expect(Self.decide(program, level: 5) { $0.groups = [number, count] }.rules == [number * 3 + 2])
        }
    }

    @Test("a forbid that a wider one covers is told with it, and a denial names the wider one")
    func coveredForbids() throws {
        let program = try Self.compiled([
            Self.rule(.forbid, "a", Self.bounded(.greaterOrEqual, 5)),
            Self.rule(.forbid, "b", Self.bounded(.greater, 2)),
            Self.rule(.forbid, "c", Self.bounded(.less, -3)), Self.rule(.forbid, "d", Self.bounded(.lessOrEqual, -4)),
            Self.rule(.forbid, "e", Self.bounded(.greaterOrEqual, 3)), Self.rule(.permit, "f", .constant(true)),
        ])
        for (level, rules) in [(9, [1]), (5, [1]), (3, [1]), (2, [5]), (-3, [5]), (-4, [2]), (.min, [2])]
            as [(Int64, [Int])]
        {
            #expect(Self.decide(program, level: level).rules == rules, "level \(level)")
        }
        let tables = try #require(program.outline(subjectType: 0, resourceType: 3, action: 0))
        guard case .rules(let told)? = tables.first?.root else {
            Issue.record("no leaf: \(tables)")
            return
        }
        #expect(told == [.rule(1), .rule(0), .rule(4), .rule(2), .rule(3)])
    }

    @Test("a permit is covered by one of the same demand and an earlier name alone")
    func coveredPermits() throws {
        let demand = Demand(levels: 1)
        let permits = { (first: String, second: String, other: Demand) in
            try Self.compiled([
                Self.rule(.permit, first, Self.bounded(.greaterOrEqual, 5), demand: demand),
                Self.rule(.permit, second, Self.bounded(.greaterOrEqual, 3), demand: other),
            ])
        }
        // A step-up names the first name of those that match, as the reference does.
        #expect(Self.decide(try permits("a", "b", demand), level: 6).rules == [0])
        #expect(Self.decide(try permits("b", "a", demand), level: 6).rules == [1])
        #expect(Self.decide(try permits("b", "a", demand), level: 4).rules == [1])
        let other = Self.decide(try permits("b", "a", .nothing), level: 6)
        #expect(other.verdict.kind == .permitted && other.rules == [1])
        #expect(Self.decide(try permits("a", "b", demand), level: 6).verdict.kind == .stepUp)
    }

    @Test("groups found for one question are not taken for the next")
    func groupsOfQuestions() throws {
        let program = try Self.compiled(
            (0..<8).map { Self.rule(.permit, "Group#\($0)", .test(.group($0), .none)) },
            groups: (0..<8).map { "group\($0)" })
        let index = MembershipIndex(pairs: (0..<8).map { (number: UInt32($0 + 1), index: $0) }, namedCount: 8)
        var scratch = DecisionScratch()
        var situation = Situation()
        situation.resourceType = 3
        situation.given[.resource] = ["level": .value(.integer(1)), "flag": .value(.boolean(true))]
        for (direct, rules) in [([3, 5], [2]), ([9], []), ([5], [4]), ([], [])] as [([UInt32], [Int])] {
            #expect(program.decide(situation, &scratch, groups: (direct, index)).rules == rules)
        }
    }
}
