// What changes between two versions of a catalog, and whether that can break anybody: policies, callers, stored values.

package import PolicyLanguage

/// One change from a catalog to the next.
package struct CatalogChange: Sendable, Hashable {
    /// Stable codes; a code never changes its meaning or its class.
    package enum Code: String, Sendable, Hashable, CaseIterable {
        case catalogRenamed = "C0001"
        case versionNotRaised = "C0002"
        case entityAdded = "C0101"
        case entityRemoved = "C0102"
        case becameSubject = "C0103"
        case noLongerSubject = "C0104"
        case containerAdded = "C0105"
        case containerRemoved = "C0106"
        case attributeAdded = "C0201"
        case requiredAttributeAdded = "C0202"
        case attributeRemoved = "C0203"
        case typeChanged = "C0204"
        case rangeWidened = "C0205"
        case rangeNarrowed = "C0206"
        case caseAdded = "C0207"
        case caseRemoved = "C0208"
        case orderChanged = "C0209"
        case orderAdded = "C0210"
        case defaultAdded = "C0211"
        case defaultRemoved = "C0212"
        case defaultChanged = "C0213"
        case becameOptional = "C0214"
        case noLongerOptional = "C0215"
        case sourceAdded = "C0216"
        case sourceRemoved = "C0217"
        case sourceOrderChanged = "C0218"
        case requestAdded = "C0219"
        case lifetimeChanged = "C0220"
        case useChanged = "C0221"
        case actionAdded = "C0301"
        case actionRemoved = "C0302"
        case actionTypeAdded = "C0303"
        case actionTypeRemoved = "C0304"
        case levelAdded = "C0401"
        case levelRemoved = "C0402"
        case levelOrderChanged = "C0403"
        case levelReachable = "C0404"
        case levelUnreachable = "C0405"
        case issuerAdded = "C0501"
        case issuerRemoved = "C0502"
        case acrAdded = "C0503"
        case acrRemoved = "C0504"
        case acrChanged = "C0505"

        /// Policies, questions or stored values that were right before can be wrong after it, or mean something else.
        package var isBreaking: Bool {
            switch self {
            case .catalogRenamed, .versionNotRaised, .entityAdded, .becameSubject, .containerAdded, .attributeAdded,
                .rangeWidened, .caseAdded, .orderAdded, .defaultAdded, .sourceAdded, .useChanged, .actionAdded,
                .actionTypeAdded, .levelAdded, .levelReachable, .issuerAdded, .acrAdded:
                false
            case .entityRemoved, .noLongerSubject, .containerRemoved, .requiredAttributeAdded, .attributeRemoved,
                .typeChanged, .rangeNarrowed, .caseRemoved, .orderChanged, .defaultRemoved, .defaultChanged,
                .becameOptional, .noLongerOptional, .sourceRemoved, .sourceOrderChanged, .requestAdded,
                .lifetimeChanged, .actionRemoved, .actionTypeRemoved, .levelRemoved, .levelOrderChanged,
                .levelUnreachable, .issuerRemoved, .acrRemoved, .acrChanged:
                true
            }
        }

        /// A few words: `attribute removed`.
        package var title: String {
            "\(self)".reduce(into: "") { $0 += $1.isUppercase ? " \($1.lowercased())" : String($1) }
        }

        /// What it means for those who use the catalog, and what to do.
        package var advice: String {
            switch self {
            case .catalogRenamed: "nothing reads the name but people; keep it unless the application has a new one"
            case .versionNotRaised: "raise the version: the first number when something breaks, else the second"
            case .entityAdded: "policies can speak of it"
            case .entityRemoved: "remove rules about it first, and delete what is stored of it"
            case .becameSubject: "it can ask now; nothing permits it anything yet"
            case .noLongerSubject: "questions by it become errors: remove its rules and its records first"
            case .containerAdded: "rules with `resource in …` can reach deeper now: compare the policies' answers"
            case .containerRemoved:
                "rules that ask for this container no longer check; lay stored resources elsewhere first"
            case .attributeAdded: "what is stored before has its default, or none, until a source fills it"
            case .requiredAttributeAdded:
                "questions whose rules read it become errors until it is sent: give it a default, or let callers send it first"
            case .attributeRemoved: "policies that read it no longer check; callers may go on sending it, it is ignored"
            case .typeChanged:
                "stored values of the old type no longer fit: add an attribute of the new type, move, then remove this one"
            case .rangeWidened, .caseAdded: "policies that list the values may want a rule for the new ones"
            case .rangeNarrowed, .caseRemoved: "stored and sent values outside no longer fit: change them first"
            case .orderChanged: "comparisons with < and > mean something else: look at every rule that has one"
            case .orderAdded: "policies can compare with < and > now"
            case .defaultAdded: "where it was missing, an error or an absence becomes this value"
            case .defaultRemoved:
                "where it is missing, there is no value any more: rules must ask with `has`, or callers send it"
            case .defaultChanged: "answers change wherever the value is missing: compare the policies' answers"
            case .becameOptional: "rules must ask with `has` or give a stand-in with `??`"
            case .noLongerOptional:
                "what lacks it has the default now, or is an error without one; rules drop their `has`"
            case .sourceAdded: "values may come from there too, after the sources before it"
            case .sourceRemoved: "values from there are no longer taken: make sure that another source fills it"
            case .sourceOrderChanged: "where two sources disagree, the other one wins now"
            case .requestAdded:
                "callers can fill it now where nothing live is known: be sure that they may be trusted with it"
            case .lifetimeChanged: "values end sooner or later than they did, those already stored too"
            case .useChanged: "the decision log shows or hides its values by this"
            case .actionAdded, .actionTypeAdded: "nothing permits it yet"
            case .actionRemoved, .actionTypeRemoved: "remove its rules first; questions about it become errors"
            case .levelAdded: "no issuer proves it until an acr says so"
            case .levelRemoved: "demands for it no longer check; stored sessions that name it no longer fit"
            case .levelOrderChanged: "what satisfies a demand is another set of levels now"
            case .levelReachable: "it is asked for in step-up now, where it was a denial"
            case .levelUnreachable: "where it was asked for in step-up, the answer is a denial now"
            case .issuerAdded, .acrAdded: "sessions with it prove more than they did"
            case .issuerRemoved, .acrRemoved:
                "sessions with it prove nothing any more: users are asked to sign in again"
            case .acrChanged: "sessions with it prove another level now"
            }
        }
    }

    /// Where a change shows.
    package enum Side: Sendable, Hashable { case old, new }

    package var code: Code
    /// What it is about: `user.clearance`, `approve`, `mfa`.
    package var subject: String
    package var message: String
    /// The place, and in which of the two catalogs; `none` when no text says it.
    package var range: SourceRange
    package var side: Side

    /// The changes from one catalog to the next, in the order of the words.
    /// - Parameters:
    ///   - old: the files before; all but the catalog is passed over.
    ///   - new: the files after.
    package static func changes(
        from old: Catalog, _ oldPlaces: SymbolIndex, to new: Catalog, _ newPlaces: SymbolIndex
    ) -> [CatalogChange] {
        var comparison = CatalogComparison(old: old, new: new, oldPlaces: oldPlaces, newPlaces: newPlaces)
        comparison.run()
        return comparison.changes
    }
}

