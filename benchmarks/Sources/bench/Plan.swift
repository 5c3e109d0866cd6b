// What is measured, and the figures that come of it.

import Foundation

/// A run of all comparisons.
struct Plan {
    let bench: Bench
    /// The short form: fewer rounds, fewer points.
    let isQuick: Bool
    /// Stores with a million users are there.
    let hasMillion: Bool
    private var laboratory: Laboratory { bench.laboratory }
    private var slice: Double { isQuick ? 0.25 : 0.4 }
    private(set) var figures: [Results.Figure] = []
    private(set) var notes: [String] = []

    init(_ bench: Bench, isQuick: Bool, hasMillion: Bool) {
        self.bench = bench
        self.isQuick = isQuick
        self.hasMillion = hasMillion
    }

    /// Users and rules of the tenant that is meant where nothing else is said.
    static let users = 100_000
    static let rules = 200

    private mutating func figure(_ name: String, _ value: Double?, _ unit: String = "ratio", limit: Double? = nil) {
        figures.append(Results.Figure(name: name, value: value, unit: unit, limit: limit))
    }

    /// Runs everything.
    mutating func run() throws {
        say("One question after the other and many at once (\(Plan.users) users, \(Plan.rules) rules)")
        let base = try laboratory.stiled("stile", store: "users-100000", users: Plan.users, rules: Plan.rules)
        let floor = try laboratory.floor(like: base)
        defer {
            base.stop()
            floor.stop()
        }
        try depths(base, floor)
        say("Memory taken and locks on the way from frame to answer")
        try steadyState()
        say("Connections")
        try connections(base, floor)
        say("Client and server on two processors")
        let capacity = try acrossProcessors(base, floor)
        say("Offered load, on two processors")
        try offered(base, floor, capacity)
        say("Users")
        try users(floor)
        say("Rules")
        try rules(floor)
        say("Memory and start")
        try memoryAndStart()
    }

    private func say(_ text: String) {
        print(text)
        fflush(nil)
    }

    private func load(depth: Int, connections: Int = 1, acrossProcessors: Bool = false) -> Load {
        Load(connections: connections, depth: depth, seconds: slice, acrossProcessors: acrossProcessors)
    }

    /// For ratios that have a limit: many short slices in turns, for the machine changes its pace within seconds, and
    /// the ratio of two slices next to each other is what it takes no part in.
    private func steady(depth: Int) -> Load {
        Load(depth: depth, seconds: isQuick ? 0.25 : 0.15, warmup: 0.05)
    }
    private var steadyRounds: Int { isQuick ? 4 : 30 }

    // MARK: Comparisons

    /// Floor and Stile at several depths; with them Stile without its log and on sealed views, where it can.
    private mutating func depths(_ base: Server, _ floor: Server) throws {
        let depths = [1, 16, 64, 256]
        let bare = try unlogged()
        let sealed = try sealed()
        for server in [floor, base, bare, sealed].compactMap(\.self) { try warm(server) }
        defer {
            bare?.stop()
            sealed?.stop()
        }
        var results: [Int: [ArmResult]] = [:]
        for depth in depths {
            var servers = [floor, base]
            if depth == 1 || depth == 64 { servers += [bare, sealed].compactMap(\.self) }
            let isSteady = depth == 1 || depth == 64
            results[depth] = try bench.compare(
                "depth",
                servers.map { Arm(server: $0, load: isSteady ? steady(depth: depth) : load(depth: depth)) },
                // The tail at depth 1 needs the most samples.
                rounds: isSteady ? steadyRounds * (depth == 1 ? 2 : 1) : nil)
        }
        guard let one = results[1], let many = results[64] else { return }
        figure("socket_depth1_median_over_floor", one[1].over(one[0], \.median_ns), limit: 1.25)
        figure("socket_depth1_p99_over_floor", one[1].tail(over: one[0], 99), limit: 1.5)
        figure("socket_depth64_cost_over_floor", many[1].over(many[0], \.cost_ns), limit: 4)
        figure("socket_depth1_median_us", one[1].median(\.median_ns) / 1_000, "us")
        figure("floor_depth1_median_us", one[0].median(\.median_ns) / 1_000, "us")
        figure("socket_depth64_questions_per_second", many[1].median(\.per_second), "1/s")
        figure("server_depth64_ns", many[1].median(\.server_ns), "ns")
        func arm(_ name: String, _ list: [ArmResult]) -> ArmResult? { list.first { $0.arm.server.arm == name } }
        figure("log_on_over_off_depth1", arm("stile, log off", one).map { one[1].over($0, \.median_ns) })
        figure("log_on_over_off_depth64", arm("stile, log off", many).map { many[1].over($0, \.cost_ns) })
        figure("sealed_over_plain_depth1", arm("stile, sealed", one).map { $0.over(one[1], \.median_ns) }, limit: 1.1)
        figure("sealed_over_plain_depth64", arm("stile, sealed", many).map { $0.over(many[1], \.cost_ns) })
    }

