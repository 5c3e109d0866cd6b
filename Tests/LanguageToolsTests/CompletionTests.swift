// Completion is complete: a text cut at any of its tokens is offered the token that comes next.

import Foundation
import LanguageTools
import PolicyLanguage
import StrictJSON
import Testing

@Suite("completion")
struct CompletionTests {
    private static let catalog = """
        catalog "ledger" version 2.1.0 {
          assurance password < mfa < phishing_resistant, kiosk unreachable kiosk
          issuer "https://idp.example.com" {
            acr "urn:pwd" = password
            acr "urn:mfa" = mfa
          }

          entity user {
            department: string = "" from scim "department" doc "The cost centre" use authorization
            employment: enum(employee, contractor, vendor) = vendor from scim "userType"
            regions: set of enum(eu, us, asia) = []
            clearance: 0...5 = 0 from token "clearance", scim "clearance"
            verified: bool = false from application
            manager: user?
            birth: datetime? doc "Of the person" from application
          }
          entity estate doc "What services run in"
          subject entity service in estate {
            tier: int = 0
            address: ipaddr?
          }
          entity session {
            offset: duration = 0s from token "offset"
          }
          signal user.risk: enum(low < medium < high) = low from caep "risk-level-change" expires 7d
          signal user.leaked: bool = false from risc "credential-compromise"
          signal device.compliant: bool = false from caep "device-compliance-change" expires 24h

          entity folder in folder
          entity payrun in folder, estate doc "One run" {
            total: decimal
            created_by: user
            status: enum(draft, final)
            tags: set of string = []
            due: datetime
            kinds: set of enum(bonus, salary) = []
          }
          action read, approve on payrun, folder doc "Look at it, or let it pass"
          action delete on payrun {
            soft: bool = true
            how: enum(shred, archive) = archive
          }
          context {
            ip: ipaddr? from request
            channel: enum(web, api) = web
          }
        }
        """

    private static let policy = """
        policy "Payroll" {
          let corporate = [10.0.0.0/8, 2001:db8::/32]
          let office = corporate
          let hours = "Mon-Fri 08:00-18:00 Europe/Berlin"
          let bound = 250_000

          role approver is user in group "Payroll Approvers" and user.department == "Finance"
          role insider is role approver or not user.employment in [contractor, vendor]

          permit read on payrun to role approver or user in group "Auditors"
          permit read, approve on payrun, folder to user
          permit read on any to service when service.tier in 1...3 and service.address ?? 10.0.0.1 in office
          permit any on any to any
          permit approve on payrun as "approve"
            to role insider
            when resource.total <= bound and resource.created_by != user and resource.status == draft
            unless resource.status in [final, draft] or resource.status not in [final]
            requires mfa within 15m using otp, hwk
            because "A run needs an approver."
          permit approve on payrun
            to user not in group "Interns"
            when user.regions contains eu and user.regions intersects [us, asia] and user.regions subset of [eu, us]
            requires within 1h using hwk
          permit read on payrun when user.risk in low...medium and (user.employment != vendor or not device.compliant)
          permit read on payrun when true and not false or count(user.regions) > 2 and user.risk < high
          permit read on payrun when now in hours and now < resource.due - 2h and now > session.offset + resource.due
          permit read on payrun when resource in folder "top" and resource not in folder "secret" and resource in estate "e"
          permit delete on payrun to user when action.soft and action.how == shred and resource.tags contains "old"
          permit delete on payrun when has user.manager and user.manager == resource.created_by and subject == user
          permit read on payrun when resource.kinds contains bonus and not (has context.ip) and not not user.verified
          permit read on payrun requires using otp

          forbid any on payrun
            to user in group "Leavers"
            unless device.compliant
            because "Payroll needs a managed device."
          forbid read on payrun when user.department like "Ex*" or user.leaked or user.department not in ["a", "b"]
          forbid read on payrun when user.department in ["a"] and user.department == "b" or context.channel == api

          require phishing_resistant within 1h using hwk
            for approve on payrun
            to user
            when user.risk >= medium or has context.ip and context.ip not in corporate
            because "Unusual sign-in."
          require within 1h for any on payrun
          require using hwk for any on payrun

          offer role approver for at most 4h
            to user in group "Finance"
            requires mfa within 5m
            as "borrow"

          on permit approve on payrun
            to user
            when resource.total > bound
            unless user.risk == low
            then notify "audit" "Approved by {user.department}" topic "runs", terminate sessions, custom { kind "x" }
          on deny any on payrun as "denied" then terminate sessions
          on step_up delete on any then custom { kind "y" }, notify "a" "b"
        }

        test "contractors cannot approve" {
          given user {
            id "anna"
            groups ["Payroll Approvers"]
            department "Finance"
            employment contractor
            regions [eu, asia]
            verified true
            manager user
          }
          given session {
            assurance mfa
            age 5m
            methods [otp, hwk]
          }
          given device { compliant true }
          given context { channel api }
          given now 2026-01-05T09:00:00Z
          ask approve on payrun "p" in folder "top" in estate "e" {
            total 500
            status draft
            created_by user
            kinds [bonus]
          }
          expect deny
        }
        test "services read" {
          given service { tier 2 }
          ask delete on payrun { status final } with action { soft false how shred }
          expect permit
        }
        test "a sign-in is asked for" {
          ask read on folder with action { }
          expect step_up mfa within 5m using otp
        }
        test "and without a level" {
          ask read on folder in folder "x" with action { }
          expect step_up within 5m
        }
        test "a value is missing" {
          ask read on payrun
          expect error
        }
        """

