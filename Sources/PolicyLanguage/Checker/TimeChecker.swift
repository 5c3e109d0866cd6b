// Instants and durations that are added and taken off: `now - resource.created > 30d`, `resource.due + 2h <= now`.
//
// A comparison of sums is brought to one form, so that the engine need not solve equations: `now` alone on the left
// where it occurs (then the moment at which the truth changes is the other side), else positive terms on both sides.

extension ValueSyntax {
    /// True when something is added or taken off.
    var isSum: Bool {
        if case .sum = form { return true }
        return false
    }
}

/// Terms of a sum, with how many instants it holds more than it takes off: 1 is an instant, 0 a duration.
private struct LinearTime {
    var terms: [SumTerm] = []
    var constant: Int64 = 0
    var instants = 0

    mutating func add(_ other: LinearTime, negated: Bool) {
        terms += other.terms.map { SumTerm($0.operand, isNegative: $0.isNegative != negated) }
        let (sum, overflowed) =
            negated
            ? constant.subtractingReportingOverflow(other.constant) : constant.addingReportingOverflow(other.constant)
        constant = overflowed ? (negated ? .min : .max) : sum
        instants += negated ? -other.instants : other.instants
    }

    /// Takes out pairs that cancel each other.
    mutating func cancel() {
        var rest: [SumTerm] = []
        for term in terms {
            if let index = rest.firstIndex(of: SumTerm(term.operand, isNegative: !term.isNegative)) {
                rest.remove(at: index)
            } else {
                rest.append(term)
            }
        }
        terms = rest
    }
}

extension PolicyChecker {
    /// A comparison in which something is added or taken off; nil when something was reported.
    mutating func timeComparison(
        _ left: ValueSyntax, _ comparison: Comparison, _ right: ValueSyntax, _ range: SourceRange,
        _ scope: ExpressionScope
    ) -> Condition? {
        guard var difference = linear(left, scope), let other = linear(right, scope) else { return nil }
        guard (0...1).contains(difference.instants), (0...1).contains(other.instants) else {
            sink.report(
                .badArithmetic, "instants are not added to one another", at: range,
                help: "take one off the other, which is a duration: `now - resource.created > 30d`")
            return nil
        }
        guard difference.instants == other.instants else {
            let (one, two) = difference.instants == 1 ? ("an instant", "a duration") : ("a duration", "an instant")
            sink.report(
                .badArithmetic, "\(one) is compared with \(two)", at: range,
                help: "the difference of two instants is a duration: `now - resource.created > 30d`")
            return nil
        }
        difference.add(other, negated: true)
        difference.cancel()
        let nows = difference.terms.filter { $0.operand == .now }
        guard nows.count <= 1 else {
            sink.report(.badArithmetic, "`now` stands more than once", at: range, help: "bring it to one side")
            return nil
        }
        guard !difference.terms.isEmpty else {
            sink.report(
                .constantComparison, "neither side is an attribute", at: range,
                help: "compare an attribute such as user.department")
            return nil
        }
        // difference op 0
        if let now = nows.first {
            let rest = difference.terms.filter { $0.operand != .now }
            let other = rest.map { SumTerm($0.operand, isNegative: $0.isNegative == now.isNegative) }
            let constant = now.isNegative ? difference.constant : saturatingNegation(difference.constant)
            return .test(
                .compare(.now, now.isNegative ? comparison.mirrored : comparison, sum(other, constant)), range)
        }
        let positive = difference.terms.filter { !$0.isNegative }
        let negative = difference.terms.filter(\.isNegative).map { SumTerm($0.operand, isNegative: false) }
        let constant = difference.constant
        return .test(
            .compare(
                sum(positive, max(constant, 0)), comparison,
                sum(negative, constant < 0 ? saturatingNegation(constant) : 0)), range)
    }

    private func saturatingNegation(_ value: Int64) -> Int64 { value == .min ? .max : -value }

    private func sum(_ terms: [SumTerm], _ constant: Int64) -> Operand {
        if terms.isEmpty { return .constant(.duration(constant)) }
        if terms.count == 1, constant == 0, !terms[0].isNegative { return terms[0].operand }
        return .sum(terms + (constant == 0 ? [] : [SumTerm(.constant(.duration(constant)), isNegative: false)]))
    }

    private mutating func linear(_ value: ValueSyntax, _ scope: ExpressionScope) -> LinearTime? {
        if case .sum(let left, let right, let subtract) = value.form {
            guard var sum = linear(left, scope), let other = linear(right, scope) else { return nil }
            sum.add(other, negated: subtract)
            return sum
        }
        guard let typed = operand(value, expecting: nil, scope) else { return nil }
        switch (typed.operand, typed.type) {
        case (.constant(.datetime(let value)), _): return LinearTime(constant: value, instants: 1)
        case (.constant(.duration(let value)), _): return LinearTime(constant: value)
        case (let operand, .datetime): return LinearTime(terms: [SumTerm(operand, isNegative: false)], instants: 1)
        case (let operand, .duration): return LinearTime(terms: [SumTerm(operand, isNegative: false)])
        default:
            sink.report(
                .badArithmetic,
                "only instants and durations are added and taken off; this is `\(spelling(typed.type))`",
                at: value.range, help: "let the application send the result as an attribute of its own")
            return nil
        }
    }

    /// `now in "Mon-Fri 08:00-18:00 Europe/Berlin"`; nil when something was reported.
    mutating func schedule(_ text: String, at place: SourceRange, _ range: SourceRange) -> Condition? {
        do throws(ScheduleError) {
            if let index = scheduleIndices[text] { return .test(.schedule(index), range) }
            let schedule = try Schedule(parsing: text, zones: &known.zones)
            scheduleIndices[text] = schedules.count
            schedules.append(schedule)
            return .test(.schedule(schedules.count - 1), range)
        } catch {
            sink.report(
                .badSchedule, error.message, at: error.place.map { place.part($0, of: text) } ?? place, help: error.help
            )
            return nil
        }
    }
}
