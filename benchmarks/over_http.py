#!/usr/bin/env python3
"""AuthZEN over HTTP on a Unix socket with connections kept, measured by wrk, beside a fixed answer of the same framework.

    over_http.py BINARIES [RESULT.json]        ROUNDS=6 SECONDS_EACH=3 CONNECTIONS=64

In turns, so that the machine's moods meet all: the same JSON from http-floor, one evaluation, evaluations of 100. The one
under test has a processor of its own; wrk and stiled share another. There is no third for the thread of the log of decisions, so
the log is off; a last part says what it costs all three on two processors. Needs wrk and gcc. Run it alone on the machine.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import time

BINARIES = os.path.abspath(sys.argv[1])
RESULT = sys.argv[2] if len(sys.argv) > 2 else None
HERE = os.path.dirname(os.path.abspath(__file__))
sys.argv = ["gateway.py", BINARIES]
sys.path.insert(0, os.path.join(HERE, "../Tests/BlackBox"))
from authzen import EVALUATION, EVALUATIONS, Decisions, expect  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "6"))
SECONDS = int(os.environ.get("SECONDS_EACH", "3"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "64"))
QUESTION = {"subject": {"type": "user", "id": "alice"}, "action": {"name": "view"},
            "resource": {"type": "record", "id": "102"}}
BATCH = {"subject": QUESTION["subject"], "action": QUESTION["action"],
         "evaluations": [{"resource": {"type": "record", "id": str(101 + n % 20)}} for n in range(100)]}


def pin(process, processor):
    """Keeps a process, with the threads it has, to one processor; threads made later inherit it."""
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        os.sched_setaffinity(int(thread), {processor})


def script(world, name, token, body):
    path = world.path(f"{name}.lua")
    with open(path, "w") as file:
        file.write(
            f'wrk.method = "POST"\nwrk.body = [==[{json.dumps(body)}]==]\n'
            f'wrk.headers["Content-Type"] = "application/json"\nwrk.headers["Authorization"] = "Bearer {token}"\n')
    return path


def measure(world, socket, path, lua, processor):
    """Requests a second."""
    done = subprocess.run(
        ["taskset", "-c", str(processor), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", lua,
         f"http://127.0.0.1:80{path}"],
        capture_output=True, text=True,
        env={**os.environ, "LD_PRELOAD": world.path("unix.so"), "UNIX_SOCKET": socket})
    expect(done.returncode == 0 and "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout,
           done.stdout, done.stderr)
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)[1])


def seconds(process):
    """Processor time that a process has used."""
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return f"{model[1] if model else 'unknown'}, {os.cpu_count()} processors, Linux {os.uname().release}"


def commit():
    def git(*words):
        return subprocess.run(["git", "-C", HERE, *words], capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + (", changed" if git("status", "--porcelain", "-uno") else "")


def run(world):
    token = world.application("office", "authzen-search")
    answer = world.post(EVALUATION, token, QUESTION).body.decode()
    expect(json.loads(answer)["decision"] is True, answer)
    expect(len(world.post(EVALUATIONS, token, BATCH).json["evaluations"]) == 100)
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", world.path("unix.so"), f"{HERE}/http/unix.c", "-ldl"],
        check=True)
    floor = world.path("floor.sock")
    world.start("floor", [f"{BINARIES}/http-floor", "--socket", floor, "--answer", answer],
                lambda: os.path.exists(floor))
    tested, other = sorted(os.sched_getaffinity(0))[:2]
    processes = world.processes
    for name in ["floor", "gateway"]:
        pin(processes[name], tested)
    single, batch = script(world, "single", token, QUESTION), script(world, "batch", token, BATCH)
    runs = {"floor": (floor, EVALUATION, single), "evaluation": (world.decisions, EVALUATION, single),
            "evaluations_of_100": (world.decisions, EVALUATIONS, batch)}

    def turns(count, names):
        rounds, busy = {name: [] for name in names}, {name: [] for name in names}
        for number in range(count + 1):
            for name in names:
                socket, path, lua = runs[name]
                server, decider = processes["floor" if name == "floor" else "gateway"], processes["stiled"]
                before, start = (seconds(server), seconds(decider)), time.monotonic()
                found = measure(world, socket, path, lua, other)
                took = time.monotonic() - start
                # The first round warms up.
                if number > 0:
                    rounds[name].append(found)
                    busy[name].append([round((seconds(process) - used) / took, 2)
                                       for process, used in zip((server, decider), before)])
        return rounds, busy

    start_daemon(world, other, "--log", "off")
    rounds, busy = turns(ROUNDS, list(runs))
    start_daemon(world, other)
    logged, _ = turns(2, ["evaluation", "evaluations_of_100"])
    return rounds, busy, logged


def start_daemon(world, processor, *options):
    world.stop("stiled")
    world.start_daemon(*options)
    pin(world.processes["stiled"], processor)


def main():
    rate = {"per_second": 10_000_000, "burst": 100_000_000}
    world = Decisions(limits={"caller_rate": rate, "address_rate": rate})
    try:
        rounds, busy, logged = run(world)
    finally:
        world.close()
    median = {name: statistics.median(found) for name, found in rounds.items()}
    # In turns: each slice beside the floor's slice before it.
    ratio = statistics.median(one / floor for one, floor in zip(rounds["evaluation"], rounds["floor"]))
    speedup = statistics.median(
        100 * many / one for many, one in zip(rounds["evaluations_of_100"], rounds["evaluation"]))
    # "times" is at least its limit.
    figures = [
        {"name": "http_evaluation_over_floor", "value": round(ratio, 3), "unit": "times", "limit": 0.7},
        {"name": "http_evaluations_100_speedup", "value": round(speedup, 1), "unit": "times", "limit": 20},
        {"name": "http_floor_requests_per_second", "value": round(median["floor"]), "unit": "1/s", "limit": None},
        {"name": "http_evaluation_requests_per_second", "value": round(median["evaluation"]), "unit": "1/s",
         "limit": None},
        {"name": "http_evaluations_100_decisions_per_second", "value": round(100 * median["evaluations_of_100"]),
         "unit": "1/s", "limit": None},
    ]
    result = {
        "machine": machine(), "commit": commit(),
        "method": f"wrk with {CONNECTIONS} kept connections over a Unix socket, {ROUNDS} rounds of {SECONDS} s each in turns "
                  "after one to warm up, medians. The floor or the gateway has one processor; wrk and stiled share the "
                  "other. The log of decisions is off, but in `requests_per_second_log_on`. `busy` is the processor time of the one "
                  "under test and of stiled, in each round.",
        "figures": figures,
        "details": {"requests_per_second": {name: [round(one) for one in found] for name, found in rounds.items()},
                    "requests_per_second_log_on": {name: [round(one) for one in found] for name, found in logged.items()},
                    "busy": busy},
    }
    for one in figures:
        met = one["limit"] is None or one["value"] >= one["limit"]
        bound = "" if one["limit"] is None else f"   at least {one['limit']}"
        print(f"  {one['name']:<44} {one['value']:>14,.3f} {one['unit']:<6}{bound}{'' if met else '   NOT MET'}")
    print(json.dumps(result["details"]))
    if RESULT:
        with open(RESULT, "w") as file:
            file.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
