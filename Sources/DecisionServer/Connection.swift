// One client: bytes in, frames, bytes out. Owned by one reactor.
//
// Unsafe file: reads into and writes from the buffers' memory through pointers that live only for the system call.

import CBOR
import CLinux
import DecisionPath
import DecisionProtocol
import Glibc
import Memory

/// A connection.
final class Connection {
    let descriptor: Int32
    let user: UInt32
    /// Set by hello.
    var decider: TenantDecider?
    /// Set while it has open questions.
    var subscriber: Subscriber?
    /// The instant of the wake-up that handles it, ms since the epoch.
    var now: Int64
    /// Milliseconds since the epoch.
    let openedAt: Int64
    private var input: [UInt8]
    private var inputCount = 0
    /// Answers not yet taken by the kernel start at `sent`.
    var output = CBORWriter()
    private var sent = 0
    /// Its questions wait because it has left too many answers unread.
    var isHeldUp = false
    /// Its turn was over before its questions were: the next ones stand in the reactor's line, and nothing more is read.
    var isInLine = false
    /// No more frames are read; it is closed when its output is gone.
    var isClosing = false
    /// It wants to be told when the server ends.
    var takesGoodbye = false
    /// Questions that it was answered beyond its turns, in a batch: its next turns pay for them.
    var debt = 0
    /// It is another server, which has got the listening socket.
    var isHeir = false
    /// Questions, and how many there were when the reactor began to count.
    var asked = 0
    var askedBefore = 0
    /// Until when it stays with its reactor, ms since the epoch.
    var staysUntil: Int64 = 0
    private var ownsDescriptor = true
    /// What epoll is asked for now.
    var interest: UInt32 = 0

    init(_ descriptor: Int32, user: UInt32, now: Int64) {
        self.descriptor = descriptor
        self.user = user
        openedAt = now
        self.now = now
        input = Array(repeating: 0, count: Self.usualInput)
    }

    /// Bytes of the input's buffer: what is read at once. It grows for a frame that is longer.
    private static let usualInput = 16 << 10
    /// Above it a buffer that is empty is given back.
    private static let mostKept = 256 << 10
    /// Sent bytes in front of unsent ones that are worth moving.
    private static let mostSent = 64 << 10

    /// A connection that was another reactor's.
    init(_ parcel: ConnectionParcel, now: Int64) {
        descriptor = parcel.descriptor
        user = parcel.user
        openedAt = parcel.openedAt
        self.now = now
        takesGoodbye = parcel.takesGoodbye
        staysUntil = now + LoadBalance.rest
        input = parcel.input
        inputCount = input.count
        if inputCount < Self.usualInput {
            input.append(contentsOf: repeatElement(0, count: Self.usualInput - inputCount))
        }
        output.raw(parcel.output)
    }

    deinit { if ownsDescriptor { close(descriptor) } }

    /// What it is made of, for another reactor, without its open questions; this object is not used any more.
    func pack() -> ConnectionParcel {
        ownsDescriptor = false
        return unsafe ConnectionParcel(
            descriptor: descriptor, user: user, openedAt: openedAt, tenant: decider?.tenant,
            takesGoodbye: takesGoodbye, input: Array(input[..<inputCount]),
            output: Array(UnsafeRawBufferPointer(rebasing: output.bytes.borrowed[sent...])))
    }

    /// There are bytes of it that were not handled.
    var hasInput: Bool { inputCount > 0 }

    /// Bytes that the client has not taken.
    var unsent: Int { output.bytes.count - sent }

    /// What a read gave.
    enum ReadResult {
        case some, nothing, end
    }

    /// Reads once what has arrived.
    func read() -> ReadResult {
        if inputCount == input.count {
            if input.count >= ProtocolLimits.maxFrameBytes + ProtocolLimits.prefixBytes { return .nothing }
            input.append(contentsOf: repeatElement(0, count: input.count))
        }
        let start = inputCount
        let count = unsafe input.withUnsafeMutableBytes { buffer in
            unsafe Glibc.read(descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start)
        }
        if count > 0 {
            inputCount += count
            return .some
        }
        if count == 0 { return .end }
        return errno == EAGAIN || errno == EINTR ? .nothing : .end
    }

    /// What is done with a frame.
    enum Taking {
        /// It was handled, and so is the next.
        case next
        /// It was handled, and the next stays.
        case last
        /// It stays.
        case none
    }

    /// The kernel takes no more from the client: what it has taken is still to be read, and the client is told at its next
    /// write that the rest was not taken.
    func stopReceiving() { _ = shutdown(descriptor, Int32(SHUT_RD)) }

    /// Hands each complete frame to `body` as long as it takes them; keeps what is left.
    /// - Throws: `frame_too_large` when a length is above the limit.
    func forEachFrame(_ body: (CBORReader) -> Taking) throws(ProtocolError) {
        var offset = 0
        var tooLarge: Int?
        let available = inputCount
        unsafe input.withUnsafeBytes { buffer in
            while available - offset >= ProtocolLimits.prefixBytes {
                var length = 0
                for index in 0..<ProtocolLimits.prefixBytes {
                    length = length << 8 | Int(unsafe buffer[offset + index])
                }
                guard length <= ProtocolLimits.maxFrameBytes else {
                    tooLarge = length
                    return
                }
                let start = offset + ProtocolLimits.prefixBytes
                guard available - start >= length else { return }
                let frame = unsafe CBORReader(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + length)]))
                let taking = body(frame)
                if taking == .none { return }
                offset = start + length
                if taking == .last { return }
            }
        }
        if offset > 0 {
            if offset < inputCount {
                unsafe input.withUnsafeMutableBytes { buffer in
                    guard let base = buffer.baseAddress else { return }
                    unsafe memmove(base, base + offset, available - offset)
                }
            }
            inputCount -= offset
            if inputCount == 0, input.count > Self.mostKept {
                input = Array(repeating: 0, count: Self.usualInput)
            }
        }
        if let tooLarge {
            throw ProtocolError(
                .frameTooLarge,
                "a frame of \(tooLarge) bytes, above \(ProtocolLimits.maxFrameBytes): send the questions in several batches"
            )
        }
    }

    /// Appends a frame with its length.
    func send(_ frame: [UInt8]) { output.raw(Framing.prefixed(frame)) }

    /// Offers the output to the kernel.
    /// - Returns: false when the client is gone.
    func flush() -> Bool {
        while sent < output.bytes.count {
            let start = sent
            let buffer = unsafe output.bytes.borrowed
            let count = unsafe Glibc.send(
                descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start, Int32(MSG_NOSIGNAL))
            if count < 0 {
                if errno == EINTR { continue }
                let isThere = errno == EAGAIN
                forgetSent()
                return isThere
            }
            sent += count
        }
        output.removeAll()
        output.bytes.release(above: Self.mostKept)
        sent = 0
        return true
    }

    /// A client that always leaves something unread must not make the output grow by what it has read.
    private func forgetSent() {
        guard sent >= Self.mostSent, sent >= unsent else { return }
        output.bytes.removeFirst(sent)
        sent = 0
    }
}
