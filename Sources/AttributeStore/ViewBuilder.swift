// Documents and signals to the records that decisions read, in the catalog's order of attributes.

import CBOR
import DecisionEngine
package import PolicyLanguage
package import StrictJSON

/// A value that does not fit the catalog.
struct ValueProblem: Error {
    var attribute: String
    var expected: String
    var found: JSONValue

    var message: String {
        var text = found.compact
        if text.utf8.count > 80 { text = String(text.prefix(80)) + "…" }
        return "attribute \"\(attribute)\" needs \(expected), found \(text)"
    }
}

/// A signal at hand.
struct SignalValue {
    var value: JSONValue
    var at: Int64
    var expires: Int64?

    init(value: JSONValue, at: Int64, expires: Int64?) {
        self.value = value
        self.at = at
        self.expires = expires
    }

    /// Reads a value of `signals`; nil when it is none.
    init?(stored: [UInt8]) {
        guard let items = (try? CBORValue.decode(Array(stored.dropFirst())))?.items, items.count == 3,
            let text = items[0].text, let json = try? JSONValue.parse(text), let at = items[1].int
        else { return nil }
        self.init(value: json, at: at, expires: items[2].int)
    }
}

/// Builds records for one catalog.
struct ViewBuilder {
    let catalog: Catalog

    /// A subject's view.
    /// - Parameter lenient: drop values that do not fit instead of failing; for subjects that are deprovisioned,
    ///   whose end must not hang on a stray attribute.
    func subject(
        type: Int, document: JSONValue, isActive: Bool, groups: [UInt32], signals: [String: SignalValue],
        granted: [GrantedRole] = []
    ) throws(ValueProblem) -> [UInt8] {
        let attributes = catalog.entities[type].attributes
        var builder = RecordBuilder()
        builder.reset(slots: attributes.count + granted.count, flags: isActive ? 0 : RecordLayout.inactive)
        try fill(&builder, type, document, signals, lenient: !isActive)
        builder.setGroups(groups)
        builder.setGranted(granted)
        return builder.bytes
    }

    /// A device's or resource's record.
    func entity(
        type: Int, document: JSONValue, signals: [String: SignalValue], containers: [UInt32] = []
    ) throws(ValueProblem) -> [UInt8] {
        let attributes = catalog.entities[type].attributes
        var builder = RecordBuilder()
        builder.reset(slots: attributes.count)
        try fill(&builder, type, document, signals, lenient: false)
        builder.setGroups(containers)
        return builder.bytes
    }

    /// A session's record.
    func session(document: JSONValue, signals: [String: SignalValue]) throws(ValueProblem) -> [UInt8] {
        let slots = SessionSlots(catalog)
        var builder = RecordBuilder()
        builder.reset(slots: slots.count)
        try fill(&builder, Catalog.session, document["properties"] ?? .object([]), signals, lenient: false)
        builder.set(slots.levels, payload: try levels(document))
        var methods: UInt32 = 0
        for method in document["amr"]?.array ?? [] {
            // An unknown method proves nothing (authzen-and-step-up, 4.6.2).
            methods |= method.string.flatMap { AuthenticationMethods.bit($0) } ?? 0
        }
        builder.set(slots.methods, payload: UInt64(methods))
        if let time = document["auth_time"]?.integer { builder.set(slots.authenticatedAt, .datetime(time)) }
        if let time = document["expires"]?.integer { builder.set(slots.endsAt, .datetime(time)) }
        if let subject = document["subject"], let type = subject["type"]?.string, let id = subject["id"]?.string {
            builder.set(slots.subject, .string("\(type)\u{0}\(id)"))
        }
        if let device = document["device"]?.string { builder.set(slots.device, .string(device)) }
        return builder.bytes
    }

    private func levels(_ document: JSONValue) throws(ValueProblem) -> UInt64 {
        if let name = document["assurance"] {
            guard let text = name.string, let level = catalog.assurance.level(named: text) else {
                let known = catalog.assurance.levels.joined(separator: ", ")
                throw ValueProblem(attribute: "assurance", expected: "one of: \(known)", found: name)
            }
            return catalog.assurance.implied[level]
        }
        guard let acr = document["acr"]?.string, let issuer = document["issuer"]?.string,
            let table = catalog.issuers.first(where: { $0.issuer == issuer }), let level = table.levels[acr]
        else { return 0 }
        return catalog.assurance.implied[level]
    }

    /// Everything in a document that a record of this type cannot hold; signals left aside.
    func problems(type: Int, document: JSONValue) -> [ValueProblem] {
        var problems: [ValueProblem] = []
        func note(_ body: () throws(ValueProblem) -> Void) {
            do throws(ValueProblem) {
                try body()
            } catch {
                problems.append(error)
            }
        }
        if type == Catalog.session { note { () throws(ValueProblem) in _ = try levels(document) } }
        let values = type == Catalog.session ? document["properties"] ?? .object([]) : document
        for attribute in catalog.entities[type].attributes where attribute.isStored {
            guard let value = find(attribute, in: values, of: type), value != .null else { continue }
            note { () throws(ValueProblem) in _ = try constant(value, attribute.type, attribute.name) }
        }
        return problems
    }

    // MARK: Attributes

    private func fill(
        _ builder: inout RecordBuilder, _ type: Int, _ document: JSONValue,
        _ signals: [String: SignalValue], lenient: Bool
    ) throws(ValueProblem) {
        for (slot, attribute) in catalog.entities[type].attributes.enumerated() where attribute.isStored {
            do throws(ValueProblem) {
                if attribute.isSignalled, let signal = signals[attribute.name] {
                    try fill(&builder, slot, attribute, signal)
                } else if let value = find(attribute, in: document, of: type), value != .null {
                    builder.set(slot, try constant(value, attribute.type, attribute.name))
                }
            } catch {
                if !lenient { throw error }
            }
        }
    }

