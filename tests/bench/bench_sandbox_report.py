"""Turns the results of tests/bench/run sandbox into sandbox.md, sandbox.json and sandbox.svg."""
from bench_chart import Chart
from bench_lib import paired_ratios
from bench_report import (cell, mean_over, median_or_none, present, render_end, render_title, described_run, scaled,
                          table, verdict, write_report)

EMMA = "emma"

# The cases of the rows.
SAME_OBJECT, ANY_OBJECT = "the same object each time", "another object each time"
GARBAGE, PUSH = "1 MB of garbage", "further checkpoint"
POOLED, FRESH = "sandbox of a pool", "fresh state, glibc"
WITHOUT_CHECKPOINTS, NONE_TAKEN, ONE_TAKEN = "made without checkpoints", "no checkpoint taken", "a checkpoint taken"
KILLED, GLIBC = "killed and destroyed", "lua_close, glibc"
PLAIN, BARE, SANDBOX, BUDGET = "plain Lua", "plain Lua, no checkpoints", "limit and deadline", "and a budget"
ISOLATED, NOT_ISOLATED = "isolated", "not isolated"

# The targets of the kit.
TARGET_ROLLBACK_US = 13
TARGET_FIRST_FAULTS = 0
TARGET_GARBAGE_US = 60
TARGET_PUSH_MS = 1
TARGET_POOL_RATIO = 100      # times as fast as a fresh state
TARGET_HEAP_MS = 1           # rollback of ...
TARGET_HEAP = "100 MB"
TARGET_BARE_KIB = 36
TARGET_TAKEN_KIB = 64
TARGET_TEARDOWN_RATIO = 7    # times as fast as lua_close on glibc
TARGET_PROGRAMS = 1.03       # of plain Lua's time, with a limit and a deadline
TARGET_BUDGET = 1.35         # with a budget of instructions too
TARGET_SERVER = 0.9          # of the rate without isolation


def variant_key(kit, case):
    """What a case is called in the results: with the name of a kit that is not the one of this tree."""
    return case if kit == EMMA else f"{kit}: {case}"


def beside(key, case):
    """The key of another case of the same kit."""
    kit, colon, _ = key.rpartition(": ")
    return f"{kit}{colon}{case}"


def case_of(key):
    return key.rpartition(": ")[2]


def write(report, folder):
    summary = summarise(report)
    report["summary"] = summary
    write_report(report, "sandbox", folder, render(report, summary), draw(report, summary))


# Figures.

def medians(runs, field):
    """Of each round the median of what one process saw."""
    return [run[field]["median"] if run and field in run else None for run in runs]


def micros(runs, field):
    return scaled(median_or_none(medians(runs, field)), 1e3)


def least_micros(runs, field):
    return scaled(min((run[field]["least"] for run in present(runs)), default=None), 1e3)


def last_micros(runs, field):
    return scaled(median_or_none([run[field]["p99"] for run in present(runs)]), 1e3)


def per_cycle(runs, field):
    return median_or_none([run[field] / run["cycles"] if run else None for run in runs])


def of_first(runs, field):
    return next((run[field] for run in present(runs)), None)


def first_to_again(runs):
    return median_or_none(paired_ratios(medians(runs, "first_ns"), medians(runs, "again_ns")))


def pool_ratio(runs, key):
    return median_or_none(paired_ratios(medians(runs[FRESH], "cycle_ns"), medians(runs[key], "cycle_ns")))


def resident_kib(runs, field):
    return median_or_none([(run["after"][field] - run["before"][field]) / run["sandboxes"] if run else None
                           for run in runs])


def teardown_ns(runs, clock, *phases):
    return [sum(run[phase][clock] for phase in phases) if run else None for run in runs]


def teardown_ratio(runs, key, clock="cpu_ns"):
    return median_or_none(paired_ratios(teardown_ns(runs[GLIBC], clock, "end"),
                                        teardown_ns(runs[key], clock, "stop", "end")))


