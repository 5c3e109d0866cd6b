// A catalog that stored values do not fit is refused with all of them; what fits, or is no business of the new catalog, is not.

import AttributeStore
import PolicyLanguage
import StrictJSON
import Testing

@Suite("stored values and a new catalog")
struct CatalogFitTests {
    private static func user(_ id: String, _ document: String, isActive: Bool = true) throws -> Change {
        .putSubject(type: "user", id: id, isActive: isActive, document: try JSONValue.parse(document))
    }

    private static func file(_ text: String) -> [PolicyFile] { [PolicyFile(name: "all.stile", text: text)] }

    /// Refused pushes of a changed catalog; nil when it was taken.
    private static func push(_ text: String, _ writer: inout TenantWriter) -> StoreError? {
        do throws(StoreError) {
            _ = try writer.push(file(text), author: "test", message: "", time: 10_000)
            return nil
        } catch {
            return error
        }
    }

    private static func changed(_ old: String, _ new: String) throws -> String {
        let parts = TemporaryStore.catalog.split(separator: old, omittingEmptySubsequences: false)
        try #require(parts.count == 2, "\(old) does not stand once in the catalog")
        return parts.joined(separator: new)
    }

    @Test("every value that does not fit is counted, with the first as examples")
    func counted() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        let users = try (0..<9).map { try Self.user("u\($0)", "{\"level\": \($0 % 5)}") }
        try writer.append(users + [try Self.user("gone", "{\"level\": 5}", isActive: false)], time: 1)
        try writer.append(
            [.signal(type: "user", id: "u1", name: "risk", value: .string("medium"), at: 1, expires: nil)], time: 1)
        let error = try #require(
            Self.push(try Self.changed("level: 0...5 = 0", "level: 0...2 = 0"), &writer))
        #expect(error.code == .policiesRejected)
        let misfit = try #require(error.fit?.misfits.first)
        #expect(error.fit?.misfits.count == 1)
        // 3, 4, 8 and their like; the deprovisioned one is dropped from its view and no obstacle.
        #expect(misfit.kind == .value && misfit.type == "user" && misfit.attribute == "level" && misfit.count == 3)
        #expect(misfit.examples.map(\.id) == ["u3", "u4", "u8"])
        #expect(error.message.contains("user \"u3\": attribute \"level\" needs 0...2, found 3"))
        #expect(error.message.contains("nothing was stored"))
        #expect(try temporary.generations().activeVersion == 1)

        let risk = try #require(
            Self.push(try Self.changed("enum(low < medium < high)", "enum(low < high)"), &writer))
        #expect(risk.fit?.misfits.map(\.attribute) == ["risk"])
        #expect(risk.fit?.misfits.first?.examples.first?.problem.contains("found \"medium\"") == true)
        #expect(Self.push(try Self.changed("level: 0...5 = 0", "level: 0...9 = 0"), &writer) == nil)
    }

    @Test("a signal stands before the document, and one without a value is no obstacle")
    func signals() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        // The document's own value would not fit, but it is not what the view has.
        try writer.append(
            [
                try Self.user("a", "{}"),
                .signal(type: "user", id: "a", name: "risk", value: .string("high"), at: 1, expires: nil),
                .signal(type: "user", id: "b", name: "risk", value: .null, at: 1, expires: nil),
            ], time: 1)
        #expect(Self.push(try Self.changed("low < medium < high", "low < high"), &writer) == nil)
    }

    @Test("what is stored of a type that goes, and living signals that go, are obstacles; they are none before")
    func gone() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append(
            [
                .putResource(type: "folder", id: "f", document: .object([])),
                .signal(type: "user", id: "a", name: "risk", value: .string("high"), at: 9_000, expires: nil),
                .signal(type: "user", id: "b", name: "risk", value: .string("high"), at: 1, expires: 5_000),
            ], time: 1)
        let text = TemporaryStore.catalog
            .split(separator: "entity folder in folder\n").joined(separator: "")
            .split(separator: "doc in folder").joined(separator: "doc")
        let folders = try #require(Self.push(text, &writer))
        #expect(folders.fit?.misfits.map(\.kind) == [.entityType])
        #expect(folders.fit?.misfits.first?.examples.map(\.id) == ["f"])
        let line = "signal user.risk: enum(low < medium < high) = low from caep \"risk\" expires 1h\n"
        let signals = try #require(Self.push(try Self.changed(line, ""), &writer))
        #expect(signals.fit?.misfits.map(\.kind) == [.signal])
        #expect(signals.fit?.misfits.first?.count == 1)
        try writer.append([.deleteResource(type: "folder", id: "f")], time: 2)
        #expect(Self.push(text, &writer) == nil)
        // What the catalog before did not know either is no change.
        var reader = try TenantReader(temporary.store, tenant: "t")
        try reader.renew()
        let catalog = try #require(checkCatalog([SourceFile(name: "x", text: text)]).catalog)
        #expect(try reader.fit(catalog, before: nil, examples: 5, now: 10_000).fits)
    }

    @Test("a resource without a value that is required from now on is an obstacle, unless a question may bring it")
    func missing() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append(
            [
                .putResource(type: "doc", id: "d1", document: .object([])),
                .putResource(type: "doc", id: "d2", document: .object(["owner": .string("ada")])),
            ], time: 1)
        let status = "status: enum(open, closed) = open"
        let error = try #require(
            Self.push(try Self.changed(status, "\(status) owner: string from application"), &writer))
        #expect(error.fit?.misfits.map(\.kind) == [.missing])
        #expect(error.fit?.misfits.first?.examples.map(\.id) == ["d1"])
        #expect(Self.push(try Self.changed(status, "\(status) owner: string"), &writer) == nil)
    }

    @Test("sessions that name a level which goes are obstacles")
    func levels() throws {
        let temporary = try TemporaryStore()
        var writer = try temporary.writer()
        try writer.append(
            [.putSession(id: "s", document: .object(["assurance": .string("mfa")]))], time: 1)
        let error = try #require(
            Self.push(
                TemporaryStore.catalog.split(separator: "password < mfa").joined(separator: "password")
                    .split(separator: "acr \"two\" = mfa").joined(separator: "acr \"two\" = password"), &writer))
        #expect(error.fit?.misfits.map(\.attribute) == ["assurance"])
        #expect(error.fit?.looked == 1)
    }
}
