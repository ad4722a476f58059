"""Turns the results of tests/bench/run malloc into malloc.md, malloc.json and malloc.svg."""
from bench_chart import Chart
from bench_lib import geometric_mean, median, paired_ratios
from bench_report import (QUIET_SHARE, cell, column, described_run, mean_over, median_or_none, present, ratio_of_least,
                          render_end, render_title, scaled, table, verdict, write_report)

EMMA = "emma"
MIMALLOC = "mimalloc"
BOUNDED = "producer_consumer"

# The targets of emma as a process's malloc. Ratios of time are the other's to emma's: above 1 emma is faster.
TARGET_BEST_MEAN = 0.97         # the best rival of each row, in the mean
TARGET_BEST_WORST = 0.9         # ... and on any row
TARGET_MIMALLOC = 1
TARGET_PEAK = 1                 # emma's peak to mimalloc's, in the mean
TARGET_BOUNDED_MIB = 16         # of a queue that holds some 300 KiB
TARGET_CRATE = 2
TARGET_LUA_SHARED = 1.03        # a shared instance's time to a local one's
TARGET_ALTERNATE = {"two_ns": (2, 1.5), "many_ns": (64, 3)}  # instances, and times as slow as one
TARGET_PROGRAM = 1.02           # of glibc's time, on any program


def write(report, folder):
    summary = summarise(report)
    report["summary"] = summary
    write_report(report, "malloc", folder, render(report, summary), draw(report, summary))


# Figures.

def time_field(threads, cpus):
    """What is compared: see README.md. The wall time is what counts where each thread can have a CPU, and is too noisy with
    one thread, where CPU time says the same."""
    return "wall_ns" if 1 < threads <= cpus else "cpu_ns"


def mix_rows(report):
    """(title, runs, field compared) of each workload with each number of threads."""
    for workload, by_threads in report["results"].get("mixes", {}).items():
        for threads, runs in by_threads.items():
            yield f"{workload} {threads}", runs, time_field(int(threads), report["cpus"])


def summarise(report):
    names = [allocator["name"] for allocator in report["allocators"]]
    out = {}
    if "mixes" in report["results"]:
        out["mixes"] = summarise_times(list(mix_rows(report)), names, report)
        out["crate"] = crate_ratios(report)
    if "programs" in report["results"]:
        rows = [(name, runs, "cpu_ns") for name, runs in report["results"]["programs"].items()]
        out["programs"] = summarise_times(rows, names, report)
    if "instructions" in report["results"]:
        out["instructions"] = summarise_instructions(report["results"]["instructions"], names, report["reference"])
    if "lua-shared" in report["results"]:
        out["lua_shared"] = {
            program: ratios_to(result["runs"], [report["shared_variant"]], EMMA, "cpu_ns")[report["shared_variant"]]
            for program, result in report["results"]["lua-shared"].items()}
    if "alternate" in report["results"]:
        out["alternate"] = {key: alternate_ratio(report["results"]["alternate"], key) for key in TARGET_ALTERNATE}
    return out


def summarise_times(rows, names, report):
    out = {key: {} for key in ("field", "time", "least", "cpu", "wall", "peak_kib", "reference_ms", "best", "lead", "had_cpu")}
    for title, runs, field in rows:
        base = column(runs, report["reference"], field)
        out["field"][title] = field
        out["time"][title] = ratios_to(runs, names, report["reference"], field)
        out["cpu"][title] = ratios_to(runs, names, report["reference"], "cpu_ns")
        out["wall"][title] = ratios_to(runs, names, report["reference"], "wall_ns")
        out["least"][title] = {name: ratio_of_least(column(runs, name, field), base) for name in names}
        out["peak_kib"][title] = {name: median_or_none(column(runs, name, "peak_kib")) for name in names}
        out["reference_ms"][title] = scaled(median_or_none(base), 1e6)
        timed = {name: out["time"][title][name] for name in report["rivals"] if out["time"][title].get(name)}
        best = min(timed, key=timed.get) if timed else None
        out["best"][title] = best
        # Of each rival and of the best one: its time to emma's.
        out["lead"][title] = {name: median_or_none(paired_ratios(column(runs, name, field), column(runs, EMMA, field)))
                              for name in report["rivals"]}
        out["had_cpu"][title] = had_cpu(runs)
    out["mean"] = {name: mean_over(out["time"], name) for name in names}
    out["mean_best"] = mean_of(out["lead"][title].get(out["best"][title]) for title in out["lead"])
    out["mean_lead"] = {name: mean_over(out["lead"], name) for name in report["rivals"]}
    out["mean_peak"] = {name: peak_mean(out["peak_kib"], name, report["reference"]) for name in names}
    return out


