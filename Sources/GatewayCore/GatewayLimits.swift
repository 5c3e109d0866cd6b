// Limits of what comes in over HTTP; each is told by the error that refuses.

/// Limits of requests.
package struct GatewayLimits: Sendable {
    /// Bytes of one header field.
    package var maxHeaderFieldBytes = 8 << 10
    /// Bytes of all header fields of a request, its path among them.
    package var maxHeaderBytes = 32 << 10
    /// Header fields of a request.
    package var maxHeaderFields = 100
    /// Bytes of a body, unless an endpoint says otherwise.
    package var maxBodyBytes = 1 << 20
    /// Milliseconds from a request's first byte to the end of its head.
    package var headTimeout: Int64 = 10_000
    /// Milliseconds from the head's end to the body's.
    package var bodyTimeout: Int64 = 30_000
    /// Milliseconds that a connection may lie idle.
    package var idleTimeout: Int64 = 75_000
    /// Milliseconds that a stopping gateway gives its callers to take their answers.
    package var drainTimeout: Int64 = 10_000
    /// Connections of one listener.
    package var maxConnections = 1_024
    /// Requests a second of one caller, and how many at once after a pause.
    package var callerRate = RateLimit(perSecond: 20_000, burst: 40_000)
    /// Requests a second of one address.
    package var addressRate = RateLimit(perSecond: 20_000, burst: 40_000)
    /// Refused credentials a second of one address.
    package var failureRate = RateLimit(perSecond: 1, burst: 20)
    /// Work on the store and the decision socket that waits for its turn.
    package var maxWaiting = 256
    /// Analyses of policies under way at once.
    package var maxAnalyses = 2
    /// Analyses that wait for their turn besides.
    package var maxWaitingAnalyses = 16
    /// Analyses of one tenant, under way or waiting.
    package var maxAnalysesOfTenant = 2

    package init() {}
}

/// A rate with room for bursts.
package struct RateLimit: Sendable, Hashable {
    package var perSecond: Double
    package var burst: Double

    package init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = burst
    }
}
