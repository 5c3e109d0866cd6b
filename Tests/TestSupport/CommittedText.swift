// A text that is made and committed: the committed one is held to the made one. STILE_RECORD=1 rewrites it.

import Glibc

/// A file of the package.
package struct CommittedText {
    private let file: String

    /// - Parameter path: from the package's folder.
    package init(_ path: String) {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        file = parts.joined(separator: "/") + "/" + path
    }

    /// The text as it is committed, after it was rewritten where STILE_RECORD asks for it; nil when it cannot be read.
    package func text(recording made: String) -> String? {
        if unsafe getenv("STILE_RECORD") != nil {
            guard let stream = unsafe fopen(file, "w") else { return nil }
            unsafe fputs(made, stream)
            unsafe fclose(stream)
        }
        guard let stream = unsafe fopen(file, "r") else { return nil }
        defer { unsafe fclose(stream) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe fread($0.baseAddress, 1, $0.count, stream) }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }
}
