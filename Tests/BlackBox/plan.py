#!/usr/bin/env python3
"""The WHERE that `stile plan` writes selects exactly the rows that `stile ask` permits, or wants a step-up for.

    python3 Tests/BlackBox/plan.py .build/debug      ROWS=10000 POLICIES=20 SEED=1

For example tenants and for random policies: random rows (NULL, quotes, values the catalog does not know, exact
decimals, sets, instants, networks, containers) go into SQLite, and into PostgreSQL where POSTGRES names a connection
string for psql; each row is also asked about by itself. Both must agree on every row.
"""

import ipaddress
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from decimal import Decimal

STILE = os.path.join(os.path.abspath(sys.argv[1]), "stile")
HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "..", "..", "policies")
ROWS = int(os.environ.get("ROWS", "10000"))
POLICIES = int(os.environ.get("POLICIES", "12"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
POSTGRES = os.environ.get("POSTGRES")
HOUR = 3600 * 1000
NOW = int(time.time() * 1000)
TEXTS = ["", "a", "A", "abc", "it's", "100%", "a_b", "a*b", "[x]", "back\\slash", 'qu"ote', "; --", "gr\u00fcn",
         "eu-west-1", "OPS-1", "\U0001f600", "a!b", "?1", "$1"]
USERS = ["ada", "bob", "cho", "O'Hara", "x"]
ADDRESSES = ["10.0.0.1", "10.255.255.255", "11.0.0.0", "192.0.2.7", "2001:db8::1", "2001:db9::", "::1", "255.255.255.255"]
DECIMALS = ["0", "0.000001", "-0.000001", "0.1", "0.3", "249999.999999", "250000", "250000.000001", "4999.99", "5000",
            "5000.01", "-12.5", "8000000000.000001", "8000000000.000002"]


class Column:
    """An attribute of the resource, as `stile plan --json` describes it."""

    def __init__(self, described, decimals):
        self.name = described["name"]
        self.cases = described.get("cases")
        kind = described["type"]
        self.is_set = kind.startswith("set of ")
        self.kind = kind.removeprefix("set of ")
        self.digits = decimals.get(self.name, 0)
        if self.cases:
            self.kind = "enum"
        match = re.fullmatch(r"(-?\d+)\.\.\.(-?\d+)", self.kind)
        self.low, self.high = (int(match[1]), int(match[2])) if match else (None, None)
        if match:
            self.kind = "int"

    def value(self, source):
        """A random value as JSON says it; None for none."""
        if source.random() < 0.15:
            return None
        if self.is_set:
            return [self.scalar(source) for _ in range(source.choice([0, 1, 1, 2, 3]))]
        return self.scalar(source)

    def scalar(self, source):
        if self.kind == "bool":
            return source.random() < 0.5
        if self.kind == "int":
            low, high = (self.low, self.high) if self.low is not None else (-3, 30)
            # Beyond the range now and then: the catalog does not know such a value.
            return source.randint(low - 1, high + 1) if source.random() < 0.2 else source.randint(low, high)
        if self.kind == "decimal":
            pool = DECIMALS + (["9223372036854.775807", "9223372036854.775806"] if self.digits == 6 else [])
            text = source.choice(pool) if source.random() < 0.5 else str(Decimal(source.randint(-10**8, 10**12)) / 10**6)
            return Decimal(text)
        if self.kind == "enum":
            return "unheard of" if source.random() < 0.05 else source.choice(self.cases)
        if self.kind == "datetime":
            # Half days beside any whole number of days from now: no bound in a policy is that near.
            instant = NOW + source.randint(-400, 400) * 24 * HOUR + 12 * HOUR
            return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant // 1000)) + f".{instant % 1000:03}Z"
        if self.kind == "duration":
            return source.choice([0, 60, 3600, 86400, 90000])
        if self.kind == "ipaddr":
            return source.choice(ADDRESSES)
        if self.kind == "string":
            return source.choice(TEXTS + self.hints)
        return source.choice(USERS)

    # Texts that the policies name, so that they are met.
    hints = []

    def declared(self, dialect):
        if dialect == "sqlite":
            kinds = {"bool": "INTEGER", "int": "INTEGER", "decimal": "INTEGER" if self.digits else "REAL",
                     "datetime": "INTEGER", "duration": "INTEGER", "ipaddr": "BLOB"}
            # A collation that folds capitals must not matter.
            return "TEXT" if self.is_set else kinds.get(self.kind, "TEXT COLLATE NOCASE")
        kinds = {"bool": "boolean", "int": "bigint", "decimal": "numeric", "datetime": "timestamptz",
                 "duration": "bigint", "ipaddr": "inet"}
        return kinds.get(self.kind, "text") + ("[]" if self.is_set else "")

    def stored(self, value, dialect):
        """The value as it goes into the column."""
        if value is None:
            return None
        if self.is_set:
            values = [self.stored_scalar(item, dialect) for item in value]
            if dialect == "sqlite":
                return "[" + ",".join(item.text if isinstance(item, Raw) else json.dumps(item) for item in values) + "]"
            return values
        value = self.stored_scalar(value, dialect)
        return (float(value.text) if isinstance(value, Raw) else value)

    def stored_scalar(self, value, dialect):
        if self.kind == "decimal":
            if self.digits:
                return int(value.scaleb(self.digits))
            return Raw(format(value, "f")) if dialect == "sqlite" else value
        if dialect == "sqlite":
            if self.kind == "bool":
                return int(value)
            if self.kind == "datetime":
                return parse_instant(value)
            if self.kind == "ipaddr":
                address = ipaddress.ip_address(value)
                return (b"\0" * 10 + b"\xff\xff" + address.packed) if address.version == 4 else address.packed
        if self.kind == "duration":
            return value * 1000
        return value


class Raw:
    """A number with all its digits."""

    def __init__(self, text):
        self.text = text


def parse_instant(text):
    whole, rest = text[:-1].split(".")
    return int(time.mktime(time.strptime(whole + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone) * 1000 + int(rest)


def to_json(value):
    """JSON with exact decimals."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(name) + ":" + to_json(inner) for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(to_json(inner) for inner in value) + "]"
    return json.dumps(value)


def run(arguments, text=None, codes=(0,)):
    done = subprocess.run([STILE, *arguments], input=text, capture_output=True, text=True, timeout=600)
    if done.returncode not in codes:
        sys.exit(f"FAILED: stile {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done


class Tenant:
    """A tenant's folder in a store of its own, filled once: each question would fill another one."""

    def __init__(self, folder, work):
        self.folder = folder
        store = tempfile.mkdtemp(dir=work)
        self.where = ["--store", store, "--tenant", "t"]
        run(["tenant", "create", "t", "--store", store])
        run(["policy", "push", folder, *self.where])
        data = os.path.join(folder, "data")
        run(["load", *self.where, *(os.path.join(data, name) for name in sorted(os.listdir(data)))])

    def plan(self, question, arguments):
        return run(["plan", to_json(question), *arguments, *self.where], codes=(0, 1))

    def ask(self, lines):
        return [json.loads(line) for line in run(["ask", *self.where], "\n".join(lines) + "\n").stdout.splitlines()]


class Postgres:
    """A psql that is fed SQL; the rows come back as lines."""

    def query(self, sql):
        done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", POSTGRES], input=sql, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"FAILED: psql: {done.stderr[:2000]}")
        return done.stdout.split("\n")[:-1]

    @staticmethod
    def literal(value, kind):
        if value is None:
            return "NULL"
        if isinstance(value, list):
            return "ARRAY[" + ",".join(Postgres.literal(item, None) for item in value) + f"]::{kind}"
        if isinstance(value, bool):
            return str(value).upper()
        if isinstance(value, (int, Decimal)):
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        return "'" + value.replace("'", "''") + "'"


def select_sqlite(rows, columns, containers, sqls):
    connection = sqlite3.connect(":memory:")
    declared = "".join(f", \"{column.name}\" {column.declared('sqlite')}" for column in columns)
    connection.execute(f'CREATE TABLE t ("id" TEXT{declared})')
    places = ",".join("?" * (len(columns) + 1))
    connection.executemany(
        f"INSERT INTO t VALUES ({places})",
        [[row["id"]] + [column.stored(row["values"][column.name], "sqlite") for column in columns] for row in rows])
    connection.execute(
        "CREATE TABLE lies_in (resource_type TEXT, resource_id TEXT, container_type TEXT, container_id TEXT)")
    connection.executemany("INSERT INTO lies_in VALUES (?,?,?,?)", containers)
    connection.execute("CREATE INDEX lies ON lies_in (resource_id, container_id)")
    found = []
    for sql, parameters in sqls:
        found.append({row[0] for row in connection.execute(f"SELECT id FROM t WHERE {sql}", parameters)})
    return found


def select_postgres(rows, columns, containers, sqls):
    declared = "".join(f", \"{column.name}\" {column.declared('postgresql')}" for column in columns)
    script = [f'CREATE TEMP TABLE t ("id" text{declared});',
              "CREATE TEMP TABLE lies_in (resource_type text, resource_id text, container_type text, container_id text);"]
    for start in range(0, len(rows), 500):
        values = ",\n".join(
            "(" + ",".join([Postgres.literal(row["id"], None)] + [
                Postgres.literal(column.stored(row["values"][column.name], "postgresql"), column.declared("postgresql"))
                for column in columns]) + ")" for row in rows[start:start + 500])
        script.append(f"INSERT INTO t VALUES {values};")
    for start in range(0, len(containers), 500):
        values = ",".join("(" + ",".join(Postgres.literal(x, None) for x in row) + ")" for row in containers[start:start + 500])
        script.append(f"INSERT INTO lies_in VALUES {values};")
    script.append("CREATE INDEX ON lies_in (resource_id); ANALYZE lies_in;")
    for index, (sql, _) in enumerate(sqls):
        script.append(f"SELECT '{index} ' || id FROM t WHERE {sql};")
    found = [set() for _ in sqls]
    for line in Postgres().query("\n".join(script)):
        index, name = line.split(" ", 1)
        found[int(index)].add(name)
    return found


def check(name, tenant, question, source, decimals, tree=None):
    """One question's plan against every row asked by itself."""
    decimal_arguments = [text for column, digits in decimals.items() for text in ("--decimal", f"{column}={digits}")]
    described = json.loads(tenant.plan(question, ["--json"]).stdout)
    columns = [Column(one, decimals) for one in described["columns"]]
    type_name = question["resource"]["type"]
    rows = []
    registered = sorted(tree) if tree else []
    for index in range(ROWS):
        identity = registered[index % len(registered)] if registered else f"r{index}"
        rows.append({"id": identity if index < len(registered) or not registered else f"r{index}",
                     "values": {column.name: column.value(source) for column in columns}})
    containers = []
    for identity, above in (tree or {}).items():
        containers += [(type_name, identity, kind, container) for kind, container in above]
    lines = []
    said = question["resource"].get("properties", {})
    for row in rows:
        # What the question says of the resource counts where the row says nothing.
        properties = {**said, **{key: value for key, value in row["values"].items() if value is not None}}
        asked = dict(question)
        asked["resource"] = {"type": type_name, "id": row["id"], "properties": properties}
        lines.append(to_json(asked))
    answers = tenant.ask(lines)
    assert len(answers) == len(rows), f"{len(answers)} answers to {len(rows)} questions"
    expected = [{row["id"] for row, answer in zip(rows, answers) if answer["context"]["outcome"] == wanted}
                for wanted in ("permit", "step_up")]
    base = ["--containers", "lies_in", *decimal_arguments]
    for dialect, select in (("sqlite", select_sqlite), ("postgresql", select_postgres)):
        if dialect == "postgresql" and not POSTGRES:
            continue
        sqls = []
        for outcome in ("permit", "step_up"):
            done = tenant.plan(question, ["--sql", dialect, "--outcome", outcome, *base])
            sqls.append((done.stdout, []))
        if dialect == "sqlite":
            # The same with parameters.
            made = json.loads(tenant.plan(question, ["--sql", dialect, "--parameters", "--json", *base]).stdout,
                              parse_float=float)
            for outcome in ("permit", "step_up"):
                sqls.append((made[outcome]["sql"], made[outcome]["parameters"]))
        found = select(rows, columns, containers, sqls)
        for index, (sql, _) in enumerate(sqls):
            wanted = expected[index % 2]
            if found[index] != wanted:
                wrong = sorted(found[index] ^ wanted)[0]
                row = next(row for row in rows if row["id"] == wrong)
                answer = answers[rows.index(row)]
                sys.exit(
                    f"FAILED: {name}, {dialect}, seed {SEED}: {len(found[index] ^ wanted)} rows differ, the first\n"
                    f"{row}\nselected: {wrong in found[index]}, answered: {answer}\nWHERE {sql}\n{to_json(question)}")
    return len(expected[0]), len(expected[1])


# MARK: Example tenants

def user(name):
    return {"type": "user", "id": name}


# Who asks, where the answer hangs on a session that the data have; else somebody for whom it hangs on the row is found.
ASKERS = {
    ("ledger", "approve"): [("ada", "s-ada"), ("ada", "s-ada-old")],
    ("ledger", "read"): [("bob", "s-bob")],
}
# What the policies read besides the row.
GIVEN = {
    ("data-residency", "read"): {"context": {"country": "DE"}},
    ("data-residency", "export"): {"action": {"name": "export", "properties": {"to_region": "eu-west-1"}}},
}


def example_questions():
    """Every action on every type of every example tenant."""
    for name in sorted(os.listdir(EXAMPLES)):
        path = os.path.join(EXAMPLES, name, "catalog.stile")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"//.*", "", file.read())
        for actions, types in re.findall(r"^\s*action\s+(\w+(?:\s*,\s*\w+)*)\s+on\s+(\w+(?:\s*,\s*\w+)*)", text, re.M):
            for action in re.split(r"\s*,\s*", actions):
                for kind in re.split(r"\s*,\s*", types):
                    question = {"action": {"name": action}, "resource": {"type": kind}, **GIVEN.get((name, action), {})}
                    for asker, session in ASKERS.get((name, action), [(None, None)]):
                        known = {"subject": user(asker), "session": session} if asker else {}
                        yield name, {**question, **known}


def first_users(folder):
    """Ids of the users that a tenant's data provision."""
    found = []
    data = os.path.join(folder, "data")
    for name in sorted(os.listdir(data)):
        with open(os.path.join(data, name), encoding="utf-8") as lines:
            for line in lines:
                value = json.loads(line)
                if "userName" in value:
                    found.append(value["id"])
    return found


def live_session(folder, subject):
    """A session of the tenant's data for a user."""
    data = os.path.join(folder, "data")
    for name in sorted(os.listdir(data)):
        with open(os.path.join(data, name), encoding="utf-8") as lines:
            for line in lines:
                session = json.loads(line).get("session")
                if session and session["subject"]["id"] == subject:
                    return session["id"]
    return None


def hints(folder):
    """The texts that a tenant's policies and data name."""
    found = set()
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), encoding="utf-8") as file:
                found |= set(re.findall(r'"([^"\\\n]{1,20})"', file.read()))
    return sorted(found)


def examples(source, work):
    tenants = {}
    for name, question in example_questions():
        folder = os.path.join(EXAMPLES, name)
        if name not in tenants:
            tenants[name] = Tenant(folder, work)
        tenant = tenants[name]
        users = first_users(folder)
        if "subject" not in question and not users:
            print(f"left out: {name}: its subjects are no users")
            continue
        if "subject" not in question:
            # Somebody for whom the answer hangs on the row, if there is anybody.
            for asker in source.sample(users, min(12, len(users))):
                question["subject"] = user(asker)
                question.pop("session", None)
                if (session := live_session(folder, asker)) is not None:
                    question["session"] = session
                made = json.loads(tenant.plan(question, ["--json"]).stdout)
                if "sometimes" in (made["permit"]["extent"], made["step_up"]["extent"]):
                    break
        asker = question["subject"]["id"]
        Column.hints = hints(folder)
        global USERS
        USERS = users + ["nobody"]
        counts = check(name, tenant, question, source, {})
        print(f"ok: {name}, {asker} {question['action']['name']} {question['resource']['type']}: "
              f"{ROWS} rows, {counts[0]} permitted, {counts[1]} step-up", flush=True)


def hierarchy(source, work):
    """Documents in folders in folders, registered in the store; the table of containers is their closure."""
    folder = os.path.join(work, "hierarchy")
    shutil.copytree(os.path.join(EXAMPLES, "hierarchy"), folder)
    users = first_users(folder)
    folders = ["litigation", "tax", "forms", "sealed"] + [f"f{index}" for index in range(30)]
    parents = {name: source.sample(folders[:index], min(index, source.choice([0, 1, 1, 2]))) for index, name in enumerate(folders)}
    def above(name):
        found = set()
        pending = list(parents[name])
        while pending:
            one = pending.pop()
            if one not in found:
                found.add(one)
                pending += parents[one]
        return found
    tree = {}
    with open(os.path.join(folder, "data", "tree.jsonl"), "w", encoding="utf-8") as file:
        for name in folders:
            resource = {"type": "folder", "id": name, "properties": {}, "parents": [{"type": "folder", "id": one} for one in parents[name]]}
            file.write(json.dumps({"resource": resource}) + "\n")
        for index in range(ROWS // 2):
            inside = source.sample(folders, source.choice([0, 1, 1, 2]))
            name = f"d{index}"
            tree[name] = {("folder", one) for one in set(inside).union(*[above(one) for one in inside])}
            resource = {"type": "document", "id": name, "properties": {}, "parents": [{"type": "folder", "id": one} for one in inside]}
            file.write(json.dumps({"resource": resource}) + "\n")
    tenant = Tenant(folder, work)
    for asker in users[:3]:
        for action in ("read", "annotate"):
            question = {"subject": user(asker), "action": {"name": action}, "resource": {"type": "document"}}
            counts = check("hierarchy", tenant, question, source, {}, tree)
            print(f"ok: hierarchy, {asker} {action}: {ROWS} rows, {counts[0]} permitted, {counts[1]} step-up")


# MARK: Random policies

class Author:
    """Writes random policies over one catalog that has a column of every kind."""

    CATALOG = """catalog "random" version 1.0.0 {
  assurance password < mfa < key
  entity user { name: string = "", level: 0...5 = 2, names: set of string = [], boss: user?, seen: datetime? }
  entity team
  entity doc {
    text: string, maybe: string?, given: string = "abc"
    flag: bool, flag_or: bool = true
    count_of: int = 3, rank: 1...5?
    amount: decimal, part: decimal = 0.1, exact: decimal?
    state: enum(draft < review < final), mood: enum(good, bad) = good, kinds: set of enum(red, green, blue) = []
    made: datetime, due: datetime?, span: duration = 1h
    address: ipaddr?, home: ipaddr = 10.0.0.1
    owner: user, helper: user?, readers: set of user = []
    tags: set of string = [], labels: set of string?, counts: set of int = [], prices: set of decimal?
  }
  action see on doc
  context { place: string = "abc" }
}
"""

    def __init__(self, source):
        self.source = source

    def text(self):
        return json.dumps(self.source.choice([text for text in TEXTS if "\\" not in text and '"' not in text]), ensure_ascii=False)

    def instant(self):
        day = NOW + self.source.randint(-300, 300) * 24 * HOUR
        return time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(day // 1000))

    def pattern(self):
        return self.source.choice(['"a*"', '"*b"', '"*a*"', '"OPS-*"', '"*%*"', '"*_*"', '"[*"', '"*\'*"', '"gr*n"', '"*!*"', '"*?*"'])

    def test(self):
        pick = self.source.choice
        return pick([
            lambda: f"resource.text {pick(['==', '!='])} {self.text()}",
            lambda: f"resource.text == user.name",
            lambda: f"resource.text == resource.given",
            lambda: f"resource.text in [{self.text()}, {self.text()}]",
            lambda: f"resource.text {pick(['', 'not '])}in user.names",
            lambda: f"resource.given {pick(['==', '!='])} {self.text()}",
            lambda: f"has resource.maybe",
            lambda: f"has resource.maybe and resource.maybe {pick(['==', '!='])} {self.text()}",
            lambda: f"(resource.maybe ?? \"zz\") {pick(['==', '!='])} {self.text()}",
            lambda: f"resource.text like {self.pattern()}",
            lambda: f"has resource.maybe and resource.maybe like {self.pattern()}",
            lambda: "resource.flag", lambda: "not resource.flag_or", lambda: "resource.flag == resource.flag_or",
            lambda: f"resource.count_of {pick(['<', '<=', '>', '>=', '==', '!='])} {self.source.randint(-2, 20)}",
            lambda: f"has resource.rank and resource.rank {pick(['<', '>=', '!='])} user.level",
            lambda: "has resource.rank and resource.rank in 2...4",
            lambda: f"resource.amount {pick(['<', '<=', '>', '>=', '==', '!='])} {pick(DECIMALS)}",
            lambda: f"resource.amount {pick(['<', '>='])} resource.part",
            lambda: f"has resource.exact and resource.exact {pick(['<', '<=', '>', '==', '!='])} {pick(DECIMALS + ['9223372036854.775806'])}",
            lambda: f"resource.part == 0.1",
            lambda: f"resource.state {pick(['<', '<=', '>', '>=', '==', '!='])} {pick(['draft', 'review', 'final'])}",
            lambda: f"resource.state in [draft, final]",
            lambda: f"resource.mood {pick(['==', '!='])} good",
            lambda: f"resource.kinds contains {pick(['red', 'green'])}",
            lambda: "resource.kinds intersects [red, blue]", lambda: "resource.kinds subset of [red, green]",
            lambda: f"resource.made {pick(['<', '>='])} {self.instant()}",
            lambda: f"now - resource.made {pick(['<', '>'])} {self.source.randint(1, 300)}d",
            lambda: f"resource.made + resource.span {pick(['<', '>'])} now",
            lambda: f"has resource.due and resource.due {pick(['<', '>'])} {pick(['now', 'resource.made'])}",
            lambda: f"has resource.due and resource.due - resource.made {pick(['<', '>'])} {self.source.randint(1, 200)}d",
            lambda: f"resource.span {pick(['<', '<=', '==', '!='])} {pick(['1h', '1m', '1d', '25h'])}",
            lambda: "has resource.address and resource.address in [10.0.0.0/8, 2001:db8::/32]",
            lambda: "resource.home in 192.0.2.0/24", lambda: "has resource.address and resource.address == 10.0.0.1",
            lambda: "has resource.address and resource.address not in ::/0",
            lambda: f"resource.owner {pick(['==', '!='])} user", lambda: "has resource.helper and resource.helper == user",
            lambda: "has resource.helper and resource.helper == resource.owner", lambda: "resource.readers contains user",
            lambda: "resource.readers contains resource.owner",
            lambda: f"resource.tags contains {self.text()}", lambda: f"{self.text()} in resource.tags",
            lambda: "resource.tags intersects user.names", lambda: "resource.tags subset of user.names",
            lambda: "user.names subset of resource.tags",
            lambda: f"resource.tags intersects [{self.text()}, {self.text()}]",
            lambda: "resource.tags contains resource.text",
            lambda: f"has resource.labels and resource.labels contains {self.text()}",
            lambda: "has resource.labels and resource.labels intersects resource.tags",
            lambda: "has resource.labels and resource.labels subset of resource.tags",
            lambda: f"count(resource.tags) {pick(['>=', '==', '<'])} {self.source.randint(0, 3)}",
            lambda: f"resource.counts contains {self.source.randint(0, 9)}",
            lambda: f"resource.counts intersects [1, 2, 3, 4]", lambda: "resource.counts contains resource.count_of",
            lambda: f"has resource.prices and resource.prices contains {pick(DECIMALS)}",
            lambda: "role strong", lambda: "context.place == \"abc\"", lambda: "user.level >= 2",
        ])()

    def condition(self, depth):
        roll = self.source.random()
        if depth == 0 or roll < 0.3:
            return self.test()
        if roll < 0.45:
            return f"not ({self.condition(depth - 1)})"
        word = self.source.choice([" and ", " or "])
        return "(" + word.join(self.condition(depth - 1) for _ in range(self.source.choice([2, 2, 3]))) + ")"

    def rule(self, index):
        kind = self.source.choice(["permit", "permit", "permit", "forbid", "require"])
        condition = self.condition(self.source.choice([1, 2, 2, 3]))
        demand = self.source.choice(["password", "mfa", "mfa within 15m", "key within 1h"])
        if kind == "require":
            return f'  require {demand} for see on doc as "r{index}" when {condition}'
        requires = f" requires {demand}" if kind == "permit" and self.source.random() < 0.4 else ""
        return f'  {kind} see on doc as "r{index}" when {condition}{requires}'

    def policy(self):
        rules = "\n".join(self.rule(index) for index in range(self.source.choice([1, 2, 3, 5])))
        return f'policy "R" {{\n  role strong is user.level >= 4 and user.name != ""\n{rules}\n}}\n'

    def data(self):
        people = []
        for name in USERS:
            person = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": name, "userName": name,
                      "name": self.source.choice(["a", "abc", "it's", "grün"]), "level": self.source.randint(0, 5),
                      "names": self.source.sample(TEXTS[1:8], 3), "boss": "ada"}
            people.append(person)
        sessions = [{"session": {"id": f"s{index}", "subject": user("ada"), "assurance": level, "amr": ["pwd"],
                                 "auth_time": age, "expires": "now+8h"}}
                    for index, (level, age) in enumerate([("password", "now-2m"), ("mfa", "now-2h"), ("mfa", "now-2m"), ("key", "now-3h")])]
        return people + sessions


def random_policies(source, work):
    global USERS
    USERS = ["ada", "bob", "cho", "O'Hara", "x"]
    Column.hints = []
    done = 0
    totals = [0, 0]
    skipped = 0
    while done < POLICIES:
        author = Author(source)
        folder = os.path.join(work, f"random{done}")
        os.makedirs(os.path.join(folder, "data"), exist_ok=True)
        for name, text in (("catalog.stile", Author.CATALOG), ("rules.stile", author.policy())):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        with open(os.path.join(folder, "data", "people.jsonl"), "w", encoding="utf-8") as file:
            for line in author.data():
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if subprocess.run([STILE, "check", folder], capture_output=True).returncode != 0:
            # The checker refuses what can never match; another policy is tried.
            skipped += 1
            if skipped > 20 * (POLICIES + 5):
                sys.exit("FAILED: the random policies do not check: " + run(["check", folder], codes=(0, 1)).stdout)
            continue
        question = {"subject": user("ada"), "action": {"name": "see"}, "resource": {"type": "doc"}}
        session = source.choice([None, "s0", "s1", "s2", "s3"])
        if session:
            question["session"] = session
        tenant = Tenant(folder, work)
        if source.random() < 0.5:
            columns = json.loads(tenant.plan(question, ["--json"]).stdout)["columns"]
            said = {column.name: column.value(source) for column in (Column(one, {"exact": 6}) for one in columns)
                    if source.random() < 0.4}
            question["resource"]["properties"] = {key: value for key, value in said.items() if value is not None}
        counts = check(f"random policy {done}\n" + author_text(folder), tenant, question, source, {"exact": 6})
        totals[0] += counts[0]
        totals[1] += counts[1]
        done += 1
    print(f"ok: {POLICIES} random policies, {ROWS} rows each: {totals[0]} permitted, {totals[1]} step-up; {skipped} not taken by the checker")


def author_text(folder):
    with open(os.path.join(folder, "rules.stile"), encoding="utf-8") as file:
        return file.read()


def main():
    print(f"seed {SEED}, {ROWS} rows, SQLite {sqlite3.sqlite_version}" + (", PostgreSQL" if POSTGRES else ""))
    source = random.Random(SEED)
    with tempfile.TemporaryDirectory() as work:
        examples(source, work)
        hierarchy(source, work)
        random_policies(source, work)
    print("plan: 0 rows differ")


main()
