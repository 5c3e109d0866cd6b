// The compiled tree of a program as boxes with words in them, folded where it would be too much to look at.

package import DecisionEngine
import PolicyAnalysis
import PolicyLanguage

/// What part of a program is drawn, and how much of it.
package struct SketchOptions: Sendable {
    /// Indices into the catalog; nil draws all.
    package var action: Int?
    package var resourceType: Int?
    package var subjectType: Int?
    /// Levels below the actions; nil for as many as fit.
    package var depth: Int?
    /// Boxes at most, the folded ones among them.
    package var maxBoxes = 240
    /// What a link to a rule's line starts with.
    package var linkPrefix = "./"

    package init() {}
}

/// A box of the drawing.
package struct SketchBox: Sendable {
    /// What it stands for, which its colours tell.
    package enum Style: String, Sendable, CaseIterable {
        case root, cell, choice, forbid, require, permit, duty, folded, nothing
    }

    package var style: Style
    package var lines: [String]
    /// What leads here from the box before.
    package var edge: String?
    /// All that the lines had to leave out.
    package var tooltip: String
    package var link: String?
    /// Indices of the boxes behind it.
    package var children: [Int] = []
    /// Distance from the root.
    package var depth: Int
}

/// A program's tree as boxes; the first is the root.
package struct TreeSketch: Sendable {
    package private(set) var boxes: [SketchBox] = []
    /// For readers who cannot see it.
    package private(set) var title = ""
    package private(set) var summary = ""
    /// Rules that are drawn nowhere but counted in a folded box.
    package private(set) var hiddenRules = 0

    /// Sketches a program.
    package init(_ program: Program, _ options: SketchOptions = SketchOptions()) {
        var sketcher = Sketcher(program, options)
        sketcher.run()
        boxes = sketcher.boxes
        title = sketcher.title
        summary = sketcher.summary
        hiddenRules = sketcher.hiddenRules
    }
}

/// What has not been drawn yet.
private enum Pending {
    case cell(subject: Int, action: Int, type: Int, tables: [OutlineTable])
    case node(OutlineNode, subject: Int)
    case rule(OutlineRule, subject: Int)
    /// Several of one kind, told by their number.
    case rest(count: Int, of: String, rules: Int)

    var rules: Int {
        switch self {
        case .cell(_, _, _, let tables): tables.reduce(0) { $0 + $1.root.ruleCount }
        case .node(let node, _): node.ruleCount
        case .rule: 1
        case .rest(_, _, let rules): rules
        }
    }
}

private struct Sketcher {
    let program: Program
    let options: SketchOptions
    var boxes: [SketchBox] = []
    var hiddenRules = 0
    private let policies: CheckedPolicies
    private var catalog: Catalog { policies.catalog }
    /// Children of one box at most; the others become one folded box.
    private static let maxChildren = 12
    private static let maxCells = 40
    /// A leaf of so many rules is not worth a box.
    private static let maxSpliced = 6
    private static let maxConditionLines = 3
    private static let maxColumns = 46

    init(_ program: Program, _ options: SketchOptions) {
        self.program = program
        self.options = options
        policies = program.policies
    }

    var title: String { "Decision tree of \(catalog.name) \(catalog.version)" }

    var summary: String {
        let hidden = hiddenRules > 0 ? " Folded boxes stand for \(hiddenRules) more." : ""
        return
            "From left to right: the policies; each action on a type of resource; whether rules forbid, raise the demand "
            + "or permit; the values that lead to the few rules whose condition can hold; the rules. A question follows "
            + "the values it has, and \u{201c}in any case\u{201d} always. \(policies.rules.count) rules.\(hidden)"
    }

    mutating func run() {
        let cells = cells()
        let root = add(
            SketchBox(
                style: .root,
                lines: ["\(catalog.name) \(catalog.version)", counted(policies.rules.count, "rule")], edge: nil,
                tooltip: title, link: nil, depth: 0))
        // Breadth first, so that what is left out is what lies deepest.
        var queue: [(parent: Int, edge: String?, pending: Pending)] = []
        let limit = min(Self.maxCells, options.maxBoxes - 3)
        enqueue(cells.map { (nil, $0) }, below: root, limit: limit, of: "more actions", &queue)
        var next = 0
        while next < queue.count {
            let (parent, edge, pending) = queue[next]
            next += 1
            let box = add(self.box(pending, edge: edge, depth: boxes[parent].depth + 1))
            boxes[parent].children.append(box)
            expand(pending, box, &queue, waiting: queue.count - next)
        }
    }

