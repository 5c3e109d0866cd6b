// How large policy text may be. Every limit has a diagnostic that names it.

/// Limits of the front end.
package enum LanguageLimits {
    /// Bytes of one file.
    package static let maxFileBytes = 4 << 20
    /// Files of one tenant.
    package static let maxFiles = 1_000
    /// Parentheses, `not` and lists inside one another.
    package static let maxNesting = 64
    /// Bytes of one string literal or name.
    package static let maxStringBytes = 4_096
    /// Rules of one tenant.
    package static let maxRules = 100_000
    /// Attributes of one entity type, action or context.
    package static let maxAttributes = 1_024
    /// Assurance levels: they are bits of a word.
    package static let maxLevels = 64
    /// Diagnostics reported at once; the rest are counted.
    package static let maxDiagnostics = 200
}
