// A business with 100,000 people: roles and groups, departments, clearances, owners, risk, devices, sign-in. The same rules,
// people and requests are written for Stile, for Cedar and for Rego (BusinessPeers.swift), so that all can be asked the same.

import DecisionEngine
import PolicyLanguage

/// A rule of the business, before any language.
struct BusinessRule {
    enum Shape {
        /// Members of a role, in the resource's region.
        case role(Int)
        /// People of a department with the clearance that the resource asks for.
        case department(Int)
        /// The owner, while in a department.
        case owner(department: Int)
        /// Members of a role in a department up to a level, after a second factor in the last quarter of an hour.
        case sensitive(role: Int, department: Int, level: Int)
        /// Members of a group, on the web.
        case group(Int)
        /// Nobody at high risk, from a level on.
        case risk(level: Int)
        /// Nobody of a department outside of the own region.
        case abroad(department: Int)
        /// Nobody with an unmanaged device, from a level on.
        case device(level: Int)
    }

    var shape: Shape
    var actions: [Int]
    var type: Int

    var isForbid: Bool {
        switch shape {
        case .risk, .abroad, .device: true
        default: false
        }
    }
}

/// A person of the business.
struct BusinessUser {
    var department: Int
    var region: Int
    var clearance: Int
    /// 0 low, 1 medium, 2 high.
    var risk: Int
    var roles: [Int]
    var groups: [Int]
}

/// A thing of the business.
struct BusinessResource {
    var type: Int
    var region: Int
    var level: Int
    var owner: Int
}

/// A request of the business.
struct BusinessRequest {
    var user: Int
    var action: Int
    var resource: Int
    var hasSecondFactor: Bool
    /// Seconds since the sign-in.
    var age: Int
    var isCompliant: Bool
    /// 0 web, 1 api, 2 mobile.
    var channel: Int
}

/// All of it.
struct Business {
    static let types = 12
    static let actions = 8
    static let roles = 40
    static let groups = 300
    static let departments = 24
    static let regions = 6
    static let risks = ["low", "medium", "high"]
    static let channels = ["web", "api", "mobile"]

    let rules: [BusinessRule]
    let users: [BusinessUser]
    let resources: [BusinessResource]
    private(set) var requests: [BusinessRequest] = []
    /// The role that a group lies in, if any.
    let roleOfGroup: [Int?]

    init(rules ruleCount: Int, users userCount: Int, resources resourceCount: Int, requests: Int, seed: UInt64) {
        var random = Random(seed: seed)
        roleOfGroup = (0..<Self.groups).map { _ in random.chance(30) ? random.below(Self.roles) : nil }
        users = (0..<userCount).map { _ in
            BusinessUser(
                department: random.below(Self.departments), region: random.below(Self.regions),
                clearance: random.below(6), risk: random.chance(90) ? 0 : 1 + random.below(2),
                roles: random.some(1 + random.below(3), below: Self.roles),
                groups: random.some(random.below(4), below: Self.groups))
        }
        resources = (0..<resourceCount).map { number in
            BusinessResource(
                type: number % Self.types, region: random.below(Self.regions), level: random.below(6),
                owner: random.below(userCount))
        }
        // Rules have a generator of their own: more rules are the same rules and others.
        var ruleRandom = Random(seed: seed ^ 0x5eed)
        rules = (0..<ruleCount).map { Self.rule($0, &ruleRandom) }
        self.requests = Self.requests(requests, self, &random)
    }

    private static func rule(_ number: Int, _ random: inout Random) -> BusinessRule {
        let shape: BusinessRule.Shape
        if number % 10 == 9 {
            switch random.below(3) {
            case 0: shape = .risk(level: 1 + random.below(5))
            case 1: shape = .abroad(department: random.below(departments))
            default: shape = .device(level: 3 + random.below(3))
            }
        } else {
            switch random.below(20) {
            case 0..<7: shape = .role(random.below(roles))
            case 7..<12: shape = .department(random.below(departments))
            case 12..<15: shape = .owner(department: random.below(departments))
            case 15..<18:
                shape = .sensitive(
                    role: random.below(roles), department: random.below(departments), level: 2 + random.below(4))
            default: shape = .group(random.below(groups))
            }
        }
        return BusinessRule(
            shape: shape, actions: random.some(1 + random.below(3), below: actions), type: random.below(types))
    }