/// Compares two catalogs, word by word.
private struct CatalogComparison {
    let old: Catalog
    let new: Catalog
    let oldPlaces: SymbolIndex
    let newPlaces: SymbolIndex
    var changes: [CatalogChange] = []

    mutating func run() {
        entities()
        for holder in [AttributeHolder.context] { attributes(holder) }
        actions()
        levels()
        issuers()
        if old.name != new.name {
            add(.catalogRenamed, new.name, "the catalog \"\(old.name)\" is called \"\(new.name)\" now", nil, .new)
        }
        if !changes.isEmpty, !isRaised {
            let isBreaking = changes.contains { $0.code.isBreaking }
            add(
                .versionNotRaised, new.version,
                "version \(old.version) to \(new.version), though \(isBreaking ? "changes break" : "words change")",
                nil,
                .new)
        }
    }

    /// True when the version says what the changes do, by semver.org: a breaking one raises the first number.
    private var isRaised: Bool {
        func numbers(_ version: String) -> [Int] { version.split(separator: ".").map { Int($0) ?? 0 } }
        let (before, after) = (numbers(old.version), numbers(new.version))
        if changes.contains(where: { $0.code.isBreaking }) { return (after.first ?? 0) > (before.first ?? 0) }
        return before.lexicographicallyPrecedes(after)
    }

