// What a caller may be.

/// The role of a caller; each credential has one.
package enum Role: String, Sendable, Hashable, CaseIterable {
    /// Asks for decisions: a policy enforcement point.
    case pep
    /// Provisions people and groups.
    case provisioner
    /// Sends signals.
    case transmitter
    /// Writes a tenant's policies, resources, sessions and callers.
    case tenantAdmin = "tenant-admin"
    /// Makes tenants and their first callers; sees no tenant's data.
    case `operator`
    /// Reads what the tenant's administrator can read.
    case auditor

    /// The word in a credential, after `stile_`.
    var mark: String { self == .tenantAdmin ? "admin" : rawValue }

    /// True for the role that is no tenant's.
    package var isOfAllTenants: Bool { self == .operator }
}
