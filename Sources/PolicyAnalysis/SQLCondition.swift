// A plan as the WHERE of a query. Rows hold the resource's attributes in columns; where a row holds NULL, the attribute
// has no value, and the condition says what the policies say of that.

import PolicyLanguage

/// Whose SQL is written, and what it takes values for.
package enum SQLDialect: String, Sendable, CaseIterable {
    /// Booleans as 0 and 1; instants and durations as integers of milliseconds; addresses as blobs of 16 bytes, IPv4
    /// as ::ffff:a.b.c.d; sets as JSON arrays.
    case sqlite
    /// boolean; bigint; numeric; text; timestamptz; durations as bigint milliseconds; inet; sets as arrays.
    case postgres
}

/// Why a plan cannot be written as SQL.
package struct SQLError: Error, Sendable, CustomStringConvertible {
    package var description: String
}

/// How a plan is written as SQL.
package struct SQLOptions: Sendable {
    package var dialect: SQLDialect
    /// The table's name or alias, put before columns; none when empty.
    package var table = ""
    /// Columns of attributes that are not called as their attributes.
    package var columns: [String: String] = [:]
    /// The column of the resource's id.
    package var identity = "id"
    /// A table of which resource lies in which container, directly or deeper: resource_type, resource_id,
    /// container_type, container_id.
    package var containers = "resource_containers"

    package init(dialect: SQLDialect) { self.dialect = dialect }
}

extension PolicyPlan {
    /// The condition of a WHERE that selects exactly the permitted rows.
    /// - Throws: when something in the condition has no equivalent in the dialect.
    package func sql(_ options: SQLOptions) throws(SQLError) -> String {
        if case .constant(false) = permit { return SQLWriter.truth(false, options.dialect) }
        var writer = SQLWriter(self, options)
        var parts: [String] = []
        for reference in required { parts.append("\(try writer.column(reference)) IS NOT NULL") }
        let condition = try writer.write(inlined(permit), .all)
        if parts.isEmpty { return condition }
        if case .constant(true) = permit { return parts.joined(separator: " AND ") }
        return (parts + [condition]).joined(separator: " AND ")
    }
}

private struct SQLWriter {
    private let plan: PolicyPlan
    private let options: SQLOptions
    private var dialect: SQLDialect { options.dialect }

    enum Binding {
        case any, all, not
    }

    init(_ plan: PolicyPlan, _ options: SQLOptions) {
        self.plan = plan
        self.options = options
    }

    static func truth(_ truth: Bool, _ dialect: SQLDialect) -> String {
        dialect == .postgres ? (truth ? "TRUE" : "FALSE") : (truth ? "1" : "0")
    }

    mutating func write(_ condition: Condition, _ binding: Binding) throws(SQLError) -> String {
        switch condition {
        case .constant(let truth): return dialect == .postgres ? Self.truth(truth, dialect) : truth ? "1 = 1" : "1 = 0"
        case .not(let inner): return "NOT (\(try write(inner, .any)))"
        case .all(let parts):
            var texts: [String] = []
            for part in parts { texts.append(try write(part, .all)) }
            let text = texts.joined(separator: " AND ")
            return binding == .not ? "(\(text))" : text
        case .any(let parts):
            var texts: [String] = []
            for part in parts { texts.append(try write(part, .not)) }
            let text = texts.joined(separator: " OR ")
            return binding == .any ? text : "(\(text))"
        case .test(let test, _): return try write(test)
        }
    }

    // MARK: Tests

