// The one layout of everything a decision reads: views of subjects, sessions, devices and resources in the
// store, the properties of a question, and the constants of a compiled policy.
//
//   0  u8   format       1 = plain (other values: sealed forms, refused here)
//   1  u8   flags        bit 0: inactive (deprovisioned subject, ended session)
//   2  u16  slot count
//   4  u32  offset of the direct groups, from the start of the record
//   8  u32  number of direct groups: u32 each, ascending
//  12  u32  number of taken roles: the last so many slots have their names, as strings, each valid until its end
//  16  slots, 16 bytes each: u64 payload, i64 valid until (ms since the epoch)
//   …  heap
//
// All little-endian and unaligned. A slot whose "valid until" is not after `now` has no value; `absent` never
// has one, `forever` always. Payloads: Booleans and enum ordinals as themselves; integer, decimal, datetime and
// duration as Int64 bits; string and reference as offset | length << 32 to {u64 hash, bytes}; address as offset
// to {u64 high, u64 low}; set as offset | count << 32 to its elements' payloads, ascending (strings by hash).

internal import CLinux
public import Glibc
public import Memory
package import PolicyLanguage

/// Named numbers of the layout.
public enum RecordLayout {
    /// The format byte of a plain record.
    @inlinable public static var plain: UInt8 { 1 }
    /// The flag of a deprovisioned subject or an ended session.
    @inlinable public static var inactive: UInt8 { 1 }
    /// Bytes before the first slot.
    @inlinable public static var headerSize: Int { 16 }
    /// Bytes of one slot.
    @inlinable public static var slotSize: Int { 16 }
    /// "Valid until" of a slot without a value.
    @inlinable public static var absent: Int64 { Int64.min }
    /// "Valid until" of a slot whose value in a question has the wrong type; never has a value either.
    @inlinable public static var malformed: Int64 { Int64.min + 1 }
    /// "Valid until" of a value that no clock ends.
    @inlinable public static var forever: Int64 { Int64.max }
    /// Largest record, in bytes: a subject in 100,000 groups still fits.
    @inlinable public static var maxBytes: Int { 1 << 20 }
}

/// The slots that every session has after the attributes its catalog declares.
package struct SessionSlots: Sendable, Hashable {
    /// Bit set of assurance levels proven (`Assurance.implied`).
    package let levels: Int
    /// Bit set of authentication methods.
    package let methods: Int
    /// Instant of the authentication, ms since the epoch.
    package let authenticatedAt: Int
    /// `type`, NUL, `id` of the subject.
    package let subject: Int
    /// Id of the device, when known.
    package let device: Int
    /// Instant the session ends; absent when it has no end.
    package let endsAt: Int
    /// Slots of a session record.
    package let count: Int

    package init(_ catalog: Catalog) {
        let base = catalog.entities[Catalog.session].attributes.count
        levels = base
        methods = base + 1
        authenticatedAt = base + 2
        subject = base + 3
        device = base + 4
        endsAt = base + 5
        count = base + 6
    }
}

/// A role that a subject has taken for a time.
package struct GrantedRole: Sendable, Hashable {
    package var name: String
    /// First instant at which it is gone, ms since the epoch.
    package var until: Int64

    package init(name: String, until: Int64) {
        self.name = name
        self.until = until
    }
}

/// Writes records. Reusable: `reset` keeps the memory, so that a reactor's builders stop allocating.
public struct RecordBuilder: ~Copyable {
    @usableFromInline var storage = GrowableBytes(capacity: 512)
    /// Slots of the record.
    @inlinable public var slotCount: Int { slots }
    @usableFromInline var slots = 0

    /// An empty builder.
    @inlinable
    public init() {}

    /// The record so far, copied; complete after any call.
    package var bytes: [UInt8] { storage.array }

    /// Starts a record with this many empty slots (at most 65,535).
    @inlinable
    @inline(__always)
    public mutating func reset(slots: Int, flags: UInt8 = 0) {
        self.slots = min(max(0, slots), Int(UInt16.max))
        let head = UInt64(RecordLayout.plain) | UInt64(flags) << 8 | UInt64(slotCount) << 16
        storage.restart(
            with: (head.littleEndian, 0), pair: (0, UInt64(bitPattern: RecordLayout.absent).littleEndian),
            count: slotCount)
    }

    /// Makes the whole record an id: no header, only the string (`RecordView.identity` reads it).
    @inlinable
    @inline(__always)
    public mutating func setIdentity(_ id: UnsafeRawBufferPointer) {
        slots = 0
        storage.removeAll()
        _ = unsafe append(string: id)
    }

