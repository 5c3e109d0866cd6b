// Rules that only ranges tell apart, such as `resource.total in 100...500`: found by bitmaps.
//
// For each of up to four operands the numbers are cut at up to 63 bounds into blocks, and each block has a row of bits: one
// for each rule whose range reaches into the block (a last row is for no value at all). A question picks a row for each
// operand; the rules in all of them are few, and are tried in full. A node takes at most 65 rows of a bit for each rule and
// operand, whatever the ranges: it is as large as the text. Against a tree over the ranges' ends: n ranges on k operands
// cut the space into up to (2n)^k boxes.

import PolicyLanguage

/// A range of numbers of an operand, both ends included; empty when the least is above the most.
struct Bound {
    var operand: UInt32
    var least: Int64
    var most: Int64

    func intersection(_ other: Bound) -> Bound {
        Bound(operand: operand, least: max(least, other.least), most: min(most, other.most))
    }
}

/// One operand's blocks.
private struct Dimension {
    static let maxBlocks = 64
    let operand: UInt32
    /// Where blocks begin, ascending; what is below the first is a block as well.
    private(set) var cuts: [Int64] = []
    /// Rows of `rowWords` words: one for each block, then one for no value.
    private(set) var rows: [UInt64]
    /// The share of bits that are set.
    private(set) var density = 0.0
    private let rowWords: Int

    init(_ operand: UInt32, _ bounds: [Bound?]) {
        self.operand = operand
        rowWords = (bounds.count + 63) / 64
        let blocks = min(Self.maxBlocks, bounds.count / 2)
        var ends: [Int64] = []
        for case .some(let bound) in bounds where bound.least <= bound.most {
            if bound.least > .min { ends.append(bound.least) }
            if bound.most < .max { ends.append(bound.most + 1) }
        }
        ends.sort()
        for block in 1..<max(blocks, 2) where !ends.isEmpty {
            let cut = ends[min(ends.count - 1, block * ends.count / max(blocks, 2))]
            if cut != cuts.last { cuts.append(cut) }
        }
        rows = Array(repeating: 0, count: (cuts.count + 2) * rowWords)
        var bits = 0
        for (rule, bound) in bounds.enumerated() {
            var span = 0..<cuts.count + 2
            if let bound {
                span = bound.least > bound.most ? 0..<0 : block(of: bound.least)..<block(of: bound.most) + 1
            }
            bits += span.count
            for row in span { rows[row * rowWords + rule / 64] |= 1 << UInt64(rule % 64) }
        }
        density = Double(bits) / Double(bounds.count * (cuts.count + 2))
    }

    private func block(of value: Int64) -> Int {
        var low = 0
        var high = cuts.count
        while low < high {
            let middle = (low + high) / 2
            if cuts[middle] <= value { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension Compiler {
    /// A node that searches rules by their ranges.
    /// - Parameters:
    ///   - bounds: of each rule, by operand.
    ///   - branches: to each rule.
    /// - Returns: the branch to the node; nil when the ranges tell too little apart.
    mutating func emitBitmaps(_ bounds: [[Bound]], _ branches: [UInt64]) -> UInt64? {
        var counts: [UInt32: Int] = [:]
        for rule in bounds { for bound in rule { counts[bound.operand, default: 0] += 1 } }
        let candidates = counts.filter { $0.value * 2 >= bounds.count }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(8)
        var dimensions = candidates.map { candidate in
            Dimension(candidate.key, bounds.map { $0.first { $0.operand == candidate.key } })
        }
        dimensions.sort { ($0.density, $0.operand) < ($1.density, $1.operand) }
        dimensions = dimensions.prefix(4).filter { $0.density < 0.75 }
        guard let last = dimensions.last else { return nil }
        // The evaluator always takes four rows: one of them several times does no harm.
        while dimensions.count < 4 { dimensions.append(last) }

        alignForBranches()
        let list = here
        for branch in branches { appendBranch(branch) }
        var places: [UInt32: (cuts: UInt32, rows: UInt32)] = [:]
        for dimension in dimensions where places[dimension.operand] == nil {
            let cuts = here
            for cut in dimension.cuts { appendBranch(UInt64(bitPattern: cut)) }
            places[dimension.operand] = (cuts, here)
            for row in dimension.rows { appendBranch(row) }
        }
        let offset = here
        words += [
            NodeKind.bitmaps.rawValue, UInt32((branches.count + 63) / 64), UInt32(branches.count), 0, list, 0, 0, 0,
        ]
        for dimension in dimensions {
            let place = places[dimension.operand] ?? (0, 0)
            words += [dimension.operand, UInt32(dimension.cuts.count), place.cuts, place.rows]
        }
        return UInt64(offset)
    }
}
