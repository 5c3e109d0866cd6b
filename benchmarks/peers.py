#!/usr/bin/env python3
"""Asks the peers what `engine-bench export` wrote, and how long each decision takes.

    peers.py DIRECTORY [--requests N]

Policies and data are prepared once, outside of the time. Cedar's time is what its engine reports of itself, so it is
without Python and JSON (whole microseconds); regorus reports none, so its time is the call of the bytecode machine alone,
without setting the input. Prints one JSON object a line; exits with 1 when an answer differs from Stile's.
"""

import argparse
import json
import statistics
import sys
import time


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0


def read(directory, count):
    with open(f"{directory}/requests.jsonl") as lines:
        requests = [json.loads(line) for line in lines]
    with open(f"{directory}/answers.txt") as lines:
        answers = [line.strip() == "1" for line in lines]
    return requests[:count], answers[:count]


def cedar(directory, requests):
    import cedarpy

    with open(f"{directory}/policies.cedar") as text:
        policies = cedarpy.PolicySet.from_str(text.read())
    with open(f"{directory}/entities.jsonl") as lines:
        entities = cedarpy.Entities.from_json_str("[" + ",".join(line for line in lines) + "]")
    questions = [
        {
            "principal": {"type": "User", "id": request["user"]},
            "action": {"type": "Action", "id": request["action"]},
            "resource": {"type": "T" + request["type"][1:], "id": request["resource"]},
            "context": {name: request[name] for name in ("mfa", "age", "compliant", "channel")},
        }
        for request in requests
    ]
    cedarpy.is_authorized_batch(questions[:500], policies, entities)  # warm up
    answers, times = [], []
    for question in questions:
        result = cedarpy.is_authorized(question, policies, entities)
        if result.diagnostics.errors:
            sys.exit(f"cedar cannot evaluate {question}: {result.diagnostics.errors}")
        answers.append(result.allowed)
        times.append(result.metrics["authz_duration_micros"] * 1000)
    return answers, times


def regorus(directory, requests):
    import regorus

    with open(f"{directory}/policies.rego") as text:
        policies = text.read()
    with open(f"{directory}/data.json") as text:
        data = text.read()
    program = regorus.Program.compile_from_modules(data, [("business.rego", policies)], ["data.business.allow"])
    machine = regorus.Rvm()
    machine.load_program(program)
    machine.set_data_json(data)
    answers, times = [], []
    for index in list(range(min(500, len(requests)))) + list(range(len(requests))):
        machine.set_input_json(json.dumps(requests[index]))
        start = time.perf_counter_ns()
        result = machine.execute()
        elapsed = time.perf_counter_ns() - start
        answers.append(result == "true")
        times.append(elapsed)
    warm = min(500, len(requests))
    return answers[warm:], times[warm:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    requests, expected = read(options.directory, options.requests)
    wrong = 0
    for name, ask in (("cedar", cedar), ("regorus", regorus)):
        answers, times = ask(options.directory, requests)
        different = [i for i, (found, wanted) in enumerate(zip(answers, expected)) if found != wanted]
        wrong += len(different)
        for index in different[:3]:
            print(f"{name} says {answers[index]}, Stile {expected[index]}: {requests[index]}", file=sys.stderr)
        print(
            json.dumps(
                {
                    "peer": name,
                    "requests": len(answers),
                    "different": len(different),
                    "median_ns": statistics.median(times),
                    "p99_ns": percentile(times, 0.99),
                    "mean_ns": statistics.fmean(times),
                }
            ),
            flush=True,
        )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
