// Reads a tar archive from outside (POSIX.1-1988 ustar, and what GNU tar and bsdtar write when told so): regular files
// and folders, nothing else, within limits.

import PolicyLanguage

/// Why an archive is refused.
struct TarError: Error {
    var message: String
}

/// The files of an archive.
struct TarArchive {
    /// Name, from the archive's root, and bytes.
    private(set) var files: [(name: String, bytes: ArraySlice<UInt8>)] = []
    private static let block = 512

    init(_ bytes: [UInt8]) throws(TarError) {
        if bytes.starts(with: [0x1f, 0x8b]) { throw TarError(message: "this is compressed: send the tar as it is") }
        var position = 0
        var names = Set<String>()
        while position + Self.block <= bytes.count {
            let header = bytes[position..<(position + Self.block)]
            position += Self.block
            if header.allSatisfy({ $0 == 0 }) {
                // Two empty blocks end an archive; what follows is padding.
                return
            }
            guard Self.hasChecksum(header) else { throw TarError(message: "this is no tar archive, or a damaged one") }
            let size = try Self.number(header, 124, 12, "size")
            guard size <= bytes.count - position else { throw TarError(message: "the archive is cut short") }
            let name = try Self.name(header)
            switch header[header.startIndex + 156] {
            case UInt8(ascii: "0"), 0:
                guard names.insert(name).inserted else { throw TarError(message: "\"\(name)\" is there twice") }
                guard files.count < LanguageLimits.maxFiles else {
                    throw TarError(message: "more than \(LanguageLimits.maxFiles) files")
                }
                files.append((name, bytes[position..<(position + size)]))
            case UInt8(ascii: "5"): break
            case UInt8(ascii: "g"): break
            case UInt8(ascii: "x"), UInt8(ascii: "L"), UInt8(ascii: "K"):
                throw TarError(message: "names are too long, or not plain: make the archive with --format=ustar")
            default: throw TarError(message: "\"\(name)\" is neither a file nor a folder: leave links and devices out")
            }
            position += (size + Self.block - 1) / Self.block * Self.block
        }
        throw TarError(message: "the archive is cut short: its end is missing")
    }

    private static func name(_ header: ArraySlice<UInt8>) throws(TarError) -> String {
        var text = try field(header, 0, 100)
        if Array(header.dropFirst(257).prefix(5)) == Array("ustar".utf8), header[header.startIndex + 262] == 0 {
            let prefix = try field(header, 345, 155)
            if !prefix.isEmpty { text = prefix + "/" + text }
        }
        var parts = text.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        parts.removeAll { $0 == "." }
        guard !text.hasPrefix("/"), !parts.contains("..") else {
            throw TarError(message: "\"\(text.prefix(100))\" leads out of the archive")
        }
        return parts.joined(separator: "/")
    }

    private static func field(_ header: ArraySlice<UInt8>, _ offset: Int, _ length: Int) throws(TarError) -> String {
        let bytes = header.dropFirst(offset).prefix(length).prefix { $0 != 0 }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw TarError(message: "a name in the archive is not UTF-8")
        }
        return text
    }

    /// Octal digits; anything else (GNU's form for huge files among it) is too large for us.
    private static func number(
        _ header: ArraySlice<UInt8>, _ offset: Int, _ length: Int, _ what: String
    ) throws(TarError) -> Int {
        var value = 0
        var hasDigit = false
        for byte in header.dropFirst(offset).prefix(length) {
            switch byte {
            case 0x30...0x37:
                value = value << 3 | Int(byte - 0x30)
                hasDigit = true
                guard value < 1 << 40 else { throw TarError(message: "a \(what) in the archive is too large") }
            case 0x20, 0: if hasDigit { return value }
            default: throw TarError(message: "a \(what) in the archive is no octal number")
            }
        }
        return value
    }

    /// The sum of the header's bytes, its own field as spaces.
    private static func hasChecksum(_ header: ArraySlice<UInt8>) -> Bool {
        var sum = 0
        for (index, byte) in header.enumerated() { sum += (148..<156).contains(index) ? 0x20 : Int(byte) }
        return (try? number(header, 148, 8, "checksum")) == sum
    }
}
