// A connection to the decision socket, blocking. Fails closed: whatever goes wrong, `decide` says deny and why.

import CBOR
import CLinux
package import DecisionProtocol
import Glibc

/// Why a server could not be asked.
package struct ClientError: Error, Sendable, CustomStringConvertible {
    /// What, where and how to mend it.
    package var description: String

    package init(description: String) { self.description = description }
}

/// One connection for one tenant; used by one thread at a time.
package final class DecisionConnection {
    private let descriptor: Int32
    private var input: [UInt8] = []
    private var nextID: UInt64 = 1
    /// What the server said of itself.
    package private(set) var welcome: Welcome

    /// Connects and says hello.
    /// - Parameter timeout: seconds to wait for an answer; 0 waits for ever.
    package init(socket path: String, tenant: String, timeout: Int = 0) throws(ClientError) {
        descriptor = unsafe stile_connect_unix(path)
        if descriptor >= 0, timeout > 0 { _ = stile_set_timeout(descriptor, Int32(clamping: timeout)) }
        welcome = Welcome(tenant: tenant, policyVersion: 0, software: "")
        guard descriptor >= 0 else {
            let reason = unsafe String(cString: strerror(errno))
            throw ClientError(
                description: "cannot connect to \(path): \(reason). Is stiled running, and may you open its socket?")
        }
        try send(Framing.prefixed(Hello(tenant: tenant).frame))
        switch try receive() {
        case .welcome(let welcome): self.welcome = welcome
        case .error(let error): throw ClientError(description: error.description)
        default: throw ClientError(description: "\(path) did not answer hello: is it stiled's socket?")
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Asks one question. Never throws: what cannot be asked is denied.
    package func decide(_ question: Question) -> Answer {
        do throws(ClientError) {
            let answers = try ask([question])
            return answers.first ?? .failClosed(code: "no_answer", message: "the server gave no answer")
        } catch {
            return .failClosed(code: "unavailable", message: error.description)
        }
    }

    /// Asks several questions in one go; the answers in their order.
    package func ask(_ questions: [Question]) throws(ClientError) -> [Answer] {
        let first = nextID
        var frames: [UInt8] = []
        for question in questions {
            frames += Framing.prefixed(question.frame(id: nextID))
            nextID += 1
        }
        try send(frames)
        var answers: [Answer] = []
        for index in questions.indices {
            switch try receive() {
            case .answer(let id, let answer) where id == first + UInt64(index): answers.append(answer)
            case .error(let error): throw ClientError(description: error.description)
            default: throw ClientError(description: "the server answered out of order")
            }
        }
        return answers
    }

    /// Asks a batch at one instant over one snapshot.
    package func ask(_ batch: Batch) throws(ClientError) -> [Answer] {
        try send(Framing.prefixed(batch.frame(id: nextID)))
        nextID += 1
        switch try receive() {
        case .batch(_, let answers): return answers
        case .error(let error): throw ClientError(description: error.description)
        default: throw ClientError(description: "the server answered with another frame than a batch's")
        }
    }

    /// How the server and the tenant stand.
    package func status() throws(ClientError) -> StatusReport {
        try send(Framing.prefixed(StatusRequest.frame(id: nextID)))
        nextID += 1
        switch try receive() {
        case .status(_, let report): return report
        case .error(let error): throw ClientError(description: error.description)
        default: throw ClientError(description: "the server answered with another frame than its status")
        }
    }

    // MARK: Bytes

    private func send(_ bytes: [UInt8]) throws(ClientError) {
        var sent = 0
        while sent < bytes.count {
            let start = sent
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            // A server that refuses closes; what it said first is still to be read.
            if count <= 0 { return }
            sent += count
        }
    }

    private func receive() throws(ClientError) -> ServerFrame {
        while true {
            if input.count >= ProtocolLimits.prefixBytes {
                let length = input[0..<4].reduce(0) { $0 << 8 | Int($1) }
                guard length <= ProtocolLimits.maxAnswerBytes else {
                    throw ClientError(description: "the server announces a frame of \(length) bytes")
                }
                if input.count >= length + 4 {
                    let frame = ServerFrame(Array(input[4..<(length + 4)]))
                    input.removeFirst(length + 4)
                    guard let frame else {
                        throw ClientError(description: "the server sent a frame that cannot be read")
                    }
                    return frame
                }
            }
            try fill()
        }
    }

    private func fill() throws(ClientError) {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { return }
        if count < 0, errno == EAGAIN { throw ClientError(description: "the server did not answer in time") }
        guard count > 0 else { throw ClientError(description: "the server closed the connection") }
        input += chunk[..<count]
    }
}
