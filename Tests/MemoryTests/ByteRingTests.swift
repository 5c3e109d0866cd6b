// The ring between a reactor and the log: order, fullness, what a killed process leaves, bytes that are none of ours.

import Glibc
import Memory
import Synchronization
import Testing

@Suite("byte ring")
struct ByteRingTests {
    /// Puts a record in that carries a number and as many more bytes as asked for.
    private static func put(_ number: UInt64, _ more: Int, _ producer: RingProducer) -> Bool {
        guard let place = producer.reserve(16 + more) else { return false }
        unsafe place.pointer.storeBytes(of: number, toByteOffset: 8, as: UInt64.self)
        for index in 0..<more {
            unsafe place.pointer.storeBytes(of: UInt8(index & 0xff), toByteOffset: 16 + index, as: UInt8.self)
        }
        producer.publish(place)
        return true
    }

    /// The number of a record; nil when its other bytes are not what was put in.
    private static func number(_ record: UnsafeRawBufferPointer) -> UInt64? {
        for index in 16..<max(16, record.count - 7) where unsafe record[index] != UInt8((index - 16) & 0xff) {
            return nil
        }
        return unsafe record.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    }

    @Test("records of any length come out whole and in order, however often the ring wraps")
    func order() throws {
        let ring = try ByteRing(capacity: 4096)
        let producer = ring.producer
        var consumer = ring.consumer
        var state: UInt64 = 88_172_645_463_325_252
        var next: UInt64 = 0
        var expected: UInt64 = 0
        while expected < 5_000 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            for _ in 0..<state % 40 where Self.put(next, Int(state >> 20) % 600, producer) { next += 1 }
            var limit = Int(state >> 40) % 30
            unsafe consumer.forEach { record in
                #expect(unsafe Self.number(record) == expected)
                expected += 1
                limit -= 1
                return limit > 0
            }
            consumer.release()
        }
    }

    @Test("a full ring refuses, and takes again what room is given back")
    func full() throws {
        let ring = try ByteRing(capacity: 4096)
        let producer = ring.producer
        var consumer = ring.consumer
        var count: UInt64 = 0
        while Self.put(count, 84, producer) { count += 1 }
        #expect(count == 39)
        #expect(producer.shouldWakeConsumer())
        #expect(!producer.shouldWakeConsumer())
        // Looked at is not given back.
        unsafe consumer.forEach { _ in true }
        #expect(!Self.put(count, 84, producer))
        consumer.release()
        #expect(Self.put(count, 84, producer))
        #expect(producer.reserve(producer.maxRecord + 1) == nil)
        #expect(producer.reserve(7) == nil)
    }

    @Test("what was put into a ring in a file outlives its owner, and is not taken from a living one")
    func leftBehind() throws {
        let path = "/dev/shm/stile-ring-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        defer { _ = unsafe unlink(path) }
        do {
            let ring = try ByteRing(capacity: 8192, file: path)
            let producer = ring.producer
            for number in 0..<10 { #expect(Self.put(UInt64(number), 40, producer)) }
            var consumer = ring.consumer
            var limit = 3
            unsafe consumer.forEach { _ in
                limit -= 1
                return limit > 0
            }
            consumer.release()
            #expect(try ByteRing.leftBehind(file: path) == nil)
            #expect(throws: ByteRingError.self) { try ByteRing(capacity: 8192, file: path) }
        }
        let left = try #require(try ByteRing.leftBehind(file: path))
        var consumer = left.consumer
        var found: [UInt64] = []
        unsafe consumer.forEach { record in
            if let number = unsafe Self.number(record) { found.append(number) }
            return true
        }
        #expect(found == [3, 4, 5, 6, 7, 8, 9])
    }

    @Test("a ring of bytes that are none of ours gives no record outside of it and does not trap")
    func damaged() throws {
        let path = "/dev/shm/stile-ring-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        defer { _ = unsafe unlink(path) }
        var generator = SystemRandomNumberGenerator()
        for round in 0..<300 {
            _ = unsafe unlink(path)
            do {
                let ring = try ByteRing(capacity: 4096, file: path)
                let producer = ring.producer
                for number in 0..<20 { _ = Self.put(UInt64(number), 30, producer) }
            }
            // Everything but magic, format and capacity.
            let descriptor = unsafe open(path, O_RDWR)
            for _ in 0..<1 + round % 40 {
                var byte = UInt8.random(in: 0...255, using: &generator)
                let isHead = round % 3 == 0
                let offset =
                    isHead
                    ? Int.random(in: 64..<160, using: &generator) : Int.random(in: 4096..<8192, using: &generator)
                _ = unsafe pwrite(descriptor, &byte, 1, off_t(offset))
            }
            close(descriptor)
            let left = try #require(try ByteRing.leftBehind(file: path))
            var consumer = left.consumer
            var bytes = 0
            unsafe consumer.forEach { record in
                unsafe bytes += record.reduce(0) { $0 + Int($1 & 1) } * 0 + record.count
                return true
            }
            #expect(bytes <= 4096)
            consumer.release()
        }
    }

    @Test("two threads pass a hundred thousand records")
    func threads() async throws {
        let ring = try ByteRing(capacity: 16_384)
        let count: UInt64 = 100_000
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                let producer = ring.producer
                var next: UInt64 = 0
                while next < count {
                    if Self.put(next, Int(next % 50), producer) { next += 1 } else { usleep(10) }
                }
            }
            group.addTask {
                var consumer = ring.consumer
                var expected: UInt64 = 0
                var isRight = true
                while expected < count {
                    unsafe consumer.forEach { record in
                        if unsafe Self.number(record) != expected { isRight = false }
                        expected += 1
                        return true
                    }
                    consumer.release()
                    usleep(10)
                }
                #expect(isRight)
            }
        }
    }
}
