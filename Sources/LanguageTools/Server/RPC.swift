// JSON-RPC 2.0 as LSP 3.17 uses it.

import StrictJSON

/// Why a request was refused.
struct RPCError: Error {
    enum Code: Int {
        case parseError = -32700
        case invalidRequest = -32600
        case methodNotFound = -32601
        case invalidParams = -32602
        case serverNotInitialized = -32002
        /// The request is right, and cannot be done.
        case requestFailed = -32803
    }

    var code: Code
    var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// Messages that go out.
enum RPC {
    static func result(_ id: JSONValue, _ result: JSONValue) -> JSONValue {
        .object(["jsonrpc": .string("2.0"), "id": id, "result": result])
    }

    static func failure(_ id: JSONValue, _ error: RPCError) -> JSONValue {
        .object([
            "jsonrpc": .string("2.0"), "id": id,
            "error": .object(["code": .integer(error.code.rawValue), "message": .string(error.message)]),
        ])
    }

    static func notification(_ method: String, _ params: JSONValue) -> JSONValue {
        .object(["jsonrpc": .string("2.0"), "method": .string(method), "params": params])
    }

    /// A line in the editor's log; `type` 1 is an error, 3 information.
    static func log(_ message: String, type: Int = 1) -> JSONValue {
        notification("window/logMessage", .object(["type": .integer(type), "message": .string(message)]))
    }
}

/// Parameters of a message, read by path.
struct Parameters {
    let json: JSONValue

    private func find(_ path: String) -> JSONValue? {
        var value = json
        for part in path.split(separator: ".") {
            guard let next = value[String(part)] else { return nil }
            value = next
        }
        return value
    }

    private func missing(_ path: String, _ what: String) -> RPCError {
        RPCError(.invalidParams, "params.\(path): \(what) is needed here")
    }

    func string(_ path: String) throws(RPCError) -> String {
        guard let text = find(path)?.string else { throw missing(path, "a string") }
        return text
    }

    func list(_ path: String) throws(RPCError) -> [JSONValue] {
        guard let values = find(path)?.array else { throw missing(path, "an array") }
        return values
    }

    func bool(_ path: String) -> Bool { find(path)?.bool ?? false }

    func strings(_ path: String) -> [String] { (find(path)?.array ?? []).compactMap(\.string) }

    func integer(_ path: String) -> Int64? { find(path)?.integer }

    func position(_ path: String) throws(RPCError) -> TextPosition {
        guard let line = integer(path + ".line"), let column = integer(path + ".character"), line >= 0, column >= 0
        else {
            throw missing(path, "a position {line, character}, both from 0,")
        }
        return TextPosition(line: Int(clamping: line), column: Int(clamping: column))
    }

    /// The range at a path; nil when nothing stands there.
    func range(_ path: String) throws(RPCError) -> (start: TextPosition, end: TextPosition)? {
        guard let value = find(path), value != .null else { return nil }
        let start = try position(path + ".start")
        let end = try position(path + ".end")
        guard start <= end else { throw RPCError(.invalidParams, "params.\(path): it ends before it starts") }
        return (start, end)
    }
}
