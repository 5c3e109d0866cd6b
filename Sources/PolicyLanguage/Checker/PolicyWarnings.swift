// What is legal, but surely not meant: rules that never match, permits that a forbid always beats, tests that no
// rule speaks to. Found on checked policies, in time linear in their size but for a bounded number of comparisons.

/// Looks for rules and tests that change nothing.
struct PolicyWarnings {
    private let policies: CheckedPolicies
    private var sink: DiagnosticSink
    /// Comparisons left. Policies written to use it up are checked all the same; only warnings are missing then.
    private var budget = 2_000_000

    static func find(in policies: CheckedPolicies, _ sink: inout DiagnosticSink) {
        var warnings = PolicyWarnings(policies: policies, sink: sink)
        warnings.run()
        sink = warnings.sink
    }

    private init(policies: CheckedPolicies, sink: DiagnosticSink) {
        self.policies = policies
        self.sink = sink
    }

    private mutating func run() {
        var never = Set<String>()
        for role in policies.roles {
            _ = warnConstant(role.condition, "role `\(role.name)` can never hold")
        }
        for rule in policies.rules
        where warnConstant(rule.condition, "this \(rule.kind) can never match") {
            never.insert(rule.name)
        }
        warnHidden(never)
        warnUncovered()
        warnUntakeable()
    }

    // MARK: Conditions that never hold

    /// Why a conjunction cannot hold.
    private struct Contradiction {
        var range: SourceRange
        var why: String
        var help: String
        /// The part that is contradicted, when there is one.
        var before: SourceRange?

        init(_ range: SourceRange, _ why: String, _ help: String, before: SourceRange? = nil) {
            self.range = range
            self.why = why
            self.help = help
            self.before = before
        }
    }

    /// Warns of conditions that contradict themselves or are always true; true when the whole can never hold.
    private mutating func warnConstant(_ condition: Condition, _ message: String) -> Bool {
        if let found = contradiction(in: condition) {
            sink.report(.neverMatches, "\(message): \(found.why)", at: found.range, help: found.help)
            return true
        }
        warnParts(condition)
        return false
    }

    /// Alternatives that never hold, and comparisons whose outcome the catalog decides.
    private mutating func warnParts(_ condition: Condition) {
        switch condition {
        case .all(let parts): for part in parts { warnParts(part) }
        case .not(let inner): warnParts(inner)
        case .any(let parts):
            if let found = contradiction(in: .not(condition)) {
                let range = found.before.map { $0.union(found.range) } ?? found.range
                sink.report(
                    .constantCondition, "one of these alternatives always holds", at: range,
                    help: "remove the condition, or mend an alternative")
                return
            }
            for part in parts {
                if let found = contradiction(in: part) {
                    sink.report(
                        .constantCondition, "this alternative can never hold: \(found.why)", at: found.range,
                        help: found.help)
                } else {
                    warnParts(part)
                }
            }
        case .test(let test, let range):
            budget -= test.size
            if budget >= 0, Bounds.isAlways(test) {
                sink.report(
                    .constantCondition, "this is always true: \(catalogSays(test))", at: range,
                    help: "remove it, or mend the value")
            }
        case .constant: break
        }
    }

    /// What the catalog says of the values that a test reads.
    private func catalogSays(_ test: Test) -> String {
        if case .count = test.readOperand { return "a count is never below zero" }
        guard case .attribute(let reference) = test.readOperand else { return "nothing else is possible" }
        let type = reference.type.spelling { policies.catalog.entities[$0].name }
        return "in the catalog `\(reference.name)` is `\(type)`"
    }

