// Growing bytes and name tables against what arrays and dictionaries say.

import Memory
import Testing

@Suite("memory")
struct MemoryTests {
    @Test("bytes keep what was appended, however often they grow")
    func growing() {
        var bytes = GrowableBytes(capacity: 1)
        var expected: [UInt8] = []
        for round in 0..<500 {
            bytes.append(UInt8(truncatingIfNeeded: round))
            expected.append(UInt8(truncatingIfNeeded: round))
            bytes.append(word: UInt32(round).bigEndian)
            for shift in [24, 16, 8, 0] { expected.append(UInt8(truncatingIfNeeded: round >> shift)) }
            bytes.append([1, 2, 3])
            expected += [1, 2, 3]
        }
        #expect(bytes.array == expected)
        let start = bytes.appendZeros(8)
        bytes.store(UInt64(7), at: start)
        #expect(bytes.load(at: start, as: UInt64.self) == 7)
        bytes.removeAll()
        #expect(bytes.count == 0 && bytes.array.isEmpty)
    }

    @Test("bytes put by a cursor and by a system call lie behind those in use")
    func extending() {
        var bytes = GrowableBytes(capacity: 16)
        bytes.append([9, 9, 9])
        bytes.extend(most: 300) { cursor in
            cursor.put(UInt16(0x0102).bigEndian)
            cursor.put([0x0605_0403, 0, 0, 0], first: 4)
            unsafe [UInt8](repeating: 7, count: 200).withUnsafeBytes { unsafe cursor.put($0) }
        }
        #expect(bytes.array == [9, 9, 9, 1, 2, 3, 4, 5, 6] + [UInt8](repeating: 7, count: 200))
        let got = unsafe bytes.fill(least: 5_000) { room in
            #expect(room.count >= 5_000)
            unsafe room.copyBytes(from: [1, 2])
            return 2
        }
        #expect(got == 2 && bytes.count == 211 && bytes.array.suffix(3) == [7, 1, 2])
        let failed = unsafe bytes.fill(least: 1) { _ in -1 }
        #expect(failed == -1 && bytes.count == 211, "a call that failed")
    }

    @Test("bytes in front are forgotten, and memory beyond what is kept is given back when none is in use")
    func forgetting() {
        var bytes = GrowableBytes(capacity: 16)
        bytes.append([UInt8](0..<200))
        bytes.removeFirst(150)
        #expect(bytes.array == [UInt8](150..<200))
        bytes.release(above: 16)
        #expect(bytes.array == [UInt8](150..<200), "given back in use")
        bytes.removeFirst(50)
        bytes.release(above: 16)
        bytes.append([1, 2, 3])
        #expect(bytes.array == [1, 2, 3])
        bytes.removeFirst(0)
        #expect(bytes.count == 3)
    }

    @Test("a table finds each of its names and no other, of any length")
    func names() {
        var generator = SystemRandomNumberGenerator()
        let letters = ["a", "b", "ä", "0"]
        func name(_ length: Int) -> String {
            (0..<length).map { _ in letters.randomElement(using: &generator) ?? "" }.joined()
        }
        let lists = [0, 1, 5, 200].map { count in (0..<count).map { _ in name(Int.random(in: 0...24)) } }
        let arena = NameArena(lists)
        for (index, list) in lists.enumerated() {
            let table = arena[index]
            for candidate in list { #expect(table[candidate] == list.firstIndex(of: candidate), "\(candidate)") }
            for _ in 0..<500 {
                let other = name(Int.random(in: 0...24))
                #expect(table[other] == list.firstIndex(of: other), "\(other)")
            }
        }
    }
}
