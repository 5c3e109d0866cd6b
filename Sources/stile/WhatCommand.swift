// `stile what`: what this user may do.

import ArgumentParser
import AttributeStore
import DecisionEngine
import DecisionPath
import DecisionProtocol
import DecisionReplay
import PolicyAnalysis
import PolicyLanguage
import StrictJSON

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
        var inventory = Inventory(self, tenant)
        try inventory.run(QuestionParts.entity(rest[0], "the subject", needsID: true))
    }
}

/// One run over the actions.
private struct Inventory {
    let command: WhatCommand
    let tenant: OpenTenant
    private var survey: TenantSurvey { tenant.survey }
    private var catalog: Catalog { survey.catalog }

    /// Registered resources that a question is asked about, for each action.
    private static let maxResources = 10_000

    /// What may be done, and on which registered resources.
    private struct Entry {
        var actions: [String]
        var type: String
        var plan: PolicyPlan
        var resources: Resources?
    }

    /// Registered resources by outcome.
    private struct Resources: Equatable {
        var permitted: [String] = []
        var stepUp: [String] = []
        var permittedCount = 0
        var stepUpCount = 0
        var looked = 0
        var isCutShort = false
    }

    init(_ command: WhatCommand, _ tenant: OpenTenant) {
        self.command = command
        self.tenant = tenant
    }

    mutating func run(_ subject: JSONValue) throws(ExitCode) {
        let survey = survey
        let question = try QuestionParts.question(subject: subject)
        try requireKnownNames()
        try withSurvey { () throws(SurveyError) in try survey.ask(question) }
        let session = try tenant.assume(command.options)
        let used = try signIn(session, question.subject)
        let situation = try withSurvey { () throws(SurveyError) in try survey.situation() }
        try tenant.requireKnown(situation)
        if !command.output.json { head(situation, used, session) }
        for entries in try types() {
            if command.output.json {
                for entry in entries { Terminal.write(json(entry).compact + "\n") }
            } else {
                write(entries)
            }
        }
    }

    /// Takes the session that `--session` means.
    /// - Returns: its id, when it is one of the store.
    private func signIn(_ session: AssumedSession, _ subject: Entity?) throws(ExitCode) -> String? {
        let survey = survey
        switch session {
        case .none, .assumed: return nil
        case .recorded(let id):
            try withSurvey { () throws(SurveyError) in try survey.look(session: id) }
            return id
        case .own: break
        }
        guard let subject else { return nil }
        let name = EntityName(type: subject.type, id: subject.id)
        let live = try withSurvey { () throws(SurveyError) in try survey.liveSessions(of: name) }
        var best: (rank: (Int, Int64), id: String)?
        for id in live[name] ?? [] {
            try withSurvey { () throws(SurveyError) in try survey.look(session: id) }
            guard let facts = try withSurvey({ () throws(SurveyError) in try survey.situation() }).session,
                !facts.hasEnded
            else { continue }
            let rank = (facts.levels.nonzeroBitCount, facts.authenticatedAt ?? .min)
            if best.map({ $0.rank < rank }) ?? true { best = (rank, id) }
        }
        try withSurvey { () throws(SurveyError) in try survey.look(session: best?.id) }
        return best?.id
    }

    /// Ends when the catalog does not have what the options name.
    private func requireKnownNames() throws(ExitCode) {
        for (name, known, option) in [
            (command.action, catalog.actions.map(\.name), "action"),
            (command.type, catalog.entities.map(\.name), "type"),
        ] {
            if let name, !known.contains(name) {
                throw Terminal.failure(
                    "--\(option): the catalog has no \"\(name)\"; it has \(known.joined(separator: ", "))", Exit.data)
            }
        }
    }

    /// The entries of each type of resource that has any.
    private func types() throws(ExitCode) -> [[Entry]] {
        let wanted = catalog.entities.indices.filter {
            command.type ?? catalog.entities[$0].name == catalog.entities[$0].name
        }
        .map { type in
            let actions = catalog.actions.filter {
                $0.resourceTypes.contains(type) && command.action ?? $0.name == $0.name
            }
            return (type: type, actions: actions.map(\.name))
        }
        let total = wanted.reduce(0) { $0 + $1.actions.count }
        var found: [[Entry]] = []
        var done = 0
        var looked = 0
        defer { if looked >= 2_000 { ProgressBar.clear() } }
        for (type, actions) in wanted where !actions.isEmpty {
            var entries: [Entry] = []
            for action in actions {
                entries.append(try entry(action, type))
                done += 1
                looked += entries.last?.resources?.looked ?? 0
                if looked >= 2_000 { ProgressBar.show(done, of: total) }
            }
            found.append(entries)
        }
        return found
    }

