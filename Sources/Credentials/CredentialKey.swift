// The key of the keyed hash that credentials are stored under: who reads the store's data alone can neither use nor
// test a credential.

package import AttributeStore
package import Cryptography

/// A key of 32 bytes in a file that its owner alone can read.
package struct CredentialKey: Sendable {
    let bytes: [UInt8]

    /// Where the key lies unless told otherwise.
    package static func defaultPath(_ store: Store) -> String { "\(store.path)/control/credential.key" }

    /// Reads the key.
    /// - Parameter makes: make the file when it is missing.
    /// - Throws: `permission_denied` for a file that others can read, `store_missing`, `store_damaged`.
    package init(path: String, makes: Bool) throws(StoreError) {
        if makes { try KeyFile.make(path, what: "credentials") }
        bytes = try KeyFile.read(path, what: "credentials", loss: "every credential has to be made anew")
    }

    /// A key for another purpose, from which this one cannot be found out.
    package func derived(for purpose: String) throws(CryptographyError) -> [UInt8] {
        try Cryptography.hmac(Array("stile/\(purpose)".utf8), key: bytes)
    }
}
