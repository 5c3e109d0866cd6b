// Frames of the server: one look that checks the whole frame and takes out what is told. What is not wholly understood
// is no answer, and so no permit.
//
// INVARIANT of this unsafe file: the bytes of a frame stay in place and unchanged while it is read; whatever leaves this
// file is a copy.

import CBOR
import DecisionProtocol

/// A frame from the server.
enum Incoming {
    case welcome
    case decision(id: UInt64, Decision)
    case batch(id: UInt64, [Decision])
    case status(id: UInt64, ServerStatus)
    /// A question is held open; its first answer.
    case subscribed(id: UInt64, number: UInt64, Decision)
    case unsubscribed(id: UInt64)
    /// A new answer to a question that is held open.
    case pushed(number: UInt64, Decision)
    /// One request was not carried out; the connection goes on.
    case refused(id: UInt64, code: String, message: String)
    /// The server's last word before it closes.
    case farewell(code: String, message: String)
    /// The server ends in good order: what it has not answered it has not taken.
    case goodbye

    /// Reads a whole frame; nil when it is none that this client understands.
    @unsafe
    init?(_ bytes: UnsafeRawBufferPointer) {
        var reader = unsafe CBORReader(bytes)
        guard let incoming = try? Self.read(&reader), reader.isAtEnd else { return nil }
        self = incoming
    }

    private static func read(_ reader: inout CBORReader) throws(CBORError) -> Incoming? {
        let count = try reader.map()
        var keys = KeyReader()
        // Keys are in order, so the kind is the first: what the others mean hangs on it.
        guard count > 0, try keys.next(&reader) == 0, let kind = FrameKind(rawValue: try reader.unsigned()) else {
            return nil
        }
        var fields = FrameFields(kind)
        for _ in 1..<count {
            guard let key = try keys.next(&reader) else { continue }
            try fields.read(key, &reader)
        }
        return fields.incoming
    }
}

/// The keys of a frame.
private struct FrameFields {
    let kind: FrameKind
    private var id: UInt64?
    private var number: UInt64?
    private var answer = AnswerFields()
    private var items: [Decision]?
    private var code: String?
    private var message = ""
    private var status: (active: UInt64, snapshot: UInt64, stored: UInt64, answers: UInt64, errors: UInt64)
    private var state: String?

    init(_ kind: FrameKind) {
        self.kind = kind
        status = (0, 0, 0, 0, 0)
    }

    mutating func read(_ key: UInt64, _ reader: inout CBORReader) throws(CBORError) {
        switch (key, kind) {
        case (1, _): id = try reader.unsigned()
        case (22, _): number = try reader.unsigned()
        case (_, .question), (_, .subscribe), (_, .push): try answer.read(key, &reader)
        case (9, .batch): items = try Self.items(&reader)
        case (20, .error): code = try reader.string()
        case (21, .error): message = try reader.string()
        case (5, .status): status.active = try reader.unsigned()
        case (6, .status): status.snapshot = try reader.unsigned()
        case (16, .status): status.stored = try reader.unsigned()
        case (17, .status): state = try reader.string()
        case (18, .status): status.answers = try reader.unsigned()
        case (19, .status): status.errors = try reader.unsigned()
        default: try reader.skip()
        }
    }

    private static func items(_ reader: inout CBORReader) throws(CBORError) -> [Decision] {
        var decisions: [Decision] = []
        var known: KnownReasons?
        for _ in 0..<(try reader.array()) {
            let start = reader.offset
            var fields = AnswerFields(known: known)
            try reader.eachKey { (key, reader) throws(CBORError) in try fields.read(key, &reader) }
            guard let decision = fields.decision else { throw CBORError(.unexpectedType, at: start) }
            decisions.append(decision)
            known = fields.known
        }
        return decisions
    }

