// Boolean formulas with shared parts: conjunctions and negations over inputs. Equal formulas become one signal, so that
// much of what is equal is found equal without any search.

/// An input, a conjunction, a constant, or the negation of one.
struct Signal: Hashable, Comparable, Sendable {
    /// `node << 1`, plus 1 when negated.
    let code: Int32

    static let yes = Signal(code: 0)
    static let no = Signal(code: 1)

    init(code: Int32) { self.code = code }
    init(_ truth: Bool) { code = truth ? 0 : 1 }

    var node: Int { Int(code >> 1) }
    var isNegated: Bool { code & 1 == 1 }
    var isConstant: Bool { code <= 1 }

    static prefix func ! (signal: Signal) -> Signal { Signal(code: signal.code ^ 1) }
    static func < (left: Signal, right: Signal) -> Bool { left.code < right.code }
}

/// Makes signals.
final class Circuit {
    private enum Node {
        case constant
        case input
        case all([Signal])
    }

    private let budget: WorkBudget
    private var nodes: [Node] = [.constant]
    private var known: [[Signal]: Signal] = [:]
    /// Conjunctions of conjunctions are joined up to this many parts.
    private static let maxJoined = 64

    init(_ budget: WorkBudget) { self.budget = budget }

    var count: Int { nodes.count }

    func input() -> Signal {
        nodes.append(.input)
        return Signal(code: Int32(nodes.count - 1) << 1)
    }

    /// The parts of a conjunction; nil for inputs and constants.
    func parts(of node: Int) -> [Signal]? {
        if case .all(let parts) = nodes[node] { return parts }
        return nil
    }

    func all(_ signals: [Signal]) -> Signal {
        var parts: [Signal] = []
        parts.reserveCapacity(signals.count)
        for signal in signals {
            if signal == .no { return .no }
            if signal == .yes { continue }
            if !signal.isNegated, case .all(let inner) = nodes[signal.node],
                inner.count + parts.count <= Self.maxJoined
            {
                parts += inner
            } else {
                parts.append(signal)
            }
        }
        parts.sort()
        budget.spend(1 + parts.count)
        var kept: [Signal] = []
        for part in parts {
            if part == kept.last { continue }
            if let last = kept.last, last == !part { return .no }
            kept.append(part)
        }
        kept = absorbed(kept)
        if kept.isEmpty { return .yes }
        if kept.count == 1 { return kept[0] }
        if let signal = known[kept] { return signal }
        nodes.append(.all(kept))
        let signal = Signal(code: Int32(nodes.count - 1) << 1)
        known[kept] = signal
        return signal
    }

    /// Leaves out alternatives of which one stands in the conjunction itself: `a and (a or b)` is `a`.
    private func absorbed(_ parts: [Signal]) -> [Signal] {
        guard parts.contains(where: { $0.isNegated && self.parts(of: $0.node) != nil }) else { return parts }
        let present = Set(parts)
        return parts.filter { part in
            guard part.isNegated, let inner = self.parts(of: part.node) else { return true }
            return !inner.contains { present.contains(!$0) }
        }
    }

    func any(_ signals: [Signal]) -> Signal { !all(signals.map { !$0 }) }

    func same(_ left: Signal, _ right: Signal) -> Signal {
        if left == right { return .yes }
        if left == !right { return .no }
        if left.isConstant { return left == .yes ? right : !right }
        if right.isConstant { return right == .yes ? left : !left }
        return all([!all([left, !right]), !all([!left, right])])
    }

    func implies(_ premise: Signal, _ conclusion: Signal) -> Signal { !all([premise, !conclusion]) }

    /// The inputs that signals depend on, ascending.
    func support(_ signals: [Signal]) -> [Int] {
        var seen = Set<Int>()
        var pending = signals.map(\.node)
        var inputs: [Int] = []
        while let node = pending.popLast() {
            guard seen.insert(node).inserted else { continue }
            switch nodes[node] {
            case .constant: break
            case .input: inputs.append(node)
            case .all(let parts): pending += parts.map(\.node)
            }
        }
        return inputs.sorted()
    }

    /// The truth of a signal under a truth of the inputs.
    func evaluate(_ signal: Signal, _ memo: inout [Int: Bool], _ inputs: (Int) -> Bool) -> Bool {
        var pending = [signal.node]
        while let node = pending.last {
            if memo[node] != nil {
                pending.removeLast()
                continue
            }
            switch nodes[node] {
            case .constant: memo[node] = true
            case .input: memo[node] = inputs(node)
            case .all(let parts):
                let open = parts.filter { memo[$0.node] == nil }.map(\.node)
                if open.isEmpty {
                    memo[node] = parts.allSatisfy { memo[$0.node] == !$0.isNegated }
                } else {
                    pending += open
                }
            }
        }
        return memo[signal.node] == !signal.isNegated
    }
}