    private func fill(
        _ builder: inout RecordBuilder, _ slot: Int, _ attribute: Attribute, _ signal: SignalValue
    ) throws(ValueProblem) {
        if signal.value == .null { return }
        var end = RecordLayout.forever
        if let expires = signal.expires {
            end = expires
        } else if let lifetime = attribute.lifetime {
            let (sum, overflowed) = signal.at.addingReportingOverflow(lifetime)
            end = overflowed ? RecordLayout.forever : sum
        }
        builder.set(slot, try constant(signal.value, attribute.type, attribute.name), validUntil: end)
    }

    /// The value for an attribute: by its SCIM path, else by its claim or its own name. A document brings values only from
    /// where it comes: what the application registers has none of a provider's, a session none of SCIM's. The checker warns
    /// of attributes that nothing can fill by the same table (`.neverFilled`).
    func find(_ attribute: Attribute, in document: JSONValue, of type: Int) -> JSONValue? {
        let isSubject = catalog.entities[type].isSubject
        let isSignedIn = isSubject || type == Catalog.session || type == Catalog.device
        for source in attribute.sources {
            switch source {
            case .scim(let path) where isSubject:
                if let value = SCIMPath.value(path, in: document, isSet: isSet(attribute.type)) { return value }
                if let value = document[attribute.name] { return value }
            case .token(let claim) where isSignedIn:
                if let value = document[claim] ?? document[attribute.name] { return value }
            case .application: if let value = document[attribute.name] { return value }
            case .scim, .token, .caep, .risc, .request: continue
            }
        }
        return nil
    }

    private func isSet(_ type: ValueType) -> Bool {
        if case .set = type { return true }
        return false
    }

    func constant(_ value: JSONValue, _ type: ValueType, _ attribute: String) throws(ValueProblem) -> Constant {
        if let constant = JSONConversion.constant(value, of: type) { return constant }
        throw ValueProblem(attribute: attribute, expected: type.spelling { catalog.entities[$0].name }, found: value)
    }
}

/// JSON values as constants of a type.
package enum JSONConversion {
    /// Nil when the value is none of the type.
    package static func constant(_ value: JSONValue, of type: ValueType) -> Constant? {
        switch (type, value) {
        case (.boolean, .bool(let value)): return .boolean(value)
        case (.boolean, .string(let text)):
            return text.lowercased() == "true" ? .boolean(true) : text.lowercased() == "false" ? .boolean(false) : nil
        case (.integer(let range), .number(let text)):
            guard let number = Int64(text), range?.contains(number) ?? true else { return nil }
            return .integer(number)
        case (.decimal, .number(let text)), (.decimal, .string(let text)):
            return Decimal6.parse(text.utf8).map { .decimal($0) }
        case (.string, .string(let text)): return .string(UnicodeText.normalized(text))
        case (.enumeration(let type), .string(let text)):
            let exact = type.cases.firstIndex(of: text)
            // CAEP writes its levels in capitals: LOW, MEDIUM, HIGH.
            return (exact ?? type.cases.firstIndex { $0.lowercased() == text.lowercased() }).map { .enumeration($0) }
        case (.datetime, .string(let text)): return Instant.parse(text).map { .datetime($0) }
        case (.duration, .number(let text)):
            guard let seconds = Int64(text), seconds.magnitude < 1 << 50 else { return nil }
            return .duration(seconds * 1000)
        case (.address, .string(let text)): return IPAddress(text).map { .address($0) }
        case (.reference(let entity), .string(let text)):
            return text.utf8.count <= StoreLimits.maxIDBytes ? .reference(entity: entity, id: text) : nil
        case (.reference, .object):
            // SCIM writes references as {"value": id, "$ref": …} (RFC 7643 2.3.7); others as {"id": id}.
            return (value["value"] ?? value["id"]).flatMap { constant($0, of: type) }
        case (.set(let element), .array(let values)):
            var constants: [Constant] = []
            for item in values {
                guard let constant = constant(item["value"] ?? item, of: element) else { return nil }
                constants.append(constant)
            }
            return .set(constants)
        default: return nil
        }
    }
}

/// SCIM attribute paths (RFC 7644 3.10) without filters.
enum SCIMPath {
    /// The value at a path: `userType`, `name.familyName`, `emails`, or a schema URN, a colon and such a path.
    static func value(_ path: String, in document: JSONValue, isSet: Bool) -> JSONValue? {
        var rest = path
        var place = document
        if path.lowercased().hasPrefix("urn:"), let colon = path.lastIndex(of: ":") {
            let schema = String(path[..<colon])
            rest = String(path[path.index(after: colon)...])
            if let extensionObject = member(schema, of: document) {
                place = extensionObject
            } else if !schema.lowercased().contains(":core:2.0:") {
                return nil
            }
        }
        var value = place
        for part in rest.split(separator: ".") {
            if case .array(let items) = value {
                value = .array(items.compactMap { member(String(part), of: $0) })
                continue
            }
            guard let next = member(String(part), of: value) else { return nil }
            value = next
        }
        return isSet ? value : single(value)
    }

    /// Attribute names are case insensitive (RFC 7643 2.1).
    private static func member(_ name: String, of value: JSONValue) -> JSONValue? {
        if let exact = value[name] { return exact }
        return value.object?.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    /// Of several values the primary one, else the first (RFC 7643 2.4).
    private static func single(_ value: JSONValue) -> JSONValue {
        guard case .array(let items) = value, let first = items.first else { return value }
        let chosen = items.first { $0["primary"] == .bool(true) } ?? first
        return chosen["value"] ?? chosen
    }
}
