// Sealing what the store holds of a tenant, and changing the keys.

import ArgumentParser
import AttributeStore

struct SealTenant: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Seal what the store holds of a tenant; once more, and its data key changes.",
        discussion: """
            Users, groups, sessions, devices, resources, signals, grants, views, policies and the log of changes are sealed \
            with AES-256-GCM under a data key of the tenant. That key lies in the registry, wrapped by the tenant's own key: \
            a file of 32 bytes, DIRECTORY/<tenant>.key, that its owner alone can read and that is made when it is missing. \
            DIRECTORY is what STILE_KEYS names (a place on another disk, or systemd's credentials), else control/keys in \
            the store. Every process that uses the store needs it; without the key nothing of the tenant can be read.

            Ids and the catalog's names of attributes are not sealed: ids are what is looked up. The decision log is not sealed: its fields are masked as the \
            catalog says. Questions and changes go on meanwhile; ended half-way, the command can be run again. Pages of the \
            file that held plain values keep them until they are used again: `mdb_copy -c` makes a copy without them.
            """)

    @Argument(help: "The tenant's id.")
    var id: String

    @Option(help: "The store's directory.")
    var store = "/var/lib/stile"

    func run() throws {
        let store = Store(path: store)
        let count = try withStore { () throws(StoreError) -> Int in
            try store.seal(tenant: id, time: Terminal.nowMilliseconds) {
                Terminal.progress("\($0) values sealed")
            }
        }
        if Terminal.showsProgress { Terminal.write("\r\u{1b}[K", to: 2) }
        print("\(count) values of tenant \(id) sealed; its key is \(store.keyPath(id)): keep a copy elsewhere")
    }
}

struct RewrapTenant: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewrap",
        abstract: "Take another key of the tenant's own into use.",
        discussion: """
            Move the former key away, put the new one where it was (a missing one is not made here), then run this with \
            the former's file. Sealed values stay as they are, so it takes no time; `stile tenant seal` changes the data \
            key as well. Daemons that run go on and read the new key when they next need it.
            """)

    @Argument(help: "The tenant's id.")
    var id: String

    @Option(help: "The file of the own key until now.")
    var former: String

    @Option(help: "The store's directory.")
    var store = "/var/lib/stile"

    func run() throws {
        try withStore { () throws(StoreError) in try Store(path: store).rewrap(id, former: former) }
        print("the data key of tenant \(id) is wrapped under \(Store(path: store).keyPath(id)) now")
    }
}
