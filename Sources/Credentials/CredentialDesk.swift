// Makes, checks, rotates and revokes the credentials of callers.

package import AttributeStore
package import Cryptography

/// Why a credential was refused. Callers are told no more than "refused"; the log is told which it was.
package enum CredentialRefusal: String, Error, Sendable {
    /// The text is no credential of ours.
    case malformed
    /// No such credential, or not this secret.
    case unknown
    case revoked
    case expired
}

/// Why a credential could not be made or changed.
package enum CredentialError: Error, Sendable, CustomStringConvertible {
    case store(StoreError)
    case cryptography(CryptographyError)
    /// The request makes no sense; says what would.
    case invalid(String)
    case unknownCredential(UniqueID)

    package var description: String {
        switch self {
        case .store(let error): error.description
        case .cryptography(let error): error.description
        case .invalid(let message): message
        case .unknownCredential(let id): "no credential \(id): `stile credential list` shows what there is"
        }
    }
}

/// Limits of credentials.
package enum CredentialLimits {
    /// Life of a credential unless told otherwise: 90 days, in ms.
    package static let defaultLife: Int64 = 90 * 86_400_000
    /// Longest life: two years, in ms.
    package static let maxLife: Int64 = 731 * 86_400_000
    /// Time in which old and new are both good when rotating, unless told otherwise: a day, in ms.
    package static let defaultOverlap: Int64 = 86_400_000
    /// Longest such time: 30 days, in ms.
    package static let maxOverlap: Int64 = 30 * 86_400_000
    /// Credentials of one tenant that were not revoked and have not expired.
    package static let maxLive = 1_000
    /// Characters of a label.
    package static let maxLabel = 200
}

