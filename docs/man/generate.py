#!/usr/bin/env python3
"""Makes the manual pages: synopsis, description and options from the programs' own help, the rest from the files beside
this script.

    generate.py BINARIES FOLDER

`stile-check.mdoc` holds the sections that stand behind the options of stile-check(1), in mdoc(7); a command without such a
file gets its page all the same. `stile.5` is written by hand as a whole. Programs that are not in BINARIES are left out.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = [("stile", 1), ("stiled", 8), ("stile-gateway", 8)]
# What every page of a command says where its own file does not.
DEFAULT = """.Sh EXIT STATUS
0 on success, 1 with findings; the other codes are those of
.Xr stile 1 .
.Sh SEE ALSO
.Xr stile 1
"""


def escaped(text):
    """Text as mdoc reads it: no escapes, no requests, letters beyond ASCII by number."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(letter if ord(letter) < 128 else f"\\[u{ord(letter):04X}]" for letter in text)
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return "\\&" + text if text[:1] in (".", "'") else text


def prose(text):
    """A discussion: paragraphs, and lines that are commands or set off as they are."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if paragraph.startswith("Exit codes:"):
            continue  # The pages have a section for them.
        rows = paragraph.split("\n")
        if any(re.match(r"(\s{2,}|stile )", row) or re.search(r"\S {3,}stile ", row) for row in rows):
            lines += [".Bd -literal -offset indent", *[escaped(row).rstrip() or "\\&" for row in rows], ".Ed"]
        else:
            if lines:
                lines.append(".Pp")
            lines += sentences(" ".join(row.strip() for row in rows))
    return lines


def sentences(text):
    """Each sentence on a line of its own, as mdoc wants it."""
    return [escaped(sentence) for sentence in re.split(r"(?<=[.!?]) (?=[A-Z`])", text)]


def argument_words(argument):
    """How an argument is written: macros for one line."""
    name = argument.get("valueName", "")
    if argument["kind"] == "positional":
        return f"Ar {escaped(name)}"
    names = [("" if entry["kind"] == "short" else "-") + entry["name"] for entry in argument["names"]]
    words = " | ".join(f"Fl {escaped(name)}" for name in names)
    return f"{words} Ar {escaped(name)}" if argument["kind"] == "option" else words


def shown(command):
    return [argument for argument in command.get("arguments", []) if argument.get("shouldDisplay", True)]


def is_common(argument):
    return any(entry["name"] in ("help", "version") for entry in argument.get("names", []))


def synopsis(name, command):
    lines = [f".Nm {name}"]
    for argument in shown(command):
        if is_common(argument):
            continue
        words = argument_words(argument)
        dots = " ..." if argument.get("isRepeating") else ""
        lines.append(f".Op {words}{dots}" if argument["isOptional"] else f".{words}{dots}")
    return lines


def options(command):
    rows = sorted(shown(command), key=is_common)
    if not rows:
        return []
    lines = [".Bl -tag -width Ds"]
    for argument in rows:
        lines.append(f".It {argument_words(argument)}")
        lines += sentences(argument.get("abstract", ""))
        lines += sentences(" ".join(argument.get("discussion", "").split())) if argument.get("discussion") else []
        if argument.get("allValues"):
            lines.append("One of " + escaped(", ".join(argument["allValues"])) + ".")
        if argument.get("defaultValue"):
            lines.append(f"The default is {escaped(argument['defaultValue'])}.")
    return lines + [".El"]


def commands(command):
    return [one for one in command.get("subcommands", []) if one["commandName"] != "help" and one["shouldDisplay"]]


def page(name, section, command, heading, version, date):
    """One page; of a command with commands below it, all of them."""
    abstract = escaped(command.get("abstract", "")).rstrip(".").replace('"', "\\(dq")
    nested = commands(command) if heading else []
    lines = [
        f".\\\" Made by docs/man/generate.py from the help of {name}.", f".Dd {date}", f".Dt {name.upper()} {section}",
        f".Os \"Stile {version}\"", ".Sh NAME", f".Nm {name}", f".Nd {abstract[:1].lower() + abstract[1:]}",
        ".Sh SYNOPSIS"]
    if nested:
        for one in nested:
            lines += synopsis(f"{heading} {one['commandName']}", one)
    elif commands(command):
        lines += [f".Nm {name}", ".Ar command", ".Op Ar options"]
    else:
        lines += synopsis(heading or name, command)
    lines += [".Sh DESCRIPTION"]
    lines += prose(command["discussion"]) if command.get("discussion") else [abstract + "."]
    if nested:
        for one in nested:
            lines += [f".Ss {heading} {one['commandName']}", escaped(one["abstract"])]
            discussion = prose(one["discussion"]) if one.get("discussion") else []
            if discussion and not discussion[0].startswith(".Bd"):
                lines.append(".Pp")
            lines += discussion
            lines += options(one)
    elif commands(command):
        lines += ["The commands, each with a page of its own:", ".Bl -tag -width credential"]
        for one in commands(command):
            lines += [f".It Xr {name}-{one['commandName']} 1", escaped(one["abstract"])]
        lines += [".El", ".Pp", "The options:", *options(command)]
    else:
        lines += [".Pp", "The options:", *options(command)]
    path = HERE / f"{name}.mdoc"
    own = path.read_text() if path.exists() else DEFAULT
    return "\n".join(lines) + "\n" + own


def generate(binaries, folder):
    folder.mkdir(parents=True, exist_ok=True)
    built = [binaries / program for program, _ in PROGRAMS if (binaries / program).exists()]
    if not built:
        sys.exit(f"no program of Stile in {binaries}: build them first")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", max(path.stat().st_mtime for path in built)))
    date = time.strftime("%B %e, %Y", time.gmtime(epoch)).replace("  ", " ")
    pages = {}
    version = "0"
    for program, section in PROGRAMS:
        path = binaries / program
        if not path.exists():
            continue
        run = lambda *arguments: subprocess.run([path, *arguments], capture_output=True, text=True, check=True).stdout
        version = run("--version").split()[-1]
        command = json.loads(run("--experimental-dump-help"))["command"]
        pages[f"{program}.{section}"] = page(program, section, command, None, version, date)
        for one in commands(command):
            name = f"{program}-{one['commandName']}"
            heading = f"{program} {one['commandName']}"
            pages[f"{name}.{section}"] = page(name, section, one, heading, version, date)
    pages["stile.5"] = (HERE / "stile.5").read_text().replace("@DATE@", date).replace("@VERSION@", version)
    for old in folder.glob("stile*.[158]"):
        old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text)
    return sorted(pages)


if __name__ == "__main__":
    generate(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
