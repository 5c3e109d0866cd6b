// The productions of policies: lets, roles, rules, conditions.

extension Parser {
    private static let policyWords: Set<String> = [
        "let", "role", "permit", "forbid", "require", "offer", "on", "policy", "test", "catalog",
    ]

    mutating func policy() throws(Skip) -> PolicySyntax {
        advance()
        var policy = PolicySyntax(name: try text("the policy's name in quotes"))
        try need(symbol: "{", in: "before the policy's rules")
        while !current.isSymbol("}"), current.kind != .end {
            do throws(Skip) {
                try item(&policy)
            } catch {
                if !current.isSymbol("}"), !(current.kind == .name && current.breaksBefore > 0) { advance() }
                recover(to: Self.policyWords)
                if current.isName("policy") || current.isName("test") || current.isName("catalog") { return policy }
            }
        }
        try need(symbol: "}", in: "at the end of the policy")
        return policy
    }

    private mutating func item(_ policy: inout PolicySyntax) throws(Skip) {
        let start = current.range
        switch current.kind == .name ? current.text : "" {
        case "let":
            advance()
            let name = try name("a name")
            try need(symbol: "=", in: "after the name")
            policy.lets.append((name, try value()))
        case "role":
            advance()
            let name = try name("a role's name")
            try need(word: "is", in: "between a role's name and its condition")
            let condition = try expression()
            policy.roles.append((name, condition, start.union(lastRange)))
        case "permit", "forbid": policy.rules.append(try rule())
        case "require": policy.rules.append(try requirement())
        case "offer", "on":
            sink.report(
                .notAvailable, "`\(current.text)` rules are not available in this version", at: start,
                help: "remove the rule; permits, forbids and requires decide")
            advance()
            throw Skip()
        default: throw skip("a rule", help: "one of: let, role, permit, forbid, require")
        }
    }

    /// `permit read, approve on payrun …`
    private mutating func rule() throws(Skip) -> RuleSyntax {
        let start = current.range
        let kind: RuleKind = current.text == "permit" ? .permit : .forbid
        advance()
        var rule = RuleSyntax(kind: kind, range: start)
        try scope(&rule)
        try clauses(&rule)
        rule.range = start.union(lastRange)
        return rule
    }

    /// `require mfa within 1h for approve on payrun …`
    private mutating func requirement() throws(Skip) -> RuleSyntax {
        let start = current.range
        advance()
        let demand = try demand()
        try need(word: "for", in: "between a demand and the actions it is for")
        var rule = RuleSyntax(kind: .require, range: start)
        rule.demand = demand
        try scope(&rule)
        try clauses(&rule)
        rule.range = start.union(lastRange)
        return rule
    }

    private mutating func scope(_ rule: inout RuleSyntax) throws(Skip) {
        rule.actions = take(word: "any") ? nil : try names("an action, or `any`")
        try need(word: "on", in: "between actions and entity types")
        rule.types = take(word: "any") ? nil : try names("an entity type, or `any`")
    }

    private mutating func clauses(_ rule: inout RuleSyntax) throws(Skip) {
        while current.kind == .name {
            let range = current.range
            let word = current.text
            switch word {
            case "as":
                advance()
                rule.label = try text("the rule's label in quotes")
            case "to":
                try once(rule.to != nil || rule.subjectType != nil, word)
                advance()
                try subject(&rule)
            case "when":
                try once(rule.when != nil, word)
                advance()
                rule.when = try expression()
            case "unless":
                try once(rule.unless != nil, word)
                advance()
                rule.unless = try expression()
            case "requires":
                try once(rule.demand != nil, word)
                if rule.kind == .forbid {
                    sink.report(
                        .badDemand, "a forbid cannot require anything", at: range,
                        help: "write a `require … for …` rule instead")
                }
                advance()
                rule.demand = try demand()
            case "because":
                try once(rule.reason != nil, word)
                advance()
                rule.reason = try text("the reason in quotes").text
            default: return
            }
        }
    }

    private mutating func once(_ isThere: Bool, _ word: String) throws(Skip) {
        guard isThere else { return }
        sink.report(
            .expected, "a second `\(word)` in one rule", at: current.range,
            help: word == "because" ? "join the texts" : "join the conditions with `and`")
        throw Skip()
    }

    private mutating func subject(_ rule: inout RuleSyntax) throws(Skip) {
        if take(word: "any") { return }
        let isTypeAlone =
            current.kind == .name && !following.isSymbol(".")
            && !["in", "not", "has", "role", "true", "false"]
                .contains(current.text)
            && !["in", "not", "like", "contains", "intersects", "subset"].contains(following.text)
            && following.kind != .symbol
        if isTypeAlone || (current.kind == .name && following.isSymbol("}")) {
            rule.subjectType = try name("a subject type")
        } else {
            rule.to = try expression()
        }
    }

    mutating func demand() throws(Skip) -> DemandSyntax {
        let start = current.range
        var demand = DemandSyntax(level: nil, within: nil, methods: [], range: start)
        if current.kind == .name, !["within", "using", "for"].contains(current.text) {
            demand.level = try name("an assurance level")
        }
        if take(word: "within") { demand.within = try duration("how long ago the sign-in may be") }
        if take(word: "using") { demand.methods = try names("an authentication method") }
        if demand.level == nil, demand.within == nil, demand.methods.isEmpty {
            sink.report(
                .badDemand, "this demand asks for nothing", at: start, help: "write it as `mfa within 15m using hwk`")
            throw Skip()
        }
        demand.range = start.union(lastRange)
        return demand
    }

