// `stile compare`: what a change of policies changes.

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

            Each line is a region: an action, a resource type and a subject type, the old and the new answer, and what
            holds for exactly those questions, among the ones that had the old answer, that get the new one. Under it
            stands one such question as a test, decided under both versions by two implementations. Nothing is sampled:
            "equal" is proven. What could not be proven is said as such.

            The search takes a counted number of steps at most (--budget), 500 million unless told otherwise: some seconds.
            The steps are shared among the actions and types, and the same comparison always gets as far, on any machine.

            Instants lie between 1970 and 9999; durations within 36 million years. Exit codes: 0 equal, 1 different,
            4 not proven.
            """)

    @Argument(help: "The old version: a tenant's folder, or a file.")
    var old: String

    @Argument(help: "The new version.")
    var new: String

    @Flag(help: "Tell also where the answer stays and other rules decide.")
    var rules = false

    @Flag(help: "Tell also where the answer stays and other duties go with it.")
    var duties = false

    @Flag(help: "Describe regions wholly, not among the questions that had the old answer.")
    var full = false

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
        if output.json { writeJSON(comparison, before, after) } else { write(comparison, after) }
        if !comparison.regions.isEmpty { throw Exit.findings }
        if !comparison.unproven.isEmpty { throw Exit.notProven }
    }

    // MARK: Words

    private func write(_ comparison: PolicyComparison, _ after: CheckedPolicies) {
        for group in RegionGroup.groups(comparison.regions) { Terminal.write(text(group, after)) }
        for (cell, reason) in comparison.unproven {
            print(
                Terminal.paint("not proven", "1;33")
                    + "  \(cell.action) on \(cell.resource) by \(cell.subject): \(reason)")
        }
        let cells = "\(comparison.cells) of action, resource type and subject type"
        if comparison.isProvenEqual {
            print("\(Terminal.paint("equal", "1;32")): no question gets another answer (\(cells), proven)")
        } else {
            let changed = Set(comparison.regions.map(\.cell)).count
            print("\(comparison.regions.count) regions in \(changed) of \(cells)")
        }
    }

    private func text(_ group: RegionGroup, _ after: CheckedPolicies) -> String {
        let region = group.region
        var text = "\(group.actions.joined(separator: ", ")) on \(region.cell.resource) by \(region.cell.subject): "
        text += paint(region.old) + " → " + paint(region.new)
        if let difference = region.difference { text += ", \(difference)" }
        text += "\n"
        if let doubt = region.doubt { text += "  \(Terminal.paint("not proven", "1;33")): \(doubt)\n" }
        if region.conditions.isEmpty {
            text += "  always\n"
        } else {
            text += "  when " + region.conditions.joined(separator: "\n   and ") + "\n"
        }
        let witness = TestText(after).write(region.witness.new, name: "a question of this region", expect: region.new)
        text += witness.split(separator: "\n").map { "    " + Terminal.paint(String($0), "2") + "\n" }.joined()
        return text + "\n"
    }

    private func paint(_ outcome: Outcome) -> String {
        switch outcome {
        case .permit: Terminal.paint(outcome.text, "32")
        case .deny, .error: Terminal.paint(outcome.text, "31")
        case .stepUp: Terminal.paint(outcome.text, "33")
        }
    }

    // MARK: JSON

    private func writeJSON(_ comparison: PolicyComparison, _ before: CheckedPolicies, _ after: CheckedPolicies) {
        for region in comparison.regions {
            var members = Self.members(region.cell)
            members += [
                JSONMember("old", region.old.json), JSONMember("new", region.new.json),
                JSONMember("when", .array(region.conditions.map { .string($0) })),
                JSONMember("proven", .bool(region.doubt == nil)), JSONMember("confirmed", .bool(region.isConfirmed)),
                JSONMember(
                    "witness",
                    .string(TestText(after).write(region.witness.new, name: "witness", expect: region.new))),
                JSONMember(
                    "witness_of_old",
                    .string(TestText(before).write(region.witness.old, name: "witness", expect: region.old))),
            ]
            if let difference = region.difference { members.append(JSONMember("difference", .string(difference))) }
            if let doubt = region.doubt { members.append(JSONMember("doubt", .string(doubt))) }
            print(JSONValue.object(members).compact)
        }
        for (cell, reason) in comparison.unproven {
            print(JSONValue.object(Self.members(cell) + [JSONMember("not_proven", .string(reason))]).compact)
        }
        print(
            JSONValue.object([
                "equal": .bool(comparison.isProvenEqual), "regions": .integer(comparison.regions.count),
                "not_proven": .integer(comparison.unproven.count), "cells": .integer(comparison.cells),
            ]).compact)
    }

    private static func members(_ cell: Cell) -> [JSONMember] {
        [
            JSONMember("subject", .string(cell.subject)), JSONMember("action", .string(cell.action)),
            JSONMember("resource", .string(cell.resource)),
        ]
    }
}

/// Regions that differ in the action alone, told as one.
private struct RegionGroup {
    var region: ChangedRegion
    var actions: [String]

    static func groups(_ regions: [ChangedRegion]) -> [RegionGroup] {
        struct Key: Hashable {
            var subject, resource: String
            var old, new: Outcome
            var difference, doubt: String?
            var conditions: [String]
        }
        var groups: [RegionGroup] = []
        var places: [Key: Int] = [:]
        for region in regions {
            let key = Key(
                subject: region.cell.subject, resource: region.cell.resource, old: region.old, new: region.new,
                difference: region.difference, doubt: region.doubt, conditions: region.conditions)
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

extension Outcome {
    var json: JSONValue {
        switch self {
        case .permit: return .object(["outcome": .string("permit")])
        case .deny: return .object(["outcome": .string("deny")])
        case .error: return .object(["outcome": .string("error")])
        case .stepUp(let demand):
            var members = [JSONMember("outcome", .string("step_up"))]
            if let level = demand.level { members.append(JSONMember("level", .string(level))) }
            if demand.within != .max { members.append(JSONMember("within_ms", .integer(demand.within))) }
            if demand.methods != 0 {
                let names = AuthenticationMethods.list(demand.methods)
                members.append(JSONMember("methods", .array(names.map { .string($0) })))
            }
            return .object(members)
        }
    }
}