    /// A test that is never NULL: one that reads a column without a value is false.
    private mutating func write(_ test: Test) throws(SQLError) -> String {
        var nullable: [String] = []
        let text: String
        switch test {
        case .has(let reference): return "\(try column(reference)) IS NOT NULL"
        case .container(let index): return try container(index)
        case .role(let role): return "(\(try write(plan.inlined(.test(.role(role), .none)), .any)))"
        case .group, .schedule: throw SQLError(description: "the plan leaves open what is not of the resource")
        case .compare(let left, let comparison, let right): text = try compare(left, comparison, right, &nullable)
        case .oneOf(let operand, let constants):
            if constants.isEmpty { return Self.truth(false, dialect) + (dialect == .sqlite ? " = 1" : "") }
            let value = try write(operand, &nullable)
            var list: [String] = []
            for constant in constants { list.append(try literal(constant, type(operand))) }
            text = "\(value) IN (\(list.joined(separator: ", ")))"
        case .contains(let set, let element): text = try contains(set, element, &nullable)
        case .intersects(let left, let right): text = try intersects(left, right, &nullable)
        case .subset(let left, let right): text = try subset(left, right, &nullable)
        case .like(let operand, let pattern): text = like(try write(operand, &nullable), pattern)
        case .inNetworks(let operand, let networks):
            let value = try write(operand, &nullable)
            text = networks.isEmpty ? "1 = 0" : "(\(networks.map { within(value, $0) }.joined(separator: " OR ")))"
        }
        if nullable.isEmpty { return text }
        return "(\((nullable.map { "\($0) IS NOT NULL" } + [text]).joined(separator: " AND ")))"
    }

    private mutating func compare(
        _ left: Operand, _ comparison: Comparison, _ right: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let type = type(left) ?? type(right)
        let symbol = comparison == .equal ? "=" : comparison == .notEqual ? "<>" : comparison.symbol
        if case .boolean = type, case .constant(.boolean(let truth)) = right {
            let isTrue = truth == (comparison == .equal)
            let value = try write(left, &nullable)
            if dialect == .sqlite { return "\(value) = \(isTrue ? 1 : 0)" }
            return isTrue ? value : "NOT \(value)"
        }
        if case .enumeration(let enumeration) = type, comparison != .equal, comparison != .notEqual {
            return try order(left, comparison, right, enumeration, &nullable)
        }
        return "\(try write(left, type, &nullable)) \(symbol) \(try write(right, type, &nullable))"
    }

    /// Enumerations are texts in columns, so their order is spelt out.
    private mutating func order(
        _ left: Operand, _ comparison: Comparison, _ right: Operand, _ type: EnumerationType,
        _ nullable: inout [String]
    ) throws(SQLError) -> String {
        if case .constant(.enumeration(let rank)) = right {
            let cases = type.cases.indices.filter { comparison.holds($0, rank) }.map { text(type.cases[$0]) }
            let value = try write(left, &nullable)
            return cases.isEmpty ? "1 = 0" : "\(value) IN (\(cases.joined(separator: ", ")))"
        }
        if case .constant = left { return try order(right, comparison.mirrored, left, type, &nullable) }
        let whens = type.cases.enumerated().map { "WHEN \(text($0.element)) THEN \($0.offset)" }.joined(separator: " ")
        let one = "CASE \(try write(left, &nullable)) \(whens) END"
        return "\(one) \(comparison.symbol) CASE \(try write(right, &nullable)) \(whens) END"
    }

    private func like(_ value: String, _ pattern: Pattern) -> String {
        if dialect == .sqlite {
            // GLOB minds capitals, which SQLite's LIKE does not.
            let parts = pattern.parts.map { part in
                part.unicodeScalars.map { "*?[".unicodeScalars.contains($0) ? "[\($0)]" : "\($0)" }.joined()
            }
            return "\(value) GLOB \(text(parts.joined(separator: "*")))"
        }
        let parts = pattern.parts.map { part in
            part.unicodeScalars.map { "%_\\".unicodeScalars.contains($0) ? "\\\($0)" : "\($0)" }.joined()
        }
        return "\(value) LIKE \(text(parts.joined(separator: "%"))) ESCAPE '\\'"
    }

    private func within(_ value: String, _ network: IPNetwork) -> String {
        if dialect == .sqlite {
            let mask = IPNetwork.mask(network.prefix)
            let last = IPAddress(high: network.address.high | ~mask.high, low: network.address.low | ~mask.low)
            return "\(value) BETWEEN \(blob(network.address)) AND \(blob(last))"
        }
        let text = "\(value) <<= inet \(text(network.description))"
        // What holds the IPv4-mapped addresses holds all of IPv4.
        let holdsIPv4 = network.prefix <= 96 && network.contains(IPAddress(high: 0, low: 0xffff_0000_0000))
        return holdsIPv4 ? "(family(\(value)) = 4 OR \(text))" : text
    }

