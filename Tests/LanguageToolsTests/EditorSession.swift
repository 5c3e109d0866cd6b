// A session with the language server, without streams.

import LanguageTools
import PolicyLanguage
import StrictJSON

/// A server with documents open, and what it says to a message.
struct EditorSession {
    var server: LanguageServer
    private var id = 0

    init(_ files: [SourceFile]) {
        server = LanguageServer(version: "1") { _ in FolderContents(files: []) }
        _ = say("initialize", .object([]))
        for file in files {
            notify(
                "textDocument/didOpen",
                .object([
                    "textDocument": .object([
                        "uri": .string("file:///t/\(file.name)"), "version": .integer(1), "text": .string(file.text),
                    ])
                ]))
        }
    }

    mutating func say(_ method: String, _ params: JSONValue) -> JSONValue {
        id += 1
        let message = JSONValue.object([
            "jsonrpc": .string("2.0"), "id": .integer(id), "method": .string(method), "params": params,
        ])
        return server.handle(Array(message.compact.utf8)).first ?? .null
    }

    mutating func notify(_ method: String, _ params: JSONValue) {
        let message = JSONValue.object([
            "jsonrpc": .string("2.0"), "method": .string(method), "params": params,
        ])
        _ = server.handle(Array(message.compact.utf8))
    }

    /// Gives a document another text.
    mutating func replace(_ name: String, with text: String) {
        id += 1
        notify(
            "textDocument/didChange",
            .object([
                "textDocument": .object(["uri": .string("file:///t/\(name)"), "version": .integer(id)]),
                "contentChanges": .array([.object(["text": .string(text)])]),
            ]))
    }

    static func place(_ name: String, _ line: Int, _ column: Int, _ more: [JSONMember] = []) -> JSONValue {
        .object(
            [
                JSONMember("textDocument", .object(["uri": .string("file:///t/\(name)")])),
                JSONMember("position", .object(["line": .integer(line), "character": .integer(column)])),
            ] + more)
    }
}
