// `test` blocks to situations, questions and expectations.

extension PolicyChecker {
    mutating func test(_ syntax: TestSyntax) -> PolicyTest? {
        guard let question = syntax.question, let expectation = syntax.expectation else {
            // A step that could not be read may be the one that is missing.
            if syntax.isBroken { return nil }
            sink.report(
                .incompleteTest,
                "test \"\(syntax.name.text)\" has no \(syntax.question == nil ? "question" : "expectation")",
                at: syntax.name.range,
                help: syntax.question == nil
                    ? "add `ask ACTION on TYPE { … }`" : "add `expect permit`, `deny`, `step_up` or `error`")
            return nil
        }
        let knownAction = actions[question.action.text]
        if knownAction == nil {
            sink.report(
                .unknownAction, "no action `\(question.action.text)` in catalog \"\(catalog.name)\"",
                at: question.action.range, help: sink.suggestion(question.action.text, actions.keys))
        }
        let knownType = entities[question.type.text]
        if knownType == nil, !broken.missing.contains(question.type.text) {
            sink.report(
                .unknownEntity, "no entity type `\(question.type.text)` in catalog \"\(catalog.name)\"",
                at: question.type.range, help: sink.suggestion(question.type.text, entities.keys))
        }
        guard let expected = expected(expectation), let action = knownAction, let type = knownType else { return nil }
        var test = PolicyTest(
            name: syntax.name.text, subjectType: Catalog.user, subject: [:], subjectID: "test-subject", groups: [],
            session: nil, device: nil, action: action, actionProperties: [:], resourceType: type,
            resourceID: question.id ?? "test-resource", resource: [:], context: [:], now: syntax.now,
            expected: expected, range: syntax.range)
        for (what, fields) in syntax.given { given(what, fields, &test) }
        test.containers = question.containers.compactMap { container($0.type, $0.id, of: type) }
        test.resource = values(
            question.fields, catalog.entities[type].attributes, question.type.text, .entity(question.type.text), test)
        test.actionProperties = values(
            question.actionFields, catalog.actions[action].attributes, question.action.text,
            .action(question.action.text), test)
        return test
    }

    /// A container that the resource of a test's question lies in; nil when something was reported.
    private mutating func container(_ name: Name, _ id: Name, of type: Int) -> ContainerReference? {
        guard let index = entities[name.text] else {
            if broken.missing.contains(name.text) { return nil }
            sink.report(
                .unknownEntity, "no entity type `\(name.text)` in catalog \"\(catalog.name)\"", at: name.range,
                help: sink.suggestion(name.text, entities.keys))
            return nil
        }
        let possible = catalog.containers(above: type)
        guard possible.contains(index) else {
            let inner = catalog.entities[type].name
            let between = possible.union([type]).map { BrokenWords.Owner.entity(catalog.entities[$0].name) }
            if !broken.incomplete.isDisjoint(with: between) { return nil }
            let known = possible.sorted().map { "`\(catalog.entities[$0].name)`" }.joined(separator: ", ")
            sink.report(
                .badContainer, "a `\(inner)` cannot lie in a `\(name.text)`", at: name.range,
                help: possible.isEmpty
                    ? "declare it in the catalog: `entity \(inner) in \(name.text) { … }`" : "it can lie in: \(known)")
            return nil
        }
        return ContainerReference(type: index, id: id.text)
    }

    private mutating func expected(_ expectation: (word: Name, demand: DemandSyntax?)) -> Expectation? {
        switch expectation.word.text {
        case "permit": return .permit
        case "deny": return .deny
        case "error": return .error
        case "step_up":
            guard let syntax = expectation.demand else { return .stepUp(nil) }
            return demand(syntax).map { .stepUp($0) }
        default: return nil
        }
    }

    private mutating func given(_ what: Name, _ fields: [FieldSyntax], _ test: inout PolicyTest) {
        switch what.text {
        case "session": test.session = session(fields, test)
        case "device":
            test.device = values(fields, catalog.entities[Catalog.device].attributes, "device", .entity("device"), test)
        case "context": test.context = values(fields, catalog.context, "context", .context, test)
        default:
            guard let index = entities[what.text], catalog.entities[index].isSubject else {
                if broken.missing.contains(what.text) { return }
                sink.report(
                    .notGiven, "`\(what.text)` cannot be given", at: what.range,
                    help: what.text == "resource" || entities[what.text] != nil
                        ? "the resource's values stand behind `ask ACTION on TYPE { … }`"
                        : sink.suggestion(
                            what.text,
                            ["session", "device", "context", "now"]
                                + catalog.subjectTypes.map { catalog.entities[$0].name }))
                return
            }
            test.subjectType = index
            var rest: [FieldSyntax] = []
            for field in fields {
                switch (field.name.text, field.value.form) {
                case ("id", .text(let id)): test.subjectID = id
                case ("groups", .list(let list)):
                    for value in list {
                        if case .text(let name) = value.form {
                            test.groups.append(name)
                        } else {
                            sink.report(
                                .typeMismatch, "a group's name is needed here", at: value.range,
                                help: value.advice(for: .string) { _ in "" })
                        }
                    }
                case ("id", _): wrong(field, needs: "a text", "write the id in double quotes")
                case ("groups", _): wrong(field, needs: "a list of groups", "write `groups [\"Name\"]`")
                case ("granted", let form) where !catalog.entities[index].attributes.contains { $0.name == "granted" }:
                    granted(form, field, &test)
                default: rest.append(field)
                }
            }
            test.subject = values(rest, catalog.entities[index].attributes, what.text, .entity(what.text), test)
        }
    }

