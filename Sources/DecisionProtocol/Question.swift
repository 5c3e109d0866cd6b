// A question in AuthZEN's information model (Authorization API 1.0, section 5), and its frame.

package import CBOR

/// A subject or resource: `type`, `id`, `properties` (AuthZEN 5.1, 5.2).
package struct Entity: Sendable, Hashable {
    package var type: String
    package var id: String
    package var properties: [CBORPair]

    package init(type: String, id: String, properties: [CBORPair] = []) {
        self.type = type
        self.id = id
        self.properties = properties
    }

    var cbor: CBORValue {
        .record([0: .text(type), 1: .text(id), 2: properties.isEmpty ? nil : .map(properties)])
    }
}

/// An action: `name`, `properties` (AuthZEN 5.3).
package struct ActionName: Sendable, Hashable {
    package var name: String
    package var properties: [CBORPair]

    package init(name: String, properties: [CBORPair] = []) {
        self.name = name
        self.properties = properties
    }

    var cbor: CBORValue { .record([0: .text(name), 2: properties.isEmpty ? nil : .map(properties)]) }
}

/// One question.
package struct Question: Sendable, Hashable {
    package var subject: Entity?
    package var action: ActionName?
    package var resource: Entity?
    package var context: [CBORPair]?
    /// The session whose authentication counts.
    package var session: String?
    /// The device; when nil, the session's.
    package var device: String?
    /// Ask for the failing conditions too.
    package var explain = false

    package init(subject: Entity?, action: ActionName?, resource: Entity?) {
        self.subject = subject
        self.action = action
        self.resource = resource
    }

    /// The keys of a question, for a frame or an item of a batch.
    package var fields: [CBORPair] {
        let value = CBORValue.record([
            2: subject?.cbor, 3: action?.cbor, 4: resource?.cbor, 5: context.map { .map($0) },
            6: session.map { .text($0) }, 7: device.map { .text($0) }, 8: explain ? .unsigned(1) : nil,
        ])
        return value.pairs ?? []
    }

    /// The frame, without its length.
    package func frame(id: UInt64) -> [UInt8] { frame(.question, id) }

    /// The frame that holds the question open, without its length.
    package func subscribeFrame(id: UInt64) -> [UInt8] { frame(.subscribe, id) }

    private func frame(_ kind: FrameKind, _ id: UInt64) -> [UInt8] {
        CBORValue.map(
            [CBORPair(.unsigned(0), .unsigned(kind.rawValue)), CBORPair(.unsigned(1), .unsigned(id))] + fields
        ).encoded
    }
}

/// A frame that ends a subscription.
package enum Unsubscribe {
    /// The frame, without its length.
    package static func frame(id: UInt64, subscription: UInt64) -> [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.unsubscribe.rawValue), 1: .unsigned(id), 22: .unsigned(subscription),
        ]).encoded
    }
}

/// A frame from a server that wants another's listening socket.
package enum TakeOver {
    /// The frame, without its length.
    /// - Parameter isReady: the new server accepts, and the old one is to end.
    package static func frame(id: UInt64, isReady: Bool) -> [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.takeOver.rawValue), 1: .unsigned(id), 23: isReady ? .bool(true) : nil,
        ]).encoded
    }
}

/// When a batch stops (AuthZEN 7.1.2.1).
package enum BatchSemantic: UInt64, Sendable, Hashable {
    case executeAll = 0
    case denyOnFirstDeny = 1
    case permitOnFirstPermit = 2
}

/// Many questions at one instant over one snapshot. A key that an item leaves out is the default's, whole.
package struct Batch: Sendable, Hashable {
    package var defaults: Question
    package var items: [Question]
    package var semantic: BatchSemantic

    package init(defaults: Question, items: [Question], semantic: BatchSemantic = .executeAll) {
        self.defaults = defaults
        self.items = items
        self.semantic = semantic
    }

    /// The frame, without its length.
    package func frame(id: UInt64) -> [UInt8] {
        var pairs = [
            CBORPair(.unsigned(0), .unsigned(FrameKind.batch.rawValue)), CBORPair(.unsigned(1), .unsigned(id)),
        ]
        pairs += defaults.fields
        pairs.append(CBORPair(.unsigned(9), .array(items.map { .map($0.fields) })))
        if semantic != .executeAll { pairs.append(CBORPair(.unsigned(10), .unsigned(semantic.rawValue))) }
        return CBORValue.map(pairs).encoded
    }
}

/// The first frame of a client.
package struct Hello: Sendable, Hashable {
    package var tenant: String
    /// The client understands a goodbye.
    package var takesGoodbye: Bool

    package init(tenant: String, takesGoodbye: Bool = false) {
        self.tenant = tenant
        self.takesGoodbye = takesGoodbye
    }

    /// The frame, without its length.
    package var frame: [UInt8] {
        CBORValue.record([
            0: .unsigned(FrameKind.hello.rawValue), 11: .unsigned(ProtocolLimits.version), 12: .text(tenant),
            29: takesGoodbye ? .bool(true) : nil,
        ]).encoded
    }
}

/// A frame that asks how the server is.
package enum StatusRequest {
    /// The frame, without its length.
    package static func frame(id: UInt64) -> [UInt8] {
        CBORValue.record([0: .unsigned(FrameKind.status.rawValue), 1: .unsigned(id)]).encoded
    }
}

/// Frames on a stream.
package enum Framing {
    /// The frame with its length before it.
    package static func prefixed(_ frame: [UInt8]) -> [UInt8] {
        let count = UInt32(truncatingIfNeeded: frame.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> UInt32($0)) } + frame
    }
}
