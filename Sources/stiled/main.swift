// stiled: the daemon that answers. Arguments in, nothing else.

import ArgumentParser
import AttributeStore
import CLinux
import DecisionLog
import DecisionPath
import DecisionServer
import Glibc

/// Answers "may this person do this, now?" on a Unix socket.
struct Stiled: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stiled",
        abstract: "Answers \"may this person do this, now?\" on a Unix socket.",
        discussion: """
            Reads the store that `stile` writes, compiles each tenant's policies in memory and answers questions in \
            CBOR frames (grammar/decision.cddl). It opens no network socket and changes nothing in the store.

            Every decision is written to its tenant's log, tenants/ID/log in the store, which `stile log` reads. --log, \
            --log-sync and the options after them say what, how durable and for how long.

            SIGHUP looks for new policies at once and begins new segments of the log; SIGTERM answers what has arrived, \
            tells clients goodbye, writes the log to its end and stops. To put another version in its place under load, \
            start that one with --take-over.

            Exit codes: 0 stopped in good order, 64 wrong arguments, 66 the store cannot be opened, \
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

    @Flag(
        name: .customLong("take-over"),
        help: ArgumentHelp(
            "Take the decision socket from the stiled that answers there, so that no client finds it closed.",
            discussion:
                "That one answers all that it was asked, and ends. Where none answers, the socket is made. Where the "
                + "service manager holds the socket, a plain restart does the same."))
    var takeOver = false

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

    @Option(
        help: ArgumentHelp(
            "Whether to poll before sleeping: auto, off, or microseconds.",
            discussion:
                "Waking a processor that sleeps can cost more than an answer. With auto a reactor polls while questions "
                + "follow each other closely, what it waits for mostly comes meanwhile, and a processor is to spare."))
    var spin = "auto"

    @Option(
        parsing: .unconditional,
        help: "Run the first reactor on this processor, the next on the next; -1 leaves it to the kernel.")
    var pin = -1

    // A value of its own that begins with a dash is one.
    @Option(
        parsing: .unconditional, help: "Nice value of the reactors, from -20 to 19; the system may refuse less than 0.")
    var nice: Int32 = -5

    @OptionGroup(title: "Decision log") var log: LogOptions

    func validate() throws {
        guard (-20...19).contains(nice) else { throw ValidationError("--nice must be from -20 to 19") }
        guard UInt32(socketMode, radix: 8) != nil else {
            throw ValidationError("--socket-mode \(socketMode) is not octal: write 0660")
        }
        guard SpinMode(text: spin) != nil else {
            throw ValidationError("--spin \(spin): write auto, off, or microseconds up to 1000000")
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
        settings.takesOver = takeOver
        settings.reactors = reactors > 0 ? reactors : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        settings.maxConnections = maxConnections
        settings.maxSubscriptions = maxSubscriptions
        settings.maxUnsentBytes = maxUnsent << 10
        settings.spin = SpinMode(text: spin) ?? .automatic
        settings.pin = pin
        settings.nice = nice
        settings.log = log.settings(socket: path)
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

}

/// A variable of the environment.
private func environment(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}

/// What is logged, where, and for how long.
struct LogOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Decisions to log: every, sampled:N or off.",
            discussion:
                "With every, an answer waits for a place in the ring. With sampled, one that finds none is lost "
                + "and counted (`stile status`)."))
    var log = "every"

    @Option(
        name: .customLong("log-dir"),
        help: ArgumentHelp(
            "A directory for all logs, one folder for each tenant.", discussion: "Default: in each tenant's store."))
    var directory: String?

    @Option(
        name: .customLong("log-sync"),
        help: ArgumentHelp(
            "When the log is made durable: batch, none, or a time such as 1s.",
            discussion:
                "A crash of the machine loses what was not durable; batch syncs every 10 ms while decisions come."))
    var sync = "1s"

    @Option(
        name: .customLong("log-ring-dir"),
        help: ArgumentHelp(
            "A directory in memory (tmpfs) for the rings, so that a killed process loses nothing.",
            discussion:
                "Default: $RUNTIME_DIRECTORY or the socket's folder, where that is in memory; else the rings are "
                + "the process's own. `none` keeps them there."))
    var ringDirectory: String?

    @Option(name: .customLong("log-ring"), help: "KiB of each reactor's ring.")
    var ring = 4_096

    @Option(name: .customLong("log-segment"), help: "MiB at which a segment is closed and compressed.")
    var segment = 64

    @Option(name: .customLong("log-segment-age"), help: "Time after which a segment is closed, such as 24h.")
    var segmentAge = "24h"

    @Option(name: .customLong("log-keep"), help: "Time for which closed segments are kept, such as 90d.")
    var keep = "90d"

    @Option(name: .customLong("log-keep-mib"), help: "MiB of a tenant's log at which its oldest segments are removed.")
    var keepMiB = 10_240

    @Option(name: .customLong("log-compress"), help: "Compression of closed segments: zstd or off.")
    var compress = "zstd"

    @Option(
        name: .customLong("log-use"),
        help: ArgumentHelp(
            "A `use` of the catalog whose attributes are logged with their values; repeat for several.",
            discussion:
                "The values of attributes declared for another use are masked. Attributes without a use are logged."))
    var uses = ["authorization"]

    func validate() throws {
        guard log == "off" || RecordingMode(text: log) != nil else {
            throw ValidationError("--log \(log): write every, sampled:N with N from 1, or off")
        }
        guard LogSettings.Sync(sync) != nil else {
            throw ValidationError("--log-sync \(sync): write batch, none, or a time such as 1s or 200ms")
        }
        let rings = LogSettings.ringBytesRange
        guard rings.contains(ring << 10) else {
            throw ValidationError("--log-ring must be from \(rings.lowerBound >> 10) to \(rings.upperBound >> 10) KiB")
        }
        guard (1...1_024).contains(segment) else { throw ValidationError("--log-segment must be from 1 to 1024 MiB") }
        for (name, text) in [("segment-age", segmentAge), ("keep", keep)]
        where (LogDuration.parse(text) ?? 0) < 1_000 {
            throw ValidationError("--log-\(name) \(text): write a time from 1s, such as 12h or 30d")
        }
        guard keepMiB > 0 else { throw ValidationError("--log-keep-mib must be at least 1") }
        guard compress == "zstd" || compress == "off" else {
            throw ValidationError("--log-compress \(compress): write zstd or off")
        }
    }

    /// The settings; nil for no log.
    /// - Parameter socket: path of the decision socket.
    func settings(socket: String) -> LogSettings? {
        guard let mode = RecordingMode(text: log), let sync = LogSettings.Sync(sync) else { return nil }
        var settings = LogSettings()
        settings.mode = mode
        settings.directory = directory
        settings.sync = sync
        settings.ringDirectory = ringPlace(socket)
        settings.ringBytes = ring << 10
        settings.segmentBytes = segment << 20
        settings.segmentAge = LogDuration.parse(segmentAge) ?? settings.segmentAge
        settings.keepAge = LogDuration.parse(keep) ?? settings.keepAge
        settings.keepBytes = keepMiB << 20
        settings.compresses = compress == "zstd"
        settings.keptUses = Set(uses)
        return settings
    }

    private func ringPlace(_ socket: String) -> String? {
        if let ringDirectory { return ringDirectory == "none" ? nil : ringDirectory }
        let folder = socket.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return [environment("RUNTIME_DIRECTORY") ?? "", folder].first { path in
            unsafe !path.isEmpty && stile_is_in_memory(path) != 0 && access(path, W_OK) == 0
        }
    }
}

Stiled.main()
