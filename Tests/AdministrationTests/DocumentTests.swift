// The committed description of the API is the one that is served. STILE_RECORD=1 rewrites it.

import Administration
import Glibc
import StrictJSON
import Testing

@Suite struct DocumentTests {
    private static let path = "grammar/administration.openapi.json"

    /// The package's folder, from this file's own place.
    private static var root: String {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }

    @Test func theCommittedDocumentIsTheServedOne() throws {
        let served = Administration.document.pretty
        let file = "\(Self.root)/\(Self.path)"
        if unsafe getenv("STILE_RECORD") != nil {
            let stream = unsafe try #require(fopen(file, "w"))
            unsafe fputs(served, stream)
            unsafe fclose(stream)
        }
        let stream = unsafe try #require(fopen(file, "r"))
        defer { unsafe fclose(stream) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe fread($0.baseAddress, 1, $0.count, stream) }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        #expect(String(decoding: bytes, as: UTF8.self) == served, "STILE_RECORD=1 swift test rewrites \(Self.path)")
    }

    @Test func everyRouteOfATenantNamesIt() {
        for route in Administration.routes {
            let isOperators = route.path == "/admin/v1/tenants" || route.path.hasPrefix("/admin/v1/operators/")
            #expect(isOperators || route.path.hasPrefix("/admin/v1/tenants/{tenant}"), "\(route.path)")
            #expect(isOperators ? route.roles == ["operator"] : !route.roles.isEmpty)
        }
    }

    @Test func operatorsSeeNoDataOfTenants() {
        let ofTenants = Administration.routes.filter { $0.path.hasPrefix("/admin/v1/tenants/{tenant}/") }
        for route in ofTenants where !route.path.contains("/credentials") {
            #expect(!route.roles.contains("operator"), "\(route.method) \(route.path)")
        }
    }

    @Test func auditorsChangeNothing() {
        let harmless = ["policies/validate", "policies/compare", "explain", "who", "what"].map {
            "/admin/v1/tenants/{tenant}/\($0)"
        }
        for route in Administration.routes where route.roles.contains("auditor") {
            #expect(route.method == "GET" || harmless.contains(route.path), "\(route.method) \(route.path)")
        }
    }
}
