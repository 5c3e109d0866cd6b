// A server that misbehaves: nothing that it says or leaves unsaid becomes a permit, and each has its own error.

import CBOR
import DecisionProtocol
import Glibc
import StileClient
import Testing

/// The client of a fake server.
func client(
    _ server: FakeServer, connections: Int = 1, deadline: Duration = .seconds(20), inFlight: Int = 1_024,
    cached: Int = 0, heartbeat: Duration = .seconds(5)
) throws -> StileClient {
    var configuration = StileClient.Configuration(tenant: "t", socketPath: server.path)
    configuration.connections = connections
    configuration.deadline = deadline
    configuration.maximumInFlight = inFlight
    configuration.cachedDecisions = cached
    configuration.heartbeat = heartbeat
    return try StileClient(configuration)
}

func request(_ resource: String = "p1") -> AuthorizationRequest {
    AuthorizationRequest(
        subject: .init(type: "user", id: "ada"), action: "read", resource: .init(type: "payrun", id: resource))
}

/// Asks, and gives the error as a value.
@Sendable func attempt(
    _ client: StileClient, _ resource: String, within deadline: Duration? = nil
) async -> Result<Decision, StileError> {
    do throws(StileError) {
        return .success(try await client.decide(request(resource), deadline: deadline))
    } catch {
        return .failure(error)
    }
}

/// Answers every question; those about a resource whose id begins with "n" are denied.
@Sendable func honest(_ peer: Peer) {
    while let frame = peer.frame() {
        switch frame.kind {
        case 1: peer.send(Frames.answer(frame.id, frame.resource.hasPrefix("n") ? Frames.deny : Frames.permit))
        case 3: peer.send(Frames.status(frame.id))
        default: return
        }
    }
}

@Suite("a client and a server that misbehaves", .timeLimit(.minutes(1)))
struct QuestionTests {
    /// What a server does with each question, and the code of the error that the task gets.
    static let misbehaviours: [(String, String, @Sendable (Peer, CBORValue) -> Void)] = [
        ("malformed", "protocol", { peer, _ in peer.send([0xff, 0x00]) }),
        ("no frame", "protocol", { peer, frame in peer.send([]) }),
        ("wrong id", "protocol", { peer, frame in peer.send(Frames.answer(frame.id + 7)) }),
        ("wrong kind", "protocol", { peer, frame in peer.send(Frames.status(frame.id)) }),
        (
            "permit and error at once", "protocol",
            { peer, frame in peer.send(Frames.answer(frame.id, Frames.fields(0, 4))) }
        ),
        (
            "deny and permitted at once", "protocol",
            { peer, frame in peer.send(Frames.answer(frame.id, Frames.fields(1, 0))) }
        ),
        (
            "no decision id", "protocol",
            { peer, frame in
                peer.send(Frames.answer(frame.id, Frames.permit.filter { $0.key != .unsigned(4) }))
            }
        ),
        ("a pair too many", "protocol", { peer, frame in peer.send(Frames.answer(frame.id).encoded + [0x00]) }),
        (
            "an obligation that cannot be read", "protocol",
            { peer, frame in
                peer.send(Frames.answer(frame.id, Frames.permit + [CBORPair(.unsigned(12), .array([.unsigned(1)]))]))
            }
        ),
        (
            "a rule without a line", "protocol",
            { peer, frame in
                let rule = CBORValue.record([0: .text("P/r"), 1: .text("p.stile")])
                peer.send(Frames.answer(frame.id, Frames.permit + [CBORPair(.unsigned(9), .array([rule]))]))
            }
        ),
        (
            "a batch for a question", "protocol",
            { peer, frame in
                peer.send(.record([0: .unsigned(2), 1: .unsigned(frame.id), 9: .array([.map(Frames.permit)])]))
            }
        ),
        ("a frame too long", "protocol", { peer, _ in peer.send(raw: [0x06, 0, 0, 0, 1]) }),
        (
            "the last word", "malformed_frame",
            { peer, _ in
                peer.send(ProtocolError(.malformedFrame, "told so by the test").frame)
            }
        ),
        (
            "one refused", "budget_exceeded",
            { peer, frame in
                peer.send(ProtocolError(.budgetExceeded, "told so by the test").frame(id: frame.id))
            }
        ),
        ("silent", "deadline", { _, _ in }),
        (
            "truncated and silent", "deadline",
            { peer, frame in
                peer.send(raw: Array(Framing.prefixed(Frames.answer(frame.id).encoded).dropLast()))
            }
        ),
    ]

