// What holds among the atoms of a space whatever is asked: a number at most 5 is at most 7, a text has one value, equal
// values are held by the same sets. With these, the solver's models fail to exist in the world only for reasons that
// `TheoryCheck` looks at: sums, patterns, windows of time, counts.

/// Collects axioms for the atoms that some formulas depend on.
struct Axioms {
    private let space: RequestSpace
    private var circuit: Circuit { space.circuit }
    /// Formulas that are always true.
    private(set) var formulas: [Signal] = []
    /// Sets by cluster: those that are compared with one another.
    private(set) var setClusters: [SetCluster] = []
    /// Texts, addresses and references that are compared with one another.
    private(set) var equalityClusters: [[Int]] = []
    private let roots: [Signal]

    /// Sets that are compared with one another, and the elements by which they can differ.
    struct SetCluster {
        var sets: [Int]
        var constants: [Value] = []
        var scalars: [Int] = []
        var freshCount = 0
    }

    /// Pairwise exclusion up to this many alternatives, a chain above.
    private static let maxPairwise = 6

    init(_ space: RequestSpace, roots: [Signal]) {
        self.space = space
        self.roots = roots
        addSets()
        addEqualities()
        addScalars()
    }

    /// The atoms at hand so far.
    private var atoms: [Atom] { circuit.support(roots + formulas).compactMap { space.atoms[$0] } }

    // MARK: Sets

    private mutating func addSets() {
        var groups = Groups()
        var constants: [Int: [Value]] = [:]
        var scalars: [Int: [Int]] = [:]
        var extra: [Int: Int] = [:]
        let atoms = atoms
        for atom in atoms {
            switch atom {
            case .contains(let set, let value):
                groups.add(set)
                constants[set, default: []].append(value)
            case .containsVariable(let set, let element):
                groups.add(set)
                scalars[set, default: []].append(element)
            case .intersects(let one, let two), .subset(let one, of: let two):
                groups.join(one, two)
                extra[one, default: 0] += 1
            case .onlyOf(let set, let values):
                groups.add(set)
                constants[set, default: []] += values
                extra[set, default: 0] += 1
            default: break
            }
        }
        for set in countedSets(atoms) {
            groups.add(set)
            constants[set, default: []] += space.variables[set].universe ?? []
        }
        for sets in groups.lists {
            var cluster = SetCluster(sets: sets)
            for set in sets {
                for value in constants[set] ?? [] where !cluster.constants.contains(value) {
                    cluster.constants.append(value)
                }
                for scalar in scalars[set] ?? [] where !cluster.scalars.contains(scalar) {
                    cluster.scalars.append(scalar)
                }
            }
            let atomsOfCluster = sets.reduce(0) { $0 + (extra[$1] ?? 0) }
            if atomsOfCluster > 0 { cluster.freshCount = atomsOfCluster + sets.count }
            setClusters.append(cluster)
            addMembership(cluster)
            for atom in atoms { define(atom, cluster) }
        }
    }

    /// Sets whose number of elements is asked for.
    private func countedSets(_ atoms: [Atom]) -> [Int] {
        var sets: [Int] = []
        for variable in Self.numbers(atoms) {
            if case .count(of: let set) = space.variables[variable].key, !sets.contains(set) { sets.append(set) }
        }
        return sets
    }

    /// Variables that number atoms speak of.
    static func numbers(_ atoms: [Atom]) -> [Int] {
        var variables = Set<Int>()
        for atom in atoms {
            switch atom {
            case .atMost(let variable, _): variables.insert(variable)
            case .linear(let sum, _): for term in sum.terms { variables.insert(term.variable) }
            default: break
            }
        }
        return variables.sorted()
    }

    /// What is one element is held alike.
    private mutating func addMembership(_ cluster: SetCluster) {
        for set in cluster.sets {
            for value in cluster.constants { _ = space.contains(set, value) }
            for (index, scalar) in cluster.scalars.enumerated() {
                let holds = space.contains(set, variable: scalar)
                for value in cluster.constants {
                    formulas.append(
                        circuit.implies(space.equals(scalar, value), circuit.same(holds, space.contains(set, value))))
                }
                for other in cluster.scalars[..<index] {
                    formulas.append(
                        circuit.implies(
                            space.same(scalar, other), circuit.same(holds, space.contains(set, variable: other))))
                }
            }
        }
    }

    /// Comparisons of sets come down to their elements.
    private mutating func define(_ atom: Atom, _ cluster: SetCluster) {
        switch atom {
        case .intersects(let one, let two) where cluster.sets.contains(one):
            let shared = zip(members(one, cluster), members(two, cluster)).map { circuit.all([$0, $1]) }
            formulas.append(circuit.same(space.signal(atom), circuit.any(shared)))
        case .subset(let one, of: let two) where cluster.sets.contains(one):
            let kept = zip(members(one, cluster), members(two, cluster)).map { circuit.implies($0, $1) }
            formulas.append(circuit.same(space.signal(atom), circuit.all(kept)))
        case .onlyOf(let set, let values) where cluster.sets.contains(set):
            var parts = cluster.constants.filter { !values.contains($0) }.map { !space.contains(set, $0) }
            for scalar in cluster.scalars {
                parts.append(
                    circuit.implies(
                        space.contains(set, variable: scalar), circuit.any(values.map { space.equals(scalar, $0) })))
            }
            for fresh in 0..<cluster.freshCount { parts.append(!space.signal(.containsFresh(set, fresh))) }
            formulas.append(circuit.same(space.signal(atom), circuit.all(parts)))
        default: break
        }
    }

