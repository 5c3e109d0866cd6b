// `stile draw`: the compiled tree as a picture.

import ArgumentParser
import AttributeStore
import DecisionEngine
import DecisionPath
import PolicyDrawing
import PolicyLanguage

struct DrawCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "draw", abstract: "Draw the compiled decision tree as SVG.",
        discussion: """
            stile draw policies/ledger --output ledger.svg
            stile draw policies/ledger --action approve --type payrun > approve.svg

            From left to right: each action on a type of resource; whether rules forbid, raise the demand or permit; the \
            values that lead to the few rules whose condition can hold; the rules, each linked to its file and line. What \
            is too much to look at is folded into boxes with counts, the deepest first: --action, --type and --depth look \
            into a part. The picture follows the reader's light or dark colours.

            Exit codes: 0 done; 65 the policies have errors, or the catalog knows no such action or type; 66 as everywhere.
            """)

    @Argument(help: "A tenant's folder, or its files; none with --store.")
    var paths: [String] = []

    @Option(help: "The store's directory, in place of a folder: draws the version that decides.")
    var store: String?

    @Option(help: "The tenant's id, with --store.")
    var tenant: String?

    @Option(help: "Where to write; by default to standard output.")
    var output: String?

    @Option(help: "This action alone.")
    var action: String?

    @Option(help: "This type of resource alone.")
    var type: String?

    @Option(name: .customLong("subject-type"), help: "This type of subject alone.")
    var subjectType: String?

    @Option(help: "Levels to draw below the actions.")
    var depth: Int?

    @Option(help: "Boxes at most.")
    var boxes = 240

    @Option(name: .customLong("link-prefix"), help: "What links to rules start with, such as a repository's address.")
    var linkPrefix = "./"

    func validate() throws {
        if (store == nil) != (tenant == nil) { throw ValidationError("--store and --tenant go together") }
        if paths.isEmpty == (store == nil) { throw ValidationError("name a tenant's folder, or --store and --tenant") }
        if let depth, depth < 0 { throw ValidationError("--depth is at least 0") }
        if !(10...5_000).contains(boxes) { throw ValidationError("--boxes is from 10 to 5000") }
    }

    func run() throws {
        let program = try program()
        let catalog = program.catalog
        var options = SketchOptions()
        options.depth = depth
        options.maxBoxes = boxes
        options.linkPrefix = linkPrefix
        options.action = try Self.index(action, catalog.actions.map(\.name), "action")
        options.resourceType = try Self.index(type, catalog.entities.map(\.name), "type")
        options.subjectType = try Self.index(subjectType, catalog.entities.map(\.name), "subject-type")
        var picture = TreePicture(TreeSketch(program, options))
        let svg = picture.svg()
        if let output { try Files.write(svg, to: output) } else { Terminal.write(svg) }
    }

    private func program() throws(ExitCode) -> Program {
        guard let store, let tenant else { return try compiled(try Files.policies(paths)) }
        return try withSurvey { () throws(SurveyError) in
            try TenantSurvey(Store(path: store), tenant: tenant, now: Terminal.nowMilliseconds).program
        }
    }

    private static func index(_ name: String?, _ known: [String], _ option: String) throws(ExitCode) -> Int? {
        guard let name else { return nil }
        guard let index = known.firstIndex(of: name) else {
            throw Terminal.failure(
                "--\(option): the catalog has no \"\(name)\"; it has \(known.joined(separator: ", "))", Exit.data)
        }
        return index
    }
}
