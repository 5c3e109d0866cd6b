// What is wrong with policies, and whether they may decide: told without storing them.

import AttributeStore
import Credentials
import DecisionEngine
import GatewayCore
import HTTPTypes
import Hummingbird
import LanguageTools
import PolicyAnalysis
import PolicyLanguage
import PolicyTesting
import StrictJSON

/// Reviews of policies.
enum ReviewOperations {
    static let all: [Operation] = [validate]

    private static let review = Schema.named(
        "PolicyReview",
        .object([
            .required("valid", .boolean.described("The policies check and compile.")),
            .required("acceptable", .boolean.described("They may be activated: tests and coverage included.")),
            .required(
                "diagnostics",
                .array(Shapes.diagnostic, atMost: Shapes.maxDiagnostics).described(
                    "As `stile check --json` tells them, with what the solver proves: rules that no question matches, "
                        + "conditions that are always true, and so on.")),
            .required(
                "unsettled",
                .integer(0...Int.max).described(
                    "Rules, roles, offers, duties and tests' questions that the solver did not come to terms with in the "
                        + "time given: of these nothing is told.")),
            .required("tests", .array(Shapes.testResult, atMost: 100_000)),
            .required("rules", .integer(0...LanguageLimits.maxRules)),
            .required("rule_coverage", .integer(0...100)),
            .required("condition_coverage", .integer(0...100)),
            .required("uncovered", .array(.text(0...5_000), atMost: LanguageLimits.maxRules)),
            .required(
                "uncovered_conditions",
                .array(Shapes.uncoveredCondition, atMost: Shapes.maxUncovered).described(
                    "Outcomes of atomic conditions that no test has shown, the first \(Shapes.maxUncovered) of them.")),
            .required("compiled_bytes", .integer(0...Int.max)),
        ]))

    /// Seconds that the solver may look for warnings.
    private static let patience = 2

    private static let validate = Operation(
        "validatePolicies", "Policies", .post, PolicyOperations.base + "/policies/validate",
        roles: [.tenantAdmin, .auditor], "Check, compile and test policies without storing them.",
        parameters: [
            TenantOperations.path,
            .query(
                "seconds", .integer(0...30),
                "How long the solver may look for warnings; \(patience) unless told otherwise, 0 leaves it out."),
        ], body: PolicyUpload.body, answers: [.ok("What was found.", review)]
    ) { request in
        let upload = try await PolicyUpload(request)
        let tenant = try request.tenant
        let bar = try TenantOperations.record(tenant, request).minCoverage
        let seconds = request.integer("seconds", or: patience)
        let end = Interruption()
        return try await request.services.analyses.run(of: tenant, endingBy: { end.raise() }) {
            let files = upload.sources
            let review = PolicyReview(files, now: request.context.now)
            var diagnostics = review.diagnostics
            var unsettled = 0
            if seconds > 0, let policies = review.policies {
                let exact = ExactWarnings(
                    policies, known: diagnostics, interruption: Interruption(after: .seconds(seconds), orWith: end))
                diagnostics = ExactWarnings.ordered(diagnostics + exact.diagnostics)
                unsettled = exact.unsettled
            }
            return .json(
                .object([
                    "valid": .bool(review.isValid),
                    "acceptable": .bool(review.isValid && review.refusal(bar: bar) == nil),
                    "diagnostics": findings(diagnostics, files), "unsettled": .integer(unsettled),
                    "tests": .array(review.tests.map { json($0, files) }),
                    "rules": .integer(review.ruleCount), "rule_coverage": .integer(review.coverage.rulePercent),
                    "condition_coverage": .integer(review.coverage.conditionPercent),
                    "uncovered": .array(review.uncovered.map { .string($0) }),
                    "uncovered_conditions": uncoveredConditions(review),
                    "compiled_bytes": .integer(review.sizeInBytes),
                ]))
        }
    }

    // MARK: Refusing

    /// Refuses what may not become a version, or may not be activated.
    static func require(
        _ review: PolicyReview, _ sources: [SourceFile], bar: Int, activates: Bool
    ) throws(GatewayError) {
        guard review.isValid else {
            throw rejection(review.diagnostics, sources, "nothing was stored")
        }
        guard activates, let found = review.refusal(bar: bar) else { return }
        let failed = review.failedTests
        throw refusal(
            found.code, "\(found.message); nothing was activated",
            failed.isEmpty
                ? [
                    JSONMember("rule_coverage", .integer(review.coverage.rulePercent)),
                    JSONMember("condition_coverage", .integer(review.coverage.conditionPercent)),
                    JSONMember("uncovered", .array(review.uncovered.map { .string($0) })),
                    JSONMember("uncovered_conditions", uncoveredConditions(review)),
                ] : [JSONMember("tests", .array(failed.map { json($0, sources) }))])
    }

    /// The refusal of policies with errors.
    /// - Parameter consequence: what was not done.
    static func rejection(_ diagnostics: [Diagnostic], _ files: [SourceFile], _ consequence: String) -> GatewayError {
        let errors = diagnostics.filter { $0.severity == .error }.count
        return refusal(
            "policies_rejected", "\(errors) error\(errors == 1 ? "" : "s"); \(consequence)",
            [JSONMember("diagnostics", findings(diagnostics, files))])
    }

    static func refusal(_ code: String, _ message: String, _ members: [JSONMember] = []) -> GatewayError {
        var error = GatewayError(.unprocessableContent, code, message)
        error.members = members
        return error
    }

    // MARK: JSON

    private static func findings(_ diagnostics: [Diagnostic], _ files: [SourceFile]) -> JSONValue {
        .array(DiagnosticReport.findings(diagnostics, in: files, atMost: Shapes.maxDiagnostics))
    }

    private static func uncoveredConditions(_ review: PolicyReview) -> JSONValue {
        guard let policies = review.policies else { return .array([]) }
        return .array(
            review.coverage.missing.prefix(Shapes.maxUncovered).map { outcome in
                .object(
                    [
                        JSONMember("condition", .string(outcome.text(policies))),
                        JSONMember("of", .string(outcome.owner(policies))),
                        JSONMember("never", .bool(outcome.truth)),
                    ] + place(outcome.atom.range, policies.files, withColumn: true))
            })
    }

    private static func json(_ result: PolicyTestResult, _ files: [SourceFile]) -> JSONValue {
        .object(
            [
                JSONMember("name", .string(result.test.name)), JSONMember("passed", .bool(result.passed)),
                JSONMember("found", .string(result.found)),
            ] + place(result.test.range, files, withColumn: false))
    }

    private static func place(_ range: SourceRange, _ files: [SourceFile], withColumn: Bool) -> [JSONMember] {
        guard files.indices.contains(Int(range.file)) else { return [] }
        var members = [
            JSONMember("file", .string(files[Int(range.file)].name)),
            JSONMember("line", .integer(max(0, range.line))),
        ]
        if withColumn { members.append(JSONMember("column", .integer(max(0, range.column)))) }
        return members
    }
}