    private mutating func add(_ box: SketchBox) -> Int {
        boxes.append(box)
        return boxes.count - 1
    }

    private func cells() -> [Pending] {
        var cells: [Pending] = []
        for type in catalog.entities.indices where options.resourceType ?? type == type {
            for (action, declared) in catalog.actions.enumerated()
            where (options.action ?? action == action) && declared.resourceTypes.contains(type) {
                for subject in catalog.subjectTypes where options.subjectType ?? subject == subject {
                    guard let tables = program.outline(subjectType: subject, resourceType: type, action: action) else {
                        continue
                    }
                    // A type of subject that no rule names is not worth a box, unless it is asked for.
                    if tables.isEmpty, subject != Catalog.user, options.subjectType == nil { continue }
                    cells.append(.cell(subject: subject, action: action, type: type, tables: tables))
                }
            }
        }
        return cells
    }

    // MARK: Folding

    /// Adds what lies behind a box, or tells on the box that it is folded.
    private mutating func expand(
        _ pending: Pending, _ box: Int, _ queue: inout [(parent: Int, edge: String?, pending: Pending)], waiting: Int
    ) {
        let children: [(edge: String?, pending: Pending)]
        var noun = "more"
        switch pending {
        case .rule, .rest: return
        case .cell(let subject, _, _, let tables):
            children = tables.map { (Self.edge($0.kind), .node($0.root, subject: subject)) }
        case .node(.rules(let rules), let subject):
            children = rules.map { (nil, .rule($0, subject: subject)) }
            noun = "more rules"
        case .node(.choice(let question, let branches, let also), let subject):
            // The child in any case first: it is the one that every question goes to.
            let always =
                also.map { [(edge: Optional("in any case"), pending: Pending.node($0, subject: subject))] } ?? []
            children =
                always
                + sorted(branches).map { branch in
                    (branchText(question, branch.value), .node(branch.node, subject: subject))
                }
            noun = "more values"
        }
        if children.isEmpty { return }
        // Leaves that are told rule by rule take as many boxes as they have rules.
        let boxesOfChildren = children.reduce(0) { sum, child in
            guard case .node(.rules(let rules), _) = child.pending, rules.count <= Self.maxSpliced else {
                return sum + 1
            }
            return sum + rules.count
        }
        let shown = min(boxesOfChildren, Self.maxChildren + 1)
        let level = boxes[box].depth
        if level > options.depth ?? .max || boxes.count + waiting + shown > options.maxBoxes {
            hiddenRules += pending.rules
            let rules = counted(pending.rules, "rule")
            boxes[box].lines.append(boxes[box].lines == [rules] ? "folded" : "folded: \(rules)")
            if boxes[box].style == .choice || boxes[box].style == .cell { boxes[box].style = .folded }
            return
        }
        enqueue(children, below: box, limit: Self.maxChildren, of: noun, &queue)
    }

    private mutating func enqueue(
        _ children: [(edge: String?, pending: Pending)], below parent: Int, limit: Int, of noun: String,
        _ queue: inout [(parent: Int, edge: String?, pending: Pending)]
    ) {
        // Few rules stand beside one another instead of behind a box of their own.
        let children = children.flatMap { child in
            guard case .node(.rules(let rules), let subject) = child.pending, rules.count <= Self.maxSpliced else {
                return [child]
            }
            return rules.map { (child.edge, .rule($0, subject: subject)) }
        }
        // One box more is no more than the box that would stand for it.
        let shown = children.count <= limit + 1 ? children.count : limit
        for child in children.prefix(shown) { queue.append((parent, child.edge, child.pending)) }
        if shown < children.count {
            let rest = children[shown...]
            let rules = rest.reduce(0) { $0 + $1.pending.rules }
            queue.append((parent, nil, .rest(count: rest.count, of: noun, rules: rules)))
            hiddenRules += rules
        }
    }

