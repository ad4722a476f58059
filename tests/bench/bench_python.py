"""tests/bench/run python: Python programs with emma, pymalloc, and the C library's malloc under its rivals.

Every figure comes from a fresh process; within a round the allocators take turns, and are compared within the round
only. The interpreters are those that tests/python/interpreters finds."""
import argparse
import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bench_python_report
from bench_lib import (ROOT, BenchError, Rounds, add_common_options, choose, choose_cpu, chosen_rows, cmake_library,
                       default_rounds, describe_machine, described_commit, finish, install_packages, make_build_dir)
from bench_malloc import packaged_rivals

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "python"
RUNNER = PROGRAMS / "run_program.py"
ROWS = ("programs", "pyperformance", "start", "instructions")
REFERENCE = "pymalloc"
VERSIONS = ("3.11", "3.13")
NEEDS = ("command:gcc=gcc", "header:stdio.h=libc6-dev", "command:cmake=cmake", "command:make=make")
ROW_NEEDS = {"instructions": ("command:valgrind=valgrind",)}

# Full size, and the size of what is counted.
SIZES = {"objects": (40, 2), "json_text": (160, 6), "pickled": (160, 6), "text": (100, 4), "containers": (60, 2),
         "integers": (100, 4), "sqlite": (30, 2), "tasks": (40, 2), "arrays": (40, 2)}
QUICK_SIZE = 1
NEEDS_NUMPY = ("arrays",)

# Of pyperformance, what needs no package but its own.
PYPERFORMANCE_PACKAGES = ("pyperformance", "pyperf")
PYPERFORMANCE_SECONDS, PYPERFORMANCE_MOST_LOOPS = 0.4, 1 << 16

SECONDS = {"programs": 0.9, "pyperformance": 0.7, "start": 0.05, "callgrind": 6.0}
START_ROUNDS_FACTOR = 5  # start-up is short: so many times the rounds


class Allocator:
    """A name in the report and what its processes get in their environment."""

    def __init__(self, name, environment, note="", need=None):
        self.name, self.environment, self.note, self.need = name, environment, note, need


def allocators(library):
    found = [Allocator("emma", {"LD_PRELOAD": str(library)}, "libemma-python.so, built here"),
             Allocator(REFERENCE, {}, "Python's own"),
             Allocator("glibc", {"PYTHONMALLOC": "malloc"}, "PYTHONMALLOC=malloc")]
    for rival in packaged_rivals():
        environment = {"PYTHONMALLOC": "malloc", "LD_PRELOAD": rival.library}
        found.append(Allocator(rival.name, environment, f"PYTHONMALLOC=malloc, {rival.library}", rival.need))
    return found


class Interpreter:
    """A CPython, in an environment of its own for packages."""

    def __init__(self, version, path):
        self.version, self.path = version, path
        self.python, self.packages = path, []


def find_interpreters():
    told = subprocess.run(["sh", str(ROOT / "tests" / "python" / "interpreters")], capture_output=True, text=True,
                          check=True).stdout
    return [Interpreter(*line.split(" ", 1)) for line in told.splitlines()]


# The command line.

def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/run python", description="Runs Python programs with emma and its rivals, and reports.")
    parser.add_argument("--python", metavar="VERSION,...", help=f"these versions (default {','.join(VERSIONS)})")
    parser.add_argument("--only", metavar="PROGRAM,...", help="these programs only")
    parser.add_argument("--allocators", metavar="NAME,...", help="these allocators only (pymalloc is always among them)")
    add_common_options(parser, ROWS)
    return parser.parse_args(arguments)


class Plan:
    """What to run: the options, checked."""

    def __init__(self, options):
        self.quick, self.rounds = options.quick, default_rounds(options)
        here = {found.version: found for found in find_interpreters()}
        if not here:
            raise BenchError("there is no CPython from 3.10 on here")
        wanted = choose("--python", options.python, list(here)) if options.python else [v for v in VERSIONS if v in here]
        self.interpreters = [here[version] for version in wanted or list(here)[-1:]]
        self.programs = choose("--only", options.only, list(SIZES)) if options.only else list(SIZES)
        self.rows = chosen_rows(options, ROWS)
        self.cpu = choose_cpu(options.pin)
        self.build_dir = options.build_dir.resolve()
        self.install = not options.no_install
        self.library = self.build_dir / "python-emma" / "libemma-python.so"
        self.package = self.build_dir / "python-emma" / "python"
        known = allocators(self.library)
        names = [allocator.name for allocator in known]
        wanted = choose("--allocators", options.allocators, names) if options.allocators else names
        self.allocators = [a for a in known if a.name in wanted or a.name == REFERENCE]
        # The suite is long: there pymalloc only, unless others are named.
        self.suite_allocators = [a for a in self.allocators if options.allocators or a.name in ("emma", REFERENCE)]
        self.notes = []

    def needs(self):
        own = [allocator.need for allocator in self.allocators if allocator.need]
        return [*NEEDS, *[need for row in self.rows for need in ROW_NEEDS.get(row, ())], *own]

    def size(self, program, counted=False):
        return QUICK_SIZE if self.quick else SIZES[program][1 if counted else 0]


