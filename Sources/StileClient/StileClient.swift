// The client of the decision socket: what a program sees of it.

import DecisionProtocol

/// Asks a running `stiled` "may this person do this, now?" over its decision socket (grammar/decision.cddl).
///
/// ```swift
/// let client = try StileClient(tenant: "acme")
/// let request = AuthorizationRequest(
///     subject: .init(type: "user", id: "ada"), action: "approve",
///     resource: .init(type: "payrun", id: "2026-11", properties: ["total": 90_000]), session: "s-ada")
/// guard await client.permits(request) else { return }
/// ```
///
/// **It fails closed.** ``permits(_:deadline:)`` is true for a permit of the server without obligations and for nothing
/// else; the functions that throw give a ``Decision`` only when the server has made one.
///
/// **It is shared.** Any number of tasks ask through one client at once. Their questions travel pipelined over a few
/// connections, at most ``Configuration/maximumInFlight`` at a time; a task beyond that waits its turn. Nothing here
/// blocks a thread of Swift's pool: one thread of the client's own does what would wait. When a task is cancelled it stops
/// waiting at once.
///
/// **It needs no server yet.** When a server closes its connections, as it does when it is restarted, questions on the way
/// are asked again until their deadline: asking twice is as good as asking once. A server that has been away for longer
/// than ``Configuration/patience`` is "down": then questions fail at once, and it is tried twenty times a second.
///
/// **Kept decisions.** With ``Configuration/cachedDecisions`` a question that is asked a second time is held open at the
/// server, which pushes a new answer when it changes; until then, and until time alone could change it, its decision is
/// given without asking. A change that was acknowledged is then seen as soon as its push has come, in milliseconds,
/// instead of by the very next question. When the connection is lost every question is asked again at once; when the server
/// shows no sign of life, after ``Configuration/heartbeat`` twice at the latest.
///
/// The client ends with ``close()`` or with its last reference. It does not survive `fork()`.
public final class StileClient: Sendable {
    /// What a client is made of.
    public struct Configuration: Sendable, Hashable {
        /// The server's socket.
        public var socketPath: String
        /// The tenant's id.
        public var tenant: String
        /// Connections for questions, at most; 1 to 64. A further one is opened when those there are have 64 questions on
        /// their way each. Questions that are held open have one more of their own.
        public var connections = 4
        /// How long a question may take when none is given with it.
        public var deadline: Duration = .seconds(1)
        /// How long a server may be away before questions fail at once instead of at their deadline.
        public var patience: Duration = .seconds(1)
        /// Questions on their way at once, at most; those beyond wait.
        public var maximumInFlight = 1_024
        /// Questions whose decisions are kept near, at most; 0 for none.
        public var cachedDecisions = 0
        /// How often a server that holds questions open must show a sign of life; 10 ms at least.
        public var heartbeat: Duration = .seconds(1)
        /// How long the last answer of a ``Subscription`` stands without a connection. A restart of the server takes less
        /// than a second; kept decisions have no grace.
        public var grace: Duration = .zero

        /// The usual configuration for a tenant.
        public init(tenant: String, socketPath: String = "/run/stile/decision.sock") {
            self.tenant = tenant
            self.socketPath = socketPath
        }

        var heartbeatMicroseconds: UInt64 { min(heartbeat.inMicroseconds, Self.longest) }
        var patienceMicroseconds: UInt64 { min(patience.inMicroseconds, Self.longest) }
        var graceMicroseconds: UInt64 { min(grace.inMicroseconds, Self.longest) }
        /// A day.
        private static let longest: UInt64 = 86_400_000_000

        /// What is wrong with it; nil when nothing is.
        var mistake: String? {
            if tenant.isEmpty || tenant.utf8.count > ProtocolLimits.maxNameBytes {
                return "the tenant's id has \(tenant.utf8.count) bytes: give 1 to \(ProtocolLimits.maxNameBytes)"
            }
            if socketPath.isEmpty || socketPath.utf8.count > 107 || socketPath.utf8.contains(0) {
                return
                    "the socket's path has \(socketPath.utf8.count) bytes: a Unix socket's has 1 to 107, none of them 0"
            }
            if !(1...64).contains(connections) { return "\(connections) connections: give 1 to 64" }
            if !(1...1_000_000).contains(maximumInFlight) {
                return "\(maximumInFlight) questions on their way at once: give 1 to 1,000,000"
            }
            if !(0...100_000).contains(cachedDecisions) {
                return "\(cachedDecisions) kept decisions: give 0 to 100,000, a connection's open questions"
            }
            return heartbeat < .milliseconds(10) ? "a heartbeat of \(heartbeat): give 10 ms at least" : nil
        }
    }

