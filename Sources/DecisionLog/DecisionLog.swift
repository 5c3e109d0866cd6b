// The decision log of a process: the rings that reactors put decisions into, and one thread that writes them down.
//
//   reactor ─ ring ─┐
//   reactor ─ ring ─┼─ writer ─ tenants/acme/log/lane-0/0000000007.log
//   reactor ─ ring ─┘          └ tenants/zeta/log/lane-0/0000000001.log

import AttributeStore
import CLinux
package import DecisionPath
import Glibc
import Memory
import Synchronization

/// What the log tells the operator.
package struct LogNotice: Sendable {
    /// Decisions are being lost, or something was tampered with.
    package var isError: Bool
    package var text: String

    package init(isError: Bool, text: String) {
        self.isError = isError
        self.text = text
    }
}

/// The log's shared half. Reactors take recorders of it; one thread runs it.
package final class DecisionLog: Sendable {
    package let settings: LogSettings
    let place: LogPlace
    let board: PolicyBoard
    let software: String
    let tell: @Sendable (LogNotice) -> Void
    /// The writer's thread.
    let worker: RingWorker

    private let rings = Mutex<[ByteRing]>([])
    private let ringCount = Atomic<Int>(0)
    /// Decisions lost by the writer; those lost by reactors are counted in their rings.
    let lostByWriter = Atomic<UInt64>(0)
    let wantsRotation = Atomic<Bool>(false)
    private let trouble = Mutex<String?>(nil)
    private let gone = Mutex<Set<String>>([])

    /// - Parameters:
    ///   - board: tells which catalog masks the questions of a version.
    ///   - software: written into the log when it begins.
    ///   - tell: called on the writer's thread.
    package init(
        _ settings: LogSettings, board: PolicyBoard, software: String, tell: @escaping @Sendable (LogNotice) -> Void
    ) throws(LogError) {
        self.settings = settings
        self.board = board
        self.software = software
        self.tell = tell
        place = LogPlace(board.store, directory: settings.directory)
        worker = try RingWorker()
        // A limit of file sizes must be an error of a write, not the end of the process.
        _ = signal(SIGXFSZ, SIG_IGN)
    }

    // MARK: Reactors

    /// A ring for one more reactor, in memory that outlives the process where that is to be had.
    package func attach() throws(LogError) -> DecisionProducer {
        let ring: ByteRing
        do throws(ByteRingError) {
            ring = try makeRing()
        } catch {
            throw LogError("a ring of \(settings.ringBytes) bytes for the decision log: \(error)")
        }
        rings.withLock { $0.append(ring) }
        return worker.producer(of: ring, mode: settings.mode)
    }

    private func makeRing() throws(ByteRingError) -> ByteRing {
        let capacity = max(settings.ringBytes, DecisionRingLayout.minRingBytes)
        guard let directory = settings.ringDirectory else { return try ByteRing(capacity: capacity) }
        let number = ringCount.wrappingAdd(1, ordering: .relaxed).newValue
        do throws(ByteRingError) {
            return try ByteRing(
                capacity: capacity, file: "\(directory)/\(RingFiles.prefix(of: place))\(getpid())-\(number).ring")
        } catch {
            tell(
                LogNotice(
                    isError: false,
                    text: "the decision log's rings stay in the process: \(error). A killed process loses what it had "
                        + "not written, up to \(LogWriter.pollMilliseconds) ms"))
            return try ByteRing(capacity: capacity)
        }
    }

    /// The rings.
    var allRings: [ByteRing] { rings.withLock { $0 } }

    // MARK: Standing

    /// Decisions lost since the start, whatever the cause.
    package var lost: UInt64 {
        rings.withLock { $0.reduce(0) { $0 + $1.lost } } + lostByWriter.load(ordering: .relaxed)
    }

    /// `every`, `sampled:100`; with what is wrong, when something is.
    package var state: String {
        trouble.withLock { $0 }.map { "\(settings.mode.text), \($0)" } ?? settings.mode.text
    }

    func count(lost: UInt64) { lostByWriter.wrappingAdd(lost, ordering: .relaxed) }

    /// Tells what a lane's tail was like, and counts what a crash has lost.
    func report(_ repair: LaneRepair, _ lane: LaneDirectory) {
        if repair.cutBytes > 0 {
            let text = "a crash left a torn record; its \(repair.cutBytes) bytes were cut off"
            tell(LogNotice(isError: false, text: "decision log, \(lane.path): \(text)"))
        }
        if let lost = repair.lost {
            count(lost: lost.upperBound - lost.lowerBound + 1)
            let text =
                "records \(lost.lowerBound) to \(lost.upperBound) were written, were not durable and are lost with the "
                + "machine's crash (--log-sync \(settings.sync.description))"
            tell(LogNotice(isError: true, text: "decision log, \(lane.path): \(text)"))
        }
        if let evidence = repair.evidence {
            let text = "\(evidence). It is left as it is: see `stile log verify`"
            tell(LogNotice(isError: true, text: "decision log, \(lane.path): \(text)"))
        }
    }

    func setTrouble(_ text: String?) { trouble.withLock { $0 = text } }

    // MARK: Control

    /// Ends the current segments, so that they can be taken away.
    package func rotate() {
        wantsRotation.store(true, ordering: .releasing)
        worker.ring()
    }

    /// Closes the files of a tenant that is gone.
    package func forget(_ tenant: String) {
        gone.withLock { _ = $0.insert(tenant) }
        worker.ring()
    }

    func takeGone() -> Set<String> {
        gone.withLock { gone in
            defer { gone.removeAll() }
            return gone
        }
    }

    /// Writes what is in the rings, makes it durable and closes the files; call when the reactors have ended.
    /// - Returns: false when that took longer than `timeout` milliseconds.
    package func stop(timeout: Int64) -> Bool { worker.stop(timeout: timeout) }

    /// The writer; returns after `stop`. For a thread of its own.
    package func run() {
        LogWriter(self).run()
        for ring in allRings {
            ring.closeForProducer()
            ring.removeFile()
        }
        worker.finish()
    }
}

/// The names of rings that are files.
enum RingFiles {
    /// What the rings of a store's log start with: another store's daemon may use the same directory.
    static func prefix(of place: LogPlace) -> String {
        let root = place.directory ?? place.store.path
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in root.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return "decisions-" + String(hash, radix: 16) + "-"
    }

    /// The files of a directory that are rings of this log.
    static func all(in directory: String, of place: LogPlace) -> [String] {
        LogFiles.list(directory).filter { $0.hasPrefix(prefix(of: place)) && $0.hasSuffix(".ring") }.map {
            "\(directory)/\($0)"
        }
    }
}
