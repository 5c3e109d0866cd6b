// What policies answer, as formulas: for each answer there can be, the questions that get it.

package import PolicyLanguage

/// An answer's outcome by names, so that those of two versions can be compared.
package enum Outcome: Hashable, Sendable {
    case permit
    case deny
    case stepUp(DemandByName)
    /// No decision: a required attribute is missing, or one is malformed; answered by deny.
    case error
}

/// A demand by names.
package struct DemandByName: Hashable, Sendable {
    /// Every level that has to be reached.
    package var levels: [String]
    /// The least level that proves them all; nil when any will do.
    package var level: String?
    /// Milliseconds since the authentication at most; `Int64.max` for any age.
    package var within: Int64
    package var methods: UInt32
}

/// The formulas of one side's answers.
struct SideOutcomes {
    /// Exactly one of these holds for every question.
    var outcomes: [Outcome: Signal]
    /// A forbid matches; disjoint from errors.
    var forbidden: Signal
    /// Each rule that applies, by index, with the formula of its condition.
    var matches: [Int: Signal]
    /// Formulas under which a rule is one of those that decide.
    var decides: [Int: Signal]
    /// Each obligation that applies, by index, with the formula under which it goes with the answer.
    var duties: [Int: Signal]
    /// Attributes whose lack or type makes an error, with the formula of that.
    var faults: [(reference: AttributeReference, signal: Signal)]
    /// The join of demands has too many values to list them.
    var hasTooManyDemands = false
}

extension RequestSpace {
    /// Joined demands that are told apart, at most.
    private static let maxJoins = 512

    /// What a side answers.
    func outcomes(side: Int) -> SideOutcomes {
        let restriction = sides[side]
        guard restriction.isDefined, restriction.knownFaults.isEmpty else {
            return SideOutcomes(
                outcomes: [.error: .yes], forbidden: .no, matches: [:], decides: [:], duties: [:], faults: [])
        }
        var faults: [(reference: AttributeReference, signal: Signal)] = []
        for reference in restriction.openFaults {
            guard let reading = reading(reference, side: side) else { continue }
            let fault = fault(reading)
            if fault != .no { faults.append((reference, fault)) }
        }
        var matches: [Int: Signal] = [:]
        for rule in restriction.rules { matches[rule.index] = translate(rule.condition, side: side) }
        var weighing = Weighing(self, restriction, side: side, matches)
        weighing.error = circuit.any(faults.map(\.signal))
        return weighing.outcomes(faults, limit: Self.maxJoins)
    }

    /// The question is an error because of this attribute.
    func fault(_ reading: AttributeReading) -> Signal {
        var parts: [Signal] = [isMalformed(reading)]
        if reading.attribute.isRequired {
            parts.append(circuit.all(reading.variables.map { signal(.absent($0)) }))
        }
        let fault = circuit.any(parts)
        // A live stored value is looked at first, whatever the question gives.
        guard reading.variables.count == 2 else { return fault }
        return circuit.all([signal(.absent(reading.variables[0])), fault])
    }
}

/// Weighs matching rules against one another, as formulas.
private struct Weighing {
    let space: RequestSpace
    let restriction: Restriction
    let side: Int
    let matches: [Int: Signal]
    var error = Signal.no
    private var circuit: Circuit { space.circuit }

    init(_ space: RequestSpace, _ restriction: Restriction, side: Int, _ matches: [Int: Signal]) {
        self.space = space
        self.restriction = restriction
        self.side = side
        self.matches = matches
    }

    private func match(_ rule: Restriction.Rule) -> Signal { matches[rule.index] ?? .no }

    private func rules(_ kind: RuleKind) -> [Restriction.Rule] { restriction.rules.filter { $0.kind == kind } }

    func outcomes(_ faults: [(reference: AttributeReference, signal: Signal)], limit: Int) -> SideOutcomes {
        let forbids = circuit.any(rules(.forbid).map(match))
        let open = circuit.all([!error, !forbids])
        let permits = rules(.permit)
        let requiresMet = circuit.all(
            rules(.require).map { circuit.implies(match($0), space.isMet($0.demand, side: side)) })
        let met = permits.map { circuit.all([match($0), space.isMet($0.demand, side: side)]) }
        let permit = circuit.all([open, requiresMet, circuit.any(met)])
        let unmet = circuit.all([open, !permit, circuit.any(permits.map(match))])
        var outcomes: [Outcome: Signal] = [.permit: permit, .error: error]
        let (steps, isComplete) = stepUps(permits, unmet, limit)
        for (demand, signal) in steps { outcomes[.stepUp(demand)] = signal }
        let stepUp = circuit.any(steps.map(\.value))
        outcomes[.deny] = circuit.all([!error, !permit, !stepUp])
        var made = SideOutcomes(
            outcomes: outcomes.filter { $0.value != .no }, forbidden: circuit.all([!error, forbids]),
            matches: matches, decides: [:], duties: [:], faults: faults, hasTooManyDemands: !isComplete)
        addDeciders(&made, permit: permit, stepUp: stepUp)
        addDuties(&made, permit: permit, stepUp: stepUp)
        return made
    }

    /// Rules that an answer can name: the forbids that match; or the permits that match, and the requires with them.
    private func addDeciders(_ made: inout SideOutcomes, permit: Signal, stepUp: Signal) {
        for rule in restriction.rules {
            let answer: Signal = rule.kind == .forbid ? made.forbidden : circuit.any([permit, stepUp])
            made.decides[rule.index] = circuit.all([match(rule), answer])
        }
    }

