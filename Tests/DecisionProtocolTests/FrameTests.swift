// Frames of the decision socket: what goes out comes back, and the server's walk sees what the client wrote.

import CBOR
import DecisionProtocol
import StrictJSON
import Testing

@Suite("frames")
struct FrameTests {
    private func question() throws -> Question {
        let text =
            #"{"subject":{"type":"user","id":"ada","properties":{"level":3}},"action":{"name":"read"},"#
            + #""resource":{"type":"payrun","id":"p1","properties":{"total":12.50,"tags":["a"]}},"#
            + #""context":{"ip":"10.0.0.1","ignored":null},"session":"s1"}"#
        return try Question(json: try JSONValue.parse(text))
    }

    @Test("JSON keeps exact numbers and drops nulls")
    func json() throws {
        let question = try question()
        #expect(question.resource?.properties.first?.value == .decimal(mantissa: 125, exponent: -1))
        #expect(question.context?.map { $0.key.text } == ["ip"])
        #expect(question.session == "s1")
    }

    @Test("a request without a subject's id names the member")
    func missing() throws {
        let json = try JSONValue.parse(
            #"{"subject":{"type":"user"},"action":{"name":"a"},"resource":{"type":"t","id":"1"}}"#)
        let error = #expect(throws: RequestError.self) { try Question(json: json) }
        #expect(error?.path == "subject.id")
    }

    @Test("the server's walk finds every part of a question")
    func cursor() throws {
        let bytes = try question().frame(id: 7)
        let found = unsafe bytes.withUnsafeBytes { buffer -> [String] in
            var reader = unsafe CBORReader(buffer)
            guard let head = try? FrameHead(&reader) else { return [] }
            let parts = [
                head.question.subject.type, head.question.subject.id, head.question.action.type,
                head.question.resource.id,
                head.question.session,
            ]
            return ["\(head.id)"] + parts.map { unsafe String(decoding: reader.slice($0), as: UTF8.self) }
        }
        #expect(found == ["7", "user", "ada", "read", "p1", "s1"])
    }

    @Test("an item's keys replace the defaults whole")
    func defaults() {
        var defaults = QuestionRanges()
        defaults.subject.isGiven = true
        defaults.subject.id = 3..<6
        var item = QuestionRanges()
        item.resource.isGiven = true
        item.resource.id = 9..<12
        let filled = item.filled(from: defaults)
        #expect(filled.subject.id == 3..<6)
        #expect(filled.resource.id == 9..<12)
        #expect(!filled.action.isGiven)
    }

    @Test("an answer that says permit without being permitted is none")
    func inconsistent() {
        let value = CBORValue.record([0: .unsigned(1), 1: .unsigned(1), 2: .unsigned(0), 3: .unsigned(4)])
        #expect(Answer(value) == nil)
    }

    @Test("an answer with a duty that cannot be read is none")
    func unreadableDuty() {
        func answer(_ duty: CBORValue) -> Answer? {
            Answer(.record([0: .unsigned(1), 1: .unsigned(1), 2: .unsigned(0), 3: .unsigned(0), 12: .array([duty])]))
        }
        #expect(answer(.record([0: .text("id"), 1: .text("custom"), 2: .map([])]))?.obligations.count == 1)
        #expect(answer(.record([0: .text("id"), 2: .map([])])) == nil)
        #expect(answer(.text("notify")) == nil)
    }

    @Test("an exponent at the end of the numbers is refused, not followed")
    func hugeExponent() throws {
        for power in ["-9223372036854775808", "9223372036854775807", "-99999999999999999999"] {
            let json = try JSONValue.parse(
                #"{"subject":{"type":"user","id":"u","properties":{"x":1e\#(power)}},"action":{"name":"a"},"#
                    + #""resource":{"type":"t","id":"1"}}"#)
            #expect(throws: RequestError.self) { try Question(json: json) }
        }
    }

    @Test("every protocol error comes back by its code", arguments: ProtocolError.Code.allCases)
    func errors(code: ProtocolError.Code) {
        guard case .error(let error) = ServerFrame(ProtocolError(code, "mend it").frame) else {
            Issue.record("no error frame")
            return
        }
        #expect(error == ProtocolError(code, "mend it"))
    }

    @Test("a refusal names its request, and the connection goes on")
    func refusal() {
        guard case .refused(7, let error) = ServerFrame(ProtocolError(.tooManySubscriptions, "end some").frame(id: 7))
        else {
            Issue.record("no refusal")
            return
        }
        #expect(error.code == .tooManySubscriptions)
    }

    @Test("a subscribing frame is read as the question that it holds open")
    func subscribing() throws {
        let bytes = try question().subscribeFrame(id: 9)
        let found = unsafe bytes.withUnsafeBytes { buffer -> [String] in
            var reader = unsafe CBORReader(buffer)
            guard let head = try? FrameHead(&reader) else { return [] }
            return [
                "\(head.kind)", "\(head.id)",
                unsafe String(decoding: reader.slice(head.question.resource.id), as: UTF8.self),
            ]
        }
        #expect(found == ["\(FrameKind.subscribe.rawValue)", "9", "p1"])
    }

    @Test("the server's walk finds a subscription's number and a new server's readiness")
    func smallFrames() {
        func head(_ bytes: [UInt8]) -> FrameHead? {
            unsafe bytes.withUnsafeBytes { buffer in
                var reader = unsafe CBORReader(buffer)
                return try? FrameHead(&reader)
            }
        }
        #expect(head(Unsubscribe.frame(id: 3, subscription: 1 << 40))?.subscription == 1 << 40)
        #expect(head(TakeOver.frame(id: 1, isReady: false))?.isReady == false)
        #expect(head(TakeOver.frame(id: 2, isReady: true))?.isReady == true)
    }

    @Test("a hello says whether a goodbye is understood, and a goodbye is read as such")
    func goodbye() {
        for takes in [true, false] {
            let found = unsafe Hello(tenant: "acme", takesGoodbye: takes).frame.withUnsafeBytes { buffer in
                var reader = unsafe CBORReader(buffer)
                return (try? FrameHead(&reader))?.takesGoodbye
            }
            #expect(found == takes)
        }
        guard case .goodbye = ServerFrame(Goodbye.frame) else {
            Issue.record("no goodbye")
            return
        }
        #expect(!FrameKind.goodbye.isClients && FrameKind.takeOver.isClients)
    }

    @Test("frames of the server come back: unsubscribed and hand-over")
    func smallServerFrames() {
        guard case .unsubscribed(4, subscription: 5) = ServerFrame(Unsubscribed.frame(id: 4, subscription: 5)),
            case .handOver(6, software: "stiled 9", ownsPath: true) = ServerFrame(
                HandOver(software: "stiled 9", ownsPath: true).frame(id: 6))
        else {
            Issue.record("a frame is lost")
            return
        }
    }
}