    /// Makes the whole record an id.
    package mutating func setIdentity(_ id: String) {
        var id = id
        id.withUTF8 { unsafe setIdentity(UnsafeRawBufferPointer($0)) }
    }

    /// Fills a slot with a ready payload.
    @inlinable
    @inline(__always)
    public mutating func set(_ slot: Int, payload: UInt64, validUntil: Int64 = RecordLayout.forever) {
        guard slot >= 0, slot < slotCount else { return }
        let offset = RecordLayout.headerSize &+ slot &* RecordLayout.slotSize
        storage.store(payload.littleEndian, at: offset)
        storage.store(UInt64(bitPattern: validUntil).littleEndian, at: offset &+ 8)
    }

    /// Fills a slot with a constant.
    package mutating func set(_ slot: Int, _ value: Constant, validUntil: Int64 = RecordLayout.forever) {
        set(slot, payload: payload(of: value), validUntil: validUntil)
    }

    /// Marks a slot as given with a value of the wrong type.
    package mutating func setMalformed(_ slot: Int) {
        set(slot, payload: 0, validUntil: RecordLayout.malformed)
    }

    /// Puts a string on the heap and returns its payload.
    @inlinable
    public mutating func append(string: UnsafeRawBufferPointer) -> UInt64 {
        let offset = storage.count
        storage.append(word: unsafe ContentHash.hash(string).littleEndian)
        unsafe storage.append(string)
        return UInt64(offset) | UInt64(string.count) << 32
    }

    /// Puts a string on the heap and returns its payload.
    package mutating func append(string: String) -> UInt64 {
        var text = string
        text.makeContiguousUTF8()
        let payload: UInt64? = unsafe text.utf8.withContiguousStorageIfAvailable { bytes in
            unsafe append(string: UnsafeRawBufferPointer(bytes))
        }
        return payload ?? 0
    }

    /// Puts an address on the heap and returns its payload.
    package mutating func append(address: IPAddress) -> UInt64 {
        let offset = UInt64(storage.count)
        storage.append(word: address.high.littleEndian)
        storage.append(word: address.low.littleEndian)
        return offset | 16 << 32
    }

    /// Puts a set on the heap, from its elements' payloads (which must already be on this heap), and returns its
    /// payload. Sorts `elements` and drops doubles of equal payload.
    package mutating func append(set elements: inout [UInt64], areStrings: Bool) -> UInt64 {
        if areStrings {
            elements.sort { hashOfString($0) < hashOfString($1) }
        } else {
            elements.sort()
        }
        let offset = UInt64(storage.count)
        for element in elements { storage.append(word: element.littleEndian) }
        return offset | UInt64(elements.count) << 32
    }

    /// The payload of a constant, putting on the heap what does not fit a word.
    package mutating func payload(of value: Constant) -> UInt64 {
        switch value {
        case .boolean(let value): return value ? 1 : 0
        case .integer(let value), .decimal(let value), .datetime(let value), .duration(let value):
            return UInt64(bitPattern: value)
        case .enumeration(let ordinal): return UInt64(ordinal)
        case .string(let text), .reference(_, let text): return append(string: text)
        case .address(let address): return append(address: address)
        case .set(let values):
            var unique = Set<Constant>()
            var areStrings = false
            var payloads: [UInt64] = []
            for value in values where unique.insert(value).inserted {
                switch value {
                case .string, .reference: areStrings = true
                default: break
                }
                payloads.append(payload(of: value))
            }
            return append(set: &payloads, areStrings: areStrings)
        }
    }

    /// Writes the direct groups; call once. `groups` must be ascending.
    package mutating func setGroups(_ groups: [UInt32]) {
        guard storage.count >= RecordLayout.headerSize, !groups.isEmpty else { return }
        storage.store(UInt32(storage.count).littleEndian, at: 4)
        storage.store(UInt32(groups.count).littleEndian, at: 8)
        for group in groups { storage.append(word: group.littleEndian) }
    }

    /// Writes the roles that the subject has taken into the last slots, which are to be theirs; call once.
    package mutating func setGranted(_ roles: [GrantedRole]) {
        guard storage.count >= RecordLayout.headerSize, !roles.isEmpty, roles.count <= slotCount else { return }
        storage.store(UInt32(roles.count).littleEndian, at: 12)
        for (index, role) in roles.enumerated() {
            set(slotCount - roles.count + index, .string(role.name), validUntil: role.until)
        }
    }

    /// Lends the finished record; the view must not outlive the closure.
    package borrowing func withView<Result>(_ body: (RecordView) -> Result) -> Result { body(unsafe borrowedView) }

    /// The finished record in place. Unsafe: void after the next change of the builder.
    @unsafe
    @inlinable
    @inline(__always)
    public var borrowedView: RecordView { unsafe RecordView(storage.borrowed) }

