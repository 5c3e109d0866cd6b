// Two versions of policies compared: every question whose answer changes, or the proof that there is none. Cell by cell
// (subject type, action, resource type) the answers of both become formulas over one space of questions; where these
// differ, the solver finds questions, and regions of them are described until nothing is left.

package import DecisionEngine
package import PolicyLanguage

/// What a comparison looks at, and how far it goes.
package struct ComparisonOptions: Sendable {
    /// Also tell where the outcome stays and other rules decide.
    package var comparesRules = false
    /// Also tell where the outcome stays and other duties go with it.
    package var comparesDuties = false
    /// Describe regions without saying "of those that had the first answer".
    package var isSelfContained = false
    /// Tell each pair of answers apart, instead of uniting what changes in the same direction: whether a question is
    /// answered with a permit or a step-up often hangs on the session alone.
    package var isByAnswer = false
    /// Regions of one cell and one pair of answers, at most.
    package var maxRegions = 100
    /// Steps that the whole comparison may take; what it has not settled by then is not proven. Counted, so that the same
    /// comparison always gets as far.
    package var budget = Self.defaultBudget
    /// Ends the comparison early; what it has found by then holds, the rest is not proven.
    package var interruption: Interruption?

    /// Some seconds.
    package static let defaultBudget = 500_000_000

    package init() {}
}

/// Two answers that differ, with one question that gets them.
package struct ChangedAnswer: Sendable {
    package var old: Outcome
    package var new: Outcome
    /// The question as each version sees it; nil for a version whose catalog does not define it.
    package var witness: (old: Situation?, new: Situation?)
    /// Both versions have decided the witness, each by the reference and by its compiled program, as is said here.
    package var isConfirmed: Bool
}

/// Questions whose answers change in one direction.
package struct ChangedRegion: Sendable {
    package var cell: Cell
    /// The pairs of answers that occur in the region; at least one.
    package var answers: [ChangedAnswer]
    /// What differs where the outcomes are the same: rules or duties.
    package var difference: String?
    /// The old answer of the questions that `conditions` chooses from; nil when it chooses from all that are no error.
    package var among: RegionBase
    /// What holds for exactly the questions of the region, among those of `among`. All of them, when empty.
    package var conditions: [String]
    /// Every witness is confirmed.
    package var isConfirmed: Bool { answers.allSatisfy(\.isConfirmed) }
    /// Why the region is not proven; nil when it is.
    package var doubt: String?
}

/// The questions that the description of a region chooses from.
package enum RegionBase: Sendable, Hashable {
    /// All that get a decision from both versions.
    case decided
    /// All that there are.
    case all
    /// Those that the old version answers so.
    case permitted, steppedUp, permittedOrSteppedUp, denied, error
}

/// What a comparison found.
package struct PolicyComparison: Sendable {
    package var regions: [ChangedRegion] = []
    /// Offers of roles that are others than before.
    package var offers: [ChangedOffer] = []
    /// What could not be compared, and why; equality is only proven when this is empty.
    package var unproven: [(cell: Cell, reason: String)] = []
    /// Cells that were compared.
    package var cells = 0

    /// True when no question gets another answer and each role is offered as before, and that is proven.
    package var isProvenEqual: Bool { regions.isEmpty && offers.isEmpty && unproven.isEmpty }
}

/// Compares two versions.
/// - Parameter progress: called with the cells done and their number.
/// - Throws: when a version is above a limit of the compiler.
package func compare(
    _ old: CheckedPolicies, _ new: CheckedPolicies, _ options: ComparisonOptions = ComparisonOptions(),
    progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
) throws(CompileError) -> PolicyComparison {
    var comparison = try compareQuestions(old, new, options, progress: progress)
    comparison.offers = try OfferComparer.changes(old, new, options)
    return comparison
}

/// Compares what two versions answer, without their offers.
func compareQuestions(
    _ old: CheckedPolicies, _ new: CheckedPolicies, _ options: ComparisonOptions,
    progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
) throws(CompileError) -> PolicyComparison {
    var comparer = Comparer(old: try Decider(old), new: try Decider(new), options: options)
    let cells = Comparer.cells(old.catalog, new.catalog)
    // Every cell has its share of the budget, and what others leave of theirs; what the hard ones need more is left to
    // the end, so that none takes the share of another.
    var left = options.budget
    let interruption = options.interruption
    func isDue() -> Bool { interruption?.isDue ?? false }
    var open: [Cell] = []
    for (index, cell) in cells.enumerated() {
        if isDue() {
            open += cells[index...]
            break
        }
        progress(index, cells.count)
        let budget = WorkBudget(max(1, left / (2 * (cells.count - index))), interruption)
        if !comparer.compare(cell, budget) { open.append(cell) }
        left -= budget.total - budget.left
    }
    for (index, cell) in open.enumerated() {
        if isDue() {
            comparer.note(cell, "not settled in the time given")
            continue
        }
        let budget = WorkBudget(max(1, left / (open.count - index)), interruption)
        comparer.forget(cell)
        if !comparer.compare(cell, budget) {
            comparer.note(
                cell, isDue() ? "not settled in the time given" : "the budget of \(options.budget) steps is used up")
        }
        left -= budget.total - budget.left
    }
    progress(cells.count, cells.count)
    comparer.comparison.cells = cells.count
    return comparer.comparison
}

