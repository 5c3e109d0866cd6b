// What SARIF 2.1.0 (OASIS Standard, sections 3.13 to 3.35) asks of the objects that we write: which properties they must
// and may have, of which type and from which values. Written after the standard's text.

import StrictJSON

enum SARIFStructure {
    private indirect enum Shape: Sendable {
        case text
        case words(Set<String>)
        case integer(atLeast: Int64)
        case truth
        case list(Shape)
        case object(String)
    }

    /// For each object its properties; a `!` marks one that must be there.
    private static let objects: [String: [String: Shape]] = [
        "log": ["$schema": .text, "version!": .words(["2.1.0"]), "runs!": .list(.object("run"))],
        "run": [
            "tool!": .object("tool"), "columnKind": .words(["utf16CodeUnits", "unicodeCodePoints"]),
            "invocations": .list(.object("invocation")), "artifacts": .list(.object("artifact")),
            "results": .list(.object("result")),
        ],
        "tool": ["driver!": .object("component")],
        "component": [
            "name!": .text, "version": .text, "semanticVersion": .text, "informationUri": .text,
            "rules": .list(.object("rule")),
        ],
        "rule": [
            "id!": .text, "name": .text, "shortDescription": .object("message"), "fullDescription": .object("message"),
            "help": .object("message"), "defaultConfiguration": .object("configuration"),
        ],
        "message": ["text!": .text, "markdown": .text],
        "configuration": ["level": level],
        "invocation": ["executionSuccessful!": .truth, "exitCode": .integer(atLeast: .min)],
        "artifact": [
            "location": .object("artifactLocation"), "length": .integer(atLeast: 0), "encoding": .text,
            "sourceLanguage": .text,
        ],
        "artifactLocation": ["uri": .text, "uriBaseId": .text, "index": .integer(atLeast: 0)],
        "result": [
            "ruleId": .text, "ruleIndex": .integer(atLeast: 0), "level": level, "message!": .object("message"),
            "locations": .list(.object("location")), "relatedLocations": .list(.object("location")),
        ],
        "location": [
            "id": .integer(atLeast: 0), "physicalLocation": .object("physicalLocation"), "message": .object("message"),
        ],
        "physicalLocation": ["artifactLocation": .object("artifactLocation"), "region": .object("region")],
        "region": [
            "startLine": .integer(atLeast: 1), "startColumn": .integer(atLeast: 1), "endLine": .integer(atLeast: 1),
            "endColumn": .integer(atLeast: 1), "byteOffset": .integer(atLeast: 0), "byteLength": .integer(atLeast: 0),
        ],
    ]
    private static let level = Shape.words(["none", "note", "warning", "error"])

    /// Everything that is not as the standard has it.
    static func problems(_ log: JSONValue) -> [String] {
        var problems: [String] = []
        check(log, .object("log"), "log", &problems)
        return problems
    }

    private static func check(_ value: JSONValue, _ shape: Shape, _ path: String, _ problems: inout [String]) {
        switch shape {
        case .text: if value.string?.isEmpty ?? true { problems.append("\(path) is no text") }
        case .words(let words):
            if !words.contains(value.string ?? "") { problems.append("\(path) is none of \(words.sorted())") }
        case .integer(let least):
            if (value.integer ?? .min) < least { problems.append("\(path) is no integer from \(least) on") }
        case .truth: if value.bool == nil { problems.append("\(path) is no truth value") }
        case .list(let element):
            guard let values = value.array else {
                problems.append("\(path) is no array")
                return
            }
            for (index, value) in values.enumerated() { check(value, element, "\(path)[\(index)]", &problems) }
        case .object(let name):
            guard let members = value.object, let shape = objects[name] else {
                problems.append("\(path) is no \(name)")
                return
            }
            for member in members {
                guard let inner = shape[member.name] ?? shape[member.name + "!"] else {
                    problems.append("\(path): a \(name) has no property \(member.name)")
                    continue
                }
                check(member.value, inner, "\(path).\(member.name)", &problems)
            }
            for property in shape.keys where property.hasSuffix("!") && value[String(property.dropLast())] == nil {
                problems.append("\(path): a \(name) needs \(property.dropLast())")
            }
            if name == "region" { checkOrder(value, path, &problems) }
        }
    }

    /// A region does not end before it starts (3.30.2).
    private static func checkOrder(_ region: JSONValue, _ path: String, _ problems: inout [String]) {
        let place = ["startLine", "endLine", "startColumn", "endColumn"].map { region[$0]?.integer ?? 0 }
        if (place[0], place[2]) > (place[1], place[3]) { problems.append("\(path) ends before it starts") }
    }
}
