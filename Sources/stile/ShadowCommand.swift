// `stile shadow`: a candidate version decides beside the live one, with no consequence; what differs is counted and shown.

import ArgumentParser
import AttributeStore
import DecisionShadow
import PolicyLanguage
import PolicyTesting
import StrictJSON

struct ShadowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shadow",
        abstract:
            "Let a candidate version decide beside the live one, and see where its answers differ.",
        discussion: """
            A candidate is a stored version that is not active. stiled hands it a copy of each question after it was \
            answered; both versions decide it on one snapshot as of the same instant, on a thread that runs only where \
            nothing else wants the processor. No answer changes, and none waits: what comes faster than it can be compared is \
            counted as not compared.

            stile shadow start acme policies/next --store /var/lib/stile
            stile shadow differences acme --store /var/lib/stile
            """,
        subcommands: [Start.self, Stop.self, Status.self, Differences.self])

    /// Where the tenant is.
    struct Place: ParsableArguments {
        @Argument(help: "The tenant's id.")
        var tenant: String

        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        @Option(name: .customLong("map-size"), help: "Address space of the tenant's store, in MiB.")
        var mapSize = 8192

        @OptionGroup var output: OutputOptions

        var place: Store { Store(path: store, mapSize: mapSize << 20) }

        /// The candidate, if any, and what its decisions were like; or those of the last one.
        func look() throws(ExitCode) -> ShadowReport {
            try withStore { () throws(StoreError) -> ShadowReport in
                _ = try place.tenant(tenant)
                var reader = try TenantReader(place, tenant: tenant)
                try reader.renew()
                return try ShadowReport(place, tenant: tenant, &reader)
            }
        }
    }

    struct Start: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Make a version the candidate, in place of the one before; its counts begin at nothing.",
            discussion: """
                A folder is stored as a new version first, without becoming active; its tests are not run. Activating the \
                candidate (`stile policy rollback VERSION`) ends the comparison.

                Exit codes: 0 it is the candidate; 65 it does not check or compile, or decides already; 66 no such version.
                """)

        @OptionGroup var place: Place

        @Argument(help: "A stored version's number, or a folder with catalog and policies.")
        var candidate: String

        func run() throws {
            var writer = try withStore { () throws(StoreError) -> TenantWriter in
                try TenantWriter(place.place, tenant: place.tenant)
            }
            let now = Terminal.nowMilliseconds
            let version = try UInt64(candidate) ?? Self.store(candidate, &writer, now)
            try withStore { () throws(StoreError) in
                try writer.setCandidate(version: version, author: Operator.name, time: now)
            }
            if place.output.json {
                print(
                    JSONValue.object(["tenant": .string(place.tenant), "candidate": .integer(version)])
                        .compact)
            } else {
                print("version \(version) decides beside the live one from now on")
            }
        }

        private static func store(
            _ folder: String, _ writer: inout TenantWriter, _ now: Int64
        ) throws(ExitCode) -> UInt64 {
            let files = try Files.policies([folder])
            do throws(StoreError) {
                return try writer.store(
                    files.map { PolicyFile(name: $0.name, text: $0.text) }, author: Operator.name,
                    message: "candidate",
                    activates: false, expecting: nil, time: now
                ).version
            } catch {
                throw report(error, files: files)
            }
        }
    }

    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Withdraw the candidate; what was counted is shown until the next one.")

        @OptionGroup var place: Place

        func run() throws {
            let version = try withStore { () throws(StoreError) -> UInt64? in
                var writer = try TenantWriter(place.place, tenant: place.tenant)
                return try writer.withdrawCandidate(author: Operator.name, time: Terminal.nowMilliseconds)
            }
            guard let version else {
                throw Terminal.failure(
                    "\(place.tenant) has no candidate: nothing was withdrawn", Exit.noInput)
            }
            if place.output.json {
                print(
                    JSONValue.object(["tenant": .string(place.tenant), "withdrawn": .integer(version)])
                        .compact)
            } else {
                print("version \(version) is no candidate any longer")
            }
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say which version is the candidate, and how many answers were the same.",
            discussion: "Exit codes: 0 it was told; 66 there is no candidate and there was none.")

        @OptionGroup var place: Place

        func run() throws {
            let report = try place.look()
            let (candidacy, tally) = (report.candidacy, report.tally)
            guard candidacy != nil || tally != nil else {
                throw Terminal.failure(
                    "\(place.tenant) has no candidate: `stile shadow start \(place.tenant) VERSION`",
                    Exit.noInput)
            }
            if place.output.json {
                print(report.json(withDifferences: false).compact)
            } else {
                Terminal.write(ShadowText.head(place.tenant, candidacy, tally))
            }
        }
    }

    struct Differences: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Show what the candidate answers otherwise: each kind of difference with its count and samples.",
            discussion: """
                Samples are chosen at random. They hold what the log of decisions would: properties that the catalog's `use` \
                keeps out of it are left out here too. `stile why` explains a sample's decision by its id.
                Exit codes: 0 no answer differed; 1 some did; 66 there is no candidate and there was none.
                """)

        @OptionGroup var place: Place

        func run() throws {
            let report = try place.look()
            let (candidacy, tally) = (report.candidacy, report.tally)
            guard let tally else {
                throw Terminal.failure(
                    candidacy == nil
                        ? "\(place.tenant) has no candidate: `stile shadow start \(place.tenant) VERSION`"
                        : "nothing was compared yet: stiled writes down what it has compared twice a second",
                    Exit.noInput)
            }
            if place.output.json {
                print(report.json(withDifferences: true).compact)
            } else {
                Terminal.write(ShadowText.head(place.tenant, candidacy, tally))
                for difference in tally.differences { Terminal.write(ShadowText.difference(difference)) }
                if tally.otherDifferences > 0 { print("\n\(tally.otherDifferences) × other differences") }
            }
            if tally.different > 0 { throw Exit.findings }
        }
    }
}

