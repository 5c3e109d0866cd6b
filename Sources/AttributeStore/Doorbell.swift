// Tells readers that a tenant's store has moved, without their having to look: a page of counters in the store's
// directory that writers count up after each commit, and a futex on the first of them.
//
// A futex in a file reaches every process that maps it, needs no reader to be known, cannot fill up and costs the
// writer one system call beside a commit of milliseconds. A writer that dies between its commit and the ring leaves
// the bell silent, as does a file system that does not let the page be shared: so readers look after a while all the
// same (`DecisionServer`'s slow look).
//
// INVARIANT of this unsafe file: `words` is a shared mapping of `pageBytes` bytes that stands until `deinit`; its words
// are touched through the atomic calls of CLinux alone, at indices below `slots`. The file is as long as the mapping
// before it is mapped and nobody shortens it.

import CLinux
import Glibc

/// The bell of a store; shared by all threads.
@safe
package final class Doorbell: @unchecked Sendable {
    private static let pageBytes = 4096
    private static let slots = pageBytes / 4
    /// Counts rings of any kind; what waiters wait on.
    private static let anySlot = 0
    /// Counts changes of the registry of tenants.
    private static let registrySlot = 1

    private let words: UnsafeMutablePointer<UInt32>
    private let path: String
    private let inode: UInt64
    private let isWritable: Bool

    /// Opens the bell of a store, and makes it when it is not there.
    /// - Returns: nil when it can be neither made nor read; readers then look at intervals.
    package init?(_ store: Store) {
        path = store.doorbellPath
        var descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        let isWritable = descriptor >= 0
        if !isWritable { descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var info = stat()
        guard unsafe fstat(descriptor, &info) == 0 else { return nil }
        // Allocated, not only lengthened: a store into a page that the disk has no room for would end the process.
        if info.st_size < Self.pageBytes,
            !isWritable || posix_fallocate(descriptor, 0, off_t(Self.pageBytes)) != 0
        {
            return nil
        }
        let access = isWritable ? PROT_READ | PROT_WRITE : PROT_READ
        guard let page = unsafe mmap(nil, Self.pageBytes, access, MAP_SHARED, descriptor, 0),
            unsafe page != MAP_FAILED
        else { return nil }
        unsafe words = page.bindMemory(to: UInt32.self, capacity: Self.slots)
        inode = UInt64(info.st_ino)
        self.isWritable = isWritable
    }

    deinit { unsafe munmap(words, Self.pageBytes) }

    // MARK: Writers

    /// Says that a tenant's store has moved; called after its commit.
    package func ring(tenant: String) { ring(Self.slot(of: tenant)) }

    /// Says that the registry of tenants has moved.
    package func ringRegistry() { ring(Self.registrySlot) }

    private func ring(_ slot: Int) {
        guard isWritable else { return }
        unsafe stile_count(words + slot)
        unsafe stile_count(words + Self.anySlot)
        unsafe stile_futex_wake(words + Self.anySlot)
    }

    // MARK: Readers

    /// Where a tenant is counted. Tenants may share a place: a look too many then, never one too few.
    package static func slot(of tenant: String) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in tenant.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return 2 + Int(truncatingIfNeeded: (hash >> 32) % UInt64(slots - 2))
    }

    /// The count at a place that `slot(of:)` gave.
    package func count(at slot: Int) -> UInt32 { unsafe stile_counted(words + slot) }

    /// The count of changes of the registry.
    package var registryCount: UInt32 { count(at: Self.registrySlot) }

    /// The count of all rings.
    package var rings: UInt32 { count(at: Self.anySlot) }

    /// Sleeps until `rings` differs from `seen`, or the time is over.
    /// - Parameter timeout: milliseconds.
    /// - Returns: false when the time was over.
    package func wait(after seen: UInt32, timeout: Int32) -> Bool {
        if rings != seen { return true }
        unsafe stile_futex_wait(words + Self.anySlot, seen, timeout)
        return rings != seen
    }

    /// True while the store's bell is still this one: a store that was put back from a copy has another.
    package var isCurrent: Bool {
        var info = stat()
        return unsafe stat(path, &info) == 0 && UInt64(info.st_ino) == inode
    }
}
