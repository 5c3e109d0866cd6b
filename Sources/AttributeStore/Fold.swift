// Folds log entries into records and views, inside the transaction that appends them.
//
// Costs: a change of one entity rewrites that entity's view in each live layout (one, two while a catalog changes).
// A membership rewrites one view. Nesting and names of groups rewrite none: they move the hierarchy's generation.

import CBOR
import DecisionEngine
package import PolicyLanguage
import StrictJSON

/// A catalog whose views are kept.
struct LiveLayout {
    var number: UInt32
    var builder: ViewBuilder
}

/// The fold of one transaction.
struct Fold: ~Copyable {
    let databases: TenantDatabases
    private(set) var generations: Generations
    private(set) var layouts: [LiveLayout]
    /// Views written, for tests of cost.
    private(set) var viewsWritten = 0
    /// Members of groups whose views the last change had written anew, by the names that groups know them by.
    private(set) var rewrittenMembers: [String] = []
    /// A failure of LMDB met where only value problems can be thrown; ends the change.
    private var failure: LMDBError?

    init(_ databases: TenantDatabases, _ generations: Generations, _ layouts: [LiveLayout]) {
        self.databases = databases
        self.generations = generations
        self.layouts = layouts
    }

    /// Readers work out anew what lies below what.
    mutating func noteHierarchyChange() { generations.hierarchy += 1 }

    mutating func apply(_ change: Change, _ transaction: borrowing LMDBWriteTransaction) throws(FoldError) {
        failure = nil
        rewrittenMembers.removeAll(keepingCapacity: true)
        let refusal: StoreError?
        do throws(LMDBError) {
            refusal = try fold(change, transaction)
        } catch {
            throw .failed(error)
        }
        if let failure { throw .failed(failure) }
        if let refusal { throw .refused(refusal) }
    }

    private mutating func fold(
        _ change: Change, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        switch change {
        case .putSubject(let type, let id, let isActive, let document):
            let key = Key.entity(type, id)
            try transaction.put(
                databases.subjects, key, [Key.plain, isActive ? 1 : 0] + Array(document.compact.utf8))
            if !isActive { try endGrants(of: key, transaction) }
            return try writeSubjectView(type, id, transaction)
        case .deleteSubject(let type, let id):
            let key = Key.entity(type, id)
            if try transaction.delete(databases.subjects, key) {
                try dropMemberships(Key.user, Self.memberID(type, id), transaction)
            }
            try transaction.delete(databases.resources, key)
            _ = try setParents(of: EntityName(type: type, id: id), [], transaction)
            try transaction.deleteAll(databases.signals, prefix: key + [0])
            try dropGrants(of: key, transaction)
            try deleteViews(key, transaction)
            return nil
        case .putGroup(let id, let name, let members): return try putGroup(id, name, members, transaction)
        case .patchMembers(let group, let add, let remove): return try patchMembers(group, add, remove, transaction)
        case .deleteGroup(let id):
            try deleteGroup(id, transaction)
            return nil
        case .putSession(let id, let document):
            try transaction.put(databases.sessions, Array(id.utf8), [Key.plain] + Array(document.compact.utf8))
            return try writeEntityView(Catalog.session, id, document, transaction)
        case .deleteSession(let id): return try delete(databases.sessions, "session", id, transaction)
        case .putDevice(let id, let document):
            try transaction.put(databases.devices, Array(id.utf8), [Key.plain] + Array(document.compact.utf8))
            return try writeEntityView(Catalog.device, id, document, transaction)
        case .deleteDevice(let id): return try delete(databases.devices, "device", id, transaction)
        case .putResource(let type, let id, let document, let parents):
            try transaction.put(databases.resources, Key.entity(type, id), [Key.plain] + Array(document.compact.utf8))
            let name = EntityName(type: type, id: id)
            if let refusal = try setParents(of: name, parents, transaction) { return refusal }
            return try writeResourceView(type, id, document, transaction)
        case .deleteResource(let type, let id):
            try transaction.delete(databases.resources, Key.entity(type, id))
            _ = try setParents(of: EntityName(type: type, id: id), [], transaction)
            try deleteViews(Key.entity(type, id), transaction)
            return nil
        case .signal(let type, let id, let name, let value, let at, let expires):
            return try putSignal(type, id, name, SignalValue(value: value, at: at, expires: expires), transaction)
        case .putPolicies(let version, let files, let author, let message, let at, let id):
            return try putPolicies(version, id, files, author, message, at, transaction)
        case .activatePolicies(let version, let author, let message, let at):
            return try activate(version, author, message, at, transaction)
        case .setCandidate(let version, let author, let at):
            return try setCandidate(version, author, at, transaction)
        case .putGrant(let grant): return try putGrant(grant, transaction)
        case .revokeGrant(let id, let subject, let at, let by, let reason):
            let ending = RoleGrant.Ending(kind: .revoked, at: at, by: by, reason: reason)
            return try revokeGrant(id, of: subject, ending, transaction)
        }
    }