    private mutating func add(
        _ code: CatalogChange.Code, _ subject: String, _ message: String, _ symbol: Symbol?, _ side: CatalogChange.Side
    ) {
        let places = side == .old ? oldPlaces : newPlaces
        changes.append(
            CatalogChange(
                code: code, subject: subject, message: message,
                range: symbol.flatMap { places.declaration(of: $0) } ?? .none, side: side))
    }

    // MARK: Entities

    private mutating func entities() {
        for before in old.entities where new.entity(named: before.name) == nil {
            add(.entityRemoved, before.name, "entity type `\(before.name)` is gone", .entity(before.name), .old)
        }
        for after in new.entities {
            let symbol = Symbol.entity(after.name)
            guard let index = old.entity(named: after.name) else {
                add(.entityAdded, after.name, "entity type `\(after.name)` is new", symbol, .new)
                continue
            }
            let before = old.entities[index]
            if before.isSubject != after.isSubject {
                add(
                    after.isSubject ? .becameSubject : .noLongerSubject, after.name,
                    "`\(after.name)` is \(after.isSubject ? "a subject now" : "no subject any more")", symbol, .new)
            }
            let held = Set(before.containers.map { old.entities[$0].name })
            let holds = Set(after.containers.map { new.entities[$0].name })
            for name in holds.subtracting(held).sorted() {
                add(.containerAdded, after.name, "`\(after.name)` can lie in `\(name)` now", symbol, .new)
            }
            for name in held.subtracting(holds).sorted() {
                add(.containerRemoved, after.name, "`\(after.name)` can no longer lie in `\(name)`", symbol, .new)
            }
            attributes(.entity(after.name))
        }
    }

    // MARK: Attributes

    private mutating func attributes(_ holder: AttributeHolder) {
        let before = old.attributes(of: holder)
        let after = new.attributes(of: holder)
        for attribute in before where !after.contains(where: { $0.name == attribute.name }) {
            let name = path(holder, attribute)
            add(.attributeRemoved, name, "`\(name)` is gone", .attribute(holder, attribute.name), .old)
        }
        for attribute in after {
            let name = path(holder, attribute)
            if let known = before.first(where: { $0.name == attribute.name }) {
                compare(known, attribute, holder, name)
            } else {
                add(
                    attribute.isRequired ? .requiredAttributeAdded : .attributeAdded, name,
                    "`\(name)` is new" + (attribute.isRequired ? ", and a question must have it" : ""),
                    .attribute(holder, attribute.name), .new)
            }
        }
    }

    private func path(_ holder: AttributeHolder, _ attribute: Attribute) -> String {
        switch holder {
        case .entity(let name), .action(let name): "\(name).\(attribute.name)"
        case .context: "context.\(attribute.name)"
        }
    }

    private mutating func compare(
        _ before: Attribute, _ after: Attribute, _ holder: AttributeHolder, _ name: String
    ) {
        let symbol = Symbol.attribute(holder, after.name)
        func spelled(_ type: ValueType, _ catalog: Catalog) -> String { type.spelling { catalog.entities[$0].name } }
        let sameType = spelled(before.type, old) == spelled(after.type, new)
        if !sameType { types(before.type, after.type, name, symbol) }
        if before.isOptional != after.isOptional {
            add(
                after.isOptional ? .becameOptional : .noLongerOptional, name,
                "`\(name)` is \(after.isOptional ? "optional now" : "no longer optional")", symbol, .new)
        }
        switch (before.defaultValue, after.defaultValue) {
        case (nil, nil): break
        case (nil, _): add(.defaultAdded, name, "`\(name)` has a default now", symbol, .new)
        case (_, nil): add(.defaultRemoved, name, "`\(name)` has no default any more", symbol, .new)
        case (let left?, let right?):
            if text(left, before.type) != text(right, after.type) {
                add(.defaultChanged, name, "the default of `\(name)` is another", symbol, .new)
            }
        }
        sources(before, after, name, symbol)
        if before.lifetime != after.lifetime {
            add(.lifetimeChanged, name, "`\(name)` expires after another time", symbol, .new)
        }
        if before.use != after.use { add(.useChanged, name, "`\(name)` has another use", symbol, .new) }
    }

