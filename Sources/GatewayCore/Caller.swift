// Who is calling, and over what.

package import AttributeStore
package import Credentials
import Synchronization

/// A caller whose credential was checked.
package struct Caller: Sendable, Hashable {
    /// How it showed who it is.
    package enum Proof: Sendable, Hashable {
        /// A bearer credential.
        case credential(UniqueID)
        /// The user of the system at the other end of a Unix socket.
        case user(UInt32)
    }

    package var proof: Proof
    package var role: Role
    /// The tenant it belongs to; nil for operators.
    package var tenant: String?
    /// ms since the epoch: what it may do ends here.
    package var expires: Int64

    package init(proof: Proof, role: Role, tenant: String?, expires: Int64) {
        self.proof = proof
        self.role = role
        self.tenant = tenant
        self.expires = expires
    }

    /// As it stands in the log and as author of versions: `credential 9b2d…`, `user 0`.
    package var name: String {
        switch proof {
        case .credential(let id): "credential \(id)"
        case .user(let user): "user \(user)"
        }
    }
}

/// Where a connection comes from.
package enum Peer: Sendable, Hashable, CustomStringConvertible {
    /// An address of the network.
    case address(String)
    /// A user of this system, over a Unix socket.
    case user(UInt32)
    /// The kernel does not say.
    case unknown

    package var description: String {
        switch self {
        case .address(let address): address
        case .user(let user): "user \(user)"
        case .unknown: "unknown"
        }
    }
}

/// A user of the system who needs no credential on a Unix socket.
package struct TrustedPeer: Sendable, Hashable {
    package var user: UInt32
    package var role: Role
    package var tenant: String?

    package init(user: UInt32, role: Role, tenant: String?) {
        self.user = user
        self.role = role
        self.tenant = tenant
    }
}

/// One connection, as its requests see it.
package final class ConnectionInfo: Sendable {
    /// The listener's name.
    package let listener: String
    package let peer: Peer
    /// True behind TLS.
    package let isSecure: Bool
    /// The address of the caller is the last one in `X-Forwarded-For`: a proxy of ours stands before the listener.
    package let isForwarded: Bool
    /// Users who need no credential here.
    package let trusted: [TrustedPeer]
    private let lastChecked = Mutex<CheckedHeader?>(nil)

    /// The credential that the connection showed last and what came of it.
    struct CheckedHeader {
        var header: String
        /// The control environment's commit that it was checked at: a revocation moves it.
        var generation: UInt64
        var caller: Caller
    }

    package init(listener: String, peer: Peer, isSecure: Bool, isForwarded: Bool, trusted: [TrustedPeer]) {
        self.listener = listener
        self.peer = peer
        self.isSecure = isSecure
        self.isForwarded = isForwarded
        self.trusted = trusted
    }

    func remembered(_ header: String, generation: UInt64) -> Caller? {
        lastChecked.withLock { checked in
            guard let checked, checked.generation == generation, checked.header == header else { return nil }
            return checked.caller
        }
    }

    func remember(_ header: String, generation: UInt64, _ caller: Caller) {
        lastChecked.withLock { $0 = CheckedHeader(header: header, generation: generation, caller: caller) }
    }
}
