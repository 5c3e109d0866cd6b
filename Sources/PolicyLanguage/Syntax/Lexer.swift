// Bytes to tokens (grammar/stile.ebnf, "Tokens"). A value over an array of bytes: no state but the position.

/// A token with its place. `text` is the spelling for names and the value for texts.
struct Token: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case name
        case text
        case integer(Int64)
        /// A number with a point, in millionths.
        case decimal(Int64)
        case duration(Int64)
        case address(IPAddress)
        case network(IPNetwork)
        case instant(Int64)
        /// `2.1.0`
        case version
        /// `{ } ( ) [ ] , : . ? = == != < <= > >= ?? ... - +`, and `* / %`, which the parser refuses.
        case symbol
        case comment
        case end
    }

    var kind: Kind
    var text: String
    var range: SourceRange
    /// Line breaks between the token before and this one.
    var breaksBefore: Int

    func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
    func isName(_ name: String) -> Bool { kind == .name && text == name }
}

/// Cuts one file into tokens.
struct Lexer {
    private let bytes: [UInt8]
    private let file: Int32
    private var position = 0
    private var line: Int32 = 1
    private var lineStart = 0
    private var sink: DiagnosticSink
    /// Line breaks before a character that was skipped.
    private var pendingBreaks = 0
    /// A place on the current line and its column, so that a long line is not counted from its start again and again.
    private var counted = (place: 0, column: Int32(1))

    private init(_ text: String, file: Int32, _ sink: DiagnosticSink) {
        bytes = Array(text.utf8)
        self.file = file
        self.sink = sink
    }

    /// All tokens, the last of kind `end`; comments only when asked for.
    static func tokens(
        of source: SourceFile, index: Int, comments: Bool = false, _ sink: inout DiagnosticSink
    ) -> [Token] {
        guard source.text.utf8.count <= LanguageLimits.maxFileBytes else {
            let range = SourceRange(file: Int32(index), start: 0, end: 0, line: 1, column: 1)
            sink.report(
                .tooLarge, "\(source.name) has \(source.text.utf8.count) bytes, above \(LanguageLimits.maxFileBytes)",
                at: range, help: "split the file")
            return [Token(kind: .end, text: "", range: range, breaksBefore: 0)]
        }
        var lexer = Lexer(source.text, file: Int32(index), sink)
        var tokens: [Token] = []
        tokens.reserveCapacity(source.text.utf8.count / 5)
        while true {
            var token = lexer.next()
            if lexer.sink.isFull { token.kind = .end }
            if token.kind == .comment && !comments { continue }
            tokens.append(token)
            if token.kind == .end { break }
        }
        sink = lexer.sink
        return tokens
    }

