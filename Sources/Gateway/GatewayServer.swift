// The gateway: opens the store, binds the listeners, serves until it is told to stop, and tells the service manager
// how things stand.

import Administration
import AttributeStore
import AuthZEN
import CLinux
import CoreMetrics
import Credentials
import GatewayCore
import Hummingbird
package import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import ServiceManager
import UnixSignals

/// Why the gateway did not start.
package struct GatewayStartError: Error, Sendable, CustomStringConvertible {
    /// The kinds.
    package enum Code: Sendable {
        /// A listener could not be made.
        case listener
        /// The store, or the key of credentials, could not be opened.
        case store
    }

    package var code: Code
    /// What, where and how to mend it.
    package var description: String
}

/// Serves HTTP until SIGTERM or SIGINT.
package struct GatewayServer: Sendable {
    /// The version of this software.
    package static let version = "0.1.0"

    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let metrics: OpenMetrics

    /// - Parameter metrics: the factory that the process was given.
    package init(_ configuration: GatewayConfiguration, logger: Logger, metrics: OpenMetrics) {
        self.configuration = configuration
        self.logger = logger
        self.metrics = metrics
    }

    /// Runs until a signal says stop, then lets the callers take their answers.
    package func run() async throws {
        let services = try makeServices()
        let threads = configuration.threads > 0 ? configuration.threads : System.coreCount
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        var identities: [TLSIdentity] = []
        var listeners: [any Service] = []
        for listener in configuration.listeners {
            do {
                let identity = try listener.tls.map { try TLSIdentity($0) }
                if let identity { identities.append(identity) }
                listeners.append(try await bind(listener, services, identity, group))
            } catch {
                throw GatewayStartError(code: .listener, description: "listener \(listener.name): \(error)")
            }
        }
        let keeper = Housekeeper(identities: identities, logger: logger)
        // What each service does at start and stop is of no use to an operator.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .error)
        var settings = ServiceGroupConfiguration(
            services: listeners + [keeper], gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet)
        settings.maximumGracefulShutdownDuration = .milliseconds(configuration.limits.drainTimeout)
        Systemd.notify("READY=1", "STATUS=\(listeners.count) listeners")
        do {
            try await ServiceGroup(configuration: settings).run()
        } catch is CancellationError {
            logger.notice("callers were cut off: they did not take their answers in time")
        }
        await services.stop()
        // The group's threads end with the process: the last connections may still be closing on them.
        logger.notice("stopped")
    }

    private func makeServices() throws(GatewayStartError) -> GatewayServices {
        do throws(StoreError) {
            var store = Store(path: configuration.store, mapSize: configuration.mapSize << 20)
            store.isWriting = true
            let book = try ControlBook(store)
            let key = try CredentialKey(
                path: configuration.credentialKey ?? CredentialKey.defaultPath(store),
                makes: configuration.credentialKey == nil)
            return GatewayServices(
                desk: CredentialDesk(book: book, key: key), decisionSocket: configuration.decisionSocket,
                logDirectory: configuration.logDirectory, workers: configuration.workers, limits: configuration.limits,
                logger: logger)
        } catch {
            throw GatewayStartError(code: .store, description: error.description)
        }
    }

    private func bind(
        _ listener: ListenerConfiguration, _ services: GatewayServices, _ identity: TLSIdentity?,
        _ group: any EventLoopGroup
    ) async throws -> any Service {
        let log = RequestLog(surface: listener.surface)
        let runner = EndpointRunner(
            try endpoints(listener.surface, services),
            gatekeeper: Gatekeeper(desk: services.desk, limits: configuration.limits), log: log)
        let handler = RequestHandler(
            responder: runner.router().buildResponder(), runner: runner, log: log, logger: logger)
        let made = try await Listener(
            listener, limits: configuration.limits, handler: handler, identity: identity, group: group, logger: logger)
        logger.notice(
            "listening", metadata: ["listener": "\(listener.name)", "at": "\(made.place)", "tls": "\(identity != nil)"])
        return made
    }

    /// Every endpoint of a surface, from all rooms.
    private func endpoints(_ surface: Surface, _ services: GatewayServices) throws -> [Endpoint] {
        let health = HealthRoom(
            services: services, metrics: metrics, decisionSocket: configuration.decisionSocket)
        let rooms = [
            health.room(surface), Administration.room(services), try AuthZEN.room(services, configuration.authZEN),
        ]
        return rooms.filter { $0.surface == surface }.flatMap(\.endpoints)
    }
}

/// Hears SIGHUP, looks for new certificates, and gives signs of life.
struct Housekeeper: Service {
    let identities: [TLSIdentity]
    let logger: Logger

    /// How often certificates are looked at when nobody sends SIGHUP.
    private static let interval: Duration = .seconds(10)

    func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { await hear() }
            group.addTask { try await tick() }
            if let microseconds = Systemd.watchdogInterval {
                group.addTask {
                    let interval = Duration.microseconds(Int64(clamping: microseconds / 3))
                    for await _ in Ticks(interval).cancelOnGracefulShutdown() { Systemd.notify("WATCHDOG=1") }
                }
            }
        }
        Systemd.notify("STOPPING=1", "STATUS=draining")
    }

    private func hear() async {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            Systemd.notify("RELOADING=1", "MONOTONIC_USEC=\(stile_monotonic_us())")
            logger.notice("reloading")
            reload()
            Systemd.notify("READY=1")
        }
    }

    private func tick() async throws {
        for await _ in Ticks(Self.interval).cancelOnGracefulShutdown() { reload() }
    }

    private func reload() {
        for identity in identities {
            do {
                if try identity.reload() { logger.notice("a new certificate serves") }
            } catch {
                logger.error(
                    "the new certificate cannot be used: the one before it serves on", metadata: ["error": "\(error)"])
            }
        }
    }
}

/// A sign every so often.
private struct Ticks: AsyncSequence {
    private let interval: Duration

    init(_ interval: Duration) { self.interval = interval }

    struct AsyncIterator: AsyncIteratorProtocol {
        let interval: Duration

        mutating func next() async -> Void? { (try? await Task.sleep(for: interval)).map { _ in () } }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(interval: interval) }
}
