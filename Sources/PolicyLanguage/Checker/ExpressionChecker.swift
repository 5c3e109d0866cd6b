// Conditions: every value typed, every attribute found, optionals only read where they are known to be there.

/// A checked condition with what its truth tells about optional attributes.
struct CheckedExpression {
    var condition: Condition
    /// Present whenever the condition holds.
    var presentWhenTrue = Set<AttributeReference>()
    /// Present whenever it does not.
    var presentWhenFalse = Set<AttributeReference>()
}

/// A value with its type.
struct TypedOperand {
    var operand: Operand
    var type: ValueType
}

extension PolicyChecker {
    /// Checks a condition; nil when something was reported.
    mutating func expression(_ syntax: ExpressionSyntax, _ scope: ExpressionScope) -> CheckedExpression? {
        switch syntax {
        case .all(let parts): return conjunction(parts, scope)
        case .any(let parts): return disjunction(parts, scope)
        case .not(let inner, _):
            guard let checked = expression(inner, scope) else { return nil }
            return CheckedExpression(
                condition: .not(checked.condition), presentWhenTrue: checked.presentWhenFalse,
                presentWhenFalse: checked.presentWhenTrue)
        case .role(let name):
            guard let index = role(named: name, isUse: true) else { return nil }
            return CheckedExpression(condition: .test(.role(index), name.range))
        case .has(let value, let range): return has(value, range, scope)
        case .bare(let value): return bare(value, scope)
        case .compare(let left, let comparison, let right, let range):
            return comparisonTest(left, comparison, right, range, scope)
        case .isIn(let left, let right, let negated, let range):
            guard let condition = membership(left, right, range, scope) else { return nil }
            return CheckedExpression(condition: negated ? .not(condition) : condition)
        case .inGroup(let value, let name, let negated, let range):
            guard let typed = operand(value, expecting: nil, scope) else { return nil }
            guard typed.operand == .subject else {
                sink.report(
                    .groupOfOther, "only the subject can be in a group", at: value.range,
                    help: "write `\(catalog.entities[scope.subjectTypes[0]].name) in group \"\(name.text)\"`")
                return nil
            }
            let condition = Condition.test(.group(group(name.text)), range)
            return CheckedExpression(condition: negated ? .not(condition) : condition)
        case .inContainer(let value, let type, let id, let negated, let range):
            guard let condition = containment(value, type, id, range, scope) else { return nil }
            return CheckedExpression(condition: negated ? .not(condition) : condition)
        case .contains(let set, let element, let range):
            guard let condition = contains(set, element, range, scope) else { return nil }
            return CheckedExpression(condition: condition)
        case .intersects(let left, let right, let range):
            guard let (first, second) = sets(left, right, scope) else { return nil }
            return CheckedExpression(condition: .test(.intersects(first, second), range))
        case .subset(let left, let right, let range):
            guard let (first, second) = sets(left, right, scope) else { return nil }
            return CheckedExpression(condition: .test(.subset(first, of: second), range))
        case .like(let value, let pattern, let range):
            guard let typed = operand(value, expecting: .string, scope) else { return nil }
            guard typed.type == .string else { return mismatch(value, "`like`", needs: "a text", typed.type) }
            let parts = pattern.text.split(separator: "*", omittingEmptySubsequences: false).map(String.init)
            return CheckedExpression(condition: .test(.like(typed.operand, Pattern(parts: parts)), range))
        }
    }

    private mutating func conjunction(_ parts: [ExpressionSyntax], _ scope: ExpressionScope) -> CheckedExpression? {
        var scope = scope
        var conditions: [Condition] = []
        var isGood = true
        var whenTrue = Set<AttributeReference>()
        for part in parts {
            guard let checked = expression(part, scope) else {
                isGood = false
                continue
            }
            scope.present.formUnion(checked.presentWhenTrue)
            whenTrue.formUnion(checked.presentWhenTrue)
            conditions.append(checked.condition)
        }
        return isGood ? CheckedExpression(condition: .all(conditions), presentWhenTrue: whenTrue) : nil
    }

