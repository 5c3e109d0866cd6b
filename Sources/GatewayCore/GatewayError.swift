// Why a request was refused, in one form that every API renders in its own way.

package import AttributeStore
package import HTTPTypes
package import StrictJSON

/// A refused or failed request.
package struct GatewayError: Error, Sendable, CustomStringConvertible {
    package var status: HTTPResponse.Status
    /// Stable, for programs: `body_too_large`.
    package var code: String
    /// What, where and how to mend it; never a secret.
    package var message: String
    /// Headers that the answer carries besides.
    package var headers = HTTPFields()
    /// Members of the answer's body besides.
    package var members: [JSONMember] = []
    /// What the log is told and the caller is not.
    package var hidden: String?

    package init(_ status: HTTPResponse.Status, _ code: String, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    package var description: String { "\(status.code) \(code): \(message)" }

    /// A member of the body or a parameter that does not fit.
    /// - Parameter path: where: `files[0].name`.
    package static func invalid(_ path: String, _ message: String) -> GatewayError {
        GatewayError(.badRequest, "invalid_request", path.isEmpty ? message : "\(path): \(message)")
    }

    /// Nothing here, or nothing that this caller may know of.
    package static let notFound = GatewayError(.notFound, "not_found", "nothing is here that you may see")

    /// The caller may not do this.
    package static func forbidden(_ message: String) -> GatewayError {
        GatewayError(.forbidden, "forbidden", message)
    }
}

extension GatewayError {
    /// The store's refusal as an answer: what the caller can mend is a 4xx, the rest is ours.
    package init(_ error: StoreError) {
        let status: HTTPResponse.Status =
            switch error.code {
            case .tenantUnknown, .versionUnknown, .grantUnknown: .notFound
            case .tenantExists, .groupCycle, .conflict, .grantEnded, .tooManyGrants: .conflict
            case .tenantInvalid, .valueInvalid, .idInvalid, .unknownEntityType, .unknownSignal: .badRequest
            case .policiesRejected, .budgetExceeded: .unprocessableContent
            case .storeFull, .diskFull: .init(code: 507, reasonPhrase: "Insufficient Storage")
            case .storeMissing, .permissionDenied, .damaged, .failed, .keyWrong, .sealed: .internalServerError
            }
        if status == .internalServerError {
            self.init(status, "store_unavailable", "the store cannot be used; the operator's log says why")
            hidden = error.description
        } else {
            self.init(status, error.code.rawValue, error.message)
        }
    }

    /// Any error as an answer. What nobody foresaw is told to the log alone.
    package init(any error: any Error) {
        switch error {
        case let error as GatewayError: self = error
        case let error as StoreError: self.init(error)
        default:
            self.init(.internalServerError, "internal_error", "this failed; the operator's log says why")
            hidden = "\(error)"
        }
    }
}

/// How an API writes its errors.
package struct ErrorStyle: Sendable {
    /// Body and media type of an error.
    package var render: @Sendable (GatewayError) -> (body: String, type: String)

    package init(_ render: @escaping @Sendable (GatewayError) -> (body: String, type: String)) {
        self.render = render
    }

    /// Problem details (RFC 9457) with `code`.
    package static let problem = ErrorStyle { error in
        let members =
            [
                JSONMember("type", .string("about:blank")), JSONMember("title", .string(error.status.reasonPhrase)),
                JSONMember("status", .integer(error.status.code)), JSONMember("code", .string(error.code)),
                JSONMember("detail", .string(error.message)),
            ] + error.members
        return (JSONValue.object(members).compact, "application/problem+json")
    }
}
