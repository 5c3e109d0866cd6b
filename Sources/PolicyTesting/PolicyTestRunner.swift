// Runs the `test` blocks of policy files: the compiled program answers, as it does in the daemon; the reference says the
// same beside it and takes down what it looked at.

package import DecisionEngine
import Memory
import PolicyAnalysis
package import PolicyLanguage

/// How one test went.
package struct PolicyTestResult: Sendable {
    package var test: PolicyTest
    package var passed: Bool
    /// What was answered, in words: `deny, forbidden by Payroll#3`.
    package var found: String
    /// The kind of the answer.
    package var kind: VerdictKind
    /// The rules that decided, by index.
    package var rules: [Int]
    /// How long it took, with what the reference took.
    package var duration: Duration
}

/// All tests of a tenant, run.
package struct PolicyTestRun: Sendable {
    /// In the order of the text.
    package var results: [PolicyTestResult]
    package var coverage: PolicyCoverage

    package init(results: [PolicyTestResult], coverage: PolicyCoverage) {
        self.results = results
        self.coverage = coverage
    }

    package var failed: [PolicyTestResult] { results.filter { !$0.passed } }
}

/// Runs tests.
package struct PolicyTestRunner {
    private let program: Program
    private let interpreter: Interpreter

    package init(_ program: Program) {
        self.program = program
        interpreter = Interpreter(program.policies)
    }

    /// Runs every test of the policies.
    /// - Parameters:
    ///   - now: the instant for tests that give none, ms since the epoch.
    ///   - steps: what finding outcomes that cannot be may take (`ConditionReach`); by default a second or
    ///     two in release.
    package func run(now: Int64, steps: Int = 100_000_000) -> PolicyTestRun {
        var matched = Set<Int>()
        let record = ConditionRecord()
        let results = program.policies.tests.map { test in
            decide(test, now: test.now ?? now, record, &matched)
        }
        return PolicyTestRun(
            results: results, coverage: PolicyCoverage(program.policies, matched: matched, record, steps: steps)
        )
    }

    private func decide(
        _ test: PolicyTest, now: Int64, _ record: ConditionRecord, _ matched: inout Set<Int>
    ) -> PolicyTestResult {
        let start = ContinuousClock.now
        var records = TestRecords(test, program.policies, now: now)
        var scratch = DecisionScratch()
        let names = program.policies.groups
        let taken = program.takeable.indices.filter { test.granted.contains(program.takeable[$0]) }
        scratch.groups.set(
            test.groups.compactMap { names.firstIndex(of: $0) }, count: names.count, taken: Array(taken))
        let containers = program.policies.containers
        scratch.containers.set(
            test.containers.compactMap { containers.firstIndex(of: $0) }, count: containers.count)
        var verdict = Verdict(kind: .error)
        var reference: ReferenceVerdict?
        records.withInputs { inputs in
            verdict = program.decide(inputs, &scratch)
            let situation = Situation(inputs, scratch, catalog: program.catalog)
            reference = interpreter.decide(situation, recording: record)
        }
        for rules in (reference?.matching ?? [:]).values { matched.formUnion(rules) }
        let isSame = reference.map { verdict.agrees(with: $0) } ?? false
        var found = words(verdict, scratch.rules.array)
        if !isSame { found += "; the reference says otherwise, which is a defect of Stile: please report it" }
        return PolicyTestResult(
            test: test, passed: isSame && isExpected(verdict, test.expected), found: found, kind: verdict.kind,
            rules: scratch.rules.array.map { Int($0) }, duration: ContinuousClock.now - start)
    }

    private func isExpected(_ verdict: Verdict, _ expected: Expectation) -> Bool {
        switch expected {
        case .permit: verdict.kind == .permitted
        case .deny: verdict.kind == .forbidden || verdict.kind == .notPermitted
        case .error: verdict.kind == .error
        case .stepUp(let demand): verdict.kind == .stepUp && (demand.map { $0 == verdict.demand } ?? true)
        }
    }

    private func words(_ verdict: Verdict, _ rules: [UInt32]) -> String {
        let names = rules.map { program.policies.rules[Int($0)].name }.joined(separator: ", ")
        switch verdict.kind {
        case .permitted: return "permit by \(names)"
        case .forbidden: return verdict.cause == .rules ? "deny, forbidden by \(names)" : "deny, \(verdict.cause)"
        case .notPermitted:
            return verdict.cause == .rules ? "deny, nothing permits" : "deny, no level can meet the demand of \(names)"
        case .stepUp:
            let demand = DemandByName(verdict.demand, level: verdict.level, program.catalog.assurance)
            return "step_up \(demand.asked(program.catalog.assurance)) by \(names)"
        case .error:
            let names = program.operandNames
            let attribute = names.indices.contains(verdict.attribute) ? names[verdict.attribute] : nil
            return "error, \(verdict.cause)" + (attribute.map { " \($0.scope).\($0.name)" } ?? "")
        }
    }
}