    private mutating func disjunction(_ parts: [ExpressionSyntax], _ scope: ExpressionScope) -> CheckedExpression? {
        var scope = scope
        var conditions: [Condition] = []
        var isGood = true
        var whenFalse = Set<AttributeReference>()
        for part in parts {
            guard let checked = expression(part, scope) else {
                isGood = false
                continue
            }
            scope.present.formUnion(checked.presentWhenFalse)
            whenFalse.formUnion(checked.presentWhenFalse)
            conditions.append(checked.condition)
        }
        return isGood ? CheckedExpression(condition: .any(conditions), presentWhenFalse: whenFalse) : nil
    }

    private mutating func has(
        _ value: ValueSyntax, _ range: SourceRange, _ scope: ExpressionScope
    ) -> CheckedExpression? {
        guard case .path(let path) = value.form else {
            sink.report(.unknownName, "`has` asks for an attribute", at: value.range, help: "write `has user.manager`")
            return nil
        }
        guard let (reference, attributes) = attribute(path, scope, range: value.range) else { return nil }
        if !attributes.contains(where: \.isOptional) {
            sink.report(
                .constantCondition, "`\(reference.name)` always has a value, so this is always true", at: range,
                help: "remove it")
        }
        return CheckedExpression(condition: .test(.has(reference), range), presentWhenTrue: [reference])
    }

    private mutating func bare(_ value: ValueSyntax, _ scope: ExpressionScope) -> CheckedExpression? {
        if case .boolean(let truth) = value.form {
            sink.report(.constantCondition, "this is always \(truth)", at: value.range, help: "remove it")
            return CheckedExpression(condition: .constant(truth))
        }
        guard let typed = operand(value, expecting: .boolean, scope) else { return nil }
        guard typed.type == .boolean else {
            sink.report(
                .notACondition, "a condition is true or false; this is `\(spelling(typed.type))`", at: value.range,
                help: conditionAdvice(typed, scope))
            return nil
        }
        return CheckedExpression(
            condition: .test(.compare(typed.operand, .equal, .constant(.boolean(true))), value.range))
    }

    private func conditionAdvice(_ typed: TypedOperand, _ scope: ExpressionScope) -> String {
        let subject = catalog.entities[scope.subjectTypes[0]].name
        switch typed.operand {
        case .constant(.string(let text)): return "perhaps `\(subject) in group \"\(text)\"`"
        case .subject: return "write `to \(subject)` alone, or say the condition after `when`"
        default: break
        }
        if case .set = typed.type { return "ask what it holds: `… contains …`" }
        return "compare it: `… == …`"
    }

    /// `resource in folder "Reports"`
    private mutating func containment(
        _ value: ValueSyntax, _ type: Name, _ id: Name, _ range: SourceRange, _ scope: ExpressionScope
    ) -> Condition? {
        guard case .path(let path) = value.form, path.count == 1, path[0].text == "resource", !scope.isRole else {
            sink.report(
                .badContainer, "only the resource can lie in a container", at: value.range,
                help: "write `resource in \(type.text) \"\(id.text)\"` in a rule")
            return nil
        }
        guard let container = entities[type.text] else {
            if broken.missing.contains(type.text) { return nil }
            sink.report(
                .unknownEntity, "no entity type `\(type.text)` in catalog \"\(catalog.name)\"", at: type.range,
                help: sink.suggestion(type.text, entities.keys))
            return nil
        }
        guard canContain(container, scope) else {
            if !broken.incomplete.isDisjoint(with: resources(scope)) { return nil }
            let name = anyTypes(scope).first.map { catalog.entities[$0].name } ?? "document"
            sink.report(
                .badContainer, "nothing here can lie in a `\(type.text)`", at: type.range,
                help: "declare it in the catalog: `entity \(name) in \(type.text) { … }`")
            return nil
        }
        let reference = ContainerReference(type: container, id: id.text)
        if let index = containerIndices[reference] { return .test(.container(index), range) }
        containerIndices[reference] = containers.count
        containers.append(reference)
        return .test(.container(containers.count - 1), range)
    }

    /// True when something that the rule is about can lie in a container of this type.
    private mutating func canContain(_ container: Int, _ scope: ExpressionScope) -> Bool {
        let key = AttributeKey(
            scope: .resource, types: scope.resourceTypes, actions: scope.actions, name: catalog.entities[container].name
        )
        if let answer = known.isContained[key] { return answer }
        let answer = anyTypes(scope).contains { type in
            if known.containersAbove[type] == nil {
                known.containersAbove[type] = catalog.containers(above: type)
            }
            return known.containersAbove[type]?.contains(container) ?? false
        }
        known.isContained[key] = answer
        return answer
    }

