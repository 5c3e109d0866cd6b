// Roles that subjects have taken for a time: as they are recorded, how they end, and how they are folded.
//
// A grant ends by its end, by revocation, or with its subject's deactivation; with the subject itself its grants go too. The
// end is data: views hold it beside the role's name, and a decision compares it with `now`. What has ended is kept for who
// looks back, `StoreLimits.maxGrantsKept` of a subject.

import CBOR
import DecisionEngine

/// A role that a subject has taken for a time.
package struct RoleGrant: Sendable, Hashable {
    /// How a grant ended before its end.
    package struct Ending: Sendable, Hashable {
        /// Kinds; the raw values are stable.
        package enum Kind: String, Sendable, Hashable {
            case revoked
            /// The subject was deactivated.
            case deactivated
        }

        package var kind: Kind
        /// Of a revocation: when, ms since the epoch, by whom, and why.
        package var at: Int64?
        package var by: String
        package var reason: String
    }

    /// How it stands at an instant.
    package enum State: String, Sendable, Hashable, CaseIterable {
        case active, ended, revoked, deactivated
    }

    package var id: UniqueID
    package var subject: EntityName
    /// The role's name in the policies.
    package var role: String
    /// ms since the epoch.
    package var since: Int64
    /// First instant at which it is gone, ms since the epoch.
    package var until: Int64
    /// Why the subject asked for it.
    package var reason: String
    /// Who had it recorded: an operator's name, or the caller of the gateway.
    package var by: String
    /// The version of the policies that offered it, and the offer's name and place there.
    package var version: UInt64
    package var offer: String
    package var place: String
    /// Nil while it runs to its end.
    package var ending: Ending?

    package init(
        id: UniqueID = UniqueID(), subject: EntityName, role: String, since: Int64, until: Int64, reason: String,
        by: String, version: UInt64, offer: String, place: String
    ) {
        self.id = id
        self.subject = subject
        self.role = role
        self.since = since
        self.until = until
        self.reason = reason
        self.by = by
        self.version = version
        self.offer = offer
        self.place = place
    }

    /// How it stands at an instant, ms since the epoch.
    package func state(at now: Int64) -> State {
        switch ending?.kind {
        case .revoked: .revoked
        case .deactivated: .deactivated
        case nil: until > now ? .active : .ended
        }
    }

    /// What is wrong with it, or nil.
    var problem: String? {
        if let problem = StoreLimits.problem(withID: subject.id) { return problem }
        if role.isEmpty || role.utf8.count > StoreLimits.maxIDBytes { return "a role's name has 1 to 256 bytes" }
        if until <= since { return "a grant needs an end behind its beginning" }
        return Self.problem(withReason: reason)
    }

    /// What is wrong with a reason, or nil.
    package static func problem(withReason reason: String) -> String? {
        if reason.allSatisfy(\.isWhitespace) { return "a reason is needed: say what the role is taken for" }
        let count = reason.utf8.count
        guard count <= StoreLimits.maxReasonBytes else {
            return "a reason of \(count) bytes, above \(StoreLimits.maxReasonBytes)"
        }
        return nil
    }
}

// MARK: Encoding (keys are part of the store's format: never reused with another meaning)

extension RoleGrant {
    /// As a record, or as a change of a kind; 1 and 2 name the subject, as in every change.
    func cbor(kind: UInt64? = nil) -> CBORValue {
        .record([
            0: kind.map { .unsigned($0) }, 1: .text(subject.type), 2: .text(subject.id), 5: .text(role),
            8: .number(since), 9: .number(until), 10: .unsigned(version), 12: .text(by), 13: .text(reason),
            16: .bytes(id.bytes), 17: .text(offer), 18: .text(place), 19: ending?.cbor,
        ])
    }

