// The events that one wait gives. An array would look for other owners of its memory at each wait.
//
// INVARIANT of this unsafe file: `base` is an allocation of `capacity` events, zeroed in `init`, that belongs to this value
// alone (it cannot be copied); an index is checked against it.

import CLinux

/// Room for the events of one wait.
@safe
struct EventList: ~Copyable {
    private static let capacity = 256
    private let base: UnsafeMutablePointer<stile_event>

    init() {
        unsafe base = .allocate(capacity: Self.capacity)
        unsafe base.initialize(repeating: stile_event(), count: Self.capacity)
    }

    deinit { unsafe base.deallocate() }

    /// Waits until a descriptor is ready.
    /// - Parameter timeout: milliseconds; -1 without end.
    /// - Returns: how many events there are; 0 when the time is over or a signal came.
    @inline(__always)
    func wait(_ epoll: Int32, timeout: Int32) -> Int {
        max(0, Int(unsafe stile_epoll_wait(epoll, base, Int32(Self.capacity), timeout)))
    }

    @inline(__always)
    subscript(_ index: Int) -> stile_event {
        precondition(index >= 0 && index < Self.capacity, "an event beyond those that a wait can give")
        return unsafe base[index]
    }
}
