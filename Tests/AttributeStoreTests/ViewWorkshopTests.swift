// Views that are built when they are asked for, beside those that the fold keeps.

import Glibc
import PolicyLanguage
import StrictJSON
import Testing

@testable import AttributeStore

@Suite("views built when they are asked for")
struct ViewWorkshopTests {
    @Test("they are the ones that the fold keeps, byte for byte, after random changes")
    func same() throws {
        let seed =
            unsafe getenv("STILE_SEED").flatMap { unsafe UInt64(String(cString: $0)) } ?? .random(in: 0...UInt64.max)
        print("STILE_SEED=\(seed)")
        let t = try TemporaryStore()
        var writer = try t.writer()
        var random = RandomChanges(seed)
        for step in 1...300 {
            _ = refusal(&writer, [try random.change(step)])
            guard step % 10 == 0 else { continue }
            try writer.append(
                [
                    .putSession(
                        id: "s\(step % 3)",
                        document: try JSONValue.parse(
                            #"{"subject":{"type":"user","id":"u1"},"assurance":"mfa","auth_time":\#(step),"device":"v0"}"#
                        )),
                    .putResource(
                        type: "doc", id: "d\(step % 4)", document: try JSONValue.parse("{}"),
                        parents: [EntityName(type: "folder", id: "f\(step % 2)")]),
                ], time: 1)
        }
        let text = SourceFile(name: "all.stile", text: TemporaryStore.catalog)
        let catalog = try #require(checkCatalog([text]).catalog)
        let workshop = ViewWorkshop(catalog, layout: .max)
        var reader = try TenantReader(t.store, tenant: "t")
        try reader.renew()
        let layout = try reader.generations().layout
        var compared = 0
        for (type, letter) in [("user", "u"), ("device", "v"), ("doc", "d"), ("session", "s"), ("folder", "f")] {
            for number in 0..<7 {
                let id = "\(letter)\(number)"
                let kept = try reader.value(reader.databases.views, Key.view(layout, Key.entity(type, id)))
                let built = try workshop.record(type, id, reader)
                #expect(kept == built, "\(type) \(id)")
                if built != nil { compared += 1 }
            }
        }
        #expect(compared > 5)
    }
}
