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
    var decider: TenantDecider? {
        didSet { lentDecider = decider.map { Lent($0) } }
    }
    /// The same object, held by `decider`.
    private(set) var lentDecider: Lent<TenantDecider>?
    /// Set while it has open questions.
    var subscriber: Subscriber?
    /// The instant of the wake-up that handles it, ms since the epoch.
    var now: Int64
    /// Milliseconds since the epoch.
    let openedAt: Int64
    /// What has been read; frames up to `taken` are handled.
    private var input: GrowableBytes
    private var taken = 0
    /// Answers not yet taken by the kernel start at `sent`.
    var output = CBORWriter()
    private var sent = 0
    /// Its questions wait because it has left too many answers unread.
    var isHeldUp = false
    /// Its turn was over before its questions were: the next ones stand in the reactor's line, and nothing more is read.
    var isInLine = false
    /// The kernel may hold bytes of it that no event will tell of.
    var mayHaveMore = false
    /// An urgent byte waits, before which a read stops.
    var isSplit = false
    /// The client has closed its side, so that after the last bytes their end is to be read.
    var isEnding = false
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
        input = GrowableBytes(capacity: Self.usualInput)
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
        input = GrowableBytes(capacity: max(Self.usualInput, parcel.input.count))
        input.append(parcel.input)
        output.raw(parcel.output)
    }

    deinit { if ownsDescriptor { close(descriptor) } }

    /// What it is made of, for another reactor, without its open questions; this object is not used any more.
    func pack() -> ConnectionParcel {
        ownsDescriptor = false
        return unsafe ConnectionParcel(
            descriptor: descriptor, user: user, openedAt: openedAt, tenant: decider?.tenant,
            takesGoodbye: takesGoodbye, input: Array(UnsafeRawBufferPointer(rebasing: input.borrowed[taken...])),
            output: Array(UnsafeRawBufferPointer(rebasing: output.bytes.borrowed[sent...])))
    }

    /// There are bytes of it that were not handled.
    var hasInput: Bool { input.count > taken }

    /// A frame of it is here as a whole, or one that is too long has begun.
    var hasFrame: Bool {
        do throws(ProtocolError) {
            return try nextFrame() != nil
        } catch {
            return true
        }
    }

    /// Bytes that the client has not taken.
    var unsent: Int { output.bytes.count - sent }

    /// What a read gave.
    enum ReadResult {
        case some, nothing, end
    }

    /// Reads once what has arrived.
    func read() -> ReadResult {
        if input.count >= ProtocolLimits.maxFrameBytes + ProtocolLimits.prefixBytes { return .nothing }
        var room = 0
        let count = unsafe input.fill(least: 1) {
            room = $0.count
            return unsafe stile_read(descriptor, $0.baseAddress, room)
        }
        if count > 0 {
            // A read gives all that there is, so less than there is room for is the last of it; but it stops before an
            // urgent byte, and behind bytes that came with a descriptor. The listener refuses descriptors where the system
            // can (Linux 6.16); else, and where the client was there before, what follows such a hello is read all the same.
            mayHaveMore = count == room || isEnding || isSplit || decider == nil
            return .some
        }
        if count < 0, errno == EAGAIN { isSplit = false }
        mayHaveMore = count < 0 && errno == EINTR
        return count < 0 && (errno == EAGAIN || errno == EINTR) ? .nothing : .end
    }

    /// The kernel takes no more from the client: what it has taken is still to be read, and the client is told at its next
    /// write that the rest was not taken.
    func stopReceiving() { _ = shutdown(descriptor, Int32(SHUT_RD)) }

    /// The next frame, when all of it is here; void after `forgetTaken` and after a read.
    /// - Throws: `frame_too_large` when its length is above the limit.
    @inline(__always)
    func nextFrame() throws(ProtocolError) -> CBORReader? {
        let available = input.count &- taken
        guard available >= ProtocolLimits.prefixBytes else { return nil }
        let length = Int(UInt32(bigEndian: input.load(at: taken, as: UInt32.self)))
        guard length <= ProtocolLimits.maxFrameBytes else { throw Self.tooLarge(length) }
        guard available &- ProtocolLimits.prefixBytes >= length else { return nil }
        let start = taken &+ ProtocolLimits.prefixBytes
        return unsafe CBORReader(UnsafeRawBufferPointer(rebasing: input.borrowed[start..<start &+ length]))
    }

    private static func tooLarge(_ length: Int) -> ProtocolError {
        ProtocolError(
            .frameTooLarge,
            "a frame of \(length) bytes, above \(ProtocolLimits.maxFrameBytes): send the questions in several batches")
    }

    /// The frame behind those that were taken, when all of it is here; void as `nextFrame`'s.
    @inline(__always)
    var upcoming: CBORReader? { try? nextFrame() }

    /// The frame that `nextFrame` gave is handled, or is about to be.
    @inline(__always)
    func take(_ frame: CBORReader) { taken &+= ProtocolLimits.prefixBytes &+ frame.end }

    /// Gives the room of the frames that were taken back; none of them may be used any more.
    @inline(__always)
    func forgetTaken() {
        if taken == 0 { return }
        if taken == input.count {
            input.removeAll()
            input.release(above: Self.mostKept)
        } else {
            input.removeFirst(taken)
        }
        taken = 0
    }

    /// Appends a frame with its length.
    func send(_ frame: [UInt8]) { output.raw(Framing.prefixed(frame)) }

    /// Offers the output to the kernel.
    /// - Returns: false when the client is gone.
    func flush() -> Bool {
        while sent < output.bytes.count {
            let start = sent
            let buffer = unsafe output.bytes.borrowed
            let count = unsafe stile_send(
                descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start)
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
