// The atomic questions that conditions come down to, over the variables of a question: what formulas are made of and
// what the theories (`Theory`) give a meaning to.

import PolicyLanguage

/// Something of a question that has a value: an attribute, an id, the instant, the age of a sign-in.
struct Variable: Sendable {
    enum Source: Hashable, Sendable {
        /// The live stored value, else the one that the question gives.
        case value
        /// Only the stored one, where two versions of a catalog take the attribute from different sources.
        case stored
        /// Only the one that the question gives.
        case given
    }

    enum Key: Hashable, Sendable {
        /// `version` tells apart what two versions of a catalog call by one name but hold incompatible.
        case attribute(AttributeScope, String, Source, version: Int?)
        case subject
        case resource
        case now
        /// Milliseconds since the last authentication.
        case age
        /// How many elements a set has.
        case count(of: Int)
    }

    var key: Key
    /// As an author writes it: `user.risk`.
    var name: String
    var sort: Sort
    /// Bounds of a number.
    var low = Int128.min
    var high = Int128.max
    /// Cases of an enumeration, in order.
    var cases: [Text] = []
    var isOrdered = false
    /// Of a set: every value an element can have, when they are few.
    var universe: [Value]?
}

/// A sum of variables with factors, ascending by variable, no factor zero.
struct LinearSum: Hashable, Sendable {
    struct Term: Hashable, Sendable {
        var variable: Int
        var factor: Int128
    }

    var terms: [Term] = []

    mutating func add(_ variable: Int, _ factor: Int128) {
        if let index = terms.firstIndex(where: { $0.variable == variable }) {
            terms[index].factor += factor
            if terms[index].factor == 0 { terms.remove(at: index) }
        } else if factor != 0 {
            terms.append(Term(variable: variable, factor: factor))
            terms.sort { $0.variable < $1.variable }
        }
    }
}

/// An atomic question. Numbers in it are indices of variables.
enum Atom: Hashable, Sendable {
    /// An attribute has no value.
    case absent(Int)
    /// A question gives a value of another type.
    case malformed(Int)
    /// A Boolean.
    case isTrue(Int)
    /// A number or address is at most this.
    case atMost(Int, Int128)
    case linear(LinearSum, atMost: Int128)
    /// A text, enumeration or reference has this value.
    case equals(Int, Value)
    /// A text matches a pattern, split at its stars.
    case like(Int, [Text])
    /// Two texts, addresses or references are the same; the first index is smaller.
    case same(Int, Int)
    /// A set holds a value.
    case contains(Int, Value)
    /// A set holds the value of a variable.
    case containsVariable(Int, Int)
    /// A set holds one of the values that no constant and no variable names.
    case containsFresh(Int, Int)
    case intersects(Int, Int)
    case subset(Int, of: Int)
    /// All elements of a set are among these.
    case onlyOf(Int, [Value])
    case group(Text)
    /// The subject has taken the role of this name, and its time has not ended.
    case granted(Text)
    case container(type: Text, id: Text)
    /// `now` is in the schedule of this index of the space.
    case schedule(Int)
    /// The session's assurance is of the class of this index of the space.
    case assurance(Int)
    /// The session proves the method of this bit.
    case method(Int)
    /// The store does not know the subject.
    case unknownSubject
    /// What cannot be analysed exactly; free to be either.
    case opaque(String)
}
