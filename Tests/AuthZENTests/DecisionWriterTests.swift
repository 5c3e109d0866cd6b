// Decisions as JSON.

import AuthZEN
import StileClient
import StrictJSON
import TestSupport
import Testing

@Suite("AuthZEN: decisions")
struct DecisionWriterTests {
    private func written(_ decision: Decision, _ negotiation: Negotiation = .unsaid) throws -> JSONValue {
        var writer = DecisionWriter()
        writer.decision(decision, negotiation)
        return try JSONValue.parse(writer.json.bytes)
    }

    @Test("the three forms of a step-up say the same")
    func stepUp() throws {
        let demand = Decision.StepUp(
            level: "mfa", within: .seconds(300), methods: ["hwk", "pin"], acrValues: ["a\"b", "with space", "c"])
        let duty = Decision.Obligation(id: "step-up", type: "step-up", properties: ["acr_value": "old"])
        let context = try written(Decision(.stepUp, obligations: [duty], stepUp: demand))["context"]
        #expect(context?["acr_values"]?.string == "a\"b c")
        #expect(context?["amr_values"]?.string == "hwk pin")
        #expect(context?["max_age"]?.integer == 300)
        #expect(
            context?["www_authenticate"]?.string
                == #"Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="a\"b c", max_age="300""#
        )
        let obligations = context?["obligations"]?.array ?? []
        #expect(obligations.count == 1)
        #expect(obligations.first?["properties"]?["acr_value"]?.string == "a\"b")
        #expect(obligations.first?["properties"]?["amr_values"]?.array == [.string("hwk"), .string("pin")])
        #expect(obligations.first?["properties"]?["max_age"]?.integer == 300)
        #expect(try written(Decision(.stepUp, stepUp: demand))["decision"]?.bool == false)
        let age = try written(Decision(.stepUp, stepUp: Decision.StepUp(within: .seconds(60))))["context"]
        #expect(age?["obligations"] == nil && age?["max_age"]?.integer == 60)
    }

    @Test("a permit that the application cannot carry out is a denial that says why")
    func negotiation() throws {
        let duty = Decision.Obligation(
            id: "tell", type: "notification", properties: ["to": "x", "n": .decimal(15, -1)])
        let permit = Decision(.permitted, obligations: [duty])
        #expect(try written(permit)["decision"]?.bool == true)
        #expect(try written(permit, Negotiation(types: ["notification"]))["decision"]?.bool == true)
        let refused = try written(permit, Negotiation(types: []))
        #expect(refused["decision"]?.bool == false && refused["context"]?["obligations"] == nil)
        #expect(refused["context"]?["reason_admin"]?["403"]?.string?.contains("tell") == true)
        let properties = try written(permit)["context"]?["obligations"]?.array?.first?["properties"]
        #expect(properties?.compact == #"{"n":15e-1,"to":"x"}"#)
    }

    @Test("decisions of a batch are written as each is by itself, whatever stood before it")
    func batch() {
        let rules = [
            Decision.Reason(rule: "a", file: "p.stile", line: 3),
            Decision.Reason(rule: "b\"\u{e9}", file: "p.stile", line: 4, because: "No."),
        ]
        let cause = Decision.Cause(code: "unknown_subject", message: "who \"is\" that?")
        var decisions: [Decision] = []
        for reasons in [[], [rules[0]], [rules[1]], rules] {
            for kind in [Decision.Kind.permitted, .forbidden, .notPermitted, .stepUp] {
                decisions += [Decision(kind, reasons: reasons), Decision(kind, reasons: reasons)]
            }
            decisions.append(Decision(.error, reasons: reasons, cause: cause))
        }
        var random = SeededGenerator(seed: TestSeed.next())
        var batch = DecisionWriter(count: decisions.count)
        for decision in decisions.shuffled(using: &random) + decisions {
            let start = batch.json.bytes.count
            batch.decision(decision, .unsaid)
            var single = DecisionWriter()
            single.decision(decision, .unsaid)
            #expect(Array(batch.json.bytes[start...]) == single.json.bytes)
        }
    }

    @Test("only a permit is true, and reasons stand under the status that fits")
    func kinds() throws {
        let reason = Decision.Reason(rule: "P/\"r\"", file: "p.stile", line: 3, because: "No.\n")
        let cases: [(Decision, String, Bool)] = [
            (Decision(.permitted, reasons: [reason]), "200", true),
            (Decision(.forbidden, reasons: [reason]), "403", false),
            (Decision(.notPermitted), "403", false), (Decision(.stepUp), "401", false),
            (
                Decision(.error, cause: .init(code: "attribute_missing", attribute: "resource.total", message: "m")),
                "400", false
            ),
            (Decision(.error, cause: .init(code: "unknown_subject", message: "m")), "404", false),
            (Decision(.error, cause: .init(code: "store_unreadable", message: "m")), "500", false),
            (Decision(.error, cause: .init(code: "budget_exceeded", message: "m")), "429", false),
        ]
        for (decision, status, isPermitted) in cases {
            let json = try written(decision)
            #expect(json["decision"]?.bool == isPermitted)
            #expect(json["context"]?["reason_admin"]?[status]?.string != nil, "\(json.compact)")
            #expect((json["context"]?["error"] != nil) == (decision.kind == .error))
        }
        #expect(try written(cases[1].0)["context"]?["reason_user"]?["403"]?.string == "No.\n")
        #expect(try written(cases[1].0)["context"]?["reason_admin"]?["403"]?.string == "P/\"r\" (p.stile:3)")
    }
}
