// A candidate version decides beside the live one on what is really asked, with no consequence.
//
//   reactor ─ ring ─┐
//   reactor ─ ring ─┴─ shadow thread: both versions, one snapshot, one instant ─ tenants/acme/shadow/3.json
//
// A reactor hands over a copy of question and answer as it does to the log, and never waits: what finds no place is counted
// as not compared. The shadow's thread runs only where nothing else wants the processor, so what it shares with the
// threads that answer it must never hold up: it has a board of its own, which the control thread fills.

package import AttributeStore
import CLinux
package import DecisionLog
package import DecisionPath
import Glibc
import Memory
import Synchronization

/// The shadow's shared half. Reactors take producers of it; one thread runs it.
package final class ShadowDesk: Sendable {
    /// A copy of what the server's board says, for the shadow alone.
    let board: PolicyBoard
    let keptUses: Set<String>
    let tell: @Sendable (LogNotice) -> Void
    let worker: RingWorker
    private let ringBytes: Int
    private let rings = Mutex<[ByteRing]>([])

    /// - Parameters:
    ///   - keptUses: uses of attributes whose values samples may hold, as the log's.
    ///   - ringBytes: of the ring of each reactor.
    ///   - tell: called on the shadow's thread.
    package init(
        _ store: Store, keptUses: Set<String>, ringBytes: Int = 4 << 20, tell: @escaping @Sendable (LogNotice) -> Void
    ) throws(LogError) {
        board = PolicyBoard(store: store)
        self.keptUses = keptUses
        self.ringBytes = max(ringBytes, DecisionRingLayout.minRingBytes)
        self.tell = tell
        worker = try RingWorker()
    }

    /// A ring for one more reactor.
    package func attach() throws(LogError) -> DecisionProducer {
        let ring: ByteRing
        do throws(ByteRingError) {
            ring = try ByteRing(capacity: ringBytes)
        } catch {
            throw LogError("a ring of \(ringBytes) bytes for candidates: \(error)")
        }
        rings.withLock { $0.append(ring) }
        // All decisions, and none waits.
        return worker.producer(of: ring, mode: .offered)
    }

    var allRings: [ByteRing] { rings.withLock { $0 } }

    /// Takes over how tenants stand. For the control thread, after each publication.
    package func follow(_ server: PolicyBoard) {
        let tenants = Set(server.tenants)
        for gone in Set(board.tenants).subtracting(tenants) { board.forget(gone) }
        for tenant in tenants {
            let state = server.state(of: tenant)
            // Who never had a candidate is nothing to the shadow.
            if let state, state.candidate != nil || board.state(of: tenant) != nil { board.adopt(tenant, state) }
        }
        worker.ring()
    }

    /// Ends the thread, which writes down what was counted; call when the reactors have ended.
    /// - Returns: false when that took longer than `timeout` milliseconds.
    package func stop(timeout: Int64) -> Bool { worker.stop(timeout: timeout) }

    /// Compares until `stop`. For a thread of its own.
    package func run() {
        if stile_set_idle() != 0 {
            tell(
                LogNotice(
                    isError: false,
                    text: "the system does not let a thread run when idle alone: candidates take their share of time"))
        }
        ShadowWorker(self).run()
        worker.finish()
    }
}
