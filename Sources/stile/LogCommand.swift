// `stile log`: what was decided, as the daemon wrote it down.

import ArgumentParser
import AttributeStore
import DecisionLog
import DecisionProtocol
import Glibc
import PolicyLanguage
import StrictJSON

struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Show, follow and verify the log of decisions.",
        discussion: """
            stiled writes every decision to its tenant's log: who wanted what, the outcome, its rules, the version of the \
            policies, the snapshot and the instant.
            """,
        subcommands: [Show.self, Follow.self, Verify.self, Repair.self], defaultSubcommand: Show.self)

    /// Where the log is.
    struct Place: ParsableArguments {
        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        @Option(help: "The tenant's id.")
        var tenant: String

        @Option(name: .customLong("log-dir"), help: "The directory that stiled was given with --log-dir.")
        var directory: String?

        /// The directory of the tenant's log.
        func path() throws(ExitCode) -> String {
            let path = LogPlace(Store(path: store), directory: directory).path(of: tenant)
            guard Files.isDirectory(path) else {
                throw Terminal.failure(
                    "no decision log at \(path): no decision was logged yet, or stiled was told another --log-dir",
                    Exit.noInput)
            }
            return path
        }
    }

    /// What is shown, and how.
    struct View: ParsableArguments {
        @Option(help: "Only of this subject: an id, or TYPE:ID.")
        var subject: String?

        @Option(help: "Only about this resource: an id, TYPE:ID, or TYPE: for all of a type.")
        var resource: String?

        @Option(help: "Only of this action.")
        var action: String?

        @Option(help: "Only of this session.")
        var session: String?

        @Option(
            help: ArgumentHelp(
                "Only with this outcome; repeat for several.",
                discussion: "permit, deny, step_up; or closer: permitted, forbidden, not_permitted, error."))
        var outcome: [String] = []

        @Option(help: "Only decided by this rule, with or without its policy's name.")
        var rule: String?

        @Option(help: "Only from this instant on: 2026-11-24T10:00:00Z, or a time ago such as 2h.")
        var since: String?

        @Option(help: "Only before this instant, written likewise.")
        var until: String?

        @Option(help: "Only this decision.")
        var decision: String?

        @Option(help: "text, json or ocsf (OCSF 1.4, API Activity); the latter two one object a line.")
        var format: Format = .text

        @Flag(help: "The same as --format json.")
        var json = false

        @Flag(help: "Show also what is noted beside decisions: starts, losses, mended tails, ended segments.")
        var events = false

        enum Format: String, ExpressibleByArgument, CaseIterable {
            case text, json, ocsf
        }

        static let outcomes: Set<String> = [
            "permit", "deny", "step_up", "permitted", "forbidden", "not_permitted", "error",
        ]

        func validate() throws {
            for name in outcome where !Self.outcomes.contains(name.replacing("-", with: "_")) {
                throw ValidationError("--outcome \(name): there are \(Self.outcomes.sorted().joined(separator: ", "))")
            }
            for (name, text) in [("since", since), ("until", until)] {
                if let text, Self.instant(text, now: 0) == nil {
                    throw ValidationError("--\(name) \(text): write an instant such as 2026-11-24T10:00:00Z, or 2h")
                }
            }
            if let decision, Hexadecimal.bytes(decision)?.count != 16 {
                throw ValidationError("--decision \(decision): a decision's id has 32 hexadecimal digits")
            }
        }

        /// ms since the epoch; a duration is that long ago.
        static func instant(_ text: String, now: Int64) -> Int64? {
            Instant.parse(text) ?? LogDuration.parse(text).map { now - $0 }
        }

        var filter: LogFilter {
            let now = Terminal.nowMilliseconds
            var filter = LogFilter()
            filter.subject = subject
            filter.resource = resource
            filter.action = action
            filter.session = session
            filter.outcomes = Set(outcome.map { $0.replacing("-", with: "_") })
            filter.rule = rule
            filter.since = since.flatMap { Self.instant($0, now: now) }
            filter.until = until.flatMap { Self.instant($0, now: now) }
            filter.decisionID = decision.flatMap { Hexadecimal.bytes($0) }
            return filter
        }

        var shape: Format { json ? .json : format }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show decisions, oldest first.",
            discussion: "stile log show --tenant acme --outcome deny --since 1h")

        @OptionGroup var place: Place
        @OptionGroup var view: View

        @Option(help: "Show only the last so many.")
        var last: Int?

        func validate() throws {
            if let last, !(1...1_000_000).contains(last) { throw ValidationError("--last must be from 1 to 1000000") }
        }

        func run() throws {
            let printer = LogPrinter(view, tenant: place.tenant)
            let reader = LogReader(try place.path(), since: view.filter.since)
            var kept: [LogEntry] = []
            while let entry = try next(reader) {
                guard printer.isWanted(entry) else { continue }
                guard let last else {
                    printer.show(entry)
                    continue
                }
                kept.append(entry)
                if kept.count >= last * 2 { kept.removeFirst(kept.count - last) }
            }
            if let last { for entry in kept.suffix(last) { printer.show(entry) } }
            printer.finish()
            if reader.damaged > 0 {
                Terminal.error("\(reader.damaged) places in the log are damaged: see `stile log verify`")
                throw Exit.findings
            }
        }
    }

    struct Follow: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show decisions as they are written, until interrupted.")

        @OptionGroup var place: Place
        @OptionGroup var view: View

        func run() throws {
            let printer = LogPrinter(view, tenant: place.tenant)
            let path = try place.path()
            let reader = LogReader(path, since: view.filter.since ?? Terminal.nowMilliseconds)
            let isFromNow = view.since == nil
            let start = Terminal.nowMilliseconds
            while true {
                while let entry = try next(reader) {
                    if isFromNow, case .decision(let decision) = entry, decision.time < start { continue }
                    if isFromNow, case .event(let event) = entry, event.time < start { continue }
                    if printer.isWanted(entry) { printer.show(entry) }
                }
                printer.finish()
                usleep(100_000)
            }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check sums, order, seals and links of the log; name what was changed, removed or moved.",
            discussion: """
                The chain shows every change by somebody who cannot rewrite it to its end. Against somebody who can, note \
                the chain's hash elsewhere (it is printed here, and in the daemon's log when a segment ends) and give it \
                back with --seen: a log that no longer contains it has been rewritten or cut off.

                Exit codes: 0 as it was written; 1 it is not.
                """)

        @OptionGroup var place: Place
        @OptionGroup var output: OutputOptions

        @Option(help: "A hash of the chain that was noted before.")
        var seen: String?

        func run() throws {
            var verifier = LogVerifier(try place.path(), seen: seen)
            let report = verifier.run { segment in Terminal.progress("reading \(segment)") }
            if Terminal.showsProgress { Terminal.write("\r\u{1b}[K", to: 2) }
            output.json ? json(report) : text(report)
            if !report.isIntact { throw Exit.findings }
        }

        private func text(_ report: LogVerification) {
            for finding in report.findings {
                let mark = finding.kind.isTampering ? Terminal.paint("WRONG", "1;31") : "note "
                print("\(mark) \(finding.place): \(finding.text)  (\(finding.kind.rawValue))")
            }
            for head in report.heads {
                print("lane \(head.lane) ends with record \(head.sequence), chain \(head.hash)")
            }
            let wrong = report.findings.filter(\.kind.isTampering).count
            print(
                "\(report.decisions) decisions, \(report.lost) lost, in \(report.records) records of \(report.segments) "
                    + "segments; " + (wrong == 0 ? "as they were written" : "\(wrong) findings"))
        }

        private func json(_ report: LogVerification) {
            print(
                JSONValue.object([
                    "intact": .bool(report.isIntact), "decisions": .integer(report.decisions),
                    "lost": .integer(report.lost), "records": .integer(report.records),
                    "segments": .integer(report.segments),
                    "lanes": .array(
                        report.heads.map {
                            .object([
                                "lane": .integer($0.lane), "sequence": .integer($0.sequence), "chain": .string($0.hash),
                            ])
                        }),
                    "findings": .array(
                        report.findings.map {
                            .object([
                                "code": .string($0.kind.rawValue), "wrong": .bool($0.kind.isTampering),
                                "place": .string($0.place), "message": .string($0.text),
                            ])
                        }),
                ]).compact)
        }
    }

    struct Repair: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Mend the tail that a crash has left; stiled does so itself when it writes the log again.")

        @OptionGroup var place: Place

        func run() throws {
            do throws(LogError) {
                for (lane, repair) in try LogRepair.run(try path(), now: Terminal.nowMilliseconds) {
                    guard let repair else {
                        print("lane \(lane) is being written: stiled mends it itself")
                        continue
                    }
                    var parts: [String] = []
                    if repair.cutBytes > 0 { parts.append("\(repair.cutBytes) bytes of a torn record cut off") }
                    if let lost = repair.lost {
                        parts.append("records \(lost.lowerBound) to \(lost.upperBound) are lost")
                    }
                    if let evidence = repair.evidence {
                        parts.append("\(evidence); left as it is, see `stile log verify`")
                    }
                    print("lane \(lane): \(parts.isEmpty ? "nothing to mend" : parts.joined(separator: "; "))")
                }
            } catch {
                throw Terminal.failure("\(error)", Exit.store)
            }
        }

        private func path() throws(LogError) -> String {
            do throws(ExitCode) {
                return try place.path()
            } catch {
                throw LogError("nothing to mend")
            }
        }
    }

    /// The next entry, with a failure told.
    fileprivate static func next(_ reader: LogReader) throws(ExitCode) -> LogEntry? {
        do throws(LogError) {
            return try reader.next()
        } catch {
            throw Terminal.failure("\(error)", Exit.noInput)
        }
    }
}

