// `stile plan`: what remains of the policies when the resource is not known.

import AnalysisReports
import ArgumentParser
import DecisionEngine
import DecisionPath
import DecisionProtocol
import PolicyAnalysis
import PolicyLanguage
import StrictJSON
import Surveys

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say for which resources a question is permitted: as a formula, as the WHERE of a query, or as JSON.",
        discussion: """
            stile plan policies/ledger '{"subject":{"type":"user","id":"ada"},
              "action":{"name":"approve"},"resource":{"type":"payrun"},
              "session":"s-ada"}' --sql sqlite

            The question is one for `stile ask` whose resource has a type and no id. Everything else is looked up as it \
            is then. Properties of the resource that are given count as they do when each row is asked about: where a row \
            says nothing of them, and for all rows where only a question can fill them. Three outcomes are kept apart: \
            permitted, permitted after a step-up, and neither. Rows that lack a required attribute, or hold a value that the catalog \
            does not know, are neither, as they are when they are asked about one by one.

            --sql writes the WHERE for permitted rows, and with --outcome step_up the one for rows that need a step-up. \
            Columns are called like attributes unless --column says otherwise, and hold:
              sqlite      0 and 1; INTEGER or REAL; TEXT; instants and durations as
                          milliseconds; addresses as BLOBs of 16 bytes (IPv4 as
                          ::ffff:a.b.c.d); sets as JSON arrays without null
              postgresql  boolean; bigint; numeric; text; timestamptz; durations as
                          bigint milliseconds; inet; arrays
            Texts are in Unicode's form NFC and compared byte by byte. A REAL is exact for six decimals up to 8 thousand \
            million; --decimal NAME=DIGITS is for whole numbers of a smaller unit, exact up to the language's own limit. \
            NULL means no value.

            A plan is as fresh as the moment it is made: ask again after "holds until", and after every change.

            Exit codes: 0 done; 1 nothing is permitted, not even after a step-up; 65 the question or an option does not fit \
            the catalog, or SQL has no form for something in the condition, which is named.
            """)

    @Argument(help: "A tenant's folder (unless --store is given), then the question as JSON.")
    var arguments: [String]

    @OptionGroup var options: SurveyOptions

    @Option(help: "Write the WHERE of a query for this database: sqlite or postgresql.")
    var sql: SQLDialect?

    @Option(help: "The rows that --sql selects: permit or step_up.")
    var outcome: PlannedOutcome = .permit

    @Option(help: "The table's name or alias, put before columns.")
    var table = ""

    @Option(help: "The column of an attribute: NAME=COLUMN; `id=COLUMN` for the resource's id. Repeat for several.")
    var column: [String] = []

    @Option(help: "A decimal whose column counts a smaller unit: NAME=DIGITS, 2 for hundredths. Repeat for several.")
    var decimal: [String] = []

    @Option(
        help: ArgumentHelp(
            "The table of what lies in what, directly or deeper.",
            discussion: "Its columns: resource_type, resource_id, container_type, container_id."))
    var containers: String?

    @Flag(help: "Write parameters (?1 or $1) in place of values, and list them below.")
    var parameters = false

    @Flag(
        name: .customLong("trust-values"),
        help: "Leave out the tests that values fit the catalog: the table's constraints see to it.")
    var trustValues = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if arguments.count != (options.store == nil ? 2 : 1) {
            throw ValidationError(options.store == nil ? "name a folder and give a question" : "give a question")
        }
        let isForSQL = !column.isEmpty || !decimal.isEmpty || !table.isEmpty || containers != nil
        if sql == nil, isForSQL || parameters || trustValues {
            throw ValidationError(
                "--table, --column, --decimal, --containers, --parameters and --trust-values go with --sql")
        }
        _ = try sqlOptions(.sqlite)
    }

    func run() throws {
        let (folder, rest) = options.split(arguments)
        let question = try Self.question(rest[0], options)
        let tenant = try OpenTenant(options, folder: folder)
        let survey = tenant.survey
        try withSurvey { () throws(SurveyError) in try survey.ask(question) }
        let session = try tenant.assume(options)
        switch session {
        case .recorded(let id): try withSurvey { () throws(SurveyError) in try survey.look(session: id) }
        case .none: try withSurvey { () throws(SurveyError) in try survey.look(session: nil) }
        case .own, .assumed: break
        }
        let situation = try withSurvey { () throws(SurveyError) in try survey.situation() }
        try tenant.requireKnown(situation)
        let plan = PolicyPlan(survey.program.policies, situation)
        if output.json {
            Terminal.write(try json(plan).compact + "\n")
        } else if let sql {
            Terminal.write(try sqlText(plan, sql))
        } else {
            Terminal.write(PlanText(plan).render())
        }
        if plan.permitExtent == .never, plan.stepUpExtent == .never { throw Exit.findings }
    }

    private static func question(_ text: String, _ options: SurveyOptions) throws(ExitCode) -> Question {
        let json = try JSONText.parse(text, "the question")
        var members = json.object ?? []
        if let place = members.firstIndex(where: { $0.name == "resource" }), members[place].value["id"] == nil {
            members[place].value = .object((members[place].value.object ?? []) + [JSONMember("id", .string("*"))])
        }
        if let context = options.context {
            members.removeAll { $0.name == "context" }
            members.append(JSONMember("context", try JSONText.parse(context, "--context")))
        }
        do throws(RequestError) {
            return try Question(json: .object(members))
        } catch {
            throw Terminal.failure(error.description, Exit.data)
        }
    }

    // MARK: SQL

    private func sqlOptions(_ dialect: SQLDialect) throws -> SQLOptions {
        var made = SQLOptions(dialect: dialect)
        made.table = table
        made.containers = containers
        made.usesParameters = parameters
        made.trustsValues = trustValues
        for (option, texts) in [("column", column), ("decimal", decimal)] {
            for text in texts {
                let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { throw ValidationError("--\(option) \(text): write NAME=…") }
                if option == "column" {
                    if parts[0] == "id" { made.identity = parts[1] } else { made.columns[parts[0]] = parts[1] }
                } else {
                    guard let digits = Int(parts[1]), (0...6).contains(digits) else {
                        throw ValidationError("--decimal \(text): digits are from 0 to 6")
                    }
                    made.decimals[parts[0]] = digits
                }
            }
        }
        return made
    }

    private func condition(_ plan: PolicyPlan, _ dialect: SQLDialect, _ outcome: PlannedOutcome) throws -> SQLCondition
    {
        let options = try sqlOptions(dialect)
        try requireKnown(options, plan)
        do throws(SQLError) {
            return try plan.sql(outcome == .permit ? plan.permit : plan.stepUp, options)
        } catch {
            throw Terminal.failure(error.description, Exit.data)
        }
    }

    /// Ends when the options name an attribute that the resource does not have, or no decimal: the column would be another
    /// than was meant.
    private func requireKnown(_ options: SQLOptions, _ plan: PolicyPlan) throws(ExitCode) {
        let catalog = plan.restriction.policies.catalog
        let type = catalog.entities[plan.restriction.resourceType]
        for name in options.columns.keys.sorted() where type.slot(of: name) == nil {
            throw unknown("--column", name, type.attributes.map(\.name) + ["id"], type)
        }
        let decimals = type.attributes.filter { $0.type == .decimal || $0.type == .set(of: .decimal) }.map(\.name)
        for name in options.decimals.keys.sorted() where !decimals.contains(name) {
            throw unknown("--decimal", name, decimals, type)
        }
    }

    private func unknown(_ option: String, _ name: String, _ known: [String], _ type: EntityType) -> ExitCode {
        let what = option == "--decimal" ? "decimal" : "attribute"
        let list = known.isEmpty ? "it has none" : "there are \(known.joined(separator: ", "))"
        return Terminal.failure("\(option): a \(type.name) has no \(what) \"\(name)\"; \(list)", Exit.data)
    }

    private func sqlText(_ plan: PolicyPlan, _ dialect: SQLDialect) throws -> String {
        let sql = try condition(plan, dialect, outcome)
        var text = sql.text + "\n"
        for (index, parameter) in sql.parameters.enumerated() {
            text += "-- \(dialect == .sqlite ? "?" : "$")\(index + 1): \(parameter.json.compact)\n"
        }
        return text
    }

    // MARK: JSON

    private func json(_ plan: PolicyPlan) throws -> JSONValue {
        let policies = plan.restriction.policies
        let writer = ConditionJSON(policies)
        let texts = PlanText(plan)
        func outcome(_ condition: Condition, _ extent: Extent, _ outcome: PlannedOutcome) throws -> [JSONMember] {
            var members = [
                JSONMember("extent", .string("\(extent)")), JSONMember("when", .string(texts.text(condition))),
                JSONMember("condition", writer.write(condition)),
            ]
            if let sql {
                let made = try self.condition(plan, sql, outcome)
                members.append(JSONMember("sql", .string(made.text)))
                if parameters { members.append(JSONMember("parameters", .array(made.parameters.map(\.json)))) }
            }
            return members
        }
        let demands = plan.stepUps.map { demand, condition in
            JSONValue.object([
                "step_up": PolicyAnalysis.Outcome.stepUp(demand).json, "when": .string(texts.text(condition)),
                "condition": writer.write(condition),
            ])
        }
        var members = [
            JSONMember("permit", .object(try outcome(plan.permit, plan.permitExtent, .permit))),
            JSONMember(
                "step_up",
                .object(
                    try outcome(plan.stepUp, plan.stepUpExtent, .stepUp) + [JSONMember("demands", .array(demands))])),
            JSONMember("required", .array(plan.required.map { .string("\($0.scope).\($0.name)") })),
            JSONMember("missing", .array(plan.faults.map { .string("\($0.scope).\($0.name)") })),
            JSONMember("columns", .array(columns(plan))),
        ]
        let fallbacks = plan.fallbacks
        if !fallbacks.isEmpty {
            members.append(
                JSONMember(
                    "where_absent",
                    .object(fallbacks.map { JSONMember($0.name, writer.write($0.value, type: $0.type)) })))
        }
        if plan.validUntil != .max {
            members.append(JSONMember("valid_until", .string(Instant.format(plan.validUntil))))
        }
        return .object(members)
    }

    /// The attributes of the resource's type, so that whoever fills the table knows what belongs there.
    private func columns(_ plan: PolicyPlan) -> [JSONValue] {
        let catalog = plan.restriction.policies.catalog
        return catalog.entities[plan.restriction.resourceType].attributes.map { attribute in
            var members = [
                JSONMember("name", .string(attribute.name)),
                JSONMember("type", .string(attribute.type.spelling { catalog.entities[$0].name })),
                JSONMember("required", .bool(attribute.isRequired)),
            ]
            if let cases = attribute.type.enumeration?.cases {
                members.append(JSONMember("cases", .array(cases.map { .string($0) })))
            }
            return .object(members)
        }
    }
}

