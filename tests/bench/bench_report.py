"""What every benchmark's report needs: figures from lists of runs, tables, the head, the targets, the files."""
import json

from bench_lib import geometric_mean, median

MIB = 1 << 20
QUIET_SHARE = 0.97  # of the wall time that a process has the CPU on a machine with nothing else to do


# Figures.

def column(runs, name, field):
    return [run[field] if run else None for run in runs.get(name, [])]


def present(values):
    return [value for value in values if value is not None]


def median_or_none(values):
    values = present(values)
    return median(values) if values else None


def ratio_of_least(values, reference):
    values, reference = present(values), present(reference)
    return min(values) / min(reference) if values and reference else None


def mean_over(rows, name):
    """The geometric mean over the programs; None unless each has a figure."""
    values = [row.get(name) for row in rows.values()]
    return geometric_mean(values) if values and all(values) else None


def scaled(value, by):
    return None if value is None else value / by


# Markdown.

def cell(value, form="{:.3f}"):
    return "-" if value is None else form.format(value)


def table(header, rows):
    """The first column is text, the others are figures."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    def line(row):
        first = str(row[0]).ljust(widths[0])
        return "| " + " | ".join([first] + [str(c).rjust(w) for c, w in zip(row[1:], widths[1:])]) + " |"
    rule = "|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (w + 1) + ":" for w in widths[1:]]) + "|"
    return "\n".join([line(header), rule, *[line(row) for row in rows]]) + "\n"


def verdict(met):
    return "not measured" if met is None else "met" if met else "**missed**"


def render_title(report, title):
    lines = [f"# {title}\n"]
    if report["quick"]:
        lines.append("**A quick run with tiny sizes: it tries the tool, its figures mean nothing.**\n")
    return lines


def described_run(report, *more):
    """A sentence with the command, the machine, and what else matters."""
    machine = report["machine"]
    pinned = "not pinned" if report["pinned_cpu"] is None else f"pinned to CPU {report['pinned_cpu']}"
    told = [machine["compiler"], *more]
    return (f"`{report['command']}`, {machine['date']}: {report['rounds']} rounds, {pinned}. {machine['cpus']} CPUs "
            f"({machine['cpu']}), {machine['memory_gib']} GiB, {machine['system']}, Linux {machine['kernel']}, "
            f"{', '.join(told)}, transparent huge pages: {machine['huge_pages'] or 'none'}, load at the start "
            f"{machine['load_average']:.2f}.\n")


def render_end(report, summary, targets):
    """The targets, (measure, target, measured, verdict) each, which the summary keeps, and the failures."""
    rows = [list(row) for row in targets]
    header = ["measure", "target", "measured", "verdict"]
    summary["targets"] = [dict(zip(header, row)) for row in rows]
    yield "## Targets\n\n" + table(header, rows)
    if report["failures"]:
        yield "## Failures\n\n" + "\n".join(f"- {failure}" for failure in report["failures"]) + "\n"


# Files.

def write_report(report, name, folder, markdown, chart):
    """Writes NAME.json, NAME.md and NAME.svg, and prints the Markdown."""
    files = {f"{name}.md": markdown, f"{name}.json": json.dumps(report, indent=1) + "\n", f"{name}.svg": chart}
    for file, content in files.items():
        (folder / file).write_text(content)
    print(markdown)
    print(f"written: {', '.join(str(folder / file) for file in files)}")
