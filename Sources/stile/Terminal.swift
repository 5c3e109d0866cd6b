// What the commands share: files, standard streams, colours, exit codes. Glibc alone, so that the tool stays small.

import ArgumentParser
import AttributeStore
import Glibc
import PolicyLanguage

/// Exit codes (sysexits(3) where one fits).
enum Exit {
    static let findings = ExitCode(1)
    static let stepUp = ExitCode(2)
    static let questionError = ExitCode(3)
    static let notProven = ExitCode(4)
    static let coverage = ExitCode(5)
    static let differs = ExitCode(6)
    static let data = ExitCode(65)
    static let noInput = ExitCode(66)
    static let unavailable = ExitCode(69)
    static let store = ExitCode(70)
}

/// Standard streams.
enum Terminal {
    /// True when standard output is a terminal and NO_COLOR is not set (https://no-color.org).
    static let usesColor = unsafe getenv("NO_COLOR") == nil && writesToTerminal
    static let writesToTerminal = isatty(1) == 1
    /// True when progress can be shown on standard error.
    static let showsProgress = isatty(2) == 1

    static func error(_ message: String) { write("stile: \(message)\n", to: 2) }

    /// Says what went wrong and ends with a code.
    static func failure(_ message: String, _ code: ExitCode) -> ExitCode {
        error(message)
        return code
    }

    static func write(_ text: String, to descriptor: Int32 = 1) { write(Array(text.utf8), to: descriptor) }

    static func write(_ bytes: [UInt8], to descriptor: Int32 = 1) {
        unsafe bytes.withUnsafeBytes { buffer in
            var sent = 0
            while sent < buffer.count {
                let start = sent
                let count = unsafe Glibc.write(
                    descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start)
                if count <= 0 { return }
                sent += count
            }
        }
    }

    static func paint(_ text: String, _ style: String) -> String {
        usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text
    }

    /// A line on standard error that is written over by the next.
    static func progress(_ text: String, isLast: Bool = false) {
        if showsProgress { write("\r\u{1b}[K\(text)\(isLast ? "\n" : "")", to: 2) }
    }

    static var nowMilliseconds: Int64 {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec / 1_000_000)
    }
}

/// Files and folders.
enum Files {
    /// - Parameter limit: bytes; a larger file, or one without end, is refused.
    static func read(_ path: String, limit: Int) throws(ExitCode) -> [UInt8] {
        let descriptor = path == "-" ? 0 : unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Terminal.failure("cannot read \(path): \(reason)", Exit.noInput) }
        defer { if descriptor > 0 { close(descriptor) } }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 { throw Terminal.failure("cannot read \(path): \(reason)", Exit.noInput) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            if bytes.count > limit { throw Terminal.failure("\(path) has more than \(limit) bytes", Exit.data) }
        }
    }

    /// A policy file's text. What is above the language's limit by little is told by the checker.
    static func text(_ path: String) throws(ExitCode) -> String {
        guard let text = String(validating: try read(path, limit: 4 * LanguageLimits.maxFileBytes), as: UTF8.self)
        else {
            throw Terminal.failure("\(path) is not UTF-8: save it as UTF-8", Exit.data)
        }
        return text
    }

    /// Replaces a file in one step.
    static func write(_ text: String, to path: String) throws(ExitCode) {
        let temporary = "\(path).new"
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Terminal.failure("cannot write \(path): \(reason)", Exit.data) }
        Terminal.write(text, to: descriptor)
        close(descriptor)
        guard unsafe rename(temporary, path) == 0 else {
            throw Terminal.failure("cannot replace \(path): \(reason)", Exit.data)
        }
    }

    static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return unsafe stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// The absolute path that relative ones start from.
    static var currentDirectory: String {
        guard let path = unsafe getcwd(nil, 0) else { return "/" }
        defer { unsafe free(path) }
        return unsafe String(cString: path)
    }

    /// Names in a directory, sorted.
    static func list(_ path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The policy files of a folder, or the files given.
    static func policies(_ paths: [String]) throws(ExitCode) -> [SourceFile] { try policyPaths(paths).map(\.file) }

    /// The policy files of a folder, or the files given, each with its path.
    static func policyPaths(_ paths: [String]) throws(ExitCode) -> [(path: String, file: SourceFile)] {
        var files: [(path: String, file: SourceFile)] = []
        for path in paths {
            if isDirectory(path) {
                let names = list(path).filter { $0.hasSuffix(".stile") }
                if names.isEmpty {
                    throw Terminal.failure("\(path) holds no .stile files: name a tenant's folder", Exit.noInput)
                }
                for name in names {
                    let inner = "\(path)/\(name)"
                    // Of two folders, files can have the same name: then it is the path that tells them apart.
                    let isTaken = files.contains { $0.file.name == name }
                    files.append((inner, SourceFile(name: isTaken ? inner : name, text: try text(inner))))
                }
            } else {
                files.append((path, SourceFile(name: path, text: try text(path))))
            }
        }
        return files
    }

    /// A directory of our own that nobody else can enter.
    /// - Parameter inMemory: nothing in it is to reach a disk, where the system has such a place.
    static func temporaryDirectory() throws(ExitCode) -> String {
        var base = "/tmp"
        if let value = unsafe getenv("TMPDIR") { base = unsafe String(cString: value) }
        var template = Array("\(base)/stile-\(String(repeating: "X", count: 6))".utf8CString)
        let made: String? = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let path = unsafe mkdtemp(base) else { return nil }
            return unsafe String(cString: path)
        }
        guard let made else { throw Terminal.failure("cannot make a directory in \(base): \(reason)", Exit.store) }
        return made
    }

    /// Removes a directory and all in it.
    static func removeAll(_ path: String) {
        for name in list(path) {
            let inner = "\(path)/\(name)"
            if isDirectory(inner) { removeAll(inner) } else { _ = unsafe unlink(inner) }
        }
        _ = unsafe rmdir(path)
    }

    private static var reason: String { unsafe String(cString: strerror(errno)) }
}

/// Turns the store's refusals into messages and exit codes.
func withStore<Result: ~Copyable>(_ body: () throws(StoreError) -> Result) throws(ExitCode) -> Result {
    do throws(StoreError) {
        return try body()
    } catch {
        throw report(error)
    }
}

/// Writes what the store said.
func report(_ error: StoreError, files: [SourceFile] = []) -> ExitCode {
    if !error.diagnostics.isEmpty {
        Terminal.write(DiagnosticRenderer(files: files, usesColor: false).render(error.diagnostics), to: 2)
    }
    Terminal.error(error.description)
    switch error.code {
    case .valueInvalid, .idInvalid, .groupCycle, .unknownEntityType, .unknownSignal, .policiesRejected, .tenantInvalid,
        .tenantExists, .budgetExceeded:
        return Exit.data
    case .storeMissing, .tenantUnknown, .versionUnknown, .grantUnknown: return Exit.noInput
    case .grantEnded: return Exit.findings
    default: return Exit.store
    }
}
