// stile: the author's and operator's tool. Each command is a file; this one lists them.

import ArgumentParser

/// Writes, tests and asks policies; keeps tenants, their data and their versions.
@main
struct Stile: ParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "stile",
        abstract: "Writes, tests and asks access policies; keeps tenants, their data and their versions.",
        discussion: """
            Start with an example:   stile check policies/ledger
                                     stile test policies/ledger
                                     stile ask policies/ledger '{"subject":…'
                                     stile dev policies/ledger

            Exit codes: 0 done or permit; 1 findings, failed tests or deny; 2 step-up; 3 a question that is an error; \
            4 not proven; 5 tests reach too little; 6 decided otherwise than it was logged; 64 wrong arguments; 65 wrong \
            data or policies; 66 something to read is missing; 69 the server cannot be asked; 70 the store refused or \
            failed. Colours respect NO_COLOR; --json is for programs.
            """,
        version: version,
        subcommands: [
            CheckCommand.self, FormatCommand.self, TestCommand.self, AskCommand.self, WhyCommand.self,
            ExplainCommand.self, CompareCommand.self, WhoCommand.self, WhatCommand.self, PlanCommand.self,
            DrawCommand.self, CatalogCommand.self, LanguageServerCommand.self,
            DevCommand.self, TenantCommand.self, LoadCommand.self, PolicyCommand.self, GrantCommand.self,
            VerifyCommand.self,
            LogCommand.self, ShadowCommand.self, StatusCommand.self, CredentialCommand.self, EncodeCommand.self,
        ])
}

/// `--json`
struct OutputOptions: ParsableArguments {
    @Flag(help: "Write JSON, one value a line.")
    var json = false
}

/// Where the store is, and which tenant.
struct TenantOptions: ParsableArguments {
    @Option(help: "The store's directory.")
    var store = "/var/lib/stile"

    @Option(help: "The tenant's id.")
    var tenant: String

    @Option(name: .customLong("map-size"), help: "Address space of the tenant's store, in MiB.")
    var mapSize = 8192
}
