// What the change log says of a few entities up to a moment that has passed: enough to have them again as they stood, and
// what has changed since. One walk over the log; what is about others is passed over where it lies.
//
// INVARIANT of this unsafe file: a reader and its slices are those of the entry that `take` was called with, used within
// that call.

import CBOR
import Memory
import StrictJSON

/// Whose past is wanted.
package struct PastWanted: Sendable {
    package var subject: EntityName?
    package var resource: EntityName?
    package var session: String?
    package var device: String?

    package init() {}
}

/// A moment on which something was read.
package struct PastMoment: Sendable {
    /// ms since the epoch
    package var time: Int64
    /// The snapshot that was read.
    package var snapshot: UInt64

    package init(time: Int64, snapshot: UInt64) {
        self.time = time
        self.snapshot = snapshot
    }
}

/// What can have changed since a moment.
package enum PastPart: String, Sendable, Hashable, CaseIterable {
    case subject, resource, session, device
    /// Groups that the subject is in, and how groups are nested.
    case groups
    /// What the resource lies in.
    case containers
    /// Which version of the policies decides.
    case policies
}

/// Changes of a part after the moment.
package struct LaterChanges: Sendable, Hashable {
    package var count: Int
    /// When they were written, ms since the epoch.
    package var first: Int64
    package var last: Int64
}

/// The past of some entities.
package struct EntityPast: Sendable {
    /// What an empty store is to fold, in this order, to have the entities as they stood. Policies are not among them.
    package var changes: [Change] = []
    /// What was changed after the moment.
    package var later: [PastPart: LaterChanges] = [:]
    /// The log's last entry that the moment has seen; 0 when there is none.
    package var lastEntry: UInt64 = 0
    /// Entries about these entities that were written within two seconds of the moment and do not say in which snapshot:
    /// whether it has seen them is told by the clock alone.
    package var uncertain = 0
    /// Entries that this program cannot read.
    package var unreadable = 0

    /// The device that the session named at the moment.
    package var deviceOfSession: String? {
        for change in changes.reversed() {
            switch change {
            case .putSession(_, let document): return document["device"]?.string
            case .deleteSession: return nil
            default: continue
            }
        }
        return nil
    }
}

extension TenantReader {
    /// Reads the past of some entities from the log of the snapshot at hand.
    /// - Parameter progress: told now and then how many entries of how many were read.
    package func past(
        of wanted: PastWanted, at moment: PastMoment, progress: (_ read: UInt64, _ all: UInt64) -> Void = { _, _ in }
    ) throws(StoreError) -> EntityPast {
        let all = try lastSequence()
        var collector = PastCollector(wanted, moment)
        try unsafe walkLog { sequence, stored in
            unsafe collector.take(sequence, stored)
            if sequence % 10_000 == 0 { progress(sequence, all) }
            return true
        }
        return collector.finished()
    }
}

/// Takes the entries of a log in order.
private struct PastCollector {
    private let subject: Name?
    private let resource: Name?
    private let session: Name?
    private let device: Name?
    /// What groups know the subject and the resource by.
    private let memberIDs: Set<String>
    private let moment: PastMoment
    private var past = EntityPast()
    /// The moment is over.
    private var isLater = false
    /// Ids of groups, and hashes of users: a member without a type is a group when a group has that id and no user has.
    private var groups = Set<String>()
    private var users = Set<UInt64>()
    /// What lies in what, of all but the wanted ones.
    private var parents: [[UInt8]: [EntityName]] = [:]
    /// After the moment: all that the resource, or a subject that is one, lay in.
    private var ancestors = Set<[UInt8]>()

    private static let nearness: Int64 = 2_000
    /// A snapshot's number says more than a clock as long as they do not contradict each other: in a store that was
    /// restored from a copy, numbers begin anew.
    private static let trust: Int64 = 60_000

    /// An entity's name in bytes.
    private struct Name {
        let type: [UInt8]
        let id: [UInt8]
        let name: EntityName

        init(_ name: EntityName) {
            type = Array(name.type.utf8)
            id = Array(name.id.utf8)
            self.name = name
        }
    }