    // MARK: Requests

    /// Half of the requests are made to fit some permit, as people mostly ask for what they may do.
    private static func requests(_ count: Int, _ business: Business, _ random: inout Random) -> [BusinessRequest] {
        let permits = business.rules.filter { !$0.isForbid }
        var byRole = [[Int]](repeating: [], count: roles)
        var byGroup = [[Int]](repeating: [], count: groups)
        var byDepartment = [[Int]](repeating: [], count: departments)
        for (number, user) in business.users.enumerated() {
            byDepartment[user.department].append(number)
            for role in business.rolesOf(user) { byRole[role].append(number) }
            for group in user.groups { byGroup[group].append(number) }
        }
        var byType = [[Int]](repeating: [], count: types)
        for (number, resource) in business.resources.enumerated() { byType[resource.type].append(number) }
        return (0..<count).map { number in
            var request = request(business, random.below(business.users.count), &random)
            guard number % 4 != 0 else { return request }
            let rule = random.pick(permits)
            request.action = random.pick(rule.actions)
            for _ in 0..<40 {
                request.resource = random.pick(byType[rule.type])
                let candidates: [Int]
                switch rule.shape {
                case .role(let role): candidates = byRole[role]
                case .sensitive(let role, _, _): candidates = byRole[role]
                case .department(let department): candidates = byDepartment[department]
                case .group(let group): candidates = byGroup[group]
                default: candidates = [business.resources[request.resource].owner]
                }
                if candidates.isEmpty { break }
                request.user = random.pick(candidates)
                if business.holds(rule, request) { break }
            }
            return request
        }
    }

    private static func request(_ business: Business, _ user: Int, _ random: inout Random) -> BusinessRequest {
        BusinessRequest(
            user: user, action: random.below(actions), resource: random.below(business.resources.count),
            hasSecondFactor: random.chance(70), age: random.below(1800), isCompliant: random.chance(85),
            channel: random.below(3))
    }

    /// Roles of a person, also through groups.
    func rolesOf(_ user: BusinessUser) -> [Int] {
        Array(Set(user.roles + user.groups.compactMap { roleOfGroup[$0] })).sorted()
    }

    /// Whether a rule's condition holds, by its meaning.
    func holds(_ rule: BusinessRule, _ request: BusinessRequest) -> Bool {
        let user = users[request.user]
        let resource = resources[request.resource]
        guard rule.type == resource.type, rule.actions.contains(request.action) else { return false }
        switch rule.shape {
        case .role(let role): return rolesOf(user).contains(role) && resource.region == user.region
        case .department(let department): return user.department == department && user.clearance >= resource.level
        case .owner(let department): return resource.owner == request.user && user.department == department
        case .sensitive(let role, let department, let level):
            return rolesOf(user).contains(role) && user.department == department && resource.level <= level
                && request.hasSecondFactor && request.age <= 900
        case .group(let group): return user.groups.contains(group) && request.channel == 0
        case .risk(let level): return user.risk == 2 && resource.level >= level
        case .abroad(let department): return user.department == department && resource.region != user.region
        case .device(let level): return resource.level >= level && !request.isCompliant
        }
    }

    /// The answer by the meaning of the rules: what every engine must say.
    func isPermitted(_ request: BusinessRequest) -> Bool {
        var isPermitted = false
        for rule in rules where holds(rule, request) {
            if rule.isForbid { return false }
            isPermitted = true
        }
        return isPermitted
    }

    // MARK: Stile

