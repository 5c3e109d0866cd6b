// Paths as URIs (RFC 3986, RFC 8089).

/// What a report calls a file.
package struct ArtifactLocation: Sendable, Hashable {
    /// A relative reference, or a `file:` URI for what lies elsewhere.
    package var uri: String
    package var isRelative: Bool

    /// - Parameters:
    ///   - path: as given on the command line.
    ///   - directory: the absolute path of the directory that relative ones start from. A file below it gets a relative
    ///     reference, so that a log made on one machine means something on another.
    package init(path: String, directory: String) {
        let base = Self.parts(directory)
        let parts = Self.parts(path.hasPrefix("/") ? path : directory + "/" + path)
        isRelative = parts.count > base.count && parts.starts(with: base)
        if isRelative {
            uri = FileURI.encoded(parts[base.count...].joined(separator: "/"))
        } else {
            uri = FileURI.uri("/" + parts.joined(separator: "/"))
        }
    }

    /// The names of an absolute path, `.` and `..` resolved.
    private static func parts(_ path: String) -> [String] {
        var parts: [String] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(String(part)) }
        }
        return parts
    }
}

/// `file:` URIs.
package enum FileURI {
    /// The URI of an absolute path.
    package static func uri(_ path: String) -> String { "file://" + encoded(path) }

    /// The path of a `file:` URI of this machine; nil for any other URI.
    package static func path(_ uri: String) -> String? {
        guard uri.lowercased().hasPrefix("file://") else { return nil }
        let rest = uri.dropFirst("file://".count)
        guard let slash = rest.firstIndex(of: "/") else { return nil }
        let host = rest[..<slash].lowercased()
        guard host.isEmpty || host == "localhost" else { return nil }
        return decoded(rest[slash...].prefix { $0 != "?" && $0 != "#" })
    }

    /// A path with all but unreserved characters and slashes as percent escapes.
    package static func encoded(_ path: String) -> String {
        var text = ""
        for byte in path.utf8 {
            let scalar = Unicode.Scalar(byte)
            let isPlain = scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
            if isPlain || "-._~/".unicodeScalars.contains(scalar) {
                text.unicodeScalars.append(scalar)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                text += digits.utf8.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return text
    }

    /// The text of percent escapes; nil when they are cut short or no UTF-8.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
