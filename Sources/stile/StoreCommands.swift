// What an operator uses: tenants, data, versions of policies, integrity, status.

import ArgumentParser
import AttributeStore
import DecisionProtocol
import Glibc
import LanguageTools
import PolicyAnalysis
import PolicyLanguage
import PolicyTesting
import StileClient
import StrictJSON

/// Who is at the keyboard.
enum Operator {
    static var name: String {
        for variable in ["SUDO_USER", "USER", "LOGNAME"] {
            if let value = unsafe getenv(variable) { return unsafe String(cString: value) }
        }
        return "uid \(getuid())"
    }
}

struct TenantCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tenant", abstract: "Create, list and delete tenants, say who may ask about them and how much.",
        subcommands: [
            Create.self, List.self, Allow.self, Limit.self, SealTenant.self, RewrapTenant.self, Delete.self,
        ])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a tenant; the store too, when it is not there.")

        @Argument(help: "The tenant's id: a-z, 0-9 and -.")
        var id: String

        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        @Option(name: .customLong("allow-user"), help: "A user id of the system that may ask; repeat for several.")
        var allowUser: [UInt32] = []

        @Option(
            name: .customLong("min-coverage"),
            help: "Per cent of rules and of conditions that a version's tests must reach before it may decide.")
        var minCoverage = 0

        @Flag(help: "Seal what the store will hold of the tenant: see `stile tenant seal --help`.")
        var sealed = false

        func validate() throws {
            guard (0...100).contains(minCoverage) else { throw ValidationError("--min-coverage is from 0 to 100") }
        }

        func run() throws {
            try withStore { () throws(StoreError) in
                try Store(path: store).createTenant(
                    id,
                    TenantRecord(
                        created: Terminal.nowMilliseconds, allowedUsers: allowUser, minCoverage: minCoverage),
                    isSealed: sealed)
            }
            print("tenant \(id) created in \(store)")
            if sealed { print("its key is \(Store(path: store).keyPath(id)): keep a copy elsewhere") }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the tenants.")

        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        @OptionGroup var output: OutputOptions

        func run() throws {
            let tenants = try withStore { () throws(StoreError) -> [(id: String, record: TenantRecord)] in
                try Store(path: store).tenants()
            }
            for (id, record) in tenants {
                if output.json {
                    print(
                        JSONValue.object([
                            "id": .string(id), "created": .string(Instant.format(record.created)),
                            "allowed_users": .array(record.allowedUsers.map { .integer($0) }),
                            "sealed": .bool(!record.sealing.isEmpty),
                        ]).compact)
                } else {
                    let seal = record.sealing.isEmpty ? "" : "  sealed"
                    print("\(id)  created \(Instant.format(record.created))\(seal)")
                }
            }
        }
    }

    struct Allow: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say which users of the system may ask about a tenant, in place of those before.",
            discussion: "Root and the daemon's own user always may. The daemon follows within a second.")

        @Argument(help: "The tenant's id.")
        var id: String

        @Argument(help: "User ids; none allows nobody else.")
        var users: [UInt32] = []

        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        func run() throws {
            let store = Store(path: store)
            try withStore { () throws(StoreError) in
                try store.updateTenant(id) { $0.allowedUsers = users }
            }
            print(
                "tenant \(id) may be asked about by \(users.isEmpty ? "nobody else" : users.map(String.init).joined(separator: ", "))"
            )
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a tenant with all its data, for ever.")

        @Argument(help: "The tenant's id.")
        var id: String

        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        @Flag(help: "Needed, because nothing brings the data back.")
        var yes = false

        func validate() throws {
            guard yes else { throw ValidationError("this deletes all data of \(id): add --yes") }
        }

        func run() throws {
            try withStore { () throws(StoreError) in try Store(path: store).deleteTenant(id) }
            print("tenant \(id) deleted")
        }
    }
}

struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Record users, groups, sessions, devices, signals and resources from JSON Lines.",
        discussion: """
            A line is a SCIM User or Group, or an object with one member: subject, resource, session, device, signal, \
            members or delete. What is acknowledged is durable, and every later decision respects it. A wrong line \
            undoes its batch and stops; the batches before it stay.
            """)

    @OptionGroup var options: TenantOptions

    @Argument(help: "Files of JSON Lines; - is standard input.")
    var files: [String] = ["-"]

    @Option(help: "Lines in one transaction.")
    var batch = 1_000

    @Flag(help: "Make each line durable alone and acknowledge it with a line on standard output.")
    var each = false

    func validate() throws {
        guard (1...StoreLimits.maxBatch).contains(batch) else {
            throw ValidationError("--batch must be from 1 to \(StoreLimits.maxBatch)")
        }
    }

    func run() throws {
        let store = Store(path: options.store, mapSize: options.mapSize << 20)
        var writer = try withStore { () throws(StoreError) -> TenantWriter in
            try TenantWriter(store, tenant: options.tenant)
        }
        var loader = Loader(batch: batch, isEach: each, isQuiet: false)
        for file in files { try loader.load(file, &writer) }
        if !each { print("\(loader.count) changes recorded") }
    }
}

/// Reads lines and appends them in batches.
struct Loader {
    let batch: Int
    let isEach: Bool
    let isQuiet: Bool
    private(set) var count = 0
    private var pending: [Change] = []
    private var pendingLines: [Int] = []

    init(batch: Int, isEach: Bool, isQuiet: Bool) {
        self.batch = isEach ? 1 : batch
        self.isEach = isEach
        self.isQuiet = isQuiet
    }

    mutating func load(_ path: String, _ writer: inout TenantWriter) throws(ExitCode) {
        var lines = try LineReader(path)
        var number = 0
        while let line = lines.next() {
            number += 1
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }) { continue }
            do {
                let change = try ChangeLineReader(now: Terminal.nowMilliseconds).change(try JSONValue.parse(line))
                pending.append(change)
                pendingLines.append(number)
            } catch {
                throw Terminal.failure("\(path):\(number): \(error)\n\(kept(path)). \(Self.mend)", Exit.data)
            }
            if pending.count >= batch { try flush(path, &writer) }
        }
        try flush(path, &writer)
        if !isQuiet && !isEach && Terminal.showsProgress { Terminal.progress("", isLast: false) }
    }

    private func kept(_ path: String) -> String {
        let first = pendingLines.first.map { "line \($0)" } ?? "this line"
        return "  nothing from \(first) of \(path) on was kept; \(count) changes before it were"
    }

    private static let mend = "Mend the line and load again"

    private mutating func flush(_ path: String, _ writer: inout TenantWriter) throws(ExitCode) {
        if pending.isEmpty { return }
        do throws(StoreError) {
            let sequence = try writer.append(pending, time: Terminal.nowMilliseconds)
            count += pending.count
            if isEach { Terminal.write("{\"ok\":true,\"sequence\":\(sequence)}\n") }
        } catch {
            let line = error.changeIndex.map { pendingLines[$0] } ?? pendingLines[0]
            Terminal.error("\(path):\(line):")
            let code = report(error)
            // Without a change at fault the line is right, and the store has said what to mend.
            Terminal.write(kept(path) + (error.changeIndex == nil ? "\n" : ". \(Self.mend)\n"), to: 2)
            throw code
        }
        pending.removeAll(keepingCapacity: true)
        pendingLines.removeAll(keepingCapacity: true)
        if !isQuiet && !isEach { Terminal.progress("\(count) changes") }
    }
}

/// Lines of a file or of standard input, as they come.
private struct LineReader {
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false

