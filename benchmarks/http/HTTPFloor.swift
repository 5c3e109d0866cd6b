// The floor of HTTP: Hummingbird as its documentation shows it, on a Unix socket, reading each body and answering the same
// JSON to all. What the gateway costs beyond it is the gateway's.

import ArgumentParser
import Hummingbird
import Logging

/// Answers a fixed JSON.
@main
struct HTTPFloor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "http-floor", abstract: "Answers every evaluation with the same JSON, for benchmarks/over_http.py."
    )

    @Option(help: "The socket to make.")
    var socket: String

    @Option(help: "The answer.")
    var answer: String

    func run() async throws {
        let body = ByteBuffer(string: answer)
        let router = Router()
        router.post("/access/v1/evaluation") { request, _ in
            _ = try await request.body.collect(upTo: 1 << 20)
            return Response(
                status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: body))
        }
        var logger = Logger(label: "http-floor")
        logger.logLevel = .error
        let application = Application(
            router: router, configuration: ApplicationConfiguration(address: .unixDomainSocket(path: socket)),
            logger: logger)
        try await application.runService()
    }
}
