// `stile dev`: the sandbox. A throw-away store from a folder, a daemon beside it, the folder watched.

import ArgumentParser
import AttributeStore
import CLinux
import Glibc
import PolicyLanguage

struct DevCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev", abstract: "Run a sandbox: a throw-away store from a folder, a daemon, the folder watched.",
        discussion: """
            Prints the socket to ask; a saved file decides within a second, a wrong one is told and the last good \
            version goes on deciding. Control-C stops the daemon and removes the store.
            """)

    @Argument(help: "A tenant's folder.")
    var folder: String

    @Option(help: "The stiled to run; by default the one beside this program, else the one on the path.")
    var daemon: String?

    func run() throws {
        // Before there is a directory: Control-C while the store is being filled must not leave it behind.
        let signals = stile_signalfd()
        let directory = try Files.temporaryDirectory()
        defer { Files.removeAll(directory) }
        let store = Store(path: "\(directory)/store", mapSize: 1 << 30)
        try Sandbox.fill(store, tenant: "dev", folder: folder)
        let socket = "\(directory)/decision.sock"
        let child = try start(["--store", store.path, "--socket", socket, "--reactors", "1"])
        defer {
            kill(child, SIGTERM)
            var status: Int32 = 0
            _ = unsafe waitpid(child, &status, 0)
        }
        print("store   \(store.path)\nsocket  \(socket)\ntenant  dev\n")
        print(
            "ask it: stile ask --socket \(socket) --tenant dev '{\"subject\":…}'\nwatching \(folder); Control-C stops")
        fflush(nil)
        try watch(store, signals, child)
    }

    private func start(_ arguments: [String]) throws(ExitCode) -> pid_t {
        let program = daemon ?? Self.neighbour ?? "stiled"
        var argv = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
        defer { for index in unsafe argv.indices { unsafe free(argv[index]) } }
        var child: pid_t = 0
        var attributes = posix_spawnattr_t()
        _ = unsafe posix_spawnattr_init(&attributes)
        var none = sigset_t()
        _ = unsafe sigemptyset(&none)
        _ = unsafe posix_spawnattr_setsigmask(&attributes, &none)
        _ = unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        defer { _ = unsafe posix_spawnattr_destroy(&attributes) }
        let code = unsafe posix_spawnp(&child, program, nil, &attributes, &argv, environ)
        guard code == 0 else {
            throw Terminal.failure(
                "cannot start \(program): \(unsafe String(cString: strerror(code))). Build it, or name it with --daemon",
                Exit.noInput)
        }
        return child
    }

    /// The stiled beside this program.
    private static var neighbour: String? {
        guard let pointer = unsafe realpath("/proc/self/exe", nil) else { return nil }
        defer { unsafe free(pointer) }
        let own = unsafe String(cString: pointer)
        let path =
            own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/stiled"
        return unsafe access(path, X_OK) == 0 ? path : nil
    }

    /// Pushes the folder whenever a file of it has changed.
    private func watch(_ store: Store, _ signals: Int32, _ child: pid_t) throws {
        var last = try Files.policies([folder])
        while true {
            switch stile_next_signal(signals) {
            case SIGINT, SIGTERM: return
            default: break
            }
            var status: Int32 = 0
            if unsafe waitpid(child, &status, WNOHANG) == child {
                throw Terminal.failure("stiled has stopped", Exit.unavailable)
            }
            usleep(300_000)
            guard let files = try? Files.policies([folder]), files != last else { continue }
            last = files
            print(push(files, store).map { "version \($0) decides" } ?? "the last good version goes on deciding")
            fflush(nil)
        }
    }

    /// Makes what was saved the version that decides.
    /// - Returns: the version; nil when it is wrong or the data do not fit it, which has been told.
    private func push(_ files: [SourceFile], _ store: Store) -> UInt64? {
        let result = checkPolicies(files)
        guard result.policies != nil else {
            Terminal.write(DiagnosticRenderer(files: files, usesColor: Terminal.usesColor).render(result.diagnostics))
            return nil
        }
        do throws(ExitCode) {
            var writer = try withStore { () throws(StoreError) -> TenantWriter in try TenantWriter(store, tenant: "dev")
            }
            return try Sandbox.push(files, &writer, message: "saved")
        } catch {
            return nil
        }
    }
}
