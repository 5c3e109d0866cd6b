// A listening socket and its connections.
//
// INVARIANT of this unsafe file: the value that is read for SO_PEERCRED has the layout of struct ucred (CLinux checks).

import CLinux
import Credentials
import GatewayCore
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import Metrics
import NIOCore
import NIOExtras
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOPosix
import NIOSSL
import ServiceLifecycle
import ServiceManager
import Synchronization

/// Serves one listener until the gateway stops.
final class Listener<Responder: HTTPResponder>: Service where Responder.Context == GatewayContext {
    private typealias Connection = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
    private typealias Accepted = (connection: Connection, info: ConnectionInfo)

    private let configuration: ListenerConfiguration
    private let limits: GatewayLimits
    private let handler: RequestHandler<Responder>
    private let identity: TLSIdentity?
    private let logger: Logger
    private let server: NIOAsyncChannel<Accepted?, Never>
    private let quiescing: ServerQuiescingHelper
    /// Where connections are served, by their loops; empty for Swift's pool.
    private let executors: [ObjectIdentifier: LoopExecutor]

    /// Binds the socket; connections wait until `run`.
    init(
        _ configuration: ListenerConfiguration, limits: GatewayLimits, handler: RequestHandler<Responder>,
        identity: TLSIdentity?, group: any EventLoopGroup, logger: Logger
    ) async throws {
        self.configuration = configuration
        self.limits = limits
        self.handler = handler
        self.identity = identity
        self.logger = logger
        // Decisions take microseconds and wait for `stiled` without a thread. What administrators ask for may compute for
        // longer, so it stays off the loops.
        executors = configuration.surface == .decisions ? LoopExecutor.each(of: group) : [:]
        let quiescing = ServerQuiescingHelper(group: group)
        self.quiescing = quiescing
        let setup = ConnectionSetup(configuration, limits, identity, logger)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1_024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        quiescing.makeServerChannelHandler(channel: channel))
                }
            }
        switch configuration.place {
        case .unix(let path, let mode):
            let descriptor = try ListeningSocket.open(path, mode: mode)
            server = try await bootstrap.bind(descriptor) { setup.prepare($0) }
        case .tcp(let host, let port):
            server = try await bootstrap.bind(host: host, port: port) { setup.prepare($0) }
        case .handedOver:
            guard let socket = Systemd.handedOver().first(where: { $0.name == configuration.name }) else {
                throw ListeningError(
                    description: "the service manager hands over no socket named \(configuration.name): see "
                        + "FileDescriptorName= in its unit")
            }
            _ = stile_set_nonblocking(socket.descriptor)
            server = try await bootstrap.bind(socket.descriptor) { setup.prepare($0) }
        }
    }

    /// Where it listens, as the log says it.
    var place: String {
        switch configuration.place {
        case .unix(let path, _): path
        case .tcp(let host, let port): "\(host):\(server.channel.localAddress?.port ?? port)"
        case .handedOver: "the socket \(configuration.name) handed over"
        }
    }

    func run() async throws {
        let quiescing = quiescing
        try await withGracefulShutdownHandler {
            try await serve()
        } onGracefulShutdown: {
            quiescing.initiateShutdown(promise: nil)
        }
        if case .unix(let path, _) = configuration.place { ListeningSocket.remove(path) }
    }

    private func serve() async throws {
        let handler = handler
        let logger = logger
        let executors = executors
        try await withThrowingDiscardingTaskGroup { group in
            try await server.executeThenClose { inbound in
                for try await accepted in inbound {
                    guard let accepted else { continue }
                    let executor = executors[ObjectIdentifier(accepted.connection.channel.eventLoop)]
                    group.addTask(executorPreference: executor) {
                        let channel = HTTP1Channel(responder: handler.serve(accepted.info))
                        await channel.handle(value: accepted.connection, logger: logger)
                    }
                }
            }
        }
    }
}

/// Makes an accepted socket a connection that speaks HTTP.
private final class ConnectionSetup: Sendable {
    private let configuration: ListenerConfiguration
    private let limits: GatewayLimits
    private let identity: TLSIdentity?
    private let logger: Logger
    private let open = Atomic<Int>(0)
    private let gauge: Meter
    private let refused: Counter

    init(
        _ configuration: ListenerConfiguration, _ limits: GatewayLimits, _ identity: TLSIdentity?, _ logger: Logger
    ) {
        self.configuration = configuration
        self.limits = limits
        self.identity = identity
        self.logger = logger
        let dimensions = [("listener", configuration.name)]
        gauge = Meter(label: "stile_gateway_connections", dimensions: dimensions)
        refused = Counter(label: "stile_gateway_connections_refused", dimensions: dimensions)
    }

    func prepare(
        _ channel: any Channel
    ) -> EventLoopFuture<(connection: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>, info: ConnectionInfo)?> {
        let count = open.wrappingAdd(1, ordering: .relaxed).newValue
        gauge.set(count)
        channel.closeFuture.whenComplete { _ in
            self.gauge.set(self.open.wrappingSubtract(1, ordering: .relaxed).newValue)
        }
        guard count <= limits.maxConnections else {
            refused.increment()
            logger.notice(
                "refused",
                metadata: ["listener": "\(configuration.name)", "code": "too_many_connections", "open": "\(count)"])
            return channel.close().flatMapError { _ in channel.eventLoop.makeSucceededVoidFuture() }.map { nil }
        }
        return peer(channel).flatMapThrowing { peer in
            let info = ConnectionInfo(
                listener: self.configuration.name, peer: peer, isSecure: self.identity != nil,
                isForwarded: self.configuration.isForwarded, trusted: self.configuration.trusted)
            return (try self.pipeline(channel, info), info)
        }
    }

    /// Bytes, TLS, time, the parser, Swift's types, time and errors, in this order.
    private func pipeline(
        _ channel: any Channel, _ info: ConnectionInfo
    ) throws -> NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart> {
        let pipeline = channel.pipeline.syncOperations
        let pace = ConnectionPace(limits, on: channel.eventLoop)
        if let identity { try pipeline.addHandler(NIOSSLServerHandler(context: identity.context)) }
        try pipeline.addHandler(ArrivalHandler(pace))
        var parser = NIOHTTPDecoderLimitConfiguration()
        parser.maxHeaderFieldSize = limits.maxHeaderFieldBytes
        parser.maxHeaderListSize = limits.maxHeaderBytes
        parser.maxHeaderFieldCount = limits.maxHeaderFields
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
            withEncoderConfiguration: .init(), withDecoderLimitConfiguration: parser)
        try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: identity != nil))
        try pipeline.addHandler(ConnectionGuard(pace, info, logger))
        return try NIOAsyncChannel(
            wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
    }

    private func peer(_ channel: any Channel) -> EventLoopFuture<Peer> {
        if let address = channel.remoteAddress?.ipAddress {
            return channel.eventLoop.makeSucceededFuture(.address(address))
        }
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(.unknown)
        }
        let option: EventLoopFuture<stile_peer> = provider.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: stile_peer_option))
        return option.map { .user($0.user) }.recover { _ in .unknown }
    }
}
