// `stile lsp`: the language server over standard input and output.

import ArgumentParser
import Glibc
import LanguageTools
import PolicyLanguage
import StrictJSON

struct LanguageServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lsp", abstract: "Serve an editor: the Language Server Protocol on standard input and output.",
        discussion: """
            LSP 3.17: findings while writing, completion from the catalog, hover, definition, references, renaming of
            roles and lets, layout, outline. The folder of a file is its tenant: catalog and policies are checked
            together, what is being written counts instead of what is saved.

            Exit codes: 0 after shutdown and exit; 1 when the editor went away without; 65 when the stream cannot be
            read on.
            """)

    @Flag(help: "Taken because many editors send it; there is no other way to speak.")
    var stdio = false

    func run() throws {
        // An editor that is gone is told by the end of input.
        _ = signal(SIGPIPE, SIG_IGN)
        var server = LanguageServer(version: Stile.version, readFolder: Files.folderContents)
        var framer = MessageFramer()
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            while let frame = framer.next() {
                if case .body(let body) = frame { send(server.handle(body)) }
                if let refusal = server.refuse(frame) { send([refusal]) }
                if frame == .lost { throw Exit.data }
                if let code = server.exitCode { throw ExitCode(code) }
            }
            // What has arrived is read before findings are looked for: they are told of the newest text alone.
            if server.isWaiting, !hasInput(within: 30) {
                send(server.findings())
                continue
            }
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(0, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { throw ExitCode(1) }
            framer.append(chunk[..<count])
        }
    }

    private func send(_ messages: [JSONValue]) {
        for message in messages { Terminal.write(MessageFramer.framed(message.compact)) }
    }

    /// - Parameter milliseconds: how long to wait for some.
    private func hasInput(within milliseconds: Int32) -> Bool {
        var wanted = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&wanted, 1, milliseconds) != 0
    }
}

extension Files {
    /// The policy files of a folder; what cannot be read is named and left out.
    static func folderContents(_ path: String) -> FolderContents {
        var contents = FolderContents(files: [])
        for name in list(path) where name.hasSuffix(".stile") {
            if let text = smallText("\(path)/\(name)") {
                contents.files.append(SourceFile(name: name, text: text))
            } else {
                contents.unreadable.append(name)
            }
        }
        return contents
    }

    /// The text of an ordinary file that is not above the language's limits by far; nil when there is none.
    private static func smallText(_ path: String) -> String? {
        var info = stat()
        guard unsafe stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
            info.st_size <= 2 * LanguageLimits.maxFileBytes
        else { return nil }
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: Int(info.st_size))
        var length = 0
        while length < bytes.count {
            let start = length
            let count = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start)
            }
            if count <= 0 { break }
            length += count
        }
        return String(validating: bytes[..<length], as: UTF8.self)
    }
}