    init?(_ value: CBORValue) {
        guard let type = value[1]?.text, let subject = value[2]?.text, let role = value[5]?.text,
            let since = value[8]?.int, let until = value[9]?.int, let id = UniqueID(value[16])
        else { return nil }
        self.init(
            id: id, subject: EntityName(type: type, id: subject), role: role, since: since, until: until,
            reason: value[13]?.text ?? "", by: value[12]?.text ?? "", version: value[10]?.uint ?? 0,
            offer: value[17]?.text ?? "", place: value[18]?.text ?? "")
        ending = value[19].flatMap { Ending($0) }
    }

    init?(stored: [UInt8]) {
        guard stored.first == Key.plain, let value = try? CBORValue.decode(Array(stored.dropFirst())) else {
            return nil
        }
        self.init(value)
    }

    fileprivate var stored: [UInt8] { [Key.plain] + cbor().encoded }
}

extension RoleGrant.Ending {
    fileprivate var cbor: CBORValue {
        .array([.text(kind.rawValue), at.map { .number($0) } ?? .null, .text(by), .text(reason)])
    }

    fileprivate init?(_ value: CBORValue) {
        guard let parts = value.items, parts.count == 4, let kind = parts[0].text.flatMap({ Kind(rawValue: $0) }) else {
            return nil
        }
        self.init(kind: kind, at: parts[1].int, by: parts[2].text ?? "", reason: parts[3].text ?? "")
    }
}

/// Keys of `grants`.
enum GrantKey {
    /// Where a grant's subject is found by the grant's id.
    static func index(_ id: UniqueID) -> [UInt8] { [0] + id.bytes }
    /// Where a subject's grants stand.
    static func prefix(_ entity: [UInt8]) -> [UInt8] { entity + [0] }
    static func record(_ entity: [UInt8], _ id: UniqueID) -> [UInt8] { prefix(entity) + id.bytes }
    /// Behind every key of the index, and before every record.
    static let records: [UInt8] = [0] + Array(repeating: 0xff, count: 17)
}

extension [RoleGrant] {
    /// What a view holds: the roles that may still run, each until the last of its ends, by name. What had ended when the
    /// newest grant began is left out.
    var inView: [GrantedRole] {
        let newest = map(\.since).max() ?? 0
        var ends: [String: Int64] = [:]
        for grant in self where grant.ending == nil && grant.until > newest {
            ends[grant.role] = Swift.max(grant.until, ends[grant.role] ?? grant.until)
        }
        return ends.map { GrantedRole(name: $0.key, until: $0.value) }.sorted { $0.name < $1.name }
    }
}

// MARK: Folding

