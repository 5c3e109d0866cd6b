// Questions held open and decisions kept near: what is told, what is not trusted any more, and when.

import CBOR
import DecisionProtocol
import Glibc
import StileClient
import Synchronization
import Testing

/// Opens whatever is asked and pushes, closes or falls silent when told to; after that it opens nothing until it is told
/// to `open`.
final class PushingServer: Sendable {
    private final class State: Sendable {
        let commands = Mutex<[String]>([])
        let isShut = Atomic<Bool>(false)
    }

    private let state: State
    let server: FakeServer

    init(first: [CBORPair] = Frames.permit) {
        let state = State()
        self.state = state
        server = FakeServer { peer in
            var number: UInt64 = 0
            while true {
                // Commands are for the connection that holds a question open.
                switch number == 0 ? "" : state.commands.withLock({ $0.isEmpty ? "" : $0.removeFirst() }) {
                case "deny": peer.send(Frames.pushed(number, Frames.deny))
                case "permit": peer.send(Frames.pushed(number, Frames.permit))
                case "close": return
                case "mute":
                    while peer.frame() != nil {}
                    return
                default: break
                }
                guard peer.hasMore(within: 5) else { continue }
                guard let frame = peer.frame() else { return }
                switch frame.kind {
                case 1: peer.send(Frames.answer(frame.id, first))
                case 3: peer.send(Frames.status(frame.id))
                case 4:
                    while state.isShut.load(ordering: .relaxed) { usleep(1_000) }
                    number = frame.id + 40
                    peer.send(Frames.subscribed(frame.id, number, first))
                default: peer.send(Unsubscribed.frame(id: frame.id, subscription: frame[22]?.uint ?? 0))
                }
            }
        }
    }

    func tell(_ command: String) {
        if command == "close" || command == "mute" { state.isShut.store(true, ordering: .relaxed) }
        state.commands.withLock { $0.append(command) }
    }

    func open() { state.isShut.store(false, ordering: .relaxed) }
}

@Suite("questions held open", .timeLimit(.minutes(1)))
struct SubscriptionTests {
    @Test("the first answer and each new one come, a gap is told as unknown, and it is opened again")
    func updates() async throws {
        let pushing = PushingServer()
        let client = try client(pushing.server)
        let subscription = client.subscribe(to: request())
        var updates = subscription.makeAsyncIterator()
        #expect(try await updates.next()?.permits == true)
        #expect(subscription.permits && subscription.latest?.decision?.kind == .permitted)
        pushing.tell("deny")
        #expect(try await updates.next()?.decision?.kind == .notPermitted)
        #expect(!subscription.permits)
        pushing.tell("permit")
        #expect(try await updates.next()?.permits == true)
        pushing.tell("close")
        guard case .unknown(let error)? = try await updates.next() else {
            Issue.record("the gap was not told")
            return
        }
        #expect(error.code == "unreachable" && !subscription.permits)
        pushing.open()
        #expect(try await updates.next()?.permits == true)
        client.close()
        let end = await #expect(throws: StileError.self) { try await updates.next() }
        #expect(end == .closed)
        #expect(try await updates.next() == nil)
        #expect(!subscription.permits)
        let late = await #expect(throws: StileError.self) {
            for try await _ in client.subscribe(to: request()) {}
        }
        #expect(late == .closed)
    }

    @Test("a server that shows no sign of life is not believed any more")
    func mute() async throws {
        let pushing = PushingServer()
        let client = try client(pushing.server, heartbeat: .milliseconds(100))
        var updates = client.subscribe(to: request()).makeAsyncIterator()
        #expect(try await updates.next()?.permits == true)
        pushing.tell("mute")
        guard case .unknown? = try await updates.next() else {
            Issue.record("the silence was not told")
            return
        }
        pushing.open()
        #expect(try await updates.next()?.permits == true)
    }

    @Test("an answer whose time has come is unknown until its successor comes")
    func validUntil() async throws {
        let soon = Decision.Timestamp.now.milliseconds + 300
        let pushing = PushingServer(first: Frames.fields(0, 0, validUntil: soon))
        let subscription = try client(pushing.server).subscribe(to: request())
        var updates = subscription.makeAsyncIterator()
        #expect(try await updates.next()?.permits == true)
        while Decision.Timestamp.now.milliseconds < soon { try await Task.sleep(for: .milliseconds(5)) }
        #expect(!subscription.permits && subscription.latest == .unknown(.deadlineExceeded))
    }

    @Test("a refusal, a wrong question and a cancelled task end the sequence, each in its way")
    func ends() async throws {
        let server = FakeServer { peer in
            while let frame = peer.frame() {
                if frame.kind == 3 {
                    peer.send(Frames.status(frame.id))
                } else {
                    peer.send(ProtocolError(.tooManySubscriptions, "told so by the test").frame(id: frame.id))
                }
            }
        }
        let client = try client(server)
        let refused = client.subscribe(to: request())
        let error = await #expect(throws: StileError.self) {
            for try await update in refused { #expect(!update.permits) }
        }
        #expect(error?.code == "too_many_subscriptions")
        let wrong = await #expect(throws: StileError.self) { for try await _ in client.subscribe(to: request("")) {} }
        #expect(wrong?.code == "invalid_question")
        let away = try StileClient(tenant: "t", socketPath: "/nowhere/at/all.sock")
        let (told, permits) = (Tally(), Tally())
        let waiting = Task { () async throws in
            for try await update in away.subscribe(to: request()) {
                told.add()
                if update.permits { permits.add() }
            }
        }
        while told.value == 0 { try await Task.sleep(for: .milliseconds(1)) }
        waiting.cancel()
        try await waiting.value
        #expect(told.value == 1 && permits.value == 0)
    }

    @Test("a kept decision is given without asking only while its question is held open")
    func kept() async throws {
        let pushing = PushingServer()
        let client = try client(pushing.server, cached: 8)
        #expect(await client.permits(request()))
        #expect(client.statistics.cacheHits == 0)
        #expect(await client.permits(request()))
        while client.statistics.cacheHits == 0 { #expect(await client.permits(request())) }
        let asked = client.statistics.questions
        for _ in 0..<100 { #expect(await client.permits(request())) }
        #expect(client.statistics.questions == asked && client.statistics.cacheHits == 101)
        pushing.tell("deny")
        while await client.permits(request()) {}
        #expect(client.statistics.questions == asked, "the push was enough")
        // The watching connection ends: from then on each question is asked, until it is open again.
        pushing.tell("close")
        while client.statistics.questions == asked { _ = await client.permits(request()) }
        let hits = client.statistics.cacheHits
        for _ in 0..<50 { #expect(await client.permits(request())) }
        #expect(client.statistics.cacheHits == hits)
        pushing.open()
        while client.statistics.cacheHits == hits { #expect(await client.permits(request())) }
    }

    @Test("a decision whose time has come is asked for, and the least used make room")
    func room() async throws {
        let soon = Decision.Timestamp.now.milliseconds + 200
        let pushing = PushingServer(first: Frames.fields(0, 0, validUntil: soon))
        let client = try client(pushing.server, cached: 4)
        while client.statistics.cacheHits == 0, Decision.Timestamp.now.milliseconds < soon {
            #expect(await client.permits(request()))
        }
        while Decision.Timestamp.now.milliseconds < soon { try await Task.sleep(for: .milliseconds(5)) }
        let hits = client.statistics.cacheHits
        for round in 0..<3 {
            for index in 0..<40 { #expect(await client.permits(request("p\(index)")), "round \(round)") }
        }
        #expect(client.statistics.cacheHits == hits)
    }
}
