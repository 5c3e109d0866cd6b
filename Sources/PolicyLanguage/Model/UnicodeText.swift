// NFC, so that texts compare by Unicode scalar whatever form their writer's keyboard made (UAX #15).

@_spi(_Unicode) import Swift

/// Normal forms of text.
package enum UnicodeText {
    /// The text in NFC. Text of ASCII alone, the usual case, is returned as it is.
    package static func normalized(_ text: String) -> String {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text }
        var scalars = String.UnicodeScalarView()
        scalars.append(contentsOf: text._nfc)
        return String(scalars)
    }
}