    private mutating func delete(
        _ database: LMDBDatabase, _ type: String, _ id: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        try transaction.delete(database, Array(id.utf8))
        let key = Key.entity(type, id)
        try transaction.deleteAll(databases.signals, prefix: key + [0])
        try deleteViews(key, transaction)
        return nil
    }

    // MARK: Views

    private mutating func deleteViews(
        _ entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        for layout in layouts { try transaction.delete(databases.views, Key.view(layout.number, entity)) }
    }

    private mutating func putView(
        _ layout: UInt32, _ entity: [UInt8], _ record: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        guard record.count <= RecordLayout.maxBytes else {
            return StoreError(.valueInvalid, "a view of \(record.count) bytes, above \(RecordLayout.maxBytes)")
        }
        try transaction.put(databases.views, Key.view(layout, entity), record)
        viewsWritten += 1
        return nil
    }

    /// Rebuilds a subject's view in every live layout from its document, signals and groups.
    mutating func writeSubjectView(
        _ type: String, _ id: String, _ transaction: borrowing LMDBWriteTransaction, only: LiveLayout? = nil
    ) throws(LMDBError) -> StoreError? {
        if layouts.isEmpty && only == nil { return nil }
        let key = Key.entity(type, id)
        guard let stored = try transaction.get(databases.subjects, key), stored.count >= 2,
            let document = try? JSONValue.parse(stored.dropFirst(2))
        else { return nil }
        let signals = try signals(key, transaction)
        let granted = try grants(of: key, transaction).inView
        let groups =
            try directGroups(Key.user, Self.memberID(type, id), transaction) + directContainers(key, transaction)
        for layout in only.map({ [$0] }) ?? layouts {
            guard let index = layout.builder.catalog.entity(named: type),
                layout.builder.catalog.entities[index].isSubject
            else {
                if only == nil, layout.number == layouts.last?.number { return unknownType(type, layout) }
                continue
            }
            do throws(ValueProblem) {
                let record = try layout.builder.subject(
                    type: index, document: document, isActive: stored[1] == 1, groups: groups, signals: signals,
                    granted: granted)
                if let refusal = try putViewOrFail(layout.number, key, record, transaction) { return refusal }
            } catch {
                return StoreError(.valueInvalid, "\(type) \"\(id)\": \(error.message)")
            }
        }
        return nil
    }

