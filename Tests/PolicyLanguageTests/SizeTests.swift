// Text of hostile size: every limit refuses, and what stays below the limits is checked in time by its length.

import PolicyLanguage
import Testing

private func lines(_ count: Int, _ line: (Int) -> String) -> String {
    (0..<count).map(line).joined(separator: "\n")
}

@Suite("size")
struct SizeTests {
    private static func codes(_ files: String...) -> Set<DiagnosticCode> {
        let sources = files.enumerated().map { SourceFile(name: "f\($0.offset).stile", text: $0.element) }
        return Set(checkPolicies(sources).diagnostics.map(\.code))
    }

    @Test("more than a limit allows is refused with the limit's name")
    func limits() {
        let tooMany: [String] = [
            "catalog \"c\" { \(lines(LanguageLimits.maxTypes) { "entity e\($0)" }) }",
            "catalog \"c\" { entity e\n\(lines(LanguageLimits.maxActions + 1) { "action a\($0) on e" }) }",
            "catalog \"c\" { entity e { \(lines(LanguageLimits.maxAttributes + 1) { "a\($0): int" }) } }",
            "catalog \"c\" { entity e\n\(lines(LanguageLimits.maxAttributes + 1) { "signal e.a\($0): int = 0 from caep \"x\"" }) }",
            "catalog \"c\" { entity e { a: enum(\((0...LanguageLimits.maxCases).map { "c\($0)" }.joined(separator: ", "))) } }",
            "catalog \"c\" { entity e { a: int }\naction r on e }\npolicy \"p\" { permit r on e when resource.a in [\(String(repeating: "1, ", count: LanguageLimits.maxListElements))1] }",
        ]
        for text in tooMany { #expect(Self.codes(text) == [.tooLarge], "\(text.prefix(60))") }
        let half = String(repeating: " ", count: LanguageLimits.maxFileBytes)
        let files = (0...LanguageLimits.maxTotalBytes / LanguageLimits.maxFileBytes).map {
            SourceFile(name: "\($0)", text: half)
        }
        #expect(checkPolicies(files).diagnostics.map(\.code) == [.tooLarge])
        #expect(Self.codes(half + " ").contains(.tooLarge))
    }

    private static let catalog = """
        catalog "c" version 1.0.0 {
          entity user { level: int = 0 }
          \(lines(200) { "entity t\($0) in t0 { x: int = 0, ip: ipaddr? }" })
          \(lines(50) { action in "action a\(action) on \((0..<200).map { "t\($0)" }.joined(separator: ", "))" })
        }

        """

    /// Conditions whose check could cost more than their length.
    enum Costly: String, CaseIterable, Sendable {
        case longList, attributesOfEveryType, containers, schedules, rolesInRoles, unknownRoles, lets

        var text: String {
            let items =
                switch self {
                case .longList:
                    "let long = [\((0..<5_000).map(String.init).joined(separator: ", "))]\n"
                        + lines(3_000) { "permit a0 on t0 when resource.x in long and user.level > \($0)" }
                case .attributesOfEveryType: lines(3_000) { "permit any on any when resource.x > \($0)" }
                case .containers: lines(3_000) { "permit any on any when resource in t0 \"c\($0)\"" }
                case .schedules:
                    lines(2_000) { "permit any on any when now in \"Mon-Fri 08:00-18:\(10 + $0 % 50) Europe/Berlin\"" }
                case .rolesInRoles:
                    lines(60) { "role r\($0) is \($0 == 0 ? "user.level > 1" : "role r\($0 - 1) and role r\($0 - 1)")" }
                        + "\npermit any on any to role r59"
                case .unknownRoles:
                    lines(10_000) { "role r\($0) is user.level > \($0)" } + "\n"
                        + lines(1_000) { "permit any on any to role rr\($0)" }
                case .lets:
                    lines(10_000) { "let l\($0) = l\($0 + 1)" }
                        + "\nlet l10000 = 1\npermit any on any when user.level > l0"
                }
            return "policy \"p\" {\n\(items)\n}"
        }
    }

    @Test(
        "many conditions of a costly kind are checked in time by their number", .timeLimit(.minutes(1)),
        arguments: Costly.allCases)
    func manyConditions(_ kind: Costly) {
        let text = kind.text
        let result = checkPolicies([
            SourceFile(name: "c.stile", text: Self.catalog), SourceFile(name: "p.stile", text: text),
        ])
        #expect((result.policies != nil) == (kind != .unknownRoles))
        #expect(result.diagnostics.contains { $0.severity == .error } == (kind == .unknownRoles))
    }

    @Test("a let may name another let; one that names itself in the end is told, and nothing else")
    func lets() throws {
        let start =
            Self.catalog
            + "policy \"p\" { permit a0 on t0 when user.level > first and has resource.ip and resource.ip in nets "
        let good =
            start + "let first = second let second = third let third = 3 let nets = more let more = [10.0.0.0/8] }"
        let result = checkPolicies([SourceFile(name: "c.stile", text: good)])
        #expect(result.diagnostics.isEmpty)
        let rule = try #require(result.policies?.rules.first)
        #expect("\(rule.condition)".contains("integer(3)"))
        #expect(Self.codes(start + "let first = second let second = second let nets = nets }") == [.letCircle])
    }

    @Test("warnings never crowd out an error")
    func crowd() {
        let warnings = lines(400) { "permit a0 on t0 when true as \"w\($0)\"" }
        let text = Self.catalog + "policy \"p\" { \(warnings)\npermit b on t0 }"
        let result = checkPolicies([SourceFile(name: "c.stile", text: text)])
        #expect(result.policies == nil)
        #expect(result.diagnostics.contains { $0.code == .unknownAction })
    }
}
