// stiled: the daemon that answers. Arguments in, nothing else.

import ArgumentParser
import AttributeStore
import DecisionServer
import Glibc

/// Answers "may this person do this, now?" on a Unix socket.
struct Stiled: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stiled",
        abstract: "Answers \"may this person do this, now?\" on a Unix socket.",
        discussion: """
            Reads the store that `stile` writes, compiles each tenant's policies in memory and answers questions in
            CBOR frames (grammar/decision.cddl). It opens no network socket and writes nothing to the store.

            SIGHUP looks for new policies at once; SIGTERM answers what has arrived and stops.

            Exit codes: 0 stopped in good order, 64 wrong arguments, 66 the store cannot be opened,
            71 the system refused something, 73 the socket cannot be made.
            """,
        version: DecisionServer.version)

    @Option(help: ArgumentHelp("The store's directory.", discussion: "Default: $STATE_DIRECTORY, else /var/lib/stile."))
    var store: String?

    @Option(
        help: ArgumentHelp(
            "Path of the decision socket.",
            discussion: "Default: $RUNTIME_DIRECTORY/decision.sock, else /run/stile/decision.sock."))
    var socket: String?

    @Option(name: .customLong("socket-mode"), help: "Permissions of the socket, in octal.")
    var socketMode = "0660"

    @Option(help: "Reactor threads; 0 takes one for each processor.")
    var reactors = 0

    @Option(name: .customLong("max-connections"), help: "Connections open at once.")
    var maxConnections = 1_024

    @Option(name: .customLong("max-subscriptions"), help: "Questions held open at once, of all connections together.")
    var maxSubscriptions = 1_000_000

    @Option(
        name: .customLong("max-unsent"),
        help: "KiB of answers that a client may leave unread before its next questions wait.")
    var maxUnsent = 4_096

    @Option(help: "Microseconds to poll before sleeping; 0 sleeps at once.")
    var spin: UInt64 = 0

    @Option(help: "Run the first reactor on this processor, the next on the next; -1 leaves it to the kernel.")
    var pin = -1

    @Option(help: "Nice value of the reactors, from -20 to 19; the system may refuse less than 0.")
    var nice: Int32 = -5

    func validate() throws {
        guard (-20...19).contains(nice) else { throw ValidationError("--nice must be from -20 to 19") }
        guard UInt32(socketMode, radix: 8) != nil else {
            throw ValidationError("--socket-mode \(socketMode) is not octal: write 0660")
        }
        guard (0...64).contains(reactors) else { throw ValidationError("--reactors must be from 0 to 64") }
        guard (1...100_000).contains(maxConnections) else {
            throw ValidationError("--max-connections must be from 1 to 100000")
        }
        guard (16...1_048_576).contains(maxUnsent) else {
            throw ValidationError("--max-unsent must be from 16 to 1048576 KiB")
        }
        guard (0...10_000_000).contains(maxSubscriptions) else {
            throw ValidationError("--max-subscriptions must be from 0 to 10000000")
        }
    }

    func run() throws {
        let directory = store ?? environment("STATE_DIRECTORY") ?? "/var/lib/stile"
        let path = socket ?? (environment("RUNTIME_DIRECTORY") ?? "/run/stile") + "/decision.sock"
        var settings = ServerConfiguration(store: Store(path: directory), socketPath: path)
        settings.socketMode = UInt32(socketMode, radix: 8) ?? 0o660
        settings.reactors = reactors > 0 ? reactors : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        settings.maxConnections = maxConnections
        settings.maxSubscriptions = maxSubscriptions
        settings.maxUnsentBytes = maxUnsent << 10
        settings.spin = spin
        settings.pin = pin
        settings.nice = nice
        do throws(ServerError) {
            try DecisionServer(settings).run()
        } catch {
            ServerLog.write(.error, error.description)
            switch error.code {
            case .store: throw ExitCode(66)
            case .system: throw ExitCode(71)
            case .socket: throw ExitCode(73)
            }
        }
    }

    private func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}

Stiled.main()
