// swift-tools-version: 6.2
// Stile: a policy decision point. One package; a folder in Sources is a room with one purpose, and
// imports point downwards only (ARCHITECTURE.md, "Rooms").
import PackageDescription

/// What every target of ours is compiled with; C and system targets take none of it.
/// With STILE_STRICT set (as in CI) a warning is an error.
let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .strictMemorySafety(),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        // In release the codec, the records and the engine are inlined into the decision path across their rooms, and
        // class properties are not checked for overlapping access at run time: each reactor's objects have one thread.
        .unsafeFlags(
            ["-cross-module-optimization", "-enforce-exclusivity=unchecked"],
            .when(configuration: .release)),
    ] + (Context.environment["STILE_STRICT"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// In the gateway's rooms an asynchronous function stays where its caller runs: each change of executors there and back is paid
/// by every request.
let staying: [SwiftSetting] = strict + [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]

let package = Package(
    name: "stile",
    products: [
        .executable(name: "stiled", targets: ["stiled"]),
        .executable(name: "stile", targets: ["stile"]),
        .library(name: "StileClient", targets: ["StileClient"]),
        .library(name: "CStile", targets: ["CStile"]),
        .executable(name: "stile-gateway", targets: ["stile-gateway"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        // The gateway's alone: a program takes none of these unless its targets name them.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // The platform, fenced.
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZstandard", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .target(name: "CLinux"),

        // Memory that the hot path owns; text and bytes.
        .target(name: "Memory", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "StrictJSON", swiftSettings: strict),
        .target(name: "CBOR", dependencies: ["Memory"], swiftSettings: strict),
        .target(name: "Cryptography", dependencies: ["COpenSSL"], swiftSettings: strict),
        .target(name: "ServiceManager", dependencies: ["CLinux", "CSystemd"], swiftSettings: strict),

        // The language, the engine, the store.
        .target(name: "PolicyLanguage", swiftSettings: strict),
        .target(name: "LanguageTools", dependencies: ["PolicyLanguage", "StrictJSON"], swiftSettings: strict),
        .target(name: "DecisionEngine", dependencies: ["CLinux", "Memory", "PolicyLanguage"], swiftSettings: strict),
        .target(
            name: "AttributeStore",
            dependencies: [
                "CLMDB", "CLinux", "Cryptography", "Memory", "CBOR", "StrictJSON", "PolicyLanguage", "DecisionEngine",
            ],
            swiftSettings: strict),

        // What policies mean, symbolically.
        .target(
            name: "PolicyAnalysis", dependencies: ["PolicyLanguage", "DecisionEngine"], swiftSettings: strict),

        // What analyses found, as JSON; one form for the tool and the gateway.
        .target(
            name: "AnalysisReports",
            dependencies: ["StrictJSON", "PolicyLanguage", "DecisionEngine", "PolicyAnalysis"], swiftSettings: strict),

        // The compiled tree as a picture.
        .target(
            name: "PolicyDrawing", dependencies: ["PolicyLanguage", "DecisionEngine", "PolicyAnalysis"],
            swiftSettings: strict),

        // The decision socket.
        .target(name: "DecisionProtocol", dependencies: ["CBOR", "StrictJSON"], swiftSettings: strict),
        .target(
            name: "DecisionPath",
            dependencies: [
                "Memory", "CBOR", "StrictJSON", "DecisionProtocol", "PolicyLanguage", "DecisionEngine",
                "AttributeStore",
            ],
            swiftSettings: strict),
        // Who may do this, what may this user do.
        .target(
            name: "Surveys",
            dependencies: [
                "StrictJSON", "PolicyLanguage", "DecisionEngine", "PolicyAnalysis", "AnalysisReports", "AttributeStore",
                "DecisionProtocol", "DecisionPath",
            ],
            swiftSettings: strict),
        // Tests of policies: running them, what they reach, reports; whether a version may decide.
        .target(
            name: "PolicyTesting",
            dependencies: ["Memory", "StrictJSON", "PolicyLanguage", "DecisionEngine", "PolicyAnalysis"],
            swiftSettings: strict),
        .target(
            name: "DecisionLog",
            dependencies: [
                "CLinux", "CZstandard", "Cryptography", "Memory", "CBOR", "StrictJSON", "DecisionProtocol",
                "PolicyLanguage",
                "DecisionEngine", "AttributeStore", "DecisionPath",
            ],
            swiftSettings: strict),
        // A candidate version beside the live one.
        .target(
            name: "DecisionShadow",
            dependencies: [
                "CLinux", "Memory", "CBOR", "StrictJSON", "PolicyLanguage", "DecisionEngine", "AttributeStore",
                "DecisionProtocol", "DecisionPath", "DecisionLog",
            ],
            swiftSettings: strict),
        // A logged decision, decided again and explained.
        .target(
            name: "DecisionReplay",
            dependencies: [
                "StrictJSON", "PolicyLanguage", "DecisionEngine", "PolicyAnalysis", "AnalysisReports", "AttributeStore",
                "DecisionProtocol", "DecisionPath", "DecisionLog",
            ],
            swiftSettings: strict),
        .target(
            name: "DecisionServer",
            dependencies: [
                "CLinux", "ServiceManager", "Memory", "CBOR", "DecisionProtocol", "DecisionPath", "DecisionLog",
                "DecisionShadow", "DecisionEngine", "PolicyLanguage", "AttributeStore",
            ],
            swiftSettings: strict),
        .target(
            name: "StileClient", dependencies: ["CLinux", "Memory", "CBOR", "DecisionProtocol"], swiftSettings: strict),

        // The C client, libstile; `make install` builds it as a library of its own.
        .target(
            name: "CStile", exclude: ["libstile.map", "libstile.pc.in", "libstile.3"]),

        // The way in over HTTP: who calls, then one room for each API, then the listeners.
        .target(
            name: "Credentials", dependencies: ["Cryptography", "StrictJSON", "PolicyLanguage", "AttributeStore"],
            swiftSettings: strict),
        .target(
            name: "GatewayCore",
            dependencies: [
                "CLinux", "Cryptography", "StrictJSON", "AttributeStore", "DecisionProtocol", "DecisionPath",
                "StileClient",
                "Credentials",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: staying),
        .target(
            name: "Administration",
            dependencies: [
                "StrictJSON", "PolicyLanguage", "LanguageTools", "DecisionEngine", "PolicyAnalysis", "AnalysisReports",
                "AttributeStore", "DecisionProtocol", "DecisionPath", "DecisionReplay", "DecisionShadow", "Surveys",
                "PolicyTesting", "StileClient", "Credentials", "GatewayCore",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "AuthZEN",
            dependencies: [
                "CBOR", "Cryptography", "StrictJSON", "PolicyLanguage", "DecisionEngine", "AttributeStore",
                "DecisionProtocol", "DecisionPath", "StileClient", "Credentials", "GatewayCore",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: staying),
        .target(
            name: "Gateway",
            dependencies: [
                "Administration", "AuthZEN",
                "CLinux", "ServiceManager", "StrictJSON", "AttributeStore", "DecisionProtocol", "StileClient",
                "Credentials",
                "GatewayCore",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "NIOExtras", package: "swift-nio-extras"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: staying),

        // Mains: arguments in, nothing else.
        .executableTarget(
            name: "stiled",
            dependencies: [
                "CLinux", "DecisionServer", "DecisionPath", "DecisionLog", "AttributeStore",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "stile-gateway",
            dependencies: [
                "Gateway", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "stile",
            dependencies: [
                "Credentials", "StrictJSON", "Memory", "CBOR", "PolicyLanguage", "LanguageTools", "DecisionEngine",
                "PolicyAnalysis", "AnalysisReports", "PolicyTesting", "PolicyDrawing", "AttributeStore",
                "DecisionProtocol", "DecisionPath", "DecisionLog", "DecisionReplay", "DecisionShadow",
                "Surveys", "StileClient", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        // What deciding and compiling cost, in process; not installed. Here and not in the benchmarks' own package because
        // the engine is open to this package alone.
        .target(name: "CMeasure", path: "benchmarks/CMeasure"),
        .executableTarget(
            name: "engine-bench",
            dependencies: [
                "CMeasure", "DecisionEngine", "Memory", "PolicyLanguage",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "benchmarks/engine", swiftSettings: strict),

        // The floor of HTTP that the gateway is measured beside (benchmarks/over_http.py); not installed.
        .executableTarget(
            name: "http-floor",
            dependencies: [
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "benchmarks/http", exclude: ["unix.c"], swiftSettings: strict),

        // What the Swift client promises, from outside: neither sees more of it than any other package would.
        .executableTarget(
            name: "client-example", dependencies: ["StileClient"], path: "Tests/Clients/Example", packageAccess: false,
            swiftSettings: strict),
        .executableTarget(
            name: "client-exercise", dependencies: ["StileClient"], path: "Tests/Clients/Exercise",
            packageAccess: false,
            swiftSettings: strict),

        // Tests.
        .testTarget(name: "StrictJSONTests", dependencies: ["StrictJSON"], swiftSettings: strict),
        .testTarget(name: "MemoryTests", dependencies: ["Memory"], swiftSettings: strict),
        .testTarget(name: "CBORTests", dependencies: ["CBOR"], swiftSettings: strict),
        .testTarget(
            name: "PolicyLanguageTests", dependencies: ["PolicyLanguage"],
            exclude: ["Mistakes", "Corpus", "Layouts"], swiftSettings: strict),
        .testTarget(
            name: "LanguageToolsTests", dependencies: ["LanguageTools", "PolicyLanguage", "StrictJSON"],
            exclude: ["Reports"], swiftSettings: strict),
        .target(
            name: "TestSupport", dependencies: ["DecisionEngine", "PolicyLanguage"], path: "Tests/TestSupport",
            swiftSettings: strict),
        .testTarget(
            name: "DecisionEngineTests", dependencies: ["DecisionEngine", "PolicyLanguage", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "PolicyAnalysisTests",
            dependencies: ["PolicyAnalysis", "DecisionEngine", "PolicyLanguage", "TestSupport"],
            exclude: ["Warnings"],
            swiftSettings: strict),
        .testTarget(
            name: "PolicyTestingTests",
            dependencies: ["PolicyTesting", "DecisionEngine", "PolicyLanguage", "StrictJSON"],
            exclude: ["Reports"], swiftSettings: strict),
        .testTarget(
            name: "PolicyDrawingTests",
            dependencies: ["PolicyDrawing", "DecisionEngine", "PolicyLanguage", "TestSupport"],
            exclude: ["Pictures"], swiftSettings: strict),
        .testTarget(
            name: "AttributeStoreTests",
            dependencies: ["AttributeStore", "DecisionEngine", "Memory", "PolicyLanguage", "StrictJSON"],
            swiftSettings: strict),
        .testTarget(name: "CryptographyTests", dependencies: ["Cryptography"], swiftSettings: strict),
        .testTarget(
            name: "DecisionPathTests",
            dependencies: [
                "DecisionPath", "AttributeStore", "CBOR", "DecisionEngine", "DecisionProtocol", "Memory",
                "PolicyAnalysis",
                "PolicyLanguage", "StrictJSON", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CredentialsTests", dependencies: ["Credentials", "AttributeStore"], swiftSettings: strict),
        .testTarget(
            name: "GatewayCoreTests",
            dependencies: ["GatewayCore", "StrictJSON", .product(name: "HTTPTypes", package: "swift-http-types")],
            swiftSettings: strict),
        .testTarget(
            name: "AdministrationTests",
            dependencies: [
                "Administration", "StrictJSON", "DecisionReplay", "GatewayCore", "TestSupport",
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ], swiftSettings: strict),
        .testTarget(
            name: "AuthZENTests",
            dependencies: ["AuthZEN", "CBOR", "DecisionProtocol", "StileClient", "StrictJSON", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "DecisionLogTests",
            dependencies: [
                "DecisionLog", "DecisionPath", "DecisionProtocol", "AttributeStore", "Memory", "CBOR", "StrictJSON",
            ], swiftSettings: strict),
        .testTarget(
            name: "DecisionShadowTests",
            dependencies: [
                "DecisionShadow", "DecisionLog", "DecisionPath", "DecisionProtocol", "AttributeStore", "StrictJSON",
            ], swiftSettings: strict),
        .testTarget(
            name: "DecisionReplayTests",
            dependencies: [
                "DecisionReplay", "DecisionLog", "DecisionPath", "DecisionProtocol", "AttributeStore", "PolicyAnalysis",
                "PolicyLanguage", "DecisionEngine", "StrictJSON",
            ], swiftSettings: strict),
        .testTarget(
            name: "DecisionProtocolTests", dependencies: ["DecisionProtocol", "CBOR", "StrictJSON"],
            swiftSettings: strict),
        .testTarget(
            name: "StileClientTests",
            dependencies: ["StileClient", "CBOR", "CLinux", "DecisionProtocol", "Memory", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "DecisionServerTests", dependencies: ["DecisionServer", "DecisionPath", "AttributeStore"],
            swiftSettings: strict),
    ]
)

// STILE_WITHOUT_GATEWAY leaves the HTTP stack out of the package: what decides needs none of it, so `make demo` and the
// core's tests neither resolve nor build it.
if Context.environment["STILE_WITHOUT_GATEWAY"] != nil {
    let gateway: Set = [
        "GatewayCore", "Administration", "AuthZEN", "Gateway", "stile-gateway", "GatewayCoreTests",
        "AdministrationTests",
        "AuthZENTests", "http-floor",
    ]
    package.targets.removeAll { gateway.contains($0.name) }
    package.products.removeAll { $0.name == "stile-gateway" }
    package.dependencies.removeSubrange(1...)
}
