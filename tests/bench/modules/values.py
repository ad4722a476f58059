"""Times what goes in and out of a sandbox from Python, beside lupa and json: a process of its own per round, which prints
JSON. The peers take turns within it."""
import json
import statistics
import sys
import time

import emma
import lupa.lua54 as lupa

PRELUDE = "function nothing() end function id(t) return t end"
NUMBERS = 10_000


def micros(work, count):
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count * 1e6


def main(turns, calls, tables):
    data = [i + 0.5 for i in range(NUMBERS)]
    runtime = lupa.LuaRuntime(max_memory=1 << 30)
    runtime.execute(PRELUDE)
    nothing, same = runtime.globals().nothing, runtime.globals().id
    plain, bounded = emma.Sandbox(), emma.Sandbox(memory="64M", instructions=10_000_000, deadline=1)
    for box in (plain, bounded):
        box.load(PRELUDE)
    work = {
        "call": {"lupa": nothing, "sandbox": lambda: plain.call("nothing"),
                 "sandbox, limit, budget and deadline": lambda: bounded.call("nothing")},
        "table": {"lupa": lambda: list(same(runtime.table_from(data)).values()),
                  "json": lambda: json.loads(json.dumps(data)), "sandbox": lambda: plain.call("id", data),
                  "sandbox, limit, budget and deadline": lambda: bounded.call("id", data)},
    }
    for name, peers in work.items():
        for peer, one in peers.items():
            assert name == "call" or one() == data, peer
    taken = {name: {peer: [] for peer in peers} for name, peers in work.items()}
    for _ in range(turns):
        for name, peers in work.items():
            for peer, one in peers.items():
                taken[name][peer].append(micros(one, calls if name == "call" else tables))
    medians = {name: {peer: statistics.median(times) for peer, times in peers.items()} for name, peers in taken.items()}
    print(json.dumps({"micros": medians, "lupa": lupa.__name__, "version": __import__("lupa").__version__}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
