"""Turns the results of tests/bench/run lua into lua.md, lua.json and lua.svg."""
from bench_chart import Chart
from bench_lib import median, paired_ratios
from bench_report import (MIB, QUIET_SHARE, cell, column, described_run, mean_over, median_or_none, present,
                          ratio_of_least, render_end, render_title, scaled, table, verdict, write_report)

EMMA = "emma"
FLOOR = "floor"

# The targets of emma on Lua programs.
TARGET_LEAD = 1.05              # over the best rival in the mean
TARGET_WORST_PROGRAM = 1.05     # of the best rival's time, on any program
TARGET_CALL_INSTRUCTIONS = 25
TARGET_PEAK_SHARE = 1.02        # of the best rival's peak ...
TARGET_PEAK_SLACK_KIB = 256     # ... or this much above it
TARGET_STATE_KIB = 32
TARGET_INSTANCE_RATIO = 1.4     # to the kernel's own floor
TARGET_STATE_RATIO = 1          # to glibc's lua_newstate, libraries and lua_close
TARGET_TEARDOWN_RATIO = 7       # faster than lua_close on glibc
TEARDOWN_TARGET_MB = 500


def write(report, folder):
    summary = summarise(report)
    report["summary"] = summary
    write_report(report, "lua", folder, render(report, summary), draw(report, summary))


# Figures.

def summarise(report):
    names = [allocator["name"] for allocator in report["allocators"]]
    results, reference = report["results"], report["reference"]
    summary = {}
    if "programs" in results:
        summary["programs"] = summarise_programs(results["programs"], names, reference, report["rivals"])
    if "instructions" in results:
        summary["instructions"] = summarise_instructions(results["instructions"], names, reference)
    return summary


def summarise_programs(programs, names, reference, rivals):
    out = {"cpu": {}, "least": {}, "wall": {}, "peak_kib": {}, "page_table_kib": {}, "faults": {}, "moved": {},
           "reference_ms": {}, "best": {}, "to_best": {}}
    for program, result in programs.items():
        runs = result["runs"]
        for key, field in (("cpu", "cpu_ns"), ("wall", "wall_ns")):
            base = column(runs, reference, field)
            out[key][program] = {name: median_or_none(paired_ratios(column(runs, name, field), base)) for name in names}
        base = column(runs, reference, "cpu_ns")
        out["least"][program] = {name: ratio_of_least(column(runs, name, "cpu_ns"), base) for name in names}
        for key, field in (("peak_kib", "peak_kib"), ("page_table_kib", "page_table_kib"),
                           ("faults", "minor_faults"), ("moved", "moved_bytes")):
            out[key][program] = {name: median_or_none(column(runs, name, field)) for name in names}
        out["reference_ms"][program] = (median_or_none(base) or 0) / 1e6
        timed = {name: out["cpu"][program][name] for name in rivals if out["cpu"][program].get(name)}
        best = min(timed, key=timed.get) if timed else None
        out["best"][program] = best
        out["to_best"][program] = {name: median_or_none(paired_ratios(column(runs, name, "cpu_ns"),
                                                                      column(runs, best, "cpu_ns")))
                                   for name in names} if best else {}
    out["mean"] = {key: {name: mean_over(out[key], name) for name in names} for key in ("cpu", "least", "wall")}
    every = [run for result in programs.values() for runs in result["runs"].values() for run in present(runs)]
    out["had_cpu"] = sum(run["cpu_ns"] for run in every) / max(1, sum(run["wall_ns"] for run in every))
    return out


