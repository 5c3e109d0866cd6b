// `engine-bench`: what a decision and a compilation cost, in process, without socket and store.

import ArgumentParser
import DecisionEngine
import Glibc
import PolicyLanguage

struct EngineBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine-bench",
        abstract: "Measure deciding and compiling in process; `make bench-engine` and `make bench-compile` use it.",
        subcommands: [ExportCommand.self, DecideCommand.self, CompileCommand.self, ProfileCommand.self])
}

/// The seed of everything that is made up.
let benchSeed: UInt64 = 20_261_123

/// A number with so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String {
    let scale = pow(10, Double(digits))
    let whole = Int64((abs(value) * scale).rounded())
    let sign = value < 0 ? "-" : ""
    if digits == 0 { return "\(sign)\(whole)" }
    let fraction = String(whole % Int64(scale))
    return "\(sign)\(whole / Int64(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// The business of the peers' comparison.
func business(rules: Int, requests: Int = 20_000) -> Business {
    Business(rules: rules, users: 100_000, resources: 3_000, requests: requests, seed: benchSeed)
}

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the business tenant and its requests for Cedar and Rego, with Stile's answers beside them.")

    @Argument(help: "The directory to write to.")
    var directory: String

    @Option(help: "Rules of the tenant.")
    var rules = 200

    func run() throws {
        let business = business(rules: rules)
        let tenant = try Tenant(business.files)
        let world = try business.world(tenant.program)
        let peers = BusinessPeers(business: business)
        try write("policies.cedar", peers.cedarPolicies)
        try write("policies.rego", peers.regoPolicies)
        try stream("entities.jsonl", lines: true, peers.cedarEntities)
        try stream("data.json", lines: false, peers.regoData)
        try stream("requests.jsonl", lines: true) { line in
            for request in business.requests { line(peers.request(request)) }
        }
        var answers = ""
        var permitted = 0
        for (number, request) in business.requests.enumerated() {
            let verdict = world.decide(number)
            let isPermitted = verdict.kind == .permitted
            guard verdict.kind != .error, isPermitted == business.isPermitted(request) else {
                throw BenchError("request \(number) \(request): Stile says \(verdict), \(world.decidingRules)")
            }
            permitted += isPermitted ? 1 : 0
            answers += isPermitted ? "1\n" : "0\n"
        }
        try write("answers.txt", answers)
        print("{\"rules\":\(rules),\"requests\":\(business.requests.count),\"permitted\":\(permitted)}")
    }

    private func write(_ name: String, _ text: String) throws {
        try stream(name, lines: false) { $0(text) }
    }

    private func stream(_ name: String, lines: Bool, _ body: ((String) -> Void) -> Void) throws {
        guard let file = unsafe fopen("\(directory)/\(name)", "w") else {
            throw BenchError("cannot write \(directory)/\(name)")
        }
        var isWritten = true
        body { text in
            isWritten = unsafe fputs(text, file) >= 0 && isWritten
            if lines { isWritten = unsafe fputs("\n", file) >= 0 && isWritten }
        }
        guard unsafe fclose(file) == 0, isWritten else { throw BenchError("cannot write \(directory)/\(name)") }
    }
}

