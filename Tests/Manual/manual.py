#!/usr/bin/env python3
"""Holds the manual to the programs: every fenced block of README.md, docs/*.md and stile(5) is run against the real ones.

    manual.py BINARIES [FILE…]        STILE_RECORD=1 writes what commands print, and docs/codes.md, anew

What stands behind the three backticks says what a block is:

    catalog              a catalog; it checks without a finding, and the blocks after it are read by it
    stile                a file of policies; it checks without a finding, its tests pass
    stile rules          rules alone, to be put into a policy
    stile conditions     conditions, one a line, each to be put into a rule on the type named by `on=TYPE`
    … E0304 W0001        it does not check: these codes are told, and no others
    … file=PATH          the file is written, for the commands and questions after it; `append=PATH` adds to it
    … catalog=PATH       read by another catalog, a path in the repository
    console              commands behind `$ `, and what they print; `…` stands for any lines, or for any text in a line
    console background=N the command goes on running, the manual goes on; `of=N` shows what it has printed since,
                         `end=N` interrupts it and shows the rest
    console eventually   the same, asked again for some seconds until it is so: what another process writes meanwhile
    json question        asked of the folder `of=PATH`; the `json answer` behind it holds what the answer must hold
    json, jsonl          is JSON, JSON Lines
    grammar, cddl        lines of grammar/stile.ebnf, of grammar/decision.cddl
    hex client, server   a frame of the decision socket in bytes, with comments behind `#` (see frames.py)
    c, python            a program: it is read by its compiler
    swift of=PATH        a program that other tests run, without its comments
    text                 nothing is checked

Instants, ids, hashes, temporary folders and the size of compiled policies are compared by their shape alone.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import sources
from frames import Frames
from sources import CODE, HERE, RECORD, Wrong

VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
    r"|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|/tmp/stile-[A-Za-z0-9]{6}"
    r"|(?<=compiled to )\d+|(?<=compiled_bytes\": )\d+|(?<=snapshot )\d+|(?<=_ms\":)\d{13}|(?<=_ms\": )\d{13}")


class Block:
    def __init__(self, language, marks, text, line, first, last):
        self.language, self.text, self.line = language, text, line
        self.first, self.last = first, last
        self.flags = [mark for mark in marks if "=" not in mark]
        self.options = dict(mark.split("=", 1) for mark in marks if "=" in mark)
        self.codes = sorted(flag for flag in self.flags if CODE.fullmatch(flag))


def blocks(lines):
    """The fenced blocks, with the numbers of their first line and of the line behind their last."""
    start = None
    for number, line in enumerate(lines):
        match = re.match(r"^```(.*)$", line)
        if not match:
            continue
        if start is None:
            start, words = number, match.group(1).split()
        else:
            text = "".join(part + "\n" for part in lines[start + 1:number])
            yield Block(words[0] if words else "", words[1:], text, start + 1, start + 1, number)
            start = None
    if start is not None:
        raise Wrong(f"line {start + 1}: the block is not closed")


class Manual:
    """One document, with a folder of its own in which its commands run."""

    def __init__(self, path, binaries):
        self.path, self.binaries = path, binaries
        text = path.read_text()
        if path.suffix == ".5":
            text = re.sub(r'^\.\\" (catalog|stile)\n\.Bd .*$', r"```\1", text, flags=re.M)
            text = re.sub(r"^\.Ed$", "```", text, flags=re.M).replace("\\e", "\\")
        self.lines = text.split("\n")
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="manual-"))
        self.home = self.work / "home"
        self.home.mkdir()
        self.catalog = None
        self.bound = {}
        self.running = {}
        self.question = None
        self.frames = None
        self.checked = 0
        self.edits = []
        self.environment = {
            "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(self.work), "USER": "ops", "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8", "TZ": "UTC", "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
            "PYTHONPATH": str(HERE / "Sources/PythonClient"), "PYTHONDONTWRITEBYTECODE": "1"}
        # What the reader has: a working copy, and libstile installed.
        (self.home / "policies").symlink_to(HERE / "policies")
        if "pkg-config" in path.read_text():
            self.install_libstile()

    def run(self):
        handlers = {
            "catalog": self.policy, "stile": self.policy, "console": self.console, "json": self.json,
            "jsonl": self.jsonl, "grammar": self.grammar, "cddl": self.grammar, "hex": self.hex, "c": self.c,
            "python": self.python, "swift": self.swift, "sh": self.file, "ini": self.file}
        try:
            for block in blocks(self.lines):
                if block.language == "text":
                    continue
                if block.language not in handlers:
                    raise Wrong(f"{self.path.name}:{block.line}: a block of no known kind: `{block.language}`")
                try:
                    handlers[block.language](block)
                except Wrong as wrong:
                    raise Wrong(f"{self.path.name}:{block.line}: {wrong}") from None
                self.checked += 1
            if self.question:
                raise Wrong(f"{self.path.name}: the last question has no answer")
        finally:
            for process, *_ in self.running.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    process.wait(20)
            if self.frames:
                self.frames.close()
            shutil.rmtree(self.work, ignore_errors=True)
        if self.edits:
            for first, last, text in reversed(self.edits):
                self.lines[first:last] = text
            self.path.write_text("\n".join(self.lines))

    def install_libstile(self):
        prefix = self.work / "usr"
        subprocess.run(
            ["make", "--no-print-directory", "-C", HERE, "install-libstile", "DESTDIR=", f"PREFIX={prefix}"], check=True,
            stdout=subprocess.DEVNULL)
        self.environment["PKG_CONFIG_PATH"] = f"{prefix}/lib/pkgconfig"
        self.environment["LD_LIBRARY_PATH"] += f":{prefix}/lib"

    # Files

    def file(self, block):
        """Writes the block where `file=` says, and the text before it: marks are not shown to readers."""
        for option, mode in (("file", "w"), ("append", "a")):
            if option in block.options:
                path = self.home / block.options[option]
                text = "\n".join(self.lines[:block.first - 1])
                if f"`{block.options[option]}`" not in text and f"`{path.parent.name}`" not in text:
                    raise Wrong(f"the text does not say that this is {block.options[option]}")
                path.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text() if mode == "a" else ""
                # In one step: who watches the folder never sees half of it.
                (self.work / "new").write_text(text + block.text)
                (self.work / "new").replace(path)

    def json(self, block):
        try:
            value = json.loads(block.text)
        except ValueError as error:
            raise Wrong(f"not JSON: {error}") from None
        self.file(block)
        if "question" in block.flags:
            self.question = (value, block.options["of"])
        if "answer" in block.flags:
            if not self.question:
                raise Wrong("an answer without a question before it")
            (question, folder), self.question = self.question, None
            found = self.command(["stile", "ask", "--json", folder, json.dumps(question)]).stdout
            missing = difference(value, json.loads(found or "null"), "answer")
            if missing:
                raise Wrong(f"{missing}; the answer is {found}")

    def jsonl(self, block):
        for line in block.text.splitlines():
            try:
                json.loads(line)
            except ValueError as error:
                raise Wrong(f"not JSON: {error}: {line}") from None
        self.file(block)

    # Policies

    def policy(self, block):
        text = block.text
        is_catalog = block.language == "catalog"
        if "rules" in block.flags:
            text = f'policy "Example" {{\n{text}}}\n'
        if "conditions" in block.flags:
            text = self.conditions(block)
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        if "file" in block.options and not block.codes:
            # Beside the other files of its folder.
            self.file(block)
            folder = (self.home / block.options["file"]).parent
        elif is_catalog:
            (folder / "catalog.stile").write_text(text)
        else:
            catalog = block.options.get("catalog")
            words = (HERE / catalog).read_text() if catalog else self.catalog
            if words is None:
                raise Wrong("policies without a catalog before them")
            (folder / "catalog.stile").write_text(words)
            (folder / "policies.stile").write_text(text)
        findings = json.loads(self.command(["stile", "check", "--json", folder]).stdout)["diagnostics"]
        codes = {finding["code"] for finding in findings}
        if "rules" in block.flags or "conditions" in block.flags:
            codes -= {"W0002", "W0003"} - set(block.codes)
        if sorted(codes) != block.codes:
            told = "; ".join(f"{finding['code']}: {finding['message']}" for finding in findings)
            raise Wrong(f"told {sorted(codes)} instead of {block.codes}: {told}")
        if not block.codes and re.search(r"^test ", text, re.M):
            result = self.command(["stile", "test", folder])
            if result.returncode:
                raise Wrong(f"its tests: {result.stdout}{result.stderr}")
        if is_catalog and not block.codes:
            self.catalog = text
        if block.codes:
            self.file(block)

    def conditions(self, block):
        rules = []
        for line in block.text.splitlines():
            condition = line.split("//")[0].strip()
            if condition:
                rules.append(f'  permit any on {block.options["on"]} as "{len(rules)}" when {condition}\n')
        if not rules:
            raise Wrong("no conditions")
        return f'policy "Example" {{\n{"".join(rules)}}}\n'

    def grammar(self, block):
        name = "stile.ebnf" if block.language == "grammar" else "decision.cddl"
        whole = " ".join((HERE / "grammar" / name).read_text().split())
        for part in re.split(r"\n(?=\S)", block.text.strip("\n")):
            if " ".join(part.split()) not in whole:
                raise Wrong(f"grammar/{name} does not say: {part}")

    # Commands

    def command(self, arguments, **options):
        return subprocess.run(
            [str(part) for part in arguments], cwd=self.home, env=self.environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=120, **options)

    def shell(self, command):
        """Runs a command as one shell would run all of them: folder and variables stay. What it prints, in lines."""
        state, folder = self.work / "state", self.work / "folder"
        script = (
            f'set -a; [ ! -e "{state}" ] || . "{state}"; [ ! -e "{folder}" ] || cd "$(cat "{folder}")"\n{command}\n'
            f'code=$?; pwd > "{folder}"; export -p > "{state}"; exit $code')
        result = subprocess.run(
            ["bash", "-c", script], cwd=self.home, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=120)
        return result.stdout.splitlines()

    def console(self, block):
        for option in ("of", "end"):
            if option in block.options:
                return self.more(block, block.options[option], isEnd=option == "end")
        written = []
        name = block.options.get("background")
        for command, expected in self.commands(block):
            written += [f"{'$ ' if number == 0 else ''}{line}" for number, line in enumerate(command)]
            text = self.substituted("\n".join(command))
            if "eventually" in block.flags:
                found = self.eventually(text, expected)
            else:
                found = self.start(name, text, expected) if name else self.shell(text)
            written += self.compare(expected, found, f"$ {command[0]}", isOrdered=not name)
        self.record(block, written)

    def eventually(self, command, expected):
        """What a command prints as soon as that is what is expected, or after five seconds."""
        deadline = time.time() + (1 if RECORD else 5)
        while True:
            found = self.shell(command)
            if time.time() > deadline or not RECORD and self.align(expected, found, dict(self.bound)):
                return found
            time.sleep(0.1)

    @staticmethod
    def commands(block):
        """The commands of a block, each with the lines that it is to print."""
        commands = []
        isOpen = False
        for line in block.text.splitlines():
            if line.startswith("$ "):
                commands.append(([line[2:]], []))
            elif isOpen:
                commands[-1][0].append(line)
            elif commands:
                commands[-1][1].append(line)
                continue
            else:
                raise Wrong("a block of commands starts with `$ `")
            text = "\n".join(commands[-1][0])
            isOpen = text.endswith("\\") or text.count("'") % 2 == 1
            heredoc = re.search(r"<<'?(\w+)'?", text)
            if heredoc and commands[-1][0][-1] != heredoc.group(1):
                isOpen = True
        return commands

    def start(self, name, command, expected):
        output = open(self.work / f"{name}.out", "w+")
        folder = self.work / "folder"
        script = f'[ ! -e "{folder}" ] || cd "$(cat "{folder}")"\nexec {command}'
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=self.home, env=self.environment, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL)
        self.running[name] = [process, self.work / f"{name}.out", 0]
        return self.printed(name, len(expected))

    def printed(self, name, count):
        """What a command in the background has printed since it was last looked at: so many lines at least."""
        process, path, seen = self.running[name]
        deadline = time.time() + (3 if RECORD else 20)
        while True:
            lines = path.read_text().splitlines()[seen:]
            if len(lines) >= count and not RECORD or time.time() > deadline or process.poll() is not None:
                self.running[name][2] = seen + len(lines)
                return lines
            time.sleep(0.05)

    def more(self, block, name, isEnd):
        if isEnd:
            process = self.running[name][0]
            process.send_signal(signal.SIGINT)
            process.wait(20)
        expected = block.text.splitlines()
        self.record(block, self.compare(expected, self.printed(name, len(expected)), name, isOrdered=False))

    def substituted(self, text):
        """A command with the temporary folders of this run in place of those in the manual."""
        for shown, real in self.bound.items():
            text = text.replace(shown, real)
        return text

    def compare(self, expected, found, what, isOrdered=True):
        """Throws unless the lines are those expected; returns what is to stand in the manual."""
        # Two processes write one after the other, as it happens.
        if self.matches(expected, found) or not isOrdered and self.matches(shapes(expected), shapes(found)):
            return expected
        if RECORD:
            for line in found:
                for place in re.findall(r"/tmp/stile-[A-Za-z0-9]{6}", line):
                    if place not in self.bound.values():
                        self.bound[f"/tmp/stile-k3Xw{len(self.bound)}q"] = place
            real = {real: shown for shown, real in self.bound.items()}
            return [re.sub(r"/tmp/stile-[A-Za-z0-9]{6}", lambda match: real[match.group()], line) for line in found]
        raise Wrong(f"{what}\nprints:\n" + "\n".join(found) + "\ninstead of:\n" + "\n".join(expected))

    def matches(self, expected, found):
        bound = dict(self.bound)
        if not self.align(expected, found, bound):
            return False
        self.bound = bound
        return True

    def align(self, expected, found, bound):
        if not expected:
            return not found
        if expected[0] == "…":
            return any(self.align(expected[1:], found[skip:], bound) for skip in range(len(found) + 1))
        return bool(found) and same_line(expected[0], found[0], bound) and self.align(expected[1:], found[1:], bound)

    def record(self, block, written):
        if RECORD and written != block.text.splitlines():
            self.edits.append((block.first, block.last, written))

    # Programs and frames

    def hex(self, block):
        if not self.frames:
            self.frames = Frames(self.home / block.options["socket"])
        problem = self.frames.check(block.text, block.flags)
        if problem:
            raise Wrong(problem)

    def c(self, block):
        source = self.work / "program.c"
        source.write_text(block.text)
        result = self.command([
            "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{HERE}/Sources/CStile/include",
            source])
        if result.returncode:
            raise Wrong(result.stderr)
        self.file(block)

    def swift(self, block):
        """A program that other tests run: the lines of the file `of=`, its comments left out."""
        lines = (HERE / block.options["of"]).read_text().splitlines()
        if [line for line in lines if not line.startswith("//")] != block.text.splitlines():
            raise Wrong(f"this is not {block.options['of']}")

    def python(self, block):
        try:
            compile(block.text, "manual", "exec")
        except SyntaxError as error:
            raise Wrong(f"not Python: {error}") from None
        self.file(block)


def shapes(lines):
    """The lines, sorted by what is the same in each run."""
    return sorted(lines, key=lambda line: VOLATILE.sub("#", line))


def same_line(expected, found, bound):
    """Whether a line is the one in the manual, but for what is another in each run."""
    if "…" in expected:
        head, tail = expected.split("…", 1)
        return VOLATILE.sub("#", found).startswith(VOLATILE.sub("#", head)) and found.endswith(tail)
    left, right = VOLATILE.findall(expected), VOLATILE.findall(found)
    if VOLATILE.sub("#", expected) != VOLATILE.sub("#", found) or len(left) != len(right):
        return False
    for shown, real in zip(left, right):
        if shown.startswith("/tmp/") and bound.setdefault(shown, real) != real:
            return False
    return True


def difference(wanted, found, place):
    """The first place at which `found` lacks what is wanted; None when it holds all of it."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            if name not in found:
                return f"{place}.{name} is missing"
            problem = difference(value, found[name], f"{place}.{name}")
            if problem:
                return problem
        return None
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found)):
            problem = difference(one, other, f"{place}[{number}]")
            if problem:
                return problem
        return None
    return None if wanted == found else f"{place} is {json.dumps(found)}, not {json.dumps(wanted)}"


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    named = [pathlib.Path(name).resolve() for name in sys.argv[2:]]
    failed = 0
    try:
        if not named:
            print(f"ok: {sources.check(binaries)}")
    except Wrong as wrong:
        print(f"FAILED: {wrong}", file=sys.stderr)
        failed += 1
    documents = [HERE / "README.md", *sorted((HERE / "docs").glob("*.md")), HERE / "docs/man/stile.5"]
    for path in named or documents:
        manual = Manual(path, binaries)
        try:
            manual.run()
            print(f"ok: {path.relative_to(HERE)}: {manual.checked} blocks")
        except (Wrong, subprocess.TimeoutExpired) as wrong:
            print(f"FAILED: {wrong}", file=sys.stderr)
            failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