private struct Comparer {
    let old: Decider
    let new: Decider
    let options: ComparisonOptions
    var comparison = PolicyComparison()

    init(old: Decider, new: Decider, options: ComparisonOptions) {
        self.old = old
        self.new = new
        self.options = options
    }

    /// The cells that one of the catalogs defines.
    static func cells(_ old: Catalog, _ new: Catalog) -> [Cell] {
        var cells: [Cell] = []
        var seen = Set<Cell>()
        for catalog in [old, new] {
            for subject in catalog.subjectTypes {
                for action in catalog.actions {
                    for resource in action.resourceTypes {
                        let cell = Cell(
                            subject: catalog.entities[subject].name, action: action.name,
                            resource: catalog.entities[resource].name)
                        if seen.insert(cell).inserted { cells.append(cell) }
                    }
                }
            }
        }
        return cells
    }

    /// What was found of a cell is not counted any more.
    mutating func forget(_ cell: Cell) {
        comparison.regions.removeAll { $0.cell == cell }
        comparison.unproven.removeAll { $0.cell == cell }
    }

    /// Adds what there is to tell of a cell; false when the budget did not suffice for all of it.
    mutating func compare(_ cell: Cell, _ budget: WorkBudget) -> Bool {
        guard let before = Self.restriction(old.policies, cell), let after = Self.restriction(new.policies, cell) else {
            compareWithNothing(cell, budget)
            return !budget.isUsedUp
        }
        let space = RequestSpace(cell, [before, after], budget)
        var one = space.outcomes(side: 0)
        var two = space.outcomes(side: 1)
        addUnknownSubject(space, &one, &two)
        if budget.isUsedUp { return false }
        if one.hasTooManyDemands || two.hasTooManyDemands {
            note(cell, "the requires of this action have too many combinations of demands")
            return true
        }
        let changes = changes(space, one, two)
        if !changes.isEmpty { search(space, changes, one, two) }
        return !budget.isUsedUp
    }

    /// Answers that change in one direction, or a difference beneath the same answers.
    private struct Change {
        var pairs: [(old: Outcome, new: Outcome, signal: Signal)]
        var difference: String?
        var among: RegionBase
    }

    private func changes(_ space: RequestSpace, _ one: SideOutcomes, _ two: SideOutcomes) -> [Change] {
        var changes: [Change] = []
        var places: [Direction: Int] = [:]
        for (before, here) in one.outcomes.sorted(by: { $0.key.order < $1.key.order }) {
            for (after, there) in two.outcomes.sorted(by: { $0.key.order < $1.key.order }) {
                let both = space.circuit.all([here, there])
                if both == .no { continue }
                if before == after {
                    if before == .error { continue }
                    for (difference, signal) in differences(space, one, two) {
                        let pair = (before, after, space.circuit.all([both, signal]))
                        if pair.2 == .no { continue }
                        let among: RegionBase = options.isSelfContained ? .decided : Direction.base(before)
                        let place = changes.firstIndex { $0.difference == difference && $0.among == among }
                        if let place, before.isStepUp, !options.isByAnswer {
                            changes[place].pairs.append(pair)
                        } else {
                            changes.append(Change(pairs: [pair], difference: difference, among: among))
                        }
                    }
                    continue
                }
                let direction = Direction(before, after)
                if let place = places[direction], !options.isByAnswer {
                    changes[place].pairs.append((before, after, both))
                } else {
                    places[direction] = changes.count
                    changes.append(
                        Change(
                            pairs: [(before, after, both)], difference: nil,
                            among: among(direction, before)))
                }
            }
        }
        return changes
    }

    private func among(_ direction: Direction, _ before: Outcome) -> RegionBase {
        if direction == .toError || direction == .fromError { return options.isSelfContained ? .all : direction.among }
        if options.isSelfContained { return .decided }
        return options.isByAnswer ? Direction.base(before) : direction.among
    }

