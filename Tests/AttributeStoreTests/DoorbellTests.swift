// The bell of a store: rung by every commit, heard by whoever sleeps on it.

import AttributeStore
import StrictJSON
import Testing

@Suite("doorbell")
struct DoorbellTests {
    @Test("a commit counts its tenant up and ends a wait; a refused batch does not")
    func commit() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let bell = try #require(Doorbell(temporary.store))
        let slot = Doorbell.slot(of: "t")
        let before = bell.count(at: slot)
        let rings = bell.rings
        try writer.append([.putDevice(id: "d", document: .object([]))], time: 2)
        #expect(bell.count(at: slot) == before + 1)
        #expect(bell.wait(after: rings, timeout: 0))
        let after = bell.rings
        #expect(throws: StoreError.self) {
            try writer.append([.patchMembers(group: "none", add: [], remove: [])], time: 3)
        }
        #expect(bell.rings == after)
        #expect(!bell.wait(after: after, timeout: 1))
    }

    @Test("a change of the registry is counted apart")
    func registry() throws {
        let temporary = try TemporaryStore()
        let bell = try #require(Doorbell(temporary.store))
        let before = bell.registryCount
        try temporary.store.updateTenant("t") { $0.allowedUsers = [8] }
        #expect(bell.registryCount == before + 1)
    }

    @Test("a sleeper in another thread is woken by a commit")
    func wake() async throws {
        let temporary = try TemporaryStore()
        let bell = try #require(Doorbell(temporary.store))
        let seen = bell.rings
        async let woken = Task.detached { bell.wait(after: seen, timeout: 30_000) }.value
        bell.ring(tenant: "t")
        #expect(await woken)
    }

    @Test("a bell whose file was replaced is not the store's any more")
    func replaced() throws {
        let temporary = try TemporaryStore()
        let bell = try #require(Doorbell(temporary.store))
        #expect(bell.isCurrent)
        temporary.removeDoorbell()
        #expect(!bell.isCurrent)
        #expect(Doorbell(temporary.store)?.isCurrent == true)
    }
}
