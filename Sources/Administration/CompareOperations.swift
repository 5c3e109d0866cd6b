// What another version would change: exactly which questions get another answer, before it decides.

import AnalysisReports
import AttributeStore
import Credentials
import DecisionEngine
import GatewayCore
import HTTPTypes
import Hummingbird
import PolicyAnalysis
import PolicyLanguage
import StrictJSON

/// Comparisons of versions.
enum CompareOperations {
    static let all: [Operation] = [compareUpload, compareVersion]

    // MARK: Shapes

    private static let outcome = Schema.named(
        "OutcomeOfQuestion",
        .object([
            .required("outcome", .word(["permit", "deny", "step_up", "error"])),
            .optional("level", .text(Schema.TextRule()).described("Of a step-up: the level that is demanded.")),
            .optional("within_ms", .integer(0...Int.max)),
            .optional("methods", .array(.text(1...100), atMost: 64)),
        ]))

    private static let cell: [Schema.Field] = [
        .required("subject", .text(1...5_000)), .required("action", .text(1...5_000)),
        .required("resource", .text(1...5_000)),
    ]

    private static let region = Schema.named(
        "ChangedRegion",
        .object(
            cell + [
                .required(
                    "among",
                    .text(1...100).described(
                        "The questions that `when` chooses from: those that the old version answers so.")),
                .required(
                    "when",
                    .array(.text(Schema.TextRule()), atMost: 100_000).described(
                        "Conditions that hold together for exactly the questions of the region; none: for all of them.")
                ),
                .required(
                    "answers",
                    .array(
                        .object([
                            .required("old", outcome), .required("new", outcome),
                            .optional(
                                "witness", .text(Schema.TextRule()).described("A question of the region, as a test.")),
                            .optional(
                                "witness_of_old",
                                .text(Schema.TextRule()).described("The question in the words of the old version.")),
                        ]), atMost: 100_000)),
                .required("proven", .boolean),
                .required("confirmed", .boolean.described("Both versions have decided every witness as is said.")),
                .optional("difference", .text(Schema.TextRule()).described("What differs where the outcome stays.")),
                .optional("doubt", .text(Schema.TextRule()).described("Why the region is not proven.")),
            ]))

    private static let terms = Schema.named(
        "OfferTerms",
        .object([
            .required("name", .text(Schema.TextRule())),
            .required("at_most_ms", .integer(0...Int.max).described("The longest time that the role is granted for.")),
            .required("takers", .text(Schema.TextRule()).described("Who may take the role.")),
            .optional(
                "demand",
                .object([
                    .optional("level", .text(Schema.TextRule())), .optional("within_ms", .integer(0...Int.max)),
                    .optional("methods", .array(.text(1...100), atMost: 64)),
                ]).described("What the session has to prove.")),
        ]))

    private static let offer = Schema.named(
        "ChangedOffer",
        .object([
            .required("role", .text(1...5_000)),
            .required(
                "changed",
                .array(.word(["duration", "takers", "demand"]), atMost: 3).described(
                    "What differs; nothing where only one version has the offer.")),
            .optional("old_offer", terms), .optional("new_offer", terms),
            .required(
                "takers",
                .array(
                    .object([
                        .required("subject", .text(1...5_000)),
                        .required("when", .array(.text(Schema.TextRule()), atMost: 100_000)),
                        .required("old", outcome), .required("new", outcome),
                    ]), atMost: 100_000
                ).described("Who is answered otherwise; permit is that it may take the role, whatever it has to prove.")
            ),
            .required("proven", .boolean),
            .optional(
                "doubt",
                .text(Schema.TextRule()).described("Why it is not settled whether the takers are all.")),
        ]))

    private static let comparison = Schema.named(
        "PolicyComparison",
        .object([
            .required(
                "result",
                .word(["equal", "different", "not_proven"]).described(
                    "equal: proven that no question gets another answer and each role is offered as before. not_proven: "
                        + "nothing was found, and not everything was settled in the time and steps given.")),
            .required("base", PolicyOperations.version.described("The old version.")),
            .optional("version", PolicyOperations.version.described("The new version, when it is a stored one.")),
            .required(
                "cells", .integer(0...Int.max).described("Combinations of subject type, action and resource type.")),
            .required("region_count", .integer(0...Int.max)), .required("regions", .array(region, atMost: maxTold)),
            .required("offer_count", .integer(0...Int.max)),
            .required(
                "offers", .array(offer, atMost: maxTold).described("Offers of roles that are others than before.")),
            .required("not_proven_count", .integer(0...Int.max)),
            .required(
                "not_proven",
                .array(.object(cell + [.required("not_proven", .text(Schema.TextRule()))]), atMost: maxTold)
                    .described("What was not settled, each with the reason.")),
        ]))

    /// Regions, and cells that are not proven, told of in one answer.
    private static let maxTold = 1_000
    private static let patience = 10

