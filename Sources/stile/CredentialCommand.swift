// The credentials of the gateway's callers.

import ArgumentParser
import AttributeStore
import Credentials
import PolicyLanguage
import StrictJSON

struct CredentialCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "credential",
        abstract: "Create, list, rotate and revoke the credentials of the gateway's callers.",
        discussion: """
            A credential is shown once, when it is made; the store keeps only its keyed hash. What a caller may do is its \
            role: pep asks, provisioner and transmitter feed people and signals, tenant-admin writes policies, auditor \
            reads what the tenant-admin can read, operator makes tenants. The gateway follows at once.
            """,
        subcommands: [Create.self, List.self, Rotate.self, Revoke.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a credential and write it on standard output, this once.")

        @OptionGroup var options: CredentialOptions
        @OptionGroup var output: OutputOptions

        @Option(help: "pep, provisioner, transmitter, tenant-admin, auditor or operator.")
        var role: Role

        @Option(help: "The tenant's id; none for an operator.")
        var tenant: String?

        @Option(help: "What it is for.")
        var label = ""

        @Option(help: "Days until it expires.")
        var days = 90

        func run() throws {
            let desk = try options.desk()
            let made = try attempt { () throws(CredentialError) in
                try desk.create(
                    role: role, tenant: tenant, label: label, author: Operator.name, life: try life(days),
                    now: Terminal.nowMilliseconds)
            }
            tell(made.token, made.record, output)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the credentials of a tenant, or the operators'.")

        @OptionGroup var options: CredentialOptions
        @OptionGroup var output: OutputOptions

        @Option(help: "The tenant's id; without one, the operators'.")
        var tenant: String?

        func run() throws {
            let desk = try options.desk()
            let now = Terminal.nowMilliseconds
            for record in try attempt({ () throws(CredentialError) in try desk.list(tenant: tenant) }) {
                if output.json {
                    print(record.json(now: now).compact)
                } else {
                    let expires = Instant.format(record.expires)
                    print(
                        "\(record.id)  \(record.role)  \(record.state(now: now).rawValue)  until \(expires)  \(record.label)"
                    )
                }
            }
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a credential in place of another, which stays good for a while.")

        @OptionGroup var options: CredentialOptions
        @OptionGroup var output: OutputOptions

        @Argument(help: "The id of the credential to be replaced.")
        var id: String

        @Option(help: "Days until the new one expires.")
        var days = 90

        @Option(help: "Hours in which both are good.")
        var overlap = 24

        func run() throws {
            let desk = try options.desk()
            let id = try uniqueID(id)
            let made = try attempt { () throws(CredentialError) in
                guard (0...720).contains(overlap) else { throw .invalid("--overlap is from 0 to 720 hours") }
                return try desk.rotate(
                    id, author: Operator.name, life: try life(days), overlap: Int64(overlap) * 3_600_000,
                    now: Terminal.nowMilliseconds)
            }
            tell(made.token, made.record, output)
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a credential at once.")

        @OptionGroup var options: CredentialOptions

        @Argument(help: "The credential's id.")
        var id: String

        func run() throws {
            let desk = try options.desk()
            let id = try uniqueID(id)
            let record = try attempt { () throws(CredentialError) in try desk.revoke(id, now: Terminal.nowMilliseconds)
            }
            print("credential \(record.id) is revoked")
        }
    }
}

/// Where the store is, and the key of its credentials.
struct CredentialOptions: ParsableArguments {
    @Option(help: "The store's directory.")
    var store = "/var/lib/stile"

    @Option(
        name: .customLong("credential-key"),
        help: "The file with the key that credentials are hashed with; without one, the store's own, made when missing."
    )
    var credentialKey: String?

    func desk() throws(ExitCode) -> CredentialDesk {
        try withStore { () throws(StoreError) in
            var store = Store(path: store)
            store.isWriting = true
            let book = try ControlBook(store)
            let key = try CredentialKey(
                path: credentialKey ?? CredentialKey.defaultPath(store), makes: credentialKey == nil)
            return CredentialDesk(book: book, key: key)
        }
    }
}

extension Role: ExpressibleByArgument {}

private func life(_ days: Int) throws(CredentialError) -> Int64 {
    guard (1...731).contains(days) else { throw .invalid("--days is from 1 to 731") }
    return Int64(days) * 86_400_000
}

private func uniqueID(_ text: String) throws(ExitCode) -> UniqueID {
    guard let id = UniqueID(text) else {
        throw Terminal.failure("\(text) is no credential's id: `stile credential list` shows them", Exit.data)
    }
    return id
}

private func attempt<Value>(_ body: () throws(CredentialError) -> Value) throws(ExitCode) -> Value {
    do throws(CredentialError) {
        return try body()
    } catch {
        switch error {
        case .store(let error): throw report(error)
        case .cryptography: throw Terminal.failure(error.description, Exit.store)
        case .invalid: throw Terminal.failure(error.description, Exit.data)
        case .unknownCredential: throw Terminal.failure(error.description, Exit.noInput)
        }
    }
}

/// The one time that a credential is shown.
private func tell(_ token: BearerToken, _ record: CredentialRecord, _ output: OutputOptions) {
    if output.json {
        var members = record.json(now: record.created).object ?? []
        members.append(JSONMember("credential", .string(token.text)))
        return Terminal.write(JSONValue.object(members).compact + "\n")
    }
    Terminal.write(token.text + "\n")
    Terminal.write(
        "credential \(record.id), \(record.role)\(record.tenant.map { " of \($0)" } ?? ""), until "
            + "\(Instant.format(record.expires)); it is not shown again\n", to: 2)
}