    /// Where a conjunction first contradicts itself, why, and how to mend it.
    private mutating func contradiction(in condition: Condition) -> Contradiction? {
        var known: [Operand: (bounds: Bounds, range: SourceRange)] = [:]
        for (test, isNegated, range) in Self.conjuncts(condition) {
            if case .oneOf(_, let values) = test, values.isEmpty, !isNegated {
                return Contradiction(range, "the list is empty", "put values into the list")
            }
            guard let operand = test.readOperand else { continue }
            let before = known.removeValue(forKey: operand)
            var bounds = before?.bounds ?? Bounds(operand)
            budget -= test.size + bounds.size
            if budget < 0 { return nil }
            bounds.narrow(by: test, isNegated: isNegated)
            if bounds.isEmpty {
                guard let before else { return Contradiction(range, catalogSays(test), "mend the value") }
                if before.range == range {
                    return Contradiction(range, "the range is empty", "write the smaller value first")
                }
                return Contradiction(
                    range, "this excludes a condition before it", "perhaps `or` was meant, or a list: `in [a, b]`",
                    before: before.range)
            }
            known[operand] = (bounds, range)
        }
        return nil
    }

    /// The tests that all must hold (or, negated, must not) for the condition to hold. Alternatives are left out.
    private static func conjuncts(_ condition: Condition) -> [(test: Test, isNegated: Bool, range: SourceRange)] {
        var found: [(test: Test, isNegated: Bool, range: SourceRange)] = []
        func walk(_ condition: Condition, _ isNegated: Bool) {
            switch condition {
            case .all(let parts) where !isNegated: for part in parts { walk(part, false) }
            case .any(let parts) where isNegated: for part in parts { walk(part, true) }
            case .not(let inner): walk(inner, !isNegated)
            case .test(let test, let range): found.append((test, isNegated, range))
            case .all, .any, .constant: break
            }
        }
        walk(condition, false)
        return found
    }

    // MARK: Permits that a forbid always beats

    /// A part of a conjunction, without its place.
    private struct Part: Hashable {
        var condition: Condition
    }

    private mutating func warnHidden(_ never: Set<String>) {
        // A forbid hides a permit when all its parts are parts of the permit; it is found by its first part.
        var forbids: [Part?: [(rule: CheckedRule, parts: Set<Part>)]] = [:]
        for rule in policies.rules where rule.kind == .forbid && !never.contains(rule.name) {
            let parts = Self.parts(rule.condition)
            forbids[parts.first, default: []].append((rule, Set(parts)))
        }
        if forbids.isEmpty { return }
        for permit in policies.rules where permit.kind == .permit && !never.contains(permit.name) {
            let parts = Set(Self.parts(permit.condition))
            search: for key in [nil] + parts.map(Optional.some) {
                for (forbid, needed) in forbids[key] ?? [] {
                    budget -= 1 + needed.count + forbid.subjectTypes.count + (forbid.actions?.count ?? 0)
                    budget -= forbid.resourceTypes?.count ?? 0
                    if budget < 0 { return }
                    guard covers(forbid, permit), needed.isSubset(of: parts) else { continue }
                    sink.report(
                        .hiddenByForbid, "this permit never decides: \(name(forbid)) always beats it",
                        at: permit.range, help: "narrow the forbid with `unless` or `when`, or remove the permit",
                        related: [Diagnostic.Related("the forbid", at: forbid.range)])
                    break search
                }
            }
        }
    }

    private func name(_ rule: CheckedRule) -> String {
        let index = Int(rule.range.file)
        let file = policies.files.indices.contains(index) ? policies.files[index].name : ""
        return "the forbid \"\(rule.name)\" at \(file):\(rule.range.line)"
    }

    private func covers(_ wide: CheckedRule, _ narrow: CheckedRule) -> Bool {
        func holds(_ wide: [Int]?, _ narrow: [Int]?) -> Bool {
            guard let wide else { return true }
            guard let narrow else { return false }
            return Set(narrow).isSubset(of: wide)
        }
        return holds(wide.subjectTypes, narrow.subjectTypes) && holds(wide.actions, narrow.actions)
            && holds(wide.resourceTypes, narrow.resourceTypes)
    }

    /// The parts of a conjunction, in text order.
    private static func parts(_ condition: Condition) -> [Part] {
        switch condition {
        case .all(let parts): parts.flatMap { Self.parts($0) }
        case .constant(true): []
        default: [Part(condition: withoutPlaces(condition))]
        }
    }