private func next(_ reader: LogReader) throws(ExitCode) -> LogEntry? { try LogCommand.next(reader) }

/// Writes entries as people or programs read them.
private final class LogPrinter {
    private let view: LogCommand.View
    private let filter: LogFilter
    private let tenant: String
    private var output = ""

    init(_ view: LogCommand.View, tenant: String) {
        self.view = view
        self.tenant = tenant
        filter = view.filter
    }

    func isWanted(_ entry: LogEntry) -> Bool {
        switch entry {
        case .decision(let decision): filter.matches(decision)
        case .event(let event):
            view.events && event.time >= filter.since ?? .min && event.time < filter.until ?? .max
        }
    }

    func show(_ entry: LogEntry) {
        switch (entry, view.shape) {
        case (.decision(let decision), .text): output += LoggedDecisionText.line(decision)
        case (.decision(let decision), .json): output += decision.json(tenant: tenant).compact
        case (.decision(let decision), .ocsf):
            output += decision.ocsf(tenant: tenant, software: Stile.configuration.version).compact
        case (.event(let event), .text): output += "\(Instant.format(event.time))  -- \(event.text)"
        case (.event(let event), .json):
            output +=
                JSONValue.object([
                    "time": .string(Instant.format(event.time)), "tenant": .string(tenant),
                    "event": .string("\(event.kind)"), "message": .string(event.text),
                ]).compact
        case (.event, .ocsf): return
        }
        output += "\n"
        if output.utf8.count > 64 << 10 { finish() }
    }