def server_ratio(runs):
    isolated, open_ = ([run["requests_per_second"] if run else None for run in runs[case]]
                       for case in (ISOLATED, NOT_ISOLATED))
    return median_or_none(paired_ratios(isolated, open_))


def summarise(report):
    results, summary = report["results"], {}
    if "programs" in results:
        summary["programs"] = summarise_programs(
            {program: {key: [run["cpu_ns"] if run else None for run in runs] for key, runs in result["runs"].items()}
             for program, result in results["programs"].items()})
    if "instructions" in results:
        summary["instructions"] = summarise_programs(
            {program: {key: [count] for key, count in counts.items()}
             for program, counts in results["instructions"].items()})
    return summary


def summarise_programs(programs):
    """Ratios to plain Lua in an instance with the flags of the sandbox's, of the same kit."""
    ratios, least = {}, {}
    for program, values in programs.items():
        ratios[program] = {key: median_or_none(paired_ratios(values[key], values[beside(key, PLAIN)])) for key in values}
        least[program] = {key: least_ratio(values[key], values[beside(key, PLAIN)]) for key in values}
    keys = list(next(iter(programs.values()), {}))
    return {"ratio": ratios, "least": least, "keys": keys,
            "mean": {key: mean_over(ratios, key) for key in keys},
            "least_mean": {key: mean_over(least, key) for key in keys},
            "plain": {program: median_or_none(values[PLAIN]) for program, values in programs.items()}}


def least_ratio(values, reference):
    values, reference = present(values), present(reference)
    return min(values) / min(reference) if values and reference else None


# Markdown.

def render(report, summary):
    results = report["results"]
    sections = {
        "rollback": lambda: render_rollbacks("Rollbacks", "A sandbox with 1,000 objects: a request that changes one of "
                                             "them, then a rollback.", results["rollback"]),
        "garbage": lambda: render_rollbacks("Garbage", "The same sandbox: a request that makes 1 MB of small tables, "
                                            "then a rollback.", results["garbage"]),
        "push": lambda: render_push(results["push"]),
        "growth": lambda: render_rollbacks("Larger heaps", "A request that changes 10 objects far apart, then a rollback, "
                                           "as the heap grows.", results["growth"]),
        "pool": lambda: render_pool(results["pool"]),
        "resident": lambda: render_resident(results["resident"]),
        "teardown": lambda: render_teardown(results["teardown"]),
        "programs": lambda: render_programs(report, summary["programs"]),
        "instructions": lambda: render_instructions(summary["instructions"]),
        "server": lambda: render_server(results["server"]),
    }
    parts = [render_head(report)]
    parts += [sections[row]() for row in report["rows"]]
    parts += render_end(report, summary, targets(report, summary))
    return "\n".join(parts)


def render_head(report):
    lines = render_title(report, "Sandbox benchmark")
    lines += [described_run(report, *lua_release(report)),
              "Each figure comes from a fresh process; within a round the cases run in turn, in an order that rotates. "
              "Figures are medians of the rounds', ratios are medians of the round-by-round ratios.\n"]
    lines += [note + "\n" for note in report["notes"]]
    lines.append(table(["kit", "commit", "flags"], [[kit["name"], kit["commit"], kit["flags"]] for kit in report["kits"]]))
    return "\n".join(lines)


def lua_release(report):
    """What a process told, as a list of one or none."""
    def search(value):
        if isinstance(value, dict):
            if isinstance(value.get("lua"), str):
                return value["lua"]
            value = list(value.values())
        return next(filter(None, map(search, value)), None) if isinstance(value, list) else None
    found = search(report["results"])
    return [found] if found else []


def render_rollbacks(title, told, result):
    rows = []
    for key, runs in result.items():
        rows.append([key, *timed_cells(runs, "rollback_ns"), cell(micros(runs, "first_ns"), "{:.2f}"),
                     cell(micros(runs, "again_ns"), "{:.2f}"), cell(first_to_again(runs), "{:.2f}"),
                     cell(of_first(runs, "dirty_pages"), "{}"), cell(per_cycle(runs, "first_faults"), "{:.3f}"),
                     cell(per_cycle(runs, "rollback_faults"), "{:.3f}"),
                     cell(scaled(of_first(runs, "live_bytes"), 1e6), "{:.1f}")])
    header = [title.lower(), "rollback, µs", "least", "p99", "request after it, µs", "without one", "ratio", "pages",
              "faults of the request", "of the rollback", "heap, MB"]
    return "\n".join([f"## {title}\n", told + " The request after a rollback is compared with the same request right "
                      "after another. Pages are what the first request wrote to; faults are minor page faults.\n",
                      table(header, rows)])


