"""tests/bench/run lua: Lua programs and rows of their own on emma and its rivals.

Every figure comes from a fresh process. Within a round each allocator runs once, in an order that rotates from round to
round; an allocator is compared with another within the round only. The figure of a comparison is the median of those
paired ratios, the minimum is the ratio of the two least times."""
import argparse
import os
import re
import shlex
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bench_lua_report
from bench_lib import (ROOT, BenchError, Rounds, add_common_options, build, choose, choose_cpu, chosen_rows,
                       compile_command, default_rounds, describe_machine, described_commit, finish, inclusive_costs,
                       install_packages, make_build_dir, package_version, parse_variant)

HERE = Path(__file__).resolve().parent
PROGRAMS_DIR = HERE / "lua"
ROWS = ("programs", "instructions", "instances", "teardown", "growth")
REFERENCE = "glibc"
DISCARD_SUFFIX = "-destroyed"  # an allocator of this name ends its states by dropping the heap, without lua_close
LIMIT_MIB = 8  # of the small limited instance
LIMITED = f"limit {LIMIT_MIB} MiB"
NULL_FREES = 1000
RESERVE_MIB = 8 * 1024  # of the instance that a program runs in; valgrind has no room for much more
NEEDS = ("command:gcc=gcc", "header:stdio.h=libc6-dev", "header:lua5.4/lua.h=liblua5.4-dev", "command:valgrind=valgrind")
FLAGS = ("-std=c11", "-O2", "-g", "-Wall", "-Wextra")
EMMA_SOURCES = ("core/emma.c", "bindings/lua/emma_lua.c")
LUA_INCLUDE = "/usr/include/lua5.4"
LUA_LIBRARIES = ("-Wl,--wrap=luaS_hash", "-l:liblua5.4.a")
TRAILING_LIBRARIES = ("-lm", "-ldl")

# Expected seconds, for the time that is left only; how they hold is seen while it runs.
SECONDS = {"programs": 1.1, "count": 0.1, "callgrind": 2.5, "instances": 0.4, "states": 0.3, "resident": 0.4,
           "teardown": 4.5, "growth": 0.9}


class Allocator:
    """A name in the report, the adapter behind it, and how its host is built and run."""

    def __init__(self, name, adapter, needs=(), libraries=(), note="", source=None, flags=(), discard=False):
        self.name, self.adapter, self.needs, self.libraries = name, adapter, needs, libraries
        self.note, self.source, self.flags, self.discard = note, source, flags, discard
        self.host = None
        self.about = {}

    @property
    def is_emma(self):
        return self.adapter == "emma"

    @property
    def has_private_heaps(self):
        return self.adapter in ("emma", "mimalloc", "jemalloc")

    @property
    def can_reset(self):
        return self.adapter in ("emma", "jemalloc")

    def sources(self):
        files = [HERE / "lua_host.c", HERE / "lua_seed.c", HERE / "bench_child.c", HERE / "adapters" / f"{self.adapter}.c"]
        if self.is_emma:
            files += [self.source / file for file in EMMA_SOURCES]
        return files

    def include_flags(self):
        folders = [LUA_INCLUDE]
        if self.is_emma:
            folders += [self.source / "core", self.source / "bindings" / "lua"]
        return [f"-I{folder}" for folder in folders]

    def with_discard(self):
        return Allocator(self.name + DISCARD_SUFFIX, self.adapter, self.needs, self.libraries,
                         "its states end by dropping the heap, without lua_close", self.source, self.flags, True)


RIVALS = [
    Allocator("glibc", "glibc", note="realloc and free, as Lua's own l_alloc"),
    Allocator("mimalloc", "mimalloc", ("header:mimalloc.h=libmimalloc-dev",), ("-lmimalloc",), "first-class heap per state"),
    Allocator("jemalloc", "jemalloc", ("header:jemalloc/jemalloc.h=libjemalloc-dev",), ("-l:libjemalloc.a", "-lstdc++", "-lpthread"),
              "private arena and explicit tcache per state"),
    Allocator("tcmalloc", "tcmalloc", ("header:gperftools/tcmalloc.h=libgoogle-perftools-dev", "command:g++=g++"),
              ("-l:libtcmalloc_minimal.a", "-lstdc++", "-lpthread"), "tcmalloc_minimal, one heap, sized frees"),
]
FLOOR = Allocator("floor", "floor", note="free list per 8-byte class that never gives memory back; no rival, a bound")
RIVAL_NAMES = [rival.name for rival in RIVALS]


