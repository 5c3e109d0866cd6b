// `stile catalog diff`: what a new catalog breaks, before it is accepted.

import ArgumentParser
import AttributeStore
import LanguageTools
import PolicyLanguage
import StrictJSON

struct CatalogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "catalog", abstract: "Compare versions of a catalog.", subcommands: [Diff.self])

    struct Diff: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what changes from one catalog to the next, and what of it breaks something.",
            discussion: """
                Each change has a stable code (`stile explain C0203`) and is compatible or breaking: breaking when \
                policies, questions or stored values that were right before can be wrong after it, or mean something \
                else. --policies checks policies against the new catalog; --store and --tenant look at what is stored.

                Exit codes: 0 nothing breaks; 1 a change breaks, policies have errors, or stored values do not fit; \
                65 a catalog cannot be read; 66 something to read is missing; 70 the store failed.
                """)

        @Argument(help: "The catalog before: its file or folder.")
        var old: String

        @Argument(help: "The catalog after: its file or folder.")
        var new: String

        @Option(help: "A folder or file of policies to check against the new catalog; a catalog in it is passed over.")
        var policies: String?

        @Option(help: "The store's directory.")
        var store: String?

        @Option(help: "The tenant whose stored values are looked at.")
        var tenant: String?

        @Option(help: "Examples of each kind of value that does not fit.")
        var examples = 5

        @OptionGroup var output: OutputOptions

        func validate() throws {
            if (store == nil) != (tenant == nil) { throw ValidationError("--store and --tenant come together") }
            guard (0...1_000).contains(examples) else { throw ValidationError("--examples is from 0 to 1000") }
        }

        func run() throws {
            let before = try CatalogText(old)
            let after = try CatalogText(new)
            let changes = CatalogChange.changes(from: before.catalog, before.index, to: after.catalog, after.index)
            var report = CatalogReport(before: before, after: after, changes: changes)
            if let policies { try report.check(policies) }
            if let store, let tenant { report.fit = try fit(after.catalog, before.catalog, store, tenant) }
            if output.json {
                print(report.json.compact)
            } else {
                Terminal.write(report.text)
            }
            if report.breaks { throw Exit.findings }
        }

        private func fit(
            _ catalog: Catalog, _ before: Catalog, _ store: String, _ tenant: String
        ) throws(ExitCode) -> CatalogFit {
            try withStore { () throws(StoreError) -> CatalogFit in
                var reader = try TenantReader(Store(path: store), tenant: tenant)
                try reader.renew()
                return try reader.fit(catalog, before: before, examples: examples, now: Terminal.nowMilliseconds)
            }
        }
    }
}

/// A catalog with its text.
struct CatalogText {
    let files: [SourceFile]
    let index: SymbolIndex
    let catalog: Catalog

    /// Reads a file or folder, or says what is wrong with it and ends.
    init(_ path: String) throws(ExitCode) {
        let files = try Files.policies([path])
        let result = checkCatalog(files)
        guard let catalog = result.catalog else {
            let errors = result.diagnostics.filter { $0.severity == .error }
            Terminal.write(DiagnosticRenderer(files: files, usesColor: false).render(errors), to: 2)
            throw Terminal.failure("\(path) has no catalog that can be read", Exit.data)
        }
        self.init(files, catalog)
    }

    init(_ files: [SourceFile], _ catalog: Catalog) {
        self.files = files
        self.catalog = catalog
        index = SymbolIndex(files)
    }
}

/// What is told of two catalogs.
struct CatalogReport {
    let before: CatalogText
    let after: CatalogText
    let changes: [CatalogChange]
    var fit: CatalogFit?
    private var checked: (files: [SourceFile], diagnostics: [Diagnostic])?

    init(before: CatalogText, after: CatalogText, changes: [CatalogChange]) {
        self.before = before
        self.after = after
        self.changes = changes
    }

    /// Something that was right before can be wrong now.
    var breaks: Bool {
        changes.contains { $0.code.isBreaking } || !(fit?.fits ?? true)
            || (checked?.diagnostics ?? []).contains { $0.severity == .error }
    }

    /// Checks policies against the new catalog.
    mutating func check(_ path: String) throws(ExitCode) {
        let catalog = after.files.enumerated().map { CatalogBlock.only(true, of: $1, after.index.outlines[$0]) }
        let policies = try Files.policies([path])
        let index = SymbolIndex(policies)
        let files =
            catalog.filter { $0.text.contains { !$0.isWhitespace } }
            + policies.enumerated().map { CatalogBlock.only(false, of: $1, index.outlines[$0]) }
        checked = (files, checkPolicies(files).diagnostics)
    }

    // MARK: For people