    /// A constant so that it compares across catalogs, whose enums may number their cases differently.
    private func text(_ constant: Constant, _ type: ValueType) -> String {
        switch (constant, type) {
        case (.enumeration(let index), .enumeration(let cases)): return cases.cases[index]
        case (.set(let elements), .set(let element)):
            return elements.map { text($0, element) }.sorted().joined(separator: ",")
        case (.reference(_, let id), _): return id
        default: return "\(constant)"
        }
    }

    private mutating func types(_ before: ValueType, _ after: ValueType, _ name: String, _ symbol: Symbol) {
        switch (before, after) {
        case (.set(let left), .set(let right)): types(left, right, name, symbol)
        case (.integer(let left), .integer(let right)):
            let least = (left?.lowerBound ?? .min, right?.lowerBound ?? .min)
            let most = (left?.upperBound ?? .max, right?.upperBound ?? .max)
            if least.1 > least.0 || most.1 < most.0 {
                add(
                    .rangeNarrowed, name,
                    "`\(name)` holds fewer numbers: \(spelled(before, old)) to \(spelled(after, new))", symbol, .new)
            } else {
                add(
                    .rangeWidened, name,
                    "`\(name)` holds more numbers: \(spelled(before, old)) to \(spelled(after, new))", symbol, .new)
            }
        case (.enumeration(let left), .enumeration(let right)): cases(left, right, name, symbol)
        default:
            add(
                .typeChanged, name, "`\(name)` was \(spelled(before, old)) and is \(spelled(after, new))", symbol, .new)
        }
    }

    private func spelled(_ type: ValueType, _ catalog: Catalog) -> String {
        type.spelling { catalog.entities[$0].name }
    }

    private mutating func cases(_ before: EnumerationType, _ after: EnumerationType, _ name: String, _ symbol: Symbol) {
        for word in before.cases where !after.cases.contains(word) {
            add(.caseRemoved, name, "`\(name)` is never `\(word)` any more", symbol, .new)
        }
        for word in after.cases where !before.cases.contains(word) {
            add(.caseAdded, name, "`\(name)` can be `\(word)` now", symbol, .new)
        }
        let shared = (
            before.cases.filter { after.cases.contains($0) }, after.cases.filter { before.cases.contains($0) }
        )
        if before.ordered, !after.ordered || shared.0 != shared.1 {
            add(.orderChanged, name, "the cases of `\(name)` have another order, or none", symbol, .new)
        } else if !before.ordered, after.ordered {
            add(.orderAdded, name, "the cases of `\(name)` have an order now", symbol, .new)
        }
    }

    private mutating func sources(_ before: Attribute, _ after: Attribute, _ name: String, _ symbol: Symbol) {
        for source in after.sources where !before.sources.contains(source) {
            if source == .request {
                add(.requestAdded, name, "a question can bring `\(name)` now", symbol, .new)
            } else {
                add(.sourceAdded, name, "`\(name)` comes from \(source.spelling) too", symbol, .new)
            }
        }
        for source in before.sources where !after.sources.contains(source) {
            add(.sourceRemoved, name, "`\(name)` no longer comes from \(source.spelling)", symbol, .new)
        }
        let shared = (
            before.sources.filter { after.sources.contains($0) }, after.sources.filter { before.sources.contains($0) }
        )
        if shared.0 != shared.1 {
            add(.sourceOrderChanged, name, "the sources of `\(name)` have another order", symbol, .new)
        }
    }

    // MARK: Actions, levels, issuers