struct DecideCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decide", abstract: "Time single decisions of the hospital and of the business.",
        discussion: """
            Each decision is timed alone. A decision is: from the subject's and the resource's views to the answer; groups of
            the policies that the subject is in are worked out within it. "random" takes requests in random order, so that the
            views' bytes come from memory as often as they would on a server, while the question itself is hot, as if its
            frame had just been read; "with_lookup" adds finding the views by id; "warm" asks 64 requests again and again.

            The sizes of a tenant are asked in \(Turns.count) turns of \(Turns.questions) requests each, so that a machine that drifts
            drifts for all of them. "growth" is the median over the turns of the largest tenant's median by the smallest's in
            the same turn.
            """)

    func run() throws {
        let clock = Clock()
        let hospitals = try [1, 3, 10, 30, 100, 300].map { departments in
            let hospital = Hospital(departments: departments)
            let tenant = try Tenant(hospital.files)
            let world = hospital.world(tenant.program, requests: 10_000, seed: benchSeed)
            return Stage("hospital_\(departments)", tenant, world)
        }
        tell(hospitals, "hospital", clock)
        let businesses = try [200, 1_000, 5_000].map { rules in
            let business = business(rules: rules)
            let tenant = try Tenant(business.files)
            return Stage("business_\(rules)", tenant, try business.world(tenant.program))
        }
        tell(businesses, "business", clock)
    }

    /// Measures the sizes of one tenant, the smallest first, and tells what was found.
    private func tell(_ stages: [Stage], _ name: String, _ clock: Clock) {
        let random = Turns.measure(stages, .decision, clock) { stage, order in
            order.map { _ in stage.random.below(stage.world.questions.count) }
        }
        let whole = Turns.measure(stages, .lookUpAndDecision, clock) { stage, order in
            order.map { _ in stage.random.below(stage.world.questions.count) }
        }
        let warm = Turns.measure(stages, .decision, clock) { stage, order in
            order.map { $0 % min(64, stage.world.questions.count) }
        }
        for (index, stage) in stages.enumerated() {
            tell(stage, random[index], whole[index].all, warm[index].all)
        }
        if let small = random.first, let large = random.last {
            EngineBench.tell("\(name)_growth", large.growth(over: small), "ratio")
        }
    }

    private func tell(_ stage: Stage, _ random: Turns, _ whole: Distribution, _ warm: Distribution) {
        let (name, tenant, world) = (stage.name, stage.tenant, stage.world)
        let permitted = Double(stage.kinds[.permitted, default: 0]) / Double(max(1, world.questions.count))
        EngineBench.tell("\(name)_rules", Double(tenant.program.policies.rules.count), "rules")
        EngineBench.tell("\(name)_random_median_ns", random.all.median, "ns")
        EngineBench.tell("\(name)_random_p99_ns", random.all.p99, "ns")
        EngineBench.tell("\(name)_random_mean_ns", random.all.mean, "ns")
        EngineBench.tell("\(name)_warm_median_ns", warm.median, "ns")
        EngineBench.tell("\(name)_with_lookup_median_ns", whole.median, "ns")
        EngineBench.tell("\(name)_allocations", Double(random.allocations), "allocations in 200,000 decisions")
        EngineBench.tell("\(name)_permitted", permitted, "share")
        EngineBench.tell("\(name)_different", Double(world.differences(of: 200)), "of 200 questions")
        EngineBench.tell("\(name)_errors", Double(stage.kinds[.error, default: 0]), "questions")
        EngineBench.tell("\(name)_image_bytes", Double(tenant.program.sizeInBytes), "bytes")
        EngineBench.tell("\(name)_check_s", tenant.checkSeconds, "s")
        EngineBench.tell("\(name)_compile_s", tenant.compileSeconds, "s")
    }
}

extension EngineBench {
    /// One figure as a JSON line on standard output.
    static func tell(_ name: String, _ value: Double, _ unit: String) {
        print("{\"name\":\"\(name)\",\"value\":\(decimal(value, 6)),\"unit\":\"\(unit)\"}")
    }
}

