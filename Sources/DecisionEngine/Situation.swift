// A question and all it reads, as plain values: what the reference interpreter decides on and what an explanation
// prints. Slow on purpose; nothing of the hot path uses it.

import Memory
package import PolicyLanguage

/// A value given by a question.
package enum GivenValue: Sendable, Hashable {
    case value(Constant)
    /// Given, but of another type than the catalog declares.
    case malformed
}

/// A stored value and when it ends.
package struct StoredValue: Sendable, Hashable {
    package var value: Constant
    /// First instant (ms since the epoch) at which it is gone; `RecordLayout.forever` for none.
    package var validUntil: Int64

    package init(_ value: Constant, validUntil: Int64 = RecordLayout.forever) {
        self.value = value
        self.validUntil = validUntil
    }
}

/// The authentication that a session proves.
package struct SessionFacts: Sendable, Hashable {
    package var levels: UInt64 = 0
    package var methods: UInt32 = 0
    package var authenticatedAt: Int64?
    package var endsAt: Int64?
    package var hasEnded = false

    package init() {}
}

/// One question with its data.
package struct Situation: Sendable, Hashable {
    package var subjectType = 0
    package var subjectID = ""
    package var isSubjectKnown = true
    package var isSubjectInactive = false
    package var action = 0
    package var resourceType = 0
    package var resourceID = ""
    /// Stored values by attribute name.
    package var stored: [AttributeScope: [String: StoredValue]] = [:]
    /// Values of the question by attribute name.
    package var given: [AttributeScope: [String: GivenValue]] = [:]
    /// Indices of the policy groups the subject is in.
    package var groups: Set<Int> = []
    /// Indices of the policy containers the resource lies in.
    package var containers: Set<Int> = []
    /// Roles that the subject has taken, by name, with the first instant at which each is gone.
    package var granted: [String: Int64] = [:]
    package var session: SessionFacts?
    package var now: Int64 = 0

    package init() {}
}

extension Situation {
    /// Reads the situation back from the records of a decision.
    package init(_ inputs: borrowing DecisionInputs, _ scratch: borrowing DecisionScratch, catalog: Catalog) {
        self.init()
        subjectType = inputs.subjectType
        action = inputs.action
        resourceType = inputs.resourceType
        subjectID = inputs.subjectID.identity?.text ?? ""
        resourceID = inputs.resourceID.identity?.text ?? ""
        isSubjectKnown = !inputs.subject.isEmpty
        isSubjectInactive = inputs.subject.isInactive
        groups = scratch.groups.indices(of: inputs.subject)
        for role in inputs.subject.grantedRoles { granted[role.name] = max(role.until, granted[role.name] ?? .min) }
        containers = scratch.containers.indices(of: inputs.resource)
        now = inputs.now
        let subject = catalog.entities[subjectType].attributes
        let resource = catalog.entities[resourceType].attributes
        stored[.subject] = Self.storedValues(inputs.subject, subject)
        stored[.session] = Self.storedValues(inputs.session, catalog.entities[Catalog.session].attributes)
        stored[.device] = Self.storedValues(inputs.device, catalog.entities[Catalog.device].attributes)
        stored[.resource] = Self.storedValues(inputs.resource, resource)
        given[.subject] = Self.givenValues(inputs.subjectInQuestion, subject)
        given[.resource] = Self.givenValues(inputs.resourceInQuestion, resource)
        given[.action] = Self.givenValues(inputs.actionInQuestion, catalog.actions[action].attributes)
        given[.context] = Self.givenValues(inputs.context, catalog.context)
        if !inputs.session.isEmpty { session = SessionFacts(inputs.session, SessionSlots(catalog)) }
    }

    private static func storedValues(_ record: RecordView, _ attributes: [Attribute]) -> [String: StoredValue] {
        var values: [String: StoredValue] = [:]
        for (slot, attribute) in attributes.enumerated() where attribute.isStored {
            let validUntil = record.validUntil(slot)
            if validUntil == RecordLayout.absent { continue }
            if let value = Constant(record.payload(slot), of: attribute.type, in: record) {
                values[attribute.name] = StoredValue(value, validUntil: validUntil)
            }
        }
        return values
    }

    private static func givenValues(_ record: RecordView, _ attributes: [Attribute]) -> [String: GivenValue] {
        var values: [String: GivenValue] = [:]
        for (slot, attribute) in attributes.enumerated() where attribute.isFromRequest {
            switch record.validUntil(slot) {
            case RecordLayout.absent: continue
            case RecordLayout.malformed: values[attribute.name] = .malformed
            default:
                if let value = Constant(record.payload(slot), of: attribute.type, in: record) {
                    values[attribute.name] = .value(value)
                }
            }
        }
        return values
    }
}

extension SessionFacts {
    init(_ record: RecordView, _ slots: SessionSlots) {
        func word(_ slot: Int) -> UInt64? {
            record.validUntil(slot) == RecordLayout.forever ? record.payload(slot) : nil
        }
        levels = word(slots.levels) ?? 0
        methods = UInt32(truncatingIfNeeded: word(slots.methods) ?? 0)
        authenticatedAt = word(slots.authenticatedAt).map { Int64(bitPattern: $0) }
        endsAt = word(slots.endsAt).map { Int64(bitPattern: $0) }
        hasEnded = record.isInactive
    }
}

extension Constant {
    /// Reads a payload back; nil when the record is damaged.
    package init?(_ payload: UInt64, of type: ValueType, in record: RecordView) {
        switch type {
        case .boolean: self = .boolean(payload != 0)
        case .integer: self = .integer(Int64(bitPattern: payload))
        case .decimal: self = .decimal(Int64(bitPattern: payload))
        case .datetime: self = .datetime(Int64(bitPattern: payload))
        case .duration: self = .duration(Int64(bitPattern: payload))
        case .enumeration: self = .enumeration(Int(truncatingIfNeeded: payload))
        case .string:
            guard let text = record.string(payload) else { return nil }
            self = .string(text.text)
        case .reference(let entity):
            guard let text = record.string(payload) else { return nil }
            self = .reference(entity: entity, id: text.text)
        case .address:
            guard let address = record.address(payload) else { return nil }
            self = .address(address)
        case .set(let element):
            var values: [Constant] = []
            for index in 0..<record.setCount(payload) {
                guard let item = record.setElement(payload, index),
                    let value = Constant(item, of: element, in: record)
                else { return nil }
                values.append(value)
            }
            self = .set(values)
        }
    }
}
