#!/usr/bin/env python3
"""What `stile compare` says of realistic edits of the example tenants, to the letter.

    python3 Tests/BlackBox/compare.py .build/debug        STILE_RECORD=1 writes the expected texts anew: read them as
                                                          the person who approves the change would.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

STILE = os.path.join(os.path.abspath(sys.argv[1]), "stile")
HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "..", "..", "policies")
EXPECTED = os.path.join(HERE, "Compared")
RECORDS = os.environ.get("STILE_RECORD") == "1"

# Name, tenant, edits (file, before, after), arguments, exit code.
CASES = [
    ("threshold-moved", "ledger", [("payroll.stile", "250_000", "300_000")], [], 1),
    ("threshold-made-strict", "ledger", [("payroll.stile", "resource.total <= 250_000", "resource.total < 250_000")], [], 1),
    ("group-added", "ledger", [("payroll.stile", 'or user in group "Auditors"',
                                'or user in group "Auditors" or user in group "Controllers"')], [], 1),
    ("forbid-removed", "ledger", [("payroll.stile", '''  forbid approve on payrun as "no-contractors"
    when user.employment != employee
    because "Only employees approve payroll."
''', "")], [], 1),
    ("requires-strengthened", "ledger", [("payroll.stile", "requires mfa within 15m", "requires mfa within 5m")], [], 1),
    ("require-for-more", "ledger", [("payroll.stile", "for approve on payrun", "for any on payrun")], [], 1),
    ("rule-renamed", "ledger", [("payroll.stile", 'as "approve"', 'as "approve-runs"')], [], 0),
    ("rule-renamed-rules", "ledger", [("payroll.stile", 'as "approve"', 'as "approve-runs"')], ["--rules"], 1),
    ("network-added", "ledger", [("payroll.stile", "[10.0.0.0/8, 2001:db8::/32]",
                                  "[10.0.0.0/8, 192.168.0.0/16, 2001:db8::/32]")], [], 1),
    ("rules-reordered", "library-reordered", [], [], 0),
    ("role-refactored", "rbac", [("library.stile", 'role clerk is user in group "Clerks" or role librarian',
                                  'role clerk is user in group "Clerks" or user in group "Librarians" or role director')], [], 0),
    ("role-widened", "rbac", [("library.stile", 'role librarian is user in group "Librarians" or role director',
                               'role librarian is user in group "Librarians" or user in group "Trainees" or role director')], [], 1),
    ("schedule-moved", "working-hours", [("shifts.stile", "Mon-Fri 08:00-18:00 Europe/Berlin",
                                          "Mon-Fri 07:00-17:00 Europe/Berlin")], [], 1),
    ("enum-widened", "helpdesk", [("catalog.stile", "enum(eu, us, apac) = eu", "enum(eu, us, apac, latam) = eu"),
                                  ("catalog.stile", "region: enum(eu, us, apac)\n", "region: enum(eu, us, apac, latam)\n")], [], 1),
    ("condition-rewritten", "separation-of-duties", [
        ("orders.stile", "(resource.amount < four_eyes_from and count(resource.approved_by) >= 1 or count(resource.approved_by) >= 2)",
         "count(resource.approved_by) >= 1 and not (resource.amount >= 5_000 and count(resource.approved_by) < 2)")], [], 0),
    ("list-extended", "data-residency", [("customers.stile", '"DE", "FR", "NL", "AT", "IE"', '"DE", "FR", "NL", "AT", "IE", "BE"')], [], 1),
    ("permit-added", "abac", [("reports.stile", '  permit read, comment, edit on report as "authors"',
                               '  permit read on report as "public" when resource.classification == 0\n\n'
                               '  permit read, comment, edit on report as "authors"')], [], 1),
    ("action-added", "step-up", [("catalog.stile", "action view, sign on transfer", "action view, sign, cancel on transfer"),
                                 ("transfers.stile", "permit view on transfer", "permit view, cancel on transfer")], [], 1),
    ("probation-shortened", "abac", [("reports.stile", ">= 90d", ">= 60d")], [], 1),
    ("offer-longer", "just-in-time", [("systems.stile", "for at most 4h as", "for at most 8h as"),
                                      ("systems.stile", "requires mfa within 5m", "requires mfa within 1h")], [], 1),
    ("offer-for-more", "just-in-time", [("systems.stile", '    to user in group "Engineers"\n    requires',
                                         '    to user in group "Engineers" or user.team == "data"\n    requires')], [], 1),
    ("offer-by-role", "just-in-time", [("systems.stile", '    to user in group "Engineers"\n    requires',
                                        "    to role engineer\n    requires")], [], 0),
]


def prepare(name, tenant, edits, work):
    old = os.path.join(work, name, "old")
    new = os.path.join(work, name, "new")
    source = os.path.join(EXAMPLES, "rbac" if tenant == "library-reordered" else tenant)
    for folder in (old, new):
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("data"))
    if tenant == "library-reordered":
        reorder(os.path.join(new, "library.stile"))
    for file, before, after in edits:
        path = os.path.join(new, file)
        with open(path, encoding="utf-8") as opened:
            text = opened.read()
        assert text.count(before) >= 1, f"{name}: {file} has no {before!r}"
        with open(path, "w", encoding="utf-8") as opened:
            opened.write(text.replace(before, after, 1))
    return old, new


def reorder(path):
    """The rules of a policy in reverse order, in a file of another name."""
    with open(path, encoding="utf-8") as opened:
        text = opened.read()
    head, rest = text.split("{\n", 1)
    body, tests = rest.split("\n}\n", 1)
    parts = body.split("\n\n")
    with open(path, "w", encoding="utf-8") as opened:
        opened.write(head + "{\n" + "\n\n".join(reversed(parts)) + "\n}\n" + tests)
    os.rename(path, path.replace("library", "rules"))


def compare(arguments):
    done = subprocess.run([STILE, "compare", *arguments], capture_output=True, text=True, timeout=300,
                          env=dict(os.environ, NO_COLOR="1"))
    if done.stderr:
        sys.exit(f"FAILED: stile compare {' '.join(arguments)} says {done.stderr}")
    return done


def main():
    failed = 0
    os.makedirs(EXPECTED, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name, tenant, edits, arguments, code in CASES:
            old, new = prepare(name, tenant, edits, work)
            done = compare([old, new, *arguments])
            path = os.path.join(EXPECTED, f"{name}.txt")
            if RECORDS:
                with open(path, "w", encoding="utf-8") as opened:
                    opened.write(done.stdout)
            with open(path, encoding="utf-8") as opened:
                expected = opened.read()
            made = json.loads(compare([old, new, *arguments, "--json"]).stdout.splitlines()[-1])
            offers = done.stdout.count("offer role ")
            problem = None
            if done.returncode != code:
                problem = f"ended with {done.returncode}, not {code}"
            elif done.stdout != expected:
                problem = f"says\n{done.stdout}and was to say\n{expected}"
            elif made["equal"] != (code == 0) or made["not_proven"] != 0 or made["offers"] != offers:
                problem = f"says as JSON {made}"
            if problem:
                failed += 1
                print(f"FAILED: {name} {problem}")
            else:
                print(f"ok: {name}: {done.stdout.splitlines()[-1]}")
            # Each witness is a test that the new version passes.
            for line in compare([old, new, *arguments, "--json"]).stdout.splitlines()[:-1]:
                region = json.loads(line)
                if "witness" in region and not (region["confirmed"] and region["proven"]):
                    failed += 1
                    print(f"FAILED: {name}: a witness does not confirm {region}")
    if failed:
        sys.exit(f"{failed} failed")
    print(f"compare: {len(CASES)} edits read as expected")


main()
