// Questions as bytes. Encoded once, before any lock: what is sent, sent again, held open and kept near is the same.

import CBOR
import DecisionProtocol
import Memory

/// A request's fields as they stand in a frame, behind its kind and id.
package struct EncodedQuestion: Sendable, Hashable {
    /// Pairs of the frame's map.
    package let count: Int
    package let bytes: [UInt8]

    /// Values inside one another: a frame's nesting less what is around a value in a batch.
    package static let maxValueDepth = CBORLimits.maxDepth - 8
    /// What a frame has around the fields, at most.
    static let envelope = 32

    /// Takes fields that somebody else has encoded, as grammar/decision.cddl has them, in the order of their keys.
    package init(count: Int, bytes: [UInt8]) {
        self.count = count
        self.bytes = bytes
    }

    init(_ request: AuthorizationRequest) throws(StileError) {
        var writer = CBORWriter()
        var count = 3
        try Self.entity(request.subject, 2, "subject", &writer)
        writer.unsigned(3)
        writer.map(request.action.properties.isEmpty ? 1 : 2)
        writer.unsigned(0)
        try Self.name(request.action.name, "action", "name", &writer)
        try Self.properties(request.action.properties, &writer)
        try Self.entity(request.resource, 4, "resource", &writer)
        if !request.context.isEmpty {
            count += 1
            writer.unsigned(5)
            try Self.object(request.context, 0, &writer)
        }
        if let session = request.session {
            count += 1
            writer.unsigned(6)
            try Self.name(session, "session", "id", &writer)
        }
        if let device = request.device {
            count += 1
            writer.unsigned(7)
            try Self.name(device, "device", "id", &writer)
        }
        guard writer.bytes.count <= ProtocolLimits.maxFrameBytes - Self.envelope else {
            throw .invalidRequest("it takes \(writer.bytes.count) bytes, a frame has 1 MiB: leave out properties")
        }
        self.count = count
        bytes = writer.bytes.array
    }

    private static func entity(
        _ entity: AuthorizationRequest.Entity, _ key: UInt64, _ part: String, _ writer: inout CBORWriter
    ) throws(StileError) {
        writer.unsigned(key)
        writer.map(entity.properties.isEmpty ? 2 : 3)
        writer.unsigned(0)
        try name(entity.type, part, "type", &writer)
        writer.unsigned(1)
        try name(entity.id, part, "id", &writer)
        try properties(entity.properties, &writer)
    }

    @inline(__always)
    private static func name(_ text: String, _ part: String, _ member: String, _ writer: inout CBORWriter)
        throws(StileError)
    {
        let size = text.utf8.count
        guard size > 0, size <= ProtocolLimits.maxNameBytes else { throw wrongName(size, part, member) }
        writer.text(text)
    }

    private static func wrongName(_ size: Int, _ part: String, _ member: String) -> StileError {
        let what = "the \(part)'s \(member)"
        return .invalidRequest(
            size == 0 ? "\(what) is empty: give 1 to 256 bytes" : "\(what) has \(size) bytes, 256 are allowed")
    }

    private static func properties(_ values: [String: PropertyValue], _ writer: inout CBORWriter) throws(StileError) {
        guard !values.isEmpty else { return }
        writer.unsigned(2)
        try object(values, 0, &writer)
    }

    /// Keys in the order of their encoding: the shorter first, then byte by byte.
    private static func object(_ values: [String: PropertyValue], _ depth: Int, _ writer: inout CBORWriter)
        throws(StileError)
    {
        writer.map(values.count)
        let sorted = values.sorted { left, right in
            let (one, two) = (left.key.utf8, right.key.utf8)
            return one.count != two.count ? one.count < two.count : one.lexicographicallyPrecedes(two)
        }
        for (key, value) in sorted {
            writer.text(key)
            try write(value, depth, &writer)
        }
    }

    private static func write(_ value: PropertyValue, _ depth: Int, _ writer: inout CBORWriter) throws(StileError) {
        guard depth < maxValueDepth else {
            throw .invalidRequest("a property has more than \(maxValueDepth) values inside one another")
        }
        switch value {
        case .null: writer.null()
        case .bool(let value): writer.bool(value)
        case .integer(let value): writer.integer(value)
        case .decimal(let mantissa, let exponent): writer.decimal(mantissa: mantissa, exponent: Int64(exponent))
        case .text(let text): writer.text(text)
        case .list(let values):
            writer.array(values.count)
            for value in values { try write(value, depth + 1, &writer) }
        case .object(let values): try object(values, depth + 1, &writer)
        }
    }
}

