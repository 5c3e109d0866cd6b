// The newest decisions of a log, by id: what must not be written twice when a ring is taken over.

import CBOR

/// The newest segments of all lanes.
enum LogTail {
    /// The ids of the decisions in the last two segments of each lane.
    static func decisionIDs(_ log: String) -> Set<[UInt8]> {
        var ids: Set<[UInt8]> = []
        for lane in LaneDirectory.all(in: log) {
            for segment in lane.segments().suffix(2) {
                guard let bytes = try? segment.bytes(), let header = SegmentHeader(bytes) else { continue }
                var scanner = SegmentScanner(bytes, from: LogFormat.headerBytes, sequence: header.firstSequence)
                scanning: while true {
                    switch scanner.next() {
                    case .end: break scanning
                    case .damage: continue
                    case .record(let record):
                        guard record.kind == RecordKind.decision.rawValue,
                            case .bytes(let id)? = (try? CBORValue.decode(Array(bytes[record.payload])))?[0]?[4]
                        else { continue }
                        ids.insert(id)
                    }
                }
            }
        }
        return ids
    }
}

/// The chain's hashes as people note them.
package enum LogChain {
    /// Hexadecimal.
    static func text(_ hash: [UInt8]) -> String {
        hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
