// What an author of policies uses: check, fmt, test, explain.

import ArgumentParser
import DecisionEngine
import LanguageTools
import PolicyAnalysis
import PolicyLanguage
import PolicyTesting
import StrictJSON

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check a tenant's catalog and policies; say everything that is wrong at once.",
        discussion: """
            Warns also of what is legal, but surely not meant: rules that no question matches, permits that forbids always \
            beat, conditions that are always true or always false. These are proven, not guessed; what is not settled \
            within a bounded number of steps is not told. `stile explain W0004` says more of each.

            --format json writes one document: for each finding code, message, file, range (lines and columns from 1, \
            columns in Unicode scalars), the line with carets, advice and related places. --format sarif writes a \
            SARIF 2.1.0 log for code scanning.

            Exit codes: in every format 0 no errors, though perhaps warnings; 1 errors; 66 a file cannot be read.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case human, json, sarif
    }

    @Argument(help: "A tenant's folder, or its files (the catalog among them).")
    var paths: [String]

    @Option(help: "How findings are written.")
    var format: Format?

    @Flag(help: "The same as --format json.")
    var json = false

    func validate() throws {
        if json, let format, format != .json {
            throw ValidationError("--json and --format \(format.rawValue) exclude one another")
        }
    }

    func run() throws {
        let found = try Files.policyPaths(paths)
        let files = found.map(\.file)
        let result = checkPolicies(files)
        var diagnostics = ExactWarnings.all(of: result)
        var size = 0
        if let policies = result.policies {
            do throws(CompileError) {
                size = try compile(policies).sizeInBytes
            } catch {
                diagnostics.append(Diagnostic(.tooLarge, error.message, at: .none))
            }
        }
        let hasErrors = diagnostics.contains { $0.severity == .error }
        let directory = Files.currentDirectory
        let report = DiagnosticReport(
            files: files, locations: found.map { ArtifactLocation(path: $0.path, directory: directory) },
            diagnostics: diagnostics, version: Stile.version, exitCode: hasErrors ? Exit.findings.rawValue : 0)
        switch json ? .json : format ?? .human {
        case .human:
            Terminal.write(DiagnosticRenderer(files: files, usesColor: Terminal.usesColor).render(diagnostics))
            if let policies = result.policies {
                print(
                    "\(policies.rules.count) rules, \(policies.roles.count) roles, \(policies.tests.count) tests; "
                        + "compiled to \(size) bytes")
            }
        case .json: print(report.json(summary: summary(result.policies, size)).compact)
        case .sarif: Terminal.write(report.sarif.pretty)
        }
        if hasErrors { throw Exit.findings }
    }

    private func summary(_ policies: CheckedPolicies?, _ size: Int) -> [JSONMember] {
        guard let policies else { return [] }
        return [
            JSONMember("rules", .integer(policies.rules.count)), JSONMember("roles", .integer(policies.roles.count)),
            JSONMember("tests", .integer(policies.tests.count)), JSONMember("compiled_bytes", .integer(size)),
        ]
    }
}

struct FormatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fmt", abstract: "Write policy files in the one canonical layout; comments stay.",
        discussion: """
            stile fmt policies/ledger            names the files that it changes
            stile fmt --check policies/ledger    for continuous integration
            stile fmt - < old.stile > new.stile  from standard input to standard output

            A file with mistakes of syntax is left as it is, and they are told.

            Exit codes: 0 done; 1 a file would change (--check); 65 a file has mistakes; 66 a file cannot be read, or a \
            folder holds no .stile files.
            """)

    @Argument(help: "Files or folders; - for standard input.")
    var paths: [String]

    @Flag(help: "Change nothing; exit 1 when a file would change.")
    var check = false

    @Flag(help: "Write one JSON object for each file: what became of it, and its mistakes.")
    var json = false

    func validate() throws {
        if paths.contains("-"), paths.count > 1 || json {
            throw ValidationError("- stands alone: what is formatted goes to standard output")
        }
    }

    private enum Outcome: String {
        case unchanged, changed
        case wouldChange = "would_change"
        case failed
    }

    func run() throws {
        var outcomes = Set<Outcome>()
        for (path, file) in try Files.policyPaths(paths) {
            let (outcome, mistakes) = try format(file, path)
            outcomes.insert(outcome)
            tell(outcome, path, file, mistakes)
        }
        if outcomes.contains(.failed) { throw Exit.data }
        if outcomes.contains(.wouldChange) { throw Exit.findings }
    }

    /// What became of a file, and the mistakes for which it stays as it is.
    private func format(_ file: SourceFile, _ path: String) throws(ExitCode) -> (Outcome, [Diagnostic]) {
        let formatted: String
        do throws(FormatError) {
            formatted = try PolicyLanguage.format(file)
        } catch {
            return (.failed, error.diagnostics)
        }
        let isSame = formatted == file.text
        if check { return (isSame ? .unchanged : .wouldChange, []) }
        if path == "-" {
            Terminal.write(formatted)
        } else if !isSame {
            try Files.write(formatted, to: path)
        }
        return (isSame ? .unchanged : .changed, [])
    }

    private func tell(_ outcome: Outcome, _ path: String, _ file: SourceFile, _ mistakes: [Diagnostic]) {
        if json {
            let location = ArtifactLocation(path: path, directory: Files.currentDirectory)
            let report = DiagnosticReport(
                files: [file], locations: [location], diagnostics: mistakes, version: Stile.version,
                exitCode: outcome == .failed ? Exit.data.rawValue : 0)
            var members = [JSONMember("file", .string(path)), JSONMember("result", .string(outcome.rawValue))]
            if let found = report.json()["diagnostics"], outcome == .failed {
                members.append(JSONMember("diagnostics", found))
            }
            return Terminal.write(JSONValue.object(members).compact + "\n")
        }
        switch outcome {
        case .unchanged: break
        case .changed, .wouldChange: if path != "-" { Terminal.write("\(path)\n") }
        case .failed:
            let named = SourceFile(name: path, text: file.text)
            Terminal.write(DiagnosticRenderer(files: [named], usesColor: false).render(mistakes), to: 2)
        }
    }
}

struct TestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Run the tests that stand in policy files, and say which rules and conditions no test reaches.",
        discussion: """
            stile test policies/ledger --min-coverage 100
            stile test policies/ledger --format junit --output results.xml

            Two coverages are measured. Of rules: those that matched in some test. Of conditions: each atomic condition of \
            a rule or of a role it names, and each bound of what it requires, counts twice, for it can hold and not hold; \
            an outcome is covered when a test looked at the condition and found it so. Conditions are looked at from left \
            to right, `and` up to the first that fails, `or` up to the first that holds; those of `requires` when the rule \
            matches and nothing forbids. What no question can bring about is named and not counted.

            Exit codes: 0 all passed; 1 a test failed; 5 all passed, and the coverage is below --min-coverage.
            """)

    @Argument(help: "A tenant's folder, or its files.")
    var paths: [String]

    @Option(
        name: .customLong("min-coverage"),
        help: "Per cent of the rules, and of the outcomes of conditions, that tests must reach.")
    var minCoverage = 0

    @Option(help: "How to tell it: human, json (JSON Lines), junit (XML) or tap (version 14).")
    var format: ReportFormat?

    @Option(help: "A file for the report; standard output then has the form for people.")
    var output: String?

    @Flag(help: "The same as --format json.")
    var json = false

    func validate() throws {
        guard (0...100).contains(minCoverage) else { throw ValidationError("--min-coverage is from 0 to 100") }
        if json, let format, format != .json {
            throw ValidationError("--json and --format \(format) do not go together")
        }
    }

    func run() throws {
        let files = try Files.policies(paths)
        let program = try compiled(files)
        let now = Terminal.nowMilliseconds
        let report = TestReport(
            program.policies, PolicyTestRunner(program).run(now: now), bar: minCoverage, startedAt: now,
            name: paths.joined(separator: " "))
        let form = format ?? (json ? .json : .human)
        if let output {
            try Files.write(form.text(report, usesColor: false), to: output)
            Terminal.write(report.human(usesColor: Terminal.usesColor))
        } else {
            Terminal.write(form.text(report, usesColor: Terminal.usesColor))
        }
        if !report.run.failed.isEmpty { throw Exit.findings }
        if report.isBelowBar { throw Exit.coverage }
    }
}

/// Forms of the report on tests.
enum ReportFormat: String, ExpressibleByArgument, CaseIterable {
    case human, json, junit, tap

    func text(_ report: TestReport, usesColor: Bool) -> String {
        switch self {
        case .human: report.human(usesColor: usesColor)
        case .json: report.json
        case .junit: report.junit
        case .tap: report.tap
        }
    }
}

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say at length what the code of a finding or of a catalog's change means.",
        discussion: """
            stile explain E0303
            stile explain --all --json

            Exit codes: 0 done; 64 there is no such code.
            """)

    @Argument(help: "A code such as E0303; without one, all codes are listed.")
    var code: String?

    @Flag(help: "Say it of every code.")
    var all = false

    @Flag(help: "Write one JSON object for each code.")
    var json = false

    func validate() throws {
        if all && code != nil { throw ValidationError("name a code, or --all") }
    }

    func run() throws {
        if json { return try tellJSON() }
        if all { return print(DiagnosticCode.allCases.map(Self.text).joined(separator: "\n\n")) }
        guard let code else {
            for code in DiagnosticCode.allCases { print("\(code.rawValue)  \(code.title)") }
            for code in CatalogChange.Code.allCases { print("\(code.rawValue)  \(code.title)") }
            return
        }
        if let change = CatalogChange.Code(rawValue: code.uppercased()) {
            return print("\(change.rawValue): \(change.title)\n\n\(Self.explanation(change))")
        }
        guard let known = DiagnosticCode(rawValue: code.uppercased()) else {
            throw Self.unknown(code)
        }
        print(Self.text(known))
    }

    private func tellJSON() throws(ExitCode) {
        var found: [JSONValue] = []
        func add(_ code: String, _ kind: String, _ title: String, _ explanation: String) {
            guard self.code == nil || self.code?.uppercased() == code else { return }
            found.append(
                .object([
                    "code": .string(code), "kind": .string(kind), "title": .string(title),
                    "explanation": .string(explanation),
                ]))
        }
        for known in DiagnosticCode.allCases {
            add(known.rawValue, known.severity.rawValue, known.title, known.explanation)
        }
        for change in CatalogChange.Code.allCases {
            add(change.rawValue, "catalog change", change.title, Self.explanation(change))
        }
        if let code, found.isEmpty { throw Self.unknown(code) }
        for value in found { Terminal.write(value.compact + "\n") }
    }

    private static func unknown(_ code: String) -> ExitCode {
        Terminal.failure("no code \(code): `stile explain` lists them", ExitCode(64))
    }

    private static func explanation(_ change: CatalogChange.Code) -> String {
        "\(change.isBreaking ? "A breaking" : "A compatible") change of a catalog: \(change.advice)."
    }

    private static func text(_ code: DiagnosticCode) -> String {
        "\(code.rawValue): \(code.title)\n\n\(code.explanation)"
    }
}

/// Checks, or writes what is wrong and ends.
func checked(_ paths: [String]) throws(ExitCode) -> CheckedPolicies { try checked(try Files.policies(paths)) }

/// Checks, or writes what is wrong and ends.
func checked(_ files: [SourceFile]) throws(ExitCode) -> CheckedPolicies {
    let result = checkPolicies(files)
    if let policies = result.policies { return policies }
    let errors = result.diagnostics.filter { $0.severity == .error }
    Terminal.write(DiagnosticRenderer(files: files, usesColor: false).render(errors), to: 2)
    throw Exit.data
}

/// Checks and compiles, or writes what is wrong and ends.
func compiled(_ files: [SourceFile]) throws(ExitCode) -> Program {
    let policies = try checked(files)
    do throws(CompileError) {
        return try compile(policies)
    } catch {
        throw Terminal.failure(error.description, Exit.data)
    }
}
