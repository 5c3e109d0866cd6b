#!/usr/bin/env python3
"""A whole editing session with the real language server, and what it does with messages that are none.

  lsp.py BINARIES
"""
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

BINARY = str(Path(sys.argv[1]).resolve() / "stile")
HERE = Path(__file__).resolve().parent.parent.parent
passed = 0


def ok(what):
    global passed
    passed += 1
    print(f"ok: {what}")


def expect(condition, found=""):
    if not condition:
        raise AssertionError(found)


class Server:
    """The program with its streams; messages are read by a thread, so that waiting has an end."""

    def __init__(self):
        self.process = subprocess.Popen([BINARY, "lsp", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.messages = queue.Queue()
        self.notifications = []
        self.id = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        out = self.process.stdout
        while True:
            length = None
            while (line := out.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            if length is None:
                self.messages.put(None)
                return
            self.messages.put(json.loads(out.read(length)))

    def raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def next(self, timeout=60):
        message = self.messages.get(timeout=timeout)
        expect(message is not None, "the server has closed its output")
        return message

    def notify(self, method, params):
        self.send({"method": method, "params": params})

    def ask(self, method, params):
        """The whole answer to a request."""
        self.id += 1
        self.send({"id": self.id, "method": method, "params": params})
        while True:
            message = self.next()
            if message.get("id") == self.id:
                return message
            self.notifications.append(message)

    def request(self, method, params):
        answer = self.ask(method, params)
        expect("result" in answer, answer)
        return answer["result"]

    def findings(self, uri, version=None, like=None):
        """The findings of a file: those of this version, else the first that are as wanted."""
        while True:
            for index, message in enumerate(self.notifications):
                params = message.get("params", {})
                if message.get("method") != "textDocument/publishDiagnostics" or params["uri"] != uri:
                    continue
                found = params["diagnostics"]
                if params.get("version") == version if version is not None else like(found):
                    del self.notifications[: index + 1]
                    return found
            self.notifications.append(self.next())

    def end(self):
        expect(self.request("shutdown", None) is None)
        self.notify("exit", None)
        return self.process.wait(timeout=20)


def initialize(server, encodings=None):
    return server.request(
        "initialize",
        {
            "processId": os.getpid(),
            "rootUri": None,
            "capabilities": {
                "general": {"positionEncodings": encodings} if encodings else {},
                "workspace": {"workspaceEdit": {"documentChanges": True}},
                "textDocument": {"documentSymbol": {"hierarchicalDocumentSymbolSupport": True}},
            },
        },
    )


def units(text):
    return len(text.encode("utf-16-le")) // 2


def place(text, needle, inside=0, nth=0):
    """The position of a needle in a text, in UTF-16 units."""
    start = -1
    for _ in range(nth + 1):
        start = text.index(needle, start + 1)
    before = text[: start + inside]
    return {"line": before.count("\n"), "character": units(before.rsplit("\n", 1)[-1])}


def offset(text, position):
    lines = text.split("\n")
    at = sum(len(line) + 1 for line in lines[: position["line"]])
    count = 0
    for letter in lines[position["line"]]:
        if count >= position["character"]:
            break
        count += units(letter)
        at += 1
    return at


def applied(text, edits):
    for edit in sorted(edits, key=lambda e: offset(text, e["range"]["start"]), reverse=True):
        start, end = (offset(text, edit["range"][side]) for side in ("start", "end"))
        text = text[:start] + edit["newText"] + text[end:]
    return text


def marked(text, span):
    return text[offset(text, span["start"]) : offset(text, span["end"])]


def editing(work):
    folder = work / "lédger one"
    shutil.copytree(HERE / "policies" / "ledger", folder)
    uri = {name: "file://" + quote(str(folder / name)) for name in ("payroll.stile", "catalog.stile", "extra.stile")}
    payroll = (folder / "payroll.stile").read_text()
    server = Server()

    early = server.ask("textDocument/hover", {})
    expect(early["error"]["code"] == -32002, early)
    capabilities = initialize(server)["capabilities"]
    expect(capabilities["positionEncoding"] == "utf-16" and capabilities["renameProvider"]["prepareProvider"])
    server.notify("initialized", {})
    ok("a session begins with initialize, and its capabilities are told")

    def doc(name):
        return {"textDocument": {"uri": uri[name]}}

    def at(name, position, **more):
        return {**doc(name), "position": position, **more}

    def open_(name, text, version=1):
        server.notify(
            "textDocument/didOpen",
            {"textDocument": {"uri": uri[name], "languageId": "stile", "version": version, "text": text}},
        )

    open_("payroll.stile", payroll)
    expect(server.findings(uri["payroll.stile"], 1) == [])
    ok("a folder is checked with its catalog on the disk")

    # A new file that was never saved, with letters of two UTF-16 units before the mistake.
    extra = 'policy "Extra" {\n  permit read on payrun as "😀é" to user when "😀" == user.departmint\n}\n'
    open_("extra.stile", extra)
    found = server.findings(uri["extra.stile"], 1)
    expect(len(found) == 1 and found[0]["code"] == "E0302" and found[0]["severity"] == 1, found)
    expect(marked(extra, found[0]["range"]) == "departmint", found)
    expect("did you mean `department`?" in found[0]["message"], found)
    ok("an unsaved file counts, and positions are UTF-16")

    # Mended by an incremental change behind those letters.
    start = place(extra, "departmint")
    server.notify(
        "textDocument/didChange",
        {
            "textDocument": {"uri": uri["extra.stile"], "version": 2},
            "contentChanges": [
                {"range": {"start": start, "end": {**start, "character": start["character"] + 10}}, "text": "dep"},
                {"range": {"start": {**start, "character": start["character"] + 3},
                           "end": {**start, "character": start["character"] + 3}}, "text": "artment"},
            ],
        },
    )
    extra = extra.replace("departmint", "department")
    expect(server.findings(uri["extra.stile"], 2) == [])
    ok("incremental changes are applied in order")

    # The catalog in the editor beats the one on the disk, and findings in files that are not open are told too.
    catalog = (folder / "catalog.stile").read_text()
    open_("catalog.stile", catalog.replace("department:", "division:"))
    server.findings(uri["payroll.stile"], like=lambda found: any(f["code"] == "E0302" for f in found))
    server.notify(
        "textDocument/didChange",
        {"textDocument": {"uri": uri["catalog.stile"], "version": 2}, "contentChanges": [{"text": catalog}]},
    )
    server.findings(uri["payroll.stile"], like=lambda found: found == [])
    ok("an unsaved catalog is the one that counts")

    def labels(name, text, version):
        """Completions at the mark ‸ of a text."""
        clean = text.replace("‸", "")
        server.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri[name], "version": version}, "contentChanges": [{"text": clean}]},
        )
        result = server.request("textDocument/completion", at(name, place(text, "‸")))
        return [item["label"] for item in result["items"]], result["items"]

    version = 10
    cases = [
        ('policy "E" {\n  ‸', {"permit", "forbid", "role", "let", "require", "offer", "on"}, {"when", "user"}),
        ('policy "E" {\n  permit ‸', {"read", "approve", "delete", "any"}, {"payrun", "when"}),
        ('policy "E" {\n  permit re‸', {"read", "approve"}, set()),
        ('policy "E" {\n  permit read on ‸', {"payrun", "any"}, {"read"}),
        ('policy "E" {\n  permit read on payrun ‸', {"as", "to", "when", "unless", "requires", "because"}, {"read"}),
        ('policy "E" {\n  permit read on payrun to role ‸', {"approver"}, {"user"}),
        ('policy "E" {\n  permit read on payrun when ‸', {"user", "resource", "has", "not", "role", "device"}, {"draft"}),
        ('policy "E" {\n  permit read on payrun when user.‸', {"department", "employment", "risk"}, {"total", "when"}),
        ('policy "E" {\n  permit read on payrun when resource.‸', {"total", "created_by", "status"}, {"risk"}),
        ('policy "E" {\n  permit read on payrun when user.risk ‸', {"in", "and", "or", "like"}, {"user"}),
        ('policy "E" {\n  permit read on payrun when user.risk >= ‸', {"low", "medium", "high"}, {"user", "true"}),
        ('policy "E" {\n  permit read on payrun when user.employment in [vendor, ‸', {"employee"}, {"user"}),
        ('policy "E" {\n  permit read on payrun requires ‸', {"password", "mfa", "within", "using"}, {"user"}),
        ('policy "E" {\n  permit read on payrun requires mfa using ‸', {"hwk", "otp"}, {"mfa on"}),
        ('policy "E" {\n  role boss is ‸', {"user", "has", "device"}, {"resource"}),
        ('policy "E" {\n  let net = [10.0.0.0/8]\n  permit read on payrun when context.ip in ‸', {"net", "group"}, set()),
        ('policy "E" {\n  permit reed on payrn whn\n  forbid read on ‸', {"payrun"}, {"read"}),
        ('test "t" {\n  ‸', {"given", "ask", "expect"}, {"permit"}),
        ('test "t" {\n  given ‸', {"user", "session", "device", "context", "now"}, {"payrun"}),
        ('test "t" {\n  given user { ‸', {"department", "employment", "groups", "id"}, {"total"}),
        ('test "t" {\n  given user { employment ‸', {"employee", "contractor"}, {"user"}),
        ('test "t" {\n  given session { assurance ‸', {"mfa"}, {"user"}),
        ('test "t" {\n  ask approve on payrun { status ‸', {"draft", "final"}, {"user"}),
        ('test "t" {\n  expect ‸', {"permit", "deny", "step_up", "error"}, {"user"}),
        ("// pol‸", set(), {"policy"}),
        ('policy "permit ‸"', set(), {"read", "permit"}),
        ("‸", {"policy", "test", "catalog"}, {"permit"}),
    ]
    for text, wanted, unwanted in cases:
        version += 1
        found, _ = labels("extra.stile", text, version)
        expect(wanted <= set(found), f"{text!r}: {sorted(wanted - set(found))} missing in {found}")
        expect(not unwanted & set(found), f"{text!r}: {sorted(unwanted & set(found))} must not be in {found}")
    found, items = labels("extra.stile", 'policy "😀" {\n  permit read on payrun when "😀" == user.dep‸', version + 1)
    item = next(i for i in items if i["label"] == "department")
    expect(item["detail"] == 'string = ""' and "Cost centre" in item["documentation"]["value"], item)
    expect(item["textEdit"]["range"]["end"]["character"] - item["textEdit"]["range"]["start"]["character"] == 3, item)
    ok(f"completion offers what fits at {len(cases)} places, with types and documentation")

    extra = 'policy "Extra" {\n  permit read on payrun as "x" to role approver\n}\n'
    labels("extra.stile", extra + "‸", version + 2)
    hover = server.request("textDocument/hover", at("payroll.stile", place(payroll, "user.department", 7)))
    text = hover["contents"]["value"]
    for part in ("user.department: string", "Cost centre's department", "enterprise:2.0:User:department", "authorization"):
        expect(part in text, text)
    expect(marked(payroll, hover["range"]) == "department", hover)
    text = server.request("textDocument/hover", at("payroll.stile", place(payroll, "approver", nth=1)))["contents"]["value"]
    expect('user in group "Payroll Approvers"' in text, text)
    text = server.request("textDocument/hover", at("payroll.stile", place(payroll, "medium")))["contents"]["value"]
    expect("low < medium < high" in text and "7d" in text.replace("1w", "7d"), text)
    expect(server.request("textDocument/hover", at("payroll.stile", {"line": 0, "character": 1})) is None)
    ok("hover says type, documentation, source, default and lifetime")

    [found] = server.request("textDocument/definition", at("payroll.stile", place(payroll, "resource.total", 10)))
    expect(found["uri"] == uri["catalog.stile"] and marked(catalog, found["range"]) == "total", found)
    [found] = server.request("textDocument/definition", at("extra.stile", place(extra, "approver")))
    expect(found["uri"] == uri["payroll.stile"] and found["range"]["start"] == place(payroll, "approver"), found)
    found = server.request(
        "textDocument/references",
        at("payroll.stile", place(payroll, "approver"), context={"includeDeclaration": True}),
    )
    expect({f["uri"] for f in found} == {uri["payroll.stile"], uri["extra.stile"]}, found)
    count = len(found)
    found = server.request(
        "textDocument/references",
        at("payroll.stile", place(payroll, "approver"), context={"includeDeclaration": False}),
    )
    expect(len(found) == count - 1, found)
    ok("definitions and references lead across files")

    prepared = server.request("textDocument/prepareRename", at("payroll.stile", place(payroll, "approver", nth=1)))
    expect(prepared["placeholder"] == "approver" and marked(payroll, prepared["range"]) == "approver", prepared)
    result = server.request("textDocument/rename", at("payroll.stile", place(payroll, "approver"), newName="signatory"))
    changes = {c["textDocument"]["uri"]: c["edits"] for c in result["documentChanges"]}
    expect(set(changes) == {uri["payroll.stile"], uri["extra.stile"]}, result)
    renamed = applied(payroll, changes[uri["payroll.stile"]])
    expect(renamed == payroll.replace("role approver", "role signatory"), renamed)
    expect(applied(extra, changes[uri["extra.stile"]]) == extra.replace("approver", "signatory"))
    result = server.request("textDocument/rename", at("payroll.stile", place(payroll, "corporate"), newName="office"))
    [change] = result["documentChanges"]
    expect(applied(payroll, change["edits"]) == payroll.replace("corporate", "office"), change)
    # A let of an enum case's name would catch the case.
    for needle, name in [("corporate", "draft"), ("corporate", "user"), ("approver", "a b"), ("approver", "")]:
        answer = server.ask("textDocument/rename", at("payroll.stile", place(payroll, needle), newName=name))
        expect(answer.get("error", {}).get("code") == -32803, answer)
    for needle in ("department", "payrun", "Payroll Approvers"):
        answer = server.ask("textDocument/prepareRename", at("payroll.stile", place(payroll, needle)))
        expect(answer.get("error", {}).get("code") == -32803, answer)
    ok("roles and lets are renamed in the whole folder, and never into another meaning")

    untidy = extra.replace("  permit", "permit")
    labels("extra.stile", untidy + "‸", version + 3)
    edits = server.request("textDocument/formatting", {**doc("extra.stile"), "options": {"tabSize": 4, "insertSpaces": True}})
    formatted = applied(untidy, edits)
    (work / "formatted.stile").write_text(untidy)
    subprocess.run([BINARY, "fmt", work / "formatted.stile"], check=True, stdout=subprocess.DEVNULL)
    expect(formatted == (work / "formatted.stile").read_text(), formatted)
    labels("extra.stile", "policy {‸", version + 4)
    answer = server.ask("textDocument/formatting", {**doc("extra.stile"), "options": {}})
    expect(answer["error"]["code"] == -32803, answer)
    answer = server.ask("textDocument/rename", at("payroll.stile", place(payroll, "approver"), newName="signatory"))
    expect("extra.stile" in answer["error"]["message"], answer)
    ok("layout is that of stile fmt; what does not parse is left alone")

    symbols = server.request("textDocument/documentSymbol", doc("payroll.stile"))
    policy = next(s for s in symbols if s["name"] == "Payroll")
    names = [child["name"] for child in policy["children"]]
    expect(names[:3] == ["corporate", "approver", "read"], names)
    expect(len([s for s in symbols if s["detail"] == "test"]) == payroll.count("\ntest "), symbols)
    symbols = server.request("textDocument/documentSymbol", doc("catalog.stile"))
    expect({"user", "payrun", "user.risk"} <= {c["name"] for c in symbols[0]["children"]}, symbols)
    ok("the outline has catalog, policies, rules and tests")

    # Saved under the editor: closing gives the disk's text its place back.
    server.findings(uri["extra.stile"], like=lambda found: found != [])
    server.notify("textDocument/didClose", doc("extra.stile"))
    server.findings(uri["extra.stile"], like=lambda found: found == [])
    (folder / "extra.stile").write_text('policy "E" { permit nothing on payrun to user }\n')
    server.notify("workspace/didChangeWatchedFiles", {"changes": []})
    server.findings(uri["extra.stile"], like=lambda found: [f["code"] for f in found] == ["E0305"])
    ok("what is saved elsewhere is read again")

    answer = server.ask("textDocument/hover", at("extra.stile", {"line": 0, "character": 0}))
    expect(answer["error"]["code"] == -32602, answer)
    answer = server.ask("textDocument/foldingRange", doc("payroll.stile"))
    expect(answer["error"]["code"] == -32601, answer)
    expect(server.end() == 0)
    ok("shutdown and exit end with 0")


