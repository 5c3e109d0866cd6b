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
    /// Encoded rule references.
    let ruleFragments: RuleFragments
    /// How to read each attribute of a question.
    let plans: QuestionPlans
    /// Type names.
    let typeNames: [String]
    /// What the keys of views start with, by entity type.
    let viewPrefixes: ViewPrefixes
    let devicePrefix: ViewPrefix
    let sessionPrefix: ViewPrefix
    /// Per entity type: whether it can ask. Kept apart because touching the catalog's value would count references.
    let isSubject: [Bool]

    /// The layout of views that the store does not keep.
    package static let builtLayout = UInt32.max

    /// Checks and compiles a stored version.
    /// - Parameter layout: of the views that it is to read; nil for its own.
    package convenience init(_ stored: StoredPolicies, layout: UInt32? = nil) throws(ActivationError) {
        let sources = stored.sources
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
        self.init(program, version: stored.version, layout: layout ?? stored.layout)
    }

    /// Takes a compiled program.
    package init(_ program: Program, version: UInt64, layout: UInt32) {
        self.program = program
        self.version = version
        self.layout = layout
        ruleFragments = RuleFragments(
            program.policies.rules.map { Self.reference($0, program.policies.files).cbor.encoded })
        let catalog = program.catalog
        plans = QuestionPlans(catalog)
        let types = catalog.entities.map(\.name)
        viewPrefixes = ViewPrefixes(layout: layout, types: types, others: ["device", "session"])
        devicePrefix = viewPrefixes[types.count]
        sessionPrefix = viewPrefixes[types.count + 1]
        isSubject = program.catalog.entities.map(\.isSubject)
        typeNames = types
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

    static func reference(_ offer: CheckedOffer, _ files: [SourceFile]) -> RuleReference {
        let file = files.indices.contains(Int(offer.range.file)) ? files[Int(offer.range.file)].name : ""
        return RuleReference(
            name: offer.name, file: file, line: UInt64(max(0, offer.range.line)), reason: offer.reason)
    }
}