# Building.

def build_all(plan):
    make_build_dir(plan.build_dir)
    cmake_library(ROOT, plan.library.parent, "emma_python_package", plan.library.name)
    for interpreter in plan.interpreters:
        add_packages(plan, interpreter)


def wanted_packages(plan):
    packages = ["numpy"] if set(NEEDS_NUMPY) & set(plan.programs) else []
    return packages + (list(PYPERFORMANCE_PACKAGES) if "pyperformance" in plan.rows else [])


def add_packages(plan, interpreter):
    """An environment with the packages that the rows want, as far as pip gets them."""
    home = plan.build_dir / f"python-{interpreter.version}"
    if not (home / "bin" / "python").exists():
        made = subprocess.run([interpreter.path, "-m", "venv", str(home)], capture_output=True, text=True)
        if made.returncode != 0:
            plan.notes.append(f"Python {interpreter.version} makes no environment for packages: NumPy and pyperformance are left out")
            return
    interpreter.python = str(home / "bin" / "python")
    for package in wanted_packages(plan):
        if has_package(interpreter, package) or (plan.install and get_package(interpreter, package)):
            interpreter.packages.append(package)
        else:
            plan.notes.append(f"Python {interpreter.version}: {package} cannot be had")


def has_package(interpreter, package):
    return subprocess.run([interpreter.python, "-c", f"import {package}"], capture_output=True).returncode == 0


