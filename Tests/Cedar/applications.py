#!/usr/bin/env python3
"""Asks Stile and Cedar the same about generated data of the three applications of Cedar's evaluation.

    applications.py DIRECTORY-OF-BINARIES [--seed N] [--requests N] [--rounds N]

Runs with the Python that has cedarpy. Exits with 1 at the first data set with a difference, which it prints.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import cedarpy

HERE = os.path.dirname(os.path.abspath(__file__))
POLICIES = os.path.join(HERE, "..", "..", "policies")
SIZES = (5, 10, 20, 50)
CHANCE = 0.05
USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"


def name(kind, key):
    return {"type": kind, "id": key}


def link(kind, key):
    return {"__entity": name(kind, key)}


class Data:
    """One data set in both forms, and what can be asked about it."""

    def __init__(self):
        self.entities = []
        self.lines = []
        self.subjects = []
        # Cedar's type and Stile's, id, actions.
        self.resources = []

    def entity(self, kind, key, parents=(), **attributes):
        self.entities.append(
            {"uid": name(kind, key), "attrs": attributes, "parents": [name(*parent) for parent in parents]}
        )

    def user(self, key, **attributes):
        self.subjects.append(key)
        self.lines.append({"schemas": [USER_SCHEMA], "id": key, "userName": key, "active": True, **attributes})

    def resource(self, kind, key, properties):
        self.lines.append({"resource": {"type": kind, "id": key, "properties": properties}})


def above(parents, start):
    """All that `start` lies in, by a map from each to what it lies in directly; itself included."""
    found, pending = set(), [start]
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending.extend(parents[one])
    return found


def gdrive(n, chance):
    data = Data()
    numbers = range(n)
    groups = {u: [g for g in numbers if chance()] for u in numbers}
    owned_documents = {u: [d for d in numbers if chance()] for u in numbers}
    owned_folders = {u: [f for f in numbers if chance()] for u in numbers}
    folder_parents = {f: [g for g in range(f) if chance()] for f in numbers}
    document_folders = {d: [f for f in numbers if chance()] for d in numbers}
    public = {d: random.random() < 0.1 for d in numbers}
    # Shares: to users and groups, of documents and folders.
    shares = {
        (kind, k): [("user", u) for u in numbers if chance()] + [("group", g) for g in numbers if chance()]
        for kind in ("document", "folder")
        for k in numbers
    }
    for u in numbers:
        data.user(f"u{u}", principals=[f"user:{u}"] + [f"group:{g}" for g in groups[u]])
        data.entity(
            "User",
            f"u{u}",
            view=link("View", f"user:{u}"),
            documents=[link("Document", f"d{d}") for d in owned_documents[u]],
            folders=[link("Folder", f"f{f}") for f in owned_folders[u]],
        )
        data.entity("View", f"user:{u}")
    for g in numbers:
        # What a group sees, its members see: the group's view lies in theirs.
        data.entity("View", f"group:{g}", [("View", f"user:{u}") for u in numbers if g in groups[u]])
    for f in numbers:
        folders = [("Folder", f"f{p}") for p in folder_parents[f]]
        data.entity("Folder", f"f{f}", folders + [("View", f"{kind}:{k}") for kind, k in shares["folder", f]])
        data.resource("folder", f"f{f}", {"owners": [f"u{u}" for u in numbers if f in owned_folders[u]]})
        data.resources.append(("Folder", "folder", f"f{f}", ["create_document"]))
    for d in numbers:
        folders = [("Folder", f"f{p}") for p in document_folders[d]]
        views = [("View", f"{kind}:{k}") for kind, k in shares["document", d]]
        data.entity("Document", f"d{d}", folders + views, public=public[d])
        reached = set().union(*(above(folder_parents, f) for f in document_folders[d]))
        viewers = shares["document", d] + [share for f in reached for share in shares["folder", f]]
        data.resource(
            "document",
            f"d{d}",
            {
                "owners": [f"u{u}" for u in numbers if d in owned_documents[u]],
                "inherited_owners": [f"u{u}" for u in numbers if reached & set(owned_folders[u])],
                "viewers": sorted({f"{kind}:{k}" for kind, k in viewers}),
                "is_public": public[d],
            },
        )
        data.resources.append(("Document", "document", f"d{d}", ["read", "write", "share", "change_owner"]))
    return data


LEVELS = ("readers", "triagers", "writers", "maintainers", "admins")
OWNER_LEVELS = ("readers", "writers", "admins")


def github(n, chance):
    data = Data()
    numbers = range(n)
    team_parents = {t: [s for s in range(t) if chance()] for t in numbers}
    teams = {u: [t for t in numbers if chance()] for u in numbers}
    organizations = {u: [o for o in numbers if chance()] for u in numbers}
    # Who holds which level: users and teams on repositories, users and organizations on organizations.
    on_repository = {r: [] for r in numbers}
    for r in numbers:
        for who in ("user", "team"):
            on_repository[r] += [((who, k), random.choice(LEVELS)) for k in numbers if chance()]
    on_organization = {o: [] for o in numbers}
    for o in numbers:
        for who in ("user", "organization"):
            on_organization[o] += [((who, k), random.choice(OWNER_LEVELS)) for k in numbers if chance()]
    owner = {r: random.choice(numbers) for r in numbers}
    kinds = {"user": "User", "team": "Team", "organization": "Organization"}

    def grants(who, k):
        found = [("Permission", f"repository:{r}:{level}") for r in numbers for one, level in on_repository[r] if one == (who, k)]
        return found + [
            ("Permission", f"organization:{o}:{level}") for o in numbers for one, level in on_organization[o] if one == (who, k)
        ]

    for u in numbers:
        reached = set().union(*(above(team_parents, t) for t in teams[u]))
        data.user(
            f"u{u}",
            principals=[f"user:{u}"]
            + [f"team:{t}" for t in sorted(reached)]
            + [f"organization:{o}" for o in organizations[u]],
        )
        parents = [("Team", f"t{t}") for t in teams[u]] + [("Organization", f"o{o}") for o in organizations[u]]
        data.entity(kinds["user"], f"u{u}", parents + grants("user", u))
    for t in numbers:
        data.entity("Team", f"t{t}", [("Team", f"t{p}") for p in team_parents[t]] + grants("team", t))
    for o in numbers:
        levels = {level: link("Permission", f"organization:{o}:{level}") for level in OWNER_LEVELS}
        data.entity("Organization", f"o{o}", grants("organization", o), **levels)
        for level in OWNER_LEVELS:
            data.entity("Permission", f"organization:{o}:{level}")
    for r in numbers:
        levels = {level: link("Permission", f"repository:{r}:{level}") for level in LEVELS}
        data.entity("Repository", f"r{r}", owner=link("Organization", f"o{owner[r]}"), **levels)
        for level in LEVELS:
            data.entity("Permission", f"repository:{r}:{level}")
        properties = {level: [f"{who}:{k}" for (who, k), one in on_repository[r] if one == level] for level in LEVELS}
        for level in OWNER_LEVELS:
            properties[f"owner_{level}"] = [f"{who}:{k}" for (who, k), one in on_organization[owner[r]] if one == level]
        data.resource("repository", f"r{r}", properties)
        data.resources.append(("Repository", "repository", f"r{r}", ["read", "triage", "write", "maintain", "admin"]))
    above_action = {"read": "triage", "triage": "write", "write": "maintain", "maintain": "admin", "admin": None}
    for action, wider in above_action.items():
        data.entity("Action", action, [("Action", wider)] if wider else [])
    return data


def tinytodo(n, chance):
    data = Data()
    numbers = range(n)
    team_parents = {t: [s for s in range(t) if chance()] for t in numbers}
    teams = {u: [t for t in numbers if chance()] for u in numbers}
    for u in numbers:
        reached = set().union(*(above(team_parents, t) for t in teams[u]))
        data.user(f"u{u}", teams=[f"t{t}" for t in sorted(reached)])
        data.entity("User", f"u{u}", [("Team", f"t{t}") for t in teams[u]])
    for t in numbers:
        data.entity("Team", f"t{t}", [("Team", f"t{p}") for p in team_parents[t]])
    for k in numbers:
        owner, readers, editors = (random.choice(numbers) for _ in range(3))
        data.entity(
            "List",
            f"l{k}",
            owner=link("User", f"u{owner}"),
            readers=link("Team", f"t{readers}"),
            editors=link("Team", f"t{editors}"),
        )
        data.resource("list", f"l{k}", {"owner": f"u{owner}", "readers": f"t{readers}", "editors": f"t{editors}"})
        actions = "get_list update_list delete_list edit_shares create_task update_task delete_task".split()
        data.resources.append(("List", "list", f"l{k}", actions))
    data.entity("Application", "TinyTodo")
    data.resources.append(("Application", "application", "TinyTodo", ["create_list", "get_lists"]))
    return data


def ask_cedar(policies, data, questions):
    requests = [
        {"principal": name("User", subject), "action": name("Action", action), "resource": name(kind, key), "context": {}}
        for subject, action, (kind, _, key, _) in questions
    ]
    entities = cedarpy.Entities.from_json_str(json.dumps(data.entities))
    answers = []
    for result in cedarpy.is_authorized_batch(requests, policies, entities):
        if result.diagnostics.errors:
            sys.exit(f"cedar cannot evaluate: {result.diagnostics.errors}")
        answers.append(result.allowed)
    return answers


def ask_stile(binaries, application, data, questions):
    with tempfile.TemporaryDirectory() as folder:
        for file in os.listdir(os.path.join(POLICIES, application)):
            if file.endswith(".stile"):
                shutil.copy(os.path.join(POLICIES, application, file), folder)
        os.mkdir(os.path.join(folder, "data"))
        with open(os.path.join(folder, "data", "data.jsonl"), "w") as text:
            text.writelines(json.dumps(line) + "\n" for line in data.lines)
        lines = "".join(
            json.dumps(
                {
                    "subject": {"type": "user", "id": subject},
                    "action": {"name": action},
                    "resource": {"type": kind, "id": key},
                }
            )
            + "\n"
            for subject, action, (_, kind, key, _) in questions
        )
        run = subprocess.run([f"{binaries}/stile", "ask", folder], input=lines, capture_output=True, text=True)
        answers = [json.loads(line) for line in run.stdout.splitlines()]
        if len(answers) != len(questions):
            sys.exit(f"stile answered {len(answers)} of {len(questions)}: {run.stderr}{run.stdout[:500]}")
        return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--requests", type=int, default=500, help="of each data set")
    parser.add_argument("--rounds", type=int, default=2, help="data sets of each application and size")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    random.seed(options.seed)
    for application, generate in (("gdrive", gdrive), ("github", github), ("tinytodo", tinytodo)):
        with open(os.path.join(HERE, f"{application}.cedar")) as text:
            policies = cedarpy.PolicySet.from_str(text.read())
        asked = permitted = 0
        for size in SIZES:
            for _ in range(options.rounds):
                data = generate(size, lambda: random.random() < CHANCE)
                questions = []
                for _ in range(options.requests):
                    resource = random.choice(data.resources)
                    questions.append((random.choice(data.subjects), random.choice(resource[3]), resource))
                expected = ask_cedar(policies, data, questions)
                found = ask_stile(options.binaries, application, data, questions)
                for question, wanted, answer in zip(questions, expected, found):
                    if answer["decision"] != wanted:
                        sys.exit(f"{application}, n = {size}, {question}: Cedar {wanted}, Stile {json.dumps(answer)}")
                asked += len(questions)
                permitted += sum(expected)
        print(f"{application}: {asked} answers equal Cedar's, {permitted} of them permit")


if __name__ == "__main__":
    main()
