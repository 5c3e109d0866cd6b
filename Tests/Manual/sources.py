"""Holds lists in the manual to where they come from: the index of codes to the tool, limits, causes and metrics to the
source, phrases to the grammar, links to what they lead to."""
import os
import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).resolve().parent.parent.parent
RECORD = os.environ.get("STILE_RECORD") == "1"
CODE = re.compile(r"[EW]\d{4}")


class Wrong(Exception):
    """Something in the manual that is not true."""


def check(binaries):
    """Throws at the first that is not true; says what was looked at."""
    index(binaries)
    return (
        f"the codes; {productions()} phrases; {exits()} exit codes; {causes()} causes; {metrics()} metrics; {limits()} limits; {links()} links")


def codes(binaries):
    """The index of the codes, from what the tool says of each and from the mistakes that the tests keep."""
    told = subprocess.run([f"{binaries}/stile", "explain", "--all"], capture_output=True, text=True, check=True).stdout
    shortest = {}
    folder = HERE / "Tests/PolicyLanguageTests/Mistakes"
    for path in sorted(folder.glob("[pc]*/*.expected")):
        said = path.read_text()
        code, mistake = CODE.search(said), path.with_suffix(".stile").read_text()
        # A text with letters that are not seen, or that are no text, is no example.
        if code and not all(c.isprintable() or c == "\n" for c in mistake + said):
            continue
        if code and (code.group() not in shortest or len(mistake) < len(shortest[code.group()][0])):
            shortest[code.group()] = (mistake, said)
    text = (
        "# Errors and warnings\n\n"
        "Each finding of `stile check` has a code that never changes its meaning. `E` stops the compilation; `W` is legal,\n"
        "but probably not what was meant. `stile explain E0304` says the same in a terminal.\n\n"
        "<!-- Made from the program and from the tests' collection of mistakes: STILE_RECORD=1 python3\n"
        "Tests/Manual/manual.py BINARIES writes it anew. -->\n")
    for entry in re.split(r"\n(?=[EW]\d{4}: )", told.strip("\n")):
        title, _, explanation = entry.partition("\n")
        text += f"\n## {title}\n\n{explanation.strip()}\n"
        if title[:5] in shortest:
            mistake, said = shortest[title[:5]]
            text += f"\n```text\n{mistake.rstrip()}\n```\n\n```text\n{said.rstrip()}\n```\n"
    return text


def index(binaries):
    path, wanted = HERE / "docs/codes.md", codes(binaries)
    if RECORD:
        path.write_text(wanted)
    elif path.read_text() != wanted:
        raise Wrong("docs/codes.md is not what `stile explain --all` says: STILE_RECORD=1 writes it anew")


def limits():
    """The limits of docs/language.md and docs/operations.md, `| `name` | value | …`, are those of the source."""
    source = {}
    for path in (HERE / "Sources").rglob("*.swift"):
        for name, value in re.findall(
                r"static (?:let|var) (max\w+|default\w+)(?:: \w+)? (?:=|\{) ([0-9_ <]+)\b", path.read_text()):
            number, _, shift = value.replace("_", "").partition("<<")
            source.setdefault(name, set()).add(int(number) << int(shift or 0))
    count = 0
    for path in (HERE / "docs").glob("*.md"):
        for name, value in re.findall(r"^\| `(max\w+)` \| ([0-9][0-9,]*(?: [KMG]iB)?) \|", path.read_text(), re.M):
            number, _, unit = value.replace(",", "").partition(" ")
            number = int(number) << {"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[unit]
            if number not in source.get(name, set()):
                raise Wrong(f"{path.name}: {name} is {source.get(name)} in the source, not {number}")
            count += 1
    if count < 15:
        raise Wrong(f"only {count} limits were found in docs/")
    return count


def causes():
    """docs/language.md names every code that an answer can give as its cause."""
    text = (HERE / "docs/language.md").read_text()
    count = 0
    for name, place in (("TenantDecider", "var code: StaticString"), ("AnswerWriter", "func code(_ verdict")):
        source = (HERE / f"Sources/DecisionPath/{name}.swift").read_text()
        source = source[source.index(place):]
        for code in re.findall(r': "(\w+)"$', source[:source.index("\n    }\n")], re.M):
            if code != "rules" and f"`{code}`" not in text:
                raise Wrong(f"docs/language.md does not name the cause {code}")
            count += 1
    if count < 15:
        raise Wrong(f"only {count} causes were found in the source")
    return count


def metrics():
    """The metrics of docs/operations.md are those of the source, all of them."""
    source = "".join(path.read_text() for path in (HERE / "Sources").glob("Gateway*/*.swift"))
    made = set(re.findall(r'(?:gauge\(|MetricFamily\(|label: )"(stile_\w+)"', source))
    text = (HERE / "docs/operations.md").read_text()
    told = set(re.findall(r"`(stile_(?:store|policy|decider|decision|gateway)\w+)`", text))
    if made != told or not made:
        raise Wrong(f"docs/operations.md and the source differ in metrics: {sorted(made ^ told)}")
    return len(made)


def exits():
    """The exit codes of `stile` stand in README.md, in docs/tools.md and in stile(1)."""
    source = (HERE / "Sources/stile/Terminal.swift").read_text()
    codes = re.findall(r"static let \w+ = ExitCode\((\d+)\)", source)
    for name, row in (
        ("README.md", r"^\| (?:\d+, )?{}(?:, \d+)? \|"), ("docs/tools.md", r"^\| {} \|"),
        ("docs/man/stile.mdoc", r"^\.It {}$"),
    ):
        text = (HERE / name).read_text()
        for code in codes:
            if not re.search(row.format(code), text, re.M):
                raise Wrong(f"{name} does not tell of exit code {code}")
    if len(codes) < 8:
        raise Wrong(f"only {len(codes)} exit codes were found in the source")
    return len(codes)


def productions():
    """docs/language.md shows every phrase of the grammar."""
    text = (HERE / "docs/language.md").read_text()
    phrases = (HERE / "grammar/stile.ebnf").read_text().partition("/* Tokens */")[0]
    names = re.findall(r"^(\w+) +::=", phrases, re.M)
    missing = [name for name in names if not re.search(rf"^{name} +::=", text, re.M)]
    if missing or len(names) < 40:
        raise Wrong(f"docs/language.md shows no {', '.join(missing)} of the grammar")
    return len(names)


def links():
    """Links between the documents and to their headings lead somewhere."""
    documents = [HERE / "README.md", HERE / "CONTRIBUTING.md", HERE / "ARCHITECTURE.md", *(HERE / "docs").glob("*.md")]
    anchors = {}
    for path in documents:
        headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.M)
        anchors[path] = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    count = 0
    for path in documents:
        prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"\w+:", target):
                continue
            name, _, anchor = target.partition("#")
            other = (path.parent / name).resolve() if name else path
            if not other.exists():
                raise Wrong(f"{path.name}: no {target}")
            if anchor and other in anchors and anchor not in anchors[other]:
                raise Wrong(f"{path.name}: no heading for {target}; there are {sorted(anchors[other])}")
            count += 1
    return count