    var text: String {
        var text = changes.map(line).joined()
        let breaking = changes.filter { $0.code.isBreaking }.count
        text +=
            changes.isEmpty
            ? "no word of the catalog changes\n"
            : "\(changes.count) changes, \(breaking) of them breaking\n"
        if let checked {
            text +=
                "\n"
                + DiagnosticRenderer(files: checked.files, usesColor: Terminal.usesColor).render(checked.diagnostics)
            let errors = checked.diagnostics.filter { $0.severity == .error }.count
            text += "the policies have \(errors) errors under the new catalog\n"
        }
        if let fit {
            text += "\n" + (fit.fits ? "" : fit.description + "\n")
            text += "\(fit.looked) stored records looked at; \(fit.fits ? "all fit" : "not all fit")\n"
        }
        return text
    }

    /// The changes that break something.
    var breakingText: String { changes.filter { $0.code.isBreaking }.map(line).joined() }

    private func line(_ change: CatalogChange) -> String {
        let word =
            change.code.isBreaking ? Terminal.paint("breaking  ", "1;31") : Terminal.paint("compatible", "32")
        let place = place(change).map { "\($0.file):\($0.line):\($0.column): " } ?? ""
        return "\(word) \(change.code.rawValue)  \(change.message)\n           \(place)\(change.code.advice)\n"
    }

    private func place(_ change: CatalogChange) -> (file: String, line: Int32, column: Int32)? {
        let files = change.side == .old ? before.files : after.files
        guard files.indices.contains(Int(change.range.file)) else { return nil }
        return (
            "\(change.side == .old ? "old" : "new") \(files[Int(change.range.file)].name)", change.range.line,
            change.range.column
        )
    }

    // MARK: For programs

    var json: JSONValue {
        func version(_ catalog: Catalog) -> JSONValue {
            .object(["name": .string(catalog.name), "version": .string(catalog.version)])
        }
        var members = [
            JSONMember("format", .string("stile-catalog-diff/1")), JSONMember("old", version(before.catalog)),
            JSONMember("new", version(after.catalog)), JSONMember("compatible", .bool(!breaks)),
            JSONMember("changes", .array(changes.map(json))),
        ]
        if let checked {
            let report = DiagnosticReport(
                files: checked.files,
                locations: checked.files.map { ArtifactLocation(path: $0.name, directory: "/") },
                diagnostics: checked.diagnostics, version: Stile.version, exitCode: 0)
            members.append(JSONMember("policies", report.json()))
        }
        if let fit {
            members.append(
                JSONMember(
                    "stored",
                    .object([
                        "looked": .integer(fit.looked), "fits": .bool(fit.fits),
                        "misfits": .array(fit.misfits.map(json)),
                    ])))
        }
        return .object(members)
    }

    private func json(_ change: CatalogChange) -> JSONValue {
        var members = [
            JSONMember("code", .string(change.code.rawValue)),
            JSONMember("class", .string(change.code.isBreaking ? "breaking" : "compatible")),
            JSONMember("subject", .string(change.subject)), JSONMember("message", .string(change.message)),
            JSONMember("advice", .string(change.code.advice)),
        ]
        let files = change.side == .old ? before.files : after.files
        if files.indices.contains(Int(change.range.file)) {
            members += [
                JSONMember("catalog", .string(change.side == .old ? "old" : "new")),
                JSONMember("file", .string(files[Int(change.range.file)].name)),
                JSONMember("line", .integer(change.range.line)), JSONMember("column", .integer(change.range.column)),
            ]
        }
        return .object(members)
    }

    private func json(_ misfit: StoredMisfit) -> JSONValue {
        var members = [
            JSONMember("kind", .string(misfit.kind.rawValue)), JSONMember("type", .string(misfit.type)),
        ]
        if let attribute = misfit.attribute { members.append(JSONMember("attribute", .string(attribute))) }
        members += [
            JSONMember("count", .integer(misfit.count)),
            JSONMember(
                "examples",
                .array(misfit.examples.map { .object(["id": .string($0.id), "problem": .string($0.problem)]) })),
        ]
        return .object(members)
    }
}

/// A file without its catalog, or with nothing else, every other place where it was.
private enum CatalogBlock {
    static func only(_ isCatalog: Bool, of file: SourceFile, _ outline: [OutlineItem]) -> SourceFile {
        let blocks = outline.filter { $0.kind == .catalog }.map { Int($0.range.start)..<Int($0.range.end) }
        let bytes = file.text.utf8.enumerated().map { place, byte in
            let isInside = blocks.contains { $0.contains(place) }
            return isInside == isCatalog || byte == 0x0a ? byte : 0x20
        }
        return SourceFile(name: file.name, text: String(decoding: bytes, as: UTF8.self))
    }
}
