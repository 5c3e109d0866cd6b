// Do the stored values fit a catalog? Looked at before a version with another catalog may decide, and told all at once.

import CBOR
import DecisionEngine
package import PolicyLanguage
import StrictJSON

/// Stored values of one kind that do not fit a catalog.
package struct StoredMisfit: Sendable, Hashable {
    /// Why; the raw value is stable and appears in JSON output.
    package enum Kind: String, Sendable, Hashable {
        /// A value that the attribute's type does not have.
        case value = "value_does_not_fit"
        /// An entity whose type the new catalog has no longer.
        case entityType = "entity_type_gone"
        /// A living signal whose attribute the new catalog has no longer.
        case signal = "signal_gone"
        /// A resource without a value that is required from now on and that no question may bring.
        case missing = "required_value_missing"
    }

    /// One of them.
    package struct Example: Sendable, Hashable {
        package var id: String
        /// `attribute "level" needs 0...3, found 5`
        package var problem: String
    }

    package var kind: Kind
    package var type: String
    /// Nil when it is about the entity as a whole.
    package var attribute: String?
    package var count = 0
    /// The first of them, by id.
    package var examples: [Example] = []

    /// What and how many, in words.
    package var summary: String {
        let what = attribute.map { "\(type).\($0)" } ?? type
        let values = count == 1 ? "1 value" : "\(count) values"
        return switch kind {
        case .value: "\(values) of \(what) do\(count == 1 ? "es" : "") not fit its type"
        case .entityType: "\(count) stored of the type \(what), which is gone: delete them first"
        case .signal: "\(values) of the signal \(what), which is gone: let them expire, or send null"
        case .missing:
            "\(count) of the type \(type) without `\(attribute ?? "")`, which is required now: store it first"
        }
    }
}

/// How what is stored stands to a catalog.
package struct CatalogFit: Sendable, Hashable {
    package fileprivate(set) var misfits: [StoredMisfit] = []
    /// Entities and signals that were looked at.
    package fileprivate(set) var looked = 0

    package var fits: Bool { misfits.isEmpty }

    /// Everything that does not fit, with the examples, a line each.
    package var description: String {
        misfits.map { misfit in
            let examples = misfit.examples.map { "\n  \(misfit.type) \"\($0.id)\": \($0.problem)" }.joined()
            let rest = misfit.count - misfit.examples.count
            return misfit.summary + examples + (rest > 0 && !misfit.examples.isEmpty ? "\n  and \(rest) more" : "")
        }.joined(separator: "\n")
    }
}

extension TenantReader {
    /// Looks at everything that is stored.
    /// - Parameters:
    ///   - catalog: the catalog to fit.
    ///   - before: the one that decides now. What its words do not say either is no misfit of the new one.
    ///   - examples: at most so many of each kind.
    ///   - now: ms since the epoch; signals that ended before have no need to fit.
    package func fit(
        _ catalog: Catalog, before: Catalog?, examples: Int, now: Int64
    ) throws(StoreError) -> CatalogFit {
        var scan = FitScan(builder: ViewBuilder(catalog: catalog), before: before, maxExamples: examples, now: now)
        var failure: StoreError?
        func look(_ database: LMDBDatabase, _ type: String?, _ skip: Int) throws(StoreError) {
            try self.scan(database, prefix: [], from: []) { key, stored in
                guard let (entity, id) = Self.entity(key, type), stored.count >= skip,
                    let document = try? JSONValue.parse(stored.dropFirst(skip))
                else { return true }
                // Values that do not fit are dropped from a deprovisioned subject's view.
                let isLenient = skip == 2 && stored[1] == 0
                let found = scan.problems(entity, document, isSubject: skip == 2, isLenient: isLenient)
                do throws(StoreError) {
                    for (kind, problem) in found {
                        // A signal stands before what the document says.
                        if let attribute = problem?.attribute,
                            try value(databases.signals, Key.signal(Key.entity(entity, id), attribute)) != nil
                        {
                            continue
                        }
                        scan.note(kind, entity, id, problem)
                    }
                    return true
                } catch {
                    failure = error
                    return false
                }
            }
            if let failure { throw failure }
        }
        try look(databases.subjects, nil, 2)
        try look(databases.resources, nil, 1)
        try look(databases.sessions, "session", 1)
        try look(databases.devices, "device", 1)
        try self.scan(databases.signals) { key, stored in scan.signal(key, stored) }
        return scan.fit
    }

