// What administrators look at: documents as they were recorded, page by page. Off the hot path.

import CBOR
package import StrictJSON

/// A session as it was recorded.
package struct StoredSession: Sendable {
    package var id: String
    /// `subject`, `issuer`, `acr`, `amr`, instants in ms since the epoch.
    package var document: JSONValue

    /// Whose it is.
    package var subject: EntityName? {
        guard let type = document["subject"]?["type"]?.string, let id = document["subject"]?["id"]?.string else {
            return nil
        }
        return EntityName(type: type, id: id)
    }

    /// When it ends by itself, ms since the epoch; nil for never.
    package var endsAt: Int64? { document["expires"]?.integer }
}

/// A resource of the application's registry.
package struct StoredResource: Sendable {
    package var name: EntityName
    package var properties: JSONValue
    /// What it lies in directly.
    package var parents: [EntityName]
}

/// A signal about an entity.
package struct StoredSignal: Sendable {
    package var name: String
    package var value: JSONValue
    /// ms since the epoch.
    package var at: Int64
    /// ms since the epoch; nil leaves it to the catalog.
    package var expires: Int64?
}

/// A part of a list, and where the next part starts.
package struct Page<Item: Sendable>: Sendable {
    package var items: [Item] = []
    /// The last key looked at, when more may follow.
    package var next: [UInt8]?

    package init() {}
}

extension TenantReader {
    /// Records that a listing looks at for one page, whatever it keeps of them.
    private static let maxLooked = 10_000

    /// One session.
    package func session(_ id: String) throws(StoreError) -> StoredSession? {
        guard StoreLimits.problem(withID: id) == nil, let stored = try value(databases.sessions, Array(id.utf8)) else {
            return nil
        }
        return Self.session(Array(id.utf8), stored)
    }

    /// Sessions in the order of their ids.
    /// - Parameters:
    ///   - subject: those of one subject alone.
    ///   - after: the page's `next`.
    package func sessions(
        of subject: EntityName?, after: [UInt8]?, limit: Int
    ) throws(StoreError) -> Page<StoredSession> {
        try page(databases.sessions, prefix: [], after: after, limit: limit) { key, stored in
            guard let session = Self.session(key, stored), subject == nil || session.subject == subject else {
                return nil
            }
            return session
        }
    }

    private static func session(_ key: [UInt8], _ stored: [UInt8]) -> StoredSession? {
        guard let document = try? JSONValue.parse(stored.dropFirst()) else { return nil }
        return StoredSession(id: String(decoding: key, as: UTF8.self), document: document)
    }

    /// One resource.
    package func resource(_ name: EntityName) throws(StoreError) -> StoredResource? {
        guard StoreLimits.problem(withID: name.id) == nil, StoreLimits.problem(withID: name.type) == nil,
            let stored = try value(databases.resources, name.key)
        else { return nil }
        return try resource(name.key, stored)
    }

    /// Resources in the order of their types and ids.
    /// - Parameters:
    ///   - type: those of one type alone.
    ///   - after: the page's `next`.
    package func resources(
        type: String?, after: [UInt8]?, limit: Int
    ) throws(StoreError) -> Page<StoredResource> {
        let prefix: [UInt8] = type.map { Array($0.utf8) + [0] } ?? []
        var failure: StoreError?
        let found = try page(databases.resources, prefix: prefix, after: after, limit: limit) { key, stored in
            do throws(StoreError) {
                return try resource(key, stored)
            } catch {
                failure = error
                return nil
            }
        }
        if let failure { throw failure }
        return found
    }

    private func resource(_ key: [UInt8], _ stored: [UInt8]) throws(StoreError) -> StoredResource? {
        guard let zero = key.firstIndex(of: 0), let properties = try? JSONValue.parse(stored.dropFirst()) else {
            return nil
        }
        let parents = try value(databases.parents, key).map { ParentList.decode(Array($0.dropFirst())) } ?? []
        let name = EntityName(
            type: String(decoding: key[..<zero], as: UTF8.self), id: String(decoding: key[(zero + 1)...], as: UTF8.self)
        )
        return StoredResource(name: name, properties: properties, parents: parents)
    }

    /// The signals about an entity, by name.
    package func signals(about name: EntityName) throws(StoreError) -> [StoredSignal] {
        guard StoreLimits.problem(withID: name.id) == nil, StoreLimits.problem(withID: name.type) == nil else {
            return []
        }
        var signals: [StoredSignal] = []
        let prefix = name.key + [0]
        try scan(databases.signals, prefix: prefix) { key, stored in
            guard let items = (try? CBORValue.decode(Array(stored.dropFirst())))?.items, items.count == 3,
                let text = items[0].text, let value = try? JSONValue.parse(text), let at = items[1].int
            else { return }
            signals.append(
                StoredSignal(
                    name: String(decoding: key[prefix.count...], as: UTF8.self), value: value, at: at,
                    expires: items[2].int))
        }
        return signals
    }

    /// True when the subject was provisioned.
    package func hasSubject(_ name: EntityName) throws(StoreError) -> Bool {
        guard StoreLimits.problem(withID: name.id) == nil, StoreLimits.problem(withID: name.type) == nil else {
            return false
        }
        return try value(databases.subjects, name.key) != nil
    }

    /// A version of the policies by its id.
    package func policies(id: UniqueID) throws(StoreError) -> StoredPolicies? {
        guard let stored = try value(databases.meta, StoredPolicies.idPrefix + id.bytes), stored.count == 9 else {
            return nil
        }
        return try policies(version: Key.uint64(stored[1...]))
    }

    /// Versions below a number, newest first; of their files the names alone.
    package func versions(before number: UInt64, limit: Int) throws(StoreError) -> [StoredPolicies] {
        var list: [StoredPolicies] = []
        var next = min(number, try lastVersion() + 1)
        while next > 1, list.count < limit {
            next -= 1
            guard var found = try policies(version: next) else { continue }
            for index in found.files.indices { found.files[index].text = "" }
            list.append(found)
        }
        return list
    }

    /// The last activations, newest first.
    package func activations(limit: Int) throws(StoreError) -> [Activation] {
        var list: [Activation] = []
        try scan(databases.meta, prefix: Activation.prefix) { key, stored in
            let generation = Key.uint64(key[Activation.prefix.count...])
            if let activation = Activation(generation: generation, stored) { list.append(activation) }
        }
        return list.suffix(limit).reversed()
    }

    func page<Item>(
        _ database: LMDBDatabase, prefix: [UInt8], after: [UInt8]?, limit: Int,
        _ item: (_ key: [UInt8], _ value: [UInt8]) -> Item?
    ) throws(StoreError) -> Page<Item> {
        var page = Page<Item>()
        var looked = 0
        var last: [UInt8]?
        // A key and a zero byte is the first key after it. LMDB takes keys up to 511 bytes.
        let from = after.map { Array($0.prefix(510)) + [0] } ?? prefix
        if let after, !after.starts(with: prefix) { return page }
        try scan(database, prefix: prefix, from: from) { key, value in
            if page.items.count == limit || looked == Self.maxLooked {
                page.next = last
                return false
            }
            looked += 1
            last = key
            if let item = item(key, value) { page.items.append(item) }
            return true
        }
        return page
    }
}
