// The named databases of a tenant and the keys in them.

/// Databases of one tenant's environment.
struct TenantDatabases: Sendable {
    static let names = [
        "log", "subjects", "groups", "groupNumbers", "members", "memberships", "sessions", "devices", "resources",
        "signals", "views", "policies", "meta", "parents", "containers", "containerNumbers", "nesting",
        "grants",
    ]
    /// Those that a store from before they were made has not until somebody writes to it.
    static let later: Set<String> = ["grants"]

    /// u64 sequence → CBOR [time, change, members whose views were written or null, snapshot]; the last two only of late
    let log: LMDBDatabase
    /// type NUL id → format, active, JSON
    let subjects: LMDBDatabase
    /// id → format, u32 number, display name
    let groups: LMDBDatabase
    /// u32 number → id
    let groupNumbers: LMDBDatabase
    /// u32 group, kind, member id → nothing
    let members: LMDBDatabase
    /// kind, member id, NUL, u32 group → nothing
    let memberships: LMDBDatabase
    /// id → format, JSON
    let sessions: LMDBDatabase
    /// id → format, JSON
    let devices: LMDBDatabase
    /// type NUL id → format, JSON
    let resources: LMDBDatabase
    /// type NUL id NUL name → CBOR [value, at, expires]
    let signals: LMDBDatabase
    /// u32 layout, type NUL id → record
    let views: LMDBDatabase
    /// u64 version → CBOR
    let policies: LMDBDatabase
    /// name → fixed or CBOR
    let meta: LMDBDatabase

    /// type NUL id → CBOR list of [type, id]: what the entity lies in
    let parents: LMDBDatabase
    /// type NUL id → format, u32 number, for everything that something lies in
    let containers: LMDBDatabase
    /// u32 number → type NUL id
    let containerNumbers: LMDBDatabase
    /// u32 container, u32 container in it → nothing
    let nesting: LMDBDatabase
    /// type NUL id NUL id of the grant → CBOR; NUL id of the grant → format, type NUL id
    private(set) var grants: LMDBDatabase?

    init(_ environment: LMDBEnvironment) throws(LMDBError) {
        log = try environment.database("log").sealed(1)
        subjects = try environment.database("subjects").sealed(2)
        groups = try environment.database("groups").sealed(3)
        groupNumbers = try environment.database("groupNumbers")
        members = try environment.database("members")
        memberships = try environment.database("memberships")
        sessions = try environment.database("sessions").sealed(4)
        devices = try environment.database("devices").sealed(5)
        resources = try environment.database("resources").sealed(6)
        signals = try environment.database("signals").sealed(7)
        views = try environment.database("views").sealed(8)
        policies = try environment.database("policies").sealed(9)
        meta = try environment.database("meta")
        parents = try environment.database("parents")
        containers = try environment.database("containers")
        containerNumbers = try environment.database("containerNumbers")
        nesting = try environment.database("nesting")
        grants = environment.has("grants") ? try environment.database("grants").sealed(10) : nil
    }

    /// Takes what a store from before has got with the first write since.
    /// - Returns: whether there is anything new, which only transactions that begin from now on can read.
    mutating func look(in environment: LMDBEnvironment) throws(LMDBError) -> Bool {
        guard grants == nil, let database = try environment.look(for: "grants") else { return false }
        grants = database.sealed(10)
        return true
    }

    /// The databases, with a failure told as the store's.
    static func opened(_ environment: LMDBEnvironment) throws(StoreError) -> TenantDatabases {
        do throws(LMDBError) {
            return try TenantDatabases(environment)
        } catch {
            throw StoreError(error, path: environment.path, mapSize: environment.mapSize)
        }
    }

    /// Every database but the log, with its name: what the log folds into.
    var folded: [(name: String, database: LMDBDatabase)] {
        [
            ("subjects", subjects), ("groups", groups), ("groupNumbers", groupNumbers), ("members", members),
            ("memberships", memberships), ("sessions", sessions), ("devices", devices), ("resources", resources),
            ("signals", signals), ("views", views), ("policies", policies), ("meta", meta), ("parents", parents),
            ("containers", containers), ("containerNumbers", containerNumbers), ("nesting", nesting),
        ] + (grants.map { [("grants", $0)] } ?? [])
    }
}

/// Keys and fixed values, all big-endian so that they sort as numbers.
enum Key {
    /// The first byte of every value: plain.
    static let plain: UInt8 = 1
    /// The first byte of a sealed value (`TenantSeal`).
    static let sealed: UInt8 = 2
    static let user: UInt8 = 0
    static let group: UInt8 = 1

    static func entity(_ type: String, _ id: String) -> [UInt8] { Array(type.utf8) + [0] + Array(id.utf8) }
    static func number(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
    }
    static func number(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
    }
    static func view(_ layout: UInt32, _ entity: [UInt8]) -> [UInt8] { number(layout) + entity }
    static func member(_ group: UInt32, _ kind: UInt8, _ id: String) -> [UInt8] {
        number(group) + [kind] + Array(id.utf8)
    }
    static func memberships(_ kind: UInt8, _ id: String) -> [UInt8] { [kind] + Array(id.utf8) + [0] }
    static func signal(_ entity: [UInt8], _ name: String) -> [UInt8] { entity + [0] + Array(name.utf8) }

    static func uint64(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
    static func uint32(_ bytes: some Sequence<UInt8>) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }
}

/// What a reader compares to know whether its compiled policies and groups still stand.
package struct Generations: Sendable, Hashable {
    /// Grows with each activation.
    package var policy: UInt64 = 0
    /// The version that is to decide; 0 for none.
    package var activeVersion: UInt64 = 0
    /// Grows with each change of group names or nesting.
    package var hierarchy: UInt64 = 0
    /// The layout of views that the active version reads.
    package var layout: UInt32 = 0
    /// Grows whenever a candidate is set or withdrawn.
    package var candidate: UInt64 = 0

    /// Moves whenever what is to be compiled has.
    package var moves: UInt64 { policy &+ candidate }

    static let key = Array("generations".utf8)

    package init() {}

    init?(_ bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        // The shorter ones were written before there were candidates.
        guard bytes.count == 29 || bytes.count == 37, bytes[0] == Key.plain else { return nil }
        policy = Key.uint64(bytes[1..<9])
        activeVersion = Key.uint64(bytes[9..<17])
        hierarchy = Key.uint64(bytes[17..<25])
        layout = Key.uint32(bytes[25..<29])
        candidate = Key.uint64(bytes[29...])
    }

    var bytes: [UInt8] {
        [Key.plain] + Key.number(policy) + Key.number(activeVersion) + Key.number(hierarchy) + Key.number(layout)
            + Key.number(candidate)
    }
}
