// A plan as the WHERE of a query. Rows hold the resource's attributes in columns; where a row holds NULL, the attribute
// has no value, and the condition says what the policies say of that.
//
// No test that is written is ever NULL, so that NOT means the opposite: a test of a column that may be NULL says first
// that it is not. Values that the catalog does not know make a question an error, and so are left out of every WHERE.

import DecisionEngine
package import PolicyLanguage

/// Whose SQL is written, and what it takes values for.
package enum SQLDialect: String, Sendable, CaseIterable {
    /// Booleans as 0 and 1; numbers as INTEGER or REAL; instants and durations as integers of milliseconds; addresses
    /// as blobs of 16 bytes, IPv4 as ::ffff:a.b.c.d; sets as JSON arrays.
    case sqlite
    /// boolean; bigint; numeric; text; timestamptz; durations as bigint milliseconds; inet; sets as arrays.
    case postgresql
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
    /// Decimals whose columns hold whole numbers of a smaller unit, by attribute: 2 for hundredths; 0 to 6.
    package var decimals: [String: Int] = [:]
    /// The column of the resource's id.
    package var identity = "id"
    /// A table of which resource lies in which container, directly or deeper: resource_type, resource_id,
    /// container_type, container_id. Nil when there is none.
    package var containers: String?
    /// The table's own constraints keep values that the catalog does not know out, so that nothing checks for them.
    package var trustsValues = false
    /// Texts and numbers become parameters instead of literals.
    package var usesParameters = false

    package init(dialect: SQLDialect) { self.dialect = dialect }
}

/// A value that stands for a parameter of a statement.
package enum SQLParameter: Sendable, Hashable {
    case text(String)
    case integer(Int64)
    /// In decimal notation.
    case decimal(String)
}

/// The condition of a WHERE.
package struct SQLCondition: Sendable {
    package var text: String
    /// What the parameters `?1`, `?2`… or `$1`, `$2`… stand for.
    package var parameters: [SQLParameter]
}

extension PolicyPlan {
    /// The condition of a WHERE.
    /// - Parameter condition: one of the plan's conditions, which holds for resources that have what is `required`.
    /// - Throws: when something in the condition has no equivalent in the dialect.
    package func sql(_ condition: Condition, _ options: SQLOptions) throws(SQLError) -> SQLCondition {
        var writer = SQLWriter(self, options)
        if case .constant(false) = condition {
            return SQLCondition(text: writer.truth(false), parameters: [])
        }
        var parts: [String] = []
        for reference in restriction.openFaults { parts += try writer.guards(reference) }
        if case .constant(true) = condition, !parts.isEmpty {
            return SQLCondition(text: parts.joined(separator: "\n  AND "), parameters: writer.parameters)
        }
        if case .all(let conjuncts) = condition {
            for part in conjuncts { parts.append(try writer.write(part, .all)) }
        } else {
            parts.append(try writer.write(condition, parts.isEmpty ? .any : .all))
        }
        return SQLCondition(text: parts.joined(separator: "\n  AND "), parameters: writer.parameters)
    }
}

private struct SQLWriter {
    private let plan: PolicyPlan
    private let options: SQLOptions
    private(set) var parameters: [SQLParameter] = []
    private var dialect: SQLDialect { options.dialect }

    /// What the text is to be put into: its own place, a conjunction.
    enum Binding {
        case any, all
    }

    init(_ plan: PolicyPlan, _ options: SQLOptions) {
        self.plan = plan
        self.options = options
    }

    /// A condition that always or never holds.
    func truth(_ truth: Bool) -> String {
        dialect == .postgresql ? (truth ? "TRUE" : "FALSE") : truth ? "1 = 1" : "1 = 0"
    }

    mutating func write(_ condition: Condition, _ binding: Binding) throws(SQLError) -> String {
        switch condition {
        case .constant(let truth): return self.truth(truth)
        case .not(.test(.has(let reference), _)): return "\(try column(reference)) IS NULL"
        case .not(let inner): return "NOT (\(try write(inner, .any)))"
        case .all(let parts):
            var texts: [String] = []
            for part in parts { texts.append(try write(part, .all)) }
            return texts.joined(separator: " AND ")
        case .any(let parts):
            var texts: [String] = []
            for part in parts {
                // AND binds closer than OR; the brackets are for readers.
                if case .all = part {
                    texts.append("(\(try write(part, .any)))")
                } else {
                    texts.append(try write(part, .any))
                }
            }
            let text = texts.joined(separator: " OR ")
            return binding == .any ? text : "(\(text))"
        case .test(let test, _): return try write(test)
        }
    }

