// Which values of a question may be written down: those of attributes that the catalog lets a request fill and whose
// `use` is among the kept ones. Everything else is left out before it reaches a file.

import DecisionPath
import Memory
package import PolicyLanguage

/// A catalog's word on what may be written.
package final class MaskingPlan: Sendable {
    /// What becomes of a property.
    package enum Fate: Sendable, Hashable {
        case kept
        /// The catalog declares it for another use.
        case masked
        /// The catalog does not let a request give it; nothing is decided by it.
        case undeclared
    }

    /// The properties of one part of a question.
    struct Part: Sendable {
        fileprivate let table: NameTable?
        fileprivate let fates: [Fate]

        func fate(_ name: UnsafeRawBufferPointer) -> Fate {
            guard let index = unsafe table?[name] else { return .undeclared }
            return fates[index]
        }
    }

    private let names: NameArena
    private let entities: [Part]
    private let actions: [Part]
    let context: Part
    /// For a type or action that the catalog does not have.
    let unknown = Part(table: nil, fates: [])

    /// A plan that knows nothing: no property is written. For decisions that no policy made.
    package convenience init() { self.init(entities: [], actions: [], context: [], keptUses: []) }

    /// - Parameter keptUses: the uses whose values are written. An attribute without a use has that of deciding.
    package convenience init(_ catalog: Catalog, keptUses: Set<String>) {
        self.init(
            entities: catalog.entities.map { ($0.name, $0.attributes) },
            actions: catalog.actions.map { ($0.name, $0.attributes) }, context: catalog.context, keptUses: keptUses)
    }

    private init(
        entities: [(String, [Attribute])], actions: [(String, [Attribute])], context: [Attribute], keptUses: Set<String>
    ) {
        let owners = entities.map(\.1) + actions.map(\.1) + [context]
        let names = NameArena(
            [entities.map(\.0), actions.map(\.0)] + owners.map { $0.map(\.name) })
        let parts = owners.enumerated().map { index, attributes in
            Part(
                table: names[2 + index],
                fates: attributes.map { attribute in
                    guard attribute.isFromRequest else { return .undeclared }
                    return attribute.use.map(keptUses.contains) ?? true ? .kept : .masked
                })
        }
        self.names = names
        self.entities = Array(parts[..<entities.count])
        self.actions = Array(parts[entities.count..<owners.count - 1])
        self.context = parts[owners.count - 1]
    }

    /// The part of an entity type.
    func entity(_ name: UnsafeRawBufferPointer) -> Part { unsafe names[0][name].map { entities[$0] } ?? unknown }
    /// The part of an action.
    func action(_ name: UnsafeRawBufferPointer) -> Part { unsafe names[1][name].map { actions[$0] } ?? unknown }
}