    private func sorted(
        _ branches: [(value: OutlineValue, node: OutlineNode)]
    ) -> [(value: OutlineValue, node: OutlineNode)] {
        branches.map { (key: order($0.value), branch: $0) }.sorted { $0.key < $1.key }.map(\.branch)
    }

    /// The role whose number stands behind those of the groups.
    private func taken(_ index: Int) -> String? {
        let roles = policies.roles.takeable
        let place = index - policies.groups.count
        return roles.indices.contains(place) ? policies.roles[roles[place]].name : nil
    }

    private func order(_ value: OutlineValue) -> (Int64, String) {
        switch value {
        case .constant(.boolean(let truth)): (truth ? 1 : 0, "")
        case .constant(.integer(let value)), .constant(.decimal(let value)), .constant(.datetime(let value)),
            .constant(.duration(let value)):
            (value, "")
        case .constant(.enumeration(let index)): (Int64(index), "")
        case .constant(.string(let text)), .constant(.reference(_, let text)): (0, text)
        case .constant: (0, "")
        case .group(let index):
            (0, policies.groups.indices.contains(index) ? policies.groups[index] : taken(index) ?? "")
        case .container(let index): (Int64(index), "")
        case .action(let index), .resourceType(let index): (Int64(index), "")
        }
    }

    // MARK: Words

    private func box(_ pending: Pending, edge: String?, depth: Int) -> SketchBox {
        var edge = edge
        var tooltip = edge ?? ""
        if let text = edge { edge = Self.short(text) }
        switch pending {
        case .cell(let subject, let action, let type, let tables):
            let lines = [
                "\(catalog.actions[action].name) on \(catalog.entities[type].name)",
                catalog.subjectTypes.count > 1 ? "by \(catalog.entities[subject].name)" : nil,
                tables.isEmpty ? "no rule: always denied" : nil,
            ].compactMap { $0 }
            return SketchBox(
                style: tables.isEmpty ? .nothing : .cell, lines: lines.map(Self.short), edge: edge,
                tooltip: lines.joined(separator: " "), link: nil, depth: depth)
        case .node(.choice(let question, let branches, _), let subject):
            let name = questionText(question, subject)
            let text = "\(name): \(counted(branches.count, "value"))"
            return SketchBox(
                style: .choice, lines: [Self.short(name)], edge: edge,
                tooltip: tooltip.isEmpty ? text : "\(tooltip) \u{2192} \(text)", link: nil, depth: depth)
        case .node(.rules(let rules), _):
            let text = counted(rules.count, "rule")
            return SketchBox(
                style: .choice, lines: [text], edge: edge, tooltip: tooltip.isEmpty ? text : tooltip, link: nil,
                depth: depth)
        case .rule(let rule, let subject):
            var box = self.box(rule, subject)
            if !tooltip.isEmpty { tooltip += " \u{2192} " }
            box.tooltip = tooltip + box.tooltip
            box.edge = edge
            box.depth = depth
            return box
        case .rest(let count, let noun, let rules):
            let text = "\(count) \(noun)"
            return SketchBox(
                style: .folded, lines: [text, "folded: \(counted(rules, "rule"))"], edge: edge, tooltip: text,
                link: nil,
                depth: depth)
        }
    }

