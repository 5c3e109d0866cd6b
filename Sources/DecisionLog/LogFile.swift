// The calls of the file system that the log makes, with errors that say what failed.
//
// INVARIANT of this unsafe file: every pointer given to a call lies in an array or buffer that is borrowed for the call
// alone, with that buffer's length.

import CLinux
import Glibc

/// A failed operation of the log.
package struct LogError: Error, Sendable, Hashable, CustomStringConvertible {
    /// An errno; 0 when it was no call of the system.
    package var code: Int32
    /// What was being done, with the path.
    package var operation: String

    package init(_ operation: String, code: Int32 = 0) {
        self.operation = operation
        self.code = code
    }

    package var description: String {
        code == 0 ? operation : "\(operation): \(unsafe String(cString: strerror(code)))"
    }

    /// Another holds the lock, or the file is not there.
    package var isLocked: Bool { code == EWOULDBLOCK }
    var isMissing: Bool { code == ENOENT }
}

/// An open file.
package struct LogFile: ~Copyable {
    private let descriptor: Int32
    let path: String

    /// How a file is opened.
    package enum Use {
        case read, write, create
        /// Made when it is missing.
        case update
    }

    package init(_ path: String, _ use: Use) throws(LogError) {
        let flags: Int32
        switch use {
        case .read: flags = O_RDONLY
        case .write: flags = O_RDWR
        case .create: flags = O_RDWR | O_CREAT | O_TRUNC
        case .update: flags = O_RDWR | O_CREAT
        }
        let descriptor = unsafe open(path, flags | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw LogError("opening \(path)", code: errno) }
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    /// Takes the file's lock, which ends with the file.
    /// - Throws: a code of EWOULDBLOCK when another has it.
    package func lock() throws(LogError) {
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0 { throw LogError("locking \(path)", code: errno) }
    }

    /// Bytes of the file.
    package var count: Int {
        var info = stat()
        return unsafe fstat(descriptor, &info) == 0 ? Int(info.st_size) : 0
    }

    /// Time of the last change, ms since the epoch.
    var modified: Int64 {
        var info = stat()
        guard unsafe fstat(descriptor, &info) == 0 else { return 0 }
        return Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec / 1_000_000)
    }

    /// Sets the time of the last change.
    func setModified(_ time: Int64) {
        let time = timespec(tv_sec: Int(time / 1000), tv_nsec: Int(time % 1000) * 1_000_000)
        var times = [time, time]
        _ = unsafe futimens(descriptor, &times)
    }

    /// Writes all bytes at an offset.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(LogError) {
        var done = 0
        while done < bytes.count {
            let count = unsafe pwrite(
                descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done, off_t(offset + done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw LogError("writing \(path)", code: count == 0 ? ENOSPC : errno) }
            done += count
        }
    }

    /// Writes all bytes at an offset.
    package func write(_ bytes: [UInt8], at offset: Int) throws(LogError) {
        let failure: LogError? = unsafe bytes.withUnsafeBytes { buffer in
            do throws(LogError) {
                try unsafe write(buffer, at: offset)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    /// Reads up to `count` bytes from an offset.
    package func read(_ count: Int, at offset: Int) throws(LogError) -> [UInt8] {
        var code: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            while used < count {
                let start = used
                let got = unsafe pread(
                    descriptor, buffer.baseAddress.map { unsafe $0 + start }, count - start, off_t(offset + start))
                if got < 0, errno == EINTR { continue }
                if got < 0 { code = errno }
                if got <= 0 { return }
                used += got
            }
        }
        if code != 0 { throw LogError("reading \(path)", code: code) }
        return bytes
    }

    /// Lets the kernel begin to write a part out, so that a later `sync` finds little to do.
    func beginWriting(_ count: Int, at offset: Int) {
        _ = stile_begin_writing(descriptor, Int64(offset), Int64(count))
    }

    /// Cuts the file.
    func truncate(to count: Int) throws(LogError) {
        if ftruncate(descriptor, off_t(count)) != 0 { throw LogError("cutting \(path)", code: errno) }
    }

    /// Makes what was written durable.
    func sync() throws(LogError) {
        if fdatasync(descriptor) != 0 { throw LogError("syncing \(path)", code: errno) }
    }
}

/// Names in the file system.
package enum LogFiles {
    /// Makes a directory; the one above it must exist.
    package static func makeDirectory(_ path: String) throws(LogError) {
        if unsafe mkdir(path, 0o750) != 0, errno != EEXIST { throw LogError("making \(path)", code: errno) }
    }

    /// Names in a directory, sorted; none when there is no directory.
    package static func list(_ path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Makes the names in a directory durable.
    static func syncDirectory(_ path: String) throws(LogError) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LogError("opening \(path)", code: errno) }
        defer { close(descriptor) }
        if fsync(descriptor) != 0 { throw LogError("syncing \(path)", code: errno) }
    }

    package static func move(_ path: String, to other: String) throws(LogError) {
        if unsafe rename(path, other) != 0 { throw LogError("renaming \(path)", code: errno) }
    }

    package static func remove(_ path: String) throws(LogError) {
        if unsafe unlink(path) != 0, errno != ENOENT { throw LogError("removing \(path)", code: errno) }
    }

    /// Bytes and time of the last change (ms since the epoch) of a file; nil when it is not there.
    static func facts(_ path: String) -> (count: Int, modified: Int64)? {
        var info = stat()
        guard unsafe stat(path, &info) == 0 else { return nil }
        return (Int(info.st_size), Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec / 1_000_000))
    }
}
