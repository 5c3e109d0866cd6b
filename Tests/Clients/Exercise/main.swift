// Holds the Swift client to its promises against a running stiled, as a program of another package would use it.
//
//   client-exercise SOCKET TENANT STRANGE_SOCKET STILE STORE
//   client-exercise hold SOCKET TENANT FILE           asks from 16 tasks until the file is there; 0 when no question failed
//                                                     or was answered wrongly
//   client-exercise cost SOCKET TENANT DEPTH SECONDS  what a question costs, at so many at once
//
// The tenant has the policies and data of policies/ledger; STILE, the tool, changes it in the STORE.

import Glibc
import StileClient

let arguments = CommandLine.arguments
switch (arguments.count, arguments.count > 1 ? arguments[1] : "") {
case (5, "hold"): try await hold(arguments[2], arguments[3], until: arguments[4])
case (6, "cost"): try await cost(arguments[2], arguments[3], Int(arguments[4]) ?? 1, Int(arguments[5]) ?? 1)
case (6, _):
    let exercise = try Exercise(arguments)
    try await exercise.answers()
    try await exercise.concurrent()
    try await exercise.deadlines()
    try await exercise.misbehaviours()
    try await exercise.subscriptions()
    try await exercise.kept()
    print("\(exercise.passed) passed, 0 failed")
default: exit(64)
}

func must(_ condition: Bool, _ what: @autoclosure () -> String = "", line: Int = #line) {
    guard !condition else { return }
    print("FAILED: line \(line) \(what())")
    exit(1)
}

/// The approval of a payrun: ada may, cho may not.
func approval(_ user: String, _ payrun: String = "p1") -> AuthorizationRequest {
    AuthorizationRequest(
        subject: .init(type: "user", id: user), action: "approve",
        resource: .init(
            type: "payrun", id: payrun, properties: ["status": "draft", "total": 90_000, "created_by": "bob"]),
        session: user == "ada" ? "s-ada" : nil, device: user == "ada" ? nil : "laptop-1")
}

/// The tests against a running server.
@MainActor
final class Exercise {
    let socket: String, tenant: String, strange: String, tool: String, store: String
    let client: StileClient
    var passed = 0

    init(_ arguments: [String]) throws {
        (socket, tenant, strange) = (arguments[1], arguments[2], arguments[3])
        (tool, store) = (arguments[4], arguments[5])
        client = try StileClient(tenant: tenant, socketPath: socket)
    }

    func ok(_ behaviour: String) {
        passed += 1
        print("ok: StileClient: \(behaviour)")
    }

    func answers() async throws {
        let permit = try await client.decide(approval("ada"))
        must(permit.permits && permit.outcome == .permit && permit.kind == .permitted, "\(permit)")
        must(permit.reasons.map(\.rule) == ["Payroll/approve"] && permit.reasons[0].file == "payroll.stile")
        must(permit.policyVersion == 1 && permit.snapshot > 0 && permit.isCurrent() && permit.cause == nil)
        must(permit.id.bytes.count == 16 && permit.id.bytes.contains { $0 != 0 })
        must(permit.validUntil.map { $0 > permit.evaluatedAt } ?? false)
        var request = approval("ada")
        request.session = "s-ada-old"
        guard case .stepUp(let demand) = try await client.decide(request).outcome else {
            return must(false, "no step-up")
        }
        must(demand.level == "mfa" && demand.within == .seconds(900) && demand.acrValues.first == "urn:example:loa:2")
        must(await !client.permits(request))
        let denied = try await client.decide(approval("cho"))
        must(denied.kind == .forbidden && denied.reasons.first?.because == "Only employees approve payroll.")
        request = approval("ada")
        request.resource.properties["total"] = .decimal(25_000_001, -2)
        must(try await client.decide(request).kind == .notPermitted)
        request.resource.properties["total"] = .decimal(2_500_000, -1)
        must(await client.permits(request))
        request.resource.properties["total"] = "much"
        let wrong = try await client.decide(request)
        must(wrong.kind == .error && wrong.cause?.attribute == "resource.total")
        ok("decisions come with outcome, demand, reasons, cause, version and end")
        let all = try await client.decideAll([approval("ada"), approval("cho"), approval("ada")])
        must(all.map(\.permits) == [true, false, true] && Set(all.map(\.snapshot)).count == 1)
        let some = try await client.decideAll(
            [approval("ada"), approval("cho"), approval("ada")], semantic: .denyOnFirstDeny)
        must(some.map(\.permits) == [true, false])
        let many = try await client.decideAll(
            (0..<1_000).map { approval($0 % 3 == 0 ? "ada" : "cho") }, deadline: .seconds(20))
        must(many.enumerated().allSatisfy { $1.permits == ($0 % 3 == 0) } && many.count == 1_000)
        let status = try await client.status()
        must(status.state == "ready" && status.activeVersion == 1)
        ok("a batch is decided over one snapshot, and the status says what decides")
    }

