// Searches (AuthZEN Authorization API 1.0, section 8): one question put with each entity that could stand in its open place, by
// the code that answers questions, on one snapshot and at one instant. So a search finds what asking one by one would permit,
// and nothing else.
//
// INVARIANT of this unsafe file: a frame's bytes stay in place while the reader that was made for them is used.

package import AttributeStore
import CBOR
import DecisionEngine
package import DecisionProtocol
import Memory
import PolicyLanguage

/// A question with an open place.
package struct EntityQuery: Sendable, Hashable {
    /// The place.
    package enum Target: String, Sendable, Hashable, CaseIterable {
        case subject, resource, action
    }

    package var target: Target
    /// The question. The open entity has its type and properties; its id does not count. A search for actions has none.
    package var question: Question
    /// Entities up to this id were asked about before; nil begins.
    package var after: String?
    /// Results at most.
    package var limit: Int
    /// Entities that are asked about at most.
    package var candidateLimit = 10_000

    package init(_ target: Target, _ question: Question, after: String? = nil, limit: Int) {
        self.target = target
        self.question = question
        self.after = after
        self.limit = limit
    }
}

/// Results of a search.
package struct EntityPage: Sendable, Hashable {
    /// An entity for which the answer is permit.
    package struct Result: Sendable, Hashable {
        /// Its id; the name of an action.
        package var id: String
        /// What the application is to do along with it.
        package var obligations: [Obligation]

        package init(id: String, obligations: [Obligation]) {
            self.id = id
            self.obligations = obligations
        }
    }

    /// In the order of ids; actions in the catalog's.
    package fileprivate(set) var results: [Result] = []
    /// The next page is after this id; nil when there is nothing behind.
    package fileprivate(set) var next: String?
    package fileprivate(set) var snapshot: UInt64 = 0
    package fileprivate(set) var policyVersion: UInt64 = 0
}

/// Why a search has no results.
package enum SearchError: Error, Sendable {
    case store(StoreError)
    /// The tenant's budget of questions is used up.
    case budgetExceeded(String)
}

/// Searches one tenant; used by one thread at a time.
package final class EntitySearcher {
    private let board: PolicyBoard
    private let decider: TenantDecider
    /// Questions in a batch.
    private static let chunk = 256

    /// Opens the tenant's store for reading.
    package init(_ tenant: String, board: PolicyBoard) throws(StoreError) {
        self.board = board
        _ = try board.load(tenant)
        decider = try TenantDecider(tenant, board: board)
    }

    /// One page of a search on the newest snapshot.
    /// - Parameter now: the instant of every question, ms since the epoch.
    package func page(_ query: EntityQuery, now: Int64) throws(SearchError) -> EntityPage {
        decider.begin(now: now)
        defer {
            decider.end()
            decider.release()
        }
        if decider.takeRefreshRequest() {
            decider.end()
            do throws(StoreError) { try board.refresh(decider.tenant) } catch { throw .store(error) }
            decider.begin(now: now)
        }
        if decider.hasFailed { throw .store(StoreError(.failed, "the store of \(decider.tenant) cannot be read")) }
        var page = EntityPage()
        page.snapshot = decider.snapshotID
        page.policyVersion = decider.policies?.version ?? 0
        try fill(&page, query)
        return page
    }

    /// Looks for one result more than is wanted: a next page is told of only when it has something.
    private func fill(_ page: inout EntityPage, _ query: EntityQuery) throws(SearchError) {
        var after = query.after
        var budget = query.candidateLimit
        while budget > 0 {
            let ids = try candidates(query, after: after, limit: min(Self.chunk, budget))
            guard let last = ids.last else { return }
            for (id, answer) in zip(ids, try answers(query, ids)) {
                if answer.kind == .error, let cause = answer.cause {
                    if cause.code == "budget_exceeded" { throw .budgetExceeded(cause.message) }
                    if cause.code == "store_unreadable" { throw .store(StoreError(.failed, cause.message)) }
                }
                guard answer.outcome == .permit else { continue }
                if page.results.count == query.limit {
                    page.next = page.results.last?.id ?? query.after
                    return
                }
                page.results.append(EntityPage.Result(id: id, obligations: answer.obligations))
            }
            budget -= ids.count
            after = last
        }
        page.next = after
    }

    /// Ids that could stand in the open place, in order.
    private func candidates(_ query: EntityQuery, after: String?, limit: Int) throws(SearchError) -> [String] {
        guard let policies = decider.policies else { return [] }
        switch query.target {
        case .subject, .resource:
            let entity = query.target == .subject ? query.question.subject : query.question.resource
            guard let type = entity?.type, policies.program.catalog.entity(named: type) != nil else { return [] }
            do throws(StoreError) {
                return try decider.entityIDs(layout: policies.layout, type: type, after: after, limit: limit)
            } catch {
                throw .store(error)
            }
        case .action:
            let catalog = policies.program.catalog
            guard let type = query.question.resource.flatMap({ catalog.entity(named: $0.type) }) else { return [] }
            var names = catalog.actions.filter { $0.resourceTypes.contains(type) }.map(\.name)
            if let after {
                // An action that is gone meanwhile has none behind it: the search ends.
                names.removeFirst(names.firstIndex(of: after).map { $0 + 1 } ?? names.count)
            }
            return Array(names.prefix(limit))
        }
    }

    /// The answers to the question with each of these in its open place.
    private func answers(_ query: EntityQuery, _ ids: [String]) throws(SearchError) -> [Answer] {
        let items = ids.map { id in
            var item = Question(subject: nil, action: nil, resource: nil)
            switch query.target {
            case .subject:
                item.subject = query.question.subject
                item.subject?.id = id
            case .resource:
                item.resource = query.question.resource
                item.resource?.id = id
            case .action: item.action = ActionName(name: id)
            }
            return item
        }
        var defaults = query.question
        switch query.target {
        case .subject: defaults.subject = nil
        case .resource: defaults.resource = nil
        case .action: defaults.action = nil
        }
        let frame = Batch(defaults: defaults, items: items).frame(id: 1)
        var output = CBORWriter()
        let isAnswered = unsafe frame.withUnsafeBytes { bytes in
            let whole = unsafe CBORReader(bytes)
            var reader = whole
            guard let head = try? FrameHead(&reader) else { return false }
            return (try? decider.answerBatch(head, whole, &output)) != nil
        }
        guard isAnswered,
            case .batch(_, let answers) = ServerFrame(Array(output.bytes.array.dropFirst(ProtocolLimits.prefixBytes))),
            answers.count == ids.count
        else { throw .store(StoreError(.failed, "a search's questions could not be answered")) }
        return answers
    }
}
