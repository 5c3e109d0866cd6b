// What a comparison of two versions found, as JSON: one form for `stile compare --json` and the administration's API.

package import PolicyAnalysis
package import PolicyLanguage
package import StrictJSON

/// A comparison to be told of.
package struct ComparisonReport: Sendable {
    private let comparison: PolicyComparison
    private let before: CheckedPolicies
    private let after: CheckedPolicies

    /// - Parameters:
    ///   - before: the old version; what only it defines is written in its words.
    ///   - after: the new version.
    package init(_ comparison: PolicyComparison, _ before: CheckedPolicies, _ after: CheckedPolicies) {
        self.comparison = comparison
        self.before = before
        self.after = after
    }

    /// In one word: `equal` (proven), `different`, or `not_proven` (nothing found, and not everything settled).
    package var result: String {
        if !comparison.regions.isEmpty || !comparison.offers.isEmpty { return "different" }
        return comparison.unproven.isEmpty ? "equal" : "not_proven"
    }

    package var regionCount: Int { comparison.regions.count }
    package var notProvenCount: Int { comparison.unproven.count }
    /// Combinations of subject type, action and resource type that were compared.
    package var cells: Int { comparison.cells }

    /// The regions, at most so many: what holds for the questions of each, and the answers with a witness for each.
    package func regions(atMost limit: Int = .max) -> [JSONValue] { comparison.regions.prefix(limit).map(json) }

    package var offerCount: Int { comparison.offers.count }

    /// Offers of roles that are others than before, at most so many: both terms, and what of them differs.
    package func offers(atMost limit: Int = .max) -> [JSONValue] { comparison.offers.prefix(limit).map(json) }

    /// What could not be settled, at most so many, each with the reason.
    package func notProven(atMost limit: Int = .max) -> [JSONValue] {
        comparison.unproven.prefix(limit).map { cell, reason in
            .object(Self.members(cell) + [JSONMember("not_proven", .string(reason))])
        }
    }

    /// How many there are of everything.
    package var summary: [JSONMember] {
        [
            JSONMember("equal", .bool(comparison.isProvenEqual)),
            JSONMember("regions", .integer(comparison.regions.count)),
            JSONMember("offers", .integer(comparison.offers.count)),
            JSONMember("not_proven", .integer(comparison.unproven.count)),
            JSONMember("cells", .integer(comparison.cells)),
        ]
    }

    /// All of it, a line for each, the summary last.
    package var lines: [JSONValue] { regions() + offers() + notProven() + [.object(summary)] }

    private func json(_ region: ChangedRegion) -> JSONValue {
        var members = Self.members(region.cell)
        members += [
            JSONMember("among", .string("\(region.among)")),
            JSONMember("when", .array(region.conditions.map { .string($0) })),
            JSONMember("answers", .array(region.answers.map(json))),
            JSONMember("proven", .bool(region.doubt == nil)), JSONMember("confirmed", .bool(region.isConfirmed)),
        ]
        if let difference = region.difference { members.append(JSONMember("difference", .string(difference))) }
        if let doubt = region.doubt { members.append(JSONMember("doubt", .string(doubt))) }
        return .object(members)
    }

    private func json(_ answer: ChangedAnswer) -> JSONValue {
        var members = [JSONMember("old", answer.old.json), JSONMember("new", answer.new.json)]
        if let witness = answer.witness.new {
            members.append(
                JSONMember("witness", .string(TestText(after).write(witness, name: "witness", expect: answer.new))))
        }
        if let witness = answer.witness.old {
            members.append(
                JSONMember(
                    "witness_of_old", .string(TestText(before).write(witness, name: "witness", expect: answer.old))))
        }
        return .object(members)
    }

    private func json(_ offer: ChangedOffer) -> JSONValue {
        var members = [
            JSONMember("role", .string(offer.role)),
            JSONMember("changed", .array(offer.parts.map { .string($0.rawValue) })),
        ]
        if let old = offer.old { members.append(JSONMember("old_offer", json(old))) }
        if let new = offer.new { members.append(JSONMember("new_offer", json(new))) }
        let takers = offer.takers.map { region in
            JSONValue.object(
                [
                    JSONMember("subject", .string(region.cell.subject)),
                    JSONMember("when", .array(region.conditions.map { .string($0) })),
                ]
                    + region.answers.prefix(1).flatMap {
                        [JSONMember("old", $0.old.json), JSONMember("new", $0.new.json)]
                    })
        }
        members.append(JSONMember("takers", .array(takers)))
        members.append(JSONMember("proven", .bool(offer.doubt == nil)))
        if let doubt = offer.doubt { members.append(JSONMember("doubt", .string(doubt))) }
        return .object(members)
    }

    private func json(_ terms: OfferTerms) -> JSONValue {
        var members = [
            JSONMember("name", .string(terms.name)), JSONMember("at_most_ms", .integer(terms.atMost)),
            JSONMember("takers", .string(terms.takers)),
        ]
        if let demand = terms.demand { members.append(JSONMember("demand", .object(demand.members))) }
        return .object(members)
    }

    private static func members(_ cell: Cell) -> [JSONMember] {
        [
            JSONMember("subject", .string(cell.subject)), JSONMember("action", .string(cell.action)),
            JSONMember("resource", .string(cell.resource)),
        ]
    }
}

extension Outcome {
    /// The outcome and, of a step-up, what is demanded.
    package var json: JSONValue {
        switch self {
        case .permit: return .object(["outcome": .string("permit")])
        case .deny: return .object(["outcome": .string("deny")])
        case .error: return .object(["outcome": .string("error")])
        case .stepUp(let demand):
            return .object([JSONMember("outcome", .string("step_up"))] + demand.members)
        }
    }
}

extension DemandByName {
    fileprivate var members: [JSONMember] {
        var members: [JSONMember] = []
        if let level { members.append(JSONMember("level", .string(level))) }
        if within != .max { members.append(JSONMember("within_ms", .integer(within))) }
        if methods != 0 {
            let names = AuthenticationMethods.list(methods)
            members.append(JSONMember("methods", .array(names.map { .string($0) })))
        }
        return members
    }
}