/// A candidate's figures as people read them.
enum ShadowText {
    static func head(_ tenant: String, _ candidacy: Candidacy?, _ tally: ShadowTally?) -> String {
        var text: String
        if let candidacy {
            text =
                "\(tenant): version \(candidacy.version) is the candidate since \(Instant.format(candidacy.at)), by "
                + "\(candidacy.author)\n"
        } else {
            text = "\(tenant): no candidate; the last one was version \(tally?.version ?? 0)\n"
        }
        guard let tally else { return text + "nothing was compared yet\n" }
        if tally.state != "ready" {
            text += Terminal.paint("it does not decide: \(tally.state)", "31") + "\n"
        }
        text +=
            "\(tally.compared) questions compared, \(tally.compared - tally.different) answered alike"
        text += tally.byOtherRules > 0 ? " (\(tally.byOtherRules) by other rules), " : ", "
        text +=
            Terminal.paint("\(tally.different) otherwise", tally.different > 0 ? "1;33" : "32") + "\n"
        if tally.notCompared > 0 {
            let causes = tally.gaps.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(
                separator: ", ")
            text += "\(tally.notCompared) not compared: \(causes)\n"
        }
        return text
    }

    static func difference(_ difference: ShadowDifference) -> String {
        var text =
            "\n\(difference.count) × \(side(difference.live))  →  \(side(difference.candidate))"
            + (difference.what == "outcome" ? "" : "  (\(difference.what))") + "\n"
        for sample in difference.samples { text += self.sample(sample) }
        return text
    }

    private static func side(_ side: ShadowSide) -> String {
        let style = side.outcome == "permit" ? "32" : side.outcome == "deny" ? "31" : "33"
        let rules = side.rules.joined(separator: ", ")
        let cause = side.cause.map { " (\($0))" } ?? ""
        return Terminal.paint(side.outcome.replacing("_", with: " "), style) + cause
            + (rules.isEmpty ? side.cause == nil ? ", no permit matches" : "" : " by \(rules)")
    }

    private static func sample(_ sample: JSONValue) -> String {
        let decision = sample["decision"]
        func entity(_ name: String) -> String {
            guard let part = decision?[name] else { return "?" }
            return "\(part["type"]?.string ?? ""):\(part["id"]?.string ?? "")"
        }
        var text =
            "    \(decision?["time"]?.string ?? "")  \(entity("subject"))  \(decision?["action"]?["name"]?.string ?? "?")  "
            + entity("resource") + Terminal.paint("  \(decision?["decision_id"]?.string ?? "")", "2")
            + "\n"
        // What speaks for the candidate's answer: its rules, or what stood in the way of its permits.
        for candidate in sample["candidate"]?["candidates"]?.array ?? [] {
            let matches = candidate["matches"]?.bool == true
            let isPermit = candidate["kind"]?.string == "permit"
            guard matches || isPermit else { continue }
            let place = "\(candidate["file"]?.string ?? ""):\(candidate["line"]?.integer ?? 0)"
            text +=
                "      \(candidate["kind"]?.string ?? "") \(candidate["name"]?.string ?? ""), \(place): "
                + (matches ? "matches" : "does not match") + "\n"
            for failed in candidate["failed"]?.array ?? [] {
                text += "        not so: \(failed["text"]?.string ?? "")\n"
            }
        }
        return text
    }
}
