// The stable codes of diagnostics, with what `stile explain CODE` says about each.

/// A stable code. E… are errors, W… warnings; a code never changes its meaning.
package enum DiagnosticCode: String, Sendable, Hashable, CaseIterable {
    case unexpectedCharacter = "E0001"
    case unterminatedString = "E0002"
    case badNumber = "E0003"
    case tooLarge = "E0004"
    case foreignOperator = "E0005"
    case badEscape = "E0006"
    case badDuration = "E0007"
    case badAddress = "E0008"
    case badInstant = "E0009"
    case tooManyMistakes = "E0010"
    case expected = "E0101"
    case nestedTooDeep = "E0102"
    case notAvailable = "E0103"
    case unclosedBlock = "E0104"
    case repeatedClause = "E0105"
    case strayBrace = "E0106"
    case outsidePolicy = "E0107"
    case catalogCount = "E0201"
    case duplicateName = "E0202"
    case unknownType = "E0203"
    case badDefault = "E0204"
    case needsDefault = "E0205"
    case badSource = "E0206"
    case unknownLevel = "E0207"
    case reservedName = "E0208"
    case assuranceCircle = "E0209"
    case badRange = "E0210"
    case nestedSet = "E0211"
    case sourceOrder = "E0212"
    case sourceNotAllowed = "E0213"
    case actionProperties = "E0214"
    case needsSource = "E0215"
    case unknownName = "E0301"
    case unknownAttribute = "E0302"
    case typeMismatch = "E0303"
    case optionalRead = "E0304"
    case unknownAction = "E0305"
    case unknownEntity = "E0306"
    case unknownRole = "E0307"
    case roleCycle = "E0308"
    case notOrdered = "E0309"
    case assuranceRead = "E0310"
    case mixedSubjects = "E0311"
    case actionNotOnType = "E0312"
    case unknownCase = "E0313"
    case unknownMethod = "E0314"
    case badDemand = "E0315"
    case forbidDemand = "E0316"
    case setCompared = "E0317"
    case constantComparison = "E0318"
    case notInCollection = "E0319"
    case severalTypes = "E0320"
    case groupOfOther = "E0321"
    case resourceInRole = "E0322"
    case notACondition = "E0323"
    case badSchedule = "E0324"
    case badArithmetic = "E0325"
    case badContainer = "E0326"
    case badTemplate = "E0327"
    case letCircle = "E0328"
    case incompleteTest = "E0401"
    case repeatedStep = "E0402"
    case unknownOutcome = "E0403"
    case notGiven = "E0404"
    case constantCondition = "W0001"
    case unusedRole = "W0002"
    case unusedLet = "W0003"
    case neverMatches = "W0004"
    case hiddenByForbid = "W0005"
    case coversNothing = "W0006"
    case neverFilled = "W0007"
    case neverTaken = "W0008"

    /// Errors stop compilation, warnings do not.
    package var severity: Diagnostic.Severity { rawValue.hasPrefix("W") ? .warning : .error }

    /// One line.
    package var title: String { Self.texts[self]?.title ?? rawValue }
    /// A paragraph with an example.
    package var explanation: String { Self.texts[self]?.explanation ?? "" }

    private static let texts: [DiagnosticCode: (title: String, explanation: String)] = [
        .unexpectedCharacter: (
            "a character that starts nothing in the language",
            "Names are letters, digits and `_`; text stands in double quotes; comments start with `//`."
        ),
        .unterminatedString: (
            "a text without its closing quote",
            "A text ends on the line it starts on. Write `\\\"` for a quote inside it and `\\n` for a line break. A text "
                + "of several lines is one text with `\\n` in it."
        ),
        .badNumber: (
            "a number that cannot be counted with",
            "Numbers: `42`, `250_000`, `2.5`. A number has at most six digits after the point, because decimals are exact; "
                + "a whole number is below 9223372036854775808."
        ),
        .tooLarge: (
            "text above a limit",
            "A limit of the language was passed; the message names it. Split the file or the policy."
        ),
        .foreignOperator: (
            "an operator of another language",
            "Conditions are joined by the words `and`, `or`, `not`. `==` compares, `=` declares. There is no arithmetic: "
                + "let the application send the sum."
        ),
        .badEscape: (
            "an escape that texts do not have",
            "After a backslash stands one of `\"`, `\\`, `n`, `t`. A backslash itself is written `\\\\`."
        ),
        .badDuration: (
            "a duration that cannot be read",
            "A number and a unit, without a space: `500ms`, `30s`, `15m`, `8h`, `7d`, `2w`; also `1h30m`. Months and years "
                + "have no fixed length; write days."
        ),
        .badAddress: (
            "an address or a network that cannot be read",
            "Addresses: `192.0.2.7`, `2001:db8::1`. Networks: `10.0.0.0/8` (at most /32), `2001:db8::/32` (at most /128)."
        ),
        .badInstant: (
            "an instant that cannot be read",
            "A day, a time and a zone: `2026-01-05T09:00:00Z` or `2026-01-05T10:00:00+01:00`. The day must exist."
        ),
        .tooManyMistakes: (
            "more mistakes than are told at once",
            "After 200 errors the rest of the text is not looked at. Usually one of the first is the cause of many."
        ),
        .expected: (
            "something else was expected here",
            "The text does not follow the grammar (grammar/stile.ebnf). The message says what can stand here."
        ),
        .nestedTooDeep: ("parentheses nested too deep", "At most 64 levels. Give the inner part a name with `role`."),
        .notAvailable: (
            "a construct that this version does not have",
            "The construct is part of the language's plan, but this version cannot decide by it, so it is refused."
        ),
        .unclosedBlock: (
            "a block without its closing brace",
            "Every `{` needs a `}`. The message marks the `{` that is left over, and says where the next block begins."
        ),
        .repeatedClause: (
            "a clause that stands twice",
            "An attribute has each of `from`, `expires`, `doc`, `use` at most once. A rule has each of `as`, `to`, `when`, `unless`, `requires`, `because` at most once. Join conditions with "
                + "`and` or `or`, or write two rules: permits add up."
        ),
        .strayBrace: (
            "a closing brace that closes nothing",
            "There is a `}` too many, here or above, or a `{` is missing."
        ),
        .outsidePolicy: (
            "a rule outside of any policy",
            "Rules, roles and lets stand inside `policy \"name\" { … }`. A `}` too many above ends the policy too early."
        ),
        .catalogCount: (
            "a tenant needs exactly one catalog",
            "One file of the folder holds `catalog \"name\" version 1.0.0 { … }`; the others hold policies."
        ),
        .duplicateName: (
            "a name declared twice", "Names of one kind are unique within a catalog, and roles within a tenant."
        ),
        .unknownType: (
            "an unknown type of attribute",
            "Types: bool, int, decimal, string, datetime, duration, ipaddr, enum(a, b) or enum(a < b), a range `0...5`, "
                + "the name of an entity type, and `set of` one of these."
        ),
        .badDefault: ("a default that does not fit the type", "`level : 0...5 = 0`, `kind : enum(a, b) = a`."),
        .needsDefault: (
            "an attribute from outside without default",
            "A value that a provider brings can be missing. Give a default (`= \"\"`) or make it optional (`string?`)."
        ),
        .badSource: (
            "a source that does not fit",
            "Sources: scim \"path\", caep \"event\", risc \"event\", token \"claim\", application, request. `request` comes "
                + "last, because a question never overrides a live value."
        ),
        .unknownLevel: (
            "an assurance level that the catalog does not declare",
            "Levels stand in the catalog: `assurance password < mfa`."
        ),
        .reservedName: ("a name that the language keeps for itself", "Choose another name."),
        .assuranceCircle: (
            "assurance levels that stand in a circle",
            "`assurance a < b, b < a` would make each level weaker than itself. Say once which level is above which."
        ),
        .badRange: (
            "a range of integers that is none", "A range names two whole numbers, the smaller first: `0...5`, `-1...1`."
        ),
        .nestedSet: (
            "a set of sets", "Sets hold scalars: `set of string`, `set of user`, `set of enum(a, b)`."
        ),
        .needsSource: (
            "a signal without source",
            "A signal is what a provider tells in an event: `signal user.risk: enum(low < high) = low from caep "
                + "\"risk-level-change\" expires 7d`."
        ),
        .sourceOrder: (
            "`request` before another source",
            "Sources are tried in order, and a question never overrides a live value. `from scim \"role\", request` lets "
                + "the question fill in only what the provider did not bring."
        ),
        .sourceNotAllowed: (
            "a source for what only a question can bring",
            "The properties of an action and the context describe one question, so their values come with it. Declare the "
                + "attribute on an entity when a provider or the application holds it."
        ),
        .actionProperties: (
            "an action declared again with other properties",
            "An action has the same properties on every type: `action delete on payrun, invoice { soft: bool }`. Give the "
                + "action another name when its properties differ."
        ),
        .unknownName: (
            "an unknown name",
            "Names in conditions: the subject's type, resource, action, context, device, session, lets."
        ),
        .unknownAttribute: (
            "an attribute that the catalog does not declare",
            "Only declared attributes can be read; declare it or mend the spelling."
        ),
        .typeMismatch: (
            "two sides of different types",
            "Comparing different types is an error here, never false later. A number is not a text: `\"3\"` is not `3`."
        ),
        .optionalRead: (
            "an optional attribute read without asking",
            "It may be absent. Ask first: `has user.manager and user.manager == …`, or give a stand-in: `user.level ?? 0`."
        ),
        .unknownAction: (
            "an action that the catalog does not declare",
            "Actions stand in the catalog: `action read, approve on payrun`."
        ),
        .unknownEntity: (
            "an entity type that the catalog does not declare", "Types stand in the catalog: `entity payrun { … }`."
        ),
        .unknownRole: (
            "a role that no policy declares", "Declare it: `role approver is user.department == \"Finance\"`."
        ),
        .roleCycle: ("roles that include one another", "A role's condition must not lead back to the role itself."),
        .notOrdered: (
            "an order between values that have none",
            "`<` needs numbers, instants, durations or an enum declared with `<`."
        ),
        .assuranceRead: (
            "assurance read in a condition",
            "Conditions never read how the user signed in; ask for it with `requires mfa within 15m`, so that a step-up "
                + "can be offered when it would help."
        ),
        .mixedSubjects: (
            "a rule about two kinds of subject",
            "A rule speaks of one subject type by name; use `subject.` for what they share."
        ),
        .actionNotOnType: (
            "an action that does not exist on this type", "The catalog says on which types an action exists."
        ),
        .unknownCase: ("a word that is no case of the enum", "Only the declared cases can be compared with."),
        .unknownMethod: (
            "an unknown authentication method", "Methods are those of RFC 8176 (pwd, otp, hwk, …) and `pop`."
        ),
        .badDemand: ("an empty demand", "Ask for a level, an age or a method: `requires mfa within 15m using hwk`."),
        .forbidDemand: (
            "a forbid that requires something",
            "A forbid denies, whatever the session proves. To let stronger sessions pass, write "
                + "`require mfa for approve on payrun when …`."
        ),
        .setCompared: (
            "a set compared as a whole",
            "Ask what a set holds: `resource.tags contains \"old\"`, `resource.tags intersects [\"a\", \"b\"]`, "
                + "`resource.tags subset of [\"a\", \"b\"]`, `count(resource.tags) == 0`."
        ),
        .constantComparison: (
            "a comparison that reads nothing",
            "Both sides are written in the policy, so the answer never changes. Compare an attribute such as "
                + "`user.department`, or drop the comparison."
        ),
        .notInCollection: (
            "`in` without a collection",
            "To the right of `in` stands a list `[\"a\", \"b\"]`, a range `1...5`, a network `10.0.0.0/8`, a set such as "
                + "`resource.editors`, or `group \"Name\"`."
        ),
        .severalTypes: (
            "`resource` where it can be of several types",
            "`resource` alone is the resource's id, which is only compared with ids of one type. Write a rule for each type."
        ),
        .groupOfOther: (
            "something else than the subject in a group",
            "Groups have the subjects of questions as members: `user in group \"Auditors\"`."
        ),
        .resourceInRole: (
            "a role that reads the resource or the action",
            "A role says something about the subject, so that it means the same in every rule. Put conditions on the "
                + "resource into the rule: `permit read on payrun to role approver when resource.status == draft`."
        ),
        .notACondition: (
            "a value where a condition is needed",
            "A condition is true or false: `user.department == \"Finance\"`, `user in group \"Auditors\"`, "
                + "`device.compliant`."
        ),
        .badSchedule: (
            "a schedule that cannot be read",
            "`now in \"Mon-Thu 08:00-18:00, Fri 08:00-14:00 Europe/Berlin\"`: days (all when none is named), times (the "
                + "whole day when none is given), and a zone of the IANA time zone database last. Times are those of the "
                + "zone's clock, so they move with daylight saving; a time past midnight belongs to the day it starts on."
        ),
        .badArithmetic: (
            "instants and durations that do not add up",
            "A duration can be added to an instant or taken off it, and the difference of two instants is a duration: "
                + "`now - resource.created > 30d`, `resource.due + 2h <= now`. Nothing else is calculated."
        ),
        .badContainer: (
            "a container in which the resource cannot lie",
            "The catalog says what lies in what: `entity document in folder { … }`, `entity folder in folder`. Then a rule "
                + "can ask `resource in folder \"Reports\"`, which holds at any depth."
        ),
        .badTemplate: (
            "a duty's text or value that cannot be filled in",
            "Texts of duties name values in braces: `\"Payrun approved by {user.department}\"`. There are `{user}`, "
                + "`{resource}` (their ids), `{action}`, `{now}` and attributes; `{{` and `}}` stand for braces."
        ),
        .letCircle: (
            "lets that stand for one another",
            "A let names a value: `let corporate = [10.0.0.0/8]`. It may name another let, but the last must be a value."
        ),
        .incompleteTest: (
            "a test without question or expectation", "A test has `ask ACTION on TYPE { … }` and `expect permit`."
        ),
        .repeatedStep: (
            "a step that stands twice in one test",
            "A test asks one question in one situation and expects one answer. Write another test for another question."
        ),
        .unknownOutcome: (
            "an outcome that answers do not have",
            "`expect permit`, `expect deny`, `expect step_up` (with a demand, if you like: `expect step_up mfa within 15m`) "
                + "or `expect error`."
        ),
        .notGiven: (
            "something that a test cannot give",
            "`given user { … }` (or another subject type), `given session { … }`, `given device { … }`, "
                + "`given context { … }`, `given now 2026-01-05T09:00:00Z`. The resource's values stand behind `ask`."
        ),
        .constantCondition: (
            "a condition that is always the same",
            "No question makes it other than it is, for all values that the catalog allows, so it says nothing; or one of "
                + "its alternatives does. Drop it, or mend its values: perhaps `or` was meant for `and`, or the other way round."
        ),
        .unusedRole: (
            "a role that nothing uses",
            "No rule names it, and no role that a rule names includes it; that it is offered does not make it count. Drop it, "
                + "or use it with `role name`."
        ),
        .unusedLet: ("a let that nothing uses", "Drop it."),
        .neverMatches: (
            "a rule or role that can never hold",
            "Its conditions exclude one another, as in `user.region == eu and user.region == us`, or ask for a value that the "
                + "catalog rules out. Perhaps `or` was meant, or `in [eu, us]`."
        ),
        .hiddenByForbid: (
            "a permit that forbids always beat",
            "A forbid beats every permit. Whenever this permit matches, that forbid matches too, or one of those that are "
                + "named does, so the permit changes nothing. Narrow a forbid (`unless …`) or drop the permit."
        ),
        .neverFilled: (
            "an attribute that no source fills",
            "Resources are filled by the application, by the question and by signals (`from application`, `from request`, "
                + "`from caep`, `from risc`), sessions and devices by tokens, signals and the application (`from token`), subjects "
                + "by all of these and SCIM. With another source the attribute always has its default, so the condition decides "
                + "nothing."
        ),
        .neverTaken: (
            "an offer that can never be taken",
            "Whoever takes a role sends no properties and no context, and an offer that reads a required attribute which only "
                + "comes `from request` is an error then, as is every other offer of the role for such a subject. Read an "
                + "attribute that a source fills beforehand, such as `from scim` or `from application`, or give this one a "
                + "default."
        ),
        .coversNothing: (
            "a test that no rule speaks to",
            "No rule is about this action on this type by this subject, or none of those that are can ever match there, so the "
                + "answer is deny whatever the test gives. Mend the question, or write the rule that the test is for."
        ),
    ]
}
