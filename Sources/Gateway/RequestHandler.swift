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
    /// Runs the endpoints whose paths have no parameter: what is asked most needs no router.
    let runner: EndpointRunner
    let log: RequestLog
    let logger: Logger
    private let clock = DateHeader()

    init(responder: Responder, runner: EndpointRunner, log: RequestLog, logger: Logger) {
        self.responder = responder
        self.runner = runner
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
        let given = request.headers.value(.requestID)
        let context = GatewayContext(
            source: GatewaySource(
                logger: logger, connection: connection, requestID: given ?? RequestIDs.next(), trace: trace))
        if let response = await runner.respondDirectly(to: request, context) { return dressed(response, context) }
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
        // No endpoint sets these itself, so there is nothing to look for and to replace.
        response.headers.append(HTTPField(name: .requestID, value: context.requestID))
        if let trace = context.trace {
            response.headers.append(HTTPField(name: .traceParent, value: trace.parent))
            if let state = trace.state { response.headers.append(HTTPField(name: .traceState, value: state)) }
        }
        response.headers.append(HTTPField(name: .date, value: clock.text(at: context.now)))
        if !response.headers.contains(.cacheControl) {
            response.headers.append(HTTPField(name: .cacheControl, value: "no-store"))
        }
        response.headers.append(HTTPField(name: .contentTypeOptions, value: "nosniff"))
        return response
    }
}

/// Ids of requests whose caller gave none: unique, and no secret.
enum RequestIDs {
    private static let process = String(UInt64.random(in: 0...UInt64.max), radix: 16) + "-"
    private static let count = Atomic<UInt64>(0)

    static func next() -> String {
        let number = count.wrappingAdd(1, ordering: .relaxed).newValue
        return process + String(number, radix: 16)
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
