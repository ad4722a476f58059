"""tests/bench/run malloc: whole programs with emma in the place of malloc, against its rivals.

Every figure comes from a fresh process, as in bench_lua.py: allocators take turns within a round, and are compared within
the round only. An allocator is preloaded into the same program; glibc's needs none."""
import argparse
import os
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bench_lua
import bench_malloc_programs
import bench_malloc_report
from bench_lib import (ROOT, BenchError, ChildFailed, Pinned, Rounds, add_common_options, build, choose, choose_cpu,
                       chosen_rows, cmake_library, compile_command, default_rounds, describe_machine, described_commit,
                       finish, install_packages, make_build_dir, package_version, parse_variant, run_child)
from bench_malloc_crate import build_crate

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "malloc"
ROWS = ("mixes", "programs", "lua-shared", "alternate", "instructions")
REFERENCE = "glibc"
CRATE = "rust-crate"
NEEDS = ("command:gcc=gcc", "header:stdio.h=libc6-dev", "command:cmake=cmake", "command:make=make")
ROW_NEEDS = {"instructions": ("command:valgrind=valgrind",), "lua-shared": ("header:lua5.4/lua.h=liblua5.4-dev",)}
FLAGS = ("-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-pthread")
EMMA_FILES = ("CMakeLists.txt", "bindings/malloc/emma-malloc.c")
MALLOC_LIBRARY = "libemma-malloc.so"

WORKLOADS = ("own", "producer_consumer", "cross", "larson", "threads", "false_active", "false_passive", "realloc",
             "large", "objects", "threadtest", "shared_objects", "big_numbers")
# Those that use nothing but the two functions of malloc/sized.c, which the Rust crate serves too.
SIZED_WORKLOADS = ("false_active", "false_passive", "threadtest", "shared_objects", "big_numbers")
THREADS = (1, 2, 4, 8)
MOST_THREADS = 64

FULL_PERCENT, COUNTED_PERCENT, QUICK_PERCENT = 100, 3, 1
ALTERNATE_PAIRS, ALTERNATE_BATCHES = 1_000_000, 15
QUICK_PAIRS, QUICK_BATCHES = 10_000, 3
SHARED_VARIANT = "shared"
SHARED_FLAG = "-DADAPTER_EXTRA_FLAGS=EMMA_SHARED"

# Expected seconds, for the time that is left only.
SECONDS = {"mixes": 0.35, "programs": 1.2, "lua-shared": 1.1, "alternate": 1.0, "callgrind": 3.0}


class Allocator:
    """A name in the report, and the library that is preloaded; None: the C library's own malloc."""

    def __init__(self, name, library=None, need=None, note="", source=None, flags="", is_rival=False):
        self.name, self.library, self.need, self.note = name, library, need, note
        self.source, self.flags, self.is_rival = source, flags, is_rival
        self.program = None
        self.workloads = WORKLOADS
        self.served_by = ""

    @property
    def environment(self):
        return {"LD_PRELOAD": str(self.library)} if self.library else {}


