// A replayed decision for people and for programs.

import AttributeStore
import DecisionLog
import DecisionProtocol
package import PolicyAnalysis
import PolicyLanguage
package import StrictJSON

/// Writes what a replay has found.
package struct ReplayReport {
    private let replay: DecisionReplay
    private let tenant: String
    private let why: (policies: CheckedPolicies, why: Why)?

    package init(_ replay: DecisionReplay, tenant: String, limits: ChangeSearch.Limits = ChangeSearch.Limits()) {
        self.replay = replay
        self.tenant = tenant
        why = replay.why(limits)
    }

    // MARK: For people

    /// What follows the logged answer.
    package func text(usesColor: Bool) -> String {
        func paint(_ text: String, _ style: String) -> String { usesColor ? "\u{1b}[\(style)m\(text)\u{1b}[0m" : text }
        typealias Lines = TextWrapping
        let version = replay.logged.answer.policyVersion
        var text = "  decided at \(Instant.format(replay.logged.time)): \(question)\n\n"
        if replay.agrees {
            text += Lines.wrapped(
                "Decided again by version \(version), on what the store held then: the same answer.", indent: 2)
        } else {
            text += Lines.wrapped(
                paint("Decided again by version \(version): \(outcome), which is not what was logged.", "1;33"),
                indent: 2)
        }
        for divergence in replay.divergences { text += Lines.wrapped("- \(divergence.message)", indent: 4) }
        text += Lines.wrapped(provenance, indent: 2)
        if let why { text += WhyText(why.policies, usesColor: usesColor).write(why.why) }
        return text + "\n"
    }

    private var outcome: String {
        let rules = replay.answer.rules.map(\.name).joined(separator: ", ")
        let cause = replay.answer.cause.map { ", \($0.message) (\($0.code))" } ?? ""
        return replay.answer.kind.name + (rules.isEmpty ? "" : " by \(rules)") + cause
    }

    private var question: String {
        let question = replay.logged.question
        let subject = question?.subject.map { "\($0.type):\($0.id)" } ?? "nobody"
        let resource = question?.resource.map { "\($0.type):\($0.id)" } ?? "nothing"
        return "\(subject)  \(question?.action?.name ?? "no action")  \(resource)"
            + (question?.session.map { "  session \($0)" } ?? "") + (question?.device.map { "  device \($0)" } ?? "")
    }

    /// Which values are those of then, and what has changed.
    private var provenance: String {
        var text =
            "What the question gave is as the log of decisions has it; what was stored is as the log of changes had it, up "
            + "to its entry \(replay.past.lastEntry)."
        let changed = PastPart.allCases.compactMap { part in
            replay.past.later[part].map { "\(name(part)) (\($0.count)×, last \(Instant.format($0.last)))" }
        }
        text +=
            changed.isEmpty
            ? " Nothing of it has changed since." : " Changed since: \(changed.joined(separator: ", "))."
        if replay.activeVersion != replay.logged.answer.policyVersion {
            text += " Version \(replay.activeVersion) decides now."
        }
        return text
    }

    private func name(_ part: PastPart) -> String {
        switch part {
        case .subject, .resource, .session, .device: "the \(part.rawValue)"
        case .groups: "groups"
        case .containers: "what the resource lies in"
        case .policies: "the version that decides"
        }
    }

    // MARK: JSON

    /// All of it as one object: what was logged, what was decided now, and the members that `stile why` writes.
    package var json: JSONValue {
        let later = PastPart.allCases.compactMap { part in
            replay.past.later[part].map { changes in
                JSONValue.object([
                    "part": .string(part.rawValue), "changes": .integer(changes.count),
                    "first": .string(Instant.format(changes.first)), "last": .string(Instant.format(changes.last)),
                ])
            }
        }
        return .object(
            [
                JSONMember("logged", replay.logged.json(tenant: tenant)), JSONMember("agrees", .bool(replay.agrees)),
                JSONMember(
                    "divergences",
                    .array(
                        replay.divergences.map {
                            .object(["code": .string($0.code.rawValue), "message": .string($0.message)])
                        })),
                JSONMember(
                    "values",
                    .object([
                        "given": .string("decision_log"), "stored": .string("change_log"),
                        "as_of": .string(Instant.format(replay.logged.time)),
                        "last_change": .integer(replay.past.lastEntry),
                        "masked": .array(replay.logged.masked.map { .string($0) }), "changed_since": .array(later),
                    ])),
                JSONMember("active_version", .integer(replay.activeVersion)),
                JSONMember("answer", replay.answer.json),
            ] + (why.map { WhyText.members($0.policies, $0.why) } ?? []))
    }
}