    func concurrent() async throws {
        let before = client.statistics
        let right = await withTaskGroup(of: Bool.self) { [client] group in
            for index in 0..<1_000 {
                group.addTask {
                    let isPermit = index % 2 == 0
                    let request = approval(isPermit ? "ada" : "cho", "p\(index)")
                    return await client.permits(request, deadline: .seconds(20)) == isPermit
                }
            }
            var right = 0
            for await isRight in group where isRight { right += 1 }
            return right
        }
        must(right == 1_000 && client.statistics.questions == before.questions + 1_000)
        must(client.statistics.connections <= 4)
        ok("a thousand questions at once have each their own answer over \(client.statistics.connections) connections")
    }

    func code(_ client: StileClient, _ deadline: Duration? = nil) async -> String {
        do throws(StileError) {
            return try await client.decide(approval("ada"), deadline: deadline).kind.rawValue
        } catch {
            return error.code
        }
    }

    func deadlines() async throws {
        let clock = ContinuousClock()
        must(await code(client, .zero) == "deadline")
        for (how, limit) in [("silent", 50), ("late", 100), ("speechless", 50)] {
            let slow = try StileClient(tenant: how, socketPath: strange)
            let start = clock.now
            must(await code(slow, .milliseconds(limit)) == "deadline", how)
            let taken = clock.now - start
            must(taken >= .milliseconds(limit - 1) && taken < .seconds(5), "\(how) took \(taken)")
            if how == "late" { must(await code(slow, .seconds(20)) == "permitted") }
        }
        let other = try StileClient(tenant: "no-such-tenant", socketPath: socket)
        must(await code(other) == "tenant_unknown")
        must(await !other.permits(approval("ada")))
        ok("a deadline holds, whatever the server does, and an unknown tenant is refused")
    }

    func misbehaviours() async throws {
        for (how, expected) in [
            ("garbage", "protocol"), ("float", "protocol"), ("wrong-id", "protocol"), ("wrong-kind", "protocol"),
            ("liar", "protocol"), ("short", "protocol"), ("refuses", "malformed_frame"), ("unwelcome", "not_allowed"),
            ("huge", "protocol"), ("bytes", "permitted"), ("closes", "permitted"), ("obliges", "permitted"),
        ] {
            let odd = try StileClient(tenant: how, socketPath: strange)
            for _ in 0..<4 {
                let code = await code(odd, .seconds(20))
                must(code == expected, "\(how): \(code)")
                must(
                    await odd.permits(approval("ada"), deadline: .seconds(20))
                        == (expected == "permitted" && how != "obliges"))
            }
        }
        ok("every misbehaviour of a server is an error of its own and no permit")
    }

    /// Changes what the store knows: returns when it is acknowledged.
    func load(risk: String) {
        let line =
            #"{"signal":{"name":"user.risk","subject":{"type":"user","id":"ada"},"value":"\#(risk)"}}"#
        must(
            unsafe system(
                "printf '%s\\n' '\(line)' | '\(tool)' load --store '\(store)' --tenant '\(tenant)' >/dev/null") == 0)
    }

