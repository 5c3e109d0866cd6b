// The references to rules that answers name, encoded beforehand, in plain memory: naming a rule is a copy and counts no
// reference.
//
// INVARIANT of this unsafe file: `bytes` and `ends` are allocations written in `init`, never changed after and freed with
// the object; the fragment of a rule lies between two of its ends. What `subscript` gives is used while the object lives.

import DecisionProtocol

/// Encoded references of all rules of a version.
@safe
final class RuleFragments: @unchecked Sendable {
    private let bytes: UnsafeMutableRawPointer
    private let ends: UnsafeMutablePointer<Int>
    private let count: Int

    /// - Parameter fragments: one for each rule.
    init(_ fragments: [[UInt8]]) {
        count = fragments.count
        unsafe bytes = .allocate(byteCount: max(1, fragments.reduce(0) { $0 + $1.count }), alignment: 8)
        unsafe ends = .allocate(capacity: count + 1)
        unsafe ends.initialize(repeating: 0, count: count + 1)
        var end = 0
        for (index, fragment) in fragments.enumerated() {
            unsafe (bytes + end).copyMemory(from: fragment, byteCount: fragment.count)
            end += fragment.count
            unsafe ends[index + 1] = end
        }
    }

    deinit {
        unsafe bytes.deallocate()
        unsafe ends.deallocate()
    }

    /// The reference to a rule.
    @inline(__always)
    subscript(_ rule: UInt32) -> UnsafeRawBufferPointer {
        let index = Int(rule)
        precondition(index < count, "a rule that the version does not have")
        let start = unsafe ends[index]
        return unsafe UnsafeRawBufferPointer(start: bytes + start, count: ends[index &+ 1] &- start)
    }
}
