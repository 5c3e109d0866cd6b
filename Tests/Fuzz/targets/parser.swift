// Any bytes to the lexer, the parser and the formatter: nothing traps, and what parses is laid out once and for all.

import PolicyLanguage

/// One input: traps where it breaks something.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let file = SourceFile(name: "input.stile", text: unsafe text(start, count))
    let once: String
    do throws(FormatError) {
        once = try format(file)
    } catch {
        precondition(!error.diagnostics.isEmpty, "refused without a word")
        return 0
    }
    do throws(FormatError) {
        let twice = try format(SourceFile(name: "once.stile", text: once))
        precondition(once == twice, "the second layout is another:\n\(once)\n---\n\(twice)")
    } catch {
        fatalError("what the formatter writes does not parse: \(error.diagnostics[0].message)\n\(once)")
    }
    return 0
}
