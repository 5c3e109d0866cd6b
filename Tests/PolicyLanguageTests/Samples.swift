// Text that several tests read.

import PolicyLanguage

/// The ledger application: most of the language in one place.
enum Samples {
    static let catalog = SourceFile(
        name: "catalog.stile",
        text: """
            catalog "ledger" version 2.1.0 {
              assurance password < mfa < phishing_resistant
              issuer "https://idp.example.com" { acr "urn:mfa" = mfa }

              entity user {  // provisioned over SCIM
                department: string = "" from scim "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"
                  doc "Cost centre's department" use authorization
                employment: enum(employee, contractor, vendor) = vendor from scim "userType"
                clearance: 0...5 = 0
                manager: user?
              }
              subject entity service { tier: int = 0 }
              signal user.risk: enum(low < medium < high) = low from caep "risk-level-change" expires 7d
              signal device.compliant: bool = false from caep "device-compliance-change" expires 24h

              entity payrun { total: decimal  created_by: user  status: enum(draft, final)  tags: set of string = [] }
              entity invoice { total: decimal }
              action read, approve on payrun, invoice
              action delete on payrun { soft: bool = true }
              context { ip: ipaddr?  channel: enum(web, api) = web }
            }

            """)

    static let policy = SourceFile(
        name: "payroll.stile",
        text: """
            policy "Payroll" {
              let corporate = [10.0.0.0/8, 2001:db8::/32, fd00::/8]

              role approver is user in group "Payroll Approvers" and user.department == "Finance"

              permit read on payrun to role approver or user in group "Auditors"

              permit approve on payrun as "approve"
                to role approver
                when resource.total <= 250_000 and resource.created_by != user and resource.status == draft
                requires mfa within 15m

              forbid any on payrun
                unless device.compliant
                because "Payroll needs a managed device."

              require phishing_resistant within 1h using hwk
                for approve on payrun
                when user.risk >= medium or has context.ip and context.ip not in corporate
                because "Unusual sign-in: please confirm with your security key."

              permit read on any to service when service.tier in 1...3
              permit delete on payrun to user when action.soft and resource.tags contains "old" and user.clearance >= 3
              forbid read on payrun when user.department like "Ex*" or user.manager ?? "nobody" == "boss"
            }

            test "contractors cannot approve" {
              given user { department "Finance" employment contractor groups ["Payroll Approvers"] }
              given session { assurance mfa age 5m }
              given device { compliant true }
              ask approve on payrun { total 500 status draft created_by user }
              expect deny
            }

            """)

    static let files = [catalog, policy]
}
