// The tenants' stores as handlers see them: readers and writers that are kept open, used by one thread at a time, off
// the threads that serve connections.
//
// INVARIANT of this unsafe file: an `OpenReader` is used by the one thread that has taken it from the list; a
// `OpenWriter` only under its lock. LMDB's write transactions begin and end within one call on one thread.

package import AttributeStore
import CLinux
import HTTPTypes
import NIOPosix
import Synchronization

/// Work that blocks (a commit waits for the disk, a socket for an answer), on threads of its own.
package final class BlockingWork: Sendable {
    private let pool: NIOThreadPool
    private let waiting = Atomic<Int>(0)
    private let limit: Int

    /// - Parameters:
    ///   - threads: how much is done at once.
    ///   - limit: how much may wait; more is refused.
    package init(threads: Int, limit: Int) {
        pool = NIOThreadPool(numberOfThreads: threads)
        self.limit = limit
        pool.start()
    }

    /// Runs something on one of the threads.
    /// - Throws: `overloaded` (503) when too much waits, and what the work throws.
    package func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        let count = waiting.wrappingAdd(1, ordering: .relaxed).newValue
        defer { waiting.wrappingSubtract(1, ordering: .relaxed) }
        guard count <= limit else {
            var error = GatewayError(
                .serviceUnavailable, "overloaded", "\(limit) requests wait for the store: try again in a second")
            error.headers[.retryAfter] = "1"
            throw error
        }
        return try await pool.runIfActive(work)
    }

    /// Ends the threads once what they do is done.
    package func stop() async { try? await pool.shutdownGracefully() }
}

/// Readers and writers of all tenants.
package final class Tenancy: Sendable {
    package let book: ControlBook
    private let work: BlockingWork
    private let open = Mutex<[String: OpenTenant]>([:])
    /// Readers of one tenant that are kept for the next.
    private static let maxIdleReaders = 32

    private final class OpenReader: @unchecked Sendable {
        var reader: TenantReader

        init(_ store: Store, _ tenant: String) throws(StoreError) {
            reader = try TenantReader(store, tenant: tenant)
        }
    }

    private final class OpenWriter: @unchecked Sendable {
        var writer: TenantWriter

        init(_ store: Store, _ tenant: String) throws(StoreError) {
            writer = try TenantWriter(store, tenant: tenant)
        }
    }

    /// A tenant as it was when it was opened: one that is made anew under the same name is another.
    private final class OpenTenant: Sendable {
        let created: Int64
        let readers = Mutex<[OpenReader]>([])
        let writer = Mutex<OpenWriter?>(nil)

        init(created: Int64) { self.created = created }
    }

    package init(book: ControlBook, work: BlockingWork) {
        self.book = book
        self.work = work
    }

    /// Reads one snapshot of a tenant on a thread of its own.
    /// - Throws: `tenant_unknown`, and what the body throws.
    package func read<Value: Sendable>(
        _ tenant: String, _ body: @escaping @Sendable (inout TenantReader) throws -> Value
    ) async throws -> Value {
        try await work.run { try self.readNow(tenant, body) }
    }

    /// Reads one snapshot of a tenant on this thread: for what takes microseconds.
    package func readNow<Value>(_ tenant: String, _ body: (inout TenantReader) throws -> Value) throws -> Value {
        let place = try place(tenant)
        let kept = place.readers.withLock { $0.popLast() }
        let open = try kept ?? OpenReader(book.store, tenant)
        try open.reader.renew()
        defer {
            open.reader.reset()
            place.readers.withLock { if $0.count < Self.maxIdleReaders { $0.append(open) } }
        }
        return try body(&open.reader)
    }

    /// Writes a tenant on a thread of its own, one write at a time.
    /// - Throws: `tenant_unknown`, and what the body throws.
    package func write<Value: Sendable>(
        _ tenant: String, _ body: @escaping @Sendable (inout TenantWriter) throws -> Value
    ) async throws -> Value {
        try await work.run {
            let place = try self.place(tenant)
            return try place.writer.withLock { slot in
                let open = try slot ?? OpenWriter(self.book.store, tenant)
                slot = open
                return try body(&open.writer)
            }
        }
    }

    /// Runs something else that blocks.
    package func block<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await work.run(body)
    }

    /// Forgets a tenant that was deleted, so that its files are closed.
    package func forget(_ tenant: String) { open.withLock { _ = $0.removeValue(forKey: tenant) } }

    private func place(_ tenant: String) throws(StoreError) -> OpenTenant {
        guard let record = try book.tenant(tenant) else {
            forget(tenant)
            throw StoreError(.tenantUnknown, "no tenant \"\(tenant.prefix(64))\"")
        }
        return open.withLock { list in
            if let known = list[tenant], known.created == record.created { return known }
            let made = OpenTenant(created: record.created)
            list[tenant] = made
            return made
        }
    }
}