    var incoming: Incoming? {
        switch kind {
        case .hello: return .welcome
        case .question:
            guard let id, let decision = answer.decision else { return nil }
            return .decision(id: id, decision)
        case .batch:
            guard let id, let items else { return nil }
            return .batch(id: id, items)
        case .status:
            guard let id, let state else { return nil }
            return .status(
                id: id,
                ServerStatus(
                    activeVersion: status.active, storedVersion: status.stored, snapshot: status.snapshot,
                    answers: status.answers, errors: status.errors, state: state))
        case .subscribe:
            guard let id, let number, let decision = answer.decision else { return nil }
            return .subscribed(id: id, number: number, decision)
        case .unsubscribe:
            guard let id, number != nil else { return nil }
            return .unsubscribed(id: id)
        case .push:
            guard let number, let decision = answer.decision else { return nil }
            return .pushed(number: number, decision)
        case .error:
            guard let code else { return nil }
            return id.map { .refused(id: $0, code: code, message: message) } ?? .farewell(code: code, message: message)
        case .goodbye: return .goodbye
        case .takeOver: return nil
        }
    }
}

/// Reasons that an answer of a batch has given, and where: most others give the same, which are then shared.
private struct KnownReasons {
    let range: Range<Int>
    let reasons: [Decision.Reason]
}

/// The fields of one answer.
private struct AnswerFields {
    private var outcome = UInt64.max
    private var kind = UInt64.max
    private var id: Decision.ID?
    private var policyVersion: UInt64?
    private var snapshot: UInt64?
    private var evaluatedAt: UInt64?
    private var validUntil: UInt64?
    private var reasons: [Decision.Reason] = []
    private var cause: Decision.Cause?
    private var stepUp: Decision.StepUp?
    private var obligations: [Decision.Obligation] = []
    private(set) var known: KnownReasons?

    init(known: KnownReasons? = nil) { self.known = known }

    mutating func read(_ key: UInt64, _ reader: inout CBORReader) throws(CBORError) {
        switch key {
        case 2: outcome = try reader.unsigned()
        case 3: kind = try reader.unsigned()
        case 4:
            let start = reader.offset
            let range = try reader.byteString()
            guard range.count == 16 else { throw CBORError(.unexpectedType, at: start) }
            let bytes = unsafe reader.slice(range)
            id = unsafe Decision.ID(
                high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        case 5: policyVersion = try reader.unsigned()
        case 6: snapshot = try reader.unsigned()
        case 7: evaluatedAt = try reader.unsigned()
        case 8: validUntil = try reader.unsigned()
        case 9:
            if let known, reader.takeRepeated(known.range) {
                reasons = known.reasons
                return
            }
            let start = reader.offset
            for _ in 0..<(try reader.array()) { reasons.append(try Self.reason(&reader)) }
            known = KnownReasons(range: start..<reader.offset, reasons: reasons)
        case 10: cause = try Self.cause(&reader)
        case 11: stepUp = try Self.stepUp(&reader)
        // All obligations are mandatory (obligations profile, 3): one that cannot be read must not be lost.
        case 12: for _ in 0..<(try reader.array()) { obligations.append(try Self.obligation(&reader)) }
        default: try reader.skip()
        }
    }

    /// The answer, when its six fields are there and it does not contradict itself.
    var decision: Decision? {
        guard let id, let policyVersion, let snapshot, let evaluatedAt else { return nil }
        let named: Decision.Kind
        switch (outcome, kind) {
        case (0, 0): named = .permitted
        case (1, 1): named = .forbidden
        case (1, 2): named = .notPermitted
        case (2, 3): named = .stepUp
        case (1, 4): named = .error
        default: return nil
        }
        let isPlain = reasons.isEmpty && cause == nil && stepUp == nil && obligations.isEmpty
        return Decision(
            id: id, kind: named, policyVersion: policyVersion, snapshot: snapshot,
            evaluatedAt: Decision.Timestamp(milliseconds: evaluatedAt),
            validUntil: validUntil.map { Decision.Timestamp(milliseconds: $0) },
            details: isPlain
                ? nil
                : Decision.Details(reasons: reasons, cause: cause, stepUp: stepUp, obligations: obligations))
    }

    private static func reason(_ reader: inout CBORReader) throws(CBORError) -> Decision.Reason {
        let start = reader.offset
        var (rule, file, because): (String?, String?, String?) = (nil, nil, nil)
        var line: UInt64?
        try reader.eachKey { (key, reader) throws(CBORError) in
            switch key {
            case 0: rule = try reader.string()
            case 1: file = try reader.string()
            case 2: line = try reader.unsigned()
            case 3: because = try reader.string()
            default: try reader.skip()
            }
        }
        guard let rule, let file, let line else { throw CBORError(.unexpectedType, at: start) }
        return Decision.Reason(rule: rule, file: file, line: Int(clamping: line), because: because)
    }

    private static func cause(_ reader: inout CBORReader) throws(CBORError) -> Decision.Cause {
        let start = reader.offset
        var (code, attribute, message): (String?, String?, String?) = (nil, nil, nil)
        try reader.eachKey { (key, reader) throws(CBORError) in
            switch key {
            case 0: code = try reader.string()
            case 1: attribute = try reader.string()
            case 2: message = try reader.string()
            default: try reader.skip()
            }
        }
        guard let code, let message else { throw CBORError(.unexpectedType, at: start) }
        return Decision.Cause(code: code, attribute: attribute, message: message)
    }

    private static func stepUp(_ reader: inout CBORReader) throws(CBORError) -> Decision.StepUp {
        var level: String?
        var within: UInt64?
        var (methods, acrValues): ([String], [String]) = ([], [])
        try reader.eachKey { (key, reader) throws(CBORError) in
            switch key {
            case 0: level = try reader.string()
            case 1: within = try reader.unsigned()
            case 2: for _ in 0..<(try reader.array()) { methods.append(try reader.string()) }
            case 3: for _ in 0..<(try reader.array()) { acrValues.append(try reader.string()) }
            default: try reader.skip()
            }
        }
        return Decision.StepUp(
            level: level, within: within.map { .milliseconds(Int64(clamping: $0)) }, methods: methods,
            acrValues: acrValues)
    }

    private static func obligation(_ reader: inout CBORReader) throws(CBORError) -> Decision.Obligation {
        let start = reader.offset
        var (id, type): (String?, String?) = (nil, nil)
        var properties: [String: PropertyValue]?
        try reader.eachKey { (key, reader) throws(CBORError) in
            switch key {
            case 0: id = try reader.string()
            case 1: type = try reader.string()
            case 2: properties = try reader.object(depth: 0)
            default: try reader.skip()
            }
        }
        guard let id, let type, let properties else { throw CBORError(.unexpectedType, at: start) }
        return Decision.Obligation(id: id, type: type, properties: properties)
    }
}

extension CBORReader {
    /// A text, copied.
    fileprivate mutating func string() throws(CBORError) -> String {
        let range = try text()
        return unsafe String(decoding: slice(range), as: UTF8.self)
    }

