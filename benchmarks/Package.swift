// swift-tools-version: 6.2
// What measuring needs and the product does not: the harness, with HdrHistogram over the load's samples.
import PackageDescription

let package = Package(
    name: "stile-benchmarks",
    dependencies: [
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0")
    ],
    targets: [
        .executableTarget(
            name: "bench",
            dependencies: [.product(name: "Histogram", package: "hdrhistogram-swift")],
            swiftSettings: [.enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility")])
    ]
)
