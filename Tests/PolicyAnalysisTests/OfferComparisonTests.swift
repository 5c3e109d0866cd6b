// What a comparison says of offers: that they are the same is proven, and of those that are not, what differs.

import DecisionEngine
import PolicyLanguage
import Testing

@testable import PolicyAnalysis

@Suite("offers compared")
struct OfferComparisonTests {
    /// Policies with these roles and offers.
    private func policies(_ text: String, level: Int = 0) throws -> CheckedPolicies {
        let file = SourceFile(
            name: "ward.stile",
            text: """
                catalog "ward" version 1.0.0 {
                  assurance password < mfa
                  entity user { level: 0...9 = \(level)  ward: string = "" }
                  entity patient { }
                  action read on patient
                }
                policy "P" {
                  role senior is user.level >= 3
                  role doctor is user in group "Doctors"
                  permit read on patient to role doctor
                  \(text)
                }
                """)
        let result = checkPolicies([file])
        return try #require(result.policies, "\(result.diagnostics)")
    }

    private func changes(
        _ old: String, _ new: String, levels: (old: Int, new: Int) = (0, 0)
    ) throws -> [ChangedOffer] {
        let comparison = try compare(try policies(old, level: levels.old), try policies(new, level: levels.new))
        #expect(comparison.isProvenEqual == (comparison.offers.isEmpty && comparison.regions.isEmpty))
        return comparison.offers
    }

    @Test(
        "an offer in other words is the same",
        arguments: [
            ("to user when user.level >= 3", "to role senior"),
            ("to user when user.level in 3...5 or user.level > 5", "to user when not user.level < 3"),
            ("to user when user.level >= 3", "as \"other\" to user when user.level >= 3"),
            ("to user when user.level > 3", "to user when user.level > 3 because \"Cover.\""),
        ])
    func same(_ old: String, _ new: String) throws {
        let offer = "offer role doctor for at most 4h "
        #expect(try changes(offer + old, offer + new).isEmpty)
    }

    @Test(
        "what differs is told",
        arguments: [
            ("for at most 4h to role senior", "for at most 8h to role senior", [.duration]),
            ("for at most 4h to role senior", "for at most 4h to user when user.level >= 2", [.takers]),
            ("for at most 4h to role senior", "for at most 4h to role senior requires mfa", [.demand]),
            (
                "for at most 4h to role senior requires mfa within 5m",
                "for at most 1h to user in group \"A\" requires mfa", [.duration, .takers, .demand]
            ),
        ] as [(String, String, [ChangedOffer.Part])])
    func told(_ old: String, _ new: String, _ parts: [ChangedOffer.Part]) throws {
        let found = try changes("offer role doctor \(old)", "offer role doctor \(new)")
        #expect(found.map(\.parts) == [parts])
        #expect(found.first?.role == "doctor" && found.first?.doubt == nil)
        #expect(found.first?.old != found.first?.new)
    }

    @Test("an offer that only one version has is told with its terms")
    func one() throws {
        let offer = "offer role doctor for at most 90m to user when user.level > 3 requires mfa"
        let other = "offer role doctor for at most 4h as \"night\" to role senior"
        let new = try changes(offer, "\(offer)\n  \(other)")
        #expect(new.count == 1 && new.first?.old == nil)
        #expect(new.first?.new?.text == "for at most 4h to user when role senior")
        let gone = try changes("\(offer)\n  \(other)", other)
        #expect(gone.count == 1 && gone.first?.new == nil)
        #expect(gone.first?.old?.text == "for at most 1h30m to user when user.level > 3 requires mfa")
    }

    @Test("a role that says something else, and a default, change who may take a role")
    func behind() throws {
        let offer = "offer role doctor for at most 4h to role senior"
        let catalog = try changes(offer, offer, levels: (0, 5))
        #expect(catalog.map(\.parts) == [[.takers]])
        let roles = try changes(
            "role nurse is user.ward == \"A\"\n  offer role doctor for at most 4h to role nurse",
            "role nurse is user.ward == \"B\"\n  offer role doctor for at most 4h to role nurse")
        #expect(roles.map(\.parts) == [[.takers]])
        let takers = roles.first?.takers ?? []
        #expect(Set(takers.map(\.conditions)) == [["user.ward == \"A\""], ["user.ward == \"B\""]])
        for region in takers {
            let isNew = region.conditions == ["user.ward == \"B\""]
            #expect(region.answers.map(\.new) == [isNew ? .permit : .deny] && region.isConfirmed)
        }
    }
}
