#!/usr/bin/env python3
"""Asks Cedar the random questions that Stile has answered (CedarTests writes them), and compares.

    differential.py CASES

Runs with the Python that has cedarpy. Exits with 1 at the first difference; what it prints repeats it.
"""

import json
import sys

import cedarpy


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asked = permitted = sets = rules = 0
    with open(sys.argv[1]) as lines:
        for line in lines:
            case = json.loads(line)
            policies = cedarpy.PolicySet.from_str(case["policies"])
            sets += 1
            rules += case["policies"].count("\n")
            for question in case["questions"]:
                wanted = question["permit"]
                request = {key: question[key] for key in ("principal", "action", "resource", "context")}
                result = cedarpy.is_authorized(request, policies, question["entities"])
                # What has ended is denied before anybody looks at what the question lacks.
                errors = [] if question["context"]["ended"] else result.diagnostics.errors
                if errors or result.allowed != wanted:
                    print(f"seed {case['seed']}\n{case['policies']}\n{json.dumps(question, ensure_ascii=False)}")
                    print(f"Cedar: {result.decision.name} {errors}; Stile: {'permit' if wanted else 'deny'}")
                    sys.exit(1)
                asked += 1
                permitted += wanted
    print(f"{asked} answers equal Cedar's ({permitted} permit), over {sets} policy sets with {rules} rules")


if __name__ == "__main__":
    main()
