// Measures Stile beside the floor and writes what it found.
//
//   bench run BINARIES TOOLS STORES RESULTS COMMIT    measures; QUICK=1 in the environment takes the short form
//   bench table RESULTS README                        puts the table into README.md
//
// BINARIES holds stile and stiled, TOOLS echo and load, STORES the tenants (run.sh makes them), RESULTS latest.json.

import Foundation

func fail(_ message: String, _ code: Int32) -> Never {
    FileHandle.standardError.write(Data((message + "\n").utf8))
    exit(code)
}

func run(_ arguments: [String]) throws {
    let environment = ProcessInfo.processInfo.environment
    let isQuick = environment["QUICK"].map { !$0.isEmpty } ?? false
    let work = FileManager.default.temporaryDirectory.path + "/stile-bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: work, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: work) }
    let laboratory = Laboratory(
        binaries: arguments[0], tools: arguments[1], stores: arguments[2], work: work,
        processor: environment["PROCESSOR"].flatMap { Int($0) } ?? ProcessInfo.processInfo.processorCount - 1)
    let bench = Bench(laboratory, rounds: isQuick ? 2 : 5)
    let hasMillion = FileManager.default.fileExists(atPath: "\(arguments[2])/users-1000000-rules-10000")
    var plan = Plan(bench, isQuick: isQuick, hasMillion: hasMillion)
    try plan.run()
    var notes = plan.notes
    if isQuick { notes.insert("short form: fewer rounds and points", at: 0) }
    var results = Results(
        machine: Machine.description, commit: arguments[4], date: ISO8601DateFormatter().string(from: Date()),
        notes: notes, figures: plan.figures, measurements: bench.measurements, peers: nil)
    if let peers = environment["PEERS_RESULTS"] {
        results.peers = try JSONDecoder().decode(
            [Results.Peer].self, from: Data(contentsOf: URL(fileURLWithPath: peers)))
    }
    try results.write("\(arguments[3])/latest.json")
    try Charts.write(results, to: arguments[3])
    tell(results)
}

func tell(_ results: Results) {
    print("")
    for figure in results.figures {
        let value = figure.value.map { String(format: "%10.3f", $0) } ?? "         -"
        let goal = figure.limit.map { "at most \(String(format: "%g", $0))" } ?? ""
        let mark = figure.isMet.map { $0 ? "  " : "! " } ?? "  "
        print(
            "\(mark)\(figure.name.padding(toLength: 42, withPad: " ", startingAt: 0)) \(value) "
                + "\(figure.unit.padding(toLength: 6, withPad: " ", startingAt: 0)) \(goal)")
    }
    for note in results.notes { print("  not measured: \(note)") }
}

let arguments = Array(CommandLine.arguments.dropFirst())
do {
    switch (arguments.first, arguments.count) {
    case ("run", 6): try run(Array(arguments.dropFirst()))
    case ("table", 3): try Table.insert(Results.read(arguments[1]), into: arguments[2])
    default: fail("usage: bench run BINARIES TOOLS STORES RESULTS COMMIT | bench table RESULTS README", 64)
    }
} catch {
    fail("\(error)", 70)
}
