// Closed segments, smaller: Zstandard (RFC 8878), a piece at a time so that the log's thread never stays away long.
//
// INVARIANT of this unsafe file: a context belongs to its value alone and is freed with it; libzstd is given pointers of
// borrowed arrays with their lengths, for the call alone.

import CZstandard

/// Compresses a stream.
@safe
struct ZstandardCompressor: ~Copyable {
    private let context: OpaquePointer
    private var output = [UInt8](repeating: 0, count: ZSTD_CStreamOutSize())

    /// - Parameter count: bytes of the whole.
    /// - Throws: when there is no memory.
    init(count: Int) throws(LogError) {
        guard let context = unsafe ZSTD_createCCtx() else { throw LogError("no memory for compressing") }
        unsafe self.context = context
        // The library's own level is 3: four to eight times smaller here at some hundred MB a second.
        _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
        _ = unsafe ZSTD_CCtx_setPledgedSrcSize(context, UInt64(count))
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// What the next piece adds to the compressed stream.
    mutating func compress(_ piece: [UInt8], isLast: Bool) throws(LogError) -> [UInt8] {
        var result: [UInt8] = []
        var position = 0
        while true {
            var produced = 0
            let rest = unsafe piece.withUnsafeBytes { source in
                unsafe output.withUnsafeMutableBytes { target in
                    var input = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: position)
                    var out = unsafe ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
                    let rest = unsafe ZSTD_compressStream2(
                        context, &out, &input, isLast ? ZSTD_e_end : ZSTD_e_continue)
                    unsafe position = input.pos
                    unsafe produced = out.pos
                    return rest
                }
            }
            if ZSTD_isError(rest) != 0 {
                throw LogError("compressing: \(unsafe String(cString: ZSTD_getErrorName(rest)))")
            }
            result += output[..<produced]
            if isLast ? rest == 0 : position == piece.count { return result }
        }
    }
}

/// Decompresses.
enum Zstandard {
    /// The whole of a compressed file.
    /// - Throws: when the bytes are no whole stream, or when it is longer than `limit`.
    static func decompressed(_ bytes: [UInt8], limit: Int) throws(LogError) -> [UInt8] {
        guard let context = unsafe ZSTD_createDCtx() else { throw LogError("no memory for decompressing") }
        defer { unsafe ZSTD_freeDCtx(context) }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: ZSTD_DStreamOutSize())
        var position = 0
        while true {
            var produced = 0
            let rest = unsafe bytes.withUnsafeBytes { source in
                unsafe chunk.withUnsafeMutableBytes { target in
                    var input = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: position)
                    var out = unsafe ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
                    let rest = unsafe ZSTD_decompressStream(context, &out, &input)
                    unsafe position = input.pos
                    unsafe produced = out.pos
                    return rest
                }
            }
            if ZSTD_isError(rest) != 0 {
                throw LogError("decompressing: \(unsafe String(cString: ZSTD_getErrorName(rest)))")
            }
            result += chunk[..<produced]
            guard result.count <= limit else { throw LogError("decompressing: more than \(limit) bytes") }
            if rest == 0, position == bytes.count { return result }
            if produced == 0, position == bytes.count { throw LogError("decompressing: the end is missing") }
        }
    }
}
