// CBOR: RFC 8949's own examples, round trips, and refusals.

import CBOR
import Testing

@Suite("CBOR")
struct CBORTests {
    /// RFC 8949 appendix A, the rows within the subset.
    static let examples: [(CBORValue, String)] = [
        (.unsigned(0), "00"), (.unsigned(23), "17"), (.unsigned(24), "1818"), (.unsigned(100), "1864"),
        (.unsigned(1000), "1903e8"), (.unsigned(1_000_000), "1a000f4240"),
        (.unsigned(1_000_000_000_000), "1b000000e8d4a51000"),
        (.unsigned(.max), "1bffffffffffffffff"), (.integer(-1), "20"), (.integer(-100), "3863"),
        (.integer(-1000), "3903e7"),
        (.bool(false), "f4"), (.bool(true), "f5"), (.null, "f6"), (.bytes([1, 2, 3, 4]), "4401020304"),
        (.text(""), "60"),
        (.text("IETF"), "6449455446"), (.text("\u{fc}"), "62c3bc"), (.text("\u{6c34}"), "63e6b0b4"), (.array([]), "80"),
        (.array([.unsigned(1), .array([.unsigned(2), .unsigned(3)])]), "8201820203"), (.map([]), "a0"),
        (.map([CBORPair(.unsigned(1), .unsigned(2)), CBORPair(.unsigned(3), .unsigned(4))]), "a201020304"),
        (.decimal(mantissa: 27315, exponent: -2), "c48221196ab3"),
    ]

    @Test("the examples of RFC 8949 appendix A", arguments: examples.indices)
    func appendixA(index: Int) throws {
        let (value, hex) = Self.examples[index]
        #expect(value.encoded.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == hex)
        #expect(try CBORValue.decode(value.encoded) == value)
    }

    @Test("map keys are written in order, whatever order they were given in")
    func order() {
        let one = CBORValue.map([
            CBORPair(.text("b"), .null), CBORPair(.unsigned(9), .null), CBORPair(.text("aa"), .null),
        ])
        #expect(one.encoded == [0xa3, 0x09, 0xf6, 0x61, 0x62, 0xf6, 0x62, 0x61, 0x61, 0xf6])
    }

    @Test(
        "encodings that are not deterministic are refused",
        arguments: [
            ([0x18, 0x17], CBORError.Code.notDeterministic), ([0x19, 0x00, 0xff], .notDeterministic),
            ([0x9f, 0xff], .indefiniteLength),
            ([0xa2, 0x01, 0x00, 0x01, 0x00], .keyOrder), ([0xa2, 0x02, 0x00, 0x01, 0x00], .keyOrder),
            ([0x62, 0xc3, 0x28], .notUTF8),
            ([0x63, 0xed, 0xa0, 0x80], .notUTF8), ([0x44, 0x01], .truncated),
            ([0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], .truncated),
            ([0x00, 0x00], .trailingBytes), ([], .truncated), ([0xf8, 0x20], .unsupported), ([0x1c], .unsupported),
        ] as [([UInt8], CBORError.Code)])
    func refused(bytes: [UInt8], code: CBORError.Code) {
        let error = #expect(throws: CBORError.self) { try CBORValue.decode(bytes) }
        #expect(error?.code == code)
    }

    @Test("deep nesting is refused")
    func depth() {
        let error = #expect(throws: CBORError.self) { try CBORValue.decode([UInt8](repeating: 0x81, count: 100_000)) }
        #expect(error?.code == .tooDeep)
    }

    @Test("random values come back, mutated bytes never trap")
    func random() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var state = seed
        func next(_ bound: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % bound
        }
        func value(_ depth: Int) -> CBORValue {
            switch next(depth == 0 ? 6 : 8) {
            case 0: return .unsigned(next(1 << 30) << next(34))
            case 1: return .integer(-1 - Int64(next(1 << 30)))
            case 2: return .bytes((0..<next(30)).map { UInt8($0) })
            case 3: return .text(String(repeating: "é", count: Int(next(20))))
            case 4: return .bool(next(2) == 0)
            case 5: return .decimal(mantissa: Int64(next(1000)), exponent: -2)
            case 6: return .array((0..<next(5)).map { _ in value(depth - 1) })
            default: return .map((0..<next(5)).map { CBORPair(.unsigned($0 * 7), value(depth - 1)) })
            }
        }
        for _ in 0..<3000 {
            let original = value(4)
            var bytes = original.encoded
            #expect(try CBORValue.decode(bytes) == original)
            bytes[Int(next(UInt64(bytes.count)))] = UInt8(next(256))
            if let other = try? CBORValue.decode(bytes) { #expect(other.encoded == bytes) }
        }
    }
}
