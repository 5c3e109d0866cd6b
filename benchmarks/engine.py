#!/usr/bin/env python3
"""Runs engine-bench and the peers in turns, and writes results/engine.json.

    engine.py BINARIES PEERS-PYTHON [--rounds N] [--requests N]

A figure is the median over the rounds; a speedup is the median over the rounds of a peer's median by Stile's in the same
round. Figures of `engine-bench compile` and its plot are added to the same file by `engine.py BINARIES --compile`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "results", "engine.json")
METHOD = (
    "One decision at a time, timed with the processor's fenced clock less an empty measurement. The question is hot, as if its "
    "frame had just been read; subjects and resources are random, so their views' bytes come from wherever memory has them; "
    "the groups of the policies that a subject is in are worked out within the time. `with_lookup` adds finding the views by "
    "id; `warm` asks 64 questions again and again. The sizes of a tenant are asked in 20 turns of 10,000 questions each, after "
    "1,000 that are not timed; a size's figures are over all turns, and growth is the median over the turns of the largest "
    "size's median by the smallest's in the same turn, so that both saw the same machine. Peers: policies and data prepared; "
    "Cedar's time is its engine's own; regorus' is the call of its bytecode machine without setting the input."
)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} processors, Linux {platform.release()}"


def commit():
    found = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def lines(command, **options):
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if run.returncode != 0:
        sys.stderr.write(run.stdout)
        sys.exit(f"{' '.join(command)} ended with {run.returncode}")
    return [json.loads(line) for line in run.stdout.splitlines() if line]


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def write(figures, details, **more):
    """Replaces the figures of this name in the file, and keeps the others."""
    try:
        with open(RESULTS) as text:
            known = json.load(text)
    except (OSError, ValueError):
        known = {"figures": [], "details": {}}
    names = {figure["name"] for figure in figures}
    kept = [figure for figure in known.get("figures", []) if figure["name"] not in names]
    details = {**known.get("details", {}), **details}
    result = {
        "machine": machine(),
        "commit": commit(),
        "method": METHOD,
        **{key: known[key] for key in ("rounds", "requests", "wrong_answers") if key in known},
        **more,
        "figures": sorted(kept + figures, key=lambda figure: figure["name"]),
        "details": dict(sorted(details.items())),
    }
    os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
    with open(RESULTS, "w") as text:
        json.dump(result, text, indent=2)
        text.write("\n")


def figure(name, value, unit, limit):
    return {"name": name, "value": round(value, 4), "unit": unit, "limit": limit}


def show(figures):
    for one in figures:
        limit = one["limit"]
        isAtLeast = one["unit"] == "times"
        met = limit is None or (one["value"] >= limit if isAtLeast else one["value"] <= limit)
        bound = "" if limit is None else f"   {'at least' if isAtLeast else 'at most'} {limit}"
        print(f"  {one['name']:<44} {one['value']:>14,.3f} {one['unit']:<10}{bound}{'' if met else '   NOT MET'}")


def decide(options):
    found, peers, wrong = {}, {"cedar": [], "regorus": []}, 0
    speedups = {"cedar": [], "regorus": []}
    with tempfile.TemporaryDirectory() as directory:
        progress("writing the business tenant for the peers")
        lines([f"{options.binaries}/engine-bench", "export", directory])
        for turn in range(options.rounds):
            progress(f"round {turn + 1} of {options.rounds}: Stile")
            own = {one["name"]: one["value"] for one in lines([f"{options.binaries}/engine-bench", "decide"])}
            for name, value in own.items():
                found.setdefault(name, []).append(value)
            progress(f"round {turn + 1} of {options.rounds}: Cedar and regorus")
            count = options.requests if turn == 0 else min(options.requests, 4_000)
            for one in lines([options.python, f"{HERE}/peers.py", directory, "--requests", str(count)]):
                wrong += one["different"]
                peers[one["peer"]].append(one)
                speedups[one["peer"]].append(one["median_ns"] / own["business_200_random_median_ns"])
    progress("")
    wrong += int(sum(sum(values) for name, values in found.items() if name.endswith("_different")))
    middle = {name: statistics.median(values) for name, values in found.items()}

    def median(name):
        return middle[f"{name}_random_median_ns"]

    figures = [
        figure("engine_hospital_median_ns", max(median("hospital_1"), median("hospital_300")), "ns", 200),
        figure("engine_hospital_growth", middle["hospital_growth"], "ratio", 1.3),
        figure("engine_business_median_ns", median("business_200"), "ns", 300),
        figure("engine_business_growth", middle["business_growth"], "ratio", 1.3),
        figure("engine_cedar_speedup", statistics.median(speedups["cedar"]), "times", 300),
        figure("engine_regorus_speedup", statistics.median(speedups["regorus"]), "times", 200),
        figure(
            "engine_decide_allocations",
            sum(value for name, value in middle.items() if name.endswith("_allocations")),
            "count",
            0,
        ),
    ]
    details = {name: round(value, 4) for name, value in middle.items()}
    for name, runs in peers.items():
        for key in ("median_ns", "p99_ns", "mean_ns"):
            details[f"{name}_business_200_{key}"] = statistics.median(run[key] for run in runs)
    write(figures, details, rounds=options.rounds, requests=options.requests, wrong_answers=wrong)
    print(f"{'':<30} {'random':>10} {'p99':>10} {'with lookup':>12} {'warm':>10} {'image':>12}")
    for name in [n[: -len("_rules")] for n in middle if n.endswith("_rules") and n.count("_") == 2]:
        print(
            f"{name:<12} {middle[name + '_rules']:>8,.0f} rules  "
            f"{middle[name + '_random_median_ns']:>9,.0f}n {middle[name + '_random_p99_ns']:>9,.0f}n "
            f"{middle[name + '_with_lookup_median_ns']:>11,.0f}n {middle[name + '_warm_median_ns']:>9,.0f}n "
            f"{middle[name + '_image_bytes'] / 1000:>9,.0f} kB"
        )
    for name, runs in peers.items():
        print(f"{name:<27} {statistics.median(run['median_ns'] for run in runs):>9,.0f}n {statistics.median(run['p99_ns'] for run in runs):>9,.0f}n")
    print(f"{options.requests} requests asked of each peer in the first round: {wrong} different answers")
    show(figures)
    if wrong:
        sys.exit(1)


def compile(options):
    command = [f"{options.binaries}/engine-bench", "compile", "--plot", os.path.join(HERE, "results", "compile.svg")]
    found = {one["name"]: one["value"] for one in lines(command)}
    figures = []
    for name, value in found.items():
        if name.startswith("compile_") and name.endswith("_exponent"):
            figures.append(figure(name, value, "exponent", 1.2))
    figures.append(figure("compile_10000_rules_s", found["compile_10000_rules_s"], "s", 1))
    figures.append(figure("check_10000_rules_s", found["check_10000_rules_s"], "s", None))
    families = {name: value for name, value in found.items() if name.startswith("compile_") and name.endswith("_10000_s")}
    figures.append(figure("compile_10000_adversarial_s", max(families.values()), "s", 1))
    write(figures, {name: round(value, 4) for name, value in found.items()})
    show(figures)
    print("written to benchmarks/results/engine.json and compile.svg")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("python", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if options.compile:
        compile(options)
    elif options.python is None:
        parser.error("name the peers' Python")
    else:
        decide(options)


if __name__ == "__main__":
    main()
