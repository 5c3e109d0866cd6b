// From text to a program, with what each step costs.

import DecisionEngine
import PolicyLanguage

/// A compiled tenant and what making it took.
struct Tenant {
    let program: Program
    let sourceBytes: Int
    let checkSeconds: Double
    let compileSeconds: Double

    /// - Parameter runs: how often each step is timed; the best counts.
    init(_ files: [SourceFile], runs: Int = 1) throws {
        sourceBytes = files.reduce(0) { $0 + $1.text.utf8.count }
        let (checkSeconds, result) = seconds(runs: runs) { checkPolicies(files) }
        guard let policies = result.policies else {
            let errors = result.diagnostics.filter { $0.severity == .error }
            throw BenchError(DiagnosticRenderer(files: files, usesColor: false).render(Array(errors.prefix(3))))
        }
        let (compileSeconds, program) = try seconds(runs: runs) { try compile(policies) }
        self.program = program
        self.checkSeconds = checkSeconds
        self.compileSeconds = compileSeconds
    }
}

/// Why nothing could be measured.
struct BenchError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// Policy text in files below the language's limit for one file.
struct PolicyText {
    private(set) var files: [SourceFile]
    private var text = ""
    private let limit = 3 << 20

    init(catalog: String) { files = [SourceFile(name: "catalog.stile", text: catalog)] }

    /// Adds one rule.
    mutating func add(_ rule: String) {
        if text.utf8.count + rule.utf8.count > limit { finish() }
        text += "  " + rule + "\n"
    }

    /// Ends the file at hand.
    mutating func finish() {
        if text.isEmpty { return }
        let number = files.count
        files.append(SourceFile(name: "rules\(number).stile", text: "policy \"P\(number)\" {\n\(text)}\n"))
        text = ""
    }
}
