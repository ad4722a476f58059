"""tests/bench/run sandbox: the sandbox kit for Lua, against its targets and against plain Lua.

Every figure comes from a fresh process. Within a round each case runs once, in an order that rotates from round to round;
what is compared is compared within the round only. The figure of a comparison is the median of those paired ratios."""
import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bench_sandbox_report
from bench_lib import (ROOT, BenchError, Rounds, add_common_options, build, choose, choose_cpu, chosen_rows,
                       compile_command, default_rounds, describe_machine, described_commit, finish, inclusive_costs,
                       install_packages, make_build_dir, parse_variant)
from bench_lua import FLAGS, LUA_INCLUDE, LUA_LIBRARIES, PROGRAMS_DIR, TRAILING_LIBRARIES, all_programs
from bench_sandbox_report import (ANY_OBJECT, BARE, BUDGET, EMMA, FRESH, GARBAGE, GLIBC, ISOLATED, KILLED,
                                  NONE_TAKEN, NOT_ISOLATED, ONE_TAKEN, PLAIN, POOLED, PUSH, SAME_OBJECT, SANDBOX,
                                  WITHOUT_CHECKPOINTS, variant_key)

HERE = Path(__file__).resolve().parent
PRELUDE = HERE / "sandbox" / "prelude.lua"
ROWS = ("rollback", "garbage", "push", "growth", "pool", "resident", "teardown", "programs", "instructions", "server")
NEEDS = ("command:gcc=gcc", "header:stdio.h=libc6-dev", "header:lua5.4/lua.h=liblua5.4-dev")
ROW_NEEDS = {"instructions": ("command:valgrind=valgrind",),
             "server": ("command:wrk=wrk", "command:cmake=cmake", "command:make=make", "command:pkg-config=pkg-config",
                        "module:libmicrohttpd=libmicrohttpd-dev")}
KIT_SOURCES = ("core/emma.c", "bindings/lua/emma_lua.c", "bindings/lua/emma_sandbox.c")
HOST_SOURCES = ("sandbox_host.c", "lua_seed.c", "bench_child.c")
MEASURED = "sandbox_host_measured"

OBJECTS = 1000
OBJECTS_PER_MB = 4500  # of the prelude's, which take 225 bytes each
GARBAGE_BYTES = 1_000_000
DIRTY_OBJECTS = 10
PUSH_MB, QUICK_PUSH_MB = 100, 2
HEAPS_MB, QUICK_HEAPS_MB = (1, 10, 50, 100), (1, 2)
POOL_MB = 1
TEARDOWN_MB, QUICK_TEARDOWN_MB = 1000, 4

# The cases of a program, and the host's names of them.
PROGRAM_KINDS = ((PLAIN, "checkpoints"), (BARE, "plain"), (SANDBOX, "sandbox"), (BUDGET, "budget"))

# How often in one process; of a quick run.
COUNTS = {"rollback": 2000, "garbage": 500, "push": 20, "growth": 500, "pool": 2000, "fresh": 100, "resident": 10000}
QUICK_COUNTS = {"rollback": 20, "garbage": 5, "push": 2, "growth": 5, "pool": 20, "fresh": 2, "resident": 20}

SERVER_SOURCE = "examples/pool_server.c"
SERVER_HANDLER = "examples/lua/handler.lua"
SERVER_PATH = "fruit"  # of the small page that is asked for
SERVER_TARGET = "example_pool_server"
SERVER_SECONDS, QUICK_SERVER_SECONDS = 5, 1
SERVER_PATIENCE_SECONDS = 10  # until it has started, or ended
LOAD = ("wrk", "-t", "1", "-c", "4")  # the rest of the CPUs is the server's

# Expected seconds, for the time that is left only.
SECONDS = {"rollback": 0.1, "garbage": 0.4, "push": 3.0, "growth": 1.0, "pool": 0.2, "resident": 2.5,
           "teardown": 5.0, "programs": 1.3, "callgrind": 5.0, "server": SERVER_SECONDS + 0.5}


