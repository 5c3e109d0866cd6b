// From a decision in the ring to the payload of its record: the answer without what explains it at length, the question
// without what may not be written down. CBOR:
//
//   { 0: { answer-fields },              as in grammar/decision.cddl; of obligations only id and type; no candidates
//     ? 1: { question-fields },          what is kept of the question
//     ? 2: [+ tstr],                     masked: attributes that were given and are left out, as "resource.total"
//     ? 3: uint,                         properties left out that the catalog does not declare for questions
//     ? 4: "masking_failed" / "too_long",  why the question is missing, or its properties
//     ? 5: uint,                         one of so many decisions is written
//     ? 6: uint }                        the answer's frame, when it is no question's: 4 opens a question, 6 is a push
//
// INVARIANT of this unsafe file: readers and slices are those of the record, used within `encode`; what `encode` lends is
// void with its next call.

import CBOR
import DecisionPath
import DecisionProtocol
import Memory

/// Encodes decisions, with memory that is used again.
package struct DecisionEncoder: ~Copyable {
    private var output = CBORWriter()
    private var question = CBORWriter()
    private var answerPairs: [(key: UInt64, value: Range<Int>)] = []
    private var keptPairs: [Range<Int>] = []
    private var masked: [String] = []
    private var undeclared = 0
    /// The kind of the answer's frame, where it is to be told.
    private var kind: UInt64?
    private let sampledRate: UInt64?

    /// - Parameter sampledRate: written beside each decision when only one of so many is written.
    package init(sampledRate: UInt64?) { self.sampledRate = sampledRate }

    /// What is looked up before the question can be masked.
    package struct Facts {
        package var policyVersion: UInt64 = 0
        package var decisionID = 0..<0
    }

    /// Reads the answer's pairs.
    /// - Returns: nil when the answer cannot be read: nothing can be said of this decision.
    package mutating func begin(_ record: RingRecord) -> Facts? {
        answerPairs.removeAll(keepingCapacity: true)
        kind = nil
        var facts = Facts()
        do throws(CBORError) {
            var reader = record.answer
            let count = try reader.map()
            for _ in 0..<min(count, record.answerPairs ?? count) {
                let key = try reader.unsigned()
                let start = reader.offset
                switch key {
                case 0:
                    let number = try reader.unsigned()
                    kind = number == FrameKind.question.rawValue ? nil : number
                case 4: facts.decisionID = try reader.byteString()
                case 5: facts.policyVersion = try reader.unsigned()
                default: try reader.skip()
                }
                // The numbers of requests and subscriptions are the connection's; candidates can be had again.
                if key > 1, key < 13 { answerPairs.append((key, start..<reader.offset)) }
            }
        } catch {
            return nil
        }
        return facts
    }

    /// The payload of the record that `begin` has read.
    /// - Parameter plan: nil when it cannot be known what may be written: then nothing of the question is.
    package mutating func encode(_ record: RingRecord, _ plan: MaskingPlan?) -> UnsafeRawBufferPointer {
        do throws(CBORError) {
            if let plan {
                try mask(record, plan)
                try write(record, redacted: nil)
                return unsafe output.bytes.borrowed
            }
        } catch {
            // What cannot be read cannot be masked.
        }
        question.removeAll()
        masked.removeAll()
        undeclared = 0
        do throws(CBORError) {
            try write(record, redacted: "masking_failed")
        } catch {
            // The pairs were read before; a cause that cannot be read is left out with the others.
            output.removeAll()
            output.map(0)
        }
        return unsafe output.bytes.borrowed
    }

    // MARK: The answer

    private mutating func write(_ record: RingRecord, redacted: String?) throws(CBORError) {
        output.removeAll()
        var count = 1
        let reason = redacted ?? (record.lacksProperties ? "too_long" : nil)
        if question.bytes.count > 0 { count += 1 }
        if !masked.isEmpty { count += 1 }
        if undeclared > 0 { count += 1 }
        if reason != nil { count += 1 }
        if sampledRate != nil { count += 1 }
        if kind != nil { count += 1 }
        output.map(count)
        output.unsigned(0)
        try writeAnswer(record, redacted: redacted != nil)
        if question.bytes.count > 0 {
            output.unsigned(1)
            unsafe output.bytes.append(question.bytes.borrowed)
        }
        if !masked.isEmpty {
            output.unsigned(2)
            output.array(masked.count)
            for name in masked { output.text(name) }
        }
        if undeclared > 0 {
            output.unsigned(3)
            output.unsigned(UInt64(undeclared))
        }
        if let reason {
            output.unsigned(4)
            output.text(reason)
        }
        if let sampledRate {
            output.unsigned(5)
            output.unsigned(sampledRate)
        }
        if let kind {
            output.unsigned(6)
            output.unsigned(kind)
        }
    }

    private mutating func writeAnswer(_ record: RingRecord, redacted: Bool) throws(CBORError) {
        // A step-up says only what the policy demands; a cause may name what the question named.
        let pairs = redacted ? answerPairs.filter { $0.key < 11 } : answerPairs
        output.map(pairs.count)
        for (key, value) in pairs {
            output.unsigned(key)
            switch key {
            case 10 where redacted: try writeCode(record.answer.reader(of: value))
            case 12: try writeObligations(record.answer.reader(of: value))
            default: unsafe output.bytes.append(record.answer.slice(value))
            }
        }
    }

    /// A cause without its words.
    private mutating func writeCode(_ cause: CBORReader) throws(CBORError) {
        var reader = cause
        for _ in 0..<(try reader.map()) {
            guard try reader.unsigned() == 0 else {
                try reader.skip()
                continue
            }
            let code = try reader.text()
            output.map(2)
            output.unsigned(0)
            unsafe output.text(reader.slice(code))
            output.unsigned(2)
            output.text("")
            return
        }
        output.map(0)
    }

    /// Obligations without their properties: they may be woven from attributes.
    private mutating func writeObligations(_ list: CBORReader) throws(CBORError) {
        var reader = list
        let count = try reader.array()
        output.array(count)
        for _ in 0..<count {
            var names = (0..<0, 0..<0)
            for _ in 0..<(try reader.map()) {
                switch try reader.unsigned() {
                case 0: names.0 = try reader.text()
                case 1: names.1 = try reader.text()
                default: try reader.skip()
                }
            }
            output.map(2)
            output.unsigned(0)
            unsafe output.text(reader.slice(names.0))
            output.unsigned(1)
            unsafe output.text(reader.slice(names.1))
        }
    }

    // MARK: The question

    private mutating func mask(_ record: RingRecord, _ plan: MaskingPlan) throws(CBORError) {
        question.removeAll()
        masked.removeAll(keepingCapacity: true)
        undeclared = 0
        let ranges = record.ranges
        var count = 0
        if ranges.subject.isGiven { count += 1 }
        if ranges.action.isGiven { count += 1 }
        if ranges.resource.isGiven { count += 1 }
        if !ranges.context.isEmpty { count += 1 }
        if !ranges.session.isEmpty { count += 1 }
        if !ranges.device.isEmpty { count += 1 }
        question.map(count)
        let reader = record.question
        if ranges.subject.isGiven {
            let part = unsafe plan.entity(reader.slice(ranges.subject.type))
            try entity(2, ranges.subject, record, part, "subject")
        }
        if ranges.action.isGiven {
            let part = unsafe plan.action(reader.slice(ranges.action.type))
            try entity(3, ranges.action, record, part, "action")
        }
        if ranges.resource.isGiven {
            let part = unsafe plan.entity(reader.slice(ranges.resource.type))
            try entity(4, ranges.resource, record, part, "resource")
        }
        if !ranges.context.isEmpty {
            question.unsigned(5)
            try keep(ranges.context, record, plan.context, "context")
            writeKept(record)
        }
        if !ranges.session.isEmpty {
            question.unsigned(6)
            name(ranges.session, record)
        }
        if !ranges.device.isEmpty {
            question.unsigned(7)
            name(ranges.device, record)
        }
    }

    private mutating func entity(
        _ key: UInt64, _ ranges: EntityRanges, _ record: RingRecord, _ part: MaskingPlan.Part, _ scope: String
    ) throws(CBORError) {
        keptPairs.removeAll(keepingCapacity: true)
        if !ranges.properties.isEmpty { try keep(ranges.properties, record, part, scope) }
        // An action has no id, and key 1 means nothing there.
        let hasID = key != 3
        question.unsigned(key)
        question.map((hasID ? 2 : 1) + (keptPairs.isEmpty ? 0 : 1))
        question.unsigned(0)
        name(ranges.type, record)
        if hasID {
            question.unsigned(1)
            name(ranges.id, record)
        }
        if !keptPairs.isEmpty {
            question.unsigned(2)
            writeKept(record)
        }
    }

    /// Sorts a map's pairs into those that are written and those that are not.
    private mutating func keep(
        _ properties: Range<Int>, _ record: RingRecord, _ part: MaskingPlan.Part, _ scope: String
    ) throws(CBORError) {
        keptPairs.removeAll(keepingCapacity: true)
        let base = properties.lowerBound
        var reader = record.question.reader(of: properties)
        for _ in 0..<(try reader.map()) {
            let start = reader.offset
            guard reader.isNext(major: 3) else {
                try reader.skip()
                try reader.skip()
                undeclared += 1
                continue
            }
            let name = try reader.text()
            let value = try reader.skip()
            switch unsafe part.fate(reader.slice(name)) {
            case .kept where try Self.isPlain(reader.reader(of: value)):
                keptPairs.append(base + start..<base + reader.offset)
            case .kept, .masked:
                masked.append("\(scope).\(unsafe String(decoding: reader.slice(name), as: UTF8.self))")
            case .undeclared: undeclared += 1
            }
        }
    }

    /// True for scalars and lists of scalars: what the catalog's types can be. A map under a declared name could carry
    /// anything.
    private static func isPlain(_ value: CBORReader) throws(CBORError) -> Bool {
        var reader = value
        switch try reader.type() {
        case .map: return false
        case .array:
            for _ in 0..<(try reader.array()) {
                switch try reader.type() {
                case .map, .array: return false
                default: try reader.skip()
                }
            }
            return true
        default: return true
        }
    }

    private mutating func writeKept(_ record: RingRecord) {
        question.map(keptPairs.count)
        for pair in keptPairs { unsafe question.bytes.append(record.question.slice(pair)) }
    }

    private mutating func name(_ range: Range<Int>, _ record: RingRecord) {
        let bytes = unsafe record.question.slice(range)
        if record.lacksProperties {
            // It may have been cut within a character.
            question.text(unsafe String(decoding: bytes, as: UTF8.self))
        } else {
            unsafe question.text(bytes)
        }
    }
}
