// Reads samples of the load (u32 nanoseconds, little-endian) into an HdrHistogram and writes its percentiles.
//
//   percentiles NAME FILE [NAME FILE …]      one JSON object a pair, three significant digits

import Foundation
import Histogram

var arguments = Array(CommandLine.arguments.dropFirst())
guard !arguments.isEmpty, arguments.count % 2 == 0 else {
    FileHandle.standardError.write(Data("usage: percentiles NAME FILE [NAME FILE …]\n".utf8))
    exit(64)
}
while arguments.count >= 2 {
    let name = arguments.removeFirst()
    let path = arguments.removeFirst()
    guard let data = FileManager.default.contents(atPath: path) else {
        FileHandle.standardError.write(Data("cannot read \(path)\n".utf8))
        exit(66)
    }
    var histogram = Histogram<UInt64>(highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: .three)
    var value: UInt64 = 0
    for (index, byte) in data.enumerated() {
        value |= UInt64(byte) << UInt64(8 * (index % 4))
        if index % 4 == 3 {
            _ = histogram.record(max(1, value))
            value = 0
        }
    }
    let points: [(label: String, percentile: Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9), ("p99.99", 99.99), ("max", 100),
    ]
    let values = points.map { "\"\($0.label)_ns\":\(histogram.valueAtPercentile($0.percentile))" }
    print("{\"name\":\"\(name)\",\"samples\":\(data.count / 4),\(values.joined(separator: ","))}")
}
