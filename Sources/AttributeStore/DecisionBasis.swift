// What a decision was made by that something is to be written after: so that the writer can tell whether it still stands.

/// The snapshot of a decision, and whom it was about.
package struct DecisionBasis: Sendable {
    /// The log's last entry in the snapshot.
    package var sequence: UInt64
    package var generations: Generations
    /// Hashes of those whose records were read (`EntityHash`).
    private let entities: Set<UInt64>

    /// - Parameter entities: those whose records were read: the subject, its session, its device.
    package init(sequence: UInt64, generations: Generations, entities: [EntityName]) {
        self.sequence = sequence
        self.generations = generations
        self.entities = Set(entities.map { EntityHash.of($0) })
    }

    /// True when a change of the log is one of what was read.
    func isAbout(_ touch: Touch) -> Bool {
        switch touch {
        case .entity(let hash): entities.contains(hash)
        case .everything: true
        }
    }
}