    func subscriptions() async throws {
        let subscription = client.subscribe(to: approval("ada"))
        let other = client.subscribe(to: approval("cho"))
        var (updates, others) = (subscription.makeAsyncIterator(), other.makeAsyncIterator())
        must(try await updates.next(isolation: #isolation)?.permits == true && subscription.permits)
        must(try await others.next(isolation: #isolation)?.decision?.kind == .forbidden && !other.permits)
        for round in 0..<5 {
            load(risk: "high")
            let clock = ContinuousClock()
            let start = clock.now
            let update = try await updates.next(isolation: #isolation)
            guard case .stepUp? = update?.decision?.outcome else { return must(false, "\(String(describing: update))") }
            must(clock.now - start < .seconds(5) && !subscription.permits, "round \(round)")
            load(risk: "low")
            must(try await updates.next(isolation: #isolation)?.permits == true && subscription.permits)
        }
        ok("a signal pushes the new decision to an open question")
        let own = try StileClient(tenant: tenant, socketPath: socket)
        let many = (0..<2_000).map { own.subscribe(to: approval("ada", "p\($0)")) }
        for subscription in many { while !subscription.permits { try await Task.sleep(for: .milliseconds(1)) } }
        load(risk: "high")
        for subscription in many { while subscription.permits { try await Task.sleep(for: .milliseconds(1)) } }
        load(risk: "low")
        own.close()
        must(many.allSatisfy { !$0.permits })
        ok("thousands of questions are open at once, and none permits after the client is closed")
    }

    func kept() async throws {
        var configuration = StileClient.Configuration(tenant: tenant, socketPath: socket)
        configuration.cachedDecisions = 8
        let client = try StileClient(configuration)
        let clock = ContinuousClock()
        var start = clock.now
        while client.statistics.cacheHits == 0 {
            must(await client.permits(approval("ada")))
            must(clock.now - start < .seconds(10), "never kept")
        }
        let asked = client.statistics.questions
        for _ in 0..<10_000 { must(await client.permits(approval("ada"))) }
        must(client.statistics.questions == asked && client.statistics.cacheHits == 10_001, "\(client.statistics)")
        load(risk: "high")
        start = clock.now
        while await client.permits(approval("ada")) { must(clock.now - start < .seconds(10), "never pushed") }
        must(client.statistics.questions == asked)
        load(risk: "low")
        while await !client.permits(approval("ada")) { must(clock.now - start < .seconds(20), "never pushed") }
        ok("10,000 questions about a kept decision ask nobody, and a signal ends it")
    }
}

/// Asks from 16 tasks while the daemon is restarted: no question fails, none is answered wrongly.
func hold(_ socket: String, _ tenant: String, until file: String) async throws {
    var configuration = StileClient.Configuration(tenant: tenant, socketPath: socket)
    // A machine that is busy with other tests may take longer than a second to start the daemon again.
    configuration.patience = .seconds(20)
    let client = try StileClient(configuration)
    let (asked, failed, wrong) = await withTaskGroup(of: (Int, Int, Int).self) { group in
        for index in 0..<16 {
            group.addTask {
                var (asked, failed, wrong) = (0, 0, 0)
                while unsafe access(file, F_OK) != 0 {
                    let isPermit = (index + asked) % 2 == 0
                    asked += 1
                    do throws(StileError) {
                        let decision = try await client.decide(
                            approval(isPermit ? "ada" : "cho"), deadline: .seconds(20))
                        if decision.permits != isPermit { wrong += 1 }
                    } catch {
                        failed += 1
                        print("FAILED: \(error)")
                    }
                }
                return (asked, failed, wrong)
            }
        }
        return await group.reduce((0, 0, 0)) { ($0.0 + $1.0, $0.1 + $1.1, $0.2 + $1.2) }
    }
    let statistics = client.statistics
    print(
        "\(asked) questions: \(failed) failed, \(wrong) answered wrongly; \(statistics.connections) connections, "
            + "\(statistics.repeated) asked again")
    if failed + wrong > 0 { exit(1) }
}

/// What a question costs when so many tasks ask one after the other.
func cost(_ socket: String, _ tenant: String, _ depth: Int, _ seconds: Int) async throws {
    let client = try StileClient(tenant: tenant, socketPath: socket)
    let request = approval("ada")
    for _ in 0..<1_000 { must(await client.permits(request)) }
    let clock = ContinuousClock()
    let start = clock.now
    let end = start + .seconds(seconds)
    let (count, processor) = await withTaskGroup(of: Int.self) { group in
        let before = processorTime()
        for _ in 0..<depth {
            group.addTask {
                var count = 0
                while clock.now < end {
                    for _ in 0..<16 { must(await client.permits(request)) }
                    count += 16
                }
                return count
            }
        }
        let count = await group.reduce(0, +)
        return (count, processorTime() - before)
    }
    let taken = clock.now - start
    print(
        "depth \(depth): \(count) questions, \(microseconds(taken / count)) us each, "
            + "\(microseconds(processor / count)) us of them on the client's processor")
}

func processorTime() -> Duration {
    var time = timespec()
    unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}

func microseconds(_ duration: Duration) -> String {
    let nanoseconds = duration.components.attoseconds / 1_000_000_000
    return "\(nanoseconds / 1_000).\(nanoseconds % 1_000 / 100)"
}
