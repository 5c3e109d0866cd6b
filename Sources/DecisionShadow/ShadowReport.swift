// A tenant's candidate and its figures, for programs: the tool and the administration's API say the same.

package import AttributeStore
import PolicyLanguage
package import StrictJSON

/// How a tenant's candidate stands.
package struct ShadowReport: Sendable {
    package let tenant: String
    /// The candidate; nil when there is none.
    package let candidacy: Candidacy?
    /// What its decisions were like, or without a candidate those of the last one; nil before anything was written.
    package let tally: ShadowTally?

    /// - Parameter reader: of the tenant, with a snapshot at hand.
    package init(_ store: Store, tenant: String, _ reader: inout TenantReader) throws(StoreError) {
        self.tenant = tenant
        candidacy = try reader.candidate()
        let place = ShadowPlace(store, tenant: tenant)
        tally = candidacy.map { place.tally($0.number) } ?? place.last
    }

    /// All of it as one object.
    package func json(withDifferences: Bool) -> JSONValue {
        var figures = tally?.json.object ?? []
        if !withDifferences { figures.removeAll { $0.name == "differences" } }
        return .object([
            "tenant": .string(tenant),
            "candidate": candidacy.map {
                .object([
                    "version": .integer($0.version), "since": .string(Instant.format($0.at)),
                    "author": .string($0.author), "candidacy": .integer($0.number),
                ])
            } ?? .null,
            "figures": tally == nil ? .null : .object(figures),
        ])
    }
}