    init(_ wanted: PastWanted, _ moment: PastMoment) {
        subject = wanted.subject.map { Name($0) }
        resource = wanted.resource.map { Name($0) }
        session = wanted.session.map { Name(EntityName(type: "session", id: $0)) }
        device = wanted.device.map { Name(EntityName(type: "device", id: $0)) }
        self.moment = moment
        memberIDs = Set(
            [wanted.subject, wanted.resource].compactMap { $0 }.map {
                $0.type == "user" ? $0.id : "\($0.type)\u{1}\($0.id)"
            })
    }

    func finished() -> EntityPast {
        var past = past
        if !isLater { past.changes += containment().changes }
        return past
    }

    // MARK: Entries

    mutating func take(_ sequence: UInt64, _ stored: UnsafeRawBufferPointer) {
        do throws(CBORError) {
            guard unsafe stored.first == Key.plain else { throw CBORError(.unexpectedType, at: 0) }
            var reader = unsafe CBORReader(UnsafeRawBufferPointer(rebasing: stored.dropFirst()))
            let parts = try reader.array()
            let time = try reader.integer()
            var entry = ChangeRanges()
            let start = reader.offset
            try entry.read(&reader)
            let change = start..<reader.offset
            if parts > 2 { entry.rewritten = try reader.skip() }
            let snapshot = parts > 3 ? try reader.unsigned() : nil
            if !isLater, !hasSeen(time, snapshot) { turn() }
            if !isLater {
                past.lastEntry = sequence
                keepUsers(entry, reader)
            }
            guard let part = part(entry, reader) else { return try keepParents(entry, reader) }
            if snapshot == nil, (time &- moment.time).magnitude <= Self.nearness.magnitude { past.uncertain += 1 }
            if isLater { return note(part, time) }
            guard let value = unsafe Change(try CBORValue.decode(Array(reader.slice(change)))) else {
                past.unreadable += 1
                return
            }
            if let reduced = reduced(value) { past.changes.append(reduced) }
        } catch {
            past.unreadable += 1
        }
    }

    private func hasSeen(_ time: Int64, _ snapshot: UInt64?) -> Bool {
        guard let snapshot, (time &- moment.time).magnitude <= Self.trust.magnitude else { return time <= moment.time }
        return snapshot <= moment.snapshot
    }

    /// The first entry that the moment has not seen: the past is whole.
    private mutating func turn() {
        isLater = true
        let (changes, keys) = containment()
        past.changes += changes
        ancestors = keys
    }

    private mutating func note(_ part: PastPart, _ time: Int64) {
        var changes = past.later[part] ?? LaterChanges(count: 0, first: time, last: time)
        changes.count += 1
        changes.last = time
        past.later[part] = changes
    }

    // MARK: What an entry is about

    private func part(_ entry: ChangeRanges, _ reader: CBORReader) -> PastPart? {
        switch entry.kind {
        case 1, 2, 10, 11, 12, 16, 17:
            if isNamed(subject, entry, reader) { return .subject }
            if isNamed(resource, entry, reader) { return .resource }
            if entry.kind == 12, isNamed(session, entry, reader) { return .session }
            if entry.kind == 12, isNamed(device, entry, reader) { return .device }
            if isLater, [2, 10, 11].contains(entry.kind), ancestors.contains(key(entry, reader)) { return .containers }
            return nil
        case 3, 4, 5: return isLater && !isAboutMembers(entry, reader) ? nil : .groups
        case 6, 7: return hasID(session, entry, reader) ? .session : nil
        case 8, 9: return hasID(device, entry, reader) ? .device : nil
        case 14: return isLater ? .policies : nil
        default: return nil
        }
    }

    private func hasID(_ name: Name?, _ entry: ChangeRanges, _ reader: CBORReader) -> Bool {
        guard let name else { return false }
        return unsafe reader.slice(entry.id).elementsEqual(name.id)
    }

    private func isNamed(_ name: Name?, _ entry: ChangeRanges, _ reader: CBORReader) -> Bool {
        guard let name, unsafe reader.slice(entry.type).elementsEqual(name.type) else { return false }
        return unsafe reader.slice(entry.id).elementsEqual(name.id)
    }