def packaged_rivals():
    """What Debian has, by the names that the linker finds."""
    return [Allocator(name, soname, f"library:{soname}={package}", is_rival=True) for name, soname, package in (
        ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
        ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
        ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"))]


# The command line.

def is_shared_library(path):
    """An ELF file of 64 bits, little-endian, of the type of shared objects, for this machine."""
    head_format, elf_magic, shared_object, x86_64 = "<16sHH", b"\x7fELF\x02\x01", 3, 62
    with open(path, "rb") as file:
        head = file.read(struct.calcsize(head_format))
    if len(head) < struct.calcsize(head_format):
        return False
    identity, kind, machine = struct.unpack(head_format, head)
    return identity.startswith(elf_magic) and kind == shared_object and machine == x86_64


def parse_peer(text, taken):
    name, separator, rest = text.partition("=")
    if not separator or not rest or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise BenchError(f"--peer: '{text}' is not NAME=LIBRARY")
    if name in taken:
        raise BenchError(f"--peer: the name '{name}' is taken")
    path = Path(rest).expanduser().resolve()
    if not path.is_file():
        raise BenchError(f"--peer: there is no file {rest}")
    if not is_shared_library(path):
        raise BenchError(f"--peer: {rest} is not an ELF shared library for this machine")
    if any(character in str(path) for character in " :"):
        raise BenchError(f"--peer: the loader takes no path with a blank or a colon: {rest}")
    return Allocator(name, path, note="given by --peer", is_rival=True)


def known_allocators(options):
    known = [Allocator("emma", note="built here", source=ROOT)]
    taken = ["emma", CRATE, REFERENCE, *[rival.name for rival in packaged_rivals()]]
    extra = []
    for text in options.variant:
        name, source, flags = parse_variant(text, taken, EMMA_FILES)
        extra.append(Allocator(name, source=source, flags=flags, note=f"emma from another tree {flags}".strip()))
        taken.append(name)
    known += [*extra, Allocator(REFERENCE, is_rival=True), *packaged_rivals()]
    for text in options.peer:
        peer = parse_peer(text, taken)
        extra.append(peer)
        known.append(peer)
        taken.append(peer.name)
    return known, [allocator.name for allocator in extra]


def thread_counts(text):
    counts = [part.strip() for part in text.split(",") if part.strip()]
    for count in counts:
        if not count.isdigit() or not 1 <= int(count) <= MOST_THREADS:
            raise argparse.ArgumentTypeError(f"'{count}' is not a number from 1 to {MOST_THREADS}")
    if not counts:
        raise argparse.ArgumentTypeError(f"'{text}' has no number")
    return sorted({int(count) for count in counts})


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/run malloc", description="Runs programs with emma and its rivals as their malloc, and reports.")
    parser.add_argument("--only", metavar="WORKLOAD,...", help="these workloads only")
    parser.add_argument("--threads", type=thread_counts, default=list(THREADS), metavar="N,...",
                        help=f"thread counts of the workloads (default {','.join(map(str, THREADS))})")
    parser.add_argument("--allocators", metavar="NAME,...", help="these allocators only (glibc is always among them)")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=LIBRARY",
                        help="one more rival, a shared library with malloc; may be repeated")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=DIR[:CFLAGS]",
                        help="one more emma, built from the tree DIR; may be repeated")
    parser.add_argument("--rust-crate", default="auto", metavar="DIR",
                        help="the Rust crate emma: auto (fetched by cargo where there is one), none, or its source tree")
    add_common_options(parser, ROWS)
    return parser.parse_args(arguments)


class Plan:
    """What to run: the options, checked."""

    def __init__(self, options):
        self.quick, self.rounds, self.threads = options.quick, default_rounds(options), options.threads
        known, extra = known_allocators(options)
        names = [allocator.name for allocator in known]
        wanted = choose("--allocators", options.allocators, names) + extra if options.allocators else names
        self.allocators = [a for a in known if a.name in wanted or a.name == REFERENCE]
        self.workloads = choose("--only", options.only, list(WORKLOADS)) if options.only else list(WORKLOADS)
        self.rows = chosen_rows(options, ROWS)
        self.cpu = choose_cpu(options.pin)
        self.cpus = len(os.sched_getaffinity(0))
        self.build_dir = options.build_dir.resolve()
        self.install = not options.no_install
        self.crate = options.rust_crate
        if self.crate not in ("auto", "none") and not Path(self.crate, "Cargo.toml").is_file():
            raise BenchError(f"--rust-crate: there is no Cargo.toml in {self.crate}")
        self.notes = []

    def needs(self):
        own = [allocator.need for allocator in self.allocators if allocator.need]
        return [*NEEDS, *[need for row in self.rows for need in ROW_NEEDS.get(row, ())], *own]

    def percent(self, kind):
        return QUICK_PERCENT if self.quick else kind


# Building.

def mix_command(plan, name, last, more=()):
    """The program of the workloads; `last` serves the sized ones: a C file, or an archive."""
    sources = [*sorted(SOURCES.glob("mix*.c")), HERE / "bench_child.c", last]
    return compile_command(sources, plan.build_dir / name, FLAGS, ["-lm", "-ldl", *more])


def build_all(plan):
    make_build_dir(plan.build_dir)
    program = plan.build_dir / "malloc_mix"
    build(mix_command(plan, program.name, SOURCES / "sized.c"))
    for allocator in plan.allocators:
        if allocator.source:
            allocator.library = cmake_library(allocator.source, plan.build_dir / f"malloc-{allocator.name}",
                                              "emma_malloc", MALLOC_LIBRARY, allocator.flags)
        allocator.program = program
    for allocator in plan.allocators:
        check_served(allocator, plan.build_dir)
    if "mixes" in plan.rows and plan.crate != "none":
        add_crate(plan)
    if "alternate" in plan.rows:
        build(compile_command([SOURCES / "alternate.c", HERE / "bench_child.c", ROOT / "core" / "emma.c"],
                              plan.build_dir / "malloc_alternate", [*FLAGS, f"-I{ROOT / 'core'}"], []))