struct CompileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compile",
        abstract: "Check and compile growing policies, ordinary and adversarial; time, size, decisions.")

    @Option(help: "A file for the plot (SVG).")
    var plot: String?

    @Option(help: "The largest n.")
    var largest = 10_000

    func run() throws {
        let clock = Clock()
        var times: [Series] = []
        var sizes: [Series] = []
        var decisions: [Series] = []
        note(
            "family             n      text       check     compile       image   bytes/text    decision   allocations")
        let counts = [10, 100, 1_000, 10_000].filter { $0 <= largest }
        for family in Family.all {
            var time = Series(name: family.title, points: [])
            var size = Series(name: family.title, points: [])
            var decision = Series(name: family.title, points: [])
            for count in counts {
                let tenant = try Tenant(family.files(count), runs: count < 1_000 ? 5 : 2)
                let world = World(tenant.program, groups: Family.groups(tenant.program), capacity: 8 << 20)
                var random = Random(seed: benchSeed)
                family.ask(world, count, &random)
                let order = (0..<10_000).map { _ in random.below(world.questions.count) }
                _ = world.measure(order, .decision)
                let (ticks, allocations) = world.measure(order, .decision)
                let median = Distribution(ticks: ticks, clock).median
                row(family.name, count, tenant, median, allocations)
                guard world.differences(of: 20) == 0 else {
                    throw BenchError("\(family.name) with \(count): the reference answers otherwise")
                }
                time.points.append((count, tenant.checkSeconds + tenant.compileSeconds))
                size.points.append((count, Double(tenant.program.sizeInBytes)))
                decision.points.append((count, median))
            }
            EngineBench.tell("compile_\(family.name)_time_exponent", time.exponent(from: 100), "exponent")
            EngineBench.tell("compile_\(family.name)_size_exponent", size.exponent(from: 100), "exponent")
            EngineBench.tell("decide_\(family.name)_exponent", decision.exponent(from: 100), "exponent")
            if let last = time.points.last { EngineBench.tell("compile_\(family.name)_\(last.n)_s", last.value, "s") }
            times.append(time)
            sizes.append(size)
            decisions.append(decision)
        }
        let tenant = try Tenant(
            Business(rules: largest, users: 1, resources: 12, requests: 0, seed: benchSeed).files, runs: 3)
        row("business", largest, tenant, 0, 0)
        EngineBench.tell("check_\(largest)_rules_s", tenant.checkSeconds, "s")
        EngineBench.tell("compile_\(largest)_rules_s", tenant.checkSeconds + tenant.compileSeconds, "s")
        if let plot {
            let text = Plot.file([
                Plot(title: "check and compile", unit: "s", series: times),
                Plot(title: "size of the image", unit: "B", series: sizes),
                Plot(title: "median decision", unit: "ns", series: decisions),
            ])
            guard let file = unsafe fopen(plot, "w") else { throw BenchError("cannot write \(plot)") }
            let isWritten = unsafe fputs(text, file) >= 0
            guard unsafe fclose(file) == 0, isWritten else { throw BenchError("cannot write \(plot)") }
        }
    }

    private func row(_ name: String, _ count: Int, _ tenant: Tenant, _ median: Double, _ allocations: UInt64) {
        let image = tenant.program.sizeInBytes
        let cells = [
            pad(name, 12, left: true), pad("\(count)", 8), pad("\(tenant.sourceBytes) B", 12),
            pad("\(decimal(tenant.checkSeconds * 1e3, 2)) ms", 12),
            pad("\(decimal(tenant.compileSeconds * 1e3, 2)) ms", 12),
            pad("\(image) B", 12), pad(decimal(Double(image) / Double(max(1, tenant.sourceBytes)), 2), 9),
            pad("\(decimal(median, 0)) ns", 14), pad("\(allocations)", 8),
        ]
        note(cells.joined())
    }

    private func pad(_ text: String, _ width: Int, left: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.utf8.count))
        return left ? text + space : space + text
    }

    /// The table goes to standard error, beside the figures.
    private func note(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = unsafe bytes.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
    }
}

struct ProfileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Decide for a while and nothing else: for perf and callgrind.")

    @Argument(help: "hospital or business.")
    var scenario: String

    @Option(help: "Departments of the hospital, or rules of the business.")
    var size = 200

    @Option(help: "Decisions.")
    var decisions = 5_000_000

    func run() throws {
        let world: World
        if scenario == "hospital" {
            let hospital = Hospital(departments: size)
            world = hospital.world(try Tenant(hospital.files).program, requests: 10_000, seed: benchSeed)
        } else {
            let business = business(rules: size)
            world = try business.world(try Tenant(business.files).program)
        }
        var sum = 0
        for number in 0..<decisions { sum &+= Int(world.decide(number % world.questions.count).kind.rawValue) }
        print("{\"decisions\":\(decisions),\"check\":\(sum)}")
    }
}

EngineBench.main()
