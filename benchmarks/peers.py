#!/usr/bin/env python3
"""Asks the peers what `engine-bench export` wrote, and how long each decision takes.

    peers.py DIRECTORY [--requests N] [--results FILE]

Policies and data are prepared once, outside of the time. Cedar's time is what its engine reports of itself, so it is
without Python and JSON (whole microseconds); regorus reports none, so its time is the call of the bytecode machine alone,
without setting the input. Prints one JSON object a line; exits with 1 when an answer differs from Stile's.

With --results each is asked behind a Unix socket too, by a server of a few lines here, client and server on one processor:
a line of JSON there, a byte back, as a caller in another process would see it, the JSON and Python on the way included. FILE
gets what `bench run` adds to its results.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time

# What `engine-bench export` makes.
USERS, RULES = 100_000, 200
# Requests that are asked before the time is taken.
WARM_UP = 500


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0


def read(directory, count):
    with open(f"{directory}/requests.jsonl") as lines:
        requests = [json.loads(line) for line in lines]
    with open(f"{directory}/answers.txt") as lines:
        answers = [line.strip() == "1" for line in lines]
    return requests[:count], answers[:count]


def cedar(directory):
    """A function from a request to its answer and the engine's nanoseconds."""
    import cedarpy

    with open(f"{directory}/policies.cedar") as text:
        policies = cedarpy.PolicySet.from_str(text.read())
    with open(f"{directory}/entities.jsonl") as lines:
        entities = cedarpy.Entities.from_json_str("[" + ",".join(line for line in lines) + "]")

    def ask(request):
        question = {
            "principal": {"type": "User", "id": request["user"]},
            "action": {"type": "Action", "id": request["action"]},
            "resource": {"type": "T" + request["type"][1:], "id": request["resource"]},
            "context": {name: request[name] for name in ("mfa", "age", "compliant", "channel")},
        }
        result = cedarpy.is_authorized(question, policies, entities)
        if result.diagnostics.errors:
            sys.exit(f"cedar cannot evaluate {question}: {result.diagnostics.errors}")
        return result.allowed, result.metrics["authz_duration_micros"] * 1000

    return ask


def regorus(directory):
    """A function from a request to its answer and the machine's nanoseconds."""
    import regorus

    with open(f"{directory}/policies.rego") as text:
        policies = text.read()
    with open(f"{directory}/data.json") as text:
        data = text.read()
    program = regorus.Program.compile_from_modules(data, [("business.rego", policies)], ["data.business.allow"])
    machine = regorus.Rvm()
    machine.load_program(program)
    machine.set_data_json(data)

    def ask(request):
        machine.set_input_json(json.dumps(request))
        start = time.perf_counter_ns()
        result = machine.execute()
        return result == "true", time.perf_counter_ns() - start

    return ask


def in_process(ask, requests):
    for request in requests[:WARM_UP]:
        ask(request)
    found = [ask(request) for request in requests]
    return [answer for answer, _ in found], [elapsed for _, elapsed in found]


def serve(listener, ask):
    client, _ = listener.accept()
    for line in client.makefile("rb"):
        client.sendall(b"1" if ask(json.loads(line))[0] else b"0")
    os._exit(0)


def behind_socket(ask, requests):
    """Answers, and nanoseconds from before a request is sent to after its answer has come."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/peer.sock")
        listener.listen(1)
        # The server has what was prepared already, by copy.
        server = os.fork()
        if server == 0:
            serve(listener, ask)
        answers, times = [], []
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{directory}/peer.sock")
            for number, request in enumerate(requests[:WARM_UP] + requests):
                line = json.dumps(request).encode() + b"\n"
                start = time.perf_counter_ns()
                client.sendall(line)
                answer = client.recv(1)
                elapsed = time.perf_counter_ns() - start
                if not answer:
                    sys.exit("the peer's server has ended")
                if number >= min(WARM_UP, len(requests)):
                    answers.append(answer == b"1")
                    times.append(elapsed)
        os.waitpid(server, 0)
    return answers, times


def report(name, place, found, expected, requests):
    answers, times = found
    different = [i for i, (found, wanted) in enumerate(zip(answers, expected)) if found != wanted]
    for index in different[:3]:
        print(f"{name} says {answers[index]}, Stile {expected[index]}: {requests[index]}", file=sys.stderr)
    line = {
        "peer": name,
        "place": place,
        "requests": len(answers),
        "different": len(different),
        "median_ns": statistics.median(times),
        "p99_ns": percentile(times, 0.99),
        "mean_ns": statistics.fmean(times),
    }
    print(json.dumps(line), flush=True)
    return line


def results(lines):
    """As `Results.Peer` of the harness."""
    return [
        {
            "name": {"cedar": "Cedar (cedarpy)", "regorus": "Rego (regorus, bytecode)"}[line["peer"]],
            "place": line["place"],
            "users": USERS,
            "rules": RULES,
            "medianUS": line["median_ns"] / 1000,
            "p99US": line["p99_ns"] / 1000,
            "agreed": line["requests"] - line["different"],
            "compared": line["requests"],
        }
        for line in lines
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--results", metavar="FILE")
    options = parser.parse_args()
    requests, expected = read(options.directory, options.requests)
    lines = []
    for name, prepare in (("cedar", cedar), ("regorus", regorus)):
        ask = prepare(options.directory)
        lines.append(report(name, "in process", in_process(ask, requests), expected, requests))
        if options.results:
            lines.append(report(name, "Unix socket", behind_socket(ask, requests), expected, requests))
    if options.results:
        with open(options.results, "w") as text:
            json.dump(results(lines), text)
    sys.exit(1 if any(line["different"] for line in lines) else 0)


if __name__ == "__main__":
    main()