    /// Stile without its decision log.
    private mutating func unlogged() throws -> Server? {
        guard try laboratory.knows("--log-dir") else {
            notes.append("log on and off: this stiled has no decision log")
            return nil
        }
        return try laboratory.stiled(
            "stile, log off", store: "users-100000", users: Plan.users, rules: Plan.rules, ["--log", "off"])
    }

    /// Stile on views that are sealed at rest.
    private mutating func sealed() throws -> Server? {
        guard FileManager.default.fileExists(atPath: "\(laboratory.stores)/users-100000-sealed") else {
            notes.append("sealed views: no such store")
            return nil
        }
        return try laboratory.stiled(
            "stile, sealed", store: "users-100000-sealed", users: Plan.users, rules: Plan.rules)
    }

    /// Counts what the reactor's thread takes of memory and locks while it answers, with a library that stands before
    /// the C library. The first load warms up; the second, on a connection of its own, is counted.
    private mutating func steadyState() throws {
        let path = "\(laboratory.work)/counts"
        let server = try laboratory.stiled(
            "stile, counted", store: "users-100000", users: Plan.users, rules: Plan.rules,
            environment: ["LD_PRELOAD": "\(laboratory.tools)/count.so", "STILE_COUNTS": path])
        defer { server.stop() }
        let load = Load(depth: 64, seconds: isQuick ? 0.5 : 2)
        var histogram = ArmResult(arm: Arm(server: server, load: load)).histogram
        _ = try laboratory.measure(server, load, seed: 1, into: &histogram)
        let before = try laboratory.counts(server, path)
        let report = try laboratory.measure(server, load, seed: 2, into: &histogram)
        let after = try laboratory.counts(server, path)
        let answers = Double(report.answers)
        let allocations = after.allocations - before.allocations
        let locks = after.locks - before.locks
        figure("reactor_allocations_per_answer", Double(allocations) / answers, "count", limit: 0.001)
        figure("reactor_locks_per_answer", Double(locks) / answers, "count", limit: 0.001)
        print(
            "  \(report.answers) answers on a new connection: \(allocations) allocations, "
                + "\(after.releases - before.releases) releases, \(locks) locks")
    }

    private func connections(_ base: Server, _ floor: Server) throws {
        for connections in [16, 256] {
            for depth in [1, 16] {
                let load = load(depth: depth, connections: connections)
                _ = try bench.compare("connections", [Arm(server: floor, load: load), Arm(server: base, load: load)])
            }
        }
    }

    /// - Returns: questions a second that each server takes at most.
    private func acrossProcessors(_ base: Server, _ floor: Server) throws -> [Double] {
        var most = [0.0, 0.0]
        for (connections, depth) in isQuick ? [(1, 1), (16, 16)] : [(1, 1), (1, 64), (16, 1), (16, 16)] {
            let load = load(depth: depth, connections: connections, acrossProcessors: true)
            let results = try bench.compare(
                "two processors", [Arm(server: floor, load: load), Arm(server: base, load: load)])
            for index in most.indices { most[index] = max(most[index], results[index].median(\.per_second)) }
        }
        return most
    }

    /// The same rates for both, as shares of what Stile can take, and beyond.
    private func offered(_ base: Server, _ floor: Server, _ capacity: [Double]) throws {
        for share in isQuick ? [0.5, 0.9] : [0.1, 0.25, 0.5, 0.75, 0.9] {
            let load = Load(
                connections: 16, depth: 1, seconds: isQuick ? 0.5 : 1.5, rate: capacity[1] * share,
                acrossProcessors: true)
            _ = try bench.compare(
                "offered load", [Arm(server: floor, load: load), Arm(server: base, load: load)], rounds: 2)
        }
    }

