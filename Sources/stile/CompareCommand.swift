// `stile compare`: what a change of policies changes.

import AnalysisReports
import ArgumentParser
import DecisionEngine
import PolicyAnalysis
import PolicyLanguage
import StrictJSON

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract:
            "Say exactly which questions two versions of policies answer differently; or prove that there are none.",
        discussion: """
            stile compare policies/ledger drafts/ledger

            Each head is a region: actions, a resource type and a subject type, the old and the new answers, and what holds \
            for exactly those questions, of the ones named ("of those denied before"), that change so. Changes from and to \
            errors (a required attribute missing, a value of a wrong type) are regions of their own; the others speak of \
            questions that both versions decide. Under a region stands one question of it as a test, \
            decided under both versions by two implementations. Nothing is sampled: "equal" is proven. What could not be \
            proven is said as such.

            Offers of roles are compared too: how long a role is granted for, who may take it (by the same proof) and what \
            it requires, each before and after.

            The search takes a counted number of steps at most (--budget), 500 million unless told otherwise: some seconds. \
            The steps are shared among the actions and types, and the same comparison always gets as far, on any machine; \
            offers have as many for themselves.

            Instants lie between 1970 and 9999; durations within 36 million years.

            Exit codes: 0 equal; 1 different; 4 not proven.
            """)

    @Argument(help: "The old version: a tenant's folder, or a file.")
    var old: String

    @Argument(help: "The new version.")
    var new: String

    @Flag(help: "Tell also where the answer stays and other rules decide.")
    var rules = false

    @Flag(help: "Tell also where the answer stays and other duties go with it.")
    var duties = false

    @Flag(help: "Describe every region whole, not among the questions that had the old answer.")
    var full = false

    @Flag(
        name: .customLong("by-answer"),
        help: "Tell each pair of answers apart, permit from step-up and one demand from another.")
    var byAnswer = false

    @Flag(help: "Show a test for each pair of answers of a region.")
    var witnesses = false

    @Option(name: .customLong("max-regions"), help: "Regions to tell of one action and one change of answer.")
    var maxRegions = 100

    @Option(help: "How far to search, in steps; what is not settled by then is told as not proven.")
    var budget = ComparisonOptions.defaultBudget

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if maxRegions < 1 { throw ValidationError("--max-regions is at least 1") }
        if budget < 1 { throw ValidationError("--budget is at least 1") }
    }

    func run() throws {
        let before = try checked([old])
        let after = try checked([new])
        var options = ComparisonOptions()
        options.comparesRules = rules
        options.comparesDuties = duties
        options.isSelfContained = full
        options.isByAnswer = byAnswer
        options.maxRegions = maxRegions
        options.budget = budget
        let comparison: PolicyComparison
        do throws(CompileError) {
            comparison = try compare(before, after, options) { done, count in
                Terminal.progress("comparing \(done) of \(count)", isLast: done == count)
            }
        } catch {
            throw Terminal.failure(error.description, Exit.data)
        }
        if output.json {
            for line in ComparisonReport(comparison, before, after).lines { print(line.compact) }
        } else {
            write(comparison, before, after)
        }
        if !comparison.regions.isEmpty || !comparison.offers.isEmpty { throw Exit.findings }
        if !comparison.unproven.isEmpty { throw Exit.notProven }
    }

    // MARK: Words

    private func write(_ comparison: PolicyComparison, _ before: CheckedPolicies, _ after: CheckedPolicies) {
        for group in RegionGroup.groups(comparison.regions) { Terminal.write(text(group, before, after)) }
        for offer in comparison.offers { Terminal.write(text(offer)) }
        for (cell, reason) in comparison.unproven {
            print(
                Terminal.paint("not proven", "1;33")
                    + "  \(cell.action) on \(cell.resource) by \(cell.subject): \(reason)")
        }
        let cells =
            comparison.cells == 1
            ? "the one combination of action, resource type and subject type"
            : "\(comparison.cells) combinations of action, resource type and subject type"
        if comparison.isProvenEqual {
            print("\(Terminal.paint("equal", "1;32")): no question gets another answer, proven for \(cells)")
        } else if comparison.regions.isEmpty, comparison.unproven.isEmpty {
            print("no question gets another answer, proven for \(cells)")
        } else {
            let changed = Set(comparison.regions.map(\.cell)).count
            let count = comparison.regions.count
            print("\(count) region\(count == 1 ? "" : "s"), in \(changed) of \(cells)")
        }
        let offers = comparison.offers.count
        if offers > 0 { print("\(offers) offer\(offers == 1 ? "" : "s") of roles changed") }
    }

    private func text(_ group: RegionGroup, _ before: CheckedPolicies, _ after: CheckedPolicies) -> String {
        let region = group.region
        var text = "\(group.actions.joined(separator: ", ")) on \(region.cell.resource) by \(region.cell.subject): "
        text += answers(region.answers.map(\.old)) + " → " + answers(region.answers.map(\.new))
        if let difference = region.difference { text += ", \(difference)" }
        text += "\n"
        if let doubt = region.doubt { text += "  \(Terminal.paint("not proven", "1;33")): \(doubt)\n" }
        let among = Self.words(region.among)
        if region.conditions.isEmpty {
            text += "  \(among.map { "all \($0)" } ?? "always")\n"
        } else {
            text += among.map { "  of \($0),\n" } ?? ""
            text += "  when " + region.conditions.joined(separator: "\n   and ") + "\n"
        }
        for answer in witnesses ? region.answers : Array(region.answers.prefix(1)) {
            let name = "\(answer.old.text) before"
            let witness =
                answer.witness.new.map { TestText(after).write($0, name: name, expect: answer.new) }
                ?? answer.witness.old.map { TestText(before).write($0, name: "of the old version", expect: answer.old) }
            for line in witness?.split(separator: "\n") ?? [] {
                text += "    " + Terminal.paint(String(line), "2") + "\n"
            }
        }
        return text + "\n"
    }

    private func text(_ offer: ChangedOffer) -> String {
        var text = "offer role \(offer.role): "
        switch (offer.old, offer.new) {
        case (let old?, let new?):
            let words: [ChangedOffer.Part: String] = [
                .duration: "for another time", .demand: "with another demand",
                .takers: offer.takers.isEmpty ? "perhaps to others" : "to others",
            ]
            text += offer.parts.compactMap { words[$0] }.joined(separator: ", ") + "\n"
            if let doubt = offer.doubt {
                text += "  \(Terminal.paint("not proven", "1;33")): \(doubt)\n"
            }
            text += "  before  \(old.text)\n  after   \(new.text)\n"
            for region in offer.takers {
                text += "  \(region.cell.subject): \(answers(region.answers.map(\.old))) → "
                text += answers(region.answers.map(\.new))
                text +=
                    region.conditions.isEmpty
                    ? ", always\n" : ", when \(region.conditions.joined(separator: " and "))\n"
            }
        case (let old?, nil): text += "offered no more\n  before  \(old.text)\n"
        case (nil, let new?): text += "newly offered\n  after   \(new.text)\n"
        case (nil, nil): break
        }
        return text + "\n"
    }

    /// Who is chosen from, where it is not everybody.
    private static func words(_ among: RegionBase) -> String? {
        switch among {
        case .decided, .all: nil
        case .permitted: "those permitted before"
        case .steppedUp: "those with a step-up before"
        case .permittedOrSteppedUp: "those not denied before"
        case .denied: "those denied before"
        case .error: "those that were errors"
        }
    }

    /// Answers, each once: `permit, or step up to mfa within 15m or to phishing_resistant within 15m`.
    private func answers(_ outcomes: [PolicyAnalysis.Outcome]) -> String {
        var seen = Set<PolicyAnalysis.Outcome>()
        let once = outcomes.filter { seen.insert($0).inserted }
        var texts: [String] = []
        var stepUps = 0
        for outcome in once {
            if case .stepUp(let demand) = outcome {
                stepUps += 1
                texts.append(stepUps == 1 ? paint(outcome) : "to " + Terminal.paint(demand.text, "33"))
            } else {
                texts.append(paint(outcome))
            }
        }
        return texts.joined(separator: " or ")
    }

    private func paint(_ outcome: Outcome) -> String {
        switch outcome {
        case .permit: Terminal.paint(outcome.text, "32")
        case .deny, .error: Terminal.paint(outcome.text, "31")
        case .stepUp: Terminal.paint(outcome.text, "33")
        }
    }
}

/// Regions that differ in the action alone, told as one.
private struct RegionGroup {
    var region: ChangedRegion
    var actions: [String]

    static func groups(_ regions: [ChangedRegion]) -> [RegionGroup] {
        struct Key: Hashable {
            var subject, resource: String
            var old, new: [PolicyAnalysis.Outcome]
            var among: RegionBase
            var difference, doubt: String?
            var conditions: [String]
        }
        var groups: [RegionGroup] = []
        var places: [Key: Int] = [:]
        for region in regions {
            let key = Key(
                subject: region.cell.subject, resource: region.cell.resource, old: region.answers.map(\.old),
                new: region.answers.map(\.new),
                among: region.among, difference: region.difference, doubt: region.doubt, conditions: region.conditions)
            if let place = places[key] {
                groups[place].actions.append(region.cell.action)
            } else {
                places[key] = groups.count
                groups.append(RegionGroup(region: region, actions: [region.cell.action]))
            }
        }
        return groups
    }
}
