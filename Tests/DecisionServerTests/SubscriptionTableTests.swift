// The table of open questions against the simplest thing that could stand for it: a list that is gone through.

import AttributeStore
import DecisionPath
import Testing

@testable import DecisionServer

@Suite("table of open questions")
struct SubscriptionTableTests {
    /// A question as the plain list has it.
    private struct Plain {
        var named: Set<UInt64>
        var sent: OpenAnswer
        var hasOwnDevice: Bool
        var isWanted = false

        func concerns(_ entity: UInt64) -> Bool { named.contains(entity) || sent.device == entity }
    }

    @Test("it gives what a plain list gives, whatever comes, goes, is touched, due or set aside", arguments: 0..<4)
    func model(run: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var state = seed
        func draw(_ bound: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % bound
        }
        /// Few entities in some runs, so that lists are long.
        let entities: UInt64 = run % 2 == 0 ? 7 : 400
        func key() -> UInt64 { draw(5) == 0 ? EntityHash.none : (draw(entities) + 1) &* 0x9e37_79b9_7f4a_7c15 | 1 }
        func answer(_ now: Int64) -> OpenAnswer {
            var answer = OpenAnswer()
            answer.due = draw(3) == 0 ? .max : now + Int64(draw(300)) + 1
            answer.device = key()
            return answer
        }

        var table = SubscriptionTable()
        var plain: [UInt32: Plain] = [:]
        var parked: [UInt32] = []
        var now: Int64 = 1_000
        for step in 0..<3_000 {
            switch draw(run < 2 ? 10 : 9) {
            case 0, 1, 2:
                if plain.count >= 200 { continue }
                let watched = WatchedEntities(
                    subject: key(), resource: key(), session: key(), device: draw(2) == 0 ? key() : EntityHash.none)
                var sent = answer(now)
                if watched.device != EntityHash.none { sent.device = EntityHash.none }
                let slot = table.insert(
                    [1, 2, 3], sent, watched, owner: UInt32(draw(9)), number: UInt32(step))
                #expect(plain[slot] == nil, "seed \(seed), step \(step): a slot given twice")
                plain[slot] = Plain(
                    named: [watched.subject, watched.resource, watched.session, watched.device], sent: sent,
                    hasOwnDevice: watched.device != EntityHash.none)
            case 3:
                guard let slot = plain.keys.sorted().dropFirst(Int(draw(UInt64(plain.count + 1)))).first else {
                    continue
                }
                table.remove(slot)
                plain[slot] = nil
            case 4, 5:
                let entity = key()
                if entity == EntityHash.none { continue }
                table.touch(entity)
                for slot in plain.keys where plain[slot]?.concerns(entity) == true {
                    plain[slot]?.isWanted = true
                }
            case 6:
                now += Int64(draw(40))
                table.expire(now: now, limit: .max)
                for slot in plain.keys where plain[slot].map({ $0.sent.due <= now }) == true {
                    plain[slot]?.isWanted = true
                }
            case 9:
                table.touchAll()
                for slot in plain.keys { plain[slot]?.isWanted = true }
            default:
                for slot in parked { table.unpark(slot) }
                parked.removeAll()
                while let slot = table.next() {
                    let found = try #require(plain[slot], "seed \(seed), step \(step): a slot that is none")
                    // A pass may come by what was decided in its course.
                    #expect(found.isWanted || run < 2, "seed \(seed), step \(step): not asked for")
                    if draw(8) == 0 {
                        table.park(slot)
                        parked.append(slot)
                        continue
                    }
                    var sent = answer(now)
                    if found.hasOwnDevice { sent.device = EntityHash.none }
                    table.keep(sent, slot)
                    plain[slot]?.isWanted = false
                    plain[slot]?.sent = sent
                }
                let left = Set(plain.keys.filter { plain[$0]?.isWanted == true })
                #expect(left.isSubset(of: parked), "seed \(seed), step \(step): forgotten")
            }
            #expect(table.count == plain.count)
            // What is due and was taken out is in the queue or decided; the rest is in the heap.
            let waiting = plain.values.filter { $0.sent.due > now }.map(\.sent.due).min() ?? .max
            #expect(table.nextDue >= min(waiting, now) || table.nextDue == .max, "seed \(seed), step \(step)")
            #expect(table.nextDue <= waiting, "seed \(seed), step \(step): the next instant is late")
        }
    }

    @Test("a pass that is asked for again and again comes by every question")
    func passes() {
        var table = SubscriptionTable()
        for number in 0..<1_000 {
            _ = table.insert([], OpenAnswer(), WatchedEntities(subject: 3), owner: 0, number: UInt32(number))
        }
        var seen = Set<UInt32>()
        for _ in 0..<40 {
            table.touchAll()
            for _ in 0..<50 { if let slot = table.next() { seen.insert(slot) } }
        }
        #expect(seen.count == 1_000)
    }
}
