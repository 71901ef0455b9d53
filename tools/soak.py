#!/usr/bin/env python3
"""Loads a running service as much as it takes for some minutes and says whether it held: errors, latency, memory.

Clients send one request after the other, three searches to one suggestion, as users of the demo; an answer of 429 is
waited for as its Retry-After says. Every minute prints the minute's rate, p50 and p99, the process's resident memory,
the heap that was in use after the last collection, and memory of direct buffers.

    python3 tools/soak.py --pid $(pgrep -f attune.jar) --minutes 10 --clients 4
"""
import argparse
import json
import random
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

WORDS = ("space love war family music robot crime island school desert dragon doctor winter money train secret "
         "detective ghost river soldier princess racing boxing jungle time travel heist wedding dance").split()
USERS = ["demo-ana", "demo-ben", "demo-chloe", "demo-daniel", None]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8080")
    parser.add_argument("--pid", type=int, help="process whose resident memory is read")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=4)
    arguments = parser.parse_args()
    soak = Soak(arguments)
    threads = [threading.Thread(target=soak.client, args=(seed,), daemon=True) for seed in range(arguments.clients)]
    for thread in threads:
        thread.start()
    soak.watch()
    raise SystemExit(1 if soak.errors else 0)


class Soak:
    def __init__(self, arguments):
        self.arguments = arguments
        self.end = time.time() + 60 * arguments.minutes
        self.lock = threading.Lock()
        self.minute = {"search": [], "suggestions": []}
        self.all = {"search": [], "suggestions": []}
        self.refused = self.degraded = 0
        self.errors = []

    def client(self, seed):
        draw = random.Random(seed)
        while time.time() < self.end:
            query = " ".join(draw.sample(WORDS, draw.choice([1, 2, 2, 3])))
            user = draw.choice(USERS)
            kind = "suggestions" if draw.random() < .25 else "search"
            body = {"query": query, "userId": user} if user else {"query": query}
            start = time.time()
            try:
                answer = self.post("/api/v1/" + kind, body)
                with self.lock:
                    self.minute[kind].append(time.time() - start)
                    self.degraded += bool(answer.get("degraded"))
            except urllib.error.HTTPError as e:
                if e.code == 429:
                    with self.lock:
                        self.refused += 1
                    time.sleep(min(5, float(e.headers.get("Retry-After") or 1)))
                else:
                    self.failed(kind, query, f"{e.code} {e.read()[:300]!r}")
            except OSError as e:
                self.failed(kind, query, repr(e))

    def failed(self, kind, query, why):
        with self.lock:
            self.errors.append(f"{kind} '{query}': {why}")
        time.sleep(1)

    def post(self, path, body):
        request = urllib.request.Request(self.arguments.url + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def watch(self):
        print("| minute | searches/min | p50 ms | p99 ms | suggestions/min | p50 ms | p99 ms | refused | degraded "
              "| resident MB | heap after GC MB | direct MB |", flush=True)
        minute = 0
        while time.time() < self.end:
            time.sleep(max(0, min(60, self.end - time.time())))
            minute += 1
            with self.lock:
                taken, self.minute = self.minute, {"search": [], "suggestions": []}
                for kind, times in taken.items():
                    self.all[kind] += times
            self.row(minute, taken)
        self.row("all", self.all)
        print(f"{len(self.errors)} errors")
        for error in self.errors[:10]:
            print(error)

    def row(self, name, taken):
        cells = [name]
        for kind in ("search", "suggestions"):
            times = sorted(taken[kind])
            cells += [len(times)] + [round(1000 * times[min(len(times) - 1, int(q * len(times)))]) if times else "-"
                                     for q in (.5, .99)]
        cells += [self.refused, self.degraded, self.resident(), *self.memory()]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)

    def resident(self):
        if not self.arguments.pid:
            return "-"
        with open(f"/proc/{self.arguments.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) // 1024

    def memory(self):
        with urllib.request.urlopen(self.arguments.url + "/actuator/prometheus", timeout=60) as answer:
            text = answer.read().decode()
        share = re.search(r'jvm_memory_usage_after_gc\{[^}]*\} (\S+)', text)
        top = sum(float(v) for v in re.findall(r'jvm_memory_max_bytes\{area="heap",id="[^"]*Old[^"]*"\} (\S+)', text))
        direct = re.search(r'jvm_buffer_memory_used_bytes\{id="direct"\} (\S+)', text)
        heap = round(float(share.group(1)) * top / 2**20) if share and top > 0 else "-"
        return heap, round(float(direct.group(1)) / 2**20) if direct else "-"


if __name__ == "__main__":
    main()
