// What a tenant may take of the machine, from the operator's side.

import ArgumentParser
import AttributeStore
import StrictJSON

extension TenantCommand {
    struct Limit: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Say how much of the machine a tenant may take and how well its policies must be tested, or show it.",
            discussion: """
                stile tenant limit acme questions-per-second=5000 tree-bytes=16MiB
                stile tenant limit acme tree-bytes=none min-coverage=90

                Limits, none of which is set at first:
                \(TenantLimit.allCases.map { "  \($0.name): \($0.explanation)" }.joined(separator: "\n"))

                And one of the policies:
                  \(LimitSetting.minCoverage): per cent of rules and of conditions that a version's
                  tests must reach; `stile policy push` and the gateway refuse to
                  activate one that reaches less

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
            let record = try withStore { () throws(StoreError) -> TenantRecord in
                if !changes.isEmpty {
                    try store.updateTenant(id) { record in
                        for change in changes { change.apply(to: &record) }
                    }
                }
                return try store.tenant(id)
            }
            tell(record)
        }

        private func tell(_ record: TenantRecord) {
            if output.json {
                let members = TenantLimit.allCases.map { limit in
                    JSONMember(limit.name, record.limits[limit].map { .integer($0) } ?? .null)
                }
                let bar = JSONMember(LimitSetting.minCoverage, .integer(record.minCoverage))
                print(JSONValue.object(members + [bar]).compact)
                return
            }
            for limit in TenantLimit.allCases {
                let value = record.limits[limit].map { "\($0)" } ?? "none"
                print("\(limit.name)  \(value)")
            }
            print("\(LimitSetting.minCoverage)  \(record.minCoverage == 0 ? "none" : "\(record.minCoverage)")")
        }
    }
}

/// `tree-bytes=16MiB`, `min-coverage=90`.
private struct LimitSetting {
    static let minCoverage = "min-coverage"

    /// nil is the coverage that tests must reach.
    private let limit: TenantLimit?
    /// nil takes the limit away.
    private let value: UInt64?

    init(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts.first.map { String($0) } ?? ""
        limit = TenantLimit.allCases.first { $0.name == name }
        guard parts.count == 2, limit != nil || name == Self.minCoverage else {
            let names = (TenantLimit.allCases.map(\.name) + [Self.minCoverage]).joined(separator: ", ")
            throw ValidationError("\(text) is no limit: write NAME=VALUE with one of \(names)")
        }
        if parts[1] == "none" {
            value = nil
            return
        }
        guard let value = Self.number(parts[1]) else {
            throw ValidationError("\(parts[1]) is no number for \(name): write 5000, 16MiB or none")
        }
        let range: ClosedRange<UInt64> = limit.map { $0.least...(1 << 48) - 1 } ?? 0...100
        guard range.contains(value) else {
            throw ValidationError("\(name) must be from \(range.lowerBound) to \(range.upperBound), or none")
        }
        self.value = value
    }

    func apply(to record: inout TenantRecord) {
        if let limit { record.limits[limit] = value } else { record.minCoverage = Int(clamping: value ?? 0) }
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