    // MARK: Comparisons

    private mutating func comparisonTest(
        _ left: ValueSyntax, _ comparison: Comparison, _ right: ValueSyntax, _ range: SourceRange,
        _ scope: ExpressionScope
    ) -> CheckedExpression? {
        if left.isSum || right.isSum {
            return timeComparison(left, comparison, right, range, scope).map { CheckedExpression(condition: $0) }
        }
        guard let (first, second) = pair(left, right, scope) else { return nil }
        guard first.type.agrees(with: second.type) else {
            sink.report(
                .typeMismatch, "`\(spelling(first.type))` is compared with `\(spelling(second.type))`", at: range,
                help: "compare values of one type")
            return nil
        }
        if case .set = first.type {
            sink.report(
                .setCompared, "sets are not compared with `==`", at: range,
                help: "use contains, intersects, subset of or count( )")
            return nil
        }
        if comparison != .equal, comparison != .notEqual, !first.type.isOrdered {
            sink.report(
                .notOrdered, "`\(spelling(first.type))` has no order", at: range,
                help: first.type.isEnumeration
                    ? "use `==` or `!=`, or let the catalog declare the enum with `<`" : "use `==` or `!=`")
            return nil
        }
        return CheckedExpression(condition: .test(.compare(first.operand, comparison, second.operand), range))
    }

    /// Both sides typed: the side that has a type of its own tells it to the other.
    private mutating func pair(
        _ left: ValueSyntax, _ right: ValueSyntax, _ scope: ExpressionScope
    ) -> (TypedOperand, TypedOperand)? {
        if isTyped(left, scope) {
            guard let first = operand(left, expecting: nil, scope) else { return nil }
            guard let second = operand(right, expecting: first.type, scope) else { return nil }
            return (first, second)
        }
        if isTyped(right, scope) {
            guard let second = operand(right, expecting: nil, scope) else { return nil }
            guard let first = operand(left, expecting: second.type, scope) else { return nil }
            return (first, second)
        }
        guard operand(left, expecting: nil, scope) != nil else { return nil }
        sink.report(
            .constantComparison, "neither side is an attribute", at: left.range.union(right.range),
            help: "compare an attribute such as user.department")
        return nil
    }

    private func isTyped(_ value: ValueSyntax, _ scope: ExpressionScope) -> Bool {
        switch value.form {
        case .path(let path):
            return path.count > 1 || ["now", "resource", "subject"].contains(path[0].text)
                || entities[path[0].text].map { catalog.entities[$0].isSubject } ?? false
        case .fallback, .count: return true
        default: return false
        }
    }

