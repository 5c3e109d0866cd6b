// `test` blocks to situations, questions and expectations.

extension PolicyChecker {
    mutating func test(_ syntax: TestSyntax) -> PolicyTest? {
        guard let question = syntax.question, let expectation = syntax.expectation else {
            sink.report(
                .incompleteTest,
                "test \"\(syntax.name.text)\" has no \(syntax.question == nil ? "question" : "expectation")",
                at: syntax.name.range,
                help: syntax.question == nil
                    ? "add `ask ACTION on TYPE { … }`" : "add `expect permit`, `deny`, `step_up` or `error`")
            return nil
        }
        guard let action = actions[question.action.text] else {
            sink.report(
                .unknownAction, "no action `\(question.action.text)`", at: question.action.range,
                help: suggestion(question.action.text, actions.keys))
            return nil
        }
        guard let type = entities[question.type.text] else {
            sink.report(
                .unknownEntity, "no entity type `\(question.type.text)`", at: question.type.range,
                help: suggestion(question.type.text, entities.keys))
            return nil
        }
        guard let expected = expected(expectation) else { return nil }
        var test = PolicyTest(
            name: syntax.name.text, subjectType: Catalog.user, subject: [:], subjectID: "test-subject", groups: [],
            session: nil, device: nil, action: action, actionProperties: [:], resourceType: type,
            resourceID: question.id ?? "test-resource", resource: [:], context: [:], now: syntax.now,
            expected: expected, range: syntax.range)
        for (what, fields) in syntax.given { given(what, fields, &test) }
        test.resource = values(question.fields, catalog.entities[type].attributes, question.type.text, test)
        test.actionProperties = values(
            question.actionFields, catalog.actions[action].attributes, question.action.text, test)
        return test
    }

    private mutating func expected(_ expectation: (word: Name, demand: DemandSyntax?)) -> Expectation? {
        switch expectation.word.text {
        case "permit": return .permit
        case "deny": return .deny
        case "error": return .error
        case "step_up":
            guard let syntax = expectation.demand else { return .stepUp(nil) }
            return demand(syntax).map { .stepUp($0) }
        default:
            sink.report(
                .incompleteTest, "`\(expectation.word.text)` is no outcome", at: expectation.word.range,
                help: "one of: permit, deny, step_up, error")
            return nil
        }
    }

    private mutating func given(_ what: Name, _ fields: [FieldSyntax], _ test: inout PolicyTest) {
        switch what.text {
        case "session": test.session = session(fields, test)
        case "device": test.device = values(fields, catalog.entities[Catalog.device].attributes, "device", test)
        case "context": test.context = values(fields, catalog.context, "context", test)
        default:
            guard let index = entities[what.text], catalog.entities[index].isSubject else {
                sink.report(
                    .unknownName, "`\(what.text)` cannot be given", at: what.range,
                    help: suggestion(
                        what.text,
                        ["session", "device", "context", "now"] + catalog.subjectTypes.map { catalog.entities[$0].name }
                    ))
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
                            sink.report(.typeMismatch, "a group's name in quotes is needed", at: value.range)
                        }
                    }
                default: rest.append(field)
                }
            }
            test.subject = values(rest, catalog.entities[index].attributes, what.text, test)
        }
    }

    private mutating func session(_ fields: [FieldSyntax], _ test: PolicyTest) -> TestSession {
        var session = TestSession(level: nil, age: 0, methods: 0, attributes: [:])
        var rest: [FieldSyntax] = []
        for field in fields {
            switch (field.name.text, field.value.form) {
            case ("assurance", .path(let path)) where path.count == 1:
                session.level = catalog.assurance.level(named: path[0].text)
                if session.level == nil {
                    sink.report(
                        .unknownLevel, "no assurance level `\(path[0].text)`", at: field.value.range,
                        help: suggestion(path[0].text, catalog.assurance.levels))
                }
            case ("age", .duration(let age)): session.age = age
            case ("methods", .list(let list)):
                for value in list {
                    if case .path(let path) = value.form, let bit = AuthenticationMethods.bit(path[0].text) {
                        session.methods |= bit
                    } else {
                        sink.report(.unknownMethod, "no such authentication method", at: value.range)
                    }
                }
            default: rest.append(field)
            }
        }
        session.attributes = values(rest, catalog.entities[Catalog.session].attributes, "session", test)
        return session
    }

    private mutating func values(
        _ fields: [FieldSyntax], _ attributes: [Attribute], _ owner: String, _ test: PolicyTest
    ) -> [Int: Constant] {
        var values: [Int: Constant] = [:]
        for field in fields {
            guard let slot = attributes.firstIndex(where: { $0.name == field.name.text }) else {
                sink.report(
                    .unknownAttribute, "`\(owner)` has no attribute `\(field.name.text)`", at: field.name.range,
                    help: suggestion(field.name.text, attributes.map(\.name)))
                continue
            }
            let type = attributes[slot].type
            if case .path(let path) = field.value.form, path.count == 1, case .reference(let entity) = type,
                path[0].text == catalog.entities[test.subjectType].name || path[0].text == "subject"
            {
                values[slot] = .reference(entity: entity, id: test.subjectID)
            } else if let constant = field.value.constant(of: type) {
                values[slot] = constant
            } else {
                sink.report(
                    .typeMismatch, "`\(field.name.text)` needs \(spelling(type))", at: field.value.range)
            }
        }
        return values
    }
}