    private func entry(_ action: String, _ type: Int) throws(ExitCode) -> Entry {
        let survey = survey
        let name = catalog.entities[type].name
        let question = try QuestionParts.question(
            action: .object(["name": .string(action)]), resource: QuestionParts.entity(name, "the type"),
            context: command.options.context)
        try withSurvey { () throws(SurveyError) in try survey.ask(question) }
        let situation = try withSurvey { () throws(SurveyError) in try survey.situation() }
        var open: Set<AttributeScope> = [.action]
        if command.options.context == nil { open.insert(.context) }
        let plan = PolicyPlan(
            survey.program.policies, situation, open: open, isTimeOpen: command.anyTime)
        return Entry(actions: [action], type: name, plan: plan, resources: try resources(type))
    }

    /// Asks about each registered resource; nil when there is none.
    private func resources(_ type: Int) throws(ExitCode) -> Resources? {
        let survey = survey
        var found = Resources()
        var after: String?
        while true {
            let ids = try withSurvey { () throws(SurveyError) in try survey.ids(type: type, after: after, limit: 1_000)
            }
            for id in ids {
                survey.look(resource: id)
                found.looked += 1
                switch try withSurvey({ () throws(SurveyError) in try survey.decide() }).outcome {
                case .permit:
                    found.permittedCount += 1
                    if found.permitted.count < command.limit { found.permitted.append(id) }
                case .stepUp:
                    found.stepUpCount += 1
                    if found.stepUp.count < command.limit { found.stepUp.append(id) }
                case .deny: break
                }
            }
            guard ids.count == 1_000 else { break }
            if found.looked >= Self.maxResources {
                found.isCutShort = true
                break
            }
            after = ids.last
        }
        return found.looked == 0 ? nil : found
    }

    // MARK: Words

    private func head(_ situation: Situation, _ used: String?, _ session: AssumedSession) {
        var text = "\(catalog.entities[situation.subjectType].name) \(situation.subjectID)"
        if situation.isSubjectInactive { text += ", deactivated" }
        if let used {
            text += ", signed in with session \(used)"
        } else if case .assumed = session {
            text += ", signed in as --session says"
        } else {
            text += ", not signed in"
        }
        Terminal.write(Terminal.paint(text, "1") + "\n")
    }

    private func write(_ entries: [Entry]) {
        Terminal.write("\n\(entries[0].type)\n")
        // Actions that may be done alike are told as one.
        var grouped: [(entry: Entry, text: String)] = []
        for entry in entries {
            let text = text(entry)
            if let place = grouped.firstIndex(where: { $0.text == text }) {
                grouped[place].entry.actions += entry.actions
            } else {
                grouped.append((entry, text))
            }
        }
        for (entry, text) in grouped {
            Terminal.write("  " + Terminal.paint(entry.actions.joined(separator: ", "), "1") + "\n" + text)
        }
    }

    private func text(_ entry: Entry) -> String {
        let words = PlanText(entry.plan)
        var text = words.render().split(separator: "\n").map { "    \($0)\n" }.joined()
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

    private func json(_ entry: Entry) -> JSONValue {
        let plan = entry.plan
        let words = PlanText(plan)
        let writer = ConditionJSON(
            policies: plan.restriction.policies, subjectType: plan.restriction.subjectType,
            resourceType: plan.restriction.resourceType)
        func outcome(_ condition: Condition, _ extent: Extent) -> JSONValue {
            .object([
                "extent": .string("\(extent)"), "when": .string(words.text(condition)),
                "condition": writer.write(condition),
            ])
        }
        var members = [
            JSONMember("action", .string(entry.actions[0])), JSONMember("resource", .string(entry.type)),
            JSONMember("permit", outcome(plan.permit, plan.permitExtent)),
            JSONMember("step_up", outcome(plan.stepUp, plan.stepUpExtent)),
            JSONMember(
                "demands",
                .array(
                    plan.stepUps.map { demand, condition in
                        .object([
                            "step_up": PolicyAnalysis.Outcome.stepUp(demand).json,
                            "when": .string(words.text(condition)),
                        ])
                    })),
            JSONMember("missing", .array(plan.faults.map { .string("\($0.scope).\($0.name)") })),
        ]
        if let resources = entry.resources {
            members.append(
                JSONMember(
                    "registered",
                    .object([
                        "permitted": .array(resources.permitted.map { .string($0) }),
                        "permitted_count": .integer(resources.permittedCount),
                        "step_up": .array(resources.stepUp.map { .string($0) }),
                        "step_up_count": .integer(resources.stepUpCount), "looked_at": .integer(resources.looked),
                        "cut_short": .bool(resources.isCutShort),
                    ])))
        }
        if plan.validUntil != .max {
            members.append(JSONMember("valid_until", .string(Instant.format(plan.validUntil))))
        }
        return .object(members)
    }
}
