// `stile what`: what this user may do.

import ArgumentParser
import DecisionEngine
import DecisionPath
import PolicyLanguage
import StrictJSON
import Surveys

struct WhatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "what", abstract: "Say what a subject may do: always, never, or under which condition.",
        discussion: """
            stile what policies/ledger user:ada
            stile what --store /var/lib/stile --tenant acme user:ada --limit 100

            For each action on each type of resource, everything is looked up that is known of the subject, and what \
            remains of the policies is said as a condition on the resource, on the action's properties and, unless \
            --context gives it, on the context. "step up to" is what would be demanded first. Where resources of the type \
            are registered in the store, those that are permitted are listed.

            Unless --session says otherwise, the live session counts that proves most; without one the subject is not \
            signed in.

            Exit codes: 0 done; 65 the catalog knows no such type or action; 66 the store knows no such subject.
            """)

    @Argument(help: "A tenant's folder (unless --store is given), then the subject: TYPE:ID, or JSON.")
    var arguments: [String]

    @OptionGroup var options: SurveyOptions

    @Option(help: "This action alone.")
    var action: String?

    @Option(help: "This type of resource alone.")
    var type: String?

    @Option(help: "Registered resources to name for each action.")
    var limit = 20

    @Flag(name: .customLong("any-time"), help: "Leave the time open, so that schedules stand in the conditions.")
    var anyTime = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if arguments.count != (options.store == nil ? 2 : 1) {
            throw ValidationError(options.store == nil ? "name a folder and a subject" : "name a subject")
        }
        if limit < 0 { throw ValidationError("--limit is at least 0") }
    }

    func run() throws {
        let (folder, rest) = options.split(arguments)
        let tenant = try OpenTenant(options, folder: folder)
        try tenant.assumeDevice(options)
        var made = PermissionInventory.Options()
        made.session = try AssumedSession(options.session, tenant.survey.catalog, now: tenant.survey.now)
        made.action = action
        made.type = type
        made.context = try options.context.map { try JSONText.parse($0, "--context") }
        made.isTimeOpen = anyTime
        made.maxNamed = limit
        let question = try QuestionParts.question(
            subject: QuestionParts.entity(rest[0], "the subject", needsID: true))
        let settings = made
        let inventory = try withSurvey { () throws(SurveyError) in
            try PermissionInventory(tenant.survey, of: question, settings)
        }
        try InventoryText(inventory, tenant.survey.catalog, settings.session, isJSON: output.json).write()
    }
}

/// An inventory as it is written.
private struct InventoryText {
    private let inventory: PermissionInventory
    private let catalog: Catalog
    private let session: AssumedSession
    private let isJSON: Bool

    init(_ inventory: PermissionInventory, _ catalog: Catalog, _ session: AssumedSession, isJSON: Bool) {
        self.inventory = inventory
        self.catalog = catalog
        self.session = session
        self.isJSON = isJSON
    }

    /// Type by type; a bar is shown where there is much to look at.
    func write() throws(ExitCode) {
        if !isJSON { head() }
        var looked = 0
        var entries: [PermissionInventory.Entry] = []
        let permissions = inventory.permissions
        for (index, permission) in permissions.enumerated() {
            let entry = try withSurvey { () throws(SurveyError) in try inventory.entry(permission) }
            looked += entry.resources?.looked ?? 0
            if looked >= 2_000 { ProgressBar.show(index + 1, of: permissions.count) }
            if isJSON {
                if looked >= 2_000 { ProgressBar.clear() }
                Terminal.write(entry.json.compact + "\n")
                continue
            }
            entries.append(entry)
            if index + 1 < permissions.count, permissions[index + 1].type == permission.type { continue }
            if looked >= 2_000 { ProgressBar.clear() }
            write(entries)
            entries = []
        }
        if looked >= 2_000 { ProgressBar.clear() }
    }

    private func head() {
        let situation = inventory.situation
        var text = "\(catalog.entities[situation.subjectType].name) \(situation.subjectID)"
        if situation.isSubjectInactive { text += ", deactivated" }
        if let used = inventory.session {
            text += ", signed in with session \(used)"
        } else if case .assumed = session {
            text += ", signed in as --session says"
        } else {
            text += ", not signed in"
        }
        Terminal.write(Terminal.paint(text, "1") + "\n")
    }

    private func write(_ entries: [PermissionInventory.Entry]) {
        Terminal.write("\n\(entries[0].permission.type)\n")
        // Actions that may be done alike are told as one.
        var grouped: [(actions: [String], text: String)] = []
        for entry in entries {
            let text = text(entry)
            if let place = grouped.firstIndex(where: { $0.text == text }) {
                grouped[place].actions.append(entry.permission.action)
            } else {
                grouped.append(([entry.permission.action], text))
            }
        }
        for (actions, text) in grouped {
            Terminal.write("  " + Terminal.paint(actions.joined(separator: ", "), "1") + "\n" + text)
        }
    }

    private func text(_ entry: PermissionInventory.Entry) -> String {
        var text = PlanText(entry.plan).render().split(separator: "\n").map { "    \($0)\n" }.joined()
        guard let resources = entry.resources else { return text }
        for (head, names, count) in [
            ("permitted of those registered", resources.permitted, resources.permittedCount),
            ("after a step-up", resources.stepUp, resources.stepUpCount),
        ] where count > 0 {
            let more = count > names.count ? " and \(count - names.count) more" : ""
            text += "      \(head): \(names.joined(separator: ", "))\(more)\n"
        }
        if resources.permittedCount + resources.stepUpCount == 0 {
            text += "      none of the \(resources.looked) registered\n"
        }
        if resources.isCutShort { text += "      of the first \(resources.looked) registered\n" }
        return text
    }
}