def summarise_instructions(programs, names, reference):
    out = {"program": {}, "per_call": {}, "per_call_nulls": {}, "null_free": {}, "calls": {}}
    for program, figures in programs.items():
        base = figures.get(reference)
        out["program"][program] = {name: figures[name]["program"] / base["program"]
                                   for name in names if figures.get(name) and base}
        out["per_call"][program] = {name: figures[name]["per_call"] for name in names if figures.get(name)}
        out["per_call_nulls"][program] = {name: figures[name]["adapter"] / figures[name]["calls"]
                                          for name in names if figures.get(name)}
        out["null_free"].update({name: figures[name]["null_free"] for name in names if figures.get(name)})
        out["calls"][program] = {name: figures[name]["counts"] for name in names if figures.get(name)}
    out["mean"] = {key: {name: mean_over(out[key], name) for name in names}
                   for key in ("program", "per_call", "per_call_nulls")}
    return out


# Markdown.

def render(report, summary):
    parts = [render_head(report)]
    sections = {
        "programs": lambda: render_programs(report, summary["programs"]),
        "instructions": lambda: render_instructions(report, summary["instructions"]),
        "instances": lambda: render_instances(report),
        "teardown": lambda: render_teardown(report["results"]["teardown"]),
        "growth": lambda: render_growth(report),
    }
    parts += [sections[row]() for row in report["rows"]]
    parts += render_end(report, summary, targets(report, summary))
    return "\n".join(parts)


def render_head(report):
    lua = next((a["lua"] for a in report["allocators"] if a["lua"]), "Lua")
    lines = render_title(report, "Lua benchmark")
    lines += [
        described_run(report, lua),
        "Each figure comes from a fresh process; within a round the allocators run in turn, in an order that rotates. "
        "Times are CPU time, user and system, from the start of `main` to the end of the process; ratios are "
        "medians of the round-by-round ratios to glibc, so below 1 is faster than glibc. All states end with "
        "`lua_close` unless said otherwise.\n"]
    rows = [[a["name"], a["package"] or a["commit"], a["version"], a["libc_malloc_from"], a["note"]]
            for a in report["allocators"]]
    lines.append(table(["allocator", "package or commit", "version", "the process's malloc", "used as"], rows))
    return "\n".join(lines)


def render_ratio_table(report, figures, means, extra=None):
    names = [a["name"] for a in report["allocators"] if any(a["name"] in row for row in figures.values())]
    rows = [[program] + [cell(figures[program].get(name)) for name in names] + (extra(program) if extra else [])
            for program in figures]
    padding = [""] * (len(rows[0]) - 1 - len(names)) if rows else []
    rows.append(["**geometric mean**"] + [cell(means.get(name)) for name in names] + padding)
    return names, rows


def render_programs(report, summary):
    emma_present = any(a["name"] == EMMA for a in report["allocators"])

    def beside(program):
        best = summary["best"][program]
        told = [f"{summary['reference_ms'][program]:.0f}", best or "-"]
        return told + ([cell(summary["to_best"][program].get(EMMA))] if emma_present else [])

    more = ["glibc, ms", "best rival"] + (["emma to it"] if emma_present else [])
    names, rows = render_ratio_table(report, summary["cpu"], summary["mean"]["cpu"], beside)
    busy = "" if summary["had_cpu"] >= QUIET_SHARE else " Something else was running: the figures are blurred."
    parts = ["## Programs: time\n",
             f"The processes had the CPU for {summary['had_cpu']:.0%} of their time.{busy}\n", table(["CPU time to glibc's"] + names + more, rows)]
    for title, key in (("least CPU time of all rounds to glibc's", "least"), ("wall time to glibc's", "wall")):
        names, rows = render_ratio_table(report, summary[key], summary["mean"][key])
        parts.append(table([title] + names, rows))
    parts += ["## Programs: memory\n",
              "Peak resident memory above what the process had at the start of `main`.\n"]
    parts.append(table(["peak, MiB"] + names, [[program] + [
        cell(row[name], "{:.2f}") if row[name] is None else f"{row[name] / 1024:.2f}" for name in names]
        for program, row in summary["peak_kib"].items()]))
    parts += ["Page tables (VmPTE) at the end of the script, page faults, and bytes copied by reallocs that "
              "moved, as emma counts them.\n"]
    parts.append(table(["page tables, KiB"] + names, [[program] + [cell(row[name], "{:.0f}") for name in names]
                                                     for program, row in summary["page_table_kib"].items()]))
    parts.append(table(["minor page faults"] + names, [[program] + [cell(row[name], "{:.0f}") for name in names]
                                                      for program, row in summary["faults"].items()]))
    told = [name for name in names if any(row[name] is not None for row in summary["moved"].values())]
    if told:
        parts.append(table(["moved, MiB"] + told, [
            [program] + ["-" if row[name] is None else f"{row[name] / MIB:.2f}" for name in told]
            for program, row in summary["moved"].items()]))
    return "\n".join(parts)


