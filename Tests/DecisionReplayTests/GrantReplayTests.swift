// Roles that policies offer, from the request to the end: who may take them, what decisions make of them, and what a logged
// decision is explained by once they are gone.

import AttributeStore
import DecisionEngine
import DecisionPath
import DecisionProtocol
import PolicyAnalysis
import PolicyLanguage
import StrictJSON
import Testing

@testable import DecisionLog
@testable import DecisionReplay

private let offered = """
    catalog "operations" version 1.0.0 {
      assurance password < mfa
      entity user { team: string = ""  grade: 0...9 from request }
      entity system
      action restart on system
    }
    policy "S" {
      role operator is user in group "Standby"
      role lead is user in group "Leads"
      permit restart on system as "restart" to role operator or role lead
      offer role operator for at most 1h as "short" to user in group "Engineers"
      offer role operator for at most 4h as "long" to user in group "Engineers" requires mfa within 5m
      offer role lead for at most 8h as "graded" to user unless user.grade < 5
    }
    """

@Suite("roles taken for a time", .serialized)
struct GrantReplayTests {
    private static let hour: Int64 = 3_600_000
    private static let now: Int64 = 100 * hour
    private static let question =
        #"{"subject":{"type":"user","id":"sam"},"action":{"name":"restart"},"resource":{"type":"system","id":"db"}}"#

    private func store() throws -> LoggingStore {
        let t = try LoggingStore()
        try t.push(offered, at: 1)
        func user(_ id: String, _ json: String) throws -> Change {
            .putSubject(type: "user", id: id, isActive: id != "gone", document: try JSONValue.parse(json))
        }
        func session(_ id: String, _ level: String, _ at: Int64) throws -> Change {
            let json = #"{"subject":{"type":"user","id":"sam"},"assurance":"\#(level)","auth_time":\#(at)}"#
            return .putSession(id: id, document: try JSONValue.parse(json))
        }
        let members = ["sam", "gone"].map { Change.Member(id: $0, isGroup: false) }
        try t.append(
            [
                try user("sam", #"{"team":"data"}"#), try user("gone", "{}"), try user("eve", "{}"),
                .putGroup(id: "e", displayName: "Engineers", members: members),
                try session("weak", "password", Self.now), try session("strong", "mfa", Self.now - 60_000),
                try session("old", "mfa", Self.now - Self.hour),
            ], at: 2)
        return t
    }

    private func take(
        _ t: LoggingStore, _ id: String = "sam", _ role: String = "operator", for duration: Int64? = nil,
        session: String? = nil, now: Int64 = now
    ) throws -> RoleAnswer {
        var writer = try TenantWriter(t.store, tenant: "t")
        return try RoleDesk(t.store, tenant: "t", board: PolicyBoard(store: t.store)).take(
            RoleRequest(
                subject: EntityName(type: "user", id: id), role: role, duration: duration, reason: "OPS-17",
                session: session, by: "test"), clock: { now }, &writer)
    }

    private func denial(_ answer: RoleAnswer) -> RoleDenial? {
        if case .denied(let denial) = answer { return denial }
        return nil
    }

    @Test("a role is granted for as long as the offer whose demand is met, and step-up is what a longer one takes")
    func outcomes() throws {
        let t = try store()
        guard case .granted(let short) = try take(t) else { return #expect(Bool(false), "not granted") }
        #expect(short.offer == "S/short" && short.until == Self.now + Self.hour && short.place == "p.stile:11")
        guard case .granted(let long) = try take(t, session: "strong") else { return #expect(Bool(false)) }
        #expect(long.offer == "S/long" && long.until == Self.now + 4 * Self.hour && long.version == 2)
        for session in [nil, "weak", "old"] {
            guard case .stepUp(let demand, let offer) = try take(t, for: 2 * Self.hour, session: session) else {
                return #expect(Bool(false), "no step-up with \(session ?? "none")")
            }
            #expect(demand.level == "mfa" && demand.within == 300_000 && offer.name == "S/long")
        }
        guard case .granted(let exact) = try take(t, for: 5_000) else { return #expect(Bool(false)) }
        #expect(exact.until == Self.now + 5_000)
        let tooLong = denial(try take(t, for: 4 * Self.hour + 1, session: "strong"))
        #expect(tooLong?.code == .durationTooLong && tooLong?.atMost == 4 * Self.hour)
    }

    @Test("nobody else gets it: by default, when deactivated or unknown, or where a value is missing")
    func denials() throws {
        let t = try store()
        #expect(denial(try take(t, "eve"))?.code == .notOffered)
        #expect(denial(try take(t, "gone"))?.code == .subjectInactive)
        #expect(denial(try take(t, "nobody"))?.isError == true)
        #expect(denial(try take(t, "sam", "boss"))?.code == .unknownRole)
        // `unless user.grade < 5` must not be granted for want of a grade.
        let missing = denial(try take(t, "sam", "lead"))
        #expect(missing?.isError == true && missing?.message.contains("grade") == true)
        for bad in [
            { try take(t, session: "none") }, { try take(t, "eve", session: "strong") }, { try take(t, for: 1) },
        ] {
            #expect(throws: StoreError.self) { _ = try bad() }
        }
        try t.append([.deleteSession(id: "strong")], at: 3)
        #expect(throws: StoreError.self) { _ = try take(t, session: "strong") }
    }

    @Test("a decision that a grant carried is explained as it was, when the grant is revoked and the offer gone")
    func replayed() throws {
        let t = try store()
        guard case .granted(let first) = try take(t, for: Self.hour) else { return #expect(Bool(false)) }
        var second: RoleGrant?
        var answers: [Answer] = []
        try t.log { ask in
            answers.append(try ask(Self.question, Self.now + 1))
            var writer = try TenantWriter(t.store, tenant: "t")
            _ = try writer.revokeGrant(first.id, by: "test", reason: "", time: Self.now + 2)
            answers.append(try ask(Self.question, Self.now + 3))
            guard case .granted(let grant) = try take(t, for: 5_000, now: Self.now + 4) else { return }
            second = grant
            answers.append(try ask(Self.question, grant.until - 1))
            answers.append(try ask(Self.question, grant.until))
        }
        let end = try #require(second?.until)
        #expect(answers.map(\.outcome) == [.permit, .deny, .permit, .deny])
        #expect(answers.map(\.validUntil) == [UInt64(first.until), nil, UInt64(end), nil])
        try t.push(
            offered.split(separator: "\n").filter { !$0.contains("offer role") }.joined(separator: "\n"),
            at: Self.now + 10_000)
        let granted = [["operator": first.until], [:], ["operator": end], ["operator": end]]
        for (answer, expected) in zip(answers, granted) {
            let replay = try t.replay(answer.decisionID)
            #expect(replay.agrees && replay.divergences.isEmpty)
            #expect(replay.read?.situation.granted == expected)
        }
        #expect(try t.replay(answers[0].decisionID).past.later[.subject]?.count == 2)
    }

    @Test("who may take the role that is missing is told so, and who may not is not")
    func suggestion() throws {
        let t = try store()
        func why(_ id: String) throws -> String {
            let decider = try TenantDecider("t", of: t.store)
            let question = try Question(json: try JSONValue.parse(Self.question.replacing("sam", with: id)))
            let read = try #require(decider.explained(question, now: Self.now).read)
            return Why(read.program, read.situation).changes.suggestions.flatMap(\.changes).map(\.words)
                .joined(separator: "; ")
        }
        #expect(try why("sam").contains("user takes role operator, which is offered"))
        #expect(try !why("eve").contains("takes role"))
    }
}
