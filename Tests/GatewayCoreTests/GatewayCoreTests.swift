// Rates, traces and names of callers.

import HTTPTypes
import StrictJSON
import Testing

@testable import GatewayCore

@Suite struct RateLimiterTests {
    @Test func aBurstThenTheRate() {
        let limiter = RateLimiter(RateLimit(perSecond: 10, burst: 5))
        for _ in 0..<5 { #expect(limiter.take("a", at: 1_000_000) == nil) }
        #expect(limiter.take("a", at: 1_000_000) == 1)
        #expect(limiter.take("a", at: 1_100_000) == nil)
        #expect(limiter.take("a", at: 1_100_000) != nil)
        #expect(limiter.take("b", at: 1_100_000) == nil)
    }

    @Test func itSaysHowLongToWait() {
        let limiter = RateLimiter(RateLimit(perSecond: 0.1, burst: 1))
        #expect(limiter.take("a", at: 0) == nil)
        #expect(limiter.take("a", at: 0) == 10)
    }

    @Test func itRemembersNoMoreThanItsLimit() {
        let limiter = RateLimiter(RateLimit(perSecond: 1, burst: 1), maxCallers: 160)
        for caller in 0..<10_000 { _ = limiter.take(caller, at: UInt64(caller)) }
        #expect(limiter.count <= 160)
    }

    @Test func aClockThatStandsStillGivesNothingAway() {
        let limiter = RateLimiter(RateLimit(perSecond: 1_000, burst: 1))
        #expect(limiter.take("a", at: 5_000_000) == nil)
        #expect(limiter.take("a", at: 4_000_000) != nil)
    }
}

@Suite struct AddressTests {
    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8::1", "2001:db8:0:0::/64"),
        ("::1", "0:0:0:0::/64"), ("fe80::", "fe80:0:0:0::/64"), ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
    ]) func ipv6IsCountedByNetwork(address: String, expected: String) {
        #expect(Gatekeeper.network(address) == expected)
    }
}

@Suite struct TraceContextTests {
    private func trace(_ parent: String) -> TraceContext? {
        var headers = HTTPFields()
        headers[.traceParent] = parent
        return TraceContext(headers)
    }

    @Test func aTraceIsPassedOn() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        #expect(trace(text)?.parent == text)
        #expect(trace(text)?.traceID == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(trace("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more") != nil)
    }

    @Test(arguments: [
        "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ]) func whatIsNoneIsLeftOut(text: String) { #expect(trace(text) == nil) }
}

@Suite struct PercentCodingTests {
    @Test(arguments: [("a", "a"), ("a%2Fb", "a/b"), ("%C3%A4", "ä"), ("%00", "\u{0}"), ("100%25", "100%")])
    func decodes(text: String, expected: String) { #expect(PercentCoding.decode(text) == expected) }

    @Test(arguments: ["%", "%4", "%zz", "%C3", "%FF%FE"]) func refuses(text: String) {
        #expect(PercentCoding.decode(text) == nil)
    }
}

@Suite struct ErrorStyleTests {
    @Test func anUnforeseenErrorTellsTheCallerNothing() throws {
        struct Secret: Error {}
        let error = GatewayError(any: Secret())
        let (body, type) = ErrorStyle.problem.render(error)
        #expect(type == "application/problem+json")
        #expect(!body.contains("Secret"))
        #expect(error.hidden?.contains("Secret") == true)
        #expect(try JSONValue.parse(body)["status"]?.integer == 500)
    }
}
