// From a request's head to its answer's, for every request of a listener.

import GatewayCore
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Synchronization

/// Answers the requests of one surface.
struct RequestHandler<Responder: HTTPResponder>: Sendable where Responder.Context == GatewayContext {
    let responder: Responder
    let log: RequestLog
    let logger: Logger
    private let clock = DateHeader()

    init(responder: Responder, log: RequestLog, logger: Logger) {
        self.responder = responder
        self.log = log
        self.logger = logger
    }

    /// The closure that serves a connection.
    func serve(_ connection: ConnectionInfo) -> HTTPChannelHandler.Responder {
        { request, writer, _ in
            let response = await answer(request, connection)
            try await writer.write(response: response.head, body: response.body)
        }
    }

    private func answer(_ request: Request, _ connection: ConnectionInfo) async -> Response {
        let trace = TraceContext(request.headers)
        let given = request.headers[.requestID]
        let context = GatewayContext(
            source: GatewaySource(
                logger: logger, connection: connection, requestID: given ?? RequestIDs.next(), trace: trace))
        // Endpoints answer their own errors; the router has one alone: there is no such path.
        var response = try? await responder.respond(to: request, context: context)
        if context.endpointPath?.hasPrefix("/") != true { response = nil }
        return dressed(response ?? missing(request, context), context)
    }

    private func missing(_ request: Request, _ context: GatewayContext) -> Response {
        let error =
            EndpointRunner.methods.contains(request.method)
            ? GatewayError.notFound
            : GatewayError(.notImplemented, "method_unknown", "no path takes this method")
        log.answered(request, context, "none", error.status, error)
        return error.response(.problem)
    }

    /// The headers that every answer carries.
    private func dressed(_ response: Response, _ context: GatewayContext) -> Response {
        var response = response
        response.headers[.requestID] = context.requestID
        if let trace = context.trace {
            response.headers[.traceParent] = trace.parent
            if let state = trace.state { response.headers[.traceState] = state }
        }
        response.headers[.date] = clock.text(at: context.now)
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        response.headers[.contentTypeOptions] = "nosniff"
        return response
    }
}

/// Ids of requests whose caller gave none: unique, and no secret.
enum RequestIDs {
    private static let process = UInt64.random(in: 0...UInt64.max)
    private static let count = Atomic<UInt64>(0)

    static func next() -> String {
        let number = count.wrappingAdd(1, ordering: .relaxed).newValue
        return String(process, radix: 16) + "-" + String(number, radix: 16)
    }
}

/// The Date header (RFC 9110 5.6.7), written once a second.
private final class DateHeader: Sendable {
    private let current = Mutex<(second: Int64, text: String)>((-1, ""))
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    func text(at milliseconds: Int64) -> String {
        let second = milliseconds / 1000
        return current.withLock { current in
            if current.second != second { current = (second, Self.format(second)) }
            return current.text
        }
    }

    private static func format(_ second: Int64) -> String {
        let day = second / 86_400
        let rest = second % 86_400
        // Days to a date (Howard Hinnant, "chrono-compatible low-level date algorithms", days from the year 0).
        let shifted = day + 719_468
        let era = shifted / 146_097
        let ofEra = shifted % 146_097
        let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * ofYear + 2) / 153
        let dayOfMonth = ofYear - (153 * month + 2) / 5 + 1
        let year = yearOfEra + era * 400 + (month >= 10 ? 1 : 0)
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(days[Int(day % 7)]), \(two(dayOfMonth)) \(months[Int((month + 2) % 12)]) \(year) "
            + "\(two(rest / 3_600)):\(two(rest / 60 % 60)):\(two(rest % 60)) GMT"
    }
}
