// The productions of policies: lets, roles, rules, conditions.

extension Parser {
    static let policyWords: Set<String> = [
        "let", "role", "permit", "forbid", "require", "offer", "on",
    ]
    private static let clauseWords: Set<String> = ["as", "to", "when", "unless", "requires", "because"]
    private static let conditionWords: Set<String> = ["and", "or", "in", "like", "contains", "intersects", "subset"]
    /// What other languages call what this one has.
    private static let otherWords: [String: String] = [
        "if": "when", "where": "when", "is": "==", "equals": "==", "eq": "==", "ne": "!=", "lt": "<", "gt": ">",
        "matches": "like \"…*\"", "startswith": "like \"…*\"", "endswith": "like \"*…\"", "includes": "contains",
        "allow": "permit", "grant": "permit", "deny": "forbid", "step_up": "requires", "but": "and",
    ]

    mutating func policy() throws(Skip) -> PolicySyntax {
        let start = current.range
        advance()
        var policy = PolicySyntax(name: try text("the policy's name in quotes"), range: start)
        let opening = current.range
        try open("before the policy's rules", for: Self.policyWords)
        block(from: { $0.isLine(of: Self.policyWords) || $0.isMistypedRule }, words: Self.policyWords) {
            (parser) throws(Skip) in
            parser.mark(.item)
            try parser.item(&policy)
        }
        close(opening, "policy \"\(policy.name.text)\"")
        policy.range = policy.range.union(lastRange)
        return policy
    }

    /// A rule, role or let ends where the next begins. What stands there instead belongs to it and is wrong.
    private mutating func ends(_ what: String) throws(Skip) {
        if current.isSymbol("}") || current.kind == .end || isAtNextBlock { return }
        // A mistyped rule is the mistake of that rule, not of this one.
        if Self.policyWords.contains(current.text) || isMistypedRule { return }
        noteLostName()
        var help: String?
        if current.isSymbol(")") || current.isSymbol("]") {
            help = "remove it: nothing is open that it closes"
        } else if current.kind != .name {
            help = nil
        } else if Self.clauseWords.contains(current.text) {
            help = "join conditions with `and`: a \(what) has no `\(current.text)`"
        } else if Self.conditionWords.contains(current.text) {
            help = "say conditions after `when`, as in `to user when …`; write a rule for each subject type"
        } else if following.isSymbol(".") || ["has", "not", "role", "count"].contains(current.text) {
            help = "join conditions with `and` or `or`"
        } else {
            help = advice(Self.conditionWords.union(what == "rule" ? Self.clauseWords : []).union(Self.policyWords))
        }
        throw skip("the end of this \(what)", help: help, isHere: true)
    }

    /// What looks like a role or a let without its word would have declared a name.
    private mutating func noteLostName() {
        guard current.kind == .name else { return }
        if following.isName("is") || following.isSymbol("=") || near(current.text, ["role", "let"]) != nil {
            hasLostNames = true
        }
    }

    /// True where the next rule begins, though something is missing before it.
    var isAtRule: Bool {
        isLine(of: Self.policyWords) && following.breaksBefore == 0 && following.kind == .name
            && !["and", "or", "in", "is", "like"].contains(following.text)
    }

    /// True at the beginning of a line whose first word is nearly that of a rule.
    private var isMistypedRule: Bool {
        guard current.kind == .name, current.breaksBefore > 0, following.kind == .name, current.text.utf8.count > 3,
            !Self.clauseWords.contains(current.text), !Self.conditionWords.contains(current.text)
        else { return false }
        return near(current.text, Self.policyWords).map { Self.policyWords.contains($0) } ?? false
    }

    private func near(_ word: String, _ words: Set<String>) -> String? {
        Self.otherWords[word.lowercased()] ?? NearestName.find(word, among: words.sorted())
    }

    private func advice(_ words: Set<String>) -> String? {
        near(current.text, words).map { "did you mean `\($0)`?" }
    }

