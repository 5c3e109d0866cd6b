// The hash that records of the store hold must stay what it was: it is computed here byte by byte.

import DecisionEngine
import Testing

@Suite("content hash")
struct ContentHashTests {
    private func mix(_ state: UInt64, _ word: UInt64) -> UInt64 {
        let product = (state ^ word) &* 0x9e37_79b9_7f4a_7c15
        return product ^ (product >> 29)
    }

    private func expected(_ bytes: [UInt8]) -> UInt64 {
        var state: UInt64 = 0x2545_f491_4f6c_dd1d ^ UInt64(bytes.count)
        var tail: UInt64 = 0
        for (index, byte) in bytes.enumerated() {
            tail |= UInt64(byte) << UInt64(index % 8 * 8)
            if index % 8 == 7 {
                state = mix(state, tail)
                tail = 0
            }
        }
        return mix(mix(state, tail), 0xd6e8_feb8_6659_fd93)
    }

    @Test("of any length it is that of its bytes, one after the other")
    func lengths() {
        for count in 0..<70 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 89 &+ 201) }
            let hash = unsafe bytes.withUnsafeBytes { unsafe ContentHash.hash($0) }
            #expect(hash == expected(bytes), "\(count) bytes")
        }
    }
}
