// Questions about any policies: their own constants, values beside them, and none.

import DecisionEngine
import PolicyLanguage

struct Questions {
    private let policies: CheckedPolicies
    private var state: UInt64
    /// Constants of the conditions.
    private var pool: [Constant] = []
    private let cells: [(subject: Int, action: Int, resource: Int)]

    /// - Parameter seed: the same text asks the same questions.
    init(_ policies: CheckedPolicies, seed: String) {
        self.policies = policies
        state = seed.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let catalog = policies.catalog
        var cells: [(subject: Int, action: Int, resource: Int)] = []
        for rule in policies.rules.prefix(20) {
            for subject in rule.subjectTypes.prefix(3) {
                for action in (rule.actions ?? Array(catalog.actions.indices)).prefix(3) {
                    for resource in (rule.resourceTypes ?? catalog.actions[action].resourceTypes).prefix(3) {
                        cells.append((subject, action, resource))
                    }
                }
            }
        }
        self.cells = cells
        for condition in policies.rules.prefix(50).map(\.condition) + policies.roles.prefix(20).map(\.condition) {
            condition.forEachTest { test in
                if pool.count > 200 { return }
                test.forEachOperand { if case .constant(let constant) = $0 { add(constant) } }
                if case .oneOf(_, let constants) = test { for constant in constants.prefix(5) { add(constant) } }
                if case .like(_, let pattern) = test { pool.append(.string(pattern.parts.joined(separator: "x"))) }
            }
        }
    }

    private mutating func add(_ constant: Constant) {
        pool.append(constant)
        if case .set(let constants) = constant { pool += constants.prefix(5) }
    }

    /// The next question; nil when the policies are about none.
    mutating func next() -> Situation? {
        if cells.isEmpty { return nil }
        let catalog = policies.catalog
        let cell = cells[below(cells.count)]
        var situation = Situation()
        (situation.subjectType, situation.action, situation.resourceType) = cell
        situation.subjectID = below(2) == 0 ? "one" : "two"
        situation.resourceID = below(2) == 0 ? "one" : "two"
        situation.now = instant()
        let attributes: [(AttributeScope, [Attribute])] = [
            (.subject, catalog.entities[cell.subject].attributes),
            (.session, catalog.entities[Catalog.session].attributes),
            (.device, catalog.entities[Catalog.device].attributes),
            (.resource, catalog.entities[cell.resource].attributes),
            (.action, catalog.actions[cell.action].attributes), (.context, catalog.context),
        ]
        for (scope, list) in attributes {
            for attribute in list {
                if attribute.isStored, below(3) > 0 {
                    let end = below(4) == 0 ? situation.now + Int64(below(3)) - 1 : RecordLayout.forever
                    situation.stored[scope, default: [:]][attribute.name] = StoredValue(
                        value(attribute.type), validUntil: end)
                }
                if attribute.isFromRequest, scope != .session, scope != .device, below(8) > 0 {
                    situation.given[scope, default: [:]][attribute.name] =
                        below(40) == 0 ? .malformed : .value(value(attribute.type))
                }
            }
        }
        for group in policies.groups.indices.prefix(64) where below(2) == 0 { situation.groups.insert(group) }
        let possible = catalog.containers(above: cell.resource)
        for (index, container) in policies.containers.enumerated().prefix(64)
        where possible.contains(container.type) && below(2) == 0 { situation.containers.insert(index) }
        if below(4) > 0 { situation.session = session(situation.now) } else { situation.stored[.session] = nil }
        return situation
    }

    private mutating func session(_ now: Int64) -> SessionFacts {
        var session = SessionFacts()
        let levels = policies.catalog.assurance.implied
        if !levels.isEmpty, below(4) > 0 { session.levels = levels[below(levels.count)] }
        session.methods = UInt32(below(1 << 12))
        if below(4) > 0 { session.authenticatedAt = now - Int64(below(5)) * 450_000 }
        return session
    }

    private mutating func instant() -> Int64 {
        for constant in pool {
            if case .datetime(let value) = constant, below(3) == 0 { return min(max(value, 0), 253_402_300_799_999) }
        }
        return 1_767_614_400_000 + Int64(below(14)) * 43_200_000
    }

    private mutating func value(_ type: ValueType) -> Constant {
        let fitting = pool.filter { $0.fits(type) }
        if !fitting.isEmpty, below(4) > 0 {
            let constant = fitting[below(fitting.count)]
            guard below(3) == 0, let beside = constant.beside(Int64(below(3)) - 1), beside.fits(type) else {
                return constant
            }
            return beside
        }
        switch type {
        case .boolean: return .boolean(below(2) == 0)
        case .integer(let range): return .integer(range?.lowerBound ?? Int64(below(7)) - 3)
        case .decimal: return .decimal(Int64(below(5)) * 500_000)
        case .string: return .string(["", "a", "Finance"][below(3)])
        case .enumeration(let type): return .enumeration(below(type.cases.count))
        case .datetime: return .datetime(1_767_614_400_000 + Int64(below(5) - 2) * 3_600_000)
        case .duration: return .duration(Int64(below(5)) * 1_800_000)
        case .address: return .address(IPAddress(high: 0, low: 0xffff_0a00_0000 + UInt64(below(1 << 12))))
        case .reference(let entity): return .reference(entity: entity, id: below(2) == 0 ? "one" : "two")
        case .set(let element): return .set((0..<below(4)).map { _ in value(element) })
        }
    }

    private mutating func below(_ count: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(count))
    }
}

extension Constant {
    /// The store and the socket would take it for a value of the type.
    fileprivate func fits(_ type: ValueType) -> Bool {
        switch (self, type) {
        case (.boolean, .boolean), (.decimal, .decimal), (.string, .string), (.datetime, .datetime),
            (.duration, .duration), (.address, .address):
            true
        case (.integer(let value), .integer(let range)): range?.contains(value) ?? true
        case (.enumeration(let index), .enumeration(let type)): type.cases.indices.contains(index)
        case (.reference(let entity, _), .reference(let other)): entity == other
        case (.set(let constants), .set(let element)): constants.allSatisfy { $0.fits(element) }
        default: false
        }
    }

    /// The value some steps on.
    fileprivate func beside(_ steps: Int64) -> Constant? {
        func add(_ value: Int64) -> Int64? {
            let (sum, overflowed) = value.addingReportingOverflow(steps)
            return overflowed ? nil : sum
        }
        switch self {
        case .integer(let value): return add(value).map { .integer($0) }
        case .decimal(let value): return add(value).map { .decimal($0) }
        case .datetime(let value): return add(value).map { .datetime($0) }
        case .duration(let value): return add(value).map { .duration($0) }
        default: return nil
        }
    }
}