    private mutating func membership(
        _ left: ValueSyntax, _ right: ValueSyntax, _ range: SourceRange, _ scope: ExpressionScope
    ) -> Condition? {
        if case .path(let path) = right.form {
            if path.count == 1, let source = scope.lets[path[0].text] {
                usedLets.insert(source.name.range)
                if case .path = source.value.form {
                } else {
                    return membership(left, source.value, range, scope)
                }
            }
            return contains(right, left, range, scope)
        }
        if case .span(let low, let high) = right.form, left.isSum || low.isSum || high.isSum {
            guard let from = timeComparison(left, .greaterOrEqual, low, range, scope),
                let to = timeComparison(left, .lessOrEqual, high, range, scope)
            else { return nil }
            return .all([from, to])
        }
        guard let typed = operand(left, expecting: nil, scope) else { return nil }
        if typed.operand == .now, case .text(let text) = right.form { return schedule(text, at: right.range, range) }
        if case .span(let low, let high) = right.form {
            guard let first = operand(low, expecting: typed.type, scope),
                let last = operand(high, expecting: typed.type, scope)
            else { return nil }
            guard typed.type.isOrdered, first.type.agrees(with: typed.type), last.type.agrees(with: typed.type) else {
                sink.report(
                    .notOrdered, "`\(spelling(typed.type))` has no order, so no range", at: right.range,
                    help: "list the values in [ ]")
                return nil
            }
            return .all([
                .test(.compare(typed.operand, .greaterOrEqual, first.operand), range),
                .test(.compare(typed.operand, .lessOrEqual, last.operand), range),
            ])
        }
        let values: [ValueSyntax]
        if case .list(let list) = right.form { values = list } else { values = [right] }
        if typed.type == .address { return networks(typed.operand, values, right.range, range) }
        if !right.isCollection {
            var help = "write [\"a\", \"b\"], 1...5 or group \"Name\""
            if case .text(let text) = right.form {
                help =
                    typed.operand == .subject
                    ? "write `in group \"\(text)\"`"
                    : typed.type == .datetime
                        ? "a schedule is asked of `now`: `now in \"\(text)\"`"
                        : "write `== \"\(text)\"`, or a list in [ ]"
            }
            sink.report(
                .notInCollection, "`in` needs a list, a range, a network, a group or a set", at: right.range, help: help
            )
            return nil
        }
        // A long list that many rules name through a let is held once.
        let key = LetKey(place: right.range, type: typed.type)
        if let constants = known.lists[key] { return .test(.oneOf(typed.operand, constants), range) }
        var constants: [Constant] = []
        var seen = Set<Constant>()
        for value in values {
            guard let constant = constant(value, of: typed.type, scope) else { return nil }
            if seen.insert(constant).inserted { constants.append(constant) }
        }
        known.lists[key] = constants
        return .test(.oneOf(typed.operand, constants), range)
    }

    private mutating func networks(
        _ operand: Operand, _ values: [ValueSyntax], _ place: SourceRange, _ range: SourceRange
    ) -> Condition? {
        let key = LetKey(place: place, type: .address)
        if let networks = known.networks[key] { return .test(.inNetworks(operand, networks), range) }
        var networks: [IPNetwork] = []
        for value in values {
            switch value.form {
            case .network(let network): networks.append(network)
            case .address(let address): networks.append(IPNetwork(address: address, prefix: 128))
            default:
                var help = "write 10.0.0.0/8 or 2001:db8::/32"
                if case .text(let text) = value.form, let start = text.split(separator: "/").first,
                    IPAddress(String(start)) != nil
                {
                    help = "write \(text), without quotes"
                }
                sink.report(.typeMismatch, "a network or an address is needed here", at: value.range, help: help)
                return nil
            }
        }
        known.networks[key] = networks
        return .test(.inNetworks(operand, networks), range)
    }

    private mutating func contains(
        _ set: ValueSyntax, _ element: ValueSyntax, _ range: SourceRange, _ scope: ExpressionScope
    ) -> Condition? {
        guard let typedSet = operand(set, expecting: nil, scope) else { return nil }
        guard case .set(let elementType) = typedSet.type else {
            _ = mismatch(set, "this test", needs: "a set", typedSet.type)
            return nil
        }
        guard let typed = operand(element, expecting: elementType, scope) else { return nil }
        guard typed.type.agrees(with: elementType) else {
            _ = mismatch(element, "the set", needs: "`\(spelling(elementType))`", typed.type)
            return nil
        }
        return .test(.contains(set: typedSet.operand, typed.operand), range)
    }

    private mutating func sets(
        _ left: ValueSyntax, _ right: ValueSyntax, _ scope: ExpressionScope
    ) -> (Operand, Operand)? {
        guard let (first, second) = pair(left, right, scope) else { return nil }
        guard case .set(let one) = first.type, case .set(let two) = second.type, one.agrees(with: two) else {
            sink.report(
                .typeMismatch, "`\(spelling(first.type))` and `\(spelling(second.type))` are not sets of one type",
                at: left.range.union(right.range), help: "both sides need a set: an attribute or a list in [ ]")
            return nil
        }
        return (first.operand, second.operand)
    }

    private mutating func mismatch(
        _ value: ValueSyntax, _ what: String, needs: String, _ type: ValueType
    ) -> CheckedExpression? {
        var help: String?
        switch (needs, type) {
        case ("a set", .string): help = "for a part of a text use `like \"*…*\"`, for the whole of it `==`"
        case ("a set", _): help = "compare a single value with `==`"
        case ("a text", .set): help = "ask what the set holds: `… contains …`"
        case ("a text", _): help = "compare it with `==`"
        default: help = "compare values of one type"
        }
        sink.report(
            .typeMismatch, "\(what) needs \(needs); this is `\(spelling(type))`", at: value.range, help: help)
        return nil
    }

