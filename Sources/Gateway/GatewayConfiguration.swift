// What the gateway is told at its start: flags, and a JSON file for what is more than a line.
//
// Unsafe file: the buffer of a read lives for the call.

package import AuthZEN
import Credentials
package import GatewayCore
import Glibc
package import StrictJSON

/// Why the configuration cannot be used.
package struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    /// Where and what, and how to mend it.
    package var description: String

    init(_ path: String, _ message: String) { description = "\(path): \(message)" }
}

/// The settings of `stile-gateway`.
package struct GatewayConfiguration: Sendable {
    /// The store's directory.
    package var store: String
    /// The socket of `stiled`.
    package var decisionSocket: String
    /// The file with the key of credentials; nil for the store's own.
    package var credentialKey: String?
    /// The directory that `stiled` was given with `--log-dir`; nil for the store's own place.
    package var logDirectory: String?
    package var listeners: [ListenerConfiguration]
    package var limits = GatewayLimits()
    /// AuthZEN's API.
    package var authZEN = AuthZENSettings()
    /// Threads that serve connections; 0 takes one for each processor.
    package var threads = 0
    /// Threads for work that blocks.
    package var workers = 8
    /// Address space of each tenant's store, in MiB.
    package var mapSize = 8_192

    /// The settings without a file: a Unix socket for each surface in `directory`.
    package init(store: String, decisionSocket: String, directory: String) {
        self.store = store
        self.decisionSocket = decisionSocket
        listeners = [Surface.decisions, .provisioning, .admin].map { surface in
            ListenerConfiguration(surface, at: .unix(path: "\(directory)/\(surface.rawValue).sock", mode: 0o660))
        }
    }

    /// Lays the settings of a JSON file over these.
    package mutating func apply(file path: String) throws(ConfigurationError) {
        let bytes = try Self.read(path)
        let file: JSONValue
        do throws(JSONError) {
            file = try JSONValue.parse(bytes)
        } catch {
            throw ConfigurationError(path, error.description)
        }
        try apply(file)
    }

    private static let maxFileBytes = 1 << 20

    private static func read(_ path: String) throws(ConfigurationError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ConfigurationError(path, unsafe String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= maxFileBytes {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 { throw ConfigurationError(path, unsafe String(cString: strerror(errno))) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        throw ConfigurationError(path, "more than \(maxFileBytes) bytes")
    }

    /// Lays a file's settings over these.
    package mutating func apply(_ file: JSONValue) throws(ConfigurationError) {
        let reader = try ObjectReader(
            file, "",
            names: [
                "store", "decision_socket", "credential_key", "log_directory", "listeners", "limits", "threads",
                "workers", "map_size",
                "authzen",
            ])
        if let path = try reader.text("store") { store = path }
        if let path = try reader.text("decision_socket") { decisionSocket = path }
        if let path = try reader.text("credential_key") { credentialKey = path }
        if let path = try reader.text("log_directory") { logDirectory = path }
        if let count = try reader.integer("threads", 0...256) { threads = count }
        if let count = try reader.integer("workers", 1...256) { workers = count }
        if let size = try reader.integer("map_size", 16...16_777_216) { mapSize = size }
        if let value = file["limits"] { try apply(limits: value) }
        if let value = file["authzen"] { try apply(authZEN: value) }
        guard let list = file["listeners"] else { return }
        guard let items = list.array, !items.isEmpty else {
            throw ConfigurationError("listeners", "an array with at least one listener is needed")
        }
        listeners = []
        for (index, item) in items.enumerated() {
            let listener = try ListenerConfiguration(item, "listeners[\(index)]")
            guard !listeners.contains(where: { $0.name == listener.name }) else {
                throw ConfigurationError(
                    "listeners[\(index)].name", "\"\(listener.name)\" is another listener's: give each its own")
            }
            listeners.append(listener)
        }
    }

    private mutating func apply(authZEN value: JSONValue) throws(ConfigurationError) {
        let reader = try ObjectReader(value, "authzen", names: ["url", "fill_defaults"])
        if let url = try reader.text("url") {
            guard Self.isBase(url) else {
                throw ConfigurationError(
                    "authzen.url", "an https URL without query and fragment is needed, without a slash at its end")
            }
            authZEN.url = url
        }
        if let fills = try reader.bool("fill_defaults") { authZEN.fillsDefaults = fills }
    }

    /// Authorization API 1.0, 9.1.1: https, no query, no fragment.
    private static func isBase(_ url: String) -> Bool {
        let rest = url.utf8.dropFirst("https://".utf8.count)
        return url.hasPrefix("https://") && !rest.isEmpty && rest.first != UInt8(ascii: "/") && !url.hasSuffix("/")
            && rest.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"?#\"<>\\^`{|}".utf8.contains($0) }
    }

    private mutating func apply(limits value: JSONValue) throws(ConfigurationError) {
        let reader = try ObjectReader(
            value, "limits",
            names: [
                "header_field_bytes", "header_bytes", "header_fields", "body_bytes", "head_timeout_ms",
                "body_timeout_ms", "idle_timeout_ms", "drain_timeout_ms", "connections", "waiting", "analyses",
                "waiting_analyses", "analyses_of_tenant", "caller_rate", "address_rate", "failure_rate",
            ])
        if let value = try reader.integer("header_field_bytes", 256...(1 << 20)) { limits.maxHeaderFieldBytes = value }
        if let value = try reader.integer("header_bytes", 1_024...(4 << 20)) { limits.maxHeaderBytes = value }
        if let value = try reader.integer("header_fields", 8...10_000) { limits.maxHeaderFields = value }
        if let value = try reader.integer("body_bytes", 1_024...(64 << 20)) { limits.maxBodyBytes = value }
        if let value = try reader.integer("head_timeout_ms", 10...3_600_000) { limits.headTimeout = Int64(value) }
        if let value = try reader.integer("body_timeout_ms", 10...3_600_000) { limits.bodyTimeout = Int64(value) }
        if let value = try reader.integer("idle_timeout_ms", 10...86_400_000) { limits.idleTimeout = Int64(value) }
        if let value = try reader.integer("drain_timeout_ms", 0...600_000) { limits.drainTimeout = Int64(value) }
        if let value = try reader.integer("connections", 1...100_000) { limits.maxConnections = value }
        if let value = try reader.integer("waiting", 1...1_000_000) { limits.maxWaiting = value }
        if let value = try reader.integer("analyses", 1...64) { limits.maxAnalyses = value }
        if let value = try reader.integer("waiting_analyses", 0...10_000) { limits.maxWaitingAnalyses = value }
        if let value = try reader.integer("analyses_of_tenant", 1...10_000) { limits.maxAnalysesOfTenant = value }
        if let rate = try reader.rate("caller_rate") { limits.callerRate = rate }
        if let rate = try reader.rate("address_rate") { limits.addressRate = rate }
        if let rate = try reader.rate("failure_rate") { limits.failureRate = rate }
    }
}

/// One listener.
package struct ListenerConfiguration: Sendable {
    /// Where it listens.
    package enum Place: Sendable, Hashable {
        case unix(path: String, mode: UInt32)
        case tcp(host: String, port: Int)
        /// The socket that the service manager hands over under the listener's name.
        case handedOver
    }

    package var name: String
    package var surface: Surface
    package var place: Place
    package var tls: TLSFiles?
    /// The last entry of `X-Forwarded-For` is the caller's address: a proxy of ours stands before it.
    package var isForwarded = false
    /// Users of the system who need no credential.
    package var trusted: [TrustedPeer] = []

    init(_ surface: Surface, at place: Place) {
        name = surface.rawValue
        self.surface = surface
        self.place = place
    }

    init(_ value: JSONValue, _ path: String) throws(ConfigurationError) {
        let reader = try ObjectReader(
            value, path, names: ["name", "serves", "socket", "mode", "address", "systemd", "tls", "forwarded", "trust"])
        guard let serves = try reader.text("serves"), let surface = Surface(rawValue: serves) else {
            let known = Surface.allCases.map(\.rawValue).joined(separator: ", ")
            throw ConfigurationError("\(path).serves", "one of \(known) is needed")
        }
        self.surface = surface
        name = try reader.text("name") ?? serves
        isForwarded = try reader.bool("forwarded") ?? false
        place = try Self.place(reader, path)
        if let files = value["tls"] { tls = try TLSFiles(files, "\(path).tls") }
        if case .tcp(let host, _) = place, tls == nil, !Self.isLoopback(host) {
            throw ConfigurationError(
                "\(path).tls",
                "\(host) is reached over a network, so certificate and key are needed; or listen on a socket")
        }
        if let list = value["trust"] { trusted = try Self.trusted(list, "\(path).trust") }
        if !trusted.isEmpty, case .tcp = place {
            throw ConfigurationError("\(path).trust", "only a Unix socket tells which user calls")
        }
        if !trusted.isEmpty, isForwarded {
            throw ConfigurationError(
                "\(path).trust", "behind a proxy every caller is the proxy's user: leave `trust` or `forwarded` out")
        }
    }

    private static func place(_ reader: ObjectReader, _ path: String) throws(ConfigurationError) -> Place {
        let socket = try reader.text("socket")
        let address = try reader.text("address")
        let isHandedOver = try reader.bool("systemd") ?? false
        switch (socket, address, isHandedOver) {
        case (let socket?, nil, false):
            let mode = try reader.text("mode") ?? "0660"
            guard let bits = UInt32(mode, radix: 8), bits <= 0o777 else {
                throw ConfigurationError("\(path).mode", "\(mode) is not octal: write \"0660\"")
            }
            guard socket.utf8.count <= 107 else {
                throw ConfigurationError("\(path).socket", "a socket's path has at most 107 bytes")
            }
            return .unix(path: socket, mode: bits)
        case (nil, let address?, false):
            guard let colon = address.lastIndex(of: ":"),
                let port = Int(address[address.index(after: colon)...]), (0...65_535).contains(port)
            else { throw ConfigurationError("\(path).address", "host and port are needed: \"127.0.0.1:8443\"") }
            let host = address[..<colon].filter { $0 != "[" && $0 != "]" }
            return .tcp(host: host, port: port)
        case (nil, nil, true): return .handedOver
        default: throw ConfigurationError(path, "exactly one of socket, address and systemd is needed")
        }
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }

    private static func trusted(_ value: JSONValue, _ path: String) throws(ConfigurationError) -> [TrustedPeer] {
        guard let items = value.array else { throw ConfigurationError(path, "an array is needed") }
        var peers: [TrustedPeer] = []
        for (index, item) in items.enumerated() {
            let reader = try ObjectReader(item, "\(path)[\(index)]", names: ["user", "role", "tenant"])
            guard let user = try reader.integer("user", 0...Int(UInt32.max)) else {
                throw ConfigurationError("\(path)[\(index)].user", "a user id of the system is needed")
            }
            guard let role = try reader.text("role").flatMap({ Role(rawValue: $0) }) else {
                let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
                throw ConfigurationError("\(path)[\(index)].role", "one of \(known) is needed")
            }
            let tenant = try reader.text("tenant")
            guard role.isOfAllTenants == (tenant == nil) else {
                throw ConfigurationError(
                    "\(path)[\(index)].tenant",
                    role.isOfAllTenants ? "an operator is no tenant's" : "a \(role.rawValue) needs a tenant")
            }
            peers.append(TrustedPeer(user: UInt32(user), role: role, tenant: tenant))
        }
        return peers
    }
}

/// The files of a listener that speaks TLS.
package struct TLSFiles: Sendable, Hashable {
    /// Certificates in a chain, the server's first, in PEM.
    package var certificate: String
    /// The private key, in PEM.
    package var key: String
    /// Certificates of the authorities whose clients are let in, in PEM; nil asks no client for a certificate.
    package var clientAuthorities: String?
    /// A client without a certificate is let in too.
    package var isClientOptional = false
    /// TLS 1.3 alone.
    package var needsTLS13 = false

    init(_ value: JSONValue, _ path: String) throws(ConfigurationError) {
        let reader = try ObjectReader(
            value, path, names: ["certificate", "key", "client_authorities", "client_optional", "minimum"])
        guard let certificate = try reader.text("certificate"), let key = try reader.text("key") else {
            throw ConfigurationError(path, "certificate and key are needed, both PEM files")
        }
        self.certificate = certificate
        self.key = key
        clientAuthorities = try reader.text("client_authorities")
        isClientOptional = try reader.bool("client_optional") ?? false
        switch try reader.text("minimum") {
        case nil, "1.2": break
        case "1.3": needsTLS13 = true
        case let other?: throw ConfigurationError("\(path).minimum", "\(other) is neither 1.2 nor 1.3")
        }
    }
}

/// Reads an object whose members are known, each of one type.
private struct ObjectReader {
    private let value: JSONValue
    private let path: String

    init(_ value: JSONValue, _ path: String, names: Set<String>) throws(ConfigurationError) {
        guard let members = value.object else {
            throw ConfigurationError(path.isEmpty ? "the file" : path, "an object is needed, this is \(value.kind)")
        }
        self.value = value
        self.path = path
        if let unknown = members.first(where: { !names.contains($0.name) }) {
            throw ConfigurationError(
                place(unknown.name), "no such setting; there are \(names.sorted().joined(separator: ", "))")
        }
    }

    private func place(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    func text(_ name: String) throws(ConfigurationError) -> String? {
        guard let member = value[name] else { return nil }
        guard let text = member.string, !text.isEmpty else {
            throw ConfigurationError(place(name), "a text is needed, this is \(member.compact)")
        }
        return text
    }

    func bool(_ name: String) throws(ConfigurationError) -> Bool? {
        guard let member = value[name] else { return nil }
        guard let bool = member.bool else { throw ConfigurationError(place(name), "true or false is needed") }
        return bool
    }

    func integer(_ name: String, _ range: ClosedRange<Int>) throws(ConfigurationError) -> Int? {
        guard let member = value[name] else { return nil }
        guard let number = member.integer, range.contains(Int(number)) else {
            throw ConfigurationError(
                place(name), "a whole number from \(range.lowerBound) to \(range.upperBound) is needed")
        }
        return Int(number)
    }

    func rate(_ name: String) throws(ConfigurationError) -> RateLimit? {
        guard let member = value[name] else { return nil }
        let reader = try ObjectReader(member, place(name), names: ["per_second", "burst"])
        guard let rate = try reader.integer("per_second", 1...10_000_000) else {
            throw ConfigurationError(place(name), "per_second is needed")
        }
        let burst = try reader.integer("burst", 1...100_000_000) ?? rate * 2
        return RateLimit(perSecond: Double(rate), burst: Double(burst))
    }
}
