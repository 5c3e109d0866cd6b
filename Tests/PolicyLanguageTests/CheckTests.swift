// What checks, what does not, and what is said about it.

import Foundation
import PolicyLanguage
import Testing

@Suite("checking")
struct CheckTests {
    @Test("the ledger sample checks without a finding")
    func ledger() throws {
        let result = checkPolicies(Samples.files)
        let rendered = DiagnosticRenderer(files: Samples.files, usesColor: false).render(result.diagnostics)
        #expect(rendered == "")
        let policies = try #require(result.policies)
        #expect(policies.rules.map(\.name).contains("Payroll/approve"))
        #expect(policies.groups == ["Payroll Approvers", "Auditors"])
        #expect(policies.roles.map(\.name) == ["approver"])
        #expect(policies.tests.count == 1)
        #expect(policies.catalog.entities.prefix(3).map(\.name) == ["user", "session", "device"])
    }

    @Test("the seldom constructs check without a finding too")
    func corners() throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Corpus/corners.stile")
        let file = SourceFile(name: "corners.stile", text: try String(contentsOf: url, encoding: .utf8))
        let result = checkPolicies([file])
        #expect(DiagnosticRenderer(files: [file], usesColor: false).render(result.diagnostics) == "")
    }

    @Test("formatting keeps meaning and comments, and a second time changes nothing", arguments: Samples.files)
    func formatting(file: SourceFile) throws {
        let once = try format(file)
        let twice = try format(SourceFile(name: file.name, text: once))
        #expect(once == twice)
        #expect(once.contains("// provisioned over SCIM") == file.text.contains("// provisioned over SCIM"))
    }

    @Test("a rule that names a subject type is about that type alone")
    func subjectTypes() throws {
        let policies = try #require(checkPolicies(Samples.files).policies)
        let services = policies.rules.filter { $0.subjectTypes == [3] }
        #expect(services.map(\.name) == ["Payroll#5"])
        let managedDevice = try #require(policies.rules.first { $0.kind == .forbid })
        #expect(managedDevice.subjectTypes == [0, 3])
    }

    @Test("all mistakes of a file are told in one run")
    func allAtOnce() {
        let text = """
            policy "P" {
              permit reed on payrun
              permit read on payrun when user.departmint == "x"
              permit read on payrun when user.department == 3
              permit read on payrun to role aprover
            }
            """
        let result = checkPolicies([Samples.catalog, Samples.policy, SourceFile(name: "p.stile", text: text)])
        #expect(result.policies == nil)
        #expect(result.diagnostics.map(\.code) == [.unknownAction, .unknownAttribute, .typeMismatch, .unknownRole])
        #expect(result.diagnostics.map(\.help).allSatisfy { $0 != nil })
    }

    @Test("a mistake in one rule does not hide the next policy")
    func recovery() {
        let text = """
            policy "A" {
              permit on payrun
              permit read payrun
            }
            policy "B" { permit reed on payrun }
            """
        let result = checkPolicies([Samples.catalog, SourceFile(name: "p.stile", text: text)])
        #expect(result.diagnostics.map(\.code) == [.expected, .expected, .unknownAction])
    }

    @Test("leaving out any one word gives one message, two at the most")
    func leftOut() {
        let words = Samples.policy.text.split(whereSeparator: \.isWhitespace)
        var counts: [Int: Int] = [:]
        for word in words {
            var text = Samples.policy.text
            text.removeSubrange(word.startIndex..<word.endIndex)
            let result = checkPolicies([Samples.catalog, SourceFile(name: "p.stile", text: text)])
            let errors = result.diagnostics.filter { $0.severity == .error }
            counts[errors.count, default: 0] += 1
            #expect(errors.count <= 2, "without \(word): \(errors.map(\.message))")
        }
        #expect(counts[2] ?? 0 <= words.count / 50)
    }

    @Test("a group without quotes is one mistake, with the mend")
    func unquotedGroup() {
        let text = "policy \"P\" {\n  permit read on payrun to user in group Auditors\n}\n"
        let result = checkPolicies([Samples.catalog, SourceFile(name: "p.stile", text: text)])
        #expect(result.diagnostics.map(\.code) == [.expected])
        #expect(result.diagnostics.first?.help == "write \"Auditors\"")
    }

    @Test(
        "hostile text is answered, and soon", .timeLimit(.minutes(1)),
        arguments: [
            ";", "'", "\u{201c}", "}", "{", "(", "[", "-", "+", "&", "!", "/*", "\\", "\"\\x", "permit ",
            "policy \"p\" {\n", "a",
            "1", "::", "not ", "count(", "x ?? ", "\n", "group a ", "test \"t\" {\ngiven user {\n", "entity a {\n",
            "\u{0}",
        ])
    func hostile(piece: String) {
        let rest = String(repeating: piece, count: 10_000 / piece.utf8.count)
        let starts = [
            "", "policy \"P\" {\n  permit read on payrun when ", "policy \"P\" { let x = [1,\n",
            "catalog \"c\" version 1.0.0 {\n  entity x { y: ", "policy \"P\" {}\ntest \"t\" { given user { a ",
        ]
        for start in starts {
            let file = SourceFile(name: "hostile.stile", text: start + rest)
            let result = checkPolicies([file])
            #expect(result.policies == nil)
            let rendered = DiagnosticRenderer(files: [file], usesColor: false).render(result.diagnostics)
            #expect(rendered.utf8.count < 500_000)
        }
    }

    @Test("mutated text never traps", arguments: [1, 2, 3])
    func mutations(seed: UInt64) {
        var state = seed
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        let words = [
            "{", "}", "(", "permit", "9999999999999999999", "::", "\"", "not", "...", "é", "[", "-", ".", "role x is",
        ]
        for _ in 0..<700 {
            var bytes = Array((Samples.catalog.text + Samples.policy.text).utf8)
            for _ in 0...next(6) {
                let place = next(bytes.count)
                switch next(4) {
                case 0: bytes[place] = UInt8(next(256))
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + next(40)))
                case 2: bytes.insert(contentsOf: words[next(words.count)].utf8, at: place)
                default:
                    let other = next(bytes.count)
                    let end = min(bytes.count, other + next(60))
                    bytes.insert(contentsOf: Array(bytes[other..<end]), at: place)
                }
                if bytes.isEmpty { bytes = [0x20] }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            let result = checkPolicies([SourceFile(name: "mutated.stile", text: text)])
            let isSound = result.policies != nil || result.diagnostics.contains { $0.severity == .error }
            #expect(isSound, "seed \(seed): neither policies nor an error")
        }
    }
}