    // MARK: What makes a question an error

    /// A required column has a value, and the value is one of the catalog's.
    mutating func guards(_ reference: AttributeReference) throws(SQLError) -> [String] {
        guard let attribute = plan.restriction.declaration(reference) else { return [] }
        let column = try column(reference)
        let isChecked = attribute.isFromRequest && !options.trustsValues
        let fits = isChecked ? self.fits(column, attribute.type) : nil
        guard let fits else { return attribute.isRequired ? ["\(column) IS NOT NULL"] : [] }
        return [attribute.isRequired ? fits : "(\(column) IS NULL OR \(fits))"]
    }

    /// Holds for values of the type, and is not true for NULL; nil where the column's own type says it all.
    private func fits(_ column: String, _ type: ValueType) -> String? {
        switch type {
        case .enumeration(let enumeration):
            return "\(column) IN (\(enumeration.cases.map(quoted).joined(separator: ", ")))"
        case .integer(let range?): return "\(column) BETWEEN \(range.lowerBound) AND \(range.upperBound)"
        case .set(let element):
            if dialect == .postgresql, case .enumeration(let enumeration) = element {
                return "\(column) <@ ARRAY[\(enumeration.cases.map(quoted).joined(separator: ", "))]::text[]"
            }
            let value = dialect == .postgresql ? "e" : "e.value"
            guard let one = fits(value, element) else { return nil }
            let elements = dialect == .postgresql ? "unnest(\(column)) AS e" : "json_each(\(column)) AS e"
            return "(\(column) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM \(elements) WHERE (\(one)) IS NOT TRUE))"
        default: return nil
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
        case .role(let role): return "(\(try write(plan.restriction.roles[role], .any)))"
        case .group, .granted, .schedule: throw notOfResource("the subject's groups and roles and the time")
        case .compare(let left, let comparison, let right): text = try compare(left, comparison, right, &nullable)
        case .oneOf(let operand, let constants):
            if constants.isEmpty { return truth(false) }
            let value = collated(operand, try write(operand, &nullable))
            var list: [String] = []
            for constant in constants { list.append(try literal(constant, type(operand), scale(operand))) }
            text = "\(value) IN (\(list.joined(separator: ", ")))"
        case .contains(let set, let element): text = try contains(set, element, &nullable)
        case .intersects(let left, let right): text = try intersects(left, right, &nullable)
        case .subset(let left, let right): text = try subset(left, right, &nullable)
        case .like(let operand, let pattern): text = like(try write(operand, &nullable), pattern)
        case .inNetworks(let operand, let networks):
            if networks.isEmpty { return truth(false) }
            let value = try write(operand, &nullable)
            let texts = networks.map { within(value, $0) }
            text = texts.count == 1 ? texts[0] : "(\(texts.joined(separator: " OR ")))"
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
        let scale = try sameScale(left, right)
        let one = collated(left, try write(left, type, scale, &nullable))
        return "\(one) \(symbol) \(collated(right, try write(right, type, scale, &nullable)))"
    }

    /// The smaller unit that both sides of a comparison of decimals are in.
    private func sameScale(_ left: Operand, _ right: Operand) throws(SQLError) -> Int? {
        switch (left, right) {
        case (.constant, _): return scale(right)
        case (_, .constant): return scale(left)
        default:
            guard scale(left) == scale(right) else {
                throw SQLError(
                    description: "two decimals are compared whose columns hold different units: give both one unit")
            }
            return scale(left)
        }
    }

    /// Enumerations are texts in columns, so their order is spelt out.
    private mutating func order(
        _ left: Operand, _ comparison: Comparison, _ right: Operand, _ type: EnumerationType,
        _ nullable: inout [String]
    ) throws(SQLError) -> String {
        if case .constant(.enumeration(let rank)) = right {
            let cases = type.cases.indices.filter { comparison.holds($0, rank) }.map { quoted(type.cases[$0]) }
            let value = try write(left, &nullable)
            return cases.isEmpty ? truth(false) : "\(value) IN (\(cases.joined(separator: ", ")))"
        }
        if case .constant = left { return try order(right, comparison.mirrored, left, type, &nullable) }
        let whens = type.cases.enumerated().map { "WHEN \(quoted($0.element)) THEN \($0.offset)" }
            .joined(separator: " ")
        let one = "CASE \(try write(left, &nullable)) \(whens) END"
        return "\(one) \(comparison.symbol) CASE \(try write(right, &nullable)) \(whens) END"
    }

    private mutating func like(_ value: String, _ pattern: Pattern) -> String {
        if dialect == .sqlite {
            // GLOB minds capitals, which SQLite's LIKE does not.
            let parts = pattern.parts.map { part in
                part.unicodeScalars.map { "*?[".unicodeScalars.contains($0) ? "[\($0)]" : "\($0)" }.joined()
            }
            return "\(value) GLOB \(parameter(.text(parts.joined(separator: "*"))))"
        }
        let parts = pattern.parts.map { part in
            part.unicodeScalars.map { "%_!".unicodeScalars.contains($0) ? "!\($0)" : "\($0)" }.joined()
        }
        return "\(value) LIKE \(parameter(.text(parts.joined(separator: "%")))) ESCAPE '!'"
    }

    private func within(_ value: String, _ network: IPNetwork) -> String {
        if dialect == .sqlite {
            let mask = IPNetwork.mask(network.prefix)
            let last = IPAddress(high: network.address.high | ~mask.high, low: network.address.low | ~mask.low)
            return "\(value) BETWEEN \(blob(network.address)) AND \(blob(last))"
        }
        let text = "\(value) <<= inet \(quoted(network.description))"
        // What holds the IPv4-mapped addresses holds all of IPv4.
        let holdsIPv4 = network.prefix <= 96 && network.contains(IPAddress(high: 0, low: 0xffff_0000_0000))
        return holdsIPv4 ? "(family(\(value)) = 4 OR \(text))" : text
    }

    private mutating func container(_ index: Int) throws(SQLError) -> String {
        let policies = plan.restriction.policies
        let container = policies.containers[index]
        let type = policies.catalog.entities[container.type].name
        let resource = policies.catalog.entities[plan.restriction.resourceType].name
        guard let table = options.containers else {
            throw SQLError(
                description:
                    "`resource in \(type) \(ConstantText.quoted(container.id))` needs a table of what lies in what, directly "
                    + "or deeper (resource_type, resource_id, container_type, container_id): name it with --containers")
        }
        return "EXISTS (SELECT 1 FROM \(identifier(table)) AS c WHERE c.resource_type = \(quoted(resource))"
            + " AND c.resource_id = \(identity) AND c.container_type = \(quoted(type))"
            + " AND c.container_id = \(try literal(.string(container.id), .string, nil)))"
    }

    // MARK: Sets

    private mutating func contains(
        _ set: Operand, _ element: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let elementType = type(set)?.element ?? type(element)
        let scale = try sameScale(set, element)
        let value = try write(element, elementType, scale, &nullable)
        if case .constant(.set(let constants)) = set {
            if constants.isEmpty { return truth(false) }
            var list: [String] = []
            for constant in constants { list.append(try literal(constant, elementType, scale)) }
            return "\(collated(element, value)) IN (\(list.joined(separator: ", ")))"
        }
        let column = try write(set, type(set), scale, &nullable)
        if dialect == .postgresql {
            return "\(column) @> ARRAY[\(value)]::\(arrayType(elementType.map { .set(of: $0) }))[]"
        }
        try refuseBlobs(elementType)
        return "EXISTS (SELECT 1 FROM json_each(\(column)) AS e WHERE e.value = \(value))"
    }

    private mutating func intersects(
        _ left: Operand, _ right: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let (one, two, type) = try sets(left, right, &nullable)
        if dialect == .postgresql { return "\(one) && \(two)" }
        try refuseBlobs(type?.element)
        return "EXISTS (SELECT 1 FROM json_each(\(one)) AS e JOIN json_each(\(two)) AS f ON e.value = f.value)"
    }

    private mutating func subset(
        _ left: Operand, _ right: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        let (one, two, type) = try sets(left, right, &nullable)
        if dialect == .postgresql { return "\(one) <@ \(two)" }
        try refuseBlobs(type?.element)
        return "NOT EXISTS (SELECT 1 FROM json_each(\(one)) AS e WHERE NOT EXISTS "
            + "(SELECT 1 FROM json_each(\(two)) AS f WHERE f.value = e.value))"
    }

    private mutating func sets(
        _ left: Operand, _ right: Operand, _ nullable: inout [String]
    ) throws(SQLError) -> (one: String, two: String, type: ValueType?) {
        let type = type(left) ?? type(right)
        let scale = try sameScale(left, right)
        return (try write(left, type, scale, &nullable), try write(right, type, scale, &nullable), type)
    }

    private func refuseBlobs(_ type: ValueType?) throws(SQLError) {
        if case .address = type {
            throw SQLError(
                description: "a set of addresses is looked into, which has no form in SQLite: use --sql postgresql")
        }
    }

    // MARK: Values

    private func type(_ operand: Operand) -> ValueType? {
        if case .sum(let terms) = operand { return isInstant(terms) ? .datetime : .duration }
        return operand.type(in: plan.restriction)
    }

    /// The smaller unit that a decimal's column counts.
    private func scale(_ operand: Operand) -> Int? {
        switch operand {
        case .attribute(let reference), .attributeOr(let reference, _):
            reference.scope == .resource ? options.decimals[reference.name] : nil
        default: nil
        }
    }

    private mutating func write(_ operand: Operand, _ nullable: inout [String]) throws(SQLError) -> String {
        try write(operand, type(operand), scale(operand), &nullable)
    }

    private mutating func write(
        _ operand: Operand, _ type: ValueType?, _ scale: Int?, _ nullable: inout [String]
    ) throws(SQLError) -> String {
        switch operand {
        case .constant(let constant): return try literal(constant, type, scale)
        case .attribute(let reference): return try value(reference, standIn: nil, &nullable)
        case .attributeOr(let reference, let standIn): return try value(reference, standIn: standIn, &nullable)
        case .resource: return identity
        case .count(let reference):
            let set = try value(reference, standIn: nil, &nullable)
            return dialect == .postgresql
                ? "(SELECT count(DISTINCT e) FROM unnest(\(set)) AS e)"
                : "(SELECT count(DISTINCT e.value) FROM json_each(\(set)) AS e)"
        case .sum(let terms): return try sum(terms, &nullable)
        case .subject: throw notOfResource("the subject")
        case .now: throw notOfResource("the time")
        }
    }

    private func notOfResource(_ what: String) -> SQLError {
        SQLError(description: "\(what) must be known: a row says nothing of it")
    }

    /// Sums are reckoned in milliseconds.
    private mutating func sum(_ terms: [SumTerm], _ nullable: inout [String]) throws(SQLError) -> String {
        var text = ""
        for (index, term) in terms.enumerated() {
            text += term.isNegative ? (index == 0 ? "-" : " - ") : (index == 0 ? "" : " + ")
            text += try milliseconds(term.operand, &nullable)
        }
        guard dialect == .postgresql, isInstant(terms) else { return "(\(text))" }
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
        case .constant(.datetime(let value)), .constant(.duration(let value)): return number(value)
        default: break
        }
        let text = try write(operand, &nullable)
        guard dialect == .postgresql, type(operand) == .datetime else { return text }
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
            let scale = options.decimals[reference.name]
            return "COALESCE(\(column), \(try literal(constant, attribute.type, scale)))"
        }
        if attribute.isOptional, !nullable.contains(column) { nullable.append(column) }
        return column
    }

    /// The column of an attribute of the resource.
    func column(_ reference: AttributeReference) throws(SQLError) -> String {
        guard reference.scope == .resource else {
            let scope = reference.scope == .subject ? "subject's" : "\(reference.scope)'s"
            throw notOfResource("the \(scope) \(reference.name)")
        }
        return prefix + identifier(options.columns[reference.name] ?? reference.name)
    }

    private var identity: String { prefix + identifier(options.identity) }

    private var prefix: String { options.table.isEmpty ? "" : identifier(options.table) + "." }

    private func identifier(_ name: String) -> String {
        "\"" + name.unicodeScalars.map { $0 == "\"" ? "\"\"" : "\($0)" }.joined() + "\""
    }

    // MARK: Literals

    /// A column of texts is compared byte by byte, whatever collation it was given.
    private func collated(_ operand: Operand, _ column: String) -> String {
        guard dialect == .sqlite else { return column }
        switch operand {
        case .resource: return "\(column) COLLATE BINARY"
        case .attribute(let reference):
            switch reference.type {
            case .string where plan.restriction.declaration(reference)?.defaultValue == nil,
                .reference where plan.restriction.declaration(reference)?.defaultValue == nil:
                return "\(column) COLLATE BINARY"
            default: return column
            }
        default: return column
        }
    }

    private func quoted(_ text: String) -> String {
        let inner = text.unicodeScalars.map { $0 == "'" ? "''" : "\($0)" }.joined()
        // A backslash must mean itself, whatever `standard_conforming_strings` says.
        if dialect == .postgresql, text.unicodeScalars.contains("\\") {
            return "E'" + inner.unicodeScalars.map { $0 == "\\" ? "\\\\" : "\($0)" }.joined() + "'"
        }
        return "'\(inner)'"
    }

    private func number(_ value: Int64) -> String { value < 0 ? "(\(value))" : "\(value)" }

    private mutating func parameter(_ value: SQLParameter) -> String {
        guard options.usesParameters else {
            switch value {
            case .text(let text): return quoted(text)
            case .integer(let value): return number(value)
            case .decimal(let text): return text.hasPrefix("-") ? "(\(text))" : text
            }
        }
        let place = parameters.firstIndex(of: value) ?? parameters.count
        if place == parameters.count { parameters.append(value) }
        guard dialect == .postgresql else { return "?\(place + 1)" }
        switch value {
        case .text: return "$\(place + 1)::text"
        case .integer: return "$\(place + 1)::bigint"
        case .decimal: return "$\(place + 1)::numeric"
        }
    }

    private func blob(_ address: IPAddress) -> String {
        func hex(_ word: UInt64) -> String {
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        return "x'\(hex(address.high))\(hex(address.low))'"
    }

    private mutating func literal(_ constant: Constant, _ type: ValueType?, _ scale: Int?) throws(SQLError) -> String {
        switch constant {
        case .boolean(let truth): return dialect == .postgresql ? (truth ? "TRUE" : "FALSE") : truth ? "1" : "0"
        case .integer(let value), .duration(let value): return parameter(.integer(value))
        case .decimal(let value): return parameter(Self.decimal(value, scale: scale ?? 0))
        case .string(let text), .reference(_, let text):
            // No dialect keeps a text with NUL in a literal.
            if text.utf8.contains(0) {
                throw SQLError(description: "a text holds a NUL character, which SQL has no form for")
            }
            return parameter(.text(text))
        case .enumeration(let index):
            guard let enumeration = type?.enumeration, enumeration.cases.indices.contains(index) else {
                throw SQLError(description: "an enumeration's case that is not known")
            }
            return quoted(enumeration.cases[index])
        case .datetime(let value):
            let milliseconds = parameter(.integer(value))
            return dialect == .postgresql ? "to_timestamp(\(milliseconds) / 1000.0)" : milliseconds
        case .address(let address):
            return dialect == .postgresql ? "inet \(quoted(address.description))" : blob(address)
        case .set(let constants):
            var list: [String] = []
            for constant in constants { list.append(try literal(constant, type?.element ?? type, scale)) }
            if dialect == .postgresql { return "ARRAY[\(list.joined(separator: ", "))]::\(arrayType(type))[]" }
            return "json_array(\(list.joined(separator: ", ")))"
        }
    }

    /// Millionths in units of ten to the power of minus `scale`, as an integer where it is whole.
    private static func decimal(_ millionths: Int64, scale: Int) -> SQLParameter {
        var text = Decimal6.format(millionths)
        if scale > 0 {
            let isNegative = text.hasPrefix("-")
            let parts = (isNegative ? text.dropFirst() : text[...]).split(separator: ".")
            var fraction = parts.count > 1 ? String(parts[1]) : ""
            if fraction.utf8.count < scale { fraction += String(repeating: "0", count: scale - fraction.utf8.count) }
            let whole = (String(parts[0]) + fraction.prefix(scale)).drop { $0 == "0" }
            let rest = fraction.dropFirst(scale)
            text = (isNegative ? "-" : "") + (whole.isEmpty ? "0" : whole) + (rest.isEmpty ? "" : ".\(rest)")
        }
        return Int64(text).map { .integer($0) } ?? .decimal(text)
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
