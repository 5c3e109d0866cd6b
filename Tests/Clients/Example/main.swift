// The example of README.md, held by the tests. Arguments: the socket and the tenant.
import StileClient

let client = try StileClient(tenant: CommandLine.arguments[2], socketPath: CommandLine.arguments[1])
let request = AuthorizationRequest(
    subject: .init(type: "user", id: "bob"), action: "read", resource: .init(type: "payrun", id: "2026-11"),
    session: "s-bob")
do throws(StileError) {
    let decision = try await client.decide(request, deadline: .milliseconds(500))
    switch decision.outcome {
    case .permit: print("permitted by \(decision.reasons.first?.rule ?? "nobody")")
    case .stepUp(let demand): print("sign in again: \(demand.level ?? "any level")")
    case .deny: print("denied: \(decision)")
    }
} catch {
    print("not known, so denied: \(error)")
}