    private func box(_ rule: OutlineRule, _ subject: Int) -> SketchBox {
        let words = ConditionText(policies, subjectType: subject)
        let name: String
        let condition: Condition
        let range: SourceRange
        var extra: [String] = []
        let style: SketchBox.Style
        switch rule {
        case .rule(let index):
            let rule = policies.rules[index]
            (name, condition, range) = (rule.name, rule.condition, rule.range)
            style = rule.kind == .permit ? .permit : rule.kind == .forbid ? .forbid : .require
            if let demand = rule.demand, demand != .nothing {
                let text = catalog.assurance.text(demand)
                extra.append(rule.kind == .permit ? "requires \(text)" : "demands \(text)")
            }
        case .obligation(let index):
            let obligation = policies.obligations[index]
            (name, condition, range) = (obligation.name, obligation.condition, obligation.range)
            style = .duty
        }
        let text = condition == .constant(true) ? "always" : "when \(words.write(condition))"
        let files = policies.files
        let file = files.indices.contains(Int(range.file)) ? files[Int(range.file)].name : ""
        let place = file.isEmpty ? "" : "\(file):\(range.line)"
        let kind = style == .duty ? "duty" : style.rawValue
        let tooltip = (["\(kind) \(name)", place, text] + extra).filter { !$0.isEmpty }.joined(separator: "\n")
        return SketchBox(
            style: style,
            lines: [Self.short("\(kind) \(name)")] + Self.wrapped(text) + extra.map(Self.short),
            edge: nil, tooltip: tooltip,
            link: file.isEmpty ? nil : "\(options.linkPrefix)\(file)#L\(range.line)", depth: 0)
    }

    private static func edge(_ kind: OutlineTable.Kind) -> String {
        switch kind {
        case .forbid: "forbids"
        case .require: "demands"
        case .permit: "permits"
        case .onPermit: "when permitted"
        case .onDeny: "when denied"
        case .onStepUp: "on step-up"
        }
    }

    private func questionText(_ question: OutlineQuestion, _ subject: Int) -> String {
        switch question {
        case .attribute(let reference): ConditionText(policies, subjectType: subject).name(reference) + " is"
        case .groups: "\(catalog.entities[subject].name) is in group"
        case .containers: "resource lies in"
        case .action: "the action is"
        case .resourceType: "the resource is a"
        }
    }

    private func branchText(_ question: OutlineQuestion, _ value: OutlineValue) -> String {
        switch value {
        case .constant(let constant):
            if case .attribute(let reference) = question {
                return ConstantText.write(constant, reference.type.enumeration)
            }
            return ConstantText.write(constant, nil)
        case .group(let index):
            return policies.groups.indices.contains(index)
                ? ConstantText.quoted(policies.groups[index]) : taken(index).map { "granted \($0)" } ?? "?"
        case .container(let index):
            guard policies.containers.indices.contains(index) else { return "?" }
            let container = policies.containers[index]
            return "\(catalog.entities[container.type].name) \(ConstantText.quoted(container.id))"
        case .action(let index): return catalog.actions.indices.contains(index) ? catalog.actions[index].name : "?"
        case .resourceType(let index):
            return catalog.entities.indices.contains(index) ? catalog.entities[index].name : "?"
        }
    }

    private func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    /// A condition over a few lines that fit a box, broken before `and` and `or` where that does.
    private static func wrapped(_ text: String) -> [String] {
        var pieces: [String] = []
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            if pieces.isEmpty || word == "and" || word == "or" {
                pieces.append(String(word))
            } else {
                pieces[pieces.count - 1] += " \(word)"
            }
        }
        var lines: [String] = []
        for (index, piece) in pieces.enumerated() {
            if let last = lines.last, TextMeasure.columns("\(last) \(piece)") <= maxColumns {
                lines[lines.count - 1] = "\(last) \(piece)"
            } else if lines.count < maxConditionLines {
                lines.append(piece)
            } else {
                lines[lines.count - 1] += " \(pieces[index...].joined(separator: " "))"
                break
            }
        }
        return lines.map(short)
    }

    /// A line that fits a box.
    private static func short(_ text: String) -> String {
        let line = String(text.map { $0.isNewline ? " " : $0 })
        guard TextMeasure.columns(line) > maxColumns else { return line }
        var kept = ""
        var columns = 1
        for character in line {
            columns += TextMeasure.columns(String(character))
            if columns > maxColumns { break }
            kept.append(character)
        }
        return kept + "\u{2026}"
    }
}

extension OutlineNode {
    /// Rules in it; one that stands under several values counts for each.
    fileprivate var ruleCount: Int {
        switch self {
        case .rules(let rules): rules.count
        case .choice(_, let branches, let also):
            branches.reduce(also?.ruleCount ?? 0) { $0 + $1.node.ruleCount }
        }
    }
}
