// What lies in what: containers of the resource registry (`resource in folder "Reports"`).
//
// A resource names its parents; the views hold the numbers of these. Only what is a parent has a number, and only edges
// between numbered entities are kept, so that a hierarchy of a million documents in ten folders has ten numbers, and
// moving a document rewrites one view and nothing else.

import CBOR

/// An entity by type and id.
package struct EntityName: Sendable, Hashable {
    package var type: String
    package var id: String

    package init(type: String, id: String) {
        self.type = type
        self.id = id
    }

    var key: [UInt8] { Key.entity(type, id) }
}

/// Numbers of containers, which stand among the numbers of groups in a view.
enum ContainerNumber {
    /// Set in a view, so that one list holds groups and containers.
    static let mark: UInt32 = 1 << 31
}

extension Fold {
    /// Numbers of the direct containers of an entity as its view holds them, ascending.
    func directContainers(
        _ entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [UInt32] {
        var numbers: [UInt32] = []
        for parent in try parents(entity, transaction) {
            if let number = try containerNumber(parent.key, transaction) {
                numbers.append(number | ContainerNumber.mark)
            }
        }
        return numbers.sorted()
    }

    /// Says in what an entity lies directly; an empty list takes it out of everything.
    /// - Returns: why that cannot be.
    mutating func setParents(
        of name: EntityName, _ parents: [EntityName], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> StoreError? {
        let entity = name.key
        let before = try self.parents(entity, transaction)
        if before == parents { return nil }
        var above: [UInt32] = []
        for parent in parents {
            if parent == name { return Self.circle(name, parent) }
            above.append(try numbered(parent.key, transaction))
        }
        if let number = try containerNumber(entity, transaction) {
            let below = try numbersBelow(number, transaction)
            if let index = above.firstIndex(where: { below.contains($0) }) { return Self.circle(name, parents[index]) }
            for parent in before {
                guard let old = try containerNumber(parent.key, transaction) else { continue }
                try transaction.delete(databases.nesting, Key.number(old) + Key.number(number))
            }
            for new in above {
                try transaction.put(databases.nesting, Key.number(new) + Key.number(number), [Key.plain])
            }
            noteHierarchyChange()
        }
        if parents.isEmpty {
            try transaction.delete(databases.parents, entity)
        } else {
            try transaction.put(databases.parents, entity, [Key.plain] + ParentList.encode(parents))
        }
        return nil
    }

    private static func circle(_ name: EntityName, _ parent: EntityName) -> StoreError {
        StoreError(
            .groupCycle,
            "\(name.type) \"\(name.id)\" cannot lie in \(parent.type) \"\(parent.id)\", which lies in it. "
                + "Take one of the two out first")
    }

    func parents(
        _ entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> [EntityName] {
        try transaction.get(databases.parents, entity).map { ParentList.decode(Array($0.dropFirst())) } ?? []
    }

    private func containerNumber(
        _ entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> UInt32? {
        guard let stored = try transaction.get(databases.containers, entity), stored.count == 5 else { return nil }
        return Key.uint32(stored[1...])
    }

    /// The number of an entity that is a container from now on.
    private mutating func numbered(
        _ entity: [UInt8], _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> UInt32 {
        if let number = try containerNumber(entity, transaction) { return number }
        let number = (try transaction.lastKey(databases.containerNumbers)).map { Key.uint32($0) &+ 1 } ?? 1
        try transaction.put(databases.containerNumbers, Key.number(number), [Key.plain] + entity)
        try transaction.put(databases.containers, entity, [Key.plain] + Key.number(number))
        for parent in try parents(entity, transaction) {
            guard let above = try containerNumber(parent.key, transaction) else { continue }
            try transaction.put(databases.nesting, Key.number(above) + Key.number(number), [Key.plain])
        }
        noteHierarchyChange()
        return number
    }

    /// The number itself and all below it.
    private func numbersBelow(
        _ number: UInt32, _ transaction: borrowing LMDBWriteTransaction
    ) throws(LMDBError) -> Set<UInt32> {
        var seen: Set<UInt32> = [number]
        var pending = [number]
        while let next = pending.popLast() {
            try transaction.scan(databases.nesting, prefix: Key.number(next)) { key, _ in
                if key.count == 8, seen.insert(Key.uint32(key[4...])).inserted { pending.append(Key.uint32(key[4...])) }
                return true
            }
        }
        return seen
    }
}

/// How the parents of an entity are stored and logged.
enum ParentList {
    static func value(_ parents: [EntityName]) -> CBORValue {
        .array(parents.map { .array([.text($0.type), .text($0.id)]) })
    }

    static func encode(_ parents: [EntityName]) -> [UInt8] { value(parents).encoded }

    static func decode(_ bytes: [UInt8]) -> [EntityName] { (try? CBORValue.decode(bytes)).map(read) ?? [] }

    static func read(_ value: CBORValue) -> [EntityName] {
        (value.items ?? []).compactMap { item in
            guard let parts = item.items, parts.count == 2, let type = parts[0].text, let id = parts[1].text else {
                return nil
            }
            return EntityName(type: type, id: id)
        }
    }
}

extension TenantReader {
    /// Every container number, as views hold it, that makes `resource in <containers[index]>` true: the containers
    /// themselves and all that lie below them.
    package func containers(below names: [EntityName]) throws(StoreError) -> [(number: UInt32, index: Int)] {
        var pairs: [(number: UInt32, index: Int)] = []
        for (index, name) in names.enumerated() {
            guard let stored = try value(databases.containers, name.key), stored.count == 5 else { continue }
            var seen: Set<UInt32> = [Key.uint32(stored[1...])]
            var pending = Array(seen)
            while let number = pending.popLast() {
                pairs.append((number | ContainerNumber.mark, index))
                try scan(databases.nesting, prefix: Key.number(number)) { key, _ in
                    if key.count == 8, seen.insert(Key.uint32(key[4...])).inserted {
                        pending.append(Key.uint32(key[4...]))
                    }
                }
            }
        }
        return pairs
    }
}