    private mutating func search(
        _ space: RequestSpace, _ changes: [Change], _ one: SideOutcomes, _ two: SideOutcomes
    ) {
        let circuit = space.circuit
        func isNoError(_ side: SideOutcomes) -> Signal { !(side.outcomes[.error] ?? .no) }
        func old(_ isWanted: (Outcome) -> Bool) -> Signal {
            circuit.any(one.outcomes.filter { isWanted($0.key) }.map(\.value))
        }
        let cases = changes.map { change in
            let base: Signal =
                switch change.among {
                case .all: .yes
                case .decided: isNoError(one)
                case .permitted: old { $0 == .permit }
                case .steppedUp:
                    change.pairs.count == 1 && options.isByAnswer
                        ? one.outcomes[change.pairs[0].old] ?? .no : old(\.isStepUp)
                case .permittedOrSteppedUp: old { $0 == .permit || $0.isStepUp }
                case .denied: old { $0 == .deny }
                case .error: !isNoError(one)
                }
            // Errors of the new version are changes of their own: elsewhere nothing is said of how to avoid them.
            let leadsToError = change.pairs.contains { $0.new == .error }
            return RegionSearch.Case(
                signal: circuit.any(change.pairs.map(\.signal)),
                given: leadsToError ? base : circuit.all([base, isNoError(two)]))
        }
        let found = RegionSearch(
            space, cases: cases, parts: changes.map { $0.pairs.map(\.signal) }, limit: options.maxRegions
        ).run()
        for region in found.regions {
            let change = changes[region.label]
            var answers: [ChangedAnswer] = []
            for (part, question) in region.parts {
                let pair = change.pairs[part]
                let witness = (old: space.situation(question, side: 0), new: space.situation(question, side: 1))
                answers.append(
                    ChangedAnswer(
                        old: pair.old, new: pair.new, witness: (witness.old, witness.new),
                        isConfirmed: self.old.outcome(witness.old) == pair.old
                            && new.outcome(witness.new) == pair.new))
            }
            let isConfirmed = answers.allSatisfy(\.isConfirmed)
            comparison.regions.append(
                ChangedRegion(
                    cell: space.cell, answers: answers, difference: change.difference, among: change.among,
                    conditions: region.conditions,
                    doubt: region.doubt ?? (isConfirmed ? nil : "the witness does not confirm it")))
        }
        if let reason = found.incomplete, !space.budget.isUsedUp { note(space.cell, reason) }
        if !found.regions.isEmpty, !space.incompatible.isEmpty {
            note(
                space.cell,
                "the versions hold \(space.incompatible.sorted().joined(separator: ", ")) in different types")
        }
    }

    mutating func note(_ cell: Cell, _ reason: String) { comparison.unproven.append((cell, reason)) }

    /// Where only one version knows the cell, the other answers every question with an error.
    private mutating func compareWithNothing(_ cell: Cell, _ budget: WorkBudget) {
        let isOld = Self.restriction(old.policies, cell) != nil
        let decider = isOld ? old : new
        guard let restriction = Self.restriction(decider.policies, cell) else { return }
        let space = RequestSpace(cell, [restriction], budget)
        var answers: [ChangedAnswer] = []
        var doubt: String?
        let outcomes = space.outcomes(side: 0).outcomes.sorted { $0.key.order < $1.key.order }
        for (outcome, signal) in outcomes where outcome != .error {
            let found = RegionSearch(
                space, cases: [RegionSearch.Case(signal: signal, given: signal)], parts: [[signal]], limit: 1
            ).run()
            for region in found.regions {
                let witness = space.situation(region.question, side: 0)
                let answer = ChangedAnswer(
                    old: isOld ? outcome : .error, new: isOld ? .error : outcome,
                    witness: (isOld ? witness : nil, isOld ? nil : witness),
                    isConfirmed: decider.outcome(witness) == outcome)
                answers.append(answer)
                doubt = doubt ?? region.doubt ?? (answer.isConfirmed ? nil : "the witness does not confirm it")
            }
            if let reason = found.incomplete, !budget.isUsedUp { note(cell, reason) }
        }
        if answers.isEmpty { return }
        comparison.regions.append(
            ChangedRegion(
                cell: cell, answers: answers, among: .all,
                conditions: isOld
                    ? ["the new catalog does not define this"] : ["the old catalog does not define this"],
                doubt: doubt))
    }

    /// What of both versions a cell's rules say; nil when a catalog lacks a name, or does not define the action there.
    private static func restriction(_ policies: CheckedPolicies, _ cell: Cell) -> Restriction? {
        let catalog = policies.catalog
        guard let subject = catalog.entity(named: cell.subject), catalog.entities[subject].isSubject,
            let action = catalog.action(named: cell.action), let resource = catalog.entity(named: cell.resource),
            catalog.actions[action].resourceTypes.contains(resource)
        else { return nil }
        return restrict(policies, subjectType: subject, action: action, resourceType: resource)
    }