class Program:
    """A script, and its argument for a full, a counted (under valgrind) and a quick run, as its second line tells."""

    def __init__(self, path):
        self.path, self.name = path, path.stem.removeprefix("row_")
        found = re.search(r"^-- sizes: (.*)$", path.read_text(), re.MULTILINE)
        sizes = dict(part.split("=") for part in found.group(1).split()) if found else {}
        if set(sizes) != {"full", "counted", "quick"}:
            raise BenchError(f"{path}: its '-- sizes:' line must give full=, counted= and quick=")
        self.sizes = sizes


def all_programs():
    return [Program(path) for path in sorted(PROGRAMS_DIR.glob("*.lua")) if not path.name.startswith("row_")]


# The command line.

def lua_variant(text):
    name, source, flags = parse_variant(text, [*RIVAL_NAMES, "emma", "floor"], EMMA_SOURCES)
    if name.endswith(DISCARD_SUFFIX):
        raise BenchError(f"--variant: the name '{name}' is taken")
    return Allocator(name, "emma", note=f"emma from another tree{f', built with {flags}' if flags else ''}",
                     source=source, flags=shlex.split(flags))


def known_allocators(variants):
    emma = Allocator("emma", "emma", note="instance per state", source=ROOT)
    emmas = [emma, emma.with_discard()]
    extra = [lua_variant(text) for text in variants]
    if len({variant.name for variant in extra}) != len(extra):
        raise BenchError("--variant: two variants have the same name")
    return [*emmas, *extra, *[variant.with_discard() for variant in extra], *RIVALS, FLOOR], extra


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/run lua", description="Runs Lua programs on emma and on its rivals, and reports.")
    parser.add_argument("--only", metavar="PROGRAM,...", help="these programs only")
    parser.add_argument("--allocators", metavar="NAME,...", help="these allocators only (glibc is always among them)")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=DIR[:CFLAGS]",
                        help="one more emma, built from the tree DIR; may be repeated")
    add_common_options(parser, ROWS)
    return parser.parse_args(arguments)


class Plan:
    """What to run: the options, checked."""

    def __init__(self, options):
        self.quick = options.quick
        self.rounds = default_rounds(options)
        known, extra = known_allocators(options.variant)
        by_name = {allocator.name: allocator for allocator in known}
        names = list(by_name)
        if options.allocators:
            wanted = choose("--allocators", options.allocators, names)
        else:
            wanted = [name for name in names if name not in {v.name + DISCARD_SUFFIX for v in extra}]
        wanted += [variant.name for variant in extra if variant.name not in wanted]
        self.allocators = [by_name[name] for name in names if name in wanted or name == REFERENCE]
        programs = {program.name: program for program in all_programs()}
        self.programs = [programs[name] for name in choose("--only", options.only, list(programs))] \
            if options.only else list(programs.values())
        self.rows = chosen_rows(options, ROWS)
        self.cpu = choose_cpu(options.pin)
        self.build_dir = options.build_dir.resolve()

    @property
    def closing(self):
        """The allocators that end their states by lua_close."""
        return [allocator for allocator in self.allocators if not allocator.discard]

    def size(self, program, kind):
        return program.sizes["quick" if self.quick else kind]

    def needs(self):
        return [*NEEDS, *dict.fromkeys(need for allocator in self.allocators for need in allocator.needs)]


# Building.

def build_hosts(plan):
    """One executable for each adapter and source tree; an allocator with and without lua_close share theirs."""
    make_build_dir(plan.build_dir)
    commands = {}
    for allocator in plan.allocators:
        allocator.host = plan.build_dir / f"lua_host-{allocator.name.removesuffix(DISCARD_SUFFIX)}"
        commands[allocator.host] = compile_command(
            allocator.sources(), allocator.host, [*FLAGS, *allocator.include_flags(), *allocator.flags],
            [*LUA_LIBRARIES, *allocator.libraries, *TRAILING_LIBRARIES])
    print(f"building {len(commands)} hosts", file=sys.stderr)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(build, commands.values()))


# Measuring.

