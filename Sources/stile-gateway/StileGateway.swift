// stile-gateway: the way in over HTTP. Arguments in, nothing else.

import ArgumentParser
import CoreMetrics
import Gateway
import Glibc
import Logging
import StrictJSON

/// Serves the APIs of Stile over HTTP.
@main
struct StileGateway: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stile-gateway",
        abstract: "Serves the APIs of Stile over HTTP: decisions, identity providers, administration.",
        discussion: """
            Writes the store that stiled reads, and asks stiled for decisions. Without --config it listens on three Unix \
            sockets in its runtime directory: decisions.sock, provisioning.sock and admin.sock, to stand behind nginx, \
            HAProxy or Envoy. A configuration file (JSON) names other listeners, with TLS where a network is crossed.

            SIGHUP takes new certificates at once; SIGTERM answers what has arrived and stops. The first credential is \
            made by `stile credential create --role operator`.

            Exit codes: 0 stopped in good order, 64 wrong arguments, 66 the store cannot be opened, \
            73 a listener cannot be made, 78 the configuration cannot be used.
            """,
        version: GatewayServer.version)

    @Option(help: "The configuration file.")
    var config: String?

    @Option(help: ArgumentHelp("The store's directory.", discussion: "Default: $STATE_DIRECTORY, else /var/lib/stile."))
    var store: String?

    @Option(
        name: .customLong("decision-socket"),
        help: ArgumentHelp("The socket of stiled.", discussion: "Default: /run/stile/decision.sock."))
    var decisionSocket: String?

    @Option(
        name: .customLong("socket-directory"),
        help: ArgumentHelp(
            "Where the sockets are made when no configuration names listeners.",
            discussion: "Default: $RUNTIME_DIRECTORY, else /run/stile-gateway."))
    var socketDirectory: String?

    @Option(name: .customLong("log-level"), help: "debug, info, notice, warning or error.")
    var logLevel = "notice"

    @Flag(help: "Check the configuration and exit.")
    var check = false

    func validate() throws {
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level \(logLevel) is none: use debug, info, notice, warning or error")
        }
    }

    func run() async throws {
        let level = Logger.Level(rawValue: logLevel) ?? .notice
        LoggingSystem.bootstrap { _ in JournalLog(level: level) }
        let logger = Logger(label: "stile-gateway")
        let settings: GatewayConfiguration
        do throws(ConfigurationError) {
            settings = try read()
        } catch {
            logger.error("\(error)")
            throw ExitCode(78)
        }
        if check { return print("\(settings.listeners.count) listeners; the configuration can be used") }
        let metrics = OpenMetrics()
        MetricsSystem.bootstrap(metrics)
        do {
            try await GatewayServer(settings, logger: logger, metrics: metrics).run()
        } catch let error as GatewayStartError {
            logger.error("\(error)")
            throw ExitCode(error.code == .store ? 66 : 73)
        }
    }

    private func read() throws(ConfigurationError) -> GatewayConfiguration {
        var settings = GatewayConfiguration(
            store: environment("STATE_DIRECTORY") ?? "/var/lib/stile",
            decisionSocket: "/run/stile/decision.sock",
            directory: socketDirectory ?? environment("RUNTIME_DIRECTORY") ?? "/run/stile-gateway")
        if let config { try settings.apply(file: config) }
        if let store { settings.store = store }
        if let decisionSocket { settings.decisionSocket = decisionSocket }
        return settings
    }

    private func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