/// Which rows a WHERE selects.
enum PlannedOutcome: String, ExpressibleByArgument {
    case permit
    case stepUp = "step_up"
}

extension SQLDialect: ExpressibleByArgument {}

extension SQLParameter {
    /// The value; decimals as numbers with all their digits.
    var json: JSONValue {
        switch self {
        case .text(let text): .string(text)
        case .integer(let value): .integer(value)
        case .decimal(let text): .number(text)
        }
    }
}

/// A plan as a person reads it.
struct PlanText {
    let plan: PolicyPlan
    private let words: ConditionText

    init(_ plan: PolicyPlan) {
        self.plan = plan
        words = ConditionText(plan.restriction.policies, subjectType: plan.restriction.subjectType)
    }

    /// A condition on one line.
    func text(_ condition: Condition) -> String { words.write(condition) }

    func render() -> String {
        var text = ""
        if !plan.faults.isEmpty {
            let names = plan.faults.map { words.name($0) }.joined(separator: ", ")
            return Terminal.paint("NEVER", "1;31") + "  every question is an error: give \(names)\n"
        }
        text += outcome(Terminal.paint("PERMIT", "1;32"), plan.permit, plan.permitExtent)
        if plan.stepUpExtent != .never {
            let otherwise = plan.permitExtent == .never ? "" : ", of the others"
            let lines =
                plan.stepUps.isEmpty
                ? [(demand: nil, condition: plan.stepUp)]
                : plan.stepUps.map {
                    (demand: Optional($0.demand), condition: $0.condition)
                }
            for (demand, condition) in lines {
                let head = Terminal.paint("STEP UP", "1;33") + (demand.map { " to \($0.text)" } ?? "") + otherwise
                text += outcome(head, condition, condition == .constant(true) ? .always : .sometimes)
            }
        }
        if !plan.required.isEmpty {
            let names = plan.required.map { words.name($0) }.joined(separator: ", ")
            text += Terminal.paint("  without \(names): an error, answered by deny", "2") + "\n"
        }
        for (name, value, type) in plan.fallbacks {
            let value = ConstantText.write(value, type.enumeration)
            text += Terminal.paint("  where resource.\(name) is absent: \(value), as the question says", "2") + "\n"
        }
        if plan.validUntil != .max {
            text += Terminal.paint("  holds until \(Instant.format(plan.validUntil))", "2") + "\n"
        }
        return text
    }

    func outcome(_ head: String, _ condition: Condition, _ extent: Extent) -> String {
        switch extent {
        case .always: return "\(head)  always\n"
        case .never: return "\(head)  never\n"
        case .sometimes: return head + "\n" + lines(condition, indentation: "  ")
        }
    }

    /// A condition over several lines, one for each part.
    func lines(_ condition: Condition, indentation: String) -> String {
        switch condition {
        case .all(let parts):
            return indentation + "when " + words.conjuncts(parts).joined(separator: "\n\(indentation) and ") + "\n"
        case .any(let parts):
            let texts = parts.map { words.write($0) }
            return indentation + "when " + texts.joined(separator: "\n\(indentation)  or ") + "\n"
        default: return indentation + "when \(words.write(condition))\n"
        }
    }
}