    private func container(_ index: Int) throws(SQLError) -> String {
        let policies = plan.restriction.policies
        let container = policies.containers[index]
        let type = policies.catalog.entities[container.type].name
        let resource = policies.catalog.entities[plan.restriction.resourceType].name
        return "EXISTS (SELECT 1 FROM \(identifier(options.containers)) AS c WHERE c.resource_type = \(text(resource))"
            + " AND c.resource_id = \(identity) AND c.container_type = \(text(type))"
            + " AND c.container_id = \(text(container.id)))"
    }

    // MARK: Sets

    private mutating func contains(
        _ set: Operand, _ element: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let elementType = type(set)?.element ?? type(element)
        let value = try write(element, elementType, &nullable)
        if case .constant(.set(let constants)) = set {
            if constants.isEmpty { return "1 = 0" }
            var list: [String] = []
            for constant in constants { list.append(try literal(constant, elementType)) }
            return "\(value) IN (\(list.joined(separator: ", ")))"
        }
        let column = try write(set, type(set), &nullable)
        if dialect == .postgres { return "\(value) = ANY(\(column))" }
        try refuseBlobs(elementType)
        return "EXISTS (SELECT 1 FROM json_each(\(column)) AS e WHERE e.value = \(value))"
    }

    private mutating func intersects(
        _ left: Operand, _ right: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let type = type(left) ?? type(right)
        let one = try write(left, type, &nullable)
        let two = try write(right, type, &nullable)
        if dialect == .postgres { return "\(one) && \(two)" }
        try refuseBlobs(type?.element)
        return
            "EXISTS (SELECT 1 FROM json_each(\(one)) AS e WHERE e.value IN (SELECT f.value FROM json_each(\(two)) AS f))"
    }

    private mutating func subset(
        _ left: Operand, _ right: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let type = type(left) ?? type(right)
        let one = try write(left, type, &nullable)
        let two = try write(right, type, &nullable)
        if dialect == .postgres { return "\(one) <@ \(two)" }
        try refuseBlobs(type?.element)
        return
            "NOT EXISTS (SELECT 1 FROM json_each(\(one)) AS e WHERE e.value NOT IN (SELECT f.value FROM json_each(\(two)) AS f))"
    }

    private func refuseBlobs(_ type: ValueType?) throws(SQLError) {
        if case .address = type {
            throw SQLError(description: "sets of addresses cannot be looked into with SQLite: use --sql postgres")
        }
    }

    // MARK: Values

    private func type(_ operand: Operand) -> ValueType? {
        if case .sum = operand { return nil }
        return operand.type(in: plan.restriction)
    }

    private mutating func write(_ operand: Operand, _ nullable: inout [String]) throws(SQLError) -> String {
        try write(operand, type(operand), &nullable)
    }

    private mutating func write(
        _ operand: Operand, _ type: ValueType?, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        switch operand {
        case .constant(let constant): return try literal(constant, type)
        case .attribute(let reference): return try value(reference, standIn: nil, &nullable)
        case .attributeOr(let reference, let standIn): return try value(reference, standIn: standIn, &nullable)
        case .resource: return identity
        case .count(let reference):
            let set = try value(reference, standIn: nil, &nullable)
            return dialect == .postgres
                ? "(SELECT count(DISTINCT e) FROM unnest(\(set)) AS e)"
                : "(SELECT count(DISTINCT e.value) FROM json_each(\(set)) AS e)"
        case .sum(let terms): return try sum(terms, &nullable)
        case .subject, .now: throw SQLError(description: "the plan leaves open what is not of the resource")
        }
    }

    /// Sums are reckoned in milliseconds.
    private mutating func sum(_ terms: [SumTerm], _ nullable: inout [String]) throws(SQLError) -> String {
        var text = ""
        for (index, term) in terms.enumerated() {
            text += term.isNegative ? (index == 0 ? "-" : " - ") : (index == 0 ? "" : " + ")
            text += try milliseconds(term.operand, &nullable)
        }
        guard dialect == .postgres, isInstant(terms) else { return "(\(text))" }
        return "to_timestamp((\(text)) / 1000.0)"
    }

