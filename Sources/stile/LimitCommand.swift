// What a tenant may take of the machine, from the operator's side.

import ArgumentParser
import AttributeStore
import StrictJSON

extension TenantCommand {
    struct Limit: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say how much of the machine a tenant may take, or show it.",
            discussion: """
                stile tenant limit acme questions-per-second=5000 open-questions=20000 tree-bytes=16MiB
                stile tenant limit acme tree-bytes=none

                Limits, none of which is set at first:
                \(TenantLimit.allCases.map { "  \($0.name): \($0.explanation)" }.joined(separator: "\n"))

                The daemon follows at once; store-bytes holds for writers that open the tenant after.
                """)

        @Argument(help: "The tenant's id.")
        var id: String

        @Argument(
            help: "NAME=VALUE, with KiB, MiB or GiB if you like, or NAME=none; without any, the limits are shown.")
        var settings: [String] = []

        @Option(help: "The store's directory.")
        var store = "/var/lib/stile"

        @OptionGroup var output: OutputOptions

        func run() throws {
            let changes = try settings.map { try LimitSetting($0) }
            let store = Store(path: store)
            let limits = try withStore { () throws(StoreError) -> TenantLimits in
                if !changes.isEmpty {
                    try store.updateTenant(id) { record in
                        for change in changes { record.limits[change.limit] = change.value }
                    }
                }
                return try store.tenant(id).limits
            }
            tell(limits)
        }

        private func tell(_ limits: TenantLimits) {
            if output.json {
                let members = TenantLimit.allCases.map { limit in
                    JSONMember(limit.name, limits[limit].map { .integer($0) } ?? .null)
                }
                print(JSONValue.object(members).compact)
                return
            }
            for limit in TenantLimit.allCases {
                let value = limits[limit].map { "\($0)" } ?? "none"
                print("\(limit.name)  \(value)")
            }
        }
    }
}

/// `tree-bytes=16MiB`.
private struct LimitSetting {
    let limit: TenantLimit
    /// nil takes the limit away.
    let value: UInt64?

    init(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let limit = TenantLimit.allCases.first(where: { $0.name == parts[0] }) else {
            let names = TenantLimit.allCases.map(\.name).joined(separator: ", ")
            throw ValidationError("\(text) is no limit: write NAME=VALUE with one of \(names)")
        }
        self.limit = limit
        if parts[1] == "none" {
            value = nil
            return
        }
        guard let value = Self.number(parts[1]) else {
            throw ValidationError("\(parts[1]) is no number for \(limit.name): write 5000, 16MiB or none")
        }
        guard value >= limit.least, value < 1 << 48 else {
            throw ValidationError("\(limit.name) must be from \(limit.least) to \((1 << 48) - 1), or none")
        }
        self.value = value
    }

    private static func number(_ text: Substring) -> UInt64? {
        for (unit, size) in [("KiB", UInt64(1) << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)] where text.hasSuffix(unit) {
            guard let count = UInt64(text.dropLast(3)) else { return nil }
            let (value, overflowed) = count.multipliedReportingOverflow(by: size)
            return overflowed ? nil : value
        }
        return UInt64(text)
    }
}
