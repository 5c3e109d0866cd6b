// Runs the `test` blocks of policy files on the compiled program.

package import DecisionEngine
package import PolicyLanguage

/// How one test went.
package struct PolicyTestResult: Sendable {
    package var test: PolicyTest
    package var passed: Bool
    /// What was answered, in words: `deny (forbidden by Payroll#3)`.
    package var found: String
}

/// Runs tests.
package struct PolicyTestRunner {
    private let program: Program

    package init(_ program: Program) { self.program = program }

    /// Runs every test of the policies.
    /// - Parameters:
    ///   - now: the instant for tests that give none, ms since the epoch.
    ///   - covered: the rules that matched in any test, by index.
    package func run(now: Int64) -> (results: [PolicyTestResult], covered: Set<Int>) {
        var covered = Set<Int>()
        let interpreter = Interpreter(program.policies)
        let results = program.policies.tests.map { test in
            decide(test, now: test.now ?? now, interpreter, &covered)
        }
        return (results, covered)
    }

    private func decide(
        _ test: PolicyTest, now: Int64, _ interpreter: Interpreter, _ covered: inout Set<Int>
    ) -> PolicyTestResult {
        var records = TestRecords(test, program.catalog, now: now)
        var scratch = DecisionScratch()
        let names = program.policies.groups
        scratch.groups.set(test.groups.compactMap { names.firstIndex(of: $0) }, count: names.count)
        let containers = program.policies.containers
        scratch.containers.set(
            test.containers.compactMap { containers.firstIndex(of: $0) }, count: containers.count)
        var verdict = Verdict(kind: .error)
        var found: Set<Int> = []
        records.withInputs { inputs in
            verdict = program.decide(inputs, &scratch)
            let situation = Situation(inputs, scratch, catalog: program.catalog)
            for (index, rule) in program.policies.rules.enumerated()
            where interpreter.applies(rule, situation) && interpreter.holds(rule.condition, situation) {
                found.insert(index)
            }
        }
        covered.formUnion(found)
        return PolicyTestResult(
            test: test, passed: isExpected(verdict, test.expected), found: words(verdict, scratch.rules))
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
        case .notPermitted: return "deny, nothing permits"
        case .stepUp:
            let level = verdict.level >= 0 ? program.catalog.assurance.levels[verdict.level] : "any level"
            return "step_up to \(level) by \(names)"
        case .error:
            let names = program.operandNames
            let attribute = names.indices.contains(verdict.attribute) ? names[verdict.attribute] : nil
            return "error, \(verdict.cause)" + (attribute.map { " \($0.scope).\($0.name)" } ?? "")
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

    init(_ test: PolicyTest, _ catalog: Catalog, now: Int64) {
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
        fill(&subject, test.subject, subjectCount)
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