    func spelling(_ type: ValueType) -> String { type.spelling { catalog.entities[$0].name } }

    // MARK: Values

    /// A value with its type. `expecting` gives literals and bare words their meaning.
    mutating func operand(
        _ value: ValueSyntax, expecting type: ValueType?, _ scope: ExpressionScope
    ) -> TypedOperand? {
        switch value.form {
        case .path(let path): return pathOperand(path, value, expecting: type, scope)
        case .fallback(let path, let stand):
            guard let (reference, attributes) = attribute(path, scope, range: value.range) else { return nil }
            if !attributes.contains(where: \.isOptional) {
                sink.report(
                    .constantCondition, "`\(reference.name)` always has a value, so `??` never stands in",
                    at: value.range, help: "remove the `??`")
            }
            guard let constant = constant(stand, of: reference.type, scope) else { return nil }
            return TypedOperand(operand: .attributeOr(reference, constant), type: reference.type)
        case .count(let path):
            guard let (reference, attributes) = attribute(path, scope, range: value.range) else { return nil }
            guard case .set = reference.type else {
                _ = mismatch(value, "`count`", needs: "a set", reference.type)
                return nil
            }
            guard isReadable(reference, attributes, value.range, scope) else { return nil }
            return TypedOperand(operand: .count(reference), type: .integer(range: nil))
        case .sum:
            sink.report(
                .badArithmetic, "a sum stands only in a comparison", at: value.range,
                help: "write `now - resource.created > 30d`")
            return nil
        default:
            let type = type ?? naturalType(value)
            guard let type, let constant = constant(value, of: type, scope) else { return nil }
            return TypedOperand(operand: .constant(constant), type: type)
        }
    }

    private func naturalType(_ value: ValueSyntax) -> ValueType? {
        switch value.form {
        case .text: .string
        case .integer: .integer(range: nil)
        case .decimal: .decimal
        case .boolean: .boolean
        case .duration: .duration
        case .instant: .datetime
        case .address: .address
        case .list(let values): values.first.flatMap { naturalType($0) }.map { .set(of: $0) } ?? .set(of: .string)
        case .network, .span, .path, .fallback, .count, .sum: nil
        }
    }

    /// A literal, let or bare word as a constant of a type.
    private mutating func constant(_ value: ValueSyntax, of type: ValueType, _ scope: ExpressionScope) -> Constant? {
        if case .path(let path) = value.form, path.count == 1, let source = scope.lets[path[0].text] {
            usedLets.insert(source.name.range)
            let key = LetKey(place: source.name.range, type: type)
            if let constant = known.constants[key] { return constant }
            // The let was resolved before: what it names is no let again, unless that one could not be read.
            if case .path(let path) = source.value.form, path.count == 1, scope.lets[path[0].text] != nil { return nil }
            let constant = constant(source.value, of: type, scope)
            known.constants[key] = constant
            return constant
        }
        if case .list(let values) = value.form, case .set(let element) = type {
            var constants: [Constant] = []
            for value in values {
                guard let constant = constant(value, of: element, scope) else { return nil }
                constants.append(constant)
            }
            return .set(constants)
        }
        // Outside its declared range an integer is still a number to compare with.
        var type = type
        if case .integer = type { type = .integer(range: nil) }
        if let constant = value.constant(of: type) { return constant }
        if case .enumeration(let cases) = type, case .path(let path) = value.form, path.count == 1 {
            sink.report(
                .unknownCase, "`\(path[0].text)` is no case of `\(spelling(type))`", at: value.range,
                help: sink.suggestion(path[0].text, cases.cases))
        } else {
            sink.report(
                .typeMismatch, "`\(spelling(type))` is needed here" + (found(value).map { ", this is \($0)" } ?? ""),
                at: value.range, help: value.advice(for: type) { catalog.entities[$0].name })
        }
        return nil
    }

    /// What a literal is, in a message.
    private func found(_ value: ValueSyntax) -> String? {
        switch value.form {
        case .list: "a list"
        case .network: "a network"
        case .span: "a range"
        default: naturalType(value).map { "`\(spelling($0))`" }
        }
    }