def get_package(interpreter, package):
    pip = [interpreter.python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", package]
    return subprocess.run(pip, capture_output=True).returncode == 0


def pyperformance_programs(interpreter):
    """{name: script} of those benchmarks that ask for no package but pyperf."""
    if set(PYPERFORMANCE_PACKAGES) - set(interpreter.packages):
        return {}
    ask = "import pyperformance, pathlib; print(pathlib.Path(pyperformance.__file__).parent / 'data-files' / 'benchmarks')"
    folder = Path(subprocess.run([interpreter.python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    found = {}
    for script in sorted(folder.glob("bm_*/run_benchmark.py")):
        asks = (script.parent / "pyproject.toml").read_text()
        needs = [line for line in asks.splitlines() if line.strip().startswith('"') and "pyperf" not in line]
        if not needs and not (script.parent / "requirements.txt").exists():
            found[script.parent.name[3:]] = script
    return found


# Measuring.

class Bench(Rounds):
    """Runs the rows of a plan."""

    SECONDS = SECONDS

    def __init__(self, plan, scratch):
        self.suites = {i.version: pyperformance_programs(i) for i in plan.interpreters} if "pyperformance" in plan.rows else {}
        super().__init__(plan, scratch)

    def programs_of(self, interpreter):
        return [program for program in self.plan.programs
                if program not in NEEDS_NUMPY or "numpy" in interpreter.packages]

    def expected_seconds(self):
        plan, of_each = self.plan, len(self.plan.allocators) * self.plan.rounds
        counts = {"programs": sum(len(self.programs_of(i)) for i in plan.interpreters) * of_each,
                  "pyperformance": sum(map(len, self.suites.values())) * len(plan.suite_allocators) * plan.rounds,
                  "start": 3 * START_ROUNDS_FACTOR * plan.rounds * len(plan.interpreters)}
        total = sum(self.seconds(row) * counts[row] for row in plan.rows if row in counts)
        if "instructions" in plan.rows:
            total += (counts["programs"] / of_each) * len(plan.allocators) * self.seconds("callgrind") / os.cpu_count()
        return total

    def pin(self, row):
        return None if row == "instructions" else self.plan.cpu

    def environment(self, allocator):
        return {"PYTHONHASHSEED": "0", **allocator.environment}

    def run_figures(self, what, command, allocator):
        begun_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        run = self.child(f"{what} on {allocator.name}", command, self.environment(allocator))
        if run is None:
            return None, None
        return run, {"cpu_ns": run.cpu_ns, "wall_ns": run.end_wall_ns - begun_ns,
                     "peak_kib": run.figures.get("peak_kib") or run.peak_kib}

    def program_command(self, interpreter, program, counted=False):
        return [interpreter.python, "-s", "-B", RUNNER, PROGRAMS / f"{program}.py", self.plan.size(program, counted)]

    def row_programs(self):
        return {interpreter.version: {program: self.time_program(interpreter, program)
                                      for program in self.programs_of(interpreter)}
                for interpreter in self.plan.interpreters}

    def time_program(self, interpreter, program):
        outputs = {}
        command = self.program_command(interpreter, program)

        def measure(_key, allocator, _arguments):
            run, figures = self.run_figures(f"{program}, Python {interpreter.version}", command, allocator)
            if run:
                outputs.setdefault(run.output, []).append(allocator.name)
            return figures

        cases = [(allocator.name, allocator, ()) for allocator in self.plan.allocators]
        runs = self.rounds(f"{interpreter.version} {program}", "programs", cases, measure)
        self.compare_outputs(f"{program}, Python {interpreter.version}", outputs)
        return runs

    # pyperformance

    def row_pyperformance(self):
        return {interpreter.version: {name: runs for name, script in self.suites[interpreter.version].items()
                                      if (runs := self.time_suite_program(interpreter, name, script))}
                for interpreter in self.plan.interpreters}

    def suite_command(self, interpreter, script, loops):
        return [interpreter.python, "-s", "-B", script, "--worker", f"--loops={loops}", "--values=1", "--warmups=0"]

    def choose_loops(self, interpreter, name, script):
        """So many that a run on pymalloc takes a while; None, and a note, where it does not run."""
        reference = next(a for a in self.plan.allocators if a.name == REFERENCE)
        loops = 1
        while loops < PYPERFORMANCE_MOST_LOOPS:
            before = len(self.failures)
            _, figures = self.run_figures(name, self.suite_command(interpreter, script, loops), reference)
            if figures is None:
                del self.failures[before:]
                self.plan.notes.append(f"Python {interpreter.version}: {name} of pyperformance does not run here")
                return None
            if figures["cpu_ns"] >= PYPERFORMANCE_SECONDS * 1e9 or self.plan.quick:
                return loops
            loops *= 2
        return loops

    def time_suite_program(self, interpreter, name, script):
        loops = self.choose_loops(interpreter, name, script)
        if loops is None:
            return None
        command = self.suite_command(interpreter, script, loops)
        cases = [(allocator.name, allocator, ()) for allocator in self.plan.suite_allocators]
        return self.rounds(f"{interpreter.version} {name}", "pyperformance", cases,
                           lambda _key, allocator, _arguments: self.run_figures(name, command, allocator)[1])

    # start-up

    def row_start(self):
        return {interpreter.version: self.time_start(interpreter) for interpreter in self.plan.interpreters}

    def time_start(self, interpreter):
        """A program that does nothing: plain, with the library preloaded, and by `python -m emma run`."""
        plain = [interpreter.python, "-s", "-B"]
        path = {"PYTHONPATH": str(self.plan.package)}
        cases = [("plain", Allocator("plain", path), [*plain, "-c", "pass"]),
                 ("preloaded", Allocator("preloaded", {**path, "LD_PRELOAD": str(self.plan.library)}), [*plain, "-c", "pass"]),
                 ("emma run", Allocator("emma run", path), [*plain, "-m", "emma", "run", "-c", "pass"])]
        results = {key: [] for key, _, _ in cases}
        for _ in range(1 if self.plan.quick else START_ROUNDS_FACTOR):
            runs = self.rounds(f"{interpreter.version} start", "start", cases,
                               lambda key, allocator, command: self.run_figures(key, command, allocator)[1])
            for key, of_one in runs.items():
                results[key] += of_one
        return results

    # instructions

    def row_instructions(self):
        cases = [(interpreter, program, allocator) for interpreter in self.plan.interpreters
                 for program in self.programs_of(interpreter) for allocator in self.plan.allocators]
        results = {interpreter.version: {} for interpreter in self.plan.interpreters}
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for (interpreter, program, allocator), count in zip(cases, pool.map(self.count_instructions, cases)):
                results[interpreter.version].setdefault(program, {})[allocator.name] = count
        return results

    def count_instructions(self, case):
        interpreter, program, allocator = case
        self.progress.step(f"instructions: {interpreter.version} {program}, {allocator.name}",
                           self.seconds("callgrind") / os.cpu_count())
        before = len(self.failures)
        run, profile = self.callgrind(f"{program} on {allocator.name}, callgrind",
                                      self.program_command(interpreter, program, counted=True),
                                      self.environment(allocator))
        if run is None:
            if allocator.name not in ("emma", REFERENCE):
                del self.failures[before:]  # a rival that valgrind cannot run
            return None
        totals = next(line for line in profile.splitlines() if line.startswith(("totals:", "summary:")))
        return int(totals.split()[1])


# The command.

def main(arguments):
    options = parse_arguments(arguments)
    plan = Plan(options)
    install_packages(plan.needs(), plan.install)
    machine = describe_machine()
    build_all(plan)
    with tempfile.TemporaryDirectory(prefix="emma-bench-") as scratch:
        bench = Bench(plan, scratch)
        bench.run()
    report = {
        "command": " ".join(["tests/bench/run", "python", *arguments]), "machine": machine,
        "rounds": plan.rounds, "quick": plan.quick, "pinned_cpu": plan.cpu, "rows": plan.rows,
        "interpreters": [{"version": i.version, "full": full_version(i), "packages": i.packages} for i in plan.interpreters],
        "allocators": [{"name": a.name, "note": a.note} for a in plan.allocators],
        "commit": described_commit(ROOT), "reference": REFERENCE, "notes": plan.notes,
        "results": bench.results, "failures": bench.failures,
    }
    bench_python_report.write(report, plan.build_dir)
    return finish(bench)


def full_version(interpreter):
    ask = "import sys, json; print(json.dumps(sys.version.replace(chr(10), ' ')))"
    return json.loads(subprocess.run([interpreter.python, "-c", ask], capture_output=True, text=True, check=True).stdout)