class Kit:
    """The kit of a source tree, and its host."""

    def __init__(self, name, source, flags=()):
        self.name, self.source, self.flags = name, source, list(flags)
        self.host = None

    def key(self, case):
        return variant_key(self.name, case)

    def command(self):
        sources = [*[HERE / file for file in HOST_SOURCES], *[self.source / file for file in KIT_SOURCES]]
        folders = [LUA_INCLUDE, self.source / "core", self.source / "bindings" / "lua"]
        return compile_command(sources, self.host, [*FLAGS, "-pthread", *[f"-I{folder}" for folder in folders],
                                                    *self.flags], [*LUA_LIBRARIES, *TRAILING_LIBRARIES])


# The command line.

def kit_variants(texts):
    kits = []
    for text in texts:
        name, source, flags = parse_variant(text, [EMMA, *[kit.name for kit in kits]], KIT_SOURCES)
        kits.append(Kit(name, source, shlex.split(flags)))
    return kits


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/run sandbox", description="Measures the sandbox kit for Lua against its targets, and reports.")
    parser.add_argument("--only", metavar="PROGRAM,...", help="these programs only (rows programs and instructions)")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=DIR[:CFLAGS]",
                        help="one more kit, built from the tree DIR; may be repeated")
    add_common_options(parser, ROWS)
    return parser.parse_args(arguments)


class Plan:
    """What to run: the options, checked."""

    def __init__(self, options):
        self.quick, self.rounds = options.quick, default_rounds(options)
        programs = {program.name: program for program in all_programs()}
        self.programs = [programs[name] for name in choose("--only", options.only, list(programs))] \
            if options.only else list(programs.values())
        self.kits = [Kit(EMMA, ROOT), *kit_variants(options.variant)]
        self.rows = chosen_rows(options, ROWS)
        self.cpu = choose_cpu(options.pin)
        self.build_dir = options.build_dir.resolve()
        self.push_mb = QUICK_PUSH_MB if self.quick else PUSH_MB
        self.heaps_mb = QUICK_HEAPS_MB if self.quick else HEAPS_MB
        self.teardown_mb = QUICK_TEARDOWN_MB if self.quick else TEARDOWN_MB
        self.server_seconds = QUICK_SERVER_SECONDS if self.quick else SERVER_SECONDS
        self.notes = []
        if "server" in self.rows and not (ROOT / SERVER_SOURCE).is_file():
            self.rows.remove("server")
            self.notes.append(f"There is no {SERVER_SOURCE}: the row of the server is left out.")

    def count(self, kind):
        return (QUICK_COUNTS if self.quick else COUNTS)[kind]

    def size(self, program, kind):
        return program.sizes["quick" if self.quick else kind]

    def needs(self):
        return [*NEEDS, *[need for row in self.rows for need in ROW_NEEDS.get(row, ())]]


# Building.

def build_hosts(plan):
    make_build_dir(plan.build_dir)
    for kit in plan.kits:
        kit.host = plan.build_dir / f"sandbox_host-{kit.name}"
    print(f"building {len(plan.kits)} hosts", file=sys.stderr)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(build, [kit.command() for kit in plan.kits]))


def build_server(plan):
    """The example's server as users get it; its path."""
    folder = plan.build_dir / "sandbox-server"
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DEMMA_BUILD_TESTS=OFF", "-DEMMA_BUILD_EXAMPLES=ON",
               "-DEMMA_BUILD_LUA=ON", "-DEMMA_INSTALL=OFF"]
    build(["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Unix Makefiles", *options])
    build(["cmake", "--build", str(folder), "--target", SERVER_TARGET])
    found = [path for path in folder.rglob("pool_server") if path.is_file()]
    if not found:
        raise BenchError(f"{SERVER_TARGET} was built, and there is no pool_server in {folder}")
    return found[0]


# Measuring.