    private func hashOfString(_ payload: UInt64) -> UInt64 {
        let offset = Int(payload & 0xffff_ffff)
        guard offset + 8 <= storage.count else { return 0 }
        return UInt64(littleEndian: storage.load(at: offset, as: UInt64.self))
    }
}

/// A record to read, wherever its bytes lie: the store's map, a builder, a compiled policy.
///
/// INVARIANT: whoever makes a view keeps the bytes in place and unchanged for as long as the view is used: the
/// read transaction stays open, the builder is not touched. Every read is checked against `count`, so bytes that
/// are no record give nil, never a stray read.
@safe
public struct RecordView {
    @usableFromInline let base: UnsafeRawPointer?
    @usableFromInline let count: Int

    /// A view of nothing; every slot is absent.
    @inlinable
    public static var empty: RecordView { unsafe RecordView(UnsafeRawBufferPointer(start: nil, count: 0)) }

    /// A view of bytes that outlive it (see the invariant).
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer) {
        unsafe base = bytes.baseAddress
        count = unsafe bytes.baseAddress == nil ? 0 : bytes.count
    }

    /// True when there is no record.
    @inlinable
    @inline(__always)
    public var isEmpty: Bool { count == 0 }

    /// True when the bytes carry a plain record's header and all its slots.
    @inlinable
    public var isWellFormed: Bool {
        count >= RecordLayout.headerSize && load8(0) == RecordLayout.plain
            && RecordLayout.headerSize + slotCount * RecordLayout.slotSize <= count
    }

    /// The format byte; 0 for an empty view.
    package var format: UInt8 { count > 0 ? load8(0) : 0 }
    /// True for a deprovisioned subject or an ended session.
    @inlinable
    public var isInactive: Bool { count > 1 && load8(1) & RecordLayout.inactive != 0 }
    /// Slots of the record.
    @inlinable
    @inline(__always)
    public var slotCount: Int { count >= 4 ? Int(load16(2)) : 0 }
    /// Number of direct groups.
    @inlinable
    public var groupCount: Int { count >= 12 ? Int(load32(8)) : 0 }

    /// The direct group at an index below `groupCount`, or nil when the record is cut short.
    @inlinable
    @inline(__always)
    public func group(_ index: Int) -> UInt32? {
        guard count >= RecordLayout.headerSize, index >= 0 else { return nil }
        let offset = Int(load32(4)) &+ index &* 4
        guard offset &+ 4 <= count else { return nil }
        return load32(offset)
    }

    /// The roles that the subject has taken, those whose time has ended included.
    package var grantedRoles: [GrantedRole] {
        guard isWellFormed else { return [] }
        return (slotCount - min(slotCount, Int(load32(12)))..<slotCount).compactMap { slot in
            let until = validUntil(slot)
            guard until != RecordLayout.absent, let name = string(payload(slot)) else { return nil }
            return GrantedRole(name: name.text, until: until)
        }
    }

    /// The direct groups that lie in the record.
    var memberships: MembershipList {
        guard count >= RecordLayout.headerSize, let base = unsafe base else {
            return unsafe MembershipList(base: UnsafeRawPointer(bitPattern: 8).unsafelyUnwrapped, count: 0)
        }
        let offset = Int(load32(4))
        let room = offset < count ? (count &- offset) >> 2 : 0
        return unsafe MembershipList(base: base + min(offset, count), count: min(groupCount, room))
    }

    /// "Valid until" of a slot: `absent` when the record has no such slot.
    @inlinable
    @inline(__always)
    public func validUntil(_ slot: Int) -> Int64 {
        let offset = RecordLayout.headerSize &+ slot &* RecordLayout.slotSize
        guard slot >= 0, offset &+ 16 <= count, slot < slotCount else { return RecordLayout.absent }
        return Int64(bitPattern: load64(offset &+ 8))
    }

    /// Payload of a slot for which `validUntil` gave a value.
    @inlinable
    @inline(__always)
    public func payload(_ slot: Int) -> UInt64 {
        let offset = RecordLayout.headerSize &+ slot &* RecordLayout.slotSize
        guard slot >= 0, offset &+ 16 <= count else { return 0 }
        return load64(offset)
    }

    /// The hash and bytes behind a string payload, or nil when they do not lie in the record.
    @inlinable
    @inline(__always)
    public func string(_ payload: UInt64) -> RecordString? {
        let offset = Int(payload & 0xffff_ffff)
        let length = Int(payload >> 32)
        guard let base = unsafe base, offset &+ 8 &+ length <= count else { return nil }
        return unsafe RecordString(
            hash: load64(offset), bytes: UnsafeRawBufferPointer(start: base + offset + 8, count: length))
    }

    /// The id of a record that `RecordBuilder.setIdentity` made; nil for none.
    @inlinable
    @inline(__always)
    public var identity: RecordString? { count < 8 ? nil : string(identityPayload) }

    /// The payload of that id.
    @inlinable
    @inline(__always)
    public var identityPayload: UInt64 { UInt64(truncatingIfNeeded: count &- 8) << 32 }

    /// The address behind an address payload.
    @inline(__always)
    package func address(_ payload: UInt64) -> IPAddress? {
        let offset = Int(payload & 0xffff_ffff)
        guard offset &+ 16 <= count else { return nil }
        return IPAddress(high: load64(offset), low: load64(offset &+ 8))
    }

    /// Number of elements behind a set payload.
    @inlinable
    @inline(__always)
    public func setCount(_ payload: UInt64) -> Int { Int(payload >> 32) }

    /// Payload of one element of a set, or nil when it does not lie in the record.
    @inlinable
    @inline(__always)
    public func setElement(_ payload: UInt64, _ index: Int) -> UInt64? {
        let offset = Int(payload & 0xffff_ffff) &+ index &* 8
        guard index >= 0, offset &+ 8 <= count else { return nil }
        return load64(offset)
    }

    /// Asks for the record's lines, the first three and the last, before they are read.
    @inline(__always)
    func prefetch() {
        guard let base = unsafe base else { return }
        let last = max(0, count &- 1)
        unsafe stile_prefetch(base)
        unsafe stile_prefetch(base + min(64, last))
        unsafe stile_prefetch(base + min(128, last))
        unsafe stile_prefetch(base + last)
    }

    @inlinable
    @inline(__always)
    func load8(_ offset: Int) -> UInt8 {
        unsafe base.unsafelyUnwrapped.load(fromByteOffset: offset, as: UInt8.self)
    }

    @inlinable
    @inline(__always)
    func load16(_ offset: Int) -> UInt16 {
        unsafe UInt16(littleEndian: base.unsafelyUnwrapped.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inlinable
    @inline(__always)
    func load32(_ offset: Int) -> UInt32 {
        unsafe UInt32(littleEndian: base.unsafelyUnwrapped.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inlinable
    @inline(__always)
    func load64(_ offset: Int) -> UInt64 {
        unsafe UInt64(littleEndian: base.unsafelyUnwrapped.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

/// A string inside a record.
@safe
public struct RecordString {
    /// `ContentHash` of the bytes.
    public let hash: UInt64
    /// The UTF-8; lives as long as the record (see `RecordView`).
    public let bytes: UnsafeRawBufferPointer

    @inlinable
    init(hash: UInt64, bytes: UnsafeRawBufferPointer) {
        self.hash = hash
        unsafe self.bytes = bytes
    }

    /// True when hash, length and bytes agree.
    @inlinable
    @inline(__always)
    public func equals(_ other: RecordString) -> Bool {
        guard hash == other.hash, unsafe bytes.count == other.bytes.count else { return false }
        return unsafe Bytes.areEqual(bytes.baseAddress, other.bytes.baseAddress, bytes.count)
    }

    /// Negative, zero or positive, by UTF-8 bytes, which is the order of Unicode scalars.
    @inlinable
    public func compareBytes(_ other: RecordString) -> Int {
        let common = min(unsafe bytes.count, unsafe other.bytes.count)
        if common > 0, let left = unsafe bytes.baseAddress, let right = unsafe other.bytes.baseAddress {
            let order = unsafe memcmp(left, right, common)
            if order != 0 { return Int(order) }
        }
        return unsafe bytes.count - other.bytes.count
    }

    /// A copy as text.
    package var text: String { unsafe String(decoding: bytes, as: UTF8.self) }
}

/// Runs of bytes of one length.
public enum Bytes {
    /// Equality of short runs without a call: eight bytes at a time, the last eight overlapping those before.
    @inlinable
    @inline(__always)
    public static func areEqual(_ left: UnsafeRawPointer?, _ right: UnsafeRawPointer?, _ count: Int) -> Bool {
        guard count > 0, let left = unsafe left, let right = unsafe right else { return count == 0 }
        if count >= 8 {
            var offset = 0
            while offset < count &- 8 {
                if unsafe left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    != right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                {
                    return false
                }
                offset &+= 8
            }
            return unsafe left.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
                == right.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        }
        for offset in 0..<count
        where unsafe left.load(fromByteOffset: offset, as: UInt8.self)
            != right.load(fromByteOffset: offset, as: UInt8.self)
        {
            return false
        }
        return true
    }
}