class Bench(Rounds):
    """Runs the rows of a plan."""

    SECONDS = SECONDS

    def expected_seconds(self):
        plan, total = self.plan, 0.0
        per_round = {
            "programs": [("programs", len(plan.programs) * len(plan.allocators))],
            "instances": [(kind, len(cases)) for kind, cases in self.instance_cases().items()],
            "teardown": [("teardown", len(self.teardown_cases()))],
            "growth": [("growth", len(plan.closing))],
        }
        for row in plan.rows:
            total += plan.rounds * sum(self.seconds(kind) * count for kind, count in per_round.get(row, []))
        if "instructions" in plan.rows:
            runs = len(plan.programs) * len(plan.closing)
            total += runs * (self.seconds("count") + self.seconds("callgrind") / os.cpu_count())
        return total

    def host(self, allocator, mode, *arguments):
        discard = ["--discard"] if allocator.discard else []
        command = [allocator.host, mode, "--json", "3", *discard, *arguments]
        run = self.child(f"{allocator.name}, {mode}", command)
        if run is None:
            return None
        for key in ("function", "version", "lua", "libc_malloc_from"):
            allocator.about[key] = run.figures.pop(key)
        return run

    # programs, growth

    def program_arguments(self, program, size):
        return ["--reserve-mib", RESERVE_MIB, program.path, size]

    def program_figures(self, allocator, program, run, outputs):
        """Time is all that the process used from the start of main to its end, less the host's own measuring."""
        figures = run.figures
        outputs.setdefault(run.output, []).append(allocator.name)
        overhead = [figures["overhead_before"], figures["overhead_between"]]
        wall_ns = run.end_wall_ns - figures["start_wall_ns"] - sum(part["wall_ns"] for part in overhead)
        cpu_ns = run.cpu_ns - figures["start_cpu_ns"] - sum(part["cpu_ns"] for part in overhead)
        start, end = figures["at_start"], figures["at_end"]
        return {
            "cpu_ns": cpu_ns, "wall_ns": wall_ns,
            "peak_kib": end["peak_rss_kib"] - start["rss_kib"],
            "page_table_kib": end["page_table_kib"] - start["page_table_kib"],
            "minor_faults": end["minor_faults"] - start["minor_faults"],
            "moved_bytes": figures.get("own_moved_bytes"),
            "phases": {name: figures[name] for name in ("create", "openlibs", "run", "close")},
        }

    def run_scripts(self, row, kind, program, allocators):
        outputs = {}

        def measure(_key, allocator, arguments):
            run = self.host(allocator, "program", *arguments)
            return self.program_figures(allocator, program, run, outputs) if run else None

        arguments = self.program_arguments(program, self.plan.size(program, "full"))
        cases = [(allocator.name, allocator, arguments) for allocator in allocators]
        results = self.rounds(f"{row} {program.name}" if row != program.name else row, kind, cases, measure)
        self.compare_outputs(program.name, outputs)
        return {"output": next(iter(outputs), ""), "runs": results}

    def row_programs(self):
        return {program.name: self.run_scripts("programs", "programs", program, self.plan.allocators)
                for program in self.plan.programs}

    def row_growth(self):
        return self.run_scripts("growth", "growth", Program(PROGRAMS_DIR / "row_growth.lua"), self.plan.closing)

    # instructions

    def row_instructions(self):
        null_frees = {allocator.name: self.null_free_instructions(allocator) for allocator in self.plan.closing}
        cases = [(program, allocator, null_frees[allocator.name])
                 for program in self.plan.programs for allocator in self.plan.closing]
        results = {program.name: {} for program in self.plan.programs}
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for (program, allocator, _), figures in zip(cases, pool.map(self.count_instructions, cases)):
                results[program.name][allocator.name] = figures
        return results

    def profile(self, allocator, *arguments):
        """Calls and instructions by function, callees included, of one run under callgrind; None when it fails."""
        run, profile = self.callgrind(f"{allocator.name}, callgrind", [allocator.host, *arguments])
        if run is None:
            return None
        costs = inclusive_costs(profile, ("main", run.figures["function"]))
        return {"main": costs["main"], "adapter": costs[run.figures["function"]]}

    def null_free_instructions(self, allocator):
        """Instructions inside the adapter for a free of NULL, which takes the same way each time."""
        self.progress.step(f"instructions: frees of NULL, {allocator.name}", 0)
        costs = self.profile(allocator, "null_frees", "--json", "3", "--per-batch", NULL_FREES)
        return costs["adapter"][1] / costs["adapter"][0] if costs else None

    def count_instructions(self, case):
        program, allocator, null_free = case
        arguments = self.program_arguments(program, self.plan.size(program, "counted"))
        self.progress.step(f"instructions: {program.name}, {allocator.name}",
                           self.seconds("count") + self.seconds("callgrind") / os.cpu_count())
        counted = self.host(allocator, "program", "--count", *arguments)
        costs = self.profile(allocator, "program", "--json", "3", *arguments) if counted and null_free else None
        if costs is None:
            return None
        calls = counted.figures["calls"]
        adapter_calls, adapter_instructions = costs["adapter"]
        real_calls = sum(calls[kind] for kind in ("allocs", "frees", "grows", "shrinks"))
        if adapter_calls != real_calls + calls["null_frees"]:
            self.fail(f"{program.name} on {allocator.name}: {adapter_calls} calls under callgrind, "
                      f"{real_calls + calls['null_frees']} counted")
        real_instructions = adapter_instructions - calls["null_frees"] * null_free
        return {"program": costs["main"][1], "adapter": adapter_instructions, "calls": real_calls,
                "per_call": real_instructions / real_calls, "null_free": null_free, "counts": calls}

    # instances

    def instance_cases(self):
        """For each kind of figure the cases (key, allocator, host arguments)."""
        small = ["--limit-mib", LIMIT_MIB]
        private = [a for a in self.plan.closing if a.has_private_heaps]
        limited = [(f"{a.name}, {LIMITED}", a, small) for a in self.plan.closing if a.is_emma]
        discarded = [(f"{a.name}, destroyed", a.with_discard(), []) for a in private]
        discarded += [(f"{a.name}, {LIMITED}, destroyed", a.with_discard(), small)
                      for a in private if a.is_emma]
        reset = [(f"{a.name}, reset", a, ["--reset"]) for a in private if a.can_reset]
        closed = [(f"{a.name}, lua_close", a, []) for a in self.plan.closing]
        for _, copy, _ in discarded:
            copy.host = next(a.host for a in private if a.name == copy.name.removesuffix(DISCARD_SUFFIX))
        plain = [(a.name, a, []) for a in self.plan.closing]
        return {"instances": [case for case in plain if case[1].has_private_heaps] + limited,
                "states": discarded + reset + closed,
                "resident": plain + limited}

    def teardown_cases(self):
        private = [a for a in self.plan.closing if a.has_private_heaps]
        cases = [(f"{a.name}, lua_close", a) for a in self.plan.closing]
        for allocator in private:
            copy = allocator.with_discard()
            copy.host = allocator.host
            cases.append((f"{allocator.name}, destroyed", copy))
        return cases

    def row_instances(self):
        batches = ["--batches", 3, "--per-batch", 5] if self.plan.quick else ["--batches", 20, "--per-batch", 50]
        states = ["--states", 50 if self.plan.quick else 1000]
        more = {"instances": batches, "states": batches, "resident": states}

        def measure(mode):
            def run(_key, allocator, arguments):
                done = self.host(allocator, mode, *more[mode], *arguments)
                return done.figures if done else None
            return run

        cases = self.instance_cases()
        return {mode: self.rounds(mode, mode, cases[mode], measure(mode)) for mode in cases}

    def row_teardown(self):
        program = Program(PROGRAMS_DIR / "row_heap.lua")
        size = self.plan.size(program, "full")
        cases = [(key, allocator, self.program_arguments(program, size)) for key, allocator in self.teardown_cases()]

        def measure(_key, allocator, arguments):
            done = self.host(allocator, "teardown", *arguments)
            return done.figures if done else None

        return {"megabytes": int(size), "runs": self.rounds("teardown", "teardown", cases, measure)}

    def pin(self, row):
        return None if row == "instructions" else self.plan.cpu