    private static func withoutPlaces(_ condition: Condition) -> Condition {
        switch condition {
        case .constant: condition
        case .all(let parts): .all(parts.map { withoutPlaces($0) })
        case .any(let parts): .any(parts.map { withoutPlaces($0) })
        case .not(let inner): .not(withoutPlaces(inner))
        case .test(let test, _): .test(test, .none)
        }
    }

    // MARK: Tests that no rule speaks to

    private mutating func warnUncovered() {
        var answers: [[Int]: Bool] = [:]
        for test in policies.tests {
            let key = [test.subjectType, test.action, test.resourceType]
            if answers[key] == nil { budget -= policies.rules.count }
            if budget < 0 { return }
            let isCovered =
                answers[key]
                ?? policies.rules.contains { rule in
                    rule.kind != .require && rule.subjectTypes.contains(test.subjectType)
                        && rule.actions?.contains(test.action) ?? true
                        && rule.resourceTypes?.contains(test.resourceType) ?? true
                }
            answers[key] = isCovered
            if isCovered { continue }
            let action = policies.catalog.actions[test.action].name
            let type = policies.catalog.entities[test.resourceType].name
            let subject = policies.catalog.entities[test.subjectType].name
            sink.report(
                .coversNothing, "no rule is about `\(action)` on `\(type)` by a `\(subject)`", at: test.range,
                help: "mend the question, or write the rule that the test is for")
        }
    }

    // MARK: Offers that nobody can take

    /// Who takes a role is asked nothing else: what only questions bring is missing then, and the answer is an error,
    /// whatever other offers of the role say.
    private mutating func warnUntakeable() {
        for offer in policies.offers {
            var told = Set<AttributeReference>()
            offer.condition.forEachTest { test, range in
                var seen = Set<Int>()
                for reference in references(in: test, &seen) where told.insert(reference).inserted {
                    warn(offer, reference, at: range)
                }
            }
        }
    }

    private mutating func warn(_ offer: CheckedOffer, _ reference: AttributeReference, at range: SourceRange) {
        func isMissing(_ attributes: [Attribute]) -> Bool {
            attributes.contains { $0.name == reference.name && $0.isRequired && !$0.isStored }
        }
        let catalog = policies.catalog
        let types: [Int]
        switch reference.scope {
        case .subject: types = offer.subjectTypes.filter { isMissing(catalog.entities[$0].attributes) }
        case .session: types = isMissing(catalog.entities[Catalog.session].attributes) ? offer.subjectTypes : []
        case .device: types = isMissing(catalog.entities[Catalog.device].attributes) ? offer.subjectTypes : []
        case .context: types = isMissing(catalog.context) ? offer.subjectTypes : []
        case .resource, .action: types = []
        }
        if types.isEmpty { return }
        let names = types.map { "a \(catalog.entities[$0].name)" }.joined(separator: " or ")
        let owner = reference.scope == .subject && types.count == 1 ? catalog.entities[types[0]].name : nil
        sink.report(
            .neverTaken,
            "role `\(policies.roles[offer.role].name)` cannot be taken by \(names): "
                + "`\(owner ?? "\(reference.scope)").\(reference.name)` comes with questions alone, and is missing then",
            at: range,
            help: "read an attribute that is stored, or let the catalog give this one a default or another source")
    }

    /// The attributes that a test reads, itself or by a role.
    /// - Parameter seen: roles that were looked into.
    private mutating func references(in test: Test, _ seen: inout Set<Int>) -> [AttributeReference] {
        var found: [AttributeReference] = []
        test.forEachOperand { operand in operand.forEachReference { found.append($0) } }
        if case .has(let reference) = test { found.append(reference) }
        guard case .role(let role) = test, seen.insert(role).inserted else { return found }
        var tests: [Test] = []
        policies.roles[role].condition.forEachTest { tests.append($0) }
        budget -= tests.count
        if budget < 0 { return found }
        for test in tests { found += references(in: test, &seen) }
        return found
    }
}

extension Test {
    /// How much there is to look at.
    fileprivate var size: Int {
        if case .oneOf(_, let values) = self { return 1 + values.count }
        return 1
    }