    private mutating func actions() {
        for before in old.actions where new.action(named: before.name) == nil {
            add(.actionRemoved, before.name, "action `\(before.name)` is gone", .action(before.name), .old)
        }
        for after in new.actions {
            let symbol = Symbol.action(after.name)
            guard let index = old.action(named: after.name) else {
                add(.actionAdded, after.name, "action `\(after.name)` is new", symbol, .new)
                continue
            }
            let had = Set(old.actions[index].resourceTypes.map { old.entities[$0].name })
            let has = Set(after.resourceTypes.map { new.entities[$0].name })
            for type in has.subtracting(had).sorted() {
                add(.actionTypeAdded, after.name, "`\(after.name)` exists on `\(type)` now", symbol, .new)
            }
            for type in had.subtracting(has).sorted() {
                add(.actionTypeRemoved, after.name, "`\(after.name)` no longer exists on `\(type)`", symbol, .new)
            }
            attributes(.action(after.name))
        }
    }

    private mutating func levels() {
        for name in old.assurance.levels where new.assurance.level(named: name) == nil {
            add(.levelRemoved, name, "assurance level `\(name)` is gone", .level(name), .old)
        }
        for (index, name) in new.assurance.levels.enumerated() {
            let symbol = Symbol.level(name)
            guard let before = old.assurance.level(named: name) else {
                add(.levelAdded, name, "assurance level `\(name)` is new", symbol, .new)
                continue
            }
            func implied(_ assurance: Assurance, _ level: Int, sharedWith other: Assurance) -> [String] {
                assurance.levels.indices.filter { assurance.implied[level] & (1 << UInt64($0)) != 0 }
                    .map { assurance.levels[$0] }.filter { other.level(named: $0) != nil }.sorted()
            }
            if implied(old.assurance, before, sharedWith: new.assurance)
                != implied(new.assurance, index, sharedWith: old.assurance)
            {
                add(.levelOrderChanged, name, "`\(name)` is above other levels than before", symbol, .new)
            }
            let was = old.assurance.reachable & (1 << UInt64(before)) != 0
            let isNow = new.assurance.reachable & (1 << UInt64(index)) != 0
            if was != isNow {
                add(
                    isNow ? .levelReachable : .levelUnreachable, name,
                    "`\(name)` can\(isNow ? "" : " no longer") be reached by signing in again", symbol, .new)
            }
        }
    }

    private mutating func issuers() {
        for before in old.issuers where !new.issuers.contains(where: { $0.issuer == before.issuer }) {
            add(.issuerRemoved, before.issuer, "issuer \"\(before.issuer)\" is gone", .issuer(before.issuer), .old)
        }
        for after in new.issuers {
            let symbol = Symbol.issuer(after.issuer)
            guard let before = old.issuers.first(where: { $0.issuer == after.issuer }) else {
                add(.issuerAdded, after.issuer, "issuer \"\(after.issuer)\" is new", symbol, .new)
                continue
            }
            for acr in Set(before.levels.keys).union(after.levels.keys).sorted() {
                let was = before.levels[acr].map { old.assurance.levels[$0] }
                let isNow = after.levels[acr].map { new.assurance.levels[$0] }
                switch (was, isNow) {
                case (nil, let level?): add(.acrAdded, after.issuer, "acr \"\(acr)\" proves `\(level)`", symbol, .new)
                case (_?, nil): add(.acrRemoved, after.issuer, "acr \"\(acr)\" proves nothing any more", symbol, .new)
                case (let left?, let right?) where left != right:
                    add(.acrChanged, after.issuer, "acr \"\(acr)\" proves `\(right)`, not `\(left)`", symbol, .new)
                default: break
                }
            }
        }
    }
}

extension AttributeSource {
    /// As an author writes it.
    package var spelling: String {
        switch self {
        case .scim(let path): "scim \"\(path)\""
        case .caep(let event): "caep \"\(event)\""
        case .risc(let event): "risc \"\(event)\""
        case .token(let claim): "token \"\(claim)\""
        case .application: "application"
        case .request: "request"
        }
    }
}
