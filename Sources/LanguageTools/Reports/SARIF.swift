// SARIF 2.1.0 (OASIS Static Analysis Results Interchange Format): what code scanning services and editors read.

import PolicyLanguage
package import StrictJSON

extension DiagnosticReport {
    /// The log of `stile check --format sarif`: one run; every code that there is as a rule with its help; a result for
    /// each finding, with region and related places; artifacts relative to where the command ran.
    package var sarif: JSONValue {
        .object([
            "$schema": .string(Self.schema), "version": .string("2.1.0"), "runs": .array([run]),
        ])
    }

    /// The schema that OASIS publishes for this version of the format.
    private static let schema =
        "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

    private var run: JSONValue {
        .object([
            "tool": .object(["driver": driver]),
            "columnKind": .string("unicodeCodePoints"),
            "invocations": .array([
                .object(["executionSuccessful": .bool(true), "exitCode": .integer(exitCode)])
            ]),
            "artifacts": .array(
                zip(files, locations).map { file, location in
                    .object([
                        "location": location.sarif(index: nil), "length": .integer(file.text.utf8.count),
                        "encoding": .string("UTF-8"), "sourceLanguage": .string("stile"),
                    ])
                }),
            "results": .array(diagnostics.map(result)),
        ])
    }

    private var driver: JSONValue {
        .object([
            "name": .string("stile"), "version": .string(version), "semanticVersion": .string(version),
            "rules": .array(DiagnosticCode.allCases.map(rule)),
        ])
    }

    private func rule(_ code: DiagnosticCode) -> JSONValue {
        .object([
            "id": .string(code.rawValue), "name": .string("\(code)"),
            "shortDescription": .object(["text": .string(code.title)]),
            "fullDescription": .object(["text": .string(code.explanation)]),
            "help": .object(["text": .string(code.explanation), "markdown": .string(code.explanation)]),
            "defaultConfiguration": .object(["level": .string(code.severity.rawValue)]),
        ])
    }

    private func result(_ diagnostic: Diagnostic) -> JSONValue {
        let text = diagnostic.message + (diagnostic.help.map { ": \($0)" } ?? "")
        var members = [
            JSONMember("ruleId", .string(diagnostic.code.rawValue)),
            JSONMember("ruleIndex", .integer(DiagnosticCode.allCases.firstIndex(of: diagnostic.code) ?? -1)),
            JSONMember("level", .string(diagnostic.severity.rawValue)),
            JSONMember("message", .object(["text": .string(text)])),
            // A finding about the files as a whole has no place.
            JSONMember("locations", .array([location(diagnostic.range, nil, id: nil)].compactMap { $0 })),
        ]
        let related = diagnostic.related.enumerated().compactMap { location($1.range, $1.message, id: $0) }
        if !related.isEmpty { members.append(JSONMember("relatedLocations", .array(related))) }
        return .object(members)
    }

    private func location(_ range: SourceRange, _ message: String?, id: Int?) -> JSONValue? {
        guard let span = span(range) else { return nil }
        let physical = JSONValue.object([
            "artifactLocation": locations[Int(range.file)].sarif(index: Int(range.file)),
            "region": .object([
                "startLine": .integer(span.start.line + 1), "startColumn": .integer(span.start.column + 1),
                "endLine": .integer(span.end.line + 1), "endColumn": .integer(span.end.column + 1),
                "byteOffset": .integer(range.start), "byteLength": .integer(range.end - range.start),
            ]),
        ])
        var members = [JSONMember("physicalLocation", physical)]
        if let id { members.insert(JSONMember("id", .integer(id)), at: 0) }
        if let message { members.append(JSONMember("message", .object(["text": .string(message)]))) }
        return .object(members)
    }
}

extension ArtifactLocation {
    fileprivate func sarif(index: Int?) -> JSONValue {
        var members = [JSONMember("uri", .string(uri))]
        if isRelative { members.append(JSONMember("uriBaseId", .string("%SRCROOT%"))) }
        if let index { members.append(JSONMember("index", .integer(index))) }
        return .object(members)
    }
}