    /// Hands on what waits to be written.
    func finish() {
        Terminal.write(output)
        output = ""
    }
}

/// A logged decision for people.
enum LoggedDecisionText {
    /// One line.
    static func line(_ decision: LoggedDecision) -> String {
        let answer = decision.answer
        let outcome: String
        switch answer.outcome {
        case .permit: outcome = Terminal.paint("permit ", "32")
        case .deny: outcome = Terminal.paint("deny   ", "31")
        case .stepUp: outcome = Terminal.paint("step up", "33")
        }
        var text = "\(Instant.format(decision.time))  \(outcome)  \(question(decision))"
        if answer.kind == .notPermitted { text += "  no permit matches" }
        if let cause = answer.cause { text += "  \(cause.code)\(cause.attribute.map { " \($0)" } ?? "")" }
        if let occasion = decision.occasion { text += "  (\(occasion))" }
        if !answer.rules.isEmpty { text += "  by \(answer.rules.map(\.name).joined(separator: ", "))" }
        return text + Terminal.paint("  v\(answer.policyVersion)  \(answer.decisionIDText)", "2")
    }

    /// Who wanted to do what.
    static func question(_ decision: LoggedDecision) -> String {
        guard let question = decision.question else { return "question withheld (\(decision.withheld ?? "unknown"))" }
        let subject = question.subject.map { "\($0.type):\($0.id)" } ?? "nobody"
        let resource = question.resource.map { "\($0.type):\($0.id)" } ?? "nothing"
        return "\(subject)  \(question.action?.name ?? "no action")  \(resource)"
    }
}

/// Bytes as hexadecimal digits.
enum Hexadecimal {
    /// Nil when the text is anything else.
    static func bytes(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
