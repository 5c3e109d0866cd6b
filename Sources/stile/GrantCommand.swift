// `stile grant`: roles that policies offer, taken for a time.

import ArgumentParser
import AttributeStore
import DecisionPath
import DecisionProtocol
import PolicyAnalysis
import PolicyLanguage
import StrictJSON

struct GrantCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grant", abstract: "Take a role that the policies offer, list what was taken, end it early.",
        discussion: """
            Policies offer roles for a time: offer role operator for at most 4h to user in group "Engineers". Who has taken \
            one is in it until its end. A grant ends early when it is revoked and when its subject is deactivated; it has no \
            effect while the policies that decide do not offer its role.
            """,
        subcommands: [Take.self, List.self, Show.self, Revoke.self])

    struct Take: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a role for a subject, if the policies offer it to that subject now.",
            discussion: """
                stile grant take --tenant acme user:sam operator --for 2h --session s-sam --reason "OPS-17: db-1 hangs"

                The offers of the version that decides are evaluated as questions are: for an active subject, with what \
                the session proves. When it is granted, every later decision respects it.

                Exit codes: 0 granted; 1 denied; 2 step-up: granted perhaps to who proves more; 3 the request is an error, \
                which denies; 65 the reason, the duration, the session or the subject's type cannot be; 66 the store or the \
                tenant is missing, or no policies decide; 70 the store refused, for the subject has \(StoreLimits.maxGrantsOfSubject) running grants, or failed.
                """)

        @OptionGroup var options: TenantOptions
        @OptionGroup var output: OutputOptions

        @Argument(help: "The subject, TYPE:ID.")
        var subject: String

        @Argument(help: "The role, by its name in the policies.")
        var role: String

        @Option(
            name: .customLong("for"), help: "For how long: 45m, 2h, 1h30m. Without it, as long as an offer allows.")
        var duration: GrantDuration?

        @Option(help: "What it is taken for; kept with the grant.")
        var reason: String

        @Option(help: "The subject's session, for what the offer requires.")
        var session: String?

        func run() throws {
            let store = Store(path: options.store, mapSize: options.mapSize << 20)
            let subject = try EntityArgument.name(subject)
            let request = RoleRequest(
                subject: subject, role: role, duration: duration?.milliseconds, reason: reason, session: session,
                by: Operator.name)
            let answer = try withStore { () throws(StoreError) -> RoleAnswer in
                var writer = try TenantWriter(store, tenant: options.tenant)
                return try RoleDesk(store, tenant: options.tenant, board: PolicyBoard(store: store)).take(
                    request, clock: { Terminal.nowMilliseconds }, &writer)
            }
            Terminal.write(output.json ? answer.json(now: Terminal.nowMilliseconds).compact + "\n" : Self.text(answer))
            switch answer {
            case .granted: return
            case .stepUp: throw Exit.stepUp
            case .denied(let denial): throw denial.isError ? Exit.questionError : Exit.findings
            }
        }

        private static func text(_ answer: RoleAnswer) -> String {
            switch answer {
            case .granted(let grant):
                return Terminal.paint("GRANTED", "1;32")
                    + "  role \(grant.role) until \(Instant.format(grant.until))\n  by \(grant.offer), \(grant.place)\n"
                    + Terminal.paint("  id \(grant.id), policy version \(grant.version)", "2") + "\n"
            case .stepUp(let stepUp, let offer):
                return Terminal.paint("STEP UP", "1;33") + "  \(AnswerText.demand(stepUp))\n"
                    + "  by \(offer.name), \(offer.file):\(offer.line)\(offer.reason.map { "  “\($0)”" } ?? "")\n"
            case .denied(let denial):
                return Terminal.paint("DENIED", "1;31") + "\n  \(denial.message) (\(denial.code.rawValue))\n"
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List grants, those that have ended too.",
            discussion: """
                stile grant list --tenant acme --active
                stile grant list --tenant acme --subject user:sam --role operator --json

                Of each subject at least the last \(StoreLimits.maxGrantsKept) that have ended are kept; the log of changes has all.
                """)

        @OptionGroup var options: TenantOptions
        @OptionGroup var output: OutputOptions

        @Option(help: "Those of this subject alone, TYPE:ID.")
        var subject: String?

        @Option(help: "Those of this role alone.")
        var role: String?

        @Flag(help: "Those alone that run now.")
        var active = false

        func run() throws {
            let name = try subject.map { (text) throws(ExitCode) in try EntityArgument.name(text) }
            let now = Terminal.nowMilliseconds
            let grants = try withStore { () throws(StoreError) -> [RoleGrant] in
                var reader = try TenantReader(Store(path: options.store), tenant: options.tenant)
                try reader.renew()
                var grants: [RoleGrant] = []
                var after: [UInt8]?
                repeat {
                    let page = try reader.grants(
                        of: name, role: role, state: active ? .active : nil, now: now, after: after, limit: 1_000)
                    grants += page.items
                    after = page.next
                } while after != nil
                return grants
            }
            if output.json {
                for grant in grants { Terminal.write(grant.json(now: now).compact + "\n") }
                return
            }
            if grants.isEmpty { return Terminal.write("no grants\n") }
            let rows = grants.sorted { ($0.since, $0.id.description) < ($1.since, $1.id.description) }.map { grant in
                [
                    grant.id.description, "\(grant.subject.type):\(grant.subject.id)", grant.role,
                    grant.state(at: now).rawValue, Instant.format(grant.until), grant.reason,
                ]
            }
            Terminal.write(Self.table([["ID", "SUBJECT", "ROLE", "STATE", "UNTIL", "REASON"]] + rows))
        }

        /// Columns as wide as their widest cell.
        private static func table(_ rows: [[String]]) -> String {
            let rows = rows.map { $0.map(printable) }
            let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
            return rows.map { row in
                let cells = row.enumerated().map { index, cell in
                    index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
                }
                return cells.joined(separator: "  ") + "\n"
            }.joined()
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a grant: who took what for how long and why, by which offer, and how it ended.",
            discussion: "Exit codes: 0 shown; 66 there is none of this id, or it is kept no longer.")

        @OptionGroup var options: TenantOptions
        @OptionGroup var output: OutputOptions

        @Argument(help: "The grant's id.")
        var id: String

        func run() throws {
            let id = try EntityArgument.grant(id)
            let found = try withStore { () throws(StoreError) -> RoleGrant? in
                var reader = try TenantReader(Store(path: options.store), tenant: options.tenant)
                try reader.renew()
                return try reader.grant(id)
            }
            guard let grant = found else {
                throw Terminal.failure("no grant \(id): `stile grant list` shows what there is", Exit.noInput)
            }
            let now = Terminal.nowMilliseconds
            if output.json { return Terminal.write(grant.json(now: now).compact + "\n") }
            var text = """
                \(grant.subject.type):\(grant.subject.id) has role \(grant.role): \(grant.state(at: now).rawValue)
                  from \(Instant.format(grant.since)) until \(Instant.format(grant.until))
                  for "\(printable(grant.reason))"
                  by \(grant.offer), \(grant.place), of policy version \(grant.version)
                  recorded by \(grant.by)

                """
            if let ending = grant.ending {
                text +=
                    "  \(ending.kind.rawValue)" + (ending.at.map { " \(Instant.format($0))" } ?? "")
                    + (ending.by.isEmpty ? "" : " by \(ending.by)")
                    + (ending.reason.isEmpty ? "" : ": \"\(printable(ending.reason))\"") + "\n"
            }
            Terminal.write(text)
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a grant at once.",
            discussion: """
                Every later decision respects it. Exit codes: 0 it has ended; 1 it had ended already; 66 there is none of this \
                id, or it is kept no longer.
                """)

        @OptionGroup var options: TenantOptions
        @OptionGroup var output: OutputOptions

        @Argument(help: "The grant's id.")
        var id: String

        @Option(help: "Why; kept with the grant.")
        var reason = ""

        func run() throws {
            let id = try EntityArgument.grant(id)
            let store = Store(path: options.store, mapSize: options.mapSize << 20)
            let now = Terminal.nowMilliseconds
            let grant = try withStore { () throws(StoreError) -> RoleGrant in
                var writer = try TenantWriter(store, tenant: options.tenant)
                return try writer.revokeGrant(id, by: Operator.name, reason: reason, time: now)
            }
            if output.json { return Terminal.write(grant.json(now: now).compact + "\n") }
            Terminal.write(
                "\(grant.subject.type):\(grant.subject.id) has role \(grant.role) no longer by grant \(id)\n")
        }
    }
}

