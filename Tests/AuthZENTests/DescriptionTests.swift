// The committed description of the API is the one that is served. STILE_RECORD=1 rewrites it.

import AuthZEN
import StrictJSON
import TestSupport
import Testing

@Suite struct DescriptionTests {
    private static let path = "grammar/authzen.openapi.json"

    @Test func theCommittedDocumentIsTheServedOne() {
        let served = Description.document.pretty
        #expect(
            CommittedText(Self.path).text(recording: served) == served,
            "STILE_RECORD=1 swift test rewrites \(Self.path)")
    }

    @Test func everyReferenceLeadsSomewhere() {
        let document = Description.document
        var seen = 0
        func walk(_ value: JSONValue) {
            if let reference = value["$ref"]?.string {
                seen += 1
                let names = reference.split(separator: "/").dropFirst().map(String.init)
                let found = names.reduce(document as JSONValue?) { $0?[$1] }
                #expect(found != nil, "\(reference)")
            }
            for member in value.object ?? [] { walk(member.value) }
            for item in value.array ?? [] { walk(item) }
        }
        walk(document)
        #expect(seen > 100)
    }
}
