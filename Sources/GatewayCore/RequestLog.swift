// Counts and logs each request by the path it matched, never by what it carried.

import Credentials
package import HTTPTypes
package import Hummingbird
import Logging
import Metrics
import Synchronization

/// Counts and logs.
package final class RequestLog: Sendable {
    private let surface: Surface
    private let counters = Mutex<[Key: Handles]>([:])

    private struct Key: Hashable {
        var path: String
        var method: String
        var status: Int
    }

    private struct Handles {
        var count: Counter
        var duration: Metrics.Timer
    }

    package init(surface: Surface) { self.surface = surface }

    /// Says that a request was answered.
    /// - Parameter path: the endpoint's, with its parameters' names; what the caller sent could hold anything.
    package func answered(
        _ request: Request, _ context: GatewayContext, _ path: String, _ status: HTTPResponse.Status,
        _ error: GatewayError?
    ) {
        // A method that nobody knows could be any text.
        let method = EndpointRunner.methods.contains(request.method) ? request.method.rawValue : "other"
        let handles = handles(Key(path: path, method: method, status: status.code))
        handles.count.increment()
        if let error {
            Counter(label: "stile_gateway_errors", dimensions: [("surface", surface.rawValue), ("code", error.code)])
                .increment()
        }
        handles.duration.recordNanoseconds(context.elapsedNanoseconds)
        let level = level(status, error)
        guard context.logger.logLevel <= level else { return }
        var metadata: Logger.Metadata = [
            "method": "\(request.method.rawValue)", "path": "\(path)", "status": "\(status.code)",
            "request": "\(context.requestID)", "listener": "\(context.connection.listener)",
            "peer": "\(context.connection.peer)",
        ]
        if let caller = context.caller {
            metadata["caller"] = "\(caller.name)"
            metadata["role"] = "\(caller.role.rawValue)"
            if let tenant = caller.tenant { metadata["tenant"] = "\(tenant)" }
        }
        if let trace = context.trace { metadata["trace"] = "\(trace.traceID)" }
        if context.connection.isForwarded, let forwarded = request.headers[.forwardedFor] {
            metadata["forwarded"] = "\(forwarded.prefix(128))"
        }
        if let error {
            metadata["code"] = "\(error.code)"
            if let hidden = error.hidden { metadata["reason"] = "\(hidden)" }
        }
        context.logger.log(level: level, "\(error == nil ? "answered" : "refused")", metadata: metadata)
    }

    /// Whoever is kept out is told of; what a caller got wrong is the caller's to mend.
    private func level(_ status: HTTPResponse.Status, _ error: GatewayError?) -> Logger.Level {
        switch status.code {
        case 500...: .error
        case 401, 403, 429: .notice
        case 400...: error == nil ? .debug : .info
        default: .debug
        }
    }

    private func handles(_ key: Key) -> Handles {
        counters.withLock { counters in
            if let known = counters[key] { return known }
            let dimensions = [
                ("surface", surface.rawValue), ("method", key.method), ("path", key.path),
                ("status", String(key.status)),
            ]
            let made = Handles(
                count: Counter(label: "stile_gateway_requests", dimensions: dimensions),
                duration: Metrics.Timer(
                    label: "stile_gateway_request_seconds",
                    dimensions: [("surface", surface.rawValue), ("path", key.path)]))
            counters[key] = made
            return made
        }
    }
}
