// Offers of roles and duties that go with answers.

extension PolicyChecker {
    mutating func offer(_ syntax: OfferSyntax, policy: String, lets: [String: LetSource]) -> CheckedOffer? {
        guard let role = role(named: syntax.role) else { return nil }
        offeredRoles[syntax.role.text] = syntax.role.range
        let rule = syntax.rule
        guard syntax.atMost > 0 else {
            sink.report(
                .badDuration, "a role cannot be granted for no time", at: rule.range, help: "write `for at most 4h`")
            return nil
        }
        let parts = [rule.to, rule.when, rule.unless].compactMap { $0 }
        guard let subjects = subjectTypes(rule.subjectType, parts, at: rule.range) else { return nil }
        let shared = subjects.filter { roles[role].subjectTypes.contains($0) }
        guard !shared.isEmpty else {
            sink.report(
                .mixedSubjects, "role `\(syntax.role.text)` is about other kinds of subject", at: syntax.role.range,
                help: "offer it to the subjects it is about")
            return nil
        }
        let scope = ExpressionScope(subjectTypes: shared, actions: [], resourceTypes: [], lets: lets, isRole: true)
        guard let (condition, demand) = conditions(rule, scope) else { return nil }
        let name = rule.label.map { "\(policy)/\($0.text)" } ?? "\(policy) offer \(syntax.role.text)"
        return CheckedOffer(
            name: name, role: role, atMost: syntax.atMost, subjectTypes: shared, condition: condition, demand: demand,
            reason: rule.reason, range: rule.range, rolePlace: syntax.role.range)
    }

    mutating func obligation(
        _ syntax: ObligationSyntax, policy: String, number: Int, lets: [String: LetSource]
    ) -> CheckedObligation? {
        let places = syntax.duties.flatMap { $0.texts.flatMap { Self.places(of: $0) } }
        guard let scope = ruleScope(syntax.rule, lets: lets, alsoNaming: places),
            let (condition, _) = conditions(syntax.rule, scope)
        else {
            return nil
        }
        var duties: [Duty] = []
        for duty in syntax.duties {
            guard let checked = self.duty(duty, scope) else { return nil }
            duties.append(checked)
        }
        let name = syntax.rule.label.map { "\(policy)/\($0.text)" } ?? "\(policy) on#\(number)"
        return CheckedObligation(
            name: name, occasion: syntax.occasion, subjectTypes: scope.subjectTypes,
            actions: scope.actions.map { Array(Set($0)).sorted() },
            resourceTypes: scope.resourceTypes.map { Array(Set($0)).sorted() }, condition: condition, duties: duties,
            range: syntax.rule.range)
    }

    private mutating func duty(_ syntax: DutySyntax, _ scope: ExpressionScope) -> Duty? {
        switch syntax {
        case .notify(let to, let body, let topic):
            guard let to = template(to, scope), let body = template(body, scope) else { return nil }
            return .notify(to: to, body: body, topic: topic?.text)
        case .terminateSessions: return .terminateSessions
        case .custom(let fields):
            var checked: [Duty.CustomField] = []
            var seen = Set<String>()
            for field in fields {
                guard seen.insert(field.name.text).inserted else {
                    sink.report(
                        .duplicateName, "`\(field.name.text)` is given twice", at: field.name.range,
                        help: "remove one, or rename it")
                    return nil
                }
                guard let value = customValue(field.value, scope) else { return nil }
                checked.append(Duty.CustomField(name: field.name.text, value: value))
            }
            return .custom(checked)
        }
    }

