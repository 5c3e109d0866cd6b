// Policy files as they come: JSON, one text, or a tar archive.

import AttributeStore
import GatewayCore
import Hummingbird
import NIOCore
import PolicyLanguage
import StrictJSON

/// Files, and what is said with them.
struct PolicyUpload: Sendable {
    var files: [PolicyFile]
    var message: String

    /// Bytes of an upload.
    static let maxBytes = 16 << 20
    static let maxMessage = 2_000

    static let body = Operation.Body(
        json: .named(
            "PolicyUpload",
            .object([
                .required(
                    "files",
                    .array(
                        .object([
                            .required(
                                "name",
                                .text(
                                    Schema.TextRule(
                                        atLeast: 7, atMost: 200, pattern: ("^[^\\u0000-\\u001f/]+\\.stile$", isName)))),
                            .required("text", .text(Schema.TextRule())),
                            .optional(
                                "enabled",
                                .boolean.described("false keeps the file with the version and does not decide with it.")
                            ),
                        ]), atMost: LanguageLimits.maxFiles
                    ).described("The catalog and the policies: all files of a tenant.")),
                .optional("message", .text(0...maxMessage)),
            ])),
        others: [
            (
                "application/x-tar",
                "A tar archive (ustar) of a tenant's folder; files that do not end in .stile are passed over."
            ),
            ("text/plain", "All policies in one text."),
        ], limit: maxBytes)

    static let message = Operation.Parameter.query(
        "message", .text(0...maxMessage), "Why, where the body has no place for it.")

    /// Reads the body.
    init(_ request: AdminRequest) async throws {
        message = request.json["message"]?.string ?? request.query("message") ?? ""
        if request.json != .null {
            files = (request.json["files"]?.array ?? []).map {
                PolicyFile(
                    name: $0["name"]?.string ?? "", text: $0["text"]?.string ?? "",
                    isEnabled: $0["enabled"]?.bool ?? true)
            }
            let names = files.map(\.name)
            guard Set(names).count == names.count else { throw GatewayError.invalid("files", "a name stands twice") }
            return
        }
        let buffer = try await BodyReader.bytes(request.request, limit: Self.maxBytes)
        let bytes = Array(buffer.readableBytesView)
        if BodyReader.mediaType(request.request.headers) == "text/plain" {
            files = [PolicyFile(name: "policies.stile", text: try Self.text(bytes[...], "the body"))]
        } else {
            files = try Self.unpack(bytes)
        }
    }

    private static func isName(_ name: String) -> Bool {
        name.hasSuffix(".stile") && name.unicodeScalars.count > 6 && !name.utf8.contains { $0 < 0x20 || $0 == 0x2f }
    }

    private static func unpack(_ bytes: [UInt8]) throws(GatewayError) -> [PolicyFile] {
        let archive: TarArchive
        do throws(TarError) {
            archive = try TarArchive(bytes)
        } catch {
            throw GatewayError(.badRequest, "invalid_archive", error.message)
        }
        var files: [PolicyFile] = []
        // The files of a tenant lie in one folder: the shallowest that has any.
        let policies = archive.files.filter { $0.name.hasSuffix(".stile") }
        let depth = policies.map { $0.name.split(separator: "/").count }.min() ?? 0
        for file in policies where file.name.split(separator: "/").count == depth {
            let name = String(file.name.split(separator: "/").last ?? "")
            guard isName(name), !files.contains(where: { $0.name == name }) else {
                throw GatewayError(
                    .badRequest, "invalid_archive", "\"\(name)\" lies in several folders: send one tenant's folder")
            }
            files.append(PolicyFile(name: name, text: try text(file.bytes, name)))
        }
        guard !files.isEmpty else {
            throw GatewayError(.badRequest, "invalid_archive", "no file ends in .stile")
        }
        return files
    }

    private static func text(_ bytes: ArraySlice<UInt8>, _ name: String) throws(GatewayError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw GatewayError(.badRequest, "not_utf8", "\(name) is not UTF-8: save it as UTF-8")
        }
        return text
    }

    var sources: [SourceFile] { files.sources }
}
