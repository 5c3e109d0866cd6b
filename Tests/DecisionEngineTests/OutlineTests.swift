// The outline of a program tells what its index holds.

import DecisionEngine
import PolicyLanguage
import TestSupport
import Testing

@Suite("outline of the index")
struct OutlineTests {
    @Test("every rule of a cell stands in the outline of its kind, and no other rule")
    func randomPolicies() throws {
        let seed = TestSeed.next()
        print("seed \(seed)")
        for round in 0..<100 {
            var random = RandomPolicies(seed: seed &+ UInt64(round))
            let policies = random.policies()
            let program = try compile(policies)
            for subject in policies.catalog.subjectTypes {
                for type in policies.catalog.entities.indices {
                    for action in policies.catalog.actions.indices {
                        let isDefined = policies.catalog.actions[action].resourceTypes.contains(type)
                        let tables = program.outline(subjectType: subject, resourceType: type, action: action)
                        #expect((tables != nil) == isDefined, "seed \(seed &+ UInt64(round))")
                        guard let tables else { continue }
                        for (kind, table) in [
                            (RuleKind.forbid, OutlineTable.Kind.forbid), (.permit, .permit), (.require, .require),
                        ] {
                            let expected = policies.rules.indices.filter { index in
                                let rule = policies.rules[index]
                                return rule.kind == kind && rule.subjectTypes.contains(subject)
                                    && (rule.actions?.contains(action) ?? true)
                                    && (rule.resourceTypes?.contains(type) ?? true)
                            }
                            var found = Set<Int>()
                            for one in tables where one.kind == table { collect(one.root, &found) }
                            #expect(found == Set(expected), "seed \(seed &+ UInt64(round))")
                        }
                    }
                }
            }
        }
    }

    @Test("a switch tells its attribute and its values in source terms")
    func values() throws {
        var rules = ""
        for index in 0..<8 { rules += "permit read on doc when user.team == \"team \(index)\"\n" }
        for level in ["low", "mid", "high"] {
            rules += "forbid read on doc when resource.level == \(level) and user.team != \"a\"\n"
        }
        rules += "forbid read on doc when user in group \"G\"\nforbid read on doc when resource.level == high\n"
        let source = """
            catalog "t" version 1.0.0 {
              entity user { team: string = "" }
              entity doc { level: enum(low, mid, high) = low }
              action read on doc
            }
            policy "P" { \(rules) }
            """
        let policies = try #require(checkPolicies([SourceFile(name: "t.stile", text: source)]).policies)
        let program = try compile(policies)
        let doc = try #require(policies.catalog.entity(named: "doc"))
        let tables = try #require(program.outline(subjectType: Catalog.user, resourceType: doc, action: 0))
        let permit = try #require(tables.first { $0.kind == .permit })
        guard case .choice(.attribute(let team), let branches, let also) = permit.root else {
            Issue.record("no switch: \(permit.root)")
            return
        }
        #expect(team.scope == .subject && team.name == "team" && also == nil)
        #expect(Set(branches.map(\.value)) == Set((0..<8).map { .constant(.string("team \($0)")) }))
        let forbid = try #require(tables.first { $0.kind == .forbid })
        guard case .choice(.attribute(let level), let cases, let others?) = forbid.root else {
            Issue.record("no switch: \(forbid.root)")
            return
        }
        #expect(level.name == "level")
        #expect(Set(cases.map(\.value)) == Set((0..<3).map { .constant(.enumeration($0)) }))
        guard case .rules(let left) = others else {
            Issue.record("no leaf: \(others)")
            return
        }
        #expect(left == [.rule(11)])
    }

    private func collect(_ node: OutlineNode, _ found: inout Set<Int>) {
        switch node {
        case .rules(let rules):
            for case .rule(let index) in rules { found.insert(index) }
        case .choice(_, let branches, let also):
            for branch in branches { collect(branch.node, &found) }
            if let also { collect(also, &found) }
        }
    }
}