    private mutating func customValue(_ value: ValueSyntax, _ scope: ExpressionScope) -> Duty.Value? {
        switch value.form {
        case .text(let text): return template(Name(text: text, range: value.range), scope).map { .text($0) }
        case .integer(let number): return .integer(number)
        case .decimal(let number): return .decimal(number)
        case .boolean(let truth): return .boolean(truth)
        case .list(let values):
            var list: [Duty.Value] = []
            for value in values {
                guard let checked = customValue(value, scope) else { return nil }
                list.append(checked)
            }
            return .list(list)
        default:
            sink.report(
                .badTemplate, "a duty's value is a text, a number, true, false or a list of them", at: value.range,
                help: "an attribute stands in a text: \"{user.department}\"")
            return nil
        }
    }

    /// `Payrun approved by {user.name}`; `{{` and `}}` stand for braces.
    private mutating func template(_ text: Name, _ scope: ExpressionScope) -> MessageTemplate? {
        var parts: [MessageTemplate.Part] = []
        var literal = ""
        var rest = text.text.unicodeScalars[...]
        func range(to end: String.Index) -> SourceRange {
            let utf8 = text.text.utf8
            let start = utf8.distance(from: utf8.startIndex, to: rest.startIndex) - 1
            return text.range.part(start..<utf8.distance(from: utf8.startIndex, to: end), of: text.text)
        }
        while let character = rest.first {
            rest = rest.dropFirst()
            if character == "{" || character == "}", rest.first == character {
                literal.unicodeScalars.append(character)
                rest = rest.dropFirst()
            } else if character == "{" {
                guard let end = rest.firstIndex(of: "}") else {
                    return badTemplate("`{` is not closed", range(to: rest.endIndex))
                }
                let place = range(to: rest.index(after: end))
                guard let part = self.place(String(rest[..<end]), place, scope) else { return nil }
                if !literal.isEmpty { parts.append(.text(literal)) }
                literal = ""
                parts.append(part)
                rest = rest[rest.index(after: end)...]
            } else if character == "}" {
                return badTemplate("`}` closes nothing", range(to: rest.startIndex))
            } else {
                literal.unicodeScalars.append(character)
            }
        }
        if !literal.isEmpty { parts.append(.text(literal)) }
        return MessageTemplate(parts: parts)
    }

    /// The first names of the places in a template.
    private static func places(of text: Name) -> [Name] {
        text.text.split(separator: "{").dropFirst(text.text.hasPrefix("{") ? 0 : 1).map { piece in
            let word = piece.prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
            return Name(text: String(word), range: text.range)
        }
    }

    private mutating func badTemplate(_ message: String, _ range: SourceRange) -> MessageTemplate? {
        sink.report(.badTemplate, message, at: range, help: "write {user.department}, or {{ and }} for braces")
        return nil
    }

    private mutating func place(
        _ text: String, _ range: SourceRange, _ scope: ExpressionScope
    ) -> MessageTemplate.Part? {
        let words = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let isName = words.allSatisfy { word in
            !word.isEmpty
                && word.utf8.allSatisfy {
                    (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f
                }
        }
        guard isName, words.count <= 2 else {
            _ = badTemplate("`{\(text)}` names no value", range)
            return nil
        }
        if words.count == 2 {
            let path = words.map { Name(text: $0, range: range) }
            return attribute(path, scope, range: range).map { .attribute($0.0) }
        }
        switch words[0] {
        case "resource": return .resource
        case "action": return .action
        case "now": return .now
        case "subject": return .subject
        default:
            if let index = entities[words[0]], scope.subjectTypes.contains(index) { return .subject }
            _ = badTemplate("`{\(text)}` names no value", range)
            return nil
        }
    }
}

extension DutySyntax {
    /// Every text that can have places to fill in.
    fileprivate var texts: [Name] {
        switch self {
        case .notify(let to, let body, _): [to, body]
        case .terminateSessions: []
        case .custom(let fields): fields.flatMap { $0.value.texts }
        }
    }
}

extension ValueSyntax {
    fileprivate var texts: [Name] {
        switch form {
        case .text(let text): [Name(text: text, range: range)]
        case .list(let values): values.flatMap(\.texts)
        default: []
        }
    }
}