extension Verdict {
    /// Whether both decided alike. Of several faulty attributes each may name another one.
    fileprivate func agrees(with reference: ReferenceVerdict) -> Bool {
        if kind != reference.kind { return false }
        if kind == .error { return true }
        return cause == reference.cause && demand == reference.demand && level == reference.level
    }
}

extension Expectation {
    /// As it is written after `expect`.
    package func text(_ assurance: Assurance) -> String {
        switch self {
        case .permit: "permit"
        case .deny: "deny"
        case .error: "error"
        case .stepUp(nil): "step_up"
        case .stepUp(let demand?): "step_up \(DemandByName(demand, level: -1, assurance).asked(assurance))"
        }
    }
}

/// The records of a test.
private struct TestRecords: ~Copyable {
    private var subject = RecordBuilder()
    private var subjectID = RecordBuilder()
    private var resourceID = RecordBuilder()
    private var session = RecordBuilder()
    private var device = RecordBuilder()
    private var resource = RecordBuilder()
    private var action = RecordBuilder()
    private var context = RecordBuilder()
    private var inputs = DecisionInputs()
    private let hasSession: Bool

    init(_ test: PolicyTest, _ policies: CheckedPolicies, now: Int64) {
        let catalog = policies.catalog
        hasSession = test.session != nil
        inputs.subjectType = test.subjectType
        inputs.action = test.action
        inputs.resourceType = test.resourceType
        inputs.now = now
        func fill(_ builder: inout RecordBuilder, _ values: [Int: Constant], _ count: Int) {
            builder.reset(slots: count)
            for (slot, value) in values.sorted(by: { $0.key < $1.key }) { builder.set(slot, value) }
        }
        subjectID.setIdentity(test.subjectID)
        resourceID.setIdentity(test.resourceID)
        let subjectCount = catalog.entities[test.subjectType].attributes.count
        let resourceCount = catalog.entities[test.resourceType].attributes.count
        fill(&subject, test.subject, subjectCount + test.granted.count)
        subject.setGranted(
            test.granted.map { GrantedRole(name: policies.roles[$0].name, until: RecordLayout.forever) })
        fill(&device, test.device ?? [:], catalog.entities[Catalog.device].attributes.count)
        fill(&resource, test.resource, resourceCount)
        fill(&action, test.actionProperties, catalog.actions[test.action].attributes.count)
        fill(&context, test.context, catalog.context.count)
        let slots = SessionSlots(catalog)
        fill(&session, test.session?.attributes ?? [:], slots.count)
        if let given = test.session {
            session.set(slots.levels, payload: given.level.map { catalog.assurance.implied[$0] } ?? 0)
            session.set(slots.methods, payload: UInt64(given.methods))
            session.set(slots.authenticatedAt, .datetime(now - given.age))
        }
    }

    mutating func withInputs(_ body: (DecisionInputs) -> Void) {
        var inputs = inputs
        let hasSession = hasSession
        subject.withView { subject in
            subjectID.withView { subjectID in
                resourceID.withView { resourceID in
                    session.withView { session in
                        device.withView { device in
                            resource.withView { resource in
                                action.withView { action in
                                    context.withView { context in
                                        inputs.subject = subject
                                        inputs.subjectID = subjectID
                                        inputs.resourceID = resourceID
                                        inputs.subjectInQuestion = subject
                                        inputs.session = hasSession ? session : .empty
                                        inputs.device = device
                                        inputs.resource = resource
                                        inputs.resourceInQuestion = resource
                                        inputs.actionInQuestion = action
                                        inputs.context = context
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
