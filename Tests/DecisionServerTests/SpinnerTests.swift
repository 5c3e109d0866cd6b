// What a reactor learns about polling before it sleeps.

import Testing

@testable import DecisionServer

@Suite("polling before sleeping")
struct SpinnerTests {
    /// Fifty milliseconds with wake-ups as close as polling is made for.
    private func dense(_ now: Int64, hasRoom: Bool = true, preemptions: UInt64 = 0) -> Spinner.Measurement {
        Spinner.Measurement(
            elapsed: 50_000, busy: 25_000, wakeUps: 2_000, preemptions: preemptions, hasRoom: hasRoom, now: now)
    }

    private func sparse(_ now: Int64) -> Spinner.Measurement {
        Spinner.Measurement(elapsed: 50_000, busy: 500, wakeUps: 50, preemptions: 0, hasRoom: true, now: now)
    }

    @Test("the modes are read as they are written")
    func modes() {
        #expect(SpinMode(text: "auto") == .automatic)
        #expect(SpinMode(text: "off") == .off)
        #expect(SpinMode(text: "0") == .off)
        #expect(SpinMode(text: "50") == .fixed(50))
        for text in ["", "-1", "on", "1e3", "1000001", "5us"] { #expect(SpinMode(text: text) == nil) }
    }

    @Test("off never polls, and a number is never changed")
    func fixed() {
        for (mode, budget) in [(SpinMode.off, 0), (.fixed(30), 30)] as [(SpinMode, UInt64)] {
            var spinner = Spinner(mode)
            for round in 0..<20 {
                spinner.learn(dense(Int64(round) * 50))
                for _ in 0..<20 { spinner.miss(30) }
                #expect(spinner.budget == budget)
            }
        }
    }

    @Test("dense wake-ups are tried, and it goes on while what is waited for comes")
    func pays() {
        var spinner = Spinner(.automatic)
        #expect(spinner.budget == 0)
        spinner.learn(sparse(50))
        #expect(spinner.budget == 0)
        for round in 1..<100 {
            spinner.learn(dense(Int64(round) * 50))
            #expect(Spinner.budgets.contains(spinner.budget))
            for _ in 0..<1_000 { spinner.hit(5) }
        }
        spinner.learn(sparse(6_000))
        #expect(spinner.budget == 0, "polls although hardly anybody asks")
    }

    @Test("it is never tried without a processor to spare, and left when there is none any more")
    func room() {
        var spinner = Spinner(.automatic)
        for round in 0..<50 { spinner.learn(dense(Int64(round) * 50, hasRoom: false)) }
        #expect(spinner.budget == 0)
        spinner.learn(dense(3_000))
        #expect(spinner.budget > 0)
        spinner.hit(5)
        spinner.learn(dense(3_050, hasRoom: false))
        #expect(spinner.budget == 0)
    }

    @Test("a processor that others want is given back")
    func preempted() {
        var spinner = Spinner(.automatic)
        spinner.learn(dense(50))
        for _ in 0..<100 { spinner.hit(5) }
        spinner.learn(dense(100, preemptions: 50))
        #expect(spinner.budget == 0)
    }

    @Test("a client on the same processor, which never comes meanwhile, costs a few pollings, ever more rarely")
    func sameProcessor() {
        var spinner = Spinner(.automatic)
        var polled: UInt64 = 0
        var tries = 0
        // A minute.
        for round in 0..<1_200 {
            spinner.learn(dense(Int64(round) * 50))
            if spinner.budget > 0 { tries += 1 }
            for _ in 0..<2_000 where spinner.budget > 0 {
                polled += spinner.budget
                spinner.miss(spinner.budget)
            }
        }
        #expect(tries >= 1 && tries <= 15, "tried \(tries) times")
        #expect(polled < 15_000, "\(polled) us of a minute")
    }
}