    /// As `putView`, with a failure of LMDB kept for the caller: typed throws has one type a scope.
    private mutating func putViewOrFail(
        _ layout: UInt32, _ entity: [UInt8], _ record: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(ValueProblem) -> StoreError? {
        do throws(LMDBError) {
            return try putView(layout, entity, record, transaction)
        } catch {
            failure = error
            return StoreError(.failed, "")
        }
    }

    private func unknownType(_ type: String, _ layout: LiveLayout) -> StoreError {
        let known = layout.builder.catalog.entities.map(\.name).joined(separator: ", ")
        return StoreError(
            .unknownEntityType,
            "the catalog \"\(layout.builder.catalog.name)\" has no such type \"\(type)\"; it has \(known)")
    }

    /// A session's or device's record in every live layout.
    private mutating func writeEntityView(
        _ type: Int, _ id: String, _ document: JSONValue, _ transaction: borrowing LMDBWriteTransaction,
        only: LiveLayout? = nil
    ) throws(LMDBError) -> StoreError? {
        let name = type == Catalog.session ? "session" : "device"
        let key = Key.entity(name, id)
        let signals = try signals(key, transaction)
        for layout in only.map({ [$0] }) ?? layouts {
            do throws(ValueProblem) {
                let record =
                    type == Catalog.session
                    ? try layout.builder.session(document: document, signals: signals)
                    : try layout.builder.entity(type: type, document: document, signals: signals)
                if let refusal = try putViewOrFail(layout.number, key, record, transaction) { return refusal }
            } catch {
                return StoreError(.valueInvalid, "\(name) \"\(id)\": \(error.message)")
            }
        }
        return nil
    }

    private mutating func writeResourceView(
        _ type: String, _ id: String, _ document: JSONValue, _ transaction: borrowing LMDBWriteTransaction,
        only: LiveLayout? = nil
    ) throws(LMDBError) -> StoreError? {
        let key = Key.entity(type, id)
        // A type can be both subject and resource (a user who is read about): the subject's view has the word.
        if try transaction.get(databases.subjects, key) != nil {
            return try writeSubjectView(type, id, transaction, only: only)
        }
        let signals = try signals(key, transaction)
        let containers = try directContainers(key, transaction)
        for layout in only.map({ [$0] }) ?? layouts {
            guard let index = layout.builder.catalog.entity(named: type) else {
                if only == nil, layout.number == layouts.last?.number { return unknownType(type, layout) }
                continue
            }
            do throws(ValueProblem) {
                let record = try layout.builder.entity(
                    type: index, document: document, signals: signals, containers: containers)
                if let refusal = try putViewOrFail(layout.number, key, record, transaction) { return refusal }
            } catch {
                return StoreError(.valueInvalid, "\(type) \"\(id)\": \(error.message)")
            }
        }
        return nil
    }

    // MARK: Signals

    private func signals(
        _ entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [String: SignalValue] {
        var found: [String: SignalValue] = [:]
        let prefix = entity + [0]
        try transaction.scan(databases.signals, prefix: prefix) { key, value in
            let name = String(decoding: key[prefix.count...], as: UTF8.self)
            if let signal = SignalValue(stored: value) { found[name] = signal }
            return true
        }
        return found
    }

    private mutating func putSignal(
        _ type: String, _ id: String, _ name: String, _ signal: SignalValue,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        if let layout = layouts.last {
            let catalog = layout.builder.catalog
            guard let index = catalog.entity(named: type) else { return unknownType(type, layout) }
            let attributes = catalog.entities[index].attributes
            guard let slot = catalog.entities[index].slot(of: name), attributes[slot].isSignalled else {
                let known = attributes.filter(\.isSignalled).map { "\(type).\($0.name)" }
                return StoreError(
                    .unknownSignal,
                    "the catalog declares no signal \"\(type).\(name)\"; "
                        + (known.isEmpty ? "a \(type) has none" : "there are \(known.joined(separator: ", "))"))
            }
            if signal.value != .null {
                do throws(ValueProblem) {
                    _ = try layout.builder.constant(
                        signal.value, catalog.entities[index].attributes[slot].type, "\(type).\(name)")
                } catch {
                    return StoreError(.valueInvalid, error.message)
                }
            }
        }
        let key = Key.entity(type, id)
        // A signal that is older than the one at hand says nothing new: order of arrival does not matter.
        if let known = try signals(key, transaction)[name], known.at > signal.at { return nil }
        let entry = CBORValue.array([
            .text(signal.value.compact), .number(signal.at), signal.expires.map { .number($0) } ?? .null,
        ])
        try transaction.put(databases.signals, Key.signal(key, name), [Key.plain] + entry.encoded)
        return try rewriteView(type, id, transaction)
    }

    /// The view of an entity of any kind, from what is stored of it.
    private mutating func rewriteView(
        _ type: String, _ id: String, _ transaction: borrowing LMDBWriteTransaction, only: LiveLayout? = nil
    ) throws(LMDBError) -> StoreError? {
        switch type {
        case "session":
            guard let document = try document(databases.sessions, Array(id.utf8), transaction) else { return nil }
            return try writeEntityView(Catalog.session, id, document, transaction, only: only)
        case "device":
            // A device is known by its signals alone: they come before anybody registers it.
            let document = try document(databases.devices, Array(id.utf8), transaction) ?? .object([])
            return try writeEntityView(Catalog.device, id, document, transaction, only: only)
        default:
            if let document = try document(databases.resources, Key.entity(type, id), transaction) {
                return try writeResourceView(type, id, document, transaction, only: only)
            }
            return try writeSubjectView(type, id, transaction, only: only)
        }
    }

    private func document(
        _ database: LMDBDatabase, _ key: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> JSONValue? {
        guard let stored = try transaction.get(database, key) else { return nil }
        return try? JSONValue.parse(stored.dropFirst())
    }

    // MARK: Groups

    private func directGroups(
        _ kind: UInt8, _ id: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [UInt32] {
        var groups: [UInt32] = []
        let prefix = Key.memberships(kind, id)
        try transaction.scan(databases.memberships, prefix: prefix) { key, _ in
            if key.count == prefix.count + 4 { groups.append(Key.uint32(key[prefix.count...])) }
            return groups.count < StoreLimits.maxGroupsOfSubject
        }
        return groups
    }

    private func groupNumber(
        _ id: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> UInt32? {
        guard let stored = try transaction.get(databases.groups, Array(id.utf8)), stored.count >= 5 else { return nil }
        return Key.uint32(stored[1..<5])
    }

    private mutating func putGroup(
        _ id: String, _ name: String, _ members: [Change.Member], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        let stored = try transaction.get(databases.groups, Array(id.utf8))
        let number: UInt32
        if let stored, stored.count >= 5 {
            number = Key.uint32(stored[1..<5])
        } else {
            number = (try transaction.lastKey(databases.groupNumbers)).map { Key.uint32($0) &+ 1 } ?? 1
            try transaction.put(databases.groupNumbers, Key.number(number), [Key.plain] + Array(id.utf8))
        }
        let record = [Key.plain] + Key.number(number) + Array(name.utf8)
        if stored != record {
            try transaction.put(databases.groups, Array(id.utf8), record)
            generations.hierarchy += 1
        }
        var wanted = Set<[UInt8]>()
        var wantedMembers: [[UInt8]: Change.Member] = [:]
        for member in members {
            let kind = try isGroup(member, transaction) ? Key.group : Key.user
            let key = Key.member(number, kind, member.id)
            wanted.insert(key)
            wantedMembers[key] = Change.Member(id: member.id, isGroup: kind == Key.group)
        }
        var present = Set<[UInt8]>()
        try transaction.scan(databases.members, prefix: Key.number(number)) { key, _ in
            present.insert(key)
            return true
        }
        for key in present.subtracting(wanted).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let member = Change.Member(
                id: String(decoding: key[5...], as: UTF8.self), isGroup: key[4] == Key.group)
            if let refusal = try remove(member, from: number, transaction) { return refusal }
        }
        for key in wanted.subtracting(present).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard let member = wantedMembers[key] else { continue }
            if let refusal = try add(member, to: number, groupID: id, transaction) { return refusal }
        }
        return nil
    }

    private mutating func patchMembers(
        _ group: String, _ add: [Change.Member], _ remove: [Change.Member],
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        guard let number = try groupNumber(group, transaction) else {
            return StoreError(.idInvalid, "no group \"\(group)\": load the group before its members")
        }
        for member in remove {
            let isGroup = try isGroup(member, transaction)
            let resolved = Change.Member(id: member.id, isGroup: isGroup)
            if let refusal = try self.remove(resolved, from: number, transaction) { return refusal }
        }
        for member in add {
            let isGroup = try isGroup(member, transaction)
            let resolved = Change.Member(id: member.id, isGroup: isGroup)
            if let refusal = try self.add(resolved, to: number, groupID: group, transaction) { return refusal }
        }
        return nil
    }

    /// A member without a type is a group when a group has that id and no user has.
    private func isGroup(
        _ member: Change.Member, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        if member.isGroup { return true }
        if try transaction.get(databases.subjects, Key.entity("user", member.id)) != nil { return false }
        return try groupNumber(member.id, transaction) != nil
    }

    private mutating func add(
        _ member: Change.Member, to group: UInt32, groupID: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        let kind = member.isGroup ? Key.group : Key.user
        if member.isGroup {
            if try reaches(from: member.id, to: groupID, transaction) {
                return StoreError(
                    .groupCycle,
                    "group \"\(member.id)\" cannot be nested in \"\(groupID)\": \"\(groupID)\" is already below it. "
                        + "Remove one of the two memberships")
            }
            generations.hierarchy += 1
        }
        try transaction.put(databases.members, Key.member(group, kind, member.id), [Key.plain])
        try transaction.put(
            databases.memberships, Key.memberships(kind, member.id) + Key.number(group), [Key.plain])
        return member.isGroup ? nil : try rewriteMember(member.id, transaction)
    }

    private mutating func remove(
        _ member: Change.Member, from group: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        let kind = member.isGroup ? Key.group : Key.user
        guard try transaction.delete(databases.members, Key.member(group, kind, member.id)) else { return nil }
        try transaction.delete(databases.memberships, Key.memberships(kind, member.id) + Key.number(group))
        if member.isGroup {
            generations.hierarchy += 1
            return nil
        }
        return try rewriteMember(member.id, transaction)
    }

    /// SCIM's members are users; a service is named by its type, U+0001 and its id.
    private mutating func rewriteMember(
        _ id: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        rewrittenMembers.append(id)
        let parts = id.split(separator: "\u{1}", maxSplits: 1)
        if parts.count == 2 { return try writeSubjectView(String(parts[0]), String(parts[1]), transaction) }
        return try writeSubjectView("user", id, transaction)
    }

    static func memberID(_ type: String, _ id: String) -> String {
        type == "user" ? id : "\(type)\u{1}\(id)"
    }

    /// True when `target` is `start` or lies below it.
    private func reaches(
        from start: String, to target: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Bool {
        var seen: Set<String> = [start]
        var pending = [start]
        while let id = pending.popLast() {
            if id == target { return true }
            guard let number = try groupNumber(id, transaction) else { continue }
            var children: [String] = []
            let prefix = Key.number(number) + [Key.group]
            try transaction.scan(databases.members, prefix: prefix) { key, _ in
                children.append(String(decoding: key[prefix.count...], as: UTF8.self))
                return true
            }
            for child in children where seen.insert(child).inserted { pending.append(child) }
        }
        return false
    }

    private mutating func deleteGroup(_ id: String, _ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) {
        guard let number = try groupNumber(id, transaction) else { return }
        var members: [Change.Member] = []
        try transaction.scan(databases.members, prefix: Key.number(number)) { key, _ in
            members.append(
                Change.Member(id: String(decoding: key[5...], as: UTF8.self), isGroup: key[4] == Key.group))
            return true
        }
        for member in members { _ = try remove(member, from: number, transaction) }
        try dropMemberships(Key.group, id, transaction)
        // The number keeps its place in `groupNumbers`, so that it is never given to another group.
        try transaction.put(databases.groupNumbers, Key.number(number), [Key.plain])
        try transaction.delete(databases.groups, Array(id.utf8))
        generations.hierarchy += 1
    }

    private mutating func dropMemberships(
        _ kind: UInt8, _ id: String, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) {
        for group in try directGroups(kind, id, transaction) {
            try transaction.delete(databases.members, Key.member(group, kind, id))
            try transaction.delete(databases.memberships, Key.memberships(kind, id) + Key.number(group))
        }
    }

    // MARK: Policies

    private mutating func putPolicies(
        _ version: UInt64, _ id: UniqueID, _ files: [PolicyFile], _ author: String, _ message: String, _ at: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        let result = checkPolicies(files.sources, warns: false)
        guard let policies = result.policies else {
            var error = StoreError(.policiesRejected, "the policies have errors; nothing was stored")
            error.diagnostics = result.diagnostics
            return error
        }
        let layout = try layoutNumber(for: policies.catalog, transaction)
        let entry = CBORValue.record([
            0: .array(files.map(\.cbor)), 1: .text(author), 2: .text(message),
            3: .number(at), 4: .number(layout), 5: .bytes(id.bytes),
        ])
        try transaction.put(databases.policies, Key.number(version), [Key.plain] + entry.encoded)
        try transaction.put(databases.meta, StoredPolicies.idPrefix + id.bytes, [Key.plain] + Key.number(version))
        return nil
    }

    /// The number of a catalog's layout: a new one when no stored version has the same.
    private func layoutNumber(
        for catalog: Catalog, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> UInt32 {
        let signature = LayoutSignature.text(catalog)
        let known = try transaction.get(databases.meta, LayoutSignature.key)
        var list = known.flatMap { (try? CBORValue.decode(Array($0.dropFirst())))?.items } ?? []
        if let index = list.firstIndex(of: .text(signature)) { return UInt32(index + 1) }
        list.append(.text(signature))
        try transaction.put(databases.meta, LayoutSignature.key, [Key.plain] + CBORValue.array(list).encoded)
        return UInt32(list.count)
    }

    private mutating func activate(
        _ version: UInt64, _ author: String, _ message: String, _ at: Int64,
        _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        guard let stored = try StoredPolicies.read(version, databases, transaction) else {
            return StoreError(.versionUnknown, "no version \(version): `stile policy list` shows what there is")
        }
        if generations.activeVersion == version { return nil }
        guard let catalog = checkCatalog(stored.sources).catalog else {
            return StoreError(.policiesRejected, "version \(version) has no catalog that this program can read")
        }
        let previous = generations.layout
        let isLive = layouts.contains { $0.number == stored.layout }
        if stored.layout != previous || !isLive {
            // What is left of views that nobody has kept goes first.
            if !isLive { try transaction.deleteAll(databases.views, prefix: Key.number(stored.layout)) }
            let layout = LiveLayout(number: stored.layout, builder: ViewBuilder(catalog: catalog))
            // The views of the layout before stay: a daemon decides by them until it has compiled this version.
            for stale in layouts where stale.number != previous && stale.number != stored.layout {
                try transaction.deleteAll(databases.views, prefix: Key.number(stale.number))
            }
            layouts.removeAll { $0.number != previous }
            if let refusal = try buildViews(layout, transaction) { return refusal }
            layouts.append(layout)
        } else if let index = layouts.firstIndex(where: { $0.number == previous }) {
            // The same layout can come with other defaults or lifetimes of signals: views are written anew by it.
            let old = layouts[index].builder.catalog
            layouts[index].builder = ViewBuilder(catalog: catalog)
            if LayoutSignature.folding(old) != LayoutSignature.folding(catalog),
                let refusal = try buildViews(layouts[index], transaction)
            {
                return refusal
            }
        }
        generations.policy += 1
        generations.activeVersion = version
        generations.layout = stored.layout
        let live = CBORValue.array(layouts.map { .number($0.number) })
        try transaction.put(databases.meta, Self.liveKey, [Key.plain] + live.encoded)
        let entry = CBORValue.record([
            0: .unsigned(version), 1: .text(author), 2: .text(message), 3: .number(at),
        ])
        try transaction.put(
            databases.meta, Activation.prefix + Key.number(generations.policy), [Key.plain] + entry.encoded)
        // It is no candidate any longer.
        if try candidate(transaction)?.version == version { return try setCandidate(nil, author, at, transaction) }
        return nil
    }

    private func candidate(_ transaction: borrowing LMDBWriteTransaction) throws(LMDBError) -> Candidacy? {
        try transaction.get(databases.meta, Candidacy.key).flatMap { Candidacy($0) }
    }

    /// Nothing but the daemon's shadow reads of it: no view is kept for a candidate.
    private mutating func setCandidate(
        _ version: UInt64?, _ author: String, _ at: Int64, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        let known = try candidate(transaction)
        if known?.version == version { return nil }
        if let version {
            guard try StoredPolicies.read(version, databases, transaction) != nil else {
                return StoreError(.versionUnknown, "no version \(version): `stile policy list` shows what there is")
            }
            if version == generations.activeVersion {
                return StoreError(.valueInvalid, "version \(version) decides already: there is nothing to compare")
            }
        }
        generations.candidate += 1
        if let version {
            let record = Candidacy(version: version, author: author, at: at, number: generations.candidate)
            try transaction.put(databases.meta, Candidacy.key, record.stored)
        } else {
            try transaction.delete(databases.meta, Candidacy.key)
        }
        return nil
    }

    static let liveKey = Array("liveLayouts".utf8)

    /// Writes every view of a layout from what is stored.
    private mutating func buildViews(
        _ layout: LiveLayout, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        var entities: [(type: String, id: String)] = []
        func collect(_ database: LMDBDatabase, _ type: String?) throws(LMDBError) {
            try transaction.scan(database) { key, _ in
                if let type {
                    entities.append((type, String(decoding: key, as: UTF8.self)))
                } else if let zero = key.firstIndex(of: 0) {
                    entities.append(
                        (
                            String(decoding: key[..<zero], as: UTF8.self),
                            String(decoding: key[(zero + 1)...], as: UTF8.self)
                        ))
                }
                return true
            }
        }
        try collect(databases.subjects, nil)
        try collect(databases.resources, nil)
        try collect(databases.sessions, "session")
        try collect(databases.devices, "device")
        var signalled = Set<String>()
        try transaction.scan(databases.signals, prefix: Array("device".utf8) + [0]) { key, _ in
            let rest = key.dropFirst(7)
            if let zero = rest.firstIndex(of: 0) { signalled.insert(String(decoding: rest[..<zero], as: UTF8.self)) }
            return true
        }
        for id in signalled.sorted() { entities.append(("device", id)) }
        for entity in entities {
            if let refusal = try rewriteView(entity.type, entity.id, transaction, only: layout) { return refusal }
        }
        return nil
    }
}

/// Why a change was not folded.
enum FoldError: Error {
    case refused(StoreError)
    case failed(LMDBError)
}

/// The part of a catalog that decides how records lie.
enum LayoutSignature {
    static let key = Array("layouts".utf8)

    /// Equal for catalogs whose records have the same slots and types.
    static func text(_ catalog: Catalog) -> String {
        catalog.entities.map { entity in
            let slots = entity.attributes.map { attribute in
                "\(attribute.name):\(attribute.type.spelling { catalog.entities[$0].name }):\(attribute.isStored ? "s" : "q")"
            }
            return "\(entity.name){\(slots.joined(separator: ","))}"
        }.joined(separator: ";") + "|" + catalog.assurance.levels.joined(separator: "<")
            + catalog.assurance.implied.map { ",\($0)" }.joined()
    }

    /// Equal for catalogs that the same stored values fit.
    static func fitting(_ catalog: Catalog) -> [[String]] {
        let required = catalog.entities.map { type in
            type.attributes.filter { $0.isRequired && !$0.isFromRequest }.map(\.name) + [
                type.isSubject ? "subject" : ""
            ]
        }
        return [[text(catalog)]] + folding(catalog) + required
    }

    /// Equal for catalogs that fill records in the same way.
    static func folding(_ catalog: Catalog) -> [[String]] {
        catalog.entities.map { $0.attributes.map { "\($0.sources) \($0.lifetime ?? -1)" } }
            + [catalog.issuers.map { "\($0.issuer) \($0.levels.sorted { $0.key < $1.key })" }]
    }
}

/// A version that was made the one that decides.
package struct Activation: Sendable {
    /// The generation of policies that it began.
    package var generation: UInt64
    package var version: UInt64
    package var author: String
    package var message: String
    /// ms since the epoch.
    package var at: Int64

    static let prefix = Array("activation\u{0}".utf8)

    init?(generation: UInt64, _ stored: [UInt8]) {
        guard stored.first == Key.plain, let value = try? CBORValue.decode(Array(stored.dropFirst())),
            let version = value[0]?.uint
        else { return nil }
        self.generation = generation
        self.version = version
        author = value[1]?.text ?? ""
        message = value[2]?.text ?? ""
        at = value[3]?.int ?? 0
    }
}

/// A version that decides beside the active one, with no consequence.
package struct Candidacy: Sendable, Hashable {
    package var version: UInt64
    package var author: String
    /// Since when, ms since the epoch.
    package var at: Int64
    /// Each candidacy of a tenant has another number.
    package var number: UInt64

    static let key = Array("candidate".utf8)

    init(version: UInt64, author: String, at: Int64, number: UInt64) {
        self.version = version
        self.author = author
        self.at = at
        self.number = number
    }

    init?(_ stored: [UInt8]) {
        guard stored.first == Key.plain, let value = try? CBORValue.decode(Array(stored.dropFirst())),
            let version = value[0]?.uint, let number = value[3]?.uint
        else { return nil }
        self.init(version: version, author: value[1]?.text ?? "", at: value[2]?.int ?? 0, number: number)
    }

    var stored: [UInt8] {
        [Key.plain]
            + CBORValue.record([0: .unsigned(version), 1: .text(author), 2: .number(at), 3: .unsigned(number)]).encoded
    }
}

/// A stored version of the policies.
package struct StoredPolicies: Sendable {
    package var version: UInt64
    /// What the API knows it by.
    package var id: UniqueID
    package var files: [PolicyFile]
    package var author: String
    package var message: String
    /// ms since the epoch.
    package var at: Int64
    /// The layout of views it reads.
    package var layout: UInt32

    /// What is checked, compiled and decided with.
    package var sources: [SourceFile] { files.sources }

    /// What the keys in `meta` start with that lead from an id to its version.
    static let idPrefix = Array("version\u{0}".utf8)

    init?(version: UInt64, _ stored: [UInt8]) {
        guard stored.first == Key.plain, let value = try? CBORValue.decode(Array(stored.dropFirst())),
            let files = value[0]?.items, let layout = value[4]?.uint
        else { return nil }
        self.version = version
        self.files = files.compactMap { PolicyFile($0) }
        author = value[1]?.text ?? ""
        message = value[2]?.text ?? ""
        at = value[3]?.int ?? 0
        id = UniqueID(value[5]) ?? UniqueID(version: version)
        self.layout = UInt32(truncatingIfNeeded: layout)
    }

    static func read(
        _ version: UInt64, _ databases: TenantDatabases, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoredPolicies? {
        guard let stored = try transaction.get(databases.policies, Key.number(version)) else { return nil }
        return StoredPolicies(version: version, stored)
    }
}