def timed_cells(runs, field, form="{:.1f}"):
    return [cell(figure(runs, field), form) for figure in (micros, least_micros, last_micros)]


def render_push(result):
    rows = [[key, *timed_cells(runs, "push_ns"), *timed_cells(runs, "rollback_ns"),
             cell(of_first(runs, "dirty_pages"), "{}"), cell(scaled(of_first(runs, "live_bytes"), 1e6), "{:.1f}")]
            for key, runs in result["runs"].items()]
    header = ["further checkpoints", "checkpoint, µs", "least", "p99", "rollback to the first, µs", "least", "p99", "pages",
              "heap, MB"]
    return "\n".join(["## Further checkpoints\n", f"A heap of {result['megabytes']} MB with a checkpoint: a request that "
                      "changes 10 objects far apart, another checkpoint, a rollback to the first.\n", table(header, rows)])


def render_pool(runs):
    rows = [[key, *timed_cells(each, "cycle_ns"), "" if key == FRESH else cell(pool_ratio(runs, key), "{:.0f}")]
            for key, each in runs.items()]
    return "\n".join(["## Requests\n", "A prelude makes 1 MB of objects, of which a request changes one. In a pool: acquire, "
                      "call, release. Fresh: luaL_newstate, libraries, prelude, call, lua_close.\n",
                      table(["request", "µs", "least", "p99", "times as fast"], rows)])


def render_resident(result):
    rows = []
    for key, runs in result["runs"].items():
        mappings = median_or_none([run["mappings"] / run["sandboxes"] if run else None for run in runs])
        rows.append([key, cell(resident_kib(runs, "rss_kib"), "{:.1f}"),
                     cell(resident_kib(runs, "page_table_kib"), "{:.1f}"), cell(mappings, "{:.1f}")])
    return "\n".join(["## Memory\n", f"Per sandbox with its libraries, {result['sandboxes']} alive, the host's part "
                      "included.\n",
                      table(["per sandbox", "resident, KiB", "page tables, KiB", "mappings"], rows)])


def render_teardown(result):
    rows = []
    for key, runs in result["runs"].items():
        memory = [median_or_none([run[at]["rss_kib"] / 1024 if run and at in run else None for run in runs])
                  for at in ("full", "after", "given_back")]
        back = [run["give_back"]["cpu_ns"] if run and "give_back" in run else None for run in runs]
        times = [scaled(median_or_none(teardown_ns(runs, clock, *phases)), 1e6)
                 for clock, phases in (("wall_ns", ("stop",)), ("cpu_ns", ("stop", "end")), ("wall_ns", ("stop", "end")))]
        rows.append([key, cell(times[0], "{:.2f}"), cell(times[1], "{:.1f}"), cell(times[2], "{:.1f}"),
                     "" if key == GLIBC else cell(teardown_ratio(result["runs"], key), "{:.1f}"),
                     cell(scaled(median_or_none(back), 1e6), "{:.1f}"), *[cell(value, "{:.0f}") for value in memory]])
    header = ["heap thrown away", "stopped after, ms", "CPU, ms", "wall, ms", "times as fast", "give back, ms", "full, MiB",
              "after", "given back"]
    return "\n".join([f"## Throwing away {result['megabytes']} MB\n", "A script with a heap of that size runs on; another thread "
                      "kills it, and the sandbox is destroyed. Beside it lua_close of a state with the same data, then "
                      "`malloc_trim`, which gives what is left back to the kernel. Resident memory is the process's.\n",
                      table(header, rows)])


