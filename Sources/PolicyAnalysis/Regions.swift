// Regions of questions: all questions for which a formula holds, as a list of descriptions that together cover exactly
// those. Each is made from one question found, by leaving out of its description whatever is not needed.

import PolicyLanguage

/// Questions described by what is true of them.
struct FoundRegion {
    /// Which of the cases that were looked for.
    var label: Int
    /// What is true of all questions of the region.
    var literals: [Signal]
    /// The same in words.
    var conditions: [String]
    /// One question of the region.
    var question: FoundQuestion
    /// For each part of its case that the region meets, a question of both.
    var parts: [(part: Int, question: FoundQuestion)] = []
    /// The theories could not decide the question, for this reason.
    var doubt: String?
}

/// What a search for regions gave.
struct FoundRegions {
    var regions: [FoundRegion] = []
    /// Why there may be more; nil when the regions are all there is.
    var incomplete: String?
}

/// Finds regions.
struct RegionSearch {
    /// A formula to cover with regions.
    struct Case {
        /// The questions to describe.
        var signal: Signal
        /// What is known of these questions anyway and need not be said: `signal` is all of `given` that is wanted.
        var given: Signal
    }

    private let space: RequestSpace
    private let reasoner: Reasoner
    private let features: [Feature]
    private let cases: [Case]
    /// For each case, the formulas that its signal is made of.
    private let parts: [[Signal]]
    /// Regions at most.
    private let limit: Int

    init(_ space: RequestSpace, cases: [Case], parts: [[Signal]], limit: Int) {
        self.space = space
        self.cases = cases
        self.parts = parts
        self.limit = limit
        features = space.features()
        reasoner = Reasoner(
            space, roots: cases.flatMap { [$0.signal, $0.given] } + parts.joined() + features.map(\.signal))
    }

    func run() -> FoundRegions {
        var found = FoundRegions()
        for index in cases.indices where found.incomplete == nil { cover(index, &found) }
        found.regions = withoutRedundant(found.regions)
        for index in found.regions.indices { found.regions[index].parts = parts(of: found.regions[index]) }
        return found
    }

    /// The parts of its case that a region meets. The searches before have excluded what they found only under an
    /// assumption of their own, so every question can still be asked.
    private func parts(of region: FoundRegion) -> [(part: Int, question: FoundQuestion)] {
        let parts = parts[region.label]
        if parts.count == 1 { return [(0, region.question)] }
        var met: [(part: Int, question: FoundQuestion)] = []
        for (part, signal) in parts.enumerated() {
            switch reasoner.question([cases[region.label].given, signal] + region.literals) {
            case .found(let question), .undecided(let question, _): met.append((part, question))
            case .none, .exhausted: break
            }
        }
        if !met.isEmpty { return met }
        let truths = reasoner.truths(parts, in: region.question)
        return [(truths.firstIndex(of: true) ?? 0, region.question)]
    }

    private func cover(_ index: Int, _ found: inout FoundRegions) {
        let wanted = cases[index]
        if wanted.signal == .no { return }
        let activation = space.circuit.input()
        while true {
            switch reasoner.question([wanted.signal, activation]) {
            case .none: return
            case .exhausted:
                found.incomplete = space.budget.reason
                return
            case .found(let question):
                let region = describe(index, question, doubt: nil)
                block(region, wanted, activation)
                found.regions.append(region)
            case .undecided(let question, let reason):
                let region = describe(index, question, doubt: reason)
                block(region, wanted, activation)
                found.regions.append(region)
            }
            if found.regions.count >= limit {
                if case .none = reasoner.question([wanted.signal, activation]) { return }
                found.incomplete = "there are more than \(limit) regions"
                return
            }
        }
    }

    private func block(_ region: FoundRegion, _ wanted: Case, _ activation: Signal) {
        let circuit = space.circuit
        reasoner.require(!circuit.all([activation, wanted.given] + region.literals))
    }

    // MARK: Describing

    private func describe(_ index: Int, _ question: FoundQuestion, doubt: String?) -> FoundRegion {
        let wanted = cases[index]
        let truths = reasoner.truths(features.map(\.signal), in: question)
        let literals = zip(features, truths).map { $1 ? $0.signal : !$0.signal }
        var (kept, isCovered) = needed(literals, wanted)
        if isCovered { kept = withWhatChanged(kept, literals, wanted) }
        let texts = kept.map { signal in
            features.first { $0.signal == signal || $0.signal == !signal }.map { $0.text($0.signal == signal) } ?? ""
        }
        return FoundRegion(
            label: index, literals: kept, conditions: texts, question: question,
            doubt: doubt
                ?? (isCovered
                    ? nil : space.budget.isUsedUp ? space.budget.reason : "something in it cannot be analysed"))
    }

    /// The literals, and with them what only one version tests and what follows for the region: a bound that was moved
    /// reads best beside the new one, and a rule that was removed by what it said.
    private func withWhatChanged(_ kept: [Signal], _ literals: [Signal], _ wanted: Case) -> [Signal] {
        func follows(_ literal: Signal, from others: [Signal]) -> Bool {
            if case .none = reasoner.question(others + [!literal]) { return true }
            return false
        }
        var more: [Signal] = []
        for (feature, literal) in zip(features, literals) where feature.onlySide != nil && !kept.contains(literal) {
            if follows(literal, from: [wanted.given] + kept), !follows(literal, from: kept) { more.append(literal) }
        }
        // Of several that follow, those that say most.
        for literal in more where more.count > 1 {
            let others = more.filter { $0 != literal }
            if follows(literal, from: kept + others) { more = others }
        }
        let all = Set(kept + more)
        return literals.filter { all.contains($0) }
    }

    /// The literals without which the region would hold questions that are not wanted.
    private func needed(_ literals: [Signal], _ wanted: Case) -> (kept: [Signal], isCovered: Bool) {
        func covers(_ some: [Signal]) -> [Signal]? {
            let assumptions = [wanted.given] + some + [!wanted.signal]
            guard case .none(let core) = reasoner.question(assumptions) else { return nil }
            let used = Set(core)
            return some.filter { used.contains($0) }
        }
        guard var kept = covers(literals) else { return (literals, false) }
        // From the end, because those that read best stand first.
        var tried = 0
        while tried < kept.count {
            var fewer = kept
            fewer.remove(at: kept.count - 1 - tried)
            if let core = covers(fewer) { kept = core } else { tried += 1 }
        }
        return (kept, true)
    }

    /// Leaves out regions that the others cover.
    private func withoutRedundant(_ regions: [FoundRegion]) -> [FoundRegion] {
        guard regions.count > 1, regions.count <= 200 else { return regions }
        let circuit = space.circuit
        var kept = regions
        for region in regions.reversed() {
            let wanted = cases[region.label]
            let others = kept.filter { $0.label == region.label && $0.literals != region.literals }
            guard !others.isEmpty else { continue }
            let rest = others.map { !circuit.all($0.literals) }
            if case .none = reasoner.question([wanted.given] + region.literals + rest) {
                kept.removeAll { $0.label == region.label && $0.literals == region.literals }
            }
        }
        return kept
    }
}
