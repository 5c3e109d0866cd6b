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
}
