// The programs that are measured: started, asked, looked at, stopped.

import Foundation
import Histogram

/// Why a run cannot go on.
struct BenchError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A running server.
final class Server {
    /// As in the results.
    let arm: String
    let socket: String
    let users: Int
    let rules: Int
    let process: Process

    init(arm: String, socket: String, users: Int, rules: Int, process: Process) {
        self.arm = arm
        self.socket = socket
        self.users = users
        self.rules = rules
        self.process = process
    }

    /// Ends it in good order.
    func stop() {
        process.terminate()
        process.waitUntilExit()
    }

    deinit { if process.isRunning { process.terminate() } }
}

/// What one run of the load told.
struct LoadReport: Decodable {
    var answers: Int
    var permitted: Double
    var cost_ns: Double
    var mean_ns: Double
    var server_ns: Double
    var client_ns: Double
    var median_ns: Double
    var p99_ns: Double
    var per_second: Double
}

/// A load to be put on a server.
struct Load {
    var connections = 1
    var depth = 1
    var seconds = 0.4
    /// Questions offered a second; nil for a closed loop.
    var rate: Double?
    var acrossProcessors = false
    /// Asked without being timed.
    var warmup = 0.1
    /// Types and actions of the tenant.
    var types = 12
    var actions = 8
}

/// Where the programs are and run.
struct Laboratory {
    /// Holds stile and stiled.
    let binaries: String
    /// Holds echo and load.
    let tools: String
    /// Holds the stores, by their names.
    let stores: String
    /// For sockets and samples; removed at the end.
    let work: String
    /// The server's processor; the client's is the same or the one before.
    let processor: Int

    // MARK: Servers

    /// Starts stiled on a store and waits for its socket.
    func stiled(
        _ arm: String, store: String, users: Int, rules: Int, _ extra: [String] = [],
        environment: [String: String] = [:]
    ) throws -> Server {
        let socket = "\(work)/\(UUID().uuidString.prefix(8)).sock"
        let log = "\(work)/\(arm.filter { $0.isLetter }).log"
        // Logs of decisions go with the run: two daemons on one store have each their own, and stores stay as they are.
        let decisions = try knows("--log-dir") ? ["--log-dir", "\(work)/decisions-\(UUID().uuidString.prefix(8))"] : []
        let process = try spawn(
            "\(binaries)/stiled",
            ["--store", "\(stores)/\(store)", "--socket", socket, "--reactors", "1", "--pin", "\(processor)"]
                + decisions + extra,
            errors: log, environment: environment)
        let server = Server(arm: arm, socket: socket, users: users, rules: rules, process: process)
        try waitFor(server, log)
        return server
    }

    /// Starts the floor with answers that a server has given.
    func floor(like server: Server) throws -> Server {
        let answers = "\(work)/answers"
        _ = try run("\(tools)/load", ["--socket", server.socket, "--users", "\(server.users)", "--record", answers])
        let socket = "\(work)/floor.sock"
        let process = try spawn("\(tools)/echo", [socket, answers, "\(processor)"], errors: "\(work)/floor.log")
        let floor = Server(arm: "floor", socket: socket, users: server.users, rules: 0, process: process)
        try waitFor(floor, "\(work)/floor.log")
        return floor
    }

    private func waitFor(_ server: Server, _ log: String) throws {
        let end = Date(timeIntervalSinceNow: 30)
        while !FileManager.default.fileExists(atPath: server.socket) {
            guard server.process.isRunning, Date() < end else {
                let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                throw BenchError("\(server.arm) did not start:\n\(said)")
            }
            usleep(2_000)
        }
    }

    // MARK: Loads

    /// Puts a load on a server.
    /// - Parameter histogram: gets the samples too.
    func measure(_ server: Server, _ load: Load, seed: Int, into histogram: inout Histogram<UInt64>) throws
        -> LoadReport
    {
        let samples = "\(work)/samples"
        try? FileManager.default.removeItem(atPath: samples)
        var arguments = [
            "--socket", server.socket, "--users", "\(server.users)", "--connections", "\(load.connections)",
            "--depth", "\(load.depth)", "--seconds", "\(load.seconds)", "--warmup", "\(load.warmup)",
            "--seed", "\(seed)", "--samples", samples, "--server", "\(server.process.processIdentifier)",
            "--processor", "\(load.acrossProcessors ? max(0, processor - 1) : processor)",
        ]
        arguments += ["--types", "\(load.types)", "--actions", "\(load.actions)"]
        if let rate = load.rate { arguments += ["--rate", "\(Int(rate))"] }
        let output = try run("\(tools)/load", arguments)
        try record(samples, into: &histogram)
        return try JSONDecoder().decode(LoadReport.self, from: output)
    }

    private func record(_ path: String, into histogram: inout Histogram<UInt64>) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        data.withUnsafeBytes { bytes in
            for offset in stride(from: 0, to: bytes.count - 3, by: 4) {
                let value = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                _ = histogram.record(UInt64(max(1, UInt32(littleEndian: value))))
            }
        }
    }

    // MARK: Looks

    /// Bytes of memory that are the server's alone. Pages of the store do not count: they are the kernel's cache of a
    /// file, shared by all processes, and are given back when memory is short.
    func privateBytes(_ server: Server) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(server.process.processIdentifier)/smaps", encoding: .utf8)
        var bytes = 0
        var isStore = false
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            if words.first?.hasSuffix(":") != true { isStore = line.hasSuffix("/data.mdb") }
            if !isStore, line.hasPrefix("Private_"), words.count > 1 { bytes += (Int(words[1]) ?? 0) * 1_024 }
        }
        return bytes
    }

    /// What the reactors of a server that was started under `count.so` have done so far.
    func counts(_ server: Server, _ path: String) throws -> (allocations: UInt64, releases: UInt64, locks: UInt64) {
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        var sum: (allocations: UInt64, releases: UInt64, locks: UInt64) = (0, 0, 0)
        for slot in stride(from: 0, to: data.count - 31, by: 32) {
            let words = data.withUnsafeBytes { bytes in
                (0..<4).map { bytes.loadUnaligned(fromByteOffset: slot + $0 * 8, as: UInt64.self) }
            }
            let comm = "/proc/\(server.process.processIdentifier)/task/\(words[0])/comm"
            guard words[0] != 0, let name = try? String(contentsOfFile: comm, encoding: .utf8),
                name.hasPrefix("reactor")
            else { continue }
            sum = (sum.allocations + words[1], sum.releases + words[2], sum.locks + words[3])
        }
        return sum
    }

    /// True when stiled takes this option.
    func knows(_ option: String) throws -> Bool {
        let help = try run("\(binaries)/stiled", ["--help"])
        return String(decoding: help, as: UTF8.self).contains(option)
    }

    // MARK: Processes

    func spawn(
        _ program: String, _ arguments: [String], errors: String, environment: [String: String] = [:]
    ) throws -> Process {
        let process = Process()
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        _ = FileManager.default.createFile(atPath: errors, contents: nil)
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
        return process
    }

    /// Runs a program to its end.
    /// - Returns: what it wrote.
    @discardableResult
    func run(_ program: String, _ arguments: [String]) throws -> Data {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw BenchError("\(program) \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
        }
        return output
    }
}