class Bench(Rounds):
    """Runs the rows of a plan."""

    SECONDS = SECONDS

    def __init__(self, plan, scratch, server):
        self.server = server
        super().__init__(plan, scratch)

    def expected_seconds(self):
        plan, kits, total = self.plan, len(self.plan.kits), 0.0
        per_round = {
            "rollback": [("rollback", 2 * kits)], "garbage": [("garbage", kits)], "push": [("push", kits)],
            "growth": [("growth", len(plan.heaps_mb) * kits)], "pool": [("pool", kits + 1)],
            "resident": [("resident", 3 * kits)], "teardown": [("teardown", 1 + kits)],
            "programs": [("programs", len(plan.programs) * len(PROGRAM_KINDS) * kits)], "server": [("server", 2)],
        }
        for row in plan.rows:
            total += plan.rounds * sum(self.seconds(kind) * count for kind, count in per_round.get(row, []))
        if "instructions" in plan.rows:
            total += self.counted_cases() * self.seconds("callgrind") / os.cpu_count()
        return total

    def counted_cases(self):
        return len(self.plan.programs) * len(PROGRAM_KINDS) * len(self.plan.kits)

    def host(self, kit, mode, *arguments):
        return self.child(f"{kit.name}, {mode}", [kit.host, mode, "--json", "3", *arguments])

    def figures(self, mode):
        """A function that measures a case in a mode of the host's."""
        def measure(_key, kit, arguments):
            run = self.host(kit, mode, *arguments)
            return run.figures if run else None
        return measure

    def every_kit(self, cases):
        """`cases` are (case, arguments)."""
        return [(kit.key(case), kit, arguments) for kit in self.plan.kits for case, arguments in cases]

    def timed(self, row, cases, mode=None):
        return self.rounds(row, row, self.every_kit(cases), self.figures(mode or row))

    # Rollbacks

    def row_rollback(self):
        arguments = ["--objects", OBJECTS, "--count", self.plan.count("rollback")]
        return self.timed("rollback", [(SAME_OBJECT, [*arguments, PRELUDE]),
                                       (ANY_OBJECT, [*arguments, "--varied", PRELUDE])])

    def row_garbage(self):
        arguments = ["--objects", OBJECTS, "--garbage-bytes", GARBAGE_BYTES, "--count", self.plan.count("garbage")]
        return self.timed("garbage", [(GARBAGE, [*arguments, PRELUDE])], "rollback")

    def dirty_arguments(self, row, megabytes):
        return ["--objects", OBJECTS_PER_MB * megabytes, "--touched", DIRTY_OBJECTS, "--count", self.plan.count(row), PRELUDE]

    def row_push(self):
        arguments = self.dirty_arguments("push", self.plan.push_mb)
        return {"megabytes": self.plan.push_mb, "runs": self.timed("push", [(PUSH, arguments)])}

    def row_growth(self):
        cases = [(f"{megabytes} MB", self.dirty_arguments("growth", megabytes)) for megabytes in self.plan.heaps_mb]
        return self.timed("growth", cases, "rollback")

    # pool

    def row_pool(self):
        objects = ["--objects", OBJECTS_PER_MB * POOL_MB]
        pooled = [*objects, "--count", self.plan.count("pool"), PRELUDE]
        fresh = [*objects, "--count", self.plan.count("fresh"), PRELUDE]
        cases = [(kit.key(POOLED), kit, ("pool", pooled)) for kit in self.plan.kits]
        cases.append((FRESH, self.plan.kits[0], ("fresh", fresh)))
        return self.rounds("pool", "pool", cases, lambda key, kit, mode: self.figures(mode[0])(key, kit, mode[1]))

    # resident

    def row_resident(self):
        count = self.plan.count("resident")
        cases = [(case, ["--kind", kind, "--count", count])
                 for case, kind in ((WITHOUT_CHECKPOINTS, "bare"), (NONE_TAKEN, "sandbox"), (ONE_TAKEN, "taken"))]
        return {"sandboxes": count, "runs": self.timed("resident", cases)}

    # teardown

    def row_teardown(self):
        script = [PROGRAMS_DIR / "row_heap.lua", self.plan.teardown_mb]
        cases = self.every_kit([(KILLED, ["--kind", "sandbox", *script])])
        cases.append((GLIBC, self.plan.kits[0], ["--kind", "glibc", *script]))
        return {"megabytes": self.plan.teardown_mb,
                "runs": self.rounds("teardown", "teardown", cases, self.figures("teardown"))}

    # programs, instructions

    def program_cases(self, program, size):
        return self.every_kit([(case, ["--kind", kind, program.path, self.plan.size(program, size)])
                               for case, kind in PROGRAM_KINDS])

    def run_program(self, program):
        outputs = {}

        def measure(key, kit, arguments):
            run = self.host(kit, "program", *arguments)
            if run is None:
                return None
            outputs.setdefault(run.output, []).append(key)
            return {**run.figures, "cpu_ns": run.figures["run"]["cpu_ns"], "wall_ns": run.figures["run"]["wall_ns"]}

        runs = self.rounds(f"programs {program.name}", "programs", self.program_cases(program, "full"), measure)
        self.compare_outputs(program.name, outputs)
        return {"output": next(iter(outputs), ""), "runs": runs}

    def row_programs(self):
        return {program.name: self.run_program(program) for program in self.plan.programs}

    def row_instructions(self):
        cases = [(program, *case) for program in self.plan.programs for case in self.program_cases(program, "counted")]
        results = {program.name: {} for program in self.plan.programs}
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for (program, key, _, _), count in zip(cases, pool.map(self.count_instructions, cases)):
                results[program.name][key] = count
        return results

    def count_instructions(self, case):
        """The processor's instructions of one run of a program, under callgrind."""
        program, key, kit, arguments = case
        self.progress.step(f"instructions: {program.name}, {key}", self.seconds("callgrind") / os.cpu_count())
        run, profile = self.callgrind(f"{key}, callgrind", [kit.host, "program", "--json", "3", *arguments])
        return inclusive_costs(profile, (MEASURED,))[MEASURED][1] if run else None

    # server

    def row_server(self):
        cases = [(ISOLATED, None, []), (NOT_ISOLATED, None, ["--no-isolation"])]
        return self.rounds("server", "server", cases, self.ask_server)

    def ask_server(self, key, _, arguments):
        load = [*LOAD, "-d", f"{self.plan.server_seconds}s"]
        try:
            with Server(self.server, arguments) as server:
                told = subprocess.run([*load, server.address + SERVER_PATH], capture_output=True, text=True, check=True).stdout
                cpu_ns = server.cpu_ns()
        except (BenchError, subprocess.CalledProcessError) as error:
            self.fail(f"server, {key}: {error}")
            return None
        rate, requests = re.search(r"Requests/sec:\s*([0-9.]+)", told), re.search(r"(\d+) requests in", told)
        wrong = re.search(r"Non-2xx.*|Socket errors.*", told)
        if wrong or rate is None or requests is None:
            self.fail(f"server, {key}: {wrong.group() if wrong else told}")
            return None
        return {"requests_per_second": float(rate.group(1)), "cpu_ns_per_request": cpu_ns / int(requests.group(1))}

    def pin(self, row):
        return None if row in ("instructions", "server") else self.plan.cpu


