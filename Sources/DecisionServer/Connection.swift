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
    /// No more frames are read; it is closed when its output is gone.
    var isClosing = false
    /// What epoll is asked for now.
    var interest: UInt32 = 0

    init(_ descriptor: Int32, user: UInt32, now: Int64) {
        self.descriptor = descriptor
        self.user = user
        openedAt = now
        self.now = now
        input = Array(repeating: 0, count: 16 << 10)
    }

    deinit { close(descriptor) }

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

    /// Hands each complete frame to `body` until it returns false; keeps what is left.
    /// - Throws: `frame_too_large` when a length is above the limit.
    func forEachFrame(_ body: (CBORReader) -> Bool) throws(ProtocolError) {
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
                offset = start + length
                let frame = unsafe CBORReader(UnsafeRawBufferPointer(rebasing: buffer[start..<offset]))
                if !body(frame) { return }
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
                return errno == EAGAIN
            }
            sent += count
        }
        output.removeAll()
        sent = 0
        return true
    }
}