    /// Asks a server about its users before it is timed: a daemon runs for months, and what the first question about each
    /// of them costs in pages that are not mapped yet is in `start_to_first_answer_s` and the tails after a start.
    private func warm(_ server: Server, types: Int = 12, actions: Int = 8) throws {
        var load = Load(depth: 64, seconds: max(0.5, Double(server.users) / 150_000), warmup: 0)
        load.types = types
        load.actions = actions
        var histogram = ArmResult(arm: Arm(server: server, load: load)).histogram
        _ = try laboratory.measure(server, load, seed: 99, into: &histogram)
    }

    /// The same servers at depth 1 and at depth 64.
    private func steadyPair(
        _ series: String, _ servers: [Server], types: Int = 12, actions: Int = 8
    ) throws -> ([ArmResult], [ArmResult]) {
        for server in servers { try warm(server, types: types, actions: actions) }
        func compare(depth: Int) throws -> [ArmResult] {
            var load = steady(depth: depth)
            load.types = types
            load.actions = actions
            return try bench.compare(series, servers.map { Arm(server: $0, load: load) }, rounds: steadyRounds)
        }
        return (try compare(depth: 1), try compare(depth: 64))
    }

    private mutating func users(_ floor: Server) throws {
        let counts = hasMillion ? [10_000, 100_000, 1_000_000] : [10_000, 100_000]
        var servers = [floor]
        for count in counts {
            servers.append(
                try laboratory.stiled("stile, \(count) users", store: "users-\(count)", users: count, rules: Plan.rules)
            )
        }
        defer { for server in servers.dropFirst() { server.stop() } }
        let (one, many) = try steadyPair("users", servers)
        let last = hasMillion ? 3 : nil
        if !hasMillion { notes.append("one million users: no such store; run without QUICK first") }
        figure(
            "socket_depth64_1m_users_cost_over_floor", last.map { many[$0].over(many[0], \.cost_ns) }, limit: 8)
        figure("users_10k_to_1m_growth", last.map { one[$0].over(one[1], \.median_ns) }, limit: 1.3)
        figure("users_10k_to_1m_growth_depth64", last.map { many[$0].over(many[1], \.cost_ns) })
    }

    private mutating func rules(_ floor: Server) throws {
        var servers = [floor]
        for count in [100, 200, 1_000, 10_000] {
            servers.append(
                try laboratory.stiled(
                    "stile, \(count) rules", store: "rules-\(count)", users: Plan.users, rules: count))
        }
        defer { for server in servers.dropFirst() { server.stop() } }
        let (one, many) = try steadyPair("rules", servers, types: 4, actions: 3)
        figure("rules_100_to_10000_growth", many[4].over(many[1], \.cost_ns), limit: 1.2)
        figure("rules_100_to_10000_growth_depth1", one[4].over(one[1], \.median_ns))
    }

    /// The largest tenant: how soon after its start it answers, and how much memory it takes with 256 connections.
    private mutating func memoryAndStart() throws {
        let count = hasMillion ? 1_000_000 : 100_000
        let store = hasMillion ? "users-1000000-rules-10000" : "rules-10000"
        var starts: [Double] = []
        var memory: [Double] = []
        for _ in 0..<3 {
            let begun = Date()
            let server = try laboratory.stiled("stile, start", store: store, users: count, rules: 10_000)
            defer { server.stop() }
            let once = Load(seconds: 0.000_001, warmup: 0)
            var histogram = ArmResult(arm: Arm(server: server, load: once)).histogram
            _ = try laboratory.measure(server, once, seed: 1, into: &histogram)
            starts.append(Date().timeIntervalSince(begun))
            var crowd = load(depth: 16, connections: 256)
            if !hasMillion { (crowd.types, crowd.actions) = (4, 3) }
            _ = try laboratory.measure(server, crowd, seed: 2, into: &histogram)
            memory.append(Double(try laboratory.privateBytes(server)) / Double(1 << 20))
        }
        figure("private_memory_mb", hasMillion ? middle(memory) : nil, "MiB", limit: 64)
        figure("start_to_first_answer_s", hasMillion ? middle(starts) : nil, "s", limit: 1)
        print(
            "  \(count) users, 10000 rules: first answer after \(String(format: "%.2f s", middle(starts))), "
                + "private memory \(String(format: "%.1f MiB", middle(memory)))")
    }
}
