// What the tests of the log share: a directory that goes away, a lane with decisions in it, a store that decides.

import AttributeStore
import CBOR
import DecisionPath
import DecisionProtocol
import Glibc
import Memory
import StrictJSON
import Synchronization
import Testing

@testable import DecisionLog

/// A directory of a test's own, removed with everything in it.
final class Scratch {
    let path: String

    init() {
        var template = Array("/tmp/stile-test-\(String(repeating: "X", count: 6))".utf8CString)
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "/nonexistent" }
            return unsafe String(cString: made)
        }
    }

    deinit { Self.remove(path) }

    static func remove(_ path: String) {
        for name in LogFiles.list(path) {
            let inner = "\(path)/\(name)"
            if unsafe unlink(inner) != 0 { remove(inner) }
        }
        _ = unsafe rmdir(path)
    }

    /// A copy of a directory beside it.
    static func copy(_ path: String, to other: String) throws {
        try LogFiles.makeDirectory(other)
        for name in LogFiles.list(path) {
            let inner = "\(path)/\(name)"
            var info = stat()
            if unsafe stat(inner, &info) == 0, info.st_mode & S_IFMT == S_IFDIR {
                try copy(inner, to: "\(other)/\(name)")
            } else {
                try write(read(inner), to: "\(other)/\(name)")
            }
        }
    }

    static func read(_ path: String) throws -> [UInt8] {
        let file = try LogFile(path, .read)
        return try file.read(file.count, at: 0)
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try LogFile(path, .create)
        try file.write(bytes, at: 0)
    }
}

/// A decision's payload with an id that is a number.
func payload(_ number: UInt64, outcome: Outcome = .permit, time: UInt64 = 1_000, subject: String = "ada") -> [UInt8] {
    let kind: AnswerKind = outcome == .permit ? .permitted : outcome == .stepUp ? .stepUp : .forbidden
    return CBORValue.record([
        0: .record([
            2: .unsigned(outcome.rawValue), 3: .unsigned(kind.rawValue),
            4: .bytes(
                [UInt8](repeating: 0, count: 8)
                    + (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) }),
            5: .unsigned(1), 6: .unsigned(7), 7: .unsigned(time),
            9: .array([.record([0: .text("P/rule"), 1: .text("p.stile"), 2: .unsigned(3)])]),
        ]),
        1: .record([
            2: .record([0: .text("user"), 1: .text(subject)]), 3: .record([0: .text("read")]),
            4: .record([0: .text("doc"), 1: .text("d\(number)")]),
        ]),
    ]).encoded
}

extension Lane {
    /// Appends decisions with these numbers and writes them as one run.
    func write(_ numbers: ClosedRange<UInt64>, now: Int64 = 1_000) throws {
        for number in numbers {
            let bytes = payload(number, time: UInt64(now))
            unsafe bytes.withUnsafeBytes { unsafe append(decision: $0) }
        }
        try flush(now: now)
    }
}

/// The numbers of the decisions of a log, in order.
func numbers(_ log: String) throws -> [UInt64] {
    let reader = LogReader(log)
    var found: [UInt64] = []
    while let entry = try reader.next() {
        if case .decision(let decision) = entry {
            found.append(decision.answer.decisionID[8...].reduce(0) { $0 << 8 | UInt64($1) })
        }
    }
    return found
}

/// What `verify` finds, without what is only worth a note.
func wrong(_ log: String, seen: String? = nil) -> [LogFinding] {
    var verifier = LogVerifier(log, seen: seen)
    return verifier.run().findings.filter(\.kind.isTampering)
}

/// A store with a tenant "t" and what decides for it.
final class DecidingStore {
    let scratch = Scratch()
    let store: Store
    let board: PolicyBoard
    let notices = Mutex<[String]>([])

    static let policies = """
        catalog "log" version 1.0.0 {
          entity user { department: string = "" }
          entity doc {
            total: decimal
            salary: decimal = 0 use payroll
            note: string = "" use authorization
            owner: string = "" from application
          }
          action read, write on doc
          context { ip: ipaddr?  phone: string = "" use contact }
        }
        policy "P" {
          permit read on doc as "small" when resource.total <= 100
          forbid write on doc as "never" because "Read only."
        }
        """

    init() throws {
        store = Store(path: "\(scratch.path)/store", mapSize: 64 << 20)
        try store.createTenant("t", TenantRecord(created: 1, allowedUsers: []))
        var writer = try TenantWriter(store, tenant: "t")
        _ = try writer.push(
            [PolicyFile(name: "all.stile", text: Self.policies)], author: "test", message: "", time: 1)
        try writer.append(
            [.putSubject(type: "user", id: "ada", isActive: true, document: try JSONValue.parse("{}"))], time: 1)
        board = PolicyBoard(store: store)
        _ = try board.load("t")
    }

    /// The directory of the tenant's log.
    var log: String { LogPlace(store, directory: nil).path(of: "t") }

    /// A log with its thread running; `stop` it.
    func start(_ change: (inout LogSettings) -> Void = { _ in }) throws -> DecisionLog {
        var settings = LogSettings()
        settings.ringBytes = 256 << 10
        change(&settings)
        let log = try DecisionLog(settings, board: board, software: "test") { [weak self] notice in
            self?.notices.withLock { $0.append(notice.text) }
        }
        return log
    }

    /// Runs the log's thread.
    func run(_ log: DecisionLog) { Threads.start { log.run() } }

    /// A decider that records.
    func decider(_ log: DecisionLog) throws -> TenantDecider {
        let decider = try TenantDecider("t", board: board)
        decider.recorder = try log.attach().recorder(for: "t")
        return decider
    }

    /// Asks once.
    static func ask(_ decider: TenantDecider, _ question: Question, now: Int64 = 5_000) {
        decider.begin(now: now)
        defer { decider.end() }
        var output = CBORWriter()
        let bytes = question.frame(id: 1)
        unsafe bytes.withUnsafeBytes { buffer in
            let frame = unsafe CBORReader(buffer)
            var reader = frame
            if let head = try? FrameHead(&reader) { decider.answer(head, frame, &output) }
        }
    }

    /// The decisions of the log.
    func decisions() throws -> [LoggedDecision] {
        let reader = LogReader(log)
        var found: [LoggedDecision] = []
        while let entry = try reader.next() { if case .decision(let decision) = entry { found.append(decision) } }
        return found
    }
}

extension DecidingStore: @unchecked Sendable {}

/// A question in JSON.
func question(_ json: String) throws -> Question { try Question(json: try JSONValue.parse(json)) }

/// Threads of tests.
enum Threads {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    static func start(_ body: @escaping @Sendable () -> Void) {
        let box = unsafe Unmanaged.passRetained(Body(body))
        var thread = pthread_t()
        _ = unsafe pthread_create(
            &thread, nil,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            }, box.toOpaque())
        pthread_detach(thread)
    }
}
