// Holds one connection to its time and size: slow heads, slow bodies and idle connections end, and what the parser
// refuses is answered in words.

import GatewayCore
import HTTPTypes
import Logging
import Metrics
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import StrictJSON

/// Sees the bytes before the parser does, so that the time of a head starts with its first byte.
final class ArrivalHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let pace: ConnectionPace

    init(_ pace: ConnectionPace) { self.pace = pace }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        pace.bytesArrived()
        context.fireChannelRead(data)
    }
}

/// What a connection is doing, shared by the handlers of its pipeline, all on its event loop.
final class ConnectionPace {
    enum Stage {
        case idle, head, body, answering
    }

    private(set) var stage = Stage.idle
    /// When the stage has lasted too long; nil while an answer is made.
    private var due: NIODeadline?
    /// When the connection looks at `due` next. A request goes through four stages, so an alarm is not moved each time: it
    /// rings early at most and is set anew then.
    private var alarm: (at: NIODeadline, scheduled: Scheduled<Void>)?
    private let limits: GatewayLimits
    /// Ends the connection, with a word when a request is under way.
    var expire: ((Stage) -> Void)?
    private let loop: any EventLoop

    init(_ limits: GatewayLimits, on loop: any EventLoop) {
        self.limits = limits
        self.loop = loop
    }

    func start() { enter(.idle) }

    func bytesArrived() {
        if stage == .idle { enter(.head) }
    }

    func headArrived() { enter(.body) }

    func bodyEnded() { enter(.answering) }

    /// The last answer that was owed has gone out.
    func answeredAll() { enter(.idle) }

    func stop() {
        alarm?.scheduled.cancel()
        alarm = nil
        due = nil
        expire = nil
    }

    private func enter(_ next: Stage) {
        stage = next
        let time: Int64
        switch next {
        case .idle: time = limits.idleTimeout
        case .head: time = limits.headTimeout
        case .body: time = limits.bodyTimeout
        case .answering:
            due = nil
            return
        }
        let due = NIODeadline.now() + .milliseconds(time)
        self.due = due
        if let alarm, alarm.at <= due { return }
        alarm?.scheduled.cancel()
        setAlarm(due)
    }

    private func setAlarm(_ at: NIODeadline) {
        alarm = (at, loop.assumeIsolated().scheduleTask(deadline: at) { [weak self] in self?.ring() })
    }

    private func ring() {
        alarm = nil
        guard let due else { return }
        if due <= NIODeadline.now() { expire?(stage) } else { setAlarm(due) }
    }
}

/// Sees requests and answers after the parser.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let pace: ConnectionPace
    /// Requests whose head has arrived, whose body has too, and that were answered.
    private var heads = 0
    private var ends = 0
    private var answers = 0
    /// The answer that is going out said that it is the last.
    private var isLast = false
    /// An answer has begun and not ended.
    private var isAnswering = false
    private var isOver = false
    /// The gateway stops: the connection ends with the answers that are owed.
    private var isDraining = false

    private let info: ConnectionInfo
    private let logger: Logger

    init(_ pace: ConnectionPace, _ info: ConnectionInfo, _ logger: Logger) {
        self.pace = pace
        self.info = info
        self.logger = logger
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        pace.expire = { stage in
            let (handler, context) = bound.value
            handler.expire(stage, context)
        }
        pace.start()
    }

    func handlerRemoved(context: ChannelHandlerContext) { pace.stop() }

    func channelInactive(context: ChannelHandlerContext) {
        pace.stop()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isOver { return }
        switch unwrapInboundIn(data) {
        case .head:
            heads += 1
            pace.headArrived()
        case .body: break
        case .end:
            ends += 1
            pace.bodyEnded()
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isOver {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status.kind != .informational {
                isAnswering = true
                isLast = head.headerFields[.connection]?.lowercased() == "close"
            }
        case .body: break
        case .end:
            isAnswering = false
            answers += 1
            if answers == heads { pace.answeredAll() }
            // Whoever is answered before the body has arrived was refused: the rest of the body is not waited for.
            if isLast || answers > ends || isDraining && answers == heads {
                isOver = true
                context.writeAndFlush(data, promise: promise)
                return close(context)
            }
        }
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent else { return context.fireUserInboundEventTriggered(event) }
        isDraining = true
        if answers == heads { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !isOver, let error = error as? HTTPParserError else {
            // The connection is broken or speaks no TLS: there is nobody to tell.
            context.close(promise: nil)
            return
        }
        if case .invalidEOFState = error {
            context.close(promise: nil)
            return
        }
        let refusal: GatewayError
        switch error {
        case .headerOverflow:
            refusal = GatewayError(
                .requestHeaderFieldsTooLarge, "headers_too_large", "too many header fields, or too large ones")
        case .invalidVersion: refusal = GatewayError(.httpVersionNotSupported, "http_version", "send HTTP/1.1")
        default: refusal = GatewayError(.badRequest, "malformed_http", "this is no request of HTTP/1.1")
        }
        refuse(refusal, context)
    }

    private func expire(_ stage: ConnectionPace.Stage, _ context: ChannelHandlerContext) {
        switch stage {
        case .idle: context.close(promise: nil)
        case .head: refuse(GatewayError(.requestTimeout, "request_timeout", "the head took too long"), context)
        case .body: refuse(GatewayError(.requestTimeout, "request_timeout", "the body took too long"), context)
        case .answering: break
        }
    }

    /// Answers in place of a handler that will not, and ends the connection.
    private func refuse(_ error: GatewayError, _ context: ChannelHandlerContext) {
        if isOver { return }
        isOver = true
        Counter(
            label: "stile_gateway_connections_ended", dimensions: [("listener", info.listener), ("code", error.code)]
        ).increment()
        logger.info(
            "refused",
            metadata: [
                "code": "\(error.code)", "status": "\(error.status.code)", "listener": "\(info.listener)",
                "peer": "\(info.peer)",
            ])
        // A word in the middle of another answer, or before one that an earlier request is owed, would be taken for it.
        guard !isAnswering, answers >= ends else {
            context.close(promise: nil)
            return
        }
        let (body, type) = ErrorStyle.problem.render(error)
        var head = HTTPResponse(status: error.status)
        head.headerFields[.contentType] = type
        head.headerFields[.contentLength] = String(body.utf8.count)
        head.headerFields[.connection] = "close"
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(ByteBuffer(string: body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        close(context)
    }

    /// Closes the writing side first and takes in what is still on its way, so that the answer is not lost to a reset;
    /// not for long.
    private func close(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.channel.close(mode: .output).whenComplete { _ in
            let context = bound.value
            context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(500)) {
                bound.value.close(promise: nil)
            }
        }
    }
}