    /// The catalog and the policies as text.
    var files: [SourceFile] {
        let types = (0..<Self.types).map { "type_\($0)" }
        var catalog = "catalog \"business\" version 1.0.0 {\n  assurance password < mfa\n"
        catalog += "  entity user {\n    department: string = \"\"\n    region: string = \"\"\n"
        catalog += "    clearance: 0...5 = 0\n  }\n"
        catalog += "  signal user.risk: enum(low < medium < high) = low from caep \"risk-level-change\" expires 7d\n"
        catalog += "  signal device.compliant: bool = false from caep \"device-compliance-change\" expires 24h\n"
        for type in types {
            catalog += "  entity \(type) {\n    region: string\n    level: 0...5\n    owner: user\n  }\n"
        }
        catalog += "  action \((0..<Self.actions).map { "act_\($0)" }.joined(separator: ", "))"
        catalog += " on \(types.joined(separator: ", "))\n"
        catalog += "  context {\n    channel: enum(web, api, mobile)\n  }\n}\n"
        var text = PolicyText(catalog: catalog)
        for rule in rules { text.add(Self.text(rule)) }
        text.finish()
        return text.files
    }

    private static func text(_ rule: BusinessRule) -> String {
        let scope = "\(rule.actions.map { "act_\($0)" }.joined(separator: ", ")) on type_\(rule.type)"
        switch rule.shape {
        case .role(let role):
            return "permit \(scope) to user in group \"role_\(role)\" when resource.region == user.region"
        case .department(let department):
            return "permit \(scope) when user.department == \"dept_\(department)\" and user.clearance >= resource.level"
        case .owner(let department):
            return "permit \(scope) when resource.owner == user and user.department == \"dept_\(department)\""
        case .sensitive(let role, let department, let level):
            return "permit \(scope) to user in group \"role_\(role)\" and user.department == \"dept_\(department)\""
                + " when resource.level <= \(level) requires mfa within 15m"
        case .group(let group): return "permit \(scope) to user in group \"group_\(group)\" when context.channel == web"
        case .risk(let level): return "forbid \(scope) when user.risk == high and resource.level >= \(level)"
        case .abroad(let department):
            return "forbid \(scope) when user.department == \"dept_\(department)\" and resource.region != user.region"
        case .device(let level): return "forbid \(scope) when resource.level >= \(level) and not device.compliant"
        }
    }

    /// The business in memory. Groups are numbered after the roles.
    func world(_ program: Program) throws -> World {
        let catalog = program.catalog
        let named = Dictionary(
            program.policies.groups.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        var pairs: [(number: UInt32, index: Int)] = []
        for role in 0..<Self.roles {
            if let index = named["role_\(role)"] { pairs.append((UInt32(role + 1), index)) }
        }
        for (group, role) in roleOfGroup.enumerated() {
            let number = UInt32(Self.roles + group + 1)
            if let index = named["group_\(group)"] { pairs.append((number, index)) }
            if let role, let index = named["role_\(role)"] { pairs.append((number, index)) }
        }
        let capacity = users.count * 384 + resources.count * 384 + requests.count * 2_048 + 1 << 20
        let world = World(program, groups: pairs, capacity: capacity)
        for (number, user) in users.enumerated() {
            world.addSubject(
                "user-\(number)",
                world.record(
                    [
                        .string("dept_\(user.department)"), .string("region_\(user.region)"),
                        .integer(Int64(user.clearance)), .enumeration(user.risk),
                    ],
                    groups: user.roles.map { UInt32($0 + 1) } + user.groups.map { UInt32(Self.roles + $0 + 1) }))
        }
        for (number, resource) in resources.enumerated() {
            world.addResource(
                "resource-\(number)",
                world.record([
                    .string("region_\(resource.region)"), .integer(Int64(resource.level)),
                    .reference(entity: Catalog.user, id: "user-\(resource.owner)"),
                ]))
        }
        let types = (0..<Self.types).map { number in catalog.entities.firstIndex { $0.name == "type_\(number)" } ?? 0 }
        let empty = world.record([])
        for request in requests {
            let level = catalog.assurance.level(named: request.hasSecondFactor ? "mfa" : "password")
            world.ask(
                Question(
                    action: request.action, resourceType: types[resources[request.resource].type],
                    subject: world.party([nil, nil, nil, nil], id: "user-\(request.user)"),
                    resource: world.party([nil, nil, nil], id: "resource-\(request.resource)"),
                    session: world.session(level: level, since: world.now - Int64(request.age) * 1000),
                    device: world.record([.boolean(request.isCompliant)]), actionProperties: empty,
                    context: world.record([.enumeration(request.channel)])))
        }
        return world
    }
}
