// Questions in a request's text (Authorization API 1.0, sections 5 to 7), from the places of their values straight to the
// bytes of the decision socket: nothing in between is made, so that a batch costs little more than its questions.
//
// Members that the specification does not know are passed over, except two of this product: `session` and `device`, ids of
// records in the store.

import CBOR
package import DecisionProtocol
import Memory
package import StileClient
package import StrictJSON

/// Where the parts of a question stand in a document; nil for what it does not have.
package struct QuestionParts: Sendable {
    package var subject: Int?
    package var action: Int?
    package var resource: Int?
    package var context: Int?
    package var session: Int?
    package var device: Int?
}

/// Reads questions out of a document.
package struct QuestionReader: Sendable {
    package let document: JSONDocument

    package init(_ document: JSONDocument) { self.document = document }

    /// The parts of a question in an object.
    package func parts(of object: Int) -> QuestionParts {
        var parts = QuestionParts()
        eachMember(of: object) { name, value in
            if document.equals(name, "subject") {
                parts.subject = value
            } else if document.equals(name, "action") {
                parts.action = value
            } else if document.equals(name, "resource") {
                parts.resource = value
            } else if document.equals(name, "context") {
                parts.context = value
            } else if document.equals(name, "session") {
                parts.session = value
            } else if document.equals(name, "device") {
                parts.device = value
            }
        }
        return parts
    }

    func eachMember(of object: Int, _ body: (_ name: Int, _ value: Int) -> Void) {
        var place = object + 1
        for _ in 0..<document.count(object) {
            body(place, place + 1)
            place = document.after(place + 1)
        }
    }

    // MARK: Fields

    /// A whole question.
    package func question(_ parts: QuestionParts) throws(RequestError) -> EncodedQuestion {
        var writer = CBORWriter()
        try entity(parts.subject, .subject, to: &writer)
        try action(parts.action, to: &writer)
        try entity(parts.resource, .resource, to: &writer)
        try rest(parts, to: &writer)
        return EncodedQuestion(count: 3 + restCount(parts), bytes: writer.bytes.array)
    }

    /// Fields that the parts are.
    func count(_ parts: QuestionParts) -> Int {
        restCount(parts) + (parts.subject == nil ? 0 : 1) + (parts.action == nil ? 0 : 1)
            + (parts.resource == nil ? 0 : 1)
    }

    /// Fields that context, session and device are.
    func restCount(_ parts: QuestionParts) -> Int {
        var count = parts.context == nil ? 0 : 1
        if let session = parts.session, document.kind(session) != .null { count += 1 }
        if let device = parts.device, document.kind(device) != .null { count += 1 }
        return count
    }

    /// Appends context, session and device where they are given.
    func rest(_ parts: QuestionParts, to writer: inout CBORWriter) throws(RequestError) {
        if let value = parts.context {
            writer.unsigned(5)
            try context(value, to: &writer)
        }
        if let text = try identifier(parts.session, "session") {
            writer.unsigned(6)
            try name(text, "session", to: &writer)
        }
        if let text = try identifier(parts.device, "device") {
            writer.unsigned(7)
            try name(text, "device", to: &writer)
        }
    }

    /// Which entity.
    enum Role: UInt64, Sendable {
        case subject = 2
        case resource = 4

        var name: String { self == .subject ? "subject" : "resource" }
    }

    /// Appends a subject or a resource with its key.
    /// - Parameter fallback: an entity that gives the required members that this one lacks; its properties are never taken.
    func entity(
        _ value: Int?, _ role: Role, fallback: Int? = nil, to writer: inout CBORWriter
    ) throws(RequestError) {
        guard let value else { throw RequestError(path: role.name, message: "it is missing") }
        guard document.kind(value) == .object else {
            throw RequestError(path: role.name, message: "an object with type and id is needed")
        }
        let type = document.member("type", of: value) ?? fallback.flatMap { document.member("type", of: $0) }
        let id = document.member("id", of: value) ?? fallback.flatMap { document.member("id", of: $0) }
        let properties = try self.properties(of: value, role.name)
        writer.unsigned(role.rawValue)
        writer.map(properties.isEmpty ? 2 : 3)
        writer.unsigned(0)
        try required(type, role.name, "type", to: &writer)
        writer.unsigned(1)
        try required(id, role.name, "id", to: &writer)
        guard !properties.isEmpty else { return }
        writer.unsigned(2)
        try write(properties, role.name, 0, to: &writer)
    }

    /// Appends an action with its key.
    func action(_ value: Int?, fallback: Int? = nil, to writer: inout CBORWriter) throws(RequestError) {
        guard let value else { throw RequestError(path: "action", message: "it is missing") }
        guard document.kind(value) == .object else {
            throw RequestError(path: "action", message: "an object with a name is needed")
        }
        let name = document.member("name", of: value) ?? fallback.flatMap { document.member("name", of: $0) }
        let properties = try self.properties(of: value, "action")
        writer.unsigned(3)
        writer.map(properties.isEmpty ? 1 : 2)
        writer.unsigned(0)
        try required(name, "action", "name", to: &writer)
        guard !properties.isEmpty else { return }
        writer.unsigned(2)
        try write(properties, "action", 0, to: &writer)
    }

    private func required(
        _ value: Int?, _ part: String, _ member: String, to writer: inout CBORWriter
    ) throws(RequestError) {
        guard let value, document.kind(value) == .string else {
            throw RequestError(
                path: "\(part).\(member)", message: value == nil ? "it is missing" : "a string is needed")
        }
        try name(value, "\(part).\(member)", to: &writer)
    }

    private func name(_ value: Int, _ path: @autoclosure () -> String, to writer: inout CBORWriter) throws(RequestError)
    {
        let length = document.length(value)
        guard (1...ProtocolLimits.maxNameBytes).contains(length) else {
            throw RequestError(
                path: path(), message: "it has \(length) bytes: 1 to \(ProtocolLimits.maxNameBytes) are allowed")
        }
        text(value, to: &writer)
    }

    /// The id of a session or device: a string, or an object with an id.
    func identifier(_ value: Int?, _ path: String) throws(RequestError) -> Int? {
        guard let value, document.kind(value) != .null else { return nil }
        if document.kind(value) == .string { return value }
        guard let id = document.member("id", of: value), document.kind(id) == .string else {
            throw RequestError(path: path, message: "an id (a string) is needed")
        }
        return id
    }

    private func context(_ value: Int, to writer: inout CBORWriter) throws(RequestError) {
        switch document.kind(value) {
        case .null: writer.map(0)
        case .object:
            let properties = pairs(of: value).filter { !document.equals($0.name, Negotiation.member) }
            try write(properties, "context", 0, to: &writer)
        default: throw RequestError(path: "context", message: "an object is needed")
        }
    }

    // MARK: Properties

    private typealias Pair = (name: Int, value: Int)

    private func properties(of entity: Int, _ part: String) throws(RequestError) -> [Pair] {
        guard let value = document.member("properties", of: entity), document.kind(value) != .null else { return [] }
        guard document.kind(value) == .object else {
            throw RequestError(path: "\(part).properties", message: "an object is needed")
        }
        return pairs(of: value)
    }

    /// Members with a value (null says that there is none), in the order of their encoded names: the shorter first, then
    /// byte by byte.
    private func pairs(of object: Int) -> [Pair] {
        var pairs: [Pair] = []
        pairs.reserveCapacity(document.count(object))
        eachMember(of: object) { name, value in
            if document.kind(value) != .null { pairs.append((name, value)) }
        }
        if pairs.count > 1 { pairs.sort { isBefore($0.name, $1.name) } }
        return pairs
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        let (one, two) = (bytes(left), bytes(right))
        return one.count != two.count ? one.count < two.count : one.lexicographicallyPrecedes(two)
    }

    private func bytes(_ string: Int) -> ArraySlice<UInt8> {
        document.isPlain(string) ? document.bytes[document.range(string)] : Array(document.text(string).utf8)[...]
    }

    private func text(_ string: Int, to writer: inout CBORWriter) {
        if document.isPlain(string) {
            writer.text(document.bytes[document.range(string)])
        } else {
            writer.text(document.text(string))
        }
    }

    private func write(
        _ pairs: [Pair], _ path: String, _ depth: Int, to writer: inout CBORWriter
    ) throws(RequestError) {
        writer.map(pairs.count)
        for pair in pairs {
            text(pair.name, to: &writer)
            try write(pair.value, path, depth, to: &writer)
        }
    }

    private func write(_ value: Int, _ path: String, _ depth: Int, to writer: inout CBORWriter) throws(RequestError) {
        guard depth < EncodedQuestion.maxValueDepth else {
            throw RequestError(
                path: path, message: "more than \(EncodedQuestion.maxValueDepth) values inside one another")
        }
        switch document.kind(value) {
        case .null: writer.null()
        case .false: writer.bool(false)
        case .true: writer.bool(true)
        case .string: text(value, to: &writer)
        case .number: try number(document.digits(value), path, to: &writer)
        case .array:
            writer.array(document.count(value))
            var place = value + 1
            for _ in 0..<document.count(value) {
                try write(place, path, depth + 1, to: &writer)
                place = document.after(place)
            }
        case .object: try write(pairs(of: value), path, depth + 1, to: &writer)
        }
    }

    /// Numbers keep their exact value.
    private func number(_ digits: String, _ path: String, to writer: inout CBORWriter) throws(RequestError) {
        if let integer = Int64(digits) { return writer.integer(integer) }
        guard let number = ExactNumber(digits) else {
            throw RequestError(path: path, message: "the number \(digits.prefix(40)) is outside what is counted with")
        }
        writer.decimal(mantissa: number.mantissa, exponent: number.exponent)
    }
}