    /// Whether a set holds each element of its cluster, always in the same order.
    private func members(_ set: Int, _ cluster: SetCluster) -> [Signal] {
        cluster.constants.map { space.contains(set, $0) }
            + cluster.scalars.map { space.contains(set, variable: $0) }
            + (0..<cluster.freshCount).map { space.signal(.containsFresh(set, $0)) }
    }

    // MARK: Equality

    private mutating func addEqualities() {
        var groups = Groups()
        let atoms = atoms
        for atom in atoms { if case .same(let one, let two) = atom { groups.join(one, two) } }
        equalityClusters = groups.lists
        for cluster in equalityClusters {
            addTransitivity(cluster)
            for (index, one) in cluster.enumerated() {
                for two in cluster[..<index] { addCongruence(one, two, atoms, cluster) }
            }
        }
    }

    private mutating func addTransitivity(_ cluster: [Int]) {
        for one in cluster {
            for two in cluster where two > one {
                for three in cluster where three > two {
                    let sides = [space.same(one, two), space.same(two, three), space.same(one, three)]
                    for index in 0..<3 {
                        formulas.append(
                            circuit.implies(
                                circuit.all([sides[index], sides[(index + 1) % 3]]), sides[(index + 2) % 3]))
                    }
                }
            }
        }
    }

    private mutating func addCongruence(_ one: Int, _ two: Int, _ atoms: [Atom], _ cluster: [Int]) {
        let same = space.same(one, two)
        var points = Set<Int128>()
        for atom in atoms {
            switch atom {
            case .equals(let variable, let value) where cluster.contains(variable):
                let (here, there) = (space.equals(one, value), space.equals(two, value))
                formulas.append(circuit.implies(same, circuit.same(here, there)))
                formulas.append(circuit.implies(circuit.all([here, there]), same))
            case .like(let variable, let parts) where cluster.contains(variable):
                formulas.append(
                    circuit.implies(
                        same, circuit.same(space.signal(.like(one, parts)), space.signal(.like(two, parts)))))
            case .atMost(let variable, let bound) where cluster.contains(variable):
                formulas.append(
                    circuit.implies(same, circuit.same(space.atMost(one, bound), space.atMost(two, bound))))
                points.insert(bound)
            default: break
            }
        }
        for point in points where points.contains(point - 1) || point == Int128.min {
            formulas.append(
                circuit.implies(
                    circuit.all([space.equals(one, number: point), space.equals(two, number: point)]), same))
        }
    }

    // MARK: Single values

    private mutating func addScalars() {
        var constants: [Int: [Value]] = [:]
        var patterns: [Int: [[Text]]] = [:]
        var bounds: [Int: [Int128]] = [:]
        var hasAssurance = false
        let atoms = atoms
        for atom in atoms {
            switch atom {
            case .equals(let variable, let value): constants[variable, default: []].append(value)
            case .like(let variable, let parts): patterns[variable, default: []].append(parts)
            case .atMost(let variable, let bound): bounds[variable, default: []].append(bound)
            case .malformed(let variable):
                if let absent = space.known(.absent(variable)) {
                    formulas.append(!circuit.all([absent, space.signal(atom)]))
                }
            case .assurance: hasAssurance = true
            default: break
            }
        }
        for (variable, list) in bounds.sorted(by: { $0.key < $1.key }) {
            let ascending = Set(list).sorted()
            for (low, high) in zip(ascending, ascending.dropFirst()) {
                formulas.append(circuit.implies(space.atMost(variable, low), space.atMost(variable, high)))
            }
        }
        for (variable, list) in constants.sorted(by: { $0.key < $1.key }) {
            if space.variables[variable].sort == .enumeration {
                let cases = space.variables[variable].cases.map { space.equals(variable, .enumCase($0)) }
                formulas.append(circuit.any(cases))
                addAtMostOne(cases)
            } else {
                addAtMostOne(list.map { space.equals(variable, $0) })
            }
            for case .text(let text) in list {
                for parts in patterns[variable] ?? [] {
                    let like = space.signal(.like(variable, parts))
                    formulas.append(
                        circuit.implies(
                            space.equals(variable, .text(text)), TextPattern(parts).matches(text) ? like : !like))
                }
            }
        }
        if hasAssurance {
            let classes = space.assuranceClasses.indices.map { space.signal(.assurance($0)) }
            formulas.append(circuit.any(classes))
            addAtMostOne(classes)
        }
    }

    private mutating func addAtMostOne(_ signals: [Signal]) {
        if signals.count <= Self.maxPairwise {
            for (index, one) in signals.enumerated() {
                for two in signals[..<index] { formulas.append(!circuit.all([one, two])) }
            }
            return
        }
        // A chain that says whether one of those so far holds (Sinz 2005).
        var sofar = signals[0]
        for signal in signals.dropFirst() {
            formulas.append(!circuit.all([sofar, signal]))
            let next = circuit.input()
            formulas.append(circuit.implies(sofar, next))
            formulas.append(circuit.implies(signal, next))
            sofar = next
        }
    }
}

/// Things that belong together.
struct Groups {
    private var parents: [Int: Int] = [:]

    mutating func add(_ one: Int) { if parents[one] == nil { parents[one] = one } }

    mutating func join(_ one: Int, _ two: Int) {
        add(one)
        add(two)
        let (left, right) = (root(one), root(two))
        if left != right { parents[max(left, right)] = min(left, right) }
    }

    func root(_ one: Int) -> Int {
        var current = one
        while let parent = parents[current], parent != current { current = parent }
        return current
    }

    /// Each group ascending.
    var lists: [[Int]] {
        Dictionary(grouping: parents.keys.sorted(), by: root).sorted { $0.key < $1.key }.map(\.value)
    }
}