def render_instructions(report, summary):
    parts = ["## Programs: instructions\n",
             "Counted by callgrind, at smaller sizes. Frees of NULL are told apart; bytes copied are in.\n"]
    names, rows = render_ratio_table(report, summary["program"], summary["mean"]["program"])
    parts.append(table(["whole program to glibc's"] + names, rows))
    names = [a["name"] for a in report["allocators"] if any(a["name"] in row for row in summary["per_call"].values())]
    rows = [[program] + [cell(row.get(name), "{:.1f}") for name in names]
            for program, row in summary["per_call"].items()]
    for title, figures in (("**geometric mean**", summary["mean"]["per_call"]),
                           ("with frees of NULL, which are no calls", summary["mean"]["per_call_nulls"]),
                           ("a free of NULL", summary["null_free"])):
        rows.append([title] + [cell(figures.get(name), "{:.1f}") for name in names])
    parts.append(table(["inside lua_Alloc, per call"] + names, rows))
    rows = []
    for program, counts in summary["calls"].items():
        first = next(iter(counts.values()), None)
        if first:
            rows.append([program] + [f"{first[key]}" for key in ("allocs", "frees", "grows", "shrinks", "null_frees")])
    parts += ["What the programs asked for at these sizes, and what reallocs that changed the address would copy:\n",
              table(["calls", "allocs", "frees", "grows", "shrinks", "frees of NULL"], rows)]
    rows = [[program] + [f"{counts[name]['moved_bytes'] / 1024:.0f}" if name in counts else "-" for name in names]
            for program, counts in summary["calls"].items()]
    parts.append(table(["moved, KiB"] + names, rows))
    return "\n".join(parts)


def batch_medians(runs, field):
    return [median(run[field]) if run and field in run else None for run in runs]


def faults_per_cycle(runs):
    return [run["minor_faults"] / run["cycles"] if run else None for run in runs]


def least(runs, field):
    values = [min(run[field]) for run in runs if run and field in run]
    return min(values) if values else None


def render_instances(report):
    results = report["results"]["instances"]
    rows = []
    for key, runs in results["instances"].items():
        first = next((run for run in runs if run), {})
        kernel = batch_medians(runs, "kernel_ns")
        rows.append([key, cell(median_or_none(batch_medians(runs, "heap_ns")), "{:.0f}"),
                     cell(least(runs, "heap_ns"), "{:.0f}"), cell(median_or_none(kernel), "{:.0f}"),
                     cell(instance_ratio(runs), "{:.2f}"), first.get("touched_pages", "-"),
                     cell(first.get("reserve_bytes"), "{:.0f}") if "reserve_bytes" not in first
                     else f"{first['reserve_bytes'] / MIB:.0f}"])
    parts = ["## Instances\n",
             "A private heap created and destroyed, against the kernel's own work for it in the same process and in "
             "turn: one mmap of the same address space, one mprotect, as many pages touched, one munmap.\n",
             table(["create + destroy", "ns", "least", "kernel, ns", "ratio", "pages", "reserve, MiB"], rows)]
    base = batch_medians(results["states"].get(f"{report['reference']}, lua_close", []), "cycle_ns")
    rows = [[key, cell(scaled(median_or_none(batch_medians(runs, "cycle_ns")), 1e3), "{:.1f}"),
             cell(scaled(least(runs, "cycle_ns"), 1e3), "{:.1f}"),
             cell(median_or_none(paired_ratios(batch_medians(runs, "cycle_ns"), base))),
             cell(median_or_none(faults_per_cycle(runs)), "{:.1f}")]
            for key, runs in results["states"].items()]
    parts += ["A heap, a Lua state with the standard libraries in it, and its end: by `lua_close`, by destroying the "
              "private heap and creating another for the next state (\"destroyed\"), or by freeing all blocks of "
              "one heap that lives on and serves all states (\"reset\"). Faults are minor page faults per state.\n",
              table(["state created and thrown away", "µs", "least", "to glibc's", "faults"], rows)]
    rows = []
    for key, runs in results["resident"].items():
        figures = resident_figures(runs)
        rows.append([key] + [cell(figures.get(name), "{:.1f}") for name in ("rss_kib", "page_table_kib")]
                    + [cell(figures.get("mappings"), "{:.2f}")])
    count = next((run["states"] for runs in results["resident"].values() for run in runs if run), 0)
    parts += [f"Memory per Lua state with the standard libraries, {count} alive.\n",
              table(["per state", "resident, KiB", "page tables, KiB", "mappings"], rows)]
    return "\n".join(parts)