    // MARK: Conditions

    mutating func expression() throws(Skip) -> ExpressionSyntax {
        try nested { (parser) throws(Skip) in try parser.disjunction() }
    }

    private mutating func disjunction() throws(Skip) -> ExpressionSyntax {
        var parts = [try conjunction()]
        while take(word: "or") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func conjunction() throws(Skip) -> ExpressionSyntax {
        var parts = [try negation()]
        while take(word: "and") { parts.append(try negation()) }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func negation() throws(Skip) -> ExpressionSyntax {
        let start = current.range
        if take(word: "not") {
            let inner = try nested { (parser) throws(Skip) in try parser.negation() }
            return .not(inner, start.union(inner.range))
        }
        if take(symbol: "(") {
            let inner = try expression()
            try need(symbol: ")", in: "after the condition in parentheses")
            return inner
        }
        return try comparison()
    }

    private mutating func comparison() throws(Skip) -> ExpressionSyntax {
        let start = current.range
        if current.isName("has"), following.kind == .name {
            advance()
            let value = try value()
            return .has(value, start.union(value.range))
        }
        if current.isName("role"), following.kind == .name {
            advance()
            return .role(try name("a role's name"))
        }
        let left = try value()
        let symbols: [String: Comparison] = [
            "==": .equal, "!=": .notEqual, "<": .less, "<=": .lessOrEqual, ">": .greater, ">=": .greaterOrEqual,
        ]
        if current.kind == .symbol, let comparison = symbols[current.text] {
            advance()
            let right = try value()
            return .compare(left, comparison, right, start.union(right.range))
        }
        if current.isSymbol("=") {
            throw skip("`==`", help: "`=` declares; compare with `==`")
        }
        return try relation(left, start)
    }

    private mutating func relation(_ left: ValueSyntax, _ start: SourceRange) throws(Skip) -> ExpressionSyntax {
        if current.isName("in") || (current.isName("not") && following.isName("in")) {
            let negated = take(word: "not")
            advance()
            if current.isName("group") {
                advance()
                let group = try text("the group's name in quotes")
                return .inGroup(left, group, negated: negated, start.union(group.range))
            }
            let right = try value()
            return .isIn(left, right, negated: negated, start.union(right.range))
        }
        if take(word: "contains") {
            let right = try value()
            return .contains(left, right, start.union(right.range))
        }
        if take(word: "intersects") {
            let right = try value()
            return .intersects(left, right, start.union(right.range))
        }
        if take(word: "subset") {
            try need(word: "of", in: "after `subset`")
            let right = try value()
            return .subset(left, right, start.union(right.range))
        }
        if take(word: "like") {
            let pattern = try text("a pattern in quotes")
            return .like(left, pattern, start.union(pattern.range))
        }
        return .bare(left)
    }

    // MARK: Tests

    mutating func test() throws(Skip) -> TestSyntax {
        let start = current.range
        advance()
        var test = TestSyntax(name: try text("the test's name in quotes"), range: start)
        try need(symbol: "{", in: "before the test's steps")
        while !current.isSymbol("}"), current.kind != .end {
            if take(word: "given") {
                try given(&test)
            } else if take(word: "ask") {
                test.question = try question()
            } else if take(word: "expect") {
                let word = try name("permit, deny, step_up or error")
                var demand: DemandSyntax?
                if word.text == "step_up", current.kind == .name, !["given", "ask", "expect"].contains(current.text) {
                    demand = try self.demand()
                }
                test.expectation = (word, demand)
            } else {
                throw skip("`given`, `ask` or `expect`")
            }
        }
        try need(symbol: "}", in: "at the end of the test")
        test.range = start.union(lastRange)
        return test
    }

    private mutating func given(_ test: inout TestSyntax) throws(Skip) {
        let what = try name("a subject type, session, device, context or now")
        if what.text == "now" {
            guard case .instant(let value) = current.kind else {
                throw skip("an instant", help: "write it as 2026-01-05T09:00:00Z")
            }
            advance()
            test.now = value
            return
        }
        test.given.append((what, try fields()))
    }

    private mutating func question() throws(Skip) -> QuestionSyntax {
        let action = try name("an action")
        let start = action.range
        try need(word: "on", in: "between action and entity type")
        let type = try name("an entity type")
        var id: String?
        if current.kind == .text { id = try text("the resource's id").text }
        let fields = current.isSymbol("{") ? try fields() : []
        var actionFields: [FieldSyntax] = []
        if take(word: "with") {
            try need(word: "action", in: "after `with`")
            actionFields = try self.fields()
        }
        return QuestionSyntax(
            action: action, type: type, id: id, fields: fields, actionFields: actionFields,
            range: start.union(lastRange))
    }

    private mutating func fields() throws(Skip) -> [FieldSyntax] {
        try need(symbol: "{", in: "before values")
        var fields: [FieldSyntax] = []
        while !current.isSymbol("}"), current.kind != .end {
            let name = try name("the name of a value")
            _ = take(symbol: ":")
            fields.append(FieldSyntax(name: name, value: try value()))
            _ = take(symbol: ",")
        }
        try need(symbol: "}", in: "at the end of the values")
        return fields
    }
}