    /// The catalog of the version that decides; nil when there is none that this program can read.
    package func activeCatalog() throws(StoreError) -> Catalog? {
        guard let active = try policies(version: try generations().activeVersion) else { return nil }
        return checkCatalog(active.sources).catalog
    }

    private static func entity(_ key: [UInt8], _ type: String?) -> (type: String, id: String)? {
        if let type { return (type, String(decoding: key, as: UTF8.self)) }
        guard let zero = key.firstIndex(of: 0) else { return nil }
        return (String(decoding: key[..<zero], as: UTF8.self), String(decoding: key[(zero + 1)...], as: UTF8.self))
    }
}

/// What a scan has found.
private struct FitScan {
    let builder: ViewBuilder
    let before: Catalog?
    let maxExamples: Int
    let now: Int64
    private(set) var fit = CatalogFit()

    init(builder: ViewBuilder, before: Catalog?, maxExamples: Int, now: Int64) {
        self.builder = builder
        self.before = before
        self.maxExamples = maxExamples
        self.now = now
    }

    private var catalog: Catalog { builder.catalog }

    mutating func note(_ kind: StoredMisfit.Kind, _ type: String, _ id: String, _ problem: ValueProblem?) {
        let attribute = problem?.attribute
        var place = fit.misfits.firstIndex { $0.kind == kind && $0.type == type && $0.attribute == attribute }
        if place == nil {
            place = fit.misfits.count
            fit.misfits.append(StoredMisfit(kind: kind, type: type, attribute: attribute))
        }
        guard let index = place else { return }
        fit.misfits[index].count += 1
        guard fit.misfits[index].examples.count < maxExamples else { return }
        fit.misfits[index].examples.append(
            StoredMisfit.Example(id: id, problem: problem?.message ?? "its type is gone"))
    }

    /// What of an entity's document does not fit.
    mutating func problems(
        _ type: String, _ document: JSONValue, isSubject: Bool, isLenient: Bool
    ) -> [(StoredMisfit.Kind, ValueProblem?)] {
        fit.looked += 1
        guard let index = catalog.entity(named: type), !isSubject || catalog.entities[index].isSubject else {
            guard let known = before.flatMap({ $0.entity(named: type) }) else { return [] }
            return isSubject && before?.entities[known].isSubject == false ? [] : [(.entityType, nil)]
        }
        if isLenient { return [] }
        var found = builder.problems(type: index, document: document).map {
            (StoredMisfit.Kind.value, ValueProblem?.some($0))
        }
        found += missing(index, document).map { (.missing, $0) }
        return found
    }

    /// Attributes that are required from now on, that no question may bring and that the document lacks.
    private func missing(_ index: Int, _ document: JSONValue) -> [ValueProblem] {
        let type = catalog.entities[index]
        guard let before, let old = before.entity(named: type.name) else { return [] }
        return type.attributes.compactMap { attribute in
            guard attribute.isRequired, attribute.isStored, !attribute.isFromRequest else { return nil }
            let known = before.entities[old].attributes.first { $0.name == attribute.name }
            if let known, known.isRequired, !known.isFromRequest { return nil }
            let value = builder.find(attribute, in: document, of: index) ?? .null
            return value == .null ? ValueProblem(attribute: attribute.name, expected: "a value", found: .null) : nil
        }
    }

    /// A signal: type NUL id NUL name → CBOR [value, at, expires].
    mutating func signal(_ key: [UInt8], _ stored: [UInt8]) {
        let parts = key.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3, let items = (try? CBORValue.decode(Array(stored.dropFirst())))?.items, items.count == 3,
            let text = items[0].text, let value = try? JSONValue.parse(text), value != .null
        else { return }
        fit.looked += 1
        let names = parts.map { String(decoding: $0, as: UTF8.self) }
        let (type, id, name) = (names[0], names[1], names[2])
        guard let index = catalog.entity(named: type),
            let attribute = catalog.entities[index].attributes.first(where: { $0.name == name })
        else {
            let old = before.flatMap { catalog in
                catalog.entity(named: type).flatMap { entity in
                    catalog.entities[entity].attributes.first { $0.name == name }
                }
            }
            guard let old else { return }
            let end = items[2].int ?? old.lifetime.map { (items[1].int ?? 0).addingReportingOverflow($0).partialValue }
            if let end, end <= now { return }
            note(.signal, type, id, ValueProblem(attribute: name, expected: "a place in the catalog", found: value))
            return
        }
        guard attribute.isStored else { return }
        do throws(ValueProblem) {
            _ = try builder.constant(value, attribute.type, name)
        } catch {
            note(.value, type, id, error)
        }
    }
}
