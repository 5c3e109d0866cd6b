// Archives from outside: what tar writes is read, anything else is refused, and nothing traps.

import Testing

@testable import Administration

/// Writes archives, good and bad ones.
private struct Tar {
    var bytes: [UInt8] = []

    mutating func add(
        _ name: String, _ text: String, type: Character = "0", size: String? = nil, breaksChecksum: Bool = false
    ) {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ offset: Int) {
            header.replaceSubrange(offset..<(offset + text.utf8.count), with: text.utf8)
        }
        let octal = String(text.utf8.count, radix: 8)
        put(String(name.prefix(100)), 0)
        put("0000644", 100)
        put(size ?? String(repeating: "0", count: 11 - octal.count) + octal, 124)
        put("ustar", 257)
        put("00", 263)
        header[156] = UInt8(ascii: type.unicodeScalars.first ?? "0")
        var sum = 0
        for (index, byte) in header.enumerated() { sum += (148..<156).contains(index) ? 32 : Int(byte) }
        let digits = String(breaksChecksum ? sum + 1 : sum, radix: 8)
        put(String(repeating: "0", count: 6 - digits.count) + digits, 148)
        bytes += header + Array(text.utf8)
        while bytes.count % 512 != 0 { bytes.append(0) }
    }

    var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}

@Suite struct TarArchiveTests {
    private func names(_ bytes: [UInt8]) throws(TarError) -> [String] { try TarArchive(bytes).files.map(\.name) }

    @Test func filesAreReadFromFolders() throws {
        var tar = Tar()
        tar.add("./", "", type: "5")
        tar.add("./catalog.stile", "catalog")
        tar.add("data/users.jsonl", String(repeating: "x", count: 700))
        let archive = try TarArchive(tar.finished)
        #expect(archive.files.map(\.name) == ["catalog.stile", "data/users.jsonl"])
        #expect(archive.files[0].bytes.elementsEqual("catalog".utf8))
        #expect(archive.files[1].bytes.count == 700)
    }

    @Test(arguments: ["../a.stile", "/etc/a.stile", "x/../../a.stile"]) func namesThatLeadOutAreRefused(name: String) {
        var tar = Tar()
        tar.add(name, "x")
        #expect(throws: TarError.self) { try names(tar.finished) }
    }

    @Test(arguments: ["1", "2", "3", "6", "x", "L", "S"] as [Character]) func nothingButFilesAndFolders(type: Character)
    {
        var tar = Tar()
        tar.add("a.stile", "x", type: type)
        #expect(throws: TarError.self) { try names(tar.finished) }
    }

    @Test func damageIsSeen() {
        var tar = Tar()
        tar.add("a.stile", "x", breaksChecksum: true)
        #expect(throws: TarError.self) { try names(tar.finished) }
        #expect(throws: TarError.self) { try names([]) }
        #expect(throws: TarError.self) { try names([0x1f, 0x8b, 8]) }
        #expect(throws: TarError.self) { try names(Array(repeating: 7, count: 2048)) }
    }

    @Test(arguments: ["77777777777", "00000004000", "99999999999", "-0000000001"]) func sizesThatLieAreRefused(
        size: String
    ) {
        var tar = Tar()
        tar.add("a.stile", "x", size: size)
        #expect(throws: TarError.self) { try names(tar.finished) }
    }

    @Test func aNameOnlyOnce() {
        var tar = Tar()
        tar.add("a.stile", "x")
        tar.add("./a.stile", "y")
        #expect(throws: TarError.self) { try names(tar.finished) }
    }

    @Test func everyTruncationIsRefused() throws {
        var tar = Tar()
        tar.add("a.stile", String(repeating: "x", count: 600))
        for count in 0..<tar.bytes.count {
            #expect(throws: TarError.self) { try names(Array(tar.bytes.prefix(count))) }
        }
    }

    @Test func randomChangesNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        var tar = Tar()
        tar.add("a.stile", "x")
        tar.add("b/c.stile", "y")
        for _ in 0..<5_000 {
            var bytes = tar.finished
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? TarArchive(bytes)
        }
    }
}
