// One question put to a tenant again and again, with another subject, session or resource each time: who may do this,
// what may this user do, what remains when the resource is not known. For tools; one snapshot, one instant.
//
// INVARIANT of the unsafe parts: the snapshot is held from `init` on, and the four views of a question are taken anew for each
// answer, so that none is used when the reader takes its memory back (a tenant that seals has eight at a time); the builders
// that `inputs` borrows from are only written by `ask`, `look` and the `assume` functions, which borrow anew.

package import AttributeStore
import CBOR
package import DecisionEngine
package import DecisionProtocol
import Memory
package import PolicyLanguage

/// Why a survey cannot be made.
package enum SurveyError: Error, Sendable {
    case store(StoreError)
    /// No version of the policies decides.
    case noPolicies(String)
    /// What the question says cannot be put to the policies.
    case question(String)
    /// The store does not know whom it is about.
    case unknownSubject(String)
    /// It would take more than it may.
    case tooMuchWork(String)
}

/// Questions about one tenant.
package final class TenantSurvey {
    package let compiled: CompiledTenant
    /// The instant of every question, ms since the epoch.
    package let now: Int64
    private var reader: TenantReader
    private let groups: MembershipIndex
    private let containers: MembershipIndex
    private var scratch = DecisionScratch()
    private var inputs = DecisionInputs()
    private var subjectID = RecordBuilder()
    private var resourceID = RecordBuilder()
    private var subject = RecordBuilder()
    private var resource = RecordBuilder()
    private var action = RecordBuilder()
    private var context = RecordBuilder()
    private var session = RecordBuilder()
    private var device = RecordBuilder()
    private var subjectName = ""
    private var resourceName = ""
    private var sessionName: String?
    /// The device that was named; without one the session's counts.
    private var deviceName: String?
    private var isDeviceAssumed = false
    /// What the policies were taken for (`Generations.moves`).
    private let stateGeneration: UInt64

    package var program: Program { compiled.program }
    package var catalog: Catalog { program.catalog }

    /// Takes the newest snapshot and the policies that decide on it.
    /// - Parameter board: where the policies are kept compiled; nil compiles them.
    package init(_ store: Store, tenant: String, now: Int64, board: PolicyBoard? = nil) throws(SurveyError) {
        self.now = now
        do throws(StoreError) {
            let state = try (board ?? PolicyBoard(store: store)).refresh(tenant)
            stateGeneration = state.generation
            guard let compiled = state.compiled else { throw StoreError(.versionUnknown, state.message) }
            reader = try TenantReader(store, tenant: tenant)
            try reader.renew()
            let policies = compiled.program.policies
            groups = MembershipIndex(
                pairs: try reader.groups(below: policies.groups), namedCount: compiled.program.namedCount)
            containers = MembershipIndex(
                pairs: try reader.containers(
                    below: policies.containers.map {
                        EntityName(type: compiled.program.catalog.entities[$0.type].name, id: $0.id)
                    }), namedCount: policies.containers.count)
            self.compiled = compiled
        } catch {
            throw error.code == .versionUnknown ? .noPolicies(error.message) : .store(error)
        }
    }

    // MARK: What stays the same

    /// Puts the parts of a question that it gives: subject, action, resource and context with their properties, session
    /// and device. What it leaves out stays as it is.
    package func ask(_ question: Question) throws(SurveyError) {
        let catalog = catalog
        if let given = question.action {
            guard let index = catalog.action(named: given.name) else {
                throw .question(Self.unknown("action", given.name, catalog.actions.map(\.name)))
            }
            inputs.action = index
        }
        if let given = question.resource { inputs.resourceType = try type(given.type) }
        if let given = question.subject {
            inputs.subjectType = try type(given.type)
            guard catalog.entities[inputs.subjectType].isSubject else {
                throw .question("\"\(given.type)\" is no type of subject")
            }
        }
        inputs.now = now
        let frame = question.frame(id: 1)
        let result: Result<Void, CBORError> = unsafe frame.withUnsafeBytes { bytes in
            do throws(CBORError) {
                return .success(try fill(question, unsafe CBORReader(bytes)))
            } catch {
                return .failure(error)
            }
        }
        if case .failure(let error) = result { throw .question("the question cannot be read: \(error)") }
        if let given = question.resource { look(resource: given.id) }
        if let given = question.subject { look(subject: given.id, type: inputs.subjectType) }
        if let id = question.session { try look(session: id) }
        if let id = question.device { try look(device: id) }
    }

    private func type(_ name: String) throws(SurveyError) -> Int {
        guard let type = catalog.entity(named: name) else {
            throw .question(Self.unknown("type", name, catalog.entities.map(\.name)))
        }
        return type
    }

    private static func unknown(_ what: String, _ name: String, _ known: [String]) -> String {
        "the catalog has no \(what) \"\(name)\"; it has \(known.joined(separator: ", "))"
    }

    private func fill(_ question: Question, _ frame: CBORReader) throws(CBORError) {
        var reader = frame
        let parts = try FrameHead(&reader).question
        let plans = compiled.plans
        if question.action != nil {
            action.reset(slots: plans.actions[inputs.action].count)
            try fillRecord(&action, from: parts.action.properties, in: frame, plan: plans.actions[inputs.action])
            unsafe inputs.actionInQuestion = action.borrowedView
        }
        if question.resource != nil {
            let plan = plans.entities[inputs.resourceType]
            resource.reset(slots: plan.count)
            try fillRecord(&resource, from: parts.resource.properties, in: frame, plan: plan)
            unsafe inputs.resourceInQuestion = resource.borrowedView
        }
        if question.subject != nil {
            let plan = plans.entities[inputs.subjectType]
            subject.reset(slots: plan.count)
            try fillRecord(&subject, from: parts.subject.properties, in: frame, plan: plan)
            unsafe inputs.subjectInQuestion = subject.borrowedView
        }
        context.reset(slots: plans.context.count)
        try fillRecord(&context, from: parts.context, in: frame, plan: plans.context)
        unsafe inputs.context = context.borrowedView
    }

    /// From now on every subject is asked about with this authentication instead of a session of the store.
    package func assume(session facts: SessionFacts?) {
        inputs.session = .empty
        sessionName = nil
        guard let facts else { return }
        let slots = program.sessionSlots
        session.reset(slots: slots.count)
        session.set(slots.levels, payload: facts.levels)
        session.set(slots.methods, payload: UInt64(facts.methods))
        if let instant = facts.authenticatedAt { session.set(slots.authenticatedAt, .datetime(instant)) }
        unsafe inputs.session = session.borrowedView
    }

    /// From now on every subject is asked about with a device that has these values, by attribute.
    package func assume(device values: [String: Constant]) {
        let attributes = catalog.entities[Catalog.device].attributes
        device.reset(slots: attributes.count)
        for (slot, attribute) in attributes.enumerated() {
            if let value = values[attribute.name] { device.set(slot, value) }
        }
        unsafe inputs.device = device.borrowedView
        isDeviceAssumed = true
    }

    // MARK: What changes

    /// Asks about another subject from now on; an unknown one too.
    package func look(subject id: String, type: Int) {
        inputs.subjectType = type
        subjectName = id
        subjectID.setIdentity(id)
        unsafe inputs.subjectID = subjectID.borrowedView
    }

    /// Asks about another resource of the type from now on.
    package func look(resource id: String) {
        resourceName = id
        resourceID.setIdentity(id)
        unsafe inputs.resourceID = resourceID.borrowedView
    }

    /// Asks with a session of the store from now on, and with its device unless another was named or assumed; nil for none.
    package func look(session id: String?) throws(SurveyError) {
        inputs.session = .empty
        sessionName = id
        guard let id else { return }
        let record = try view(compiled.sessionPrefix, id)
        if record.isEmpty { throw .question("the store has no session \"\(id)\"") }
        let owner = record.string(record.payload(program.sessionSlots.subject))?.text
        guard owner == "\(catalog.entities[inputs.subjectType].name)\u{0}\(subjectName)" else {
            throw .question("the session \"\(id)\" belongs to another subject")
        }
    }

    /// Asks with a device of the store from now on.
    package func look(device id: String) throws(SurveyError) {
        if try view(compiled.devicePrefix, id).isEmpty { throw .question("the store has no device \"\(id)\"") }
        deviceName = id
    }

    /// Takes the views that the question reads.
    private func load() throws(SurveyError) {
        inputs.subject = try view(compiled.viewPrefixes[inputs.subjectType], subjectName)
        scratch.groups.set(in: groups)
        inputs.resource = try view(compiled.viewPrefixes[inputs.resourceType], resourceName)
        scratch.containers.set(in: containers)
        var device = deviceName
        if let sessionName {
            inputs.session = try view(compiled.sessionPrefix, sessionName)
            let slot = program.sessionSlots.device
            if device == nil, inputs.session.validUntil(slot) == RecordLayout.forever {
                device = inputs.session.string(inputs.session.payload(slot))?.text
            }
        }
        if isDeviceAssumed { return }
        inputs.device = .empty
        if let device { inputs.device = try view(compiled.devicePrefix, device) }
    }

    private func view(_ prefix: ViewPrefix, _ id: String) throws(SurveyError) -> RecordView {
        let bytes = Array(id.utf8)
        let result: Result<RecordView, StoreError> = unsafe bytes.withUnsafeBytes { bytes in
            do throws(StoreError) {
                return .success(try unsafe reader.view(prefix, id: bytes))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let view): return view
        case .failure(let error): throw .store(error)
        }
    }

    // MARK: Answers

    /// The answer to the question as it stands; without duties.
    package func decide() throws(SurveyError) -> Answer {
        try load()
        let verdict = program.decide(inputs, &scratch)
        let outcome: Outcome = verdict.kind == .permitted ? .permit : verdict.kind == .stepUp ? .stepUp : .deny
        var answer = Answer(outcome: outcome, kind: AnswerKind(rawValue: UInt64(verdict.kind.rawValue)) ?? .error)
        answer.policyVersion = compiled.version
        answer.snapshot = reader.snapshot
        answer.evaluatedAt = UInt64(max(0, now))
        if verdict.kind != .error, verdict.validUntil != .max { answer.validUntil = UInt64(max(0, verdict.validUntil)) }
        let rules = scratch.rules.array
        if !rules.isEmpty {
            let policies = program.policies
            answer.rules = rules.map { CompiledTenant.reference(policies.rules[Int($0)], policies.files) }
        }
        if verdict.cause != .rules { answer.cause = AnswerWriter.cause(verdict, compiled) }
        if verdict.kind == .stepUp { answer.stepUp = AnswerWriter.stepUp(verdict, catalog) }
        return answer
    }

    /// Whether the subject as it stands may take a role, an index of the policies', for so long.
    package func takes(_ role: Int, for duration: Int64?) throws(SurveyError) -> RoleVerdict {
        try load()
        return program.takes(role, for: duration, inputs, &scratch)
    }

    /// What the answers rest on; nil when another version was activated between policies and snapshot.
    package func basis() throws(SurveyError) -> DecisionBasis? {
        do throws(StoreError) {
            let generations = try reader.generations()
            guard generations.moves == stateGeneration else { return nil }
            var read = [EntityName(type: catalog.entities[inputs.subjectType].name, id: subjectName)]
            if let sessionName { read.append(EntityName(type: "session", id: sessionName)) }
            if let id = deviceName ?? sessionDevice { read.append(EntityName(type: "device", id: id)) }
            return DecisionBasis(
                sequence: try reader.lastSequence(), generations: generations, entities: read)
        } catch {
            throw .store(error)
        }
    }

    /// The device that the session names.
    private var sessionDevice: String? {
        let slot = program.sessionSlots.device
        guard sessionName != nil, inputs.session.validUntil(slot) == RecordLayout.forever else { return nil }
        return inputs.session.string(inputs.session.payload(slot))?.text
    }

    /// The question as it stands with all it reads.
    package func situation() throws(SurveyError) -> Situation {
        try load()
        return Situation(inputs, scratch, catalog: catalog)
    }

    // MARK: Lists

    /// Provisioned entities of a type.
    package func count(type: Int) throws(SurveyError) -> Int {
        do throws(StoreError) {
            return try reader.entityCount(layout: compiled.layout, type: catalog.entities[type].name)
        } catch {
            throw .store(error)
        }
    }

    /// Ids of the provisioned entities of a type in order, after one.
    package func ids(type: Int, after: String?, limit: Int) throws(SurveyError) -> [String] {
        do throws(StoreError) {
            return try reader.entityIDs(
                layout: compiled.layout, type: catalog.entities[type].name, after: after, limit: limit)
        } catch {
            throw .store(error)
        }
    }

    /// Ids of the sessions that have not ended, by their subject; those of one subject alone when it is named. Read from the
    /// views, as a decision does: a store has as many sessions as people.
    /// - Parameter limit: sessions that may be looked at.
    /// - Throws: `tooMuchWork` when there are more.
    package func liveSessions(
        of wanted: EntityName? = nil, lookingAt limit: Int = .max
    ) throws(SurveyError) -> [EntityName: [String]] {
        let slots = program.sessionSlots
        let owner = wanted.map { "\($0.type)\u{0}\($0.id)" }
        var sessions: [EntityName: [String]] = [:]
        var after: String?
        var looked = 0
        while true {
            let page = try ids(type: Catalog.session, after: after, limit: 1_000)
            looked += page.count
            if looked > limit {
                throw .tooMuchWork("the store has more than \(limit) sessions to look through: say with which to ask")
            }
            for id in page {
                let record = try view(compiled.sessionPrefix, id)
                let hasEnd = record.validUntil(slots.endsAt) == RecordLayout.forever
                if hasEnd, Int64(bitPattern: record.payload(slots.endsAt)) <= now { continue }
                guard record.validUntil(slots.subject) == RecordLayout.forever,
                    let name = record.string(record.payload(slots.subject))?.text, owner == nil || owner == name,
                    let subject = Self.entity(name)
                else { continue }
                sessions[subject, default: []].append(id)
            }
            guard page.count == 1_000, let last = page.last else { return sessions }
            after = last
        }
    }

    /// `type`, NUL, `id` as a name.
    private static func entity(_ text: String) -> EntityName? {
        let parts = text.split(separator: "\u{0}", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? EntityName(type: String(parts[0]), id: String(parts[1])) : nil
    }
}
