// How large policy text may be. Every limit has a diagnostic that names it.

/// Limits of the front end.
package enum LanguageLimits {
    /// Bytes of one file.
    package static let maxFileBytes = 4 << 20
    /// Files of one tenant.
    package static let maxFiles = 1_000
    /// Bytes of all files of one tenant together, so that what text from outside can make us hold has a bound. How much
    /// memory a byte of the worst text takes has not been measured.
    package static let maxTotalBytes = 32 << 20
    /// Parentheses, `not` and lists inside one another.
    package static let maxNesting = 64
    /// Bytes of one string literal or name.
    package static let maxStringBytes = 4_096
    /// Rules of one tenant.
    package static let maxRules = 100_000
    /// Elements of one list.
    package static let maxListElements = 10_000
    /// Entity types of one catalog, the built-in ones included.
    package static let maxTypes = 500
    /// Actions of one catalog.
    package static let maxActions = 5_000
    /// Attributes of one entity type, action or context.
    package static let maxAttributes = 1_024
    /// Cases of one enum.
    package static let maxCases = 1_024
    /// Assurance levels: they are bits of a word.
    package static let maxLevels = 64
    /// Errors reported at once, and warnings; after so many errors the rest of the text is not looked at.
    package static let maxDiagnostics = 200
    /// Letters compared in search of near names, in one run: what text with very many mistakes can cost.
    package static let maxAdviceWork = 20_000_000
}
