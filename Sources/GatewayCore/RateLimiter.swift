// Token buckets in bounded memory.

import CLinux
import Synchronization

/// Counts what many callers may do in a second. A bucket that is full again says nothing, so it is the first to go when
/// the table is full.
package final class RateLimiter: Sendable {
    private struct Bucket {
        var tokens: Double
        /// Microseconds of the monotonic clock.
        var at: UInt64
    }

    private final class Shard: Sendable {
        let buckets = Mutex<[UInt64: Bucket]>([:])
    }

    private let shards: [Shard]
    private let limit: RateLimit
    private let maxBuckets: Int

    /// - Parameter maxCallers: callers that are remembered at once.
    package init(_ limit: RateLimit, maxCallers: Int = 65_536) {
        self.limit = limit
        shards = (0..<16).map { _ in Shard() }
        maxBuckets = max(1, maxCallers / 16)
    }

    /// Takes a token.
    /// - Returns: nil when there was one, else the seconds after which there will be.
    package func take(_ caller: some Hashable) -> Int? { take(caller, at: stile_monotonic_us()) }

    func take(_ caller: some Hashable, at now: UInt64) -> Int? {
        // Swift's hash has a random key for each process, so that nobody can choose callers that share a bucket.
        let hash = UInt64(truncatingIfNeeded: caller.hashValue)
        return shards[Int(hash & 15)].buckets.withLock { buckets in
            var bucket = buckets[hash] ?? Bucket(tokens: limit.burst, at: now)
            let passed = Double(now > bucket.at ? now - bucket.at : 0) / 1_000_000
            bucket.tokens = min(limit.burst, bucket.tokens + passed * limit.perSecond)
            bucket.at = now
            let isAllowed = bucket.tokens >= 1
            if isAllowed { bucket.tokens -= 1 }
            if buckets.count >= maxBuckets, buckets[hash] == nil { makeRoom(&buckets, now) }
            buckets[hash] = bucket
            if isAllowed { return nil }
            return max(1, Int(((1 - bucket.tokens) / limit.perSecond).rounded(.up)))
        }
    }

    private func makeRoom(_ buckets: inout [UInt64: Bucket], _ now: UInt64) {
        let refill = UInt64(limit.burst / limit.perSecond * 1_000_000)
        var examined = 0
        var victim: UInt64?
        // The order of a dictionary is as good as random; a few looks keep the cost of a flood of callers constant.
        for (hash, bucket) in buckets {
            if victim == nil { victim = hash }
            if now - min(now, bucket.at) >= refill {
                victim = hash
                break
            }
            examined += 1
            if examined == 32 { break }
        }
        if let victim { buckets[victim] = nil }
    }

    /// Callers that are remembered now.
    var count: Int { shards.reduce(0) { $0 + $1.buckets.withLock { $0.count } } }
}
