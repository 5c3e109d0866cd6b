// Any bytes as a tenant's files: findings and nothing else, each inside of its text, and all of them can be shown.

import PolicyLanguage

/// One input: traps where it breaks something.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let files = files(unsafe text(start, count))
    let result = checkPolicies(files)
    let hasErrors = result.diagnostics.contains { $0.severity == .error }
    precondition((result.policies == nil) == hasErrors, "policies and errors, or neither: \(result.diagnostics)")
    for diagnostic in result.diagnostics {
        let range = diagnostic.range
        guard range.file >= 0 else { continue }
        let length = files[Int(range.file)].text.utf8.count
        precondition(0 <= range.start && range.start <= range.end && Int(range.end) <= length, "\(diagnostic)")
    }
    precondition(DiagnosticRenderer(files: files, usesColor: false).render(result.diagnostics).utf8.count >= 0)
    return 0
}