/// Many questions in one frame. A key that an item leaves out is the defaults', whole.
package struct EncodedBatch: Sendable, Hashable {
    /// Fields for all items.
    package let defaults: EncodedQuestion
    /// Items: maps of fields, one behind the other.
    package let items: [UInt8]
    /// How many.
    package let count: Int
    package let semantic: EvaluationsSemantic

    package init(defaults: EncodedQuestion, items: [UInt8], count: Int, semantic: EvaluationsSemantic) {
        self.defaults = defaults
        self.items = items
        self.count = count
        self.semantic = semantic
    }

    init(_ questions: [EncodedQuestion], _ semantic: EvaluationsSemantic) {
        var writer = CBORWriter()
        for question in questions {
            writer.map(question.count)
            writer.raw(question.bytes)
        }
        self.init(
            defaults: EncodedQuestion(count: 0, bytes: []), items: writer.bytes.array, count: questions.count,
            semantic: semantic)
    }

    /// Bytes that it takes in a frame.
    var size: Int { EncodedQuestion.envelope + defaults.bytes.count + items.count }
}

/// What is asked in one frame.
enum Asking: Sendable {
    case question(EncodedQuestion)
    case batch(EncodedBatch)
    case status

    /// Questions that it counts for.
    var weight: Int {
        if case .batch(let batch) = self { return max(1, batch.count) }
        return 1
    }

    /// Appends the frame with its length.
    func write(id: UInt64, to writer: inout CBORWriter) {
        let start = Self.begin(&writer)
        switch self {
        case .question(let question): Self.write(.question, question, id, &writer)
        case .batch(let batch):
            writer.map(batch.defaults.count + (batch.semantic == .executeAll ? 3 : 4))
            Self.head(.batch, id, &writer)
            writer.raw(batch.defaults.bytes)
            writer.unsigned(9)
            writer.array(batch.count)
            writer.raw(batch.items)
            if batch.semantic != .executeAll {
                writer.unsigned(10)
                writer.unsigned(batch.semantic == .denyOnFirstDeny ? 1 : 2)
            }
        case .status:
            writer.map(2)
            Self.head(.status, id, &writer)
        }
        Self.end(start, &writer)
    }

    /// Appends the frame that holds a question open.
    static func writeSubscribe(_ question: EncodedQuestion, id: UInt64, to writer: inout CBORWriter) {
        let start = begin(&writer)
        write(.subscribe, question, id, &writer)
        end(start, &writer)
    }

    /// Appends the frame that ends a subscription.
    static func writeUnsubscribe(_ number: UInt64, id: UInt64, to writer: inout CBORWriter) {
        writer.raw(Framing.prefixed(Unsubscribe.frame(id: id, subscription: number)))
    }

    private static func write(
        _ kind: FrameKind, _ question: EncodedQuestion, _ id: UInt64, _ writer: inout CBORWriter
    ) {
        writer.map(question.count + 2)
        head(kind, id, &writer)
        writer.raw(question.bytes)
    }

    private static func head(_ kind: FrameKind, _ id: UInt64, _ writer: inout CBORWriter) {
        writer.unsigned(0)
        writer.unsigned(kind.rawValue)
        writer.unsigned(1)
        writer.unsigned(id)
    }

    private static func begin(_ writer: inout CBORWriter) -> Int {
        writer.bytes.appendZeros(ProtocolLimits.prefixBytes)
    }

    private static func end(_ start: Int, _ writer: inout CBORWriter) {
        let length = writer.bytes.count - start - ProtocolLimits.prefixBytes
        writer.bytes.store(UInt32(truncatingIfNeeded: length).bigEndian, at: start)
    }
}
