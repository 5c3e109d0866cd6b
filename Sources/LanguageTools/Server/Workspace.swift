// Open documents and the folders they lie in. A folder is a tenant: its catalog and policies are checked together, and
// what is being written counts instead of what is saved.

package import PolicyLanguage

/// What lies in a folder on the disk.
package struct FolderContents: Sendable {
    /// The policy files, named without their folder.
    package var files: [SourceFile]
    /// Names of those that could not be read.
    package var unreadable: [String]

    package init(files: [SourceFile], unreadable: [String] = []) {
        self.files = files
        self.unreadable = unreadable
    }
}

/// A document that the editor has open.
struct OpenDocument {
    var uri: String
    var version: Int64
    var text: String
    /// It grew above all limits and was let go; the editor has to open it anew.
    var isLost = false
}

/// A tenant's folder.
struct TenantFolder {
    /// What the disk holds.
    var saved: [SourceFile] = []
    /// By file name.
    var open: [String: OpenDocument] = [:]
    /// It has to be checked anew.
    var isDirty = true
    /// Files that the editor was told findings of.
    var told = Set<String>()
    /// What was found in the newest text, while nobody has looked deeper; nil as long as it has errors.
    var unproven: ProvingTask?
    /// Made when it is asked for, void after a change.
    private(set) var knowledge: FolderKnowledge?
    /// Counts the changes; no two folders of a session have the same.
    private(set) var revision: Int

    /// - Parameter number: how many folders the session had before.
    init(number: Int) { revision = number << 32 }

    /// All files by name, what is open instead of what is saved.
    private var sources: [SourceFile] {
        var texts: [String: String] = [:]
        for file in saved { texts[file.name] = file.text }
        for (name, document) in open { texts[name] = document.text }
        return texts.sorted { $0.key < $1.key }.map { SourceFile(name: $0.key, text: $0.value) }
    }

    mutating func changed() {
        isDirty = true
        knowledge = nil
        unproven = nil
        revision += 1
    }

    /// The names in the folder.
    mutating func known(unit: ColumnUnit) -> FolderKnowledge {
        if let knowledge { return knowledge }
        let made = FolderKnowledge(files: sources, unit: unit)
        knowledge = made
        return made
    }
}

/// A folder that checks, of which more may be proven.
package struct ProvingTask: Sendable {
    let path: String
    let revision: Int
    /// What the checker said of it.
    package let result: CheckResult
}

/// What a folder's files say.
struct FolderKnowledge {
    let files: [SourceFile]
    let index: SymbolIndex
    private let lines: [LineMap]

    init(files: [SourceFile], unit: ColumnUnit) {
        self.files = files
        index = SymbolIndex(files)
        lines = files.map { LineMap($0.text, unit: unit, endsAtReturns: true) }
    }

    func file(named name: String) -> Int? { files.firstIndex { $0.name == name } }

    /// The byte of a file at a position.
    func offset(_ position: TextPosition, file: Int) -> Int { lines[file].offset(of: position) }

    func span(_ range: SourceRange) -> (start: TextPosition, end: TextPosition) {
        guard lines.indices.contains(Int(range.file)) else {
            let start = TextPosition(line: 0, column: 0)
            return (start, start)
        }
        let map = lines[Int(range.file)]
        return (map.position(of: Int(range.start)), map.position(of: Int(range.end)))
    }

    func position(_ offset: Int, file: Int) -> TextPosition { lines[file].position(of: offset) }

    /// The text of a range.
    func text(_ range: SourceRange) -> String {
        files.indices.contains(Int(range.file)) ? files[Int(range.file)].excerpt(range) : ""
    }
}

/// A document's place: the folder, and its name in it.
struct DocumentPlace: Hashable {
    /// A path, or for other schemes the URI up to its last slash.
    var folder: String
    var name: String

    init(_ uri: String) {
        let whole = FileURI.path(uri) ?? uri
        let cut = whole.lastIndex(of: "/") ?? whole.lastIndex(of: ":")
        folder = cut.map { String(whole[...$0]) } ?? ""
        name = cut.map { String(whole[whole.index(after: $0)...]) } ?? whole
        isFile = FileURI.path(uri) != nil
    }

    /// It lies on the disk, or can.
    let isFile: Bool
}
