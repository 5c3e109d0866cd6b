// The stable codes of diagnostics, with what `stile explain CODE` says about each.

/// A stable code. E… are errors, W… warnings; a code never changes its meaning.
package enum DiagnosticCode: String, Sendable, Hashable, CaseIterable {
    case unexpectedCharacter = "E0001"
    case unterminatedString = "E0002"
    case badNumber = "E0003"
    case tooLarge = "E0004"
    case expected = "E0101"
    case nestedTooDeep = "E0102"
    case notAvailable = "E0103"
    case catalogCount = "E0201"
    case duplicateName = "E0202"
    case unknownType = "E0203"
    case badDefault = "E0204"
    case needsDefault = "E0205"
    case badSource = "E0206"
    case unknownLevel = "E0207"
    case reservedName = "E0208"
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
    case incompleteTest = "E0401"
    case constantCondition = "W0001"
    case unusedRole = "W0002"
    case unusedLet = "W0003"

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
            "A text ends on the line it starts on. Write `\\\"` for a quote inside it and `\\n` for a line break."
        ),
        .badNumber: (
            "a number, duration, address or instant that cannot be read",
            "Numbers: `42`, `250_000`, `2.5` (at most six digits after the point). Durations: `30s`, `15m`, `8h`, `7d`. "
                + "Networks: `10.0.0.0/8`, `2001:db8::/32`. Instants: `2026-01-05T09:00:00Z`."
        ),
        .tooLarge: (
            "text above a limit",
            "A limit of the language was passed; the message names it. Split the file or the policy."
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
        .incompleteTest: (
            "a test without question or expectation", "A test has `ask ACTION on TYPE { … }` and `expect permit`."
        ),
        .constantCondition: (
            "a condition that is always the same",
            "Either the rule always matches or never; drop the condition or the rule."
        ),
        .unusedRole: ("a role that nothing uses", "Drop it, or use it with `role name`."),
        .unusedLet: ("a let that nothing uses", "Drop it."),
    ]
}
