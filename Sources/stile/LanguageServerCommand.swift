// `stile lsp`: the language server over standard input and output.

import ArgumentParser
import CLinux
import Glibc
import LanguageTools
import PolicyAnalysis
import PolicyLanguage
import StrictJSON
import Synchronization

struct LanguageServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lsp", abstract: "Serve an editor: the Language Server Protocol on standard input and output.",
        discussion: """
            LSP 3.17: findings while writing, completion from the catalog, hover, definition, references, renaming of \
            roles and lets, layout, outline. The folder of a file is its tenant: catalog and policies are checked \
            together, what is being written counts instead of what is saved. Findings come at once; what `stile check` \
            proves besides, such as a permit that forbids always beat, comes after a pause in typing.

            Exit codes: 0 after shutdown and exit; 1 when the editor went away without; 65 when the stream cannot be \
            read on.
            """)

    @Flag(help: "Taken because many editors send it; there is no other way to speak.")
    var stdio = false

    func run() throws {
        // An editor that is gone is told by the end of input.
        _ = signal(SIGPIPE, SIG_IGN)
        var server = LanguageServer(version: Stile.version, readFolder: Files.folderContents)
        var framer = MessageFramer()
        let prover = Prover()
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            while let frame = framer.next() {
                if case .body(let body) = frame { send(server.handle(body)) }
                if let refusal = server.refuse(frame) { send([refusal]) }
                if frame == .lost { throw Exit.data }
                if let code = server.exitCode { throw ExitCode(code) }
            }
            if let task = prover.running, !server.isCurrent(task) { prover.interrupt() }
            // What has arrived is read before findings are looked for: they are told of the newest text alone.
            if server.isWaiting, !hasInput(within: 30) {
                send(server.findings())
                continue
            }
            // And before more is proven: that begins when the author pauses, and goes on beside everything else.
            if !server.isWaiting, server.hasUnproven, prover.running == nil, !hasInput(within: Self.pause) {
                if let task = server.nextToProve() { prover.begin(task) }
                continue
            }
            if !server.isWaiting, prover.running != nil {
                if let (task, diagnostics) = prover.takeResult() {
                    send(server.proven(task, diagnostics))
                    continue
                }
                // Until input comes, or the prover rings.
                if !hasInput(within: -1, or: prover.bell) { continue }
            }
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(0, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { throw ExitCode(1) }
            framer.append(chunk[..<count])
        }
    }

    /// Milliseconds without input that are a pause.
    private static let pause: Int32 = 300

    private func send(_ messages: [JSONValue]) {
        for message in messages { Terminal.write(MessageFramer.framed(message.compact)) }
    }

    /// Waits for input.
    /// - Parameters:
    ///   - milliseconds: how long; -1 for as long as it takes.
    ///   - bell: ends the waiting too.
    private func hasInput(within milliseconds: Int32, or bell: Int32 = -1) -> Bool {
        var wanted = [
            pollfd(fd: 0, events: Int16(POLLIN), revents: 0), pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
        ]
        let count = unsafe poll(&wanted, 2, milliseconds)
        // What went wrong with the waiting, the reading tells.
        return count < 0 || wanted[0].revents != 0
    }
}

/// Looks for what only the solver finds (`stile check` tells the same), on another thread, one folder at a time.
private final class Prover: Sendable {
    /// Beyond this an editor is told what was found by then.
    private static let limit: Duration = .seconds(10)

    private struct State {
        var task: ProvingTask?
        var interruption: Interruption?
        var result: [Diagnostic]?
    }

    /// Becomes readable when there is a result.
    let bell = stile_eventfd()
    private let state = Mutex(State())

    /// What is being proven, or was and is not taken yet.
    var running: ProvingTask? { state.withLock(\.task) }

    func begin(_ task: ProvingTask) {
        let interruption = Interruption(after: Self.limit)
        state.withLock { $0 = State(task: task, interruption: interruption) }
        Task.detached(priority: .utility) { [self] in
            let found = ExactWarnings.all(of: task.result, interruption: interruption)
            state.withLock { $0.result = found }
            ring()
        }
    }

    /// Ends it soon; what it has found by then is still its result.
    func interrupt() { state.withLock { $0.interruption?.raise() } }

    /// The result, once.
    func takeResult() -> (ProvingTask, [Diagnostic])? {
        let done: (ProvingTask, [Diagnostic])? = state.withLock { state in
            guard let task = state.task, let result = state.result else { return nil }
            state = State()
            return (task, result)
        }
        if done != nil { silence() }
        return done
    }

    private func ring() {
        var one: UInt64 = 1
        _ = unsafe write(bell, &one, 8)
    }

    private func silence() {
        var count: UInt64 = 0
        _ = unsafe read(bell, &count, 8)
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
