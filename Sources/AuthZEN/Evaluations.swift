// Many questions in one request (Authorization API 1.0, section 7): one frame to `stiled`, so one instant and one snapshot
// for all of them, and answers in their order.

import CBOR
package import DecisionProtocol
import Memory
package import StileClient
import StrictJSON

/// A request for many decisions.
package struct Evaluations: Sendable {
    /// What one item is.
    package enum Item: Sendable {
        /// A question, the next of the frame's.
        case question(Negotiation)
        /// No question; says why.
        case mistake(RequestError)
    }

    /// The items up to the one that ends the batch whatever the decisions are.
    package private(set) var items: [Item] = []
    package private(set) var semantic = EvaluationsSemantic.executeAll
    private var questions = 0
    private var negotiates = false
    private var encodedItems: [UInt8] = []
    private var defaults = EncodedQuestion(count: 0, bytes: [])

    /// The items that are questions, for one frame; nil when there are none.
    package var batch: EncodedBatch? {
        if questions == 0 { return nil }
        // A permit that the application cannot carry out is none: then the first permit shows only here.
        let stopsHere = semantic == .permitOnFirstPermit && negotiates
        return EncodedBatch(
            defaults: defaults, items: encodedItems, count: questions, semantic: stopsHere ? .executeAll : semantic)
    }

    /// Reads a request.
    /// - Parameter fillsDefaults: an item's entity that lacks `type`, `id` or `name` takes it from the default's.
    /// - Throws: what is wrong with the request as a whole. What is wrong with one item is that item's denial.
    package init(
        _ reader: QuestionReader, _ list: Int, fillsDefaults: Bool
    ) throws(RequestError) {
        let document = reader.document
        semantic = try Self.semantic(document)
        let count = document.count(list)
        guard count <= ProtocolLimits.maxBatch else {
            throw RequestError(
                path: "evaluations", message: "\(count) items: \(ProtocolLimits.maxBatch) are allowed in one request")
        }
        let parts = reader.parts(of: JSONDocument.root)
        let common = Defaults(reader, parts)
        defaults = common.encoded
        items.reserveCapacity(count)
        var writer = CBORWriter()
        var place = list + 1
        for _ in 0..<count {
            let start = writer.bytes.count
            do throws(RequestError) {
                let negotiation = try Self.item(reader, place, common, fillsDefaults, &writer)
                items.append(.question(negotiation))
                questions += 1
                if negotiation.types != nil { negotiates = true }
            } catch {
                writer.bytes.truncate(to: start)
                items.append(.mistake(error))
                // A failure ends it as a denial does (7.1.2.1).
                if semantic == .denyOnFirstDeny { break }
            }
            place = document.after(place)
        }
        encodedItems = writer.bytes.array
    }

    private static func semantic(_ document: JSONDocument) throws(RequestError) -> EvaluationsSemantic {
        guard let options = document.member("options", of: JSONDocument.root) else { return .executeAll }
        guard document.kind(options) == .object else {
            throw RequestError(path: "options", message: "an object is needed")
        }
        guard let value = document.member("evaluations_semantic", of: options) else { return .executeAll }
        switch document.kind(value) == .string ? document.text(value) : "" {
        case "execute_all": return .executeAll
        case "deny_on_first_deny": return .denyOnFirstDeny
        case "permit_on_first_permit": return .permitOnFirstPermit
        default:
            throw RequestError(
                path: "options.evaluations_semantic",
                message: "one of execute_all, deny_on_first_deny, permit_on_first_permit is needed")
        }
    }

    /// Appends an item's own fields: what it leaves out is the defaults', whole.
    private static func item(
        _ reader: QuestionReader, _ place: Int, _ common: Defaults, _ fills: Bool, _ writer: inout CBORWriter
    ) throws(RequestError) -> Negotiation {
        guard reader.document.kind(place) == .object else {
            throw RequestError(path: "evaluations", message: "an item must be an object")
        }
        let parts = reader.parts(of: place)
        if parts.subject == nil { try common.require(.subject) }
        if parts.action == nil { try common.require(.action) }
        if parts.resource == nil { try common.require(.resource) }
        if let problem = common.restProblem { throw problem }
        writer.map(reader.count(parts))
        if parts.subject != nil {
            try reader.entity(parts.subject, .subject, fallback: fills ? common.parts.subject : nil, to: &writer)
        }
        if parts.action != nil {
            try reader.action(parts.action, fallback: fills ? common.parts.action : nil, to: &writer)
        }
        if parts.resource != nil {
            try reader.entity(parts.resource, .resource, fallback: fills ? common.parts.resource : nil, to: &writer)
        }
        try reader.rest(parts, to: &writer)
        guard let context = parts.context else { return try common.negotiation.get() }
        return try Negotiation(reader.document, context: context)
    }

    // MARK: Answers

    /// The answer: decisions in the order of the items, what is no question among them, up to the item that ends it.
    package func answer(_ decisions: [Decision]) -> [UInt8] {
        var writer = DecisionWriter(count: items.count)
        writer.json.raw("{\"evaluations\":[")
        var rest = decisions.makeIterator()
        var isFirst = true
        items: for item in items {
            let isPermitted: Bool
            switch item {
            case .question(let negotiation):
                guard let decision = rest.next() else { break items }
                if !isFirst { writer.json.raw(",") }
                isPermitted = writer.decision(decision, negotiation)
            case .mistake(let error):
                if !isFirst { writer.json.raw(",") }
                writer.refused(error)
                isPermitted = false
            }
            isFirst = false
            if isPermitted ? semantic == .permitOnFirstPermit : semantic == .denyOnFirstDeny { break }
        }
        writer.json.raw("]}")
        return writer.json.bytes
    }
}

/// What items take that they leave out.
private struct Defaults: Sendable {
    enum Part: Sendable {
        case subject, action, resource
    }

    let parts: QuestionParts
    let negotiation: Result<Negotiation, RequestError>
    /// What is wrong with context, session or device.
    let restProblem: RequestError?
    private var problems: [Part: RequestError] = [:]
    private(set) var encoded = EncodedQuestion(count: 0, bytes: [])

    /// A default that is no subject, action or resource harms only the items that leave theirs out.
    init(_ reader: QuestionReader, _ parts: QuestionParts) {
        self.parts = parts
        negotiation = Result { () throws(RequestError) in try Negotiation(reader.document, context: parts.context) }
        var writer = CBORWriter()
        var count = 0
        var problems: [Part: RequestError] = [:]
        func keep(_ part: Part, _ write: (inout CBORWriter) throws(RequestError) -> Void) {
            let start = writer.bytes.count
            do throws(RequestError) {
                try write(&writer)
                count += 1
            } catch {
                writer.bytes.truncate(to: start)
                problems[part] = error
            }
        }
        keep(.subject) { (writer) throws(RequestError) in try reader.entity(parts.subject, .subject, to: &writer) }
        keep(.action) { (writer) throws(RequestError) in try reader.action(parts.action, to: &writer) }
        keep(.resource) { (writer) throws(RequestError) in try reader.entity(parts.resource, .resource, to: &writer) }
        let start = writer.bytes.count
        do throws(RequestError) {
            try reader.rest(parts, to: &writer)
            count += reader.restCount(parts)
            restProblem = nil
        } catch {
            writer.bytes.truncate(to: start)
            restProblem = error
        }
        self.problems = problems
        encoded = EncodedQuestion(count: count, bytes: writer.bytes.array)
    }

    /// - Throws: why an item that leaves the part out has none.
    func require(_ part: Part) throws(RequestError) {
        if let problem = problems[part] { throw problem }
    }
}
