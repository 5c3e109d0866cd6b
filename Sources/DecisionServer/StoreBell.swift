// The daemon's ear at the store: one thread that sleeps on the store's bell and wakes whom a ring concerns.

import AttributeStore
import CLinux
import Glibc
import Synchronization

/// Passes rings of the store's bell on.
final class StoreBell: Sendable {
    /// Milliseconds after which all look although nothing rang: a writer may have died between commit and ring, and the
    /// store may have been put back from a copy.
    private static let slowLook: Int32 = 5_000
    /// The same where the bell cannot be had, because the store's file system is read-only or not ours to write.
    private static let blindLook: Int32 = 100

    private let store: Store
    private let control: Int32
    private let bell: Mutex<Doorbell?>
    private let ears = Mutex<[Ear]>([])
    /// Counts looks that the bell did not ask for; who sees it move looks at everything.
    let looks = Atomic<UInt64>(0)

    /// Somebody who may want to be woken by a ring.
    final class Ear: Sendable {
        /// An event descriptor.
        let bell: Int32
        /// Set while its owner has anything that a change could concern.
        let isListening = Atomic<Bool>(false)
        /// Set while its owner holds snapshots, whose pages the store wants back after a commit.
        let isHolding = Atomic<Bool>(false)

        /// A ring is to wake it.
        var wantsRings: Bool {
            isListening.load(ordering: .sequentiallyConsistent) || isHolding.load(ordering: .sequentiallyConsistent)
        }

        init(_ bell: Int32) { self.bell = bell }
    }

    /// - Parameter control: the event descriptor of the control thread, which hears every ring.
    init(_ store: Store, control: Int32) {
        self.store = store
        self.control = control
        bell = Mutex(Doorbell(store))
        if current == nil {
            ServerLog.write(
                .warning,
                "\(store.doorbellPath) can be neither made nor read: changes are looked for every \(Self.blindLook) ms. "
                    + "Let stiled's user read it")
        }
    }

    /// The store's bell; nil where there is none.
    var current: Doorbell? { bell.withLock { $0 } }

    /// Has the control thread look at everything: a reactor has met what the bell has not told of.
    func askForLook() {
        looks.wrappingAdd(1, ordering: .releasing)
        Self.wake(control)
    }

    /// One more who hears.
    func add(_ ear: Ear) { ears.withLock { $0.append(ear) } }

    /// Wakes all reactors that listen or hold snapshots, as after new policies.
    func wakeListeners() {
        ears.withLock { ears in
            for ear in ears where ear.wantsRings { Self.wake(ear.bell) }
        }
    }

    static func wake(_ bell: Int32) {
        var one: UInt64 = 1
        _ = unsafe write(bell, &one, 8)
    }

    /// Sleeps and passes on, for as long as the process lives.
    func run() {
        var seen = current?.rings ?? 0
        while true {
            if let bell = current {
                if bell.wait(after: seen, timeout: Self.slowLook) {
                    seen = bell.rings
                } else {
                    renew(bell, &seen)
                    looks.wrappingAdd(1, ordering: .releasing)
                }
            } else {
                usleep(UInt32(Self.blindLook) * 1_000)
                renew(nil, &seen)
                looks.wrappingAdd(1, ordering: .releasing)
            }
            Self.wake(control)
            wakeListeners()
        }
    }

    /// Takes the bell that the store has now, when it is another.
    private func renew(_ old: Doorbell?, _ seen: inout UInt32) {
        if old?.isCurrent ?? false { return }
        let new = Doorbell(store)
        bell.withLock { $0 = new }
        seen = new?.rings ?? 0
    }
}
