// Puts a situation into records, as the store and the socket would, and decides it by the compiled program: for tools
// and tests, which have situations; the hot path has records.

import Memory
import PolicyLanguage

/// What the program says of a situation.
package struct SituationOutcome: Sendable {
    package var verdict: Verdict
    /// The rules that decided, by index.
    package var rules: [Int]
    /// The obligations that go with the answer, by index.
    package var obligations: [Int]
}

extension Program {
    /// Decides a situation.
    /// - Parameter groups: the subject's direct memberships and the index that leads from them to the policies' groups;
    ///   nil takes the situation's groups as they are.
    package func decide(
        _ situation: Situation, _ scratch: inout DecisionScratch,
        groups: (direct: [UInt32], index: MembershipIndex)? = nil
    ) -> SituationOutcome {
        var records = SituationRecords(situation, self, groups: groups?.direct ?? [])
        if let groups {
            scratch.groups.set(in: groups.index)
        } else {
            let taken = takeable.indices.filter {
                (situation.granted[policies.roles[takeable[$0]].name] ?? .min) > situation.now
            }
            scratch.groups.set(situation.groups.sorted(), count: policies.groups.count, taken: taken)
        }
        scratch.containers.set(situation.containers.sorted(), count: policies.containers.count)
        var verdict = Verdict(kind: .error)
        records.withInputs(situation) { inputs in verdict = decide(inputs, &scratch) }
        // Where the groups are given, nobody looks at the ends of the roles beside them.
        if groups == nil, verdict.kind != .error {
            for until in situation.granted.values where until > situation.now {
                verdict.validUntil = min(verdict.validUntil, until)
            }
        }
        return SituationOutcome(
            verdict: verdict, rules: scratch.rules.array.map { Int($0) },
            obligations: scratch.obligations.array.map { Int($0) })
    }

    /// Decides whether the subject of a situation may take a role.
    package func takes(
        _ role: Int, for duration: Int64?, _ situation: Situation, _ scratch: inout DecisionScratch
    ) -> RoleVerdict {
        var records = SituationRecords(situation, self, groups: [])
        scratch.groups.set(situation.groups.sorted(), count: policies.groups.count)
        scratch.containers.clear()
        var verdict = RoleVerdict(Verdict(kind: .error))
        records.withInputs(situation) { inputs in verdict = takes(role, for: duration, inputs, &scratch) }
        return verdict
    }
}

/// The records of a situation.
private struct SituationRecords: ~Copyable {
    private var subjectID = RecordBuilder()
    private var resourceID = RecordBuilder()
    private var subject = RecordBuilder()
    private var subjectInQuestion = RecordBuilder()
    private var session = RecordBuilder()
    private var device = RecordBuilder()
    private var resource = RecordBuilder()
    private var resourceInQuestion = RecordBuilder()
    private var action = RecordBuilder()
    private var context = RecordBuilder()

    init(_ situation: Situation, _ program: Program, groups: [UInt32]) {
        let catalog = program.catalog
        let subjectAttributes = catalog.entities[situation.subjectType].attributes
        let resourceAttributes = catalog.entities[situation.resourceType].attributes
        let granted = situation.granted.sorted { $0.key < $1.key }.map { GrantedRole(name: $0.key, until: $0.value) }
        fill(
            &subject, situation.stored[.subject], subjectAttributes, inactive: situation.isSubjectInactive,
            further: granted.count)
        subject.setGroups(groups)
        subject.setGranted(granted)
        fill(&device, situation.stored[.device], catalog.entities[Catalog.device].attributes)
        fill(&resource, situation.stored[.resource], resourceAttributes)
        fill(&subjectInQuestion, situation.given[.subject], subjectAttributes)
        fill(&resourceInQuestion, situation.given[.resource], resourceAttributes)
        subjectID.setIdentity(situation.subjectID)
        resourceID.setIdentity(situation.resourceID)
        fill(&action, situation.given[.action], catalog.actions[situation.action].attributes)
        fill(&context, situation.given[.context], catalog.context)
        fillSession(&session, situation, catalog)
    }

    mutating func withInputs(_ situation: Situation, _ body: (DecisionInputs) -> Void) {
        subject.withView { subjectView in
            subjectInQuestion.withView { subjectQuestion in
                session.withView { sessionView in
                    device.withView { deviceView in
                        resource.withView { resourceView in
                            resourceInQuestion.withView { resourceQuestion in
                                action.withView { actionView in
                                    context.withView { contextView in
                                        var inputs = DecisionInputs()
                                        inputs.subjectType = situation.subjectType
                                        inputs.action = situation.action
                                        inputs.resourceType = situation.resourceType
                                        // The builders lie still until this returns.
                                        unsafe inputs.subjectID = subjectID.borrowedView
                                        unsafe inputs.resourceID = resourceID.borrowedView
                                        inputs.subject = situation.isSubjectKnown ? subjectView : .empty
                                        inputs.subjectInQuestion = subjectQuestion
                                        inputs.session = situation.session == nil ? .empty : sessionView
                                        inputs.device = situation.stored[.device] == nil ? .empty : deviceView
                                        inputs.resource = situation.stored[.resource] == nil ? .empty : resourceView
                                        inputs.resourceInQuestion = resourceQuestion
                                        inputs.actionInQuestion = actionView
                                        inputs.context = contextView
                                        inputs.now = situation.now
                                        body(inputs)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

private func fill(
    _ builder: inout RecordBuilder, _ values: [String: StoredValue]?, _ attributes: [Attribute], inactive: Bool = false,
    further: Int = 0
) {
    builder.reset(slots: attributes.count + further, flags: inactive ? RecordLayout.inactive : 0)
    for (slot, attribute) in attributes.enumerated() {
        if let stored = values?[attribute.name] { builder.set(slot, stored.value, validUntil: stored.validUntil) }
    }
}

private func fill(
    _ builder: inout RecordBuilder, _ values: [String: GivenValue]?, _ attributes: [Attribute]
) {
    builder.reset(slots: attributes.count)
    for (slot, attribute) in attributes.enumerated() {
        switch values?[attribute.name] {
        case .value(let value): builder.set(slot, value)
        case .malformed: builder.setMalformed(slot)
        case nil: break
        }
    }
}

private func fillSession(_ builder: inout RecordBuilder, _ situation: Situation, _ catalog: Catalog) {
    let slots = SessionSlots(catalog)
    builder.reset(slots: slots.count, flags: situation.session?.hasEnded == true ? RecordLayout.inactive : 0)
    for (slot, attribute) in catalog.entities[Catalog.session].attributes.enumerated() {
        if let stored = situation.stored[.session]?[attribute.name] {
            builder.set(slot, stored.value, validUntil: stored.validUntil)
        }
    }
    guard let session = situation.session else { return }
    builder.set(slots.levels, payload: session.levels)
    builder.set(slots.methods, payload: UInt64(session.methods))
    if let instant = session.authenticatedAt { builder.set(slots.authenticatedAt, .datetime(instant)) }
    if let instant = session.endsAt { builder.set(slots.endsAt, .datetime(instant)) }
}