    /// A name of a text, and its place.
    private struct Cut {
        var offset: Int
        var word: String
        var line: Int
    }

    /// The names and words of a file that name what was there before. What a declaration or a custom duty makes up where it
    /// stands, nothing can know.
    private static func cuts(_ file: SourceFile, in files: [SourceFile]) throws -> [Cut] {
        let index = SymbolIndex(files)
        let number = Int32(try #require(files.firstIndex { $0.name == file.name }))
        #expect(index.brokenFiles.isEmpty)
        let declared = Set(
            index.occurrences.filter { $0.isDeclaration && $0.range.file == number }.map { Int($0.range.start) })
        let bytes = Array(file.text.utf8)
        var cuts: [Cut] = []
        var offset = 0
        var line = 1
        var isCustom = false
        while offset < bytes.count {
            let start = offset
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                offset += 1
                while bytes[offset] != UInt8(ascii: "\"") { offset += bytes[offset] == UInt8(ascii: "\\") ? 2 : 1 }
                offset += 1
            case UInt8(ascii: "/") where bytes[offset + 1] == UInt8(ascii: "/"):
                while offset < bytes.count, bytes[offset] != UInt8(ascii: "\n") { offset += 1 }
            case 0x30...0x39:
                // Numbers, durations, instants, addresses.
                while offset < bytes.count, isWord(bytes[offset]) || ":./-".utf8.contains(bytes[offset]) {
                    // The point of `1...3` ends a number.
                    if bytes[offset...].starts(with: "...".utf8) { break }
                    offset += 1
                }
            case let byte where isWord(byte):
                while offset < bytes.count, isWord(bytes[offset]) { offset += 1 }
                let word = String(decoding: bytes[start..<offset], as: UTF8.self)
                if !declared.contains(start), !isCustom { cuts.append(Cut(offset: start, word: word, line: line)) }
                isCustom = isCustom || word == "custom"
            case UInt8(ascii: "}"):
                isCustom = false
                offset += 1
            default:
                if bytes[offset] == UInt8(ascii: "\n") { line += 1 }
                offset += 1
            }
        }
        return cuts
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
        default: false
        }
    }

    /// Cuts a file at each of its names.
    /// - Returns: those that were not offered, each with its line.
    private static func missing(_ file: SourceFile, in files: [SourceFile], every step: Int = 1) throws -> [String] {
        var session = EditorSession(files)
        var missing: [String] = []
        let cuts = try cuts(file, in: files)
        #expect(!cuts.isEmpty)
        for (number, cut) in cuts.enumerated() where number % step == 0 {
            let before = String(decoding: Array(file.text.utf8)[..<cut.offset], as: UTF8.self)
            session.replace(file.name, with: before)
            let line = before.utf8.count { $0 == UInt8(ascii: "\n") }
            let column = before.split(separator: "\n", omittingEmptySubsequences: false).last?.utf16.count ?? 0
            let answer = session.say("textDocument/completion", EditorSession.place(file.name, line, column))
            let labels = (answer["result"]?["items"]?.array ?? []).compactMap { $0["label"]?.string }
            if !labels.contains(cut.word) {
                let rest = before.split(separator: "\n", omittingEmptySubsequences: false).last ?? ""
                missing.append("\(file.name):\(cut.line): \(rest)‸\(cut.word)")
            }
        }
        return missing
    }

    private static let files = [
        SourceFile(name: "catalog.stile", text: catalog), SourceFile(name: "payroll.stile", text: policy),
    ]

    @Test("the next word is offered wherever a text of the whole language is cut", arguments: files)
    func everyCut(_ file: SourceFile) throws {
        let result = checkPolicies(Self.files)
        #expect(result.policies != nil, "\(result.diagnostics.filter { $0.severity == .error })")
        let missing = try Self.missing(file, in: Self.files)
        #expect(missing.isEmpty, "\(missing.joined(separator: "\n"))")
    }

    @Test("the text has every word of the grammar")
    func words() throws {
        let grammar = try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent().appending(
                path: "../../grammar/stile.ebnf"), encoding: .utf8)
        let words = grammar.matches(of: /"([a-z_]{2,})"/).map { String($0.output.1) }
        #expect(words.count > 60)
        let units: Set = ["ms"]
        let known = Set(try Self.files.flatMap { try Self.cuts($0, in: Self.files) }.map(\.word))
        #expect(Set(words).subtracting(known).subtracting(units).isEmpty)
    }

    private static let tenants = ["hierarchy", "github", "just-in-time", "data-residency"]

    @Test("the same of the example tenants", arguments: tenants)
    func examples(_ tenant: String) throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../policies/\(tenant)")
        let files = try FileManager.default.contentsOfDirectory(atPath: root.path).filter { $0.hasSuffix(".stile") }
            .sorted().map {
                SourceFile(name: $0, text: try String(contentsOf: root.appending(path: $0), encoding: .utf8))
            }
        for file in files {
            let missing = try Self.missing(file, in: files, every: 3)
            #expect(missing.isEmpty, "\(missing.joined(separator: "\n"))")
        }
    }
}