def instance_ratio(runs):
    return median_or_none(paired_ratios(batch_medians(runs, "heap_ns"), batch_medians(runs, "kernel_ns")))


def resident_figures(runs):
    figures = {}
    for name in ("rss_kib", "page_table_kib"):
        figures[name] = median_or_none([(run["after"][name] - run["before"][name]) / run["states"] if run else None
                                        for run in runs])
    figures["mappings"] = median_or_none([run["mappings"] / run["states"] if run else None for run in runs])
    return figures


def teardown_ns(runs, *phases):
    return [sum(run[phase]["cpu_ns"] for phase in phases) if run else None for run in runs]


def render_teardown(result):
    rows = []
    for key, runs in result["runs"].items():
        end = teardown_ns(runs, "close", "discard")
        back = teardown_ns(runs, "give_back")
        memory = [median_or_none([run[at]["rss_kib"] / 1024 if run else None for run in runs])
                  for at in ("full", "after", "end")]
        rows.append([key, cell(scaled(median_or_none(end), 1e6), "{:.1f}"),
                     cell(scaled(min(present(end), default=None), 1e6), "{:.1f}"),
                     cell(scaled(median_or_none(back), 1e6), "{:.1f}")] + [cell(value, "{:.0f}") for value in memory])
    return "\n".join([
        f"## Throwing away a heap of {result['megabytes']} MB\n",
        "CPU time of `lua_close` with the end of the private heap, or of that end alone (\"destroyed\"); then of a "
        "request to give kept memory back to the kernel (`malloc_trim` and its like). Resident memory of the process in "
        "MiB with the heap, after its end, and after that request.\n",
        table(["heap thrown away", "ms", "least", "give back, ms", "full", "after", "given back"], rows)])


def render_growth(report):
    result = report["results"]["growth"]["runs"]
    base = column(result, report["reference"], "cpu_ns")
    rows = []
    for name, runs in result.items():
        cpu = column(result, name, "cpu_ns")
        moved = median_or_none(column(result, name, "moved_bytes"))
        rows.append([name, cell(scaled(median_or_none(cpu), 1e6), "{:.0f}"),
                     cell(median_or_none(paired_ratios(cpu, base))),
                     cell(scaled(median_or_none(column(result, name, "wall_ns")), 1e6), "{:.0f}"),
                     cell(scaled(median_or_none(column(result, name, "peak_kib")), 1024), "{:.1f}"),
                     cell(median_or_none(column(result, name, "minor_faults")), "{:.0f}"),
                     cell(scaled(moved, MIB), "{:.1f}")])
    return "\n".join([
        "## Growing one table\n",
        "A table grown element by element until its array holds 200 MiB of values, then read; Lua doubles the "
        "array, so its last size is 256 MiB.\n",
        table(["growth", "CPU, ms", "to glibc's", "wall, ms", "peak, MiB", "faults", "moved, MiB"], rows)])


