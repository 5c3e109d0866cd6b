// The administration's API as the gateway serves it.

import Credentials
package import GatewayCore
import HTTPTypes
import Hummingbird
package import StrictJSON

/// The room of the administration's API.
package enum Administration {
    private static let operations: [Operation] =
        TenantOperations.all + CredentialOperations.all + PolicyOperations.all + ReviewOperations.all
        + CompareOperations.all + AssignmentOperations.all + ShadowOperations.all
        + ResourceOperations.all
        + SessionOperations.all + SubjectOperations.all + GrantOperations.all + ExplainOperations.all
        + SurveyOperations.all

    /// Its endpoints.
    package static func room(_ services: GatewayServices) -> APIRoom {
        let text = document.compact
        let description = Endpoint(.get, "/admin/v1/openapi.json", access: .open) { _, _ in
            var headers: HTTPFields = [.contentType: "application/json"]
            headers[.cacheControl] = "max-age=3600"
            return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
        }
        return APIRoom(.admin, [description] + operations.map { $0.endpoint(services) })
    }

    /// The published description (OpenAPI 3.1).
    package static var document: JSONValue { OpenAPIDocument(operations: operations).json }

    /// The paths and methods there are, with the roles that may use them: for tests that walk them all.
    package static var routes: [(method: String, path: String, roles: Set<String>)] {
        operations.map { ($0.method.rawValue, $0.path, Set($0.roles.map(\.rawValue))) }
    }
}