    /// The roles that the subject has taken: `granted [operator]`.
    private mutating func granted(_ form: ValueSyntax.Form, _ field: FieldSyntax, _ test: inout PolicyTest) {
        guard case .list(let list) = form else {
            return wrong(field, needs: "a list of roles", "write `granted [name]`")
        }
        for value in list {
            guard case .path(let path) = value.form, path.count == 1 else {
                sink.report(
                    .typeMismatch, "a role's name is needed here", at: value.range, help: "write it without quotes")
                continue
            }
            guard let role = role(named: path[0]) else { continue }
            if offeredRoles[path[0].text] == nil {
                sink.report(
                    .notGiven, "nobody can take the role `\(path[0].text)`", at: path[0].range,
                    help: "offer it (`offer role \(path[0].text) for at most 4h to …`), or leave it out")
            } else if !test.granted.contains(role) {
                test.granted.append(role)
            }
        }
    }

    private mutating func session(_ fields: [FieldSyntax], _ test: PolicyTest) -> TestSession {
        var session = TestSession(level: nil, age: 0, methods: 0, attributes: [:])
        var rest: [FieldSyntax] = []
        for field in fields {
            switch (field.name.text, field.value.form) {
            case ("assurance", .path(let path)) where path.count == 1:
                session.level = catalog.assurance.level(named: path[0].text)
                if session.level == nil, !broken.missing.contains(path[0].text) {
                    sink.report(
                        .unknownLevel, "no assurance level `\(path[0].text)`", at: field.value.range,
                        help: sink.suggestion(path[0].text, catalog.assurance.levels))
                }
            case ("age", .duration(let age)): session.age = age
            case ("methods", .list(let list)):
                for value in list {
                    if case .path(let path) = value.form, let bit = AuthenticationMethods.bit(path[0].text) {
                        session.methods |= bit
                    } else {
                        sink.report(
                            .unknownMethod, "no such authentication method", at: value.range,
                            help: "write one of RFC 8176, without quotes, such as pwd, otp, hwk, swk, face or fpt")
                    }
                }
            case ("assurance", _):
                wrong(field, needs: "a level", "write one of: \(catalog.assurance.levels.joined(separator: ", "))")
            case ("age", _): wrong(field, needs: "a duration", field.value.advice(for: .duration) { _ in "" })
            case ("methods", _): wrong(field, needs: "a list of methods", "write `methods [pwd, otp]`")
            default: rest.append(field)
            }
        }
        session.attributes = values(
            rest, catalog.entities[Catalog.session].attributes, "session", .entity("session"), test,
            also: ["assurance", "age", "methods"])
        return session
    }

    private mutating func wrong(_ field: FieldSyntax, needs: String, _ help: String) {
        sink.report(.typeMismatch, "`\(field.name.text)` needs \(needs)", at: field.value.range, help: help)
    }

    private mutating func values(
        _ fields: [FieldSyntax], _ attributes: [Attribute], _ owner: String, _ place: BrokenWords.Owner,
        _ test: PolicyTest, also others: [String] = []
    ) -> [Int: Constant] {
        var values: [Int: Constant] = [:]
        for field in fields where !sink.isFull {
            if broken.attributes.contains(.init(owner: place, name: field.name.text)) { continue }
            guard let slot = attributes.firstIndex(where: { $0.name == field.name.text }) else {
                if broken.mayHave(field.name.text, place) { continue }
                sink.report(
                    .unknownAttribute, "`\(owner)` has no attribute `\(field.name.text)`", at: field.name.range,
                    help: others.contains("assurance") && ["level", "acr"].contains(field.name.text)
                        ? "did you mean `assurance`?"
                        : sink.suggestion(field.name.text, attributes.map(\.name) + others)
                            ?? "the catalog declares what can be given")
                continue
            }
            if values[slot] != nil {
                sink.report(
                    .duplicateName, "`\(field.name.text)` is given twice", at: field.name.range,
                    help: "keep one of them")
                continue
            }
            let type = attributes[slot].type
            if case .path(let path) = field.value.form, path.count == 1, case .reference(let entity) = type,
                path[0].text == catalog.entities[test.subjectType].name || path[0].text == "subject"
            {
                values[slot] = .reference(entity: entity, id: test.subjectID)
            } else if let constant = field.value.constant(of: type) {
                values[slot] = constant
            } else if case .path(let path) = field.value.form, path.count == 1, case .enumeration(let cases) = type {
                sink.report(
                    .unknownCase, "`\(path[0].text)` is no case of `\(spelling(type))`", at: field.value.range,
                    help: sink.suggestion(path[0].text, cases.cases))
            } else {
                sink.report(
                    .typeMismatch, "`\(field.name.text)` needs `\(spelling(type))`", at: field.value.range,
                    help: field.value.advice(for: type) { catalog.entities[$0].name })
            }
        }
        return values
    }
}