# Targets.

def targets(report, summary):
    results = report["results"]
    yield from time_targets(summary.get("programs"), report["rivals"], report["rounds"])
    yield from instruction_targets(summary.get("instructions"), report["rivals"])
    yield peak_target(summary.get("programs"), report["rivals"])
    yield from instance_targets(results.get("instances"), report["reference"], report["limited"])
    yield teardown_target(results.get("teardown"), report["reference"])


def time_targets(programs, rivals, rounds):
    means = programs["mean"]["cpu"] if programs else {}
    emma, floor = means.get(EMMA), means.get(FLOOR)
    both = emma is not None and floor is not None
    yield ("programs, time to glibc's, geometric mean", "at or below the floor's",
           f"{cell(emma)}, floor {cell(floor)}", verdict(emma <= floor if both else None))
    rival_means = {name: means[name] for name in rivals if means.get(name)}
    best = min(rival_means, key=rival_means.get) if rival_means else None
    lead = rival_means[best] / emma if best and emma else None
    yield ("the best rival's mean time to emma's", f"at least {TARGET_LEAD}",
           f"{cell(lead)} ({best})" if lead else "-", verdict(lead >= TARGET_LEAD if lead else None))
    to_best = {program: row[EMMA] for program, row in programs["to_best"].items() if row.get(EMMA)} if programs else {}
    worst = max(to_best, key=to_best.get) if to_best else None
    yield (f"worst program, time to its best rival's, median of {rounds} rounds", f"at most {TARGET_WORST_PROGRAM}",
           f"{cell(to_best[worst])} ({worst}, {programs['best'][worst]})" if worst else "-",
           verdict(to_best[worst] <= TARGET_WORST_PROGRAM if worst else None))


def instruction_targets(instructions, rivals):
    above, worst = [], None
    for program, row in (instructions["program"] if instructions else {}).items():
        best = min((row[name] for name in rivals if name in row), default=None)
        if best and EMMA in row:
            share = row[EMMA] / best
            worst = max(worst or share, share)
            if share > 1:
                above.append(program)
    told = f"{worst:.3f} at worst" + (f"; above on {', '.join(above)}" if above else "") if worst else "-"
    yield ("instructions of a whole program to the best rival's", "at most 1 on each", told,
           verdict(not above if worst else None))
    per_call = instructions["mean"]["per_call"].get(EMMA) if instructions else None
    yield ("instructions inside the adapter per call, geometric mean", f"at most {TARGET_CALL_INSTRUCTIONS}",
           cell(per_call, "{:.1f}"), verdict(per_call <= TARGET_CALL_INSTRUCTIONS if per_call else None))


def peak_target(programs, rivals):
    above, measured = [], False
    for program, row in (programs["peak_kib"] if programs else {}).items():
        best = min((row[name] for name in rivals if row.get(name) is not None), default=None)
        if best is None or row.get(EMMA) is None:
            continue
        measured = True
        if row[EMMA] > max(best * TARGET_PEAK_SHARE, best + TARGET_PEAK_SLACK_KIB):
            above.append(f"{program} by {row[EMMA] - best:.0f} KiB")
    return ("peak resident memory, each program", "at or below every rival's, but for 2 % or 256 KiB",
            (f"above on {', '.join(above)}" if above else "so on each") if measured else "-",
            verdict(not above if measured else None))