def ratio_table(summary, title, extra):
    keys = [key for key in summary["keys"] if case_of(key) != PLAIN]
    rows = [[program] + [cell(row.get(key)) for key in keys] + [extra(program)] for program, row in summary["ratio"].items()]
    rows.append(["**geometric mean**"] + [cell(summary["mean"][key]) for key in keys] + [""])
    if summary["least_mean"] != summary["mean"]:
        rows.append(["of the least times"] + [cell(summary["least_mean"][key]) for key in keys] + [""])
    return table([title, *keys, "plain Lua"], rows)


def render_programs(report, summary):
    every = [run for result in report["results"]["programs"].values() for runs in result["runs"].values()
             for run in present(runs)]
    had_cpu = sum(run["cpu_ns"] for run in every) / max(1, sum(run["wall_ns"] for run in every))
    return "\n".join(["## Programs\n", "CPU time of the Lua programs in a sandbox to that of plain Lua in an instance of emma with the same "
                      "flags; the collector is incremental everywhere. *Plain Lua, no checkpoints* is an instance without "
                      f"EMMA_CHECKPOINTS. The processes had the CPU for {had_cpu:.0%} of the time.\n",
                      ratio_table(summary, "time to plain Lua's", lambda program: cell(scaled(summary["plain"][program], 1e6), "{:.0f} ms"))])


def render_instructions(summary):
    return "\n".join(["## Programs: instructions\n", "The processor's instructions for the same at smaller sizes, under callgrind.\n",
                      ratio_table(summary, "instructions to plain Lua's",
                                  lambda program: cell(scaled(summary["plain"][program], 1e6), "{:.0f} M"))])


def server_column(runs, field):
    return median_or_none([run[field] if run else None for run in runs])


def render_server(runs):
    rows = [[key, cell(server_column(each, "requests_per_second"), "{:.0f}"),
             cell(scaled(server_column(each, "cpu_ns_per_request"), 1e3), "{:.1f}")] for key, each in runs.items()]
    return "\n".join(["## Server\n", "The example pool_server asked for its page by wrk, which shares the CPUs with it.\n",
                      table(["server", "requests/s", "its CPU time per request, µs"], rows)])


# Targets.

def at_most(name, value, most, form, unit, told=""):
    return (name, f"at most {most:g}{unit}", cell(value, form) + (unit + told if value is not None else ""),
            verdict(value <= most if value is not None else None))


def at_least(name, value, least, form, unit=""):
    return (name, f"at least {least:g}{unit}", cell(value, form), verdict(value >= least if value is not None else None))


def targets(report, summary):
    results = report["results"]
    yield from rollback_targets(results)
    pool = results.get("pool")
    yield at_least("request on a pooled sandbox, times as fast as on a fresh state", pool_ratio(pool, POOLED) if pool else None,
                   TARGET_POOL_RATIO, "{:.0f}")
    yield from memory_targets(results)
    for case, most, told in ((SANDBOX, TARGET_PROGRAMS, "limit and deadline"),
                             (BUDGET, TARGET_BUDGET, "limit, deadline and budget")):
        mean = summary["programs"]["mean"][case] if "programs" in summary else None
        yield at_most(f"programs, time to plain Lua's, {told}, geometric mean", mean, most, "{:.3f}", "")
    server = results.get("server")
    yield at_least("requests per second of the server, isolated to not isolated", server_ratio(server) if server else None,
                   TARGET_SERVER, "{:.2f}")


