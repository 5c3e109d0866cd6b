// Where a replay folds what was stored then: a directory that nobody else can enter, in memory where there is some.
//
// INVARIANT of this unsafe file: the template given to `mkdtemp` is an array that is borrowed for the call.

import DecisionLog
import Glibc

/// A directory for the time of a call.
package enum ScratchDirectory {
    /// Runs something with an empty directory, which is removed afterwards with all that is in it.
    /// - Throws: `store` when none can be made, and what the body throws.
    package static func with<Value>(_ body: (String) throws(ReplayError) -> Value) throws(ReplayError) -> Value {
        let path = try make()
        defer { remove(path) }
        return try body(path)
    }

    private static func make() throws(ReplayError) -> String {
        var base = "/tmp"
        if unsafe access("/dev/shm", W_OK | X_OK) == 0 {
            base = "/dev/shm"
        } else if let value = unsafe getenv("TMPDIR") {
            base = unsafe String(cString: value)
        }
        var template = Array("\(base)/stile-\(String(repeating: "X", count: 6))".utf8CString)
        let made: String? = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, let path = unsafe mkdtemp(start) else { return nil }
            return unsafe String(cString: path)
        }
        guard let made else {
            throw ReplayError(.store, "cannot make a directory in \(base): \(unsafe String(cString: strerror(errno)))")
        }
        return made
    }

    private static func remove(_ path: String) {
        for name in LogFiles.list(path) {
            let inner = "\(path)/\(name)"
            // A directory is not unlinked.
            if (try? LogFiles.remove(inner)) == nil { remove(inner) }
        }
        _ = unsafe rmdir(path)
    }
}