    private func isInstant(_ terms: [SumTerm]) -> Bool {
        terms.reduce(0) { total, term in
            let isOne: Bool
            switch term.operand {
            case .constant(.datetime), .now: isOne = true
            case .constant: isOne = false
            default: isOne = type(term.operand) == .datetime
            }
            return total + (isOne ? (term.isNegative ? -1 : 1) : 0)
        } == 1
    }

    private mutating func milliseconds(_ operand: Operand, _ nullable: inout [String]) throws(SQLError) -> String {
        switch operand {
        case .constant(.datetime(let value)), .constant(.duration(let value)):
            return value < 0 ? "(\(value))" : "\(value)"
        default: break
        }
        let text = try write(operand, type(operand), &nullable)
        guard dialect == .postgres, type(operand) == .datetime else { return text }
        return "(extract(epoch FROM \(text)) * 1000)"
    }

    private mutating func value(
        _ reference: AttributeReference, standIn: Constant?, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let column = try column(reference)
        guard let attribute = plan.restriction.declaration(reference) else {
            throw SQLError(description: "the type has no attribute \(reference.name)")
        }
        if let constant = attribute.defaultValue ?? standIn {
            return "COALESCE(\(column), \(try literal(constant, attribute.type)))"
        }
        if attribute.isOptional, !nullable.contains(column) { nullable.append(column) }
        return column
    }

    /// The column of an attribute of the resource.
    func column(_ reference: AttributeReference) throws(SQLError) -> String {
        guard reference.scope == .resource else {
            throw SQLError(description: "\(reference.scope).\(reference.name) is open, and is not of the resource")
        }
        return prefix + identifier(options.columns[reference.name] ?? reference.name)
    }

    private var identity: String { prefix + identifier(options.identity) }

    private var prefix: String { options.table.isEmpty ? "" : identifier(options.table) + "." }

    private func identifier(_ name: String) -> String {
        "\"" + name.unicodeScalars.map { $0 == "\"" ? "\"\"" : "\($0)" }.joined() + "\""
    }

    private func text(_ text: String) -> String {
        "'" + text.unicodeScalars.map { $0 == "'" ? "''" : "\($0)" }.joined() + "'"
    }

    private func blob(_ address: IPAddress) -> String {
        func hex(_ word: UInt64) -> String {
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return "x'\(hex(address.high))\(hex(address.low))'"
    }

    private func literal(_ constant: Constant, _ type: ValueType?) throws(SQLError) -> String {
        switch constant {
        case .boolean(let truth): return Self.truth(truth, dialect)
        case .integer(let value), .duration(let value): return "\(value)"
        case .decimal(let value): return Decimal6.format(value)
        case .string(let text), .reference(_, let text):
            // No dialect keeps a text with NUL in a literal.
            if text.utf8.contains(0) { throw SQLError(description: "a text with a NUL character") }
            return self.text(text)
        case .enumeration(let index):
            guard let enumeration = type?.enumeration, enumeration.cases.indices.contains(index) else {
                throw SQLError(description: "an enumeration's case that is not known")
            }
            return text(enumeration.cases[index])
        case .datetime(let value):
            return dialect == .postgres ? "to_timestamp(\(value) / 1000.0)" : "\(value)"
        case .address(let address):
            return dialect == .postgres ? "inet \(text(address.description))" : blob(address)
        case .set(let constants):
            var list: [String] = []
            for constant in constants { list.append(try literal(constant, type?.element)) }
            if dialect == .postgres { return "ARRAY[\(list.joined(separator: ", "))]::\(arrayType(type))[]" }
            return "json_array(\(list.joined(separator: ", ")))"
        }
    }

    private func arrayType(_ type: ValueType?) -> String {
        switch type?.element {
        case .boolean: "boolean"
        case .integer, .duration: "bigint"
        case .decimal: "numeric"
        case .datetime: "timestamptz"
        case .address: "inet"
        default: "text"
        }
    }
}
