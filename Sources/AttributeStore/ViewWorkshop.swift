// Views that the store does not keep, built from what is stored when they are asked for: for a candidate whose catalog lays
// records out otherwise. The fold builds the same ones beforehand (`Fold`); tests hold the two together.
//
// INVARIANT of this unsafe file: a lent view lies in one of `count` buffers that are written in turn, so it is good until as
// many more were lent; a decision asks for four. One thread uses a workshop: that of its reader.

import CBOR
import DecisionEngine
import PolicyLanguage
import StrictJSON

/// Builds views by one catalog.
@safe
final class ViewWorkshop {
    let layout: UInt32
    private let builder: ViewBuilder
    private var lent: [UnsafeMutableRawBufferPointer]
    private var turn = 0
    private static let count = 8

    init(_ catalog: Catalog, layout: UInt32) {
        self.layout = layout
        builder = ViewBuilder(catalog: catalog)
        unsafe lent = .init(repeating: UnsafeMutableRawBufferPointer(start: nil, count: 0), count: Self.count)
    }

    deinit { for index in 0..<Self.count { unsafe lent[index].deallocate() } }

    /// A view of these bytes, good until `count` more were lent.
    @unsafe
    func lend(_ bytes: [UInt8]) -> RecordView {
        turn = (turn + 1) % Self.count
        unsafe lent[turn].deallocate()
        unsafe lent[turn] = .allocate(byteCount: max(1, bytes.count), alignment: 16)
        unsafe lent[turn].copyBytes(from: bytes)
        return unsafe RecordView(UnsafeRawBufferPointer(rebasing: lent[turn][..<bytes.count]))
    }

    /// The record of an entity; nil when nothing is stored of it.
    /// - Throws: `value_invalid` when what is stored does not fit the catalog.
    func record(_ type: String, _ id: String, _ reader: borrowing TenantReader) throws(StoreError) -> [UInt8]? {
        let key = Key.entity(type, id)
        let signals = try reader.signals(key)
        switch type {
        case "session":
            guard let document = try reader.document(reader.databases.sessions, Array(id.utf8), skip: 1) else {
                return nil
            }
            return try fitting(type, id) { () throws(ValueProblem) in
                try builder.session(document: document, signals: signals)
            }
        case "device":
            let document = try reader.document(reader.databases.devices, Array(id.utf8), skip: 1)
            // A device is known by its signals alone.
            guard document != nil || !signals.isEmpty else { return nil }
            return try fitting(type, id) { () throws(ValueProblem) in
                try builder.entity(type: Catalog.device, document: document ?? .object([]), signals: signals)
            }
        default: return try entity(type, id, key, signals, reader)
        }
    }

    /// A type can be both subject and resource: the subject's view has the word.
    private func entity(
        _ type: String, _ id: String, _ key: [UInt8], _ signals: [String: SignalValue], _ reader: borrowing TenantReader
    ) throws(StoreError) -> [UInt8]? {
        guard let index = builder.catalog.entity(named: type) else { return nil }
        let containers = try reader.directContainers(key)
        if let stored = try reader.value(reader.databases.subjects, key) {
            guard stored.count >= 2, builder.catalog.entities[index].isSubject,
                let document = try? JSONValue.parse(stored.dropFirst(2))
            else { return nil }
            let groups = try reader.directGroups(type, id) + containers
            let granted = try reader.grantedRoles(of: key)
            return try fitting(type, id) { () throws(ValueProblem) in
                try builder.subject(
                    type: index, document: document, isActive: stored[1] == 1, groups: groups, signals: signals,
                    granted: granted)
            }
        }
        guard let document = try reader.document(reader.databases.resources, key, skip: 1) else { return nil }
        return try fitting(type, id) { () throws(ValueProblem) in
            try builder.entity(type: index, document: document, signals: signals, containers: containers)
        }
    }

    private func fitting(
        _ type: String, _ id: String, _ body: () throws(ValueProblem) -> [UInt8]
    ) throws(StoreError) -> [UInt8] {
        do throws(ValueProblem) {
            return try body()
        } catch {
            throw StoreError(.valueInvalid, "\(type) \"\(id)\": \(error.message)")
        }
    }
}

extension TenantReader {
    fileprivate func document(
        _ database: LMDBDatabase, _ key: [UInt8], skip: Int
    ) throws(StoreError) -> JSONValue? {
        guard let stored = try value(database, key), stored.count >= skip else { return nil }
        return try? JSONValue.parse(stored.dropFirst(skip))
    }

    fileprivate func signals(_ entity: [UInt8]) throws(StoreError) -> [String: SignalValue] {
        var found: [String: SignalValue] = [:]
        let prefix = entity + [0]
        try scan(databases.signals, prefix: prefix) { key, value in
            if let signal = SignalValue(stored: value) {
                found[String(decoding: key[prefix.count...], as: UTF8.self)] = signal
            }
        }
        return found
    }

    /// Numbers of the groups that a subject is in directly, as its view holds them.
    fileprivate func directGroups(_ type: String, _ id: String) throws(StoreError) -> [UInt32] {
        var groups: [UInt32] = []
        let prefix = Key.memberships(Key.user, Fold.memberID(type, id))
        try scan(databases.memberships, prefix: prefix, from: prefix) { key, _ in
            if key.count == prefix.count + 4 { groups.append(Key.uint32(key[prefix.count...])) }
            return groups.count < StoreLimits.maxGroupsOfSubject
        }
        return groups
    }

    /// Numbers of what an entity lies in directly, as its view holds them.
    fileprivate func directContainers(_ entity: [UInt8]) throws(StoreError) -> [UInt32] {
        var numbers: [UInt32] = []
        for parent in ParentList.decode(Array((try value(databases.parents, entity) ?? []).dropFirst())) {
            guard let stored = try value(databases.containers, parent.key), stored.count == 5 else { continue }
            numbers.append(Key.uint32(stored[1...]) | ContainerNumber.mark)
        }
        return numbers.sorted()
    }
}
