// The business in the languages of the peers, in the form each decides fastest: Cedar with roles and groups as parents,
// Rego with one body for a rule and an action, constants compared with `==` and memberships as keys of objects.

/// Texts for the peers.
struct BusinessPeers {
    let business: Business

    // MARK: Cedar

    var cedarPolicies: String { business.rules.map(cedar).joined(separator: "\n") + "\n" }

    private func cedar(_ rule: BusinessRule) -> String {
        let actions = rule.actions.map { "Action::\"act_\($0)\"" }.joined(separator: ", ")
        let action = rule.actions.count == 1 ? "action == \(actions)" : "action in [\(actions)]"
        func head(_ principal: String) -> String {
            "\(rule.isForbid ? "forbid" : "permit")(\(principal), \(action), resource is Type_\(rule.type))"
        }
        switch rule.shape {
        case .role(let role):
            return head("principal in Role::\"role_\(role)\"") + " when { resource.region == principal.region };"
        case .department(let department):
            return head("principal")
                + " when { principal.department == \"dept_\(department)\" && principal.clearance >= resource.level };"
        case .owner(let department):
            return head("principal")
                + " when { resource.owner == principal && principal.department == \"dept_\(department)\" };"
        case .sensitive(let role, let department, let level):
            return head("principal in Role::\"role_\(role)\"")
                + " when { principal.department == \"dept_\(department)\" && resource.level <= \(level)"
                + " && context.mfa && context.age <= 900 };"
        case .group(let group):
            return head("principal in Group::\"group_\(group)\"") + " when { context.channel == \"web\" };"
        case .risk(let level):
            return head("principal") + " when { principal.risk == \"high\" && resource.level >= \(level) };"
        case .abroad(let department):
            return head("principal")
                + " when { principal.department == \"dept_\(department)\" && resource.region != principal.region };"
        case .device(let level):
            return head("principal") + " when { resource.level >= \(level) && !context.compliant };"
        }
    }

    /// Cedar's entities, one JSON object a line.
    func cedarEntities(_ write: (String) -> Void) {
        func parents(_ names: [String]) -> String { "[\(names.joined(separator: ","))]" }
        func name(_ type: String, _ id: String) -> String { "{\"type\":\"\(type)\",\"id\":\"\(id)\"}" }
        for role in 0..<Business.roles {
            write("{\"uid\":\(name("Role", "role_\(role)")),\"attrs\":{},\"parents\":[]}")
        }
        for (group, role) in business.roleOfGroup.enumerated() {
            let above = role.map { [name("Role", "role_\($0)")] } ?? []
            write("{\"uid\":\(name("Group", "group_\(group)")),\"attrs\":{},\"parents\":\(parents(above))}")
        }
        for (number, user) in business.users.enumerated() {
            let above =
                user.roles.map { name("Role", "role_\($0)") } + user.groups.map { name("Group", "group_\($0)") }
            write(
                "{\"uid\":\(name("User", "user-\(number)")),\"attrs\":{\"department\":\"dept_\(user.department)\","
                    + "\"region\":\"region_\(user.region)\",\"clearance\":\(user.clearance),"
                    + "\"risk\":\"\(Business.risks[user.risk])\"},\"parents\":\(parents(above))}")
        }
        for (number, resource) in business.resources.enumerated() {
            let owner = "{\"__entity\":\(name("User", "user-\(resource.owner)"))}"
            write(
                "{\"uid\":\(name("Type_\(resource.type)", "resource-\(number)")),\"attrs\":{"
                    + "\"region\":\"region_\(resource.region)\",\"level\":\(resource.level),\"owner\":\(owner)},\"parents\":[]}"
            )
        }
    }

    // MARK: Rego

    var regoPolicies: String {
        var text =
            "package business\n\nimport rego.v1\n\ndefault allow := false\n\nallow if {\n\tpermit\n\tnot deny\n}\n"
        for rule in business.rules {
            for action in rule.actions {
                text += "\n\(rule.isForbid ? "deny" : "permit") if {\n\tinput.action == \"act_\(action)\"\n"
                text += "\tinput.type == \"type_\(rule.type)\"\n"
                for line in rego(rule) { text += "\t\(line)\n" }
                text += "}\n"
            }
        }
        return text
    }

    private func rego(_ rule: BusinessRule) -> [String] {
        let user = "data.users[input.user]"
        let resource = "data.resources[input.resource]"
        switch rule.shape {
        case .role(let role): return ["\(user).roles.role_\(role)", "\(resource).region == \(user).region"]
        case .department(let department):
            return ["\(user).department == \"dept_\(department)\"", "\(user).clearance >= \(resource).level"]
        case .owner(let department):
            return ["\(resource).owner == input.user", "\(user).department == \"dept_\(department)\""]
        case .sensitive(let role, let department, let level):
            return [
                "\(user).roles.role_\(role)", "\(user).department == \"dept_\(department)\"",
                "\(resource).level <= \(level)", "input.mfa", "input.age <= 900",
            ]
        case .group(let group): return ["\(user).groups.group_\(group)", "input.channel == \"web\""]
        case .risk(let level): return ["\(user).risk == \"high\"", "\(resource).level >= \(level)"]
        case .abroad(let department):
            return ["\(user).department == \"dept_\(department)\"", "\(resource).region != \(user).region"]
        case .device(let level): return ["\(resource).level >= \(level)", "not input.compliant"]
        }
    }

    /// Rego's data, in pieces of one JSON object.
    func regoData(_ write: (String) -> Void) {
        func keys(_ prefix: String, _ numbers: [Int]) -> String {
            "{\(numbers.map { "\"\(prefix)_\($0)\":true" }.joined(separator: ","))}"
        }
        write("{\"users\":{")
        for (number, user) in business.users.enumerated() {
            write(
                "\(number > 0 ? "," : "")\"user-\(number)\":{\"department\":\"dept_\(user.department)\","
                    + "\"region\":\"region_\(user.region)\",\"clearance\":\(user.clearance),"
                    + "\"risk\":\"\(Business.risks[user.risk])\",\"roles\":\(keys("role", business.rolesOf(user))),"
                    + "\"groups\":\(keys("group", user.groups))}")
        }
        write("},\"resources\":{")
        for (number, resource) in business.resources.enumerated() {
            write(
                "\(number > 0 ? "," : "")\"resource-\(number)\":{\"region\":\"region_\(resource.region)\","
                    + "\"level\":\(resource.level),\"owner\":\"user-\(resource.owner)\"}")
        }
        write("}}")
    }

    /// One request for both peers.
    func request(_ request: BusinessRequest) -> String {
        "{\"user\":\"user-\(request.user)\",\"action\":\"act_\(request.action)\","
            + "\"type\":\"type_\(business.resources[request.resource].type)\",\"resource\":\"resource-\(request.resource)\","
            + "\"mfa\":\(request.hasSecondFactor),\"age\":\(request.age),\"compliant\":\(request.isCompliant),"
            + "\"channel\":\"\(Business.channels[request.channel])\"}"
    }
}
