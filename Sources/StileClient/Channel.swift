// A connected socket and the bytes on their way: out of any thread, in on the client's own.
//
// INVARIANTS of this unsafe file.
// * `output`, `unsent`, `isSending` and `isBlocked` change only under the client's lock. Whoever has set `isSending` there
//   alone touches `outgoing` and `sent`, without the lock, until it takes the mark away again under it.
// * The input belongs to the client's thread. `input` is an allocation of `room` bytes of which `start..<end` are what
//   came and was not yet handed out; a frame that was handed out is valid until the next `fill`.
// * The descriptor is closed when the last reference is gone, so nobody writes to a number that was given anew.

import CBOR
import CLinux
import DecisionProtocol
import Glibc
import Memory

/// One connection's bytes.
@safe
final class Channel: @unchecked Sendable {
    let descriptor: Int32
    /// Given once by the client's thread before anybody else knows the channel, and never twice: what the kernel says
    /// about a connection that is gone is nobody's.
    var serial: UInt64 = 0
    /// What is to be sent, and how many frames it is.
    var output = CBORWriter()
    var unsent = 0
    private(set) var isSending = false
    /// The kernel took no more; the client's thread waits until it does.
    private(set) var isBlocked = false
    private var outgoing = CBORWriter()
    private var sent = 0
    private var input: UnsafeMutableRawPointer
    private var room = firstRoom
    private var start = 0
    private var end = 0
    private static let firstRoom = 32 << 10

    /// Connects, without waiting.
    /// - Throws: `unreachable` with the system's reason.
    init(path: String) throws(StileError) {
        descriptor = unsafe stile_connect_unix_now(path)
        let code = errno
        unsafe input = .allocate(byteCount: Self.firstRoom, alignment: 16)
        guard descriptor >= 0 else {
            throw .unreachable(
                code == EAGAIN
                    ? "\(path) takes no more connections at once" : unsafe "\(path): \(String(cString: strerror(code)))"
            )
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        unsafe input.deallocate()
    }

    // MARK: Out

    /// Takes on the sending of what is in `output`; false when there is nothing, or somebody does it already.
    func beginSending() -> Bool {
        guard !isSending, !isBlocked, output.bytes.count > 0 else { return false }
        isSending = true
        takeOutput()
        return true
    }

    private func takeOutput() {
        swap(&output, &outgoing)
        output.removeAll()
        unsent = 0
        sent = 0
    }

    /// Offers the kernel what was taken. On failure whoever reads sees the end, after what the server said before it.
    func push() {
        let count = outgoing.bytes.count
        while sent < count {
            let bytes = unsafe outgoing.bytes.borrowed
            let put = unsafe Glibc.send(
                descriptor, bytes.baseAddress.map { unsafe $0 + sent }, count - sent,
                Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            if put > 0 {
                sent += put
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                sent = count
            }
        }
    }

    /// How a sender goes on.
    enum Sending {
        case done
        /// More has come meanwhile and was taken: push again.
        case more
        /// The kernel took no more.
        case blocked
    }

    /// After `push`.
    func continueSending() -> Sending {
        if sent < outgoing.bytes.count {
            isSending = false
            isBlocked = true
            return .blocked
        }
        if output.bytes.count > 0 {
            takeOutput()
            return .more
        }
        isSending = false
        return .done
    }

    /// Takes on the rest, when the kernel takes more again; false when nothing was blocked.
    func resumeSending() -> Bool {
        guard isBlocked else { return false }
        isBlocked = false
        isSending = true
        return true
    }

    // MARK: In

    /// What came of reading.
    enum Reading {
        case alive
        case ended
        /// A frame that is longer than may be, or none that is understood.
        case nonsense(String)
    }

    /// Reads what is there and adds its whole frames.
    func read(_ frames: inout [Incoming]) -> Reading {
        for _ in 0..<8 {
            let (count, isFull) = fill()
            // What the server said before it closed is taken too.
            let reading = takeFrames(&frames)
            if case .nonsense = reading { return reading }
            if count < 0 { return .ended }
            if !isFull { return .alive }
        }
        return .alive
    }

    /// Reads once. The count is 0 when there is nothing (yet), negative at the end.
    private func fill() -> (count: Int, isFull: Bool) {
        makeRoom()
        let wanted = room - end
        let got = unsafe recv(descriptor, input + end, wanted, Int32(MSG_DONTWAIT))
        if got > 0 {
            end += got
            return (got, got == wanted)
        }
        return (got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1, false)
    }

    /// Room behind what is there: what was handed out is let go, and the memory grows when one frame fills it.
    private func makeRoom() {
        if start == end {
            start = 0
            end = 0
            if room > 32 * Self.firstRoom { resize(Self.firstRoom) }
        } else if end == room, start > 0 {
            unsafe memmove(input, input + start, end - start)
            end -= start
            start = 0
        }
        if end == room { resize(2 * room) }
    }

    private func resize(_ size: Int) {
        let larger = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        unsafe larger.copyMemory(from: input, byteCount: end)
        unsafe input.deallocate()
        unsafe input = larger
        room = size
    }

    private func takeFrames(_ frames: inout [Incoming]) -> Reading {
        while end - start >= ProtocolLimits.prefixBytes {
            let length = Int(UInt32(bigEndian: unsafe input.loadUnaligned(fromByteOffset: start, as: UInt32.self)))
            guard length <= ProtocolLimits.maxAnswerBytes else {
                return .nonsense("the server announces a frame of \(length) bytes")
            }
            let from = start + ProtocolLimits.prefixBytes
            guard end - from >= length else { break }
            guard let frame = unsafe Incoming(UnsafeRawBufferPointer(start: input + from, count: length)) else {
                return .nonsense("the server sent a frame that is not understood")
            }
            frames.append(frame)
            start = from + length
        }
        return .alive
    }
}