    /// Where only one version needs the store to know the subject, one that it does not know is a case of its own.
    private func addUnknownSubject(_ space: RequestSpace, _ one: inout SideOutcomes, _ two: inout SideOutcomes) {
        let mustExist = space.sides.map { side in
            side.subjectType == Catalog.user
                || side.policies.catalog.entities[side.subjectType].attributes.contains(where: \.isStored)
        }
        if mustExist[0] == mustExist[1] { return }
        let unknown = space.signal(.unknownSubject)
        // Who is not known is in no group and has taken no role.
        let groups = space.atoms.compactMap { node, atom -> Signal? in
            switch atom {
            case .group, .granted: return !Signal(code: Int32(node) << 1)
            default: return nil
            }
        }
        let possible = space.circuit.implies(unknown, space.circuit.all(groups))
        for (side, isStrict) in mustExist.enumerated() {
            var outcomes = side == 0 ? one.outcomes : two.outcomes
            for (outcome, signal) in outcomes {
                var parts = [signal, possible]
                if isStrict, outcome != .error { parts.append(!unknown) }
                outcomes[outcome] = space.circuit.all(parts)
            }
            if isStrict {
                outcomes[.error] = space.circuit.any([
                    outcomes[.error] ?? .no, space.circuit.all([possible, unknown]),
                ])
            }
            if side == 0 { one.outcomes = outcomes } else { two.outcomes = outcomes }
        }
    }

    // MARK: Rules and duties

    private func differences(
        _ space: RequestSpace, _ one: SideOutcomes, _ two: SideOutcomes
    ) -> [(String, Signal)] {
        var differences: [(String, Signal)] = []
        if options.comparesRules {
            func names(_ policies: CheckedPolicies) -> (Int) -> String { { policies.rules[$0].name } }
            let signal = difference(space, one.decides, names(old.policies), two.decides, names(new.policies))
            differences.append(("other rules decide", signal))
        }
        if options.comparesDuties {
            func names(_ policies: CheckedPolicies) -> (Int) -> String {
                { "\(policies.obligations[$0].duties.map { DutyText.write($0) })" }
            }
            let signal = difference(space, one.duties, names(old.policies), two.duties, names(new.policies))
            differences.append(("other duties go with it", signal))
        }
        return differences
    }

    /// Something of a name holds on one side only.
    private func difference(
        _ space: RequestSpace, _ one: [Int: Signal], _ oneName: (Int) -> String, _ two: [Int: Signal],
        _ twoName: (Int) -> String
    ) -> Signal {
        var left: [String: [Signal]] = [:]
        var right: [String: [Signal]] = [:]
        for (index, signal) in one { left[oneName(index), default: []].append(signal) }
        for (index, signal) in two { right[twoName(index), default: []].append(signal) }
        let circuit = space.circuit
        return circuit.any(
            Set(left.keys).union(right.keys).sorted().map { name in
                !circuit.same(circuit.any(left[name] ?? []), circuit.any(right[name] ?? []))
            })
    }
}

/// In which direction an answer changes.
private enum Direction: Hashable {
    /// Denied before, and now permitted, at once or after a step-up.
    case opened
    case closed
    /// Permitted before, and a step-up now; or the other way.
    case raised, lowered
    /// Another step-up.
    case otherDemand
    case toError, fromError

    init(_ old: Outcome, _ new: Outcome) {
        switch (old, new) {
        case (_, .error): self = .toError
        case (.error, _): self = .fromError
        case (.deny, _): self = .opened
        case (_, .deny): self = .closed
        case (.permit, _): self = .raised
        case (_, .permit): self = .lowered
        default: self = .otherDemand
        }
    }

    /// What a region of this direction is described among.
    var among: RegionBase {
        switch self {
        case .opened: .denied
        case .closed: .permittedOrSteppedUp
        case .raised: .permitted
        case .lowered, .otherDemand: .steppedUp
        case .toError, .fromError: .all
        }
    }

    static func base(_ old: Outcome) -> RegionBase {
        switch old {
        case .permit: .permitted
        case .stepUp: .steppedUp
        case .deny: .denied
        case .error: .error
        }
    }
}

extension Outcome {
    fileprivate var isStepUp: Bool {
        if case .stepUp = self { return true }
        return false
    }

    /// Permits first.
    fileprivate var order: String {
        switch self {
        case .permit: "0"
        case .stepUp(let demand): "1\(demand.text)"
        case .deny: "2"
        case .error: "3"
        }
    }
}