    private mutating func pathOperand(
        _ path: [Name], _ value: ValueSyntax, expecting type: ValueType?, _ scope: ExpressionScope
    ) -> TypedOperand? {
        if path.count == 1 { return wordOperand(path[0], value, expecting: type, scope) }
        guard let (reference, attributes) = attribute(path, scope, range: value.range),
            isReadable(reference, attributes, value.range, scope)
        else { return nil }
        return TypedOperand(operand: .attribute(reference), type: reference.type)
    }

    private mutating func wordOperand(
        _ name: Name, _ value: ValueSyntax, expecting type: ValueType?, _ scope: ExpressionScope
    ) -> TypedOperand? {
        if scope.lets[name.text] != nil {
            guard let type = type ?? naturalType(scope.lets[name.text]?.value ?? value),
                let constant = constant(value, of: type, scope)
            else { return nil }
            return TypedOperand(operand: .constant(constant), type: type)
        }
        if name.text == "now" { return TypedOperand(operand: .now, type: .datetime) }
        if name.text == "resource", !scope.isRole {
            guard let types = scope.resourceTypes, types.count == 1 else {
                sink.report(
                    .severalTypes, "`resource` can be of several types here", at: name.range,
                    help: "name one entity type in the rule")
                return nil
            }
            return TypedOperand(operand: .resource, type: .reference(entity: types[0]))
        }
        let isSubjectType = entities[name.text].map { catalog.entities[$0].isSubject } ?? false
        if name.text == "subject" || isSubjectType {
            guard scope.subjectTypes.count == 1 else {
                sink.report(
                    .mixedSubjects, "`subject` can be of several types here", at: name.range,
                    help: "name one subject type with `to`")
                return nil
            }
            return TypedOperand(operand: .subject, type: .reference(entity: scope.subjectTypes[0]))
        }
        if failedLets.contains(name.text) { return nil }
        if let type, case .enumeration = type {
            guard let constant = constant(value, of: type, scope) else { return nil }
            return TypedOperand(operand: .constant(constant), type: type)
        }
        if name.text == "resource" {
            sink.report(
                .resourceInRole, "a role cannot read the resource", at: name.range,
                help: "put this into the rule's `when`")
            return nil
        }
        sink.report(
            .unknownName, "`\(name.text)` is not known here", at: name.range,
            help: wordAdvice(name.text, expecting: type, scope))
        return nil
    }

    /// What a bare word may have been meant to be: an attribute, a let, a text, a role.
    private mutating func wordAdvice(_ word: String, expecting type: ValueType?, _ scope: ExpressionScope) -> String {
        let subject = scope.subjectTypes[0]
        let resources = scope.isRole ? [] : anyTypes(scope)
        var owners = [(catalog.entities[subject].name, catalog.entities[subject].attributes)]
        owners += resources.prefix(1).map { ("resource", catalog.entities[$0].attributes) }
        owners.append(("context", catalog.context))
        for (owner, attributes) in owners where attributes.contains(where: { $0.name == word }) {
            return "write `\(owner).\(word)`"
        }
        if roleSyntax[word] != nil { return "write `role \(word)`" }
        let known =
            ["now", "subject"] + (scope.isRole ? [] : ["resource"]) + scope.lets.keys
            + scope.subjectTypes.map { catalog.entities[$0].name }
        if let near = sink.near(word, among: known) { return "did you mean `\(near)`?" }
        switch type {
        case .string, .reference: return "a text stands in double quotes: \"\(word)\""
        default: return "texts stand in double quotes; attributes are written as in user.department"
        }
    }

    // MARK: Attributes

    private mutating func isReadable(
        _ reference: AttributeReference, _ attributes: [Attribute], _ range: SourceRange, _ scope: ExpressionScope
    ) -> Bool {
        guard attributes.contains(where: \.isOptional), !scope.present.contains(reference) else { return true }
        guard toldOptionals.insert(reference).inserted else { return false }
        let owner = reference.scope == .subject ? catalog.entities[scope.subjectTypes[0]].name : "\(reference.scope)"
        let path = "\(owner).\(reference.name)"
        sink.report(
            .optionalRead, "`\(path)` is optional and may be absent here", at: range,
            help: "ask first: `has \(path) and …`, or give a stand-in: `\(path) ?? …`")
        return false
    }

