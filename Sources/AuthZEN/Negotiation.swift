// What the application can carry out of what answers may ask of it (obligations profile 1.0 draft 1).

package import DecisionProtocol
package import StrictJSON

/// Obligations that an application says it can carry out.
package struct Negotiation: Sendable, Hashable {
    /// The member of `context`.
    static let member = "supported_obligations"

    /// The types that this decision point may send.
    package static let advertised = ["step-up", "notification", "session_termination", "custom"]

    /// The advertised types that the application knows; nil when it does not say.
    package let types: Set<String>?

    /// An application that does not say.
    package static let unsaid = Negotiation(types: nil)

    package init(types: Set<String>?) { self.types = types }

    /// What a request's context says.
    /// - Parameter context: its place in the document, if there is one.
    package init(_ document: JSONDocument, context: Int?) throws(RequestError) {
        guard let list = context.flatMap({ document.member(Self.member, of: $0) }) else {
            self = .unsaid
            return
        }
        let needed = RequestError(path: "context.\(Self.member)", message: "an array of strings is needed")
        guard document.kind(list) == .array else { throw needed }
        var types: Set<String> = []
        var place = list + 1
        for _ in 0..<document.count(list) {
            guard document.kind(place) == .string else { throw needed }
            let type = document.text(place)
            // What is not advertised is passed over (profile, 4).
            if Self.advertised.contains(type) { types.insert(type) }
            place = document.after(place)
        }
        self.init(types: types)
    }

    /// Whether an obligation of this type may be sent.
    package func allows(_ type: String) -> Bool { types?.contains(type) ?? true }
}