    private static let parameters: [Operation.Parameter] = [
        TenantOperations.path,
        .query("base", Shapes.uniqueID, "The old version's id; the active version unless told otherwise."),
        .query(
            "seconds", .integer(1...30),
            "How long the search may take; \(patience) unless told otherwise. What is not settled by then is told as such."
        ),
        .query("rules", .boolean, "true tells also where the answer stays and other rules decide."),
        .query("duties", .boolean, "true tells also where the answer stays and other duties go with it."),
        .query("full", .boolean, "true describes every region whole, not among those that had the old answer."),
        .query("by_answer", .boolean, "true tells each pair of answers apart."),
        .query(
            "max_regions", .integer(1...100), "Regions of one combination and change at most; 20 unless told otherwise."
        ),
    ]

    private static let details =
        "Nothing is sampled: a region holds exactly the questions whose answer changes so, each with one of them as a "
        + "test. Policies whose answers are equal are proven to be. Few comparisons run at once, fewer of one tenant "
        + "(429, 503: try again)."

    // MARK: Operations

    private static let compareUpload = Operation(
        "comparePolicies", "Policies", .post, PolicyOperations.base + "/policies/compare",
        roles: [.tenantAdmin, .auditor], "Say exactly what policies would change, without storing them.",
        details: details, parameters: parameters, body: PolicyUpload.body,
        answers: [.ok("What would change.", comparison), PolicyOperations.refused]
    ) { request in
        let upload = try await PolicyUpload(request)
        return try await compare(request, with: upload.sources, version: nil)
    }

    private static let compareVersion = Operation(
        "comparePolicyVersion", "Policies", .get, PolicyOperations.base + "/policies/{version}/compare",
        roles: [.tenantAdmin, .auditor], "Say exactly what a stored version would change.", details: details,
        parameters: parameters + [PolicyOperations.versionID],
        answers: [.ok("What would change.", comparison), PolicyOperations.refused]
    ) { request in
        let (found, active) = try await PolicyOperations.find(request)
        return try await compare(
            request, with: found.sources, version: PolicyOperations.json(found, active: active, withText: false))
    }

    private static func compare(
        _ request: AdminRequest, with files: [SourceFile], version: JSONValue?
    ) async throws -> Response {
        let (base, active) = try await base(request)
        let end = Interruption()
        let made = options(request)
        let seconds = request.integer("seconds", or: patience)
        return try await request.services.analyses.run(of: try request.tenant, endingBy: { end.raise() }) {
            let before = try checked(base.sources, "the base version does not check with this release")
            let after = try checked(files, "nothing was compared")
            var options = made
            options.interruption = Interruption(after: .seconds(seconds), orWith: end)
            let report: ComparisonReport
            do throws(CompileError) {
                report = ComparisonReport(try PolicyAnalysis.compare(before, after, options), before, after)
            } catch {
                throw ReviewOperations.refusal("too_large", error.description)
            }
            var members = [
                JSONMember("result", .string(report.result)),
                JSONMember("base", PolicyOperations.json(base, active: active, withText: false)),
            ]
            if let version { members.append(JSONMember("version", version)) }
            members += [
                JSONMember("cells", .integer(report.cells)), JSONMember("region_count", .integer(report.regionCount)),
                JSONMember("regions", .array(report.regions(atMost: maxTold))),
                JSONMember("offer_count", .integer(report.offerCount)),
                JSONMember("offers", .array(report.offers(atMost: maxTold))),
                JSONMember("not_proven_count", .integer(report.notProvenCount)),
                JSONMember("not_proven", .array(report.notProven(atMost: maxTold))),
            ]
            return .json(.object(members))
        }
    }

    private static func options(_ request: AdminRequest) -> ComparisonOptions {
        var options = ComparisonOptions()
        options.comparesRules = request.query("rules") == "true"
        options.comparesDuties = request.query("duties") == "true"
        options.isSelfContained = request.query("full") == "true"
        options.isByAnswer = request.query("by_answer") == "true"
        options.maxRegions = request.integer("max_regions", or: 20)
        return options
    }

    /// The version that is compared with.
    private static func base(_ request: AdminRequest) async throws -> (StoredPolicies, active: UInt64) {
        let id = request.query("base").flatMap { UniqueID($0) }
        return try await request.services.tenancy.read(try request.tenant) { reader in
            let active = try reader.generations().activeVersion
            if let id {
                guard let found = try reader.policies(id: id) else { throw GatewayError.notFound }
                return (found, active)
            }
            guard let found = try reader.policies(version: active) else {
                throw GatewayError(.notFound, "no_policies", "no version is active to compare with: upload one")
            }
            return (found, active)
        }
    }

    private static func checked(_ files: [SourceFile], _ consequence: String) throws(GatewayError) -> CheckedPolicies {
        let result = checkPolicies(files)
        guard let policies = result.policies else {
            throw ReviewOperations.rejection(result.diagnostics, files, consequence)
        }
        return policies
    }
}