extension Fold {
    /// A subject's grants, in the order of their ids.
    func grants(
        of entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [RoleGrant] {
        guard let database = databases.grants else { return [] }
        var grants: [RoleGrant] = []
        try transaction.scan(database, prefix: GrantKey.prefix(entity)) { _, value in
            if let grant = RoleGrant(stored: value) { grants.append(grant) }
            return true
        }
        return grants
    }

    mutating func putGrant(
        _ grant: RoleGrant, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        guard let database = databases.grants else { throw LMDBError(LMDBError.notFound, "finding database grants") }
        if let problem = grant.problem { return StoreError(.valueInvalid, problem) }
        let entity = grant.subject.key
        guard let subject = try transaction.get(databases.subjects, entity), subject.count >= 2, subject[1] == 1 else {
            return StoreError(
                .valueInvalid,
                "\(grant.subject.type) \"\(grant.subject.id)\" is unknown or deactivated: no role is granted")
        }
        let known = try grants(of: entity, transaction)
        if known.contains(where: { $0.id == grant.id }) { return nil }
        if try transaction.get(database, GrantKey.index(grant.id)) != nil {
            return StoreError(.valueInvalid, "another subject has the grant \(grant.id)")
        }
        let running = known.filter { $0.ending == nil && $0.until > grant.since }
        guard running.count < StoreLimits.maxGrantsOfSubject else {
            return StoreError(
                .tooManyGrants,
                "\(grant.subject.type) \"\(grant.subject.id)\" has \(running.count) grants that run, and "
                    + "\(StoreLimits.maxGrantsOfSubject) are the most: let one end, or revoke it")
        }
        let past = known.filter { $0.ending != nil || $0.until <= grant.since }
            .sorted { ($0.until, $0.id.description) < ($1.until, $1.id.description) }
        for old in past.dropLast(StoreLimits.maxGrantsKept - 1) {
            try transaction.delete(database, GrantKey.record(entity, old.id))
            try transaction.delete(database, GrantKey.index(old.id))
        }
        try put(grant, database, transaction)
        return try writeSubjectView(grant.subject.type, grant.subject.id, transaction)
    }

    private func put(
        _ grant: RoleGrant, _ database: LMDBDatabase, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        let entity = grant.subject.key
        try transaction.put(database, GrantKey.index(grant.id), [Key.plain] + entity)
        try transaction.put(database, GrantKey.record(entity, grant.id), grant.stored)
    }

    mutating func revokeGrant(
        _ id: UniqueID, of subject: EntityName, _ ending: RoleGrant.Ending,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        guard let database = databases.grants,
            var grant = try transaction.get(database, GrantKey.record(subject.key, id)).flatMap({
                RoleGrant(stored: $0)
            })
        else { return StoreError(.grantUnknown, "\(subject.type) \"\(subject.id)\" has no grant \(id)") }
        if grant.ending != nil { return nil }
        grant.ending = ending
        try put(grant, database, transaction)
        return try writeSubjectView(subject.type, subject.id, transaction)
    }

    /// A subject is deactivated: what it has taken does not come back with it.
    func endGrants(of entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        guard let database = databases.grants else { return }
        for var grant in try grants(of: entity, transaction) where grant.ending == nil {
            grant.ending = RoleGrant.Ending(kind: .deactivated, at: nil, by: "", reason: "")
            try put(grant, database, transaction)
        }
    }

    /// A subject is gone, and what it had taken.
    func dropGrants(of entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        guard let database = databases.grants else { return }
        for grant in try grants(of: entity, transaction) {
            try transaction.delete(database, GrantKey.index(grant.id))
            try transaction.delete(database, GrantKey.record(entity, grant.id))
        }
    }
}

// MARK: Reading

extension TenantReader {
    /// A grant; nil when there is none of this id, or it is kept no longer.
    package func grant(_ id: UniqueID) throws(StoreError) -> RoleGrant? {
        guard let database = databases.grants, let entity = try value(database, GrantKey.index(id)) else { return nil }
        return try value(database, GrantKey.record(Array(entity.dropFirst()), id)).flatMap { RoleGrant(stored: $0) }
    }

    /// Grants by subject and id, those that have ended included.
    /// - Parameters:
    ///   - subject: those of one subject alone.
    ///   - role: those of one role alone.
    ///   - state: those that stand so at `now` alone.
    ///   - after: the page's `next`.
    package func grants(
        of subject: EntityName?, role: String? = nil, state: RoleGrant.State? = nil, now: Int64,
        after: [UInt8]? = nil, limit: Int
    ) throws(StoreError) -> Page<RoleGrant> {
        guard let database = databases.grants else { return Page() }
        if let subject, StoreLimits.problem(withID: subject.id) != nil { return Page() }
        let prefix = subject.map { GrantKey.prefix($0.key) } ?? []
        let from = after ?? (subject == nil ? GrantKey.records : nil)
        return try page(database, prefix: prefix, after: from, limit: limit) { _, stored in
            guard let grant = RoleGrant(stored: stored), role == nil || grant.role == role,
                state == nil || grant.state(at: now) == state
            else { return nil }
            return grant
        }
    }

    /// What a subject's view holds of its grants.
    func grantedRoles(of entity: [UInt8]) throws(StoreError) -> [GrantedRole] {
        guard let database = databases.grants else { return [] }
        var grants: [RoleGrant] = []
        try scan(database, prefix: GrantKey.prefix(entity)) { _, value in
            if let grant = RoleGrant(stored: value) { grants.append(grant) }
        }
        return grants.inView
    }
}