    init(_ path: String) throws(ExitCode) {
        descriptor = path == "-" ? 0 : unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Terminal.failure("cannot read \(path): \(unsafe String(cString: strerror(errno)))", Exit.noInput)
        }
    }

    mutating func next() -> ArraySlice<UInt8>? {
        var scanned = start
        while true {
            if let end = buffer[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { start = end + 1 }
                return buffer[start..<end]
            }
            scanned = buffer.count
            if isAtEnd || buffer.count - start > JSONLimits.maxBytes {
                defer { start = buffer.count }
                return start < buffer.count ? buffer[start...] : nil
            }
            if start > 0 {
                buffer.removeSubrange(..<start)
                scanned -= start
                start = 0
            }
            var chunk = [UInt8](repeating: 0, count: 256 << 10)
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
            if count <= 0 {
                isAtEnd = true
                if descriptor > 0 { close(descriptor) }
            } else {
                buffer += chunk[..<count]
            }
        }
    }
}

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Push, list, show and roll back versions of a tenant's policies.",
        subcommands: [Push.self, List.self, Show.self, Rollback.self])

    struct Push: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Store a folder as a new version and let it decide.",
            discussion: """
                The tests in the files run first; a version is refused whose tests fail, or reach less than the tenant's \
                bar (`stile tenant limit ID min-coverage=90`), and one whose catalog the stored values do not fit: \
                `stile catalog diff` says so beforehand. With --socket, waits until the daemon decides with it.

                Exit codes: 0 stored and active; 1 a test failed; 5 the tests reach too little; 65 errors in the files, \
                or stored values that do not fit.
                """)

        @OptionGroup var options: TenantOptions

        @Argument(help: "The folder with catalog and policies.")
        var folder: String

        @Option(help: "Why.")
        var message = ""

        @Option(help: "The decision socket to wait for.")
        var socket: String?

        func run() throws {
            let files = try Files.policies([folder])
            let store = Store(path: options.store, mapSize: options.mapSize << 20)
            var writer = try withStore { () throws(StoreError) -> TenantWriter in
                try TenantWriter(store, tenant: options.tenant)
            }
            try requireTests(files, store)
            let version = try Sandbox.push(files, &writer, message: message) { error in
                if error.fit != nil { tellBreakingChanges(files) }
            }
            let warnings = ExactWarnings.all(of: checkPolicies(files))
            Terminal.write(DiagnosticRenderer(files: files, usesColor: Terminal.usesColor).render(warnings), to: 2)
            try awaitActivation(version, socket: socket, tenant: options.tenant)
        }

        /// What does not check is left to the store to refuse, with all that is wrong.
        private func requireTests(_ files: [SourceFile], _ store: Store) throws {
            let bar = try withStore { () throws(StoreError) -> Int in try store.tenant(options.tenant).minCoverage }
            let review = PolicyReview(files, now: Terminal.nowMilliseconds)
            guard let policies = review.policies, let refusal = review.refusal(bar: bar) else { return }
            let run = PolicyTestRun(results: review.failedTests, coverage: review.coverage)
            let report = TestReport(policies, run, bar: bar, startedAt: Terminal.nowMilliseconds, name: folder)
            Terminal.write(report.findings(usesColor: false), to: 2)
            throw Terminal.failure(
                "\(refusal.message); nothing was stored", review.failedTests.isEmpty ? Exit.coverage : Exit.findings)
        }

        /// What of the catalog that decides the new one breaks.
        private func tellBreakingChanges(_ files: [SourceFile]) {
            guard let catalog = checkCatalog(files).catalog,
                let (versions, active) = try? PolicyCommand.read(options),
                let stored = versions.first(where: { $0.version == active })
            else { return }
            let old = stored.sources
            guard let known = checkCatalog(old).catalog else { return }
            let (before, after) = (CatalogText(old, known), CatalogText(files, catalog))
            let changes = CatalogChange.changes(from: known, before.index, to: catalog, after.index)
            Terminal.write(CatalogReport(before: before, after: after, changes: changes).breakingText, to: 2)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the versions.")

        @OptionGroup var options: TenantOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let (versions, active) = try read(options)
            for version in versions {
                let isActive = version.version == active
                if output.json {
                    print(
                        JSONValue.object([
                            "version": .integer(version.version), "active": .bool(isActive),
                            "at": .string(Instant.format(version.at)), "author": .string(version.author),
                            "message": .string(version.message),
                            "files": .array(version.files.map { .string($0.name) }),
                        ]).compact)
                } else {
                    print(
                        "\(isActive ? "*" : " ") \(version.version)  \(Instant.format(version.at))  \(version.author)  \(version.message)"
                    )
                }
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the files of a version.")

        @OptionGroup var options: TenantOptions

        @Argument(help: "The version; without one, the active one.")
        var version: UInt64?

        func run() throws {
            let (versions, active) = try read(options)
            let wanted = version ?? active
            guard let found = versions.first(where: { $0.version == wanted }) else {
                throw Terminal.failure("no version \(wanted): `stile policy list` shows what there is", Exit.noInput)
            }
            for file in found.files {
                Terminal.write("// \(file.name)\(file.isEnabled ? "" : ", disabled")\n\(file.text)\n")
            }
        }
    }

    struct Rollback: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let an earlier version decide again.")

        @OptionGroup var options: TenantOptions

        @Argument(help: "The version.")
        var version: UInt64

        @Option(help: "The decision socket to wait for.")
        var socket: String?

        func run() throws {
            let store = Store(path: options.store, mapSize: options.mapSize << 20)
            var writer = try withStore { () throws(StoreError) -> TenantWriter in
                try TenantWriter(store, tenant: options.tenant)
            }
            do throws(StoreError) {
                try writer.activate(
                    version: version, author: Operator.name, message: "rolled back", expecting: nil,
                    time: Terminal.nowMilliseconds)
            } catch {
                throw report(error)
            }
            try awaitActivation(version, socket: socket, tenant: options.tenant)
        }
    }

    fileprivate static func read(
        _ options: TenantOptions
    ) throws(ExitCode) -> (versions: [StoredPolicies], active: UInt64) {
        try withStore { () throws(StoreError) -> (versions: [StoredPolicies], active: UInt64) in
            var reader = try TenantReader(Store(path: options.store), tenant: options.tenant)
            try reader.renew()
            return (try reader.allPolicies(), try reader.generations().activeVersion)
        }
    }
}

