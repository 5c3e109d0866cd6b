// Analyses are bounded, for all and for each tenant, and end when the gateway does.

import HTTPTypes
import Synchronization
import Testing

@testable import GatewayCore

@Suite struct AnalysisWorkTests {
    /// An analysis that takes until it is ended.
    private final class Endless: Sendable {
        let isEnded = Atomic<Bool>(false)
        let hasBegun = Atomic<Bool>(false)

        func end() { isEnded.store(true, ordering: .releasing) }

        func run(in work: AnalysisWork, of tenant: String) async throws -> Bool {
            try await work.run(of: tenant, endingBy: { self.end() }) {
                self.hasBegun.store(true, ordering: .releasing)
                while !self.isEnded.load(ordering: .acquiring) {}
                return true
            }
        }
    }

    private func work() -> AnalysisWork {
        var limits = GatewayLimits()
        limits.maxAnalyses = 1
        limits.maxWaitingAnalyses = 0
        limits.maxAnalysesOfTenant = 1
        return AnalysisWork(limits)
    }

    private func code(_ work: AnalysisWork, _ tenant: String) async -> Int {
        do {
            _ = try await work.run(of: tenant, endingBy: {}) { 0 }
            return 200
        } catch {
            return (error as? GatewayError)?.status.code ?? 0
        }
    }

    @Test func aTenantAndAllTogetherAreBounded() async throws {
        let work = work()
        let endless = Endless()
        async let one = endless.run(in: work, of: "a")
        while !endless.hasBegun.load(ordering: .acquiring) { await Task.yield() }
        #expect(await code(work, "a") == 429)
        #expect(await code(work, "b") == 503)
        endless.end()
        #expect(try await one)
        #expect(await code(work, "a") == 200)
        #expect(await code(work, "b") == 200)
        await work.stop()
    }

    @Test func stoppingEndsWhatIsUnderWay() async throws {
        let work = work()
        let endless = Endless()
        async let one = endless.run(in: work, of: "a")
        while !endless.hasBegun.load(ordering: .acquiring) { await Task.yield() }
        await work.stop()
        #expect(try await one)
        #expect(await code(work, "a") == 503)
    }

    @Test func aTaskThatIsCancelledEndsItsAnalysis() async throws {
        let work = work()
        let endless = Endless()
        let task = Task { try await endless.run(in: work, of: "a") }
        while !endless.hasBegun.load(ordering: .acquiring) { await Task.yield() }
        task.cancel()
        #expect(try await task.value)
        await work.stop()
    }
}
