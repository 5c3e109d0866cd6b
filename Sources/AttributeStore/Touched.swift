// Which entities a stretch of the change log was about: what a reader with open questions has to think over again.
//
// Unsafe file: entries are read in place, lent by the snapshot for the length of one call.

import CBOR
import Memory

/// An entity's name in an index: a hash that is keyed anew in each process, so that nobody can choose names that meet.
/// Two entities that meet all the same cost a needless second thought, nothing else.
package enum EntityHash {
    /// No entity.
    package static let none: UInt64 = 0

    /// - Parameters:
    ///   - type: the entity's type, in UTF-8.
    ///   - id: its id.
    package static func of(_ type: UnsafeRawBufferPointer, _ id: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        unsafe hasher.combine(bytes: type)
        hasher.combine(0 as UInt8)
        unsafe hasher.combine(bytes: id)
        return UInt64(bitPattern: Int64(hasher.finalize())) | 1
    }

    /// The hash of an entity.
    static func of(_ name: EntityName) -> UInt64 {
        unsafe Array(name.type.utf8).withUnsafeBytes { type in
            unsafe Array(name.id.utf8).withUnsafeBytes { id in unsafe of(type, id) }
        }
    }

    /// The same for names at hand.
    package static func of(_ type: StaticString, _ id: UnsafeRawBufferPointer) -> UInt64 {
        unsafe of(UnsafeRawBufferPointer(start: type.utf8Start, count: type.utf8CodeUnitCount), id)
    }
}

/// What an entry of the log was about.
package enum Touch: Sendable, Hashable {
    /// An entity, by its `EntityHash`.
    case entity(UInt64)
    /// This program cannot say: everything may have changed.
    case everything
}

extension Touch {
    /// Reads an entry of the log. Changes of policies and of the nesting of groups touch nothing here: their
    /// generations tell of them.
    static func read(_ stored: UnsafeRawBufferPointer, _ body: (Touch) -> Void) {
        guard unsafe stored.first == Key.plain else { return body(.everything) }
        do throws(CBORError) {
            var reader = unsafe CBORReader(UnsafeRawBufferPointer(rebasing: stored.dropFirst()))
            let parts = try reader.array()
            _ = try reader.integer()
            var change = ChangeRanges()
            try change.read(&reader)
            if parts > 2 { change.rewritten = try reader.skip() }
            try change.tell(reader, body)
        } catch {
            body(.everything)
        }
    }
}

extension Touch {
    /// As above, of an entry at hand.
    static func read(_ stored: [UInt8], _ body: (Touch) -> Void) {
        unsafe stored.withUnsafeBytes { unsafe read($0, body) }
    }
}

/// Where the parts of a change lie that name entities (the keys of `Change.cbor`).
struct ChangeRanges {
    var kind: UInt64 = 0
    var type = 0..<0
    var id = 0..<0
    /// Encoded arrays of [id, is a group].
    var members = 0..<0
    var removed = 0..<0
    /// Encoded array of the ids of members whose views were written.
    var rewritten = 0..<0
    /// Encoded array of [type, id]: what a resource lies in.
    var parents = 0..<0

    mutating func read(_ reader: inout CBORReader) throws(CBORError) {
        for _ in 0..<(try reader.map()) {
            switch try reader.unsigned() {
            case 0: kind = try reader.unsigned()
            case 1: type = try reader.text()
            case 2: id = try reader.text()
            case 6: members = try reader.skip()
            case 7: removed = try reader.skip()
            case 14: parents = try reader.skip()
            default: try reader.skip()
            }
        }
    }

    func tell(_ reader: CBORReader, _ body: (Touch) -> Void) throws(CBORError) {
        switch kind {
        case 1, 2, 10, 11, 12, 16, 17: unsafe body(.entity(EntityHash.of(reader.slice(type), reader.slice(id))))
        case 3:
            if rewritten.isEmpty { return body(.everything) }
            var list = reader.reader(of: rewritten)
            for _ in 0..<(try list.array()) { unsafe Self.tell(member: list.slice(try list.text()), body) }
        case 4:
            for range in [members, removed] where !range.isEmpty {
                var list = reader.reader(of: range)
                for _ in 0..<(try list.array()) {
                    _ = try list.array()
                    unsafe Self.tell(member: list.slice(try list.text()), body)
                    _ = try list.bool()
                }
            }
        case 6, 7: unsafe body(.entity(EntityHash.of("session", reader.slice(id))))
        case 8, 9: unsafe body(.entity(EntityHash.of("device", reader.slice(id))))
        case 5, 13, 14, 15: return
        default: body(.everything)
        }
    }

    /// SCIM's members are users; another subject is named by its type, U+0001 and its id.
    private static func tell(member: UnsafeRawBufferPointer, _ body: (Touch) -> Void) {
        guard let mark = unsafe member.firstIndex(of: 1) else {
            return unsafe body(.entity(EntityHash.of("user", member)))
        }
        unsafe body(
            .entity(
                EntityHash.of(
                    UnsafeRawBufferPointer(rebasing: member[..<mark]),
                    UnsafeRawBufferPointer(rebasing: member[(mark + 1)...]))))
    }
}