    /// Finds an attribute in every type the rule is about.
    mutating func attribute(
        _ path: [Name], _ scope: ExpressionScope, range: SourceRange
    ) -> (AttributeReference, [Attribute])? {
        guard path.count == 2 else {
            if path.count > 2 {
                sink.report(
                    .notAvailable, "attributes of referenced entities are not read in this version", at: range,
                    help: "let the application send the value as an attribute of its own")
            } else {
                sink.report(.unknownName, "an attribute is needed here", at: range, help: "write user.department")
            }
            return nil
        }
        guard let place = place(path[0], scope) else { return nil }
        let key = AttributeKey(
            scope: place,
            types: place == .subject ? scope.subjectTypes : place == .resource ? scope.resourceTypes : nil,
            actions: place == .resource || place == .action ? scope.actions : nil, name: path[1].text)
        if let known = known.attributes[key] { return known }
        var found: [Attribute] = []
        let owners = owners(place, scope)
        if owners.contains(where: { broken.attributes.contains(.init(owner: $0.place, name: path[1].text)) }) {
            return nil
        }
        for owner in owners {
            guard let attribute = owner.attributes.first(where: { $0.name == path[1].text }) else {
                if !broken.mayHave(path[1].text, owner.place) { reportMissing(path, place, owner) }
                return nil
            }
            if let first = found.first, first.type != attribute.type {
                sink.report(
                    .typeMismatch, "`\(path[1].text)` has different types in the entity types of this rule", at: range,
                    help: "write a rule for each type")
                return nil
            }
            found.append(attribute)
        }
        guard let first = found.first else {
            if !broken.incomplete.isEmpty { return nil }
            sink.report(.unknownAttribute, "nothing here has the attribute `\(path[1].text)`", at: range)
            return nil
        }
        let reference = AttributeReference(scope: place, name: path[1].text, type: first.type)
        warnUnfilled(reference, zip(owners, found).map { ($0.name, $1) }, range)
        known.attributes[key] = (reference, found)
        return (reference, found)
    }

    /// Warns of an attribute that always has its default, because nothing ever fills it.
    /// - Parameter attributes: what the path can mean, by what has it.
    private mutating func warnUnfilled(
        _ reference: AttributeReference, _ attributes: [(owner: String, attribute: Attribute)],
        _ range: SourceRange
    ) {
        let filling: [AttributeSource.Kind]
        switch reference.scope {
        // Whatever a source of these is, it brings values.
        case .subject, .action, .context: return
        case .session, .device: filling = [.token, .caep, .risc, .application]
        case .resource: filling = [.application, .request, .caep, .risc]
        }
        let empty = attributes.filter { owner, attribute in
            if reference.scope == .resource, let type = entities[owner], catalog.entities[type].isSubject {
                return false
            }
            return !attribute.sources.contains { filling.contains($0.kind) }
        }
        if empty.isEmpty || !known.toldUnfilled.insert(reference).inserted { return }
        let sources = Set(empty.flatMap(\.attribute.sources).map(\.kind)).map(\.rawValue).sorted()
        // Of several types perhaps only some.
        let types = empty.count == attributes.count ? [] : empty.map { "`\($0.owner)`" }
        let whose = types.isEmpty ? "" : " of \(types.joined(separator: " and "))"
        sink.report(
            .neverFilled,
            "nothing fills `\(reference.scope).\(reference.name)`\(whose): `from \(sources.joined(separator: ", "))` "
                + "brings no values for a \(reference.scope)", at: range,
            help: "let the catalog say one of: \(filling.map { "from \($0.rawValue)" }.joined(separator: ", "))")
    }

    /// A thing with attributes, and what to call it.
    struct AttributeOwner {
        var place: BrokenWords.Owner
        var name: String
        var attributes: [Attribute]
    }