def proofs(work):
    """What only the solver finds comes after a pause, for the newest text, and holds up nothing."""
    folder = work / "proofs"
    shutil.copytree(HERE / "policies" / "ledger", folder)
    (folder / "payroll.stile").unlink()
    uri = "file://" + str(folder / "proofs.stile")
    server = Server()
    initialize(server)

    def change(version, text):
        changes = [{"text": text}]
        server.notify("textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": changes})

    # No syntax shows that the forbid is as wide as the permit.
    hidden = """policy "P" {
  permit read on payrun to user when user.employment == contractor
  forbid any on any to user unless user.employment in [employee, vendor]
}
"""
    server.notify("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "stile", "version": 1, "text": hidden}})
    expect(server.findings(uri, 1) == [])
    found = server.findings(uri, 1)
    expect([f["code"] for f in found] == ["W0005"] and found[0]["severity"] == 2, found)
    expect(marked(hidden, found[0]["range"]).startswith("permit read"), found)
    (folder / "proofs.stile").write_text(hidden)
    told = json.loads(subprocess.run([BINARY, "check", "--json", folder], capture_output=True).stdout)
    expect([f["message"] for f in told["diagnostics"]] == [found[0]["message"].split("\n")[0]], told)
    ok("what stile check proves is told after a pause, with the version it is about")

    change(2, hidden.replace("contractor", "employee"))
    expect(server.findings(uri, 2) == [])
    change(3, hidden)
    expect(server.findings(uri, 3) == [])
    expect([f["code"] for f in server.findings(uri, 3)] == ["W0005"])
    ok("it goes with the next change, and comes again with the next pause")

    # Proofs that take a while: answers come before them, and a change ends them.
    rules = "\n".join(
        f"""  permit read, approve on payrun to user in group "G{number % 50}"
    when user.department == "D{number}" and resource.total <= {number * 10} and user.risk > low"""
        for number in range(400))
    long = hidden.replace("forbid any", rules + "\n  forbid any", 1)
    change(4, long)
    server.findings(uri, 4)
    expect([f["code"] for f in server.findings(uri, 4)] == ["W0005"])
    change(5, long + "\n")
    server.findings(uri, 5)
    time.sleep(0.4)
    server.request("textDocument/hover", {"textDocument": {"uri": uri}, "position": {"line": 1, "character": 12}})
    expect(not [m for m in server.notifications if m["params"].get("version") == 5], "an answer waited for a proof")
    change(6, hidden)
    expect(server.findings(uri, 6) == [])
    expect([f["code"] for f in server.findings(uri, 6)] == ["W0005"])
    expect(not [m for m in server.notifications if m["params"].get("version") == 5], "told of a text that is gone")
    expect(server.end() == 0)
    ok("a proof holds up no answer, and is dropped when the text changes")


def encodings(work):
    for wanted, width in [(["utf-8", "utf-16"], 4), (["utf-32"], 1), (["utf-7"], 2)]:
        server = Server()
        chosen = initialize(server, wanted)["capabilities"]["positionEncoding"]
        expect(chosen == (wanted[0] if wanted[0] != "utf-7" else "utf-16"), chosen)
        text = 'policy "P" { permit read on x when "😀" == y }\n'
        uri = "untitled:one.stile"
        server.notify("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "stile", "version": 1, "text": text}})
        found = server.findings(uri, 1)
        expect([f["code"] for f in found] == ["E0201"], found)
        result = server.request(
            "textDocument/completion",
            {"textDocument": {"uri": uri}, "position": {"line": 0, "character": len(text.split("😀")[0]) + width + 1 + 4}},
        )
        expect(result["items"] is not None)
        symbols = server.request("textDocument/documentSymbol", {"textDocument": {"uri": uri}})
        end = symbols[0]["location"]["range"]["end"]["character"] if "location" in symbols[0] else symbols[0]["range"]["end"]["character"]
        expect(end == len(text) - 2 + width, (symbols, width))
        expect(server.end() == 0)
    ok("the unit of positions is negotiated")


def hostile(work):
    server = Server()
    initialize(server)

    def refused(data, code, id=None):
        server.raw(data)
        while True:
            message = server.next()
            if "error" in message:
                expect(message["error"]["code"] == code and message["id"] == id, message)
                return

    def body(text):
        data = text if isinstance(text, bytes) else text.encode()
        return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)

    refused(body("{"), -32700)
    refused(body("\xff".encode("latin-1")), -32700)
    refused(body('{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}'), -32700)
    refused(body("[" * 100000), -32700)
    refused(body("[]"), -32600)
    refused(body("17"), -32600)
    refused(body('{"jsonrpc":"1.0","id":1,"method":"x"}'), -32600, 1)
    refused(body('{"jsonrpc":"2.0","id":{},"method":"x"}'), -32600)
    refused(body('{"jsonrpc":"2.0","id":7}'), -32600, 7)
    refused(body('{"jsonrpc":"2.0","id":"a","method":"initialize"}'), -32600, "a")
    refused(body('{"jsonrpc":"2.0","id":"b","method":"textDocument/hover","params":[1]}'), -32602, "b")
    refused(body('{"jsonrpc":"2.0","id":"c","method":"textDocument/hover"}'), -32602, "c")
    refused(body(""), -32700)
    refused(b"Content-Length: twelve\r\n\r\n", -32700)
    refused(b"Content-Length: -5\r\n\r\n", -32700)
    refused(b"Content-Length: 99999999999999999999999\r\n\r\n", -32700)
    refused(b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", -32700)
    refused(b"nonsense\r\n\r\n", -32700)
    ok("messages that are none are answered with JSON-RPC errors")

    # Too large: refused, passed over, and the stream goes on.
    size = (32 << 20) + 1
    server.raw(b"Content-Length: %d\r\n\r\n" % size)
    for _ in range(size // (1 << 20)):
        server.raw(b"x" * (1 << 20))
    server.raw(b"x" * (size % (1 << 20)))
    message = server.next()
    expect(message["error"]["code"] == -32600 and str(size) in message["error"]["message"], message)
    with open(f"/proc/{server.process.pid}/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    expect(peak < 200 << 10, f"{peak} KiB held for a message that was refused")
    ok("a message above the limit is refused without being held")

    # Positions outside of any text, changes of what is not open, a reversed range: told, nothing breaks.
    uri = "file:///nowhere/a.stile"
    server.notify("textDocument/didChange", {"textDocument": {"uri": uri, "version": 2}, "contentChanges": []})
    expect("is not open" in server.next()["params"]["message"])
    server.notify("textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "stile", "version": 1, "text": "test"}})
    for start, end in [((0, 4), (9, 9)), ((2**62, 2**62), (2**63 - 1, 2**63 - 1)), ((0, 99), (0, 99))]:
        edge = [{"line": line, "character": column} for line, column in (start, end)]
        server.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": 3}, "contentChanges": [{"range": {"start": edge[0], "end": edge[1]}, "text": "x\r\n"}]},
        )
    bad = {"range": {"start": {"line": 1, "character": 0}, "end": {"line": 0, "character": 0}}, "text": ""}
    server.notify("textDocument/didChange", {"textDocument": {"uri": uri, "version": 4}, "contentChanges": [bad]})
    while (message := server.next()).get("method") != "window/logMessage":
        pass
    expect("ends before it starts" in message["params"]["message"], message)
    for position in ({"line": -1, "character": 0}, {"line": 0}, {"line": "0", "character": 0}, {"line": 1e300, "character": 0}):
        answer = server.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": position})
        expect(answer["error"]["code"] == -32602, answer)
    for position in ({"line": 10**9, "character": 10**9}, {"line": 0, "character": 2**53}):
        for method in ("completion", "hover", "definition"):
            server.request(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": position})
    ok("places outside of the text do no harm")

    server.process.stdin.close()
    expect(server.process.wait(timeout=20) == 1)
    ok("an editor that goes away without a word ends the server with 1")

    server = Server()
    server.raw(b"x" * 10000)
    expect(server.next()["error"]["code"] == -32700)
    expect(server.process.wait(timeout=20) == 65)
    ok("a stream that cannot be read on ends it with 65")

    server = Server()
    server.notify("exit", None)
    expect(server.process.wait(timeout=20) == 1)
    ok("exit without shutdown ends with 1")


with tempfile.TemporaryDirectory() as name:
    editing(Path(name))
    proofs(Path(name))
    encodings(Path(name))
    hostile(Path(name))
print(f"{passed} passed, 0 failed")
