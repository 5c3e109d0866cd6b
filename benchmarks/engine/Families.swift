// Policies written to make a compiler explode: each family grows one thing that multiplies in a naive decision tree.

import DecisionEngine
import PolicyLanguage

/// A family of policies that grow with n.
struct Family: Sendable {
    let name: String
    /// What multiplies in a naive tree.
    let title: String
    let files: @Sendable (Int) -> [SourceFile]
    /// Fills a world with questions for n.
    let ask: @Sendable (World, Int, inout Random) -> Void

    /// n pairs of values that have nothing in common: n x n paths in a tree that tests one attribute after the other.
    static let disjoint = Family(
        name: "disjoint", title: "n disjoint conjunctions",
        files: { count in
            var text = PolicyText(
                catalog:
                    "catalog \"disjoint\" version 1.0.0 {\n  entity user {\n    a: string = \"\"\n    b: string = \"\"\n"
                    + "  }\n  entity item {\n    c: string\n  }\n  action use on item\n}\n")
            for number in 0..<count {
                text.add(
                    "permit use on item when user.a == \"a\(number)\" and user.b == \"b\(number)\" and resource.c == \"c\(number)\""
                )
            }
            text.finish()
            return text.files
        },
        ask: { world, count, random in
            let empty = world.record([])
            for number in 0..<questions {
                let first = random.below(count)
                // Every other question differs from all rules in its last value only.
                let last = number % 2 == 0 ? first : random.below(count)
                world.addSubject(
                    "user-\(number)", world.record([.string("a\(first)"), .string("b\(first)")]))
                world.ask(
                    Question(
                        action: 0, resourceType: item, subject: world.party([nil, nil], id: "user-\(number)"),
                        resource: world.party([.string("c\(last)")], id: "item"), actionProperties: empty,
                        context: empty))
            }
        })

    /// Ranges that overlap on every attribute: each cuts all others, so that n ranges on k attributes make (2n)^k boxes.
    static let ranges = Family(
        name: "ranges", title: "n overlapping ranges on 4 attributes",
        files: { count in
            var text = PolicyText(
                catalog:
                    "catalog \"ranges\" version 1.0.0 {\n  entity item {\n    v0: int\n    v1: int\n    v2: int\n    v3: int\n"
                    + "  }\n  action use on item\n}\n")
            var random = Random(seed: 11)
            for _ in 0..<count {
                let bounds = (0..<4).map { _ in
                    let low = random.below(1_000_000)
                    return (low, low + 1 + random.below(200_000))
                }
                text.add(
                    "permit use on item when "
                        + bounds.enumerated().map { "resource.v\($0) in \($1.0)...\($1.1)" }.joined(separator: " and "))
            }
            text.finish()
            return text.files
        },
        ask: { world, _, random in
            let empty = world.record([])
            world.addSubject("user", world.record([]))
            for _ in 0..<questions {
                let values: [Constant?] = (0..<4).map { _ in .integer(Int64(random.below(1_000_000))) }
                world.ask(
                    Question(
                        action: 0, resourceType: item, subject: world.party([], id: "user"),
                        resource: world.party(values, id: "item"), actionProperties: empty, context: empty))
            }
        })

    /// n rules for groups times departments: memberships are not exclusive, so that a tree over groups has 2^groups leaves.
    static let matrix = Family(
        name: "matrix", title: "groups x departments, n rules",
        files: { count in
            var text = PolicyText(
                catalog: "catalog \"matrix\" version 1.0.0 {\n  entity user {\n    department: string = \"\"\n  }\n"
                    + "  entity item\n  action use on item\n}\n")
            let departments = side(count)
            for number in 0..<count {
                text.add(
                    "permit use on item to user in group \"g\(number / departments)\""
                        + " and user.department == \"d\(number % departments)\"")
            }
            text.finish()
            return text.files
        },
        ask: { world, count, random in
            let empty = world.record([])
            let departments = side(count)
            for number in 0..<questions {
                let groups = random.some(1 + random.below(4), below: max(1, count / departments)).map { UInt32($0 + 1) }
                world.addSubject(
                    "user-\(number)", world.record([.string("d\(random.below(departments))")], groups: groups))
                world.ask(
                    Question(
                        action: 0, resourceType: item, subject: world.party([nil], id: "user-\(number)"),
                        resource: world.party([], id: "item"), actionProperties: empty, context: empty))
            }
        })

    /// One condition of n alternatives joined by `and`: 2^n conjunctions when it is multiplied out.
    static let alternatives = Family(
        name: "alternatives", title: "one condition of n alternatives",
        files: { count in
            let parts = (0..<count).map { "(resource.v\($0 % 8) != \($0) or user.w == \($0 * 7 % 1_000))" }
            var text = PolicyText(
                catalog:
                    "catalog \"alternatives\" version 1.0.0 {\n  entity user {\n    w: int = 0\n  }\n  entity item {\n"
                    + (0..<8).map { "    v\($0): int\n" }.joined() + "  }\n  action use on item\n}\n")
            text.add("permit use on item when \(parts.joined(separator: "\n    and "))")
            text.finish()
            return text.files
        },
        ask: { world, count, random in
            let empty = world.record([])
            for number in 0..<questions {
                world.addSubject("user-\(number)", world.record([.integer(Int64(random.below(1_000)))]))
                let values: [Constant?] = (0..<8).map { _ in .integer(Int64(random.below(max(10, count)))) }
                world.ask(
                    Question(
                        action: 0, resourceType: item, subject: world.party([nil], id: "user-\(number)"),
                        resource: world.party(values, id: "item"), actionProperties: empty, context: empty))
            }
        })

    static let all = [disjoint, ranges, matrix, alternatives]
    static let questions = 2_000

    /// The first entity type that a catalog declares beyond the built-in ones.
    private static let item = 3

    /// Departments of the matrix: as many as groups.
    private static func side(_ count: Int) -> Int {
        var side = 1
        while (side + 1) * (side + 1) <= count { side += 1 }
        return side
    }

    /// Policy groups `g0`, `g1`, … as the store numbers them.
    static func groups(_ program: Program) -> [(number: UInt32, index: Int)] {
        program.policies.groups.enumerated().compactMap { index, name in
            Int(name.dropFirst()).map { (UInt32($0 + 1), index) }
        }
    }
}
