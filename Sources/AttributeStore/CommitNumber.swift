// The number of a store's last commit, read where LMDB keeps it. `mdb_env_info` gathers six facts from four places to tell
// this one; asked at each wake-up, it is a twentieth of what the questions of a wake-up cost.
//
// A data file begins with two meta pages, which commits write by turns; each ends with the number of its commit. The
// layout is that of data version 1 (lmdb.h, mdb.c: MDB_page, MDB_meta), of all of LMDB 0.9, on machines of 64 bits. It is
// checked against the magic, the version and what `mdb_env_info` says; where anything differs there is no
// `CommitNumber`, and `mdb_env_info` is asked.
//
// INVARIANT of this unsafe file: `map` is a mapping of `size` bytes of the file, which LMDB never makes shorter, and is
// unmapped with the object; `first` and `second` are words in it.

import CLMDB
import CLinux
import Glibc

/// Reads the number of the last commit.
@safe
final class CommitNumber: Sendable {
    nonisolated(unsafe) private let map: UnsafeMutableRawPointer
    private let size: Int
    nonisolated(unsafe) private let first: UnsafeRawPointer
    nonisolated(unsafe) private let second: UnsafeRawPointer

    private enum Layout {
        static let magic: UInt32 = 0xbeef_c0de
        static let version: UInt32 = 1
        static let magicOffset = 16
        static let versionOffset = 20
        /// Where the meta page says how large pages are.
        static let pageSizeOffset = 40
        static let numberOffset = 144
        static let bytes = 152
        static let pageSizes = 512...65_536
    }

    /// - Parameter environment: an open one.
    /// - Returns: nil where the file is not as it is expected.
    init?(_ environment: OpaquePointer) {
        var descriptor: Int32 = -1
        guard unsafe mdb_env_get_fd(environment, &descriptor) == 0, MemoryLayout<Int>.size == 8 else { return nil }
        var head = [UInt8](repeating: 0, count: Layout.bytes)
        guard unsafe pread(descriptor, &head, head.count, 0) == head.count else { return nil }
        let (magic, version, page) = unsafe head.withUnsafeBytes { bytes in
            unsafe (
                bytes.load(fromByteOffset: Layout.magicOffset, as: UInt32.self),
                bytes.load(fromByteOffset: Layout.versionOffset, as: UInt32.self),
                Int(bytes.load(fromByteOffset: Layout.pageSizeOffset, as: UInt32.self))
            )
        }
        guard magic == Layout.magic, version == Layout.version, Layout.pageSizes.contains(page), page % 512 == 0 else {
            return nil
        }
        size = page * 2
        let map = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
        guard let map = unsafe map, unsafe map != MAP_FAILED else { return nil }
        unsafe self.map = map
        unsafe first = UnsafeRawPointer(map + Layout.numberOffset)
        unsafe second = UnsafeRawPointer(map + page + Layout.numberOffset)
        // Twice, for another process may commit between the two.
        for _ in 0..<4 {
            let before = value
            var info = unsafe MDB_envinfo()
            guard unsafe mdb_env_info(environment, &info) == 0 else { return nil }
            let told = unsafe UInt64(info.me_last_txnid)
            if before == told { return }
            if before > told { return nil }
        }
        return nil
    }

    deinit { unsafe munmap(map, size) }

    /// The number; grows with each commit of any process.
    @inline(__always)
    var value: UInt64 { unsafe max(stile_load_word(first), stile_load_word(second)) }
}