def check_served(allocator, scratch):
    """A library that the loader cannot use is left out by it with a warning: ask the program who serves its malloc."""
    try:
        run = run_child([allocator.program, "--json", 3, "where"], scratch, allocator.environment)
    except ChildFailed as failure:
        raise BenchError(f"{allocator.name}: with {allocator.library} preloaded a program cannot start: {failure}") from None
    allocator.served_by = Path(os.path.realpath(run.figures["libc_malloc_from"]))
    library = allocator.library
    found = library is None or (allocator.served_by == library.resolve() if isinstance(library, Path)
                                else allocator.served_by.name.startswith(library))
    if not found:
        raise BenchError(f"{allocator.name}: malloc is not served by {library} when that is preloaded, "
                         f"but by {allocator.served_by}")


def add_crate(plan):
    archive, told = build_crate(plan.crate, HERE / "rust_crate", plan.build_dir / "rust_crate")
    if archive is None:
        plan.notes.append(f"The Rust crate is not measured: {told}")
        return
    crate = Allocator(CRATE, note=f"the Rust crate emma, {told}; sized workloads only")
    command = mix_command(plan, f"malloc_mix-{CRATE}", archive)
    build(command)
    crate.program, crate.workloads, crate.served_by = plan.build_dir / f"malloc_mix-{CRATE}", SIZED_WORKLOADS, archive
    plan.allocators.append(crate)


# Measuring.

class Bench(Rounds):
    """Runs the rows of a plan."""

    SECONDS = SECONDS

    def __init__(self, plan, scratch):
        self.programs, skipped = bench_malloc_programs.available(plan.install) if "programs" in plan.rows else ([], [])
        plan.notes += [f"Skipped: {text}" for text in skipped]
        self.lua_plan = shared_lua_plan(plan) if "lua-shared" in plan.rows else None
        super().__init__(plan, scratch)

    @property
    def preloaded(self):
        return [allocator for allocator in self.plan.allocators if allocator.name != CRATE]

    def runs_of(self, workload):
        return [allocator for allocator in self.plan.allocators if workload in allocator.workloads]

    def expected_seconds(self):
        plan, rounds = self.plan, self.plan.rounds
        mixes = sum(len(self.runs_of(workload)) for workload in plan.workloads) * len(plan.threads)
        counts = {"mixes": mixes * rounds, "programs": len(self.programs) * len(self.preloaded) * rounds,
                  "lua-shared": len(self.lua_plan.programs) * 2 * rounds if self.lua_plan else 0, "alternate": rounds}
        total = sum(self.seconds(row) * counts[row] for row in plan.rows if row in counts)
        if "instructions" in plan.rows:
            total += len(plan.workloads) * len(self.preloaded) * self.seconds("callgrind") / os.cpu_count()
        return total

    def pin(self, row):
        return None if row in ("mixes", "instructions") else self.plan.cpu

    # mixes

    def mix_figures(self, allocator, arguments):
        command = [allocator.program, "--json", 3, *arguments]
        run = self.child(allocator.name, command, allocator.environment)
        if run is None:
            return None
        end = run.figures["at_end"]
        return {"cpu_ns": run.cpu_ns - run.figures["start_cpu_ns"],
                "wall_ns": run.end_wall_ns - run.figures["start_wall_ns"],
                "operations": run.figures["operations"], "peak_kib": end["peak_rss_kib"],
                "page_table_kib": end["page_table_kib"], "minor_faults": end["minor_faults"]}

    def run_mix(self, workload, threads):
        arguments = [workload, threads, self.plan.percent(FULL_PERCENT)]
        cases = [(allocator.name, allocator, arguments) for allocator in self.runs_of(workload)]
        with Pinned(self.plan.cpu if threads == 1 else None):
            runs = self.rounds(f"{workload} {threads}", "mixes", cases, lambda _key, *case: self.mix_figures(*case))
        counts = {run["operations"] for of_one in runs.values() for run in of_one if run}
        if len(counts) > 1:
            self.fail(f"{workload} with {threads} threads: the number of operations differs: {sorted(counts)}")
        return runs

    def row_mixes(self):
        return {workload: {str(threads): self.run_mix(workload, threads) for threads in self.plan.threads}
                for workload in self.plan.workloads}

    # instructions

    def counted_total(self, allocator, *arguments):
        """Instructions of a whole process, and its figures; (None, None) when that fails."""
        run, profile = self.callgrind(f"{allocator.name}, callgrind",
                                      [allocator.program, "--json", 3, *arguments], allocator.environment)
        if run is None:
            return None, None
        if Path(os.path.realpath(run.figures["libc_malloc_from"])) != allocator.served_by:
            raise BenchError(f"{allocator.name}: under callgrind malloc is served by {run.figures['libc_malloc_from']}")
        totals = next(line for line in profile.splitlines() if line.startswith(("totals:", "summary:")))
        return int(totals.split()[1]), run.figures

    def start_instructions(self, allocator):
        """Of a process that runs no workload; None, and a note, for a rival that valgrind cannot run."""
        before = len(self.failures)
        start, _ = self.counted_total(allocator, "where")
        if start is None and allocator.is_rival:
            why = "; ".join(": ".join(failure.split(": ")[:2]) for failure in self.failures[before:])
            self.plan.notes.append(f"Instructions are not counted of {why}")
            del self.failures[before:]
        return start

    def count_instructions(self, case):
        workload, allocator, start = case
        self.progress.step(f"instructions: {workload}, {allocator.name}", self.seconds("callgrind") / os.cpu_count())
        if start is None:
            return None
        total, figures = self.counted_total(allocator, workload, 1, self.plan.percent(COUNTED_PERCENT))
        return total and {"instructions": total - start, "operations": figures["operations"]}

    def row_instructions(self):
        """What a process takes that runs no workload is taken off: the loader's work differs by library."""
        starts = {allocator.name: self.start_instructions(allocator) for allocator in self.preloaded}
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            cases = [(workload, allocator, starts[allocator.name])
                     for workload in self.plan.workloads for allocator in self.preloaded]
            results = {workload: {} for workload in self.plan.workloads}
            for (workload, allocator, _), figures in zip(cases, pool.map(self.count_instructions, cases)):
                results[workload][allocator.name] = figures
        return results

    # the other rows

    def row_alternate(self):
        sizes = (QUICK_PAIRS, QUICK_BATCHES) if self.plan.quick else (ALTERNATE_PAIRS, ALTERNATE_BATCHES)
        command = [self.plan.build_dir / "malloc_alternate", "--json", 3, *sizes]

        def measure(*_case):
            run = self.child("alternate", command)
            return run.figures if run else None

        return self.rounds("alternate", "alternate", [("emma", None, ())], measure)["emma"]

    def row_lua_shared(self):
        bench = bench_lua.Bench(self.lua_plan, self.scratch, self.progress)
        results = bench.row_programs()
        self.failures += bench.failures
        return results

    def row_programs(self):
        results = {}
        for program in self.programs:
            program.prepare(Path(self.scratch), self.plan.quick)
            cases = [(allocator.name, allocator, program) for allocator in self.preloaded]
            results[program.name] = self.rounds(f"programs {program.name}", "programs", cases, self.program_figures)
            self.compare_outputs(program.name, program.outputs)
        return results

    def program_figures(self, _key, allocator, program):
        return program.measure(self, allocator.name, allocator.environment)