def instance_targets(instances, reference, limited):
    for key in (EMMA, f"{EMMA}, {limited}"):
        figures = resident_figures(instances["resident"][key]) if instances and key in instances["resident"] else {}
        resident, tables = figures.get("rss_kib"), figures.get("page_table_kib")
        yield (f"state with libraries, resident ({key})", f"at most {TARGET_STATE_KIB} KiB",
               f"{cell(resident, '{:.1f}')} KiB (page tables {cell(tables, '{:.1f}')})",
               verdict(resident <= TARGET_STATE_KIB if resident is not None else None))
    ratio = instance_ratio(instances["instances"][EMMA]) if instances and EMMA in instances["instances"] else None
    yield ("instance create + destroy to the kernel's own floor", f"at most {TARGET_INSTANCE_RATIO}", cell(ratio, "{:.2f}"),
           verdict(ratio <= TARGET_INSTANCE_RATIO if ratio is not None else None))
    states = instances["states"] if instances else {}
    base = batch_medians(states.get(f"{reference}, lua_close", []), "cycle_ns")
    for end, told in (("destroyed", "new instance each time"), ("reset", "instance reset and used again")):
        runs = states.get(f"{EMMA}, {end}", [])
        ratio = median_or_none(paired_ratios(batch_medians(runs, "cycle_ns"), base))
        faults = median_or_none(faults_per_cycle(runs))
        yield (f"state created + libraries + thrown away, to glibc's: {told}", f"at most {TARGET_STATE_RATIO}",
               f"{cell(ratio)} ({cell(faults, '{:.1f}')} faults)" if ratio is not None else "-",
               verdict(ratio <= TARGET_STATE_RATIO if ratio is not None else None))


def teardown_target(teardown, reference):
    runs = teardown["runs"] if teardown else {}
    emma = teardown_ns(runs.get(f"{EMMA}, destroyed", []), "close", "discard")
    glibc = teardown_ns(runs.get(f"{reference}, lua_close", []), "close", "discard")
    ratio = median_or_none(paired_ratios(glibc, emma))
    size = teardown["megabytes"] if teardown else TEARDOWN_TARGET_MB
    return (f"throwing away a heap of {size} MB, times faster than lua_close on glibc", f"at least {TARGET_TEARDOWN_RATIO}",
            cell(ratio, "{:.1f}"), verdict(ratio >= TARGET_TEARDOWN_RATIO if ratio is not None else None))


# Chart.

def draw(report, summary):
    names = [a["name"] for a in report["allocators"]]
    chart = Chart("Lua programs by allocator" + (" (quick run: the figures mean nothing)" if report["quick"] else ""),
                  names)
    if "programs" in summary:
        programs = summary["programs"]
        chart.panel("CPU time to glibc's (median of paired ratios; less is better)",
                    {**programs["cpu"], "geometric mean": programs["mean"]["cpu"]}, reference=1)
        peaks = {}
        for program, row in programs["peak_kib"].items():
            base = row.get(report["reference"])
            peaks[program] = {name: row[name] / base for name in names if base and row.get(name) is not None}
        chart.panel("Peak resident memory to glibc's", peaks, reference=1)
    if "instructions" in summary:
        instructions = summary["instructions"]
        chart.panel("Instructions inside lua_Alloc per call",
                    {**instructions["per_call"], "geometric mean": instructions["mean"]["per_call"]})
    if "instances" in report["results"]:
        rows = report["results"]["instances"]
        chart.panel("Resident KiB per Lua state with libraries", {"": {
            key: resident_figures(runs)["rss_kib"] for key, runs in rows["resident"].items()}}, labelled=True)
        chart.panel("State created and thrown away, µs", {"": {
            key: scaled(median_or_none(batch_medians(runs, "cycle_ns")), 1e3)
            for key, runs in rows["states"].items()}}, labelled=True)
    if "teardown" in report["results"]:
        rows = report["results"]["teardown"]
        chart.panel(f"Throwing away a heap of {rows['megabytes']} MB, ms", {"": {
            key: scaled(median_or_none(teardown_ns(runs, "close", "discard")), 1e6)
            for key, runs in rows["runs"].items()}}, labelled=True)
    if "growth" in report["results"]:
        runs = report["results"]["growth"]["runs"]
        chart.panel("Growing one table to 200 MiB, CPU ms", {"": {
            name: scaled(median_or_none(column(runs, name, "cpu_ns")), 1e6) for name in runs}}, labelled=True)
    return chart.svg()
