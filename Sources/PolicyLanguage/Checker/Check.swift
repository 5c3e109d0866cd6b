// The front door of the language: files in, checked policies and findings out.

/// What checking a tenant's files gave.
package struct CheckResult: Sendable {
    /// Nil when any finding is an error.
    package var policies: CheckedPolicies?
    /// Everything found, in the order of the text.
    package var diagnostics: [Diagnostic]
}

/// What checking a catalog alone gave.
package struct CatalogResult: Sendable {
    /// Nil when any finding is an error.
    package var catalog: Catalog?
    /// Everything found.
    package var diagnostics: [Diagnostic]
}

/// Checks all files of a tenant: exactly one catalog among them, any number of policies and tests.
/// Never fails on text: whatever the files contain, the answer is findings.
package func checkPolicies(_ files: [SourceFile]) -> CheckResult {
    var sink = DiagnosticSink()
    guard let syntax = parseAll(files, &sink) else { return CheckResult(policies: nil, diagnostics: sink.sorted) }
    let catalogs = syntax.flatMap(\.catalogs)
    guard let catalogSyntax = onlyCatalog(catalogs, files, &sink) else {
        return CheckResult(policies: nil, diagnostics: sink.sorted)
    }
    let catalog = CatalogChecker.check(catalogSyntax, &sink)
    var checker = PolicyChecker(catalog: catalog, sink: sink)
    let checked = checker.check(syntax, files: files)
    sink = checker.sink
    return CheckResult(policies: sink.hasErrors ? nil : checked, diagnostics: sink.sorted)
}

/// Checks only the catalog among the files; policies may be wrong or absent.
package func checkCatalog(_ files: [SourceFile]) -> CatalogResult {
    var sink = DiagnosticSink()
    guard let syntax = parseAll(files, &sink),
        let catalogSyntax = onlyCatalog(syntax.flatMap(\.catalogs), files, &sink)
    else { return CatalogResult(catalog: nil, diagnostics: sink.sorted) }
    let catalog = CatalogChecker.check(catalogSyntax, &sink)
    return CatalogResult(catalog: sink.hasErrors ? nil : catalog, diagnostics: sink.sorted)
}

private func parseAll(_ files: [SourceFile], _ sink: inout DiagnosticSink) -> [FileSyntax]? {
    guard files.count <= LanguageLimits.maxFiles else {
        sink.report(.tooLarge, "\(files.count) files, above \(LanguageLimits.maxFiles)", at: .none, help: "join some")
        return nil
    }
    return files.enumerated().map { Parser.parse($1, index: $0, &sink) }
}

private func onlyCatalog(
    _ catalogs: [CatalogSyntax], _ files: [SourceFile], _ sink: inout DiagnosticSink
) -> CatalogSyntax? {
    if catalogs.count > 1 {
        for extra in catalogs.dropFirst() {
            sink.report(.catalogCount, "a second catalog", at: extra.name.range, help: "a tenant has one catalog")
        }
    }
    guard let catalog = catalogs.first else {
        if !sink.hasErrors {
            let names = files.map(\.name).joined(separator: ", ")
            sink.report(
                .catalogCount, "no catalog in \(names.isEmpty ? "no files" : names)", at: .none,
                help: "add a file with `catalog \"name\" version 1.0.0 { … }`")
        }
        return nil
    }
    return catalog
}

extension DiagnosticSink {
    /// Findings in the order of the text.
    var sorted: [Diagnostic] {
        diagnostics.sorted {
            ($0.range.file, $0.range.start, $0.code.rawValue) < ($1.range.file, $1.range.start, $1.code.rawValue)
        }
    }
}