    /// Reads a map: each unsigned key is given to the body, which reads its value; others are passed over.
    fileprivate mutating func eachKey(_ body: (UInt64, inout CBORReader) throws(CBORError) -> Void) throws(CBORError) {
        let count = try map()
        var keys = KeyReader()
        for _ in 0..<count {
            guard let key = try keys.next(&self) else { continue }
            try body(key, &self)
        }
    }

    /// A map of texts to values. Two spellings of one name (Unicode) are one name too many.
    fileprivate mutating func object(depth: Int) throws(CBORError) -> [String: PropertyValue] {
        var order = KeyOrder()
        var object: [String: PropertyValue] = [:]
        for _ in 0..<(try map()) {
            let start = offset
            let name = try string()
            try order.check(start..<offset, in: self)
            guard object.updateValue(try value(depth: depth), forKey: name) == nil else {
                throw CBORError(.keyOrder, at: start)
            }
        }
        return object
    }

    private mutating func value(depth: Int) throws(CBORError) -> PropertyValue {
        guard depth < CBORLimits.maxDepth else { throw CBORError(.tooDeep, at: offset) }
        switch try type() {
        case .unsigned, .negative: return .integer(try integer())
        case .text: return .text(try string())
        case .bool: return .bool(try bool())
        case .null:
            try null()
            return .null
        case .tag:
            let start = offset
            let decimal = try decimal()
            guard let exponent = Int32(exactly: decimal.exponent) else { throw CBORError(.unsupported, at: start) }
            return .decimal(decimal.mantissa, exponent)
        case .array:
            var values: [PropertyValue] = []
            for _ in 0..<(try array()) { values.append(try value(depth: depth + 1)) }
            return .list(values)
        case .map: return .object(try object(depth: depth + 1))
        case .bytes, .float: throw CBORError(.unsupported, at: offset)
        }
    }
}