def ratios_to(runs, names, reference, field):
    base = column(runs, reference, field)
    return {name: median_or_none(paired_ratios(column(runs, name, field), base)) for name in names}


def mean_of(values):
    values = list(values)
    return geometric_mean(values) if values and all(values) else None


def peak_mean(peaks, name, other):
    """The geometric mean of a name's peaks to another's, where both are known."""
    ratios = [row[name] / row[other] for row in peaks.values() if row.get(name) and row.get(other)]
    return geometric_mean(ratios) if ratios else None


def had_cpu(runs):
    every = [run for of_one in runs.values() for run in present(of_one)]
    return sum(run["cpu_ns"] for run in every) / max(1, sum(run["wall_ns"] for run in every))


def crate_ratios(report):
    """The crate's time to emma's on each row that it runs."""
    return {title: median_or_none(paired_ratios(column(runs, report["crate"], field), column(runs, EMMA, field)))
            for title, runs, field in mix_rows(report) if report["crate"] in runs}


def summarise_instructions(workloads, names, reference):
    out = {"to_reference": {}, "per_operation": {}}
    for workload, figures in workloads.items():
        base = figures.get(reference)
        known = {name: figures[name] for name in names if figures.get(name)}
        out["to_reference"][workload] = {name: own["instructions"] / base["instructions"]
                                         for name, own in known.items()} if base else {}
        out["per_operation"][workload] = {name: own["instructions"] / own["operations"] for name, own in known.items()}
    out["mean"] = {name: mean_over(out["to_reference"], name) for name in names}
    return out


def alternate_ratio(runs, key):
    """The batches of a process are paired, then the processes' medians."""
    return median_or_none([median(paired_ratios(run[key], run["one_ns"])) if run else None for run in runs])


# Markdown.

def render(report, summary):
    sections = {"mixes": render_mixes, "programs": render_programs, "lua-shared": render_lua_shared,
                "alternate": render_alternate, "instructions": render_instructions}
    parts = [render_head(report), *[sections[row](report, summary) for row in report["rows"]],
             *render_end(report, summary, targets(report, summary))]
    return "\n".join(parts)


def render_head(report):
    lines = render_title(report, "malloc benchmark")
    lines += [
        described_run(report),
        "Each figure comes from a fresh process; within a round the allocators run in turn, in an order that rotates. "
        "Ratios are medians of the round-by-round ratios to glibc, so below 1 is faster than glibc. Compared is CPU time, "
        "user and system, from the start of `main` to the end of the process, but wall time where there are several "
        "threads and a CPU for each.\n"]
    rows = [[a["name"], a["package"] or a["commit"], a["served_by"], a["note"]] for a in report["allocators"]]
    lines.append(table(["allocator", "package or commit", "malloc is served by", "note"], rows))
    lines += [f"- {note}" for note in report["notes"]] + [""]
    return "\n".join(lines)


def names_in(report, figures):
    return [a["name"] for a in report["allocators"] if any(row.get(a["name"]) is not None for row in figures.values())]


def ratio_table(report, title, figures, means, beside=None, more=()):
    """`beside` gives the cells under the `more` header for a row."""
    names = names_in(report, figures)
    rows = [[row] + [cell(figures[row].get(name)) for name in names] + (beside(row) if beside else []) for row in figures]
    rows.append(["**geometric mean**"] + [cell(means.get(name)) for name in names] + [""] * len(more))
    return table([title, *names, *more], rows)


