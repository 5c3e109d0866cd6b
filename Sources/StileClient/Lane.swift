// One connection of the pool and the line of questions on their way through it.

import CBOR
import DecisionProtocol
import Memory

/// A queue.
struct Line<Element> {
    private var elements: [Element?] = []
    private var head = 0

    init(_ elements: [Element] = []) { self.elements = elements.map { Optional($0) } }

    var count: Int { elements.count - head }
    var isEmpty: Bool { count == 0 }
    var first: Element? { isEmpty ? nil : elements[head] }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        let element = elements[head]
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: head <= 4_096)
            head = 0
        } else if head > 1_024, head * 2 > elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }

    /// Puts elements before all others, in their order.
    mutating func prepend(_ others: [Element]) {
        guard !others.isEmpty else { return }
        elements.replaceSubrange(0..<head, with: others.map { Optional($0) })
        head = 0
    }

    func forEach(_ body: (Element) -> Void) {
        for index in head..<elements.count {
            if let element = elements[index] { body(element) }
        }
    }
}

/// A reply to what was asked.
enum Reply: Sendable {
    case decision(Decision)
    case batch([Decision])
    case status(ServerStatus)
}

/// What a task waits for. Everything that varies is touched only under the client's lock.
final class Pending: @unchecked Sendable {
    let asking: Asking
    let weight: Int
    /// Microseconds of the monotonic clock.
    let deadline: UInt64
    var task: WaitingTask<Result<Reply, StileError>>?
    /// Answered, denied or given up.
    var isDone = false
    /// Given up because its time had come: its answer is overdue.
    var isOverdue = false
    var sendings = 0

    init(_ asking: Asking, deadline: UInt64) {
        self.asking = asking
        self.deadline = deadline
        weight = asking.weight
    }
}

/// One connection of the pool. Everything that varies is touched only under the client's lock, but see `Channel`.
final class Lane: @unchecked Sendable {
    let channel: Channel
    /// The server has welcomed us.
    var isOpen = false
    let helloDeadline: UInt64
    /// What is on its way, by id. A place whose question was given up stays until its answer has come.
    var line = Line<(id: UInt64, pending: Pending)>()
    var nextID: UInt64 = 1
    /// Questions on their way, those of batches counted singly.
    var weight = 0
    /// Places that somebody still waits for.
    var live = 0
    /// Answers that are overdue: no new question goes here while there is another way.
    var overdue = 0
    /// When something came last, or when the line was last empty.
    var heard: UInt64

    init(_ channel: Channel, now: UInt64) {
        self.channel = channel
        helloDeadline = now + Limits.hello
        heard = now
    }

    /// Frames that the kernel has and the server has not answered.
    var onWire: Int { line.count - channel.unsent }

    /// Puts the hello on its way.
    func greet(tenant: String) { channel.output.raw(Framing.prefixed(Hello(tenant: tenant, takesGoodbye: true).frame)) }
}

/// Times in microseconds, and counts.
enum Limits {
    /// How long a server may take to welcome.
    static let hello: UInt64 = 1_000_000
    /// How long a connection with overdue answers may be silent.
    static let silence: UInt64 = 1_000_000
    /// Between attempts to connect: the first pause, doubled up to the last.
    static let firstRetry: UInt64 = 1_000
    static let lastRetry: UInt64 = 50_000
    /// Connections on which one question may have been lost before it is given up.
    static let resends = 8
    /// Questions on a connection before the next one is opened.
    static let laneWeight = 64
    /// Frames that are handed to the kernel at once; beyond, they wait for the next answer and go out together.
    static let directSends = 2
}
