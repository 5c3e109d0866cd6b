// The base protocol of LSP 3.17: a header with Content-Length, an empty line, a body of so many bytes.

/// Cuts a stream of bytes into messages. What is too large or no header is told and passed over, never kept.
package struct MessageFramer: Sendable {
    /// Limits of what is read.
    package enum Limits {
        /// Bytes of a message's body: the largest file (`LanguageLimits.maxFileBytes`), each byte of it escaped.
        package static let maxBody = 32 << 20
        /// Bytes of a header.
        package static let maxHeader = 8 << 10
    }

    /// What the stream held.
    package enum Frame: Sendable, Hashable {
        case body([UInt8])
        /// A message above `maxBody`; its body is passed over.
        case oversized(Int)
        /// A header without a length that can be read; what follows is looked at as the next header.
        case badHeader(String)
        /// A header without end: nothing that follows can be told apart any more.
        case lost
    }

    private var buffer: [UInt8] = []
    private var start = 0
    /// Bytes of a body that is passed over and has not come yet.
    private var skipping = 0
    private var isLost = false

    package init() {}

    /// Takes the next bytes of the stream.
    package mutating func append(_ bytes: some Collection<UInt8>) {
        if isLost { return }
        let passed = min(skipping, bytes.count)
        skipping -= passed
        if start > 0, start == buffer.count || start > 1 << 16 {
            buffer.removeSubrange(..<start)
            start = 0
        }
        buffer += bytes.dropFirst(passed)
    }

    /// The next message, or what is wrong; nil until more bytes come.
    package mutating func next() -> Frame? {
        if isLost { return nil }
        guard let end = headerEnd() else {
            if buffer.count - start <= Limits.maxHeader { return nil }
            isLost = true
            return .lost
        }
        let header = String(decoding: buffer[start..<end], as: UTF8.self)
        let bodyStart = end + 4
        guard let length = Self.length(header) else {
            start = bodyStart
            return .badHeader(String(header.prefix(80)))
        }
        guard length <= Limits.maxBody else {
            let present = min(length, buffer.count - bodyStart)
            start = bodyStart + present
            skipping = length - present
            return .oversized(length)
        }
        guard buffer.count - bodyStart >= length else { return nil }
        start = bodyStart + length
        return .body(Array(buffer[bodyStart..<start]))
    }

    /// Where the empty line behind a header starts.
    private func headerEnd() -> Int? {
        let limit = min(buffer.count, start + Limits.maxHeader + 4)
        var place = start
        while place + 4 <= limit {
            if buffer[place] == 0x0d, buffer[place + 1] == 0x0a, buffer[place + 2] == 0x0d, buffer[place + 3] == 0x0a {
                return place
            }
            place += 1
        }
        return nil
    }

    private static func length(_ header: String) -> Int? {
        var length: Int?
        for line in header.split(separator: "\r\n") {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            guard line[..<colon].lowercased() == "content-length" else { continue }
            guard length == nil, value.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(value) else {
                return nil
            }
            length = number
        }
        return length
    }

    /// A message as it goes out.
    package static func framed(_ body: String) -> String { "Content-Length: \(body.utf8.count)\r\n\r\n\(body)" }
}
