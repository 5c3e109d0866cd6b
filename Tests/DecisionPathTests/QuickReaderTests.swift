// The quick road and the general road from a frame to an answer must not be told apart.

import AttributeStore
import CBOR
import DecisionPath
import DecisionProtocol
import Glibc
import Memory
import StrictJSON
import Testing

/// A throw-away store with one tenant, and a decider on it.
final class TemporaryTenant {
    let path: String
    let store: Store
    let board: PolicyBoard
    let decider: TenantDecider

    static let text = """
        catalog "quick" version 1.0.0 {
          assurance password < mfa
          entity user { department: string = "" level: 0...5 = 0 }
          subject entity service { tier: int = 0 from request }
          entity folder in folder
          entity doc in folder {
            status: enum(open, closed) = open
            total: decimal
            size: 0...500 = 1
            owner: user?
            tags: set of string = []
            due: datetime?
            flag: bool = false
          }
          action read, change on doc { soft: bool = true }
          context { ip: ipaddr?  channel: enum(web, api) = web }
        }
        policy "P" {
          permit read on doc to user in group "Staff" when resource.total < 100.5 or has resource.owner and resource.owner == user
          permit change on doc to user when user.level >= 2 and resource.status == open and action.soft requires mfa within 1h
          permit read on doc to service when service.tier > 3 and not (resource.tags contains "secret")
          forbid any on doc when has context.ip and context.ip in 10.0.0.0/8 and resource.flag
          forbid read on doc when resource.size > 300 or has resource.due and resource.due < now
          forbid change on doc when resource in folder "frozen"
          on permit change on doc as "told" when resource.flag then notify "owner" "{user} changed {resource}"
        }
        """