class Server:
    """The example's server while it is entered."""

    def __init__(self, program, arguments):
        self.command = [str(program), "--port", "0", *arguments, str(ROOT / SERVER_HANDLER)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        timer = threading.Timer(SERVER_PATIENCE_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        address = re.search(r"http://\S+", line)
        if address is None:
            self.__exit__()
            raise BenchError(f"the server told no address but {line!r}")
        self.address = address.group()
        return self

    def cpu_ns(self):
        """What it used so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 10 ** 9 // os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(SERVER_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


# The command.

def main(arguments):
    options = parse_arguments(arguments)
    plan = Plan(options)
    install_packages(plan.needs(), not options.no_install)
    machine = describe_machine()
    build_hosts(plan)
    server = build_server(plan) if "server" in plan.rows else None
    with tempfile.TemporaryDirectory(prefix="emma-bench-") as scratch:
        bench = Bench(plan, scratch, server)
        bench.run()
    report = {
        "command": " ".join(["tests/bench/run", "sandbox", *arguments]),
        "machine": machine,
        "rounds": plan.rounds, "quick": plan.quick, "pinned_cpu": plan.cpu, "rows": plan.rows,
        "kits": [{"name": kit.name, "commit": described_commit(kit.source),
                  "flags": " ".join([*FLAGS[1:3], *kit.flags])} for kit in plan.kits],
        "notes": plan.notes, "results": bench.results, "failures": bench.failures,
    }
    bench_sandbox_report.write(report, plan.build_dir)
    return finish(bench)
