// When a reactor gives connections away, and which.

import Synchronization
import Testing

@testable import DecisionServer

@Suite("load balance")
struct LoadBalanceTests {
    private func steps(_ own: Int, _ other: Int, _ count: Int) -> [LoadBalance.Step] {
        var balance = LoadBalance()
        return (0..<count).map { _ in balance.step(own: own, other: other) }
    }

    @Test("nothing moves while loads are even, small, or uneven for a moment only")
    func patience() {
        #expect(steps(900, 800, 50).allSatisfy { $0 == .nothing })
        #expect(steps(200, 0, 50).allSatisfy { $0 == .nothing })
        var balance = LoadBalance()
        for round in 0..<100 {
            let step = balance.step(own: 1_000, other: round % LoadBalance.patience == 0 ? 900 : 0)
            if case .give = step { Issue.record("moved in round \(round)") }
        }
    }

    @Test("a load that stays uneven is halved: counted first, then given away, then measured anew")
    func halves() {
        #expect(steps(1_000, 0, 5) == [.count, .nothing, .nothing, .nothing, .give(500)])
        #expect(steps(800, 400, 6).suffix(2) == [.give(250), .count])
    }

    @Test("the busiest that fit move, and together no more than their share")
    func choice() {
        #expect(LoadBalance.choose([10, 10, 10, 10], share: 500).count == 2)
        #expect(LoadBalance.choose([51, 49], share: 500) == [0])
        #expect(LoadBalance.choose([100], share: 500).isEmpty)
        #expect(LoadBalance.choose([100, 0, 0], share: 500).isEmpty)
        #expect(LoadBalance.choose([90, 5, 5], share: 500) == [1, 2])
        #expect(LoadBalance.choose([0, 0], share: 500).isEmpty)
        #expect(LoadBalance.choose([], share: 500).isEmpty)
    }

    @Test("whatever the connections ask, what moves is within the share and one that asks stays")
    func anyLoads() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let asked = (0..<Int.random(in: 0...40, using: &generator)).map { _ in Int.random(in: 0...1_000) }
            let share = Int.random(in: 0...500)
            let chosen = LoadBalance.choose(asked, share: share)
            let total = asked.reduce(0, +)
            #expect(Set(chosen).count == chosen.count)
            #expect(chosen.reduce(0) { $0 + asked[$1] } <= total * share / 1_000 + total / 50)
            #expect(chosen.count < max(1, asked.filter { $0 > 0 }.count), "\(asked) \(share)")
        }
    }
}

@Suite("a reactor's desk")
struct ReactorDeskTests {
    private func parcel(_ number: Int32) -> ConnectionParcel {
        ConnectionParcel(descriptor: number, user: 1, openedAt: 2)
    }

    @Test("what is posted is collected once, in its order; a closed desk takes nothing")
    func mailbox() {
        let desk = ReactorDesk(bell: -1)
        #expect(desk.post(parcel(7)) && desk.post(parcel(8)))
        #expect(!desk.close(), "closed over what nobody has collected")
        #expect(desk.collect().map(\.descriptor) == [7, 8])
        #expect(desk.collect().isEmpty)
        #expect(desk.close())
        #expect(!desk.post(parcel(9)))
        #expect(desk.open.load(ordering: .relaxed) == 2)
    }

    @Test("a new connection goes to the reactor with least to do, then to the one with the fewest connections")
    func best() {
        let desks = (0..<3).map { _ in ReactorDesk(bell: -1) }
        for (desk, open) in zip(desks, [5, 1, 3]) { desk.open.store(open, ordering: .relaxed) }
        #expect(desks.best(at: 1_000) === desks[1])
        desks[1].publish(load: 900, now: 1_000)
        #expect(desks.best(at: 1_000) === desks[2])
        // A measurement that is old is of a reactor that sleeps.
        #expect(desks.best(at: 2_000) === desks[1])
        #expect(desks.idlest(but: desks[0], at: 1_000) === desks[2])
    }
}
