// What a decision that cannot be explained is answered with.

import DecisionReplay
import GatewayCore
import HTTPTypes
import Testing

@testable import Administration

@Suite struct ExplainTests {
    @Test(arguments: [
        (ReplayError.Code.decisionUnknown, 404), (.logSampled, 404), (.logMissing, 404), (.noVersion, 409),
        (.questionWithheld, 409), (.notRestorable, 409), (.versionGone, 410), (.tooMuchWork, 422),
    ])
    func eachRefusalKeepsItsCode(_ code: ReplayError.Code, _ status: Int) {
        let refusal = ExplainOperations.refusal(ReplayError(code, "version 3 is gone"), places: [])
        #expect(refusal.status.code == status && refusal.code == code.rawValue)
    }

    @Test func placesOfFilesAreToldToTheLogAlone() {
        for code in [ReplayError.Code.decisionUnknown, .logMissing, .notRestorable, .store] {
            let refusal = ExplainOperations.refusal(
                ReplayError(code, "opening /srv/store/tenants/a/log"), places: ["/srv/store"])
            #expect(!refusal.message.contains("/srv/store"))
            #expect(refusal.hidden == "opening /srv/store/tenants/a/log")
        }
    }
}
