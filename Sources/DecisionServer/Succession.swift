// One server puts itself in the place of another that runs: it gets the listening socket from it, accepts, and tells the
// other to end. No client finds the socket closed, and nothing that waits in it is lost.
//
// Unsafe file: bytes are received into an array through a pointer that lives only for the system call.

import CLinux
import DecisionProtocol
import Glibc

/// Where a server listens.
struct ListeningPlace: Sendable {
    let descriptor: Int32
    /// The socket's file, when it is the server's own to remove; nil when a service manager holds it.
    let path: String?
}

/// A server that hands its listening socket over and waits to be dismissed.
struct Predecessor {
    /// Seconds to wait for its answers.
    private static let patience: Int32 = 5

    private let connection: Int32
    /// Its listening socket, now ours too.
    let listener: Int32
    /// The socket's file was its own to remove.
    let ownsPath: Bool
    /// What it says it is.
    let software: String

    /// Asks the server at a path for its listening socket.
    /// - Returns: nil when none answers there.
    init?(at path: String) throws(ServerError) {
        connection = unsafe stile_connect_unix(path)
        if connection < 0 { return nil }
        _ = stile_set_timeout(connection, Self.patience)
        var listener: Int32 = -1
        let answer = Self.exchange(connection, TakeOver.frame(id: 1, isReady: false), &listener)
        self.listener = listener
        switch answer {
        case .handOver(_, let software, let ownsPath) where listener >= 0:
            self.software = software
            self.ownsPath = ownsPath
        case .error(let error):
            close(connection)
            throw ServerError(.socket, "the server on \(path) does not hand it over: \(error.message)")
        default:
            if listener >= 0 { close(listener) }
            close(connection)
            throw ServerError(.socket, "the server on \(path) does not hand it over: stop it, then start this one")
        }
    }

    /// Tells the server that this one accepts: it answers what it has been asked, and ends.
    func dismiss() {
        var none: Int32 = -1
        if case .handOver = Self.exchange(connection, TakeOver.frame(id: 2, isReady: true), &none) {
        } else {
            ServerLog.write(.warning, "\(software) does not say that it ends: both serve until it is stopped")
        }
        if none >= 0 { close(none) }
        close(connection)
    }

    /// Sends a frame and gives the one that answers it; nil when there is none in time.
    private static func exchange(_ connection: Int32, _ frame: [UInt8], _ descriptor: inout Int32) -> ServerFrame? {
        let bytes = Framing.prefixed(frame)
        guard unsafe send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return nil }
        var input: [UInt8] = []
        while input.count <= 4_096 {
            if input.count >= ProtocolLimits.prefixBytes {
                let length = input[..<ProtocolLimits.prefixBytes].reduce(0) { $0 << 8 | Int($1) }
                let end = ProtocolLimits.prefixBytes + length
                if input.count >= end { return ServerFrame(Array(input[ProtocolLimits.prefixBytes..<end])) }
            }
            var chunk = [UInt8](repeating: 0, count: 1_024)
            var came: Int32 = -1
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe stile_receive_descriptor(connection, $0.baseAddress, $0.count, &came)
            }
            if came >= 0 {
                if descriptor >= 0 { close(descriptor) }
                descriptor = came
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            input += chunk[..<count]
        }
        return nil
    }
}