# The command.

def main(arguments):
    options = parse_arguments(arguments)
    plan = Plan(options)
    install_packages(plan.needs(), not options.no_install)
    machine = describe_machine()
    build_hosts(plan)
    with tempfile.TemporaryDirectory(prefix="emma-bench-") as scratch:
        bench = Bench(plan, scratch)
        bench.run()
    report = {
        "command": " ".join(["tests/bench/run", "lua", *arguments]),
        "machine": machine,
        "rounds": plan.rounds, "quick": plan.quick, "pinned_cpu": plan.cpu, "rows": plan.rows,
        "programs": [program.name for program in plan.programs],
        "allocators": [describe_allocator(allocator) for allocator in plan.allocators],
        "limited": LIMITED,
        "rivals": [a.name for a in plan.allocators if a.name in RIVAL_NAMES], "reference": REFERENCE,
        "results": bench.results, "failures": bench.failures,
    }
    bench_lua_report.write(report, plan.build_dir)
    return finish(bench)


def describe_allocator(allocator):
    library = next((need.partition("=")[2] for need in allocator.needs), "libc6" if allocator.adapter == "glibc" else "")
    package = f"{library} {package_version(library)}" if library else ""
    commit = described_commit(allocator.source) if allocator.is_emma else ""
    served_by = allocator.about.get("libc_malloc_from", "")
    return {
        "name": allocator.name, "is_emma": allocator.is_emma, "discard": allocator.discard, "note": allocator.note,
        "package": package, "version": allocator.about.get("version", ""), "commit": commit,
        "flags": " ".join([*FLAGS[1:3], *allocator.flags]), "lua": allocator.about.get("lua", ""),
        "libc_malloc_from": "its own, linked in" if Path(served_by) == allocator.host else Path(served_by).name,
    }