/// The desk where callers get their credentials.
package struct CredentialDesk: Sendable {
    package let book: ControlBook
    private let key: CredentialKey

    package init(book: ControlBook, key: CredentialKey) {
        self.book = book
        self.key = key
    }

    /// A key for another purpose, the same as long as the key of credentials is.
    package func derivedKey(for purpose: String) throws(CryptographyError) -> [UInt8] {
        try key.derived(for: purpose)
    }

    // MARK: Checking

    /// The record of a credential that is good at an instant (ms since the epoch).
    ///
    /// Every refusal takes the same steps: one look-up, one hash, one comparison in constant time.
    package func check(_ token: BearerToken, now: Int64) throws(CredentialError) -> Result<
        CredentialRecord, CredentialRefusal
    > {
        let record = try stored { () throws(StoreError) in try book.credential(token.id) }
        let hash = try hash(token)
        guard Cryptography.areEqual(hash, record?.hash ?? Self.nobody), let record, record.role == token.role.rawValue
        else { return .failure(.unknown) }
        if record.revoked != nil { return .failure(.revoked) }
        if record.expires <= now { return .failure(.expired) }
        return .success(record)
    }

    /// What no hash equals.
    private static let nobody = [UInt8](repeating: 0, count: Cryptography.hashBytes)

    private func hash(_ token: BearerToken) throws(CredentialError) -> [UInt8] {
        do throws(CryptographyError) {
            return try Cryptography.hmac(Array(token.text.utf8), key: key.bytes)
        } catch {
            throw .cryptography(error)
        }
    }

    // MARK: Making and changing

    /// Makes a credential. The token is shown once; only its keyed hash is kept.
    /// - Parameters:
    ///   - tenant: nil for an operator, needed for every other role.
    ///   - life: ms.
    ///   - now: ms since the epoch.
    package func create(
        role: Role, tenant: String?, label: String, author: String, life: Int64, now: Int64
    ) throws(CredentialError) -> (token: BearerToken, record: CredentialRecord) {
        guard role.isOfAllTenants == (tenant == nil) else {
            throw .invalid(
                role.isOfAllTenants
                    ? "an operator is no tenant's: leave the tenant out" : "a \(role.rawValue) needs a tenant")
        }
        guard (1...CredentialLimits.maxLife).contains(life) else {
            throw .invalid("a credential lives from 1 ms to \(CredentialLimits.maxLife / 86_400_000) days")
        }
        guard label.unicodeScalars.count <= CredentialLimits.maxLabel else {
            throw .invalid("a label has at most \(CredentialLimits.maxLabel) characters")
        }
        if let tenant { try require(tenant) }
        let live = try list(tenant: tenant).filter { $0.revoked == nil && $0.expires > now }
        guard live.count < CredentialLimits.maxLive else {
            throw .invalid("\(live.count) credentials are live: revoke those that nobody uses")
        }
        return try issue(
            role, tenant: tenant, label: label, author: author, life: life, now: now, replaces: nil, others: [])
    }

    /// Makes a credential that replaces another, which stays good for `overlap` ms at most.
    package func rotate(
        _ id: UniqueID, author: String, life: Int64, overlap: Int64, now: Int64
    ) throws(CredentialError) -> (token: BearerToken, record: CredentialRecord, replaced: CredentialRecord) {
        guard (0...CredentialLimits.maxOverlap).contains(overlap) else {
            throw .invalid("the overlap is from 0 to \(CredentialLimits.maxOverlap / 86_400_000) days")
        }
        guard (1...CredentialLimits.maxLife).contains(life) else {
            throw .invalid("a credential lives from 1 ms to \(CredentialLimits.maxLife / 86_400_000) days")
        }
        guard var old = try stored({ () throws(StoreError) in try book.credential(id) }),
            let role = Role(rawValue: old.role)
        else { throw .unknownCredential(id) }
        guard old.revoked == nil, old.expires > now else {
            throw .invalid("credential \(id) was revoked or has expired: make a new one")
        }
        old.expires = min(old.expires, now + overlap)
        let made = try issue(
            role, tenant: old.tenant, label: old.label, author: author, life: life, now: now, replaces: id,
            others: [old])
        return (made.token, made.record, old)
    }

    /// Ends a credential at once. One that has ended already stays as it is.
    package func revoke(_ id: UniqueID, now: Int64) throws(CredentialError) -> CredentialRecord {
        guard var record = try stored({ () throws(StoreError) in try book.credential(id) }) else {
            throw .unknownCredential(id)
        }
        if record.revoked == nil {
            record.revoked = now
            let revoked = record
            try stored { () throws(StoreError) in try book.put([revoked]) }
        }
        return record
    }

    /// The credentials of a tenant, or of the operators of all, oldest first.
    package func list(tenant: String?) throws(CredentialError) -> [CredentialRecord] {
        try stored { () throws(StoreError) in try book.allCredentials() }.filter { $0.tenant == tenant }
    }

    private func issue(
        _ role: Role, tenant: String?, label: String, author: String, life: Int64, now: Int64, replaces: UniqueID?,
        others: [CredentialRecord]
    ) throws(CredentialError) -> (token: BearerToken, record: CredentialRecord) {
        let id = UniqueID()
        let token: BearerToken
        do throws(CryptographyError) {
            token = try BearerToken(role: role, id: id)
        } catch {
            throw .cryptography(error)
        }
        let record = CredentialRecord(
            id: id, role: role.rawValue, tenant: tenant, hash: try hash(token), label: label, author: author,
            created: now, expires: now + life, replaces: replaces)
        try stored { () throws(StoreError) in try book.put(others + [record]) }
        return (token, record)
    }

    private func require(_ tenant: String) throws(CredentialError) {
        try stored { () throws(StoreError) in
            if try book.tenant(tenant) == nil { _ = try book.store.tenant(tenant) }
        }
    }

    private func stored<Value>(_ body: () throws(StoreError) -> Value) throws(CredentialError) -> Value {
        do throws(StoreError) {
            return try body()
        } catch {
            throw .store(error)
        }
    }
}