def rollback_targets(results):
    runs = results.get("rollback", {}).get(SAME_OBJECT, [])
    yield at_most("rollback after a request that touched few pages, median", micros(runs, "rollback_ns"),
                  TARGET_ROLLBACK_US, "{:.1f}", " µs", f" (least {cell(least_micros(runs, 'rollback_ns'), '{:.1f}')})")
    yield at_most("page faults of the request after it", per_cycle(runs, "first_faults"), TARGET_FIRST_FAULTS, "{:g}", "",
                  f" (time {cell(first_to_again(runs), '{:.2f}')} of one without a rollback)")
    runs = results.get("garbage", {}).get(GARBAGE, [])
    yield at_most("rollback after 1 MB of garbage, median", micros(runs, "rollback_ns"), TARGET_GARBAGE_US, "{:.1f}", " µs",
                  f" (least {cell(least_micros(runs, 'rollback_ns'), '{:.1f}')})")
    push = results.get("push", {"megabytes": 100, "runs": {}})
    yield at_most(f"further checkpoint after 10 dirty pages, heap of {push['megabytes']} MB",
                  scaled(micros(push["runs"].get(PUSH, []), "push_ns"), 1e3), TARGET_PUSH_MS, "{:.2f}", " ms")
    growth = results.get("growth", {})
    key = TARGET_HEAP if TARGET_HEAP in growth or not growth else list(growth)[-1]
    yield at_most(f"rollback with 10 dirty pages, heap of {key}", scaled(micros(growth.get(key, []), "rollback_ns"), 1e3),
                  TARGET_HEAP_MS, "{:.3f}", " ms")


def memory_targets(results):
    resident = results.get("resident", {"sandboxes": 10000, "runs": {}})
    for case, most in ((WITHOUT_CHECKPOINTS, TARGET_BARE_KIB), (ONE_TAKEN, TARGET_TAKEN_KIB)):
        runs = resident["runs"].get(case, [])
        yield at_most(f"resident per sandbox, {resident['sandboxes']} alive, {case}", resident_kib(runs, "rss_kib"), most,
                      "{:.1f}", " KiB", f" (page tables {cell(resident_kib(runs, 'page_table_kib'), '{:.1f}')})")
    teardown = results.get("teardown")
    ratio = teardown_ratio(teardown["runs"], KILLED) if teardown else None
    yield at_least(f"sandbox of {teardown['megabytes'] if teardown else 1000} MB killed and destroyed, times as fast as lua_close",
                   ratio, TARGET_TEARDOWN_RATIO, "{:.1f}")


# Chart.

def draw(report, summary):
    results = report["results"]
    chart = Chart("Sandboxes for Lua" + (" (quick run: the figures mean nothing)" if report["quick"] else ""),
                  [variant_key(kit["name"], case) for kit in report["kits"] for case in (SANDBOX, BUDGET, BARE)])
    rollbacks = {}
    for row in ("rollback", "garbage", "growth"):
        told = "heap of {}" if row == "growth" else "{}"
        rollbacks.update({told.format(key): micros(runs, "rollback_ns") for key, runs in results.get(row, {}).items()})
    chart.panel("Rollback, µs", {"": rollbacks}, labelled=True)
    if "push" in results:
        chart.panel("Further checkpoint, µs", {"": {key: micros(runs, "push_ns") for key, runs in results["push"]["runs"].items()}},
                    labelled=True)
    if "pool" in results:
        chart.panel("Request, µs", {"": {key: micros(runs, "cycle_ns") for key, runs in results["pool"].items()}},
                    labelled=True)
    if "resident" in results:
        chart.panel("Resident KiB per sandbox", {"": {
            key: resident_kib(runs, "rss_kib") for key, runs in results["resident"]["runs"].items()}}, labelled=True)
    if "teardown" in results:
        chart.panel(f"Throwing away {results['teardown']['megabytes']} MB, CPU ms", {"": {
            key: scaled(median_or_none(teardown_ns(runs, "cpu_ns", "stop", "end")), 1e6)
            for key, runs in results["teardown"]["runs"].items()}}, labelled=True)
    for row, told in (("programs", "CPU time"), ("instructions", "Instructions")):
        if row in summary:
            chart.panel(f"{told} to plain Lua's", without_plain({**summary[row]["ratio"], "geometric mean": summary[row]["mean"]}),
                        reference=1)
    if "server" in results:
        chart.panel("Requests per second", {"": {
            key: server_column(runs, "requests_per_second")
            for key, runs in results["server"].items()}}, labelled=True)
    return chart.svg()


def without_plain(groups):
    return {group: {key: value for key, value in bars.items() if case_of(key) != PLAIN} for group, bars in groups.items()}
