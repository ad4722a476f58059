"""tests/bench/run modules: sandboxes driven from Python, beside lupa and json."""
import argparse
import json
import os
import subprocess
import sys

from bench_chart import Chart
from bench_lib import (ROOT, BenchError, Pinned, add_common_options, build, choose_cpu, chosen_rows, default_rounds,
                       describe_machine, described_commit, install_packages, make_build_dir, paired_ratios)
from bench_report import cell, described_run, median_or_none, render_end, render_title, table, verdict, write_report

ROWS = ("call", "table")
PLAIN, BOUNDED, LUPA, JSON = "sandbox", "sandbox, limit, budget and deadline", "lupa", "json"
TARGET_CALL_US, TARGET_CALL_MORE_US = 3, 2  # in all, or over lupa's
TARGET_TABLE = 2                            # of lupa's time
TURNS, QUICK_TURNS = (9, 20_000, 20), (1, 10, 1)
NEEDS = ["command:gcc=gcc", "command:cmake=cmake", "command:make=make", "command:python3=python3",
         "python:ensurepip=python3-venv", "header:lua5.4/lua.h=liblua5.4-dev", "command:python3-config=python3-dev"]


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tests/bench/run modules", description=__doc__, allow_abbrev=False)
    add_common_options(parser, ROWS)
    return parser.parse_args(arguments)


def build_package(folder, tools):
    """The package with its control module, for the Python in `tools`."""
    tree = folder / "modules-build"
    python = tools / "bin" / "python"
    build(["cmake", "-S", str(ROOT), "-B", str(tree), "-G", "Unix Makefiles", "-DCMAKE_BUILD_TYPE=Release",
           "-DEMMA_BUILD_TESTS=OFF", "-DEMMA_BUILD_EXAMPLES=OFF", "-DEMMA_BUILD_MODULES=ON", "-DEMMA_BUILD_LUA=ON",
           f"-DEMMA_SWIG={tools / 'bin' / 'swig'}", f"-DPython_EXECUTABLE={python}"])
    build(["cmake", "--build", str(tree), "--target", "emma_python_control", "-j", str(os.cpu_count())])
    return tree / "python"


def one_round(python, package, turns):
    done = subprocess.run([str(python), "-B", str(ROOT / "tests" / "bench" / "modules" / "values.py"), *map(str, turns)],
                          env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(package)}, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"the measured process failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main(arguments):
    options = parse(arguments)
    rows = chosen_rows(options, ROWS)
    make_build_dir(options.build_dir)
    install_packages(NEEDS, not options.no_install)
    tools = ROOT / "build" / "tools"
    needs = ["swig=swig>=4.2", "lupa.py=lupa"]
    if subprocess.run(["sh", str(ROOT / "tests" / "require_tools"), str(tools), *needs], stdout=sys.stderr).returncode != 0:
        raise BenchError("what is named above is needed")
    package = build_package(options.build_dir, tools)
    rounds, cpu = default_rounds(options), choose_cpu(options.pin)
    runs = []
    with Pinned(cpu):
        for number in range(rounds):
            runs.append(one_round(tools / "bin" / "python", package, QUICK_TURNS if options.quick else TURNS))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    report = {"command": "tests/bench/run modules " + " ".join(arguments), "quick": options.quick, "rounds": rounds,
              "pinned_cpu": cpu, "machine": describe_machine(), "commit": described_commit(ROOT),
              "lupa": runs[0]["version"], "rows": rows, "runs": runs, "failures": []}
    report["summary"] = summary = {row: summarise(runs, row) for row in rows}
    write_report(report, "modules", options.build_dir, render(report, summary), draw(report, summary))
    return 0


def summarise(runs, row):
    """Of each peer the median and the least of the rounds, and the median of the ratios to lupa's time."""
    peers = runs[0]["micros"][row]
    times = {peer: [run["micros"][row][peer] for run in runs] for peer in peers}
    return {peer: {"micros": median_or_none(own), "least": min(own),
                   "ratio": median_or_none(paired_ratios(own, times[LUPA]))} for peer, own in times.items()}


TITLES = {"call": "A call of an empty function", "table": "A list of 10,000 numbers, to Lua and back"}


def render(report, summary):
    lines = render_title(report, "Sandboxes from Python")
    lines += [described_run(report, f"emma {report['commit']}", f"lupa {report['lupa']} (Lua 5.4)"),
              "Wall time; within a process the peers take turns; of each process the median.\n"]
    for row in report["rows"]:
        rows = [[peer, cell(own["micros"], "{:.2f}"), cell(own["least"], "{:.2f}"), cell(own["ratio"])]
                for peer, own in summary[row].items()]
        lines += [f"## {TITLES[row]}\n", table(["", "µs", "least, µs", "to lupa's"], rows)]
    lines += render_end(report, summary, targets(report, summary))
    return "\n".join(lines)


def targets(report, summary):
    call = summary.get("call", {})
    for peer in (PLAIN, BOUNDED):
        own, lupa = (call.get(name, {}).get("micros") for name in (peer, LUPA))
        met = own <= max(TARGET_CALL_US, lupa + TARGET_CALL_MORE_US) if own else None
        yield (f"call of an empty function, {peer}", f"at most {TARGET_CALL_US} µs, or {TARGET_CALL_MORE_US} over lupa's",
               cell(own, "{:.2f} µs"), verdict(met))
    for peer in (PLAIN, BOUNDED):
        ratio = summary.get("table", {}).get(peer, {}).get("ratio")
        yield (f"10,000 numbers, to Lua and back, {peer}", f"at most {TARGET_TABLE} of lupa's time", cell(ratio),
               verdict(ratio <= TARGET_TABLE if ratio else None))


def draw(report, summary):
    chart = Chart("Sandboxes from Python" + (" (quick run: the figures mean nothing)" if report["quick"] else ""),
                  [PLAIN, BOUNDED, LUPA, JSON])
    for row in report["rows"]:
        chart.panel(f"{TITLES[row]}: µs (less is better)",
                    {"": {peer: own["micros"] for peer, own in summary[row].items()}})
    return chart.svg()