def time_tables(report, summary, title):
    def beside(row):
        best = summary["best"][row]
        return [cell(summary["reference_ms"][row], "{:.0f}"), "wall" if summary["field"][row] == "wall_ns" else "CPU",
                cell(summary["had_cpu"][row], "{:.2f}"), best or "-", cell(summary["lead"][row].get(best))]

    more = ["glibc, ms", "compared", "CPUs had", "best rival", "its time to emma's"]
    parts = [ratio_table(report, title, summary["time"], summary["mean"], beside, more),
             ratio_table(report, "least of all rounds to glibc's least", summary["least"],
                         {name: mean_over(summary["least"], name) for name in summary["mean"]})]
    single = [row for row, share in summary["had_cpu"].items() if row.endswith(" 1")]
    blurred = [row for row in single if summary["had_cpu"][row] < QUIET_SHARE]
    if blurred:
        parts.append(f"Something else was running, the figures are blurred: {', '.join(blurred)}.\n")
    return parts


def peak_table(report, summary):
    names = names_in(report, summary["peak_kib"])
    rows = [[row] + [cell(scaled(peaks.get(name), 1024), "{:.2f}") for name in names]
            for row, peaks in summary["peak_kib"].items()]
    rows.append(["**geometric mean, to glibc's**"] + [cell(summary["mean_peak"].get(name)) for name in names])
    return table(["peak, MiB", *names], rows)


def render_mixes(report, summary):
    mixes = summary["mixes"]
    parts = ["## Workloads: time\n", *time_tables(report, mixes, "workload, threads")]
    for title, key in (("CPU time to glibc's", "cpu"), ("wall time to glibc's", "wall")):
        parts.append(ratio_table(report, title, mixes[key], {name: mean_over(mixes[key], name) for name in mixes["mean"]}))
    parts += ["## Workloads: memory\n", "Peak resident memory of the whole process.\n", peak_table(report, mixes)]
    return "\n".join(parts)


def render_programs(report, summary):
    return "\n".join(["## Programs\n", "CPU time of the whole process with its children; of redis, the server's.\n",
                      *time_tables(report, summary["programs"], "program"), peak_table(report, summary["programs"])])


def render_lua_shared(report, summary):
    rows = [[program, cell(ratio)] for program, ratio in summary["lua_shared"].items()]
    rows.append(["**geometric mean**", cell(mean_of(summary["lua_shared"].values()))])
    return "\n".join(["## Lua programs in a shared instance\n",
                      table(["CPU time to a local instance's", "shared"], rows)])


def render_alternate(report, summary):
    runs = report["results"]["alternate"]
    rows = []
    for key, count in (("one_ns", 1), *[(key, count) for key, (count, _) in TARGET_ALTERNATE.items()]):
        ns = median_or_none([median(run[key]) / run["pairs"] if run else None for run in runs])
        rows.append([f"{count}", cell(ns, "{:.2f}"), cell(summary["alternate"].get(key), "{:.2f}")])
    return "\n".join(["## Shared instances in turn\n", "One thread frees a block and allocates one, in the next instance "
                      "each time.\n", table(["instances", "ns per pair", "to one instance"], rows)])


def render_instructions(report, summary):
    figures = summary["instructions"]
    names = names_in(report, figures["per_operation"])
    rows = [[workload] + [cell(row.get(name), "{:.1f}") for name in names]
            for workload, row in figures["per_operation"].items()]
    return "\n".join([
        "## Instructions\n",
        "Counted by callgrind, one thread, smaller sizes: of the whole process, less what one takes that does nothing.\n",
        ratio_table(report, "instructions to glibc's", figures["to_reference"], figures["mean"]),
        table(["per operation, the program's own included", *names], rows)])


# Targets.

def judged(measure, target, value, met, form="{:.3f}", more=""):
    """`met` says whether a value does."""
    measured = cell(value, form) + (f" ({more})" if more and value is not None else "")
    return measure, target, measured, verdict(met(value) if value is not None else None)


