// The number of the last commit as read from the file against what LMDB says.

import AttributeStore
import Testing

@Suite("number of the last commit")
struct CommitNumberTests {
    @Test("it moves with each commit, and a snapshot that was held is renewed by it")
    func commits() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let environment = try LMDBEnvironment.open(
            temporary.store.tenantPath("t"), names: [], mapSize: temporary.store.mapSize, readOnly: true)
        #expect(environment.readsCommitsItself, "the layout of the file is not the one that is known")
        var reader = try TenantReader(temporary.store, tenant: "t")
        for step in 0..<50 {
            let before = environment.lastCommit
            try writer.append([try user("u\(step)")], time: 1)
            #expect(environment.lastCommit == before + 1)
            #expect(environment.lastCommit == environment.toldCommit)
            try reader.renew()
            #expect(reader.snapshot == environment.lastCommit)
        }
    }
}
