#!/usr/bin/env python3
"""Generated requests against the published descriptions of both APIs, with all checks.

    schemathesis.py BINARIES SCHEMATHESIS [EXAMPLES]

Every operation is asked by a caller whose role may use it: the operator for tenants, an administrator for the rest of the
administration, an application for AuthZEN.
"""
import os
import subprocess
import sys

BINARIES, TOOL, EXAMPLES = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "10"
# It runs in the world's folder.
TOOL = os.path.abspath(TOOL)
sys.argv = ["gateway.py", BINARIES]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gateway import World, HERE, expect, free_port  # noqa: E402

PORT, DECISIONS = free_port(), free_port()

# What a request that fits its description may be answered with besides success: policies that do not compile (422), an
# ETag that is not the live one (412, 428), ids that name nothing (404), states that do not allow it (409).
CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 412, 415, 422, 428, 429, 503]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 431]
missing_required_header.expected-statuses = [400, 401, 404, 406, 415, 428]
"""


def run(world, name, token, options, document="administration", port=PORT):
    path = world.path(f"{name}.toml")
    with open(path, "w") as file:
        file.write(CONFIGURATION)
    command = [
        TOOL, "--config-file", path, "run", os.path.join(HERE, f"grammar/{document}.openapi.json"), "--url",
        f"http://127.0.0.1:{port}", "--checks", "all", "--max-examples", EXAMPLES, "--seed", "7", "--no-color",
        "--header", f"Authorization: Bearer {token}", "--continue-on-failure", "--warnings", "off", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=world.folder)
    summary = done.stdout[done.stdout.find("= SUMMARY"):] if "= SUMMARY" in done.stdout else done.stdout
    expect(done.returncode == 0, name, done.stdout[-30_000:], done.stderr[-2_000:])
    print(f"ok: {name}\n{summary.strip()}")


def main():
    def listeners(world):
        return [{"serves": "admin", "address": f"127.0.0.1:{PORT}"},
                {"serves": "decisions", "address": f"127.0.0.1:{DECISIONS}"},
                {"serves": "admin", "name": "own", "socket": world.admin}]
    world = World(
        listeners=listeners,
        limits={"failure_rate": {"per_second": 1_000_000, "burst": 1_000_000}})
    try:
        admin = world.tenant("acme")
        administrator = [
            "--exclude-path-regex", "^/admin/v1/(operators|tenants$|tenants/{tenant}$)",
        ]
        run(world, "the administrator's operations", admin, administrator)
        run(world, "the operator's operations", world.operator, [
            "--include-path-regex", "^/admin/v1/(operators|tenants$|tenants/{tenant}$)"])
        run(world, "the application's operations", world.credential("pep", "acme"), [], "authzen", DECISIONS)
        log = world.log("gateway")
        expect("status=500" not in log, log[-3_000:])
        expect(world.processes["gateway"].poll() is None, "the gateway lives")
    finally:
        world.close()


main()
