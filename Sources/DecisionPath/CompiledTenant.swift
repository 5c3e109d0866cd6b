// A version of a tenant's policies, ready to decide: the program, and what reading questions and writing answers
// needs, worked out beforehand.

package import AttributeStore
import CBOR
package import DecisionEngine
import DecisionProtocol
import PolicyLanguage

/// Why a stored version does not decide.
package struct ActivationError: Error, Sendable, CustomStringConvertible {
    /// What is wrong, with the first finding's place.
    package var description: String
}

/// An immutable compiled version; shared by all threads.
package final class CompiledTenant: Sendable {
    package let version: UInt64
    /// The layout of views it reads.
    package let layout: UInt32
    package let program: Program
    /// Encoded rule references, one after the other, with where each ends.
    let ruleFragments: [UInt8]
    let ruleEnds: [Int]
    /// How to read each attribute of a question.
    let plans: QuestionPlans
    /// Type names.
    let typeNames: [String]
    /// What the keys of views start with, by entity type.
    let viewPrefixes: [ViewPrefix]
    let devicePrefix: ViewPrefix
    let sessionPrefix: ViewPrefix
    /// Per entity type: whether it can ask. Kept apart because touching the catalog's value would count references.
    let isSubject: [Bool]

    /// Checks and compiles a stored version.
    package convenience init(_ stored: StoredPolicies) throws(ActivationError) {
        let sources = stored.files.map { SourceFile(name: $0.name, text: $0.text) }
        let result = checkPolicies(sources, warns: false)
        guard let policies = result.policies else {
            let renderer = DiagnosticRenderer(files: sources, usesColor: false)
            let first = result.diagnostics.first { $0.severity == .error }.map { renderer.render($0) } ?? "unreadable"
            throw ActivationError(description: "version \(stored.version) does not check: \(first)")
        }
        let program: Program
        do throws(CompileError) {
            program = try compile(policies)
        } catch {
            throw ActivationError(description: "version \(stored.version) does not compile: \(error)")
        }
        self.init(program, version: stored.version, layout: stored.layout)
    }

    /// Takes a compiled program.
    package init(_ program: Program, version: UInt64, layout: UInt32) {
        self.program = program
        self.version = version
        self.layout = layout
        var fragments: [UInt8] = []
        var ends: [Int] = []
        for rule in program.policies.rules {
            fragments += Self.reference(rule, program.policies.files).cbor.encoded
            ends.append(fragments.count)
        }
        ruleFragments = fragments
        ruleEnds = ends
        let catalog = program.catalog
        plans = QuestionPlans(catalog)
        viewPrefixes = catalog.entities.enumerated().map { ViewPrefix(layout: layout, type: $1.name, index: $0) }
        devicePrefix = ViewPrefix(layout: layout, type: "device")
        sessionPrefix = ViewPrefix(layout: layout, type: "session")
        isSubject = program.catalog.entities.map(\.isSubject)
        typeNames = program.catalog.entities.map(\.name)
    }

    /// Holds the version to the limits of its tenant.
    func check(_ limits: TenantLimits, files: [PolicyFile]) throws(ActivationError) {
        let size = files.reduce(0) { $0 + $1.text.utf8.count }
        let problem = limits.problem(files: size, rules: program.policies.rules.count, tree: program.sizeInBytes)
        if let problem { throw ActivationError(description: "version \(version) is too large: \(problem)") }
    }

    static func reference(_ rule: CheckedRule, _ files: [SourceFile]) -> RuleReference {
        let file = files.indices.contains(Int(rule.range.file)) ? files[Int(rule.range.file)].name : ""
        return RuleReference(name: rule.name, file: file, line: UInt64(max(0, rule.range.line)), reason: rule.reason)
    }
}