    private mutating func next() -> Token {
        while true {
            let breaks = skipSpace()
            guard position < bytes.count else { return make(.end, "", position, breaks) }
            let start = position
            let byte = bytes[position]
            if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "/") { return comment(breaks) }
            if byte == UInt8(ascii: "\"") { return text(breaks) }
            if Self.isDigit(byte) || looksLikeAddress() { return number(breaks) }
            if Self.isNameStart(byte) {
                while position < bytes.count, Self.isNamePart(bytes[position]) { position += 1 }
                if position - start > LanguageLimits.maxStringBytes {
                    sink.report(
                        .tooLarge, "this name has \(position - start) bytes, above \(LanguageLimits.maxStringBytes)",
                        at: range(start), help: "shorten it")
                    position = start + LanguageLimits.maxStringBytes
                }
                return make(.name, String(decoding: bytes[start..<position], as: UTF8.self), start, breaks)
            }
            if skipForeign() {
                pendingBreaks = breaks
                continue
            }
            for symbol in Self.symbols where matches(symbol) {
                position += symbol.count
                return make(.symbol, String(decoding: symbol, as: UTF8.self), start, breaks)
            }
            if let token = foreign(breaks) { return token }
            skipOddCharacter(start)
            pendingBreaks = breaks
        }
    }

    private static let symbols: [[UInt8]] = [
        "...", "==", "!=", "<=", ">=", "??", "{", "}", "(", ")", "[", "]", ",", ":", ".", "?", "=", "<", ">", "-",
        "+", "*", "/", "%",
    ].map { Array($0.utf8) }

    private func matches(_ symbol: [UInt8]) -> Bool { starts(symbol, at: position) }

    private func starts(_ symbol: [UInt8], at place: Int) -> Bool {
        place + symbol.count <= bytes.count && bytes[place..<place + symbol.count].elementsEqual(symbol)
    }

    private func peek(_ offset: Int) -> UInt8? {
        position + offset < bytes.count ? bytes[position + offset] : nil
    }

    private mutating func skipSpace() -> Int {
        var breaks = pendingBreaks
        pendingBreaks = 0
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\n"):
                breaks += 1
                position += 1
                line += 1
                lineStart = position
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): position += 1
            default: return breaks
            }
        }
        return breaks
    }

    private mutating func skipOddCharacter(_ start: Int) {
        position += 1
        while position < bytes.count, bytes[position] & 0xc0 == 0x80 { position += 1 }
        let spelling = String(decoding: bytes[start..<position], as: UTF8.self)
        sink.report(
            .unexpectedCharacter, "`\(spelling)` starts nothing in this language", at: range(start),
            help: "remove it")
    }

    /// What other languages write, with the words of this one; it is read as if it were written well, so that it
    /// stays one mistake.
    private mutating func foreign(_ breaks: Int) -> Token? {
        let start = position
        // The first bytes of what is looked for; 0xe2 begins the quotes of books.
        guard [0x21, 0x26, 0x27, 0x7c, 0xe2].contains(bytes[start]) else { return nil }
        for (spelling, word) in Self.foreignWords where matches(spelling) {
            position += spelling.count
            let text = String(decoding: spelling, as: UTF8.self)
            sink.report(.foreignOperator, "`\(text)` is no operator here", at: range(start), help: "write `\(word)`")
            return make(.name, word, start, breaks)
        }
        for (opening, closing) in Self.foreignQuotes where matches(opening) {
            var end = position + opening.count
            let limit = min(bytes.count, end + 64)
            while end < limit, bytes[end] != UInt8(ascii: "\n"), !starts(closing, at: end) { end += 1 }
            guard starts(closing, at: end) else { continue }
            let text = String(decoding: bytes[position + opening.count..<end], as: UTF8.self)
            position = end + closing.count
            sink.report(
                .unexpectedCharacter, "texts stand in double quotes", at: range(start), help: "write \"\(text)\"")
            return make(.text, UnicodeText.normalized(text), start, breaks)
        }
        return nil
    }

    /// Skips what other languages write and this one does without; false when there is no such thing here.
    private mutating func skipForeign() -> Bool {
        let start = position
        guard [0x23, 0x2f, 0x3b].contains(bytes[start]) else { return false }
        if matches([UInt8(ascii: ";")]) {
            position += 1
            sink.report(
                .unexpectedCharacter, "`;` ends nothing in this language", at: range(start),
                help: "remove it: a rule ends where the next begins")
            return true
        }
        let isBlock = matches([UInt8(ascii: "/"), UInt8(ascii: "*")])
        guard isBlock || matches([UInt8(ascii: "#")]) else { return false }
        position += isBlock ? 2 : 1
        sink.report(
            .unexpectedCharacter, "`\(isBlock ? "/*" : "#")` starts no comment here", at: range(start),
            help: "start a comment with `//`; it ends with its line")
        while position < bytes.count {
            if isBlock, starts([UInt8(ascii: "*"), UInt8(ascii: "/")], at: position) {
                position += 2
                break
            }
            if bytes[position] == UInt8(ascii: "\n") {
                if !isBlock { break }
                line += 1
                lineStart = position + 1
            }
            position += 1
        }
        return true
    }

    private static let foreignWords = [("&&", "and"), ("||", "or"), ("&", "and"), ("|", "or"), ("!", "not")].map {
        (Array($0.0.utf8), $0.1)
    }
    private static let foreignQuotes = [
        ("'", "'"), ("\u{201c}", "\u{201d}"), ("\u{201e}", "\u{201c}"), ("\u{2018}", "\u{2019}"),
    ].map { (Array($0.0.utf8), Array($0.1.utf8)) }

    private mutating func comment(_ breaks: Int) -> Token {
        let start = position
        while position < bytes.count, bytes[position] != UInt8(ascii: "\n") { position += 1 }
        var end = position
        while end > start, [0x09, 0x0d, 0x20].contains(bytes[end - 1]) { end -= 1 }
        var token = make(.comment, String(decoding: bytes[start..<end], as: UTF8.self), start, breaks)
        token.range.end = Int32(end)
        return token
    }

    private mutating func text(_ breaks: Int) -> Token {
        let start = position
        position += 1
        var place = range(start)
        var value: [UInt8] = []
        while position < bytes.count, bytes[position] != UInt8(ascii: "\n") {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return finishText(value, place, breaks) }
            if byte == UInt8(ascii: "\\"), position < bytes.count, bytes[position] != UInt8(ascii: "\n") {
                let escaped = bytes[position]
                position += 1
                switch escaped {
                case UInt8(ascii: "n"): value.append(UInt8(ascii: "\n"))
                case UInt8(ascii: "t"): value.append(UInt8(ascii: "\t"))
                case UInt8(ascii: "\""), UInt8(ascii: "\\"): value.append(escaped)
                default:
                    sink.report(
                        .badEscape, "a text has no such escape", at: range(position - 2),
                        help: "write one of \\\" \\\\ \\n \\t; a backslash itself is \\\\")
                }
                continue
            }
            value.append(byte)
        }
        place.end = Int32(position)
        sink.report(
            .unterminatedString, "this text has no closing quote", at: place,
            help: "a text has a `\"` at both ends, on one line")
        return Token(
            kind: .text, text: String(decoding: value, as: UTF8.self), range: place, breaksBefore: breaks)
    }

    private mutating func finishText(_ value: [UInt8], _ opening: SourceRange, _ breaks: Int) -> Token {
        var place = opening
        place.end = Int32(position)
        if value.count > LanguageLimits.maxStringBytes {
            sink.report(
                .tooLarge, "this text has \(value.count) bytes, above \(LanguageLimits.maxStringBytes)",
                at: place, help: "shorten it")
        }
        let text = UnicodeText.normalized(String(decoding: value, as: UTF8.self))
        return Token(kind: .text, text: text, range: place, breaksBefore: breaks)
    }

    // MARK: Numbers and what looks like them

    private func looksLikeAddress() -> Bool {
        // `fd00::/8` starts with letters: hexadecimal digits and at least two colons, nothing else is that.
        var end = position
        var colons = 0
        while end < bytes.count, end - position < 46, Self.isHex(bytes[end]) || bytes[end] == UInt8(ascii: ":") {
            if bytes[end] == UInt8(ascii: ":") { colons += 1 }
            end += 1
        }
        return colons >= 2
    }

    private mutating func number(_ breaks: Int) -> Token {
        let start = position
        if let token = address(breaks) ?? instant(breaks) { return token }
        var spelling: [UInt8] = []
        var points = 0
        func digits(_ lexer: inout Lexer, _ spelling: inout [UInt8]) {
            while let byte = lexer.peek(0), Self.isDigit(byte) || (byte == UInt8(ascii: "_") && points == 0) {
                if byte != UInt8(ascii: "_") { spelling.append(byte) }
                lexer.position += 1
            }
        }
        digits(&self, &spelling)
        while peek(0) == UInt8(ascii: "."), let after = peek(1), Self.isDigit(after), points < 2 {
            points += 1
            spelling.append(UInt8(ascii: "."))
            position += 1
            digits(&self, &spelling)
        }
        if points == 2 { return make(.version, String(decoding: spelling, as: UTF8.self), start, breaks) }
        if let byte = peek(0), Self.isNameStart(byte) { return duration(spelling, start, breaks) }
        let text = String(decoding: spelling, as: UTF8.self)
        if points == 1 {
            if let value = Decimal6.parse(spelling) { return make(.decimal(value), text, start, breaks) }
        } else if let value = Int64(text) {
            return make(.integer(value), text, start, breaks)
        }
        let fraction = spelling.reversed().prefix { $0 != UInt8(ascii: ".") }.count
        if points == 1, fraction > 6 {
            sink.report(
                .badNumber, "`\(text)` has \(fraction) digits after the point", at: range(start),
                help: "use at most six: decimals are exact, never rounded")
        } else {
            sink.report(
                .badNumber, "`\(text)` is larger than this language counts", at: range(start),
                help: points == 1 ? "use a number below 9223372036854" : "use a number below 9223372036854775808")
        }
        return make(.integer(0), text, start, breaks)
    }

    private mutating func duration(_ first: [UInt8], _ start: Int, _ breaks: Int) -> Token {
        var total: Int64 = 0
        var spelling = first
        var isGood = true
        while true {
            let unitStart = position
            while let byte = peek(0), Self.isNameStart(byte) { position += 1 }
            let unit = String(decoding: bytes[unitStart..<position], as: UTF8.self)
            let size: [String: Int64] = [
                "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
            ]
            if let count = Int64(String(decoding: spelling, as: UTF8.self)), let factor = size[unit] {
                let (product, overflowed) = count.multipliedReportingOverflow(by: factor)
                let (sum, carried) = total.addingReportingOverflow(product)
                if overflowed || carried { isGood = false } else { total = sum }
            } else {
                isGood = false
            }
            spelling = []
            while let byte = peek(0), Self.isDigit(byte) {
                spelling.append(byte)
                position += 1
            }
            if spelling.isEmpty { break }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if !isGood {
            sink.report(
                .badDuration, "`\(text)` is no duration", at: range(start),
                help: "write durations as 500ms, 30s, 15m, 8h, 7d or 2w")
        }
        return make(.duration(total), text, start, breaks)
    }

    private mutating func address(_ breaks: Int) -> Token? {
        var end = position
        var points = 0
        var colons = 0
        while end < bytes.count, end - position < 50 {
            let byte = bytes[end]
            if byte == UInt8(ascii: ".") {
                // `0...5` is a range of numbers, not an address.
                guard end + 1 < bytes.count, Self.isDigit(bytes[end + 1]) else { break }
                points += 1
            } else if byte == UInt8(ascii: ":") {
                colons += 1
            } else if !Self.isHex(byte) {
                break
            }
            end += 1
        }
        guard points == 3 || colons >= 2 else { return nil }
        let start = position
        let spelling = bytes[start..<end]
        position = end
        let address = IPAddress(spelling)
        var prefix: Int?
        if peek(0) == UInt8(ascii: "/"), let digit = peek(1), Self.isDigit(digit) {
            position += 1
            let prefixStart = position
            while let byte = peek(0), Self.isDigit(byte) { position += 1 }
            prefix = Int(String(decoding: bytes[prefixStart..<position], as: UTF8.self)) ?? 1_000
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let address, (prefix ?? 0) <= (address.isIPv4 && colons == 0 ? 32 : 128) else {
            sink.report(
                .badAddress, "`\(text)` is no address and no network", at: range(start),
                help: address == nil
                    ? "write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
                    : "the number after `/` is at most \(colons == 0 ? 32 : 128)")
            return make(.address(IPAddress(high: 0, low: 0)), text, start, breaks)
        }
        guard let prefix else { return make(.address(address), text, start, breaks) }
        let bits = colons == 0 ? 96 + prefix : prefix
        return make(.network(IPNetwork(address: address, prefix: bits)), text, start, breaks)
    }

    private mutating func instant(_ breaks: Int) -> Token? {
        guard position + 10 < bytes.count, bytes[position + 4] == UInt8(ascii: "-"),
            bytes[position + 7] == UInt8(ascii: "-"), bytes[position..<position + 4].allSatisfy(Self.isDigit)
        else { return nil }
        let start = position
        var hasTime = false
        var hasOffset = false
        while let byte = peek(0) {
            let isSign = byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
            // `...` after an instant makes a range.
            let isPoint = byte == UInt8(ascii: ".") && peek(1).map(Self.isDigit) ?? false && !hasOffset
            guard
                Self.isDigit(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "T") || isPoint
                    || byte == UInt8(ascii: "Z") || (isSign && !hasOffset)
            else { break }
            if byte == UInt8(ascii: "T") { hasTime = true }
            if isSign, hasTime { hasOffset = true }
            position += 1
            // What follows `Z` is taken off or added: `2026-01-05T09:00:00Z-30d`.
            if byte == UInt8(ascii: "Z") { break }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Instant.parse(text) else {
            sink.report(
                .badInstant, "`\(text)` is no instant", at: range(start), help: Self.instantAdvice(text))
            return make(.instant(0), text, start, breaks)
        }
        return make(.instant(value), text, start, breaks)
    }

    private static func instantAdvice(_ text: String) -> String {
        if Instant.parse(text + "Z") != nil { return "say the zone: \(text)Z, or +01:00 instead of Z" }
        if Instant.parse(text + "T00:00:00Z") != nil { return "say the time and the zone: \(text)T00:00:00Z" }
        if text.utf8.count >= 20 { return "there is no such day or time; write it as 2026-01-05T09:00:00Z" }
        return "write it as 2026-01-05T09:00:00Z"
    }

    // MARK: Places

    private mutating func range(_ start: Int) -> SourceRange {
        if counted.place < lineStart || counted.place > start { counted = (lineStart, 1) }
        for index in counted.place..<max(start, counted.place) where bytes[index] & 0xc0 != 0x80 {
            counted.column += 1
        }
        counted.place = max(start, counted.place)
        return SourceRange(
            file: file, start: Int32(start), end: Int32(position), line: line, column: counted.column)
    }

    private mutating func make(_ kind: Token.Kind, _ text: String, _ start: Int, _ breaks: Int) -> Token {
        Token(kind: kind, text: text, range: range(start), breaksBefore: breaks)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isHex(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }
    private static func isNameStart(_ byte: UInt8) -> Bool {
        (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == UInt8(ascii: "_")
    }
    private static func isNamePart(_ byte: UInt8) -> Bool { isNameStart(byte) || isDigit(byte) }
}
