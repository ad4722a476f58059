"""Turns the results of tests/bench/run python into python.md, python.json and python.svg."""
from bench_chart import Chart
from bench_lib import paired_ratios
from bench_report import (cell, column, described_run, mean_over, median_or_none, present, ratio_of_least, render_end,
                          render_title, scaled, table, verdict, write_report)

EMMA = "emma"

# The targets, by Python's version; of the time and the instructions that pymalloc takes.
TARGET_TIME = {"3.11": 0.97, "3.13": 0.93}
TARGET_INSTRUCTIONS = {"3.11": 0.97, "3.13": 0.92}
TARGET_START_MS = 5
TARGET_PEAK = 1


def write(report, folder):
    summary = summarise(report)
    report["summary"] = summary
    write_report(report, "python", folder, render(report, summary), draw(report, summary))


# Figures.

def summarise(report):
    names = [allocator["name"] for allocator in report["allocators"]]
    reference = report["reference"]
    out = {}
    for row in ("programs", "pyperformance"):
        if row in report["results"]:
            out[row] = {version: summarise_times(programs, names, reference)
                        for version, programs in report["results"][row].items()}
    if "start" in report["results"]:
        out["start"] = {version: summarise_start(runs) for version, runs in report["results"]["start"].items()}
    if "instructions" in report["results"]:
        out["instructions"] = {version: summarise_counts(programs, names, reference)
                               for version, programs in report["results"]["instructions"].items()}
    return out


def summarise_times(programs, names, reference):
    out = {"time": {}, "least": {}, "peak_kib": {}, "reference_ms": {}}
    for program, runs in programs.items():
        base = column(runs, reference, "cpu_ns")
        out["time"][program] = {n: median_or_none(paired_ratios(column(runs, n, "cpu_ns"), base)) for n in names}
        out["least"][program] = {n: ratio_of_least(column(runs, n, "cpu_ns"), base) for n in names}
        out["peak_kib"][program] = {n: median_or_none(column(runs, n, "peak_kib")) for n in names}
        out["reference_ms"][program] = scaled(median_or_none(base), 1e6)
    out["mean"] = {name: mean_over(out["time"], name) for name in names}
    out["mean_least"] = {name: mean_over(out["least"], name) for name in names}
    return out


def summarise_start(runs):
    """Milliseconds of wall time: the medians, and of the differences to the plain start round by round."""
    plain = column(runs, "plain", "wall_ns")
    out = {}
    for name in runs:
        own = column(runs, name, "wall_ns")
        more = [a - b for a, b in zip(own, plain) if a is not None and b is not None]
        out[name] = {"ms": scaled(median_or_none(own), 1e6), "more_ms": scaled(median_or_none(more), 1e6),
                     "least_ms": scaled(min(present(own), default=None), 1e6)}
    return out


def summarise_counts(programs, names, reference):
    ratios = {program: {n: counts[n] / counts[reference] for n in names if counts.get(n) and counts.get(reference)}
              for program, counts in programs.items()}
    return {"ratio": ratios, "mean": {name: mean_over(ratios, name) for name in names}}


# Markdown.

def render(report, summary):
    parts = [render_head(report)]
    for row, title in (("programs", "Programs"), ("pyperformance", "pyperformance")):
        for version, figures in summary.get(row, {}).items():
            parts += render_times(report, figures, f"{title}, Python {version}")
    if "start" in summary:
        parts.append(render_start(summary["start"]))
    for version, figures in summary.get("instructions", {}).items():
        parts += [f"## Instructions, Python {version}\n", "Of the whole process under callgrind, smaller sizes.\n",
                  ratio_table(report, "instructions to pymalloc's", figures["ratio"], figures["mean"])]
    parts += render_end(report, summary, targets(report, summary))
    return "\n".join(parts)


