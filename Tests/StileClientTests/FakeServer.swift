// A server that plays a script: what a client makes of whatever comes.
//
// INVARIANT of this unsafe file: each thread that is started takes the one reference that was given to it.

import CBOR
import CLinux
import DecisionProtocol
import Glibc
import Synchronization

/// A listening socket; each connection plays the script on a thread of its own and is closed at its end.
final class FakeServer: Sendable {
    typealias Script = @Sendable (Peer) -> Void
    let path: String
    private let shared: Shared

    /// What the threads share.
    private final class Shared: Sendable {
        let isOver = Atomic<Bool>(false)
        let connections = Atomic<Int>(0)
        let reads = Tally()
    }

    /// - Parameter script: what happens after hello and, unless told otherwise, welcome.
    init(welcomes: Bool = true, _ script: @escaping Script) {
        var template = Array("/tmp/stile-test-\(String(repeating: "X", count: 6))".utf8CString)
        let folder = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "" }
            return unsafe String(cString: made)
        }
        path = folder + "/socket"
        let listener = unsafe stile_listen_unix(path, 64)
        let shared = Shared()
        self.shared = shared
        Self.run {
            while !shared.isOver.load(ordering: .relaxed) {
                var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                guard unsafe poll(&ready, 1, 10) > 0 else { continue }
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { continue }
                let peer = Peer(
                    descriptor, number: shared.connections.add(1, ordering: .relaxed).newValue, shared.reads)
                Self.run {
                    if peer.frame() != nil {
                        if welcomes { peer.send(Welcome(tenant: "t", policyVersion: 1, software: "fake").frame) }
                        script(peer)
                    }
                    peer.end()
                }
            }
            close(listener)
        }
    }

    /// Connections so far.
    var connections: Int { shared.connections.load(ordering: .relaxed) }

    /// Reads of all connections that brought something.
    var reads: Int { shared.reads.value }

    deinit {
        shared.isOver.store(true, ordering: .relaxed)
        _ = unsafe unlink(path)
        _ = unsafe rmdir(String(path.dropLast("/socket".utf8.count)))
    }

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private static func run(_ body: @escaping @Sendable () -> Void) {
        let reference = unsafe Unmanaged.passRetained(Body(body))
        _ = unsafe stile_quiet_thread(
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            }, unsafe reference.toOpaque())
    }
}

/// The server's end of one connection; used by its thread.
final class Peer: @unchecked Sendable {
    private let descriptor: Int32
    /// From 1 on.
    let number: Int
    private var input: [UInt8] = []
    /// Reads that brought something.
    let reads: Tally

    init(_ descriptor: Int32, number: Int, _ reads: Tally) {
        self.descriptor = descriptor
        self.reads = reads
        self.number = number
    }

    /// The next frame; nil when the client has closed.
    func frame() -> CBORValue? {
        while true {
            if input.count >= 4 {
                let length = input[0..<4].reduce(0) { $0 << 8 | Int($1) }
                if input.count >= length + 4 {
                    let value = try? CBORValue.decode(Array(input[4..<length + 4]))
                    input.removeFirst(length + 4)
                    return value
                }
            }
            var chunk = [UInt8](repeating: 0, count: 64 << 10)
            let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            reads.add()
            input += chunk[..<count]
        }
    }

    /// True when something has come within a time.
    func hasMore(within milliseconds: Int32) -> Bool {
        var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe !input.isEmpty || poll(&ready, 1, milliseconds) > 0
    }

    func send(_ frame: [UInt8]) { send(raw: Framing.prefixed(frame)) }

    func send(raw bytes: [UInt8]) { _ = unsafe Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    func send(_ value: CBORValue) { send(value.encoded) }

    func end() { close(descriptor) }
}

/// A count that threads share.
final class Tally: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .relaxed) }
    func add(_ more: Int = 1) { count.add(more, ordering: .relaxed) }
}

/// Frames of a server.
enum Frames {
    /// The fields of an answer: outcome and kind as they stand on the wire.
    static func fields(_ outcome: UInt64, _ kind: UInt64, id: UInt8 = 7, validUntil: UInt64? = nil) -> [CBORPair] {
        let fields = CBORValue.record([
            2: .unsigned(outcome), 3: .unsigned(kind), 4: .bytes([UInt8](repeating: id, count: 16)), 5: .unsigned(3),
            6: .unsigned(9), 7: .unsigned(1_000), 8: validUntil.map { .unsigned($0) },
        ])
        return fields.pairs ?? []
    }

    static let permit = fields(0, 0)
    static let deny = fields(1, 2)

    static func frame(_ kind: FrameKind, id: UInt64?, _ fields: [CBORPair], _ more: [CBORPair] = []) -> CBORValue {
        var pairs = [CBORPair(.unsigned(0), .unsigned(kind.rawValue))]
        if let id { pairs.append(CBORPair(.unsigned(1), .unsigned(id))) }
        return .map(pairs + fields + more)
    }

    static func answer(_ id: UInt64, _ fields: [CBORPair] = permit) -> CBORValue { frame(.question, id: id, fields) }

    static func subscribed(_ id: UInt64, _ number: UInt64, _ fields: [CBORPair] = permit) -> CBORValue {
        frame(.subscribe, id: id, fields, [CBORPair(.unsigned(22), .unsigned(number))])
    }

    static func pushed(_ number: UInt64, _ fields: [CBORPair]) -> CBORValue {
        frame(.push, id: nil, fields, [CBORPair(.unsigned(22), .unsigned(number))])
    }

    static func status(_ id: UInt64) -> CBORValue {
        .record([
            0: .unsigned(3), 1: .unsigned(id), 5: .unsigned(3), 6: .unsigned(9), 12: .text("t"), 16: .unsigned(3),
            17: .text("ready"), 18: .unsigned(1), 19: .unsigned(0),
        ])
    }
}

extension CBORValue {
    /// Kind and id of a client's frame.
    var kind: UInt64 { self[0]?.uint ?? .max }
    var id: UInt64 { self[1]?.uint ?? .max }
    /// The resource's id of a question.
    var resource: String { self[4]?[1]?.text ?? "" }
}
