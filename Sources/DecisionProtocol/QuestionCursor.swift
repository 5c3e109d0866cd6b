// The server's reading of a question: one walk over the frame, no allocation, ranges instead of copies.

package import CBOR

/// Where the parts of an entity or action lie in a frame. An empty range means "not given".
package struct EntityRanges: Sendable, Hashable {
    package var isGiven = false
    /// The type, or an action's name.
    package var type = 0..<0
    package var id = 0..<0
    /// The encoded map of properties.
    package var properties = 0..<0

    package init() {}
}

/// Where the parts of a question lie in a frame.
package struct QuestionRanges: Sendable, Hashable {
    package var subject = EntityRanges()
    package var action = EntityRanges()
    package var resource = EntityRanges()
    /// The encoded map.
    package var context = 0..<0
    package var hasContext = false
    package var session = 0..<0
    package var device = 0..<0
    package var explain = false

    package init() {}

    /// Keys that are not given here are the default's, whole (AuthZEN 7.1.1).
    package func filled(from defaults: QuestionRanges) -> QuestionRanges {
        var filled = self
        if !subject.isGiven { filled.subject = defaults.subject }
        if !action.isGiven { filled.action = defaults.action }
        if !resource.isGiven { filled.resource = defaults.resource }
        if !hasContext { filled.context = defaults.context }
        if session.isEmpty { filled.session = defaults.session }
        if device.isEmpty { filled.device = defaults.device }
        filled.explain = explain || defaults.explain
        return filled
    }
}

/// What a client's frame is.
package struct FrameHead: Sendable {
    package var kind: UInt64 = 0
    package var id: UInt64 = 0
    package var question = QuestionRanges()
    /// The encoded array of a batch's items.
    package var items = 0..<0
    package var semantic: UInt64 = 0
    package var version: UInt64 = 0
    package var tenant = 0..<0
    package var subscription: UInt64 = 0
    /// Of a take-over: the new server accepts.
    package var isReady = false
    /// Of a hello: the client wants to be told goodbye.
    package var takesGoodbye = false

    /// Reads a whole frame. Unknown keys are checked and passed over.
    package init(_ reader: inout CBORReader) throws(CBORError) {
        let count = try reader.map()
        var order = KeyReader()
        for _ in 0..<count {
            guard let key = try order.next(&reader) else { continue }
            switch key {
            case 0: kind = try reader.unsigned()
            case 1: id = try reader.unsigned()
            case 9:
                guard reader.isNext(major: 4) else { throw CBORError(.unexpectedType, at: reader.offset) }
                items = try reader.skip()
            case 10: semantic = try reader.unsigned()
            case 11: version = try reader.unsigned()
            case 12: tenant = try reader.text()
            case 22: subscription = try reader.unsigned()
            case 23: isReady = try reader.bool()
            case 29: takesGoodbye = try reader.bool()
            default: if try !question.read(key, &reader) { try reader.skip() }
            }
        }
        guard reader.isAtEnd else { throw CBORError(.trailingBytes, at: reader.offset) }
    }
}

extension QuestionRanges {
    /// Reads an item of a batch.
    package init(item reader: inout CBORReader) throws(CBORError) {
        self.init()
        let count = try reader.map()
        var order = KeyReader()
        for _ in 0..<count {
            guard let key = try order.next(&reader) else { continue }
            if try !read(key, &reader) { try reader.skip() }
        }
    }

    /// Reads the value of a key of a question; false when the key is none.
    mutating func read(_ key: UInt64, _ reader: inout CBORReader) throws(CBORError) -> Bool {
        switch key {
        case 2: subject = try EntityRanges(&reader)
        case 3: action = try EntityRanges(&reader)
        case 4: resource = try EntityRanges(&reader)
        case 5:
            guard reader.isNext(major: 5) else { throw CBORError(.unexpectedType, at: reader.offset) }
            context = try reader.skip()
            hasContext = true
        case 6: session = try reader.text()
        case 7: device = try reader.text()
        case 8: explain = try reader.unsigned() & 1 == 1
        default: return false
        }
        return true
    }
}

extension EntityRanges {
    init(_ reader: inout CBORReader) throws(CBORError) {
        self.init()
        isGiven = true
        let count = try reader.map()
        var order = KeyReader()
        for _ in 0..<count {
            guard let key = try order.next(&reader) else { continue }
            switch key {
            case 0: type = try reader.text()
            case 1: id = try reader.text()
            case 2:
                guard reader.isNext(major: 5) else { throw CBORError(.unexpectedType, at: reader.offset) }
                properties = try reader.skip()
            default: try reader.skip()
            }
        }
    }
}

/// Keys of a map in order. Small integers are compared as numbers, others by their bytes.
package struct KeyReader {
    /// The last integer key; -1 for none, `Int.max` once another kind of key was seen, after which none may come.
    private var last = -1
    private var order = CBORReader.KeyOrder()

    package init() {}

    /// The next key when it is an unsigned integer; nil for another, whose value is skipped too.
    @inline(__always)
    package mutating func next(_ reader: inout CBORReader) throws(CBORError) -> UInt64? {
        let start = reader.offset
        if let small = reader.smallUnsigned() {
            let key = Int(small)
            if last >= key { throw CBORError(.keyOrder, at: start) }
            last = key
            return UInt64(small)
        }
        return try other(&reader)
    }

    private mutating func other(_ reader: inout CBORReader) throws(CBORError) -> UInt64? {
        let start = reader.offset
        if try reader.type() == .unsigned {
            let key = try reader.unsigned()
            // Unsigned keys come first in the order, the shorter before the longer: as numbers do.
            guard let number = Int(exactly: key), number < Int.max, last < number else {
                throw CBORError(.keyOrder, at: start)
            }
            last = number
            return key
        }
        last = Int.max
        let range = try reader.skip()
        try order.check(range, in: reader)
        try reader.skip()
        return nil
    }
}
