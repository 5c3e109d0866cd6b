// Why a question is answered as it is.

import Credentials
import DecisionProtocol
import GatewayCore
import HTTPTypes
import Hummingbird
import StileClient
import StrictJSON

/// Operations that explain.
enum ExplainOperations {
    static let all: [Operation] = [explain]

    static let entity = Schema.object([
        .required("type", .text(1...256)), .required("id", .text(1...256)), .optional("properties", .map(.any)),
    ])

    static let action = Schema.object([.required("name", .text(1...256)), .optional("properties", .map(.any))])

    private static let question = Schema.named(
        "Question",
        .object([
            .required("subject", entity), .required("action", action),
            .required("resource", entity), .optional("context", .map(.any)),
            .optional("session", .text(1...256)), .optional("device", .text(1...256)),
        ]))

    private static let answer = Schema.named(
        "Explanation",
        .object([
            .required("decision", .boolean),
            .required(
                "context",
                .map(.any).described(
                    "Outcome, rules with file and line, and for each candidate rule whether it matches and which "
                        + "conditions stood in the way.")),
        ]))

    private static let explain = Operation(
        "explainQuestion", "Questions", .post, "/admin/v1/tenants/{tenant}/explain", roles: [.tenantAdmin, .auditor],
        "Ask a question (AuthZEN's information model) and be told why.", parameters: [TenantOperations.path],
        body: .init(json: question), answers: [.ok("The answer of stiled.", answer)]
    ) { request in
        let tenant = try request.tenant
        var question = try question(request.json)
        question.explain = true
        let asked = question
        let answer = try await request.services.decisions.ask(tenant) { (connection) throws(ClientError) in
            let answers = try connection.ask([asked])
            guard let answer = answers.first else { throw ClientError(description: "no answer") }
            return answer
        }
        return .json(answer.json)
    }

    /// A question from its JSON.
    static func question(_ json: JSONValue) throws(GatewayError) -> Question {
        do throws(RequestError) {
            return try Question(json: json)
        } catch {
            throw GatewayError.invalid(error.path, error.message)
        }
    }
}