    /// What a client has done.
    public struct Statistics: Sendable, Hashable {
        /// Questions put on their way, each counted once.
        public var questions: UInt64 = 0
        /// Decisions given without asking.
        public var cacheHits: UInt64 = 0
        /// Questions asked again because a connection had ended.
        public var repeated: UInt64 = 0
        /// Connections on which the server has welcomed questions.
        public var connections: UInt64 = 0

        /// Nothing done yet.
        public init() {}
    }

    let engine: Engine

    /// A client that connects when it is first asked.
    /// - Throws: `invalidConfiguration`, saying which part and what would do.
    public init(_ configuration: Configuration) throws(StileError) {
        if let mistake = configuration.mistake { throw .invalidConfiguration(mistake) }
        engine = try Engine(configuration)
    }

    /// A client with the usual configuration.
    /// - Throws: `invalidConfiguration`.
    public convenience init(tenant: String, socketPath: String = "/run/stile/decision.sock") throws(StileError) {
        try self.init(Configuration(tenant: tenant, socketPath: socketPath))
    }

    deinit { engine.close() }

    /// Asks, and waits for the server's decision.
    /// - Parameter deadline: how long it may take; the configuration's when nil.
    /// - Throws: why there is no decision. Deny then.
    public nonisolated(nonsending) func decide(
        _ request: AuthorizationRequest, deadline: Duration? = nil
    ) async throws(StileError) -> Decision {
        try await decide(EncodedQuestion(request), deadline: deadline)
    }

    /// True if and only if the server permits, without obligations. False whatever goes wrong.
    public nonisolated(nonsending) func permits(
        _ request: AuthorizationRequest, deadline: Duration? = nil
    ) async -> Bool {
        do throws(StileError) {
            return try await decide(request, deadline: deadline).permits
        } catch {
            return false
        }
    }

    /// Asks many questions in one frame: at one instant, over one snapshot of the store, 1,000 at most.
    /// - Returns: the decisions in the order of the requests; fewer than requests only where the semantic says to stop.
    /// - Throws: why there are none. Deny all then.
    public nonisolated(nonsending) func decideAll(
        _ requests: [AuthorizationRequest], semantic: EvaluationsSemantic = .executeAll, deadline: Duration? = nil
    ) async throws(StileError) -> [Decision] {
        if requests.isEmpty { return [] }
        guard requests.count <= ProtocolLimits.maxBatch else {
            throw .invalidRequest(
                "\(requests.count) questions in one batch: ask 1,000 at most, and the rest in another")
        }
        var questions: [EncodedQuestion] = []
        for request in requests { questions.append(try EncodedQuestion(request)) }
        return try await decideAll(EncodedBatch(questions, semantic), deadline: deadline)
    }

    /// As `decide`, of a question that is encoded already.
    package nonisolated(nonsending) func decide(
        _ question: EncodedQuestion, deadline: Duration? = nil
    ) async throws(StileError) -> Decision {
        if let decision = engine.kept(question) { return decision }
        guard case .decision(let decision) = try await engine.ask(.question(question), within: deadline) else {
            throw .protocolViolation("the server's answer does not fit the question")
        }
        return decision
    }

    /// As `decideAll`, of questions that are encoded already.
    package nonisolated(nonsending) func decideAll(
        _ batch: EncodedBatch, deadline: Duration? = nil
    ) async throws(StileError) -> [Decision] {
        guard batch.size <= ProtocolLimits.maxFrameBytes else {
            throw .invalidRequest("the batch takes \(batch.size) bytes, a frame has 1 MiB: ask fewer at once")
        }
        guard case .batch(let decisions) = try await engine.ask(.batch(batch), within: deadline) else {
            throw .protocolViolation("the server's answer does not fit the batch")
        }
        return decisions
    }

    /// How the server and the tenant stand.
    /// - Throws: why that is not known.
    public nonisolated(nonsending) func status(deadline: Duration? = nil) async throws(StileError) -> ServerStatus {
        guard case .status(let status) = try await engine.ask(.status, within: deadline) else {
            throw .protocolViolation("the server's answer does not fit the question for its status")
        }
        return status
    }

    /// Holds a question open: its first decision and each new one come as they are made. Returns at once; a request that is
    /// wrong is told by the sequence.
    public func subscribe(to request: AuthorizationRequest) -> Subscription { Subscription(self, request) }

    /// What has been done since the client was made.
    public var statistics: Statistics { engine.statistics }

    /// From now on every question is denied with `closed`, those on the way too, and every subscription ends. Returns at
    /// once; the connections are closed a moment later. Closing twice is closing once.
    public func close() { engine.close() }
}