    /// The operand that this test compares with constants; nil when it compares with anything else.
    fileprivate var readOperand: Operand? {
        switch self {
        case .compare(.constant, _, let operand), .compare(let operand, _, .constant), .oneOf(let operand, _):
            if case .constant = operand { return nil }
            return operand
        default: return nil
        }
    }
}

/// What a conjunction leaves of the values of one operand.
private struct Bounds {
    /// The values that remain; nil while only `low` and `high` bound them.
    private var values: Set<Constant>?
    private var excluded = Set<Constant>()
    private var low = Int64.min
    private var high = Int64.max

    /// What the catalog says of the operand's values.
    init(_ operand: Operand) {
        if case .count = operand { low = 0 }
        guard case .attribute(let reference) = operand else { return }
        switch reference.type {
        case .integer(.some(let range)): (low, high) = (range.lowerBound, range.upperBound)
        case .boolean: (low, high) = (0, 1)
        case .enumeration(let type): (low, high) = (0, Int64(type.cases.count) - 1)
        default: break
        }
    }

    /// How much there is to look through.
    var size: Int { (values?.count ?? 0) + excluded.count }

    var isEmpty: Bool {
        if low > high { return true }
        if let values { return values.isEmpty }
        let (width, overflowed) = high.subtractingReportingOverflow(low)
        // Values that were excluded one by one can be all there were.
        guard !overflowed, width < excluded.count else { return false }
        let gone = Set(excluded.compactMap { Self.number($0) })
        return (low...high).allSatisfy { gone.contains($0) }
    }

    /// True when the catalog leaves no value for which the test fails.
    static func isAlways(_ test: Test) -> Bool {
        guard let operand = test.readOperand else { return false }
        var bounds = Bounds(operand)
        bounds.narrow(by: test, isNegated: true)
        return bounds.isEmpty
    }

    /// Keeps what passes the test.
    mutating func narrow(by test: Test, isNegated: Bool) {
        switch test {
        case .oneOf(_, let list) where isNegated: for constant in list { exclude(constant) }
        case .oneOf(_, let list): keep(Set(list))
        case .compare(.constant(let constant), let comparison, _):
            compare(isNegated ? comparison.mirrored.negated : comparison.mirrored, constant)
        case .compare(_, let comparison, .constant(let constant)):
            compare(isNegated ? comparison.negated : comparison, constant)
        default: break
        }
    }

    private mutating func compare(_ comparison: Comparison, _ constant: Constant) {
        let bound = Self.number(constant)
        switch comparison {
        case .equal: keep([constant])
        case .notEqual: exclude(constant)
        case .lessOrEqual: high = min(high, bound ?? high)
        case .greaterOrEqual: low = max(low, bound ?? low)
        case .less:
            if let bound { if bound == .min { keep([]) } else { high = min(high, bound - 1) } }
        case .greater:
            if let bound { if bound == .max { keep([]) } else { low = max(low, bound + 1) } }
        }
        if let kept = values { values = kept.filter { isInRange($0) } }
    }

    private mutating func exclude(_ constant: Constant) {
        if isInRange(constant) { excluded.insert(constant) }
        values?.remove(constant)
    }

    private mutating func keep(_ set: Set<Constant>) {
        values = (values?.intersection(set) ?? set.subtracting(excluded)).filter { isInRange($0) }
    }

    private func isInRange(_ constant: Constant) -> Bool {
        Self.number(constant).map { low <= $0 && $0 <= high } ?? true
    }

    /// Values that have an order, as numbers of it.
    private static func number(_ constant: Constant) -> Int64? {
        switch constant {
        case .integer(let value), .decimal(let value), .datetime(let value), .duration(let value): value
        case .enumeration(let index): Int64(index)
        case .boolean(let value): value ? 1 : 0
        default: nil
        }
    }
}

extension Comparison {
    /// Holds exactly when this does not.
    fileprivate var negated: Comparison {
        switch self {
        case .equal: .notEqual
        case .notEqual: .equal
        case .less: .greaterOrEqual
        case .lessOrEqual: .greater
        case .greater: .lessOrEqual
        case .greaterOrEqual: .less
        }
    }
}
