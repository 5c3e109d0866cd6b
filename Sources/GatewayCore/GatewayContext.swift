// What a handler knows of its request besides the request.

import AttributeStore
import CLinux
import HTTPTypes
package import Hummingbird
package import Logging

/// What a context is made from.
package struct GatewaySource: RequestContextSource {
    package var logger: Logger
    package var connection: ConnectionInfo
    package var requestID: String
    package var trace: TraceContext?

    package init(logger: Logger, connection: ConnectionInfo, requestID: String, trace: TraceContext?) {
        self.logger = logger
        self.connection = connection
        self.requestID = requestID
        self.trace = trace
    }
}

/// The context of one request.
package struct GatewayContext: RequestContext {
    package typealias Source = GatewaySource

    package var coreContext: CoreRequestContextStorage
    package let connection: ConnectionInfo
    /// The caller's `X-Request-ID`, or ours.
    package let requestID: String
    /// The caller's trace (W3C Trace Context), to be passed on.
    package let trace: TraceContext?
    /// When the request's head had arrived, in ms since the epoch: "now" for all that it does.
    package let now: Int64
    /// When that was, in microseconds of the monotonic clock.
    private let startedAt: UInt64
    /// Who asks; nil only in endpoints that are open to everybody.
    package var caller: Caller?

    package init(source: GatewaySource) {
        coreContext = CoreRequestContextStorage(source: source)
        connection = source.connection
        requestID = source.requestID
        trace = source.trace
        now = stile_now_ms()
        startedAt = stile_monotonic_us()
    }

    /// The clock at this moment, ms since the epoch: for what waits on others and must not decide by when it was asked.
    package static var currentTime: Int64 { stile_now_ms() }

    /// How long the request has taken so far.
    package var elapsedNanoseconds: Int64 { Int64(clamping: (stile_monotonic_us() - startedAt) * 1000) }

    /// The caller of an endpoint that is not open to everybody.
    package func requireCaller() throws(GatewayError) -> Caller {
        guard let caller else { throw GatewayError(.unauthorized, "unauthenticated", "a credential is needed") }
        return caller
    }

    /// A parameter of the path, decoded.
    /// - Throws: `invalid_request` when it is not UTF-8 in percent encoding.
    package func path(_ name: String) throws(GatewayError) -> String {
        guard let text = parameters.get(name) else { throw GatewayError.notFound }
        guard let decoded = PercentCoding.decode(text) else {
            throw GatewayError.invalid(name, "the path is no UTF-8 in percent encoding")
        }
        return decoded
    }
}

/// The trace that a request belongs to (W3C Trace Context, level 1).
package struct TraceContext: Sendable, Hashable {
    /// `traceparent` as it came.
    package let parent: String
    /// `tracestate` as it came.
    package let state: String?

    /// Nil when the headers are none that can be read: a trace starts anew then (section 4.3).
    package init?(_ headers: HTTPFields) {
        guard let parent = headers.value(.traceParent), Self.isParent(parent) else { return nil }
        self.parent = parent
        state = headers[.traceState]
    }

    /// The id of the whole trace, 32 hexadecimal digits.
    package var traceID: Substring { parent.dropFirst(3).prefix(32) }

    /// 3.2.2: version, trace id, parent id, flags; later versions may go on after a dash.
    private static func isParent(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count == 55 || (bytes.count > 55 && !text.hasPrefix("00") && bytes[55] == UInt8(ascii: "-")) else {
            return false
        }
        for index in 0..<55 {
            if [2, 35, 52].contains(index) {
                if bytes[index] != UInt8(ascii: "-") { return false }
            } else if !((0x30...0x39).contains(bytes[index]) || (0x61...0x66).contains(bytes[index])) {
                return false
            }
        }
        return !text.hasPrefix("ff") && bytes[3..<35].contains { $0 != 0x30 } && bytes[36..<52].contains { $0 != 0x30 }
    }
}

extension HTTPFields {
    /// The value of a field, as the subscript gives it: those of several fields of one name joined. Requests are looked through
    /// seven times, and most have one field of a name or none, for which the subscript's general road took 4 % of an evaluation.
    package func value(_ name: HTTPField.Name) -> String? {
        guard contains(name) else { return nil }
        var found: String?
        for field in self where field.name == name {
            if found != nil { return self[name] }
            found = field.value
        }
        return found
    }
}

extension HTTPField.Name {
    /// W3C Trace Context.
    package static let traceParent = named("traceparent")
    package static let traceState = named("tracestate")
    /// Chosen by the caller, echoed as it came.
    package static let requestID = named("X-Request-ID")
    /// Names the tenant again; it must be the credential's and the path's.
    package static let stileTenant = named("Stile-Tenant")
    package static let forwardedFor = named("X-Forwarded-For")
    package static let retryAfter = named("Retry-After")
    package static let contentTypeOptions = named("X-Content-Type-Options")

    private static func named(_ text: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(text) else { preconditionFailure("\(text) is a header's name") }
        return name
    }
}

/// Percent encoding (RFC 3986 2.1).
package enum PercentCoding {
    /// Nil when a `%` is not followed by two digits, or the bytes are no UTF-8.
    package static func decode(_ text: String) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return text }
        var bytes: [UInt8] = []
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next().flatMap({ digit($0) }), let low = rest.next().flatMap({ digit($0) }) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character - 0x30
        case 0x41...0x46: character - 0x41 + 10
        case 0x61...0x66: character - 0x61 + 10
        default: nil
        }
    }
}