def targets(report, summary):
    yield from mix_targets(summary.get("mixes"))
    yield from crate_targets(report, summary.get("crate"))
    shared = mean_of(summary["lua_shared"].values()) if summary.get("lua_shared") else None
    yield judged("Lua programs in a shared instance, time to a local one's, geometric mean", f"at most {TARGET_LUA_SHARED}",
                 shared, lambda value: value <= TARGET_LUA_SHARED)
    for key, (count, most) in TARGET_ALTERNATE.items():
        yield judged(f"calls that go round {count} shared instances, time to one's", f"at most {most}",
                     summary.get("alternate", {}).get(key), lambda value, most=most: value <= most, "{:.2f}")
    yield program_target(summary.get("programs"))


def mix_targets(mixes):
    leads = {title: row[mixes["best"][title]] for title, row in mixes["lead"].items()
             if row.get(mixes["best"][title])} if mixes else {}
    worst = min(leads, key=leads.get) if leads else None
    yield judged("best rival's time to emma's, geometric mean of all rows", f"at least {TARGET_BEST_MEAN}",
                 mixes and mixes["mean_best"], lambda value: value >= TARGET_BEST_MEAN)
    below = [title for title, lead in leads.items() if lead < TARGET_BEST_WORST]
    yield judged("best rival's time to emma's, worst row", f"at least {TARGET_BEST_WORST}", leads.get(worst),
                 lambda value: value >= TARGET_BEST_WORST,
                 more=f"{worst}, {mixes['best'][worst]}; below on {len(below)} of {len(leads)}" if worst else "")
    yield judged("mimalloc's time to emma's, geometric mean", f"above {TARGET_MIMALLOC}",
                 mixes and mixes["mean_lead"].get(MIMALLOC), lambda value: value > TARGET_MIMALLOC)
    yield judged("peak memory to mimalloc's, geometric mean", f"at most {TARGET_PEAK}",
                 mixes and peak_mean(mixes["peak_kib"], EMMA, MIMALLOC), lambda value: value <= TARGET_PEAK)
    peaks = [row[EMMA] / 1024 for title, row in mixes["peak_kib"].items()
             if title.startswith(BOUNDED) and row.get(EMMA)] if mixes else []
    yield judged("peak memory of producers and consumers", f"at most {TARGET_BOUNDED_MIB} MiB", max(peaks, default=None),
                 lambda value: value <= TARGET_BOUNDED_MIB, "{:.1f} MiB")


def crate_targets(report, ratios):
    worst = min((title for title, ratio in (ratios or {}).items() if ratio), key=lambda title: ratios[title], default=None)
    yield judged("the Rust crate's time to emma's, geometric mean of the rows that it runs", f"at least {TARGET_CRATE}",
                 mean_of((ratios or {}).values()), lambda value: value >= TARGET_CRATE,
                 more=f"least {cell(ratios[worst])}, {worst}" if worst else "")


def program_target(programs):
    own = {title: row[EMMA] for title, row in programs["time"].items() if row.get(EMMA)} if programs else {}
    worst = max(own, key=own.get) if own else None
    return judged("real programs, time to glibc's, worst", f"at most {TARGET_PROGRAM}", own.get(worst),
                  lambda value: value <= TARGET_PROGRAM, more=worst or "")


# Chart.

def draw(report, summary):
    names = [a["name"] for a in report["allocators"]]
    chart = Chart("malloc by allocator" + (" (quick run: the figures mean nothing)" if report["quick"] else ""), names)
    if "mixes" in summary:
        for threads in report["threads"]:
            rows = {title: row for title, row in summary["mixes"]["time"].items() if title.endswith(f" {threads}")}
            chart.panel(f"Workloads, {threads} thread{'s' if threads > 1 else ''}: time to glibc's (less is better)",
                        {title.rpartition(" ")[0]: row for title, row in rows.items()}, reference=1)
        chart.panel("All workloads: time to glibc's, geometric mean", {"": summary["mixes"]["mean"]}, labelled=True)
        chart.panel("All workloads: peak memory to glibc's, geometric mean", {"": summary["mixes"]["mean_peak"]},
                    labelled=True)
    if "programs" in summary:
        chart.panel("Programs: CPU time to glibc's", summary["programs"]["time"], reference=1)
    if "instructions" in summary:
        chart.panel("Workloads, 1 thread: instructions to glibc's", summary["instructions"]["to_reference"], reference=1)
    return chart.svg()
