// Signed metadata (Authorization API 1.0, 9.2.1): the same members once more, in a JWT that says who says so.

import AttributeStore
import Cryptography
import StrictJSON

/// Signs metadata.
struct MetadataSigner: Sendable {
    /// How long a signature is good, in seconds.
    private static let life: Int64 = 86_400

    private let key: SigningKey
    /// The key's thumbprint (RFC 7638).
    private let id: String

    /// The key of a store, made when it is missing, in a file that its owner alone can read.
    init(_ store: Store) throws {
        let path = "\(store.path)/control/metadata.key"
        try KeyFile.make(path, what: "metadata")
        key = try SigningKey(
            secret: try KeyFile.read(path, what: "metadata", loss: "clients must be given the new public key"))
        let canonical = Self.point(key, among: [])
        id = Base64URL.encode(try Cryptography.sha256(Array(JSONValue.object(canonical).compact.utf8)))
    }

    /// The public key in the order of RFC 7638, with other members behind.
    private static func point(_ key: SigningKey, among others: [JSONMember]) -> [JSONMember] {
        [
            JSONMember("crv", .string("P-256")), JSONMember("kty", .string("EC")),
            JSONMember("x", .string(Base64URL.encode(key.x))), JSONMember("y", .string(Base64URL.encode(key.y))),
        ] + others
    }

    /// The public key as a set (RFC 7517 5).
    var keySet: JSONValue {
        let others = [
            JSONMember("kid", .string(id)), JSONMember("use", .string("sig")), JSONMember("alg", .string("ES256")),
        ]
        return .object(["keys": .array([.object(Self.point(key, among: others))])])
    }

    /// The members as a signed JWT (RFC 7519).
    /// - Parameters:
    ///   - issuer: who says so: the decision point.
    ///   - now: ms since the epoch.
    func sign(_ members: [JSONMember], issuer: String, now: Int64) throws(CryptographyError) -> String {
        let header = JSONValue.object(["alg": .string("ES256"), "kid": .string(id), "typ": .string("JWT")])
        let claims =
            [
                JSONMember("iss", .string(issuer)), JSONMember("iat", .integer(now / 1000)),
                JSONMember("exp", .integer(now / 1000 + Self.life)),
            ] + members
        let text = [header, .object(claims)].map { Base64URL.encode(Array($0.compact.utf8)) }.joined(separator: ".")
        return text + "." + Base64URL.encode(try key.sign(Array(text.utf8)))
    }
}
