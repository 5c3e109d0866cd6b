// What the desk of credentials promises.

import AttributeStore
import Credentials
import Glibc
import Testing

/// A store of its own, removed with the value.
private final class Scratch {
    let store: Store
    let desk: CredentialDesk

    init() throws {
        var template = Array("/tmp/stile-credentials-\(String(repeating: "X", count: 6))".utf8CString)
        let path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "" }
            return unsafe String(cString: made)
        }
        var store = Store(path: path, mapSize: 16 << 20)
        store.isWriting = true
        try store.createTenant("acme", TenantRecord(created: 0, allowedUsers: []))
        let book = try ControlBook(store)
        let key = try CredentialKey(path: CredentialKey.defaultPath(store), makes: true)
        desk = CredentialDesk(book: book, key: key)
        self.store = store
    }

    deinit {
        for file in ["control/credential.key", "control/data.mdb", "control/lock.mdb"] {
            _ = unsafe unlink("\(store.path)/\(file)")
        }
        for folder in ["tenants/acme/data.mdb", "tenants/acme/lock.mdb"] {
            _ = unsafe unlink("\(store.path)/\(folder)")
        }
        for folder in ["/tenants/acme", "/tenants", "/control", ""] { _ = unsafe rmdir(store.path + folder) }
    }

    func create(life: Int64 = 1_000_000) throws -> (token: BearerToken, record: CredentialRecord) {
        try desk.create(role: .pep, tenant: "acme", label: "shop", author: "test", life: life, now: 1_000)
    }

    func refusal(_ token: BearerToken, now: Int64) throws -> CredentialRefusal? {
        switch try desk.check(token, now: now) {
        case .success: nil
        case .failure(let refusal): refusal
        }
    }
}

@Suite struct CredentialDeskTests {
    @Test func aCredentialIsGoodUntilItExpires() throws {
        let scratch = try Scratch()
        let (token, record) = try scratch.create()
        #expect(try scratch.refusal(token, now: 1_001) == nil)
        #expect(try scratch.refusal(token, now: record.expires - 1) == nil)
        #expect(try scratch.refusal(token, now: record.expires) == .expired)
    }

    @Test func theStoreHoldsNoCredential() throws {
        let scratch = try Scratch()
        let (token, record) = try scratch.create()
        #expect(!record.hash.isEmpty)
        #expect(try scratch.desk.book.credential(token.id)?.hash == record.hash)
        let other = try scratch.create()
        #expect(other.record.hash != record.hash)
        #expect(token.text.hasPrefix("stile_pep_"))
    }

    @Test func aRevokedCredentialIsRefusedAtOnce() throws {
        let scratch = try Scratch()
        let (token, record) = try scratch.create()
        let before = scratch.desk.book.generation
        _ = try scratch.desk.revoke(record.id, now: 2_000)
        #expect(try scratch.refusal(token, now: 2_000) == .revoked)
        #expect(scratch.desk.book.generation > before)
    }

    @Test func rotationLeavesBothGoodForTheOverlap() throws {
        let scratch = try Scratch()
        let (old, record) = try scratch.create()
        let made = try scratch.desk.rotate(record.id, author: "test", life: 1_000_000, overlap: 500, now: 2_000)
        #expect(made.record.replaces == record.id)
        #expect(made.record.role == "pep" && made.record.tenant == "acme" && made.record.label == "shop")
        #expect(try scratch.refusal(old, now: 2_499) == nil)
        #expect(try scratch.refusal(old, now: 2_500) == .expired)
        #expect(try scratch.refusal(made.token, now: 2_500) == nil)
    }

    @Test func rotationNeverLengthensALife() throws {
        let scratch = try Scratch()
        let (old, record) = try scratch.create(life: 1_500)
        _ = try scratch.desk.rotate(record.id, author: "test", life: 1_000_000, overlap: 86_400_000, now: 2_000)
        #expect(try scratch.refusal(old, now: 2_500) == .expired)
    }

    @Test func aCredentialOfAnotherKeyIsUnknown() throws {
        let scratch = try Scratch()
        let other = try Scratch()
        let (token, record) = try scratch.create()
        try other.desk.book.put([record])
        #expect(try other.refusal(token, now: 1_001) == .unknown)
    }

    @Test func theCredentialsOfATenantEndWithIt() throws {
        let scratch = try Scratch()
        let (token, _) = try scratch.create()
        try scratch.store.deleteTenant("acme")
        try scratch.store.createTenant("acme", TenantRecord(created: 9, allowedUsers: []))
        #expect(try scratch.refusal(token, now: 1_001) == .unknown)
    }

    @Test func rolesAndTenantsFit() throws {
        let scratch = try Scratch()
        #expect(throws: CredentialError.self) {
            try scratch.desk.create(role: .operator, tenant: "acme", label: "", author: "", life: 1, now: 0)
        }
        #expect(throws: CredentialError.self) {
            try scratch.desk.create(role: .pep, tenant: nil, label: "", author: "", life: 1, now: 0)
        }
        #expect(throws: CredentialError.self) {
            try scratch.desk.create(role: .pep, tenant: "nobody", label: "", author: "", life: 1, now: 0)
        }
    }

    @Test func aKeyThatOthersCanReadIsRefused() throws {
        let scratch = try Scratch()
        let path = CredentialKey.defaultPath(scratch.store)
        _ = unsafe chmod(path, 0o640)
        #expect(throws: StoreError.self) { try CredentialKey(path: path, makes: false) }
    }
}

@Suite struct BearerTokenTests {
    @Test(arguments: Role.allCases) func readsWhatItWrote(role: Role) throws {
        let id = UniqueID()
        let token = try BearerToken(role: role, id: id)
        let read = try #require(BearerToken(token.text))
        #expect(read.role == role && read.id == id && read.text == token.text)
    }

    @Test func aMistypedCharacterIsSeen() throws {
        let text = try BearerToken(role: .pep, id: UniqueID()).text
        for index in text.indices where index > text.index(text.startIndex, offsetBy: 9) {
            var wrong = text
            wrong.replaceSubrange(index...index, with: text[index] == "a" ? "b" : "a")
            #expect(BearerToken(wrong) == nil)
        }
    }

    @Test(arguments: [
        "", "stile", "stile_pep_", "stile_pep_abc", "ghp_abc", "stile_nobody_" + String(repeating: "0", count: 71),
        "stile_pep_" + String(repeating: "z", count: 71), String(repeating: "_", count: 200),
        "stile_pep_" + String(repeating: "é", count: 71),
    ]) func whatIsNoneIsRefused(text: String) { #expect(BearerToken(text) == nil) }

    @Test func idsAreRandomUUIDs() {
        let ids = Set((0..<1_000).map { _ in UniqueID() })
        #expect(ids.count == 1_000)
        for id in ids {
            let text = id.description
            #expect(UniqueID(text) == id)
            #expect(Array(text)[14] == "4")
            #expect("89ab".contains(Array(text)[19]))
        }
        #expect(UniqueID("9b2d8f5e-31f4-4c1a-8d2e-0a6f5b7c9d1") == nil)
        #expect(UniqueID("9b2d8f5e031f4-4c1a-8d2e-0a6f5b7c9d10") == nil)
    }
}
