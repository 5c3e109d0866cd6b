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
/// - Parameter warns: look for what is legal but wrong too; a daemon that starts has no use for it.
package func checkPolicies(_ files: [SourceFile], warns: Bool = true) -> CheckResult {
    var sink = DiagnosticSink()
    guard let syntax = parseAll(files, &sink) else { return CheckResult(policies: nil, diagnostics: sink.sorted) }
    let catalogs = syntax.flatMap(\.catalogs)
    let hasBrokenCatalog = catalogs.isEmpty && syntax.contains(where: \.hasBrokenCatalog)
    guard !hasBrokenCatalog, let catalogSyntax = onlyCatalog(catalogs, files, &sink) else {
        return CheckResult(policies: nil, diagnostics: sink.sorted)
    }
    var (catalog, broken) = CatalogChecker.check(catalogSyntax, &sink)
    // What stands outside of any block may belong to the catalog, and policies may be written in the words of another one.
    if catalogs.count > 1 || syntax.contains(where: \.hasBrokenCatalog) { broken.hasLostNames = true }
    sink.withheld = broken.withheld
    if syntax.contains(where: \.hasLostNames) { sink.withheld.formUnion([.unknownRole, .unknownName]) }
    var checker = PolicyChecker(catalog: catalog, broken: broken, sink: sink)
    let checked = checker.check(syntax, files: files)
    sink = checker.sink
    if warns, !sink.hasErrors { PolicyWarnings.find(in: checked, &sink) }
    return CheckResult(policies: sink.hasErrors ? nil : checked, diagnostics: sink.sorted)
}

/// Checks only the catalog among the files; policies may be wrong or absent.
package func checkCatalog(_ files: [SourceFile]) -> CatalogResult {
    var sink = DiagnosticSink()
    guard let syntax = parseAll(files, &sink) else { return CatalogResult(catalog: nil, diagnostics: sink.sorted) }
    let catalogs = syntax.flatMap(\.catalogs)
    let hasBrokenCatalog = catalogs.isEmpty && syntax.contains(where: \.hasBrokenCatalog)
    guard !hasBrokenCatalog, let catalogSyntax = onlyCatalog(catalogs, files, &sink) else {
        return CatalogResult(catalog: nil, diagnostics: sink.sorted)
    }
    let (catalog, _) = CatalogChecker.check(catalogSyntax, &sink)
    return CatalogResult(catalog: sink.hasErrors ? nil : catalog, diagnostics: sink.sorted)
}

func parseAll(_ files: [SourceFile], _ sink: inout DiagnosticSink) -> [FileSyntax]? {
    guard files.count <= LanguageLimits.maxFiles else {
        sink.report(.tooLarge, "\(files.count) files, above \(LanguageLimits.maxFiles)", at: .none, help: "join some")
        return nil
    }
    let bytes = files.reduce(0) { $0 + $1.text.utf8.count }
    guard bytes <= LanguageLimits.maxTotalBytes else {
        sink.report(
            .tooLarge, "\(bytes) bytes in all files, above \(LanguageLimits.maxTotalBytes)", at: .none,
            help: "drop what is not used")
        return nil
    }
    return files.enumerated().map { Parser.parse($1, index: $0, &sink) }
}

private func onlyCatalog(
    _ catalogs: [CatalogSyntax], _ files: [SourceFile], _ sink: inout DiagnosticSink
) -> CatalogSyntax? {
    if catalogs.count > 1 {
        for extra in catalogs.dropFirst() {
            let first = catalogs[0].range
            sink.report(
                .catalogCount, "a second catalog", at: extra.name.range,
                help: "a tenant has one catalog, and the first is at \(files[Int(first.file)].name):\(first.line)",
                related: [Diagnostic.Related("the first catalog", at: catalogs[0].name.range)])
        }
    }
    guard let catalog = catalogs.first else {
        let names = files.map(\.name).joined(separator: ", ")
        sink.report(
            .catalogCount, names.isEmpty ? "no files, so no catalog" : "no catalog in \(names)", at: .none,
            help: "add a file with `catalog \"name\" version 1.0.0 { … }`")
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
