// A hospital: 33 rules a department and 5 for all of it, staff in teams, teams in departments. The shape of SAPL's
// benchmark scenario of the same name (sapl-benchmark, Apache-2.0), whose published figures are the ones to compare with:
// its roles, what they may do with which records, its weights of requests.

import DecisionEngine
import PolicyLanguage

/// The hospital with some number of departments.
struct Hospital {
    static let actions = [
        "approve", "audit", "bill", "create", "delete", "discharge", "order", "override", "prescribe", "read",
        "transfer",
        "write",
    ]
    static let types = [
        "appointment", "audit_log", "billing_record", "care_note", "imaging", "lab_result", "patient_record",
        "prescription", "referral", "schedule",
    ]
    static let roles = [
        "attending", "resident", "nurse", "lab_tech", "pharmacist", "admin", "billing", "auditor", "researcher",
    ]
    static let clearances = [4, 3, 3, 2, 3, 2, 2, 4, 1]

    /// What each role may do: 32 permits for each department.
    private static let permits: [[(type: String, actions: String)]] = [
        [
            ("patient_record", "read, write, create"), ("lab_result", "read, order"),
            ("prescription", "read, write, prescribe"), ("imaging", "read, order"),
            ("care_note", "read, write, create"), ("referral", "read, write, create"),
        ],
        [
            ("patient_record", "read, write"), ("lab_result", "read"), ("prescription", "read"),
            ("imaging", "read, order"), ("care_note", "read, write, create"), ("referral", "read, create"),
        ],
        [
            ("patient_record", "read, write"), ("lab_result", "read"), ("prescription", "read"),
            ("care_note", "read, write, create"), ("schedule", "read, write"),
        ],
        [("lab_result", "read, write, create"), ("imaging", "read, write, create")],
        [("prescription", "read, write, approve"), ("patient_record", "read")],
        [("schedule", "read, write, create, delete"), ("billing_record", "read, write"), ("audit_log", "read")],
        [("billing_record", "read, write, create, bill"), ("patient_record", "read")],
        [("audit_log", "read, write, create, audit"), ("patient_record", "read"), ("billing_record", "read")],
        [("patient_record", "read"), ("lab_result", "read"), ("imaging", "read")],
    ]
    private static let emergencyTypes = ["patient_record", "lab_result", "prescription", "imaging", "care_note"]
    private static let weightedActions = [
        "read", "read", "read", "read", "read", "read", "read", "write", "write", "write", "create", "create", "order",
        "prescribe", "approve", "bill", "audit", "delete",
    ]
    private static let weightedTypes = [
        "patient_record", "patient_record", "patient_record", "lab_result", "lab_result", "care_note", "care_note",
        "prescription", "imaging", "schedule", "billing_record", "audit_log", "referral",
    ]
    private static let staffOfDepartment = 5
    private static let teamsOfDepartment = 2

    let departments: Int

    /// The catalog and the policies as text.
    var files: [SourceFile] {
        let roles = (Self.roles + ["emergency"]).joined(separator: ", ")
        var catalog = "catalog \"hospital\" version 1.0.0 {\n"
        catalog += "  entity user {\n    role: enum(\(roles)) = researcher\n    clearance: 0...5 = 0\n  }\n"
        for type in Self.types {
            catalog += "  entity \(type) {\n    department: string\n    sensitivity: 0...5\n  }\n"
        }
        let actions = Self.actions.joined(separator: ", ")
        catalog += "  action \(actions) on \(Self.types.joined(separator: ", "))\n}\n"
        var text = PolicyText(catalog: catalog)
        for department in 0..<departments {
            let name = "dept_\(department)"
            for (role, permits) in zip(Self.roles, Self.permits) {
                for permit in permits {
                    text.add(
                        "permit \(permit.actions) on \(permit.type) to user in group \"\(name)\""
                            + " when user.role == \(role) and resource.department == \"\(name)\"")
                }
            }
            text.add(
                "forbid any on any when resource.department == \"\(name)\" and resource.sensitivity > user.clearance")
        }
        for type in Self.emergencyTypes {
            text.add("permit read, write, prescribe, override on \(type) when user.role == emergency")
        }
        text.finish()
        return text.files
    }

    /// The staff in memory and requests as they come in a hospital: four of five about the own department.
    func world(_ program: Program, requests: Int, seed: UInt64) -> World {
        var random = Random(seed: seed)
        let named = Dictionary(
            program.policies.groups.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        var pairs: [(number: UInt32, index: Int)] = []
        for team in 0..<departments * Self.teamsOfDepartment {
            if let index = named["dept_\(team / Self.teamsOfDepartment)"] { pairs.append((UInt32(team + 1), index)) }
        }
        let world = World(program, groups: pairs, capacity: (departments * 5 + requests * 4) * 512 + 1 << 20)
        let staff = departments * Self.staffOfDepartment
        var staffRoles: [Int] = []
        for person in 0..<staff {
            let home = person / Self.staffOfDepartment
            staffRoles.append(random.below(Self.roles.count))
            var teams = [UInt32(home * Self.teamsOfDepartment + random.below(Self.teamsOfDepartment) + 1)]
            // One in twenty of the other departments lends each person to one of its teams.
            for other in 0..<departments where other != home && random.chance(5) {
                teams.append(UInt32(other * Self.teamsOfDepartment + random.below(Self.teamsOfDepartment) + 1))
            }
            let role = staffRoles[person]
            world.addSubject(
                "staff-\(person)",
                world.record(
                    [.enumeration(role), .integer(Int64(Self.clearances[role]))], groups: teams))
        }
        let empty = world.record([])
        for number in 0..<requests {
            let person = random.below(staff)
            let department =
                random.chance(80) ? person / Self.staffOfDepartment : random.below(departments)
            let sensitivity = random.chance(70) ? 1 : 1 + random.below(4)
            let type = random.pick(Self.weightedTypes)
            let action = random.pick(Self.weightedActions)
            guard let typeIndex = program.catalog.entities.firstIndex(where: { $0.name == type }),
                let actionIndex = program.catalog.actions.firstIndex(where: { $0.name == action })
            else { continue }
            world.ask(
                Question(
                    action: actionIndex, resourceType: typeIndex,
                    subject: world.party([nil, nil], id: "staff-\(person)"),
                    resource: world.party(
                        [.string("dept_\(department)"), .integer(Int64(sensitivity))], id: "record-\(number)"),
                    actionProperties: empty, context: empty))
        }
        return world
    }
}