    private func key(_ entry: ChangeRanges, _ reader: CBORReader) -> [UInt8] {
        unsafe Array(reader.slice(entry.type)) + [0] + Array(reader.slice(entry.id))
    }

    // MARK: Groups

    /// True when a change of a group concerns one of the wanted, or how groups are nested.
    private func isAboutMembers(_ entry: ChangeRanges, _ reader: CBORReader) -> Bool {
        if entry.kind == 5 { return true }
        for range in [entry.members, entry.removed] where !range.isEmpty {
            let items = unsafe (try? CBORValue.decode(Array(reader.slice(range))))?.items ?? []
            for item in items {
                guard let parts = item.items, parts.count == 2 else { continue }
                guard let id = parts[0].text else { continue }
                if parts[1] == .bool(true) || memberIDs.contains(id) || groups.contains(id) { return true }
            }
        }
        let rewritten = unsafe (try? CBORValue.decode(Array(reader.slice(entry.rewritten))))?.items ?? []
        return rewritten.contains { $0.text.map(memberIDs.contains) == true }
    }

    private mutating func keepUsers(_ entry: ChangeRanges, _ reader: CBORReader) {
        guard entry.kind == 1 || entry.kind == 2, unsafe reader.slice(entry.type).elementsEqual("user".utf8) else {
            return
        }
        let hash = unsafe EntityHash.of("user", reader.slice(entry.id))
        if entry.kind == 1 { users.insert(hash) } else { users.remove(hash) }
    }

    /// A change without the members that nobody asks about; nil when nothing is left of it.
    private mutating func reduced(_ change: Change) -> Change? {
        switch change {
        case .putGroup(let id, let name, let members):
            groups.insert(id)
            return .putGroup(id: id, displayName: name, members: wanted(members))
        case .patchMembers(let group, let add, let remove):
            let (add, remove) = (wanted(add), wanted(remove))
            return add.isEmpty && remove.isEmpty ? nil : .patchMembers(group: group, add: add, remove: remove)
        case .deleteGroup(let id):
            groups.remove(id)
            return change
        default: return change
        }
    }

    private func wanted(_ members: [Change.Member]) -> [Change.Member] {
        members.compactMap { member in
            if member.isGroup { return member }
            if groups.contains(member.id), !isUser(member.id) { return Change.Member(id: member.id, isGroup: true) }
            return memberIDs.contains(member.id) ? member : nil
        }
    }

    private func isUser(_ id: String) -> Bool {
        var id = id
        return id.withUTF8 { unsafe users.contains(EntityHash.of("user", UnsafeRawBufferPointer($0))) }
    }

    // MARK: Containers

    /// Keeps what another entity lies in, up to the moment.
    private mutating func keepParents(_ entry: ChangeRanges, _ reader: CBORReader) throws(CBORError) {
        guard !isLater, resource != nil || subject != nil else { return }
        switch entry.kind {
        case 10 where !entry.parents.isEmpty:
            let list = ParentList.read(try CBORValue.decode(unsafe Array(reader.slice(entry.parents))))
            parents[key(entry, reader)] = list
        case 2, 10, 11: if !parents.isEmpty { parents[key(entry, reader)] = nil }
        default: break
        }
    }

    /// What the wanted lie in, and what that lies in, as changes; with the keys of all of them.
    private func containment() -> (changes: [Change], keys: Set<[UInt8]>) {
        var changes: [Change] = []
        var keys = Set<[UInt8]>()
        var pending: [EntityName] = []
        for change in past.changes {
            if case .putResource(_, _, _, let parents) = change { pending += parents }
        }
        let own = [subject, resource].compactMap { $0?.name.key }
        while let name = pending.popLast() {
            let key = name.key
            guard keys.insert(key).inserted, !own.contains(key), let above = parents[key] else { continue }
            // Nothing but its place is read of a container.
            changes.append(.putResource(type: name.type, id: name.id, document: .object([]), parents: above))
            pending += above
        }
        return (changes, keys)
    }
}
