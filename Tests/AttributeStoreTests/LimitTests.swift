// Budgets of a tenant: kept in the registry, held at the push.

import AttributeStore
import Testing

@Suite("limits of a tenant")
struct LimitTests {
    private func limit(_ temporary: TemporaryStore, _ limit: TenantLimit, _ value: UInt64?) throws {
        try temporary.store.updateTenant("t") { $0.limits[limit] = value }
    }

    private func push(_ writer: inout TenantWriter) -> StoreError? {
        do throws(StoreError) {
            _ = try writer.push(
                [PolicyFile(name: "all.stile", text: TemporaryStore.catalog)], author: "", message: "", time: 1)
            return nil
        } catch {
            return error
        }
    }

    @Test("they come back from the registry, and the rest of the record stays")
    func registry() throws {
        let temporary = try TemporaryStore()
        for (index, name) in TenantLimit.allCases.enumerated() { try limit(temporary, name, UInt64(index + 1) << 20) }
        try limit(temporary, .rules, nil)
        let record = try temporary.store.tenant("t")
        for (index, name) in TenantLimit.allCases.enumerated() {
            #expect(record.limits[name] == (name == .rules ? nil : UInt64(index + 1) << 20))
        }
        #expect(record.allowedUsers == [7])
        #expect(record.created == 1)
    }

    @Test(
        "a version above a limit is refused by the limit's name, and nothing is stored",
        arguments: [(TenantLimit.policyBytes, UInt64(100)), (.treeBytes, 8), (.memoryBytes, 8)])
    func policies(_ limit: TenantLimit, _ value: UInt64) throws {
        let temporary = try TemporaryStore()
        try self.limit(temporary, limit, value)
        var writer = try TenantWriter(temporary.store, tenant: "t")
        let error = push(&writer)
        #expect(error?.code == .budgetExceeded)
        #expect(error?.message.hasPrefix("\(limit.name) of the tenant is \(value), and this takes ") == true)
        #expect(try temporary.generations().activeVersion == 0)
        try self.limit(temporary, limit, nil)
        #expect(push(&writer) == nil)
    }

    @Test("data above the limit are refused, and what was there stays")
    func data() throws {
        let temporary = try TemporaryStore()
        try limit(temporary, .storeBytes, 1 << 20)
        var writer = try temporary.writer()
        let error = refusal(&writer, try (0..<5_000).map { try user("u\($0)") })
        #expect(error?.code == .storeFull)
        #expect(error?.message.contains("store-bytes") == true)
        try writer.append([try user("ada")], time: 1)
    }
}