    /// - Parameter text: catalog and policies.
    init(text: String = TemporaryTenant.text) throws {
        var template = Array("/tmp/stile-test-\(String(repeating: "X", count: 6))".utf8CString)
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "" }
            return unsafe String(cString: made)
        }
        var store = Store(path: "\(path)/store", mapSize: 64 << 20)
        store.isWriting = true
        self.store = store
        try store.createTenant("t", TenantRecord(created: 1, allowedUsers: []))
        do {
            var writer = try TenantWriter(store, tenant: "t")
            _ = try writer.push([PolicyFile(name: "all.stile", text: text)], author: "test", message: "", time: 1)
            var changes: [Change] = (0..<6).map {
                .putSubject(
                    type: "user", id: "u\($0)", isActive: $0 != 5,
                    document: .object(["department": .string("d\($0)"), "level": .integer(Int64($0 % 4))]))
            }
            changes.append(
                .putGroup(
                    id: "g", displayName: "Staff", members: (0..<3).map { Change.Member(id: "u\($0)", isGroup: false) })
            )
            changes.append(
                .putResource(
                    type: "doc", id: "d1", document: .object(["status": .string("closed")]),
                    parents: [EntityName(type: "folder", id: "frozen")]))
            changes.append(
                .putSession(
                    id: "s",
                    document: try JSONValue.parse(
                        #"{"subject":{"type":"user","id":"u2"},"assurance":"mfa","auth_time":1000}"#)))
            try writer.append(changes, time: 1)
        }
        board = PolicyBoard(store: store)
        _ = try board.load("t")
        decider = try TenantDecider("t", board: board)
    }

    deinit {
        for name in ["control", "tenants/t"] {
            for file in ["data.mdb", "lock.mdb", "bell"] { _ = unsafe unlink("\(path)/store/\(name)/\(file)") }
            _ = unsafe rmdir("\(path)/store/\(name)")
        }
        for name in ["store/tenants", "store", ""] { _ = unsafe rmdir("\(path)/\(name)") }
    }
}

@Suite("quick road")
struct QuickReaderTests {
    /// Both answers to a frame, without what differs by count: the decision's id. Nil for a road that took it not.
    private func answers(_ bytes: [UInt8], _ tenant: TemporaryTenant) -> (quick: CBORValue?, general: CBORValue?) {
        var quick = CBORWriter()
        var general = CBORWriter()
        tenant.decider.begin(now: 1_700_000_000_000)
        defer { tenant.decider.end() }
        let isQuick = unsafe bytes.withUnsafeBytes { buffer -> Bool in
            let frame = unsafe CBORReader(buffer)
            var reader = frame
            if let head = try? FrameHead(&reader), head.kind == 1 { tenant.decider.answer(head, frame, &general) }
            return tenant.decider.answerQuickly(frame, &quick)
        }
        func decoded(_ writer: borrowing CBORWriter) -> CBORValue? {
            let bytes = writer.bytes.array
            guard bytes.count > 4, let value = try? CBORValue.decode(Array(bytes[4...])) else { return nil }
            return .map((value.pairs ?? []).filter { $0.key != .unsigned(4) })
        }
        return (isQuick ? decoded(quick) : nil, decoded(general))
    }

    private func question(_ random: inout some RandomNumberGenerator) throws -> Question {
        func pick<Element>(_ list: [Element]) -> Element { list[Int.random(in: 0..<list.count, using: &random)] }
        let values: [JSONValue] = [
            .integer(0), .integer(3), .integer(24), .integer(400), .integer(70_000), .integer(-3), .bool(true),
            .bool(false), .string("open"), .string("closed"), .string("u1"), .string("secret"),
            .string("a text that is longer than twenty-four bytes"), .string("é"), .number("12.5"), .number("100.50"),
            .number("-1.25"), .number("0.000001"), .array([.string("secret")]), .string("10.1.2.3"),
            .string("2001:db8::1"), .string("2020-01-01T00:00:00Z"), .object([]), .string("api"),
        ]
        let fitting: [String: [JSONValue]] = [
            "tier": [.integer(1), .integer(40)], "level": [.integer(2)], "soft": [.bool(true), .bool(false)],
            "status": [.string("open"), .string("closed")], "size": [.integer(7), .integer(24), .integer(400)],
            "total": [.integer(90), .number("100.25"), .number("0.5"), .integer(70_000)],
            "owner": [.string("u0"), .string("u2")], "flag": [.bool(true)], "ip": [.string("10.1.2.3")],
            "channel": [.string("api")],
        ]
        func properties(_ names: [String]) -> JSONValue {
            var members: [JSONMember] = []
            for name in names + ["unknown"] where Bool.random(using: &random) {
                let usual = Int.random(in: 0..<10, using: &random) == 0 ? nil : fitting[name]
                if usual == nil, Int.random(in: 0..<10, using: &random) > 0 { continue }
                members.append(JSONMember(name, pick(usual ?? values)))
            }
            return .object(members)
        }
        var members: [JSONMember] = []
        func entity(_ types: [String], _ ids: [String], _ names: [String]) -> JSONValue {
            var entity = [JSONMember("type", .string(pick(types))), JSONMember("id", .string(pick(ids)))]
            if Bool.random(using: &random) { entity.append(JSONMember("properties", properties(names))) }
            return .object(entity)
        }
        members.append(
            JSONMember(
                "subject",
                entity(["user", "user", "service", "doc"], ["u0", "u2", "u5", "nobody"], ["tier", "level"])))
        var action = [JSONMember("name", .string(pick(["read", "change", "fly"])))]
        if Bool.random(using: &random) { action.append(JSONMember("properties", properties(["soft"]))) }
        members.append(JSONMember("action", .object(action)))
        members.append(
            JSONMember(
                "resource",
                entity(
                    ["doc", "doc", "doc", "folder"], ["d1", "d2"],
                    ["status", "total", "size", "owner", "tags", "due", "flag"])))
        if Bool.random(using: &random) { members.append(JSONMember("context", properties(["ip", "channel"]))) }
        if Bool.random(using: &random) { members.append(JSONMember("session", .string(pick(["s", "t"])))) }
        return try Question(json: .object(members))
    }

    @Test("random questions, whole and mutated, have one answer on both roads")
    func roads() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Seeded(state: seed)
        let tenant = try TemporaryTenant()
        var taken = 0
        for round in 0..<20_000 {
            var bytes = try question(&random).frame(id: UInt64.random(in: 0...70_000, using: &random))
            if round % 2 == 1 {
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
            }
            let (quick, general) = answers(bytes, tenant)
            guard let quick else { continue }
            taken += 1
            if quick != general {
                Issue.record(
                    "seed \(seed), round \(round): \(bytes)\nquick \(quick)\ngeneral \(String(describing: general))")
                return
            }
        }
        print("\(taken) of 20000 frames took the quick road")
        #expect(taken > 2_000)
    }

    @Test("a frame cut short anywhere is left to the general road")
    func cut() throws {
        let tenant = try TemporaryTenant()
        var random = Seeded(state: 7)
        for _ in 0..<50 {
            let bytes = try question(&random).frame(id: 5)
            for count in 0..<bytes.count { #expect(answers(Array(bytes[..<count]), tenant).quick == nil) }
        }
    }
}

/// SplitMix64.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
