// Bodies: JSON in, strictly and within limits; JSON out.

package import HTTPTypes
package import Hummingbird
import NIOCore
package import StrictJSON

/// Reads bodies.
package enum BodyReader {
    /// The bytes of a body.
    /// - Throws: `body_too_large` (413), before anything of it is read where its length is told beforehand.
    package static func bytes(_ request: Request, limit: Int) async throws(GatewayError) -> ByteBuffer {
        let refusal = GatewayError(.contentTooLarge, "body_too_large", "a body of more than \(limit) bytes")
        if let length = request.headers.value(.contentLength).flatMap({ Int($0) }), length > limit { throw refusal }
        do {
            return try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw refusal
        } catch {
            throw GatewayError(.badRequest, "body_incomplete", "the connection ended before the body did")
        }
    }

    /// A body of JSON.
    /// - Throws: `unsupported_media_type` (415), `body_too_large` (413), `invalid_json` with the place (400).
    package static func json(_ request: Request, limit: Int) async throws(GatewayError) -> JSONValue {
        try requireJSON(request.headers)
        let body = try await bytes(request, limit: limit)
        do throws(JSONError) {
            return try JSONValue.parse(body.readableBytesView)
        } catch {
            throw GatewayError(.badRequest, "invalid_json", error.description)
        }
    }

    /// `application/json`, with whatever parameters.
    package static func requireJSON(_ headers: HTTPFields) throws(GatewayError) {
        let type = mediaType(headers)
        guard type == "application/json" else {
            throw GatewayError(
                .unsupportedMediaType, "unsupported_media_type", "send Content-Type: application/json")
        }
    }

    /// The media type of a body in lower case, without parameters; empty when there is none.
    package static func mediaType(_ headers: HTTPFields) -> String {
        guard let header = headers.value(.contentType) else { return "" }
        if header == "application/json" { return header }
        return header.prefix { $0 != ";" }.filter { !$0.isWhitespace }.lowercased()
    }
}

extension Response {
    /// An answer of JSON.
    package static func json(
        _ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = HTTPFields(),
        type: String = "application/json"
    ) -> Response {
        var headers = headers
        headers[.contentType] = type
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: value.compact)))
    }

    /// An answer without a body.
    package static let noContent = Response(status: .noContent)
}