    @Test("every misbehaviour is an error of its own and no permit", arguments: misbehaviours.indices)
    func misbehaviour(index: Int) async throws {
        let (name, code, reply) = Self.misbehaviours[index]
        let server = FakeServer { peer in
            while let frame = peer.frame() { reply(peer, frame) }
        }
        let client = try client(server, deadline: .milliseconds(code == "deadline" ? 100 : 20_000))
        for _ in 0..<2 {
            let error = await #expect(throws: StileError.self) { try await client.decide(request()) }
            #expect(error?.code == code, "\(name): \(String(describing: error))")
            #expect(await !client.permits(request()))
        }
    }

    @Test("a permit with an obligation permits only those who meet it")
    func obligation() async throws {
        let duty = CBORValue.record([
            0: .text("o1"), 1: .text("notify"),
            2: .map([CBORPair(.text("to"), .array([.text("owner"), .integer(-3)]))]),
        ])
        let server = FakeServer { peer in
            while let frame = peer.frame() {
                peer.send(Frames.answer(frame.id, Frames.permit + [CBORPair(.unsigned(12), .array([duty]))]))
            }
        }
        let client = try client(server)
        let decision = try await client.decide(request())
        #expect(!decision.permits && decision.permitsWithObligations && decision.outcome == .permit)
        #expect(
            decision.obligations == [
                .init(id: "o1", type: "notify", properties: ["to": .list(["owner", -3])])
            ])
        #expect(await !client.permits(request()))
    }

    @Test("a decision has all that the server said")
    func whole() async throws {
        let rule = CBORValue.record([
            0: .text("Payroll/approve"), 1: .text("payroll.stile"), 2: .unsigned(9), 3: .text("Because."),
        ])
        let demand = CBORValue.record([
            0: .text("mfa"), 1: .unsigned(900_000), 2: .array([.text("hwk")]), 3: .array([.text("urn:2")]),
        ])
        let server = FakeServer { peer in
            while let frame = peer.frame() {
                let fields = Frames.fields(2, 3, id: 0xab, validUntil: 2_000)
                peer.send(
                    Frames.answer(
                        frame.id, fields + [CBORPair(.unsigned(9), .array([rule])), CBORPair(.unsigned(11), demand)]))
            }
        }
        let decision = try await client(server).decide(request())
        let stepUp = Decision.StepUp(level: "mfa", within: .seconds(900), methods: ["hwk"], acrValues: ["urn:2"])
        #expect(decision.outcome == .stepUp(stepUp) && decision.kind == .stepUp && !decision.permits)
        #expect(
            decision.reasons == [.init(rule: "Payroll/approve", file: "payroll.stile", line: 9, because: "Because.")])
        #expect(decision.id.description == String(repeating: "ab", count: 16))
        #expect(decision.policyVersion == 3 && decision.snapshot == 9 && decision.evaluatedAt.milliseconds == 1_000)
        #expect(decision.validUntil?.milliseconds == 2_000 && !decision.isCurrent())
    }

    @Test("no welcome, a refusal instead of it, a frame that is none: each has its code")
    func welcomes() async throws {
        let scripts: [(String, FakeServer.Script)] = [
            ("deadline", { peer in while peer.frame() != nil {} }),
            ("tenant_unknown", { peer in peer.send(ProtocolError(.tenantUnknown, "no such tenant").frame) }),
            ("protocol", { peer in peer.send(Frames.answer(1)) }),
            ("unreachable", { _ in }),
        ]
        for (code, script) in scripts {
            let server = FakeServer(welcomes: false, script)
            let client = try client(server, deadline: .milliseconds(200))
            let error = await #expect(throws: StileError.self) { try await client.decide(request()) }
            #expect(error?.code == code)
        }
    }

    @Test("a question whose connection ends is asked again on the next")
    func closedMidAnswer() async throws {
        let server = FakeServer { peer in
            guard peer.number <= 3 else { return honest(peer) }
            guard let frame = peer.frame() else { return }
            peer.send(raw: Array(Framing.prefixed(Frames.answer(frame.id).encoded).prefix(peer.number * 9)))
        }
        let client = try client(server)
        #expect(await client.permits(request()))
        #expect(server.connections == 4)
        #expect(client.statistics.repeated == 3 && client.statistics.questions == 1)
    }

    @Test("a server that says goodbye has not taken the question: the next one is asked")
    func goodbye() async throws {
        let server = FakeServer { peer in
            guard peer.number == 1 else { return honest(peer) }
            _ = peer.frame()
            peer.send(Goodbye.frame)
            while peer.frame() != nil {}
        }
        let client = try client(server)
        #expect(await client.permits(request()))
        #expect(server.connections == 2 && client.statistics.repeated == 1)
    }

    @Test("a question on which connections keep ending is given up")
    func alwaysClosed() async throws {
        let server = FakeServer { peer in _ = peer.frame() }
        let error = await #expect(throws: StileError.self) { try await client(server).decide(request()) }
        #expect(error?.code == "unreachable")
        #expect(server.connections == 9)
    }

    @Test("an answer in pieces is an answer")
    func slow() async throws {
        let server = FakeServer { peer in
            while let frame = peer.frame() {
                for byte in Framing.prefixed(Frames.answer(frame.id).encoded) { peer.send(raw: [byte]) }
            }
        }
        let client = try client(server)
        for _ in 0..<5 { #expect(await client.permits(request())) }
    }

    @Test("an answer that comes late is nobody's")
    func late() async throws {
        let server = FakeServer { peer in
            // The first question's answer, a permit, comes when it is not waited for any more, with the second's.
            guard peer.number == 1, let first = peer.frame(), let second = peer.frame() else { return honest(peer) }
            usleep(300_000)
            peer.send(Frames.answer(first.id))
            peer.send(Frames.answer(second.id, Frames.deny))
            honest(peer)
        }
        let client = try client(server)
        async let impatient = attempt(client, "p1", within: .milliseconds(50))
        while client.statistics.questions < 1 { try await Task.sleep(for: .milliseconds(1)) }
        let patient = try await client.decide(request("n1"), deadline: .seconds(20))
        #expect(patient.kind == .notPermitted && server.connections == 1)
        #expect(await impatient == .failure(.deadlineExceeded))
        #expect(await client.permits(request("p2")))
    }

    @Test("a cancelled task stops waiting at once, and others have their own answers")
    func cancellation() async throws {
        let server = FakeServer { peer in
            guard let first = peer.frame() else { return }
            _ = peer.hasMore(within: 5_000)
            peer.send(Frames.answer(first.id))
            honest(peer)
        }
        let client = try client(server)
        let waiting = Task { await attempt(client, "p1") }
        while client.statistics.questions < 1 { try await Task.sleep(for: .milliseconds(1)) }
        waiting.cancel()
        #expect(await waiting.value == .failure(.cancelled))
        #expect(try await client.decide(request("n1")).kind == .notPermitted)
        let before = Task { () async -> Bool in
            unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
            return await client.permits(request("p1"))
        }
        #expect(await before.value == false)
    }

    @Test("many tasks share one connection, in few writes, and have each their own answer")
    func pipelining() async throws {
        let server = FakeServer { peer in
            while let frame = peer.frame() {
                peer.send(Frames.answer(frame.id, frame.resource.hasPrefix("n") ? Frames.deny : Frames.permit))
            }
        }
        let client = try client(server, connections: 1)
        let right = await withTaskGroup(of: Bool.self) { group in
            for index in 0..<64 {
                group.addTask {
                    var right = true
                    for round in 0..<50 {
                        let isPermit = (index + round) % 3 > 0
                        if await client.permits(request("\(isPermit ? "p" : "n")\(index)")) != isPermit {
                            right = false
                        }
                    }
                    return right
                }
            }
            return await group.reduce(true) { $0 && $1 }
        }
        #expect(right && server.connections == 1 && client.statistics.questions == 3_200)
        #expect(server.reads < 1_600)
    }

    @Test("no more questions are on their way than allowed, and those beyond wait their turn")
    func backPressure() async throws {
        let excess = Tally()
        let server = FakeServer { peer in
            while let first = peer.frame() {
                // All that comes before an answer is given.
                var held = [first.id]
                while peer.hasMore(within: 5), let frame = peer.frame() { held.append(frame.id) }
                if held.count > 4 { excess.add() }
                for id in held { peer.send(Frames.answer(id)) }
            }
        }
        let client = try client(server, inFlight: 4)
        let permits = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<24 { group.addTask { await client.permits(request()) } }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(permits == 24 && excess.value == 0)
    }

    @Test("a closed client denies, those that wait too")
    func closing() async throws {
        let server = FakeServer { peer in while peer.frame() != nil {} }
        let client = try client(server)
        let waiting = Task { await attempt(client, "p1") }
        while client.statistics.questions < 1 { try await Task.sleep(for: .milliseconds(1)) }
        client.close()
        client.close()
        #expect(await waiting.value == .failure(.closed))
        let error = await #expect(throws: StileError.self) { try await client.decide(request()) }
        #expect(error == .closed)
    }

    @Test("a server that is away is waited for until the deadline, one that is away for long is not")
    func away() async throws {
        let client = try StileClient(tenant: "t", socketPath: "/nowhere/at/all.sock")
        let clock = ContinuousClock()
        var start = clock.now
        var error = await #expect(throws: StileError.self) {
            try await client.decide(request(), deadline: .milliseconds(200))
        }
        #expect(error?.code == "unreachable" && clock.now - start >= .milliseconds(190))
        try await Task.sleep(for: .milliseconds(1_100))
        start = clock.now
        for _ in 0..<20 {
            error = await #expect(throws: StileError.self) {
                try await client.decide(request(), deadline: .seconds(600))
            }
            #expect(error?.code == "unreachable")
        }
        #expect(clock.now - start < .seconds(20))
    }

    @Test("a batch has an answer for each question, or none for any")
    func batches() async throws {
        let server = FakeServer { peer in
            while let frame = peer.frame() {
                let items = frame[9]?.items ?? []
                let answers = items.map { CBORValue.map($0.resource.hasPrefix("n") ? Frames.deny : Frames.permit) }
                let count = peer.number > 1 ? items.count - 1 : frame[10] == .unsigned(1) ? 2 : items.count
                peer.send(.record([0: .unsigned(2), 1: .unsigned(frame.id), 9: .array(Array(answers.prefix(count)))]))
                if items.count == 4 { return }
            }
        }
        let client = try client(server)
        let all = try await client.decideAll([request("p1"), request("n1"), request("p2")])
        #expect(all.map(\.permits) == [true, false, true])
        let some = try await client.decideAll(
            [request("p1"), request("n1"), request("p2")], semantic: .denyOnFirstDeny)
        #expect(some.map(\.permits) == [true, false])
        #expect(try await client.decideAll([]).isEmpty)
        #expect(try await client.decideAll([request(), request(), request(), request()]).count == 4)
        let error = await #expect(throws: StileError.self) { try await client.decideAll([request(), request()]) }
        #expect(error?.code == "protocol")
        let many = await #expect(throws: StileError.self) {
            try await client.decideAll(Array(repeating: request(), count: 1_001))
        }
        #expect(many?.code == "invalid_question")
    }

    @Test("a wrong question or configuration says what is wrong")
    func mistakes() async throws {
        let server = FakeServer(honest)
        let client = try client(server)
        var deep: PropertyValue = 1
        for _ in 0..<100 { deep = [deep] }
        var wrong: [AuthorizationRequest] = Array(repeating: request(), count: 5)
        wrong[0].subject.id = ""
        wrong[1].action.name = String(repeating: "a", count: 257)
        wrong[2].context["deep"] = deep
        wrong[3].resource.properties["long"] = .text(String(repeating: "a", count: 1 << 20))
        wrong[4].session = ""
        for request in wrong {
            let error = await #expect(throws: StileError.self) { try await client.decide(request) }
            #expect(error?.code == "invalid_question")
        }
        #expect(client.statistics.questions == 0)
        for configuration in [
            StileClient.Configuration(tenant: ""), .init(tenant: "t", socketPath: ""),
            .init(tenant: "t", socketPath: String(repeating: "/a", count: 80)),
        ] {
            let error = #expect(throws: StileError.self) { try StileClient(configuration) }
            #expect(error?.code == "invalid_configuration")
        }
    }

    @Test("the status says what decides")
    func status() async throws {
        let server = FakeServer(honest)
        let status = try await client(server).status()
        #expect(status.state == "ready" && status.activeVersion == 3 && status.snapshot == 9)
    }
}
