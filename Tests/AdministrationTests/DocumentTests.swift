// The committed description of the API is the one that is served. STILE_RECORD=1 rewrites it.

import Administration
import StrictJSON
import TestSupport
import Testing

@Suite struct DocumentTests {
    private static let path = "grammar/administration.openapi.json"

    @Test func theCommittedDocumentIsTheServedOne() {
        let served = Administration.document.pretty
        #expect(
            CommittedText(Self.path).text(recording: served) == served,
            "STILE_RECORD=1 swift test rewrites \(Self.path)")
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