def shared_lua_plan(plan):
    """The Lua benchmark with a local and with a shared instance, and nothing else."""
    variant = f"{SHARED_VARIANT}={ROOT}:{SHARED_FLAG}"
    arguments = ["--allocators", "emma", "--variant", variant, "--rows", "programs", "--rounds", str(plan.rounds),
                 "--build-dir", str(plan.build_dir), *(["--quick"] if plan.quick else [])]
    lua_plan = bench_lua.Plan(bench_lua.parse_arguments(arguments))
    lua_plan.allocators = [allocator for allocator in lua_plan.allocators if allocator.is_emma]
    bench_lua.build_hosts(lua_plan)
    return lua_plan


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
        "command": " ".join(["tests/bench/run", "malloc", *arguments]),
        "machine": machine,
        "rounds": plan.rounds, "quick": plan.quick, "pinned_cpu": plan.cpu, "cpus": plan.cpus, "rows": plan.rows,
        "workloads": plan.workloads, "threads": plan.threads,
        "allocators": [describe_allocator(allocator) for allocator in plan.allocators],
        "rivals": [a.name for a in plan.allocators if a.is_rival], "reference": REFERENCE, "crate": CRATE,
        "shared_variant": SHARED_VARIANT, "notes": plan.notes,
        "results": bench.results, "failures": bench.failures,
    }
    bench_malloc_report.write(report, plan.build_dir)
    return finish(bench)


def describe_allocator(allocator):
    package = (allocator.need or "").rpartition("=")[2] or ("libc6" if allocator.name == REFERENCE else "")
    return {
        "name": allocator.name, "note": allocator.note,
        "package": f"{package} {package_version(package)}" if package else "",
        "commit": described_commit(allocator.source) if allocator.source else "",
        "served_by": Path(allocator.served_by).name,
    }
