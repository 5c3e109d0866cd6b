// Compiled policies that surveys share.

import AttributeStore
import DecisionPath
import PolicyLanguage
import Testing

@Suite("kept policies")
struct KeptPoliciesTests {
    @Test("a version is compiled once, and the next one as soon as it decides")
    func current() throws {
        let tenant = try TemporaryTenant()
        let kept = KeptPolicies(store: tenant.store)
        let first = try TenantSurvey(tenant.store, tenant: "t", now: 3, board: kept.board(of: "t"))
        #expect(
            try TenantSurvey(tenant.store, tenant: "t", now: 4, board: kept.board(of: "t")).compiled === first.compiled)
        #expect(try TenantSurvey(tenant.store, tenant: "t", now: 4).compiled !== first.compiled)
        var writer = try TenantWriter(tenant.store, tenant: "t")
        let closed = TemporaryTenant.text.replacing("resource.total < 100.5", with: "resource.total < 5")
        _ = try writer.push([PolicyFile(name: "all.stile", text: closed)], author: "t", message: "", time: 3)
        let second = try TenantSurvey(tenant.store, tenant: "t", now: 5, board: kept.board(of: "t"))
        #expect(second.compiled.version == first.compiled.version + 1)
    }

    @Test("the tenant that was not asked about for longest is forgotten, and who is no tenant is not kept")
    func bounds() throws {
        let tenant = try TemporaryTenant()
        let kept = KeptPolicies(store: tenant.store, maxTenants: 2)
        for name in ["a", "b"] { try tenant.store.createTenant(name, TenantRecord(created: 1, allowedUsers: [])) }
        for name in ["t", "a", "t", "b"] { try kept.board(of: name).refresh(name) }
        #expect(kept.tenants == ["b", "t"])
        #expect(throws: StoreError.self) { try kept.board(of: "nobody") }
        #expect(kept.tenants == ["b", "t"])
        for name in ["a", "b"] { try tenant.store.deleteTenant(name) }
        #expect(throws: StoreError.self) { try kept.board(of: "b") }
        #expect(kept.tenants == ["t"])
    }
}