    private func owners(_ place: AttributeScope, _ scope: ExpressionScope) -> [AttributeOwner] {
        func entity(_ index: Int) -> AttributeOwner {
            let type = catalog.entities[index]
            return AttributeOwner(place: .entity(type.name), name: type.name, attributes: type.attributes)
        }
        switch place {
        case .subject: return scope.subjectTypes.map(entity)
        case .session: return [entity(Catalog.session)]
        case .device: return [entity(Catalog.device)]
        case .context: return [AttributeOwner(place: .context, name: "context", attributes: catalog.context)]
        case .resource: return anyTypes(scope).map(entity)
        case .action:
            return (scope.actions ?? anyActions(scope)).map { index in
                let action = catalog.actions[index]
                return AttributeOwner(place: .action(action.name), name: action.name, attributes: action.attributes)
            }
        }
    }

    private mutating func place(_ name: Name, _ scope: ExpressionScope) -> AttributeScope? {
        switch name.text {
        case "subject": return .subject
        case "session": return .session
        case "device": return .device
        case "context": return .context
        case "resource" where !scope.isRole: return .resource
        case "action" where !scope.isRole: return .action
        default: break
        }
        if let index = entities[name.text], scope.subjectTypes == [index] { return .subject }
        let known =
            ["subject", "session", "device", "context"] + (scope.isRole ? [] : ["resource", "action"])
            + scope.subjectTypes.map { catalog.entities[$0].name }
        if scope.isRole, ["resource", "action"].contains(name.text) {
            sink.report(
                .resourceInRole, "a role cannot read the \(name.text)", at: name.range,
                help: "put this into the rule's `when`")
            return nil
        }
        let isResource =
            entities[name.text].map { anyTypes(scope).contains($0) } ?? false
        sink.report(
            .unknownName, "`\(name.text)` is not known here", at: name.range,
            help: isResource && !scope.isRole ? "write `resource.…`" : sink.suggestion(name.text, known))
        return nil
    }

    /// The types a rule names, or those that `any` can meet: those its actions exist on.
    private func anyTypes(_ scope: ExpressionScope) -> [Int] {
        if let types = scope.resourceTypes { return types }
        guard let actions = scope.actions else { return allResourceTypes }
        if actions.count == 1 { return catalog.actions[actions[0]].resourceTypes }
        return Set(actions.flatMap { catalog.actions[$0].resourceTypes }).sorted()
    }

    /// The types and actions that a rule is about, as what can lack something.
    private func resources(_ scope: ExpressionScope) -> Set<BrokenWords.Owner> {
        Set(anyTypes(scope).map { .entity(catalog.entities[$0].name) }).union(
            (scope.actions ?? anyActions(scope)).map { .action(catalog.actions[$0].name) })
    }

    private func anyActions(_ scope: ExpressionScope) -> [Int] {
        catalog.actions.indices.filter { index in
            scope.resourceTypes.map { types in types.contains { catalog.actions[index].resourceTypes.contains($0) } }
                ?? true
        }
    }

    private mutating func reportMissing(_ path: [Name], _ place: AttributeScope, _ owner: AttributeOwner) {
        if place == .session,
            ["assurance", "age", "acr", "amr", "methods", "auth_time", "level"].contains(path[1].text)
        {
            sink.report(
                .assuranceRead, "conditions do not read how the user signed in", at: path[1].range,
                help: "use `requires mfa within 15m` on the permit, or a `require … for …` rule")
            return
        }
        sink.report(
            .unknownAttribute, "`\(owner.name)` has no attribute `\(path[1].text)`", at: path[1].range,
            help: sink.suggestion(path[1].text, owner.attributes.map(\.name)) ?? "declare it in the catalog")
    }
}

extension ValueSyntax {
    /// True for what stands to the right of `in`.
    var isCollection: Bool {
        switch form {
        case .list, .network, .span: true
        default: false
        }
    }
}

extension ValueType {
    /// The same type, whatever the bounds of integers.
    func agrees(with other: ValueType) -> Bool {
        switch (self, other) {
        case (.integer, .integer): true
        case (.set(let left), .set(let right)): left.agrees(with: right)
        default: self == other
        }
    }

    var isEnumeration: Bool {
        if case .enumeration = self { return true }
        return false
    }

    /// True when `<` has a meaning.
    var isOrdered: Bool {
        switch self {
        case .integer, .decimal, .datetime, .duration: true
        case .enumeration(let type): type.ordered
        case .boolean, .string, .address, .reference, .set: false
        }
    }
}