/// `45m`, `2h`, `1h30m`: as durations are written in policies.
struct GrantDuration: ExpressibleByArgument {
    let milliseconds: Int64

    init?(argument: String) {
        let units: [Character: Int64] = ["s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        var total: Int64 = 0
        var digits = ""
        for character in argument {
            if character.isASCII, character.isNumber, digits.count < 9 {
                digits.append(character)
            } else if let unit = units[character], let count = Int64(digits) {
                let (product, isTooLong) = count.multipliedReportingOverflow(by: unit)
                let (sum, isAbove) = total.addingReportingOverflow(product)
                guard !isTooLong, !isAbove else { return nil }
                total = sum
                digits = ""
            } else {
                return nil
            }
        }
        guard digits.isEmpty, total > 0 else { return nil }
        milliseconds = total
    }
}

/// Names in arguments.
private enum EntityArgument {
    static func name(_ text: String) throws(ExitCode) -> EntityName {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, StoreLimits.problem(withID: String(parts[1])) == nil else {
            throw Terminal.failure("\"\(text)\" is no subject: write TYPE:ID, such as user:ada", Exit.data)
        }
        return EntityName(type: String(parts[0]), id: String(parts[1]))
    }

    static func grant(_ text: String) throws(ExitCode) -> UniqueID {
        guard let id = UniqueID(text) else {
            throw Terminal.failure("\(text) is no grant's id: `stile grant list` shows them", Exit.data)
        }
        return id
    }
}

/// What somebody wrote, without what a terminal would take for orders.
private func printable(_ text: String) -> String {
    var shown = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { shown.append(scalar.properties.generalCategory == .control ? " " : scalar) }
    return String(shown)
}
