// The machine and the source, as told beside every figure.

import Foundation

/// What a run ran on.
enum Machine {
    /// Processor, number, memory, kernel, distribution.
    static var description: String {
        let cpu = field("/proc/cpuinfo", "model name") ?? "unknown processor"
        let memory = (field("/proc/meminfo", "MemTotal") ?? "0").split(separator: " ").first.flatMap { Int($0) } ?? 0
        let kernel = (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)) ?? "?"
        let isVirtual = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.contains("hypervisor") ?? false
        let system = field("/etc/os-release", "PRETTY_NAME", separator: "=")?.filter { $0 != "\"" } ?? "Linux"
        return "\(cpu), \(ProcessInfo.processInfo.processorCount) \(isVirtual ? "virtual " : "")processors, "
            + "\((memory + 524_288) / 1_048_576) GiB, Linux \(kernel.split(separator: "\n").first ?? "?"), \(system)"
    }

    private static func field(_ path: String, _ name: String, separator: Character = ":") -> String? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            let parts = line.split(separator: separator, maxSplits: 1)
            if parts.count == 2 { return parts[1].trimmingCharacters(in: .whitespaces) }
        }
        return nil
    }
}
