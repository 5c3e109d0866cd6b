// What an API needs of the gateway, in one value that every room is given.

import AttributeStore
package import Credentials
package import DecisionPath
package import Logging

/// The stores, the decision socket, the credentials and the limits.
package struct GatewayServices: Sendable {
    /// The tenants' stores.
    package let tenancy: Tenancy
    /// The decision socket.
    package let decisions: DecisionClients
    /// The credentials of callers.
    package let desk: CredentialDesk
    /// What keeps a processor busy for seconds: analyses of policies.
    package let analyses: AnalysisWork
    /// Compiled policies of the tenants that analyses were about last.
    package let policies: KeptPolicies
    /// Where `stiled` logs decisions; nil for the store's own place.
    package let logDirectory: String?
    package let limits: GatewayLimits
    package let logger: Logger
    private let work: BlockingWork

    /// - Parameters:
    ///   - decisionSocket: the socket of `stiled`.
    ///   - logDirectory: where it logs decisions; nil for the store's own place.
    ///   - workers: threads for work that blocks.
    package init(
        desk: CredentialDesk, decisionSocket: String, logDirectory: String?, workers: Int, limits: GatewayLimits,
        logger: Logger
    ) {
        self.desk = desk
        self.logDirectory = logDirectory
        self.limits = limits
        self.logger = logger
        work = BlockingWork(threads: workers, limit: limits.maxWaiting)
        analyses = AnalysisWork(limits)
        policies = KeptPolicies(store: desk.book.store)
        tenancy = Tenancy(book: desk.book, work: work)
        decisions = DecisionClients(path: decisionSocket, work: work)
    }

    /// Ends the threads.
    package func stop() async {
        await analyses.stop()
        await work.stop()
    }
}