def render_head(report):
    interpreters = "; ".join(f"Python {i['full']}" for i in report["interpreters"])
    lines = render_title(report, "Python benchmark")
    lines += [described_run(report, f"emma {report['commit']}"), f"{interpreters}.\n",
              "Each figure comes from a fresh process; within a round the allocators run in turn, in an order that "
              "rotates. Ratios are medians of the round-by-round ratios of CPU time to pymalloc's, so below 1 is faster "
              "than pymalloc.\n",
              table(["allocator", "what it is"], [[a["name"], a["note"]] for a in report["allocators"]])]
    lines += [f"- {note}" for note in report["notes"]] + [""]
    return "\n".join(lines)


def ratio_table(report, title, figures, means, beside=None, more=()):
    names = [a["name"] for a in report["allocators"]]
    rows = [[row] + [cell(figures[row].get(name)) for name in names] + (beside(row) if beside else []) for row in figures]
    rows.append(["**geometric mean**"] + [cell(means.get(name)) for name in names] + [""] * len(more))
    return table([title, *names, *more], rows)


def render_times(report, figures, title):
    names = [a["name"] for a in report["allocators"]]
    peaks = [[program] + [cell(scaled(row.get(name), 1024), "{:.2f}") for name in names]
             for program, row in figures["peak_kib"].items()]
    return [f"## {title}\n",
            ratio_table(report, "CPU time to pymalloc's", figures["time"], figures["mean"],
                        lambda row: [cell(figures["reference_ms"][row], "{:.0f}")], ["pymalloc, ms"]),
            ratio_table(report, "least of all rounds", figures["least"], figures["mean_least"]),
            table(["peak, MiB", *names], peaks)]


def render_start(start):
    rows = [[f"{version}, {name}"] + [cell(own[key], "{:.2f}") for key in ("ms", "least_ms", "more_ms")]
            for version, of_version in start.items() for name, own in of_version.items()]
    return "\n".join(["## Start\n", "`python -c pass`: plain; with the library preloaded; by `python -m emma run`, which starts "
                      "Python twice.\n", table(["wall time", "ms", "least, ms", "more than plain, ms"], rows)])


# Targets.

def targets(report, summary):
    for version, most in TARGET_TIME.items():
        mean = summary.get("programs", {}).get(version, {}).get("mean", {}).get(EMMA)
        yield (f"time to pymalloc's, geometric mean, {version}", f"at most {most}", cell(mean),
               verdict(mean <= most if mean else None))
    for version, most in TARGET_INSTRUCTIONS.items():
        mean = summary.get("instructions", {}).get(version, {}).get("mean", {}).get(EMMA)
        yield (f"instructions to pymalloc's, geometric mean, {version}", f"at most {most}", cell(mean),
               verdict(mean <= most if mean else None))
    yield peak_target(report, summary)
    more = [own["preloaded"]["more_ms"] for own in summary.get("start", {}).values()]
    yield ("start with the library preloaded, more than plain", f"at most {TARGET_START_MS} ms",
           cell(max(more, default=None), "{:.2f} ms"), verdict(max(more) <= TARGET_START_MS if more else None))


def peak_target(report, summary):
    ratios = {f"{program}, {version}": row[EMMA] / row[report["reference"]]
              for version, figures in summary.get("programs", {}).items()
              for program, row in figures["peak_kib"].items() if row.get(EMMA) and row.get(report["reference"])}
    worst = max(ratios, key=ratios.get, default=None)
    measured = f"{ratios[worst]:.3f} ({worst})" if worst else "-"
    return ("peak memory to pymalloc's, worst program", f"at most {TARGET_PEAK}", measured,
            verdict(ratios[worst] <= TARGET_PEAK if worst else None))


# Chart.

def draw(report, summary):
    names = [a["name"] for a in report["allocators"]]
    chart = Chart("Python by allocator" + (" (quick run: the figures mean nothing)" if report["quick"] else ""), names)
    for row, title in (("programs", "Programs"), ("pyperformance", "pyperformance")):
        for version, figures in summary.get(row, {}).items():
            chart.panel(f"{title}, Python {version}: CPU time to pymalloc's (less is better)", figures["time"], reference=1)
    for version, figures in summary.get("instructions", {}).items():
        chart.panel(f"Instructions to pymalloc's, Python {version}", figures["ratio"], reference=1)
    return chart.svg()
