// What a tenant may take of the machine, as the registry keeps it.

import CBOR

/// A budget of a tenant. The raw value is its key in the registry.
package enum TenantLimit: UInt64, Sendable, Hashable, CaseIterable {
    /// Questions a second, of all connections together; a second's worth may come at once.
    case questionsPerSecond = 0
    /// Bytes of a version's files.
    case policyBytes = 1
    /// Rules of a version.
    case rules = 2
    /// Bytes of a version's compiled form.
    case treeBytes = 3
    /// Bytes of the daemon's memory: the compiled form and the questions held open.
    case memoryBytes = 4
    /// Questions held open, of all connections together.
    case openQuestions = 5
    /// Bytes of the tenant's store.
    case storeBytes = 6

    /// The word for it in commands and messages.
    package var name: String {
        switch self {
        case .questionsPerSecond: "questions-per-second"
        case .policyBytes: "policy-bytes"
        case .rules: "rules"
        case .treeBytes: "tree-bytes"
        case .memoryBytes: "memory-bytes"
        case .openQuestions: "open-questions"
        case .storeBytes: "store-bytes"
        }
    }

    /// What it bounds and what happens beyond it.
    package var explanation: String {
        switch self {
        case .questionsPerSecond: "questions a second; more are denied with budget_exceeded"
        case .policyBytes: "bytes of a version's files; a larger one is refused"
        case .rules: "rules of a version; one with more is refused"
        case .treeBytes: "bytes of a version's compiled form; a larger one is refused"
        case .memoryBytes: "bytes of stiled's memory for policies and open questions; more are refused"
        case .openQuestions: "questions held open; more are refused with too_many_subscriptions"
        case .storeBytes: "bytes of the tenant's store; changes beyond are refused with store_full"
        }
    }

    /// The least value that makes sense.
    package var least: UInt64 { self == .storeBytes ? 1 << 20 : self == .openQuestions ? 0 : 1 }
}

/// The budgets of a tenant; one that is not set does not bound.
package struct TenantLimits: Sendable, Hashable {
    private var values: [TenantLimit: UInt64] = [:]

    /// No limits.
    package init() {}

    /// The value of a limit; nil when it is not set.
    package subscript(_ limit: TenantLimit) -> UInt64? {
        get { values[limit] }
        set { values[limit] = newValue }
    }

    var cbor: CBORValue {
        .map(
            TenantLimit.allCases.compactMap { limit in
                values[limit].map { CBORPair(.unsigned(limit.rawValue), .unsigned($0)) }
            })
    }

    init(_ value: CBORValue?) {
        for limit in TenantLimit.allCases { values[limit] = value?[limit.rawValue]?.uint }
    }

    /// Why a version does not fit; nil when it does.
    /// - Parameters:
    ///   - files: bytes of its files.
    ///   - rules: rules in it.
    ///   - tree: bytes of its compiled form.
    package func problem(files: Int, rules: Int, tree: Int) -> String? {
        for (limit, value) in [
            (TenantLimit.policyBytes, files), (.rules, rules), (.treeBytes, tree), (.memoryBytes, tree),
        ] {
            if let most = values[limit], UInt64(value) > most {
                return "\(limit.name) of the tenant is \(most), and this takes \(value): make the policies smaller, "
                    + "or raise it with `stile tenant limit`"
            }
        }
        return nil
    }
}