private func read(_ options: TenantOptions) throws(ExitCode) -> (versions: [StoredPolicies], active: UInt64) {
    try PolicyCommand.read(options)
}

/// Waits until the daemon decides with a version, or says why it does not.
private func awaitActivation(_ version: UInt64, socket: String?, tenant: String) throws(ExitCode) {
    guard let socket else {
        print("version \(version) stored and active")
        return
    }
    do throws(ClientError) {
        let connection = try DecisionConnection(socket: socket, tenant: tenant)
        for _ in 0..<500 {
            let status = try connection.status()
            if status.activeVersion == version {
                print("version \(version) decides")
                return
            }
            if status.storedVersion == version, status.state != "ready", !status.state.hasPrefix("no policies") {
                throw ClientError(description: "version \(version) is stored, but \(status.state)")
            }
            usleep(10_000)
        }
        throw ClientError(description: "version \(version) is stored, but the daemon does not decide with it after 5 s")
    } catch {
        throw Terminal.failure(error.description, Exit.unavailable)
    }
}

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Fold a tenant's log anew and compare it with every record and view.")

    @OptionGroup var options: TenantOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let scratch = try Files.temporaryDirectory()
        defer { Files.removeAll(scratch) }
        let store = Store(path: options.store, mapSize: options.mapSize << 20)
        let report = try withStore { () throws(StoreError) -> VerifyReport in
            try store.verify(tenant: options.tenant, scratch: scratch)
        }
        if output.json {
            print(
                JSONValue.object([
                    "entries": .integer(report.entries), "records": .integer(report.records),
                    "differences": .array(report.differences.map { .string($0) }),
                ]).compact)
        } else {
            for difference in report.differences { print("differs: \(difference)") }
            print("\(report.entries) entries, \(report.records) records, \(report.differences.count) differences")
        }
        if !report.differences.isEmpty { throw Exit.findings }
    }
}

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Say how a running daemon stands with a tenant.")

    @Option(help: "The decision socket.")
    var socket = "/run/stile/decision.sock"

    @Option(help: "The tenant's id.")
    var tenant: String

    @OptionGroup var output: OutputOptions

    func run() throws {
        do throws(ClientError) {
            let connection = try DecisionConnection(socket: socket, tenant: tenant)
            let status = try connection.status()
            if output.json {
                print(
                    JSONValue.object([
                        "tenant": .string(status.tenant), "active_version": .integer(status.activeVersion),
                        "stored_version": .integer(status.storedVersion), "state": .string(status.state),
                        "snapshot": .integer(status.snapshot), "answers": .integer(status.answers),
                        "errors": .integer(status.errors), "open_questions": .integer(status.openQuestions),
                        "reconsiderations": .integer(status.reconsiderations), "log": .string(status.log),
                        "lost": .integer(status.lost), "software": .string(connection.welcome.software),
                    ]).compact)
            } else {
                print(
                    "\(connection.welcome.software): tenant \(status.tenant), version \(status.activeVersion), \(status.state)"
                )
                print("snapshot \(status.snapshot), \(status.answers) answers on this thread, \(status.errors) errors")
                print("\(status.openQuestions) open questions, decided \(status.reconsiderations) times again")
                print("decision log: \(status.log); \(status.lost) decisions lost")
            }
        } catch {
            throw Terminal.failure(error.description, Exit.unavailable)
        }
    }
}
