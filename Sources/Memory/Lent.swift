// A class's object that somebody else keeps alive, at hand without counting a reference: a count is an operation on
// memory that all processors must agree on, and on the decision path there would be a dozen a question.
//
// INVARIANT of this unsafe file: whoever makes a `Lent` uses it only while something else holds the object, and says
// there what that is.

/// An object that is held elsewhere.
@safe
public struct Lent<Object: AnyObject> {
    @usableFromInline let object: Unmanaged<Object>

    /// - Parameter object: held by something that outlives this.
    @inlinable
    public init(_ object: Object) { unsafe self.object = .passUnretained(object) }

    /// Calls `body` with the object.
    @inlinable
    @inline(__always)
    public func with<Value>(_ body: (Object) -> Value) -> Value { unsafe object._withUnsafeGuaranteedRef(body) }
}
