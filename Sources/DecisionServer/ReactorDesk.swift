// What other threads know of a reactor, and where they leave connections for it.

import AttributeStore
import DecisionPath
import Synchronization

/// A connection on its way from one reactor to another: all that makes it, in values.
struct ConnectionParcel: Sendable {
    /// Belongs to whoever has the parcel.
    let descriptor: Int32
    let user: UInt32
    /// ms since the epoch.
    let openedAt: Int64
    /// Nil before its hello.
    var tenant: String?
    var takesGoodbye = false
    /// Bytes that came and were not handled.
    var input: [UInt8] = []
    /// Bytes that the client has not taken.
    var output: [UInt8] = []
    var questions: [OpenQuestionParcel] = []
}

/// A question held open, on its way with its connection. Its place in the tenant's budget stays taken.
struct OpenQuestionParcel: Sendable {
    var number: UInt32
    /// The frame that opened it.
    var frame: [UInt8]
    /// What was answered last.
    var sent: OpenAnswer
}

/// One reactor as the others see it.
final class ReactorDesk: Sendable {
    /// Milliseconds between two measurements of a reactor that has something to do.
    static let period: Int64 = 50

    let ear: StoreBell.Ear
    /// Connections that it has or that are on their way to it.
    let open = Atomic<Int>(0)
    private let load = Atomic<Int>(0)
    private let measuredAt = Atomic<Int64>(0)
    private let spinningUntil = Atomic<Int64>(0)
    private let mailbox = Mutex<(parcels: [ConnectionParcel], isClosed: Bool)>(([], false))

    /// - Parameter bell: an event descriptor that wakes the reactor.
    init(bell: Int32) { ear = StoreBell.Ear(bell) }

    // MARK: Load

    /// Tells how much of its time the reactor's thread had to do, in thousandths.
    func publish(load: Int, now: Int64) {
        self.load.store(load, ordering: .relaxed)
        measuredAt.store(now, ordering: .relaxed)
    }

    /// The same, as far as it is known now: a reactor that does not wake has nothing to do.
    func load(at now: Int64) -> Int {
        now - measuredAt.load(ordering: .relaxed) > 3 * Self.period ? 0 : load.load(ordering: .relaxed)
    }

    /// Tells whether the reactor polls before it sleeps, for a while.
    func publish(isSpinning: Bool, now: Int64) {
        spinningUntil.store(isSpinning ? now + 3 * Self.period : 0, ordering: .relaxed)
    }

    /// The same, as far as it is known now.
    func isSpinning(at now: Int64) -> Bool { spinningUntil.load(ordering: .relaxed) > now }

    // MARK: Connections

    /// Leaves a connection for the reactor.
    /// - Returns: false, with nothing done, when the reactor takes none any more.
    func post(_ parcel: ConnectionParcel) -> Bool {
        let isTaken = mailbox.withLock { mailbox in
            if !mailbox.isClosed { mailbox.parcels.append(parcel) }
            return !mailbox.isClosed
        }
        if isTaken {
            open.wrappingAdd(1, ordering: .relaxed)
            StoreBell.wake(ear.bell)
        }
        return isTaken
    }

    /// What was left for the reactor.
    func collect() -> [ConnectionParcel] {
        mailbox.withLock { mailbox in
            defer { mailbox.parcels.removeAll() }
            return mailbox.parcels
        }
    }

    /// Takes no more; call when the reactor ends.
    /// - Returns: false, with nothing done, when there is something to collect.
    func close() -> Bool {
        mailbox.withLock { mailbox in
            if mailbox.parcels.isEmpty { mailbox.isClosed = true }
            return mailbox.isClosed
        }
    }
}

extension [ReactorDesk] {
    /// The reactor that a new connection is best with: of those that have least to do, one with the fewest connections.
    /// Measured loads that are near each other count as the same.
    func best(at now: Int64) -> ReactorDesk? {
        self.min { left, right in
            let (one, two) = (left.load(at: now) / 250, right.load(at: now) / 250)
            if one != two { return one < two }
            return left.open.load(ordering: .relaxed) < right.open.load(ordering: .relaxed)
        }
    }

    /// The reactor that has least to do, but for one.
    func idlest(but own: ReactorDesk, at now: Int64) -> ReactorDesk? {
        filter { $0 !== own }.min { $0.load(at: now) < $1.load(at: now) }
    }
}
