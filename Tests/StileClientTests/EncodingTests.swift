// The client's own writer and reader of frames, held to the protocol's.

import CBOR
import DecisionProtocol
import Memory
import TestSupport
import Testing

@testable import StileClient

@Suite("the client's frames")
struct EncodingTests {
    private static func value(_ random: inout SeededGenerator, _ depth: Int = 0) -> (PropertyValue, CBORValue) {
        switch random.below(depth < 3 ? 7 : 5) {
        case 0: return (.null, .null)
        case 1: return (.bool(true), .bool(true))
        case 2:
            let number = Int64(random.below(1 << 40)) - 1 << 39
            return (.integer(number), .number(number))
        case 3: return (.decimal(1_250, -2), .decimal(mantissa: 1_250, exponent: -2))
        case 4:
            let text = String(repeating: random.pick(["a", "é", "水"]), count: random.below(40))
            return (.text(text), .text(text))
        case 5:
            let items = (0..<random.below(4)).map { _ in value(&random, depth + 1) }
            return (.list(items.map(\.0)), .array(items.map(\.1)))
        default:
            let (object, pairs) = object(&random, depth + 1)
            return (.object(object), .map(pairs))
        }
    }

    private static func object(_ random: inout SeededGenerator, _ depth: Int = 0) -> (
        [String: PropertyValue], [CBORPair]
    ) {
        var object: [String: PropertyValue] = [:]
        var pairs: [CBORPair] = []
        for index in 0..<random.below(5) {
            let (one, two) = value(&random, depth)
            let name = String(repeating: random.pick(["a", "b", "ü"]), count: random.below(30)) + "\(index)"
            object[name] = one
            pairs.append(CBORPair(.text(name), two))
        }
        return (object, pairs)
    }

    @Test("random questions are written as the protocol's own writer does")
    func questions() throws {
        let seed = TestSeed.next()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let (subject, action, resource, context) = (
                Self.object(&random), Self.object(&random), Self.object(&random), Self.object(&random)
            )
            var request = AuthorizationRequest(
                subject: .init(type: "user", id: "ada", properties: subject.0),
                action: .init(name: "read", properties: action.0),
                resource: .init(type: "doc", id: "d1", properties: resource.0), context: context.0)
            var question = Question(
                subject: Entity(type: "user", id: "ada", properties: subject.1),
                action: ActionName(name: "read", properties: action.1),
                resource: Entity(type: "doc", id: "d1", properties: resource.1))
            if !context.1.isEmpty { question.context = context.1 }
            if random.chance(50) { (request.session, question.session) = ("s1", "s1") }
            if random.chance(50) { (request.device, question.device) = ("d1", "d1") }
            let id = UInt64(random.below(1 << 40))
            var writer = CBORWriter()
            let encoded = try EncodedQuestion(request)
            Asking.question(encoded).write(id: id, to: &writer)
            #expect(writer.bytes.array == Framing.prefixed(question.frame(id: id)), "seed \(seed)")
            writer.removeAll()
            Asking.writeSubscribe(encoded, id: id, to: &writer)
            #expect(writer.bytes.array == Framing.prefixed(question.subscribeFrame(id: id)), "seed \(seed)")
            writer.removeAll()
            Asking.batch(EncodedBatch([encoded, encoded], .permitOnFirstPermit)).write(id: id, to: &writer)
            let none = Question(subject: nil, action: nil, resource: nil)
            let batch = Batch(defaults: none, items: [question, question], semantic: .permitOnFirstPermit)
            #expect(writer.bytes.array == Framing.prefixed(batch.frame(id: id)), "seed \(seed)")
            writer.removeAll()
            // The question as what two empty items leave out.
            let inherited = EncodedBatch(defaults: encoded, items: [0xa0, 0xa0], count: 2, semantic: .executeAll)
            Asking.batch(inherited).write(id: id, to: &writer)
            let whole = Batch(defaults: question, items: [none, none])
            #expect(writer.bytes.array == Framing.prefixed(whole.frame(id: id)), "seed \(seed)")
        }
    }

    @Test("no bytes trap the reader, and it sees a permit only where the protocol's own reader does")
    func mutations() {
        let seed = TestSeed.next()
        var random = SeededGenerator(seed: seed)
        let rule = CBORValue.record([0: .text("P/r"), 1: .text("p.stile"), 2: .unsigned(4), 3: .text("Because.")])
        let duty = CBORValue.record([0: .text("o"), 1: .text("notify"), 2: .map([CBORPair(.text("a"), .null)])])
        let fields =
            Frames.fields(0, 0, validUntil: 5)
            + [CBORPair(.unsigned(9), .array([rule])), CBORPair(.unsigned(12), .array([duty]))]
        let samples = [
            Frames.answer(300).encoded, Frames.answer(3, fields).encoded, Frames.status(9).encoded,
            Frames.subscribed(4, 70_000, fields).encoded, Frames.pushed(3, Frames.deny).encoded,
            CBORValue.record([0: .unsigned(2), 1: .unsigned(5), 9: .array([.map(fields), .map(Frames.deny)])]).encoded,
        ]
        for sample in samples {
            #expect(unsafe sample.withUnsafeBytes { unsafe Incoming($0) } != nil)
        }
        for _ in 0..<20_000 {
            var bytes = random.pick(samples)
            for _ in 0...random.below(3) {
                switch random.below(3) {
                case 0: bytes[random.below(bytes.count)] = UInt8(random.below(256))
                case 1: bytes.remove(at: random.below(bytes.count))
                default: bytes.insert(UInt8(random.below(256)), at: random.below(bytes.count))
                }
                if bytes.isEmpty { bytes = [0] }
            }
            guard let incoming = unsafe bytes.withUnsafeBytes({ unsafe Incoming($0) }) else { continue }
            guard let theirs = ServerFrame(bytes) else {
                // Kinds of values that the protocol's tree does not hold are passed over behind unknown keys.
                #expect((try? CBORValue.decode(bytes)) == nil, "only the client reads \(bytes), seed \(seed)")
                continue
            }
            switch (incoming, theirs) {
            case (.decision(let id, let decision), .answer(let other, let answer)):
                #expect(id == other && decision.permitsWithObligations == (answer.outcome == .permit), "seed \(seed)")
                #expect(decision.obligations.count == answer.obligations.count, "seed \(seed)")
            case (.batch(let id, let decisions), .batch(let other, let answers)):
                #expect(id == other && decisions.count == answers.count, "seed \(seed)")
                for (decision, answer) in zip(decisions, answers) {
                    #expect(decision.permitsWithObligations == (answer.outcome == .permit), "seed \(seed)")
                }
            case (.decision, _), (.batch, _): Issue.record("\(incoming) for \(theirs), seed \(seed)")
            default: break
            }
        }
    }
}