    private func addDuties(_ made: inout SideOutcomes, permit: Signal, stepUp: Signal) {
        for (index, condition) in restriction.obligations {
            let occasion: Signal =
                switch restriction.policies.obligations[index].occasion {
                case .permit: permit
                case .stepUp: stepUp
                case .deny: made.outcomes[.deny] ?? .no
                }
            made.duties[index] = circuit.all([occasion, space.translate(condition, side: side)])
        }
    }

    // MARK: Step-up

    /// The demands that can be answered, each with the questions that get it.
    private func stepUps(
        _ permits: [Restriction.Rule], _ unmet: Signal, _ limit: Int
    ) -> (demands: [DemandByName: Signal], isComplete: Bool) {
        if unmet == .no { return ([:], true) }
        guard let joins = joins(limit) else { return ([:], false) }
        var found: [DemandByName: [Signal]] = [:]
        for (join, questions) in joins {
            space.budget.spend(permits.count)
            if space.budget.isUsedUp { return ([:], false) }
            let here = circuit.all([unmet, questions])
            if here == .no { continue }
            for (demand, chosen) in choices(permits, join) {
                found[demand, default: []].append(circuit.all([here, chosen]))
            }
        }
        return (found.mapValues { circuit.any($0) }.filter { $0.value != .no }, true)
    }

    /// What the matching requires demand together: each value of it, with the questions that have it.
    private func joins(_ limit: Int) -> [(demand: Demand, questions: Signal)]? {
        var byDemand: [Demand: [Signal]] = [:]
        for rule in rules(.require) where match(rule) != .no { byDemand[rule.demand, default: []].append(match(rule)) }
        let demands = byDemand.map { (demand: $0.key, signal: circuit.any($0.value)) }.sorted {
            Demand.isBefore($0.demand, $1.demand)
        }
        var joins: Set<Demand> = [.nothing]
        for (demand, _) in demands {
            joins.formUnion(joins.map { $0.joined(with: demand) })
            if joins.count > limit { return nil }
        }
        return joins.sorted(by: Demand.isBefore).map { join in (join, isJoin(join, demands)) }
    }

    /// The matching ones of these demands join to exactly this one.
    private func isJoin(_ join: Demand, _ demands: [(demand: Demand, signal: Signal)]) -> Signal {
        let below = demands.filter { $0.demand.joined(with: join) == join }
        let others = demands.filter { $0.demand.joined(with: join) != join }
        var parts = others.map { !$0.signal }
        for bit in 0..<64 where join.levels >> UInt64(bit) & 1 == 1 {
            parts.append(circuit.any(below.filter { $0.demand.levels >> UInt64(bit) & 1 == 1 }.map(\.signal)))
        }
        for bit in 0..<32 where join.methods >> UInt32(bit) & 1 == 1 {
            parts.append(circuit.any(below.filter { $0.demand.methods >> UInt32(bit) & 1 == 1 }.map(\.signal)))
        }
        if join.within != .max {
            parts.append(circuit.any(below.filter { $0.demand.within == join.within }.map(\.signal)))
        }
        return circuit.all(parts)
    }

    /// Which demand is answered when the requires join to this: the least among those of the permits that match.
    private func choices(_ permits: [Restriction.Rule], _ join: Demand) -> [DemandByName: Signal] {
        let assurance = restriction.policies.catalog.assurance
        var candidates: [(level: Int, within: Int64, name: String, demand: Demand, match: Signal)] = []
        for permit in permits where match(permit) != .no {
            let demand = permit.demand.joined(with: join)
            guard let level = assurance.leastLevel(for: demand) else { continue }
            candidates.append(
                (level, demand.within, restriction.policies.rules[permit.index].name, demand, match(permit)))
        }
        // By level, then age (older is easier), then name.
        candidates.sort { ($0.level, -$0.within, $0.name) < ($1.level, -$1.within, $1.name) }
        var chosen: [DemandByName: [Signal]] = [:]
        var before: [Signal] = []
        var index = 0
        while index < candidates.count {
            // Neighbours with one demand need not be told apart.
            var end = index
            while end < candidates.count, candidates[end].demand == candidates[index].demand { end += 1 }
            let matching = circuit.any(candidates[index..<end].map(\.match))
            let name = DemandByName(candidates[index].demand, level: candidates[index].level, assurance)
            chosen[name, default: []].append(circuit.all([matching, !circuit.any(before)]))
            before.append(matching)
            index = end
        }
        return chosen.mapValues { circuit.any($0) }
    }
}

extension Demand {
    /// Any order will do, as long as it is always the same.
    fileprivate static func isBefore(_ left: Demand, _ right: Demand) -> Bool {
        (left.levels, left.within, left.methods) < (right.levels, right.within, right.methods)
    }
}

extension Assurance {
    /// The first reachable level that proves what is demanded; -1 when nothing is, nil when none does.
    func leastLevel(for demand: Demand) -> Int? {
        if demand.levels == 0 { return -1 }
        return levels.indices.first {
            reachable >> UInt64($0) & 1 == 1 && implied[$0] & demand.levels == demand.levels
        }
    }
}

extension DemandByName {
    package init(_ demand: Demand, level: Int, _ assurance: Assurance) {
        levels = assurance.levels.indices.filter { demand.levels >> UInt64($0) & 1 == 1 }.map { assurance.levels[$0] }
        self.level = level >= 0 ? assurance.levels[level] : nil
        within = demand.within
        methods = demand.methods
    }

    /// `mfa within 15m using otp`; `any sign-in` when nothing is asked.
    package var text: String {
        var parts: [String] = []
        if let level { parts.append(level) }
        if within != .max { parts.append("within \(DurationText.format(within))") }
        if methods != 0 { parts.append("using \(AuthenticationMethods.list(methods).joined(separator: ", "))") }
        return parts.isEmpty ? "any sign-in" : parts.joined(separator: " ")
    }
}
