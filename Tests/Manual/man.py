#!/usr/bin/env python3
"""Holds the manual pages to the programs: they are made and installed as `make install` does it, mandoc finds nothing to
say, each names every command, argument and option that `--help` names, and their examples use only such.

    man.py BINARIES
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent.parent.parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def output(*command, check=True):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=check, cwd=HERE).stdout


class Help:
    """What a command says of itself, from the text that people read."""

    def __init__(self, program, words):
        self.words = words
        text = output(program, *words[1:], "--help")
        body = text[text.index("USAGE:"):]
        self.options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", body, re.M))
        self.arguments = set(re.findall(r"^  <([\w-]+)>", body, re.M))
        self.commands = []
        if "SUBCOMMANDS:" in text:
            listed = text[text.index("SUBCOMMANDS:"):]
            for name in re.findall(r"^  ([a-z-]+)(?: \(default\))?  +\S", listed, re.M) + re.findall(
                    r"^  ([a-z-]+)(?: \(default\))?$", listed, re.M):
                self.commands.append(Help(program, words + [name]))

    def all(self):
        yield self
        for command in self.commands:
            yield from command.all()

    def find(self, words):
        """The command that a line begins with, as far as its words are commands."""
        for command in self.commands:
            if words and command.words[-1] == words[0]:
                return command.find(words[1:])
        return self


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        output(
            "make", "--no-print-directory", "install-manual", f"BINARIES={binaries}", f"DESTDIR={root}", "PREFIX=/usr")
        pages = {path.name: path for path in (root / "usr/share/man").glob("man*/*")}
        rendered = {}
        for name, path in [*pages.items(), ("libstile.3", HERE / "Sources/CStile/libstile.3")]:
            said = output("mandoc", "-Tlint", "-Wwarning", path, check=False)
            if said:
                failures.append(said)
            text = output("mandoc", "-Tascii", "-Owidth=1000", path)
            # Letters are printed twice for bold, and over a line when they are underlined.
            rendered[name] = " ".join(re.sub(r".\x08", "", text).split())
        counted = 0
        helps = {}
        for program, section in (("stile", 1), ("stiled", 8), ("stile-gateway", 8)):
            if not (binaries / program).exists():
                print(f"not built, not looked at: {program}")
                continue
            helps[program] = whole = Help(binaries / program, [program])
            for command in whole.all():
                page = f"{'-'.join(command.words[:2])}.{section}"
                if page not in rendered:
                    failures.append(f"{' '.join(command.words)} has no page {page}")
                    continue
                wanted = [(name, name) for name in command.options | command.arguments]
                wanted += [(" ".join(command.words), "the command")] if len(command.words) > 1 else []
                wanted += [(f"stile-{one.words[-1]}(1)", one.words[-1]) for one in command.commands if command is whole]
                for text, name in wanted:
                    counted += 1
                    if not re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", rendered[page]):
                        failures.append(f"{page} does not name {name} of `{' '.join(command.words)}`")
        examples = 0
        for name, path in pages.items():
            lines = re.sub(r"^\.Dl ", "", path.read_text(), flags=re.M)
            for line in re.findall(r"^\$ (\S.*)$", lines, re.M):
                words = line.split()
                if words[0] not in helps:
                    continue
                command = helps[words[0]].find(words[1:])
                if command is helps[words[0]] and command.commands:
                    failures.append(f"{name}: no command in: {line}")
                for option in OPTION.findall(line):
                    if option not in command.options:
                        failures.append(f"{name}: no option {option} in: {line}")
                examples += 1
        for path in ("bash-completion/completions/stile", "zsh/site-functions/_stile", "fish/vendor_completions.d/stile.fish"):
            text = (root / "usr/share" / path).read_text()
            for command in helps["stile"].commands:
                if command.words[-1] not in text:
                    failures.append(f"{path} does not complete {command.words[-1]}")
        output("bash", "-n", root / "usr/share/bash-completion/completions/stile")
    if counted < 100 or examples < 20:
        failures.append(f"only {counted} names and {examples} examples were looked at")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    print(f"{len(pages)} manual pages name {counted} commands, arguments and options; {examples} examples; completions")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