    private mutating func item(_ policy: inout PolicySyntax) throws(Skip) {
        let start = current.range
        switch current.kind == .name ? current.text : "" {
        case "let":
            advance()
            if current.kind != .name { hasLostNames = true }
            let name = try name("a name")
            policy.broken.append(name)
            try need(symbol: "=", in: "after the name")
            let value = try value()
            try ends("let")
            policy.lets.append((name, value))
            policy.broken.removeLast()
        case "role":
            advance()
            if current.kind != .name || (current.text == "is" && !following.isName("is")) {
                hasLostNames = true
                throw skip("a role's name")
            }
            let name = try name("a role's name")
            policy.broken.append(name)
            try need(
                word: "is", in: "between a role's name and its condition", help: "write `role \(name.text) is …`")
            let condition = try expression()
            let range = start.union(lastRange)
            try ends("role")
            policy.roles.append((name, condition, range))
            policy.broken.removeLast()
        case "permit", "forbid": policy.rules.append(try rule())
        case "require": policy.rules.append(try requirement())
        case "offer": policy.offers.append(try offer())
        case "on": policy.obligations.append(try obligation())
        default:
            noteLostName()
            var help = advice(Self.policyWords) ?? "one of: let, role, permit, forbid, require, offer, on"
            if following.isName("is") { help = "write `role \(current.text) is …`" }
            if following.isSymbol("=") { help = "write `let \(current.text) = …`" }
            throw skip("a rule", help: help, isHere: true)
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
        try need(
            word: "for", in: "between a demand and the actions it is for",
            help: "write `require mfa for approve on payrun`", mark: .clause)
        var rule = RuleSyntax(kind: .require, range: start)
        rule.demand = demand
        try scope(&rule)
        try clauses(&rule)
        rule.range = start.union(lastRange)
        return rule
    }

    /// `offer role approver for at most 4h to user in group "Finance" requires mfa`
    private mutating func offer() throws(Skip) -> OfferSyntax {
        let start = current.range
        advance()
        try need(word: "role", in: "after `offer`")
        let role = try name("a role's name", .role)
        try need(word: "for", in: "before the longest time of an offer", help: "write `for at most 4h`")
        try need(word: "at", in: "before the longest time of an offer", help: "write `for at most 4h`")
        try need(word: "most", in: "before the longest time of an offer", help: "write `for at most 4h`")
        let atMost = try duration("the longest time the role is granted for")
        var rule = RuleSyntax(kind: .permit, range: start)
        try clauses(&rule)
        rule.range = start.union(lastRange)
        return OfferSyntax(role: role, atMost: atMost, rule: rule)
    }

    /// `on permit approve on payrun when … then notify "audit" "…", terminate sessions`
    private mutating func obligation() throws(Skip) -> ObligationSyntax {
        let start = current.range
        advance()
        let occasions: [String: CheckedObligation.Occasion] = ["permit": .permit, "deny": .deny, "step_up": .stepUp]
        want(words: occasions.keys)
        guard current.kind == .name, let occasion = occasions[current.text] else {
            throw skip("an answer after `on`", help: "one of: permit, deny, step_up")
        }
        advance()
        var rule = RuleSyntax(kind: .permit, range: start)
        try scope(&rule)
        try clauses(&rule, isDuty: true)
        if let demand = rule.demand {
            sink.report(
                .badDemand, "a duty cannot require anything", at: demand.range,
                help: "write a `require … for …` rule instead")
        }
        try need(
            word: "then", in: "before what is to be done",
            help: advice(Self.clauseWords.union(["then"])) ?? "write `then notify \"whom\" \"text\"`", mark: .clause)
        var duties: [DutySyntax] = []
        repeat {
            mark(.deed)
            duties.append(try duty())
        } while take(symbol: ",")
        rule.range = start.union(lastRange)
        try ends("rule")
        return ObligationSyntax(occasion: occasion, rule: rule, duties: duties)
    }

    private mutating func duty() throws(Skip) -> DutySyntax {
        if take(word: "notify") {
            let to = try text("whom to notify, in quotes")
            let body = try text("what to say, in quotes")
            return .notify(to: to, body: body, topic: take(word: "topic") ? try text("a topic in quotes") : nil)
        }
        if take(word: "terminate") {
            try need(word: "sessions", in: "after `terminate`")
            return .terminateSessions
        }
        if take(word: "custom") { return .custom(try fields()) }
        throw skip("a duty", help: "one of: notify \"whom\" \"text\", terminate sessions, custom { … }")
    }

    private mutating func scope(_ rule: inout RuleSyntax) throws(Skip) {
        if current.isName("on"), !following.isName("on") {
            throw skip("an action, or `any`", help: "write `any on …` for all actions")
        }
        if isAtRule { throw skip("an action, or `any`") }
        rule.actions = take(word: "any") ? nil : try names("an action, or `any`", .action)
        try need(
            word: "on", in: "between actions and entity types",
            help: current.kind == .name && current.breaksBefore == 0 ? "write `on \(current.text)`" : nil)
        let isClause =
            current.kind == .name && Self.clauseWords.contains(current.text) && following.breaksBefore == 0
            && (following.kind == .text || (following.kind == .name && !Self.clauseWords.contains(following.text)))
        if isAtRule || isClause { throw skip("an entity type, or `any`") }
        rule.types = take(word: "any") ? nil : try names("an entity type, or `any`", .entity)
    }

    /// The clauses of a rule, up to its end; those of a duty, up to `then`.
    private mutating func clauses(_ rule: inout RuleSyntax, isDuty: Bool = false) throws(Skip) {
        var seenTo = false
        let first = position
        while current.kind == .name {
            let range = current.range
            let word = current.text
            if Self.clauseWords.contains(word) { mark(word == "as" && position == first ? .label : .clause) }
            switch word {
            case "as":
                once(rule.label != nil, word)
                advance()
                rule.label = try text("the rule's label in quotes")
            case "to":
                once(rule.to != nil || rule.subjectType != nil || seenTo, word)
                seenTo = true
                advance()
                try subject(&rule)
            case "when":
                once(rule.when != nil, word)
                advance()
                rule.when = try expression()
            case "unless":
                once(rule.unless != nil, word)
                advance()
                rule.unless = try expression()
            case "requires":
                once(rule.demand != nil, word, isRequire: rule.kind == .require)
                if rule.kind == .forbid {
                    sink.report(
                        .forbidDemand, "a forbid cannot require anything", at: range,
                        help: "write a `require … for …` rule instead")
                }
                advance()
                rule.demand = try demand()
            case "because" where !isDuty:
                once(rule.reason != nil, word)
                advance()
                rule.reason = try text("the reason in quotes").text
            default:
                if isDuty { return }
                return try ends("rule")
            }
        }
        if wanted != nil { want(words: openClauses(of: rule, isDuty: isDuty, hasSubject: seenTo)) }
        if !isDuty { try ends("rule") }
    }

    /// The clauses that a rule can still have.
    private func openClauses(of rule: RuleSyntax, isDuty: Bool, hasSubject: Bool) -> [String] {
        var open: [String] = []
        if rule.label == nil { open.append("as") }
        if !hasSubject { open.append("to") }
        if rule.when == nil { open.append("when") }
        if rule.unless == nil { open.append("unless") }
        if rule.kind == .permit, rule.demand == nil, !isDuty { open.append("requires") }
        if rule.reason == nil, !isDuty { open.append("because") }
        return open
    }

    private mutating func once(_ isThere: Bool, _ word: String, isRequire: Bool = false) {
        guard isThere else { return }
        let help =
            switch word {
            case "as": "keep one label"
            case "to": "join the conditions with `or`, or write a rule for each"
            case "when", "unless": "join the conditions with `and` or `or`"
            case "requires" where isRequire: "say it all between `require` and `for`"
            case "requires": "say it all at once: `mfa within 15m using hwk`"
            default: "join the texts"
            }
        sink.report(.repeatedClause, "a second `\(word)` in one rule", at: current.range, help: help)
    }

    private mutating func subject(_ rule: inout RuleSyntax) throws(Skip) {
        if take(word: "any") { return }
        want(.subjectType)
        let relations = ["in", "not", "like", "contains", "intersects", "subset"]
        let isAlone = following.kind != .symbol || ["}", "{", "(", ")", "]"].contains(following.text)
        let isText = current.kind == .text && isAlone && !relations.contains(following.text)
        if isText || (current.isName("group") && following.kind == .text) {
            let group = isText ? current : following
            sink.report(
                .notACondition, "expected a subject type or a condition", at: current.range.union(group.range),
                help: "write `user in group \"\(group.text)\"`")
            throw Skip()
        }
        let isTypeAlone =
            current.kind == .name && !["in", "not", "has", "role", "true", "false"].contains(current.text)
            && !(relations + ["and", "or"]).contains(following.text) && following.kind != .symbol
        if isTypeAlone || (current.kind == .name && following.isSymbol("}")) {
            rule.subjectType = try name("a subject type")
            // As far as it is written, it can also be the beginning of a condition.
            want(words: relations + ["and", "or"])
        } else {
            rule.to = try expression()
        }
    }

    mutating func demand() throws(Skip) -> DemandSyntax {
        let start = current.range
        var demand = DemandSyntax(level: nil, within: nil, methods: [], range: start)
        want(.level)
        if current.kind == .name, !["within", "using", "for"].contains(current.text) {
            demand.level = try name("an assurance level")
        }
        let within = current.range
        if take(word: "within") {
            demand.within = try duration("how long ago the sign-in may be")
            demand.withinRange = within.union(lastRange)
        }
        let using = current.range
        if take(word: "using") {
            demand.methods = try names("an authentication method", .method)
            demand.methodsRange = using.union(lastRange)
        }
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
        while take(word: "or", mark: .or) { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func conjunction() throws(Skip) -> ExpressionSyntax {
        var parts = [try negation()]
        while take(word: "and", mark: .and) { parts.append(try negation()) }
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
        if wanted != nil { want(words: ["has", "role"]) }
        if current.isName("has"), following.kind == .name || (wanted != nil && following.kind == .end) {
            advance()
            let value = try value()
            return .has(value, start.union(value.range))
        }
        if current.isName("role"), following.kind == .name || (wanted != nil && following.kind == .end) {
            advance()
            return .role(try name("a role's name", .role))
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
            sink.report(.foreignOperator, "`=` does not compare", at: current.range, help: "write `==`")
            advance()
            let right = try value()
            return .compare(left, .equal, right, start.union(right.range))
        }
        return try relation(left, start)
    }

    private mutating func relation(_ left: ValueSyntax, _ start: SourceRange) throws(Skip) -> ExpressionSyntax {
        if wanted != nil { want(words: ["in", "not"]) }
        if wanted != nil, current.isName("not"), following.kind == .end {
            advance()
            throw wanting("in")
        }
        if current.isName("in") || (current.isName("not") && following.isName("in")) {
            let negated = take(word: "not")
            advance()
            if wanted != nil { want(.entity, words: ["group"]) }
            if current.isName("group") {
                advance()
                let group = try text("the group's name in quotes")
                return .inGroup(left, group, negated: negated, start.union(group.range))
            }
            if current.kind == .name, following.kind == .text || (current.breaksBefore == 0 && isBareID(following)) {
                let type = try name("a type of container")
                let id = try text("the container's id in quotes")
                return .inContainer(left, type: type, id: id, negated: negated, start.union(id.range))
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

    /// A word behind a type of container that was surely meant to be the container's id.
    private func isBareID(_ token: Token) -> Bool {
        token.kind == .name && token.breaksBefore == 0 && !Self.clauseWords.contains(token.text)
            && !Self.conditionWords.contains(token.text) && !Self.policyWords.contains(token.text)
            && token.text != "then"
            && near(token.text, Self.clauseWords.union(Self.conditionWords)) == nil
    }

    // MARK: Tests

    mutating func test() throws(Skip) -> TestSyntax {
        let start = current.range
        advance()
        var test = TestSyntax(name: try text("the test's name in quotes"), range: start)
        let opening = current.range
        let skippedBefore = skipped
        try open("before the test's steps", for: Self.stepWords)
        block(from: { $0.isLine(of: Self.stepWords) }, words: Self.stepWords) { (parser) throws(Skip) in
            parser.mark(.item)
            try parser.step(&test)
        }
        close(opening, "test \"\(test.name.text)\"")
        test.isBroken = skipped > skippedBefore
        test.range = start.union(lastRange)
        return test
    }

    private static let stepWords: Set<String> = ["given", "ask", "expect"]

    /// True where a step begins, even inside values whose brace is missing.
    private var isAtStep: Bool {
        guard isLine(of: Self.stepWords), following.kind == .name, following.breaksBefore == 0 else { return false }
        let third = tokens[min(position + 2, tokens.count - 1)]
        switch current.text {
        case "given": return third.isSymbol("{") || following.text == "now"
        case "ask": return third.isName("on")
        default: return ["permit", "deny", "step_up", "error"].contains(following.text)
        }
    }

    private mutating func step(_ test: inout TestSyntax) throws(Skip) {
        let before = test
        try stepContent(&test)
        if current.isSymbol("}") || current.kind == .end || current.breaksBefore > 0 { return }
        if current.kind == .name, Self.stepWords.contains(current.text) { return }
        test = before
        throw skip("the end of this step")
    }

    private mutating func stepContent(_ test: inout TestSyntax) throws(Skip) {
        let range = current.range
        if take(word: "given") {
            try given(&test)
        } else if take(word: "ask") {
            if test.question != nil { repeated("ask", range, "write another test for another question") }
            test.question = try question()
        } else if take(word: "expect") {
            if test.expectation != nil { repeated("expect", range, "a question has one answer") }
            want(words: Self.outcomes)
            let word = try name("permit, deny, step_up or error")
            if !Self.outcomes.contains(word.text) { try unknown(outcome: word) }
            var demand: DemandSyntax?
            if word.text == "step_up" { want(.level, words: ["within", "using"]) }
            if word.text == "step_up", current.kind == .name, !Self.stepWords.contains(current.text) {
                demand = try self.demand()
            }
            test.expectation = (word, demand)
        } else {
            throw skip("`given`, `ask` or `expect`", help: advice(Self.stepWords), isHere: true)
        }
    }

    private static let outcomes: Set<String> = ["permit", "deny", "step_up", "error"]

    /// Reports it and passes over a demand behind it; the rest of the test is looked at all the same.
    private mutating func unknown(outcome word: Name) throws(Skip) {
        let isDemand = current.kind == .name && ["within", "using"].contains(current.text)
        let help =
            switch word.text.lowercased() {
            case _ where isDemand: "a demand follows its outcome: `expect step_up \(word.text) …`"
            case "allow", "allowed", "permitted", "grant": "write `permit`"
            case "forbid", "forbidden", "denied", "refuse": "write `deny`"
            case "challenge", "stepup", "requires", "require": "write `step_up`"
            default: sink.suggestion(word.text, Self.outcomes)
            }
        sink.report(.unknownOutcome, "`\(word.text)` is no outcome", at: word.range, help: help)
        if isDemand { _ = try demand() }
    }

    private mutating func repeated(_ word: String, _ range: SourceRange, _ help: String) {
        sink.report(.repeatedStep, "a second `\(word)` in one test", at: range, help: help)
    }

    private mutating func given(_ test: inout TestSyntax) throws(Skip) {
        let what = try name("a subject type, session, device, context or now", .given)
        if what.text == "now" ? test.now != nil : test.given.contains(where: { $0.what.text == what.text }) {
            repeated("given \(what.text)", what.range, "say it once, with all its values")
        }
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
        let action = try name("an action", .action)
        let start = action.range
        try need(word: "on", in: "between action and entity type")
        if isAtStep { throw skip("an entity type") }
        let type = try name("an entity type", .entity)
        var id: String?
        if current.kind == .text { id = try text("the resource's id").text }
        var containers: [(type: Name, id: Name)] = []
        while take(word: "in") {
            let container = try name("a type of container", .entity)
            containers.append((container, try text("the container's id in quotes")))
        }
        let isWord = current.kind == .name && current.breaksBefore == 0
        let hasFields = current.isSymbol("{") || (isWord && !["with", "given", "expect", "in"].contains(current.text))
        let fields = hasFields ? try fields() : []
        var actionFields: [FieldSyntax] = []
        if take(word: "with") {
            try need(word: "action", in: "after `with`")
            actionFields = try self.fields()
        }
        return QuestionSyntax(
            action: action, type: type, id: id, containers: containers, fields: fields, actionFields: actionFields,
            range: start.union(lastRange))
    }

    private mutating func fields() throws(Skip) -> [FieldSyntax] {
        let opening = current.range
        let skippedBefore = skipped
        try open("before values", for: current.breaksBefore == 0 ? [current.text] : [])
        var fields: [FieldSyntax] = []
        block(
            from: { $0.current.kind == .name && $0.current.breaksBefore > 0 }, until: { $0.isAtStep }, names: .field
        ) {
            (parser) throws(Skip) in
            parser.mark(.entry)
            let name = try parser.name("the name of a value")
            if parser.current.isSymbol("=") || parser.current.isSymbol("==") {
                parser.sink.report(
                    .foreignOperator, "a value follows its name without `\(parser.current.text)`",
                    at: parser.current.range, help: "write `\(name.text): …` or `\(name.text) …`")
                parser.advance()
            } else {
                parser.takeOptional(":")
            }
            fields.append(FieldSyntax(name: name, value: try parser.value()))
            parser.takeOptional(",")
        }
        close(opening, "this block of values")
        // Values that could not be read make the step another one than was meant.
        if skipped > skippedBefore { throw Skip() }
        return fields
    }
}
