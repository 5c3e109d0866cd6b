// What `stile check` found, in the forms that programs read: one JSON document of our own, and SARIF.

package import PolicyLanguage
package import StrictJSON

/// Findings over the files they were found in.
package struct DiagnosticReport: Sendable {
    package var files: [SourceFile]
    /// For each file, what reports call it.
    package var locations: [ArtifactLocation]
    package var diagnostics: [Diagnostic]
    /// The tool's version.
    package var version: String
    /// How the run ends, written into the SARIF log.
    package var exitCode: Int32
    private let lines: [LineMap]
    private let renderer: DiagnosticRenderer

    /// - Parameter locations: one for each file.
    package init(
        files: [SourceFile], locations: [ArtifactLocation], diagnostics: [Diagnostic], version: String, exitCode: Int32
    ) {
        self.files = files
        self.locations = locations
        self.diagnostics = diagnostics
        self.version = version
        self.exitCode = exitCode
        lines = files.map { LineMap($0.text, unit: .utf32) }
        renderer = DiagnosticRenderer(files: files, usesColor: false)
    }

    /// The document of `stile check --format json`. Lines and columns count from 1, columns are Unicode scalars, `end` is
    /// the place behind the last character; `byte` counts from 0.
    /// - Parameter summary: members about the policies as a whole, written at the end.
    package func json(summary: [JSONMember] = []) -> JSONValue {
        let errors = diagnostics.filter { $0.severity == .error }.count
        return .object(
            [
                JSONMember("format", .string("stile-check/1")), JSONMember("columns", .string("unicode scalars")),
                JSONMember("valid", .bool(errors == 0)), JSONMember("errors", .integer(errors)),
                JSONMember("warnings", .integer(diagnostics.count - errors)),
                JSONMember("diagnostics", .array(diagnostics.map(json))),
            ] + summary)
    }

    /// The findings alone, each as it stands in the document, at most so many.
    package static func findings(
        _ diagnostics: [Diagnostic], in files: [SourceFile], atMost limit: Int = .max
    ) -> [JSONValue] {
        let report = Self(files: files, locations: [], diagnostics: [], version: "", exitCode: 0)
        return diagnostics.prefix(limit).map { report.json($0) }
    }

    private func json(_ diagnostic: Diagnostic) -> JSONValue {
        var members = [
            JSONMember("code", .string(diagnostic.code.rawValue)),
            JSONMember("severity", .string(diagnostic.severity.rawValue)),
            JSONMember("title", .string(diagnostic.code.title)),
            JSONMember("message", .string(diagnostic.message)),
        ]
        members += place(diagnostic.range)
        if let excerpt = renderer.excerpt(diagnostic.range) {
            members.append(
                JSONMember("excerpt", .object(["line": .string(excerpt.line), "carets": .string(excerpt.carets)])))
        }
        if let help = diagnostic.help { members.append(JSONMember("help", .string(help))) }
        if !diagnostic.related.isEmpty {
            let related = diagnostic.related.map {
                JSONValue.object([JSONMember("message", .string($0.message))] + place($0.range))
            }
            members.append(JSONMember("related", .array(related)))
        }
        return .object(members)
    }

    private func place(_ range: SourceRange) -> [JSONMember] {
        guard let span = span(range) else { return [] }
        func position(_ place: TextPosition, _ byte: Int32) -> JSONValue {
            .object([
                "line": .integer(place.line + 1), "column": .integer(place.column + 1), "byte": .integer(byte),
            ])
        }
        return [
            JSONMember("file", .string(files[Int(range.file)].name)),
            JSONMember(
                "range",
                .object(["start": position(span.start, range.start), "end": position(span.end, range.end)])),
        ]
    }

    /// Where a range begins and ends, from 0 in Unicode scalars; nil when it is in none of the files.
    func span(_ range: SourceRange) -> (start: TextPosition, end: TextPosition)? {
        guard files.indices.contains(Int(range.file)) else { return nil }
        let map = lines[Int(range.file)]
        return (map.position(of: Int(range.start)), map.position(of: Int(range.end)))
    }
}
