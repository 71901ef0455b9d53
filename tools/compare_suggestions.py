#!/usr/bin/env python3
"""Are suggestions the same under two settings, a KV policy for example? Asks a running service and keeps the answers, then compares two files.
Queries are what each user's store knows best.

Start the service with --attune.suggestion.temperature=0 --attune.suggestion.budget=60s, so that it is greedy and never late:

    python3 tools/compare_suggestions.py ask full.json --url http://localhost:8080
    ... again with another --attune.llm.kv-policy ...
    python3 tools/compare_suggestions.py compare full.json razor.json
"""
import argparse
import json
import urllib.request

USERS = ["demo-ana", "demo-ben", "demo-chloe", "demo-daniel", "demo-ines", "demo-farid"]
QUERIES = 5


def ask(arguments):
    answers = []
    for user in USERS:
        with urllib.request.urlopen(f"{arguments.url}/api/v1/users/{user}/entities", timeout=60) as answer:
            known = [entity["label"] for entity in json.load(answer)["items"][:QUERIES]]
        for query in known:
            body = {"userId": user, "query": query, "size": 5}
            request = urllib.request.Request(arguments.url + "/api/v1/suggestions", json.dumps(body).encode(),
                                             {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=300) as answer:
                answers.append({"user": user, "query": query} | json.load(answer))
    with open(arguments.file, "w") as file:
        json.dump(answers, file, indent=1)
    late = sum("budget" in a["degraded"] for a in answers)
    written = sum(s["source"] == "generated" for a in answers for s in a["suggestions"])
    print(f"{len(answers)} answers, {late} out of time, {written} suggestions by the model, prompts of {min(a['prompt']['tokens'] for a in answers)} to "
          f"{max(a['prompt']['tokens'] for a in answers)} tokens, policy {answers[0]['cache']['policy']}")


def compare(arguments):
    first, second = (json.load(open(file)) for file in (arguments.file, arguments.other))
    same = common = count = size = full = 0
    for a, b in zip(first, second, strict=True):
        assert (a["user"], a["query"]) == (b["user"], b["query"])
        x, y = ([s["text"] for s in answer["suggestions"]] for answer in (a, b))
        same += x == y
        common += len(set(x) & set(y))
        count += len(x)
        size += b["cache"]["bytes"]
        full += b["cache"]["fullBytes"]
    print(f"{first[0]['cache']['policy']} and {second[0]['cache']['policy']}: {len(first)} requests, the same suggestions in "
          f"the same order in {100 * same / len(first):.1f} %, {100 * common / count:.1f} % of suggestions in both; "
          f"bytes of the second {size / full:.3f} of the full bf16 cache")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(required=True)
command = commands.add_parser("ask")
command.add_argument("file")
command.add_argument("--url", default="http://localhost:8080")
command.set_defaults(run=ask)
command = commands.add_parser("compare")
command.add_argument("file")
command.add_argument("other")
command.set_defaults(run=compare)
arguments = parser.parse_args()
arguments.run(arguments)
