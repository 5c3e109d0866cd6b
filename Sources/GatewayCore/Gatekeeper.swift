// Lets callers in by their credential, at the rate that is theirs.

import AttributeStore
package import Credentials
import HTTPTypes
package import Hummingbird

/// Checks who calls.
package struct Gatekeeper: Sendable {
    private let desk: CredentialDesk
    private let callers: RateLimiter
    private let addresses: RateLimiter
    private let failures: RateLimiter

    package init(desk: CredentialDesk, limits: GatewayLimits) {
        self.desk = desk
        callers = RateLimiter(limits.callerRate)
        addresses = RateLimiter(limits.addressRate)
        failures = RateLimiter(limits.failureRate)
    }

    /// Holds an address to its rate, before anything else is done for it.
    /// - Throws: `too_many_requests`.
    package func admit(_ request: Request, _ context: GatewayContext) throws(GatewayError) {
        // Callers on the same machine that no proxy stands before are held to their callers' rate alone.
        guard let address = address(request, context.connection) else { return }
        if let seconds = addresses.take(address) { throw Self.slowDown(seconds, "this address") }
    }

    /// The caller of a request.
    /// - Throws: 401 without a good credential, 429 above the caller's rate, or when an address has shown too many
    ///   credentials that are no good.
    package func caller(_ request: Request, _ context: GatewayContext) throws(GatewayError) -> Caller {
        let caller: Caller
        do throws(GatewayError) {
            caller = try identify(request, context)
        } catch {
            if error.status == .unauthorized, request.headers.contains(.authorization),
                let seconds = failures.take(address(request, context.connection) ?? .init(context.connection.peer))
            {
                var refusal = Self.slowDown(seconds, "this address, after so many refused credentials")
                refusal.hidden = error.hidden
                throw refusal
            }
            throw error
        }
        if let seconds = callers.take(caller.proof) { throw Self.slowDown(seconds, "this caller") }
        return caller
    }

    private func identify(_ request: Request, _ context: GatewayContext) throws(GatewayError) -> Caller {
        let connection = context.connection
        guard let header = request.headers.value(.authorization) else {
            if case .user(let user) = connection.peer,
                let trusted = connection.trusted.first(where: { $0.user == user })
            {
                return Caller(proof: .user(user), role: trusted.role, tenant: trusted.tenant, expires: .max)
            }
            throw Self.unauthorized("a credential is needed: send Authorization: Bearer stile_…", nil)
        }
        let generation = desk.book.generation
        if let caller = connection.remembered(header, generation: generation), caller.expires > context.now {
            return caller
        }
        let caller = try check(header, context.now)
        connection.remember(header, generation: generation, caller)
        return caller
    }

    private func check(_ header: String, _ now: Int64) throws(GatewayError) -> Caller {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer", let token = BearerToken(String(parts[1])) else {
            throw Self.refused(.malformed, nil)
        }
        let result: Result<CredentialRecord, CredentialRefusal>
        do throws(CredentialError) {
            result = try desk.check(token, now: now)
        } catch {
            var failure = GatewayError(.serviceUnavailable, "store_unavailable", "credentials cannot be checked now")
            failure.hidden = error.description
            throw failure
        }
        switch result {
        case .success(let record):
            return Caller(
                proof: .credential(record.id), role: token.role, tenant: record.tenant, expires: record.expires)
        case .failure(let refusal): throw Self.refused(refusal, token.id)
        }
    }

    // MARK: Refusals

    private static func refused(_ refusal: CredentialRefusal, _ id: UniqueID?) -> GatewayError {
        // Which of the reasons it was helps only somebody who tries credentials; the log has it.
        unauthorized(
            "this credential is not accepted: it is not known here, or it has ended",
            "\(refusal.rawValue) credential" + (id.map { " \($0)" } ?? ""), code: "invalid_credential")
    }

    private static func unauthorized(
        _ message: String, _ hidden: String?, code: String = "unauthenticated"
    ) -> GatewayError {
        var error = GatewayError(.unauthorized, code, message)
        error.hidden = hidden
        // RFC 6750 3: no error code where no credential was shown.
        error.headers[.wwwAuthenticate] =
            hidden == nil ? "Bearer realm=\"stile\"" : "Bearer realm=\"stile\", error=\"invalid_token\""
        return error
    }

    private static func slowDown(_ seconds: Int, _ whose: String) -> GatewayError {
        var error = GatewayError(
            .tooManyRequests, "too_many_requests", "above the rate of \(whose): try again in \(seconds) s")
        error.headers[.retryAfter] = String(seconds)
        return error
    }

    // MARK: Addresses

    /// What a rate is counted by.
    private struct Address: Hashable {
        var text: String

        init(_ text: String) { self.text = text }
        init(_ peer: Peer) { text = peer.description }
    }

    private func address(_ request: Request, _ connection: ConnectionInfo) -> Address? {
        if connection.isForwarded, let list = request.headers.value(.forwardedFor) {
            // The last entry is the one that our own proxy wrote.
            let last = list.split(separator: ",").last.map { $0.filter { !$0.isWhitespace } } ?? ""
            return Address(Self.network(String(last.prefix(64))))
        }
        guard case .address(let address) = connection.peer else { return nil }
        return Address(Self.network(address))
    }

    /// Of an IPv6 address the network of 64 bits: one household has that many.
    static func network(_ address: String) -> String {
        guard address.utf8.contains(UInt8(ascii: ":")), !address.contains(".") else { return address }
        let halves = address.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard let gap = halves.firstIndex(of: ""), address.contains("::") else {
            return halves.prefix(4).joined(separator: ":") + "::/64"
        }
        let before = Array(halves[..<gap].filter { !$0.isEmpty })
        let after = Array(halves[gap...].filter { !$0.isEmpty })
        let zeros = Array(repeating: "0", count: max(0, 8 - before.count - after.count))
        return (before + zeros + after).prefix(4).joined(separator: ":") + "::/64"
    }
}
