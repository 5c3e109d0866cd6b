// What of a catalog could not be taken. The names that are known stay known, so that policies are checked as far as
// they go; what only follows from a mistake in the catalog is not told again where the word is used.

/// The words of a catalog that have a mistake.
struct BrokenWords {
    /// What has attributes.
    enum Owner: Hashable {
        case entity(String)
        case action(String)
        case context
    }

    /// An attribute in its place.
    struct Place: Hashable {
        var owner: Owner
        var name: String
    }

    /// Declarations were lost with their names, or stand under a name that cannot have been meant: any name may have been
    /// declared there.
    var hasLostNames = false
    /// Assurance levels were lost.
    var hasLostLevels = false
    /// Entity types and levels that the catalog itself uses without declaring them: told there.
    var missing = Set<String>()
    /// What may lack attributes, containers or resource types.
    var incomplete = Set<Owner>()
    /// Attributes with a mistake in their declaration.
    var attributes = Set<Place>()

    /// Mistakes that may only follow from what was lost with its name.
    var withheld: Set<DiagnosticCode> {
        var codes = Set<DiagnosticCode>()
        if hasLostNames {
            codes = [
                .unknownAttribute, .unknownEntity, .unknownAction, .actionNotOnType, .unknownName, .assuranceRead,
                .badContainer, .notGiven, .mixedSubjects, .badTemplate,
            ]
        }
        if hasLostLevels || hasLostNames { codes.insert(.unknownLevel) }
        return codes
    }

    /// True when the owner may have an attribute of this name that is not known as it was meant.
    func mayHave(_ name: String, _ owner: Owner) -> Bool {
        incomplete.contains(owner) || attributes.contains(Place(owner: owner, name: name))
    }
}
