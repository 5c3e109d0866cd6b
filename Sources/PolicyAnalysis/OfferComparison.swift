// Offers of two versions compared. Times and demands are compared as they are; who may take a role is decided as if
// taking it were an action, by the same search and with the same proof.

import DecisionEngine
import PolicyLanguage

/// An offer that is another than before.
package struct ChangedOffer: Sendable {
    /// What an offer says.
    package enum Part: String, Sendable, CaseIterable {
        case duration, takers, demand
    }

    package var role: String
    /// As each version has it; nil for one that does not.
    package var old: OfferTerms?
    package var new: OfferTerms?
    /// What differs; nothing when only one version has the offer.
    package var parts: [Part] = []
    /// Who is answered otherwise, by subject type: permit is that it may take the role, whatever it has to prove.
    package var takers: [ChangedRegion] = []
    /// Why it is not settled whether all of those who may take it are told; nil when it is.
    package var doubt: String?
}

/// What an offer says, in words.
package struct OfferTerms: Sendable, Hashable {
    /// `Payroll/standby`, or `Payroll offer approver`.
    package var name: String
    /// Longest time it is granted for, ms.
    package var atMost: Int64
    /// `user when user in group "Finance"`.
    package var takers: String
    /// What the session has to prove.
    package var demand: DemandByName?

    /// `for at most 4h to user when user in group "Finance" requires mfa`.
    package var text: String {
        "for at most \(DurationText.format(atMost)) to \(takers)" + (demand.map { " requires \($0.text)" } ?? "")
    }

    init(_ offer: CheckedOffer, _ policies: CheckedPolicies) {
        name = offer.name
        atMost = offer.atMost
        let assurance = policies.catalog.assurance
        demand = offer.demand.map { DemandByName($0, level: assurance.leastLevel(for: $0) ?? -1, assurance) }
        takers = offer.subjectTypes.map { policies.catalog.entities[$0].name }.joined(separator: ", ")
        if offer.condition != .constant(true) {
            let subject = offer.subjectTypes.count == 1 ? offer.subjectTypes.first : nil
            takers += " when \(ConditionText(policies, subjectType: subject).write(offer.condition))"
        }
    }
}

/// The offers of two versions, role by role.
struct OfferComparer {
    private let old: CheckedPolicies
    private let new: CheckedPolicies
    /// Offers that are one offer in two versions.
    private var pairs: [(role: String, old: CheckedOffer, new: CheckedOffer)] = []
    private var found: [ChangedOffer] = []

    /// - Throws: when a version is above a limit of the compiler.
    static func changes(
        _ old: CheckedPolicies, _ new: CheckedPolicies, _ options: ComparisonOptions
    ) throws(CompileError) -> [ChangedOffer] {
        if old.offers.isEmpty && new.offers.isEmpty { return [] }
        var comparer = OfferComparer(old: old, new: new)
        let before = Dictionary(grouping: old.offers) { old.roles[$0.role].name }
        let after = Dictionary(grouping: new.offers) { new.roles[$0.role].name }
        for role in Set(before.keys).union(after.keys).sorted() {
            comparer.pair(role, before[role] ?? [], after[role] ?? [])
        }
        try comparer.comparePairs(options)
        return comparer.found
    }

    private init(old: CheckedPolicies, new: CheckedPolicies) {
        self.old = old
        self.new = new
    }

    /// Offers of one name are one offer; of the others those that say the same, and then one after the other.
    private mutating func pair(_ role: String, _ old: [CheckedOffer], _ new: [CheckedOffer]) {
        var before = old.map { (offer: $0, terms: OfferTerms($0, self.old)) }
        var after = new.map { (offer: $0, terms: OfferTerms($0, self.new)) }
        let keys: [(OfferTerms) -> String] = [\.name, \.text, { _ in "" }]
        for key in keys {
            var places = Dictionary(grouping: after.indices) { key(after[$0].terms) }
            var taken = Set<Int>()
            before.removeAll { one in
                let key = key(one.terms)
                guard let place = places[key]?.first else { return false }
                places[key]?.removeFirst()
                taken.insert(place)
                pairs.append((role, one.offer, after[place].offer))
                return true
            }
            after = after.indices.filter { !taken.contains($0) }.map { after[$0] }
        }
        found += before.map { ChangedOffer(role: role, old: $0.terms) }
        found += after.map { ChangedOffer(role: role, new: $0.terms) }
    }

    private mutating func comparePairs(_ options: ComparisonOptions) throws(CompileError) {
        var options = options
        options.comparesRules = false
        options.comparesDuties = false
        options.isSelfContained = true
        options.isByAnswer = true
        for start in stride(from: 0, to: pairs.count, by: LanguageLimits.maxActions) {
            try compare(pairs[start..<min(pairs.count, start + LanguageLimits.maxActions)], options)
        }
    }

    private mutating func compare(
        _ pairs: ArraySlice<(role: String, old: CheckedOffer, new: CheckedOffer)>, _ options: ComparisonOptions
    ) throws(CompileError) {
        let takers = try compareQuestions(taking(pairs.map(\.old), old), taking(pairs.map(\.new), new), options)
        let regions = Dictionary(grouping: takers.regions, by: \.cell.action)
        let unproven = Dictionary(grouping: takers.unproven, by: \.cell.action)
        for (index, pair) in pairs.enumerated() {
            var change = ChangedOffer(
                role: pair.role, old: OfferTerms(pair.old, old), new: OfferTerms(pair.new, new),
                takers: regions[Self.action(index)] ?? [], doubt: unproven[Self.action(index)]?.first?.reason)
            if pair.old.atMost != pair.new.atMost { change.parts.append(.duration) }
            if !change.takers.isEmpty || change.doubt != nil { change.parts.append(.takers) }
            if change.old?.demand != change.new?.demand { change.parts.append(.demand) }
            if !change.parts.isEmpty { found.append(change) }
        }
    }

    /// Policies in which each offer is a permit to take what it offers.
    private func taking(_ offers: [CheckedOffer], _ policies: CheckedPolicies) -> CheckedPolicies {
        var policies = policies
        policies.catalog.actions = offers.indices.map {
            Action(name: Self.action($0), resourceTypes: [Catalog.user], attributes: [])
        }
        policies.rules = offers.enumerated().map { index, offer in
            CheckedRule(
                kind: .permit, name: offer.name, subjectTypes: offer.subjectTypes, actions: [index], resourceTypes: nil,
                condition: offer.condition, range: offer.range)
        }
        policies.obligations = []
        policies.tests = []
        return policies
    }

    private static func action(_ index: Int) -> String { "take \(index)" }
}
