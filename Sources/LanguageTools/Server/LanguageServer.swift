// The language server (LSP 3.17): messages in, messages out. It does no input or output of its own.

package import PolicyLanguage
package import StrictJSON

/// A session with one editor.
package struct LanguageServer {
    /// Limits of a session.
    package enum Limits {
        /// Documents open at once.
        package static let maxDocuments = 2_000
        /// Bytes of one open document; above, it is let go. Findings end at `LanguageLimits.maxFileBytes` already.
        package static let maxDocumentBytes = 4 * LanguageLimits.maxFileBytes
        /// Completions in one answer.
        package static let maxCompletions = 2_000
    }

    private enum State { case new, running, shutDown }

    private var state = State.new
    private let version: String
    private let readFolder: (String) -> FolderContents
    var folders: [String: TenantFolder] = [:]
    /// Folders that the session had so far.
    private var folderCount = 0
    var unit = ColumnUnit.utf16
    /// The editor takes edits with the version that they are for.
    var takesDocumentChanges = false
    var takesNestedSymbols = false
    /// Set by `exit`: 0 after `shutdown`, else 1.
    package private(set) var exitCode: Int32?

    /// - Parameters:
    ///   - version: the tool's.
    ///   - readFolder: the policy files of the folder at a path that ends in a slash; none when there is no such folder.
    package init(version: String, readFolder: @escaping (String) -> FolderContents) {
        self.version = version
        self.readFolder = readFolder
    }

    /// Some folder's findings are not told yet.
    package var isWaiting: Bool { folders.values.contains(where: \.isDirty) }

    /// What an open document holds; nil when it is not open.
    package func text(of uri: String) -> String? {
        let place = DocumentPlace(uri)
        return folders[place.folder]?.open[place.name]?.text
    }

    // MARK: Messages

    /// Answers what is no message.
    package func refuse(_ frame: MessageFramer.Frame) -> JSONValue? {
        switch frame {
        case .body: nil
        case .oversized(let length):
            RPC.failure(
                .null,
                RPCError(
                    .invalidRequest,
                    "a message of \(length) bytes, above \(MessageFramer.Limits.maxBody); it was passed over"))
        case .badHeader(let header):
            RPC.failure(
                .null,
                RPCError(.parseError, "a header without a Content-Length that can be read: \(header)"))
        case .lost:
            RPC.failure(
                .null,
                RPCError(
                    .parseError,
                    "a header of more than \(MessageFramer.Limits.maxHeader) bytes: the stream cannot be read on"))
        }
    }

    /// Takes a message.
    /// - Returns: what is to be sent, in order.
    package mutating func handle(_ body: [UInt8]) -> [JSONValue] {
        let message: JSONValue
        do throws(JSONError) {
            message = try JSONValue.parse(body)
        } catch {
            return [RPC.failure(.null, RPCError(.parseError, error.description))]
        }
        let id = message["id"]
        let hasGoodID = id.map { $0.string != nil || $0.integer != nil } ?? true
        let answerTo = hasGoodID ? id ?? .null : .null
        guard message.object != nil, message["jsonrpc"]?.string == "2.0", hasGoodID else {
            return [
                RPC.failure(
                    answerTo,
                    RPCError(
                        .invalidRequest,
                        "a message is an object with \"jsonrpc\": \"2.0\" and an id that is a number or a string"))
            ]
        }
        guard let method = message["method"]?.string else {
            // Answers to requests of ours: there are none.
            if id != nil, message["result"] != nil || message["error"] != nil { return [] }
            return [RPC.failure(answerTo, RPCError(.invalidRequest, "the message has no method"))]
        }
        let parameters = Parameters(json: message["params"] ?? .object([]))
        guard let id else { return notified(method, parameters) }
        do throws(RPCError) {
            return [RPC.result(id, try answer(method, parameters))]
        } catch {
            return [RPC.failure(id, error)]
        }
    }

    private mutating func answer(_ method: String, _ parameters: Parameters) throws(RPCError) -> JSONValue {
        switch (state, method) {
        case (.new, "initialize"): return initialize(parameters)
        case (.new, _): throw RPCError(.serverNotInitialized, "send `initialize` first")
        case (.running, "initialize"): throw RPCError(.invalidRequest, "`initialize` was sent before")
        case (.shutDown, _): throw RPCError(.invalidRequest, "after `shutdown` only `exit` is taken")
        case (.running, _): break
        }
        switch method {
        case "shutdown":
            state = .shutDown
            return .null
        case "textDocument/completion": return try completion(parameters)
        case "textDocument/hover": return try hover(parameters)
        case "textDocument/definition": return try definition(parameters)
        case "textDocument/references": return try references(parameters)
        case "textDocument/prepareRename": return try prepareRename(parameters)
        case "textDocument/rename": return try rename(parameters)
        case "textDocument/formatting": return try formatting(parameters)
        case "textDocument/documentSymbol": return try documentSymbols(parameters)
        default: throw RPCError(.methodNotFound, "there is no request `\(String(method.prefix(80)))` here")
        }
    }

    private mutating func notified(_ method: String, _ parameters: Parameters) -> [JSONValue] {
        if method == "exit" {
            exitCode = state == .shutDown ? 0 : 1
            return []
        }
        guard state == .running else { return [] }
        do throws(RPCError) {
            switch method {
            case "textDocument/didOpen": try didOpen(parameters)
            case "textDocument/didChange": return try didChange(parameters)
            case "textDocument/didClose": return try didClose(parameters)
            case "textDocument/didSave", "workspace/didChangeWatchedFiles": return readAgain()
            default: break
            }
            return []
        } catch {
            return [RPC.log("\(method): \(error.message)")]
        }
    }

    private mutating func initialize(_ parameters: Parameters) -> JSONValue {
        state = .running
        unit =
            parameters.strings("capabilities.general.positionEncodings").lazy.compactMap { ColumnUnit(rawValue: $0) }
            .first ?? .utf16
        takesDocumentChanges = parameters.bool("capabilities.workspace.workspaceEdit.documentChanges")
        takesNestedSymbols = parameters.bool(
            "capabilities.textDocument.documentSymbol.hierarchicalDocumentSymbolSupport")
        return .object([
            "capabilities": .object([
                "positionEncoding": .string(unit.rawValue),
                "textDocumentSync": .object([
                    "openClose": .bool(true), "change": .integer(2), "save": .object(["includeText": .bool(false)]),
                ]),
                "completionProvider": .object(["triggerCharacters": .array([.string(".")])]),
                "hoverProvider": .bool(true), "definitionProvider": .bool(true), "referencesProvider": .bool(true),
                "renameProvider": .object(["prepareProvider": .bool(true)]),
                "documentFormattingProvider": .bool(true), "documentSymbolProvider": .bool(true),
            ]),
            "serverInfo": .object(["name": .string("stile"), "version": .string(version)]),
        ])
    }

    // MARK: Documents

    private mutating func didOpen(_ parameters: Parameters) throws(RPCError) {
        let uri = try parameters.string("textDocument.uri")
        let text = try parameters.string("textDocument.text")
        let place = DocumentPlace(uri)
        guard folders.values.reduce(0, { $0 + $1.open.count }) < Limits.maxDocuments else {
            throw RPCError(.requestFailed, "more than \(Limits.maxDocuments) open documents: close some")
        }
        if folders[place.folder] == nil {
            var folder = TenantFolder(number: folderCount)
            folderCount += 1
            if place.isFile { folder.saved = readFolder(place.folder).files }
            folders[place.folder] = folder
        }
        var document = OpenDocument(
            uri: uri, version: parameters.integer("textDocument.version") ?? 0, text: text)
        Self.limit(&document)
        folders[place.folder]?.open[place.name] = document
        folders[place.folder]?.changed()
    }

    private static func limit(_ document: inout OpenDocument) {
        guard document.text.utf8.count > Limits.maxDocumentBytes else { return }
        document.text = ""
        document.isLost = true
    }

    private mutating func didChange(_ parameters: Parameters) throws(RPCError) -> [JSONValue] {
        let uri = try parameters.string("textDocument.uri")
        let place = DocumentPlace(uri)
        guard var document = folders[place.folder]?.open[place.name] else {
            throw RPCError(.invalidParams, "\(uri) is not open")
        }
        // Of several changes each starts from what the one before made; nothing is kept when one cannot be read.
        for change in try parameters.list("contentChanges") {
            let change = Parameters(json: change)
            let text = try change.string("text")
            if let range = try change.range("range") {
                if document.isLost { continue }
                let map = LineMap(document.text, unit: unit, endsAtReturns: true)
                let (start, end) = (map.offset(of: range.start), map.offset(of: range.end))
                document.text =
                    String(decoding: map.bytes[..<start], as: UTF8.self) + text
                    + String(decoding: map.bytes[end...], as: UTF8.self)
            } else {
                document.text = text
                document.isLost = false
            }
            Self.limit(&document)
        }
        document.version = parameters.integer("textDocument.version") ?? document.version
        let wasLost = folders[place.folder]?.open[place.name]?.isLost ?? false
        folders[place.folder]?.open[place.name] = document
        folders[place.folder]?.changed()
        return document.isLost && !wasLost
            ? [
                RPC.log(
                    "\(uri) has more than \(Limits.maxDocumentBytes) bytes: it is not looked at until it is opened anew"
                )
            ]
            : []
    }

    private mutating func didClose(_ parameters: Parameters) throws(RPCError) -> [JSONValue] {
        let uri = try parameters.string("textDocument.uri")
        let place = DocumentPlace(uri)
        guard let closed = folders[place.folder]?.open.removeValue(forKey: place.name) else {
            throw RPCError(.invalidParams, "\(uri) is not open")
        }
        folders[place.folder]?.changed()
        guard let folder = folders[place.folder], folder.open.isEmpty else { return [] }
        // Nobody looks at this folder any more.
        folders[place.folder] = nil
        return folder.told.sorted().map { name in
            publish(name == place.name ? closed.uri : self.uri(place.folder, name), version: nil, [])
        }
    }

    /// The disk may hold something else than before.
    private mutating func readAgain() -> [JSONValue] {
        var messages: [JSONValue] = []
        for path in folders.keys.sorted() where path.hasPrefix("/") {
            let contents = readFolder(path)
            folders[path]?.saved = contents.files
            folders[path]?.changed()
            messages += contents.unreadable.map { RPC.log("\(path)\($0) cannot be read, or is no UTF-8") }
        }
        return messages
    }

    // MARK: Findings

    /// Checks the folders that have changed.
    /// - Returns: the findings to be told.
    package mutating func findings() -> [JSONValue] {
        var messages: [JSONValue] = []
        for path in folders.keys.sorted() {
            guard var folder = folders[path], folder.isDirty else { continue }
            folder.isDirty = false
            messages += findings(&folder, path)
            folders[path] = folder
        }
        return messages
    }

    private func findings(_ folder: inout TenantFolder, _ path: String) -> [JSONValue] {
        let result = checkPolicies(folder.known(unit: unit).files)
        if result.policies != nil {
            folder.unproven = ProvingTask(path: path, revision: folder.revision, result: result)
        }
        return publish(result.diagnostics, &folder, path)
    }

    // MARK: What takes longer to find

    /// A folder whose findings are told, and of which more may be proven; it is given out once. What proves lies above
    /// this room and may take its time: the answer comes back through `proven`.
    package mutating func nextToProve() -> ProvingTask? {
        for path in folders.keys.sorted() {
            guard let task = folders[path]?.unproven else { continue }
            folders[path]?.unproven = nil
            return task
        }
        return nil
    }

    /// Somebody could ask for `nextToProve`.
    package var hasUnproven: Bool { folders.values.contains { $0.unproven != nil } }

    /// The text is still the one that the task is about.
    package func isCurrent(_ task: ProvingTask) -> Bool { folders[task.path]?.revision == task.revision }

    /// Takes all findings of a folder, those of the checker among them.
    /// - Returns: what is to be told; nothing when the text has changed meanwhile, or nothing was added.
    package mutating func proven(_ task: ProvingTask, _ diagnostics: [Diagnostic]) -> [JSONValue] {
        guard isCurrent(task), diagnostics.count > task.result.diagnostics.count, var folder = folders[task.path] else {
            return []
        }
        let messages = publish(diagnostics, &folder, task.path)
        folders[task.path] = folder
        return messages
    }

    private func publish(_ diagnostics: [Diagnostic], _ folder: inout TenantFolder, _ path: String) -> [JSONValue] {
        let known = folder.known(unit: unit)
        var byFile: [String: [JSONValue]] = [:]
        for name in folder.open.keys { byFile[name] = [] }
        for name in folder.told where byFile[name] == nil { byFile[name] = [] }
        for diagnostic in diagnostics {
            let index = Int(diagnostic.range.file)
            // What is said of the folder as a whole is shown where somebody is looking.
            let name = known.files.indices.contains(index) ? known.files[index].name : folder.open.keys.min()
            guard let name else { continue }
            byFile[name, default: []].append(json(diagnostic, known, folder, path))
        }
        folder.told = Set(byFile.filter { !$0.value.isEmpty }.keys)
        return byFile.sorted { $0.key < $1.key }.map { name, list in
            let document = folder.open[name]
            return publish(document?.uri ?? uri(path, name), version: document?.version, list)
        }
    }

    private func publish(_ uri: String, version: Int64?, _ diagnostics: [JSONValue]) -> JSONValue {
        var members = [JSONMember("uri", .string(uri))]
        if let version { members.append(JSONMember("version", .integer(version))) }
        members.append(JSONMember("diagnostics", .array(diagnostics)))
        return RPC.notification("textDocument/publishDiagnostics", .object(members))
    }

    private func json(
        _ diagnostic: Diagnostic, _ known: FolderKnowledge, _ folder: TenantFolder, _ path: String
    ) -> JSONValue {
        var members = [
            JSONMember("range", Self.json(known.span(diagnostic.range))),
            JSONMember("severity", .integer(diagnostic.severity == .error ? 1 : 2)),
            JSONMember("code", .string(diagnostic.code.rawValue)), JSONMember("source", .string("stile")),
            JSONMember("message", .string(diagnostic.message + (diagnostic.help.map { "\n\($0)" } ?? ""))),
        ]
        if diagnostic.code == .unusedRole || diagnostic.code == .unusedLet {
            members.append(JSONMember("tags", .array([.integer(1)])))
        }
        let related = diagnostic.related.filter { known.files.indices.contains(Int($0.range.file)) }.map {
            JSONValue.object([
                "location": location($0.range, known, folder, path), "message": .string($0.message),
            ])
        }
        if !related.isEmpty { members.append(JSONMember("relatedInformation", .array(related))) }
        return .object(members)
    }

    // MARK: Places

    static func json(_ span: (start: TextPosition, end: TextPosition)) -> JSONValue {
        func json(_ position: TextPosition) -> JSONValue {
            .object(["line": .integer(position.line), "character": .integer(position.column)])
        }
        return .object(["start": json(span.start), "end": json(span.end)])
    }

    func uri(_ folder: String, _ name: String) -> String {
        folder.hasPrefix("/") ? FileURI.uri(folder + name) : folder + name
    }

    func location(
        _ range: SourceRange, _ known: FolderKnowledge, _ folder: TenantFolder, _ path: String
    ) -> JSONValue {
        let name = known.files[Int(range.file)].name
        return .object([
            "uri": .string(folder.open[name]?.uri ?? uri(path, name)), "range": Self.json(known.span(range)),
        ])
    }

    /// A document that a request is about.
    struct Target {
        var path: String
        var folder: TenantFolder
        var known: FolderKnowledge
        /// Its index in `known.files`.
        var file: Int
    }

    /// The document of a request.
    mutating func target(_ parameters: Parameters) throws(RPCError) -> Target {
        let uri = try parameters.string("textDocument.uri")
        let place = DocumentPlace(uri)
        guard folders[place.folder]?.open[place.name] != nil, let known = folders[place.folder]?.known(unit: unit),
            let folder = folders[place.folder], let file = known.file(named: place.name)
        else { throw RPCError(.invalidParams, "\(uri) is not open") }
        return Target(path: place.folder, folder: folder, known: known, file: file)
    }
}
